//! The header of every board of an application or a kind of server: alerts, age of the data, failing collectors, series.
//!
//! It is the same on each, so that the first look always falls on the same four numbers. What the application does is the file's
//! business.

use super::{Dashboard, Kind, Panel, Query, Threshold};

/// The pack of Rowmetry's own dashboard, which is about all collectors.
const OWN: &str = "rowmetry";
/// Height of the header in lines of the grid.
const HEIGHT: u32 = 3;
/// Width of each of its panels.
const WIDTH: u32 = 6;
/// Seconds without a read that are unusual whatever intervals are configured, and those that are wrong.
const AGED: [f64; 2] = [900.0, 3600.0];

/// Selects the alerts of the dashboard among `ALERTS`, with a comma before.
pub(super) fn alerts(dashboard: &Dashboard) -> String {
    match (&dashboard.app, &dashboard.pack) {
        (Some(app), _) => format!(",app=\"{app}\""),
        // Alerts of a kind of server bear the application that it serves; what they have in common is how their names begin.
        (None, Some(pack)) => format!(",alertname=~\"(?i:{pack}).*\""),
        (None, None) => String::new(),
    }
}

/// The panels; none where the dashboard is of no application and no pack.
pub(super) fn panels(dashboard: &Dashboard) -> Vec<Panel> {
    let pack = match (&dashboard.app, &dashboard.pack) {
        (None, None) => return Vec::new(),
        // Its own dashboard is about all collectors, and where metrics are named, so is the choice among them.
        (None, Some(pack)) if pack == OWN => String::new(),
        _ if dashboard.metrics.is_some() => String::new(),
        (Some(pack), _) | (None, Some(pack)) => format!(",pack=\"{pack}\""),
    };
    let (metric, made) = match &dashboard.metrics {
        None => (String::new(), String::new()),
        Some(names) => (
            format!(",metric=~\"{names}\""),
            format!(
                " and on (job, source, pack, collector) rowmetry_metric_series{{job=~\"$job\",metric=~\"{names}\"}}"
            ),
        ),
    };
    let alerts = alerts(dashboard);
    let firing = format!("ALERTS{{alertstate=\"firing\",job=~\"$job\"{alerts},severity=~\"critical|warning\"}}");
    vec![
        stat(
            "Firing alerts",
            "Alerts that fire now and are critical or warnings. 0 also when Prometheus does not evaluate the alert rules.",
            "short",
            format!("count({firing}) or vector(0)"),
            &[("green", None), ("red", Some(1.0))],
        ),
        stat(
            "Data age",
            "Time since the collector that has waited longest was read. It grows to the longest interval and falls again; more means that \
             what stands below is old.",
            "s",
            format!("time() - min(rowmetry_collector_last_success_timestamp_seconds{{job=~\"$job\"{pack}}}{made})"),
            &[("green", None), ("orange", Some(AGED[0])), ("red", Some(AGED[1]))],
        ),
        stat(
            "Collectors failing",
            "Collectors whose last run failed. Their metrics stand still or are absent; the reason is on Rowmetry's own dashboard.",
            "short",
            format!("count((rowmetry_collector_up{{job=~\"$job\"{pack}}} == 0){made}) or vector(0)"),
            &[("green", None), ("red", Some(1.0))],
        ),
        stat(
            "Series",
            "Series that are made for this dashboard.",
            "short",
            format!("sum(rowmetry_metric_series{{job=~\"$job\"{pack}{metric}}})"),
            &[],
        ),
    ]
}

fn stat(title: &str, description: &str, unit: &str, expr: String, thresholds: &[(&str, Option<f64>)]) -> Panel {
    Panel {
        title: title.into(),
        description: description.into(),
        unit: Some(unit.into()),
        width: Some(WIDTH),
        height: Some(HEIGHT),
        queries: vec![Query { expr, legend: Some(title.into()), instant: None, exemplars: false, hide: false }],
        thresholds: thresholds.iter().map(|(color, from)| Threshold { color: (*color).into(), from: *from }).collect(),
        ..Panel::empty(Kind::Stat)
    }
}

impl Panel {
    fn empty(kind: Kind) -> Panel {
        Panel {
            title: String::new(),
            kind,
            description: String::new(),
            unit: None,
            decimals: None,
            min: None,
            max: None,
            width: None,
            height: None,
            queries: Vec::new(),
            thresholds: Vec::new(),
            mappings: Default::default(),
            stack: false,
            fill: None,
            draw: None,
            log: false,
            legend: None,
            colors: Default::default(),
            columns: Vec::new(),
            sort: None,
            alert: None,
            empty_until: None,
            content: None,
        }
    }
}
