//! Redis's patterns for keys: `*`, `?`, `[a-z]`, `[^a]` and `\`.
//!
//! Bytes, not characters, as Redis has it.

/// Whether the whole text fits the pattern.
pub(super) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on when what comes after the last star does not fit.
    let mut again: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            again = Some((at + 1, read));
            at += 1;
            continue;
        }
        if read == text.len() && at == pattern.len() {
            return true;
        }
        if let Some(after) = text.get(read).and_then(|byte| one(pattern, at, *byte)) {
            (at, read) = (after, read + 1);
            continue;
        }
        match again {
            Some((star, from)) if from < text.len() => {
                again = Some((star, from + 1));
                (at, read) = (star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on when what stands at `at` fits the byte.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => set(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        plain => (plain == byte).then_some(at + 1),
    }
}

/// The same for a set, whose bracket stands before `at`. One that is never closed goes to the end of the pattern.
fn set(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let wanted = pattern.get(at) != Some(&b'^');
    if !wanted {
        at += 1;
    }
    let mut found = false;
    while let Some(&low) = pattern.get(at) {
        match (low, pattern.get(at + 1), pattern.get(at + 2)) {
            (b']', _, _) => break,
            (b'\\', Some(&escaped), _) => {
                found |= escaped == byte;
                at += 2;
            }
            (_, Some(b'-'), Some(&high)) => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            _ => {
                found |= low == byte;
                at += 1;
            }
        }
    }
    (found == wanted).then_some((at + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_redis() {
        for (pattern, text, fit) in [
            ("*", "", true),
            ("*", "a:b", true),
            ("a:*", "a:", true),
            ("a:*", "b:a:", false),
            ("a:*:c", "a:b:b:c", true),
            ("a:*:c", "a:b:c:d", false),
            ("*b*b", "abab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a[xyz]", "ay", true),
            ("a[x-z]b", "ayb", true),
            ("a[^x-z]", "ay", false),
            ("a[^x-z]", "ab", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a[\\]]", "a]", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("@x/y:*", "@x/y:z", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), fit, "{pattern} {text}");
        }
    }
}
