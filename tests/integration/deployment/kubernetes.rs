//! Kubernetes' files: they fit the schemas of Kubernetes, the rules in them are those of alerts/, and each object finds the others.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{image_user, read, repository, rule_files, texts, yaml};
use crate::harness::python;

const FOLDER: &str = "deploy/kubernetes";
/// What marks everything of ours.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "rowmetry");

/// The objects of the base, and the example of a secret.
fn objects() -> Vec<(String, Value)> {
    let mut names: Vec<String> = std::fs::read_dir(repository(FOLDER))
        .expect("the folder is there")
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.to_owned()))
        .filter(|name| name.ends_with(".yaml") && !["kustomization.yaml", "rowmetry.yaml"].contains(&name.as_str()))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), yaml(&name, &read(&format!("{FOLDER}/{name}"))))).collect()
}

fn object(kind: &str) -> Value {
    let found = objects().into_iter().find(|(_, object)| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("there is no {kind}")).1
}

fn container() -> Value {
    object("Deployment")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn every_object_fits_the_schemas_of_kubernetes() {
    let files: Vec<String> = objects().into_iter().map(|(name, _)| read(&format!("{FOLDER}/{name}"))).collect();
    assert!(files.len() >= 7, "objects are missing");
    let report = python::run("check_kubernetes.py", files.join("\n---\n").as_bytes()).expect("it reads them");
    for told in report.as_array().expect("it is a list") {
        assert_eq!(told["complaint"], Value::Null, "{told}");
        assert_eq!(told["checked"], told["kind"] != "ServiceMonitor", "{told}");
    }
    // It tells good from bad: a word that Kubernetes does not know, and a number in the place of a text.
    for (good, bad) in [("revisionHistoryLimit: 3", "revisionsKept: 3"), ("type: Recreate", "type: 3")] {
        let broken = read(&format!("{FOLDER}/deployment.yaml")).replace(good, bad);
        let report = python::run("check_kubernetes.py", broken.as_bytes()).expect("it reads it");
        assert!(report[0]["complaint"].is_string(), "{bad}: {report}");
    }
}

#[test]
fn the_kustomization_has_every_object() {
    let kustomization = yaml("kustomization", &read(&format!("{FOLDER}/kustomization.yaml")));
    let listed: BTreeSet<&str> = texts(&kustomization["resources"]).into_iter().collect();
    let objects = objects();
    let mut wanted: BTreeSet<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
    assert!(wanted.remove("secret.example.yaml"), "nobody applies the example");
    wanted.insert("rules");
    assert_eq!(listed, wanted);
    let generated = &kustomization["configMapGenerator"][0];
    assert_eq!((&generated["name"], texts(&generated["files"])), (&"rowmetry".into(), vec!["rowmetry.yaml"]));
    assert!(repository(&format!("{FOLDER}/rowmetry.yaml")).exists());
    let image = &kustomization["images"][0];
    assert_eq!(image["name"], container()["image"]);
    assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"));
    for (name, object) in &objects {
        assert!(object["metadata"].get("namespace").is_none(), "{name}: the base is of no namespace");
        assert_eq!(object["metadata"]["labels"][LABEL.0], LABEL.1, "{name}");
    }
}

#[test]
fn rules_are_those_of_alerts() {
    let stems = rule_files();
    for stem in &stems {
        let rules = read(&format!("alerts/{stem}.yml"));
        let indented: String =
            rules.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("  {line}\n") }).collect();
        let committed = read(&format!("{FOLDER}/rules/{stem}.yaml"));
        let stale = format!("{stem}.yaml is stale; run `make rules`");
        assert!(committed.ends_with(&format!("\nspec:\n{indented}")), "{stale}");
        let committed = yaml(stem, &committed);
        assert_eq!(committed["kind"], "PrometheusRule");
        assert_eq!(committed["metadata"]["name"], format!("rowmetry-{}", stem.replace('_', "-")));
        assert_eq!(committed["spec"], yaml(stem, &rules), "{stale}");
    }
    let listed = yaml("rules", &read(&format!("{FOLDER}/rules/kustomization.yaml")));
    let wanted: Vec<String> = stems.iter().map(|stem| format!("{stem}.yaml")).collect();
    assert_eq!(texts(&listed["resources"]), wanted, "run `make rules`");
    let there = std::fs::read_dir(repository(&format!("{FOLDER}/rules"))).expect("it is there").count();
    assert_eq!(there, wanted.len() + 1, "run `make rules`");
}

