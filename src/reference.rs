//! The parts of the manual that are made from the program itself: metrics, spans, settings, schemas.
//!
//! They are committed under `docs/` and a test compares them, so they cannot grow stale. Nothing here is written by hand
//! that the program knows better.

mod lines;
mod spans;

use std::fmt::Write;

use serde_json::Value as Json;

use crate::config::raw::RawConfig;
use crate::dashboard::Dashboard;
use crate::family::{Family, Kind};
use crate::pack::{Collector, Label, Metric, Pack, System};

pub use spans::spans;

/// What a generated file says of itself.
const MADE_BY: &str = "<!-- Made by `make docs`; do not edit. -->\n\n";

/// JSON Schema of the configuration file, for editors.
pub fn config_schema() -> String {
    pretty(&schemars::schema_for!(RawConfig).to_value())
}

/// JSON Schema of a pack file, for editors.
pub fn pack_schema() -> String {
    pretty(&schemars::schema_for!(Pack).to_value())
}

/// JSON Schema of a dashboard file, for editors.
pub fn dashboard_schema() -> String {
    pretty(&schemars::schema_for!(Dashboard).to_value())
}

/// Every metric of the given packs, as Markdown.
pub fn metrics<'p>(packs: impl IntoIterator<Item = &'p Pack>) -> String {
    let mut page = format!("{MADE_BY}# Metrics of the built-in packs\n\n");
    page.push_str(
        "Counters and histograms count each new row, log line or probe once; those of a server's own totals show what it tells. Gauges \
         and info metrics show the last read, or what the youngest line told. What is made of log lines needs a drain that brings them, and is \
         absent until one came. A metric whose table, column or grant is missing is absent, never 0. Rowmetry's metrics about itself are in \
         [self-metrics.md](self-metrics.md).\n",
    );
    for pack in packs {
        let _ = write!(page, "\n## {} (`{}`)\n\n", pack.title, pack.app);
        if !pack.detect.is_empty() {
            let _ = write!(page, "Applies by itself when these tables exist: {}.\n\n", code_list(&pack.detect));
        }
        if let Some(kind) = pack.common {
            let _ = write!(page, "Applies by itself to every {} source.\n\n", kind.as_str());
        }
        page.push_str(&pack_metrics(pack));
    }
    page
}

/// The metrics and parameters of one pack, as Markdown without a heading: a part of its own page.
pub fn pack_metrics(pack: &Pack) -> String {
    let mut page = "| Metric | Kind | Labels | Meaning | Collector | Reads |\n|---|---|---|---|---|---|\n".to_owned();
    for (name, parameter) in &pack.parameters {
        if let Some(gauge) = &parameter.gauge {
            let help = format!("{} Parameter `{name}`, {} unless set.", parameter.help.trim(), parameter.value);
            row(&mut page, [&code(gauge), "gauge", "", &help, "", "the configuration"]);
        }
    }
    for (collector, up) in pack.collectors.iter().filter_map(|of| Some((of, of.up.as_ref()?))) {
        row(&mut page, [&code(&up.gauge), "gauge", "", &up.help, &code(&collector.name), "whether it answers"]);
    }
    for collector in &pack.collectors {
        for metric in &collector.metrics {
            let labels: Vec<&str> = metric.labels.iter().map(Label::name).collect();
            let reads = reads(collector);
            row(
                &mut page,
                [&code(metric.name()), kind(metric), &code_list(&labels), &metric.help, &code(&collector.name), &reads],
            );
        }
    }
    page.push_str(&parameters(pack));
    page
}

/// Rowmetry's metrics about itself, as Markdown.
pub fn self_metrics(families: &[impl AsRef<Family>]) -> String {
    let mut page = format!("{MADE_BY}# Rowmetry's metrics about itself\n\n");
    page.push_str(
        "They stand on `/metrics` beside the applications'. Labels `source`, `pack` and `collector` name one collector; every \
         other label has a closed list of values, all of which exist from the start.\n\n\
         | Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for family in families.iter().map(AsRef::as_ref) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let labels =
            family.series.first().map(|series| series.labels.pairs().map(|(name, _)| name.to_owned()).collect());
        row(
            &mut page,
            [&code(&family.name), kind, &code_list::<String>(&labels.unwrap_or_else(Vec::new)), &family.help],
        );
    }
    page
}

