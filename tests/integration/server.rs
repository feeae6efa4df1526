//! A real Postgres server's own figures: what the pack `postgres` tells is what the server says to whoever asks it.

use std::collections::BTreeMap;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::harness::exporter::{PATIENCE, states};
use super::harness::exposition::key;
use super::harness::prometheus::promtool_complaints;
use super::harness::{Cluster, Database, Scrape, Setup, eventually, python};

/// Every collector of the pack; `statements` needs an extension.
const COLLECTORS: [&str; 6] = ["settings", "activity", "database", "size", "locks", "statements"];
/// Every state of a session that the server knows.
const STATES: [&str; 6] =
    ["active", "idle", "idle in transaction", "idle in transaction (aborted)", "fastpath function call", "disabled"];

fn reading(url: &str) -> Setup {
    let often = COLLECTORS.map(|name| format!("postgres/{name}: 250ms")).join(", ");
    let mut setup = Setup::of(url).with_server().sourced("intervals", format!("{{{often}}}"));
    setup.settings.remove("packs");
    setup
}

async fn session(database: &Database<'_>, sql: &'static str) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.expect("the server runs");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("it is good SQL");
    connection
}

/// Sessions by state, as they are when neither the test nor anybody else asks and the exporter does.
async fn sessions(database: &Database<'_>) -> BTreeMap<String, f64> {
    let sql = "select coalesce(state, 'unknown'), count(*) from pg_stat_activity where datname = current_database() \
               and pid <> pg_backend_pid() and application_name <> 'rowmetry' group by 1";
    let mut counts: BTreeMap<String, f64> = STATES.map(|state| (state.to_owned(), 0.0)).into();
    for row in database.rows(sql).await {
        let [Some(state), Some(count)] = row.as_slice() else { panic!("{row:?}") };
        counts.insert(state.clone(), count.parse().expect("a count is a number"));
    }
    // The test's own session idles while the exporter's is active.
    *counts.get_mut("idle").expect("it is there") += 1.0;
    *counts.get_mut("active").expect("it is there") += 1.0;
    counts
}

