mod logs;
mod otlp;

use std::path::Path;

use secrecy::ExposeSecret;

use super::*;
use crate::config::{Budget, Idle, Limits, SourceSettings, Start, WebSettings};
use crate::pack::System;
use crate::telemetry::metrics::AlertLimit;

const PACK: &str = "app: plants\ntitle: Plants\nparameters: {budget: {value: 5, help: x, gauge: plants_budget}}\ncollectors:\n  - name: sprouts\n    rows: {table: sprout, key: id, time: at}\n    metrics:\n      - {counter: plants_sprouts_total, help: Sprouts.}\n";

/// A folder with `c.yaml`, the pack `plants.yaml`, and `secret` with a URL.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pack = folder.path().join("plants.yaml");
    let config =
        config.replace("PLANTS", &pack.display().to_string()).replace("FOLDER", &folder.path().display().to_string());
    std::fs::write(folder.path().join("c.yaml"), config).expect("writable");
    std::fs::write(folder.path().join("secret"), "postgres://app:hunter2@from-file/d\n").expect("writable");
    std::fs::write(pack, PACK).expect("writable");
    folder
}

fn overrides(folder: &Path) -> Overrides {
    Overrides { config: Some(folder.join("c.yaml")), ..Overrides::default() }
}

fn variable(name: &str) -> Option<String> {
    match name {
        "DATABASE_URL" => Some("postgres://app:hunter2@db.example/shop".into()),
        "BAD_URL" => Some("mysql://app:hunter2@db.example/shop".into()),
        "SECRET" => Some("hunter2".into()),
        "ROWS" => Some("500".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn settings(config: &str) -> Settings {
    let folder = folder(config);
    load(&overrides(folder.path()), &variable).unwrap_or_else(|errors| panic!("\n{errors}"))
}

/// The complaints, with the file's name shortened.
fn complaints(config: &str) -> Vec<String> {
    let folder = folder(config);
    let prefix = format!("{}/", folder.path().display());
    let errors = load(&overrides(folder.path()), &variable).expect_err(config);
    let told: Vec<String> = errors.0.iter().map(|complaint| complaint.to_string().replace(&prefix, "")).collect();
    for text in told.iter().chain([&format!("{errors:?}")]) {
        assert!(!text.contains("hunter2"), "a secret in {text}");
    }
    told
}

#[test]
fn a_variable_alone_is_a_configuration() {
    let settings = load(&Overrides::default(), &variable).expect("DATABASE_URL is enough");
    let [source] = settings.sources.as_slice() else { panic!("one source") };
    assert_eq!((source.name.as_str(), source.upstream), ("default", crate::config::Upstream::from(System::Postgres)));
    assert_eq!(source.url.expose_secret(), "postgres://app:hunter2@db.example/shop");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:9469");
    assert_eq!(settings.state_dir, None);
    assert!(!format!("{settings:?}").contains("hunter2"));

    let nothing = load(&Overrides::default(), &|_| None).expect_err("nothing to read").to_string();
    assert!(nothing.contains("set DATABASE_URL"), "{nothing}");
    let wrong = |name: &str| (name == "DATABASE_URL").then(|| "mysql://app:hunter2@h/d".to_owned());
    let wrong = load(&Overrides::default(), &wrong).expect_err("not supported").to_string();
    assert!(wrong.starts_with("environment: DATABASE_URL: `mysql:` is not supported"), "{wrong}");
    assert!(!wrong.contains("hunter2"));
}

#[test]
fn a_file_may_say_nothing_but_limits() {
    for config in ["", "limits: {series_per_metric: 7}\n"] {
        assert_eq!(settings(config).sources[0].name, "default");
    }
}

#[test]
fn everything_that_can_be_set_is_read() {
    let settings = settings(
        "listen: '[::1]:1234'\nstate_dir: /tmp/x\nzero_first: 90s\npacks: [PLANTS]\nparameters: {plants: {budget: 7.5}}\n\
         limits: {series_per_metric: 1, label_length: 9, seen_keys: 1001, snapshot_rows: 4}\n\
         web: {connections: 5, header_timeout: 6s, write_timeout: 7s, reload_endpoint: true}\n\
         defaults: {interval: 30s, page_rows: 100, look_back: 2h, skip: [plants/sprouts, postgres]}\n\
         sources:\n  - name: shop\n    url: ${DATABASE_URL}\n    packs: [plants]\n    skip: []\n    interval: 10s\n    intervals: {plants/sprouts: 5m}\n    \
         statement_timeout: 11s\n    lock_timeout: 12s\n    connect_timeout: 13s\n    clock_margin: 0s\n    busy_share: 0.5\n    \
         page_rows: ${ROWS}\n    start: 2026-01-01T00:00:00Z\n    audit_interval: 0s\n  - {name: file, url_file: FOLDER/secret, start: all}\n",
    );
    let seconds = Duration::from_secs;
    assert_eq!(settings.listen.to_string(), "[::1]:1234");
    assert_eq!(settings.state_dir.as_deref(), Some(Path::new("/tmp/x")));
    assert_eq!(settings.zero_first, seconds(90));
    assert!(settings.packs.iter().any(|pack| pack.app == "plants"));
    assert_eq!(settings.parameters["plants"]["budget"], 7.5);
    assert_eq!(settings.limits, Limits { series_per_metric: 1, label_length: 9, seen_keys: 1001, snapshot_rows: 4 });
    let web =
        WebSettings { connections: 5, header_timeout: seconds(6), write_timeout: seconds(7), reload_endpoint: true };
    assert_eq!(settings.web, web);
    let [shop, file] = settings.sources.as_slice() else { panic!("two sources") };
    assert_eq!(shop.packs.as_deref(), Some(&["plants".to_owned()][..]));
    assert_eq!(shop.skip, Vec::<String>::new());
    assert_eq!(shop.intervals["plants/sprouts"], seconds(300));
    assert_eq!(
        [
            shop.interval,
            shop.statement_timeout,
            shop.lock_timeout,
            shop.connect_timeout,
            shop.look_back,
            shop.clock_margin,
            shop.audit_interval
        ],
        [10, 11, 12, 13, 7200, 0, 0].map(seconds)
    );
    assert_eq!((shop.busy_share, shop.page_rows, shop.start), (0.5, 500, Start::At(1_767_225_600_000_000)));
    assert_eq!((file.interval, file.page_rows, file.start), (seconds(30), 100, Start::All));
    assert_eq!(file.skip, ["plants/sprouts", "postgres"]);
    assert_eq!(file.url.expose_secret(), "postgres://app:hunter2@from-file/d");
}

#[test]
fn the_command_line_goes_before_the_file() {
    let folder = folder("listen: 127.0.0.1:1\nstate_dir: /tmp/x\nsources: [{name: a, url: a.db, interval: 5s}]\n");
    let overrides = Overrides {
        listen: Some("127.0.0.1:2".into()),
        state_dir: Some("/tmp/y".into()),
        interval: Some(Duration::from_secs(7)),
        ..overrides(folder.path())
    };
    let settings = load(&overrides, &variable).expect("good");
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.state_dir, Some("/tmp/y".into()));
    assert_eq!(settings.sources[0].interval, Duration::from_secs(7));
    let wrong = Overrides { listen: Some("here".into()), ..overrides };
    let told = load(&wrong, &variable).expect_err("no address").to_string();
    assert!(told.starts_with("command line or environment: --listen (ROWMETRY_LISTEN): expected an address"), "{told}");
}

#[test]
fn tells_everything_at_once_with_file_line_and_mend() {
    let told = complaints(
        "lisen: x\nlisten: here\nzero_first: soon\npacks: [PLANTS]\nparameters: {plant: {a: 1}, plants: {budgt: 2}}\nlimits: {seen_keys: 5}\n\
         sources:\n  - name: Shop 1\n    url: ${NONE}\n    intervall: 5s\n    interval: 0s\n    busy_share: 2\n    page_rows: 1\n    start: yesterday\n    \
         packs: [plant]\n    skip: [plants/sprout]\n    intervals: {plants/sprouts: 0s, nowhere: 5s}\n\
         \x20 - {name: b, url: '${BAD_URL}'}\n  - {name: b, url_file: FOLDER/none}\n  - {name: c, url: a.db, url_file: b}\n",
    );
    let wanted = [
        "c.yaml:1: lisen: there is no such key; did you mean `listen`?",
        "c.yaml:2: listen: expected an address and a port",
        "c.yaml:3: zero_first: expected a length of time",
        "c.yaml:5: parameters.plant: there is no pack `plant`; did you mean `plants`?; known:",
        "c.yaml:5: parameters.plants.budgt: pack `plants` has no parameter `budgt`; did you mean `budget`?",
        "c.yaml:6: limits.seen_keys: expected a number of at least 1000",
        "c.yaml:8: sources[0].name: a source's name has",
        "c.yaml:9: sources[0].url: the environment variable NONE is not set",
        "c.yaml:10: sources[0].intervall: there is no such key; did you mean `interval`?",
        "c.yaml:11: sources[0].interval: expected a length of time above zero",
        "c.yaml:12: sources[0].busy_share: expected a share",
        "c.yaml:13: sources[0].page_rows: expected a number of rows from 10 to 1000000",
        "c.yaml:14: sources[0].start: expected `now`, `all`, or a time",
        "c.yaml:15: sources[0].packs[0]: there is no pack `plant`; did you mean `plants`?",
        "c.yaml:16: sources[0].skip[0]: there is no collector `plants/sprout`; did you mean `plants/sprouts`?",
        "c.yaml:17: sources[0].intervals.nowhere: there is no collector `nowhere`",
        "c.yaml:17: sources[0].intervals.plants/sprouts: expected a length of time above zero",
        "c.yaml:18: sources[1].url: `mysql:` is not supported",
        "c.yaml:19: sources[2].name: another source has this name",
        "c.yaml:19: sources[2].url_file: the file cannot be read: No such file",
        "c.yaml:20: sources[3].url_file: both `url` and `url_file`",
    ];
    for wanted in wanted {
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted}\nnot in {told:#?}");
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
}

#[test]
fn no_message_repeats_a_secret() {
    for config in [
        "sources: [{name: a, url: 'postgres://app:hunter2@h:x/d'}]",
        "sources: [{name: a, url: 'postgres://app:hunter2/2@h/d'}]",
        "sources: [{name: a, url: [postgres://app:hunter2@h/d]}]",
        "sources: [{name: a, url: {postgres://app: hunter2}}]",
        "sources: [postgres://app:hunter2@h/d]",
        "sources: postgres://app:hunter2@h/d",
        "postgres://app:hunter2@h/d: 1",
        "postgres://app:hunter2@h/d",
        "url: postgres://app:hunter2@h/d\nurl: postgres://app:hunter2@h/d",
        "sources: [{name: a, url: 'postgres://app:hunter2@h/d]",
        "sources:\n  - name: a\n    url: *hunter2",
        "sources:\n  - name: a\n   url: postgres://app:hunter2@h/d",
        "sources: [{name: '${SECRET} x', url: a.db}]",
        "sources: [{name: a, url: '${SECRET}'}]",
        "sources: [{name: a, url: '${postgres://app:hunter2@h/d}'}]",
        "sources: [{name: a, url: '${SECRET:-${hunter2}}'}]",
        "sources: [{name: a, url: a.db, interval: '${SECRET}'}]",
        "sources: [{name: a, url: a.db, start: '${SECRET}'}]",
        "sources: [{name: a, url: a.db, packs: ['${SECRET}']}]",
        "sources: [{name: a, url: a.db, packs: ['${DATABASE_URL}']}]",
        "sources: [{name: a, url: a.db, skip: ['${SECRET}']}]",
        "sources: [{name: a, url: a.db, skip: ['postgres://app:hunter2@h/d']}]",
        "sources: [{name: a, url: a.db, skip: ['postgres://h/d?password=hunter2']}]",
        "sources: [{name: a, url: a.db, skip: ['app:hunter2@h/d']}]",
        "sources: [{name: a, url: a.db, intervals: {'postgres://app:hunter2@h/d': 5s}}]",
        "sources: [{name: a, url: a.db, intervals: {'postgres://app:hunter2@h/d': x}}]",
        "sources: [{name: a, url: a.db, page_rows: '${SECRET}'}]",
        "parameters: {'postgres://app:hunter2@h/d': {x: 1}}",
        "parameters: {plants: {'postgres://app:hunter2@h/d': 1}}\npacks: [PLANTS]",
        "listen: '${SECRET}'",
        "packs: ['${SECRET}']",
        "packs: ['postgres://app:hunter2@h/d']",
        "packs: ['${DATABASE_URL}']",
        "sources: [{name: a, url_file: '${SECRET}'}]",
        "sources: [{name: a, url_file: '${DATABASE_URL}'}]",
    ] {
        assert!(!complaints(config).is_empty(), "{config}");
    }
}

#[test]
fn the_schema_tells_the_true_defaults() {
    let schema = schemars::schema_for!(RawConfig).to_value();
    let defaults = |properties: &serde_json::Value| -> serde_json::Value {
        let entries = properties.as_object().into_iter().flatten();
        entries
            .filter_map(|(key, of)| Some((key.clone(), of.get("default")?.clone())))
            .filter(|(_, of)| of.is_string() || of.is_number() || of.is_boolean())
            .collect()
    };
    let of = |name: &str| defaults(&schema["$defs"][name]["properties"]);
    let mut config = defaults(&schema["properties"]);
    config["limits"] = of("RawLimits");
    config["web"] = of("RawWeb");
    config["alerts"] = of("RawAlerts");
    assert_eq!(config["alerts"].as_object().map(serde_json::Map::len), Some(9), "{config}");
    config["defaults"] = of("RawReading");
    config["otlp"] = of("RawOtlp");
    config["logs"] = of("RawLogs");
    assert_eq!(config["logs"].as_object().map(serde_json::Map::len), Some(7), "{config}");
    config["otlp"]["traces"] = of("RawOtlpTraces");
    config["otlp"]["metrics"] = of("RawOtlpMetrics");
    let counts = ["/otlp", "/otlp/traces", "/otlp/metrics"]
        .map(|path| config.pointer(path).map(|of| of.as_object().map_or(0, |of| of.len())));
    assert_eq!(counts, [Some(6), Some(7), Some(4)], "{config}");
    // Where nothing is sent, its defaults do not show.
    config["otlp"]["endpoint"] = "http://h".into();
    config["otlp"]["metrics"]["push"] = true.into();
    assert_eq!(config["defaults"].as_object().map(serde_json::Map::len), Some(10), "{config}");
    config["sources"] = serde_json::json!([{"name": "a", "url": "a.db"}]);
    let mut drain = serde_json::json!({"name": "d", "kind": "http", "secret": "k", "signature": of("RawSignature")});
    assert_eq!(drain["signature"].as_object().map(serde_json::Map::len), Some(3), "{drain}");
    drain["allow_anyone"] = of("RawDrain")["allow_anyone"].clone();
    config["logs"]["drains"] = serde_json::json!([drain]);
    let written = settings(&config.to_string());
    let bare = settings(
        "sources: [{name: a, url: a.db}]\notlp: {endpoint: 'http://h', metrics: {push: true}}\n\
         logs: {drains: [{name: d, kind: http, secret: k}]}",
    );
    assert_eq!(format!("{written:?}"), format!("{bare:?}"));
    assert!(bare.otlp.traces.is_some() && bare.otlp.metrics.is_some());
    let source = SourceSettings::new("a", System::Sqlite, SecretString::from(""));
    assert_eq!(format!("{:?}", bare.sources[0]), format!("{source:?}"));
}

#[test]
fn a_bad_pack_is_told_beside_a_bad_setting() {
    let folder = folder("packs: [FOLDER/weeds.yaml]\nlisten: here\nsources: [{name: a, url: a.db, packs: [weeds]}]\n");
    std::fs::write(folder.path().join("weeds.yaml"), "app: weeds\ntitle: x\ncollectors: []\n").expect("writable");
    let told = load(&overrides(folder.path()), &variable).expect_err("both bad").to_string();
    assert!(told.contains("weeds.yaml:3: the pack has no collector"), "{told}");
    assert!(told.contains("c.yaml:2: listen: expected"), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn budgets_and_quiet_times_are_of_a_source_or_of_all() {
    let settings = settings(
        "defaults: {idle: {interval: 2h}, budget: {per_day: 5000}}\nsources:\n  - {name: a, url: a.db}\n  \
         - {name: b, url: b.db, idle: {after: 1m}, budget: {awake_per_day: 6h, per_second: 7}}\n  \
         - {name: c, url: 'redis://h', database: a}\n",
    );
    let [a, b, c] = settings.sources.as_slice() else { panic!("three sources") };
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let idle =
        |after, interval| Some(Idle { after: minutes(after), interval: minutes(interval), suspends_after: minutes(5) });
    assert_eq!((a.idle, b.idle), (idle(15, 120), idle(1, 60)));
    let own = Budget { per_day: None, per_second: 7, awake_per_day: Some(minutes(360)) };
    assert_eq!((a.budget.per_day, b.budget, c.budget.per_day), (Some(5000), own, Some(5000)));
}

#[test]
fn budgets_and_quiet_times_that_cannot_hold_are_told() {
    let told = complaints(
        "sources:\n  - name: a\n    url: a.db\n    budget: {per_day: 99, awake_per_day: 9m}\n    idle: {interval: 5m}\n  \
         - name: b\n    url: redis://h\n    database: a\n    idle: {}\n    budget: {per_day: 1, awake_per_day: 1h}\n  \
         - name: c\n    url: a.db\n    budget: {per_day: 0, awake_per_day: 0s, hourly: 1}\n    idle: {after: 0s, suspends_after: soon}\n",
    );
    let wanted = [
        "c.yaml:4: sources[0].budget.awake_per_day: each read keeps the database awake for 5m",
        "c.yaml:4: sources[0].budget.per_day: a read takes four statements",
        "c.yaml:5: sources[0].idle.interval: while quiet, reads must lie further apart than `suspends_after`",
        "c.yaml:9: sources[1].idle: only new rows tell whether an application is quiet",
        "c.yaml:10: sources[1].budget.awake_per_day: only a database is awake or suspended",
        "c.yaml:13: sources[2].budget.awake_per_day: ",
        "c.yaml:13: sources[2].budget.hourly: there is no such key",
        "c.yaml:13: sources[2].budget.per_day: ",
        "c.yaml:14: sources[2].idle.after: expected a length of time above zero",
        "c.yaml:14: sources[2].idle.suspends_after: expected a length of time",
    ];
    for wanted in wanted {
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted}\nnot in {told:#?}");
    }
}

#[test]
fn what_alert_rules_are_told_is_looked_at() {
    let source = "sources: [{name: a, url: a.db}]\n";
    let told = complaints(&format!(
        "{source}alerts:\n  dashboards: grafana.example\n  runbooks: https://me:secret@wiki.example\n  stale_intervals: 1\n  \
         horizon_lag: 0s\n  budget_ratio: 90\n  queue_ratio: 0\n  grafana: x\n"
    ));
    let wanted = [
        "c.yaml:3: alerts.dashboards: expected a URL that people can open",
        "c.yaml:4: alerts.runbooks: expected a URL",
        "c.yaml:5: alerts.stale_intervals: expected a number of intervals, at least 2",
        "c.yaml:6: alerts.horizon_lag: expected a length of time above zero",
        "c.yaml:7: alerts.budget_ratio: expected a share above 0 and at most 1",
        "c.yaml:8: alerts.queue_ratio: expected a share",
        "c.yaml:9: alerts.grafana: there is no such key",
    ];
    for wanted in wanted {
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted}\nnot in {told:#?}");
    }
    assert!(!told.concat().contains("secret"), "{told:#?}");
    let alerts = settings(&format!("{source}alerts: {{dashboards: 'https://g.example/@ops/', behind: 1m}}\n")).alerts;
    assert_eq!(alerts.dashboards, "https://g.example/@ops");
    let limits = [AlertLimit::Behind, AlertLimit::HorizonLag, AlertLimit::DrainSilentRows].map(|of| alerts.limit(of));
    assert_eq!(limits, [60.0, 900.0, 100.0]);
}

#[test]
fn a_token_is_what_stands_between_the_blanks_and_is_not_empty() {
    let yaml = |token: &str| format!("sources: [{{name: cache, url: 'https://x.upstash.io', token: {token}}}]\n");
    let token = settings(&yaml("\"  t0k3n\\n\"")).sources[0].token.clone().expect("it is given");
    assert_eq!(token.expose_secret(), "t0k3n");
    let folder = folder(&yaml("'${EMPTY}'"));
    let errors = load(&overrides(folder.path()), &variable).expect_err("an empty token lets nobody in").to_string();
    assert!(errors.contains("token is empty"), "{errors}");
}

#[test]
fn a_variable_names_the_kind_of_source_that_its_name_says() {
    for (name, url, wanted) in [
        ("PGBOUNCER_URL", "postgres://app:hunter2@h:6432/shop", "DATABASE_URL"),
        ("DATABASE_URL", "postgres://app:hunter2@h:6432/pgbouncer", "SQLite"),
        ("REDIS_URL", "https://:hunter2@h/", "UPSTASH_REDIS_REST_URL"),
        ("HEALTH_URL", "rediss://:hunter2@h", "http://"),
    ] {
        let variable = |asked: &str| (asked == name).then(|| url.to_owned());
        let errors = load(&Overrides::default(), &variable).expect_err(url).to_string();
        assert!(errors.contains(name) && errors.contains(wanted) && !errors.contains("hunter2"), "{errors}");
    }
}
