//! Where reading a file of lines has come to: plain data, kept in the state with the counts of what was read.
//!
//! It opens nothing.

use serde::{Deserialize, Serialize};

/// A place in a file that may be renamed, cut and written anew.
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
}