/// Every setting of the configuration file, as Markdown.
pub fn configuration() -> String {
    let schema = schemars::schema_for!(RawConfig).to_value();
    let mut page = format!("{MADE_BY}# Configuration\n\n");
    page.push_str(
        "`rowmetry --config FILE` or `ROWMETRY_CONFIG=FILE`. Without a file, `DATABASE_URL` is enough; `REDIS_URL`, or \
         `UPSTASH_REDIS_REST_URL` with `UPSTASH_REDIS_REST_TOKEN`, `PGBOUNCER_URL` and `HEALTH_URL` add a Redis, a pooler's \
         console and a health endpoint; `VERCEL_DRAIN_SECRET` (with `VERCEL_DRAIN_VERIFY`) opens a log drain for Vercel at `/drains/vercel`, and \
         `ROWMETRY_DRAIN_TOKEN` one for anything else at `/drains/logs`. The command line goes before the environment, and that before the file. A full example is [example.yaml](example.yaml); editors complete \
         and check the file with [schema/config.json](schema/config.json).\n\n\
         Any text may hold `${VARIABLE}` or `${VARIABLE:-default}`; `$$` is a dollar sign. Lengths of time are a number and one \
         of `ms`, `s`, `m`, `h`, `d`. `rowmetry check` tells everything that is wrong at once.\n",
    );
    for (title, name, words) in [
        ("The file", None, ""),
        (
            "`sources`: what is read",
            Some("RawSource"),
            "A list. What says how a source is read, from `packs` on, may also stand in `defaults`, for every source.\n\n",
        ),
        ("`budget` of a source", Some("RawBudget"), ""),
        ("`idle` of a source", Some("RawIdle"), ""),
        ("`limits`", Some("RawLimits"), ""),
        ("`web`", Some("RawWeb"), ""),
        (
            "`alerts`: what alert rules are told",
            Some("RawAlerts"),
            "Each is a metric that the rules in `alerts/` read.\n\n",
        ),
        (
            "`otlp`: what is sent by OTLP",
            Some("RawOtlp"),
            "What is not written here is taken from OpenTelemetry's variables: `OTEL_EXPORTER_OTLP_…` and the forms of one signal, \
             `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`, \
             `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_PROPAGATORS`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, \
             `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRIC_EXPORT_TIMEOUT`, `OTEL_METRICS_EXEMPLAR_FILTER`. \
             `OTEL_SDK_DISABLED=true` turns all of it off, and `OTEL_TRACES_EXPORTER=none` traces that the file does not ask \
             for by `rows` or `own`.\n\n",
        ),
        ("`traces` of `otlp`", Some("RawOtlpTraces"), ""),
        ("`metrics` of `otlp`", Some("RawOtlpMetrics"), ""),
        (
            "`logs`: whose log lines are taken in",
            Some("RawLogs"),
            "A request is answered 200 once its lines are counted for good. The first of several exporters (`--shard 1/3`) has all drains.\n\n",
        ),
        ("`drains` of `logs`", Some("RawDrain"), "A list.\n\n"),
        ("`signature` of a drain", Some("RawSignature"), ""),
        ("`fields` of a drain", Some("RawFields"), ""),
    ] {
        let of = name.map_or(&schema, |name| &schema["$defs"][name]);
        let _ = write!(page, "\n## {title}\n\n{words}| Setting | Kind | Default | Meaning |\n|---|---|---|---|\n");
        for (key, property) in of["properties"].as_object().into_iter().flatten() {
            let default = match &property["default"] {
                Json::String(text) => code(text),
                Json::Number(number) => code(&number.to_string()),
                Json::Bool(flag) => code(&flag.to_string()),
                _ => String::new(),
            };
            let meaning = property["description"].as_str().unwrap_or_default();
            row(&mut page, [&code(key), &words_of(property, &schema), &default, meaning]);
        }
    }
    page
}

