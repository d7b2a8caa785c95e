//! Notices in the life of a lane: intended with the account, owed with its confirmation, sent, and tried again.
//!
//! Guarantees:
//! * What is owed is committed with the result that it speaks of, and sent only afterwards: a crash loses none.
//! * A notice that was sent is sent again only when the process dies before that is committed, with the same id.
//! * Nothing waits for it: no slot, no pace, no circuit, no place among the operations at the target. What does not get
//!   through rests by channel, so a mail server that is away costs one try at a time.
//! * Nothing is sent without a young commit, as nothing is written.
//!
//! What was told is kept beside the links until it is committed, and goes into whatever link is written next: so an
//! action under way for the same person and a notice never overwrite each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use usher_contract::{Known, Outcome, OutcomeResult, User, UserChange, UserKey};
use usher_filter::People as _;

use super::{COMMIT_YOUNG, Effect, Lane, Mode, OperationId};
use crate::{
    connector::Refusal,
    logic::{
        gate::with_primary_domain,
        link::Link,
        matching::Seen,
        notification::{
            Channel, Delivery, NoAddress, Notice, NoticeKind, NoticeState, Onboarding, Undelivered, address, captures,
            event_of, notice_id, on_create,
        },
        plan::{Action, Plan},
        policy::EXTERNAL_ID,
        retry::{after, delay, elapsed},
    },
};

/// Deliveries of one channel at the same time. Each holds a connection; a thousand new users are a thousand mails.
const UNDER_WAY_MAX: usize = 4;
/// The shortest rest of a channel: jitter may come out as nothing.
const REST_MIN: Duration = Duration::from_secs(1);

/// What is known of a person besides the account itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Told {
    pub(super) notices: Vec<Notice>,
    pub(super) onboarding: Option<Onboarding>,
}

impl Told {
    fn of(link: Option<&Link>) -> Self {
        link.map_or_else(Self::default, |link| Self {
            notices: link.notices.clone(),
            onboarding: link.onboarding,
        })
    }
}

/// A channel that does not get through.
#[derive(Debug)]
struct Rest {
    failures: u32,
    until: Timestamp,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Notifying {
    /// Newer than the committed links.
    told: BTreeMap<UserKey, Told>,
    /// Committed and owed, by channel and time.
    due: BTreeMap<Channel, BTreeSet<(Timestamp, UserKey, String)>>,
    under_way: BTreeMap<OperationId, (Channel, UserKey, String)>,
    resting: BTreeMap<Channel, Rest>,
    failed: usize,
}

impl Notifying {
    /// Over what was restored.
    pub(super) fn over<'a>(links: impl Iterator<Item = (&'a UserKey, Link)>) -> Self {
        let mut notifying = Self::default();
        for (user, link) in links {
            notifying.recorded(*user, None, &link);
        }
        notifying
    }

    /// Whose notices are newer than their links.
    pub(super) fn unrecorded(&self) -> impl Iterator<Item = &UserKey> {
        self.told.keys()
    }
    /// Whether everything that was told is committed.
    pub(super) fn is_recorded(&self) -> bool {
        self.told.is_empty()
    }
    /// Whether nothing is being sent.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }
    /// How many are to be sent.
    pub(super) fn owed(&self) -> usize {
        self.due.values().map(BTreeSet::len).sum()
    }
    /// How many were refused or given up.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// Puts the newest notices into a link that is about to be written. With the intent to make an account ends what was
    /// intended to be told of it.
    pub(super) fn stamp(&mut self, user: &UserKey, committed: Option<&Link>, link: &mut Link) {
        let newest = self.told.get(user).cloned();
        let mut told = newest.unwrap_or_else(|| Told::of(committed));
        if !link.create_intent {
            told.notices.retain(|notice| notice.state != NoticeState::Intended);
        }
        // It is the account's, not the person's.
        told.onboarding = told.onboarding.filter(|_| link.remote_id.is_some());
        if let Some(newest) = self.told.get_mut(user) {
            newest.clone_from(&told);
        }
        link.notices = told.notices;
        link.onboarding = told.onboarding;
    }

    /// A link is committed in the place of another one.
    pub(super) fn recorded(&mut self, user: UserKey, before: Option<&Link>, link: &Link) {
        for notice in before.map(|link| link.notices.as_slice()).unwrap_or_default() {
            if let Some(next_try) = notice.next_try()
                && let Some(due) = self.due.get_mut(&notice.kind.channel())
            {
                due.remove(&(next_try, user, notice.id.clone()));
            }
            let failed = usize::from(matches!(notice.state, NoticeState::Failed { .. }));
            self.failed = self.failed.saturating_sub(failed);
        }
        for notice in &link.notices {
            if let Some(next_try) = notice.next_try() {
                let due = self.due.entry(notice.kind.channel()).or_default();
                due.insert((next_try, user, notice.id.clone()));
            }
            self.failed += usize::from(matches!(notice.state, NoticeState::Failed { .. }));
        }
        self.due.retain(|_, due| !due.is_empty());
        if self.told.get(&user).is_some_and(|told| *told == Told::of(Some(link))) {
            self.told.remove(&user);
        }
    }

    fn is_under_way(&self, user: &UserKey, id: &str) -> bool {
        self.under_way
            .values()
            .any(|(_, whose, which)| whose == user && which == id)
    }

    /// How many more of a channel may begin now. One that did not get through is tried by one.
    fn room(&self, channel: &Channel, now: Timestamp) -> usize {
        let under_way = self.under_way.values().filter(|(busy, ..)| busy == channel).count();
        match self.resting.get(channel) {
            Some(rest) if rest.until > now => 0,
            Some(_) => 1_usize.saturating_sub(under_way),
            None => UNDER_WAY_MAX.saturating_sub(under_way),
        }
    }
}

