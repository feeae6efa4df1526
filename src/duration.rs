//! Lengths of time as people write them in YAML: `30s`, `5m`, `1h`, `7d`.
//!
//! One unit a value, whole or decimal. Nothing here reads a clock.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// What a length of time looks like, for schemas.
pub const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$";

/// Stands in schemas for text that [`parse`] reads.
#[derive(Debug)]
pub struct Text;

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN})
    }
}

/// Reads `30s`, `1.5h`, `250ms`, `7d`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => {
            return Err(format!(
                "`{text}` is not a length of time; write a number and one of ms, s, m, h, d, such as `30s`"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a length of time; write a number and a unit, such as `30s`"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("`{text}` is too long"))
}

/// Reads one in serde's words.
///
/// # Errors
/// As [`parse`].
pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// Writes the shortest of these forms that is exact to the millisecond.
pub fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms >= length && ms.is_multiple_of(length) {
            return format!("{}{unit}", ms / length);
        }
    }
    if ms >= 1000 { format!("{}s", ms as f64 / 1000.0) } else { format!("{ms}ms") }
}

/// For `#[serde(with = "crate::duration::option")]`.
pub mod option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    /// Reads an optional length of time.
    ///
    /// # Errors
    /// When the text is not a length of time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_people_write() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("1.5h", 5_400_000), ("7d", 604_800_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(format(Duration::from_secs(300)), "5m");
        assert_eq!(format(Duration::from_millis(1500)), "1.5s");
        for bad in ["", "5", "m", "5 minutes", "-3s", "1e400d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
