//! What alert rules are told: the limits that they compare Rowmetry's own metrics with, and where their links lead.
//!
//! The operator sets them in the configuration, so that nobody edits a rule. Nothing here compares anything.

use prometheus::{Gauge, IntGaugeVec, Registry};

use super::{add, int_gauges};

/// A limit of an alert on Rowmetry itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertLimit {
    /// Intervals that the last success of a collector may lie back.
    StaleIntervals,
    /// Seconds that the horizon may lag.
    HorizonLag,
    /// Seconds that a collector may be behind.
    Behind,
    /// Rows that may be counted while a drain is silent.
    DrainSilentRows,
    /// The share of a budget that may be spent.
    BudgetRatio,
    /// The share of the spans' queue that may be full.
    QueueRatio,
    /// Seconds since an OTLP receiver last took something.
    OtlpAge,
}

impl AlertLimit {
    /// Each of them, in the order of the setting.
    pub const ALL: [AlertLimit; 7] = [
        AlertLimit::StaleIntervals,
        AlertLimit::HorizonLag,
        AlertLimit::Behind,
        AlertLimit::DrainSilentRows,
        AlertLimit::BudgetRatio,
        AlertLimit::QueueRatio,
        AlertLimit::OtlpAge,
    ];

    /// The gauge that shows it.
    pub const fn gauge(self) -> &'static str {
        match self {
            AlertLimit::StaleIntervals => "rowmetry_stale_limit_intervals",
            AlertLimit::HorizonLag => "rowmetry_horizon_lag_limit_seconds",
            AlertLimit::Behind => "rowmetry_behind_limit_seconds",
            AlertLimit::DrainSilentRows => "rowmetry_drain_silent_limit_rows",
            AlertLimit::BudgetRatio => "rowmetry_budget_limit_ratio",
            AlertLimit::QueueRatio => "rowmetry_queue_limit_ratio",
            AlertLimit::OtlpAge => "rowmetry_otlp_age_limit_seconds",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            AlertLimit::StaleIntervals => {
                "Intervals of its own that a collector's last success may lie back before the alert on stale collectors."
            }
            AlertLimit::HorizonLag => "How far rowmetry_collector_horizon_lag_seconds may go before the alert on it.",
            AlertLimit::Behind => "How far rowmetry_collector_behind_seconds may go before the alert on it.",
            AlertLimit::DrainSilentRows => {
                "Rows of its database that may be counted while a drain brings no line, before the alert on silent drains."
            }
            AlertLimit::BudgetRatio => {
                "The share of a source's budget that may be spent before the alert that it is nearly spent."
            }
            AlertLimit::QueueRatio => "How full the queue of spans may be before the alert on it.",
            AlertLimit::OtlpAge => {
                "How long an OTLP receiver may have taken nothing of what waits for it, before the alert on it."
            }
        }
    }
}

/// The gauges.
pub(super) struct AlertingGauges {
    limits: [Gauge; AlertLimit::ALL.len()],
    links: IntGaugeVec,
}

impl AlertingGauges {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |limit: AlertLimit| Gauge::new(limit.gauge(), limit.help()).expect("the name is valid");
        AlertingGauges {
            limits: AlertLimit::ALL.map(|limit| add(registry, gauge(limit))),
            links: int_gauges(
                registry,
                "rowmetry_links_info",
                "Constant 1; the labels say where the links of alerts lead: to Grafana, and to the runbooks.",
                &["dashboards", "runbooks"],
            ),
        }
    }

    /// Shows what is configured, in place of what was.
    pub(super) fn configured(&self, dashboards: &str, runbooks: &str, limit: impl Fn(AlertLimit) -> f64) {
        for (gauge, of) in self.limits.iter().zip(AlertLimit::ALL) {
            gauge.set(limit(of));
        }
        self.links.reset();
        self.links.with_label_values(&[dashboards, runbooks]).set(1);
    }
}
