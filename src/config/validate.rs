//! Makes [`Settings`] of what was read, and tells everything that does not hold together.
//!
//! A value is repeated in a message only as the file has it, never as a variable filled it, and never a URL.

mod alerts;
mod logs;
mod names;
mod otlp;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::load::{Draft, Overrides};
use super::raw::{RawConfig, RawReading, RawSource};
use super::{Limits, Settings, SourceSettings, Start, Upstream, WebSettings, address};
use crate::pack::{Pack, System};
use crate::yaml::{Complaint, Value, did_you_mean};
use names::no_pack;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9469);

const DEFAULT_ZERO_FIRST: Duration = Duration::from_secs(60);

/// Rows a read: fewer cost a round trip each, more cost memory that nothing is gained by.
const PAGE_ROWS: RangeInclusive<u32> = 10..=1_000_000;

/// The longest text of the file that a message repeats.
const SHOWN_TEXT_LENGTH: usize = 60;

pub(super) fn settings(
    draft: Draft,
    packs: Option<Vec<Arc<Pack>>>,
    overrides: &Overrides,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, Vec<Complaint>> {
    let Draft { file, tree, raw, complaints, unfilled } = draft;
    let told = complaints.len();
    let partial = !complaints.is_empty();
    let mut check = Check { file, tree, complaints, partial, packs, overrides };
    let mut settings = check.all(&raw);
    settings.otlp = check.otlp(&raw.otlp, variable);
    settings.logs = check.logs(&raw, &settings.sources);
    let mut complaints = check.complaints;
    let found = complaints.split_off(told);
    complaints
        .extend(found.into_iter().filter(|complaint| complaint.line.is_none() || !unfilled.contains(&complaint.line)));
    complaints.sort_by_key(|complaint| (complaint.file.clone(), complaint.line));
    complaints.dedup();
    if complaints.is_empty() { Ok(settings) } else { Err(complaints) }
}

struct Check<'a> {
    file: String,
    tree: crate::yaml::Node,
    complaints: Vec<Complaint>,
    /// Something was taken out of the tree, so that what is missing may be there in the file.
    partial: bool,
    /// None when a pack is wrong: then names of packs cannot be looked up.
    packs: Option<Vec<Arc<Pack>>>,
    overrides: &'a Overrides,
}

