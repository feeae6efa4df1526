//! Encoded bodies of what the store holds, kept until it changes.
//!
//! A scrape copies no series and encodes nothing unless something was published since. What is published is seen by the
//! next scrape: a body of an older generation is never handed out.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Format;
use super::packed::{Packed, pack};
use crate::family::Micros;
use crate::store::Store;

/// A format that was asked for in the last so many microseconds is encoded as soon as something is published, before
/// the next scrape asks: ten minutes outlast the usual scrape intervals.
const ASKED_LATELY: Micros = 600 * 1_000_000;

/// One encoded body.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The store's generation that it shows.
    pub generation: u64,
    /// As it is.
    pub plain: Bytes,
    /// The same as a part of a gzip stream, when somebody asked for it.
    pub packed: Option<Arc<Packed>>,
}

/// The bodies, one a format.
#[derive(Debug)]
pub struct Bodies {
    store: Arc<Store>,
    slots: [Slot; 3],
}

#[derive(Debug, Default)]
struct Slot {
    /// Held for moments only.
    current: Mutex<Current>,
    /// Held while encoding, so that two scrapes do not do the same work.
    encoding: Mutex<()>,
}

#[derive(Debug, Default)]
struct Current {
    body: Option<Encoded>,
    asked: Option<Micros>,
    asked_gzip: Option<Micros>,
}

impl Bodies {
    /// Bodies of this store.
    pub fn new(store: Arc<Store>) -> Self {
        Bodies { store, slots: Default::default() }
    }

    /// The body that shows the store as it is now, if it is at hand. Never encodes.
    pub fn ready(&self, format: Format, gzipped: bool, now: Micros) -> Option<Encoded> {
        let mut current = lock(&self.slot(format).current);
        current.asked = Some(now);
        if gzipped {
            current.asked_gzip = Some(now);
        }
        let generation = self.store.generation();
        current.body.clone().filter(|body| body.generation >= generation && (!gzipped || body.packed.is_some()))
    }

    /// The body that shows the store as it is now; encodes when it must, so call it where blocking is allowed.
    pub fn make(&self, format: Format, gzipped: bool) -> Encoded {
        let slot = self.slot(format);
        let _one_at_a_time = lock(&slot.encoding);
        let last = lock(&slot.current).body.clone();
        let generation = self.store.generation();
        let mut body = match last {
            Some(body) if body.generation >= generation => body,
            last => {
                let published = self.store.published();
                let mut plain = Vec::with_capacity(last.map_or(0, |last| last.plain.len() + last.plain.len() / 8));
                format.encode(&published.families, &mut plain);
                Encoded { generation: published.generation, plain: plain.into(), packed: None }
            }
        };
        if gzipped && body.packed.is_none() {
            body.packed = Some(pack(&body.plain));
        }
        lock(&slot.current).body = Some(body.clone());
        body
    }

    /// Makes the bodies that were asked for lately. Call it after a change, where blocking is allowed.
    pub fn warm(&self, now: Micros) {
        let lately = |asked: Option<Micros>| asked.is_some_and(|asked| now.saturating_sub(asked) <= ASKED_LATELY);
        for format in Format::ALL {
            let (plain, gzipped) = {
                let current = lock(&self.slot(format).current);
                (lately(current.asked), lately(current.asked_gzip))
            };
            if plain {
                self.make(format, gzipped);
            }
        }
    }

    fn slot(&self, format: Format) -> &Slot {
        match format {
            Format::Text => &self.slots[0],
            Format::OpenMetrics => &self.slots[1],
            Format::Protobuf => &self.slots[2],
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Exemplar, Family, Kind, Labels, Series, SpanContext, SpanId, TraceId, Value};
    use crate::store::CollectorId;
    use crate::telemetry::Metrics;

    fn publish(store: &Store, value: f64) {
        let series = vec![Series { labels: Labels::none(), value: Value::Number(value), start: None, exemplar: None }];
        let family = Family { name: "x".into(), help: "X.".into(), kind: Kind::Gauge, series };
        store.publish(&CollectorId::new("s", "p", "c"), vec![family]);
    }

    #[test]
    fn a_row_that_changes_an_exemplar_alone_changes_the_body() {
        let store = Arc::new(Store::new(Arc::new(Metrics::new("1"))));
        let bodies = Bodies::new(store.clone());
        let publish = |row: u8| {
            let span = SpanContext { trace: TraceId([row; 16]), span: SpanId([row; 8]) };
            let exemplar = Some(Exemplar { span, value: 0.0, time: 1_000_000 });
            let series = vec![Series { labels: Labels::none(), value: Value::Number(1.0), start: None, exemplar }];
            let family = Family { name: "x_total".into(), help: "X.".into(), kind: Kind::Counter, series };
            store.publish(&CollectorId::new("s", "p", "c"), vec![family]);
        };
        for row in [0xa1, 0xb2] {
            publish(row);
            for format in [Format::OpenMetrics, Format::Protobuf] {
                assert!(bodies.ready(format, false, 0).is_none(), "{format:?} shows what was published before");
                let body = bodies.make(format, false).plain;
                let id = format!("{row:02x}").repeat(16);
                assert!(body.windows(32).any(|part| part == id.as_bytes()), "{format:?} does not show {id}");
            }
            let body = bodies.make(Format::Text, false).plain;
            assert_eq!(&body[..], b"# HELP x_total X.\n# TYPE x_total counter\nx_total 1\n");
        }
    }

    #[test]
    fn a_body_is_kept_until_something_is_published() {
        let store = Arc::new(Store::new(Arc::new(Metrics::new("1"))));
        let bodies = Bodies::new(store.clone());
        publish(&store, 1.0);
        assert!(bodies.ready(Format::Text, false, 0).is_none());
        let made = bodies.make(Format::Text, false);
        let again = bodies.ready(Format::Text, false, 0).expect("at hand");
        assert_eq!(again.plain.as_ptr(), made.plain.as_ptr(), "the same bytes");
        assert!(bodies.ready(Format::Text, true, 0).is_none(), "gzip was not asked for yet");
        assert!(bodies.make(Format::Text, true).packed.is_some());

        publish(&store, 2.0);
        assert!(bodies.ready(Format::Text, true, 0).is_none(), "it shows an older generation");
        bodies.warm(ASKED_LATELY);
        let warm = bodies.ready(Format::Text, true, ASKED_LATELY).expect("made in advance");
        assert!(warm.plain.ends_with(b"x 2\n"));
        publish(&store, 3.0);
        bodies.warm(3 * ASKED_LATELY);
        assert!(bodies.ready(Format::Text, false, 3 * ASKED_LATELY).is_none(), "nobody asked for long");
    }
}
