//! What is known at a target, read back from the topics when the target is taken over.
//!
//! A partition holds the records of several targets, each written by its own producer. An open transaction of a
//! sibling hides everything behind it from committed readers, so "the end" as the broker announces it may lie before
//! our own newest record. Therefore the new owner, having fenced its predecessors, commits a mark of its own and reads
//! until it sees that mark: whatever was committed before is then read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    clock,
    kafka::{
        CommitError, KafkaConfig, OutRecord, Partitions, Record, TopicError, TopicInput, TopicReader, TransactionBatch,
        TransactionalProducer,
    },
};

use crate::{
    logic::{
        lane::Links,
        link::{self, Link, user_of_key},
        target_record::{self, TargetRecord},
    },
    topics,
};

/// The part of the key that no person has.
const MARK: &str = "mark";

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The links.
    pub links: Links,
    /// The target's own record; `None` when nobody ever owned it.
    pub record: Option<TargetRecord>,
    /// Records that could not be read.
    pub malformed: u64,
}

/// Why nothing could be read.
#[derive(Debug, Error)]
pub(crate) enum RestoreError {
    /// The mark.
    #[error("cannot mark the end of what is to be read")]
    Mark(#[from] CommitError),
    /// The topic.
    #[error("cannot read the links")]
    Start(#[from] TopicError),
    /// Reading broke off.
    #[error("reading {0} broke off: {1}")]
    Failed(String, String),
    /// A newer version has written here.
    #[error("a record of {target} has format {found}, this version reads up to {known}; run the newer version")]
    Format {
        /// Which target.
        target: TargetName,
        /// As written.
        found: u32,
        /// As known.
        known: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    mark: String,
}

/// Reads links and record of a target. The producer has fenced its predecessors.
///
/// # Errors
/// [`RestoreError`]; nothing is known then.
pub(crate) async fn restore(
    kafka: &KafkaConfig,
    producer: &Arc<TransactionalProducer>,
    target: &TargetName,
) -> Result<Restored, RestoreError> {
    let mark = format!("{}-{:016x}", clock::now(), rand::random::<u64>());
    let partition = topics::partition_of_target(target);
    let key = format!("{target}/{MARK}");
    let out = |topic: &str| {
        let value = serde_json::to_vec(&Mark { mark: mark.clone() }).unwrap_or_default();
        OutRecord {
            topic: kafka.topic(topic),
            key: key.clone().into_bytes(),
            value: Some(value),
            headers: vec![],
            partition: Some(partition),
        }
    };
    producer
        .commit(TransactionBatch {
            changes: vec![out(topics::LINK), out(topics::TARGET)],
            bookkeeping: vec![],
        })
        .await?;

    let (mut links, mut malformed) = (Links::default(), 0);
    let mut newer = None;
    read_to_mark(kafka, topics::LINK, partition, &key, &mark, |name, record| {
        let Some(user) = user_of_key(target, name) else {
            return;
        };
        match decode_link(record) {
            Ok(link) => {
                if let Some(link) = &link
                    && link.format > link::FORMAT
                {
                    newer = Some(link.format);
                }
                links.put(user, link);
            }
            Err(_) => pass_over(&mut malformed, topics::LINK, record),
        }
    })
    .await?;
    if let Some(found) = newer {
        return Err(RestoreError::Format {
            target: target.clone(),
            found,
            known: link::FORMAT,
        });
    }
    let mut own = None;
    read_to_mark(kafka, topics::TARGET, partition, &key, &mark, |name, record| {
        if name != target.as_str() {
            return;
        }
        match record.value.as_deref().map(serde_json::from_slice::<TargetRecord>) {
            Some(Ok(record)) => own = Some(record),
            Some(Err(_)) => pass_over(&mut malformed, topics::TARGET, record),
            None => own = None,
        }
    })
    .await?;
    if let Some(found) = own
        .as_ref()
        .map(|record: &TargetRecord| record.format)
        .filter(|format| *format > target_record::FORMAT)
    {
        return Err(RestoreError::Format {
            target: target.clone(),
            found,
            known: target_record::FORMAT,
        });
    }
    Ok(Restored {
        links,
        record: own,
        malformed,
    })
}

/// Links of several targets, for commands that only read. Reads to the end as the broker announces it.
///
/// # Errors
/// [`RestoreError`].
pub(crate) async fn read_only(
    kafka: &KafkaConfig,
    targets: &[TargetName],
) -> Result<Vec<(TargetName, UserKey, Link)>, RestoreError> {
    let topic = kafka.topic(topics::LINK);
    let mut partitions: Vec<i32> = targets.iter().map(topics::partition_of_target).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let mut reader = TopicReader::start(kafka, &topic, Partitions::Only(partitions)).await?;
    let mut links = std::collections::BTreeMap::new();
    loop {
        match reader.next().await {
            Some(TopicInput::Records(records)) => {
                for record in &records {
                    let Some(name) = name_of(record) else {
                        continue;
                    };
                    let found = targets
                        .iter()
                        .find_map(|target| Some((target, user_of_key(target, name)?)));
                    let (Some((target, user)), Ok(link)) = (found, decode_link(record)) else {
                        continue;
                    };
                    match link {
                        Some(link) => links.insert((target.clone(), user), link),
                        None => links.remove(&(target.clone(), user)),
                    };
                }
            }
            Some(TopicInput::CaughtUp(_)) => {
                return Ok(links
                    .into_iter()
                    .map(|((target, user), link)| (target, user, link))
                    .collect());
            }
            Some(TopicInput::Failed(reason)) => return Err(RestoreError::Failed(topic, reason)),
            None => {
                return Err(RestoreError::Failed(topic, "the reader has ended".to_owned()));
            }
        }
    }
}

async fn read_to_mark(
    kafka: &KafkaConfig,
    topic: &str,
    partition: i32,
    mark_key: &str,
    mark: &str,
    mut take: impl FnMut(&str, &Record),
) -> Result<(), RestoreError> {
    let topic = kafka.topic(topic);
    let mut reader = TopicReader::start(kafka, &topic, Partitions::Only(vec![partition])).await?;
    loop {
        match reader.next().await {
            Some(TopicInput::Records(records)) => {
                for record in &records {
                    let Some(name) = name_of(record) else {
                        continue;
                    };
                    if name != mark_key {
                        take(name, record);
                    } else if record
                        .value
                        .as_deref()
                        .and_then(|value| serde_json::from_slice::<Mark>(value).ok())
                        .is_some_and(|found| found.mark == mark)
                    {
                        return Ok(());
                    }
                }
            }
            // The end as announced may lie before the mark: reading goes on.
            Some(TopicInput::CaughtUp(_)) => {}
            Some(TopicInput::Failed(reason)) => return Err(RestoreError::Failed(topic, reason)),
            None => {
                return Err(RestoreError::Failed(topic, "the reader has ended".to_owned()));
            }
        }
    }
}

fn name_of(record: &Record) -> Option<&str> {
    std::str::from_utf8(record.key.as_deref()?).ok()
}

fn decode_link(record: &Record) -> Result<Option<Link>, serde_json::Error> {
    record.value.as_deref().map(serde_json::from_slice).transpose()
}

fn pass_over(malformed: &mut u64, topic: &str, record: &Record) {
    *malformed += 1;
    warn!(
        topic,
        partition = record.partition,
        offset = record.offset,
        "a record could not be read and was passed over"
    );
}
