//! What the service says about itself: one structure behind `/v1/status`.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// The state of this replica, for people and probes.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the published field names")]
pub struct Status {
    pub role: Role,
    pub org_id: Option<String>,
    pub stream: StreamStatus,
    pub published_users: usize,
    pub owed_reads: usize,
    pub backlog_records: usize,
    pub events: u64,
    pub undecodable_events: u64,
    pub messages: u64,
    pub healed: u64,
    /// Removals and deactivations that are kept back.
    pub held: usize,
    /// Since when the oldest of them is, our clock.
    pub held_since: Option<Timestamp>,
    /// People who were erased and must not come back.
    pub suppressed: usize,
    pub position_committed_at: Option<Timestamp>,
    pub snapshot: SnapshotStatus,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// Where the leader answers, when that is another replica.
    pub leader: Option<String>,
    /// Nothing staged, owed or running.
    pub idle: bool,
}

/// What this replica is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Not yet a member of the group.
    #[default]
    Starting,
    /// Warm, not writing.
    Standby,
    /// Writing.
    Leader,
}

/// The state of the subscription.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Whether it is open.
    pub connected: bool,
    /// What is wrong, in words.
    pub problem: Option<String>,
}

/// The state of snapshots and rechecks.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// What runs now.
    pub running: Option<String>,
    /// Its rows so far.
    pub rows: u64,
    /// When the last complete one began.
    pub last_complete: Option<Timestamp>,
    /// How many rows it had.
    pub last_rows: Option<u64>,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

/// Shared by the session, the API and whoever embeds the service. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusHandle(Arc<Mutex<Status>>);

impl StatusHandle {
    /// A copy.
    #[must_use]
    pub fn get(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Changes it.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
