//! End-to-end tests against real parts; see `harness`.

mod console;
mod counting;
mod crash;
mod demo;
mod endpoints;
mod exposition;
mod following;
mod governor;
mod harness;
mod imports;
mod keys;
mod lifecycle;
mod outage;
mod packs;
mod pooler;
mod probing;
mod reading;
mod redis;
mod reload;
mod scraping;
mod server;
mod sharding;
mod tables;
mod upstash;
mod urls;
mod web;
