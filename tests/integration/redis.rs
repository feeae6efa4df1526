//! A Redis that is large, that changes while it is scanned, and that goes away: what is shown is true, or absent.

use std::time::{Duration, Instant};

use super::harness::exporter::PATIENCE;
use super::harness::guard::free_port;
use super::harness::redis::Redis;
use super::harness::relay::Relay;
use super::harness::{Cluster, Exporter, Scrape, Setup, eventually, exporter, holds_for, http};

/// The pack's two gauges.
pub const USERS: &str = "online_users";
const EVERYBODY: &str = "online_everybody";

/// An exporter's set-up that reads a Redis with the tests' own pack, by one of its collectors.
pub fn reading(url: &str, collector: &str) -> Setup {
    let other = if collector == "online" { "everybody" } else { "online" };
    Setup::of(url)
        .sourced("packs", "[online, redis]")
        .sourced("skip", format!("[online/{other}]"))
        .sourced("statement_timeout", "700ms")
        .sourced("connect_timeout", "1s")
}

/// Keys of these users in a room.
pub fn online(room: &str, users: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    users.map(move |user| format!("online:{room}:{user}"))
}

/// What a scrape says of everybody, or of each room.
pub fn shown(scrape: &Scrape, gauge: &str) -> Vec<(String, f64)> {
    scrape.of(gauge, &[]).map(|(series, value)| (series.to_owned(), value)).collect()
}

/// Waits until a gauge has these series, by room, and no others.
pub async fn shows(exporter: &Exporter, gauge: &str, wanted: &[(&str, f64)]) -> Scrape {
    let wanted: Vec<(String, f64)> = wanted
        .iter()
        .map(|(room, users)| {
            let series = if room.is_empty() { gauge.to_owned() } else { format!("{gauge}{{room=\"{room}\"}}") };
            (series, *users)
        })
        .collect();
    exporter
        .scrapes(&format!("{gauge} is {wanted:?}"), |scrape| {
            let shown = shown(scrape, gauge);
            if shown == wanted { Ok(()) } else { Err(format!("{shown:?}")) }
        })
        .await
}

/// Waits until a run failed for this reason.
pub async fn fails(exporter: &Exporter, reason: &str) -> Scrape {
    exporter
        .scrapes(&format!("a run fails because of {reason}"), |scrape| {
            let failed = scrape.sum("rowmetry_collector_failures_total", &[("reason", reason)]);
            if failed > 0.0 { Ok(()) } else { Err("none did".into()) }
        })
        .await
}

/// Nothing that an operator sees tells the text.
pub async fn never_told(exporter: &Exporter, text: &str) {
    for path in ["/metrics", "/"] {
        let reply = exporter.get(path, "text/plain").await.expect("it answers").text();
        assert!(!reply.contains(text), "{path} tells {text:?}");
    }
    assert!(!exporter.log_text().contains(text), "the log tells {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_among_a_million_keys() {
    const OTHERS: usize = 1_000_000;
    let redis = Redis::new();
    redis.populate(OTHERS, "other");
    redis.set(online("a", 0..300), "x");
    redis.set(online("b", 0..40), "x");
    redis.set(["online:a", "online:a:1:2", "onlin:a:1", "online::1"].map(String::from), "x");
    // On a machine that does much else at once a command may be kept waiting: the best of three scans counts.
    let mut micros = Vec::new();
    while micros.len() < 3 && micros.iter().all(|micros| *micros >= 1000.0) {
        micros.push(one_scan_of_presence(&redis, OTHERS).await);
    }
    assert!(micros.iter().any(|micros| *micros < 1000.0), "a SCAN takes {micros:?} µs");
}

/// One whole scan; how long a SCAN took Redis on average, in microseconds.
async fn one_scan_of_presence(redis: &Redis, others: usize) -> f64 {
    redis.run("CONFIG RESETSTAT");
    let setup = reading(&redis.url(), "online")
        .sourced("packs", "[online]")
        .sourced("interval", "1h")
        .sourced("budget", "{per_second: 400}");
    let exporter = setup.spawn();
    let began = Instant::now();
    let scrape = shows(&exporter, USERS, &[("a", 300.0), ("b", 40.0)]).await;
    let took = began.elapsed().as_secs_f64();

    let mut commands = redis.commands();
    commands.retain(|name, _| !["info", "config|resetstat"].contains(&name.as_str()));
    let ours: u64 = commands.values().map(|(calls, _)| calls).sum();
    assert!(ours <= (others / 1000 + 10) as u64, "{ours} commands: {commands:?}");
    let known = ["client|setname", "cluster|info", "dbsize", "scan"];
    let unknown: Vec<_> = commands.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "only these are sent, and not {unknown:?}");
    let (scans, micros) = commands["scan"];
    assert!(scans >= (others / 1000) as u64, "{scans} SCAN");
    assert!(took > 2.4, "1000 commands at 400 a second take 2.5 s, not {took} s");
    let [_, peak] = exporter.process.resident_bytes();
    assert!(peak < 100 << 20, "{peak} bytes at its peak, unoptimised");
    let sent = scrape.sum("rowmetry_scan_commands_total", &[]);
    assert!(sent >= scans as f64 && sent <= ours as f64, "{sent} of {ours}");
    assert_eq!(scrape.sum("rowmetry_scan_keys", &[]), 340.0);
    micros
}

