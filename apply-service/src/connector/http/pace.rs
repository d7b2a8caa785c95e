//! The target's own limit of requests: so many a second, kept at the target's end as well.
//!
//! Guarantees: requests begin one interval apart; and one begins only a window after the answer to the one that used its
//! place before. An answer comes after the arrival, so of any second no more requests arrive than are allowed, however long
//! the network kept one of them. What was sent by another process, or by one that was killed, is not known here.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::now;

/// Waits for places.
#[derive(Debug)]
pub(super) struct Pace {
    permits: Semaphore,
    places: Mutex<Places>,
}

impl Pace {
    /// `rate` is requests per second, more than 0.
    pub(super) fn new(rate: f64) -> Self {
        let places = Places::new(rate, now());
        Self {
            permits: Semaphore::new(places.free.len()),
            places: Mutex::new(places),
        }
    }

    /// Waits for a place; it is to be kept until the answer is there.
    pub(super) async fn place(&self) -> Place<'_> {
        // Never closed.
        let permit = self.permits.acquire().await.ok();
        let until = self.with(|places| places.begin(now()));
        let place = Place {
            pace: self,
            _permit: permit,
        };
        tokio::time::sleep_until(until.into()).await;
        place
    }

    fn with<T>(&self, act: impl FnOnce(&mut Places) -> T) -> T {
        act(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place that is taken. Dropping it begins its window.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pace: &'a Pace,
    // Given back after `drop` has said from when on.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pace.with(|places| places.answered(now()));
    }
}

/// Places for requests under way. Pure.
#[derive(Debug)]
struct Places {
    interval: Duration,
    /// How long a place stays taken after the answer.
    window: Duration,
    /// When the next request may begin.
    next: Instant,
    /// From when on the places that nobody has may be used, the earliest first.
    free: VecDeque<Instant>,
}

impl Places {
    fn new(rate: f64, at: Instant) -> Self {
        // Below one a second there is one place, for longer than a second.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 10,000"
        )]
        let places = rate.clamp(1.0, 10_000.0) as u16;
        Self {
            interval: Duration::from_secs_f64(1.0 / rate),
            // A millisecond more: the target's clock may have no finer ones.
            window: Duration::from_secs_f64(f64::from(places) / rate) + Duration::from_millis(1),
            next: at,
            free: std::iter::repeat_n(at, usize::from(places)).collect(),
        }
    }

    /// Takes a place, which there is, and says when its request begins.
    fn begin(&mut self, at: Instant) -> Instant {
        let free = self.free.pop_front().unwrap_or(at);
        let begins = free.max(self.next).max(at);
        self.next = begins + self.interval;
        begins
    }

    fn answered(&mut self, at: Instant) {
        self.free.push_back(at + self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Requests one after the other: the n-th takes so long, and the network has it so long before it arrives.
    fn arrivals(rate: f64, count: usize, cost: impl Fn(usize) -> (u64, u64)) -> Vec<Duration> {
        let start = now();
        let (mut places, mut at) = (Places::new(rate, start), start);
        let one = |n: usize| {
            let (under_way, late) = cost(n);
            let begins = places.begin(at);
            at = begins + Duration::from_millis(under_way.max(late));
            places.answered(at);
            begins + Duration::from_millis(late) - start
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn no_second_has_more_requests_than_are_allowed_however_late_one_arrives() {
        for late in [0, 100, 300, 900, 2_000] {
            for which in 0..5 {
                let times = arrivals(3.0, 12, |n| (1, if n % 5 == which { late } else { 0 }));
                for four in times.windows(4) {
                    assert!(four[3] - four[0] > SECOND, "{late} {which}: {times:?}");
                }
            }
        }
    }

    #[test]
    fn requests_begin_an_interval_apart_and_answers_at_once_leave_the_whole_rate() {
        let times = arrivals(100.0, 1_000, |_| (0, 0));
        for two in times.windows(2) {
            assert!(two[1] - two[0] >= Duration::from_millis(10));
        }
        assert!(times[999] < Duration::from_millis(10_100), "{:?}", times[999]);
    }

    /// SkyPrep: 100 calls a minute, of which the preset takes nine in ten.
    #[test]
    fn a_rate_per_second_holds_over_every_minute_as_well() {
        for (under_way, late) in [(0, 0), (5, 0), (400, 300), (1, 2_000)] {
            let times = arrivals(1.5, 300, |_| (under_way, late));
            for from in &times {
                let minute = times.iter().filter(|at| (*from..*from + 60 * SECOND).contains(*at));
                assert!(minute.count() <= 91, "{under_way} {late}");
            }
        }
    }

    #[test]
    fn less_than_one_a_second_has_one_place_for_longer() {
        let times = arrivals(0.5, 3, |_| (0, 0));
        assert_eq!(times[2].as_millis(), 4_002);
    }

    #[tokio::test]
    async fn as_long_as_no_request_is_answered_no_further_one_begins() {
        let pace = Pace::new(1.0);
        let place = pace.place().await;
        assert_eq!(pace.permits.available_permits(), 0);
        drop(place);
        assert_eq!(pace.permits.available_permits(), 1);
        assert_eq!(pace.with(|places| places.free.len()), 1);
    }
}
