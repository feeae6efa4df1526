use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::super::super::position::FilePosition;
use super::Folder;

fn truncate(folder: &Folder) {
    OpenOptions::new().write(true).truncate(true).open(folder.path("app.log")).expect("it can be cut");
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\n");
    folder.read();
    let mut old = folder.open("app.log");
    folder.rename("app.log", "app.log.1");
    folder.append("app.log", "four\n");
    folder.read_now();
    old.write_all(b"two\n").expect("it can be written");
    folder.read_now();
    old.write_all(b"three without an end").expect("it can be written");
    folder.read();
    folder.append("app.log", "five\n");
    folder.read();
    assert_eq!(folder.counted(), ["one", "two", "three without an end", "four", "five"]);
}

#[test]
fn a_file_without_a_successor_is_read_on() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\npart");
    folder.read();
    folder.rename("app.log", "app.log.1");
    folder.read();
    folder.append("app.log.1", "ly\n");
    folder.read();
    assert_eq!(folder.counted(), ["one", "partly"]);
    folder.crash();
    folder.append("app.log.1", "two\n");
    folder.read();
    folder.append("app.log", "three\n");
    folder.read();
    assert_eq!(folder.counted(), ["two", "three"]);
}

#[test]
fn files_that_were_renamed_while_nobody_read_are_read_in_their_order() {
    let schemes: [[&str; 3]; 4] = [
        ["app.log.3", "app.log.2", "app.log.1"],
        ["app.log.11", "app.log.10", "app.log.9"],
        ["app.log-20261119", "app.log-20261120", "app.log-20261121"],
        ["app__2026-11-21_00-00-00.log", "app__2026-11-21_00-00-01.log", "app__2026-11-22_00-00-00.log"],
    ];
    for names in schemes {
        let mut folder = Folder::followed();
        folder.append("app.log", "one\n");
        folder.read();
        folder.append("app.log", "two\n");
        folder.append(&names[0].replace("app", "other"), "of another\n");
        folder.rename("app.log", names[0]);
        folder.append("app.log", "three\n");
        folder.rename("app.log", names[1]);
        folder.append("app.log", "four\n");
        folder.rename("app.log", names[2]);
        folder.append("app.log", "five\n");
        if names[0].starts_with("app.log.") {
            // Numbers tell the order, whatever the times of the files.
            let now = std::time::SystemTime::now();
            for (days, name) in (1..).zip(names) {
                let before = now - std::time::Duration::from_secs(86_400 * days);
                folder.open(name).set_modified(before).expect("it can be set");
            }
        }
        folder.crash();
        folder.read();
        assert_eq!(folder.counted(), ["one", "two", "three", "four", "five"], "{names:?}");
    }
}

#[test]
fn files_that_were_renamed_between_two_looks_are_read() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\n");
    folder.read();
    folder.rename("app.log", "app.log.2");
    folder.append("app.log", "two\n");
    folder.rename("app.log", "app.log.1");
    folder.append("app.log", "three\n");
    folder.read();
    assert_eq!(folder.counted(), ["one", "two", "three"]);
}

#[test]
fn files_that_were_read_before_are_not_read_again() {
    let mut folder = Folder::followed();
    for number in (1..=5).rev() {
        folder.append("app.log", format!("line {number}\n"));
        folder.read();
        folder.rename("app.log", &format!("app.log.{number}"));
        folder.append("app.log", "");
        folder.read();
        folder.crash();
        folder.read();
    }
    assert_eq!(folder.counted(), ["line 5", "line 4", "line 3", "line 2", "line 1"]);
}

#[test]
fn a_renamed_file_that_is_gone_costs_its_own_lines_alone() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\n");
    folder.read();
    folder.append("app.log", "lost\n");
    folder.rename("app.log", "app.log.3");
    fs::remove_file(folder.path("app.log.3")).expect("it can be removed");
    folder.append("app.log.3.gz", "packed\n");
    folder.append("app.log", "two\n");
    folder.crash();
    folder.read();
    assert_eq!(folder.counted(), ["one", "two"]);
    folder.crash();
    folder.read();
    assert_eq!(folder.counted(), Vec::<String>::new());
}

#[test]
fn an_inode_that_is_used_again_is_another_file() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\ntwo\n");
    folder.read();
    folder.crash();
    // The same inode, as a file system gives it to the next file; and the same line at the same place.
    truncate(&folder);
    folder.append("app.log", "one\nother\nthree\n");
    let ids = folder.ids.len();
    folder.read();
    assert_eq!(folder.counted(), ["one", "two", "one", "other", "three"]);
    assert_eq!(folder.ids.len(), ids + 3, "each line has an id of its own");
}

