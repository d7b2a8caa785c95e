//! The service in this process, against a real Kafka and one or more sinks.

use std::{path::PathBuf, sync::Arc};

use apply_service::{App, Config, StatusHandle, config::DEFAULTS, policy, status::TargetStatus};
use kafka_harness::Kafka;
use tokio::task::JoinHandle;
use usher_contract::TargetName;
use usher_runtime::{
    config::load_text,
    shutdown::{CancellationToken, ServiceError},
};

use super::{people::ORG, until};

/// A target's rules as a file: everything of the preset `scim`, no guard, and a pace that does not limit.
pub(crate) fn policy_text(name: &str, url: &str, concurrency: usize) -> (PathBuf, String) {
    let text = format!(
        "target: {name}\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: '{url}', auth: none }}\n\
         scope: {{ filter: all }}\nmatch: {{ by: [externalId], firstSync: auto }}\n\
         pace: {{ perSecond: 10000, concurrency: {concurrency} }}\nguard: {{ windows: [] }}\n"
    );
    (PathBuf::from(format!("{name}.yaml")), text)
}

/// The rules of these targets: name and address of each.
pub(crate) fn policies(targets: &[(&str, &str)], concurrency: usize) -> policy::Policy {
    let texts: Vec<_> = targets
        .iter()
        .map(|(name, url)| policy_text(name, url, concurrency))
        .collect();
    let mut policy = policy::from_texts(&texts).unwrap();
    for target in policy.targets.values_mut() {
        // More than may be configured: what limits here is to be the service.
        Arc::make_mut(&mut target.policy).pace.per_second = 1e6;
    }
    policy
}

/// The service's settings for this broker.
pub(crate) fn config(kafka: &Kafka, prefix: &str) -> Config {
    let text = format!(
        "kafka: {{ bootstrapServers: '{}', prefix: '{prefix}', replicationFactor: 1 }}\nhttp: {{ bind: '127.0.0.1:0' }}\n",
        kafka.bootstrap(),
    );
    load_text(DEFAULTS, Some(("bench", &text)), &[]).unwrap()
}

/// The service, running.
pub(crate) struct Service {
    pub(crate) status: StatusHandle,
    metrics: String,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), ServiceError>>,
}

impl Service {
    pub(crate) async fn start(config: Config, policy: policy::Policy) -> Self {
        let app = App::build_with(config, policy).await.unwrap();
        let (status, stop) = (app.status(), CancellationToken::new());
        let metrics = format!("http://{}/metrics", app.address());
        let ended = tokio::spawn(app.run(stop.clone()));
        Self {
            status,
            metrics,
            stop,
            ended,
        }
    }
    pub(crate) fn target(&self, name: &str) -> Option<TargetStatus> {
        let name = TargetName::try_new(name).unwrap();
        self.status.snapshot().targets.get(&name).cloned()
    }
    /// Whether a target has nothing left to do.
    pub(crate) fn rests(&self, name: &str) -> bool {
        let lane = self.target(name).and_then(|target| target.lane);
        lane.is_some_and(|lane| lane.pending == 0 && lane.in_flight == 0 && lane.first_sync.is_some())
    }
    pub(crate) async fn until_rests(&self, names: &[&str]) {
        until("the targets rest", || names.iter().all(|name| self.rests(name))).await;
    }
    /// The transactions of a target so far, and the seconds that they took.
    pub(crate) async fn commits(&self, name: &str) -> (f64, f64) {
        let text = reqwest::get(&self.metrics).await.unwrap().text().await.unwrap();
        let value = |part: &str| {
            let series = format!("apply_commit_seconds_{part}{{target=\"{name}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.map_or(0.0, |value| value.parse::<f64>().unwrap())
        };
        (value("count"), value("sum"))
    }
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}