/// What comes of looking at a notice that is due.
enum Prepared {
    Send(Delivery),
    /// It has become void, and why.
    Void(String),
    /// It cannot be sent.
    Fails(Undelivered),
}

impl Lane {
    pub(super) fn told(&self, user: &UserKey) -> Told {
        match self.notifying.told.get(user) {
            Some(told) => told.clone(),
            None => Told::of(self.links.get(user).as_ref()),
        }
    }

    /// Changes what is known of a person besides the account; committed with whatever is written of them next.
    pub(super) fn tell(&mut self, user: UserKey, change: impl FnOnce(&mut Told)) {
        let before = self.told(&user);
        let mut told = before.clone();
        change(&mut told);
        if told != before {
            self.notifying.told.insert(user, told);
        }
    }

    /// What speaks of nobody's link is not waited for.
    pub(super) fn forget_idle_notices(&mut self) {
        let (links, commits) = (&self.links, &self.commits);
        self.notifying
            .told
            .retain(|user, _| links.glance(user).is_some() || commits.holds(user));
    }

    /// Who is to be told of the account that this plan makes.
    fn notices_of(&self, plan: &Plan, change: &UserChange) -> Vec<NoticeKind> {
        let notify = &self.target.notify;
        if plan.action != Action::Create || (self.record.imported != Some(true) && !notify.first_import) {
            return Vec::new();
        }
        on_create(notify, &change.user, |manager| {
            self.is_recorded_team(manager, plan, &change.user)
        })
    }

    /// Whether data of the team of a manager is captured: of the new member, or of somebody who has an account already.
    fn is_recorded_team(&self, manager: &UserKey, plan: &Plan, newcomer: &User) -> bool {
        let captured = |name: &str, user: &User| {
            let assignment = self.target.assignments.iter().find(|known| known.name == name);
            assignment.is_some_and(|assignment| captures(assignment, user, &self.target))
        };
        let own = plan.assignment.as_ref().map(|assigned| assigned.name.as_str());
        own.is_some_and(|name| captured(name, newcomer))
            || self.reports.direct(manager).any(|report| {
                let link = self.links.get(report);
                let assigned = link
                    .filter(|link| link.remote_id.is_some() && link.active != Some(false))
                    .and_then(|link| link.assignment);
                let mut on = false;
                if let Some(assigned) = assigned {
                    self.everybody
                        .look(*report, &mut |user| on = captured(&assigned.name, user));
                }
                on
            })
    }

