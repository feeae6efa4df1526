//! Everything that an operator runs, on this machine: the demo's traffic on a real Postgres and Redis, Rowmetry, Prometheus with the
//! shipped rules, Alertmanager with the shipped file.
//!
//! Configurations are those of `deploy/compose`, with other addresses and shorter times between looks. Rules are as shipped: what
//! must happen sooner than at an operator's does so by parameters.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::super::drift;
use super::super::harness::alertmanager::{Alertmanager, Inbox, shipped};
use super::super::harness::exporter::BINARY;
use super::super::harness::guard::{Folder, Process, command_as, free_port};
use super::super::harness::otlp::OtlpReceiver;
use super::super::harness::pgbouncer::{PgBouncer, Traffic};
use super::super::harness::prometheus::Prometheus;
use super::super::harness::redis::Redis;
use super::super::harness::{Cluster, eventually, http};

/// Time in which something must have started.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Limits of the night, in place of those that are meant for the real thing.
const PARAMETERS: &str = "parameters:\n  promptcademy: {cost_scale: 0.001, daily_cost_budget_usd: 50, provider_errors_minimum: 200, rls_errors_limit: 450}\n  \
    postgres: {storage_quota_bytes: 1e12}\n  \
    syncedup: {recording_stale_seconds: 60}\n";
/// What an operator sets when a cost and the failures of a provider are known and mended, and their windows are not over yet.
const PARAMETERS_KNOWN: [(&str, &str); 2] = [
    ("daily_cost_budget_usd: 50", "daily_cost_budget_usd: 1e12"),
    ("provider_errors_minimum: 200", "provider_errors_minimum: 1000000"),
];

/// What runs. It ends in this order: who asks before who answers.
pub struct Stage {
    pub prometheus: Prometheus,
    pub alertmanager: Alertmanager,
    pub inbox: Inbox,
    pub exporter: Process,
    pub traffic: Process,
    pub control: SocketAddr,
    pub clients: Option<Traffic>,
    /// Running is all that they are for.
    _servers: (OtlpReceiver, PgBouncer),
    pub redis: Redis,
    pub cluster: Cluster,
    pub folder: Folder,
}

impl Stage {
    /// Starts all of it, and waits until Rowmetry has read everything once.
    pub async fn set() -> Stage {
        let folder = Folder::new("alarms");
        let cluster = Cluster::private();
        let redis = Redis::with(&["--maxmemory", "256mb", "--aclfile", &shipped_file("redis_users.acl")]);
        let pooler = PgBouncer::before(&cluster, 4);
        let clients = Some(Traffic::through(&pooler.url("postgres")).await);
        let receiver = OtlpReceiver::start();
        secrets(&folder, &cluster, &redis);
        roles(&folder, &cluster);
        let (pages, control) = (two_free_ports(), local(free_port()));
        let exporter_address = local(free_port());
        let traffic = traffic(&folder, pages, control, exporter_address);
        // Its databases are there before somebody looks whose they are.
        eventually(PATIENCE, "the applications live", async || {
            let log = std::fs::read_to_string(folder.path().join("traffic.log")).unwrap_or_default();
            assert!(traffic.ended().is_none(), "the traffic ended: {log}");
            http::get(control, "/troubles", &[]).await.map(drop)
        })
        .await;
        let config = exporter_config(&folder, pages, &receiver, &pooler);
        let mut command = command_as(None, BINARY, folder.path());
        command
            .args(["serve", "--listen", &exporter_address.to_string(), "--config"])
            .arg(folder.write("rowmetry.yaml", config));
        command.arg("--state-dir").arg(folder.path().join("state"));
        let exporter = Process::start(command, &folder.path().join("rowmetry.log"));
        let inbox = Inbox::open().await;
        let alertmanager = Alertmanager::start(&sooner(&shipped()), &inbox).await;
        let prometheus = prometheus(exporter_address, alertmanager.address()).await;
        let stage = Stage {
            prometheus,
            alertmanager,
            inbox,
            exporter,
            traffic,
            control,
            clients,
            _servers: (receiver, pooler),
            redis,
            cluster,
            folder,
        };
        eventually(PATIENCE, "everything was read once", async || {
            for (process, name) in [(&stage.exporter, "rowmetry.log"), (&stage.traffic, "traffic.log")] {
                assert!(process.ended().is_none(), "it ended: {}", stage.log(name));
            }
            let reply = http::get(exporter_address, "/readyz", &[]).await?;
            if reply.status == 200 { Ok(()) } else { Err(reply.text()) }
        })
        .await;
        stage
    }

