//! Counts keys by the kinds of their names: one SCAN after the other, a few at a time, until the whole keyspace was seen.
//!
//! It never sends KEYS, and reads no value but those of keys that have a `limit`. What was not seen as a whole is not a result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;

use super::Keyspace;
use super::tally::{Bounds, Plan, Tally};
use crate::family::Micros;
use crate::pack;
use crate::source::lookup::Names;
use crate::source::{Examination, Finding, Reader, Reading, SAMPLE_ROWS, Scan};
use crate::telemetry::{Failure, Reason};

/// Keys that one SCAN looks at: large, since each command may be billed, and a fraction of a millisecond for Redis.
const KEYS_A_SCAN: u32 = 1000;

/// Keys whose values one MGET reads: as quick for Redis as a SCAN.
const KEYS_AN_MGET: usize = 500;

/// Different sets of label values that a result may have: as many as the rows of a snapshot.
const GROUP_LIMIT: usize = 20_000;

/// Commands are sent in bursts of this share of a second, so that waiting costs little and others have their turn.
const BURSTS_A_SECOND: u32 = 10;

/// A burst ends after this time however slow the answers are, so that other collectors of the source have their turn.
const LONGEST_BURST: Duration = Duration::from_millis(200);

/// A scan takes a command for each thousand keys, more where the keyspace is thinned out. One that takes so many times as
/// many, and this many beside, does not end.
const SCAN_PATIENCE: (u64, u64) = (20, 10_000);

/// One key in so many may expire while it is scanned; with more, what was found is no picture of what there is.
const EXPIRED_SHARE: u64 = 10;

/// A scan that came to nothing, since keys vanished or the connection was lost, is begun anew so many times in all.
const TRIES: u32 = 3;

/// A scan that nobody went on with for longer, since the budget was spent or the source out of reach, would count together
/// who was there then and who is there now. Keys of presence live for a minute or more.
const LONGEST_HOLD_UP: Micros = 60_000_000;

/// A scan that takes longer counts keys of a short life that are gone when it ends, and says so: those of presence live for
/// a minute or more.
const LONG_SCAN: Micros = 60_000_000;

/// Names that a look-up has not brought by then are hashes, until it does.
const NAMES_PATIENCE: Micros = 30_000_000;

/// How often is looked whether another collector's scan of the source has ended.
const TURN_PACE: Duration = Duration::from_millis(100);

/// How often is looked whether names have come.
const NAMES_PACE: Duration = Duration::from_millis(250);

/// Commands that an examination spends on its sample.
const SAMPLE_COMMANDS: u64 = 10;

/// Bounds of a scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeysSettings {
    /// Commands a second.
    pub per_second: u32,
    /// Different keys that are remembered in one scan; with more the result is truncated, and not published.
    pub key_limit: usize,
}

/// Counts keys.
pub struct KeysReader {
    keyspace: Arc<dyn Keyspace>,
    matching: String,
    plan: Result<Plan, String>,
    settings: KeysSettings,
    /// When the names were first waited for.
    asked: Option<Micros>,
    state: State,
    tries: u32,
}

enum State {
    Idle,
    Scanning(Box<Scanning>),
    /// The scan ended, and has no result.
    Truncated(Failure),
}

/// A scan under way.
struct Scanning {
    began: Instant,
    /// When it was begun, and last gone on with.
    started: Micros,
    touched: Micros,
    commands: u64,
    /// The connection that the cursor is of; none before the first page.
    epoch: Option<u64>,
    cursor: String,
    /// Whether the cursor came back to its beginning.
    over: bool,
    size: Size,
    tally: Tally,
    _turn: OwnedSemaphorePermit,
}

/// How many keys there were when the scan began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Unasked,
    /// The service does not say.
    Untold,
    Told(u64),
}

/// What a burst came to.
enum Burst {
    /// Go on later.
    More,
    /// The scan means nothing any more.
    Anew(Failure),
    /// All was seen.
    Whole,
}

impl KeysReader {
    /// A reader of one `keys` collector.
    pub fn new(
        keyspace: Arc<dyn Keyspace>,
        keys: &pack::Keys,
        columns: Vec<String>,
        settings: KeysSettings,
        names: &dyn Fn(&str) -> Option<Arc<Names>>,
    ) -> Self {
        let plan = Plan::new(keys, &columns, names);
        let matching = keys.matching.clone();
        KeysReader { keyspace, matching, plan, settings, asked: None, state: State::Idle, tries: 0 }
    }

