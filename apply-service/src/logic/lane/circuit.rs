//! The circuit of a target: open while the application as a whole does not work; one probe at a time closes it.
//!
//! It begins open: nothing is asked of an application, and nothing written, before its connection check has passed.

use jiff::Timestamp;

use crate::{
    connector::Refusal,
    logic::{policy::Retry, retry},
};

/// A recovered application is noticed within a minute.
const PROBE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// A probe that succeeds does not prove that what was refused works now. The same refusal so soon after the circuit was
/// closed goes on where the waiting had come to, else a target that refuses only some requests would be asked all the
/// time. Larger: slower to forget a trouble that is over.
const RELAPSE: std::time::Duration = std::time::Duration::from_secs(600);

/// The code of a circuit that nothing has closed yet.
const UNCHECKED: &str = "unchecked";

/// Open or closed.
#[derive(Debug)]
pub(super) struct Circuit {
    open: Option<Open>,
    recent: Recent,
    /// Why it was open last, after how many probes it was closed, and when.
    last: Option<(String, u32, Timestamp)>,
}

/// Why and since when.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) refusal: Refusal,
    pub(super) since: Timestamp,
    /// The code of what tripped it; probes may fail for other reasons.
    code: String,
    probes: u32,
    next_probe: Timestamp,
    probing: bool,
}

impl Circuit {
    /// Of an application that has not been asked anything yet: the first probe is its connection check.
    pub(super) fn unchecked(now: Timestamp) -> Self {
        let refusal = Refusal {
            code: UNCHECKED.to_owned(),
            reason: "the connection check has not passed yet".to_owned(),
        };
        Self {
            open: Some(Open {
                code: refusal.code.clone(),
                refusal,
                since: now,
                probes: 0,
                next_probe: now,
                probing: false,
            }),
            ..Self::closed()
        }
    }
    /// Of an application that is not asked anything.
    pub(super) fn closed() -> Self {
        Self {
            open: None,
            recent: Recent::default(),
            last: None,
        }
    }
    /// Whether the connection check of the beginning has not ended yet.
    #[cfg(test)]
    pub(super) fn is_unchecked(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.code == UNCHECKED)
    }
    pub(super) fn is_closed(&self) -> bool {
        self.open.is_none()
    }
    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }
    pub(super) fn next_probe(&self) -> Option<Timestamp> {
        self.open
            .as_ref()
            .filter(|open| !open.probing)
            .map(|open| open.next_probe)
    }

    /// The application does not work. True when that is news.
    pub(super) fn trip(&mut self, refusal: Refusal, retry: &Retry, now: Timestamp, random: f64) -> bool {
        if self.open.is_some() {
            return false;
        }
        let code = refusal.code.clone();
        let probes = match &self.last {
            Some((last, probes, closed)) if *last == code && retry::elapsed(*closed, now) < RELAPSE => probes + 1,
            _ => 0,
        };
        let delay = if probes == 0 {
            retry::delay(retry, 1, None, random)
        } else {
            pause(retry, probes, random)
        };
        let next_probe = retry::after(now, delay);
        self.open = Some(Open {
            refusal,
            since: now,
            code,
            probes,
            next_probe,
            probing: false,
        });
        true
    }

    /// One person failed in a way that may be the application's. True when that trips the circuit.
    pub(super) fn failed(&mut self, refusal: &Refusal, retry: &Retry, now: Timestamp, random: f64) -> bool {
        self.recent.note(true, retry.halt_of);
        self.recent.failures() >= retry.halt_at && self.trip(refusal.clone(), retry, now, random)
    }
    /// The application has answered as it should.
    pub(super) fn answered(&mut self, retry: &Retry) {
        self.recent.note(false, retry.halt_of);
    }

    /// Whether a probe is due.
    pub(super) fn is_probe_due(&self, now: Timestamp) -> bool {
        self.next_probe().is_some_and(|due| now >= due)
    }

    /// Whether to probe now; marks the probe as under way.
    pub(super) fn probe(&mut self, now: Timestamp) -> bool {
        match &mut self.open {
            Some(open) if !open.probing && now >= open.next_probe => {
                open.probing = true;
                true
            }
            _ => false,
        }
    }
    /// The probe failed. True when that is news: it was the connection check of the beginning.
    pub(super) fn still_open(&mut self, refusal: Refusal, retry: &Retry, now: Timestamp, random: f64) -> bool {
        let Some(open) = &mut self.open else { return false };
        open.probing = false;
        open.probes += 1;
        open.next_probe = retry::after(now, pause(retry, open.probes, random));
        let news = open.code == UNCHECKED;
        if news {
            open.code.clone_from(&refusal.code);
        }
        open.refusal = refusal;
        news
    }
    /// The probe succeeded. True when that is news: something had failed before.
    pub(super) fn close(&mut self, now: Timestamp) -> bool {
        self.recent = Recent::default();
        self.last = self
            .open
            .take()
            .filter(|open| open.code != UNCHECKED)
            .map(|open| (open.code, open.probes, now));
        self.last.is_some()
    }
}

