//! The `rowmetry` binary: reads the command line, starts the log, and hands over.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use rowmetry::app;
use rowmetry::cli::{
    self, Command, CommonOptions, DocsPage, Invocation, LogOptions, PastOptions, ReportFormat, SchemaKind,
    ServeOptions, ShardOptions, StateAction,
};
use rowmetry::config::{self, OtlpSettings, Settings};
use rowmetry::otlp::own::OwnTraces;
use rowmetry::schedule::clock;
use rowmetry::telemetry::metrics::OwnSpans;
use rowmetry::{dashboard, pack, reference, telemetry};

/// Exit code for a wrong command line or configuration.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = cli::parse();
    match run(invocation) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Invocation { log, command }: Invocation) -> anyhow::Result<ExitCode> {
    // What is logged while it serves may be part of a trace, and whether there are traces the configuration says.
    if !matches!(command, Command::Serve(_) | Command::Demo(_))
        && let Err(error) = telemetry::log::start(log.log.as_deref(), log.log_format, None)
    {
        return Ok(bad_usage(&error));
    }
    match command {
        Command::Dashboard(options) => return Ok(print_dashboard(&options.file)),
        Command::Schema(SchemaKind::Config) => print!("{}", reference::config_schema()),
        Command::Schema(SchemaKind::Dashboard) => print!("{}", reference::dashboard_schema()),
        Command::Schema(SchemaKind::Pack) => print!("{}", reference::pack_schema()),
        Command::Docs(DocsPage::Configuration, _) => print!("{}", reference::configuration()),
        Command::Docs(DocsPage::SelfMetrics, _) => print!("{}", app::self_metrics()),
        Command::Docs(DocsPage::Metrics, Some(name)) => match pack::builtin()?.iter().find(|pack| pack.app == name) {
            Some(pack) => print!("{}", reference::pack_metrics(pack)),
            None => return Ok(wrong(&format!("there is no built-in pack `{name}`"))),
        },
        Command::Docs(DocsPage::Metrics, None) => {
            print!("{}", reference::metrics(pack::builtin()?.iter().map(|pack| &**pack)));
        }
        Command::Docs(DocsPage::Spans, _) => {
            print!("{}", reference::spans(pack::builtin()?.iter().map(|pack| &**pack)));
        }
        Command::Healthcheck(options) => {
            return Ok(match cli::listen_address(&options) {
                Ok(address) => {
                    cli::healthcheck::ask(address)?;
                    ExitCode::SUCCESS
                }
                Err(errors) => bad_usage(&errors),
            });
        }
        Command::Serve(options) => return with_settings(&options.common, |settings| serve(settings, &log, &options)),
        Command::Demo(options) => {
            let otlp = match config::otlp::from_environment(&|name| std::env::var(name).ok()) {
                Ok(otlp) => otlp,
                Err(errors) => return Ok(bad_usage(&errors)),
            };
            let request = options.request(otlp.clone())?;
            return traced(&otlp, options.listen, &log, |runtime, spans| runtime.block_on(app::demo(request, spans)));
        }
        Command::Check(options) => {
            return with_settings(&options.common, |settings| {
                let settings = part(settings, &options.part);
                let json = options.format == ReportFormat::Json;
                let report = runtime()?.block_on(app::check(&settings, options.source.as_deref()))?;
                print!("{}", if json { report.json() } else { report.text(cli::wants_colour()) });
                Ok(if report.is_fatal() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            });
        }
        Command::State(options) => return state(options.action),
        Command::Backfill(options) => {
            return past(&options.past, options.request(clock::now()), |settings, request| {
                runtime()?.block_on(app::backfill(settings, &request, &mut std::io::stdout().lock()))
            });
        }
        Command::Replay(options) => {
            return past(&options.past, options.request(clock::now()), |settings, request| {
                runtime()?.block_on(app::replay(settings, &request))
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_dashboard(file: &Path) -> ExitCode {
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return wrong(&format!("{name}: cannot be read: {error}")),
    };
    match dashboard::parse(&name, &text) {
        Ok(dashboard) => {
            print!("{}", dashboard::grafana(&dashboard));
            ExitCode::SUCCESS
        }
        Err(errors) => bad_usage(&errors),
    }
}

fn serve(settings: Settings, log: &LogOptions, options: &ServeOptions) -> anyhow::Result<ExitCode> {
    let otlp = settings.otlp.clone();
    traced(&otlp, settings.listen, log, |runtime, spans| {
        let settings = part(settings, &options.part);
        let options = options.clone();
        let load = Box::new(move || {
            let settings = cli::load_settings(&options.common).map_err(|errors| errors.to_string())?;
            Ok(part(settings, &options.part))
        });
        runtime.block_on(app::serve(settings, load, spans))
    })
}

/// Log and traces begin together, then everything else; the traces end last. Our own traces name us as pushed metrics do, by
/// where we serve, if that is known beforehand.
fn traced(
    otlp: &OtlpSettings,
    listen: SocketAddr,
    log: &LogOptions,
    body: impl FnOnce(&tokio::runtime::Runtime, Option<&OwnSpans>) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let traces = {
        let _within = runtime.enter();
        let mut otlp = otlp.clone();
        if listen.port() != 0 {
            otlp.resource.entry("service.instance.id".to_owned()).or_insert_with(|| app::instance(listen));
        }
        match OwnTraces::start(&otlp, app::VERSION) {
            Ok(traces) => traces,
            Err(error) => return Ok(bad_usage(&error)),
        }
    };
    let tracer = traces.as_ref().map(OwnTraces::tracer);
    let said = otlp.log_level.as_deref().map(telemetry::log::filter_with_otlp);
    let filter = log.log.as_deref().filter(|filter| !filter.trim().is_empty()).or(said.as_deref());
    if let Err(error) = telemetry::log::start(filter, log.log_format, tracer) {
        return Ok(bad_usage(&error));
    }
    let ended = body(&runtime, traces.as_ref().map(OwnTraces::spans));
    if let Some(traces) = traces {
        traces.stop();
    }
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the past: ends well when everything asked for came to pass.
fn past<R>(
    options: &PastOptions,
    request: Result<R, String>,
    body: impl FnOnce(&Settings, R) -> anyhow::Result<bool>,
) -> anyhow::Result<ExitCode> {
    let request = match request {
        Ok(request) => request,
        Err(message) => return Ok(wrong(&message)),
    };
    with_settings(&options.common, |settings| {
        let whole = body(&part(settings, &options.part), request)?;
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// The part of the sources that this exporter reads.
fn part(settings: Settings, options: &ShardOptions) -> Settings {
    let Some(shard) = options.shard else { return settings };
    let all = settings.sources.len();
    let settings = settings.shard(shard);
    if settings.sources.is_empty() && settings.logs.drains.is_empty() {
        tracing::warn!(
            "shard {shard} has none of the {all} sources: others read them, and there is nothing to do here"
        );
    }
    settings
}

fn state(action: StateAction) -> anyhow::Result<ExitCode> {
    let (StateAction::List { common, .. } | StateAction::Reset { common, .. } | StateAction::Forget { common, .. }) =
        &action;
    with_settings(common, |settings| {
        let text = runtime()?.block_on(async {
            match &action {
                StateAction::List { format, .. } => app::list_state(&settings, *format == ReportFormat::Json).await,
                StateAction::Reset { id, .. } => app::reset_state(&settings, id).await,
                StateAction::Forget { id, .. } => app::forget_state(&settings, id).await,
            }
        })?;
        print!("{text}");
        Ok(ExitCode::SUCCESS)
    })
}

/// Reads the configuration and hands it on; a bad one is told whole and ends with its own exit code.
fn with_settings(
    options: &CommonOptions,
    body: impl FnOnce(Settings) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match cli::load_settings(options) {
        Ok(settings) => body(settings),
        Err(errors) => Ok(bad_usage(&errors)),
    }
}

fn bad_usage(error: &dyn std::error::Error) -> ExitCode {
    wrong(&error.to_string())
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(BAD_USAGE)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