    fn bounds(&self) -> Bounds {
        Bounds { keys: self.settings.key_limit, groups: GROUP_LIMIT }
    }

    async fn step(&mut self, now: Micros) -> Result<Reading, Failure> {
        let plan = self.plan.as_ref().map_err(|amiss| Failure::new(Reason::BadQuery, amiss.as_str()))?;
        if plan.waits_for_names() && now.saturating_sub(*self.asked.get_or_insert(now)) < NAMES_PATIENCE {
            return Ok(Reading { more_after: Some(NAMES_PACE), ..Reading::default() });
        }
        let pace = Pace::of(self.settings.per_second, self.keyspace.as_ref());
        let bounds = self.bounds();
        let mut scanning = match std::mem::replace(&mut self.state, State::Idle) {
            State::Truncated(failure) => return Err(failure),
            State::Scanning(scanning) if now.saturating_sub(scanning.touched) > LONGEST_HOLD_UP => {
                return self.anew(Failure::new(
                    Reason::BadReply,
                    "each scan was held up in its middle, so that what was found first is not there any more; raise \
                     `budget.per_day`, or lengthen the interval",
                ));
            }
            State::Scanning(scanning) => scanning,
            State::Idle => match self.keyspace.turn().clone().try_acquire_owned() {
                Ok(turn) => Box::new(Scanning::new(Tally::new(plan, bounds, now), turn, now)),
                Err(_) => return Ok(Reading { more_after: Some(TURN_PACE), ..Reading::default() }),
            },
        };
        scanning.touched = now;
        match scanning.burst(self.keyspace.as_ref(), plan, &self.matching, &pace).await? {
            Burst::More => {
                self.state = State::Scanning(scanning);
                Ok(Reading { more_after: Some(pace.rest()), ..Reading::default() })
            }
            Burst::Anew(why) => {
                let rest = pace.rest();
                Ok(Reading { more_after: Some(rest), ..self.anew(why)? })
            }
            Burst::Whole => {
                self.tries = 0;
                Ok(self.result(&scanning))
            }
        }
    }

    /// What was found means nothing any more.
    fn anew(&mut self, why: Failure) -> Result<Reading, Failure> {
        self.tries += 1;
        if self.tries >= TRIES {
            return Err(why);
        }
        Ok(Reading { more_after: Some(Duration::ZERO), ..Reading::default() })
    }

    /// The result of a whole scan.
    fn result(&mut self, scanning: &Scanning) -> Reading {
        let (Ok(plan), tally) = (&self.plan, &scanning.tally) else { return Reading::default() };
        let mut reading = Reading { scan: Some(scanning.summary()), ..Reading::default() };
        let Some(what) = tally.overflowed() else {
            reading.rows = Some(tally.rows(plan));
            reading.note = scanning.note();
            return reading;
        };
        let limit = if tally.keys() >= self.settings.key_limit { self.settings.key_limit } else { GROUP_LIMIT };
        let message = format!(
            "there are more than {limit} {what} that fit, so nothing is shown; make the patterns narrower, or raise \
             `limits.seen_keys`"
        );
        self.state = State::Truncated(Failure::new(Reason::BadQuery, message.as_str()));
        reading.note = Some(message);
        reading.more_after = Some(Duration::ZERO);
        reading
    }
}

#[async_trait]
impl Reader for KeysReader {
    async fn read(&mut self, now: Micros) -> Result<Reading, Failure> {
        let result = self.step(now).await;
        if result.is_err() {
            self.state = State::Idle;
            self.tries = 0;
        }
        result
    }

