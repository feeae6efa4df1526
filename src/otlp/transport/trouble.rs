//! Why no answer came: what the drivers' errors mean, and what mends it.
//!
//! It repeats nothing of what was sent or received.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use crate::config::otlp::OtlpProtocol;
use crate::source::http::trouble::{chain, last_words};

/// The time is over.
pub(super) fn late(limit: Duration) -> String {
    format!("no whole answer within {limit:?}; see what the receiver waits for, or allow a longer `timeout`")
}

/// Why no answer began.
pub(super) fn unanswered(error: &(dyn Error + 'static), protocol: OtlpProtocol) -> String {
    if let Some(tls) = chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return format!("no trusted connection: {tls}; {}", tls_mend(tls, protocol));
    }
    if chain(error).any(|cause| cause.to_string().starts_with("dns error")) {
        return format!("the host's name has no address ({}); mend the URL or the name service", last_words(error));
    }
    if let Some(http) = chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>())
        && (http.is_parse() || is_frame_nonsense(error))
    {
        return format!("the answer is no {} ({}); {}", language(protocol), last_words(error), other_port(protocol));
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
        ) => cut(protocol),
        _ if is_cut => cut(protocol),
        _ => format!("no connection ({}); see whether the receiver can be reached from here", last_words(error)),
    }
}

fn cut(protocol: OtlpProtocol) -> String {
    format!("the connection ended without an answer; see the receiver's log; {}", other_port(protocol))
}

fn language(protocol: OtlpProtocol) -> &'static str {
    match protocol {
        OtlpProtocol::HttpProtobuf => "HTTP/1.1",
        OtlpProtocol::Grpc => "gRPC",
    }
}

/// For a port that speaks something else, which is the usual slip.
fn other_port(protocol: OtlpProtocol) -> &'static str {
    match protocol {
        OtlpProtocol::HttpProtobuf => {
            "if that port speaks gRPC (usually 4317), set `protocol: grpc` or name the port of OTLP over HTTP (usually \
             4318); if it speaks TLS, write https://"
        }
        OtlpProtocol::Grpc => {
            "if that port speaks OTLP over HTTP (usually 4318), set `protocol: http/protobuf` or name the port of gRPC \
             (usually 4317); if it speaks TLS, write https://"
        }
    }
}

/// HTTP/2 has no kind of error that tells nonsense from a hard word; its texts do.
fn is_frame_nonsense(error: &(dyn Error + 'static)) -> bool {
    let words = last_words(error);
    ["frame with invalid size", "unspecific protocol error", "FRAME_SIZE_ERROR", "PROTOCOL_ERROR"]
        .iter()
        .any(|sign| words.contains(sign))
}

fn tls_mend(error: &rustls::Error, protocol: OtlpProtocol) -> &'static str {
    match error {
        rustls::Error::InvalidMessage(_) => "if that port does not speak TLS, write http://",
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => other_port(protocol),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure,
        ) => "the receiver may want another client certificate; name one that it trusts, and its key",
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::BadEncoding,
        ) => "if its authority is your own, name that as the CA file",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "write the host's name as its certificate has it",
        rustls::Error::InvalidCertificate(_) => "renew the receiver's certificate, and see both clocks",
        _ => "see the receiver's TLS settings",
    }
}
