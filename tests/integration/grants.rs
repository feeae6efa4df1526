//! The grants in the applications' pages are those that `rowmetry check` prints for their tables.
//!
//! `ROWMETRY_WRITE_GRANTS=1 cargo test --test integration grants` writes them anew.

use super::harness::exporter::Setup;
use super::harness::{Cluster, test_file};

const BEGINNING: &str = "<!-- grants: tests/integration/grants.rs compares them with `rowmetry check` -->\n";
const END: &str = "<!-- end -->";

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_have_the_grants_that_check_prints() {
    for app in ["coding_platform", "mentor", "promptcademy", "syncedup", "voyager"] {
        let database = Cluster::shared().database().await;
        let schema = std::fs::read_to_string(test_file("fixtures").join(format!("{app}.sql"))).expect("it is there");
        database.run(schema).await;
        let setup = Setup::of(&database.url).with("packs", "[]").sourced("packs", format!("[{app}]"));
        let output = setup.command(&["check"]).args(["--format", "json"]).output().expect("the binary can be started");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        let role = report["sources"][0]["role"].as_str().unwrap_or_else(|| panic!("{app}: no role: {report}"));
        let role = role.replace(&format!("\"{}\"", database.name), "\"your_database\"");
        let made = format!("{BEGINNING}\n```sql\n{role}\n```\n\n{END}");
        let path = test_file(&format!("../docs/apps/{app}.md"));
        let page = std::fs::read_to_string(&path).expect("every application has a page");
        let (before, rest) = page.split_once(BEGINNING).unwrap_or_else(|| panic!("docs/apps/{app}.md has no grants"));
        let (_, after) = rest.split_once(END).expect("the grants have an end");
        let wanted = format!("{before}{made}{after}");
        if std::env::var_os("ROWMETRY_WRITE_GRANTS").is_some() {
            std::fs::write(&path, wanted).expect("the repository can be written");
        } else {
            assert!(
                page == wanted,
                "docs/apps/{app}.md is stale: ROWMETRY_WRITE_GRANTS=1 cargo test --test integration grants"
            );
        }
    }
}
