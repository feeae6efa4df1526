//! Scripts as they are written (`packs/demo/*.yaml`), and how they become ready to run.
//!
//! Everything that does not fit is an error with the file's name. Nothing here draws a lot.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::super::DemoError;
use super::super::drain::Writer;
use super::super::draw::{Draw, Lists};
use super::super::key_writer::Use;
use super::{Action, Burst, Effect, History, Script, Statement, Trouble, Wanted, dialect};
use crate::family::Micros;
use crate::pack::{System, sql};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/packs/demo");

/// Time from one writing of a page to the next, where the script does not say.
const PAGE_EVERY: Duration = Duration::from_secs(1);

/// All scripts built into the program, in the order of the applications' names, for databases of this system.
pub(in crate::demo) fn builtin(system: System) -> Result<Vec<Script>, DemoError> {
    let files = FILES.files().filter(|file| file.path().extension().is_some_and(|ending| ending == "yaml"));
    let scripts =
        files.map(|file| parse(&file.path().display().to_string(), file.contents_utf8().unwrap_or_default(), system));
    let mut scripts = scripts.collect::<Result<Vec<Script>, DemoError>>()?;
    scripts.sort_by(|one, other| one.app.cmp(&other.app));
    Ok(scripts)
}

/// The script in a file.
fn parse(file: &str, text: &str, system: System) -> Result<Script, DemoError> {
    let written = serde_saphyr::from_str(text).map_err(|error| error.to_string());
    written
        .and_then(|written: Written| written.compile(system))
        .map_err(|reason| DemoError::Script { file: format!("packs/demo/{file}"), reason })
}

/// A script as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    app: String,
    /// Statements that make the tables in SQLite.
    schema: String,
    /// Statements that make them in Postgres, as the application does.
    schema_postgres: String,
    history: WrittenHistory,
    /// Texts to choose from, with weights.
    lists: Lists,
    /// Values that every action may use, drawn anew each time.
    draws: BTreeMap<String, Draw>,
    /// What there is at the beginning.
    seed: Vec<WrittenAction>,
    /// What happens then.
    actions: Vec<WrittenAction>,
    /// What happens to keys in Redis.
    #[serde(default)]
    resp: Vec<WrittenKeys>,
    /// What is answered at paths over HTTP.
    #[serde(default)]
    web: Vec<WrittenPage>,
    /// What is written to logs.
    #[serde(default)]
    lines: Vec<WrittenLines>,
    /// What can be made to go wrong, by name.
    #[serde(default)]
    troubles: BTreeMap<String, WrittenTrouble>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTrouble {
    about: String,
    #[serde(default)]
    alerts: Vec<String>,
    #[serde(default)]
    stops: Vec<String>,
    #[serde(default)]
    actions: Vec<WrittenAction>,
    #[serde(default)]
    web: Vec<WrittenPage>,
    #[serde(default)]
    lines: Vec<WrittenLines>,
    /// Statements that undo it.
    #[serde(default)]
    mend: Vec<WrittenSql>,
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
    sql: Vec<WrittenSql>,
}

/// One of `set`, `count`, `cache` and `delete`: a SELECT over the application's own tables, each row of which is a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKeys {
    name: String,
    #[serde(with = "length")]
    every: Duration,
    /// How often it happens at the beginning.
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    burst: Option<Burst>,
    #[serde(default)]
    draws: BTreeMap<String, Draw>,
    /// Key, value, seconds that it lives: it is set, and its time begins anew.
    set: Option<WrittenSql>,
    /// Key, limit, seconds: it counts up to the limit.
    count: Option<WrittenSql>,
    /// Key, value, seconds: it is read, and set when it was not there.
    cache: Option<WrittenSql>,
    /// Key: it goes.
    delete: Option<WrittenSql>,
}

/// What a path answers, as a SELECT of one row: status, media type, body, and perhaps the milliseconds that it takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPage {
    path: String,
    /// Time from one look to the next.
    #[serde(default, deserialize_with = "crate::duration::option::deserialize")]
    every: Option<Duration>,
    #[serde(default)]
    draws: BTreeMap<String, Draw>,
    sql: WrittenSql,
}

/// Lines of a log, as a SELECT over the application's own tables. A row of it is a line: its level in the words of its writer, its text,
/// perhaps the milliseconds until it is written, and a JSON object of what else the record has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLines {
    name: String,
    #[serde(with = "length")]
    every: Duration,
    /// How often it happens at the beginning.
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    burst: Option<Burst>,
    #[serde(default)]
    draws: BTreeMap<String, Draw>,
    /// Whose log it is.
    #[serde(default = "application")]
    writer: Writer,
    sql: WrittenSql,
}

/// A statement: the same for both systems, with what SQLite says otherwise put into Postgres' words (`dialect`), or one for each.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenSql {
    Shared(String),
    #[serde(rename_all = "snake_case")]
    Each {
        sqlite: String,
        postgres: String,
    },
}

