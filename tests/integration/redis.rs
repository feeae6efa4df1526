//! A Redis that is large, that changes while it is scanned, and that goes away: what is shown is true, or absent.

use std::time::{Duration, Instant};

use super::harness::certificates::Authority;
use super::harness::exporter::PATIENCE;
use super::harness::redis::{PASSWORD, Redis};
use super::harness::relay::Relay;
use super::harness::{Cluster, Exporter, Scrape, Setup, eventually, exporter, holds_for, http};

/// The pack's two gauges.
const USERS: &str = "online_users";
const EVERYBODY: &str = "online_everybody";

/// An exporter's set-up that reads a Redis with the tests' own pack, by one of its collectors.
fn reading(url: &str, collector: &str) -> Setup {
    let other = if collector == "online" { "everybody" } else { "online" };
    Setup::of(url)
        .sourced("packs", "[online, redis]")
        .sourced("skip", format!("[online/{other}]"))
        .sourced("statement_timeout", "700ms")
        .sourced("connect_timeout", "1s")
}

fn online(room: &str, users: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    users.map(move |user| format!("online:{room}:{user}"))
}

/// What a scrape says of everybody, or of each room.
fn shown(scrape: &Scrape, gauge: &str) -> Vec<(String, f64)> {
    scrape.of(gauge, &[]).map(|(series, value)| (series.to_owned(), value)).collect()
}

