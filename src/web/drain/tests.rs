use tokio::sync::mpsc;

use super::*;
use crate::config::logs::{DrainAuth, RecordFields};
use crate::source::logs::Delivery;
use crate::telemetry::Metrics;
use crate::web::trace;

fn inlet() -> (Inlet, mpsc::Receiver<Delivery>) {
    let settings = DrainSettings {
        name: "app".into(),
        kind: DrainKind::Http,
        path: "/drains/app".into(),
        auth: DrainAuth::default(),
        file: None,
        fields: RecordFields::default(),
        streams: Vec::new(),
        database: None,
        packs: None,
        skip: Vec::new(),
    };
    Inlet::new(Arc::new(settings), Metrics::new("1").drain("app", true))
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_not_kept_waiting_for_ever_and_loses_nothing() {
    let (inlet, mut waiting) = inlet();
    let limits = IntakeLimits::default();
    let inlets = Arc::new(Inlets::new(limits.waiting_bytes));
    let work = Work {
        settings: inlet.settings.clone(),
        limits,
        claim: None,
        packing: Packing::Plain,
        is_json: false,
        body: b"{\"message\":\"a\"}\n".to_vec(),
        room: Room::new(inlets),
    };
    let began = Instant::now();
    let outcome = count(&inlet, &Semaphore::new(READ_AT_ONCE), work).await;
    assert!(matches!(outcome, Err(Refused::Late)), "{outcome:?}");
    assert_eq!(began.elapsed(), COUNTING_TIME);
    let delivery = waiting.recv().await.expect("it waits to be counted still");
    assert_eq!(delivery.parsed.lines.len(), 1);
    assert!(delivery.answer.send(Ok(())).is_err(), "nobody waits for it any more");
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_fill_the_log() {
    let intake = Intake::new(Arc::new(Inlets::new(1)), IntakeLimits::default());
    assert!(intake.may_warn("a"));
    assert!(intake.may_warn("b"));
    assert!(!intake.may_warn("a"));
    tokio::time::advance(QUIET / 2).await;
    assert!(!intake.clone().may_warn("a"), "every connection's is the same");
    tokio::time::advance(QUIET / 2).await;
    assert!(intake.may_warn("a"));
    assert_eq!(intake.warned.lock().expect("no panic").len(), 1, "those of long ago are forgotten");
}

#[test]
fn types_that_cannot_be_read_are_told_before_the_body_is() {
    let check = |kind, given: &'static str| {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(given))]);
        check_type(kind, &headers).ok()
    };
    for kind in [DrainKind::Http, DrainKind::Vercel, DrainKind::Supabase] {
        for given in ["application/x-ndjson", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""] {
            assert_eq!(check(kind, given), Some(false), "{given}");
        }
        assert_eq!(check(kind, "Application/JSON; charset=utf-8"), Some(true));
        for given in UNREAD_TYPES {
            assert_eq!(check(kind, given), None, "{given}");
        }
        assert_eq!(check_type(kind, &HeaderMap::new()).ok(), Some(false), "some senders tell none");
    }
    assert_eq!(check(DrainKind::Otlp, "application/x-protobuf"), Some(false));
    assert_eq!(check(DrainKind::Otlp, "application/json"), Some(true));
    assert_eq!(check(DrainKind::Otlp, "text/plain"), None);
    assert!(check_type(DrainKind::Otlp, &HeaderMap::new()).is_err());
}

#[test]
fn a_test_of_the_connection_is_told_from_lines() {
    for body in [&b""[..], b"{}", b"[]", b" [ ]\r\n", b"\n"] {
        assert!(is_test(body), "{body:?}");
    }
    let long = [b"{}".as_slice(), &[b' '; TEST_BYTES]].concat();
    for body in [&b"{}{}"[..], b"[{}]", b"x", b"[", b"{\"a\":1}", &long] {
        assert!(!is_test(body), "{body:?}");
    }
}

#[test]
fn what_a_drain_sends_is_not_traced() {
    let subscriber = tracing_subscriber::registry();
    tracing::subscriber::with_default(subscriber, || {
        let span = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).expect("a request");
            trace::answer(&request)
        };
        assert!(!span(Method::GET, "/metrics").is_none(), "the test sees spans");
        for path in ["/drains/app", "/drains/app?token=s3cret", "/drains/metrics"] {
            for method in [Method::GET, Method::POST] {
                assert!(span(method, path).is_none(), "{path}");
            }
        }
    });
}
