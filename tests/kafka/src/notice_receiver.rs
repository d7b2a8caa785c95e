//! Receives what people and endpoints would: a mail server (`aiosmtpd`) and a verifier of signed webhooks (`standardwebhooks`),
//! neither written by us. Each thing that arrives is a line of JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::broker::blocking;
use crate::ports::free_port;
use crate::process::{Process, ProcessSpec};
use crate::venv::VirtualEnv;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const START_ATTEMPTS: u32 = 3;

/// How it is started.
#[derive(Clone, Debug, Default)]
pub struct NoticeOptions {
    /// `starttls`, `implicit`, `none`, or `no-starttls`, which does not offer what it could.
    pub tls: &'static str,
    /// PEM files of certificate and key.
    pub certificate: Option<(String, String)>,
    /// User and password; without them everybody may send.
    pub login: Option<(String, String)>,
    /// The only mechanism that is offered.
    pub mechanism: Option<&'static str>,
    /// Secrets that webhooks are verified by, each for itself.
    pub secrets: Vec<String>,
    /// A folder: who sent something to a recipient or of a target waits for the answer as long as a file of that name is there.
    pub hold: Option<PathBuf>,
    /// Ports to listen at, for one that is started again; free ones otherwise.
    pub ports: Option<(u16, u16)>,
}

/// A running receiver; dropping it stops it.
#[derive(Debug)]
pub struct NoticeReceiver {
    process: Process,
    smtp_port: u16,
    http_port: u16,
}

impl NoticeReceiver {
    pub async fn start(options: NoticeOptions) -> NoticeReceiver {
        let environment = blocking(|| {
            let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("notice-receiver-requirements.txt");
            VirtualEnv::for_requirements("notice-receiver", &requirements)
        })
        .await;
        let mut failure = String::new();
        for _ in 0..START_ATTEMPTS {
            let (smtp_port, http_port) = options.ports.unwrap_or_else(|| (free_port(), free_port()));
            match Self::start_on(&environment, &options, smtp_port, http_port).await {
                Ok(receiver) => return receiver,
                Err(story) => failure = story,
            }
        }
        panic!("the receiver of notices did not start{failure}");
    }

    async fn start_on(
        environment: &VirtualEnv,
        options: &NoticeOptions,
        smtp_port: u16,
        http_port: u16,
    ) -> Result<NoticeReceiver, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("notice-receiver.py");
        let mut spec = ProcessSpec::new("notice-receiver", environment.program("python"))
            .arg(script)
            .args([
                "--smtp-port",
                &smtp_port.to_string(),
                "--http-port",
                &http_port.to_string(),
            ])
            .args(["--tls", options.tls]);
        if let Some((certificate, key)) = &options.certificate {
            spec = spec.args(["--certificate", certificate, "--key", key]);
        }
        if let Some((user, password)) = &options.login {
            spec = spec.args(["--user", user, "--password", password]);
        }
        if let Some(mechanism) = options.mechanism {
            spec = spec.args(["--mechanism", mechanism]);
        }
        for secret in &options.secrets {
            spec = spec.args(["--secret", secret]);
        }
        if let Some(hold) = &options.hold {
            spec = spec.arg("--hold").arg(hold);
        }
        let process = Process::spawn(spec);
        match process
            .output()
            .wait_for(0, |line| line == "ready", START_TIMEOUT)
            .await
        {
            Some(_) => Ok(NoticeReceiver {
                process,
                smtp_port,
                http_port,
            }),
            None => Err(process.story()),
        }
    }

    pub fn smtp_port(&self) -> u16 {
        self.smtp_port
    }

    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Everything of this kind so far: `mail`, `webhook` or `login`.
    pub fn received(&self, kind: &str) -> Vec<Value> {
        let lines = self.process.output().lines();
        let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|line| line.get(kind).is_some()).collect()
    }

    /// Everything printed, for failure messages.
    pub fn story(&self) -> String {
        self.process.story()
    }
}
