//! The SQL that is sent to Postgres, as text and arguments.
//!
//! Identifiers are always quoted, values always bound, results always cast to text. Nothing here runs a statement.

use crate::pack::sql;
use crate::source::{CursorMode, Moment, RowsQuery, RowsRange, SnapshotQuery};
use crate::telemetry::{Failure, Reason};

use super::Micros;

/// Characters of a value that are read. Labels are shorter still (`limits.label_length`), and no number is longer.
const CELL_CHARACTERS: usize = 1000;

/// One statement that tells the moment and, for a relation, what reading it takes. Arguments: quoted relation name,
/// time column, key columns.
///
/// The order of things matters: the statement's snapshot (hence the horizon) is taken first, the open transactions are
/// looked at after it, and rows are read by a later statement. So a row that the later statement does not see belongs
/// to a transaction at or above this horizon that was open now or began later.
pub const MOMENT: &str = "
with rel as materialized (
  select c.oid, c.relkind::text as kind, c.relrowsecurity, c.relfilenode::bigint as storage
  from pg_catalog.pg_class c where c.oid = to_regclass(nullif($1, ''))
), others as materialized (
  select xact_start, query = '<insufficient privilege>' or coalesce(state, '') = 'disabled' as hidden
  from pg_catalog.pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid()
    and coalesce(backend_type, '') not in ('autovacuum worker', 'walsender')
)
select
  (extract(epoch from clock_timestamp()) * 1000000)::bigint as now,
  pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon,
  (select (extract(epoch from min(xact_start)) * 1000000)::bigint from others) as oldest_open,
  coalesce((select bool_or(hidden) from others), false)
    or exists (select from pg_catalog.pg_prepared_xacts where database = current_database()) as hidden,
  pg_is_in_recovery() as standby,
  (select oid::bigint from pg_catalog.pg_database where datname = current_database()) as database,
  (select kind from rel) as kind,
  (select format_type(a.atttypid, null) from pg_catalog.pg_attribute a, rel
    where a.attrelid = rel.oid and a.attname = $2 and a.attnum > 0 and not a.attisdropped) as time_type,
  array(select (select format_type(a.atttypid, a.atttypmod) from pg_catalog.pg_attribute a, rel
      where a.attrelid = rel.oid and a.attname = k.name and not a.attisdropped)
    from unnest($3::text[]) with ordinality as k(name, position) order by k.position) as key_types,
  coalesce((select relrowsecurity from rel), false) as row_security,
  exists (
    select from pg_catalog.pg_index i, pg_catalog.pg_attribute a, pg_catalog.pg_class x, pg_catalog.pg_am m, rel
    where i.indrelid = rel.oid and i.indisvalid and i.indpred is null
      and a.attrelid = rel.oid and a.attname = $2 and i.indkey[0] = a.attnum
      and x.oid = i.indexrelid and m.oid = x.relam and m.amname = 'btree') as indexed,
  (select pg_stat_get_tuples_deleted(rel.oid) from rel) as deleted,
  (select storage from rel) as storage";

/// What the catalog says of a relation.
pub struct Relation {
    /// `pg_class.relkind`.
    pub kind: String,
    /// Type of the time column; none when there is no such column.
    pub time_type: Option<String>,
    /// Type of each key column; none when there is no such column.
    pub key_types: Vec<Option<String>>,
    /// Whether row-level security is switched on.
    pub row_security: bool,
}

impl Relation {
    /// Whether rows tell which transaction wrote them: tables do, views and foreign tables do not.
    pub fn has_writers(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p" | "m")
    }
}

/// The types that a rows query needs to know.
#[derive(Clone)]
pub struct Shape {
    /// Type of the time column.
    pub time_type: String,
    /// Types of the key columns.
    pub key_types: Vec<String>,
}

impl Shape {
    /// Checks that everything the query names is there.
    ///
    /// # Errors
    /// A failure that names what is missing.
    pub fn of(query: &RowsQuery, relation: Option<Relation>) -> Result<Self, Failure> {
        let table = &query.table;
        let Some(relation) = relation else {
            let message = format!("table {table} does not exist, or is in a schema outside the role's search_path");
            return Err(Failure::new(Reason::MissingTable, message));
        };
        let missing =
            |column: &str| Failure::new(Reason::MissingColumn, format!("table {table} has no column {column}"));
        let time_type = relation.time_type.ok_or_else(|| missing(&query.time))?;
        if !time_type.starts_with("timestamp") {
            // A date would not do: it is before every moment of its day.
            let message = format!("column {} of {table} is of type {time_type}, not a time stamp", query.time);
            return Err(Failure::new(Reason::BadQuery, message));
        }
        let key_types = query
            .key
            .iter()
            .zip(relation.key_types)
            .map(|(column, key_type)| key_type.ok_or_else(|| missing(column)))
            .collect::<Result<_, _>>()?;
        Ok(Shape { time_type, key_types })
    }

