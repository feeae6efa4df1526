//! What `rowmetry check` says of drains: where lines come in, who may bring them, which packs count them, and what to set at the sender.
//!
//! It posts nothing and reads no line; of a file it looks only whether it can be opened. It repeats no secret.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{CollectorReport, FindingReport, PackReport, SourceReport, has_use, sends_spans};
use crate::config::logs::{SignatureAlgorithm, SignatureEncoding};
use crate::config::{DrainKind, DrainSettings, Settings};
use crate::pack::{Pack, Stream};

/// Characters of a secret or token below which it could be found out by trying.
const SHORTEST_SECRET: usize = 16;

/// What was found of one drain.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DrainReport {
    /// The operator's name for it.
    pub drain: String,
    /// `vercel`, `supabase`, `http`, `otlp`, `file` or `stdin`.
    pub kind: &'static str,
    /// The path that is posted to; none of files and standard input.
    pub path: Option<String>,
    /// The address that serves it; none of files and standard input.
    pub listen: Option<String>,
    /// Plain facts: how lines come in, and who may bring them.
    pub facts: Vec<String>,
    /// What to set where lines are sent from, a line each.
    pub sender: Vec<String>,
    /// What an operator should mend.
    pub findings: Vec<FindingReport>,
    /// The packs that count its lines; none while the database does not tell.
    pub packs: Option<Vec<PackReport>>,
}

impl DrainReport {
    /// Whether it cannot work as things are.
    pub fn is_stopped(&self) -> bool {
        self.findings.iter().any(|finding| finding.fatal)
    }
}

/// Looks at every drain. `sources`: what was found of those that were asked; their packs are a drain's, too.
pub(super) fn reports(settings: &Settings, sources: &[SourceReport]) -> Vec<DrainReport> {
    settings.logs.drains.iter().map(|of| Look { settings, of, found: DrainReport::default() }.report(sources)).collect()
}

struct Look<'a> {
    settings: &'a Settings,
    of: &'a DrainSettings,
    found: DrainReport,
}

