//! The report for people: short lines, marks at their beginning, the mend beside the fault.
//!
//! It is a pure function of the report. Colours are asked for by the caller, who knows whether a person looks.

use std::fmt::Write;

use super::{
    CollectorReport, DrainReport, FailureReport, FindingReport, OtlpReport, PersonalData, Report, SeriesEstimate,
    SourceReport, SpendReport,
};

/// Writes the report. `colour` adds terminal colours and changes no word.
pub(super) fn text(report: &Report, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    for source in &report.sources {
        page.source(source);
    }
    for drain in &report.drains {
        page.drain(drain);
    }
    page.otlp(&report.otlp);
    page.summary(report);
    page.text
}

#[derive(Clone, Copy)]
enum Mark {
    Fine,
    Remark,
    Stopped,
    Quiet,
}

impl Mark {
    /// Word and terminal colour.
    fn style(self) -> (&'static str, &'static str) {
        match self {
            Mark::Fine => ("fine", "32"),
            Mark::Remark => ("remark", "33"),
            Mark::Stopped => ("STOPPED", "31;1"),
            Mark::Quiet => ("skipped", "2"),
        }
    }
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn source(&mut self, source: &SourceReport) {
        let name = self.painted(&source.source, "1");
        self.line(0, &format!("{name}  {} ({})", source.address, source.system));
        for pack in &source.packs {
            self.line(1, &format!("pack {}: {}", self.painted(&pack.pack, "1"), pack.title));
            for collector in &pack.collectors {
                self.collector(collector);
            }
        }
        if let Some(spend) = &source.spend {
            self.spend(spend);
        }
        if let Some(failure) = &source.failure {
            self.failure(1, failure);
        }
        if let Some(note) = &source.note {
            self.marked(1, Mark::Stopped, note);
        }
        if let Some(role) = &source.role {
            self.line(0, "");
            self.line(1, "The role that may read just this:");
            self.line(0, "");
            for line in role.lines() {
                self.line(2, line);
            }
        }
        self.line(0, "");
    }

    fn drain(&mut self, drain: &DrainReport) {
        let name = self.painted(&drain.drain, "1");
        let place = match (&drain.path, &drain.listen) {
            (Some(path), Some(listen)) => format!("{listen}{path} "),
            _ => String::new(),
        };
        self.line(0, &format!("{name}  {place}({} drain)", drain.kind));
        for fact in &drain.facts {
            self.line(1, fact);
        }
        for pack in drain.packs.iter().flatten() {
            self.line(1, &format!("pack {}: {}", self.painted(&pack.pack, "1"), pack.title));
            for collector in &pack.collectors {
                self.collector(collector);
            }
        }
        if !drain.sender.is_empty() {
            let title = self.painted("what to set where lines are sent from", "1");
            self.line(1, &title);
            for line in &drain.sender {
                self.line(2, line);
            }
        }
        for FindingReport { fatal, message, .. } in &drain.findings {
            self.marked(1, if *fatal { Mark::Stopped } else { Mark::Remark }, message);
        }
        self.line(0, "");
    }

    fn collector(&mut self, collector: &CollectorReport) {
        let mark = match collector {
            CollectorReport { skipped: true, .. } => Mark::Quiet,
            stopped if stopped.is_stopped() => Mark::Stopped,
            remarked if remarked.has_remarks() => Mark::Remark,
            _ => Mark::Fine,
        };
        self.marked(2, mark, &collector.collector);
        for fact in &collector.facts {
            self.line(4, fact);
        }
        for series in &collector.series {
            let text = series_text(series, collector.sampled);
            if series.overflows() {
                self.line(
                    4,
                    &format!("! {text}; raise `series_limit` or `limits.series_per_metric`, or take a coarser label"),
                );
            } else {
                self.line(4, &text);
            }
        }
        for personal in &collector.personal {
            self.line(4, &format!("! {}", personal_text(personal, collector.sampled)));
        }
        for finding in &collector.findings {
            self.line(4, &format!("! {}", finding.message));
            for line in finding.sql.iter().flat_map(|sql| sql.lines()) {
                self.line(5, line);
            }
        }
        if let Some(failure) = &collector.failure {
            self.failure(4, failure);
        }
    }

