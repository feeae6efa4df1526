//! Builds again when a pack is added or removed: the packs are part of the program.

fn main() {
    println!("cargo::rerun-if-changed=packs");
}
