//! Pinned npm packages, installed once.
//!
//! The name of the folder carries a hash of the lock file, so a changed pin gives a new folder and an old one is never half
//! upgraded. Scripts of packages do not run.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::made_once;
use crate::machine;

/// The folder that `package.json`, its lock file and `.npmrc` in `source` describe, with the packages in it. Blocks; the first call on a
/// machine downloads.
pub(crate) fn node_packages(name: &str, source: &Path) -> PathBuf {
    assert!(
        machine::node_is_at_least(20),
        "this test needs Node 20.18.1 or newer and npm on the path; run: scripts/setup.sh test"
    );
    let mut hasher = DefaultHasher::new();
    for file in ["package.json", "package-lock.json"] {
        read(&source.join(file)).hash(&mut hasher);
    }
    made_once(&format!("node-{name}-{:016x}", hasher.finish()), |folder| {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            let text = read(&source.join(file));
            fs::write(folder.join(file), text)
                .unwrap_or_else(|error| panic!("cannot write {file} to {}: {error}", folder.display()));
        }
        machine::run(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
                .current_dir(folder),
            "install npm packages",
        );
    })
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
