//! Who is next: ready people by rank and age, delayed ones by time, and those who go on after a look-up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use usher_contract::{UserChange, UserKey};

use super::{CLOCKS_APART, Glance, Lane, Mode, OUTSTANDING_EVERY, Slot, Stage};
use crate::logic::{
    link::LinkState,
    plan::{Action, Plan, Remote},
    retry::{after, elapsed},
};

/// The order of work. Deactivate first: [`Action`] is ordered that way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: BTreeSet<(Action, u64, UserKey)>,
    delayed: BTreeSet<(Timestamp, UserKey)>,
    /// Looked up, or allowed to create or take over: they go on before new ones begin.
    pub(super) resuming: Resuming,
    sequence: u64,
}

/// Those who go on after a look-up or a commit, with what was found; whoever has left first.
#[derive(Debug, Default)]
pub(super) struct Resuming {
    leavers: VecDeque<(UserKey, Remote)>,
    others: VecDeque<(UserKey, Remote)>,
}

impl Resuming {
    pub(super) fn push(&mut self, user: UserKey, remote: Remote, leaver: bool) {
        let line = if leaver { &mut self.leavers } else { &mut self.others };
        line.push_back((user, remote));
    }
    pub(super) fn pop(&mut self) -> Option<(UserKey, Remote)> {
        self.leavers.pop_front().or_else(|| self.others.pop_front())
    }
    pub(super) fn is_empty(&self) -> bool {
        self.leavers.is_empty() && self.others.is_empty()
    }
    pub(super) fn len(&self) -> usize {
        self.leavers.len() + self.others.len()
    }
    pub(super) fn has_leavers(&self) -> bool {
        !self.leavers.is_empty()
    }
    /// Somebody has left, or come back, while they waited to go on.
    pub(super) fn judge_again(&mut self, user: UserKey, leaver: bool) {
        let (from, to) = if leaver {
            (&mut self.others, &mut self.leavers)
        } else {
            (&mut self.leavers, &mut self.others)
        };
        let place = from.iter().position(|(waits, _)| *waits == user);
        to.extend(place.and_then(|place| from.remove(place)));
    }
}

impl Queue {
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(due, _)| *due)
    }
    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }
    pub(super) fn first_ready(&self) -> Option<(Action, UserKey)> {
        self.ready.first().map(|(action, _, user)| (*action, *user))
    }
    pub(super) fn all_ready(&self) -> Vec<(Action, UserKey)> {
        self.ready.iter().map(|(action, _, user)| (*action, *user)).collect()
    }
    pub(super) fn ready(&self) -> impl Iterator<Item = &UserKey> {
        self.ready.iter().map(|(_, _, user)| user)
    }
    fn make_ready(&mut self, action: Action, user: UserKey) -> Stage {
        self.sequence += 1;
        self.ready.insert((action, self.sequence, user));
        Stage::Ready(action, self.sequence)
    }
    pub(super) fn delay(&mut self, due: Timestamp, user: UserKey) -> Stage {
        self.delayed.insert((due, user));
        Stage::Delayed(due)
    }
    /// Takes a person out of the waiting lines.
    pub(super) fn forget(&mut self, user: UserKey, stage: &Stage) {
        match stage {
            Stage::Ready(action, sequence) => {
                self.ready.remove(&(*action, *sequence, user));
            }
            Stage::Delayed(due) => {
                self.delayed.remove(&(*due, user));
            }
            Stage::Looking | Stage::Intent | Stage::Resuming | Stage::Writing | Stage::Accused | Stage::Recording => {}
        }
    }
}

