//! What the service is doing, for `/v1/status`, the metrics and whoever runs it in process.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tracing::warn;
use usher_contract::TargetName;
use usher_runtime::clock;

use crate::{
    config::AlarmsConfig,
    connector::http::{CredentialStatus, Ending, HttpSender},
    directory::Directory,
    logic::{lane::LaneStatus, ownership::State, retry::elapsed, target_record::FIRST_SYNC},
    metrics::{Freshness, Metrics},
    users::{Users, UsersStatus},
};

/// How often the metrics are told how far a take-over has read.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// One target.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// `off`, `observe`, `link`, `enforce`.
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
    /// Records read so far, while what is known is read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<u64>,
    /// How old changes were when they had arrived, as far as this process has written them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// People who left longer ago than the bound and whose account is still on.
    pub leavers_overdue: usize,
    /// How it stands with the credentials, as this process knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialStatus>,
    /// What somebody should look at, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
    /// The lane, while it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<LaneStatus>,
}

/// The service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// This process.
    pub instance: String,
    /// The table of users.
    pub users: UsersStatus,
    /// By name.
    pub targets: BTreeMap<TargetName, TargetStatus>,
    /// Targets that this service has run and that the policy folder does not have any more, with what became of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<TargetName, String>,
    /// Legal but risky settings.
    pub warnings: Vec<String>,
    /// The policy folder has changed and is refused, and why; the one before stays in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_problem: Option<String>,
}

/// Reads the status of a service in the same process. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct StatusHandle {
    instance: Arc<OnceLock<String>>,
    address: Arc<OnceLock<String>>,
    alarms: AlarmsConfig,
    progress: Arc<Mutex<BTreeMap<TargetName, Arc<AtomicU64>>>>,
    users: Arc<Users>,
    directory: Arc<Directory>,
    targets: Arc<Mutex<BTreeMap<TargetName, TargetStatus>>>,
    senders: Arc<Mutex<BTreeMap<TargetName, Arc<HttpSender>>>>,
    /// What the log has said already.
    warned: Arc<Mutex<BTreeSet<(TargetName, Ending)>>>,
    warnings: Arc<[String]>,
    policy_problem: Arc<Mutex<Option<String>>>,
    metrics: Arc<Metrics>,
}

impl StatusHandle {
    pub(crate) fn new(
        users: Arc<Users>,
        directory: Arc<Directory>,
        warnings: Vec<String>,
        metrics: Arc<Metrics>,
        alarms: AlarmsConfig,
    ) -> Self {
        Self {
            instance: Arc::default(),
            address: Arc::default(),
            alarms,
            progress: Arc::default(),
            users,
            directory,
            targets: Arc::default(),
            senders: Arc::default(),
            warned: Arc::default(),
            warnings: warnings.into(),
            policy_problem: Arc::default(),
            metrics,
        }
    }

