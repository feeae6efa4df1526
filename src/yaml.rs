//! YAML with its line numbers, and complaints that name them.
//!
//! A file is read into a tree first, so that everything that is wrong with it can be told at once and not only the
//! first thing. No message here repeats a value of the file: a configuration holds passwords.

pub mod shape;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Bytes that a file may have: a hundred times the largest pack, and nothing that strains memory.
const FILE_LIMIT: usize = 4 << 20;

/// One thing that is wrong with a file, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file, or what stands for it (`environment`).
    pub file: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<u64>,
    /// The setting or the metric, in words a person finds again; may be empty.
    pub place: String,
    /// What is wrong and what mends it.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Writes complaints one a line.
///
/// # Errors
/// When the formatter fails.
pub fn list(complaints: &[Complaint], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, complaint) in complaints.iter().enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        write!(f, "{complaint}")?;
    }
    Ok(())
}

/// A value of the file and the line where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Counted from 1; 0 where it is not known.
    pub line: u64,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. Those that JSON cannot hold, such as `.inf`, are text.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// Text of which a part came from an environment variable: the value, and the text as the file has it. Only the
    /// latter is ever shown.
    Filled {
        /// With the variables put in.
        value: String,
        /// As the file has it.
        written: String,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Line of the key.
    pub line: u64,
    /// The value.
    pub node: Node,
}

/// Reads a file's text into a tree.
///
/// # Errors
/// When it is not YAML. `show_cause` adds the parser's own words, which may quote the file: only for files that hold
/// no secret.
pub fn parse(file: &str, text: &str, show_cause: bool) -> Result<Node, Complaint> {
    let complaint = |line, message| Complaint { file: file.into(), line, place: String::new(), message };
    if text.len() > FILE_LIMIT {
        return Err(complaint(None, format!("the file has more than {} MiB; is it the right one?", FILE_LIMIT >> 20)));
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
    };
    let parsed: Result<Spanned<Value>, _> = serde_saphyr::from_str_with_options(text, options);
    parsed.map(node).map_err(|error| {
        let location = error.location();
        let twice = matches!(error.without_snippet(), serde_saphyr::Error::DuplicateMappingKey { .. });
        let message = if twice {
            "this key stands twice in one map; keep one of them".to_owned()
        } else if show_cause {
            format!("this is not valid YAML: {error}")
        } else {
            let column = location.map(|at| format!(", at column {}", at.column())).unwrap_or_default();
            format!("this is not valid YAML{column}; look for a quote, a bracket or an indentation that is amiss")
        };
        complaint(location.map(|at| at.line()), message)
    })
}

impl Node {
    /// The node at a path of keys and list indices, as deep as the path leads.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match &node.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == *step).map(|entry| &entry.node),
            Value::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The line of the last step of the path that exists.
    pub fn line_of(&self, path: &[&str]) -> Option<u64> {
        let mut line = self.line;
        let mut node = self;
        for step in path {
            let (next_line, next) = match &node.value {
                Value::Map(entries) => match entries.iter().find(|entry| entry.key == *step) {
                    Some(entry) => (entry.line, &entry.node),
                    None => break,
                },
                Value::List(items) => match step.parse::<usize>().ok().and_then(|index| items.get(index)) {
                    Some(item) => (item.line, item),
                    None => break,
                },
                _ => break,
            };
            (line, node) = (next_line, next);
        }
        (line > 0).then_some(line)
    }

    /// The tree as JSON, for serde.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) | Value::Filled { value: text, .. } => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }
}

/// The word of `known` that `word` was probably meant to be, as a question to append to a message.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    // A third of the letters may differ: `intervall` is near `interval`, `foo` is near nothing.
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

fn node(spanned: Spanned<Value>) -> Node {
    Node { line: spanned.referenced.line(), value: spanned.value }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or_else(|| Value::Text(value.to_string()), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Value>>()? {
            items.push(node(item));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push(Entry { line: key.referenced.line(), key: key.value, node: node(value) });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let text = "a: 1\nlist:\n  - x\n  - {deep: no,\n     deeper: 2.5}\nflag: true\nnone:\nhuge: .inf\n";
        let tree = parse("f", text, false).expect("valid YAML");
        let lines: Vec<_> = [&["a"][..], &["list", "1"], &["list", "1", "deeper"], &["flag"], &["nowhere", "x"]]
            .iter()
            .map(|path| tree.line_of(path))
            .collect();
        assert_eq!(lines, [Some(1), Some(4), Some(5), Some(6), Some(1)]);
        assert_eq!(
            tree.to_json(),
            serde_json::json!({"a": 1, "list": ["x", {"deep": "no", "deeper": 2.5}], "flag": true, "none": null, "huge": ".inf"})
        );
    }

    #[test]
    fn bad_yaml_is_told_with_its_line_and_without_its_words() {
        for text in [
            "a: 1\nb: {hunter2\n",
            "a: 1\na: hunter2\n",
            "a: 1\n hunter2: 2\n",
            "a: 1\nb: *hunter2\n",
            "a: !!int hunter2",
        ] {
            let complaint = parse("f.yaml", text, false).expect_err(text).to_string();
            assert!(complaint.starts_with("f.yaml:"), "{complaint}");
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
    }

    #[test]
    fn the_parsers_own_words_are_shown_only_where_no_secret_is() {
        let told = |show_cause| parse("f", "a: !!int x\n", show_cause).expect_err("no number").to_string();
        assert!(told(true).contains("invalid u64"), "{}", told(true));
        assert_eq!(
            told(false),
            "f:1: this is not valid YAML, at column 10; look for a quote, a bracket or an indentation that is amiss"
        );
    }

    #[test]
    fn suggests_what_was_probably_meant() {
        assert_eq!(did_you_mean("intervall", ["interval", "intervals", "url"]), "; did you mean `interval`?");
        assert_eq!(did_you_mean("foo", ["interval"]), "");
    }
}
