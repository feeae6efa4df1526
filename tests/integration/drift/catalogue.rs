//! Every metric that Rowmetry can emit, from the pages that are made from the program: name, pack, labels.
//!
//! The pages are compared with the program by other tests, and with a running exporter by `alarms`.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{Known, Labels};

/// Labels that Prometheus adds to what it scrapes.
const OF_THE_TARGET: [&str; 2] = ["instance", "job"];
/// Packs of servers, whose series always bear their source.
const OF_SERVERS: [&str; 3] = ["pgbouncer", "postgres", "redis"];
/// The stem of the files about Rowmetry itself.
pub const OWN: &str = "rowmetry";

/// A metric as its table has it.
#[derive(Debug, Clone, Default)]
pub struct Metric {
    /// The packs that make it; `rowmetry` for our own.
    pub packs: Vec<String>,
    /// counter, gauge, histogram, info.
    pub kind: String,
    /// Its own labels and those of the target.
    pub labels: Labels,
    /// By label, all values that it can have, where its packs say so.
    pub values: BTreeMap<String, BTreeSet<String>>,
}

/// The metrics by their names.
pub type Catalogue = BTreeMap<String, Metric>;

/// The metrics of both pages.
pub fn read() -> Catalogue {
    let mut catalogue = Catalogue::new();
    add(&mut catalogue, &super::files::text("docs/metrics.md"), None);
    add(&mut catalogue, &super::files::text("docs/self-metrics.md"), Some(OWN));
    assert!(catalogue.len() > 200, "the tables could not be read: {} metrics", catalogue.len());
    add_values(&mut catalogue);
    catalogue
}

/// Learns values from the packs. Where one of those that make a metric leaves them open, they are.
fn add_values(catalogue: &mut Catalogue) {
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    let mut open: BTreeSet<(String, String)> = BTreeSet::new();
    for made in packs.iter().flat_map(|pack| &pack.collectors).flat_map(|collector| &collector.metrics) {
        let Some(metric) = catalogue.get_mut(made.name()) else { continue };
        for label in &made.labels {
            if label.values().is_empty() {
                open.insert((made.name().to_owned(), label.name().to_owned()));
            }
            metric.values.entry(label.name().to_owned()).or_default().extend(label.values().iter().cloned());
        }
    }
    for (name, label) in open {
        catalogue.entry(name).and_modify(|metric| drop(metric.values.remove(&label)));
    }
}

fn add(catalogue: &mut Catalogue, page: &str, pack: Option<&str>) {
    let mut pack = pack.unwrap_or_default().to_owned();
    let mut is_metrics = false;
    for line in page.lines() {
        if let Some((_, stem)) = line.strip_prefix("## ").and_then(|title| title.split_once("(`")) {
            pack = stem.trim_end_matches("`)").to_owned();
        }
        is_metrics = if line.starts_with("| Metric |") { true } else { is_metrics && line.starts_with('|') };
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (Some(name), Some(kind), Some(labels)) = (cells.next(), cells.next(), cells.next()) else { continue };
        let Some(name) = name.strip_prefix('`').map(|name| name.trim_end_matches('`')) else { continue };
        if !is_metrics {
            continue;
        }
        let metric = catalogue.entry(name.to_owned()).or_default();
        if !metric.packs.contains(&pack) {
            metric.packs.push(pack.clone());
        }
        metric.kind = kind.to_owned();
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`')).filter(|label| !label.is_empty());
        metric.labels.extend(labels.chain(OF_THE_TARGET).map(str::to_owned));
        if OF_SERVERS.contains(&pack.as_str()) || name.starts_with("app_health_") && is_of_configuration(line) {
            metric.labels.insert("source".into());
        }
    }
}

/// Whether a line of a table is on a parameter. Those of endpoints bear their source where there are several endpoints.
fn is_of_configuration(line: &str) -> bool {
    line.trim_end_matches([' ', '|']).ends_with("the configuration")
}

/// What expressions can ask for: a histogram's parts in place of the histogram, and what Prometheus says itself.
pub fn known(catalogue: &Catalogue) -> Known {
    let mut known = Known::new();
    for (name, metric) in catalogue {
        if metric.kind == "histogram" {
            known.insert(format!("{name}_sum"), metric.labels.clone());
            known.insert(format!("{name}_count"), metric.labels.clone());
            let mut labels = metric.labels.clone();
            labels.insert("le".into());
            known.insert(format!("{name}_bucket"), labels);
        } else {
            known.insert(name.clone(), metric.labels.clone());
        }
    }
    let target: Labels = OF_THE_TARGET.map(str::to_owned).into();
    for name in ["up", "scrape_duration_seconds", "scrape_samples_scraped"] {
        known.insert(name.into(), target.clone());
    }
    known
}

/// The metric that a name in an expression is of: a histogram for its parts.
pub fn whole<'n>(name: &'n str, catalogue: &Catalogue) -> Option<&'n str> {
    let part = |suffix: &str| {
        let whole = name.strip_suffix(suffix)?;
        (catalogue.get(whole)?.kind == "histogram").then_some(whole)
    };
    if catalogue.contains_key(name) {
        Some(name)
    } else {
        part("_bucket").or_else(|| part("_sum")).or_else(|| part("_count"))
    }
}

/// Why a metric cannot be seen while the demo's applications live on the tests' servers; none for those that must be.
pub fn is_elsewhere(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(start, _)| name.starts_with(start)).map(|(_, why)| *why)
}

/// Beginnings of the names of metrics, and what must be there for them.
const ELSEWHERE: [(&str, &str); 9] = [
    ("rowmetry_otlp_push_", "metrics are pushed"),
    ("rowmetry_source_budget_limit", "a source has a budget"),
    ("pg_stat_statements_", "the extension is installed"),
    ("rowmetry_pg_statement_mean_seconds", "the extension is installed"),
    ("pgbouncer_stats_totals_binds_total", "PgBouncer is 1.24 or newer"),
    ("pgbouncer_stats_totals_client_parses_total", "PgBouncer is 1.24 or newer"),
    ("pgbouncer_stats_totals_server_parses_total", "PgBouncer is 1.24 or newer"),
    ("redis_master_link_up", "the server is a replica"),
    ("redis_master_last_io_seconds_ago", "the server is a replica"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_read() {
        let catalogue = read();
        let labels = |name: &str| catalogue[name].labels.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        assert_eq!(labels("mentor_audit_events_total"), "action,entity_type,instance,job,tenant");
        assert_eq!(labels("pg_up"), "instance,job,source");
        assert_eq!(labels("rowmetry_source_up"), "instance,job,source");
        assert_eq!(catalogue["app_health_up"].packs, ["coding_platform", "health", "syncedup"]);
        assert!(known(&catalogue)["voyager_reply_seconds_bucket"].contains("le"));
        assert!(!known(&catalogue).contains_key("voyager_reply_seconds"));
        assert!(!catalogue.contains_key("daily_cost_budget_usd"), "a parameter is no metric");
        assert_eq!(whole("voyager_reply_seconds_sum", &catalogue), Some("voyager_reply_seconds"));
    }
}
