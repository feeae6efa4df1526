//! Real files in a folder of their own; the time is made up, so nothing waits.

mod crashes;
mod delivering;
mod lines;
mod rotating;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::position::FilePosition;
use super::super::{LineId, Parsed};
use super::follower::{Batch, Follower, Step};
use super::messages;
use crate::config::logs::{IntakeLimits, RecordFields};

const LINE_BYTES: usize = 4 << 10;

fn limits() -> IntakeLimits {
    IntakeLimits { line_bytes: LINE_BYTES, ..IntakeLimits::default() }
}

/// A folder with `app.log`, and who follows it.
struct Folder {
    folder: TempDir,
    follower: Follower,
    now: Instant,
    /// The last position that was kept.
    position: Option<FilePosition>,
    /// The lines that were counted.
    counted: Vec<String>,
    cut: u64,
    unreadable: u64,
    bytes: u64,
    /// The id of each message, by its first line: reading it again makes the same.
    ids: BTreeMap<LineId, String>,
}

impl Folder {
    /// Nothing is there yet.
    fn new() -> Self {
        let folder = TempDir::new().expect("there is room");
        let follower = Follower::new(folder.path().join("app.log"), LINE_BYTES, None);
        Folder {
            folder,
            follower,
            now: Instant::now(),
            position: None,
            counted: Vec::new(),
            cut: 0,
            unreadable: 0,
            bytes: 0,
            ids: BTreeMap::new(),
        }
    }

    /// An empty file is there, and is followed.
    fn followed() -> Self {
        let mut folder = Folder::new();
        folder.append("app.log", "");
        folder.read();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, name: &str) -> File {
        OpenOptions::new().append(true).create(true).open(self.path(name)).expect("it can be opened")
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        self.open(name).write_all(text.as_ref()).expect("it can be written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("it can be renamed");
    }

    /// One step, counted.
    fn step(&mut self) -> bool {
        match self.follower.step(self.now) {
            Step::Batch(batch) => {
                self.accept(batch);
                true
            }
            Step::Idle | Step::Trouble => false,
        }
    }

    fn accept(&mut self, batch: Batch) {
        let parsed = self.see(&batch);
        let lines = batch.messages.iter().flat_map(|message| message.text.split('\n'));
        self.counted.extend(lines.filter(|line| !line.trim().is_empty()).map(str::to_owned));
        self.cut += parsed.cut;
        self.unreadable += parsed.unreadable;
        self.bytes += batch.bytes;
        self.position = Some(batch.position);
    }

    /// The same id is the same message, whether it is counted or not.
    fn see(&mut self, batch: &Batch) -> Parsed {
        for message in &batch.messages {
            let first = message.text.split('\n').next().unwrap_or_default().to_owned();
            let id = LineId::of_place(u128::from(batch.reading), message.start);
            let before = self.ids.insert(id, first.clone());
            assert!(before.is_none_or(|before| before == first), "two messages have one id");
        }
        let parsed = messages::parse(&batch.messages, batch.reading, &RecordFields::default(), &limits());
        assert!(parsed.lines.iter().all(|line| self.ids.contains_key(&line.id)));
        parsed
    }

    /// All that is there now, and what follows from nothing coming after it.
    fn read(&mut self) {
        let mut idle = 0;
        while idle < 16 {
            if self.step() {
                idle = 0;
            } else {
                idle += 1;
                self.now += Duration::from_millis(250);
            }
        }
    }

    /// All that can be had at once.
    fn read_now(&mut self) {
        while self.step() {}
    }

    /// Begins anew, from the last position that was kept, as it is kept.
    fn crash(&mut self) {
        let kept = self.position.as_ref().map(|position| serde_json::to_string(position).expect("it is plain"));
        let kept = kept.and_then(|kept| FilePosition::from_json(&kept));
        assert_eq!(kept, self.position);
        self.follower = Follower::new(self.path("app.log"), LINE_BYTES, kept);
    }

    fn counted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.counted)
    }
}
