//! From the simulated org to committed on a real Kafka, beside a raw transactional producer with the same messages.
//!
//! The whole service runs, in one process with the simulated org: gRPC, decoding, merging, encoding, transactions. The raw
//! producer has nothing to do but write: the same keys, values and headers, in as many transactions, each with a record of
//! bookkeeping. Rates are taken from the records' times. `--events N`, `--users N`, `--rounds N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use ingest_service::{
    app::App,
    config::Deployment,
    status::{ServiceStatusHandle, Status},
    topics,
};
use kafka_harness::{
    Kafka, Record,
    figures::{machine, size},
    raw::{Message, producer, transaction},
};
use salesforce_sim::{Sim, SimConfig};
use serde_json::json;
use usher_runtime::shutdown::CancellationToken;

/// An hour: longer than reading everyone takes, so that no event looks as old as the read.
const LATER_MS: i64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() {
    let (users, events) = (size("--users", 2_000, 200), size("--events", 100_000, 2_000));
    println!("{events} change events of {users} users, on {}", machine());
    let kafka = Kafka::shared().await;
    let prefix = kafka.unique_prefix();
    let sim = Sim::start(SimConfig {
        users: users as usize,
        daily_delivered_events: u64::MAX / 2,
        keepalive: Duration::from_secs(2),
        ..SimConfig::default()
    });
    let sim = sim.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(&sim, &kafka, &prefix, folder.path());
    let (changes, checkpoint) = (
        format!("{prefix}{}", topics::USER_CHANGE),
        format!("{prefix}{}", topics::CHECKPOINT),
    );

    // Everyone is published; then the org goes on alone.
    let service = Service::start(&config).await;
    // With the look-back that follows the first reading: else it would meet the edits.
    let began = Instant::now();
    loop {
        assert!(
            began.elapsed() < PATIENCE,
            "everyone is read: {:?}",
            service.status.get()
        );
        let checkpoint = kafka.read_committed(&checkpoint).await;
        let last = positions(&checkpoint).last().map(|record| record.json());
        if last.is_some_and(|last| !last["recheckedTo"].is_null() && !last["snapshot"].is_null()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    service.stop().await;
    let before = kafka.read_committed(&changes).await;
    let positions_before = positions(&kafka.read_committed(&checkpoint).await).len();
    // Each once: the polls have given most of them a second message.
    let people: Vec<&str> = before
        .iter()
        .map(Record::key_text)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    for number in 0..events {
        // Edits of one person are never of one millisecond: such are read again instead of merged.
        let round = i64::try_from(number / people.len() as u64).unwrap();
        sim.org().set_clock_skew_ms(LATER_MS + 10 * round);
        let user = people[number as usize % people.len()].split(':').next_back().unwrap();
        sim.org()
            .update_user(user, json!({ "Title": format!("Title {number}") }))
            .unwrap();
    }

    let service = Service::start(&config).await;
    service
        .wait("every change is published", |status| {
            status.idle && status.messages >= events
        })
        .await;
    service.stop().await;
    let mut written = kafka.read_committed(&changes).await;
    written.sort_by_key(|record| record.timestamp_ms);
    let written = &written[before.len()..];
    assert_eq!(written.len() as u64, events);
    let own = rate(written);
    let bookkeeping = kafka.read_committed(&checkpoint).await;
    let bookkeeping = positions(&bookkeeping);
    let transactions = bookkeeping.len() - positions_before;

    let messages: Vec<Message> = written.iter().map(message).collect();
    let position = message(bookkeeping[bookkeeping.len() - 1]);
    let bytes: usize = messages.iter().map(|message| message.value.len()).sum();
    println!(
        "{} bytes per message, {transactions} transactions",
        bytes / messages.len()
    );
    let mut raw = 0.0_f64;
    for round in 0..size("--rounds", 3, 1) {
        let prefix = kafka.unique_prefix();
        let (changes, checkpoint) = (format!("{prefix}changes"), format!("{prefix}checkpoint"));
        kafka
            .create_topic(
                &changes,
                topics::USER_CHANGE_PARTITIONS,
                &[("cleanup.policy", "compact")],
            )
            .await;
        kafka
            .create_topic(&checkpoint, 1, &[("cleanup.policy", "compact")])
            .await;
        let producer = producer(&kafka, &format!("bench-raw-{round}"));
        for chunk in messages.chunks(messages.len().div_ceil(transactions)) {
            transaction(&producer, &changes, chunk.iter(), Some((&checkpoint, &position)));
        }
        drop(producer);
        raw = raw.max(rate(&kafka.read_committed(&changes).await));
    }
    println!("raw producer: {raw:>9.0} messages/s");
    println!("service:      {own:>9.0} messages/s");
    println!("ratio: {:.2} of the raw producer", own / raw);
    sim.shutdown().await;
}

/// Records per second between the first and the last.
fn rate(records: &[Record]) -> f64 {
    let times = records.iter().filter_map(|record| record.timestamp_ms);
    let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
    records.len() as f64 / ((last - first).max(1) as f64 / 1e3)
}

fn positions(records: &[Record]) -> Vec<&Record> {
    records
        .iter()
        .filter(|record| record.key_text().contains("/position/"))
        .collect()
}

fn message(record: &Record) -> Message {
    Message {
        key: record.key.clone().unwrap(),
        value: record.value.clone().unwrap(),
        headers: record.headers.clone(),
        partition: None,
    }
}

fn config(sim: &Sim, kafka: &Kafka, prefix: &str, folder: &Path) -> std::path::PathBuf {
    let secret = folder.join("client-secret");
    std::fs::write(&secret, sim.client_secret()).unwrap();
    let auth =
        json!({ "method": "clientCredentials", "clientId": sim.client_id(), "clientSecret": { "file": secret } });
    let text = json!({
        "salesforce": { "url": sim.http_url(), "orgId": sim.org_id(), "auth": auth },
        "pubsub": { "endpoint": sim.grpc_url() },
        "snapshot": { "source": "query" },
        "kafka": { "bootstrapServers": kafka.bootstrap(), "prefix": prefix, "topics": "manage", "replicationFactor": 1 },
        "http": { "bind": "127.0.0.1:0" }, "log": { "filter": "warn" },
    });
    let file = folder.join("ingest.yaml");
    std::fs::write(&file, text.to_string()).unwrap();
    file
}

/// The service, running.
struct Service {
    status: ServiceStatusHandle,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl Service {
    async fn start(config: &Path) -> Self {
        let config = Deployment::load(Some(config), &[]).unwrap();
        let app = App::build(config).await.unwrap();
        let (status, stop) = (app.status(), CancellationToken::new());
        let until = stop.clone();
        let ended = tokio::spawn(async move { app.run(until).await.unwrap() });
        Self { status, stop, ended }
    }
    async fn wait(&self, what: &str, reached: impl Fn(&Status) -> bool) {
        let began = Instant::now();
        while !reached(&self.status.get().orgs[0]) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}: {:?}",
                self.status.get()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap();
    }
}
