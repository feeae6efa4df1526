//! Drains that are added, changed and removed while the exporter runs: nothing is lost or counted twice by it.

use super::harness::guard::free_port;
use super::harness::{Cluster, Exporter, Setup, eventually, exporter::PATIENCE, http};

const OLD: &str = "an-old-token-of-tests-0123456789";
const NEW: &str = "a-new-token-of-tests-0123456789";

/// Posts a line of an id, and waits for what it is answered.
async fn answered(exporter: &Exporter, drain: &str, token: &str, id: u32, wanted: u16) {
    let authorization = format!("Bearer {token}");
    let body = format!(r#"{{"id": "{id}", "timestamp": 1790000000000, "message": "{{\"event\": \"bloom\"}}"}}"#);
    eventually(PATIENCE, &format!("{wanted} of {drain}"), async || {
        let headers = [("Authorization", authorization.as_str())];
        let reply = exporter.post(&format!("/drains/{drain}"), &headers, body.as_bytes()).await?;
        if reply.status == wanted { Ok(()) } else { Err(format!("{}: {}", reply.status, reply.text())) }
    })
    .await;
}

/// Waits until each drain shows so many lines; the first is the sum.
async fn shows(exporter: &Exporter, wanted: f64) {
    let name = "lines_events_total";
    exporter
        .scrapes("the lines are counted", |scrape| match scrape.sum(name, &[]) {
            sum if sum == wanted => Ok(()),
            sum => Err(format!("{sum} lines and not {wanted}")),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_change_and_count_each_line_once() {
    let drain = |name: &str, token: &str| format!("{{name: {name}, kind: http, token: {token}, packs: [lines]}}");
    let with = |drains: &[String]| format!("{{drains: [{}]}}", drains.join(", "));
    let setup = Setup::of_logs(&with(&[drain("a", OLD)]));
    let exporter = setup.start().await;
    answered(&exporter, "a", OLD, 1, 200).await;
    answered(&exporter, "a", OLD, 1, 200).await;
    shows(&exporter, 1.0).await;

    // Another secret, and a drain more: each remembers its own lines.
    setup.clone().with("logs", with(&[drain("a", NEW), drain("b", NEW)])).write();
    exporter.process.signal("HUP");
    answered(&exporter, "b", NEW, 1, 200).await;
    answered(&exporter, "a", OLD, 2, 401).await;
    answered(&exporter, "a", NEW, 1, 200).await;
    answered(&exporter, "a", NEW, 2, 200).await;
    shows(&exporter, 3.0).await;

    // One less: what it counted is not shown, and not forgotten.
    setup.clone().with("logs", with(&[drain("b", NEW)])).write();
    exporter.process.signal("HUP");
    answered(&exporter, "a", NEW, 3, 404).await;
    shows(&exporter, 1.0).await;
    setup.clone().with("logs", with(&[drain("a", NEW)])).write();
    exporter.process.signal("HUP");
    answered(&exporter, "a", NEW, 1, 200).await;
    answered(&exporter, "a", NEW, 3, 200).await;
    shows(&exporter, 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_drain_that_is_added_listens_where_it_should() {
    let database = Cluster::shared().database().await;
    let port = free_port();
    let with = |drains: &str| format!("{{listen: '127.0.0.1:{port}', drains: [{drains}]}}");
    let setup = Setup::of(&database.url).sourced("packs", "[events]").with("logs", with(""));
    let exporter = setup.start().await;
    setup.clone().with("logs", with(&format!("{{name: a, kind: http, token: {NEW}, packs: [lines]}}"))).write();
    exporter.process.signal("HUP");
    let authorization = format!("Bearer {NEW}");
    eventually(PATIENCE, "an answer at its own address", async || {
        let headers = [("Authorization", authorization.as_str())];
        let reply = http::post(([127, 0, 0, 1], port).into(), "/drains/a", &headers, b"plain text\n").await?;
        if reply.status == 200 { Ok(()) } else { Err(format!("{}: {}", reply.status, reply.text())) }
    })
    .await;
    shows(&exporter, 1.0).await;
    answered(&exporter, "a", NEW, 1, 404).await;
}
