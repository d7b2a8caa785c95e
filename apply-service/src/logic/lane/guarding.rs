//! The guard in the lane: a batch is judged as a whole before its first write, a trickle action by action.
//!
//! A batch is everything from a start or a reconcile until everybody has been fed once. What is over a budget becomes a
//! held set; its members carry the set in their links, so a hold survives every restart and change of owner.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use usher_contract::{Approval, Outcome, OutcomeResult, UserChange, UserKey};

use super::{Effect, FirstSync, Glance, Lane, Links, Mode, RESULTS_MAX, Stage};
use crate::logic::{
    guard::{Budget, Ledger, Over},
    link::{LinkState, Release},
    plan::{Action, Plan},
    retry::{after, elapsed},
    target_record::{Allowance, FIRST_SYNC, HeldSet, MOVED, TargetRecord},
};

/// How long later actions of a trickle join a held set. Longer: fewer sets; shorter: an approver sees sooner that a set
/// does not grow any more.
const OPEN_FOR: Duration = Duration::from_secs(60);

/// How an action passes the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Within the budget: counted.
    Counted,
    /// It is of the first import: not counted.
    Imported,
    /// An operator has released it: not counted.
    Released,
    /// Used an allowance: not counted.
    Allowed(usize),
}

/// What the links say was used within the windows: of a million links nearly all were changed long ago.
pub(crate) fn ledger(links: &Links, windows: &[Duration], now: Timestamp) -> Ledger {
    let mut ledger = Ledger::default();
    let longest = windows.iter().max().copied().unwrap_or_default();
    let within = |at: &Timestamp| elapsed(*at, now) <= longest;
    for (user, link) in links.iter().filter(|(_, link)| !link.released) {
        let removal = if link.removal_inferred {
            Budget::InferredRemovals
        } else {
            Budget::StatedRemovals
        };
        if let Some(at) = link.removed_at.filter(within) {
            ledger.count(removal, *user, at);
        }
        if let Some(at) = link.changed_at.filter(|at| Some(*at) != link.removed_at && within(at)) {
            ledger.count(Budget::Changes, *user, at);
        }
    }
    ledger
}

/// Sets that links speak of and the record does not know (it could not be read): they are held as before.
pub(super) fn find_sets_again(record: &mut TargetRecord, links: &Links, now: Timestamp) {
    for (user, _) in links.glances().filter(|(_, glance)| !glance.is_settled()) {
        if let Some(LinkState::Held { set, budget, .. }) = links.get(user).map(|link| link.state)
            && !record.held.contains_key(&set)
        {
            let found = HeldSet {
                budget,
                reason: "held before the target's own record was lost".to_owned(),
                at: now,
                open_until: now,
                approved: None,
            };
            record.held.insert(set, found);
        }
    }
}

impl Lane {
    /// Whether this action may be carried out now; counted at once, so that what is under way counts, too.
    pub(super) fn pass(&mut self, user: UserKey, plan: &Plan, now: Timestamp) -> Result<Option<Pass>, Over> {
        let Some(budget) = plan.budget() else { return Ok(None) };
        // A repeated try of the same has passed already. What was released may be something else than what is wanted now.
        if let Some((passed, pass)) = self.passes.get(&user).copied()
            && passed == budget
            && pass != Pass::Released
        {
            return Ok(Some(pass));
        }
        if self.is_released(&user, plan) {
            return Ok(Some(Pass::Released));
        }
        if self.is_first_import(plan.action) {
            // The link says so: a successor that counts the links must not take the import for changes.
            return Ok(Some(Pass::Imported));
        }
        self.ledger.prune(&self.target.guard.windows, now);
        if self.ledger.has(budget, user) {
            self.ledger.count(budget, user, now);
            return Ok(Some(Pass::Counted));
        }
        let within = self
            .target
            .guard
            .judge(&self.ledger, budget, 1, self.links.linked(), now);
        match within {
            Ok(()) => {
                self.ledger.count(budget, user, now);
                Ok(Some(Pass::Counted))
            }
            Err(over) => match self.allowance(budget, now) {
                Some(index) => {
                    self.record.allowances[index].used += 1;
                    Ok(Some(Pass::Allowed(index)))
                }
                None => Err(over),
            },
        }
    }

