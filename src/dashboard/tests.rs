//! What a file becomes, and what is told of one that is wrong.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;

/// One panel of each kind, with everything that can be said of it.
const EVERYTHING: &str = include_str!("tests/everything.yaml");

fn parsed(text: &str) -> Dashboard {
    match parse("shop.yaml", text) {
        Ok(dashboard) => dashboard,
        Err(errors) => panic!("\n{errors}"),
    }
}

fn json(text: &str) -> Json {
    serde_json::from_str(&grafana(&parsed(text))).expect("it is JSON")
}

/// All panels but rows, those of collapsed rows too.
fn panels(json: &Json) -> Vec<&Json> {
    let list = |json: &'static str| move |panel: &Json| panel["type"] == json;
    let is_row = list("row");
    json["panels"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()))
        .filter(|panel| !is_row(panel))
        .collect()
}

fn complaints(text: &str) -> Vec<String> {
    match parse("shop.yaml", text) {
        Ok(_) => Vec::new(),
        Err(DashboardErrors(complaints)) => complaints.iter().map(ToString::to_string).collect(),
    }
}

/// A board with one panel, given by the lines of its fields.
fn one_panel(fields: &str) -> String {
    format!(
        "uid: rowmetry-shop\ntitle: Shop\ndescription: It sells.\napp: shop\nrows:\n  - title: Is it healthy?\n    panels:\n      - title: Orders\n        description: Orders now.\n{fields}"
    )
}

const STAT: &str = "        kind: stat\n        queries: [{expr: 'sum(orders{job=~\"$job\"})'}]\n";

#[test]
fn every_kind_becomes_what_grafana_keeps() {
    let first = grafana(&parsed(EVERYTHING));
    assert_eq!(first, grafana(&parsed(EVERYTHING)), "the same text makes the same bytes");
    insta::assert_snapshot!(first);
}

#[test]
fn nothing_overlaps_and_numbers_are_unique() {
    let json = json(EVERYTHING);
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let number = |json: &Json| json.as_u64().expect("a number");
    for panel in panels(&json) {
        assert!(ids.insert(number(&panel["id"])), "{panel}");
        let place = &panel["gridPos"];
        let (x, y) = (number(&place["x"]), number(&place["y"]));
        assert!(x + number(&place["w"]) <= 24, "{panel}");
        // A collapsed row's panels stand where they will when it opens, and what follows moves down then.
        if panel["title"] == "Later" {
            continue;
        }
        for column in x..x + number(&place["w"]) {
            for line in y..y + number(&place["h"]) {
                assert!(taken.insert((column, line)), "{} stands on another", panel["title"]);
            }
        }
    }
}

#[test]
fn lines_are_filled_and_high_panels_leave_room_beside_them() {
    let sizes = |panels: &[(Kind, Option<u32>, Option<u32>)]| {
        let template = parsed(&one_panel(STAT)).rows[0].panels[0].clone();
        let panels: Vec<Panel> = panels
            .iter()
            .map(|(kind, width, height)| Panel { kind: *kind, width: *width, height: *height, ..template.clone() })
            .collect();
        let (places, below) = layout::places(&panels, 0);
        (places.iter().map(|place| (place.x, place.y, place.width, place.height)).collect::<Vec<_>>(), below)
    };
    let stat = (Kind::Stat, None, None);
    assert_eq!(sizes(&[stat; 4]), (vec![(0, 0, 6, 4), (6, 0, 6, 4), (12, 0, 6, 4), (18, 0, 6, 4)], 4));
    assert_eq!(sizes(&[stat, stat]).0, [(0, 0, 8, 4), (8, 0, 8, 4)], "at most the double");
    assert_eq!(sizes(&[(Kind::Stat, Some(5), None), stat]).0, [(0, 0, 5, 4), (5, 0, 8, 4)], "what was said stays");
    let high = (Kind::Timeseries, Some(16), None);
    let low = (Kind::Stat, Some(8), None);
    assert_eq!(sizes(&[high, low, low]), (vec![(0, 0, 16, 8), (16, 0, 8, 4), (16, 4, 8, 4)], 8));
    assert_eq!(sizes(&[high, low]), (vec![(0, 0, 16, 8), (16, 0, 8, 8)], 8), "it reaches down beside the high one");
    let higher = (Kind::Timeseries, Some(16), Some(9));
    assert_eq!(sizes(&[higher, low]).0, [(0, 0, 16, 9), (16, 0, 8, 4)], "a hole as large as that stays");
    let said = (Kind::Stat, Some(8), Some(3));
    assert_eq!(sizes(&[high, said]).0, [(0, 0, 16, 8), (16, 0, 8, 3)]);
}

#[test]
fn a_panel_keeps_its_number_when_another_is_put_before_it() {
    let id = |json: &Json, title: &str| {
        panels(json).iter().find(|panel| panel["title"] == title).expect("it is there")["id"].clone()
    };
    let alone = json(&one_panel(STAT));
    let before = format!("{}      - title: More\n        description: More.\n{STAT}", one_panel(STAT));
    assert_eq!(id(&alone, "Orders"), id(&json(&before), "Orders"));
}

