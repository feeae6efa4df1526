//! `rowmetry check`: what each collector would read, what is in its way, and the role that may read just that.
//!
//! It asks the sources, and makes a report that can be printed. It counts nothing, keeps no state, and repeats neither
//! a row's content nor a secret.

pub mod drains;
pub mod estimate;
mod role;
pub mod spend;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::collector::guard::Guard;
use crate::config::{Settings, SourceSettings, address};
use crate::family::Micros;
use crate::pack::{Collector, Pack, System, lint};
use crate::source::keyspace::keys::KeysSettings;
use crate::source::{Examination, Opened, RowsQuery, SAMPLE_ROWS, Wanted};
use crate::telemetry::{Failure, Reason, State};

pub use drains::DrainReport;
pub use estimate::{PersonalData, SeriesEstimate};
pub use spend::SpendReport;

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Every source, in the order of the configuration.
    pub sources: Vec<SourceReport>,
    /// Every drain, in the order of the configuration.
    pub drains: Vec<DrainReport>,
    /// What is sent by OTLP.
    pub otlp: OtlpReport,
}

/// What is sent by OTLP, as configured: nothing is sent for this report.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct OtlpReport {
    /// What goes where, a line each; none when nothing is sent.
    pub sends: Vec<String>,
    /// Variables that were not understood, and what is probably not meant.
    pub warnings: Vec<String>,
}

/// What was found of one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceReport {
    /// The operator's name for it.
    pub source: String,
    /// Where it is, without its secret.
    pub address: String,
    /// `postgres`, `sqlite`, `redis`, `upstash`, `pgbouncer` or `http`.
    pub system: &'static str,
    /// Why it cannot be asked at all, if so.
    pub failure: Option<FailureReport>,
    /// Something an operator should know of the whole source.
    pub note: Option<String>,
    /// The packs that apply.
    pub packs: Vec<PackReport>,
    /// What reading it costs; none when that is not known.
    pub spend: Option<SpendReport>,
    /// SQL of the role that may read just what is read; Postgres only.
    pub role: Option<String>,
}

/// What was found of one pack on one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackReport {
    /// Short name.
    pub pack: String,
    /// Name for people.
    pub title: String,
    /// Its collectors, in the pack's order.
    pub collectors: Vec<CollectorReport>,
}

/// What was found of one collector.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CollectorReport {
    /// Its name in the pack.
    pub collector: String,
    /// Left out by the configuration.
    pub skipped: bool,
    /// Plain facts: what is read and how.
    pub facts: Vec<String>,
    /// What an operator should mend.
    pub findings: Vec<FindingReport>,
    /// Why it could not be looked at.
    pub failure: Option<FailureReport>,
    /// The series to come.
    pub series: Vec<SeriesEstimate>,
    /// Labels, and parts of spans, with values that look like personal data.
    pub personal: Vec<PersonalData>,
    /// Tables and columns that are read.
    pub reads: Vec<(String, Vec<String>)>,
    /// Rows in the sample.
    pub sampled: usize,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FindingReport {
    /// Whether the collector cannot work like this.
    pub fatal: bool,
    /// What is wrong and what mends it.
    pub message: String,
    /// SQL that mends it.
    pub sql: Option<String>,
}

/// Why something could not be looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureReport {
    /// The closed reason, as in `rowmetry_collector_failures_total`.
    pub reason: &'static str,
    /// What happened and what mends it.
    pub message: String,
}

impl From<Failure> for FailureReport {
    fn from(failure: Failure) -> Self {
        FailureReport { reason: failure.reason.as_str(), message: failure.message }
    }
}

impl CollectorReport {
    /// Whether it cannot work as things are.
    pub fn is_stopped(&self) -> bool {
        self.failure.is_some() || self.findings.iter().any(|finding| finding.fatal)
    }

    /// Whether there is something to know although it works.
    pub fn has_remarks(&self) -> bool {
        !self.findings.is_empty() || !self.personal.is_empty() || self.series.iter().any(SeriesEstimate::overflows)
    }
}

impl Report {
    /// Whether something stops a source or a collector: then `check` ends with 1.
    pub fn is_fatal(&self) -> bool {
        self.sources.iter().any(|source| {
            source.failure.is_some()
                || source.packs.is_empty()
                || source.packs.iter().flat_map(|pack| &pack.collectors).any(CollectorReport::is_stopped)
        }) || self.drains.iter().any(DrainReport::is_stopped)
    }

    /// The report for people. `colour` adds terminal colours and changes no word.
    pub fn text(&self, colour: bool) -> String {
        text::text(self, colour)
    }

    /// The report for machines, as one JSON document.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain JSON");
        text.push('\n');
        text
    }
}

/// A source by its name, or why it could not even be made.
pub type NamedSource = (String, Result<Opened, Failure>);

