//! Reading whole topics: from the beginning to the end, then on.
//!
//! Guarantees: only committed records; [`TopicInput::CaughtUp`] comes after everything that was committed when
//! [`TopicReader::catch_up`] was called. The end is announced by the client per partition (`PartitionEOF`): comparing
//! positions with watermarks would be wrong, because commit markers and aborted records take offsets too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
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

use super::{KafkaConfig, TopicError, context::LoggingContext, leader::with_leader};

/// Records handed over at once; bounds the memory between the reading thread and its user.
const BATCH_RECORDS_MAX: usize = 512;
const POLL: Duration = Duration::from_millis(50);
/// How long the broker may take to answer a question about a topic.
pub(super) const ASK: Duration = Duration::from_secs(10);

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

impl Record {
    /// To be read as one that is not copied.
    #[must_use]
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef(Lent::Copy(self))
    }
}

/// A record that lies in the client's memory: whoever reads it takes what is needed, and nothing else is copied.
#[derive(Debug)]
pub struct RecordRef<'a>(Lent<'a>);

enum Lent<'a> {
    Client(&'a BorrowedMessage<'a>),
    Copy(&'a Record),
}

impl std::fmt::Debug for Lent<'_> {
    /// Keys and values name people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl RecordRef<'_> {
    /// Partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match self.0 {
            Lent::Client(message) => message.partition(),
            Lent::Copy(record) => record.partition,
        }
    }
    /// Offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        match self.0 {
            Lent::Client(message) => message.offset(),
            Lent::Copy(record) => record.offset,
        }
    }
    /// Key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        match self.0 {
            Lent::Client(message) => message.key(),
            Lent::Copy(record) => record.key.as_deref(),
        }
    }
    /// Value; `None` is a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self.0 {
            Lent::Client(message) => message.payload(),
            Lent::Copy(record) => record.value.as_deref(),
        }
    }
    /// A header's value as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = match self.0 {
            Lent::Client(message) => message.headers()?.iter().find(|header| header.key == name)?.value?,
            Lent::Copy(record) => return record.header(name),
        };
        std::str::from_utf8(value).ok()
    }
    /// A copy of all of it.
    #[must_use]
    pub fn to_record(&self) -> Record {
        match self.0 {
            Lent::Client(message) => record_of(message),
            Lent::Copy(record) => record.clone(),
        }
    }
}

/// What a reader hands over; `T` is what it makes of a record.
#[derive(Debug)]
pub enum TopicInput<T = Record> {
    /// Records in order within each partition.
    Records(Vec<T>),
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

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record that there is.
    Beginning,
    /// At this offset of each partition; at the oldest record when that one is gone.
    Offset(i64),
    /// After the newest record. It is settled when [`TopicReader::start_from`] returns: what is written later is read.
    End,
}

/// Threads that read a topic and follow it. They end when this is dropped.
#[derive(Debug)]
pub struct TopicReader<T = Record> {
    marks: Vec<mpsc::Sender<u64>>,
    next_mark: u64,
    /// The last mark that each thread has reached, and the last that was handed over.
    reached: Vec<Option<u64>>,
    told: Option<u64>,
    inputs: tokio_mpsc::Receiver<(usize, TopicInput<T>)>,
}

impl TopicReader {
    /// Starts reading at the beginning, with one thread. `topic` is the full name.
    ///
    /// # Errors
    /// When the client cannot be made or the topic's partitions cannot be listed.
    pub async fn start(config: &KafkaConfig, topic: &str, partitions: Partitions) -> Result<Self, TopicError> {
        Self::start_from(config, topic, partitions, ReadFrom::Beginning).await
    }

    /// Starts reading with one thread. `topic` is the full name.
    ///
    /// # Errors
    /// When the client cannot be made or the topic's partitions or their ends cannot be listed.
    pub async fn start_from(
        config: &KafkaConfig,
        topic: &str,
        partitions: Partitions,
        from: ReadFrom,
    ) -> Result<Self, TopicError> {
        Self::start_threads(config, topic, partitions, from, 1, |record| record.to_record()).await
    }
}

