//! Named parameters in the SQL that pack authors write: `:now`, `:ago_5m`, `:daily_budget`.
//!
//! It finds the names and puts a driver's placeholders in their place. It passes over what only looks like a
//! parameter (text, quoted names, comments, `::` casts, array slices), and it never judges the SQL itself.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Rewrites each `:name` to what `placeholder` answers for the name, in the order in which they stand in the text.
/// A name that occurs twice is asked for twice, so the caller decides whether both get one number (`$1`, `?1`).
pub fn bind(sql: &str, mut placeholder: impl FnMut(&str) -> String) -> String {
    let mut bound = String::with_capacity(sql.len());
    let mut end = 0;
    for found in scan(sql).parameters {
        bound.push_str(&sql[end..found.start]);
        bound.push_str(&placeholder(&sql[found.start + 1..found.end]));
        end = found.end;
    }
    bound.push_str(&sql[end..]);
    bound
}

/// The names of the parameters in the order in which they stand in the text, each as often as it occurs.
pub fn parameters(sql: &str) -> Vec<&str> {
    scan(sql).parameters.into_iter().map(|found| &sql[found.start + 1..found.end]).collect()
}

/// Whether the text holds a semicolon that ends a statement, so that it is more than one expression or query.
pub fn ends_statement(sql: &str) -> bool {
    scan(sql).ends_statement
}

/// The names that the text uses, each once: those in double quotes as they are, others in lower case as Postgres reads
/// them. Functions, types of casts and the names that `as` gives are left out; keywords are not told from names.
pub fn identifiers(sql: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut before = String::new();
    for word in scan(sql).words {
        let text = &sql[word.clone()];
        let is_function = sql[word.end..].trim_start().starts_with('(') && !text.starts_with('"');
        let is_type = before == "as" || sql[..word.start].trim_end().ends_with("::");
        let name = match text.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted).replace("\"\"", "\""),
            None => text.to_lowercase(),
        };
        if !is_function && !is_type {
            names.insert(name.clone());
        }
        before = name;
    }
    names
}

/// How long before the read the moment lies that a name stands for: zero for `now`, five minutes for `ago_5m`
/// (`s`, `m`, `h` or `d`, a whole number). None for every other name: those are parameters of the pack.
pub fn time_before(name: &str) -> Option<Duration> {
    if name == "now" {
        return Some(Duration::ZERO);
    }
    let length = name.strip_prefix("ago_")?;
    let unit = length.chars().last().filter(|unit| "smhd".contains(*unit))?;
    let number = &length[..length.len() - unit.len_utf8()];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    crate::duration::parse(length).ok()
}

#[derive(Default)]
struct Scan {
    /// Where the parameters stand, colon included.
    parameters: Vec<Range<usize>>,
    /// Where words and names in double quotes stand, quotes included.
    words: Vec<Range<usize>>,
    ends_statement: bool,
}

fn scan(sql: &str) -> Scan {
    let bytes = sql.as_bytes();
    let mut found = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        at = match bytes[at] {
            b'\'' => quoted(bytes, at, is_escape_string(bytes, at)),
            b'"' | b'`' => {
                let end = quoted(bytes, at, false);
                found.words.push(at..end);
                end
            }
            byte if (starts_name(byte) || byte >= 0x80) && !follows_word(bytes, at) => {
                let length = rest.iter().take_while(|byte| continues_name(**byte) || **byte >= 0x80).count();
                found.words.push(at..at + length);
                at + length
            }
            b'-' if rest.starts_with(b"--") => line_end(bytes, at),
            b'/' if rest.starts_with(b"/*") => comment_end(bytes, at),
            b'$' if !follows_word(bytes, at) => dollar_quoted(sql, at),
            b':' if rest.starts_with(b"::") => at + 2,
            b':' if !follows_word(bytes, at) && rest.get(1).is_some_and(|next| starts_name(*next)) => {
                let length = rest[1..].iter().take_while(|byte| continues_name(**byte)).count();
                found.parameters.push(at..at + 1 + length);
                at + 1 + length
            }
            b';' => {
                found.ends_statement = true;
                at + 1
            }
            _ => at + 1,
        };
    }
    found
}

/// The end of text or of a quoted name that begins at `start`; a doubled quote stands for itself.
fn quoted(bytes: &[u8], start: usize, backslash_escapes: bool) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        if backslash_escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

/// Whether the quote at `at` opens Postgres's `E'…'`, in which a backslash escapes.
fn is_escape_string(bytes: &[u8], at: usize) -> bool {
    at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !follows_word(bytes, at - 1)
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| start + length + 1)
}

