//! Postgres as a source: one connection, read-only transactions, one page of rows a statement.
//!
//! Every read is one explicit `BEGIN READ ONLY` transaction with its limits set inside it, and no statement is named.
//! That is what makes an answer ours when a transaction pooler (PgBouncer, Neon, Supabase) stands between: outside a
//! transaction a pooler may hand the second half of a query to another client's backend.
//!
//! Nothing here writes, counts a row or keeps a result. This file alone, with `postgres/`, names the Postgres driver.

pub(super) mod address;
mod examine;
mod failure;
mod look;
mod page;
mod spans;
mod statement;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use secrecy::SecretString;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row as _, ValueRef as _};
use tokio::sync::{Mutex, MutexGuard};
use tracing::Instrument as _;

use crate::config::SourceSettings;
use crate::family::Micros;
use crate::pack::System;
use crate::source::spend::Spend;
use crate::source::trace::{Peer, row_by_row};
use crate::source::{
    CursorMode, Deletions, Examination, Moment, Rows, RowsPage, RowsQuery, RowsRange, SnapshotQuery, Source,
    WindowCount,
};
use crate::telemetry::{Failure, Reason, traces};

use failure::failure;
use look::Look;
use spans::{CATALOG, asked, peer, refused};
use statement::{Args, Relation, Shape};

/// Time beyond the server's own `statement_timeout` after which a silent connection is given up.
const GRACE: Duration = Duration::from_secs(2);

/// A Postgres database.
pub struct PostgresSource {
    name: String,
    options: PgConnectOptions,
    connect_timeout: Duration,
    statement_timeout: Duration,
    begin: String,
    spend: Spend,
    peer: Peer,
    /// The one connection, while nobody reads. Taken out for a read and put back after a clean end: a read that is
    /// dropped half-way takes its connection with it.
    slot: Mutex<Option<Connected>>,
}

struct Connected {
    connection: PgConnection,
    spend: Spend,
    peer: Peer,
    identity: String,
    look: Look,
}

impl Connected {
    /// The connection, for one statement. An opening transaction with all its settings is one, as it is sent at once.
    fn ask(&mut self) -> &mut PgConnection {
        self.spend.add(1);
        &mut self.connection
    }
}

impl PostgresSource {
    /// Makes a source. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be understood; the message does not contain it.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        let url: &SecretString = &settings.url;
        // `sslmode=verify-ca` asks for the process-wide provider. A second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = address::options(url).map_err(|message| Failure::new(Reason::BadQuery, message))?;
        let ms = |duration: Duration| duration.as_millis().max(1);
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL row_security = off; SET LOCAL DateStyle = 'ISO'; SET LOCAL extra_float_digits = 1; \
             SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0",
            ms(settings.statement_timeout),
            ms(settings.lock_timeout),
            ms(settings.statement_timeout + GRACE),
        );
        Ok(PostgresSource {
            name: settings.name.clone(),
            peer: peer(&options),
            options,
            connect_timeout: settings.connect_timeout,
            statement_timeout: settings.statement_timeout,
            begin,
            spend: Spend::default(),
            slot: Mutex::new(None),
        })
    }

    /// Opens a read-only transaction on the one connection, connecting if need be. Waits for the read before it.
    async fn begin(&self) -> Result<Reading<'_>, Failure> {
        let mut slot = self.slot.lock().await;
        if let Some(mut connected) = slot.take() {
            // A pooler or a restart may have closed it while it idled: then, and only then, connect anew.
            let began = tokio::time::timeout(self.statement_timeout + GRACE, self.open(&mut connected)).await;
            match began {
                Ok(Ok(())) => return Ok(Reading { slot, connected }),
                Ok(Err(error)) if failure(&error, "").reason == Reason::Unreachable => {}
                Ok(Err(error)) => return Err(failure(&error, "opening a read-only transaction")),
                Err(_) => return Err(self.silent()),
            }
        }
        let connect = async {
            // An attempt counts too: it wakes a database that is suspended.
            self.spend.add(1);
            let connection = PgConnection::connect_with(&self.options).await?;
            let spend = self.spend.clone();
            let peer = self.peer.clone();
            let mut connected = Connected { connection, spend, peer, identity: String::new(), look: Look::default() };
            connected.identity = identity(&mut connected, &self.begin).await?;
            self.open(&mut connected).await?;
            Ok::<_, sqlx::Error>(connected)
        };
        let span = self.peer.connected();
        let connected = match tokio::time::timeout(self.connect_timeout, connect.instrument(span.clone())).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(refused(&span, &error, "connecting")),
            Err(_) => Err(Failure::new(
                Reason::Unreachable,
                format!(
                    "no connection within {} (`connect_timeout`); the server may be down, suspended or unreachable",
                    crate::duration::format(self.connect_timeout)
                ),
            )),
        };
        traces::outcome(&span, &connected);
        connected.map(|connected| Reading { slot, connected })
    }

    async fn open(&self, connected: &mut Connected) -> Result<(), sqlx::Error> {
        let span = self.peer.asked("BEGIN", None);
        let begun = sqlx::raw_sql(AssertSqlSafe(self.begin.clone())).execute(connected.ask());
        asked(span, begun).await.map(drop)
    }

    fn silent(&self) -> Failure {
        Failure::new(
            Reason::Silent,
            format!(
                "the server said nothing for {}; the connection was given up",
                crate::duration::format(self.statement_timeout + GRACE)
            ),
        )
    }

    /// Runs the body of a read against the clock: `statements` statements, each with the server's own limit. The span is of
    /// what reads `table`.
    async fn within<T>(
        &self,
        table: Option<&str>,
        statements: u32,
        body: impl Future<Output = Result<T, sqlx::Error>>,
        doing: &str,
    ) -> Result<T, Failure> {
        let span = self.peer.asked("SELECT", table);
        let body = row_by_row(body);
        let result = match tokio::time::timeout(self.statement_timeout * statements + GRACE, body).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(refused(&span, &error, doing)),
            Err(_) => Err(self.silent()),
        };
        traces::outcome(&span, &result);
        result
    }
}

