//! Whose log lines are taken in: each drain by itself, and all of them beside each other and the sources.
//!
//! No message repeats a secret or a token. Nothing here listens, and only files that hold secrets are read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secrecy::SecretString;

use super::{Check, strs};
use crate::config::logs::{
    DrainAuth, IntakeLimits, RecordFields, Signature, SignatureAlgorithm, SignatureEncoding, VERCEL_SIGNATURE,
};
use crate::config::raw::{RawConfig, RawDrain, RawFields, RawLogs};
use crate::config::{DrainKind, DrainSettings, LogSettings, SourceSettings};
use crate::pack::{OneOrMany, Stream};

/// Paths that the server answers itself; so is everything below `/-/`.
const OWN_PATHS: [&str; 5] = ["/", "/metrics", "/healthz", "/readyz", "/api/status"];

/// Letters of a path: a whole request line has little more room.
const PATH_LENGTH: usize = 256;

/// The header of a signature, where nothing else is said.
const SIGNATURE_HEADER: &str = "x-signature";

/// Why a drain that anybody may post to must say so.
const NOBODY_ASKED: &str = "nothing shows who may post here, so whoever finds the address could make up lines that count: give it a `secret` or a \
     `token`, or write `allow_anyone: true` where something before it lets nobody else in";

impl Check<'_> {
    pub(super) fn logs(&mut self, raw: &RawConfig, sources: &[SourceSettings]) -> LogSettings {
        let listen = self.drains_listen(raw);
        let limits = self.intake(&raw.logs);
        let mut drains = Vec::new();
        for (index, drain) in raw.logs.drains.iter().enumerate() {
            let place = index.to_string();
            let at = ["logs", "drains", &place];
            self.drain_name(&at, raw, index);
            let kind = drain.kind.as_deref().and_then(DrainKind::of);
            if kind.is_none() && !self.partial {
                let known = DrainKind::ALL.map(DrainKind::as_str).join(", ");
                self.complain(&at, format!("`kind` is missing: say how lines come, by one of {known}"));
            }
            // The rest is looked at although the kind may be amiss, so that everything is told at once.
            let settings = self.drain(&at, drain, kind.unwrap_or(DrainKind::Http), kind.is_some());
            self.followed(&at, drain, raw, sources);
            drains.push(settings);
        }
        self.beside_each_other(&raw.logs.drains, &drains);
        let databases: Vec<&SourceSettings> =
            sources.iter().filter(|source| source.upstream.database().is_some()).collect();
        if let [only] = databases.as_slice() {
            for drain in drains.iter_mut().filter(|drain| drain.database.is_none()) {
                drain.database = Some(only.name.clone());
            }
        }
        LogSettings { listen, limits, drains }
    }

    fn drains_listen(&mut self, raw: &RawConfig) -> Option<std::net::SocketAddr> {
        let text = raw.logs.listen.as_deref()?;
        let path = ["logs", "listen"];
        let Ok(listen) = text.trim().parse::<std::net::SocketAddr>() else {
            self.complain(&path, "expected an address and a port, such as `0.0.0.0:9470` for all of IPv4");
            return None;
        };
        let main = self.overrides.listen.as_deref().or(raw.listen.as_deref());
        let main = main.map_or(Some(super::DEFAULT_LISTEN), |text| text.trim().parse().ok());
        let is_taken = main.is_some_and(|main| {
            let ip_is_shared = main.ip() == listen.ip() || main.ip().is_unspecified() || listen.ip().is_unspecified();
            main.port() == listen.port() && main.port() != 0 && ip_is_shared
        });
        if is_taken {
            self.complain(
                &path,
                "`/metrics` is served at this port already: take another, or leave it out to serve drains beside `/metrics`",
            );
        }
        Some(listen)
    }

    fn intake(&mut self, raw: &RawLogs) -> IntakeLimits {
        let default = IntakeLimits::default();
        let limits = IntakeLimits {
            body_bytes: raw.body_bytes.unwrap_or(default.body_bytes),
            unpacked_bytes: raw.unpacked_bytes.unwrap_or(default.unpacked_bytes),
            waiting_bytes: raw.waiting_bytes.unwrap_or(default.waiting_bytes),
            line_bytes: raw.line_bytes.unwrap_or(default.line_bytes),
            body_timeout: self.duration(
                &["logs", "body_timeout"],
                raw.body_timeout.as_deref(),
                default.body_timeout,
                false,
            ),
            remembered_lines: raw.remembered_lines.unwrap_or(default.remembered_lines),
            runs: raw.runs.unwrap_or(default.runs),
        };
        let pairs = [
            (("body_bytes", limits.body_bytes, raw.body_bytes), ("unpacked_bytes", limits.unpacked_bytes)),
            (("unpacked_bytes", limits.unpacked_bytes, raw.unpacked_bytes), ("waiting_bytes", limits.waiting_bytes)),
            (("line_bytes", limits.line_bytes, raw.line_bytes), ("unpacked_bytes", limits.unpacked_bytes)),
        ];
        for ((key, small, written), (other, large)) in pairs {
            if small > large {
                // What is written is told where it is written; the default beside it has no line.
                let key_at = if written.is_some() { key } else { other };
                self.complain(
                    &["logs", key_at],
                    format!("`{key}` ({small}) is more than `{other}` ({large}) has room for; make it at most that"),
                );
            }
        }
        limits
    }

    fn drain_name(&mut self, at: &[&str], raw: &RawConfig, index: usize) {
        let name = &raw.logs.drains[index].name;
        let path = of(at, "name");
        if !is_name(name) {
            self.complain(&strs(&path), "a drain's name has a-z, 0-9, _ and - only");
        } else if raw.logs.drains[..index].iter().any(|other| other.name == *name) {
            self.complain(&strs(&path), "another drain has this name; every drain needs its own");
        } else if raw.sources.iter().any(|source| source.name == *name) {
            self.complain(
                &strs(&path),
                "a source has this name; both are values of the label `source`, so each needs its own",
            );
        }
    }

    fn drain(&mut self, at: &[&str], raw: &RawDrain, kind: DrainKind, kind_is_known: bool) -> DrainSettings {
        let mut settings = DrainSettings::new(&raw.name, kind);
        if kind_is_known {
            self.misplaced(at, raw, kind);
        }
        if let Some(path) = raw.path.as_deref().filter(|_| kind.is_posted()) {
            if let Some(message) = wrong_path(path) {
                self.complain(&strs(&of(at, "path")), message);
            }
            path.clone_into(&mut settings.path);
        }
        settings.auth = self.auth(at, raw, kind);
        settings.file = raw.file.as_ref().map(PathBuf::from);
        match &settings.file {
            None if kind == DrainKind::File && !self.partial => {
                self.complain(at, "`file` is missing: say which file is followed");
            }
            Some(file) if file.as_os_str().is_empty() => {
                self.complain(&strs(&of(at, "file")), "the file's name is empty; say which file is followed");
            }
            _ => {}
        }
        settings.fields = self.fields(at, &raw.fields);
        if let Some(streams) = &raw.streams {
            if streams.is_empty() {
                let known = [Stream::Application, Stream::Postgres].map(Stream::as_str).join(", ");
                let path = of(at, "streams");
                self.complain(&strs(&path), format!("name at least one of {known}, or remove the setting"));
            }
            settings.streams = streams.iter().copied().collect::<BTreeSet<Stream>>().into_iter().collect();
        }
        settings.database.clone_from(&raw.database);
        settings.packs.clone_from(&raw.packs);
        self.pack_names(raw.packs.as_deref().unwrap_or_default(), &of(at, "packs"));
        settings.skip.clone_from(&raw.skip);
        self.skip_names(&raw.skip, &of(at, "skip"));
        settings
    }

    /// Settings that mean nothing for this kind.
    fn misplaced(&mut self, at: &[&str], raw: &RawDrain, kind: DrainKind) {
        let word = kind.as_str();
        let of_posted = [
            ("path", raw.path.is_some()),
            ("secret", raw.secret.is_some()),
            ("secret_file", raw.secret_file.is_some()),
            ("signature", raw.signature.is_some()),
            ("verify", raw.verify.is_some()),
            ("token", raw.token.is_some()),
            ("token_file", raw.token_file.is_some()),
            ("token_header", raw.token_header.is_some()),
            ("allow_anyone", raw.allow_anyone.is_some()),
        ];
        for (key, _) in of_posted.iter().filter(|(_, is_set)| *is_set && !kind.is_posted()) {
            let message = format!("a drain of kind `{word}` is not posted to, so it has no `{key}`; remove it");
            self.complain(&strs(&of(at, key)), message);
        }
        if raw.file.is_some() && kind != DrainKind::File {
            let message =
                format!("only a drain of kind `file` follows a file, and this is `{word}`; remove one of both");
            self.complain(&strs(&of(at, "file")), message);
        }
        if kind.is_posted() && kind != DrainKind::Vercel && raw.verify.is_some() {
            self.complain(
                &strs(&of(at, "verify")),
                format!("only Vercel asks for a code, and this is `{word}`; remove it"),
            );
        }
        if kind == DrainKind::Vercel && raw.signature.is_some() {
            self.complain(&strs(&of(at, "signature")), "how Vercel signs is known; remove it, `secret` is enough");
        }
        let RawFields { message, time, id, level } = &raw.fields;
        let names_fields = [message, time, id, level].into_iter().any(Option::is_some);
        if names_fields && !kind.is_generic() {
            let message = format!("what stands where in a record of kind `{word}` is known; remove `fields`");
            self.complain(&strs(&of(at, "fields")), message);
        }
    }

    fn auth(&mut self, at: &[&str], raw: &RawDrain, kind: DrainKind) -> DrainAuth {
        if !kind.is_posted() {
            return DrainAuth::default();
        }
        let secret = self.secret(at, ["secret", "secret_file"], raw.secret.as_ref(), raw.secret_file.as_deref());
        let token = self.secret(at, ["token", "token_file"], raw.token.as_ref(), raw.token_file.as_deref());
        let verify = self.secret(at, ["verify", ""], raw.verify.as_ref(), None);
        let token_key = if raw.token_file.is_some() { "token_file" } else { "token" };
        for (key, held) in [(token_key, &token), ("verify", &verify)] {
            if held.as_ref().is_some_and(|held| !fits_header(held)) {
                let message = "it cannot stand in a header: it may have printable ASCII only";
                self.complain(&strs(&of(at, key)), message);
            }
        }
        if token.as_ref().is_some_and(|token| raw.token_header.is_none() && has_scheme(token)) {
            let message = "no sender can show it: write the token alone, without `Bearer` before it";
            self.complain(&strs(&of(at, token_key)), message);
        }
        let has_secret = raw.secret.is_some() || raw.secret_file.is_some();
        let has_token = raw.token.is_some() || raw.token_file.is_some();
        match (has_secret || has_token, raw.allow_anyone) {
            (false, None | Some(false)) if !self.partial => self.complain(at, NOBODY_ASKED),
            (true, Some(true)) => {
                let path = of(at, "allow_anyone");
                self.complain(&strs(&path), "a secret or a token is given too, which lets not anyone in; keep one");
            }
            _ => {}
        }
        if raw.signature.is_some() && !has_secret && kind != DrainKind::Vercel && !self.partial {
            let message = "it says how bodies are signed, but not with what: give a `secret` too, or remove it";
            self.complain(&strs(&of(at, "signature")), message);
        }
        if raw.token_header.is_some() && !has_token && !self.partial {
            let message = "it says where the token stands, but there is none: give a `token` too, or remove it";
            self.complain(&strs(&of(at, "token_header")), message);
        }
        let token_header = raw.token_header.as_deref().map(|name| self.header(&of(at, "token_header"), name));
        let signature = self.signature(at, raw, kind);
        DrainAuth { token, token_header, signature: secret.map(|secret| signature.with(secret)), verify }
    }

    fn signature(&mut self, at: &[&str], raw: &RawDrain, kind: DrainKind) -> Unkeyed {
        let (header, algorithm) = match kind {
            DrainKind::Vercel => (VERCEL_SIGNATURE, SignatureAlgorithm::Sha1),
            _ => (SIGNATURE_HEADER, SignatureAlgorithm::Sha256),
        };
        let mut signature =
            Unkeyed { header: header.into(), algorithm, prefix: String::new(), encoding: SignatureEncoding::Hex };
        let Some(written) = raw.signature.as_ref().filter(|_| kind != DrainKind::Vercel) else { return signature };
        let path = of(at, "signature");
        if let Some(name) = &written.header {
            signature.header = self.header(&of(&strs(&path), "header"), name);
        }
        if written.algorithm.as_deref() == Some("sha1") {
            signature.algorithm = SignatureAlgorithm::Sha1;
        }
        if written.encoding.as_deref() == Some("base64") {
            signature.encoding = SignatureEncoding::Base64;
        }
        if let Some(prefix) = &written.prefix {
            if !prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                let path = of(&strs(&path), "prefix");
                self.complain(&strs(&path), "it cannot stand in a header: it may have printable ASCII only");
            }
            signature.prefix.clone_from(prefix);
        }
        signature
    }

    /// A header's name in lower case (RFC 9110, section 5.1: a token, and case does not matter).
    fn header(&mut self, path: &[String], name: &str) -> String {
        let name = name.trim().to_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            self.complain(&strs(path), "expected the name of a header, such as `x-signature`: letters, digits and -");
        }
        name
    }

    fn fields(&mut self, at: &[&str], raw: &RawFields) -> RecordFields {
        let mut fields = RecordFields::default();
        for (key, written, field) in [
            ("message", &raw.message, &mut fields.message),
            ("time", &raw.time, &mut fields.time),
            ("id", &raw.id, &mut fields.id),
            ("level", &raw.level, &mut fields.level),
        ] {
            let Some(names) = written.as_ref().map(OneOrMany::as_slice) else { continue };
            if names.is_empty() || names.iter().any(String::is_empty) {
                let path = of(&strs(&of(at, "fields")), key);
                self.complain(&strs(&path), "expected the name of a field, or several; none is empty");
            }
            *field = names.to_vec();
        }
        fields
    }

    /// Which packs count its lines must be said, or be known by a database.
    fn followed(&mut self, at: &[&str], drain: &RawDrain, raw: &RawConfig, sources: &[SourceSettings]) {
        let all_are_there = sources.len() == raw.sources.len();
        if let Some(name) = &drain.database {
            // A list of sources that was taken out of the file has none left.
            let is_list_read = !self.partial || !raw.sources.is_empty();
            self.link(&of(at, "database"), name, sources, all_are_there && is_list_read);
            return;
        }
        let databases = sources.iter().filter(|source| source.upstream.database().is_some()).count();
        if drain.packs.is_some() || databases == 1 || !all_are_there || self.partial {
            return;
        }
        let why = match databases {
            0 => "there is no database that could tell".to_owned(),
            several => format!("there are {several} databases"),
        };
        let message = format!(
            "nothing says which packs count these lines, and {why}: name them with `packs`, or the application's database with `database`"
        );
        self.complain(at, message);
    }

    /// What two drains cannot share.
    fn beside_each_other(&mut self, raw: &[RawDrain], drains: &[DrainSettings]) {
        for (index, drain) in drains.iter().enumerate() {
            let place = index.to_string();
            let at = ["logs", "drains", &place];
            let before = || drains[..index].iter();
            if drain.kind.is_posted() && is_name(&drain.name) && before().any(|other| other.path == drain.path) {
                let path = of(&at, if raw[index].path.is_some() { "path" } else { "name" });
                self.complain(&strs(&path), "another drain is posted to at this path; every drain needs its own");
            }
            if drain.kind == DrainKind::Stdin && before().any(|other| other.kind == DrainKind::Stdin) {
                self.complain(&strs(&of(&at, "kind")), "another drain reads standard input; there is only one");
            }
            let follows = |other: &DrainSettings| other.kind == DrainKind::File && other.file == drain.file;
            if drain.kind == DrainKind::File && drain.file.is_some() && before().any(follows) {
                let message = "another drain follows this file, and its lines would count twice; remove one";
                self.complain(&strs(&of(&at, "file")), message);
            }
        }
    }
}

