//! Asks a running Rowmetry's `/healthz`, for containers that have no `curl`.
//!
//! It speaks just enough HTTP for that one question, and never waits longer than its timeout.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Time for connecting, and again for the answer: well under the 30 s after which Docker gives up.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of the answer that are looked at: its first line.
const ANSWER_LENGTH: u64 = 64;

/// Why Rowmetry seems not to live.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nobody answers.
    #[error("no answer at {address}: {error}")]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// What went wrong.
        error: std::io::Error,
    },
    /// The answer is another than 200.
    #[error("{address} answers `{line}`")]
    BadAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// The answer's first line.
        line: String,
    },
}

/// Asks the Rowmetry that listens at `listen` on this machine.
///
/// # Errors
/// When it does not answer 200 in time.
pub fn ask(listen: SocketAddr) -> Result<(), Unhealthy> {
    let address = reachable(listen);
    let line = first_line(address).map_err(|error| Unhealthy::NoAnswer { address, error })?;
    if line.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(Unhealthy::BadAnswer { address, line }) }
}

fn first_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece: whoever answers before the last one and closes would take the answer away with it.
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LENGTH).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

/// "Every address" cannot be asked; this machine's own stands for it.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static str) -> Result<(), Unhealthy> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 512];
            let length = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("a client that reads");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let outcome = ask(SocketAddr::from(([0, 0, 0, 0], port)));
        assert!(server.join().expect("a server that ends").starts_with("GET /healthz HTTP/1.1\r\n"));
        outcome
    }

    #[test]
    fn only_200_is_healthy() {
        assert!(answered("HTTP/1.1 200 OK\r\n\r\nok").is_ok());
        let told = answered("HTTP/1.1 503 Service Unavailable\r\n\r\n").expect_err("unhealthy").to_string();
        assert!(told.ends_with("answers `HTTP/1.1 503 Service Unavailable`"), "{told}");
        assert!(answered("").is_err());
    }

    #[test]
    fn nobody_there_is_unhealthy() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        assert!(ask(address).expect_err("nobody listens").to_string().contains("no answer at"));
    }
}
