//! The link: what is known about one person at one target. Hashes of values, not values: a million people times
//! five targets with values would be gigabytes, and a leak of the topic would be a leak of people. The exception are lists
//! that are written whole (`TargetPolicy::keeps_values`): what stands in them is nowhere else.

pub mod packed;
mod written;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{Approval, StateHash, TargetName, UserKey};

use super::{
    account::{AttributePath, AttributeValues, RemoteId},
    assignments::Assigned,
    guard::Budget,
    notification::{Notice, Onboarding},
    policy::ACTIVE,
};

pub use self::written::{Walk, WrittenAttributes};

/// The format that this version writes. The previous one is still read; a later one is refused.
pub const FORMAT: u32 = 1;

/// What is known of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Hash of what was written or found equal.
    pub hash: StateHash,
    /// Hash of what the target showed afterwards, when that is something else (it lower-cases, rewrites, drops).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<StateHash>,
    /// Others have changed it since: it is to be written again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    /// How often this very value was written again because others had changed it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub corrections: u8,
    /// A setting of an assignment wrote it: whoever loses the assignment loses it. Also remembered where nothing else is
    /// certain any more: what was given must be found to be taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl Written {
    /// Whether the target holds a value of this hash, as far as we know.
    #[must_use]
    pub fn holds(&self, hash: StateHash) -> bool {
        self.hash == hash && !self.doubted
    }
    /// Just written, or found equal.
    #[must_use]
    pub fn now(hash: StateHash, returned: Option<StateHash>, before: Option<&Self>) -> Self {
        // Another value starts anew.
        let corrections = before
            .filter(|before| before.hash == hash)
            .map_or(0, |before| before.corrections);
        Self {
            hash,
            returned,
            doubted: false,
            corrections,
            given: before.is_some_and(|before| before.given),
        }
    }

    /// A setting that may have been written.
    #[must_use]
    pub fn maybe_given() -> Self {
        Self {
            hash: StateHash::of_value(&serde_json::Value::Null),
            returned: None,
            doubted: true,
            corrections: 0,
            given: true,
        }
    }
}

/// How things stand beyond the values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum LinkState {
    /// Nothing is outstanding.
    #[default]
    Settled,
    /// The last try failed and will be repeated.
    Retrying {
        /// What was tried.
        desired: StateHash,
        /// How often it failed.
        attempts: u32,
        /// Not before.
        next_try: Timestamp,
        /// When it failed first.
        since: Timestamp,
        /// Stable code of the last failure.
        code: String,
        /// What an operator has released: the guard does not look at it again. Versions before this was written hold such
        /// a person again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved: Option<Release>,
    },
    /// Refused until the desired state, the configuration or an operator changes it.
    Rejected {
        /// What was refused.
        desired: StateHash,
        /// Stable code.
        code: String,
        /// In words, without personal values.
        reason: String,
        /// When.
        at: Timestamp,
        /// As with `Retrying`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved: Option<Release>,
    },
    /// Kept back by the guard, as a member of a held set.
    Held {
        /// The set.
        set: String,
        /// What it was counted as.
        budget: Budget,
        /// The verb that was not carried out.
        action: String,
        /// When.
        at: Timestamp,
    },
    /// Deliberately left alone, and reported once.
    Skipped {
        /// What was not done.
        desired: StateHash,
        /// In words, without personal values.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// One person at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Format version of the record.
    pub format: u32,
    /// The target's id of the account; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<RemoteId>,
    /// Whether the account was left switched on; absent when a write of it had no certain end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Hash of the field that tells that two user records are one person, when one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<StateHash>,
    /// Per attribute what was written.
    #[serde(default, skip_serializing_if = "WrittenAttributes::is_empty")]
    pub written: WrittenAttributes,
    /// The values themselves, where the application holds nothing of its own: a list that is written whole is made of them.
    #[serde(default, skip_serializing_if = "AttributeValues::is_empty")]
    pub values: AttributeValues,
    /// An account is about to be made or taken over: committed before the request, so that a lost answer is found again
    /// even when the person has left meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_intent: bool,
    /// The version of the state acted on.
    pub user_version: u64,
    /// The configuration acted on.
    pub configuration: StateHash,
    /// What is outstanding.
    pub state: LinkState,
    /// When the account was last changed by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// When the account was last switched off by us: the guard's windows are recounted from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// When the source last began to say that the person is out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// When the person came back, as the source said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_since: Option<Timestamp>,
    /// What was told last although nothing had to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<StateHash>,
    /// Which settings were pushed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assigned>,
    /// That removal was concluded, not stated by the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removal_inferred: bool,
    /// Who is or was told of the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// How far a new user is in, as the target said it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onboarding: Option<Onboarding>,
    /// An operator had released the last change or removal: the guard does not count it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

/// What an operator has let through, of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Hash of it: [`Plan::released_as`](super::plan::Plan::released_as).
    pub what: StateHash,
    /// Who, and why.
    pub by: Approval,
}

impl LinkState {
    /// What an operator has released and is not done yet.
    #[must_use]
    pub fn approved(&self) -> Option<&Release> {
        match self {
            Self::Retrying { approved, .. } | Self::Rejected { approved, .. } => approved.as_ref(),
            Self::Settled | Self::Held { .. } | Self::Skipped { .. } => None,
        }
    }
}

