//! What one form of line must keep to: its conditions, its expressions, its columns.
//!
//! What it lets through can be made ready without an error.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{At, Lint, is_column};
use super::{OF_EVERY_LINE, OF_RUNS};
use crate::pack::expression;
use crate::pack::logs::{Column, Expected, FullColumn, LineForm};
use crate::yaml::did_you_mean;

/// What stands for any value but null.
pub(super) const ANY: &str = "*";

/// Words for how grave a line is; the last is for lines that do not tell.
const LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "fatal", "unknown"];

/// Returns the named captures.
pub(super) fn form(lint: &mut Lint<'_>, form: &LineForm, with_runs: bool, at: &At) -> Vec<String> {
    conditions(lint, form, at);
    let captures = form.pattern.as_deref().map(|pattern| captures(lint, pattern, &at.key("pattern")));
    if form.run.is_some() && !with_runs {
        lint.complain(&at.key("run"), "the collector has no `runs` that says which column identifies a run");
    }
    if form.run.is_some() && form.each.is_some() {
        lint.complain(
            &at.key("each"),
            "a line that begins or ends a run makes one row; count the list in another collector",
        );
    }
    if let Some(each) = &form.each {
        field(lint, each, &at.key("each"));
    }
    if form.skip {
        for (key, given) in [
            ("columns", !form.columns.is_empty()),
            ("each", form.each.is_some()),
            ("run", form.run.is_some()),
            ("pattern", captures.as_ref().is_some_and(|captures| !captures.is_empty())),
        ] {
            if given {
                lint.complain(&at.key(key), "lines of this form do not count, so they need no columns, list or run");
            }
        }
        return Vec::new();
    }
    let captures = captures.unwrap_or_default();
    let is_taken = |name: &str| OF_EVERY_LINE.contains(&name) || (with_runs && OF_RUNS.contains(&name));
    for capture in captures.iter().filter(|capture| !is_column(capture) || is_taken(capture)) {
        lint.complain(&at.key("pattern"), named_badly("capture", capture, is_taken(capture)));
    }
    for (name, column) in &form.columns {
        let at = at.key("columns").key(name);
        if !is_column(name) || is_taken(name) {
            lint.complain(&at, named_badly("column", name, is_taken(name)));
        }
        let is_same = matches!(column, Column::Full(full) if full.capture.as_deref() == Some(name));
        if captures.contains(name) && !is_same {
            lint.complain(&at, format!("`pattern` captures `{name}` too; give one of them another name"));
        }
        match column {
            Column::Json(name) => field(lint, name, &at),
            Column::Full(full) => full_column(lint, form, full, &captures, &at),
        }
    }
    captures
}

fn named_badly(what: &str, name: &str, is_taken: bool) -> String {
    if is_taken {
        format!("{what} `{name}`: lines have a column of this name anyway; give it another")
    } else {
        format!("{what} `{name}`: use a-z, 0-9 and _, and begin with a letter")
    }
}

fn conditions(lint: &mut Lint<'_>, form: &LineForm, at: &At) {
    for (key, fields) in [("json", &form.json), ("record", &form.record)] {
        expected(lint, fields, &at.key(key));
    }
    for (key, words) in [("level", &form.level), ("prefix", &form.prefix), ("contains", &form.contains)] {
        let Some(words) = words else { continue };
        let at = at.key(key);
        if words.as_slice().is_empty() {
            lint.complain(&at, "the list is empty, so no line fits; name at least one, or leave it out");
        }
        let mut seen = BTreeSet::new();
        for word in words.as_slice() {
            if !seen.insert(word) {
                lint.complain(&at, format!("`{word}` stands twice"));
            } else if key == "level" && !LEVELS.contains(&word.as_str()) {
                let suggestion = did_you_mean(word, LEVELS);
                lint.complain(&at, format!("`{word}` is no level; there are {}{suggestion}", LEVELS.join(", ")));
            } else if word.is_empty() {
                lint.complain(&at, "every text has an empty text in it; write something, or leave it out");
            }
        }
    }
}

fn expected(lint: &mut Lint<'_>, fields: &BTreeMap<String, Expected>, at: &At) {
    for (name, expected) in fields {
        let at = at.key(name);
        field(lint, name, &at);
        let values = expected.as_slice();
        if values.is_empty() {
            lint.complain(&at, "the list is empty, so no line fits; name at least one value, or `\"*\"` for any");
        } else if (1..values.len()).any(|index| values[..index].contains(&values[index])) {
            lint.complain(&at, "a value stands twice");
        }
    }
}

