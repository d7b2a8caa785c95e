//! Reading a topic to its end, and the few writes that tests make by hand.
//!
//! Left out on purpose: deciding "the end" from offsets. Control records and aborted data take offsets too, so the end is what the
//! consumer reports as end of partition.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::broker::{Kafka, blocking};

/// Longer than any answer of a healthy local broker, short enough to end a broken test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One record as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Milliseconds since 1970, as written by the producer.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    pub fn key_text(&self) -> &str {
        std::str::from_utf8(self.key.as_deref().unwrap_or_default()).expect("the key is UTF-8")
    }

    /// The value as JSON; panics on a tombstone or on anything else.
    pub fn json(&self) -> serde_json::Value {
        let value = self.value.as_deref().expect("the record is not a tombstone");
        serde_json::from_slice(value).expect("the value is JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Kafka {
    /// Creates a topic with one replica and the given settings; panics if it exists.
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            self.client_config().create().expect("the admin settings are valid");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            topic = topic.set(setting, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let results = admin
            .create_topics([&topic], &options)
            .await
            .unwrap_or_else(|error| panic!("cannot create topic {name}: {error}"));
        for result in results {
            if let Err((topic, code)) = result {
                panic!("cannot create topic {topic}: {code}");
            }
        }
        // The controller has answered; the broker learns of it a moment later, on a busy machine much later.
        let (admin, partitions) = (Arc::new(admin), usize::try_from(partitions).unwrap_or_default());
        let led = async {
            loop {
                let (admin, topic) = (Arc::clone(&admin), name.to_owned());
                let led = blocking(move || {
                    let metadata = admin.inner().fetch_metadata(Some(&topic), TIMEOUT).ok()?;
                    let found = metadata.topics().iter().find(|found| found.name() == topic)?;
                    let parts = found.partitions();
                    (parts.len() == partitions && parts.iter().all(|part| part.leader() >= 0)).then_some(())
                });
                if led.await.is_some() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let led = tokio::time::timeout(TIMEOUT, led).await;
        led.unwrap_or_else(|_| panic!("topic {name} was created and has no leaders"));
    }

    /// Gives a topic more partitions, as an operator might; panics when the broker refuses.
    pub async fn add_partitions(&self, name: &str, total: usize) {
        let admin: AdminClient<DefaultClientContext> =
            self.client_config().create().expect("the admin settings are valid");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let results = admin
            .create_partitions([&NewPartitions::new(name, total)], &options)
            .await
            .unwrap_or_else(|error| panic!("cannot add partitions to {name}: {error}"));
        for result in results {
            if let Err((topic, code)) = result {
                panic!("cannot add partitions to {topic}: {code}");
            }
        }
    }

    /// Every record that a `read_committed` consumer sees, in order per partition, partitions in order.
    pub async fn read_committed(&self, topic: &str) -> Vec<Record> {
        self.read_to_end(topic, "read_committed").await
    }

    /// The same, aborted and not yet committed records included.
    pub async fn read_uncommitted(&self, topic: &str) -> Vec<Record> {
        self.read_to_end(topic, "read_uncommitted").await
    }

    /// Writes one record outside any transaction, to the partition that Java clients would choose.
    pub async fn produce(&self, topic: &str, key: &str, value: Option<&[u8]>, headers: &[(&str, &str)]) {
        self.produce_all(topic, [(key, value)], headers).await;
    }

    /// Writes records as [`Kafka::produce`] does, all with the same headers.
    pub async fn produce_all(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (&str, Option<&[u8]>)>,
        headers: &[(&str, &str)],
    ) {
        let producer: FutureProducer = self
            .client_config()
            .set("partitioner", "murmur2_random")
            .set("acks", "all")
            .create()
            .expect("the producer settings are valid");
        let attached = headers.iter().fold(OwnedHeaders::new(), |attached, (key, value)| {
            attached.insert(Header {
                key,
                value: Some(*value),
            })
        });
        let mut sent = Vec::new();
        for (key, value) in records {
            let mut record = FutureRecord::<str, [u8]>::to(topic).key(key).headers(attached.clone());
            record.payload = value;
            match producer.send_result(record) {
                Ok(delivery) => sent.push(delivery),
                Err((error, _)) => panic!("cannot write to {topic}: {error}"),
            }
        }
        for delivery in sent {
            match delivery.await {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => panic!("cannot write to {topic}: {error}"),
                Err(_) => panic!("cannot write to {topic}: the producer has ended"),
            }
        }
    }

    /// Settings that every client of this broker needs; tests add theirs.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    async fn read_to_end(&self, topic: &str, isolation: &'static str) -> Vec<Record> {
        let mut config = self.client_config();
        config
            // Required by the client although nothing is committed and no group is joined.
            .set("group.id", "test-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation);
        let topic = topic.to_owned();
        blocking(move || read_all(&config, &topic).unwrap_or_else(|error| panic!("cannot read topic {topic}: {error}")))
            .await
    }
}

fn read_all(config: &ClientConfig, topic: &str) -> Result<Vec<Record>, KafkaError> {
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    assert!(!partitions.is_empty(), "topic {topic} does not exist");
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut unfinished: HashSet<i32> = partitions.into_iter().collect();
    let mut records = Vec::new();
    while !unfinished.is_empty() {
        match consumer.poll(TIMEOUT) {
            Some(Ok(message)) => records.push(record(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
            }
            // A broker that has just been woken or restarted: the client connects again by itself.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
            ))) => {}
            Some(Err(error)) => return Err(error),
            None => {
                panic!("topic {topic}: no answer for partitions {unfinished:?} within {TIMEOUT:?}")
            }
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| {
                let value = header.value.unwrap_or_default();
                (header.key.to_owned(), value.to_vec())
            })
            .collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        timestamp_ms: message.timestamp().to_millis(),
    }
}
