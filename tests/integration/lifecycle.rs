//! Where counting begins, what survives a restart, and what happens when the database becomes another one.

use super::harness::{Cluster, Setup};
use super::tables::{events_truth, events_truth_of, insert, make_events};

#[tokio::test(flavor = "multi_thread")]
async fn counting_begins_where_the_operator_says() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(30, "now() - interval '2 days'")).await;
    database.run(insert(20, "now() - interval '30 seconds'")).await;
    let yesterday = database.rows("select to_char(now() - interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')").await;
    let yesterday = yesterday[0][0].clone().expect("now is not null");
    // A transaction that is open when counting begins: its rows become visible afterwards, so they count.
    let mut open = database.pool.acquire().await.expect("a connection");
    let late = "begin; insert into events (kind, seconds) select 'late', 1 from generate_series(1, 6)";
    sqlx::raw_sql(late).execute(&mut *open).await.expect("it is good SQL");

    let mut exporters = Vec::new();
    for (start, total) in [("all", 50.0), ("now", 0.0), (yesterday.as_str(), 20.0)] {
        let exporter = Setup::of(&database.url).sourced("start", format!("\"{start}\"")).start().await;
        let scrape = exporter.reads_again().await;
        assert_eq!(scrape.sum("events_total", &[]), total, "start: {start}");
        exporters.push(exporter);
    }
    sqlx::raw_sql("commit").execute(&mut *open).await.expect("it is open");
    database.run("create table begun as select clock_timestamp() as at").await;
    database.run(insert(9, "clock_timestamp()")).await;
    let new = "kind = 'late' or created_at > (select at from begun)";
    let all = events_truth(&database).await;
    let since_now = events_truth_of(&database, &format!("(select * from ledger where {new}) v")).await;
    let since_yesterday =
        events_truth_of(&database, "(select * from ledger where created_at > now() - interval '1 day') v").await;
    for (exporter, truth) in exporters.iter().zip([all, since_now, since_yesterday]) {
        exporter.settles_at(&truth).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_survive_restarts_of_every_kind() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = Setup::of(&database.url);
    for round in 0..4 {
        let exporter = setup.start().await;
        // What was counted before is there again, without a gap.
        exporter.settles_at(&events_truth(&database).await).await;
        database.run(insert(40, "now()")).await;
        exporter.settles_at(&events_truth(&database).await).await;
        if round % 2 == 0 {
            assert!(exporter.terminate().success(), "SIGTERM is a clean end");
        } else {
            exporter.kill();
        }
        drop(exporter);
        database.run(insert(25, "now() - interval '20 seconds'")).await;
    }
    // Without its state it begins anew, and with `start: all` arrives at the same counts.
    std::fs::remove_dir_all(setup.state_dir()).expect("it was written");
    setup.start().await.settles_at(&events_truth(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_state_directory_it_counts_in_memory_and_says_so() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(40, "now()")).await;
    let mut setup = Setup::of(&database.url);
    setup.settings.remove("state_dir");
    let exporter = setup.start().await;
    let scrape = exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(scrape.get("rowmetry_state_persistent", &[]), Some(0.0));
    assert!(!setup.state_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_or_recreated_database_is_a_new_epoch() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    make_events(&database).await;
    database.run(insert(60, "now()")).await;
    let setup = Setup::of(&database.url);
    let exporter = setup.start().await;
    let before = exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(before.sum("rowmetry_collector_epochs_total", &[]), 0.0);

    // Dumped, dropped and restored under the same name, while the exporter runs: the same rows, another database.
    let name = database.name.clone();
    let dump = exporter.setup.folder.path().join("dump.sql");
    assert!(cluster.client("pg_dump").arg("-f").arg(&dump).arg(&name).status().expect("pg_dump runs").success());
    database.pool.close().await;
    let administer = cluster.open("postgres").await;
    administer.run(format!("drop database {name} with (force)")).await;
    administer.run(format!("create database {name}")).await;
    let restored =
        cluster.client("psql").args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", &name, "-f"]).arg(&dump).output();
    assert!(restored.expect("psql runs").status.success());

    let database = cluster.open(&name).await;
    exporter
        .scrapes("the new epoch is told", |scrape| {
            let epochs = scrape.sum("rowmetry_collector_epochs_total", &[]);
            if epochs >= 1.0 { Ok(()) } else { Err(format!("{epochs} epochs")) }
        })
        .await;
    exporter.state("events", "ok").await;
    exporter.reads_again().await;
    // No double count: at most what there was, and from here on every new row once.
    let base = exporter.scrape().await;
    for (series, value) in base.series.iter().filter(|(series, _)| series.starts_with("events_total")) {
        assert!(*value <= before.series[series], "{series} went from {} to {value}", before.series[series]);
    }
    database.run(insert(33, "now()")).await;
    exporter
        .scrapes("new rows count once", |scrape| {
            let grown = scrape.sum("events_total", &[]) - base.sum("events_total", &[]);
            if grown == 33.0 { Ok(()) } else { Err(format!("grown by {grown}")) }
        })
        .await;
    let end = exporter.reads_again().await;
    assert_eq!(end.sum("events_total", &[]) - base.sum("events_total", &[]), 33.0);
    drop(exporter);
    let again = setup.start().await;
    again.reads_again().await;
    assert_eq!(again.scrape().await.sum("events_total", &[]), end.sum("events_total", &[]), "the new epoch is stored");
}
