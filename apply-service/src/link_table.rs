//! What is known at a target, read back from the topics when the target is taken over.
//!
//! A partition holds the records of several targets, each written by its own producer. An open transaction of a
//! sibling hides everything behind it from committed readers, so "the end" as the broker announces it may lie before
//! our own newest record. Therefore the new owner, having fenced its predecessors, commits a mark of its own and reads
//! until it sees that mark: whatever was committed before is then read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use tracing::warn;
use usher_contract::{Approval, TargetName, UserKey};
use usher_runtime::{
    clock,
    kafka::{
        CommitError, FenceError, KafkaConfig, OutRecord, Partitions, Record, RecordRef, TopicError, TopicInput,
        TopicReader, TransactionBatch, TransactionalProducer,
    },
};

use crate::{
    logic::{
        groups::{
            Groups,
            record::{self as group_record, About},
        },
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
    /// The target's own record; `None` when nobody ever owned it. Of one that cannot be read it is assumed that the owner is
    /// still writing.
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
    /// The name of a target that is to be renamed.
    #[error("cannot take over the name that the target had")]
    Fence(#[from] FenceError),
    /// The target runs under another name now.
    #[error("{0} was renamed to {1}: take its file out of the policy folder, or rename it back with `formerly: {1}`")]
    Renamed(TargetName, TargetName),
    /// What is known under the former name cannot be moved whole.
    #[error("{1} records of {0} cannot be read by this version; run the version that wrote them before renaming")]
    Unmovable(TargetName, u64),
    /// Reading broke off.
    #[error("reading {0} broke off: {1}")]
    Failed(String, String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    mark: String,
}

/// Reads links and record of a target. The producer has fenced its predecessors. `progress` counts the records of the
/// partition that were read.
///
/// # Errors
/// [`RestoreError`]; nothing is known then.
pub(crate) async fn restore(
    kafka: &KafkaConfig,
    producer: &Arc<TransactionalProducer>,
    target: &TargetName,
    progress: &AtomicU64,
) -> Result<Restored, RestoreError> {
    progress.store(0, Ordering::Relaxed);
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

    let mut malformed = 0;
    let mut links = Links::default();
    let name = target.clone();
    let read = move |key: &str, value: Option<&[u8]>| Content::read(&name, key, value);
    read_to_mark(kafka, topics::LINK, partition, &key, &mark, read, |offset, content| {
        progress.fetch_add(1, Ordering::Relaxed);
        let taken = match content {
            Content::Link(user, link) => take_link(&mut links, user, link.map(|link| link.map(|link| *link))),
            Content::Groups(about, value) => take_groups(&mut links.groups, about, value.as_deref()),
            Content::Others => Ok(()),
        };
        if let Err(unreadable) = taken {
            pass_over(&mut malformed, topics::LINK, partition, offset, unreadable);
        }
    })
    .await?;
    let mut own = Ok(None);
    let name = target.clone();
    let read = move |key: &str, value: Option<&[u8]>| {
        (key == name.as_str()).then(|| decode::<TargetRecord>(value, target_record::FORMAT))
    };
    read_to_mark(kafka, topics::TARGET, partition, &key, &mark, read, |offset, found| {
        let Some(found) = found else { return };
        if let Err(unreadable) = found {
            pass_over(&mut malformed, topics::TARGET, partition, offset, unreadable);
        }
        own = found;
    })
    .await?;
    let record = own.unwrap_or_else(|_| Some(assumed(clock::now())));
    Ok(Restored {
        links,
        record,
        malformed,
    })
}

/// Why a record was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Unreadable {
    /// Of a later version of this service.
    #[error("newer-format")]
    Newer,
    /// Something else.
    #[error("not-a-record")]
    Content,
}

/// The format of a record, before anything else of it: a later one may have changed everything else.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

pub(crate) fn decode<T: DeserializeOwned>(value: Option<&[u8]>, known: u32) -> Result<Option<T>, Unreadable> {
    let Some(value) = value else { return Ok(None) };
    let Format { format } = serde_json::from_slice(value).map_err(|_| Unreadable::Content)?;
    if format > known {
        return Err(Unreadable::Newer);
    }
    serde_json::from_slice(value).map(Some).map_err(|_| Unreadable::Content)
}

/// A record of the partition of links, read: on the reading thread, so that whoever takes it has little left to do.
enum Content {
    /// Of a person.
    Link(UserKey, Result<Option<Box<Link>>, Unreadable>),
    /// Of a group, or of the groups of a person.
    Groups(About, Option<Vec<u8>>),
    /// Of another target.
    Others,
}

impl Content {
    fn read(target: &TargetName, key: &str, value: Option<&[u8]>) -> Self {
        if let Some(user) = user_of_key(target, key) {
            return Self::Link(user, decode_link(value).map(|link| link.map(Box::new)));
        }
        match group_record::about(target, key) {
            Some(about) => Self::Groups(about, value.map(<[u8]>::to_vec)),
            None => Self::Others,
        }
    }
}

/// As [`decode`]. There are a million of them: what is of this format is read in one go.
fn decode_link(value: Option<&[u8]>) -> Result<Option<Link>, Unreadable> {
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    match text.map(serde_json::from_str::<Link>) {
        Some(Ok(link)) if link.format <= link::FORMAT => Ok(Some(link)),
        // A later format may look like this one.
        _ => decode(value, link::FORMAT),
    }
}

/// Takes the record of a person. One that cannot be read does not leave an older one standing.
fn take_link(links: &mut Links, user: UserKey, link: Result<Option<Link>, Unreadable>) -> Result<(), Unreadable> {
    match link {
        Ok(link) => links.put(user, link),
        Err(unreadable) => {
            links.put_unreadable(user);
            return Err(unreadable);
        }
    }
    Ok(())
}

/// Takes a record of a group, or of the groups of a person.
fn take_groups(groups: &mut Groups, about: About, value: Option<&[u8]>) -> Result<(), Unreadable> {
    match about {
        About::Group(group) => match decode(value, group_record::FORMAT) {
            // They are never removed.
            Ok(None) => {}
            Ok(Some(known)) => groups.restore_group(&group, Some(known)),
            Err(unreadable) => {
                groups.restore_group(&group, None);
                return Err(unreadable);
            }
        },
        About::Person(user) => match decode(value, group_record::FORMAT) {
            Ok(known) => groups.restore_person(user, known),
            Err(unreadable) => {
                groups.lock_person(user);
                return Err(unreadable);
            }
        },
    }
    Ok(())
}

/// The record of a target whose own cannot be read: its owner may be writing still, and since when without recording it
/// is not known either, so every link is to be doubted whose person has changed since.
fn assumed(now: Timestamp) -> TargetRecord {
    // It may have been paused. Somebody has to look before anything is written.
    let paused = Approval {
        actor: "apply-service".to_owned(),
        reason: "the target's own record cannot be read; resume the target when nothing speaks against it".to_owned(),
        at: now,
    };
    TargetRecord {
        outstanding_since: Some(Timestamp::UNIX_EPOCH),
        paused: Some(paused),
        ..TargetRecord::new("", "", now)
    }
}

/// What is known at several targets.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Links.
    pub links: Vec<(TargetName, UserKey, Link)>,
    /// Groups and who is in them.
    pub groups: BTreeMap<TargetName, Groups>,
}

/// Links of several targets, for whoever only reads. Reads to the end as the broker announces it.
///
/// # Errors
/// [`RestoreError`].
pub(crate) async fn read_only(kafka: &KafkaConfig, targets: &[TargetName]) -> Result<Known, RestoreError> {
    read_some(kafka, targets, |_| true).await
}

/// The records of targets, by name. Reads to the end as the broker announces it.
///
/// # Errors
/// [`RestoreError`].
pub(crate) async fn read_records(kafka: &KafkaConfig) -> Result<BTreeMap<TargetName, TargetRecord>, RestoreError> {
    let topic = kafka.topic(topics::TARGET);
    let mut reader = TopicReader::start(kafka, &topic, Partitions::All).await?;
    let mut records = BTreeMap::new();
    loop {
        match reader.next().await {
            Some(TopicInput::Records(batch)) => batch.iter().for_each(|record| take_record(&mut records, record)),
            Some(TopicInput::CaughtUp(_)) => return Ok(records),
            Some(TopicInput::Failed(reason)) => return Err(RestoreError::Failed(topic, reason)),
            None => {
                return Err(RestoreError::Failed(topic, "the reader has ended".to_owned()));
            }
        }
    }
}

/// Takes the record of a target. Marks are passed over; of one that cannot be read nothing is known.
pub(crate) fn take_record(records: &mut BTreeMap<TargetName, TargetRecord>, record: &Record) {
    let Some(target) = name_of(record).and_then(|name| TargetName::try_new(name).ok()) else {
        return;
    };
    match decode::<TargetRecord>(record.value.as_deref(), target_record::FORMAT) {
        Ok(Some(own)) => records.insert(target, own),
        Ok(None) | Err(_) => records.remove(&target),
    };
}

/// As [`read_only`], for those people only that `keep` says yes to.
///
/// # Errors
/// [`RestoreError`].
pub(crate) async fn read_some(
    kafka: &KafkaConfig,
    targets: &[TargetName],
    keep: impl Fn(&UserKey) -> bool + Send + Sync,
) -> Result<Known, RestoreError> {
    let topic = kafka.topic(topics::LINK);
    let mut partitions: Vec<i32> = targets.iter().map(topics::partition_of_target).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let mut reader = TopicReader::start(kafka, &topic, Partitions::Only(partitions)).await?;
    let mut links = BTreeMap::new();
    let mut groups: BTreeMap<TargetName, Groups> = BTreeMap::new();
    loop {
        match reader.next().await {
            Some(TopicInput::Records(records)) => {
                for record in &records {
                    let Some(name) = name_of(record) else {
                        continue;
                    };
                    for target in targets {
                        if let Some(about) = group_record::about(target, name)
                            && (!matches!(&about, About::Person(user) if !keep(user)))
                        {
                            // What cannot be read is locked there.
                            let table = groups.entry(target.clone()).or_default();
                            let _ = take_groups(table, about, record.value.as_deref());
                        }
                    }
                    let found = targets
                        .iter()
                        .find_map(|target| Some((target, user_of_key(target, name)?)));
                    let (Some((target, user)), Ok(link)) = (found, decode_link(record.value.as_deref())) else {
                        continue;
                    };
                    if !keep(&user) {
                        continue;
                    }
                    match link {
                        Some(link) => links.insert((target.clone(), user), link),
                        None => links.remove(&(target.clone(), user)),
                    };
                }
            }
            Some(TopicInput::CaughtUp(_)) => {
                let links = links.into_iter().map(|((target, user), link)| (target, user, link));
                return Ok(Known {
                    links: links.collect(),
                    groups,
                });
            }
            Some(TopicInput::Failed(reason)) => return Err(RestoreError::Failed(topic, reason)),
            None => {
                return Err(RestoreError::Failed(topic, "the reader has ended".to_owned()));
            }
        }
    }
}

/// `read` makes of key and value, on the reading thread, what `take` is given with the offset.
async fn read_to_mark<T: Send + 'static>(
    kafka: &KafkaConfig,
    topic: &str,
    partition: i32,
    mark_key: &str,
    mark: &str,
    read: impl Fn(&str, Option<&[u8]>) -> T + Send + Sync + 'static,
    mut take: impl FnMut(i64, T),
) -> Result<(), RestoreError> {
    enum Found<T> {
        Mark(Option<Mark>),
        Record(i64, T),
        Nameless,
    }
    let topic = kafka.topic(topic);
    let mark_key = mark_key.to_owned();
    let read = move |record: RecordRef<'_>| {
        let value = record.value();
        match record.key().and_then(|key| std::str::from_utf8(key).ok()) {
            None => Found::Nameless,
            Some(key) if key == mark_key => Found::Mark(value.and_then(|value| serde_json::from_slice(value).ok())),
            Some(key) => Found::Record(record.offset(), read(key, value)),
        }
    };
    let mut reader = TopicReader::start_with(kafka, &topic, Partitions::Only(vec![partition]), 1, read).await?;
    loop {
        match reader.next().await {
            Some(TopicInput::Records(records)) => {
                for record in records {
                    match record {
                        Found::Mark(Some(found)) if found.mark == mark => return Ok(()),
                        Found::Record(offset, content) => take(offset, content),
                        Found::Mark(_) | Found::Nameless => {}
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

pub(crate) fn name_of(record: &Record) -> Option<&str> {
    std::str::from_utf8(record.key.as_deref()?).ok()
}

fn pass_over(malformed: &mut u64, topic: &str, partition: i32, offset: i64, reason: Unreadable) {
    *malformed += 1;
    warn!(
        topic,
        partition,
        offset,
        %reason,
        "a record could not be read; nothing is done about whom it speaks of"
    );
}

#[cfg(test)]
mod formats_tests;

/// A record of which nothing is known, for tests elsewhere.
#[cfg(test)]
pub(crate) fn testing_record() -> TargetRecord {
    TargetRecord::new("", "", Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::ownership::Predecessor;
    use crate::logic::testing::{at, policy, user_key};

    fn newer<T: Serialize>(record: &T) -> Vec<u8> {
        let mut value = serde_json::to_value(record).unwrap();
        value["format"] = 99.into();
        // A later format may have changed anything.
        value["state"] = "else".into();
        value["released"] = "yes".into();
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn a_link_that_cannot_be_read_leaves_nothing_to_act_on() {
        let link = Link::unlinked(3, policy().hash);
        let good = serde_json::to_vec(&link).unwrap();
        let user = user_key(1);
        let alike = serde_json::to_vec(&Link {
            format: 2,
            ..link.clone()
        })
        .unwrap();
        for (bad, why) in [
            (newer(&link), Unreadable::Newer),
            // Nothing else of it is another: what it means may be.
            (alike, Unreadable::Newer),
            (b"{".to_vec(), Unreadable::Content),
            (b"{\"format\":1}".to_vec(), Unreadable::Content),
            (b"{}".to_vec(), Unreadable::Content),
        ] {
            let mut links = Links::default();
            take_link(&mut links, user, decode_link(Some(&good))).unwrap();
            assert_eq!(take_link(&mut links, user, decode_link(Some(&bad))), Err(why));
            assert_eq!((links.get(&user), links.unreadable()), (None, 1));
            take_link(&mut links, user, decode_link(Some(&good))).unwrap();
            assert_eq!((links.get(&user), links.unreadable()), (Some(link.clone()), 0));
            take_link(&mut links, user, decode_link(Some(&bad))).unwrap_err();
            take_link(&mut links, user, decode_link(None)).unwrap();
            assert_eq!((links.get(&user), links.unreadable()), (None, 0));
        }
    }

    #[test]
    fn groups_are_taken_in_any_order_and_what_cannot_be_read_is_left_alone() {
        let target = TargetName::try_new("gong").unwrap();
        let about = |key: &str| group_record::about(&target, key).unwrap();
        let group: &[u8] = br#"{"format":1,"name":"Sales","id":"g1","made":true}"#;
        let person: &[u8] = br#"{"format":1,"account":"r1","groups":{"abc":{"is":"in"}}}"#;
        let (of_group, of_person) = ("gong/group/abc", format!("gong/groups-of/{}", user_key(1)));
        for order in [[true, false], [false, true]] {
            let mut groups = Groups::default();
            for is_group in order {
                let (key, value) = if is_group {
                    (of_group, group)
                } else {
                    (of_person.as_str(), person)
                };
                take_groups(&mut groups, about(key), Some(value)).unwrap();
            }
            assert_eq!(groups.of(&user_key(1)), ["Sales"]);
            assert_eq!(groups.status().made, 1);
            let later = String::from_utf8_lossy(person).replace("\"format\":1", "\"format\":99");
            assert_eq!(
                take_groups(&mut groups, about(&of_person), Some(later.as_bytes())),
                Err(Unreadable::Newer)
            );
            assert!(
                groups.of(&user_key(1)).is_empty(),
                "an older record must not stand in for it"
            );
            take_groups(&mut groups, about(&of_person), None).unwrap();
            take_groups(&mut groups, about(of_group), Some(b"{")).unwrap_err();
        }
    }

    #[test]
    fn an_owner_whose_record_cannot_be_read_has_not_handed_back() {
        let record = TargetRecord {
            released: true,
            ..TargetRecord::new("a", "enforce", at(1))
        };
        for bad in [newer(&record), b"{".to_vec(), b"{\"format\":1}".to_vec()] {
            decode::<TargetRecord>(Some(&bad), target_record::FORMAT).unwrap_err();
        }
        let assumed = assumed(at(2));
        assert_eq!(Predecessor::of(Some(&assumed), "ours"), Predecessor::Another);
        assert_eq!(assumed.outstanding_since, Some(Timestamp::UNIX_EPOCH));
    }
}
