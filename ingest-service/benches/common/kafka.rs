//! Raw Kafka clients to compare with: a transactional producer and a consumer that do nothing else.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kafka_harness::Kafka;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use usher_contract::CloudEvent;
use usher_runtime::kafka::{KafkaConfig, TopicMode};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Messages per transaction: what the service puts into one.
const BATCH: u64 = 500;

/// A message to write.
pub(crate) struct Message {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

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

/// A transactional producer with the settings that the service has.
pub(crate) fn producer(kafka: &Kafka, transactional_id: &str) -> BaseProducer {
    let mut config = kafka.client_config();
    config
        .set("transactional.id", transactional_id)
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.messages", "200000");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(TIMEOUT).expect("the producer begins");
    producer
}

/// Writes these in one transaction, and a record of bookkeeping behind them.
pub(crate) fn transaction<'a>(
    producer: &BaseProducer,
    topic: &str,
    messages: impl Iterator<Item = &'a Message>,
    bookkeeping: Option<(&str, &Message)>,
) {
    producer.begin_transaction().expect("a transaction begins");
    for message in messages {
        send(producer, topic, message);
    }
    if let Some((topic, message)) = bookkeeping {
        send(producer, topic, message);
    }
    // Committing flushes in slices of 100 ms while something is under way.
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
    producer
        .commit_transaction(TIMEOUT)
        .expect("the transaction is committed");
}

fn send(producer: &BaseProducer, topic: &str, message: &Message) {
    let headers = message
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        });
    let mut record = BaseRecord::to(topic)
        .key(&message.key)
        .payload(&message.value)
        .headers(headers);
    while let Err((error, again)) = producer.send(record) {
        assert!(
            matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)),
            "{error}"
        );
        producer.poll(Duration::from_millis(1));
        record = again;
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
                }
            })
            .collect();
        transaction(&producer, topic, messages.iter(), None);
    }
}

/// The settings that the service reads whole topics with.
fn reader(kafka: &Kafka) -> ClientConfig {
    let mut config = kafka.client_config();
    config
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.message.max.bytes", "4194304");
    config
}

/// Polls a topic from its beginning to its end. Gives the time that it took.
pub(crate) fn read_all(
    kafka: &Kafka,
    topic: &str,
    partitions: i32,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> Duration {
    let began = Instant::now();
    let consumer: BaseConsumer = reader(kafka).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    let mut left: BTreeSet<i32> = (0..partitions).collect();
    while !left.is_empty() {
        match consumer.poll(TIMEOUT).expect("an answer") {
            Ok(message) => each(&message),
            Err(KafkaError::PartitionEOF(partition)) => {
                left.remove(&partition);
            }
            Err(error) => panic!("{error}"),
        }
    }
    began.elapsed()
}
