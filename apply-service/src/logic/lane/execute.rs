//! Starting operations: who, in which order, under which conditions.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use usher_contract::{UserChange, UserKey};

use super::{
    COMMIT_YOUNG, Effect, FirstSync, Flight, Lane, Mode, OperationId, RESULTS_MAX, Stage, pace::Waits, results::Failed,
};
use crate::{
    connector::{Operation, Refusal},
    logic::{
        account::AttributePath,
        link::Link,
        map::{Others, Wanted, map},
        plan::{Accounts, Action, Plan, Remote},
        policy::{MatchKey, USER_NAME, WORK_EMAIL},
    },
};

/// People between look-up and creation, per operation that may be under way. Their intents share a commit: larger
/// means fewer commits during a first load and look-ups that are a commit or two older.
const BETWEEN_MAX: usize = 16;

impl Lane {
    /// Starts what may start now.
    pub(super) fn dispatch(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.paced = None;
        let looks = matches!(self.target.mode, Mode::Enforce | Mode::Link);
        if self.draining || !looks || self.record.paused.is_some() || self.moved {
            return;
        }
        if !self.circuit.is_closed() {
            // Leavers wait for it as well: it may take what is kept for them.
            if self.circuit.is_probe_due(now) && self.may_start(true, now) && self.circuit.probe(now) {
                let id = self.take_off(Flight::Probe);
                effects.push(Effect::Execute(id, Operation::Check));
            }
            return;
        }
        if !self.accused.is_empty() {
            // Short: one harmless request. Others would likely be refused as well, or are served right afterwards.
            if !self.trial && self.may_start(true, now) {
                self.trial = true;
                let id = self.take_off(Flight::Trial);
                effects.push(Effect::Execute(id, Operation::Check));
            }
            return;
        }
        if self.is_listing(now, effects) || self.batch || self.record.first_sync_waits {
            return;
        }
        while self.busy() < self.target.pace.concurrency && self.unrecorded() < RESULTS_MAX {
            let leaver = self
                .queue
                .first_ready()
                .filter(|(action, _)| *action == Action::Deactivate);
            // People between look-up and creation hold a place without holding a connection: bounded as well.
            let between = self.queue.resuming.len() + self.commits.intents();
            // Whoever is between look-up and creation: what is removed for good can wait for them.
            let others_come_first = between > 0 || self.looks > 0;
            let leaver_goes_on = self.queue.resuming.has_leavers();
            let next = match (leaver, self.queue.resuming.is_empty()) {
                _ if leaver_goes_on => Next::Resume,
                (Some((_, user)), _) => Next::Begin(user),
                (None, false) => Next::Resume,
                (None, true) if between >= BETWEEN_MAX.saturating_mul(self.target.pace.concurrency) => return,
                (None, true) => match self.queue.first_ready() {
                    Some((action, user)) if action < Action::SetGroups => Next::Begin(user),
                    Some((Action::Delete, _)) if others_come_first && !self.groups_are_next(now) => return,
                    Some((_, user)) if !self.groups_are_next(now) => Next::Begin(user),
                    None if !self.groups_are_next(now) => return,
                    Some(_) | None => Next::Group,
                },
            };
            if !self.commits.young(now, COMMIT_YOUNG) {
                // No write under an old commit: a successor may have taken over.
                self.commits.ask();
                return;
            }
            let leaves = leaver_goes_on || leaver.is_some();
            if !self.may_start(leaves, now) {
                return;
            }
            let before = effects.len();
            match next {
                Next::Begin(user) => self.begin(user, now, effects),
                Next::Group if self.begin_group(now, effects) => {}
                // Nothing is to be done about groups after all.
                Next::Group => match self.queue.first_ready() {
                    Some((action, user)) if action != Action::Delete || !others_come_first => {
                        self.begin(user, now, effects);
                    }
                    Some(_) | None => {
                        self.pacer.give_back();
                        return;
                    }
                },
                Next::Resume => {
                    if let Some((user, remote)) = self.queue.resuming.pop() {
                        self.resume(user, &remote, now, effects);
                    }
                }
            }
            if effects.len() == before {
                // Settled without asking the target: the start was not used.
                self.pacer.give_back();
            }
        }
    }

    /// Takes a start from the pace; when there is none, the lane is woken when there is.
    fn may_start(&mut self, leaver: bool, now: Timestamp) -> bool {
        match self.pacer.take(leaver, now) {
            Ok(()) => true,
            Err(Waits::Until(until) | Waits::NextDay(until)) => {
                self.paced = Some(until);
                false
            }
        }
    }

