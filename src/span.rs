//! Spans made of rows: one finished piece of an application's work, ready to be sent and to be stored until it is.
//!
//! Ids are hashes of what a row is, so that a row read again is the same span. It knows no wire format and no table,
//! and carries no text of a row but attributes that a pack names and the personal-data guard let through.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::family::{SpanContext, SpanId, TraceId};

use crate::family::Micros;

/// The part that the work played, as OpenTelemetry names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Work within the application.
    #[default]
    Internal,
    /// A request that it answered.
    Server,
    /// A request that it made, such as the call of a model.
    Client,
    /// A message that it sent.
    Producer,
    /// A message that it worked on.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// A text that the guard let through.
    Text(String),
}

/// One span. Stored as JSON; a field added later needs a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanRecord {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// The span that it is a part of; a root has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// The name: few different ones, without ids.
    pub name: String,
    /// The part that the work played.
    #[serde(default)]
    pub kind: SpanKind,
    /// When the work began.
    pub start: Micros,
    /// When it ended; never before `start`.
    pub end: Micros,
    /// The kind of error that it ended with; none when the row tells of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Name and value of each attribute, as the pack orders them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, AttributeValue)>,
}

/// What serde would derive takes each value for one of every kind in turn, and most of the time that it takes to read a span.
impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOf;
        impl Visitor<'_> for OneOf {
            type Value = AttributeValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a number or a text")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Integer(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<AttributeValue, E> {
                Ok(i64::try_from(number).map_or(AttributeValue::Number(number as f64), AttributeValue::Integer))
            }

            fn visit_f64<E>(self, number: f64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(OneOf)
    }
}

impl SpanRecord {
    /// What an exemplar points to.
    pub fn context(&self) -> SpanContext {
        SpanContext { trace: self.trace, span: self.span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_same_after_it_was_stored() {
        let record = SpanRecord {
            trace: TraceId([7; 16]),
            span: "00f067aa0ba902b7".parse().expect("an id"),
            parent: Some(SpanId([1; 8])),
            name: "chat \"x\"".into(),
            kind: SpanKind::Client,
            start: -5,
            end: 1_795_229_598_123_456,
            error: Some("timeout".into()),
            attributes: vec![
                ("a".into(), AttributeValue::Integer(9_007_199_254_740_993)),
                ("b".into(), AttributeValue::Number(0.1)),
                ("c".into(), AttributeValue::Number(2.0)),
                ("d".into(), AttributeValue::Flag(true)),
                ("e".into(), AttributeValue::Text("7".into())),
            ],
        };
        let text = serde_json::to_string(&record).expect("plain data");
        assert_eq!(serde_json::from_str::<SpanRecord>(&text).expect("what was written"), record, "{text}");
        assert!(text.starts_with(r#"{"trace":"07070707070707070707070707070707","span":"00f067aa0ba902b7""#), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn every_number_is_the_same_after_it_was_stored(number in proptest::num::f64::NORMAL) {
            let text = serde_json::to_string(&AttributeValue::Number(number)).expect("plain data");
            proptest::prop_assert_eq!(serde_json::from_str(&text).ok(), Some(AttributeValue::Number(number)), "{}", text);
        }
    }
}
