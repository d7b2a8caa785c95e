//! What is recorded, one transaction at a time: at once when idle, together under load.
//!
//! **Invariant**: links in memory change only when the transaction that carries them is committed.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use usher_contract::{ChangeDeadLetter, Outcome, UserKey};

use super::{Batch, Effect, Lane, Stage};
use crate::logic::{
    groups::Records,
    link::{Link, LinkState},
    plan::Remote,
    retry::elapsed,
};

/// People in one transaction, each with a link, an outcome and perhaps a dead letter. Larger: fewer commits while many
/// are settled at once; smaller: a transaction that surely ends before its time-out and the lease.
const BATCH_PEOPLE_MAX: usize = 1000;

/// Results not committed yet.
#[derive(Debug, Default)]
pub(super) struct Commits {
    people: BTreeMap<UserKey, Entry>,
    /// Intents among them: counted, because it is asked before each start.
    intents: usize,
    /// Outcomes of the target itself.
    outcomes: Vec<Outcome>,
    /// A commit is wanted although there may be nothing to record.
    asked: bool,
    flying: Option<Flying>,
    told: Told,
    /// When the last successful commit *began*: a predecessor that was stopped in between must not think it younger.
    last: Option<Timestamp>,
}

/// What is recorded about a person: in one transaction, so it is cut between people only.
#[derive(Debug)]
struct Entry {
    link: Link,
    outcomes: Vec<Outcome>,
    dead_letters: Vec<ChangeDeadLetter>,
    /// An intent, with what the look-up has shown: they go on with it.
    intent: Option<Remote>,
    renames: bool,
    /// Nothing but notices: whoever is under way goes on.
    only_notices: bool,
}

/// The ids of outcomes of the last moments: several of one moment may be about the same.
#[derive(Debug, Default)]
struct Told {
    ids: BTreeMap<String, u32>,
    /// Those of the minute before.
    before: BTreeMap<String, u32>,
    since: Option<Timestamp>,
}

impl Told {
    /// Numbers those that would have the id of another: subscribers take two of one id for one.
    fn apart(&mut self, outcomes: &mut [Outcome]) {
        for outcome in outcomes {
            // An id holds its time: what was told long ago has another one.
            if self
                .since
                .is_none_or(|since| elapsed(since, outcome.at) > Duration::from_secs(60))
            {
                self.before = std::mem::take(&mut self.ids);
                self.since = Some(outcome.at);
            }
            let before = self.before.get(&outcome.id).copied().unwrap_or(0);
            let number = self.ids.entry(outcome.id.clone()).or_insert(before);
            *number += 1;
            if *number > 1 {
                outcome.id = format!("{}/{number}", outcome.id);
            }
        }
    }
}

#[derive(Debug)]
struct Flying {
    people: BTreeMap<UserKey, Entry>,
    intents: usize,
    began: Timestamp,
    last: bool,
}

impl Commits {
    /// Nothing to record, and a commit is wanted.
    pub(super) fn asked() -> Self {
        Self {
            asked: true,
            ..Self::default()
        }
    }
    fn put(&mut self, user: UserKey, link: Link, intent: Option<Remote>) -> &mut Entry {
        let entry = self.people.entry(user).or_insert_with(|| Entry {
            link: link.clone(),
            outcomes: vec![],
            dead_letters: vec![],
            intent: None,
            renames: false,
            only_notices: false,
        });
        entry.link = link;
        self.intents += usize::from(intent.is_some());
        self.intents -= usize::from(entry.intent.is_some());
        entry.intent = intent;
        entry
    }
    /// A result of a person.
    pub(super) fn record(
        &mut self,
        user: UserKey,
        link: Link,
        outcome: Outcome,
        dead_letter: Option<ChangeDeadLetter>,
        renames: bool,
    ) {
        let entry = self.put(user, link, None);
        entry.outcomes.push(outcome);
        entry.dead_letters.extend(dead_letter);
        entry.renames |= renames;
    }
    /// A link without an outcome.
    pub(super) fn note(&mut self, user: UserKey, link: Link) {
        self.put(user, link, None);
    }
    /// The intent to create or to take over what was found.
    pub(super) fn intend(&mut self, user: UserKey, link: Link, found: Remote) {
        self.put(user, link, Some(found));
    }
    /// An outcome of the target itself.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }
    /// A commit is wanted in any case.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }
    /// The same on a condition.
    pub(super) fn ask_if(&mut self, wanted: bool) {
        self.asked |= wanted;
    }
    /// Results that wait.
    pub(super) fn waiting(&self) -> usize {
        self.people.len()
    }
    /// Whether something about this person is not committed yet.
    pub(super) fn holds(&self, user: &UserKey) -> bool {
        let flying = |flying: &Flying| flying.people.get(user).is_some_and(|entry| !entry.only_notices);
        self.people.contains_key(user) || self.flying.as_ref().is_some_and(flying)
    }
    /// Whether somebody is about to become a member of this held set.
    pub(super) fn holds_for(&self, set: &str) -> bool {
        let joins = |entry: &Entry| matches!(&entry.link.state, LinkState::Held { set: held, .. } if held == set);
        let flying = self.flying.iter().flat_map(|flying| flying.people.values());
        self.people.values().chain(flying).any(joins)
    }
    /// Intents that are not committed yet.
    pub(super) fn intents(&self) -> usize {
        self.intents + self.flying.as_ref().map_or(0, |flying| flying.intents)
    }
    /// Whether the last commit is young enough to write under it.
    pub(super) fn young(&self, now: Timestamp, limit: Duration) -> bool {
        self.last.is_some_and(|last| now >= last && elapsed(last, now) <= limit)
    }
    /// Takes what fits into one transaction, and how many intents that is. Whoever is in `along` is taken in any case.
    fn take<'a>(&mut self, along: impl Iterator<Item = &'a UserKey>) -> (BTreeMap<UserKey, Entry>, usize) {
        let mut rest = match self.people.keys().nth(BATCH_PEOPLE_MAX).copied() {
            Some(first) => self.people.split_off(&first),
            None => BTreeMap::new(),
        };
        for user in along {
            self.people.extend(rest.remove_entry(user));
        }
        let left = intents(&rest);
        let taken = std::mem::replace(&mut self.intents, left) - left;
        (std::mem::replace(&mut self.people, rest), taken)
    }
}

