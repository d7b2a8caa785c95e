//! One installation for tests: topics of its own on a real Kafka, a policy folder, a recording SCIM application per target,
//! and services in this process.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use apply_service::{App, Config, StatusHandle, config::DEFAULTS, status::TargetStatus};
use jiff::Timestamp;
use kafka_harness::Kafka;
use serde_json::Value;
use target_sims::{ScimSim, ScimSimConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use usher_contract::{Cause, ChangeKind, CloudEvent, Known, Origin, TargetName, User, UserChange, UserKey};
use usher_runtime::{
    config::load_text,
    shutdown::{CancellationToken, ServiceError},
};

pub(crate) const ORG: &str = "00D000000000001EAA";
/// Long: a machine that runs several brokers at once takes its time, and only a failure waits for the end of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn key(n: u32) -> UserKey {
    let user = format!("005{n:012}").parse().expect("an id");
    UserKey::new(ORG.parse().expect("an id"), user)
}

pub(crate) fn person(n: u32, version: u64) -> UserChange {
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let mut user = User::unknown(key(n));
    user.username = Known::Value(format!("u{n}@acme.example"));
    user.email = Known::Value(format!("u{n}@acme.example"));
    user.given_name = Known::Value("Zoë".into());
    user.family_name = Known::Value(format!("O'Neil {n}"));
    user.display_name = Known::Value(format!("Zoë O'Neil {n}"));
    user.active = Known::Value(true);
    let cause = Cause {
        origin: Origin::Query,
        committed_at: None,
        observed_at: now,
        read_at: None,
        commit_number: None,
        transaction_key: None,
        changed_by: None,
        recorded_at: None,
        approval: None,
    };
    UserChange {
        version,
        kind: ChangeKind::Updated,
        changed: vec![],
        before: None,
        user,
        cause,
    }
}

/// One installation: its own topics, a policy folder, an application per target.
pub(crate) struct Installation {
    pub(crate) kafka: Arc<Kafka>,
    pub(crate) prefix: String,
    pub(crate) policy: TempDir,
    pub(crate) targets: BTreeMap<String, ScimSim>,
}

impl Installation {
    pub(crate) async fn with_targets(names: &[&str]) -> Self {
        let (kafka, policy) = (Kafka::shared().await, TempDir::new().expect("a folder"));
        let mut targets = BTreeMap::new();
        for name in names {
            let sim = ScimSim::start(ScimSimConfig::default()).await;
            write_policy(policy.path(), name, sim.base_url());
            targets.insert((*name).to_owned(), sim);
        }
        let prefix = kafka.unique_prefix();
        Self {
            kafka,
            prefix,
            policy,
            targets,
        }
    }

    pub(crate) fn config(&self) -> Config {
        self.config_with("")
    }

    /// With further keys of `http`.
    fn config_with(&self, http: &str) -> Config {
        let text = format!(
            "kafka: {{ bootstrapServers: '{}', prefix: '{}', replicationFactor: 1 }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0'{http} }}\n",
            self.kafka.bootstrap(),
            self.prefix,
            self.policy.path().display()
        );
        load_text(DEFAULTS, Some(("test", &text)), &[]).expect("a configuration")
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_with("").await
    }

    /// With further keys of `http`.
    pub(crate) async fn start_with(&self, http: &str) -> Running {
        let app = App::build(self.config_with(http))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let (status, stop) = (app.status(), CancellationToken::new());
        let address = app.address();
        #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
        let task = tokio::task::spawn(app.run(stop.clone()));
        Running {
            status,
            stop,
            task,
            address: address.to_string(),
        }
    }

    pub(crate) async fn publish(&self, change: &UserChange) {
        let event = CloudEvent::of_user_change(change, None);
        let headers = event.headers();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let value = serde_json::to_vec(change).expect("a message");
        let topic = format!("{}user-change", self.prefix);
        self.kafka
            .produce(&topic, &change.user.key().to_string(), Some(&value), &headers)
            .await;
    }

    pub(crate) fn sim(&self, name: &str) -> &ScimSim {
        &self.targets[name]
    }
}

/// Without a guard: people come one by one after the start here, which is no first import.
pub(crate) fn write_policy(folder: &Path, name: &str, base_url: &str) {
    let text = format!(
        "target: {name}\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: '{base_url}', auth: none }}\n\
         scope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\npace: {{ perSecond: 500, concurrency: 8 }}\nretry: {{ base: 50ms }}\n\
         guard: {{ windows: [] }}\n"
    );
    std::fs::write(folder.join(format!("{name}.yaml")), text).expect("a policy file");
}

/// A service in this process.
pub(crate) struct Running {
    pub(crate) status: StatusHandle,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServiceError>>,
    pub(crate) address: String,
}

impl Running {
    pub(crate) fn target(&self, name: &str) -> Option<TargetStatus> {
        self.status
            .snapshot()
            .targets
            .get(&TargetName::try_new(name).expect("a name"))
            .cloned()
    }
    pub(crate) fn is_active(&self, name: &str) -> bool {
        self.target(name).is_some_and(|target| target.state == "active")
    }
    pub(crate) fn rests(&self, name: &str) -> bool {
        let lane = self.target(name).and_then(|target| target.lane);
        lane.is_some_and(|lane| lane.pending == 0 && lane.in_flight == 0 && lane.first_sync.is_some())
    }
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.address))
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    }
    /// A value of `/metrics` by its name with labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it ends in time");
        ended.expect("no panic").expect("it ends well");
    }
    /// As if the process had died: nothing is finished, nothing handed back.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain waited until {what}");
}

/// Asks the service until it says this.
pub(crate) async fn until_said(what: &str, says: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !says().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain waited until {what}");
}

pub(crate) fn account(sim: &ScimSim, n: u32) -> Option<Value> {
    sim.user_by_external_id(key(n).user.as_str())
}