    fn has_zone(&self) -> bool {
        self.time_type == "timestamp with time zone"
    }
}

/// A value to bind.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// A double.
    Number(f64),
    /// A bigint.
    Integer(i64),
    /// A text.
    Text(String),
}

/// Values to bind, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Args(pub Vec<Arg>);

impl Args {
    fn push(&mut self, arg: Arg) -> String {
        self.0.push(arg);
        format!("${}", self.0.len())
    }

    /// Puts values in the place of a pack's parameters. `:now` is the transaction's own time.
    fn bind(&mut self, words: &str, parameters: &[(String, f64)]) -> String {
        sql::bind(words, |name| match sql::time_before(name) {
            Some(before) if before.is_zero() => "now()".to_owned(),
            Some(before) => format!("(now() - interval '{} seconds')", before.as_secs()),
            None => {
                let value = parameters.iter().find(|(other, _)| other == name).map_or(f64::NAN, |(_, value)| *value);
                format!("{}::float8", self.push(Arg::Number(value)))
            }
        })
    }
}

/// `schema.name` or `name`, quoted.
pub fn quoted(table: &str) -> String {
    table.split('.').filter(|part| !part.is_empty()).map(quote).collect::<Vec<_>>().join(".")
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a key of this type comes in the server's own form: the server takes longer than we to spell it.
pub fn is_raw(kind: &str) -> bool {
    kind == "uuid"
}

/// A page of rows: time as it is, writing transaction as text, then key (see [`is_raw`]), state and columns as text.
pub fn rows(query: &RowsQuery, range: &RowsRange, shape: &Shape, moment: &Moment) -> (String, Args) {
    select(query, range, shape, moment, "")
}

/// The newest rows, in the form of a page: they tell what the labels hold today.
pub fn sample(query: &RowsQuery, shape: &Shape, moment: &Moment, limit: u32) -> (String, Args) {
    let range = RowsRange::of_everything(limit);
    select(query, &range, shape, moment, " desc")
}

fn select(query: &RowsQuery, range: &RowsRange, shape: &Shape, moment: &Moment, direction: &str) -> (String, Args) {
    let mut args = Args::default();
    let time = format!("t.{}", quote(&query.time));
    let mut select = vec![instant(&time, query, shape, &mut args)];
    // As text: a type that the driver does not know would make it ask the catalog in the middle of the statement.
    select.push(if moment.horizon.is_some() { "t.xmin::text".to_owned() } else { "null::text".to_owned() });
    for (column, kind) in query.key.iter().zip(&shape.key_types) {
        let cast = if is_raw(kind) { "" } else { "::text" };
        select.push(format!("t.{}{cast}", quote(column)));
    }
    let expressions = query.transition.iter().chain(query.columns.iter().map(|(_, expression)| expression));
    for expression in expressions {
        select.push(cell(&format!("({})", args.bind(expression, &query.parameters))));
    }
    let mut conditions = vec![format!("{time} is not null")];
    if let Some(floor) = range.floor {
        conditions.push(format!("{time} >= {}", moment_of(floor, query, shape, &mut args)));
    }
    if let Some(horizon) = moment.horizon {
        let settled = range.settled_only.then_some(horizon);
        if range.horizon.is_some() || settled.is_some() || range.leave.is_some() {
            let h = args.push(Arg::Integer(horizon));
            // Row xmin has 32 bits; this is the 64-bit number nearest to the horizon that ends in them.
            let writer = format!(
                "({h} + (((t.xmin::text::bigint - ({h} & 4294967295) + 2147483648) & 4294967295) - 2147483648))"
            );
            for (relation, bound) in [(">=", range.horizon), ("<", settled)] {
                if let Some(bound) = bound {
                    conditions.push(format!("{writer} {relation} {}", args.push(Arg::Integer(bound))));
                }
            }
            if let Some(leave) = range.leave {
                let bound = args.push(Arg::Integer(leave.horizon));
                let floor = moment_of(leave.floor, query, shape, &mut args);
                conditions.push(format!("({writer} < {bound} or {time} < {floor})"));
            }
        }
    }
    if let Some(after) = &range.after
        && let Some((last_time, last_key)) = after.0.split_first()
    {
        let last_time = match last_time.parse() {
            Ok(micros) => moment_of(micros, query, shape, &mut args),
            Err(_) => args.push(Arg::Text(last_time.clone())),
        };
        let keys_after = last_key.iter().zip(&shape.key_types);
        let keys_after: Vec<String> =
            keys_after.map(|(value, kind)| format!("{}::text::{kind}", args.push(Arg::Text(value.clone())))).collect();
        // The first condition is implied by the second; it is what an index on the time column can use.
        conditions.push(format!("{time} >= {last_time}"));
        // A page whose rows have no whole key is left behind by its time alone.
        conditions.push(if keys_after.is_empty() {
            format!("{time} > {last_time}")
        } else {
            format!("({time}, {}) > ({last_time}, {})", columns(query, ""), keys_after.join(", "))
        });
    }
    if let Some(filter) = &query.filter {
        conditions.push(format!("({})", args.bind(filter, &query.parameters)));
    }
    let limit = args.push(Arg::Integer(i64::from(range.limit)));
    let sql = format!(
        "select {} from {} t where {} order by {time}{direction}, {} limit {limit}",
        select.join(", "),
        quoted(&query.table),
        conditions.join(" and "),
        columns(query, direction),
    );
    debug_assert!(moment.mode != CursorMode::Rowid, "Postgres has no rowid");
    (sql, args)
}

/// The 64-bit number of a transaction, nearest to the horizon, that ends in these 32 bits.
pub fn extended(xmin: u32, horizon: i64) -> i64 {
    let behind = (horizon as u32).wrapping_sub(xmin) as i32;
    horizon - i64::from(behind)
}

/// A value as text, cut where it is longer than any label or number: a huge text costs neither memory nor network.
fn cell(value: &str) -> String {
    format!("left({value}::text, {CELL_CHARACTERS})")
}

fn columns(query: &RowsQuery, direction: &str) -> String {
    query.key.iter().map(|column| format!("t.{}{direction}", quote(column))).collect::<Vec<_>>().join(", ")
}

/// The time as the server sends it: eight bytes, microseconds since 2000.
fn instant(time: &str, query: &RowsQuery, shape: &Shape, args: &mut Args) -> String {
    if shape.has_zone() {
        time.to_owned()
    } else if query.time_zone.eq_ignore_ascii_case("utc") {
        format!("{time}::timestamp")
    } else {
        let zone = args.push(Arg::Text(query.time_zone.clone()));
        format!("{time}::timestamp at time zone {zone}::text")
    }
}

/// A moment as a value of the time column's own type, so that its index serves the comparison. Exact to the microsecond.
fn moment_of(micros: Micros, query: &RowsQuery, shape: &Shape, args: &mut Args) -> String {
    let moment = match micros {
        Micros::MAX => "'infinity'::timestamptz".to_owned(),
        Micros::MIN => "'-infinity'::timestamptz".to_owned(),
        _ => {
            // Whole seconds and the rest apart: together they would be too long for a double in the year 2255.
            let micros = args.push(Arg::Integer(micros));
            format!(
                "('epoch'::timestamptz + ({micros}::bigint / 1000000) * interval '1 second' \
                 + ({micros}::bigint % 1000000) * interval '1 microsecond')"
            )
        }
    };
    if shape.has_zone() {
        moment
    } else {
        let zone = args.push(Arg::Text(query.time_zone.clone()));
        format!("({moment} at time zone {zone}::text)::{}", shape.time_type)
    }
}

/// How many rows lie in a window.
pub fn count(query: &RowsQuery, shape: &Shape, from: Micros, until: Micros) -> (String, Args) {
    let mut args = Args::default();
    let time = format!("t.{}", quote(&query.time));
    let mut conditions = vec![
        format!("{time} >= {}", moment_of(from, query, shape, &mut args)),
        format!("{time} < {}", moment_of(until, query, shape, &mut args)),
    ];
    if let Some(filter) = &query.filter {
        conditions.push(format!("({})", args.bind(filter, &query.parameters)));
    }
    (format!("select count(*) from {} t where {}", quoted(&query.table), conditions.join(" and ")), args)
}

/// A snapshot, one row more than its limit so that an excess shows.
pub fn snapshot(query: &SnapshotQuery) -> (String, Args) {
    let mut args = Args::default();
    let inner = args.bind(&query.sql, &query.parameters);
    let columns: Vec<String> = query.columns.iter().map(|column| cell(&format!("q.{}", quote(column)))).collect();
    let limit = args.push(Arg::Integer(i64::from(query.row_limit) + 1));
    (format!("select {} from (\n{inner}\n) q limit {limit}", columns.join(", ")), args)
}

#[cfg(test)]
mod tests {
    use super::extended;

    #[test]
    fn transactions_are_numbered_near_the_horizon() {
        let turn = 1 << 32;
        for (xmin, horizon, number) in [
            (1000, 1000, 1000),
            (990, 1000, 990),
            (1010, 1000, 1010),
            // Behind and ahead of a turn of the 32-bit counter.
            (u32::MAX, turn + 5, turn - 1),
            (7, turn - 2, turn + 7),
            (3, 3 * turn + 3, 3 * turn + 3),
        ] {
            assert_eq!(extended(xmin, horizon), number, "{xmin} at {horizon}");
        }
    }
}
