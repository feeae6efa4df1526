//! The program's own log, on standard error: text for people, JSON for machines.
//!
//! It is set up once, at the start of the process. It never goes to standard output, which belongs to what a command
//! prints, and never to a file.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged when nobody says otherwise. The database driver tells each statement at `info`-like levels; only its
/// warnings are worth an operator's time.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The filter could not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log (or RUST_LOG) cannot be read: {0}; write a level (error, warn, info, debug, trace) or `info,rowmetry=debug`"
)]
pub struct BadFilter(String);

/// Begins to log. `filter` is a level or a list such as `info,rowmetry=debug`. A second call changes nothing.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: Option<&str>, format: LogFormat) -> Result<(), BadFilter> {
    let filter = parse(filter)?;
    let stderr = std::io::stderr();
    let colour = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A log that is already set up (a test's, an embedder's) is left in place.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

fn parse(filter: Option<&str>) -> Result<EnvFilter, BadFilter> {
    let filter = filter.map(str::trim).filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder().parse(filter).map_err(|error| BadFilter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_levels_and_lists() {
        for good in [None, Some(""), Some("debug"), Some("warn,rowmetry=trace")] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        let told = parse(Some("rowmetry=loud")).expect_err("no such level").to_string();
        assert!(told.contains("write a level"), "{told}");
    }
}
