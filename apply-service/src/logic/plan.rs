//! The decision about one person at one target: desired against known, with reasons in words.
//!
//! The same function serves a live message, start-up, the daily reconcile, a retry and the preview. It leaves nothing to
//! choose at execution. What it deliberately leaves out: pace, retries and order, which are the lane's.

mod apply;
#[cfg(test)]
mod causes_tests;
mod decide;
mod difference;
#[cfg(test)]
mod scope_tests;
#[cfg(test)]
mod switch_tests;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use usher_contract::{StateHash, UserChange, UserKey};
use usher_filter::People;

pub use self::{
    apply::link_after,
    decide::{person_hash, plan},
};
use super::{
    account::{AttributePath, AttributeValues, RemoteId},
    assignments::Assigned,
    groups::rules::{GroupChanges, GroupRules, WantedGroups},
    guard::Budget,
    link::Link,
    matching::Seen,
    policy::TargetPolicy,
};
use crate::connector::Refusal;

/// What is known about accounts of everybody at this target: claims and references.
pub trait Accounts {
    /// Who holds this account.
    fn holder(&self, account: &RemoteId) -> Option<UserKey>;
    /// The account that somebody has.
    fn account_of(&self, user: &UserKey) -> Option<RemoteId>;
    /// Whether somebody's account is known to hold this value, in whatever attribute.
    fn holds(&self, _user: &UserKey, _value: &Value) -> bool {
        false
    }
    /// What would be changed about the groups of somebody who is to be in these.
    fn group_changes(&self, _user: &UserKey, wanted: &WantedGroups, _rules: &GroupRules) -> GroupChanges {
        GroupChanges {
            join: wanted.groups.iter().map(|group| group.name.clone()).collect(),
            leave: Vec::new(),
        }
    }
    /// Somebody else who would have the same e-mail address after the conversion to the primary domain, and when they will
    /// not any more, as far as that is known.
    fn sharing_address(&self, _user: &UserKey, _now: Timestamp) -> Option<(UserKey, Option<Timestamp>)> {
        None
    }
    /// Whether this person may take over the account of that one: both are the same person by the configured field, and
    /// the account of the other record is off.
    fn may_relink(&self, _holder: &UserKey, _person: StateHash) -> bool {
        false
    }
}

/// What a look at the target has shown for this person.
#[derive(Debug, Clone, PartialEq)]
pub enum Remote {
    /// Nobody has looked.
    NotLooked,
    /// Looked, and absence is proven.
    Absent,
    /// These accounts match.
    Found(Vec<Seen>),
}

/// The verb of a plan. The order is that of the lane: who comes first when several wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Switch the account off.
    Deactivate,
    /// Switch the account on again.
    Reactivate,
    /// Look whether there is an account before making one.
    Look,
    /// Make an account.
    Create,
    /// Take over an account that is there.
    Adopt,
    /// Take over the account of an earlier record of the same person.
    Relink,
    /// Write what differs.
    Update,
    /// Nothing but groups differ.
    SetGroups,
    /// Remove an account for good that has been off for long. Last: whoever waits for a change is more urgent.
    Delete,
    /// Everything is as it should be.
    Noop,
    /// A field that would decide is unknown.
    Wait,
    /// Deliberately not done.
    Skip,
}

impl Action {
    /// The word of outcomes and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deactivate => "deactivate",
            Self::Reactivate => "reactivate",
            Self::Look => "look",
            Self::Create => "create",
            Self::Adopt => "adopt",
            Self::Relink => "relink",
            Self::Update => "update",
            Self::SetGroups => "set-groups",
            Self::Delete => "delete",
            Self::Noop => "noop",
            Self::Wait => "wait",
            Self::Skip => "skip",
        }
    }
    /// Whether something is to be done at the target.
    #[must_use]
    pub fn acts(self) -> bool {
        self < Self::Noop
    }
}

