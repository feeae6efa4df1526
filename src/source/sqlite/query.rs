//! The SQL that is sent: a pack's expressions within our own statements.
//!
//! Text only; nothing here runs a query. Names are always qualified, because SQLite takes a quoted name that no column
//! has for a piece of text.

use super::super::instant::format_time;
use super::super::{RowsQuery, SnapshotQuery};
use super::cells::Cell;
use crate::family::Micros;
use crate::pack::sql;
use crate::telemetry::{Failure, Reason};

/// Microseconds in a day.
const DAY: Micros = 86_400_000_000;

/// A statement as it grows, and the values of its placeholders.
#[derive(Debug, Default)]
pub struct Statement {
    /// The text.
    pub text: String,
    /// Values of `?1`, `?2`, …
    pub values: Vec<Cell>,
}

impl Statement {
    /// Adds a value, and gives its placeholder.
    pub fn value(&mut self, value: Cell) -> String {
        let known = self.values.iter().position(|known| *known == value);
        let index = known.unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        format!("?{}", index + 1)
    }

    /// A pack's SQL with its named parameters bound.
    ///
    /// # Errors
    /// When it names a parameter that the pack does not have.
    pub fn bound(&mut self, sql: &str, parameters: &[(String, f64)], now: Micros) -> Result<String, Failure> {
        let mut unknown = None;
        let bound = sql::bind(sql, |name| {
            let moment = sql::time_before(name).map(|before| {
                let before = Micros::try_from(before.as_micros()).unwrap_or(Micros::MAX);
                Cell::Text(format_time(now.saturating_sub(before)))
            });
            let number = || parameters.iter().find(|(known, _)| known == name).map(|(_, number)| Cell::Real(*number));
            match moment.or_else(number) {
                Some(value) => self.value(value),
                None => {
                    unknown = Some(name.to_owned());
                    "null".to_owned()
                }
            }
        });
        match unknown {
            None => Ok(bound),
            Some(name) => {
                let message =
                    format!("the pack's SQL names `:{name}`, which is no parameter of the pack; declare it there");
                Err(Failure::new(Reason::BadQuery, message))
            }
        }
    }

    /// `select` list of a rows query after what we need ourselves: keys, state, columns.
    pub fn columns(&mut self, query: &RowsQuery, now: Micros) -> Result<String, Failure> {
        let mut list: Vec<String> = query.key.iter().map(|key| format!("t.{}", quote(key))).collect();
        let expressions = query.transition.iter().chain(query.columns.iter().map(|(_, expression)| expression));
        for expression in expressions {
            list.push(format!("({})", self.bound(expression, &query.parameters, now)?));
        }
        Ok(list.join(", "))
    }

    /// The pack's own condition, in words that stand after others; empty without one.
    pub fn filter(&mut self, query: &RowsQuery, now: Micros) -> Result<String, Failure> {
        let Some(filter) = &query.filter else { return Ok(String::new()) };
        Ok(format!(" and ({})", self.bound(filter, &query.parameters, now)?))
    }

    /// `time >= floor`, and before it a plain comparison that an index on the column serves.
    pub fn floor_condition(&mut self, query: &RowsQuery, floor: Micros, ends: Option<&(Cell, Cell)>) -> String {
        let time = format!("t.{}", quote(&query.time));
        let plain = match ends.and_then(|ends| plain_bound(floor, ends)) {
            Some(bound) => format!(" and {time} >= {}", self.value(bound)),
            None => String::new(),
        };
        format!("{plain} and {} >= {}", micros(&time), self.value(Cell::Integer(floor)))
    }

    /// A snapshot's rows: the columns asked for, and one row more than the limit.
    ///
    /// # Errors
    /// As [`Statement::bound`].
    pub fn snapshot(query: &SnapshotQuery, now: Micros, limit: u32) -> Result<Statement, Failure> {
        let mut statement = Statement::default();
        let inner = statement.bound(query.sql.trim().trim_end_matches(';'), &query.parameters, now)?;
        let columns: Vec<String> = query.columns.iter().map(|column| format!("q.{}", quote(column))).collect();
        let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(", ") };
        statement.text = format!("select {columns} from (\n{inner}\n) q limit {}", i64::from(limit) + 1);
        Ok(statement)
    }
}

/// A name, quoted.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name, perhaps with its schema, quoted.
pub fn quote_table(table: &str) -> String {
    table.split('.').map(quote).collect::<Vec<_>>().join(".")
}

/// Microseconds of a time in any form that applications store: whole seconds, milliseconds, microseconds or nanoseconds by
/// their size, real seconds, ISO text (UTC unless it says otherwise; to the millisecond). NULL for anything else.
pub fn micros(time: &str) -> String {
    // No abs(): it refuses the least integer, and one odd row must not cost the others.
    format!(
        "case typeof({time}) \
         when 'integer' then case when {time} between -99999999999 and 99999999999 then {time} * 1000000 \
         when {time} between -99999999999999 and 99999999999999 then {time} * 1000 \
         when {time} between -99999999999999999 and 99999999999999999 then {time} else {time} / 1000 end \
         when 'real' then cast(round(case when abs({time}) < 1e11 then {time} * 1e6 \
         when abs({time}) < 1e14 then {time} * 1e3 else {time} end) as integer) \
         when 'text' then case when instr({time}, '-') > 0 \
         then cast(round(unixepoch({time}, 'subsec') * 1e6) as integer) end end"
    )
}

/// A bound of the floor in the column's own form, when all its times have one form: SQLite orders numbers before text, so
/// the two ends tell. For text it is the day before the floor's, so that no zone and no separator matters.
fn plain_bound(floor: Micros, ends: &(Cell, Cell)) -> Option<Cell> {
    let scale = |number: f64| match number.abs() {
        size if size < 1e11 => Some(1_000_000),
        size if size < 1e14 => Some(1000),
        size if size < 1e17 => Some(1),
        _ => None,
    };
    let number = |cell: &Cell| match cell {
        Cell::Integer(value) => Some(*value as f64),
        Cell::Real(value) => Some(*value),
        _ => None,
    };
    match ends {
        (Cell::Text(first), Cell::Text(last)) => {
            let dated = |text: &str| text.len() >= 10 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
            let day = format_time(floor.saturating_sub(DAY));
            (dated(first) && dated(last) && floor > DAY).then(|| Cell::Text(day[..10].to_owned()))
        }
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let (one, other) = (scale(first)?, scale(last)?);
            (one == other && first >= 0.0).then(|| Cell::Integer(floor.div_euclid(one)))
        }
    }
}
