//! The order of the modules, and who may name a driver, a wire format or an application.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A module imports only what stands before it.
const ORDER: [&str; 23] = [
    "family",
    "span",
    "duration",
    "yaml",
    "telemetry",
    "pack",
    "config",
    "source",
    "collector",
    "state",
    "store",
    "exposition",
    "otlp",
    "web",
    "check",
    "demo",
    "schedule",
    "dashboard",
    "reference",
    "app",
    "cli",
    "lib",
    "main",
];

/// Crates that only these modules may name: a driver or a wire format each.
const CONFINED: [(&str, &[&str]); 12] = [
    ("sqlx", &["source", "state", "demo"]),
    ("prometheus", &["telemetry", "exposition"]),
    ("prost", &["exposition", "otlp"]),
    ("opentelemetry", &["telemetry", "otlp"]),
    ("opentelemetry_http", &["otlp"]),
    ("opentelemetry_otlp", &["otlp"]),
    ("opentelemetry_proto", &["otlp"]),
    ("opentelemetry_sdk", &["telemetry", "otlp"]),
    ("tonic", &["otlp"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("hyper", &["web", "demo", "source", "otlp"]),
    ("redis", &["source"]),
];

fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources can be read");
                found.insert(path.strip_prefix(&root).expect("it is below").to_path_buf(), text);
            }
        }
    }
    found
}

/// The top-level module that a file belongs to.
fn module(file: &Path) -> String {
    let first = file.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
}

/// A file's lines of code: no comments, and nothing from its `mod tests {` on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .take_while(|(_, line)| !line.starts_with("mod tests {"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The modules that a line names after `crate::`, also in braces.
fn named(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for after in line.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap_or(list);
                names
                    .extend(list.split(',').map(|item| item.trim().split("::").next().unwrap_or_default().to_string()));
            }
            None => names.push(after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What is wrong with the imports of these files.
fn complaints(sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut complaints = Vec::new();
    for (file, text) in sources {
        let own = module(file);
        let Some(own_place) = place(&own) else {
            complaints.push(format!("{}: module `{own}` has no place in the order", file.display()));
            continue;
        };
        for (number, line) in code(text) {
            for name in named(line) {
                if place(&name).is_some_and(|other| other > own_place) {
                    complaints.push(format!("{}:{number}: `{own}` stands before `{name}`", file.display()));
                }
            }
            for (crate_name, modules) in CONFINED {
                let path = format!("{crate_name}::");
                let names_it = line
                    .match_indices(&path)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
                if names_it && !modules.contains(&own.as_str()) {
                    complaints.push(format!("{}:{number}: only {modules:?} may name {crate_name}", file.display()));
                }
            }
        }
    }
    complaints
}

#[test]
fn imports_go_one_way_and_drivers_stay_in_their_modules() {
    let complaints = complaints(&sources());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_check_sees_what_is_wrong() {
    for (file, line) in [
        ("family.rs", "use crate::store::Board;"),
        ("source/rows.rs", "use crate::{duration, web};"),
        ("pack/lint.rs", "let x = crate::config::Settings;"),
        ("web/page.rs", "use sqlx::Row;"),
        ("util.rs", ""),
    ] {
        let sources = BTreeMap::from([(PathBuf::from(file), line.to_string())]);
        assert_eq!(complaints(&sources).len(), 1, "{file}: {line}");
    }
    for (file, line) in [
        ("web.rs", "use crate::store::Board;"),
        ("store/board.rs", "use crate::store::Board; // sqlx"),
        ("state.rs", "use sqlx::Row;"),
        ("family.rs", "    // use crate::web;"),
        ("family.rs", "mod tests {\nuse crate::web;"),
        ("web.rs", "use hyper_util::rt; use crate::exposition::prometheus::x;"),
    ] {
        let sources = BTreeMap::from([(PathBuf::from(file), line.to_string())]);
        assert_eq!(complaints(&sources), Vec::<String>::new(), "{file}: {line}");
    }
}

#[test]
fn no_application_is_named_in_the_source() {
    let packs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("packs")).expect("there are packs");
    let apps: Vec<String> = packs
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        // A pack that is common to a kind of server belongs to no application.
        .filter(|path| !std::fs::read_to_string(path).expect("packs can be read").contains("\ncommon: "))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().to_lowercase()))
        .collect();
    assert!(!apps.is_empty(), "there are packs");
    for (file, text) in sources() {
        for (number, line) in text.to_lowercase().lines().enumerate() {
            for app in &apps {
                assert!(!line.contains(app.as_str()), "{}:{}: names `{app}`: {line}", file.display(), number + 1);
            }
        }
    }
}
