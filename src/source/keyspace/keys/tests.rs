use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::scanning::LONG_SCAN;
use super::super::scripted::Scripted;
use super::*;
use crate::source::Rows;

const NOW: Micros = 1_767_225_600_000_000;

const FAST: KeysSettings = KeysSettings { per_second: 1_000_000, key_limit: 1000 };

fn reader_of(redis: &Arc<Scripted>, settings: KeysSettings, yaml: &str, names: Option<&Arc<Names>>) -> KeysReader {
    let keys: pack::Keys = serde_saphyr::from_str(yaml).expect("the test's own YAML");
    let columns = ["tenant", "keys", "at_limit"].map(String::from).to_vec();
    KeysReader::new(redis.clone(), &keys, columns, settings, &|_| names.cloned())
}

fn reader(redis: &Arc<Scripted>, settings: KeysSettings) -> KeysReader {
    reader_of(redis, settings, "{match: 'p:*', families: [{pattern: 'p:{tenant}:{user}'}]}", None)
}

/// Reads until there is a result.
async fn whole(reader: &mut KeysReader) -> Result<Reading, Failure> {
    for _ in 0..100 {
        let reading = reader.read(NOW).await?;
        if reading.rows.is_some() {
            return Ok(reading);
        }
        assert!(reading.more_after.is_some(), "neither a result nor a time to go on");
    }
    panic!("no result after 100 parts");
}

fn rows(cells: &[(&str, &str)]) -> Option<Rows> {
    let mut rows = Rows::new(3);
    for (tenant, keys) in cells {
        rows.push(Some(tenant));
        rows.push(Some(keys));
        rows.push(None);
    }
    Some(rows)
}

#[tokio::test]
async fn a_scan_goes_through_all_pages_and_tells_what_it_took() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1", "p:a:2"], &[], &["p:a:1", "p:b:1", "x"]], 5000));
    let reading = whole(&mut reader(&redis, FAST)).await.expect("it is whole");
    assert_eq!(reading.rows, rows(&[("a", "2"), ("b", "1")]));
    let scan = reading.scan.expect("a scan ended");
    assert_eq!(
        (scan.commands, scan.keys, scan.truncated),
        (5, 3, false),
        "three SCAN, and DBSIZE after the first and the last"
    );
    assert_eq!(reading.note, None);
}

#[tokio::test]
async fn what_one_page_holds_costs_one_command() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1", "p:b:1"]], 1));
    let reading = whole(&mut reader(&redis, FAST)).await.expect("it is whole");
    assert_eq!((reading.rows, redis.spend.total()), (rows(&[("a", "1"), ("b", "1")]), 1));
}

#[tokio::test]
async fn a_scan_keeps_to_its_commands_a_second() {
    let page: &[&str] = &["p:a:1"];
    let redis = Arc::new(Scripted::of_pages(&vec![page; 50], 5000));
    let mut reader = reader(&redis, KeysSettings { per_second: 100, ..FAST });
    let (mut parts, mut pauses) = (0, Duration::ZERO);
    let began = Instant::now();
    loop {
        let before = redis.spend.total();
        let reading = reader.read(NOW).await.expect("nothing fails");
        assert!(redis.spend.total() - before <= 10, "a burst is a tenth of a second's");
        parts += 1;
        if reading.rows.is_some() {
            break;
        }
        pauses += reading.more_after.expect("there is more");
    }
    // 52 commands at 100 a second; what the parts themselves took counts too.
    let took = (pauses + began.elapsed()).as_secs_f64();
    assert!((parts, took > 0.48) == (6, true), "{parts} parts, {took} s");
}

#[tokio::test]
async fn a_slow_budget_sends_one_command_at_a_time() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"]], 5000));
    let mut reader = reader(&redis, KeysSettings { per_second: 1, ..FAST });
    let first = reader.read(NOW).await.expect("nothing fails");
    assert_eq!(redis.spend.total(), 1, "the first SCAN");
    assert!(first.more_after.expect("there is more") > Duration::from_millis(900));
    assert_eq!(first.rows, None);
}