fn parameters(pack: &Pack) -> String {
    if pack.parameters.is_empty() {
        return String::new();
    }
    let mut text =
        "\nParameters (`parameters` in the configuration):\n\n| Parameter | Default | Meaning |\n|---|---|---|\n"
            .to_owned();
    for (name, parameter) in &pack.parameters {
        row(&mut text, [&code(name), &code(&parameter.value.to_string()), &parameter.help]);
    }
    text
}

fn reads(collector: &Collector) -> String {
    match collector {
        Collector { rows: Some(rows), .. } => format!("new rows of {}", code(&rows.table)),
        Collector { snapshot: Some(snapshot), .. } => {
            let tables = tables(snapshot.sql.on(System::Postgres));
            if tables.is_empty() { "a query".to_owned() } else { format!("a query of {}", code_list(&tables)) }
        }
        Collector { keys: Some(keys), .. } => format!("names of Redis keys {}", code(&keys.matching)),
        Collector { info: Some(_), .. } => "INFO of Redis".to_owned(),
        Collector { show: Some(show), .. } => format!("{} of PgBouncer", code(&format!("SHOW {}", show.command))),
        Collector { probe: Some(probe), .. } => match &probe.path {
            Some(path) => format!("an HTTP request for {}", code(path)),
            None => "an HTTP request".to_owned(),
        },
        Collector { logs: Some(logs), .. } => lines::lines(logs),
        _ => String::new(),
    }
}

