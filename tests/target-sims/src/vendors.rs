//! Applications with an interface or rules of their own: SkyPrep, Spinify, miniOrange, the SCIM services of Gong, miniOrange and Salesforce, and a provider of tokens,
//! as far as their vendors say what they do.
//!
//! What a vendor leaves open is a switch, so that tests can try both. A vendor is a plain function from a request and
//! its state to an answer ([`Vendor`]); HTTP, the log, planned faults and the clock are in [`VendorSim`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State as AppState};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock;
use crate::connection::{CuttableListener, Scissors};
use crate::fault::{Fault, FaultScope, Faults};

pub(crate) mod gong;
pub(crate) mod miniorange;
pub(crate) mod miniorange_scim;
pub(crate) mod provider;
pub(crate) mod salesforce;
pub(crate) mod skyprep;
pub(crate) mod spinify;

const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What a vendor sees of a request.
#[derive(Clone, Debug)]
pub struct VendorRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    headers: HeaderMap,
    pub body: String,
    /// Milliseconds since 1970 when it arrived.
    pub now_ms: i64,
    /// Whether another one was being served when it arrived.
    pub overlaps: bool,
}

impl VendorRequest {
    /// A header by its name in lower case; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The entries of a form.
    pub fn form(&self) -> Vec<(String, String)> {
        self.body
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decoded(name), decoded(value))
            })
            .collect()
    }
}

/// `+` and `%XX` of a form.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a vendor answers.
#[derive(Clone, Debug)]
pub struct VendorAnswer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    pub headers: Vec<(&'static str, String)>,
}

impl VendorAnswer {
    pub(crate) fn json(status: u16, body: &Value) -> VendorAnswer {
        VendorAnswer {
            status,
            content_type: "application/json",
            body: body.to_string(),
            headers: Vec::new(),
        }
    }

    /// The vendor's web site.
    pub(crate) fn site() -> VendorAnswer {
        VendorAnswer {
            status: 200,
            content_type: "text/html; charset=utf-8",
            body: "<!DOCTYPE html><html><head><title>Log in</title></head><body></body></html>".to_owned(),
            headers: Vec::new(),
        }
    }
}

/// One application.
pub trait Vendor: Send + 'static {
    fn handle(&mut self, request: &VendorRequest) -> VendorAnswer;

    /// Whether a path changes something, for faults and the log.
    fn is_write(path: &str) -> bool;

    /// Whether an answer says no; where a vendor says so in the body of a success, it looks there.
    fn is_refusal(answer: &VendorAnswer) -> bool {
        answer.status >= 400
    }
}

/// A running application. Dropping it stops it.
#[derive(Debug)]
pub struct VendorSim<V> {
    shared: Arc<Mutex<Inner<V>>>,
    base_url: String,
    _stop: oneshot::Sender<()>,
    _server: JoinSet<std::io::Result<()>>,
}

#[derive(Debug)]
struct Inner<V> {
    vendor: V,
    faults: Faults,
    requests: Vec<VendorRequest>,
    refused: Vec<(VendorRequest, VendorAnswer)>,
    serving: usize,
}

impl<V: Vendor> Inner<V> {
    /// What the vendor answers; a refusal is remembered.
    fn answered(&mut self, request: &VendorRequest) -> VendorAnswer {
        let answer = self.vendor.handle(request);
        if V::is_refusal(&answer) {
            self.refused.push((request.clone(), answer.clone()));
        }
        answer
    }
}

impl<V: Vendor> VendorSim<V> {
    /// Panics if there is no free port.
    pub async fn start(vendor: V) -> VendorSim<V> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Mutex::new(Inner {
            vendor,
            faults: Faults::default(),
            requests: Vec::new(),
            refused: Vec::new(),
            serving: 0,
        }));
        let router: Router = Router::new().fallback(serve::<V>).with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<Scissors>();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(CuttableListener(listener), service)
                .with_graceful_shutdown(async {
                    let _ = stopped.await;
                })
                .await
        });
        VendorSim {
            shared,
            base_url: format!("http://{address}"),
            _stop: stop,
            _server: server,
        }
    }

    /// Without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Looks at the application or changes it, as an administrator would behind everybody's back.
    pub fn with<T>(&self, look: impl FnOnce(&mut V) -> T) -> T {
        look(&mut lock(&self.shared).vendor)
    }

    /// Plans a fault for the next `count` requests of `scope`.
    pub fn plan_fault(&self, fault: Fault, scope: FaultScope, count: usize) {
        lock(&self.shared).faults.plan(fault, scope, count);
    }

    /// Everything that was asked since the last call of this, in order.
    pub fn take_requests(&self) -> Vec<VendorRequest> {
        std::mem::take(&mut lock(&self.shared).requests)
    }

    /// Everything that the vendor itself refused since the start, with its answers; planned faults are not among them.
    pub fn refused(&self) -> Vec<(VendorRequest, VendorAnswer)> {
        lock(&self.shared).refused.clone()
    }
}

fn lock<V>(shared: &Mutex<Inner<V>>) -> MutexGuard<'_, Inner<V>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that is being served; also one whose sender dies is served no longer.
struct Serving<V>(Option<Arc<Mutex<Inner<V>>>>);

impl<V> Drop for Serving<V> {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            lock(shared).serving -= 1;
        }
    }
}

async fn serve<V: Vendor>(
    AppState(shared): AppState<Arc<Mutex<Inner<V>>>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    http: axum::extract::Request,
) -> Response {
    let (parts, body) = http.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let since = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let mut serving = Serving(None);
    let (answer, cut) = {
        let mut inner = lock(&shared);
        let request = VendorRequest {
            method: parts.method.to_string(),
            path: path.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            now_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            overlaps: inner.serving > 0,
        };
        inner.requests.push(request.clone());
        inner.serving += 1;
        serving.0 = Some(Arc::clone(&shared));
        match inner.faults.take(&request.method, &path, V::is_write(&path)) {
            None => (Some(inner.answered(&request)), false),
            Some(Fault::Answer {
                status,
                content_type,
                body,
                retry_after,
            }) => {
                let mut answer = VendorAnswer {
                    status,
                    content_type: if content_type.contains("html") {
                        "text/html"
                    } else {
                        "application/json"
                    },
                    body,
                    headers: Vec::new(),
                };
                answer.headers.extend(retry_after.map(|after| ("retry-after", after)));
                (Some(answer), false)
            }
            Some(Fault::LoseAnswer | Fault::Hang { execute: true }) => {
                inner.answered(&request);
                (None, true)
            }
            Some(Fault::Refuse | Fault::Hang { execute: false }) => (None, true),
        }
    };
    // Long enough that two at the same time meet.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    drop(serving);
    if cut {
        scissors.cut();
    }
    to_response(answer)
}

fn to_response(answer: Option<VendorAnswer>) -> Response {
    let Some(answer) = answer else {
        // Never seen by anybody: the connection is cut.
        return Response::new(Body::empty());
    };
    let mut builder = Response::builder()
        .status(StatusCode::from_u16(answer.status).expect("a status"))
        .header(header::CONTENT_TYPE, answer.content_type);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(answer.body)).expect("printable headers")
}
