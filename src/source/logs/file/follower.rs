//! Goes with one path from file to file, as they are renamed, copied and cut.
//!
//! A step reads a batch and tells where it ends; a step after that is for who has counted the batch for good. It waits for nothing,
//! and reads no clock.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::position::{FilePosition, read_exactly};
use super::messages::Message;
use super::reading::{Filled, Reading};
use super::siblings::{self, Found, Read};

/// A message that is not gone on with for so long is whole: its writer writes the lines of one in one go.
const MESSAGE_ENDS: Duration = Duration::from_secs(1);

/// A file that was renamed is at its end when nothing came for so long: until they open the new one, its writers write to the old.
const OLD_FILE_ENDS: Duration = Duration::from_secs(2);

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Count this for good; step on only then.
    Batch(Batch),
    /// There is nothing now.
    Idle,
    /// There is no file, or it cannot be read.
    Trouble,
}

/// What was read, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What was read; nothing, where the position alone is to be kept.
    pub messages: Vec<Message>,
    /// What tells this reading of the file from others.
    pub reading: u64,
    /// Where to go on.
    pub position: FilePosition,
    /// Bytes of the file from the batch before to here.
    pub bytes: u64,
}

impl Batch {
    fn bare(position: FilePosition) -> Self {
        Batch { messages: Vec::new(), reading: position.reading, position, bytes: 0 }
    }
}

/// Follows one path.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    line_bytes: usize,
    stage: Stage,
    told: Option<io::ErrorKind>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was opened yet, or what was to be read is not there.
    Closed(Option<FilePosition>),
    Open(Box<Opened>),
}

#[derive(Debug)]
struct Opened {
    reading: Reading,
    grew: Instant,
    renamed: Option<Instant>,
}

impl Follower {
    /// Goes on from a position; without one, from the present end of the file.
    pub fn new(path: PathBuf, line_bytes: usize, position: Option<FilePosition>) -> Self {
        Follower { path, line_bytes, stage: Stage::Closed(position), told: None }
    }

    /// What to do next, at a time that does not go back.
    pub fn step(&mut self, now: Instant) -> Step {
        let step = match &mut self.stage {
            Stage::Open(_) => self.read(now),
            Stage::Closed(position) => {
                let position = position.clone();
                self.open(position, now)
            }
        };
        match step {
            Ok(step) => {
                if self.told.take().is_some() {
                    tracing::info!(file = %self.path.display(), "the log file can be read now");
                }
                step
            }
            Err(error) => {
                if self.told.replace(error.kind()) != Some(error.kind()) {
                    tracing::warn!(file = %self.path.display(), "the log file cannot be read, which is tried again: {}", reason(&error));
                }
                match &self.stage {
                    // That there is nothing is to be known later, so that what comes then is read from its beginning.
                    Stage::Closed(None) if error.kind() == io::ErrorKind::NotFound => {
                        let nothing = FilePosition::before_any(fastrand::u64(1..));
                        self.stage = Stage::Closed(Some(nothing.clone()));
                        Step::Batch(Batch::bare(nothing))
                    }
                    _ => Step::Trouble,
                }
            }
        }
    }

    /// Whether the last step was in trouble.
    #[cfg(test)]
    pub fn is_in_trouble(&self) -> bool {
        self.told.is_some()
    }

    fn open(&mut self, position: Option<FilePosition>, now: Instant) -> io::Result<Step> {
        let Some(position) = position else {
            let found = siblings::open(&self.path)?;
            let end = last_line_end(&found, self.line_bytes)?;
            return self.begin(found, end, fastrand::u64(1..), now);
        };
        if position.is_before_any() {
            let found = siblings::open(&self.path)?;
            let number = position.next_reading(found.metadata.dev(), found.metadata.ino());
            return self.begin(found, 0, number, now);
        }
        let current = match siblings::open(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            current => current,
        };
        let current_inode = current.as_ref().map_or(0, |found| found.metadata.ino());
        let (holder, missing) = match current {
            Ok(found) if found.metadata.ino() == position.inode && position.is_in(&found.file)? => (Some(found), None),
            other => {
                let renamed = siblings::holder(&self.path, &position);
                (renamed.or_else(|| siblings::copy(&self.path, &position, current_inode)), other.err())
            }
        };
        if let Some(found) = holder {
            let reading = Reading::new(found, position.offset, position.reading, self.line_bytes)?;
            self.stage = Stage::Open(Box::new(Opened { reading, grew: now, renamed: None }));
            return self.read(now);
        }
        if let Some(error) = missing {
            return Err(error);
        }
        let read = Read { inode: position.inode, modified: position.modified, is_whole: false };
        let step = self.go_on_after(&position, read, now)?;
        tracing::warn!(
            file = %self.path.display(),
            "the log file was cut, or renamed and then removed or packed: what was written to it after the last line that was read \
             is not counted; keep the youngest old file as it is (delaycompress) where files are renamed",
        );
        Ok(step)
    }

