//! Regular expressions that a pack author writes, compiled under a bound.
//!
//! They run in time that grows only with the text: an author cannot write one that hangs. No message repeats the text of a
//! line.

use regex::{Regex, RegexBuilder};

/// Bytes that one compiled expression may have. A hundred times what those of log lines have; a repetition of thousands,
/// or several inside one another, goes over.
const COMPILED_BYTES: usize = 1 << 20;

/// Makes an expression ready.
///
/// # Errors
/// A sentence that says what is wrong with it and what mends it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the expression becomes too large; repeat less, as `.*` in place of `.{0,5000}`".to_owned()
        }
        other => {
            let told = other.to_string();
            // The first lines show the expression once more, and the last names what is wrong.
            let cause = told.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            format!(
                "this is no regular expression: {cause}; a character with a meaning of its own, such as `(`, `[` or `.`, is meant \
                 as it stands after a `\\`, and there is neither look-around nor back-reference"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_mend() {
        for (pattern, wanted) in [
            ("a(b", "unclosed group"),
            ("a(?=b)", "look-around"),
            (r"\w{1000}{1000}", "becomes too large; repeat less"),
        ] {
            let told = compile(pattern).expect_err(pattern);
            assert!(told.contains(wanted), "{wanted} not in {told}");
            assert!(!told.contains('\n'), "{told}");
        }
        for good in ["", "(?i)čas", r"^\[(?<area>[\w-]+)\]", r"✅ Cache (?P<result>HIT|MISS): \p{L}+"] {
            assert!(compile(good).is_ok(), "{good}");
        }
    }
}
