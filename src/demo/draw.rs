//! Lots: the random values of the demo, all from one seed.
//!
//! Nothing here knows what a value is for, and nothing but the seed decides it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::family::Micros;

/// A value that a statement is given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
    Time(Micros),
}

/// How a value is drawn, as the script writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Draw {
    /// One of a list of texts, by weight; the name of the list.
    Pick(String),
    /// A whole number between two, both included.
    Whole(i64, i64),
    /// A number between two.
    Real(f64, f64),
    /// A whole number around the first, its logarithm spread by the second: most are near, few are far.
    Around(f64, f64),
    /// True with this probability, else false.
    Chance(f64),
    /// A time so many seconds before the event, between two, the near ones more often.
    Ago(f64, f64),
    /// A new key as Prisma makes them: `c` and 24 letters and digits.
    Cuid,
    /// A new random UUID.
    Uuid,
}

/// Texts and their weights.
pub(super) type Lists = BTreeMap<String, BTreeMap<String, f64>>;

/// The source of all lots.
pub(super) struct Lots(fastrand::Rng);

impl Lots {
    pub(super) fn new(seed: u64) -> Self {
        Lots(fastrand::Rng::with_seed(seed))
    }

    /// A number in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    pub(super) fn draw(&mut self, draw: &Draw, lists: &Lists, at: Micros) -> Value {
        match *draw {
            Draw::Pick(ref list) => Value::Text(self.pick(lists.get(list))),
            Draw::Whole(low, high) => Value::Whole(self.0.i64(low..=high)),
            Draw::Real(low, high) => Value::Real(low + (high - low) * self.unit()),
            Draw::Around(median, spread) => Value::Whole((median * (spread * self.normal()).exp()).round() as i64),
            Draw::Chance(probability) => Value::Flag(self.unit() < probability),
            Draw::Ago(near, far) => {
                let near = near.max(0.001);
                let seconds = near * (far / near).powf(self.unit());
                Value::Time(at - (seconds * 1e6) as Micros)
            }
            Draw::Cuid => {
                let rest: String = (0..24).map(|_| self.0.digit(36)).collect();
                Value::Text(format!("c{rest}"))
            }
            Draw::Uuid => Value::Text(self.uuid()),
        }
    }

    fn pick(&mut self, list: Option<&BTreeMap<String, f64>>) -> String {
        let Some(list) = list else { return String::new() };
        let mut left = self.unit() * list.values().sum::<f64>();
        for (text, weight) in list {
            left -= weight;
            if left < 0.0 {
                return text.clone();
            }
        }
        list.keys().next_back().cloned().unwrap_or_default()
    }

    /// A normally distributed number (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn uuid(&mut self) -> String {
        let bits = self.0.u128(..);
        let hex = format!("{:032x}", bits & !(0xf << 76) | (0x4 << 76));
        let variant = ["8", "9", "a", "b"][self.0.usize(..4)];
        format!("{}-{}-{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[17..20], &hex[20..])
    }
}

/// `2026-01-31 12:00:00.123`, UTC: text that sorts as time does.
pub(super) fn time_text(at: Micros) -> String {
    match jiff::Timestamp::from_microsecond(at) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_to_their_bounds() {
        let mut lots = Lots::new(7);
        let lists = Lists::from([("side".into(), BTreeMap::from([("a".into(), 1.0), ("b".into(), 0.0)]))]);
        for _ in 0..1000 {
            assert_eq!(lots.draw(&Draw::Pick("side".into()), &lists, 0), Value::Text("a".into()));
            let Value::Whole(whole) = lots.draw(&Draw::Whole(-2, 2), &lists, 0) else { panic!("whole") };
            assert!((-2..=2).contains(&whole));
            let Value::Time(ago) = lots.draw(&Draw::Ago(1.0, 60.0), &lists, 100_000_000) else { panic!("time") };
            assert!((40_000_000..=99_000_000).contains(&ago), "{ago}");
        }
    }

    #[test]
    fn keys_have_the_form_of_the_applications() {
        let mut lots = Lots::new(1);
        let form =
            regex::Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$").expect("valid");
        for _ in 0..100 {
            let Value::Text(uuid) = lots.draw(&Draw::Uuid, &Lists::new(), 0) else { panic!("text") };
            assert!(form.is_match(&uuid), "{uuid}");
        }
        let Value::Text(cuid) = lots.draw(&Draw::Cuid, &Lists::new(), 0) else { panic!("text") };
        assert_eq!(cuid.len(), 25);
    }

    #[test]
    fn times_are_iso_text_with_milliseconds() {
        assert_eq!(time_text(1_800_000_000_120_999), "2027-01-15 08:00:00.120");
    }
}
