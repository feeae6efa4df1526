//! Scripts as they are written (`packs/demo/*.yaml`), and how they become ready to run.
//!
//! One application may have several files: its tables in one, its keys in another. Nothing here draws a lot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::super::DemoError;
use super::super::draw::{Draw, Lists};
use super::super::key_writer::Use;
use super::{Action, Burst, Effect, History, Script, Statement, Wanted};
use crate::family::Micros;
use crate::pack::sql;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/packs/demo");

/// Time from one writing of a page to the next, where the script does not say.
const PAGE_EVERY: Duration = Duration::from_secs(1);

/// All scripts built into the program, in the order of the applications' names.
pub(in crate::demo) fn builtin() -> Result<Vec<Script>, DemoError> {
    let files = FILES.files().filter(|file| file.path().extension().is_some_and(|ending| ending == "yaml"));
    parse(files.map(|file| (file.path().display().to_string(), file.contents_utf8().unwrap_or_default())))
}

/// The scripts in these files, each with its name.
fn parse<'a>(files: impl Iterator<Item = (String, &'a str)>) -> Result<Vec<Script>, DemoError> {
    let wrong = |file: &str, reason: String| DemoError::Script { file: format!("packs/demo/{file}"), reason };
    let mut apps: BTreeMap<String, (String, Written)> = BTreeMap::new();
    for (file, text) in files {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| wrong(&file, error.to_string()))?;
        match apps.remove(&written.app) {
            None => {
                apps.insert(written.app.clone(), (file, written));
            }
            Some((other, before)) => {
                let app = before.app.clone();
                let both = before.join(written).map_err(|what| wrong(&file, format!("{other} has {what} too")))?;
                apps.insert(app, (other, both));
            }
        }
    }
    apps.into_values().map(|(file, written)| written.compile().map_err(|reason| wrong(&file, reason))).collect()
}

/// A script as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    app: String,
    /// Statements that make the tables.
    schema: Option<String>,
    history: Option<WrittenHistory>,
    /// Texts to choose from, with weights.
    #[serde(default)]
    lists: Lists,
    /// Values that every action may use, drawn anew each time.
    #[serde(default)]
    draws: BTreeMap<String, Draw>,
    /// What there is at the beginning.
    #[serde(default)]
    seed: Vec<WrittenAction>,
    /// What happens then.
    #[serde(default)]
    actions: Vec<WrittenAction>,
    /// What happens to keys in Redis.
    #[serde(default)]
    resp: Vec<WrittenKeys>,
    /// What is answered at paths over HTTP.
    #[serde(default)]
    web: Vec<WrittenPage>,
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
    set: Option<String>,
    /// Key, limit, seconds: it counts up to the limit.
    count: Option<String>,
    /// Key, value, seconds: it is read, and set when it was not there.
    cache: Option<String>,
    /// Key: it goes.
    delete: Option<String>,
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
    sql: String,
}

impl Written {
    /// Both files' words together; an error names what both have.
    fn join(mut self, other: Written) -> Result<Written, String> {
        if self.schema.is_some() && other.schema.is_some() {
            return Err("a `schema`".into());
        }
        if self.history.is_some() && other.history.is_some() {
            return Err("a `history`".into());
        }
        for (name, list) in other.lists {
            if self.lists.insert(name.clone(), list).is_some() {
                return Err(format!("a list `{name}`"));
            }
        }
        for (name, draw) in other.draws {
            if self.draws.insert(name.clone(), draw).is_some() {
                return Err(format!("a draw `{name}`"));
            }
        }
        self.schema = self.schema.or(other.schema);
        self.history = self.history.or(other.history);
        self.seed.extend(other.seed);
        self.actions.extend(other.actions);
        self.resp.extend(other.resp);
        self.web.extend(other.web);
        Ok(self)
    }