/// A read-only transaction on the source's one connection.
struct Reading<'s> {
    slot: MutexGuard<'s, Option<Connected>>,
    connected: Connected,
}

impl Reading<'_> {
    /// Ends the transaction and keeps the connection for the next read. It wrote nothing, so that to commit it changes nothing; a
    /// rollback would count in `pg_stat_database`, where people look for their own.
    async fn end(mut self) -> Result<(), sqlx::Error> {
        let span = self.connected.peer.asked("COMMIT", None);
        asked(span, sqlx::raw_sql("COMMIT").execute(self.connected.ask())).await?;
        *self.slot = Some(self.connected);
        Ok(())
    }

    /// Ends it after a failure: a refusal of the server keeps the connection, anything else costs it.
    async fn abandon(self, failure: &Failure) {
        let broken = failure.reason.is_source_wide() || failure.reason == Reason::BadReply;
        if !broken {
            // After a failure the server rolls back whatever we say. A connection that cannot even do that is dropped with the error.
            let _ = tokio::time::timeout(GRACE, self.end()).await;
        }
    }

    async fn finish<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        match result {
            Ok(value) => match tokio::time::timeout(GRACE, self.end()).await {
                Ok(Ok(())) => Ok(value),
                // The rows are whole: one statement's snapshot was read to its end.
                Ok(Err(_)) | Err(_) => Ok(value),
            },
            Err(failure) => {
                self.abandon(&failure).await;
                Err(failure)
            }
        }
    }

    /// Looks a relation up in the catalog, together with the moment.
    async fn relation(
        &mut self,
        table: &str,
        time: Option<&str>,
        key: &[String],
    ) -> Result<(Option<Relation>, Moment), sqlx::Error> {
        let row = sqlx::query(AssertSqlSafe(statement::MOMENT.to_owned()))
            .bind(statement::quoted(table))
            .bind(time.unwrap_or_default().to_owned())
            .bind(key.to_vec())
            .persistent(false)
            .fetch_one(self.connected.ask())
            .await?;
        let hidden: bool = row.try_get("hidden")?;
        let standby: bool = row.try_get("standby")?;
        let now: Micros = row.try_get("now")?;
        let oldest: Option<Micros> = row.try_get("oldest_open")?;
        let kind: Option<String> = row.try_get("kind")?;
        let relation = kind.map(|kind| Relation {
            kind,
            time_type: row.try_get("time_type").ok().flatten(),
            key_types: row.try_get::<Vec<Option<String>>, _>("key_types").unwrap_or_default(),
            row_security: row.try_get("row_security").unwrap_or_default(),
        });
        let mode = match &relation {
            Some(relation) if !relation.has_writers() => CursorMode::Overlap,
            _ => CursorMode::Horizon,
        };
        let moment = Moment {
            mode,
            now,
            horizon: (mode == CursorMode::Horizon).then_some(row.try_get::<i64, _>("horizon")?),
            oldest_open: (!hidden && !standby).then(|| oldest.map_or(now, |oldest| oldest.min(now))),
            identity: format!("{}:{}", self.connected.identity, row.try_get::<i64, _>("database")?),
            indexed: row.try_get("indexed")?,
            deletions: Deletions { rows: row.try_get("deleted")?, storage: row.try_get("storage")? },
        };
        Ok((relation, moment))
    }

    async fn shape(&mut self, query: &RowsQuery) -> Result<Result<(Shape, Moment), Failure>, sqlx::Error> {
        let (relation, moment) = self.relation(&query.table, Some(&query.time), &query.key).await?;
        Ok(Shape::of(query, relation).map(|shape| {
            self.connected.look.keep(query, &shape, &moment);
            (shape, moment)
        }))
    }
}

/// Tells one cluster from another. Where the role may not ask, the fence is the database's own oid alone.
async fn identity(connected: &mut Connected, begin: &str) -> Result<String, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(begin.to_owned())).execute(connected.ask()).await?;
    let may: bool = sqlx::query_scalar("select has_function_privilege('pg_control_system()', 'execute')")
        .persistent(false)
        .fetch_one(connected.ask())
        .await?;
    let identity = if may {
        sqlx::query_scalar("select system_identifier::text from pg_control_system()")
            .persistent(false)
            .fetch_one(connected.ask())
            .await?
    } else {
        String::from("unknown")
    };
    sqlx::raw_sql("COMMIT").execute(connected.ask()).await?;
    Ok(identity)
}