    /// Whether somebody who is to be told of the account is not on the books yet.
    pub(super) fn lacks_notices(&self, user: &UserKey, plan: &Plan, change: &UserChange) -> bool {
        let wanted = self.notices_of(plan, change);
        if wanted.is_empty() {
            return false;
        }
        let told = self.told(user);
        wanted.iter().any(|kind| !has(&told.notices, kind))
    }

    /// Puts on the books who is to be told, with the intent to make the account: should its answer be lost and the account
    /// be found later, they are told then. Once per person: whoever was told of an account is not told of a second one.
    pub(super) fn intend_notices(&mut self, user: UserKey, plan: &Plan, change: &UserChange, now: Timestamp) {
        let wanted = self.notices_of(plan, change);
        let name = self.target.name.clone();
        let (creates, cause) = (plan.action == Action::Create, format!("create/{}", change.version));
        self.tell(user, |told| {
            if !creates {
                told.notices.retain(|notice| notice.state != NoticeState::Intended);
            }
            for kind in wanted {
                if !has(&told.notices, &kind) {
                    let id = notice_id(&name, &user, &kind, &cause);
                    told.notices.push(Notice::intended(kind, id, now));
                }
            }
        });
    }

    /// Something was done: what was intended is owed when it has made the account, and void otherwise.
    pub(super) fn owe_notices(&mut self, user: UserKey, plan: &Plan, now: Timestamp) {
        // An account from a create whose answer was lost, found again, perhaps only to be switched off. It carries our key,
        // where the target keeps it.
        let intended = |link: &Link| link.create_intent && link.remote_id.is_none();
        let found_again = matches!(plan.action, Action::Adopt | Action::Deactivate)
            && self.links.get(&user).as_ref().is_some_and(intended)
            && !(self.target.matching.keeps_external_ids && plan.changed.iter().any(|path| path.0 == EXTERNAL_ID));
        let made = plan.action == Action::Create || found_again;
        self.tell(user, |told| {
            if made {
                for notice in &mut told.notices {
                    if notice.state == NoticeState::Intended {
                        notice.at = now;
                        notice.owe(now);
                    }
                }
            } else {
                told.notices.retain(|notice| notice.state != NoticeState::Intended);
            }
        });
    }

    /// How far somebody is in, as the target says it.
    pub(super) fn note_onboarding(&mut self, user: UserKey, onboarding: Onboarding) {
        self.tell(user, |told| told.onboarding = Some(onboarding));
    }

    /// The same for a page of the list.
    pub(super) fn note_onboardings(&mut self, accounts: &[Seen]) {
        for account in accounts {
            if let Some(onboarding) = account.onboarding
                && let Some(user) = self.links.held_by(&account.id)
            {
                self.note_onboarding(user, onboarding);
            }
        }
    }

    /// Owes again what was refused or given up, of one person or of everybody. How many.
    pub(super) fn redrive_notices(&mut self, only: Option<UserKey>, now: Timestamp) -> usize {
        let is_failed = |notice: &Notice| matches!(notice.state, NoticeState::Failed { .. });
        let users: Vec<UserKey> = match only {
            Some(user) => vec![user],
            None => self
                .links
                .iter()
                .filter(|(_, link)| link.notices.iter().any(is_failed))
                .map(|(user, _)| *user)
                .collect(),
        };
        let mut owed = 0;
        for user in users {
            self.tell(user, |told| {
                for notice in told.notices.iter_mut().filter(|notice| is_failed(notice)) {
                    notice.owe(now);
                    owed += 1;
                }
            });
        }
        if owed > 0 {
            // An operator has mended something: nobody waits for the rest of a channel.
            self.notifying.resting.clear();
        }
        owed
    }

