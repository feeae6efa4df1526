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
    assert_eq!((runs.open(), runs.due(LOST_AFTER + 19)), (0, vec![]));
    runs.take_changes();
    assert_eq!(runs.next_due(), Some(LOST_AFTER + 20));
    runs.due(LOST_AFTER + 20);
    assert_eq!(runs.take_changes(), RunChanges { written: vec![], removed: vec![(LOST_AFTER + 20, id(1))] });
}

#[test]
fn a_run_that_never_ends_is_lost_once() {
    let mut runs = runs(true);
    runs.begin(id(1), cells("start"), Some(5), 10);
    assert_eq!(runs.due(LOST_AFTER + 9), vec![]);
    assert_eq!(runs.due(LOST_AFTER + 10), [Due::Lost(cells("start"), Some(5))]);
    assert_eq!((runs.due(LOST_AFTER + 11), runs.open()), (vec![], 0));
    assert_eq!(end(&mut runs, 1, LOST_AFTER + 12), Ended::Over, "it was told as lost");
}

#[test]
fn an_end_that_overtakes_its_beginning_waits_for_it() {
    let mut runs = runs(true);
    assert_eq!(end(&mut runs, 1, 10), Ended::Waits);
    assert_eq!(runs.open(), 0);
    assert_eq!(runs.begin(id(1), cells("start"), Some(5), 11), Begun::Ended(cells("end"), Some(10)));
    assert_eq!(end(&mut runs, 2, 10), Ended::Waits);
    assert_eq!(runs.due(10 + WAIT_FOR_BEGINNING), [Due::Alone(cells("end"), Some(10))]);
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
    let written: Vec<_> = runs.take_changes().written.into_iter().map(|((_, id), body)| (id, body)).collect();
    assert_eq!(runs.take_changes(), RunChanges::default());
    let mut again = Runs::new(LOST_AFTER, 3, true);
    again.restore(written.clone(), 1, 1000).expect("it is what was written");
    assert_eq!(again.take_changes(), RunChanges::default(), "nothing changed");
    assert_eq!(again.open(), 1);
    assert_eq!(end(&mut again, 2, 1001), Ended::Over);
    assert_eq!(again.due(999 + WAIT_FOR_BEGINNING), [], "nobody listened meanwhile");
    assert_eq!(again.due(LOST_AFTER + 999), [Due::Alone(cells("end"), Some(30))]);
    assert_eq!(again.due(LOST_AFTER + 1000), [Due::Lost(cells("start"), Some(5))]);
    let mut other = Runs::new(LOST_AFTER, 3, true);
    other.restore(written, 2, 1000).expect("other columns are no error");
    assert_eq!(end(&mut other, 1, 1001), Ended::Joined(vec![None, None], Some(5)));
    assert!(again.restore(vec![(id(9), "{".into())], 1, 0).is_err());
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
    let stored = file.iter().map(|((_, id), body)| (*id, body.clone())).collect();
    let mut again = Runs::new(LOST_AFTER, 3, true);
    again.restore(stored, 1, 1000).expect("it is what was written");
    end(&mut again, 2, 1001);
    apply(&mut file, again.take_changes());
    stands(&file, &again);
    while let Some(due) = again.next_due() {
        again.due(due);
        apply(&mut file, again.take_changes());
        stands(&file, &again);
    }
    assert!(file.is_empty());
}
