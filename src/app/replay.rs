//! `rowmetry replay`: the spans of a window of time, sent once more, with the ids that they had.
//!
//! From pages straight to the receiver, with no more than a page in memory. The state is not touched, and nothing that a
//! running exporter keeps is sent in its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use super::past::{self, Pages, PastRequest, Table};
use crate::collector::{Guard, SpanMaker};
use crate::config::Settings;
use crate::family::Micros;
use crate::otlp::Transport;
use crate::otlp::delivery::{Held, Sender};
use crate::otlp::encode::spans::{Applications, Origin};
use crate::schedule::clock;
use crate::source::{CursorMode, RowsPage, RowsQuery};
use crate::span::SpanRecord;
use crate::telemetry::Failure;
use crate::telemetry::metrics::Metrics;

/// What `replay` is to send.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayRequest {
    /// Which past.
    pub past: PastRequest,
    /// Make the spans, and send none.
    pub dry_run: bool,
    /// How long a receiver that takes nothing is waited for.
    pub patience: Duration,
}

/// Sends the spans. Returns whether the receiver has all of them.
///
/// # Errors
/// When no receiver is configured or usable, or the configuration has nothing of what is asked for.
pub async fn replay(settings: &Settings, request: &ReplayRequest) -> anyhow::Result<bool> {
    let now = clock::now();
    let mut asked = request.past.clone();
    if asked.to > now {
        tracing::warn!("--to lies in the future: the past ends now");
        asked.to = now;
    }
    let sender = if request.dry_run { None } else { Some(sender(settings)?) };
    let found = past::find(settings, &asked, |collector| !collector.spans.is_empty()).await?;
    if found.tables.is_empty() && !found.failed {
        bail!("there is nothing to send: no collector that runs here makes spans of rows");
    }
    let guard = Arc::new(Guard::new(settings.limits.label_length));
    let mut run = Run { settings, guard, sender, patience: request.patience, asked, total: Counts::default() };
    let mut whole = !found.failed;
    let mut left = found.tables.iter();
    while let Some(table) = left.next() {
        match run.table(table).await {
            Ok(()) => {}
            Err(Stop::Failed(failure)) => {
                tracing::error!(collector = %table.id(), reason = %failure.reason, "broken off: {failure}");
                whole = false;
            }
            Err(Stop::Held { held, reached }) => {
                run.total.tell("stopped");
                run.tell_how_to_go_on(&held, table, reached, left.map(Table::id).collect());
                return Ok(false);
            }
        }
    }
    run.total.tell(if request.dry_run { "nothing was sent (--dry-run)" } else { "done" });
    Ok(whole && run.total.refused == 0)
}

fn sender(settings: &Settings) -> anyhow::Result<Sender> {
    let Some(traces) = &settings.otlp.traces else {
        bail!(
            "nothing says where to send spans: set `otlp.endpoint` in the configuration, or OTEL_EXPORTER_OTLP_ENDPOINT \
             (such as http://localhost:4318)"
        );
    };
    let Some(rows) = &traces.rows else {
        bail!("spans of rows are turned off: set `otlp.traces.rows` to true");
    };
    let transport = Transport::new(&traces.endpoint).context("spans of rows cannot be sent")?;
    let applications = Applications::new(&settings.otlp, rows, super::VERSION);
    Ok(Sender::new(transport, applications, Metrics::new(super::VERSION).delivery(), traces.batch_spans))
}

/// What became of rows and spans.
#[derive(Debug, Clone, Default)]
struct Counts {
    rows: u64,
    made: u64,
    accepted: u64,
    refused: u64,
    skipped: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn tell(&self, end: &str) {
        let Counts { rows, made, accepted, refused, skipped } = self;
        tracing::info!(rows, spans = made, accepted, refused, ?skipped, "{end}");
    }
}

struct Run<'s> {
    settings: &'s Settings,
    guard: Arc<Guard>,
    /// None when nothing is to be sent.
    sender: Option<Sender>,
    patience: Duration,
    asked: PastRequest,
    total: Counts,
}

/// Why a table was not sent as a whole.
enum Stop {
    Failed(Failure),
    /// `reached` is the time before which everything of the table was sent; none when its rows come in another order.
    Held {
        held: Held,
        reached: Option<Micros>,
    },
}

