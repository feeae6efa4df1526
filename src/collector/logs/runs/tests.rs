use std::collections::{BTreeMap, BTreeSet};

use super::*;

const LOST_AFTER: Micros = 100_000_000;

fn runs(joins: bool) -> Runs {
    Runs::new(LOST_AFTER, 3, joins)
}

fn id(number: u128) -> KeyHash {
    KeyHash(number)
}

fn cells(text: &str) -> Cells {
    vec![Some(text.into())]
}

fn end(runs: &mut Runs, number: u128, now: Micros) -> Ended {
    runs.end(id(number), || cells("end"), Some(now), now)
}

#[test]
fn a_run_begins_ends_and_is_over() {
    let mut runs = runs(false);
    assert_eq!(runs.begin(id(1), cells("start"), Some(5), 10), Begun::Open);
    assert_eq!(runs.begin(id(1), cells("again"), Some(6), 11), Begun::Known);
    assert_eq!(runs.open(), 1);
    assert_eq!(end(&mut runs, 1, 20), Ended::Joined(cells("start"), Some(5)));
    assert_eq!(end(&mut runs, 1, 21), Ended::Over);
    assert_eq!(runs.begin(id(1), cells("late"), Some(5), 22), Begun::Known, "it has ended");
    assert_eq!((runs.open(), runs.due(10, LOST_AFTER + 19)), (0, vec![]));
    runs.take_changes();
    assert_eq!(runs.next_due(), Some(LOST_AFTER + 20));
    runs.due(10, LOST_AFTER + 20);
    assert_eq!(runs.take_changes(), RunChanges { written: vec![], removed: vec![(LOST_AFTER + 20, id(1))] });
}

#[test]
fn a_run_that_never_ends_is_lost_once() {
    let mut runs = runs(true);
    runs.begin(id(1), cells("start"), Some(5), 10);
    assert_eq!(runs.due(10, LOST_AFTER + 9), vec![]);
    assert_eq!(runs.due(10, LOST_AFTER + 10), [Due::Lost(cells("start"), Some(5))]);
    assert_eq!((runs.due(10, LOST_AFTER + 11), runs.open()), (vec![], 0));
    assert_eq!(end(&mut runs, 1, LOST_AFTER + 12), Ended::Over, "it was told as lost");
}

#[test]
fn an_end_that_overtakes_its_beginning_waits_for_it() {
    let mut runs = runs(true);
    assert_eq!(end(&mut runs, 1, 10), Ended::Waits);
    assert_eq!(runs.open(), 0);
    assert_eq!(runs.begin(id(1), cells("start"), Some(5), 11), Begun::Ended(cells("end"), Some(10)));
    assert_eq!(end(&mut runs, 2, 10), Ended::Waits);
    assert_eq!(runs.due(10, 10 + WAIT_FOR_BEGINNING), [Due::Alone(cells("end"), Some(10))]);
    assert_eq!(runs.begin(id(2), cells("start"), Some(5), 12), Begun::Known);
}

#[test]
fn the_bound_costs_those_that_are_over_first() {
    let mut runs = runs(false);
    end(&mut runs, 1, 1);
    end(&mut runs, 2, 2);
    for number in 3..6 {
        assert_eq!(runs.begin(id(number), cells("start"), None, 3), Begun::Open);
    }
    assert_eq!(runs.begin(id(6), cells("start"), None, 3), Begun::Full);
    assert_eq!(end(&mut runs, 7, 4), Ended::Alone, "an end counts though it finds no room");
    assert_eq!(runs.open(), 3);
}

#[test]
fn what_is_written_comes_back() {
    let mut runs = runs(true);
    runs.begin(id(1), cells("start"), Some(5), 10);
    runs.begin(id(2), cells("start"), Some(5), 10);
    end(&mut runs, 2, 20);
    end(&mut runs, 3, 30);
    let written = stored(&mut runs);
    assert_eq!(runs.take_changes(), RunChanges::default());
    let columns = ["id".to_owned()];
    let mut again = Runs::new(LOST_AFTER, 3, true);
    again.restore(written.clone(), &columns, &columns, 1000).expect("it is what was written");
    assert_eq!(again.take_changes(), RunChanges::default(), "nothing changed");
    assert_eq!(again.open(), 1);
    assert_eq!(end(&mut again, 2, 1001), Ended::Over);
    assert_eq!(again.due(10, 999 + WAIT_FOR_BEGINNING), [], "nobody listened meanwhile");
    assert_eq!(again.due(10, LOST_AFTER + 999), [Due::Alone(cells("end"), Some(30))]);
    assert_eq!(again.due(10, LOST_AFTER + 1000), [Due::Lost(cells("start"), Some(5))]);
    let mut other = Runs::new(LOST_AFTER, 3, true);
    other.restore(written, &columns, &["a", "b"].map(String::from), 1000).expect("other columns are no error");
    assert_eq!(end(&mut other, 1, 1001), Ended::Joined(vec![None, None], Some(5)));
    assert!(again.restore(vec![(id(9), "{".into())], &columns, &columns, 0).is_err());
}

