//! What a made-up application writes to its log, and how its host brings it: in batches, over HTTP, a few of them twice.
//!
//! It brings lines as a host would, and nothing else of them goes to Rowmetry. What they say is the script's.

mod envelope;
mod post;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Progress;
use super::away::Away;
use super::draw::Lots;
use crate::config::DrainSettings;
use crate::config::logs::{DrainKind, Signature, SignatureAlgorithm, SignatureEncoding, VERCEL_SIGNATURE};
use crate::family::Micros;
pub(super) use post::Receiver;

/// Records of one batch at most, as Supabase's drains send them (<https://supabase.com/docs/guides/telemetry/log-drains>).
const BATCH_RECORDS: usize = 250;

/// Batches that wait to be delivered at most. While so many wait, no further one is made.
const BATCHES: usize = 20;

/// Lines that wait for their time or for a batch at most. What is written beyond is lost, as a host loses it that cannot deliver.
const WAITING_LINES: usize = 10_000;

/// Every so many batches one is delivered again, as by a host that got no answer: from the second on, so that it shows soon.
const AGAIN_EVERY: u64 = 9;

/// Every so many batches the host itself writes of a call, from the first on. It does so of each; that would be most of what one sees.
const HOST_EVERY: u64 = 3;

/// Every so many batches one has a record that broke on its way.
const BROKEN_EVERY: u64 = 7;

/// Every so many batches a text of several lines comes as two records.
const SPLIT_EVERY: u64 = 4;

/// Whose lines a drain brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Writer {
    /// Those of the application's own code, as Vercel brings them.
    Application,
    /// Those of its Postgres, as Supabase brings them.
    Postgres,
}

impl Writer {
    /// Every writer.
    pub(super) const ALL: [Writer; 2] = [Writer::Application, Writer::Postgres];

    const fn kind(self) -> DrainKind {
        match self {
            Writer::Application => DrainKind::Vercel,
            Writer::Postgres => DrainKind::Supabase,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Writer::Application => "logs",
            Writer::Postgres => "postgres",
        }
    }
}

/// A line that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// How grave it is, in the words of the writer: `info`, `warning`, `error`; `LOG`, `ERROR`.
    pub(super) level: String,
    /// Its text, perhaps of several lines.
    pub(super) text: String,
    /// A JSON object of what else the record has: of the record itself, or of what Postgres says of it. Perhaps empty.
    pub(super) details: String,
}

/// What was delivered so far, as whoever counts it should say too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Lines, each once.
    pub(super) lines: u64,
    /// Lines that were delivered again.
    pub(super) repeated: u64,
    /// Records that go on with the text of another.
    pub(super) continuations: u64,
    /// Records that nobody can read.
    pub(super) unreadable: u64,
}

/// One drain of an application, at its sending end.
pub(super) struct Drain {
    settings: DrainSettings,
    receiver: Away,
    secret: String,
    host: String,
    lots: Lots,
    /// Lines, by when they are written and in which order they came.
    waiting: BTreeMap<(Micros, u64), Line>,
    written: u64,
    made: u64,
    batches: VecDeque<Batch>,
    delivered: Delivered,
}

/// Records that are delivered together.
#[derive(Debug, Clone)]
struct Batch {
    body: Bytes,
    lines: u64,
    continuations: u64,
    unreadable: u64,
    /// It was delivered, and is to be delivered again.
    is_again: bool,
    /// It will be delivered again.
    is_twice: bool,
}

