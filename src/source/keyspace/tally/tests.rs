use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: Micros = 1_767_225_600_000_000;

const BOUNDS: Bounds = Bounds { keys: 1000, groups: 100 };

fn keys(yaml: &str) -> pack::Keys {
    serde_saphyr::from_str(yaml).expect("the test's own YAML")
}

fn plan(yaml: &str, columns: &[&str]) -> Plan {
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    Plan::new(&keys(yaml), &columns, &|_| None).expect("the patterns are good")
}

fn counted(plan: &Plan, names: &[&str]) -> Vec<Vec<Option<String>>> {
    let mut tally = Tally::new(plan, BOUNDS, NOW);
    for name in names {
        tally.add(plan, name.as_bytes());
    }
    assert_eq!(tally.overflowed(), None);
    cells(&tally.rows(plan))
}

fn cells(rows: &Rows) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|row| (0..rows.width()).map(|cell| row.cell(cell).map(str::to_owned)).collect()).collect()
}

fn row(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|cell| (!cell.is_empty()).then(|| (*cell).to_owned())).collect()
}

const PRESENCE: &str = "{match: 'p:*', families: [{pattern: 'p:{tenant}:{user}'}]}";

#[test]
fn a_key_counts_once_however_often_it_comes() {
    let plan = plan(PRESENCE, &["tenant", "keys"]);
    let found = counted(&plan, &["p:a:1", "p:a:2", "p:b:1", "p:a:1", "p:a:1", "other", "p:a:1:x"]);
    assert_eq!(found, [row(&["a", "2"]), row(&["b", "1"])]);
}

#[test]
fn without_labels_nothing_found_is_0() {
    assert_eq!(counted(&plan(PRESENCE, &["keys"]), &[]), [row(&["0"])]);
    assert_eq!(counted(&plan(PRESENCE, &["keys"]), &["p:a:1", "p:b:1"]), [row(&["2"])]);
    assert_eq!(counted(&plan(PRESENCE, &["tenant", "keys"]), &[]), Vec::<Vec<_>>::new());
}

#[test]
fn kinds_known_beforehand_are_0_and_the_first_that_fits_has_the_key() {
    let yaml = "{match: '*', families: [{pattern: 'a:{x}', set: {family: one}}, {pattern: 'a:{x*}', set: {family: two}}, \
                {pattern: '{org}/{x}'}]}";
    let plan = plan(yaml, &["keys", "family", "org"]);
    let found = counted(&plan, &["a:1", "a:2", "a:1:2", "o/1"]);
    assert_eq!(found, [row(&["1", "", "o"]), row(&["2", "one", ""]), row(&["1", "two", ""])]);
    let none = counted(&plan, &[]);
    assert_eq!(none, [row(&["0", "one", ""]), row(&["0", "two", ""])]);
}

const LIMITED: &str = "{match: 'rl:*', families: [\
    {pattern: 'rl:ai:{id*}:{bucket}', set: {limiter: ai}, bucket: {capture: bucket, window: 1h}, limit: 30}, \
    {pattern: 'rl:login:{id*}:{bucket}', set: {limiter: login}, bucket: {capture: bucket, window: 15m}}]}";

#[test]
fn only_the_window_in_force_counts() {
    let plan = plan(LIMITED, &["limiter", "keys"]);
    let hour = NOW / 3_600_000_000;
    let quarter = NOW / 900_000_000;
    let names: Vec<String> = vec![
        format!("rl:ai:u1:{hour}"),
        format!("rl:ai:u1:{}", hour - 1),
        format!("rl:ai:u2:{}", hour + 1),
        format!("rl:ai:u2:0{hour}"),
        format!("rl:ai:u2:{hour}x"),
        format!("rl:login:a:b@c.d:{quarter}"),
        format!("rl:login:e@c.d:{hour}"),
    ];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(counted(&plan, &names), [row(&["ai", "1"]), row(&["login", "1"])]);
}

#[test]
fn windows_are_numbered_as_rate_limiters_do() {
    assert_eq!(bucket_number(NOW, 3_600_000), "490896");
    assert_eq!(bucket_number(NOW + 3_599_999_999, 3_600_000), "490896");
    assert_eq!(bucket_number(NOW + 3_600_000_000, 3_600_000), "490897");
    assert_eq!(bucket_number(999, 1), "0", "a part of a millisecond is none");
    assert_eq!(bucket_number(-1, 1000), "-1");
}

