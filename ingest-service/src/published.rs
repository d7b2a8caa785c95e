//! The tables of the writer, rebuilt from the topics: published state, position, debts.
//!
//! A record that cannot be read is counted and reported by its place; the rest goes on. A damaged user is taken as
//! unknown at the version that the header names, and owed a re-read.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;
use usher_contract::{OrgId, User, UserId, UserKey};
use usher_runtime::{
    clock,
    kafka::{Record, RecordRef},
};

use crate::logic::{
    record::{CheckpointKey, Debtor, FORMAT, HeldSet, Owed, Position, Suppression},
    table::{Head, Packed, Published},
    writer::Restored,
};

/// Who leads. Key `<org>/leader` on the checkpoint topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Format version.
    pub format: u32,
    /// Where its API answers.
    pub address: String,
    /// Since when.
    pub since: Timestamp,
}

/// What the topics say about one org and one stream.
#[derive(Debug)]
pub struct Tables {
    org: OrgId,
    stream: String,
    /// Taken by the writer when it starts.
    pub restored: Restored,
    /// The last leader.
    pub leader: Option<Leader>,
    /// Other orgs that have a position here.
    pub other_orgs: BTreeSet<OrgId>,
    /// Records that could not be read.
    pub malformed: u64,
    /// A position of a later version: leading would lose what it says.
    pub too_new: Option<String>,
}

/// A message of the user-change topic, read and packed: the work of a start, done on the reading thread.
#[derive(Debug)]
pub struct Message {
    partition: i32,
    offset: i64,
    says: Says,
}

#[derive(Debug)]
enum Says {
    State(Box<Packed>),
    Erased(UserId),
    OtherOrg,
    NoKey,
    /// With the version, when the header says it.
    Unreadable(UserKey, Option<u64>),
}

impl Message {
    /// Reads a record as a message of this org.
    #[must_use]
    pub fn read(org: OrgId, record: &RecordRef<'_>) -> Self {
        let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
        let says = match (key.and_then(|key| key.parse::<UserKey>().ok()), record.value()) {
            (None, _) => Says::NoKey,
            (Some(key), _) if key.org != org => Says::OtherOrg,
            (Some(key), None) => Says::Erased(key.user),
            (Some(key), Some(value)) => match Packed::of_message(key, value) {
                Some(person) => Says::State(Box::new(person)),
                None => {
                    let id = record.header("ce_id");
                    Says::Unreadable(key, id.and_then(|id| id.rsplit(':').next()?.parse().ok()))
                }
            },
        };
        Self {
            partition: record.partition(),
            offset: record.offset(),
            says,
        }
    }
}

/// How many threads read and pack messages: a start is the only time that this service needs several cores. More than
/// four would wait for the one that fills the table.
#[must_use]
pub fn reading_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

impl Tables {
    /// Empty.
    #[must_use]
    pub fn new(org: OrgId, stream: &str) -> Self {
        Self {
            org,
            stream: stream.to_owned(),
            restored: Restored::default(),
            leader: None,
            other_orgs: BTreeSet::new(),
            malformed: 0,
            too_new: None,
        }
    }

    /// A message of the user-change topic.
    pub fn user_change(&mut self, message: Message) {
        let Message {
            partition,
            offset,
            says,
        } = message;
        match says {
            Says::State(person) => self.restored.published.put(*person),
            Says::Erased(user) => self.restored.published.remove(user),
            Says::OtherOrg => {}
            Says::NoKey => self.malformed(partition, offset, "its key is not <orgId>:<userId>"),
            Says::Unreadable(key, version) => {
                self.malformed(partition, offset, "its value is not a user change of that key");
                // The version goes on where the header says, so that subscribers never see it fall.
                let last = self.restored.published.head(key.user).map_or(0, |head| head.version);
                let version = version.unwrap_or(last + 1).max(last);
                let head = Head {
                    version,
                    ..Head::default()
                };
                self.restored
                    .published
                    .insert(key.user, Published::new(User::unknown(key), head));
                self.restored.owed.insert(
                    Debtor::User(key.user),
                    Owed::new(clock::now(), "its record on the topic cannot be read"),
                );
            }
        }
    }

