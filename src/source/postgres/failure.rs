//! What an error of Postgres or of the way to it means, in the closed list of reasons.
//!
//! A message shown to people names tables, columns and settings, never a row's content: what the server says of data
//! (SQLSTATE classes 22 and 23) is left out.

use crate::telemetry::{Failure, Reason};

/// Translates a driver error. `doing` says what was attempted.
pub fn failure(error: &sqlx::Error, doing: &str) -> Failure {
    match error {
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().unwrap_or_default().into_owned();
            refused(&code, refusal.message(), doing)
        }
        sqlx::Error::Io(cause) => Failure::new(Reason::Unreachable, format!("{doing}: the connection failed: {cause}")),
        sqlx::Error::Tls(cause) => Failure::new(
            Reason::Unreachable,
            format!("{doing}: TLS failed: {cause}; look at `sslmode` and `sslrootcert` in the URL"),
        ),
        sqlx::Error::Configuration(cause) => {
            Failure::new(Reason::Unreachable, format!("{doing}: the connection settings do not work: {cause}"))
        }
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Failure::new(Reason::Unreachable, format!("{doing}: the connection broke in the middle of a reply"))
        }
        // Driver messages about values may quote them, so only the kind is told.
        sqlx::Error::ColumnDecode { index, .. } => {
            Failure::new(Reason::BadReply, format!("{doing}: column {index} could not be read as what it should be"))
        }
        sqlx::Error::Decode(_) => Failure::new(Reason::BadReply, format!("{doing}: a value could not be read")),
        other => Failure::new(Reason::BadReply, format!("{doing}: {other}")),
    }
}

fn refused(code: &str, message: &str, doing: &str) -> Failure {
    let reason = match code {
        "42P01" | "3F000" => Reason::MissingTable,
        "42703" | "42704" | "42883" => Reason::MissingColumn,
        // An extension that was made and whose library is not loaded is not there.
        "55000" if message.contains("shared_preload_libraries") => Reason::MissingTable,
        "42501" if message.contains("row-level security") => Reason::RowsHidden,
        "42501" => Reason::Forbidden,
        "57014" => Reason::Timeout,
        "55P03" => Reason::LockTimeout,
        "53300" => Reason::TooManyConnections,
        "3D000" => Reason::BadCredentials,
        _ if code.starts_with("28") => Reason::BadCredentials,
        _ if code.starts_with("08") || code.starts_with("57P") => Reason::Unreachable,
        "25P03" => Reason::Unreachable,
        _ => Reason::BadQuery,
    };
    let said = match reason {
        Reason::Timeout => format!("{doing}: cut off by `statement_timeout`; raise it, or add an index (see `check`)"),
        Reason::LockTimeout => format!("{doing}: somebody holds a lock on the table for longer than `lock_timeout`"),
        Reason::RowsHidden => format!(
            "{doing}: row-level security would hide rows from this role ({message}); give it BYPASSRLS, or use a role \
             that owns the tables"
        ),
        Reason::Forbidden => format!("{doing}: {message}; grant it (`rowmetry check` prints the grants)"),
        Reason::MissingTable | Reason::MissingColumn => format!("{doing}: {message}"),
        Reason::BadQuery if code.starts_with("22") || code.starts_with("23") => {
            format!("{doing}: a row's value does not fit an expression of the pack (SQLSTATE {code})")
        }
        _ => format!("{doing}: {message} (SQLSTATE {code})"),
    };
    Failure::new(reason, said.trim_start_matches(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_reason() {
        for (code, message, reason) in [
            ("42P01", "relation \"x\" does not exist", Reason::MissingTable),
            ("55000", "pg_stat_statements must be loaded via shared_preload_libraries", Reason::MissingTable),
            ("42703", "column \"x\" does not exist", Reason::MissingColumn),
            ("42501", "permission denied for table x", Reason::Forbidden),
            ("42501", "query would be affected by row-level security policy for table \"x\"", Reason::RowsHidden),
            ("57014", "canceling statement due to statement timeout", Reason::Timeout),
            ("55P03", "canceling statement due to lock timeout", Reason::LockTimeout),
            ("28P01", "password authentication failed", Reason::BadCredentials),
            ("57P03", "the database system is starting up", Reason::Unreachable),
            ("53300", "too many connections for role", Reason::TooManyConnections),
            ("42601", "syntax error", Reason::BadQuery),
        ] {
            assert_eq!(refused(code, message, "reading x").reason, reason, "{code} {message}");
        }
    }

    #[test]
    fn no_row_content_is_told() {
        let failure = refused("22P02", "invalid input syntax for type integer: \"ana@example.org\"", "reading x");
        assert!(!failure.message.contains("ana@"), "{}", failure.message);
    }
}
