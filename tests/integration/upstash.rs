//! Redis over Upstash's REST: the same truth as over RESP, and every documented refusal told as what it is.

use std::time::Duration;

use super::harness::certificates::Authority;
use super::harness::exporter::PATIENCE;
use super::harness::redis::Redis;
use super::harness::upstash::{Mood, TOKEN, Upstash};
use super::harness::{Exporter, Scrape, Setup, eventually, holds_for};

fn reading(url: &str) -> Setup {
    Setup::of(url)
        .sourced("token", format!("\"{TOKEN}\""))
        .sourced("packs", "[online, redis]")
        .sourced("skip", "[online/everybody]")
        .sourced("statement_timeout", "700ms")
        .sourced("connect_timeout", "500ms")
}

fn online(room: &str, users: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    users.map(move |user| format!("online:{room}:{user}"))
}

fn users(scrape: &Scrape) -> Vec<(String, f64)> {
    scrape.of("online_users", &[]).map(|(series, value)| (series.to_owned(), value)).collect()
}

async fn shows(exporter: &Exporter, room: &str, wanted: f64) -> Scrape {
    exporter
        .scrapes(&format!("{wanted} users in {room}"), |scrape| {
            if scrape.get("online_users", &[("room", room)]) == Some(wanted) {
                Ok(())
            } else {
                Err(format!("{:?}", users(scrape)))
            }
        })
        .await
}