#[test]
fn keys_at_their_limit_are_told_by_their_values() {
    let plan = plan(LIMITED, &["limiter", "keys", "at_limit"]);
    let mut tally = Tally::new(&plan, BOUNDS, NOW);
    let hour = NOW / 3_600_000_000;
    for user in 0..5 {
        tally.add(&plan, format!("rl:ai:u{user}:{hour}").as_bytes());
    }
    tally.add(&plan, format!("rl:login:x:{}", NOW / 900_000_000).as_bytes());
    assert_eq!(tally.unread(), 5, "only kinds with a limit are read");
    let (groups, names) = tally.take_unread(3);
    assert_eq!((names.len(), tally.unread()), (3, 2));
    for (group, value) in groups.into_iter().zip([Some(30), Some(29), Some(31)]) {
        tally.value(&plan, group, value);
    }
    for group in tally.take_unread(3).0 {
        tally.value(&plan, group, None);
    }
    assert_eq!(cells(&tally.rows(&plan)), [row(&["ai", "5", "2"]), row(&["login", "1", ""])]);
}

#[test]
fn what_is_beyond_the_bounds_is_no_result() {
    let plan = plan(PRESENCE, &["tenant", "keys"]);
    let mut tally = Tally::new(&plan, Bounds { keys: 2, groups: 100 }, NOW);
    for name in ["p:a:1", "p:a:2", "p:a:1", "p:a:2"] {
        tally.add(&plan, name.as_bytes());
        assert_eq!(tally.overflowed(), None);
    }
    tally.add(&plan, b"p:a:3");
    assert!(tally.overflowed().is_some());
    let mut tally = Tally::new(&plan, Bounds { keys: 100, groups: 2 }, NOW);
    for name in ["p:a:1", "p:b:1", "p:c:1"] {
        tally.add(&plan, name.as_bytes());
    }
    assert!(tally.overflowed().is_some());
}

#[test]
fn ids_leave_as_names_or_hashes() {
    let yaml = "{match: 'p:*', families: [{pattern: 'p:{tenant}:{user}', lookup: {tenant: tenants}}]}";
    let columns = ["tenant".to_owned(), "keys".to_owned()];
    let names = Arc::new(Names::default());
    let known = names.clone();
    let plan = Plan::new(&keys(yaml), &columns, &move |lookup| (lookup == "tenants").then(|| known.clone()));
    let plan = plan.expect("the pattern is good");
    assert!(plan.waits_for_names());
    names.replace(&Rows::of(2, &[Some("t1"), Some("acme"), Some("t2"), Some("acme")]));
    assert!(!plan.waits_for_names());
    let found = counted(&plan, &["p:t1:1", "p:t2:1", "p:t3:1"]);
    assert_eq!(found, [vec![Some(hashed("t3")), Some("1".into())], row(&["acme", "2"])], "one name, one row");
    let alone = Plan::new(&keys(yaml), &columns, &|_| None).expect("the pattern is good");
    assert!(!alone.waits_for_names());
    assert_eq!(counted(&alone, &["p:t1:1"]), [vec![Some(hashed("t1")), Some("1".into())]]);
}

#[test]
fn names_that_are_no_text_stay_different_and_texts_are_kept_apart() {
    let plan = plan("{match: '*', families: [{pattern: '{a}:{b*}'}]}", &["a", "b", "keys"]);
    let mut tally = Tally::new(&plan, BOUNDS, NOW);
    for name in [&b"x:\xff"[..], b"x:\xfe", b"1:1:1", b"1:11", b"11:1"] {
        tally.add(&plan, name);
    }
    let found = cells(&tally.rows(&plan));
    assert_eq!(
        found,
        [row(&["1", "11", "1"]), row(&["1", "1:1", "1"]), row(&["11", "1", "1"]), row(&["x", "\u{fffd}", "2"])]
    );
    let long = format!("x:{}é", "y".repeat(CAPTURE_BYTES - 1));
    assert_eq!(counted(&plan, &[&long])[0][1].as_deref().map(str::len), Some(CAPTURE_BYTES - 1));
}
