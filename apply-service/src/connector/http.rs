//! The sender: runs an exchange against one target. The only place of the connectors that does I/O.
//!
//! Guarantees: only the configured host is called, redirects are not followed, every request has a deadline, every
//! answer a size; a write starts only under a valid lease and is dropped when the lease ends. Whatever was sent and
//! not answered completely is [`HttpAnswer::Broken`], so that a connector never takes an unknown effect for none.
//!
//! | Code | Means | Sent |
//! |---|---|---|
//! | `connect` | no connection: name, network, refused | no |
//! | `tls` | certificate or protocol refused | no |
//! | `credential-unreadable` | a secret file is missing or unusable | no |
//! | `lease-expired` | a write came too late after the last commit | no |
//! | `address`, `request-unsendable` | the request cannot be sent as it is | no |
//! | `timeout`, `connection-lost`, `answer-too-large` | no complete answer | perhaps |
//!
//! Deliberately left out: retries and pace (the lane), meanings of statuses (the connector), proxies from the
//! environment, OAuth.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{
    Client, Response,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

use usher_runtime::clock;

use super::{Completed, Draft, Exchange, Failure, HttpAnswer, Moment, Refusal, Reply, Request, Step, lease::Lease};

mod config;
mod credential;
mod secrets;

pub use config::{AuthConfig, HttpConfig};

use config::Base;
use credential::{Credential, Header};
use secrets::Secrets;

/// Requests that one exchange may take. A listing of a million accounts by pages of a hundred needs ten thousand;
/// what needs more is a connector that runs in circles.
const REQUESTS_MAX: u32 = 50_000;

/// What an exchange cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExchangeTrace {
    /// Requests started, repetitions after a renewed credential included.
    pub requests: u32,
    /// Those of them that may have changed something.
    pub writes: u32,
    /// From the first step to the end.
    pub elapsed: Duration,
}

/// Why a sender cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Settings that cannot work, each in words.
    #[error("the connection settings are wrong: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// The file of certificate authorities.
    #[error("the certificate authorities in {} cannot be read", file.display())]
    CaFile {
        /// As configured.
        file: PathBuf,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The HTTP client.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Sends the requests of one target. Cheap to share by reference; connections are pooled.
pub struct HttpSender {
    client: Client,
    base: Base,
    credential: Credential,
    secrets: Secrets,
    /// Between the beginnings of two requests.
    interval: Option<Duration>,
    /// When the next request may begin.
    next: Mutex<Option<Instant>>,
    request_timeout: Duration,
    max_body_bytes: usize,
}

impl fmt::Debug for HttpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSender")
            .field("base", &self.base.text())
            .finish_non_exhaustive()
    }
}

impl HttpSender {
    /// Sets up the client; connects nowhere. Secret files are read with the first request.
    ///
    /// # Errors
    /// Settings that cannot work, all of them at once, or certificates that cannot be read.
    pub fn new(config: HttpConfig) -> Result<Self, HttpError> {
        let wrong = config.validate();
        if !wrong.is_empty() {
            return Err(HttpError::Settings(wrong));
        }
        let base = Base::parse(&config).map_err(|wrong| HttpError::Settings(vec![wrong]))?;
        Ok(Self {
            client: client(&config)?,
            base,
            credential: Credential::new(config.auth),
            secrets: Secrets::new(config.secrets),
            interval: config
                .requests_per_second
                .map(|rate| Duration::from_secs_f64(1.0 / rate)),
            next: Mutex::new(None),
            request_timeout: Duration::from_millis(config.request_timeout_ms),
            max_body_bytes: config.max_body_bytes,
        })
    }

    /// Sends one request, for a connector that is no exchange.
    pub(crate) async fn ask(&self, draft: Box<dyn Draft>, lease: &Lease) -> HttpAnswer {
        self.send(&Outgoing::Draft(draft), lease, &mut ExchangeTrace::default())
            .await
    }

    /// Runs an exchange to its end.
    pub async fn run(&self, mut exchange: Box<dyn Exchange>, lease: &Lease) -> (Result<Reply, Failure>, ExchangeTrace) {
        let started = now();
        let mut trace = ExchangeTrace::default();
        let mut answer = None;
        let result = loop {
            match exchange.step(answer.take()) {
                Step::Done(result) => break result,
                Step::Send(_) | Step::Complete(_) if trace.requests >= REQUESTS_MAX => {
                    break Err(Failure::Halt(Refusal {
                        code: "endless-exchange".to_owned(),
                        reason: format!("one operation took {REQUESTS_MAX} requests without an end"),
                    }));
                }
                Step::Send(request) => {
                    answer = Some(self.send(&Outgoing::Request(request), lease, &mut trace).await);
                }
                Step::Complete(draft) => {
                    answer = Some(self.send(&Outgoing::Draft(draft), lease, &mut trace).await);
                }
            }
        };
        trace.elapsed = now().saturating_duration_since(started);
        (result.map_err(|failure| self.name_place(failure)), trace)
    }

