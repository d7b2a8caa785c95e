//! Debts: re-reads that must still be done. Each is a record on the checkpoint topic until it is paid.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Cause, Debtor, Effect, IDS_PER_QUERY_MAX, Known, Members, Origin, Owed, READS_MAX, RawUser, SignedDuration, Ticket,
    Timestamp, User, UserId, UserKey, Writer, held::Kept, normalize,
};
use crate::logic::{normalize::as_timestamp, record::Judged};

/// The wait after failure number n, in seconds; the last one repeats.
const WAITS: &[i64] = &[1, 2, 5, 10, 30, 60];

/// The longest wait for somebody who cannot be seen, in seconds. Only a permission helps, and reads of debts are made out of the
/// reserve, too: smaller spends it on tens of thousands of such people, larger finds later what nobody has hurried.
const UNSEEN_WAIT_MAX: i64 = 4 * 3_600;

/// When somebody who could not be seen is asked for again, after so many times in a row: the waits go on doubling. From then on all
/// who wait equally long are asked for at the same moments, so that they share their queries.
pub(super) fn unseen_until(times: usize, now: Timestamp) -> Timestamp {
    let wait = match WAITS.get(times) {
        Some(wait) => *wait,
        None => {
            let wait = (60_i64 << (times - WAITS.len() + 1).min(10)).min(UNSEEN_WAIT_MAX);
            let rest = wait - now.as_second().rem_euclid(wait);
            if rest < wait / 2 { rest + wait } else { rest }
        }
    };
    now + SignedDuration::from_secs(wait)
}

#[derive(Debug, Clone)]
struct Debt {
    owed: Owed,
    /// The read under way.
    asked: Option<Ticket>,
    /// An event came after the read was asked for: read once more.
    again: bool,
    not_before: Option<Timestamp>,
    failures: usize,
    /// When the read of an absentee found no member, our clock; waits for the others of its survey.
    gone: Option<Timestamp>,
    /// An absentee who may be removed: there are not too many of them. The next read that finds no member does it.
    decided: bool,
    /// The last read could not see the person at all.
    unseen: bool,
    reimport: bool,
    /// Reads in a row that could not see the person.
    unseen_times: usize,
}

/// What a read says about one person.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Member(&'a RawUser),
    Other,
    Nobody,
}

/// All debts.
#[derive(Debug, Default)]
pub(super) struct Debts {
    debts: BTreeMap<Debtor, Debt>,
    /// Users whose debt is not asked for, so that asking costs nothing when there are none.
    waiting: BTreeSet<UserId>,
    /// None of those who wait is due before then: while all reads fail, hundreds of thousands may wait. `None` when that is not
    /// known: whoever makes one of them due, or lets another one wait, must take it away.
    none_due_before: Option<Timestamp>,
    /// How often those who wait were gone through.
    #[cfg(test)]
    pub(super) walks: usize,
    reads: HashMap<Ticket, Vec<UserId>>,
    next_ticket: u64,
}