    /// Whether somebody is counted already, or need not be: a person counts once, however often they are tried.
    fn has_passed(&self, user: &UserKey, budget: Budget) -> bool {
        let passed = |(passed, pass): &(Budget, Pass)| *passed == budget && *pass != Pass::Released;
        self.passes.get(user).is_some_and(passed) || self.ledger.has(budget, *user)
    }

    /// What was begun had no effect.
    pub(super) fn unpass(&mut self, user: UserKey) {
        match self.passes.remove(&user) {
            Some((budget, Pass::Counted)) => self.ledger.forget(budget, user),
            Some((_, Pass::Allowed(index))) => {
                if let Some(allowance) = self.record.allowances.get_mut(index) {
                    allowance.used = allowance.used.saturating_sub(1);
                }
            }
            Some((_, Pass::Imported | Pass::Released)) | None => {}
        }
    }

    /// What was begun has ended: whether the guard need not count it.
    pub(super) fn passed_released(&mut self, user: UserKey) -> bool {
        let pass = self.passes.remove(&user);
        matches!(pass, Some((_, Pass::Imported | Pass::Released | Pass::Allowed(_))))
    }

    /// What a failed try leaves in the link: an operator has let this through, by a release or by an allowance that it
    /// has used up. It stays so until it is done or something else is wanted.
    pub(super) fn released_for(&self, user: &UserKey, plan: &Plan) -> Option<Release> {
        let by = self.released_by(user, plan)?;
        let what = plan.released_as();
        Some(Release { what, by })
    }

    /// Who has let this through, if the guard did not by itself.
    pub(super) fn released_by(&self, user: &UserKey, plan: &Plan) -> Option<Approval> {
        match self.passes.get(user) {
            Some((budget, Pass::Allowed(index))) if plan.budget() == Some(*budget) => {
                self.record.allowances.get(*index).map(|allowance| allowance.by.clone())
            }
            _ => self.release_of(user, plan),
        }
    }

    /// What operators have allowed on top of a budget and is not used yet.
    pub(super) fn allowed(&self, budget: Budget, now: Timestamp) -> u64 {
        self.record
            .allowances
            .iter()
            .filter(|allowance| allowance.until > now && budget.is_removal())
            .map(|allowance| allowance.removals.saturating_sub(allowance.used))
            .sum()
    }

    pub(super) fn allowance(&self, budget: Budget, now: Timestamp) -> Option<usize> {
        let open = |allowance: &Allowance| allowance.until > now && allowance.used < allowance.removals;
        self.record
            .allowances
            .iter()
            .position(open)
            .filter(|_| budget.is_removal())
    }

    /// Accounts that the first import makes or takes over are its purpose.
    fn is_first_import(&self, action: Action) -> bool {
        matches!(action, Action::Create | Action::Adopt | Action::Look)
            && self.record.imported == Some(false)
            && !self.target.guard.counts_first_import
    }

    /// The first import is over when nobody has waited for a place for a while: the directory itself may still be being
    /// filled. Who is tried again later is a change like others.
    pub(super) fn note_import(&mut self, now: Timestamp) {
        let begun = self.all_fed && !self.batch && self.target.mode == Mode::Enforce;
        let listed = matches!(self.first, FirstSync::Done) && !self.record.first_sync_waits;
        let idle = self.flights.is_empty() && self.queue.resuming.is_empty() && self.queue.ready().next().is_none();
        let over = begun && listed && idle && self.commits.waiting() == 0 && self.links.linked() > 0;
        if self.record.imported != Some(false) || !over {
            self.quiet_since = None;
            return;
        }
        if elapsed(*self.quiet_since.get_or_insert(now), now) >= self.target.guard.import_quiet {
            self.record.imported = Some(true);
            self.commits.ask();
        }
    }

    /// Whether an operator has released what is wanted.
    fn is_released(&self, user: &UserKey, plan: &Plan) -> bool {
        self.release_of(user, plan).is_some()
    }

    /// Who has released what is wanted: as a member of a set, or before a try that has failed.
    fn release_of(&self, user: &UserKey, plan: &Plan) -> Option<Approval> {
        if self.links.glance(user).is_none_or(Glance::is_settled) {
            return None;
        }
        match self.links.get(user)?.state {
            LinkState::Held { set, budget: held, .. } => {
                let wanted = match plan.action {
                    // What comes of it is not known before the look, or was not clear after it.
                    Action::Look | Action::Skip => held.is_removal() != plan.active,
                    _ => plan.budget() == Some(held),
                };
                self.record.held.get(&set).filter(|_| wanted)?.approved.clone()
            }
            state => {
                let release = state.approved()?;
                (release.what == plan.released_as()).then(|| release.by.clone())
            }
        }
    }

