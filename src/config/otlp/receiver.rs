//! A signal's receiver: what the file says of the signal, else of all; where it says nothing, what the signal's own variable says,
//! else the one of all.
//!
//! The options and their names are those of OpenTelemetry's "OTLP Exporter Configuration". Nothing here connects anywhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::headers::{self, Headers};
use super::reading::{Place, Reading};
use super::{OtlpEndpoint, OtlpProtocol, target};
use crate::config::raw::{RawOtlp, RawOtlpReceiver};

/// The variable that bounds how long one push of metrics takes in all.
const PUSH_LIMIT: &str = "OTEL_METRIC_EXPORT_TIMEOUT";

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    /// Its key in `otlp`.
    const fn key(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
        }
    }

    /// What is added to the base URL of all signals.
    const fn path(self) -> &'static str {
        match self {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
        }
    }

    /// The names of an option's variables: the signal's own, and the one of all.
    pub(super) fn variables(self, option: &str) -> [String; 2] {
        let signal = self.key().to_ascii_uppercase();
        [format!("OTEL_EXPORTER_OTLP_{signal}_{option}"), format!("OTEL_EXPORTER_OTLP_{option}")]
    }

    /// What the file says of it, and of all; each with the keys that lead there.
    fn settings(self, raw: &RawOtlp) -> [(Vec<String>, &RawOtlpReceiver); 2] {
        let own = match self {
            Signal::Traces => &raw.traces.receiver,
            Signal::Metrics => &raw.metrics.receiver,
        };
        [(vec!["otlp".into(), self.key().into()], own), (vec!["otlp".into()], &raw.receiver)]
    }
}

/// Whether the file names a receiver's endpoint for the signal: in its own part, or for all.
pub(super) fn is_named_in_file(raw: &RawOtlp, signal: Signal) -> [bool; 2] {
    signal.settings(raw).map(|(_, said)| said.endpoint.is_some())
}

/// What is amiss in the file, whether anything is sent or not. URLs are looked at when something is sent there, since how they
/// are read depends on the protocol.
pub(super) fn look_at_file(raw: &RawOtlp, reading: &mut Reading) {
    for signal in [Signal::Traces, Signal::Metrics] {
        for (at, said) in signal.settings(raw) {
            headers::of_file(said, &at, reading);
            certificate_of_file(said, &at, reading);
            timeout_of_file(said, &at, reading);
            if let Some(file) = &said.ca_file {
                existing(file, below(&at, "ca_file"), reading);
            }
        }
    }
}

/// The receiver of a signal; none when it cannot be used, which is told.
pub(super) fn of(raw: &RawOtlp, signal: Signal, reading: &mut Reading) -> Option<OtlpEndpoint> {
    let told = reading.errors.len();
    let mut of = Of { raw, signal, reading };
    // Everything is looked at, although the protocol may be amiss, so that everything is told at once.
    let protocol = of.protocol();
    let (headers, gzip, timeout) = (of.headers(), of.gzip(), of.timeout());
    let (ca_file, client_certificate) = (of.ca_file(), of.client_certificate());
    let protocol = protocol?;
    let (written, place, path) = of.endpoint(protocol);
    let url = match protocol {
        OtlpProtocol::HttpProtobuf => target::http(&written, path),
        OtlpProtocol::Grpc => {
            let insecure = !target::has_scheme(&written) && of.is_insecure();
            target::grpc(&written, insecure)
        }
    };
    let url = url.map_err(|message| reading.error(place.clone(), message)).ok()?;
    let endpoint = OtlpEndpoint { url, protocol, headers, gzip, timeout, ca_file, client_certificate };
    for doubt in target::doubts(&endpoint, &written, path) {
        reading.warning(&place, doubt);
    }
    (reading.errors.len() == told).then_some(endpoint)
}

struct Of<'o, 'v> {
    raw: &'o RawOtlp,
    signal: Signal,
    reading: &'o mut Reading<'v>,
}