    /// Everything, as of now.
    #[must_use]
    pub fn snapshot(&self) -> ServiceStatus {
        let mut targets = self.lock().clone();
        let now = clock::now();
        for (name, target) in &mut targets {
            target.credential = self
                .credential(name)
                .filter(|credential| credential.kind != "none" || !credential.ends.is_empty());
            target.alarms = self.alarms_of(target, now);
            target.freshness = self.metrics.freshness(name.as_str());
            if target.state == State::Restoring(now).as_str() {
                target.restored = Some(self.progress(name).load(Ordering::Relaxed));
            }
        }
        ServiceStatus {
            instance: self.instance().to_owned(),
            users: self.users.status(),
            removed: self.removed(&targets),
            targets,
            warnings: self.warnings.to_vec(),
            policy_problem: self
                .policy_problem
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// Targets of which there is a record and no file.
    fn removed(&self, targets: &BTreeMap<TargetName, TargetStatus>) -> BTreeMap<TargetName, String> {
        let records = self.directory.all().into_iter();
        records
            .filter(|(name, _)| !targets.contains_key(name))
            .map(|(name, record)| {
                let words = match (&record.renamed_to, record.released) {
                    (Some(to), _) => format!("renamed to {to}"),
                    (None, true) => format!(
                        "not in the policy folder since {}: nobody runs it; its accounts and links stay as they are",
                        record.at
                    ),
                    (None, false) => format!(
                        "not in the policy folder; last run by {} at {}",
                        record.owner, record.at
                    ),
                };
                (name, words)
            })
            .collect()
    }

    /// Says that the policy folder is refused, or that it is not any more.
    pub(crate) fn policy_problem(&self, problem: Option<String>) {
        self.metrics.policy_refused.set(i64::from(problem.is_some()));
        *self.policy_problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// How this process is named; the first call counts.
    pub(crate) fn name(&self, instance: String) {
        let _ = self.instance.set(instance);
    }

    /// Where other replicas reach this process; the first call counts.
    pub(crate) fn listens_at(&self, address: String) {
        let _ = self.address.set(address);
    }

    pub(crate) fn address(&self) -> &str {
        self.address.get().map_or("", String::as_str)
    }

    /// Counts the records that a take-over has read.
    pub(crate) fn progress(&self, target: &TargetName) -> Arc<AtomicU64> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(progress.entry(target.clone()).or_default())
    }

    /// Carries a take-over's reading through; meanwhile the metrics say how far it is. Cancel-safe when `restoring` is.
    pub(crate) async fn while_restoring<T>(&self, target: &TargetName, restoring: impl Future<Output = T>) -> T {
        let progress = self.progress(target);
        let mut restoring = pin!(restoring);
        loop {
            let done = tokio::time::timeout(PROGRESS_EVERY, restoring.as_mut()).await;
            self.metrics.restored(target.as_str(), progress.load(Ordering::Relaxed));
            if let Ok(done) = done {
                return done;
            }
        }
    }

    fn alarms_of(&self, target: &TargetStatus, now: Timestamp) -> Vec<String> {
        let mut alarms = Vec::new();
        if let Some(credential) = &target.credential {
            if let Some(problem) = &credential.problem {
                alarms.push(format!("the access token was not renewed: {problem}"));
            }
            alarms.extend(self.endings(credential, now).map(|(_, words)| words));
        }
        let Some(lane) = &target.lane else { return alarms };
        if let Some(since) = lane.waits_for_operator_since()
            && elapsed(since, now) >= self.alarms.held
        {
            let waiting = lane.held_sets.iter().filter(|(_, held)| held.set.approved.is_none());
            let mut ids: Vec<&str> = waiting.map(|(id, _)| id.as_str()).collect();
            ids.extend(lane.first_sync_waits.then_some(FIRST_SYNC));
            let ids = ids.join(", ");
            alarms.push(format!(
                "waits for an operator since {since}: {ids}; look at it with `held`, then approve it or correct its cause"
            ));
        }
        if target.leavers_overdue > 0 {
            alarms.push(format!(
                "{} people left more than {} ago and their accounts are still on; `where USER` and `report` say why",
                target.leavers_overdue,
                usher_runtime::duration::show(self.alarms.leavers)
            ));
        }
        if lane.kept > 0 {
            alarms.push(format!(
                "{} accounts are on although their people are not to have them: lifecycle keeps them; access continues",
                lane.kept
            ));
        }
        if let Some(since) = lane.oldest_notice_since
            && elapsed(since, now) >= self.alarms.held
        {
            alarms.push(format!(
                "{} notices of new accounts are owed, the oldest since {since}: look at the mail server and the webhooks",
                lane.notices_owed
            ));
        }
        if lane.notices_failed > 0 {
            alarms.push(format!(
                "{} notices were refused or given up; mend their cause, then `redrive` sends them again",
                lane.notices_failed
            ));
        }
        if let Some(circuit) = &lane.circuit {
            alarms.push(format!(
                "the target does not work since {}: {}",
                circuit.since, circuit.reason
            ));
        }
        alarms
    }

    /// What ends soon and does not renew itself, in words.
    fn endings<'a>(
        &'a self,
        credential: &'a CredentialStatus,
        now: Timestamp,
    ) -> impl Iterator<Item = (Ending, String)> + 'a {
        credential.ends.iter().filter_map(move |(what, at)| {
            let way_out = what.way_out()?;
            let left = at.duration_since(now);
            let soon = Duration::try_from(left).map_or(true, |left| left <= self.alarms.credentials);
            let ends = if left.is_negative() { "has ended" } else { "ends" };
            soon.then(|| {
                (
                    *what,
                    format!("the {} {ends} at {at}; {way_out}", what.as_str().replace('-', " ")),
                )
            })
        })
    }

    /// Tells the credentials of a target by this sender from now on.
    pub(crate) fn authorizes(&self, target: &TargetName, sender: Arc<HttpSender>) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.insert(target.clone(), sender);
    }

    fn credential(&self, target: &TargetName) -> Option<CredentialStatus> {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        Some(senders.get(target)?.credential())
    }

    /// Passes on when credentials end, and says once in the log when that is soon.
    fn tell_credential(&self, target: &TargetName) {
        let Some(credential) = self.credential(target) else {
            return;
        };
        self.metrics.credential(target.as_str(), &credential);
        for (what, words) in self.endings(&credential, clock::now()) {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.insert((target.clone(), what)) {
                warn!(target.name = %target, "{words}");
            }
        }
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
            restored: None,
            freshness: None,
            leavers_overdue: 0,
            credential: None,
            alarms: Vec::new(),
            lane: None,
        };
        self.lock().insert(target.clone(), status);
        self.metrics.mode(target.as_str(), mode);
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
            status.leavers_overdue = 0;
            self.metrics.target(target.as_str(), None, clock::now());
            self.metrics.overdue(target.as_str(), 0);
        }
    }

    pub(crate) fn problem(&self, target: &TargetName, problem: Option<String>) {
        if let Some(status) = self.lock().get_mut(target) {
            status.problem = problem;
        }
    }

    pub(crate) fn lane(&self, target: &TargetName, lane: LaneStatus, malformed: u64) {
        self.tell_credential(target);
        self.metrics.target(target.as_str(), Some(&lane), clock::now());
        if let Some(status) = self.lock().get_mut(target) {
            status.lane = Some(lane);
            status.malformed = malformed;
        }
    }

    /// How many people left and are not out for longer than the bound.
    pub(crate) fn overdue(&self, target: &TargetName, leavers: usize) {
        self.metrics.overdue(target.as_str(), leavers);
        if let Some(status) = self.lock().get_mut(target) {
            status.leavers_overdue = leavers;
        }
    }

    /// After how long somebody who left and is not out is an alarm.
    pub(crate) fn leavers_bound(&self) -> std::time::Duration {
        self.alarms.leavers
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetName, TargetStatus>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
