//! The last published families of every collector, and how each collector fares.
//!
//! Publishing replaces a collector's families as a whole. Nothing here reads a source or counts a row.

pub mod board;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use board::{Board, CollectorId, CollectorStatus, SourceStatus};
pub use merge::source_label;

use crate::family::Family;
use crate::telemetry::Metrics;

/// The families of all collectors, merged by name. Shared in an [`Arc`].
pub struct Store {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
    metrics: Arc<Metrics>,
}

/// Everything that is published at one moment.
#[derive(Debug, Clone)]
pub struct Published {
    /// Goes up with each change.
    pub generation: u64,
    /// One block a name, ordered by name.
    pub families: Vec<Arc<Family>>,
}

#[derive(Default)]
struct Inner {
    generation: u64,
    /// Collectors that run, whether or not they have anything to show just now.
    running: BTreeSet<CollectorId>,
    /// Sources whose series always bear a `source` label.
    labelled: BTreeSet<Arc<str>>,
    /// Packs whose series always do.
    labelled_packs: BTreeSet<Arc<str>>,
    collectors: BTreeMap<CollectorId, Contribution>,
    /// What is printed for a name, for every name that a collector publishes and that is not refused.
    merged: BTreeMap<Arc<str>, Arc<Family>>,
}

/// What one collector published, and how it is printed.
struct Contribution {
    families: Arc<Vec<Arc<Family>>>,
    /// The same with a `source` label; made while the collector runs for several sources.
    labelled: Option<Arc<Vec<Arc<Family>>>>,
}

impl Contribution {
    fn printed(&self) -> &[Arc<Family>] {
        self.labelled.as_ref().unwrap_or(&self.families)
    }
}

