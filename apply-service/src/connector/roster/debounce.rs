//! When a list is due: after a rest, and at the latest a while after the first change.

use std::time::{Duration, Instant};

/// Changes that are not in the file yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Debounce {
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Debounce {
    /// Something changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// What had changed until then is being written, or there is nothing to write.
    pub(super) fn taken(&mut self) {
        *self = Self::default();
    }

    /// When the list is due; `None` while nothing has changed.
    pub(super) fn due(&self, quiet: Duration, at_most: Duration) -> Option<Instant> {
        let (first, last) = self.first.zip(self.last)?;
        Some((last + quiet).min(first + at_most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_it_and_unrest_does_not_put_it_off_for_ever() {
        let start = tokio::time::Instant::now().into_std();
        let second = |n| start + Duration::from_secs(n);
        let (quiet, at_most) = (Duration::from_secs(10), Duration::from_secs(60));
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(quiet, at_most), None);
        debounce.changed(second(0));
        assert_eq!(debounce.due(quiet, at_most), Some(second(10)));
        for n in 1..=8 {
            debounce.changed(second(n * 9));
        }
        assert_eq!(debounce.due(quiet, at_most), Some(second(60)));
        debounce.taken();
        assert_eq!(debounce.due(quiet, at_most), None);
        debounce.changed(second(70));
        assert_eq!(debounce.due(quiet, at_most), Some(second(80)));
    }
}
