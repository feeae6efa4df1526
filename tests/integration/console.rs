//! A real PgBouncer's console: what it tells is the truth, and what it does not tell is absent.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rowmetry::config::{SourceSettings, Upstream};
use rowmetry::pack::Show;
use rowmetry::source::Reader as _;
use rowmetry::source::pgbouncer::{Console, ShowReader};
use rowmetry::telemetry::Reason;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::harness::exporter::PATIENCE;
use super::harness::pgbouncer::PgBouncer;
use super::harness::prometheus::promtool_complaints;
use super::harness::{Cluster, Exporter, Setup, eventually, python};

/// Every collector of the pack.
const COLLECTORS: [&str; 6] = ["pools", "stats_totals", "databases", "lists", "config", "version"];

fn reading(url: &str) -> Setup {
    let often = COLLECTORS.map(|name| format!("pgbouncer/{name}: 250ms")).join(", ");
    let mut setup = Setup::of(url)
        .with_server()
        .sourced("intervals", format!("{{{often}}}"))
        .sourced("statement_timeout", "1s")
        .sourced("connect_timeout", "1s");
    setup.settings.remove("packs");
    setup
}

async fn client(pgbouncer: &PgBouncer, database: &str) -> PgConnection {
    let options = pgbouncer.url(database).parse::<PgConnectOptions>().expect("it is a URL");
    PgConnection::connect_with(&options.extra_float_digits(None)).await.expect("the pooler runs")
}

