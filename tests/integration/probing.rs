//! Health endpoints, however they answer: each kind of answer is an outcome of its own, counted once, and asked for politely.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::harness::certificates::Authority;
use super::harness::hostile::{self, Act, Hostile, Waiting, answer, bytes, drip, json, raw, slowly};
use super::harness::{Exporter, Scrape, Setup};

/// The interval of the tests' sources.
const INTERVAL: Duration = Duration::from_millis(250);

/// What a server may see of the pause between two requests: less than there was, by what the first was under way for.
const UNDER_WAY: Duration = Duration::from_millis(100);

const HEALTHY: &str = r#"{"status": "healthy", "pool": {"total": 7}, "services":
    {"database": {"status": "healthy", "latency": 12}, "mail": {"status": "unhealthy", "latency": "2500"}, "x": {"status": "?"}}}"#;

fn endpoint(url: &str) -> Setup {
    Setup::of(url).sourced("packs", "[endpoint]")
}

fn health<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("target", "app"), ("endpoint", "/api/health")], more].concat()
}

fn probes(scrape: &Scrape, outcome: &str) -> f64 {
    scrape.sum("web_probes_total", &[("endpoint", "/api/health"), ("outcome", outcome)])
}

/// Waits until two more probes came to this, the second of which surely began after the call, and until it is what is shown.
async fn comes_to(exporter: &Exporter, what: &str, outcome: &str) -> Scrape {
    let before = probes(&exporter.scrape().await, outcome);
    exporter
        .scrapes(&format!("{what} is {outcome}"), |scrape| {
            let in_force: Vec<&str> = scrape
                .of("web_outcome", &[("target", "app")])
                .filter(|(_, value)| *value == 1.0)
                .map(|(key, _)| key)
                .collect();
            let shown = in_force.len() == 1 && in_force[0].contains(&format!("outcome=\"{outcome}\""));
            if shown && probes(scrape, outcome) >= before + 2.0 { Ok(()) } else { Err(format!("{in_force:?}")) }
        })
        .await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// What the answer is, the answer, and outcome, `up` and HTTP status that it comes to.
type Case = (&'static str, Act, &'static str, Option<f64>, Option<f64>);

fn cases() -> Vec<Case> {
    let (up, down, unknown) = (Some(1.0), Some(0.0), None);
    let page = "<!DOCTYPE html><html><body>Log in</body></html>";
    let packed = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let squeezed = gzip(HEALTHY.as_bytes());
    let cut = |whole: Vec<u8>, by: usize| whole[..whole.len() - by].to_vec();
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let to = |place: &str| answer("302 Found", &format!("Location: {place}\r\n"), "");
    vec![
        ("JSON", json("200 OK", HEALTHY), "ok", up, Some(200.0)),
        ("JSON of half health", json("200 OK", r#"{"status": "degraded"}"#), "degraded", up, Some(200.0)),
        ("503 with a body", json("503 Down", r#"{"status": "unhealthy"}"#), "unhealthy", down, Some(503.0)),
        ("503 without", answer("503 Down", "", ""), "http_error", down, Some(503.0)),
        ("500 with a page", answer("500 Error", "Content-Type: text/html\r\n", page), "http_error", down, Some(500.0)),
        ("plain text", answer("200 OK", "Content-Type: text/plain\r\n", "OK"), "text", up, Some(200.0)),
        ("a page", answer("200 OK", "Content-Type: text/html\r\n", page), "html", down, Some(200.0)),
        ("404", answer("404 Not Found", "", "no"), "not_found", down, Some(404.0)),
        ("401", answer("401 Who", "WWW-Authenticate: Basic\r\n", ""), "forbidden", down, Some(401.0)),
        ("429", json("429 Slow", r#"{"status": "unhealthy"}"#), "rate_limited", unknown, Some(429.0)),
        ("an unknown word", json("200 OK", r#"{"status": "dreaming"}"#), "unparsable", down, Some(200.0)),
        ("half of JSON", json("200 OK", r#"{"status": "hea"#), "unparsable", down, Some(200.0)),
        ("no UTF-8", answer("200 OK", "", b"{\"status\": \"\xff\xfe\"}"), "unparsable", down, Some(200.0)),
        ("deep JSON", json("200 OK", &deep), "unparsable", down, Some(200.0)),
        ("no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n"), "unparsable", down, None),
        ("bad chunks", raw(format!("{chunked}zz\r\n")), "unparsable", down, Some(200.0)),
        ("packed JSON", answer("200 OK", packed, &squeezed), "ok", up, Some(200.0)),
        ("packed and cut", answer("200 OK", packed, cut(squeezed.clone(), 9)), "truncated", down, Some(200.0)),
        ("packed wrongly", answer("200 OK", packed, HEALTHY), "unparsable", down, Some(200.0)),
        ("a bomb", answer("200 OK", packed, gzip(&vec![b' '; 50 << 20])), "too_large", down, Some(200.0)),
        ("a huge body", json("200 OK", &" ".repeat(5 << 20)), "too_large", down, Some(200.0)),
        ("a huge head", answer("200 OK", &format!("X: {}\r\n", "x".repeat(1 << 20)), ""), "too_large", down, None),
        ("less than promised", raw(cut(bytes("200 OK", "", HEALTHY), 5)), "truncated", down, Some(200.0)),
        ("a cut chunk", raw(format!("{chunked}ff\r\n{{}}")), "truncated", down, Some(200.0)),
        ("no answer at all", raw(""), "reset", down, None),
        ("half of a head", raw("HTTP/1.1 200 OK\r\nContent-Ty"), "reset", down, None),
        ("a circle", to("/api/health"), "redirected", down, Some(302.0)),
        ("another host", to("http://127.0.0.1:9/api/health"), "redirected", down, Some(302.0)),
        ("a place that is none", to("http://"), "redirected", down, Some(302.0)),
        ("slow headers", drip(""), "timeout", down, None),
        ("a slow body", drip("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"), "timeout", down, Some(200.0)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_is_an_outcome_of_its_own() {
    let server = Hostile::plain(json("200 OK", "{}"));
    let exporter = endpoint(&server.url("/")).start().await;
    for (what, act, outcome, up, status) in cases() {
        server.acts(act);
        let scrape = comes_to(&exporter, what, outcome).await;
        assert_eq!(scrape.get("web_up", &health(&[])), up, "{what}");
        assert_eq!(scrape.get("web_http_status", &health(&[])), status, "{what}");
        let services: Vec<(&str, f64)> = scrape.of("web_service_up", &[]).collect();
        assert_eq!(services.is_empty(), outcome != "ok", "{what}: only what was just reported is shown: {services:?}");
        if outcome == "ok" {
            assert_eq!(scrape.get("web_service_up", &health(&[("service", "database")])), Some(1.0));
            assert_eq!(scrape.get("web_service_up", &health(&[("service", "mail")])), Some(0.0));
            assert_eq!(services.len(), 2);
            assert_eq!(scrape.get("web_service_latency_seconds", &health(&[("service", "database")])), Some(0.012));
            assert_eq!(scrape.get("web_service_latency_seconds", &health(&[("service", "mail")])), Some(2.5));
            assert_eq!(scrape.get("web_reported", &health(&[("field", "pool_total")])), Some(7.0));
        }
        assert_eq!(scrape.get("rowmetry_source_up", &[("source", "app")]), Some(1.0), "no answer is a failed read");
    }
    server.stop();
    let scrape = comes_to(&exporter, "a server that is gone", "refused").await;
    assert_eq!(scrape.get("web_up", &health(&[])), Some(0.0));
    let timed = scrape.sum("web_seconds_count", &[("endpoint", "/api/health")]);
    let whole = ["ok", "degraded", "unhealthy", "http_error", "text", "html", "not_found", "forbidden", "rate_limited"];
    let whole: f64 = whole.iter().map(|outcome| probes(&scrape, outcome)).sum();
    let all = scrape.sum("web_probes_total", &[("endpoint", "/api/health")]);
    assert!(whole <= timed && timed < all, "{whole} whole answers of {all} probes; {timed} were timed");
    // One in flight, and perhaps one that the server has not seen end.
    assert!(server.most_open() <= 2, "{} connections were open at once", server.most_open());
    server.start();
    server.acts(json("200 OK", HEALTHY));
    comes_to(&exporter, "a server that is back", "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_certificate_for_the_host_is_trusted() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let ok = || json("200 OK", HEALTHY);
    let later = "20490101000000Z";
    let servers = [
        ("app", Hostile::tls(ok(), own.server("localhost", later)), "ok"),
        ("stranger", Hostile::tls(ok(), other.server("localhost", later)), "tls_failed"),
        ("expired", Hostile::tls(ok(), own.server("localhost", "20200601000000Z")), "tls_failed"),
        ("misnamed", Hostile::tls(ok(), own.server("elsewhere.example", later)), "tls_failed"),
    ];
    let plain = Hostile::plain(ok());
    let trust = format!("\"{}\"", own.file().display());
    let mut setup = endpoint(&servers[0].1.url("/")).sourced("ca_file", &trust);
    let mut wanted = vec![("app", "ok", "")];
    for ((name, server, outcome), word) in servers[1..].iter().zip(["UnknownIssuer", "expired", "elsewhere.example"]) {
        setup = setup.source(name, &server.url("/")).sourced("packs", "[endpoint]").sourced("ca_file", &trust);
        wanted.push((name, outcome, word));
    }
    let nowhere = format!("http://{}.invalid/", "a".repeat(64));
    let spoken = plain.url("/").replace("http:", "https:");
    for (name, url, outcome) in [("nowhere", &nowhere, "unresolved"), ("plain", &spoken, "tls_failed")] {
        setup = setup.source(name, url).sourced("packs", "[endpoint]");
        wanted.push((name, outcome, ""));
    }
    // Without `ca_file`, an authority of one's own is a stranger.
    setup = setup.source("untold", &servers[0].1.url("/")).sourced("packs", "[endpoint]");
    wanted.push(("untold", "tls_failed", "UnknownIssuer"));
    let exporter = setup.start().await;
    for (target, outcome, word) in &wanted {
        exporter
            .scrapes(&format!("{target} is {outcome}"), |scrape| {
                let labels = [("target", *target), ("endpoint", "/api/health"), ("outcome", *outcome)];
                match scrape.sum("web_outcome", &labels) {
                    1.0 => Ok(()),
                    _ => {
                        Err(format!("{:?}", scrape.of("web_probes_total", &[("target", *target)]).collect::<Vec<_>>()))
                    }
                }
            })
            .await;
        let page = exporter.get("/", "text/html").await.expect("the front page").text();
        assert!(page.contains(word), "the front page tells what is wrong with {target}: {word}");
    }
    let asked: Vec<usize> = servers.iter().map(|(_, server, _)| server.asked().len()).collect();
    assert!(asked[0] > 0 && asked[1..] == [0, 0, 0], "nothing is sent to a server that is not trusted: {asked:?}");
    assert_eq!(plain.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_a_time_and_never_sooner_than_the_interval() {
    let waiting = Arc::new(Waiting::default());
    let server = Hostile::plain(slowly(json("200 OK", HEALTHY), waiting.clone()));
    let exporter = endpoint(&server.url("/")).start().await;
    exporter
        .scrapes("twelve probes", |scrape| match probes(scrape, "ok") {
            count if count >= 12.0 => Ok(()),
            count => Err(format!("{count}")),
        })
        .await;
    let asked = server.asked();
    assert_eq!(waiting.most(), 1, "two collectors take turns");
    let times = asked.iter().filter(|asked| asked.head.starts_with("GET /api/health ")).map(|asked| asked.at);
    let times: Vec<_> = times.collect();
    for pair in times.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause + UNDER_WAY >= INTERVAL, "{pause:?}");
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    let least = INTERVAL * u32::try_from(times.len() - 1).expect("few");
    assert!(last - first + UNDER_WAY >= least, "{} requests in {:?}", times.len(), last - first);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_survive_a_restart() {
    let server = Hostile::plain(json("200 OK", HEALTHY));
    let setup = endpoint(&server.url("/"));
    let mut before = 0.0;
    for life in 0..3 {
        let exporter = setup.start().await;
        let first = exporter
            .scrapes("it is shown", |scrape| if probes(scrape, "ok") > 0.0 { Ok(()) } else { Err("no".into()) })
            .await;
        assert!(probes(&first, "ok") >= before, "{} after {before}", probes(&first, "ok"));
        let scrape = comes_to(&exporter, "a good server", "ok").await;
        before = probes(&scrape, "ok");
        assert_eq!(scrape.sum("web_seconds_count", &[("endpoint", "/api/health")]), before, "life {life}");
        exporter.kill();
    }
    let asked = server.asked().iter().filter(|asked| asked.head.starts_with("GET /api/health ")).count() as f64;
    // Each life may end with a request that is not counted yet, and with counts that nobody saw.
    assert!(asked >= before && asked <= before + 6.0, "{asked} requests, {before} were counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_the_endpoint_and_to_nobody_else() {
    let other = Hostile::plain(json("200 OK", HEALTHY));
    let elsewhere = format!("http://127.0.0.1:{}/api/health", other.address.port());
    let next_door = other.url("/api/health");
    let server = Hostile::plain(json("200 OK", HEALTHY));
    let url = server.url("/?token=hunter3").replace("http://", "http://ann:hunter2@");
    let exporter = endpoint(&url).start().await;
    comes_to(&exporter, "a good server", "ok").await;
    let asked = server.asked().into_iter().find(|asked| asked.head.contains("/api/health")).expect("it was asked");
    let head = asked.head.to_ascii_lowercase();
    for wanted in [
        "get /api/health?token=hunter3 http/1.1\r\n".to_owned(),
        format!("host: localhost:{}\r\n", server.address.port()),
        "accept: application/json\r\n".to_owned(),
        "accept-encoding: gzip\r\n".to_owned(),
        format!("user-agent: rowmetry/{}\r\n", env!("CARGO_PKG_VERSION")),
        "authorization: basic yw5uomh1bnrlcji=\r\n".to_owned(),
    ] {
        assert!(head.contains(&wanted), "{wanted:?} in {head}");
    }
    for place in [elsewhere, next_door] {
        server.acts(answer("307 There", &format!("Location: {place}\r\n"), ""));
        comes_to(&exporter, "another server", "redirected").await;
        server.acts(json("200 OK", HEALTHY));
        comes_to(&exporter, "a good server", "ok").await;
    }
    assert_eq!(other.asked().len(), 0, "another server is not asked");
    let good = hostile::bytes("200 OK", "Content-Type: application/json\r\n", HEALTHY);
    let moved = hostile::bytes("308 Moved", "Location: /deeper\r\n", "");
    server.acts(Arc::new(move |head, wire| {
        let answer = if head.starts_with("GET /deeper ") && head.contains("YW5uOmh1bnRlcjI=") { &good } else { &moved };
        let _ = wire.write_all(answer);
    }));
    let scrape = comes_to(&exporter, "another path of the same server", "ok").await;
    assert_eq!(scrape.get("web_http_status", &health(&[])), Some(200.0));
    server.acts(json("200 OK", r#"{"status": "hunter4"}"#));
    comes_to(&exporter, "a word that is not known", "unparsable").await;
    let page = exporter.get("/", "text/html").await.expect("the front page").text();
    let shown = format!("{page}\n{}\n{:?}", exporter.log_text(), exporter.scrape().await.series);
    for secret in ["hunter", "YW5uOm"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_once_and_tells_what_it_found() {
    let server = Hostile::plain(json("503 Down", r#"{"status": "unhealthy", "services": {"mail": {"latency": 5}}}"#));
    let setup = endpoint(&server.url("/").replace("http://", "http://ann:hunter2@"));
    let made = setup.command(&["check"]).output().expect("it can be started");
    let report = String::from_utf8_lossy(&made.stdout).into_owned();
    for wanted in ["/api/health", "`unhealthy` (HTTP 503", "numbers reported: 1", "/pool/totalCount", "does not work"] {
        assert!(report.contains(wanted), "{wanted:?} in {report}");
    }
    assert!(!report.contains("hunter2"), "{report}");
    assert_eq!(server.asked().len(), 2, "each collector asks once");
}

/// Without a pack for the application, the common one shows its endpoint under the names that dashboards know.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_no_known_application_has_the_common_pack() {
    let server = Hostile::plain(json(
        "200 OK",
        r#"{"status": "UP", "uptime": 12.5, "checks": {"db": "connected", "mail": "down"}}"#,
    ));
    let exporter = Setup::of(&server.url("/actuator/health")).start().await;
    let labels = [("target", "app"), ("endpoint", "/actuator/health")];
    let with = |label: &'static str, value: &'static str| [labels[0], labels[1], (label, value)];
    let scrape = exporter
        .scrapes("the endpoint is up", |scrape| match scrape.get("app_health_up", &labels) {
            Some(1.0) => Ok(()),
            up => Err(format!("{up:?}")),
        })
        .await;
    assert_eq!(scrape.get("app_health_http_status", &labels), Some(200.0));
    assert_eq!(scrape.get("app_health_outcome", &with("outcome", "ok")), Some(1.0));
    assert_eq!(scrape.get("app_health_outcome", &with("outcome", "timeout")), Some(0.0));
    assert!(scrape.sum("app_health_probes_total", &with("outcome", "ok")) >= 1.0);
    assert!(scrape.sum("app_health_duration_seconds_count", &labels) >= 1.0);
    assert_eq!(scrape.get("app_health_service_up", &with("service", "db")), Some(1.0));
    assert_eq!(scrape.get("app_health_service_up", &with("service", "mail")), Some(0.0));
    assert_eq!(scrape.get("app_health_reported", &with("field", "uptime_seconds")), Some(12.5));
}
