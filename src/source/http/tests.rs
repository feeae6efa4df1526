use std::collections::BTreeMap;

use super::*;
use crate::config::Upstream;

fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    Endpoint::new(&SourceSettings::new("web", Upstream::Http, url.to_owned().into()))
}

#[test]
fn a_path_takes_the_place_of_the_urls_and_keeps_its_query_unless_it_has_one() {
    let web = endpoint("https://u:p@h:8443/a/b?key=1#x").expect("a URL");
    for (path, wanted) in [
        (None, "https://h:8443/a/b?key=1"),
        (Some("/api/health"), "https://h:8443/api/health?key=1"),
        (Some("/api/health?deep=1"), "https://h:8443/api/health?deep=1"),
    ] {
        assert_eq!(credentials::uri(&web.url(path)).expect("a URI").to_string(), wanted);
    }
    assert_eq!(shown(&web.url(None)), "https://h:8443");
}

#[test]
fn what_cannot_be_used_is_told_without_the_url() {
    let message = endpoint("https://u:hunter2@").err().expect("no URL").message;
    assert!(message.contains("cannot be read") && !message.contains("hunter2"), "{message}");
    let mut settings = SourceSettings::new("web", Upstream::Http, "https://h/".to_owned().into());
    for (text, wanted) in [(None, "ca_file"), (Some("no certificate"), "it holds no certificate")] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        settings.ca_file = Some(file.path().to_owned());
        match text {
            Some(text) => std::fs::write(file.path(), text).expect("it is ours"),
            None => file.close().expect("it is ours"),
        }
        let message = Endpoint::new(&settings).err().expect("no certificates").message;
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn rows_are_the_observation_and_then_what_is_reported() {
    let probe: pack::Probe = serde_json::from_str(
        r#"{"values": [{"as": "latency", "at": "/s/{service}/ms"}, {"as": "jobs", "at": "/n", "set": {"queue": "q"}}]}"#,
    )
    .expect("a probe");
    let columns = ["target", "endpoint", "outcome", "up", "http_status", "service", "latency", "queue", "jobs"];
    let of = Arc::new(endpoint("http://h/x?secret").expect("a URL"));
    let reader = ProbeReader::new(of.clone(), &probe, columns.map(String::from).to_vec());
    let mut probed = Probed {
        outcome: Outcome::Degraded,
        status: Some(503),
        took: None,
        document: Some(serde_json::json!({"s": {"db": {"ms": 7}, "mail": {}}, "n": "2"})),
        detail: "HTTP 503".into(),
    };
    let (w, x) = (Some("web"), Some("/x"));
    let wanted = [
        [w, x, Some("degraded"), Some("1"), Some("503"), None, None, None, None],
        [w, x, None, None, None, Some("db"), Some("7"), None, None],
        [w, x, None, None, None, None, None, Some("q"), Some("2")],
    ];
    assert_eq!(reader.rows(&of.url(None), &probed), Rows::of(9, &wanted.concat()));
    let begins = |path, with: &str| probed.note(path).is_some_and(|note| note.starts_with(with));
    assert!(begins(Some("/health?deep"), "/health: degraded (HTTP 503): "), "the pack's own path");
    assert!(begins(None, "degraded (HTTP 503): "), "the operator's path may be a secret");
    probed.outcome = Outcome::RateLimited;
    probed.document = None;
    let wanted = [w, x, Some("rate_limited"), None, Some("503"), None, None, None, None];
    assert_eq!(reader.rows(&of.url(None), &probed), Rows::of(9, &wanted));
}

/// They are one family each in a scrape, whichever packs make them.
#[test]
fn packs_agree_on_the_families_of_endpoints() {
    let mut first: BTreeMap<String, (String, String)> = BTreeMap::new();
    for pack in crate::pack::builtin().expect("the packs are good") {
        for collector in pack.collectors.iter().filter(|collector| collector.probe.is_some()) {
            for metric in collector.metrics.iter().filter(|metric| metric.name().starts_with("app_health_")) {
                let kind = metric.kind();
                let text = format!("{kind:?} {} {:?} {:?}", metric.help, metric.labels, metric.buckets);
                let (other, owner) = first.entry(metric.name().to_owned()).or_insert((text.clone(), pack.app.clone()));
                assert_eq!(text, *other, "{} of {} and {owner}", metric.name(), pack.app);
            }
        }
    }
    assert!(first.contains_key("app_health_up"));
}

#[test]
fn a_request_that_was_understood_is_no_verdict() {
    let packs = crate::pack::builtin().expect("the packs are good");
    let health = packs.iter().find(|pack| pack.app == "health").expect("there is one");
    let probe = health.collectors[0].probe.as_ref().expect("it probes");
    for (body, wanted) in [(r#"{"ok": true, "healthy": false}"#, Outcome::Unhealthy), (r#"{"ok": true}"#, Outcome::Ok)]
    {
        assert_eq!(outcome::judge(probe, 200, "application/json", body.as_bytes()).0, wanted, "{body}");
    }
}
