//! The forms of line that a pack looks for, made ready: a line in, the cells of its rows out.
//!
//! Expressions run in linear time; nothing here counts anything.

use std::borrow::Cow;

use crate::pack::logs::{LineForm, RunPart};
use crate::source::logs::LogLine;

/// The forms of one collector, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Forms {}

/// What a line is to a collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted<'l> {
    /// Which part of a run it is.
    pub run: Option<RunPart>,
    /// The rows that it makes: cells in the order of the columns asked for.
    pub rows: Vec<Vec<Option<Cow<'l, str>>>>,
}

impl Forms {
    /// Makes forms ready; a row has a cell for each of these columns, in their order. A column that a form does not have is NULL
    /// in its rows. Every line has `level` and `time` (as ISO 8601 in UTC; NULL when nothing tells).
    ///
    /// # Errors
    /// When an expression is none; lint has told so before.
    pub fn new(forms: &[LineForm], columns: &[String]) -> Result<Self, String> {
        let _ = (forms, columns);
        Ok(Forms {})
    }

    /// The first form that the line has, unless that says to skip it.
    pub fn fit<'l>(&self, line: &'l LogLine) -> Option<Fitted<'l>> {
        let _ = line;
        None
    }
}
