//! What `check` learns of a collector: plan, index, grants, size, a sample of rows.
//!
//! It reads the catalog, asks for a plan and takes a small sample; it never runs a collector's whole query.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use crate::pack::sql::identifiers;
use crate::source::{Examination, Finding, Rows, RowsQuery, RowsRange, SAMPLE_ROWS, SnapshotQuery};

use super::statement::{self, Shape};
use super::{Reading, bind, page, text};

/// A scan of a table smaller than this is too cheap to complain of.
const SMALL_TABLE_ROWS: i64 = 10_000;

pub(super) async fn rows(reading: &mut Reading<'_>, query: &RowsQuery) -> Result<Examination, sqlx::Error> {
    let mut found = Examination::default();
    let (relation, moment) = reading.relation(&query.table, Some(&query.time), &query.key).await?;
    let row_security = relation.as_ref().is_some_and(|relation| relation.row_security);
    let shape = match Shape::of(query, relation) {
        Ok(shape) => shape,
        Err(failure) => {
            found.findings.push(Finding { fatal: true, message: failure.message, sql: None });
            return Ok(found);
        }
    };
    let connection = &mut reading.connected.connection;
    let size = estimate(connection, &query.table).await?;
    found.rows_estimate = size;
    found.facts.push(format!(
        "reads new rows of {} by {} ({}), {}",
        query.table,
        query.time,
        moment.mode.as_str(),
        size.map_or_else(|| "of unknown size (never analysed)".to_owned(), |rows| format!("about {rows} rows")),
    ));
    if row_security {
        found.facts.push(format!("row-level security is on for {}", query.table));
    }
    if moment.oldest_open.is_none() {
        found.findings.push(Finding {
            fatal: false,
            message:
                "the role cannot see how long other sessions' transactions have been open, so late rows are looked \
                      for within `look_back` instead of exactly as far back as needed"
                    .to_owned(),
            sql: Some("GRANT pg_read_all_stats TO CURRENT_USER;".to_owned()),
        });
    }
    let (sql, args) = statement::sample(query, &shape, &moment, SAMPLE_ROWS);
    found.reads = reads(connection, &sql, args).await?;
    let (sql, args) = statement::sample(query, &shape, &moment, SAMPLE_ROWS);
    let width = query.key.len() + usize::from(query.transition.is_some()) + query.columns.len();
    let mut cells = Rows::new(width);
    for row in &bind(&sql, args).fetch_all(&mut *connection).await? {
        page::push(row, &shape, width, &mut cells)?;
    }
    let small = size.map_or(cells.len() < SAMPLE_ROWS as usize, |rows| rows < SMALL_TABLE_ROWS);
    found.sample = cells;
    if !moment.indexed {
        let range =
            RowsRange { floor: Some(moment.now), horizon: moment.horizon, ..RowsRange::of_everything(SAMPLE_ROWS) };
        let (sql, args) = statement::rows(query, &range, &shape, &moment);
        let plan = plan(connection, &sql, args).await?;
        found.facts.push(format!("no index serves {}; the plan of a read: {}", query.time, outline(&plan)));
    }
    if !moment.indexed && !small {
        let table = statement::quoted(&query.table);
        found.findings.push(Finding {
            fatal: false,
            message: format!(
                "no index serves {} of {}: each read scans the table, so reads are spaced out to `busy_share`",
                query.time, query.table
            ),
            sql: Some(format!("CREATE INDEX CONCURRENTLY ON {table} ({});", statement::quoted(&query.time))),
        });
    }
    Ok(found)
}

pub(super) async fn snapshot(reading: &mut Reading<'_>, query: &SnapshotQuery) -> Result<Examination, sqlx::Error> {
    let mut found = Examination::default();
    let connection = &mut reading.connected.connection;
    let (sql, args) = statement::snapshot(query);
    found.reads = reads(connection, &sql, args).await?;
    for (table, _) in &found.reads {
        let size = estimate(connection, table).await?;
        found.rows_estimate = found.rows_estimate.max(size);
    }
    let tables: Vec<&str> = found.reads.iter().map(|(table, _)| table.as_str()).collect();
    found.facts.push(match tables.as_slice() {
        [] => "a snapshot of the server's own figures".to_owned(),
        tables => format!("a snapshot of {}", tables.join(", ")),
    });
    let (sql, args) = statement::snapshot(query);
    let mut cells = Rows::new(query.columns.len());
    for row in &bind(&sql, args).fetch_all(&mut *connection).await? {
        for column in 0..query.columns.len() {
            cells.push(text(row, column)?);
        }
    }
    found.sample = cells;
    Ok(found)
}

