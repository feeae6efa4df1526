//! Where reading a file of lines has come to: plain data, kept in the state with the counts of what was read.
//!
//! It opens nothing, and changes no file that it is shown.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Bytes at the beginning of a file that tell it from another: more than most banners have before the first time stamp.
pub const HEAD_BYTES: usize = 1024;

/// Bytes right before the offset that must still be the same: some lines, whose times make them those of one file alone.
pub const TAIL_BYTES: usize = 256;

/// A place in a file that may be renamed, cut and written anew. The default is before everything: no file was there yet, and one
/// that appears is read from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilePosition {
    /// The device and number of the file.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// Bytes that were read and counted.
    pub offset: u64,
    /// How many of the file's first bytes `head` is a hash of.
    pub head_bytes: u64,
    /// Hash of the file's first bytes, in hexadecimal: another file in the place of the first is told by it.
    pub head: String,
    /// How many of the bytes right before `offset` `tail` is a hash of.
    #[serde(default)]
    pub tail_bytes: u64,
    /// Hash of the bytes right before `offset`, in hexadecimal.
    #[serde(default)]
    pub tail: String,
    /// When the file was last written to, as it was then, in microseconds since 1970: what was written later was not read yet.
    #[serde(default)]
    pub modified: u64,
    /// What tells this reading of a file from others of the drain; ids of lines are made of it. Inodes are used again, and a file
    /// that is cut is begun again, so neither would do.
    #[serde(default)]
    pub reading: u64,
}

impl FilePosition {
    /// A position as it was stored; none, with a warning, where it is not one of ours.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text)
            .inspect_err(|_| {
                tracing::warn!(
                    "the stored position of a log file cannot be read, so the file is followed from its present end"
                );
            })
            .ok()
    }

    /// Before everything: see the type.
    pub(super) fn before_any(reading: u64) -> Self {
        FilePosition { reading, ..FilePosition::default() }
    }

    /// Whether no file was there yet.
    pub(super) fn is_before_any(&self) -> bool {
        self.inode == 0 && self.offset == 0
    }

    /// Whether a file holds what was read up to here. With nothing read, every file does.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        let bound = |bytes: u64| usize::try_from(bytes).ok().filter(|bytes| *bytes <= HEAD_BYTES.max(TAIL_BYTES));
        let (Some(head), Some(tail)) = (bound(self.head_bytes), bound(self.tail_bytes)) else {
            return Ok(false);
        };
        Ok(file.metadata()?.len() >= self.offset
            && is_hash_of(&self.head, &read_exactly(file, head, 0)?)
            && is_hash_of(&self.tail, &read_exactly(file, tail, self.offset.saturating_sub(self.tail_bytes))?))
    }

    /// What names the reading of the file that comes after this one.
    pub(super) fn next_reading(&self, device: u64, inode: u64) -> u64 {
        let mut bytes = [0; 32];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.reading, self.offset, device, inode]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        xxh3_64(&bytes)
    }
}

/// What is kept of bytes so that they are known again.
pub(super) fn hash_of(bytes: &[u8]) -> String {
    if bytes.is_empty() { String::new() } else { format!("{:032x}", xxh3_128(bytes)) }
}

/// Bytes of a file from a place on: fewer only where it ends before.
pub(super) fn read_exactly(file: &File, bytes: usize, from: u64) -> io::Result<Vec<u8>> {
    let mut read = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match file.read_at(&mut read[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    read.truncate(filled);
    Ok(read)
}

fn is_hash_of(hash: &str, bytes: &[u8]) -> bool {
    hash == hash_of(bytes)
}
