//! The scheduled look at the whole target: after everything else, one page at a time. In mode `link` it only tells.
//!
//! `report` tells what differs; `repair` forgets what was written there, so that plan and guard decide about it like
//! about every other difference. The same correction is made three times; then the target is taken to refuse the value.

use std::time::Duration;

use jiff::Timestamp;
use usher_contract::{Outcome, OutcomeResult, UserKey};

use super::{Answer, Effect, FirstSync, Flight, Lane, Links, Mode};
use crate::{
    connector::{Failure, Operation},
    logic::{
        drift::{CORRECTIONS_MAX, Finding, Holders, Survey, Turn},
        link::{Link, LinkState},
        policy::DriftMode,
        read_back::Join,
        retry::{after, delay, elapsed},
    },
};

/// How often a page is asked for again before the look is given up until the next one.
const ATTEMPTS_MAX: u32 = 8;

/// A look under way.
#[derive(Debug)]
pub(super) struct Drifting {
    survey: Survey,
    cursor: Option<String>,
    /// Whose account is whose, where another interface is read. Made with the first page.
    join: Option<Join>,
    /// When the first page was asked for: nobody who was written since is missing.
    began: Option<Timestamp>,
    /// When the page under way was asked for: whoever was written since is compared next time.
    asked: Option<Timestamp>,
    attempts: u32,
    next_try: Timestamp,
}

impl Holders for Links {
    fn link(&self, user: &UserKey) -> Option<Link> {
        self.get(user)
    }
}

impl Lane {
    /// Begins when it is due, and asks for the next page when nobody else wants the target.
    pub(super) fn look_for_drift(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(drift) = self.target.drift else { return };
        if !self.may_look() || self.draining {
            return;
        }
        if self.drifting.is_none() {
            let due = self
                .record
                .drifted_at
                .is_some_and(|last| elapsed(last, now) >= drift.every);
            if !due {
                return;
            }
            self.drifting = Some(Drifting {
                survey: Survey::default(),
                cursor: None,
                join: None,
                began: None,
                asked: None,
                attempts: 0,
                next_try: now,
            });
        }
        let idle = self.is_idle();
        let Some(drifting) = self.drifting.as_mut() else { return };
        if drifting.asked.is_some() || drifting.next_try > now || !idle {
            return;
        }
        if let Some(wait) = self.pacer.take(false, now).err() {
            drifting.next_try = match wait {
                super::pace::Waits::Until(until) | super::pace::Waits::NextDay(until) => until,
            };
            return;
        }
        drifting.asked = Some(now);
        let cursor = drifting.cursor.clone();
        if drifting.began.is_none() {
            drifting.began = Some(now);
            // Of accounts that are only linked no value is known: they are listed where they were linked.
            let other = self
                .target
                .read_back
                .as_ref()
                .filter(|_| self.target.mode == Mode::Enforce);
            drifting.join = other.map(|other| Join::of(&other.by, self.links.iter()));
            drifting.survey.report.read_back = drifting.join.is_some();
        }
        let operation = match &drifting.join {
            Some(_) => Operation::ReadBack { cursor },
            None => Operation::List { cursor },
        };
        let id = self.take_off(Flight::DriftPage);
        effects.push(Effect::Execute(id, operation));
    }

    /// Whether nobody else wants the target, and there is a place: a page takes one like everything else, because some
    /// targets answer one request at a time.
    fn is_idle(&self) -> bool {
        self.queue.ready().next().is_none()
            && self.queue.resuming.is_empty()
            && self.accused.is_empty()
            && !self.batch
            && self.circuit.is_closed()
            && self.busy() < self.target.pace.concurrency
    }

    /// When a look or its next page is due. While others want the target or hold every place, their end brings it on.
    pub(super) fn next_drift(&self) -> Option<Timestamp> {
        let drift = self.target.drift.filter(|_| self.may_look() && self.is_idle())?;
        match &self.drifting {
            Some(drifting) => drifting.asked.is_none().then_some(drifting.next_try),
            None => self.record.drifted_at.map(|last| after(last, drift.every)),
        }
    }

