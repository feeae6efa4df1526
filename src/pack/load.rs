//! Finds packs: those built into the program, and the operator's own files.
//!
//! A pack that does not pass lint is no pack: everything that is wrong with all files is told at once, and nothing
//! of them is used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use super::{Pack, lint};
use crate::yaml::{self, Complaint};

static BUILT_IN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/packs");

/// Files that a folder of packs may hold; beyond that it is not a folder of packs.
const FOLDER_LIMIT: usize = 1000;

/// Everything that is wrong with the packs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PackErrors(pub Vec<Complaint>);

impl fmt::Display for PackErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::list(&self.0, f)
    }
}

/// The packs built into the program, by name.
///
/// # Errors
/// When one does not pass lint, which a test of the program rules out.
pub fn builtin() -> Result<Vec<Arc<Pack>>, PackErrors> {
    let files = BUILT_IN.files().filter(|file| is_pack(file.path()));
    read_all(files.map(|file| {
        let name = format!("packs/{}", file.path().display());
        let text = file.contents_utf8().map(str::to_owned).ok_or("the file is not UTF-8".to_owned());
        (name, text)
    }))
}

/// The built-in packs and the operator's own, by name. An own pack takes the place of a built-in one of its name.
///
/// # Errors
/// Files that cannot be read, and everything that lint finds in them.
pub fn all(own: &[PathBuf]) -> Result<Vec<Arc<Pack>>, PackErrors> {
    let mut packs = builtin()?;
    let own = own_packs(own)?;
    packs.retain(|pack| own.iter().all(|mine| mine.app != pack.app));
    packs.extend(own);
    packs.sort_by(|one, other| one.app.cmp(&other.app));
    Ok(packs)
}

/// Reads one pack from its text.
///
/// # Errors
/// Everything that is wrong with it; `file` is the name in the messages.
pub fn parse(file: &str, text: &str) -> Result<Pack, PackErrors> {
    let mut tree = yaml::parse(file, text, true).map_err(|complaint| PackErrors(vec![complaint]))?;
    let pack: Pack = yaml::shape::read(file, &mut tree).map_err(PackErrors)?;
    let complaints = lint::lint(file, &tree, &pack);
    if complaints.is_empty() { Ok(pack) } else { Err(PackErrors(complaints)) }
}

/// The operator's own packs.
fn own_packs(paths: &[PathBuf]) -> Result<Vec<Arc<Pack>>, PackErrors> {
    let mut files = Vec::new();
    let mut complaints = Vec::new();
    for path in paths {
        match pack_files(path) {
            Ok(found) if found.is_empty() => {
                complaints
                    .push(complaint(path, "the folder holds no pack; a pack is a file that ends in .yaml or .yml"));
            }
            Ok(found) => files.extend(found),
            Err(error) => complaints.push(complaint(path, format!("cannot be read: {error}"))),
        }
    }
    let texts = files.into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}"));
        (path.display().to_string(), text)
    });
    match read_all(texts) {
        Ok(packs) if complaints.is_empty() => Ok(packs),
        Ok(_) => Err(PackErrors(complaints)),
        Err(PackErrors(more)) => {
            complaints.extend(more);
            Err(PackErrors(complaints))
        }
    }
}

fn read_all(files: impl Iterator<Item = (String, Result<String, String>)>) -> Result<Vec<Arc<Pack>>, PackErrors> {
    let mut packs: Vec<(String, Arc<Pack>)> = Vec::new();
    let mut complaints = Vec::new();
    for (file, text) in files {
        let text = match text {
            Ok(text) => text,
            Err(message) => {
                complaints.push(complaint(Path::new(&file), message));
                continue;
            }
        };
        match parse(&file, &text) {
            Ok(pack) => packs.push((file, Arc::new(pack))),
            Err(PackErrors(more)) => complaints.extend(more),
        }
    }
    packs.sort_by(|(_, one), (_, other)| one.app.cmp(&other.app));
    for pair in packs.windows(2) {
        let [(first, one), (second, other)] = pair else { continue };
        if one.app == other.app {
            complaints.push(complaint(
                Path::new(second),
                format!("`app: {}` is the name of {first} already; give one of them another name", one.app),
            ));
        }
    }
    if complaints.is_empty() {
        Ok(packs.into_iter().map(|(_, pack)| pack).collect())
    } else {
        Err(PackErrors(complaints))
    }
}

fn pack_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)?.take(FOLDER_LIMIT) {
        let path = entry?.path();
        if is_pack(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_pack(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn complaint(file: &Path, message: impl Into<String>) -> Complaint {
    Complaint { file: file.display().to_string(), line: None, place: String::new(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTS: &str = "app: plants\ntitle: Plants\ncollectors:\n  - name: sprouts\n    rows: {table: sprout, key: id, time: at}\n    metrics:\n      - {counter: plants_sprouts_total, help: Sprouts.}\n";

    #[test]
    fn the_built_in_packs_pass_lint() {
        if let Err(errors) = builtin() {
            panic!("\n{errors}");
        }
    }

    #[test]
    fn reads_files_and_folders_and_tells_of_all_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let good = folder.path().join("plants.yaml");
        std::fs::write(&good, PLANTS).expect("writable");
        std::fs::write(folder.path().join("notes.txt"), "no pack").expect("writable");
        for path in [folder.path().to_owned(), good.clone()] {
            let packs = all(&[path]).expect("a good pack");
            assert!(packs.iter().any(|pack| pack.app == "plants"));
        }

        let bad = folder.path().join("weeds.yml");
        std::fs::write(&bad, "app: weeds\n").expect("writable");
        let empty = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("missing.yaml");
        let errors = all(&[folder.path().to_owned(), empty.path().to_owned(), missing, good]).expect_err("bad packs");
        let text = errors.to_string();
        for part in [
            "holds no pack",
            "missing.yaml: cannot be read: No such file",
            "weeds.yml:1: `title` is missing",
            "weeds.yml:1: `collectors` is missing",
            "`app: plants` is the name of",
        ] {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
    }

    #[test]
    fn an_own_pack_takes_the_place_of_a_built_in_one() {
        let Some(first) = builtin().expect("good packs").first().cloned() else { return };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("mine.yaml");
        std::fs::write(&file, PLANTS.replace("app: plants", &format!("app: {}", first.app))).expect("writable");
        let packs = all(&[file]).expect("good packs");
        let of_name: Vec<_> = packs.iter().filter(|pack| pack.app == first.app).collect();
        assert_eq!(of_name.len(), 1);
        assert_eq!(of_name[0].title, "Plants");
    }
}
