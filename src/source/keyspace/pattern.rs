//! Patterns of key names: fixed text with captures in braces.
//!
//! It compares text. What a capture means, and whether it may leave, is not its business.

use regex::Regex;

/// A pattern, ready to be compared with names of keys.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The fixed text before the first capture: most names are told apart by it, without more ado.
    prefix: String,
    whole: Regex,
    captures: Vec<String>,
}

impl Pattern {
    /// Reads a pattern: `{name}` is one or more characters other than `:`, `{name*}` one or more of any. Braces
    /// that hold no such name are themselves.
    ///
    /// # Errors
    /// When the pattern is too long to be compared with.
    pub fn new(text: &str) -> Result<Self, String> {
        let (mut fixed, mut whole) = (String::new(), String::from(r"(?s)\A"));
        let mut prefix = None;
        let mut captures: Vec<String> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((name, after)) = capture(rest) {
                whole.push_str(&regex::escape(&fixed));
                prefix.get_or_insert_with(|| fixed.clone());
                fixed.clear();
                whole.push_str(if name.ends_with('*') { "(.+)" } else { "([^:]+)" });
                captures.push(name.trim_end_matches('*').to_owned());
                rest = after;
            } else {
                fixed.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        whole.push_str(&regex::escape(&fixed));
        whole.push_str(r"\z");
        let whole = Regex::new(&whole).map_err(|_| format!("the pattern `{text}` is too long; shorten it"))?;
        Ok(Pattern { prefix: prefix.unwrap_or(fixed), whole, captures })
    }

    /// Where a capture of this name stands among the captures.
    pub fn position(&self, capture: &str) -> Option<usize> {
        self.captures.iter().position(|name| name == capture)
    }

    /// What the captures hold, in their order; none when the name does not fit as a whole.
    pub fn fit<'k>(&self, name: &'k str) -> Option<Vec<&'k str>> {
        if !name.starts_with(&self.prefix) {
            return None;
        }
        let found = self.whole.captures(name)?;
        Some(found.iter().skip(1).map(|group| group.map_or("", |group| group.as_str())).collect())
    }
}

/// The capture that a text begins with, with its `*`, and the text after it.
fn capture(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let plain = name.strip_suffix('*').unwrap_or(name);
    let is_name = plain.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(pattern: &str, name: &str) -> Option<Vec<String>> {
        let pattern = Pattern::new(pattern).expect("it is short");
        pattern.fit(name).map(|found| found.into_iter().map(str::to_owned).collect())
    }

    fn found(texts: &[&str]) -> Option<Vec<String>> {
        Some(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn captures_hold_what_stands_between_the_fixed_text() {
        assert_eq!(fit("presence:{tenant}:{user}", "presence:cm1:u2"), found(&["cm1", "u2"]));
        assert_eq!(
            fit("@upstash/ratelimit:login:{who*}:{bucket}", "@upstash/ratelimit:login:a:b@c.d:42"),
            found(&["a:b@c.d", "42"])
        );
        assert_eq!(fit("plain", "plain"), found(&[]));
        assert_eq!(
            fit("courses:list:{q*}", "courses:list:{\"userId\":\"x\",\n\"page\":1}"),
            found(&["{\"userId\":\"x\",\n\"page\":1}"])
        );
        assert_eq!(fit("{a*}", "ключ:🔑"), found(&["ключ:🔑"]));
    }

    #[test]
    fn a_name_fits_as_a_whole_or_not_at_all() {
        for name in [
            "presence:cm1",
            "presence:cm1:",
            "presence::u2",
            "presence:cm1:u2:x",
            "xpresence:cm1:u2",
            "presence:cm1:u2\nx:y",
            "",
        ] {
            assert_eq!(fit("presence:{tenant}:{user}", name), None, "{name:?}");
        }
        assert_eq!(fit("a.c", "abc"), None, "a dot is a dot");
        assert_eq!(fit("plain", "plain2"), None);
        assert_eq!(fit("{a*}x", "x"), None, "a capture is not empty");
    }

    #[test]
    fn braces_without_a_name_are_themselves() {
        assert_eq!(fit("{}:{Tag}:{a}", "{}:{Tag}:1"), found(&["1"]));
        assert_eq!(fit("{user 1}.{x}", "{user 1}.y"), found(&["y"]));
        assert_eq!(fit("open{", "open{"), found(&[]));
        assert_eq!(fit("{*}", "{*}"), found(&[]));
        assert_eq!(fit("\\d[a]+{x}", "\\d[a]+1"), found(&["1"]));
    }

    #[test]
    fn captures_are_known_by_name() {
        let pattern = Pattern::new("k:{id*}:{bucket}").expect("it is short");
        assert_eq!(
            (pattern.position("id"), pattern.position("bucket"), pattern.position("x")),
            (Some(0), Some(1), None)
        );
    }
}
