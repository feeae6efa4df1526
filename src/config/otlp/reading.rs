//! OpenTelemetry's variables, read as its specification says ("Environment Variable Specification": empty is unset, `true` alone
//! is true, times are whole milliseconds, what is not understood is told and ignored), and what was found amiss on the way.
//!
//! No finding repeats what a variable or the file holds: a header or an endpoint gone astray could stand in any of them.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// For a time of 0, which the specification calls indefinite and lets be "a very long time": a request that never ends would
/// keep all others from being sent.
const INDEFINITE: Duration = Duration::from_secs(3600);

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Place {
    /// In the file: the keys that lead to it.
    Setting(Vec<String>),
    /// In this environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Setting(path) => f.write_str(&path.join(".")),
            Place::Variable(name) => f.write_str(name),
        }
    }
}

/// Reads variables and collects what is amiss.
pub(super) struct Reading<'v> {
    variable: &'v dyn Fn(&str) -> Option<String>,
    /// What nothing can be sent with.
    pub(super) errors: Vec<(Place, String)>,
    /// What was not understood and is ignored, or is probably not meant.
    pub(super) warnings: Vec<String>,
}

impl<'v> Reading<'v> {
    pub(super) fn new(variable: &'v dyn Fn(&str) -> Option<String>) -> Self {
        Reading { variable, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Tells an error, once.
    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        let error = (place, message.into());
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Tells a warning, once.
    pub(super) fn warning(&mut self, place: impl fmt::Display, message: impl fmt::Display) {
        let warning = format!("{place}: {message}");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A variable's text; an empty one is not set.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = (self.variable)(name)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A variable's text in lower case: one of a few words.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.to_ascii_lowercase())
    }

    /// A variable's words, divided by commas, in lower case.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let text = self.word(name).unwrap_or_default();
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    }

    /// Whether a variable is true.
    pub(super) fn is_true(&mut self, name: &str) -> bool {
        match self.word(name).as_deref() {
            Some("true") => true,
            None | Some("false") => false,
            Some(_) => {
                self.warning(name, "expected true or false; false applies");
                false
            }
        }
    }

    /// A variable's whole number; `default` is told where it is none.
    pub(super) fn whole(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
        what: &str,
        default: impl fmt::Display,
    ) -> Option<u64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            self.warning(name, format!("expected a whole number{what} from {low} to {high}; {default} applies"));
        }
        number
    }

    /// A variable's length of time; of 0 it is none.
    pub(super) fn interval(&mut self, name: &str, default: Duration) -> Option<Duration> {
        self.milliseconds(name, 1, default)
    }

    /// A variable's time that something may take; of 0 it is very long.
    pub(super) fn limit(&mut self, name: &str, default: Duration) -> Option<Duration> {
        let limit = self.milliseconds(name, 0, default)?;
        Some(if limit.is_zero() { INDEFINITE } else { limit })
    }

    /// The specification's own bound of whole numbers is 2³¹ − 1.
    fn milliseconds(&mut self, name: &str, least: u64, default: Duration) -> Option<Duration> {
        let range = least..=i32::MAX as u64;
        self.whole(name, range, " of milliseconds", crate::duration::format(default)).map(Duration::from_millis)
    }
}
