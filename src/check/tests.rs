use async_trait::async_trait;
use secrecy::SecretString;

use super::*;
use crate::config::{Limits, WebSettings};
use crate::family::Micros;
use crate::source::spend::Spend;
use crate::source::{Finding, Moment, Rows, RowsPage, RowsRange, SnapshotQuery, Source, WindowCount};
use crate::telemetry::Reason;

const PACK: &str = "app: plants
title: Plants
detect: [sprout]
parameters: {tall: {value: 2.5, help: x}}
collectors:
  - name: sprouts
    rows: {table: sprout, key: [bed, id], time: at, columns: {kind: kind, owner: owner}, filter: 't.height > :tall'}
    metrics:
      - {counter: plants_sprouts_total, help: x, labels: [kind]}
      - {counter: plants_owned_total, help: x, labels: [owner], series_limit: 2}
  - name: beds
    snapshot: {sql: 'select state, count(*) as n from bed group by 1'}
    metrics: [{gauge: plants_beds, help: x, value: n, labels: [state]}]
  - name: seeds
    rows: {table: seed, key: id, time: at}
    metrics: [{counter: plants_seeds_total, help: x}]
  - name: weeds
    rows: {table: weed, key: id, time: at}
    metrics: [{counter: plants_weeds_total, help: x}]
";

/// Answers with what it was given; what `check` does not ask panics.
struct Garden {
    tables: Result<Vec<String>, Failure>,
    seeds: Result<Examination, Failure>,
    spend: Spend,
}

fn garden(seeds: Result<Examination, Failure>) -> Opened {
    garden_of(Garden { tables: Ok(vec!["sprout".into()]), seeds, spend: Spend::default() })
}

fn garden_of(garden: Garden) -> Opened {
    Opened::Database(Arc::new(garden))
}

#[async_trait]
impl Source for Garden {
    fn name(&self) -> &str {
        "garden"
    }

    fn system(&self) -> System {
        System::Postgres
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    async fn moment(&self) -> Result<Moment, Failure> {
        panic!("check asks for no moment")
    }

    async fn existing_tables(&self, tables: &[String]) -> Result<Vec<String>, Failure> {
        let existing = self.tables.clone()?;
        Ok(tables.iter().filter(|table| existing.contains(table)).cloned().collect())
    }

    async fn read_rows(&self, _: &RowsQuery, _: &RowsRange) -> Result<RowsPage, Failure> {
        panic!("check reads no page")
    }

    async fn read_snapshot(&self, _: &SnapshotQuery) -> Result<Rows, Failure> {
        panic!("check reads no snapshot")
    }

    async fn count_rows(&self, _: &RowsQuery, _: Micros, _: Micros) -> Result<WindowCount, Failure> {
        panic!("check counts nothing")
    }

    async fn examine_rows(&self, query: &RowsQuery) -> Result<Examination, Failure> {
        if query.table == "seed" {
            return self.seeds.clone();
        }
        assert_eq!(query.key, ["bed", "id"]);
        assert_eq!(query.parameters, [("tall".to_owned(), 7.0)]);
        let mut sample = Rows::new(4);
        for id in 0..SAMPLE_ROWS {
            let owner = if id < 5 { format!("owner{id}@example.com") } else { format!("owner {}", id % 300) };
            for cell in ["7", &id.to_string(), "fern", &owner] {
                sample.push(Some(cell));
            }
        }
        Ok(Examination {
            facts: vec!["reads new rows of sprout by at (horizon), about 90000 rows".into()],
            findings: vec![Finding {
                fatal: false,
                message: "no index serves at of sprout".into(),
                sql: Some("CREATE INDEX CONCURRENTLY ON \"sprout\" (\"at\");".into()),
            }],
            reads: vec![("sprout".into(), vec!["bed".into(), "id".into(), "at".into(), "kind".into(), "owner".into()])],
            sample,
            rows_estimate: Some(90_000),
        })
    }

    async fn examine_snapshot(&self, query: &SnapshotQuery) -> Result<Examination, Failure> {
        assert_eq!(query.columns, ["state", "n"]);
        Ok(Examination {
            facts: vec!["a snapshot of bed".into()],
            reads: vec![("bed".into(), vec!["state".into()])],
            sample: Rows::of(2, &[Some("dry"), Some("3"), Some("wet"), Some("4")]),
            ..Examination::default()
        })
    }
}

/// Traces with a secret in everything that can hold one, and a variable that is not understood.
fn otlp(name: &str) -> Option<String> {
    let value = match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => "https://rowmetry:hunter2@otlp.example?key=hunter2",
        "OTEL_EXPORTER_OTLP_HEADERS" => "authorization=hunter2",
        "OTEL_TRACES_SAMPLER" => "hunter2",
        _ => return None,
    };
    Some(value.to_owned())
}

