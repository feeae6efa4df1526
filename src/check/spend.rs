//! What reading a source costs a day and a month at the configured intervals, with the arithmetic shown.
//!
//! Arithmetic over the settings and the packs. It assumes that nothing goes wrong and that the application is as busy as
//! said; what was really spent is on `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Idle, Settings, SourceSettings, Upstream, address};
use crate::pack::{Collector, Pack, System};
use crate::source::spend::cost;

/// Days of an average month.
const DAYS_A_MONTH: f64 = 365.0 / 12.0;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What an application that sleeps at night is taken for: quiet for so long each day.
const ASSUMED_QUIET: Duration = Duration::from_secs(14 * 3600);

/// Hosts of databases that suspend when idle.
const SUSPENDING_HOSTS: &str = ".neon.tech";

/// What reading a source costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpendReport {
    /// What is counted: `statements`, `reads`, `commands` or `requests`.
    pub unit: &'static str,
    /// What it is made of.
    pub parts: Vec<SpendPart>,
    /// All together in 24 hours, were nothing to hold it back.
    pub per_day: u64,
    /// The same in a month.
    pub per_month: u64,
    /// How long it keeps a database awake that suspends when idle; none for what is no server of a database.
    pub awake: Option<AwakeReport>,
    /// What an operator should know.
    pub remarks: Vec<String>,
}

/// One kind of read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpendPart {
    /// What is read.
    pub what: &'static str,
    /// How many of that kind.
    pub count: u64,
    /// Statements of one read.
    pub each: u64,
    /// Seconds between two reads.
    pub interval: f64,
    /// All of them in 24 hours.
    pub per_day: u64,
}

/// Hours awake.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AwakeReport {
    /// Hours a month, read as ever.
    pub hours_without_idle: f64,
    /// Hours a month with `idle`, as configured or else with its defaults.
    pub hours_with_idle: f64,
    /// Whether `idle` is configured.
    pub idle: bool,
    /// How the first comes about.
    pub without_idle: String,
    /// How the second comes about.
    pub with_idle: String,
}

impl SpendReport {
    /// The arithmetic for people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.parts.iter().map(|part| part.line(self.unit)).collect();
        let (day, month) = (grouped(self.per_day), grouped(self.per_month));
        lines.push(format!("together {day} {} a day, {month} a month", self.unit));
        if let Some(awake) = &self.awake {
            let word = if awake.idle { "with `idle`" } else { "with `idle: {}`" };
            let hours = |hours: f64| format!("{} h a month", hours.round());
            lines.push(format!("awake, if it suspends: {}: {}", awake.without_idle, hours(awake.hours_without_idle)));
            lines.push(format!("awake {word}, {}: {}", awake.with_idle, hours(awake.hours_with_idle)));
        }
        lines
    }
}

impl SpendPart {
    fn line(&self, unit: &str) -> String {
        let SpendPart { what, count, each, interval, per_day } = self;
        let reads = DAY.as_secs_f64() / interval;
        let every = length(*interval);
        // Two scans of keys, two looks at INFO: the first word has the number.
        let (noun, rest) =
            what.split_once(' ').map_or((*what, String::new()), |(noun, rest)| (noun, format!(" {rest}")));
        let unit = if *each == 1 { unit.trim_end_matches('s') } else { unit };
        let what = if *count == 1 { (*what).to_owned() } else { format!("{noun}s{rest}") };
        format!("{count} {what} x {each} {unit} x {} times (every {every}) = {}", number(reads), grouped(*per_day))
    }
}

/// Estimates one source. `keys` is the number of keys of a Redis, if it told.
pub(super) fn report(settings: &Settings, of: &SourceSettings, packs: &[Arc<Pack>], keys: Option<u64>) -> SpendReport {
    let parts = parts(settings, of, packs, keys);
    let per_day = parts.iter().map(|part| part.per_day).sum();
    let mut report = SpendReport {
        unit: unit(of.upstream),
        per_month: (per_day as f64 * DAYS_A_MONTH).round() as u64,
        per_day,
        awake: (of.upstream == Upstream::Database(System::Postgres)).then(|| awake(of, &parts)),
        parts,
        remarks: Vec::new(),
    };
    report.remarks = remarks(settings, of, packs, &report);
    report
}

fn unit(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Database(System::Postgres) | Upstream::Pgbouncer => "statements",
        Upstream::Database(System::Sqlite) => "reads",
        Upstream::Redis | Upstream::Upstash => "commands",
        Upstream::Http => "requests",
    }
}