/// A signature that lacks its key.
struct Unkeyed {
    header: String,
    algorithm: SignatureAlgorithm,
    prefix: String,
    encoding: SignatureEncoding,
}

impl Unkeyed {
    fn with(self, secret: SecretString) -> Signature {
        let Unkeyed { header, algorithm, prefix, encoding } = self;
        Signature { secret, header, algorithm, prefix, encoding }
    }
}

fn wrong_path(path: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte);
    if !path.starts_with('/') {
        return Some("a path begins with `/`, such as `/drains/shop`");
    }
    if path.len() > PATH_LENGTH || !path.bytes().all(fits) || path.split('/').any(|step| step == "." || step == "..") {
        return Some(
            "a path has letters, digits and / _ - . ~ only, and no step that is `.` or `..`; senders may rewrite others",
        );
    }
    let is_own = OWN_PATHS.contains(&path) || path.starts_with("/-/");
    is_own.then_some("Rowmetry answers this path itself; take another, such as `/drains/shop`")
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

fn fits_header(held: &SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    held.expose_secret().bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Whether a token has `Bearer` before it, as it stands in `Authorization`: that word is not compared.
fn has_scheme(token: &SecretString) -> bool {
    use secrecy::ExposeSecret as _;
    token.expose_secret().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
}

fn of(at: &[&str], key: &str) -> Vec<String> {
    at.iter().map(|step| (*step).to_owned()).chain([key.to_owned()]).collect()
}
