//! The past of the tables: which collectors of which databases are read again, and their pages from one time to another.
//!
//! It reads beside a running exporter: each page is a read-only transaction of its own with the usual limits, and the state is
//! not touched.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{bail, ensure};

use crate::config::{Settings, SourceSettings};
use crate::family::Micros;
use crate::pack::{Collector, Pack, Rows};
use crate::source::{CursorMode, Opened, PagePosition, RowsPage, RowsQuery, RowsRange, Source};
use crate::telemetry::{Failure, Reason};

/// What of the past is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRequest {
    /// The first moment.
    pub from: Micros,
    /// The first moment that is not of it any more.
    pub to: Micros,
    /// This source only.
    pub source: Option<String>,
    /// These packs or collectors only; all when there are none.
    pub packs: Vec<PackChoice>,
}

/// A pack, or one collector of it: `NAME` or `NAME/COLLECTOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackChoice {
    pack: String,
    collector: Option<String>,
}

impl FromStr for PackChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pack, collector) = match text.split_once('/') {
            Some((pack, collector)) => (pack, Some(collector)),
            None => (text, None),
        };
        if pack.is_empty() || collector.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err("name a pack, or a collector of it as NAME/COLLECTOR".into());
        }
        Ok(PackChoice { pack: pack.into(), collector: collector.map(Into::into) })
    }
}

impl PackChoice {
    fn has(&self, pack: &str, collector: &str) -> bool {
        self.pack == pack && self.collector.as_deref().is_none_or(|name| name == collector)
    }
}

/// A `rows` collector whose past is read.
pub(super) struct Table {
    /// The operator's settings for its database.
    pub(super) source: SourceSettings,
    /// The database.
    pub(super) database: Arc<dyn Source>,
    /// Its pack.
    pub(super) pack: Arc<Pack>,
    /// Its place in the pack.
    index: usize,
    /// Whether its series bear the label of their source, as in the running exporter.
    pub(super) is_labelled: bool,
}

impl Table {
    /// What the pack says of it, and of its rows.
    pub(super) fn definition(&self) -> (&Collector, &Rows) {
        let collector = &self.pack.collectors[self.index];
        (collector, collector.rows.as_ref().expect("only collectors of rows were chosen"))
    }

    /// `source/pack/collector`.
    pub(super) fn id(&self) -> String {
        format!("{}/{}/{}", self.source.name, self.pack.app, self.pack.collectors[self.index].name)
    }
}

/// What was found.
pub(super) struct Found {
    /// The collectors, in the order of their ids.
    pub(super) tables: Vec<Table>,
    /// Whether a source that was asked for could not say what it has; that was told.
    pub(super) failed: bool,
}

/// The collectors that the running exporter runs and that are asked for. Packs are those that the operator names for a source,
/// else those whose tables it has.
///
/// # Errors
/// When the configuration has nothing of what is asked for.
pub(super) async fn find(
    settings: &Settings,
    request: &PastRequest,
    wanted: impl Fn(&Collector) -> bool,
) -> anyhow::Result<Found> {
    check(settings, request)?;
    let mut found = Found { tables: Vec::new(), failed: false };
    let mut runs: BTreeMap<(String, String), usize> = BTreeMap::new();
    for source in &settings.sources {
        if source.upstream.database().is_none() {
            continue;
        }
        let asked_for = request.source.as_ref().is_none_or(|name| *name == source.name);
        let packs = match Opened::of(source) {
            Ok(Opened::Database(database)) => packs(settings, source, &*database).await.map(|packs| (packs, database)),
            Ok(_) => continue,
            Err(failure) => Err(failure),
        };
        match packs {
            Ok((packs, database)) => {
                for pack in &packs {
                    for (index, collector) in pack.collectors.iter().enumerate() {
                        if collector.rows.is_none() || source.skips(&pack.app, &collector.name) {
                            continue;
                        }
                        *runs.entry((pack.app.clone(), collector.name.clone())).or_default() += 1;
                        let chosen = request.packs.is_empty()
                            || request.packs.iter().any(|choice| choice.has(&pack.app, &collector.name));
                        if asked_for && chosen && wanted(collector) {
                            found.tables.push(Table {
                                source: source.clone(),
                                database: database.clone(),
                                pack: pack.clone(),
                                index,
                                is_labelled: source.labelled,
                            });
                        }
                    }
                }
            }
            Err(failure) if asked_for => {
                tracing::error!(source = %source.name, reason = %failure.reason, "{failure}");
                found.failed = true;
            }
            // Only whether the label `source` is needed depends on it.
            Err(failure) => tracing::warn!(source = %source.name, reason = %failure.reason, "{failure}"),
        }
    }
    for table in &mut found.tables {
        let (collector, _) = table.definition();
        table.is_labelled |= runs.get(&(table.pack.app.clone(), collector.name.clone())).is_some_and(|runs| *runs > 1);
    }
    found.tables.sort_by_key(Table::id);
    Ok(found)
}

