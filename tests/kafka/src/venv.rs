//! Python virtual environments with pinned packages, made once.
//!
//! The name of the folder carries a hash of the requirements, so a changed pin gives a new environment and an old one is never
//! half upgraded.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::made_once;
use crate::machine;

const PACKAGES: &str = "python3 python3-venv";

/// A ready virtual environment.
#[derive(Clone, Debug)]
pub struct VirtualEnv {
    folder: PathBuf,
}

impl VirtualEnv {
    /// The environment for a requirements file. Blocks; the first call on a machine downloads.
    pub fn for_requirements(name: &str, requirements: &Path) -> VirtualEnv {
        let text = fs::read_to_string(requirements)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", requirements.display()));
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let folder = made_once(&format!("venv-{name}-{:016x}", hasher.finish()), |folder| {
            install(folder, requirements);
        });
        VirtualEnv { folder }
    }

    /// A program of this environment, such as `python`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

fn install(folder: &Path, requirements: &Path) {
    machine::require("python3", "--version", PACKAGES);
    // Debian ships `venv` without `ensurepip`, the part that makes it work, unless python3-venv is installed.
    let complete = Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !complete {
        panic!(
            "Python cannot make virtual environments; run: {}",
            machine::install_line(PACKAGES)
        );
    }
    machine::run(
        Command::new("python3").args(["-m", "venv"]).arg(folder),
        "make a virtual environment",
    );
    machine::run(
        Command::new(folder.join("bin").join("python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(requirements),
        "install Python packages",
    );
}
