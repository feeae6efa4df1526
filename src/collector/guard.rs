//! The personal-data guard: which label values look like a person's data, a secret or an identifier.
//!
//! It errs on the side of replacing: an odd series name costs little, a leaked address much. It never sees rows,
//! only values on their way to becoming labels, and it never keeps one.

pub use crate::telemetry::Replaced;
use std::borrow::Cow;
use std::net::Ipv6Addr;

use regex::Regex;

/// What stands in the place of a replaced value.
pub const REDACTED: &str = "redacted";

/// Shortest run of letters and digits that is taken for a token.
const TOKEN_LENGTH: usize = 24;

/// Digits in a row that are taken for an identifier: one more than a date has.
const ID_DIGITS: usize = 9;

/// The guard: patterns made ready once.
#[derive(Debug)]
pub struct Guard {
    length: usize,
    email: Regex,
    token: Regex,
    dotted: Regex,
    colons: Regex,
    id: Regex,
    date: Regex,
    phone: Regex,
}

impl Guard {
    /// A guard that lets label values have so many characters.
    pub fn new(label_length: usize) -> Self {
        // No `(?i)`: it needs tables that the regex crate has only when some dependency, perhaps of tests alone, asks.
        let pattern = |text: &str| Regex::new(text).expect("a literal pattern that the tests compile");
        Guard {
            length: label_length,
            email: pattern(r"[\w.%+'-]+(?:@|%40)(?:[\w-]+\.)+[^\W\d_]{2,}"),
            // Tokens are ASCII. Unicode's `\w`, repeated so often, would take a dozen megabytes of tables.
            token: pattern(concat!(
                r"(?-u:\beyJ[\w-]{8,}\.[\w-]{4,}|\bsk-[\w-]{12,}|\b[spr]k_(?:live|test)_\w{8,}|\bgh[pousr]_\w{20,}",
                r"|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[a-z]-[\w-]{8,}|\bAKIA[0-9A-Z]{16}|\bAIza[\w-]{30,}",
                r"|\b(?:hf|npm|whsec)_\w{20,}|\b(?i-u:bearer)\s+[\w.~+/=-]{8,})|://[^/\s:@]*:[^/\s@]+@",
            )),
            dotted: pattern(r"[0-9]+(?:\.[0-9]+)+"),
            colons: pattern(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"),
            id: pattern(concat!(
                r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",
                r"|\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b",
            )),
            date: pattern(r"(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:[0-2][0-9]|3[01])"),
            phone: pattern(
                r"(?:\+|\b00)[0-9][0-9 ().\-]{6,}[0-9]|\(?\b[0-9][0-9 ()\-]{7,}[0-9]\b|\b[0-9]{3}\.[0-9]{3}\.[0-9]{4}\b",
            ),
        }
    }

    /// What a value looks like, if it must not become a label.
    pub fn inspect(&self, value: &str) -> Option<Replaced> {
        self.inspect_allowing(value, false)
    }

    /// The same where identifiers may be harmless, because the pack says so of the label.
    pub fn inspect_allowing(&self, value: &str, ids: bool) -> Option<Replaced> {
        if self.email.is_match(value) {
            Some(Replaced::Email)
        } else if self.token.is_match(value) {
            Some(Replaced::Token)
        } else if has_ip(self, value) {
            Some(Replaced::Ip)
        } else {
            match self.find_identifier(value) {
                Some(Replaced::Id) if ids => None,
                found => found,
            }
            .or_else(|| (value.chars().nth(self.length).is_some()).then_some(Replaced::Long))
        }
    }

    /// The value as it may be a label, and why it was replaced if it was. A long value is cut, others give way to
    /// [`REDACTED`]; control characters other than newlines become blanks or U+FFFD.
    pub fn clean<'v>(&self, value: &'v str, ids: bool) -> (Cow<'v, str>, Option<Replaced>) {
        let found = self.inspect_allowing(value, ids);
        let kept = match found {
            Some(Replaced::Long) => {
                let kept = value.chars().take(self.length.saturating_sub(1)).chain(['…']);
                Cow::Owned(kept.collect())
            }
            Some(_) => Cow::Borrowed(REDACTED),
            None => Cow::Borrowed(value),
        };
        (printable(kept), found)
    }

