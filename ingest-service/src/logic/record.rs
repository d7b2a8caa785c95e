//! Bookkeeping of the writer on `user-change.checkpoint`. Every record has a format version.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{OrgId, UserId};

/// The format that is written. Readers accept it and the one before. A field that a reader may do without is added without a
/// new format: an older version then passes it over, so that an upgrade has a way back.
pub const FORMAT: u32 = 1;

/// How far the writer has come. Key `<org>/position/<stream>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Format version.
    pub format: u32,
    /// The last event whose consequences are written, opaque, base64. `None` before the stream's first answer.
    #[serde(default)]
    pub replay_id: Option<String>,
    /// Commit time of the newest event handled, by the source's clock.
    #[serde(default)]
    pub committed_at: Option<Timestamp>,
    /// The last complete snapshot.
    #[serde(default)]
    pub snapshot: Option<SnapshotMark>,
    /// The last complete reading of the population: with a report as the listing, its size is not the report's. A writer that
    /// does not know it compares with nothing, as at the first reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<SnapshotMark>,
    /// The snapshot whose absentees are being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// Up to where rechecks have looked, by the source's clock.
    #[serde(default)]
    pub rechecked_to: Option<Timestamp>,
    /// A snapshot that an operator asked for and that has not been read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// Partitions of the user-change topic when the first record was written.
    pub partitions: i32,
}

/// A snapshot that an operator asked for. It survives a change of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// When, our clock.
    pub at: Timestamp,
    /// The size of that snapshot is right whatever it is.
    #[serde(default)]
    pub accept_size: bool,
}

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotMark {
    /// When it began, by the source's clock.
    pub began_at: Timestamp,
    /// How many rows it had.
    pub rows: u64,
}

/// A snapshot whose absentees are being read. The guard counts all that one snapshot brings, also after a change of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// When it began, by the source's clock: [`Owed::absent_since`] of its absentees.
    pub began_at: Timestamp,
    /// How many deactivations it stated that are not held back.
    pub deactivations: u64,
    /// How many absentees it has, until all of them are owed a read; 0 from then on.
    pub absent: u64,
}

impl Position {
    /// Before anything.
    #[must_use]
    pub fn new(partitions: i32) -> Self {
        Self {
            format: FORMAT,
            replay_id: None,
            committed_at: None,
            snapshot: None,
            population: None,
            judged: None,
            rechecked_to: None,
            wanted: None,
            partitions,
        }
    }
}

/// A re-read that must still be done. Key `<org>/owed/<userId>` or `<org>/owed/all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    /// Format version.
    pub format: u32,
    /// Since when, our clock.
    pub since: Timestamp,
    /// Why, in words without personal values.
    pub reason: String,
    /// The person was missing from a complete snapshot that began then: what the read says decides between
    /// `listed: false` and `removed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<Timestamp>,
    /// An event said that the person was deleted: then nobody to be seen means gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// What a report said about being listed, to be published with what the read says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<bool>,
    /// For everyone: only records touched since then must be read; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched_since: Option<Timestamp>,
    /// An operator released this member of a held set: if the person is still gone, the removal is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
}

impl Owed {
    /// A debt without further conditions.
    #[must_use]
    pub fn new(since: Timestamp, reason: &str) -> Self {
        Self {
            format: FORMAT,
            since,
            reason: reason.to_owned(),
            absent_since: None,
            deleted: false,
            listed: None,
            touched_since: None,
            approved: None,
        }
    }
}

/// Removals and deactivations that are kept back, because one snapshot brought too many of them. Key
/// `<org>/held/<id>`; further parts of a large set `<org>/held/<id>.<n>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldSet {
    /// Format version.
    pub format: u32,
    /// When the snapshot began, by the source's clock.
    pub began_at: Timestamp,
    /// When it was held, our clock.
    pub held_at: Timestamp,
    /// Missing from the snapshot, and gone or outside the population.
    #[serde(default)]
    pub removals: BTreeSet<UserId>,
    /// Published as active, inactive in the snapshot.
    #[serde(default)]
    pub deactivations: BTreeSet<UserId>,
    /// An operator released it; its members are read again one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
}

