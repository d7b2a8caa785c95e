//! The links of a target in memory, with who holds which account. They change only after a commit.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use usher_contract::{StateHash, UserKey};

use crate::logic::{
    account::RemoteId,
    addresses::Addresses,
    groups::{
        Groups,
        rules::{GroupChanges, GroupRules, WantedGroups},
    },
    link::{Link, LinkState},
    plan::Accounts,
};

/// What is known at a target, by person and by account.
#[derive(Debug, Default)]
pub struct Links {
    links: HashMap<UserKey, Link>,
    holders: HashMap<RemoteId, UserKey>,
    /// Claims of actions under way: two people must not take over one account at the same time.
    reserved: HashMap<RemoteId, UserKey>,
    /// The same by person.
    reserved_by: HashMap<UserKey, HashSet<RemoteId>>,
    states: BTreeMap<&'static str, usize>,
    /// Members per held set.
    held: BTreeMap<String, usize>,
    /// Who would have which address.
    pub(crate) addresses: Addresses,
    /// People whose record cannot be read.
    unreadable: HashSet<UserKey>,
    /// The groups of the target and who is in them.
    pub groups: Groups,
}

impl Links {
    /// The link of a person.
    #[must_use]
    pub fn get(&self, user: &UserKey) -> Option<&Link> {
        self.links.get(user)
    }

    /// Every link.
    pub fn iter(&self) -> impl Iterator<Item = (&UserKey, &Link)> {
        self.links.iter()
    }

    /// How many people have an account.
    #[must_use]
    pub fn linked(&self) -> usize {
        self.holders.len()
    }

    /// Who has this account; nobody who is only about to.
    #[must_use]
    pub fn held_by(&self, account: &RemoteId) -> Option<UserKey> {
        self.holders.get(account).copied()
    }

    /// How many people a held set keeps back.
    #[must_use]
    pub fn held_in(&self, set: &str) -> usize {
        self.held.get(set).copied().unwrap_or_default()
    }

    /// How many links are in a state: `settled`, `retrying`, `rejected`, `skipped`, `held`.
    #[must_use]
    pub fn in_state(&self, state: &str) -> usize {
        self.states.get(state).copied().unwrap_or_default()
    }

    /// Puts a committed link; `None` for a tombstone.
    pub fn put(&mut self, user: UserKey, link: Option<Link>) {
        self.unreadable.remove(&user);
        let before = match link {
            Some(link) => {
                *self.states.entry(word(&link.state)).or_default() += 1;
                if let LinkState::Held { set, .. } = &link.state {
                    *self.held.entry(set.clone()).or_default() += 1;
                }
                if let Some(account) = &link.remote_id {
                    self.holders.insert(account.clone(), user);
                }
                self.links.insert(user, link)
            }
            None => self.links.remove(&user),
        };
        let Some(before) = before else { return };
        if let Some(count) = self.states.get_mut(word(&before.state)) {
            *count -= 1;
        }
        if let LinkState::Held { set, .. } = &before.state
            && let Some(count) = self.held.get_mut(set)
        {
            *count -= 1;
            if *count == 0 {
                self.held.remove(set);
            }
        }
        if let Some(account) = before.remote_id
            && self.links.get(&user).and_then(|link| link.remote_id.as_ref()) != Some(&account)
            && self.holders.get(&account) == Some(&user)
        {
            self.holders.remove(&account);
        }
    }

    /// The newest record of this person cannot be read: an older one must not stand in for it.
    pub fn put_unreadable(&mut self, user: UserKey) {
        self.put(user, None);
        self.unreadable.insert(user);
    }

    /// How many people's records cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    pub(super) fn is_unreadable(&self, user: &UserKey) -> bool {
        self.unreadable.contains(user)
    }

    pub(super) fn reserve(&mut self, account: &RemoteId, user: UserKey) {
        if let Some(before) = self.reserved.insert(account.clone(), user)
            && let Some(theirs) = self.reserved_by.get_mut(&before)
        {
            theirs.remove(account);
        }
        self.reserved_by.entry(user).or_default().insert(account.clone());
    }
    pub(super) fn release(&mut self, user: &UserKey) {
        for account in self.reserved_by.remove(user).into_iter().flatten() {
            self.reserved.remove(&account);
        }
    }
}

impl Accounts for Links {
    fn holder(&self, account: &RemoteId) -> Option<UserKey> {
        self.holders
            .get(account)
            .or_else(|| self.reserved.get(account))
            .copied()
    }
    fn account_of(&self, user: &UserKey) -> Option<RemoteId> {
        self.links.get(user)?.remote_id.clone()
    }
    fn holds(&self, user: &UserKey, value: &Value) -> bool {
        let hash = StateHash::of_value(value);
        let link = self.links.get(user).filter(|link| link.remote_id.is_some());
        link.is_some_and(|link| {
            link.written
                .values()
                .any(|written| written.hash == hash && !written.doubted)
        })
    }
    fn group_changes(&self, user: &UserKey, wanted: &WantedGroups, rules: &GroupRules) -> GroupChanges {
        self.groups.changes(user, wanted, rules)
    }
    fn sharing_address(&self, user: &UserKey) -> Option<UserKey> {
        self.addresses.sharing(user)
    }
    fn may_relink(&self, holder: &UserKey, person: StateHash) -> bool {
        self.links
            .get(holder)
            .is_some_and(|link| link.person == Some(person) && link.active == Some(false))
    }
}

fn word(state: &LinkState) -> &'static str {
    match state {
        LinkState::Settled => "settled",
        LinkState::Retrying { .. } => "retrying",
        LinkState::Rejected { .. } => "rejected",
        LinkState::Skipped { .. } => "skipped",
        LinkState::Held { .. } => "held",
    }
}
