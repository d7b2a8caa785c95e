//! Whether the lane has the whole picture, for an application that is given everybody at once.

use jiff::Timestamp;

use super::{FirstSync, Lane, Mode};
use crate::logic::guard::Budget;

/// How complete the picture is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Everybody has been fed and judged, and whoever something is to be done for is at the application: nobody waits for a
    /// place, a look-up or a commit. Never while the target is paused, its links are void, or a first sync waits.
    pub whole: bool,
    /// Writes that were handed out and have not ended: what is not at the application yet is missing there.
    pub writes: usize,
    /// People of whom it is not known whether they belong, or who changed later than the table of users knows.
    pub undecided: usize,
    /// The target is being handed back.
    pub draining: bool,
    /// Removals that operators have allowed on top of the guard.
    pub allowed_removals: u64,
}

impl Lane {
    /// How complete the picture is.
    #[must_use]
    pub fn completeness(&self, now: Timestamp) -> Completeness {
        let judged = self.all_fed && !self.batch && self.target.mode == Mode::Enforce;
        let begun = matches!(self.first, FirstSync::Done) && !self.record.first_sync_waits;
        let runs = self.record.paused.is_none() && !self.moved && !self.voiding && self.circuit.is_closed();
        let nobody_waits = self.queue.ready().next().is_none()
            && self.queue.resuming.is_empty()
            && self.commits.intents() == 0
            && self.looks == 0;
        Completeness {
            // A record that cannot be read is a row that is not known.
            whole: judged && begun && runs && nobody_waits && self.links.unreadable() == 0,
            writes: self.writes,
            undecided: self.undecided.len() + self.behind.len(),
            draining: self.draining,
            allowed_removals: self.allowed(Budget::InferredRemovals, now),
        }
    }
}
