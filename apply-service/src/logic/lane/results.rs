//! What comes of answers: a verdict per person, and what is recorded about it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use usher_contract::{OutcomeResult, UserChange, UserKey};

use super::{Answer, Effect, Flight, Lane, OperationId, Stage, queue::is_about_leaving};
use crate::{
    connector::{CREATE_UNCLEAR, Failure, Refusal},
    logic::{
        account::RemoteId,
        assignments::is_setting,
        link::{Link, LinkState},
        matching::Seen,
        plan::{Action, Plan, Remote, link_after},
        retry::{after, delay, elapsed},
        termination::remembered,
    },
};

/// A name that is taken is usually given up soon by its holder; after so many tries it is the operator's.
const CONFLICT_TRIES: u32 = 8;

/// The sender's word for a host that refuses or does not resolve: it concerns everybody.
pub(super) const UNREACHABLE: &str = "connect";
/// The sender's word for a write that came too late after the last commit: nothing was sent, nobody is to blame.
pub(super) const LEASE_OVER: &str = "lease-expired";

/// The connector's word for "the credentials do not allow it": one person's, or everybody's.
const FORBIDDEN: &str = "http-403";

/// The connector's word for being asked too often.
pub(super) const TOO_MANY: &str = "http-429";

/// Somebody who was answered with "forbidden", with what was tried.
#[derive(Debug)]
pub(super) struct Accused {
    plan: Plan,
    change: Arc<UserChange>,
    refusal: Refusal,
    took: Duration,
}

/// How somebody's step failed.
pub(super) enum Failed {
    Retry(Refusal, Option<Duration>),
    Conflict(Refusal),
    Reject(Refusal),
}

impl Lane {
    pub(super) fn ended(
        &mut self,
        operation: OperationId,
        result: Result<Answer, Failure>,
        took: Duration,
        now: Timestamp,
        random: f64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.flights.remove(&operation) else {
            return;
        };
        match &result {
            Ok(_) => {
                // That another interface answers says nothing about the one that is written to.
                if !(matches!(flight, Flight::DriftPage) && self.reads_back()) {
                    self.circuit.answered(&self.target.retry);
                }
                self.pacer.succeeded();
            }
            Err(Failure::Retry(refusal, asked)) if asked.is_some() || refusal.code == TOO_MANY => {
                self.pacer.pushed_back(*asked, now);
                // The rest is to outlive this process.
                self.commits.ask();
            }
            Err(_) => {}
        }
        if matches!(flight, Flight::Probe | Flight::Trial | Flight::Page | Flight::DriftPage) {
            // Nothing else may come to be recorded, and what was used of the day is not to be had again.
            self.commits.ask_if(self.target.pace.per_day.is_some());
        }
        match flight {
            Flight::Probe => self.probed(result, now, random),
            Flight::Trial => self.tried(result, now, random),
            Flight::Page => self.listed(result, now, random),
            Flight::Invite(user, notice) => {
                self.others -= 1;
                self.invited(user, &notice, result, now, random);
            }
            Flight::DriftPage => {
                self.others -= 1;
                self.drift_page(result, now, random, effects);
            }
            Flight::Group(group, _) => {
                self.others -= 1;
                self.group_ended(group, result, now, random);
            }
            Flight::Look(user, plan, change) => {
                self.looks -= 1;
                match result {
                    Ok(answer) => {
                        let remote = match answer {
                            Answer::Found(found) if !found.is_empty() => Remote::Found(found),
                            _ => Remote::Absent,
                        };
                        self.go_on(user, remote, (change.version, is_about_leaving(&plan)), now);
                    }
                    Err(failure) => self.failure(user, &plan, &change, failure, took, now, random),
                }
            }
            Flight::Write(user, plan, change) => {
                self.writes -= 1;
                match result {
                    Ok(Answer::Written(account, shown)) => {
                        self.links.reserve(&account, user);
                        self.succeeded(user, &plan, &change, &account, shown.as_ref(), took, now);
                    }
                    Ok(Answer::Absent) => self.vanished(user, &plan, &change, took, now, random),
                    Ok(Answer::Conflict(refusal)) => {
                        self.failed(user, &plan, &change, Failed::Conflict(refusal), took, now, random);
                    }
                    Ok(
                        Answer::Checked
                        | Answer::CheckedAs(_)
                        | Answer::Found(_)
                        | Answer::Page(..)
                        | Answer::Groups(_)
                        | Answer::Group(_)
                        | Answer::Members(_)
                        | Answer::Changed
                        | Answer::Taken,
                    ) => self.put_back(user, now),
                    Err(failure) => self.failure(user, &plan, &change, failure, took, now, random),
                }
            }
        }
    }

