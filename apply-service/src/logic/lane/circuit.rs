//! The circuit of a target: open while the application as a whole does not work; one probe at a time closes it.

use jiff::Timestamp;

use crate::{
    connector::Refusal,
    logic::{policy::Retry, retry},
};

/// So many failures in a row, whoever they concern, are taken for a failure of the application.
const STREAK_MAX: u32 = 10;
/// A recovered application is noticed within a minute.
const PROBE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Open or closed.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    open: Option<Open>,
    streak: u32,
}

/// Why and since when.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) refusal: Refusal,
    pub(super) since: Timestamp,
    probes: u32,
    next_probe: Timestamp,
    probing: bool,
}

impl Circuit {
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
        let next_probe = retry::after(now, retry::delay(retry, 1, None, random));
        self.open = Some(Open {
            refusal,
            since: now,
            probes: 0,
            next_probe,
            probing: false,
        });
        true
    }

    /// One person failed in a way that may be the application's. True when that trips the circuit.
    pub(super) fn failed(&mut self, refusal: &Refusal, retry: &Retry, now: Timestamp, random: f64) -> bool {
        self.streak += 1;
        self.streak >= STREAK_MAX && self.trip(refusal.clone(), retry, now, random)
    }
    /// The application has answered as it should.
    pub(super) fn answered(&mut self) {
        self.streak = 0;
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
    /// The probe failed.
    pub(super) fn still_open(&mut self, refusal: Refusal, retry: &Retry, now: Timestamp, random: f64) {
        if let Some(open) = &mut self.open {
            open.probing = false;
            open.probes += 1;
            open.refusal = refusal;
            let delay = retry::delay(retry, open.probes + 1, None, random)
                .min(PROBE_MAX)
                .max(retry.base.min(PROBE_MAX));
            open.next_probe = retry::after(now, delay);
        }
    }
    /// The probe succeeded.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.streak = 0;
    }
}