fn settings() -> Settings {
    let url = SecretString::from("postgres://rowmetry:hunter2@db.example:6432/green?sslmode=require");
    let mut source = SourceSettings::new("garden", System::Postgres, url);
    source.skip = vec!["plants/weeds".into()];
    let pack = crate::pack::load::parse("p", PACK).unwrap_or_else(|errors| panic!("{errors}"));
    Settings {
        listen: ([127, 0, 0, 1], 9469).into(),
        state_dir: None,
        sources: vec![source],
        packs: vec![Arc::new(pack)],
        parameters: [("plants".to_owned(), [("tall".to_owned(), 7.0)].into())].into(),
        limits: Limits::default(),
        web: WebSettings::default(),
        alerts: crate::config::AlertSettings::default(),
        zero_first: std::time::Duration::from_secs(60),
        otlp: crate::config::otlp::from_environment(&otlp).unwrap_or_else(|errors| panic!("{errors}")),
        logs: crate::config::LogSettings::default(),
    }
}

async fn report(source: Result<Opened, Failure>) -> Report {
    check(&settings(), &[("garden".into(), source)], 0).await
}

fn fine_seeds() -> Result<Examination, Failure> {
    Ok(Examination { reads: vec![("seed".into(), vec!["id".into(), "at".into()])], ..Examination::default() })
}

#[tokio::test]
async fn a_report_reads_well_and_holds_no_secret() {
    let hidden = Failure::new(Reason::RowsHidden, "row-level security hides rows of seed from the role");
    let report = report(Ok(garden(Err(hidden)))).await;
    assert!(report.is_fatal());
    insta::assert_snapshot!("text", report.text(false));
    insta::assert_snapshot!("json", report.json());
    for text in [report.text(true), report.json(), format!("{report:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("@example") && !text.contains("@otlp"), "{text}");
    }
}

#[tokio::test]
async fn colours_change_no_word() {
    let report = report(Ok(garden(fine_seeds()))).await;
    let coloured = report.text(true);
    assert!(coloured.contains("\x1b[32mfine    \x1b[0mbeds"), "{coloured}");
    let mut plain = coloured;
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31;1m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, report.text(false));
}

#[tokio::test]
async fn remarks_alone_stop_nothing() {
    let found = report(Ok(garden(fine_seeds()))).await;
    assert!(!found.is_fatal());
    let fatal = Finding { fatal: true, message: "no column at".into(), sql: None };
    let seeds = Examination { findings: vec![fatal], ..Examination::default() };
    assert!(report(Ok(garden(Ok(seeds)))).await.is_fatal());
}

#[tokio::test]
async fn a_source_out_of_reach_is_one_failure() {
    let unreachable = || Failure::new(Reason::Unreachable, "db.example:6432 does not answer");
    let asked = Garden { tables: Err(unreachable()), seeds: fine_seeds(), spend: Spend::default() };
    let broken = garden(Err(unreachable()));
    for source in [Err(unreachable()), Ok(garden_of(asked)), Ok(broken)] {
        let report = report(source).await;
        assert!(report.is_fatal());
        let text = report.text(false);
        assert_eq!(text.matches("unreachable: db.example:6432 does not answer").count(), 1, "{text}");
        assert!(text.ends_with("; 1 source out of reach.\n"), "{text}");
        assert_eq!(report.sources[0].role, None);
    }
}

#[tokio::test]
async fn no_pack_that_applies_is_a_finding() {
    let bare = Garden { tables: Ok(vec![]), seeds: fine_seeds(), spend: Spend::default() };
    let report = report(Ok(garden_of(bare))).await;
    assert!(report.is_fatal());
    let text = report.text(false);
    assert!(text.contains("no pack applies") && text.contains("Known packs: plants"), "{text}");
}

#[tokio::test]
async fn a_named_pack_applies_without_its_tables() {
    let mut settings = settings();
    settings.sources[0].packs = Some(vec!["plants".into()]);
    let bare = Garden { tables: Ok(vec![]), seeds: fine_seeds(), spend: Spend::default() };
    let report = check(&settings, &[("garden".into(), Ok(garden_of(bare)))], 0).await;
    assert_eq!(report.sources[0].packs.len(), 1);
}