impl WrittenSql {
    fn on(&self, system: System) -> Cow<'_, str> {
        match (self, system) {
            (WrittenSql::Shared(sql) | WrittenSql::Each { sqlite: sql, .. }, System::Sqlite) => Cow::Borrowed(sql),
            (WrittenSql::Shared(sql) | WrittenSql::Each { postgres: sql, .. }, System::Postgres) => {
                Cow::Owned(dialect::postgres(sql))
            }
        }
    }
}

impl Written {
    fn compile(self, system: System) -> Result<Script, String> {
        let compiler = Compiler { shared: self.draws, lists: Arc::new(self.lists), system };
        let keys = self.resp.into_iter().map(|keys| compiler.keys(keys));
        let pages = self.web.into_iter().map(|page| compiler.page(page));
        let lines = self.lines.into_iter().map(|lines| compiler.lines(lines));
        let outward = keys.chain(pages).chain(lines).collect::<Result<Vec<Action>, _>>()?;
        let actions = self.actions.into_iter().map(|action| compiler.action(action)).collect::<Result<Vec<_>, _>>()?;
        let known = |name: &String| actions.iter().chain(&outward).any(|action| action.name == *name);
        let troubles = self.troubles.into_iter().map(|(name, trouble)| compiler.trouble(name, trouble));
        let troubles = troubles.collect::<Result<Vec<Trouble>, _>>()?;
        for trouble in &troubles {
            if let Some(stopped) = trouble.stops.iter().find(|name| !known(name)) {
                return Err(format!("trouble {}: there is no `{stopped}` to stop", trouble.name));
            }
        }
        Ok(Script {
            app: self.app,
            schema: if system == System::Postgres { self.schema_postgres } else { self.schema },
            history: History { span: self.history.span.as_micros() as Micros, rate: self.history.rate },
            seed: self.seed.into_iter().map(|action| compiler.action(action)).collect::<Result<_, _>>()?,
            actions,
            outward,
            troubles,
        })
    }
}

/// What all actions of an application may use.
struct Compiler {
    shared: BTreeMap<String, Draw>,
    lists: Arc<Lists>,
    system: System,
}

impl Compiler {
    fn action(&self, action: WrittenAction) -> Result<Action, String> {
        if action.every.is_none() == (action.times == 0) {
            return Err(format!("action {}: it has either `every` or, as a seed, `times`", action.name));
        }
        let (statements, values) = self.statements(&action.name, &action.sql, &action.draws)?;
        Ok(Action {
            name: action.name,
            effect: Effect::Write(statements),
            every: action.every.unwrap_or(Duration::MAX),
            burst: action.burst,
            times: action.times,
            values,
            lists: Arc::clone(&self.lists),
        })
    }

    fn trouble(&self, name: String, trouble: WrittenTrouble) -> Result<Trouble, String> {
        let actions = trouble.actions.into_iter().map(|action| self.action(action));
        let pages = trouble.web.into_iter().map(|page| self.page(page));
        let lines = trouble.lines.into_iter().map(|lines| self.lines(lines));
        let mend = WrittenAction {
            name: format!("mending {name}"),
            every: None,
            times: 1,
            burst: None,
            draws: BTreeMap::new(),
            sql: trouble.mend,
        };
        Ok(Trouble {
            name,
            about: trouble.about,
            alerts: trouble.alerts,
            stops: trouble.stops,
            actions: actions.chain(pages).chain(lines).collect::<Result<_, _>>()?,
            mend: self.action(mend)?,
        })
    }

    fn keys(&self, keys: WrittenKeys) -> Result<Action, String> {
        let ways =
            [(Use::Set, keys.set), (Use::Count, keys.count), (Use::Cache, keys.cache), (Use::Delete, keys.delete)];
        let mut ways = ways.into_iter().filter_map(|(how, sql)| Some((how, sql?)));
        let (Some((how, sql)), None) = (ways.next(), ways.next()) else {
            return Err(format!("keys {}: they have one of `set`, `count`, `cache` and `delete`", keys.name));
        };
        let (question, values) = self.statement(&keys.name, sql, &keys.draws)?;
        Ok(Action {
            name: keys.name,
            effect: Effect::Keys(how, question),
            every: keys.every,
            burst: keys.burst,
            times: keys.times,
            values,
            lists: Arc::clone(&self.lists),
        })
    }

    fn page(&self, page: WrittenPage) -> Result<Action, String> {
        let (question, values) = self.statement(&page.path, page.sql, &page.draws)?;
        Ok(Action {
            name: page.path.clone(),
            effect: Effect::Page(page.path, question),
            every: page.every.unwrap_or(PAGE_EVERY),
            burst: None,
            times: 1,
            values,
            lists: Arc::clone(&self.lists),
        })
    }

