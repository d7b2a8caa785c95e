//! The org: what tests and the sandbox hold in their hands. Synchronous and safe to share between threads.
//!
//! Guarantees: a write and its change event are atomic; the order of events is the order of commits.
//! Leaves out the network (`rest/`, `pubsub/`).

mod admin;
pub(crate) mod commit;
pub(crate) mod index;
pub(crate) mod reports;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod validate;
pub(crate) mod write;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use serde_json::{Map, Value};
use tokio::sync::watch;

use self::{session::Sessions, state::State};
use crate::{
    clock,
    config::SimConfig,
    event::log::EventLog,
    faults::{FaultState, Faults},
    people, random,
    report::ReportDefinition,
    request_log::RequestLog,
    rest::bulk::Job,
    soql::cursor::Cursors,
};

/// A record as it is now: its id and all fields under their API names.
#[derive(Debug, Clone, PartialEq)]
pub struct SimUser {
    /// 18 characters.
    pub id: String,
    /// All fields, in the JSON form of REST answers.
    pub fields: Map<String, Value>,
}

impl SimUser {
    /// A text field, `None` when empty.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// `IsActive`.
    pub fn is_active(&self) -> bool {
        self.fields.get("IsActive") == Some(&Value::Bool(true))
    }
}

/// What the integration user may do. All on at start.
#[derive(Debug, Clone, Copy)]
pub struct Permissions {
    /// Without it REST answers `API_DISABLED_FOR_ORG`-like errors.
    pub api_enabled: bool,
    /// Without it User events are refused or silently left out, and reads show nobody but the integration user.
    pub view_all_users: bool,
    /// Without it `/data/ChangeEvents` is refused.
    pub view_all_data: bool,
    /// Without it reports answer 403.
    pub run_reports: bool,
    /// Without it the limits resource answers 403, and permission sets cannot be queried.
    pub view_setup: bool,
    /// Without it frozen state (`UserLogin`) cannot be queried.
    pub manage_users: bool,
    /// Whether the report folders are shared with the integration user.
    pub report_folders: bool,
    /// Whether User is selected for Change Data Capture at all.
    pub users_captured: bool,
    /// Whether the app is approved for the integration user.
    pub app_approved: bool,
    /// Whether the app has the client credentials flow, and a user to run as.
    pub client_credentials: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            api_enabled: true,
            view_all_users: true,
            view_all_data: true,
            run_reports: true,
            view_setup: true,
            manage_users: true,
            report_folders: true,
            users_captured: true,
            app_approved: true,
            client_credentials: true,
        }
    }
}