    /// Sends what may be sent now.
    pub(super) fn notify(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let channels: Vec<Channel> = self.notifying.due.keys().cloned().collect();
        for channel in channels.into_iter().filter(|channel| *channel != Channel::Target) {
            for (user, notice) in self.take_due(&channel, now) {
                match self.prepare(&user, &notice) {
                    Prepared::Send(delivery) => {
                        let id = self.next_operation;
                        self.next_operation += 1;
                        let flight = (channel.clone(), user, notice.id);
                        self.notifying.under_way.insert(id, flight);
                        effects.push(Effect::Deliver(id, delivery));
                    }
                    Prepared::Void(why) => self.void_notice(user, &notice, why, now),
                    Prepared::Fails(undelivered) => self.undelivered(user, &notice, undelivered, now, 1.0),
                }
            }
        }
    }

    /// Notices of a channel that may begin now.
    pub(super) fn take_due(&mut self, channel: &Channel, now: Timestamp) -> Vec<(UserKey, Notice)> {
        let stopped = self.draining || self.target.mode != Mode::Enforce || self.moved || self.record.paused.is_some();
        let room = self.notifying.room(channel, now);
        let due = self.notifying.due.get(channel).filter(|_| !stopped && room > 0);
        let mut found = Vec::new();
        for (next_try, user, id) in due.into_iter().flatten() {
            if *next_try > now || found.len() >= room {
                break;
            }
            // What was told since is not committed yet, and no longer owed then.
            let notice = self.told(user).notices.into_iter().find(|notice| notice.id == *id);
            let owed = notice.filter(|notice| notice.next_try().is_some_and(|next_try| next_try <= now));
            if let Some(notice) = owed.filter(|notice| !self.notifying.is_under_way(user, &notice.id)) {
                found.push((*user, notice));
            }
        }
        if !found.is_empty() && !self.commits.young(now, COMMIT_YOUNG) {
            // As for writes: a successor may have taken over and be sending.
            self.commits.ask();
            found.clear();
        }
        found
    }

    fn prepare(&self, user: &UserKey, notice: &Notice) -> Prepared {
        let (target, link) = (&self.target, self.links.get(user));
        if !target.notify.wants(&notice.kind) {
            return Prepared::Void("notify does not want it any more".to_owned());
        }
        if let NoticeKind::Webhook { endpoint } = &notice.kind {
            let account = link.as_ref().and_then(|link| link.remote_id.as_ref());
            return Prepared::Send(Delivery::Webhook {
                endpoint: endpoint.clone(),
                id: notice.id.clone(),
                body: event_of(&notice.id, &target.name, user, account, notice.at),
            });
        }
        if !link.is_some_and(|link| link.remote_id.is_some() && link.active != Some(false)) {
            return Prepared::Void("the account is off or gone by now".to_owned());
        }
        let state = |key: UserKey| {
            let mut found = None;
            self.everybody.look(key, &mut |user| {
                found = Some(with_primary_domain(user, &target.gate).into_owned());
            });
            found
        };
        let Some(person) = state(*user) else {
            return Prepared::Void("there is no state of the person any more".to_owned());
        };
        let (letter, manager, recipient) = match &notice.kind {
            NoticeKind::Manager { manager: key } => {
                let manager = state(*key);
                let Some(recipient) = manager.clone() else {
                    return Prepared::Void(format!("there is no state of the manager {key}"));
                };
                if recipient.active == Known::Value(false) || recipient.removed {
                    return Prepared::Void(format!("the manager {key} has left"));
                }
                let letter = target.notify.manager.as_ref().map(|(_, letter)| letter);
                (letter, manager, recipient)
            }
            NoticeKind::NewUser | NoticeKind::Webhook { .. } | NoticeKind::Invite { .. } => {
                let manager = person.manager_id.value().map(|id| UserKey::new(user.org, *id));
                (target.notify.user.as_ref(), manager.and_then(state), person.clone())
            }
        };
        let Some(letter) = letter else {
            return Prepared::Void("notify does not want it any more".to_owned());
        };
        let refused = |code: &str, reason: String| Refusal {
            code: code.to_owned(),
            reason,
        };
        let to = match address(&recipient.email) {
            Ok(to) => to,
            Err(why @ NoAddress::Sandbox) => return Prepared::Void(why.to_string()),
            Err(why @ NoAddress::Unknown) => {
                return Prepared::Fails(Undelivered::Later(refused("address-unknown", why.to_string())));
            }
            Err(why @ (NoAddress::Blank | NoAddress::Unfit)) => {
                return Prepared::Fails(Undelivered::Refused(refused("no-address", why.to_string())));
            }
        };
        match letter.write(&notice.id, to, &target.name, &person, manager.as_ref()) {
            Ok(mail) => Prepared::Send(Delivery::Mail(mail)),
            Err(why) => Prepared::Fails(Undelivered::Refused(refused("template", why))),
        }
    }

