//! End-to-end tests against real parts; see `harness`.

mod counting;
mod crash;
mod demo;
mod exposition;
mod governor;
mod harness;
mod imports;
mod lifecycle;
mod outage;
mod packs;
mod pooler;
mod reading;
mod reload;
mod scraping;
mod sharding;
mod tables;
mod urls;
mod web;
