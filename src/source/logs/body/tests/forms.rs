//! The forms in which records come, broken ones among them.

use std::collections::BTreeSet;

use super::*;

#[test]
fn finds_records_in_whatever_form_they_come() {
    let (a, b) = ("{\"id\":\"a\",\"message\":\"x\"}", "{\"id\":\"b\",\"message\":\"y\\n\"}");
    for body in [
        format!("[{a},{b}]"),
        format!("\u{feff} [\n  {a} ,\n  {b}\n]\n"),
        format!("{a}\n{b}\n"),
        format!("{a}\r\n\r\n{b}"),
        format!("{a}{b}"),
        format!("[{a}]\n[{b}]\n[]"),
        format!("{{}}\n{a}\n{{}}{b}"),
        format!("{}\n{b}", a.replace(',', ",\n  ")),
    ] {
        for kind in [DrainKind::Vercel, DrainKind::Supabase, DrainKind::Http] {
            let parsed = read(kind, &body);
            assert_eq!(texts(&parsed), ["x", "y"], "{body}");
            assert_eq!(ids(&parsed), [LineId::of_name("a"), LineId::of_name("b")], "{body}");
            assert_eq!((parsed.unreadable, parsed.continuations, parsed.cut), (0, 0, 0), "{body}");
        }
    }
    for body in ["", " \n", "{}", "[]", "[ ]\n", "[{}]", "{}\n{}"] {
        for kind in [DrainKind::Vercel, DrainKind::Supabase, DrainKind::Http] {
            let parsed = read(kind, body);
            assert_eq!((parsed.lines.len(), parsed.unreadable), (0, 0), "{body}");
        }
    }
}

#[test]
fn lets_a_broken_record_cost_no_other() {
    let (a, b) = ("{\"id\":\"a\",\"message\":\"x\"}", "{\"id\":\"b\",\"message\":\"y\"}");
    for (body, unreadable) in [
        (format!("{a}\n{{\"id\":\"c\",\"message\"\n{b}"), 1),
        (format!("{a}\n{{\"id\":\"c\",\"message\":\"z\n{b}"), 1),
        (format!("{a}\n{{\n  \"id\": \"c\",\n  \"m\": oh,\n  \"n\": {{\n  }}\n}}\n{b}"), 1),
        (format!("{a}{{\"id\":nope}}{b}"), 1),
        (format!("[{a},{{\"id\":nope}},{b}]"), 1),
        (format!("[{a},{{\"id\":\"c\",\"message\":\"q\" \"r\"}},{b}]"), 1),
        (format!("[{a},3,null,\"text\",[{{}}],{b}]"), 4),
        (format!("[{a},{b}"), 1),
        (format!("[{a},{b},{{\"id\":\"c\""), 1),
        (format!("[{a},{b},{{\"id\":\"c\"\"}}, {a}]"), 1),
        (format!("{a}\n{{\"id\":\"c\",\"n\":{}1{}}}\n{b}", "[".repeat(200), "]".repeat(200)), 1),
    ] {
        for kind in [DrainKind::Vercel, DrainKind::Http] {
            let parsed = read(kind, &body);
            assert_eq!((texts(&parsed), parsed.unreadable), (vec!["x", "y"], unreadable), "{body}");
            assert_eq!(ids(&read(kind, &body)), ids(&parsed), "again the same");
        }
    }
    // A text that JavaScript cut within a character breaks no record, neither in a list nor in a line.
    for body in [
        "{\"id\":\"a\",\"message\":\"x\\ud83d\"}\n{\"id\":\"b\"}",
        "[{\"id\":\"a\",\"message\":\"x\\ud83d\"},{\"id\":\"b\"}]",
    ] {
        let parsed = read(DrainKind::Vercel, body);
        assert_eq!((texts(&parsed), parsed.unreadable), (vec!["x\u{fffd}", ""], 0));
    }
}

