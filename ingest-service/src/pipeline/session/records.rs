//! A batch as Kafka records: what subscribers read, then our bookkeeping, the position last.

use usher_contract::{CloudEvent, TraceContext, UserKey};
use usher_runtime::kafka::{OutRecord, TransactionBatch, partition_of};

use super::Session;
use crate::{
    logic::{record::CheckpointKey, writer::Batch},
    pipeline::prepare::bookkeeping,
    topics,
};

impl Session<'_> {
    pub(super) fn records(&self, batch: &Batch) -> TransactionBatch {
        let kafka = &self.parts.config.kafka;
        // Named and not left to the client: partitions that somebody adds while this leadership writes must not move keys.
        let partition = |key: &[u8]| Some(partition_of(key, self.writer.position().partitions));
        let changes = batch.changes.iter().map(|change| {
            let key = change.user.key().to_string().into_bytes();
            OutRecord {
                topic: kafka.topic(topics::USER_CHANGE),
                value: Some(bytes(change)),
                headers: CloudEvent::of_user_change(change, Some(TraceContext::of(change).to_string())).headers(),
                partition: partition(&key),
                key,
            }
        });
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
                partition: partition(&key),
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
        TransactionBatch {
            changes: changes.chain(letters).chain(erased).collect(),
            bookkeeping: owed.chain(held).chain(suppressed).chain(position).collect(),
        }
    }
}

/// A record as bytes. Our own types serialize always: maps have text keys and no field is unknown without being left out.
fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("**Invariant**: the contract's types serialize; a golden test shows each")
}
