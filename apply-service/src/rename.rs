//! A target that has got another name (`formerly`): its links and its record move to the new name, whole or not at all.
//!
//! ```text
//! fence the former id ▶ read all that is known under the former name ▶ mark its record as renamed
//!   ▶ wait out a lease that was not handed back ▶ move the links, batch by batch ▶ write the record under the new name
//! ```
//!
//! A crash in between is taken up where it was: the record under the new name is written last, and each batch writes a
//! link under the one name and removes it under the other in one transaction. Whoever still has the former name in its
//! policy folder finds the mark and does not run the target: see [`Standing`].
//!
//! Whoever takes the new name back before everything has moved moves the rest of it back: until a name is given up, its
//! record is the one that counts, see [`newest`].

use std::sync::{Arc, atomic::AtomicU64};

use tracing::info;
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    clock,
    kafka::{KafkaConfig, OutRecord, TransactionBatch, TransactionalProducer},
};

use crate::{
    link_table::{self, RestoreError, Restored},
    logic::{
        groups::{
            Records,
            record::{group_record_key, memberships_record_key},
        },
        link::record_key,
        ownership::LEASE,
        target_record::TargetRecord,
    },
    topics,
};

/// Links of one transaction; each is two records.
const BATCH_LINKS: usize = 500;

/// What a record says about the name of its target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// It is the name of a target that runs under it, or of none yet.
    Current,
    /// What is known has to be moved here from this name first.
    Moves(&'a TargetName),
    /// The target runs under this name now.
    RenamedTo(&'a TargetName),
}

impl<'a> Standing<'a> {
    /// From the target's own record and the policy's `formerly`.
    pub(crate) fn of(record: Option<&'a TargetRecord>, formerly: Option<&'a TargetName>) -> Self {
        match (record.map(|record| record.renamed_to.as_ref()), formerly) {
            // Renamed there and back again.
            (Some(Some(to)), Some(former)) if to == former => Self::Moves(former),
            (Some(Some(to)), _) => Self::RenamedTo(to),
            (Some(None), _) | (None, None) => Self::Current,
            (None, Some(former)) => Self::Moves(former),
        }
    }
}

/// The record that the target goes on with: that of the name which is not given up. Of two marks of a move that was broken
/// off and turned round, the one is a copy of the other.
fn newest<'a>(
    own: Option<&'a TargetRecord>,
    former: Option<&'a TargetRecord>,
    name: &TargetName,
) -> Option<&'a TargetRecord> {
    former
        .filter(|record| !record.given_up)
        .or(own.filter(|own| own.renamed_to.as_ref() == Some(name)))
        .or(former)
}

/// Moves what is known under the name `former` to `target`, whose producer has fenced its predecessors and whose record is
/// `own`. Whether there was anything.
///
/// # Errors
/// [`RestoreError`]; trying again takes up where this ended.
pub(crate) async fn take_over(
    kafka: &KafkaConfig,
    producer: &TransactionalProducer,
    (target, own): (&TargetName, Option<&TargetRecord>),
    former: &TargetName,
    progress: &AtomicU64,
) -> Result<bool, RestoreError> {
    let fenced = TransactionalProducer::fence(kafka, &format!("{}apply.{former}", kafka.prefix)).await?;
    let (former_producer, fenced) = (Arc::new(fenced), clock::monotonic());
    let Restored {
        links,
        record: theirs,
        malformed,
    } = link_table::restore(kafka, &former_producer, former, progress).await?;
    if malformed > 0 {
        return Err(RestoreError::Unmovable(former.clone(), malformed));
    }
    let renamed = theirs.as_ref().and_then(|record| record.renamed_to.clone());
    if let Some(to) = renamed.filter(|to| to != target) {
        return Err(RestoreError::Renamed(former.clone(), to));
    }
    let Some(record) = newest(own, theirs.as_ref(), former).cloned() else {
        // There is nothing of that name.
        return Ok(false);
    };
    // Commands are counted by their place under each name.
    let done = |record: Option<&TargetRecord>| record.map_or(0, |record| record.commands_done);
    let mark = TargetRecord {
        renamed_to: Some(target.clone()),
        given_up: false,
        commands_done: done(theirs.as_ref()),
        ..record.clone()
    };
    // With the former's own producer: when this is committed nobody has fenced in between, and whoever does so later reads it.
    former_producer.commit(only(record_of(kafka, former, &mark))).await?;
    if !record.released {
        tokio::time::sleep(LEASE.saturating_sub(clock::monotonic().duration_since(fenced))).await;
    }
    let moved: Vec<UserKey> = links.glances().map(|(user, _)| *user).collect();
    for batch in moved.chunks(BATCH_LINKS) {
        let link = |name: &TargetName, user, value| OutRecord {
            topic: kafka.topic(topics::LINK),
            key: record_key(name, user).into_bytes(),
            value,
            headers: vec![],
            partition: Some(topics::partition_of_target(name)),
        };
        let known = batch.iter().filter_map(|user| Some((user, links.get(user)?)));
        let changes = known.flat_map(|(user, known)| {
            let value = Some(serde_json::to_vec(&known).unwrap_or_default());
            [link(target, user, value), link(former, user, None)]
        });
        producer
            .commit(TransactionBatch {
                changes: changes.collect(),
                bookkeeping: vec![],
            })
            .await?;
    }
    let Records { groups, memberships } = links.groups.records();
    let groups = groups.iter().map(|(group, known)| {
        let name = |target: &TargetName| group_record_key(target, group);
        (
            name(target),
            name(former),
            serde_json::to_vec(known).unwrap_or_default(),
        )
    });
    let memberships = memberships.iter().map(|(user, known)| {
        let name = |target: &TargetName| memberships_record_key(target, user);
        (
            name(target),
            name(former),
            serde_json::to_vec(known).unwrap_or_default(),
        )
    });
    let of_groups: Vec<(String, String, Vec<u8>)> = groups.chain(memberships).collect();
    for batch in of_groups.chunks(BATCH_LINKS) {
        let record = |name: &TargetName, key: &str, value| OutRecord {
            topic: kafka.topic(topics::LINK),
            key: key.as_bytes().to_vec(),
            value,
            headers: vec![],
            partition: Some(topics::partition_of_target(name)),
        };
        let changes = batch
            .iter()
            .flat_map(|(new, old, value)| [record(target, new, Some(value.clone())), record(former, old, None)]);
        producer
            .commit(TransactionBatch {
                changes: changes.collect(),
                bookkeeping: vec![],
            })
            .await?;
    }
    let own = TargetRecord {
        renamed_to: None,
        released: true,
        commands_done: done(own),
        ..record
    };
    let gone = TargetRecord {
        released: true,
        given_up: true,
        ..mark
    };
    producer
        .commit(TransactionBatch {
            changes: vec![record_of(kafka, former, &gone)],
            bookkeeping: vec![record_of(kafka, target, &own)],
        })
        .await?;
    info!(target.name = %target, %former, links = moved.len(), "the target goes on under its new name");
    Ok(true)
}

