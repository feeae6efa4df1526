//! What may be asked of a source, and how a quiet one is read: `budget` and `idle`.
//!
//! What one source says itself must hold for it; what the defaults say does not concern those that it cannot hold for.

use std::time::Duration;

use super::{Check, extended, strs};
use crate::config::raw::RawReading;
use crate::config::{Budget, Idle, SourceSettings};

/// Statements a day, for a database: with fewer its tables are not even looked at once an hour.
const LEAST_PER_DAY: u64 = 100;

impl Check<'_> {
    /// What cannot hold for this kind of source. What the defaults say does not concern sources that it cannot hold for.
    pub(super) fn terms(&mut self, settings: &SourceSettings, own: &RawReading, budget: &[String], idle: &[String]) {
        let is_database = settings.upstream.database().is_some();
        if own.idle.is_some() && !is_database {
            self.complain(
                &strs(idle),
                "only new rows tell whether an application is quiet; give `idle` to its database, and this source an `interval`",
            );
        }
        let Budget { per_day, awake_per_day, .. } = settings.budget;
        let awake = extended(budget, "awake_per_day");
        if own.budget.is_some() && awake_per_day.is_some() && !is_database {
            self.complain(
                &strs(&awake),
                "only a database is awake or suspended; here `per_day` and `interval` limit the cost",
            );
        }
        let suspends_after = settings.idle.unwrap_or_default().suspends_after;
        if is_database && awake_per_day.is_some_and(|awake| awake < suspends_after * 2) {
            let shown = crate::duration::format(suspends_after);
            self.complain(
                &strs(&awake),
                format!("each read keeps the database awake for {shown} (`idle.suspends_after`); allow at least twice that a day"),
            );
        }
        if is_database && per_day.is_some_and(|limit| limit < LEAST_PER_DAY) {
            self.complain(
                &strs(&extended(budget, "per_day")),
                format!("a read takes four statements and a connection five more; allow at least {LEAST_PER_DAY}"),
            );
        }
    }

    pub(super) fn budget(&mut self, own: &RawReading, defaults: &RawReading, path: &[String]) -> Budget {
        let mut budget = Budget::default();
        let Some(raw) = own.budget.as_ref().or(defaults.budget.as_ref()) else { return budget };
        budget.per_day = raw.per_day;
        budget.per_second = raw.per_second.unwrap_or(budget.per_second);
        let awake = raw.awake_per_day.as_deref();
        budget.awake_per_day = awake.map(|text| {
            let path = extended(path, "awake_per_day");
            self.duration(&strs(&path), Some(text), Duration::from_secs(3600), false)
        });
        budget
    }

    pub(super) fn idle(&mut self, own: &RawReading, defaults: &RawReading, path: &[String]) -> Option<Idle> {
        let raw = own.idle.as_ref().or(defaults.idle.as_ref())?;
        let mut idle = Idle::default();
        for (key, text, field) in [
            ("after", &raw.after, &mut idle.after),
            ("interval", &raw.interval, &mut idle.interval),
            ("suspends_after", &raw.suspends_after, &mut idle.suspends_after),
        ] {
            let path = extended(path, key);
            *field = self.duration(&strs(&path), text.as_deref(), *field, false);
        }
        if idle.interval <= idle.suspends_after {
            let path = extended(path, "interval");
            self.complain(
                &strs(&path),
                "while quiet, reads must lie further apart than `suspends_after`, else the database never suspends",
            );
        }
        Some(idle)
    }
}
