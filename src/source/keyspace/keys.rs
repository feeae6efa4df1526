//! Counts keys by the kinds of their names: one SCAN after the other, a few at a time, until the whole keyspace was seen.
//!
//! It never sends KEYS, and reads no value but those of keys that have a `limit`. What was not seen as a whole is not a result.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracing::Span;

use super::Keyspace;
use super::scanning::{Burst, KEYS_A_SCAN, Pace, Scanning, Size};
use super::tally::{Bounds, Plan, Tally};
use crate::family::Micros;
use crate::pack;
use crate::source::lookup::Names;
use crate::source::trace::traced;
use crate::source::{Examination, Finding, Reader, Reading, SAMPLE_ROWS};
use crate::telemetry::{Failure, Reason};

/// Different sets of label values that a result may have: as many as the rows of a snapshot.
const GROUP_LIMIT: usize = 20_000;

/// A scan that came to nothing, since keys vanished or the connection was lost, is begun anew so many times in all.
const TRIES: u32 = 3;

/// A scan that nobody went on with for longer, since the budget was spent or the source out of reach, would count together
/// who was there then and who is there now. Keys of presence live for a minute or more.
const LONGEST_HOLD_UP: Micros = 60_000_000;

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
                Ok(turn) => {
                    let span = self.keyspace.peer().asked("SCAN", None);
                    Box::new(Scanning::new(Tally::new(plan, bounds, now), turn, span, now))
                }
                Err(_) => return Ok(Reading { more_after: Some(TURN_PACE), ..Reading::default() }),
            },
        };
        scanning.touched = now;
        let burst = scanning.span.clone();
        let burst = traced(burst, scanning.burst(self.keyspace.as_ref(), plan, &self.matching, &pace));
        match burst.await? {
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
        let mut scanning = Scanning::new(Tally::new(plan, self.bounds(), now), turn, Span::none(), now);
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

#[cfg(test)]
mod tests;
