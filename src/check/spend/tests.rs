use super::*;
use crate::config::{Budget, Limits, WebSettings};

const PACK: &str = "app: plants
title: Plants
detect: [sprout]
lookups: {names: {sql: 'select id, name from bed'}}
collectors:
  - name: sprouts
    rows: {table: sprout, key: id, time: at}
    metrics: [{counter: plants_sprouts_total, help: x}]
  - name: seeds
    rows: {table: seed, key: id, time: at}
    metrics: [{counter: plants_seeds_total, help: x}]
  - name: beds
    interval: 10m
    snapshot: {sql: select count(*) as n from bed}
    metrics: [{gauge: plants_beds, help: x, value: n}]
  - name: watering
    keys: {match: 'water:*', families: [{pattern: 'water:{bed}', lookup: {bed: names}}]}
    metrics: [{gauge: plants_watered, help: x, value: keys, labels: [bed]}]
  - name: health
    probe: {path: /health}
    metrics: [{gauge: plants_up, help: x, value: up}]
";

const MINUTE: Duration = Duration::from_secs(60);

fn settings(sources: Vec<SourceSettings>) -> Settings {
    Settings {
        listen: ([127, 0, 0, 1], 1).into(),
        state_dir: None,
        sources,
        packs: Vec::new(),
        parameters: BTreeMap::new(),
        limits: Limits::default(),
        web: WebSettings::default(),
        alerts: crate::config::AlertSettings::default(),
        zero_first: MINUTE,
        otlp: crate::config::OtlpSettings::default(),
        logs: crate::config::LogSettings::default(),
    }
}

fn source(upstream: impl Into<Upstream>) -> SourceSettings {
    SourceSettings::new("garden", upstream, "postgres://a:b@ep-1.eu.aws.neon.tech:5432/green".into())
}

fn of(source: SourceSettings) -> SpendReport {
    of_all(vec![source], None)
}

/// The report of the first.
fn of_all(sources: Vec<SourceSettings>, keys: Option<u64>) -> SpendReport {
    let pack = crate::pack::load::parse("p", PACK).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = settings(sources);
    report(&settings, &settings.sources[0], &[Arc::new(pack)], keys)
}

#[test]
fn the_arithmetic_is_shown_and_right() {
    let report = of(source(System::Postgres));
    // 2 x 4 x 1440, 2 x 4 x 144, 1 x 3 x 144 and 1 x 3 x 288.
    assert_eq!(report.per_day, 11_520 + 1152 + 432 + 864);
    assert_eq!(
        report.lines(),
        [
            "2 tables x 4 statements x 1,440 times (every 1m) = 11,520",
            "2 recounts x 4 statements x 144 times (every 10m) = 1,152",
            "1 snapshot x 3 statements x 144 times (every 10m) = 432",
            "1 look for packs x 3 statements x 288 times (every 5m) = 864",
            "together 13,968 statements a day, 424,860 a month",
            "awake, if it suspends: read every 1m, and it suspends only after 5m: 24 h a day: 730 h a month",
            "awake with `idle: {}`, when it is busy 10 h a day and quiet 14 (assumed): 10 h + 15m until it is quiet + 15 rounds x \
         5m = 11.5 h a day: 350 h a month",
        ]
    );
}

#[test]
fn what_is_left_out_or_read_seldom_costs_less() {
    let mut seldom = source(System::Postgres);
    seldom.packs = Some(vec!["plants".into()]);
    seldom.skip = vec!["plants/seeds".into()];
    seldom.intervals = [("plants/sprouts".to_owned(), MINUTE * 60)].into();
    seldom.audit_interval = Duration::ZERO;
    let report = of(seldom);
    assert_eq!(report.per_day, 4 * 24 + 3 * 144);
    let awake = report.awake.expect("it is a database's server");
    // 24 and 144 reads of 5 minutes: 14 h a day.
    assert!((awake.hours_without_idle / DAYS_A_MONTH - 14.0).abs() < 0.01, "{awake:?}");
    assert!(awake.hours_with_idle < awake.hours_without_idle, "{awake:?}");
    let sqlite = of(source(System::Sqlite));
    assert_eq!(sqlite.lines()[0], "2 tables x 1 read x 1,440 times (every 1m) = 2,880");
    assert_eq!((sqlite.unit, sqlite.per_day, sqlite.awake), ("reads", 2 * 1440 + 2 * 144 + 144 + 288, None));
}

