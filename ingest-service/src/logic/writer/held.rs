//! Held sets: removals and deactivations that are kept back because one snapshot brought too many.
//!
//! A set is frozen when its snapshot is judged: members leave it (they are seen again, an event speaks for itself, an
//! operator releases them), nobody joins it. What else is known about a member is published.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Approval, Debtor, HeldSet, Known, Owed, Published, Timestamp, User, UserId, Writer};

/// What is kept back about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Removal,
    Deactivation,
}

/// All held sets, as records of the checkpoint topic.
#[derive(Debug, Default)]
pub(super) struct Held {
    parts: BTreeMap<String, HeldSet>,
    members: HashMap<UserId, (String, Kept)>,
    /// Parts that the step under way has changed.
    changed: BTreeSet<String>,
}

/// The id of a set: when its snapshot began. Parts after the first add `.<n>`.
fn set_id(began_at: Timestamp) -> String {
    began_at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The set that a record is a part of.
pub(super) fn set_of(part: &str) -> &str {
    part.split_once('.').map_or(part, |(set, _)| set)
}

/// The number of a part within its set.
fn number_of(part: &str) -> usize {
    part.split_once('.')
        .map_or(0, |(_, number)| number.parse().unwrap_or(0))
}

impl Held {
    pub(super) fn restore(parts: BTreeMap<String, HeldSet>) -> Self {
        let mut members = HashMap::new();
        for (part, set) in &parts {
            members.extend(set.removals.iter().map(|id| (*id, (part.clone(), Kept::Removal))));
            members.extend(
                set.deactivations
                    .iter()
                    .map(|id| (*id, (part.clone(), Kept::Deactivation))),
            );
        }
        Self {
            parts,
            members,
            changed: BTreeSet::new(),
        }
    }
    pub(super) fn parts(&self) -> &BTreeMap<String, HeldSet> {
        &self.parts
    }
    pub(super) fn kept(&self, id: UserId) -> Option<Kept> {
        self.members.get(&id).map(|(_, kept)| *kept)
    }
}

impl Writer {
    /// How many removals and deactivations of one snapshot are made without asking.
    #[must_use]
    pub fn removals_limit(&self) -> u64 {
        let config = &self.config;
        // Whoever was removed long ago is no reason to remove more people today.
        let there = self.published.present() as u64;
        let share = there * config.removals_percent / 100;
        share.max(config.removals_at_least).min(config.removals_at_most)
    }

    /// Keeps these people back. They share the set of their snapshot.
    pub(super) fn hold(&mut self, began_at: Timestamp, ids: &BTreeSet<UserId>, kept: Kept, now: Timestamp) {
        let set = set_id(began_at);
        for id in ids {
            self.let_go(*id);
        }
        // Behind the last part: earlier ones may have ended.
        let numbers = self.held.parts.keys().filter(|part| set_of(part) == set);
        let first = numbers.map(|part| number_of(part) + 1).max().unwrap_or(0);
        let ids: Vec<UserId> = ids.iter().copied().collect();
        for (number, chunk) in (first..).zip(ids.chunks(HeldSet::MEMBERS_MAX)) {
            let part = if number == 0 {
                set.clone()
            } else {
                format!("{set}.{number}")
            };
            let mut record = HeldSet::new(began_at, now);
            match kept {
                Kept::Removal => record.removals.extend(chunk),
                Kept::Deactivation => record.deactivations.extend(chunk),
            }
            for id in chunk {
                self.held.members.insert(*id, (part.clone(), kept));
            }
            self.held.changed.insert(part.clone());
            self.held.parts.insert(part, record);
        }
    }

    /// This person is no question for an operator: not kept back any more, nor when the survey under way ends.
    /// `gone`: whether that includes being removed; an event about access alone does not say who belongs.
    pub(super) fn settled(&mut self, id: UserId, gone: bool) {
        if let Some(running) = &mut self.survey {
            running.leavers.remove(&id);
        }
        if let Some(finishing) = &mut self.finishing {
            finishing.leavers.remove(&id);
        }
        if gone || self.held.kept(id) != Some(Kept::Removal) {
            self.let_go(id);
        }
    }

    /// This person is no longer kept back.
    pub(super) fn let_go(&mut self, id: UserId) {
        let Some((part, _)) = self.held.members.remove(&id) else {
            return;
        };
        let Some(record) = self.held.parts.get_mut(&part) else {
            return;
        };
        record.removals.remove(&id);
        record.deactivations.remove(&id);
        if record.is_empty() {
            self.held.parts.remove(&part);
        }
        self.held.changed.insert(part);
    }

    /// Parts that this step has changed are written as they are at its end: a step may let thousands go.
    pub(super) fn write_held(&mut self) {
        for part in std::mem::take(&mut self.held.changed) {
            let record = self.held.parts.get(&part).cloned();
            self.batch().held.insert(part, record);
        }
    }

    /// What a read or a row says about somebody who is kept back: the deactivation stays unpublished, being active ends
    /// the hold. So does, for a removal, being read as a member; for a row that waits until its snapshot is complete.
    pub(super) fn keep_back(&mut self, last: Option<&Published>, next: &mut User, row: bool) {
        let Some(kept) = self.held.kept(next.id) else { return };
        if kept == Kept::Removal {
            if !row {
                self.let_go(next.id);
            }
        } else if next.active != Known::Value(false) {
            self.let_go(next.id);
        } else if last.is_some_and(|person| person.head.active && !person.head.removed) {
            next.active = Known::Value(true);
        }
    }

    /// An operator releases a set.
    pub(super) fn approve(&mut self, id: &str, by: &Approval) {
        let parts: Vec<String> = self
            .held
            .parts
            .keys()
            .filter(|part| set_of(part) == id)
            .cloned()
            .collect();
        for part in parts {
            if let Some(record) = self.held.parts.get_mut(&part) {
                record.approved = Some(by.clone());
                self.held.changed.insert(part);
            }
        }
    }

    /// Members of released sets are read again, some at a time; who is still gone or inactive is published as such.
    pub(super) fn release_approved(&mut self, now: Timestamp) {
        // As what surveys leave behind: not only when nothing else is written, or a stream that never rests would keep them.
        if self.backlog() >= self.portion() {
            return;
        }
        let Some((by, ids)) = self.held.parts.values().find_map(|record| {
            let by = record.approved.clone()?;
            let members = record.removals.iter().chain(&record.deactivations);
            Some((
                by,
                members.take(self.config.batch_records_max).copied().collect::<Vec<_>>(),
            ))
        }) else {
            return;
        };
        for id in ids {
            self.let_go(id);
            let owed = Owed {
                approved: Some(by.clone()),
                ..Owed::new(now, "released by an operator")
            };
            self.owe(Debtor::User(id), owed);
        }
    }

    /// The whole population has them again: they are not gone.
    pub(super) fn let_go_of_seen(&mut self, number: u32) {
        let seen: Vec<UserId> = self
            .held
            .members
            .iter()
            .filter(|(id, (_, kept))| *kept == Kept::Removal && self.head(**id).is_some_and(|head| head.seen == number))
            .map(|(id, _)| *id)
            .collect();
        for id in seen {
            self.let_go(id);
        }
    }

    /// How many are kept back besides these.
    pub(super) fn held_besides(&self, ids: &BTreeSet<UserId>) -> u64 {
        self.held.members.keys().filter(|id| !ids.contains(id)).count() as u64
    }
}
