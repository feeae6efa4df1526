//! What an answer of a health endpoint means: the closed list of outcomes, and the verdict on an answer that came whole.
//!
//! Pure: nothing here asks, waits or knows an application. Every answer has an outcome; none is an error.

use std::fmt;

use serde_json::Value;

use super::pointers;
use crate::pack::{OneOrMany, Probe};

/// What a request to a health endpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// JSON that says so, or that says nothing against it, with a status of 200 to 299.
    Ok,
    /// The application says that it works in part.
    Degraded,
    /// The application says that it does not work, whatever the HTTP status.
    Unhealthy,
    /// Plain text that says nothing against it, or nothing, with a status of 200 to 299: the application runs, and tells no
    /// more.
    Text,
    /// A page for people where JSON was asked for: a front page or a login stands in the endpoint's place.
    Html,
    /// 404: the application has no such endpoint.
    NotFound,
    /// 401, 403 or 407: the endpoint wants credentials, or others.
    Forbidden,
    /// 429: asked too often, by whomever. It tells nothing of the application.
    RateLimited,
    /// Any other status from 400, without a word of the application's.
    HttpError,
    /// It points to another server, from https to http, or in a circle.
    Redirected,
    /// The answer is not what it says it is, or says a word that the pack does not know.
    Unparsable,
    /// The answer is larger than any health report.
    TooLarge,
    /// The answer broke off in its middle.
    Truncated,
    /// No whole answer in the time that the pack allows.
    Timeout,
    /// The host's name has no address.
    Unresolved,
    /// No connection: nothing listens there, or there is no way there.
    Refused,
    /// No trusted connection: certificate, name or protocol do not fit.
    TlsFailed,
    /// The connection ended before an answer began.
    Reset,
}