fn captures(lint: &mut Lint<'_>, pattern: &str, at: &At) -> Vec<String> {
    if pattern.is_empty() {
        lint.complain(at, "every text fits an empty pattern; write one, or leave it out");
    }
    match expression::compile(pattern) {
        Ok(pattern) => pattern.capture_names().flatten().map(str::to_owned).collect(),
        Err(message) => {
            lint.complain(at, message);
            Vec::new()
        }
    }
}

/// A name, or a pointer (RFC 6901).
fn field(lint: &mut Lint<'_>, name: &str, at: &At) {
    let is_pointer = name.starts_with('/');
    let has_bad_tilde = || name.split('~').skip(1).any(|after| !after.starts_with(['0', '1']));
    if name.is_empty() {
        lint.complain(at, "name a field, or write a pointer such as `/err/name`");
    } else if !is_pointer && name.contains('/') {
        let message = format!(
            "`{name}`: a pointer begins with `/`, as in `/{name}`; a slash that belongs to the name is written `/{}`",
            name.replace('~', "~0").replace('/', "~1")
        );
        lint.complain(at, message);
    } else if is_pointer && has_bad_tilde() {
        lint.complain(at, format!("`{name}`: in a pointer `~` is written `~0`, and a `/` that belongs to a name `~1`"));
    }
}

fn full_column(lint: &mut Lint<'_>, form: &LineForm, column: &FullColumn, captures: &[String], at: &At) {
    let origins = [
        ("json", column.json.is_some()),
        ("record", column.record.is_some()),
        ("item", column.item.is_some()),
        ("count", column.count.is_some()),
        ("capture", column.capture.is_some()),
        ("constant", column.constant.is_some()),
    ];
    let given: Vec<&str> = origins.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
    if given.len() != 1 {
        let found = if given.is_empty() { "none".to_owned() } else { format!("`{}`", given.join("` and `")) };
        let message = format!(
            "a column comes from exactly one of `json`, `record`, `item`, `count`, `capture` and `constant`; here is {found}"
        );
        lint.complain(at, message);
    }
    for (key, fields) in [("json", &column.json), ("record", &column.record), ("item", &column.item)] {
        let Some(fields) = fields else { continue };
        let at = at.key(key);
        if fields.as_slice().is_empty() {
            lint.complain(&at, "the list is empty; name at least one field");
        }
        let is_itself = |name: &String| key == "item" && name.is_empty();
        for name in fields.as_slice().iter().filter(|name| !is_itself(name)) {
            field(lint, name, &at);
        }
    }
    if column.item.is_some() && form.each.is_none() {
        lint.complain(&at.key("item"), "there is no `each` whose elements have fields; name the list there");
    }
    if let Some(list) = &column.count {
        field(lint, list, &at.key("count"));
    }
    if let Some(capture) = &column.capture
        && !captures.contains(capture)
    {
        let suggestion = did_you_mean(capture, captures.iter().map(String::as_str));
        lint.complain(&at.key("capture"), format!("`pattern` has no capture `(?<{capture}>…)`{suggestion}"));
    }
    made_of_it(lint, column, at);
}

/// What is made of a value.
fn made_of_it(lint: &mut Lint<'_>, column: &FullColumn, at: &At) {
    for (index, class) in column.classify.iter().enumerate() {
        let at = at.key("classify").key(&index.to_string());
        if class.pattern.is_empty() && index + 1 < column.classify.len() {
            lint.complain(&at.key("pattern"), "every text fits an empty pattern, so those after it are never asked");
        }
        if let Err(message) = expression::compile(&class.pattern) {
            lint.complain(&at.key("pattern"), message);
        }
        if class.name.is_empty() {
            lint.complain(&at.key("as"), "say what it becomes");
        }
    }
    let becomes_another = !column.map.is_empty() || !column.classify.is_empty();
    if column.otherwise.is_some() && !becomes_another {
        lint.complain(
            &at.key("otherwise"),
            "there is neither `map` nor `classify`; for a line that has no value write `missing`",
        );
    }
    if column.scale.is_some_and(|scale| !scale.is_finite() || scale == 0.0) {
        lint.complain(&at.key("scale"), "expected a factor other than 0, such as 0.001");
    }
    let is_made = becomes_another || column.scale.is_some() || column.missing.is_some();
    if column.constant.is_some() && is_made {
        lint.complain(at, "a constant stays what it is and is never missing; leave the rest out");
    }
}
