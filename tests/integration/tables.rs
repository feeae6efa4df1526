//! The tables of the tests' own packs, and their truth.
//!
//! A trigger copies each row at its insert to a ledger that no test updates or deletes from; it commits and rolls back
//! with the row. The ledger is the truth, so what later happens to a row does not change it.

use super::harness::{Database, Truth};

/// Buckets of every histogram over seconds of events.
const BUCKETS: [&str; 4] = ["0.5", "1", "2.5", "5"];

/// Makes `events` and its ledger.
pub async fn make_events(database: &Database<'_>) {
    database
        .run(
            "create table events (id uuid primary key default gen_random_uuid(), created_at timestamptz default now(), \
               kind text, amount numeric, seconds float8);
             create index on events (created_at);
             create table ledger (like events);
             create function keep() returns trigger language plpgsql security definer as \
               $$ begin
                 execute 'insert into public.ledger select ($1).id, ($1).created_at, ($1).kind, ($1).amount, ($1).seconds' \
                   using new;
                 return null;
               end $$;
             create trigger keep after insert on events for each row execute function keep()",
        )
        .await;
}

/// Makes `orders`.
pub async fn make_orders(database: &Database<'_>) {
    database
        .run(
            "create table orders (id bigint generated always as identity primary key, \
               created_at timestamptz not null default now(), state text not null);
             create index on orders (created_at)",
        )
        .await;
}

/// SQL that inserts so many events of all kinds at a time given in SQL. `seconds` are dyadic, `amount` are not.
pub fn insert(rows: usize, time: &str) -> String {
    format!(
        "insert into events (created_at, kind, amount, seconds) select {time}, (array['a', 'b', 'c'])[1 + n % 3], \
         n * 0.01, case when n % 7 > 0 then (n % 48) / 8.0 end from generate_series(1, {rows}) n"
    )
}

/// What the metrics of the pack `events` must be: every row that was ever committed.
pub async fn events_truth(database: &Database<'_>) -> Truth {
    events_truth_of(database, "ledger").await
}

/// The same over another table or subquery of the same shape.
pub async fn events_truth_of(database: &Database<'_>, from: &str) -> Truth {
    let amounts = format!(
        "select kind, sum(amount) from {from} where amount::text not in ('NaN', 'Infinity', '-Infinity') \
         and amount >= 0 group by 1"
    );
    Truth::about("events_")
        .query(database, "events_total", &["kind"], &format!("select kind, count(*) from {from} group by 1"))
        .await
        .query(database, "events_amount_total", &["kind"], &amounts)
        .await
        .histogram(database, "events_seconds", "kind", &BUCKETS, "seconds", from)
        .await
}

/// What the metrics of the pack `recent` must be.
pub async fn recent_truth(database: &Database<'_>) -> Truth {
    Truth::about("recent_")
        .query(database, "recent_events_total", &["kind"], "select kind, count(*) from ledger group by 1")
        .await
        .histogram(database, "recent_seconds", "kind", &BUCKETS, "seconds", "ledger")
        .await
}

/// What the metrics of the pack `orders` must be, as long as no order is deleted.
pub async fn orders_truth(database: &Database<'_>) -> Truth {
    let sql = "select state, count(*) from orders group by 1";
    Truth::about("orders_")
        .query(database, "orders_total", &["state"], sql)
        .await
        .query(database, "orders_open", &["state"], sql)
        .await
}
