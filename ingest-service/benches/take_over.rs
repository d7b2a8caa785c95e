//! Take-over by a warm standby with everyone on the topic: from the leader's SIGKILL to the successor's open stream.
//!
//! Real processes of the service against a real Kafka. Most of the time is the group's session time-out (6 s): only then is
//! the leader known to be gone. `--users N`, `--rounds N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{ORG, kafka::fill};
use ingest_service::{
    logic::record::{CheckpointKey, Position, SnapshotMark},
    topics,
};
use jiff::Timestamp;
use kafka_harness::{
    Kafka, Process, ProcessSpec,
    figures::{machine, size},
    raw::{Message, producer, transaction},
};
use salesforce_sim::{Sim, SimConfig};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(180);
/// What a standby needs to read everyone, generously: it must be warm.
const WARM: Duration = Duration::from_secs(40);
const STREAM: &str = "/data/UserChangeEvent";

#[tokio::main]
async fn main() {
    let (users, rounds) = (size("--users", 1_000_000, 20_000), size("--rounds", 3, 1));
    println!("take-over with {users} users on the topic, on {}", machine());
    let kafka = Kafka::shared().await;
    let prefix = kafka.unique_prefix();
    let sim = Sim::start(SimConfig {
        users: 50,
        org_id: Some(ORG.to_owned()),
        keepalive: Duration::from_secs(2),
        ..SimConfig::default()
    });
    let sim = sim.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(&sim, &kafka, &prefix, folder.path());
    prepare(&kafka, &prefix, users).await;

    let mut leader = Replica::start("replica-0", &config).await;
    leader.wait("leads", |org| org["role"] == json!("leader")).await;
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        let standby = Replica::start(&format!("replica-{round}"), &config).await;
        standby.wait("is warm", |org| org["role"] == json!("standby")).await;
        tokio::time::sleep(if users > 100_000 { WARM } else { WARM / 10 }).await;
        leader.process.sigkill();
        let killed = Instant::now();
        let leads = |org: &Value| org["role"] == json!("leader") && org["stream"]["connected"] == json!(true);
        let org = standby.wait("takes over", leads).await;
        let took = killed.elapsed();
        assert_eq!(org["publishedUsers"], json!(users));
        println!("round {round}: {:.1} s", took.as_secs_f64());
        longest = longest.max(took);
        leader = standby;
    }
    println!(
        "longest: {:.1} s; ratio: {:.2} of the 15 s that it may take",
        longest.as_secs_f64(),
        longest.as_secs_f64() / 15.0
    );
    leader.process.sigkill();
    sim.shutdown().await;
}

/// Everyone on the topic, and a checkpoint that says that a snapshot has been complete just now.
async fn prepare(kafka: &Kafka, prefix: &str, users: u64) {
    let (changes, checkpoint) = (
        format!("{prefix}{}", topics::USER_CHANGE),
        format!("{prefix}{}", topics::CHECKPOINT),
    );
    let partitions = topics::USER_CHANGE_PARTITIONS;
    kafka
        .create_topic(&changes, partitions, &[("cleanup.policy", "compact")])
        .await;
    kafka
        .create_topic(&checkpoint, 1, &[("cleanup.policy", "compact")])
        .await;
    let dead_letter = format!("{prefix}{}", topics::DEAD_LETTER);
    kafka
        .create_topic(&dead_letter, 1, &[("cleanup.policy", "delete")])
        .await;
    fill(kafka, &changes, users);
    let now = Timestamp::now();
    let position = Position {
        committed_at: Some(now),
        snapshot: Some(SnapshotMark {
            began_at: now,
            rows: users,
        }),
        rechecked_to: Some(now),
        ..Position::new(partitions)
    };
    let record = Message {
        key: CheckpointKey::Position(common::org(), STREAM.to_owned())
            .text()
            .into_bytes(),
        value: serde_json::to_vec(&position).unwrap(),
        headers: Vec::new(),
        partition: None,
    };
    transaction(
        &producer(kafka, "bench-checkpoint"),
        &checkpoint,
        std::iter::once(&record),
        None,
    );
}

fn config(sim: &Sim, kafka: &Kafka, prefix: &str, folder: &Path) -> PathBuf {
    let secret = folder.join("client-secret");
    std::fs::write(&secret, sim.client_secret()).unwrap();
    let auth =
        json!({ "method": "clientCredentials", "clientId": sim.client_id(), "clientSecret": { "file": secret } });
    let off = json!({ "groups": false, "permissionSets": false, "frozen": false, "names": false });
    let text = json!({
        "salesforce": { "url": sim.http_url(), "orgId": ORG, "auth": auth },
        "pubsub": { "endpoint": sim.grpc_url(), "channel": STREAM },
        "polls": off,
        "kafka": { "bootstrapServers": kafka.bootstrap(), "prefix": prefix, "topics": "trust", "replicationFactor": 1 },
        "http": { "bind": "127.0.0.1:0" }, "log": { "filter": "info" },
    });
    let file = folder.join("ingest.yaml");
    std::fs::write(&file, text.to_string()).unwrap();
    file
}

/// A process of the service.
struct Replica {
    process: Process,
    url: String,
}

impl Replica {
    async fn start(name: &str, config: &Path) -> Self {
        let spec = ProcessSpec::new(name, env!("CARGO_BIN_EXE_ingest-service"));
        let process = Process::spawn(spec.arg("--config").arg(config).arg("run"));
        let line = process.wait_for_line("ingest-service is up", PATIENCE).await;
        let line: Value = serde_json::from_str(&line).unwrap();
        let url = format!("http://{}/v1/status", line["address"].as_str().unwrap());
        Self { process, url }
    }

    async fn wait(&self, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status: Value = match reqwest::get(&self.url).await {
                Ok(answer) => answer.json().await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            if reached(&status["orgs"][0]) {
                return status["orgs"][0].clone();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {status}\n{}", self.process.story());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}
