//! The command line as data: what was asked for, and nothing done about it.
//!
//! It reads arguments and the environment variables that stand for them. It opens nothing, and what a verb does is the
//! business of other modules.

mod demo;
pub mod healthcheck;
mod past;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, ConfigErrors, Overrides, Settings, Shard};
use crate::telemetry::log::LogFormat;

pub use demo::DemoOptions;
pub use past::{BackfillOptions, PastOptions, ReplayOptions};

const EXAMPLES: &str = "\
Examples:
  DATABASE_URL=postgres://rowmetry@db.example/shop rowmetry
      Serve the metrics of one database at http://127.0.0.1:9469/metrics.
  rowmetry check
      Say what would be read, what is missing, and the SQL of a role that may read just that.
  rowmetry --config rowmetry.yaml --state-dir /var/lib/rowmetry
      Serve several databases; counts survive restarts.
  OTEL_EXPORTER_OTLP_ENDPOINT=http://tempo.example:4318 rowmetry --state-dir /var/lib/rowmetry
      Send a span for each row that its pack makes one of, too.
  rowmetry backfill --from 2026-11-01 --to now > out.om
      Write the history of the counters, for Prometheus.
  rowmetry demo
      See it work: a database with live traffic, nothing to install.

Environment:
  DATABASE_URL          the database to read when no file names one
  VERCEL_DRAIN_SECRET   opens a log drain for Vercel at /drains/vercel when there is no file (with VERCEL_DRAIN_VERIFY)
  ROWMETRY_DRAIN_TOKEN  opens a log drain for anything else at /drains/logs when there is no file
  ROWMETRY_CONFIG       --config          ROWMETRY_LISTEN       --listen
  ROWMETRY_STATE_DIR    --state-dir       ROWMETRY_INTERVAL     --interval
  ROWMETRY_SHARD        --shard
  ROWMETRY_LOG_FORMAT   --log-format      RUST_LOG              --log
  OTEL_…                OpenTelemetry's own: where traces and metrics are sent, and how
  NO_COLOR              no colours in the log and in `check`";

/// What was asked for on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// How to log.
    pub log: LogOptions,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Read databases and serve their metrics.
    Serve(ServeOptions),
    /// Say what would be read, and what is in the way.
    Check(CheckOptions),
    /// Show the whole thing on a database with live traffic.
    Demo(DemoOptions),
    /// Look at what was counted, or begin anew.
    State(StateOptions),
    /// Write the past as OpenMetrics.
    Backfill(BackfillOptions),
    /// Send the spans of the past again.
    Replay(ReplayOptions),
    /// Print a dashboard for Grafana.
    Dashboard(DashboardOptions),
    /// Print a JSON Schema.
    Schema(SchemaKind),
    /// Print a generated page of the manual.
    Docs(DocsPage, Option<String>),
    /// Ask a running Rowmetry whether it lives.
    Healthcheck(CommonOptions),
}

/// Where settings come from.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct CommonOptions {
    /// Configuration file
    #[arg(long, short, value_name = "FILE", env = "ROWMETRY_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// Address and port to serve at [default: 127.0.0.1:9469]
    #[arg(long, value_name = "ADDR", env = "ROWMETRY_LISTEN", hide_env = true)]
    pub listen: Option<String>,
    /// Directory where counts survive a restart [default: memory]
    #[arg(long, value_name = "DIR", env = "ROWMETRY_STATE_DIR", hide_env = true)]
    pub state_dir: Option<PathBuf>,
    /// Time between two reads, for every source [default: 60s]
    #[arg(long, value_name = "TIME", env = "ROWMETRY_INTERVAL", hide_env = true, value_parser = length_of_time)]
    pub interval: Option<Duration>,
}

/// How to log, on standard error.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// How lines are written
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "ROWMETRY_LOG_FORMAT",
        hide_env = true,
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// Level (error, warn, info, debug, trace), or `info,rowmetry=debug` [default: info]
    #[arg(long, global = true, value_name = "LEVEL", env = "RUST_LOG", hide_env = true)]
    pub log: Option<String>,
}

