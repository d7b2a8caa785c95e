//! People about whom nothing is to be done at the target: said once, cleared from the books, or left to wait.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use usher_contract::{OutcomeResult, UserKey};

use super::{Lane, Stage, results::Failed};
use crate::logic::{
    assignments::forget_manual,
    link::{Link, LinkState},
    plan::{Action, Plan},
    termination::remembered,
};

impl Lane {
    /// Somebody about whom nothing is to be done at the target (now).
    pub(super) fn settle(&mut self, user: UserKey, plan: Plan, now: Timestamp) {
        self.remember_missing(user, &plan.missing);
        self.links.release(&user);
        self.passes.remove(&user);
        set(&mut self.undecided, user, plan.action == Action::Wait);
        set(&mut self.skipped, user, plan.action == Action::Skip && plan.reported);
        set(&mut self.kept, user, plan.kept);
        let Some(slot) = self.slots.get(&user) else {
            return;
        };
        let change = Arc::clone(&slot.newest);
        if let Some(holder) = plan.claimed_by.filter(|_| plan.refusal.is_some()) {
            self.claimants.entry(holder).or_default().insert(user);
        }
        if let Some(refusal) = plan.refusal.clone() {
            return self.failed(user, &plan, &change, Failed::Reject(refusal), Duration::ZERO, now, 0.0);
        }
        if plan.action == Action::Noop {
            // The predecessor had nothing to write either.
            self.suspects.remove(&user);
        }
        let link = self.known(&user);
        if plan.reported {
            let said = matches!(link.as_ref().map(|link| &link.state), Some(LinkState::Skipped { desired, .. }) if *desired == plan.desired);
            if !said {
                let mut link = self.link_or_new(&user, &change);
                link.state = LinkState::Skipped {
                    desired: plan.desired,
                    reason: plan.reasons.join("; "),
                    at: now,
                };
                link.user_version = change.version;
                let outcome = self.outcome(
                    user,
                    &plan,
                    &change,
                    OutcomeResult::Skipped,
                    None,
                    1,
                    Duration::ZERO,
                    now,
                );
                self.stage(user, Stage::Recording);
                return self.commits.record(user, link, outcome, None, false);
            }
        } else if plan.action == Action::Noop
            && let Some(link) = link
            && (link.state != LinkState::Settled
                || link.create_intent
                || (plan.remark.is_some() && plan.remark != link.said)
                // Few are kept. Should the policy switch them off one day, it is by the policy and not by what they did.
                || (plan.kept && link.user_version != change.version)
                || (link.remote_id.is_some() && link.person != self.person_of(&change))
                || plan
                    .assignment
                    .as_ref()
                    .is_some_and(|now| link.assignment.as_ref() != Some(now))
                || (self.target.lifecycle.termination.is_some()
                    && (link.left_at, link.active_since) != remembered(Some(&link), &change)))
        {
            let person = self.person_of(&change);
            let (left_at, active_since) = remembered(Some(&link), &change);
            let says = plan
                .remark
                .filter(|remark| link.said != Some(*remark) && link.remote_id.is_some());
            let outcome = says.map(|_| {
                let skipped = OutcomeResult::Skipped;
                self.outcome(user, &plan, &change, skipped, None, 1, Duration::ZERO, now)
            });
            // What was outstanding has become void: an open intent or refusal must not stay on the books.
            let mut link = Link {
                assignment: plan.assignment.or_else(|| link.assignment.clone()),
                state: LinkState::Settled,
                create_intent: false,
                user_version: change.version,
                person,
                left_at,
                active_since,
                said: plan.remark.or(link.said),
                ..link
            };
            forget_manual(&mut link, &self.target);
            self.conflicts.remove(&user);
            self.stage(user, Stage::Recording);
            return match outcome {
                Some(outcome) => self.commits.record(user, link, outcome, None, false),
                None => self.commits.note(user, link),
            };
        }
        self.slots.remove(&user);
        // Of whoever is kept each version is recorded, also one that differs in nothing used.
        if plan.action == Action::Noop && plan.missing.is_empty() && !plan.kept {
            self.links.rest(&user);
        }
    }
}

fn set(people: &mut std::collections::BTreeSet<UserKey>, user: UserKey, belongs: bool) {
    if belongs {
        people.insert(user);
    } else {
        people.remove(&user);
    }
}
