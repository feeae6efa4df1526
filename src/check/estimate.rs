//! What a sample of rows tells of the series to come, and of personal data in labels.
//!
//! An estimate says that it is one. No value of a row is kept or shown: only counts and kinds.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::collector::guard::{Guard, Replaced};
use crate::pack::{Label, Metric, Span, span::AttributeKind};
use crate::source::Rows;

/// How many series a metric has or will have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesEstimate {
    /// The metric.
    pub metric: String,
    /// Label sets in the sample, as the guard leaves them.
    pub seen: usize,
    /// Label sets in all rows, about; none when the sample holds all rows, so that `seen` is all there is.
    pub estimate: Option<usize>,
    /// At most so many are kept.
    pub limit: usize,
}

impl SeriesEstimate {
    /// Whether the metric is likely to have more series than are kept.
    pub fn overflows(&self) -> bool {
        self.estimate.unwrap_or(self.seen).max(self.seen) > self.limit
    }
}

/// Values in a label, or in a span, that look like personal data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PersonalData {
    /// The metric, or the span as the pack writes it.
    pub metric: String,
    /// What of it: `label` of a metric; `attribute`, `error` or column in the `name` of a span.
    pub part: &'static str,
    /// The label, the attribute or the column.
    pub label: String,
    /// What the values look like: `email`, `token`, `ip`, `id`, `long`.
    pub kind: &'static str,
    /// In so many rows of the sample.
    pub rows: usize,
}

/// Estimates one metric's series. `cell_of` finds a column's cell in a row; `whole` says that the sample is all there is.
pub(super) fn series(
    metric: &Metric,
    sample: &Rows,
    cell_of: &dyn Fn(&str) -> Option<usize>,
    whole: bool,
    default_limit: usize,
    guard: &Guard,
) -> SeriesEstimate {
    let cells: Vec<(&Label, usize)> =
        metric.labels.iter().filter_map(|label| Some((label, cell_of(label.column())?))).collect();
    let mut occurrences: HashMap<Vec<String>, usize> = HashMap::new();
    let value = metric.value.as_deref().and_then(cell_of);
    let state = metric.state_label.as_deref();
    let state = cells.iter().find(|(label, _)| Some(label.name()) == state).map(|(_, cell)| *cell);
    let is_info = metric.info.is_some() && !cells.is_empty();
    for row in sample.iter() {
        let has = |cell: Option<usize>| cell.is_none_or(|cell| row.cell(cell).is_some());
        let says_nothing = is_info && cells.iter().all(|(_, cell)| row.cell(*cell).is_none());
        if !has(value) || !has(state) || says_nothing {
            // It tells of another metric, and makes no series of this one.
            continue;
        }
        let set =
            cells.iter().map(|(label, cell)| cleaned(label, row.cell(*cell).unwrap_or_default(), guard)).collect();
        *occurrences.entry(set).or_default() += 1;
    }
    let seen = occurrences.len();
    let once = occurrences.values().filter(|count| **count == 1).count();
    let twice = occurrences.values().filter(|count| **count == 2).count();
    // Chao's estimate of the classes that a sample missed, from those it holds once and twice.
    let missed = (once * once.saturating_sub(1)).div_ceil(2 * (twice + 1));
    let estimate = (!whole).then_some(seen + missed);
    SeriesEstimate {
        metric: metric.name().to_owned(),
        seen,
        estimate,
        limit: metric.series_limit.unwrap_or(default_limit),
    }
}

/// Looks for personal data in one metric's labels.
pub(super) fn personal(
    metric: &Metric,
    sample: &Rows,
    cell_of: &dyn Fn(&str) -> Option<usize>,
    guard: &Guard,
) -> Vec<PersonalData> {
    let mut found: BTreeMap<(&str, Replaced), usize> = BTreeMap::new();
    for label in &metric.labels {
        let Some(cell) = cell_of(label.column()) else { continue };
        for value in sample.iter().filter_map(|row| row.cell(cell)) {
            let declared = label.values().iter().any(|known| known == value);
            if let Some(kind) = guard.inspect_allowing(value, label.allows_ids()).filter(|_| !declared) {
                *found.entry((label.name(), kind)).or_default() += 1;
            }
        }
    }
    let told = found.into_iter().map(|((label, kind), rows)| PersonalData {
        metric: metric.name().to_owned(),
        part: "label",
        label: label.to_owned(),
        kind: kind.as_str(),
        rows,
    });
    told.collect()
}