impl Store {
    /// An empty store; conflicts between collectors are counted in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Store { inner: Mutex::default(), changes: watch::Sender::new(0), metrics }
    }

    /// A collector runs. Whether its series bear a `source` label depends on how many run, not on how many show something
    /// just now: else a database that is down would rename the series of another.
    pub fn expect(&self, id: &CollectorId) {
        let mut inner = self.lock();
        if inner.running.insert(id.clone()) {
            self.settle(inner, id, BTreeSet::new());
        }
    }

    /// The series of a source bear a `source` label from now on, even where no other source runs its collectors here.
    pub fn label(&self, source: &Arc<str>) {
        self.lock().labelled.insert(source.clone());
    }

    /// The series of a pack bear a `source` label from now on, even where one source alone runs it.
    pub fn label_pack(&self, pack: &str) {
        self.lock().labelled_packs.insert(pack.into());
    }

    /// A source is read no more: what its collectors published goes.
    pub fn withdraw_source(&self, source: &str) {
        self.lock().labelled.remove(source);
        self.withdraw_all(|id| &*id.source == source);
    }

    /// A source runs a pack no more: what its collectors published goes.
    pub fn withdraw_pack(&self, source: &str, pack: &str) {
        self.withdraw_all(|id| &*id.source == source && &*id.pack == pack);
    }

    fn withdraw_all(&self, which: impl Fn(&CollectorId) -> bool) {
        let mut inner = self.lock();
        let of = |id: &&CollectorId| which(id);
        let gone: BTreeSet<CollectorId> =
            inner.running.iter().chain(inner.collectors.keys()).filter(of).cloned().collect();
        inner.running.retain(|id| !gone.contains(id));
        drop(inner);
        gone.iter().for_each(|id| self.withdraw(id));
    }

    /// Replaces what a collector publishes. When this returns, every later scrape sees it.
    pub fn publish(&self, id: &CollectorId, families: Vec<Family>) {
        let families: Vec<Arc<Family>> = families.into_iter().map(Arc::new).collect();
        let mut inner = self.lock();
        let mut touched: BTreeSet<Arc<str>> = families.iter().map(|family| family.name.clone()).collect();
        if let Some(last) = inner.collectors.get(id) {
            if *last.families == families {
                return;
            }
            touched.extend(names(&last.families));
        }
        inner.collectors.insert(id.clone(), Contribution { families: Arc::new(families), labelled: None });
        self.settle(inner, id, touched);
    }

    /// Takes away what a collector published: absent is not zero.
    pub fn withdraw(&self, id: &CollectorId) {
        let mut inner = self.lock();
        let last = inner.collectors.remove(id);
        let touched = last.iter().flat_map(|last| names(&last.families)).collect();
        self.settle(inner, id, touched);
    }

    /// Goes up with each change.
    pub fn generation(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Tells of each new generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Everything that is published now.
    pub fn published(&self) -> Published {
        let inner = self.lock();
        Published { generation: inner.generation, families: inner.merged.values().cloned().collect() }
    }

    /// How many series a collector publishes; none when it publishes nothing.
    pub fn series(&self, id: &CollectorId) -> Option<usize> {
        let inner = self.lock();
        inner.collectors.get(id).map(|c| c.families.iter().map(|family| family.series.len()).sum())
    }

    /// Adds or drops `source` labels as one more or one less source runs this collector, and merges what changed.
    fn settle(&self, mut inner: MutexGuard<'_, Inner>, id: &CollectorId, mut touched: BTreeSet<Arc<str>>) {
        let inner = &mut *inner;
        let same = |other: &CollectorId| other.pack == id.pack && other.collector == id.collector;
        let several = inner.running.iter().chain(inner.collectors.keys()).filter(|other| same(other));
        let several = several.collect::<BTreeSet<_>>().len() > 1;
        for (other, contribution) in inner.collectors.iter_mut().filter(|(other, _)| same(other)) {
            let is_labelled =
                several || inner.labelled.contains(&other.source) || inner.labelled_packs.contains(&other.pack);
            if is_labelled != contribution.labelled.is_some() {
                touched.extend(names(&contribution.families));
                contribution.labelled = is_labelled.then(|| Arc::new(merge::with_source(contribution, &other.source)));
            }
        }
        let (mut series_conflicts, mut family_conflicts) = (0, 0);
        for name in touched {
            let parts: Vec<&Arc<Family>> = inner
                .collectors
                .values()
                .flat_map(|contribution| contribution.printed().iter().filter(|family| family.name == name))
                .collect();
            let merged = merge::families(&parts);
            series_conflicts += merged.series_left_out;
            family_conflicts += merged.families_left_out;
            match merged.family {
                Some(family) => inner.merged.insert(name, family),
                None => inner.merged.remove(&name),
            };
        }
        self.metrics.series_conflicted(series_conflicts);
        self.metrics.families_conflicted(family_conflicts);
        inner.generation += 1;
        self.changes.send_replace(inner.generation);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(families: &[Arc<Family>]) -> impl Iterator<Item = Arc<str>> {
    families.iter().map(|family| family.name.clone())
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store(generation {})", self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Kind, Labels, Series, Value};

    fn family(name: &str, kind: Kind, series: &[(&str, f64)]) -> Family {
        let label: Arc<str> = "a".into();
        let series = series
            .iter()
            .map(|(v, n)| Series {
                labels: Labels::new([(label.clone(), *v)]),
                value: Value::Number(*n),
                start: None,
                exemplar: None,
            })
            .collect();
        Family { name: name.into(), help: format!("Help of {name}.").into(), kind, series }
    }

    fn printed(store: &Store) -> Vec<String> {
        let published = store.published();
        assert_eq!(published.generation, store.generation());
        let line = |family: &Family, series: &Series| format!("{}{:?} {:?}", family.name, series.labels, series.value);
        published.families.iter().flat_map(|f| f.series.iter().map(|s| line(f, s))).collect()
    }

    fn conflicts(metrics: &Metrics, name: &str) -> f64 {
        let families = metrics.gather();
        families.iter().find(|f| f.name() == name).expect("is registered").get_metric()[0].get_counter().get_value()
    }

    #[test]
    fn publishing_replaces_and_withdrawing_takes_away() {
        let store = Store::new(Arc::new(Metrics::new("1")));
        let id = CollectorId::new("s", "p", "c");
        store.publish(&id, vec![family("x", Kind::Gauge, &[("1", 1.0)]), family("y", Kind::Gauge, &[("1", 1.0)])]);
        let first = store.generation();
        store.publish(&id, vec![family("x", Kind::Gauge, &[("1", 1.0)]), family("y", Kind::Gauge, &[("1", 1.0)])]);
        assert_eq!(store.generation(), first, "nothing changed");
        store.publish(&id, vec![family("x", Kind::Gauge, &[("2", 2.0)])]);
        assert_eq!(printed(&store), ["x{a=\"2\"} Number(2.0)"]);
        assert!(store.generation() > first);
        store.withdraw_source("another");
        assert_eq!(store.series(&id), Some(1));
        store.withdraw_source("s");
        assert_eq!(printed(&store), Vec::<String>::new());
        assert_eq!(store.series(&id), None);
    }

    #[test]
    fn a_collector_on_two_sources_gets_a_source_label_and_loses_it_again() {
        let store = Store::new(Arc::new(Metrics::new("1")));
        let (main, other) = (CollectorId::new("main", "p", "c"), CollectorId::new("other", "p", "c"));
        store.publish(&main, vec![family("x", Kind::Gauge, &[("1", 1.0)])]);
        store.publish(&other, vec![family("x", Kind::Gauge, &[("1", 2.0)])]);
        let both = ["x{source=\"main\",a=\"1\"} Number(1.0)", "x{source=\"other\",a=\"1\"} Number(2.0)"];
        assert_eq!(printed(&store), both);
        store.withdraw(&other);
        assert_eq!(printed(&store), ["x{a=\"1\"} Number(1.0)"]);
    }

    #[test]
    fn a_source_that_others_share_with_us_always_has_its_label() {
        let store = Store::new(Arc::new(Metrics::new("1")));
        store.label(&"main".into());
        let (main, other) = (CollectorId::new("main", "p", "c"), CollectorId::new("other", "p", "d"));
        for value in [1.0, 2.0] {
            store.publish(&main, vec![family("x", Kind::Gauge, &[("1", value)])]);
            store.publish(&other, vec![family("y", Kind::Gauge, &[("1", value)])]);
            let wanted =
                [format!("x{{source=\"main\",a=\"1\"}} Number({value:?})"), format!("y{{a=\"1\"}} Number({value:?})")];
            assert_eq!(printed(&store), wanted);
        }
        store.withdraw_source("main");
        store.publish(&main, vec![family("x", Kind::Gauge, &[("1", 1.0)])]);
        assert_eq!(printed(&store)[0], "x{a=\"1\"} Number(1.0)", "other settings, other labels");
    }

    #[test]
    fn a_pack_of_servers_always_has_the_label_and_no_other_pack_for_it() {
        let store = Store::new(Arc::new(Metrics::new("1")));
        store.label_pack("p");
        store.publish(&CollectorId::new("main", "p", "c"), vec![family("x", Kind::Gauge, &[("1", 1.0)])]);
        store.publish(&CollectorId::new("main", "q", "c"), vec![family("y", Kind::Gauge, &[("1", 1.0)])]);
        assert_eq!(printed(&store), ["x{source=\"main\",a=\"1\"} Number(1.0)", "y{a=\"1\"} Number(1.0)"]);
    }

    #[test]
    fn conflicts_keep_the_first_and_are_counted() {
        let metrics = Arc::new(Metrics::new("1"));
        let store = Store::new(metrics.clone());
        store.publish(&CollectorId::new("s", "p", "a"), vec![family("x", Kind::Gauge, &[("1", 1.0)])]);
        store.publish(&CollectorId::new("s", "p", "b"), vec![family("x", Kind::Gauge, &[("1", 5.0), ("2", 2.0)])]);
        assert_eq!(printed(&store), ["x{a=\"1\"} Number(1.0)", "x{a=\"2\"} Number(2.0)"]);
        assert_eq!(conflicts(&metrics, "rowmetry_series_conflicts_total"), 1.0);
        assert_eq!(conflicts(&metrics, "rowmetry_family_conflicts_total"), 0.0);
        store.publish(&CollectorId::new("s", "p", "c"), vec![family("x", Kind::Info, &[("3", 5.0)])]);
        assert_eq!(printed(&store).len(), 2);
        assert_eq!(conflicts(&metrics, "rowmetry_family_conflicts_total"), 1.0);
    }
}