    /// The first look at the application. True while it lasts: nobody is written before it is over.
    fn is_listing(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let due = match &self.first {
            FirstSync::Done => return false,
            FirstSync::Listing {
                under_way, next_try, ..
            } => self.all_fed && !*under_way && now >= *next_try,
        };
        if due
            && self.may_start(false, now)
            && let FirstSync::Listing { cursor, under_way, .. } = &mut self.first
        {
            *under_way = true;
            let cursor = cursor.clone();
            let id = self.take_off(Flight::Page);
            effects.push(Effect::Execute(id, Operation::List { cursor }));
        }
        true
    }

    pub(super) fn take_off(&mut self, flight: Flight) -> OperationId {
        let id = self.next_operation;
        self.next_operation += 1;
        match &flight {
            Flight::Look(..) => self.looks += 1,
            Flight::Write(..) => self.writes += 1,
            Flight::Group(..) | Flight::Invite(..) | Flight::DriftPage => self.others += 1,
            // Nothing begins beside them, and at least what they come from has ended.
            Flight::Page | Flight::Probe | Flight::Trial => {}
        }
        self.flights.insert(id, flight);
        id
    }

    /// Begins with somebody who waited. Planned again: what they wait for may have changed meanwhile.
    fn begin(&mut self, user: UserKey, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(&user) else {
            return;
        };
        let stage = std::mem::replace(&mut slot.stage, Stage::Recording);
        self.queue.forget(user, &stage);
        self.carry_out(user, &Remote::NotLooked, now, effects);
    }

    /// Goes on with somebody who was looked up, or whose intent is committed.
    fn resume(&mut self, user: UserKey, remote: &Remote, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.slots.contains_key(&user) {
            self.carry_out(user, remote, now, effects);
        }
    }

    fn carry_out(&mut self, user: UserKey, remote: &Remote, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.ended_by_erasure(user) {
            return;
        }
        let Some(slot) = self.slots.get(&user) else {
            return;
        };
        let change = Arc::clone(&slot.newest);
        let plan = self.plan(&change, remote, slot.again, now);
        // A newer state that came while this person was looked up may change its answer at another time than the one before.
        self.due.set(user, plan.next_change);
        self.remember_missing(user, &plan.missing);
        if self.target.mode == Mode::Link && plan.action.acts() && plan.action != Action::Look {
            self.link_only(user, plan, remote, &change, now);
            return;
        }
        if let Some(holder) = plan.takes_from
            && (self.slots.contains_key(&holder) || self.commits.holds(&holder))
        {
            // Something is being done for the earlier record: a moment later it is clear whose account it is.
            let refusal = Refusal {
                code: "match-claimed".to_owned(),
                reason: format!("something is being done for {holder}, who holds the account"),
            };
            return self.failed(
                user,
                &plan,
                &change,
                Failed::Conflict(refusal),
                std::time::Duration::ZERO,
                now,
                0.5,
            );
        }
        let operation = match plan.action {
            Action::Look => {
                let operation = self.look_up(&change);
                self.stage(user, Stage::Looking);
                let id = self.take_off(Flight::Look(user, plan, change));
                effects.push(Effect::Execute(id, operation));
                return;
            }
            Action::Create | Action::Adopt | Action::Relink
                if !plan.values.is_empty() && (!self.intends(&user) || self.lacks_notices(&user, &plan, &change)) =>
            {
                // One that is on the books already may be of a request whose answer was lost.
                let fresh = !self.intends(&user);
                self.intend_notices(user, &plan, &change, now);
                // Committed before the request: should the answer be lost and the person leave, the account is found.
                let mut link = self
                    .links
                    .get(&user)
                    .unwrap_or_else(|| Link::unlinked(change.version, self.target.hash));
                link.create_intent = true;
                link.user_version = change.version;
                if let Some(account) = &plan.account {
                    self.links.reserve(account, user);
                }
                if let Some(slot) = self.slots.get_mut(&user) {
                    slot.fresh_intent |= fresh;
                }
                self.stage(user, Stage::Intent);
                self.commits.intend(user, link, remote.clone());
                return;
            }
            Action::Create => Operation::Create {
                values: plan.values.clone(),
            },
            Action::Adopt if plan.values.is_empty() => {
                if let Some(account) = plan.account.clone() {
                    self.links.reserve(&account, user);
                    self.succeeded(user, &plan, &change, &account, None, std::time::Duration::ZERO, now);
                }
                return;
            }
            Action::Adopt | Action::Relink | Action::Update | Action::Deactivate | Action::Reactivate => {
                match plan.account.clone() {
                    Some(id) => {
                        self.links.reserve(&id, user);
                        Operation::Update {
                            id,
                            values: plan.values.clone(),
                            etag: None,
                        }
                    }
                    // **Invariant**: every plan that acts on an account names it; without one there is nothing to do.
                    None => return self.settle(user, plan, now),
                }
            }
            Action::Delete => match plan.account.clone() {
                Some(id) => Operation::Delete(id),
                None => return self.settle(user, plan, now),
            },
            Action::SetGroups | Action::Noop | Action::Wait | Action::Skip => return self.settle(user, plan, now),
        };
        match self.pass(user, &plan, now) {
            Ok(pass) => {
                if let Some((budget, pass)) = plan.budget().zip(pass) {
                    self.passes.insert(user, (budget, pass));
                }
            }
            Err(over) => {
                self.links.release(&user);
                self.hold_one(user, over, now);
                return;
            }
        }
        self.stage(user, Stage::Writing);
        let id = self.take_off(Flight::Write(user, plan, change));
        effects.push(Effect::Execute(id, operation));
    }

