//! What is kept of a run's texts until it ends: one that becomes labels alone is kept as the label may be.
//!
//! It writes nothing and counts nothing, and lets no text through that no metric and no span needs as it is.

use std::sync::Arc;

use crate::collector::guard::Guard;
use crate::pack::Collector;

/// What may be kept of each column.
#[derive(Debug)]
pub struct Kept {
    guard: Arc<Guard>,
    /// Of a column that becomes labels alone: whether one of them allows identifiers.
    labels: Vec<Option<bool>>,
}

impl Kept {
    /// For these columns of a collector.
    pub fn new(definition: &Collector, columns: &[String], guard: &Arc<Guard>) -> Self {
        let is_whole = |column: &str| {
            let id = definition.logs.iter().flat_map(|logs| &logs.runs).any(|runs| runs.id == column);
            let value = definition.metrics.iter().any(|metric| metric.value.as_deref() == Some(column));
            id || value || definition.spans.iter().any(|span| span.columns().contains(&column))
        };
        let label = |column: &String| {
            let labels = definition.metrics.iter().flat_map(|metric| &metric.labels);
            let of: Vec<bool> =
                labels.filter(|label| label.column() == column).map(|label| label.allows_ids()).collect();
            (!of.is_empty() && !is_whole(column)).then(|| of.contains(&true))
        };
        Kept { guard: guard.clone(), labels: columns.iter().map(label).collect() }
    }

    /// What is kept of the text of the column at a place.
    pub fn of(&self, place: usize, text: &str) -> String {
        match self.labels.get(place).copied().flatten() {
            Some(ids) => self.guard.clean(text, ids).0.into_owned(),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::logs::{LogsCollector, LogsSettings};
    use crate::config::Limits;
    use crate::source::logs::{LineId, LogLine};

    #[test]
    fn what_a_label_may_not_tell_is_not_kept_either() {
        let definition: Collector = serde_json::from_value(serde_json::json!({
            "name": "runs",
            "logs": {
                "lines": [
                    {"json": {"event": "a"}, "run": "start", "columns": {"id": "id", "who": "who", "took": "took"}},
                    {"json": {"event": "b"}, "run": "end", "columns": {"id": "id"}},
                ],
                "runs": {"id": "id", "lost_after": "1h"},
            },
            "metrics": [
                {"counter": "runs_total", "help": "Runs.", "labels": ["who"]},
                {"counter": "took_total", "help": "Length.", "value": "took"},
            ],
        }))
        .expect("a collector");
        let settings = LogsSettings { limits: Limits::default(), runs: 10, parameters: Vec::new(), exemplars: false };
        let guard = Arc::new(Guard::new(120));
        let made = LogsCollector::new(&definition, &settings, |_| None, &guard).expect("a good pack");
        let mut collector = made.expect("it is of logs");
        let line = |id, json: serde_json::Value| LogLine {
            id: LineId(id),
            time: None,
            level: None,
            text: String::new(),
            json: Some(json),
            record: None,
        };
        let id = "123e4567-e89b-12d3-a456-426614174000";
        let began = serde_json::json!({"event": "a", "id": id, "who": "ann@example.org", "took": "1234567890"});
        collector.fold([line(1, began)].iter(), 1);
        let written = collector.take_changes().runs.written;
        let kept = written.iter().map(|(_, body)| body.as_str()).collect::<String>();
        assert!(!kept.contains("ann") && kept.contains("\"redacted\""), "{kept}");
        assert!(kept.contains(id) && kept.contains("1234567890"), "what counts is kept: {kept}");
        collector.fold([line(2, serde_json::json!({"event": "b", "id": id}))].iter(), 2);
        let shown = format!("{:?}", collector.families(None));
        assert!(shown.contains("redacted") && shown.contains("1234567890"), "{shown}");
    }
}
