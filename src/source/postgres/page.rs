//! One page of rows, as it comes from the server.
//!
//! Times are taken in the server's own binary form, everything else as text. Nothing is kept between pages.

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row as _, ValueRef as _};

use crate::family::Micros;
use crate::source::{Moment, PagePosition, Rows, RowsPage, RowsQuery, RowsRange};

use super::statement::{self, Shape};
use super::{bind, text};

/// Reads one page. The moment was taken by an earlier statement, hence by an earlier snapshot:
/// whatever this statement does not see is at or above the moment's horizon, so the horizon is safe to go on from.
pub(super) async fn read(
    connection: &mut PgConnection,
    query: &RowsQuery,
    range: &RowsRange,
    shape: &Shape,
    moment: Moment,
) -> Result<RowsPage, sqlx::Error> {
    let (sql, args) = statement::rows(query, range, shape, &moment);
    let width = query.key.len() + usize::from(query.transition.is_some()) + query.columns.len();
    let mut rows = Rows::new(width);
    let mut times = Vec::new();
    let mut writers = Vec::new();
    {
        let mut stream = bind(&sql, args).fetch(connection);
        while let Some(row) = stream.try_next().await? {
            times.push(instant(&row)?);
            if let Some(horizon) = moment.horizon {
                writers.push(statement::extended(xmin(&row)?, horizon));
            }
            push(&row, shape, width, &mut rows)?;
        }
    }
    let full = rows.len() >= range.limit as usize;
    let next = full.then(|| position(&rows, &times, query.key.len())).flatten();
    Ok(RowsPage { rows, times, writers, moment, next, resume: None })
}

/// Appends the cells of a row: key, state and columns.
pub(super) fn push(row: &PgRow, shape: &Shape, width: usize, rows: &mut Rows) -> Result<(), sqlx::Error> {
    for column in 0..width {
        let kind = shape.key_types.get(column).map(String::as_str);
        if kind.is_some_and(statement::is_raw) {
            let value = row.try_get_raw(2 + column)?;
            if value.is_null() {
                rows.push(None);
                continue;
            }
            let bytes = value.as_bytes().map_err(sqlx::Error::Decode)?;
            let bytes: &[u8; 16] = bytes.try_into().map_err(|_| not_whole("UUID"))?;
            rows.push(std::str::from_utf8(&spelled(bytes)).ok());
        } else {
            rows.push(text(row, 2 + column)?);
        }
    }
    Ok(())
}

/// A UUID as Postgres spells it.
fn spelled(uuid: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// Where a full page ends: at its last row with a whole key, since NULL has no place in an order. A page without any is
/// left behind by its last time; its rows are refused anyhow.
fn position(rows: &Rows, times: &[Micros], keys: usize) -> Option<PagePosition> {
    let key = |index: usize| -> Option<Vec<String>> {
        (0..keys).map(|column| rows.row(index).cell(column).map(str::to_owned)).collect()
    };
    let whole = (0..rows.len()).rev().find_map(|index| key(index).map(|key| (times[index], key)));
    let (time, key) = whole.or_else(|| times.last().map(|time| (*time, Vec::new())))?;
    Some(PagePosition(std::iter::once(time.to_string()).chain(key).collect()))
}

/// The first column of a page: a time stamp in binary, microseconds since 2000. Infinite ones stay infinite.
fn instant(row: &PgRow) -> Result<Micros, sqlx::Error> {
    /// From 1970 to 2000, in microseconds.
    const EPOCH: Micros = 946_684_800_000_000;
    let bytes = row.try_get_raw(0)?;
    let bytes = bytes.as_bytes().map_err(sqlx::Error::Decode)?;
    let micros = Micros::from_be_bytes(bytes.try_into().map_err(|_| not_whole("time stamp"))?);
    Ok(if matches!(micros, Micros::MAX | Micros::MIN) { micros } else { micros.saturating_add(EPOCH) })
}

/// The second column of a page: the writing transaction, 32 bits.
fn xmin(row: &PgRow) -> Result<u32, sqlx::Error> {
    text(row, 1)?.and_then(|digits| digits.parse().ok()).ok_or_else(|| not_whole("transaction number"))
}

fn not_whole(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a {what} does not look like one").into())
}

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn a_uuid_is_spelled_as_postgres_spells_it() {
        let bytes = [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];
        assert_eq!(&spelled(&bytes), b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    }
}
