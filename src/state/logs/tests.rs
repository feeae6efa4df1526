use crate::collector::logs::{LineBatch, RunChanges, WindowChanges};
use crate::collector::{Changes, KeyHash};
use crate::state::{State, Stored};

fn changes(number: i64) -> Changes {
    let batch = LineBatch { number, received: 50, ids: vec![KeyHash(number as u128), KeyHash(u128::MAX)] };
    Changes {
        cursor: "{}".into(),
        lines: WindowChanges { added: Some(batch), forgotten_through: (number > 1).then_some(number - 2) },
        runs: RunChanges {
            written: vec![((number, KeyHash(number as u128)), "{}".into())],
            removed: vec![(number - 1, KeyHash((number - 1) as u128))],
        },
        ..Changes::default()
    }
}

async fn stored(state: &State) -> Stored {
    state.load("d/drain/lines").await.expect("it reads").expect("it was written")
}

#[tokio::test]
async fn lines_and_runs_come_back_until_they_are_forgotten_or_reset() {
    let state = State::open(None).await.expect("it opens");
    for number in 0..4 {
        state.save("d/drain/lines", &changes(number), 50).await.expect("it writes");
    }
    let Stored { lines, runs, .. } = stored(&state).await;
    assert_eq!(lines.iter().map(|batch| batch.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(lines[0].ids, [KeyHash(2), KeyHash(u128::MAX)]);
    assert_eq!(runs, [(KeyHash(3), "{}".to_owned())]);
    assert_eq!(state.list().await.expect("it reads")[0].seen, 4, "lines that are remembered");
    // What cannot be written leaves everything as it was.
    let other = ("d/p/c", &Changes { cursor: "1".into(), ..Changes::default() });
    state.save_all(&[other, ("d/drain/lines", &changes(3))], 60).await.expect_err("that batch is there");
    assert_eq!((stored(&state).await.lines.len(), state.load("d/p/c").await.expect("it reads")), (2, None));
    assert!(state.reset("d/drain/lines").await.expect("it writes"));
    state.save("d/drain/lines", &Changes { cursor: "{}".into(), ..Changes::default() }, 50).await.expect("it writes");
    let Stored { lines, runs, .. } = stored(&state).await;
    assert!(lines.is_empty() && runs.is_empty());
}

#[tokio::test]
async fn a_state_of_the_second_format_goes_on_with_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = State::open(Some(directory.path())).await.expect("it opens");
    state.save("s/p/c", &Changes { cursor: "7".into(), ..Changes::default() }, 50).await.expect("it writes");
    let back = "drop table line_batch; drop table run; pragma user_version = 2";
    sqlx::raw_sql(back).execute(&mut *state.connection.lock().await).await.expect("it writes");
    drop(state);
    for number in 0..2 {
        let state = State::open(Some(directory.path())).await.expect("it opens");
        let before = state.load("s/p/c").await.expect("it reads").expect("what was counted is there still");
        assert_eq!(before.cursor, "7");
        state.save("d/drain/lines", &changes(number), 50).await.expect("it remembers lines");
        assert_eq!(stored(&state).await.lines.len() as i64, number + 1);
    }
}
