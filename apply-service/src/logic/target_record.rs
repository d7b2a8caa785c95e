//! The target's own record on `provisioning.target`: who owns it, whether it was handed back, the first sync.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use usher_contract::{Approval, StateHash, TargetName};

use super::{assignments::SettingsSeen, drift::DriftReport, guard::Budget, policy::TargetPolicy};

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// What the first look at the application found. Counts only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstSyncReport {
    /// When it was finished.
    pub at: Timestamp,
    /// Accounts listed.
    pub accounts: u64,
    /// People with exactly one account that may be theirs.
    pub matched: u64,
    /// People without one.
    pub would_create: u64,
    /// People with several, or one that others claim.
    pub ambiguous: u64,
    /// Accounts that nobody matches. They are only ever reported.
    pub unmatched: u64,
    /// What would be written to matched accounts: attribute -> how many of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub would_change: BTreeMap<String, u64>,
    /// Why the application could not be listed, when it could not: people are then looked up one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_listed: Option<String>,
}

/// Actions that the guard keeps back. Its members carry the set's id in their links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldSet {
    /// What they were counted as.
    pub budget: Budget,
    /// Why, in words.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when later ones of a trickle join; afterwards they form a set of their own.
    pub open_until: Timestamp,
    /// Who has released it. It stays until none of its members is waiting any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
}

/// The id under which an operator approves the first sync.
pub const FIRST_SYNC: &str = "first-sync";

/// The id under which an operator approves that links are void, because the address or tenant is another one.
pub const MOVED: &str = "moved";

/// What was used of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayUsed {
    /// Which, UTC.
    pub day: Date,
    /// Requests.
    pub used: u64,
}

/// What a plan depends on of a policy, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySeen {
    /// Its hash.
    pub hash: StateHash,
    /// Since when.
    pub since: Timestamp,
}

impl PolicySeen {
    /// Of the target as it is now, over what was seen before.
    #[must_use]
    pub fn of(target: &TargetPolicy, before: Option<Self>, now: Timestamp) -> Self {
        let same = before.filter(|before| before.hash == target.hash);
        same.unwrap_or(Self {
            hash: target.hash,
            since: now,
        })
    }
}

/// More removals than the guard allows by itself, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// How many.
    pub removals: u64,
    /// How many of them were used.
    #[serde(default)]
    pub used: u64,
    /// Until when.
    pub until: Timestamp,
    /// Who allowed it, and why.
    pub by: Approval,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRecord {
    /// Format version of the record.
    pub format: u32,
    /// The address of the owner, for people and for forwarding.
    pub owner: String,
    /// Which run of which process that was: an address may be given to another one. Absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_run: Option<String>,
    /// The owner has handed the target back and writes no more: a successor need not wait.
    pub released: bool,
    /// The name under which the target goes on: whoever still has this one does not run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<TargetName>,
    /// All that was known has moved to that name. Until then this record is the one that counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
    /// The mode it runs in.
    pub mode: String,
    /// The first sync, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sync: Option<FirstSyncReport>,
    /// The report of the first sync waits for an operator (`approve first-sync`); nothing is written before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_sync_waits: bool,
    /// When everybody was last planned again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Timestamp>,
    /// When an operator last asked for everybody to be planned again: edited settings are pushed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reimported_at: Option<Timestamp>,
    /// The policy as it was last seen, and since when it is so: what it does to people who have not changed is its doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySeen>,
    /// The settings of each assignment as they were last seen, and since when they are so: edits wait for a change of the
    /// person that comes after them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, SettingsSeen>,
    /// When the oldest state that was outstanding had been observed: a successor that finds the target not handed back
    /// knows that states since then may have been written without being recorded. With `released` it speaks of doubts
    /// that an earlier owner left and that are not cleared yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding_since: Option<Timestamp>,
    /// What the guard keeps back, by the id of the set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, HeldSet>,
    /// What operators have allowed for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowances: Vec<Allowance>,
    /// Who has stopped the target, and why: nothing is asked and nothing written until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Approval>,
    /// Which application the links belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<StateHash>,
    /// Since when the policy names another application than that one: everything is held until an operator approves
    /// [`MOVED`], or the policy names it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_since: Option<Timestamp>,
    /// When the whole target was last looked at, or since when it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drifted_at: Option<Timestamp>,
    /// What that look has shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftReport>,
    /// What was used of the day's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<DayUsed>,
    /// The target has asked to be left alone until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_until: Option<Timestamp>,
    /// The offset after the last command that was carried out.
    #[serde(default)]
    pub commands_done: i64,
    /// Whether everybody of the first import has been worked off; absent in records of the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<bool>,
    /// When the record was written.
    pub at: Timestamp,
}

/// Who runs a target.
#[derive(Debug, Clone, Copy)]
pub struct OwnerId<'a> {
    /// Where it is reached.
    pub address: &'a str,
    /// Which run of which process: no two owners ever have the same.
    pub run: &'a str,
}

/// What is said of a target whose links are of another application.
#[must_use]
pub fn moved_in_words(links: usize) -> String {
    format!(
        "the address or tenant is another one than that of the {links} links: everything is held until `{MOVED}` is approved; \
         then they are void and a first sync begins. Taking the change back takes nothing away"
    )
}

impl TargetRecord {
    /// Whether what is known belongs to another application than the policy names now.
    #[must_use]
    pub fn is_moved(&self, target: &TargetPolicy) -> bool {
        self.tenant.is_some_and(|tenant| !target.is_tenant(tenant))
    }

    /// Without what was found out at the application: the policy names another one, and nobody is linked any more. It is
    /// to begin there like everywhere, with a first sync.
    #[must_use]
    pub fn at_another_application(self) -> Self {
        Self {
            first_sync: None,
            first_sync_waits: false,
            imported: Some(false),
            held: BTreeMap::new(),
            tenant: None,
            moved_since: None,
            drift: None,
            ..self
        }
    }

    /// Of a target of which nothing is known yet.
    #[must_use]
    pub fn new(owner: &str, mode: &str, at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            owner: owner.to_owned(),
            owner_run: None,
            released: false,
            renamed_to: None,
            given_up: false,
            mode: mode.to_owned(),
            first_sync: None,
            first_sync_waits: false,
            reconciled_at: None,
            reimported_at: None,
            policy: None,
            settings: BTreeMap::new(),
            outstanding_since: None,
            held: BTreeMap::new(),
            allowances: Vec::new(),
            paused: None,
            tenant: None,
            moved_since: None,
            drifted_at: None,
            drift: None,
            day: None,
            rests_until: None,
            commands_done: 0,
            imported: None,
            at,
        }
    }
}
