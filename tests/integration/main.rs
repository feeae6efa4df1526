//! End-to-end tests against real parts; see `harness`.

mod harness;
