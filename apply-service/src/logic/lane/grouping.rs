//! Groups in the lane: after everything about accounts but deleting them, with the same pace, circuit and commits.
//!
//! A step of a group concerns many people at once, so it takes no slot of theirs. It leaves out whoever has something
//! done for their account at that moment; somebody who leaves meanwhile does not wait for it.

use jiff::Timestamp;
use usher_contract::{Outcome, OutcomeResult, StateHash, UserChange, UserKey};

use super::{
    Answer, Effect, FirstSync, Flight, Lane, Mode, Stage,
    results::{LEASE_OVER, TOO_MANY, UNREACHABLE},
};
use crate::{
    connector::{Failure, Refusal},
    logic::{
        groups::{Around, Ending, GroupNo, News, Next, What},
        guard::Budget,
        plan::{Accounts, Action, Plan},
    },
};

impl Lane {
    /// Results and records that wait to be committed.
    pub(super) fn unrecorded(&self) -> usize {
        self.commits.waiting() + self.links.groups.unrecorded()
    }

    /// Takes note of the groups in which somebody is to be, once they have an account.
    pub(super) fn note_groups(&mut self, change: &UserChange, plan: &Plan, again: bool, now: Timestamp) {
        let target = std::sync::Arc::clone(&self.target);
        let Some(rules) = target.groups.as_ref().filter(|_| target.mode == Mode::Enforce) else {
            return;
        };
        let user = change.user.key();
        match self.links.account_of(&user) {
            Some(account) => {
                let state = (change.version, change.cause.observed_at);
                self.links
                    .groups
                    .want(user, &account, state, plan.groups.as_ref(), rules, again, now);
            }
            None => self.links.groups.unwant(user),
        }
    }

    /// The account is on again, or another one's: what it is in is not certain.
    pub(super) fn doubt_groups(&mut self, user: UserKey, action: Action) {
        let target = std::sync::Arc::clone(&self.target);
        if let Some(rules) = &target.groups
            && matches!(action, Action::Reactivate | Action::Adopt | Action::Relink)
        {
            self.links.groups.doubt(user, rules);
        }
    }

    /// When something about groups is due.
    pub(super) fn next_group(&self) -> Option<Timestamp> {
        let works = self.target.groups.is_some() && self.target.mode == Mode::Enforce;
        let waits = self.batch || self.record.first_sync_waits || !matches!(self.first, FirstSync::Done);
        let open = works && !waits && self.circuit.is_closed();
        self.links.groups.next_due().filter(|_| open)
    }

    /// Groups whose time has come wait for their turn from now on, however long others keep the places.
    pub(super) fn wake_groups(&mut self, now: Timestamp) {
        if self.target.groups.is_some() && self.target.mode == Mode::Enforce {
            self.links.groups.wake(now);
        }
    }

    /// Whether a step of a group may come next.
    pub(super) fn groups_are_next(&mut self, now: Timestamp) -> bool {
        self.target.groups.is_some() && self.target.mode == Mode::Enforce && self.links.groups.is_ready(now)
    }

    fn next_group_step(&mut self, now: Timestamp) -> Option<Next> {
        let target = std::sync::Arc::clone(&self.target);
        let rules = target.groups.as_ref().filter(|_| target.mode == Mode::Enforce)?;
        let allowance = self.allowed(Budget::InferredRemovals, now);
        let (slots, record) = (&self.slots, &self.record);
        let around = Around {
            rules,
            guard: &target.guard,
            every: target.reconcile,
            busy: &|user| {
                let stage = slots.get(user).map(|slot| &slot.stage);
                stage.is_some_and(|stage| !matches!(stage, Stage::Ready(..) | Stage::Delayed(_)))
            },
            is_released: &|set| record.held.get(set).is_some_and(|set| set.approved.is_some()),
            allowance,
            now,
        };
        self.links.groups.next(&around)
    }

    /// Begins the next step of a group; false when there is none after all.
    pub(super) fn begin_group(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        while let Some(next) = self.next_group_step(now) {
            if self.carry_out_step(next, now, effects) {
                return true;
            }
        }
        false
    }

    /// Whether the target is asked something.
    fn carry_out_step(&mut self, next: Next, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        match next {
            Next::Start {
                group,
                operation,
                allowed,
            } => {
                for _ in 0..allowed {
                    if let Some(index) = self.allowance(Budget::InferredRemovals, now) {
                        self.record.allowances[index].used += 1;
                    }
                }
                let id = self.take_off(Flight::Group(group, operation.is_write()));
                effects.push(Effect::Execute(id, operation));
                return true;
            }
            Next::Hold {
                group,
                name,
                users,
                over,
            } => {
                let set = self.new_set(over, now, false);
                if let Some(held) = self.record.held.get_mut(&set) {
                    held.reason = format!("members of group {name}: {}", held.reason);
                }
                self.links.groups.hold(group, &users, &set);
                for user in users {
                    let words = format!("leave group {name}: held as a member of {set}");
                    let id = format!("{}/{user}/leave/{set}", self.target.name);
                    let outcome = self.remark(id, Action::SetGroups.as_str(), OutcomeResult::Held, vec![words], now);
                    self.commits.tell(Outcome {
                        user: Some(user),
                        ..outcome
                    });
                }
            }
            Next::Refeed(users) => effects.push(Effect::Ask(users)),
        }
        false
    }

