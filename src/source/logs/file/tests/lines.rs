use std::fs;

use super::{Folder, LINE_BYTES, RecordFields, Step, limits, messages};

#[test]
fn lines_count_as_they_are_appended() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\ntwo\n");
    folder.read();
    assert_eq!(folder.counted(), ["one", "two"]);
    folder.append("app.log", "three\n");
    folder.read();
    assert_eq!(folder.counted(), ["three"]);
    assert_eq!(folder.bytes, 14);
}

#[test]
fn what_was_there_before_the_first_start_is_history() {
    let mut folder = Folder::new();
    folder.append("app.log", "old\nolder\npart");
    folder.read();
    assert_eq!(folder.counted(), Vec::<String>::new());
    folder.append("app.log", "ly new\nnew\n");
    folder.read();
    assert_eq!(folder.counted(), ["partly new", "new"]);
}

#[test]
fn where_following_began_is_kept_before_any_line_comes() {
    let mut folder = Folder::new();
    folder.append("app.log", "old\n");
    folder.read_now();
    folder.append("app.log", "new\n");
    folder.crash();
    folder.read();
    assert_eq!(folder.counted(), ["new"]);
}

#[test]
fn a_file_that_appears_is_read_from_its_beginning_even_after_a_crash() {
    for crashes in [false, true] {
        let mut folder = Folder::new();
        folder.read();
        if crashes {
            folder.crash();
        }
        folder.append("app.log", "first\n");
        folder.read();
        assert_eq!(folder.counted(), ["first"]);
    }
}

#[test]
fn a_line_counts_when_it_is_whole() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\nhal");
    folder.read();
    assert_eq!(folder.counted(), ["one"]);
    folder.crash();
    folder.append("app.log", "f\n");
    folder.read();
    assert_eq!(folder.counted(), ["half"]);
}

#[test]
fn ends_of_lines_and_bytes_that_are_no_text_do_no_harm() {
    let mut folder = Folder::followed();
    folder.append("app.log", b"a\r\n\n  \nbad \xff byte in a longer line of text\n\0\0\0d\n\xff\xff\xff\n");
    folder.read();
    assert_eq!(folder.counted(), ["a", "bad \u{fffd} byte in a longer line of text", "d", "\u{fffd}\u{fffd}\u{fffd}"]);
    assert_eq!(folder.unreadable, 1, "the last is no text at all");
}

#[test]
fn a_huge_line_is_cut_and_the_rest_of_it_is_no_line() {
    let mut folder = Folder::followed();
    folder.append("app.log", "x".repeat(3 << 20));
    folder.read();
    folder.append("app.log", "y".repeat(100));
    folder.append("app.log", "\nnext\n");
    folder.read();
    assert_eq!(folder.counted(), ["x".repeat(LINE_BYTES), "next".to_owned()]);
    assert_eq!(folder.cut, 1);
}

#[test]
fn lines_that_go_on_belong_to_the_message_before() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one {\n  a: 1\n");
    folder.read_now();
    assert_eq!(folder.counted(), Vec::<String>::new(), "it may go on");
    folder.append("app.log", "}\ntwo\n");
    folder.read_now();
    assert_eq!(folder.ids.values().collect::<Vec<_>>(), ["one {"]);
    assert_eq!(folder.counted(), ["one {", "  a: 1", "}"]);
    folder.crash();
    folder.read();
    assert_eq!(folder.counted(), ["two"], "what is held back is before the position");
}

#[test]
fn a_message_is_whole_after_a_second() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\n");
    folder.read_now();
    folder.now += std::time::Duration::from_millis(999);
    folder.read_now();
    assert_eq!(folder.counted(), Vec::<String>::new());
    folder.now += std::time::Duration::from_millis(1);
    folder.read_now();
    assert_eq!(folder.counted(), ["one"]);
}

#[test]
fn a_message_that_never_ends_is_parted_and_keeps_no_more_than_a_line() {
    let mut folder = Folder::followed();
    let more = format!("  {}\n", "z".repeat(1021));
    folder.append("app.log", format!("begin\n{}", more.repeat(5_000)));
    folder.read();
    let ids = folder.ids.len();
    assert!((5..=6).contains(&ids), "{ids} messages");
    assert!(folder.counted().iter().map(String::len).sum::<usize>() <= ids * LINE_BYTES);
    assert_eq!(folder.cut, ids as u64);
}

#[test]
fn records_are_read_as_those_that_are_posted() {
    let mut folder = Folder::followed();
    folder.append(
        "app.log",
        r#"{"time":"2026-11-21T10:00:00Z","stream":"stderr","log":"{\"level\":\"error\",\"msg\":\"no\"}\n"}"#,
    );
    folder.append("app.log", "\n");
    let Step::Batch(batch) = ({
        folder.read_now();
        folder.now += std::time::Duration::from_secs(1);
        folder.follower.step(folder.now)
    }) else {
        panic!("a message is whole")
    };
    let parsed = messages::parse(&batch.messages, batch.reading, &RecordFields::default(), &limits());
    let [line] = &parsed.lines[..] else { panic!("one line") };
    assert_eq!(line.level, Some(crate::source::logs::Level::Error));
    assert_eq!(line.time, Some(1_795_255_200_000_000));
    assert_eq!(
        line.record().and_then(|record| record.get("stream")).and_then(|stream| stream.as_str()),
        Some("stderr")
    );
    assert_eq!(line.json.as_ref().and_then(|json| json.get("msg")).and_then(|text| text.as_str()), Some("no"));
}

#[test]
fn batches_have_a_bound() {
    let mut folder = Folder::followed();
    folder.append("app.log", "0123456789\n".repeat(12_000));
    let mut sizes = Vec::new();
    loop {
        let before = folder.counted.len();
        if !folder.step() {
            break;
        }
        sizes.push(folder.counted.len() - before);
    }
    assert_eq!(sizes, [5_000, 5_000, 1_999]);
}

#[test]
fn what_is_no_file_is_no_trouble_once_it_is_one() {
    let mut folder = Folder::new();
    fs::create_dir(folder.path("app.log")).expect("it can be made");
    folder.read();
    assert!(folder.follower.is_in_trouble());
    folder.crash();
    folder.read();
    fs::remove_dir(folder.path("app.log")).expect("it can be removed");
    folder.read();
    folder.append("app.log", "one\n");
    folder.read();
    assert!(!folder.follower.is_in_trouble());
    assert_eq!(folder.counted(), ["one"]);
}
