//! Reading whole topics: from the beginning to the end, then on.
//!
//! Guarantees: only committed records; [`TopicInput::CaughtUp`] comes after everything that was committed when
//! [`TopicReader::catch_up`] was called. The end is announced by the client per partition (`PartitionEOF`): comparing
//! positions with watermarks would be wrong, because commit markers and aborted records take offsets too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    thread,
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
};
use tokio::sync::mpsc as tokio_mpsc;
use tracing::warn;

use super::{KafkaConfig, TopicError, context::LoggingContext};

/// Records handed over at once; bounds the memory between the reading thread and its user.
const BATCH_RECORDS_MAX: usize = 512;
const POLL: Duration = Duration::from_millis(50);

/// One record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// A header's value as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// What a reader hands over.
#[derive(Debug)]
pub enum TopicInput {
    /// Records in order within each partition.
    Records(Vec<Record>),
    /// Everything that was committed when mark number `n` was set has been handed over. The start sets mark 0.
    CaughtUp(u64),
    /// Reading does not go on; the reader has ended.
    Failed(String),
}

/// Which partitions of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitions {
    /// All of them.
    All,
    /// These.
    Only(Vec<i32>),
}

/// A thread that reads a topic from its beginning and follows it. Ends when dropped.
#[derive(Debug)]
pub struct TopicReader {
    marks: mpsc::Sender<u64>,
    next_mark: u64,
    inputs: tokio_mpsc::Receiver<TopicInput>,
}

impl TopicReader {
    /// Starts reading. `topic` is the full name.
    ///
    /// # Errors
    /// When the client cannot be made or the topic's partitions cannot be listed.
    pub async fn start(config: &KafkaConfig, topic: &str, partitions: Partitions) -> Result<Self, TopicError> {
        let (marks, marks_in) = mpsc::channel();
        let (inputs_out, inputs) = tokio_mpsc::channel(16);
        let unreachable = |source| TopicError::Unreachable {
            bootstrap_servers: config.bootstrap_servers.clone(),
            source,
        };
        let (client, name) = (config.reader(&format!("usher-reader-{topic}")), topic.to_owned());
        let opened = tokio::task::spawn_blocking(move || Reading::open(&client, name, partitions)).await;
        let reading = opened.unwrap_or(Err(KafkaError::Canceled)).map_err(unreachable)?;
        let name = format!("read {topic}");
        // The client blocks: its poll loop needs a thread of its own.
        let started = thread::Builder::new()
            .name(name)
            .spawn(move || reading.run(&marks_in, &inputs_out));
        started.map_err(|error| unreachable(KafkaError::ClientCreation(error.to_string())))?;
        Ok(Self {
            marks,
            next_mark: 1,
            inputs,
        })
    }

    /// What comes next; `None` after the reader has ended.
    pub async fn next(&mut self) -> Option<TopicInput> {
        self.inputs.recv().await
    }

    /// Sets a mark at the present end of every partition; [`TopicInput::CaughtUp`] with this number follows.
    pub fn catch_up(&mut self) -> u64 {
        let mark = self.next_mark;
        self.next_mark += 1;
        // A reader that has ended shows itself in `next`.
        let _ = self.marks.send(mark);
        mark
    }
}

/// The state of the reading thread.
struct Reading {
    consumer: BaseConsumer<LoggingContext>,
    topic: String,
    /// The offset after the last record handed over, per partition.
    next_offsets: BTreeMap<i32, Option<i64>>,
    /// Partitions whose end has not been announced since the last assignment.
    not_at_end: BTreeSet<i32>,
    mark: Option<u64>,
}

impl Reading {
    fn open(config: &rdkafka::ClientConfig, topic: String, partitions: Partitions) -> KafkaResult<Self> {
        let consumer: BaseConsumer<LoggingContext> = config.create_with_context(LoggingContext)?;
        let partitions = match partitions {
            Partitions::Only(partitions) => partitions,
            Partitions::All => {
                let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(10))?;
                // A topic that the broker does not know (yet) has no partitions: taken as empty, all state would seem lost.
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                if let Some(error) = found.and_then(rdkafka::metadata::MetadataTopic::error) {
                    return Err(KafkaError::MetadataFetch(error.into()));
                }
                if found.is_none_or(|found| found.partitions().is_empty()) {
                    return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
                }
                metadata
                    .topics()
                    .iter()
                    .flat_map(|topic| topic.partitions())
                    .map(|partition| partition.id())
                    .collect()
            }
        };
        let next_offsets = partitions.into_iter().map(|partition| (partition, None)).collect();
        let mut reading = Self {
            consumer,
            topic,
            next_offsets,
            not_at_end: BTreeSet::new(),
            mark: None,
        };
        reading.assign(0)?;
        Ok(reading)
    }

    /// Assigns every partition again where it stands, which makes the client announce each end once more.
    fn assign(&mut self, mark: u64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.next_offsets {
            list.add_partition_offset(&self.topic, *partition, next.map_or(Offset::Beginning, Offset::Offset))?;
        }
        self.consumer.assign(&list)?;
        self.not_at_end = self.next_offsets.keys().copied().collect();
        self.mark = Some(mark);
        Ok(())
    }

    fn run(mut self, marks: &mpsc::Receiver<u64>, inputs: &tokio_mpsc::Sender<TopicInput>) {
        let mut batch = Vec::new();
        loop {
            // Marks that were set together are answered by the newest.
            let mut newest = None;
            loop {
                match marks.try_recv() {
                    Ok(mark) => newest = Some(mark),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            if let Some(mark) = newest
                && let Err(error) = self.assign(mark)
            {
                let _ = inputs.blocking_send(TopicInput::Failed(error.to_string()));
                return;
            }
            if !self.fill(&mut batch, inputs) {
                return;
            }
            if !batch.is_empty()
                && inputs
                    .blocking_send(TopicInput::Records(std::mem::take(&mut batch)))
                    .is_err()
            {
                return;
            }
            if self.not_at_end.is_empty()
                && let Some(mark) = self.mark.take()
                && inputs.blocking_send(TopicInput::CaughtUp(mark)).is_err()
            {
                return;
            }
        }
    }

    /// Takes what has arrived, at most one batch. False when reading cannot go on.
    fn fill(&mut self, batch: &mut Vec<Record>, inputs: &tokio_mpsc::Sender<TopicInput>) -> bool {
        let mut wait = POLL;
        while batch.len() < BATCH_RECORDS_MAX {
            match self.consumer.poll(wait) {
                None => return true,
                Some(Ok(message)) => {
                    self.next_offsets
                        .insert(message.partition(), Some(message.offset() + 1));
                    batch.push(record_of(&message));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.not_at_end.remove(&partition);
                    if self.not_at_end.is_empty() && self.mark.is_some() {
                        return true;
                    }
                }
                // The client reconnects and goes on by itself unless the error is fatal.
                Some(Err(error)) => {
                    warn!(topic = %self.topic, %error, "reading was interrupted");
                    if let Some((code, reason)) = self.consumer.client().fatal_error() {
                        let _ = inputs.blocking_send(TopicInput::Failed(format!("{code}: {reason}")));
                        return false;
                    }
                }
            }
            wait = Duration::ZERO;
        }
        true
    }
}

fn record_of(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
