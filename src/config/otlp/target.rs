//! The URL that requests go to, made of what the operator wrote as the endpoint.
//!
//! Sources: OpenTelemetry's "OTLP Exporter Configuration" ("Endpoint URLs for OTLP/HTTP", "Insecure"). No message repeats any part
//! of an endpoint, which may hold a secret.

use url::Url;

use super::{OtlpEndpoint, OtlpProtocol};

/// Where receivers listen by custom: OTLP over HTTP, and over gRPC.
const CUSTOMARY: [(OtlpProtocol, u16); 2] = [(OtlpProtocol::HttpProtobuf, 4318), (OtlpProtocol::Grpc, 4317)];

/// What the endpoint is written as where nobody wrote any.
pub(super) const fn default(protocol: OtlpProtocol) -> &'static str {
    match protocol {
        OtlpProtocol::HttpProtobuf => "http://localhost:4318",
        OtlpProtocol::Grpc => "http://localhost:4317",
    }
}

/// Whether the text says by itself if the connection is secure.
pub(super) fn has_scheme(text: &str) -> bool {
    text.contains("://")
}

/// The URL of an HTTP receiver. `path` is added to the base URL of all signals; one signal's own URL is taken as it is.
///
/// # Errors
/// A sentence that says what was expected.
pub(super) fn http(text: &str, path: Option<&str>) -> Result<Url, String> {
    let expected = "expected the receiver's URL, http://host:4318 or https://…";
    let mut url = Url::parse(text).map_err(|error| format!("{expected} ({error})"))?;
    if !has_scheme(text) || !["http", "https"].contains(&url.scheme()) {
        return Err(expected.into());
    }
    url.set_fragment(None);
    if let Some(path) = path {
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

/// The URL of a gRPC receiver: scheme, host and port. `insecure` decides where there is no scheme.
///
/// # Errors
/// A sentence that says what was expected.
pub(super) fn grpc(text: &str, insecure: bool) -> Result<Url, String> {
    let expected = "expected the gRPC receiver's http://host:4317, https://host:4317, or host:4317";
    let whole = match (has_scheme(text), insecure) {
        (true, _) => text.to_owned(),
        (false, true) => format!("http://{text}"),
        (false, false) => format!("https://{text}"),
    };
    let mut url = Url::parse(&whole).map_err(|error| format!("{expected} ({error})"))?;
    // Without a scheme, a path is a sign of another form of target, such as a socket's.
    let is_other = !has_scheme(text) && text.contains('/');
    if is_other || !["http", "https"].contains(&url.scheme()) {
        return Err(expected.into());
    }
    url.set_fragment(None);
    url.set_query(None);
    url.set_path("");
    Ok(url)
}

/// What is probably not meant: sentences for the log. `written` is the endpoint as written, `path` what was added to it.
pub(super) fn doubts(endpoint: &OtlpEndpoint, written: &str, path: Option<&str>) -> Vec<String> {
    let mut doubts = Vec::new();
    let OtlpEndpoint { url, protocol, .. } = endpoint;
    for (other, port) in CUSTOMARY {
        if other != *protocol && url.port() == Some(port) {
            let (ours, theirs) = (protocol.as_str(), other.as_str());
            doubts.push(format!("port {port} is by custom that of {theirs}, and the protocol is {ours}"));
        }
    }
    let doubled = path.filter(|path| url.path().ends_with(&format!("{path}/{path}")));
    if let Some(path) = doubled.filter(|_| *protocol == OtlpProtocol::HttpProtobuf) {
        doubts.push(format!("the base URL ends in {path}, which is added to it again; leave it out"));
    }
    if *protocol == OtlpProtocol::Grpc && Url::parse(written).is_ok_and(|written| written.path().len() > 1) {
        doubts.push("gRPC has no path; it is left out".into());
    }
    let has_certificates = endpoint.ca_file.is_some() || endpoint.client_certificate.is_some();
    if has_certificates && url.scheme() == "http" {
        doubts.push("it is http://, so nothing is encrypted and no certificate is used; write https://".into());
    }
    doubts
}