    /// A record of the checkpoint topic.
    pub fn checkpoint(&mut self, record: &Record) {
        let key = record
            .key
            .as_deref()
            .and_then(|key| std::str::from_utf8(key).ok())
            .map(CheckpointKey::parse);
        match key {
            Some(CheckpointKey::Position(org, stream)) if org == self.org && stream == self.stream => {
                match read::<Position>(record) {
                    Ok(position) => {
                        self.restored.position = position;
                        self.too_new = None;
                    }
                    Err(why) => {
                        self.too_new = Some(format!("the position record cannot be read: {why}"));
                        self.malformed(record.partition, record.offset, &why);
                    }
                }
            }
            Some(CheckpointKey::Owed(org, debtor)) if org == self.org => match read::<Owed>(record) {
                Ok(Some(owed)) => {
                    self.restored.owed.insert(debtor, owed);
                }
                Ok(None) => {
                    self.restored.owed.remove(&debtor);
                }
                Err(why) => {
                    self.malformed(record.partition, record.offset, &why);
                    // What was owed cannot be read, that something was can.
                    self.restored
                        .owed
                        .insert(debtor, Owed::new(clock::now(), "a debt that cannot be read"));
                }
            },
            Some(CheckpointKey::Held(org, id)) if org == self.org => match read::<HeldSet>(record) {
                Ok(Some(set)) => {
                    self.restored.held.insert(id, set);
                }
                Ok(None) => {
                    self.restored.held.remove(&id);
                }
                // Leading without it would make the removals that were kept back.
                Err(why) => self.unreadable("a held set", record, &why),
            },
            Some(CheckpointKey::Suppressed(org, user)) if org == self.org => match read::<Suppression>(record) {
                Ok(Some(suppression)) => {
                    self.restored.suppressed.insert(user, suppression);
                }
                Ok(None) => {
                    self.restored.suppressed.remove(&user);
                }
                // Leading without it would bring an erased person back.
                Err(why) => self.unreadable("a suppression", record, &why),
            },
            Some(CheckpointKey::Leader(org)) if org == self.org => {
                self.leader = read::<Leader>(record).ok().flatten();
            }
            Some(CheckpointKey::Position(org, _)) if org != self.org => {
                self.other_orgs.insert(org);
            }
            Some(
                CheckpointKey::Position(..)
                | CheckpointKey::Owed(..)
                | CheckpointKey::Held(..)
                | CheckpointKey::Suppressed(..)
                | CheckpointKey::Leader(_)
                | CheckpointKey::Other(_),
            ) => {}
            None => self.malformed(record.partition, record.offset, "it has no key"),
        }
    }

    /// What leading must not begin without.
    fn unreadable(&mut self, what: &str, record: &Record, why: &str) {
        self.too_new = Some(format!(
            "{what} (offset {} of {}) cannot be read: {why}",
            record.offset,
            crate::topics::CHECKPOINT
        ));
        self.malformed(record.partition, record.offset, why);
    }

    fn malformed(&mut self, partition: i32, offset: i64, why: &str) {
        self.malformed += 1;
        warn!(
            partition,
            offset, "a record of our own topic cannot be read: {why}; the rest goes on"
        );
    }
}

