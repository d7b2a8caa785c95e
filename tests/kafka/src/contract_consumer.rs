//! Runs the Python consumer of `tests/contract-consumer`: a subscriber in another language, with its own idea of the contract.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::broker::{Kafka, blocking};
use crate::cache::repository_root;
use crate::process::{Process, ProcessSpec};
use crate::venv::VirtualEnv;

/// What it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerReport {
    pub messages: u64,
    pub users: u64,
    /// Empty when every message keeps the contract.
    pub errors: Vec<String>,
}

/// The consumer with its environment.
#[derive(Clone, Debug)]
pub struct ContractConsumer {
    environment: VirtualEnv,
    folder: PathBuf,
}

impl ContractConsumer {
    /// Makes the environment unless it is there.
    pub async fn prepare() -> ContractConsumer {
        let folder = repository_root().join("tests").join("contract-consumer");
        let requirements = folder.join("requirements.txt");
        let environment = blocking(move || VirtualEnv::for_requirements("contract-consumer", &requirements)).await;
        ContractConsumer { environment, folder }
    }

    /// Reads the whole topic and checks every message, against the JSON Schema too if one is given.
    pub async fn check(
        &self,
        kafka: &Kafka,
        topic: &str,
        schema: Option<&Path>,
        expect_min: u64,
        timeout: Duration,
    ) -> ConsumerReport {
        let mut spec = self
            .python()
            .arg("consume.py")
            .args(["--bootstrap", kafka.bootstrap(), "--topic", topic])
            .args(["--expect-min", &expect_min.to_string()])
            .args(["--timeout", &timeout.as_secs().to_string()]);
        if let Some(schema) = schema {
            spec = spec.arg("--schema").arg(schema);
        }
        let process = Process::spawn(spec);
        // Its own limit comes first; this one is for a process that hangs.
        let status = process.wait(timeout + Duration::from_secs(30)).await;
        let report = process.output().lines().iter().find_map(|line| {
            serde_json::from_str::<serde_json::Value>(line)
                .ok()
                .filter(|value| value.get("messages").is_some())
        });
        let Some(report) = report else {
            panic!("the contract consumer gave no report{}", process.story());
        };
        let errors: Vec<String> = report["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| error.as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(status.success(), errors.is_empty(), "{}", process.story());
        ConsumerReport {
            messages: report["messages"].as_u64().unwrap_or_default(),
            users: report["users"].as_u64().unwrap_or_default(),
            errors,
        }
    }

    /// Its Python, in its folder.
    pub fn python(&self) -> ProcessSpec {
        ProcessSpec::new("contract-consumer", self.environment.program("python"))
            .current_dir(&self.folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }
}
