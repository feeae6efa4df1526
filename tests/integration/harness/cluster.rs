//! Real Postgres clusters: one that the tests share, and private ones for tests that stop or freeze theirs.
//!
//! Each test has a database of its own. Nothing here is durable: fsync is off.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row};

use super::guard::{self, Folder, Process};
use super::program;

/// Time that a cluster has to start or stop, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections of one cluster: many tests, each with a few writers.
const CONNECTIONS: u32 = 200;

/// A Postgres cluster on a port of 127.0.0.1. Roles made by tests log in with a password, `postgres` without.
pub struct Cluster {
    folder: Folder,
    port: u16,
    server: Mutex<Option<Process>>,
    databases: AtomicUsize,
}

impl Cluster {
    /// The cluster that all tests of this run share.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::private)
    }

    /// A new cluster.
    pub fn private() -> Cluster {
        let folder = Folder::new("postgres");
        let owner = guard::server_owner();
        folder.give_to(owner);
        let data = folder.path().join("data");
        let output = guard::command_as(owner, program("initdb"), folder.path())
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("initdb can be started");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        let rules =
            "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(data.join("pg_hba.conf"), rules).expect("the data folder is ours");
        let made = guard::command_as(owner, program("openssl"), folder.path())
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"])
            .args(["-keyout", "data/server.key", "-out", "data/server.crt"])
            .output()
            .expect("openssl can be started");
        assert!(made.status.success(), "openssl failed: {}", String::from_utf8_lossy(&made.stderr));
        let cluster =
            Cluster { folder, port: guard::free_port(), server: Mutex::default(), databases: AtomicUsize::new(0) };
        cluster.start();
        cluster
    }

    /// Starts the server and waits until it answers.
    pub fn start(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(server.is_none(), "the cluster runs already");
        let mut command = guard::command_as(guard::server_owner(), program("postgres"), self.folder.path());
        command.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        for setting in [
            format!("port={}", self.port),
            format!("max_connections={CONNECTIONS}"),
            "listen_addresses=127.0.0.1".into(),
            "fsync=off".into(),
            "synchronous_commit=off".into(),
            "full_page_writes=off".into(),
            "dynamic_shared_memory_type=mmap".into(),
            "shared_buffers=64MB".into(),
            "max_wal_size=4GB".into(),
            "checkpoint_timeout=1h".into(),
            "ssl=on".into(),
            "log_line_prefix=%m %d %u ".into(),
        ] {
            command.arg("-c").arg(setting);
        }
        let process = Process::start(command, &self.log());
        let began = Instant::now();
        while !self.psql("select 1").status.success() {
            assert!(process.ended().is_none(), "postgres ended: {}", self.log_text());
            assert!(began.elapsed() < PATIENCE, "postgres does not answer: {}", self.log_text());
        }
        *server = Some(process);
    }

    /// Stops the server; its clients lose their connections.
    pub fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the cluster runs");
        server.signal("INT");
        assert!(server.wait(PATIENCE).is_some(), "postgres does not stop: {}", self.log_text());
    }

    /// Freezes the server and all its processes: connections are accepted by the system and never answered.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Undoes [`Cluster::freeze`].
    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let server = server.as_ref().expect("the cluster runs");
        // The postmaster first, so that it makes no further child meanwhile.
        server.signal(name);
        guard::signal(name, &server.children());
    }

    /// A new, empty database.
    pub async fn database(&self) -> Database<'_> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let output = self.psql(&format!("create database {name}"));
        assert!(output.status.success(), "create database: {}", String::from_utf8_lossy(&output.stderr));
        self.open(&name).await
    }

    /// An existing database.
    pub async fn open(&self, name: &str) -> Database<'_> {
        let url = self.url(name);
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(PATIENCE)
            .connect(&url)
            .await
            .unwrap_or_else(|e| panic!("cannot connect to {url}: {e}"));
        Database { cluster: self, name: name.into(), url, pool }
    }

    /// URL of a database for the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs one of Postgres' client programs with the connection's arguments.
    pub fn client(&self, name: &str) -> Command {
        let mut command = guard::command_as(None, program(name), self.folder.path());
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p"]).arg(self.port.to_string());
        command
    }

    fn psql(&self, sql: &str) -> std::process::Output {
        self.client("psql").args(["-q", "-X", "-d", "postgres", "-c", sql]).output().expect("psql can be started")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }

    /// What the server logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server.lock().unwrap_or_else(PoisonError::into_inner).take() {
            guard::signal("CONT", &server.children());
            server.signal("CONT");
            // Immediate shutdown: nobody needs this data any more.
            server.signal("QUIT");
            server.wait(PATIENCE);
        }
    }
}

