//! Reload, exclusive state, and what becomes of a state that is not ours.

use std::time::Duration;

use super::harness::exporter::PATIENCE;
use super::harness::{Cluster, Setup, holds_for, http};
use super::tables::{events_truth, insert, make_events, make_orders, orders_truth};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_takes_effect_and_a_bad_one_does_not() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    make_orders(&database).await;
    database.run(format!("{}; insert into orders (state) values ('open')", insert(30, "now()"))).await;
    let setup = Setup::of(&database.url).sourced("packs", "[events]");
    let exporter = setup.start().await;
    exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(exporter.scrape().await.of("orders_total", &[]).count(), 0);

    // A collector more: the other one keeps its counts.
    setup.clone().sourced("packs", "[events, orders]").write();
    exporter.process.signal("HUP");
    exporter.settles_at(&orders_truth(&database).await).await;
    database.run(insert(11, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;

    // A bad one: it says so, with the line, and everything goes on as it was.
    let failed = exporter.scrape().await.sum("rowmetry_config_reloads_total", &[]);
    setup.clone().sourced("packs", "[events, orders]").with("zero_frist", "3s").write();
    exporter.process.signal("HUP");
    exporter.logs("zero_frist").await;
    exporter
        .scrapes("the failed reload is counted", |scrape| {
            let reloads = scrape.sum("rowmetry_config_reloads_total", &[]);
            if reloads > failed { Ok(()) } else { Err(format!("{reloads} reloads")) }
        })
        .await;
    database.run(insert(12, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    exporter.settles_at(&orders_truth(&database).await).await;

    // What alert rules are told changes with it, and nothing of what was counted.
    setup
        .clone()
        .sourced("packs", "[events, orders]")
        .with("alerts", "{dashboards: 'https://g.example/', behind: 1m}")
        .write();
    exporter.process.signal("HUP");
    exporter
        .scrapes("alert rules are told", |scrape| {
            let told = (
                scrape.sum("rowmetry_behind_limit_seconds", &[]),
                scrape.of("rowmetry_links_info", &[("dashboards", "https://g.example")]).count(),
                scrape.of("rowmetry_links_info", &[]).count(),
            );
            if told == (60.0, 1, 1) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    exporter.settles_at(&events_truth(&database).await).await;

    // A collector less: its series go, the other's stay.
    setup.clone().sourced("packs", "[orders]").write();
    exporter.process.signal("HUP");
    exporter
        .scrapes("the events go", |scrape| match scrape.of("events_total", &[]).count() {
            0 => Ok(()),
            series => Err(format!("{series} series")),
        })
        .await;
    exporter.settles_at(&orders_truth(&database).await).await;

    // And back: what happened meanwhile is counted, and nothing twice.
    database.run(insert(13, "now()")).await;
    setup.write();
    exporter.process.signal("HUP");
    exporter.settles_at(&events_truth(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reload_endpoint_is_off_until_it_is_asked_for() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let post = async |setup: &Setup| {
        let reply = http::request(setup.address, "POST", "/-/reload", &[("Content-Length", "0")], PATIENCE).await;
        reply.expect("it answers").status
    };
    let closed = Setup::of(&database.url);
    let _exporter = closed.start().await;
    assert!([403, 404, 405].contains(&post(&closed).await));
    let open = Setup::of(&database.url).with("web", "{reload_endpoint: true}");
    let exporter = open.start().await;
    assert_eq!(post(&open).await, 200);
    open.clone().with("nonsense", "1").write();
    assert_ne!(post(&open).await, 200);
    exporter.logs("nonsense").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_by_otlp_is_told_at_the_start_and_stays() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = |token: &str| {
        let otlp = format!("{{endpoint: 'http://user:{token}@127.0.0.1:1', headers: {{authorization: {token}}}}}");
        Setup::of(&database.url).with("otlp", otlp)
    };
    let started = setup("hunter2");
    let exporter = started.start().await;
    exporter.logs("spans of rows and Rowmetry's own traces go to http://127.0.0.1:1/v1/traces (http/protobuf)").await;
    exporter.process.signal("HUP");
    exporter.logs("the new configuration is in force").await;
    // Another header alone is a change.
    let otlp = setup("hunter2").settings["otlp"].replace("authorization: hunter2", "authorization: hunter3");
    started.clone().with("otlp", otlp).write();
    exporter.process.signal("HUP");
    exporter.logs("cannot change while it runs; restart for that").await;
    assert!(!exporter.log_text().contains("hunter"), "a secret in the log: {}", exporter.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_exporter_on_the_same_state_refuses() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let first = Setup::of(&database.url);
    let running = first.start().await;
    let mut second = Setup::of(&database.url);
    second.settings.insert("state_dir".into(), format!("\"{}\"", first.state_dir().display()));
    let refused = second.spawn();
    let status = refused.process.wait(PATIENCE).expect("it ends by itself");
    assert_eq!(status.code().map(|code| code > 0), Some(true), "{status}");
    let log = refused.log_text();
    assert!(log.contains(&first.state_dir().display().to_string()), "it does not say which state: {log}");
    holds_for(Duration::from_secs(1), "the first one goes on", async || running.try_scrape().await.map(|_| ())).await;
    running.kill();
    // The lock dies with its holder.
    second.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_or_foreign_state_is_told_and_left_alone() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(30, "now()")).await;
    let setup = Setup::of(&database.url);
    let exporter = setup.start().await;
    exporter.settles_at(&events_truth(&database).await).await;
    // A clean end leaves everything in the one file.
    assert!(exporter.terminate().success());
    let file = state_file(&setup);
    let good = std::fs::read(&file).expect("the state was written");
    let mut torn = good.clone();
    torn.truncate(good.len() / 2);
    let mut scrambled = good.clone();
    scrambled[100..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let foreign = foreign_database(&setup).await;
    for (what, bytes) in
        [("text", b"not a database at all".repeat(100)), ("torn", torn), ("scrambled", scrambled), ("foreign", foreign)]
    {
        for extra in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{extra}", file.display()));
        }
        std::fs::write(&file, &bytes).expect("it is ours");
        let refused = setup.spawn();
        let status = refused.process.wait(PATIENCE).unwrap_or_else(|| panic!("{what}: it runs on"));
        assert_eq!(status.code().map(|code| code > 0), Some(true), "{what}: {status}");
        let log = refused.log_text();
        let told = log.lines().rev().take(12).collect::<Vec<_>>().join("\n");
        let way_on = ["rowmetry state", "mv "].iter().any(|command| told.contains(command));
        assert!(way_on && told.contains(&file.display().to_string()), "{what}: it names no way on: {told}");
        let untouched = std::fs::read(&file).is_ok_and(|now| now == bytes);
        assert!(untouched, "{what}: the file was changed");
    }
    std::fs::write(&file, &good).expect("it is ours");
    setup.start().await.settles_at(&events_truth(&database).await).await;
}

/// The one file in the state directory that is a database.
fn state_file(setup: &Setup) -> std::path::PathBuf {
    let files = std::fs::read_dir(setup.state_dir()).expect("the state directory is there");
    let mut databases: Vec<_> = files
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| std::fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
        .collect();
    assert_eq!(databases.len(), 1, "{databases:?}");
    databases.remove(0)
}

/// A database that some other program made.
async fn foreign_database(setup: &Setup) -> Vec<u8> {
    use sqlx::Connection;
    let file = setup.folder.path().join("foreign.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the folder is ours");
    let sql = "create table tracks (id integer primary key, title text); insert into tracks (title) values ('one')";
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("it is good SQL");
    connection.close().await.expect("it closes");
    std::fs::read(&file).expect("it was written")
}
