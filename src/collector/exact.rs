//! Sums that are exact: whole numbers and decimal fractions added without any rounding, in any order.
//!
//! A sum is a whole part of 128 bits and a fraction of [`FRACTION_DIGITS`] decimal digits. Floating point never
//! enters a sum, and nor does a decimal type of limited precision, whose addition rounds without a word when large
//! and small values meet. Conversion to `f64` happens once, at the end, and is correctly rounded.

use std::fmt;

use crate::telemetry::Ignored;

/// Decimal digits kept after the point. A value with more of them is rounded (half away from zero) when it is read;
/// that is far below what any database's number shows.
pub const FRACTION_DIGITS: usize = 36;

/// Digits before the point that one value may have; the sum has room for a hundred of the largest.
pub const WHOLE_DIGITS: usize = 36;

/// So many decimal digits fit a machine word whatever they are.
const SHORT_DIGITS: usize = 18;

const ONE: u128 = 10u128.pow(FRACTION_DIGITS as u32);

/// An exact decimal number: `whole + fraction / 10^36`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact {
    whole: i128,
    fraction: u128,
}

impl Exact {
    /// Nought.
    pub const ZERO: Exact = Exact { whole: 0, fraction: 0 };

    /// Reads a decimal number, with or without a point and an exponent.
    ///
    /// # Errors
    /// [`Ignored::NotANumber`], [`Ignored::NotFinite`] for NaN and the infinities, [`Ignored::OutOfRange`] beyond
    /// [`WHOLE_DIGITS`].
    pub fn parse(text: &str) -> Result<Self, Ignored> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if !digits.is_empty() && digits.len() <= WHOLE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) {
            let whole = digits.bytes().fold(0i128, |sum, b| sum * 10 + i128::from(b - b'0'));
            return Ok(Exact { whole: if negative { -whole } else { whole }, fraction: 0 });
        }
        let magnitude = parse_magnitude(digits)?;
        Ok(if negative { magnitude.negated() } else { magnitude })
    }

    /// The sum; none when it has outgrown its room.
    pub fn checked_add(self, other: Exact) -> Option<Exact> {
        let fraction = self.fraction + other.fraction;
        let carry = fraction >= ONE;
        let whole = self.whole.checked_add(other.whole)?.checked_add(i128::from(carry))?;
        Some(Exact { whole, fraction: if carry { fraction - ONE } else { fraction } })
    }

    /// Whether it is below nought.
    pub fn is_negative(self) -> bool {
        self.whole < 0
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        if self.fraction == 0 && self.whole.unsigned_abs() < (1 << 53) {
            return self.whole as f64;
        }
        self.to_string().parse().expect("a decimal number is always a number")
    }

    fn negated(self) -> Exact {
        match self.fraction {
            0 => Exact { whole: -self.whole, fraction: 0 },
            fraction => Exact { whole: -self.whole - 1, fraction: ONE - fraction },
        }
    }
}

/// Plain decimal text without exponent, shortest: `0.25`, `-3`, `1200`.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.is_negative() {
            f.write_str("-")?;
            self.negated()
        } else {
            *self
        };
        write!(f, "{}", shown.whole)?;
        if shown.fraction == 0 {
            return Ok(());
        }
        let digits = format!("{:0width$}", shown.fraction, width = FRACTION_DIGITS);
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

