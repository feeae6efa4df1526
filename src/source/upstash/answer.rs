//! Answers of Upstash's REST: what a status and a body mean.
//!
//! It repeats no value of the application, whatever the answer holds.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::Value;

use crate::source::keyspace::ScanPage;
use crate::source::keyspace::refusal::Refusal;
use crate::telemetry::{Failure, Reason};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The result of one command.
    ///
    /// # Errors
    /// When the request as a whole failed. A command that was refused is no such failure.
    pub fn one(self, doing: &str) -> Result<Result<Value, Refusal>, Failure> {
        let body = self.read(doing)?;
        result(body).ok_or_else(|| odd(doing))
    }

    /// The results of the commands of a pipeline, in their order.
    ///
    /// # Errors
    /// When the request as a whole failed.
    pub fn several(self, commands: usize, doing: &str) -> Result<Vec<Result<Value, Refusal>>, Failure> {
        match self.read(doing)? {
            Value::Array(answers) if answers.len() == commands => {
                let results: Option<Vec<_>> = answers.into_iter().map(result).collect();
                results.ok_or_else(|| odd(doing))
            }
            // The whole pipeline was refused with one word.
            body => match result(body) {
                Some(Err(refusal)) => Err(refusal.failure(doing)),
                _ => Err(odd(doing)),
            },
        }
    }

    /// The body, unless the status says all there is to say.
    fn read(self, doing: &str) -> Result<Value, Failure> {
        let body: Option<Value> = serde_json::from_slice(&self.body).ok();
        let said = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
        let refusal = said.map(Refusal::of);
        let status = self.status.as_u16();
        match (self.status, refusal) {
            (StatusCode::UNAUTHORIZED, _) => Err(Failure::new(
                Reason::BadCredentials,
                format!(
                    "{doing}: the token is refused (401); copy UPSTASH_REDIS_REST_TOKEN again, it is not the database's password"
                ),
            )),
            (StatusCode::TOO_MANY_REQUESTS, refusal) => {
                let limited = refusal.map(|refusal| refusal.failure(doing));
                Err(limited.filter(|failure| failure.reason == Reason::RateLimited).unwrap_or_else(|| {
                    Failure::new(
                        Reason::RateLimited,
                        format!(
                            "{doing}: too many requests (429); read less often (`interval`), or set `budget.per_second`"
                        ),
                    )
                }))
            }
            (of, _) if of.is_server_error() => {
                Err(Failure::new(Reason::Unreachable, format!("{doing}: the service fails by itself ({status})")))
            }
            (of, Some(_)) if of.is_client_error() => body.ok_or_else(|| odd(doing)),
            (of, _) if of.is_success() => body.ok_or_else(|| odd(doing)),
            _ => Err(Failure::new(
                Reason::BadReply,
                format!("{doing}: this is not Upstash's REST ({status}); the URL is to be UPSTASH_REDIS_REST_URL"),
            )),
        }
    }
}

/// An answer of another form than the documented ones.
pub fn odd(doing: &str) -> Failure {
    Failure::new(
        Reason::BadReply,
        format!("{doing}: the answer has not the form of Upstash's REST; the URL is to be UPSTASH_REDIS_REST_URL"),
    )
}

/// `{"result": …}` or `{"error": "…"}`.
fn result(answer: Value) -> Option<Result<Value, Refusal>> {
    let Value::Object(mut answer) = answer else { return None };
    if let Some(error) = answer.get("error") {
        return Some(Err(Refusal::of(error.as_str()?)));
    }
    answer.remove("result").map(Ok)
}

/// A page of a scan. Where the cursor is in base64, so are the names; plain digits are a cursor as it is, and never the
/// base64 of digits.
pub fn page(answer: &Value) -> Option<ScanPage> {
    let [cursor, keys] = answer.as_array()?.as_slice() else { return None };
    let is_cursor = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = match cursor {
        Value::Number(number) => Some(number.to_string()),
        text => Some(text.as_str()?.to_owned()),
    };
    let plain = plain.filter(|text| is_cursor(text));
    let keys = keys.as_array()?.iter().map(Value::as_str);
    if let Some(cursor) = plain {
        return Some(ScanPage { cursor, keys: keys.map(|key| Some(key?.as_bytes().to_vec())).collect::<Option<_>>()? });
    }
    let cursor = String::from_utf8(base64(cursor.as_str()?)?).ok().filter(|text| is_cursor(text))?;
    Some(ScanPage { cursor, keys: keys.map(|key| base64(key?)).collect::<Option<_>>()? })
}

/// A whole number, as a number or as text; none for anything else.
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Standard base64 with padding (RFC 4648, section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 != 0 || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in digits.chunks(4) {
        let mut bits: u32 = 0;
        for digit in four {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - four.len());
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend_from_slice(&[first, second, third][..four.len() * 3 / 4]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
