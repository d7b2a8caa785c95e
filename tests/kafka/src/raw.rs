//! Raw clients to compare with: a transactional producer and a consumer that do nothing else, for benches.
//!
//! They have the settings that the services have, so that a difference is what the services do with the records.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::broker::Kafka;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A message to write.
pub struct Message {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` for that of the key.
    pub partition: Option<i32>,
}

/// A transactional producer with the settings that the service has.
pub fn producer(kafka: &Kafka, transactional_id: &str) -> BaseProducer {
    let mut config = kafka.client_config();
    config
        .set("transactional.id", transactional_id)
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.messages", "200000");
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(TIMEOUT).expect("the producer begins");
    producer
}

/// Writes these in one transaction, and a record of bookkeeping behind them.
pub fn transaction<'a>(
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
    record.partition = message.partition;
    while let Err((error, again)) = producer.send(record) {
        assert!(
            matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)),
            "{error}"
        );
        producer.poll(Duration::from_millis(1));
        record = again;
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
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub fn read_all(kafka: &Kafka, topic: &str, partitions: i32, mut each: impl FnMut(&BorrowedMessage<'_>)) -> Duration {
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