async fn fails(exporter: &Exporter, reason: &str) {
    exporter
        .scrapes(&format!("a run fails because of {reason}"), |scrape| {
            let failed = scrape.sum("rowmetry_collector_failures_total", &[("reason", reason)]);
            if failed > 0.0 { Ok(()) } else { Err("none did".into()) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_redis_says_and_counts_what_it_sends() {
    let redis = Redis::new();
    redis.populate(20_000, "other");
    redis.set(online("a", 0..70).chain(online("räume", 0..3)), "x");
    // Names that are no UTF-8, and would be the same as text.
    for last in [b'\xfe', b'\xff'] {
        let key = [b"online:b:".as_slice(), &[last]].concat();
        redis::cmd("SET").arg(key).arg("x").exec(&mut redis.connection()).expect("it runs");
    }
    let upstash = Upstash::before(&redis, &["INFO"]);
    let setup = reading(&format!("http://{}", upstash.address)).sourced("budget", "{per_second: 2000}");
    let exporter = setup.start().await;
    let scrape = shows(&exporter, "a", 70.0).await;
    assert_eq!(scrape.get("online_users", &[("room", "räume")]), Some(3.0));
    assert_eq!(scrape.get("online_users", &[("room", "b")]), Some(2.0), "two names, not one");
    let scrape = exporter.state("server", "ok").await;
    assert_eq!(scrape.get("redis_up", &[]), Some(1.0));
    assert_eq!(scrape.get("redis_db_keys", &[("db", "db0")]), Some(20_075.0), "DBSIZE, since there is no INFO");
    assert!(scrape.get("redis_ping_seconds", &[]).is_some_and(|seconds| seconds > 0.0));
    assert_eq!(scrape.of("redis_memory_used_bytes", &[]).count(), 0, "what it does not answer is absent");
    let text = exporter.get("/metrics", "text/plain").await.expect("it answers").text();
    assert!(!text.contains(TOKEN) && !exporter.log_text().contains(TOKEN));

    // A scan takes a command for each thousand keys.
    exporter.terminate();
    let commands = upstash.commands();
    let known = ["SCAN", "DBSIZE", "PING", "INFO"];
    let unknown: Vec<_> = commands.iter().filter(|command| !known.contains(&command.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // One whole scan lies between two DBSIZE of it; a PING, INFO or DBSIZE of the other collector may lie between them.
    let first = commands.iter().position(|command| command == "SCAN").expect("it scanned");
    let scans = commands[first..].iter().take_while(|command| *command != "DBSIZE").filter(|c| *c == "SCAN").count();
    assert!(scans <= 22, "{scans} SCAN for 20 thousand keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_info_without_encoding_and_with_connections_that_are_closed() {
    let redis = Redis::new();
    redis.set(online("a", 0..5), "x");
    redis.run("SET short lived EX 1000");
    let upstash = Upstash::before(&redis, &[]);
    let exporter = reading(&format!("http://{}/", upstash.address)).start().await;
    let scrape = exporter.state("server", "ok").await;
    assert!(scrape.get("redis_memory_used_bytes", &[]).is_some_and(|bytes| bytes > 0.0));
    assert_eq!(scrape.get("redis_db_keys_expiring", &[("db", "db0")]), Some(1.0));
    shows(&exporter, "a", 5.0).await;
    for mood in [Mood::Plain, Mood::Closing] {
        upstash.mood(mood.clone());
        redis.set(online(&format!("{mood:?}"), 0..6), "x");
        shows(&exporter, &format!("{mood:?}"), 6.0).await;
        exporter.reads_again().await;
    }
    assert_eq!(exporter.scrape().await.sum("rowmetry_collector_failures_total", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_told_as_what_it_is() {
    let redis = Redis::new();
    redis.set(online("a", 0..5), "x");
    let says = |status: u16, body: &str| Mood::Says(status, body.to_owned());
    for (mood, reason, state) in [
        (says(401, "{\"error\":\"WRONGPASS invalid or missing auth token\"}"), "bad_credentials", "unreachable"),
        (says(400, "{\"error\":\"ERR max daily request limit exceeded\"}"), "rate_limited", "unreachable"),
        (
            says(429, "{\"error\":\"ERR max requests limit exceeded. Limit: 500000, Usage: 500000.\"}"),
            "rate_limited",
            "unreachable",
        ),
        (says(429, "slow down"), "rate_limited", "unreachable"),
        (
            says(400, "{\"error\":\"NOPERM this user has no permissions to run the 'scan' command\"}"),
            "forbidden",
            "forbidden",
        ),
        (says(500, "{\"error\":\"ERR internal\"}"), "unreachable", "unreachable"),
        (says(200, "<html>a page</html>"), "bad_reply", "error"),
        (says(200, "{\"result\":[\"0\",[\"online:a:1\""), "bad_reply", "error"),
        (says(200, "{\"result\":7}"), "bad_reply", "error"),
        (says(302, ""), "bad_reply", "error"),
        (Mood::Cut, "unreachable", "unreachable"),
        (Mood::Huge, "bad_reply", "error"),
        (Mood::Slow, "silent", "timeout"),
        (Mood::Silent, "silent", "timeout"),
    ] {
        let upstash = Upstash::before(&redis, &["INFO"]);
        upstash.mood(mood.clone());
        let exporter = reading(&format!("http://{}", upstash.address)).sourced("packs", "[online]").spawn();
        fails(&exporter, reason).await;
        let scrape = exporter.state("online", state).await;
        assert_eq!(users(&scrape), [], "{mood:?}");
        // What was bad is over: it recovers by itself.
        upstash.mood(Mood::Well);
        shows(&exporter, "a", 5.0).await;
        let scrape = exporter.state("online", "ok").await;
        let failed = scrape.of("rowmetry_collector_failures_total", &[]).filter(|(_, failed)| *failed > 0.0);
        for (series, _) in failed {
            assert!(series.contains(&format!("reason=\"{reason}\"")), "{mood:?}: {series}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_in_the_middle_of_a_scan_is_no_result() {
    let redis = Redis::new();
    redis.populate(60_000, "other");
    redis.set(online("a", 0..40), "x");
    let upstash = Upstash::before(&redis, &["INFO"]);
    let setup = reading(&format!("http://{}", upstash.address)).sourced("budget", "{per_second: 60}");
    let exporter = setup.sourced("packs", "[online]").spawn();
    for mood in [Mood::Cut, Mood::Says(429, String::new()), Mood::Says(200, "{\"result\":[\"0\",[]]}".into())] {
        let before = upstash.commands().len();
        eventually(PATIENCE, "a part is scanned", async || {
            if upstash.commands().len() > before + 20 { Ok(()) } else { Err("not yet".into()) }
        })
        .await;
        if let Mood::Says(200, _) = mood {
            // Well formed, and nothing tells it from the truth: only that many keys are there and none was seen is odd.
            break;
        }
        upstash.mood(mood);
        fails(&exporter, "unreachable").await;
        upstash.mood(Mood::Well);
    }
    let scrape = shows(&exporter, "a", 40.0).await;
    assert_eq!(users(&scrape).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_its_own_and_tls() {
    let redis = Redis::new();
    redis.set(online("a", 0..5), "x");
    redis.run("ACL SETUSER readonly on >pass ~* +@all -scan");
    // The read-only token may not scan.
    let upstash = Upstash::new(&redis.url_of("readonly", "pass"), &[], None);
    let exporter = reading(&format!("http://{}", upstash.address)).spawn();
    exporter.state("online", "forbidden").await;
    exporter.state("server", "ok").await;
    let page = exporter.get("/", "text/plain").await.expect("it answers").text();
    assert!(page.contains("standard token"), "{page}");

    let authority = Authority::new("Upstash Tests CA");
    let config = authority.server("localhost", "20991231235959Z");
    let upstash = Upstash::new(&redis.socket_url(0), &[], Some(config));
    let url = format!("https://localhost:{}", upstash.address.port());
    let exporter = reading(&url).sourced("ca_file", format!("\"{}\"", authority.file().display())).start().await;
    shows(&exporter, "a", 5.0).await;
    let stranger = reading(&url).spawn();
    fails(&stranger, "unreachable").await;
    holds_for(Duration::from_secs(1), "nothing is sent to a stranger", async || {
        let shown = users(&stranger.scrape().await);
        if shown.is_empty() { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await;
    // A token that is wrong for this database.
    let wrong = reading(&url)
        .sourced("ca_file", format!("\"{}\"", authority.file().display()))
        .sourced("token", "hunter2-wrong")
        .spawn();
    fails(&wrong, "bad_credentials").await;
    let text = wrong.get("/", "text/plain").await.expect("it answers").text();
    assert!(!text.contains("hunter2") && !wrong.log_text().contains("hunter2"));
}
