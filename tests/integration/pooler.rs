//! Through a real PgBouncer in transaction mode every answer is the right one.

use std::sync::Arc;
use std::time::Duration;

use rowmetry::config::SourceSettings;
use rowmetry::pack::System;
use rowmetry::source::postgres::PostgresSource;
use rowmetry::source::{SnapshotQuery, Source};

use super::harness::pgbouncer::PgBouncer;
use super::harness::{Cluster, Setup};
use super::tables::{events_truth, insert, make_events};

/// Reads that are under way or waiting at once.
const READS: usize = 1000;
/// Clients that make them, each with a connection of its own to PgBouncer: as many reads are truly under way.
const CLIENTS: usize = READS;
/// Connections to the server.
const SERVER_CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_reads_at_once_get_a_thousand_right_answers() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    let pgbouncer = PgBouncer::before(cluster, SERVER_CONNECTIONS);
    let clients: Vec<Arc<PostgresSource>> = (0..CLIENTS)
        .map(|number| {
            let mut settings =
                SourceSettings::new(format!("client-{number}"), System::Postgres, pgbouncer.url(&database.name).into());
            settings.connect_timeout = Duration::from_secs(60);
            settings.statement_timeout = Duration::from_secs(60);
            Arc::new(PostgresSource::new(&settings).expect("the URL is good"))
        })
        .collect();
    let reads = (0..READS).map(|number| {
        let client = clients[number % CLIENTS].clone();
        tokio::spawn(async move {
            // Five texts of different shape, each with an answer of its own.
            let (expression, width) = match number % 5 {
                0 => (format!("{number}"), 1),
                1 => (format!("'text ' || {number}"), 2),
                2 => (format!("{number}.25::numeric"), 3),
                3 => (format!("array[{number}, null]"), 1),
                _ => (format!("{number} from pg_sleep(0.002)"), 1),
            };
            let others: String = (1..width).map(|column| format!("'other' as c{column}, ")).collect();
            let mut columns: Vec<String> = (1..width).map(|column| format!("c{column}")).collect();
            columns.push("answer".into());
            let (value, rest) = expression
                .split_once(" from ")
                .map_or((expression.as_str(), String::new()), |(value, from)| (value, format!(" from {from}")));
            let query = SnapshotQuery {
                sql: format!("select {others}{value} as answer{rest}"),
                columns,
                parameters: Vec::new(),
                row_limit: 10,
            };
            let rows = client.read_snapshot(&query).await.map_err(|failure| failure.to_string())?;
            let expected = match number % 5 {
                1 => format!("text {number}"),
                2 => format!("{number}.25"),
                3 => format!("{{{number},NULL}}"),
                _ => number.to_string(),
            };
            match (rows.len(), rows.row(0).cell(width - 1)) {
                (1, Some(answer)) if answer == expected => Ok(()),
                (length, answer) => Err(format!("read {number}: {length} rows, {answer:?} instead of {expected}")),
            }
        })
    });
    let mut wrong = Vec::new();
    for read in reads.collect::<Vec<_>>() {
        wrong.extend(read.await.expect("no read panics").err());
    }
    assert!(wrong.is_empty(), "{} of {READS} are wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let backends = database.number("select count(*) from pg_stat_activity where datname = current_database()").await;
    assert!(backends < (SERVER_CONNECTIONS + 16) as f64, "{backends} backends: the reads did not share connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_counts_through_it() {
    let cluster = Cluster::shared();
    let database = cluster.database().await;
    make_events(&database).await;
    // One connection to the server for all clients: the exporter has to share it with whoever else is there.
    let pgbouncer = PgBouncer::before(cluster, 1);
    let url = pgbouncer.url(&database.name);
    let others = sqlx::postgres::PgPoolOptions::new()
        .max_connections(8)
        .connect_with(url.parse::<sqlx::postgres::PgConnectOptions>().expect("it is a URL").extra_float_digits(None))
        .await
        .expect("pgbouncer runs");
    let exporter = Setup::of(&url).start().await;
    for _ in 0..5 {
        for _ in 0..20 {
            let sql = format!("begin; {}; commit", insert(3, "now()"));
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&others).await.expect("it is good SQL");
        }
        exporter.settles_at(&events_truth(&database).await).await;
    }
    assert!(pgbouncer.is_running());
}