impl Link {
    /// A person without an account.
    #[must_use]
    pub fn unlinked(user_version: u64, configuration: StateHash) -> Self {
        Self {
            format: FORMAT,
            remote_id: None,
            active: None,
            person: None,
            written: WrittenAttributes::default(),
            values: AttributeValues::new(),
            create_intent: false,
            user_version,
            configuration,
            state: LinkState::Settled,
            changed_at: None,
            removed_at: None,
            left_at: None,
            assignment: None,
            active_since: None,
            said: None,
            notices: Vec::new(),
            onboarding: None,
            removal_inferred: false,
            released: false,
        }
    }

    /// Forgets what these attributes hold: a write of them was sent and its effect is not certain. Planning against
    /// the old values could find nothing to do although the new ones are there. Of settings it stays known that they may
    /// have been given: else nobody would take them back.
    pub fn doubt<'a>(
        &mut self,
        paths: impl IntoIterator<Item = &'a AttributePath>,
        is_setting: impl Fn(&AttributePath) -> bool,
    ) {
        for path in paths {
            match self.written.get_mut(path) {
                Some(written) if written.given => written.doubted = true,
                _ if is_setting(path) => self.written.insert(path.clone(), Written::maybe_given()),
                _ => self.written.remove(path),
            }
            if path.0 == ACTIVE {
                self.active = None;
            }
        }
    }

    /// Forgets what every attribute holds. See [`Link::doubt`].
    #[must_use]
    pub fn doubted(&self) -> Self {
        let given = self.written.iter().filter(|(_, written)| written.given);
        let doubted = |written: &Written| Written {
            doubted: true,
            ..written.clone()
        };
        Self {
            written: given.map(|(path, written)| (path.clone(), doubted(written))).collect(),
            active: None,
            ..self.clone()
        }
    }

    /// Takes over which settings the account was given under its earlier link.
    pub fn inherit(&mut self, earlier: &Self, is_setting: impl Fn(&AttributePath) -> bool) {
        for (path, written) in earlier.written.iter() {
            if (written.given || is_setting(path)) && !self.written.contains_key(path) {
                self.written.insert(path.clone(), Written::maybe_given());
            }
        }
    }

    /// Gives the account away: it is somebody else's from now on.
    #[must_use]
    pub fn given_away(&self) -> Self {
        Self {
            remote_id: None,
            active: None,
            written: WrittenAttributes::default(),
            values: AttributeValues::new(),
            create_intent: false,
            state: LinkState::Settled,
            ..self.clone()
        }
    }

    /// Whether the target holds this hash for the attribute, as far as we know.
    #[must_use]
    pub fn holds(&self, path: &str, hash: StateHash) -> bool {
        self.written.named(path).is_some_and(|written| written.holds(hash))
    }
}

/// The record key `<target>/<userKey>`.
#[must_use]
pub fn record_key(target: &TargetName, user: &UserKey) -> String {
    format!("{target}/{user}")
}

/// The person of a record key, when the record is of this target. A partition holds the links of several targets.
#[must_use]
pub fn user_of_key(target: &TargetName, key: &str) -> Option<UserKey> {
    let (found, user) = key.split_once('/')?;
    if found == target.as_str() {
        user.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{at, user_key};

    #[test]
    fn a_key_leads_back_to_its_person_and_only_for_its_target() {
        let gong = TargetName::try_new("gong").unwrap();
        let key = record_key(&gong, &user_key(1));
        assert_eq!(user_of_key(&gong, &key), Some(user_key(1)));
        assert_eq!(user_of_key(&TargetName::try_new("gon").unwrap(), &key), None);
    }

    #[test]
    fn a_link_is_read_back_as_written() {
        let hash = StateHash::of_text("x");
        for state in [
            LinkState::Settled,
            LinkState::Retrying {
                desired: hash,
                attempts: 2,
                next_try: at(9),
                since: at(1),
                code: "http-503".into(),
                approved: Some(Release {
                    what: StateHash::of_text("released"),
                    by: Approval {
                        actor: "ada".into(),
                        reason: "planned".into(),
                        at: at(0),
                    },
                }),
            },
            LinkState::Rejected {
                desired: hash,
                code: "x".into(),
                reason: "y".into(),
                at: at(1),
                approved: None,
            },
        ] {
            let link = Link {
                state,
                remote_id: Some(RemoteId("7".into())),
                ..Link::unlinked(3, hash)
            };
            let text = serde_json::to_string(&link).unwrap();
            assert_eq!(serde_json::from_str::<Link>(&text).unwrap(), link, "{text}");
        }
    }

    #[test]
    fn states_of_before_there_were_releases_in_them_are_read_and_none_is_made_up() {
        let hash = StateHash::of_text("x");
        let retrying = format!(
            r#"{{"is":"retrying","desired":"{hash}","attempts":1,"nextTry":"{0}","since":"{0}","code":"http-503"}}"#,
            at(1)
        );
        let rejected = format!(
            r#"{{"is":"rejected","desired":"{hash}","code":"x","reason":"y","at":"{}"}}"#,
            at(1)
        );
        for text in [retrying, rejected] {
            let state: LinkState = serde_json::from_str(&text).unwrap();
            assert_eq!(state.approved(), None);
            assert_eq!(serde_json::to_string(&state).unwrap(), text);
        }
    }
}
