//! Numbers in a JSON document: pointers (RFC 6901) whose parts in braces stand for every key, and what counts as a number.
//!
//! Pure. A document is a stranger's: what does not fit is left out, and nothing grows beyond [`REPORTED_ROWS`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::pack::{Probe, Reported};

/// Numbers that one answer may report. An endpoint that tells more is no health endpoint, and each may become a series.
pub(super) const REPORTED_ROWS: usize = 500;

/// A number that was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found<'a> {
    /// What the pack calls it.
    pub(super) reported: &'a Reported,
    /// The number as text.
    pub(super) number: String,
    /// What stands for the parts in braces.
    pub(super) captures: Vec<(&'a str, String)>,
}

impl Found<'_> {
    /// The cell of a column; none where this number says nothing of it.
    pub(super) fn cell(&self, column: &str) -> Option<&str> {
        if column == self.reported.column {
            return Some(&self.number);
        }
        let captured = self.captures.iter().find(|(name, _)| *name == column).map(|(_, key)| key.as_str());
        captured.or_else(|| self.reported.set.get(column).map(String::as_str))
    }
}

/// All numbers that the pack names and the document has.
pub(super) fn numbers<'a>(probe: &'a Probe, document: &Value) -> Vec<Found<'a>> {
    let mut all = Vec::new();
    for reported in &probe.values {
        let there = reported.at.as_slice().iter().map(|pointer| find(document, pointer));
        let Some(places) = there.into_iter().find(|places| !places.is_empty()) else { continue };
        for (captures, value) in places {
            if all.len() == REPORTED_ROWS {
                return all;
            }
            if let Some(number) = number(value, &reported.words) {
                all.push(Found { reported, number, captures });
            }
        }
    }
    all
}

/// A text, a truth or a number as a word; none for what has parts.
pub(super) fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.trim())),
        Value::Bool(truth) => Some(Cow::Owned(truth.to_string())),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

type Place<'p, 'd> = (Vec<(&'p str, String)>, &'d Value);

/// Everything that a pointer leads to, null excepted.
fn find<'p, 'd>(document: &'d Value, pointer: &'p str) -> Vec<Place<'p, 'd>> {
    let mut places: Vec<Place<'p, 'd>> = vec![(Vec::new(), document)];
    for part in pointer.split('/').skip(1) {
        let mut next = Vec::new();
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => {
                for (captures, value) in places {
                    let room = REPORTED_ROWS.saturating_sub(next.len());
                    next.extend(children(value).take(room).map(|(key, child)| {
                        let mut captures = captures.clone();
                        captures.push((name, key));
                        (captures, child)
                    }));
                }
            }
            None => {
                let key = part.replace("~1", "/").replace("~0", "~");
                next.extend(places.into_iter().filter_map(|(captures, value)| Some((captures, child(value, &key)?))));
            }
        }
        places = next;
    }
    places.retain(|(_, value)| !value.is_null());
    places
}

fn child<'d>(value: &'d Value, key: &str) -> Option<&'d Value> {
    match value {
        Value::Object(members) => members.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = (String, &Value)> + '_> {
    match value {
        Value::Object(members) => Box::new(members.iter().map(|(key, value)| (key.clone(), value))),
        Value::Array(items) => Box::new(items.iter().enumerate().map(|(index, value)| (index.to_string(), value))),
        _ => Box::new(std::iter::empty()),
    }
}

