//! How fast operations start: evenly, so many per second, with a burst of at most one second's worth after a pause.

use std::time::Duration;

use jiff::Timestamp;

use crate::logic::retry::{after, elapsed};

/// Starts per second.
#[derive(Debug)]
pub(super) struct Pacer {
    per_second: f64,
    tokens: f64,
    at: Timestamp,
}

impl Pacer {
    pub(super) fn new(per_second: f64, now: Timestamp) -> Self {
        Self {
            per_second,
            tokens: 1.0_f64.max(per_second),
            at: now,
        }
    }

    fn tokens(&self, now: Timestamp) -> f64 {
        (self.tokens + elapsed(self.at, now).as_secs_f64() * self.per_second).min(self.per_second.max(1.0))
    }

    /// Takes a start if one is due.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        self.tokens = self.tokens(now);
        self.at = now;
        let due = self.tokens >= 1.0;
        if due {
            self.tokens -= 1.0;
        }
        due
    }

    /// A start that was taken and not used.
    pub(super) fn give_back(&mut self) {
        self.tokens += 1.0;
    }

    /// When the next start is due.
    pub(super) fn next_start(&self, now: Timestamp) -> Timestamp {
        let missing = (1.0 - self.tokens(now)).max(0.0) / self.per_second;
        // A microsecond more than computed: waking just before it is due would spin.
        if missing > 0.0 {
            after(now, Duration::from_secs_f64(missing) + Duration::from_micros(1))
        } else {
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::at;

    #[test]
    fn a_second_has_no_more_starts_than_configured_after_the_first_burst() {
        let mut pacer = Pacer::new(3.0, at(0));
        assert_eq!((0..10).filter(|_| pacer.take(at(0))).count(), 3);
        let next = pacer.next_start(at(0));
        assert!(!pacer.take(after(at(0), Duration::from_millis(300))));
        assert!(pacer.take(next));
        assert_eq!((0..10).filter(|_| pacer.take(at(100))).count(), 3);
    }

    #[test]
    fn less_than_one_per_second_still_starts() {
        let mut pacer = Pacer::new(0.5, at(0));
        assert!(pacer.take(at(0)));
        assert!(!pacer.take(at(1)));
        assert!(pacer.take(at(2)));
    }
}
