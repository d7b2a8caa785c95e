//! Third-party places for files: `moto`'s S3 from PyPI, Microsoft's Azurite from npm, and WebDAV by `rclone`, a Debian package.
//! Not written by us.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::blocking;
use crate::cache::repository_root;
use crate::machine;
use crate::node_packages::node_packages;
use crate::ports::free_port;
use crate::process::{Process, ProcessSpec};
use crate::venv::VirtualEnv;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const START_ATTEMPTS: u32 = 3;

/// S3 in memory: conditional writes are honoured, signatures are not checked. Dropping it stops it.
#[derive(Debug)]
pub struct S3Server {
    process: Process,
    url: String,
}

impl S3Server {
    pub async fn start() -> S3Server {
        let environment = blocking(|| {
            let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("moto-requirements.txt");
            VirtualEnv::for_requirements("moto", &requirements)
        })
        .await;
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            let port = free_port();
            // Not by its script, which names its interpreter by the path that the environment had when it was made.
            let spec = ProcessSpec::new("moto", environment.program("python"))
                .args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()])
                .env("PYTHONUNBUFFERED", "1");
            let process = Process::spawn(spec);
            let ready = |line: &str| line.contains("Running on http://");
            if process.output().wait_for(0, ready, START_TIMEOUT).await.is_some() {
                let url = format!("http://127.0.0.1:{port}");
                return S3Server { process, url };
            }
            failure = process.story();
        }
        panic!("moto did not start{failure}");
    }

    /// For example `http://127.0.0.1:5000`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process, to stop it for a while.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Azure Blob Storage in memory: signatures are checked, conditional writes are honoured. Dropping it stops it.
#[derive(Debug)]
pub struct AzureServer {
    process: Process,
    url: String,
}

impl AzureServer {
    /// The account that it has, and its published key.
    pub const ACCOUNT: &str = "devstoreaccount1";
    pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    pub async fn start() -> AzureServer {
        let folder = blocking(|| node_packages("azurite", &repository_root().join("tests/azurite"))).await;
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            let port = free_port();
            let spec = ProcessSpec::new("azurite", "node")
                .arg(folder.join("node_modules/azurite/dist/src/blob/main.js"))
                .args(["--inMemoryPersistence", "--disableTelemetry", "--silent"])
                .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
                .current_dir(folder.clone());
            let process = Process::spawn(spec);
            let ready = |line: &str| line.contains("successfully listens on");
            if process.output().wait_for(0, ready, START_TIMEOUT).await.is_some() {
                let url = format!("http://127.0.0.1:{port}/{}", Self::ACCOUNT);
                return AzureServer { process, url };
            }
            failure = process.story();
        }
        panic!("Azurite did not start{failure}");
    }

    /// With the account in its path, for example `http://127.0.0.1:10000/devstoreaccount1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process, to stop it for a while.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// A WebDAV server over a folder. Dropping it stops it.
#[derive(Debug)]
pub struct WebDavServer {
    _process: Process,
    url: String,
    folder: TempDir,
}

impl WebDavServer {
    /// The user and the password that it asks for.
    pub const USER: &str = "list";
    pub const PASSWORD: &str = "dav-pass-word";

    pub async fn start() -> WebDavServer {
        machine::require("rclone", "version", "rclone");
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            let folder = tempfile::Builder::new()
                .prefix("usher-webdav-")
                .tempdir()
                .unwrap_or_else(|error| panic!("cannot create a temporary folder: {error}"));
            let port = free_port();
            let spec = ProcessSpec::new("rclone", "rclone")
                .args(["serve", "webdav"])
                .arg(folder.path())
                .args(["--addr", &format!("127.0.0.1:{port}"), "--config", "/dev/null"])
                // What others put into the folder is seen at once.
                .args(["--dir-cache-time", "0s", "--user", Self::USER, "--pass", Self::PASSWORD])
                .scratch(folder.path());
            let process = Process::spawn(spec);
            let ready = |line: &str| line.contains("WebDav Server started");
            if process.output().wait_for(0, ready, START_TIMEOUT).await.is_some() {
                let url = format!("http://127.0.0.1:{port}");
                return WebDavServer {
                    _process: process,
                    url,
                    folder,
                };
            }
            failure = process.story();
        }
        panic!("rclone did not start{failure}");
    }

    /// For example `http://127.0.0.1:5000`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
