//! One drain for ever: takes what was delivered, counts it, writes it down, shows it, and only then tells who brought it.
//!
//! What waits is counted together, in one transaction for all collectors of the drain. When that cannot be written, nothing was
//! counted: what is in memory is made anew from the state, and who brought the lines brings them again.

mod counting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::logs::{DrainKind, DrainSettings};
use crate::otlp::queue::Room;
use crate::pack::{Pack, Reads};
use crate::source::logs::position::FilePosition;
use crate::source::logs::{Delivery, Inlet, Inlets, Parsed, Refusal, file};
use crate::store::SourceStatus;
use crate::telemetry::metrics::{DrainMetrics, LineFate};
use crate::telemetry::{Failure, Reason, State};

use super::{Context, clock};
use counting::{Counted, Counting};

/// Lines that are counted together at most, but for one delivery. More would only make who brought them wait longer.
const GROUP_LINES: usize = 50_000;

/// Time between two looks at what time itself changes: runs that are lost, series that were shown as 0, packs.
const TICK: Duration = Duration::from_secs(1);

/// A drain without a line is said to be well this often, in ticks.
const WELL_EVERY: u32 = 10;

/// A drain, open for deliveries.
pub struct Drain {
    settings: Arc<DrainSettings>,
    context: Arc<Context>,
    inlet: Inlet,
    deliveries: mpsc::Receiver<Delivery>,
    metrics: DrainMetrics,
    /// None until it was made from the state.
    counting: Option<Counting>,
    /// What was told of the last failure, so that it is told once.
    failing: Option<String>,
    since_well: u32,
    lines: u64,
}

impl Drain {
    /// Opens the way in: what is delivered from now on waits until the drain runs.
    pub fn open(settings: Arc<DrainSettings>, context: Arc<Context>, inlets: &Inlets) -> Self {
        let metrics = context.metrics.drain(&settings.name, settings.kind.is_posted());
        let (inlet, deliveries) = Inlet::new(settings.clone(), metrics.clone());
        if settings.kind.is_posted() {
            inlets.open(inlet.clone());
        }
        let status = SourceStatus { system: settings.kind.as_str().into(), lines: Some(0), ..SourceStatus::default() };
        context.board.update(|view| view.sources.insert(settings.name.as_str().into(), status));
        let (counting, failing) = (None, None);
        Drain { settings, context, inlet, deliveries, metrics, counting, failing, since_well: 0, lines: 0 }
    }

