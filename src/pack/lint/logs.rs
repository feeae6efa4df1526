//! What `logs` must keep to, and which columns their lines offer to metrics and spans.
//!
//! It compiles expressions and compares words; no line is looked at.

mod form;

use super::{At, Lint, is_column, used_columns};
use crate::pack::logs::{Column, Expected, IN_FLIGHT, LineForm, Logs, RunPart, Runs, STARTED, Scalar};
use crate::pack::{Collector, Metric, OneOrMany};
use crate::yaml::did_you_mean;

/// Columns that every line has.
const OF_EVERY_LINE: [&str; 2] = ["level", "time"];

/// Columns that the lines of a collector with `runs` have too.
const OF_RUNS: [&str; 2] = [STARTED, IN_FLIGHT];

/// What the collector offers.
pub(super) fn columns<'p>(lint: &mut Lint<'_>, collector: &'p Collector, logs: &'p Logs, at: &At) -> Vec<&'p str> {
    for (key, given) in [("interval", collector.interval.is_some()), ("up", collector.up.is_some())] {
        if given {
            lint.complain(
                &at.key(key),
                format!("lines come by themselves and nothing is asked for them; remove `{key}`"),
            );
        }
    }
    let place = at;
    let at = at.key("logs");
    let lines = at.key("lines");
    if logs.lines.is_empty() {
        lint.complain(&lines, "there is no form of line, so nothing counts; `lines: [{}]` counts every line");
    }
    let used = used_columns(collector);
    let mut offered = OF_EVERY_LINE.to_vec();
    if logs.runs.is_some() {
        offered.extend(OF_RUNS);
    }
    for (index, line) in logs.lines.iter().enumerate() {
        let at = lines.key(&index.to_string());
        let captures = form::form(lint, line, logs.runs.is_some(), &at);
        if let Some(earlier) = logs.lines[..index].iter().position(|earlier| covers(earlier, line)) {
            let message = format!(
                "no line ever gets here: each fits form {} of the list too, and that is asked first; put this one before it",
                earlier + 1
            );
            lint.complain(&at, message);
        }
        unused(lint, logs, line, &captures, &used, &at);
        if !line.skip {
            offered.extend(captures.iter().filter_map(|capture| in_pattern(line, capture)));
            offered.extend(line.columns.keys().map(String::as_str));
        }
    }
    if let Some(runs) = &logs.runs {
        self::runs(lint, logs, runs, &used, &at.key("runs"));
        offered.extend(runs.lost.keys().map(String::as_str));
    }
    for (index, metric) in collector.metrics.iter().enumerate() {
        in_flight(lint, logs, metric, &place.key("metrics").key(&index.to_string()));
    }
    offered
}

/// The capture's name where it stands in the pattern, which lives as long as the pack.
fn in_pattern<'p>(line: &'p LineForm, capture: &str) -> Option<&'p str> {
    let pattern = line.pattern.as_deref()?;
    let at = pattern.find(&format!("<{capture}>"))? + 1;
    pattern.get(at..at + capture.len())
}

/// Whether a column takes the capture, so that it need not be one itself.
fn is_asked_for(line: &LineForm, capture: &str) -> bool {
    let takes = |column: &Column| matches!(column, Column::Full(full) if full.capture.as_deref() == Some(capture));
    line.columns.values().any(takes)
}

/// What is taken out of lines and goes nowhere.
fn unused(lint: &mut Lint<'_>, logs: &Logs, line: &LineForm, captures: &[String], used: &[&str], at: &At) {
    let id = logs.runs.as_ref().filter(|_| line.run.is_some()).map(|runs| runs.id.as_str());
    let goes_nowhere = |column: &str| !used.contains(&column) && id != Some(column);
    for column in line.columns.keys().filter(|column| goes_nowhere(column)) {
        let message = format!("neither a metric nor a span uses column `{column}`; remove it");
        lint.complain(&at.key("columns").key(column), message);
    }
    for capture in captures.iter().filter(|capture| goes_nowhere(capture) && !is_asked_for(line, capture)) {
        let message = format!(
            "neither a metric nor a span uses the capture `{capture}`; write `(?:…)` in place of `(?<{capture}>…)`"
        );
        lint.complain(&at.key("pattern"), message);
    }
}