fn parse_magnitude(text: &str) -> Result<Exact, Ignored> {
    if ["nan", "inf", "infinity"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Err(Ignored::NotFinite);
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if before.len() + after.len() == 0 || !before.bytes().chain(after.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(Ignored::NotANumber);
    }
    if exponent == 0 && before.len() <= SHORT_DIGITS && after.len() <= SHORT_DIGITS {
        // Nearly every number there is: two machine words and one multiplication.
        let word = |digits: &str| digits.bytes().fold(0u64, |sum, b| sum * 10 + u64::from(b - b'0'));
        let scale = 10u128.pow((FRACTION_DIGITS - after.len()) as u32);
        return Ok(Exact { whole: i128::from(word(before)), fraction: u128::from(word(after)) * scale });
    }
    // The point stands before digit number `point`, counted from the first digit of the mantissa.
    let point = before.len() as i64 + exponent;
    let mut number = Exact::ZERO;
    for (index, digit) in before.bytes().chain(after.bytes()).enumerate() {
        let digit = u128::from(digit - b'0');
        if digit == 0 {
            continue;
        }
        let place = point - 1 - index as i64;
        if place >= WHOLE_DIGITS as i64 {
            return Err(Ignored::OutOfRange);
        }
        if place >= 0 {
            number.whole += (digit * 10u128.pow(place as u32)) as i128;
        } else if -place <= FRACTION_DIGITS as i64 {
            number.fraction += digit * 10u128.pow((FRACTION_DIGITS as i64 + place) as u32);
        } else {
            if -place == FRACTION_DIGITS as i64 + 1 && digit >= 5 {
                let unit = Exact { whole: 0, fraction: 1 };
                number = number.checked_add(unit).ok_or(Ignored::OutOfRange)?;
            }
            break;
        }
    }
    Ok(number)
}

/// An exponent; one beyond any number's reach is as good as the bound, so that it cannot overflow.
fn parse_exponent(text: &str) -> Result<i64, Ignored> {
    const REACH: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Ignored::NotANumber);
    }
    let size = digits.bytes().fold(0i64, |sum, b| (sum * 10 + i64::from(b - b'0')).min(REACH));
    Ok(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str) -> String {
        Exact::parse(input).map_or_else(|reason| reason.to_string(), |number| number.to_string())
    }

    #[test]
    fn reads_what_databases_print() {
        for (input, output) in [
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            (" 12 ", "12"),
            ("+5", "5"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0.25", "-0.25"),
            ("-1.75e1", "-17.5"),
            ("1e+20", "100000000000000000000"),
            ("3.0517578125e-05", "0.000030517578125"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("0e999999999999999999999", "0"),
            ("1e-400", "0"),
            ("999999999999999999999999999999999999", "999999999999999999999999999999999999"),
            ("0.0000000000000000000000000000000000005", "0.000000000000000000000000000000000001"),
            ("1e36", "out_of_range"),
            ("1e999999999999999999999", "out_of_range"),
            ("NaN", "not_finite"),
            ("Infinity", "not_finite"),
            ("-Infinity", "not_finite"),
            ("-inf", "not_finite"),
            ("", "not_a_number"),
            (".", "not_a_number"),
            ("-", "not_a_number"),
            ("--1", "not_a_number"),
            ("1e", "not_a_number"),
            ("1_000", "not_a_number"),
            ("0x10", "not_a_number"),
            ("twelve", "not_a_number"),
            ("é", "not_a_number"),
        ] {
            assert_eq!(text(input), output, "{input}");
        }
    }

    #[test]
    fn refuses_a_sum_that_outgrows_its_room() {
        let mut sum = Exact::ZERO;
        let large = Exact::parse(&"9".repeat(WHOLE_DIGITS)).expect("it has just the digits allowed");
        for _ in 0..100 {
            sum = sum.checked_add(large).expect("a hundred of the largest fit");
        }
        let mut added = 0;
        while let Some(next) = sum.checked_add(large) {
            sum = next;
            added += 1;
        }
        assert_eq!(added, 70, "i128 holds 170 times the largest value");
    }

    proptest::proptest! {
        #[test]
        fn floats_survive(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            if value.abs() < 1e35 && (value == 0.0 || value.abs() > 1e-15) {
                proptest::prop_assert_eq!(Exact::parse(&format!("{value}")).map(Exact::to_f64), Ok(value));
                proptest::prop_assert_eq!(Exact::parse(&format!("{value:e}")).map(Exact::to_f64), Ok(value));
            }
        }

        #[test]
        fn sums_are_those_of_whole_numbers(
            parts in proptest::collection::vec((-1_000_000_000_000i64..1_000_000_000_000, 0u32..12), 0..40),
        ) {
            // The same numbers in units of 10^-12, where whole numbers are exact.
            let expected: i128 = parts.iter().map(|(n, scale)| i128::from(*n) * 10i128.pow(12 - scale)).sum();
            let sum = parts.iter().fold(Exact::ZERO, |sum, (n, scale)| {
                let value = Exact::parse(&format!("{n}e-{scale}")).expect("a number");
                sum.checked_add(value).expect("it is small")
            });
            let back = Exact::parse(&format!("{expected}e-12")).expect("a number");
            proptest::prop_assert_eq!(sum, back);
            proptest::prop_assert_eq!(Exact::parse(&sum.to_string()), Ok(sum));
        }
    }
}
