use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;

const START: i64 = 1_800_000_000_000_000;

/// Time for one exchange; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends bytes as they are, and reads as many as are expected.
async fn exchange(stream: &mut TcpStream, sent: &str, expected: &str) {
    stream.write_all(sent.as_bytes()).await.expect("it reads");
    let mut reply = vec![0; expected.len()];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut reply)).await;
    let shown = String::from_utf8_lossy(&reply).into_owned();
    assert!(matches!(read, Ok(Ok(_))), "{sent:?}: {shown:?} and no more, not {expected:?}");
    assert_eq!(shown, expected, "{sent:?}");
}

/// The conversation, each line of it: what is sent, without its `\r\n`s, and the whole reply as it stands on the wire.
const CONVERSATION: &[(&str, &str)] = &[
    ("*1 $4 PING", "+PONG\r\n"),
    ("*2 $4 ping $2 hi", "$2\r\nhi\r\n"),
    ("*2 $6 SELECT $1 0", "+OK\r\n"),
    ("*2 $6 SELECT $2 99", "-ERR DB index is out of range\r\n"),
    ("*3 $6 CLIENT $7 SETNAME $4 demo", "+OK\r\n"),
    (
        "*2 $4 AUTH $1 x",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?\r\n",
    ),
    ("*1 $6 DBSIZE", ":0\r\n"),
    ("*5 $3 SET $3 a:1 $1 7 $2 EX $2 90", "+OK\r\n"),
    ("*5 $3 SET $3 a:2 $1 x $2 px $5 90000", "+OK\r\n"),
    ("*3 $3 SET $1 b $0 ", "+OK\r\n"),
    ("*1 $6 DBSIZE", ":3\r\n"),
    ("*2 $3 GET $3 a:1", "$1\r\n7\r\n"),
    ("*2 $3 GET $1 b", "$0\r\n\r\n"),
    ("*2 $3 GET $4 none", "$-1\r\n"),
    ("*4 $4 MGET $3 a:1 $4 none $3 a:2", "*3\r\n$1\r\n7\r\n$-1\r\n$1\r\nx\r\n"),
    ("*2 $4 INCR $3 a:1", ":8\r\n"),
    ("*2 $4 INCR $3 a:2", "-ERR value is not an integer or out of range\r\n"),
    ("*2 $4 INCR $1 n", ":1\r\n"),
    ("*2 $3 TTL $3 a:1", ":90\r\n"),
    ("*2 $3 TTL $1 n", ":-1\r\n"),
    ("*3 $6 EXPIRE $1 n $3 300", ":1\r\n"),
    ("*2 $3 TTL $1 n", ":300\r\n"),
    ("*3 $6 EXPIRE $4 none $2 10", ":0\r\n"),
    ("*2 $3 TTL $4 none", ":-2\r\n"),
    ("*6 $4 SCAN $1 0 $5 MATCH $3 a:1 $5 COUNT $4 1000", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\na:1\r\n"),
    ("*6 $4 SCAN $1 0 $5 MATCH $3 z:* $5 COUNT $4 1000", "*2\r\n$1\r\n0\r\n*0\r\n"),
    ("*2 $4 SCAN $1 x", "-ERR invalid cursor\r\n"),
    ("*4 $4 SCAN $1 0 $5 COUNT $1 0", "-ERR syntax error\r\n"),
    ("*3 $4 SCAN $1 0 $5 COUNT", "-ERR syntax error\r\n"),
    ("*5 $3 SET $1 b $1 x $2 EX $1 0", "-ERR invalid expire time in 'set' command\r\n"),
    ("*5 $3 SET $1 b $1 x $2 EX $1 y", "-ERR value is not an integer or out of range\r\n"),
    ("*4 $3 SET $1 b $1 x $2 EX", "-ERR syntax error\r\n"),
    ("*3 $3 DEL $1 b $4 none", ":1\r\n"),
    ("*3 $6 EXPIRE $1 n $2 -1", ":1\r\n"),
    ("*2 $3 GET $1 n", "$-1\r\n"),
    ("*1 $3 GET", "-ERR wrong number of arguments for 'get' command\r\n"),
    ("*3 $3 FOO $1 a $2 bc", "-ERR unknown command 'FOO', with args beginning with: 'a' 'bc' \r\n"),
    ("*1 $6 DBSIZE", ":2\r\n"),
];

/// A line of the conversation as it is sent.
fn on_the_wire(line: &str) -> String {
    line.split(' ').map(|part| format!("{part}\r\n")).collect()
}

async fn converse(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    for (sent, expected) in CONVERSATION {
        exchange(&mut stream, &on_the_wire(sent), expected).await;
    }
}

#[tokio::test]
async fn it_answers_in_resp_2() {
    let server = RespServer::start(Arc::new(|| START)).await.expect("loopback has free ports");
    converse(server.address()).await;
    // A client that offers RESP 3 is told that there is none, and goes on in RESP 2.
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    exchange(&mut stream, &on_the_wire("*2 $5 HELLO $1 3"), "-NOPROTO unsupported protocol version\r\n").await;
}

#[tokio::test]
async fn a_real_server_answers_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = super::super::key_server::installed().expect("redis-server is installed; run tests/install.sh");
    let server =
        super::super::key_server::Private::start(&program, folder.path(), "same").await.expect("redis-server starts");
    converse(server.address()).await;
}

