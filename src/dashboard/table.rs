//! Tables: several queries become one, with the columns that the file names, in its order.
//!
//! A column of a query is found by the name that Grafana gives to its values. That name depends on how many queries are shown.

use serde_json::{Map, Value as Json, json};

use super::field::{mappings, number, thresholds};
use super::{Column, Panel};

/// Merges the queries' results, keeps the columns and names them.
pub(super) fn transformations(panel: &Panel) -> Json {
    let shown = panel.queries.iter().filter(|query| !query.hide).count();
    let names: Vec<String> = panel.columns.iter().map(|column| field(column, shown)).collect();
    let order: Map<String, Json> = names.iter().enumerate().map(|(at, name)| (name.clone(), json!(at))).collect();
    let titles: Map<String, Json> =
        names.iter().zip(&panel.columns).map(|(name, column)| (name.clone(), json!(column.title))).collect();
    let mut steps = Vec::new();
    if shown > 1 {
        steps.push(json!({"id": "merge", "options": {}}));
    }
    steps.push(json!({"id": "filterFieldsByName", "options": {"include": {"names": names}}}));
    steps.push(json!({
        "id": "organize",
        "options": {"excludeByName": {}, "indexByName": order, "renameByName": titles},
    }));
    Json::Array(steps)
}

/// Unit, colours and links of each column.
pub(super) fn overrides(panel: &Panel) -> Vec<Json> {
    panel
        .columns
        .iter()
        .filter_map(|column| {
            let properties = properties(column);
            (!properties.is_empty())
                .then(|| json!({"matcher": {"id": "byName", "options": column.title}, "properties": properties}))
        })
        .collect()
}

/// What Grafana calls the field.
fn field(column: &Column, shown: usize) -> String {
    match (&column.label, &column.query) {
        (Some(label), _) => label.clone(),
        (None, Some(_)) if shown == 1 => "Value".into(),
        (None, query) => format!("Value #{}", query.as_deref().unwrap_or_default()),
    }
}

fn properties(column: &Column) -> Vec<Json> {
    let mut properties = Vec::new();
    let mut property = |id: &str, value: Json| properties.push(json!({"id": id, "value": value}));
    if let Some(unit) = &column.unit {
        property("unit", json!(unit));
    }
    if let Some(decimals) = column.decimals {
        property("decimals", number(f64::from(decimals)));
    }
    if !column.thresholds.is_empty() {
        property("thresholds", thresholds(&column.thresholds));
        property("color", json!({"mode": "thresholds"}));
    }
    if !column.mappings.is_empty() {
        property("mappings", mappings(&column.mappings));
    }
    let is_coloured = !column.thresholds.is_empty() || column.mappings.values().any(|mapping| mapping.color.is_some());
    if is_coloured {
        property("custom.cellOptions", json!({"type": "color-text"}));
    }
    if let Some(width) = column.width {
        property("custom.width", json!(width));
    }
    if let Some(link) = &column.link {
        property("links", json!([{"title": "Open", "url": link}]));
    }
    if column.hide {
        // The one is Grafana's older name for it, the other the newer.
        property("custom.hidden", json!(true));
        property("custom.hideFrom", json!({"viz": true}));
    }
    properties
}
