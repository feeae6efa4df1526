//! The options of `demo`.
//!
//! Text to values; of files, only one that holds a secret is read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;

use super::length_of_time;
use crate::app::{DemoRequest, TrafficOnly};
use crate::config::OtlpSettings;
use crate::demo::Servers;

/// Stands at the end of `demo --help`.
pub const HELP: &str = "\
Examples:
  rowmetry demo
      Embedded databases, live traffic, and their metrics at http://127.0.0.1:9469/metrics.
  rowmetry demo --database-url postgres://postgres:pw@localhost/postgres --redis-url redis://localhost
      The same on servers of your own. Only databases named rowmetry_demo_… are made anew there, and of keys only its own.
  rowmetry demo --traffic-only --database-url postgres://… --redis-url redis://… \\
      --drains-to http://rowmetry:9469 --pages-listen 0.0.0.0:9480
      Traffic for a Rowmetry that runs elsewhere, in databases rowmetry_demo_<app>. Of the applications, in the order of their
      names, each that has endpoints gets a port from 9480 on, and each that has keys a database of the Redis from 0 on;
      log lines are posted to /drains/<app>-logs (kind vercel) and /drains/<app>-postgres (kind supabase). It prints which.
  rowmetry demo --trouble list
      What can be made to go wrong, by its name.
  rowmetry demo --control 127.0.0.1:9481 --pager-listen 127.0.0.1:9482
      Things can be made to go wrong, and what Alertmanager sends is shown.";

/// Options of `demo`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DemoOptions {
    /// End after this time; without it, at Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    pub duration: Option<Duration>,
    /// The same seed makes the same traffic
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Rows a second, about
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Address and port to serve at
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9469")]
    pub listen: SocketAddr,
    /// What the applications live on.
    #[command(flatten)]
    pub servers: ServerOptions,
    /// What goes wrong.
    #[command(flatten)]
    pub troubles: TroubleOptions,
}

/// Servers of one's own.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[command(next_help_heading = "Servers of your own")]
pub struct ServerOptions {
    /// Write to this Postgres: a database rowmetry_demo_<app> for each application, made anew (needs CREATEDB)
    #[arg(long, value_name = "URL", env = "ROWMETRY_DEMO_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Keep keys in this Redis: a database for each application that has some, from the one of the URL on
    #[arg(long, value_name = "URL", env = "ROWMETRY_DEMO_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Answer the applications' endpoints here, one port each, from this one on
    #[arg(long, value_name = "ADDR")]
    pub pages_listen: Option<SocketAddr>,
    /// Make traffic alone, for a Rowmetry elsewhere to read
    #[arg(long, requires = "database_url")]
    pub traffic_only: bool,
    /// The Rowmetry that log lines are posted to
    #[arg(long, value_name = "URL", requires = "traffic_only")]
    pub drains_to: Option<String>,
    /// File with the secret of all drains [default with --traffic-only: rowmetry-demo-drains]
    #[arg(long, value_name = "FILE")]
    pub drain_secret_file: Option<PathBuf>,
}

/// What goes wrong, and who is told.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[command(next_help_heading = "Troubles and alerts")]
pub struct TroubleOptions {
    /// Let this go wrong from the beginning; may be given several times. `list` prints what there is
    #[arg(long, value_name = "APP/NAME")]
    pub trouble: Vec<String>,
    /// Switch troubles on and off here: GET /troubles, POST and DELETE /troubles/APP/NAME
    #[arg(long, value_name = "ADDR")]
    pub control: Option<SocketAddr>,
    /// Take what Alertmanager sends to webhooks (/page, /chat) and to Slack (/slack), and show it, here
    #[arg(long, value_name = "ADDR")]
    pub pager_listen: Option<SocketAddr>,
    /// File with the bearer token that senders to the pager need
    #[arg(long, value_name = "FILE", requires = "pager_listen")]
    pub pager_token_file: Option<PathBuf>,
}

impl DemoOptions {
    /// What is asked for.
    ///
    /// # Errors
    /// When a file with a secret cannot be read, or holds none.
    pub fn request(&self, otlp: OtlpSettings) -> anyhow::Result<DemoRequest> {
        let (servers, troubles) = (&self.servers, &self.troubles);
        let token = troubles.pager_token_file.as_deref().map(secret_in).transpose()?;
        let secret = |url: &String| SecretString::from(url.clone());
        Ok(DemoRequest {
            listen: self.listen,
            seed: self.seed,
            rate: self.rate,
            duration: self.duration,
            servers: Servers {
                database_url: servers.database_url.as_ref().map(secret),
                redis_url: servers.redis_url.as_ref().map(secret),
                pages: servers.pages_listen,
                drain_secret: servers.drain_secret_file.as_deref().map(secret_in).transpose()?,
            },
            traffic_only: servers.traffic_only.then(|| TrafficOnly { drains_to: servers.drains_to.clone() }),
            troubles: troubles.trouble.clone(),
            control: troubles.control,
            pager: troubles.pager_listen.map(|address| (address, token)),
            otlp,
        })
    }
}

fn secret_in(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let secret = text.trim();
    anyhow::ensure!(!secret.is_empty(), "{} holds no secret", file.display());
    Ok(secret.to_owned().into())
}