    fn find_identifier(&self, value: &str) -> Option<Replaced> {
        if self.id.is_match(value) {
            return Some(Replaced::Id);
        }
        let mut found = None;
        for run in value.split(|c: char| !c.is_ascii_alphanumeric()) {
            match run_kind(run) {
                Some(Replaced::Token) => return Some(Replaced::Token),
                Some(kind) => found = Some(kind),
                None => {}
            }
        }
        let base64 = |c: char| c.is_ascii_alphanumeric() || "+/_-".contains(c);
        if value.split(|c| !base64(c)).any(is_scrambled) {
            return Some(Replaced::Token);
        }
        found.or_else(|| self.has_phone(value).then_some(Replaced::Id))
    }

    /// Long numbers, their digits in a row or grouped as in a phone number. The digits of a date do not count.
    fn has_phone(&self, value: &str) -> bool {
        let undated = self.date.replace_all(value, " x ");
        self.phone.find_iter(&undated).any(|found| {
            let digits = found.as_str().bytes().filter(u8::is_ascii_digit).count();
            digits >= ID_DIGITS || (found.as_str().starts_with('+') && digits >= ID_DIGITS - 1)
        })
    }
}

/// Addresses of both kinds, alone, in a list, with a port or inside other text.
fn has_ip(guard: &Guard, value: &str) -> bool {
    let version = |at: usize| {
        let before = &value.as_bytes()[..at];
        before.last() == Some(&b'v') && before.iter().rev().nth(1).is_none_or(|b| !b.is_ascii_alphanumeric())
    };
    let ipv4 = guard.dotted.find_iter(value).any(|found| {
        let parts = found.as_str().split('.');
        parts.clone().count() == 4
            && parts.into_iter().all(|part| part.len() <= 3 && part.parse::<u8>().is_ok())
            && !version(found.start())
    });
    ipv4 || guard.colons.find_iter(value).any(|found| {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let text = found.as_str();
        text.bytes().any(|b| b.is_ascii_digit())
            && !inside(value[..found.start()].chars().next_back())
            && !inside(value[found.end()..].chars().next())
            && [text, text.trim_end_matches(['.', ':'])].iter().any(|text| text.parse::<Ipv6Addr>().is_ok())
    })
}

/// What a run of letters and digits looks like.
fn run_kind(run: &str) -> Option<Replaced> {
    let bytes = run.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    if longest(bytes, u8::is_ascii_digit) >= ID_DIGITS {
        // A hash may have many digits in a row too; either way the value does not pass.
        return Some(if digits == bytes.len() || bytes.len() < TOKEN_LENGTH { Replaced::Id } else { id_or_token(run) });
    }
    if bytes.len() < 20 {
        return None;
    }
    let hex = digits > 0 && bytes.iter().all(u8::is_ascii_hexdigit);
    let groups = changes(bytes, |a, b| a.is_ascii_digit() && !b.is_ascii_digit());
    if bytes.len() < TOKEN_LENGTH {
        return is_scrambled_run(bytes).then_some(Replaced::Id);
    }
    if hex || (digits >= 3 && groups >= 2) {
        return Some(id_or_token(run));
    }
    let (upper, lower) = (count(bytes, u8::is_ascii_uppercase), count(bytes, u8::is_ascii_lowercase));
    let mixed = changes(bytes, |a, b| a.is_ascii_uppercase() != b.is_ascii_uppercase()) * 4 >= bytes.len();
    (mixed && upper * 4 >= bytes.len() && lower * 4 >= bytes.len()).then_some(Replaced::Token)
}

