//! URLs of sources: which kind of source one names, and how one is shown without its secret.
//!
//! No message and no shown form holds a password, a query parameter or any other part that could be one.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Upstream;
use crate::pack::System;

/// What is supported, for messages.
const SUPPORTED: &str = "postgres://user:password@host/database, postgresql://…, sqlite:path, or the path of an SQLite file; \
     redis://…, rediss://…, redis+unix://…; http://… and https://…";

/// The database's name by which PgBouncer knows its admin console.
const CONSOLE: &str = "/pgbouncer";

/// Hosts that serve Redis over HTTP, to those who have a token.
const REST_HOSTS: &str = ".upstash.io";

/// Endings of files that are taken for SQLite databases when only a path is given.
const SQLITE_ENDINGS: [&str; 4] = [".db", ".db3", ".sqlite", ".sqlite3"];

/// Finds the kind of source, and gives the URL in the form that the sources read: a bare path becomes `sqlite://path`.
/// `has_token`: a token for Redis over REST stands beside it.
///
/// # Errors
/// A sentence that says what is amiss, without the URL.
pub fn recognise(url: &SecretString, has_token: bool) -> Result<(Upstream, SecretString), String> {
    let text = url.expose_secret().trim();
    if text.is_empty() {
        return Err(format!("the URL is empty; supported: {SUPPORTED}"));
    }
    let lower = text.to_ascii_lowercase();
    let is_http = lower.starts_with("http://") || lower.starts_with("https://");
    if has_token && !is_http {
        return Err("a `token` belongs to an https:// URL (Upstash's REST); put another password into the URL".into());
    }
    if is_http {
        return http(text, has_token).map(|upstream| (upstream, SecretString::from(text)));
    }
    if lower.starts_with("postgres://") || lower.starts_with("postgresql://") {
        return postgres(text).map(|upstream| (upstream, SecretString::from(text)));
    }
    if ["redis://", "rediss://", "redis+unix://", "unix://"].iter().any(|scheme| lower.starts_with(scheme)) {
        return redis(text).map(|()| (Upstream::Redis, SecretString::from(text)));
    }
    if let Some(path) = lower.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//");
        if path.is_empty() || path.starts_with('?') {
            return Err("the URL names no SQLite file; write `sqlite:path/of/file.db`".into());
        }
        return Ok((Upstream::Database(System::Sqlite), SecretString::from(text)));
    }
    let is_path = !text.contains("://") && !text.contains('@');
    let is_sqlite_path = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
    if is_path && (is_sqlite_path || SQLITE_ENDINGS.iter().any(|ending| lower.ends_with(ending))) {
        return Ok((Upstream::Database(System::Sqlite), SecretString::from(format!("sqlite://{text}"))));
    }
    Err(match scheme(text) {
        Some(scheme) => format!("`{scheme}:` is not supported; supported: {SUPPORTED}"),
        None => format!("this is not the URL of a source; supported: {SUPPORTED}"),
    })
}

