//! What is recorded, one transaction at a time: at once when idle, together under load.
//!
//! **Invariant**: links in memory change only when the transaction that carries them is committed.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use usher_contract::{ChangeDeadLetter, Outcome, UserKey};

use super::{Batch, Effect, Lane, Stage};
use crate::logic::{
    link::Link,
    plan::{Accounts, Remote},
    retry::elapsed,
};

/// Results not committed yet.
#[derive(Debug, Default)]
pub(super) struct Commits {
    links: BTreeMap<UserKey, Entry>,
    outcomes: Vec<Outcome>,
    dead_letters: Vec<ChangeDeadLetter>,
    /// A commit is wanted although there may be nothing to record.
    asked: bool,
    flying: Option<Flying>,
    /// When the last successful commit *began*: a predecessor that was stopped in between must not think it younger.
    last: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    link: Link,
    intent: bool,
    renames: bool,
}

#[derive(Debug)]
struct Flying {
    links: BTreeMap<UserKey, Entry>,
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
    /// A result of a person.
    pub(super) fn record(
        &mut self,
        user: UserKey,
        link: Link,
        outcome: Outcome,
        dead_letter: Option<ChangeDeadLetter>,
        renames: bool,
    ) {
        self.links.insert(
            user,
            Entry {
                link,
                intent: false,
                renames,
            },
        );
        self.outcomes.push(outcome);
        self.dead_letters.extend(dead_letter);
    }
    /// A link without an outcome.
    pub(super) fn note(&mut self, user: UserKey, link: Link) {
        self.links.insert(
            user,
            Entry {
                link,
                intent: false,
                renames: false,
            },
        );
    }
    /// The intent to create.
    pub(super) fn intend(&mut self, user: UserKey, link: Link) {
        self.links.insert(
            user,
            Entry {
                link,
                intent: true,
                renames: false,
            },
        );
    }
    /// An outcome of the target itself.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }
    /// A commit is wanted in any case.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }
    /// Results that wait.
    pub(super) fn waiting(&self) -> usize {
        self.links.len()
    }
    /// Intents that are not committed yet.
    pub(super) fn intents(&self) -> usize {
        let flying = self.flying.iter().flat_map(|flying| flying.links.values());
        self.links.values().chain(flying).filter(|entry| entry.intent).count()
    }
    /// Whether the last commit is young enough to write under it.
    pub(super) fn young(&self, now: Timestamp, limit: Duration) -> bool {
        self.last.is_some_and(|last| now >= last && elapsed(last, now) <= limit)
    }
}

impl Lane {
    /// Hands out the next transaction when one is due and none is under way.
    pub(super) fn commit(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.commits.flying.is_some() {
            return;
        }
        let outstanding_since = self.outstanding_since(now);
        let commits = &mut self.commits;
        let empty = commits.links.is_empty() && commits.outcomes.is_empty();
        let last = self.draining && self.flights.is_empty() && empty;
        if empty && !commits.asked && !last {
            return;
        }
        commits.asked = false;
        self.record.at = now;
        self.record.released = last;
        self.record.outstanding_since = outstanding_since;
        let batch = Batch {
            links: commits
                .links
                .iter()
                .map(|(user, entry)| (*user, entry.link.clone()))
                .collect(),
            outcomes: std::mem::take(&mut commits.outcomes),
            dead_letters: std::mem::take(&mut commits.dead_letters),
            record: self.record.clone(),
        };
        commits.flying = Some(Flying {
            links: std::mem::take(&mut commits.links),
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
        if flying.last {
            self.drained = true;
            effects.push(Effect::Drained);
            return;
        }
        let (mut ask, mut renamed) = (Vec::new(), false);
        for (user, entry) in flying.links {
            let news = entry.link.remote_id.is_some() && self.links.account_of(&user) != entry.link.remote_id;
            self.links.put(user, Some(entry.link));
            renamed |= entry.renames;
            if news {
                // Whoever left this person's account out can be completed now.
                ask.extend(self.waiting_for.remove(&user).into_iter().flatten());
            }
            if entry.intent {
                self.stage(user, Stage::Resuming);
                self.queue.resuming.push_back((user, Remote::Absent));
            } else {
                self.links.release(&user);
                if let Some(slot) = self.slots.get_mut(&user) {
                    slot.stage = Stage::Recording;
                    self.place(user, now);
                }
            }
        }
        if renamed {
            self.retry_conflicts(now);
        }
        if !ask.is_empty() {
            effects.push(Effect::Ask(ask));
        }
    }

    /// A name was given up: whoever waits behind one tries at once.
    fn retry_conflicts(&mut self, now: Timestamp) {
        for user in std::mem::take(&mut self.conflicts) {
            if let Some(slot) = self.slots.get_mut(&user)
                && matches!(slot.stage, Stage::Delayed(_))
            {
                slot.again = true;
                self.place(user, now);
            }
        }
    }
}
