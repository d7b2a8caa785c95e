//! Held sets: removals and deactivations that are kept back because one snapshot brought too many.
//!
//! A set is frozen when its snapshot is judged: members leave it (they are seen again, an event speaks for itself, an
//! operator releases them), nobody joins it. What else is known about a member is published.

use std::collections::{BTreeMap, HashMap};

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
}

/// The id of a set: when its snapshot began. Parts after the first add `.<n>`.
fn set_id(began_at: Timestamp) -> String {
    began_at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The number of a part: 0 for the first.
fn number_of(part: &str) -> usize {
    part.split_once('.')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

/// The set that a record is a part of.
pub(super) fn set_of(part: &str) -> &str {
    part.split_once('.').map_or(part, |(set, _)| set)
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
        Self { parts, members }
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
        let share = self.published.len() as u64 * config.removals_percent / 100;
        share.max(config.removals_at_least).min(config.removals_at_most)
    }

    /// Keeps these people back. They share the set of their snapshot.
    pub(super) fn hold(&mut self, began_at: Timestamp, ids: &[UserId], kept: Kept, now: Timestamp) {
        let set = set_id(began_at);
        // Parts that are used up leave a gap: counting them would put a new part in the place of one that is there.
        let parts = self.held.parts.keys().filter(|part| set_of(part) == set);
        let first = parts.map(|part| number_of(part) + 1).max().unwrap_or(0);
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
            self.batch().held.insert(part.clone(), Some(record.clone()));
            self.held.parts.insert(part, record);
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
        let rest = (!record.is_empty()).then(|| record.clone());
        if rest.is_none() {
            self.held.parts.remove(&part);
        }
        self.batch().held.insert(part, rest);
    }

    /// What a read says about somebody who is kept back: the deactivation stays unpublished, being active ends the hold.
    pub(super) fn keep_back(&mut self, last: Option<&Published>, next: &mut User) {
        if self.held.kept(next.id).is_none() {
            return;
        }
        if next.active != Known::Value(false) {
            self.let_go(next.id);
        } else if self.held.kept(next.id) == Some(Kept::Removal) {
            // Seen, so not removed; and whether active or not is another question.
            self.let_go(next.id);
        } else if last.is_some_and(|person| person.head.active) {
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
                let record = record.clone();
                self.batch().held.insert(part, Some(record));
            }
        }
    }

    /// Members of released sets are read again, some at a time; who is still gone or inactive is published as such.
    pub(super) fn release_approved(&mut self, now: Timestamp) {
        if self.batches.iter().any(Batch::has_content) {
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

    /// How many of those who are kept back would be counted by this snapshot, too.
    pub(super) fn still_held(&self) -> u64 {
        self.held.members.len() as u64
    }
}

use super::Batch;
