//! A made-up life for the built-in packs: for each application an SQLite file or a database of a Postgres that was given, with its
//! tables, some history, and traffic that goes on; where it has them, keys in a Redis, answers over HTTP, and log lines that are posted
//! to drains.
//!
//! What happens is data (`packs/demo/*.yaml`); this code draws lots and keeps the time. The same seed and the same start
//! make the same rows. Nothing here reads anything for metrics, and nothing but the demo uses it.

mod away;
mod clients;
mod control;
mod database;
mod drain;
mod draw;
mod http;
mod key_server;
mod key_store;
mod key_writer;
mod life;
mod page_server;
mod pager;
mod resp;
mod script;
mod timetable;
mod trouble;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::DrainSettings;
use crate::family::Micros;
use crate::pack::System;
use away::Away;
pub use control::Control;
use database::Database;
use drain::Receiver;
use key_server::Kept;
use life::{Life, Offsets};
pub use pager::Pager;
use secrecy::SecretString;
pub use trouble::{TroubleState, Troubles};

/// How often what is due is written, so rows lie in the table at most so long after their time.
const STEP: Duration = Duration::from_millis(200);

/// Steps from one delivery of log lines to the next: one a second, as Supabase's drains deliver.
const STEPS_A_DELIVERY: u32 = 5;

/// The time now, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The words of the demo are wrong, which a test of the program rules out.
    #[error("the demo's script {file} cannot be used: {reason}")]
    Script {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database file could not be made or opened.
    #[error("the demo's database {} cannot be opened; see that its folder exists and can be written", .path.display())]
    Open {
        /// Where it was to be.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// A statement of the script failed.
    #[error("`{what}` of the demo failed; see that its disk has room and that no other program writes its database")]
    Statement {
        /// The action or the part of the script.
        what: String,
        /// What SQLite or Postgres said.
        source: sqlx::Error,
    },
    /// The database could not be made on the server that was given.
    #[error(
        "the demo cannot make its database {name}; see that the role of --database-url may log in and make databases (CREATEDB), and owns \
        one of this name that is there already"
    )]
    Create {
        /// Its name.
        name: String,
        /// What Postgres said.
        source: sqlx::Error,
    },
    /// A server that was given cannot be used.
    #[error("{option} cannot be used: {reason}")]
    Url {
        /// The option that names it.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The address of a desk could not be listened at.
    #[error("{option} cannot be listened at; see that its port is free")]
    Desk {
        /// The option that names it.
        option: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A port could not be listened at.
    #[error(
        "the demo's {app} finds no port to answer at; see that the loopback interface is up, and the ports of --pages-listen free"
    )]
    Listen {
        /// Which application.
        app: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The keys' server failed.
    #[error("`{what}` of the demo could not use its keys; see that nobody ended its redis-server")]
    Keys {
        /// The action.
        what: String,
        /// What the server or the system said.
        source: std::io::Error,
    },
}

/// What the traffic has done so far. Counted while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    statements: AtomicU64,
    rows: AtomicU64,
    lines: AtomicU64,
}

impl Progress {
    /// The counts now.
    pub fn summary(&self) -> TrafficSummary {
        TrafficSummary {
            statements: self.statements.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            lines: self.lines.load(Ordering::Relaxed),
        }
    }

    fn add(&self, rows: u64) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Counts of what the traffic did, its history left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSummary {
    /// Statements that were run.
    pub statements: u64,
    /// Rows that they wrote or changed.
    pub rows: u64,
    /// Log lines that were delivered, each counted once.
    pub lines: u64,
}

/// Servers that were given, in place of those that the demo makes.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    /// A database of a Postgres server; each application gets one of its own there.
    pub database_url: Option<SecretString>,
    /// A Redis; each application that has keys gets a database of its own there, from that of the URL on.
    pub redis_url: Option<SecretString>,
    /// Where endpoints are answered: each application that has some gets a port, from this one on.
    pub pages: Option<SocketAddr>,
    /// The secret of all drains; without it, each has one that is made up.
    pub drain_secret: Option<SecretString>,
}

