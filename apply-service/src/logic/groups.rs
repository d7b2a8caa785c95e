//! The groups of one target and who is in them: what is remembered, what is wanted, and what follows.
//!
//! Everything is decided here, without clock and I/O: [`Groups::want`] takes in what the rules say of a person,
//! [`Groups::next`] (in `work`) says which request comes next, [`Groups::ended`] (in `results`) takes its answer. The lane
//! adds order, pace and commits.
//!
//! Guarantees:
//! * A group is looked for by its name, and made at most once: the intent is committed before the request, and a lost
//!   answer is looked up.
//! * Members are added and removed, never replaced, in bounded numbers; afterwards the group is read.
//! * Only people whose groups are all known leave a group, and only groups that we have made or that the map names.
//! * What a crash leaves open is found: `unread` is committed before members are changed, and such a group is read.
//!
//! **Invariant**: `joins` and `leaves` of the groups say what differs between wanted and held, for everybody who is wanted
//! somewhere or held somewhere.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use usher_contract::UserKey;

pub mod record;
mod results;
pub mod rules;
#[cfg(test)]
mod tests;
mod work;

use self::{
    record::{FORMAT, GroupKey, GroupRecord, Membership, Memberships, Standing},
    rules::{GroupChanges, GroupRules, WantedGroup, WantedGroups, folded},
    work::Task,
};
pub use self::{
    results::{Ending, News, What},
    work::{Around, Next},
};
use super::{account::RemoteId, retry::after};

/// How long a new name at the source has to stay the newest before the group is renamed: while names are being read anew,
/// some people's states still say the old one. Longer: later renames; shorter: names that go back and forth.
pub const RENAME_QUIET: std::time::Duration = std::time::Duration::from_secs(60);

/// The number of a group within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupNo(u32);

/// What a person is to be in.
#[derive(Debug, Clone, PartialEq)]
struct Want {
    version: u64,
    groups: Vec<GroupNo>,
    complete: bool,
}

/// One person's account.
#[derive(Debug, Default)]
struct Person {
    account: Option<RemoteId>,
    held: Vec<(GroupNo, Membership)>,
    want: Option<Want>,
}

impl Person {
    fn held(&self, group: GroupNo) -> Option<&Membership> {
        self.held.iter().find(|(no, _)| *no == group).map(|(_, held)| held)
    }
    fn version(&self) -> u64 {
        self.want.as_ref().map_or(0, |want| want.version)
    }
}

/// One group.
#[derive(Debug)]
struct Group {
    key: GroupKey,
    /// What is remembered of it.
    record: GroupRecord,
    /// `creating` and `unread` as they are on the topic.
    durable: (bool, bool),
    joins: BTreeSet<UserKey>,
    leaves: BTreeSet<UserKey>,
    /// How many are taken to be in it.
    members: usize,
    /// A look-up has just shown that there is none of this name.
    looked: bool,
    /// We have just made it: there is nobody in it.
    fresh: bool,
    read_due: Option<Timestamp>,
    rename: Option<Rename>,
    rename_refused: Option<String>,
    task: Option<Task>,
    next_try: Option<Timestamp>,
    attempts: u32,
    /// Members of the next change: halved when one is refused, so that the one who is not taken is found.
    limit: usize,
    /// What has turned out to be too many at once.
    ceiling: usize,
    /// Its record cannot be read, or was not there: nothing is done.
    locked: bool,
    /// It does not show its members, and that was said.
    unshown: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Rename {
    to: String,
    since: Timestamp,
    /// No group of the new name was found.
    looked: bool,
}

/// How many groups are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupsStatus {
    /// Groups that are at the target.
    pub linked: usize,
    /// Made by us, of these.
    pub made: usize,
    /// Groups that cannot be found, made or changed.
    pub refused: usize,
    /// Memberships to be made.
    pub joining: usize,
    /// Memberships to be ended; those that the guard holds count, too.
    pub leaving: usize,
    /// Memberships that the target refuses.
    pub refused_members: usize,
}

