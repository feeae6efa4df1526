//! Requests that bring log lines: who may, how much, in which packing; and the answer once they are counted for good.
//!
//! A body is read within bounds of size and time, and looked at only when its sender showed that it may. It counts nothing but requests.

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use super::reply::{Parts, plain};
use crate::config::logs::IntakeLimits;
use crate::source::logs::{Inlet, Inlets};

/// The way in for all drains.
#[derive(Clone)]
pub struct Intake {
    /// The drains, by path.
    pub inlets: std::sync::Arc<Inlets>,
    /// Bounds.
    pub limits: IntakeLimits,
}

/// Answers one request to a drain.
pub(super) async fn answer(intake: &Intake, inlet: Inlet, request: Request<Incoming>) -> Response<Parts> {
    let _ = (intake, inlet, request);
    plain(StatusCode::SERVICE_UNAVAILABLE, "not built yet\n")
}
