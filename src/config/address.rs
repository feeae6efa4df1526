//! Database URLs: which kind of database one names, and how one is shown without its secret.
//!
//! No message and no shown form holds a password, a query parameter or any other part that could be one.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::pack::System;

/// What is supported, for messages.
const SUPPORTED: &str =
    "postgres://user:password@host/database, postgresql://…, sqlite:path, or the path of an SQLite file";

/// Endings of files that are taken for SQLite databases when only a path is given.
const SQLITE_ENDINGS: [&str; 4] = [".db", ".db3", ".sqlite", ".sqlite3"];

/// Finds the kind of database, and gives the URL in the form that the sources read: a bare path becomes `sqlite://path`.
///
/// # Errors
/// A sentence that says what is amiss, without the URL.
pub fn recognise(url: &SecretString) -> Result<(System, SecretString), String> {
    let text = url.expose_secret().trim();
    if text.is_empty() {
        return Err(format!("the URL is empty; supported: {SUPPORTED}"));
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("postgres://") || lower.starts_with("postgresql://") {
        return postgres(text).map(|()| (System::Postgres, SecretString::from(text)));
    }
    if let Some(path) = lower.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//");
        if path.is_empty() || path.starts_with('?') {
            return Err("the URL names no SQLite file; write `sqlite:path/of/file.db`".into());
        }
        return Ok((System::Sqlite, SecretString::from(text)));
    }
    let is_path = !text.contains("://") && !text.contains('@');
    let is_sqlite_path = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
    if is_path && (is_sqlite_path || SQLITE_ENDINGS.iter().any(|ending| lower.ends_with(ending))) {
        return Ok((System::Sqlite, SecretString::from(format!("sqlite://{text}"))));
    }
    Err(match scheme(text) {
        Some(scheme) => format!("`{scheme}:` is not supported; supported: {SUPPORTED}"),
        None => format!("this is not a database URL; supported: {SUPPORTED}"),
    })
}

/// The URL for people: scheme, user, host, port and database, or the SQLite file.
pub fn shown(url: &SecretString) -> String {
    let text = url.expose_secret();
    if text.starts_with("sqlite:") {
        return text.split('?').next().unwrap_or_default().to_owned();
    }
    let Ok(url) = Url::parse(text) else { return "(a URL that is not shown)".to_owned() };
    let user = if url.username().is_empty() { String::new() } else { format!("{}@", url.username()) };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{user}{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn postgres(text: &str) -> Result<(), String> {
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
    Ok(())
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

    fn of(text: &str) -> Result<(System, String), String> {
        recognise(&SecretString::from(text)).map(|(system, url)| (system, url.expose_secret().to_owned()))
    }

    #[test]
    fn recognises_what_it_supports() {
        for text in ["postgres://u:p@h/d", "postgresql://u:p%40@h:5432/d?sslmode=require", "postgres:///d?host=/run/pg"]
        {
            assert_eq!(of(text), Ok((System::Postgres, text.to_owned())), "{text}");
        }
        for (text, url) in [
            ("sqlite:a.db", "sqlite:a.db"),
            ("sqlite://a.db?mode=ro", "sqlite://a.db?mode=ro"),
            ("/var/a", "sqlite:///var/a"),
            ("./a", "sqlite://./a"),
            ("data.SQLITE3", "sqlite://data.SQLITE3"),
        ] {
            assert_eq!(of(text), Ok((System::Sqlite, url.to_owned())), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_without_repeating_it() {
        for (text, wanted) in [
            ("", "is empty"),
            ("mysql://u:hunter2@h/d", "`mysql:` is not supported"),
            ("prisma+postgres://accelerate/?api_key=hunter2", "`prisma+postgres:` is not supported"),
            ("hunter2", "not a database URL"),
            ("hunter2://x", "supported"),
            ("HUNTER2://x", "not a database URL"),
            ("postgres://u:hunter2", "cannot be read"),
            ("postgres://u:hunter2#x@h/d", "%23"),
            ("postgres://u:hunter2/x@h/d", "%2F"),
            ("postgres://u:hunter2@x@h:99999/d", "cannot be read"),
            ("postgres:///d", "names no host"),
            ("postgres://u:1/hunter2@h/d", "%2F"),
            ("postgres://h/d#hunter2", "holds a `#`"),
            ("sqlite:", "names no SQLite file"),
            ("sqlite://?mode=ro", "names no SQLite file"),
            ("u:hunter2@h/x.db", "not a database URL"),
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
            ("sqlite:///a.db?key=hunter2", "sqlite:///a.db"),
            ("hunter2", "(a URL that is not shown)"),
        ] {
            assert_eq!(shown(&SecretString::from(text)), wanted);
        }
    }
}
