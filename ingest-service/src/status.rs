//! What the service says about itself: one structure per org behind `/v1/status`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::salesforce::limits::QuotaStatus;

/// The state of this replica, for people and probes. Always of this shape, also with one org.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// One per org, in the order of the configuration.
    pub orgs: Vec<Status>,
    /// What is wrong, in words, of all orgs together; with several orgs each begins with the name.
    pub problems: Vec<String>,
}

/// What this replica does for one org.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the published field names")]
pub struct Status {
    /// The name under `orgs`, else the configured id, else `default`.
    pub name: String,
    pub role: Role,
    pub org_id: Option<String>,
    pub stream: StreamStatus,
    pub published_users: usize,
    pub owed_reads: usize,
    pub backlog_records: usize,
    pub events: u64,
    pub undecodable_events: u64,
    /// Events about records of other objects, passed over.
    pub foreign_events: u64,
    pub messages: u64,
    pub healed: u64,
    /// Routine rechecks in a row that found what the stream had not delivered.
    pub healing_in_a_row: u32,
    /// Removals and deactivations that are kept back.
    pub held: usize,
    /// Since when the oldest of them is, our clock.
    pub held_since: Option<Timestamp>,
    /// People who were erased and must not come back.
    pub suppressed: usize,
    pub position_committed_at: Option<Timestamp>,
    pub snapshot: SnapshotStatus,
    /// By the name of the poll; only those that are wanted.
    pub polls: BTreeMap<&'static str, PollStatus>,
    /// Fields of User that the integration user may not read: unknown in every message.
    pub unreadable_fields: Vec<String>,
    /// The org's allocations of requests and events.
    pub quota: QuotaStatus,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// Where the leader answers, when that is another replica.
    pub leader: Option<String>,
    /// Nothing staged, owed or running.
    pub idle: bool,
}

/// What this replica is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Whether it is open.
    pub connected: bool,
    /// What is wrong, in words.
    pub problem: Option<String>,
    /// When it is opened again, our clock, while it is not open.
    pub next_try: Option<Timestamp>,
}

/// The state of snapshots and rechecks.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// What runs now.
    pub running: Option<String>,
    /// Its rows so far.
    pub rows: u64,
    /// Its rows per second, since it began.
    pub rows_per_second: Option<f64>,
    /// How many rows it will have, as far as the source has said.
    pub expected_rows: Option<u64>,
    /// When it will end at this rate.
    pub expected_end: Option<Timestamp>,
    /// What it waits for, in words: the org's hourly limit of report runs, or a bulk job.
    pub waiting: Option<String>,
    /// When the last complete one began.
    pub last_complete: Option<Timestamp>,
    /// How many rows it had.
    pub last_rows: Option<u64>,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

/// The state of one poll.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PollStatus {
    /// When the last answer that was believed was asked for, by the source's clock; none in this leadership yet.
    pub last_success: Option<Timestamp>,
    /// Its rows.
    pub rows: usize,
    /// Why the last attempt failed or was not believed.
    pub problem: Option<String>,
    /// What the poll does not see although it works.
    pub note: Option<String>,
}

/// Shared by the session, the API and whoever embeds the service. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusHandle(Arc<Mutex<Status>>);

impl StatusHandle {
    /// Of an org of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let handle = Self::default();
        handle.update(|status| name.clone_into(&mut status.name));
        handle
    }
    /// This replica does not lead: what a leadership said is no longer true.
    pub fn standby(&self) {
        self.update(|status| {
            *status = Status {
                name: std::mem::take(&mut status.name),
                org_id: status.org_id.take(),
                role: Role::Standby,
                ..Status::default()
            };
        });
    }
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

/// The status of every org. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceStatusHandle(Arc<Vec<StatusHandle>>);

impl ServiceStatusHandle {
    /// Of these orgs.
    #[must_use]
    pub fn new(orgs: Vec<StatusHandle>) -> Self {
        Self(Arc::new(orgs))
    }
    /// A copy of all.
    #[must_use]
    pub fn get(&self) -> ServiceStatus {
        let orgs: Vec<Status> = self.0.iter().map(StatusHandle::get).collect();
        let several = orgs.len() > 1;
        let problems = orgs
            .iter()
            .flat_map(|org| org.problems.iter().map(move |problem| (&org.name, problem)))
            .map(|(name, problem)| {
                if several {
                    format!("{name}: {problem}")
                } else {
                    problem.clone()
                }
            })
            .collect();
        ServiceStatus { orgs, problems }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_of_several_orgs_are_named_and_those_of_one_are_not() {
        let (one, other) = (StatusHandle::of("production"), StatusHandle::of("sandbox"));
        other.update(|status| status.problems = vec!["cannot log in".to_owned()]);
        let both = ServiceStatusHandle::new(vec![one, other.clone()]).get();
        assert_eq!(both.problems, ["sandbox: cannot log in"]);
        assert_eq!(ServiceStatusHandle::new(vec![other]).get().problems, ["cannot log in"]);
    }

    #[test]
    fn a_standby_says_nothing_of_an_earlier_leadership() {
        let handle = StatusHandle::of("production");
        handle.update(|status| {
            status.role = Role::Leader;
            status.published_users = 7;
            status.org_id = Some("00D".to_owned());
        });
        handle.standby();
        let status = handle.get();
        assert_eq!((status.name.as_str(), status.published_users), ("production", 0));
        assert_eq!((status.role, status.org_id.as_deref()), (Role::Standby, Some("00D")));
    }
}
