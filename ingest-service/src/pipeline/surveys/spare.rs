//! Asking before every page whether a request may still be spent: a long survey must not eat up the reserve that was untouched
//! when it began.
//!
//! It pauses while only the reserve is left, and gives up when that lasts: what it has read counts, its absences do not.
//! Reading more slowly would save nothing, so a survey that has begun is not stretched.

use std::time::Duration;

use jiff::Timestamp;
use usher_runtime::clock;

use super::{Reading, signed};
use crate::logic::quota::{Means, Permit};

/// Between two looks at what is left. They cost nothing: the limits are looked at by somebody else.
const LOOK: Duration = Duration::from_millis(500);

/// What becomes of a survey that may not spend another request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// It waits.
    Goes,
    /// It has waited for as long as it may.
    Over,
    /// Something that may use the reserve waits for it to end: one survey runs at a time.
    GivesWay,
}

/// Decides about a pause that began then. `needed`: whether the stream owes a survey.
pub(super) fn pause(began: Timestamp, at_most: Duration, needed: bool, now: Timestamp) -> Pause {
    if needed {
        Pause::GivesWay
    } else if now.duration_since(began) >= signed(at_most) {
        Pause::Over
    } else {
        Pause::Goes
    }
}

impl Reading {
    /// Waits until a request may be spent.
    ///
    /// # Errors
    /// Why it is given up, in words: the survey is incomplete then.
    pub(super) async fn spare(&self) -> Result<(), String> {
        let quota = self.parts.rest.quota();
        let at_most = self.parts.config.quota.pause_at_most;
        let began = clock::now();
        let mut paused = false;
        loop {
            let Permit::Wait(why) = quota.allows(self.purpose, Means::Requests) else {
                if paused {
                    self.watch.waits(None);
                }
                return Ok(());
            };
            match pause(began, at_most, self.watch.is_needed(), clock::now()) {
                Pause::Goes => {}
                Pause::Over => {
                    return Err(format!(
                        "{why}; it was paused for quota.pauseAtMost ({at_most:?}) and is begun again when some free"
                    ));
                }
                Pause::GivesWay => return Err(format!("{why}; it gives way to a reading that the stream needs")),
            }
            paused = true;
            self.watch.waits(Some(why));
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_it_has_lasted_or_the_stream_needs_a_survey() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let ten = Duration::from_secs(10);
        for (needed, now, expected) in [
            (false, 0, Pause::Goes),
            (false, 9, Pause::Goes),
            (false, 10, Pause::Over),
            (true, 0, Pause::GivesWay),
            (true, 99, Pause::GivesWay),
        ] {
            assert_eq!(pause(at(0), ten, needed, at(now)), expected, "{needed} {now}");
        }
    }
}