impl<T: Send + 'static> TopicReader<T> {
    /// As [`TopicReader::start`], with as many threads, which share out the partitions. `read` makes of each record what is
    /// handed over, on the reading thread: a million records are then neither copied nor decoded by whoever waits for them.
    ///
    /// # Errors
    /// As [`TopicReader::start`].
    pub async fn start_with(
        config: &KafkaConfig,
        topic: &str,
        partitions: Partitions,
        threads: usize,
        read: impl Fn(RecordRef<'_>) -> T + Send + Sync + 'static,
    ) -> Result<Self, TopicError> {
        Self::start_threads(config, topic, partitions, ReadFrom::Beginning, threads, read).await
    }

    async fn start_threads(
        config: &KafkaConfig,
        topic: &str,
        partitions: Partitions,
        from: ReadFrom,
        threads: usize,
        read: impl Fn(RecordRef<'_>) -> T + Send + Sync + 'static,
    ) -> Result<Self, TopicError> {
        let (inputs_out, inputs) = tokio_mpsc::channel(16);
        let unreachable = |source| TopicError::Unreachable {
            bootstrap_servers: config.bootstrap_servers.clone(),
            source,
        };
        let (client, name) = (config.reader(&format!("usher-reader-{topic}")), topic.to_owned());
        let opened = with_leader(move || Reading::open(&client, &name, partitions.clone(), from, threads)).await;
        let readings = opened.map_err(unreachable)?;
        let (read, mut marks) = (Arc::new(read), Vec::new());
        let reached = vec![None; readings.len()];
        for (number, reading) in readings.into_iter().enumerate() {
            let (marks_out, marks_in) = mpsc::channel();
            marks.push(marks_out);
            let (inputs, read) = (inputs_out.clone(), Arc::clone(&read));
            // The client blocks: its poll loop needs a thread of its own.
            let started = thread::Builder::new().name(format!("read {topic}")).spawn(move || {
                let output = Output(number, inputs);
                reading.run(&marks_in, |input| output.hand_over(input), &*read);
            });
            started.map_err(|error| unreachable(KafkaError::ClientCreation(error.to_string())))?;
        }
        Ok(Self {
            marks,
            next_mark: 1,
            reached,
            told: None,
            inputs,
        })
    }

    /// What comes next; `None` after the reader has ended.
    pub async fn next(&mut self) -> Option<TopicInput<T>> {
        loop {
            let (number, input) = self.inputs.recv().await?;
            let TopicInput::CaughtUp(mark) = input else {
                return Some(input);
            };
            self.reached[number] = Some(mark);
            // A mark is reached when every thread has reached it or a later one.
            let all = self.reached.iter().copied().min().flatten();
            if all > self.told {
                self.told = all;
                return all.map(TopicInput::CaughtUp);
            }
        }
    }

    /// Sets a mark at the present end of every partition; [`TopicInput::CaughtUp`] with this number follows.
    pub fn catch_up(&mut self) -> u64 {
        let mark = self.next_mark;
        self.next_mark += 1;
        for marks in &self.marks {
            // A reader that has ended shows itself in `next`.
            let _ = marks.send(mark);
        }
        mark
    }
}

/// Where a thread hands over what it has read.
struct Output<T>(usize, tokio_mpsc::Sender<(usize, TopicInput<T>)>);

impl<T> Output<T> {
    /// Whether anybody still takes.
    fn hand_over(&self, input: TopicInput<T>) -> bool {
        self.1.blocking_send((self.0, input)).is_ok()
    }
}

impl<T> Drop for Output<T> {
    /// However a thread ends, its partitions are read no further: without a word the others would hide it.
    fn drop(&mut self) {
        self.hand_over(TopicInput::Failed("a reading thread has ended".to_owned()));
    }
}

/// The state of a reading thread.
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
    fn open(
        config: &rdkafka::ClientConfig,
        topic: &str,
        partitions: Partitions,
        from: ReadFrom,
        threads: usize,
    ) -> KafkaResult<Vec<Self>> {
        let consumer = || config.create_with_context::<_, BaseConsumer<LoggingContext>>(LoggingContext);
        let first = consumer()?;
        let mut places = Vec::new();
        for partition in resolve(&first, topic, partitions)? {
            let next = match from {
                ReadFrom::Beginning => None,
                ReadFrom::Offset(offset) => Some(offset),
                ReadFrom::End => Some(first.fetch_watermarks(topic, partition, ASK)?.1),
            };
            places.push((partition, next));
        }
        let threads = threads.clamp(1, places.len().max(1));
        let mut readings = vec![Self::of(first, topic)];
        while readings.len() < threads {
            readings.push(Self::of(consumer()?, topic));
        }
        for (place, (partition, next)) in places.into_iter().enumerate() {
            readings[place % threads].next_offsets.insert(partition, next);
        }
        for reading in &mut readings {
            reading.assign(0)?;
        }
        Ok(readings)
    }

    /// Without partitions.
    fn of(consumer: BaseConsumer<LoggingContext>, topic: &str) -> Self {
        Self {
            consumer,
            topic: topic.to_owned(),
            next_offsets: BTreeMap::new(),
            not_at_end: BTreeSet::new(),
            mark: None,
        }
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

    /// `hand_over` says whether anybody still takes.
    fn run<T>(
        mut self,
        marks: &mpsc::Receiver<u64>,
        hand_over: impl Fn(TopicInput<T>) -> bool,
        read: &impl Fn(RecordRef<'_>) -> T,
    ) {
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
                hand_over(TopicInput::Failed(error.to_string()));
                return;
            }
            if !self.fill(&mut batch, &hand_over, read) {
                return;
            }
            if !batch.is_empty() && !hand_over(TopicInput::Records(std::mem::take(&mut batch))) {
                return;
            }
            if self.not_at_end.is_empty()
                && let Some(mark) = self.mark.take()
                && !hand_over(TopicInput::CaughtUp(mark))
            {
                return;
            }
        }
    }

    /// Takes what has arrived, at most one batch. False when reading cannot go on.
    fn fill<T>(
        &mut self,
        batch: &mut Vec<T>,
        hand_over: &impl Fn(TopicInput<T>) -> bool,
        read: &impl Fn(RecordRef<'_>) -> T,
    ) -> bool {
        let mut wait = POLL;
        while batch.len() < BATCH_RECORDS_MAX {
            match self.consumer.poll(wait) {
                None => return true,
                Some(Ok(message)) => {
                    self.next_offsets
                        .insert(message.partition(), Some(message.offset() + 1));
                    batch.push(read(RecordRef(Lent::Client(&message))));
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
                        hand_over(TopicInput::Failed(format!("{code}: {reason}")));
                        return false;
                    }
                }
            }
            wait = Duration::ZERO;
        }
        true
    }
}

/// The partitions that are meant.
pub(super) fn resolve(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    partitions: Partitions,
) -> KafkaResult<Vec<i32>> {
    if let Partitions::Only(partitions) = partitions {
        return Ok(partitions);
    }
    let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
    // A topic that the broker does not know (yet) has no partitions: taken as empty, all state would seem lost.
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    if let Some(error) = found.and_then(rdkafka::metadata::MetadataTopic::error) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    if found.is_none_or(|found| found.partitions().is_empty()) {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    Ok(metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect())
}

pub(super) fn record_of(message: &BorrowedMessage<'_>) -> Record {
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
