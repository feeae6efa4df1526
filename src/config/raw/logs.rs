//! `logs` as the operator writes it: whose log lines are taken in, how they come, and how much of them.
//!
//! Words that are one of a few are an `enum` of the schema, so the shape admits no others.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::duration::Text as Duration;
use crate::pack::{OneOrMany, Stream};

/// Log lines that are taken in and counted: drains that are posted to, files, standard input.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLogs {
    /// Address and port where drains alone are served, such as `0.0.0.0:9470`: what the world may reach. Without it, they are served
    /// beside `/metrics`.
    pub listen: Option<String>,
    /// Bytes of a request's body as it is sent; a larger one is answered 413.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = 16_777_216))]
    pub body_bytes: Option<usize>,
    /// Bytes of a request's body unpacked; a larger one is answered 413.
    #[schemars(range(min = 1024, max = 4_294_967_295_u64), extend("default" = 67_108_864))]
    pub unpacked_bytes: Option<usize>,
    /// Bytes of all requests that are read, or wait to be counted, together; what finds no room is answered 429.
    #[schemars(range(min = 1024, max = 68_719_476_736_u64), extend("default" = 134_217_728))]
    pub waiting_bytes: Option<usize>,
    /// Bytes of one line; what is longer is cut.
    #[schemars(range(min = 256, max = 67_108_864), extend("default" = 262_144))]
    pub line_bytes: Option<usize>,
    /// Time that a client has to send its body.
    #[schemars(with = "Option<Duration>", extend("default" = "30s"))]
    pub body_timeout: Option<String>,
    /// Lines of each drain that are remembered, so that one which is delivered again is known and not counted twice.
    #[schemars(range(min = 100, max = 100_000_000), extend("default" = 500_000))]
    pub remembered_lines: Option<usize>,
    /// Runs of one collector that may be under way: begun, and not ended yet.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    pub runs: Option<usize>,
    /// The drains. Where there is no file, `VERCEL_DRAIN_SECRET` (with `VERCEL_DRAIN_VERIFY`) opens one of kind `vercel` at
    /// `/drains/vercel`, and `ROWMETRY_DRAIN_TOKEN` one of kind `http` at `/drains/logs`. Of several exporters that share one configuration
    /// (`--shard`), the first has all drains; name `packs` there, since the database of a drain may be read by another.
    pub drains: Vec<RawDrain>,
}

/// One drain: lines of one application that come one way.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDrain {
    /// Your name for it (a-z, 0-9, `_`, `-`), which no source has; a label value (`source`).
    pub name: String,
    /// How lines come: `vercel` and `supabase` are posted by their log drains, `http` by anything else as JSON, JSON lines or plain
    /// lines, `otlp` by OTLP over HTTP; `file` follows a file that grows, `stdin` reads standard input.
    #[serde(default)]
    #[schemars(extend("enum" = ["vercel", "supabase", "http", "otlp", "file", "stdin"]))]
    pub kind: Option<String>,
    /// Where it is posted to, when that is not to be `/drains/NAME`; for `otlp`, `/v1/logs` is what most senders expect.
    #[serde(default)]
    pub path: Option<String>,
    /// The key with which bodies are signed (HMAC); a body that is not signed so is refused. Vercel's is shown where its drain is made.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretString>,
    /// A file that holds the key, such as a mounted secret; in place of `secret`.
    #[serde(default)]
    pub secret_file: Option<String>,
    /// How bodies are signed with the secret. Vercel's way is known.
    #[serde(default)]
    pub signature: Option<RawSignature>,
    /// The code that Vercel shows and wants to see in the header `x-vercel-verify` of every answer.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub verify: Option<SecretString>,
    /// The token that a request must bear, as `Authorization: Bearer TOKEN` or as the password of `Authorization: Basic …`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A file that holds the token; in place of `token`.
    #[serde(default)]
    pub token_file: Option<String>,
    /// The header that holds the token just as it is, in place of `Authorization: Bearer TOKEN`.
    #[serde(default)]
    pub token_header: Option<String>,
    /// Take lines from anybody who finds the address. A drain that is posted to and has neither secret nor token is refused without this.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub allow_anyone: Option<bool>,
    /// The file that is followed, through rotation and truncation (kind `file`).
    #[serde(default)]
    pub file: Option<String>,
    /// What stands where in a record (kinds `http`, `file` and `stdin`).
    #[serde(default)]
    pub fields: RawFields,
    /// Whose lines these are: those of the `application`, of its `postgres`, or both. Without it, `postgres` for Supabase and
    /// `application` for all others.
    #[serde(default)]
    pub streams: Option<Vec<Stream>>,
    /// The source that is the application's database: it knows which packs apply. Without it, the only database of the configuration.
    #[serde(default)]
    pub database: Option<String>,
    /// The packs that apply. Without it, those of the database.
    #[serde(default)]
    pub packs: Option<Vec<String>>,
    /// Collectors (`pack/collector`), or all of a pack, that are not run.
    #[serde(default)]
    pub skip: Vec<String>,
}

/// How bodies are signed: an HMAC over the body as it is sent.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSignature {
    /// The header that holds it.
    #[schemars(extend("default" = "x-signature"))]
    pub header: Option<String>,
    /// The hash.
    #[schemars(extend("enum" = ["sha256", "sha1"], "default" = "sha256"))]
    pub algorithm: Option<String>,
    /// What stands before it in the header, such as `sha256=`.
    pub prefix: Option<String>,
    /// How it is written.
    #[schemars(extend("enum" = ["hex", "base64"], "default" = "hex"))]
    pub encoding: Option<String>,
}

/// What stands where in a record: a name or a pointer such as `/log/level`, or several of which the first that is there holds.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawFields {
    /// The text of the line. Without it: `message`, `event_message`, `msg`, `log`, `body`, `text`.
    pub message: Option<OneOrMany>,
    /// When it was written: ISO 8601, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970. Without it:
    /// `timestamp`, `time`, `ts`, `@timestamp`, `date`, `_time`.
    pub time: Option<OneOrMany>,
    /// What tells it from every other line. Without it: `id`, `_id`, `event_id`.
    pub id: Option<OneOrMany>,
    /// Its level. Without it: `level`, `severity`, `severity_text`, `/log/level`.
    pub level: Option<OneOrMany>,
}
