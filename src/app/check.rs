//! `rowmetry check`: makes the sources that the settings name and has them looked at.

use anyhow::ensure;

use crate::check::{self, Report};
use crate::config::Settings;
use crate::schedule::clock;
use crate::source::Opened;

/// Looks at every source, or at one.
///
/// # Errors
/// When there is no source of that name.
pub async fn check(settings: &Settings, only: Option<&str>) -> anyhow::Result<Report> {
    let mut settings = settings.clone();
    if let Some(name) = only {
        settings.sources.retain(|source| source.name == name);
        ensure!(!settings.sources.is_empty(), "the configuration has no source `{name}`");
    }
    let sources: Vec<_> = settings.sources.iter().map(|source| (source.name.clone(), Opened::of(source))).collect();
    Ok(check::check(&settings, &sources, clock::now()).await)
}