/// What cannot be, whatever the databases have.
fn check(settings: &Settings, request: &PastRequest) -> anyhow::Result<()> {
    if let Some(name) = &request.source {
        let Some(source) = settings.sources.iter().find(|source| source.name == *name) else {
            bail!("the configuration has no source `{name}`");
        };
        ensure!(
            source.upstream.database().is_some(),
            "the source `{name}` is a {}: only rows of tables have a past",
            source.upstream.as_str()
        );
    }
    for PackChoice { pack, collector } in &request.packs {
        let Some(known) = settings.packs.iter().find(|known| known.app == *pack) else {
            let all: Vec<&str> = settings.packs.iter().map(|pack| pack.app.as_str()).collect();
            bail!("there is no pack `{pack}`; there are {}", all.join(", "));
        };
        let Some(name) = collector else { continue };
        let is_there = known.collectors.iter().any(|of| of.name == *name && of.rows.is_some());
        ensure!(is_there, "the pack `{pack}` has no collector `{name}` that counts rows");
    }
    Ok(())
}

async fn packs(settings: &Settings, source: &SourceSettings, database: &dyn Source) -> Result<Vec<Arc<Pack>>, Failure> {
    let all = &settings.packs;
    if let Some(names) = &source.packs {
        return Ok(all.iter().filter(|pack| names.contains(&pack.app)).cloned().collect());
    }
    let mut tables: Vec<String> = all.iter().flat_map(|pack| pack.detect.clone()).collect();
    tables.sort();
    tables.dedup();
    let existing = database.existing_tables(&tables).await?;
    let fits = |pack: &&Arc<Pack>| match pack.common {
        Some(kind) => source.upstream.is(kind),
        None => !pack.detect.is_empty() && pack.detect.iter().all(|table| existing.contains(table)),
    };
    Ok(all.iter().filter(fits).cloned().collect())
}

/// The rows of a table from one time to another, page by page; some rows of a page lie outside.
pub(super) struct Pages<'t> {
    database: &'t dyn Source,
    query: &'t RowsQuery,
    from: Micros,
    to: Micros,
    limit: u32,
    after: Option<PagePosition>,
    /// How the first page was read, and of which database.
    began: Option<(CursorMode, String)>,
    ended: bool,
}

impl<'t> Pages<'t> {
    pub(super) fn of(table: &'t Table, query: &'t RowsQuery, from: Micros, to: Micros) -> Self {
        let (database, limit) = (&*table.database, table.source.page_rows);
        Pages { database, query, from, to, limit, after: None, began: None, ended: false }
    }

    /// The next page; none after the last.
    ///
    /// # Errors
    /// When the read failed, or when what was read before does not go on.
    pub(super) async fn next(&mut self) -> Result<Option<RowsPage>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let range =
            RowsRange { floor: Some(self.from), after: self.after.take(), ..RowsRange::of_everything(self.limit) };
        let page = self.database.read_rows(self.query, &range).await?;
        let now = (page.moment.mode, page.moment.identity.clone());
        if self.began.get_or_insert_with(|| now.clone()) != &now {
            let table = &self.query.table;
            let message = format!("{table} was replaced while it was read, so that rows would count twice: try again");
            return Err(Failure::new(Reason::BadReply, message));
        }
        // Pages are in the order of time, but for those by rowid.
        let is_past = now.0 != CursorMode::Rowid && page.times.last().is_some_and(|last| *last >= self.to);
        self.after.clone_from(&page.next);
        self.ended = is_past || page.next.is_none();
        Ok(Some(page))
    }
}
