//! Exponential backoff with jitter. The attempt and the random number are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of a backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Upper bound of the wait after the first failure.
    pub base: Duration,
    /// Upper bound of any wait.
    pub max: Duration,
}

impl Backoff {
    /// Bounds in milliseconds.
    #[must_use]
    pub const fn from_millis(base: u64, max: u64) -> Self {
        Self {
            base: Duration::from_millis(base),
            max: Duration::from_millis(max),
        }
    }

    /// The wait after failure number `attempt` (from 1); `random` is uniform in 0..1.
    ///
    /// Jitter over the upper half: waits spread, and none is so short that it hammers.
    #[must_use]
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        ceiling.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_stay_in_bounds_and_ceilings_grow(attempt in 1_u32..200, random in 0.0..1.0) {
            let backoff = Backoff::from_millis(100, 60_000);
            let wait = backoff.wait(attempt, random);
            prop_assert!(wait >= Duration::from_millis(50) && wait <= backoff.max);
            prop_assert!(backoff.wait(attempt + 1, 1.0) >= backoff.wait(attempt, 1.0));
        }
    }
}