    pub(super) fn drift_page(
        &mut self,
        result: Result<Answer, Failure>,
        now: Timestamp,
        random: f64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut drifting) = self.drifting.take() else {
            return;
        };
        let Some(asked) = drifting.asked.take() else { return };
        let target = std::sync::Arc::clone(&self.target);
        let other = target.read_back.as_ref().filter(|_| drifting.join.is_some());
        // What another interface shows may be older than the page.
        let shown_since = |at: Timestamp| other.map_or(at, |other| before(at, other.delay));
        match result {
            Ok(Answer::Page(accounts, next)) => {
                drifting.attempts = 0;
                let accounts = match &drifting.join {
                    Some(join) => accounts.into_iter().map(|account| join.joined(account)).collect(),
                    None => {
                        self.note_onboardings(&accounts);
                        accounts
                    }
                };
                let since = shown_since(asked);
                let rests = |user: &UserKey, link: &Link| self.rests_since(user, link, since);
                let (found, turn) = drifting
                    .survey
                    .page(&accounts, next, &self.links, (&target, other), rests);
                for (user, finding) in found {
                    self.found(user, &finding, &mut drifting, now, effects);
                }
                match turn {
                    Turn::Next(cursor) => {
                        drifting.cursor = Some(cursor);
                        drifting.next_try = now;
                        self.drifting = Some(drifting);
                    }
                    Turn::Complete if drifting.shows_nobody() => {
                        let words = "the read-back shows none of the accounts that are linked here: connection.readBack \
                                     leads to another customer of the application, or nobody's address is shown";
                        self.drift_done(drifting, Some(words.to_owned()), now);
                    }
                    Turn::Complete => {
                        let since = shown_since(drifting.began.unwrap_or(asked));
                        let join = drifting.join.take();
                        let rests = |user: &UserKey, link: &Link| {
                            let known = |account| join.as_ref().is_none_or(|join| join.knows(account));
                            link.remote_id.as_ref().is_none_or(known) && self.rests_since(user, link, since)
                        };
                        for user in drifting.survey.missing(self.links.iter(), rests) {
                            self.found(user, &Finding::Missing, &mut drifting, now, effects);
                        }
                        self.drift_done(drifting, None, now);
                    }
                    Turn::Endless => self.drift_done(drifting, Some("the list of accounts has no end".to_owned()), now),
                }
            }
            Ok(_) => self.drift_done(drifting, Some("the target does not list its accounts".to_owned()), now),
            Err(Failure::Reject(refusal)) => self.drift_done(drifting, Some(refusal.to_string()), now),
            Err(Failure::Retry(refusal, asked)) => {
                drifting.attempts += 1;
                if drifting.attempts >= ATTEMPTS_MAX {
                    return self.drift_done(drifting, Some(refusal.to_string()), now);
                }
                // A list cannot be gone on with after its cursor was lost: it begins anew.
                if super::whole::begins_anew(&refusal.code) {
                    drifting.cursor = None;
                    drifting.survey = Survey::default();
                    (drifting.began, drifting.join) = (None, None);
                }
                drifting.next_try = after(now, delay(&self.target.retry, drifting.attempts, asked, random));
                self.drifting = Some(drifting);
            }
            // Nobody's provisioning depends on it.
            Err(Failure::Halt(refusal)) if other.is_some() => self.drift_done(drifting, Some(refusal.to_string()), now),
            Err(Failure::Halt(refusal)) => {
                drifting.next_try = now;
                self.drifting = Some(drifting);
                self.trip(refusal, now, random);
            }
        }
    }

    /// Whether the look under way is at another interface.
    pub(super) fn reads_back(&self) -> bool {
        self.drifting.as_ref().is_some_and(|drifting| drifting.join.is_some())
    }

    /// Whether there is something to compare with: accounts that were imported, or linked by the first sync.
    fn may_look(&self) -> bool {
        let begun = match self.target.mode {
            Mode::Enforce => self.record.imported == Some(true),
            // Nothing is ever imported there.
            Mode::Link => self.all_fed && matches!(self.first, FirstSync::Done),
            Mode::Off | Mode::Observe => false,
        };
        begun && !self.moved && self.record.paused.is_none()
    }

    /// Nothing was or is being done for this person since then, so that what the page shows can be compared.
    fn rests_since(&self, user: &UserKey, link: &Link, asked: Timestamp) -> bool {
        let rests = !self.slots.contains_key(user) && !self.commits.holds(user);
        let settled = match link.state {
            LinkState::Settled => true,
            // Left alone on purpose; where only links are kept, that is everybody who differs.
            LinkState::Skipped { .. } => self.target.mode == Mode::Link,
            LinkState::Retrying { .. } | LinkState::Rejected { .. } | LinkState::Held { .. } => false,
        };
        rests && link.changed_at.is_none_or(|at| at < asked) && settled
    }

    /// Tells what differs, and in `repair` has it written again.
    fn found(
        &mut self,
        user: UserKey,
        finding: &Finding,
        drifting: &mut Drifting,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let repair =
            self.target.drift.is_some_and(|drift| drift.mode == DriftMode::Repair) && self.target.mode == Mode::Enforce;
        let Some(link) = self.links.get(&user) else { return };
        let mut next = link.clone();
        let mut reasons = vec![finding.in_words()];
        let mut repairs = repair;
        match finding {
            Finding::Changed(paths) => {
                let refused: Vec<&str> = paths
                    .iter()
                    .filter(|path| {
                        link.written
                            .get(path)
                            .is_some_and(|written| written.corrections >= CORRECTIONS_MAX)
                    })
                    .map(|path| path.0.as_str())
                    .collect();
                if !refused.is_empty() {
                    drifting.survey.report.refused += refused.len() as u64;
                    reasons.push(format!(
                        "refused by the target: written {CORRECTIONS_MAX} times and changed each time: {}",
                        refused.join(", ")
                    ));
                }
                let mut any = false;
                for path in paths {
                    if let Some(written) = next.written.get_mut(path)
                        && written.corrections < CORRECTIONS_MAX
                    {
                        written.corrections += 1;
                        written.doubted = true;
                        any = true;
                    }
                }
                repairs &= any;
            }
            Finding::SwitchedOn => next.active = Some(true),
            Finding::SwitchedOff => next.active = Some(false),
            // The write finds out whether it is really gone; then the person is looked up again.
            Finding::Missing => next = next.doubted(),
            // Whose it is, is for an operator: relink or unlink.
            Finding::WrongPerson(_) => repairs = false,
        }
        if repairs {
            reasons.push("written again because schedule.drift.mode is repair".to_owned());
            self.commits.note(user, next);
            effects.push(Effect::Again(vec![user]));
        }
        let id = format!("{}/{user}/drift/{}", self.target.name, now.as_second());
        let outcome = Outcome {
            user: Some(user),
            user_version: link.user_version,
            changed: match finding {
                Finding::Changed(paths) => paths.iter().map(ToString::to_string).collect(),
                _ => vec![],
            },
            ..self.remark(id, "drift", OutcomeResult::Skipped, reasons, now)
        };
        self.commits.tell(outcome);
    }

    fn drift_done(&mut self, drifting: Drifting, not_listed: Option<String>, now: Timestamp) {
        let mut report = drifting.survey.report;
        report.at = Some(now);
        report.not_listed = not_listed;
        let by = if report.read_back { "read back: " } else { "" };
        let words = format!(
            "{by}accounts {}, missing {}, changed by others {}, of another person {}, unmanaged {}, refused attributes {}",
            report.accounts, report.missing, report.changed, report.wrong, report.unmanaged, report.refused
        );
        let reasons = [Some(words), report.not_listed.clone()].into_iter().flatten().collect();
        self.record.drifted_at = Some(now);
        self.record.drift = Some(report);
        let outcome = self.target_outcome("drift", OutcomeResult::Done, reasons, None, now);
        self.commits.tell(outcome);
    }

    /// An operator wants a look now.
    pub(super) fn drift_now(&mut self) -> Result<String, String> {
        if self.target.drift.is_none() || !matches!(self.target.mode, Mode::Enforce | Mode::Link) {
            return Err("schedule.drift is not configured, or the mode is neither enforce nor link".to_owned());
        }
        if self.drifting.is_some() {
            return Ok("a look at the whole target is under way; this request joins it".to_owned());
        }
        self.record.drifted_at = Some(Timestamp::UNIX_EPOCH);
        Ok("the whole target is looked at as soon as nobody else wants it".to_owned())
    }
}

impl Drifting {
    /// Although there are linked accounts that it could show. It is asked before anybody is said to be missing.
    fn shows_nobody(&self) -> bool {
        let report = &self.survey.report;
        self.join.as_ref().is_some_and(|join| !join.is_empty()) && report.accounts == report.unmanaged
    }
}

/// So long before, or the beginning of time.
fn before(at: Timestamp, span: Duration) -> Timestamp {
    at.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// For the status.
pub(super) fn listed(drifting: &Drifting) -> u64 {
    drifting.survey.report.accounts
}
