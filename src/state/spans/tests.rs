//! What goes into the queue comes out of it, in order, until it is forgotten.

use super::*;
use crate::collector::Changes;
use crate::span::{SpanId, SpanKind, TraceId};

fn span(number: u64) -> SpanRecord {
    SpanRecord {
        trace: TraceId([1; 16]),
        span: SpanId((number + 1).to_be_bytes()),
        parent: None,
        name: format!("span {number}"),
        kind: SpanKind::Internal,
        start: 1,
        end: 2,
        error: None,
        attributes: Vec::new(),
    }
}

fn changes(numbers: std::ops::Range<u64>) -> Changes {
    Changes { cursor: "{}".into(), spans: numbers.map(span).collect(), ..Changes::default() }
}

#[tokio::test]
async fn spans_wait_in_order_until_they_are_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = State::open(Some(directory.path())).await.expect("it opens");
    assert_eq!(state.span_queue().await.expect("it reads"), QueueSize::default());
    state.save("s/p/c", &changes(0..1100), 50).await.expect("it writes");
    state.save("s/p/d", &changes(1100..1103), 60).await.expect("it writes");
    state.save("s/p/d", &changes(0..0), 70).await.expect("it writes");
    drop(state);
    let state = State::open(Some(directory.path())).await.expect("it opens again");
    assert_eq!(state.span_queue().await.expect("it reads"), QueueSize { spans: 1103, oldest: Some(50) });
    let first = state.queued_spans(0, 600).await.expect("it reads");
    assert_eq!(
        first.iter().map(|batch| batch.spans.len()).collect::<Vec<_>>(),
        [512, 512],
        "whole batches, until enough"
    );
    assert_eq!(first[1].spans[0], span(512));
    let ids: Vec<i64> = first.iter().map(|batch| batch.id).collect();
    state.forget_spans(&ids).await.expect("it writes");
    let rest = state.queued_spans(0, 600).await.expect("it reads");
    let rest: Vec<(&str, usize)> = rest.iter().map(|batch| (&*batch.collector, batch.spans.len())).collect();
    assert_eq!(rest, [("s/p/c", 76), ("s/p/d", 3)]);
    let behind = state.queued_spans(ids[1] + 1, 600).await.expect("it reads");
    assert_eq!(behind.len(), 1, "behind a place in the queue");
    assert_eq!(state.span_queue().await.expect("it reads"), QueueSize { spans: 79, oldest: Some(50) });
}

#[tokio::test]
async fn a_line_that_somebody_broke_costs_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = State::open(Some(directory.path())).await.expect("it opens");
    state.save("s/p/c", &changes(0..3), 50).await.expect("it writes");
    let breaking = "update span_batch set body = replace(body, 'span 1\"', 'span 1')";
    sqlx::query(breaking).execute(&mut *state.connection.lock().await).await.expect("it writes");
    let read = state.queued_spans(0, 10).await.expect("it reads");
    assert_eq!(read[0].spans, [span(0), span(2)]);
    assert_eq!(read[0].unreadable, 1);
}

#[tokio::test]
async fn a_state_of_the_first_format_goes_on_with_a_queue() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = State::open(Some(directory.path())).await.expect("it opens");
    state.save("s/p/c", &changes(0..0), 50).await.expect("it writes");
    let back = "drop table span_batch; drop table line_batch; drop table run; pragma user_version = 1";
    sqlx::raw_sql(back).execute(&mut *state.connection.lock().await).await.expect("it writes");
    drop(state);
    for _ in 0..2 {
        let state = State::open(Some(directory.path())).await.expect("it opens");
        assert!(state.load("s/p/c").await.expect("it reads").is_some(), "what was counted is there still");
        state.save("s/p/c", &changes(0..1), 50).await.expect("it has a queue");
    }
    let state = State::open(Some(directory.path())).await.expect("it opens");
    assert_eq!(state.span_queue().await.expect("it reads").spans, 2);
}

#[tokio::test]
async fn what_is_forgotten_is_not_sent_and_what_begins_anew_is() {
    let state = State::open(None).await.expect("it opens");
    for collector in ["s/p/c", "s/p/d"] {
        state.save(collector, &changes(0..600), 50).await.expect("it writes");
    }
    assert!(state.reset("s/p/c").await.expect("it writes"));
    let listed = state.list().await.expect("it reads");
    let listed: Vec<_> = listed.iter().map(|line| (&*line.collector, line.spans, &*line.cursor)).collect();
    assert_eq!(listed, [("s/p/c", 600, ""), ("s/p/d", 600, "{}")]);
    assert_eq!(state.span_queue().await.expect("it reads").spans, 1200);
    for collector in ["s/p/c", "s/p/d"] {
        assert!(state.forget(collector).await.expect("it writes"));
        assert!(!state.forget(collector).await.expect("it writes"), "nothing is left");
    }
    assert_eq!(state.list().await.expect("it reads"), []);
    assert_eq!(state.span_queue().await.expect("it reads"), QueueSize::default());
}

#[tokio::test]
async fn the_first_of_many_are_read_without_the_others() {
    const BATCHES: usize = 400;
    const READS: u32 = 20;
    let state = State::open(None).await.expect("it opens");
    for _ in 0..BATCHES {
        // As large as 512 spans are; what they say does not matter.
        sqlx::query(
            "insert into span_batch (collector, queued, spans, body) values ('s/p/c', 1, 512, hex(zeroblob(100000)))",
        )
        .execute(&mut *state.connection.lock().await)
        .await
        .expect("it writes");
    }
    let began = std::time::Instant::now();
    for _ in 0..READS {
        assert_eq!(state.queued_spans(0, 512).await.expect("it reads").len(), 1);
    }
    // Reading all of them takes a tenth of a second and more each time, and nobody can save meanwhile.
    assert!(began.elapsed() < READS * std::time::Duration::from_millis(20), "{:?}", began.elapsed());
}
