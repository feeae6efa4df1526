//! Fields of JSON by name or pointer, and their values as texts.
//!
//! It looks and copies nothing that it can borrow.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Keys up to which an object is looked through: comparing so many short names costs less than a hash of one.
const LOOKED_THROUGH: usize = 16;

/// What loggers write in place of what they keep to themselves: it is no value.
const REDACTED: &str = "[REDACTED]";

/// A name, or a pointer (RFC 6901), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    steps: Vec<String>,
}

impl Field {
    /// What does not begin with `/` is a name as it stands, dots and all. The empty one is the whole.
    pub(super) fn new(written: &str) -> Self {
        let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let steps = match written.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(step).collect(),
            None if written.is_empty() => Vec::new(),
            None => vec![written.to_owned()],
        };
        Field { steps }
    }

    /// What stands there.
    pub(super) fn of<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.steps.iter().try_fold(value, |value, step| match value {
            Value::Object(object) => key(object, step),
            Value::Array(items) => items.get(index(step)?),
            _ => None,
        })
    }
}

fn key<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    if object.len() > LOOKED_THROUGH {
        return object.get(name);
    }
    object.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A place in a list: digits without a needless nought.
fn index(step: &str) -> Option<usize> {
    let is_plain = step.bytes().all(|byte| byte.is_ascii_digit()) && (step.len() == 1 || !step.starts_with('0'));
    step.parse().ok().filter(|_| is_plain)
}

/// The text of a scalar; none of what is null, redacted, a list or an object.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if text == REDACTED => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
