//! Reading a part of a topic once: what was written between two times, bounded in records and time.
//!
//! Only committed records. Times are those that the broker keeps with the records, a little after what they speak of.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};

use super::{
    KafkaConfig, Partitions, Record, TopicError,
    context::LoggingContext,
    leader::with_leader,
    reader::{ASK, record_of, resolve},
};
use crate::clock;

/// Records of a partition that are looked at although none seems young enough. The one who asks compares times anyway.
const UNTIMED: i64 = 1000;
const POLL: Duration = Duration::from_millis(50);

/// Which part.
#[derive(Debug, Clone)]
pub struct Window {
    /// Which partitions.
    pub partitions: Partitions,
    /// Hardly before; `None`: the oldest that there is.
    pub from: Option<Timestamp>,
    /// Hardly after; `None`: the newest at the beginning of the reading.
    pub to: Option<Timestamp>,
    /// Of all partitions together: only the newest so many (offsets, so a few less) are looked at.
    pub records_max: i64,
    /// How long it may take.
    pub within: Duration,
}

/// Reads the window into `fold`, in order per partition. The answer's flag says whether older or later records of the
/// window were left out because there are too many, or because time was up.
///
/// # Errors
/// When the broker does not answer or the topic does not exist.
pub async fn read_window<T: Send + 'static>(
    config: &KafkaConfig,
    topic: &str,
    window: Window,
    fold: T,
    step: impl FnMut(&mut T, Record) + Send + 'static,
) -> Result<(T, bool), TopicError> {
    let (client, name) = (config.reader(&format!("usher-window-{topic}")), topic.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&client, &name, &window, fold, step)).await;
    read.unwrap_or(Err(KafkaError::Canceled))
        .map_err(|source| TopicError::Unreachable {
            bootstrap_servers: config.bootstrap_servers.clone(),
            source,
        })
}

/// From the first offset to the one after the last.
type Range = (i64, i64);

fn read<T>(
    config: &rdkafka::ClientConfig,
    topic: &str,
    window: &Window,
    mut fold: T,
    mut step: impl FnMut(&mut T, Record),
) -> KafkaResult<(T, bool)> {
    let deadline = clock::monotonic() + window.within;
    let consumer: BaseConsumer<LoggingContext> = config.create_with_context(LoggingContext)?;
    let partitions = resolve(&consumer, topic, window.partitions.clone())?;
    let share = window.records_max / i64::try_from(partitions.len().max(1)).unwrap_or(1);
    let (ranges, mut cut) = ranges(&consumer, topic, &partitions, window, share)?;
    let mut list = TopicPartitionList::new();
    for (partition, (first, _)) in &ranges {
        list.add_partition_offset(topic, *partition, Offset::Offset(*first))?;
    }
    consumer.assign(&list)?;
    let mut left = ranges;
    while !left.is_empty() {
        if clock::monotonic() >= deadline {
            cut = true;
            break;
        }
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let Some((_, end)) = left.get(&partition) else { continue };
                let end = *end;
                if offset < end {
                    step(&mut fold, record_of(&message));
                }
                if offset + 1 >= end {
                    left.remove(&partition);
                }
            }
            // Commit marks take offsets: the end may have no record before it.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                left.remove(&partition);
            }
            Some(Err(error)) => {
                if let Some((code, _)) = consumer.client().fatal_error() {
                    return Err(KafkaError::Global(code));
                }
                tracing::info!(topic, %error, "reading was interrupted");
            }
        }
    }
    Ok((fold, cut))
}

/// What is to be read of each partition that has something in the window, and whether more was there.
fn ranges(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    partitions: &[i32],
    window: &Window,
    share: i64,
) -> KafkaResult<(BTreeMap<i32, Range>, bool)> {
    let at = |time: Option<Timestamp>| -> KafkaResult<BTreeMap<i32, i64>> {
        let Some(time) = time else { return Ok(BTreeMap::new()) };
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(topic, *partition, Offset::Offset(time.as_millisecond()))?;
        }
        let found = consumer.offsets_for_times(list, ASK)?;
        let offsets = found.elements().into_iter().filter_map(|element| {
            let Offset::Offset(offset) = element.offset() else {
                return None;
            };
            Some((element.partition(), offset))
        });
        Ok(offsets.collect())
    };
    let (from, to) = (at(window.from)?, at(window.to)?);
    let (mut ranges, mut cut) = (BTreeMap::new(), false);
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, *partition, ASK)?;
        let first = match (window.from, from.get(partition)) {
            (None, _) => low,
            (Some(_), Some(first)) => *first,
            // Nothing is that young, or the broker keeps no times (the embedded one).
            (Some(_), None) => low.max(high - UNTIMED),
        };
        let end = to.get(partition).copied().unwrap_or(high).min(high);
        let newest = end - share.max(1);
        cut |= newest > first;
        let first = first.max(newest);
        if first < end {
            ranges.insert(*partition, (first, end));
        }
    }
    Ok((ranges, cut))
}

/// The offset after the newest record of a partition. A leader that is being chosen is waited for, a moment.
///
/// # Errors
/// When the broker does not answer.
pub async fn end_of(config: &KafkaConfig, topic: &str, partition: i32) -> Result<i64, TopicError> {
    let client = config.reader(&format!("usher-end-{topic}"));
    let name = topic.to_owned();
    let asked = with_leader(move || {
        let consumer: BaseConsumer<LoggingContext> = client.create_with_context(LoggingContext)?;
        consumer.fetch_watermarks(&name, partition, ASK)
    })
    .await;
    asked.map(|(_, high)| high).map_err(|source| TopicError::Unreachable {
        bootstrap_servers: config.bootstrap_servers.clone(),
        source,
    })
}