    fn read(&mut self, now: Instant) -> io::Result<Step> {
        let Stage::Open(opened) = &mut self.stage else { return Ok(Step::Idle) };
        let at = opened.reading.at();
        let filled = match opened.reading.fill() {
            Ok(filled) => filled,
            Err(error) => {
                // Opened anew, it may be well again; what was not handed over is read again.
                self.stage = Stage::Closed(Some(opened.reading.position()));
                return Err(error);
            }
        };
        if opened.reading.at() > at {
            opened.grew = now;
        }
        if let Some(batch) = opened.batch() {
            return Ok(Step::Batch(batch));
        }
        match filled {
            Filled::Full => Ok(Step::Idle),
            Filled::Changed => self.changed(now),
            Filled::End => self.ended(now),
        }
    }

    /// All that there is was read.
    fn ended(&mut self, now: Instant) -> io::Result<Step> {
        let Stage::Open(opened) = &mut self.stage else { return Ok(Step::Idle) };
        let identity = fs::metadata(&self.path).ok().filter(fs::Metadata::is_file).map(|now| (now.dev(), now.ino()));
        let quiet = now.saturating_duration_since(opened.grew);
        if identity.is_none_or(|identity| identity == opened.reading.identity()) {
            opened.renamed = None;
            if opened.reading.holds() && quiet >= MESSAGE_ENDS {
                opened.reading.release();
            }
            return Ok(opened.batch().map_or(Step::Idle, Step::Batch));
        }
        let renamed = *opened.renamed.get_or_insert(now);
        if quiet.min(now.saturating_duration_since(renamed)) < OLD_FILE_ENDS {
            return Ok(Step::Idle);
        }
        opened.reading.finish();
        if let Some(batch) = opened.batch() {
            return Ok(Step::Batch(batch));
        }
        let position = opened.reading.position();
        let read = Read { inode: position.inode, modified: position.modified, is_whole: true };
        self.go_on_after(&position, read, now)
    }

    /// What was read is not in the file any more.
    fn changed(&mut self, now: Instant) -> io::Result<Step> {
        let Stage::Open(opened) = &mut self.stage else { return Ok(Step::Idle) };
        let position = opened.reading.position();
        if let Some(copy) = siblings::copy(&self.path, &position, position.inode) {
            let reading = Reading::new(copy, position.offset, opened.reading.number(), self.line_bytes)?;
            **opened = Opened { reading, grew: now, renamed: None };
            return self.read(now);
        }
        opened.reading.finish();
        if let Some(batch) = opened.batch() {
            return Ok(Step::Batch(batch));
        }
        let position = opened.reading.position();
        let read = Read { inode: position.inode, modified: position.modified, is_whole: false };
        let step = self.go_on_after(&position, read, now)?;
        tracing::warn!(
            file = %self.path.display(),
            "the log file was cut, and there is no copy of it: lines that were written right before that may not be counted",
        );
        Ok(step)
    }

    /// Begins the next file: one that was renamed meanwhile, or the one that is at the path now.
    fn go_on_after(&mut self, position: &FilePosition, read: Read, now: Instant) -> io::Result<Step> {
        let current = siblings::open(&self.path)?;
        let next = siblings::after(&self.path, read, current.metadata.ino()).unwrap_or(current);
        let number = position.next_reading(next.metadata.dev(), next.metadata.ino());
        self.begin(next, 0, number, now)
    }

    /// Begins a file, and has that written down: it is not known later what came before it.
    fn begin(&mut self, found: Found, offset: u64, number: u64, now: Instant) -> io::Result<Step> {
        let reading = Reading::new(found, offset, number, self.line_bytes)?;
        let position = reading.position();
        self.stage = Stage::Open(Box::new(Opened { reading, grew: now, renamed: None }));
        Ok(Step::Batch(Batch::bare(position)))
    }
}

impl Opened {
    fn batch(&mut self) -> Option<Batch> {
        let (messages, position, bytes) = self.reading.take()?;
        Some(Batch { messages, reading: position.reading, position, bytes })
    }
}

/// Where the last whole line of a file ends. With none in as many bytes as a line may have, the end of the file.
fn last_line_end(found: &Found, line_bytes: usize) -> io::Result<u64> {
    let length = found.metadata.len();
    let look = usize::try_from(length).map_or(line_bytes, |length| length.min(line_bytes));
    let from = length - look as u64;
    let bytes = read_exactly(&found.file, look, from)?;
    Ok(match memchr::memrchr(b'\n', &bytes) {
        Some(place) => from + place as u64 + 1,
        None if from == 0 => 0,
        None => length,
    })
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there; it is read from its beginning once it is",
        io::ErrorKind::PermissionDenied => "the user that this runs as may not read it; give it the right to",
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => "it is no regular file; name the file itself",
        _ => "the system refuses it; look whether its disk is well",
    }
}
