//! A real database is asked no oftener than its governor lets: seen from the server's own log.

use rowmetry::config::SourceSettings;
use rowmetry::pack::System;
use rowmetry::source::postgres::PostgresSource;
use rowmetry::source::spend::cost;
use rowmetry::source::{RowsQuery, RowsRange, SnapshotQuery, Source};

use super::harness::exporter::PATIENCE;
use super::harness::{Cluster, Database, Setup, eventually};
use super::tables::{events_truth, insert, make_events, make_orders};

/// A role whose every statement the server logs, and the URL for it.
async fn logged_role(database: &Database<'_>) -> (String, String) {
    let (role, url) = database.role("logged").await;
    database.run(format!("alter role {role} set log_statement = 'all'")).await;
    database.run(format!("grant select on all tables in schema public to {role}")).await;
    (role, url)
}

/// When the role's statements came, in milliseconds of the server's day, as its log has them.
fn statements(database: &Database<'_>, role: &str) -> Vec<(u64, String)> {
    let log = database.cluster.log_text();
    let own = format!(" {} {role} LOG:  ", database.name);
    let statements = log.lines().filter(|line| line.contains(&own)).filter_map(|line| {
        let what = line.split(&own).nth(1)?;
        let sent = what.strip_prefix("statement: ").or_else(|| what.strip_prefix("execute <unnamed>: "))?;
        // 2026-03-04 05:06:07.089 UTC
        let time = line.split(' ').nth(1)?;
        let mut parts = time.split([':', '.']).map(|part| part.parse::<u64>().expect("a time"));
        let mut part = || parts.next().expect("hours, minutes, seconds, milliseconds");
        let at = ((part() * 60 + part()) * 60 + part()) * 1000 + part();
        Some((at, sent.to_owned()))
    });
    statements.collect()
}