#[test]
fn a_scan_costs_what_there_are_keys() {
    let mut redis = source(Upstream::Redis);
    redis.database = Some("base".into());
    let base = || SourceSettings { name: "base".into(), ..source(System::Postgres) };
    let report = of_all(vec![redis.clone(), base()], Some(1_000_000));
    assert_eq!((report.unit, report.per_day), ("commands", 1002 * 1440));
    assert_eq!(of_all(vec![redis.clone(), base()], Some(10)).per_day, 3 * 1440);
    let base = of_all(vec![base(), redis], None);
    assert!(base.lines().contains(&"1 look-up x 3 statements x 288 times (every 5m) = 864".to_owned()), "{base:?}");
}

#[test]
fn what_cannot_hold_is_remarked() {
    let remarks = |change: &dyn Fn(&mut SourceSettings)| {
        let mut source = source(System::Postgres);
        change(&mut source);
        of(source).remarks.join("\n")
    };
    let neon = remarks(&|_| ());
    assert!(neon.contains("`idle: {}` reads it seldom"), "{neon}");
    assert_eq!(remarks(&|source| source.url = "postgres://a:b@neon.tech.example/green".into()), "");
    assert_eq!(remarks(&|source| source.idle = Some(Idle::default())), "");
    let tight = remarks(&|source| {
        source.idle = Some(Idle::default());
        source.budget = Budget { per_day: Some(2000), ..Budget::default() };
    });
    assert!(tight.contains("does not hold 13,968 statements a day") && tight.contains("7.0-fold"), "{tight}");
    assert!(tight.contains("1m becomes 7m"), "{tight}");
    let awake = |hours: u64| {
        let budget = Budget { awake_per_day: Some(MINUTE * 60 * hours as u32), ..Budget::default() };
        remarks(&|source| {
            source.idle = Some(Idle::default());
            source.budget = budget;
        })
    };
    assert_eq!(awake(12), "");
    assert!(awake(6).contains("does not hold 11.5 h a day") && awake(6).contains("up to 20m apart"), "{}", awake(6));
    let untold = remarks(&|source| {
        source.idle = Some(Idle::default());
        source.skip = vec!["plants/seeds".into(), "plants/sprouts".into()];
    });
    assert!(untold.contains("nothing tells when the application is busy"), "{untold}");
}

#[test]
fn a_probe_that_wakes_a_database_is_remarked() {
    let mut probe = source(Upstream::Http);
    probe.url = "https://garden.example".into();
    probe.database = Some("base".into());
    let base = |idle| SourceSettings { name: "base".into(), idle, ..source(System::Postgres) };
    let remarks = of_all(vec![probe.clone(), base(Some(Idle::default()))], None).remarks.join("\n");
    assert!(remarks.contains("keeps it awake with each probe"), "{remarks}");
    assert!(of_all(vec![probe.clone(), base(None)], None).remarks.is_empty());
    probe.interval = MINUTE * 30;
    assert!(of_all(vec![probe, base(Some(Idle::default()))], None).remarks.is_empty());
}

#[test]
fn whole_numbers_are_in_groups() {
    let texts: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
    assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
}

#[test]
fn values_of_counters_and_what_a_service_does_not_tell_are_paid_for_too() {
    let pack = "app: p\ntitle: P\ncollectors:\n\
        - {name: limits, keys: {match: 'l:*', families: [{pattern: 'l:{who}', set: {of: login}, limit: 5}]}, \
           metrics: [{gauge: p_at_limit, help: x, value: at_limit, labels: [of]}]}\n\
        - {name: server, info: {}, metrics: [{gauge: p_clients, help: x, value: connected_clients}]}\n";
    let pack = Arc::new(crate::pack::load::parse("p", pack).unwrap_or_else(|errors| panic!("{errors}")));
    for (upstream, figures) in [(Upstream::Redis, 2), (Upstream::Upstash, 3)] {
        let settings = settings(vec![source(upstream)]);
        let report = report(&settings, &settings.sources[0], std::slice::from_ref(&pack), Some(100_000));
        let each: Vec<u64> = report.parts.iter().map(|part| part.each).collect();
        // 100 SCAN, 2 beside, and up to 200 MGET; PING and INFO, and DBSIZE where INFO does not tell.
        assert_eq!(each, [302, figures], "{upstream:?}");
        assert!(report.lines()[0].contains("at most"), "{:?}", report.lines());
    }
}
