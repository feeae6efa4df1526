//! The compose file: it is one, everything that it names is there, and nobody in it may do more than needed.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::{Map, Value};

use super::{image_user, read, repository, rule_files, texts, yaml};
use crate::harness::exporter::BINARY;
use crate::harness::guard::Folder;
use crate::harness::program;

/// The compose file as it is written.
const FILE: &str = "docker-compose.yml";

/// The compose file, its merges (`<<`) done.
fn composed() -> Value {
    merged(yaml(FILE, &read(FILE)))
}

fn merged(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut whole = Map::new();
            let mut own = Map::new();
            for (name, value) in fields {
                match (name.as_str(), merged(value)) {
                    ("<<", Value::Object(base)) => whole.extend(base),
                    (_, value) => drop(own.insert(name, value)),
                }
            }
            whole.extend(own);
            Value::Object(whole)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(merged).collect()),
        other => other,
    }
}

fn services(file: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let services = file["services"].as_object().expect("there are services");
    assert!(services.len() >= 8, "services are missing: {:?}", services.keys());
    services.iter()
}

/// Names that a part of a service gives: a list of texts, or the keys of a map.
fn names(value: &Value) -> Vec<&str> {
    value.as_object().map_or_else(|| texts(value), |fields| fields.keys().map(String::as_str).collect())
}

/// `docker compose` where it is at hand, else `docker-compose`.
fn compose(arguments: &[&str]) -> Output {
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    let mut command = match plugin {
        Ok(output) if output.status.success() => {
            let mut docker = Command::new("docker");
            docker.arg("compose");
            docker
        }
        _ => Command::new(program("docker-compose")),
    };
    command.current_dir(repository(".")).args(arguments).output().expect("it can be started")
}

#[test]
fn docker_compose_takes_the_file() {
    let output = compose(&["--file", FILE, "config"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("variable is not set"), "a dollar sign of a command is written twice: {said}");
    // It tells good from bad.
    let folder = Folder::new("compose");
    let broken = folder.write("broken.yml", read(FILE).replace("read_only: true", "read_only: perhaps"));
    assert!(!compose(&["--file", &broken.display().to_string(), "config"]).status.success());
}

#[test]
fn everything_that_is_named_is_there() {
    let file = composed();
    let mut used = BTreeSet::new();
    for (name, service) in services(&file) {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            if source.starts_with('.') {
                assert!(repository(source).exists(), "{name} mounts {source}, which is not there");
                assert!(volume.ends_with(":ro"), "{name} could write to {source}");
            } else {
                assert!(file["volumes"].get(source).is_some(), "{name}: no volume {source}");
            }
        }
        for network in names(&service["networks"]) {
            assert!(file["networks"].get(network).is_some(), "{name}: no network {network}");
        }
        for (other, condition) in service["depends_on"].as_object().into_iter().flatten() {
            assert!(file["services"].get(other).is_some(), "{name} waits for {other}");
            assert_eq!(condition["condition"], "service_healthy", "{name} waits for {other}");
        }
        used.extend(names(&service["secrets"]));
    }
    let secrets = file["secrets"].as_object().expect("there are secrets");
    assert_eq!(used, secrets.keys().map(String::as_str).collect(), "secrets that are used, and that there are");
    for (name, secret) in secrets {
        let text = read(secret["file"].as_str().expect("every secret is a file"));
        assert!(!text.trim().is_empty(), "{name} is empty");
        let says_so = text.contains("demo-only") || name == "chat_url";
        assert!(says_so, "{name} does not say that it is the demo's");
    }
    // Whoever reads a secret has it.
    for (name, service) in services(&file) {
        let mentioned = service.to_string();
        let has = names(&service["secrets"]);
        for part in mentioned.split("/run/secrets/").skip(1) {
            let wanted: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
            assert!(has.contains(&wanted.as_str()), "{name} reads {wanted}, which it is not given");
        }
    }
}

#[test]
fn nobody_may_do_more_than_needed() {
    for (name, service) in services(&composed()) {
        let image = service["image"].as_str().unwrap_or_default();
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.chars().any(|c| c.is_ascii_digit()) && tag.contains('.'), "{name}: {image} is not pinned");
        let user = service["user"].as_str().unwrap_or_default();
        let is_somebody = user.split(':').next().and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| id > 0);
        assert!(is_somebody, "{name} runs as {user:?}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for absent in ["privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "env_file"] {
            assert!(service.get(absent).is_none(), "{name} has {absent}");
        }
        for limit in ["mem_limit", "cpus", "pids_limit"] {
            assert!(service.get(limit).is_some(), "{name} has no {limit}");
        }
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(!texts(&service["healthcheck"]["test"]).is_empty(), "{name} has no health check");
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to the world");
        }
        assert!(!service.to_string().contains("docker.sock"), "{name}");
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = ["PASSWORD", "SECRET", "TOKEN", "KEY"].iter().any(|word| variable.contains(word));
            let is_file = value.as_str().is_some_and(|value| value.starts_with("/run/secrets/"));
            assert!(!is_secret || is_file, "{name}: {variable} is no file");
        }
    }
}

