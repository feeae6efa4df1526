//! Rowmetry with the compose file's configuration, roles and users, on a real Postgres and a real Redis.
//!
//! Only where servers and secrets are is replaced. The applications' tables are those of the tests of their packs.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgPoolOptions;

use super::{read, repository, yaml};
use crate::harness::guard::{self, Folder, Process};
use crate::harness::redis::Redis;
use crate::harness::{Cluster, eventually, exporter, http, test_file};

/// Time for everything to be read once on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the containers see their secrets.
const SECRETS: &str = "/run/secrets/";
/// What the databases' names begin with.
const PREFIX: &str = "rowmetry_demo_";

/// A copy of the secrets with other places in their URLs.
fn secrets(folder: &Folder, postgres: SocketAddr, redis: SocketAddr) {
    for file in std::fs::read_dir(repository("deploy/compose/secrets")).expect("they are there").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("secrets are text");
        let text = text.replace("@postgres:5432", &format!("@{postgres}")).replace("@redis:6379", &format!("@{redis}"));
        folder.write(&file.file_name().to_string_lossy(), text);
    }
}

/// Runs the script that makes roles, as the image does.
fn make_roles(cluster: &Cluster, secrets: &Path) {
    let script = read("deploy/compose/postgres/roles.sh");
    assert!(script.contains(SECRETS), "the passwords are files");
    let file = secrets.join("roles.sh");
    std::fs::write(&file, script.replace(SECRETS, &format!("{}/", secrets.display()))).expect("the folder is ours");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let output = Command::new("bash")
        .arg(file)
        .env("POSTGRES_USER", "postgres")
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", cluster.port().to_string())
        .output()
        .expect("bash can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs SQL by a URL, each time on a connection of its own.
async fn run(url: &str, sql: &str) -> Result<(), String> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await.map_err(|e| e.to_string())?;
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&pool).await;
    pool.close().await;
    done.map(drop).map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn rowmetry_reads_all_of_it_and_may_write_nothing() {
    let folder = Folder::new("compose-runs");
    let cluster = Cluster::private();
    let redis_users = repository("deploy/compose/secrets/redis_users.acl").display().to_string();
    let redis = Redis::with(&["--aclfile", &redis_users]);
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    secrets(&folder, loopback(cluster.port()), redis.address());
    make_roles(&cluster, folder.path());
    let secret = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        text.trim().to_owned()
    };

    // The applications make their databases themselves, as the demo's traffic does.
    let config = yaml("rowmetry.yaml", &read("deploy/compose/rowmetry.yaml"));
    let sources = config["sources"].as_array().expect("there are some");
    let name = |source: &Value| source["name"].as_str().unwrap_or_default().to_owned();
    let apps: Vec<String> = sources.iter().filter(|source| source.get("database").is_none()).map(name).collect();
    assert_eq!(apps.len(), 5, "{apps:?}");
    let server = secret("applications_database_url");
    for app in &apps {
        run(&server, &format!("create database {PREFIX}{app} template template0")).await.expect("it may");
        let own = server.replace("/postgres", &format!("/{PREFIX}{app}"));
        let tables = std::fs::read_to_string(test_file("fixtures").join(format!("{app}.sql"))).expect("it ships");
        run(&own, &tables).await.unwrap_or_else(|e| panic!("{app}: {e}"));
    }

    // A counter that is to be read: somebody who stands at a limit of this hour.
    let bucket = jiff::Timestamp::now().as_millisecond() / 3_600_000;
    let of_mentor = secret("applications_redis_url").replace("/0", "/1");
    redis::Client::open(of_mentor.as_str())
        .and_then(|client| client.get_connection())
        .and_then(|mut connection| {
            let key = format!("@upstash/ratelimit:ai:editor:somebody:{bucket}");
            redis::cmd("SET").arg(key).arg(30).query::<()>(&mut connection)
        })
        .expect("the applications may write keys");

    let address = loopback(guard::free_port());
    let text = read("deploy/compose/rowmetry.yaml").replace(SECRETS, &format!("{}/", folder.path().display()));
    let mut command = guard::command_as(None, exporter::BINARY, folder.path());
    command.arg("--config").arg(folder.write("rowmetry.yaml", text)).args(["--listen", &address.to_string()]);
    let log = folder.path().join("rowmetry.log");
    let process = Process::start(command, &log);
    let log_text = || std::fs::read_to_string(&log).unwrap_or_default();

    // Nobody answers for the endpoints here, and no lines come.
    let read: Vec<String> =
        apps.iter().cloned().chain(["coding_platform-redis".into(), "mentor-redis".into()]).collect();
    eventually(PATIENCE, "every database and Redis is read", async || {
        assert!(process.ended().is_none(), "it ended: {}", log_text());
        let reply = http::get(address, "/api/status", &[]).await?;
        let status: Value = serde_json::from_slice(&reply.body).map_err(|e| e.to_string())?;
        for wanted in &read {
            let source = status["sources"].as_array().into_iter().flatten().find(|source| name(source) == *wanted);
            let collectors = source.and_then(|source| source["collectors"].as_array()).cloned().unwrap_or_default();
            let app = wanted.trim_end_matches("-redis");
            if !collectors.iter().any(|collector| collector["pack"] == app) {
                return Err(format!("{wanted}: no collector of its application's pack"));
            }
            if let Some(collector) = collectors.iter().find(|one| one["state"] != "ok") {
                return Err(format!("{wanted}: {collector}"));
            }
        }
        Ok(())
    })
    .await;

    let reading = secret("database_url_mentor");
    let refused = run(&reading, "create table mine (id int)").await.expect_err("it must not write");
    assert!(refused.contains("read-only"), "{refused}");
    let refused = run(&reading, "begin read write; create table mine (id int)").await;
    assert!(refused.as_ref().is_err_and(|refused| refused.contains("permission denied")), "{refused:?}");
    let refused = redis::Client::open(secret("redis_url_mentor").as_str())
        .and_then(|client| client.get_connection())
        .and_then(|mut connection| redis::cmd("SET").arg("a").arg("b").query::<()>(&mut connection));
    assert!(refused.as_ref().is_err_and(|refused| refused.to_string().contains("no permissions")), "{refused:?}");
}
