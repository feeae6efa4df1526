//! The `traceparent` that an application stored with its row, by the W3C recommendation "Trace Context", section 3.2.
//!
//! What is none means as without one: nothing here complains.

use crate::span::SpanContext;

/// Length of version 00, and of what every later version begins with.
const LENGTH: usize = 55;

/// The span that is named in it. A later version may have more behind a dash. The flags do not matter here: whether the
/// application's own spans were sampled says nothing of its rows.
pub(super) fn parse(text: &str) -> Option<SpanContext> {
    let text = text.trim();
    if !text.is_ascii() || text.len() < LENGTH {
        return None;
    }
    let (known, more) = text.split_at(LENGTH);
    let mut parts = known.split('-');
    let mut next = |length: usize| {
        let part = parts.next()?;
        let is_lower_hex = part.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        (part.len() == length && is_lower_hex).then_some(part)
    };
    let (version, trace, span, _flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    let fits = match version {
        "ff" => false,
        "00" => more.is_empty(),
        _ => more.is_empty() || more.starts_with('-'),
    };
    // All zero is no id, and does not parse.
    fits.then_some(SpanContext { trace: trace.parse().ok()?, span: span.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_recommendation_allows() {
        for text in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff\n",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        ] {
            let found = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.trace.to_string(), "0af7651916cd43dd8448eb211c80319c", "{text}");
            assert_eq!(found.span.to_string(), "b7ad6b7169203331", "{text}");
        }
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "0af7651916cd43dd8448eb211c80319c",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "c-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "00-0af7651916cd43dd8448eb211c8031äc-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-011",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
