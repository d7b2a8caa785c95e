//! The handle that a test or the sandbox holds: start, prepare, misbehave, look.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::behaviour::Behaviour;
use crate::connection::{CuttableListener, Scissors};
use crate::fault::{Fault, FaultScope};
use crate::gate::Moment;
use crate::query::show;
use crate::recording::{RequestRecord, max_writes_in_flight};
use crate::resource::from_body;
use crate::schema::{ENTERPRISE_URN, GROUP, USER};
use crate::server::{BASE_PATH, Shared, router};
use crate::service::State;
use crate::store::Store;

/// How the simulator starts.
#[derive(Clone, Debug)]
pub struct ScimSimConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// `None` accepts every request.
    pub bearer_token: Option<String>,
    pub behaviour: Behaviour,
}

impl Default for ScimSimConfig {
    fn default() -> ScimSimConfig {
        ScimSimConfig {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            bearer_token: None,
            behaviour: Behaviour::default(),
        }
    }
}

/// A running SCIM application. Dropping it stops it.
#[derive(Debug)]
pub struct ScimSim {
    shared: Arc<Shared>,
    base_url: String,
    stop: Option<oneshot::Sender<()>>,
    server: JoinSet<std::io::Result<()>>,
}

impl ScimSim {
    /// Panics if the address is taken.
    pub async fn start(config: ScimSimConfig) -> ScimSim {
        let listener = TcpListener::bind(config.address)
            .await
            .unwrap_or_else(|error| panic!("cannot listen on {}: {error}", config.address));
        let address = listener.local_addr().expect("a bound socket has an address");
        let base_url = format!("http://{address}{BASE_PATH}");
        let state = State::new(&base_url, config.bearer_token, config.behaviour);
        let shared = Shared::new(state);
        let service = router(Arc::clone(&shared)).into_make_service_with_connect_info::<Scissors>();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(CuttableListener(listener), service)
                .with_graceful_shutdown(async {
                    // A dropped handle means stop, too.
                    let _ = stopped.await;
                })
                .await
        });
        ScimSim {
            shared,
            base_url,
            stop: Some(stop),
            server,
        }
    }

    /// For example `http://127.0.0.1:40001/scim/v2`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Stops listening and waits until the requests in flight are answered.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        while self.server.join_next().await.is_some() {}
    }

    /// Changes the behaviour while running.
    pub fn set_behaviour(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.lock().state.behaviour);
    }

    /// From now on only this token is accepted.
    pub fn set_bearer_token(&self, token: Option<&str>) {
        self.shared.lock().state.bearer_token = token.map(str::to_owned);
    }

    /// Plans a fault for the next `count` requests of `scope`; `usize::MAX` means until [`ScimSim::clear_faults`].
    pub fn plan_fault(&self, fault: Fault, scope: FaultScope, count: usize) {
        self.shared.lock().faults.plan(fault, scope, count);
    }

    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// From now on requests of `scope` are kept at `moment`, faulty ones excepted. There is one gate: what an earlier one kept
    /// is let on.
    pub fn close_gate(&self, moment: Moment, scope: FaultScope) {
        self.shared.lock().gate.close(moment, scope);
    }

    /// How many requests the gate has caught since it was closed; 0 when it is open.
    pub fn caught_at_gate(&self) -> usize {
        self.shared.lock().gate.caught()
    }

    /// Lets on what was kept, and everything from now on.
    pub fn open_gate(&self) {
        self.shared.lock().gate.open();
    }

    /// Adds a user without a request; returns its id. `schemas` may be left out. Panics if the body is not valid.
    pub fn seed_user(&self, body: Value) -> String {
        let body = checked(&USER, body);
        id_of(self.shared.lock().state.users.create(body))
    }

    /// Adds a group without a request; returns its id.
    pub fn seed_group(&self, body: Value) -> String {
        let body = checked(&GROUP, body);
        id_of(self.shared.lock().state.groups.create(body))
    }

    /// Replaces a user without a request, as an administrator would behind everybody's back.
    pub fn overwrite_user(&self, id: &str, body: Value) {
        let body = checked(&USER, body);
        id_of(self.shared.lock().state.users.replace(id, body));
    }

    /// Removes a user without a request.
    pub fn remove_user(&self, id: &str) {
        if let Err(error) = self.shared.lock().state.users.delete(id) {
            panic!("{}", error.detail);
        }
    }

    /// Removes a group without a request.
    pub fn remove_group(&self, id: &str) {
        if let Err(error) = self.shared.lock().state.groups.delete(id) {
            panic!("{}", error.detail);
        }
    }

    /// Every user as a reader would see it, in order of creation.
    pub fn users(&self) -> Vec<Value> {
        self.resources(|state| &state.users)
    }

    /// Every group as a reader would see it, in order of creation.
    pub fn groups(&self) -> Vec<Value> {
        self.resources(|state| &state.groups)
    }

    /// The user with this external id. Panics if several have it.
    pub fn user_by_external_id(&self, external_id: &str) -> Option<Value> {
        let inner = self.shared.lock();
        let state = &inner.state;
        let mut found = state
            .users
            .all()
            .filter(|body| body.get("externalId").and_then(Value::as_str) == Some(external_id));
        let body = found.next()?;
        assert!(
            found.next().is_none(),
            "several users have the external id {external_id}"
        );
        Some(show(&USER, &state.groups, &state.behaviour, body))
    }

    pub fn user_count(&self) -> usize {
        self.shared.lock().state.users.all().count()
    }

    /// Everything recorded since the last reset, in order of arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.lock().recording.requests().to_vec()
    }

    /// The requests that were meant to change something.
    pub fn writes(&self) -> Vec<RequestRecord> {
        let inner = self.shared.lock();
        let writes = inner.recording.requests().iter().filter(|request| request.write);
        writes.cloned().collect()
    }

    /// How many writes were recorded, without copying them.
    pub fn write_count(&self) -> usize {
        let inner = self.shared.lock();
        inner
            .recording
            .requests()
            .iter()
            .filter(|request| request.write)
            .count()
    }

    /// How often a user with this external id was created since the last reset; more than once means a duplicate.
    pub fn created_count_by_external_id(&self) -> HashMap<String, usize> {
        self.shared.lock().recording.created_count_by_external_id().clone()
    }

    /// The largest number of writes about one resource that were served at the same moment.
    pub fn max_writes_in_flight_per_user(&self) -> usize {
        max_writes_in_flight(self.shared.lock().recording.requests())
    }

    /// Forgets the requests and the counts of creates; resources, faults and behaviour stay.
    pub fn reset_log(&self) {
        self.shared.lock().recording.reset();
    }

    fn resources(&self, store: impl Fn(&State) -> &Store) -> Vec<Value> {
        let inner = self.shared.lock();
        let state = &inner.state;
        let store = store(state);
        store
            .all()
            .map(|body| show(store.kind(), &state.groups, &state.behaviour, body))
            .collect()
    }
}

fn checked(kind: &'static crate::schema::ResourceType, mut body: Value) -> serde_json::Map<String, Value> {
    body["schemas"] = json!([kind.urn, ENTERPRISE_URN]);
    match from_body(kind, &body) {
        Ok(body) => body,
        Err(error) => panic!("{}: {body}", error.detail),
    }
}

fn id_of(result: Result<&serde_json::Map<String, Value>, crate::error::ScimError>) -> String {
    match result {
        Ok(body) => body["id"]
            .as_str()
            .expect("the store gives every resource an id")
            .to_owned(),
        Err(error) => panic!("{}", error.detail),
    }
}
