//! Lines from standard input: read once, as fast as they are counted.
//!
//! There is no place to go on from: what was read and not counted when the process ends is gone.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::super::inlet::Inlet;
use super::lines::{Lines, Tail};
use super::messages::{Message, Messages};
use super::{FIRST_PAUSE, hand_over, is_stopped_within};
use crate::config::logs::IntakeLimits;

/// Bytes that are read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// A message that is not gone on with for so long is whole.
const MESSAGE_ENDS: Duration = Duration::from_secs(1);

/// Standard input is read once by the process. A drain that is begun anew goes on where the one before it stopped.
static STANDARD_INPUT: Mutex<Kept> = Mutex::new(Kept::Unread);

enum Kept {
    Unread,
    /// Somebody reads it.
    Lent,
    Parked(Box<Input>),
}

/// Reads standard input to its end, or until it is told to stop.
pub async fn read_stdin(inlet: Inlet, limits: IntakeLimits, mut stop: watch::Receiver<bool>) {
    let mut lent = loop {
        if let Some(lent) = Lent::take(&STANDARD_INPUT, || Input::begin(std::io::stdin(), limits.line_bytes)) {
            break lent;
        }
        // Whoever read it is about to end.
        if is_stopped_within(&mut stop, FIRST_PAUSE).await {
            return;
        }
    };
    lent.input().read(inlet, limits, stop).await;
}

/// Reads anything to its end, or until it is told to stop. Reading goes on in a thread of its own, which ends with the input or the
/// process: nothing ends a read that waits.
pub async fn read_lines(
    input: impl Read + Send + 'static,
    inlet: Inlet,
    limits: IntakeLimits,
    stop: watch::Receiver<bool>,
) {
    Input::begin(input, limits.line_bytes).read(inlet, limits, stop).await;
}

/// An input, and what was read of it and is not counted yet.
struct Input {
    chunks: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were cut into lines.
    taken: usize,
    lines: Lines,
    messages: Messages,
    /// What was handed over, and perhaps not counted: it comes again with the same ids.
    handed: Option<Arc<Vec<Message>>>,
    reading: u64,
}

/// An input that goes back to its place however its reading ends.
struct Lent<'k> {
    place: &'k Mutex<Kept>,
    input: Option<Box<Input>>,
}

impl<'k> Lent<'k> {
    /// None while somebody else has it.
    fn take(place: &'k Mutex<Kept>, begin: impl FnOnce() -> Input) -> Option<Self> {
        let kept = std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), Kept::Lent);
        let input = match kept {
            Kept::Unread => Box::new(begin()),
            Kept::Parked(input) => input,
            Kept::Lent => return None,
        };
        Some(Lent { place, input: Some(input) })
    }

    fn input(&mut self) -> &mut Input {
        self.input.as_mut().expect("it is there until it goes back")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(input) = self.input.take() {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Kept::Parked(input);
        }
    }
}

impl Input {
    fn begin(input: impl Read + Send + 'static, line_bytes: usize) -> Self {
        // One chunk waits at most, so that the writer is held up while lines are.
        let (sender, chunks) = mpsc::channel(1);
        std::thread::spawn(move || pass_on(input, &sender));
        Input {
            chunks,
            chunk: Vec::new(),
            taken: 0,
            lines: Lines::new(line_bytes, 0, Tail::of(&[])),
            messages: Messages::new(line_bytes),
            handed: None,
            reading: fastrand::u64(1..),
        }
    }

