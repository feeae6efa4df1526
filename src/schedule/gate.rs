//! One source's gate: one read at a time, none while the source is known to be out of reach, and as often as its governor
//! lets.
//!
//! When a read finds the whole source out of reach, the others fail at once with the same word instead of each waiting
//! for its own timeout. The gate never retries by itself: the first collector whose turn comes after the pause does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::config::{SourceSettings, Upstream};
use crate::source::spend::Spend;
use crate::telemetry::metrics::SourceMetrics;
use crate::telemetry::{Failure, Reason};

use super::governor::{Admission, Governor, Ran, Terms, Wish};
use super::pace;

/// Statements that one run of a collector may take before any run has shown it: a database is connected to, asked who it is, and
/// its first page and the one after are read, and a window is recounted.
const FIRST_RUN: u64 = 20;

/// A run that is not a database's: a part of a scan, a probe, a figure.
const FIRST_SMALL_RUN: u64 = 4;

/// One collector's way through the gate of its source.
pub struct Gate {
    shared: Arc<Shared>,
    /// Statements sent in this collector's turns.
    sent: AtomicU64,
}

struct Shared {
    source: String,
    interval: Duration,
    began: Instant,
    turn: Semaphore,
    down: Mutex<Down>,
    governor: Mutex<Governor>,
    spend: Spend,
    metrics: SourceMetrics,
    /// Told when everybody's time may have changed.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Down {
    until: Option<Instant>,
    failure: Option<Failure>,
    failures: u32,
    /// The last round that it was opened for.
    round: u64,
}

impl Down {
    /// Who waited for a round has waited long enough: the first of a round tries, and the others do as it does.
    fn open_for(&mut self, round: u64) {
        if round > self.round {
            self.round = round;
            self.until = None;
        }
    }
}

/// When a collector would run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// When its pause began.
    pub since: Instant,
    /// How long it is, were there no governor.
    pub pause: Duration,
    /// What was begun goes on.
    pub going_on: bool,
    /// The round in which it ran last.
    pub round: u64,
}

impl Gate {
    /// A gate that is open. `spend` is the source's own count of what it was asked.
    pub fn new(settings: &SourceSettings, spend: &Spend, metrics: SourceMetrics) -> Self {
        let is_database = matches!(settings.upstream, Upstream::Database(_));
        // Only a database suspends, and only its rows tell whether its application is quiet.
        let mut budget = settings.budget;
        budget.awake_per_day = budget.awake_per_day.filter(|_| is_database);
        let governor = Governor::new(Terms {
            interval: settings.interval,
            idle: settings.idle.filter(|_| is_database),
            budget,
            reserve: if is_database { FIRST_RUN } else { FIRST_SMALL_RUN },
        });
        metrics.limited(budget.per_day, budget.awake_per_day.map(|awake| awake.as_secs_f64()));
        let shared = Shared {
            source: settings.name.clone(),
            interval: settings.interval,
            began: Instant::now(),
            turn: Semaphore::new(1),
            down: Mutex::default(),
            governor: Mutex::new(governor),
            spend: spend.clone(),
            metrics,
            changed: watch::channel(()).0,
        };
        shared.show(&shared.governor(), Instant::now());
        Gate { shared: Arc::new(shared), sent: AtomicU64::new(0) }
    }

    /// Another collector's way through the same gate.
    pub fn lane(&self) -> Gate {
        Gate { shared: self.shared.clone(), sent: AtomicU64::new(0) }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// The failure that closed the gate, at once, while it is closed.
    pub async fn enter(&self) -> Result<Turn<'_>, Failure> {
        self.closed()?;
        let permit = self
            .shared
            .turn
            .acquire()
            .await
            .map_err(|_| Failure::new(Reason::Unreachable, "the source is being closed"))?;
        // The one before us may just have found the source out of reach.
        self.closed()?;
        Ok(Turn { gate: self, from: Instant::now(), before: self.shared.spend.total(), _permit: permit })
    }

