//! How often one source may be asked: seldom while its application is quiet, and never more than its budget bears.
//!
//! All collectors of a source share one. While the application is quiet, or where the time awake is limited, they read together
//! in **rounds**, so that between two rounds a database which suspends when idle can. A budget stretches all intervals
//! alike, and at its end makes everybody wait until something of it comes back.
//!
//! It is a state machine with time as an argument, counted from the start of the source. It reads no clock, waits for
//! nothing and knows nothing of rows but their number.

mod window;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Budget, Idle};

use window::{WINDOW, Window};

/// A round begins so late after the last query, in parts of `suspends_after`, that the database really has suspended.
const SUSPENDED_SHARE: u32 = 10;

/// Who is due so much later than a round, in parts of its length, comes along: else an interval as long as a round's would
/// miss every other one by its jitter.
const EARLY_SHARE: u32 = 10;

/// Time after the beginning of a round in which others still join it; shorter where the database suspends sooner.
const LONGEST_JOINING: Duration = Duration::from_secs(30);

/// The weight of the newest run in what a run costs.
const NEWEST_WEIGHT: f64 = 0.3;

/// What the governor holds a source to.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The source's usual interval.
    pub interval: Duration,
    /// How a quiet application is read; none reads it as ever.
    pub idle: Option<Idle>,
    /// What may be spent.
    pub budget: Budget,
    /// Statements that one run may take, before any was seen. So much is kept back for each run that is under way.
    pub reserve: u64,
}

/// When somebody would run.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// When the pause began.
    pub since: Duration,
    /// How long it is, were there no governor.
    pub pause: Duration,
    /// What was begun goes on: only a spent budget keeps it waiting.
    pub going_on: bool,
    /// The round in which it ran last; 0 for none.
    pub round: u64,
}

/// The answer to a [`Wish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Run now, in this round (0: none). [`Governor::done`] must follow.
    Now(u64),
    /// Not before this; then ask again.
    At(Duration),
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Ran<'r> {
    /// Who ran.
    pub who: &'r str,
    /// Whether it reads new rows, so that it can tell whether the application is quiet.
    pub reads_rows: bool,
    /// New rows that it found; none when it failed.
    pub rows: Option<u64>,
    /// More is waiting.
    pub more: bool,
    /// Statements of the whole read.
    pub cost: u64,
    /// The pause before the next, were there no governor.
    pub pause: Duration,
}

/// The governor of one source.
#[derive(Debug)]
pub struct Governor {
    terms: Terms,
    suspends_after: Duration,
    statements: Window,
    awake: Window,
    awake_total: Duration,
    /// Time in which the application was quiet.
    quiet: Window,
    quiet_told_until: Duration,
    demands: BTreeMap<String, Demand>,
    has_rows: bool,
    last_new: Duration,
    last_query: Option<Duration>,
    /// Length of the rounds while the application is quiet; none while it is not.
    quiet_length: Option<Duration>,
    rounds: Option<Rounds>,
    round_number: u64,
    running: u64,
    reserve: u64,
    was_refused: bool,
}

#[derive(Debug, Clone, Copy)]
struct Demand {
    cost: f64,
    pause: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Rounds {
    began: Duration,
    joined_until: Duration,
    /// A read since the round began found that there is nothing new.
    found_nothing: bool,
}

impl Governor {
    /// A governor of a source that begins now.
    pub fn new(terms: Terms) -> Self {
        let limit = terms.budget.per_day.unwrap_or(u64::MAX);
        Governor {
            suspends_after: terms.idle.unwrap_or_default().suspends_after,
            statements: Window::default(),
            awake: Window::default(),
            awake_total: Duration::ZERO,
            quiet: Window::default(),
            quiet_told_until: Duration::ZERO,
            demands: BTreeMap::new(),
            has_rows: false,
            last_new: Duration::ZERO,
            last_query: None,
            quiet_length: None,
            rounds: None,
            round_number: 0,
            running: 0,
            reserve: terms.reserve.min(limit),
            was_refused: false,
            terms,
        }
    }

    /// Whether somebody may run now, or when.
    pub fn admit(&mut self, now: Duration, wish: Wish) -> Admission {
        self.refresh(now);
        if let Some(back) = self.spent_until(now, self.running) {
            self.was_refused = true;
            return Admission::At(back.max(wish.since));
        }
        if !wish.going_on {
            let at = self.when(now, wish);
            if at > now {
                return Admission::At(at);
            }
            if self.rounds.is_some() && self.next_round(now) <= now {
                self.begin_round(now);
            }
        }
        self.running += 1;
        Admission::Now(if self.rounds.is_some() { self.round_number } else { 0 })
    }

