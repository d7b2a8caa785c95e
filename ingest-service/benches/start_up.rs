//! Start with everyone on the topic: the reader and the table, beside a consumer that throws everything away.
//!
//! On a real Kafka, in turns, several rounds. `--users N`, `--rounds N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::time::{Duration, Instant};

use common::{
    kafka::{config, fill},
    org,
};
use ingest_service::{
    published::{self, Tables},
    topics,
};
use kafka_harness::{
    Kafka,
    figures::{machine, memory_bytes, process_cpu_seconds, size},
    raw::read_all,
};
use usher_runtime::kafka::{KafkaConfig, Partitions, RecordRef, TopicInput, TopicReader};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (users, rounds) = (size("--users", 1_000_000, 20_000), size("--rounds", 3, 1));
    println!("start with {users} users on the topic, on {}", machine());
    let kafka = Kafka::shared().await;
    let config = config(&kafka, &kafka.unique_prefix());
    let topic = config.topic(topics::USER_CHANGE);
    let partitions = topics::USER_CHANGE_PARTITIONS;
    kafka
        .create_topic(&topic, partitions, &[("cleanup.policy", "compact")])
        .await;
    fill(&kafka, &topic, users);

    // What filling took is forgotten.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (mut raw, mut own) = (Duration::MAX, Duration::MAX);
    for round in 1..=rounds {
        let cpu = process_cpu_seconds();
        let took = restore(&config, &topic, users).await;
        let spent = process_cpu_seconds() - cpu;
        println!(
            "round {round}, service: {:>9.0} messages/s, {spent:.1} s CPU",
            rate(users, took)
        );
        own = own.min(took);
        // The first round is a replica's life: later ones keep what the allocator has kept.
        if round == 1 {
            println!("peak memory: {} MiB", memory_bytes("VmHWM") >> 20);
        }

        let (mut count, mut bytes, cpu) = (0, 0, process_cpu_seconds());
        let took = read_all(&kafka, &topic, partitions, |message| {
            count += 1;
            bytes += message.payload_len();
        });
        assert_eq!(count, users);
        let spent = process_cpu_seconds() - cpu;
        println!(
            "round {round}, raw:     {:>9.0} messages/s, {spent:.1} s CPU, {} bytes each",
            rate(users, took),
            bytes as u64 / users
        );
        raw = raw.min(took);
    }
    println!(
        "ratio: {:.2} of the raw consumer",
        raw.as_secs_f64() / own.as_secs_f64()
    );
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// As a replica does it before it leads.
async fn restore(config: &KafkaConfig, topic: &str, users: u64) -> Duration {
    let began = Instant::now();
    let mut tables = Tables::new(org(), "/data/UserChangeEvent");
    let org = org();
    let read = move |record: RecordRef<'_>| published::Message::read(org, &record);
    let mut reader = TopicReader::start_with(config, topic, Partitions::All, published::reading_threads(), read)
        .await
        .unwrap();
    loop {
        match reader.next().await.unwrap() {
            TopicInput::Records(records) => records.into_iter().for_each(|message| tables.user_change(message)),
            TopicInput::CaughtUp(_) => break,
            TopicInput::Failed(reason) => panic!("{reason}"),
        }
    }
    let took = began.elapsed();
    assert_eq!((tables.malformed, tables.restored.published.len() as u64), (0, users));
    took
}
