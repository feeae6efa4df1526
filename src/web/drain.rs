//! Requests that bring log lines: who may, how much, in which packing; and the answer once they are counted for good.
//!
//! A body is read within bounds of size, time and memory, and looked at only when its sender showed that it may. It counts
//! nothing but requests, keeps no body, and repeats no byte of a header or a body in an answer, a span or the log.

mod auth;
mod body;
mod refused;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::reply::{Parts, plain, reply};
use crate::config::DrainSettings;
use crate::config::logs::{DrainKind, IntakeLimits};
use crate::otlp;
use crate::source::logs::{self, Inlet, Inlets, Parsed};
use crate::telemetry::metrics::{DrainMetrics, RequestFate};
use body::{Packing, Room};
use refused::Refused;

/// Bodies up to this are checked and read where they arrive: well under a millisecond of work, about what it costs to hand
/// it to another thread. Longer ones, and packed ones, would keep other requests waiting.
const INLINE_BYTES: usize = 64 * 1024;
/// Longer or packed bodies whose lines are in memory at a time, from when they are read until they count: one is read while
/// another is counted. Lines take up to a hundred times the memory of a body that was made to do harm, which the room that its bytes
/// took says nothing of; the others wait as bytes.
const READ_AT_ONCE: usize = 2;
/// Time that a drain's task has to count a delivery for good. Senders wait for 30 s or so; what is counted after that is
/// known when it is delivered again.
const COUNTING_TIME: Duration = Duration::from_secs(25);
/// Bytes of a body that tests the connection: `{}` or `[]`, and some white space.
const TEST_BYTES: usize = 64;
/// Time in which the rest of a body that was refused is taken and thrown away: a client that is still sending would
/// otherwise find its connection reset, and not the answer. The time bounds what that costs; nothing is kept.
const LINGER: Duration = Duration::from_secs(2);
/// Time between two warnings that requests to a drain do not show that they may: strangers must not fill the log.
const QUIET: Duration = Duration::from_secs(60);
/// The header that Vercel looks for in every answer, to see that the endpoint is its user's.
const VERIFY: HeaderName = HeaderName::from_static("x-vercel-verify");
/// The type of OTLP's bodies.
const OTLP_TYPE: &str = "application/x-protobuf";
/// Types of bodies that hold log lines for some, and cannot be read here.
const UNREAD_TYPES: [&str; 6] = [
    "application/msgpack",
    "application/x-msgpack",
    "application/vnd.msgpack",
    "application/x-protobuf",
    "application/protobuf",
    "multipart/form-data",
];

/// The way in for all drains.
#[derive(Clone)]
pub struct Intake {
    /// The drains, by path.
    pub inlets: Arc<Inlets>,
    /// Bounds.
    pub limits: IntakeLimits,
    warned: Arc<Mutex<BTreeMap<String, Instant>>>,
    turns: Arc<Semaphore>,
}

impl Intake {
    /// The way in for these drains, within these bounds.
    pub fn new(inlets: Arc<Inlets>, limits: IntakeLimits) -> Self {
        Intake { inlets, limits, warned: Arc::default(), turns: Arc::new(Semaphore::new(READ_AT_ONCE)) }
    }

    /// Whether it may be said now that requests to a drain are refused: not if it was a short while ago.
    fn may_warn(&self, drain: &str) -> bool {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|_, at| now.duration_since(*at) < QUIET);
        if warned.contains_key(drain) {
            return false;
        }
        warned.insert(drain.to_owned(), now);
        true
    }
}

/// Answers one request to a drain.
pub(super) async fn answer(intake: &Intake, inlet: Inlet, request: Request<Incoming>) -> Response<Parts> {
    let settings = inlet.settings.clone();
    let form = Form::of(settings.kind, request.headers());
    let mut response = match *request.method() {
        // Somebody looks whether the endpoint is there: no request of a drain, so it is not counted.
        Method::GET | Method::HEAD => plain(StatusCode::OK, ""),
        Method::POST | Method::PUT => match take_in(intake, inlet, request).await {
            Ok(rejected) => form.accepted(rejected),
            Err(refused) => {
                tracing::debug!(drain = settings.name, reason = %refused, "a request was refused");
                if refused.is_about_access() && intake.may_warn(&settings.name) {
                    tracing::warn!(
                        drain = settings.name,
                        reason = %refused,
                        "requests to a drain are refused; this is told once a minute, and counted each time"
                    );
                }
                form.refused(&refused)
            }
        },
        _ => {
            inlet.metrics.request(Refused::Method.fate());
            form.refused(&Refused::Method)
        }
    };
    if let Some(verify) = &settings.auth.verify
        && let Ok(value) = HeaderValue::from_str(verify.expose_secret())
    {
        response.headers_mut().insert(VERIFY, value);
    }
    response
}

