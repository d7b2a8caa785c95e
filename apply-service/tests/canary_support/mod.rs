//! What the runs with canaries share: a person who can be recognized, the running service, and the search.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use apply_service::topics;
use kafka_harness::{Process, ProcessSpec};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Headers,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};

/// What is personal, in the forms in which it may turn up.
const PERSONAL: [&str; 6] = [
    "zyxwada",
    "zyxwbob",
    "canary.example",
    "7700900123",
    "canarytitle",
    "qqfamily",
];
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn person(number: u32, version: u64, name: &str, title: &str) -> (String, String) {
    let id = format!("00500000000000{number}AAA");
    let address = format!("{name}@canary.example");
    let message = json!({"version": version, "kind": "updated", "user": {"id": id, "orgId": "00D000000000001EAA",
        "username": address, "email": address, "givenName": name, "familyName": format!("Qqfamily{number}"), "phone": "+447700900123",
        "title": title, "active": true}, "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
    (format!("00D000000000001EAA:{id}"), message.to_string())
}

/// Every record of a topic: key, headers and value as text.
pub(crate) fn read_all(servers: &str, topic: &str) -> String {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "canary")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut left, mut text) = (partitions.len(), String::new());
    while left > 0 {
        match consumer.poll(PATIENCE).expect("an answer of the broker") {
            Err(KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => panic!("{error}"),
            Ok(record) => {
                for part in [record.key(), record.payload()].into_iter().flatten() {
                    text += &String::from_utf8_lossy(part);
                    text.push('\n');
                }
                for header in record.headers().into_iter().flat_map(Headers::iter) {
                    text += &String::from_utf8_lossy(header.value.unwrap_or_default());
                    text.push('\n');
                }
            }
        }
    }
    text
}

/// The address that the log says, once it does.
async fn address(process: &Process) -> String {
    let said = async {
        loop {
            for line in process.output().lines() {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "apply-service starts"
                    && let Some(address) = line["address"].as_str()
                {
                    return address.to_owned();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, said).await;
    waited.unwrap_or_else(|_| panic!("{}", process.story()))
}

async fn get(address: &str, path: &str) -> String {
    reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}

/// The service as a process, and where it answers.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: String,
    config: String,
    producer: FutureProducer,
    servers: String,
}

const BINARY: &str = env!("CARGO_BIN_EXE_apply-service");

impl Running {
    /// With this configuration, at these brokers.
    pub(crate) async fn start(config: String, servers: &str) -> Self {
        let process = Process::spawn(
            ProcessSpec::new("apply-service", BINARY)
                .args(["run", "--config", &config])
                .env("RUST_BACKTRACE", "1"),
        );
        let address = address(&process).await;
        let producer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        Self {
            process,
            address,
            config,
            producer,
            servers: servers.to_owned(),
        }
    }

    pub(crate) async fn publish(&self, (key, message): (String, String)) {
        let record = FutureRecord::to("user-change").key(&key).payload(&message);
        self.producer.send(record, PATIENCE).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        get(&self.address, path).await
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, holds: &dyn Fn(&Value) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let status: Value = serde_json::from_str(&self.get("/v1/status").await).unwrap();
                if holds(&status) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(
            in_time,
            "{what}: {}\n{}",
            self.get("/v1/status").await,
            self.process.story()
        );
    }

    /// What a command prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = std::process::Command::new(BINARY)
            .args(arguments)
            .args(["--config", &self.config])
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Everything that the service gives out while it runs, then its end, and its log: place, text.
    pub(crate) async fn given_out(&self) -> Vec<(&'static str, String)> {
        let topic = |topic| read_all(&self.servers, topic);
        let mut given_out = vec![
            ("metrics", self.get("/metrics").await),
            ("status", self.get("/v1/status").await),
            ("outcomes", topic(topics::OUTCOME)),
            ("links", topic(topics::LINK)),
            ("records of targets", topic(topics::TARGET)),
            ("dead letters", topic(topics::DEAD_LETTER)),
            ("outcomes by HTTP", self.get("/v1/outcomes").await),
            ("check", self.run(&["check"])),
            ("print-config", self.run(&["print-config"])),
        ];
        self.process.sigterm();
        let ended = tokio::time::timeout(PATIENCE, async {
            while self.process.status().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(ended.await.is_ok(), "{}", self.process.story());
        let lines = self.process.output().lines();
        given_out.push(("log", lines.iter().map(|line| format!("{line}\n")).collect()));
        given_out
    }
}

/// The first personal value in a text.
pub(crate) fn personal(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    PERSONAL.into_iter().find(|personal| lower.contains(personal))
}

/// No secret anywhere, and nobody outside of `about_people`.
pub(crate) fn search(given_out: &[(&str, String)], secrets: &[String], about_people: &[&str]) {
    for (place, text) in given_out {
        assert!(text.len() > 20, "{place} is empty: the search would prove nothing");
        for secret in secrets {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "the secret {secret} is in {place}");
        }
        if !about_people.contains(place) {
            let line = text.lines().find(|line| personal(line).is_some());
            assert_eq!(line, None, "a person is in {place}");
        }
    }
}
