//! The last value of each label set, for gauges that lines tell.
//!
//! It reads no clock: which line is the youngest, their own times tell. What lines do not tell is not there.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::collector::admission::{Admission, Ticket};
use crate::collector::exact::Exact;
use crate::collector::guard::Guard;
use crate::collector::series::StoredSeries;
use crate::collector::snapshot::number;
use crate::config::Limits;
use crate::family::{Family, Kind, Micros, Series, Value};
use crate::pack::Metric;
use crate::telemetry::Ignored;

/// One gauge.
#[derive(Debug, Clone)]
pub struct LastValues {
    name: Arc<str>,
    help: Arc<str>,
    admission: Admission,
    /// By number of the label set.
    values: Vec<Option<Told>>,
    dirty: BTreeSet<u32>,
}

/// What a line told, and when it was written.
#[derive(Debug, Clone, Copy)]
struct Told {
    value: Exact,
    time: Micros,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "v")]
    value: String,
    #[serde(rename = "t")]
    time: Micros,
}

impl LastValues {
    /// Nothing told yet.
    pub fn new(metric: &Metric, limits: &Limits, guard: Arc<Guard>) -> Self {
        LastValues {
            name: metric.name().into(),
            help: metric.help.as_str().into(),
            admission: Admission::new(metric, limits.series_per_metric, guard),
            values: Vec::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// The metric's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.values.iter().flatten().count()
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A line of a time told a value; an older line than the last changes nothing. A line of the future is one of now: it may not stand
    /// in the way of all that come until then. Nor may the last one, where the clock was set back. What is beyond the limit of series is told
    /// of nowhere: values of whichever, told by turns, are no value.
    ///
    /// # Errors
    /// When it is no number.
    pub fn tell<'v>(
        &mut self,
        labels: impl Iterator<Item = Option<&'v str>> + Clone,
        value: &str,
        time: Micros,
        now: Micros,
    ) -> Result<Ticket, Ignored> {
        let value = number(value)?;
        let ticket = self.admission.admit(labels);
        if !ticket.overflowed {
            self.put(ticket.set, Told { value, time: time.min(now) }, now);
        }
        Ok(ticket)
    }

    fn put(&mut self, set: u32, told: Told, now: Micros) {
        let at = set as usize;
        if self.values.len() <= at {
            self.values.resize(at + 1, None);
        }
        if let Some(last) = &mut self.values[at] {
            last.time = last.time.min(now);
        }
        if self.values[at].is_none_or(|last| last.time <= told.time) {
            self.values[at] = Some(told);
            self.dirty.insert(set);
        }
    }

    /// As it is published.
    pub fn family(&self) -> Family {
        let mut order: Vec<usize> = (0..self.values.len()).filter(|set| self.values[*set].is_some()).collect();
        order.sort_by_key(|set| &self.admission.sets()[*set].values);
        let series = order.into_iter().filter_map(|set| {
            let labels = self.admission.sets()[set].labels.clone();
            let value = Value::Number(self.values[set]?.value.to_f64());
            Some(Series { labels, value, start: None, exemplar: None })
        });
        Family { name: self.name.clone(), help: self.help.clone(), kind: Kind::Gauge, series: series.collect() }
    }

    /// What changed since the last call, as it is stored.
    pub fn take_changed(&mut self) -> Vec<StoredSeries> {
        let changed = std::mem::take(&mut self.dirty).into_iter();
        let stored = changed.filter_map(|set| {
            let told = self.values[set as usize]?;
            let json = "texts and whole numbers are always JSON";
            Some(StoredSeries {
                labels: serde_json::to_string(&self.admission.sets()[set as usize].values).expect(json),
                start: told.time,
                value: serde_json::to_string(&Stored { value: told.value.to_string(), time: told.time }).expect(json),
            })
        });
        stored.collect()
    }

    /// Takes up what was stored; whether it fits.
    pub fn load(&mut self, stored: &StoredSeries) -> bool {
        let values: Option<Vec<String>> = serde_json::from_str(&stored.labels).ok();
        let told: Option<Stored> = serde_json::from_str(&stored.value).ok();
        let (Some(values), Some(told)) = (values, told) else { return false };
        let (Ok(set), Ok(value)) = (self.admission.restore(&values), Exact::parse(&told.value)) else { return false };
        self.put(set, Told { value, time: told.time }, told.time);
        self.dirty.remove(&set);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> LastValues {
        let metric: Metric = serde_json::from_value(
            serde_json::json!({"gauge": "jobs", "help": "Jobs.", "value": "n", "labels": ["queue"], "series_limit": 2}),
        )
        .expect("a metric");
        LastValues::new(&metric, &Limits::default(), Arc::new(Guard::new(120)))
    }

    fn shown(last: &LastValues) -> String {
        last.family().series.iter().map(|series| format!("{:?}{:?};", series.labels, series.value)).collect()
    }

    #[test]
    fn the_youngest_line_tells_whatever_the_order_in_which_they_come() {
        let mut last = last();
        let mut tell =
            |queue, value, time| last.tell([Some(queue)].into_iter(), value, time, 100).map(|t| t.overflowed);
        assert_eq!(tell("b", "4", 20), Ok(false));
        assert_eq!(tell("b", "3", 10), Ok(false));
        assert_eq!(tell("a", "2026-01-01T00:00:00Z", 5), Ok(false));
        assert_eq!(tell("a", "[redacted]", 6), Err(Ignored::NotANumber));
        assert_eq!(tell("c", "9", 7), Ok(true), "a third series is one too many");
        let expected = "{queue=\"a\"}Number(1767225600.0);{queue=\"b\"}Number(4.0);";
        assert_eq!(shown(&last), expected);

        let stored = last.take_changed();
        assert_eq!((stored.len(), last.take_changed().len()), (2, 0));
        let mut again = super::tests::last();
        assert!(stored.iter().all(|stored| again.load(stored)));
        assert_eq!((shown(&again).as_str(), again.take_changed().len()), (expected, 0));
        again.tell([Some("b")].into_iter(), "1", 19, 100).expect("a number");
        assert_eq!(shown(&again), expected, "it is older than what was stored");
    }

    #[test]
    fn a_line_of_the_future_does_not_stand_in_the_way() {
        let mut last = last();
        let mut tell = |value, time, now| last.tell([Some("a")].into_iter(), value, time, now).map(drop);
        assert_eq!(tell("1", Micros::MAX, 50), Ok(()), "its clock is wrong");
        assert_eq!(tell("2", 49, 51), Ok(()), "older than that one came");
        assert_eq!(tell("3", 60, 61), Ok(()), "lines are a little older than they come");
        assert_eq!(tell("4", 61, 62), Ok(()));
        assert_eq!(tell("5", 19, 20), Ok(()), "the clock was set back");
        assert_eq!(tell("6", 20, 21), Ok(()));
        assert_eq!(shown(&last), "{queue=\"a\"}Number(6.0);");
    }
}