impl HeldSet {
    /// Members per record, so that a record stays far below what a broker takes (1 MB).
    pub const MEMBERS_MAX: usize = 10_000;

    /// Nobody.
    #[must_use]
    pub fn new(began_at: Timestamp, held_at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            began_at,
            held_at,
            removals: BTreeSet::new(),
            deactivations: BTreeSet::new(),
            approved: None,
        }
    }
    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.removals.len() + self.deactivations.len()
    }
    /// Whether it has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Somebody who erased people or released what was held.
pub use usher_contract::Approval;

/// A person who was erased and must not come back. Key `<org>/suppressed/<userId>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// Format version.
    pub format: u32,
    /// The last version that was published: a lifted suppression goes on from here.
    pub version: u64,
    /// Who, why, when.
    pub by: Approval,
    /// Who lifted it; the record stays until the person is published again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Approval>,
}

/// Whose re-read is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Debtor {
    /// One user.
    User(UserId),
    /// Everyone.
    Everyone,
}

impl Debtor {
    /// The user, when it is one.
    #[must_use]
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Everyone => None,
        }
    }
}

/// A key of the checkpoint topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckpointKey {
    /// The position in a stream.
    Position(OrgId, String),
    /// A debt.
    Owed(OrgId, Debtor),
    /// A held set, or a part of one.
    Held(OrgId, String),
    /// An erased person.
    Suppressed(OrgId, UserId),
    /// Who leads and where it answers.
    Leader(OrgId),
    /// A key of a later version: kept, not understood.
    Other(String),
}

impl CheckpointKey {
    /// The text of the key.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Position(org, stream) => format!("{org}/position/{stream}"),
            Self::Owed(org, Debtor::User(user)) => format!("{org}/owed/{user}"),
            Self::Owed(org, Debtor::Everyone) => format!("{org}/owed/all"),
            Self::Held(org, id) => format!("{org}/held/{id}"),
            Self::Suppressed(org, user) => format!("{org}/suppressed/{user}"),
            Self::Leader(org) => format!("{org}/leader"),
            Self::Other(text) => text.clone(),
        }
    }
    /// Reads a key.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let other = || Self::Other(text.to_owned());
        let Some((org, rest)) = text.split_once('/') else {
            return other();
        };
        let Ok(org) = OrgId::try_new(org) else { return other() };
        match rest.split_once('/') {
            None if rest == "leader" => Self::Leader(org),
            Some(("held", id)) => Self::Held(org, id.to_owned()),
            Some(("suppressed", user)) => {
                UserId::try_new(user).map_or_else(|_| other(), |user| Self::Suppressed(org, user))
            }
            Some(("position", stream)) => Self::Position(org, stream.to_owned()),
            Some(("owed", "all")) => Self::Owed(org, Debtor::Everyone),
            Some(("owed", user)) => {
                UserId::try_new(user).map_or_else(|_| other(), |user| Self::Owed(org, Debtor::User(user)))
            }
            _ => other(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        for text in [
            "00D000000000001EAA/position//data/UserChangeEvent",
            "00D000000000001EAA/owed/005ZL000000M0x1YAC",
            "00D000000000001EAA/owed/all",
            "00D000000000001EAA/leader",
            "00D000000000001EAA/held/20260102T000000Z.1",
            "00D000000000001EAA/suppressed/005ZL000000M0x1YAC",
            "00D000000000001EAA/something/new",
        ] {
            assert_eq!(CheckpointKey::parse(text).text(), text);
        }
        assert!(matches!(
            CheckpointKey::parse("00D000000000001EAA/something/new"),
            CheckpointKey::Other(_)
        ));
    }
}
