//! Puts environment variables into the text of a configuration: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.
//!
//! What a variable holds is a secret until proved otherwise: the tree keeps the text as written beside it, and only
//! that is shown.

use crate::yaml::{Complaint, Node, Value};

/// Fills every text of the tree, keys excepted. What cannot be filled is told and left empty.
pub fn fill(file: &str, tree: &mut Node, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut work = vec![(tree, String::new())];
    while let Some((node, place)) = work.pop() {
        let line = (node.line > 0).then_some(node.line);
        match &mut node.value {
            value @ Value::Text(_) => {
                let Value::Text(written) = &value else { continue };
                if !written.contains('$') {
                    continue;
                }
                let written = written.clone();
                let filled = filled(&written, variable).unwrap_or_else(|message| {
                    complaints.push(Complaint { file: file.into(), line, place, message });
                    String::new()
                });
                *value = Value::Filled { value: filled, written };
            }
            Value::List(items) => {
                work.extend(items.iter_mut().enumerate().map(|(index, item)| (item, format!("{place}[{index}]"))));
            }
            Value::Map(entries) => work.extend(entries.iter_mut().map(|entry| {
                let place = if place.is_empty() { entry.key.clone() } else { format!("{place}.{}", entry.key) };
                (&mut entry.node, place)
            })),
            _ => {}
        }
    }
    complaints.sort_by_key(|complaint| complaint.line);
    complaints
}

fn filled(written: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut value = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(dollar) = rest.find('$') {
        value.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            value.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or("`${` has no `}`; write `$$` for a dollar sign")?;
            value.push_str(&one(&after[..end], variable)?);
            rest = &after[end + 1..];
        } else {
            value.push('$');
        }
    }
    value.push_str(rest);
    Ok(value)
}

fn one(inner: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err("`${…}` does not hold the name of a variable (A-Z, 0-9, _); write `$$` for a dollar sign".into());
    }
    match (variable(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(format!("the environment variable {name} is not set; set it, or write `${{{name}:-a default}}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.example".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn fills_variables_and_defaults() {
        for (written, value) in [
            ("plain", "plain"),
            ("${HOST}", "db.example"),
            ("a ${HOST}:${PORT:-5432} b", "a db.example:5432 b"),
            ("${EMPTY:-x}${EMPTY}", "x"),
            ("${NONE:-}", ""),
            ("$${HOST} $$ $HOST 5$", "${HOST} $ $HOST 5$"),
        ] {
            assert_eq!(filled(written, &variable).as_deref(), Ok(value), "{written}");
        }
    }

    #[test]
    fn tells_line_place_and_variable() {
        let mut tree =
            crate::yaml::parse("c.yaml", "a: 1\nb:\n  - x: ${NONE}\n  - ${bad name}\nc: ${\n", false).expect("YAML");
        let told: Vec<String> = fill("c.yaml", &mut tree, &variable).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert_eq!(
            told[0],
            "c.yaml:3: b[0].x: the environment variable NONE is not set; set it, or write `${NONE:-a default}`"
        );
        assert!(told[1].starts_with("c.yaml:4: b[1]: `${…}` does not hold the name"), "{}", told[1]);
        assert!(told[2].starts_with("c.yaml:5: c: `${` has no `}`"), "{}", told[2]);
    }
}