/// Whether every line of the later form has the earlier one too. It may miss some, and is never wrong.
fn covers(earlier: &LineForm, later: &LineForm) -> bool {
    let words =
        |earlier: &Option<OneOrMany>, later: &Option<OneOrMany>, fits: fn(&str, &str) -> bool| match (earlier, later) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(earlier), Some(later)) => {
                later.as_slice().iter().all(|later| earlier.as_slice().iter().any(|earlier| fits(later, earlier)))
            }
        };
    let values = |earlier: &Expected, later: &Expected| {
        let is_any = |value: &Scalar| matches!(value, Scalar::Text(text) if text == form::ANY);
        later.as_slice().iter().all(|value| earlier.as_slice().iter().any(|known| is_any(known) || known == value))
    };
    let json = earlier.json.iter().all(|(field, one)| later.json.get(field).is_some_and(|other| values(one, other)));
    let record =
        earlier.record.iter().all(|(field, one)| later.record.get(field).is_some_and(|other| values(one, other)));
    json && record
        && words(&earlier.level, &later.level, |later, earlier| later == earlier)
        && words(&earlier.prefix, &later.prefix, |later, earlier| later.starts_with(earlier))
        && words(&earlier.contains, &later.contains, |later, earlier| later.contains(earlier))
        && (earlier.pattern.is_none() || earlier.pattern == later.pattern)
}

fn runs(lint: &mut Lint<'_>, logs: &Logs, runs: &Runs, used: &[&str], at: &At) {
    for (part, word) in [(RunPart::Start, "start"), (RunPart::End, "end")] {
        if !logs.lines.iter().any(|line| line.run == Some(part)) {
            lint.complain(at, format!("no form of line says `run: {word}`, so nothing can be joined"));
        }
    }
    for (index, line) in logs.lines.iter().enumerate().filter(|(_, line)| line.run.is_some() && !line.skip) {
        if !line.has_column(&runs.id) {
            let known = line.columns.keys().map(String::as_str);
            let suggestion = did_you_mean(&runs.id, known);
            let message = format!(
                "form {} of `lines` has `run` and no column `{}`, so it is not known which run it is{suggestion}",
                index + 1,
                runs.id
            );
            lint.complain(&at.key("id"), message);
        }
    }
    if runs.lost_after.is_zero() {
        lint.complain(&at.key("lost_after"), "expected a length of time above zero, such as `15m`");
    }
    let at = at.key("lost");
    for column in runs.lost.keys() {
        if !is_column(column) || column == "time" || OF_RUNS.contains(&column.as_str()) {
            lint.complain(&at.key(column), format!("`{column}` is not for `lost` to say; name a column of the lines"));
        } else if !used.contains(&column.as_str()) {
            let suggestion = did_you_mean(column, used.iter().copied());
            lint.complain(&at.key(column), format!("neither a metric nor a span uses column `{column}`{suggestion}"));
        }
    }
}

/// How many runs are under way is told by a gauge without labels.
fn in_flight(lint: &mut Lint<'_>, logs: &Logs, metric: &Metric, at: &At) {
    if logs.runs.is_none() {
        return;
    }
    let at = At { place: format!("{}: metric {}", at.place, metric.name()), ..at.clone() };
    let is_value = metric.value.as_deref() == Some(IN_FLIGHT);
    if !is_value && metric.labels.iter().any(|label| label.column() == IN_FLIGHT) {
        lint.complain(
            &at.key("labels"),
            "`in_flight` is a number of runs and no label; make it the `value` of a gauge",
        );
    }
    if !is_value {
        return;
    }
    if metric.gauge.is_none() {
        lint.complain(&at.key("value"), "`in_flight` says how things stand; make it a gauge");
        return;
    }
    if !metric.labels.is_empty() {
        let message = "of runs that have not ended only their number is known; remove the labels";
        lint.complain(&at.key("labels"), message);
    }
}

#[cfg(test)]
mod tests;