    /// Done: the link as it is now, and the outcome.
    #[expect(
        clippy::too_many_arguments,
        reason = "what was done, to whom, with which answer, when"
    )]
    pub(super) fn succeeded(
        &mut self,
        user: UserKey,
        plan: &Plan,
        change: &UserChange,
        account: &RemoteId,
        shown: Option<&Seen>,
        took: Duration,
        now: Timestamp,
    ) {
        let before = self.known(&user);
        let outcome = self.outcome(
            user,
            plan,
            change,
            OutcomeResult::Done,
            None,
            self.attempt(&user, plan.desired),
            took,
            now,
        );
        let mut link = link_after(plan, before.as_ref(), account, shown, change, &self.target, now);
        link.released |= self.passed_released(user);
        link.person = self.person_of(change);
        self.owe_notices(user, plan, now);
        if let Some(onboarding) = shown.and_then(|shown| shown.onboarding) {
            self.note_onboarding(user, onboarding);
        }
        if let Some(holder) = plan.takes_from
            && let Some(theirs) = self.links.get(&holder)
        {
            // What the earlier record was given is the account's still, and is taken back where it is not wanted any more.
            link.inherit(&theirs, |path| is_setting(path, &self.target));
            // In the same transaction: never two links to one account, and never none.
            self.commits.note(holder, theirs.given_away());
            self.links.groups.hand_over(holder, user);
        }
        self.doubt_groups(user, plan.action);
        self.last_success = Some(now);
        self.doubtful.remove(&user);
        self.suspects.remove(&user);
        self.conflicts.remove(&user);
        self.stage(user, Stage::Recording);
        self.commits.record(user, link, outcome, None, plan.renames());
    }

    /// The account is not there (any longer). A leaver is out; somebody else is looked up again.
    fn vanished(
        &mut self,
        user: UserKey,
        plan: &Plan,
        change: &UserChange,
        took: Duration,
        now: Timestamp,
        random: f64,
    ) {
        let refusal = Refusal {
            code: "account-gone".to_owned(),
            reason: "the target has no such account any longer".to_owned(),
        };
        let mut link = self.link_or_new(&user, change);
        if plan.action == Action::Update && link.active == Some(false) {
            // Some targets hide an account that is off (seen: Atlassian). It comes back with the person, so it stays
            // theirs; its identifiers are for an operator to look at.
            let hidden = Refusal {
                code: "account-hidden".to_owned(),
                reason: "the account is off and the target does not show it; its identifiers stay as they are"
                    .to_owned(),
            };
            return self.set_aside(user, plan, change, link, Failed::Reject(hidden), took, now, random);
        }
        self.doubtful.remove(&user);
        link.remote_id = None;
        link.written.clear();
        link.values.clear();
        link.active = None;
        link.create_intent = false;
        link.user_version = change.version;
        (link.left_at, link.active_since) = remembered(Some(&link), change);
        if matches!(plan.action, Action::Deactivate | Action::Delete) {
            // Deleted is what was wanted; a leaver who is not there is out.
            let refusal = (plan.action == Action::Deactivate).then_some(&refusal);
            link.state = LinkState::Settled;
            link.removed_at = Some(now);
            link.removal_inferred = plan.inferred;
            let outcome = self.outcome(
                user,
                plan,
                change,
                OutcomeResult::Done,
                refusal,
                self.attempt(&user, plan.desired),
                took,
                now,
            );
            link.released = self.passed_released(user);
            self.stage(user, Stage::Recording);
            self.commits.record(user, link, outcome, None, false);
        } else {
            self.set_aside(
                user,
                plan,
                change,
                link,
                Failed::Retry(refusal, None),
                took,
                now,
                random,
            );
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what was tried, for whom, how it failed, when")]
    fn failure(
        &mut self,
        user: UserKey,
        plan: &Plan,
        change: &Arc<UserChange>,
        failure: Failure,
        took: Duration,
        now: Timestamp,
        random: f64,
    ) {
        match failure {
            Failure::Halt(refusal) => {
                self.set_back(user, plan, change, now);
                self.trip(refusal, now, random);
            }
            // It may have been the reading back that found nobody: the write before it had its effect.
            Failure::Retry(refusal, _) if refusal.code == UNREACHABLE => {
                self.set_back(user, plan, change, now);
                self.trip(refusal, now, random);
            }
            Failure::Retry(refusal, _) if refusal.code == LEASE_OVER => {
                self.put_back(user, now);
                self.commits.ask();
            }
            Failure::Retry(refusal, asked) => {
                // Who says that it is asked too much is not sick: the pace goes down instead.
                if refusal.code != TOO_MANY && self.circuit.failed(&refusal, &self.target.retry, now, random) {
                    self.tripped(&refusal, now);
                }
                self.failed(user, plan, change, Failed::Retry(refusal, asked), took, now, random);
            }
            Failure::Reject(refusal) if refusal.code == FORBIDDEN => {
                self.links.release(&user);
                self.stage(user, Stage::Accused);
                let accused = Accused {
                    plan: plan.clone(),
                    change: Arc::clone(change),
                    refusal,
                    took,
                };
                self.accused.insert(user, accused);
            }
            Failure::Reject(refusal) => {
                self.circuit.answered(&self.target.retry);
                let conflict = refusal.code == "scim-uniqueness";
                let failed = if conflict {
                    Failed::Conflict(refusal)
                } else {
                    Failed::Reject(refusal)
                };
                self.failed(user, plan, change, failed, took, now, random);
            }
        }
    }

    /// Puts somebody back whom the application's failure has met: it is not counted against them, and what was sent may
    /// have had an effect all the same.
    fn set_back(&mut self, user: UserKey, plan: &Plan, change: &UserChange, now: Timestamp) {
        self.unpass(user);
        if plan.values.is_empty() {
            return self.put_back(user, now);
        }
        let mut link = self.link_or_new(&user, change);
        link.doubt(&plan.changed, |path| is_setting(path, &self.target));
        self.links.release(&user);
        if let Some(slot) = self.slots.get_mut(&user) {
            slot.fresh_intent = false;
            slot.stage = Stage::Recording;
        }
        self.commits.note(user, link);
    }

    /// The probe about people who were answered with "forbidden" has ended: with a target that answers it is they who
    /// are refused, else nobody is to blame.
    fn tried(&mut self, result: Result<Answer, Failure>, now: Timestamp, random: f64) {
        self.trial = false;
        let accused = std::mem::take(&mut self.accused);
        match result {
            Ok(_) => {
                for (user, accused) in accused {
                    let Accused {
                        plan,
                        change,
                        refusal,
                        took,
                    } = accused;
                    self.failed(user, &plan, &change, Failed::Reject(refusal), took, now, random);
                }
            }
            Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => {
                for user in accused.into_keys() {
                    self.put_back(user, now);
                }
                self.trip(refusal, now, random);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what was tried, for whom, how it failed, when")]
    pub(super) fn failed(
        &mut self,
        user: UserKey,
        plan: &Plan,
        change: &UserChange,
        failed: Failed,
        took: Duration,
        now: Timestamp,
        random: f64,
    ) {
        let link = self.link_or_new(&user, change);
        self.set_aside(user, plan, change, link, failed, took, now, random);
    }

    /// Records a failure: tried again later, or refused for good.
    #[expect(clippy::too_many_arguments, reason = "what was tried, for whom, how it failed, when")]
    fn set_aside(
        &mut self,
        user: UserKey,
        plan: &Plan,
        change: &UserChange,
        mut link: Link,
        failed: Failed,
        took: Duration,
        now: Timestamp,
        random: f64,
    ) {
        let mut attempts = self.attempt(&user, plan.desired);
        let woken = self
            .slots
            .get_mut(&user)
            .is_some_and(|slot| std::mem::take(&mut slot.woken));
        if woken && matches!(failed, Failed::Conflict(_)) {
            // Many names may be given up in a second, and none of them the one that is waited for.
            attempts = attempts.saturating_sub(1).max(1);
        }
        // Nothing was made, now or before: from here on a match is as good as anybody's.
        let definite = match &failed {
            Failed::Reject(_) => true,
            Failed::Conflict(refusal) => refusal.code != CREATE_UNCLEAR,
            Failed::Retry(..) => false,
        };
        let fresh = self
            .slots
            .get_mut(&user)
            .is_some_and(|slot| std::mem::take(&mut slot.fresh_intent));
        if definite {
            // An allowance that had no effect is given back; a release is not used up.
            self.unpass(user);
        }
        let approved = self.released_for(&user, plan);
        if definite && fresh && matches!(plan.action, Action::Create | Action::Adopt | Action::Relink) {
            link.create_intent = false;
        }
        let since = match self.links.get(&user).map(|link| link.state) {
            Some(LinkState::Retrying { desired, since, .. }) if desired == plan.desired => since,
            _ => now,
        };
        let given_up = elapsed(since, now) >= self.target.retry.give_up_after;
        let (refusal, next_try) = match failed {
            Failed::Reject(refusal) => (refusal, None),
            Failed::Conflict(refusal) => {
                self.conflicts.insert(user);
                let next = after(now, delay(&self.target.retry, attempts, None, random));
                (refusal, (attempts < CONFLICT_TRIES && !given_up).then_some(next))
            }
            Failed::Retry(refusal, asked) => {
                link.doubt(&plan.changed, |path| is_setting(path, &self.target));
                let next = after(now, delay(&self.target.retry, attempts, asked, random));
                (refusal, (!given_up).then_some(next))
            }
        };
        link.configuration = self.target.hash;
        link.user_version = change.version;
        let (result, dead_letter) = match next_try {
            Some(next_try) => {
                link.state = LinkState::Retrying {
                    desired: plan.desired,
                    attempts,
                    next_try,
                    since,
                    code: refusal.code.clone(),
                    approved,
                };
                (OutcomeResult::Retry, None)
            }
            None => {
                self.conflicts.remove(&user);
                link.state = LinkState::Rejected {
                    desired: plan.desired,
                    code: refusal.code.clone(),
                    reason: refusal.reason.clone(),
                    at: now,
                    approved,
                };
                (
                    OutcomeResult::Rejected,
                    Some(self.dead_letter(user, change, &refusal, now)),
                )
            }
        };
        let outcome = self.outcome(user, plan, change, result, Some(&refusal), attempts, took, now);
        self.links.release(&user);
        if let Some(slot) = self.slots.get_mut(&user) {
            slot.again = false;
            slot.stage = Stage::Recording;
        }
        self.commits.record(user, link, outcome, dead_letter, false);
    }

    /// The hash by which another record of the same person is recognized.
    pub(super) fn person_of(&self, change: &UserChange) -> Option<usher_contract::StateHash> {
        let remote = Remote::NotLooked;
        crate::logic::plan::person_hash(&crate::logic::plan::Question {
            change,
            link: None,
            remote: &remote,
            target: &self.target,
            accounts: &self.links,
            people: &(),
            reimported_at: None,
            again: false,
            now: change.cause.observed_at,
        })
    }

    pub(super) fn link_or_new(&self, user: &UserKey, change: &UserChange) -> Link {
        self.known(user)
            .unwrap_or_else(|| Link::unlinked(change.version, self.target.hash))
    }
}