/// Asks every source of the settings; those that are not given are left out. `now` is the time of the look.
pub async fn check(settings: &Settings, sources: &[NamedSource], now: Micros) -> Report {
    let guard = Guard::new(settings.limits.label_length);
    let mut reports: BTreeMap<usize, SourceReport> = BTreeMap::new();
    let mut packs_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Databases first: what has no tables follows the packs of its application's database.
    let mut order: Vec<usize> = (0..settings.sources.len()).collect();
    order.sort_by_key(|index| settings.sources[*index].upstream.database().is_none());
    for index in order {
        let of = &settings.sources[index];
        let Some((_, source)) = sources.iter().find(|(name, _)| *name == of.name) else { continue };
        let mut found = SourceReport {
            source: of.name.clone(),
            address: address::shown(&of.url),
            system: of.upstream.as_str(),
            failure: None,
            note: None,
            packs: Vec::new(),
            spend: None,
            role: None,
        };
        match source {
            Ok(source) => {
                let followed = of.database.as_ref().and_then(|name| packs_of.get(name)).cloned().unwrap_or_default();
                Check { settings, of, source, guard: &guard, followed, now }.source(&mut found).await;
            }
            Err(failure) => found.failure = Some(failure.clone().into()),
        }
        packs_of.insert(of.name.clone(), found.packs.iter().map(|pack| pack.pack.clone()).collect());
        reports.insert(index, found);
    }
    let otlp = OtlpReport { sends: settings.otlp.lines(), warnings: settings.otlp.warnings.clone() };
    let sources: Vec<SourceReport> = reports.into_values().collect();
    Report { drains: drains::reports(settings, &sources), sources, otlp }
}

struct Check<'a> {
    settings: &'a Settings,
    of: &'a SourceSettings,
    source: &'a Opened,
    guard: &'a Guard,
    /// The packs of the application's database.
    followed: Vec<String>,
    now: Micros,
}