/// What is read, in the order of its first reader, together where it is of one kind and pace.
fn parts(settings: &Settings, of: &SourceSettings, packs: &[Arc<Pack>], keys: Option<u64>) -> Vec<SpendPart> {
    let mut parts: Vec<SpendPart> = Vec::new();
    let mut add = |what: &'static str, each: u64, interval: Duration| {
        let interval = interval.as_secs_f64();
        match parts.iter_mut().find(|part| (part.what, part.each, part.interval) == (what, each, interval)) {
            Some(part) => part.count += 1,
            None => parts.push(SpendPart { what, count: 1, each, interval, per_day: 0 }),
        }
    };
    let is_postgres = of.upstream == Upstream::Database(System::Postgres);
    let database = |postgres: u64| if is_postgres { postgres } else { cost::SQLITE_READ };
    for pack in packs {
        let mine = pack.collectors.iter().filter(|collector| collector.reads() == of.upstream.reads());
        let mine = mine.filter(|collector| super::has_use(collector, super::sends_spans(settings)));
        for collector in mine.filter(|collector| !of.skips(&pack.app, &collector.name)) {
            let interval = of.interval_of(&pack.app, collector);
            let (what, each) = kind(collector, of.upstream, keys, &database);
            add(what, each, interval);
            if collector.rows.is_some() && !of.audit_interval.is_zero() {
                add("recount", database(cost::POSTGRES_AUDIT), of.audit_interval.max(interval));
            }
        }
        if of.upstream.database().is_some() && settings.asks_for_names(pack, of) {
            for _ in &pack.lookups {
                add("look-up", database(cost::POSTGRES_QUERY), of.interval.max(SourceSettings::LOOK_UP_EVERY));
            }
        }
    }
    if of.upstream.database().is_some() && of.packs.is_none() {
        add("look for packs", database(cost::POSTGRES_QUERY), SourceSettings::LOOK_FOR_PACKS);
    }
    for part in &mut parts {
        part.per_day = (part.count as f64 * part.each as f64 * DAY.as_secs_f64() / part.interval).round() as u64;
    }
    parts
}

fn kind(
    collector: &Collector,
    upstream: Upstream,
    keys: Option<u64>,
    database: &dyn Fn(u64) -> u64,
) -> (&'static str, u64) {
    if collector.rows.is_some() {
        ("table", database(cost::POSTGRES_ROWS))
    } else if collector.snapshot.is_some() {
        ("snapshot", database(cost::POSTGRES_QUERY))
    } else if let Some(wanted) = &collector.keys {
        // Each SCAN looks at about a thousand keys, whether they fit or not.
        let keys = keys.unwrap_or_default();
        let scan = keys.div_ceil(cost::KEYS_A_SCAN) + cost::KEYS_BESIDE;
        if wanted.families.iter().any(|family| family.limit.is_some()) {
            // How many of the keys are counters is known only when they are looked at.
            ("scan of keys with their values, at most", scan + keys.div_ceil(cost::KEYS_AN_MGET))
        } else {
            ("scan of keys", scan)
        }
    } else if collector.info.is_some() {
        ("look at INFO", if upstream == Upstream::Upstash { cost::UPSTASH_INFO } else { cost::REDIS_INFO })
    } else if collector.show.is_some() {
        ("figure of the console", cost::PGBOUNCER_SHOW)
    } else {
        ("probe", cost::HTTP_PROBE)
    }
}

fn awake(of: &SourceSettings, parts: &[SpendPart]) -> AwakeReport {
    let idle = of.idle.unwrap_or_default();
    let suspends = idle.suspends_after.as_secs_f64();
    let (share, without_idle) = always(parts, idle.suspends_after);
    let busy = (DAY - ASSUMED_QUIET).as_secs_f64();
    let rounds = rounds(of.interval, &idle);
    let asleep = idle.after.as_secs_f64() + rounds as f64 * suspends;
    let daily = ((busy * share) + asleep).min(DAY.as_secs_f64() * share);
    let with_idle = format!(
        "when it is busy {} h a day and quiet {} (assumed): {} h + {} until it is quiet + {rounds} rounds x {} = {:.1} h a day",
        number(busy / 3600.0),
        number(ASSUMED_QUIET.as_secs_f64() / 3600.0),
        number(busy * share / 3600.0),
        crate::duration::format(idle.after),
        crate::duration::format(idle.suspends_after),
        daily / 3600.0,
    );
    AwakeReport {
        hours_without_idle: share * 24.0 * DAYS_A_MONTH,
        hours_with_idle: daily / 3600.0 * DAYS_A_MONTH,
        idle: of.idle.is_some(),
        without_idle,
        with_idle,
    }
}

