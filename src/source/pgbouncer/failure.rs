//! What an error of the console or of the way to it means, in the closed list of reasons.
//!
//! PgBouncer has few SQLSTATEs and gives most of its refusals the same one (08P01), so its words decide. No message holds
//! more than those words: they name users and commands, no password.

use crate::telemetry::{Failure, Reason};

/// SQLSTATEs by which a real Postgres says that it does not know `SHOW POOLS`.
const UNKNOWN_PARAMETER: [&str; 2] = ["42704", "42601"];

/// Translates a driver error. `doing` says what was attempted.
pub(super) fn failure(error: &sqlx::Error, doing: &str) -> Failure {
    match error {
        sqlx::Error::Database(refusal) => refused(&refusal.code().unwrap_or_default(), refusal.message(), doing),
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
        other => Failure::new(Reason::BadReply, format!("{doing}: {other}")),
    }
}

fn refused(code: &str, message: &str, doing: &str) -> Failure {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if message == "not allowed" || says(&["not allowed to connect"]) {
        return Failure::new(
            Reason::Forbidden,
            format!(
                "{doing}: this user may not use the console; name it under `stats_users` in pgbouncer.ini and reload PgBouncer"
            ),
        );
    }
    if says(&["admin access needed"]) {
        return Failure::new(
            Reason::Forbidden,
            format!("{doing}: {message}; name the user under `admin_users`, or leave this collector out with `skip`"),
        );
    }
    if says(&["invalid command"]) {
        return Failure::new(Reason::MissingTable, format!("{doing}: this version of PgBouncer has no such command"));
    }
    if UNKNOWN_PARAMETER.contains(&code) {
        return Failure::new(
            Reason::BadQuery,
            format!(
                "{doing}: this is a database named `pgbouncer` and no console of PgBouncer; give the pooler's own port"
            ),
        );
    }
    let reason = if code == "53300" || says(&["no more connections allowed", "too many"]) {
        Reason::TooManyConnections
    } else if code.starts_with("28") || says(&["authentication failed", "no such user", "password", "no such database"])
    {
        Reason::BadCredentials
    } else if code.starts_with("57P") || says(&["shutting down", "login_timeout", "disconnect", "timeout", "closed"]) {
        Reason::Unreachable
    } else {
        Reason::BadQuery
    };
    Failure::new(reason, format!("{doing}: {message} (SQLSTATE {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_reason() {
        for (code, message, reason, mend) in [
            ("08P01", "not allowed", Reason::Forbidden, "`stats_users`"),
            ("08P01", "admin access needed", Reason::Forbidden, "`admin_users`"),
            ("28P01", "password authentication failed", Reason::BadCredentials, "authentication"),
            ("08P01", "SASL authentication failed", Reason::BadCredentials, "authentication"),
            ("08P01", "no such user: ana", Reason::BadCredentials, "ana"),
            ("08P01", "no more connections allowed (max_client_conn)", Reason::TooManyConnections, "max_client_conn"),
            ("08P01", "the database system is shutting down", Reason::Unreachable, "shutting down"),
            ("08P01", "client_login_timeout (server down)", Reason::Unreachable, "client_login_timeout"),
            ("08P01", "invalid command 'SHOW NEWS', use SHOW HELP;", Reason::MissingTable, "no such command"),
            ("42704", "unrecognized configuration parameter \"pools\"", Reason::BadQuery, "own port"),
            ("08P01", "something new", Reason::BadQuery, "something new"),
        ] {
            let failure = refused(code, message, "SHOW POOLS");
            assert_eq!(failure.reason, reason, "{code} {message}");
            assert!(failure.message.contains(mend), "{}", failure.message);
        }
    }
}
