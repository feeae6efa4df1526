//! Numbers as the text formats spell them, without allocation.

use crate::family::Micros;

/// Above this, an integer is printed as a float: not every integer beyond is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value: integers as integers, `NaN`, `+Inf`, `-Inf`, else the shortest text that reads back the same.
pub(super) fn value(number: f64, out: &mut Vec<u8>) {
    if number.trunc() == number && number.abs() < EXACT {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        fraction(number, out);
    }
}

/// A count.
pub(super) fn count(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A whole number.
pub(super) fn whole(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A bucket's bound as OpenMetrics wants it: always with a point or an exponent.
pub(super) fn bound(number: f64, out: &mut Vec<u8>) {
    fraction(number, out);
}

/// Microseconds since 1970 as seconds.
pub(super) fn seconds(micros: Micros, out: &mut Vec<u8>) {
    if micros < 0 {
        return value(micros as f64 / 1e6, out);
    }
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1_000_000).as_bytes());
    let rest = micros % 1_000_000;
    if rest != 0 {
        let mut digits = *b".000000";
        let mut left = rest;
        for digit in digits[1..].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        let length = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(&digits[..length]);
    }
}

fn fraction(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else if number.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if number > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn numbers_are_spelled_as_prometheus_reads_them() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text(|out| value(number, out)), expected);
        }
        for number in [1e300, -2.5e-9, 9_007_199_254_740_993.0, f64::MIN_POSITIVE, 1.0 / 3.0] {
            assert_eq!(text(|out| value(number, out)).parse::<f64>(), Ok(number));
        }
        assert_eq!(text(|out| bound(1.0, out)), "1.0");
        assert_eq!(text(|out| bound(0.005, out)), "0.005");
        for (micros, expected) in [
            (0, "0"),
            (1_700_000_000_000_000, "1700000000"),
            (1_500_000, "1.5"),
            (1_000_001, "1.000001"),
            (-500_000, "-0.5"),
        ] {
            assert_eq!(text(|out| seconds(micros, out)), expected);
        }
    }
}