    fn spend(&mut self, spend: &SpendReport) {
        let title = self.painted("what it costs", "1");
        self.line(1, &title);
        for line in spend.lines() {
            self.line(2, &line);
        }
        for remark in &spend.remarks {
            self.line(2, &format!("! {remark}"));
        }
    }

    fn otlp(&mut self, otlp: &OtlpReport) {
        if otlp.sends.is_empty() && otlp.warnings.is_empty() {
            return;
        }
        let title = self.painted("what is sent by OTLP", "1");
        self.line(0, &title);
        for line in &otlp.sends {
            self.line(1, line);
        }
        for warning in &otlp.warnings {
            self.line(1, &format!("! {warning}"));
        }
        self.line(0, "");
    }

    fn failure(&mut self, indent: usize, failure: &FailureReport) {
        self.line(indent, &format!("! {}: {}", failure.reason, failure.message));
    }

    fn summary(&mut self, report: &Report) {
        let of_drains = || report.drains.iter().flat_map(|drain| &drain.packs).flatten();
        let packs = || report.sources.iter().flat_map(|source| &source.packs).chain(of_drains());
        let collectors = || packs().flat_map(|pack| &pack.collectors);
        let active = || collectors().filter(|collector| !collector.skipped);
        let stopped = active().filter(|collector| collector.is_stopped()).count();
        let remarked = active().filter(|collector| !collector.is_stopped() && collector.has_remarks()).count();
        let unreached = report.sources.iter().filter(|source| source.failure.is_some()).count();
        let mut parts = vec![format!("{} fine", active().count() - stopped - remarked)];
        for (count, what) in [(remarked, "with remarks"), (stopped, "stopped")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let mut sources = plural(report.sources.len(), "source");
        if !report.drains.is_empty() {
            let _ = write!(sources, ", {}", plural(report.drains.len(), "drain"));
        }
        let mut line = format!("{sources}, {}: {}", plural(active().count(), "collector"), parts.join(", "));
        if unreached > 0 {
            let _ = write!(line, "; {} out of reach", plural(unreached, "source"));
        }
        let (lost, told): (Vec<_>, Vec<_>) =
            report.drains.iter().filter(|drain| !drain.findings.is_empty()).partition(|drain| drain.is_stopped());
        for (drains, what) in [(told, "with remarks"), (lost, "stopped")] {
            if !drains.is_empty() {
                let _ = write!(line, "; {} {what}", plural(drains.len(), "drain"));
            }
        }
        line.push('.');
        self.line(0, &line);
    }

    fn marked(&mut self, indent: usize, mark: Mark, text: &str) {
        let (word, code) = mark.style();
        let padded = format!("{word:<8}");
        let padded = self.painted(&padded, code);
        self.line(indent, &format!("{padded}{text}"));
    }

    fn painted(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&mut self, indent: usize, text: &str) {
        let line = format!("{}{text}", "  ".repeat(indent));
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

fn series_text(series: &SeriesEstimate, sampled: usize) -> String {
    let SeriesEstimate { metric, seen, estimate, limit } = series;
    match estimate {
        Some(estimate) if estimate > seen => {
            format!("{metric}: about {estimate} series ({seen} in a sample of {sampled} rows; at most {limit})")
        }
        Some(_) => {
            format!("{metric}: {seen} series in a sample of {sampled} rows, and no sign of more (at most {limit})")
        }
        None => format!("{metric}: {seen} series (at most {limit})"),
    }
}

fn personal_text(personal: &PersonalData, sampled: usize) -> String {
    let PersonalData { metric, part, label, kind, rows } = personal;
    let looks = match *kind {
        "email" => "an e-mail address",
        "token" => "a key or token",
        "ip" => "an IP address",
        "id" => "an identifier",
        "long" => "a text too long for a label",
        other => other,
    };
    let mend = match (*kind, *part) {
        ("id", "label" | "attribute") => format!("; if it names no person, add `allow: [ids]` to the {part}"),
        _ => String::new(),
    };
    let fate = if *kind == "long" { "cut" } else { "replaced" };
    let (span, part) = match *part {
        "label" => ("", "label"),
        "name" => ("span ", "column"),
        part => ("span ", part),
    };
    format!(
        "{span}{metric}: {part} {label} looks like {looks} in {rows} of {sampled} rows; such values are {fate}{mend}"
    )
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
