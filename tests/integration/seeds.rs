//! The seeds of the fuzz targets (`fuzz/seeds`), run through what the targets run: `make fuzz` alone would tell too late that one is
//! stale.

use std::collections::BTreeSet;
use std::path::Path;

#[path = "../../fuzz/checks.rs"]
mod checks;

fn names(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let stem = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    files.flatten().filter_map(|file| stem(&file.path())).collect()
}

#[test]
fn every_seed_is_read_and_some_of_each_target_give_lines() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (target, check) in checks::TARGETS {
        let folder = fuzz.join("seeds").join(target);
        let seeds = names(&folder);
        assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
        let mut lines = 0;
        for seed in &seeds {
            lines += check(&std::fs::read(folder.join(seed)).expect("a seed can be read"));
        }
        assert!(lines > 0, "no seed of {target} gives a line");
    }
}

#[test]
fn every_target_is_built_and_has_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let targets: BTreeSet<String> = checks::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz.join("fuzz_targets")), targets);
    assert_eq!(names(&fuzz.join("seeds")), targets);
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("it is there");
    for target in &targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is not built");
        let source = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{target}.rs"))).expect("it is there");
        assert!(source.contains(&format!("checks::{target}(bytes)")), "{target} runs another");
    }
}
