//! The demo's traffic on real servers: Postgres, Redis and an exporter of its own, what goes wrong on purpose, and the pager.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rowmetry::pack::{System, builtin, sql};

use super::harness::exporter::{BINARY, PATIENCE};
use super::harness::guard::{Folder, Process, command_as, free_port};
use super::harness::redis::Redis;
use super::harness::{Cluster, Exporter, Scrape, Setup, eventually, http};

/// The applications.
const APPS: [&str; 5] = ["coding_platform", "mentor", "promptcademy", "syncedup", "voyager"];

/// What the drains of traffic that is made for somebody else are signed with.
const SECRET: &str = "rowmetry-demo-drains";

/// Time that a demo on a busy machine has to make five databases with a history.
const BEGINNING: Duration = Duration::from_secs(240);

/// Collectors of rows that change after they count: a job that failed is queued again and is none that finished then.
const CHANGING: [&str; 2] = ["transcriptions_finished", "transcriptions_started"];

struct Traffic {
    process: Process,
    folder: Folder,
    pages: u16,
    control: SocketAddr,
    pager: SocketAddr,
}

impl Traffic {
    /// Traffic on these servers, posted to an exporter at this address.
    fn start(database: &str, redis: &str, exporter: SocketAddr, arguments: &[&str]) -> Traffic {
        let folder = Folder::new("traffic");
        let [control, pager] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let pages = two_ports();
        let mut command = command_as(None, BINARY, folder.path());
        command.args(["demo", "--traffic-only", "--seed", "7", "--database-url", database, "--redis-url", redis]);
        command.args(["--drains-to", &format!("http://{exporter}"), "--pages-listen", &format!("127.0.0.1:{pages}")]);
        command.args(["--control", &control.to_string(), "--pager-listen", &pager.to_string()]);
        command.args(arguments).env("TMPDIR", folder.path());
        let process = Process::start(command, &folder.path().join("demo.log"));
        Traffic { process, folder, pages, control, pager }
    }

    fn log(&self) -> String {
        log(&self.folder)
    }

    /// Waits until everything is made and the traffic flows.
    async fn flows(&self) {
        eventually(BEGINNING, "the traffic flows", async || {
            assert!(self.process.ended().is_none(), "it ended: {}", self.log());
            if self.log().contains("another Rowmetry reads them") { Ok(()) } else { Err("not yet".into()) }
        })
        .await;
    }

    /// The troubles under way.
    async fn under_way(&self) -> Result<BTreeSet<String>, String> {
        let told = http::get(self.control, "/troubles", &[]).await?;
        let troubles: Vec<serde_json::Value> = serde_json::from_slice(&told.body).map_err(|e| e.to_string())?;
        let name = |one: &serde_json::Value| format!("{}/{}", one["app"], one["name"]).replace('"', "");
        Ok(troubles.iter().filter(|one| one["on"] == true).map(name).collect())
    }

    /// Switches a trouble, and waits until it is as wanted.
    async fn switch(&self, name: &str, on: bool) {
        let method = if on { "POST" } else { "DELETE" };
        let reply = http::request(self.control, method, &format!("/troubles/{name}"), &[], PATIENCE).await;
        assert_eq!(reply.expect("it answers").status, 200, "{method} {name}");
        eventually(PATIENCE, &format!("{name} is on: {on}"), async || {
            let under_way = self.under_way().await?;
            if under_way.contains(name) == on { Ok(()) } else { Err(format!("{under_way:?} are under way")) }
        })
        .await;
    }
}

fn log(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("demo.log")).unwrap_or_default()
}

