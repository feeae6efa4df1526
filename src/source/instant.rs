//! Moments as databases print them, read as microseconds since 1970.
//!
//! A moment without a zone is UTC. Nothing here knows a column or a clock.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::family::Micros;

/// Reads `2026-11-21 02:53:18.123+00`, the same with `T`, `Z` or without a zone, and a date alone (its midnight).
/// None when the text is something else; a plain number is something else.
pub fn parse_time(text: &str) -> Option<Micros> {
    let text = text.trim();
    if !text.contains('-') {
        return None;
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Some(stamp.as_microsecond());
    }
    let stamp = text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Zoned::timestamp(&stamp).as_microsecond())
}

/// Writes `2026-11-21 02:53:18.123`, UTC: the form that SQLite's own functions print.
pub fn format_time(micros: Micros) -> String {
    let stamp = Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX });
    stamp.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

/// Writes `2026-11-21T02:53:18.123456Z`, which [`parse_time`] reads back to the microsecond. None far outside of any calendar.
pub fn format_exact(micros: Micros) -> Option<String> {
    Timestamp::from_microsecond(micros).ok().map(|stamp| format!("{stamp:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_that_databases_print() {
        const MOMENT: Micros = 1_795_229_598_123_000;
        for text in [
            "2026-11-21 02:53:18.123+00",
            "2026-11-21 02:53:18.123",
            "2026-11-21T02:53:18.123Z",
            "2026-11-21T02:53:18.123",
            "2026-11-21 04:53:18.123+02",
            "2026-11-21 04:53:18.123+02:00",
            "2026-11-20T21:23:18.123-0530",
            " 2026-11-21 02:53:18.123000 ",
        ] {
            assert_eq!(parse_time(text), Some(MOMENT), "{text}");
        }
        assert_eq!(parse_time("2026-11-21"), Some(1_795_219_200_000_000));
        assert_eq!(parse_time("2026-11-21 02:53"), Some(1_795_229_580_000_000));
        assert_eq!(parse_time("1969-12-31 23:59:59.999999"), Some(-1));
        for text in ["", "infinity", "1795229598", "20261121", "2026-13-01", "-5", "soon", "02:53", "2026-11-21 25:00"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(format_time(MOMENT), "2026-11-21 02:53:18.123");
        assert_eq!(format_exact(MOMENT + 4).as_deref(), Some("2026-11-21T02:53:18.123004Z"));
        for micros in [0, -1, MOMENT, 253_402_207_200_000_000, -377_705_023_201_000_000] {
            assert_eq!(format_exact(micros).as_deref().and_then(parse_time), Some(micros));
        }
        assert_eq!(format_exact(Micros::MAX), None);
    }
}
