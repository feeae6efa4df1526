//! Two parsers that Rowmetry's authors did not write: Python's `prometheus_client` and `protobuf`.
//!
//! With `--json` the scripts in `tests/` read standard input and print JSON; what they refuse ends them with an error.

use std::io::Write;
use std::process::{Command, Stdio};

use super::test_file;

/// Runs a script of `tests/` in the Python environment that `tests/install.sh` made.
pub fn run(script: &str, input: &[u8]) -> Result<serde_json::Value, String> {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    assert!(std::path::Path::new(python).exists(), "there is no {python}; run tests/install.sh");
    let mut child = Command::new(python)
        .arg(test_file(script))
        .arg("--json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    // The reader may give up early; then its own complaint is the better message.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        let (said, cried) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        return Err(format!("{script}: {said}{cried}"));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("{script} printed no JSON: {e}"))
}
