//! A database of its own for an application on a Postgres server that was given, written.
//!
//! It drops no database but the one of exactly the name that it makes. Values stand in the statements as literals, so that Postgres
//! gives them the types of the columns. A server that goes away is waited for; what was not committed is gone then.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, ValueRef as _};

use super::{ROWS, failed};
use crate::demo::DemoError;
use crate::demo::away::{Away, LOOK_EVERY};
use crate::demo::draw::{Value, time_text};
use crate::demo::script::Statement;

/// What the names of the databases begin with.
const PREFIX: &str = "rowmetry_demo_";

/// Time to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Time for one statement; a server that is silent for longer is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What SQLite's functions do, in a schema of its own.
const FUNCTIONS: &str = include_str!("functions.sql");

/// Statistics of statements, where the server gathers them and the role may show them; else there are none.
const STATEMENTS: &str = "do $$ begin
    if current_setting('shared_preload_libraries') like '%pg_stat_statements%' then create extension pg_stat_statements; end if;
  exception when others then null; end $$";

/// Enumerations take texts, as columns of SQLite do.
const ENUMERATIONS: &str = "do $$ declare kind regtype; begin
    for kind in select oid::regtype from pg_type where typtype = 'e' loop
      execute format('create cast (text as %s) with inout as assignment', kind);
    end loop;
  end $$";

/// How every session begins. Times are UTC; what a crash of the server loses of made-up rows is no loss.
const SESSION: &str = "set time zone 'UTC'; set standard_conforming_strings = on; set synchronous_commit = off; \
    set search_path = public, rowmetry_demo";

/// A database that is written.
pub(in crate::demo) struct PostgresDatabase {
    options: PgConnectOptions,
    url: String,
    connection: Option<PgConnection>,
    server: Away,
}

impl PostgresDatabase {
    /// Makes the database of an application in place of the one that was there. Waits for a server that does not answer yet.
    pub(super) async fn create(app: &str, url: &SecretString) -> Result<Self, DemoError> {
        let name = format!("{PREFIX}{app}");
        let (options, url) = read(url, &name)?;
        let mut server = Away::new(format!("database {name}"));
        let own = options.clone().database(&name);
        let connection = loop {
            match make(&options, &own, &name).await {
                Ok(connection) => break connection,
                Err(error) if is_passing(&error) => server.is_away(&error),
                Err(source) => return Err(DemoError::Create { name, source }),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        server.is_back();
        let options = own;
        Ok(PostgresDatabase { options, url, connection: Some(connection), server })
    }

    /// Where it is, as a source's `url`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it can be written; connects again if it is time to try.
    pub(super) async fn is_there(&mut self) -> Result<bool, DemoError> {
        if self.connection.is_some() {
            return Ok(true);
        }
        if !self.server.is_to_be_asked() {
            return Ok(false);
        }
        match connect(&self.options).await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.server.is_back();
                Ok(true)
            }
            Err(error) if is_passing(&error) => {
                self.server.is_away(&error);
                Ok(false)
            }
            Err(source) => Err(failed("connect", source)),
        }
    }

    /// Whether what failed passes by waiting. The connection is given up then.
    pub(super) fn waits_after(&mut self, error: &DemoError) -> bool {
        match error {
            DemoError::Statement { source, .. } if is_passing(source) => {
                self.connection = None;
                self.server.is_away(source);
                true
            }
            _ => false,
        }
    }

    /// Makes the tables.
    pub(super) async fn fill(&mut self, what: &str, schema: &str) -> Result<(), DemoError> {
        self.plain(what, schema).await?;
        self.plain(what, ENUMERATIONS).await
    }

    /// Runs statements that take no values.
    pub(super) async fn plain(&mut self, what: &str, sql: &str) -> Result<(), DemoError> {
        run(self.open(what)?, sql).await.map(drop).map_err(|source| failed(what, source))
    }

    /// Runs a statement; answers how many rows it wrote or changed.
    pub(super) async fn write(
        &mut self,
        what: &str,
        statement: &Statement,
        values: &[Value],
    ) -> Result<u64, DemoError> {
        run(self.open(what)?, &filled(statement, values)).await.map_err(|source| failed(what, source))
    }

    /// The first rows that a question brings, each cell as text.
    pub(super) async fn ask(
        &mut self,
        what: &str,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Vec<String>>, DemoError> {
        let connection = self.open(what)?;
        let answer = async {
            let mut answer = sqlx::raw_sql(AssertSqlSafe(filled(statement, values))).fetch(connection);
            let mut rows = Vec::new();
            while let Some(row) = answer.try_next().await? {
                if rows.len() < ROWS {
                    rows.push(cells(&row)?);
                }
            }
            Ok(rows)
        };
        in_time(ANSWER_WITHIN, answer).await.map_err(|source| failed(what, source))
    }

    /// Closes it. A server that is gone has closed it already.
    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = tokio::time::timeout(CONNECT_WITHIN, connection.close()).await;
        }
    }

    fn open(&mut self, what: &str) -> Result<&mut PgConnection, DemoError> {
        let gone = || failed(what, std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        self.connection.as_mut().ok_or_else(gone)
    }
}

