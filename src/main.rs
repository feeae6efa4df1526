//! The `rowmetry` binary: reads the command line, starts the log, and hands over.

use std::process::ExitCode;

use rowmetry::cli::{self, Command, DocsPage, SchemaKind};
use rowmetry::{pack, reference, telemetry};

/// Exit code for a wrong command line or configuration.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = cli::parse();
    if let Err(error) = telemetry::log::start(invocation.log.log.as_deref(), invocation.log.log_format) {
        eprintln!("{error}");
        return ExitCode::from(BAD_USAGE);
    }
    match invocation.command {
        Command::Schema(SchemaKind::Config) => print!("{}", reference::config_schema()),
        Command::Schema(SchemaKind::Pack) => print!("{}", reference::pack_schema()),
        Command::Docs(DocsPage::Configuration) => print!("{}", reference::configuration()),
        Command::Docs(DocsPage::Metrics) => match pack::builtin() {
            Ok(packs) => print!("{}", reference::metrics(packs.iter().map(|pack| &**pack))),
            Err(errors) => return bad_usage(&errors),
        },
        Command::Healthcheck(options) => match cli::load_settings(&options) {
            Ok(settings) => {
                if let Err(error) = cli::healthcheck::ask(settings.listen) {
                    eprintln!("{error}");
                    return ExitCode::FAILURE;
                }
            }
            Err(errors) => return bad_usage(&errors),
        },
        Command::Serve(_) | Command::Check(_) | Command::Demo(_) | Command::State(_) => {
            eprintln!("not wired yet");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn bad_usage(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(BAD_USAGE)
}