/// What of the configuration is read.
#[derive(Debug, Clone, PartialEq, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct ShardOptions {
    /// Read one part of the sources, as the first of three exporters that share a configuration: `1/3`
    #[arg(long, value_name = "I/N", env = "ROWMETRY_SHARD", hide_env = true)]
    pub shard: Option<Shard>,
}

/// Options of `serve`.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct ServeOptions {
    /// Where settings come from.
    #[command(flatten)]
    pub common: CommonOptions,
    /// What of them is read.
    #[command(flatten)]
    pub part: ShardOptions,
}

/// Options of `check`.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub struct CheckOptions {
    /// Where settings come from.
    #[command(flatten)]
    pub common: CommonOptions,
    /// What of them is read.
    #[command(flatten)]
    pub part: ShardOptions,
    /// How the report is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// Check this source or drain only
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Options of `state`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(arg_required_else_help = true)]
pub struct StateOptions {
    /// What to do with the state.
    #[command(subcommand)]
    pub action: StateAction,
}

/// What to do with the state.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum StateAction {
    /// List every collector that has counted, since when, and how far
    List {
        /// Where settings come from.
        #[command(flatten)]
        common: CommonOptions,
        /// How the list is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: ReportFormat,
    },
    /// Begin a collector's counts anew from 0, from now on, with a new start time
    Reset {
        /// Where settings come from.
        #[command(flatten)]
        common: CommonOptions,
        /// The collector as source/pack/collector; source or source/pack for all in it
        #[arg(value_name = "COLLECTOR")]
        id: String,
    },
    /// Delete what is kept of a collector or a source that is no longer read, spans that wait to be sent included
    Forget {
        /// Where settings come from.
        #[command(flatten)]
        common: CommonOptions,
        /// The collector as source/pack/collector; source or source/pack for all in it
        #[arg(value_name = "COLLECTOR")]
        id: String,
    },
}

/// Options of `dashboard`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DashboardOptions {
    /// The dashboard as YAML, as those of Rowmetry's own packs are
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The schemas there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// Of the configuration file.
    Config,
    /// Of a pack file.
    Pack,
    /// Of a dashboard file.
    Dashboard,
}

/// The generated pages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocsPage {
    /// Every metric of the built-in packs.
    Metrics,
    /// Every span that the built-in packs make of rows.
    Spans,
    /// Every metric about Rowmetry itself.
    SelfMetrics,
    /// Every setting.
    Configuration,
}

/// Reads the process's arguments; prints help or an error and ends the process where that was asked for.
pub fn parse() -> Invocation {
    Cli::parse().into()
}

/// Reads the configuration that the options name, with the process's environment.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_settings(options: &CommonOptions) -> Result<Settings, ConfigErrors> {
    config::load(&options.into(), &|name| std::env::var(name).ok())
}

/// Where the Rowmetry that these options describe listens. With `--listen` nothing else need be right.
///
/// # Errors
/// Everything that is wrong with the configuration, when it has to be read.
pub fn listen_address(options: &CommonOptions) -> Result<SocketAddr, ConfigErrors> {
    listen_address_in(options, &|name| std::env::var(name).ok())
}

