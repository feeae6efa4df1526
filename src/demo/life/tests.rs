use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::super::resp::wire::Reply;
use super::super::script;
use super::*;
use crate::demo::key_server::Kept;
use crate::demo::{Clock, Servers, Troubles};
use crate::pack::{Stream, System};
use crate::source::logs::LogLine;

const START: Micros = 1_800_000_000_000_000;
const SECOND: Micros = 1_000_000;

/// Draws of one action; one of them at least has to bring something.
const DRAWS: usize = 30;

async fn lives(folder: &Path, wanted: fn(&Effect) -> bool) -> Vec<Life> {
    let mut lives = Vec::new();
    for script in script::builtin(System::Sqlite).expect("the demo's scripts are right") {
        if script.outward.iter().any(|action| wanted(&action.effect)) {
            let clock: Clock = Arc::new(|| START);
            let ground = Ground {
                folder: folder.to_owned(),
                seed: 8,
                clock,
                kept: Kept::Within,
                servers: Servers::default(),
                troubles: Troubles::default(),
            };
            lives.push(Life::begin(script, &ground, Offsets::default()).await.expect("it runs"));
        }
    }
    lives
}

impl Life {
    /// The log lines that were written by `now`, as they are read, and whose they are.
    pub(in crate::demo) fn lines(&mut self, now: Micros) -> Vec<(Stream, LogLine)> {
        let mut all = Vec::new();
        for drain in self.world.drains.values_mut() {
            let stream = drain.settings().streams[0];
            all.extend(drain.read(now).into_iter().flat_map(|parsed| parsed.lines).map(|line| (stream, line)));
        }
        all
    }

    /// What is answered at a path.
    pub(in crate::demo) fn page(&self, path: &str) -> Option<Page> {
        self.world.pages.as_ref()?.page(path)
    }

    async fn tell(&mut self, command: &[&[u8]]) -> Reply {
        self.world.keys.as_mut().expect("it has keys").writer().ask(&[command]).await.expect("it answers").remove(0)
    }

    /// Every key, and how many seconds it has left.
    pub(in crate::demo) async fn keys(&mut self) -> Vec<(String, i64)> {
        let Reply::Array(page) = self.tell(&[b"SCAN", b"0", b"COUNT", b"4000"]).await else { panic!("no page") };
        let [Reply::Bulk(Some(cursor)), Reply::Array(keys)] = page.as_slice() else { panic!("{page:?}") };
        assert_eq!(cursor, b"0", "more keys than were foreseen");
        let mut all = Vec::new();
        for key in keys {
            let Reply::Bulk(Some(key)) = key else { panic!("{key:?}") };
            let Reply::Integer(left) = self.tell(&[b"TTL", key]).await else { panic!("no time") };
            all.push((String::from_utf8_lossy(key).into_owned(), left));
        }
        all
    }
}

#[tokio::test]
async fn every_question_about_keys_brings_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let lives = lives(folder.path(), |effect| matches!(effect, Effect::Keys(..))).await;
    assert!(!lives.is_empty(), "no script has keys");
    for mut life in lives {
        for action in &life.actions {
            let Effect::Keys(how, question) = &action.effect else { continue };
            let mut rows = Vec::new();
            for _ in 0..DRAWS {
                let values = action.draw(START, &mut life.lots);
                rows.extend(life.world.database.ask(&action.name, question, &values).await.expect("it is right"));
            }
            assert!(!rows.is_empty(), "{}: no row", action.name);
            for row in rows {
                let cells = if *how == Use::Delete { 1 } else { 3 };
                assert!(row.len() == cells && row.iter().all(|cell| !cell.is_empty()), "{}: {row:?}", action.name);
                let used = key_row(row.clone());
                assert!(used.key.contains(':'), "{}: what is {row:?}?", action.name);
                assert!(*how == Use::Delete || used.seconds > 0, "{}: {row:?}", action.name);
                assert!(*how != Use::Count || used.value.parse::<u64>().is_ok(), "{}: {row:?}", action.name);
            }
        }
    }
}

