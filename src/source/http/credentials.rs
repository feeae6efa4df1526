//! Credentials that stand in a URL, as the header that carries them.
//!
//! They leave only in that header, which does not print.

use hyper::Uri;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// `Authorization` for the name and password of a URL (RFC 7617); none when it has none.
pub fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let pair = [decoded(url.username()), decoded(url.password().unwrap_or_default())].join(&b':');
    let mut value =
        HeaderValue::from_str(&format!("Basic {}", base64(&pair))).expect("these letters may stand in a header");
    value.set_sensitive(true);
    Some(value)
}

/// The URL as a request has it: without credentials and fragment.
pub fn uri(url: &Url) -> Option<Uri> {
    let mut url = url.clone();
    url.set_fragment(None);
    // These two fail for URLs that have no host, and those are none of ours.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.as_str().parse().ok()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_credentials_as_rfc_4648_does() {
        for (plain, spelt) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), spelt, "{plain}");
        }
        let of = |url: &str| basic(&Url::parse(url).expect("a URL"));
        let value = of("https://a%40b:p%3Aw@h/x").expect("it has some");
        assert_eq!(value, format!("Basic {}", base64(b"a@b:p:w")));
        assert!(value.is_sensitive());
        assert_eq!(of("https://h/x"), None);
    }
}
