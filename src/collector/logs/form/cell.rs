//! Cells of rows: where the value of each column comes from, and what is made of it.
//!
//! A cell is borrowed from the line or from the pack's words wherever it can be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Captures, Regex};
use serde_json::Value;

use super::condition::UNKNOWN;
use super::field::{self, Field};
use crate::collector::snapshot::scaled;
use crate::pack::OneOrMany;
use crate::pack::expression;
use crate::pack::logs::{Column, FullColumn, LineForm};
use crate::source::instant;
use crate::source::logs::LogLine;

/// The cells of one form's rows, in the order of the columns asked for.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    cells: Vec<Cell>,
    need_captures: bool,
}

#[derive(Debug, Clone)]
struct Cell {
    origin: Origin,
    made: Option<Arc<Made>>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// The form has no such column.
    Nothing,
    Level,
    Time,
    Json(Vec<Field>),
    Record(Vec<Field>),
    Item(Vec<Field>),
    Count(Field),
    Capture(usize),
    Constant(String),
}

/// What is made of a value.
#[derive(Debug)]
struct Made {
    scale: Option<f64>,
    map: BTreeMap<String, String>,
    classes: Vec<(Regex, String)>,
    otherwise: Option<String>,
    missing: Option<String>,
}

impl Cells {
    /// # Errors
    /// When an expression is none.
    pub(super) fn new(form: &LineForm, pattern: Option<&Regex>, columns: &[String]) -> Result<Self, String> {
        let capture = |name: &str| {
            let number = pattern?.capture_names().position(|capture| capture == Some(name))?;
            Some(Origin::Capture(number))
        };
        let plain = |origin| Cell { origin, made: None };
        let cell = |name: &String| {
            Ok(match (form.columns.get(name), name.as_str()) {
                (Some(Column::Json(field)), _) => plain(Origin::Json(vec![Field::new(field)])),
                (Some(Column::Full(full)), _) => {
                    let captured = || full.capture.as_deref().and_then(capture);
                    Cell { origin: origin(full).or_else(captured).unwrap_or(Origin::Nothing), made: made(full)? }
                }
                (None, "level") => plain(Origin::Level),
                (None, "time") => plain(Origin::Time),
                (None, name) => plain(capture(name).unwrap_or(Origin::Nothing)),
            })
        };
        let cells = columns.iter().map(cell).collect::<Result<Vec<Cell>, String>>()?;
        let need_captures = cells.iter().any(|cell| matches!(cell.origin, Origin::Capture(_)));
        Ok(Cells { cells, need_captures })
    }

    /// Whether a cell is what the expression captured.
    pub(super) fn need_captures(&self) -> bool {
        self.need_captures
    }

    /// One row; `item` is the element that it is made of.
    pub(super) fn of<'l>(
        &self,
        line: &'l LogLine,
        captures: Option<&Captures<'l>>,
        item: Option<&'l Value>,
    ) -> Vec<Option<Cow<'l, str>>> {
        self.cells.iter().map(|cell| cell.of(line, captures, item)).collect()
    }
}

fn origin(full: &FullColumn) -> Option<Origin> {
    let fields = |names: &OneOrMany| names.as_slice().iter().map(|name| Field::new(name)).collect();
    let json = full.json.as_ref().map(|names| Origin::Json(fields(names)));
    let record = || full.record.as_ref().map(|names| Origin::Record(fields(names)));
    let item = || full.item.as_ref().map(|names| Origin::Item(fields(names)));
    let count = || full.count.as_deref().map(|list| Origin::Count(Field::new(list)));
    let constant = || full.constant.clone().map(Origin::Constant);
    json.or_else(record).or_else(item).or_else(count).or_else(constant)
}

fn made(full: &FullColumn) -> Result<Option<Arc<Made>>, String> {
    let classes = full.classify.iter();
    let classes = classes.map(|class| Ok((expression::compile(&class.pattern)?, class.name.clone())));
    let made = Made {
        scale: full.scale,
        map: full.map.clone(),
        classes: classes.collect::<Result<_, String>>()?,
        otherwise: full.otherwise.clone(),
        missing: full.missing.clone(),
    };
    let does_something =
        made.scale.is_some() || !made.map.is_empty() || !made.classes.is_empty() || made.missing.is_some();
    Ok(does_something.then(|| Arc::new(made)))
}

impl Cell {
    fn of<'l>(
        &self,
        line: &'l LogLine,
        captures: Option<&Captures<'l>>,
        item: Option<&'l Value>,
    ) -> Option<Cow<'l, str>> {
        let first = |fields: &[Field], value: Option<&'l Value>| {
            fields.iter().find_map(|field| field.of(value?).and_then(field::text))
        };
        let value = match &self.origin {
            Origin::Nothing => None,
            Origin::Level => Some(Cow::Borrowed(line.level.map_or(UNKNOWN, |level| level.as_str()))),
            Origin::Time => line.time.and_then(instant::format_exact).map(Cow::Owned),
            Origin::Json(fields) => first(fields, line.json.as_ref()),
            Origin::Record(fields) => first(fields, line.record()),
            Origin::Item(fields) => first(fields, item),
            Origin::Count(list) => {
                let list = line.json.as_ref().and_then(|json| list.of(json)).and_then(Value::as_array);
                list.map(|list| Cow::Owned(list.len().to_string()))
            }
            Origin::Capture(number) => captures?.get(*number).map(|found| Cow::Borrowed(found.as_str())),
            Origin::Constant(constant) => Some(Cow::Owned(constant.clone())),
        };
        match &self.made {
            Some(made) => value.and_then(|value| made.of(value)).or_else(|| made.missing.clone().map(Cow::Owned)),
            None => value,
        }
    }
}

impl Made {
    fn of<'l>(&self, value: Cow<'l, str>) -> Option<Cow<'l, str>> {
        let value = match (self.scale, value) {
            (None, value) => value,
            (scale, Cow::Borrowed(text)) => scaled(text, scale),
            (scale, Cow::Owned(text)) => Cow::Owned(scaled(&text, scale).into_owned()),
        };
        let mapped = self.map.get(&*value);
        let class = || self.classes.iter().find(|(pattern, _)| pattern.is_match(&value)).map(|(_, name)| name);
        let becomes = mapped.or_else(class);
        if self.map.is_empty() && self.classes.is_empty() {
            return Some(value);
        }
        match becomes.or(self.otherwise.as_ref()) {
            Some(becomes) => Some(Cow::Owned(becomes.clone())),
            // A text that may hold anything goes nowhere; one that the map does not name is one word more.
            None => self.classes.is_empty().then_some(value),
        }
    }
}