#[test]
fn rowmetry_is_the_image_of_the_dockerfile() {
    let file = composed();
    let dockerfile = read("Dockerfile");
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let image = line.split(' ').next().unwrap_or_default();
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.chars().filter(char::is_ascii_digit).count() >= 3, "{image} is not pinned");
    }
    assert!(dockerfile.contains("HEALTHCHECK"), "an image that is run by itself tells how it is");
    for name in ["rowmetry", "applications"] {
        let service = &file["services"][name];
        assert_eq!(service["image"], format!("rowmetry:{}", env!("CARGO_PKG_VERSION")), "{name}");
        assert_eq!(service["build"], ".", "{name}");
        assert_eq!(service["user"], image_user(), "{name}");
    }
    let state = texts(&file["services"]["rowmetry"]["volumes"]);
    let folder = dockerfile.lines().find_map(|line| line.strip_prefix("VOLUME ")).expect("the image keeps its state");
    assert!(state.contains(&format!("rowmetry:{folder}").as_str()), "{state:?}");
    // What the build needs comes along, and the rest of what is large does not.
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(ignored.contains(&"target") && ignored.contains(&".git"), "{ignored:?}");
    for needed in ["Cargo.toml", "Cargo.lock", "build.rs", "src", "packs", "benches"] {
        assert!(!ignored.contains(&needed), "{needed} is needed");
    }
}

#[test]
fn the_traffic_is_asked_for_in_words_that_rowmetry_knows() {
    let file = composed();
    let command = texts(&file["services"]["applications"]["command"]).join(" ");
    let asked: Vec<&str> = command.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(asked.contains(&"--traffic-only") && asked.len() >= 5, "{command}");
    let help = Command::new(BINARY).args(["demo", "--help"]).output().expect("it can be started");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in asked {
        assert!(
            help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
            "no {option} in: {help}"
        );
    }
    for variable in command.split("export ").skip(1).filter_map(|rest| rest.split('=').next()) {
        assert!(help.contains(variable), "no {variable} in: {help}");
    }
}

#[test]
fn prometheus_takes_its_file_and_finds_every_rule() {
    let folder = Folder::new("compose-prometheus");
    let text = read("deploy/compose/prometheus.yml");
    let shipped = "/etc/prometheus/rules/";
    assert!(text.contains(shipped), "{text}");
    let here = format!("{}/", repository("alerts").display());
    let config = folder.write("prometheus.yml", text.replace(shipped, &here));
    let output = Command::new(program("promtool")).args(["check", "config"]).arg(config).output().expect("it starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let checked: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("Checking ")).collect();
    for stem in rule_files() {
        let file = format!("{here}{stem}.yml");
        assert!(checked.contains(&file.as_str()), "{stem}.yml is loaded by no pattern: {said}");
    }
    let parsed = yaml("prometheus.yml", &text);
    let file = composed();
    for config in parsed["scrape_configs"].as_array().into_iter().flatten() {
        let targets = texts(&config["static_configs"][0]["targets"]);
        assert!(!targets.is_empty(), "{config}");
        for target in targets {
            let host = target.split(':').next().unwrap_or_default();
            assert!(host == "localhost" || file["services"].get(host).is_some(), "nobody is called {host}");
        }
    }
}

#[test]
fn grafana_knows_where_everything_is() {
    let file = composed();
    let sources = yaml("datasources", &read("deploy/compose/grafana/datasources/datasources.yaml"));
    let sources = sources["datasources"].as_array().expect("there are some");
    let uids: Vec<&str> = sources.iter().filter_map(|source| source["uid"].as_str()).collect();
    for source in sources {
        let url = url::Url::parse(source["url"].as_str().unwrap_or_default()).expect("it has a URL");
        let host = url.host_str().unwrap_or_default();
        assert!(file["services"].get(host).is_some(), "nobody is called {host}");
    }
    let prometheus = sources.iter().find(|source| source["type"] == "prometheus").expect("it is there");
    let leads_to = &prometheus["jsonData"]["exemplarTraceIdDestinations"][0];
    assert_eq!(leads_to["name"], "trace_id", "the label that our exemplars have");
    assert!(uids.contains(&leads_to["datasourceUid"].as_str().unwrap_or_default()), "{leads_to}");
    let dashboards = yaml("dashboards", &read("deploy/compose/grafana/dashboards/dashboards.yaml"));
    let path = dashboards["providers"][0]["options"]["path"].as_str().expect("it has a folder");
    let volumes = texts(&file["services"]["grafana"]["volumes"]);
    assert!(volumes.contains(&format!("./dashboards:{path}:ro").as_str()), "{volumes:?}");
    let home = &file["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    let home = home.as_str().and_then(|home| home.strip_prefix(path)).expect("it is one of the dashboards");
    let home = repository(&format!("dashboards{home}"));
    assert!(home.exists(), "{} is not there", home.display());
}