    /// A run that was admitted is over, and took so many statements. Returns whether somebody was kept waiting for it.
    pub fn done(&mut self, cost: u64) -> bool {
        self.running = self.running.saturating_sub(1);
        self.reserve = self.reserve.max(cost).min(self.terms.budget.per_day.unwrap_or(u64::MAX));
        std::mem::take(&mut self.was_refused)
    }

    /// The source was asked, from one moment to another, by so many statements.
    pub fn queried(&mut self, from: Duration, until: Duration, statements: u64) {
        if statements == 0 {
            return;
        }
        self.statements.add(until, statements as f64);
        if let Some(last) = self.last_query {
            self.was_awake(last, from.min(last + self.suspends_after));
        }
        self.was_awake(from.max(self.last_query.unwrap_or_default()), until);
        self.last_query = self.last_query.max(Some(until));
    }

    /// What a run found. Returns whether the application fell quiet or woke, so that everybody's time changes.
    pub fn ran(&mut self, now: Duration, ran: Ran<'_>) -> bool {
        self.refresh(now);
        let was_quiet = self.is_quiet();
        self.has_rows |= ran.reads_rows;
        if !ran.more {
            self.weigh(ran);
        }
        let found_nothing = ran.rows == Some(0) && !ran.more;
        if ran.reads_rows && ran.rows.is_some_and(|rows| rows > 0) {
            self.last_new = now;
            self.quiet_length = None;
        } else if let Some(idle) = self.terms.idle
            && !was_quiet
            && !ran.more
            && (ran.reads_rows || !self.has_rows)
            && now.saturating_sub(self.last_new) >= idle.after
        {
            // From here each round costs the database's time to suspend, so a shorter one would gain little.
            let first = self.terms.interval.max(idle.suspends_after) * 2;
            self.quiet_length = Some(first.min(idle.interval));
        }
        self.refresh(now);
        if let Some(rounds) = &mut self.rounds {
            rounds.found_nothing |= found_nothing && (ran.reads_rows || !self.has_rows);
        }
        was_quiet != self.is_quiet()
    }

    /// Whether the application is quiet.
    pub fn is_quiet(&self) -> bool {
        self.quiet_length.is_some()
    }

    /// Whether nothing may be asked because the budget is spent.
    pub fn is_exhausted(&self, now: Duration) -> bool {
        self.spent_until(now, 0).is_some()
    }

    /// Statements that count now.
    pub fn statements(&self, now: Duration) -> f64 {
        self.statements.spent(now)
    }

    /// Time awake that counts now, in seconds.
    pub fn awake(&self, now: Duration) -> f64 {
        let since = self.last_query.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.awake.spent(now) + since.min(self.suspends_after).as_secs_f64()
    }

    /// Time that the source was kept awake up to its last query, as far as our queries tell.
    pub fn awake_total(&self) -> Duration {
        self.awake_total
    }

    fn was_awake(&mut self, from: Duration, until: Duration) {
        self.awake.add_span(from, until);
        self.awake_total += until.saturating_sub(from);
    }

    /// When a wish comes true, as things stand.
    fn when(&self, now: Duration, wish: Wish) -> Duration {
        let Some(rounds) = self.rounds else {
            let pause = wish.pause.mul_f64(self.stretch(now));
            return wish.since + pause.min(WINDOW.max(wish.pause));
        };
        let due = wish.since + wish.pause;
        let length = self.length(now);
        let early = length / EARLY_SHARE;
        if now < rounds.joined_until && wish.round != self.round_number && due <= rounds.began + early {
            return now;
        }
        let next = self.next_round(now);
        let beyond = due.saturating_sub(early).saturating_sub(next);
        next + length.mul_f64((beyond.as_secs_f64() / length.as_secs_f64()).ceil())
    }

    /// Makes true of now what time alone changes.
    fn refresh(&mut self, now: Duration) {
        if self.is_quiet() {
            self.quiet.add_span(self.quiet_told_until, now);
        }
        self.quiet_told_until = self.quiet_told_until.max(now);
        let in_rounds = self.is_quiet() || self.awake_length(now).is_some();
        if !in_rounds {
            self.rounds = None;
        } else if self.rounds.is_none() {
            self.round_number += 1;
            // Nobody waits for a round before the source was ever asked.
            let joined_until = if self.last_query.is_none() { now + self.joining() } else { now };
            self.rounds = Some(Rounds { began: now, joined_until, found_nothing: false });
        }
    }