    /// What one of the processes logged.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Raises the limits on what is known and mended, by the configuration and a signal, as an operator does.
    pub fn raise_limits(&self) {
        let file = self.folder.path().join("rowmetry.yaml");
        let config = std::fs::read_to_string(&file).expect("it was written");
        std::fs::write(&file, replaced(&config, &PARAMETERS_KNOWN)).expect("the folder is ours");
        self.exporter.signal("HUP");
    }

    /// Runs SQL in an application's database, as the server's owner.
    pub async fn sql(&self, app: &str, sql: &str) {
        self.cluster.open(&format!("rowmetry_demo_{app}")).await.run(sql).await;
    }

    /// Lets the traffic make a trouble from now on, or mends it.
    pub async fn trouble(&self, name: &str, on: bool) {
        let path = format!("/troubles/{name}");
        eventually(PATIENCE, &path, async || {
            let method = if on { "POST" } else { "DELETE" };
            let reply = http::request(self.control, method, &path, &[], PATIENCE).await?;
            if reply.status / 100 == 2 { Ok(()) } else { Err(format!("{}: {}", reply.status, reply.text())) }
        })
        .await;
    }
}

/// A file of `deploy/compose/secrets`, where it lies.
fn shipped_file(name: &str) -> String {
    drift::root().join("deploy/compose/secrets").join(name).display().to_string()
}

/// The secrets as they are shipped, with the addresses of this machine.
fn secrets(folder: &Folder, cluster: &Cluster, redis: &Redis) {
    std::fs::create_dir(folder.path().join("secrets")).expect("the folder is new");
    let shipped = std::fs::read_dir(drift::root().join("deploy/compose/secrets")).expect("it is shipped");
    for entry in shipped.flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("it is text");
        let text = text.replace("@postgres:5432", &format!("@127.0.0.1:{}", cluster.port()));
        let text = text.replace("@redis:6379", &format!("@{}", redis.address()));
        folder.write(&format!("secrets/{}", entry.file_name().to_string_lossy()), text);
    }
}

/// The roles that the compose file makes.
fn roles(folder: &Folder, cluster: &Cluster) {
    let script = drift::text("deploy/compose/postgres/roles.sh");
    let script = script.replace("/run/secrets", &folder.path().join("secrets").display().to_string());
    let output = command_as(None, super::super::harness::program("bash"), folder.path())
        .arg(folder.write("roles.sh", script))
        .envs([("POSTGRES_USER", "postgres"), ("PGHOST", "127.0.0.1"), ("PGPORT", &cluster.port().to_string())])
        .output()
        .expect("bash can be started");
    assert!(output.status.success(), "roles.sh: {}", String::from_utf8_lossy(&output.stderr));
}

fn traffic(folder: &Folder, pages: SocketAddr, control: SocketAddr, exporter: SocketAddr) -> Process {
    let secret = |name: &str| {
        std::fs::read_to_string(folder.path().join("secrets").join(name)).expect("it was written").trim().to_owned()
    };
    let mut command = command_as(None, BINARY, folder.path());
    command
        .args(["demo", "--traffic-only", "--seed", "7", "--rate", "40"])
        .args(["--database-url", &secret("applications_database_url")])
        .args(["--redis-url", &secret("applications_redis_url")])
        .args(["--drains-to", &format!("http://{exporter}")])
        .args(["--pages-listen", &pages.to_string(), "--control", &control.to_string()])
        .arg("--drain-secret-file")
        .arg(folder.path().join("secrets/drain_secret"));
    Process::start(command, &folder.path().join("traffic.log"))
}