/// One simulated Salesforce org.
#[derive(Debug)]
pub struct Org {
    pub(crate) config: SimConfig,
    state: RwLock<State>,
    log: Mutex<EventLog>,
    sessions: Mutex<Sessions>,
    permissions: Mutex<Permissions>,
    cursors: Mutex<Cursors>,
    bulk_jobs: Mutex<HashMap<String, Job>>,
    pub(crate) faults: FaultState,
    pub(crate) requests: RequestLog,
    pub(crate) delivered_events: AtomicU64,
    /// When reports were run within the last hour, ms.
    report_runs: Mutex<VecDeque<i64>>,
    pub(crate) api_calls: AtomicU64,
    pub(crate) open_streams: AtomicUsize,
    skew_ms: AtomicI64,
    wake: watch::Sender<u64>,
    instance_url: RwLock<String>,
    /// Consumer key and secret of the app.
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Org {
    pub(crate) fn new(config: SimConfig) -> Self {
        let retention_ms = i64::try_from(config.retention.as_millis()).unwrap_or(i64::MAX / 4);
        let mut state = State::new(&config.custom_fields, config.seed);
        if let Some(id) = config.org_id.as_deref().and_then(crate::id::normalize) {
            state.org_id = id.into();
        }
        people::populate(&mut state, &config, clock::now_ms(config.clock_skew_ms));
        let sessions = Sessions::new(&state.org_id, config.seed, config.session_timeout);
        let org = Self {
            log: Mutex::new(EventLog::new(config.seed, retention_ms)),
            sessions: Mutex::new(sessions),
            permissions: Mutex::new(Permissions::default()),
            cursors: Mutex::new(Cursors::default()),
            bulk_jobs: Mutex::new(HashMap::new()),
            faults: FaultState::default(),
            requests: RequestLog::default(),
            delivered_events: AtomicU64::new(0),
            report_runs: Mutex::new(VecDeque::new()),
            api_calls: AtomicU64::new(0),
            open_streams: AtomicUsize::new(0),
            skew_ms: AtomicI64::new(config.clock_skew_ms),
            wake: watch::Sender::new(0),
            instance_url: RwLock::new(String::new()),
            client_id: format!("3MVG9{}", random::token(&mut state.rng, 80)),
            client_secret: random::token(&mut state.rng, 64),
            state: RwLock::new(state),
            config,
        };
        org.add_report(ReportDefinition::all_users());
        org
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        unpoisoned(self.state.read())
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        unpoisoned(self.state.write())
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, EventLog> {
        unpoisoned(self.log.lock())
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        unpoisoned(self.sessions.lock())
    }

    pub(crate) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        unpoisoned(self.cursors.lock())
    }

    pub(crate) fn bulk_jobs(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        unpoisoned(self.bulk_jobs.lock())
    }

    /// Report runs of the last hour.
    pub(crate) fn report_runs(&self) -> MutexGuard<'_, VecDeque<i64>> {
        let hour = i64::try_from(self.config.report_hour.as_millis()).unwrap_or(i64::MAX);
        let now = self.now_ms();
        let mut runs = unpoisoned(self.report_runs.lock());
        while runs.front().is_some_and(|run| now - run >= hour) {
            runs.pop_front();
        }
        runs
    }

    pub(crate) fn instance_url(&self) -> String {
        unpoisoned(self.instance_url.read()).clone()
    }

    pub(crate) fn set_instance_url(&self, url: String) {
        *unpoisoned(self.instance_url.write()) = url;
    }

    pub(crate) fn now_ms(&self) -> i64 {
        clock::now_ms(self.skew_ms.load(Ordering::Relaxed))
    }

    /// Streams look again: there is an event, a fault, or a session is gone.
    pub(crate) fn wake_streams(&self) {
        self.wake.send_modify(|generation| *generation += 1);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// How many subscriptions have their position and are served.
    pub fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::SeqCst)
    }

    /// The place after the newest event of the bus; places count all events since the org's start.
    pub fn bus_end(&self) -> u64 {
        self.log().end()
    }

    /// How many events of the bus a reader has behind it that stands after this replay id; `None` when the id is refused.
    pub fn bus_place_after(&self, replay_id: &[u8]) -> Option<u64> {
        self.log().place_after(replay_id).ok()
    }

    /// How many events all streams together were sent.
    pub fn delivered_events(&self) -> u64 {
        self.delivered_events.load(Ordering::Relaxed)
    }

    /// Moves the org's clock against this machine's.
    pub fn set_clock_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// What the integration user may do.
    pub fn permissions(&self) -> Permissions {
        *unpoisoned(self.permissions.lock())
    }

    /// Grants or takes permissions; running streams notice.
    pub fn set_permissions(&self, permissions: Permissions) {
        *unpoisoned(self.permissions.lock()) = permissions;
        self.state_mut().granted = permissions;
        self.wake_streams();
    }

    /// Hides User fields from the integration user (field-level security). Replaces what was hidden before.
    pub fn hide_fields(&self, names: &[&str]) {
        let mut state = self.state_mut();
        let hidden: BTreeSet<usize> = names
            .iter()
            .filter_map(|name| state.users().def.position(name))
            .collect();
        state.unreadable = hidden;
    }

    /// Takes read access to whole objects, such as `GroupMember`. Replaces what was hidden before.
    pub fn hide_objects(&self, names: &[&str]) {
        self.state_mut().hidden_objects = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Misbehaviour to order.
    pub fn faults(&self) -> Faults<'_> {
        Faults::new(self)
    }

    /// The calls clients have made so far.
    pub fn request_log(&self) -> &RequestLog {
        &self.requests
    }
}