    fn begin_round(&mut self, now: Duration) {
        let joined_until = now + self.joining();
        let Some(rounds) = &mut self.rounds else { return };
        // A source that fails tells nothing of its application: it is tried at the same pace until it answers.
        if let (Some(length), Some(idle), true) = (self.quiet_length, self.terms.idle, rounds.found_nothing) {
            self.quiet_length = Some((length * 2).min(idle.interval));
        }
        self.round_number += 1;
        *rounds = Rounds { began: now, joined_until, found_nothing: false };
    }

    fn joining(&self) -> Duration {
        (self.suspends_after / 2).min(LONGEST_JOINING)
    }

    fn next_round(&self, now: Duration) -> Duration {
        let began = self.rounds.map_or(now, |rounds| rounds.began);
        // While somebody reads, the database is awake anyhow.
        let last = self.last_query.filter(|_| self.running == 0);
        let suspended = last.map(|last| last + self.suspends_after + self.suspends_after / SUSPENDED_SHARE);
        (began + self.length(now)).max(suspended.unwrap_or_default())
    }

    /// Time from round to round.
    fn length(&self, now: Duration) -> Duration {
        let quiet = self.quiet_length.unwrap_or_default();
        let awake = self.awake_length(now).unwrap_or_default();
        let all: f64 = self.demands.values().map(|demand| demand.cost).sum();
        let spread = self.allowed(now).map_or(0.0, |allowed| all / allowed.max(f64::MIN_POSITIVE));
        let longest = WINDOW.as_secs_f64();
        quiet.max(awake).max(Duration::from_secs_f64(spread.min(longest))).max(self.suspends_after)
    }

    /// Time from round to round that the budget of time awake bears; none where it bears to be awake all the time.
    fn awake_length(&self, now: Duration) -> Option<Duration> {
        let limit = self.terms.budget.awake_per_day?.as_secs_f64();
        let share = self.awake.rate(now, limit - self.awake(now), &self.quiet);
        let longest = WINDOW.as_secs_f64();
        let length = (self.suspends_after.as_secs_f64() / share.max(f64::MIN_POSITIVE)).min(longest);
        (share < 1.0).then(|| Duration::from_secs_f64(length))
    }

    /// How much longer than usual every pause is.
    fn stretch(&self, now: Duration) -> f64 {
        let Some(allowed) = self.allowed(now) else { return 1.0 };
        let demand: f64 =
            self.demands.values().map(|demand| demand.cost / demand.pause.as_secs_f64().max(f64::MIN_POSITIVE)).sum();
        (demand / allowed.max(f64::MIN_POSITIVE)).clamp(1.0, f64::from(u32::MAX))
    }

    /// Statements a second that the budget bears.
    fn allowed(&self, now: Duration) -> Option<f64> {
        let left = self.terms.budget.per_day? as f64 - self.statements.spent(now) - self.reserve as f64;
        Some(self.statements.rate(now, left, &self.quiet))
    }

    /// When enough of a spent budget comes back for one more run beside those that are under way; none when there is enough.
    fn spent_until(&self, now: Duration, running: u64) -> Option<Duration> {
        let statements = self.terms.budget.per_day.and_then(|limit| {
            let needed = self.statements.spent(now) + (self.reserve * (running + 1)) as f64 - limit as f64;
            (needed > 0.0).then(|| self.statements.comes_back(now, needed))
        });
        let awake = self.terms.budget.awake_per_day.and_then(|limit| {
            // One more query, and then the time until the database suspends.
            let needed = self.awake(now) + self.suspends_after.as_secs_f64() - limit.as_secs_f64();
            (needed > 0.0).then(|| self.awake.comes_back(now, needed))
        });
        statements.max(awake)
    }

    fn weigh(&mut self, ran: Ran<'_>) {
        let newest = ran.cost as f64;
        match self.demands.get_mut(ran.who) {
            Some(demand) => {
                demand.cost += (newest - demand.cost) * NEWEST_WEIGHT;
                demand.pause = ran.pause;
            }
            None => drop(self.demands.insert(ran.who.to_owned(), Demand { cost: newest, pause: ran.pause })),
        }
    }
}