/// Identifiers of known length and alphabet, and tokens else.
fn id_or_token(run: &str) -> Replaced {
    let bytes = run.as_bytes();
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    let object_id_or_uuid = hex && (bytes.len() == 24 || bytes.len() == 32);
    let cuid = bytes[0].is_ascii_lowercase()
        && (24..=25).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let crockford = |b: &u8| b.is_ascii_digit() || (b.is_ascii_uppercase() && !b"ILOU".contains(b));
    let ulid = bytes.len() == 26 && (b'0'..=b'7').contains(&bytes[0]) && bytes.iter().all(crockford);
    if object_id_or_uuid || cuid || ulid { Replaced::Id } else { Replaced::Token }
}

/// Whether a run with base64's punctuation is random: words keep letters and digits apart, and their cases too.
fn is_scrambled(run: &str) -> bool {
    run.len() >= TOKEN_LENGTH && is_scrambled_run(run.as_bytes())
}

fn is_scrambled_run(bytes: &[u8]) -> bool {
    let (upper, lower) = (count(bytes, u8::is_ascii_uppercase), count(bytes, u8::is_ascii_lowercase));
    let touching = changes(bytes, |a, b| {
        (a.is_ascii_digit() && b.is_ascii_alphabetic()) || (a.is_ascii_alphabetic() && b.is_ascii_digit())
    });
    touching >= 4 && upper * 5 >= upper + lower && lower * 5 >= upper + lower
}

fn count(bytes: &[u8], is: fn(&u8) -> bool) -> usize {
    bytes.iter().filter(|b| is(b)).count()
}

fn changes(bytes: &[u8], differ: impl Fn(&u8, &u8) -> bool) -> usize {
    bytes.windows(2).filter(|pair| differ(&pair[0], &pair[1])).count()
}

fn longest(bytes: &[u8], is: fn(&u8) -> bool) -> usize {
    bytes.split(|b| !is(b)).map(<[u8]>::len).max().unwrap_or(0)
}