#[tokio::test]
async fn one_scan_of_a_source_is_under_way() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"]], 5000));
    let (mut first, mut second) = (reader(&redis, KeysSettings { per_second: 10, ..FAST }), reader(&redis, FAST));
    assert_eq!(first.read(NOW).await.expect("nothing fails").rows, None);
    let sent = redis.spend.total();
    let waiting = second.read(NOW).await.expect("nothing fails");
    assert_eq!((waiting.rows, waiting.more_after, redis.spend.total()), (None, Some(TURN_PACE), sent));
    whole(&mut first).await.expect("it is whole");
    whole(&mut second).await.expect("now it is its turn");
    // A scan that fails, and one that nobody goes on with, give way.
    first.read(NOW).await.expect("nothing fails");
    redis.breaks.lock().expect("ours").extend((0..20).map(|at| (at, Some(Reason::Silent))));
    whole(&mut first).await.expect_err("it fails");
    redis.breaks.lock().expect("ours").clear();
    whole(&mut second).await.expect("it is its turn");
    first.read(NOW).await.expect("nothing fails");
    drop(first);
    whole(&mut second).await.expect("it is its turn");
}

#[tokio::test]
async fn another_connection_means_a_new_beginning() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"], &["p:a:3"]], 5000));
    redis.breaks.lock().expect("ours").push((1, None));
    let reading = whole(&mut reader(&redis, FAST)).await.expect("the second try is whole");
    assert_eq!(reading.rows, rows(&[("a", "3")]));
    assert_eq!(redis.scans.load(Ordering::Relaxed), 5, "two of the first try, three of the second");
    // Keys of the first server do not stay.
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"]], 5000));
    redis.breaks.lock().expect("ours").push((1, None));
    let mut reader = reader(&redis, KeysSettings { per_second: 10, ..FAST });
    for _ in 0..2 {
        assert_eq!(reader.read(NOW).await.expect("nothing fails").rows, None);
    }
    *redis.pages.lock().expect("ours") = vec![vec![b"p:b:1".to_vec()]];
    assert_eq!(whole(&mut reader).await.expect("it is whole").rows, rows(&[("b", "1")]));
}

#[tokio::test]
async fn a_connection_that_breaks_in_each_scan_is_a_failure() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"]], 5000));
    *redis.breaks.lock().expect("ours") = (0..20).map(|at| (at, None)).collect();
    let failure = whole(&mut reader(&redis, FAST)).await.expect_err("it never is whole");
    assert_eq!(failure.reason, Reason::Unreachable);
}

#[tokio::test]
async fn a_failure_forgets_the_scan() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"]], 5000));
    redis.breaks.lock().expect("ours").push((1, Some(Reason::Silent)));
    let mut reader = reader(&redis, FAST);
    assert_eq!(whole(&mut reader).await.expect_err("it fails").reason, Reason::Silent);
    *redis.pages.lock().expect("ours") = vec![vec![b"p:b:1".to_vec()]];
    assert_eq!(whole(&mut reader).await.expect("it is whole").rows, rows(&[("b", "1")]));
}