/// The groups of one target. See the module documentation.
#[derive(Debug, Default)]
pub struct Groups {
    all: Vec<Group>,
    by_key: HashMap<GroupKey, GroupNo>,
    by_name: HashMap<String, GroupNo>,
    /// Which group has a source's name, and when the state was observed that last said so.
    by_source: HashMap<String, (GroupNo, Timestamp)>,
    people: HashMap<UserKey, Person>,
    /// People whose record cannot be read: nothing is done about them.
    locked: HashSet<UserKey>,
    /// Members that are kept from leaving, by held set.
    sets: HashMap<String, usize>,
    refused_members: usize,
    dirty_groups: BTreeSet<GroupNo>,
    dirty_people: BTreeSet<UserKey>,
    flying: Vec<(GroupNo, (bool, bool))>,
    /// Groups with something that may be done now.
    ready: BTreeSet<GroupNo>,
    /// And later.
    due: BTreeSet<(Timestamp, GroupNo)>,
    /// People whose states have to tell anew which groups they mean.
    refeed: BTreeSet<UserKey>,
}

/// What differs: groups to join and to leave.
fn difference(
    want: Option<&Want>,
    held: &[(GroupNo, Membership)],
    removable: impl Fn(GroupNo) -> bool,
) -> (Vec<GroupNo>, Vec<GroupNo>) {
    let Some(want) = want else {
        return (Vec::new(), Vec::new());
    };
    let standing = |group: GroupNo| held.iter().find(|(no, _)| *no == group).map(|(_, held)| held.is);
    let joins = want.groups.iter().copied();
    let joins = joins.filter(|group| matches!(standing(*group), None | Some(Standing::Doubted)));
    let leaves = held.iter().filter(|(group, held)| {
        let there = matches!(held.is, Standing::In | Standing::Doubted);
        want.complete && there && !want.groups.contains(group) && removable(*group)
    });
    (joins.collect(), leaves.map(|(group, _)| *group).collect())
}

impl Groups {
    fn group(&self, no: GroupNo) -> &Group {
        // **Invariant**: numbers are handed out by `add` alone, and no group is ever taken out.
        &self.all[no.0 as usize]
    }

    fn group_mut(&mut self, no: GroupNo) -> &mut Group {
        &mut self.all[no.0 as usize]
    }