#[test]
fn a_file_that_is_cut_is_begun_again() {
    for crashes in [false, true] {
        let mut folder = Folder::followed();
        folder.append("app.log", "one\ntwo\nhalf a line");
        folder.read();
        truncate(&folder);
        folder.append("app.log", "three\n");
        if crashes {
            folder.crash();
        }
        folder.read();
        let half: &[&str] = if crashes { &[] } else { &["half a line"] };
        assert_eq!(folder.counted(), [&["one", "two"][..], half, &["three"]].concat());
    }
}

#[test]
fn a_file_that_is_cut_and_written_to_the_same_length_is_begun_again() {
    for crashes in [false, true] {
        let mut folder = Folder::followed();
        // The end is the same; the head is not.
        let same = "s".repeat(600);
        folder.append("app.log", format!("one\n{same}\n"));
        folder.read();
        truncate(&folder);
        folder.append("app.log", format!("two\n{same}\n"));
        if crashes {
            folder.crash();
        }
        folder.read();
        assert_eq!(folder.counted(), ["one", &same, "two", &same]);
    }
}

#[test]
fn a_file_that_is_cut_and_has_the_same_banner_is_begun_again() {
    for crashes in [false, true] {
        let mut folder = Folder::followed();
        let banner = "b".repeat(2_000);
        folder.append("app.log", format!("{banner}\none\n"));
        folder.read();
        truncate(&folder);
        folder.append("app.log", format!("{banner}\ntwo\nthree\n"));
        if crashes {
            folder.crash();
        }
        folder.read();
        assert_eq!(folder.counted(), [&banner, "one", &banner, "two", "three"]);
    }
}

#[test]
fn the_rest_of_a_file_that_was_copied_and_cut_is_in_its_copy() {
    for crashes in [false, true] {
        let mut folder = Folder::followed();
        folder.append("app.log", "one\n");
        folder.read();
        folder.append("app.log", "two\nthree\n");
        fs::copy(folder.path("app.log"), folder.path("app.log.1")).expect("it can be copied");
        truncate(&folder);
        folder.append("app.log", "four\n");
        if crashes {
            folder.crash();
        }
        folder.read();
        assert_eq!(folder.counted(), ["one", "two", "three", "four"]);
        folder.append("app.log", "five\n");
        folder.crash();
        folder.read();
        assert_eq!(folder.counted(), ["five"]);
    }
}

#[test]
fn a_hole_that_cutting_leaves_is_no_line() {
    let mut folder = Folder::followed();
    let length = 100_000;
    folder.append("app.log", format!("{}\n", "x".repeat(length)));
    folder.read();
    truncate(&folder);
    let mut writer = OpenOptions::new().write(true).open(folder.path("app.log")).expect("it can be opened");
    std::io::Seek::seek(&mut writer, std::io::SeekFrom::Start(length as u64 + 1)).expect("it can seek");
    writer.write_all(b"after\n").expect("it can be written");
    folder.counted();
    folder.read();
    assert_eq!(folder.counted(), ["after"]);
}

#[test]
fn a_link_that_is_set_to_another_file_is_followed() {
    for crashes in [false, true] {
        let mut folder = Folder::new();
        let away = tempfile::TempDir::new().expect("there is room");
        let target = |name: &str| away.path().join(name);
        fs::write(target("2026-11-20.log"), "").expect("it can be written");
        let link = |folder: &Folder, name: &str| {
            let new = folder.path("app.new");
            std::os::unix::fs::symlink(target(name), &new).expect("it can be linked");
            fs::rename(new, folder.path("app.log")).expect("it can be renamed");
        };
        link(&folder, "2026-11-20.log");
        folder.read();
        folder.append("app.log", "one\n");
        folder.read();
        folder.append("app.log", "two\n");
        fs::write(target("2026-11-21.log"), "three\n").expect("it can be written");
        link(&folder, "2026-11-21.log");
        if crashes {
            folder.crash();
        }
        folder.read();
        assert_eq!(folder.counted(), ["one", "two", "three"]);
    }
}

#[test]
fn a_position_that_is_not_ours_is_none() {
    for foreign in ["", "null", "[]", "{}", r#"{"offset":"x"}"#, r#"{"version":9}"#] {
        assert_eq!(FilePosition::from_json(foreign), None, "{foreign}");
    }
    let huge = r#"{"device":1,"inode":2,"offset":18446744073709551615,"head_bytes":18446744073709551615,"head":"00"}"#;
    let mut folder = Folder::new();
    folder.append("app.log", "one\n");
    folder.position = FilePosition::from_json(huge);
    assert!(folder.position.is_some());
    folder.crash();
    folder.read();
    assert_eq!(folder.counted(), ["one"]);
}
