//! The way of a delivery into its drain's task, and back: who brings lines waits until they are counted for good.
//!
//! Bounded: what finds no room is told so at once. It looks at no line.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Parsed;
use super::position::FilePosition;
use crate::config::DrainSettings;
use crate::telemetry::metrics::DrainMetrics;

/// Deliveries of one drain that may wait to be counted.
const WAITING: usize = 1024;

/// Bytes that one permit stands for.
const PERMIT_BYTES: usize = 1024;

/// Why a delivery was not counted. Whoever brought it should bring it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too much waits already.
    #[error("too much waits to be counted; send it again later")]
    Full,
    /// Which packs apply is not known yet.
    #[error("it is not known yet which packs count these lines; send it again later")]
    NotReady,
    /// The counts could not be made durable.
    #[error("the counts could not be written down; send it again later")]
    NotWritten,
    /// The drain is being stopped.
    #[error("it is being stopped; send it again later")]
    Stopped,
}

/// Lines on their way, and who waits for them.
#[derive(Debug)]
pub struct Delivery {
    /// What was read.
    pub parsed: Parsed,
    /// Where the file that they come from was read to.
    pub position: Option<FilePosition>,
    /// Told once they are counted for good.
    pub answer: oneshot::Sender<Result<(), Refusal>>,
    /// The room that they take.
    pub room: Option<OwnedSemaphorePermit>,
}

/// The way into one drain's task.
#[derive(Clone)]
pub struct Inlet {
    /// The drain.
    pub settings: Arc<DrainSettings>,
    /// What is said of it.
    pub metrics: DrainMetrics,
    sender: mpsc::Sender<Delivery>,
}

impl Inlet {
    /// A way in, and its other end.
    pub fn new(settings: Arc<DrainSettings>, metrics: DrainMetrics) -> (Self, mpsc::Receiver<Delivery>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Inlet { settings, metrics, sender }, receiver)
    }

    /// Hands lines over, and waits until they are counted for good.
    ///
    /// # Errors
    /// Why they were not.
    pub async fn deliver(
        &self,
        parsed: Parsed,
        position: Option<FilePosition>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Refusal> {
        let (answer, counted) = oneshot::channel();
        self.sender.try_send(Delivery { parsed, position, answer, room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Full,
            mpsc::error::TrySendError::Closed(_) => Refusal::Stopped,
        })?;
        counted.await.unwrap_or(Err(Refusal::Stopped))
    }
}

/// The ways into all drains that are posted to, by path, and the room that all share.
pub struct Inlets {
    by_path: RwLock<BTreeMap<String, Inlet>>,
    room: Arc<Semaphore>,
}

impl Inlets {
    /// None yet; all together may hold so many bytes.
    pub fn new(waiting_bytes: usize) -> Self {
        let permits = (waiting_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Inlets { by_path: RwLock::default(), room: Arc::new(Semaphore::new(permits)) }
    }

    /// The drain at a path.
    pub fn at(&self, path: &str) -> Option<Inlet> {
        self.by_path.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Opens a way, or puts another in its place.
    pub fn open(&self, inlet: Inlet) {
        let path = inlet.settings.path.clone();
        self.by_path.write().unwrap_or_else(PoisonError::into_inner).insert(path, inlet);
    }

    /// Closes the way into a drain.
    pub fn close(&self, drain: &str) {
        let mut by_path = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        by_path.retain(|_, inlet| inlet.settings.name != drain);
    }

    /// Room for so many bytes; none when there is none now.
    pub fn take_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES).max(1)).ok()?;
        self.room.clone().try_acquire_many_owned(permits).ok()
    }
}
