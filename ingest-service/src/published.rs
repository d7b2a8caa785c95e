//! The tables of the writer, rebuilt from the topics: published state, position, debts.
//!
//! A record that cannot be read is counted and reported by its place; the rest goes on. A damaged user is taken as
//! unknown at the version that the header names, and owed a re-read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;
use usher_contract::{OrgId, User, UserChange, UserKey};
use usher_runtime::{clock, kafka::Record};

use crate::logic::{
    record::{CheckpointKey, Debtor, FORMAT, HeldSet, Owed, Position, Suppression},
    table::{Head, Published},
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
    /// Records that could not be read.
    pub malformed: u64,
    /// A position of a later version: leading would lose what it says.
    pub too_new: Option<String>,
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
            malformed: 0,
            too_new: None,
        }
    }

    /// A record of the user-change topic.
    pub fn user_change(&mut self, record: &Record) {
        let key = record
            .key
            .as_deref()
            .and_then(|key| std::str::from_utf8(key).ok())
            .and_then(|key| key.parse::<UserKey>().ok());
        let Some(key) = key else {
            self.malformed(record, "its key is not <orgId>:<userId>");
            return;
        };
        if key.org != self.org {
            return;
        }
        let Some(value) = &record.value else {
            self.restored.published.remove(key.user);
            return;
        };
        match serde_json::from_slice::<UserChange>(value) {
            Ok(change) if change.user.key() == key => {
                self.restored.published.insert(key.user, Published::restored(change));
            }
            _ => {
                self.malformed(record, "its value is not a user change of that key");
                // The version goes on where the header says, so that subscribers never see it fall.
                let version = record
                    .header("ce_id")
                    .and_then(|id| id.rsplit(':').next()?.parse().ok());
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
                        self.malformed(record, &why);
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
                    self.malformed(record, &why);
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
            Some(
                CheckpointKey::Position(..)
                | CheckpointKey::Owed(..)
                | CheckpointKey::Held(..)
                | CheckpointKey::Suppressed(..)
                | CheckpointKey::Leader(_)
                | CheckpointKey::Other(_),
            ) => {}
            None => self.malformed(record, "it has no key"),
        }
    }

    /// What leading must not begin without.
    fn unreadable(&mut self, what: &str, record: &Record, why: &str) {
        self.too_new = Some(format!(
            "{what} (offset {} of {}) cannot be read: {why}",
            record.offset,
            crate::topics::CHECKPOINT
        ));
        self.malformed(record, why);
    }

    fn malformed(&mut self, record: &Record, why: &str) {
        self.malformed += 1;
        warn!(
            partition = record.partition,
            offset = record.offset,
            "a record of our own topic cannot be read: {why}; the rest goes on"
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
        tables.user_change(&record(USER, Some("{"), &format!("{USER}:7")));
        let key: UserKey = USER.parse().unwrap();
        assert_eq!(tables.restored.published.head(key.user).unwrap().version, 7);
        assert!(tables.restored.owed.contains_key(&Debtor::User(key.user)));
        assert_eq!(tables.malformed, 1);
    }

    #[test]
    fn other_orgs_and_unknown_keys_are_left_alone() {
        let mut tables = Tables::new(ORG.parse().unwrap(), "/s");
        tables.user_change(&record("00D000000000002EAA:005ZL000000M0x1YAC", Some("{}"), ""));
        tables.checkpoint(&record("00D000000000002EAA/position//s", Some("{}"), ""));
        tables.checkpoint(&record("something/new", Some("{}"), ""));
        assert_eq!((tables.malformed, tables.restored.published.len()), (0, 0));
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
