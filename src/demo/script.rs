//! The demo's words: tables, lists to choose from, what there is at the beginning and what happens then.
//!
//! It is read once, from the files built into the program. Nothing here runs a statement.

use std::collections::BTreeMap;
use std::time::Duration;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::DemoError;
use super::draw::{Draw, Lists, Lots, Value, time_text};
use crate::family::Micros;
use crate::pack::sql;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/packs/demo");

/// One application's part of the demo, ready to run.
pub(super) struct Script {
    pub(super) app: String,
    pub(super) schema: String,
    pub(super) history: History,
    pub(super) seed: Vec<Action>,
    pub(super) actions: Vec<Action>,
}

/// How far back the history goes and how much happens in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(super) span: Micros,
    pub(super) rate: f64,
}

/// Something that happens: values that are drawn once, and the statements that use them.
pub(super) struct Action {
    pub(super) name: String,
    pub(super) statements: Vec<Statement>,
    every: Duration,
    burst: Option<Burst>,
    times: u32,
    values: Vec<Wanted>,
    lists: std::sync::Arc<Lists>,
}

/// A statement with numbered placeholders, and which of the action's values each of them gets.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<usize>,
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
    #[serde(with = "length")]
    every: Duration,
    #[serde(with = "length")]
    lasts: Duration,
    times: f64,
}

impl Action {
    /// The time from one to the next, on average, in microseconds.
    pub(super) fn every_micros(&self) -> f64 {
        self.every.as_micros() as f64
    }

    /// How often it happens at the beginning.
    pub(super) fn seeds(&self) -> u32 {
        self.times
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
            Wanted::Before(micros) => Value::Text(time_text(at - micros)),
        };
        self.values.iter().map(value).collect()
    }
}

/// All scripts built into the program.
pub(super) fn builtin() -> Result<Vec<Script>, DemoError> {
    let files = FILES.files().filter(|file| file.path().extension().is_some_and(|ending| ending == "yaml"));
    files
        .map(|file| {
            let text = file.contents_utf8().unwrap_or_default();
            parse(text)
                .map_err(|reason| DemoError::Script { file: format!("packs/demo/{}", file.path().display()), reason })
        })
        .collect()
}

fn parse(text: &str) -> Result<Script, String> {
    let written: Written = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let lists = std::sync::Arc::new(written.lists);
    let compile = |actions: Vec<WrittenAction>| -> Result<Vec<Action>, String> {
        actions.into_iter().map(|action| action.compile(&written.draws, &lists)).collect()
    };
    Ok(Script {
        app: written.app,
        schema: written.schema,
        history: History { span: written.history.span.as_micros() as Micros, rate: written.history.rate },
        seed: compile(written.seed)?,
        actions: compile(written.actions)?,
    })
}

/// A script as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    app: String,
    /// Statements that make the tables.
    schema: String,
    history: WrittenHistory,
    /// Texts to choose from, with weights.
    lists: Lists,
    /// Values that every action may use, drawn anew each time.
    draws: BTreeMap<String, Draw>,
    /// What there is at the beginning.
    seed: Vec<WrittenAction>,
    /// What happens then.
    actions: Vec<WrittenAction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHistory {
    #[serde(with = "length")]
    span: Duration,
    /// How often things happened, 1 as often as they will.
    rate: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAction {
    name: String,
    /// Time from one to the next, on average.
    #[serde(default, deserialize_with = "crate::duration::option::deserialize")]
    every: Option<Duration>,
    /// How often it happens at the beginning.
    #[serde(default)]
    times: u32,
    #[serde(default)]
    burst: Option<Burst>,
    /// Values of this action alone.
    #[serde(default)]
    draws: BTreeMap<String, Draw>,
    sql: Vec<String>,
}

impl WrittenAction {
    fn compile(self, shared: &BTreeMap<String, Draw>, lists: &std::sync::Arc<Lists>) -> Result<Action, String> {
        let mut names: Vec<String> = Vec::new();
        let mut statements = Vec::new();
        for text in &self.sql {
            let mut values: Vec<usize> = Vec::new();
            let sql = sql::bind(text, |name| {
                let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                values.push(index);
                format!("?{}", values.len())
            });
            statements.push(Statement { sql, values });
        }
        if self.every.is_none() == (self.times == 0) {
            return Err(format!("action {}: it has either `every` or, as a seed, `times`", self.name));
        }
        let wanted = |name: &String| {
            if let Some(before) = sql::time_before(name) {
                return Ok(Wanted::Before(before.as_micros() as Micros));
            }
            let draw = self.draws.get(name).or_else(|| shared.get(name)).cloned();
            let draw = draw.ok_or_else(|| format!("action {}: nothing draws `:{name}`", self.name))?;
            match &draw {
                Draw::Pick(list) if !lists.contains_key(list) => {
                    Err(format!("action {}: there is no list `{list}`", self.name))
                }
                _ => Ok(Wanted::Drawn(draw)),
            }
        };
        let values = names.iter().map(wanted).collect::<Result<_, String>>()?;
        Ok(Action {
            name: self.name,
            statements,
            every: self.every.unwrap_or(Duration::MAX),
            burst: self.burst,
            times: self.times,
            values,
            lists: std::sync::Arc::clone(lists),
        })
    }
}

/// A length of time that must be there.
mod length {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::duration::parse(&text).map_err(serde::de::Error::custom)
    }
}