impl Check<'_> {
    async fn source(&self, found: &mut SourceReport) {
        let packs = match self.packs().await {
            Ok(packs) => packs,
            Err(failure) => {
                found.failure = Some(failure.into());
                return;
            }
        };
        if packs.is_empty() {
            let known: Vec<&str> = self.settings.packs.iter().map(|pack| pack.app.as_str()).collect();
            let why = match self.source {
                Opened::Database(_) => {
                    "no pack applies: none finds its `detect` tables here. Name one under `packs` of the source, or check \
                     that the role may see the tables"
                }
                _ => {
                    "no pack applies: name one under `packs` of the source, or name the application's database under `database`"
                }
            };
            found.note = Some(format!("{why}. Known packs: {}", known.join(", ")));
        }
        for pack in &packs {
            let mut collectors = Vec::new();
            let reads = self.of.upstream.reads();
            for collector in pack.collectors.iter().filter(|collector| collector.reads() == reads) {
                match self.collector(pack, collector).await {
                    Ok(report) => collectors.push(report),
                    Err(failure) => {
                        found.failure = Some(failure.into());
                        break;
                    }
                }
            }
            found.packs.push(PackReport { pack: pack.app.clone(), title: pack.title.clone(), collectors });
            if found.failure.is_some() {
                return;
            }
        }
        if !packs.is_empty() {
            let keys = match self.source {
                // What cannot be asked is left out of the estimate; the collectors have told why.
                Opened::Redis(keyspace) => keyspace.size().await.ok(),
                _ => None,
            };
            found.spend = Some(spend::report(self.settings, self.of, &packs, keys));
        }
        let is_postgres = self.of.upstream.database() == Some(System::Postgres);
        found.role = is_postgres.then(|| role::sql(&self.needs(found))).flatten();
    }

    /// The packs that the source names; else those of its kind of server, and those whose `detect` tables are all there or that
    /// the application's database has.
    async fn packs(&self) -> Result<Vec<Arc<Pack>>, Failure> {
        let reads = self.of.upstream.reads();
        let mut applying = Vec::new();
        for pack in self.settings.packs.iter().filter(|pack| pack.has_collectors_for(reads)) {
            let applies = match (&self.of.packs, pack.common, self.source) {
                (Some(names), ..) => names.contains(&pack.app),
                (None, Some(kind), _) => self.of.upstream.is(kind),
                (None, None, Opened::Database(database)) => {
                    !pack.detect.is_empty() && {
                        let existing = database.existing_tables(&pack.detect).await?;
                        pack.detect.iter().all(|table| existing.contains(table))
                    }
                }
                (None, None, _) => self.followed.contains(&pack.app),
            };
            if applies {
                applying.push(Arc::clone(pack));
            }
        }
        if self.of.packs.is_none() && self.source.is_endpoint() && applying.iter().any(|pack| pack.common.is_none()) {
            applying.retain(|pack| pack.common.is_none());
        }
        Ok(applying)
    }

    /// Fails only for what concerns the whole source.
    async fn collector(&self, pack: &Pack, collector: &Collector) -> Result<CollectorReport, Failure> {
        let mut report = CollectorReport { collector: collector.name.clone(), ..CollectorReport::default() };
        let sends_spans = sends_spans(self.settings);
        if self.of.skips(&pack.app, &collector.name) || !has_use(collector, sends_spans) {
            report.skipped = true;
            return Ok(report);
        }
        let parameters = self.settings.parameters_of(pack);
        let mut without_spans = None;
        let (examined, columns): (_, Vec<(String, usize)>) = match (&collector.rows, self.source) {
            (Some(rows), Opened::Database(database)) => {
                let mut query = RowsQuery::of(rows, database.system(), parameters);
                if !sends_spans {
                    query.keep_columns(&lint::metric_columns(collector));
                }
                let mut examined = database.examine_rows(&query).await;
                if let Err(failure) = &examined
                    && sends_spans
                    && !collector.metrics.is_empty()
                    && !failure.reason.is_source_wide()
                {
                    let why = failure.to_string();
                    let mut bare = query.clone();
                    bare.keep_columns(&lint::metric_columns(collector));
                    let again = database.examine_rows(&bare).await;
                    if again.is_ok() {
                        without_spans = Some(why);
                        (examined, query) = (again, bare);
                    }
                }
                let leading = query.key.len() + usize::from(query.transition.is_some());
                let columns =
                    query.columns.iter().enumerate().map(|(n, (name, _))| (name.clone(), leading + n)).collect();
                (examined, columns)
            }
            _ => {
                let names: Vec<String> = lint::used_columns(collector).into_iter().map(str::to_owned).collect();
                let columns = names.iter().cloned().enumerate().map(|(n, name)| (name, n)).collect();
                let limits = self.settings.limits;
                let reader = self.source.reader(Wanted {
                    collector,
                    columns: names,
                    parameters,
                    row_limit: limits.snapshot_rows,
                    keys: KeysSettings { per_second: self.of.budget.per_second, key_limit: limits.seen_keys },
                    names: &|_| None,
                });
                // Collectors that read another kind of source were left out.
                let Some(mut reader) = reader else { return Ok(report) };
                (reader.examine(self.now).await, columns)
            }
        };
        match examined {
            Ok(examination) => self.fill(&mut report, collector, examination, &columns),
            Err(failure) if failure.reason.is_source_wide() => return Err(failure),
            Err(failure) if pack.common.is_some() && failure.reason.state() == State::Absent => {
                // Servers differ in what they have, and no operator need mend that.
                let message = format!("{failure}. This server does not have it; its metrics stay absent");
                report.findings.push(FindingReport { fatal: false, message, sql: None });
            }
            Err(failure) => report.failure = Some(failure.into()),
        }
        if let Some(why) = without_spans {
            let message = format!("{why}. Its rows are counted without spans, which need that");
            report.findings.push(FindingReport { fatal: false, message, sql: None });
        }
        Ok(report)
    }

    fn fill(&self, report: &mut CollectorReport, of: &Collector, found: Examination, columns: &[(String, usize)]) {
        let sample = &found.sample;
        let cell_of = |name: &str| columns.iter().find(|(known, _)| known == name).map(|(_, cell)| *cell);
        let whole = sample.len() < SAMPLE_ROWS as usize;
        let limit = self.settings.limits.series_per_metric;
        report.sampled = sample.len();
        for metric in of.metrics.iter().filter(|_| !sample.is_empty()) {
            report.series.push(estimate::series(metric, sample, &cell_of, whole, limit, self.guard));
            report.personal.extend(estimate::personal(metric, sample, &cell_of, self.guard));
        }
        for span in of.spans.iter().filter(|_| sends_spans(self.settings)) {
            report.personal.extend(estimate::personal_in_span(span, sample, &cell_of, self.guard));
        }
        report.facts = found.facts;
        report.findings = found
            .findings
            .into_iter()
            .map(|finding| FindingReport { fatal: finding.fatal, message: finding.message, sql: finding.sql })
            .collect();
        report.reads = found.reads;
    }

    fn needs(&self, found: &SourceReport) -> role::Needs {
        let database = found.address.rsplit_once('/').map(|(_, database)| database.to_owned());
        let mut needs = role::Needs { database: database.filter(|name| !name.is_empty()), ..role::Needs::default() };
        for pack in &found.packs {
            for collector in pack.collectors.iter().filter(|collector| !collector.skipped) {
                needs.add(&collector.reads);
                let hidden = Reason::RowsHidden.as_str();
                needs.row_security |= collector.failure.as_ref().is_some_and(|failure| failure.reason == hidden)
                    || collector.facts.iter().any(|fact| fact.contains("row-level security"));
                if collector.reads.is_empty() && collector.is_stopped() {
                    needs.unknown.push(format!("{}/{}", pack.pack, collector.collector));
                }
            }
        }
        needs
    }
}

/// Whether rows are made spans of.
fn sends_spans(settings: &Settings) -> bool {
    settings.otlp.traces.as_ref().is_some_and(|traces| traces.rows.is_some())
}

/// Whether the collector is read at all: one that makes spans alone is not where none are sent.
fn has_use(collector: &Collector, sends_spans: bool) -> bool {
    sends_spans || !collector.metrics.is_empty()
}

#[cfg(test)]
mod tests;