/// Milliseconds from one time of day to a later one.
fn between(from: u64, until: u64) -> u64 {
    (until + 86_400_000 - from) % 86_400_000
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_what_the_server_was_sent() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(5, "now()")).await;
    let (role, url) = logged_role(&database).await;
    let settings = SourceSettings::new("app", System::Postgres, url.into());
    let source = PostgresSource::new(&settings).expect("the URL is good");
    let rows = RowsQuery {
        table: "events".into(),
        key: vec!["id".into()],
        time: "created_at".into(),
        columns: Vec::new(),
        filter: None,
        transition: None,
        time_zone: "UTC".into(),
        parameters: Vec::new(),
    };
    let snapshot =
        |sql: &str| SnapshotQuery { sql: sql.into(), columns: vec!["n".into()], parameters: Vec::new(), row_limit: 10 };
    let mut told = 0;
    let mut costs = async |what: &str, connections: u64| {
        let sent = source.spend().total() - told - connections;
        told = source.spend().total();
        let logged = eventually(PATIENCE, what, async || {
            let logged = statements(&database, &role).len() as u64;
            // The log may lag behind the replies.
            if logged + 1 >= told { Ok(logged) } else { Err(format!("{logged} of {told} are logged")) }
        });
        assert_eq!(logged.await + 1, told, "{what}: {:#?}", statements(&database, &role));
        sent
    };
    source.existing_tables(&["events".into()]).await.expect("it answers");
    // Who the server is takes four more, once a connection.
    let first = costs("the look for packs and the connection", 1).await;
    assert!((cost::POSTGRES_QUERY..=cost::POSTGRES_QUERY + 4).contains(&first), "{first}");
    source.read_rows(&rows, &RowsRange::of_everything(100)).await.expect("it answers");
    assert_eq!(costs("rows", 0).await, cost::POSTGRES_ROWS);
    source.read_snapshot(&snapshot("select count(*) as n from events")).await.expect("it answers");
    assert_eq!(costs("a snapshot", 0).await, cost::POSTGRES_QUERY);
    source.count_rows(&rows, 0, 1).await.expect("it answers");
    assert_eq!(costs("a recount", 0).await, cost::POSTGRES_AUDIT);
    source.moment().await.expect("it answers");
    assert_eq!(costs("the moment", 0).await, cost::POSTGRES_QUERY);
    // The server logs no statement that it does not understand; it was sent all the same.
    source.read_snapshot(&snapshot("select n from nowhere")).await.expect_err("there is no such table");
    assert_eq!(source.spend().total() - told, cost::POSTGRES_QUERY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_application_is_read_in_rounds_and_its_next_row_is_counted() {
    /// Milliseconds without a statement after which the database would suspend.
    const SUSPENDS: u64 = 1000;
    /// Milliseconds from round to round at most, and what a busy machine adds.
    const LONGEST: u64 = 4000 + 3000;
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    make_orders(&database).await;
    let (role, url) = logged_role(&database).await;
    let exporter = Setup::of(&url).sourced("idle", "{after: 1s, interval: 4s, suspends_after: 1s}").start().await;
    // Busy: each row is counted before the next is written, and nothing falls quiet.
    for _ in 0..8 {
        database.run(insert(3, "now()")).await;
        exporter.settles_at(&events_truth(&database).await).await;
    }
    let idle = |scrape: &super::harness::Scrape| scrape.get("rowmetry_source_idle", &[("source", "app")]);
    exporter
        .scrapes("the application is quiet", |scrape| match idle(scrape) {
            Some(1.0) => Ok(()),
            other => Err(format!("idle is {other:?}")),
        })
        .await;
    let quiet_from = statements(&database, &role).len();
    // Bursts of statements that lie further apart than the time to suspend.
    let bursts = || {
        let mut bursts: Vec<(u64, u64, usize)> = Vec::new();
        for (at, _) in statements(&database, &role).into_iter().skip(quiet_from.saturating_sub(1)) {
            match bursts.last_mut() {
                Some((_, end, size)) if between(*end, at) <= SUSPENDS => (*end, *size) = (at, *size + 1),
                _ => bursts.push((at, at, 1)),
            }
        }
        bursts
    };
    let rounds = eventually(PATIENCE, "five rounds", async || {
        let bursts = bursts();
        if bursts.len() > 5 { Ok(bursts) } else { Err(format!("{bursts:?}")) }
    })
    .await;
    for pair in rounds.windows(2) {
        let gap = between(pair[0].1, pair[1].0);
        assert!(gap > SUSPENDS && gap < LONGEST, "{gap} ms between two rounds of {rounds:?}");
    }
    for (began, ended, size) in &rounds[1..rounds.len() - 1] {
        assert!(between(*began, *ended) < SUSPENDS, "a burst is short: {rounds:?}");
        // Two tables with new rows and a snapshot, together.
        assert!(*size as u64 >= 2 * cost::POSTGRES_ROWS + cost::POSTGRES_QUERY, "all read together: {rounds:?}");
    }
    let shown = exporter.scrape().await;
    let interval = shown
        .get("rowmetry_collector_interval_seconds", &[("source", "app"), ("pack", "events"), ("collector", "events")]);
    assert!(interval.is_some_and(|seconds| seconds > 1.5), "{interval:?}");
    assert_eq!(shown.sum("rowmetry_collector_up", &[]), 3.0, "nothing is withdrawn for it");
    // The morning.
    database.run(insert(20, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    database.run(insert(4, "now()")).await;
    let scrape = exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(idle(&scrape), Some(0.0));
    let counted = scrape.get("rowmetry_source_statements_total", &[("source", "app")]).expect("it is counted");
    let logged = statements(&database, &role).len() as f64;
    assert!(counted >= 100.0 && (logged - counted).abs() < logged / 4.0, "{counted} counted and {logged} logged");
    let awake = scrape.get("rowmetry_source_awake_seconds_total", &[("source", "app")]).expect("it is estimated");
    assert!(awake > 1.0, "{awake}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_held_and_shown() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    make_orders(&database).await;
    database.run(insert(10, "now()")).await;
    let truth = events_truth(&database).await;
    let exporter = Setup::of(&database.url).sourced("budget", "{per_day: 300}").spawn();
    let labels = [("source", "app"), ("budget", "statements")];
    let scrape = exporter
        .scrapes("the interval is stretched", |scrape| {
            truth.compare(scrape)?;
            let longest = scrape.of("rowmetry_collector_interval_seconds", &[]).map(|(_, value)| value);
            let longest = longest.fold(0.0, f64::max);
            if longest > 100.0 { Ok(()) } else { Err(format!("{longest} s")) }
        })
        .await;
    assert_eq!(scrape.get("rowmetry_source_budget_limit", &labels), Some(300.0));
    let spent = scrape.get("rowmetry_source_budget_spent", &labels).expect("it is shown");
    let sent = scrape.get("rowmetry_source_statements_total", &[("source", "app")]).expect("it is counted");
    assert!((20.0..=300.0).contains(&spent), "{spent}");
    assert!(spent <= sent, "{spent} of {sent}");
    assert_eq!(scrape.get("rowmetry_source_budget_exhausted", &[("source", "app")]), Some(0.0));
}
