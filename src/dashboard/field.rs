//! Parts of Grafana's field configuration: thresholds, mappings, colours by name.
//!
//! Shapes alone; which panel gets which is told elsewhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Mapping, Threshold};

/// What a healthy board is drawn in where no colour is said: it judges nothing.
pub(super) const NEUTRAL: &str = "blue";

/// Thresholds by absolute values; everything is neutral where there are none.
pub(super) fn thresholds(thresholds: &[Threshold]) -> Json {
    let mut steps: Vec<Json> = thresholds
        .iter()
        .map(|threshold| json!({"color": threshold.color, "value": threshold.from.map(number)}))
        .collect();
    if steps.is_empty() {
        steps.push(json!({"color": NEUTRAL, "value": null}));
    }
    json!({"mode": "absolute", "steps": steps})
}

/// Words and colours for single values.
pub(super) fn mappings(mappings: &BTreeMap<String, Mapping>) -> Json {
    let mut values = Map::new();
    let mut of_nothing = None;
    let mut ordered: Vec<(&String, &Mapping)> = mappings.iter().collect();
    // Numbers by their size, words after them.
    ordered.sort_by(|(one, _), (other, _)| {
        let size = |key: &str| key.parse::<f64>().unwrap_or(f64::INFINITY);
        size(one).total_cmp(&size(other)).then_with(|| one.cmp(other))
    });
    for (index, (key, mapping)) in ordered.into_iter().enumerate() {
        let mut result = Map::new();
        if let Some(text) = &mapping.text {
            result.insert("text".into(), json!(text));
        }
        if let Some(color) = &mapping.color {
            result.insert("color".into(), json!(color));
        }
        result.insert("index".into(), json!(index));
        if key == "null" {
            of_nothing = Some(result);
        } else {
            values.insert(key.clone(), Json::Object(result));
        }
    }
    let mut all = Vec::new();
    if !values.is_empty() {
        all.push(json!({"type": "value", "options": values}));
    }
    if let Some(result) = of_nothing {
        all.push(json!({"type": "special", "options": {"match": "null+nan", "result": result}}));
    }
    Json::Array(all)
}

/// A fixed colour for each series whose name is matched whole.
pub(super) fn colors(colors: &BTreeMap<String, String>) -> Vec<Json> {
    colors
        .iter()
        .map(|(pattern, color)| {
            json!({
                "matcher": {"id": "byRegexp", "options": whole(pattern)},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
            })
        })
        .collect()
}

/// The same colours for the names in a column, where series have become rows.
pub(super) fn color_mappings(colors: &BTreeMap<String, String>) -> Json {
    colors
        .iter()
        .enumerate()
        .map(|(index, (pattern, color))| {
            json!({"type": "regex", "options": {"pattern": whole(pattern), "result": {"color": color, "index": index}}})
        })
        .collect()
}

/// A whole number is written without a point.
#[allow(clippy::cast_possible_truncation, reason = "it is checked that nothing is cut off")]
pub(super) fn number(number: f64) -> Json {
    let whole = number as i64;
    if number.abs() < 1e15 && whole as f64 == number { json!(whole) } else { json!(number) }
}

fn whole(pattern: &str) -> String {
    format!("/^(?:{pattern})$/")
}
