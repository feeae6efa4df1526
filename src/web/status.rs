//! How everything fares, as the front page and `/api/status` show it.
//!
//! It only words what the board holds; it measures nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::family::Micros;
use crate::store::CollectorStatus;
use crate::store::board::BoardView;
use crate::telemetry::State;

/// Everything that the front page shows.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The version.
    pub version: String,
    /// When this was true, in ISO 8601.
    pub time: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in a sentence.
    pub summary: String,
    /// Every source, by name.
    pub sources: Vec<Source>,
    #[serde(skip)]
    pub(super) now: Micros,
}

/// The verdict on the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is read.
    Ok,
    /// Something has not run yet, and nothing failed.
    Starting,
    /// Something is not read, and something is.
    Degraded,
    /// Nothing is read.
    Failing,
}

/// One source or drain.
#[derive(Debug, Default, Serialize)]
pub struct Source {
    /// The operator's name.
    pub name: String,
    /// What it is, in a word: `postgres`, `redis`; of a drain its kind, such as `vercel`.
    pub system: String,
    /// Packs that apply.
    pub packs: Vec<String>,
    /// What an operator should know.
    pub note: Option<String>,
    /// Whether the packs are known.
    pub settled: bool,
    /// Lines that came since the start; of drains alone.
    pub lines: Option<u64>,
    /// When the last line came, in ISO 8601.
    pub last_line: Option<String>,
    /// Its collectors: those in trouble first.
    pub collectors: Vec<Collector>,
    #[serde(skip)]
    pub(super) line_at: Option<Micros>,
}

/// One collector.
#[derive(Debug, Default, Serialize)]
pub struct Collector {
    /// The pack.
    pub pack: String,
    /// Its name in the pack.
    pub name: String,
    /// What kind of reading it is.
    pub kind: String,
    /// State; `waiting` before the first run.
    pub state: &'static str,
    /// The reason of the failure, from the closed list.
    pub reason: Option<&'static str>,
    /// What happened and what to do.
    pub message: Option<String>,
    /// What an operator should know although the run succeeded.
    pub note: Option<String>,
    /// ISO 8601.
    pub last_run: Option<String>,
    /// ISO 8601.
    pub last_success: Option<String>,
    /// ISO 8601.
    pub next_run: Option<String>,
    /// Seconds.
    pub duration: Option<f64>,
    /// Rows of the last successful run.
    pub rows: Option<u64>,
    /// Rows counted since the state began.
    pub rows_counted: Option<u64>,
    /// Seconds.
    pub horizon_lag: Option<f64>,
    /// Series published.
    pub series: Option<u64>,
    #[serde(skip)]
    pub(super) success_at: Option<Micros>,
    #[serde(skip)]
    pub(super) next_at: Option<Micros>,
}

impl Status {
    /// Words a board at a time.
    pub fn of(view: &BoardView, version: &str, now: Micros) -> Self {
        let mut sources: BTreeMap<&str, Source> = BTreeMap::new();
        for (name, source) in &view.sources {
            sources.insert(
                name,
                Source {
                    name: name.to_string(),
                    system: source.system.clone(),
                    packs: source.packs.clone(),
                    note: source.note.clone(),
                    settled: source.settled,
                    lines: source.lines,
                    last_line: source.last_line.map(iso),
                    collectors: Vec::new(),
                    line_at: source.last_line,
                },
            );
        }
        for (id, status) in &view.collectors {
            let source = sources.entry(&id.source).or_insert_with(|| Source {
                name: id.source.to_string(),
                packs: vec![id.pack.to_string()],
                settled: true,
                ..Source::default()
            });
            source.collectors.push(collector(&id.pack, &id.collector, status));
        }
        let mut sources: Vec<Source> = sources.into_values().collect();
        for source in &mut sources {
            source.collectors.sort_by_key(|collector| match collector.state {
                "ok" => 2,
                "waiting" => 1,
                _ => 0,
            });
        }
        let (verdict, summary) = verdict(&sources);
        Status { version: version.into(), time: iso(now), verdict, summary, sources, now }
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("names and numbers are valid JSON")
    }
}

fn collector(pack: &str, name: &str, status: &CollectorStatus) -> Collector {
    Collector {
        pack: pack.into(),
        name: name.into(),
        kind: status.kind.clone(),
        state: status.state.map_or("waiting", State::as_str),
        reason: status.failure.as_ref().map(|failure| failure.reason.as_str()),
        message: status.failure.as_ref().map(|failure| failure.message.clone()),
        note: status.note.clone(),
        last_run: status.last_run.map(iso),
        last_success: status.last_success.map(iso),
        next_run: status.next_run.map(iso),
        duration: status.duration,
        rows: status.rows,
        rows_counted: status.rows_counted,
        horizon_lag: status.horizon_lag,
        series: status.series,
        success_at: status.last_success,
        next_at: status.next_run,
    }
}