/// A record's value; `None` for a tombstone.
fn read<T: serde::de::DeserializeOwned>(record: &Record) -> Result<Option<T>, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Some(value) = &record.value else { return Ok(None) };
    let Format { format } =
        serde_json::from_slice(value).map_err(|_| "it is not JSON with a format version".to_owned())?;
    if format > FORMAT {
        return Err(format!(
            "it has format {format}, this version reads up to {FORMAT}; start a newer version"
        ));
    }
    serde_json::from_slice(value)
        .map(Some)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: Option<&str>, id: &str) -> Record {
        Record {
            partition: 0,
            offset: 7,
            key: Some(key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: vec![("ce_id".to_owned(), id.as_bytes().to_vec())],
        }
    }

    const ORG: &str = "00D000000000001EAA";
    const USER: &str = "00D000000000001EAA:005ZL000000M0x1YAC";

    #[test]
    fn a_damaged_user_keeps_its_version_and_is_owed() {
        let mut tables = Tables::new(ORG.parse().unwrap(), "/s");
        let org = ORG.parse().unwrap();
        let damaged = record(USER, Some("{"), &format!("{USER}:7"));
        tables.user_change(Message::read(org, &damaged.as_ref()));
        let key: UserKey = USER.parse().unwrap();
        assert_eq!(tables.restored.published.head(key.user).unwrap().version, 7);
        assert!(tables.restored.owed.contains_key(&Debtor::User(key.user)));
        assert_eq!(tables.malformed, 1);
    }

    #[test]
    fn other_orgs_and_unknown_keys_are_left_alone() {
        let mut tables = Tables::new(ORG.parse().unwrap(), "/s");
        let other = record("00D000000000002EAA:005ZL000000M0x1YAC", Some("{}"), "");
        tables.user_change(Message::read(ORG.parse().unwrap(), &other.as_ref()));
        tables.checkpoint(&record("00D000000000002EAA/position//s", Some("{}"), ""));
        tables.checkpoint(&record("something/new", Some("{}"), ""));
        assert_eq!((tables.malformed, tables.restored.published.len()), (0, 0));
    }

    /// Records exactly as the first version wrote them: an upgrade goes on from them, and so does a way back.
    #[test]
    fn records_of_the_first_version_are_read() {
        let mut tables = Tables::new(ORG.parse().unwrap(), "/data/UserChangeEvent");
        let position = r#"{"format":1,"replayId":"AAAAAAC0/1AwMA==","committedAt":"2026-01-02T03:04:05.123Z",
            "snapshot":{"beganAt":"2026-01-02T02:00:00Z","rows":1234},"recheckedTo":"2026-01-02T03:00:00Z","partitions":12}"#;
        tables.checkpoint(&record(
            &format!("{ORG}/position//data/UserChangeEvent"),
            Some(position),
            "",
        ));
        let read = tables.restored.position.clone().unwrap();
        assert_eq!(read.replay_id.as_deref(), Some("AAAAAAC0/1AwMA=="));
        assert_eq!(
            (&read.population, read.judged),
            (&None, None),
            "added later, without a new format"
        );
        assert_eq!(
            (read.snapshot.unwrap().rows, read.partitions, read.wanted),
            (1234, 12, None)
        );

        let user = "005ZL000000M0x1YAC";
        let absent = r#"{"format":1,"since":"2026-01-02T03:04:05Z","reason":"missing from a complete snapshot",
            "absentSince":"2026-01-02T02:00:00Z","deleted":true,"listed":false}"#;
        tables.checkpoint(&record(&format!("{ORG}/owed/{user}"), Some(absent), ""));
        let all = r#"{"format":1,"since":"2026-01-02T03:04:05Z","reason":"gap overflow"}"#;
        tables.checkpoint(&record(&format!("{ORG}/owed/all"), Some(all), ""));
        let owed = &tables.restored.owed[&Debtor::User(user.parse().unwrap())];
        assert_eq!(
            (owed.deleted, owed.listed, owed.approved.clone()),
            (true, Some(false), None)
        );
        assert!(owed.absent_since.is_some());
        assert_eq!(tables.restored.owed[&Debtor::Everyone].touched_since, None);

        let leader = r#"{"format":1,"address":"127.0.0.1:8081","since":"2026-01-02T03:04:05Z"}"#;
        tables.checkpoint(&record(&format!("{ORG}/leader"), Some(leader), ""));
        assert_eq!(tables.leader.as_ref().unwrap().address, "127.0.0.1:8081");
        assert_eq!((tables.malformed, tables.too_new.as_deref()), (0, None));

        // Fields of a later version with the same format are passed over.
        let more = position.replacen('{', r#"{"later":[1],"#, 1);
        tables.checkpoint(&record(
            &format!("{ORG}/position//data/UserChangeEvent"),
            Some(&more),
            "",
        ));
        assert_eq!(tables.too_new, None);
    }

    #[test]
    fn a_position_of_a_newer_version_is_not_led_from() {
        let mut tables = Tables::new(ORG.parse().unwrap(), "/s");
        tables.checkpoint(&record(&format!("{ORG}/position//s"), Some(r#"{"format":2}"#), ""));
        assert!(tables.too_new.unwrap().contains("start a newer version"));
    }

    #[test]
    fn another_org_with_a_position_is_noticed() {
        let mut tables = Tables::new(ORG.parse().unwrap(), "/s");
        tables.checkpoint(&record("00D000000000002EAA/position//s", Some("{}"), ""));
        assert_eq!(tables.other_orgs.len(), 1);
    }

    #[test]
    fn a_newer_format_is_refused_with_the_way_out() {
        let refused = read::<Owed>(&record("k", Some(r#"{"format":99}"#), ""));
        assert_eq!(
            refused.unwrap_err(),
            "it has format 99, this version reads up to 1; start a newer version"
        );
    }
}
