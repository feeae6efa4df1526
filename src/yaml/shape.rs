//! Compares a tree with the JSON Schema of the type that it is to become, and tells everything that does not fit.
//!
//! The schema is made of the Rust type, so the two cannot drift. Messages name keys and lines, never values.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Complaint, Node, Value, did_you_mean};
use crate::duration;

/// Letters of an unknown key that a message repeats: longer ones are not keys but values gone astray.
const SHOWN_KEY_LENGTH: usize = 40;

/// Makes `T` of a tree.
///
/// # Errors
/// Everything that does not fit, in the order of the file.
pub fn read<T: DeserializeOwned + JsonSchema>(file: &str, tree: &mut Node) -> Result<T, Vec<Complaint>> {
    let (value, complaints) = read_what_fits(file, tree);
    value.filter(|_| complaints.is_empty()).ok_or(complaints)
}

/// Makes `T` of what fits: keys that are unknown or whose value does not fit are taken out of the tree and told. So
/// the rest can be looked at, and everything that is wrong is told at once. No `T` when what is left lacks something.
pub fn read_what_fits<T: DeserializeOwned + JsonSchema>(file: &str, tree: &mut Node) -> (Option<T>, Vec<Complaint>) {
    let schema = schemars::schema_for!(T).to_value();
    let mut complaints = Vec::new();
    let line = tree.line;
    let mut walk = Walk { file, root: &schema, complaints: &mut complaints };
    walk.node(&schema, tree, line, "");
    let value = serde_json::from_value(tree.to_json());
    if value.is_err() && complaints.is_empty() {
        // The walk has looked at everything that serde looks at, so this happens only if the two disagree. Serde's
        // words could quote a value, so they are left out.
        let message = "the file fits its schema but cannot be read; please report this with the file's keys".into();
        complaints.push(Complaint { file: file.into(), line: None, place: String::new(), message });
    }
    (value.ok(), complaints)
}

struct Walk<'a> {
    file: &'a str,
    root: &'a Json,
    complaints: &'a mut Vec<Complaint>,
}

impl Walk<'_> {
    /// Always false: what is complained of does not fit.
    fn complain(&mut self, line: u64, place: &str, message: String) -> bool {
        let line = (line > 0).then_some(line);
        self.complaints.push(Complaint { file: self.file.into(), line, place: place.into(), message });
        false
    }

    /// Whether the node fits, once its unfitting parts are taken out.
    fn node(&mut self, schema: &Json, node: &mut Node, line: u64, place: &str) -> bool {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["anyOf"].as_array() {
            let choice = choices.iter().find(|choice| self.admits(choice, &node.value));
            return match choice {
                Some(choice) => self.node(choice, node, line, place),
                None => self.mismatch(choices, line, place),
            };
        }
        if let Some(words) = words(&schema) {
            let is_left_open = node.value == Value::Null && types(&schema).contains(&"null");
            let fits = is_left_open || text(&node.value).is_some_and(|text| words.contains(&text));
            return fits || self.complain(line, place, format!("expected one of {}", words.join(", ")));
        }
        fill(&schema, &mut node.value);
        if !self.admits(&schema, &node.value) {
            return self.mismatch(std::slice::from_ref(&schema), line, place);
        }
        match &mut node.value {
            Value::Map(entries) => self.map(&schema, entries, line, place),
            Value::List(items) => {
                let mut all = true;
                for (index, item) in items.iter_mut().enumerate() {
                    let line = item.line;
                    all &= self.node(&schema["items"], item, line, &format!("{place}[{index}]"));
                }
                all
            }
            Value::Text(_) | Value::Filled { .. } => self.text(&schema, &node.value, line, place),
            Value::Number(number) => self.number(&schema, number.as_f64().unwrap_or(f64::NAN), line, place),
            Value::Null | Value::Bool(_) => true,
        }
    }

    fn map(&mut self, schema: &Json, entries: &mut Vec<super::Entry>, line: u64, place: &str) -> bool {
        let empty = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let missing: Vec<&str> =
            required.iter().copied().filter(|key| !entries.iter().any(|entry| entry.key == *key)).collect();
        entries.retain_mut(|entry| {
            let key = shown_key(&entry.key);
            let inner = if place.is_empty() { key } else { format!("{place}.{key}") };
            let line = entry.line;
            if let Some(property) = properties.get(&entry.key) {
                self.node(property, &mut entry.node, line, &inner)
            } else if schema["additionalProperties"].is_object() {
                self.node(&schema["additionalProperties"], &mut entry.node, line, &inner)
            } else {
                let suggestion = did_you_mean(&entry.key, properties.keys().map(String::as_str));
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                let known = format!("; known here: {}", known.join(", "));
                let mend = if suggestion.is_empty() { known } else { suggestion };
                self.complain(line, &inner, format!("there is no such key{mend}"))
            }
        });
        for key in &missing {
            self.complain(line, place, format!("`{key}` is missing"));
        }
        required.iter().all(|key| entries.iter().any(|entry| entry.key == *key))
    }

    fn text(&mut self, schema: &Json, value: &Value, line: u64, place: &str) -> bool {
        let is_duration = schema["pattern"].as_str() == Some(duration::PATTERN);
        let fits = !is_duration || text(value).is_some_and(|text| duration::parse(text).is_ok());
        let message = "expected a length of time: a number and one of ms, s, m, h, d, such as `30s`";
        fits || self.complain(line, place, message.into())
    }

    fn number(&mut self, schema: &Json, number: f64, line: u64, place: &str) -> bool {
        let minimum = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
        let maximum = schema["maximum"].as_f64().unwrap_or(match schema["format"].as_str() {
            Some("uint32") => f64::from(u32::MAX),
            Some("uint16") => f64::from(u16::MAX),
            _ => f64::INFINITY,
        });
        let range = match (minimum.is_finite(), maximum.is_finite()) {
            (true, true) => format!("from {minimum} to {maximum}"),
            (true, false) => format!("of at least {minimum}"),
            _ => format!("of at most {maximum}"),
        };
        (minimum..=maximum).contains(&number) || self.complain(line, place, format!("expected a number {range}"))
    }

    fn mismatch(&mut self, choices: &[Json], line: u64, place: &str) -> bool {
        let mut kinds: Vec<&str> = choices.iter().flat_map(|choice| kinds_of(&self.resolve(choice))).collect();
        kinds.dedup();
        kinds.retain(|kind| *kind != "nothing");
        self.complain(line, place, format!("expected {}", kinds.join(" or ")))
    }

    fn resolve(&self, schema: &Json) -> Json {
        let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.map_or_else(|| schema.clone(), |name| self.root["$defs"][name].clone())
    }

    fn admits(&self, schema: &Json, value: &Value) -> bool {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["anyOf"].as_array() {
            return choices.iter().any(|choice| self.admits(choice, value));
        }
        let types = types(&schema);
        types.is_empty()
            || types.iter().any(|kind| match value {
                Value::Null => *kind == "null",
                Value::Bool(_) => *kind == "boolean",
                Value::Number(number) => {
                    *kind == "number" || (*kind == "integer" && (number.is_i64() || number.is_u64()))
                }
                Value::Text(_) | Value::Filled { .. } => *kind == "string",
                Value::List(_) => *kind == "array",
                Value::Map(_) => *kind == "object",
            })
    }
}

