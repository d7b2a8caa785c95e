//! Scenarios: both services as processes against a real Kafka, a simulated org, and targets of ours and of others.
//!
//! This library sets the scene; the scenarios are in `tests/`. It shares no code with the services: it knows their
//! commands, files, endpoints and topics, as an operator would.
#![allow(clippy::disallowed_methods, reason = "test support: it waits and reads the clock")]

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kafka_harness::{ContractConsumer, Kafka, Process, ProcessSpec, Record, built_binary, repository_root};
use salesforce_sim::{Org, Sim, SimConfig, SimUser};
use serde_json::{Value, json};
use target_sims::{ScimSim, ScimSimConfig};
use tempfile::TempDir;

mod history;
mod kafka_proxy;
pub mod kill;
mod service;
pub mod stage;

pub use history::History;
pub use kafka_proxy::{Api, EndTxn, KafkaProxy, Keep};
pub use service::Service;

/// How long anything may take before a scenario gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The bearer token of every target.
pub const TOKEN: &str = "scenario-token";

/// A token of the role operator, for services that are configured with [`Scene::tokens_file`].
pub const OPERATOR: &str = "operator-token";
/// SHA-256 of [`OPERATOR`].
const OPERATOR_HASH: &str = "0850123315d21ab90f4f7236408a52ef6dbd6a02a6550e5c10dc73f4d993680e";
/// A token of the role approver, whose name is `ada`.
pub const APPROVER: &str = "approver-token";
/// SHA-256 of [`APPROVER`].
const APPROVER_HASH: &str = "697e4faac709ff91018bf81268f62b015913da0d39c2e58eb4ee5dbffc4da325";

/// An org, a broker and a folder for configuration files.
pub struct Scene {
    pub kafka: Arc<Kafka>,
    pub prefix: String,
    pub sim: Sim,
    pub folder: TempDir,
}

/// A target as the policy folder names it.
pub struct TargetSpec<'a> {
    pub name: &'a str,
    pub base_url: &'a str,
    /// Merged over the usual file.
    pub policy: Value,
}

/// A broker that answers nobody. It wakes when this is dropped, also by a test that fails.
#[must_use]
pub struct FrozenBroker(Arc<Kafka>);

impl Drop for FrozenBroker {
    fn drop(&mut self) {
        let _ = self.0.resume();
    }
}

impl Scene {
    /// Freezes the broker; `None` when it is somebody else's cluster.
    pub fn freeze_broker(&self) -> Option<FrozenBroker> {
        let paused = self.kafka.pause().is_ok();
        paused.then(|| FrozenBroker(Arc::clone(&self.kafka)))
    }

