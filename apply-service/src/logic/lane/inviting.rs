//! Invitations: the target's own activation or password-reset mail, for people whom an operator names.
//!
//! Whoever is meant is put on the books with the command, in one transaction, so none is forgotten when the owner dies.
//! The mails themselves are operations at the target: paced, one by one, under a young commit. They change nothing of the
//! account, so what they run into is theirs alone and does not open the circuit. No password ever comes along.

use jiff::Timestamp;
use usher_contract::UserKey;
use usher_filter::{Fields, Filter, People as _, Truth};

use super::{Answer, Effect, FirstSync, Flight, Glance, Lane, Mode, pace::Waits};
use crate::{
    connector::{Failure, Operation, Refusal},
    logic::{
        command::Verb,
        notification::{Channel, Notice, NoticeKind, NoticeState, Onboarding, Undelivered, notice_id},
    },
};

/// Why this target cannot.
const NOT_OFFERED: &str = "features.invite is off: nobody has said that this application has an activation or \
                           password-reset mail of its own";

impl Lane {
    /// Puts invitations on the books: for one person, or for everybody with an account that is on for whom a filter holds.
    pub(super) fn owe_invitations(
        &mut self,
        verb: &Verb,
        command: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<String, String> {
        let Verb::Invite { user, filter } = verb else {
            return Err("no invitation".to_owned());
        };
        if !self.target.features.invite {
            return Err(NOT_OFFERED.to_owned());
        }
        if self.target.mode != Mode::Enforce {
            return Err(format!("the mode is {}, not enforce", self.target.mode.as_str()));
        }
        let (chosen, left_out) = match (user, filter) {
            (Some(user), None) => {
                let link = self.links.get(user).filter(|link| link.remote_id.is_some());
                let link = link.ok_or_else(|| format!("{user} has no account here"))?;
                if link.active == Some(false) {
                    return Err(format!("the account of {user} is off"));
                }
                (vec![*user], 0)
            }
            (None, Some(filter)) => self.chosen(filter, now)?,
            (Some(_), Some(_)) | (None, None) => return Err("name one person, or a filter".to_owned()),
        };
        if chosen.len() > Verb::INVITE_MAX {
            return Err(format!(
                "{} people are meant; at most {} at a time: make the filter narrower",
                chosen.len(),
                Verb::INVITE_MAX
            ));
        }
        let (name, cause) = (self.target.name.clone(), format!("invite/{command}"));
        let mut owed = 0;
        for user in &chosen {
            let kind = NoticeKind::Invite {
                actor: actor.to_owned(),
            };
            let notice = Notice::owed(kind.clone(), notice_id(&name, user, &kind, &cause), now);
            self.tell(*user, |told| {
                let waits = told
                    .notices
                    .iter()
                    .any(|other| other.kind.is_same(&kind) && matches!(other.state, NoticeState::Owed { .. }));
                if !waits {
                    told.notices.retain(|other| !other.kind.is_same(&kind));
                    told.notices.push(notice);
                    owed += 1;
                }
            });
        }
        let mut words = format!("the target's own activation or password-reset mail is asked for {owed} people");
        if owed < chosen.len() {
            words.push_str(&format!("; for {} it was asked already", chosen.len() - owed));
        }
        if left_out > 0 {
            words.push_str(&format!(
                "; {left_out} are left out because a field that would decide is unknown"
            ));
        }
        Ok(words)
    }

    /// Everybody with an account that is on for whom the filter holds, and how many it cannot judge.
    fn chosen(&self, filter: &str, now: Timestamp) -> Result<(Vec<UserKey>, usize), String> {
        let all = filter.trim().eq_ignore_ascii_case("all");
        let filter = if all {
            None
        } else {
            let parsed = Filter::parse(filter, &Fields::default());
            Some(parsed.map_err(|error| format!("the filter: {error}\n{}", error.marked(filter)))?)
        };
        let clock = self.target.scope.clock(now);
        let (mut chosen, mut unknown) = (Vec::new(), 0);
        let on = |(_, glance): &(&UserKey, Glance)| glance.is_linked() && !glance.is_off();
        for (user, _) in self.links.glances().filter(on) {
            self.everybody.look(*user, &mut |person| match filter
                .as_ref()
                .map(|filter| filter.evaluate(person, &self.everybody, &clock))
            {
                None | Some(Truth::True) => chosen.push(*user),
                Some(Truth::False) => {}
                Some(Truth::Unknown(_)) => unknown += 1,
            });
        }
        chosen.sort_unstable();
        Ok((chosen, unknown))
    }

    /// Asks the target for those that may begin now: after everybody who waits for a change of the account.
    pub(super) fn invite(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let works = self.circuit.is_closed()
            && self.accused.is_empty()
            && matches!(self.first, FirstSync::Done)
            && !self.batch
            && !self.record.first_sync_waits
            && self.queue.first_ready().is_none()
            && self.queue.resuming.is_empty();
        if !works {
            return;
        }
        for (user, notice) in self.take_due(&Channel::Target, now) {
            if self.busy() >= self.target.pace.concurrency {
                return;
            }
            // Whoever has something outstanding at the target comes afterwards.
            if self.slots.contains_key(&user) || self.is_inviting(&user) {
                continue;
            }
            let link = self.links.get(&user);
            let account = link
                .filter(|link| link.active != Some(false))
                .and_then(|link| link.remote_id.clone());
            let Some(account) = account else {
                self.void_notice(user, &notice, "the account is off or gone by now".to_owned(), now);
                continue;
            };
            if !self.target.features.invite {
                self.void_notice(user, &notice, "features.invite is off by now".to_owned(), now);
                continue;
            }
            match self.pacer.take(false, now) {
                Ok(()) => {}
                Err(Waits::Until(until) | Waits::NextDay(until)) => {
                    self.paced = Some(self.paced.map_or(until, |before| before.min(until)));
                    return;
                }
            }
            let id = self.take_off(Flight::Invite(user, notice.id));
            effects.push(Effect::Execute(id, Operation::Invite(account)));
        }
    }

    fn is_inviting(&self, user: &UserKey) -> bool {
        self.flights
            .values()
            .any(|flight| matches!(flight, Flight::Invite(whose, _) if whose == user))
    }

    /// What the target has answered.
    pub(super) fn invited(
        &mut self,
        user: UserKey,
        id: &str,
        result: Result<Answer, Failure>,
        now: Timestamp,
        random: f64,
    ) {
        let told = self.told(&user);
        let Some(notice) = told.notices.into_iter().find(|notice| notice.id == id) else {
            return;
        };
        let undelivered = match result {
            Ok(Answer::Taken) => {
                if told.onboarding != Some(Onboarding::Activated) {
                    self.note_onboarding(user, Onboarding::Invited);
                }
                return self.sent(user, &notice, now);
            }
            Ok(_) => Undelivered::Refused(Refusal {
                code: "account-gone".to_owned(),
                reason: "the target has no such account any longer".to_owned(),
            }),
            Err(Failure::Reject(refusal)) => Undelivered::Refused(refusal),
            Err(Failure::Halt(refusal)) => {
                // The next ones would be answered in the same way.
                self.rest(Channel::Target, None, now, random);
                Undelivered::Refused(refusal)
            }
            Err(Failure::Retry(refusal, _)) if refusal.code == "lease-expired" => Undelivered::LeaseOver,
            Err(Failure::Retry(refusal, asked)) => Undelivered::Down(refusal, asked),
        };
        self.undelivered(user, &notice, undelivered, now, random);
    }
}
