//! Real files in a folder of their own; the time is made up, so nothing waits.

mod crashes;
mod delivering;
mod lines;
mod rotating;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::LineId;
use super::super::position::FilePosition;
use super::follower::{Batch, Follower, Step};
use super::messages;
use crate::config::logs::RecordFields;

const LINE_BYTES: usize = 4 << 10;

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
        self.see(&batch);
        let parsed = messages::parse(&batch.messages, batch.reading, &RecordFields::default());
        self.counted.extend(parsed.lines.iter().flat_map(|line| line.text.split('\n')).map(str::to_owned));
        self.cut += parsed.cut;
        self.bytes += batch.bytes;
        self.position = Some(batch.position);
    }

    /// The same id is the same line, whether it is counted or not.
    fn see(&mut self, batch: &Batch) {
        let parsed = messages::parse(&batch.messages, batch.reading, &RecordFields::default());
        for line in parsed.lines {
            let first = line.text.split('\n').next().unwrap_or_default().to_owned();
            let before = self.ids.insert(line.id, first.clone());
            assert!(before.is_none_or(|before| before == first), "two lines have one id");
        }
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

fn is_there(path: &Path) -> bool {
    path.exists()
}