async fn estimate(connection: &mut PgConnection, table: &str) -> Result<Option<i64>, sqlx::Error> {
    let rows: Option<f64> = sqlx::query_scalar(
        "select nullif(greatest(reltuples, 0), 0)::float8 from pg_catalog.pg_class where oid = to_regclass($1)",
    )
    .bind(if table.contains('"') { table.to_owned() } else { statement::quoted(table) })
    .persistent(false)
    .fetch_optional(connection)
    .await?
    .flatten();
    Ok(rows.map(|rows| rows as i64))
}

/// Which tables and columns a statement reads, from its verbose plan.
async fn reads(
    connection: &mut PgConnection,
    sql: &str,
    args: statement::Args,
) -> Result<Vec<(String, Vec<String>)>, sqlx::Error> {
    let plan = plan(connection, sql, args).await?;
    let mut relations = Vec::new();
    collect(&plan, &mut relations);
    relations.sort();
    relations.dedup();
    // The catalog is open to everybody, or to pg_read_all_stats; nobody grants columns of it.
    relations.retain(|(schema, _)| schema != "pg_catalog");
    // The plan tells the tables. It is no guide to the columns: it lists those that a scan passes on unasked, and hides
    // those that it renames. The statement's own words name every column that needs a grant.
    // System columns are among them: a grant on named columns does not reach `xmin`.
    let words = identifiers(sql);
    let mut reads = Vec::new();
    for (schema, relation) in relations {
        let columns: Vec<String> = sqlx::query_scalar(
            "select a.attname::text from pg_catalog.pg_attribute a, pg_catalog.pg_class c, pg_catalog.pg_namespace n \
             where a.attrelid = c.oid and c.relnamespace = n.oid and n.nspname = $1 and c.relname = $2 \
             and not a.attisdropped order by a.attnum < 0, a.attnum",
        )
        .bind(schema.clone())
        .bind(relation.clone())
        .persistent(false)
        .fetch_all(&mut *connection)
        .await?;
        let mut used: Vec<String> = columns.iter().filter(|column| words.contains(*column)).cloned().collect();
        if used.is_empty() {
            // A bare count needs a grant on some column, and any will do.
            used.extend(columns.into_iter().next());
        }
        let table = if schema == "public" { relation } else { format!("{schema}.{relation}") };
        reads.push((table, used));
    }
    Ok(reads)
}

/// The plan of a statement, as Postgres' JSON.
async fn plan(
    connection: &mut PgConnection,
    sql: &str,
    args: statement::Args,
) -> Result<serde_json::Value, sqlx::Error> {
    let explain = format!("explain (verbose, costs off, format json) {sql}");
    let row = bind(&explain, args).fetch_one(&mut *connection).await?;
    let json = row.try_get_raw(0)?;
    Ok(serde_json::from_str(json.as_str().map_err(sqlx::Error::Decode)?).unwrap_or_default())
}

/// A plan in one line: its steps from the outermost in, as `explain` names them.
fn outline(plan: &serde_json::Value) -> String {
    let mut steps = Vec::new();
    let mut node = &plan[0]["Plan"];
    while let Some(step) = node["Node Type"].as_str() {
        let on = node["Relation Name"].as_str().map(|relation| format!(" on {relation}")).unwrap_or_default();
        steps.push(format!("{step}{on}"));
        node = &node["Plans"][0];
    }
    steps.join(" > ")
}

fn collect(plan: &serde_json::Value, relations: &mut Vec<(String, String)>) {
    match plan {
        serde_json::Value::Object(node) => {
            let field = |name: &str| node.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            if let (Some(schema), Some(relation)) = (field("Schema"), field("Relation Name")) {
                relations.push((schema, relation));
            }
            node.values().for_each(|value| collect(value, relations));
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, relations)),
        _ => {}
    }
}
