//! The past as text, to the last byte.

use super::*;
use crate::collector::{Guard, RowsHistory};
use crate::config::Limits;
use crate::pack::{self, System};
use crate::source::{CursorMode, Deletions, Moment, Rows, RowsPage, RowsQuery};

fn past(yaml: &str, steps: Steps, rows: &[(&str, i64)]) -> Vec<PastFamily> {
    let definition: pack::Collector = serde_saphyr::from_str(yaml).expect("the test's own YAML");
    let of = definition.rows.as_ref().expect("it has rows");
    let query = RowsQuery::of(of, System::Postgres, Vec::new());
    let mut history = RowsHistory::new(&definition, &query, &Limits::default(), &Arc::new(Guard::new(100)), steps);
    let ids: Vec<String> = (0..rows.len()).map(|id| id.to_string()).collect();
    let cells: Vec<Option<&str>> =
        ids.iter().zip(rows).flat_map(|(id, (cell, _))| [Some(id.as_str()), Some(*cell)]).collect();
    let moment = Moment {
        mode: CursorMode::Overlap,
        now: 0,
        horizon: None,
        oldest_open: None,
        identity: String::new(),
        indexed: true,
        deletions: Deletions::default(),
    };
    let times = rows.iter().map(|(_, seconds)| seconds * 1_000_000).collect();
    history.fold(&RowsPage { rows: Rows::of(2, &cells), times, writers: Vec::new(), moment, next: None, resume: None });
    history.families()
}

fn collector(column: &str, metric: &str) -> String {
    format!("{{name: c, rows: {{table: t, key: id, time: at, columns: {{{column}: t.x}}}}, metrics: [{{{metric}}}]}}")
}

fn steps() -> Steps {
    Steps::new(1_700_000_000_000_000, 1_700_000_090_000_000, 60).expect("it fits")
}

fn text(families: &[PastFamily], target: &[(&str, &str)]) -> String {
    let target = target.iter().map(|(name, value)| (Arc::from(*name), (*value).to_owned())).collect();
    let mut out = Vec::new();
    write(families, &steps(), &target, &mut out).expect("memory takes it");
    String::from_utf8(out).expect("it is text")
}

#[test]
fn every_series_has_a_sample_at_every_step_from_its_beginning() {
    let counter = past(
        &collector("job", "counter: jobs_total, help: 'Jobs, \"all\".', labels: [job]"),
        steps(),
        &[("mail", 1_700_000_070), ("mail", 1_700_000_071), ("\"", 1_700_000_000)],
    );
    let histogram = past(
        &collector("s", "histogram: wait_seconds, help: Wait., value: s, buckets: [0.5, 2]"),
        steps(),
        &[("0.25", 1_700_000_010), ("7", 1_700_000_020), ("0.125", 1_700_000_089)],
    );
    let families = [counter, histogram].concat();
    assert_eq!(
        text(&families, &[("job", "rowmetry"), ("instance", "a:1")]),
        r##"# TYPE jobs counter
# HELP jobs Jobs, \"all\".
jobs_total{exported_job="\"",job="rowmetry",instance="a:1"} 0 1700000000
jobs_total{exported_job="\"",job="rowmetry",instance="a:1"} 1 1700000060
jobs_total{exported_job="\"",job="rowmetry",instance="a:1"} 1 1700000090
jobs_total{exported_job="mail",job="rowmetry",instance="a:1"} 0 1700000060
jobs_total{exported_job="mail",job="rowmetry",instance="a:1"} 2 1700000090
# TYPE wait_seconds histogram
# HELP wait_seconds Wait.
wait_seconds_bucket{job="rowmetry",instance="a:1",le="0.5"} 0 1700000000
wait_seconds_bucket{job="rowmetry",instance="a:1",le="2.0"} 0 1700000000
wait_seconds_bucket{job="rowmetry",instance="a:1",le="+Inf"} 0 1700000000
wait_seconds_count{job="rowmetry",instance="a:1"} 0 1700000000
wait_seconds_sum{job="rowmetry",instance="a:1"} 0 1700000000
wait_seconds_bucket{job="rowmetry",instance="a:1",le="0.5"} 1 1700000060
wait_seconds_bucket{job="rowmetry",instance="a:1",le="2.0"} 1 1700000060
wait_seconds_bucket{job="rowmetry",instance="a:1",le="+Inf"} 2 1700000060
wait_seconds_count{job="rowmetry",instance="a:1"} 2 1700000060
wait_seconds_sum{job="rowmetry",instance="a:1"} 7.25 1700000060
wait_seconds_bucket{job="rowmetry",instance="a:1",le="0.5"} 2 1700000090
wait_seconds_bucket{job="rowmetry",instance="a:1",le="2.0"} 2 1700000090
wait_seconds_bucket{job="rowmetry",instance="a:1",le="+Inf"} 3 1700000090
wait_seconds_count{job="rowmetry",instance="a:1"} 3 1700000090
wait_seconds_sum{job="rowmetry",instance="a:1"} 7.375 1700000090
# EOF
"##
    );
}

#[test]
fn a_counter_whose_stem_is_taken_keeps_its_name() {
    let of = |metric: &str| past(&collector("s", metric), steps(), &[("1", 1_700_000_000)]);
    let mut odd = of("counter: odd_total, help: h");
    odd[0].head.name = "odd".into();
    let families = [of("histogram: a, help: h, value: s, buckets: [1]"), of("counter: a_total, help: h"), odd].concat();
    let text = text(&families, &[]);
    for line in [
        "# TYPE a histogram",
        "# TYPE a_total unknown",
        "a_total 1 1700000060",
        "# TYPE odd unknown",
        "odd 0 1700000000",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

#[test]
fn what_has_no_series_is_not_there() {
    let families = past(&collector("k", "counter: a_total, help: h, labels: [k]"), steps(), &[]);
    assert_eq!((families.len(), text(&families, &[])), (1, "# EOF\n".to_owned()));
}

#[test]
fn a_reader_that_takes_no_more_ends_it() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let families = past(&collector("k", "counter: a_total, help: h"), steps(), &[]);
    let error = write(&families, &steps(), &Vec::new(), &mut Closed).expect_err("it is closed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
