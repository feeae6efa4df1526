//! The `rowmetry` binary.

fn main() {}
