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
    assert_eq!(runs.take_changes(), RunChanges { written: vec![], removed: vec![id(1)] });
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
    let written = runs.take_changes().written;
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