#[tokio::test]
async fn keys_that_vanished_are_not_counted() {
    let gone = |sizes: &[u64]| {
        let redis = Scripted::of_pages(&[&["p:a:1", "p:a:2"], &["p:a:3"]], 0);
        *redis.sizes.lock().expect("ours") = sizes.iter().map(|size| Ok(*size)).collect::<VecDeque<_>>();
        Arc::new(redis)
    };
    // Fewer keys than were found: FLUSHALL.
    let redis = gone(&[5, 2, 5, 5]);
    assert_eq!(whole(&mut reader(&redis, FAST)).await.expect("the second try").rows, rows(&[("a", "3")]));
    assert_eq!(redis.scans.load(Ordering::Relaxed), 4);
    // More than were found, and yet most are gone.
    let redis = gone(&[5000, 2000, 2000, 2000]);
    whole(&mut reader(&redis, FAST)).await.expect("the second try");
    assert_eq!(redis.scans.load(Ordering::Relaxed), 4);
    // Some keys expire all the time.
    let redis = gone(&[5000, 4000]);
    whole(&mut reader(&redis, FAST)).await.expect("the first try");
    assert_eq!(redis.scans.load(Ordering::Relaxed), 2);
    // Even of those that were found, where they are most of what there is.
    let names: Vec<String> = (0..12).map(|user| format!("p:a:{user}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (size, scans) in [(11, 2), (10, 4)] {
        let redis = Scripted::of_pages(&[&names, &[]], 0);
        *redis.sizes.lock().expect("ours") = [12, size, 12, 12].map(Ok).into();
        let redis = Arc::new(redis);
        whole(&mut reader(&redis, FAST)).await.expect("sooner or later");
        assert_eq!(redis.scans.load(Ordering::Relaxed), scans, "{size} of 12 are left");
    }
    let redis = gone(&[5, 2, 5, 2, 5, 2, 5]);
    assert_eq!(whole(&mut reader(&redis, FAST)).await.expect_err("it never is true").reason, Reason::BadReply);
    assert_eq!(redis.scans.load(Ordering::Relaxed), 6, "three tries");
}

#[tokio::test]
async fn who_may_only_scan_is_told_what_that_means() {
    let redis = Scripted::of_pages(&[&["p:a:1"], &[]], 0);
    *redis.sizes.lock().expect("ours") = VecDeque::from([Err(Reason::Forbidden)]);
    let reading = whole(&mut reader(&Arc::new(redis), FAST)).await.expect("it is whole");
    assert_eq!(reading.rows, rows(&[("a", "1")]));
    assert!(reading.note.expect("there is something to know").contains("+dbsize"));
}

#[tokio::test]
async fn more_keys_than_are_remembered_are_no_result() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1", "p:a:2"], &["p:a:3"], &["p:a:4"], &["p:a:5"]], 5000));
    let mut reader = reader(&redis, KeysSettings { key_limit: 2, ..FAST });
    let reading = reader.read(NOW).await.expect("it tells before it fails");
    assert_eq!(reading.rows, None);
    assert!(reading.scan.expect("the scan ended").truncated && reading.note.is_some());
    assert_eq!(redis.scans.load(Ordering::Relaxed), 2, "nothing is sent that cannot help");
    let failure = reader.read(NOW).await.expect_err("there is no result");
    assert!(failure.message.contains("more than 2"), "{failure}");
    assert!(reader.read(NOW).await.expect("a new scan").scan.is_some());
}

#[tokio::test]
async fn values_are_read_where_there_is_a_limit() {
    let yaml = "{match: 'p:*', families: [{pattern: 'p:{tenant}:{user}', limit: 5}]}";
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1", "p:a:2"], &["p:a:3"]], 5000));
    *redis.values.lock().expect("ours") = vec![(b"p:a:1".to_vec(), 5), (b"p:a:2".to_vec(), 4), (b"p:a:9".to_vec(), 9)];
    let reading = whole(&mut reader_of(&redis, FAST, yaml, None)).await.expect("it is whole");
    assert_eq!(reading.rows, Some(Rows::of(3, &[Some("a"), Some("3"), Some("1")])));
    assert_eq!(reading.scan.map(|scan| scan.commands), Some(5), "two DBSIZE, two SCAN, one MGET");
}

#[tokio::test]
async fn names_are_waited_for_but_not_for_ever() {
    let yaml = "{match: 'p:*', families: [{pattern: 'p:{tenant}:{user}', lookup: {tenant: tenants}}]}";
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"]], 5000));
    let names = Arc::new(Names::default());
    let mut reader = reader_of(&redis, FAST, yaml, Some(&names));
    for now in [NOW, NOW + NAMES_PATIENCE - 1] {
        let waiting = reader.read(now).await.expect("nothing fails");
        assert_eq!((waiting.rows, waiting.more_after), (None, Some(NAMES_PACE)));
    }
    assert_eq!(redis.spend.total(), 0, "nothing is asked meanwhile");
    let hashed = reader.read(NOW + NAMES_PATIENCE).await.expect("nothing fails").rows.expect("a result");
    assert!(hashed.row(0).cell(0).is_some_and(|name| name.starts_with('#')));
    names.replace(&Rows::of(2, &[Some("a"), Some("acme")]));
    assert_eq!(whole(&mut reader).await.expect("it is whole").rows, rows(&[("acme", "1")]));
}

