//! What log lines cost: from a sender on the same machine into counters that were written down.
//!
//! Each run begins with an empty state directory, ends with the last answer, and is followed by a death: what the next life says is what was
//! answered, so a figure of counts that were not durable is none. The sender shares the cores; its requests were made before.

mod sender;
mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::parts::harness::guard::Folder;
use crate::parts::harness::{Exporter, Scrape, Setup, eventually, test_file};
use crate::reads::{PATIENCE, largest};
use crate::table::{Table, mebibytes, middle};
use sender::Sent;
use traffic::{Application, Packing, SECRET, TOKEN, Traffic, Way};

/// Lines that are posted a run: this part of the rows of the largest table, 200,000 unless set otherwise.
const PART: u64 = 25;
/// Lines of the file: this part, 1,000,000 unless set otherwise.
const FILE_PART: u64 = 5;
/// Runs of each case, in turn with the others.
const ROUNDS: usize = 3;
/// Lines a second that are aimed at.
const AIM: &str = "100000 lines/s";
/// Time between two looks at how far a file was read.
const LOOK: Duration = Duration::from_millis(50);

/// One way to send lines, and who counts them.
struct Case {
    what: &'static str,
    way: Way,
    packing: Packing,
    application: Application,
    /// Lines of a request.
    batch: usize,
    connections: usize,
}

const CASES: [Case; 7] = [
    Case::of("Vercel, a small pack", Way::Vercel, Application::Events),
    Case::of("Vercel, Promptcademy's", Way::Vercel, Application::Promptcademy),
    Case::of("Vercel, Mentor's", Way::Vercel, Application::Mentor),
    Case { packing: Packing::Gzip, ..Case::of("Vercel with gzip, a small pack", Way::Vercel, Application::Events) },
    Case::of("JSON lines, a small pack", Way::Http, Application::Events),
    Case {
        batch: 20,
        connections: 32,
        ..Case::of("JSON lines by 20 on 32 connections, a small pack", Way::Http, Application::Events)
    },
    Case::of("OTLP, a small pack", Way::Otlp, Application::Events),
];

impl Case {
    const fn of(what: &'static str, way: Way, application: Application) -> Case {
        Case { what, way, packing: Packing::Plain, application, batch: 1000, connections: 4 }
    }
}

/// One run.
struct Run {
    lines_a_second: f64,
    /// Seconds until requests were answered, sorted.
    answers: Vec<f64>,
    /// Seconds of both cores that the exporter had.
    busy: f64,
    /// The exporter's resident bytes at their peak.
    peak: f64,
    /// Requests that were told to come again later.
    again: usize,
}

/// Lines a second of each way to send them, and of a file that is followed.
pub async fn lines(table: &mut Table) {
    let count = (largest() / PART) as usize;
    let only = std::env::var("ROWMETRY_BENCH_LINES").unwrap_or_default();
    for case in CASES.iter().filter(|case| case.what.contains(&only)) {
        let traffic = Arc::new(Traffic::of(case.way, case.packing, case.application, count, case.batch));
        let mut runs = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(posted(case, &traffic).await);
        }
        let bytes = traffic.bytes_a_line();
        show(table, &format!("{count} lines of {bytes:.0} B, {}", case.what), traffic.lines, &runs);
    }
    if "a file".contains(&only) {
        let count = (largest() / FILE_PART) as usize;
        let mut runs = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(followed(count).await);
        }
        show(table, &format!("{count} lines, a file, a small pack"), count, &runs);
    }
}

fn show(table: &mut Table, what: &str, lines: usize, runs: &[Run]) {
    let median = |of: &dyn Fn(&Run) -> f64| middle(runs.iter().map(of));
    table.row(
        what,
        format!("{:.0} lines/s", median(&|run| run.lines_a_second)),
        format!("{:.2} µs of a core a line", median(&|run| run.busy) / lines as f64 * 1e6),
        AIM,
    );
    let part = |part: f64| move |run: &Run| run.answers[((run.answers.len() - 1) as f64 * part) as usize] * 1e3;
    let answered = match runs.iter().any(|run| run.answers.is_empty()) {
        true => String::new(),
        false => format!("answered in {:.1} ms, 99 % in {:.1} ms", median(&part(0.5)), median(&part(0.99))),
    };
    let again: usize = runs.iter().map(|run| run.again).sum();
    let again = if again > 0 { format!(", {again} told to come again") } else { String::new() };
    table.row("", answered, format!("at its peak {}{again}", mebibytes(median(&|run| run.peak))), "");
}

