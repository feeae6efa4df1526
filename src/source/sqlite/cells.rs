//! SQLite's values as text cells, and values that go back into a query.
//!
//! Nothing here runs a query.

use std::fmt::Write;

use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Decode, Row, Sqlite, TypeInfo, ValueRef};

use super::super::Rows;

/// A value with its storage class: SQLite orders a number and the same digits as text differently.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    /// The value in a column of a row.
    pub fn of(row: &SqliteRow, column: usize) -> Result<Cell, sqlx::Error> {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let class = value.type_info().name().to_owned();
        let decoded = match class.as_str() {
            "INTEGER" => <i64 as Decode<Sqlite>>::decode(value).map(Cell::Integer),
            "REAL" => <f64 as Decode<Sqlite>>::decode(value).map(Cell::Real),
            "TEXT" => text(value).map(Cell::Text),
            _ => <Vec<u8> as Decode<Sqlite>>::decode(value).map(Cell::Blob),
        };
        decoded.map_err(sqlx::Error::Decode)
    }

    /// Adds the value to the arguments of a query.
    pub fn bind<'q>(
        &self,
        query: sqlx::query::Query<'q, Sqlite, SqliteArguments>,
    ) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
        match self.clone() {
            Cell::Null => query.bind(None::<i64>),
            Cell::Integer(value) => query.bind(value),
            Cell::Real(value) => query.bind(value),
            Cell::Text(value) => query.bind(value),
            Cell::Blob(value) => query.bind(value),
        }
    }

    /// Appends the value to rows: numbers in their shortest exact form, bytes as hexadecimal digits.
    pub fn push_to(&self, rows: &mut Rows) {
        match self {
            Cell::Null => rows.push(None),
            Cell::Integer(value) => rows.push(Some(itoa::Buffer::new().format(*value))),
            Cell::Real(value) if value.is_finite() => rows.push(Some(zmij::Buffer::new().format_finite(*value))),
            Cell::Real(value) => rows.push(Some(if *value > 0.0 { "Infinity" } else { "-Infinity" })),
            Cell::Text(value) => rows.push(Some(value)),
            Cell::Blob(value) => rows.push(Some(&hex(value))),
        }
    }

    /// The value for a position: its class's letter, then its text.
    pub fn to_position(&self) -> String {
        match self {
            Cell::Null => "n".to_owned(),
            Cell::Integer(value) => format!("i{value}"),
            Cell::Real(value) => format!("r{:016x}", value.to_bits()),
            Cell::Text(value) => format!("t{value}"),
            Cell::Blob(value) => format!("b{}", hex(value)),
        }
    }

    /// The value of a position; none when it is not one.
    pub fn from_position(text: &str) -> Option<Cell> {
        let class = text.chars().next()?;
        let rest = &text[class.len_utf8()..];
        match class {
            'n' => Some(Cell::Null),
            'i' => rest.parse().ok().map(Cell::Integer),
            'r' => u64::from_str_radix(rest, 16).ok().map(|bits| Cell::Real(f64::from_bits(bits))),
            't' => Some(Cell::Text(rest.to_owned())),
            'b' => unhex(rest).map(Cell::Blob),
            _ => None,
        }
    }
}

/// Text as it is; bytes that are no UTF-8 become U+FFFD, for one odd row must not cost the others.
fn text(value: SqliteValueRef<'_>) -> Result<String, sqlx::error::BoxDynError> {
    let bytes = <&[u8] as Decode<Sqlite>>::decode(value)?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every text");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