fn of_states(scrape: &Scrape, metric: &str, datname: &str) -> BTreeMap<String, f64> {
    scrape
        .of(metric, &[("datname", datname)])
        .map(|(series, value)| {
            (
                series
                    .split("state=\"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next())
                    .expect("it has a state")
                    .to_owned(),
                value,
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_statements_and_locks_are_told_as_they_are() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    database.run("create table orders (id int)").await;
    let name = database.name.as_str();
    let of = [("datname", name)];
    let exporter = reading(&database.url).start().await;
    let slow = async |wanted: f64| {
        exporter
            .scrapes(&format!("{wanted} statements are slow"), |scrape| {
                match scrape.get("rowmetry_pg_slow_statements", &of) {
                    Some(value) if value == wanted => Ok(()),
                    value => Err(format!("{value:?}")),
                }
            })
            .await
    };
    slow(0.0).await;

    let mut holder = session(&database, "begin; lock table orders in share row exclusive mode").await;
    let mut broken = session(&database, "begin").await;
    sqlx::raw_sql("select 1/0").execute(&mut broken).await.expect_err("nobody can divide by 0");
    let mut sleeper = PgConnection::connect(&database.url).await.expect("the server runs");
    let sleeper =
        tokio::spawn(async move { sqlx::raw_sql("select pg_sleep(600)").execute(&mut sleeper).await.map(drop) });
    slow(1.0).await;
    let patient = reading(&database.url).with("parameters", "{postgres: {slow_statement_seconds: 3600}}").start().await;
    let scrape = patient.reads_again().await;
    assert_eq!(scrape.get("rowmetry_pg_slow_statements", &of), Some(0.0), "nothing runs for an hour");
    assert_eq!(scrape.get("rowmetry_pg_slow_statement_seconds", &[]), Some(3600.0));
    drop(patient);

    eventually(PATIENCE, "sessions by state", async || {
        let (truth, scrape) = (sessions(&database).await, exporter.scrape().await);
        let said = of_states(&scrape, "pg_stat_activity_count", name);
        if said == truth { Ok(()) } else { Err(format!("{said:?}, in truth {truth:?}")) }
    })
    .await;
    let open = "select extract(epoch from now() - xact_start) from pg_stat_activity where state = 'idle in transaction' \
                and datname = current_database()";
    let before = database.number(&format!("{open} order by 1 desc limit 1")).await;
    let scrape = exporter.reads_again().await;
    let after = database.number(&format!("{open} order by 1 desc limit 1")).await;
    let durations = of_states(&scrape, "pg_stat_activity_max_tx_duration", name);
    assert!((before..after).contains(&durations["idle in transaction"]), "{before} {durations:?} {after}");
    assert_eq!(
        (durations["idle"], durations["disabled"], durations["active"] > 0.5),
        (0.0, 0.0, true),
        "{durations:?}"
    );
    assert_eq!(durations.len(), STATES.len());

    for (mode, wanted) in [("sharerowexclusivelock", 1.0), ("accessexclusivelock", 0.0), ("sireadlock", 0.0)] {
        assert_eq!(scrape.get("pg_locks_count", &[("datname", name), ("mode", mode)]), Some(wanted), "{mode}");
    }
    assert_eq!(scrape.of("pg_locks_count", &of).count(), 9);
    let max = database.number("current_setting('max_connections')::int").await;
    assert_eq!(scrape.get("pg_settings_max_connections", &[]), Some(max));
    assert_eq!(
        (scrape.get("pg_up", &[]), scrape.get("rowmetry_pg_slow_statement_seconds", &[])),
        (Some(1.0), Some(0.5))
    );

    database.run("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)' and pid <> pg_backend_pid()").await;
    sleeper.await.expect("no client panics").expect_err("it was ended");
    slow(0.0).await;
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("it is good SQL");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_and_sizes_are_the_servers_own() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let name = database.name.as_str();
    let exporter = reading(&database.url).with("parameters", "{postgres: {storage_quota_bytes: 5e8}}").start().await;
    database
        .run("create table a (id int primary key, v text); insert into a select n, repeat('x', 100) from generate_series(1, 20000) n")
        .await;
    database
        .run("set work_mem = '64kB'; select count(*) from (select * from a order by v, id offset 1) x; reset work_mem")
        .await;
    deadlock(&database).await;
    let columns = [
        "numbackends",
        "xact_commit",
        "xact_rollback",
        "deadlocks",
        "conflicts",
        "blks_hit",
        "blks_read",
        "temp_bytes",
        "temp_files",
        "tup_returned",
        "tup_fetched",
        "tup_inserted",
        "tup_updated",
        "tup_deleted",
    ];
    let told = async || {
        let sql = format!("select {} from pg_stat_database where datname = current_database()", columns.join(", "));
        let row = database.rows(&sql).await.remove(0);
        row.into_iter()
            .map(|cell| cell.and_then(|cell| cell.parse::<f64>().ok()).expect("it is a number"))
            .collect::<Vec<_>>()
    };
    eventually(PATIENCE, "the server has counted", async || {
        let told = told().await;
        if told[3] == 1.0 && told[7] > 0.0 && told[11] >= 20_000.0 { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    let before = told().await;
    let scrape = exporter.reads_again().await;
    let after = told().await;
    for (index, column) in columns.iter().enumerate().skip(1) {
        let value = scrape.get(&format!("pg_stat_database_{column}"), &[("datname", name)]);
        let value = value.unwrap_or_else(|| panic!("{column} is missing"));
        assert!(
            (before[index]..=after[index]).contains(&value),
            "{column}: {} {value} {}",
            before[index],
            after[index]
        );
        assert_eq!(scrape.types[&format!("pg_stat_database_{column}")], "counter");
    }
    assert!(scrape.get("pg_stat_database_numbackends", &[("datname", name)]) >= Some(1.0));
    eventually(PATIENCE, "the size", async || {
        let size = database.number("pg_database_size(current_database())").await;
        match exporter.scrape().await.get("pg_database_size_bytes", &[("datname", name)]) {
            Some(value) if value == size => Ok(()),
            value => Err(format!("{value:?}, in truth {size}")),
        }
    })
    .await;
    assert_eq!(scrape.get("rowmetry_pg_storage_quota_bytes", &[]), Some(5e8));

    let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
    assert_eq!(promtool_complaints(&reply.body), "");
    let reply = exporter.get("/metrics", "application/openmetrics-text;version=1.0.0").await.expect("it answers");
    let parsed = python::run("check_openmetrics.py", &reply.body).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        parsed["families"]["pg_stat_database_deadlocks"], "unknown",
        "a counter of another ending keeps its name"
    );
    assert!(reply.text().contains(&format!("\npg_stat_database_deadlocks{{source=\"app\",datname=\"{name}\"}} 1\n")));
}

/// Two sessions that wait for each other, one of which the server ends.
async fn deadlock(database: &Database<'_>) {
    database.run("create table b (id int primary key, v int); insert into b values (1, 0), (2, 0)").await;
    let mut one = session(database, "begin; update b set v = 1 where id = 1").await;
    let mut other = session(database, "begin; update b set v = 1 where id = 2").await;
    let (first, second) = tokio::join!(
        async { sqlx::raw_sql("update b set v = 2 where id = 2; commit").execute(&mut one).await.map(drop) },
        async { sqlx::raw_sql("update b set v = 2 where id = 1; commit").execute(&mut other).await.map(drop) },
    );
    assert!(first.is_err() != second.is_err(), "one of them was ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_may_not_see_is_absent_and_not_zero() {
    let cluster = Cluster::shared();
    let (database, closed) = (cluster.database().await, cluster.database().await);
    let (role, url) = database.role("watcher").await;
    database.run(format!("revoke connect on database {} from public", closed.name)).await;
    let _open = session(&database, "begin").await;
    let exporter = reading(&url).start().await;
    let name = database.name.as_str();
    let scrape = exporter.reads_again().await;
    let said = of_states(&scrape, "pg_stat_activity_count", name);
    assert_eq!(said.get("active"), Some(&1.0), "its own session: {said:?}");
    assert!(said.get("unknown").is_some_and(|count| *count >= 1.0), "{said:?}");
    assert_eq!(said.len(), 2, "states that may be others' are not 0: {said:?}");
    let total = eventually(PATIENCE, "all sessions are counted", async || {
        let truth: f64 = sessions(&database).await.values().sum();
        let said: f64 = of_states(&exporter.scrape().await, "pg_stat_activity_count", name).values().sum();
        if said == truth { Ok(said) } else { Err(format!("{said}, in truth {truth}")) }
    })
    .await;
    assert!(total >= 3.0);
    let durations = of_states(&scrape, "pg_stat_activity_max_tx_duration", name);
    assert_eq!(durations.keys().collect::<Vec<_>>(), ["active"], "nobody told it of the others");
    assert_eq!(scrape.get("rowmetry_pg_slow_statements", &[("datname", name)]), None);
    assert!(scrape.get("pg_database_size_bytes", &[("datname", name)]) > Some(0.0));
    assert_eq!(scrape.get("pg_database_size_bytes", &[("datname", &closed.name)]), None);
    assert_eq!(scrape.get("rowmetry_pg_storage_quota_bytes", &[]), None, "there is no quota unless it is set");
    for collector in COLLECTORS {
        let wanted = if collector == "statements" { "absent" } else { "ok" };
        assert_eq!(states(&scrape, collector), [wanted], "{collector}");
    }

    database.run(format!("grant pg_read_all_stats to {role}")).await;
    exporter
        .scrapes("the role sees everything", |scrape| {
            let said = of_states(scrape, "pg_stat_activity_count", name);
            let size = scrape.get("pg_database_size_bytes", &[("datname", &closed.name)]);
            let slow = scrape.get("rowmetry_pg_slow_statements", &[("datname", name)]);
            let sees = said.len() == STATES.len() && said["idle in transaction"] == 1.0 && slow == Some(0.0);
            if sees && size > Some(0.0) { Ok(()) } else { Err(format!("{said:?} {slow:?} {size:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_is_content_with_a_server_that_lacks_an_extension() {
    let database = Cluster::shared().database().await;
    // Made, but its library is not loaded: as good as not there.
    database.run("create extension pg_stat_statements").await;
    super::tables::make_events(&database).await;
    let setup = reading(&database.url)
        .with("packs", format!("[\"{}\"]", super::harness::test_file("integration/packs").display()));
    let check = setup.command(&["check"]).output().expect("the binary can be started");
    let report = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{report}");
    assert!(report.contains("its metrics stay absent"), "{report}");
    assert!(report.contains("GRANT pg_read_all_stats TO rowmetry;"), "{report}");
    assert!(!report.contains("pg_catalog") && !report.contains("Not in this list"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_fingerprints_are_told_by_number_and_never_by_text() {
    let cluster = Cluster::private();
    let database = cluster.database().await;
    let exporter = reading(&database.url).with("parameters", "{postgres: {statements_shown: 3}}").start().await;
    exporter.state("statements", "absent").await;
    database.run("alter system set shared_preload_libraries = 'pg_stat_statements'").await;
    cluster.stop();
    let up = async |wanted: f64| {
        exporter
            .scrapes(&format!("pg_up is {wanted}"), |scrape| match scrape.get("pg_up", &[]) {
                Some(up) if up == wanted => Ok(()),
                up => Err(format!("{up:?}")),
            })
            .await
    };
    let down = up(0.0).await;
    assert_eq!(down.get("pg_settings_max_connections", &[]), None, "what a server that is down says of itself");
    cluster.start();
    up(1.0).await;
    database.run("create extension pg_stat_statements").await;
    for _ in 0..4 {
        database.run("select pg_sleep(0.2) as hidden_words").await;
    }
    for number in 0..30 {
        database.run(format!("select 1 as one, {}", vec!["2"; number + 1].join(", "))).await;
    }
    let of_sleep = "select s.queryid::text, s.calls, s.total_exec_time / 1000, s.mean_exec_time / 1000, s.rows from \
                    pg_stat_statements s where s.query like '%hidden_words' and s.query not like '%like%'";
    let row = database.rows(of_sleep).await.remove(0);
    let cells: Vec<String> = row.into_iter().flatten().collect();
    let labels = [("user", "postgres"), ("datname", database.name.as_str()), ("queryid", cells[0].as_str())];
    let number = |cell: usize| cells[cell].parse::<f64>().expect("it is a number");
    let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * other;
    let scrape = exporter
        .scrapes("the fingerprint is told", |scrape| match scrape.get("pg_stat_statements_calls_total", &labels) {
            Some(4.0) => Ok(()),
            calls => Err(format!("{calls:?} at {}", key("", &labels))),
        })
        .await;
    let get = |name: &str| scrape.get(name, &labels).unwrap_or_else(|| panic!("{name} is missing"));
    assert!(close(get("pg_stat_statements_seconds_total"), number(2)) && number(2) >= 0.8);
    assert!(close(get("rowmetry_pg_statement_mean_seconds"), number(3)));
    assert_eq!(get("pg_stat_statements_rows_total"), number(4));
    for _ in 0..3 {
        let scrape = exporter.reads_again().await;
        let shown = scrape.of("pg_stat_statements_calls_total", &[]).count();
        assert!((3..=6).contains(&shown), "three by time and three by mean: {shown}");
    }
    let text = exporter.get("/metrics", "text/plain").await.expect("it answers").text();
    assert!(!text.contains("hidden_words") && !text.contains("redacted"), "{text}");
}
