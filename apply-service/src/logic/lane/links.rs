//! The links of a target in memory, with who holds which account. They change only after a commit.
//!
//! Made for a million people: a link is a row of fixed size and one allocation of packed bytes, and is unpacked when it is asked
//! for. What is asked of everybody stands in the row ([`Glance`]).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use hashbrown::HashTable;
use jiff::Timestamp;
use serde_json::Value;
use usher_contract::{StateHash, UserKey};

use crate::logic::{
    account::RemoteId,
    addresses::Addresses,
    groups::{
        Groups,
        rules::{GroupChanges, GroupRules, WantedGroups},
    },
    link::{
        Link, LinkState,
        packed::{self, Shapes},
    },
    plan::Accounts,
};

/// What is known at a target, by person and by account.
#[derive(Debug, Default)]
pub struct Links {
    /// In no order. Whoever is forgotten leaves the place to the last one.
    rows: Vec<Row>,
    /// Places in `rows` by person.
    people: HashTable<u32>,
    /// And by account.
    holders: HashTable<u32>,
    hasher: RandomState,
    shapes: Shapes,
    scratch: Vec<u8>,
    /// Counts accounts that have gone from one person to another, or to nobody: whatever was decided before may depend on it.
    moves: u32,
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

/// One person.
#[derive(Debug)]
struct Row {
    link: Box<[u8]>,
    user: UserKey,
    /// [`Links::moves`] when the person was last found to have everything; counts with [`RESTS`] only.
    rested: u32,
    flags: u8,
}

const LINKED: u8 = 1;
const OFF: u8 = 1 << 1;
const ON: u8 = 1 << 2;
const INTENT: u8 = 1 << 3;
const SETTLED: u8 = 1 << 4;
/// Not fed yet, and there may be an account that is on.
const AWAITED: u8 = 1 << 5;
/// The last plan over this very link found nothing to do.
const RESTS: u8 = 1 << 6;

/// Of a link what is told without unpacking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance(u8);

impl Glance {
    fn of(link: &Link) -> Self {
        let flag = |on: bool, flag: u8| u8::from(on) * flag;
        Self(
            flag(link.remote_id.is_some(), LINKED)
                | flag(link.active == Some(false), OFF)
                | flag(link.active == Some(true), ON)
                | flag(link.create_intent, INTENT)
                | flag(link.state == LinkState::Settled, SETTLED),
        )
    }
    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
    /// Whether there is an account.
    #[must_use]
    pub fn is_linked(self) -> bool {
        self.has(LINKED)
    }
    /// Whether an account was left switched off.
    #[must_use]
    pub fn is_off(self) -> bool {
        self.has(OFF)
    }
    /// Whether an account was left switched on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.has(ON)
    }
    /// Whether somebody may still get in through what this link speaks of.
    #[must_use]
    pub fn may_be_on(self) -> bool {
        (self.is_linked() && !self.is_off()) || self.has(INTENT)
    }
    /// Whether this is true at this application only: an account there, or one that a request may have made or taken over.
    #[must_use]
    pub fn is_bound(self) -> bool {
        self.is_linked() || self.has(INTENT)
    }
    /// Whether nothing is outstanding.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self.has(SETTLED)
    }
}

impl Links {
    fn hash_of(&self, user: &UserKey) -> u64 {
        self.hasher.hash_one(user)
    }
    fn place(&self, user: &UserKey) -> Option<usize> {
        let found = self
            .people
            .find(self.hash_of(user), |place| self.rows[*place as usize].user == *user);
        found.map(|place| *place as usize)
    }
    fn row(&self, user: &UserKey) -> Option<&Row> {
        self.place(user).map(|place| &self.rows[place])
    }
    fn holder_row(&self, account: &str) -> Option<&Row> {
        let rows = &self.rows;
        let found = self.holders.find(self.hasher.hash_one(account), |place| {
            rows[*place as usize].account() == Some(account)
        });
        found.map(|place| &rows[*place as usize])
    }

    /// The link of a person, unpacked.
    #[must_use]
    pub fn get(&self, user: &UserKey) -> Option<Link> {
        self.row(user).map(|row| packed::unpack(&row.link, &self.shapes))
    }

    /// The same, looked at.
    #[must_use]
    pub fn glance(&self, user: &UserKey) -> Option<Glance> {
        self.row(user).map(|row| Glance(row.flags))
    }