impl Debts {
    pub(super) fn restore(owed: BTreeMap<Debtor, Owed>) -> Self {
        let mut debts = Self::default();
        for (debtor, owed) in owed {
            debts.insert(debtor, owed);
        }
        debts
    }
    fn insert(&mut self, debtor: Debtor, owed: Owed) {
        if let Debtor::User(id) = debtor {
            self.waiting.insert(id);
            self.none_due_before = None;
        }
        let debt = Debt {
            owed,
            asked: None,
            again: false,
            not_before: None,
            failures: 0,
            gone: None,
            decided: false,
            unseen: false,
            reimport: false,
            unseen_times: 0,
        };
        self.debts.insert(debtor, debt);
    }
    pub(super) fn len(&self) -> usize {
        self.debts.len()
    }
    pub(super) fn unseen(&self) -> usize {
        self.debts.values().filter(|debt| debt.unseen).count()
    }
    pub(super) fn has(&self, debtor: Debtor) -> bool {
        self.debts.contains_key(&debtor)
    }
    pub(super) fn everyone(&self) -> Option<&Owed> {
        self.debts.get(&Debtor::Everyone).map(|debt| &debt.owed)
    }
    /// A survey begins that may pay the debt about everyone.
    pub(super) fn survey_began(&mut self) {
        if let Some(debt) = self.debts.get_mut(&Debtor::Everyone) {
            debt.asked = Some(Ticket(0));
            debt.again = false;
        }
    }
    /// No such debt was made since the survey began.
    pub(super) fn everyone_unchanged(&self) -> bool {
        self.debts
            .get(&Debtor::Everyone)
            .is_some_and(|debt| debt.asked.is_some() && !debt.again)
    }
    /// This person was missing from a survey, and is owed a read for that.
    pub(super) fn is_absentee(&self, user: UserId) -> bool {
        let debt = self.debts.get(&Debtor::User(user));
        debt.is_some_and(|debt| debt.owed.absent_since.is_some())
    }
    /// An absentee who may be removed is read once more when the answer is older than that.
    fn ask_once_more(&mut self, user: UserId, oldest: Timestamp) -> bool {
        let debt = self.debts.get_mut(&Debtor::User(user));
        let Some(debt) = debt.filter(|debt| debt.gone.is_some_and(|at| at < oldest)) else {
            return false;
        };
        debt.gone = None;
        debt.decided = true;
        self.waiting.insert(user);
        self.none_due_before = None;
        true
    }
    /// One of those who wait may be due now.
    pub(super) fn look_again(&mut self) {
        self.none_due_before = None;
    }
    /// An operator waits for this one.
    pub(super) fn hurry(&mut self, user: UserId) {
        if let Some(debt) = self.debts.get_mut(&Debtor::User(user)) {
            debt.reimport = true;
            debt.not_before = None;
            debt.unseen_times = 0;
        }
    }
    /// Something else has seen this person, or speaks of them: no long wait any more.
    pub(super) fn hurry_unseen(&mut self, user: UserId) {
        if let Some(debt) = self.debts.get_mut(&Debtor::User(user)).filter(|debt| debt.unseen) {
            debt.not_before = None;
        }
    }
    /// Whoever could not be seen may be seen now.
    pub(super) fn hurry_all_unseen(&mut self) {
        for debt in self.debts.values_mut().filter(|debt| debt.unseen) {
            debt.not_before = None;
        }
    }
}

impl Writer {
    /// The read that this user is owed will be asked for after the event that has just come: the event need not be
    /// looked at, but for whether it says that the person is deleted. Notes that a read under way is too old.
    pub(super) fn covered_by_debt(&mut self, user: UserId, deleted: bool) -> bool {
        let debtor = Debtor::User(user);
        let Some(debt) = self.debts.debts.get_mut(&debtor) else {
            return false;
        };
        debt.again |= debt.asked.is_some();
        if debt.unseen {
            debt.not_before = None;
        }
        if debt.unseen || debt.gone.is_some() {
            self.debts.none_due_before = None;
        }
        // Somebody who changes is not absent: an answer that is kept back is asked for again.
        if debt.gone.take().is_some() {
            self.debts.waiting.insert(user);
        }
        let absent = debt.owed.absent_since.take().is_some();
        if absent || debt.owed.deleted != deleted {
            debt.owed.deleted = deleted;
            let owed = debt.owed.clone();
            self.batch().owed.insert(debtor, Some(owed));
        }
        true
    }

