//! Lines as they are typed.

use clap::CommandFactory;

use super::*;

fn command(line: &str) -> Command {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
    Invocation::from(cli).command
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn serving_needs_no_verb() {
    let Command::Serve(bare) = command("rowmetry --config a.yaml --interval 5s") else { panic!("serve") };
    assert_eq!(bare.common.config, Some("a.yaml".into()));
    assert_eq!(bare.common.interval, Some(Duration::from_secs(5)));
    assert_eq!(command("rowmetry serve --config a.yaml --interval 5s"), Command::Serve(bare));
}

#[test]
fn every_verb_is_understood() {
    let Command::Check(check) = command("rowmetry check -c a.yaml --format json --source shop") else {
        panic!("check")
    };
    assert_eq!((check.format, check.source.as_deref()), (ReportFormat::Json, Some("shop")));
    let Command::Serve(serve) = command("rowmetry --shard 2/3") else { panic!("serve") };
    assert_eq!(serve.part.shard, Some("2/3".parse().expect("a shard")));
    let Command::Demo(demo) = command("rowmetry demo --duration 10m --seed 7 --rate 9 --listen 127.0.0.1:0") else {
        panic!("demo")
    };
    assert_eq!((demo.duration, demo.seed, demo.rate), (Some(Duration::from_secs(600)), 7, 9));
    let Command::State(state) = command("rowmetry state reset shop/plants --state-dir d") else { panic!("state") };
    assert!(matches!(state.action, StateAction::Reset { id, .. } if id == "shop/plants"));
    assert_eq!(command("rowmetry schema pack"), Command::Schema(SchemaKind::Pack));
    assert_eq!(command("rowmetry docs metrics"), Command::Docs(DocsPage::Metrics, None));
    assert!(matches!(command("rowmetry healthcheck --listen 127.0.0.1:1"), Command::Healthcheck(_)));
    let window = "--from 2026-01-31 --to 2026-01-31T06:00:00+01:00 --pack shop --pack app/calls";
    let Command::Backfill(backfill) = command(&format!("rowmetry backfill {window} --label job=a=b")) else {
        panic!("backfill")
    };
    let request = backfill.request(0).expect("it is a window");
    assert_eq!((request.past.to - request.past.from, request.step), (5 * 3_600_000_000, 60));
    assert_eq!((request.past.packs.len(), request.target[0].1.as_str()), (2, "a=b"));
    let Command::Replay(replay) = command("rowmetry replay --from 1970-01-01 --to now --timeout 0s --dry-run") else {
        panic!("replay")
    };
    let request = replay.request(7).expect("it is a window");
    assert_eq!((request.past.to, request.patience, request.dry_run), (7, Duration::ZERO, true));
    assert!(replay.request(0).is_err(), "it is empty");
}

#[test]
fn options_of_another_verb_are_refused() {
    for line in [
        "rowmetry --interval 0s",
        "rowmetry --interval soon",
        "rowmetry --listen x check",
        "rowmetry demo --rate 0",
        "rowmetry --shard 4/3",
        "rowmetry state list --shard 1/3",
        "rowmetry state",
        "rowmetry backfill --from 2026-01-31",
        "rowmetry backfill --from yesterday --to now",
        "rowmetry backfill --from 2026-01-31 --to now --step 301s",
        "rowmetry backfill --from 2026-01-31 --to now --step 1500ms",
        "rowmetry backfill --from 2026-01-31 --to now --label le=1",
        "rowmetry backfill --from 2026-01-31 --to now --label __name__=x",
        "rowmetry backfill --from 2026-01-31 --to now --label 1a=x",
        "rowmetry backfill --from 2026-01-31 --to now --label a=",
        "rowmetry backfill --from 2026-01-31 --to now --pack a/",
        "rowmetry replay --from 2026-01-31 --to now --step 1m",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn a_healthcheck_needs_no_more_than_the_address() {
    let options = CommonOptions { listen: Some("127.0.0.1:7".into()), ..CommonOptions::default() };
    assert_eq!(listen_address(&options).map(|address| address.port()), Ok(7));
}

#[test]
fn variables_of_opentelemetry_do_not_keep_a_health_check_from_its_address() {
    let otel = |name: &str| match name {
        "DATABASE_URL" => Some("postgres://h/d".to_owned()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("otel:4317".to_owned()),
        _ => None,
    };
    let options = CommonOptions::default();
    assert!(config::load(&(&options).into(), &otel).is_err(), "nothing can be sent with it");
    assert_eq!(listen_address_in(&options, &otel), Ok(SocketAddr::from(([127, 0, 0, 1], 9469))));
    let told = listen_address_in(&options, &|name| otel(name).map(|_| "hunter2".to_owned())).expect_err("bad");
    assert_eq!(told.0.len(), 2, "everything is told where the rest is wrong too: {told}");
}

#[test]
fn help_reads_well() {
    insta::assert_snapshot!(Cli::command().term_width(100).render_long_help().to_string());
}
