//! A start with everybody on the topics: the users, then the links of one target, until everybody is planned again and the one
//! person who has changed is written; beside consumers that throw the same records away. And what it takes in memory.
//!
//! The topics are filled by another process, so that the memory of this one is the service's. `--users N`, `--rounds N`,
//! `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use apply_service::{
    logic::{lane::Links, link::record_key},
    topics,
};
use common::{
    links::linked,
    people::{self, message, person},
    service::{Service, config, policies},
    sink::Sink,
    until,
};
use kafka_harness::{
    Kafka,
    figures::{machine, memory_bytes, process_cpu_seconds, size},
    raw::{Message, producer, read_all, transaction},
};
use usher_runtime::kafka::USER_CHANGE;

const TARGET: &str = "helpdesk";
/// Records per transaction while the topics are filled.
const BATCH: u64 = 500;
/// How the other process is told what to fill.
const FILL: &str = "USHER_BENCH_FILL";

#[tokio::main]
async fn main() {
    let (users, rounds) = (size("--users", 1_000_000, 20_000), size("--rounds", 2, 1));
    let kafka = Kafka::shared().await;
    if let Ok(told) = std::env::var(FILL) {
        let (prefix, url) = told.split_once(' ').unwrap();
        return fill(&kafka, prefix, url, users);
    }
    println!("start with {users} users and links on the topics, on {}", machine());
    let sink = Sink::start().await;
    let prefix = kafka.unique_prefix();
    let settings = config(&kafka, &prefix);
    topics::all(&settings.kafka).ensure().await.unwrap();
    let began = Instant::now();
    let filled = Command::new(std::env::current_exe().unwrap())
        .args(["--users", &users.to_string()])
        .env(FILL, format!("{prefix} {}", sink.url))
        .env("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap())
        .status();
    assert!(filled.unwrap().success());
    println!("filled in {:.0} s", began.elapsed().as_secs_f64());

    let (mut own, mut raw) = ([Duration::MAX; 3], [Duration::MAX; 2]);
    for round in 1..=rounds {
        let (cpu, before, began) = (process_cpu_seconds(), memory_bytes("VmRSS"), Instant::now());
        // Each round one person has changed: the write tells that everybody was planned.
        let changed = [message(&person(users / 2, round))];
        transaction(
            &producer(&kafka, &format!("{prefix}bench-change")),
            &format!("{prefix}{}", topics::USER_CHANGE),
            changed.iter(),
            None,
        );
        let service = Service::start(settings.clone(), policies(&[(TARGET, &sink.url)], 16)).await;
        until("the users are read", || service.status.snapshot().users.caught_up).await;
        let (read, with_users) = (began.elapsed(), memory_bytes("VmRSS"));
        until("the links are read", || {
            service.target(TARGET).is_some_and(|target| target.state == "active")
        })
        .await;
        let active = began.elapsed();
        until("who has changed is written", || sink.writes() > 0).await;
        let took = [read, active.saturating_sub(read), sink.take()[0].at - began - active];
        let after = memory_bytes("VmRSS");
        println!(
            "round {round}: users {:.1} s, links {:.1} s, planned {:.1} s; {:.1} s CPU",
            took[0].as_secs_f64(),
            took[1].as_secs_f64(),
            took[2].as_secs_f64(),
            process_cpu_seconds() - cpu
        );
        // Later rounds take what the allocator has kept from the first.
        if round == 1 {
            println!(
                "memory: {} MiB, {} bytes per user, {} bytes per link",
                after >> 20,
                with_users.saturating_sub(before) / users,
                after.saturating_sub(with_users) / users
            );
        }
        assert_eq!(service.status.snapshot().users.known as u64, users);
        own = [own[0].min(took[0]), own[1].min(took[1]), own[2].min(took[2])];
        service.stop().await;

        let mut counts = [0_u64; 2];
        let took = [
            read_all(
                &kafka,
                &format!("{prefix}{}", topics::USER_CHANGE),
                USER_CHANGE.partitions,
                |_| {
                    counts[0] += 1;
                },
            ),
            read_all(
                &kafka,
                &format!("{prefix}{}", topics::LINK),
                topics::TARGET_PARTITIONS,
                |_| {
                    counts[1] += 1;
                },
            ),
        ];
        println!(
            "round {round}: raw consumers {:.1} s for {} and {:.1} s for {} records",
            took[0].as_secs_f64(),
            counts[0],
            took[1].as_secs_f64(),
            counts[1]
        );
        raw = [raw[0].min(took[0]), raw[1].min(took[1])];
    }
    for (place, what) in ["users", "links"].into_iter().enumerate() {
        println!(
            "{what}: {:>9.0}/s, raw consumer {:>9.0}/s; ratio: {:.2}",
            users as f64 / own[place].as_secs_f64(),
            users as f64 / raw[place].as_secs_f64(),
            raw[place].as_secs_f64() / own[place].as_secs_f64()
        );
    }
    println!("planned: {:>7.0}/s", users as f64 / own[2].as_secs_f64());
}

/// Everybody, and a link of everybody.
fn fill(kafka: &Kafka, prefix: &str, url: &str, users: u64) {
    people::publish(kafka, prefix, 0..users, 0);
    let policy = policies(&[(TARGET, url)], 16);
    let target = &policy.targets.values().next().unwrap().policy;
    let (producer, topic) = (
        producer(kafka, &format!("{prefix}bench-links")),
        format!("{prefix}{}", topics::LINK),
    );
    let (none, partition) = (Links::default(), topics::partition_of_target(&target.name));
    for first in (0..users).step_by(BATCH as usize) {
        let messages: Vec<Message> = (first..users.min(first + BATCH))
            .map(|number| {
                let change = person(number, 0);
                Message {
                    key: record_key(&target.name, &change.user.key()).into_bytes(),
                    value: serde_json::to_vec(&linked(&change, target, &none)).unwrap(),
                    headers: Vec::new(),
                    partition: Some(partition),
                }
            })
            .collect();
        transaction(&producer, &topic, messages.iter(), None);
    }
}
