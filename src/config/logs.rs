//! Whose log lines are taken in, and how they come: drains that are posted to, files, standard input.
//!
//! Plain settings, checked. Nothing here listens or opens a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::pack::{Collector, Stream};

/// The header in which Vercel signs ("Securing your Drains" of its documentation).
pub const VERCEL_SIGNATURE: &str = "x-vercel-signature";

/// Everything that is decided about log lines.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// Where drains are posted to; none serves them beside `/metrics`.
    pub listen: Option<SocketAddr>,
    /// What one request and all of them together may cost.
    pub limits: IntakeLimits,
    /// The drains.
    pub drains: Vec<DrainSettings>,
}

impl LogSettings {
    /// Everything that is decided, to be compared. It holds secrets, so it is never printed.
    pub fn fingerprint(&self) -> String {
        let drains: Vec<String> = self.drains.iter().map(DrainSettings::fingerprint).collect();
        format!("{:?} {:?} {drains:?}", self.listen, self.limits)
    }
}

/// Bounds on what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Bytes of a request's body as it is sent.
    pub body_bytes: usize,
    /// Bytes of a request's body unpacked.
    pub unpacked_bytes: usize,
    /// Bytes of all requests that are read, or wait to be counted, together.
    pub waiting_bytes: usize,
    /// Bytes of one line; what is longer is cut.
    pub line_bytes: usize,
    /// Time that a client has to send its body.
    pub body_timeout: Duration,
    /// Lines of a drain that are remembered, so that one which is delivered again is known.
    pub remembered_lines: usize,
    /// Runs of one collector that may be under way.
    pub runs: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        IntakeLimits {
            body_bytes: 16 << 20,
            unpacked_bytes: 64 << 20,
            waiting_bytes: 128 << 20,
            line_bytes: 256 << 10,
            body_timeout: Duration::from_secs(30),
            remembered_lines: 500_000,
            runs: 100_000,
        }
    }
}

/// One drain.
#[derive(Debug, Clone)]
pub struct DrainSettings {
    /// The operator's name for it; a label value (`source`).
    pub name: String,
    /// How its lines come.
    pub kind: DrainKind,
    /// Where it is posted to, as `/drains/NAME`; empty for files and standard input.
    pub path: String,
    /// How a request shows that it may.
    pub auth: DrainAuth,
    /// The file that is followed.
    pub file: Option<PathBuf>,
    /// What stands where in a record; used by `http`, files and standard input.
    pub fields: RecordFields,
    /// Whose lines these are.
    pub streams: Vec<Stream>,
    /// The source that is the application's database: it says which packs apply.
    pub database: Option<String>,
    /// Which packs apply; none means those of the database.
    pub packs: Option<Vec<String>>,
    /// Collectors (`pack/collector`), or all of a pack, that are not run.
    pub skip: Vec<String>,
}

impl DrainSettings {
    /// A drain with every default, that anybody may post to.
    pub fn new(name: impl Into<String>, kind: DrainKind) -> Self {
        let name = name.into();
        let stream = if kind == DrainKind::Supabase { Stream::Postgres } else { Stream::Application };
        DrainSettings {
            path: if kind.is_posted() { format!("/drains/{name}") } else { String::new() },
            name,
            kind,
            auth: DrainAuth::default(),
            file: None,
            fields: RecordFields::default(),
            streams: vec![stream],
            database: None,
            packs: None,
            skip: Vec::new(),
        }
    }

    /// Whether it runs a collector of a pack that applies: one of log lines, of a stream that it brings, that is not left out.
    pub fn runs(&self, pack: &str, collector: &Collector) -> bool {
        let brings = collector.logs.as_ref().is_some_and(|logs| self.streams.contains(&logs.stream));
        brings && !self.skips(pack, &collector.name)
    }

    /// Whether the configuration leaves a collector out.
    pub fn skips(&self, pack: &str, collector: &str) -> bool {
        super::is_skipped(&self.skip, pack, collector)
    }

    /// Everything that is decided of it, to be compared. It holds secrets, so it is never printed.
    pub fn fingerprint(&self) -> String {
        let DrainAuth { token, signature, verify, .. } = &self.auth;
        let secrets = [token.as_ref(), signature.as_ref().map(|of| &of.secret), verify.as_ref()];
        format!("{self:?} {:?}", secrets.map(|secret| secret.map(ExposeSecret::expose_secret)))
    }
}

/// How lines come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DrainKind {
    /// Posted by Vercel's log drains.
    Vercel,
    /// Posted by Supabase's log drains.
    Supabase,
    /// Posted by anything else, as JSON, JSON lines or plain lines.
    Http,
    /// Posted by OTLP (HTTP, protobuf).
    Otlp,
    /// Read from a file that grows.
    File,
    /// Read from standard input.
    Stdin,
}

impl DrainKind {
    /// Every kind.
    pub const ALL: [DrainKind; 6] =
        [DrainKind::Vercel, DrainKind::Supabase, DrainKind::Http, DrainKind::Otlp, DrainKind::File, DrainKind::Stdin];

    /// The word for it, in the configuration and on the front page.
    pub const fn as_str(self) -> &'static str {
        match self {
            DrainKind::Vercel => "vercel",
            DrainKind::Supabase => "supabase",
            DrainKind::Http => "http",
            DrainKind::Otlp => "otlp",
            DrainKind::File => "file",
            DrainKind::Stdin => "stdin",
        }
    }

    /// The kind of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether nothing is known of its records but what `fields` say.
    pub const fn is_generic(self) -> bool {
        matches!(self, DrainKind::Http | DrainKind::File | DrainKind::Stdin)
    }

    /// Whether it is posted to.
    pub const fn is_posted(self) -> bool {
        !matches!(self, DrainKind::File | DrainKind::Stdin)
    }
}

/// How a request shows that it may. All that is set must hold; with nothing set, everybody may.
#[derive(Debug, Clone, Default)]
pub struct DrainAuth {
    /// The bearer token (`Authorization: Bearer …`), or what `token_header` holds.
    pub token: Option<SecretString>,
    /// The header that holds the token as it is, in place of `Authorization`; in lower case.
    pub token_header: Option<String>,
    /// What the body is signed with.
    pub signature: Option<Signature>,
    /// What Vercel wants to see in the header `x-vercel-verify` of every answer.
    pub verify: Option<SecretString>,
}

/// How bodies are signed: an HMAC over the bytes as they are sent.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The key.
    pub secret: SecretString,
    /// The header that holds the signature, in lower case.
    pub header: String,
    /// The hash.
    pub algorithm: SignatureAlgorithm,
    /// What stands before it in the header (`sha256=`).
    pub prefix: String,
    /// How it is written.
    pub encoding: SignatureEncoding,
}

/// Hashes of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// HMAC with SHA-1, as Vercel signs.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal.
    Hex,
    /// Base64.
    Base64,
}

/// What stands where in a record of a generic drain: names or pointers, the first that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFields {
    /// The text of the line.
    pub message: Vec<String>,
    /// When it was written: ISO 8601, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970.
    pub time: Vec<String>,
    /// What tells it from every other line.
    pub id: Vec<String>,
    /// Its level.
    pub level: Vec<String>,
}

impl Default for RecordFields {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        RecordFields {
            message: names(&["message", "event_message", "msg", "log", "body", "text"]),
            time: names(&["timestamp", "time", "ts", "@timestamp", "date", "_time"]),
            id: names(&["id", "_id", "event_id"]),
            level: names(&["level", "severity", "severity_text", "/log/level"]),
        }
    }
}
