//! A real PgBouncer in transaction mode in front of a cluster.
//!
//! It is configured as a strict operator would: it accepts no startup parameter beyond its own list.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::cluster::Cluster;
use super::guard::{self, Folder, Process};
use super::program;

/// Time that it has to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients that make traffic: more than connections to the server.
const CLIENTS: usize = 4;

/// Who may use the console of a strict one, with the name as password. `plain` may not.
const USERS: &str = "\"boss\" \"boss\"\n\"watcher\" \"watcher\"\n\"plain\" \"plain\"\n";

/// A running PgBouncer; clients become `postgres` on the server.
pub struct PgBouncer {
    process: Mutex<Option<Process>>,
    port: u16,
    folder: Folder,
    user: &'static str,
}

impl PgBouncer {
    /// In front of a cluster, with so many connections to the server, so that clients share them. Clients log in as any user
    /// without a password.
    pub fn before(cluster: &Cluster, server_connections: usize) -> PgBouncer {
        PgBouncer::new(cluster, server_connections, "auth_type = any", "postgres")
    }

    /// The same, but clients need their password, and the console a user who may: `watcher` may, `plain` may not.
    pub fn strict(cluster: &Cluster, server_connections: usize) -> PgBouncer {
        let rules = "auth_type = scram-sha-256\nauth_file = users.txt\nadmin_users = boss\nstats_users = watcher";
        PgBouncer::new(cluster, server_connections, rules, "plain:plain")
    }

    fn new(cluster: &Cluster, server_connections: usize, rules: &str, user: &'static str) -> PgBouncer {
        let folder = Folder::new("pgbouncer");
        folder.give_to(guard::server_owner());
        folder.write("users.txt", USERS);
        let port = guard::free_port();
        folder.write(
            "pgbouncer.ini",
            format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\n{rules}\npool_mode = transaction\nmax_client_conn = 2000\n\
                 default_pool_size = {server_connections}\nunix_socket_dir =\nlog_connections = 0\nlog_disconnections = 0\n",
                cluster.port(),
            ),
        );
        let pgbouncer = PgBouncer { process: Mutex::default(), port, folder, user };
        pgbouncer.start();
        pgbouncer
    }

    /// Starts it and waits until it listens.
    pub fn start(&self) {
        let mut running = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs already");
        let mut command = guard::command_as(guard::server_owner(), program("pgbouncer"), self.folder.path());
        command.arg("pgbouncer.ini");
        let log = self.folder.path().join("pgbouncer.log");
        let process = Process::start(command, &log);
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let text = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "pgbouncer ended: {}", text());
            assert!(began.elapsed() < PATIENCE, "pgbouncer does not listen: {}", text());
        }
        *running = Some(process);
    }

    /// Ends it; its clients lose their connections.
    pub fn stop(&self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take().expect("it runs");
        process.kill();
    }

    /// Freezes it: connections are accepted by the system and never answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Undoes [`PgBouncer::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).as_ref().expect("it runs").signal(name);
    }

    /// URL of a database through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}?sslmode=disable", self.user, self.port)
    }

    /// URL of its console for a user, with a password.
    pub fn console(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/pgbouncer?sslmode=disable", self.port)
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().is_some_and(|process| process.ended().is_none())
    }
}

/// Other clients of a pooler, who ask and ask, so that nobody keeps a connection to the server.
pub struct Traffic {
    stop: tokio::sync::watch::Sender<bool>,
    clients: Vec<tokio::task::JoinHandle<u64>>,
}

impl Traffic {
    /// Clients of the database that a URL leads to.
    pub async fn through(url: &str) -> Traffic {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let options = url.parse::<PgConnectOptions>().expect("it is a URL").extra_float_digits(None);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut connection = PgConnection::connect_with(&options).await.expect("the pooler runs");
            let stopped = stopped.clone();
            clients.push(tokio::spawn(async move {
                let mut asked = 0;
                while !*stopped.borrow() {
                    let ask = sqlx::raw_sql("select 'not yours' as other, pg_sleep(0.002)");
                    ask.execute(&mut connection).await.expect("the pooler answers");
                    asked += 1;
                }
                asked
            }));
        }
        Traffic { stop, clients }
    }

    /// Ends it; how often they asked.
    pub async fn end(self) -> u64 {
        self.stop.send_replace(true);
        let mut asked = 0;
        for client in self.clients {
            asked += client.await.expect("no client panics");
        }
        asked
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