async fn shows(exporter: &Exporter, gauge: &str, wanted: &[(&str, f64)]) -> Scrape {
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
async fn fails(exporter: &Exporter, reason: &str) -> Scrape {
    exporter
        .scrapes(&format!("a run fails because of {reason}"), |scrape| {
            let failed = scrape.sum("rowmetry_collector_failures_total", &[("reason", reason)]);
            if failed > 0.0 { Ok(()) } else { Err("none did".into()) }
        })
        .await
}

/// Nothing that an operator sees tells the text.
async fn never_told(exporter: &Exporter, text: &str) {
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
    redis.run("CONFIG RESETSTAT");
    // One scan alone.
    let setup = reading(&redis.url(), "online")
        .sourced("packs", "[online]")
        .sourced("interval", "1h")
        .sourced("budget", "{per_second: 400}");
    let exporter = setup.spawn();
    let began = Instant::now();
    let scrape = shows(&exporter, USERS, &[("a", 300.0), ("b", 40.0)]).await;
    let took = began.elapsed().as_secs_f64();

    let commands = redis.commands();
    println!("{took:.2} s, {commands:?}, resident {:?}", exporter.process.resident_bytes());
    let ours: u64 = commands
        .iter()
        .filter(|(name, _)| !name.starts_with("info") && *name != "config|resetstat")
        .map(|(_, (calls, _))| calls)
        .sum();
    assert!(ours <= (OTHERS / 1000 + 10) as u64, "{ours} commands: {commands:?}");
    let known = ["client|setname", "cluster|info", "config|resetstat", "dbsize", "info", "scan"];
    let unknown: Vec<_> = commands.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "only these are sent: {unknown:?}");
    let (scans, micros) = commands["scan"];
    assert!(scans >= (OTHERS / 1000) as u64 && micros < 1000.0, "{scans} SCAN of {micros} µs");
    assert!(took > 2.4, "1000 commands at 400 a second take 2.5 s, not {took} s");
    let [_, peak] = exporter.process.resident_bytes();
    assert!(peak < 100 << 20, "{peak} bytes at its peak, unoptimised");
    let sent = scrape.sum("rowmetry_scan_commands_total", &[]);
    assert!(sent >= scans as f64 && sent <= ours as f64, "{sent} of {ours}");
    assert_eq!(scrape.sum("rowmetry_scan_keys", &[]), 340.0);
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
        if grown < 4 && began.elapsed() > Duration::from_millis(500 * grown) {
            grown += 1;
            redis.populate(100_000 << grown, "more");
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
async fn users_and_passwords() {
    let redis = Redis::with(&["--requirepass", PASSWORD]);
    redis.set(online("a", 0..9), "x");
    for (user, rules) in [
        ("scanner", "+scan"),
        ("watcher", "+@all -info"),
        ("reader", "+@all -scan"),
        ("monitor", "+scan +dbsize +info +ping"),
    ] {
        redis.run(&format!("ACL SETUSER {user} on >{user}-pass ~* {rules}"));
    }
    let start = |url: String| reading(&url, "online").spawn();

    for wrong in [redis.url_of("", "hunter2-wrong"), redis.url_of("monitor", "hunter2-wrong"), redis.url()] {
        let exporter = start(wrong);
        fails(&exporter, "bad_credentials").await;
        exporter.state("online", "unreachable").await;
        assert_eq!(exporter.scrape().await.get("redis_up", &[]), Some(0.0));
        never_told(&exporter, "hunter2").await;
    }

    let exporter = start(redis.url_of("", PASSWORD));
    shows(&exporter, USERS, &[("a", 9.0)]).await;
    never_told(&exporter, PASSWORD).await;

    // SCAN alone: keys are counted, and the rest is absent.
    let exporter = start(redis.url_of("scanner", "scanner-pass"));
    shows(&exporter, USERS, &[("a", 9.0)]).await;
    exporter.state("server", "forbidden").await;
    let page = exporter.get("/", "text/plain").await.expect("it answers").text();
    assert!(page.contains("+dbsize"), "what is missing is told: {page}");

    // No INFO: what else is known is shown.
    let exporter = start(redis.url_of("watcher", "watcher-pass"));
    shows(&exporter, USERS, &[("a", 9.0)]).await;
    let scrape = exporter.state("server", "ok").await;
    assert_eq!((scrape.get("redis_up", &[]), scrape.get("redis_db_keys", &[("db", "db0")])), (Some(1.0), Some(9.0)));
    assert!(scrape.get("redis_ping_seconds", &[]).is_some_and(|seconds| seconds > 0.0 && seconds < 1.0));
    assert_eq!(scrape.of("redis_memory_used_bytes", &[]).count(), 0);

    let exporter = start(redis.url_of("reader", "reader-pass"));
    exporter.state("online", "forbidden").await;
    exporter.state("server", "ok").await;
    assert_eq!(shown(&exporter.scrape().await, USERS), []);

    let exporter = start(redis.url_of("monitor", "monitor-pass"));
    shows(&exporter, USERS, &[("a", 9.0)]).await;
    exporter.state("server", "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_its_own_figures() {
    let redis = Redis::with(&["--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"]);
    redis.set(online("a", 0..9), "x");
    redis.run("SET short lived EX 1000");
    redis.run("GET short");
    redis.run("GET nothing");
    let exporter = reading(&redis.url(), "online").start().await;
    exporter.state("server", "ok").await;
    let scrape = exporter.scrape().await;
    for (series, labels, wanted) in [
        ("redis_up", vec![], 1.0),
        ("redis_memory_max_bytes", vec![], 209_715_200.0),
        ("redis_keyspace_hits_total", vec![], 1.0),
        ("redis_keyspace_misses_total", vec![], 1.0),
        ("redis_rejected_connections_total", vec![], 0.0),
        ("redis_evicted_keys_total", vec![], 0.0),
        ("redis_db_keys", vec![("db", "db0")], 10.0),
        ("redis_db_keys_expiring", vec![("db", "db0")], 1.0),
        ("redis_rdb_last_bgsave_status", vec![], 1.0),
        ("redis_loading_dump_file", vec![], 0.0),
        ("redis_max_clients", vec![], 10_000.0),
    ] {
        assert_eq!(scrape.get(series, &labels), Some(wanted), "{series}");
    }
    let version: String = redis.ask("INFO server");
    let version = version.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("it has a version");
    let labels = [
        ("redis_version", version),
        ("redis_mode", "standalone"),
        ("role", "master"),
        ("maxmemory_policy", "allkeys-lru"),
    ];
    assert_eq!(scrape.get("redis_instance_info", &labels), Some(1.0), "{:?}", shown(&scrape, "redis_instance_info"));
    for some in [
        "redis_connected_clients",
        "redis_memory_used_bytes",
        "redis_commands_processed_total",
        "redis_uptime_in_seconds",
    ] {
        assert!(scrape.get(some, &[]).is_some_and(|value| value >= 0.0), "{some}");
    }
    assert_eq!(scrape.of("redis_master_link_up", &[]).count(), 0, "it is no replica");
    let ignored = scrape.sum("rowmetry_rows_ignored_total", &[("pack", "redis")]);
    assert_eq!(ignored, 0.0, "every field is a number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_connection_left() {
    for password in [None, Some(PASSWORD)] {
        let arguments: Vec<&str> = password.iter().flat_map(|password| ["--requirepass", password]).collect();
        let redis = Redis::with(&arguments);
        redis.set(online("a", 0..2), "x");
        let url = password.map_or(redis.url(), |password| redis.url_of("", password));
        redis.run("CONFIG SET maxclients 8");
        let mut taken = Vec::new();
        while taken.len() < 8 {
            match redis::Client::open(url.as_str()).and_then(|client| client.get_connection()) {
                Ok(connection) => taken.push(connection),
                Err(_) => break,
            }
        }
        let exporter = reading(&url, "online").spawn();
        fails(&exporter, "too_many_connections").await;
        exporter.state("online", "unreachable").await;
        let scrape = exporter.scrape().await;
        assert_eq!((shown(&scrape, USERS), scrape.get("redis_up", &[])), (Vec::new(), Some(0.0)));
        let others = scrape
            .of("rowmetry_collector_failures_total", &[])
            .filter(|(series, failed)| *failed > 0.0 && !series.contains("too_many_connections"));
        assert_eq!(others.count(), 0, "it is the same reason each time");
        drop(taken);
        shows(&exporter, USERS, &[("a", 2.0)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_over_a_socket() {
    let authority = Authority::new("Redis Tests CA");
    let redis = Redis::tls(&authority);
    redis.set(online("a", 0..3), "x");
    let url = format!("rediss://localhost:{}", redis.address().port());
    let trusted = format!("\"{}\"", authority.file().display());
    let exporter = reading(&url, "online").sourced("ca_file", &trusted).start().await;
    shows(&exporter, USERS, &[("a", 3.0)]).await;

    let plain = Redis::new();
    for (url, hint) in [
        (url.clone(), "ca_file"),
        (format!("redis://localhost:{}", redis.address().port()), "rediss://"),
        (format!("rediss://localhost:{}", plain.address().port()), "redis://"),
    ] {
        let exporter = reading(&url, "online").spawn();
        exporter.state("online", "unreachable").await;
        let page = exporter.get("/", "text/plain").await.expect("it answers").text();
        assert!(page.contains(hint), "{url}: no hint at {hint}: {page}");
    }

    let redis = Redis::with(&["--requirepass", PASSWORD]);
    let mut third =
        redis::Client::open(redis.socket_url(3)).and_then(|client| client.get_connection()).expect("it runs");
    redis::cmd("SET").arg("online:c:1").arg("x").exec(&mut third).expect("it runs");
    for url in [redis.socket_url(3), format!("{}/3", redis.url_of("", PASSWORD))] {
        let exporter = reading(&url, "online").start().await;
        shows(&exporter, USERS, &[("c", 1.0)]).await;
        let scrape = exporter.state("server", "ok").await;
        assert_eq!(scrape.get("redis_db_keys", &[("db", "db3")]), Some(1.0));
        never_told(&exporter, PASSWORD).await;
    }
    let exporter = reading(&format!("{}/99", redis.url_of("", PASSWORD)), "online").spawn();
    fails(&exporter, "bad_credentials").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_a_scan_costs() {
    let redis = Redis::new();
    redis.populate(25_000, "other");
    redis.set(online("a", 0..9), "x");
    let report = |url: &str| {
        let output = reading(url, "online").command(&["check"]).output().expect("it can be started");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = report(&redis.url());
    for wanted in ["25009 keys: 28 commands a scan", "SCAN with MATCH online:*", "keys of a sample fit"] {
        assert!(text.contains(wanted), "no {wanted:?} in {text}");
    }
    assert_eq!(code, Some(0), "{text}");
    redis.run(&format!("CONFIG SET requirepass {PASSWORD}"));
    let (code, text) = report(&redis.url_of("", "hunter2"));
    assert!(code == Some(1) && text.contains("bad_credentials") && !text.contains("hunter2"), "{code:?}: {text}");
}
