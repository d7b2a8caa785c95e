//! A SCIM application that costs next to nothing: canned answers, and of each account only that it exists.
//!
//! An account's id is the person's external id, so a write is matched with its cause without looking anything up.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use serde::Deserialize;
use tokio::net::TcpListener;

/// One write, as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) method: Method,
    pub(crate) id: String,
    pub(crate) at: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    accounts: Mutex<HashSet<String>>,
    arrivals: Mutex<Vec<Arrival>>,
    /// The newest body per method, for a load generator that sends the same.
    bodies: Mutex<[Option<Bytes>; 2]>,
    requests: AtomicU64,
    /// Takes requests and never answers.
    dead: AtomicBool,
    /// How long an answer takes, in milliseconds.
    answer_ms: AtomicU64,
}

/// The application, serving until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    external_id: String,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/scim", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        // Small answers must not wait for acknowledgements of earlier ones.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// From now on every answer takes this long.
    pub(crate) fn answers_after(&self, milliseconds: u64) {
        self.shared.answer_ms.store(milliseconds, Ordering::Relaxed);
    }
    /// From now on no request is answered.
    pub(crate) fn die(&self) {
        self.shared.dead.store(true, Ordering::Relaxed);
    }
    pub(crate) fn accounts(&self) -> usize {
        lock(&self.shared.accounts).len()
    }
    /// Forgets every account and every arrival.
    pub(crate) fn clear(&self) {
        lock(&self.shared.accounts).clear();
        self.take();
    }
    /// Requests so far, reads included.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
    /// Writes since the last [`Sink::take`].
    pub(crate) fn writes(&self) -> usize {
        lock(&self.shared.arrivals).len()
    }
    /// The writes after the first `seen`.
    pub(crate) fn since(&self, seen: usize) -> Vec<Arrival> {
        lock(&self.shared.arrivals)[seen..].to_vec()
    }
    pub(crate) fn has(&self, id: &str) -> bool {
        lock(&self.shared.accounts).contains(id)
    }
    /// Takes the writes that came in.
    pub(crate) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *lock(&self.shared.arrivals))
    }
    /// The newest body of a POST and of a PATCH.
    pub(crate) fn bodies(&self) -> [String; 2] {
        lock(&self.shared.bodies)
            .clone()
            .map(|body| String::from_utf8(body.expect("one came in").to_vec()).unwrap())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

async fn answer(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let at = Instant::now();
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let id = uri.path().strip_prefix("/scim/Users/").unwrap_or_default().to_owned();
    if method == Method::GET {
        wait(&shared).await;
        return read(&shared, &uri);
    }
    let (id, place, status) = if method == Method::POST {
        let new: NewAccount = serde_json::from_slice(&body).unwrap();
        lock(&shared.accounts).insert(new.external_id.clone());
        (new.external_id, 0, StatusCode::CREATED)
    } else {
        (id, 1, StatusCode::OK)
    };
    let off = body.windows(5).any(|word| word == b"false");
    let resource = account(&id, !off);
    lock(&shared.bodies)[place] = Some(body);
    lock(&shared.arrivals).push(Arrival { method, id, at });
    wait(&shared).await;
    scim(status, resource)
}

async fn wait(shared: &Shared) {
    if shared.dead.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let milliseconds = shared.answer_ms.load(Ordering::Relaxed);
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// A look-up by external id, a list, or what the service asks about the application itself.
fn read(shared: &Shared, uri: &Uri) -> Response {
    if uri.path() != "/scim/Users" {
        return scim(
            StatusCode::NOT_FOUND,
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"404"}"#.to_owned(),
        );
    }
    let wanted = uri.query().and_then(|query| {
        let quoted = query.split("filter=").nth(1)?;
        quoted.split("%22").nth(1)
    });
    let found = wanted.filter(|id| lock(&shared.accounts).contains(*id));
    let list = |total: usize, resources: &str| {
        let head = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":"#;
        scim(
            StatusCode::OK,
            format!(r#"{head}{total},"startIndex":1,"itemsPerPage":{total},"Resources":[{resources}]}}"#),
        )
    };
    match found {
        Some(id) => list(1, &account(id, true)),
        None => list(0, ""),
    }
}

fn account(id: &str, active: bool) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"{id}","externalId":"{id}","active":{active},"meta":{{"resourceType":"User"}}}}"#
    )
}

fn scim(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/scim+json")], body).into_response()
}