    async fn examine(&mut self, now: Micros) -> Result<Examination, Failure> {
        let plan = self.plan.as_ref().map_err(|amiss| Failure::new(Reason::BadQuery, amiss.as_str()))?;
        let keyspace = self.keyspace.as_ref();
        let turn = keyspace.turn().clone().acquire_owned().await;
        let turn = turn.map_err(|_| Failure::new(Reason::Unreachable, "the source is being closed"))?;
        let mut scanning = Scanning::new(Tally::new(plan, self.bounds(), now), turn, now);
        scanning.ask_size(keyspace).await?;
        while !scanning.over && scanning.commands < SAMPLE_COMMANDS && scanning.tally.keys() < SAMPLE_ROWS as usize {
            scanning.scan(keyspace, plan, &self.matching).await?;
        }
        scanning.read_values(keyspace, plan).await?;
        let mut examination = Examination { sample: scanning.tally.rows(plan), ..Examination::default() };
        examination.facts.push(format!("SCAN with MATCH {} and COUNT {KEYS_A_SCAN}", self.matching));
        match scanning.size {
            Size::Told(size) => {
                let commands = size / u64::from(KEYS_A_SCAN) + 3;
                let values = if plan.has_limits() { ", and one for each 500 keys whose value is read" } else { "" };
                examination.rows_estimate = i64::try_from(size).ok();
                examination.facts.push(format!(
                    "{size} keys: {commands} commands a scan{values}; at {} a second it takes {:.0} s",
                    self.settings.per_second,
                    commands as f64 / f64::from(self.settings.per_second.max(1)),
                ));
                examination.facts.push(format!(
                    "one scan a minute is {} commands a day and {} in 30 days; one an hour is {} and {}",
                    commands * 1440,
                    commands * 1440 * 30,
                    commands * 24,
                    commands * 24 * 30,
                ));
            }
            Size::Unasked | Size::Untold => examination.findings.push(Finding {
                fatal: false,
                message: "the user may not run DBSIZE, so neither the cost of a scan nor a FLUSHALL in the middle of one can be \
                          told; let it (`ACL SETUSER … +dbsize`)"
                    .to_owned(),
                sql: None,
            }),
        }
        let seen = if scanning.over { "all keys" } else { "a sample" };
        examination.facts.push(format!("{} keys of {seen} fit a pattern", scanning.tally.keys()));
        Ok(examination)
    }
}

impl Scanning {
    fn new(tally: Tally, turn: OwnedSemaphorePermit, now: Micros) -> Self {
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
            _turn: turn,
        }
    }

    /// Sends as many commands as a burst has.
    async fn burst(
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

    async fn scan(&mut self, keyspace: &dyn Keyspace, plan: &Plan, matching: &str) -> Result<(), Failure> {
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

    async fn read_values(&mut self, keyspace: &dyn Keyspace, plan: &Plan) -> Result<(), Failure> {
        while self.tally.unread() > 0 {
            self.read_some_values(keyspace, plan).await?;
        }
        Ok(())
    }

    async fn read_some_values(&mut self, keyspace: &dyn Keyspace, plan: &Plan) -> Result<(), Failure> {
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

    async fn ask_size(&mut self, keyspace: &dyn Keyspace) -> Result<(), Failure> {
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
    async fn settle(&mut self, keyspace: &dyn Keyspace) -> Result<Burst, Failure> {
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
    fn is_of_another(&self, keyspace: &dyn Keyspace) -> bool {
        self.epoch.is_some_and(|epoch| epoch != keyspace.epoch())
    }

    /// What an operator should know of a whole scan.
    fn note(&self) -> Option<String> {
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

    fn summary(&self) -> Scan {
        Scan {
            commands: self.commands,
            keys: self.tally.keys() as u64,
            seconds: self.began.elapsed().as_secs_f64(),
            truncated: self.tally.overflowed().is_some(),
        }
    }
}

/// Keeps a scan to its commands a second.
struct Pace<'a> {
    began: Instant,
    keyspace: &'a dyn Keyspace,
    before: u64,
    per_second: u32,
}

impl<'a> Pace<'a> {
    fn of(per_second: u32, keyspace: &'a dyn Keyspace) -> Self {
        Pace { began: Instant::now(), keyspace, before: keyspace.spend().total(), per_second: per_second.max(1) }
    }

    fn sent(&self) -> u64 {
        self.keyspace.spend().total() - self.before
    }

    /// Whether the burst has had its commands, or its time.
    fn is_spent(&self) -> bool {
        self.sent() >= u64::from((self.per_second / BURSTS_A_SECOND).max(1)) || self.began.elapsed() >= LONGEST_BURST
    }

    /// The pause after which the next burst keeps to the commands a second.
    fn rest(&self) -> Duration {
        let due = Duration::from_secs_f64(self.sent() as f64 / f64::from(self.per_second));
        due.saturating_sub(self.began.elapsed())
    }
}

#[cfg(test)]
mod tests;