/// One test's database.
pub struct Database<'c> {
    /// The cluster that it is in.
    pub cluster: &'c Cluster,
    /// Its name.
    pub name: String,
    /// Its URL for the superuser.
    pub url: String,
    /// Connections for the test's own use.
    pub pool: PgPool,
}

impl Database<'_> {
    /// Runs SQL, perhaps several statements; panics when it fails.
    pub async fn run(&self, sql: impl Into<String>) {
        let sql = sql.into();
        if let Err(e) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&self.pool).await {
            panic!("{e}, in: {sql}");
        }
    }

    /// The one number that a query gives.
    pub async fn number(&self, sql: &str) -> f64 {
        let row = sqlx::query(AssertSqlSafe(format!("select ({sql})::float8")))
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|e| panic!("{e}, in: {sql}"));
        row.get(0)
    }

    /// Every row as text cells.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_string()))
            .fetch_all(&self.pool)
            .await
            .unwrap_or_else(|e| panic!("{e}, in: {sql}"));
        rows.iter()
            .map(|row| {
                let cell = |i| row.try_get_raw(i).ok().and_then(|cell| cell.as_str().ok().map(str::to_string));
                (0..row.len()).map(cell).collect()
            })
            .collect()
    }

    /// A role that may log in with its name as password, and the URL for it.
    pub async fn role(&self, suffix: &str) -> (String, String) {
        let role = format!("{}_{suffix}", self.name);
        self.run(format!("create role {role} login password '{role}'; grant usage on schema public to {role}")).await;
        let url = format!("postgres://{role}:{role}@127.0.0.1:{}/{}?sslmode=disable", self.cluster.port, self.name);
        (role, url)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wait::eventually;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn databases_are_apart_and_roles_need_their_password() {
        let cluster = Cluster::shared();
        let (one, two) = (cluster.database().await, cluster.database().await);
        one.run("create table events (id int); insert into events values (1), (2)").await;
        assert_eq!(one.number("select count(*) from events").await, 2.0);
        assert_eq!(two.number("select count(*) from pg_class where relname = 'events'").await, 0.0);
        let (role, url) = one.role("reader").await;
        let connect = async |url: &str| PgPoolOptions::new().connect(url).await.map(|_| ());
        connect(&url).await.expect("with its password");
        connect(&url.replace("disable", "require")).await.expect("with TLS");
        assert!(connect(&url.replace(&format!(":{role}@"), ":wrong@")).await.is_err(), "a wrong password");
        assert_eq!(one.rows("select 1.50::numeric, null, true").await, [[Some("1.50".into()), None, Some("t".into())]]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_private_cluster_stops_freezes_and_comes_back() {
        let cluster = Cluster::private();
        let database = cluster.database().await;
        database.run("create table events (id int)").await;
        let ask = async |limit: Duration| {
            let query = sqlx::raw_sql("insert into events values (1)").execute(&database.pool);
            match tokio::time::timeout(limit, query).await {
                Err(_) => Err("no answer".to_string()),
                Ok(answer) => answer.map(|_| ()).map_err(|e| e.to_string()),
            }
        };
        cluster.freeze();
        assert_eq!(ask(Duration::from_millis(300)).await, Err("no answer".into()));
        cluster.thaw();
        eventually(PATIENCE, "answers after the thaw", async || ask(PATIENCE).await).await;
        cluster.stop();
        assert!(ask(Duration::from_secs(1)).await.is_err());
        cluster.start();
        eventually(PATIENCE, "answers after the start", async || ask(PATIENCE).await).await;
    }
}
