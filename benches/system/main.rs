//! What Rowmetry costs a database, a scraper and its host, each as a ratio to something measured in the same run.
//!
//! Absolute times are of the machine at hand; the ratios are what is aimed at. Figures are medians of several rounds, and
//! whatever is compared takes turns, so that a busy moment of the machine hits both. It prints one table and asserts no
//! time: a slow machine is no defect. What it does assert is that every answer was right.
//! `ROWMETRY_BENCH_ROWS` (5,000,000 unless set) is the size of the largest table; `ROWMETRY_BENCH_ONLY` names the parts that
//! are run (`applications,presence`), all unless set; `ROWMETRY_BENCH_LINES` is a part of the names of the cases of `lines` that are run (`gzip`).

#[allow(dead_code, unused_imports, reason = "the tests use more of the harness than the benches do")]
#[path = "../../tests/integration"]
mod parts {
    pub mod harness;
}

mod applications;
mod lines;
mod pages;
mod presence;
mod reads;
mod spans;
mod table;

use parts::harness::Cluster;
use table::Table;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let only = std::env::var("ROWMETRY_BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|one| one == part);
    let cluster = Cluster::private();
    let mut table = Table::default();
    if wanted("memory") {
        applications::two(&cluster, &mut table).await;
    }
    if wanted("applications") {
        applications::five(&mut table).await;
    }
    if wanted("presence") {
        presence::scan(&mut table).await;
    }
    if wanted("scrapes") {
        pages::scrapes(&cluster, &mut table).await;
    }
    if wanted("catching_up") {
        reads::catching_up(&cluster, &mut table).await;
    }
    if wanted("share") {
        reads::share(&cluster, &mut table).await;
    }
    if wanted("collection") {
        reads::collection(&cluster, &mut table).await;
    }
    if wanted("spans") {
        spans::spans(&cluster, &mut table).await;
    }
    if wanted("tracing") {
        spans::tracing(&cluster, &mut table).await;
    }
    if wanted("lines") {
        lines::lines(&mut table).await;
    }
    table.print();
}
