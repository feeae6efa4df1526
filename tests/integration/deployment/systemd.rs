//! The systemd unit: systemd takes it, it is as closed as it can be, and the example of a configuration that goes with it works.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use super::{read, repository};
use crate::harness::exporter::BINARY;
use crate::harness::guard::{self, Folder};
use crate::harness::program;

const UNIT: &str = "deploy/systemd/rowmetry.service";
/// Where the unit expects the program.
const INSTALLED: &str = "/usr/local/bin/rowmetry";
/// The most that systemd may find open, of 100.
const EXPOSURE: &str = "15";

/// The unit, with the program that is there.
fn unit(folder: &Folder, text: &str) -> String {
    folder.write("rowmetry.service", text.replace(INSTALLED, BINARY)).display().to_string()
}

fn systemd_analyze(arguments: &[&str]) -> Output {
    Command::new(program("systemd-analyze")).args(arguments).output().expect("systemd-analyze can be started")
}

/// Settings of `[Service]`, the values of those that come several times behind each other.
fn settings() -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = read(UNIT);
    let (_, service) = text.split_once("[Service]\n").expect("it is a service");
    for line in service.lines().take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            settings.entry(name.into()).or_default().push(value.into());
        }
    }
    settings
}

#[test]
fn systemd_takes_the_unit() {
    let folder = Folder::new("systemd");
    let file = unit(&folder, &read(UNIT));
    let output = systemd_analyze(&["verify", "--man=no", &file]);
    let said = String::from_utf8_lossy(&output.stderr);
    // It looks at all units that ours leads to; what it says of others is not ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("rowmetry")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
    let broken = unit(&folder, &read(UNIT).replace("ProtectSystem=strict", "ProtectSystem=strictly"));
    let output = systemd_analyze(&["verify", "--man=no", &broken]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("rowmetry"), "it tells good from bad");
}

#[test]
fn the_unit_is_closed() {
    let folder = Folder::new("systemd-security");
    let file = unit(&folder, &read(UNIT));
    let threshold = format!("--threshold={EXPOSURE}");
    let output = systemd_analyze(&["security", "--offline=yes", "--no-pager", &threshold, &file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let settings = settings();
    for (name, value) in [
        ("DynamicUser", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("StateDirectory", "rowmetry"),
        // The exit code of a configuration that is wrong.
        ("RestartPreventExitStatus", "2"),
    ] {
        assert_eq!(settings.get(name).map(Vec::as_slice), Some([value.to_owned()].as_slice()), "{name}");
    }
    // What Rowmetry tells of its own process stands below /proc/stat, too.
    assert!(!settings.contains_key("ProcSubset"));
    // No secret in the environment, where everybody who may look at the unit reads it.
    assert_eq!(settings["Environment"], ["ROWMETRY_STATE_DIR=%S/rowmetry"]);
}

#[test]
fn the_example_of_a_configuration_works_with_its_credentials() {
    let settings = settings();
    let folder = Folder::new("systemd-config");
    let loaded: Vec<&str> = settings["LoadCredential"].iter().filter_map(|one| one.split(':').next()).collect();
    let config = read("deploy/systemd/rowmetry.yaml");
    let mut named = config.split("${CREDENTIALS_DIRECTORY}/").skip(1).filter_map(|rest| rest.lines().next());
    assert!(named.all(|name| loaded.contains(&name)), "the unit loads {loaded:?}");
    for name in &loaded {
        folder.write(name, format!("postgres://nobody:secret@127.0.0.1:{}/nothing\n", guard::free_port()));
    }
    let check = |config: &str| {
        guard::command_as(None, BINARY, folder.path())
            .args(["check", "--config"])
            .arg(repository(config))
            .env("CREDENTIALS_DIRECTORY", folder.path())
            .output()
            .expect("the exporter can be started")
    };
    // 1: nobody answers at that URL. 2 would be a configuration that is wrong.
    let output = check("deploy/systemd/rowmetry.yaml");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("shop") && !said.contains("secret"), "{said}");
    // That of Kubernetes, whose secrets are elsewhere.
    for name in ["database_url", "redis_url", "drain_token"] {
        let host = format!("127.0.0.1:{}", guard::free_port());
        let url =
            if name == "redis_url" { format!("redis://{host}") } else { format!("postgres://nobody@{host}/nothing") };
        folder.write(name, url);
    }
    let here = format!("{}/", folder.path().display());
    let kubernetes = read("deploy/kubernetes/rowmetry.yaml").replace("/run/secrets/rowmetry/", &here);
    let kubernetes = folder.write("kubernetes.yaml", kubernetes);
    let output = check(&kubernetes.display().to_string());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("shop-redis") && said.contains("shop-logs"), "{said}");
}
