//! Drains when something around them fails: the database that says which packs apply, the state's file, a reload.

use std::net::{Ipv4Addr, SocketAddr};

use super::harness::exporter::PATIENCE;
use super::harness::wait::eventually;
use super::harness::{Cluster, Exporter, Setup, guard, http};

/// An application that a table shows, and that is counted by its lines alone.
const SHOP: &str = "app: shop
title: Shop
detect: [shops]
collectors:
  - name: lines
    logs: {lines: [{}]}
    metrics:
      - {counter: shop_lines_total, help: Lines.}
";

/// A drain that follows the only database.
const DRAINS: &str = "{drains: [{name: all, kind: http, token: a-token-of-tests-0123456789}]}";
/// What it wants to see.
const TOKEN: (&str, &str) = ("Authorization", "Bearer a-token-of-tests-0123456789");

/// What becomes of a line.
async fn bring(address: SocketAddr, line: &str) -> u16 {
    http::post(address, "/drains/all", &[TOKEN], line.as_bytes()).await.expect("it answers").status
}

/// Waits until so many lines count.
async fn counts(exporter: &Exporter, lines: f64) {
    let told = |scrape: &super::harness::Scrape| scrape.sum("shop_lines_total", &[]);
    exporter
        .scrapes("the lines count", |scrape| if told(scrape) == lines { Ok(()) } else { Err(told(scrape).to_string()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_answered_for_while_the_database_cannot_say_who_counts_it() {
    let cluster = Cluster::private();
    let database = cluster.database().await;
    database.run("create table shops (id int primary key)").await;
    let setup = Setup::of(&database.url).with_server().sourced("connect_timeout", "1s").with("logs", DRAINS);
    let pack = setup.folder.write("shop.yaml", SHOP);
    let setup = setup.with("packs", format!("[\"{}\"]", pack.display()));
    cluster.stop();

    // The server's own packs are known by the URL; they say nothing of the application.
    let exporter = setup.start().await;
    exporter.state("activity", "unreachable").await;
    assert_eq!(bring(setup.address, "one").await, 503);
    cluster.start();
    eventually(PATIENCE, "the line is taken", async || match bring(setup.address, "one").await {
        200 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    counts(&exporter, 1.0).await;
    assert!(exporter.terminate().success());

    // From then on it is known, whether or not the database is there.
    cluster.stop();
    let exporter = setup.start().await;
    exporter.state("activity", "unreachable").await;
    assert_eq!(bring(setup.address, "two").await, 200);
    counts(&exporter, 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_cannot_write_is_not_well_until_it_can() {
    use sqlx::Connection as _;
    let setup = Setup::of_logs(&DRAINS.replace("kind: http", "kind: http, packs: [shop]"));
    let pack = setup.folder.write("shop.yaml", SHOP);
    let setup = setup.with("packs", format!("[\"{}\"]", pack.display()));
    let exporter = setup.start().await;
    assert_eq!(bring(setup.address, "one").await, 200);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(setup.state_dir().join("rowmetry.db"));
    let mut state = sqlx::SqliteConnection::connect_with(&options).await.expect("the state is there");
    let full = "create trigger full before insert on collector begin select raise(abort, 'full'); end;";
    sqlx::raw_sql(full).execute(&mut state).await.expect("it is good SQL");
    assert_eq!(bring(setup.address, "two").await, 503);

    // Nobody brings anything for longer than it takes to say that all is well.
    let runs = |scrape: &super::harness::Scrape| scrape.sum("rowmetry_collector_runs_total", &[("collector", "lines")]);
    let before = runs(&exporter.scrape().await);
    exporter
        .scrapes("it was looked at again", |scrape| {
            let up = scrape.sum("rowmetry_collector_up", &[("collector", "lines")]);
            assert_eq!(up, 0.0, "nothing could be written");
            if runs(scrape) > before { Ok(()) } else { Err("not yet".into()) }
        })
        .await;
    let page = exporter.get("/api/status", "*/*").await.expect("it answers").text();
    assert!(page.contains("\"verdict\": \"failing\"") && page.contains("the state could not be written"), "{page}");

    sqlx::raw_sql("drop trigger full").execute(&mut state).await.expect("it is good SQL");
    exporter
        .scrapes("it is well again", |scrape| {
            let up = scrape.sum("rowmetry_collector_up", &[("collector", "lines")]);
            if up == 1.0 { Ok(()) } else { Err("not yet".into()) }
        })
        .await;
    assert_eq!(bring(setup.address, "two").await, 200);
    counts(&exporter, 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_drain_that_a_reload_brings_is_where_drains_are_served() {
    let place = SocketAddr::from((Ipv4Addr::LOCALHOST, guard::free_port()));
    let logs = |drains: &str| format!("{{listen: \"{place}\", drains: [{drains}]}}");
    let database = Cluster::shared().database().await;
    let setup = Setup::of(&database.url).with("logs", logs(""));
    let exporter = setup.start().await;
    let drain = "{name: all, kind: http, token: a-token-of-tests-0123456789, packs: [lines]}";
    setup.clone().with("logs", logs(drain)).write();
    exporter.process.signal("HUP");
    exporter.logs("the new configuration is in force").await;
    assert_eq!(bring(place, "one").await, 200);
    assert_eq!(bring(setup.address, "one").await, 404, "/metrics is there, and no drain");
}