impl Look<'_> {
    fn report(mut self, sources: &[SourceReport]) -> DrainReport {
        self.found.drain.clone_from(&self.of.name);
        self.found.kind = self.of.kind.as_str();
        if self.of.kind.is_posted() {
            self.posted();
            self.sender();
        } else if let Some(file) = &self.of.file {
            self.found.facts.push(format!("follows {}", file.display()));
            self.file(file);
        } else {
            self.found.facts.push("reads standard input".into());
        }
        self.counted(sources);
        self.found
    }

    fn posted(&mut self) {
        let listen = self.settings.logs.listen.unwrap_or(self.settings.listen);
        self.found.path = Some(self.of.path.clone());
        self.found.listen = Some(listen.to_string());
        if self.settings.logs.listen.is_some() {
            self.found.facts.push(format!("posted to at {} of {listen}, where drains alone are served", self.of.path));
        } else {
            self.found.facts.push(format!("posted to at {} of {listen}, beside /metrics", self.of.path));
            if !listen.ip().is_loopback() {
                self.remark(
                    "whoever can reach it can read /metrics too, and take the connections that a scrape needs: `logs.listen` gives drains an \
                     address of their own",
                );
            }
        }
        let auth = &self.of.auth;
        if let Some(signature) = &auth.signature {
            let hash = match signature.algorithm {
                SignatureAlgorithm::Sha1 => "SHA-1",
                SignatureAlgorithm::Sha256 => "SHA-256",
            };
            let written = match signature.encoding {
                SignatureEncoding::Hex => "hex",
                SignatureEncoding::Base64 => "base64",
            };
            let prefix = match signature.prefix.as_str() {
                "" => String::new(),
                prefix => format!(", behind `{prefix}`"),
            };
            let header = &signature.header;
            self.found
                .facts
                .push(format!("a body is signed in the header {header}: HMAC with {hash}, {written}{prefix}"));
            self.strength("secret", &signature.secret.clone());
        }
        if let Some(token) = &auth.token {
            let fact = match &auth.token_header {
                Some(header) => format!("a request bears a token in the header {header}"),
                None => "a request bears a token in the header authorization".to_owned(),
            };
            self.found.facts.push(fact);
            self.strength("token", &token.clone());
        }
        if auth.signature.is_none() && auth.token.is_none() {
            self.found.facts.push("anybody may post to it (`allow_anyone`)".into());
        }
        if self.of.kind == DrainKind::Supabase && auth.signature.is_some() {
            self.remark(
                "as far as is documented Supabase signs nothing, and a body that is not signed is refused: give it a `token` in place of the \
                 `secret`, and send that as a header",
            );
        }
    }

    /// The settings at the other end. Names of its settings are those of its documentation ("Using drains" of Vercel, "Log Drains"
    /// of Supabase, "OTLP Exporter Configuration" of OpenTelemetry).
    fn sender(&mut self) {
        let listen = self.settings.logs.listen.unwrap_or(self.settings.listen);
        let auth = &self.of.auth;
        let url = format!("https://YOUR-HOST{}", self.of.path);
        let token = auth.token.as_ref().map(|_| match &auth.token_header {
            Some(header) => format!("{header}: THE-TOKEN"),
            None => "Authorization: Bearer THE-TOKEN".to_owned(),
        });
        let header = token.as_ref().map(|header| format!("custom header   {header}"));
        let mut lines = Vec::new();
        match self.of.kind {
            DrainKind::Vercel => {
                lines.push(format!("endpoint URL    {url}"));
                lines.push("encoding        NDJSON or JSON".to_owned());
                if auth.signature.is_some() {
                    lines.push("secret          the one of `secret`".to_owned());
                }
                lines.extend(header);
                lines.push(match auth.verify {
                    Some(_) => "verification    answered with the code of `verify`".to_owned(),
                    None => {
                        "verification    if Vercel shows a code for x-vercel-verify, write it under `verify`".to_owned()
                    }
                });
            }
            DrainKind::Supabase => {
                lines.push("type            Generic HTTP endpoint".to_owned());
                lines.push(format!("URL             {url}"));
                lines.extend(header);
            }
            DrainKind::Otlp => {
                lines.push(format!("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT={url}"));
                lines.push("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf".to_owned());
                if token.is_some() {
                    let value = match &auth.token_header {
                        Some(header) => format!("{header}=THE-TOKEN"),
                        None => "authorization=Bearer%20THE-TOKEN".to_owned(),
                    };
                    lines.push(format!("OTEL_EXPORTER_OTLP_LOGS_HEADERS={value}"));
                }
            }
            _ => {
                lines.push(format!("POST            {url}"));
                lines.push("body            JSON, JSON lines or plain lines; gzip is understood".to_owned());
                lines.extend(token.map(|header| format!("header          {header}")));
                if let Some(signature) = &auth.signature {
                    let prefix = &signature.prefix;
                    lines.push(format!("header          {}: {prefix}THE-SIGNATURE", signature.header));
                }
            }
        }
        lines.push(host(listen));
        self.found.sender = lines;
    }

    fn file(&mut self, file: &Path) {
        match File::open(file) {
            Ok(opened) if opened.metadata().is_ok_and(|of| of.is_dir()) => {
                self.finding(true, "this is a folder; name the file".to_owned());
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.remark("there is no such file yet; it is followed from its beginning once there is");
            }
            Err(error) => {
                self.finding(
                    true,
                    format!("the file cannot be opened: {error}; let the user that Rowmetry runs as read it"),
                );
            }
        }
    }

    fn counted(&mut self, sources: &[SourceReport]) {
        let database = self.of.database.as_deref();
        let is_database = |name: &str| Some(name) == database;
        let configured = self.settings.sources.iter().find(|source| is_database(&source.name));
        let named = self.of.packs.clone().or_else(|| configured?.packs.clone());
        let found = || {
            let source = sources.iter().find(|source| is_database(&source.source) && source.failure.is_none())?;
            Some(source.packs.iter().map(|pack| pack.pack.clone()).collect())
        };
        let names: Option<Vec<String>> = named.or_else(found);
        let Some(names) = names else {
            let database = database.unwrap_or_default();
            self.found.facts.push(format!(
                "which packs count its lines is known once the source {database} tells; `packs` would say it at once"
            ));
            return;
        };
        let packs: Vec<Arc<Pack>> =
            self.settings.packs.iter().filter(|pack| names.contains(&pack.app)).map(Arc::clone).collect();
        let mut reports = Vec::new();
        for pack in &packs {
            let collectors: Vec<CollectorReport> = self.collectors(pack);
            if !collectors.is_empty() {
                reports.push(PackReport { pack: pack.app.clone(), title: pack.title.clone(), collectors });
            }
        }
        let runs = reports.iter().flat_map(|pack| &pack.collectors).any(|collector| !collector.skipped);
        if runs {
            for stream in &self.of.streams {
                let has = packs.iter().any(|pack| {
                    let mut all = pack.collectors.iter();
                    all.any(|one| {
                        one.logs.as_ref().is_some_and(|logs| logs.stream == *stream) && self.of.runs(&pack.app, one)
                    })
                });
                if !has {
                    self.remark(format!(
                        "nothing counts its {}: leave `{}` out of `streams`",
                        lines_of(*stream),
                        stream.as_str()
                    ));
                }
            }
        } else {
            self.nobody(&packs, &names);
        }
        self.found.packs = Some(reports);
    }

    fn collectors(&self, pack: &Pack) -> Vec<CollectorReport> {
        let sends_spans = sends_spans(self.settings);
        let mut reports = Vec::new();
        for collector in &pack.collectors {
            let Some(logs) = collector.logs.as_ref().filter(|logs| self.of.streams.contains(&logs.stream)) else {
                continue;
            };
            let skipped = self.of.skips(&pack.app, &collector.name) || !has_use(collector, sends_spans);
            let forms = logs.lines.iter().filter(|form| !form.skip).count();
            let forms = if forms == 1 { "one form".to_owned() } else { format!("any of {forms} forms") };
            let facts =
                if skipped { Vec::new() } else { vec![format!("counts {} that have {forms}", lines_of(logs.stream))] };
            reports.push(CollectorReport {
                collector: collector.name.clone(),
                skipped,
                facts,
                ..CollectorReport::default()
            });
        }
        reports
    }

    /// Its lines would come for nothing: say why, and what would count them.
    fn nobody(&mut self, packs: &[Arc<Pack>], names: &[String]) {
        let all = || packs.iter().flat_map(|pack| &pack.collectors).filter_map(|collector| collector.logs.as_ref());
        let others: Vec<&str> = [Stream::Application, Stream::Postgres]
            .into_iter()
            .filter(|stream| all().any(|logs| logs.stream == *stream) && !self.of.streams.contains(stream))
            .map(Stream::as_str)
            .collect();
        let message = if names.is_empty() {
            "nothing counts its lines: no pack applies to its database. Name one under `packs`".to_owned()
        } else if all().any(|logs| self.of.streams.contains(&logs.stream)) {
            "nothing counts its lines: `skip` leaves out every collector that would".to_owned()
        } else if others.is_empty() {
            let names = names.join(", ");
            format!(
                "nothing counts its lines: no collector of {names} is of `logs`. Name another pack under `packs`, or write one"
            )
        } else {
            format!(
                "nothing counts its lines: what applies counts those of another stream. Write `streams: [{}]` if that is what it brings",
                others.join(", ")
            )
        };
        self.finding(true, message);
    }

    /// Whoever knows the address can try as often as the network lets them.
    fn strength(&mut self, key: &str, held: &SecretString) {
        if held.expose_secret().chars().count() < SHORTEST_SECRET {
            self.remark(format!(
                "the {key} has fewer than {SHORTEST_SECRET} characters and may be found out by trying: make a longer one, such as by \
                 `openssl rand -hex 32`"
            ));
        }
    }

    fn remark(&mut self, message: impl Into<String>) {
        self.finding(false, message.into());
    }

    fn finding(&mut self, fatal: bool, message: String) {
        self.found.findings.push(FindingReport { fatal, message, sql: None });
    }
}

fn lines_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Application => "lines of the application",
        Stream::Postgres => "lines of Postgres",
    }
}

/// Senders want TLS, which is not spoken here.
fn host(listen: SocketAddr) -> String {
    let here = if listen.ip().is_loopback() { ", which only this machine reaches" } else { "" };
    format!("YOUR-HOST is a name with TLS before {listen}{here}; Rowmetry itself speaks plain HTTP")
}

#[cfg(test)]
mod tests;
