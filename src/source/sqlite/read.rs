//! Reading: pages of rows by rowid or by overlap, snapshots, recounts.
//!
//! Each function runs within one read transaction that its caller opened, so all it sees is of one moment.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row};

use super::super::{
    CursorMode, Deletions, Moment, PagePosition, Rows, RowsPage, RowsQuery, RowsRange, SnapshotQuery, WindowCount,
};
use super::cells::Cell;
use super::query::{Statement, micros, quote, quote_table};
use super::table::Table;
use crate::family::Micros;
use crate::source::trace::row_by_row;
use crate::telemetry::{Failure, Reason};

/// First word of a position by rowid: then the rowid and the keys of its row.
const BY_ROWID: &str = "rowid";

/// First word of a position in a sweep: then time and keys of its last row, then the position by rowid at which the
/// sweep began, if any: rows that came during the sweep lie after it.
const BY_TIME: &str = "time";

/// A page of rows.
pub async fn rows(
    connection: &mut SqliteConnection,
    identity: &str,
    query: &RowsQuery,
    range: &RowsRange,
) -> Result<RowsPage, Failure> {
    let now = now(connection).await?;
    let table = Table::find(connection, query).await?;
    let place = Place::of(range.after.as_ref(), query.key.len())?;
    let rowid = table.rowid_for(query);
    let reader = Reader { query, range, table: &table, now };
    let (mode, page) = match (rowid, place) {
        (Some(rowid), None) => (CursorMode::Rowid, reader.by_rowid(connection, rowid, None).await?),
        (Some(rowid), Some(Place::Rowid { at, keys })) => {
            if reader.is_still(connection, rowid, at, &keys).await? {
                (CursorMode::Rowid, reader.by_rowid(connection, rowid, Some(at)).await?)
            } else {
                let begun = reader.last(connection, rowid).await?;
                (CursorMode::Overlap, reader.by_time(connection, None, begun).await?)
            }
        }
        (_, Some(Place::Time { at, keys, begun })) => {
            (CursorMode::Overlap, reader.by_time(connection, Some((at, keys)), begun).await?)
        }
        (None, _) => (CursorMode::Overlap, reader.by_time(connection, None, None).await?),
    };
    let moment = Moment {
        mode,
        now,
        horizon: None,
        // A writer may have set a row's time long before it commits, and nobody can see since when it writes.
        oldest_open: None,
        identity: identity.to_owned(),
        indexed: mode == CursorMode::Rowid || table.time_index.is_some(),
        deletions: Deletions::default(),
    };
    Ok(RowsPage {
        rows: page.rows,
        times: page.times,
        writers: Vec::new(),
        moment,
        next: page.next,
        resume: page.resume,
    })
}

/// The moment, without reading a table.
pub async fn moment(connection: &mut SqliteConnection, identity: &str) -> Result<Moment, Failure> {
    Ok(Moment {
        mode: CursorMode::Rowid,
        now: now(connection).await?,
        horizon: None,
        oldest_open: None,
        identity: identity.to_owned(),
        indexed: true,
        deletions: Deletions::default(),
    })
}

/// The rows of a snapshot.
pub async fn snapshot(connection: &mut SqliteConnection, query: &SnapshotQuery) -> Result<Rows, Failure> {
    let now = now(connection).await?;
    let found = fetch(connection, &Statement::snapshot(query, now, query.row_limit)?).await?;
    if found.len() > query.row_limit as usize {
        let message = format!(
            "the snapshot has more than {} rows; let its SQL group more coarsely, or raise limits.snapshot_rows",
            query.row_limit
        );
        return Err(Failure::new(Reason::BadReply, message));
    }
    let width = query.columns.len();
    let mut rows = Rows::new(width.max(1));
    for row in &found {
        push(&mut rows, row, 0..width.max(1))?;
    }
    Ok(rows)
}

/// Rows in a closed window: from the first moment on, before the second.
pub async fn count(
    connection: &mut SqliteConnection,
    query: &RowsQuery,
    from: Micros,
    until: Micros,
) -> Result<WindowCount, Failure> {
    let now = now(connection).await?;
    let table = Table::find(connection, query).await?;
    let ends = table.ends(connection, query).await?;
    let mut statement = Statement::default();
    let floor = statement.floor_condition(query, from, ends.as_ref());
    let filter = statement.filter(query, now)?;
    let until = statement.value(Cell::Integer(until));
    let time = micros(&format!("t.{}", quote(&query.time)));
    statement.text =
        format!("select count(*) from {} t where {time} < {until}{floor}{filter}", quote_table(&query.table));
    let found = fetch(connection, &statement).await?;
    let rows: i64 = found.first().map_or(0, |row| row.get(0));
    Ok(WindowCount { rows: rows.unsigned_abs(), deletions: Deletions::default() })
}

/// The database's clock, in microseconds.
pub async fn now(connection: &mut SqliteConnection) -> Result<Micros, Failure> {
    sqlx::query_scalar("select cast(round(unixepoch('now', 'subsec') * 1e6) as integer)")
        .fetch_one(connection)
        .await
        .map_err(|error| failure(&error))
}

