use hyper::header::{HeaderName, HeaderValue};

use super::*;

fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in of {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn signature(algorithm: SignatureAlgorithm, prefix: &str, encoding: SignatureEncoding) -> Signature {
    let prefix = prefix.to_owned();
    Signature { secret: "Jefe".into(), header: "x-signature".into(), algorithm, prefix, encoding }
}

/// RFC 2202, test case 2 of HMAC-SHA-1; RFC 4231, test case 2 of HMAC-SHA-256.
#[test]
fn signatures_are_those_of_the_standards() {
    let text = b"what do ya want for nothing?";
    for (algorithm, right) in [
        (SignatureAlgorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (SignatureAlgorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ] {
        let signature = signature(algorithm, "", SignatureEncoding::Hex);
        let claim = claim(&signature, &headers(&[("x-signature", right)])).expect("hexadecimal");
        check_signature(&signature, &claim, text).expect("it is the right one");
        check_signature(&signature, &claim, b"another text").expect_err("of another text");
        check_signature(&signature, &claim[1..], text).expect_err("a part");
        check_signature(&signature, &[], text).expect_err("nothing");
    }
}

#[test]
fn a_claim_is_read_as_it_may_be_written() {
    let hex = signature(SignatureAlgorithm::Sha1, "sha1=", SignatureEncoding::Hex);
    let of = |signature: &Signature, value| claim(signature, &headers(&[("x-signature", value)]));
    for value in ["sha1=00ff", "SHA1=00FF", " sha1=00fF "] {
        assert_eq!(of(&hex, value), Some(vec![0x00, 0xff]), "{value}");
    }
    for value in ["00ff", "sha1=0ff", "sha1=0x", "sha1", "sha1=+0", "sha1=0 ff", "sha256=00ff"] {
        assert_eq!(of(&hex, value), None, "{value}");
    }
    assert_eq!(claim(&hex, &headers(&[("x-signature", "sha1=00"), ("x-signature", "sha1=00")])), None);
    assert_eq!(claim(&hex, &headers(&[])), None);
    let base64 = signature(SignatureAlgorithm::Sha256, "", SignatureEncoding::Base64);
    assert_eq!(of(&base64, "AP8="), Some(vec![0x00, 0xff]));
    assert_eq!(of(&base64, "AP8"), Some(vec![0x00, 0xff]));
    assert_eq!(of(&base64, "A*8="), None);
}

#[test]
fn credentials_are_a_token_or_a_password() {
    for (given, token) in [
        ("Bearer a b", Some("a b")),
        ("BEARER  a", Some("a")),
        // u:p:q
        ("Basic dTpwOnE=", Some("p:q")),
        ("Basic dTpwOnE", Some("p:q")),
        // without a colon
        ("Basic dXA=", None),
        ("Basic *", None),
        ("Digest a", None),
        ("a", None),
        ("", None),
    ] {
        assert_eq!(credentials(given.as_bytes()), token.map(|token| token.as_bytes().to_vec()), "{given}");
    }
}