    fn lines(&self, lines: WrittenLines) -> Result<Action, String> {
        let (question, values) = self.statement(&lines.name, lines.sql, &lines.draws)?;
        Ok(Action {
            name: lines.name,
            effect: Effect::Lines(lines.writer, question),
            every: lines.every,
            burst: lines.burst,
            times: lines.times,
            values,
            lists: Arc::clone(&self.lists),
        })
    }

    fn statement(
        &self,
        what: &str,
        sql: WrittenSql,
        own: &BTreeMap<String, Draw>,
    ) -> Result<(Statement, Vec<Wanted>), String> {
        let (mut statements, values) = self.statements(what, &[sql], own)?;
        Ok((statements.remove(0), values))
    }

    /// Statements that share the values of one event.
    fn statements(
        &self,
        what: &str,
        texts: &[WrittenSql],
        own: &BTreeMap<String, Draw>,
    ) -> Result<(Vec<Statement>, Vec<Wanted>), String> {
        let mut names: Vec<String> = Vec::new();
        let mut statements = Vec::new();
        for text in texts {
            let mut values: Vec<usize> = Vec::new();
            let sql = sql::bind(&text.on(self.system), |name| {
                let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                values.push(index);
                match self.system {
                    System::Sqlite => format!("?{}", values.len()),
                    System::Postgres => Statement::PLACE.to_string(),
                }
            });
            statements.push(Statement { sql, values });
        }
        let wanted = |name: &String| {
            if let Some(before) = sql::time_before(name) {
                return Ok(Wanted::Before(before.as_micros() as Micros));
            }
            let draw = own.get(name).or_else(|| self.shared.get(name)).cloned();
            let draw = draw.ok_or_else(|| format!("action {what}: nothing draws `:{name}`"))?;
            match &draw {
                Draw::Pick(list) if !self.lists.contains_key(list) => {
                    Err(format!("action {what}: there is no list `{list}`"))
                }
                _ => Ok(Wanted::Drawn(draw)),
            }
        };
        let values = names.iter().map(wanted).collect::<Result<_, String>>()?;
        Ok((statements, values))
    }
}

fn once() -> u32 {
    1
}

fn application() -> Writer {
    Writer::Application
}

/// A length of time that must be there.
pub(super) mod length {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::duration::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script with these parts beside its tables.
    fn with(parts: &str) -> Result<Script, String> {
        let tables = "app: a\nschema: create table t (id)\nschema_postgres: ''\nhistory: {span: 1h, rate: 0.1}\nlists: {l: {x: 1}}\ndraws: {}\nseed: []\nactions: []";
        parse("a.yaml", &format!("{tables}\n{parts}"), System::Sqlite).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_pages_and_lines_become_actions() {
        let keys = "resp: [{name: k, every: 3s, times: 2, set: 'select :p, :now', draws: {p: {pick: l}}}]";
        let pages = "web: [{path: /p, sql: select 200}]";
        let lines =
            "lines: [{name: l, every: 2s, sql: select 1}, {name: m, every: 2s, writer: postgres, sql: select 1}]";
        let script = with(&format!("{keys}\n{pages}\n{lines}")).expect("it is right");
        let [keys, page, line, of_postgres] = script.outward.as_slice() else {
            panic!("{} actions", script.outward.len())
        };
        assert!(matches!(&keys.effect, Effect::Keys(Use::Set, question) if question.sql == "select ?1, ?2"));
        assert_eq!((keys.times_at_first(), keys.every_micros()), (2, 3e6));
        assert!(matches!(&page.effect, Effect::Page(path, _) if path == "/p"));
        assert_eq!((page.times_at_first(), page.every_micros()), (1, 1e6));
        assert!(matches!(&line.effect, Effect::Lines(Writer::Application, _)));
        assert!(matches!(&of_postgres.effect, Effect::Lines(Writer::Postgres, _)));
        assert_eq!((line.times_at_first(), line.every_micros()), (1, 2e6));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_file() {
        for (parts, told) in [
            ("extra: 1", "packs/demo/a.yaml cannot be used"),
            ("resp: [{name: k, every: 1s}]", "keys k: they have one of `set`"),
            ("resp: [{name: k, every: 1s, set: '', delete: ''}]", "keys k: they have one of `set`"),
            ("resp: [{name: k, every: 1s, set: 'select :p', draws: {p: {pick: m}}}]", "there is no list `m`"),
            ("web: [{path: /p, sql: 'select :q'}]", "nothing draws `:q`"),
            ("troubles: {t: {about: x, stops: [y]}}", "trouble t: there is no `y` to stop"),
        ] {
            let error = with(parts).err().expect("it is wrong");
            assert!(error.contains(told), "{error} does not say {told}");
        }
    }
}
