use super::*;

fn probe(more: &str) -> Probe {
    let text = format!(
        r#"{{"status": ["/status", "/ok"], "healthy": ["healthy", "true"], "degraded": ["degraded"],
            "unhealthy": ["unhealthy", "false"]{more}}}"#
    );
    serde_json::from_str(&text).expect("a probe")
}

fn verdict_of(status: u16, content_type: &str, body: &[u8]) -> Outcome {
    judge(&probe(""), status, content_type, body).0
}

const JSON: &str = "application/json; charset=utf-8";

#[test]
fn json_says_how_it_fares() {
    for (status, body, wanted) in [
        (200, r#"{"status": "healthy"}"#, Outcome::Ok),
        (200, r#"{"status": "Healthy "}"#, Outcome::Ok),
        (200, r#"{"ok": true}"#, Outcome::Ok),
        (200, r#"{"status": null, "ok": false}"#, Outcome::Unhealthy),
        (200, r#"{"status": "degraded"}"#, Outcome::Degraded),
        (503, r#"{"status": "degraded"}"#, Outcome::Degraded),
        (503, r#"{"status": "unhealthy"}"#, Outcome::Unhealthy),
        (200, r#"{"status": "unhealthy"}"#, Outcome::Unhealthy),
        (500, r#"{"status": "healthy"}"#, Outcome::HttpError),
        (500, r#"{"error": "x"}"#, Outcome::HttpError),
        (503, r#"{"status": "asleep"}"#, Outcome::HttpError),
        (200, r#"{"status": "asleep"}"#, Outcome::Unparsable),
        (200, r#"{"status": {"healthy": false}, "ok": false}"#, Outcome::Unhealthy),
        (200, r#"{"state": "healthy"}"#, Outcome::Ok),
        (200, "[]", Outcome::Ok),
        (200, "{\"status\": \"healthy\"", Outcome::Unparsable),
        (200, "OK", Outcome::Unparsable),
        (200, r#"{"n": 1e999}"#, Outcome::Unparsable),
    ] {
        assert_eq!(verdict_of(status, JSON, body.as_bytes()), wanted, "{status} {body}");
    }
    let without = judge(&Probe { status: None, ..probe("") }, 200, JSON, br#"{"status": "unhealthy"}"#);
    assert_eq!(without.0, Outcome::Ok);
}

#[test]
fn content_is_told_by_what_it_is() {
    for (status, content_type, body, wanted) in [
        (200, "text/plain", "OK", Outcome::Text),
        (200, "text/html; charset=utf-8", "OK", Outcome::Text),
        (200, "", "OK\n", Outcome::Text),
        (204, "", "", Outcome::Text),
        (200, JSON, "", Outcome::Text),
        (200, "text/plain", r#"{"status": "unhealthy"}"#, Outcome::Unhealthy),
        (200, "application/health+json", "\u{feff}{\"status\": \"degraded\"}", Outcome::Degraded),
        (200, "", "{not JSON", Outcome::Unparsable),
        (200, "text/html", "  <!DOCTYPE html><html>", Outcome::Html),
        (200, "text/plain", "<html>", Outcome::Html),
        (200, "text/html", "<p>Hello", Outcome::Html),
        (200, "text/xml", "<ok/>", Outcome::Text),
        (200, "image/png", "PNG", Outcome::Unparsable),
        (200, "text/plain", "\u{1}\u{2}", Outcome::Unparsable),
        (502, "text/html", "<html>Bad gateway", Outcome::HttpError),
        (400, "text/plain", "no", Outcome::HttpError),
        (200, "text/plain", "[OK] all is well", Outcome::Text),
        (200, JSON, "[OK] all is well", Outcome::Unparsable),
    ] {
        assert_eq!(verdict_of(status, content_type, body.as_bytes()), wanted, "{status} {content_type} {body}");
    }
    assert_eq!(verdict_of(200, JSON, b"{\"status\": \"\xff\"}"), Outcome::Unparsable);
    let page = judge(&probe(r#", "accept": "text/html""#), 200, "text/html", b"<html>");
    assert_eq!(page.0, Outcome::Text);
}

#[test]
fn a_body_that_is_one_word_says_how_it_fares() {
    for (status, content_type, body, wanted) in [
        (200, "text/plain", "Degraded", Outcome::Degraded),
        (503, "text/plain", "Unhealthy\n", Outcome::Unhealthy),
        (200, "text/plain", "unhealthy", Outcome::Unhealthy),
        (200, "text/plain", "Healthy", Outcome::Text),
        (503, "text/plain", "Healthy", Outcome::HttpError),
        (200, "text/plain", "not unhealthy", Outcome::Text),
        (200, JSON, "\"unhealthy\"", Outcome::Unhealthy),
        (200, JSON, "false", Outcome::Unhealthy),
        (200, JSON, "true", Outcome::Ok),
        (200, JSON, "\"fine\"", Outcome::Ok),
    ] {
        assert_eq!(verdict_of(status, content_type, body.as_bytes()), wanted, "{status} {content_type} {body}");
    }
    let without = judge(&Probe { status: None, ..probe("") }, 200, "text/plain", b"unhealthy");
    assert_eq!(without.0, Outcome::Text);
}

#[test]
fn deep_nesting_is_refused_and_not_walked() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(verdict_of(200, JSON, deep.as_bytes()), Outcome::Unparsable);
    let objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert_eq!(verdict_of(200, JSON, objects.as_bytes()), Outcome::Unparsable);
}

#[test]
fn a_status_speaks_for_itself_where_the_body_cannot_matter() {
    for (status, wanted) in [
        (200, None),
        (302, Some("redirected")),
        (401, Some("forbidden")),
        (404, Some("not_found")),
        (410, None),
        (429, Some("rate_limited")),
        (503, None),
    ] {
        assert_eq!(Outcome::of_status(status).map(Outcome::as_str), wanted, "{status}");
    }
}

#[test]
fn what_is_not_up_has_advice() {
    for outcome in Outcome::ALL {
        assert!(outcome.up() == Some(true) || outcome.advice().is_some(), "{outcome}");
    }
    assert_eq!(Outcome::RateLimited.up(), None);
    assert_eq!(Outcome::ALL.iter().filter(|outcome| outcome.up() == Some(true)).count(), 3);
}

/// A pack that declared fewer would hide the others among the undeclared; one that declared more would never see them.
#[test]
fn packs_declare_every_outcome() {
    let all = Outcome::ALL.map(Outcome::as_str);
    let mut seen = 0;
    for pack in crate::pack::builtin().expect("the packs are good") {
        for collector in pack.collectors.iter().filter(|collector| collector.probe.is_some()) {
            for metric in &collector.metrics {
                for label in metric.labels.iter().filter(|label| label.column() == "outcome") {
                    seen += 1;
                    assert_eq!(label.values(), all, "{} of {}", metric.name(), pack.app);
                }
            }
        }
    }
    assert!(seen > 0, "no pack shows outcomes");
}
