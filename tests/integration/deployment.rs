//! What is shipped beside the program: Alertmanager's file, Docker Compose, Kubernetes, systemd.
//!
//! Files are read by the programs that they are for wherever those are at hand; what is left over is checked here.

mod alertmanager;
mod compose;
mod compose_runs;
mod kubernetes;
mod systemd;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// YAML as plain values.
fn yaml(name: &str, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The texts of a list.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The rule files of alerts/, by stem, in order.
fn rule_files() -> Vec<String> {
    let files = std::fs::read_dir(repository("alerts")).expect("alerts/ is there").flatten();
    let stems = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".yml")?.to_owned()));
    let mut stems: Vec<String> = stems.filter(|stem| stem != "alertmanager").collect();
    stems.sort();
    stems
}

/// The user of the image, as `uid:gid`.
fn image_user() -> String {
    let dockerfile = read("Dockerfile");
    let user = dockerfile.lines().rev().find_map(|line| line.strip_prefix("USER "));
    user.expect("the image has a user").to_owned()
}
