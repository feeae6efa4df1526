//! The dashboard as a whole in Grafana's classic JSON: variables, links, annotations, rows.
//!
//! The classic form is what every Grafana from 11 to 13 takes, from a file, by its API and pasted by hand. Nothing in it names a
//! Grafana, a Prometheus or an environment.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::panel::{datasource, panel};
use super::{Dashboard, Panel, Row, Variable, header, layout};

/// The form of the JSON: that of Grafana 11.0, which newer ones bring up to date.
const SCHEMA_VERSION: u32 = 39;
/// All boards bear it, so that each links to all.
pub(super) const TAG: &str = "rowmetry";
/// The dashboards' variable that holds where runbooks are.
pub(super) const RUNBOOKS: &str = "runbooks";
/// Where runbooks are unless the variable says otherwise.
const RUNBOOKS_AT: &str = "https://github.com/rowmetry/rowmetry/blob/main/docs/apps";
/// Numbers of panels lie below it.
const IDS: u64 = 1_000_000;

/// The JSON that Grafana imports, with a line end at its end.
pub fn grafana(dashboard: &Dashboard) -> String {
    let mut tags = vec![TAG.to_owned()];
    tags.extend(dashboard.app.iter().chain(&dashboard.pack).filter(|name| *name != TAG).cloned());
    let json = json!({
        "annotations": {"list": annotations(dashboard)},
        "description": dashboard.description.trim(),
        "editable": true,
        "fiscalYearStartMonth": 0,
        // One cross-hair on all panels.
        "graphTooltip": 1,
        "id": null,
        "links": links(dashboard),
        "panels": panels(dashboard),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": tags,
        "templating": {"list": variables(dashboard)},
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": dashboard.title.trim(),
        "uid": dashboard.uid,
        "version": 1,
        "weekStart": "",
    });
    format!("{json:#}\n")
}

fn annotations(dashboard: &Dashboard) -> Json {
    let expr = format!("ALERTS{{alertstate=\"firing\",job=~\"$job\"{}}}", header::alerts(dashboard));
    json!([
        {
            "builtIn": 1,
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": true,
            "hide": true,
            "iconColor": "rgba(0, 211, 255, 1)",
            "name": "Annotations & Alerts",
            "type": "dashboard",
        },
        {
            "datasource": datasource(),
            "enable": true,
            "expr": expr,
            "hide": false,
            "iconColor": "red",
            "name": "Firing alerts",
            "step": "1m",
            "tagKeys": "severity",
            "target": {"expr": expr, "interval": "1m", "refId": "Anno"},
            "textFormat": "{{severity}}",
            "titleFormat": "{{alertname}}",
        },
    ])
}

fn links(dashboard: &Dashboard) -> Json {
    let link = |kind: &str, title: &str, icon: &str, tags: &[&str], url: &str| {
        let is_list = kind == "dashboards";
        json!({
            "asDropdown": is_list,
            "icon": icon,
            "includeVars": is_list,
            "keepTime": is_list,
            "tags": tags,
            "targetBlank": !is_list,
            "title": title,
            "tooltip": "",
            "type": kind,
            "url": url,
        })
    };
    let has_page = dashboard.app.is_some() || dashboard.pack.is_some();
    let page =
        if has_page { format!("${{{RUNBOOKS}:raw}}/{}.md", dashboard.stem()) } else { format!("${{{RUNBOOKS}:raw}}") };
    json!([
        link("dashboards", "Rowmetry", "external link", &[TAG], ""),
        link("link", if has_page { "Runbook" } else { "Runbooks" }, "doc", &[], &page),
    ])
}

fn variables(dashboard: &Dashboard) -> Vec<Json> {
    let mut list = vec![
        json!({
            "current": {},
            "hide": 0,
            "includeAll": false,
            "label": "Data source",
            "multi": false,
            "name": "datasource",
            "options": [],
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "skipUrlSync": false,
            "type": "datasource",
        }),
        // All means each job that is Rowmetry's: other exporters have metrics of the same names.
        choice("job", "Job", "label_values(rowmetry_build_info, job)", None),
    ];
    for Variable { name, title, metric, label } in &dashboard.variables {
        let query = format!("label_values({metric}{{job=~\"$job\"}}, {label})");
        list.push(choice(name, title.as_ref().unwrap_or(name), &query, Some(".*")));
    }
    list.push(json!({
        "current": {"selected": false, "text": RUNBOOKS_AT, "value": RUNBOOKS_AT},
        "hide": 2,
        "label": "Runbooks",
        "name": RUNBOOKS,
        "query": RUNBOOKS_AT,
        "skipUrlSync": true,
        "type": "constant",
    }));
    list
}

/// One, several or all of what a query brings.
fn choice(name: &str, title: &str, query: &str, all: Option<&str>) -> Json {
    json!({
        "allValue": all,
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        "datasource": datasource(),
        "definition": query,
        "hide": 0,
        "includeAll": true,
        "label": title,
        "multi": true,
        "name": name,
        "options": [],
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "regex": "",
        "skipUrlSync": false,
        "sort": 1,
        "type": "query",
    })
}

/// The header, then each row with its panels; those of a collapsed row are within it.
fn panels(dashboard: &Dashboard) -> Vec<Json> {
    let mut ids = Ids::default();
    let mut all = Vec::new();
    let (header, mut top) = place(dashboard, &header::panels(dashboard), "", 0, &mut ids);
    all.extend(header);
    for Row { title, collapsed, panels } in &dashboard.rows {
        let id = ids.of("", title);
        let (placed, below) = place(dashboard, panels, title, top + 1, &mut ids);
        let (within, after) = if *collapsed { (placed, Vec::new()) } else { (Vec::new(), placed) };
        all.push(json!({
            "id": id,
            "type": "row",
            "title": title,
            "collapsed": collapsed,
            "gridPos": {"h": 1, "w": layout::COLUMNS, "x": 0, "y": top},
            "panels": within,
        }));
        all.extend(after);
        top = if *collapsed { top + 1 } else { below };
    }
    all
}

fn place(dashboard: &Dashboard, panels: &[Panel], row: &str, top: u32, ids: &mut Ids) -> (Vec<Json>, u32) {
    let (places, below) = layout::places(panels, top);
    let json = panels
        .iter()
        .zip(places)
        .map(|(one, place)| panel(one, ids.of(row, &one.title), place, runbook(dashboard, one).as_deref()))
        .collect();
    (json, below)
}

/// Where the runbook tells of the panel's alert.
fn runbook(dashboard: &Dashboard, panel: &Panel) -> Option<String> {
    let alert = panel.alert.as_deref()?;
    let stem = dashboard.stem();
    let (page, alert) = alert.split_once('/').unwrap_or((&stem, alert));
    Some(format!("${{{RUNBOOKS}:raw}}/{page}.md#{}", alert.to_lowercase()))
}

/// Numbers of panels. They come from the titles, so that links to a panel stay right when another is put before it.
#[derive(Default)]
struct Ids(BTreeSet<u64>);

impl Ids {
    fn of(&mut self, row: &str, title: &str) -> u64 {
        let mut id = xxh3_64(format!("{row}\n{title}").as_bytes()) % IDS;
        while id == 0 || !self.0.insert(id) {
            id = (id + 1) % IDS;
        }
        id
    }
}
