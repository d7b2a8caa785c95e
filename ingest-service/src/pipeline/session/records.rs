//! A batch as Kafka records: what subscribers read, then our bookkeeping, the position last.
//!
//! While one batch is under way the messages of the next one are made into records already, so that the producer does not
//! wait for that between two transactions.

use usher_contract::{CloudEvent, TraceContext, UserChange, UserKey};
use usher_runtime::kafka::{OutRecord, TransactionBatch, partition_of};

use super::Session;
use crate::{
    logic::{record::CheckpointKey, writer::Batch},
    pipeline::prepare::bookkeeping,
    topics,
};

/// The first messages of a batch, as records.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Number of the batch.
    batch: u64,
    records: Vec<OutRecord>,
}

impl Session<'_> {
    /// Makes records of what has been staged behind the batch under way.
    pub(super) fn work_ahead(&mut self) {
        let Some((number, batch)) = self.writer.next_batch() else {
            return;
        };
        if self.ahead.batch != number {
            self.ahead = Ahead {
                batch: number,
                records: Vec::with_capacity(batch.changes.len()),
            };
        }
        for change in &batch.changes[self.ahead.records.len()..] {
            self.ahead.records.push(self.message(change));
        }
    }

    /// Named and not left to the client: partitions that somebody adds while this leadership writes must not move keys.
    fn partition(&self, key: &[u8]) -> Option<i32> {
        Some(partition_of(key, self.writer.position().partitions))
    }

    fn message(&self, change: &UserChange) -> OutRecord {
        let key = change.user.key().to_string().into_bytes();
        OutRecord {
            topic: self.parts.config.kafka.topic(topics::USER_CHANGE),
            value: Some(bytes(change)),
            headers: CloudEvent::of_user_change(change, Some(TraceContext::of(change).to_string())).headers(),
            partition: self.partition(&key),
            key,
        }
    }

    /// `number`: of the batch.
    pub(super) fn records(&mut self, number: u64, batch: &Batch) -> TransactionBatch {
        let ahead = std::mem::take(&mut self.ahead);
        let mut changes = if ahead.batch == number {
            ahead.records
        } else {
            Vec::new()
        };
        for change in &batch.changes[changes.len()..] {
            changes.push(self.message(change));
        }
        let kafka = &self.parts.config.kafka;
        let letters = batch.dead_letters.iter().map(|letter| OutRecord {
            topic: kafka.topic(topics::DEAD_LETTER),
            key: format!("{}/{}", letter.stream, letter.replay_id).into_bytes(),
            value: Some(bytes(letter)),
            headers: Vec::new(),
            partition: None,
        });
        // A tombstone means erased. Behind the changes: an earlier state of the person may be among them.
        let erased = batch.erased.iter().map(|user| {
            let key = UserKey::new(self.org, *user).to_string().into_bytes();
            OutRecord {
                topic: kafka.topic(topics::USER_CHANGE),
                value: None,
                headers: Vec::new(),
                partition: self.partition(&key),
                key,
            }
        });
        let record = |key: CheckpointKey, value: Option<Vec<u8>>| bookkeeping(self.parts, &key, value);
        let owed = batch
            .owed
            .iter()
            .map(|(debtor, owed)| record(CheckpointKey::Owed(self.org, *debtor), owed.as_ref().map(bytes)));
        let held = batch
            .held
            .iter()
            .map(|(id, set)| record(CheckpointKey::Held(self.org, id.clone()), set.as_ref().map(bytes)));
        let suppressed = batch.suppressed.iter().map(|(user, suppression)| {
            let key = CheckpointKey::Suppressed(self.org, *user);
            record(key, suppression.as_ref().map(bytes))
        });
        let position = CheckpointKey::Position(self.org, self.parts.config.pubsub.channel.clone());
        let position = std::iter::once(record(position, Some(bytes(&batch.position))));
        changes.extend(letters.chain(erased));
        TransactionBatch {
            changes,
            bookkeeping: owed.chain(held).chain(suppressed).chain(position).collect(),
        }
    }
}

/// A record as bytes. Our own types serialize always: maps have text keys and no field is unknown without being left out.
fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("**Invariant**: the contract's types serialize; a golden test shows each")
}