fn record_of(kafka: &KafkaConfig, name: &TargetName, record: &TargetRecord) -> OutRecord {
    OutRecord {
        topic: kafka.topic(topics::TARGET),
        key: name.to_string().into_bytes(),
        value: Some(serde_json::to_vec(record).unwrap_or_default()),
        headers: vec![],
        partition: Some(topics::partition_of_target(name)),
    }
}

fn only(record: OutRecord) -> TransactionBatch {
    TransactionBatch {
        changes: vec![],
        bookkeeping: vec![record],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::at;

    #[test]
    fn the_record_that_counts_is_that_of_the_name_which_is_not_given_up() {
        let former = TargetName::try_new("old").unwrap();
        let record = |owner: &str, marked: bool, given_up: bool| TargetRecord {
            renamed_to: marked.then(|| former.clone()),
            given_up,
            ..TargetRecord::new(owner, "enforce", at(1))
        };
        let (runs, moving) = (record("theirs", false, false), record("theirs", true, false));
        let gone = record("theirs", true, true);
        let (own, elsewhere) = (record("own", true, false), record("own", false, false));
        for (mine, theirs, owner) in [
            (None, None, None),
            (None, Some(&runs), Some("theirs")),
            (None, Some(&moving), Some("theirs")),
            // There and back: what was known under the own name when it was left is old.
            (Some(&own), Some(&runs), Some("theirs")),
            // Turned round before the other name had a record, and before it had a record anew.
            (Some(&own), None, Some("own")),
            (Some(&own), Some(&gone), Some("own")),
            (Some(&own), Some(&moving), Some("theirs")),
            (Some(&elsewhere), None, None),
        ] {
            let found = newest(mine, theirs, &former).map(|record| record.owner.as_str());
            assert_eq!(found, owner, "{mine:?} {theirs:?}");
        }
    }

    #[test]
    fn a_name_is_current_to_be_taken_over_or_given_up() {
        let name = |text: &str| TargetName::try_new(text).unwrap();
        let (old, other) = (name("old"), name("other"));
        let record = |renamed_to: Option<&TargetName>| TargetRecord {
            renamed_to: renamed_to.cloned(),
            ..TargetRecord::new("a", "enforce", at(1))
        };
        let (plain, to_old, to_other) = (record(None), record(Some(&old)), record(Some(&other)));
        for (record, formerly, standing) in [
            (None, None, Standing::Current),
            (None, Some(&old), Standing::Moves(&old)),
            (Some(&plain), None, Standing::Current),
            (Some(&plain), Some(&old), Standing::Current),
            (Some(&to_other), None, Standing::RenamedTo(&other)),
            (Some(&to_other), Some(&old), Standing::RenamedTo(&other)),
            (Some(&to_old), Some(&old), Standing::Moves(&old)),
        ] {
            assert_eq!(Standing::of(record, formerly), standing, "{record:?} {formerly:?}");
        }
    }
}
