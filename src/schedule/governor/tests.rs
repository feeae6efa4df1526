//! A day in the life of a source, played through in no time: who reads when, and what it costs.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A time at which the application writes, or not.
type Busy = fn(Duration) -> bool;

/// Of one collector.
struct Reader {
    name: String,
    interval: Duration,
    cost: u64,
    reads_rows: bool,
    wish: Wish,
    next: Duration,
    counted_until: Duration,
}

/// One query, as the database sees it.
#[derive(Debug, Clone, Copy)]
struct Query {
    at: Duration,
    cost: u64,
}

struct Play {
    governor: Governor,
    readers: Vec<Reader>,
    busy: Busy,
    /// Whether the database answers.
    answers: Busy,
    queries: Vec<Query>,
    /// Minutes in which the application wrote a row, that were counted.
    counted: u64,
    /// Who ran when, by their place in the list.
    runs: Vec<(Duration, usize)>,
}

impl Play {
    fn of(terms: Terms, readers: &[(Duration, u64, bool)], busy: Busy) -> Play {
        let readers = readers.iter().enumerate().map(|(number, (interval, cost, reads_rows))| Reader {
            name: number.to_string(),
            interval: *interval,
            cost: *cost,
            reads_rows: *reads_rows,
            wish: Wish { since: Duration::ZERO, pause: Duration::ZERO, going_on: false, round: 0 },
            next: Duration::ZERO,
            counted_until: Duration::ZERO,
        });
        let readers = readers.collect();
        Play {
            governor: Governor::new(terms),
            readers,
            busy,
            answers: |_| true,
            queries: Vec::new(),
            counted: 0,
            runs: Vec::new(),
        }
    }

    /// Rows that the application wrote from one moment to another: one at the beginning of each busy minute.
    fn written(&self, from: Duration, until: Duration) -> u64 {
        let minutes = |at: Duration| at.as_secs().div_ceil(60);
        (minutes(from)..minutes(until)).filter(|minute| (self.busy)(MINUTE * *minute as u32)).count() as u64
    }

    fn play(&mut self, until: Duration) {
        // A jitter that is the same each time.
        let mut random = fastrand::Rng::with_seed(1);
        loop {
            let index =
                (0..self.readers.len()).min_by_key(|index| self.readers[*index].next).expect("there are readers");
            let now = self.readers[index].next;
            if now >= until {
                return;
            }
            let wish = self.readers[index].wish;
            let round = match self.governor.admit(now, wish) {
                Admission::At(at) => {
                    assert!(at > now, "nobody spins: {at:?} at {now:?}");
                    self.readers[index].next = at;
                    continue;
                }
                Admission::Now(round) => round,
            };
            let took = Duration::from_millis(50);
            let cost = self.readers[index].cost;
            self.queries.push(Query { at: now, cost });
            self.governor.queried(now, now + took, cost);
            self.governor.done(cost);
            self.runs.push((now, index));
            let answers = (self.answers)(now);
            let reader = &self.readers[index];
            let rows = match (answers, reader.reads_rows) {
                (true, true) => Some(self.written(reader.counted_until, now)),
                (true, false) => Some(7),
                (false, _) => None,
            };
            let base = if answers { reader.interval } else { reader.interval.min(SECOND * 5) };
            let pause = base.mul_f64(0.95 + random.f64() / 10.0);
            let reader = &mut self.readers[index];
            if let (Some(rows), true) = (rows, reader.reads_rows) {
                self.counted += rows;
                reader.counted_until = now;
            }
            reader.wish = Wish { since: now + took, pause, going_on: false, round };
            reader.next = now + took;
            let (who, reads_rows) = (reader.name.clone(), reader.reads_rows);
            let ran = Ran { who: &who, reads_rows, rows, more: false, cost, pause };
            if self.governor.ran(now + took, ran) {
                // As those who sleep are told, each asks again.
                self.readers.iter_mut().for_each(|reader| reader.next = reader.next.min(now + took).max(now));
            }
        }
    }

    /// Queries from one moment to another, as bursts that lie further apart than the database's time to suspend.
    fn bursts(&self, from: Duration, until: Duration, suspends_after: Duration) -> Vec<(Duration, Duration)> {
        let mut bursts: Vec<(Duration, Duration)> = Vec::new();
        for query in self.queries.iter().filter(|query| (from..until).contains(&query.at)) {
            match bursts.last_mut() {
                Some((_, end)) if query.at - *end <= suspends_after => *end = query.at,
                _ => bursts.push((query.at, query.at)),
            }
        }
        bursts
    }

