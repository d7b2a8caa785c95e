//! Query cursors: what `nextRecordsUrl` points at. An unknown or expired one is `INVALID_QUERY_LOCATOR`.

use std::{collections::HashMap, sync::Arc};

use super::query::Found;

/// How many cursors an org keeps; the oldest goes first.
const CURSORS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Cursors {
    next: u64,
    open: HashMap<u64, Arc<Found>>,
}

impl Cursors {
    pub(crate) fn keep(&mut self, found: Arc<Found>) -> u64 {
        self.next += 1;
        self.open.insert(self.next, found);
        if self.open.len() > CURSORS_MAX
            && let Some(oldest) = self.open.keys().min().copied()
        {
            self.open.remove(&oldest);
        }
        self.next
    }

    /// A locator is `01g<number>-<offset>`.
    pub(crate) fn find(&self, locator: &str) -> Option<(u64, Arc<Found>, usize)> {
        let (number, offset) = locator.strip_prefix("01g")?.split_once('-')?;
        let number = u64::from_str_radix(number, 16).ok()?;
        Some((number, Arc::clone(self.open.get(&number)?), offset.parse().ok()?))
    }

    /// Forgets all of them, as after their life of about two days.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

pub(crate) fn locator(number: u64, offset: usize) -> String {
    format!("01g{number:012x}-{offset}")
}