impl Check<'_> {
    fn all(&mut self, raw: &RawConfig) -> Settings {
        let listen = self.listen(raw);
        let overridden = self.overrides.state_dir.clone();
        let state_dir = overridden.or_else(|| raw.state_dir.as_ref().map(PathBuf::from));
        if state_dir.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            self.complain(&["state_dir"], "the directory's name is empty; remove the setting to keep counts in memory");
        }
        let zero_first = self.duration(&["zero_first"], raw.zero_first.as_deref(), DEFAULT_ZERO_FIRST, true);
        self.parameters(&raw.parameters);
        let sources = self.sources(raw);
        let limits = Limits::default();
        let web = WebSettings::default();
        Settings {
            listen,
            state_dir,
            sources,
            packs: self.packs.clone().unwrap_or_default(),
            parameters: raw.parameters.clone(),
            limits: Limits {
                series_per_metric: raw.limits.series_per_metric.unwrap_or(limits.series_per_metric),
                label_length: raw.limits.label_length.unwrap_or(limits.label_length),
                seen_keys: raw.limits.seen_keys.unwrap_or(limits.seen_keys),
                snapshot_rows: raw.limits.snapshot_rows.unwrap_or(limits.snapshot_rows),
            },
            web: WebSettings {
                connections: raw.web.connections.unwrap_or(web.connections),
                header_timeout: self.duration(
                    &["web", "header_timeout"],
                    raw.web.header_timeout.as_deref(),
                    web.header_timeout,
                    false,
                ),
                write_timeout: self.duration(
                    &["web", "write_timeout"],
                    raw.web.write_timeout.as_deref(),
                    web.write_timeout,
                    false,
                ),
                reload_endpoint: raw.web.reload_endpoint.unwrap_or(web.reload_endpoint),
            },
            zero_first,
            alerts: self.alerts(&raw.alerts),
            otlp: super::OtlpSettings::default(),
            logs: super::LogSettings::default(),
        }
    }

    fn listen(&mut self, raw: &RawConfig) -> SocketAddr {
        let overridden = self.overrides.listen.as_deref();
        let Some(text) = overridden.or(raw.listen.as_deref()) else { return DEFAULT_LISTEN };
        text.trim().parse().unwrap_or_else(|_| {
            let message = "expected an address and a port, such as `127.0.0.1:9469`, or `0.0.0.0:9469` for all of IPv4";
            if overridden.is_some() {
                self.complaints.push(Complaint {
                    file: "command line or environment".into(),
                    line: None,
                    place: "--listen (ROWMETRY_LISTEN)".into(),
                    message: message.into(),
                });
            } else {
                self.complain(&["listen"], message);
            }
            DEFAULT_LISTEN
        })
    }

    fn parameters(&mut self, parameters: &BTreeMap<String, BTreeMap<String, f64>>) {
        let Some(packs) = self.packs.clone() else { return };
        for (app, values) in parameters {
            let Some(pack) = packs.iter().find(|pack| pack.app == *app) else {
                let message = no_pack(app, &packs);
                self.complain(&["parameters", app], message);
                continue;
            };
            for name in values.keys().filter(|name| !pack.parameters.contains_key(*name)) {
                let suggestion = did_you_mean(name, pack.parameters.keys().map(String::as_str));
                let message = format!("pack `{app}` has no parameter {}{suggestion}", quoted(name));
                self.complain(&["parameters", app, name], message);
            }
        }
    }

    fn sources(&mut self, raw: &RawConfig) -> Vec<SourceSettings> {
        if raw.sources.is_empty() && raw.logs.drains.is_empty() && !self.partial {
            self.complain(
                &["sources"],
                "there is nothing to read; set DATABASE_URL, or name a database under `sources`, or a drain under `logs`, in a file given by --config",
            );
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for (index, source) in raw.sources.iter().enumerate() {
            let index = index.to_string();
            let is_name = !source.name.is_empty()
                && source.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
            if !is_name {
                self.complain(&["sources", &index, "name"], "a source's name has a-z, 0-9, _ and - only");
            } else if !names.insert(&source.name) {
                self.complain(&["sources", &index, "name"], "another source has this name; every source needs its own");
            }
            sources.extend(self.source(&index, source, &raw.defaults));
        }
        self.links(raw, &sources);
        let databases: Vec<String> =
            sources.iter().filter(|source| source.upstream.database().is_some()).map(|s| s.name.clone()).collect();
        if let [only] = databases.as_slice() {
            for source in sources.iter_mut().filter(|source| source.upstream.database().is_none()) {
                source.database.get_or_insert_with(|| only.clone());
            }
        }
        sources
    }

    fn source(&mut self, index: &str, raw: &RawSource, defaults: &RawReading) -> Option<SourceSettings> {
        let address = self.address(index, raw);
        // The rest is looked at although the URL may be amiss, so that everything is told at once.
        let placeholder = (Upstream::Database(System::Postgres), SecretString::from(""));
        let (upstream, url) = address.clone().unwrap_or(placeholder);
        let mut settings = SourceSettings::new(&raw.name, upstream, url);
        let at_source = ["sources", index];
        settings.token =
            self.secret(&at_source, ["token", "token_file"], raw.token.as_ref(), raw.token_file.as_deref());
        settings.ca_file = raw.ca_file.as_ref().map(PathBuf::from);
        if settings.ca_file.as_ref().is_some_and(|file| !file.is_file()) {
            self.complain(&["sources", index, "ca_file"], "there is no such file; name one with certificates in PEM");
        }
        settings.database.clone_from(&raw.database);
        let own = &raw.reading;
        let at = |own_has: bool, key: &'static str| -> Vec<String> {
            if own_has { vec!["sources".into(), index.into(), key.into()] } else { vec!["defaults".into(), key.into()] }
        };
        macro_rules! duration {
            ($key:ident, $may_be_zero:expr) => {
                let text = own.$key.as_deref().or(defaults.$key.as_deref());
                let path = at(own.$key.is_some(), stringify!($key));
                settings.$key = self.duration(&strs(&path), text, settings.$key, $may_be_zero);
            };
        }
        duration!(interval, false);
        duration!(statement_timeout, false);
        duration!(lock_timeout, false);
        duration!(connect_timeout, false);
        duration!(look_back, false);
        duration!(clock_margin, true);
        duration!(audit_interval, true);
        if let Some(interval) = self.overrides.interval {
            settings.interval = interval;
        }
        settings.packs = own.packs.clone().or_else(|| defaults.packs.clone());
        self.pack_names(settings.packs.as_deref().unwrap_or_default(), &at(own.packs.is_some(), "packs"));
        settings.skip = own.skip.clone().or_else(|| defaults.skip.clone()).unwrap_or_default();
        let skip_at = at(own.skip.is_some(), "skip");
        self.skip_names(&settings.skip, &skip_at);
        let intervals_at = at(own.intervals.is_some(), "intervals");
        for (name, text) in own.intervals.as_ref().or(defaults.intervals.as_ref()).into_iter().flatten() {
            let path = extended(&intervals_at, name);
            self.collector_name(name, &path);
            let interval = self.duration(&strs(&path), Some(text), settings.interval, false);
            settings.intervals.insert(name.clone(), interval);
        }
        if let Some(share) = own.busy_share.or(defaults.busy_share) {
            if !(share > 0.0 && share <= 1.0) {
                let path = at(own.busy_share.is_some(), "busy_share");
                self.complain(&strs(&path), "expected a share of the time, above 0 and at most 1, such as 0.01");
            }
            settings.busy_share = share;
        }
        if let Some(rows) = own.page_rows.or(defaults.page_rows) {
            if !PAGE_ROWS.contains(&rows) {
                let path = at(own.page_rows.is_some(), "page_rows");
                let (low, high) = (PAGE_ROWS.start(), PAGE_ROWS.end());
                self.complain(&strs(&path), format!("expected a number of rows from {low} to {high}"));
            }
            settings.page_rows = rows;
        }
        if let Some(text) = own.start.as_deref().or(defaults.start.as_deref()) {
            settings.start = self.start(text, &at(own.start.is_some(), "start"));
        }
        settings.budget = self.budget(own, defaults, &at(own.budget.is_some(), "budget"));
        settings.idle = self.idle(own, defaults, &at(own.idle.is_some(), "idle"));
        if address.is_some() {
            self.terms(&settings, own, &at(own.budget.is_some(), "budget"), &at(own.idle.is_some(), "idle"));
        }
        address.map(|_| settings)
    }

    /// What a setting holds, or the file that another names. Either is empty only by mistake.
    fn secret(
        &mut self,
        at: &[&str],
        [key, file_key]: [&str; 2],
        held: Option<&SecretString>,
        file: Option<&str>,
    ) -> Option<SecretString> {
        let (place, text) = match (held, file) {
            (Some(_), Some(_)) => {
                let path: Vec<&str> = at.iter().copied().chain([file_key]).collect();
                self.complain(&path, format!("both `{key}` and `{file_key}` are given; keep one"));
                return None;
            }
            (Some(held), None) => (key, held.expose_secret().to_owned()),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) => (file_key, text),
                Err(error) => {
                    let path: Vec<&str> = at.iter().copied().chain([file_key]).collect();
                    self.complain(&path, format!("the file cannot be read: {error}"));
                    return None;
                }
            },
            (None, None) => return None,
        };
        // What stands around it is of the file or of the variable that held it, and none of it fits into a header.
        let text = text.trim();
        if text.is_empty() {
            let path: Vec<&str> = at.iter().copied().chain([place]).collect();
            let word = if key == "verify" { "code" } else { key };
            self.complain(&path, format!("the {word} is empty; write it, or remove the setting"));
            return None;
        }
        Some(SecretString::from(text))
    }

    fn address(&mut self, index: &str, raw: &RawSource) -> Option<(Upstream, SecretString)> {
        let (key, url) = match (&raw.url, &raw.url_file) {
            (Some(url), None) => ("url", url.clone()),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) => ("url_file", SecretString::from(text.trim())),
                Err(error) => {
                    self.complain(&["sources", index, "url_file"], format!("the file cannot be read: {error}"));
                    return None;
                }
            },
            (Some(_), Some(_)) => {
                self.complain(&["sources", index, "url_file"], "both `url` and `url_file` are given; keep one");
                return None;
            }
            (None, None) => {
                if !self.partial {
                    self.complain(&["sources", index], "`url` or `url_file` is missing: say where the database is");
                }
                return None;
            }
        };
        match address::recognise(&url, raw.token.is_some() || raw.token_file.is_some()) {
            Ok(address) => Some(address),
            Err(message) => {
                self.complain(&["sources", index, key], message);
                None
            }
        }
    }

    fn start(&mut self, text: &str, path: &[String]) -> Start {
        match text.trim() {
            "now" => Start::Now,
            "all" => Start::All,
            time => match time.parse::<jiff::Timestamp>() {
                Ok(time) => Start::At(time.as_microsecond()),
                Err(_) => {
                    self.complain(
                        &strs(path),
                        "expected `now`, `all`, or a time with its zone, such as `2026-01-01T00:00:00Z`",
                    );
                    Start::Now
                }
            },
        }
    }

    fn duration(&mut self, path: &[&str], text: Option<&str>, default: Duration, may_be_zero: bool) -> Duration {
        // The shape was compared with the schema, so a text that is no length of time was told already.
        let duration = text.and_then(|text| crate::duration::parse(text).ok()).unwrap_or(default);
        if duration.is_zero() && !may_be_zero {
            self.complain(path, "expected a length of time above zero");
        }
        duration
    }

    /// The text as the file has it, so that what a variable holds is not shown.
    fn shown(&self, path: &[String], value: &str) -> String {
        match self.tree.at(&strs(path)).map(|node| &node.value) {
            Some(Value::Filled { written, .. }) => written.clone(),
            _ => value.to_owned(),
        }
    }

    fn complain(&mut self, path: &[&str], message: impl AsRef<str>) {
        let mut place = String::new();
        for step in path {
            if step.bytes().all(|byte| byte.is_ascii_digit()) {
                place.push_str(&format!("[{step}]"));
            } else {
                place.push_str(if place.is_empty() { "" } else { "." });
                place.push_str(if is_plain(step) { step } else { "(not shown)" });
            }
        }
        self.complaints.push(Complaint {
            file: self.file.clone(),
            line: self.tree.line_of(path),
            place,
            message: message.as_ref().to_owned(),
        });
    }
}

/// Short plain words are repeated; anything that could be a URL is not.
pub(super) fn quoted(text: &str) -> String {
    if is_plain(text) { format!("`{text}`") } else { "of this name".to_owned() }
}

fn is_plain(text: &str) -> bool {
    text.len() <= SHOWN_TEXT_LENGTH && !text.contains("://") && !text.contains('@')
}

fn strs(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn extended(path: &[String], step: &str) -> Vec<String> {
    path.iter().cloned().chain([step.to_owned()]).collect()
}