impl Drain {
    /// The drain of one writer of an application. What it draws has no influence on anything else.
    ///
    /// Without a secret it makes one up.
    pub(super) fn new(app: &str, writer: Writer, seed: u64, secret: Option<&SecretString>) -> Self {
        let name = format!("{app}-{}", writer.suffix());
        // Whoever can guess it could post lines of his own.
        let made_up = || format!("{:032x}", fastrand::u128(..));
        let secret = secret.map_or_else(made_up, |secret| secret.expose_secret().to_owned());
        let mut settings = DrainSettings::new(name.as_str(), writer.kind());
        settings.database = Some(app.to_owned());
        match writer {
            Writer::Application => {
                settings.auth.signature = Some(Signature {
                    secret: SecretString::from(secret.clone()),
                    header: VERCEL_SIGNATURE.to_owned(),
                    algorithm: SignatureAlgorithm::Sha1,
                    prefix: String::new(),
                    encoding: SignatureEncoding::Hex,
                });
            }
            Writer::Postgres => settings.auth.token = Some(SecretString::from(secret.clone())),
        }
        Drain {
            lots: Lots::new(xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), seed)),
            receiver: Away::new(format!("drain {name}")),
            settings,
            secret,
            host: format!("{}-demo.vercel.app", app.replace('_', "-")),
            waiting: BTreeMap::new(),
            written: 0,
            made: 0,
            batches: VecDeque::new(),
            delivered: Delivered::default(),
        }
    }

    /// How its lines are taken in.
    pub(super) fn settings(&self) -> &DrainSettings {
        &self.settings
    }

    /// What was delivered so far.
    #[cfg(test)]
    pub(super) fn delivered(&self) -> Delivered {
        self.delivered
    }

    /// Writes a line at a time that may be to come.
    pub(super) fn write(&mut self, at: Micros, line: Line) {
        if self.waiting.len() < WAITING_LINES {
            self.written += 1;
            self.waiting.insert((at, self.written), line);
        }
    }

    /// Delivers what was written by `now`. What cannot be delivered waits for the next time.
    pub(super) async fn deliver(&mut self, to: &Receiver, now: Micros, progress: &Progress) {
        self.make_batches(now);
        for _ in 0..self.batches.len() {
            let Some(batch) = self.batches.front() else { return };
            if !self.receiver.is_to_be_asked() {
                return;
            }
            if let Err(reason) = post::post(to, &self.settings, &self.secret, batch.body.clone()).await {
                tracing::debug!(drain = self.settings.name, %reason, "the demo's log lines are brought again later");
                if !reason.is_later() {
                    self.receiver.is_away(&reason);
                }
                return;
            }
            self.receiver.is_back();
            if let Some(batch) = self.batches.pop_front() {
                self.was_delivered(batch, progress);
            }
        }
    }

    fn was_delivered(&mut self, mut batch: Batch, progress: &Progress) {
        let count = &mut self.delivered;
        if batch.is_again {
            count.repeated += batch.lines;
        } else {
            count.lines += batch.lines;
            progress.lines.fetch_add(batch.lines, Ordering::Relaxed);
        }
        count.continuations += batch.continuations;
        count.unreadable += batch.unreadable;
        // `lines` is what must have been counted: tests compare it.
        let (drain, lines, repeated) = (&self.settings.name, count.lines, count.repeated);
        tracing::debug!(drain, lines, repeated, "the demo's log lines were delivered");
        if batch.is_twice {
            batch.is_twice = false;
            batch.is_again = true;
            self.batches.push_back(batch);
        }
    }

    /// Makes batches of the lines that were written by `now`.
    fn make_batches(&mut self, now: Micros) {
        while self.batches.len() < BATCHES {
            let mut lines = Vec::new();
            while lines.len() < BATCH_RECORDS
                && let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now)
            {
                lines.push((first.key().0, first.remove()));
            }
            let Some((last, _)) = lines.last() else { return };
            let last = *last;
            let batch = self.batch(lines, last);
            self.batches.push_back(batch);
        }
    }

    fn batch(&mut self, mut lines: Vec<(Micros, Line)>, last: Micros) -> Batch {
        let number = self.made;
        self.made += 1;
        let (mut count, mut continuations) = (lines.len() as u64, 0);
        if number % SPLIT_EVERY == 1 && split(&mut lines) {
            continuations += 1;
        }
        let mut records: Vec<String> = Vec::new();
        for (at, line) in &lines {
            records.push(match self.settings.kind {
                DrainKind::Supabase => envelope::supabase(*at, line, &mut self.lots),
                _ => envelope::vercel(*at, line, &self.host, &mut self.lots),
            });
        }
        if self.settings.kind == DrainKind::Vercel && number.is_multiple_of(HOST_EVERY) {
            let (block, block_lines) = envelope::block(&mut self.lots);
            records.push(envelope::vercel(last, &block, &self.host, &mut self.lots));
            count += block_lines;
        }
        let is_broken = number % BROKEN_EVERY == 2;
        let body = match self.settings.kind {
            DrainKind::Supabase => envelope::array(records, is_broken),
            _ => envelope::json_lines(records, is_broken),
        };
        Batch {
            body: body.into(),
            lines: count,
            continuations,
            unreadable: u64::from(is_broken),
            is_again: false,
            is_twice: number % AGAIN_EVERY == 1,
        }
    }
}

/// Puts the first text that has lines which go on with it into two records; tells whether there is one.
fn split(lines: &mut Vec<(Micros, Line)>) -> bool {
    let place = |text: &str| text.find("\n ").filter(|_| !text.starts_with('{'));
    let Some((index, cut)) = lines.iter().enumerate().find_map(|(index, (_, line))| Some((index, place(&line.text)?)))
    else {
        return false;
    };
    let (at, line) = &mut lines[index];
    let rest = line.text[cut + 1..].to_owned();
    line.text.truncate(cut);
    let rest = (*at, Line { text: rest, ..line.clone() });
    lines.insert(index + 1, rest);
    true
}