#[tokio::test]
async fn a_cursor_that_never_comes_back_is_a_failure() {
    let redis = Arc::new(Scripted::of_pages(&vec![&["p:a:1"][..]; 10_100], 1000));
    let mut reader = reader(&redis, KeysSettings { per_second: u32::MAX, ..FAST });
    let failure = loop {
        match reader.read(NOW).await {
            Ok(reading) => assert_eq!(reading.rows, None, "it cannot be whole"),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.reason, Reason::BadReply);
}

#[tokio::test]
async fn an_examination_is_bounded_and_tells_the_cost() {
    let redis = Arc::new(Scripted::of_pages(&vec![&["p:a:1", "p:b:2"][..]; 5000], 1_000_000));
    let found = reader(&redis, FAST).examine(NOW).await.expect("nothing fails");
    assert!(redis.spend.total() <= SAMPLE_COMMANDS, "{}", redis.spend.total());
    assert_eq!((found.sample.len(), found.rows_estimate), (2, Some(1_000_000)));
    let facts = found.facts.join("\n");
    assert!(facts.contains("1003 commands a scan") && facts.contains("1444320 commands a day"), "{facts}");
}

#[tokio::test]
async fn a_scan_that_was_held_up_begins_anew() {
    let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"]], 5000));
    let mut reader = reader(&redis, KeysSettings { per_second: 10, ..FAST });
    assert_eq!(reader.read(NOW).await.expect("nothing fails").rows, None);
    // The budget was spent, or the gate closed: who was online then has gone, and others came.
    *redis.pages.lock().expect("ours") = vec![vec![b"p:a:3".to_vec(), b"p:a:5".to_vec()], vec![b"p:b:4".to_vec()]];
    let mut now = NOW + LONGEST_HOLD_UP;
    assert_eq!(reader.read(now).await.expect("that long is not too long").rows, None);
    now += LONGEST_HOLD_UP + 1;
    let reading = loop {
        let reading = reader.read(now).await.expect("the second try is whole");
        if reading.rows.is_some() {
            break reading;
        }
        now += 1;
    };
    assert_eq!(reading.rows, rows(&[("a", "2"), ("b", "1")]), "nobody of the first try");
    // One that is held up each time never comes to an end.
    let redis = Arc::new(Scripted::of_pages(&vec![&["p:a:1"][..]; 50], 5000));
    let mut reader = self::reader(&redis, KeysSettings { per_second: 10, ..FAST });
    let mut parts = 0;
    let failure = loop {
        now += LONGEST_HOLD_UP + 1;
        parts += 1;
        match reader.read(now).await {
            Ok(reading) => assert_eq!(reading.rows, None),
            Err(failure) => break failure,
        }
        assert!(parts < 20, "it tells");
    };
    assert!(failure.message.contains("budget.per_day"), "{failure}");
}

#[tokio::test]
async fn a_scan_that_takes_long_says_so() {
    for (pause, tells) in [(LONG_SCAN / 4, false), (LONG_SCAN / 3, true)] {
        let redis = Arc::new(Scripted::of_pages(&[&["p:a:1"], &["p:a:2"], &["p:a:3"]], 5000));
        let mut reader = reader(&redis, KeysSettings { per_second: 10, ..FAST });
        let mut now = NOW;
        let reading = loop {
            let reading = reader.read(now).await.expect("nothing fails");
            if reading.rows.is_some() {
                break reading;
            }
            now += pause;
        };
        assert_eq!(reading.note.is_some_and(|note| note.contains("budget.per_second")), tells);
    }
}
