//! Connection options from a URL as Neon's, Supabase's and everybody's consoles print it.
//!
//! Every option is set from the URL or from a fixed default, so that no `PG…` variable of the machine changes where we
//! connect. No startup parameter is sent that a transaction pooler refuses. The URL is never repeated in a message.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Reads a URL.
///
/// # Errors
/// A sentence that says what is wrong, without the URL.
pub fn options(url: &SecretString) -> Result<PgConnectOptions, String> {
    let url = url::Url::parse(url.expose_secret()).map_err(|error| {
        format!("the URL cannot be read: {error}; a special character in a password must be %-encoded")
    })?;
    let decode = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| "the URL is not UTF-8".to_owned())
    };
    let user = match url.username() {
        "" => "postgres".to_owned(),
        user => decode(user)?,
    };
    let database = match url.path().trim_start_matches('/') {
        "" => user.clone(),
        database => decode(database)?,
    };
    // An empty host means localhost, as libpq's users expect of `postgres:///name`.
    let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
    let host = decode(host.trim_start_matches('[').trim_end_matches(']'))?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(url.port().unwrap_or(5432))
        .username(&user)
        .password(&url.password().map(decode).transpose()?.unwrap_or_default())
        .database(&database)
        .ssl_mode(PgSslMode::Prefer)
        .application_name("rowmetry")
        .statement_cache_capacity(0)
        .extra_float_digits(None);
    for (name, value) in url.query_pairs() {
        options = match name.as_ref() {
            "sslmode" => options.ssl_mode(ssl_mode(&value)?),
            "sslrootcert" if value != "system" => options.ssl_root_cert(value.as_ref()),
            "sslcert" => options.ssl_client_cert(value.as_ref()),
            "sslkey" => options.ssl_client_key(value.as_ref()),
            "host" if value.starts_with('/') => options.socket(value.as_ref()),
            "host" => options.host(&value),
            "port" => options.port(value.parse().map_err(|_| "the port in the URL is not a number".to_owned())?),
            "user" => options.username(&value),
            "password" => options.password(&value),
            "dbname" => options.database(&value),
            // `channel_binding`, `pgbouncer`, `options`, `connection_limit`…: meant for other drivers, or refused by
            // poolers.
            _ => options,
        };
    }
    Ok(options)
}

fn ssl_mode(value: &str) -> Result<PgSslMode, String> {
    Ok(match value {
        "disable" => PgSslMode::Disable,
        "allow" => PgSslMode::Allow,
        "prefer" => PgSslMode::Prefer,
        // `no-verify` is node-postgres' word for encryption without a look at the certificate.
        "require" | "no-verify" => PgSslMode::Require,
        "verify-ca" => PgSslMode::VerifyCa,
        "verify-full" => PgSslMode::VerifyFull,
        _ => {
            return Err(
                "`sslmode` in the URL is none of disable, allow, prefer, require, verify-ca, verify-full".to_owned()
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<PgConnectOptions, String> {
        options(&SecretString::from(url))
    }

    #[test]
    fn reads_urls_as_consoles_print_them() {
        let neon = "postgresql://app_owner:npg_Sec%2Fret@ep-cool-name-123-pooler.eu-central-1.aws.neon.tech/app?sslmode=require&channel_binding=require";
        let options = read(neon).expect("a Neon URL");
        assert_eq!(options.get_host(), "ep-cool-name-123-pooler.eu-central-1.aws.neon.tech");
        assert_eq!(options.get_port(), 5432);
        assert_eq!(options.get_database(), Some("app"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
        let supabase = "postgres://postgres.abcdefghijkl:p%40ss@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1";
        let options = read(supabase).expect("a Supabase URL");
        assert_eq!(options.get_username(), "postgres.abcdefghijkl");
        assert_eq!(options.get_port(), 6543);
        let socket = read("postgres:///app?host=/var/run/postgresql&user=ana").expect("a socket URL");
        assert_eq!(socket.get_socket().map(|path| path.display().to_string()), Some("/var/run/postgresql".to_owned()));
    }

    #[test]
    fn no_message_repeats_the_secret() {
        for bad in [
            "postgres://app:s3cret@h:99999/db",
            "postgres://app:s3cret@h/db?sslmode=maybe",
            "postgres://app:s3cret@/x y:z@@:/",
        ] {
            if let Err(message) = read(bad) {
                assert!(!message.contains("s3cret"), "{message}");
            }
        }
    }
}