#[test]
fn a_kind_of_server_finds_its_alerts_by_their_names() {
    let text = one_panel(STAT).replace("app: shop", "pack: redis");
    let json = json(&text);
    let header = panels(&json)[0];
    assert_eq!(
        header["targets"][0]["expr"],
        "count(ALERTS{alertstate=\"firing\",job=~\"$job\",alertname=~\"(?i:redis).*\",severity=~\"critical|warning\"}) or vector(0)"
    );
    assert_eq!(
        panels(&json)[1]["targets"][0]["expr"],
        "time() - min(rowmetry_collector_last_success_timestamp_seconds{job=~\"$job\",pack=\"redis\"})"
    );
    // Rowmetry's own dashboard is about all collectors.
    let own = super::tests::json(&one_panel(STAT).replace("app: shop", "pack: rowmetry"));
    assert_eq!(panels(&own)[3]["targets"][0]["expr"], "sum(rowmetry_metric_series{job=~\"$job\"})");
    // Where several packs make the same metrics, those collectors count that do.
    let by_name = super::tests::json(&one_panel(STAT).replace("app: shop", "pack: health\nmetrics: shop_health_.+"));
    assert_eq!(
        panels(&by_name)[2]["targets"][0]["expr"],
        "count((rowmetry_collector_up{job=~\"$job\"} == 0) and on (job, source, pack, collector) \
         rowmetry_metric_series{job=~\"$job\",metric=~\"shop_health_.+\"}) or vector(0)"
    );
    // A board of nothing in particular has no header.
    let none = super::tests::json(&one_panel(STAT).replace("app: shop\n", ""));
    assert_eq!(panels(&none).len(), 1);
}

#[test]
fn the_value_of_the_only_query_has_another_name() {
    let table = |queries: &str| {
        let text = one_panel(&format!(
            "        kind: table\n        queries: [{queries}]\n        columns: [{{label: shop, title: Shop}}, {{query: A, title: Orders}}]\n"
        ));
        let json = json(&text);
        panels(&json)[4]["transformations"].clone()
    };
    let query = "{expr: 'sum by (shop) (orders{job=~\"$job\"})'}";
    let one = table(query);
    assert_eq!(one[0]["options"]["include"]["names"], serde_json::json!(["shop", "Value"]));
    let two = table(&format!("{query}, {query}"));
    assert_eq!(two[0]["id"], "merge");
    assert_eq!(two[1]["options"]["include"]["names"], serde_json::json!(["shop", "Value #A"]));
    assert_eq!(table(&format!("{query}, {}", query.replace("{expr", "{hide: true, expr"))), one);
}

#[test]
fn everything_wrong_is_told_with_line_and_mend() {
    let text = include_str!("tests/wrong.yaml");
    insta::assert_snapshot!(complaints(text).join("\n"));
    let unfit = include_str!("tests/unfit.yaml");
    insta::assert_snapshot!("unfit", complaints(unfit).join("\n"));
}

#[test]
fn selectors_and_variables_are_found_as_prometheus_reads_them() {
    let stat =
        |expr: &str| complaints(&one_panel(&format!("        kind: stat\n        queries: [{{expr: '{expr}'}}]\n")));
    for right in [
        r#"sum(a{job=~"$job"}) / on (job) b{x="}",job=~"$job"}"#,
        r#"label_replace(a{job=~"$job"}, "x", "$1", "y", "(.*)$")"#,
        r#"rate(a{x=~"a{2}",job=~"$job"}[$__rate_interval])"#,
        r#"a{job=~"$job"} > ${__range_s}"#,
        "vector(0)",
    ] {
        assert_eq!(stat(right), Vec::<String>::new(), "{right}");
    }
    for wrong in [
        r#"sum(a{job=~"$job"}) / on (job) b{x="y"}"#,
        r#"a{x="job=~\"$job\""}"#,
        r#"a{job=~"$job",tenant=~"$tenant"}"#,
        r#"a{job=~"$job",tenant=~"${tenant:regex}"}"#,
        r#"a{job="$job"}"#,
    ] {
        assert_eq!(stat(wrong).len(), 1, "{wrong}: {:?}", stat(wrong));
    }
}

#[test]
fn our_own_dashboards_are_right() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let mut uids = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("there are dashboards").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let stem = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("dashboards can be read");
        let dashboard = match parse(&path.display().to_string(), &text) {
            Ok(dashboard) => dashboard,
            Err(errors) => panic!("\n{errors}"),
        };
        assert_eq!(dashboard.uid, format!("rowmetry-{}", stem.replace('_', "-")), "{}", path.display());
        assert_eq!(dashboard.stem(), stem);
        let made = grafana(&dashboard);
        assert!(serde_json::from_str::<Json>(&made).is_ok());
        let committed = std::fs::read_to_string(path.with_extension("json")).unwrap_or_default();
        assert!(committed == made, "dashboards/{stem}.json is stale; run `make docs`");
        uids.insert(dashboard.uid);
    }
    assert!(uids.contains("rowmetry-home"), "there is a front page");
}
