//! How far the running survey is: for the log, the status, and for cleaning up when the leadership ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::{
    logic::progress::estimate,
    salesforce::{bulk, rest::Rest},
    status::SnapshotStatus,
};

/// Between two log lines about progress.
const LINE_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// Shared by the session and the survey that it runs. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct Watch(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// When the first rows came in sight, our clock; `None` while nothing runs.
    began_at: Option<Timestamp>,
    expected: Option<u64>,
    waiting: Option<String>,
    /// A bulk job that exists at Salesforce because of us.
    job: Option<String>,
    /// The stream needs a survey of its own.
    needed: bool,
    last_line: Option<Timestamp>,
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// How many rows there will be, as far as the source has said.
    pub(super) fn expects(&self, rows: Option<u64>) {
        self.seen().expected = rows;
    }
    /// What it waits for, in words.
    pub(super) fn waits(&self, why: Option<String>) {
        self.seen().waiting = why;
    }
    pub(super) fn job(&self, id: Option<String>) {
        self.seen().job = id;
    }
    /// The stream needs a survey: one that is paused gives way.
    pub(in crate::pipeline) fn needs(&self, needed: bool) {
        self.seen().needed = needed;
    }
    pub(super) fn is_needed(&self) -> bool {
        self.seen().needed
    }
    pub(super) fn ended(&self) {
        *self.seen() = Seen::default();
    }

    /// Puts it into the status, and says it in the log now and then. `rows`: of the running survey, if one runs.
    /// `last_rows`: of the last complete one of its kind, for a source that does not say how many there will be.
    pub(in crate::pipeline) fn show(
        &self,
        rows: Option<u64>,
        last_rows: Option<u64>,
        now: Timestamp,
    ) -> SnapshotStatus {
        let mut seen = self.seen();
        let Some(rows) = rows else {
            return SnapshotStatus {
                waiting: seen.waiting.clone(),
                ..SnapshotStatus::default()
            };
        };
        let began_at = *seen.began_at.get_or_insert(now);
        let expected = seen.expected.or(last_rows);
        let guess = estimate(began_at, rows, expected, now);
        let last = *seen.last_line.get_or_insert(now);
        if now.duration_since(last) >= LINE_EVERY {
            seen.last_line = Some(now);
            let ends_at = guess.ends_at.map(tracing::field::display);
            info!(
                rows,
                rows_per_second = guess.per_second,
                expected,
                ends_at,
                waiting = seen.waiting,
                "survey goes on"
            );
        }
        SnapshotStatus {
            rows,
            rows_per_second: Some(guess.per_second),
            expected_rows: expected,
            expected_end: guess.ends_at,
            waiting: seen.waiting.clone(),
            ..SnapshotStatus::default()
        }
    }

    /// The leadership has ended: a bulk job that nobody will read is aborted, as far as that is quickly done. One that stays
    /// is removed by Salesforce after seven days.
    pub(in crate::pipeline) async fn abandon(&self, rest: &Rest) {
        const AT_MOST: std::time::Duration = std::time::Duration::from_secs(2);
        let Some(job) = self.seen().job.take() else { return };
        if tokio::time::timeout(AT_MOST, bulk::discard(rest, &job, false))
            .await
            .is_err()
        {
            warn!(
                job.id = job,
                "the bulk job could not be aborted in time; Salesforce removes it by itself"
            );
        }
    }
}