impl Lane {
    /// Takes note of the newest state of a person. An older one changes nothing.
    pub(super) fn consider(&mut self, change: Arc<UserChange>, again: bool, now: Timestamp) {
        let user = change.user.key();
        self.links.was_fed(&user);
        self.erased.remove(&user);
        // What is known about them cannot be read: whatever was done could be wrong.
        if self.links.is_unreadable(&user) {
            return;
        }
        // The link names a version that the table does not have yet: acting would undo something newer.
        if self.links.version(&user).is_some_and(|known| known > change.version) {
            self.behind.entry(user).or_insert(now);
            return;
        }
        self.behind.remove(&user);
        self.suspect(&change);
        if let Some(slot) = self.slots.get_mut(&user) {
            if change.version < slot.newest.version {
                return;
            }
            slot.newest = change;
            slot.again |= again;
            match slot.stage {
                Stage::Ready(..) | Stage::Delayed(_) => {}
                Stage::Resuming => {
                    let leaver = self.is_leaver(&user, now);
                    return self.queue.resuming.judge_again(user, leaver);
                }
                // Planned again when the step under way has ended.
                Stage::Looking | Stage::Intent | Stage::Writing | Stage::Accused | Stage::Recording => return,
            }
        } else {
            let (observed, stage) = (change.cause.observed_at, Stage::Recording);
            self.outstanding.0 = Some(self.outstanding.0.map_or(observed, |oldest| oldest.min(observed)));
            self.slots.insert(
                user,
                Slot {
                    newest: change,
                    observed,
                    since: now,
                    again,
                    fresh_intent: false,
                    woken: false,
                    stage,
                },
            );
            if self.commits.holds(&user) {
                // Erased and back while something about them is being recorded: they are placed when that is committed.
                return;
            }
        }
        self.place(user, now);
    }

    /// Goes on with somebody as soon as there is a place; whoever has left goes first, and may use what is kept for them.
    /// `planned` is the version that was planned last, and whether that was about leaving.
    pub(super) fn go_on(&mut self, user: UserKey, found: Remote, planned: (u64, bool), now: Timestamp) {
        let newest = self.slots.get(&user).map(|slot| slot.newest.version);
        // Nearly always it is the newest, and need not be planned once more.
        let leaver = if newest == Some(planned.0) {
            planned.1
        } else {
            self.is_leaver(&user, now)
        };
        self.stage(user, Stage::Resuming);
        self.queue.resuming.push(user, found, leaver);
    }

    /// Whether the newest state of somebody under way wants the account off.
    fn is_leaver(&self, user: &UserKey, now: Timestamp) -> bool {
        self.slots.get(user).is_some_and(|slot| {
            let plan = self.plan(&slot.newest, &Remote::NotLooked, slot.again, now);
            is_about_leaving(&plan)
        })
    }

    /// A predecessor that died may have written a state newer than the one that the link names. Should the person by
    /// now be as the link says again, the link would wrongly find nothing to do: then it is doubted and everything is
    /// written once. Only states from about the time of its death are concerned; everybody else's link is right.
    fn suspect(&mut self, change: &UserChange) {
        let user = change.user.key();
        if !self.links.glance(&user).is_some_and(Glance::is_linked) {
            return;
        }
        let known = self.links.version(&user).unwrap_or_default();
        let recent = |since| after(change.cause.observed_at, CLOCKS_APART) >= since;
        if !self.all_fed && self.unrecorded_since.is_some_and(recent) {
            match change.version - known {
                0 => {}
                1 => {
                    self.suspects.insert(user, change.version);
                }
                _ => {
                    self.doubtful.insert(user);
                }
            }
        } else if self
            .suspects
            .get(&user)
            .is_some_and(|suspect| *suspect < change.version)
        {
            self.suspects.remove(&user);
            self.doubtful.insert(user);
        }
    }

    /// When the oldest outstanding state was observed: exact at times, never too late.
    pub(super) fn outstanding_since(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.slots.is_empty() || elapsed(self.outstanding.1, now) >= OUTSTANDING_EVERY {
            self.outstanding = (self.slots.values().map(|slot| slot.observed).min(), now);
        }
        self.outstanding.0
    }

    /// Since when a predecessor may have written without recording it, while that is not cleared for everybody.
    pub(super) fn doubts_since(&self) -> Option<Timestamp> {
        let cleared = self.all_fed && self.suspects.is_empty() && self.doubtful.is_empty();
        self.unrecorded_since.filter(|_| !cleared)
    }