/// What lives are made of.
struct Ground {
    folder: PathBuf,
    seed: u64,
    clock: Clock,
    kept: Kept,
    servers: Servers,
    troubles: Troubles,
}

/// Where the demo's applications can be read, each list in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The system of the databases.
    pub system: Option<System>,
    /// Databases: every application has one.
    pub databases: Vec<Place>,
    /// Redis servers of those that have keys.
    pub redis: Vec<Place>,
    /// Base URLs, without a path, of those that answer over HTTP.
    pub web: Vec<Place>,
    /// Drains that their log lines are posted to, as they are to be taken in.
    pub drains: Vec<DrainSettings>,
}

/// Something of one application that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The application's name.
    pub app: String,
    /// Where it is, as a source's `url`.
    pub url: String,
}

/// Everything that can be made to go wrong. None of it is under way, and nobody does it.
///
/// # Errors
/// When a script is wrong, which a test rules out.
pub fn known_troubles() -> Result<Troubles, DemoError> {
    let troubles = Troubles::default();
    for script in script::builtin(System::Sqlite)? {
        troubles.know(&script);
    }
    Ok(troubles)
}

/// Applications with a history, and the traffic that is to come.
pub struct Traffic {
    lives: Vec<Life>,
    clock: Clock,
    progress: Arc<Progress>,
    drains_at: Option<Receiver>,
    system: System,
    troubles: Troubles,
}

/// Begins the life of one of the scripts; again from the beginning when its server goes away meanwhile.
async fn begin(index: usize, ground: &Ground, offsets: Offsets) -> Result<Life, DemoError> {
    let system = Database::system(ground.servers.database_url.as_ref());
    let mut server = Away::new("database");
    loop {
        let script = script::builtin(system)?.swap_remove(index);
        match Life::begin(script, ground, offsets).await {
            Err(error) if system == System::Postgres && Database::passes(&error) => server.is_away(&error),
            begun => return begun,
        }
        tokio::time::sleep(away::LOOK_EVERY).await;
    }
}

impl Traffic {
    /// Makes the databases, with their tables and a history that ends now, and starts what the applications keep their keys in and
    /// answer with: on the servers that were given, else in a folder and on loopback. Databases of an earlier demo in the same place
    /// are removed. Waits for a server that does not answer yet.
    ///
    /// # Errors
    /// When the folder cannot be written, a database not be made, or a port not be listened at.
    pub async fn prepare_with(folder: &Path, seed: u64, clock: Clock, servers: Servers) -> Result<Self, DemoError> {
        let kept = Kept::ByWhatIsInstalled;
        let troubles = Troubles::default();
        Traffic::prepare_on(Ground { folder: folder.to_owned(), seed, clock, kept, servers, troubles }).await
    }

    /// Makes everything in a folder and on loopback.
    ///
    /// # Errors
    /// When the folder cannot be written, or no port on 127.0.0.1 be listened at.
    pub async fn prepare(folder: &Path, seed: u64, clock: Clock) -> Result<Self, DemoError> {
        Traffic::prepare_with(folder, seed, clock, Servers::default()).await
    }

    async fn prepare_on(ground: Ground) -> Result<Self, DemoError> {
        let system = Database::system(ground.servers.database_url.as_ref());
        let mut offsets = Offsets::default();
        let mut begun = Vec::new();
        for (index, script) in script::builtin(system)?.iter().enumerate() {
            begun.push(begin(index, &ground, offsets));
            offsets = offsets.after(script);
        }
        // At once: a server works on several databases at a time.
        let lives = futures_util::future::join_all(begun).await.into_iter().collect::<Result<_, _>>()?;
        Ok(Traffic {
            lives,
            clock: ground.clock,
            progress: Arc::default(),
            drains_at: None,
            system,
            troubles: ground.troubles,
        })
    }