impl Outcome {
    /// Every outcome, in the order of the documentation.
    pub const ALL: [Outcome; 18] = [
        Outcome::Ok,
        Outcome::Degraded,
        Outcome::Unhealthy,
        Outcome::Text,
        Outcome::Html,
        Outcome::NotFound,
        Outcome::Forbidden,
        Outcome::RateLimited,
        Outcome::HttpError,
        Outcome::Redirected,
        Outcome::Unparsable,
        Outcome::TooLarge,
        Outcome::Truncated,
        Outcome::Timeout,
        Outcome::Unresolved,
        Outcome::Refused,
        Outcome::TlsFailed,
        Outcome::Reset,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Degraded => "degraded",
            Outcome::Unhealthy => "unhealthy",
            Outcome::Text => "text",
            Outcome::Html => "html",
            Outcome::NotFound => "not_found",
            Outcome::Forbidden => "forbidden",
            Outcome::RateLimited => "rate_limited",
            Outcome::HttpError => "http_error",
            Outcome::Redirected => "redirected",
            Outcome::Unparsable => "unparsable",
            Outcome::TooLarge => "too_large",
            Outcome::Truncated => "truncated",
            Outcome::Timeout => "timeout",
            Outcome::Unresolved => "unresolved",
            Outcome::Refused => "refused",
            Outcome::TlsFailed => "tls_failed",
            Outcome::Reset => "reset",
        }
    }

    /// Whether the application is up; none when the answer does not tell.
    pub const fn up(self) -> Option<bool> {
        match self {
            Outcome::Ok | Outcome::Degraded | Outcome::Text => Some(true),
            Outcome::RateLimited => None,
            _ => Some(false),
        }
    }

    /// What an operator does about it; nothing when all is well.
    pub const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Outcome::Ok | Outcome::Text => return None,
            Outcome::Degraded => {
                "the application says that a part of it does not work; see what it reports of its services"
            }
            Outcome::Unhealthy => "the application says that it does not work; see what it reports of its services",
            Outcome::Html => {
                "a page came where JSON was asked for; mend the path, or what stands before the application"
            }
            Outcome::NotFound => "the application has no such endpoint; mend the path, or skip this collector",
            Outcome::Forbidden => {
                "the endpoint wants credentials; write them into the URL, as https://user:password@host"
            }
            Outcome::RateLimited => {
                "the endpoint is asked too often; lengthen this collector's interval, or see who else asks"
            }
            Outcome::HttpError => "the endpoint failed; see the application's log",
            Outcome::Redirected => {
                "it points to another server, and those are not asked; write that address as the URL"
            }
            Outcome::Unparsable => "the answer could not be understood; see what the endpoint says to `curl`",
            Outcome::TooLarge => "the answer is too large for a health report; mend the path",
            Outcome::Truncated => "the answer broke off; see the application's log, and the proxies before it",
            Outcome::Timeout => "no whole answer in time; see what the endpoint waits for",
            Outcome::Unresolved => "the host's name has no address; mend the URL or the name service",
            Outcome::Refused => "no connection; start the application, or mend the URL's host and port",
            Outcome::TlsFailed => {
                "no trusted connection; renew the certificate, mend the host's name, or name its authority in `ca_file`"
            }
            Outcome::Reset => {
                "the connection ended without an answer; see the application's log, and whether it speaks this protocol"
            }
        })
    }

    /// What a status says by itself, whatever the body is.
    pub(super) const fn of_status(status: u16) -> Option<Outcome> {
        match status {
            300..=399 => Some(Outcome::Redirected),
            401 | 403 | 407 => Some(Outcome::Forbidden),
            404 => Some(Outcome::NotFound),
            429 => Some(Outcome::RateLimited),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an answer is, by its content first: servers that send `OK` as `text/html` are many.
enum Content<'b> {
    Json(Value),
    Html,
    /// Its text, without the space around it.
    Text(&'b str),
    Broken,
}

/// The verdict on an answer that came whole, and its JSON if it is some.
pub(super) fn judge(probe: &Probe, status: u16, content_type: &str, body: &[u8]) -> (Outcome, Option<Value>) {
    let is_good = (200..=299).contains(&status);
    let content = content(content_type, body);
    // Some frameworks answer `Degraded` or `Unhealthy` and no more, the first of them with 200.
    if let (Content::Text(word), Some(_)) = (&content, &probe.status)
        && let Some(outcome @ (Outcome::Degraded | Outcome::Unhealthy)) = meaning(probe, word)
    {
        return (outcome, None);
    }
    match content {
        Content::Json(document) => {
            let word = probe.status.as_ref().map_or(Outcome::Ok, |status| verdict(probe, status, &document));
            let outcome = match word {
                // What the application says of itself outweighs the status, which may be a proxy's.
                Outcome::Degraded | Outcome::Unhealthy => word,
                _ if !is_good => Outcome::HttpError,
                _ => word,
            };
            (outcome, Some(document))
        }
        _ if !is_good => (Outcome::HttpError, None),
        Content::Html if !probe.accept.contains("html") => (Outcome::Html, None),
        Content::Html | Content::Text(_) => (Outcome::Text, None),
        Content::Broken => (Outcome::Unparsable, None),
    }
}

fn content<'b>(content_type: &str, body: &'b [u8]) -> Content<'b> {
    let content_type = content_type.to_ascii_lowercase();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let Ok(text) = std::str::from_utf8(body) else { return Content::Broken };
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Content::Text("");
    }
    let is_json = kind.ends_with("/json") || kind.ends_with("+json");
    if is_json || text.starts_with(['{', '[']) {
        // serde_json goes 128 levels deep and refuses what is deeper.
        match serde_json::from_str(text) {
            Ok(document) => return Content::Json(document),
            // `[OK] all is well` is no JSON, and was not said to be any.
            Err(_) if !is_json && text.starts_with('[') => {}
            Err(_) => return Content::Broken,
        }
    }
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if begins("<!doctype html") || begins("<html") || (kind == "text/html" && text.starts_with('<')) {
        return Content::Html;
    }
    let is_plain = (kind.is_empty() || kind.starts_with("text/"))
        && !text.contains(|c: char| c.is_control() && !c.is_whitespace());
    if is_plain { Content::Text(text) } else { Content::Broken }
}

/// What the application says: the first of the pointers that leads to a word, and in which list that stands.
fn verdict(probe: &Probe, status: &OneOrMany, document: &Value) -> Outcome {
    let said = status.as_slice().iter().find_map(|pointer| pointers::word(document.pointer(pointer)?));
    match said {
        Some(word) => meaning(probe, &word).unwrap_or(Outcome::Unparsable),
        // A document that is nothing but a word.
        None => pointers::word(document).and_then(|word| meaning(probe, &word)).unwrap_or(Outcome::Ok),
    }
}

/// What a word means to the pack; none when it does not know it.
fn meaning(probe: &Probe, word: &str) -> Option<Outcome> {
    let stands_in = |list: &[String]| list.iter().any(|known| known.eq_ignore_ascii_case(word));
    match () {
        () if stands_in(&probe.healthy) => Some(Outcome::Ok),
        () if stands_in(&probe.degraded) => Some(Outcome::Degraded),
        () if stands_in(&probe.unhealthy) => Some(Outcome::Unhealthy),
        () => None,
    }
}

#[cfg(test)]
mod tests;
