//! How many reports may be run: Salesforce allows 500 synchronous runs an hour for the whole org, and people run reports
//! too. Never more than our share in any hour; when the org's limit is used up all the same, wait until it frees.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// The window of the limit.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// The wait after the first refusal. It doubles: a refused run costs a call, and who else runs reports is unknown.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(5);
/// The longest wait between two tries.
const WAIT_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Why a run must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Our own share of this hour is used up until then.
    Share(Timestamp),
    /// Salesforce has refused; tried again then.
    Refused(Timestamp),
}

impl Wait {
    /// Until when.
    #[must_use]
    pub fn until(self) -> Timestamp {
        match self {
            Self::Share(at) | Self::Refused(at) => at,
        }
    }
}

/// Runs of the last hour.
#[derive(Debug, Clone)]
pub struct Pace {
    per_hour: usize,
    runs: VecDeque<Timestamp>,
    /// Since when every run is refused, how often, and when to try again.
    refused: Option<(Timestamp, u32, Timestamp)>,
}

impl Pace {
    /// At most this many runs in any hour; at least one.
    #[must_use]
    pub fn new(per_hour: usize) -> Self {
        Self {
            per_hour: per_hour.max(1),
            runs: VecDeque::new(),
            refused: None,
        }
    }

    /// Whether a run must wait.
    pub fn wait(&mut self, now: Timestamp) -> Option<Wait> {
        while self.runs.front().is_some_and(|run| now.duration_since(*run) >= WINDOW) {
            self.runs.pop_front();
        }
        if let Some((_, _, again)) = self.refused
            && again > now
        {
            return Some(Wait::Refused(again));
        }
        let oldest = self.runs.len().checked_sub(self.per_hour)?;
        self.runs
            .get(oldest)
            .and_then(|run| run.checked_add(WINDOW).ok())
            .map(Wait::Share)
    }

    /// A run is asked for now.
    pub fn ran(&mut self, now: Timestamp) {
        self.runs.push_back(now);
    }

    /// A run was answered with rows.
    pub fn answered(&mut self) {
        self.refused = None;
    }

    /// A run was refused because the org's limit is used up. Gives since when that is so.
    pub fn refused(&mut self, now: Timestamp) -> Timestamp {
        // It is not counted by Salesforce either.
        self.runs.pop_back();
        let (since, times) = self.refused.map_or((now, 0), |(since, times, _)| (since, times));
        let wait = FIRST_WAIT.saturating_mul(1 << times.min(10)).min(WAIT_MAX);
        let again = now.checked_add(wait).unwrap_or(now);
        self.refused = Some((since, times + 1, again));
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_312_000 + seconds).unwrap()
    }

    #[test]
    fn never_more_runs_in_any_hour_than_our_share() {
        let mut pace = Pace::new(3);
        let (mut now, mut runs) = (0, Vec::new());
        while runs.len() < 20 {
            match pace.wait(at(now)) {
                None => {
                    pace.ran(at(now));
                    runs.push(now);
                    now += 700;
                }
                Some(wait) => now = wait.until().as_second() - at(0).as_second(),
            }
        }
        for window in runs.windows(4) {
            assert!(window[3] - window[0] >= 3600, "{runs:?}");
        }
        assert_eq!(runs[..4], [0, 700, 1400, 3600], "and no fewer than that");
    }

    #[test]
    fn a_refusal_is_waited_out_longer_each_time_and_forgotten_after_an_answer() {
        let mut pace = Pace::new(400);
        let mut waits = Vec::new();
        let mut now = at(0);
        for _ in 0..9 {
            assert_eq!(pace.wait(now), None);
            pace.ran(now);
            assert_eq!(pace.refused(now), at(0), "since the first refusal");
            let wait = pace.wait(now).unwrap();
            waits.push(wait.until().duration_since(now).as_secs());
            now = wait.until();
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        pace.ran(now);
        pace.answered();
        assert_eq!(pace.refused(at(5000)), at(5000));
    }
}
