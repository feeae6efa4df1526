//! A scan of keys under way: its cursor, what it has found, and what its next few commands are.
//!
//! It sends no more than a burst at a time and decides nothing about who is shown what.

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tracing::Span;

use super::Keyspace;
use super::tally::{Plan, Tally};
use crate::family::Micros;
use crate::source::Scan;
use crate::telemetry::{Failure, Reason};

/// Keys that one SCAN looks at: large, since each command may be billed, and a fraction of a millisecond for Redis.
pub(super) const KEYS_A_SCAN: u32 = 1000;

/// Keys whose values one MGET reads: as quick for Redis as a SCAN.
const KEYS_AN_MGET: usize = 500;

/// Commands are sent in bursts of this share of a second, so that waiting costs little and others have their turn.
const BURSTS_A_SECOND: u32 = 10;

/// A burst ends after this time however slow the answers are, so that other collectors of the source have their turn.
const LONGEST_BURST: Duration = Duration::from_millis(200);

/// A scan takes a command for each thousand keys, more where the keyspace is thinned out. One that takes so many times as
/// many, and this many beside, does not end.
const SCAN_PATIENCE: (u64, u64) = (20, 10_000);

/// One key in so many may expire while it is scanned; with more, what was found is no picture of what there is.
const EXPIRED_SHARE: u64 = 10;

/// A scan that takes longer counts keys of a short life that are gone when it ends, and says so: those of presence live for
/// a minute or more.
pub(super) const LONG_SCAN: Micros = 60_000_000;

/// A scan under way.
pub(super) struct Scanning {
    pub(super) began: Instant,
    /// When it was begun, and last gone on with.
    pub(super) started: Micros,
    pub(super) touched: Micros,
    pub(super) commands: u64,
    /// The connection that the cursor is of; none before the first page.
    pub(super) epoch: Option<u64>,
    pub(super) cursor: String,
    /// Whether the cursor came back to its beginning.
    pub(super) over: bool,
    pub(super) size: Size,
    pub(super) tally: Tally,
    /// The span of the whole scan.
    pub(super) span: Span,
    _turn: OwnedSemaphorePermit,
}

/// How many keys there were when the scan began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Unasked,
    /// The service does not say.
    Untold,
    Told(u64),
}

/// What a burst came to.
pub(super) enum Burst {
    /// Go on later.
    More,
    /// The scan means nothing any more.
    Anew(Failure),
    /// All was seen.
    Whole,
}

impl Scanning {
    pub(super) fn new(tally: Tally, turn: OwnedSemaphorePermit, span: Span, now: Micros) -> Self {
        let (began, cursor) = (Instant::now(), "0".to_owned());
        Scanning {
            began,
            started: now,
            touched: now,
            commands: 0,
            epoch: None,
            cursor,
            over: false,
            size: Size::Unasked,
            tally,
            span,
            _turn: turn,
        }
    }

    /// Sends as many commands as a burst has.
    pub(super) async fn burst(
        &mut self,
        keyspace: &dyn Keyspace,
        plan: &Plan,
        matching: &str,
        pace: &Pace<'_>,
    ) -> Result<Burst, Failure> {
        loop {
            if self.over && self.tally.unread() > 0 || self.tally.unread() >= KEYS_AN_MGET {
                self.read_some_values(keyspace, plan).await?;
            } else if !self.over && self.epoch.is_some() && self.size == Size::Unasked {
                // A scan of one page saw all keys in one moment; a longer one has to know whether many vanish meanwhile.
                self.ask_size(keyspace).await?;
            } else if !self.over {
                self.scan(keyspace, plan, matching).await?;
                if self.tally.overflowed().is_some() {
                    // Nothing more is worth its commands.
                    return Ok(Burst::Whole);
                }
            } else {
                return self.settle(keyspace).await;
            }
            if self.is_of_another(keyspace) {
                return Ok(Burst::Anew(Failure::new(
                    Reason::Unreachable,
                    "the connection was lost in the middle of each scan, and a cursor means nothing to another server",
                )));
            }
            if pace.is_spent() {
                return Ok(Burst::More);
            }
        }
    }

    pub(super) async fn scan(&mut self, keyspace: &dyn Keyspace, plan: &Plan, matching: &str) -> Result<(), Failure> {
        let (times, beside) = SCAN_PATIENCE;
        let size = if let Size::Told(size) = self.size { size } else { u64::MAX / times };
        if self.commands > size / u64::from(KEYS_A_SCAN) * times + beside {
            return Err(Failure::new(Reason::BadReply, "SCAN does not come back to its beginning"));
        }
        let before = keyspace.spend().total();
        let page = keyspace.scan(&self.cursor, matching, KEYS_A_SCAN).await?;
        self.commands += keyspace.spend().total() - before;
        self.epoch.get_or_insert_with(|| keyspace.epoch());
        for key in &page.keys {
            self.tally.add(plan, key);
        }
        self.over = page.cursor == "0";
        self.cursor = page.cursor;
        Ok(())
    }

