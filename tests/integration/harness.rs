//! The real parts that the tests run against: Postgres, PgBouncer, Redis, Prometheus, Alertmanager, and the exporter's own binary.
//!
//! Nothing here stands in for a real part but for Upstash, which nobody can install; nothing is skipped when a part is
//! missing, and nothing is left running or on disk when the tests end, however they end.

pub mod alertmanager;
pub mod certificates;
pub mod cluster;
pub mod exporter;
pub mod exposition;
pub mod guard;
pub mod hostile;
pub mod http;
pub mod otlp;
pub mod otlp_python;
pub mod pgbouncer;
pub mod prometheus;
pub mod python;
pub mod redis;
pub mod relay;
pub mod truth;
pub mod upstash;
pub mod wait;

pub use cluster::{Cluster, Database};
pub use exporter::{Exporter, Setup};
pub use exposition::Scrape;
pub use truth::Truth;
pub use wait::{eventually, holds_for};

use std::path::PathBuf;

/// A file of the tests.
pub fn test_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The program of this name, from `PATH` or where Debian keeps it.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    folders.push("/usr/sbin".into());
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed; run tests/install.sh"))
}
