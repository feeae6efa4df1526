//! A million lines are delivered while the exporter is killed again and again: twice, late, out of order, among broken ones.
//!
//! Who delivers does what a drain does: it tries again until it hears that its lines are counted. In the end each line has
//! counted exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::harness::{Scrape, Setup, http};

/// Different lines.
const LINES: usize = 1_000_000;
/// Lines of a delivery.
const BATCH: usize = 1_000;
/// Senders at a time, each with its own pace.
const SENDERS: usize = 6;
/// Deaths that the promise is tested with.
const DEATHS: usize = 50;
/// Longest time from the delivery that a life was for to its death.
const LONGEST_REST: Duration = Duration::from_millis(60);
/// Deliveries that may overtake each other.
const APART: usize = 12;
/// What a slow machine may take for it all.
const DEADLINE: Duration = Duration::from_secs(600);
/// The drain.
const DRAIN: &str = "/drains/all";
/// What it wants to see.
const TOKEN: (&str, &str) = ("Authorization", "Bearer a-token-of-tests-0123456789");

/// What a line says, and what it so adds to the truth.
fn line(number: usize, truth: &mut BTreeMap<String, f64>) -> String {
    let mut add = |series: String, value: f64| *truth.entry(series).or_default() += value;
    let id = format!("line-{number}");
    let (level, message) = match number % 20 {
        0 => {
            add("lines_events_total{event=\"plain\"}".into(), 1.0);
            ("warn", serde_json::json!(format!("plain \u{1b}[31mtext\u{1b}[0m {number}\n    at a.js:1\n    at b.js:2")))
        }
        1 | 2 => {
            // A run begins at 1 and ends at 2, but for every hundredth, which never does.
            let run = number / 20;
            let ends = !run.is_multiple_of(100);
            let event = if number % 20 == 1 {
                "run_start"
            } else if ends {
                "run_end"
            } else {
                "other"
            };
            add(format!("lines_events_total{{event=\"{event}\"}}"), 1.0);
            let outcome = if run.is_multiple_of(3) { "failed" } else { "ok" };
            match event {
                "run_end" => add(format!("lines_runs_total{{outcome=\"{outcome}\"}}"), 1.0),
                "other" => add("lines_runs_in_flight".into(), 1.0),
                _ => {}
            }
            let text = serde_json::json!({"event": event, "run": format!("run-{run}"), "outcome": outcome});
            ("info", serde_json::json!(text.to_string()))
        }
        kind => {
            let event = ["a", "b", "c"][kind % 3];
            let quarters = (number % 1000) as f64;
            let seconds = [0.25, 0.75, 1.5, 3.0][number % 4];
            add(format!("lines_events_total{{event=\"{event}\"}}"), 1.0);
            add(format!("lines_amount_total{{event=\"{event}\"}}"), quarters / 4.0);
            add(format!("lines_seconds_sum{{event=\"{event}\"}}"), seconds);
            add(format!("lines_seconds_count{{event=\"{event}\"}}"), 1.0);
            // A number as a text, as some loggers write them.
            let amount = format!("{}", quarters / 4.0);
            let text = serde_json::json!({"event": event, "amount": amount, "seconds": seconds, "user": "a@b.example"});
            ("error", serde_json::json!(text.to_string()))
        }
    };
    add(format!("lines_levels_total{{level=\"{level}\"}}"), 1.0);
    let time = 1_790_000_000_000u64 + number as u64;
    serde_json::json!({"id": id, "timestamp": time, "level": level, "message": message}).to_string()
}

