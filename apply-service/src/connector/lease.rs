//! How long the owner of a target may write since its last successful commit.
//!
//! Kafka fences what a deposed owner writes to Kafka; its HTTP calls cannot be fenced. So a write starts only shortly
//! after a commit that proved the ownership, and ends a little later; a successor waits both out (ARCHITECTURE.md, "A failover of a target").
//! What remains is a freeze between the check and the first byte on the wire: drift finds that.
//!
//! Times are monotonic and given by the caller, from tokio's clock as the sender's are. Monotonic clocks run on while a process is stopped, which is the case
//! that the lease is for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How long a commit lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// A write starts no later than this after the commit; default 5 s. Smaller means more idle commits to keep the
    /// lease, larger a longer wait for a successor.
    pub start_within: Duration,
    /// A write ends no later than this after the commit; default 15 s. It must leave the slowest target time to
    /// answer a write that started last.
    pub end_within: Duration,
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self {
            start_within: Duration::from_secs(5),
            end_within: Duration::from_secs(15),
        }
    }
}

/// The lease of one target, shared by its lane and its sender; clones are the same lease.
#[derive(Debug, Clone)]
pub struct Lease {
    state: Arc<Mutex<State>>,
    renewed: Arc<Notify>,
    terms: LeaseTerms,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// No commit yet, or given up.
    None,
    /// The commit that proved the ownership.
    Since(Instant),
    /// Outside of any ownership.
    Unlimited,
}

impl Lease {
    /// Not held until the first commit.
    #[must_use]
    pub fn new(terms: LeaseTerms) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::None)),
            renewed: Arc::default(),
            terms,
        }
    }

    /// Never runs out: for commands and tests that act outside of a lane.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            state: Arc::new(Mutex::new(State::Unlimited)),
            renewed: Arc::default(),
            terms: LeaseTerms::default(),
        }
    }

    /// A commit succeeded. `begun` is the instant **before** the commit was asked for: a successor may count from
    /// then on, so taking the instant of its answer would make the lease too long. Never moves back.
    pub fn committed(&self, begun: Instant) {
        let mut state = self.state();
        *state = match *state {
            State::Unlimited => State::Unlimited,
            State::None => State::Since(begun),
            State::Since(before) => State::Since(before.max(begun)),
        };
        drop(state);
        self.renewed.notify_waiters();
    }

    /// Ends with the next commit, of those who wait when it comes.
    pub async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// The target is handed back or was taken away: no further write starts.
    pub fn release(&self) {
        *self.state() = State::None;
    }

    /// Whether a write may start.
    #[must_use]
    pub fn may_start_write(&self, now: Instant) -> bool {
        match *self.state() {
            State::None => false,
            State::Unlimited => true,
            State::Since(commit) => now.saturating_duration_since(commit) < self.terms.start_within,
        }
    }

    /// When a write that starts now must have ended; `None` without a limit.
    #[must_use]
    pub fn must_end_by(&self) -> Option<Instant> {
        match *self.state() {
            State::Since(commit) => Some(commit + self.terms.end_within),
            State::None | State::Unlimited => None,
        }
    }

    /// The state is one value, so a panic elsewhere cannot have left it half written.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn nothing_is_written_before_the_first_commit() {
        let lease = Lease::new(LeaseTerms::default());
        assert!(!lease.may_start_write(start()));
    }

    #[test]
    fn a_write_starts_within_five_and_ends_within_fifteen_seconds() {
        let (lease, commit) = (Lease::new(LeaseTerms::default()), start());
        lease.committed(commit);
        assert!(lease.may_start_write(commit));
        assert!(lease.may_start_write(commit + Duration::from_millis(4999)));
        assert!(!lease.may_start_write(commit + seconds(5)));
        assert_eq!(lease.must_end_by(), Some(commit + seconds(15)));
    }

    #[test]
    fn a_newer_commit_extends_it_and_an_older_one_does_not_shorten_it() {
        let (lease, commit) = (Lease::new(LeaseTerms::default()), start());
        let same = lease.clone();
        same.committed(commit + seconds(4));
        lease.committed(commit);
        assert!(lease.may_start_write(commit + seconds(8)));
        assert_eq!(lease.must_end_by(), Some(commit + seconds(19)));
    }

    #[test]
    fn a_released_lease_starts_nothing_until_a_new_commit() {
        let (lease, commit) = (Lease::new(LeaseTerms::default()), start());
        lease.committed(commit);
        lease.release();
        assert!(!lease.may_start_write(commit));
        lease.committed(commit);
        assert!(lease.may_start_write(commit));
    }

    #[test]
    fn an_unlimited_lease_stays_unlimited() {
        let lease = Lease::unlimited();
        lease.committed(start());
        assert!(lease.may_start_write(start() + seconds(1000)));
        assert_eq!(lease.must_end_by(), None);
    }
}
