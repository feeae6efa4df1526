//! Bodies that are too large, too slow, broken, or packed in odd ways; and what there is no room for.

use std::io::Write as _;
use std::time::Duration;

use rowmetry::config::logs::{DrainAuth, IntakeLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Intakes, LINES, PATIENCE, Reply, Task, gzip, outcomes, read_to_end, soon};
use crate::harness::eventually;

fn limits() -> IntakeLimits {
    IntakeLimits { body_bytes: 1 << 20, unpacked_bytes: 2 << 20, waiting_bytes: 4 << 20, ..IntakeLimits::default() }
}

async fn open(limits: IntakeLimits) -> Intakes {
    Intakes::start(DrainAuth::default(), limits, Some(Task::Counts)).await
}

/// A gzip of so many bytes, a thousandth as long: one piece again and again, as the format allows.
fn bomb(bytes: usize) -> Vec<u8> {
    const PIECE: usize = 4 << 20;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; PIECE]).expect("memory takes all");
    encoder.finish().expect("memory takes all").repeat(bytes / PIECE)
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("it is told");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

#[tokio::test]
async fn a_body_may_be_so_large_and_no_larger() {
    let limits = limits();
    let intakes = open(limits).await;
    let fill = |length: usize| [LINES, &vec![b'\n'; length - LINES.len()]].concat();
    assert_eq!(intakes.post(&[], &fill(1 << 20)).await.status(), "200");
    let reply = intakes.post(&[], &fill((1 << 20) + 1)).await;
    assert_eq!(reply.status(), "413");
    assert_eq!(reply.text(), "The body has more than 1048576 bytes. Send less at a time.\n");

    // What is announced is enough; the body never comes.
    for length in ["1048577", "99999999999", "9223372036854775807"] {
        let head = format!("POST /drains/app HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        let reply = intakes.send(&head, b"").await;
        assert_eq!(reply.status(), "413", "{length}: {reply:?}");
        assert!(reply.head.contains("\r\nconnection: close\r\n"), "{reply:?}");
    }
    // In pieces, nothing is announced; and the end never comes.
    let piece = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
    let head = "POST /drains/app HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(intakes.send(head, &piece.repeat(17)).await.status(), "413");
    let whole = format!("{:x}\r\n{}\r\n0\r\n\r\n", LINES.len(), String::from_utf8_lossy(LINES));
    assert_eq!(intakes.send(head, whole.as_bytes()).await.status(), "200");
    assert_eq!(intakes.fates().await, outcomes([("accepted", 2), ("too_large", 5)]));
    assert!(intakes.is_empty(limits));
}

#[tokio::test]
async fn what_is_packed_is_bounded_unpacked() {
    let limits = limits();
    let intakes = open(limits).await;
    for name in ["gzip", "GZIP", "x-gzip"] {
        let header = format!("Content-Encoding: {name}");
        assert_eq!(intakes.post(&[&header], &gzip(LINES)).await.status(), "200", "{name}");
    }
    assert_eq!(intakes.post(&["Content-Encoding: identity"], LINES).await.status(), "200");
    assert_eq!(intakes.counted(), (4, 12));

    let before = peak();
    let bomb = bomb(1 << 30);
    assert!(bomb.len() < 2 << 20, "it is small: {}", bomb.len());
    let larger = IntakeLimits { body_bytes: 8 << 20, waiting_bytes: 16 << 20, ..limits };
    let bombed = open(larger).await;
    let reply = bombed.post(&["Content-Encoding: gzip"], &bomb).await;
    assert_eq!(reply.status(), "413");
    assert_eq!(reply.text(), "The body has more than 2097152 bytes when it is unpacked. Send less at a time.\n");
    // Other tests run beside this one; the bomb is larger than all they take.
    assert!(peak() - before < 512 << 20, "{} MiB more", (peak() - before) >> 20);
    assert_eq!(bombed.fates().await, outcomes([("too_large", 1)]));
    assert!(bombed.is_empty(larger));

    let packed = gzip(LINES);
    for broken in [&packed[..packed.len() - 1], &packed[..12], b"no gzip", &[&packed[..], b"and more"].concat()] {
        let reply = intakes.post(&["Content-Encoding: gzip"], broken).await;
        assert_eq!(reply.status(), "400", "{broken:?}");
        assert_eq!(reply.text(), "The body is no whole gzip, although Content-Encoding says so.\n");
    }
    let odd: [&[&str]; 6] = [
        &["Content-Encoding: deflate"],
        &["Content-Encoding: zstd"],
        &["Content-Encoding: br"],
        &["Content-Encoding: gzip, gzip"],
        &["Content-Encoding: gzip", "Content-Encoding: gzip"],
        &["Content-Encoding: identity, br"],
    ];
    for headers in odd {
        let reply = intakes.post(headers, &packed).await;
        assert_eq!(reply.status(), "415", "{headers:?}");
        assert!(reply.head.contains("\r\naccept-encoding: gzip, identity\r\n"), "{reply:?}");
    }
    assert_eq!(intakes.post(&["Content-Type: application/msgpack"], LINES).await.status(), "415");
    assert_eq!(intakes.post(&["Content-Type: Multipart/Form-Data; boundary=x"], LINES).await.status(), "415");
    let fates = intakes.fates().await;
    assert_eq!(fates, outcomes([("accepted", 4), ("unreadable", 4), ("unsupported", 8)]));
    assert!(intakes.is_empty(limits));
}

#[tokio::test]
async fn who_sends_slowly_is_not_waited_for() {
    let limits = IntakeLimits { body_timeout: Duration::from_millis(200), ..limits() };
    let intakes = open(limits).await;
    let mut stream = intakes.connect().await;
    stream.write_all(b"POST /drains/app HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n").await.expect("it reads");
    stream.write_all(b"a few bytes").await.expect("it reads");
    // The reply comes, and then the connection ends, although nothing more is sent.
    let reply: Reply = read_to_end(&mut stream).await;
    assert_eq!(reply.status(), "408", "{reply:?}");
    assert!(reply.head.contains("\r\nconnection: close\r\n"), "{reply:?}");
    assert_eq!(intakes.fates().await, outcomes([("timed_out", 1)]));

    // The whole body has that time, not each of its bytes.
    let mut stream = intakes.connect().await;
    stream.write_all(b"POST /drains/app HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n").await.expect("it reads");
    let (mut read, mut write) = stream.into_split();
    let drip = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            if write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut status = [0; 12];
    tokio::select! {
        read = soon(read.read_exact(&mut status)) => { read.expect("it answers"); }
        () = drip => {}
    }
    assert_eq!(&status, b"HTTP/1.1 408");
    assert_eq!(intakes.fates().await, outcomes([("timed_out", 2)]));
    assert!(intakes.is_empty(limits));
}

#[tokio::test]
async fn who_goes_away_in_the_middle_is_counted_and_leaves_nothing() {
    let limits = limits();
    let intakes = open(limits).await;
    let heads = ["Content-Length: 500000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n50000\r\n"];
    for (gone, head) in heads.into_iter().enumerate() {
        let mut stream = intakes.connect().await;
        let head = format!("POST /drains/app HTTP/1.1\r\nHost: x\r\n{head}");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream.write_all(&[b'x'; 100_000]).await.expect("it reads");
        eventually(
            PATIENCE,
            "room is taken",
            async || {
                if intakes.is_empty(limits) { Err("none is".into()) } else { Ok(()) }
            },
        )
        .await;
        drop(stream);
        eventually(PATIENCE, "it is counted", async || match intakes.fates().await {
            fates if fates == outcomes([("timed_out", gone as u64 + 1)]) => Ok(()),
            fates => Err(format!("{fates:?}")),
        })
        .await;
        eventually(PATIENCE, "room is given back", async || {
            if intakes.is_empty(limits) { Ok(()) } else { Err("it is not".into()) }
        })
        .await;
    }
    let reply = intakes.send("POST /drains/app HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n").await;
    assert_eq!(reply.status(), "400", "no number: {reply:?}");
    assert_eq!(intakes.fates().await, outcomes([("timed_out", 2), ("unreadable", 1)]));
}

#[tokio::test]
async fn noise_is_answered_and_breaks_nothing() {
    let limits = limits();
    let intakes = open(limits).await;
    let mut random = fastrand::Rng::with_seed(20_261_121);
    for round in 0..200 {
        let mut noise = vec![0; random.usize(1..3000)];
        random.fill(&mut noise);
        let packed = round % 4 == 1;
        if packed {
            // Right at its beginning, and then anything.
            let begin = gzip(LINES);
            noise.splice(0..0, begin[..random.usize(1..begin.len())].iter().copied());
        }
        let headers: &[&str] = if packed { &["Content-Encoding: gzip"] } else { &[] };
        let reply = intakes.post(headers, &noise).await;
        assert!(matches!(reply.status(), "200" | "400"), "round {round}: {reply:?}");
    }
    let fates = intakes.fates().await;
    assert_eq!(fates.values().sum::<u64>(), 200, "{fates:?}");
    assert!(fates.keys().all(|fate| fate == "accepted" || fate == "unreadable"), "{fates:?}");
    assert_eq!(intakes.post(&[], LINES).await.status(), "200");
    assert!(intakes.is_empty(limits));
}

#[tokio::test]
async fn what_finds_no_room_may_come_again() {
    let limits = limits();
    let intakes = open(limits).await;
    let taken = intakes.inlets.take_room(limits.waiting_bytes - 1024).expect("nothing else is there");
    assert_eq!(intakes.post(&[], LINES).await.status(), "200", "a kilobyte is left");
    let large = [LINES, &[b'\n'; 2000]].concat();
    let packed = gzip(&large);
    assert!(packed.len() < 1000, "there is room for it packed");
    for (headers, body) in [(&[][..], &large), (&["Content-Encoding: gzip"], &packed)] {
        let reply = intakes.post(headers, body).await;
        assert_eq!(reply.status(), "429", "{headers:?}");
        assert!(reply.head.contains("\r\nretry-after: 1\r\n"), "{reply:?}");
    }
    drop(taken);
    for (headers, body) in [(&[][..], &large), (&["Content-Encoding: gzip"], &packed)] {
        assert_eq!(intakes.post(headers, body).await.status(), "200", "{headers:?}");
    }
    assert_eq!(intakes.fates().await, outcomes([("accepted", 3), ("overloaded", 2)]));
    assert!(intakes.is_empty(limits));
}