    /// Tells the gate what became of a read.
    pub fn report<T>(&self, result: &Result<T, Failure>) {
        let mut down = self.down();
        match result {
            Err(failure) if failure.reason.is_source_wide() => {
                down.failures = down.failures.saturating_add(1);
                down.until = Some(Instant::now() + pace::pause(self.shared.interval, down.failures));
                down.failure = Some(failure.clone());
            }
            // Any other answer is an answer: the source is there.
            _ => *down = Down { round: down.round, ..Down::default() },
        }
    }

    /// When the gate opens again, if it is closed.
    pub fn opens(&self) -> Option<Instant> {
        self.down().until.filter(|until| *until > Instant::now())
    }

    /// Asks the governor: a pass, or when to ask again.
    ///
    /// # Errors
    /// The time before which nothing is to be asked.
    pub fn admit(&self, plan: Plan) -> Result<Pass<'_>, Instant> {
        let now = Instant::now();
        let shared = &*self.shared;
        let mut governor = shared.governor();
        let since = plan.since.saturating_duration_since(shared.began);
        let wish = Wish { since, pause: plan.pause, going_on: plan.going_on, round: plan.round };
        let admission = governor.admit(shared.at(now), wish);
        shared.show(&governor, now);
        drop(governor);
        match admission {
            Admission::Now(round) => {
                self.down().open_for(round);
                Ok(Pass { gate: self, round, before: self.sent() })
            }
            Admission::At(at) => Err(shared.began + at),
        }
    }

    /// Waits for a pass.
    pub async fn admitted(&self, plan: Plan) -> Pass<'_> {
        let mut changed = self.changed();
        loop {
            match self.admit(plan) {
                Ok(pass) => return pass,
                Err(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        // The sender lives as long as the gate.
                        _ = changed.changed() => {}
                    }
                }
            }
        }
    }

    /// Told when everybody's time may have changed.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Statements sent in this collector's turns so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Tells the governor what a run came to.
    pub fn ran(&self, ran: Ran<'_>) {
        let now = Instant::now();
        let shared = &*self.shared;
        let mut governor = shared.governor();
        let changed = governor.ran(shared.at(now), ran);
        shared.show(&governor, now);
        let is_quiet = governor.is_quiet();
        drop(governor);
        if changed {
            let what = if is_quiet {
                "the application is quiet: its source is read in rounds"
            } else {
                "new rows: the source is read as usual"
            };
            tracing::info!(source = %shared.source, "{what}");
            shared.changed.send_replace(());
        }
    }

    fn closed(&self) -> Result<(), Failure> {
        let down = self.down();
        match (&down.until, &down.failure) {
            (Some(until), Some(failure)) if *until > Instant::now() => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn down(&self) -> MutexGuard<'_, Down> {
        self.shared.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn governor(&self) -> MutexGuard<'_, Governor> {
        self.governor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn show(&self, governor: &Governor, now: Instant) {
        let at = self.at(now);
        self.metrics.spent(governor.statements(at), governor.awake(at));
        self.metrics.governed(governor.is_quiet(), governor.is_exhausted(at), governor.awake_total().as_secs_f64());
    }
}

/// The one read at a time. What it sends is charged to the source when it ends.
pub struct Turn<'g> {
    gate: &'g Gate,
    from: Instant,
    before: u64,
    _permit: SemaphorePermit<'g>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let shared = &*self.gate.shared;
        let sent = shared.spend.total() - self.before;
        self.gate.sent.fetch_add(sent, Ordering::Relaxed);
        shared.metrics.sent(sent);
        let now = Instant::now();
        let mut governor = shared.governor();
        governor.queried(shared.at(self.from), shared.at(now), sent);
        shared.show(&governor, now);
    }
}

/// Leave to run once.
pub struct Pass<'g> {
    gate: &'g Gate,
    /// The round that the run belongs to.
    pub round: u64,
    before: u64,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let shared = &*self.gate.shared;
        let somebody_waits = shared.governor().done(self.gate.sent() - self.before);
        if somebody_waits {
            shared.changed.send_replace(());
        }
    }
}