fn number(value: &Value, words: &BTreeMap<String, f64>) -> Option<String> {
    let word = word(value)?;
    if !words.is_empty() {
        let listed = words.iter().find(|(known, _)| known.eq_ignore_ascii_case(&word));
        return listed.map(|(_, number)| number.to_string());
    }
    match value {
        Value::Bool(truth) => Some(u8::from(*truth).to_string()),
        _ => word.parse::<f64>().is_ok_and(f64::is_finite).then(|| word.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(values: &str) -> Probe {
        serde_json::from_str(&format!("{{\"values\": {values}}}")).expect("a probe")
    }

    fn found(values: &str, document: &str) -> Vec<String> {
        let document: Value = serde_json::from_str(document).expect("JSON");
        let probe = probe(values);
        let of = |found: &Found<'_>| {
            let captures = found.captures.iter().map(|(name, key)| format!(" {name}={key}")).collect::<String>();
            format!("{}={}{captures}", found.reported.column, found.number)
        };
        numbers(&probe, &document).iter().map(of).collect()
    }

    #[test]
    fn the_first_pointer_that_is_there_counts() {
        let values = r#"[{"as": "pool", "at": ["/pool/totalCount", "/pool/total"]}]"#;
        assert_eq!(found(values, r#"{"pool": {"totalCount": 3, "total": 4}}"#), ["pool=3"]);
        assert_eq!(found(values, r#"{"pool": {"total": 4}}"#), ["pool=4"]);
        assert_eq!(found(values, r#"{"pool": {"totalCount": null, "total": 4}}"#), ["pool=4"]);
        assert_eq!(found(values, r#"{"pool": [1, 2]}"#), [""; 0]);
        assert_eq!(found(values, "[]"), [""; 0]);
    }

    #[test]
    fn parts_in_braces_stand_for_every_key() {
        let values = r#"[{"as": "up", "at": "/services/{service}/status", "words": {"up": 1, "Down": 0}}]"#;
        let document =
            r#"{"services": {"a": {"status": "up"}, "b": {"status": "DOWN"}, "c": {"status": "?"}, "d": 1}}"#;
        assert_eq!(found(values, document), ["up=1 service=a", "up=0 service=b"]);
        let values = r#"[{"as": "n", "at": "/{one}/{two}"}]"#;
        assert_eq!(
            found(values, r#"{"x": [5, 6], "y": {"z": 7}}"#),
            ["n=5 one=x two=0", "n=6 one=x two=1", "n=7 one=y two=z"]
        );
        assert_eq!(found(r#"[{"as": "n", "at": "/a~1b/c~0d"}]"#, r#"{"a/b": {"c~d": 1}}"#), ["n=1"]);
    }

    #[test]
    fn numbers_come_in_many_forms() {
        let values = r#"[{"as": "n", "at": "/{k}"}]"#;
        let document = r#"{"a": 1.5, "b": " 12 ", "c": true, "d": false, "e": "NaN", "f": "inf", "g": "12 ms", "h": {}, "i": 1e3, "j": -2}"#;
        assert_eq!(
            found(values, document),
            ["n=1.5 k=a", "n=12 k=b", "n=1 k=c", "n=0 k=d", "n=1000.0 k=i", "n=-2 k=j"]
        );
    }

    #[test]
    fn a_document_cannot_make_more_rows_than_there_is_room_for() {
        let items = vec!["1"; 2 * REPORTED_ROWS].join(",");
        let values = r#"[{"as": "n", "at": "/a/{k}"}, {"as": "m", "at": "/a/{k}"}]"#;
        assert_eq!(found(values, &format!("{{\"a\": [{items}]}}")).len(), REPORTED_ROWS);
        let nested = vec!["[1,2,3]"; REPORTED_ROWS].join(",");
        assert_eq!(found(r#"[{"as": "n", "at": "/{a}/{b}"}]"#, &format!("[{nested}]")).len(), REPORTED_ROWS);
    }

    #[test]
    fn cells_are_the_number_the_captures_and_what_is_set() {
        let probe = probe(r#"[{"as": "jobs", "at": "/{state}", "set": {"queue": "mail"}}]"#);
        let document = serde_json::json!({"waiting": 3});
        let numbers = numbers(&probe, &document);
        let cells: Vec<Option<&str>> = ["jobs", "state", "queue", "up"].map(|column| numbers[0].cell(column)).to_vec();
        assert_eq!(cells, [Some("3"), Some("waiting"), Some("mail"), None]);
    }
}
