//! Which lines a collector counts, in words of the manual.

use super::code;
use crate::pack::logs::{Expected, LineForm, Logs, Scalar};
use crate::pack::{OneOrMany, Stream};

/// Forms of one collector that are told; a table's cell is no place for more.
const TOLD_FORMS: usize = 8;

/// What the collector reads.
pub(super) fn lines(logs: &Logs) -> String {
    let whose = match logs.stream {
        Stream::Application => "the application",
        Stream::Postgres => "Postgres",
    };
    let mut told: Vec<String> = Vec::new();
    for (index, line) in logs.lines.iter().enumerate().filter(|(_, line)| !line.skip) {
        let words = match (line.fits_all(), index) {
            (true, 0) => "all".to_owned(),
            (true, _) => "all others".to_owned(),
            (false, _) => form(line),
        };
        if !told.contains(&words) {
            told.push(words);
        }
    }
    let more = told.len().saturating_sub(TOLD_FORMS);
    told.truncate(TOLD_FORMS);
    if more > 0 {
        told.push(format!("and {more} forms more"));
    }
    format!("log lines of {whose}: {}", told.join("; "))
}

fn form(line: &LineForm) -> String {
    let mut parts = Vec::new();
    for (of, fields) in [("JSON", &line.json), ("record", &line.record)] {
        let fields: Vec<String> = fields.iter().map(|(name, expected)| field(name, expected)).collect();
        if !fields.is_empty() {
            parts.push(format!("{of} with {}", fields.join(" and ")));
        }
    }
    let words = |before: &str, words: &Option<OneOrMany>| {
        words.as_ref().map(|words| format!("{before} {}", any(words.as_slice().iter().map(|word| code(word)))))
    };
    parts.extend(words("level", &line.level));
    parts.extend(words("beginning with", &line.prefix));
    parts.extend(words("containing", &line.contains));
    parts.extend(line.pattern.as_ref().map(|pattern| format!("like {}", code(pattern))));
    parts.join(", ")
}

fn field(name: &str, expected: &Expected) -> String {
    let is_any = expected.as_slice().iter().any(|value| matches!(value, Scalar::Text(text) if text == "*"));
    if is_any {
        return code(name);
    }
    let value = |value: &Scalar| match value {
        Scalar::Truth(truth) => code(&truth.to_string()),
        Scalar::Number(number) => code(&number.to_string()),
        Scalar::Text(text) => code(text),
    };
    format!("{} {}", code(name), any(expected.as_slice().iter().map(value)))
}

fn any(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_in_words() {
        let logs = |yaml: &str| -> Logs { serde_saphyr::from_str(yaml).expect("the test's own YAML") };
        for (yaml, words) in [
            ("{lines: [{}]}", "log lines of the application: all"),
            ("{stream: postgres, lines: [{record: {source: x}, skip: true}, {}]}", "log lines of Postgres: all others"),
            (
                "{lines: [{json: {event: [a, b], /ok: true, n: 5, id: '*'}, record: {source: s}}, {level: [warn, error], prefix: '[a]', contains: b}]}",
                "log lines of the application: JSON with `/ok` `true` and `event` `a` or `b` and `id` and `n` `5`, record with `source` `s`; \
                 level `warn` or `error`, beginning with `[a]`, containing `b`",
            ),
            ("{lines: [{pattern: 'a|b'}, {pattern: 'a|b', each: c}]}", "log lines of the application: like `a|b`"),
        ] {
            assert_eq!(lines(&logs(yaml)), words);
        }
        let many: Vec<String> = (0..10).map(|number| format!("{{prefix: a{number}}}")).collect();
        let told = lines(&logs(&format!("{{lines: [{}]}}", many.join(", "))));
        assert!(told.ends_with("beginning with `a7`; and 2 forms more"), "{told}");
    }
}
