//! The service's settings for a broker, and everyone of the invented directory on a topic of it.

use kafka_harness::{
    Kafka,
    raw::{Message, producer, transaction},
};
use usher_contract::CloudEvent;
use usher_runtime::kafka::{KafkaConfig, TopicMode};

/// Messages per transaction: what the service puts into one.
const BATCH: u64 = 500;

/// The service's settings for this broker.
pub(crate) fn config(kafka: &Kafka, prefix: &str) -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: kafka.bootstrap().to_owned(),
        prefix: prefix.to_owned(),
        topics: TopicMode::Manage,
        replication_factor: 1,
        properties: std::collections::BTreeMap::new(),
    }
}

/// Everyone of the invented directory, in transactions.
pub(crate) fn fill(kafka: &Kafka, topic: &str, users: u64) {
    let (producer, fields) = (producer(kafka, "bench-fill"), super::people::fields());
    for first in (0..users).step_by(BATCH as usize) {
        let messages: Vec<Message> = (first..users.min(first + BATCH))
            .map(|number| {
                let change = super::people::change(number, &fields);
                let trace = format!("00-{number:032x}-{number:016x}-01");
                let headers = CloudEvent::of_user_change(&change, Some(trace)).headers();
                Message {
                    key: change.user.key().to_string().into_bytes(),
                    value: serde_json::to_vec(&change).unwrap(),
                    headers: headers
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                        .collect(),
                    partition: None,
                }
            })
            .collect();
        transaction(&producer, topic, messages.iter(), None);
    }
}