fn text(row: &PgRow, column: usize) -> Result<Option<&str>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    value.as_str().map(Some).map_err(sqlx::Error::Decode)
}

#[async_trait]
impl Source for PostgresSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn system(&self) -> System {
        System::Postgres
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    async fn moment(&self) -> Result<Moment, Failure> {
        let mut reading = self.begin().await?;
        let moment = self.within(Some(CATALOG), 1, reading.relation("", None, &[]), "looking at the clock").await;
        reading.finish(moment.map(|(_, moment)| moment)).await
    }

    async fn existing_tables(&self, tables: &[String]) -> Result<Vec<String>, Failure> {
        let mut reading = self.begin().await?;
        let names: Vec<String> = tables.iter().map(|table| statement::quoted(table)).collect();
        let body = async {
            sqlx::query_scalar::<_, bool>(
                "select to_regclass(n) is not null from unnest($1::text[]) with ordinality as u(n, o) order by o",
            )
            .bind(names)
            .persistent(false)
            .fetch_all(reading.connected.ask())
            .await
        };
        let found = self.within(Some(CATALOG), 1, body, "looking for the packs' tables").await;
        let found = reading.finish(found).await?;
        Ok(tables.iter().zip(found).filter(|(_, there)| *there).map(|(table, _)| table.clone()).collect())
    }

    async fn read_rows(&self, query: &RowsQuery, range: &RowsRange) -> Result<RowsPage, Failure> {
        let mut reading = self.begin().await?;
        let doing = format!("reading {}", query.table);
        let looked = match reading.connected.look.again(query, range) {
            Some(known) => Ok(Ok(known)),
            None => self.within(Some(CATALOG), 1, reading.shape(query), &doing).await,
        };
        let page = match looked {
            Ok(Ok((shape, moment))) => {
                let body = page::read(reading.connected.ask(), query, range, &shape, moment);
                self.within(Some(&query.table), 1, body, &doing).await
            }
            Ok(Err(failure)) | Err(failure) => Err(failure),
        };
        if page.is_err() {
            reading.connected.look.forget();
        }
        reading.finish(page).await
    }

    async fn read_snapshot(&self, query: &SnapshotQuery) -> Result<Rows, Failure> {
        let mut reading = self.begin().await?;
        let (sql, args) = statement::snapshot(query);
        let body = async {
            let mut rows = Rows::new(query.columns.len());
            let mut stream = bind(&sql, args).fetch(reading.connected.ask());
            while let Some(row) = stream.try_next().await? {
                for column in 0..query.columns.len() {
                    rows.push(text(&row, column)?);
                }
            }
            Ok(rows)
        };
        let rows = self.within(None, 1, body, "reading the snapshot").await.and_then(|rows| {
            if rows.len() > query.row_limit as usize {
                return Err(Failure::new(
                    Reason::BadQuery,
                    format!("the snapshot has more than {} rows (`limits.snapshot_rows`)", query.row_limit),
                ));
            }
            Ok(rows)
        });
        reading.finish(rows).await
    }

    async fn count_rows(&self, query: &RowsQuery, from: Micros, until: Micros) -> Result<WindowCount, Failure> {
        let mut reading = self.begin().await?;
        let doing = format!("recounting {}", query.table);
        let counted = match self.within(Some(CATALOG), 1, reading.shape(query), &doing).await {
            Ok(Ok((shape, moment))) => {
                let (sql, args) = statement::count(query, &shape, from, until);
                let body = async {
                    let row = bind(&sql, args).fetch_one(reading.connected.ask()).await?;
                    let rows: i64 = row.try_get(0)?;
                    Ok(WindowCount { rows: rows.unsigned_abs(), deletions: moment.deletions })
                };
                self.within(Some(&query.table), 1, body, &doing).await
            }
            Ok(Err(failure)) | Err(failure) => Err(failure),
        };
        reading.finish(counted).await
    }

    async fn examine_rows(&self, query: &RowsQuery) -> Result<Examination, Failure> {
        let mut reading = self.begin().await?;
        let body = examine::rows(&mut reading, query);
        let found = self.within(Some(&query.table), 6, body, &format!("examining {}", query.table)).await;
        reading.finish(found).await
    }

    async fn examine_snapshot(&self, query: &SnapshotQuery) -> Result<Examination, Failure> {
        let mut reading = self.begin().await?;
        let body = examine::snapshot(&mut reading, query);
        let found = self.within(None, 6, body, "examining the snapshot").await;
        reading.finish(found).await
    }
}

fn bind(sql: &str, args: Args) -> sqlx::query::Query<'static, sqlx::Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    for arg in args.0 {
        query = match arg {
            statement::Arg::Number(number) => query.bind(number),
            statement::Arg::Integer(integer) => query.bind(integer),
            statement::Arg::Text(text) => query.bind(text),
        };
    }
    query
}