    /// Runs until told to stop. What waits then is counted still.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut following: Option<JoinHandle<()>> = None;
        let told = stop.clone();
        loop {
            tokio::select! {
                biased;
                () = is_told(&mut stop) => break,
                // First, so that it comes round however much is delivered.
                _ = ticks.tick() => {
                    self.tick().await;
                    if let (None, Some(counting)) = (&following, &self.counting) {
                        following = self.follow(counting.position().cloned(), told.clone());
                    }
                }
                Some(delivery) = self.deliveries.recv() => {
                    let group = self.group(delivery);
                    self.count(group).await;
                }
            }
        }
        if let Some(following) = following {
            following.abort();
            // It has given back what it reads, for who reads it next.
            let _ = following.await;
        }
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            let group = self.group(delivery);
            self.count(group).await;
        }
    }

    /// Everything that waits, with the first of it.
    fn group(&mut self, first: Delivery) -> Vec<Delivery> {
        let mut lines = first.parsed.lines.len();
        let mut group = vec![first];
        while lines < GROUP_LINES
            && let Ok(delivery) = self.deliveries.try_recv()
        {
            lines += delivery.parsed.lines.len();
            group.push(delivery);
        }
        group
    }

    /// Counts deliveries together, and tells those who brought them.
    async fn count(&mut self, group: Vec<Delivery>) {
        let mut answers: Vec<oneshot::Sender<Result<(), Refusal>>> = Vec::with_capacity(group.len());
        let (mut parsed, mut rooms, mut position) = (Vec::with_capacity(group.len()), Vec::new(), None);
        for delivery in group {
            answers.push(delivery.answer);
            rooms.extend(delivery.room);
            parsed.push(delivery.parsed);
            position = delivery.position.or(position);
        }
        let outcome = self.counted(parsed, position).await;
        for answer in answers {
            // Who went away brings it again, and is told then.
            let _ = answer.send(outcome);
        }
        drop(rooms);
    }

    async fn counted(&mut self, parsed: Vec<Parsed>, position: Option<FilePosition>) -> Result<(), Refusal> {
        if self.counting.is_none() {
            self.make().await?;
        }
        let began = Instant::now();
        let now = clock::now();
        let mut counting = self.counting.take().ok_or(Refusal::NotReady)?;
        let (mut unreadable, mut continuations, mut cut) = (0, 0, 0);
        for parsed in &parsed {
            unreadable += parsed.unreadable;
            continuations += parsed.continuations;
            cut += parsed.cut;
        }
        let lines: usize = parsed.iter().map(|parsed| parsed.lines.len()).sum();
        let room = self.context.spans.as_ref().map(|queue| queue.reserve(counting.spans_of(&parsed)));
        let spans = room.as_ref().map_or(0, Room::spans);
        let rows_now = self.rows_of_database();
        let folding = tokio::task::spawn_blocking(move || {
            let counted = counting.fold(&parsed, position, spans, rows_now, now);
            (counting, counted, parsed)
        });
        let Ok((counting, counted, parsed)) = folding.await else {
            tracing::error!(source = %self.settings.name, "counting lines broke off; they are counted when they come again");
            return Err(Refusal::NotWritten);
        };
        // Millions of small pieces: they are freed while the disk writes. Who brings more has to wait until they are.
        let freeing = tokio::task::spawn_blocking(move || drop(parsed));
        let written = self.write(counting, &counted, room, began, lines > 0).await;
        let _ = freeing.await;
        written?;
        let is_new = counted.counted + counted.unmatched;
        for (fate, lines) in [
            (LineFate::Counted, counted.counted),
            (LineFate::Unmatched, counted.unmatched),
            (LineFate::Repeated, counted.repeated),
            (LineFate::Continuation, continuations),
            (LineFate::Unreadable, unreadable),
        ] {
            self.metrics.lines(fate, lines);
        }
        self.metrics.cut(cut);
        self.lines += is_new + counted.repeated;
        self.tell();
        Ok(())
    }

    /// Writes what was counted, shows it, and takes the counting back. When it cannot be written, it is made anew.
    async fn write(
        &mut self,
        mut counting: Counting,
        counted: &Counted,
        room: Option<Room>,
        began: Instant,
        is_heard: bool,
    ) -> Result<(), Refusal> {
        let all: Vec<_> = counted.changes.iter().map(|(id, changes)| (id.as_str(), changes)).collect();
        if let Err(failure) = self.context.save_all(&all).await {
            self.failed(&counting, &failure);
            return Err(Refusal::NotWritten);
        }
        if let Some(room) = room {
            room.fill(counted.spans_made);
        }
        let now = clock::now();
        counting.publish(&self.context, is_heard, now);
        counting.tell(&self.context, counted, began.elapsed().as_secs_f64(), now);
        self.failing = None;
        self.since_well = 0;
        self.counting = Some(counting);
        Ok(())
    }

    /// What time itself changes.
    async fn tick(&mut self) {
        let wanted = self.packs();
        if let (Some(counting), Some(packs)) = (&self.counting, &wanted)
            && !counting.is_of(packs)
        {
            tracing::info!(source = %self.settings.name, "other packs count its lines now");
            if let Some(counting) = self.counting.take() {
                counting.take_back(&self.context, packs);
            }
        }
        if self.counting.is_none() && self.make().await.is_err() {
            self.tell();
            return;
        }
        let now = clock::now();
        let Some(mut counting) = self.counting.take() else { return };
        // What could not be written is tried again, so that it is known when it can be, and not before.
        if self.failing.is_some() || counting.next_tick().is_some_and(|next| next <= now) {
            let began = Instant::now();
            let room = self.context.spans.as_ref().map(|queue| queue.reserve(counting.spans_of_due()));
            let counted = counting.tick(room.as_ref().map_or(0, Room::spans), now);
            // When it cannot be written, it is made anew at the next tick, and comes due again.
            let _ = self.write(counting, &counted, room, began, false).await;
            self.tell();
            return;
        }
        counting.ripen(&self.context, now);
        self.since_well += 1;
        if self.since_well >= WELL_EVERY {
            self.since_well = 0;
            counting.tell(&self.context, &Counted::default(), 0.0, now);
        }
        self.counting = Some(counting);
        self.tell();
    }

    /// Makes the counting from the state, once it is known which packs apply.
    async fn make(&mut self) -> Result<(), Refusal> {
        let made = Counting::load(&self.settings, &self.context, self.packs(), clock::now()).await;
        match made {
            Ok(Some(counting)) => {
                counting.begin(&self.context, self.failing.is_none());
                self.counting = Some(counting);
                Ok(())
            }
            Ok(None) => Err(Refusal::NotReady),
            Err(failure) => {
                let message = failure.message.clone();
                if self.failing.as_ref() != Some(&message) {
                    tracing::error!(source = %self.settings.name, reason = %failure.reason, "{failure}");
                }
                self.failing = Some(message);
                Err(Refusal::NotWritten)
            }
        }
    }

    fn failed(&mut self, counting: &Counting, failure: &Failure) {
        if self.failing.is_none() {
            tracing::error!(source = %self.settings.name, reason = %failure.reason, "{failure}");
        }
        self.failing = Some(failure.message.clone());
        for (id, metrics) in counting.ids() {
            metrics.failed(failure.reason, 0.0);
            self.context.board.collector(id, |status| {
                status.state = Some(failure.reason.state());
                status.last_run = Some(clock::now());
                status.failure = Some(failure.clone());
            });
        }
    }

    /// The packs that count its lines; none while that is not known. What its database runs before it could be asked (the pack of its
    /// kind of server) is not all: lines that come meanwhile would be remembered as counted.
    fn packs(&self) -> Option<Vec<Arc<Pack>>> {
        let all = &self.context.settings.packs;
        let of = |names: &[String]| -> Vec<Arc<Pack>> {
            let named = all.iter().filter(|pack| names.contains(&pack.app) && pack.has_collectors_for(Reads::Logs));
            named.cloned().collect()
        };
        if let Some(names) = &self.settings.packs {
            return Some(of(names));
        }
        let database = self.settings.database.as_deref()?;
        let configured = self.context.settings.sources.iter().find(|source| source.name == database);
        if let Some(names) = configured.and_then(|source| source.packs.as_ref()) {
            return Some(of(names));
        }
        let status = self.context.board.update(|view| view.sources.get(database).cloned()).unwrap_or_default();
        status.settled.then(|| of(&status.packs))
    }

    /// Rows that each collector of its database counted so far, as far as that is known.
    fn rows_of_database(&self) -> BTreeMap<String, u64> {
        let Some(database) = self.settings.database.as_deref() else { return BTreeMap::new() };
        self.context.board.update(|view| {
            let of = view.collectors.iter().filter(|(id, status)| &*id.source == database && status.kind == "rows");
            of.filter_map(|(id, status)| Some((id.to_string(), status.rows_counted?))).collect()
        })
    }

    /// Says how it fares: on the board, and in its metrics.
    fn tell(&mut self) {
        let rows = self.rows_of_database();
        // Before the first line too: a drain that was never set up at its host is as silent as one that broke.
        if let (Some(counting), Some(_)) = (&mut self.counting, &self.settings.database) {
            self.metrics.rows_since_last_line(counting.rows_since(rows));
        }
        let counting = self.counting.as_ref();
        let last_line = counting.and_then(Counting::last_line);
        if let Some(last) = last_line {
            self.metrics.last_line(last as f64 / 1e6);
        }
        if let Some(counting) = counting {
            let (lines, oldest) = counting.remembered();
            let age = oldest.map_or(0, |oldest| clock::now().saturating_sub(oldest).max(0));
            self.metrics.remembered(lines, age as f64 / 1e6);
        }
        let waits = || {
            let database = self.settings.database.as_deref().unwrap_or_default();
            format!(
                "waits for the source {database}, whose tables tell which packs count these lines; `packs` would say it at once"
            )
        };
        let nobody = || {
            format!(
                "no pack counts lines of this drain ({}): name one with `packs`, or say whose lines they are with `streams`",
                self.settings.streams.iter().map(|stream| stream.as_str()).collect::<Vec<_>>().join(", ")
            )
        };
        let note = match (&self.failing, counting) {
            (Some(failing), _) => Some(failing.clone()),
            (None, None) => Some(waits()),
            (None, Some(counting)) => counting.ids().next().is_none().then(nobody),
        };
        self.context.board.update(|view| {
            let status = view.sources.entry(self.settings.name.as_str().into()).or_default();
            status.system = self.settings.kind.as_str().into();
            status.packs = counting.map(Counting::packs).unwrap_or_default();
            status.settled = counting.is_some();
            status.note = note;
            status.lines = Some(self.lines);
            status.last_line = last_line;
        });
    }

    fn follow(&self, position: Option<FilePosition>, stop: watch::Receiver<bool>) -> Option<JoinHandle<()>> {
        let (inlet, limits) = (self.inlet.clone(), self.context.settings.logs.limits);
        match self.settings.kind {
            DrainKind::File => Some(tokio::spawn(file::follow(inlet, position, limits, stop))),
            DrainKind::Stdin => Some(tokio::spawn(file::read_stdin(inlet, limits, stop))),
            _ => None,
        }
    }
}

async fn is_told(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is told too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Why something stored could not be used.
fn unusable(error: &impl std::fmt::Display) -> Failure {
    Failure::new(Reason::StateWrite, error.to_string())
}

/// The state of a collector that counts.
const WELL: State = State::Ok;

#[cfg(test)]
mod tests;