/// The share of the time that a database is awake that is read as ever, and why.
fn always(parts: &[SpendPart], suspends_after: Duration) -> (f64, String) {
    let suspends = suspends_after.as_secs_f64();
    let shortest = parts.iter().map(|part| part.interval).fold(f64::INFINITY, f64::min);
    let after = crate::duration::format(suspends_after);
    if shortest <= suspends {
        let why = format!("read every {}, and it suspends only after {after}: 24 h a day", length(shortest));
        return (1.0, why);
    }
    // Those of one pace are read at about the same time, and others on their own.
    let mut paces: BTreeMap<u64, f64> = BTreeMap::new();
    for part in parts {
        paces.insert(part.interval as u64, DAY.as_secs_f64() / part.interval);
    }
    let reads: f64 = paces.values().sum();
    let share = (reads * suspends / DAY.as_secs_f64()).min(1.0);
    (share, format!("at most {} reads a day x {after} = {:.1} h a day", number(reads), share * 24.0))
}

/// How often a source is read in the assumed quiet time of a day.
fn rounds(interval: Duration, idle: &Idle) -> u64 {
    let mut length = (interval.max(idle.suspends_after) * 2).min(idle.interval);
    let mut at = idle.after;
    let mut rounds = 0;
    while at + length <= ASSUMED_QUIET {
        at += length;
        rounds += 1;
        length = (length * 2).min(idle.interval);
    }
    rounds
}

fn remarks(settings: &Settings, of: &SourceSettings, packs: &[Arc<Pack>], report: &SpendReport) -> Vec<String> {
    let mut remarks = Vec::new();
    let unit = report.unit;
    if let Some(limit) = of.budget.per_day.filter(|limit| *limit < report.per_day) {
        let stretch = report.per_day as f64 / limit as f64;
        let shortest = report.parts.iter().map(|part| part.interval).fold(f64::INFINITY, f64::min);
        remarks.push(format!(
            "`budget.per_day` of {} does not hold {} {unit} a day: read as ever, every interval is stretched {stretch:.1}-fold, so \
             that {} becomes {}",
            grouped(limit),
            grouped(report.per_day),
            length(shortest),
            about(shortest * stretch),
        ));
    }
    let is_idle = of.idle.is_some() && of.upstream.database().is_some();
    if let (Some(limit), Some(awake)) = (of.budget.awake_per_day, &report.awake) {
        let hours = if is_idle { awake.hours_with_idle } else { awake.hours_without_idle } / DAYS_A_MONTH;
        let limit_hours = limit.as_secs_f64() / 3600.0;
        if hours > limit_hours {
            let rounds = of.idle.unwrap_or_default().suspends_after.as_secs_f64() * 24.0 / limit_hours;
            remarks.push(format!(
                "`budget.awake_per_day` of {} does not hold {hours:.1} h a day: it is read in rounds that lie up to {} apart",
                crate::duration::format(limit),
                about(rounds),
            ));
        }
    }
    if host_of(of).ends_with(SUSPENDING_HOSTS) && of.idle.is_none() && of.upstream.database().is_some() {
        remarks.push(
            "this database is billed for the time it is awake, and reading as ever never lets it suspend; `idle: {}` reads it \
             seldom while the application is quiet, and loses no row"
                .to_owned(),
        );
    }
    let tells = packs.iter().flat_map(|pack| pack.collectors.iter().map(move |collector| (pack, collector)));
    let mut tells = tells.filter(|(pack, collector)| !of.skips(&pack.app, &collector.name));
    if is_idle && !tells.any(|(_, collector)| collector.rows.is_some()) {
        remarks.push(
            "no collector counts new rows here, so nothing tells when the application is busy: `idle` reads it in rounds all \
             the time"
                .to_owned(),
        );
    }
    let database = settings.sources.iter().find(|other| Some(&other.name) == of.database.as_ref());
    if let (Upstream::Http, Some(database)) = (of.upstream, database)
        && let Some(idle) = database.idle
        && report.parts.iter().any(|part| part.interval <= idle.suspends_after.as_secs_f64())
    {
        remarks.push(format!(
            "an endpoint that asks the database {} keeps it awake with each probe, although `idle` would let it suspend; give \
             this source an `interval` well above {}, or an endpoint that asks no database",
            database.name,
            crate::duration::format(idle.suspends_after),
        ));
    }
    remarks
}

fn host_of(of: &SourceSettings) -> String {
    let shown = address::shown(&of.url);
    let rest = shown.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default().to_ascii_lowercase()
}

/// Seconds, to the minute where there are many.
fn about(seconds: f64) -> String {
    let unit = if seconds < 120.0 { 1.0 } else { 60.0 };
    length((seconds / unit).round() * unit)
}

/// Seconds as people write them.
fn length(seconds: f64) -> String {
    crate::duration::format(Duration::from_secs_f64(seconds.max(0.0)))
}

/// A number with as few decimals as tell it.
fn number(of: f64) -> String {
    if (of - of.round()).abs() < 0.05 { grouped(of.round() as u64) } else { format!("{of:.1}") }
}

/// A whole number in groups of three digits.
fn grouped(of: u64) -> String {
    let digits = of.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