/// Reads a request, and brings its lines to where they are counted. Once they are counted for good it tells how many of its
/// records could not be read.
async fn take_in(intake: &Intake, inlet: Inlet, request: Request<Incoming>) -> Result<u64, Refused> {
    let mut tally = Tally { metrics: inlet.metrics.clone(), is_settled: false };
    let (head, mut incoming) = request.into_parts();
    let received = match receive(intake, &inlet, &head.headers, &mut incoming).await {
        Ok(Received::Work(work)) => work,
        Ok(Received::Test) => {
            tally.is_settled = true;
            return Ok(0);
        }
        Err(refused) => {
            tally.settle(refused.fate());
            // Who waits for leave to send will not send any more.
            if !head.headers.contains_key(EXPECT) && !incoming.is_end_stream() {
                linger(incoming);
            }
            return Err(refused);
        }
    };
    // In a task of its own: a client that goes away now takes nothing back, and its request is counted still.
    let turns = intake.turns.clone();
    let counting = tokio::spawn(async move {
        let outcome = count(&inlet, &turns, *received).await;
        tally.settle(outcome.as_ref().map_or_else(Refused::fate, |_| RequestFate::Accepted));
        outcome
    });
    counting.await.unwrap_or(Err(Refused::Delivery(logs::Refusal::Stopped)))
}

/// What was received.
enum Received {
    /// Something to look at.
    Work(Box<Work>),
    /// A test of the connection, by somebody who did not show who it is.
    Test,
}

/// A body, and what must be known to read it.
struct Work {
    settings: Arc<DrainSettings>,
    limits: IntakeLimits,
    claim: Option<Vec<u8>>,
    packing: Packing,
    is_json: bool,
    body: Vec<u8>,
    room: Room,
}

/// Looks at a request's headers, then reads its body.
async fn receive(
    intake: &Intake,
    inlet: &Inlet,
    headers: &HeaderMap,
    incoming: &mut Incoming,
) -> Result<Received, Refused> {
    let settings = &inlet.settings;
    auth::check_token(&settings.auth, headers)?;
    let packing = Packing::of(headers)?;
    let is_json = check_type(settings.kind, headers)?;
    let signature = settings.auth.signature.as_ref();
    let claim = signature.and_then(|signature| auth::claim(signature, headers));
    let unsigned = signature.filter(|_| claim.is_none());
    let may_test = settings.auth.verify.is_some();
    let limit = match unsigned {
        Some(signature) if !may_test => return Err(Refused::Signature(signature.header.clone())),
        Some(_) => TEST_BYTES.min(intake.limits.body_bytes),
        None => intake.limits.body_bytes,
    };
    let mut room = Room::new(intake.inlets.clone());
    let read = body::read(incoming, limit, &mut room);
    let outcome = tokio::time::timeout(intake.limits.body_timeout, read).await.unwrap_or(Err(Refused::Slow));
    let body = match (outcome, signature) {
        // Without a signature it is too large for what it could be.
        (Err(Refused::TooLarge { .. }), Some(signature)) if unsigned.is_some() => {
            return Err(Refused::Signature(signature.header.clone()));
        }
        (outcome, _) => outcome?,
    };
    if signature.is_some() && may_test && is_test(&body) {
        return Ok(Received::Test);
    }
    if let Some(signature) = unsigned {
        return Err(Refused::Signature(signature.header.clone()));
    }
    let (settings, limits) = (settings.clone(), intake.limits);
    Ok(Received::Work(Box::new(Work { settings, limits, claim, packing, is_json, body, room })))
}

/// Whether a body is JSON, by its type.
///
/// # Errors
/// When its type is one that this drain cannot read.
fn check_type(kind: DrainKind, headers: &HeaderMap) -> Result<bool, Refused> {
    let given = media_type(headers);
    let is_json = given == "application/json";
    let is_read = match kind {
        DrainKind::Otlp => is_json || given == OTLP_TYPE,
        _ => !UNREAD_TYPES.contains(&given.as_str()),
    };
    if is_read { Ok(is_json) } else { Err(Refused::Type(kind)) }
}

/// The type of a body in lower case, without parameters; empty where none is told.
fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a body only tests the connection.
fn is_test(body: &[u8]) -> bool {
    let is = |what: &[u8]| body.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(what);
    body.len() <= TEST_BYTES && (is(b"") || is(b"{}") || is(b"[]"))
}

