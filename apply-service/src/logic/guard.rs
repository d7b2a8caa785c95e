//! The guard: how much may change at a target within a time, written apart from what is wanted.
//!
//! Three budgets that do not touch each other: *stated* removals (the source says that the person left), *inferred* ones
//! (absent from a snapshot, out of scope, a new configuration), and changes of any kind. A real leaver is therefore
//! never stuck behind a bad filter. What is over a budget is held, and an operator releases it.
//!
//! The windows are counted from times that the links carry, so a crash loop cannot spend them twice. What an operator
//! has released does not count: a planned layoff must not use up the days after it.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::UserKey;

use super::retry::elapsed;

/// Below so many links a percentage says nothing.
const PERCENT_FROM: usize = 20;

/// What an action is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// Switching off, because the source says that the person left.
    StatedRemovals,
    /// Switching off, because something is concluded: absent, out of scope, configured otherwise.
    InferredRemovals,
    /// Everything else that is written.
    Changes,
}

impl Budget {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StatedRemovals, Self::InferredRemovals, Self::Changes];

    /// For people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::StatedRemovals => "removals of people who left",
            Self::InferredRemovals => "removals that follow from an absence or the configuration",
            Self::Changes => "changes",
        }
    }
    /// Whether it is about switching off.
    #[must_use]
    pub fn is_removal(self) -> bool {
        self != Self::Changes
    }
}

/// The limit of removals, for each of the two budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalLimit {
    /// Of the links, per hundred.
    pub percent: u64,
    /// Always allowed.
    pub at_least: u64,
    /// Never more.
    pub at_most: u64,
}

/// What may happen at a target within each window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Removals.
    pub removals: RemovalLimit,
    /// Changes of any kind, of the links, per hundred.
    pub changes_percent: u64,
    /// Over every one of these. Empty: the guard is off.
    pub windows: Vec<Duration>,
    /// Whether accounts that the first import makes or takes over count as changes.
    pub counts_first_import: bool,
    /// So long after the last account of a first import it is taken to be over. Longer: more is made without the guard's
    /// looking; shorter: a directory that is filled slowly is held half-way.
    pub import_quiet: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            removals: RemovalLimit {
                percent: 5,
                at_least: 5,
                at_most: 100,
            },
            changes_percent: 50,
            windows: vec![Duration::from_secs(3600), Duration::from_secs(24 * 3600)],
            counts_first_import: false,
            import_quiet: Duration::from_secs(600),
        }
    }
}

impl Guard {
    /// How many are allowed in each window; `None`: as many as there are.
    #[must_use]
    pub fn limit(&self, budget: Budget, links: usize) -> Option<u64> {
        let share = |percent: u64| u64::try_from(links).unwrap_or(u64::MAX).saturating_mul(percent) / 100;
        let small = links < PERCENT_FROM;
        if budget.is_removal() {
            let RemovalLimit {
                percent,
                at_least,
                at_most,
            } = self.removals;
            let share = if small { 0 } else { share(percent) };
            Some(share.max(at_least).min(at_most))
        } else {
            (!small).then(|| share(self.changes_percent).max(self.removals.at_least))
        }
    }

    /// Whether `wanted` more are within the budget in every window.
    ///
    /// # Errors
    /// [`Over`]: by which window they are too many.
    pub fn judge(
        &self,
        ledger: &Ledger,
        budget: Budget,
        wanted: u64,
        links: usize,
        now: Timestamp,
    ) -> Result<(), Over> {
        let Some(limit) = self.limit(budget, links) else {
            return Ok(());
        };
        for window in &self.windows {
            let spent = ledger.spent(budget, *window, now);
            if spent + wanted > limit {
                return Err(Over {
                    budget,
                    limit,
                    spent,
                    wanted,
                    window: *window,
                });
            }
        }
        Ok(())
    }
}

/// More than the guard lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Which budget.
    pub budget: Budget,
    /// What it allows.
    pub limit: u64,
    /// What was used in the window.
    pub spent: u64,
    /// What was wanted on top.
    pub wanted: u64,
    /// Within which time.
    pub window: Duration,
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = self.window.as_secs_f64() / 3600.0;
        write!(
            f,
            "{} {} on top of {} within {hours} h are more than the {} that the guard allows",
            self.wanted,
            self.budget.in_words(),
            self.spent,
            self.limit
        )
    }
}

/// What was used, person by person: the last time per person and budget counts, as the links know no more.
#[derive(Debug, Default)]
pub struct Ledger {
    times: [BTreeSet<(Timestamp, UserKey)>; 3],
    last: HashMap<(Budget, UserKey), Timestamp>,
}

impl Ledger {
    /// Counts somebody.
    pub fn count(&mut self, budget: Budget, user: UserKey, at: Timestamp) {
        self.forget(budget, user);
        self.times[budget as usize].insert((at, user));
        self.last.insert((budget, user), at);
    }

    /// Whether somebody is counted already.
    #[must_use]
    pub fn has(&self, budget: Budget, user: UserKey) -> bool {
        self.last.contains_key(&(budget, user))
    }

