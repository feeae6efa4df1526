//! `rowmetry backfill`: the past of every counter and histogram, as OpenMetrics that promtool makes blocks of.
//!
//! Nothing is written but to standard output, and there only when everything has been read. What cannot be read is told and left
//! out whole.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::past::{self, Pages, PastRequest, Table};
use crate::collector::{Guard, PastFamily, RowsHistory, Steps, history};
use crate::config::Settings;
use crate::exposition::past::{TargetLabels, write};
use crate::schedule::clock;
use crate::source::RowsQuery;
use crate::store::source_label;
use crate::telemetry::Failure;

/// Memory that the changes of all series may take: 512 MiB, some forty million changes of a counter of rows.
const MEMORY_BYTES: usize = 512 << 20;

/// What `backfill` is to write.
#[derive(Debug, Clone, PartialEq)]
pub struct BackfillRequest {
    /// Which past.
    pub past: PastRequest,
    /// Seconds from sample to sample.
    pub step: i64,
    /// Labels that every sample gets, as those of a target.
    pub target: TargetLabels,
}

/// Reads the past and writes it. Returns whether everything that was asked for is there.
///
/// # Errors
/// When the window or a name does not fit, there is more than memory is allowed for, or `out` takes no more.
pub async fn backfill(settings: &Settings, request: &BackfillRequest, out: &mut dyn Write) -> anyhow::Result<bool> {
    let BackfillRequest { past: asked, step, target } = request;
    let now = clock::now();
    if asked.to > now {
        tracing::warn!("--to lies in the future: the past ends now");
    }
    let steps = Steps::new(asked.from, asked.to.min(now), *step).map_err(anyhow::Error::msg)?;
    let guard = Arc::new(Guard::new(settings.limits.label_length));
    let found = past::find(settings, asked, |collector| !collector.metrics.is_empty()).await?;
    if found.tables.is_empty() && !found.failed {
        bail!(
            "there is nothing to read: no collector that counts rows runs here. `rowmetry check` says what would be read"
        );
    }
    let mut whole = !found.failed;
    let mut families = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for table in &found.tables {
        match read(settings, table, &guard, steps, bytes).await {
            Ok(read) => {
                tracing::info!(collector = %table.id(), rows = read.rows, "read");
                rows += read.rows;
                bytes += read.bytes;
                families.extend(read.families);
            }
            Err(NotRead::Failed(failure)) => {
                tracing::error!(collector = %table.id(), reason = %failure.reason, "left out: {failure}");
                whole = false;
            }
            Err(NotRead::NoRoom) => {
                bail!(
                    "the series change too often to be kept in {} MiB: take a shorter window, a longer --step, or fewer packs \
                     with --pack, and go on from there",
                    MEMORY_BYTES >> 20
                )
            }
        }
    }
    let (families, left_out) = history::merged(families);
    if left_out > 0 {
        tracing::warn!(series = left_out, "several collectors have the same series: the first one's was taken");
    }
    let (mut series, mut samples) = (0, 0);
    for of in families.iter().flat_map(|family| &family.series) {
        series += 1;
        samples += (u64::from(steps.last() - of.begins) + 1) * of.lines();
    }
    tracing::info!(
        rows,
        series,
        samples,
        "writing. Gauges are not among it: what snapshots, keys and probes tell has no history in the database"
    );
    match write(&families, &steps, target, out) {
        // Whoever reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(whole),
        written => written.map(|()| whole).context("the output cannot be written"),
    }
}

/// What one table came to.
struct Read {
    families: Vec<PastFamily>,
    rows: u64,
    bytes: usize,
}

enum NotRead {
    Failed(Failure),
    NoRoom,
}

/// Reads one table. `taken` is the memory that those before it took.
async fn read(
    settings: &Settings,
    table: &Table,
    guard: &Arc<Guard>,
    steps: Steps,
    taken: usize,
) -> Result<Read, NotRead> {
    let (definition, rows) = table.definition();
    let mut query = RowsQuery::of(rows, table.database.system(), settings.parameters_of(&table.pack));
    query.keep_columns(&crate::pack::lint::metric_columns(definition));
    let mut history = RowsHistory::new(definition, &query, &settings.limits, guard, steps);
    let mut pages = Pages::of(table, &query, steps.from(), steps.to());
    let mut told_index = false;
    while let Some(page) = pages.next().await.map_err(NotRead::Failed)? {
        if !page.moment.indexed && page.next.is_some() && !told_index {
            told_index = true;
            tracing::warn!(collector = %table.id(), "no index serves {}: each page scans {}", query.time, query.table);
        }
        history.fold(&page);
        if taken + history.bytes() > MEMORY_BYTES {
            return Err(NotRead::NoRoom);
        }
    }
    tell(table, &mut history);
    let (rows, bytes) = (history.counted, history.bytes());
    let mut families = history.families();
    if table.is_labelled {
        for family in &mut families {
            let name = source_label(family.series.iter().map(|series| &series.labels));
            for series in &mut family.series {
                series.labels = series.labels.with(name.clone(), &table.source.name);
            }
        }
    }
    Ok(Read { families, rows, bytes })
}

fn tell(table: &Table, history: &mut RowsHistory) {
    let reasons: BTreeMap<&str, u64> = history.ignored.iter().map(|(reason, rows)| (reason.as_str(), *rows)).collect();
    if !reasons.is_empty() {
        tracing::warn!(collector = %table.id(), ?reasons, "values were not counted");
    }
    let overflowed = history.overflowed();
    if overflowed > 0 {
        tracing::warn!(
            collector = %table.id(), overflowed,
            "there are more series than `limits.series_per_metric`: rows went to the label set `overflow`"
        );
    }
}
