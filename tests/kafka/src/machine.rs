//! Programs that tests need on the machine, and the one line that installs a missing one.
//!
//! Left out on purpose: installing. `scripts/setup.sh test` does that; a test must not change the machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Panics with the line to run unless `program` starts.
pub(crate) fn require(program: &str, version_argument: &str, packages: &str) {
    let found = Command::new(program)
        .arg(version_argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        panic!("`{program}` is missing; run: {}", install_line(packages));
    }
}

/// The line that a person copies.
pub(crate) fn install_line(packages: &str) -> String {
    format!("sudo apt-get install -y {packages}")
}

/// Runs a set-up command to its end; panics with what it printed if it fails.
pub(crate) fn run(command: &mut Command, purpose: &str) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot {purpose}: {command:?} did not start: {error}"));
    if !output.status.success() {
        panic!(
            "cannot {purpose}: {command:?} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
}

/// Whether a `node` on the path has at least this major version; the JavaScript clients name the one they need.
pub fn node_is_at_least(major: u32) -> bool {
    let Ok(output) = Command::new("node").arg("--version").output() else {
        return false;
    };
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|found| found.parse::<u32>().ok())
        .is_some_and(|found| found >= major)
}

/// A binary of this workspace, next to the running test in the target folder.
///
/// Cargo builds binaries of *other* packages for no test, so this panics with the line to run when it is not there.
pub fn built_binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the system knows which program runs");
    // target/debug/deps/<test> -> target/debug/<name>
    let binary = this.ancestors().nth(2).map(|folder| folder.join(name));
    match binary {
        Some(binary) if binary.is_file() => binary,
        _ => panic!("the binary `{name}` is not built; run: make build"),
    }
}
