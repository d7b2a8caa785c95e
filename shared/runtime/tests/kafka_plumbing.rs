//! The Kafka plumbing on the client's mock broker: what does not depend on fencing, isolation or compaction, which
//! the mock broker lacks. Those are tested on a real broker in `tests/scenarios`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use rdkafka::mocking::MockCluster;
use tokio::time::timeout;
use usher_runtime::kafka::{
    KafkaConfig, Membership, MembershipEvent, OutRecord, Partitions, Record, RecordRef, TopicInput, TopicMode,
    TopicReader, TransactionBatch, TransactionalProducer, partition_of,
};

const WAIT: Duration = Duration::from_secs(30);

fn config(cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>) -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: cluster.bootstrap_servers(),
        prefix: "t.".to_owned(),
        topics: TopicMode::Trust,
        replication_factor: 1,
        properties: BTreeMap::new(),
    }
}

fn record(topic: &str, key: &str, value: &str) -> OutRecord {
    OutRecord {
        topic: topic.to_owned(),
        key: key.as_bytes().to_vec(),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![("h", key.to_owned())],
        partition: None,
    }
}

async fn until_caught_up(reader: &mut TopicReader, mark: u64) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        match timeout(WAIT, reader.next()).await.unwrap().unwrap() {
            TopicInput::Records(records) => all.extend(records),
            TopicInput::CaughtUp(reached) if reached == mark => return all,
            TopicInput::CaughtUp(_) => {}
            TopicInput::Failed(reason) => panic!("{reason}"),
        }
    }
}

#[tokio::test]
async fn what_is_committed_is_read_to_the_end_and_again_at_every_mark() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t.changes", 3, 1).unwrap();
    cluster.create_topic("t.position", 1, 1).unwrap();
    let config = config(&cluster);
    let producer = TransactionalProducer::fence(&config, "t.writer").await.unwrap();
    let changes: Vec<OutRecord> = (0..100)
        .map(|i| record("t.changes", &format!("key-{i}"), "v"))
        .collect();
    let batch = TransactionBatch {
        changes,
        bookkeeping: vec![record("t.position", "p", "7")],
    };
    producer.commit(batch).await.unwrap();

    let mut reader = TopicReader::start(&config, "t.changes", Partitions::All).await.unwrap();
    let copy = |record: RecordRef<'_>| record.to_record();
    let mut together = TopicReader::start_with(&config, "t.changes", Partitions::All, 2, copy)
        .await
        .unwrap();
    let read = until_caught_up(&mut reader, 0).await;
    assert_eq!(read.len(), 100);
    assert_eq!(
        until_caught_up(&mut together, 0).await.len(),
        100,
        "two threads, no mark too early"
    );
    for record in &read {
        assert_eq!(
            record.partition,
            partition_of(record.key.as_ref().unwrap(), 3),
            "murmur2 as in Java"
        );
        assert_eq!(record.header("h").unwrap().as_bytes(), record.key.as_deref().unwrap());
    }
    producer
        .commit(TransactionBatch {
            changes: vec![record("t.changes", "late", "v")],
            bookkeeping: vec![],
        })
        .await
        .unwrap();
    let mark = reader.catch_up();
    assert_eq!(until_caught_up(&mut reader, mark).await.len(), 1);
    let mark = reader.catch_up();
    assert!(until_caught_up(&mut reader, mark).await.is_empty());
    let mark = together.catch_up();
    assert_eq!(until_caught_up(&mut together, mark).await.len(), 1);
}

#[tokio::test]
async fn a_reading_thread_that_breaks_down_ends_the_reading() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t.changes", 3, 1).unwrap();
    let config = config(&cluster);
    let producer = TransactionalProducer::fence(&config, "t.writer").await.unwrap();
    let batch = TransactionBatch {
        changes: vec![record("t.changes", "key", "v")],
        bookkeeping: vec![],
    };
    producer.commit(batch).await.unwrap();
    let broken = |_: RecordRef<'_>| -> Record { panic!("planted") };
    let mut reader = TopicReader::start_with(&config, "t.changes", Partitions::All, 3, broken)
        .await
        .unwrap();
    loop {
        match timeout(WAIT, reader.next()).await.unwrap() {
            Some(TopicInput::Failed(_)) => break,
            Some(TopicInput::Records(_) | TopicInput::CaughtUp(_)) => {}
            None => panic!("the other threads go on"),
        }
    }
}

#[tokio::test]
async fn a_member_is_assigned_and_hands_back_when_it_leaves() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t.position", 2, 1).unwrap();
    let config = config(&cluster);
    let mut member = Membership::join(&config, "t.group", "t.position").unwrap();
    let assigned = timeout(WAIT, member.next()).await.unwrap().unwrap();
    assert!(
        matches!(&assigned, MembershipEvent::Assigned(partitions) if partitions.len() == 2),
        "{assigned:?}"
    );
    member.leave();
    match timeout(WAIT, member.next()).await.unwrap().unwrap() {
        MembershipEvent::Revoked(partitions, guard) => {
            assert_eq!(partitions.len(), 2);
            drop(guard);
        }
        other => panic!("{other:?}"),
    }
    assert!(timeout(WAIT, member.next()).await.unwrap().is_none());
}
