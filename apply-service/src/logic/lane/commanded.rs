//! Commands of operators, carried out by the lane. Each ends as an outcome with its actor and reason.

use std::time::Duration;

use jiff::Timestamp;
use usher_contract::{Approval, Outcome, OutcomeResult, UserKey};

use super::{Effect, Lane, Mode, Stage};
use crate::logic::{
    command::{Command, Verb, outcome_id},
    link::{Link, LinkState},
    plan::Accounts,
    retry::after,
    target_record::Allowance,
};

impl Lane {
    /// Carries out the command that stands at this place of the topic. One that was carried out before is left alone.
    pub(super) fn command(&mut self, offset: i64, command: &Command, now: Timestamp, effects: &mut Vec<Effect>) {
        if offset < self.record.commands_done {
            return;
        }
        self.record.commands_done = offset + 1;
        let result = if command.expires_at < now {
            Err("nobody could take it before it expired; send it again if it is still meant".to_owned())
        } else {
            self.carry_out_command(command, now, effects)
        };
        let (result, words) = match result {
            Ok(words) => (OutcomeResult::Done, words),
            Err(why) => (OutcomeResult::Rejected, why),
        };
        let user = match &command.verb {
            Verb::Redrive { user } | Verb::Invite { user, .. } => *user,
            Verb::Relink { user, .. } | Verb::Unlink { user } => Some(*user),
            _ => None,
        };
        let id = outcome_id(&self.target.name, &command.id);
        let reasons = vec![words, command.by.reason.clone()];
        self.commits.tell(Outcome {
            user,
            actor: Some(command.by.actor.clone()),
            ..self.remark(id, command.verb.as_str(), result, reasons, now)
        });
    }

    fn carry_out_command(
        &mut self,
        command: &Command,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<String, String> {
        let (verb, by): (&Verb, &Approval) = (&command.verb, &command.by);
        match verb {
            Verb::Pause => {
                self.record.paused = Some(by.clone());
                Ok("paused: what is under way ends, nothing else begins".to_owned())
            }
            Verb::Resume => match self.record.paused.take() {
                Some(paused) => Ok(format!("goes on; it was paused by {}", paused.actor)),
                None => Err("it is not paused".to_owned()),
            },
            Verb::Approve { set } => {
                let members = self.approve(set, by, now)?;
                let words = format!(
                    "{} members of {set} are planned again; who is still to be changed is",
                    members.len()
                );
                effects.push(Effect::Ask(members));
                Ok(words)
            }
            Verb::Allow { removals, for_seconds } => {
                let lasts = Duration::from_secs(*for_seconds);
                if *removals == 0 || lasts.is_zero() || lasts > Verb::ALLOW_MAX {
                    return Err("an allowance is for at least one removal and for at most seven days".to_owned());
                }
                let until = after(now, lasts);
                self.record.allowances.push(Allowance {
                    removals: *removals,
                    used: 0,
                    until,
                    by: by.clone(),
                });
                Ok(format!("{removals} removals more than the guard allows, until {until}"))
            }
            Verb::Reconcile => {
                self.record.reconciled_at = None;
                self.record.reimported_at = Some(now);
                Ok("everybody is planned again".to_owned())
            }
            Verb::Drift => self.drift_now(),
            Verb::Invite { .. } => self.owe_invitations(verb, &command.id, &by.actor, now),
            Verb::Redrive { user: Some(user) } => {
                self.redrive_notices(Some(*user), now);
                effects.push(Effect::Again(vec![*user]));
                Ok("planned again from the present state".to_owned())
            }
            Verb::Redrive { user: None } => {
                let refused: Vec<UserKey> = self
                    .links
                    .iter()
                    .filter(|(_, link)| matches!(link.state, LinkState::Rejected { .. } | LinkState::Retrying { .. }))
                    .map(|(user, _)| *user)
                    .collect();
                let mut words = format!("{} people are planned again from their present state", refused.len());
                let notices = self.redrive_notices(None, now);
                if notices > 0 {
                    words.push_str(&format!("; {notices} notices are sent again"));
                }
                effects.push(Effect::Again(refused));
                Ok(words)
            }
            Verb::Relink { user, account } => {
                if let Some(holder) = self.links.holder(account).filter(|holder| holder != user) {
                    return Err(format!(
                        "account {account} is held by {holder}; unlink that person first"
                    ));
                }
                self.rewrite(*user, effects, |link| {
                    link.remote_id = Some(account.clone());
                    link.written.clear();
                    // Nothing was ever pushed to this account: what is assigned does not wait.
                    link.assignment = None;
                    link.active = None;
                    link.create_intent = false;
                    link.state = LinkState::Settled;
                })?;
                Ok(format!("account {account} is theirs; what differs is written"))
            }
            Verb::Unlink { user } => {
                if self.links.account_of(user).is_none() {
                    return Err(format!("{user} has no account here"));
                }
                self.rewrite(*user, effects, |link| {
                    link.remote_id = None;
                    link.written.clear();
                    link.active = None;
                    link.create_intent = false;
                    link.state = LinkState::Settled;
                })?;
                Ok("the account is nobody's; it stays as it is".to_owned())
            }
        }
    }

    /// Changes what is known of somebody who is not under way, and plans them again.
    fn rewrite(
        &mut self,
        user: UserKey,
        effects: &mut Vec<Effect>,
        change: impl FnOnce(&mut Link),
    ) -> Result<(), String> {
        let under_way = self
            .slots
            .get(&user)
            .is_some_and(|slot| !matches!(slot.stage, Stage::Ready(..) | Stage::Delayed(_)));
        if under_way || self.commits.holds(&user) {
            return Err("something is being done for this person right now; try again in a moment".to_owned());
        }
        if self.target.mode == Mode::Off {
            return Err("the target is off".to_owned());
        }
        let mut link = self
            .links
            .get(&user)
            .unwrap_or_else(|| Link::unlinked(0, self.target.hash));
        change(&mut link);
        self.links.release(&user);
        self.doubtful.remove(&user);
        self.forget_in_queue(user);
        self.commits.note(user, link);
        effects.push(Effect::Again(vec![user]));
        Ok(())
    }
}
