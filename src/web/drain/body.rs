//! Bodies of requests to drains: read and unpacked, within bounds, and only as far as there is room for them.
//!
//! It looks at no byte of a body but to unpack it.

use std::error::Error as _;
use std::io::{self, Read as _};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use tokio::sync::OwnedSemaphorePermit;

use super::refused::Refused;
use crate::source::logs::Inlets;

/// Bytes for which room is taken at a time. Small enough that who announces much and sends little holds little, large enough
/// that the largest bodies take some hundreds of steps.
const STEP: usize = 256 * 1024;
/// Bytes that are unpacked at a time.
const PIECE: usize = 32 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all.
    Plain,
    /// By gzip.
    Gzip,
}

impl Packing {
    /// What the headers say of it.
    ///
    /// # Errors
    /// When they name a packing that is not known, or several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let mut packing = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let named = match name.to_ascii_lowercase().as_slice() {
                    b"gzip" | b"x-gzip" => Packing::Gzip,
                    b"identity" | b"" => Packing::Plain,
                    _ => return Err(Refused::Packing),
                };
                if packing.replace(named).is_some() {
                    return Err(Refused::Packing);
                }
            }
        }
        Ok(packing.unwrap_or(Packing::Plain))
    }
}

/// The room that one request takes of what all share.
pub(super) struct Room {
    inlets: Arc<Inlets>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// None yet.
    pub(super) fn new(inlets: Arc<Inlets>) -> Self {
        Room { inlets, permit: None }
    }

    /// What was taken. Given back when it is dropped.
    pub(super) fn into_permit(self) -> Option<OwnedSemaphorePermit> {
        self.permit
    }

    fn take(&mut self, bytes: usize) -> Result<(), Refused> {
        let more = self.inlets.take_room(bytes).ok_or(Refused::NoRoom)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

/// Reads a body to its end.
///
/// # Errors
/// When it is too large, finds no room, or does not come to its end.
pub(super) async fn read<B>(body: &mut B, limit: usize, room: &mut Room) -> Result<Vec<u8>, Refused>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(Refused::TooLarge { limit, unpacked: false });
    }
    let expected = body.size_hint().exact().and_then(|exact| usize::try_from(exact).ok());
    let mut gathered = Gathered { bytes: Vec::new(), limit, step: expected.unwrap_or(STEP).min(STEP), unpacked: false };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ended(&error))?;
        if let Some(data) = frame.data_ref() {
            gathered.add(data, room)?;
        }
    }
    Ok(gathered.bytes)
}

/// Unpacks a body.
///
/// # Errors
/// When it is too large, finds no room, or is no gzip.
pub(super) fn unpack(packed: &[u8], limit: usize, room: &mut Room) -> Result<Vec<u8>, Refused> {
    let mut reader = MultiGzDecoder::new(packed);
    let mut piece = vec![0; PIECE];
    let mut gathered = Gathered { bytes: Vec::new(), limit, step: STEP, unpacked: true };
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(gathered.bytes),
            Ok(length) => gathered.add(&piece[..length], room)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Refused::BrokenGzip),
        }
    }
}

/// Bytes so far. What is allocated for them never exceeds the room that was taken.
struct Gathered {
    bytes: Vec<u8>,
    limit: usize,
    step: usize,
    unpacked: bool,
}

impl Gathered {
    fn add(&mut self, piece: &[u8], room: &mut Room) -> Result<(), Refused> {
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > self.limit {
            return Err(Refused::TooLarge { limit: self.limit, unpacked: self.unpacked });
        }
        let held = self.bytes.capacity();
        if needed > held {
            let wanted = needed.max(held.saturating_add(self.step)).min(self.limit);
            room.take(wanted - held)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// Why a body did not come to its end: its sender broke the rules, or went away.
fn ended(error: &hyper::Error) -> Refused {
    let mut cause = error.source();
    while let Some(one) = cause {
        if let Some(io) = one.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Refused::Framing,
                _ => Refused::Gone,
            };
        }
        cause = one.source();
    }
    Refused::Gone
}

#[cfg(test)]
mod tests;
