//! Headers of every request, from the file, a file of their own, or a variable.
//!
//! They are secrets: no message repeats a name or a value of theirs, but says which one it is by its number.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use super::reading::{Place, Reading};
use crate::config::raw::RawOtlpReceiver;

/// Headers that make a request what it is: those who send it set them.
const RESERVED: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding"];

/// Headers as requests have them: name in lower case, value.
pub(super) type Headers = Vec<(String, SecretString)>;

/// What one part of the file says; none where it says nothing.
pub(super) fn of_file(raw: &RawOtlpReceiver, at: &[String], reading: &mut Reading) -> Option<Headers> {
    let place =
        |keys: &[&str]| Place::Setting(at.iter().cloned().chain(keys.iter().map(|key| (*key).into())).collect());
    match (&raw.headers, &raw.headers_file) {
        (Some(_), Some(_)) => {
            reading.error(place(&["headers_file"]), "both `headers` and `headers_file` are given; keep one");
            None
        }
        (Some(headers), None) => {
            let mut all = Headers::new();
            for (name, value) in headers {
                if let Err(message) = add(&mut all, name, value.expose_secret()) {
                    reading.error(place(&["headers", name]), message);
                }
            }
            Some(all)
        }
        (None, Some(file)) => {
            let text = match std::fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) => {
                    reading.error(place(&["headers_file"]), format!("the file cannot be read: {error}"));
                    return None;
                }
            };
            let mut all = Headers::new();
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let added = match line.split_once(':') {
                    Some((name, value)) => add(&mut all, name, value),
                    None => Err("expected `name: value`"),
                };
                if let Err(message) = added {
                    reading.error(place(&["headers_file"]), format!("line {}: {message}", number + 1));
                }
            }
            Some(all)
        }
        (None, None) => None,
    }
}

/// What a variable says: `name=value,name=value`, with values in percent encoding (OpenTelemetry's "OTLP Exporter
/// Configuration", "Specifying headers via environment variables"; W3C Baggage).
pub(super) fn of_variable(name: &str, text: &str, reading: &mut Reading) -> Headers {
    let mut all = Headers::new();
    for (number, entry) in text.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
        let added = match entry.split_once('=').map(|(name, value)| (name, percent_decode_str(value).decode_utf8())) {
            Some((name, Ok(value))) => add(&mut all, name, &value),
            Some((_, Err(_))) => Err("its value is no UTF-8 when decoded"),
            None => Err("expected `name=value`; a comma within a value is written %2C"),
        };
        if let Err(message) = added {
            reading.error(Place::Variable(name.into()), format!("header {}: {message}", number + 1));
        }
    }
    all
}

fn add(all: &mut Headers, name: &str, value: &str) -> Result<(), &'static str> {
    let name = name.trim().to_ascii_lowercase();
    let value = value.trim();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("a header's name has letters, digits and - only");
    }
    if RESERVED.contains(&name.as_str()) || name.starts_with("grpc-") {
        return Err("Rowmetry sets this header itself; remove it");
    }
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("a header's value has printable ASCII only");
    }
    if all.iter().any(|(other, _)| *other == name) {
        return Err("another header has this name; keep one");
    }
    all.push((name, SecretString::from(value)));
    Ok(())
}
