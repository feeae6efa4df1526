//! Tokens, signatures, and the tests that senders make of an endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rowmetry::config::logs::{DrainAuth, IntakeLimits, Signature, SignatureAlgorithm, SignatureEncoding};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{Intakes, LINES, Reply, Task, gzip, outcomes, read_to_end, soon};

fn token() -> DrainAuth {
    DrainAuth { token: Some("s3cret-token".into()), ..DrainAuth::default() }
}

fn signed_as_vercel(verify: Option<&str>) -> DrainAuth {
    DrainAuth {
        signature: Some(Signature {
            secret: "key".into(),
            header: "x-vercel-signature".into(),
            algorithm: SignatureAlgorithm::Sha1,
            prefix: String::new(),
            encoding: SignatureEncoding::Hex,
        }),
        verify: verify.map(Into::into),
        ..DrainAuth::default()
    }
}

fn sha1(key: &str, body: &[u8]) -> String {
    let mac = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes()).expect("any key").chain_update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(key: &str, body: &[u8]) -> String {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("any key").chain_update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Nothing that was sent, and nothing that is secret, is in a reply.
fn assert_silent(reply: &Reply) {
    for secret in ["s3cret", "wr0ng", "key", "\"message\""] {
        assert!(!reply.head.contains(secret) && !reply.text().contains(secret), "{reply:?}");
    }
}

#[tokio::test]
async fn a_token_lets_in_and_nothing_else_does() {
    let intakes = Intakes::start(token(), IntakeLimits::default(), Some(Task::Counts)).await;
    let basic = format!("Authorization: Basic {}", STANDARD.encode("user:s3cret-token"));
    let unpadded = format!("Authorization: basic {}", STANDARD.encode(":s3cret-token").trim_end_matches('='));
    let good = ["Authorization: Bearer s3cret-token", "authorization: bearer   s3cret-token", &basic, &unpadded];
    for header in good {
        let reply = intakes.post(&[header], LINES).await;
        assert_eq!((reply.status(), reply.text().as_str()), ("200", ""), "{header}");
    }
    assert_eq!(intakes.counted(), (4, 12));

    let user = format!("Authorization: Basic {}", STANDARD.encode("s3cret-token:"));
    let bad: [&[&str]; 9] = [
        &[],
        &["Authorization: Bearer wr0ng"],
        &["Authorization: Bearer s3cret-toke"],
        &["Authorization: Bearer s3cret-token2"],
        &["Authorization: Bearer"],
        &["Authorization: s3cret-token"],
        &["Authorization: Basic ????"],
        &[&user],
        &["Authorization: Bearer s3cret-token", "Authorization: Bearer wr0ng"],
    ];
    for headers in bad {
        let reply = intakes.post(headers, LINES).await;
        assert_eq!(reply.status(), "401", "{headers:?}");
        assert!(reply.head.contains("\r\nwww-authenticate: bearer\r\n"), "{reply:?}");
        assert_eq!(reply.text(), "The header Authorization does not hold this drain's token.\n");
        assert_silent(&reply);
    }
    assert_eq!(intakes.counted().0, 4);
    assert_eq!(intakes.fates().await, outcomes([("accepted", 4), ("bad_token", 9)]));
    assert_eq!(intakes.bytes().await, 4 * LINES.len() as u64, "what strangers send is none of the drain's");
}

#[tokio::test]
async fn a_token_may_have_a_header_of_its_own() {
    let auth = DrainAuth { token_header: Some("x-drain-key".into()), ..token() };
    let intakes = Intakes::start(auth, IntakeLimits::default(), Some(Task::Counts)).await;
    assert_eq!(intakes.post(&["X-Drain-Key: s3cret-token"], LINES).await.status(), "200");
    let reply = intakes.post(&["Authorization: Bearer s3cret-token"], LINES).await;
    assert_eq!(reply.status(), "401");
    assert_eq!(intakes.post(&["X-Drain-Key: Bearer s3cret-token"], LINES).await.status(), "401");
    assert_eq!(intakes.fates().await, outcomes([("accepted", 1), ("bad_token", 2)]));
}

#[tokio::test]
async fn a_body_counts_if_it_is_signed_as_vercel_does() {
    let intakes = Intakes::start(signed_as_vercel(None), IntakeLimits::default(), Some(Task::Counts)).await;
    let right = format!("x-vercel-signature: {}", sha1("key", LINES));
    let upper = format!("X-Vercel-Signature: {}", sha1("key", LINES).to_uppercase());
    for header in [&right, &upper] {
        assert_eq!(intakes.post(&[header], LINES).await.status(), "200", "{header}");
    }
    let large = [LINES, &[b' '; 100_000]].concat();
    let header = format!("x-vercel-signature: {}", sha1("key", &large));
    assert_eq!(intakes.post(&[&header], &large).await.status(), "200", "a body that is read aside");
    assert_eq!(intakes.counted(), (3, 9));

    let other = format!("x-vercel-signature: {}", sha1("another", LINES));
    let short = &right[..right.len() - 2];
    let odd = &right[..right.len() - 1];
    let bad: [&[&str]; 8] = [
        &[],
        &[&other],
        &[short],
        &[odd],
        &["x-vercel-signature:"],
        &["x-vercel-signature: zz"],
        &[&right, &right],
        &["x-other-signature: 00"],
    ];
    for headers in bad {
        let reply = intakes.post(headers, LINES).await;
        assert_eq!(reply.status(), "403", "{headers:?}");
        assert_eq!(reply.text(), "The header x-vercel-signature does not hold the signature of this body.\n");
        assert_silent(&reply);
    }
    assert_eq!(intakes.post(&[&right], &LINES[1..]).await.status(), "403", "the signature of another body");
    assert_eq!(intakes.post(&[&header], &[&large[..], b" "].concat()).await.status(), "403");
    assert_eq!(intakes.post(&[], b"{}").await.status(), "403", "only where verification is set is it a test");
    assert_eq!(intakes.counted().0, 3);
    assert_eq!(intakes.fates().await, outcomes([("accepted", 3), ("bad_signature", 11)]));
}

#[tokio::test]
async fn the_signature_is_that_of_the_packed_bytes() {
    let intakes = Intakes::start(signed_as_vercel(None), IntakeLimits::default(), Some(Task::Counts)).await;
    let packed = gzip(LINES);
    let right = format!("x-vercel-signature: {}", sha1("key", &packed));
    let unpacked = format!("x-vercel-signature: {}", sha1("key", LINES));
    assert_eq!(intakes.post(&[&right, "Content-Encoding: gzip"], &packed).await.status(), "200");
    assert_eq!(intakes.post(&[&unpacked, "Content-Encoding: gzip"], &packed).await.status(), "403");
    // It is not unpacked before the signature is right: what is no gzip is refused for its signature.
    assert_eq!(intakes.post(&[&unpacked, "Content-Encoding: gzip"], b"no gzip").await.status(), "403");
    assert_eq!(intakes.counted(), (1, 3));
    assert_eq!(intakes.bytes().await, packed.len() as u64, "as they came");
}

#[tokio::test]
async fn signatures_are_written_in_many_ways() {
    let auth = DrainAuth {
        signature: Some(Signature {
            secret: "key".into(),
            header: "x-signature-256".into(),
            algorithm: SignatureAlgorithm::Sha256,
            prefix: "sha256=".into(),
            encoding: SignatureEncoding::Base64,
        }),
        ..token()
    };
    let intakes = Intakes::start(auth, IntakeLimits::default(), Some(Task::Counts)).await;
    let bearer = "Authorization: Bearer s3cret-token";
    let right = sha256("key", LINES);
    for written in [format!("sha256={right}"), format!("SHA256={}", right.trim_end_matches('='))] {
        let header = format!("X-Signature-256: {written}");
        assert_eq!(intakes.post(&[bearer, &header], LINES).await.status(), "200", "{written}");
        assert_eq!(intakes.post(&[&header], LINES).await.status(), "401", "both must hold");
    }
    for written in [right.clone(), format!("sha1={right}"), format!("sha256={}", sha256("another", LINES))] {
        let header = format!("X-Signature-256: {written}");
        assert_eq!(intakes.post(&[bearer, &header], LINES).await.status(), "403", "{written}");
    }
    assert_eq!(intakes.fates().await, outcomes([("accepted", 2), ("bad_signature", 3), ("bad_token", 2)]));
}

#[tokio::test]
async fn an_endpoint_shows_whose_it_is_in_every_answer() {
    let intakes = Intakes::start(signed_as_vercel(Some("my-code")), IntakeLimits::default(), Some(Task::Counts)).await;
    let signed = format!("x-vercel-signature: {}", sha1("key", LINES));
    for (head, body, status) in [
        ("GET /drains/app HTTP/1.1\r\n\r\n", &b""[..], "200"),
        ("HEAD /drains/app?x=1 HTTP/1.1\r\n\r\n", b"", "200"),
        ("POST /drains/app HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"", "200"),
        ("POST /drains/app HTTP/1.1\r\n\r\n", b"", "200"),
        ("POST /drains/app HTTP/1.1\r\nContent-Length: 2\r\n\r\n", b"{}", "200"),
        ("POST /drains/app HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"[]\n", "200"),
        ("PUT /drains/app HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", "200"),
        ("DELETE /drains/app HTTP/1.1\r\n\r\n", b"", "405"),
        ("OPTIONS /drains/app HTTP/1.1\r\n\r\n", b"", "405"),
        ("POST /drains/app HTTP/1.1\r\nContent-Length: 4\r\n\r\n", b"[{}]", "403"),
        ("POST /drains/app HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", b"", "403"),
        ("POST /drains/app HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n", b"{}", "415"),
    ] {
        let reply = intakes.send(head, body).await;
        assert_eq!(reply.status(), status, "{head}: {reply:?}");
        assert!(reply.head.contains("\r\nx-vercel-verify: my-code\r\n"), "{head}: {reply:?}");
        assert_eq!(reply.body.is_empty(), status == "200", "{head}: {reply:?}");
        assert_eq!(reply.head.contains("\r\nallow: get, head, post, put\r\n"), status == "405", "{reply:?}");
    }
    assert_eq!(intakes.counted().0, 0, "a test brings no lines");
    let reply = intakes.post(&[&signed], LINES).await;
    assert_eq!(reply.status(), "200");
    assert!(reply.head.contains("\r\nx-vercel-verify: my-code\r\n"), "{reply:?}");
    assert_eq!(intakes.fates().await, outcomes([("accepted", 1), ("bad_signature", 2), ("unsupported", 3)]));

    let auth = DrainAuth { verify: Some("my-code".into()), ..token() };
    let intakes = Intakes::start(auth, IntakeLimits::default(), Some(Task::Counts)).await;
    let reply = intakes.post(&[], b"{}").await;
    assert_eq!(reply.status(), "401", "a test must have the token");
    assert!(reply.head.contains("\r\nx-vercel-verify: my-code\r\n"), "{reply:?}");
}

#[tokio::test]
async fn who_may_not_is_told_before_its_body_is_read() {
    let intakes = Intakes::start(token(), IntakeLimits::default(), Some(Task::Counts)).await;
    // The body never comes.
    let reply = intakes.send("POST /drains/app HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", b"").await;
    assert_eq!(reply.status(), "401");
    // It is sent in spite of the answer: the answer is still heard, and the connection ends in order.
    let mut stream = intakes.connect().await;
    let head = "POST /drains/app HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it reads");
    soon(stream.write_all(&vec![b'x'; 10_000_000])).await.expect("it takes what it refused, for a while");
    let reply = read_to_end(&mut stream).await;
    assert_eq!(reply.status(), "401");

    // It waits for leave, which it does not get.
    let expecting = "Expect: 100-continue\r\nContent-Length: 81\r\n\r\n";
    let reply = intakes.send(&format!("POST /drains/app HTTP/1.1\r\n{expecting}"), b"").await;
    assert_eq!(reply.status(), "401", "{reply:?}");

    let mut stream = intakes.connect().await;
    let head = format!("POST /drains/app HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret-token\r\n{expecting}");
    stream.write_all(head.replace("81", &LINES.len().to_string()).as_bytes()).await.expect("it reads");
    let mut leave = [0; 25];
    soon(stream.read_exact(&mut leave)).await.expect("it gives leave");
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(LINES).await.expect("it reads");
    let mut status = [0; 12];
    soon(stream.read_exact(&mut status)).await.expect("it answers");
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(intakes.fates().await, outcomes([("accepted", 1), ("bad_token", 3)]));
}
