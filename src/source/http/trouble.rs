//! Why there is no whole answer: what the driver's errors mean as outcomes.
//!
//! It repeats nothing of what was sent or received.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy::Error as ClientError;

use super::outcome::Outcome;

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trouble {
    pub(super) outcome: Outcome,
    /// The status, if a head came.
    pub(super) status: Option<u16>,
    /// What the driver says, without anything that was received.
    pub(super) detail: String,
}

impl Trouble {
    pub(super) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Trouble { outcome, status: None, detail: detail.into() }
    }

    /// The time is over.
    pub(super) fn late(limit: Duration) -> Self {
        Trouble::new(Outcome::Timeout, format!("{limit:?} are over"))
    }

    /// Why no answer began.
    pub(super) fn unanswered(error: &ClientError) -> Self {
        if let Some(tls) = chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Trouble::new(Outcome::TlsFailed, tls.to_string());
        }
        let io = chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
        let outcome = if error.is_connect() {
            match io.map(|io| (io.kind(), io.raw_os_error())) {
                Some((
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe,
                    _,
                )) => Outcome::Reset,
                Some((io::ErrorKind::UnexpectedEof, _)) => Outcome::TlsFailed,
                Some((io::ErrorKind::TimedOut, _)) => Outcome::Timeout,
                Some((_, Some(_))) => Outcome::Refused,
                // The name service has no numbers for its errors, unlike the network.
                _ => Outcome::Unresolved,
            }
        } else {
            match chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
                Some(error) if error.is_parse_too_large() => Outcome::TooLarge,
                Some(error) if error.is_parse() => Outcome::Unparsable,
                _ => Outcome::Reset,
            }
        };
        Trouble::new(outcome, last_words(error))
    }
}

/// An error and what caused it. Errors that an `io::Error` wraps are among its causes, which its `source()` passes over.
pub fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
        None => error.source(),
    }
}

/// The innermost cause, which says most, on one line of bounded length.
pub fn last_words(error: &(dyn Error + 'static)) -> String {
    const LONGEST: usize = 200;
    let mut words = String::new();
    if let Some(cause) = chain(error).last() {
        let _ = write!(words, "{cause}");
    }
    words.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