/// Waits until the gauge for the pool is this.
async fn pool_has(exporter: &Exporter, database: &str, what: &str, wanted: f64) {
    let name = format!("pgbouncer_pools_{what}");
    let labels = [("database", database), ("user", "postgres")];
    exporter
        .scrapes(&format!("{name} is {wanted}"), |scrape| match scrape.get(&name, &labels) {
            Some(value) if value == wanted => Ok(()),
            value => Err(format!("{value:?}")),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_and_those_who_wait_are_told() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let pgbouncer = PgBouncer::strict(cluster, 2);
    let exporter = reading(&pgbouncer.console("watcher", "watcher")).start().await;

    // Two transactions hold the two connections to the server; three more clients wait.
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut holder = client(&pgbouncer, &database.name).await;
        sqlx::raw_sql("begin; select 1").execute(&mut holder).await.expect("it is good SQL");
        holders.push(holder);
    }
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut waiter = client(&pgbouncer, &database.name).await;
        waiting.push(tokio::spawn(async move { sqlx::raw_sql("select 1").execute(&mut waiter).await.map(drop) }));
    }
    for (what, wanted) in
        [("client_active_connections", 2.0), ("client_waiting_connections", 3.0), ("server_active_connections", 2.0)]
    {
        pool_has(&exporter, &database.name, what, wanted).await;
    }
    let of_pool = [("database", database.name.as_str()), ("user", "postgres")];
    exporter
        .scrapes("somebody has waited for a second", |scrape| {
            match scrape.get("pgbouncer_pools_client_maxwait_seconds", &of_pool) {
                Some(waited) if waited >= 1.0 => Ok(()),
                waited => Err(format!("{waited:?}")),
            }
        })
        .await;
    let scrape = exporter.scrape().await;
    for idle in ["idle", "used", "testing", "login", "active_cancel", "being_canceled"] {
        assert_eq!(scrape.get(&format!("pgbouncer_pools_server_{idle}_connections"), &of_pool), Some(0.0), "{idle}");
    }
    for (name, wanted) in [
        ("pgbouncer_up", 1.0),
        ("pgbouncer_config_max_client_connections", 2000.0),
        ("pgbouncer_config_max_user_connections", 0.0),
        // Two that hold, three that wait, and the exporter itself.
        ("pgbouncer_used_clients", 6.0),
        ("pgbouncer_login_clients", 0.0),
        ("pgbouncer_used_servers", 2.0),
    ] {
        assert_eq!(scrape.get(name, &[]), Some(wanted), "{name}");
    }
    let of_database =
        [("name", &*database.name), ("database", &*database.name), ("force_user", "postgres"), ("pool_mode", "")];
    for (what, wanted) in
        [("pool_size", 2.0), ("current_connections", 2.0), ("max_connections", 0.0), ("paused", 0.0), ("disabled", 0.0)]
    {
        let name = format!("pgbouncer_databases_{what}");
        assert_eq!(
            scrape.get(&name, &of_database),
            Some(wanted),
            "{name}: {:?}",
            scrape.of(&name, &[]).collect::<Vec<_>>()
        );
    }
    let version = String::from_utf8(
        Command::new(super::harness::program("pgbouncer")).arg("--version").output().expect("it starts").stdout,
    )
    .expect("it is text");
    let version = version.lines().next().expect("its first line is its name");
    assert_eq!(scrape.get("pgbouncer_version_info", &[("version", version)]), Some(1.0), "{version}");

    for mut holder in holders {
        sqlx::raw_sql("commit").execute(&mut holder).await.expect("it is good SQL");
    }
    for waiter in waiting {
        waiter.await.expect("no client panics").expect("its turn came");
    }
    pool_has(&exporter, &database.name, "client_waiting_connections", 0.0).await;
    pool_has(&exporter, &database.name, "server_active_connections", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_the_servers_own_in_seconds_and_bytes() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let pgbouncer = PgBouncer::strict(cluster, 2);
    let exporter = reading(&pgbouncer.console("watcher", "watcher")).start().await;
    let mut client = client(&pgbouncer, &database.name).await;
    for _ in 0..7 {
        sqlx::raw_sql("select pg_sleep(0.05)").execute(&mut client).await.expect("it is good SQL");
    }
    let console = pgbouncer.console("boss", "boss").parse::<PgConnectOptions>().expect("it is a URL");
    let mut console = PgConnection::connect_with(&console.extra_float_digits(None)).await.expect("boss may");
    let of_database = [("database", database.name.as_str())];
    let truth = async |console: &mut PgConnection, column: &str| -> f64 {
        use sqlx::Row as _;
        let rows = sqlx::raw_sql("SHOW STATS_TOTALS").fetch_all(console).await.expect("boss may");
        let text = |row: &sqlx::postgres::PgRow, column: &str| -> String {
            row.try_get_raw(column).expect("it is there").as_str().expect("it is text").to_owned()
        };
        let row = rows.iter().find(|row| text(row, "database") == database.name).expect("it was used");
        text(row, column).parse().expect("it is a number")
    };
    for (name, column, scale) in [
        ("queries_pooled_total", "query_count", 1.0),
        ("sql_transactions_pooled_total", "xact_count", 1.0),
        ("queries_duration_seconds_total", "query_time", 1e-6),
        ("server_in_transaction_seconds_total", "xact_time", 1e-6),
        ("client_wait_seconds_total", "wait_time", 1e-6),
        ("received_bytes_total", "bytes_received", 1.0),
        ("sent_bytes_total", "bytes_sent", 1.0),
    ] {
        let name = format!("pgbouncer_stats_totals_{name}");
        let truth = truth(&mut console, column).await * scale;
        eventually(PATIENCE, &name, async || match exporter.scrape().await.get(&name, &of_database) {
            Some(value) if (value - truth).abs() <= 1e-9 * truth => Ok(()),
            value => Err(format!("{value:?}, in truth {truth}")),
        })
        .await;
    }
    let scrape = exporter.reads_again().await;
    assert_eq!(scrape.get("pgbouncer_stats_totals_queries_pooled_total", &of_database), Some(7.0));
    let seconds = scrape.get("pgbouncer_stats_totals_queries_duration_seconds_total", &of_database).unwrap_or_default();
    assert!((0.35..20.0).contains(&seconds), "{seconds} s for seven queries of 0.05 s");
    // What this version does not tell is absent, and costs nothing else.
    let has_parses = truth_of_columns(&mut console).await.contains(&"client_parse_count".to_owned());
    assert_eq!(scrape.get("pgbouncer_stats_totals_client_parses_total", &of_database).is_some(), has_parses);
    for name in COLLECTORS {
        assert_eq!(super::harness::exporter::states(&scrape, name), ["ok"], "{name}");
    }
    let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
    assert_eq!(promtool_complaints(&reply.body), "");
    let reply = exporter.get("/metrics", "application/openmetrics-text;version=1.0.0").await.expect("it answers");
    python::run("check_openmetrics.py", &reply.body).unwrap_or_else(|e| panic!("{e}"));
}

async fn truth_of_columns(console: &mut PgConnection) -> Vec<String> {
    use sqlx::{Column as _, Row as _};
    let rows = sqlx::raw_sql("SHOW STATS_TOTALS").fetch_all(console).await.expect("boss may");
    rows[0].columns().iter().map(|column| column.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_use_the_console_is_told_what_to_do() {
    let pgbouncer = PgBouncer::strict(Cluster::shared(), 1);
    for (user, password, state, up, says) in [
        ("plain", "plain", "forbidden", 1.0, "stats_users"),
        ("watcher", "hunter2", "unreachable", 0.0, "authentication failed"),
        ("nobody", "hunter2", "unreachable", 0.0, "authentication failed"),
    ] {
        let exporter = reading(&pgbouncer.console(user, password)).spawn();
        let scrape = exporter.state("pools", state).await;
        assert_eq!(scrape.get("pgbouncer_up", &[]), Some(up), "{user}");
        let told: Vec<&String> = scrape.series.keys().filter(|series| series.starts_with("pgbouncer_pools_")).collect();
        assert!(told.is_empty(), "{user}: {told:?}");
        exporter.logs(says).await;
        assert!(!exporter.log_text().contains("hunter2"), "the log tells the password");
        let check = exporter.setup.command(&["check"]).output().expect("the binary can be started");
        let report = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(!check.status.success() && report.contains(says) && !report.contains("hunter2"), "{user}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_the_version_and_what_it_lacks() {
    let pgbouncer = PgBouncer::strict(Cluster::shared(), 1);
    let setup = reading(&pgbouncer.console("watcher", "watcher"));
    let check = setup.command(&["check"]).output().expect("the binary can be started");
    let report = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{report}");
    assert!(report.contains("SHOW POOLS of PgBouncer 1."), "{report}");
    let lacks = report.contains("does not tell client_parse_count, server_parse_count, bind_count");
    let options = pgbouncer.console("boss", "boss").parse::<PgConnectOptions>().expect("it is a URL");
    let mut console = PgConnection::connect_with(&options.extra_float_digits(None)).await.expect("boss may");
    assert_eq!(lacks, !truth_of_columns(&mut console).await.contains(&"client_parse_count".to_owned()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_restarts_or_stalls_is_seen_and_found_again() {
    let pgbouncer = PgBouncer::strict(Cluster::shared(), 1);
    let exporter = reading(&pgbouncer.console("watcher", "watcher")).start().await;
    let up = async |wanted: f64| {
        exporter
            .scrapes(&format!("pgbouncer_up is {wanted}"), |scrape| match scrape.get("pgbouncer_up", &[]) {
                Some(value) if value == wanted => Ok(()),
                value => Err(format!("{value:?}")),
            })
            .await
    };
    up(1.0).await;

    let failures = |scrape: &super::harness::Scrape| {
        scrape.sum("rowmetry_collector_failures_total", &[("reason", "bad_query")])
            + scrape.sum("rowmetry_collector_failures_total", &[("reason", "bad_reply")])
    };
    pgbouncer.stop();
    let down = up(0.0).await;
    let told: Vec<&String> = down.series.keys().filter(|series| series.starts_with("pgbouncer_pools_")).collect();
    assert!(told.is_empty(), "the pools of a pooler that is down: {told:?}");
    pgbouncer.start();
    up(1.0).await;
    let scrape = exporter.reads_again().await;
    assert_eq!(failures(&scrape), 0.0);
    assert!(scrape.sum("rowmetry_collector_failures_total", &[("reason", "unreachable")]) > 0.0);

    pgbouncer.freeze();
    exporter.state("pools", "timeout").await;
    let frozen = up(0.0).await;
    assert!(frozen.sum("rowmetry_collector_failures_total", &[("reason", "silent")]) > 0.0);
    pgbouncer.thaw();
    up(1.0).await;
    exporter.reads_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_kept_made_anew_and_every_command_counted() {
    let pgbouncer = PgBouncer::strict(Cluster::shared(), 1);
    let mut settings = SourceSettings::new("pool", Upstream::Pgbouncer, pgbouncer.console("watcher", "watcher").into());
    settings.statement_timeout = Duration::from_secs(1);
    let console = Arc::new(Console::new(&settings).expect("the URL is good"));
    let reader = |command: &str, columns: &[&str]| {
        let columns = columns.iter().map(|column| column.to_string()).collect();
        ShowReader::new(console.clone(), &Show { command: command.into() }, columns)
    };
    let mut lists = reader("LISTS", &["used_clients"]);
    let mut pools = reader("POOLS", &["database", "user"]);
    for asked in 1..=3 {
        let rows = lists.read(0).await.expect("it answers").rows.expect("it is whole");
        assert_eq!(rows.row(0).cell(0), Some("1"), "one client: it has one connection");
        assert_eq!(console.spend().total(), asked);
    }
    // A restart between two reads is no failure: the connection that idled is made anew.
    pgbouncer.stop();
    pgbouncer.start();
    let rows = pools.read(0).await.expect("it answers").rows.expect("it is whole");
    assert_eq!((rows.row(0).cell(0), rows.row(0).cell(1)), (Some("pgbouncer"), Some("pgbouncer")));
    assert_eq!(console.spend().total(), 5, "one to the connection that was gone, one to the new");

    for (command, reason) in [
        ("POOLS; SHUTDOWN", Reason::BadQuery),
        ("pools", Reason::BadQuery),
        ("NEWS", Reason::MissingTable),
        ("FDS", Reason::Forbidden),
    ] {
        let failure = reader(command, &["a"]).read(0).await.expect_err("no such answer");
        assert_eq!(failure.reason, reason, "{command}: {failure}");
    }
    assert_eq!(console.spend().total(), 7, "what is no word was not sent");
    pgbouncer.freeze();
    lists.read(0).await.expect_err("it is frozen");
    pgbouncer.thaw();
    lists.read(0).await.expect("it answers again");
    let many =
        futures_util::future::join_all((0..20).map(|_| {
            let mut lists = reader("LISTS", &["used_clients"]);
            async move {
                lists.read(0).await.expect("it answers").rows.expect("it is whole").row(0).cell(0).map(str::to_owned)
            }
        }));
    assert_eq!(many.await, vec![Some("1".to_owned()); 20], "all in turn on the one connection");
}