#[tokio::test]
async fn commands_may_come_in_pieces_and_many_at_once() {
    let server = RespServer::start(Arc::new(|| START)).await.expect("loopback has free ports");
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    let sent: String = (0..1000).map(|number| on_the_wire(&format!("*3 $3 SET $4 {number:04} $1 x"))).collect();
    for piece in sent.as_bytes().chunks(997) {
        stream.write_all(piece).await.expect("it reads");
    }
    exchange(&mut stream, &on_the_wire("*1 $6 DBSIZE"), &format!("{}:1000\r\n", "+OK\r\n".repeat(1000))).await;
    // What is no RESP ends the connection, and no other.
    let mut other = TcpStream::connect(server.address()).await.expect("it listens");
    exchange(&mut other, "GET / HTTP/1.1\r\n\r\n", "-ERR Protocol error: a command is an array of bulk strings\r\n")
        .await;
    let ended = tokio::time::timeout(PATIENCE, other.read(&mut [0])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "it goes on: {ended:?}");
    exchange(&mut stream, &on_the_wire("*1 $4 PING"), "+PONG\r\n").await;
}

#[tokio::test]
async fn keys_end_and_info_tells_of_it() {
    let now = Arc::new(AtomicI64::new(START));
    let time = Arc::clone(&now);
    let server = RespServer::start(Arc::new(move || time.load(Ordering::Relaxed))).await.expect("it starts");
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    exchange(&mut stream, &on_the_wire("*5 $3 SET $1 a $1 x $2 EX $2 60"), "+OK\r\n").await;
    exchange(&mut stream, &on_the_wire("*3 $3 SET $1 b $1 x"), "+OK\r\n").await;
    exchange(&mut stream, &on_the_wire("*2 $3 GET $1 a"), "$1\r\nx\r\n").await;
    now.fetch_add(59_900_000, Ordering::Relaxed);
    exchange(&mut stream, &on_the_wire("*2 $3 TTL $1 a"), ":0\r\n").await;
    now.fetch_add(100_000, Ordering::Relaxed);
    exchange(&mut stream, &on_the_wire("*2 $3 GET $1 a"), "$-1\r\n").await;
    let info = |sections: &str| -> String {
        let command: Vec<Vec<u8>> =
            ["INFO", sections].iter().filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect();
        let mut server = Server::new(START);
        server.client_came();
        let parts = |command: &[&str]| command.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>();
        server.answer(&parts(&["SET", "k", "v", "EX", "5"]), START);
        server.answer(&parts(&["SET", "l", "v"]), START);
        server.answer(&parts(&["MGET", "k", "l", "m"]), START);
        match server.answer(&command, START + 6_000_000) {
            Reply::Bulk(Some(text)) => String::from_utf8(text).expect("it is text"),
            other => panic!("{other:?}"),
        }
    };
    let all = info("");
    for field in [
        "redis_version:",
        "uptime_in_seconds:6\r\n",
        "connected_clients:1\r\n",
        "used_memory:",
        "maxmemory:",
        "keyspace_hits:2\r\n",
        "keyspace_misses:1\r\n",
        "expired_keys:1\r\n",
        "evicted_keys:0\r\n",
        "total_connections_received:1\r\n",
        "role:master\r\n",
        "rejected_connections:0\r\n",
        "total_commands_processed:4\r\n",
        "db0:keys=1,expires=0,",
    ] {
        assert!(all.contains(field), "{field} is not in\n{all}");
    }
    let stats = info("stats");
    assert!(stats.starts_with("# Stats\r\n") && !stats.contains("redis_version"), "{stats}");
}

#[tokio::test]
async fn it_ends_with_its_clients() {
    let server = RespServer::start(Arc::new(|| START)).await.expect("loopback has free ports");
    let address = server.address();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    exchange(&mut stream, &on_the_wire("*1 $4 PING"), "+PONG\r\n").await;
    drop(server);
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "it goes on: {ended:?}");
    // The listener goes when its task does, which is after this returned.
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("it still listens");
}
