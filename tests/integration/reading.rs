//! What a source may do, and what it makes of the values it meets.

use rowmetry::config::SourceSettings;
use rowmetry::pack::System;
use rowmetry::source::postgres::PostgresSource;
use rowmetry::source::{RowsQuery, RowsRange, SnapshotQuery, Source};
use rowmetry::telemetry::Reason;

use super::harness::{Cluster, Database};
use super::tables::{insert, make_events};

fn source(database: &Database<'_>) -> PostgresSource {
    let settings = SourceSettings::new("app", System::Postgres, database.url.clone().into());
    PostgresSource::new(&settings).expect("the URL is good")
}

fn query(sql: &str, columns: &[&str]) -> SnapshotQuery {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    SnapshotQuery { sql: sql.to_owned(), columns, parameters: Vec::new(), row_limit: 10 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_never_writes() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(format!("create sequence numbers; {}", insert(5, "now()"))).await;
    database
        .run(
            "create function wipe() returns int language plpgsql as \
               $$ begin delete from events; return 1; end $$",
        )
        .await;
    let source = source(&database);
    for sql in [
        "with gone as (delete from events returning 1) select 1 as n from gone",
        "select wipe() as n",
        "select nextval('numbers') as n",
        "select set_config('transaction_read_only', 'off', true) as n from (select wipe()) w",
        "select 1 as n) q; delete from events; select n from (select 1 as n",
        "select 1 as n) q limit 1; commit; delete from events; --",
    ] {
        let answer = source.read_snapshot(&query(sql, &["n"])).await;
        assert!(answer.is_err(), "{sql}: {answer:?}");
    }
    assert_eq!(database.number("select count(*) from events").await, 5.0);
    assert_eq!(database.number("select case when is_called then 1 else 0 end from numbers").await, 0.0);
    // A refusal costs nothing but itself.
    let rows = source.read_snapshot(&query("select count(*) as n from events", &["n"])).await.expect("it reads on");
    assert_eq!(rows.row(0).cell(0), Some("5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_are_text_without_surprise() {
    let database = Cluster::shared().database().await;
    database.run("create type mood as enum ('Sad', 'so so')").await;
    // The server's own settings must not show: every read sets its own.
    database.run(format!("alter database \"{}\" set timezone = 'America/New_York'", database.name)).await;
    database.run(format!("alter database \"{}\" set datestyle = 'German'", database.name)).await;
    database.run(format!("alter database \"{}\" set extra_float_digits = -3", database.name)).await;
    let source = source(&database);
    for (expression, text) in [
        ("null::int", None),
        ("'so so'::mood", Some("so so")),
        ("12.340000000000000000000000000001::numeric", Some("12.340000000000000000000000000001")),
        ("'NaN'::numeric", Some("NaN")),
        ("'-Infinity'::float8", Some("-Infinity")),
        ("0.1::float8 + 0.2::float8", Some("0.30000000000000004")),
        ("1.5::float4", Some("1.5")),
        ("32767::int2", Some("32767")),
        ("9223372036854775807::int8", Some("9223372036854775807")),
        ("true", Some("true")),
        ("'2026-03-04 05:06:07.000089'::timestamp", Some("2026-03-04 05:06:07.000089")),
        ("'2026-03-04 05:06:07+02'::timestamptz", Some("2026-03-04 03:06:07+00")),
        ("'infinity'::timestamptz", Some("infinity")),
        ("'2026-03-04'::date", Some("2026-03-04")),
        ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        ("array['a', null, 'b c']", Some("{a,NULL,\"b c\"}")),
        ("'{\"a\": [1, null]}'::json", Some("{\"a\": [1, null]}")),
        ("'{\"a\":1}'::jsonb ->> 'b'", None),
        ("'null'::jsonb", Some("null")),
        ("'žluť 学校'::varchar(20)", Some("žluť 学校")),
    ] {
        let rows = source
            .read_snapshot(&query(&format!("select {expression} as value"), &["value"]))
            .await
            .unwrap_or_else(|failure| panic!("{expression}: {failure}"));
        assert_eq!(rows.row(0).cell(0), text, "{expression}");
    }
    let long = source.read_snapshot(&query("select repeat('x', 50000000) as value", &["value"])).await;
    let length = long.expect("it is cut in the database").row(0).cell(0).map_or(0, str::len);
    assert!(length > 0 && length < 10_000, "{length}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_no_time() {
    let database = Cluster::shared().database().await;
    database.run("create table days (id int primary key, day date)").await;
    let query = RowsQuery {
        table: "days".to_owned(),
        key: vec!["id".to_owned()],
        time: "day".to_owned(),
        columns: Vec::new(),
        filter: None,
        transition: None,
        time_zone: "UTC".to_owned(),
        parameters: Vec::new(),
    };
    let range = RowsRange::of_everything(10);
    let refused = source(&database).read_rows(&query, &range).await.expect_err("it is before every moment of its day");
    assert_eq!(refused.reason, Reason::BadQuery);
    assert!(refused.message.contains("date"), "{refused}");
}
