//! What is remembered of groups: taken from records at a take-over, written one way, and handed out as records.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use usher_contract::UserKey;

use super::{
    GroupNo, Groups, blank, durable, held_in,
    record::{FORMAT, GroupKey, GroupRecord, Membership, Memberships, Standing},
    rules::folded,
};
use crate::logic::{account::RemoteId, retry::after};

/// Records to be written.
#[derive(Debug, Default)]
pub struct Records {
    /// Of groups.
    pub groups: Vec<(GroupKey, GroupRecord)>,
    /// Of the groups of people's accounts.
    pub memberships: Vec<(UserKey, Memberships)>,
}

impl Groups {
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

    pub(super) fn unname(&mut self, no: GroupNo) {
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

    pub(super) fn forget(&mut self, user: UserKey) {
        let held: Vec<GroupNo> = self.people.get(&user).map(held_in).unwrap_or_default();
        held.into_iter().for_each(|no| self.put(user, no, None));
        self.people.remove(&user);
    }

    /// Everything was restored: what is to be done follows. Marks of held sets that nobody knows any more are dropped, so
    /// that the guard judges anew.
    pub fn begin(&mut self, is_known: impl Fn(&str) -> bool, every: Duration, now: Timestamp) {
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

    pub(super) fn change_held(&mut self, user: UserKey, change: impl Fn(&mut Membership)) {
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
    pub(super) fn put(&mut self, user: UserKey, no: GroupNo, next: Option<Membership>) {
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

    pub(super) fn count(&mut self, no: GroupNo, before: Option<&Membership>, next: Option<&Membership>) {
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

    /// How many records wait to be written.
    #[must_use]
    pub fn unrecorded(&self) -> usize {
        self.dirty_people.len() + self.dirty_groups.len()
    }

    /// The records to be written, at most so many of people.
    pub fn take_records(&mut self, people_max: usize) -> Records {
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
        let memberships = people.iter().map(|user| (*user, of(user))).collect();
        let groups = groups.iter().map(|no| self.group(*no));
        Records {
            groups: groups.map(|group| (group.key.clone(), group.record.clone())).collect(),
            memberships,
        }
    }

    pub(super) fn memberships(&self, user: &UserKey) -> Memberships {
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
    pub fn records(&self) -> Records {
        let groups = self.all.iter().filter(|group| !group.locked);
        let people = self.people.keys().map(|user| (*user, self.memberships(user)));
        Records {
            groups: groups.map(|group| (group.key.clone(), group.record.clone())).collect(),
            memberships: people.collect(),
        }
    }
}