/// The URL for people: scheme, user, host, port and database, or the SQLite file.
pub fn shown(url: &SecretString) -> String {
    let text = url.expose_secret();
    if text.starts_with("sqlite:") {
        return text.split('?').next().unwrap_or_default().to_owned();
    }
    let Ok(url) = Url::parse(text) else { return "(a URL that is not shown)".to_owned() };
    // A user without a password is a name to a database; elsewhere it may be the secret itself, put in its place.
    let is_name = url.password().is_some() || url.scheme().starts_with("postgres");
    let user = if is_name && !url.username().is_empty() { format!("{}@", url.username()) } else { String::new() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{user}{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn http(text: &str, has_token: bool) -> Result<Upstream, String> {
    let url = Url::parse(text).map_err(|error| format!("the URL cannot be read ({error})"))?;
    let host = url.host_str().unwrap_or_default();
    if has_token {
        return Ok(Upstream::Upstash);
    }
    if host.ends_with(REST_HOSTS) {
        return Err("this is a Redis over REST and needs a token: give it as `token` (UPSTASH_REDIS_REST_TOKEN)".into());
    }
    Ok(Upstream::Http)
}

fn redis(text: &str) -> Result<(), String> {
    let amiss = |what: &str| {
        format!("the Redis URL {what}; if the password holds one of @ : / # ? %, write that as %40 %3A %2F %23 %3F %25")
    };
    let url = Url::parse(text).map_err(|error| amiss(&format!("cannot be read ({error})")))?;
    let is_socket = url.scheme().ends_with("unix");
    if is_socket && url.path().is_empty() {
        return Err(amiss("names no socket"));
    }
    if !is_socket && url.host_str().is_none_or(str::is_empty) {
        return Err(amiss("names no host"));
    }
    if url.fragment().is_some_and(|fragment| fragment != "insecure") {
        return Err(amiss("holds a `#`"));
    }
    if url.scheme() == "redis" && url.host_str().is_some_and(|host| host.ends_with(REST_HOSTS)) {
        return Err("this service speaks TLS only: write rediss:// in place of redis://".into());
    }
    if !is_socket && !url.path().trim_start_matches('/').bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(amiss("has more than a database's number after the host"));
    }
    Ok(())
}

fn postgres(text: &str) -> Result<Upstream, String> {
    let amiss = |what: &str| {
        format!(
            "the Postgres URL {what}; if the password holds one of @ : / # ? %, write that as %40 %3A %2F %23 %3F %25"
        )
    };
    let url = Url::parse(text).map_err(|error| amiss(&format!("cannot be read ({error})")))?;
    if url.host_str().is_none_or(str::is_empty) && !url.query_pairs().any(|(key, _)| key == "host") {
        return Err(amiss("names no host"));
    }
    if url.fragment().is_some() {
        return Err(amiss("holds a `#`"));
    }
    if url.path().trim_start_matches('/').contains('/') || url.path().contains('@') {
        return Err(amiss("has more than a database's name after the host"));
    }
    Ok(if url.path() == CONSOLE { Upstream::Pgbouncer } else { Upstream::Database(System::Postgres) })
}

/// The scheme, if the text begins with one that is surely no secret.
fn scheme(text: &str) -> Option<&str> {
    const LONGEST: usize = 20;
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.len() <= LONGEST
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    is_scheme.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: Upstream = Upstream::Database(System::Postgres);
    const SQLITE: Upstream = Upstream::Database(System::Sqlite);

    fn of(text: &str) -> Result<(Upstream, String), String> {
        with(text, false)
    }

    fn with(text: &str, has_token: bool) -> Result<(Upstream, String), String> {
        recognise(&SecretString::from(text), has_token).map(|(kind, url)| (kind, url.expose_secret().to_owned()))
    }

    #[test]
    fn recognises_what_it_supports() {
        for text in ["postgres://u:p@h/d", "postgresql://u:p%40@h:5432/d?sslmode=require", "postgres:///d?host=/run/pg"]
        {
            assert_eq!(of(text), Ok((POSTGRES, text.to_owned())), "{text}");
        }
        for (text, url) in [
            ("sqlite:a.db", "sqlite:a.db"),
            ("sqlite://a.db?mode=ro", "sqlite://a.db?mode=ro"),
            ("/var/a", "sqlite:///var/a"),
            ("./a", "sqlite://./a"),
            ("data.SQLITE3", "sqlite://data.SQLITE3"),
        ] {
            assert_eq!(of(text), Ok((SQLITE, url.to_owned())), "{text}");
        }
    }

    #[test]
    fn tells_a_redis_an_endpoint_and_a_console_apart() {
        for (text, has_token, wanted) in [
            ("redis://:p@h:6379/2", false, Upstream::Redis),
            ("rediss://default:p@x.upstash.io:6379", false, Upstream::Redis),
            ("redis+unix:///run/redis.sock?db=1", false, Upstream::Redis),
            ("https://x.upstash.io", true, Upstream::Upstash),
            ("http://127.0.0.1:8079", true, Upstream::Upstash),
            ("https://app.example/api/health", false, Upstream::Http),
            ("postgres://stats@h:6432/pgbouncer", false, Upstream::Pgbouncer),
            ("postgres://stats@h:6432/pgbouncers", false, POSTGRES),
        ] {
            assert_eq!(with(text, has_token), Ok((wanted, text.to_owned())), "{text}");
        }
        for (text, has_token, wanted) in [
            ("https://x.upstash.io", false, "needs a token"),
            ("redis://default:hunter2@x.upstash.io", false, "rediss://"),
            ("redis://:hunter2@h/zero", false, "database's number"),
            ("redis://", false, "names no host"),
            ("redis://h", true, "`token` belongs"),
        ] {
            let message = with(text, has_token).expect_err(text);
            assert!(message.contains(wanted) && !message.contains("hunter2@"), "{text}: {message}");
        }
    }

    #[test]
    fn refuses_the_rest_without_repeating_it() {
        for (text, wanted) in [
            ("", "is empty"),
            ("mysql://u:hunter2@h/d", "`mysql:` is not supported"),
            ("prisma+postgres://accelerate/?api_key=hunter2", "`prisma+postgres:` is not supported"),
            ("hunter2", "not the URL of a source"),
            ("hunter2://x", "supported"),
            ("HUNTER2://x", "not the URL of a source"),
            ("postgres://u:hunter2", "cannot be read"),
            ("postgres://u:hunter2#x@h/d", "%23"),
            ("postgres://u:hunter2/x@h/d", "%2F"),
            ("postgres://u:hunter2@x@h:99999/d", "cannot be read"),
            ("postgres:///d", "names no host"),
            ("postgres://u:1/hunter2@h/d", "%2F"),
            ("postgres://h/d#hunter2", "holds a `#`"),
            ("sqlite:", "names no SQLite file"),
            ("sqlite://?mode=ro", "names no SQLite file"),
            ("u:hunter2@h/x.db", "not the URL of a source"),
        ] {
            let message = of(text).expect_err(text);
            assert!(message.contains(wanted), "{text}: {message}");
            assert!(
                !message.contains("hunter2@") && !message.contains(":hunter2") && !message.contains("=hunter2"),
                "{message}"
            );
        }
    }

    #[test]
    fn shows_everything_but_the_secret() {
        for (text, wanted) in [
            (
                "postgres://app:hunter2@db.example:6543/shop?sslmode=require&password=hunter2",
                "postgres://app@db.example:6543/shop",
            ),
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://reader@h/d", "postgres://reader@h/d"),
            ("redis://app:hunter2@h:6379/2", "redis://app@h:6379/2"),
            ("redis://hunter2@h:6379/2", "redis://h:6379/2"),
            ("https://hunter2@h/health?token=hunter2", "https://h/health"),
            ("sqlite:///a.db?key=hunter2", "sqlite:///a.db"),
            ("hunter2", "(a URL that is not shown)"),
        ] {
            assert_eq!(shown(&SecretString::from(text)), wanted);
        }
    }
}