/// The words after `from` and `join`, less the names that the query gives itself by `with`. Good enough for a manual.
fn tables(sql: &str) -> Vec<String> {
    let words: Vec<&str> =
        sql.split(|c: char| c.is_whitespace() || "(),".contains(c)).filter(|word| !word.is_empty()).collect();
    let made: Vec<&str> =
        words.windows(2).filter(|pair| pair[1].eq_ignore_ascii_case("as")).map(|pair| pair[0]).collect();
    let mut tables: Vec<String> = Vec::new();
    for pair in words.windows(2) {
        let follows = pair[0].eq_ignore_ascii_case("from") || pair[0].eq_ignore_ascii_case("join");
        let table = pair[1].replace('"', "");
        let is_table = !pair[1].eq_ignore_ascii_case("select") && !pair[1].eq_ignore_ascii_case("lateral");
        let is_name =
            table.starts_with(|c: char| c.is_alphabetic() || c == '_') && !table.contains('.') || table.contains("_");
        if follows && is_table && is_name && !made.contains(&pair[1]) && !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind() {
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
    }
}

/// The kind of a setting's value, in words.
fn words_of(property: &Json, root: &Json) -> String {
    if let Some(choices) = property["anyOf"].as_array() {
        let choices = choices.iter().filter(|choice| choice["type"] != "null");
        return choices.map(|choice| words_of(choice, root)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(name) = property["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
        return words_of(&root["$defs"][name], root);
    }
    if property["pattern"].as_str() == Some(crate::duration::PATTERN) {
        return "time".into();
    }
    if let Some(words) = property["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Json::as_str).map(code).collect();
        return words.join(", ");
    }
    let kinds: Vec<&str> = match &property["type"] {
        Json::String(kind) => vec![kind],
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => vec!["object"],
    };
    let kind = kinds.into_iter().find(|kind| *kind != "null").unwrap_or("object");
    match kind {
        "array" => "list",
        "object" => "map",
        "string" => "text",
        "integer" => "whole number",
        "boolean" => "true or false",
        other => other,
    }
    .into()
}

fn row<const N: usize>(page: &mut String, cells: [&str; N]) {
    let cells = cells.map(|cell| cell.trim().replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" "));
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn code_list<S: AsRef<str>>(texts: &[S]) -> String {
    texts.iter().map(|text| code(text.as_ref())).collect::<Vec<_>>().join(", ")
}

fn pretty(schema: &Json) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn committed(file: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make docs`", path.display()))
    }

    #[test]
    fn committed_pages_are_not_stale() {
        let packs = crate::pack::builtin().expect("good packs");
        for (file, made) in [
            ("schema/config.json", config_schema()),
            ("schema/pack.json", pack_schema()),
            ("schema/dashboard.json", dashboard_schema()),
            ("metrics.md", metrics(packs.iter().map(|pack| &**pack))),
            ("spans.md", spans(packs.iter().map(|pack| &**pack))),
            ("configuration.md", configuration()),
        ] {
            assert!(committed(file) == made, "docs/{file} is stale; run `make docs`");
        }
        for pack in packs.iter() {
            let file = format!("apps/{}.md", pack.app);
            let page = committed(&file);
            let part = page
                .split("<!-- metrics: made by make docs -->\n")
                .nth(1)
                .and_then(|rest| rest.split("<!-- end -->").next());
            assert!(part == Some(&pack_metrics(pack)), "docs/{file} is stale; run `make docs`");
        }
    }

    #[test]
    fn the_example_configuration_is_good() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example.yaml");
        let overrides = crate::config::Overrides { config: Some(path), ..Default::default() };
        let variable = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://rowmetry:x@db.example/shop".to_owned()),
            "UPSTASH_REDIS_REST_TOKEN"
            | "VERCEL_DRAIN_SECRET"
            | "VERCEL_DRAIN_VERIFY"
            | "DRAIN_TOKEN"
            | "DRAIN_SECRET" => Some("x".to_owned()),
            _ => None,
        };
        if let Err(errors) = crate::config::load(&overrides, &variable) {
            panic!("\n{errors}");
        }
    }

    #[test]
    fn the_pack_of_the_readme_is_good() {
        let readme = include_str!("../README.md");
        let from = readme.find("app: shop").expect("the README shows a pack");
        let pack = readme[from..].split("```").next().expect("a block");
        if let Err(errors) = crate::pack::load::parse("README.md", pack) {
            panic!("\n{errors}");
        }
    }

    #[test]
    fn the_pack_of_the_page_about_lines_is_good() {
        let page = committed("log-lines.md");
        let pack =
            page.split("```").nth(1).and_then(|block| block.strip_prefix("yaml\n")).expect("the page shows a pack");
        if let Err(errors) = crate::pack::load::parse("log-lines.md", pack) {
            panic!("\n{errors}");
        }
    }

    #[test]
    fn every_setting_is_in_the_example_and_has_a_meaning() {
        let example = committed("example.yaml");
        let schema = schemars::schema_for!(RawConfig).to_value();
        let parts = [
            "RawSource",
            "RawLimits",
            "RawWeb",
            "RawAlerts",
            "RawBudget",
            "RawIdle",
            "RawOtlp",
            "RawOtlpTraces",
            "RawOtlpMetrics",
            "RawLogs",
            "RawDrain",
            "RawSignature",
            "RawFields",
        ]
        .map(|name| &schema["$defs"][name]);
        for (key, property) in
            parts.into_iter().chain([&schema]).flat_map(|of| of["properties"].as_object().into_iter().flatten())
        {
            assert!(example.contains(&format!("{key}:")), "docs/example.yaml does not show `{key}`");
            assert!(property["description"].is_string(), "`{key}` has no description");
        }
    }

    #[test]
    fn names_the_tables_of_a_query() {
        let sql = "with busy as (select a from \"Order\" o) select 1 from busy join shop.item_line i on true left join \"Tenant\" t on (select count(*) from (select 1) x) > 0";
        assert_eq!(tables(sql), ["Order", "shop.item_line", "Tenant"]);
    }
}