    /// The version of the state that was acted on last.
    #[must_use]
    pub fn version(&self, user: &UserKey) -> Option<u64> {
        self.row(user).map(|row| packed::user_version(&row.link))
    }

    /// Every link, unpacked one by one.
    pub fn iter(&self) -> impl Iterator<Item = (&UserKey, Link)> {
        self.rows
            .iter()
            .map(|row| (&row.user, packed::unpack(&row.link, &self.shapes)))
    }

    /// Every link, looked at.
    pub fn glances(&self) -> impl Iterator<Item = (&UserKey, Glance)> {
        self.rows.iter().map(|row| (&row.user, Glance(row.flags)))
    }

    /// How many people have an account.
    #[must_use]
    pub fn linked(&self) -> usize {
        self.holders.len()
    }

    /// Of how many people something is known that is true at this application only.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.glances().filter(|(_, glance)| glance.is_bound()).count()
    }

    /// Who has this account; nobody who is only about to.
    #[must_use]
    pub fn held_by(&self, account: &RemoteId) -> Option<UserKey> {
        self.holder_row(&account.0).map(|row| row.user)
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
    ///
    /// # Panics
    /// With four billion people, who do not fit in memory.
    pub fn put(&mut self, user: UserKey, link: Option<Link>) {
        self.unreadable.remove(&user);
        let place = self.place(&user);
        let before = place.map(|place| self.counted(place));
        if let Some(before) = &before {
            self.uncount(before);
        }
        let after = link.as_ref().and_then(|link| link.remote_id.as_ref());
        let account = before.as_ref().and_then(|before| before.account.as_ref());
        if let (Some(place), Some(account)) = (place, account)
            && after != Some(account)
        {
            self.moves = self.moves.wrapping_add(1);
            self.let_go(place, account);
        }
        let Some(link) = link else {
            if let Some(place) = place {
                self.forget(place);
            }
            return;
        };
        *self.states.entry(word(&link.state)).or_default() += 1;
        if let LinkState::Held { set, .. } = &link.state {
            *self.held.entry(set.clone()).or_default() += 1;
        }
        let bytes = packed::pack(&link, &mut self.shapes, &mut self.scratch);
        let flags = Glance::of(&link).0;
        let place = if let Some(place) = place {
            let row = &mut self.rows[place];
            let gone = std::mem::replace(&mut row.link, bytes);
            row.flags = flags | row.flags & AWAITED;
            packed::give_back(&gone, &mut self.shapes);
            place
        } else {
            self.enter(user, bytes, flags)
        };
        if let Some(account) = &link.remote_id {
            self.take_hold(place, account);
        }
    }

    /// Of a link in its place what is counted.
    fn counted(&self, place: usize) -> Counted {
        let row = &self.rows[place];
        let account = row.account().map(|account| RemoteId(account.to_owned()));
        // Nearly everybody is settled: only of the others the link is unpacked.
        let state = if Glance(row.flags).is_settled() {
            LinkState::Settled
        } else {
            packed::unpack(&row.link, &self.shapes).state
        };
        Counted { account, state }
    }

    fn uncount(&mut self, before: &Counted) {
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
    }

    /// A new person.
    fn enter(&mut self, user: UserKey, link: Box<[u8]>, flags: u8) -> usize {
        let place = u32::try_from(self.rows.len()).expect("**Invariant**: four billion people do not fit in memory");
        let hash = self.hash_of(&user);
        self.rows.push(Row {
            link,
            user,
            rested: 0,
            flags,
        });
        let Self {
            people, rows, hasher, ..
        } = self;
        people.insert_unique(hash, place, |place| hasher.hash_one(rows[*place as usize].user));
        place as usize
    }

    /// The account is this person's now, whoever had it.
    fn take_hold(&mut self, place: usize, account: &RemoteId) {
        let Self {
            holders, rows, hasher, ..
        } = self;
        let hash = hasher.hash_one(account.0.as_str());
        let same = |place: &u32| rows[*place as usize].account() == Some(&account.0);
        let hash_at = |place: &u32| hasher.hash_one(rows[*place as usize].account().unwrap_or_default());
        let place = u32::try_from(place).expect("**Invariant**: places are 32 bits");
        *holders.entry(hash, same, hash_at).or_insert(place).get_mut() = place;
    }

    /// The account is not this person's any more; somebody else who has taken it keeps it.
    fn let_go(&mut self, place: usize, account: &RemoteId) {
        let hash = self.hasher.hash_one(account.0.as_str());
        if let Ok(found) = self.holders.find_entry(hash, |holder| *holder as usize == place) {
            found.remove();
        }
    }

    /// Takes a row out. Its account is let go already.
    fn forget(&mut self, place: usize) {
        let (hash, moved) = (self.hash_of(&self.rows[place].user), self.rows.len() - 1);
        if let Ok(found) = self.people.find_entry(hash, |found| *found as usize == place) {
            found.remove();
        }
        let gone = self.rows.swap_remove(place);
        packed::give_back(&gone.link, &mut self.shapes);
        // The last row has moved into the gap.
        let Some(row) = self.rows.get(place) else { return };
        let here = u32::try_from(place).expect("**Invariant**: places are 32 bits");
        if let Some(entry) = self
            .people
            .find_mut(self.hasher.hash_one(row.user), |found| *found as usize == moved)
        {
            *entry = here;
        }
        if let Some(account) = row.account()
            && let Some(entry) = self
                .holders
                .find_mut(self.hasher.hash_one(account), |found| *found as usize == moved)
        {
            *entry = here;
        }
    }

    /// Everybody is about to be fed: whose accounts may be on is awaited.
    pub(super) fn await_everybody(&mut self) {
        for row in &mut self.rows {
            row.flags &= !AWAITED;
            row.flags |= u8::from(Glance(row.flags).may_be_on()) * AWAITED;
        }
    }
    /// Somebody was fed.
    pub(super) fn was_fed(&mut self, user: &UserKey) {
        if let Some(place) = self.place(user) {
            self.rows[place].flags &= !AWAITED;
        }
    }
    /// Who is still awaited; nobody is afterwards.
    pub(super) fn take_awaited(&mut self) -> Vec<UserKey> {
        let awaited = self.rows.iter_mut().filter(|row| row.flags & AWAITED != 0);
        awaited
            .map(|row| {
                row.flags &= !AWAITED;
                row.user
            })
            .collect()
    }

    /// Over this very link nothing was found to do.
    pub(super) fn rest(&mut self, user: &UserKey) {
        let moves = self.moves;
        if let Some(place) = self.place(user) {
            let row = &mut self.rows[place];
            row.flags |= RESTS;
            row.rested = moves;
        }
    }
    /// Something is to be done or to be looked at again.
    pub(super) fn stir(&mut self, user: &UserKey) {
        if let Some(place) = self.place(user) {
            self.rows[place].flags &= !RESTS;
        }
    }
    /// Whether the last plan over this very link found nothing to do, and no account has moved since.
    pub(super) fn rests(&self, user: &UserKey) -> bool {
        self.row(user)
            .is_some_and(|row| row.flags & RESTS != 0 && row.rested == self.moves)
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

/// What of a link is counted.
struct Counted {
    account: Option<RemoteId>,
    state: LinkState,
}

impl Row {
    fn account(&self) -> Option<&str> {
        packed::account(&self.link)
    }
}

impl Accounts for Links {
    fn holder(&self, account: &RemoteId) -> Option<UserKey> {
        self.held_by(account).or_else(|| self.reserved.get(account).copied())
    }
    fn account_of(&self, user: &UserKey) -> Option<RemoteId> {
        self.row(user)?.account().map(|account| RemoteId(account.to_owned()))
    }
    fn holds(&self, user: &UserKey, value: &Value) -> bool {
        let hash = StateHash::of_value(value);
        let link = self.get(user).filter(|link| link.remote_id.is_some());
        link.is_some_and(|link| link.written.iter().any(|(_, written)| written.holds(hash)))
    }
    fn group_changes(&self, user: &UserKey, wanted: &WantedGroups, rules: &GroupRules) -> GroupChanges {
        self.groups.changes(user, wanted, rules)
    }
    fn sharing_address(&self, user: &UserKey, now: Timestamp) -> Option<(UserKey, Option<Timestamp>)> {
        self.addresses.sharing(user, now)
    }
    fn may_relink(&self, holder: &UserKey, person: StateHash) -> bool {
        self.get(holder)
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

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
