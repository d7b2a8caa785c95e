//! The third-party SCIM server `scim2-server` as a test target: strict, in memory, not written by us.
//!
//! It runs on the Python standard library's single-threaded web server, so a few hundred users are its measure.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::blocking;
use crate::ports::free_port;
use crate::process::{Process, ProcessSpec};
use crate::venv::VirtualEnv;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const START_ATTEMPTS: u32 = 3;

/// How the server is started.
#[derive(Clone, Debug, Default)]
pub struct Scim2Options {
    /// Without a token the server accepts every request.
    pub bearer_token: Option<String>,
    /// An ordinary ServiceProviderConfig that reshapes the server: no PATCH, no filter, cursor paging only, ...
    ///
    /// Never set `filter.maxResults` to 0: every list comes back empty then.
    pub service_provider_config: Option<serde_json::Value>,
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Scim2Server {
    process: Process,
    base_url: String,
    // Holds the configuration file for as long as the server may read it.
    _folder: TempDir,
}

impl Scim2Server {
    pub async fn start(options: Scim2Options) -> Scim2Server {
        let environment = blocking(|| {
            let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("scim2-server-requirements.txt");
            VirtualEnv::for_requirements("scim2-server", &requirements)
        })
        .await;
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            match Self::start_on_free_port(&environment, &options).await {
                Ok(server) => return server,
                Err(story) => failure = story,
            }
        }
        panic!("scim2-server did not start{failure}");
    }

    async fn start_on_free_port(environment: &VirtualEnv, options: &Scim2Options) -> Result<Scim2Server, String> {
        let folder = tempfile::Builder::new()
            .prefix("usher-scim2-")
            .tempdir()
            .unwrap_or_else(|error| panic!("cannot create a temporary folder: {error}"));
        let port = free_port();
        let mut spec = ProcessSpec::new("scim2-server", environment.program("scim2-server"))
            .args(["--hostname", "127.0.0.1", "--port", &port.to_string()])
            // Else Python keeps the line that says it is ready in a buffer.
            .env("PYTHONUNBUFFERED", "1")
            .scratch(folder.path());
        if let Some(token) = &options.bearer_token {
            spec = spec.args(["--bearer-token", token]);
        }
        if let Some(config) = &options.service_provider_config {
            let path = folder.path().join("service-provider-config.json");
            std::fs::write(&path, config.to_string())
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
            spec = spec.arg("--service-provider-config").arg(path);
        }
        let process = Process::spawn(spec);
        let ready = |line: &str| line.starts_with("Serving SCIM on ");
        match process.output().wait_for(0, ready, START_TIMEOUT).await {
            Some(_) => Ok(Scim2Server {
                process,
                base_url: format!("http://127.0.0.1:{port}/v2"),
                _folder: folder,
            }),
            None => Err(process.story()),
        }
    }

    /// For example `http://127.0.0.1:21080/v2`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The process, to freeze it or to read its request log.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