/// The spans of a page, each with the time of its row.
#[derive(Default)]
struct Made {
    spans: Vec<SpanRecord>,
    times: Vec<Micros>,
}

impl Run<'_> {
    async fn table(&mut self, table: &Table) -> Result<(), Stop> {
        let (definition, rows) = table.definition();
        let query = RowsQuery::of(rows, table.database.system(), self.settings.parameters_of(&table.pack));
        let source = &table.source.name;
        let Some(mut maker) = SpanMaker::new(definition, &query, source, &table.pack.app, &self.guard) else {
            return Ok(());
        };
        let key_cells = query.key.len() + usize::from(query.transition.is_some());
        let mut pages = Pages::of(table, &query, self.asked.from, self.asked.to);
        let before = self.total.clone();
        while let Some(page) = pages.next().await.map_err(Stop::Failed)? {
            let made = self.make(&mut maker, &page, key_cells);
            self.total.made += made.spans.len() as u64;
            if let Some(sender) = &self.sender {
                let origin = Origin { source, pack: &table.pack.app };
                send(sender, origin, &made, self.patience, &mut self.total).await.map_err(|(held, done)| {
                    let in_order = page.moment.mode != CursorMode::Rowid;
                    Stop::Held { held, reached: made.times.get(done).copied().filter(|_| in_order) }
                })?;
            }
        }
        let (rows, spans) = (self.total.rows - before.rows, self.total.made - before.made);
        tracing::info!(collector = %table.id(), rows, spans, "read");
        Ok(())
    }

    /// The spans of a page's rows that lie in the window.
    fn make(&mut self, maker: &mut SpanMaker, page: &RowsPage, key_cells: usize) -> Made {
        let mut made = Made::default();
        let mut skipped = BTreeMap::new();
        for (row, time) in page.rows.iter().zip(&page.times) {
            let has_key = (0..key_cells).all(|cell| row.cell(cell).is_some());
            if !(self.asked.from..self.asked.to).contains(time) || !has_key {
                continue;
            }
            self.total.rows += 1;
            maker.make(&|cell| row.cell(cell), *time, &mut made.spans, &mut skipped);
            made.times.resize(made.spans.len(), *time);
        }
        for (reason, spans) in skipped {
            *self.total.skipped.entry(reason.as_str()).or_default() += spans;
        }
        made
    }

    fn tell_how_to_go_on(&self, held: &Held, table: &Table, reached: Option<Micros>, left: Vec<String>) {
        let from = time(reached.unwrap_or(self.asked.from));
        let (to, id) = (time(self.asked.to), table.id());
        let packs = id.split_once('/').map_or("", |(_, pack)| pack);
        tracing::error!(
            collector = %id,
            "the receiver of traces takes no more: {}. Go on with: rowmetry replay --from {from} --to {to} --source {} --pack \
             {packs}",
            held.why, table.source.name
        );
        if !left.is_empty() {
            tracing::error!("nothing was sent yet of {}", left.join(", "));
        }
    }
}

/// Sends the spans of a page, as often as it takes while the receiver takes any. Else returns why not, and how many were done.
async fn send(
    sender: &Sender,
    origin: Origin<'_>,
    made: &Made,
    patience: Duration,
    total: &mut Counts,
) -> Result<(), (Held, usize)> {
    let spans: Vec<(Origin<'_>, &SpanRecord)> = made.spans.iter().map(|span| (origin, span)).collect();
    let (mut done, mut failures, mut progressed) = (0, 0, Instant::now());
    loop {
        let sent = sender.send(&spans[done..]).await;
        total.accepted += sent.accepted;
        total.refused += sent.given_up;
        done += sent.done;
        let Some(held) = sent.held else { return Ok(()) };
        if sent.done > 0 {
            (failures, progressed) = (0, Instant::now());
        }
        failures += 1;
        let pause = held.pause(failures);
        if held.misconfigured || progressed.elapsed() + pause > patience {
            return Err((held, done));
        }
        if failures == 1 {
            tracing::warn!("the receiver of traces has to be waited for: {}", held.why);
        }
        tokio::time::sleep(pause).await;
    }
}

fn time(micros: Micros) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| "now".to_owned(), |time| time.to_string())
}