    /// Plans a person who is not under way and puts them where they belong.
    pub(super) fn place(&mut self, user: UserKey, now: Timestamp) {
        let Some(mut slot) = self.slots.remove(&user) else {
            return;
        };
        self.queue.forget(user, &slot.stage);
        if self.ended_by_erasure(user) {
            return;
        }
        let plan = self.plan(&slot.newest, &Remote::NotLooked, slot.again, now);
        // Until it is settled that nothing is to be done.
        self.links.stir(&user);
        self.due.set(user, plan.next_change);
        self.note_groups(&slot.newest, &plan, slot.again, now);
        // What is not done in this mode is counted: nothing is asked in `observe`, nothing is written in `link`.
        let done = match self.target.mode {
            Mode::Enforce => true,
            Mode::Link => plan.action == Action::Look || !plan.action.acts(),
            Mode::Observe | Mode::Off => false,
        };
        if !done {
            let action = if plan.action == Action::Noop && !plan.group_changes.is_empty() {
                Action::SetGroups
            } else {
                plan.action
            };
            if action == Action::Noop {
                self.observed.remove(&user);
            } else {
                self.observed.insert(user, action);
            }
            return;
        }
        self.observed.remove(&user);
        if !plan.action.acts() {
            self.slots.insert(user, slot);
            self.settle(user, plan, now);
            return;
        }
        self.undecided.remove(&user);
        self.skipped.remove(&user);
        if plan.kept {
            self.kept.insert(user);
        } else {
            self.kept.remove(&user);
        }
        if self.is_held(&user, &plan) {
            // Waits for an operator; a newer state is planned again and may want something else.
            return;
        }
        slot.stage = match self.next_try(&user, &plan).filter(|due| *due > now && !slot.again) {
            Some(due) => self.queue.delay(due, user),
            None => {
                // Somebody who has left goes first also when the account has to be found first.
                let leaver = is_about_leaving(&plan);
                self.queue
                    .make_ready(if leaver { Action::Deactivate } else { plan.action }, user)
            }
        };
        self.slots.insert(user, slot);
    }

    /// A retry of the same wish waits; a newer wish replaces it.
    fn next_try(&self, user: &UserKey, plan: &Plan) -> Option<Timestamp> {
        if self.links.glance(user)?.is_settled() {
            return None;
        }
        match self.links.get(user)?.state {
            LinkState::Retrying { desired, next_try, .. } if desired == plan.desired => Some(next_try),
            _ => None,
        }
    }

    /// Delayed people whose time has come.
    pub(super) fn wake_delayed(&mut self, now: Timestamp) {
        while let Some((due, user)) = self.queue.delayed.first().copied() {
            if due > now {
                return;
            }
            // Removed first: a person who is not in a slot any more must not keep the line busy.
            self.queue.delayed.remove(&(due, user));
            self.place(user, now);
        }
    }

    /// Puts somebody back whose step could not be carried through for a reason that is not theirs.
    pub(super) fn put_back(&mut self, user: UserKey, now: Timestamp) {
        self.links.release(&user);
        self.unpass(user);
        if let Some(slot) = self.slots.get_mut(&user) {
            slot.stage = Stage::Recording;
        }
        self.place(user, now);
    }

    /// Takes somebody out of the waiting lines; the stage is set by the caller.
    pub(super) fn forget_in_queue(&mut self, user: UserKey) {
        if let Some(slot) = self.slots.get_mut(&user) {
            let stage = std::mem::replace(&mut slot.stage, Stage::Recording);
            self.queue.forget(user, &stage);
        }
    }

    /// Remembers who waits for whose account.
    pub(super) fn remember_missing(&mut self, user: UserKey, missing: &[UserKey]) {
        for manager in missing {
            self.waiting_for.entry(*manager).or_default().insert(user);
        }
    }
}

/// Whether somebody is got out by this: the account is switched off, or looked for to be switched off.
pub(super) fn is_about_leaving(plan: &Plan) -> bool {
    plan.action == Action::Deactivate || (plan.action == Action::Look && !plan.active)
}