    fn compile(self) -> Result<Script, String> {
        let compiler = Compiler { shared: self.draws, lists: Arc::new(self.lists) };
        let schema = self.schema.ok_or_else(|| format!("no file of {} has a `schema`", self.app))?;
        let history = self.history.ok_or_else(|| format!("no file of {} has a `history`", self.app))?;
        let keys = self.resp.into_iter().map(|keys| compiler.keys(keys));
        let pages = self.web.into_iter().map(|page| compiler.page(page));
        Ok(Script {
            app: self.app,
            schema,
            history: History { span: history.span.as_micros() as Micros, rate: history.rate },
            seed: self.seed.into_iter().map(|action| compiler.action(action)).collect::<Result<_, _>>()?,
            actions: self.actions.into_iter().map(|action| compiler.action(action)).collect::<Result<_, _>>()?,
            outward: keys.chain(pages).collect::<Result<_, _>>()?,
        })
    }
}

/// What all actions of an application may use.
struct Compiler {
    shared: BTreeMap<String, Draw>,
    lists: Arc<Lists>,
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

    fn statement(
        &self,
        what: &str,
        sql: String,
        own: &BTreeMap<String, Draw>,
    ) -> Result<(Statement, Vec<Wanted>), String> {
        let (mut statements, values) = self.statements(what, &[sql], own)?;
        Ok((statements.remove(0), values))
    }

    /// Statements that share the values of one event.
    fn statements(
        &self,
        what: &str,
        texts: &[String],
        own: &BTreeMap<String, Draw>,
    ) -> Result<(Vec<Statement>, Vec<Wanted>), String> {
        let mut names: Vec<String> = Vec::new();
        let mut statements = Vec::new();
        for text in texts {
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

    const TABLES: &str = "{app: a, schema: create table t (id), history: {span: 1h, rate: 0.1}, lists: {l: {x: 1}}}";

    fn error(files: &[&str]) -> String {
        let files = files.iter().enumerate().map(|(number, text)| (format!("{number}.yaml"), *text));
        parse(files).err().expect("it is wrong").to_string()
    }

    #[test]
    fn files_of_one_application_are_one_script() {
        let keys = "{app: a, resp: [{name: k, every: 3s, times: 2, set: 'select :p, :now', draws: {p: {pick: l}}}]}";
        let pages = "{app: a, web: [{path: /p, sql: select 200}]}";
        let other = "{app: b, schema: '', history: {span: 1m, rate: 0}}";
        let files = [keys, other, TABLES, pages].map(|text| ("x.yaml".to_owned(), text));
        let scripts = parse(files.into_iter()).expect("they fit");
        assert_eq!(scripts.iter().map(|script| script.app.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let [keys, page] = scripts[0].outward.as_slice() else { panic!("{} actions", scripts[0].outward.len()) };
        assert!(matches!(&keys.effect, Effect::Keys(Use::Set, question) if question.sql == "select ?1, ?2"));
        assert_eq!((keys.times_at_first(), keys.every_micros()), (2, 3e6));
        assert!(matches!(&page.effect, Effect::Page(path, _) if path == "/p"));
        assert_eq!((page.times_at_first(), page.every_micros()), (1, 1e6));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_file() {
        for (files, told) in [
            (vec!["{app: a, web: []}"], "0.yaml cannot be used: no file of a has a `schema`"),
            (vec![TABLES, TABLES], "1.yaml cannot be used: 0.yaml has a `schema` too"),
            (vec![TABLES, "{app: a, lists: {l: {}}}"], "0.yaml has a list `l` too"),
            (vec![TABLES, "{app: a, resp: [{name: k, every: 1s}]}"], "keys k: they have one of `set`"),
            (
                vec![TABLES, "{app: a, resp: [{name: k, every: 1s, set: '', delete: ''}]}"],
                "keys k: they have one of `set`",
            ),
            (vec![TABLES, "{app: a, web: [{path: /p, sql: 'select :q'}]}"], "nothing draws `:q`"),
            (vec![TABLES, "{app: a, extra: 1}"], "1.yaml cannot be used"),
        ] {
            assert!(error(&files).contains(told), "{} does not say {told}", error(&files));
        }
    }
}
