//! What both transports share before a request: trusted certificates, our own one, connections and headers.
//!
//! One TLS for both: rustls, as everywhere else. Nothing is connected here, and no content of a file or header is repeated.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

use super::BadEndpoint;
use crate::config::otlp::{OtlpEndpoint, OtlpProtocol};
use crate::source::authorities;
use crate::source::http::credentials;

/// Time after which a connection that acknowledges nothing is given up, so that the next request does not wait on a way
/// that a firewall has forgotten.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// Idle time after which a connection is probed, before most firewalls forget it.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What tells a receiver who sends.
pub(in crate::otlp) const USER_AGENT_TEXT: &str = concat!("rowmetry/", env!("CARGO_PKG_VERSION"));

/// Headers that the transport writes itself: others would make its requests unreadable.
const OWN_HEADERS: [&str; 7] =
    ["content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "te", "grpc-timeout"];

/// Connections over TCP or TLS, as the URL's scheme says.
pub(super) fn connector(endpoint: &OtlpEndpoint) -> Result<HttpsConnector<HttpConnector>, BadEndpoint> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(endpoint.timeout));
    tcp.set_keepalive(Some(KEEPALIVE));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls(endpoint)?).https_or_http();
    Ok(match endpoint.protocol {
        OtlpProtocol::HttpProtobuf => https.enable_http1().wrap_connector(tcp),
        OtlpProtocol::Grpc => https.enable_http2().wrap_connector(tcp),
    })
}

/// The configured headers, and the credentials that stand in the URL unless `authorization` is configured.
pub(super) fn headers(endpoint: &OtlpEndpoint) -> Result<HeaderMap, BadEndpoint> {
    let mut headers = HeaderMap::new();
    if let Some(credentials) = credentials::basic(&endpoint.url) {
        headers.insert(AUTHORIZATION, credentials);
    }
    for (name, value) in &endpoint.headers {
        let amiss = |what: &str| BadEndpoint(format!("header `{}` {what}", name.escape_debug()));
        if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(amiss("is written by the transport itself; take it out"));
        }
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| amiss("is no name that a header can have; write letters, digits and dashes"))?;
        let mut value = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| amiss("has a value that no header can carry (a line break?); copy it again"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

fn tls(endpoint: &OtlpEndpoint) -> Result<ClientConfig, BadEndpoint> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocols that rustls is built with");
    let builder = match &endpoint.ca_file {
        None => builder.with_webpki_roots(),
        Some(file) => builder.with_root_certificates(authorities::read(file).map_err(BadEndpoint)?),
    };
    let Some((certificate, key)) = &endpoint.client_certificate else { return Ok(builder.with_no_client_auth()) };
    builder.with_client_auth_cert(chain(certificate)?, private_key(key)?).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        BadEndpoint(format!("client certificate {certificate} and key {key}: {error}; name two that belong together"))
    })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, BadEndpoint> {
    let amiss = |what: &str| {
        BadEndpoint(format!("client certificate {}: {what}; name a file with certificates in PEM", file.display()))
    };
    let read = CertificateDer::pem_file_iter(file).map_err(|error| amiss(&unreadable(&error)))?;
    let certificates: Result<Vec<_>, _> = read.collect();
    let certificates = certificates.map_err(|error| amiss(&unreadable(&error)))?;
    if certificates.is_empty() { Err(amiss("it holds no certificate")) } else { Ok(certificates) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, BadEndpoint> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        let what = match &error {
            rustls::pki_types::pem::Error::NoItemsFound => "it holds no key that can be read".to_owned(),
            error => unreadable(error),
        };
        let mend = "name a file with a private key in PEM, not encrypted (`openssl pkey` makes one)";
        BadEndpoint(format!("client key {}: {what}; {mend}", file.display()))
    })
}

/// Why a PEM file cannot be read, without a line of it.
fn unreadable(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        _ => "it is no PEM".to_owned(),
    }
}