/// Runs a statement.
pub async fn fetch(connection: &mut SqliteConnection, statement: &Statement) -> Result<Vec<SqliteRow>, Failure> {
    let query = sqlx::query(AssertSqlSafe(statement.text.as_str())).persistent(false);
    let query = statement.values.iter().fold(query, |query, value| value.bind(query));
    row_by_row(query.fetch_all(connection)).await.map_err(|error| failure(&error))
}

/// Appends cells of a row.
pub fn push(rows: &mut Rows, row: &SqliteRow, columns: std::ops::Range<usize>) -> Result<(), Failure> {
    for column in columns {
        Cell::of(row, column).map_err(|error| failure(&error))?.push_to(rows);
    }
    Ok(())
}

/// What an error of SQLite's means, in words without a row's content.
pub fn failure(error: &sqlx::Error) -> Failure {
    let sqlx::Error::Database(database) = error else {
        let reason = match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Reason::Unreachable,
            _ => Reason::BadReply,
        };
        return Failure::new(reason, "the SQLite file could not be read; the next read opens it anew");
    };
    let message = database.message();
    // The low byte is the primary result code.
    let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(1) & 0xff;
    let after = |mark: &str| message.split_once(mark).map(|(_, name)| name.trim().to_owned());
    if let Some(table) = after("no such table: ") {
        let words = format!(
            "there is no table or view `{table}` in this database; if the application does not have it, skip this collector"
        );
        return Failure::new(Reason::MissingTable, words);
    }
    if let Some(column) = after("no such column: ") {
        let words = format!("there is no column `{column}`; the application's version may be another than the pack's");
        return Failure::new(Reason::MissingColumn, words);
    }
    let (reason, words) = match code {
        5 | 6 => {
            (Reason::LockTimeout, "a writer holds the SQLite file; it is tried again at the next interval".to_owned())
        }
        9 => (Reason::Timeout, "the read was interrupted because its time was over".to_owned()),
        3 | 23 => (Reason::Forbidden, "SQLite does not permit this read; check the file's permissions".to_owned()),
        10 | 11 | 14 | 26 => (
            Reason::Unreachable,
            format!(
                "the SQLite file cannot be opened ({message}); check that it is one and that we may read it and its folder"
            ),
        ),
        _ => (Reason::BadQuery, format!("SQLite refused the query: {message}")),
    };
    Failure::new(reason, words)
}

/// A position, read.
enum Place {
    Rowid { at: i64, keys: Vec<Cell> },
    Time { at: Micros, keys: Vec<Cell>, begun: Option<PagePosition> },
}

impl Place {
    fn of(position: Option<&PagePosition>, keys: usize) -> Result<Option<Place>, Failure> {
        let Some(PagePosition(words)) = position else { return Ok(None) };
        let misfit = || {
            Failure::new(
                Reason::DefinitionChanged,
                "the stored position is not one of this table's; reset this collector's state",
            )
        };
        let (word, rest) = words.split_first().ok_or_else(misfit)?;
        let (at, rest) = rest.split_first().ok_or_else(misfit)?;
        let at: i64 = at.parse().map_err(|_| misfit())?;
        let (cells, rest) = rest.split_at_checked(keys).ok_or_else(misfit)?;
        let cells: Option<Vec<Cell>> = cells.iter().map(|text| Cell::from_position(text)).collect();
        let keys = cells.ok_or_else(misfit)?;
        match word.as_str() {
            BY_ROWID => Ok(Some(Place::Rowid { at, keys })),
            BY_TIME => {
                let begun = (!rest.is_empty()).then(|| PagePosition(rest.to_vec()));
                Ok(Some(Place::Time { at, keys, begun }))
            }
            _ => Err(misfit()),
        }
    }
}

/// A page without its moment.
struct Page {
    rows: Rows,
    times: Vec<Micros>,
    next: Option<PagePosition>,
    resume: Option<PagePosition>,
}

struct Reader<'a> {
    query: &'a RowsQuery,
    range: &'a RowsRange,
    table: &'a Table,
    now: Micros,
}