#[tokio::test]
async fn keys_live_as_long_as_something_uses_them() {
    let folder = tempfile::tempdir().expect("a folder");
    for mut life in lives(folder.path(), |effect| matches!(effect, Effect::Keys(..))).await {
        let first = life.keys().await;
        assert!((20..2000).contains(&first.len()), "{}: {} keys: {first:?}", life.app, first.len());
        assert!(first.iter().all(|(_, left)| *left > 0), "{}: a key that stays for ever: {first:?}", life.app);
        // Short-lived keys are there because somebody lets them begin anew, sooner than they end.
        let short: Vec<_> =
            life.actions.iter().filter(|action| matches!(&action.effect, Effect::Keys(Use::Set, _))).collect();
        assert!(!short.is_empty(), "{}: nothing is set", life.app);
        for action in short {
            let Effect::Keys(_, question) = &action.effect else { continue };
            let values = action.draw(START, &mut life.lots);
            for row in life.world.database.ask(&action.name, question, &values).await.expect("it is right") {
                // The pause is at most 1.5 times as long as on average, and that at most 1 / 0.7 times in a quiet hour.
                let pause = action.every_micros() / 1e6 * 1.5 / 0.7;
                assert!(key_row(row).seconds as f64 > pause, "{}: it ends before it is set again", action.name);
            }
        }
    }
}

#[tokio::test]
async fn the_rate_changes_nothing_for_keys_and_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut counts = Vec::new();
    for rate in [0.01, 100.0] {
        let mut life = lives(folder.path(), |effect| matches!(effect, Effect::Keys(..))).await.remove(0);
        life.actions.retain(|action| !matches!(action.effect, Effect::Write(_)));
        life.timetable = Timetable::new(&life.actions, START, rate, First::Soon, &mut life.lots);
        counts.push(life.advance(START + 60 * SECOND, rate, &Progress::default()).await.expect("it runs"));
    }
    assert!(counts[0] > 50 && counts[0].abs_diff(counts[1]) < counts[0] / 2, "{counts:?}");
}

#[tokio::test]
async fn pages_answer_from_the_beginning_and_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let lives = lives(folder.path(), |effect| matches!(effect, Effect::Page(..))).await;
    assert!(!lives.is_empty(), "no script has pages");
    for mut life in lives {
        let paths: Vec<String> = life
            .actions
            .iter()
            .filter_map(|action| match &action.effect {
                Effect::Page(path, _) => Some(path.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(life.web_url(), life.world.pages.as_ref().map(|pages| format!("http://{}", pages.address())));
        life.actions.retain(|action| matches!(action.effect, Effect::Page(..)));
        let (mut bodies, mut statuses) = (BTreeMap::new(), BTreeSet::new());
        for look in 0..150 {
            for path in &paths {
                let page = life.page(path).expect("it is there");
                assert!(matches!(page.status, 200 | 503) && page.delay < Duration::from_secs(2), "{path}: {page:?}");
                if page.kind == "application/json" {
                    let body: serde_json::Value = serde_json::from_str(&page.body).expect("it is JSON");
                    statuses.insert((path.clone(), body["status"].as_str().expect("it says how it is").to_owned()));
                } else {
                    assert_eq!((page.status, page.kind.as_str(), page.body.as_str()), (200, "text/plain", "OK"));
                }
                bodies.entry(path.clone()).or_insert_with(BTreeSet::new).insert(page.body);
            }
            let from = START + look * 19 * SECOND;
            life.timetable = Timetable::new(&life.actions, from, 1.0, First::Soon, &mut life.lots);
            life.advance(from + 12 * SECOND, 1.0, &Progress::default()).await.expect("it runs");
        }
        for (path, bodies) in bodies {
            let states = statuses.iter().filter(|(of, _)| *of == path).count();
            let is_text = bodies.contains("OK");
            assert!(is_text || (bodies.len() > 100 && states > 1), "{path}: {} answers, {states} states", bodies.len());
        }
    }
}
