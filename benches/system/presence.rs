//! What one scan of presence keys costs a Redis that is full of other keys, and us.

use std::time::Duration;

use crate::parts::harness::redis::Redis;
use crate::parts::harness::{Setup, eventually};
use crate::table::{Table, mebibytes};

/// Keys that are no presence.
const OTHERS: usize = 1_000_000;
/// Rooms of those that are.
const ROOMS: usize = 20;
/// Users in each.
const USERS: usize = 100;
/// Time between two scans: longer than it takes to fill the Redis, so that the scan that counts meets all its keys.
const INTERVAL: &str = "20s";
/// Time that the scan may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Commands of one scan among a million keys, what each took by Redis's own account, and our memory meanwhile.
pub async fn scan(table: &mut Table) {
    let redis = Redis::new();
    let setup = Setup::of(&redis.url())
        .sourced("packs", "[online]")
        .sourced("skip", "[online/everybody]")
        .sourced("interval", INTERVAL)
        .sourced("budget", "{per_second: 200}");
    let exporter = setup.start().await;
    exporter.state("online", "ok").await;
    redis.populate(OTHERS, "other");
    let users = (0..ROOMS * USERS).map(|user| format!("online:room-{}:{user}", user % ROOMS));
    redis.set(users, "x");
    redis.run("CONFIG RESETSTAT");
    exporter.process.forget_peak();
    let [before, _] = exporter.process.resident_bytes();
    let whole = (ROOMS * USERS) as f64;
    eventually(PATIENCE, "all who are present are counted", async || {
        let counted = exporter.try_scrape().await?.sum("online_users", &[]);
        if counted == whole { Ok(()) } else { Err(format!("{counted}")) }
    })
    .await;
    let [_, peak] = exporter.process.resident_bytes();

    let slow = redis.percentiles("scan");
    let mut commands = redis.commands();
    // What this bench itself asked.
    commands.retain(|name, _| !["info", "config|resetstat"].contains(&name.as_str()));
    let sent: u64 = commands.values().map(|(calls, _)| calls).sum();
    let keys = OTHERS + ROOMS * USERS;
    let name = format!("scan of presence among {keys} keys");
    table.row(
        format!("{name}, commands"),
        format!("{sent}"),
        format!("{:.4} a key", sent as f64 / keys as f64),
        &format!("{} at most", keys / 1000 + 10),
    );
    let (_, micros) = commands["scan"];
    table.row(format!("{name}, one SCAN in Redis"), format!("{micros:.0} µs on average; {slow}"), "", "under 1000 µs");
    table.row(
        format!("{name}, resident memory at its peak"),
        format!("{}, before {}", mebibytes(peak as f64), mebibytes(before as f64)),
        format!("{} more", mebibytes(peak.saturating_sub(before) as f64)),
        "",
    );
}
