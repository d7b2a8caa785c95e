//! The Python consumer: its own checks, and that it judges what a real broker holds.

use std::time::Duration;

use kafka_harness::{ContractConsumer, Kafka, Process};
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(60);
const ORG: &str = "00D000000000001AAA";

async fn publish(kafka: &Kafka, topic: &str, user: &str, version: u32, ce_type: &str) {
    let key = format!("{ORG}:{user}");
    let body = json!({"version": version, "kind": "updated", "user": {"id": user, "orgId": ORG}});
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", &format!("{key}:{version}")),
        ("ce_source", &format!("/salesforce/{ORG}")),
        ("ce_type", ce_type),
        ("ce_subject", user),
        ("ce_time", "2026-03-01T10:00:00Z"),
        ("ce_dataschema", "https://example.org/user-change.v1.json"),
        ("content-type", "application/json"),
    ];
    let value = body.to_string();
    kafka.produce(topic, &key, Some(value.as_bytes()), &headers).await;
}

#[tokio::test]
async fn its_own_checks_pass() {
    let consumer = ContractConsumer::prepare().await;
    let process = Process::spawn(consumer.python().args(["-m", "unittest", "discover"]));
    let status = process.wait(TIMEOUT).await;
    assert!(status.success(), "{}", process.story());
}

#[tokio::test]
async fn it_accepts_good_messages_and_names_the_bad_one() {
    let kafka = Kafka::shared().await;
    let consumer = ContractConsumer::prepare().await;
    let topic = format!("{}user-change", kafka.unique_prefix());
    kafka.create_topic(&topic, 12, &[]).await;
    for number in 1..=20 {
        let user = format!("{:018}", 5_000_000 + number);
        publish(&kafka, &topic, &user, 1, "dev.usher.user.updated.v1").await;
        publish(&kafka, &topic, &user, 2, "dev.usher.user.updated.v1").await;
    }
    let report = consumer.check(&kafka, &topic, None, 40, TIMEOUT).await;
    assert_eq!(
        (report.messages, report.users, report.errors.len()),
        (40, 20, 0),
        "{report:?}"
    );

    publish(&kafka, &topic, "000000000005000001", 4, "dev.usher.user.removed.v1").await;
    let report = consumer.check(&kafka, &topic, None, 100, TIMEOUT).await;
    let errors = report.errors.join("\n");
    for part in ["follows 2", "ce_type", "expected at least 100"] {
        assert!(errors.contains(part), "{part} is missing in: {errors}");
    }
}