/// Counts what was received, and tells how many of its records could not be read.
async fn count(inlet: &Inlet, turns: &Semaphore, work: Work) -> Result<u64, Refused> {
    let bytes = work.body.len() as u64;
    let is_short = work.body.len() <= INLINE_BYTES && work.packing == Packing::Plain;
    let until = Instant::now() + COUNTING_TIME;
    // Given back when its lines are counted, or refused.
    let _turn = match is_short {
        true => None,
        false => Some(tokio::time::timeout_at(until, turns.acquire()).await.map_err(|_| Refused::NoRoom)?),
    };
    let read = if is_short {
        read_lines(work)
    } else {
        match tokio::task::spawn_blocking(move || read_lines(work)).await {
            Ok(read) => read,
            Err(error) if error.is_panic() => {
                // Bringing it again would not help.
                tracing::error!(drain = inlet.settings.name, "reading a body ended in a panic; please report it");
                Err(Refused::Unreadable(logs::body::Unreadable("the body could not be read")))
            }
            Err(_) => Err(Refused::Delivery(logs::Refusal::Stopped)),
        }
    };
    // What a stranger sent is nothing that the drain brought.
    if !matches!(read, Err(Refused::Signature(_))) {
        inlet.metrics.bytes(bytes);
    }
    let Some((parsed, room)) = read? else { return Ok(0) };
    let rejected = parsed.unreadable;
    let delivered = inlet.deliver(parsed, None, room.into_permit());
    match tokio::time::timeout_at(until, delivered).await {
        Ok(outcome) => outcome.map(|()| rejected).map_err(Refused::Delivery),
        Err(_) => Err(Refused::Late),
    }
}

/// Checks who sent a body, unpacks it and reads its lines; none of a body that only tests the connection.
fn read_lines(work: Work) -> Result<Option<(Parsed, Room)>, Refused> {
    let Work { settings, limits, claim, packing, is_json, body, mut room } = work;
    if let Some(signature) = &settings.auth.signature {
        auth::check_signature(signature, claim.as_deref().unwrap_or_default(), &body)?;
    }
    let body = match packing {
        Packing::Plain => body,
        Packing::Gzip if body.is_empty() => body,
        // The room of the packed bytes stays taken, although they are gone then: lines take more than their text.
        Packing::Gzip => body::unpack(&body, limits.unpacked_bytes, &mut room)?,
    };
    if is_test(&body) {
        return Ok(None);
    }
    let parsed = match settings.kind {
        DrainKind::Otlp if is_json => otlp::logs::decode_json(&limits, &body),
        DrainKind::Otlp => otlp::logs::decode(&limits, &body),
        kind => logs::body::parse(kind, &settings.fields, &limits, &body),
    };
    Ok(Some((parsed.map_err(Refused::Unreadable)?, room)))
}

/// Takes what is left of a body for a short while, and throws it away.
fn linger(mut incoming: Incoming) {
    use http_body_util::BodyExt as _;
    tokio::spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = incoming.frame().await {} }));
}

/// Counts a request once, whatever becomes of it: dropped early, its client went away.
struct Tally {
    metrics: DrainMetrics,
    is_settled: bool,
}

impl Tally {
    fn settle(&mut self, fate: RequestFate) {
        self.is_settled = true;
        self.metrics.request(fate);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle(RequestFate::TimedOut);
        }
    }
}

/// The form of an answer. OTLP wants it in that of the request (opentelemetry-proto, docs/specification.md).
#[derive(Clone, Copy)]
enum Form {
    /// For people and scripts.
    Plain,
    /// OTLP in protobuf.
    Otlp,
    /// OTLP in JSON.
    OtlpJson,
}

impl Form {
    fn of(kind: DrainKind, headers: &HeaderMap) -> Self {
        match media_type(headers).as_str() {
            OTLP_TYPE if kind == DrainKind::Otlp => Form::Otlp,
            "application/json" if kind == DrainKind::Otlp => Form::OtlpJson,
            _ => Form::Plain,
        }
    }

    fn accepted(self, rejected: u64) -> Response<Parts> {
        match self {
            Form::Plain => plain(StatusCode::OK, ""),
            Form::Otlp => reply(StatusCode::OK, OTLP_TYPE, otlp::logs::answer(rejected)),
            Form::OtlpJson => reply(StatusCode::OK, "application/json", otlp::logs::answer_json(rejected)),
        }
    }

    fn refused(self, refused: &Refused) -> Response<Parts> {
        let (status, message) = (refused.status(), refused.to_string());
        let mut response = match self {
            Form::Plain => plain(status, message + "\n"),
            Form::Otlp => reply(status, OTLP_TYPE, otlp::logs::refusal(&message)),
            Form::OtlpJson => reply(status, "application/json", otlp::logs::refusal_json(&message)),
        };
        let headers = response.headers_mut();
        if let Some((name, value)) = refused.header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if refused.leaves_body() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