impl Reader<'_> {
    /// Whether the row at the cursor is the one that was read there.
    async fn is_still(
        &self,
        connection: &mut SqliteConnection,
        rowid: &str,
        at: i64,
        keys: &[Cell],
    ) -> Result<bool, Failure> {
        let mut statement = Statement::default();
        let at = statement.value(Cell::Integer(at));
        statement.text =
            format!("select {} from {} t where t.{rowid} = {at}", self.keys(), quote_table(&self.query.table));
        let found = fetch(connection, &statement).await?;
        let Some(row) = found.first() else { return Ok(false) };
        Ok(cells(row, 0, keys.len())? == keys)
    }

    /// The position of the last row by rowid; none in an empty table.
    async fn last(&self, connection: &mut SqliteConnection, rowid: &str) -> Result<Option<PagePosition>, Failure> {
        let text = format!(
            "select t.{rowid}, {} from {} t order by t.{rowid} desc limit 1",
            self.keys(),
            quote_table(&self.query.table)
        );
        let found = fetch(connection, &Statement { text, values: Vec::new() }).await?;
        found.first().map(|row| position(BY_ROWID, row.get(0), &cells(row, 1, self.query.key.len())?)).transpose()
    }

    /// Rows after a rowid, in its order; those from the floor on when there is no place yet.
    async fn by_rowid(
        &self,
        connection: &mut SqliteConnection,
        rowid: &str,
        after: Option<i64>,
    ) -> Result<Page, Failure> {
        let time = micros(&format!("t.{}", quote(&self.query.time)));
        let mut statement = Statement::default();
        let columns = statement.columns(self.query, self.now)?;
        let condition = match (after, self.range.floor) {
            (Some(after), _) => format!(" and t.{rowid} > {}", statement.value(Cell::Integer(after))),
            (None, Some(floor)) => statement.floor_condition(self.query, floor, None),
            (None, None) => String::new(),
        };
        statement.text = format!(
            "select {time}, t.{rowid}, {columns} from {} t where {time} is not null{condition} order by t.{rowid} limit {}",
            quote_table(&self.query.table),
            i64::from(self.range.limit) + 1
        );
        let found = fetch(connection, &statement).await?;
        let (rows, times) = self.page(&found, 2)?;
        let more = found.len() > times.len();
        let resume = match found.get(times.len().wrapping_sub(1)) {
            Some(row) if more => Some(position(BY_ROWID, row.get(1), &cells(row, 2, self.query.key.len())?)?),
            // The end was reached: rows without a time, or before the floor, lie behind too.
            _ => self.last(connection, rowid).await?,
        };
        Ok(Page { rows, times, next: if more { resume.clone() } else { None }, resume })
    }

    /// Rows from the floor on, in the order of time and key.
    async fn by_time(
        &self,
        connection: &mut SqliteConnection,
        after: Option<(Micros, Vec<Cell>)>,
        begun: Option<PagePosition>,
    ) -> Result<Page, Failure> {
        let ends = self.table.ends(connection, self.query).await?;
        let time = micros(&format!("t.{}", quote(&self.query.time)));
        let mut statement = Statement::default();
        let columns = statement.columns(self.query, self.now)?;
        // A NULL in a comparison of rows would hide all that follow it.
        let keys: Vec<String> = self.query.key.iter().map(|key| format!("ifnull(t.{}, '')", quote(key))).collect();
        let keys = keys.join(", ");
        let mut condition = match self.range.floor {
            Some(floor) => statement.floor_condition(self.query, floor, ends.as_ref()),
            None => String::new(),
        };
        if let Some((at, cells)) = after {
            let mut values = vec![statement.value(Cell::Integer(at))];
            for cell in cells {
                let cell = if cell == Cell::Null { Cell::Text(String::new()) } else { cell };
                values.push(statement.value(cell));
            }
            condition.push_str(&format!(" and ({time}, {keys}) > ({})", values.join(", ")));
        }
        let filter = statement.filter(self.query, self.now)?;
        statement.text = format!(
            "select {time}, {columns} from {} t where {time} is not null{condition}{filter} order by {time}, {keys} limit {}",
            quote_table(&self.query.table),
            i64::from(self.range.limit) + 1
        );
        let found = fetch(connection, &statement).await?;
        let (rows, times) = self.page(&found, 1)?;
        if found.len() == times.len() {
            return Ok(Page { rows, times, next: None, resume: begun });
        }
        let next = match found.get(times.len().wrapping_sub(1)) {
            Some(row) => {
                let PagePosition(mut words) = position(BY_TIME, row.get(0), &cells(row, 1, self.query.key.len())?)?;
                words.extend(begun.into_iter().flat_map(|PagePosition(words)| words));
                Some(PagePosition(words))
            }
            None => None,
        };
        Ok(Page { rows, times, next, resume: None })
    }

    /// At most the limit of the rows found: cells from a column on, and times from the first.
    fn page(&self, found: &[SqliteRow], from: usize) -> Result<(Rows, Vec<Micros>), Failure> {
        let width = self.query.key.len() + usize::from(self.query.transition.is_some()) + self.query.columns.len();
        let mut rows = Rows::new(width);
        let mut times = Vec::new();
        for row in found.iter().take(self.range.limit as usize) {
            push(&mut rows, row, from..from + width)?;
            times.push(row.get(0));
        }
        Ok((rows, times))
    }

    fn keys(&self) -> String {
        self.query.key.iter().map(|key| format!("t.{}", quote(key))).collect::<Vec<_>>().join(", ")
    }
}

fn cells(row: &SqliteRow, from: usize, count: usize) -> Result<Vec<Cell>, Failure> {
    (from..from + count).map(|column| Cell::of(row, column).map_err(|error| failure(&error))).collect()
}

fn position(word: &str, at: i64, keys: &[Cell]) -> Result<PagePosition, Failure> {
    let words = [word.to_owned(), at.to_string()].into_iter().chain(keys.iter().map(Cell::to_position));
    Ok(PagePosition(words.collect()))
}