fn verdict(sources: &[Source]) -> (Verdict, String) {
    let states = || sources.iter().flat_map(|source| &source.collectors).map(|collector| collector.state);
    let all = states().count();
    let ok = states().filter(|state| *state == "ok").count();
    let waiting = states().filter(|state| *state == "waiting").count();
    let failing = all - ok - waiting;
    let unknown = sources.iter().filter(|source| !source.settled && source.note.is_none()).count();
    let troubled = sources.iter().filter(|source| source.collectors.is_empty() && source.note.is_some()).count();
    if sources.is_empty() {
        return (Verdict::Failing, "No source is configured, so nothing is read.".into());
    }
    if failing + troubled > 0 {
        let mut parts = Vec::new();
        if failing > 0 {
            parts.push(format!("{failing} of {all} collectors {} not read", if failing == 1 { "is" } else { "are" }));
        }
        if troubled > 0 {
            let verb = if troubled == 1 { "source gives" } else { "sources give" };
            parts.push(format!("{troubled} {verb} nothing"));
        }
        let verdict = if ok == 0 && waiting == 0 { Verdict::Failing } else { Verdict::Degraded };
        return (verdict, format!("{}.", parts.join("; ")));
    }
    if waiting + unknown > 0 {
        return (Verdict::Starting, format!("{ok} of {all} collectors have been read; the others follow."));
    }
    (Verdict::Ok, format!("All {all} collectors were read."))
}

fn iso(micros: Micros) -> String {
    Timestamp::from_microsecond(micros - micros.rem_euclid(1_000_000))
        .map_or_else(|_| micros.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::board::SourceStatus;
    use crate::store::{Board, CollectorId};

    #[test]
    fn the_verdict_follows_the_worst() {
        let board = Board::new();
        let verdict = |board: &Board| Status::of(&board.view(), "1", 0).verdict;
        assert_eq!(verdict(&board), Verdict::Failing, "nothing is configured");
        board.update(|view| view.sources.insert("main".into(), SourceStatus::default()));
        assert_eq!(verdict(&board), Verdict::Starting);
        board.update(|view| view.sources.insert("main".into(), SourceStatus { settled: true, ..Default::default() }));
        let (a, b) = (CollectorId::new("main", "p", "a"), CollectorId::new("main", "p", "b"));
        board.collector(&a, |status| status.state = Some(State::Ok));
        assert_eq!(verdict(&board), Verdict::Ok);
        board.collector(&b, |_| ());
        assert_eq!(verdict(&board), Verdict::Starting);
        board.collector(&b, |status| status.state = Some(State::Timeout));
        assert_eq!(verdict(&board), Verdict::Degraded);
        board.collector(&a, |status| status.state = Some(State::Absent));
        assert_eq!(verdict(&board), Verdict::Failing);
    }

    #[test]
    fn a_drain_without_lines_does_not_fail_and_others_have_none() {
        let board = Board::new();
        let drain = SourceStatus { settled: true, lines: Some(0), ..Default::default() };
        board.update(|view| view.sources.insert("functions".into(), drain.clone()));
        board.collector(&CollectorId::new("functions", "p", "a"), |status| status.state = Some(State::Ok));
        board.update(|view| view.sources.insert("main".into(), SourceStatus { settled: true, ..Default::default() }));
        let status = Status::of(&board.view(), "1", 0);
        assert_eq!(status.verdict, Verdict::Ok);
        let json: serde_json::Value = serde_json::from_slice(&status.to_json()).expect("JSON");
        assert_eq!(json["sources"][0]["lines"], 0);
        assert_eq!(json["sources"][0]["last_line"], serde_json::Value::Null);
        assert_eq!(json["sources"][1]["lines"], serde_json::Value::Null);
        let spoken = SourceStatus { lines: Some(2), last_line: Some(1_767_225_600_000_000), ..drain };
        board.update(|view| view.sources.insert("functions".into(), spoken));
        let json: serde_json::Value =
            serde_json::from_slice(&Status::of(&board.view(), "1", 0).to_json()).expect("JSON");
        assert_eq!(json["sources"][0]["last_line"], "2026-01-01T00:00:00Z");
    }
}
