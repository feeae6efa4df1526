//! Families of self metrics that know when they last changed.
//!
//! There is a series for each collector and reason, so thousands with many sources, and few of them change between two
//! scrapes. Who prints them may keep what was printed. Nothing here prints, or knows what is counted.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Registry};

/// One family as it is now.
#[derive(Clone)]
pub struct WatchedFamily {
    registry: Registry,
    changes: Arc<AtomicU64>,
}

impl WatchedFamily {
    /// Goes up with each change. Ask before [`WatchedFamily::gather`]: what changes meanwhile is then told again.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The family, its series in order; none while it has no series.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// Every watched family, in the order in which they were made.
#[derive(Default)]
pub(super) struct Watcher(Mutex<Vec<WatchedFamily>>);

impl Watcher {
    pub(super) fn families(&self) -> Vec<WatchedFamily> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn int_counters(&self, name: &str, help: &str, labels: &[&str]) -> Watched<IntCounterVec> {
        self.watch(|registry| super::int_counters(registry, name, help, labels))
    }

    pub(super) fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Watched<IntGaugeVec> {
        self.watch(|registry| super::int_gauges(registry, name, help, labels))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Watched<CounterVec> {
        self.watch(|registry| super::counters(registry, name, help, labels))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Watched<GaugeVec> {
        self.watch(|registry| super::gauges(registry, name, help, labels))
    }

    fn watch<V: Collector>(&self, make: impl FnOnce(&Registry) -> V) -> Watched<V> {
        let registry = Registry::new();
        let vec = make(&registry);
        let changes = Arc::new(AtomicU64::new(0));
        let family = WatchedFamily { registry, changes: changes.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(family);
        Watched { vec, changes }
    }
}

/// Series of one family, behind a count of their changes.
pub(super) struct Watched<V> {
    vec: V,
    changes: Arc<AtomicU64>,
}

impl<V> Watched<V> {
    /// To change series. The change is told when the returned value goes, so that nobody is told before it is there.
    pub(super) fn change(&self) -> Change<'_, V> {
        Change(self)
    }

    /// To look at series that are surely there.
    pub(super) fn look(&self) -> &V {
        &self.vec
    }
}

/// A change that is being made.
pub(super) struct Change<'w, V>(&'w Watched<V>);

impl<V> Deref for Change<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0.vec
    }
}

impl<V> Drop for Change<'_, V> {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_of_its_own_family_once_it_is_there() {
        let watcher = Watcher::default();
        let one = watcher.int_counters("one_total", "One.", &["a"]);
        let two = watcher.int_gauges("two", "Two.", &["a"]);
        let families = watcher.families();
        let told = || [families[0].changes(), families[1].changes()];
        assert_eq!(told(), [0, 0]);
        {
            let change = one.change();
            change.with_label_values(&["x"]).inc();
            assert_eq!(told(), [0, 0], "not before it is done");
        }
        assert_eq!(told(), [1, 0]);
        assert_eq!(families[0].gather()[0].get_metric()[0].get_counter().get_value(), 1.0);
        assert!(families[1].gather().is_empty());
        two.change().with_label_values(&["x"]).set(3);
        assert_eq!(two.look().with_label_values(&["x"]).get(), 3);
        assert_eq!(told(), [1, 1]);
    }
}