/// Options for the database that the URL names, and the URL of the database of this name.
fn read(url: &SecretString, name: &str) -> Result<(PgConnectOptions, String), DemoError> {
    let wrong = |reason: &str| DemoError::Url { option: "--database-url", reason: reason.to_owned() };
    let parsed = url::Url::parse(url.expose_secret())
        .map_err(|_| wrong("it cannot be read; write postgres://user:password@host:5432/postgres"))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(wrong("the traffic is written to Postgres alone; write postgres://…"));
    }
    // It would outdo the path: in the URL that is read, too.
    if parsed.query_pairs().any(|(key, _)| key == "dbname") {
        return Err(wrong("its path names the database; take `dbname` out of it"));
    }
    let mut named = parsed.clone();
    named.set_path(name);
    let options = PgConnectOptions::from_url(&parsed).map_err(|_| wrong("it has a parameter that is not known"))?;
    // Nobody can drop a database that he is connected to.
    if options.get_database().is_some_and(|database| database.starts_with(PREFIX)) {
        return Err(wrong(
            "it names a database of the demo's own; write one that stays, such as postgres://…/postgres",
        ));
    }
    let options = options.application_name("rowmetry-demo").statement_cache_capacity(0).disable_statement_logging();
    Ok((options, named.into()))
}

/// Makes the database anew, and connects to it.
async fn make(options: &PgConnectOptions, own: &PgConnectOptions, name: &str) -> Result<PgConnection, sqlx::Error> {
    let mut connection = in_time(CONNECT_WITHIN, PgConnection::connect_with(options)).await?;
    for sql in [
        format!(r#"drop database if exists "{name}" with (force)"#),
        format!(r#"create database "{name}" template template0 encoding 'UTF8'"#),
    ] {
        run(&mut connection, &sql).await?;
    }
    let _ = connection.close().await;
    let mut connection = connect(own).await?;
    run(&mut connection, FUNCTIONS).await?;
    run(&mut connection, STATEMENTS).await?;
    Ok(connection)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = in_time(CONNECT_WITHIN, PgConnection::connect_with(options)).await?;
    run(&mut connection, SESSION).await?;
    Ok(connection)
}

/// Runs statements as they are; answers how many rows they wrote or changed.
async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection);
    in_time(ANSWER_WITHIN, done).await.map(|done| done.rows_affected())
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(limit, work).await.map_err(late)?
}

/// Whether what failed passes by waiting.
pub(super) fn passes(error: &DemoError) -> bool {
    matches!(error, DemoError::Statement { source, .. } if is_passing(source))
}

/// Whether it passes by waiting: the server is not there, is starting or stopping, or has no room at the moment.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // Connection, resources, shutdown and start, system, and transactions that were in each other's way. A database in use
            // (55006) is one that somebody copies or makes at the moment.
            ["08", "53", "57", "58", "40", "55006"].iter().any(|class| code.starts_with(class))
        }
        _ => false,
    }
}

/// A statement with its values in it.
fn filled(statement: &Statement, values: &[Value]) -> String {
    let mut sql = String::with_capacity(statement.sql.len() + 40 * statement.values.len());
    let mut places = statement.values.iter();
    for (number, part) in statement.sql.split(Statement::PLACE).enumerate() {
        if number > 0
            && let Some(index) = places.next()
        {
            literal(&mut sql, &values[*index]);
        }
        sql.push_str(part);
    }
    sql
}

fn literal(sql: &mut String, value: &Value) {
    match value {
        Value::Text(text) => {
            sql.push('\'');
            sql.push_str(&text.replace('\'', "''"));
            sql.push('\'');
        }
        // In parentheses, since a minus binds less than what may follow.
        Value::Whole(whole) if *whole < 0 => *sql += &format!("({whole})"),
        Value::Real(real) if *real < 0.0 => *sql += &format!("({real})"),
        Value::Whole(whole) => *sql += &whole.to_string(),
        Value::Real(real) => *sql += &format!("{real:?}"),
        Value::Flag(flag) => *sql += if *flag { "true" } else { "false" },
        Value::Time(at) => *sql += &format!("timestamp '{}'", time_text(*at)),
    }
}

/// The server sends text; NULL is the empty one.
fn cells(row: &PgRow) -> Result<Vec<String>, sqlx::Error> {
    (0..row.len())
        .map(|index| {
            let cell = row.try_get_raw(index)?;
            if cell.is_null() {
                return Ok(String::new());
            }
            cell.as_str().map(str::to_owned).map_err(sqlx::Error::Decode)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_the_statement() {
        let statement =
            Statement { sql: format!("a {0} b {0}, {0}, {0}, {0}", Statement::PLACE), values: vec![1, 0, 2, 3, 4] };
        let values = [
            Value::Whole(-3),
            Value::Text("it's".into()),
            Value::Flag(true),
            Value::Time(1_800_000_000_120_000),
            Value::Real(0.5),
        ];
        assert_eq!(filled(&statement, &values), "a 'it''s' b (-3), true, timestamp '2027-01-15 08:00:00.120', 0.5");
    }

    #[test]
    fn a_url_names_the_server_and_not_the_database() {
        let (_, url) =
            read(&"postgres://a:b@db.example:6432/postgres?sslmode=require".to_owned().into(), "rowmetry_demo_x")
                .expect("it is right");
        assert_eq!(url, "postgres://a:b@db.example:6432/rowmetry_demo_x?sslmode=require");
        let own = "postgres://a@b/rowmetry_demo_shop";
        for wrong in ["db.example", "mysql://a@b/c", "postgres://a@b/postgres?dbname=shop", own] {
            let error = read(&wrong.to_owned().into(), "x").expect_err("it is wrong").to_string();
            assert!(error.contains("--database-url") && !error.contains(wrong), "{error}");
        }
    }
}