#[test]
fn refuses_what_is_nothing_that_a_drain_sends() {
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let msgpack = b"\xdd\x00\x00\x00\x02\x92\xd7\x00\x5f\x01\x02\x03\x00\x00\x00\x01\x81\xa3log\xa5hello".to_vec();
    for body in
        [noise, msgpack, b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), b"{\"id\":".to_vec(), b"[{\"id\":".to_vec()]
    {
        for kind in [DrainKind::Vercel, DrainKind::Supabase, DrainKind::Http] {
            let refused = parse(kind, &RecordFields::default(), &LIMITS(), &body);
            assert!(refused.is_err(), "{kind:?} {body:?}: {refused:?}");
        }
    }
    for body in ["hello\nworld", "17", "\"text\"", "null", "[1,2]", "[[{}]]"] {
        assert!(parse(DrainKind::Vercel, &RecordFields::default(), &LIMITS(), body.as_bytes()).is_err(), "{body}");
    }
    assert!(parse(DrainKind::Otlp, &RecordFields::default(), &LIMITS(), b"{}").is_err());
    // More noise than text is no text at all.
    let noise = parse(DrainKind::Http, &RecordFields::default(), &LIMITS(), b"\0\x01\na\n\x02\n");
    assert_eq!(noise.err(), Some(NO_TEXT));
    // One line of noise among text is one line lost.
    let mixed = parse(DrainKind::Http, &RecordFields::default(), &LIMITS(), b"a\nb\n\0\x01\nc").expect("mostly text");
    assert_eq!((texts(&mixed), mixed.unreadable), (vec!["a", "b", "c"], 1));
}

#[test]
fn bounds_what_a_delivery_becomes() {
    // 15 values for each record, and 4 for its line; a record is held once for each message in it.
    let many = vec!["{\"a\":[0,0,0]}"; 100].join("\n");
    let wide = format!("{{\"n\":[{}0],\"message\":\"{}\"}}", "0,".repeat(100), "[a]\\n".repeat(10));
    let long = format!("{{\"n\":\"{}\",\"message\":\"{}\"}}", "0".repeat(6400), "[a]\\n".repeat(10));
    for body in [many, wide, long] {
        let read = |values| {
            within(&Budget::of(values), DrainKind::Vercel, &RecordFields::default(), &LIMITS(), body.as_bytes())
        };
        assert_eq!(read(900).err(), Some(TOO_MANY), "{body}");
        assert!(read(2_000).is_ok(), "{body}");
    }
}

#[test]
fn takes_records_out_of_an_object_around_them() {
    let records = "[{\"id\":\"a\",\"message\":\"x\"},{},{\"id\":\"b\",\"message\":\"y\"},3]";
    for name in ["data", "logs", "events", "records", "messages"] {
        let parsed = read(DrainKind::Http, &format!("{{\"total\":2,\"{name}\":{records}}}\n"));
        assert_eq!((texts(&parsed), parsed.unreadable), (vec!["x", "y"], 1), "{name}");
        assert_eq!(ids(&parsed), [LineId::of_name("a"), LineId::of_name("b")]);
        assert_eq!(read(DrainKind::Http, &format!("{{\"{name}\":[]}}")).lines.len(), 0);
    }
    // An application's own line that has such a list is a line.
    for body in [
        format!("{{\"msg\":\"done\",\"events\":{records}}}"),
        format!("{{\"level\":\"info\",\"events\":{records}}}"),
        format!("{{\"events\":{records},\"others\":[]}}"),
        format!("{{\"results\":{records}}}"),
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}".to_owned(),
    ] {
        assert_eq!(read(DrainKind::Http, &body).lines.len(), 1, "{body}");
    }
}

#[test]
fn reads_plain_lines_between_records() {
    let body = "[cron] started\n{ a: 1 }\n[API] POST {\n  \"a\": {\n}\n{\"id\":\"a\",\"message\":\"x\"}\n    at f\nGrüße\n{\"message\":\n  done\nlast";
    let parsed = read(DrainKind::Http, body);
    assert_eq!(texts(&parsed), ["[cron] started", "{ a: 1 }", "[API] POST {\n  \"a\": {\n}", "x", "Grüße", "last"]);
    assert_eq!((parsed.unreadable, parsed.continuations), (1, 1));
    assert_eq!(ids(&parsed).into_iter().collect::<BTreeSet<_>>().len(), 6);
    let latin = parse(DrainKind::Http, &RecordFields::default(), &LIMITS(), b"f\xfcr alle\n").expect("it is text");
    assert_eq!(texts(&latin), ["f\u{fffd}r alle"]);
}