/// Looks for personal data in what one span tells.
pub(super) fn personal_in_span(
    span: &Span,
    sample: &Rows,
    cell_of: &dyn Fn(&str) -> Option<usize>,
    guard: &Guard,
) -> Vec<PersonalData> {
    let named = span.name_columns().map(|column| ("name", column, column, false));
    let error = span.error.iter().map(|column| ("error", column.as_str(), column.as_str(), false));
    let texts = span.attributes.iter().filter(|(_, attribute)| attribute.kind() == AttributeKind::Text);
    let texts = texts.filter_map(|(name, attribute)| {
        Some(("attribute", name.as_str(), attribute.column()?, attribute.allows_ids()))
    });
    let mut found: BTreeMap<(&'static str, &str, Replaced), usize> = BTreeMap::new();
    for (part, told, column, ids) in named.chain(error).chain(texts) {
        let Some(cell) = cell_of(column) else { continue };
        for kind in sample.iter().filter_map(|row| guard.inspect_allowing(row.cell(cell)?, ids)) {
            *found.entry((part, told, kind)).or_default() += 1;
        }
    }
    let told = found.into_iter().map(|((part, label, kind), rows)| PersonalData {
        metric: span.name.clone(),
        part,
        label: label.to_owned(),
        kind: kind.as_str(),
        rows,
    });
    told.collect()
}

fn cleaned(label: &Label, value: &str, guard: &Guard) -> String {
    if label.values().iter().any(|known| known == value) {
        return value.to_owned();
    }
    guard.clean(value, label.allows_ids()).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(labels: &str) -> Metric {
        let pack = format!(
            "app: a\ntitle: x\ncollectors:\n  - name: a\n    rows: {{table: a, key: id, time: at, columns: {{kind: kind}}}}\n    metrics: [{{counter: a_total, help: x, labels: [{labels}]}}]\n"
        );
        let pack = crate::pack::load::parse("p", &pack).unwrap_or_else(|errors| panic!("{errors}"));
        pack.collectors[0].metrics[0].clone()
    }

    fn sample(values: &[&str]) -> Rows {
        let cells: Vec<Option<&str>> = values.iter().map(|value| Some(*value)).collect();
        Rows::of(1, &cells)
    }

    fn estimate(values: &[&str], whole: bool) -> SeriesEstimate {
        series(&metric("kind"), &sample(values), &|_| Some(0), whole, 5, &Guard::new(120))
    }

    #[test]
    fn a_whole_sample_needs_no_estimate() {
        let found = estimate(&["a", "a", "b"], true);
        assert_eq!((found.seen, found.estimate, found.limit), (2, None, 5));
        assert!(!found.overflows());
    }

    #[test]
    fn rows_that_say_nothing_of_a_metric_are_none_of_its_series() {
        let pack = "app: a\ntitle: x\ncollectors:\n  - name: a\n    info: {}\n    metrics:\n      \
            - {gauge: a_keys, help: x, value: db_keys, labels: [db]}\n      \
            - {info: a_info, help: x, labels: [redis_version]}\n      \
            - {gauge: a_role, help: x, state_label: role, labels: [{name: role, values: [master, slave]}]}\n";
        let pack = crate::pack::load::parse("p", pack).unwrap_or_else(|errors| panic!("{errors}"));
        let columns = ["db_keys", "db", "redis_version", "role"];
        let rows = Rows::of(4, &[None, None, Some("7"), Some("master"), Some("3"), Some("db0"), None, None]);
        for metric in &pack.collectors[0].metrics {
            let cell_of = |column: &str| columns.iter().position(|known| *known == column);
            assert_eq!(series(metric, &rows, &cell_of, true, 5, &Guard::new(120)).seen, 1, "{}", metric.name());
        }
    }

    #[test]
    fn labels_that_never_repeat_are_many() {
        let values: Vec<String> = (0..40).map(|n| format!("word {n}x")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let found = estimate(&values, false);
        assert_eq!(found.seen, 40);
        assert!(found.estimate > Some(700), "{found:?}");
        assert!(found.overflows());
        let steady = estimate(&["a", "b", "a", "b", "a", "b"], false);
        assert_eq!(steady.estimate, Some(2));
    }

    #[test]
    fn tells_personal_data_by_kind_and_not_by_value() {
        let rows = sample(&["ann@example.com", "bob@example.com", "plain"]);
        let found = personal(&metric("kind"), &rows, &|_| Some(0), &Guard::new(120));
        assert_eq!(
            found,
            [PersonalData { metric: "a_total".into(), part: "label", label: "kind".into(), kind: "email", rows: 2 }]
        );
        let merged = series(&metric("kind"), &rows, &|_| Some(0), true, 5, &Guard::new(120));
        assert_eq!(merged.seen, 2, "e-mail addresses end in one series");
        let ids = sample(&["4f1c2d3e-0000-4000-8000-123456789abc"]);
        assert_eq!(personal(&metric("kind"), &ids, &|_| Some(0), &Guard::new(120)).len(), 1);
        assert_eq!(personal(&metric("{name: kind, allow: [ids]}"), &ids, &|_| Some(0), &Guard::new(120)), []);
    }

    #[test]
    fn personal_data_is_found_in_what_a_span_tells_and_only_there() {
        let span = "{name: 'work {who}', start: began, error: who, \
                    attributes: {a.who: who, a.id: {column: id, allow: [ids]}, a.number: {column: who, type: integer}}}";
        let span: Span = serde_saphyr::from_str(span).expect("the test's own YAML");
        let rows = Rows::of(2, &[Some("jo@example.net"), Some("123456789"), Some("x"), None]);
        let cells = |name: &str| ["who", "id"].iter().position(|column| *column == name);
        let found = personal_in_span(&span, &rows, &cells, &Guard::new(120));
        let told: Vec<_> =
            found.iter().map(|found| (found.part, found.label.as_str(), found.kind, found.rows)).collect();
        let expected = [("attribute", "a.who", "email", 1), ("error", "who", "email", 1), ("name", "who", "email", 1)];
        assert_eq!(told, expected);
        assert!(found.iter().all(|found| found.metric == "work {who}"));
    }
}
