//! End-to-end tests against real parts; see `harness`.

mod counting;
mod crash;
mod demo;
mod endpoints;
mod exposition;
mod harness;
mod imports;
mod lifecycle;
mod outage;
mod packs;
mod pooler;
mod probing;
mod reading;
mod reload;
mod scraping;
mod tables;
mod urls;
mod web;