/// Posts everything to a new exporter.
async fn posted(case: &Case, traffic: &Arc<Traffic>) -> Run {
    let kind = match case.way {
        Way::Vercel => format!("kind: vercel, secret: {SECRET}"),
        Way::Http => format!("kind: http, token: {TOKEN}"),
        Way::Otlp => format!("kind: otlp, path: /v1/logs, token: {TOKEN}"),
    };
    let setup = setup(case.application, &kind);
    let exporter = setup.start().await;
    let before = exporter.process.busy_seconds();
    let Sent { seconds, answers, again } = sender::send(setup.address, traffic, case.connections).await;
    let busy = exporter.process.busy_seconds() - before;
    let [_, peak] = exporter.process.resident_bytes();
    check(&exporter.scrape().await, traffic);
    dies(&setup, exporter, traffic).await;
    Run { lines_a_second: traffic.lines as f64 / seconds, answers, busy, peak: peak as f64, again }
}

/// Lets a new exporter find a file.
async fn followed(count: usize) -> Run {
    let application = Application::Events;
    let folder = Folder::new("lines");
    let file = folder.path().join("app.log");
    let setup = setup(application, &format!("kind: file, file: \"{}\"", file.display()));
    let aside = file.with_extension("new");
    let traffic = Traffic::file(application, count, &aside);
    let exporter = setup.start().await;
    let before = exporter.process.busy_seconds();
    std::fs::rename(&aside, &file).expect("it is there");
    let counted = async || exporter.try_scrape().await.map(|scrape| scrape.sum("events_total", &[]));
    let (mut began, mut first) = (Instant::now(), 0.0);
    let mut pace = tokio::time::interval(LOOK);
    loop {
        pace.tick().await;
        let now = counted().await.unwrap_or_else(|e| panic!("{e}"));
        // It looks for a file that is not there but once a second.
        if first == 0.0 {
            (began, first) = (Instant::now(), now);
        }
        // The last line may go on, so it waits for a second.
        if now >= (count - 1) as f64 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{now} of {count}");
    }
    let seconds = began.elapsed().as_secs_f64();
    let busy = exporter.process.busy_seconds() - before;
    let [_, peak] = exporter.process.resident_bytes();
    eventually(PATIENCE, "the last line is counted", async || {
        let now = counted().await?;
        if now >= count as f64 { Ok(()) } else { Err(format!("{now}")) }
    })
    .await;
    check(&exporter.scrape().await, &traffic);
    dies(&setup, exporter, &traffic).await;
    let lines_a_second = (count as f64 - first) / seconds;
    Run { lines_a_second, answers: Vec::new(), busy, peak: peak as f64, again: 0 }
}

/// Ends the exporter without a warning; what was answered is there in its next life.
async fn dies(setup: &Setup, exporter: Exporter, traffic: &Traffic) {
    exporter.kill();
    drop(exporter);
    let exporter = setup.start().await;
    check(&exporter.scrape().await, traffic);
}

/// Every line counted once, and nothing else did.
fn check(scrape: &Scrape, traffic: &Traffic) {
    for (series, value) in &traffic.truth {
        let said = scrape.series.get(series);
        assert_eq!(said, Some(value), "{series}");
    }
    let fates: f64 =
        scrape.of("rowmetry_drain_lines_total", &[]).filter(|(_, lines)| *lines > 0.0).map(|(_, lines)| lines).sum();
    assert!(fates == 0.0 || fates == traffic.lines as f64, "{fates} lines came, not {}", traffic.lines);
}

fn setup(application: Application, kind: &str) -> Setup {
    let packs = test_file("../benches/system/packs");
    let app = application.pack();
    Setup::of_logs(&format!("{{drains: [{{name: app, packs: [{app}], {kind}}}]}}"))
        .with("packs", format!("[\"{}\"]", packs.display()))
}
