use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Upstream;

fn server(url: &str) -> Result<RedisServer, Failure> {
    let mut settings = SourceSettings::new("cache", Upstream::Redis, SecretString::from(url));
    settings.connect_timeout = Duration::from_secs(5);
    settings.statement_timeout = Duration::from_millis(500);
    RedisServer::new(&settings)
}

/// A server that does something else with each connection, in their order.
fn odd_server(acts: Vec<fn(TcpStream)>) -> RedisServer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for (act, stream) in acts.into_iter().zip(listener.incoming().flatten()) {
            act(stream);
        }
    });
    server(&format!("redis://:hunter2@{address}")).expect("it is a good URL")
}

fn say(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("somebody listens");
}

/// Reads once and answers.
fn answer(mut stream: &TcpStream, text: &str) {
    let _ = stream.read(&mut [0; 1024]).expect("somebody asks");
    say(stream, text);
}

#[tokio::test]
async fn why_a_server_lets_nobody_in_is_heard_although_the_answer_was_lost() {
    let redis = odd_server(vec![drop, |stream| say(&stream, "-ERR max number of clients reached\r\n")]);
    let failure = redis.size().await.expect_err("it lets nobody in");
    assert_eq!(failure.reason, Reason::TooManyConnections, "{failure}");
    let redis = odd_server(vec![drop, drop]);
    let failure = redis.size().await.expect_err("it lets nobody in");
    assert_eq!(failure.reason, Reason::Unreachable, "{failure}");
}

#[tokio::test]
async fn what_is_no_redis_is_told_as_such_and_nothing_of_it_repeated() {
    let web: fn(TcpStream) = |stream| answer(&stream, "HTTP/1.1 400 Bad Request\r\nX: hunter2\r\n\r\nhunter2");
    let failure = odd_server(vec![web]).size().await.expect_err("it is a web server");
    assert_eq!(failure.reason, Reason::BadReply, "{failure}");
    assert!(!failure.message.contains("hunter2"), "{failure}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_at_the_deadline() {
    let redis = odd_server(vec![|stream| {
        // AUTH and SETNAME.
        answer(&stream, "+OK\r\n");
        answer(&stream, "+OK\r\n");
        let _ = (&stream).read_to_end(&mut Vec::new());
    }]);
    let began = Instant::now();
    let failure = redis.size().await.expect_err("it says nothing");
    assert_eq!(failure.reason, Reason::Silent, "{failure}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(redis.spend().total(), 3, "AUTH, SETNAME, DBSIZE");
}

#[test]
fn what_cannot_be_used_is_told_without_its_secret() {
    for (url, hint) in [
        ("rediss://:hunter2@host/#insecure", "ca_file"),
        ("redis://:hunter2@0.0.0.0", "cannot be used"),
        ("http://hunter2", "cannot be read"),
    ] {
        let failure = server(url).err().unwrap_or_else(|| panic!("{url} cannot be used"));
        assert!(failure.message.contains(hint) && !failure.message.contains("hunter2"), "{failure}");
    }
}
