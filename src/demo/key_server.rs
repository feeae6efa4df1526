//! Who keeps the demo's keys: a private `redis-server` where one is installed, else the server within the program.
//!
//! A private one writes nothing to disk, listens on loopback alone, and ends with the demo, however that ends.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Clock;
use super::key_writer::KeyWriter;
use super::resp::RespServer;
use super::resp::wire::Reply;

/// Time for a server to begin to answer; it takes a few hundredths of a second.
const START_WITHIN: Duration = Duration::from_secs(5);

/// Pause between two looks whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ports that are tried: between the choice of a free one and its use, somebody else may take it.
const PORTS: usize = 3;

/// Memory that a private server may use; the demo's keys need about one MiB.
const MEMORY: &str = "32mb";

/// Starts the server and waits at the end of a pipe. The pipe ends when the demo does, were it killed: then the server
/// ends too. The name of the configuration comes as `$2`.
const KEEPER: &str = r#""$1" "$2" & server=$!; read -r end; kill -KILL "$server"; wait "$server" 2>/dev/null"#;

/// Which server keeps the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// By an installed `redis-server` if there is one that starts.
    ByWhatIsInstalled,
    /// Within the program.
    #[cfg(test)]
    Within,
}

/// A server that runs until it is dropped.
pub(super) enum KeyServer {
    Private(Private),
    Within(RespServer),
}

impl KeyServer {
    /// Starts one. `folder` is for a private server's configuration.
    ///
    /// # Errors
    /// When no loopback port can be listened at.
    pub(super) async fn start(kept: Kept, folder: &Path, app: &str, clock: Clock) -> io::Result<Self> {
        if kept == Kept::ByWhatIsInstalled
            && let Some(program) = installed()
        {
            match Private::start(&program, folder, app).await {
                Ok(private) => return Ok(KeyServer::Private(private)),
                Err(error) => {
                    tracing::warn!(%error, "the demo keeps its keys itself, since redis-server does not start");
                }
            }
        }
        Ok(KeyServer::Within(RespServer::start(clock).await?))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            KeyServer::Private(private) => private.address(),
            KeyServer::Within(within) => within.address(),
        }
    }
}

/// An installed `redis-server`'s place, if `PATH` has one.
pub(super) fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("redis-server")).find(|file| file.is_file())
}

/// A `redis-server` of our own.
pub(super) struct Private {
    keeper: Child,
    address: SocketAddr,
}

impl Private {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub(super) async fn start(program: &Path, folder: &Path, app: &str) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..PORTS {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            match Private::start_at(free, program, folder, app).await {
                Ok(private) => return Ok(private),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn start_at(address: SocketAddr, program: &Path, folder: &Path, app: &str) -> io::Result<Self> {
        let configuration = folder.join(format!("{app}.redis.conf"));
        let settings = format!(
            "bind {}\nport {}\nsave \"\"\nappendonly no\ndir \"{}\"\nmaxmemory {MEMORY}\nmaxmemory-policy allkeys-lru\n\
             logfile \"\"\ndaemonize no\n",
            address.ip(),
            address.port(),
            folder.display()
        );
        std::fs::write(&configuration, settings)?;
        let keeper = Command::new("/bin/sh")
            .args([
                OsStr::new("-c"),
                OsStr::new(KEEPER),
                OsStr::new("sh"),
                program.as_os_str(),
                configuration.as_os_str(),
            ])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the keyboard reaches the demo alone, which then ends it in its turn.
            .process_group(0)
            .spawn()?;
        let private = Private { keeper, address };
        tokio::time::timeout(START_WITHIN, private.answers(&configuration))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "redis-server does not answer"))??;
        Ok(private)
    }

    /// Waits until the server answers, and sees that it is the one that was started.
    async fn answers(&self, configuration: &Path) -> io::Result<()> {
        let mut writer = loop {
            match KeyWriter::connect(self.address).await {
                Ok(writer) => break writer,
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        let told = writer.ask(&[&[b"INFO", b"server"]]).await?;
        let own = format!("config_file:{}", configuration.display());
        match told.first() {
            Some(Reply::Bulk(Some(info))) if String::from_utf8_lossy(info).contains(&own) => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server took the port")),
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // The end of the pipe is what the keeper waits for. It then kills the server and ends, in a few milliseconds.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_private_server_leaves_nothing_when_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = installed().expect("redis-server is installed; run tests/install.sh");
        let server = Private::start(&program, folder.path(), "app").await.expect("it starts");
        let address = server.address;
        let mut writer = KeyWriter::connect(address).await.expect("it listens");
        assert_eq!(writer.ask(&[&[b"SET", b"a", b"1"]]).await.expect("it answers"), [Reply::ok()]);
        let keeper = PathBuf::from(format!("/proc/{}", server.keeper.id()));
        assert!(keeper.exists(), "it runs");
        drop(server);
        assert!(!keeper.exists(), "its keeper was not waited for");
        assert!(KeyWriter::connect(address).await.is_err(), "it still listens");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).expect("ours").flatten().map(|file| file.file_name()).collect();
        assert_eq!(left, ["app.redis.conf"]);
    }

    #[tokio::test]
    async fn a_program_that_does_not_serve_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        tokio::time::pause();
        let error = Private::start(Path::new("/bin/false"), folder.path(), "app").await.err().expect("it fails");
        assert!(error.to_string().contains("redis-server does not answer"), "{error}");
    }
}
