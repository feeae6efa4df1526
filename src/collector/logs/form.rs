//! The forms of line that a pack looks for, made ready: a line in, the cells of its rows out.
//!
//! Expressions run in linear time; nothing here counts anything, and no text is kept.

mod cell;
mod condition;
mod field;

use std::borrow::Cow;

use crate::pack::expression;
use crate::pack::logs::{LineForm, RunPart};
use crate::source::logs::LogLine;
use cell::Cells;
use condition::Conditions;
use field::Field;
use regex::Regex;

/// Rows that one line may make. Elements of a list beyond it are left out and told, so that a line of many megabytes cannot
/// hold up those after it; a batch of so many is none that an application logs.
pub const ROWS_PER_LINE: usize = 1_000;

/// The forms of one collector, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Forms {
    forms: Vec<Form>,
}

/// What a line is to a collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted<'l> {
    /// Which part of a run it is.
    pub run: Option<RunPart>,
    /// The rows that it makes: cells in the order of the columns asked for. A line that begins a run has one row too, of what
    /// it tells; it is for the end to count it.
    pub rows: Vec<Vec<Option<Cow<'l, str>>>>,
    /// Elements of the list that made no row because there were more than [`ROWS_PER_LINE`].
    pub left_out: usize,
}

#[derive(Debug, Clone)]
struct Form {
    conditions: Conditions,
    pattern: Option<Regex>,
    skip: bool,
    run: Option<RunPart>,
    each: Option<Field>,
    cells: Cells,
}

impl Forms {
    /// Makes forms ready; a row has a cell for each of these columns, in their order. A column that a form does not have is NULL
    /// in its rows. Every line has `level` and `time` (as ISO 8601 in UTC; NULL when nothing tells).
    ///
    /// # Errors
    /// When an expression is none; lint has told so before.
    pub fn new(forms: &[LineForm], columns: &[String]) -> Result<Self, String> {
        let forms = forms.iter().map(|form| {
            let pattern = form.pattern.as_deref().map(expression::compile).transpose()?;
            Ok(Form {
                conditions: Conditions::new(form),
                skip: form.skip,
                run: form.run,
                each: form.each.as_deref().map(Field::new),
                cells: Cells::new(form, pattern.as_ref(), columns)?,
                pattern,
            })
        });
        Ok(Forms { forms: forms.collect::<Result<_, String>>()? })
    }

    /// The first form that the line has, unless that says to skip it.
    pub fn fit<'l>(&self, line: &'l LogLine) -> Option<Fitted<'l>> {
        let form = self.forms.iter().find(|form| form.has(line))?;
        if form.skip {
            return None;
        }
        let (rows, left_out) = form.rows(line);
        Some(Fitted { run: form.run, rows, left_out })
    }
}

impl Forms {
    /// How many rows a line may make, whichever form it has.
    pub fn rows_at_most(&self, line: &LogLine) -> usize {
        let lists = self.forms.iter().filter_map(|form| elements(form.each.as_ref()?, line));
        lists.map(|elements| elements.len().min(ROWS_PER_LINE)).fold(1, usize::max)
    }
}

impl Form {
    /// Whether the line has this form. What costs least is asked first: most lines have another.
    fn has(&self, line: &LogLine) -> bool {
        self.conditions.hold(line) && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&line.text))
    }

    fn rows<'l>(&self, line: &'l LogLine) -> (Vec<Vec<Option<Cow<'l, str>>>>, usize) {
        let captures = self.pattern.as_ref().filter(|_| self.cells.need_captures());
        let captures = captures.and_then(|pattern| pattern.captures(&line.text));
        let Some(each) = &self.each else {
            return (vec![self.cells.of(line, captures.as_ref(), None)], 0);
        };
        let elements = elements(each, line).unwrap_or_default();
        let rows = elements.iter().take(ROWS_PER_LINE);
        let rows = rows.map(|element| self.cells.of(line, captures.as_ref(), Some(element))).collect();
        (rows, elements.len().saturating_sub(ROWS_PER_LINE))
    }
}

fn elements<'l>(each: &Field, line: &'l LogLine) -> Option<&'l [serde_json::Value]> {
    Some(each.of(line.json.as_ref()?)?.as_array()?.as_slice())
}

#[cfg(test)]
mod tests;