    /// A delivery has ended.
    pub(super) fn delivered(
        &mut self,
        delivery: OperationId,
        result: Result<(), Undelivered>,
        now: Timestamp,
        random: f64,
    ) {
        let Some((channel, user, id)) = self.notifying.under_way.remove(&delivery) else {
            return;
        };
        let Some(notice) = self.told(&user).notices.into_iter().find(|notice| notice.id == id) else {
            return;
        };
        match result {
            Ok(()) => {
                self.notifying.resting.remove(&channel);
                self.sent(user, &notice, now);
            }
            Err(undelivered) => self.undelivered(user, &notice, undelivered, now, random),
        }
    }

    /// It has arrived.
    pub(super) fn sent(&mut self, user: UserKey, notice: &Notice, now: Timestamp) {
        self.put_notice(user, &notice.id, Some(NoticeState::Sent { at: now }));
        let words = format!("{} sent", notice.kind.in_words());
        self.remark_notice(user, notice, OutcomeResult::Done, words, None, now);
    }

    /// It is not wanted any more: taken off the books, and said.
    pub(super) fn void_notice(&mut self, user: UserKey, notice: &Notice, why: String, now: Timestamp) {
        self.put_notice(user, &notice.id, None);
        let words = format!("{} not sent: {why}", notice.kind.in_words());
        self.remark_notice(user, notice, OutcomeResult::Skipped, words, None, now);
    }

    /// It did not arrive: tried again later, or not any more.
    pub(super) fn undelivered(
        &mut self,
        user: UserKey,
        notice: &Notice,
        undelivered: Undelivered,
        now: Timestamp,
        random: f64,
    ) {
        let retry = self.target.notify.retry;
        let (refusal, refused) = match undelivered {
            Undelivered::LeaseOver => return self.commits.ask(),
            Undelivered::Refused(refusal) => (refusal, true),
            Undelivered::Later(refusal) => (refusal, false),
            Undelivered::Down(refusal, asked) => {
                self.rest(notice.kind.channel(), asked, now, random);
                (refusal, false)
            }
        };
        let NoticeState::Owed { since, attempts, .. } = notice.state else {
            return;
        };
        let attempts = attempts.saturating_add(1);
        let given_up = refused || elapsed(since, now) >= retry.give_up_after;
        let (state, result) = if given_up {
            let code = refusal.code.clone();
            (NoticeState::Failed { at: now, code }, OutcomeResult::Rejected)
        } else {
            let state = NoticeState::Owed {
                since,
                attempts,
                next_try: after(now, delay(&retry, attempts, None, random).max(REST_MIN)),
                code: Some(refusal.code.clone()),
            };
            (state, OutcomeResult::Retry)
        };
        self.put_notice(user, &notice.id, Some(state));
        self.remark_notice(user, notice, result, notice.kind.in_words(), Some(&refusal), now);
    }