#[tokio::test(flavor = "multi_thread")]
async fn several_collectors_keep_to_the_commands_a_second_together() {
    let redis = Redis::new();
    redis.populate(50_000, "other");
    redis.set(online("a", 0..5), "x");
    let setup = reading(&redis.url(), "online").sourced("packs", "[online]").sourced("skip", "[]");
    let exporter = setup.sourced("budget", "{per_second: 100}").spawn();
    shows(&exporter, EVERYBODY, &[("", 5.0)]).await;
    shows(&exporter, USERS, &[("a", 5.0)]).await;
    let (began, before) = (Instant::now(), redis.calls("scan"));
    holds_for(Duration::from_secs(3), "scans go on", async || Ok(())).await;
    let (took, sent) = (began.elapsed().as_secs_f64(), redis.calls("scan") - before);
    assert!(sent > 100 && sent as f64 <= took * 100.0 + 20.0, "{sent} SCAN in {took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_by_the_keys_that_are_remembered() {
    let redis = Redis::new();
    // A million keys that fit, of which half a million are remembered: the worst there is.
    for room in ["online:a", "online:b"] {
        redis.populate(500_000, room);
    }
    let setup =
        reading(&redis.url(), "everybody").sourced("packs", "[online]").sourced("budget", "{per_second: 100000}");
    let exporter = setup.spawn();
    exporter.state("everybody", "error").await;
    let scrape = exporter.scrape().await;
    assert_eq!((shown(&scrape, EVERYBODY), scrape.sum("rowmetry_scan_truncated", &[])), (Vec::new(), 1.0));
    redis.run("FLUSHALL");
    redis.populate(499_000, "online:a");
    shows(&exporter, EVERYBODY, &[("", 499_000.0)]).await;
    let [_, peak] = exporter.process.resident_bytes();
    println!("{peak} bytes");
    assert!(peak < 100 << 20, "{peak} bytes at its peak, unoptimised");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_does_not_pass_for_the_whole() {
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let nodes = ports.each_ref().map(|port| {
        Redis::with(&["--cluster-enabled", "yes", "--cluster-port", port, "--cluster-require-full-coverage", "no"])
    });
    // A cluster of one node has all keys.
    nodes[0].run("CLUSTER ADDSLOTSRANGE 0 16383");
    let sized = async |size: &str| {
        eventually(PATIENCE, "the cluster has its size", async || {
            let info: String = nodes[0].ask("CLUSTER INFO");
            if info.contains(&format!("cluster_size:{size}\r")) && info.contains("cluster_state:ok") {
                Ok(())
            } else {
                Err(info)
            }
        })
        .await;
    };
    sized("1").await;
    nodes[0].set(online("a", 0..3), "x");
    let exporter = reading(&nodes[0].url(), "online").start().await;
    shows(&exporter, USERS, &[("a", 3.0)]).await;
    drop(exporter);
    nodes[0].run("FLUSHALL");
    nodes[0].run("CLUSTER DELSLOTSRANGE 8192 16383");
    nodes[1].run("CLUSTER ADDSLOTSRANGE 8192 16383");
    nodes[0].run(&format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[1].address().port(), ports[1]));
    sized("2").await;
    let exporter = reading(&nodes[0].url(), "online").spawn();
    fails(&exporter, "bad_query").await;
    exporter.state("server", "ok").await;
    assert_eq!(shown(&exporter.scrape().await, USERS), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_than_are_remembered_show_nothing() {
    let redis = Redis::new();
    redis.set(online("a", 0..1500), "x");
    let exporter = reading(&redis.url(), "online").with("limits", "{seen_keys: 1000}").spawn();
    exporter.state("online", "error").await;
    let scrape = exporter.scrape().await;
    assert_eq!(shown(&scrape, USERS), []);
    assert_eq!(scrape.sum("rowmetry_scan_truncated", &[]), 1.0);
    redis.run("FLUSHALL");
    redis.set(online("a", 0..900), "x");
    shows(&exporter, USERS, &[("a", 900.0)]).await;
    assert_eq!(exporter.scrape().await.sum("rowmetry_scan_truncated", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_come_and_go_during_the_scan() {
    let redis = Redis::new();
    redis.populate(100_000, "other");
    redis.set(online("a", 0..200), "x");
    // A scan takes half a second.
    let setup = reading(&redis.url(), "everybody").sourced("budget", "{per_second: 200}");
    let exporter = setup.spawn();
    shows(&exporter, EVERYBODY, &[("", 200.0)]).await;
    // Others live for less than a scan, and the table is made larger in the middle of it: keys come twice.
    let (mut pipeline, began) = (redis::pipe(), Instant::now());
    for user in 1000..4000 {
        pipeline.cmd("SET").arg(format!("online:b:{user}")).arg("x").arg("PX").arg(1 + user % 1500).ignore();
    }
    pipeline.exec(&mut redis.connection()).expect("the server runs");
    let scans = redis.calls("scan");
    let mut grown = 0;
    holds_for(Duration::from_secs(3), "those who stay are counted, and nobody twice", async || {
        if grown < 7 && began.elapsed() > Duration::from_millis(350 * grown) {
            grown += 1;
            redis.populate(30_000, &format!("more{grown}"));
        }
        let everybody = exporter.scrape().await.get(EVERYBODY, &[]).ok_or("it is absent")?;
        if (200.0..=3200.0).contains(&everybody) { Ok(()) } else { Err(format!("{everybody}")) }
    })
    .await;
    assert!(redis.calls("scan") > scans + 100, "it scanned meanwhile");
    shows(&exporter, EVERYBODY, &[("", 200.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushall_in_the_middle_of_a_scan() {
    let redis = Redis::new();
    redis.populate(300_000, "other");
    redis.set(online("a", 0..500), "x");
    let setup = reading(&redis.url(), "everybody").sourced("budget", "{per_second: 200}");
    let exporter = setup.spawn();
    eventually(PATIENCE, "half of the keys are seen", async || {
        let scans = redis.calls("scan");
        if scans > 150 { Ok(()) } else { Err(format!("{scans} SCAN")) }
    })
    .await;
    redis.run("FLUSHALL");
    eventually(PATIENCE, "nobody is online", async || match exporter.try_scrape().await?.get(EVERYBODY, &[]) {
        None => Err("absent".into()),
        Some(0.0) => Ok(()),
        Some(users) => panic!("{users} are shown, and all keys are gone"),
    })
    .await;
    assert_eq!(exporter::states(&exporter.scrape().await, "everybody"), ["ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_and_starts_and_freezes() {
    let redis = Redis::new();
    redis.set(online("a", 0..7), "x");
    let exporter = reading(&redis.url(), "online").start().await;
    shows(&exporter, USERS, &[("a", 7.0)]).await;
    assert_eq!(exporter.scrape().await.get("redis_up", &[]), Some(1.0));
    for users in [3, 5] {
        redis.stop();
        exporter.state("online", "unreachable").await;
        let down = exporter.scrapes("it is down", |scrape| match scrape.get("redis_up", &[]) {
            Some(0.0) => Ok(()),
            up => Err(format!("{up:?}")),
        });
        assert_eq!(down.await.of("redis_memory_used_bytes", &[]).count(), 0, "what is not known is absent");
        redis.start();
        redis.set(online("b", 0..users), "x");
        shows(&exporter, USERS, &[("b", users as f64)]).await;
        exporter.state("online", "ok").await;

        redis.signal("STOP");
        exporter.state("online", "timeout").await;
        assert!(http::get(exporter.setup.address, "/metrics", &[]).await.is_ok());
        redis.signal("CONT");
        exporter.state("online", "ok").await;
        shows(&exporter, USERS, &[("b", users as f64)]).await;
    }
    exporter
        .scrapes("it is up", |scrape| (scrape.get("redis_up", &[]) == Some(1.0)).then_some(()).ok_or("down".into()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_moves_to_another_server_in_the_middle_of_a_scan() {
    let (first, second) = (Redis::new(), Redis::new());
    for redis in [&first, &second] {
        redis.populate(100_000, "other");
    }
    first.set(online("a", 0..500), "x");
    second.set(online("b", 0..30), "x");
    let relay = Relay::to(first.address()).await;
    let url = format!("redis://{}", relay.address);
    let exporter = reading(&url, "online").sourced("budget", "{per_second: 100}").spawn();
    eventually(PATIENCE, "half of the keys are seen", async || {
        let scans = first.calls("scan");
        if scans > 50 { Ok(()) } else { Err(format!("{scans} SCAN")) }
    })
    .await;
    relay.move_to(second.address());
    eventually(PATIENCE, "the second server's keys are shown", async || {
        let shown = shown(&exporter.try_scrape().await?, USERS);
        let wanted = [(format!("{USERS}{{room=\"b\"}}"), 30.0)];
        if shown.is_empty() {
            return Err("nothing yet".into());
        }
        assert_eq!(shown, wanted, "a mixture of two servers");
        Ok(())
    })
    .await;
    assert!(first.calls("scan") < 101, "the first was never seen as a whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_that_are_closed_cost_nothing() {
    let redis = Redis::new();
    redis.set(online("a", 0..4), "x");
    let relay = Relay::to(redis.address()).await;
    let exporter = reading(&format!("redis://{}", relay.address), "online").start().await;
    shows(&exporter, USERS, &[("a", 4.0)]).await;
    for _ in 0..5 {
        relay.cut();
        exporter.reads_again().await;
    }
    let failed = exporter.scrape().await.sum("rowmetry_collector_failures_total", &[("collector", "online")]);
    assert_eq!(failed, 0.0, "a closed connection is made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_falls_silent() {
    let redis = Redis::new();
    redis.set(online("a", 0..4), "x");
    let relay = Relay::to(redis.address()).await;
    let exporter = reading(&format!("redis://{}", relay.address), "online").start().await;
    shows(&exporter, USERS, &[("a", 4.0)]).await;
    for users in [6, 8] {
        relay.fall_silent();
        exporter.state("online", "timeout").await;
        redis.set(online("a", 0..users), "x");
        holds_for(Duration::from_secs(2), "what was known is shown, or nothing", async || {
            let shown = shown(&exporter.scrape().await, USERS);
            if shown.iter().all(|(_, shown)| *shown < users as f64) { Ok(()) } else { Err(format!("{shown:?}")) }
        })
        .await;
        relay.speak();
        shows(&exporter, USERS, &[("a", users as f64)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_the_database_and_identities_that_never_leave() {
    let database = Cluster::shared().database().await;
    database.run("create table tenants (id text primary key, slug text); insert into tenants values ('cm1', 'acme'), ('cm2', 'beta')").await;
    let redis = Redis::new();
    let presence = |tenant: &str, users: std::ops::Range<usize>| {
        let tenant = tenant.to_owned();
        users.map(move |user| format!("presence:{tenant}:cmuser{user}"))
    };
    redis.set(
        presence("cm1", 0..5).chain(presence("cm2", 0..2)).chain(presence("cmunknown", 0..1)),
        "{\"displayName\":\"Ana\"}",
    );
    // The same in the window in force and in the next, so that it does not matter when this is run; the last is over.
    let limited = |name: &str, window: u64, who: &str, value: u64| {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970").as_secs();
        for bucket in [now / window, now / window + 1] {
            redis.set([format!("@upstash/ratelimit:{name}:{who}:{bucket}")], &value.to_string());
        }
        redis.set([format!("@upstash/ratelimit:{name}:{who}-earlier:{}", now / window - 1)], "99");
    };
    for (who, value) in [("cmuser1", 30), ("cmuser2", 29), ("cmuser3", 31)] {
        limited("ai:editor", 3600, who, value);
    }
    limited("login", 900, "ana:b@example.org", 5);
    let exporter = Setup::of(&database.url)
        .sourced("packs", "[limited]")
        .source("cache", &redis.url())
        .sourced("database", "app")
        .start()
        .await;
    let wanted = |scrape: &Scrape| {
        let tenants = |tenant: &str| scrape.get("limited_presence", &[("tenant", tenant)]);
        let of = |gauge: &str, limiter: &str| scrape.get(gauge, &[("limiter", limiter)]);
        let said = (tenants("acme"), tenants("beta"), scrape.sum("limited_presence", &[]));
        let limits = ["ai:editor", "login", "upload"]
            .map(|limiter| (of("limited_identifiers", limiter), of("limited_at_limit", limiter)));
        let truth = (Some(5.0), Some(2.0), 8.0);
        let limits_truth = [(Some(3.0), Some(2.0)), (Some(1.0), Some(1.0)), (Some(0.0), None)];
        if said == truth && limits == limits_truth { Ok(()) } else { Err(format!("{said:?} {limits:?}")) }
    };
    let scrape = exporter.scrapes("presence and limits are true", wanted).await;
    let unknown = shown(&scrape, "limited_presence").into_iter().find(|(series, _)| series.contains("tenant=\"#"));
    assert_eq!(unknown.map(|(_, users)| users), Some(1.0), "an unknown tenant is a hash");
    for identity in ["cmuser", "cmunknown", "example.org", "cm1", "Ana"] {
        never_told(&exporter, identity).await;
    }
    assert_eq!(redis.calls("get"), 0, "values of presence are never read");
    // A tenant more, and its name, without a restart.
    redis.set(presence("cm3", 0..4), "x");
    exporter
        .scrapes("another tenant", |scrape| {
            if scrape.sum("limited_presence", &[]) == 12.0 { Ok(()) } else { Err("not yet".into()) }
        })
        .await;
}