    pub(super) async fn read_values(&mut self, keyspace: &dyn Keyspace, plan: &Plan) -> Result<(), Failure> {
        while self.tally.unread() > 0 {
            self.read_some_values(keyspace, plan).await?;
        }
        Ok(())
    }

    pub(super) async fn read_some_values(&mut self, keyspace: &dyn Keyspace, plan: &Plan) -> Result<(), Failure> {
        let (groups, keys) = self.tally.take_unread(KEYS_AN_MGET);
        let before = keyspace.spend().total();
        let values = keyspace.numbers(&keys).await?;
        self.commands += keyspace.spend().total() - before;
        if values.len() != keys.len() {
            return Err(Failure::new(
                Reason::BadReply,
                "MGET answered with another number of values than it was asked for",
            ));
        }
        for (group, value) in groups.into_iter().zip(values) {
            self.tally.value(plan, group, value);
        }
        Ok(())
    }

    pub(super) async fn ask_size(&mut self, keyspace: &dyn Keyspace) -> Result<(), Failure> {
        let before = keyspace.spend().total();
        self.size = match keyspace.size().await {
            Ok(size) => Size::Told(size),
            Err(failure) if matches!(failure.reason, Reason::Forbidden | Reason::BadQuery) => Size::Untold,
            Err(failure) => return Err(failure),
        };
        self.commands += keyspace.spend().total() - before;
        Ok(())
    }

    /// Looks whether what was found can still be there.
    pub(super) async fn settle(&mut self, keyspace: &dyn Keyspace) -> Result<Burst, Failure> {
        let Size::Told(size_before) = self.size else { return Ok(Burst::Whole) };
        let before = keyspace.spend().total();
        let size = keyspace.size().await?;
        self.commands += keyspace.spend().total() - before;
        // Keys expire all the time, and those of a short life may be most of what there is.
        let vanished = self.tally.keys() as u64 > size + size / EXPIRED_SHARE;
        if vanished || size < size_before / 2 || self.is_of_another(keyspace) {
            return Ok(Burst::Anew(Failure::new(
                Reason::BadReply,
                "keys vanish faster than they can be scanned, so that what was found is not there any more; \
                 raise `budget.per_second`",
            )));
        }
        Ok(Burst::Whole)
    }

    /// Whether the server may be another one than at the first page.
    pub(super) fn is_of_another(&self, keyspace: &dyn Keyspace) -> bool {
        self.epoch.is_some_and(|epoch| epoch != keyspace.epoch())
    }

    /// What an operator should know of a whole scan.
    pub(super) fn note(&self) -> Option<String> {
        let mut notes = Vec::new();
        if self.size == Size::Untold {
            notes.push(
                "the user may not run DBSIZE, so a FLUSHALL in the middle of a scan would go unnoticed; let it \
                 (`ACL SETUSER … +dbsize`)"
                    .to_owned(),
            );
        }
        let took = self.touched.saturating_sub(self.started);
        if took > LONG_SCAN {
            notes.push(format!(
                "a scan takes {} s, so that keys which live no longer than that count although some of them are gone; raise \
                 `budget.per_second`",
                took / 1_000_000
            ));
        }
        (!notes.is_empty()).then(|| notes.join(". "))
    }

    pub(super) fn summary(&self) -> Scan {
        self.span.record("rowmetry.commands", i64::try_from(self.commands).unwrap_or(i64::MAX));
        Scan {
            commands: self.commands,
            keys: self.tally.keys() as u64,
            seconds: self.began.elapsed().as_secs_f64(),
            truncated: self.tally.overflowed().is_some(),
        }
    }
}

/// Keeps a scan to its commands a second.
pub(super) struct Pace<'a> {
    began: Instant,
    keyspace: &'a dyn Keyspace,
    before: u64,
    per_second: u32,
}

impl<'a> Pace<'a> {
    pub(super) fn of(per_second: u32, keyspace: &'a dyn Keyspace) -> Self {
        Pace { began: Instant::now(), keyspace, before: keyspace.spend().total(), per_second: per_second.max(1) }
    }

    pub(super) fn sent(&self) -> u64 {
        self.keyspace.spend().total() - self.before
    }

    /// Whether the burst has had its commands, or its time.
    pub(super) fn is_spent(&self) -> bool {
        self.sent() >= u64::from((self.per_second / BURSTS_A_SECOND).max(1)) || self.began.elapsed() >= LONGEST_BURST
    }

    /// The pause after which the next burst keeps to the commands a second.
    pub(super) fn rest(&self) -> Duration {
        let due = Duration::from_secs_f64(self.sent() as f64 / f64::from(self.per_second));
        due.saturating_sub(self.began.elapsed())
    }
}
