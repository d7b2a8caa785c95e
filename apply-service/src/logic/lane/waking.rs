//! Who is planned again although they have not changed: because a day has begun, or because a manager is another one now.
//!
//! The rules of scope may look at dates and at managers. Nothing is decided here: those people are fed again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use usher_contract::{UserChange, UserKey};

use super::{Effect, Lane};

/// How many are fed again in one step: midnight may concern everybody.
const WAKE_MAX: usize = 1_000;

/// When whose answer may change.
#[derive(Debug, Default)]
pub(super) struct Due {
    by_time: BTreeSet<(Timestamp, UserKey)>,
    of: BTreeMap<UserKey, Timestamp>,
}

impl Due {
    pub(super) fn set(&mut self, user: UserKey, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.of.insert(user, at),
            None => self.of.remove(&user),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, user));
        }
        if let Some(at) = at {
            self.by_time.insert((at, user));
        }
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes those whose time has come, at most [`WAKE_MAX`].
    fn take(&mut self, now: Timestamp) -> Vec<UserKey> {
        let mut taken = Vec::new();
        while taken.len() < WAKE_MAX
            && let Some((_, user)) = self.by_time.first().copied().filter(|(at, _)| *at <= now)
        {
            self.set(user, None);
            taken.push(user);
        }
        taken
    }
}

/// Who reports to whom, where the rules of the target look at managers.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// How many managers up the rules look; 0 keeps nothing.
    levels: usize,
    /// Kept although no rule looks: teams are asked for.
    teams: bool,
    of: HashMap<UserKey, BTreeSet<UserKey>>,
    manager: HashMap<UserKey, UserKey>,
    /// The version at which everybody was last seen.
    seen: HashMap<UserKey, u64>,
}

impl Reports {
    pub(super) fn new(levels: usize, teams: bool) -> Self {
        Self {
            levels,
            teams,
            ..Self::default()
        }
    }

    /// Takes note of a state, and says who is to be planned again because of it.
    fn take(&mut self, change: &UserChange) -> Vec<UserKey> {
        if self.levels == 0 && !self.teams {
            return Vec::new();
        }
        let user = change.user.key();
        let manager = change.user.manager_id.value().map(|id| UserKey::new(user.org, *id));
        self.put(user, manager);
        if self.seen.insert(user, change.version) == Some(change.version) {
            return Vec::new();
        }
        self.below(user)
    }

    /// The same when there is no state of somebody any more.
    fn forget(&mut self, user: UserKey) -> Vec<UserKey> {
        self.put(user, None);
        if self.seen.remove(&user).is_none() {
            return Vec::new();
        }
        self.below(user)
    }

    fn put(&mut self, user: UserKey, manager: Option<UserKey>) {
        let before = match manager {
            Some(manager) => self.manager.insert(user, manager),
            None => self.manager.remove(&user),
        };
        if before == manager {
            return;
        }
        if let Some(before) = before
            && let Some(reports) = self.of.get_mut(&before)
        {
            reports.remove(&user);
            if reports.is_empty() {
                self.of.remove(&before);
            }
        }
        if let Some(manager) = manager {
            self.of.entry(manager).or_default().insert(user);
        }
    }

    /// Who reports to this person directly.
    pub(super) fn direct(&self, manager: &UserKey) -> impl Iterator<Item = &UserKey> {
        self.of.get(manager).into_iter().flatten()
    }

    /// Everybody who has this person among their managers as far up as the rules look. Cycles are possible at the source.
    fn below(&self, user: UserKey) -> Vec<UserKey> {
        let mut found: HashSet<UserKey> = HashSet::new();
        let mut level = vec![user];
        for _ in 0..self.levels {
            let next = level.iter().filter_map(|manager| self.of.get(manager)).flatten();
            level = next.copied().filter(|report| found.insert(*report)).collect();
        }
        found.remove(&user);
        let mut found: Vec<UserKey> = found.into_iter().collect();
        found.sort_unstable();
        found
    }
}

impl Lane {
    /// Takes note of the address that somebody would have; gives everybody whose answer changes by it.
    pub(super) fn note_address(&mut self, change: &UserChange, now: Timestamp) -> Vec<UserKey> {
        // Nobody's link is looked up where no address is converted.
        let converts = self.target.gate.convert_to.is_some();
        let link = converts.then(|| self.links.get(&change.user.key())).flatten();
        self.links
            .addresses
            .note(change, link.as_ref(), &self.target, &self.everybody, now)
    }

    /// Feeds the reports of somebody who has changed.
    pub(super) fn note_manager(&mut self, change: &UserChange, effects: &mut Vec<Effect>) {
        let reports = self.reports.take(change);
        if !reports.is_empty() {
            effects.push(Effect::Ask(reports));
        }
    }

    /// Feeds the reports of somebody of whom nothing is known any more.
    pub(super) fn forget_manager(&mut self, user: UserKey, effects: &mut Vec<Effect>) {
        self.due.set(user, None);
        let reports = self.reports.forget(user);
        if !reports.is_empty() {
            effects.push(Effect::Ask(reports));
        }
    }

    /// Feeds whoever may be judged otherwise by now.
    pub(super) fn wake_due(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.draining {
            return;
        }
        let due = self.due.take(now);
        if !due.is_empty() {
            effects.push(Effect::Ask(due));
        }
    }
}
