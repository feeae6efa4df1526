//! What alert rules are told by metrics: limits on Rowmetry itself, and where links lead.
//!
//! The rules are files of their own; nothing here knows them.

use std::time::Duration;

use crate::telemetry::metrics::AlertLimit;

/// Limits and links, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// Grafana's URL, without a slash at its end.
    pub dashboards: String,
    /// The URL of the folder of runbooks, without a slash at its end.
    pub runbooks: String,
    /// Intervals of its own that a collector's last success may lie back.
    pub stale_intervals: f64,
    /// How far the horizon may lag.
    pub horizon_lag: Duration,
    /// How far a collector may be behind.
    pub behind: Duration,
    /// Rows that may be counted while a drain is silent.
    pub drain_silent_rows: u64,
    /// The share of a budget, from 0 to 1, that may be spent.
    pub budget_ratio: f64,
    /// The share of the spans' queue, from 0 to 1, that may be full.
    pub queue_ratio: f64,
    /// How long an OTLP receiver may take nothing.
    pub otlp_age: Duration,
}

impl Default for AlertSettings {
    fn default() -> Self {
        AlertSettings {
            dashboards: "http://localhost:3000".into(),
            runbooks: "https://github.com/rowmetry/rowmetry/blob/main/docs/apps".into(),
            stale_intervals: 5.0,
            horizon_lag: Duration::from_secs(900),
            behind: Duration::from_secs(900),
            drain_silent_rows: 100,
            budget_ratio: 0.9,
            queue_ratio: 0.8,
            otlp_age: Duration::from_secs(600),
        }
    }
}

impl AlertSettings {
    /// What a limit's gauge shows: seconds, rows, or a share.
    pub fn limit(&self, limit: AlertLimit) -> f64 {
        match limit {
            AlertLimit::StaleIntervals => self.stale_intervals,
            AlertLimit::HorizonLag => self.horizon_lag.as_secs_f64(),
            AlertLimit::Behind => self.behind.as_secs_f64(),
            // Far below the 2^53 from which a double would round it.
            AlertLimit::DrainSilentRows => self.drain_silent_rows as f64,
            AlertLimit::BudgetRatio => self.budget_ratio,
            AlertLimit::QueueRatio => self.queue_ratio,
            AlertLimit::OtlpAge => self.otlp_age.as_secs_f64(),
        }
    }
}
