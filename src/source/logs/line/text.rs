//! The text of a line: without colours, cut to its bound, and taken apart where one text holds several lines.
//!
//! What it says is not looked at.

use std::borrow::Cow;
use std::ops::Range;

use anstream::adapter::strip_str;

/// The text without colours and control characters (newline and tab stay), and without white space at its end.
pub fn clean(text: String) -> String {
    let mut text = match needs_cleaning(text.as_bytes()) {
        false => text,
        true => without_colours(&text).chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect(),
    };
    text.truncate(text.trim_end().len());
    text
}

/// Cuts a text to so many bytes, at the beginning of a character. Tells whether it had more.
pub fn cut(text: &mut String, bytes: usize) -> bool {
    let is_longer = text.len() > bytes;
    if is_longer {
        text.truncate(text.floor_char_boundary(bytes));
    }
    is_longer
}

/// Marks of Next.js's own messages, each behind one blank that indents nothing: ` ⨯ Error: …` is how it tells of what nobody caught
/// (<https://github.com/vercel/next.js/blob/canary/packages/next/src/build/output/log.ts>).
const MARKS: [char; 6] = ['⨯', '⚠', '✓', '○', '▲', '»'];

/// Whether a line goes on with the message of the line before: it is empty, begins with white space or a closing bracket, or is
/// one of a stack trace (`at …`, `Caused by …`).
pub fn continues(line: &str) -> bool {
    let is_coloured = line.strip_prefix(' ').unwrap_or(line).starts_with('\u{1b}');
    let line: Cow<'_, str> = if is_coloured { without_colours(line).into() } else { line.into() };
    if line.strip_prefix(' ').is_some_and(|rest| rest.starts_with(MARKS)) {
        return false;
    }
    match line.chars().next() {
        None => true,
        Some(first) => {
            first.is_whitespace()
                || matches!(first, '}' | ']' | ')')
                || line.starts_with("at ")
                || line.starts_with("Caused by")
        }
    }
}

/// The messages of a text, each with the lines that go on with it. Only the first may begin as a continuation, of what
/// another record brought. Empty lines at the beginning belong to nothing.
pub fn messages(text: &str) -> impl Iterator<Item = Range<usize>> {
    let blank = text.len() - text.trim_start().len();
    let mut at = text[..blank].rfind('\n').map_or(0, |end| end + 1);
    std::iter::from_fn(move || {
        let begin = at;
        if begin >= text.len() {
            return None;
        }
        while let Some(end) = memchr::memchr(b'\n', &text.as_bytes()[at..]) {
            at += end + 1;
            if !continues(text[at..].split('\n').next().unwrap_or_default()) {
                return Some(begin..begin + text[begin..at].trim_end().len());
            }
        }
        at = text.len();
        Some(begin..begin + text[begin..].trim_end().len())
    })
}

/// The messages of one record's text. Hosts collect what an application wrote on several lines into one record; but one message may have
/// lines that nothing indents, as errors of databases do. So a text is taken apart only where every message in it begins like a line of
/// a log (JSON, a bracket, a time), or where it is the block that a host makes of an invocation; else it is one message. Only the first may
/// begin as a continuation.
pub fn of_record(text: &str) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = messages(text).collect();
    let own = all.iter().position(|message| !continues(&text[message.clone()])).unwrap_or(all.len());
    let begins_line = |message: &Range<usize>| {
        let text = &text[message.clone()];
        text.starts_with(['{', '[']) || text.as_bytes().first_chunk().is_some_and(is_year)
    };
    let is_block = text.starts_with(INVOCATION) || all[own..].iter().all(begins_line);
    if !is_block && let (Some(first), Some(last)) = (all.get(own), all.last()) {
        let whole = first.start..last.end;
        all.truncate(own);
        all.push(whole);
    }
    all
}

/// How the block of an invocation begins: lines of the host stand around those of the application (AWS Lambda, and so Vercel).
const INVOCATION: &str = "START RequestId:";

/// Whether a text that begins so begins with a date.
fn is_year(begin: &[u8; 5]) -> bool {
    begin[..4].iter().all(u8::is_ascii_digit) && begin[4] == b'-'
}

/// Whether this is rather bytes of something else than a line of text: it has control characters that no terminal takes, or
/// much of it was no UTF-8.
pub fn is_noise(text: &str) -> bool {
    let is_odd = |byte: &u8| *byte < 0x20 && !matches!(byte, 0x07..=0x0d | 0x1b);
    text.bytes().any(|byte| is_odd(&byte)) || text.matches('\u{fffd}').count() * 8 > text.len()
}

/// Whether there may be something to take out: control characters are below 0x20, 0x7f, and those that begin with 0xc2.
fn needs_cleaning(text: &[u8]) -> bool {
    // All of a piece is looked at, without a way out in the middle: so the compiler looks at many bytes at once.
    let is_odd = |byte: &u8| (*byte < 0x20) & (*byte != b'\n') & (*byte != b'\t') | (*byte == 0x7f) | (*byte == 0xc2);
    text.chunks(256).any(|piece| piece.iter().fold(false, |found, byte| found | is_odd(byte)))
}

fn without_colours(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    made.extend(strip_str(text));
    made
}
