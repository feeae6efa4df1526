//! A real PgBouncer in transaction mode in front of a cluster.
//!
//! It is configured as a strict operator would: it accepts no startup parameter beyond its own list.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::guard::{self, Folder, Process};
use super::program;

/// Time that it has to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running PgBouncer; clients log in as any user without a password and become `postgres`.
pub struct PgBouncer {
    process: Process,
    port: u16,
    _folder: Folder,
}

impl PgBouncer {
    /// In front of a cluster, with so many connections to the server, so that clients share them.
    pub fn before(cluster: &Cluster, server_connections: usize) -> PgBouncer {
        let folder = Folder::new("pgbouncer");
        let owner = guard::server_owner();
        folder.give_to(owner);
        let port = guard::free_port();
        let file = folder.write(
            "pgbouncer.ini",
            format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nauth_type = any\npool_mode = transaction\nmax_client_conn = 2000\n\
                 default_pool_size = {server_connections}\nunix_socket_dir =\nlog_connections = 0\nlog_disconnections = 0\n",
                cluster.port(),
            ),
        );
        let mut command = guard::command_as(owner, program("pgbouncer"), folder.path());
        command.arg(file);
        let log = folder.path().join("pgbouncer.log");
        let process = Process::start(command, &log);
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let text = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "pgbouncer ended: {}", text());
            assert!(began.elapsed() < PATIENCE, "pgbouncer does not listen: {}", text());
        }
        PgBouncer { process, port, _folder: folder }
    }

    /// URL of a database through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.process.ended().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_pools_transactions_and_refuses_startup_parameters() {
        let cluster = Cluster::shared();
        let database = cluster.database().await;
        let pgbouncer = PgBouncer::before(cluster, 1);
        let ask = |url: &str, sql: &str| {
            let output = std::process::Command::new(program("psql")).args(["-X", "-A", "-t", url, "-c", sql]).output();
            output.expect("psql can be started")
        };
        let url = pgbouncer.url(&database.name);
        let backend = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).trim().to_string();
        let (first, second) =
            (backend(ask(&url, "select pg_backend_pid()")), backend(ask(&url, "select pg_backend_pid()")));
        assert_ne!(first, "", "it answers");
        assert_eq!(first, second, "two clients share one connection to the server");
        let refused = ask(&format!("{url}&options=-csearch_path%3Dpublic"), "select 1");
        let message = String::from_utf8_lossy(&refused.stderr);
        assert!(message.contains("unsupported startup parameter"), "{message}");
        assert!(pgbouncer.is_running());
    }
}
