//! What is wanted of a person, which group a wanted one is, and what differs.

use jiff::Timestamp;
use usher_contract::UserKey;

use super::{
    GroupNo, Groups, RENAME_QUIET, Rename, Want, blank, difference, held_in,
    record::{GroupKey, Membership, Standing},
    rules::{GroupRules, WantedGroup, WantedGroups, folded},
};
use crate::logic::{account::RemoteId, retry::after};

impl Groups {
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

    /// Which group a wanted one is.
    pub(super) fn resolve(
        &mut self,
        wanted: &WantedGroup,
        rules: &GroupRules,
        observed: Timestamp,
        now: Timestamp,
    ) -> GroupNo {
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
    pub(super) fn renames(&mut self, no: GroupNo, wanted: &WantedGroup, rules: &GroupRules, now: Timestamp) -> bool {
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

    pub(super) fn removable(&self, no: GroupNo, rules: &GroupRules) -> bool {
        let record = &self.group(no).record;
        rules.remove_stale && rules.abilities.remove && (record.made || rules.names(&record.name))
    }

    /// Drops what is not true any more of a person's memberships now that something else is wanted.
    pub(super) fn tidy(&mut self, user: UserKey, again: bool) {
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
    pub(super) fn clear_todo(&mut self, user: UserKey) {
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
    pub(super) fn review(&mut self, user: UserKey, rules: &GroupRules) {
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
}
