//! The demo's words: tables, lists to choose from, what there is at the beginning and what happens then.
//!
//! They are read once, from the files built into the program. Nothing here runs a statement.

mod dialect;
mod written;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::drain::Writer;
use super::draw::{Draw, Lists, Lots, Value};
use super::key_writer::Use;
use crate::family::Micros;

pub(super) use written::builtin;

/// One application's part of the demo, ready to run.
pub(super) struct Script {
    pub(super) app: String,
    pub(super) schema: String,
    pub(super) history: History,
    pub(super) seed: Vec<Action>,
    /// What is written to the tables.
    pub(super) actions: Vec<Action>,
    /// What is seen elsewhere: keys, pages and log lines. It has no history, and its own pace whatever the rate.
    pub(super) outward: Vec<Action>,
    /// What can be made to go wrong.
    pub(super) troubles: Vec<Trouble>,
}

/// Something that goes wrong from when it is asked for until it is mended.
pub(super) struct Trouble {
    pub(super) name: String,
    /// What goes wrong, for people.
    pub(super) about: String,
    /// Alerts that it is to set off.
    pub(super) alerts: Vec<String>,
    /// Names of actions, and paths of pages, that rest meanwhile.
    pub(super) stops: Vec<String>,
    /// What happens meanwhile.
    pub(super) actions: Vec<Action>,
    /// What undoes it.
    pub(super) mend: Action,
}

/// How far back the history goes and how much happens in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(super) span: Micros,
    pub(super) rate: f64,
}

/// Something that happens: values that are drawn once, and what is done with them.
pub(super) struct Action {
    pub(super) name: String,
    pub(super) effect: Effect,
    every: Duration,
    burst: Option<Burst>,
    times: u32,
    values: Vec<Wanted>,
    lists: Arc<Lists>,
}

/// What an action does.
pub(super) enum Effect {
    /// It writes to the tables.
    Write(Vec<Statement>),
    /// It uses the keys that a question brings.
    Keys(Use, Statement),
    /// It puts the answer to a question at a path.
    Page(String, Statement),
    /// It writes the lines that a question brings to a log.
    Lines(Writer, Statement),
}

/// A statement with placeholders, and which of the action's values each of them gets: numbered ones for SQLite, [`Statement::PLACE`]
/// for Postgres.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<usize>,
}

impl Statement {
    /// Where a value goes in a statement for Postgres.
    pub(super) const PLACE: char = '\u{1}';
}

enum Wanted {
    Drawn(Draw),
    /// A time so many microseconds before the event.
    Before(Micros),
}

/// A time in which an action happens more often, again and again.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Burst {
    #[serde(with = "written::length")]
    every: Duration,
    #[serde(with = "written::length")]
    lasts: Duration,
    times: f64,
}

impl Action {
    /// The time from one to the next, on average, in microseconds.
    pub(super) fn every_micros(&self) -> f64 {
        self.every.as_micros() as f64
    }

    /// How often it happens at the beginning.
    pub(super) fn times_at_first(&self) -> u32 {
        self.times
    }

    /// How often it happens when what is written to the tables happens `rate` times as often as the script says.
    pub(super) fn rate(&self, rate: f64) -> f64 {
        if matches!(self.effect, Effect::Write(_)) { rate } else { 1.0 }
    }

    /// How much more often than usual it happens at a time.
    pub(super) fn burst_factor(&self, at: Micros) -> f64 {
        let Some(burst) = self.burst else { return 1.0 };
        let within = at.rem_euclid((burst.every.as_micros() as Micros).max(1));
        if within < burst.lasts.as_micros() as Micros { burst.times } else { 1.0 }
    }

    /// Its values for one event.
    pub(super) fn draw(&self, at: Micros, lots: &mut Lots) -> Vec<Value> {
        let value = |wanted: &Wanted| match wanted {
            Wanted::Drawn(draw) => lots.draw(draw, &self.lists, at),
            Wanted::Before(micros) => Value::Time(at - micros),
        };
        self.values.iter().map(value).collect()
    }
}
