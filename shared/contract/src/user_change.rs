//! `UserChange` version 1: the message on the `user-change` topic.
//!
//! Full state every time, so a message may be repeated, compacted away or superseded without harm. Within version 1
//! fields are only added; golden files in `tests/golden` prove it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};
use serde_json::Value;

use crate::user::User;

/// The names of the kinds in ascending weight: when several hold, the last one wins.
const KINDS: [(ChangeKind, &str); 11] = [
    (ChangeKind::Discovered, "discovered"),
    (ChangeKind::Created, "created"),
    (ChangeKind::Updated, "updated"),
    (ChangeKind::Deactivated, "deactivated"),
    (ChangeKind::Reactivated, "reactivated"),
    (ChangeKind::Frozen, "frozen"),
    (ChangeKind::Unfrozen, "unfrozen"),
    (ChangeKind::Unlisted, "unlisted"),
    (ChangeKind::Listed, "listed"),
    (ChangeKind::Removed, "removed"),
    (ChangeKind::Restored, "restored"),
];

/// What happened, in one word. The order of the variants is their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// First seen by a baseline snapshot: nothing happened to the person.
    Discovered,
    /// Made in the source.
    Created,
    /// Something published differs. Also what a reader makes of a kind that it does not know.
    Updated,
    /// `active` became false.
    Deactivated,
    /// `active` became true again.
    Reactivated,
    /// `frozen` became true.
    Frozen,
    /// `frozen` became false.
    Unfrozen,
    /// The last complete report no longer has the person.
    Unlisted,
    /// The last complete report has the person again.
    Listed,
    /// Gone from the source or outside the population.
    Removed,
    /// Back after a removal.
    Restored,
}

impl ChangeKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("updated", |(_, word)| word)
    }
    /// The kind of a word; one that is not known counts as [`ChangeKind::Updated`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        KINDS
            .iter()
            .find(|(_, known)| *known == word)
            .map_or(Self::Updated, |(kind, _)| *kind)
    }
}
impl<'de> Deserialize<'de> for ChangeKind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = ChangeKind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<ChangeKind, E> {
                Ok(ChangeKind::from_word(word))
            }
        }
        d.deserialize_str(Word)
    }
}
impl JsonSchema for ChangeKind {
    fn schema_name() -> Cow<'static, str> {
        "ChangeKind".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = KINDS.iter().map(|(_, word)| *word).collect();
        json_schema!({
            "type": "string",
            "pattern": "^[a-z][a-z-]*$",
            "description": "Open set: treat an unknown kind as `updated`. The first that holds counting from the end wins.",
            "examples": words,
        })
    }
}

/// Which kind of observation led to the message. Open set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A change event of the stream.
    ChangeEvent,
    /// A row of a report, or its absence.
    Report,
    /// A row of a query or bulk job.
    Query,
    /// The look-back over recently modified rows, or a re-read that was owed.
    Recheck,
    /// An operator asked.
    Reimport,
}

/// Where a message comes from and when it became true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The kind of observation.
    pub origin: Origin,
    /// When the source committed the change, UTC; absent when the observation does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// When Usher saw it, UTC.
    pub observed_at: Timestamp,
    /// When the newest read that this state rests on was asked for, by the source's clock, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// When the source last touched the record (`SystemModstamp`), UTC; only when the observation says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// The source's commit number; a string because it exceeds 2^53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_number: Option<String>,
    /// The source's transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_key: Option<String>,
    /// Who made the change, a user id; only when switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
    /// Who released the removal or deactivation, when it had been held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// Who decided something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The name that belongs to the token.
    pub actor: String,
    /// In the actor's words.
    pub reason: String,
    /// When, UTC.
    pub at: Timestamp,
}

/// One published state of one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserChange {
    /// Rises by exactly 1 per person among committed messages; starts at 1.
    #[schemars(range(min = 1))]
    pub version: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// Names of the fields of `user` that differ from the previous version, sorted; custom ones as `custom.<name>`.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Previous values of `changed`, by the same names; only when switched on. A name that is absent was unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BTreeMap<String, Value>>,
    /// The full state.
    pub user: User,
    /// Where it comes from.
    pub cause: Cause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_and_strangers_are_updates() {
        for (kind, word) in KINDS {
            assert_eq!(kind.as_str(), word);
            assert_eq!(ChangeKind::from_word(word), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{word}\""));
        }
        assert_eq!(
            serde_json::from_str::<ChangeKind>("\"promoted\"").unwrap(),
            ChangeKind::Updated
        );
    }

    #[test]
    fn the_kind_furthest_right_weighs_most() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