    fn add(&mut self, key: GroupKey, record: GroupRecord, locked: bool) -> GroupNo {
        let no = GroupNo(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_key.insert(key.clone(), no);
        self.all.push(Group {
            key,
            durable: (record.creating, record.unread),
            record,
            joins: BTreeSet::new(),
            leaves: BTreeSet::new(),
            members: 0,
            looked: false,
            fresh: false,
            read_due: None,
            rename: None,
            rename_refused: None,
            task: None,
            next_try: None,
            attempts: 0,
            limit: usize::MAX,
            ceiling: usize::MAX,
            locked,
            unshown: false,
        });
        no
    }

    fn number(&mut self, key: &GroupKey) -> GroupNo {
        match self.by_key.get(key) {
            Some(no) => *no,
            None => self.add(key.clone(), blank(String::new()), true),
        }
    }

    /// Takes the record of a group; `None` when it cannot be read: then nothing is done about the group.
    pub fn restore_group(&mut self, key: &GroupKey, record: Option<GroupRecord>) {
        let no = self.number(key);
        self.unname(no);
        let group = self.group_mut(no);
        group.locked = record.is_none();
        if let Some(record) = record {
            group.durable = (record.creating, record.unread);
            group.record = record;
        }
        let (name, sources) = (folded(&group.record.name), group.record.sources.clone());
        if !name.is_empty() {
            self.by_name.insert(name, no);
        }
        for source in sources {
            self.by_source.insert(source, (no, Timestamp::MIN));
        }
    }

    fn unname(&mut self, no: GroupNo) {
        let name = folded(&self.group(no).record.name);
        if name.is_empty() {
            return;
        }
        if self.by_name.get(&name) == Some(&no) {
            self.by_name.remove(&name);
        }
        self.by_source.retain(|_, (of, _)| *of != no);
    }

    /// Takes the record of a person's groups; `None` for a tombstone.
    pub fn restore_person(&mut self, user: UserKey, record: Option<Memberships>) {
        self.locked.remove(&user);
        self.forget(user);
        if let Some(record) = record {
            for (key, held) in record.groups {
                let no = self.number(&key);
                self.put(user, no, Some(held));
            }
            self.people.entry(user).or_default().account = Some(record.account);
        }
        self.dirty_people.remove(&user);
    }

    /// The record of a person's groups cannot be read: nothing is done about them.
    pub fn lock_person(&mut self, user: UserKey) {
        self.forget(user);
        self.dirty_people.remove(&user);
        self.locked.insert(user);
    }

    fn forget(&mut self, user: UserKey) {
        let held: Vec<GroupNo> = self.people.get(&user).map(held_in).unwrap_or_default();
        held.into_iter().for_each(|no| self.put(user, no, None));
        self.people.remove(&user);
    }

    /// Everything was restored: what is to be done follows. Marks of held sets that nobody knows any more are dropped, so
    /// that the guard judges anew.
    pub fn begin(&mut self, is_known: impl Fn(&str) -> bool, every: std::time::Duration, now: Timestamp) {
        let lost: HashSet<String> = self.sets.keys().filter(|set| !is_known(set)).cloned().collect();
        if !lost.is_empty() {
            let users: Vec<UserKey> = self.people.keys().copied().collect();
            for user in users {
                self.change_held(user, |held| {
                    if held.held.as_ref().is_some_and(|set| lost.contains(set)) {
                        held.held = None;
                    }
                });
            }
        }
        for index in 0..self.all.len() {
            let no = GroupNo(u32::try_from(index).unwrap_or(u32::MAX));
            let group = &mut self.all[index];
            if group.record.id.is_some() {
                let due = group.record.read_at.filter(|_| !group.record.unread);
                group.read_due = Some(due.map_or(now, |last| after(last, every)));
            }
            self.ready.insert(no);
        }
    }

    /// Every group is looked at again, and what was refused is tried again: an operator wants it, or a day has passed.
    pub fn again(&mut self, now: Timestamp) {
        for index in 0..self.all.len() {
            let group = &mut self.all[index];
            group.rename_refused = None;
            if group.record.refused.is_some() {
                group.next_try = None;
            }
            if group.record.id.is_some() {
                group.read_due = Some(now);
            }
            self.ready.insert(GroupNo(u32::try_from(index).unwrap_or(u32::MAX)));
        }
    }

    /// Takes in which groups a person with this account is to be in; `None`: whatever they are in is left alone.
    #[expect(
        clippy::too_many_arguments,
        reason = "who, by which state, is wanted where, by which rules, when"
    )]
    pub fn want(
        &mut self,
        user: UserKey,
        account: &RemoteId,
        (version, observed): (u64, Timestamp),
        wanted: Option<&WantedGroups>,
        rules: &GroupRules,
        again: bool,
        now: Timestamp,
    ) {
        if self.locked.contains(&user) {
            return;
        }
        self.clear_todo(user);
        if self
            .people
            .get(&user)
            .is_some_and(|person| person.account.as_ref() != Some(account))
        {
            // Another account is in none of the groups.
            let held = self.people.get(&user).map(held_in).unwrap_or_default();
            held.into_iter().for_each(|no| self.put(user, no, None));
        }
        let want = wanted.map(|wanted| {
            let mut groups: Vec<GroupNo> = wanted
                .groups
                .iter()
                .map(|group| self.resolve(group, rules, observed, now))
                .collect();
            groups.sort_unstable();
            groups.dedup();
            Want {
                version,
                groups,
                complete: wanted.is_complete(),
            }
        });
        let person = self.people.entry(user).or_default();
        person.account = Some(account.clone());
        person.want = want;
        self.tidy(user, again);
        self.review(user, rules);
        if self
            .people
            .get(&user)
            .is_some_and(|person| person.want.is_none() && person.held.is_empty())
        {
            self.people.remove(&user);
        }
    }

    /// Nothing is wanted of this person any more: no account, no state, no rule.
    pub fn unwant(&mut self, user: UserKey) {
        self.clear_todo(user);
        if let Some(person) = self.people.get_mut(&user) {
            person.want = None;
        }
    }

    /// The account was switched on again, or taken over: some targets have taken it out of its groups meanwhile.
    pub fn doubt(&mut self, user: UserKey, rules: &GroupRules) {
        self.change_held(user, |held| {
            if held.is == Standing::In {
                held.is = Standing::Doubted;
            }
        });
        self.review(user, rules);
    }

    /// The account of `from` is `to`'s from now on, with its groups.
    pub fn hand_over(&mut self, from: UserKey, to: UserKey) {
        self.clear_todo(from);
        self.clear_todo(to);
        let Some(person) = self.people.remove(&from) else {
            return;
        };
        self.forget(to);
        for (no, held) in person.held {
            self.count(no, Some(&held), None);
            self.put(to, no, Some(held));
        }
        let heir = self.people.entry(to).or_default();
        heir.account = person.account;
        self.dirty_people.extend([from, to]);
    }

    /// The application is another one: no group is known there.
    pub fn void(&mut self) {
        let users: Vec<UserKey> = self.people.keys().copied().collect();
        for user in users {
            self.clear_todo(user);
            let held = self.people.get(&user).map(held_in).unwrap_or_default();
            held.into_iter().for_each(|no| self.put(user, no, None));
        }
        for index in 0..self.all.len() {
            let group = &mut self.all[index];
            let sources = std::mem::take(&mut group.record.sources);
            group.record = GroupRecord {
                sources,
                ..blank(std::mem::take(&mut group.record.name))
            };
            (group.looked, group.fresh, group.read_due, group.rename) = (false, false, None, None);
            self.dirty_groups
                .insert(GroupNo(u32::try_from(index).unwrap_or(u32::MAX)));
        }
    }

    /// Which group a wanted one is.
    fn resolve(&mut self, wanted: &WantedGroup, rules: &GroupRules, observed: Timestamp, now: Timestamp) -> GroupNo {
        let name = folded(&wanted.name);
        let by_source = wanted
            .source
            .as_ref()
            .and_then(|source| self.by_source.get(source).copied());
        if let Some(source) = &wanted.source
            && let Some((no, last)) = by_source
        {
            if observed < last {
                // An older state: its name may be an old one.
                return no;
            }
            self.by_source.insert(source.clone(), (no, observed));
            if self.renames(no, wanted, rules, now) {
                return no;
            }
            // It has another name than those with whom it shared a group.
            self.group_mut(no).record.sources.remove(source);
            self.by_source.remove(source);
            self.dirty_groups.insert(no);
        }
        let no = match self.by_name.get(&name) {
            Some(no) => *no,
            None => {
                let key = GroupKey::of(&name, |key| self.by_key.contains_key(key));
                let no = self.add(key, blank(wanted.name.clone()), false);
                self.by_name.insert(name, no);
                no
            }
        };
        if let Some(source) = &wanted.source {
            self.by_source.insert(source.clone(), (no, observed));
            let group = self.group_mut(no);
            if group.record.sources.insert(source.clone()) && group.record.id.is_some() {
                self.dirty_groups.insert(no);
            }
        }
        no
    }

    /// Whether the source's group goes on as this one: its name is the same, or becomes the same.
    fn renames(&mut self, no: GroupNo, wanted: &WantedGroup, rules: &GroupRules, now: Timestamp) -> bool {
        let other = self
            .by_name
            .get(&folded(&wanted.name))
            .is_some_and(|other| *other != no);
        let group = self.group_mut(no);
        if group.record.name == wanted.name {
            group.rename = None;
            return true;
        }
        if other || group.record.sources.len() > 1 || rules.names(&group.record.name) || !rules.abilities.rename {
            return false;
        }
        if group.rename_refused.as_ref() != Some(&wanted.name)
            && group.rename.as_ref().is_none_or(|rename| rename.to != wanted.name)
        {
            group.rename = Some(Rename {
                to: wanted.name.clone(),
                since: now,
                looked: false,
            });
            self.due.insert((after(now, RENAME_QUIET), no));
        }
        true
    }

    fn removable(&self, no: GroupNo, rules: &GroupRules) -> bool {
        let record = &self.group(no).record;
        rules.remove_stale && rules.abilities.remove && (record.made || rules.names(&record.name))
    }

    /// Drops what is not true any more of a person's memberships now that something else is wanted.
    fn tidy(&mut self, user: UserKey, again: bool) {
        let Some(person) = self.people.get(&user) else { return };
        let wanted = |no: GroupNo| person.want.as_ref().is_some_and(|want| want.groups.contains(&no));
        let mut changes: Vec<(GroupNo, Option<Membership>)> = Vec::new();
        for (no, held) in &person.held {
            let mut next = held.clone();
            if wanted(*no) || again {
                next.held = next.held.filter(|_| !wanted(*no));
                next.is = if next.is == Standing::Stuck {
                    Standing::In
                } else {
                    next.is
                };
            }
            let gone = next.is == Standing::Refused && (again || (person.want.is_some() && !wanted(*no)));
            if gone || next != *held {
                changes.push((*no, (!gone).then_some(next)));
            }
        }
        for (no, next) in changes {
            self.put(user, no, next);
        }
    }

    /// Takes a person off all lists of what is to be done.
    fn clear_todo(&mut self, user: UserKey) {
        let Some(person) = self.people.get(&user) else { return };
        let mut groups = held_in(person);
        groups.extend(person.want.iter().flat_map(|want| &want.groups));
        for no in groups {
            let group = self.group_mut(no);
            group.joins.remove(&user);
            group.leaves.remove(&user);
        }
    }

    /// Puts a person on the lists of what is to be done.
    fn review(&mut self, user: UserKey, rules: &GroupRules) {
        self.clear_todo(user);
        let Some(person) = self.people.get(&user) else { return };
        let (joins, leaves) = difference(person.want.as_ref(), &person.held, |no| self.removable(no, rules));
        for no in joins {
            self.group_mut(no).joins.insert(user);
            self.ready.insert(no);
        }
        for no in leaves {
            self.group_mut(no).leaves.insert(user);
            self.ready.insert(no);
        }
    }

    fn change_held(&mut self, user: UserKey, change: impl Fn(&mut Membership)) {
        let held = self
            .people
            .get(&user)
            .map(|person| person.held.clone())
            .unwrap_or_default();
        for (no, mut held) in held {
            change(&mut held);
            self.put(user, no, Some(held));
        }
    }

    /// The one place where a membership is written: counts follow it.
    fn put(&mut self, user: UserKey, no: GroupNo, next: Option<Membership>) {
        let person = self.people.entry(user).or_default();
        let at = person.held.iter().position(|(held, _)| *held == no);
        let before = at.map(|at| person.held[at].1.clone());
        if before == next {
            return;
        }
        match (at, next.clone()) {
            (Some(at), Some(next)) => person.held[at].1 = next,
            (Some(at), None) => {
                person.held.remove(at);
            }
            (None, Some(next)) => person.held.push((no, next)),
            (None, None) => {}
        }
        self.count(no, before.as_ref(), next.as_ref());
        if next.is_none() {
            // What is to be done about it is found again by `review`.
            let group = self.group_mut(no);
            group.joins.remove(&user);
            group.leaves.remove(&user);
        }
        self.dirty_people.insert(user);
    }

    fn count(&mut self, no: GroupNo, before: Option<&Membership>, next: Option<&Membership>) {
        let there = |held: Option<&Membership>| held.is_some_and(|held| held.is != Standing::Refused);
        let group = self.group_mut(no);
        group.members += usize::from(there(next));
        group.members -= usize::from(there(before));
        let refused =
            |held: Option<&Membership>| held.is_some_and(|held| matches!(held.is, Standing::Refused | Standing::Stuck));
        self.refused_members += usize::from(refused(next));
        self.refused_members -= usize::from(refused(before));
        let set = |held: Option<&Membership>| held.and_then(|held| held.held.clone());
        if let Some(set) = set(next) {
            *self.sets.entry(set).or_default() += 1;
        }
        if let Some(set) = set(before)
            && let Some(count) = self.sets.get_mut(&set)
        {
            *count -= 1;
            if *count == 0 {
                self.sets.remove(&set);
            }
        }
    }

    /// Keeps these members from leaving until an operator releases the set.
    pub fn hold(&mut self, no: GroupNo, users: &[UserKey], set: &str) {
        for user in users {
            let held = self.people.get(user).and_then(|person| person.held(no)).cloned();
            if let Some(held) = held {
                let held = Membership {
                    held: Some(set.to_owned()),
                    ..held
                };
                self.put(*user, no, Some(held));
            }
        }
    }

    /// How many memberships a set keeps from ending.
    #[must_use]
    pub fn held_in(&self, set: &str) -> usize {
        self.sets.get(set).copied().unwrap_or_default()
    }

    /// Who is kept in which group by which set.
    pub fn held(&self) -> impl Iterator<Item = (UserKey, &str, &str)> {
        self.people.iter().flat_map(|(user, person)| {
            person.held.iter().filter_map(|(no, held)| {
                let set = held.held.as_deref()?;
                Some((*user, self.group(*no).record.name.as_str(), set))
            })
        })
    }

    /// A set was released, or a step under way has ended: whatever waits is looked at again.
    pub fn wake_all(&mut self) {
        self.ready
            .extend((0..self.all.len()).map(|index| GroupNo(u32::try_from(index).unwrap_or(u32::MAX))));
    }

    /// What would be changed for somebody who is to be in these groups.
    #[must_use]
    pub fn changes(&self, user: &UserKey, wanted: &WantedGroups, rules: &GroupRules) -> GroupChanges {
        let person = self.people.get(user);
        let find = |group: &WantedGroup| {
            let by_source = group.source.as_ref().and_then(|source| self.by_source.get(source));
            by_source
                .map(|(no, _)| *no)
                .or_else(|| self.by_name.get(&folded(&group.name)).copied())
        };
        let mut changes = GroupChanges::default();
        let mut known = Vec::new();
        for group in &wanted.groups {
            let no = find(group);
            known.extend(no);
            let held = no.and_then(|no| person?.held(no));
            if held.is_none_or(|held| held.is == Standing::Doubted) {
                changes.join.push(group.name.clone());
            }
        }
        let want = Want {
            version: 0,
            groups: known,
            complete: wanted.is_complete(),
        };
        let held = person.map(|person| person.held.as_slice()).unwrap_or_default();
        let (_, leave) = difference(Some(&want), held, |no| self.removable(no, rules));
        changes.leave = leave.into_iter().map(|no| self.group(no).record.name.clone()).collect();
        changes.leave.sort_unstable();
        changes
    }

    /// The groups that somebody's account is in, as far as we know, by name.
    #[must_use]
    pub fn of(&self, user: &UserKey) -> Vec<String> {
        let held = self.people.get(user).into_iter().flat_map(|person| &person.held);
        let there = held.filter(|(_, held)| matches!(held.is, Standing::In | Standing::Stuck));
        let mut names: Vec<String> = there.map(|(no, _)| self.group(*no).record.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// In numbers.
    #[must_use]
    pub fn status(&self) -> GroupsStatus {
        let linked = self.all.iter().filter(|group| group.record.id.is_some());
        GroupsStatus {
            linked: linked.clone().count(),
            made: linked.filter(|group| group.record.made).count(),
            refused: self.all.iter().filter(|group| group.record.refused.is_some()).count(),
            joining: self.all.iter().map(|group| group.joins.len()).sum(),
            leaving: self.all.iter().map(|group| group.leaves.len()).sum(),
            refused_members: self.refused_members,
        }
    }

    /// Whether nothing of groups is known or wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.people.is_empty()
    }

    /// How many records wait to be written.
    #[must_use]
    pub fn unrecorded(&self) -> usize {
        self.dirty_people.len() + self.dirty_groups.len()
    }

    /// The records to be written, at most so many of people.
    pub fn take_records(&mut self, people_max: usize) -> (Vec<(GroupKey, GroupRecord)>, Vec<(UserKey, Memberships)>) {
        let rest = match self.dirty_people.iter().nth(people_max).copied() {
            Some(first) => self.dirty_people.split_off(&first),
            None => BTreeSet::new(),
        };
        let people = std::mem::replace(&mut self.dirty_people, rest);
        let groups = std::mem::take(&mut self.dirty_groups);
        self.flying = groups
            .iter()
            .map(|no| (*no, durable(&self.group(*no).record)))
            .collect();
        let of = |user: &UserKey| self.memberships(user);
        let people = people.iter().map(|user| (*user, of(user))).collect();
        let groups = groups.iter().map(|no| self.group(*no));
        (
            groups.map(|group| (group.key.clone(), group.record.clone())).collect(),
            people,
        )
    }

    fn memberships(&self, user: &UserKey) -> Memberships {
        let person = self.people.get(user);
        let held = person.into_iter().flat_map(|person| &person.held);
        Memberships {
            format: FORMAT,
            account: person
                .and_then(|person| person.account.clone())
                .unwrap_or_else(|| RemoteId(String::new())),
            groups: held
                .map(|(no, held)| (self.group(*no).key.clone(), held.clone()))
                .collect(),
        }
    }

    /// The records that were taken last are committed.
    pub fn committed(&mut self) {
        for (no, durable) in std::mem::take(&mut self.flying) {
            self.group_mut(no).durable = durable;
            self.ready.insert(no);
        }
    }

    /// Every record, for a target that gets another name.
    #[must_use]
    pub fn records(&self) -> (Vec<(GroupKey, GroupRecord)>, Vec<(UserKey, Memberships)>) {
        let groups = self.all.iter().filter(|group| !group.locked);
        let people = self.people.keys().map(|user| (*user, self.memberships(user)));
        (
            groups.map(|group| (group.key.clone(), group.record.clone())).collect(),
            people.collect(),
        )
    }
}

fn held_in(person: &Person) -> Vec<GroupNo> {
    person.held.iter().map(|(no, _)| *no).collect()
}

fn durable(record: &GroupRecord) -> (bool, bool) {
    (record.creating, record.unread)
}

fn blank(name: String) -> GroupRecord {
    GroupRecord {
        format: FORMAT,
        name,
        id: None,
        made: false,
        creating: false,
        unread: false,
        read_at: None,
        sources: BTreeSet::new(),
        removed: Vec::new(),
        refused: None,
    }
}
