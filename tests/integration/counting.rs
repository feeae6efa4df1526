//! Every row counts exactly once, whatever its transaction and its table went through.

use std::time::Duration;

use super::harness::{Cluster, Database, Setup, Truth};
use super::tables::{events_truth, events_truth_of, insert, make_events, recent_truth};

type Connection = sqlx::pool::PoolConnection<sqlx::Postgres>;

async fn session(database: &Database<'_>) -> Connection {
    database.pool.acquire().await.expect("there are connections left")
}

async fn say(connection: &mut Connection, sql: impl Into<String>) {
    let sql = sql.into();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone()))
        .execute(&mut **connection)
        .await
        .unwrap_or_else(|e| panic!("{e}, in: {sql}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_commit_late_and_out_of_order() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(30, "now()")).await;
    let exporter = Setup::of(&database.url).start().await;
    exporter.settles_at(&events_truth(&database).await).await;

    // Five transactions take their ids and times in one order and commit in the opposite one, with reads between.
    let mut sessions = Vec::new();
    for number in 1..=5 {
        let mut session = session(&database).await;
        say(&mut session, format!("begin; {}", insert(10 * number, "now() - interval '40 seconds'"))).await;
        sessions.push(session);
        database.run(insert(number, "now()")).await;
        exporter.settles_at(&events_truth(&database).await).await;
    }
    while let Some(mut session) = sessions.pop() {
        say(&mut session, "commit").await;
        exporter.settles_at(&events_truth(&database).await).await;
    }
    assert_eq!(database.number("select count(*) from ledger").await, 30.0 + 150.0 + 15.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_and_rollbacks() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let exporter = Setup::of(&database.url).start().await;
    let mut open = session(&database).await;
    say(&mut open, format!("begin; {}; savepoint one; {}", insert(3, "now()"), insert(5, "now()"))).await;
    say(&mut open, format!("rollback to one; {}; savepoint two; {}", insert(7, "now()"), insert(11, "now()"))).await;
    // The subtransactions' ids are above those of transactions that commit while they are open.
    database.run(insert(13, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    say(&mut open, format!("release two; savepoint three; {}; rollback to three; commit", insert(17, "now()"))).await;
    exporter.settles_at(&events_truth(&database).await).await;
    database.run(format!("begin; {}; rollback", insert(19, "now()"))).await;
    database
        .run(format!(
            "do $$ begin for i in 1..40 loop begin {}; if i % 2 = 0 then raise 'no'; end if; \
             exception when others then null; end; end loop; end $$",
            insert(2, "now()")
        ))
        .await;
    let truth = events_truth(&database).await;
    exporter.settles_at(&truth).await;
    assert_eq!(database.number("select count(*) from ledger").await, (3 + 7 + 11 + 13 + 40) as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_delays_its_own_rows_only() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let exporter = Setup::of(&database.url).start().await;
    let mut long = session(&database).await;
    say(&mut long, format!("begin; {}", insert(100, "now()"))).await;
    for round in 1..=4 {
        database.run(insert(10 * round, "now()")).await;
        say(&mut long, insert(3, "now()")).await;
        exporter.settles_at(&events_truth(&database).await).await;
    }
    say(&mut long, "commit").await;
    exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(database.number("select count(*) from ledger").await, 100.0 + 100.0 + 12.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_of_one_time_than_a_page_holds() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(7_001, "'2026-01-01T00:00:00Z'::timestamptz")).await;
    let exporter = Setup::of(&database.url).sourced("page_rows", "500").start().await;
    exporter.settles_at(&events_truth(&database).await).await;
    database.run(insert(5_003, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_counted_row_does_not_count() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(500, "now()")).await;
    let exporter = Setup::of(&database.url).start().await;
    exporter.settles_at(&events_truth(&database).await).await;
    for change in [
        "update events set amount = amount + 1000, seconds = 4",
        "update events set created_at = now() where kind = 'a'",
        "delete from events where kind = 'b'",
        "vacuum full events",
        "alter table events alter column amount type numeric(20, 4)",
        "alter table events alter column kind type varchar(100)",
        "alter table events add column note text default 'x' || random()",
        "cluster events using events_pkey",
        "reindex table events",
        "alter table events set unlogged",
        "truncate events",
    ] {
        database.run(change).await;
        exporter.settles_at(&events_truth(&database).await).await;
        database.run(insert(50, "now()")).await;
        exporter.settles_at(&events_truth(&database).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_cost_no_other_row() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database
        .run(format!(
            "{};
             insert into events (kind, amount, seconds) values
               (null, 1, 1), ('', 2, 2), ('ODD \"quoted\\', 3.5, 1), (E'two\\nlines', 1, 1), ('žluťoučký kůň 🐎', 1, 0.25),
               ('a', null, null), ('a', 'NaN', 'NaN'), ('a', 'Infinity', 'Infinity'), ('a', '-Infinity', '-Infinity'),
               ('a', -5, 0), ('a', 0, 0.1), ('a', 0.000000000000000000001, 1e-300), ('a', 12345678901234567890.123456789, 1e10),
               (repeat('words ', 20000), 1, 1);
             insert into events (created_at, kind, amount, seconds) values (null, 'a', 1000000, 1)",
            insert(90, "now()")
        ))
        .await;
    let exporter = Setup::of(&database.url).start().await;
    let visible = "(select nullif(case when length(kind) > 120 then left(kind, 119) || '…' else kind end, '') as kind, \
                    amount, seconds from ledger where created_at is not null) v";
    let scrape = exporter.settles_at(&events_truth_of(&database, visible).await).await;
    for reason in ["not_finite", "negative"] {
        let ignored = scrape.sum("rowmetry_rows_ignored_total", &[("reason", reason)]);
        assert!(ignored > 0.0, "rows were refused as {reason} and nothing says so");
    }
    assert!(scrape.sum("rowmetry_labels_replaced_total", &[("reason", "long")]) > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_at_the_end_of_time_costs_no_other_row() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let exporter = Setup::of(&database.url).start().await;
    database.run("insert into events (created_at, kind) values ('infinity', 'never'), ('-infinity', 'never')").await;
    database
        .run("insert into events (created_at, kind) values ('9999-12-31', 'late'), ('0044-03-15 BC', 'early')")
        .await;
    database.run(insert(30, "now()")).await;
    let known = "(select * from ledger where kind in ('a', 'b', 'c')) v";
    let truth = events_truth_of(&database, known).await;
    let told = ["never", "late", "early"];
    exporter
        .scrapes("the other rows count", |scrape| {
            let mut others = scrape.clone();
            others.series.retain(|key, _| !told.iter().any(|kind| key.contains(&format!("kind=\"{kind}\""))));
            truth.compare(&others)
        })
        .await;
    exporter.state("events", "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_lies_beyond_the_look_back_is_told_by_the_audit() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(30, "now() - n * interval '1 minute'")).await;
    let exporter = Setup::of(&database.url).sourced("audit_interval", "1s").sourced("clock_margin", "1s").start().await;
    let scrape = exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(scrape.sum("rowmetry_audit_missing_rows", &[]), 0.0);
    // Nobody's clock is this wrong: a row is written now that says it happened a quarter of an hour ago.
    database.run(insert(3, "now() - interval '15 minutes'")).await;
    exporter
        .scrapes("the audit tells", |scrape| match scrape.sum("rowmetry_audit_missing_rows", &[]) {
            3.0 => Ok(()),
            missing => Err(format!("{missing} rows are missing")),
        })
        .await;
    assert_eq!(exporter.scrape().await.sum("rowmetry_audit_extra_rows", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_behind() {
    /// More would mean that memory grows with the backlog. The test's binary is not optimised.
    const RESIDENT_LIMIT: u64 = 256 << 20;
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = Setup::of(&database.url);
    let exporter = setup.start().await;
    database.run(insert(10, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    exporter.terminate();
    database.run("alter table events disable trigger keep").await;
    for _ in 0..4 {
        database.run(insert(250_000, "clock_timestamp()")).await;
    }
    // The backlog and the ten rows before it, which the ledger has as well.
    let truth = events_truth_of(&database, "(select * from events) v").await;
    let exporter = setup.spawn();
    super::harness::eventually(Duration::from_secs(240), "a million rows are caught up", async || {
        truth.compare(&exporter.try_scrape().await?)
    })
    .await;
    let [_, resident] = exporter.process.resident_bytes();
    eprintln!("resident at most {} MiB while a million rows were caught up", resident >> 20);
    assert!(resident < RESIDENT_LIMIT, "{} MiB resident", resident >> 20);
    exporter.settles_at(&truth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_counts_as_a_table_does() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run("create view recent_events as select id, created_at, kind, seconds from events").await;
    database.run(insert(40, "now() - n * interval '1 second'")).await;
    let exporter = Setup::of(&database.url).sourced("packs", "[recent]").sourced("page_rows", "100").start().await;
    exporter.settles_at(&recent_truth(&database).await).await;
    let mut late = session(&database).await;
    say(&mut late, format!("begin; {}", insert(25, "now() - interval '10 seconds'"))).await;
    database.run(insert(350, "now()")).await;
    exporter.settles_at(&recent_truth(&database).await).await;
    say(&mut late, "commit").await;
    exporter.settles_at(&recent_truth(&database).await).await;
    database.run("update events set seconds = 4; delete from events where kind = 'a'").await;
    database.run(insert(15, "now()")).await;
    exporter.settles_at(&recent_truth(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_state_counts_once() {
    let database = Cluster::shared().database().await;
    database
        .run(
            "create table jobs (id int primary key, state text not null, seconds float8, note int default 0, \
               updated_at timestamptz not null default now());
             create index on jobs (updated_at);
             insert into jobs select n, 'waiting' from generate_series(1, 60) n",
        )
        .await;
    let exporter = Setup::of(&database.url).start().await;
    let truth =
        async |sql: &str| Truth::about("jobs_finished_").query(&database, "jobs_finished_total", &["state"], sql).await;
    exporter.settles_at(&truth("select state, count(*) from jobs where state = 'done' group by 1").await).await;
    database.run("update jobs set state = 'running', updated_at = now() where id <= 40").await;
    database.run("update jobs set state = 'done', seconds = 5, updated_at = now() where id <= 25").await;
    database
        .run("update jobs set state = 'failed', seconds = 0.5, updated_at = now() where id between 26 and 30")
        .await;
    exporter
        .settles_at(&truth("select state, count(*) from jobs where state in ('done', 'failed') group by 1").await)
        .await;
    // Written again in the same state, again and again: nothing new happened.
    for _ in 0..3 {
        database.run("update jobs set note = note + 1, updated_at = now()").await;
        exporter.reads_again().await;
    }
    exporter.settles_at(&truth("values ('done', 25), ('failed', 5)").await).await;
    // A failed job that is tried again and gets done has reached both.
    database.run("update jobs set state = 'running', updated_at = now() where state = 'failed'").await;
    exporter.reads_again().await;
    database.run("update jobs set state = 'done', seconds = 20, updated_at = now() where id between 26 and 30").await;
    let scrape = exporter.settles_at(&truth("values ('done', 30), ('failed', 5)").await).await;
    assert_eq!(scrape.get("jobs_seconds_count", &[("state", "done")]), Some(30.0));
    assert_eq!(
        scrape
            .get("jobs_seconds_bucket", &[("state", "done"), ("le", "10.0")])
            .or(scrape.get("jobs_seconds_bucket", &[("state", "done"), ("le", "10")])),
        Some(25.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_unsettled_rows_than_keys_are_remembered() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = Setup::of(&database.url).with("limits", "{seen_keys: 1000}").sourced("page_rows", "100");
    let exporter = setup.start().await;
    let mut long = session(&database).await;
    say(&mut long, format!("begin; {}", insert(1, "now()"))).await;
    for _ in 0..4 {
        database.run(insert(400, "clock_timestamp()")).await;
        exporter.reads_again().await;
    }
    exporter
        .scrapes("it says that it waits", |scrape| {
            match scrape.get(
                "rowmetry_collector_settled_only",
                &[("collector", "events"), ("pack", "events"), ("source", "app")],
            ) {
                Some(1.0) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    // It is killed in the middle of it, and much happens before it is back.
    exporter.kill();
    database.run(insert(2500, "clock_timestamp()")).await;
    let exporter = setup.start().await;
    exporter.reads_again().await;
    say(&mut long, "commit").await;
    database.run(insert(70, "clock_timestamp()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(database.number("select count(*) from ledger").await, 1.0 + 1600.0 + 2500.0 + 70.0);
    database.run(insert(30, "clock_timestamp()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_and_odd_times() {
    let database = Cluster::shared().database().await;
    database
        .run(
            "create table odd (code char(26), part int, at timestamptz, kind text);
             create index on odd (at);
             insert into odd select 'k' || n, n, '2026-02-03 04:05:06.789', 'same time' from generate_series(1, 95) n;
             insert into odd select 'f' || n, n, '9999-12-31 23:59:59.999', 'far' from generate_series(1, 35) n;
             insert into odd select 'i' || n, n, 'infinity', 'endless' from generate_series(1, 25) n;
             insert into odd select 'b' || n, n, '1066-10-14', 'long ago' from generate_series(1, 15) n;
             -- No key: they cannot be told apart, and cost the others nothing.
             insert into odd select 'n' || n, null, '2026-03-01'::timestamptz + n * interval '1 s', 'keyless'
               from generate_series(1, 40) n;
             insert into odd select 'm' || n, n, '2026-03-01 00:00:20.5', 'among' from generate_series(1, 7) n",
        )
        .await;
    let exporter = Setup::of(&database.url).sourced("page_rows", "10").start().await;
    let truth = Truth::about("odd_total")
        .query(&database, "odd_total", &["kind"], "select kind, count(*) from odd where part is not null group by 1")
        .await;
    let scrape = exporter.settles_at(&truth).await;
    let refused = scrape.get(
        "rowmetry_rows_ignored_total",
        &[("collector", "odd"), ("pack", "odd"), ("reason", "key_missing"), ("source", "app")],
    );
    assert!(refused >= Some(40.0), "{refused:?}");
    exporter.reads_again().await;
    exporter.settles_at(&truth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_hides_what_it_does() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let exporter = Setup::of(&database.url).sourced("clock_margin", "0s").start().await;
    let mut hidden = session(&database).await;
    say(&mut hidden, format!("set track_activities = off; begin; {}", insert(3, "now()"))).await;
    for _ in 0..3 {
        database.run(insert(5, "clock_timestamp()")).await;
        exporter.reads_again().await;
    }
    say(&mut hidden, "commit; reset track_activities").await;
    exporter.settles_at(&events_truth(&database).await).await;
}
