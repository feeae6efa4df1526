//! The demo's own hand on an application's database: an SQLite file, or a database of a Postgres server.
//!
//! It makes, writes and asks. What a statement is for is not its business, and a server that is away is no reason to end.

mod postgres;
mod sqlite;

use std::path::Path;

use secrecy::SecretString;

use super::DemoError;
use super::draw::Value;
use super::script::{Script, Statement};
use crate::pack::System;
use postgres::PostgresDatabase;
use sqlite::SqliteFile;

/// Rows that one question may bring: more keys than an action has any use for at a time.
const ROWS: usize = 1000;

/// A database that is written.
pub(super) enum Database {
    Sqlite(SqliteFile),
    Postgres(Box<PostgresDatabase>),
}

impl Database {
    /// The system of the databases that this URL leads to; without one they are files.
    pub(super) fn system(url: Option<&SecretString>) -> System {
        if url.is_some() { System::Postgres } else { System::Sqlite }
    }

    /// Makes an application's database, without tables, in place of what was there: on the server of this URL, or as a file in
    /// the folder. Waits for a server that does not answer yet.
    pub(super) async fn create(script: &Script, folder: &Path, url: Option<&SecretString>) -> Result<Self, DemoError> {
        match url {
            None => Ok(Database::Sqlite(SqliteFile::create(folder.join(format!("{}.db", script.app))).await?)),
            Some(url) => Ok(Database::Postgres(Box::new(PostgresDatabase::create(&script.app, url).await?))),
        }
    }

    /// Where it is, as a source's `url`.
    pub(super) fn url(&self) -> String {
        match self {
            Database::Sqlite(file) => format!("sqlite:{}", file.path().display()),
            Database::Postgres(database) => database.url().to_owned(),
        }
    }

    /// Whether it can be written. A server that went away is asked again now and then.
    pub(super) async fn is_there(&mut self) -> Result<bool, DemoError> {
        match self {
            Database::Sqlite(_) => Ok(true),
            Database::Postgres(database) => database.is_there().await,
        }
    }

    /// Whether what failed is gone through by waiting; what was not committed is gone then.
    pub(super) fn waits_after(&mut self, error: &DemoError) -> bool {
        match self {
            Database::Sqlite(_) => false,
            Database::Postgres(database) => database.waits_after(error),
        }
    }

    /// Whether what failed on a server is gone through by waiting.
    pub(super) fn passes(error: &DemoError) -> bool {
        postgres::passes(error)
    }

    /// Begins a transaction that writes.
    pub(super) async fn begin(&mut self) -> Result<(), DemoError> {
        match self {
            Database::Sqlite(file) => file.begin().await,
            Database::Postgres(database) => database.plain("begin", "begin").await,
        }
    }

    /// Ends it.
    pub(super) async fn commit(&mut self) -> Result<(), DemoError> {
        match self {
            Database::Sqlite(file) => file.commit().await,
            Database::Postgres(database) => database.plain("commit", "commit").await,
        }
    }

    /// Makes the tables.
    pub(super) async fn fill(&mut self, what: &str, schema: String) -> Result<(), DemoError> {
        match self {
            Database::Sqlite(file) => file.plain(what, schema).await,
            Database::Postgres(database) => database.fill(what, &schema).await,
        }
    }

    /// Runs a statement; answers how many rows it wrote or changed.
    pub(super) async fn write(
        &mut self,
        what: &str,
        statement: &Statement,
        values: &[Value],
    ) -> Result<u64, DemoError> {
        match self {
            Database::Sqlite(file) => file.write(what, statement, values).await,
            Database::Postgres(database) => database.write(what, statement, values).await,
        }
    }

    /// The first rows that a question brings, each cell as text.
    pub(super) async fn ask(
        &mut self,
        what: &str,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Vec<String>>, DemoError> {
        match self {
            Database::Sqlite(file) => file.ask(what, statement, values).await,
            Database::Postgres(database) => database.ask(what, statement, values).await,
        }
    }

    /// Closes it.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        match self {
            Database::Sqlite(file) => file.close().await,
            Database::Postgres(database) => {
                database.close().await;
                Ok(())
            }
        }
    }

    /// The connection of a file.
    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut sqlx::SqliteConnection {
        match self {
            Database::Sqlite(file) => file.connection(),
            Database::Postgres(_) => panic!("it is no file"),
        }
    }
}

fn failed(what: &str, source: sqlx::Error) -> DemoError {
    DemoError::Statement { what: what.to_owned(), source }
}
