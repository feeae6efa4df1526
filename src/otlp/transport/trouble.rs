//! Why no answer came: what the drivers' errors mean, and what mends it.
//!
//! It repeats nothing of what was sent or received.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use crate::config::otlp::{OtlpEndpoint, OtlpProtocol};
use crate::source::http::trouble::{chain, last_words};

const CLIENT_CERTIFICATE: &str =
    "the receiver may want another client certificate; name one that it trusts, and its key";

/// How a receiver is spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoken {
    pub(super) protocol: OtlpProtocol,
    pub(super) over_tls: bool,
}

impl Spoken {
    pub(super) fn to(endpoint: &OtlpEndpoint) -> Self {
        Spoken { protocol: endpoint.protocol, over_tls: endpoint.url.scheme() == "https" }
    }
}

/// The time is over.
pub(super) fn late(limit: Duration) -> String {
    format!("no whole answer within {limit:?}; see what the receiver waits for, or allow a longer `timeout`")
}

/// Why no answer began.
pub(super) fn unanswered(error: &(dyn Error + 'static), spoken: Spoken) -> String {
    if let Some(tls) = chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return format!("no trusted connection: {tls}; {}", tls_mend(tls, spoken));
    }
    // HTTP/2 keeps no more than the text of an alert that comes behind the handshake, as that for a missing certificate does.
    let words = last_words(error);
    if words.starts_with("received fatal alert") {
        return format!("no trusted connection: {words}; {CLIENT_CERTIFICATE}");
    }
    if chain(error).any(|cause| cause.to_string().starts_with("dns error")) {
        return format!("the host's name has no address ({words}); mend the URL or the name service");
    }
    if let Some(http) = chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>())
        && (http.is_parse() || is_nonsense(&words))
    {
        return format!("the answer is no {} ({words}); {}", language(spoken.protocol), other_port(spoken));
    }
    let network = chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
    let kind = network.map(io::Error::kind);
    let is_cut = chain(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled());
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => {
            "connection refused; start the receiver, or mend the URL's host and port".to_owned()
        }
        Some(io::ErrorKind::TimedOut) => {
            "the host does not answer; mend the URL's host and port, or see what the network lets through".to_owned()
        }
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) => cut(spoken),
        _ if is_cut => cut(spoken),
        _ => format!("no connection ({words}); see whether the receiver can be reached from here"),
    }
}

fn cut(spoken: Spoken) -> String {
    format!("the connection ended without an answer; see the receiver's log; {}", other_port(spoken))
}

fn language(protocol: OtlpProtocol) -> &'static str {
    match protocol {
        OtlpProtocol::HttpProtobuf => "HTTP/1.1",
        OtlpProtocol::Grpc => "gRPC",
    }
}

/// For a port that speaks something else, which is the usual slip.
fn other_port(spoken: Spoken) -> String {
    let other = match spoken.protocol {
        OtlpProtocol::HttpProtobuf => {
            "if that port speaks gRPC (usually 4317), set `protocol: grpc` or name the port of OTLP over HTTP (usually 4318)"
        }
        OtlpProtocol::Grpc => {
            "if that port speaks OTLP over HTTP (usually 4318), set `protocol: http/protobuf` or name the port of gRPC \
             (usually 4317)"
        }
    };
    // Over TLS 1.3 a client may be sent away after the handshake, and not see why.
    let tls = if spoken.over_tls { CLIENT_CERTIFICATE } else { "if it speaks TLS, write https://" };
    format!("{other}; {tls}")
}

/// Whether something else than an answer came. The drivers have no kind of error for it, but words.
fn is_nonsense(words: &str) -> bool {
    ["frame with invalid size", "unspecific protocol error", "unexpected message from connection"]
        .iter()
        .any(|sign| words.contains(sign))
}

fn tls_mend(error: &rustls::Error, spoken: Spoken) -> String {
    let mend = match error {
        rustls::Error::InvalidMessage(_) => "if that port does not speak TLS, write http://",
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => return other_port(spoken),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure,
        ) => CLIENT_CERTIFICATE,
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::BadEncoding,
        ) => "if its authority is your own, name that as the CA file",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write the host's name as its certificate has it",
        rustls::Error::InvalidCertificate(_) => "renew the receiver's certificate, and see both clocks",
        _ => "see the receiver's TLS settings",
    };
    mend.to_owned()
}
