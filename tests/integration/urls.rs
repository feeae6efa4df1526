//! Connection URLs as the consoles of Neon and Supabase print them, on a server that really speaks TLS.

use super::harness::{Cluster, Database, Setup};
use super::tables::{events_truth, insert, make_events};

/// Query parts that consoles print. Each must neither be refused nor be sent to the server as a startup parameter.
const FORMS: [(&str, &str); 7] = [
    ("Neon", "sslmode=require&channel_binding=require"),
    ("Neon pooled", "sslmode=require&channel_binding=require&pgbouncer=true"),
    ("Neon with a time limit", "sslmode=require&connect_timeout=15"),
    ("Supabase session pooler", "sslmode=require"),
    ("Supabase transaction pooler for Prisma", "pgbouncer=true&connection_limit=1"),
    ("Prisma", "schema=public&sslmode=prefer&pool_timeout=20"),
    ("node-postgres", "sslmode=prefer&application_name=app"),
];

async fn tls_role(database: &Database<'_>) -> String {
    let (role, url) = database.role("owner").await;
    make_events(database).await;
    database.run(insert(20, "now()")).await;
    database.run(format!("grant select on events to {role}")).await;
    url.split('?').next().expect("it has a part before the query").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_the_consoles_connect() {
    let database = Cluster::shared().database().await;
    let base = tls_role(&database).await;
    let truth = events_truth(&database).await;
    for (number, (console, query)) in FORMS.into_iter().enumerate() {
        let scheme = ["postgres", "postgresql"][number % 2];
        let url = format!("{}?{query}", base.replacen("postgres", scheme, 1));
        let exporter = Setup::of(&url).start().await;
        exporter.settles_at(&truth).await;
        let encrypted = database
            .rows("select ssl::text from pg_stat_ssl join pg_stat_activity using (pid) where usename like '%_owner'")
            .await;
        if query.contains("require") {
            assert!(
                !encrypted.is_empty() && encrypted.iter().all(|row| row[0].as_deref() == Some("true")),
                "{console}: {encrypted:?}"
            );
        }
        let log = exporter.log_text();
        for secret in ["_owner@", ":test_"] {
            assert!(!log.contains(secret), "{console}: the log holds the URL: {log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_signed_is_refused_where_verification_is_asked() {
    let database = Cluster::shared().database().await;
    let base = tls_role(&database).await;
    let exporter = Setup::of(&format!("{base}?sslmode=verify-full")).sourced("packs", "[events]").start().await;
    exporter.state("events", "unreachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_variable_is_all_the_configuration_there_is() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = Setup::of(&database.url);
    let packs = super::harness::test_file("integration/packs");
    // `detect` has only the built-in packs to choose from here, and none fits: it says so and serves.
    let mut command = super::harness::guard::command_as(None, super::harness::exporter::BINARY, setup.folder.path());
    command.env("DATABASE_URL", &database.url).env("ROWMETRY_LISTEN", setup.address.to_string());
    assert!(packs.is_dir());
    let process = super::harness::guard::Process::start(command, &setup.folder.path().join("zero.log"));
    super::harness::eventually(super::harness::exporter::PATIENCE, "it serves", async || {
        assert!(process.ended().is_none(), "it ended");
        let scrape = super::harness::http::get(setup.address, "/metrics", &[]).await?.text();
        let up = "rowmetry_source_up{source=\"default\"} 1";
        if scrape.contains(up) { Ok(()) } else { Err("the source is not up".into()) }
    })
    .await;
}