    pub async fn set(config: SimConfig) -> Self {
        let kafka = Kafka::shared().await;
        let prefix = format!("{}.", kafka.unique_prefix());
        let config = SimConfig {
            keepalive: config.keepalive.min(Duration::from_secs(2)),
            ..config
        };
        let sim = Sim::start(config).await.expect("the simulator starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("token"), TOKEN).expect("the folder is writable");
        std::fs::write(folder.path().join("client-secret"), sim.client_secret()).expect("the folder is writable");
        Self {
            kafka,
            prefix,
            sim,
            folder,
        }
    }

    pub fn org(&self) -> Arc<Org> {
        self.sim.org()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A file for `http.tokensFile` that knows [`OPERATOR`] and [`APPROVER`].
    pub fn tokens_file(&self) -> PathBuf {
        let path = self.path("tokens");
        let lines = format!("operator {OPERATOR_HASH} scenario\napprover {APPROVER_HASH} ada\n");
        std::fs::write(&path, lines).expect("the folder is writable");
        path
    }

    /// The file of one token, for `--token-file`.
    pub fn token_file(&self, token: &str) -> PathBuf {
        let path = self.path(token);
        std::fs::write(&path, token).expect("the folder is writable");
        path
    }

    fn kafka_config(&self) -> Value {
        json!({ "bootstrapServers": self.kafka.bootstrap(), "prefix": self.prefix, "topics": "manage", "replicationFactor": 1 })
    }

    /// The usual configuration of ingest-service, with `change` merged over it.
    pub fn ingest_config(&self, change: &Value) -> PathBuf {
        let mut config = json!({
            "salesforce": { "url": self.sim.http_url(), "orgId": self.sim.org_id(), "auth": { "method": "clientCredentials",
                "clientId": self.sim.client_id(), "clientSecret": { "file": self.path("client-secret") } } },
            "pubsub": { "endpoint": self.sim.grpc_url() },
            "kafka": self.kafka_config(), "http": { "bind": "127.0.0.1:0" }, "log": { "filter": "info" },
        });
        merge(&mut config, change);
        self.write("ingest", &config)
    }

    /// The usual configuration of apply-service.
    pub fn apply_config(&self, change: &Value) -> PathBuf {
        let mut config = json!({ "kafka": self.kafka_config(), "http": { "bind": "127.0.0.1:0" }, "policy": { "folder": self.path("policy") } });
        merge(&mut config, change);
        self.write("apply", &config)
    }

    /// Writes the policy folder. Without a guard: most scenarios change half a company on purpose.
    pub fn policy(&self, targets: &[TargetSpec<'_>]) {
        self.policy_in("policy", targets);
    }

    /// As [`Scene::policy`], into a folder of another name, for a service that is told so.
    pub fn policy_in(&self, name: &str, targets: &[TargetSpec<'_>]) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).expect("the folder is writable");
        for target in targets {
            let mut file = json!({
                "target": target.name, "preset": "scim", "mode": "enforce", "sources": [self.sim.org_id()],
                "connection": { "baseUrl": target.base_url, "auth": { "bearerTokenFile": self.path("token") } },
                "scope": { "filter": "all" }, "match": { "firstSync": "auto" }, "guard": { "windows": [] },
            });
            merge(&mut file, &target.policy);
            std::fs::write(folder.join(format!("{}.yaml", target.name)), file.to_string())
                .expect("the folder is writable");
        }
        folder
    }

    fn write(&self, name: &str, config: &Value) -> PathBuf {
        // A new file each time: a running service's own file never changes under it.
        let count = std::fs::read_dir(self.folder.path()).map_or(0, Iterator::count);
        let path = self.path(&format!("{name}-{count}.yaml"));
        std::fs::write(&path, config.to_string()).expect("the folder is writable");
        path
    }

    pub async fn ingest(&self, name: &str, change: &Value) -> Service {
        self.service(
            name,
            "ingest-service",
            &self.ingest_config(change),
            "ingest-service is up",
        )
        .await
    }

    pub async fn apply(&self, name: &str) -> Service {
        self.apply_with(name, &json!({})).await
    }

    /// With `change` merged over the usual configuration.
    pub async fn apply_with(&self, name: &str, change: &Value) -> Service {
        let mut config = json!({ "instance": { "name": name } });
        merge(&mut config, change);
        let config = self.apply_config(&config);
        self.service(name, "apply-service", &config, "apply-service starts")
            .await
    }

    async fn service(&self, name: &str, binary: &str, config: &Path, up: &str) -> Service {
        let process = Process::spawn(
            ProcessSpec::new(name, built_binary(binary))
                .arg("--config")
                .arg(config)
                .arg("run"),
        );
        let line = process.wait_for_line(up, PATIENCE).await;
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON log line: {line}"));
        let url = format!(
            "http://{}",
            line["address"].as_str().expect("the line names the address")
        );
        Service { process, url }
    }

    /// Runs a command of a service to its end: exit code and output.
    pub async fn command(&self, binary: &str, arguments: &[&str]) -> (i32, String) {
        let process = Process::spawn(ProcessSpec::new("command", built_binary(binary)).args(arguments));
        let status = process.wait(PATIENCE).await;
        let lines: Vec<String> = process.output().lines().iter().map(ToString::to_string).collect();
        (status.code().unwrap_or(-1), lines.join("\n"))
    }

    /// The messages on the topic, in order per key.
    pub async fn user_changes(&self) -> Vec<Record> {
        self.kafka.read_committed(&self.topic("user-change")).await
    }

    /// Versions per key rise by exactly 1 under `read_committed`, over tombstones, too. Gives the last version per user id
    /// of this scene's org.
    pub async fn assert_versions_rise_by_one(&self) -> BTreeMap<String, u64> {
        self.assert_versions_of_org_rise_by_one(&self.sim.org_id()).await
    }

    /// As [`Scene::assert_versions_rise_by_one`], for one of several orgs on the topic.
    pub async fn assert_versions_of_org_rise_by_one(&self, org: &str) -> BTreeMap<String, u64> {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for record in self.user_changes().await {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            let Some(id) = key.strip_prefix(&format!("{org}:")) else {
                continue;
            };
            if record.value.is_none() {
                continue;
            }
            let message = record.json();
            assert_eq!(message["user"]["id"], json!(id));
            let version = message["version"].as_u64().expect("a version");
            let before = last.insert(id.to_owned(), version).unwrap_or(0);
            assert_eq!(version, before + 1, "{id} jumps");
        }
        last
    }

    /// A subscriber in another language finds nothing to complain about.
    pub async fn assert_contract_holds(&self, at_least: u64) {
        let schema = repository_root().join("shared/contract/schema/user-change.v1.json");
        let consumer = ContractConsumer::prepare().await;
        let report = consumer
            .check(
                &self.kafka,
                &self.topic("user-change"),
                Some(&schema),
                at_least,
                PATIENCE,
            )
            .await;
        assert!(
            report.errors.is_empty(),
            "{:#?}",
            &report.errors[..report.errors.len().min(10)]
        );
    }

    /// People of the default population: without the user that Usher logs in as.
    pub fn members(&self) -> Vec<SimUser> {
        let own = self.org().integration_user_id();
        let is_member = |user: &SimUser| {
            user.id != own
                && user.text("UserType") == Some("Standard")
                && !user
                    .text("Email")
                    .is_some_and(|email| email.to_lowercase().ends_with(".invalid"))
        };
        self.org().users().into_iter().filter(is_member).collect()
    }

    /// Active people of the default population, without the users who do the work.
    pub fn people(&self) -> Vec<SimUser> {
        let org = self.org();
        let own = [org.admin_id(), org.integration_user_id()];
        let mut people = self.members();
        people.retain(|user| user.is_active() && !own.contains(&user.id));
        people
    }

    /// What differs between the org and the accounts of a target that uses the preset's mapping.
    pub fn differences(&self, accounts: &[Value]) -> Vec<String> {
        let mut differences = Vec::new();
        let mut found: BTreeMap<&str, &Value> = BTreeMap::new();
        for account in accounts {
            if let Some(external) = account["externalId"].as_str()
                && found.insert(external, account).is_some()
            {
                differences.push(format!("{external} has two accounts"));
            }
        }
        for person in self.members() {
            match (person.is_active(), found.remove(person.id.as_str())) {
                (true, None) => differences.push(format!("{} has no account", person.id)),
                (false, Some(account)) if account["active"] != json!(false) => {
                    differences.push(format!("{} left and is active", person.id))
                }
                (true, Some(account)) => {
                    let work = account["emails"]
                        .as_array()
                        .and_then(|emails| emails.iter().find(|email| email["type"] == "work"));
                    for (what, found, expected) in [
                        (
                            "active",
                            account["active"].as_bool().map(|flag| flag.to_string()),
                            Some("true".to_owned()),
                        ),
                        (
                            "userName",
                            text(&account["userName"]),
                            person.text("Username").map(str::to_owned),
                        ),
                        (
                            "familyName",
                            text(&account["name"]["familyName"]),
                            person.text("LastName").map(str::to_owned),
                        ),
                        (
                            "givenName",
                            text(&account["name"]["givenName"]),
                            person.text("FirstName").map(str::to_owned),
                        ),
                        (
                            "title",
                            text(&account["title"]),
                            person.text("Title").map(str::to_owned),
                        ),
                        (
                            "email",
                            work.and_then(|work| text(&work["value"])),
                            person.text("Email").map(str::to_owned),
                        ),
                    ] {
                        if found != expected {
                            differences.push(format!("{}: {what}", person.id));
                        }
                    }
                }
                _ => {}
            }
        }
        differences.extend(found.keys().map(|external| format!("{external} is nobody")));
        differences
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A target of ours that records every request.
pub async fn recording_target() -> ScimSim {
    target(Some(TOKEN.to_owned())).await
}

/// As [`recording_target`], with any bearer token: the record tells clients apart by it.
pub async fn open_target() -> ScimSim {
    target(None).await
}

async fn target(bearer_token: Option<String>) -> ScimSim {
    let address = ([127, 0, 0, 1], 0).into();
    let behaviour = target_sims::Behaviour::default();
    ScimSim::start(ScimSimConfig {
        address,
        bearer_token,
        behaviour,
    })
    .await
}

/// Resources of a SCIM server that others wrote, all pages.
pub async fn scim_users(base_url: &str) -> Vec<Value> {
    let client = reqwest::Client::new();
    let mut users = Vec::new();
    loop {
        let url = format!("{base_url}/Users?startIndex={}&count=100", users.len() + 1);
        let answer = client
            .get(url)
            .bearer_auth(TOKEN)
            .send()
            .await
            .expect("the SCIM server answers");
        let page: Value = answer.json().await.expect("a SCIM list");
        let found = page["Resources"].as_array().cloned().unwrap_or_default();
        if found.is_empty() {
            return users;
        }
        users.extend(found);
    }
}

/// Waits until `holds`; panics with what `explain` says when patience is over.
pub async fn eventually<F, T>(what: &str, holds: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    eventually_within(PATIENCE, what, holds).await
}

/// As [`eventually`], with a patience of its own.
pub async fn eventually_within<F, T>(patience: Duration, what: &str, mut holds: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match holds().await {
            Ok(value) => return value,
            Err(why) if Instant::now() > deadline => panic!("{what}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// As [`eventually`], for a list of complaints that must become empty.
pub async fn eventually_none<F>(what: &str, mut complaints: impl FnMut() -> F)
where
    F: Future<Output = Vec<String>>,
{
    eventually(what, || {
        let found = complaints();
        async move {
            let found = found.await;
            if found.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "{} complaints: {:?}",
                    found.len(),
                    &found[..found.len().min(5)]
                ))
            }
        }
    })
    .await;
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (slot, value) => *slot = value.clone(),
    }
}
