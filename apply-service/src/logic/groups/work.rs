//! What is done next about groups: one request at a time per group, the members of a group in bounded numbers.
//!
//! Look for it, make it, give it another name, read who is in it, change that, read again. Removals pass the guard group
//! by group: emptying one is what a wrong filter, a lost permission and a typing mistake look like.

use std::time::Duration;

use jiff::Timestamp;
use usher_contract::UserKey;

use super::{GroupNo, Groups, RENAME_QUIET, record::GroupRefusal, rules::GroupRules};
use crate::{
    connector::Operation,
    logic::{
        account::RemoteId,
        guard::{Budget, Guard, Over},
        retry::{after, elapsed},
    },
};

/// What is under way about a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    Find,
    Create,
    /// Whether the new name is free.
    FindNewName(String),
    Rename(String),
    Read,
    Change {
        add: Vec<UserKey>,
        remove: Vec<UserKey>,
        /// Whether the guard counts who leaves.
        counted: bool,
    },
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Carry this out and come back with [`Groups::ended`].
    Start {
        /// For which group.
        group: GroupNo,
        /// What.
        operation: Operation,
        /// Removals that an operator's allowance pays for.
        allowed: u64,
    },
    /// More members would leave than the guard allows: keep them, see [`Groups::hold`].
    Hold {
        /// Which group.
        group: GroupNo,
        /// Its name.
        name: String,
        /// Who.
        users: Vec<UserKey>,
        /// Why.
        over: Over,
    },
    /// The group of these people has to be told anew from their states.
    Refeed(Vec<UserKey>),
}

/// What is known around the groups.
pub struct Around<'a> {
    /// The rules.
    pub rules: &'a GroupRules,
    /// The limits.
    pub guard: &'a Guard,
    /// How often a group is read.
    pub every: Duration,
    /// Whether something is being done for this person's account: then nothing is done about their groups.
    pub busy: &'a dyn Fn(&UserKey) -> bool,
    /// Whether an operator has released this held set.
    pub is_released: &'a dyn Fn(&str) -> bool,
    /// Removals that operators' allowances still pay for.
    pub allowance: u64,
    /// The time.
    pub now: Timestamp,
}

enum Turn {
    /// Nothing, until something changes.
    Nothing,
    /// Not now.
    Later,
    Do(Next),
}