/// A free port whose next one is free, too.
fn two_ports() -> u16 {
    for _ in 0..100 {
        let port = free_port();
        if port < u16::MAX && std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports");
}

/// An exporter for it, as an operator would write it down.
fn setup(cluster: &Cluster, redis: &Redis, pages: u16) -> Setup {
    let drain = |name: &str, kind: &str, app: &str, key: &str| {
        format!("{{name: {name}, kind: {kind}, database: {app}, {key}: {SECRET}}}")
    };
    let mut drains: Vec<String> =
        APPS.iter().map(|app| drain(&format!("{app}-logs"), "vercel", app, "secret")).collect();
    drains.push(drain("promptcademy-postgres", "supabase", "promptcademy", "token"));
    let mut setup = Setup::of_logs(&format!("{{drains: [{}]}}", drains.join(", "))).with("packs", "[]");
    let often = |app: &str| {
        let packs = builtin().expect("the built-in packs pass lint");
        let own = packs.into_iter().filter(|pack| pack.app == app);
        let each = own.flat_map(|pack| {
            pack.collectors.iter().map(|one| format!("{}/{}: 1s", pack.app, one.name)).collect::<Vec<_>>()
        });
        format!("{{{}}}", each.collect::<Vec<_>>().join(", "))
    };
    for app in APPS {
        let url = cluster.url(&format!("rowmetry_demo_{app}"));
        setup = setup.source(app, &url).sourced("interval", "1s").sourced("intervals", often(app));
    }
    for (app, number) in [("coding_platform", 0), ("mentor", 1)] {
        let url = format!("{}/{number}", redis.url());
        setup = setup.source(&format!("{app}-redis"), &url).sourced("database", app).sourced("interval", "1s");
    }
    for (app, port) in [("coding_platform", pages), ("syncedup", pages + 1)] {
        let url = format!("http://127.0.0.1:{port}");
        setup = setup.source(&format!("{app}-web"), &url).sourced("database", app).sourced("interval", "2s");
    }
    // Where there are no rows, there is nothing to begin with.
    for source in setup.sources.iter_mut().filter(|source| source["name"].contains('-')) {
        source.remove("start");
    }
    setup
}

/// The collectors that are not well, as `source pack/collector state`.
fn ill(scrape: &Scrape) -> Vec<String> {
    let label = |key: &str, name: &str| {
        key.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
    };
    let on = scrape.of("rowmetry_collector_state", &[]).filter(|(_, value)| *value == 1.0);
    let told =
        on.map(|(key, _)| (label(key, "source"), label(key, "pack"), label(key, "collector"), label(key, "state")));
    told.filter(|(_, _, _, state)| state != "ok").map(|(s, p, c, state)| format!("{s} {p}/{c} {state}")).collect()
}

/// Waits until everything that reads an application is well.
async fn is_well(exporter: &Exporter) -> Scrape {
    eventually(BEGINNING, "every collector is ok", async || {
        let scrape = exporter.try_scrape().await?;
        let (ill, all) = (ill(&scrape), scrape.of("rowmetry_collector_state", &[]).count());
        // The five packs have more collectors, each of which shows every state.
        if ill.is_empty() && all > 500 { Ok(scrape) } else { Err(format!("{all} states; not ok: {ill:?}")) }
    })
    .await
}

/// How many rows the tables have for each collector of rows, and how many were counted, where these are not the same.
async fn differences(cluster: &Cluster, scrape: &Scrape) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compared = 0;
    for pack in builtin().expect("the built-in packs pass lint") {
        if !APPS.contains(&pack.app.as_str()) {
            continue;
        }
        let database = cluster.open(&format!("rowmetry_demo_{}", pack.app)).await;
        for collector in &pack.collectors {
            let Some(rows) = collector.rows.as_ref().filter(|_| !collector.metrics.is_empty()) else { continue };
            if CHANGING.contains(&collector.name.as_str()) {
                continue;
            }
            let filter = rows.filter.as_ref().map_or("true", |filter| filter.on(System::Postgres));
            let filter = sql::bind(filter, |name| pack.parameters[name].value.to_string());
            let counted = scrape.sum(
                "rowmetry_collector_rows_total",
                &[("pack", &pack.app), ("collector", &collector.name), ("source", &pack.app)],
            );
            let key: Vec<String> = rows.key.as_slice().iter().map(|column| format!("t.\"{column}\"")).collect();
            let told = format!(
                "select count(*) from (select distinct {} from \"{}\" t where ({filter}) and t.\"{}\" is not null) x",
                key.join(", "),
                rows.table,
                rows.time
            );
            let told = database.number(&told).await;
            compared += 1;
            if counted != told {
                differences.push(format!("{}/{}: {counted} of {told}", pack.app, collector.name));
            }
        }
        database.pool.close().await;
    }
    assert!(compared > 35, "only {compared} collectors were compared");
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn every_collector_is_well_and_exact_on_real_servers() {
    let (cluster, redis) = (Cluster::private(), Redis::new());
    let exporter = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let traffic = Traffic::start(&cluster.url("postgres"), &redis.url(), exporter, &[]);
    let mut setup = setup(&cluster, &redis, traffic.pages);
    setup.address = exporter;
    traffic.flows().await;
    let exporter = setup.start().await;
    let scrape = is_well(&exporter).await;
    assert_eq!(scrape.sum("rowmetry_collector_rows_refused_total", &[]), 0.0);
    eventually(PATIENCE, "lines are counted of every drain", async || {
        let scrape = exporter.try_scrape().await?;
        let none = |app: &&&str| {
            scrape.sum("rowmetry_drain_lines_total", &[("source", &format!("{app}-logs")), ("outcome", "counted")])
                == 0.0
        };
        let silent: Vec<_> = APPS.iter().filter(none).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("{silent:?} are silent")) }
    })
    .await;

    // Servers go away and come back; nobody ends, and nothing is lost or counted twice.
    cluster.stop();
    redis.stop();
    let says_that_it_waits_for = async |name: &str| {
        eventually(PATIENCE, "it says that it waits", async || {
            if traffic.log().contains(name) { Ok(()) } else { Err(traffic.log()) }
        })
        .await;
    };
    for app in APPS {
        says_that_it_waits_for(&format!("database rowmetry_demo_{app}")).await;
    }
    cluster.start();
    // Which keys there are is asked of the database.
    for app in ["coding_platform", "mentor"] {
        says_that_it_waits_for(&format!("keys of {app}")).await;
    }
    redis.start();
    eventually(PATIENCE, "the traffic goes on everywhere", async || {
        let log = traffic.log();
        assert!(traffic.process.ended().is_none(), "it ended: {log}");
        let servers = APPS.map(|app| format!("\"database rowmetry_demo_{app}\""));
        let keys = ["coding_platform", "mentor"].map(|app| format!("\"keys of {app}\""));
        // Once that it is away, and once that it is back.
        let waits = servers.iter().chain(&keys).find(|name| log.matches(name.as_str()).count() != 2);
        if waits.is_none() { Ok(()) } else { Err(format!("{waits:?}: {log}")) }
    })
    .await;
    is_well(&exporter).await;

    traffic.process.signal("TERM");
    let status = traffic.process.wait(PATIENCE).expect("SIGTERM ends it");
    assert!(status.success(), "{status}: {}", traffic.log());
    eventually(PATIENCE, "as much is counted as there is", async || {
        let differences = differences(&cluster, &exporter.try_scrape().await?).await;
        if differences.is_empty() { Ok(()) } else { Err(format!("{differences:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_begin_and_are_mended() {
    let (cluster, redis) = (Cluster::private(), Redis::new());
    redis.run("SET presence:not:ours 1");
    redis.run("SET presence:of:before 1");
    // What was written down long ago is over: a key of that name is somebody else's by now.
    redis.run("SET presence:long:over 1");
    redis.run("ZADD rowmetry_demo:keys:coding_platform 9999999999 presence:of:before 1000000000 presence:long:over");
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let traffic = Traffic::start(&cluster.url("postgres"), &redis.url(), nobody, &["--trouble", "syncedup/stale_cron"]);
    traffic.flows().await;
    let syncedup = cluster.open("rowmetry_demo_syncedup").await;
    let voyager = cluster.open("rowmetry_demo_voyager").await;
    let is = async |database: &super::harness::Database<'_>, sql: &str, wanted: fn(f64) -> bool| {
        eventually(PATIENCE, sql, async || {
            let number = database.number(sql).await;
            if wanted(number) { Ok(()) } else { Err(format!("{number}")) }
        })
        .await;
    };
    let stale = "select count(*) from cron_heartbeats where last_ok < now() - interval '1 day'";
    is(&syncedup, stale, |count| count == 1.0).await;
    traffic.switch("syncedup/stale_cron", false).await;
    is(&syncedup, stale, |count| count == 0.0).await;

    let dead = "select count(*) from transcription_queue where status = 'pending' and attempts >= 3";
    traffic.switch("syncedup/dead_jobs", true).await;
    is(&syncedup, dead, |count| count >= 1.0).await;
    traffic.switch("syncedup/dead_jobs", false).await;
    is(&syncedup, dead, |count| count == 0.0).await;

    let unanswered = "select count(*) from \"Conversation\" where \"id\" like 'ctrouble%'";
    traffic.switch("voyager/unanswered", true).await;
    is(&voyager, unanswered, |count| count >= 5.0).await;
    // What is asked for while the server is away happens when it is back.
    cluster.stop();
    let reply = http::request(traffic.control, "DELETE", "/troubles/voyager/unanswered", &[], PATIENCE).await;
    assert!(reply.expect("it answers").text().contains("\"wanted\":false"));
    cluster.start();
    is(&voyager, unanswered, |count| count == 0.0).await;

    // An endpoint is what the trouble says at once, and as before when it is over.
    let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, traffic.pages + 1));
    for (on, wanted) in [(true, "unhealthy"), (false, "healthy")] {
        traffic.switch("syncedup/unhealthy", on).await;
        eventually(PATIENCE, wanted, async || {
            let body = http::get(endpoint, "/api/health", &[]).await?.text();
            let told: serde_json::Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
            // By itself it is degraded now and then.
            let is_so = told["status"] == wanted || (wanted == "healthy" && told["status"] == "degraded");
            if is_so { Ok(()) } else { Err(body) }
        })
        .await;
    }
    let unknown = http::request(traffic.control, "POST", "/troubles/syncedup/nothing", &[], PATIENCE).await;
    let unknown = unknown.expect("it answers");
    assert!(unknown.status == 404 && unknown.text().contains("syncedup/dead_jobs"), "{}", unknown.text());
    let of_a_site =
        http::request(traffic.control, "POST", "/troubles/syncedup/dead_jobs", &[("Origin", "http://a")], PATIENCE);
    assert_eq!(of_a_site.await.expect("it answers").status, 403);

    // Every trouble there is can be made and mended.
    let all = http::get(traffic.control, "/troubles", &[]).await.expect("it answers");
    let all: Vec<serde_json::Value> = serde_json::from_slice(&all.body).expect("it is JSON");
    let all: Vec<String> = all.iter().map(|one| format!("{}/{}", one["app"], one["name"]).replace('"', "")).collect();
    assert!(all.len() >= 15, "{all:?}");
    for on in [true, false] {
        for name in &all {
            traffic.switch(name, on).await;
        }
    }
    assert!(traffic.process.ended().is_none(), "it ended: {}", traffic.log());

    // Its own keys go when it begins anew, and nobody else's.
    let own: u64 = redis.ask("ZCARD rowmetry_demo:keys:coding_platform");
    assert!(own > 20, "{own} keys are written down");
    assert_eq!(redis.ask::<u64>("EXISTS presence:not:ours"), 1);
    assert_eq!(redis.ask::<u64>("EXISTS presence:long:over"), 1);
    assert_eq!(redis.ask::<u64>("EXISTS presence:of:before"), 0);

    let page =
        r#"{"receiver":"page","alerts":[{"status":"firing","labels":{"alertname":"ShopDown"},"annotations":{}}]}"#;
    let sent = http::post(traffic.pager, "/page", &[], page.as_bytes()).await.expect("it answers");
    assert_eq!((sent.status, sent.text().as_str()), (200, "ok"));
    let shown = http::get(traffic.pager, "/", &[]).await.expect("it answers");
    assert!(
        shown.header("content-type").starts_with("text/html") && shown.text().contains("ShopDown"),
        "{}",
        shown.text()
    );
    assert!(
        http::get(traffic.pager, "/pages", &[]).await.expect("it answers").text().contains("\"receiver\":\"page\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_drops_its_own_databases_alone_and_says_what_it_may_not() {
    let cluster = Cluster::private();
    let kept = cluster.database().await;
    kept.run("create role maker login password 'maker' createdb; create role reader login password 'reader'").await;
    kept.run("create database rowmetry_demo_other").await;
    let url = |role: &str| format!("postgres://{role}:{role}@127.0.0.1:{}/postgres?sslmode=disable", cluster.port());
    let demo = |url: &str, duration: &str| {
        let folder = Folder::new("traffic");
        let mut command = command_as(None, BINARY, folder.path());
        command
            .args(["demo", "--traffic-only", "--duration", duration, "--database-url", url])
            .env("TMPDIR", folder.path());
        (Process::start(command, &folder.path().join("demo.log")), folder)
    };
    for (url, told) in [
        (url("reader"), "CREATEDB"),
        (url("maker").replace(":maker@", ":wrong@"), "cannot make its database"),
        ("mysql://a@b/c".to_owned(), "--database-url"),
    ] {
        let (process, folder) = demo(&url, "1s");
        let status = process.wait(PATIENCE).unwrap_or_else(|| panic!("it goes on with {url}"));
        assert!(!status.success() && log(&folder).contains(told), "{}", log(&folder));
        assert!(!log(&folder).contains("wrong@"), "it prints the password: {}", log(&folder));
    }
    // Twice: the second makes anew what the first left.
    for _ in 0..2 {
        let (process, folder) = demo(&url("maker"), "2s");
        let status = process.wait(BEGINNING).expect("--duration ends it");
        assert!(status.success(), "{}", log(&folder));
        assert!(!log(&folder).contains(":maker@"), "it prints the password: {}", log(&folder));
    }
    let names = kept.rows("select datname from pg_database where datname like 'rowmetry_demo%' order by 1").await;
    let names: Vec<&str> = names.iter().filter_map(|row| row[0].as_deref()).collect();
    let mut wanted: Vec<String> = APPS.iter().map(|app| format!("rowmetry_demo_{app}")).collect();
    wanted.push("rowmetry_demo_other".into());
    wanted.sort();
    assert_eq!(names, wanted);
}