    async fn read(&mut self, inlet: Inlet, limits: IntakeLimits, mut stop: watch::Receiver<bool>) {
        loop {
            while self.taken < self.chunk.len() {
                if !self.pass_if(self.messages.is_full(), &inlet, &limits, &mut stop).await {
                    return;
                }
                let messages = &mut self.messages;
                self.taken += self.lines.push(&self.chunk[self.taken..], |line| messages.push(&line));
            }
            // While more waits already, what there is goes with it.
            let is_due = self.messages.is_full() || self.chunks.is_empty();
            if !self.pass_if(is_due, &inlet, &limits, &mut stop).await {
                return;
            }
            let received = tokio::select! {
                received = tokio::time::timeout(MESSAGE_ENDS, self.chunks.recv()) => received,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match received {
                Ok(Some(chunk)) => {
                    inlet.metrics.bytes(chunk.len() as u64);
                    (self.chunk, self.taken) = (chunk, 0);
                }
                Ok(None) => break,
                Err(_) => self.messages.release(),
            }
        }
        let messages = &mut self.messages;
        self.lines.finish(|line| messages.push(&line));
        self.messages.release();
        if self.pass_if(true, &inlet, &limits, &mut stop).await {
            tracing::info!(drain = %inlet.settings.name, "the input has ended; all its lines are counted");
        }
    }

    /// Has what is ready counted, if that is due; false when it is to stop before it is.
    async fn pass_if(
        &mut self,
        is_due: bool,
        inlet: &Inlet,
        limits: &IntakeLimits,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        if self.handed.is_none() && is_due && !self.messages.is_empty() {
            self.handed = Some(Arc::new(self.messages.take()));
        }
        if let Some(messages) = &self.handed {
            if !hand_over(inlet, limits, messages.clone(), self.reading, None, stop).await {
                return false;
            }
            self.handed = None;
        }
        true
    }
}

fn pass_on(mut input: impl Read, sender: &mpsc::Sender<Vec<u8>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => chunk.truncate(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!("the input cannot be read any more: {}", error.kind());
                return;
            }
        }
        if sender.blocking_send(chunk).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DrainSettings;
    use crate::config::logs::DrainKind;
    use crate::telemetry::metrics::Metrics;

    /// Brings what it is sent.
    struct Piped(std::sync::mpsc::Receiver<&'static str>);

    impl Read for Piped {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let bytes = self.0.recv().map(str::as_bytes).unwrap_or_default();
            into[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[tokio::test]
    async fn who_begins_anew_goes_on_where_the_other_stopped() {
        let kept: &'static Mutex<Kept> = Box::leak(Box::new(Mutex::new(Kept::Unread)));
        let (pipe, input) = std::sync::mpsc::channel();
        let mut input = Some(Piped(input));
        let metrics = Metrics::new("0");
        let settings = Arc::new(DrainSettings::new("app", DrainKind::Stdin));
        let mut begin = || {
            let (inlet, deliveries) = Inlet::new(settings.clone(), metrics.drain("app", false));
            let limits = IntakeLimits::default();
            let mut lent = Lent::take(kept, || Input::begin(input.take().expect("once"), limits.line_bytes))?;
            let (stop, told) = watch::channel(false);
            let task = tokio::spawn(async move { lent.input().read(inlet, limits, told).await });
            Some((deliveries, stop, task))
        };
        let (mut deliveries, _stop, task) = begin().expect("nobody reads it");
        assert!(begin().is_none(), "it is read");
        pipe.send("one\ntwo\nthr").expect("it is read");
        let first = deliveries.recv().await.expect("lines");
        assert_eq!(first.parsed.lines.len(), 1, "the second may go on");
        // It is given up in the middle: nobody says whether the line was counted.
        task.abort();
        assert!(task.await.is_err());
        pipe.send("ee\n").expect("it is read");
        drop(pipe);
        let (mut deliveries, _stop, task) = begin().expect("it was given back");
        let mut texts = Vec::new();
        while let Some(delivery) = deliveries.recv().await {
            if texts.is_empty() {
                assert_eq!(delivery.parsed.lines[0].id, first.parsed.lines[0].id, "so that it is known again");
            }
            texts.extend(delivery.parsed.lines.iter().map(|line| line.text.clone()));
            delivery.answer.send(Ok(())).expect("it waits");
        }
        task.await.expect("it ends with the input");
        assert_eq!(texts, ["one", "two", "three"]);
    }
}
