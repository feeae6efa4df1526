//! The front page: one HTML page without scripts or outside parts, for whoever gets out of bed.
//!
//! Every word that comes from elsewhere is escaped.

use std::fmt::Write as _;

use super::status::{Collector, Source, Status, Verdict};
use crate::family::Micros;

/// A run that should have begun so many microseconds ago is overdue: others of its source have their turn first, but
/// none takes a minute.
const OVERDUE: Micros = 60 * 1_000_000;
const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn render(status: &Status) -> String {
    let (class, word) = match status.verdict {
        Verdict::Ok => ("ok", "All is well"),
        Verdict::Starting => ("waiting", "Starting"),
        Verdict::Degraded => ("warn", "Degraded"),
        Verdict::Failing => ("bad", "Nothing is read"),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{word} · Rowmetry</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Rowmetry</h1>\n<nav><a href=\"/metrics\">/metrics</a> <a href=\"/healthz\">/healthz</a> \
         <a href=\"/readyz\">/readyz</a> <a href=\"/api/status\">/api/status</a></nav>\n</header>\n\
         <section class=\"verdict {class}\"><strong>{word}</strong><span>{}</span></section>\n",
        escape(&status.summary)
    );
    for one in &status.sources {
        source(one, status.now, &mut page);
    }
    let _ = write!(
        page,
        "<footer>Version {} · as of {} · refreshes every 5 s</footer>\n</body>\n</html>\n",
        escape(&status.version),
        escape(&status.time)
    );
    page
}

fn source(source: &Source, now: Micros, page: &mut String) {
    let _ = write!(page, "<section class=\"source\">\n<h2>{}</h2>\n<p class=\"about\">", escape(&source.name));
    if !source.system.is_empty() {
        let what = if source.lines.is_some() { " drain" } else { "" };
        let _ = write!(page, "{}{what} · ", escape(&source.system));
    }
    match (source.packs.as_slice(), source.settled) {
        ([], true) => page.push_str("no pack applies"),
        ([], false) => page.push_str("which packs apply is not known yet"),
        (packs, _) => {
            let _ = write!(page, "{} {}", if packs.len() == 1 { "pack" } else { "packs" }, escape(&packs.join(", ")));
        }
    }
    match (source.lines, source.last_line.as_deref()) {
        (None, _) => {}
        (Some(0), None) => page.push_str(" · no line yet"),
        (Some(lines), last) => {
            let word = if lines == 1 { "line" } else { "lines" };
            let last = moment(source.line_at, last, now, "before the start");
            let _ = write!(page, " · {} {word} since the start, last line {last}", grouped(lines));
        }
    }
    page.push_str("</p>\n");
    if let Some(note) = &source.note {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    if !source.collectors.is_empty() {
        page.push_str(
            "<table>\n<thead><tr><th>State</th><th>Collector</th><th>Last success</th>\
             <th class=\"n\" title=\"Rows of the last read, and of all reads\">Rows</th><th class=\"n\">Series</th>\
             <th class=\"n\" title=\"Age of the moment before which everything is settled\">Lag</th>\
             <th class=\"n\">Took</th><th>Next</th></tr></thead>\n<tbody>\n",
        );
        source.collectors.iter().for_each(|one| collector(one, source.lines.is_some(), now, page));
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("</section>\n");
}

fn collector(collector: &Collector, of_drain: bool, now: Micros, page: &mut String) {
    let class = match collector.state {
        "ok" => "ok",
        "waiting" => "waiting",
        "absent" => "warn",
        _ => "bad",
    };
    let rows = match (collector.rows, collector.rows_counted) {
        (Some(rows), Some(all)) => format!("+{} <small>of {}</small>", grouped(rows), grouped(all)),
        (Some(rows), None) => grouped(rows),
        (None, Some(all)) => grouped(all),
        (None, None) => "–".into(),
    };
    let _ = writeln!(
        page,
        "<tr class=\"{class}\"><td class=\"state\"><b class=\"badge {class}\">{}</b></td>\
         <td class=\"name\"><span class=\"pack\">{}/</span><wbr>{}<small>{}</small></td>\
         <td data-name=\"Last success\">{}</td><td class=\"n\" data-name=\"Rows\">{rows}</td>\
         <td class=\"n\" data-name=\"Series\">{}</td><td class=\"n\" data-name=\"Lag\">{}</td>\
         <td class=\"n\" data-name=\"Took\">{}</td><td data-name=\"Next\">{}</td></tr>",
        escape(&collector.state.replace('_', " ")),
        escape(&collector.pack),
        escape(&collector.name),
        escape(&collector.kind),
        moment(
            collector.success_at,
            collector.last_success.as_deref(),
            now,
            if of_drain { "no line yet" } else { "never" }
        ),
        collector.series.map_or_else(|| "–".into(), grouped),
        collector.horizon_lag.map_or_else(|| "–".into(), seconds),
        collector.duration.map_or_else(|| "–".into(), seconds),
        if of_drain { "as lines come".into() } else { next(collector, now) },
    );
    if let Some(message) = &collector.message {
        let reason = collector.reason.unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr class=\"{class} more\"><td></td><td colspan=\"7\"><code>{}</code> {}</td></tr>",
            escape(reason),
            escape(message)
        );
    }
    if let Some(note) = &collector.note {
        let _ = writeln!(page, "<tr class=\"more note\"><td></td><td colspan=\"7\">{}</td></tr>", escape(note));
    }
}

/// When the next run begins, or since when it should have.
fn next(collector: &Collector, now: Micros) -> String {
    let (Some(at), Some(iso)) = (collector.next_at, collector.next_run.as_deref()) else { return "–".into() };
    let late = now.saturating_sub(at);
    let text = match late {
        late if late < 0 => format!("in {}", age(-late)),
        late if late < OVERDUE => "due".into(),
        late => format!("<span class=\"note\">{} overdue</span>", age(late)),
    };
    format!("<time datetime=\"{0}\" title=\"{0}\">{text}</time>", escape(iso))
}

/// A time in the past relative to now, with the exact one as a title.
fn moment(at: Option<Micros>, iso: Option<&str>, now: Micros, unknown: &str) -> String {
    let (Some(at), Some(iso)) = (at, iso) else { return unknown.into() };
    let past = now.saturating_sub(at);
    let text = if past < 1_000_000 { "now".into() } else { format!("{} ago", age(past)) };
    format!("<time datetime=\"{0}\" title=\"{0}\">{text}</time>", escape(iso))
}

/// A length of time in whole seconds or more.
fn age(micros: Micros) -> String {
    seconds(if micros < 10_000_000 { (micros as f64 / 1e6).ceil().max(1.0) } else { micros as f64 / 1e6 })
}

/// A length of time in one or two units.
fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", (s * 1000.0).max(0.0)),
        s if s < 10.0 && s.fract() != 0.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{whole} s"),
        s if s < 7200.0 => format!("{} min", whole / 60),
        s if s < 172_800.0 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days", whole / 86_400),
    }
}