fn exporter_config(folder: &Folder, pages: SocketAddr, receiver: &OtlpReceiver, pooler: &PgBouncer) -> String {
    let config = drift::text("deploy/compose/rowmetry.yaml");
    // What is read seldom at an operator's is read as often as the rest.
    let packs = rowmetry::pack::builtin().expect("good packs");
    let of_pack = |pack: &rowmetry::pack::Pack| -> Vec<String> {
        let seldom = pack.collectors.iter().filter(|collector| collector.interval.is_some());
        seldom.map(|collector| format!("{}/{}: 5s", pack.app, collector.name)).collect()
    };
    let seldom: Vec<String> = packs.iter().flat_map(|pack| of_pack(pack)).collect();
    let second = SocketAddr::new(pages.ip(), pages.port() + 1);
    let config = replaced(
        &config,
        &[
            ("/run/secrets/", &format!("{}/", folder.path().join("secrets").display())),
            ("http://jaeger:4318", &receiver.http_url()),
            ("http://applications:9480", &format!("http://{pages}")),
            ("http://applications:9481", &format!("http://{second}")),
            ("parameters:\n", PARAMETERS),
            ("  promptcademy: {cost_scale: 0.001}\n", ""),
            (
                "  interval: 10s\n",
                &format!("  interval: 2s\n  busy_share: 1.0\n  intervals: {{{}}}\n", seldom.join(", ")),
            ),
        ],
    );
    format!("{config}\n  - name: pooler\n    url: {}\n", pooler.console("postgres", "none"))
}

async fn prometheus(exporter: SocketAddr, alertmanager: SocketAddr) -> Prometheus {
    let files: Vec<(String, String)> = drift::rule_files()
        .into_iter()
        .map(|stem| (format!("{stem}.rules.yml"), drift::text(&format!("alerts/{stem}.yml"))))
        .collect();
    let config = replaced(
        &drift::text("deploy/compose/prometheus.yml"),
        &[
            ("scrape_interval: 15s", "scrape_interval: 2s"),
            ("scrape_timeout: 10s", "scrape_timeout: 2s"),
            ("evaluation_interval: 15s", "evaluation_interval: 2s"),
            ("/etc/prometheus/rules/[^a]*.yml", "*.rules.yml"),
            ("alertmanager:9093", &alertmanager.to_string()),
            ("rowmetry:9469", &exporter.to_string()),
        ],
    );
    Prometheus::configured(&config, &files).await
}

/// What waits to be told is told sooner; who is told of what stays.
fn sooner(config: &str) -> String {
    let mut config = config.to_owned();
    for (shipped, here) in [
        ("group_wait: 30s", "group_wait: 2s"),
        ("group_wait: 10s", "group_wait: 2s"),
        ("group_wait: 10m", "group_wait: 2s"),
        ("group_interval: 5m", "group_interval: 5s"),
        ("group_interval: 1m", "group_interval: 5s"),
        ("group_interval: 1h", "group_interval: 5s"),
    ] {
        assert!(config.contains(shipped), "alerts/alertmanager.yml has no {shipped}");
        config = config.replace(shipped, here);
    }
    config
}

fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (shipped, here) in pairs {
        assert!(text.contains(shipped), "`{shipped}` is not in the shipped file");
        text = text.replace(shipped, here);
    }
    text
}

/// A port that is free, and whose neighbour is.
fn two_free_ports() -> SocketAddr {
    loop {
        let first = free_port();
        if let Some(second) = first.checked_add(1)
            && std::net::TcpListener::bind(local(second)).is_ok()
        {
            return local(first);
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
