//! One file that is being read: from a place to its end, and on as it grows.
//!
//! It notices when what it read is there no more, and reads nothing then. It knows no other file.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::super::position::{FilePosition, HEAD_BYTES, TAIL_BYTES, hash_of, read_exactly};
use super::lines::{Lines, Tail};
use super::messages::{Message, Messages};
use super::siblings::{Found, modified};

/// Bytes that are read at once: few calls, and little memory for a file.
const CHUNK_BYTES: usize = 256 << 10;

/// How far reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// To as much as a batch holds; there may be more.
    Full,
    /// To the end of the file.
    End,
    /// What was read is not in the file any more: it was cut, and perhaps written anew.
    Changed,
}

/// A file that is being read.
#[derive(Debug)]
pub struct Reading {
    file: File,
    device: u64,
    inode: u64,
    number: u64,
    modified: u64,
    head: Vec<u8>,
    lines: Lines,
    messages: Messages,
    handed_over: u64,
    has_changed: bool,
}

impl Reading {
    /// Begins at a place. `number` tells this reading from others of the drain; a line has at most so many bytes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(found: Found, offset: u64, number: u64, line_bytes: usize) -> io::Result<Self> {
        let Found { file, metadata } = found;
        let before = |most: usize| usize::try_from(offset).map_or(most, |offset| offset.min(most));
        let head = read_exactly(&file, before(HEAD_BYTES), 0)?;
        let tail = read_exactly(&file, before(TAIL_BYTES), offset - before(TAIL_BYTES) as u64)?;
        Ok(Reading {
            device: metadata.dev(),
            inode: metadata.ino(),
            number,
            modified: modified(&metadata),
            head,
            lines: Lines::new(line_bytes, offset, Tail::of(&tail)),
            messages: Messages::new(line_bytes),
            handed_over: offset,
            has_changed: false,
            file,
        })
    }

    /// The device and number of the file.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// What names this reading.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How far the file was read, whether that makes lines or not.
    pub fn at(&self) -> u64 {
        self.lines.at()
    }

    /// Reads on, as far as a batch goes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn fill(&mut self) -> io::Result<Filled> {
        self.fill_with(&mut vec![0; CHUNK_BYTES])
    }

    fn fill_with(&mut self, chunk: &mut [u8]) -> io::Result<Filled> {
        while !self.messages.is_full() {
            if self.has_changed {
                return Ok(Filled::Changed);
            }
            self.modified = modified(&self.file.metadata()?);
            let read = match self.file.read_at(chunk, self.lines.at()) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // Looked at after the read: the bytes are those that follow what was read before, or this does not hold.
            if !self.holds_what_was_read()? {
                self.has_changed = true;
                return Ok(Filled::Changed);
            }
            if read == 0 {
                return Ok(Filled::End);
            }
            let messages = &mut self.messages;
            let taken = self.lines.push(&chunk[..read], |line| messages.push(&line));
            let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(taken);
            self.head.extend_from_slice(&chunk[..missing]);
        }
        Ok(Filled::Full)
    }

    /// Whether a message is held back, since it may go on.
    pub fn holds(&self) -> bool {
        self.messages.holds()
    }

    /// The message that is held back goes on no more.
    pub fn release(&mut self) {
        self.messages.release();
    }

    /// Nothing comes any more: what is there is all, whole or not.
    pub fn finish(&mut self) {
        let messages = &mut self.messages;
        self.lines.finish(|line| messages.push(&line));
        self.messages.release();
    }

    /// What is to be handed over, and the place behind it; none where that is nothing.
    pub fn take(&mut self) -> Option<(Vec<Message>, FilePosition, u64)> {
        if self.messages.is_empty() {
            return None;
        }
        let position = self.position();
        let bytes = position.offset - self.handed_over;
        self.handed_over = position.offset;
        Some((self.messages.take(), position, bytes))
    }

    /// Where all that is ready ends.
    pub fn position(&self) -> FilePosition {
        let (offset, before) = self.messages.held_at().unwrap_or((self.lines.start(), self.lines.before()));
        let head = &self.head[..usize::try_from(offset).map_or(self.head.len(), |offset| offset.min(self.head.len()))];
        FilePosition {
            device: self.device,
            inode: self.inode,
            offset,
            head_bytes: head.len() as u64,
            head: hash_of(head),
            tail_bytes: before.as_slice().len() as u64,
            tail: hash_of(before.as_slice()),
            modified: self.modified,
            reading: self.number,
        }
    }

    fn holds_what_was_read(&self) -> io::Result<bool> {
        let tail = self.lines.tail();
        let from = self.lines.at() - tail.len() as u64;
        Ok(read_exactly(&self.file, tail.len(), from)? == tail
            && read_exactly(&self.file, self.head.len(), 0)? == self.head)
    }
}