fn printable(value: Cow<'_, str>) -> Cow<'_, str> {
    let odd = |c: char| c.is_control() && c != '\n';
    if !value.contains(odd) {
        return value;
    }
    let mend = |c: char| match c {
        '\t' | '\r' => ' ',
        c if odd(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    Cow::Owned(value.chars().map(mend).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_must_not_become_a_label() {
        let guard = Guard::new(120);
        for (reason, values) in [
            (
                Replaced::Email,
                &[
                    "a@b.co",
                    "Ann.Lee+x@mail.example.com",
                    "user:ann@example.org failed",
                    "ann%40example.org",
                    "jürgen@bücher.de",
                    "<o'neil@example.ie>",
                ][..],
            ),
            (
                Replaced::Ip,
                &[
                    "10.0.0.1",
                    "1.2.3.4",
                    "203.0.113.9, 10.0.0.1",
                    "from 1.2.3.4:443.",
                    "ip=192.168.1.254/24",
                    "2001:db8::1",
                    "::1",
                    "[fe80::1%eth0]:80",
                    "::ffff:10.1.2.3",
                    "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
                ],
            ),
            (
                Replaced::Token,
                &[
                    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP",
                    "sk-proj-abcdefgh1234",
                    "sk_live_abcdefgh1234",
                    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
                    "Bearer abcdef.ghijk",
                    "postgres://app:hunter2@db/app",
                    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "key dGhpcyBpcyBhIHNlY3JldCBrZXkh",
                    "x7Kp2mQ9vR4tY8wZ1aB3cD5e",
                    "aB3-xY9_kL2mN4-pQ6rS8_tU0vW",
                ],
            ),
            (
                Replaced::Id,
                &[
                    "123e4567-e89b-12d3-a456-426614174000",
                    "user/123E4567-E89B-12D3-A456-426614174000/x",
                    "123e4567e89b12d3a456426614174000",
                    "call_7a1fbc3d9e0b4c6d8f2a1b3c5d7e9f01",
                    "ckopqwooh000001la8mbi2im9",
                    "tz4a98xxat96iws9zmbrgj3a",
                    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                    "507f1f77bcf86cd799439011",
                    "+49 171 1234567",
                    "+4917112345",
                    "(555) 123-4567",
                    "555-123-4567",
                    "555.123.4567",
                    "0171 1234567",
                    "123456789",
                    "order 1732158798123",
                    "20260220184000_add_system_error",
                    "00:1a:2b:3c:4d:5e",
                    "V1StGXR8Z5jdHi6BmyT9x",
                ],
            ),
        ] {
            for value in values {
                assert_eq!(guard.inspect(value), Some(reason), "{value}");
                assert_eq!(guard.clean(value, false).0, REDACTED, "{value}");
            }
        }
    }

    #[test]
    fn lets_ordinary_words_pass() {
        let guard = Guard::new(120);
        for value in [
            "",
            "ok",
            "error",
            "MODULE_COMPLETED",
            "MULTI_FACTOR_AUTHENTICATION_REQUIRED",
            "claude-3-5-sonnet-20241022",
            "claude-3-5-sonnet-20241022-v2-experimental",
            "anthropic/claude-3.7-sonnet:thinking",
            "gpt-4o-mini",
            "gpt-4.1-2025-04-14",
            "o1-2024-12-17",
            "o3-mini-2025-01-31",
            "claude-3-2024-12-17",
            "gemini-pro",
            "gemini-2.0-flash-001",
            "text-embedding-3-small",
            "meta-llama/Llama-3.1-70B-Instruct",
            "deepseek-r1-distill-qwen-32b",
            "1.2.3",
            "v1.2.3.4",
            "2.10.0-rc.1+build.5",
            "react@18.2.0",
            "cron/compliance-check",
            "api/ai/run",
            "/api/admin/tenants/[slug]/settings",
            "acme-2024",
            "acme-corp-north-america-2024",
            "en-US",
            "zh-Hant-TW",
            "sk-SK",
            "DE",
            "Europe/Berlin",
            "2026-11-21",
            "2026-11-21 02:53",
            "2026-11-21T02:53:18",
            "02:53:18",
            "10:30",
            "std::io::Error",
            "dead::beef",
            "Error: connection refused",
            "getUserPreferencesAndNotificationSettings",
            "AiProviderConfigurationUpdated2",
            "internationalization",
            "P2002",
            "500",
            "12345678",
            "99.95",
            "0-100",
            "2024-2025",
            "Grüße aus Köln",
            "日本語",
            "@here",
            "a@b",
        ] {
            assert_eq!(guard.inspect(value), None, "{value}");
        }
    }

    #[test]
    fn identifiers_pass_where_the_pack_allows_them_and_nothing_else_does() {
        let guard = Guard::new(40);
        assert_eq!(guard.inspect_allowing("20260220184000_add_system_error", true), None);
        assert_eq!(guard.inspect_allowing("123e4567-e89b-12d3-a456-426614174000", true), None);
        assert_eq!(guard.inspect_allowing("20260220184000 ann@example.org", true), Some(Replaced::Email));
        assert_eq!(guard.inspect_allowing("10.0.0.1", true), Some(Replaced::Ip));
        assert_eq!(guard.inspect_allowing(&"123456789 ".repeat(9), true), Some(Replaced::Long));
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let guard = Guard::new(5);
        assert_eq!(guard.clean("äöüßé", false), (Cow::Borrowed("äöüßé"), None));
        assert_eq!(guard.clean("äöüßéx", false), (Cow::Borrowed("äöüß…"), Some(Replaced::Long)));
    }

    #[test]
    fn patterns_need_no_table_that_only_tests_bring() {
        let guard = Guard::new(1);
        for pattern in [&guard.email, &guard.token, &guard.dotted, &guard.colons, &guard.id, &guard.date, &guard.phone]
        {
            assert!(!pattern.as_str().replace("(?i-u:", "").contains("(?i"), "{pattern}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_label() {
        let guard = Guard::new(50);
        assert_eq!(guard.clean("a\tb\r\nc\0d\u{7f}", false), (Cow::Borrowed("a b \nc\u{fffd}d\u{fffd}"), None));
    }
}