fn intents(people: &BTreeMap<UserKey, Entry>) -> usize {
    people.values().filter(|entry| entry.intent.is_some()).count()
}

impl Lane {
    /// Hands out the next transaction when one is due and none is under way.
    pub(super) fn commit(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.commits.flying.is_some() {
            return;
        }
        self.tidy_guard(now);
        self.forget_idle_notices();
        let (outstanding, doubts) = (self.outstanding_since(now), self.doubts_since());
        let commits = &mut self.commits;
        let Records { groups, memberships } = self.links.groups.take_records(BATCH_PEOPLE_MAX);
        let about_groups = !groups.is_empty() || !memberships.is_empty();
        let about_people = !commits.people.is_empty() || !self.notifying.is_recorded();
        let empty = !about_people && commits.outcomes.is_empty() && !about_groups;
        let last = self.draining && self.flights.is_empty() && self.notifying.is_idle() && empty;
        if empty && !commits.asked && !last {
            return;
        }
        commits.asked = false;
        self.record.at = now;
        self.record.day = self.target.pace.per_day.map(|_| self.pacer.used());
        self.record.rests_until = self.pacer.rests_until(now);
        self.record.released = last;
        // Who hands back has nothing under way: only doubts that it took over itself are left.
        let outstanding = outstanding.filter(|_| !last);
        self.record.outstanding_since = outstanding.into_iter().chain(doubts).min();
        let (mut people, intents) = commits.take(self.notifying.unrecorded());
        for user in self.notifying.unrecorded() {
            // What was told and nothing else: over the link as it is.
            if let Some(link) = self.links.get(user) {
                people.entry(*user).or_insert_with(|| Entry {
                    link,
                    outcomes: vec![],
                    dead_letters: vec![],
                    intent: None,
                    renames: false,
                    only_notices: true,
                });
            }
        }
        for (user, entry) in &mut people {
            // **Invariant**: every link that is written carries the newest notices, whatever it was made from.
            self.notifying
                .stamp(user, self.links.get(user).as_ref(), &mut entry.link);
        }
        let mut batch = Batch {
            links: Vec::with_capacity(people.len()),
            groups,
            memberships,
            outcomes: std::mem::take(&mut commits.outcomes),
            dead_letters: vec![],
            record: self.record.clone(),
        };
        for (user, entry) in &mut people {
            batch.links.push((*user, entry.link.clone()));
            batch.outcomes.append(&mut entry.outcomes);
            batch.dead_letters.append(&mut entry.dead_letters);
        }
        commits.told.apart(&mut batch.outcomes);
        commits.flying = Some(Flying {
            people,
            intents,
            began: now,
            last,
        });
        effects.push(Effect::Commit(Box::new(batch)));
    }

    /// The transaction is committed: now it is true.
    pub(super) fn committed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(flying) = self.commits.flying.take() else {
            return;
        };
        self.commits.last = Some(flying.began);
        self.links.groups.committed();
        if flying.last {
            self.drained = true;
            effects.push(Effect::Drained);
            return;
        }
        let (mut ask, mut again, mut renamed) = (Vec::new(), Vec::new(), false);
        for (user, entry) in flying.people {
            let before = self.links.get(&user);
            self.notifying.recorded(user, before.as_ref(), &entry.link);
            let before = before.and_then(|link| link.remote_id);
            if entry.only_notices {
                self.links.put(user, Some(entry.link));
                continue;
            }
            // Only somebody who had an account gives a name up: new accounts take names.
            renamed |= entry.renames && before.is_some();
            if entry.link.active != Some(true) || entry.link.remote_id.is_none() {
                again.extend(self.claimants.remove(&user).into_iter().flatten());
            }
            let news = entry.link.remote_id.is_some() && (entry.renames || before != entry.link.remote_id);
            let version = entry.link.user_version;
            self.links.put(user, Some(entry.link));
            if news {
                // Whoever left this person's account, or its name, out can be completed now.
                ask.extend(self.waiting_for.remove(&user).into_iter().flatten());
            }
            if let Some(found) = entry.intent.filter(|_| self.circuit.is_closed()) {
                // Whoever leaves intends nothing.
                self.go_on(user, found, (version, false), now);
            } else {
                // With the circuit open also whoever has an intent: by the time it closes, what was found is old.
                self.links.release(&user);
                if self.slots.contains_key(&user) {
                    // Whose link became void while they waited in line: nobody stays there without a slot.
                    self.forget_in_queue(user);
                    self.place(user, now);
                } else if self.erased.contains(&user) {
                    self.to_report.insert(user);
                }
            }
        }
        if renamed {
            self.retry_conflicts(now);
        }
        if !ask.is_empty() {
            effects.push(Effect::Ask(ask));
        }
        if !again.is_empty() {
            effects.push(Effect::Again(again));
        }
    }

    /// A name was given up: whoever waits behind one tries at once.
    fn retry_conflicts(&mut self, now: Timestamp) {
        for user in std::mem::take(&mut self.conflicts) {
            if let Some(slot) = self.slots.get_mut(&user)
                && matches!(slot.stage, Stage::Delayed(_))
            {
                slot.again = true;
                slot.woken = true;
                self.place(user, now);
            }
        }
    }
}
