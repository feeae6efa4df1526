//! The options of the verbs that read the past: `backfill` and `replay`.
//!
//! Text to values; nothing is read here.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{CommonOptions, ShardOptions};
use crate::app::{BackfillRequest, PackChoice, PastRequest, ReplayRequest};
use crate::collector::history::LONGEST_STEP;
use crate::family::Micros;
use crate::source::instant::parse_time;

/// Stands at the end of `backfill --help`.
pub const BACKFILL_HELP: &str = "\
Example:
  rowmetry backfill --from 2026-01-01 --to now --label job=rowmetry --label instance=shop:9469 > past.om
  promtool tsdb create-blocks-from openmetrics past.om /var/lib/prometheus/data

End with --to where a running Rowmetry began to count (`rowmetry state list`), so that no row is in both. A row counts
at its time, and as it is now: one that went through several states counts in its present one alone. Gauges have no
history in a database and are not written. promtool reads the file once for every two hours: for long windows give it
--max-block-duration=24h.";

/// Stands at the end of `replay --help`.
pub const REPLAY_HELP: &str = "\
Example:
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 rowmetry replay --from 2026-01-31 --to 2026-02-01

Each row is sent as it is now: one that went through several states has the span of its present one alone, and a row
that is gone has none. Spans that the receiver has already come with the ids that they had; most stores keep one.";

/// Which past is read.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct PastOptions {
    /// Where settings come from.
    #[command(flatten)]
    pub common: CommonOptions,
    /// What of them is read.
    #[command(flatten)]
    pub part: ShardOptions,
    /// First moment: 2026-01-31 (midnight UTC), 2026-01-31T06:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Time,
    /// First moment that is not of it any more; `now` is one
    #[arg(long, value_name = "TIME")]
    pub to: Time,
    /// This source only
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// This pack or collector only; may be given several times
    #[arg(long, value_name = "NAME[/COLLECTOR]")]
    pub pack: Vec<PackChoice>,
}

/// Options of `backfill`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct BackfillOptions {
    /// Which past.
    #[command(flatten)]
    pub past: PastOptions,
    /// Time from sample to sample, from 1s to 5m
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = step)]
    pub step: Duration,
    /// Label of every sample, as a scrape would add it: `--label job=rowmetry --label instance=shop:9469`
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<TargetLabel>,
}

/// Options of `replay`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ReplayOptions {
    /// Which past.
    #[command(flatten)]
    pub past: PastOptions,
    /// Make the spans, tell how many there are, and send none
    #[arg(long)]
    pub dry_run: bool,
    /// How long a receiver that takes nothing is waited for
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::duration::parse)]
    pub timeout: Duration,
}

/// A moment, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// When the program runs.
    Now,
    /// Another.
    At(Micros),
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "now" {
            return Ok(Time::Now);
        }
        let told = "write `now`, a day as 2026-01-31, or a time as 2026-01-31T06:00:00Z; without a zone it is UTC";
        parse_time(text).map(Time::At).ok_or_else(|| told.to_owned())
    }
}

/// A label that a target has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLabel(Arc<str>, String);

impl FromStr for TargetLabel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as job=rowmetry")?;
        let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !begins_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("a label's name has letters, digits and _ only, and begins with no digit".into());
        }
        if name.starts_with("__") || name == "le" {
            return Err("names that begin with __, and `le`, belong to Prometheus".into());
        }
        if value.is_empty() {
            return Err("a label without a value is none".into());
        }
        Ok(TargetLabel(name.into(), value.into()))
    }
}

impl PastOptions {
    /// What is asked for, at this time.
    ///
    /// # Errors
    /// A sentence, when the window is empty.
    pub fn request(&self, now: Micros) -> Result<PastRequest, String> {
        let at = |time| match time {
            Time::Now => now,
            Time::At(at) => at,
        };
        let (from, to) = (at(self.from), at(self.to));
        if from >= to {
            return Err("the window is empty: --from must lie before --to".into());
        }
        Ok(PastRequest { from, to, source: self.source.clone(), packs: self.pack.clone() })
    }
}

impl BackfillOptions {
    /// What is asked for, at this time.
    ///
    /// # Errors
    /// A sentence, when the window is empty or a label is given twice.
    pub fn request(&self, now: Micros) -> Result<BackfillRequest, String> {
        let mut target: Vec<(Arc<str>, String)> = Vec::new();
        for TargetLabel(name, value) in &self.label {
            if target.iter().any(|(other, _)| other == name) {
                return Err(format!("--label {name}=… is given twice"));
            }
            target.push((name.clone(), value.clone()));
        }
        let step = i64::try_from(self.step.as_secs()).unwrap_or(i64::MAX);
        Ok(BackfillRequest { past: self.past.request(now)?, step, target })
    }
}

impl ReplayOptions {
    /// What is asked for, at this time.
    ///
    /// # Errors
    /// A sentence, when the window is empty.
    pub fn request(&self, now: Micros) -> Result<ReplayRequest, String> {
        Ok(ReplayRequest { past: self.past.request(now)?, dry_run: self.dry_run, patience: self.timeout })
    }
}

fn step(text: &str) -> Result<Duration, String> {
    let step = crate::duration::parse(text)?;
    let fits = step.subsec_nanos() == 0 && (1..=LONGEST_STEP.unsigned_abs()).contains(&step.as_secs());
    let told =
        "whole seconds from 1s to 5m: Prometheus looks back five minutes for a sample, and a longer step leaves gaps";
    fits.then_some(step).ok_or_else(|| told.to_owned())
}