    /// A halt concerns the target as a whole, so it says which address is meant.
    fn name_place(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Halt(refusal) => {
                let reason = format!("{} (baseUrl {})", refusal.reason, self.base.text());
                Failure::Halt(Refusal { reason, ..refusal })
            }
            other => other,
        }
    }

    async fn send(&self, request: &Outgoing, lease: &Lease, trace: &mut ExchangeTrace) -> HttpAnswer {
        let header = match self.credential.header(now()).await {
            Ok(header) => header,
            Err(refusal) => return HttpAnswer::NotSent(refusal),
        };
        let secrets = match self.secrets.values(now()).await {
            Ok(secrets) => secrets,
            Err(refusal) => return HttpAnswer::NotSent(refusal),
        };
        let answer = self.attempt(request, header.as_ref(), &secrets, lease, trace).await;
        // A request that was refused with 401 had no effect, so repeating it with another credential is safe even
        // for a create.
        if matches!(answer, HttpAnswer::Response { status: 401, .. }) {
            let renewed_header = self.credential.renewed(header.as_ref(), now()).await;
            let renewed_secrets = self.secrets.renewed(&secrets, now()).await;
            if renewed_header.is_some() || renewed_secrets.is_some() {
                let header = renewed_header.or(header);
                let secrets = renewed_secrets.unwrap_or(secrets);
                return self.attempt(request, header.as_ref(), &secrets, lease, trace).await;
            }
        }
        answer
    }

    async fn attempt(
        &self,
        request: &Outgoing,
        credential: Option<&Header>,
        secrets: &Arc<BTreeMap<String, String>>,
        lease: &Lease,
        trace: &mut ExchangeTrace,
    ) -> HttpAnswer {
        self.pause().await;
        let built = match request {
            Outgoing::Request(request) => self.build(request, credential),
            Outgoing::Draft(draft) => {
                let moment = Moment {
                    now_ms: clock::now().as_millisecond(),
                    secrets: Arc::clone(secrets),
                };
                draft
                    .complete(&moment)
                    .and_then(|completed| self.build_completed(completed, credential))
            }
        };
        let built = match built {
            Ok(built) => built,
            Err(refusal) => return HttpAnswer::NotSent(refusal),
        };
        let start = now();
        let mut deadline = start + self.request_timeout;
        if request.is_write() {
            if !lease.may_start_write(start) {
                return HttpAnswer::NotSent(Refusal {
                    code: "lease-expired".to_owned(),
                    reason: "not written: the last commit of this target's owner is too long ago".to_owned(),
                });
            }
            deadline = lease.must_end_by().map_or(deadline, |end| deadline.min(end));
            trace.writes += 1;
        }
        trace.requests += 1;
        let exchange = async {
            let response = self
                .client
                .execute(built)
                .await
                .map_err(|error| self.transport(&error))?;
            self.receive(response).await
        };
        // Dropping the future closes the connection: nothing of it outlives the deadline.
        match tokio::time::timeout_at(deadline.into(), exchange).await {
            Ok(Ok(answer) | Err(answer)) => answer,
            Err(_elapsed) => HttpAnswer::Broken(Refusal {
                code: "timeout".to_owned(),
                reason: format!("the target did not answer within {} ms", (deadline - start).as_millis()),
            }),
        }
    }

    fn build(&self, request: &Request, credential: Option<&Header>) -> Result<reqwest::Request, Refusal> {
        let url = self.base.join(&request.path).ok_or_else(outside)?;
        let method = request.method.parse().map_err(|_| unsendable("a method"))?;
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/scim+json, application/json"),
        );
        if request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        }
        for (name, value) in &request.headers {
            let name = name.parse::<HeaderName>().map_err(|_| unsendable("a header"))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| unsendable("a header"))?);
        }
        if let Some((name, value)) = credential {
            headers.insert(name.clone(), value.clone());
        }
        let mut built = reqwest::Request::new(method, url);
        *built.headers_mut() = headers;
        if let Some(body) = &request.body {
            *built.body_mut() = Some(body.to_string().into());
        }
        Ok(built)
    }

    fn build_completed(&self, request: Completed, credential: Option<&Header>) -> Result<reqwest::Request, Refusal> {
        let url = self.base.join(&request.path).ok_or_else(outside)?;
        let method = request.method.parse().map_err(|_| unsendable("a method"))?;
        let mut headers = HeaderMap::new();
        if let Some((content_type, _)) = &request.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, value) in &request.headers {
            let name = name.parse::<HeaderName>().map_err(|_| unsendable("a header"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| unsendable("a header"))?;
            // Any of them may hold a secret.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if let Some((name, value)) = credential {
            headers.insert(name.clone(), value.clone());
        }
        let mut built = reqwest::Request::new(method, url);
        *built.headers_mut() = headers;
        if let Some((_, body)) = request.body {
            *built.body_mut() = Some(body.into());
        }
        Ok(built)
    }

    /// Waits for the next place in the target's own limit of requests.
    async fn pause(&self) {
        let Some(interval) = self.interval else { return };
        let until = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let until = next.map_or_else(now, |next| next.max(now()));
            *next = Some(until + interval);
            until
        };
        tokio::time::sleep_until(until.into()).await;
    }

    async fn receive(&self, mut response: Response) -> Result<HttpAnswer, HttpAnswer> {
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(&error))? {
            if body.len() + chunk.len() > self.max_body_bytes {
                return Err(HttpAnswer::Broken(Refusal {
                    code: "answer-too-large".to_owned(),
                    reason: format!("the target's answer ({status}) exceeds {} bytes", self.max_body_bytes),
                }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer::Response { status, headers, body })
    }

    /// Only a failure to connect proves that nothing was sent. The text of the whole error is not used: it holds the
    /// URL, and so the value that was looked up. That of the system's error to connect holds neither.
    fn transport(&self, error: &reqwest::Error) -> HttpAnswer {
        let cause = root_io(error);
        let place = self.base.text();
        let said = |cause: Option<&io::Error>| cause.map_or_else(|| "no reason given".to_owned(), ToString::to_string);
        if !error.is_connect() {
            let why = cause.map_or_else(|| "no reason given".to_owned(), |cause| cause.kind().to_string());
            return HttpAnswer::Broken(Refusal {
                code: "connection-lost".to_owned(),
                reason: format!("the connection to {place} broke before the answer was complete: {why}"),
            });
        }
        // The TLS library reports a certificate or protocol it refuses as invalid data.
        if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData) {
            return HttpAnswer::NotSent(Refusal {
                code: "tls".to_owned(),
                reason: format!("no trusted TLS connection to {place}: {}; see `caFile`", said(cause)),
            });
        }
        HttpAnswer::NotSent(Refusal {
            code: "connect".to_owned(),
            reason: format!("cannot connect to {place}: {}", said(cause)),
        })
    }
}

