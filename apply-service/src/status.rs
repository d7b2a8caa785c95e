//! What the service is doing, for `/v1/status`, the metrics and whoever runs it in process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;
use usher_contract::TargetName;
use usher_runtime::clock;

use crate::{
    logic::{lane::LaneStatus, ownership::State},
    metrics::Metrics,
    users::{Users, UsersStatus},
};

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// `off`, `observe`, `enforce`.
    pub mode: &'static str,
    /// Where it stands in this process: `unassigned`, `fencing`, `restoring`, `waiting`, `active`, ...
    pub state: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// This process while it runs the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why the last take-over failed, or the lane was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Records of the target that could not be read.
    pub malformed: u64,
    /// The lane, while it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<LaneStatus>,
}

/// The service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// This process.
    pub instance: String,
    /// The table of users.
    pub users: UsersStatus,
    /// By name.
    pub targets: BTreeMap<TargetName, TargetStatus>,
    /// Legal but risky settings.
    pub warnings: Vec<String>,
}

/// Reads the status of a service in the same process. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct StatusHandle {
    instance: Arc<OnceLock<String>>,
    users: Arc<Users>,
    targets: Arc<Mutex<BTreeMap<TargetName, TargetStatus>>>,
    warnings: Arc<[String]>,
    metrics: Arc<Metrics>,
}

impl StatusHandle {
    pub(crate) fn new(users: Arc<Users>, warnings: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            instance: Arc::default(),
            users,
            targets: Arc::default(),
            warnings: warnings.into(),
            metrics,
        }
    }

    /// Everything, as of now.
    #[must_use]
    pub fn snapshot(&self) -> ServiceStatus {
        ServiceStatus {
            instance: self.instance().to_owned(),
            users: self.users.status(),
            targets: self.lock().clone(),
            warnings: self.warnings.to_vec(),
        }
    }

    /// How this process is named; the first call counts.
    pub(crate) fn name(&self, instance: String) {
        let _ = self.instance.set(instance);
    }

    pub(crate) fn instance(&self) -> &str {
        self.instance.get().map_or("", String::as_str)
    }

    pub(crate) fn declare(&self, target: &TargetName, mode: &'static str) {
        let state = if mode == "off" {
            "off"
        } else {
            State::Unassigned.as_str()
        };
        let status = TargetStatus {
            mode,
            state,
            since: clock::now(),
            owner: None,
            problem: None,
            malformed: 0,
            lane: None,
        };
        self.lock().insert(target.clone(), status);
        self.metrics.target(target.as_str(), None, clock::now());
    }

    pub(crate) fn state(&self, target: &TargetName, state: State) {
        let mut targets = self.lock();
        let Some(status) = targets.get_mut(target) else {
            return;
        };
        status.state = state.as_str();
        status.since = clock::now();
        let runs = matches!(state, State::Active | State::Draining(_));
        status.owner = runs.then(|| self.instance().to_owned());
        if !runs {
            status.lane = None;
            self.metrics.target(target.as_str(), None, clock::now());
        }
    }

    pub(crate) fn problem(&self, target: &TargetName, problem: Option<String>) {
        if let Some(status) = self.lock().get_mut(target) {
            status.problem = problem;
        }
    }

    pub(crate) fn lane(&self, target: &TargetName, lane: LaneStatus, malformed: u64) {
        self.metrics.target(target.as_str(), Some(&lane), clock::now());
        if let Some(status) = self.lock().get_mut(target) {
            status.lane = Some(lane);
            status.malformed = malformed;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetName, TargetStatus>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
