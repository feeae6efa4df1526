//! The role that may read what the collectors read and nothing else, as SQL for the operator to run.
//!
//! It is printed and never run: Rowmetry changes nothing in a database.

use std::collections::{BTreeMap, BTreeSet};

/// Connections that the role may hold: one that reads, one that takes its place after a break, one for `check`.
const CONNECTION_LIMIT: u32 = 3;

/// What the SQL is made of.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Database's name, if the URL has it.
    pub(super) database: Option<String>,
    /// Tables (perhaps `schema.table`) and their columns.
    pub(super) reads: BTreeMap<String, BTreeSet<String>>,
    /// Collectors whose tables could not be looked at, so that their grants are not in the list.
    pub(super) unknown: Vec<String>,
    /// Whether row-level security is in the way somewhere.
    pub(super) row_security: bool,
}

impl Needs {
    pub(super) fn add(&mut self, reads: &[(String, Vec<String>)]) {
        for (table, columns) in reads {
            self.reads.entry(table.clone()).or_default().extend(columns.iter().cloned());
        }
    }
}

/// The SQL; none when nothing is read.
pub(super) fn sql(needs: &Needs) -> Option<String> {
    if needs.reads.is_empty() {
        return None;
    }
    let mut lines = vec![
        format!("CREATE ROLE rowmetry LOGIN PASSWORD 'choose-one' CONNECTION LIMIT {CONNECTION_LIMIT};"),
        "ALTER ROLE rowmetry SET default_transaction_read_only = on;".to_owned(),
    ];
    if let Some(database) = &needs.database {
        lines.push(format!("GRANT CONNECT ON DATABASE {} TO rowmetry;", quoted(database)));
    }
    let schemas: BTreeSet<&str> =
        needs.reads.keys().map(|table| table.split_once('.').map_or("public", |(schema, _)| schema)).collect();
    for schema in schemas {
        lines.push(format!("GRANT USAGE ON SCHEMA {} TO rowmetry;", quoted(schema)));
    }
    for (table, columns) in &needs.reads {
        let table = table
            .split_once('.')
            .map_or_else(|| quoted(table), |(schema, table)| format!("{}.{}", quoted(schema), quoted(table)));
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        // A query that names no column (a bare count) still needs a grant, and any will do.
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        lines.push(format!("GRANT SELECT{columns} ON {table} TO rowmetry;"));
    }
    lines.push("-- Lets it see since when transactions are open, so that late rows are looked for exactly as far back as needed.".into());
    lines.push(
        "-- (On Supabase grant it as `postgres`; on Neon as the owner role, a member of `neon_superuser`.)".into(),
    );
    lines.push("GRANT pg_read_all_stats TO rowmetry;".into());
    if needs.row_security {
        lines.push(
            "-- Row-level security hides rows from this role, and neither grants nor pg_read_all_data change that:"
                .into(),
        );
        lines.push(
            "-- Rowmetry then reports `rows_hidden` and counts nothing. To read all rows of the granted columns:"
                .into(),
        );
        lines.push("ALTER ROLE rowmetry BYPASSRLS;".into());
    }
    if !needs.unknown.is_empty() {
        lines.push(format!(
            "-- Not in this list, since they could not be looked at: {}. Run `rowmetry check` as the tables' owner for all.",
            needs.unknown.join(", ")
        ));
    }
    Some(lines.join("\n"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_columns_and_nothing_more() {
        let mut needs = Needs { database: Some("shop".into()), ..Needs::default() };
        needs.add(&[("Order".into(), vec!["id".into(), "createdAt".into()]), ("audit.log".into(), vec![])]);
        needs.add(&[("Order".into(), vec!["id".into(), "total\"x".into()])]);
        let sql = sql(&needs).expect("something is read");
        for line in [
            "GRANT CONNECT ON DATABASE \"shop\" TO rowmetry;",
            "GRANT USAGE ON SCHEMA \"audit\" TO rowmetry;",
            "GRANT USAGE ON SCHEMA \"public\" TO rowmetry;",
            "GRANT SELECT (\"createdAt\", \"id\", \"total\"\"x\") ON \"Order\" TO rowmetry;",
            "GRANT SELECT ON \"audit\".\"log\" TO rowmetry;",
            "GRANT pg_read_all_stats TO rowmetry;",
        ] {
            assert!(sql.lines().any(|found| found == line), "{line} not in\n{sql}");
        }
        assert!(!sql.contains("BYPASSRLS") && !sql.contains("Not in this list"), "{sql}");
    }

    #[test]
    fn says_what_it_does_not_know() {
        assert_eq!(sql(&Needs::default()), None);
        let mut needs = Needs { row_security: true, unknown: vec!["shop/log".into()], ..Needs::default() };
        needs.add(&[("a".into(), vec!["b".into()])]);
        let sql = sql(&needs).expect("something is read");
        assert!(sql.contains("\nALTER ROLE rowmetry BYPASSRLS;\n"), "{sql}");
        assert!(sql.contains("could not be looked at: shop/log"), "{sql}");
        assert!(!sql.contains("DATABASE"), "{sql}");
    }
}