    /// In `link`: an account that was found is theirs from now on, and stays as it is. Everything else is counted.
    fn link_only(&mut self, user: UserKey, mut plan: Plan, remote: &Remote, change: &UserChange, now: Timestamp) {
        let account = plan.account.clone().filter(|_| plan.action == Action::Adopt);
        let Some(account) = account else {
            self.observed.insert(user, plan.action);
            self.links.release(&user);
            self.slots.remove(&user);
            return;
        };
        let on = match remote {
            Remote::Found(found) => found
                .iter()
                .find(|seen| seen.id == account)
                .and_then(|seen| seen.active),
            Remote::NotLooked | Remote::Absent => None,
        };
        plan.values.clear();
        plan.changed.clear();
        plan.active = on.unwrap_or(true);
        plan.reasons.push("linked only: mode is link".to_owned());
        self.links.reserve(&account, user);
        self.succeeded(user, &plan, change, &account, None, std::time::Duration::ZERO, now);
    }

    fn intends(&self, user: &UserKey) -> bool {
        self.links.get(user).is_some_and(|link| link.create_intent)
    }

    pub(super) fn stage(&mut self, user: UserKey, stage: Stage) {
        if let Some(slot) = self.slots.get_mut(&user) {
            slot.stage = stage;
        }
    }

    /// The look-up of a person: our key first, then the attributes of `match.by` that have a value.
    fn look_up(&self, change: &UserChange) -> Operation {
        look_up(&self.match_values(change))
    }

    /// The values that a person is matched by, in order.
    pub(super) fn match_values(&self, change: &UserChange) -> Vec<(MatchKey, String)> {
        match_values(change, &self.target, &self.links)
    }
}

/// The values that a person is matched by, in order.
pub(crate) fn match_values(
    change: &UserChange,
    target: &crate::logic::policy::TargetPolicy,
    accounts: &dyn Accounts,
) -> Vec<(MatchKey, String)> {
    // Nobody is matched by what somebody else holds.
    let others = Others {
        account_of: &|key| accounts.account_of(key),
        holds: &|_, _| false,
        people: &(),
    };
    let mapped = map(&change.user, target, others);
    let value = |path: &str| match mapped.get(path) {
        Some(Wanted::Value(Value::String(text))) => Some(text.clone()),
        _ => None,
    };
    let of = |key: &MatchKey| match key {
        MatchKey::ExternalId => Some(change.user.id.to_string()),
        MatchKey::UserName => value(USER_NAME),
        MatchKey::Email => value(WORK_EMAIL),
    };
    target
        .matching
        .by
        .iter()
        .filter_map(|key| of(key).map(|value| (*key, value)))
        .collect()
}

/// The operation that looks by these values.
pub(crate) fn look_up(values: &[(MatchKey, String)]) -> Operation {
    let mut external_id = String::new();
    let mut by = Vec::new();
    for (key, value) in values {
        match key {
            MatchKey::ExternalId => external_id.clone_from(value),
            MatchKey::UserName => by.push((AttributePath(USER_NAME.to_owned()), value.clone())),
            MatchKey::Email => by.push((AttributePath(WORK_EMAIL.to_owned()), value.clone())),
        }
    }
    Operation::Find { external_id, by }
}

enum Next {
    Begin(UserKey),
    Resume,
    /// A step of a group: after everything about accounts but deleting them.
    Group,
}

impl Plan {
    /// Whether what is written names the account: others may wait for a name that this one gives up.
    pub(super) fn renames(&self) -> bool {
        self.changed.iter().any(crate::logic::policy::is_identifier)
    }
}
