//! A Redis for unit tests that says what the test tells it to. It speaks no protocol.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{Keyspace, ScanPage};
use crate::source::spend::Spend;
use crate::source::trace::Peer;
use crate::telemetry::{Failure, Reason};

type Answers<T> = Mutex<VecDeque<Result<T, Reason>>>;

/// Answers in their order; the last one is repeated.
pub struct Scripted {
    pub spend: Spend,
    pub peer: Peer,
    pub epoch: AtomicU64,
    /// Keys of each page; the cursor follows by itself.
    pub pages: Mutex<Vec<Vec<Vec<u8>>>>,
    /// SCAN number so and so fails, or finds another connection.
    pub breaks: Mutex<Vec<(usize, Option<Reason>)>>,
    pub scans: AtomicU64,
    pub sizes: Answers<u64>,
    pub infos: Answers<Vec<(String, String)>>,
    pub pings: Answers<f64>,
    pub values: Mutex<Vec<(Vec<u8>, u64)>>,
    pub turn: Arc<Semaphore>,
    /// What was asked for the server's own figures, in its order.
    pub asked: Mutex<Vec<&'static str>>,
}

impl Default for Scripted {
    fn default() -> Self {
        Scripted {
            spend: Spend::default(),
            peer: Peer::default(),
            epoch: AtomicU64::new(0),
            pages: Mutex::default(),
            breaks: Mutex::default(),
            scans: AtomicU64::new(0),
            sizes: Mutex::default(),
            infos: Mutex::default(),
            pings: Mutex::default(),
            values: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            asked: Mutex::default(),
        }
    }
}

impl Scripted {
    pub fn of_pages(pages: &[&[&str]], size: u64) -> Self {
        let page = |page: &&[&str]| page.iter().map(|key| key.as_bytes().to_vec()).collect();
        Scripted {
            pages: Mutex::new(pages.iter().map(page).collect()),
            sizes: Mutex::new(VecDeque::from([Ok(size)])),
            ..Scripted::default()
        }
    }

    fn next<T: Clone>(&self, answers: &Answers<T>) -> Result<T, Failure> {
        self.spend.add(1);
        let mut answers = answers.lock().expect("no test panics with it");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.unwrap_or(Err(Reason::Forbidden)).map_err(|reason| Failure::new(reason, "as the test has it"))
    }
}

#[async_trait]
impl Keyspace for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn database(&self) -> i64 {
        0
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    async fn scan(&self, cursor: &str, _matching: &str, _count: u32) -> Result<ScanPage, Failure> {
        self.spend.add(1);
        let number = self.scans.fetch_add(1, Ordering::Relaxed);
        let breaks = self.breaks.lock().expect("no test panics with it").clone();
        match breaks.iter().find(|(at, _)| *at as u64 == number) {
            Some((_, Some(reason))) => return Err(Failure::new(*reason, "as the test has it")),
            Some((_, None)) => {
                self.epoch.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        let at: usize = cursor.parse().expect("cursors are the test's own");
        let pages = self.pages.lock().expect("no test panics with it");
        let next = if at + 1 < pages.len() { at + 1 } else { 0 };
        Ok(ScanPage { cursor: next.to_string(), keys: pages.get(at).cloned().unwrap_or_default() })
    }

    async fn numbers(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failure> {
        self.spend.add(1);
        let values = self.values.lock().expect("no test panics with it");
        let value = |key: &Vec<u8>| values.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
        Ok(keys.iter().map(value).collect())
    }

    async fn size(&self) -> Result<u64, Failure> {
        self.next(&self.sizes)
    }

    async fn info(&self, _sections: &[String]) -> Result<Vec<(String, String)>, Failure> {
        self.asked.lock().expect("no test panics with it").push("INFO");
        self.next(&self.infos)
    }

    async fn ping(&self) -> Result<f64, Failure> {
        self.asked.lock().expect("no test panics with it").push("PING");
        self.next(&self.pings)
    }
}