/// Deliveries in the order in which they are first tried: shuffled, some again, some with lines of others, broken ones between.
fn deliveries(random: &mut fastrand::Rng) -> (Vec<String>, BTreeMap<String, f64>) {
    let mut truth = BTreeMap::new();
    let lines: Vec<String> = (0..LINES).map(|number| line(number, &mut truth)).collect();
    let mut batches: Vec<String> = Vec::new();
    for (number, chunk) in lines.chunks(BATCH).enumerate() {
        let mut chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        random.shuffle(&mut chunk);
        // Lines of a delivery a while ago come again among these.
        let earlier = number.saturating_sub(random.usize(0..30)) * BATCH;
        for _ in 0..random.usize(0..100) {
            chunk.push(&lines[earlier + random.usize(0..BATCH)]);
        }
        let cut = &lines[number][..lines[number].len() / 2];
        for broken in ["{\"id\": 1, \"mess", "\u{0}\u{1}garbage", "[[[[", "{}", "", "nothing", cut] {
            if random.u8(0..3) == 0 {
                chunk.insert(random.usize(0..chunk.len()), broken);
            }
        }
        batches.push(match random.u8(0..3) {
            // An array holds no broken record.
            0 => {
                let good: Vec<&str> =
                    chunk.into_iter().filter(|line| line.starts_with('{') && line.ends_with('}')).collect();
                format!("[{}]", good.join(","))
            }
            _ => chunk.join("\n"),
        });
    }
    let mut order: Vec<(usize, usize)> = (0..batches.len()).map(|at| (at + random.usize(0..APART), at)).collect();
    for at in 0..batches.len() {
        if random.u8(0..5) == 0 {
            order.push((at + random.usize(0..40), at));
        }
    }
    order.sort();
    (order.into_iter().map(|(_, at)| batches[at].clone()).collect(), truth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_million_lines_count_once_through_fifty_deaths() {
    let seed = std::env::var("ROWMETRY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("ROWMETRY_TEST_SEED={seed} repeats the choices of this run");
    let mut random = fastrand::Rng::with_seed(seed);
    let (batches, truth) = deliveries(&mut random);
    let total = batches.len();
    let logs = "{remembered_lines: 400000, drains: [{name: all, kind: http, token: a-token-of-tests-0123456789, packs: [lines]}]}";
    let setup = Setup::of_logs(logs);

    let waiting = Arc::new(Mutex::new(batches.into_iter()));
    let (sent, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (waiting, sent, refused, address) = (waiting.clone(), sent.clone(), refused.clone(), setup.address);
            tokio::spawn(async move {
                loop {
                    let Some(batch) = waiting.lock().await.next() else { return };
                    loop {
                        match http::post(address, DRAIN, &[TOKEN], batch.as_bytes()).await {
                            Ok(reply) if reply.status == 200 => break,
                            Ok(reply) => {
                                assert!([429, 503].contains(&reply.status), "{}: {}", reply.status, reply.text())
                            }
                            // Whether it was counted, nobody knows.
                            Err(_) => {}
                        }
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let began = Instant::now();
    let mut watch = Watch::default();
    for death in 0..DEATHS {
        let exporter = setup.spawn();
        // A life is for its share of the deliveries, more or less, and every fifth for none at all; then it ends at any moment.
        let share = (total as f64 / (DEATHS + 1) as f64 * (death as f64 + random.f64())) as usize;
        let rest = LONGEST_REST.mul_f64(random.f64());
        let mut end = (death % 5 == 4).then(|| Instant::now() + rest * 4);
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while end.is_none_or(|end| Instant::now() < end) {
            pace.tick().await;
            if let Ok(scrape) = exporter.try_scrape().await {
                watch.see(&scrape);
            }
            if sent.load(Ordering::Relaxed) >= share {
                end.get_or_insert_with(|| Instant::now() + rest);
            }
            assert!(began.elapsed() < DEADLINE, "death {death} after {:?}: {}", began.elapsed(), exporter.log_text());
        }
        exporter.kill();
    }
    let deaths = began.elapsed();
    let before_last = sent.load(Ordering::Relaxed);
    let exporter = setup.start().await;
    for sender in senders {
        sender.await.expect("no sender panicked");
    }
    let scrape = exporter.scrape().await;
    watch.see(&scrape);
    let refused = refused.load(Ordering::Relaxed);
    eprintln!(
        "{total} deliveries, {refused} tried again; {before_last} within {DEATHS} deaths in {deaths:?}, all in {:?}",
        began.elapsed()
    );
    assert_eq!(sent.load(Ordering::Relaxed), total);
    assert!(before_last > total / 2 && refused >= DEATHS / 2, "the deaths came too early to mean much");
    compare(&scrape, &truth);
    // It stays so when all is started again.
    assert!(exporter.terminate().success());
    let exporter = setup.start().await;
    compare(&exporter.scrape().await, &truth);
}

fn compare(scrape: &Scrape, truth: &BTreeMap<String, f64>) {
    let wrong: Vec<String> = truth
        .iter()
        .filter(|(series, value)| scrape.series.get(*series) != Some(value))
        .map(|(series, value)| format!("{series} is {:?} and should be {value}", scrape.series.get(series)))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(scrape.series.get("lines_runs_total{outcome=\"lost\"}"), Some(&0.0));
}

/// The highest value that each counter was ever seen at.
#[derive(Default)]
struct Watch(BTreeMap<String, f64>);

impl Watch {
    fn see(&mut self, scrape: &Scrape) {
        let counters = ["lines_events_total", "lines_levels_total", "lines_amount_total", "lines_runs_total"];
        for (series, value) in &scrape.series {
            if counters.iter().any(|name| series.starts_with(name)) {
                let highest = self.0.entry(series.clone()).or_insert(*value);
                assert!(*value >= *highest, "{series} went back from {highest} to {value}");
                *highest = *value;
            }
        }
    }
}