/// Everything a decision depends on.
pub struct Question<'a> {
    /// The newest state.
    pub change: &'a UserChange,
    /// What is known at the target.
    pub link: Option<&'a Link>,
    /// What a look has shown.
    pub remote: &'a Remote,
    /// The target.
    pub target: &'a TargetPolicy,
    /// Claims and references.
    pub accounts: &'a dyn Accounts,
    /// The other people, where the rules look at managers.
    pub people: &'a dyn People,
    /// When an operator last asked for everybody to be written anew.
    pub reimported_at: Option<Timestamp>,
    /// Ask again although it was refused before: reconcile, redrive.
    pub again: bool,
    /// The time.
    pub now: Timestamp,
}

/// A decision, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The verb.
    pub action: Action,
    /// The account it acts on.
    pub account: Option<RemoteId>,
    /// What is written; null clears.
    pub values: AttributeValues,
    /// The names of what is written.
    pub changed: Vec<AttributePath>,
    /// What holds after success without having to be written: found equal, or nothing to clear.
    pub equal: Vec<(AttributePath, StateHash)>,
    /// Whether the account is switched on after success.
    pub active: bool,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// Refused by our own rules: recorded like a refusal of the target.
    pub refusal: Option<Refusal>,
    /// A `Skip` that somebody should hear of, once.
    pub reported: bool,
    /// People whose account would complete this one.
    pub missing: Vec<UserKey>,
    /// The hash of what was wanted: a refusal holds as long as it stays the same. Where nothing is to be done or decided it is
    /// that of the configuration alone.
    pub desired: StateHash,
    /// When the answer may change although nothing else does.
    pub next_change: Option<Timestamp>,
    /// Whose account it was, when it moves.
    pub takes_from: Option<UserKey>,
    /// The settings that the account has after success; `None`: as the link says.
    pub assignment: Option<Assigned>,
    /// Of what is said although nothing is done: a termination date that does not count, groups that are switched off. Told
    /// once, with whatever is done or by itself.
    pub remark: Option<StateHash>,
    /// Who holds the account that matches: tried again when that person gives it up.
    pub claimed_by: Option<UserKey>,
    /// The person is not to have the account, it is on, and the policy keeps it all the same.
    pub kept: bool,
    /// In which groups the account is to be; `None`: whatever it is in is left alone.
    pub groups: Option<WantedGroups>,
    /// What that changes.
    pub group_changes: GroupChanges,
    /// A removal that is concluded (absent, out of scope, another configuration) and not stated by the source.
    pub inferred: bool,
}

impl Plan {
    /// What the guard counts it as; `None` for what changes nothing at the target.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        match self.action {
            Action::Deactivate | Action::Delete if self.inferred => Some(Budget::InferredRemovals),
            Action::Deactivate | Action::Delete => Some(Budget::StatedRemovals),
            Action::Adopt if self.values.is_empty() => None,
            Action::Reactivate | Action::Create | Action::Adopt | Action::Relink | Action::Update => {
                Some(Budget::Changes)
            }
            // Groups have a guard of their own, group by group.
            Action::SetGroups => None,
            Action::Look | Action::Noop | Action::Wait | Action::Skip => None,
        }
    }

    /// What an operator releases: that the account is off, or else what it is to hold. Whoever is to be off has been
    /// released however their record is tidied up meanwhile.
    #[must_use]
    pub fn released_as(&self) -> StateHash {
        match self.action {
            Action::Delete => StateHash::of_text("delete"),
            Action::Deactivate => StateHash::of_text("deactivate"),
            // The account of a leaver is looked for first, and perhaps not found clearly.
            Action::Look | Action::Skip if !self.active => StateHash::of_text("deactivate"),
            _ => self.desired,
        }
    }
}

impl fmt::Display for Plan {
    /// One line of words; names of attributes, never values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action.as_str())?;
        if let Some(account) = &self.account {
            write!(f, " account {account}")?;
        }
        if !self.changed.is_empty() {
            let names: Vec<&str> = self.changed.iter().map(|path| path.0.as_str()).collect();
            write!(f, " [{}]", names.join(", "))?;
        }
        for words in self.group_changes.in_words() {
            write!(f, "; {words}")?;
        }
        if !self.reasons.is_empty() {
            write!(f, ": {}", self.reasons.join("; "))?;
        }
        if let Some(next) = self.next_change {
            write!(f, " (may change at {next})")?;
        }
        Ok(())
    }
}