#[test]
fn one_pod_without_rights_keeps_its_state() {
    let deployment = object("Deployment");
    let spec = &deployment["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&1.into(), &"Recreate".into()));
    let pod = &spec["template"]["spec"];
    let (user, group) =
        image_user().split_once(':').map(|(user, group)| (user.to_owned(), group.to_owned())).expect("both");
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!([&security["runAsUser"], &security["fsGroup"]].map(Value::to_string), [user, group]);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = container();
    let own = &container["securityContext"];
    assert_eq!((&own["readOnlyRootFilesystem"], &own["allowPrivilegeEscalation"]), (&true.into(), &false.into()));
    assert_eq!(texts(&own["capabilities"]["drop"]), ["ALL"]);
    for limits in ["requests", "limits"] {
        for what in ["cpu", "memory", "ephemeral-storage"] {
            assert!(container["resources"][limits].get(what).is_some(), "no {what} in {limits}");
        }
    }
    // Volumes and mounts are each other's, and the state lies where the image and the environment say.
    let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    let names: BTreeSet<&str> = volumes.iter().filter_map(|volume| volume["name"].as_str()).collect();
    let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
    assert_eq!(names, mounts.iter().filter_map(|mount| mount["name"].as_str()).collect());
    let mounted = |name: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == name);
        mount
            .and_then(|mount| mount["mountPath"].as_str())
            .unwrap_or_else(|| panic!("{name} is not mounted"))
            .to_owned()
    };
    let state = mounted("state");
    assert!(read("Dockerfile").contains(&format!("\nVOLUME {state}\n")));
    let variable = container["env"].as_array().into_iter().flatten().find(|one| one["name"] == "ROWMETRY_STATE_DIR");
    assert_eq!(variable.map(|variable| &variable["value"]), Some(&Value::from(state)));
    let claim = volumes.iter().find(|volume| volume["name"] == "state").expect("it is there");
    assert_eq!(claim["persistentVolumeClaim"]["claimName"], object("PersistentVolumeClaim")["metadata"]["name"]);
    assert!(texts(&container["args"]).contains(&format!("{}/rowmetry.yaml", mounted("config")).as_str()));
    // Every secret file that the configuration names is in the example.
    let config = read(&format!("{FOLDER}/rowmetry.yaml"));
    let folder = format!("{}/", mounted("secrets"));
    let example = object("Secret");
    let files: Vec<&str> = config.split(&folder).skip(1).filter_map(|rest| rest.lines().next()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert!(example["stringData"].get(file).is_some(), "{file} is not in secret.example.yaml");
    }
}

#[test]
fn prometheus_finds_the_pod_and_its_series_outlive_it() {
    let label = |value: &Value| value[LABEL.0] == LABEL.1;
    assert!(label(&object("Deployment")["spec"]["selector"]["matchLabels"]));
    assert!(label(&object("Deployment")["spec"]["template"]["metadata"]["labels"]));
    assert!(label(&object("Service")["spec"]["selector"]));
    assert!(label(&object("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]));
    let monitor = object("ServiceMonitor");
    assert!(label(&monitor["spec"]["selector"]["matchLabels"]));
    let container = container();
    let opened: BTreeSet<&str> =
        container["ports"].as_array().into_iter().flatten().filter_map(|port| port["name"].as_str()).collect();
    let service = object("Service");
    for port in service["spec"]["ports"].as_array().into_iter().flatten() {
        assert!(opened.contains(port["targetPort"].as_str().unwrap_or_default()), "{port}");
    }
    let endpoint = &monitor["spec"]["endpoints"][0];
    let named = service["spec"]["ports"].as_array().into_iter().flatten().any(|port| port["name"] == endpoint["port"]);
    assert!(named, "the service has no port {}", endpoint["port"]);
    // Health alerts have labels `endpoint` and `service`, which the operator would otherwise rename.
    assert_eq!(endpoint["honorLabels"], true);
    let relabelings = endpoint["relabelings"].as_array().expect("there are some");
    let dropped = relabelings.iter().find(|one| one["action"] == "labeldrop").and_then(|one| one["regex"].as_str());
    let dropped: BTreeSet<&str> = dropped.unwrap_or_default().split('|').collect();
    for changing in ["pod", "container", "endpoint", "service"] {
        assert!(dropped.contains(changing), "{changing} would be a label of every series");
    }
    for constant in ["instance", "job"] {
        let replaced = relabelings.iter().find(|one| one["targetLabel"] == constant).expect(constant);
        assert!(replaced["replacement"].is_string() && replaced.get("sourceLabels").is_none(), "{replaced}");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let asked = &container[probe]["httpGet"];
        let wanted = if probe == "readinessProbe" { "/readyz" } else { "/healthz" };
        assert_eq!((&asked["path"], &asked["port"]), (&wanted.into(), &"metrics".into()), "{probe}");
    }
}
