//! What comes of answers: a verdict per person, and what is recorded about it.

use std::time::Duration;

use jiff::Timestamp;
use usher_contract::{OutcomeResult, UserChange, UserKey};

use super::{Answer, Flight, Lane, OperationId, Stage};
use crate::{
    connector::{Failure, Refusal},
    logic::{
        account::RemoteId,
        link::{Link, LinkState},
        matching::Seen,
        plan::{Action, Plan, Remote, link_after},
        retry::{after, delay, elapsed},
    },
};

/// A name that is taken is usually given up soon by its holder; after so many tries it is the operator's.
const CONFLICT_TRIES: u32 = 8;

/// The sender's word for a host that refuses or does not resolve: it concerns everybody.
const UNREACHABLE: &str = "connect";
/// The sender's word for a write that came too late after the last commit: nothing was sent, nobody is to blame.
const LEASE_OVER: &str = "lease-expired";

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
    ) {
        let Some(flight) = self.flights.remove(&operation) else {
            return;
        };
        if result.is_ok() {
            self.circuit.answered();
        }
        match flight {
            Flight::Probe => self.probed(result, now, random),
            Flight::Page => self.listed(result, now, random),
            Flight::Look(user, plan, change) => match result {
                Ok(answer) => {
                    let remote = match answer {
                        Answer::Found(found) if !found.is_empty() => Remote::Found(found),
                        _ => Remote::Absent,
                    };
                    self.stage(user, Stage::Resuming);
                    self.queue.resuming.push_back((user, remote));
                }
                Err(failure) => self.failure(user, &plan, &change, failure, took, now, random),
            },
            Flight::Write(user, plan, change) => match result {
                Ok(Answer::Written(account, shown)) => {
                    self.links.reserve(&account, user);
                    self.succeeded(user, &plan, &change, &account, shown.as_ref(), took, now);
                }
                Ok(Answer::Absent) => self.vanished(user, &plan, &change, took, now, random),
                Ok(Answer::Conflict(refusal)) => {
                    self.failed(user, &plan, &change, Failed::Conflict(refusal), took, now, random);
                }
                Ok(Answer::Checked | Answer::Found(_) | Answer::Page(..)) => self.put_back(user, now),
                Err(failure) => self.failure(user, &plan, &change, failure, took, now, random),
            },
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
        let link = link_after(plan, before.as_deref(), account, shown, change, &self.target, now);
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
        self.doubtful.remove(&user);
        link.remote_id = None;
        link.written.clear();
        link.active = None;
        link.create_intent = false;
        link.user_version = change.version;
        if plan.action == Action::Deactivate {
            link.state = LinkState::Settled;
            link.removed_at = Some(now);
            let outcome = self.outcome(
                user,
                plan,
                change,
                OutcomeResult::Done,
                Some(&refusal),
                self.attempt(&user, plan.desired),
                took,
                now,
            );
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
        change: &UserChange,
        failure: Failure,
        took: Duration,
        now: Timestamp,
        random: f64,
    ) {
        match failure {
            Failure::Halt(refusal) => {
                // The application's failure is not counted against the person.
                if plan.values.is_empty() {
                    self.put_back(user, now);
                } else {
                    // What was sent may have had an effect all the same.
                    let mut link = self.link_or_new(&user, change);
                    link.doubt(&plan.changed);
                    self.links.release(&user);
                    self.stage(user, Stage::Recording);
                    self.commits.note(user, link);
                }
                self.trip(refusal, now, random);
            }
            Failure::Retry(refusal, _) if refusal.code == UNREACHABLE => {
                self.put_back(user, now);
                self.trip(refusal, now, random);
            }
            Failure::Retry(refusal, _) if refusal.code == LEASE_OVER => {
                self.put_back(user, now);
                self.commits.ask();
            }
            Failure::Retry(refusal, asked) => {
                if self.circuit.failed(&refusal, &self.target.retry, now, random) {
                    self.tripped(&refusal, now);
                }
                self.failed(user, plan, change, Failed::Retry(refusal, asked), took, now, random);
            }
            Failure::Reject(refusal) => {
                self.circuit.answered();
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
        let attempts = self.attempt(&user, plan.desired);
        let since = match self.links.get(&user).map(|link| &link.state) {
            Some(LinkState::Retrying { desired, since, .. }) if *desired == plan.desired => *since,
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
                link.doubt(&plan.changed);
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

    pub(super) fn link_or_new(&self, user: &UserKey, change: &UserChange) -> Link {
        self.known(user).map_or_else(
            || Link::unlinked(change.version, self.target.hash),
            std::borrow::Cow::into_owned,
        )
    }
}
