//! One panel in Grafana's classic JSON: queries, options and fields of each kind.
//!
//! Where it stands and which number it has is told by the caller. It knows no metric and no application.

use serde_json::{Map, Value as Json, json};

use super::field::{NEUTRAL, color_mappings, colors, mappings, number, thresholds};
use super::layout::Place;
use super::{Draw, Kind, Legend, Panel, Query, table};

/// The Grafana whose options these are; older ones than it wrote otherwise, and a newer one brings them up to date by it.
const PLUGIN_VERSION: &str = "11.0.0";
/// Rowmetry reads once a minute unless told otherwise, so a finer step shows nothing more, and `$__rate_interval` must span a few
/// reads.
const STEP: &str = "1m";
/// From this width on a legend that is a table stands beside the lines; it would cover half of them below.
const WIDE: u32 = 16;
/// Series that are no measurement but what one is compared with.
const LIMITS: &str = r"/^(?:\S+ )?limit$/";
/// Fields that the transformation `reduce` makes of series.
const REDUCED_NAME: &str = "Field";
const REDUCED_VALUE: &str = "Last *";

/// The data source that the dashboard's variable names.
pub(super) fn datasource() -> Json {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// The panel as Grafana keeps it. `runbook` is the link to the section of its alert.
pub(super) fn panel(panel: &Panel, id: u64, place: Place, runbook: Option<&str>) -> Json {
    let mut json = Map::new();
    json.insert("id".into(), json!(id));
    json.insert("type".into(), json!(panel.kind.name()));
    json.insert("title".into(), json!(panel.title));
    json.insert("description".into(), json!(description(panel)));
    json.insert("gridPos".into(), json!({"h": place.height, "w": place.width, "x": place.x, "y": place.y}));
    json.insert("pluginVersion".into(), json!(PLUGIN_VERSION));
    if let (Some(url), Some(alert)) = (runbook, &panel.alert) {
        let alert = alert.rsplit('/').next().unwrap_or(alert);
        let link = json!({"title": format!("Runbook: {alert}"), "url": url, "targetBlank": true});
        json.insert("links".into(), json!([link]));
    }
    if panel.kind.has_queries() {
        json.insert("datasource".into(), datasource());
        json.insert("interval".into(), json!(STEP));
        json.insert("fieldConfig".into(), json!({"defaults": defaults(panel), "overrides": overrides(panel)}));
    }
    json.insert("options".into(), options(panel, place.width));
    if panel.kind.has_queries() {
        let targets: Vec<Json> =
            panel.queries.iter().zip('A'..='Z').map(|(query, letter)| target(panel, query, letter)).collect();
        json.insert("targets".into(), Json::Array(targets));
    }
    match panel.kind {
        Kind::Table => {
            json.insert("transformations".into(), table::transformations(panel));
        }
        Kind::Barchart => {
            json.insert(
                "transformations".into(),
                json!([
                    {"id": "reduce", "options": {"labelsToFields": false, "mode": "seriesToRows", "reducers": ["lastNotNull"]}},
                    {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": REDUCED_VALUE, "desc": true}]}},
                ]),
            );
        }
        _ => {}
    }
    Json::Object(json)
}

fn description(panel: &Panel) -> String {
    let mut text = panel.description.trim().to_owned();
    if let Some(until) = &panel.empty_until {
        text.push_str(&format!("\n\n{}.", empty_until(until)));
    }
    text
}

fn empty_until(until: &str) -> String {
    format!("Empty until {}", until.trim().trim_end_matches('.'))
}

fn target(panel: &Panel, query: &Query, letter: char) -> Json {
    let is_instant = query.instant.unwrap_or(panel.kind.is_instant());
    let format = match panel.kind {
        Kind::Table => "table",
        Kind::Heatmap => "heatmap",
        _ => "time_series",
    };
    let legend = match (&query.legend, panel.kind) {
        (Some(legend), _) => legend.as_str(),
        (None, Kind::Heatmap) => "{{le}}",
        (None, _) => "__auto",
    };
    let mut target = Map::new();
    target.insert("refId".into(), json!(letter.to_string()));
    target.insert("datasource".into(), datasource());
    target.insert("editorMode".into(), json!("code"));
    target.insert("expr".into(), json!(query.expr.trim()));
    target.insert("legendFormat".into(), json!(legend));
    target.insert("format".into(), json!(format));
    target.insert("instant".into(), json!(is_instant));
    target.insert("range".into(), json!(!is_instant));
    target.insert("exemplar".into(), json!(query.exemplars));
    // What is counted for each bar or cell must count once: there the window of a rate is hardly longer than the step.
    let counts_each_step = panel.kind == Kind::Heatmap || panel.draw == Some(Draw::Bars);
    if !counts_each_step {
        target.insert("interval".into(), json!(STEP));
    }
    if query.hide {
        target.insert("hide".into(), json!(true));
    }
    Json::Object(target)
}

fn defaults(panel: &Panel) -> Json {
    let mut defaults = Map::new();
    if let Some(unit) = &panel.unit {
        defaults.insert("unit".into(), json!(unit));
    }
    if let Some(decimals) = panel.decimals {
        defaults.insert("decimals".into(), json!(decimals));
    }
    for (name, limit) in [("min", panel.min), ("max", panel.max)] {
        if let Some(limit) = limit {
            defaults.insert(name.into(), number(limit));
        }
    }
    if let Some(until) = &panel.empty_until {
        defaults.insert("noValue".into(), json!(empty_until(until)));
    }
    defaults.insert("color".into(), color(panel));
    defaults.insert("thresholds".into(), thresholds(&panel.thresholds));
    defaults.insert("mappings".into(), mappings(&panel.mappings));
    defaults.insert("custom".into(), custom(panel));
    Json::Object(defaults)
}

fn color(panel: &Panel) -> Json {
    let has_thresholds = !panel.thresholds.is_empty();
    match panel.kind {
        Kind::Timeseries | Kind::Piechart => json!({"mode": "palette-classic"}),
        // Thresholds would show ranges of values where the mappings have words.
        Kind::StateTimeline if !panel.mappings.is_empty() => json!({"mode": "fixed", "fixedColor": NEUTRAL}),
        Kind::Stat if !has_thresholds => json!({"mode": "fixed", "fixedColor": "text"}),
        _ if has_thresholds => json!({"mode": "thresholds"}),
        Kind::StateTimeline => json!({"mode": "palette-classic"}),
        Kind::Table => json!({"mode": "thresholds"}),
        _ => json!({"mode": "fixed", "fixedColor": NEUTRAL}),
    }
}

/// Fields of the kind's own.
fn custom(panel: &Panel) -> Json {
    let shown = json!({"legend": false, "tooltip": false, "viz": false});
    match panel.kind {
        Kind::Timeseries => timeseries(panel, shown),
        Kind::Barchart => json!({
            "axisBorderShow": false,
            "axisCenteredZero": false,
            "axisColorMode": "text",
            "axisLabel": "",
            "axisPlacement": "auto",
            "fillOpacity": panel.fill.unwrap_or(80),
            "gradientMode": "none",
            "hideFrom": shown,
            "lineWidth": 1,
            "scaleDistribution": scale(panel.log),
            "thresholdsStyle": {"mode": "off"},
        }),
        Kind::Heatmap => json!({"hideFrom": shown, "scaleDistribution": {"type": "linear"}}),
        Kind::StateTimeline => json!({
            "fillOpacity": panel.fill.unwrap_or(75),
            "hideFrom": shown,
            "insertNulls": false,
            "lineWidth": 0,
            "spanNulls": false,
        }),
        Kind::Table => json!({"align": "auto", "cellOptions": {"type": "auto"}, "filterable": true, "inspect": false}),
        Kind::Piechart => json!({"hideFrom": shown}),
        _ => json!({}),
    }
}

fn timeseries(panel: &Panel, shown: Json) -> Json {
    let draw = panel.draw.unwrap_or(Draw::Lines);
    let is_single = matches!(&panel.queries[..], [Query { legend: Some(legend), .. }] if !legend.contains("{{"));
    let (style, fill, line) = match draw {
        Draw::Lines if panel.stack => ("line", 35, 1),
        // Where lines cross, what is filled below them is mud.
        Draw::Lines => ("line", if is_single { 10 } else { 0 }, 1),
        Draw::Bars => ("bars", 80, 0),
        Draw::Points => ("points", 0, 1),
    };
    let mut custom = json!({
        "axisBorderShow": false,
        "axisCenteredZero": false,
        "axisColorMode": "text",
        "axisLabel": "",
        "axisPlacement": "auto",
        "barAlignment": 0,
        "drawStyle": style,
        "fillOpacity": panel.fill.unwrap_or(fill),
        "gradientMode": "none",
        "hideFrom": shown,
        "insertNulls": false,
        "lineInterpolation": "linear",
        "lineWidth": line,
        "pointSize": if draw == Draw::Points { 6 } else { 4 },
        "scaleDistribution": scale(panel.log),
        "showPoints": if draw == Draw::Points { "always" } else { "auto" },
        "spanNulls": false,
        "stacking": {"group": "A", "mode": if panel.stack { "normal" } else { "none" }},
        "thresholdsStyle": {"mode": if panel.thresholds.len() > 1 { "dashed" } else { "off" }},
    });
    let is_moment = panel.unit.as_deref().is_some_and(|unit| unit.starts_with("dateTime"));
    if panel.min.is_none() && !panel.log && !is_moment {
        custom["axisSoftMin"] = json!(0);
    }
    custom
}

fn scale(is_logarithmic: bool) -> Json {
    if is_logarithmic { json!({"type": "log", "log": 10}) } else { json!({"type": "linear"}) }
}

fn overrides(panel: &Panel) -> Json {
    Json::Array(match panel.kind {
        Kind::Table => table::overrides(panel),
        Kind::Barchart if !panel.colors.is_empty() => vec![json!({
            "matcher": {"id": "byName", "options": REDUCED_NAME},
            "properties": [{"id": "mappings", "value": color_mappings(&panel.colors)}],
        })],
        Kind::Timeseries if panel.draw.is_none_or(|draw| draw == Draw::Lines) => {
            std::iter::once(limits()).chain(colors(&panel.colors)).collect()
        }
        _ => colors(&panel.colors),
    })
}

/// A limit is a dashed line that nothing stands upon. The file's own colours come after it.
fn limits() -> Json {
    json!({
        "matcher": {"id": "byRegexp", "options": LIMITS},
        "properties": [
            {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
            {"id": "custom.fillOpacity", "value": 0},
            {"id": "custom.lineStyle", "value": {"dash": [10, 10], "fill": "dash"}},
            {"id": "custom.stacking", "value": {"group": "A", "mode": "none"}},
        ],
    })
}

fn options(panel: &Panel, width: u32) -> Json {
    let reduce = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
    match panel.kind {
        Kind::Stat => json!({
            "colorMode": "value",
            "graphMode": if panel.queries.iter().any(|query| query.instant == Some(false)) { "area" } else { "none" },
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": reduce,
            "showPercentChange": false,
            "textMode": "auto",
            "wideLayout": true,
        }),
        Kind::Gauge => json!({
            "minVizHeight": 75,
            "minVizWidth": 75,
            "orientation": "auto",
            "reduceOptions": reduce,
            "showThresholdLabels": false,
            "showThresholdMarkers": true,
            "sizing": "auto",
        }),
        Kind::Bargauge => json!({
            "displayMode": "basic",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false},
            "maxVizHeight": 32,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "left",
            "orientation": "horizontal",
            "reduceOptions": reduce,
            "showUnfilled": true,
            "sizing": "auto",
            "valueMode": "color",
        }),
        Kind::Timeseries => json!({"legend": legend(panel, Legend::List, width), "tooltip": tooltip("multi", "desc")}),
        Kind::StateTimeline => json!({
            "alignValue": "left",
            "legend": legend(panel, Legend::Hidden, width),
            "mergeValues": true,
            "rowHeight": 0.85,
            "showValue": "auto",
            "tooltip": tooltip("single", "none"),
        }),
        Kind::Barchart => barchart(panel),
        Kind::Piechart => json!({
            "displayLabels": [],
            "legend": {
                "calcs": [],
                "displayMode": "table",
                "placement": "right",
                "showLegend": panel.legend != Some(Legend::Hidden),
                "values": ["value", "percent"],
            },
            "pieType": "donut",
            "reduceOptions": reduce,
            "tooltip": tooltip("single", "none"),
        }),
        Kind::Table => json!({
            "cellHeight": "sm",
            "showHeader": true,
            "sortBy": panel.sort.iter()
                .map(|sort| json!({"displayName": sort.column, "desc": sort.descending})).collect::<Vec<_>>(),
        }),
        Kind::Heatmap => heatmap(panel),
        Kind::Text => json!({
            "code": {"language": "plaintext", "showLineNumbers": false, "showMiniMap": false},
            "content": panel.content.as_deref().unwrap_or(&panel.description).trim(),
            "mode": "markdown",
        }),
        Kind::Dashlist => json!({
            "includeVars": true,
            "keepTime": true,
            "maxItems": 100,
            "query": "",
            "showFolderNames": false,
            "showHeadings": false,
            "showRecentlyViewed": false,
            "showSearch": true,
            "showStarred": false,
            "tags": [super::grafana::TAG],
        }),
    }
}

fn barchart(panel: &Panel) -> Json {
    let mut options = json!({
        "barRadius": 0,
        "barWidth": 0.8,
        "fullHighlight": false,
        "groupWidth": 0.7,
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false},
        "orientation": "auto",
        "showValue": "auto",
        "stacking": "none",
        "tooltip": tooltip("single", "none"),
        "xField": REDUCED_NAME,
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0,
    });
    if !panel.colors.is_empty() {
        options["colorByField"] = json!(REDUCED_NAME);
    }
    options
}

fn heatmap(panel: &Panel) -> Json {
    let mut axis = json!({"axisPlacement": "left", "reverse": false, "unit": panel.unit.as_deref().unwrap_or("short")});
    if let Some(decimals) = panel.decimals {
        axis["decimals"] = json!(decimals);
    }
    json!({
        "calculate": false,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 0},
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": false,
            "scale": "exponential",
            "scheme": "Oranges",
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": panel.legend != Some(Legend::Hidden)},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": true, "yHistogram": true},
        "yAxis": axis,
    })
}

fn legend(panel: &Panel, default: Legend, width: u32) -> Json {
    let legend = panel.legend.unwrap_or(default);
    let is_table = legend == Legend::Table;
    let calcs: &[&str] = if is_table { &["lastNotNull", "max", "mean"] } else { &[] };
    json!({
        "calcs": calcs,
        "displayMode": if is_table { "table" } else { "list" },
        "placement": if is_table && width >= WIDE { "right" } else { "bottom" },
        "showLegend": legend != Legend::Hidden,
    })
}

fn tooltip(mode: &str, sort: &str) -> Json {
    json!({"hideZeros": false, "mode": mode, "sort": sort})
}
