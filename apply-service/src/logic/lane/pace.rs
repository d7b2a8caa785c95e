//! How fast operations start: so many per second and per day, slower while the target pushes back.
//!
//! A second allows a burst of at most one second's worth after a pause. The day is that of UTC; what was used stands in
//! the target's record, so a restart does not get it again. A part of the day is kept for people who leave, and for probes,
//! for which they wait. When the target says "too many" (429), or asks to be left alone with any other failure
//! (`Retry-After`, RFC 9110 section 10.2.3), nothing starts until it has said, and the rate is halved; every success brings
//! back a little of it, so that the rate settles just below what the target takes. A rest outlives a restart.

use std::time::Duration;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::logic::{
    policy::Pace,
    retry::{after, elapsed},
    target_record::DayUsed,
};

/// The rate is never slowed below this part of what is configured: what was pushed back once must be found out to be
/// over one day.
const SLOWEST: f64 = 1.0 / 64.0;
/// A success brings back this part of the configured rate.
const RECOVERY: f64 = 1.0 / 100.0;
/// After "too many" without a time, nothing starts for so long.
const REST: Duration = Duration::from_secs(5);
/// A target that asks to be left alone for longer is asked again after this.
const REST_MAX: Duration = Duration::from_secs(3600);

/// Why nothing may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The second is used up, or the target has asked for a rest: until then.
    Until(Timestamp),
    /// The day is used up, until the next one begins.
    NextDay(Timestamp),
}

/// Starts per second and day.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    /// What is taken at present, at most `pace.per_second`.
    rate: f64,
    tokens: f64,
    at: Timestamp,
    rests_until: Option<Timestamp>,
    day: DayUsed,
}

fn day_of(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

impl Pacer {
    pub(super) fn new(pace: Pace, day: Option<DayUsed>, rests_until: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            pace,
            rate: pace.per_second,
            tokens: 1.0_f64.max(pace.per_second),
            at: now,
            // A record may be of a clock that was ahead.
            rests_until: rests_until.map(|until| until.min(after(now, REST_MAX))),
            day: day.unwrap_or(DayUsed {
                day: day_of(now),
                used: 0,
            }),
        }
    }

    fn tokens(&self, now: Timestamp) -> f64 {
        (self.tokens + elapsed(self.at, now).as_secs_f64() * self.rate).min(self.rate.max(1.0))
    }

    /// What was used of the day, for the record.
    pub(super) fn used(&self) -> DayUsed {
        self.day
    }

    /// Until when the target wants to be left alone, for the record.
    pub(super) fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.rests_until.filter(|until| *until > now)
    }

    /// What is left of the day; `None` without a limit.
    pub(super) fn left(&self, now: Timestamp) -> Option<u64> {
        let used = if day_of(now) == self.day.day { self.day.used } else { 0 };
        self.pace.per_day.map(|limit| limit.saturating_sub(used))
    }

    /// Operations per second at present.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes a start if one is due.
    pub(super) fn take(&mut self, leaver: bool, now: Timestamp) -> Result<(), Waits> {
        if day_of(now) != self.day.day {
            self.day = DayUsed {
                day: day_of(now),
                used: 0,
            };
        }
        self.waits(leaver, now).map_or(Ok(()), Err)?;
        self.tokens = self.tokens(now) - 1.0;
        self.at = now;
        self.day.used += 1;
        Ok(())
    }

    /// Why nothing of this kind may start now.
    pub(super) fn waits(&self, leaver: bool, now: Timestamp) -> Option<Waits> {
        if let Some(until) = self.rests_until.filter(|until| *until > now) {
            return Some(Waits::Until(until));
        }
        if let Some(limit) = self.pace.per_day {
            let reserve = if leaver {
                0
            } else {
                limit * self.pace.leaver_reserve_percent / 100
            };
            if day_of(now) == self.day.day && self.day.used >= limit - reserve {
                return Some(Waits::NextDay(next_day(now)));
            }
        }
        let missing = (1.0 - self.tokens(now)).max(0.0) / self.rate;
        // A microsecond more than computed: waking just before it is due would spin.
        (missing > 0.0).then(|| Waits::Until(after(now, Duration::from_secs_f64(missing) + Duration::from_micros(1))))
    }

    /// A start that was taken and not used.
    pub(super) fn give_back(&mut self) {
        self.tokens += 1.0;
        self.day.used = self.day.used.saturating_sub(1);
    }

    /// An operation has ended after so many requests; one was counted when it began.
    pub(super) fn requests(&mut self, requests: u32) {
        self.day.used += u64::from(requests.saturating_sub(1));
    }

    /// Something succeeded.
    pub(super) fn succeeded(&mut self) {
        self.rate = (self.rate + self.pace.per_second * RECOVERY).min(self.pace.per_second);
    }

    /// The target says that it is asked too often, or asks to be left alone for a while.
    pub(super) fn pushed_back(&mut self, asked: Option<Duration>, now: Timestamp) {
        // Answers to what was under way already do not slow it further.
        if self.rests_until.is_none_or(|until| until <= now) {
            self.rate = (self.rate / 2.0).max(self.pace.per_second * SLOWEST);
        }
        let until = after(now, asked.unwrap_or(REST).min(REST_MAX));
        self.rests_until = self.rests_until.max(Some(until));
        self.tokens = self.tokens(now).min(1.0);
        self.at = now;
    }
}

