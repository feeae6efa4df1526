use std::time::Duration;

use secrecy::SecretString;

use super::*;
use crate::check::{Report, SourceReport};
use crate::config::logs::Signature;
use crate::config::{Limits, LogSettings, OtlpSettings, SourceSettings, WebSettings};
use crate::pack::System;

const PACK: &str = "app: plants
title: Plants
detect: [sprout]
collectors:
  - name: mails
    logs: {lines: [{prefix: 'mail '}, {prefix: 'post '}, {skip: true, prefix: 'x'}]}
    metrics: [{counter: plants_mails_total, help: x}]
  - name: calls
    logs: {lines: [{prefix: 'call '}]}
    metrics: [{counter: plants_calls_total, help: x}]
  - name: refusals
    logs: {stream: postgres, lines: [{record: {code: '42501'}}]}
    metrics: [{counter: plants_refusals_total, help: x}]
  - name: beds
    snapshot: {sql: 'select count(*) as n from bed'}
    metrics: [{gauge: plants_beds, help: x, value: n}]
";

const QUIET_PACK: &str = "app: stones
title: Stones
detect: [stone]
collectors:
  - name: stones
    snapshot: {sql: 'select count(*) as n from stone'}
    metrics: [{gauge: stones_stones, help: x, value: n}]
";

fn settings(drains: Vec<DrainSettings>) -> Settings {
    let pack = |text: &str| Arc::new(crate::pack::load::parse("p", text).unwrap_or_else(|errors| panic!("{errors}")));
    Settings {
        listen: ([127, 0, 0, 1], 9469).into(),
        state_dir: None,
        sources: vec![SourceSettings::new("garden", System::Sqlite, SecretString::from("garden.db"))],
        packs: vec![pack(PACK), pack(QUIET_PACK)],
        parameters: Default::default(),
        limits: Limits::default(),
        web: WebSettings::default(),
        alerts: crate::config::AlertSettings::default(),
        zero_first: Duration::from_secs(60),
        otlp: OtlpSettings::default(),
        logs: LogSettings { drains, ..LogSettings::default() },
    }
}

/// A drain of the garden with a good token.
fn drain(name: &str, kind: DrainKind) -> DrainSettings {
    let mut drain = DrainSettings::new(name, kind);
    drain.database = Some("garden".into());
    drain.auth.token = kind.is_posted().then(|| "hunter2 hunter2 hunter2".into());
    drain
}

fn signature(header: &str, secret: &str) -> Signature {
    Signature {
        secret: secret.into(),
        header: header.into(),
        algorithm: SignatureAlgorithm::Sha256,
        prefix: "sha256=".into(),
        encoding: SignatureEncoding::Base64,
    }
}

/// What a look at the garden found: these packs, or that it cannot be reached.
fn garden(packs: Option<&[&str]>) -> SourceReport {
    let failure = crate::telemetry::Failure::new(crate::telemetry::Reason::Unreachable, "it does not answer");
    let report = |pack: &&str| PackReport { pack: (*pack).to_owned(), title: String::new(), collectors: Vec::new() };
    SourceReport {
        source: "garden".into(),
        address: "garden.db".into(),
        system: "sqlite",
        failure: packs.is_none().then(|| failure.into()),
        note: None,
        packs: packs.unwrap_or_default().iter().map(report).collect(),
        spend: None,
        role: None,
    }
}

/// The report of drains beside a garden with these packs.
fn report(settings: &Settings, packs: Option<&[&str]>) -> Report {
    Report { drains: reports(settings, &[garden(packs)]), ..Report::default() }
}

/// What is to be mended of one drain, with whether it is fatal.
fn findings(drain: DrainSettings, packs: &[&str]) -> Vec<(bool, String)> {
    let report = report(&settings(vec![drain]), Some(packs));
    report.drains[0].findings.iter().map(|finding| (finding.fatal, finding.message.clone())).collect()
}