impl<'o> Of<'o, '_> {
    /// What the file says, with the keys that lead to the part that says it.
    fn said<T>(&self, of: impl Fn(&'o RawOtlpReceiver) -> Option<T>) -> Option<(T, Vec<String>)> {
        self.signal.settings(self.raw).into_iter().find_map(|(at, said)| Some((of(said)?, at)))
    }

    /// The variable of an option that is set.
    fn variable(&self, option: &str) -> Option<(String, String)> {
        self.signal.variables(option).into_iter().find_map(|name| Some((self.reading.text(&name)?, name)))
    }

    fn protocol(&mut self) -> Option<OtlpProtocol> {
        let all = [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc];
        let named = |word: &str| all.into_iter().find(|protocol| protocol.as_str() == word);
        if let Some((word, _)) = self.said(|said| said.protocol.as_deref()) {
            return named(word);
        }
        let protocol = self.understood("PROTOCOL", named, |word| match word {
            "http/json" => "JSON is not spoken; http/protobuf, which receivers take at the same URL, applies unless another variable says grpc",
            _ => "expected http/protobuf or grpc; it is ignored",
        });
        Some(protocol.unwrap_or_default())
    }

    /// What the first of an option's variables says that is understood. By the specification others are told and ignored
    /// ("Environment Variable Specification", "Enum"): they may be set for every application of a cluster.
    fn understood<T>(
        &mut self,
        option: &str,
        meaning: impl Fn(&str) -> Option<T>,
        complaint: impl Fn(&str) -> &'static str,
    ) -> Option<T> {
        for name in self.signal.variables(option) {
            let Some(word) = self.reading.word(&name) else { continue };
            match meaning(&word) {
                Some(meant) => return Some(meant),
                None => self.reading.warning(name, complaint(&word)),
            }
        }
        None
    }

    /// The endpoint as written, where it is written, and what is to be added to it over HTTP.
    fn endpoint(&self, protocol: OtlpProtocol) -> (String, Place, Option<&'static str>) {
        let path = Some(self.signal.path());
        if let Some((endpoint, at)) = self.said(|said| said.endpoint.as_ref()) {
            let path = path.filter(|_| at.len() == 1);
            return (endpoint.expose_secret().trim().to_owned(), below(&at, "endpoint"), path);
        }
        let [own, all] = self.signal.variables("ENDPOINT");
        match self.variable("ENDPOINT") {
            Some((text, name)) if name == own => (text, Place::Variable(name), None),
            Some((text, name)) => (text, Place::Variable(name), path),
            None => (target::default(protocol).to_owned(), Place::Variable(all), path),
        }
    }

    /// For gRPC without a scheme; the default is a secure connection.
    fn is_insecure(&mut self) -> bool {
        let [own, all] = self.signal.variables("INSECURE");
        let name = if self.reading.text(&own).is_some() { own } else { all };
        self.reading.is_true(&name)
    }

    /// A signal's own headers stand in place of those of all, as each of its options does.
    fn headers(&mut self) -> Headers {
        let said = self.said(|said| (said.headers.is_some() || said.headers_file.is_some()).then_some(said));
        if let Some((said, at)) = said {
            return headers::of_file(said, &at, self.reading).unwrap_or_default();
        }
        match self.variable("HEADERS") {
            Some((text, name)) => headers::of_variable(&name, &text, self.reading),
            None => Headers::new(),
        }
    }

    fn gzip(&mut self) -> bool {
        if let Some((word, _)) = self.said(|said| said.compression.as_deref()) {
            return word == "gzip";
        }
        let meaning = |word: &str| ["gzip", "none"].contains(&word).then_some(word == "gzip");
        self.understood("COMPRESSION", meaning, |_| "expected gzip or none; it is ignored").unwrap_or(false)
    }

    /// A request takes no longer than a push may, where a variable bounds that.
    fn timeout(&mut self) -> Duration {
        if let Some((said, at)) = self.said(|said| said.timeout.is_some().then_some(said)) {
            return timeout_of_file(said, &at, self.reading).unwrap_or(OtlpEndpoint::TIMEOUT);
        }
        let request = self.variable("TIMEOUT").and_then(|(_, name)| self.reading.limit(&name, OtlpEndpoint::TIMEOUT));
        let request = request.unwrap_or(OtlpEndpoint::TIMEOUT);
        match self.signal {
            Signal::Traces => request,
            Signal::Metrics => request.min(self.reading.limit(PUSH_LIMIT, request).unwrap_or(request)),
        }
    }

    fn ca_file(&mut self) -> Option<PathBuf> {
        let (file, place) = match self.said(|said| said.ca_file.as_deref()) {
            Some((file, at)) => (file.to_owned(), below(&at, "ca_file")),
            None => self.variable("CERTIFICATE").map(|(file, name)| (file, Place::Variable(name)))?,
        };
        existing(&file, place, self.reading)
    }

    /// Certificate and key come from one place: a key of the file does not belong to a certificate of a variable.
    fn client_certificate(&mut self) -> Option<(PathBuf, PathBuf)> {
        let has_any = |said: &RawOtlpReceiver| said.client_certificate_file.is_some() || said.client_key_file.is_some();
        if let Some((said, at)) = self.said(|said| has_any(said).then_some(said)) {
            return certificate_of_file(said, &at, self.reading);
        }
        match (self.variable("CLIENT_CERTIFICATE"), self.variable("CLIENT_KEY")) {
            (Some((certificate, at)), Some((key, key_at))) => {
                let certificate = existing(&certificate, Place::Variable(at), self.reading);
                certificate.zip(existing(&key, Place::Variable(key_at), self.reading))
            }
            (Some((_, at)), None) => {
                let key = at.replace("CLIENT_CERTIFICATE", "CLIENT_KEY");
                self.reading.error(Place::Variable(at), format!("its key is missing: set {key} too"));
                None
            }
            (None, Some((_, at))) => {
                let certificate = at.replace("CLIENT_KEY", "CLIENT_CERTIFICATE");
                self.reading.error(Place::Variable(at), format!("its certificate is missing: set {certificate} too"));
                None
            }
            (None, None) => None,
        }
    }
}

fn certificate_of_file(said: &RawOtlpReceiver, at: &[String], reading: &mut Reading) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = ("client_certificate_file", "client_key_file");
    match (&said.client_certificate_file, &said.client_key_file) {
        (Some(file), Some(key_file)) => {
            let file = existing(file, below(at, certificate), reading);
            file.zip(existing(key_file, below(at, key), reading))
        }
        (Some(_), None) => {
            reading.error(below(at, certificate), format!("its key is missing: give `{key}` too"));
            None
        }
        (None, Some(_)) => {
            reading.error(below(at, key), format!("its certificate is missing: give `{certificate}` too"));
            None
        }
        (None, None) => None,
    }
}

/// The shape of a length of time was looked at already.
fn timeout_of_file(said: &RawOtlpReceiver, at: &[String], reading: &mut Reading) -> Option<Duration> {
    let timeout = crate::duration::parse(said.timeout.as_deref()?).ok()?;
    if timeout.is_zero() {
        reading.error(below(at, "timeout"), "expected a length of time above zero");
    }
    Some(timeout)
}

fn existing(file: &str, place: Place, reading: &mut Reading) -> Option<PathBuf> {
    let path = Path::new(file);
    if path.is_file() {
        return Some(path.to_owned());
    }
    reading.error(place, "there is no such file; name one in PEM");
    None
}

fn below(at: &[String], key: &str) -> Place {
    Place::Setting(at.iter().cloned().chain([key.to_owned()]).collect())
}