    /// The most that was sent in any 24 hours.
    fn most_in_a_day(&self) -> u64 {
        let mut most = 0;
        let mut sum = 0;
        let mut first = 0;
        for query in &self.queries {
            sum += query.cost;
            while query.at - self.queries[first].at >= WINDOW {
                sum -= self.queries[first].cost;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

fn terms(idle: Option<Idle>, budget: Budget) -> Terms {
    Terms { interval: MINUTE, idle, budget, reserve: 20 }
}

/// Rows, snapshots and look-ups of an application, each with what a run costs.
const USUAL: [(Duration, u64, bool); 8] = [
    (MINUTE, 4, true),
    (MINUTE, 4, true),
    (MINUTE, 4, true),
    (MINUTE, 3, false),
    (MINUTE, 3, false),
    (Duration::from_secs(300), 3, false),
    (Duration::from_secs(300), 3, false),
    (Duration::from_secs(3600), 3, false),
];

/// From nine to five, but for nine hours of the first night.
fn until_the_morning(at: Duration) -> bool {
    at < HOUR * 2 || (HOUR * 11..HOUR * 13).contains(&at)
}

#[test]
fn in_a_quiet_night_the_database_suspends_and_no_row_is_lost() {
    let idle = Idle::default();
    let mut play = Play::of(terms(Some(idle), Budget::default()), &USUAL, until_the_morning);
    play.play(HOUR * 13);
    let night = play.bursts(HOUR * 2 + idle.after + MINUTE, HOUR * 11, idle.suspends_after);
    assert!(night.len() >= 9, "it is looked at each hour: {night:?}");
    for (began, ended) in &night {
        assert!(*ended - *began < SECOND * 30, "a burst is short: {began:?} to {ended:?}");
    }
    let mut gaps = Vec::new();
    for pair in night.windows(2) {
        gaps.push(pair[1].0 - pair[0].1);
    }
    assert!(gaps.iter().all(|gap| *gap > idle.suspends_after), "it can suspend: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= idle.interval + SECOND), "no row waits longer: {gaps:?}");
    assert!(gaps.iter().rev().take(4).all(|gap| *gap > MINUTE * 55), "rounds grow: {gaps:?}");
    let awake: Duration = night.iter().map(|(began, ended)| *ended - *began + idle.suspends_after).sum();
    assert!(awake < HOUR * 9 / 5, "awake for {awake:?} of nine hours");
    // Nothing is lost, and the morning is read as usual.
    let rows = 3 * play.written(Duration::ZERO, HOUR * 13 - MINUTE * 2);
    assert!((rows..=rows + 6).contains(&play.counted), "{} of {rows}", play.counted);
    let noon = play.queries.iter().filter(|query| (HOUR * 12..HOUR * 12 + MINUTE * 10).contains(&query.at)).count();
    assert!(noon >= 5 * 9, "{noon} queries in ten minutes of the day");
}

#[test]
fn every_collector_has_its_part_in_the_rounds() {
    let idle = Idle::default();
    let mut play = Play::of(terms(Some(idle), Budget::default()), &USUAL, |_| false);
    play.play(HOUR * 40);
    let runs = |index: usize| play.runs.iter().filter(|(at, of)| *of == index && *at > HOUR * 10).count();
    for index in 0..USUAL.len() {
        assert!((28..=31).contains(&runs(index)), "{index}: {} runs in 30 rounds", runs(index));
    }
}

#[test]
fn a_row_in_the_night_brings_everybody_back_to_the_usual() {
    let idle = Idle::default();
    // One row at six hours.
    let mut play = Play::of(terms(Some(idle), Budget::default()), &USUAL, |at| at == HOUR * 6);
    play.play(HOUR * 9);
    let rounds: Vec<Duration> = play.runs.iter().filter(|(_, of)| *of == 0).map(|(at, _)| *at).collect();
    let found = *rounds.iter().find(|at| **at > HOUR * 6).expect("a round follows");
    for index in 0..5 {
        let after =
            play.runs.iter().filter(|(at, of)| *of == index && *at > found + SECOND && *at < found + idle.after);
        let after = after.count();
        assert!((13..=15).contains(&after), "{index}: {after} runs in the quarter of an hour after the row");
    }
    let later = play.bursts(found + idle.after + MINUTE, HOUR * 9, idle.suspends_after);
    assert!(later.len() <= 4, "and then it is quiet again: {later:?}");
}

#[test]
fn a_database_that_fails_in_the_night_is_not_hammered() {
    let idle = Idle::default();
    let mut play = Play::of(terms(Some(idle), Budget::default()), &USUAL, |_| false);
    play.answers = |at| !(HOUR * 3..HOUR * 6).contains(&at);
    play.play(HOUR * 8);
    let failing = play.bursts(HOUR * 3, HOUR * 6, idle.suspends_after);
    assert!(failing.len() <= 4, "{failing:?}");
    // From the beginning on nothing answers: soon it is tried in rounds.
    let mut play = Play::of(terms(Some(idle), Budget::default()), &USUAL, |_| false);
    play.answers = |_| false;
    play.play(HOUR * 8);
    let failing = play.bursts(HOUR, HOUR * 8, idle.suspends_after);
    assert!((30..=43).contains(&failing.len()), "every ten minutes: {}", failing.len());
    assert!(failing.iter().all(|(began, ended)| *ended - *began < SECOND * 30), "{failing:?}");
}

#[test]
fn a_budget_is_never_exceeded_and_never_stops_the_reading() {
    for limit in [500, 3000, 20_000] {
        let budget = Budget { per_day: Some(limit), ..Budget::default() };
        let busy: Busy = |_| true;
        let mut readers = USUAL.to_vec();
        readers.extend([(MINUTE, 5, true); 12]);
        let mut play = Play::of(terms(None, budget), &readers, busy);
        play.play(HOUR * 72);
        let most = play.most_in_a_day();
        assert!(most <= limit, "{most} of {limit}");
        assert!(most * 10 >= limit * 8, "it is used: {most} of {limit}");
        // All stretch alike: who reads each minute reads as often as the others who do.
        let runs = |index: usize| play.runs.iter().filter(|(_, of)| *of == index).count();
        assert!(runs(0) * 10 >= runs(3) * 9 && runs(3) * 10 >= runs(0) * 9, "{} and {}", runs(0), runs(3));
        let longest = play.queries.windows(2).map(|pair| pair[1].at - pair[0].at).max().expect("there are queries");
        assert!(longest < HOUR * 6, "nothing was read for {longest:?} at {limit}");
    }
}

#[test]
fn a_budget_that_suffices_changes_nothing() {
    let budget = Budget { per_day: Some(100_000), ..Budget::default() };
    let count = |budget| {
        let mut play = Play::of(terms(None, budget), &USUAL, |_| true);
        play.play(HOUR * 48);
        play.queries.len()
    };
    assert_eq!(count(budget), count(Budget::default()));
}

#[test]
fn a_spent_budget_waits_until_the_oldest_hour_comes_back() {
    let budget = Budget { per_day: Some(100), ..Budget::default() };
    let mut governor = Governor::new(terms(None, budget));
    let wish = Wish { since: Duration::ZERO, pause: Duration::ZERO, going_on: true, round: 0 };
    let mut now = MINUTE;
    let mut admitted = 0;
    while admitted < 100 && governor.admit(now, wish) == Admission::Now(0) {
        governor.queried(now, now, 20);
        governor.done(20);
        admitted += 1;
        now += SECOND;
    }
    assert_eq!(admitted, 5, "the whole of it can be used");
    assert!(governor.is_exhausted(now));
    assert_eq!(governor.admit(now, wish), Admission::At(HOUR * 25));
    assert!(!governor.is_exhausted(HOUR * 25));
    assert_eq!(governor.admit(HOUR * 25, wish), Admission::Now(0));
}

#[test]
fn runs_that_are_under_way_cannot_spend_what_others_were_promised() {
    let budget = Budget { per_day: Some(42), ..Budget::default() };
    let mut governor = Governor::new(terms(None, budget));
    let wish = Wish { since: Duration::ZERO, pause: Duration::ZERO, going_on: false, round: 0 };
    assert_eq!(governor.admit(SECOND, wish), Admission::Now(0));
    assert_eq!(governor.admit(SECOND, wish), Admission::Now(0));
    assert!(matches!(governor.admit(SECOND, wish), Admission::At(_)), "three might take 60");
    assert!(!governor.is_exhausted(SECOND), "nothing was spent yet");
    governor.queried(SECOND, SECOND, 3);
    assert!(governor.done(3), "somebody waits for what was not needed");
    assert_eq!(governor.admit(SECOND * 2, wish), Admission::At(HOUR * 25), "3 were sent, and two may take 40");
    assert!(governor.done(0));
    assert_eq!(governor.admit(SECOND * 2, wish), Admission::Now(0));
}

#[test]
fn time_awake_is_limited_by_rounds() {
    for hours in [2, 6, 12] {
        let limit = HOUR * hours;
        let budget = Budget { awake_per_day: Some(limit), ..Budget::default() };
        let mut play = Play::of(terms(None, budget), &USUAL, |_| true);
        play.play(HOUR * 72);
        let suspends_after = Idle::default().suspends_after;
        for from in 0..48 {
            let bursts = play.bursts(HOUR * from, HOUR * (from + 24), suspends_after);
            let awake: Duration = bursts.iter().map(|(began, ended)| *ended - *began + suspends_after).sum();
            assert!(awake <= limit, "awake for {awake:?} of {limit:?} in the day from hour {from}");
            assert!(awake * 10 >= limit * 8, "it is used: awake for {awake:?} of {limit:?} from hour {from}");
        }
        assert!(!play.governor.is_quiet(), "it is not the application that is quiet");
    }
}

#[test]
fn a_busy_day_may_use_what_a_quiet_night_saved() {
    let idle = Idle { after: MINUTE * 15, ..Idle::default() };
    // Ten hours busy, fourteen quiet.
    let busy: Busy = |at| at.as_secs() % 86_400 < 36_000;
    let demand = 3 * 4 + 2 * 3;
    let budget = Budget { per_day: Some(demand * 60 * 13), ..Budget::default() };
    let mut play = Play::of(terms(Some(idle), budget), &USUAL, busy);
    play.play(HOUR * 72);
    assert!(play.most_in_a_day() <= demand * 60 * 13);
    let third_day = play.runs.iter().filter(|(at, of)| *of == 0 && (HOUR * 49..HOUR * 57).contains(at)).count();
    assert!(third_day > 8 * 50, "{third_day} runs in eight busy hours, of 480");
}

#[test]
fn time_awake_is_estimated_from_the_gaps() {
    let mut governor = Governor::new(terms(None, Budget::default()));
    governor.queried(MINUTE, MINUTE + SECOND, 4);
    governor.queried(MINUTE * 2, MINUTE * 2, 4);
    governor.queried(HOUR, HOUR, 0);
    governor.queried(HOUR, HOUR, 1);
    assert_eq!(governor.awake_total(), SECOND + SECOND * 59 + MINUTE * 5);
    assert_eq!(governor.awake(HOUR + MINUTE * 2), 60.0 + 300.0 + 120.0, "and it is awake now");
    assert_eq!(governor.statements(HOUR), 9.0);
}

#[test]
fn what_is_behind_goes_on_and_keeps_the_application_awake() {
    let idle = Idle { after: MINUTE, ..Idle::default() };
    let mut governor = Governor::new(terms(Some(idle), Budget::default()));
    let wish = Wish { since: Duration::ZERO, pause: Duration::ZERO, going_on: false, round: 0 };
    let ran = |rows, more| Ran { who: "a", reads_rows: true, rows: Some(rows), more, cost: 4, pause: MINUTE };
    governor.queried(MINUTE * 2, MINUTE * 2, 4);
    assert!(governor.ran(MINUTE * 2, ran(0, false)), "quiet");
    assert!(matches!(governor.admit(MINUTE * 2, wish), Admission::At(at) if at >= MINUTE * 12));
    assert!(matches!(governor.admit(MINUTE * 12, wish), Admission::Now(_)));
    governor.done(4);
    assert!(!governor.ran(MINUTE * 12, ran(0, true)), "a page of rows that were seen says nothing");
    assert!(matches!(governor.admit(MINUTE * 13, Wish { going_on: true, ..wish }), Admission::Now(_)));
    governor.done(4);
    assert!(governor.ran(MINUTE * 13, ran(5, true)), "awake");
    assert!(!governor.ran(MINUTE * 20, ran(0, true)), "a collector that is behind is not quiet");
    assert!(!governor.is_quiet());
}

#[test]
fn a_round_waits_until_the_database_has_suspended() {
    // Rounds hardly longer than the time to suspend, and a read that takes a while.
    let idle = Idle { after: MINUTE, interval: MINUTE * 5 + SECOND * 10, suspends_after: MINUTE * 5 };
    let mut governor = Governor::new(terms(Some(idle), Budget::default()));
    let ran = Ran { who: "a", reads_rows: true, rows: Some(0), more: false, cost: 4, pause: MINUTE };
    governor.queried(MINUTE, MINUTE, 4);
    assert!(governor.ran(MINUTE, ran), "quiet");
    let wish = |since, round| Wish { since, pause: MINUTE, going_on: false, round };
    let mut now = MINUTE * 7;
    let Admission::Now(round) = governor.admit(now, wish(MINUTE, 0)) else { panic!("a round is due") };
    governor.queried(now, now + MINUTE, 4);
    governor.done(4);
    now += MINUTE;
    governor.ran(now, ran);
    assert_eq!(governor.admit(now, wish(now, round)), Admission::At(now + MINUTE * 5 + SECOND * 30));
}
