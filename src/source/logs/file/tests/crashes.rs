use std::fs::{self, OpenOptions};

use super::{Folder, Step};

const LINES: u64 = 100_000;
const CRASHES: usize = 50;

/// Renames, oldest first, so that `app.log.1` is free.
fn shift(folder: &Folder, files: &mut u64) {
    for number in (1..=*files).rev() {
        folder.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
    }
    *files += 1;
}

#[test]
fn every_line_counts_once_whatever_happens() {
    for seed in [5, 7] {
        every_line_counts_once(seed);
    }
}

fn every_line_counts_once(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut folder = Folder::followed();
    let (mut written, mut files, mut crashes) = (0, 0, 0);
    let mut unread = 0;
    while written < LINES || crashes < CRASHES {
        match random.u32(0..100) {
            0..60 => {
                let mut text = String::new();
                for _ in 0..random.u64(1..800).min(LINES.saturating_sub(written)) {
                    let begin = if random.u32(0..5) > 0 { "" } else { "  " };
                    text.push_str(&format!("{begin}line {written}\n"));
                    written += 1;
                }
                if random.bool() && written < LINES {
                    text.push_str("li");
                    folder.append("app.log", &text);
                    folder.step();
                    folder.append("app.log", format!("ne {written}\n"));
                    written += 1;
                } else {
                    folder.append("app.log", &text);
                }
            }
            60..68 if folder.path("app.log").exists() => {
                shift(&folder, &mut files);
                folder.rename("app.log", "app.log.1");
                if random.u32(0..4) > 0 {
                    folder.append("app.log", "");
                }
            }
            68..72 if folder.path("app.log").exists() => {
                shift(&folder, &mut files);
                fs::copy(folder.path("app.log"), folder.path("app.log.1")).expect("it can be copied");
                let _ =
                    OpenOptions::new().write(true).truncate(true).open(folder.path("app.log")).expect("it can be cut");
            }
            72..80 => {
                // What was read, or even written down by nobody, is read again.
                for _ in 0..random.u32(0..3) {
                    if let Step::Batch(batch) = folder.follower.step(folder.now) {
                        folder.see(&batch);
                        unread += batch.messages.len();
                        break;
                    }
                }
                folder.crash();
                crashes += 1;
            }
            80..90 => folder.read(),
            _ => {
                for _ in 0..random.u32(1..4) {
                    folder.step();
                }
                folder.now += std::time::Duration::from_millis(random.u64(0..1_500));
            }
        }
    }
    folder.append("app.log", "");
    folder.read();
    let counted = folder.counted();
    assert!(unread > 0, "crashes cost something");
    let wanted: Vec<String> = (0..written).map(|number| format!("line {number}")).collect();
    let counted: Vec<&str> = counted.iter().map(|line| line.trim_start()).collect();
    let first = counted.iter().zip(&wanted).position(|(counted, wanted)| counted != wanted);
    assert_eq!(first.map(|place| (place, counted[place], &wanted[place])), None, "seed {seed}");
    assert_eq!(counted.len(), wanted.len(), "seed {seed}");
    assert!(crashes >= CRASHES && files > 10);
}
