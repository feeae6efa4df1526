//! End-to-end tests against real parts; see `harness`.

mod counting;
mod crash;
mod harness;
mod imports;
mod lifecycle;
mod outage;
mod pooler;
mod reload;
mod scraping;
mod tables;
mod urls;