/// What is amiss with OpenTelemetry's variables alone does not count: it says nothing of where we listen, and a certificate that is
/// not there at the moment is no reason to end a container that serves.
fn listen_address_in(
    options: &CommonOptions,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<SocketAddr, ConfigErrors> {
    if let Some(address) = options.listen.as_deref().and_then(|listen| listen.parse().ok()) {
        return Ok(address);
    }
    let without = |name: &str| if name.starts_with("OTEL_") { None } else { variable(name) };
    let settings = config::load(&options.into(), variable)
        .or_else(|errors| config::load(&options.into(), &without).map_err(|_| errors))?;
    Ok(settings.listen)
}

/// Whether a person looks at standard output and wants colours there.
pub fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl From<&CommonOptions> for Overrides {
    fn from(options: &CommonOptions) -> Self {
        Overrides {
            config: options.config.clone(),
            listen: options.listen.clone(),
            state_dir: options.state_dir.clone(),
            interval: options.interval,
        }
    }
}

/// Exact Prometheus metrics from an application's own tables.
///
/// Rowmetry reads a database at its own pace, counts each new row exactly once, and serves the counts to Prometheus. It
/// never writes to the database, and a scrape never reaches it.
#[derive(Debug, Parser)]
#[command(name = "rowmetry", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: ServeOptions,
    #[command(flatten)]
    log: LogOptions,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read databases and serve their metrics; what happens without a verb
    Serve(ServeOptions),
    /// Say what would be read, what is in the way, and which role may read it
    ///
    /// Ends with 0 when all is well, 1 when a finding stops a collector, 2 when the configuration is wrong.
    Check(CheckOptions),
    /// See it work on a database with live traffic; nothing to install
    #[command(after_long_help = demo::HELP)]
    Demo(DemoOptions),
    /// Look at what was counted, or begin anew
    State(StateOptions),
    /// Write the history of the counters, for Prometheus, before it first looked
    ///
    /// Reads the rows of a window of time and writes OpenMetrics with time stamps to standard output: each counter and histogram
    /// begins at 0 at --from and has a sample every --step. `promtool tsdb create-blocks-from openmetrics` makes blocks of
    /// it. It reads beside a running Rowmetry, whose counts it does not touch.
    ///
    /// Ends with 0 when all was read, 1 when something had to be left out, 2 when options or configuration are wrong.
    #[command(after_long_help = past::BACKFILL_HELP)]
    Backfill(BackfillOptions),
    /// Send the spans of rows of a window of time again, to the OTLP endpoint
    ///
    /// For a receiver that lost them, or that was not there yet. Spans have the ids that they had or would have had. Reads beside
    /// a running Rowmetry, whose counts and waiting spans it does not touch.
    ///
    /// Ends with 0 when the receiver has all of them, 1 when not, and then says how to go on; 2 when options or configuration
    /// are wrong.
    #[command(after_long_help = past::REPLAY_HELP)]
    Replay(ReplayOptions),
    /// Print the JSON of a dashboard file, for Grafana to import
    ///
    /// A dashboard file says in a few lines of YAML what each panel shows. Variables, links, the header and the grid come by
    /// themselves, so a dashboard for a pack of your own looks and behaves like those of Rowmetry.
    ///
    /// Ends with 0 when the file is right, 2 when it is not; everything that is wrong is told at once.
    Dashboard(DashboardOptions),
    /// Print the JSON Schema of a file, for editors
    Schema {
        /// Which
        kind: SchemaKind,
    },
    /// Print a generated page of the manual
    #[command(hide = true)]
    Docs {
        /// Which
        page: DocsPage,
        /// Only what the page of this pack shows of it (with `metrics`)
        #[arg(long, value_name = "NAME")]
        pack: Option<String>,
    },
    /// Ask the Rowmetry that runs here whether it lives; for containers
    Healthcheck(CommonOptions),
}

impl From<Cli> for Invocation {
    fn from(cli: Cli) -> Self {
        let command = match cli.verb {
            None => Command::Serve(cli.serve),
            Some(Verb::Serve(options)) => Command::Serve(options),
            Some(Verb::Check(options)) => Command::Check(options),
            Some(Verb::Demo(options)) => Command::Demo(options),
            Some(Verb::State(options)) => Command::State(options),
            Some(Verb::Backfill(options)) => Command::Backfill(options),
            Some(Verb::Replay(options)) => Command::Replay(options),
            Some(Verb::Dashboard(options)) => Command::Dashboard(options),
            Some(Verb::Schema { kind }) => Command::Schema(kind),
            Some(Verb::Docs { page, pack }) => Command::Docs(page, pack),
            Some(Verb::Healthcheck(options)) => Command::Healthcheck(options),
        };
        Invocation { log: cli.log, command }
    }
}

fn length_of_time(text: &str) -> Result<Duration, String> {
    let duration = crate::duration::parse(text)?;
    if duration.is_zero() { Err("a length of time above zero is needed, such as `30s`".into()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests;
