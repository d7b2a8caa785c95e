//! The broker behaves as the services rely on: transactions, fencing, data that survives a restart, nothing left running.

use std::time::Duration;

use kafka_harness::Kafka;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const TIMEOUT: Duration = Duration::from_secs(30);

fn transactional_producer(kafka: &Kafka, id: &str) -> BaseProducer {
    kafka
        .client_config()
        .set("transactional.id", id)
        .create()
        .expect("the producer settings are valid")
}

fn send(producer: &BaseProducer, topic: &str, key: &str) {
    producer
        .send(BaseRecord::to(topic).key(key).payload("value"))
        .expect("the queue has room");
    producer.flush(TIMEOUT).expect("the broker answers");
}

async fn keys_committed(kafka: &Kafka, topic: &str) -> Vec<String> {
    let records = kafka.read_committed(topic).await;
    records.iter().map(|record| record.key_text().to_owned()).collect()
}

#[tokio::test]
async fn a_produced_record_is_read_back_with_headers_and_tombstones() {
    let kafka = Kafka::shared().await;
    let topic = format!("{}plain", kafka.unique_prefix());
    kafka.create_topic(&topic, 3, &[("cleanup.policy", "compact")]).await;

    kafka
        .produce(&topic, "a", Some(br#"{"n":1}"#), &[("ce_id", "a:1")])
        .await;
    kafka.produce(&topic, "b", None, &[]).await;

    let records = kafka.read_committed(&topic).await;
    assert_eq!(records.len(), 2);
    let full = records.iter().find(|record| record.key_text() == "a").unwrap();
    assert_eq!(full.json()["n"], 1);
    assert_eq!(full.header("ce_id"), Some("a:1"));
    let tombstone = records.iter().find(|record| record.key_text() == "b").unwrap();
    assert_eq!(tombstone.value, None);
}

#[tokio::test]
async fn an_empty_topic_is_read_to_its_end_at_once() {
    let kafka = Kafka::shared().await;
    let topic = format!("{}empty", kafka.unique_prefix());
    kafka.create_topic(&topic, 12, &[]).await;
    assert_eq!(kafka.read_committed(&topic).await, []);
}

#[tokio::test]
async fn a_transaction_is_visible_to_committed_readers_only_after_its_commit() {
    let kafka = Kafka::shared().await;
    let prefix = kafka.unique_prefix();
    let topic = format!("{prefix}transaction");
    kafka.create_topic(&topic, 1, &[]).await;
    let producer = transactional_producer(&kafka, &prefix);
    producer.init_transactions(TIMEOUT).unwrap();

    producer.begin_transaction().unwrap();
    send(&producer, &topic, "aborted");
    producer.abort_transaction(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, "committed");
    assert_eq!(keys_committed(&kafka, &topic).await, Vec::<String>::new());
    assert_eq!(kafka.read_uncommitted(&topic).await.len(), 2);

    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(keys_committed(&kafka, &topic).await, ["committed"]);
}

#[tokio::test]
async fn a_fenced_producer_cannot_commit() {
    let kafka = Kafka::shared().await;
    let prefix = kafka.unique_prefix();
    let topic = format!("{prefix}fencing");
    kafka.create_topic(&topic, 1, &[]).await;
    let older = transactional_producer(&kafka, &prefix);
    older.init_transactions(TIMEOUT).unwrap();
    older.begin_transaction().unwrap();
    send(&older, &topic, "from the older");

    let newer = transactional_producer(&kafka, &prefix);
    newer.init_transactions(TIMEOUT).unwrap();

    let error = older.commit_transaction(TIMEOUT).unwrap_err();
    let KafkaError::Transaction(error) = error else {
        panic!("not a transaction error: {error}");
    };
    assert!(error.is_fatal(), "{error}");
    assert_eq!(error.code(), RDKafkaErrorCode::Fenced, "{error}");
    assert_eq!(keys_committed(&kafka, &topic).await, Vec::<String>::new());
}

#[tokio::test]
async fn data_survives_a_restart_and_a_stopped_broker_leaves_no_process() {
    let kafka = Kafka::start().await;
    if kafka.is_external() {
        return;
    }
    let topic = format!("{}restart", kafka.unique_prefix());
    kafka.create_topic(&topic, 2, &[]).await;
    kafka.produce(&topic, "before", Some(b"1"), &[]).await;
    let bootstrap = kafka.bootstrap().to_owned();

    kafka.restart().await.unwrap();
    assert_eq!(kafka.bootstrap(), bootstrap);
    assert_eq!(keys_committed(&kafka, &topic).await, ["before"]);
    kafka.produce(&topic, "after", Some(b"2"), &[]).await;
    assert_eq!(keys_committed(&kafka, &topic).await.len(), 2);

    let pid = kafka.pid().expect("it runs");
    let its_folder = std::path::PathBuf::from(format!("/proc/{pid}"));
    assert!(its_folder.exists());
    kafka.stop().await.unwrap();
    assert!(!its_folder.exists(), "the broker is still there");
    assert_eq!(kafka.pid(), None);
}

#[tokio::test]
async fn a_paused_broker_answers_again_after_it_is_woken() {
    let kafka = Kafka::start().await;
    if kafka.is_external() {
        return;
    }
    let topic = format!("{}paused", kafka.unique_prefix());
    kafka.create_topic(&topic, 1, &[]).await;

    kafka.pause().unwrap();
    let produce = kafka.produce(&topic, "while paused", Some(b"1"), &[]);
    let unanswered = tokio::time::timeout(Duration::from_millis(500), produce).await;
    assert!(unanswered.is_err(), "a frozen broker answered");

    kafka.resume().unwrap();
    kafka.produce(&topic, "awake", Some(b"2"), &[]).await;
    let keys = keys_committed(&kafka, &topic).await;
    assert!(keys.contains(&"awake".to_owned()), "{keys:?}");
}
