//! What `keys`, `info`, `show` and `probe` must keep to, and which columns they offer to metrics.
//!
//! It compares words with words; nothing is asked of a server.

use std::collections::BTreeSet;

use super::{At, Lint, is_column};
use crate::pack::upstream::{KeyFamily, Keys, Probe};
use crate::pack::{Collector, Pack};

/// Columns that every probe has.
const PROBE_COLUMNS: [&str; 6] = ["target", "endpoint", "up", "outcome", "http_status", "seconds"];

/// What the collector offers to its metrics; none when only the server can tell.
pub(super) fn columns<'p>(lint: &mut Lint<'_>, pack: &Pack, collector: &'p Collector, at: &At) -> Option<Vec<&'p str>> {
    if let Some(keys) = &collector.keys {
        return Some(of_keys(lint, pack, keys, &at.key("keys")));
    }
    if let Some(probe) = &collector.probe {
        return Some(of_probe(lint, probe, &at.key("probe")));
    }
    if let Some(show) = &collector.show {
        let is_word = |c: char| c.is_ascii_uppercase() || c == '_';
        if show.command.is_empty() || !show.command.chars().all(is_word) {
            lint.complain(&at.key("show").key("command"), "expected one word after SHOW, such as `POOLS`");
        }
    }
    if let Some(info) = &collector.info {
        let is_word = |section: &String| !section.is_empty() && section.bytes().all(|byte| byte.is_ascii_lowercase());
        if !info.sections.iter().all(is_word) {
            lint.complain(&at.key("info").key("sections"), "expected names of sections, such as `memory`");
        }
    }
    None
}

fn of_keys<'p>(lint: &mut Lint<'_>, pack: &Pack, keys: &'p Keys, at: &At) -> Vec<&'p str> {
    if keys.matching.is_empty() {
        lint.complain(
            &at.key("match"),
            "expected what Redis is to look for, such as `presence:*`, or `*` for every key",
        );
    }
    if keys.families.is_empty() {
        lint.complain(&at.key("families"), "there is no kind of key to count");
    }
    let mut columns = vec!["keys", "at_limit"];
    for (index, family) in keys.families.iter().enumerate() {
        let at = at.key("families").key(&index.to_string());
        let captures = captures(lint, family, &at.key("pattern"));
        for (key, used) in family.lookup.iter() {
            if !captures.contains(&key.as_str()) {
                lint.complain(&at.key("lookup"), format!("`{key}` is not captured by the pattern"));
            }
            if !pack.lookups.contains_key(used) {
                lint.complain(&at.key("lookup").key(key), format!("the pack has no look-up `{used}` under `lookups`"));
            }
        }
        if let Some(bucket) = &family.bucket {
            if !captures.contains(&bucket.capture.as_str()) {
                lint.complain(&at.key("bucket").key("capture"), "this is not captured by the pattern");
            }
            if bucket.window.is_zero() {
                lint.complain(&at.key("bucket").key("window"), "expected a length of time above zero, such as `1h`");
            }
        }
        if family.limit == Some(0) {
            lint.complain(&at.key("limit"), "every key is at a limit of 0; write the number that is the limit");
        }
        for name in family.set.keys() {
            if !is_column(name) || captures.contains(&name.as_str()) || ["keys", "at_limit"].contains(&name.as_str()) {
                lint.complain(&at.key("set").key(name), "the name is no column's, or it is taken by the pattern");
            }
        }
        columns.extend(captures);
        columns.extend(family.set.keys().map(String::as_str));
    }
    columns
}

/// The captures of a pattern.
fn captures<'p>(lint: &mut Lint<'_>, family: &'p KeyFamily, at: &At) -> Vec<&'p str> {
    let mut captures = Vec::new();
    let mut rest = family.pattern.as_str();
    while let Some(open) = rest.find('{') {
        let after = &rest[open + 1..];
        let Some(close) = after.find('}') else {
            lint.complain(at, "a `{` has no `}`");
            return captures;
        };
        let name = after[..close].trim_end_matches('*');
        if !is_column(name) {
            lint.complain(at, format!("capture `{{{name}}}`: use a-z, 0-9 and _, and begin with a letter"));
        } else if captures.contains(&name) {
            lint.complain(at, format!("capture `{{{name}}}` stands twice"));
        }
        captures.push(name);
        rest = &after[close + 1..];
        if rest.starts_with('{') {
            lint.complain(at, "two captures touch; something must stand between them");
        }
    }
    if family.pattern.is_empty() {
        lint.complain(at, "the pattern is empty");
    }
    captures
}

fn of_probe<'p>(lint: &mut Lint<'_>, probe: &'p Probe, at: &At) -> Vec<&'p str> {
    if probe.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        lint.complain(&at.key("path"), "a path begins with `/`");
    }
    if probe.timeout.is_zero() {
        lint.complain(&at.key("timeout"), "expected a length of time above zero, such as `8s`");
    }
    pointers(lint, probe.status.iter().flat_map(|status| status.as_slice()), &at.key("status"));
    let mut words = BTreeSet::new();
    for (key, list) in [("healthy", &probe.healthy), ("degraded", &probe.degraded), ("unhealthy", &probe.unhealthy)] {
        for word in list.iter().filter(|word| !words.insert(word.as_str())) {
            lint.complain(&at.key(key), format!("`{word}` stands in two lists"));
        }
    }
    if probe.status.is_none() && !words.is_empty() {
        lint.complain(&at.key("status"), "there are words and no `status` that says where they stand");
    }
    let mut columns = PROBE_COLUMNS.to_vec();
    for (index, value) in probe.values.iter().enumerate() {
        let at = at.key("values").key(&index.to_string());
        pointers(lint, value.at.as_slice().iter(), &at.key("at"));
        if !is_column(&value.column) || PROBE_COLUMNS.contains(&value.column.as_str()) {
            lint.complain(&at.key("as"), "use a-z, 0-9 and _, and a name that no probe has anyway");
        }
        columns.push(&value.column);
        columns.extend(value.set.keys().map(String::as_str));
        let captured = value.at.as_slice().iter().flat_map(|pointer| pointer.split('/'));
        columns.extend(captured.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')));
    }
    columns
}

fn pointers<'p>(lint: &mut Lint<'_>, pointers: impl Iterator<Item = &'p String>, at: &At) {
    for pointer in pointers.filter(|pointer| !pointer.starts_with('/')) {
        lint.complain(
            at,
            format!("`{pointer}` is no JSON pointer: it begins with `/`, as in `/services/database/status`"),
        );
    }
}