    /// Does not count somebody any longer: what was begun had no effect, or an operator has released it.
    pub fn forget(&mut self, budget: Budget, user: UserKey) {
        if let Some(at) = self.last.remove(&(budget, user)) {
            self.times[budget as usize].remove(&(at, user));
        }
    }

    /// How many were counted within this time. What lies in the future (a clock that was set back) counts.
    #[must_use]
    pub fn spent(&self, budget: Budget, window: Duration, now: Timestamp) -> u64 {
        let since = jiff::SignedDuration::try_from(window)
            .ok()
            .and_then(|window| now.checked_sub(window).ok())
            .unwrap_or(Timestamp::MIN);
        // `usize` to `u64` never cuts here.
        self.times[budget as usize]
            .iter()
            .rev()
            .take_while(|(at, _)| *at > since)
            .count() as u64
    }

    /// Forgets what no window reaches any more.
    pub fn prune(&mut self, windows: &[Duration], now: Timestamp) {
        let longest = windows.iter().max().copied().unwrap_or_default();
        for budget in Budget::ALL {
            while let Some((at, user)) = self.times[budget as usize].first().copied()
                && elapsed(at, now) > longest
            {
                self.forget(budget, user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logic::testing::{at, user_key};

    const HOUR: Duration = Duration::from_secs(3600);

    fn guard() -> Guard {
        Guard::default()
    }

    #[test]
    fn limits_by_the_number_of_links() {
        for (links, removals, changes) in [
            (0, 5, None),
            (19, 5, None),
            (20, 5, Some(10)),
            (100, 5, Some(50)),
            (200, 10, Some(100)),
            (2_000, 100, Some(1_000)),
            (1_000_000, 100, Some(500_000)),
        ] {
            for budget in [Budget::StatedRemovals, Budget::InferredRemovals] {
                assert_eq!(guard().limit(budget, links), Some(removals), "{links}");
            }
            assert_eq!(guard().limit(Budget::Changes, links), changes, "{links}");
        }
    }

    #[test]
    fn the_first_over_the_limit_is_held_and_time_frees_it() {
        let (guard, mut ledger) = (guard(), Ledger::default());
        for n in 0..5 {
            assert_eq!(
                guard.judge(&ledger, Budget::StatedRemovals, 1, 30, at(n)),
                Ok(()),
                "{n}"
            );
            ledger.count(Budget::StatedRemovals, user_key(u32::try_from(n).unwrap()), at(n));
        }
        let over = guard.judge(&ledger, Budget::StatedRemovals, 1, 30, at(5)).unwrap_err();
        assert_eq!((over.limit, over.spent, over.window), (5, 5, HOUR));
        assert_eq!(
            guard.judge(&ledger, Budget::InferredRemovals, 5, 30, at(5)),
            Ok(()),
            "a budget of its own"
        );
        // Free again in the hour, still over in the day, free after the day.
        let later = at(2 * 3600);
        assert_eq!(
            guard
                .judge(&ledger, Budget::StatedRemovals, 1, 30, later)
                .unwrap_err()
                .window,
            24 * HOUR
        );
        assert_eq!(
            guard.judge(&ledger, Budget::StatedRemovals, 1, 30, at(24 * 3600 + 5)),
            Ok(())
        );
    }

    #[test]
    fn a_person_counts_once_and_what_had_no_effect_not_at_all() {
        let mut ledger = Ledger::default();
        ledger.count(Budget::Changes, user_key(1), at(0));
        ledger.count(Budget::Changes, user_key(1), at(10));
        assert_eq!(ledger.spent(Budget::Changes, HOUR, at(20)), 1);
        ledger.forget(Budget::Changes, user_key(1));
        assert_eq!(ledger.spent(Budget::Changes, HOUR, at(20)), 0);
    }

    #[test]
    fn a_guard_without_windows_lets_everything_through() {
        let off = Guard {
            windows: vec![],
            ..guard()
        };
        assert_eq!(
            off.judge(&Ledger::default(), Budget::InferredRemovals, 9_999, 30, at(0)),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_in_any_window(steps in proptest::collection::vec((0_u32..40, 0_i64..7200), 1..200), links in 0_usize..400) {
            let (guard, mut ledger, mut now) = (guard(), Ledger::default(), 0);
            let mut done: Vec<(i64, u32)> = Vec::new();
            for (who, wait) in steps {
                now += wait;
                if guard.judge(&ledger, Budget::InferredRemovals, 1, links, at(now)).is_ok() {
                    ledger.count(Budget::InferredRemovals, user_key(who), at(now));
                    done.retain(|(_, other)| *other != who);
                    done.push((now, who));
                }
                ledger.prune(&guard.windows, at(now));
                let limit = guard.limit(Budget::InferredRemovals, links).unwrap();
                for window in [3600, 24 * 3600] {
                    let within = done.iter().filter(|(at, _)| now - at < window).count() as u64;
                    prop_assert!(within <= limit, "{within} of {limit} within {window} s");
                }
            }
        }
    }
}
