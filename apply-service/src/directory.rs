//! Every target's own record, as the topic has it: who runs which target, what is paused, what is held.
//!
//! Every replica holds all of it: one small record per target. So any replica knows whom to ask. Links are not here: they
//! are many, and their owner has them.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use thiserror::Error;
use usher_contract::TargetName;
use usher_runtime::{
    kafka::{KafkaConfig, Partitions, TopicError, TopicInput, TopicReader},
    shutdown::CancellationToken,
};

use crate::{link_table::take_record, logic::target_record::TargetRecord, topics};

/// Reading does not go on.
#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    /// The client gave up.
    #[error("reading {0} failed: {1}")]
    Failed(String, String),
    /// It could not begin.
    #[error("cannot read the records of the targets")]
    Start(#[from] TopicError),
}

/// The records by name.
#[derive(Debug, Default)]
pub(crate) struct Directory(RwLock<BTreeMap<TargetName, TargetRecord>>);

impl Directory {
    /// The record of a target; `None` when nobody ever ran it, or a later version has written it.
    pub(crate) fn get(&self, target: &TargetName) -> Option<TargetRecord> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(target)
            .cloned()
    }

    /// Everything.
    pub(crate) fn all(&self) -> BTreeMap<TargetName, TargetRecord> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(test)]
    pub(crate) fn put(&self, target: TargetName, record: TargetRecord) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(target, record);
    }

    /// Where the process that runs a target listens, as far as is known: one that died has not said so.
    pub(crate) fn owner(&self, target: &TargetName) -> Option<String> {
        self.get(target).as_ref().and_then(owner_of)
    }

    /// Reads the topic from its beginning and follows it until `stop` is cancelled.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(crate) async fn follow(
        self: Arc<Self>,
        kafka: KafkaConfig,
        stop: CancellationToken,
    ) -> Result<(), DirectoryError> {
        let topic = kafka.topic(topics::TARGET);
        let mut reader = TopicReader::start(&kafka, &topic, Partitions::All).await?;
        loop {
            let input = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                input = reader.next() => input,
            };
            match input {
                Some(TopicInput::Records(records)) => {
                    let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
                    records.iter().for_each(|record| take_record(&mut table, record));
                }
                Some(TopicInput::CaughtUp(_)) => {}
                Some(TopicInput::Failed(reason)) => return Err(DirectoryError::Failed(topic, reason)),
                None => {
                    return Err(DirectoryError::Failed(topic, "the reader has ended".to_owned()));
                }
            }
        }
    }
}

/// Whose address a record names, unless it says that the target was handed back.
pub(crate) fn owner_of(record: &TargetRecord) -> Option<String> {
    (!record.released && !record.owner.is_empty()).then(|| record.owner.clone())
}