/// `1 234 567`, with thin spaces.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Board, CollectorId};
    use crate::telemetry::{Failure, Reason};

    #[test]
    fn nothing_from_elsewhere_becomes_markup() {
        let nasty = "<script>alert('1')</script>\"&";
        let board = Board::new();
        board.collector(&CollectorId::new(nasty, nasty, nasty), |status| {
            status.kind = nasty.into();
            status.state = Some(Reason::BadQuery.state());
            status.failure = Some(Failure::new(Reason::BadQuery, nasty));
            status.note = Some(nasty.into());
        });
        board.update(|view| view.sources.insert(nasty.into(), Default::default()));
        board.update(|view| view.sources.values_mut().for_each(|source| source.note = Some(nasty.into())));
        let page = render(&Status::of(&board.view(), nasty, 0));
        assert!(!page.contains("<script"), "{page}");
        assert!(page.matches("&lt;script&gt;alert(&#39;1&#39;)").count() >= 7, "{page}");
    }

    #[test]
    fn a_drain_tells_when_its_last_line_came() {
        let board = Board::new();
        let page = |board: &Board| render(&Status::of(&board.view(), "1", 100_000_000));
        let drain = |lines, last_line| crate::store::SourceStatus {
            system: "vercel".into(),
            packs: vec!["shop".into()],
            settled: true,
            lines: Some(lines),
            last_line,
            note: None,
        };
        board.collector(&CollectorId::new("functions", "shop", "mails"), |status| {
            status.kind = "logs".into();
            status.state = Some(crate::telemetry::State::Ok);
        });
        board.update(|view| view.sources.insert("functions".into(), drain(0, None)));
        let quiet = page(&board);
        assert!(quiet.contains("vercel drain · pack shop · no line yet</p>"), "{quiet}");
        assert!(quiet.contains("<td data-name=\"Last success\">no line yet</td>"), "{quiet}");
        assert!(quiet.contains("<td data-name=\"Next\">as lines come</td>"), "{quiet}");
        assert!(quiet.contains("All is well"), "{quiet}");
        board.update(|view| view.sources.insert("functions".into(), drain(1234, Some(88_000_000))));
        let told = page(&board);
        assert!(told.contains("1\u{202f}234 lines since the start, last line <time"), "{told}");
        assert!(told.contains(">12 s ago</time></p>"), "{told}");
        board.update(|view| view.sources.insert("functions".into(), drain(0, Some(88_000_000))));
        assert!(page(&board).contains("0 lines since the start, last line <time"), "known from the state");
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        for (s, expected) in [
            (0.0123, "12 ms"),
            (1.25, "1.2 s"),
            (65.0, "65 s"),
            (600.0, "10 min"),
            (7300.0, "2 h 1 min"),
            (1e6, "11 days"),
        ] {
            assert_eq!(seconds(s), expected);
        }
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert!(moment(Some(0), Some("x"), 90_000_000, "never").contains("90 s ago"));
        let due = |next_at| {
            next(&Collector { next_at: Some(next_at), next_run: Some("x".into()), ..Collector::default() }, 0)
        };
        assert!(due(30_000_000).contains("in 30 s"));
        assert!(due(-30_000_000).contains(">due<"));
        assert!(due(-300_000_000).contains("5 min overdue"));
        assert_eq!(moment(None, None, 0, "never"), "never");
    }
}
