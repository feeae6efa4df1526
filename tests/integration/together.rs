//! Several servers of each kind at once: what is exposed is well formed, names each source, and lasts.

use super::harness::certificates::Authority;
use super::harness::exporter::PATIENCE;
use super::harness::hostile::{Hostile, json};
use super::harness::pgbouncer::PgBouncer;
use super::harness::redis::Redis;
use super::harness::{Cluster, Exporter, Setup, eventually, python};

/// What Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

async fn shows(exporter: &Exporter, name: &str, labels: &[(&str, &str)], wanted: Option<f64>) {
    exporter
        .scrapes(&format!("{name} {labels:?} is {wanted:?}"), |scrape| match scrape.get(name, labels) {
            value if value == wanted => Ok(()),
            value => Err(format!("it is {value:?}")),
        })
        .await;
}

async fn is_well_formed(exporter: &Exporter) {
    let reply = exporter.get("/metrics", OPENMETRICS).await.unwrap_or_else(|e| panic!("{e}"));
    python::run("check_openmetrics.py", &reply.body).unwrap_or_else(|e| panic!("{e}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_kind_and_one_of_them_down() {
    let cluster = Cluster::private();
    let (one, other) = (cluster.database().await, Cluster::shared().database().await);
    let pgbouncer = PgBouncer::before(&cluster, 5);
    let (first, second) = (Redis::new(), Redis::new());
    let web = Hostile::plain(json("200 OK", "{\"status\": \"ok\", \"checks\": {\"db\": \"up\", \"mail\": \"down\"}}"));
    let exporter = Setup::of(&one.url)
        .with_server()
        .source("other", &other.url)
        .with_server()
        .source("cache", &first.url())
        .source("queue", &second.url())
        .source("pool", &pgbouncer.console("watcher", "watcher"))
        .source("web", &web.url("/health"))
        .source("web2", &web.url("/status"))
        .start()
        .await;
    for source in ["app", "other"] {
        shows(&exporter, "pg_up", &[("source", source)], Some(1.0)).await;
    }
    shows(&exporter, "redis_up", &[("source", "cache")], Some(1.0)).await;
    second.stop();
    shows(&exporter, "redis_up", &[("source", "queue")], Some(0.0)).await;
    shows(&exporter, "redis_up", &[("source", "cache")], Some(1.0)).await;
    shows(&exporter, "redis_connected_clients", &[("source", "queue")], None).await;
    is_well_formed(&exporter).await;
    cluster.stop();
    shows(&exporter, "pg_up", &[("source", "app")], Some(0.0)).await;
    shows(&exporter, "pg_settings_max_connections", &[("source", "app")], None).await;
    is_well_formed(&exporter).await;
    let scrape = exporter.scrape().await;
    let conflicts = scrape.sum("rowmetry_series_conflicts_total", &[]);
    assert_eq!(conflicts + scrape.sum("rowmetry_family_conflicts_total", &[]), 0.0);
    let unlabelled: Vec<&str> = scrape
        .series
        .keys()
        .map(String::as_str)
        .filter(|key| key.starts_with("pg_") || key.starts_with("redis_"))
        .filter(|key| !key.contains("source=\""))
        .collect();
    assert!(unlabelled.is_empty(), "{unlabelled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_by_an_ending_alone_do_not_spoil_the_exposition() {
    let database = Cluster::shared().database().await;
    let setup = Setup::of(&database.url).sourced("packs", "[alpha, beta]");
    let pack = |app: &str, metrics: &str| {
        setup.folder.write(
            &format!("{app}.yaml"),
            format!(
                "app: {app}\ntitle: T\ncollectors:\n- name: {app}\n  snapshot: {{sql: select 1 as n}}\n  metrics: [{metrics}]\n"
            ),
        )
    };
    let alpha = pack("alpha", "{gauge: both_things, help: A., value: n}, {gauge: both, help: A., value: n}");
    let beta = pack(
        "beta",
        "{counter: both_things_total, help: B., value: n, server_total: true}, {info: both_info, help: B., labels: [n]}",
    );
    let exporter =
        setup.clone().with("packs", format!("[\"{}\", \"{}\"]", alpha.display(), beta.display())).start().await;
    shows(&exporter, "both_things", &[], Some(1.0)).await;
    is_well_formed(&exporter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_that_were_counted_last_and_none_is_counted_twice() {
    let web = Hostile::plain(json("200 OK", "{\"status\": \"healthy\"}"));
    let setup = Setup::of(&web.url("")).sourced("packs", "[endpoint]").sourced("skip", "[endpoint/status]");
    let mut shown = 0.0;
    for _ in 0..8 {
        let exporter = setup.spawn();
        eventually(PATIENCE, "a probe is counted", async || {
            let now = exporter.try_scrape().await?.sum("web_probes_total", &[]);
            if now > shown { Ok(()) } else { Err(format!("{now}")) }
        })
        .await;
        let now = exporter.scrape().await.sum("web_probes_total", &[]);
        assert!(now > shown, "it went back from {shown} to {now}");
        shown = now;
        exporter.kill();
        eventually(PATIENCE, "it ended", async || match exporter.process.ended() {
            Some(_) => Ok(()),
            None => Err("it runs".into()),
        })
        .await;
        let asked = web.asked().len() as f64;
        assert!(shown <= asked, "{shown} counted of {asked} asked");
    }
    let exporter = setup.spawn();
    let scrape = exporter
        .scrapes("histogram and counter agree", |scrape| {
            let (count, sum) = (scrape.sum("web_probes_total", &[]), scrape.sum("web_seconds_count", &[]));
            if count > shown && count == sum { Ok(()) } else { Err(format!("{count} {sum}")) }
        })
        .await;
    assert!(scrape.sum("web_probes_total", &[]) <= web.asked().len() as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_up_at_a_reload() {
    let (wrong, right) = (Authority::new("Together Wrong CA"), Authority::new("Together Right CA"));
    let redis = Redis::tls(&right);
    let setup = Setup::of(&format!("rediss://localhost:{}", redis.address().port())).sourced("connect_timeout", "1s");
    let trusted = setup.folder.write("ca.pem", std::fs::read(wrong.file()).expect("it was made"));
    let exporter = setup.sourced("skip", "[]").sourced("ca_file", format!("\"{}\"", trusted.display())).spawn();
    shows(&exporter, "redis_up", &[], Some(0.0)).await;
    std::fs::copy(right.file(), &trusted).expect("it is ours");
    exporter.process.signal("HUP");
    shows(&exporter, "redis_up", &[], Some(1.0)).await;
}