#[test]
fn a_report_of_drains_reads_well_and_holds_no_secret() {
    let mut vercel = drain("functions", DrainKind::Vercel);
    vercel.auth.token = None;
    vercel.auth.signature = Some(Signature {
        algorithm: SignatureAlgorithm::Sha1,
        prefix: String::new(),
        encoding: SignatureEncoding::Hex,
        ..signature("x-vercel-signature", "hunter2 hunter2 hunter2")
    });
    vercel.auth.verify = Some("hunter2".into());
    vercel.skip = vec!["plants/calls".into()];
    let mut supabase = drain("postgres", DrainKind::Supabase);
    supabase.auth.token_header = Some("x-drain".into());
    let mut http = drain("workers", DrainKind::Http);
    http.auth.signature = Some(signature("x-hub-signature-256", "hunter2"));
    http.auth.token = Some("hunter2".into());
    http.streams = vec![Stream::Application, Stream::Postgres];
    http.skip = vec!["plants/refusals".into()];
    let mut otlp = drain("otel", DrainKind::Otlp);
    otlp.path = "/v1/logs".into();
    let mut open = drain("open", DrainKind::Http);
    open.auth.token = None;
    let mut lost = drain("lost", DrainKind::Stdin);
    lost.packs = Some(vec!["stones".into()]);
    let report = report(&settings(vec![vercel, supabase, http, otlp, open, lost]), Some(&["plants"]));
    assert!(report.is_fatal(), "nobody counts the lines of one");
    insta::assert_snapshot!("text", report.text(false));
    insta::assert_snapshot!("json", report.json());
    for text in [report.text(true), report.json(), format!("{report:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn packs_are_named_or_found_or_not_known_yet() {
    let of = |drain: DrainSettings, configured: Option<&str>, found: Option<&[&str]>| {
        let mut settings = settings(vec![drain]);
        settings.sources[0].packs = configured.map(|name| vec![name.into()]);
        let report = report(&settings, found);
        assert!(!report.is_fatal() || found.is_some(), "{report:?}");
        let packs = report.drains[0].packs.clone();
        (packs.map(|packs| packs.into_iter().map(|pack| pack.pack).collect::<Vec<_>>()), report.text(false))
    };
    let plants = || Some(vec!["plants".to_owned()]);
    assert_eq!(of(drain("d", DrainKind::Http), None, Some(&["plants", "stones"])).0, plants());
    assert_eq!(of(drain("d", DrainKind::Http), Some("plants"), None).0, plants(), "the database's own packs are named");
    let mut named = drain("d", DrainKind::Http);
    named.packs = Some(vec!["plants".into()]);
    assert_eq!(of(named, Some("stones"), Some(&["stones"])).0, plants());
    let (packs, text) = of(drain("d", DrainKind::Http), None, None);
    assert_eq!(packs, None);
    assert!(text.contains("which packs count its lines is known once the source garden tells"), "{text}");
}

#[test]
fn lines_that_nothing_counts_are_told() {
    let skipping = |skip: &str| {
        let mut drain = drain("d", DrainKind::Http);
        drain.skip = vec![skip.into()];
        drain
    };
    let bringing = |streams: &[Stream]| {
        let mut drain = drain("d", DrainKind::Http);
        drain.streams = streams.to_vec();
        drain
    };
    assert_eq!(findings(bringing(&[Stream::Application]), &["plants"]), []);
    assert_eq!(findings(bringing(&[Stream::Application, Stream::Postgres]), &["plants"]), []);
    let fatal = |drain, packs: &[&str], wanted: &str| {
        let told = findings(drain, packs);
        assert!(told.len() == 1 && told[0].0 && told[0].1.contains(wanted), "{wanted}\n{told:?}");
    };
    fatal(skipping("plants"), &["plants"], "`skip` leaves out every collector");
    fatal(bringing(&[Stream::Application]), &["stones"], "no collector of stones is of `logs`");
    fatal(bringing(&[Stream::Application]), &[], "no pack applies to its database");
    let mut settings = settings(vec![bringing(&[Stream::Postgres])]);
    let pack = PACK.replace("stream: postgres, ", "");
    settings.packs = vec![Arc::new(crate::pack::load::parse("p", &pack).unwrap_or_else(|errors| panic!("{errors}")))];
    let text = report(&settings, Some(&["plants"])).text(false);
    assert!(text.contains("counts those of another stream. Write `streams: [application]`"), "{text}");
    settings.logs.drains = vec![bringing(&[Stream::Application, Stream::Postgres])];
    let report = report(&settings, Some(&["plants"]));
    assert!(!report.is_fatal());
    assert!(report.text(false).contains("remark  nothing counts its lines of Postgres: leave `postgres` out"));
}

#[test]
fn short_secrets_are_told() {
    let with = |token: Option<&str>, secret: Option<&str>| {
        let mut drain = drain("d", DrainKind::Http);
        drain.auth.token = token.map(SecretString::from);
        drain.auth.signature = secret.map(|secret| signature("x-signature", secret));
        findings(drain, &["plants"])
    };
    let (short, long) = ("fifteen letters", "sixteen letters!");
    assert_eq!(with(Some(long), Some(long)), []);
    let told = with(Some(short), Some(long));
    assert!(told.len() == 1 && !told[0].0 && told[0].1.starts_with("the token has fewer than 16"), "{told:?}");
    let told = with(None, Some(short));
    assert!(told.len() == 1 && told[0].1.starts_with("the secret has fewer than 16"), "{told:?}");
}

#[test]
fn a_secret_for_supabase_is_told() {
    let mut supabase = drain("d", DrainKind::Supabase);
    supabase.auth.signature = Some(signature("x-signature", "sixteen letters!"));
    let told = findings(supabase, &["plants"]);
    assert!(told.len() == 1 && !told[0].0 && told[0].1.contains("Supabase signs nothing"), "{told:?}");
}

#[test]
fn a_file_is_there_and_can_be_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("app.log");
    let of = |path: &Path| {
        let mut file = drain("d", DrainKind::File);
        file.file = Some(path.to_owned());
        findings(file, &["plants"])
    };
    let told = of(&path);
    assert!(told.len() == 1 && !told[0].0 && told[0].1.starts_with("there is no such file yet"), "{told:?}");
    std::fs::write(&path, "mail\n").expect("writable");
    assert_eq!(of(&path), []);
    let told = of(folder.path());
    assert!(told.len() == 1 && told[0].0 && told[0].1.contains("a folder"), "{told:?}");
    // A file in the place of a folder is an error of another kind than one that is missing.
    let told = of(&path.join("below"));
    assert!(told.len() == 1 && told[0].0 && told[0].1.starts_with("the file cannot be opened"), "{told:?}");
}

#[test]
fn who_reaches_drains_may_reach_metrics() {
    let of = |listen: [u8; 4], logs: Option<[u8; 4]>| {
        let mut settings = settings(vec![drain("d", DrainKind::Http)]);
        settings.listen = (listen, 9469).into();
        settings.logs.listen = logs.map(|logs| (logs, 9470).into());
        let report = report(&settings, Some(&["plants"]));
        (report.drains[0].listen.clone().unwrap_or_default(), report.drains[0].findings.len(), report.text(false))
    };
    let (listen, told, text) = of([0, 0, 0, 0], None);
    assert_eq!((listen.as_str(), told), ("0.0.0.0:9469", 1), "{text}");
    assert!(text.contains("remark  whoever can reach it can read /metrics too"), "{text}");
    let (listen, told, text) = of([0, 0, 0, 0], Some([0, 0, 0, 0]));
    assert_eq!((listen.as_str(), told), ("0.0.0.0:9470", 0), "{text}");
    assert!(text.contains("where drains alone are served"), "{text}");
    let (_, told, text) = of([127, 0, 0, 1], None);
    assert_eq!(told, 0, "{text}");
    assert!(text.contains("before 127.0.0.1:9469, which only this machine reaches"), "{text}");
}
