//! What an answer over HTTP means (OTLP specification, "OTLP/HTTP Response").
//!
//! Pure. The specification asks to repeat after 429, 502, 503 and 504 alone. Here also other failures of a server are "later",
//! since what it could not take now costs nothing to keep; and what is wrong with us, not with the data, keeps the data.

use hyper::header::{CONTENT_TYPE, HeaderName, LOCATION};
use hyper::{HeaderMap, StatusCode};
use prost::Message;
use serde_json::Value;
use url::Url;

use super::super::pause::{self, RpcStatus};
use super::super::words::Secrets;
use super::super::{Answer, Taken};

/// An answer whose body is as whole as it came.
pub(in super::super) struct Reply<'r> {
    pub(in super::super) status: StatusCode,
    pub(in super::super) headers: &'r HeaderMap,
    pub(in super::super) body: &'r [u8],
}

impl Reply<'_> {
    /// What an answer from 200 to 299 means: it took the request, whatever it says beside, unless a page for people stands
    /// where the receiver should be.
    pub(super) fn success<R: Message + Default + Into<Taken>>(&self, secrets: &Secrets) -> Answer {
        match self.kind().as_str() {
            "text/html" | "application/xhtml+xml" => Answer::Misconfigured {
                why: format!(
                    "HTTP {} with a page for people: no OTLP receiver is at this address, or a login stands before it; \
                     mend the URL",
                    self.status.as_u16()
                ),
            },
            "application/json" => self.json().map(taken).unwrap_or_default().answer(secrets),
            _ => R::decode(self.body).map(Into::into).unwrap_or_default().answer(secrets),
        }
    }

    /// The content type without its parameters, in lower case.
    fn kind(&self) -> String {
        let kind = self.text(CONTENT_TYPE).split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    }

    fn is_page(&self) -> bool {
        self.kind() == "text/html" || self.body.trim_ascii_start().starts_with(b"<")
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body).ok()
    }

    fn text(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What it says of a failure: `google.rpc.Status`, the same in JSON, or plain text.
    fn words(&self) -> String {
        match self.kind().as_str() {
            "application/x-protobuf" | "application/protobuf" => {
                RpcStatus::decode(self.body).map(|status| status.message).unwrap_or_default()
            }
            "application/json" => match self.json() {
                Some(value) => ["/message", "/error/message", "/error", "/detail"]
                    .iter()
                    .find_map(|at| value.pointer(at)?.as_str().map(str::to_owned))
                    .unwrap_or_else(|| value.to_string()),
                None => String::new(),
            },
            _ if self.is_page() => String::new(),
            _ => std::str::from_utf8(self.body).unwrap_or_default().to_owned(),
        }
    }
}

/// What an answer outside 200 to 299 means.
pub(in super::super) fn refusal(reply: &Reply<'_>, secrets: &Secrets) -> Answer {
    let status = reply.status.as_u16();
    let words = reply.words();
    let why = secrets.said(&format!("HTTP {status}"), &words);
    let misconfigured = |mend: &str| Answer::Misconfigured { why: format!("{why}: {mend}") };
    match status {
        408 | 425 | 429 => Answer::Later { after: pause::retry_after(reply.headers), why },
        501 | 505 => misconfigured("what answers there is no OTLP receiver; mend the URL"),
        500..=599 => Answer::Later { after: pause::retry_after(reply.headers), why },
        413 => Answer::TooLarge { why },
        300..=399 => misconfigured(&format!("it points {}; write the receiver's own URL", elsewhere(reply, secrets))),
        401 | 403 | 407 | 402 => misconfigured("it wants other credentials; mend `headers`"),
        404 | 410 => misconfigured(
            "nothing takes OTLP at this path; write the whole URL of the signal (such as http://host:4318/v1/traces), or \
             a base URL where `/v1/traces` and `/v1/metrics` are added",
        ),
        405 => misconfigured(
            "it takes no POST at this path; mend the path, which usually ends in /v1/traces or /v1/metrics",
        ),
        406 | 415 => misconfigured(
            "it does not take protobuf, or not packed with gzip; mend the URL, or set `compression: none`",
        ),
        411 | 421 | 426 | 431 => misconfigured("it does not take requests of this form; mend the URL or `headers`"),
        // Servers answer so in the clear on a port for TLS, and those in front of a receiver with pages; a receiver does
        // not. The data is not at fault.
        400 if is_plain_on_tls(reply.body) => misconfigured("that port speaks TLS; write https://"),
        400..=499 if reply.is_page() => misconfigured(
            "the answer is a page for people, so something else than an OTLP receiver answers there; mend the URL",
        ),
        400..=499 => Answer::Refused { why },
        _ => misconfigured("that is no answer to a request of OTLP; mend the URL"),
    }
}

/// Go's net/http and nginx say so in these words.
fn is_plain_on_tls(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body);
    body.contains("HTTP request to an HTTPS server") || body.contains("HTTP request was sent to HTTPS port")
}

/// Where a redirect points to, without what could be a secret in it.
fn elsewhere(reply: &Reply<'_>, secrets: &Secrets) -> String {
    match Url::parse(reply.text(LOCATION)) {
        Ok(url) if url.has_host() => {
            format!("to {}", secrets.safe(&format!("{}{}", url.origin().ascii_serialization(), url.path())))
        }
        _ => "elsewhere".to_owned(),
    }
}

/// An answer in JSON, which some receivers give whatever they are asked in.
fn taken(value: Value) -> Taken {
    let partial = value.get("partialSuccess");
    let rejected = ["rejectedSpans", "rejectedDataPoints"].iter().find_map(|name| partial?.get(name));
    // ProtoJSON writes 64-bit integers as strings.
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    Taken {
        rejected: rejected.and_then(number).unwrap_or(0),
        message: partial.and_then(|partial| partial.get("errorMessage")?.as_str()).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests;
