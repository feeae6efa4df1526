//! `rowmetry check`: makes the sources that the settings name and has them looked at.

use anyhow::ensure;

use crate::check::{self, Report};
use crate::config::Settings;
use crate::schedule::clock;
use crate::source::Opened;

/// Looks at every source and drain, or at one. What a database tells of a drain is known only where both are looked at.
///
/// # Errors
/// When there is none of that name.
pub async fn check(settings: &Settings, only: Option<&str>) -> anyhow::Result<Report> {
    let is_asked_for = |name: &str| only.is_none_or(|only| only == name);
    let mut settings = settings.clone();
    settings.logs.drains.retain(|drain| is_asked_for(&drain.name));
    let asked = settings.sources.iter().filter(|source| is_asked_for(&source.name));
    let sources: Vec<_> = asked.map(|source| (source.name.clone(), Opened::of(source))).collect();
    if let Some(name) = only {
        let none = sources.is_empty() && settings.logs.drains.is_empty();
        ensure!(!none, "the configuration has no source or drain `{name}`");
    }
    Ok(check::check(&settings, &sources, clock::now()).await)
}