/// A variable's value is text; where the schema wants a number or a truth value it becomes one.
fn fill(schema: &Json, value: &mut Value) {
    let Value::Filled { value: text, .. } = &value else { return };
    let types = types(schema);
    let filled = if types.contains(&"boolean") {
        text.parse().ok().map(Value::Bool)
    } else if types.contains(&"integer") {
        text.parse::<i64>().ok().map(|number| Value::Number(number.into()))
    } else if types.contains(&"number") {
        text.parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
    } else {
        None
    };
    if let Some(filled) = filled {
        *value = filled;
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(kind) => vec![kind],
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
        _ if words(schema).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

/// The words of a closed choice.
fn words(schema: &Json) -> Option<Vec<&str>> {
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().filter_map(Json::as_str).collect());
    }
    let choices = schema["oneOf"].as_array()?;
    choices.iter().map(|choice| choice["const"].as_str()).collect()
}

fn kinds_of(schema: &Json) -> Vec<&'static str> {
    if schema["pattern"].as_str() == Some(duration::PATTERN) {
        return vec!["a length of time such as `30s`"];
    }
    types(schema)
        .into_iter()
        .map(|kind| match kind {
            "null" => "nothing",
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "array" => "a list",
            "object" => "a map of keys and values",
            _ => "text (in quotes, if it looks like a number)",
        })
        .collect()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Filled { value: text, .. } => Some(text),
        _ => None,
    }
}

/// An unknown key is shown, unless it looks like a value that was meant to stand elsewhere.
fn shown_key(key: &str) -> String {
    let is_plain = key.len() <= SHOWN_KEY_LENGTH && key.chars().all(|c| c.is_alphanumeric() || "_-./ ".contains(c));
    if is_plain { key.to_owned() } else { "(a key that is not shown)".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::yaml::parse;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Plant {
        name: String,
        #[serde(default)]
        height: Option<f64>,
        #[serde(default)]
        leaves: u32,
        #[serde(default)]
        #[schemars(with = "Option<duration::Text>")]
        age: Option<String>,
        #[serde(default)]
        parts: Vec<String>,
    }

    fn complaints(text: &str) -> Vec<String> {
        let mut tree = parse("f", text, false).expect("valid YAML");
        read::<Plant>("f", &mut tree).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tells_everything_at_once_with_lines() {
        let text = "heigth: 3\nleaves: -1\nage: old\nparts: [a, 2]\nheight: tall\n\"postgres://u:hunter2@h\": 1\n";
        assert_eq!(
            complaints(text),
            [
                "f:1: heigth: there is no such key; did you mean `height`?",
                "f:2: leaves: expected a number from 0 to 4294967295",
                "f:3: age: expected a length of time: a number and one of ms, s, m, h, d, such as `30s`",
                "f:4: parts[1]: expected text (in quotes, if it looks like a number)",
                "f:5: height: expected a number",
                "f:6: (a key that is not shown): there is no such key; known here: name, height, leaves, age, parts",
                "f:1: `name` is missing",
            ]
        );
        assert_eq!(complaints("just words"), ["f:1: expected a map of keys and values"]);
        assert_eq!(complaints("name: x\nage: 5m\nheight:\n"), Vec::<String>::new());
    }

    #[test]
    fn variables_become_what_the_schema_wants() {
        let mut tree = parse("f", "name: a\nleaves: b\n", false).expect("valid YAML");
        let Value::Map(entries) = &mut tree.value else { panic!("a map") };
        entries[0].node.value = Value::Filled { value: "17".into(), written: "${N}".into() };
        entries[1].node.value = Value::Filled { value: "17".into(), written: "${N}".into() };
        let plant: Plant = read("f", &mut tree).expect("fits");
        assert_eq!((plant.name.as_str(), plant.leaves), ("17", 17));
    }
}
