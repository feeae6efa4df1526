//! Whatever comes: never a panic, and the same ids however it is batched.

use proptest::prelude::*;

use super::super::super::LogLine;
use super::*;

fn any_kind() -> impl Strategy<Value = DrainKind> {
    prop::sample::select(vec![DrainKind::Vercel, DrainKind::Supabase, DrainKind::Http, DrainKind::File])
}

/// A line without its record.
type Facts = (LineId, Option<i64>, Option<Level>, String);

fn facts(line: &LogLine) -> Facts {
    (line.id, line.time, line.level, line.text.clone())
}

fn any_record() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec![
        "x",
        "a\nb\n  c",
        "  at f",
        "{\"level\":\"error\"}",
        "",
        "\u{1b}[31mred",
        "{\"0\":\"H\",\"1\":\"\\ud83d\"}",
        "{\n\"a\":1\n}",
        "}\n",
        "{}{}",
    ]);
    ("[a-z]{8}", text, any::<bool>()).prop_map(|(id, text, timed)| match timed {
        false => json!({"id": id, "message": text}).to_string(),
        true => json!({"timestamp": 1_760_000_000_123_i64, "message": text, "nonce": id}).to_string(),
    })
}

/// A line of NDJSON, some of them broken.
fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => any_record(),
        1 => Just("{}".to_owned()),
        1 => Just("{\"id\":\"broken\",".to_owned()),
        1 => Just("{\"id\":\"broken\",\"message\":\"x".to_owned()),
        1 => Just("{\"id\":nope}".to_owned()),
    ]
}

/// Everything that is read of these deliveries, one after the other.
fn all(kind: DrainKind, bodies: &[String]) -> (Vec<Facts>, u64, u64) {
    let mut found = (Vec::new(), 0, 0);
    for body in bodies {
        match parse(kind, &RecordFields::default(), &LIMITS(), body.as_bytes()) {
            Ok(parsed) => {
                found.0.extend(parsed.lines.iter().map(facts));
                found.1 += parsed.unreadable;
                found.2 += parsed.continuations;
            }
            Err(_) => found.1 += body.lines().filter(|line| *line != "{}").count() as u64,
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn never_panics_on_any_bytes(kind in any_kind(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(kind, &RecordFields::default(), &LIMITS(), &body);
        let _ = line(&RecordFields::default(), &LIMITS(), &String::from_utf8_lossy(&body), LineId(1));
    }

    #[test]
    fn never_panics_on_mutated_bodies(
        kind in any_kind(),
        records in prop::collection::vec(any_record(), 1..5),
        in_array in any::<bool>(),
        bytes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\\n\x1b\0au\xff\xc2 d8".to_vec())), 1..6),
        line_bytes in 1_usize..40,
    ) {
        let mut body = if in_array { format!("[{}]", records.join(",")) } else { records.join("\n") }.into_bytes();
        for (place, byte) in bytes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let limits = IntakeLimits { line_bytes, ..LIMITS() };
        let once = parse(kind, &RecordFields::default(), &limits, &body);
        let again = parse(kind, &RecordFields::default(), &limits, &body);
        prop_assert_eq!(once.as_ref().map(ids), again.as_ref().map(ids));
        for line in once.iter().flat_map(|parsed| &parsed.lines) {
            prop_assert!(line.text.len() <= line_bytes || line.json.is_some());
        }
    }

    #[test]
    fn reads_a_batch_as_its_lines(kind in prop::sample::select(vec![DrainKind::Vercel, DrainKind::Http]), lines in prop::collection::vec(any_line(), 1..8)) {
        prop_assert_eq!(all(kind, &[lines.join("\n")]), all(kind, &lines));
    }

    #[test]
    fn gives_the_same_ids_however_records_are_batched(records in prop::collection::vec(any_record(), 1..8), at in any::<prop::sample::Index>(), in_array in any::<bool>()) {
        let batch = |records: &[String]| if in_array { format!("[{}]", records.join(" , ")) } else { records.join("\n") };
        let (first, second) = records.split_at(at.index(records.len()));
        let whole = all(DrainKind::Vercel, &[records.join("\n")]);
        prop_assert_eq!(whole, all(DrainKind::Vercel, &[batch(first), batch(second)]));
    }
}