    /// A step of a group has ended.
    pub(super) fn group_ended(&mut self, group: GroupNo, result: Result<Answer, Failure>, now: Timestamp, random: f64) {
        let result = match result {
            Err(Failure::Halt(refusal)) => {
                self.links.groups.put_back(group, now);
                return self.trip(refusal, now, random);
            }
            Err(Failure::Retry(refusal, _)) if refusal.code == UNREACHABLE => {
                self.links.groups.put_back(group, now);
                return self.trip(refusal, now, random);
            }
            Err(Failure::Retry(refusal, _)) if refusal.code == LEASE_OVER => {
                self.links.groups.put_back(group, now);
                return self.commits.ask();
            }
            Err(Failure::Retry(refusal, asked)) => {
                if refusal.code != TOO_MANY && self.circuit.failed(&refusal, &self.target.retry, now, random) {
                    self.tripped(&refusal, now);
                }
                Err(Failure::Retry(refusal, asked))
            }
            Err(Failure::Reject(refusal)) => {
                self.circuit.answered(&self.target.retry);
                Err(Failure::Reject(refusal))
            }
            Ok(answer) => {
                self.last_success = Some(now);
                Ok(answer)
            }
        };
        let target = std::sync::Arc::clone(&self.target);
        let Some(rules) = &target.groups else { return };
        let mut groups = std::mem::take(&mut self.links.groups);
        let ending = Ending {
            rules,
            retry: &target.retry,
            every: target.reconcile,
            holder: &|account| self.links.holder(account),
            now,
            random,
        };
        let news = groups.ended(group, result, &ending);
        self.links.groups = groups;
        for piece in news {
            self.tell_group(&piece, now);
        }
    }

    /// What has happened to a group or a membership, as an outcome.
    fn tell_group(&mut self, News { group, what }: &News, now: Timestamp) {
        let (done, rejected) = (OutcomeResult::Done, OutcomeResult::Rejected);
        let (words, result, refusal) = match what {
            What::Found => (format!("group {group} is there"), done, None),
            What::Made => (format!("made group {group}"), done, None),
            What::Renamed { from } => (format!("group {from} is called {group} now"), done, None),
            What::Gone => (
                format!("group {group} is not there any longer; it is made again if somebody is to be in it"),
                OutcomeResult::Skipped,
                None,
            ),
            What::Unshown => (
                format!("group {group} does not show its members: what was written is believed"),
                OutcomeResult::Skipped,
                None,
            ),
            What::Refused(refusal) => (format!("group {group}: {}", refusal.reason), rejected, Some(refusal)),
            What::Joined(user, version) => {
                return self.tell_member(*user, *version, format!("join group {group}"), done, None, now);
            }
            What::Left(user, version) => {
                return self.tell_member(*user, *version, format!("leave group {group}"), done, None, now);
            }
            What::NotJoined(user, version, refusal) => {
                let words = format!("join group {group}");
                return self.tell_member(*user, *version, words, rejected, Some(refusal), now);
            }
            What::NotLeft(user, version, refusal) => {
                let words = format!("leave group {group}");
                return self.tell_member(*user, *version, words, rejected, Some(refusal), now);
            }
        };
        let id = format!(
            "{}/group/{}/{now}",
            self.target.name,
            &StateHash::of_text(&words).to_string()[..8]
        );
        let outcome = self.remark(id, "group", result, vec![words], now);
        self.commits.tell(Outcome {
            error_code: refusal.map(|refusal| refusal.code.clone()),
            error: refusal.map(|refusal| refusal.reason.clone()),
            ..outcome
        });
    }

    fn tell_member(
        &mut self,
        user: UserKey,
        version: u64,
        words: String,
        result: OutcomeResult,
        refusal: Option<&Refusal>,
        now: Timestamp,
    ) {
        let what = StateHash::of_text(&words).to_string();
        let id = format!(
            "{}/{user}/{version}/{}/{}/{}",
            self.target.name,
            Action::SetGroups.as_str(),
            &what[..8],
            now.as_second()
        );
        let outcome = self.remark(id, Action::SetGroups.as_str(), result, vec![words], now);
        self.commits.tell(Outcome {
            user: Some(user),
            user_version: version,
            error_code: refusal.map(|refusal| refusal.code.clone()),
            error: refusal.map(|refusal| refusal.reason.clone()),
            ..outcome
        });
    }
}