    /// Whether somebody is kept back and has to wait for an operator.
    pub(super) fn is_held(&self, user: &UserKey, plan: &Plan) -> bool {
        if self.links.glance(user).is_none_or(Glance::is_settled) {
            return false;
        }
        match self.links.get(user).map(|link| link.state) {
            Some(LinkState::Held { set, budget, .. }) => {
                let wanted = match plan.action {
                    // Somebody is held after a look; to look again would find the same, again and again.
                    Action::Look => budget.is_removal() != plan.active,
                    _ => plan.budget() == Some(budget),
                };
                wanted && self.record.held.get(&set).is_some_and(|set| set.approved.is_none())
            }
            _ => false,
        }
    }

    /// Everybody has been fed: what is wanted is judged as a whole, before the first write.
    pub(super) fn judge_batch(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.batch) {
            return;
        }
        self.ledger.prune(&self.target.guard.windows, now);
        let mut wanted: BTreeMap<Budget, Vec<UserKey>> = BTreeMap::new();
        for (action, user) in self.queue.all_ready() {
            let Some(slot) = self.slots.get(&user) else { continue };
            let plan = self.plan(&slot.newest, &super::Remote::NotLooked, slot.again, now);
            let budget = match plan.action {
                // Not known before the look, and most of them are new.
                Action::Look if plan.active => Some(Budget::Changes),
                _ => plan.budget(),
            };
            if let Some(budget) = budget
                && !self.is_released(&user, &plan)
                && !self.is_first_import(action)
                && !self.has_passed(&user, budget)
            {
                wanted.entry(budget).or_default().push(user);
            }
        }
        for (budget, users) in wanted {
            let many = u64::try_from(users.len()).unwrap_or(u64::MAX);
            let allowed = self.allowed(budget, now);
            let judged = self.target.guard.judge(
                &self.ledger,
                budget,
                many.saturating_sub(allowed),
                self.links.linked(),
                now,
            );
            if let Err(over) = judged {
                let over = Over { wanted: many, ..over };
                let set = self.new_set(over, now, false);
                for user in users {
                    self.hold(user, &set, over, now);
                }
            }
        }
    }

    /// Keeps somebody back: the set of this trickle, or a new one.
    pub(super) fn hold_one(&mut self, user: UserKey, over: Over, now: Timestamp) {
        let open = self
            .record
            .held
            .iter()
            .find(|(_, set)| set.budget == over.budget && set.approved.is_none() && set.open_until > now)
            .map(|(id, _)| id.clone());
        let set = open.unwrap_or_else(|| self.new_set(over, now, true));
        self.hold(user, &set, over, now);
    }

    pub(super) fn new_set(&mut self, over: Over, now: Timestamp, stays_open: bool) -> String {
        let stem = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let taken = self.record.held.keys().filter(|id| id.starts_with(&stem)).count();
        let id = if taken == 0 { stem } else { format!("{stem}-{taken}") };
        let set = HeldSet {
            budget: over.budget,
            reason: over.to_string(),
            at: now,
            open_until: if stays_open { after(now, OPEN_FOR) } else { now },
            approved: None,
        };
        self.record.held.insert(id.clone(), set);
        let words = format!("held set {id}: {over}");
        let outcome = self.target_outcome("hold", OutcomeResult::Held, vec![words], None, now);
        self.commits.tell(outcome);
        id
    }

    fn hold(&mut self, user: UserKey, set: &str, over: Over, now: Timestamp) {
        let Some(slot) = self.slots.get(&user) else { return };
        let change: std::sync::Arc<UserChange> = std::sync::Arc::clone(&slot.newest);
        let mut plan = self.plan(&change, &super::Remote::NotLooked, slot.again, now);
        plan.reasons.push(format!("held as a member of {set}"));
        let mut link = self.link_or_new(&user, &change);
        link.state = LinkState::Held {
            set: set.to_owned(),
            budget: over.budget,
            action: plan.action.as_str().to_owned(),
            at: now,
        };
        let outcome = self.outcome(user, &plan, &change, OutcomeResult::Held, None, 1, Duration::ZERO, now);
        self.links.release(&user);
        self.forget_in_queue(user);
        self.stage(user, Stage::Recording);
        self.commits.record(user, link, outcome, None, false);
    }

    /// An operator releases a set. Who is in it, to be fed again.
    ///
    /// # Errors
    /// When there is no such set, or it is not frozen yet.
    pub(super) fn approve(&mut self, id: &str, by: &Approval, now: Timestamp) -> Result<Vec<UserKey>, String> {
        if id == FIRST_SYNC {
            if !std::mem::take(&mut self.record.first_sync_waits) {
                return Err("no first sync waits for approval".to_owned());
            }
            self.tell_release(format!("the first sync begins: {}", by.reason), by, now);
            return Ok(Vec::new());
        }
        if id == MOVED {
            if !self.moved || self.voiding {
                return Err("the address and tenant are what they were".to_owned());
            }
            self.voiding = true;
            let words = format!(
                "{} links are void, because the application is another one: {}",
                self.links.bound(),
                by.reason
            );
            self.tell_release(words, by, now);
            return Ok(Vec::new());
        }
        let known: Vec<String> = self.record.held.keys().cloned().collect();
        let Some(set) = self.record.held.get_mut(id) else {
            let there = if known.is_empty() {
                "nothing is held".to_owned()
            } else {
                format!("held are {}", known.join(", "))
            };
            return Err(format!("there is no held set {id}; {there}"));
        };
        if set.open_until > now {
            // Whoever approves must have seen everybody who is in it.
            return Err(format!(
                "{id} may still grow until {}; look at it then and approve it",
                set.open_until
            ));
        }
        set.approved = Some(by.clone());
        let members: Vec<UserKey> = self
            .links
            .iter()
            .filter(|(_, link)| matches!(&link.state, LinkState::Held { set, .. } if set == id))
            .map(|(user, _)| *user)
            .collect();
        let leaving = self.links.groups.held_in(id);
        self.links.groups.wake_all();
        let words = if leaving == 0 {
            let many = members.len();
            format!("{many} members of the held set {id} are planned again: {}", by.reason)
        } else {
            format!(
                "{leaving} members of the held set {id} leave their group: {}",
                by.reason
            )
        };
        self.tell_release(words, by, now);
        Ok(members)
    }

    fn tell_release(&mut self, words: String, by: &Approval, now: Timestamp) {
        let outcome = Outcome {
            actor: Some(by.actor.clone()),
            ..self.target_outcome("approve", OutcomeResult::Released, vec![words], None, now)
        };
        self.commits.tell(outcome);
    }

    /// Gives up every link, some at a time; then the application is new, and begins with a first sync.
    pub(super) fn void_links(&mut self, effects: &mut Vec<Effect>, now: Timestamp) {
        if !self.voiding || self.commits.waiting() > 0 {
            return;
        }
        // Also what was only begun: an account that is found here later must not be taken for what came of it there.
        let bound: Vec<UserKey> = self
            .links
            .glances()
            .filter(|(user, glance)| glance.is_bound() && !self.commits.holds(user))
            .map(|(user, _)| *user)
            .take(RESULTS_MAX)
            .collect();
        if bound.is_empty() {
            if self.links.glances().any(|(_, glance)| glance.is_bound()) {
                return;
            }
            self.voiding = false;
            self.moved = false;
            self.record = self.record.clone().at_another_application();
            self.record.tenant = Some(self.target.tenant);
            self.links.groups.void();
            self.first = FirstSync::begin(now);
            self.all_fed = false;
            self.batch = true;
            self.commits.ask();
            effects.push(Effect::Reconcile);
            return;
        }
        for user in bound {
            if let Some(link) = self.links.get(&user) {
                let void = link.given_away();
                self.commits.note(user, void);
            }
        }
    }

    /// Sets that nobody is in any more, and allowances that are over, leave the record.
    pub(super) fn tidy_guard(&mut self, now: Timestamp) {
        if self.record.held.is_empty() && self.record.allowances.is_empty() {
            return;
        }
        let (links, commits) = (&self.links, &self.commits);
        self.record
            .held
            .retain(|id, _| links.held_in(id) > 0 || links.groups.held_in(id) > 0 || commits.holds_for(id));
        if self.passes.is_empty() {
            self.record.allowances.retain(|allowance| allowance.until > now);
        }
    }
}
