//! What a receiver says, made safe to show: one line, cut, and without anything that we sent as a secret.
//!
//! It decides nothing by what was said.

use hyper::HeaderMap;
use percent_encoding::percent_decode_str;
use url::Url;

/// Characters of a receiver's words that are shown; enough for a sentence or two.
pub(super) const WORDS_LIMIT: usize = 200;

/// Bytes of the shortest value that is struck out. Shorter ones are tenants and flags, which occur in any sentence.
const SECRET_LENGTH: usize = 4;

/// What must not be repeated.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Every value of these headers, whole and without its scheme (`Bearer`), and the credentials of the URL.
    pub(super) fn new(headers: &HeaderMap, url: &Url) -> Self {
        let mut secrets = Vec::new();
        for value in headers.values() {
            let value = String::from_utf8_lossy(value.as_bytes());
            secrets.extend(value.split_once(' ').map(|(_, token)| token.trim().to_owned()));
            secrets.push(value.into_owned());
        }
        for part in [url.username(), url.password().unwrap_or_default()] {
            secrets.push(part.to_owned());
            secrets.push(percent_decode_str(part).decode_utf8_lossy().into_owned());
        }
        // Longer ones first, so that no rest of one remains.
        secrets.retain(|secret| secret.len() >= SECRET_LENGTH);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Secrets(secrets)
    }

    /// One line of bounded length without any of them.
    pub(super) fn safe(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for secret in &self.0 {
            words = words.replace(secret.as_str(), "…");
        }
        let shown = words.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        shown.collect::<Vec<_>>().join(" ").chars().take(WORDS_LIMIT).collect()
    }

    /// `what`, with the receiver's own words behind it if there are any.
    pub(super) fn said(&self, what: &str, words: &str) -> String {
        match self.safe(words) {
            words if words.is_empty() => what.to_owned(),
            words => format!("{what}; it says: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn strikes_out_what_is_secret_and_cuts_the_rest() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer s3cret-token"));
        headers.insert("x-key", HeaderValue::from_static("s3cret"));
        headers.insert("x-tenant", HeaderValue::from_static("a"));
        let url = Url::parse("https://reader:p%40ssword@host/").expect("a URL");
        let secrets = Secrets::new(&headers, &url);
        for (said, shown) in [
            ("no token Bearer s3cret-token!", "no token …!"),
            ("no s3cret-token", "no …"),
            ("s3cret s3cret", "… …"),
            ("reader p@ssword p%40ssword", "… … …"),
            ("a tenant", "a tenant"),
            ("two\r\nlines\u{1b}[31m \u{0}", "two lines [31m"),
        ] {
            assert_eq!(secrets.safe(said), shown);
        }
        assert_eq!(secrets.safe(&"ä".repeat(500)).chars().count(), WORDS_LIMIT);
        let across_the_cut = format!("{} s3cret-token", "x".repeat(WORDS_LIMIT - 5));
        assert!(!secrets.safe(&across_the_cut).contains("s3c"));
        assert_eq!(secrets.said("HTTP 400", " \n"), "HTTP 400");
        assert_eq!(secrets.said("HTTP 400", "bad span"), "HTTP 400; it says: bad span");
    }
}