    /// Where everything can be read.
    pub fn places(&self) -> Places {
        let places = |url: fn(&Life) -> Option<String>| {
            self.lives.iter().filter_map(|life| Some(Place { app: life.app().to_owned(), url: url(life)? })).collect()
        };
        Places {
            system: Some(self.system),
            databases: places(|life| Some(life.database_url())),
            redis: places(Life::redis_url),
            web: places(Life::web_url),
            drains: self.lives.iter().flat_map(Life::drains).cloned().collect(),
        }
    }

    /// Delivers log lines here from now on. Before it is told, they wait.
    pub fn deliver_to(&mut self, address: SocketAddr) {
        let loopback = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        self.drains_at = Some(Receiver { host: loopback.to_string(), port: address.port() });
    }

    /// Delivers log lines from now on to a Rowmetry elsewhere.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn deliver_to_url(&mut self, url: &str) -> Result<(), DemoError> {
        let wrong = |reason: &str| DemoError::Url { option: "--drains-to", reason: reason.to_owned() };
        let parsed = url::Url::parse(url).map_err(|_| wrong("it cannot be read; write http://host:9469"))?;
        let host = parsed.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        match (parsed.scheme(), host, parsed.path()) {
            ("http", Some(host), "" | "/") => {
                self.drains_at = Some(Receiver { host, port: parsed.port().unwrap_or(80) });
                Ok(())
            }
            ("http", Some(_), _) => Err(wrong("drains have paths of their own; write http://host:9469 alone")),
            _ => Err(wrong("log lines are posted without TLS alone; write http://host:9469")),
        }
    }

    /// What can be made to go wrong.
    pub fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    /// Counts that go on while the traffic runs.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// How often something is written to the tables in a second when the rate is 1, in all applications together.
    pub fn events_per_second(&self) -> f64 {
        self.lives.iter().map(Life::events_per_second).sum()
    }

    /// Lets things happen, `rate` times as often as the scripts say, until `shutdown` is ready.
    ///
    /// # Errors
    /// When a database cannot be written any more, or a keys' server is gone.
    pub async fn run(mut self, rate: f64, shutdown: impl Future<Output = ()>) -> Result<TrafficSummary, DemoError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut steps = 0_u32;
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => {
                    let now = (self.clock)();
                    while self.advance(now, rate).await? > 0 {}
                    if steps.is_multiple_of(STEPS_A_DELIVERY) {
                        self.deliver(now).await;
                    }
                    steps = steps.wrapping_add(1);
                }
            }
        }
        self.close().await
    }

    /// Does what is due until `now`, at most one portion of each application; answers how many events that were.
    ///
    /// # Errors
    /// When a database cannot be written, or a keys' server is gone.
    pub async fn advance(&mut self, now: Micros, rate: f64) -> Result<usize, DemoError> {
        let progress = &*self.progress;
        // At once: an application whose server is away holds no other up.
        let done = self.lives.iter_mut().map(|life| life.advance(now, rate, progress));
        let done: Vec<usize> =
            futures_util::future::join_all(done).await.into_iter().collect::<Result<_, DemoError>>()?;
        Ok(done.into_iter().sum())
    }

    /// Delivers the log lines that were written by `now`, where it is known where to.
    async fn deliver(&mut self, now: Micros) {
        let Some(to) = &self.drains_at else { return };
        let progress = &*self.progress;
        // At once: that one drain is slow holds no other up.
        futures_util::future::join_all(self.lives.iter_mut().map(|life| life.deliver(to, now, progress))).await;
    }

    /// Closes the databases.
    ///
    /// # Errors
    /// When the last rows could not be written.
    pub async fn close(self) -> Result<TrafficSummary, DemoError> {
        let summary = self.progress.summary();
        for life in self.lives {
            life.close().await?;
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests;
