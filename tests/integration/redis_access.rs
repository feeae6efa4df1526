//! Who may read a Redis and how: passwords, users, connections, TLS and sockets; and what it tells of itself.

use super::harness::certificates::Authority;
use super::harness::redis::{PASSWORD, Redis};
use super::redis::{USERS, fails, never_told, online, reading, shown, shows};

#[tokio::test(flavor = "multi_thread")]
async fn users_and_passwords() {
    let redis = Redis::with(&["--requirepass", PASSWORD]);
    redis.set(online("a", 0..9), "x");
    redis.populate(3000, "other");
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
    assert_eq!((scrape.get("redis_up", &[]), scrape.get("redis_db_keys", &[("db", "db0")])), (Some(1.0), Some(3009.0)));
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