/// What is to be sent.
enum Outgoing {
    Request(Request),
    Draft(Box<dyn Draft>),
}

impl Outgoing {
    fn is_write(&self) -> bool {
        match self {
            Self::Request(request) => request.write,
            Self::Draft(draft) => draft.is_write(),
        }
    }
}

fn outside() -> Refusal {
    Refusal {
        code: "address".to_owned(),
        reason: "a request would have left the configured base URL".to_owned(),
    }
}

fn unsendable(what: &str) -> Refusal {
    Refusal {
        code: "request-unsendable".to_owned(),
        reason: format!("the request has {what} that HTTP cannot carry"),
    }
}

/// The innermost I/O error of a chain.
fn root_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut found = None;
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        found = io.or(found);
        next = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    found
}

/// A client that follows no redirect and no proxy of the environment, with the configured certificates.
///
/// # Errors
/// Certificates that cannot be read.
pub(crate) fn client(config: &HttpConfig) -> Result<Client, HttpError> {
    let mut builder = Client::builder()
        .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        // A proxy of the environment would be a host that the policy does not name.
        .no_proxy()
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms));
    if let Some(file) = &config.ca_file {
        let failed = |source: Box<dyn Error + Send + Sync>| HttpError::CaFile {
            file: file.clone(),
            source,
        };
        let pem = std::fs::read(file).map_err(|error| failed(error.into()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.into()))?;
        if certificates.is_empty() {
            return Err(failed("it holds no PEM certificate".into()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(HttpError::Client)
}

/// Tokio's clock: a test can pause and move it. Leases are counted by the same one.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
