//! What concerns the target as a whole: the circuit and the first look at the application.

use jiff::Timestamp;
use usher_contract::OutcomeResult;

use super::{Answer, FirstSync, Lane, Mode, Remote, results::TOO_MANY};
use crate::{
    connector::{CURSOR_REFUSED, Failure, LIST_INCOMPLETE, Refusal},
    logic::{
        account::AttributePath,
        first_sync::{Listing, Turn},
        policy::{ACTIVE, EXTERNAL_ID},
        retry::{after, delay},
        target_record::{FirstSyncReport, MOVED, moved_in_words},
    },
};

/// How often the list is begun anew. It only serves a report: after so many times people are looked up one by one.
const RESTARTS_MAX: u32 = 5;

/// Whether the next page can only come after the first one.
pub(super) fn begins_anew(code: &str) -> bool {
    matches!(code, CURSOR_REFUSED | LIST_INCOMPLETE)
}

impl Lane {
    pub(super) fn probed(&mut self, result: Result<Answer, Failure>, now: Timestamp, random: f64) {
        match result {
            Ok(answer) => {
                if let Answer::CheckedAs(owner) = answer {
                    self.protect(&owner);
                }
                if !self.circuit.close(now) {
                    return;
                }
                let outcome = self.target_outcome(
                    "resume",
                    OutcomeResult::Done,
                    vec!["the target answers again".into()],
                    None,
                    now,
                );
                self.commits.tell(outcome);
            }
            Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => {
                if self
                    .circuit
                    .still_open(refusal.clone(), &self.target.retry, now, random)
                {
                    self.tripped(&refusal, now);
                }
            }
        }
    }

    /// The policy names another application than the links belong to, or that one again: said once.
    pub(super) fn tell_moved(&mut self, before: Option<Timestamp>, now: Timestamp) {
        let (result, words) = match (before, self.record.moved_since) {
            (None, Some(_)) => (OutcomeResult::Held, moved_in_words(self.links.bound())),
            (Some(_), None) => {
                let words = "the address and tenant are those of the links again: the target goes on";
                (OutcomeResult::Done, words.to_owned())
            }
            (None, None) | (Some(_), Some(_)) => return,
        };
        let outcome = self.target_outcome(MOVED, result, vec![words], None, now);
        self.commits.tell(outcome);
    }

    /// The policy names another application, and nobody is linked that an operator would have to decide about.
    pub(super) fn tell_begins_anew(&mut self, now: Timestamp) {
        let words = "the address or tenant is another one and nobody is linked: what was found out there before does not \
                     count, and it begins with a first sync";
        let outcome = self.target_outcome(MOVED, OutcomeResult::Done, vec![words.to_owned()], None, now);
        self.commits.tell(outcome);
    }

    /// The account of the credentials is never written: whoever is switched off there could not be switched on again.
    fn protect(&mut self, owner: &[String]) {
        let names = owner.iter().map(|name| name.trim().to_lowercase());
        let mut target = (*self.target).clone();
        target.protected.extend(names);
        self.target = std::sync::Arc::new(target);
    }

    pub(super) fn listed(&mut self, result: Result<Answer, Failure>, now: Timestamp, random: f64) {
        let retry = self.target.retry;
        let FirstSync::Listing {
            listing,
            cursor,
            under_way,
            attempts,
            restarts,
            next_try,
        } = &mut self.first
        else {
            return;
        };
        *under_way = false;
        match result {
            Ok(Answer::Page(accounts, next)) => match listing.page(accounts, next) {
                Turn::Next(next) => *cursor = Some(next),
                Turn::Complete => self.first_sync_done(None, now),
                Turn::Endless => self.first_sync_done(Some("the list of accounts has no end".to_owned()), now),
            },
            Ok(_) => self.first_sync_done(Some("the target does not list its accounts".to_owned()), now),
            Err(Failure::Reject(refusal)) => self.first_sync_done(Some(refusal.to_string()), now),
            Err(Failure::Retry(refusal, _)) if begins_anew(&refusal.code) && *restarts >= RESTARTS_MAX => {
                self.first_sync_done(Some(refusal.to_string()), now);
            }
            Err(Failure::Retry(refusal, asked)) => {
                if begins_anew(&refusal.code) {
                    (*listing, *cursor) = (Listing::default(), None);
                    *restarts += 1;
                }
                *attempts += 1;
                *next_try = after(now, delay(&retry, *attempts, asked, random));
                if refusal.code != TOO_MANY && self.circuit.failed(&refusal, &retry, now, random) {
                    self.tripped(&refusal, now);
                }
            }
            Err(Failure::Halt(refusal)) => self.trip(refusal, now, random),
        }
    }

    fn first_sync_done(&mut self, not_listed: Option<String>, now: Timestamp) {
        let FirstSync::Listing { listing, .. } = std::mem::replace(&mut self.first, FirstSync::Done) else {
            return;
        };
        let people = self
            .queue
            .ready()
            .filter_map(|user| self.slots.get(user))
            .map(|slot| (slot.newest.user.key(), self.match_values(&slot.newest)));
        let (report, matched) = listing.report(people, self.target.matching.adopt_inactive, &self.links, now);
        let mut would_change: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        for (user, account) in matched {
            let Some(slot) = self.slots.get(&user) else { continue };
            let plan = self.plan(&slot.newest, &Remote::Found(vec![account]), false, now);
            let (keeps, switches) = (self.target.matching.keeps_external_ids, self.target.features.reactivate);
            // What the application has no place for, or nobody writes there, does not change.
            let written = |path: &&AttributePath| match path.0.as_str() {
                EXTERNAL_ID => keeps,
                ACTIVE => switches,
                _ => true,
            };
            for path in plan.changed.iter().filter(written) {
                *would_change.entry(path.0.clone()).or_default() += 1;
            }
        }
        let report = FirstSyncReport {
            not_listed,
            would_change,
            ..report
        };
        let changes: Vec<String> = report
            .would_change
            .iter()
            .map(|(name, count)| format!("{name} of {count}"))
            .collect();
        let words = format!(
            "accounts {}, matched {}, would create {}, would change [{}], ambiguous {}, unmatched {}",
            report.accounts,
            report.matched,
            report.would_create,
            changes.join(", "),
            report.ambiguous,
            report.unmatched
        );
        self.record.first_sync_waits = self.target.matching.approve_first_sync && self.target.mode == Mode::Enforce;
        let reasons = [Some(words), report.not_listed.clone()].into_iter().flatten().collect();
        self.record.first_sync = Some(report);
        let result = if self.record.first_sync_waits {
            OutcomeResult::Held
        } else {
            OutcomeResult::Done
        };
        let outcome = self.target_outcome("first-sync", result, reasons, None, now);
        self.commits.tell(outcome);
    }

    pub(super) fn trip(&mut self, refusal: Refusal, now: Timestamp, random: f64) {
        if self.circuit.trip(refusal.clone(), &self.target.retry, now, random) {
            self.tripped(&refusal, now);
        }
    }

    /// The circuit has opened: said once; whoever was between look-up and write looks again later.
    pub(super) fn tripped(&mut self, refusal: &Refusal, now: Timestamp) {
        let outcome = self.target_outcome(
            "halt",
            OutcomeResult::Halted,
            vec![refusal.reason.clone()],
            Some(refusal),
            now,
        );
        self.commits.tell(outcome);
        while let Some((user, _)) = self.queue.resuming.pop() {
            self.put_back(user, now);
        }
    }
}