    /// Makes a debt, or sharpens the one that is there.
    pub(super) fn owe(&mut self, debtor: Debtor, owed: Owed) {
        if let Debtor::User(id) = debtor {
            if self.is_suppressed(id) {
                return;
            }
            // An answer that waits for the others is asked for again. Only an event says that somebody is not absent.
            if let Some(debt) = self.debts.debts.get_mut(&debtor)
                && debt.gone.take().is_some()
            {
                self.debts.waiting.insert(id);
                self.debts.none_due_before = None;
            }
        }
        if let Some(debt) = self.debts.debts.get_mut(&debtor) {
            debt.again |= debt.asked.is_some();
            let mut sharpened = debt.owed.clone();
            sharpened.listed = owed.listed.or(sharpened.listed);
            sharpened.deleted |= owed.deleted;
            sharpened.approved = owed.approved.or(sharpened.approved);
            if debtor == Debtor::Everyone {
                // The earlier start covers both; none at all covers everything.
                sharpened.touched_since = match (sharpened.touched_since, owed.touched_since) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    _ => None,
                };
                sharpened.since = sharpened.since.max(owed.since);
            }
            if sharpened != debt.owed {
                debt.owed = sharpened.clone();
                self.batch().owed.insert(debtor, Some(sharpened));
            }
            return;
        }
        self.batch().owed.insert(debtor, Some(owed.clone()));
        self.debts.insert(debtor, owed);
    }

    pub(super) fn pay(&mut self, debtor: Debtor) {
        if self.debts.debts.remove(&debtor).is_some() {
            if let Debtor::User(id) = debtor {
                self.debts.waiting.remove(&id);
            }
            self.batch().owed.insert(debtor, None);
        }
    }

    /// Asks for what is owed and due.
    pub(super) fn ask(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.debts.none_due_before.is_some_and(|at| now < at) {
            return;
        }
        while self.debts.reads.len() < READS_MAX && !self.debts.waiting.is_empty() {
            let due = |id: &&UserId| {
                self.debts
                    .debts
                    .get(&Debtor::User(**id))
                    .is_some_and(|debt| debt.not_before.is_none_or(|at| at <= now))
            };
            let ids: Vec<UserId> = self
                .debts
                .waiting
                .iter()
                .filter(due)
                .take(IDS_PER_QUERY_MAX)
                .copied()
                .collect();
            #[cfg(test)]
            {
                self.debts.walks += 1;
            }
            if ids.is_empty() {
                let not_before = |id: &UserId| self.debts.debts.get(&Debtor::User(*id))?.not_before;
                self.debts.none_due_before = self.debts.waiting.iter().filter_map(not_before).min();
                return;
            }
            self.debts.next_ticket += 1;
            let ticket = Ticket(self.debts.next_ticket);
            let mut reimport = false;
            for id in &ids {
                self.debts.waiting.remove(id);
                if let Some(debt) = self.debts.debts.get_mut(&Debtor::User(*id)) {
                    debt.asked = Some(ticket);
                    debt.again = false;
                    reimport |= debt.reimport;
                }
            }
            self.debts.reads.insert(ticket, ids.clone());
            effects.push(Effect::Read { ticket, ids, reimport });
        }
    }

    /// A read was answered.
    pub(super) fn read(&mut self, ticket: Ticket, read_at: Timestamp, result: Result<Members, String>, now: Timestamp) {
        let Some(ids) = self.debts.reads.remove(&ticket) else {
            return;
        };
        match result {
            Ok(answer) => {
                let unseen = |id: &UserId| self.debts.debts.get(&Debtor::User(*id)).is_some_and(|debt| debt.unseen);
                let seen = |id: &UserId| answer.members.contains_key(id) || answer.others.contains(id);
                // What hid one of them has hidden others.
                if ids.iter().any(|id| unseen(id) && seen(id)) {
                    self.debts.hurry_all_unseen();
                }
                for id in ids {
                    let found = match answer.members.get(&id) {
                        Some(raw) => Seen::Member(raw),
                        None if answer.others.contains(&id) => Seen::Other,
                        None => Seen::Nobody,
                    };
                    self.read_of(id, ticket, read_at, found, now);
                }
                self.last_read = self.last_read.max(Some(read_at));
                self.decide_removals(now);
            }
            Err(_) => {
                for id in ids {
                    let Some(debt) = self.debts.debts.get_mut(&Debtor::User(id)) else {
                        continue;
                    };
                    let wait = WAITS[debt.failures.min(WAITS.len() - 1)];
                    debt.failures += 1;
                    debt.not_before = Some(now + SignedDuration::from_secs(wait));
                    debt.asked = None;
                    self.debts.waiting.insert(id);
                }
            }
        }
    }

    fn read_of(&mut self, id: UserId, ticket: Ticket, read_at: Timestamp, found: Seen<'_>, now: Timestamp) {
        let Some(debt) = self
            .debts
            .debts
            .get_mut(&Debtor::User(id))
            .filter(|debt| debt.asked == Some(ticket))
        else {
            return;
        };
        debt.asked = None;
        let again = std::mem::take(&mut debt.again);
        let (listed, reimport, approved) = (debt.owed.listed, debt.reimport, debt.owed.approved.clone());
        let absent = debt.owed.absent_since.is_some() && approved.is_none();
        let deleted = debt.owed.deleted;
        let published = self
            .overlay
            .get(&id)
            .map(|person| person.head)
            .or_else(|| self.published.head(id))
            .is_some_and(|head| !head.removed);
        let member = match found {
            Seen::Member(raw) => Some(raw),
            // Somebody whom the integration user cannot see has not been read: no reason to remove anybody. Unless an
            // event has said so, because only then a record can be gone.
            Seen::Nobody if published && !deleted => {
                debt.unseen = true;
                debt.unseen_times += 1;
                // An event that came meanwhile may have said why: that is asked for at once.
                debt.not_before = (!again).then(|| unseen_until(debt.unseen_times, now));
                self.debts.waiting.insert(id);
                return;
            }
            Seen::Other | Seen::Nobody => None,
        };
        debt.unseen_times = 0;
        debt.unseen = false;
        if member.is_none() && absent && (again || !debt.decided) {
            // Decided with the others, so that their number can be looked at.
            if again {
                self.debts.waiting.insert(id);
            } else {
                debt.gone = Some(now);
            }
            return;
        }
        let origin = match member {
            _ if reimport => Origin::Reimport,
            None if absent => Origin::Report,
            _ => Origin::Recheck,
        };
        // Whoever is kept back stays as published, unless the source has said so itself or an operator has.
        let kept_back = member.is_none() && !deleted && self.held.kept(id) == Some(Kept::Removal);
        if !kept_back {
            let cause = Cause {
                approval: approved,
                ..read_cause(origin, read_at, now)
            };
            self.observe(id, member, listed, cause);
        }
        if again {
            self.debts.waiting.insert(id);
        } else {
            self.pay(Debtor::User(id));
        }
    }

    /// What the population says about a user now, as a fact.
    fn observe(&mut self, id: UserId, found: Option<&RawUser>, listed: Option<bool>, mut cause: Cause) {
        let key = UserKey::new(self.config.org, id);
        let last = self.person(id);
        let next = match (found, &last) {
            (Some(raw), last) => {
                let mut read = normalize(key, raw, &self.config.fields);
                self.learn_names(&mut read, cause.read_at.unwrap_or(Timestamp::MIN));
                let base = last
                    .as_ref()
                    .map_or_else(|| User::unknown(key), |person| person.user.clone());
                let mut next = base.updated_by(read);
                if let Some(listed) = listed {
                    next.listed = Known::Value(listed);
                }
                self.keep_back(last.as_ref(), &mut next, false);
                cause.recorded_at = recorded_at(raw);
                next
            }
            (None, Some(last)) => {
                self.let_go(id);
                User {
                    removed: true,
                    ..last.user.clone()
                }
            }
            (None, None) => {
                self.counts.ignored += 1;
                self.touch_stranger(id);
                return;
            }
        };
        // An approval is the cause of what it released, and of nothing else.
        let last_user = last.as_ref().map(|person| &person.user);
        let inactive = Known::Value(false);
        let removed = next.removed && last_user.is_some_and(|last| !last.removed);
        let deactivated = next.active == inactive && last_user.is_some_and(|last| last.active != inactive);
        if !removed && !deactivated {
            cause.approval = None;
        }
        let (baseline, read_at) = (self.baseline, cause.read_at);
        self.stage(last.as_ref(), next, cause, baseline, true);
        // Also when nothing differs: rows of a survey that were read before this answer are older than it.
        let touched = self.now;
        self.update_head(id, |head| {
            head.read_at = head.read_at.max(read_at);
            head.touched = touched;
        });
    }

    /// Absentees that turned out to be gone are removed together, unless they are suspiciously many. Decided once for all of them,
    /// carried out in portions.
    pub(super) fn decide_removals(&mut self, now: Timestamp) {
        self.deciding = false;
        if self.finishing.is_some() {
            return;
        }
        self.decision = self.decision.take().or_else(|| self.decision());
        let Some(Decision { began_at, hold }) = self.decision else {
            return;
        };
        let gone = |debt: &Debt| debt.gone.is_some() && debt.owed.absent_since.is_some_and(|since| since <= began_at);
        let mut ids: BTreeSet<UserId> = self
            .debts
            .debts
            .iter()
            .filter(|(_, debt)| gone(debt))
            .filter_map(|(debtor, _)| debtor.user())
            .take(self.portion() + 1)
            .collect();
        self.deciding = ids.len() > self.portion();
        if self.deciding {
            ids.pop_last();
        } else {
            self.decision = None;
            if self.position.judged.is_some_and(|judged| judged.began_at <= began_at) {
                self.position.judged = None;
            }
        }
        if hold {
            self.hold(began_at, &ids, Kept::Removal, now);
        }
        let read_at = self.last_read.unwrap_or(began_at);
        let oldest = now - self.config.read_margin;
        for id in ids {
            // Whoever was gone when the first of them were read may be back since, and no event need have said so. A held
            // set needs no such care: releasing it reads its members.
            if !hold && self.debts.ask_once_more(id, oldest) {
                continue;
            }
            if !hold {
                self.observe(id, None, None, read_cause(Origin::Report, read_at, now));
            }
            self.pay(Debtor::User(id));
        }
    }

    /// What becomes of the absentees who are gone; `None` while there are none, or others are still to be read.
    fn decision(&self) -> Option<Decision> {
        let absent = |debt: &Debt| debt.owed.absent_since.is_some() && !debt.unseen && !debt.decided;
        // Reads are asked for by rising id: who is still to be read is found soonest from the end.
        let open = |debt: &Debt| absent(debt) && debt.gone.is_none();
        if self.debts.debts.values().rev().any(open) {
            return None;
        }
        let gone = || self.debts.debts.iter().filter(|(_, debt)| absent(debt));
        let began_at = gone().filter_map(|(_, debt)| debt.owed.absent_since).max()?;
        let ids: BTreeSet<UserId> = gone().filter_map(|(debtor, _)| debtor.user()).collect();
        // Everything that one snapshot brings counts, and so do those who are kept back already: they are as absent as these, and
        // many small snapshots must not add up unnoticed.
        // A look that found one more meanwhile, later, takes nothing from what its snapshot brought.
        let brought = |judged: &Judged| {
            let by_it = |debt: &Debt| debt.owed.absent_since == Some(judged.began_at);
            gone().filter(|(_, debt)| by_it(debt)).count() as u64
        };
        let judged = self.position.judged.map(|judged| (judged, brought(&judged)));
        let (deactivations, unread) = judged
            .filter(|(_, found)| *found > 0)
            .map_or((0, 0), |(judged, found)| {
                (judged.deactivations, judged.absent.saturating_sub(found))
            });
        let removals = ids.len() as u64 + unread;
        let hold = removals + deactivations + self.held_besides(&ids) > self.removals_limit();
        Some(Decision { began_at, hold })
    }
}

/// What becomes of absentees who are gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decision {
    /// When the last of their snapshots began: who is found to be absent later is decided about later.
    began_at: Timestamp,
    hold: bool,
}

/// When the source last touched the record, when the row says.
pub(super) fn recorded_at(raw: &RawUser) -> Option<Timestamp> {
    raw.get("SystemModstamp").and_then(as_timestamp)
}

/// The cause of a state that was read.
pub(super) fn read_cause(origin: Origin, read_at: Timestamp, now: Timestamp) -> Cause {
    Cause {
        origin,
        committed_at: None,
        observed_at: now,
        read_at: Some(read_at),
        recorded_at: None,
        commit_number: None,
        transaction_key: None,
        changed_by: None,
        approval: None,
    }
}
