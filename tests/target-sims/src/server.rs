//! HTTP around [`crate::service`]: reading requests, planned faults, latency, the log, and writing answers.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Query, State as AppState};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;

use crate::clock;
use crate::connection::Scissors;
use crate::fault::{Fault, Faults};
use crate::gate::{Caught, Gate, Moment};
use crate::recording::Recording;
use crate::service::{Answer, Request, State, body_for_log};

/// Below this path of the address the service answers.
pub(crate) const BASE_PATH: &str = "/scim/v2";

/// Larger bodies answer 413.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Everything shared between requests and the handle of the test.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) faults: Faults,
    pub(crate) gate: Gate,
    pub(crate) recording: Recording,
}

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Shared> {
        Arc::new(Shared(Mutex::new(Inner {
            state,
            faults: Faults::default(),
            gate: Gate::default(),
            recording: Recording::default(),
        })))
    }

    /// Held only for moments, never across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in one request must not turn into a second one in the test's own thread.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

/// Enters the end of a request in the log, also when the client gives up and this future is dropped.
struct Entry<'a> {
    shared: &'a Shared,
    sequence: u64,
    answered: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let answered = self.answered;
        self.shared.lock().recording.update(self.sequence, |record| {
            record.ended = Some(clock::monotonic());
            record.ended_at = Some(clock::wall());
            record.answered = answered;
        });
    }
}

async fn serve(
    AppState(shared): AppState<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    http: axum::extract::Request,
) -> Response {
    let (parts, body) = http.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let Some(path) = parts.uri.path().strip_prefix(BASE_PATH) else {
        return plain(StatusCode::NOT_FOUND);
    };
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let request = request(
        parts.method.as_str(),
        path,
        query.map(|query| query.0).ok(),
        &parts.headers,
        body,
    );
    let write = request.is_write();

    let (sequence, fault, caught, latency) = {
        let mut inner = shared.lock();
        let sequence = inner.recording.start(
            &request.method,
            path,
            parts.uri.query().unwrap_or_default(),
            body_for_log(&request.body),
            write,
        );
        inner.recording.update(sequence, |record| {
            record.authorization.clone_from(&request.authorization)
        });
        let fault = inner.faults.take(&request.method, path, write);
        let caught = match fault {
            None => inner.gate.pass(&request.method, path, write),
            Some(_) => None,
        };
        let latency = inner.state.behaviour.latency.of(sequence);
        (sequence, fault, caught, latency)
    };
    let mut entry = Entry {
        shared: &shared,
        sequence,
        answered: false,
    };

    let response = match fault {
        None => Some(to_response(execute_at_gate(&shared, sequence, request, caught).await)),
        Some(Fault::Answer {
            status,
            content_type,
            body,
            retry_after,
        }) => {
            shared.lock().recording.update(sequence, |record| {
                record.status = Some(status);
                record.resource = about(path);
            });
            Some(planned(status, &content_type, body, retry_after))
        }
        Some(Fault::LoseAnswer) => {
            execute(&shared, sequence, &request);
            None
        }
        Some(Fault::Refuse) => {
            note_resource(&shared, sequence, path);
            None
        }
        Some(Fault::Hang { execute: executes }) => {
            if executes {
                execute(&shared, sequence, &request);
            } else {
                note_resource(&shared, sequence, path);
            }
            // Ends when the client gives up: this future is dropped then.
            std::future::pending().await
        }
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match response {
        Some(response) => {
            entry.answered = true;
            response
        }
        None => {
            scissors.cut();
            // Never seen by anybody: the connection is cut.
            plain(StatusCode::OK)
        }
    }
}

/// Executes a request, before or after it was kept.
async fn execute_at_gate(shared: &Arc<Shared>, sequence: u64, request: Request, caught: Option<Caught>) -> Answer {
    match caught {
        Some(caught) if caught.moment == Moment::BeforeEffect => {
            let shared = Arc::clone(shared);
            #[expect(
                clippy::disallowed_methods,
                reason = "goes on when the client has gone and its request is dropped"
            )]
            let executed = tokio::spawn(async move {
                caught.let_on().await;
                execute(&shared, sequence, &request)
            });
            executed.await.expect("executing a request does not panic")
        }
        caught => {
            let answer = execute(shared, sequence, &request);
            if let Some(caught) = caught {
                caught.let_on().await;
            }
            answer
        }
    }
}

fn execute(shared: &Shared, sequence: u64, request: &Request) -> Answer {
    let mut inner = shared.lock();
    let answer = inner.state.handle(request);
    if answer.status == 201 && request.path.starts_with("/Users") {
        let external_id = answer.resource.as_deref().and_then(|id| {
            let user = inner.state.users.get(id).ok()?;
            user.get("externalId")?.as_str().map(str::to_owned)
        });
        inner.recording.created(external_id.as_deref());
    }
    inner.recording.update(sequence, |record| {
        record.executed = true;
        record.executed_at = Some(clock::monotonic());
        record.status = Some(answer.status);
        record.resource.clone_from(&answer.resource);
    });
    answer
}

/// The id in a path such as `/Users/1`, for requests that are not executed.
fn about(path: &str) -> Option<String> {
    path.split('/').nth(2).map(str::to_owned)
}

fn note_resource(shared: &Shared, sequence: u64, path: &str) {
    shared
        .lock()
        .recording
        .update(sequence, |record| record.resource = about(path));
}

fn request(
    method: &str,
    path: &str,
    query: Option<Vec<(String, String)>>,
    headers: &HeaderMap,
    body: Bytes,
) -> Request {
    let text = |name: HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.unwrap_or_default(),
        authorization: text(header::AUTHORIZATION),
        content_type: text(header::CONTENT_TYPE),
        user_agent: text(header::USER_AGENT),
        if_match: text(header::IF_MATCH),
        if_none_match: text(header::IF_NONE_MATCH),
        body: body.to_vec(),
    }
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn to_response(answer: Answer) -> Response {
    let mut builder = Response::builder().status(answer.status);
    if let Some(location) = answer.location {
        builder = builder.header(header::LOCATION, location);
    }
    if let Some(etag) = answer.etag {
        builder = builder.header(header::ETAG, etag);
    }
    if answer.status == 401 {
        builder = builder.header(header::WWW_AUTHENTICATE, "Bearer");
    }
    let body = match answer.body {
        Some(body) => {
            builder = builder.header(header::CONTENT_TYPE, "application/scim+json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    builder.body(body).expect("the headers are printable text")
}

fn planned(status: u16, content_type: &str, body: String, retry_after: Option<String>) -> Response {
    let mut builder = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type);
    if let Some(retry_after) = retry_after {
        builder = builder.header(header::RETRY_AFTER, retry_after);
    }
    builder
        .body(Body::from(body))
        .expect("a test plans a status and headers that HTTP allows")
}
