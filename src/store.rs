//! The last published families of every collector, and how each collector fares.
//!
//! Publishing replaces a collector's families as a whole. Nothing here reads a source or counts a row.

pub mod board;

// STUB
pub use board::SourceStatus;
use std::sync::Arc;
pub struct Store {
    inner: std::sync::Mutex<std::collections::BTreeMap<CollectorId, Vec<crate::family::Family>>>,
}
impl Store {
    pub fn new(_m: Arc<crate::telemetry::Metrics>) -> Self {
        Store { inner: Default::default() }
    }
    pub fn publish(&self, id: &CollectorId, f: Vec<crate::family::Family>) {
        self.inner.lock().expect("x").insert(id.clone(), f);
    }
    pub fn withdraw(&self, id: &CollectorId) {
        self.inner.lock().expect("x").remove(id);
    }
    pub fn withdraw_source(&self, source: &str) {
        self.inner.lock().expect("x").retain(|id, _| &*id.source != source);
    }
    pub fn text(&self) -> String {
        let mut out = String::new();
        for f in self.inner.lock().expect("x").values().flatten() {
            for s in &f.series {
                match &s.value {
                    crate::family::Value::Number(n) => out += &format!("{}{{{}}} {n}\n", f.name, s.labels.text()),
                    crate::family::Value::Histogram(h) => {
                        for (b, c) in &h.buckets {
                            out += &format!("{}_bucket{{{},le=\"{b}\"}} {c}\n", f.name, s.labels.text());
                        }
                        out += &format!(
                            "{}_count{{{}}} {}\n{}_sum{{{}}} {}\n",
                            f.name,
                            s.labels.text(),
                            h.count,
                            f.name,
                            s.labels.text(),
                            h.sum
                        )
                    }
                }
            }
        }
        out
    }
}
pub use board::{Board, CollectorId, CollectorStatus};