/// The end of a block comment; Postgres lets them nest.
fn comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The end of Postgres's `$tag$ … $tag$`; a dollar that opens none is passed over alone.
fn dollar_quoted(sql: &str, start: usize) -> usize {
    let bytes = sql.as_bytes();
    let tag = bytes[start + 1..].iter().take_while(|byte| continues_name(**byte)).count();
    let opened = start + 1 + tag;
    let is_quote = bytes.get(opened) == Some(&b'$') && !bytes[start + 1].is_ascii_digit();
    if !is_quote {
        return start + 1;
    }
    let body = opened + 1;
    let mark = &sql[start..body];
    sql[body..].find(mark).map_or(bytes.len(), |length| body + length + mark.len())
}

/// Whether the byte before stands in a word, as in the slice `a[low:high]`; then the colon opens no parameter.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (continues_name(bytes[at - 1]) || bytes[at - 1] >= 0x80)
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(sql: &str) -> (String, Vec<String>) {
        let mut names: Vec<String> = Vec::new();
        let bound = bind(sql, |name| {
            let known = names.iter().position(|known| known == name);
            let index = known.unwrap_or_else(|| {
                names.push(name.into());
                names.len() - 1
            });
            format!("${}", index + 1)
        });
        (bound, names)
    }

    #[test]
    fn puts_placeholders_where_parameters_stand() {
        let (sql, names) = numbered("select count(*) from x where a > :ago_5m and b<=:now and c>:limit or d > :ago_5m");
        assert_eq!(sql, "select count(*) from x where a > $1 and b<=$2 and c>$3 or d > $1");
        assert_eq!(names, ["ago_5m", "now", "limit"]);
    }

    #[test]
    fn passes_over_what_only_looks_like_a_parameter() {
        for sql in [
            "select ':no', 'it''s :no', '\\', \":no\", `:no`",
            "select x::text, x :: text, a[1:2], a[low:high], a := 1, 'a' || ':'",
            "select 1 -- :no\n, 2 /* :no /* :no */ :no */",
            "select $$ :no $$, $body$ :no $$ :no $body$, $1",
            "select E'\\':no', e'a\\\\'",
            "select 'unfinished :no",
            "select \"unfinished :no",
            "select 1 /* unfinished :no",
            "select $a$ unfinished :no",
            "select :1, : no, :",
            "select größe:no",
        ] {
            assert_eq!(parameters(sql), Vec::<&str>::new(), "{sql}");
            assert_eq!(bind(sql, |_| "?".into()), sql);
        }
    }

    #[test]
    fn finds_parameters_after_them() {
        for sql in [
            "select 'a' , :yes",
            "select 'it''s', :yes",
            "select '\\',:yes",
            "select E'\\'' , :yes",
            "select -- x\n:yes",
            "select /* /* */ */:yes",
            "select $$x$$,:yes",
            "select $1,:yes::text",
            "select x::text,(:yes)",
            "select type'x', 'e', :yes",
        ] {
            assert_eq!(parameters(sql), ["yes"], "{sql}");
        }
    }

    #[test]
    fn sees_semicolons_that_end_a_statement() {
        for (sql, ends) in [("select 1", false), ("select ';' -- ;", false), ("select 1;", true), ("a; b", true)] {
            assert_eq!(ends_statement(sql), ends, "{sql}");
        }
    }

    #[test]
    fn finds_the_names_that_are_used() {
        let sql = "select t.\"createdAt\", cast(Kind as text) as label, lower(t.größe)::uuid, 'email' -- phone\n \
                   from \"Odd \"\"name\" t where t.at > :ago_5m and max (x) > 1";
        let names = identifiers(sql);
        for used in ["createdAt", "kind", "größe", "at", "x", "t", "Odd \"name"] {
            assert!(names.contains(used), "{used} not in {names:?}");
        }
        for unused in ["text", "label", "lower", "uuid", "email", "phone", "ago_5m", "max", "createdat", "cast"] {
            assert!(!names.contains(unused), "{unused} in {names:?}");
        }
    }

    #[test]
    fn tells_moments_from_parameters_of_the_pack() {
        assert_eq!(time_before("now"), Some(Duration::ZERO));
        assert_eq!(time_before("ago_30s"), Some(Duration::from_secs(30)));
        assert_eq!(time_before("ago_5m"), Some(Duration::from_secs(300)));
        assert_eq!(time_before("ago_24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(time_before("ago_30d"), Some(Duration::from_secs(2_592_000)));
        for other in ["ago", "ago_", "ago_5", "ago_m", "ago_5ms", "ago_1_5m", "budget", "nowhere", "ago_5é"] {
            assert_eq!(time_before(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_through_unharmed(sql in "[-a:'\"/*$ne\\\\\\n]{0,40}|\\PC{0,40}") {
            prop_assert_eq!(bind(&sql, |name| format!(":{name}")), sql);
        }
    }
}
