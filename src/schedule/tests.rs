//! The schedule with its real collectors and state, on a database that only remembers when it was asked. Time is tokio's,
//! and moves on only when everybody waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::*;
use crate::config::{Budget, Idle, Limits, Start, WebSettings};
use crate::family::{Micros, Value};
use crate::pack::System;
use crate::source::spend::{Spend, cost};
use crate::source::{
    CursorMode, Deletions, Examination, Moment, Rows, RowsPage, RowsQuery, RowsRange, SnapshotQuery, Source,
    WindowCount,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Real time that the others get to come to rest, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Timers go off at whole milliseconds.
const TICK: Duration = Duration::from_millis(2);

/// The longest step of the clock: what is due meanwhile is late by less.
const STEP: Duration = Duration::from_secs(20);

/// Turns that everybody gets after the collectors have come to rest.
const TURNS: usize = 50;

/// A database whose tables hold the same rows, or none.
#[derive(Default)]
struct Ward {
    spend: Spend,
    fails: AtomicBool,
    rows: Mutex<Vec<Micros>>,
    /// The only table that has them, unless all have.
    only: Mutex<Option<String>>,
    /// When it was asked, and by how many statements.
    asked: Mutex<Vec<(Instant, u64)>>,
}

impl Ward {
    fn ask(&self, statements: u64) -> Result<(), Failure> {
        self.spend.add(statements);
        self.asked.lock().expect("nobody panics").push((Instant::now(), statements));
        match self.fails.load(Ordering::Relaxed) {
            true => Err(Failure::new(Reason::Unreachable, "it sleeps")),
            false => Ok(()),
        }
    }

    fn look(&self) -> Moment {
        Moment {
            mode: CursorMode::Overlap,
            now: clock::now(),
            horizon: None,
            oldest_open: Some(clock::now()),
            identity: "ward".into(),
            indexed: true,
            deletions: Deletions::default(),
        }
    }
}

#[async_trait]
impl Source for Ward {
    fn name(&self) -> &str {
        "ward"
    }

    fn system(&self) -> System {
        System::Postgres
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    async fn moment(&self) -> Result<Moment, Failure> {
        self.ask(cost::POSTGRES_QUERY)?;
        Ok(self.look())
    }

    async fn existing_tables(&self, tables: &[String]) -> Result<Vec<String>, Failure> {
        self.ask(cost::POSTGRES_QUERY)?;
        Ok(tables.to_vec())
    }

    async fn read_rows(&self, query: &RowsQuery, range: &RowsRange) -> Result<RowsPage, Failure> {
        self.ask(cost::POSTGRES_ROWS)?;
        let all = self.rows.lock().expect("nobody panics");
        let mut rows = Rows::new(1);
        let only = self.only.lock().expect("nobody panics").clone();
        let has_rows = only.is_none_or(|only| only == query.table);
        let mut times = Vec::new();
        let visible = |time: Micros| has_rows && range.floor.is_none_or(|floor| time >= floor);
        for (number, time) in all.iter().enumerate().filter(|(_, time)| visible(**time)) {
            rows.push(Some(&number.to_string()));
            times.push(*time);
        }
        Ok(RowsPage { rows, times, writers: Vec::new(), moment: self.look(), next: None, resume: None })
    }

    async fn read_snapshot(&self, _: &SnapshotQuery) -> Result<Rows, Failure> {
        self.ask(cost::POSTGRES_QUERY)?;
        Ok(Rows::of(1, &[Some("7")]))
    }

    async fn count_rows(&self, _: &RowsQuery, from: Micros, until: Micros) -> Result<WindowCount, Failure> {
        self.ask(cost::POSTGRES_AUDIT)?;
        let all = self.rows.lock().expect("nobody panics");
        let rows = all.iter().filter(|time| (from..until).contains(*time)).count() as u64;
        Ok(WindowCount { rows, deletions: Deletions::default() })
    }

    async fn examine_rows(&self, _: &RowsQuery) -> Result<Examination, Failure> {
        panic!("nobody checks")
    }

    async fn examine_snapshot(&self, _: &SnapshotQuery) -> Result<Examination, Failure> {
        panic!("nobody checks")
    }
}

/// A source that runs, and the clock.
struct Play {
    ward: Arc<Ward>,
    context: Arc<Context>,
    collectors: usize,
    began: Instant,
    next_row: Instant,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    /// While something blocks, tokio does not move the clock by itself.
    _still: std::sync::mpsc::Sender<()>,
}

impl Play {
    async fn of(tables: usize, change: impl FnOnce(&mut SourceSettings)) -> Play {
        let (still, wait) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || wait.recv());
        let mut pack = "app: ward\ntitle: Ward\ndetect: [bed]\ncollectors:\n".to_owned();
        for table in 0..tables {
            pack += &format!(
                "  - {{name: t{table}, rows: {{table: t{table}, key: id, time: at}}, metrics: [{{counter: ward_t{table}_total, help: x}}]}}\n"
            );
        }
        pack +=
            "  - {name: beds, snapshot: {sql: select n from bed}, metrics: [{gauge: ward_beds, help: x, value: n}]}\n";
        let pack = crate::pack::load::parse("p", &pack).unwrap_or_else(|errors| panic!("{errors}"));
        let mut source = SourceSettings::new("ward", System::Postgres, "postgres://ward".into());
        source.start = Start::All;
        change(&mut source);
        let settings = Settings {
            listen: ([127, 0, 0, 1], 1).into(),
            state_dir: None,
            sources: vec![source.clone()],
            packs: vec![Arc::new(pack)],
            parameters: Default::default(),
            limits: Limits::default(),
            web: WebSettings::default(),
            alerts: crate::config::AlertSettings::default(),
            zero_first: Duration::ZERO,
            otlp: crate::config::OtlpSettings::default(),
            logs: crate::config::LogSettings::default(),
        };
        let metrics = Arc::new(Metrics::new("test"));
        let context = Arc::new(Context {
            state: Arc::new(State::open(None).await.expect("memory is there")),
            store: Arc::new(Store::new(metrics.clone())),
            board: Arc::new(Board::new()),
            metrics,
            guard: Arc::new(Guard::new(100)),
            settings,
            spans: None,
            names: NamesBoard::default(),
        });
        let ward = Arc::new(Ward::default());
        let (stop, told) = watch::channel(false);
        let (opened, shared) = (Opened::Database(ward.clone()), context.clone());
        let task = tokio::spawn(async move { run_opened(&Arc::new(source), &shared, &opened, told).await });
        let now = Instant::now();
        let mut play =
            Play { ward, context, collectors: tables + 1, began: now, next_row: now, stop, task, _still: still };
        play.rest().await;
        play
    }

    /// Waits until everybody waits for the clock. Returns when the first will have waited long enough.
    async fn rest(&mut self) -> Duration {
        let since = std::time::Instant::now();
        loop {
            let now = clock::now();
            let view = self.context.board.view();
            let next: Vec<Micros> = view.collectors.values().filter_map(|status| status.next_run).collect();
            if next.len() == self.collectors && next.iter().all(|next| next + TICK.as_micros() as Micros > now) {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                let first = next.into_iter().min().unwrap_or(now);
                return Duration::from_micros((first - now).max(0).unsigned_abs()) + TICK;
            }
            assert!(since.elapsed() < PATIENCE, "somebody never comes to rest: {view:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Lets time go by; while the application is busy it writes a row each minute.
    async fn until(&mut self, time: Duration, busy: bool) {
        let end = self.began + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if busy && self.next_row <= Instant::now() {
                self.ward.rows.lock().expect("nobody panics").push(clock::now());
                self.next_row = Instant::now() + MINUTE;
            }
            let first = self.rest().await;
            // No step goes past a row that is due, so that there are as many as minutes.
            let row = if busy { self.next_row.saturating_duration_since(Instant::now()) } else { left };
            tokio::time::advance(first.min(STEP).min(left).min(row)).await;
        }
    }

    /// The value of a metric without labels, if it is published.
    fn value(&self, name: &str) -> Option<f64> {
        let published = self.context.store.published();
        let family = published.families.iter().find(|family| &*family.name == name)?;
        family.series.first().map(|series| match &series.value {
            Value::Number(value) => *value,
            other => panic!("{other:?}"),
        })
    }

    /// A metric about the source itself.
    fn told(&self, name: &str) -> f64 {
        let families = crate::exposition::own::families(&self.context.metrics.gather());
        let family = families.iter().find(|family| &*family.name == name).expect("it is there");
        let of = family.series.iter().map(|series| match &series.value {
            Value::Number(value) => *value,
            other => panic!("{other:?}"),
        });
        of.sum()
    }

    /// Statements as bursts that lie further apart than this.
    fn bursts(&self, from: Duration, until: Duration, apart: Duration) -> Vec<(Duration, Duration)> {
        let asked = self.ward.asked.lock().expect("nobody panics");
        let times = asked.iter().map(|(at, _)| *at - self.began).filter(|at| (from..until).contains(at));
        let mut bursts: Vec<(Duration, Duration)> = Vec::new();
        for at in times {
            match bursts.last_mut() {
                Some((_, end)) if at - *end <= apart => *end = at,
                _ => bursts.push((at, at)),
            }
        }
        bursts
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it ends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_night_costs_little_and_loses_nothing() {
    let idle = Idle::default();
    let mut play = Play::of(2, |source| source.idle = Some(idle)).await;
    play.until(HOUR * 2, true).await;
    let evening = play.ward.rows.lock().expect("nobody panics").len() as f64;
    let mut shown = Vec::new();
    for half in 5..=22 {
        play.until(HOUR / 2 * half, false).await;
        shown.push(play.value("ward_beds"));
        assert_eq!(play.value("ward_t0_total"), Some(evening), "all of the evening, at half hour {half}");
    }
    assert!(shown.iter().all(|value| *value == Some(7.0)), "nothing is withdrawn that we chose not to read: {shown:?}");
    let night = play.bursts(HOUR * 2 + idle.after + MINUTE * 2, HOUR * 11, idle.suspends_after);
    assert!((9..=13).contains(&night.len()), "{night:?}");
    for pair in night.windows(2) {
        let gap = pair[1].0 - pair[0].1;
        assert!(gap > idle.suspends_after, "it can suspend: {night:?}");
        assert!(gap <= idle.interval + STEP, "no row waits longer: {night:?}");
    }
    assert!(night.iter().all(|(began, ended)| *ended - *began < SECOND * 30), "bursts are short: {night:?}");
    // The morning.
    play.until(HOUR * 13, true).await;
    play.until(HOUR * 13 + MINUTE * 2, false).await;
    let rows = play.ward.rows.lock().expect("nobody panics").len() as f64;
    assert!(rows >= evening + 110.0, "{rows}");
    assert_eq!((play.value("ward_t0_total"), play.value("ward_t1_total")), (Some(rows), Some(rows)));
    let day = play.bursts(HOUR * 12 + MINUTE * 5, HOUR * 13, SECOND * 80);
    assert_eq!(day.len(), 1, "the day is read each minute: {day:?}");
    play.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fails_in_the_night_is_asked_once_a_round() {
    let idle = Idle::default();
    let mut play = Play::of(3, |source| source.idle = Some(idle)).await;
    play.until(HOUR, true).await;
    play.until(HOUR * 4, false).await;
    play.ward.fails.store(true, Ordering::Relaxed);
    play.until(HOUR * 8, false).await;
    let asked = play.ward.asked.lock().expect("nobody panics").clone();
    let failing: Vec<Duration> = asked.iter().map(|(at, _)| *at - play.began).filter(|at| *at > HOUR * 4).collect();
    assert!((3..=5).contains(&failing.len()), "one of all asks, once an hour: {failing:?}");
    assert!(play.value("ward_beds").is_some(), "an hourly value is stale after five hours, not after five minutes");
    play.until(HOUR * 10, false).await;
    assert_eq!(play.value("ward_beds"), None, "but then it is");
    play.ward.fails.store(false, Ordering::Relaxed);
    play.until(HOUR * 12, true).await;
    let rows = play.ward.rows.lock().expect("nobody panics").len() as f64;
    play.until(HOUR * 12 + MINUTE * 2, false).await;
    assert_eq!((play.value("ward_t2_total"), play.value("ward_beds")), (Some(rows), Some(7.0)));
    play.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_holds_for_days_and_its_values_stay() {
    const LIMIT: u64 = 1500;
    let mut play = Play::of(8, |source| source.budget = Budget { per_day: Some(LIMIT), ..Budget::default() }).await;
    for hour in 1..=72 {
        play.until(HOUR * hour, true).await;
        assert!(play.value("ward_beds").is_some() && play.value("ward_t7_total").is_some(), "at hour {hour}");
    }
    let asked = play.ward.asked.lock().expect("nobody panics").clone();
    for (at, _) in &asked {
        let day = asked.iter().filter(|(other, _)| *other >= *at && *other < *at + HOUR * 24);
        let sent: u64 = day.map(|(_, statements)| statements).sum();
        assert!(sent <= LIMIT, "{sent} in the day from {:?}", *at - play.began);
    }
    let last: u64 = asked.iter().filter(|(at, _)| *at > play.began + HOUR * 48).map(|(_, sent)| sent).sum();
    assert!(last > LIMIT * 7 / 10, "it is used: {last}");
    assert_eq!(play.told("rowmetry_source_statements_total"), play.ward.spend.total() as f64);
    assert!(play.told("rowmetry_source_budget_spent") > LIMIT as f64 * 0.7);
    assert!(play.told("rowmetry_source_awake_seconds_total") > 3600.0);
    let counted = play.value("ward_t0_total").expect("it is counted");
    let rows = play.ward.rows.lock().expect("nobody panics").len() as f64;
    assert!(counted > rows - 120.0, "late, and never lost: {counted} of {rows}");
    play.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_in_any_table_brings_all_back_to_the_usual() {
    // Whoever reads first in a round: it is not both of these that find the row.
    for only in ["t0", "t3"] {
        let mut play = Play::of(4, |source| source.idle = Some(Idle::default())).await;
        *play.ward.only.lock().expect("nobody panics") = Some(only.to_owned());
        play.until(HOUR * 4, false).await;
        assert_eq!(play.told("rowmetry_source_idle"), 1.0);
        play.ward.rows.lock().expect("nobody panics").push(clock::now());
        let mut found = HOUR * 4;
        while play.told("rowmetry_source_idle") == 1.0 {
            found += MINUTE;
            assert!(found < HOUR * 6, "the row is never found");
            play.until(found, false).await;
        }
        play.until(found + MINUTE * 10, false).await;
        let asked = play.ward.asked.lock().expect("nobody panics").clone();
        let asked = asked.iter().filter(|(at, _)| *at - play.began > found).count();
        assert!(asked >= 5 * 9, "five collectors, each minute, in ten: {asked} when {only} has the row");
        assert_eq!(play.value(&format!("ward_{only}_total")), Some(1.0));
        play.end().await;
    }
}
