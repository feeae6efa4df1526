use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::super::super::inlet::{Delivery, Inlet, Refusal};
use super::super::{follow, read_lines};
use super::{FilePosition, Folder, limits};
use crate::config::DrainSettings;
use crate::config::logs::{DrainAuth, DrainKind, RecordFields};
use crate::telemetry::metrics::Metrics;

const SOON: Duration = Duration::from_secs(20);

fn inlet(folder: &Folder) -> (Inlet, mpsc::Receiver<Delivery>, Metrics) {
    let settings = DrainSettings {
        name: "app".to_owned(),
        kind: DrainKind::File,
        path: String::new(),
        auth: DrainAuth::default(),
        file: Some(folder.path("app.log")),
        fields: RecordFields::default(),
        streams: Vec::new(),
        database: None,
        packs: None,
        skip: Vec::new(),
    };
    let metrics = Metrics::new("0");
    let (inlet, deliveries) = Inlet::new(Arc::new(settings), metrics.drain("app", false));
    (inlet, deliveries, metrics)
}

struct Task {
    deliveries: mpsc::Receiver<Delivery>,
    stop: watch::Sender<bool>,
    following: JoinHandle<()>,
    metrics: Metrics,
}

impl Task {
    fn follow(folder: &Folder) -> Self {
        let (inlet, deliveries, metrics) = inlet(folder);
        let (stop, stopped) = watch::channel(false);
        Task {
            deliveries,
            stop,
            following: tokio::spawn(follow(inlet, folder.position.clone(), limits(), stopped)),
            metrics,
        }
    }

    fn read(folder: &Folder, input: impl Read + Send + 'static) -> Self {
        let (inlet, deliveries, metrics) = inlet(folder);
        let (stop, stopped) = watch::channel(false);
        Task { deliveries, stop, following: tokio::spawn(read_lines(input, inlet, limits(), stopped)), metrics }
    }

    async fn next(&mut self) -> Delivery {
        tokio::time::timeout(SOON, self.deliveries.recv()).await.expect("it comes soon").expect("it is not over")
    }

    async fn end(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(SOON, self.following).await.expect("it ends").expect("it does not panic");
    }
}

fn texts(delivery: &Delivery) -> Vec<&str> {
    delivery.parsed.lines.iter().map(|line| line.text.as_str()).collect()
}

fn answer(delivery: Delivery, answer: Result<(), Refusal>) -> Option<FilePosition> {
    delivery.answer.send(answer).expect("somebody waits");
    delivery.position
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_brought_again_as_it_was_and_nothing_before_it() {
    let mut folder = Folder::followed();
    folder.append("app.log", "one\ntwo\n");
    let mut task = Task::follow(&folder);
    let first = task.next().await;
    let (lines, position) = (first.parsed.lines.clone(), first.position.clone());
    assert_eq!(texts(&first), ["one"]);
    answer(first, Err(Refusal::NotReady));
    folder.append("app.log", "three\n");
    for refusal in [Refusal::Full, Refusal::NotWritten, Refusal::Stopped].repeat(4) {
        let again = task.next().await;
        assert_eq!((&again.parsed.lines, &again.position), (&lines, &position));
        answer(again, Err(refusal));
    }
    let again = task.next().await;
    assert_eq!((&again.parsed.lines, &again.position), (&lines, &position));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(task.deliveries.try_recv().is_err(), "it waits for the answer");
    answer(again, Ok(()));
    let next = task.next().await;
    assert_eq!(texts(&next), ["two"]);
    folder.position = answer(next, Ok(()));
    let next = task.next().await;
    assert_eq!(texts(&next), ["three"]);
    drop(next);
    // Without an answer it was not counted.
    assert_eq!(texts(&task.next().await), ["three"]);
    task.end().await;
    let mut task = Task::follow(&folder);
    assert_eq!(texts(&task.next().await), ["three"]);
    task.end().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_count_once_they_are_counted_for_good() {
    let folder = Folder::followed();
    folder.append("app.log", "one\ntwo\n");
    let mut task = Task::follow(&folder);
    let bytes = |task: &Task| {
        let families = task.metrics.gather();
        let family = families.iter().find(|family| family.name() == "rowmetry_drain_bytes_total").expect("it is there");
        family.get_metric()[0].get_counter().get_value()
    };
    let first = task.next().await;
    answer(first, Err(Refusal::NotWritten));
    let first = task.next().await;
    assert_eq!(bytes(&task), 0.0);
    answer(first, Ok(()));
    let next = task.next().await;
    assert_eq!(bytes(&task), 4.0);
    answer(next, Ok(()));
    task.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_never_ends_by_itself() {
    let mut folder = Folder::new();
    let mut task = Task::follow(&folder);
    let nothing = task.next().await;
    assert!(nothing.parsed.lines.is_empty());
    folder.position = answer(nothing, Ok(()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    folder.append("app.log", "one\n");
    let begun = task.next().await;
    assert!(begun.parsed.lines.is_empty());
    answer(begun, Ok(()));
    assert_eq!(texts(&task.next().await), ["one"]);
    task.deliveries.close();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!task.following.is_finished());
    task.end().await;
}

#[tokio::test]
async fn standard_input_is_read_to_its_end() {
    let folder = Folder::new();
    let mut task = Task::read(&folder, io::Cursor::new("one\n  more\ntwo\r\nthree"));
    let delivery = task.next().await;
    assert_eq!(texts(&delivery), ["one\n  more"]);
    assert!(delivery.position.is_none());
    let ids = [delivery.parsed.lines[0].id];
    answer(delivery, Err(Refusal::NotReady));
    let delivery = task.next().await;
    assert_eq!(ids, [delivery.parsed.lines[0].id]);
    answer(delivery, Ok(()));
    let delivery = task.next().await;
    assert_eq!(texts(&delivery), ["two", "three"]);
    answer(delivery, Ok(()));
    tokio::time::timeout(SOON, task.following).await.expect("it ends").expect("it does not panic");
}

/// Lines without end, and how many reads were made.
struct Endless(Arc<AtomicUsize>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (line, rest) = buffer.split_at_mut(5);
        line.copy_from_slice(b"line\n");
        let _ = rest;
        Ok(5)
    }
}

#[tokio::test]
async fn standard_input_is_not_read_on_while_lines_wait() {
    let reads = Arc::new(AtomicUsize::new(0));
    let folder = Folder::new();
    let mut task = Task::read(&folder, Endless(reads.clone()));
    let mut lines = 0;
    for _ in 0..20 {
        let delivery = task.next().await;
        lines += delivery.parsed.lines.len();
        let seen = reads.load(Ordering::Relaxed);
        // One is held back, one chunk waits, one is read, and one may be on its way.
        assert!(seen <= lines + 4, "{seen} reads, {lines} lines");
        answer(delivery, Ok(()));
    }
    task.end().await;
}