/// How the last answers were, a bit each: set = failed.
#[derive(Debug, Default)]
struct Recent(u64);

impl Recent {
    fn note(&mut self, failed: bool, of: u32) {
        let kept = u64::MAX >> (u64::BITS - of.clamp(1, u64::BITS));
        self.0 = (self.0 << 1 | u64::from(failed)) & kept;
    }
    fn failures(&self) -> u32 {
        self.0.count_ones()
    }
}

/// The pause after so many probes.
fn pause(retry: &Retry, probes: u32, random: f64) -> std::time::Duration {
    retry::delay(retry, probes + 1, None, random)
        .min(PROBE_MAX)
        .max(retry.base.min(PROBE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{at, policy};

    /// With the connection check passed.
    fn checked() -> Circuit {
        let mut circuit = Circuit::unchecked(at(0));
        assert!(!circuit.is_closed() && circuit.probe(at(0)) && !circuit.probe(at(0)));
        assert!(!circuit.close(at(0)), "nothing had failed");
        circuit
    }

    #[test]
    fn a_connection_check_that_fails_is_said_once_and_tried_again() {
        let (mut circuit, retry) = (Circuit::unchecked(at(0)), policy().retry);
        let refusal = Refusal {
            code: "http-401".to_owned(),
            reason: String::new(),
        };
        assert!(circuit.probe(at(0)));
        assert!(circuit.still_open(refusal.clone(), &retry, at(0), 1.0), "news");
        assert!(!circuit.probe(at(1)), "not at once");
        let next = circuit.next_probe().unwrap();
        assert!(circuit.probe(next));
        assert!(!circuit.still_open(refusal, &retry, next, 1.0), "no news");
        let next = circuit.next_probe().unwrap();
        assert!(
            circuit.probe(next) && circuit.close(next),
            "the end of a trouble is news"
        );
    }

    #[test]
    fn the_same_refusal_after_a_good_probe_goes_on_waiting_longer() {
        let (mut circuit, retry) = (checked(), policy().retry);
        let refusal = |code: &str| Refusal {
            code: code.to_owned(),
            reason: String::new(),
        };
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(circuit.trip(refusal("http-403"), &retry, now, 1.0));
            let next = circuit.next_probe().unwrap();
            pauses.push(retry::elapsed(now, next).as_secs());
            now = next;
            assert!(circuit.probe(now));
            circuit.close(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(circuit.trip(refusal("http-401"), &retry, now, 1.0));
        assert_eq!(
            circuit.next_probe(),
            Some(retry::after(now, retry.base)),
            "another trouble"
        );
        circuit.close(now);
        let later = retry::after(now, RELAPSE);
        assert!(circuit.trip(refusal("http-401"), &retry, later, 1.0));
        assert_eq!(circuit.next_probe(), Some(retry::after(later, retry.base)), "long ago");
    }

    #[test]
    fn it_opens_when_too_many_of_the_last_answers_failed_however_they_are_mixed() {
        let retry = policy().retry;
        assert_eq!((retry.halt_at, retry.halt_of), (10, 20));
        let refusal = Refusal {
            code: "http-503".to_owned(),
            reason: String::new(),
        };
        // For each pattern of answers (true = failed), repeated: after how many answers it opens.
        let opens_after = |pattern: &[bool]| {
            let mut circuit = checked();
            pattern.iter().cycle().take(1000).position(|failed| {
                if !*failed {
                    circuit.answered(&retry);
                }
                *failed && circuit.failed(&refusal, &retry, at(0), 1.0)
            })
        };
        assert_eq!(opens_after(&[true]), Some(9), "nothing but failures");
        assert_eq!(opens_after(&[false, true]), Some(19), "every second one");
        assert_eq!(opens_after(&[false, false, true]), None, "every third one");
        assert_eq!(opens_after(&[true, true, false]), Some(13), "two of three");
        // Closing begins anew.
        let mut circuit = checked();
        for _ in 0..9 {
            assert!(!circuit.failed(&refusal, &retry, at(0), 1.0));
        }
        assert!(circuit.failed(&refusal, &retry, at(0), 1.0));
        circuit.close(at(1));
        assert!(!circuit.failed(&refusal, &retry, at(2), 1.0));
    }
}
