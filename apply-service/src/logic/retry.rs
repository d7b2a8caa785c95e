//! When a person is tried again: exponential with full jitter, a ceiling, and an end.
//!
//! Full jitter (a delay drawn evenly between nothing and the ceiling) spreads a crowd that failed together.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::policy::Retry;

/// A `Retry-After` beyond this is not believed: an hour of silence is for the circuit to decide, not one answer.
const AFTER_MAX: Duration = Duration::from_secs(3600);

/// The delay before the attempt that follows `attempts` failures. `random` is in `[0, 1)`.
///
/// Guarantee: never below what the target asked for (within an hour), never above the larger of that and `max`.
#[must_use]
pub fn delay(retry: &Retry, attempts: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(30);
    let ceiling = retry.base.saturating_mul(1 << doublings).min(retry.max);
    let jittered = ceiling.mul_f64(random.clamp(0.0, 1.0));
    asked.map_or(jittered, |asked| jittered.max(asked.min(AFTER_MAX)))
}

/// A point in time later by a duration.
#[must_use]
pub fn after(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| now.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

/// How long ago something was; nothing when the clock was set back.
#[must_use]
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RETRY: Retry = Retry {
        base: Duration::from_secs(1),
        max: Duration::from_secs(300),
        give_up_after: Duration::from_secs(86400),
        halt_at: 10,
        halt_of: 20,
    };

    proptest! {
        #[test]
        fn delays_stay_in_bounds(attempts in 0_u32..1000, asked in proptest::option::of(0_u64..100_000), random in 0.0_f64..1.0) {
            let asked = asked.map(Duration::from_secs);
            let delay = delay(&RETRY, attempts, asked, random);
            let least = asked.unwrap_or_default().min(AFTER_MAX);
            prop_assert!(delay >= least && delay <= RETRY.max.max(least));
        }
    }

    #[test]
    fn the_ceiling_doubles() {
        let at = |attempts| delay(&RETRY, attempts, None, 1.0).as_secs();
        assert_eq!([at(1), at(2), at(3), at(20)], [1, 2, 4, 300]);
    }
}
