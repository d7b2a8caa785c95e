//! The third-party SCIM libraries `scimmy` and `scimmy-routers` as a test target, on Express 4 and on Express 5.
//!
//! On 4 it is the lenient server: case decides in filters, unknown attributes find nothing, versions are never checked. On 5 it
//! ignores `startIndex` and `count` as well: every page is page one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::broker::blocking;
use crate::cache::repository_root;
use crate::node_packages::node_packages;
use crate::process::{Process, ProcessSpec};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What the server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Express {
    Four,
    Five,
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Scimmy {
    process: Process,
    base_url: String,
}

impl Scimmy {
    pub async fn start(express: Express, bearer_token: &str) -> Scimmy {
        let name = match express {
            Express::Four => "express-4",
            Express::Five => "express-5",
        };
        let program = blocking(move || program(name)).await;
        let folder = program.parent().expect("a file is in a folder").to_owned();
        let process = Process::spawn(
            ProcessSpec::new("scimmy", "node")
                .arg(&program)
                .arg(bearer_token)
                .current_dir(folder),
        );
        let base_url = announced(&process).await;
        Scimmy { process, base_url }
    }

    /// For example `http://127.0.0.1:21080/scim`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The process, to freeze it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The server beside the packages that it loads.
fn program(name: &str) -> PathBuf {
    let source = repository_root().join("tests/scimmy");
    let folder = node_packages(&format!("scimmy-{name}"), &source.join(name));
    let program = folder.join("server.mjs");
    place(&source.join("server.mjs"), &program);
    program
}

/// Copies by way of a rename: tests of other processes may be loading the file.
fn place(from: &Path, to: &Path) {
    let half = to.with_extension(format!("{}-{}", std::process::id(), unique()));
    std::fs::copy(from, &half)
        .and_then(|_| std::fs::rename(&half, to))
        .unwrap_or_else(|error| panic!("cannot copy {} to {}: {error}", from.display(), to.display()));
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The address in the JSON line that the servers of `tests/` print when they serve.
pub(crate) async fn announced(process: &Process) -> String {
    let ready = |line: &str| line.contains("\"base_url\"");
    let Some(line) = process.output().wait_for(0, ready, START_TIMEOUT).await else {
        panic!("the server did not start{}", process.story());
    };
    let line: serde_json::Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"));
    let address = line["base_url"].as_str().expect("an address");
    address.trim_end_matches('/').to_owned()
}
