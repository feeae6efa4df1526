//! Whether a request shows that it may: by a token, by a signature of its body, or by both.
//!
//! Compared in constant time. It says which header was looked at, never what was wrong with it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret as _, SecretString};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::refused::Refused;
use crate::config::logs::{DrainAuth, Signature, SignatureAlgorithm, SignatureEncoding};

/// Base64 with or without what fills up its end: senders differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Looks for the token, where one is needed.
///
/// # Errors
/// When it is not there, is there twice, or is another.
pub(super) fn check_token(auth: &DrainAuth, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(token) = &auth.token else { return Ok(()) };
    let (name, given) = match auth.token_header.as_deref() {
        Some(name) => (name, single(headers, name).map(<[u8]>::to_vec)),
        None => ("Authorization", single(headers, AUTHORIZATION.as_str()).and_then(credentials)),
    };
    match given {
        Some(given) if is_equal(token, &given) => Ok(()),
        _ => Err(Refused::Token(name.to_owned())),
    }
}

/// The signature that a request claims to have, decoded; none when there is none, or several, or none that can be read.
pub(super) fn claim(signature: &Signature, headers: &HeaderMap) -> Option<Vec<u8>> {
    let given = single(headers, &signature.header)?.trim_ascii();
    let (prefix, written) = given.split_at_checked(signature.prefix.len())?;
    if !prefix.eq_ignore_ascii_case(signature.prefix.as_bytes()) {
        return None;
    }
    match signature.encoding {
        SignatureEncoding::Hex => hexadecimal(written),
        SignatureEncoding::Base64 => BASE64.decode(written).ok(),
    }
}

/// Compares a claimed signature with that of a body, over the bytes as they came.
///
/// # Errors
/// When it is another.
pub(super) fn check_signature(signature: &Signature, claim: &[u8], body: &[u8]) -> Result<(), Refused> {
    const ANY_LENGTH: &str = "an HMAC takes a key of any length";
    let key = signature.secret.expose_secret().as_bytes();
    let outcome = match signature.algorithm {
        SignatureAlgorithm::Sha1 => {
            Hmac::<Sha1>::new_from_slice(key).expect(ANY_LENGTH).chain_update(body).verify_slice(claim)
        }
        SignatureAlgorithm::Sha256 => {
            Hmac::<Sha256>::new_from_slice(key).expect(ANY_LENGTH).chain_update(body).verify_slice(claim)
        }
    };
    outcome.map_err(|_| Refused::Signature(signature.header.clone()))
}

/// A header that is there once: of two, neither is the one to believe.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes())
}

/// The token of `Bearer TOKEN`, or the password of `Basic …` (RFC 7617), which is what some senders can be told to send.
fn credentials(given: &[u8]) -> Option<Vec<u8>> {
    let end = given.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&given[..end], given[end..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return Some(rest.to_vec());
    }
    if scheme.eq_ignore_ascii_case(b"Basic") {
        let pair = BASE64.decode(rest).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        return Some(pair[colon + 1..].to_vec());
    }
    None
}

/// Whether a token is the right one. Both are hashed first, so that the time tells nothing of its length either.
fn is_equal(token: &SecretString, given: &[u8]) -> bool {
    let (right, given) = (Sha256::digest(token.expose_secret().as_bytes()), Sha256::digest(given));
    right.as_slice().ct_eq(given.as_slice()).into()
}

fn hexadecimal(written: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !written.len().is_multiple_of(2) {
        return None;
    }
    written.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests;