#[test]
fn cells_go_with_their_columns_when_the_pack_asks_for_others() {
    let names = |names: [&str; 3]| names.map(String::from);
    let (before, after) = (names(["id", "agent", "model"]), names(["model", "id", "voice"]));
    let mut runs = runs(true);
    let row = |cells: [Option<&str>; 3]| cells.map(|cell| cell.map(String::from)).to_vec();
    runs.begin(id(1), row([Some("1"), Some("tutor"), Some("m")]), None, 10);
    let mut again = Runs::new(LOST_AFTER, 3, true);
    again.restore(stored(&mut runs), &before, &after, 20).expect("they are runs");
    // A start after this one reads them by the new columns.
    let written = stored(&mut again);
    let mut third = Runs::new(LOST_AFTER, 3, true);
    third.restore(written, &after, &after, 30).expect("they are runs");
    assert_eq!(end(&mut third, 1, 40), Ended::Joined(row([Some("m"), Some("1"), None]), None));
}

#[test]
fn a_clock_that_was_set_back_keeps_no_run_longer() {
    let mut before = runs(false);
    before.begin(id(1), cells("start"), None, 1_000 * LOST_AFTER);
    end(&mut before, 2, 1_000 * LOST_AFTER);
    let columns = ["id".to_owned()];
    let mut again = runs(false);
    again.restore(stored(&mut before), &columns, &columns, 5).expect("they are runs");
    assert_eq!(again.due(10, 5 + LOST_AFTER), [Due::Lost(cells("start"), None)]);
}

#[test]
fn no_more_than_asked_for_are_given_up_at_once() {
    let mut runs = runs(false);
    (1..4).for_each(|number| drop(runs.begin(id(number), cells("start"), None, 10)));
    assert_eq!((runs.due(2, 10 + LOST_AFTER).len(), runs.next_due()), (2, Some(10 + LOST_AFTER)));
    assert_eq!((runs.due(2, 10 + LOST_AFTER).len(), runs.due(2, 10 + LOST_AFTER).len()), (1, 0));
}

/// What is to be written, as it is read again.
fn stored(runs: &mut Runs) -> Vec<(KeyHash, String)> {
    runs.take_changes().written.into_iter().map(|((_, id), body)| (id, body)).collect()
}

/// What is written, as a file would hold it.
fn apply(file: &mut BTreeMap<RunKey, String>, changes: RunChanges) {
    for key in changes.removed {
        assert!(file.remove(&key).is_some(), "{key:?} is not there");
    }
    file.extend(changes.written);
}

#[test]
fn each_run_stands_once_in_what_is_written() {
    let mut runs = Runs::new(LOST_AFTER, 3, true);
    let mut file = BTreeMap::new();
    let stands = |file: &BTreeMap<RunKey, String>, runs: &Runs| {
        let known: BTreeSet<KeyHash> = runs.known.keys().copied().collect();
        assert_eq!(file.keys().map(|(_, id)| *id).collect::<Vec<_>>().len(), known.len(), "none twice");
        assert_eq!(file.keys().map(|(_, id)| *id).collect::<BTreeSet<_>>(), known);
    };
    runs.begin(id(1), cells("start"), Some(5), 10);
    runs.begin(id(2), cells("start"), Some(5), 11);
    apply(&mut file, runs.take_changes());
    stands(&file, &runs);
    // One that was written ends, one begins and ends between two writings, and the oldest makes room.
    end(&mut runs, 1, 20);
    runs.begin(id(3), cells("start"), Some(5), 21);
    end(&mut runs, 3, 22);
    end(&mut runs, 4, 23);
    apply(&mut file, runs.take_changes());
    stands(&file, &runs);
    assert!(!runs.known.contains_key(&id(1)), "there was no more room");
    // After a new start, who goes on has more time than what is written says.
    let held = file.iter().map(|((_, id), body)| (*id, body.clone())).collect();
    let columns = ["id".to_owned()];
    let mut again = Runs::new(LOST_AFTER, 3, true);
    again.restore(held, &columns, &columns, 1000).expect("it is what was written");
    end(&mut again, 2, 1001);
    apply(&mut file, again.take_changes());
    stands(&file, &again);
    while let Some(due) = again.next_due() {
        again.due(10, due);
        apply(&mut file, again.take_changes());
        stands(&file, &again);
    }
    assert!(file.is_empty());
}
