//! People of whom there is no state any more: erased at the source, or never fed although there is a link.
//!
//! Nothing is done about them at the target, because nothing is known that could decide it. What was outstanding ends, and
//! an account that may still be on is reported, once, so that an operator can.

use jiff::Timestamp;
use usher_contract::{Outcome, OutcomeResult, StateHash, UserKey};

use super::{Glance, Lane, Mode, RESULTS_MAX, Stage};
use crate::logic::link::{Link, LinkState, WrittenAttributes};

const REASON: &str =
    "there is no state of this person any more (erased), and their account is not known to be off; it is left alone";

impl Lane {
    /// Takes note that there is no state of a person any more. A step under way is awaited.
    pub(super) fn erase(&mut self, user: UserKey, now: Timestamp) {
        self.behind.remove(&user);
        self.links.groups.unwant(user);
        self.undecided.remove(&user);
        self.skipped.remove(&user);
        self.kept.remove(&user);
        self.conflicts.remove(&user);
        self.observed.remove(&user);
        // No later state will be compared with what the link says.
        self.suspects.remove(&user);
        self.doubtful.remove(&user);
        match self.slots.get(&user).map(|slot| &slot.stage) {
            Some(Stage::Ready(..) | Stage::Delayed(_)) => {
                self.erased.insert(user);
                self.place(user, now);
            }
            Some(_) => {
                self.erased.insert(user);
            }
            None if self.links.glance(&user).is_some() => {
                self.erased.insert(user);
                self.to_report.insert(user);
            }
            None => {}
        }
    }

    /// Ends what was outstanding for somebody erased. False when they are not.
    pub(super) fn ended_by_erasure(&mut self, user: UserKey) -> bool {
        if !self.erased.contains(&user) {
            return false;
        }
        self.slots.remove(&user);
        self.links.release(&user);
        self.to_report.insert(user);
        true
    }

    /// Everybody has been fed: whoever has a link and was not among them is not on the topic.
    pub(super) fn everybody_fed(&mut self) {
        self.all_fed = true;
        let missing = self.links.take_awaited();
        self.to_report.extend(missing.iter().copied());
        self.erased.extend(missing);
    }

    /// Reports as many as there is room for.
    pub(super) fn report_erased(&mut self, now: Timestamp) {
        while self.commits.waiting() < RESULTS_MAX
            && let Some(user) = self.to_report.pop_first()
        {
            // Whoever is being recorded comes again when that is committed.
            if !self.erased.contains(&user) || self.commits.holds(&user) || !matches!(self.target.mode, Mode::Enforce) {
                continue;
            }
            let Some(link) = self.links.get(&user) else { continue };
            if !self.links.glance(&user).is_some_and(Glance::may_be_on) {
                // Nothing of them is wanted any more, so nothing of them is kept.
                if !link.values.is_empty() {
                    let link = Link {
                        values: [].into(),
                        written: WrittenAttributes::default(),
                        ..link
                    };
                    self.commits.note(user, link);
                }
                continue;
            }
            let desired = StateHash::of_text(REASON);
            if matches!(&link.state, LinkState::Skipped { desired: said, .. } if *said == desired) {
                continue;
            }
            let link = Link {
                state: LinkState::Skipped {
                    desired,
                    reason: REASON.to_owned(),
                    at: now,
                },
                ..link
            };
            let id = format!("{}/{user}/{}/erased", self.target.name, link.user_version);
            let outcome = Outcome {
                user: Some(user),
                user_version: link.user_version,
                ..self.remark(id, "skip", OutcomeResult::Skipped, vec![REASON.to_owned()], now)
            };
            self.commits.record(user, link, outcome, None, false);
        }
    }

    /// How many accounts of people without a state are not known to be off.
    pub(super) fn orphans(&self) -> usize {
        let on = |user: &&UserKey| self.links.glance(user).is_some_and(Glance::may_be_on);
        self.erased.iter().filter(on).count()
    }
}
