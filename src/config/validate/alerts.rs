//! What alert rules are told: `alerts`.
//!
//! A link is looked at as text; nothing here asks whether anything answers there.

use super::Check;
use crate::config::AlertSettings;
use crate::config::raw::RawAlerts;

impl Check<'_> {
    pub(super) fn alerts(&mut self, raw: &RawAlerts) -> AlertSettings {
        let usual = AlertSettings::default();
        AlertSettings {
            dashboards: self.opened_at("dashboards", raw.dashboards.as_deref(), usual.dashboards),
            runbooks: self.opened_at("runbooks", raw.runbooks.as_deref(), usual.runbooks),
            stale_intervals: self.least("stale_intervals", raw.stale_intervals, usual.stale_intervals),
            horizon_lag: self.duration(
                &["alerts", "horizon_lag"],
                raw.horizon_lag.as_deref(),
                usual.horizon_lag,
                false,
            ),
            behind: self.duration(&["alerts", "behind"], raw.behind.as_deref(), usual.behind, false),
            drain_silent_rows: raw.drain_silent_rows.unwrap_or(usual.drain_silent_rows),
            budget_ratio: self.ratio("budget_ratio", raw.budget_ratio, usual.budget_ratio),
            queue_ratio: self.ratio("queue_ratio", raw.queue_ratio, usual.queue_ratio),
            otlp_age: self.duration(&["alerts", "otlp_age"], raw.otlp_age.as_deref(), usual.otlp_age, false),
        }
    }

    /// A URL that a path can be put behind.
    fn opened_at(&mut self, key: &str, text: Option<&str>, usual: String) -> String {
        let Some(text) = text.map(|text| text.trim().trim_end_matches('/')) else { return usual };
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_link = rest.is_some_and(|rest| {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            !host.is_empty() && !host.contains('@') && !rest.chars().any(|of| of.is_whitespace() || of.is_control())
        });
        if !is_link {
            self.complain(
                &["alerts", key],
                "expected a URL that people can open, such as `https://grafana.example`, without a user or password",
            );
        }
        text.to_owned()
    }

    /// One interval is how old what was read may be anyway.
    fn least(&mut self, key: &str, given: Option<f64>, usual: f64) -> f64 {
        let value = given.unwrap_or(usual);
        if !(value >= 2.0 && value.is_finite()) {
            self.complain(&["alerts", key], "expected a number of intervals, at least 2");
        }
        value
    }

    fn ratio(&mut self, key: &str, given: Option<f64>, usual: f64) -> f64 {
        let value = given.unwrap_or(usual);
        if !(value > 0.0 && value <= 1.0) {
            self.complain(&["alerts", key], "expected a share above 0 and at most 1, such as 0.9");
        }
        value
    }
}