impl Groups {
    /// When something is due although nothing happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Looks again at groups whose time has come.
    pub fn wake(&mut self, now: Timestamp) {
        while let Some((at, no)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, no));
            self.ready.insert(no);
        }
    }

    /// Whether there may be something to do now.
    pub fn is_ready(&mut self, now: Timestamp) -> bool {
        self.wake(now);
        !self.ready.is_empty()
    }

    /// What comes next; `None`: nothing now.
    pub fn next(&mut self, around: &Around<'_>) -> Option<Next> {
        self.wake(around.now);
        let ready: Vec<GroupNo> = self.ready.iter().copied().collect();
        for no in ready {
            match self.turn(no, around) {
                Turn::Do(next) => {
                    if matches!(next, Next::Start { .. }) {
                        self.ready.remove(&no);
                    }
                    return Some(next);
                }
                Turn::Later => {}
                Turn::Nothing => {
                    self.ready.remove(&no);
                }
            }
        }
        let refeed = std::mem::take(&mut self.refeed);
        (!refeed.is_empty()).then(|| Next::Refeed(refeed.into_iter().collect()))
    }

    fn turn(&mut self, no: GroupNo, around: &Around<'_>) -> Turn {
        let group = self.group(no);
        if group.locked {
            return Turn::Nothing;
        }
        if group.task.is_some() {
            // It comes back when that has ended.
            return Turn::Nothing;
        }
        if let Some(at) = group.next_try.filter(|at| *at > around.now) {
            self.due.insert((at, no));
            return Turn::Nothing;
        }
        if let Some(turn) = self.turn_to_rename(no, around) {
            return turn;
        }
        match self.group(no).record.id.clone() {
            None => self.turn_to_make(no, around),
            Some(id) => self.turn_to_change(no, &id, around),
        }
    }

    fn start(&mut self, no: GroupNo, task: Task, operation: Operation) -> Turn {
        self.group_mut(no).task = Some(task);
        Turn::Do(Next::Start {
            group: no,
            operation,
            allowed: 0,
        })
    }

    /// The source has another name for it, long enough.
    fn turn_to_rename(&mut self, no: GroupNo, around: &Around<'_>) -> Option<Turn> {
        let rename = self.group(no).rename.clone()?;
        if elapsed(rename.since, around.now) < RENAME_QUIET {
            return None;
        }
        let other = self
            .by_name
            .get(&super::folded(&rename.to))
            .is_some_and(|other| *other != no);
        if other || self.group(no).record.sources.len() != 1 {
            // Meanwhile another group has the name, or this one has several: people's states tell which is whose.
            self.give_up_sources(no);
            self.refeed.extend(self.wanting(no));
            return Some(Turn::Later);
        }
        let Some(id) = self.group(no).record.id.clone() else {
            self.rename(no, rename.to);
            return None;
        };
        let name = rename.to;
        Some(if rename.looked {
            let operation = Operation::RenameGroup { id, name: name.clone() };
            self.start(no, Task::Rename(name), operation)
        } else {
            let operation = Operation::FindGroup { name: name.clone() };
            self.start(no, Task::FindNewName(name), operation)
        })
    }

    /// The source's groups are told by their names again.
    pub(super) fn give_up_sources(&mut self, no: GroupNo) {
        let group = self.group_mut(no);
        group.rename = None;
        let sources = std::mem::take(&mut group.record.sources);
        for source in sources {
            self.by_source.remove(&source);
        }
        self.dirty_groups.insert(no);
    }

    pub(super) fn wanting(&self, no: GroupNo) -> Vec<UserKey> {
        let wants = |user: &&UserKey| {
            let want = self.people.get(*user).and_then(|person| person.want.as_ref());
            want.is_some_and(|want| want.groups.contains(&no))
        };
        let mut users: Vec<UserKey> = self.people.keys().filter(wants).copied().collect();
        users.sort_unstable();
        users
    }

    pub(super) fn rename(&mut self, no: GroupNo, to: String) {
        let before = super::folded(&self.group(no).record.name);
        if self.by_name.get(&before) == Some(&no) {
            self.by_name.remove(&before);
        }
        self.by_name.insert(super::folded(&to), no);
        let group = self.group_mut(no);
        (group.rename, group.record.name, group.looked) = (None, to, false);
        if group.record.id.is_some() {
            self.dirty_groups.insert(no);
        }
    }

    /// It is not at the target, as far as we know.
    fn turn_to_make(&mut self, no: GroupNo, around: &Around<'_>) -> Turn {
        let group = self.group_mut(no);
        if group.joins.is_empty() {
            return Turn::Nothing;
        }
        let name = group.record.name.clone();
        if !group.looked {
            return self.start(no, Task::Find, Operation::FindGroup { name });
        }
        if !around.rules.create {
            return Turn::Nothing;
        }
        if !group.record.creating {
            // Committed before the request: should the answer be lost, the group that is found is ours.
            group.record.creating = true;
            self.dirty_groups.insert(no);
            return Turn::Later;
        }
        if !group.durable.0 {
            return Turn::Later;
        }
        self.start(no, Task::Create, Operation::CreateGroup { name })
    }

    fn turn_to_change(&mut self, no: GroupNo, id: &RemoteId, around: &Around<'_>) -> Turn {
        let group = self.group(no);
        let pending = !group.joins.is_empty() || !group.leaves.is_empty();
        if pending && around.rules.abilities.read && group.record.read_at.is_none() && !group.fresh {
            // Who is in it already need not be added, and who is not to be is seen.
            return self.start(no, Task::Read, Operation::ReadGroup(id.clone()));
        }
        let kept = |user: &&UserKey| self.is_kept(user, no, around);
        let leaving: Vec<UserKey> = group.leaves.iter().filter(|user| !kept(user)).copied().collect();
        let (mut counted, mut allowed) = (false, 0);
        if !leaving.is_empty() {
            match self.judge(no, &leaving, around) {
                Ok(judged) => (counted, allowed) = judged,
                Err(over) => {
                    let users = leaving
                        .into_iter()
                        .filter(|user| !self.is_released(user, no, around))
                        .collect();
                    let name = self.group(no).record.name.clone();
                    return Turn::Do(Next::Hold {
                        group: no,
                        name,
                        users,
                        over,
                    });
                }
            }
        }
        let group = self.group(no);
        let most = around
            .rules
            .abilities
            .at_once
            .min(group.limit)
            .min(group.ceiling)
            .max(1);
        let free = |user: &&UserKey| !(around.busy)(user);
        // Those that an operator has released are counted in none of the windows: they go by themselves.
        let (released, others): (Vec<UserKey>, Vec<UserKey>) = leaving
            .iter()
            .filter(free)
            .partition(|user| self.is_released(user, no, around));
        let (remove, counted) = if others.is_empty() {
            (released, false)
        } else {
            (others, counted)
        };
        let remove: Vec<UserKey> = remove.into_iter().take(most).collect();
        let joining = group
            .joins
            .iter()
            .filter(free)
            .filter(|user| self.account(user).is_some());
        let add: Vec<UserKey> = joining.take(most - remove.len()).copied().collect();
        if remove.is_empty() && add.is_empty() {
            if group.joins.is_empty() && leaving.is_empty() {
                return self.turn_to_read(no, id, around);
            }
            // Whoever is to join or leave has something done for them just now.
            return Turn::Later;
        }
        if !group.record.unread {
            self.group_mut(no).record.unread = true;
            self.dirty_groups.insert(no);
            return Turn::Later;
        }
        if !group.durable.1 {
            return Turn::Later;
        }
        let accounts = |users: &[UserKey]| users.iter().filter_map(|user| self.account(user)).collect();
        let operation = Operation::ChangeMembers {
            id: id.clone(),
            add: accounts(&add),
            remove: accounts(&remove),
            known: group.members,
        };
        let allowed = allowed.min(remove.len() as u64);
        self.group_mut(no).task = Some(Task::Change { add, remove, counted });
        Turn::Do(Next::Start {
            group: no,
            operation,
            allowed,
        })
    }

    fn turn_to_read(&mut self, no: GroupNo, id: &RemoteId, around: &Around<'_>) -> Turn {
        if !around.rules.abilities.read {
            return Turn::Nothing;
        }
        match self.group(no).read_due {
            Some(due) if due <= around.now => self.start(no, Task::Read, Operation::ReadGroup(id.clone())),
            Some(due) => {
                self.due.insert((due, no));
                Turn::Nothing
            }
            None => Turn::Nothing,
        }
    }

    pub(super) fn account(&self, user: &UserKey) -> Option<RemoteId> {
        self.people.get(user)?.account.clone()
    }

    fn set_of(&self, user: &UserKey, no: GroupNo) -> Option<&str> {
        self.people.get(user)?.held(no)?.held.as_deref()
    }

    /// The guard keeps them, and no operator has released them.
    fn is_kept(&self, user: &UserKey, no: GroupNo, around: &Around<'_>) -> bool {
        self.set_of(user, no).is_some_and(|set| !(around.is_released)(set))
    }

    fn is_released(&self, user: &UserKey, no: GroupNo, around: &Around<'_>) -> bool {
        self.set_of(user, no).is_some_and(|set| (around.is_released)(set))
    }

    /// Whether so many may leave this group now: whether they count, and how many an allowance pays for.
    fn judge(&mut self, no: GroupNo, leaving: &[UserKey], around: &Around<'_>) -> Result<(bool, u64), Over> {
        let longest = around.guard.windows.iter().max().copied().unwrap_or_default();
        let members = self.group(no).members;
        let wanted = leaving
            .iter()
            .filter(|user| !self.is_released(user, no, around))
            .count() as u64;
        if wanted == 0 {
            return Ok((false, 0));
        }
        let removed = &mut self.group_mut(no).record.removed;
        removed.retain(|removal| elapsed(removal.at, around.now) <= longest);
        // What has left counts as well: the share is of those who were there.
        let spent_all: u64 = removed.iter().map(|removal| removal.count).sum();
        let there = members.saturating_add(usize::try_from(spent_all).unwrap_or(usize::MAX));
        let Some(limit) = around.guard.limit(Budget::InferredRemovals, there) else {
            return Ok((true, 0));
        };
        for window in &around.guard.windows {
            let spent: u64 = removed
                .iter()
                .filter(|removal| elapsed(removal.at, around.now) <= *window)
                .map(|removal| removal.count)
                .sum();
            if spent + wanted > limit {
                if around.allowance >= wanted {
                    return Ok((false, wanted));
                }
                return Err(Over {
                    budget: Budget::InferredRemovals,
                    limit,
                    spent,
                    wanted,
                    window: *window,
                });
            }
        }
        Ok((true, 0))
    }

    /// It cannot be found, made or changed: tried again after a time, at a reconcile, or when an operator wants it.
    pub(super) fn refuse(&mut self, no: GroupNo, code: &str, reason: String, now: Timestamp, wait: Duration) -> bool {
        let group = self.group_mut(no);
        let at = after(now, wait);
        (group.next_try, group.attempts, group.looked) = (Some(at), 0, false);
        let news = group.record.refused.as_ref().is_none_or(|refused| refused.code != code);
        if news {
            group.record.refused = Some(GroupRefusal {
                code: code.to_owned(),
                reason,
                at: now,
            });
            self.dirty_groups.insert(no);
        }
        self.due.insert((at, no));
        news
    }
}