fn next_day(now: Timestamp) -> Timestamp {
    let tomorrow = day_of(now).tomorrow().ok();
    tomorrow
        .and_then(|day| day.to_zoned(TimeZone::UTC).ok())
        .map_or_else(|| after(now, Duration::from_secs(24 * 3600)), |start| start.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::at;

    fn pace(per_second: f64, per_day: Option<u64>) -> Pace {
        Pace {
            per_second,
            per_day,
            leaver_reserve_percent: 10,
            concurrency: 1,
        }
    }
    fn pacer(per_second: f64) -> Pacer {
        Pacer::new(pace(per_second, None), None, None, at(0))
    }
    fn starts(pacer: &mut Pacer, now: Timestamp) -> usize {
        (0..1000).filter(|_| pacer.take(false, now).is_ok()).count()
    }

    #[test]
    fn a_second_has_no_more_starts_than_configured_after_the_first_burst() {
        let mut pacer = pacer(3.0);
        assert_eq!(starts(&mut pacer, at(0)), 3);
        let Some(Waits::Until(next)) = pacer.waits(false, at(0)) else {
            panic!("the second is used up")
        };
        assert!(pacer.take(false, after(at(0), Duration::from_millis(300))).is_err());
        assert!(pacer.take(false, next).is_ok());
        assert_eq!(starts(&mut pacer, at(100)), 3);
    }

    #[test]
    fn less_than_one_per_second_still_starts() {
        let mut pacer = pacer(0.5);
        assert!(pacer.take(false, at(0)).is_ok());
        assert!(pacer.take(false, at(1)).is_err());
        assert!(pacer.take(false, at(2)).is_ok());
    }

    #[test]
    fn the_last_part_of_a_day_is_for_leavers_and_survives_a_restart() {
        let limits = pace(1000.0, Some(100));
        let mut pacer = Pacer::new(limits, None, None, at(0));
        assert_eq!(starts(&mut pacer, at(0)), 90);
        let mut pacer = Pacer::new(limits, Some(pacer.used()), None, at(1));
        assert!(matches!(pacer.take(false, at(1)), Err(Waits::NextDay(_))));
        assert_eq!((0..1000).filter(|_| pacer.take(true, at(1)).is_ok()).count(), 10);
        let Some(Waits::NextDay(tomorrow)) = pacer.waits(true, at(1)) else {
            panic!("the day is used up")
        };
        assert_eq!(pacer.left(at(1)), Some(0));
        assert!(pacer.take(false, tomorrow).is_ok());
        assert_eq!(pacer.left(tomorrow), Some(99));
    }

    #[test]
    fn every_request_of_an_operation_counts() {
        let mut pacer = Pacer::new(pace(1000.0, Some(100)), None, None, at(0));
        assert!(pacer.take(false, at(0)).is_ok());
        pacer.requests(3);
        assert_eq!(pacer.left(at(0)), Some(97));
    }

    #[test]
    fn a_push_back_halves_the_rate_and_success_brings_it_back() {
        let mut pacer = pacer(100.0);
        pacer.pushed_back(Some(Duration::from_secs(30)), at(0));
        pacer.pushed_back(None, at(1));
        assert_eq!(pacer.rate(), 50.0, "answers to what was under way count once");
        assert_eq!(pacer.waits(true, at(2)), Some(Waits::Until(at(30))), "also for leavers");
        assert!(pacer.take(false, at(31)).is_ok());
        for _ in 0..20 {
            pacer.pushed_back(Some(Duration::ZERO), at(60));
        }
        assert!(pacer.rate() >= 100.0 / 64.0);
        for _ in 0..100 {
            pacer.succeeded();
        }
        assert_eq!(pacer.rate(), 100.0);
    }
}