    /// Leaves a channel alone for a while.
    pub(super) fn rest(&mut self, channel: Channel, asked: Option<Duration>, now: Timestamp, random: f64) {
        let retry = self.target.notify.retry;
        let rest = self.notifying.resting.entry(channel).or_insert(Rest {
            failures: 0,
            until: now,
        });
        // Others of the channel that were under way fail as well: together they are one failure.
        if rest.until <= now {
            rest.failures = rest.failures.saturating_add(1);
            rest.until = after(now, delay(&retry, rest.failures, asked, random).max(REST_MIN));
        }
    }

    fn put_notice(&mut self, user: UserKey, id: &str, state: Option<NoticeState>) {
        self.tell(user, |told| match state {
            Some(state) => {
                for notice in told.notices.iter_mut().filter(|notice| notice.id == id) {
                    notice.state = state.clone();
                }
            }
            None => told.notices.retain(|notice| notice.id != id),
        });
    }

    fn remark_notice(
        &mut self,
        user: UserKey,
        notice: &Notice,
        result: OutcomeResult,
        words: String,
        refusal: Option<&Refusal>,
        now: Timestamp,
    ) {
        let (since, attempts) = match &notice.state {
            NoticeState::Owed { since, attempts, .. } => (*since, *attempts),
            NoticeState::Intended | NoticeState::Sent { .. } | NoticeState::Failed { .. } => (now, 0),
        };
        let action = notice.kind.action();
        let (kind, when) = (notice.kind.as_str(), since.as_second());
        let id = format!(
            "{}/{user}/{action}/{kind}/{}/{when}/{attempts}",
            self.target.name,
            &notice.id[..notice.id.len().min(8)]
        );
        let actor = match &notice.kind {
            NoticeKind::Invite { actor } => Some(actor.clone()),
            NoticeKind::NewUser | NoticeKind::Manager { .. } | NoticeKind::Webhook { .. } => None,
        };
        let outcome = Outcome {
            user: Some(user),
            user_version: self.links.version(&user).unwrap_or_default(),
            attempt: attempts.saturating_add(1),
            error_code: refusal.map(|refusal| refusal.code.clone()),
            error: refusal.map(|refusal| refusal.reason.clone()),
            actor,
            ..self.remark(id, action, result, vec![words], now)
        };
        self.commits.tell(outcome);
    }

    /// When a notice that is not due yet will be. What is due and was not begun waits for something that comes by itself:
    /// a commit, the end of a delivery or operation, the pace.
    pub(super) fn next_notice(&self) -> Option<Timestamp> {
        let now = self.seen_at;
        let of = |(channel, due): (&Channel, &BTreeSet<(Timestamp, UserKey, String)>)| {
            let first = due
                .iter()
                .map(|(next_try, ..)| *next_try)
                .find(|next_try| *next_try > now);
            let waiting = due.first().is_some_and(|(next_try, ..)| *next_try <= now);
            let rested = self.notifying.resting.get(channel).map(|rest| rest.until);
            let rested = rested.filter(|until| *until > now && waiting);
            first.into_iter().chain(rested).min()
        };
        self.notifying.due.iter().filter_map(of).min()
    }

    /// Since when the oldest notice is owed.
    pub(super) fn oldest_notice_since(&self) -> Option<Timestamp> {
        let users = self.notifying.due.values().flatten().map(|(_, user, _)| user);
        let notices = users
            .filter_map(|user| self.links.get(user))
            .flat_map(|link| link.notices);
        let since = notices.filter_map(|notice| match notice.state {
            NoticeState::Owed { since, .. } => Some(since),
            NoticeState::Intended | NoticeState::Sent { .. } | NoticeState::Failed { .. } => None,
        });
        since.min()
    }
}

fn has(notices: &[Notice], kind: &NoticeKind) -> bool {
    notices.iter().any(|notice| notice.kind.is_same(kind))
}
