//! What became of a file that was renamed or copied, and which files came after it: looked for beside the file.
//!
//! Names and numbers of files only, but for the few that may be a copy. It never opens one to write.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::position::FilePosition;

/// Entries of a folder that are looked at: more than a folder of logs has, and few enough to be looked at in a moment.
const ENTRIES: usize = 10_000;

/// Opening a named pipe must not wait for who writes to it (`O_NONBLOCK` of Linux).
#[cfg(target_os = "linux")]
const WITHOUT_WAITING: i32 = 0o4000;
#[cfg(not(target_os = "linux"))]
const WITHOUT_WAITING: i32 = 0x4;

/// Endings of files that are packed: their lines cannot be read as they are.
const PACKED: [&str; 6] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip"];

/// A file, as it was found.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub file: File,
    /// What was said of it when it was opened.
    pub metadata: Metadata,
}

/// The file that was read until now, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// Its number.
    pub inode: u64,
    /// When it was last written to, in microseconds since 1970.
    pub modified: u64,
    /// Whether it was found, and read to its end.
    pub is_whole: bool,
}

/// Opens a regular file to read.
///
/// # Errors
/// When it cannot be opened, or is none.
pub fn open(path: &Path) -> io::Result<Found> {
    let file = fs::OpenOptions::new().read(true).custom_flags(WITHOUT_WAITING).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok(Found { file, metadata }) } else { Err(io::Error::from(io::ErrorKind::InvalidInput)) }
}

/// When a file was last written to, in microseconds since 1970.
pub fn modified(metadata: &Metadata) -> u64 {
    let micros = metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000);
    u64::try_from(micros).unwrap_or(0)
}

/// The file that a position is in, under whatever name it has now.
pub fn holder(path: &Path, position: &FilePosition) -> Option<Found> {
    let beside = Beside::look(path);
    beside
        .siblings
        .iter()
        .filter(|sibling| sibling.inode == position.inode)
        .find_map(|sibling| sibling.open_if(position))
}

/// A copy of the file that a position was in before it was cut: the youngest that holds what was read, written since.
pub fn copy(path: &Path, position: &FilePosition, current: u64) -> Option<Found> {
    if position.offset == 0 {
        return None;
    }
    let beside = Beside::look(path);
    let mut copies: Vec<&Sibling> = beside
        .siblings
        .iter()
        .filter(|sibling| sibling.inode != current && sibling.inode != position.inode)
        .filter(|sibling| sibling.modified >= position.modified && beside.is_rotated(&sibling.name))
        .collect();
    copies.sort_by(|one, other| other.modified.cmp(&one.modified).then_with(|| one.name.cmp(&other.name)));
    copies.into_iter().find_map(|sibling| sibling.open_if(position))
}

/// The file that was followed after another one, and before the one that is at the path now; none when there is none.
pub fn after(path: &Path, read: Read, current: u64) -> Option<Found> {
    let beside = Beside::look(path);
    let old = beside.siblings.iter().find(|sibling| read.is_whole && sibling.inode == read.inode);
    let old_shape = old.map(|old| shape(&old.name));
    let mut later: Vec<&Sibling> = beside
        .siblings
        .iter()
        .filter(|sibling| sibling.inode != current && !(read.is_whole && sibling.inode == read.inode))
        .filter(|sibling| beside.is_rotated(&sibling.name) || old_shape.as_ref() == Some(&shape(&sibling.name)))
        .collect();
    let is_numbered = later.iter().copied().chain(old).all(|sibling| beside.number(&sibling.name).is_some());
    // Numbers that grow with age tell the order better than times of files, which may be the same.
    let key = |sibling: &Sibling| {
        let age = beside.number(&sibling.name).map_or(0, |number| u64::MAX - number);
        (if is_numbered { 0 } else { sibling.modified }, age, sibling.name.clone())
    };
    match old {
        Some(old) => later.retain(|sibling| key(sibling) > key(old)),
        None => later.retain(|sibling| sibling.modified > read.modified),
    }
    later.sort_by_key(|sibling| key(sibling));
    later.into_iter().find_map(|sibling| open(&sibling.path).ok().filter(|found| found.metadata.ino() == sibling.inode))
}

struct Sibling {
    path: PathBuf,
    name: String,
    inode: u64,
    modified: u64,
}

impl Sibling {
    fn open_if(&self, position: &FilePosition) -> Option<Found> {
        open(&self.path).ok().filter(|found| position.is_in(&found.file).unwrap_or(false))
    }
}

/// The files in the folder of a path, and in that of the file that a link there points to.
struct Beside {
    names: Vec<String>,
    siblings: Vec<Sibling>,
}

impl Beside {
    fn look(path: &Path) -> Self {
        let mut beside = Beside { names: Vec::new(), siblings: Vec::new() };
        let mut folders: Vec<PathBuf> = Vec::new();
        for path in [Some(path.to_owned()), fs::canonicalize(path).ok()].into_iter().flatten() {
            if let Some(name) = path.file_name() {
                beside.names.push(name.to_string_lossy().into_owned());
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            beside.siblings.extend(entries.flatten().take(ENTRIES).filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
                Some(Sibling {
                    path: entry.path(),
                    name: entry.file_name().to_string_lossy().into_owned(),
                    inode: metadata.ino(),
                    modified: modified(&metadata),
                })
            }));
        }
        beside
    }

    /// What stands behind the file's name, where a file is named so when it is rotated.
    fn suffix<'a>(&self, name: &'a str) -> Option<&'a str> {
        let suffix = self.names.iter().find_map(|begin| name.strip_prefix(begin.as_str()))?;
        suffix.starts_with(['.', '-', '_']).then_some(suffix)
    }

    fn is_rotated(&self, name: &str) -> bool {
        self.suffix(name).is_some_and(|suffix| {
            suffix.contains(|digit: char| digit.is_ascii_digit())
                && !PACKED.iter().any(|ending| suffix.ends_with(ending))
        })
    }

    /// The number of `app.log.3`. Longer ones are dates.
    fn number(&self, name: &str) -> Option<u64> {
        let digits = self.suffix(name)?.strip_prefix('.')?;
        (digits.len() <= 4).then(|| digits.parse().ok()).flatten()
    }
}

/// A name without its numbers: files that are rotated by one rule have the same.
fn shape(name: &str) -> String {
    let mut shape = String::with_capacity(name.len());
    for letter in name.chars() {
        if !letter.is_ascii_digit() {
            shape.push(letter);
        } else if !shape.ends_with('\0') {
            shape.push('\0');
        }
    }
    shape
}
