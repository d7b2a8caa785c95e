//! The sender: runs an exchange against one target. The only place of the connectors that does I/O.
//!
//! Guarantees: only the configured host is called, redirects are not followed, every request has a deadline, every
//! answer a size of head and body; names lead only to addresses that are allowed; a write starts only under a valid lease and is dropped when the lease ends. Whatever was sent and
//! not answered completely is [`HttpAnswer::Broken`], so that a connector never takes an unknown effect for none.
//!
//! | Code | Means | Sent |
//! |---|---|---|
//! | `connect` | no connection: name, network, refused | no |
//! | `tls` | certificate or protocol refused | no |
//! | `address-refused` | the name leads to an address that is not allowed | no |
//! | `credential-unreadable` | a secret is missing or unusable | no |
//! | `token-refused`, `token-unsaved` | no access token; see `oauth` and `token` | no |
//! | `token-unavailable` | no access token now | no |
//! | `own-organization` | the credential belongs to an organization whose people these are | no |
//! | `lease-expired` | a write came too late after the last commit | no |
//! | `address`, `request-unsendable` | the request cannot be sent as it is | no |
//! | `timeout`, `connection-lost`, `answer-too-large` | no complete answer | perhaps |
//!
//! Deliberately left out: retries and the pace of operations (the lane; that of requests is in `pace`), meanings of statuses (the connector), proxies from the
//! environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::{
    Response,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;

use usher_contract::OrgId;
use usher_runtime::{
    address::{Lookup, system},
    clock,
};

use super::{Completed, Draft, Exchange, Failure, HttpAnswer, Moment, Refusal, Reply, Request, Step, lease::Lease};

mod auth;
pub(crate) mod client;
mod config;
pub(crate) mod consent;
mod credential;
mod endpoint;
mod oauth;
mod organization;
mod pace;
mod secrets;
mod token;
mod token_file;

pub use auth::{AuthConfig, ClientAuth, OAuthConfig};
pub use config::HttpConfig;

use client::{Broken, Clients, HEADER_BYTES_MAX, broken};
use config::Base;
use credential::{Credential, Header};
use endpoint::HttpEndpoint;
use pace::Pace;
use secrets::Secrets;
use token::TokenSource;
use token_file::TokenFile;

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
    /// A file of certificates or keys.
    #[error("connection.{key}: {} cannot be used", file.display())]
    Certificates {
        /// The key that names it.
        key: &'static str,
        /// As configured.
        file: PathBuf,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The home of a refresh token.
    #[error(
        "connection.auth.refreshToken.tokenFile: nothing can be saved to {}; a refresh token that rotates would be lost, so give \
         it a writable file that every replica sees, or set `rotates: false` if the application never hands out new ones",
        file.display()
    )]
    TokenFile {
        /// As configured.
        file: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The HTTP client.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Sends the requests of one target. Cheap to share by reference; connections are pooled.
pub struct HttpSender {
    clients: Arc<Clients>,
    base: Base,
    credential: Credential,
    credential_expires_at: Option<Timestamp>,
    secrets: Secrets,
    own_organizations: BTreeSet<OrgId>,
    /// The target's own limit of requests.
    pace: Option<Arc<Pace>>,
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
    /// Sets up the client; connects nowhere. Secrets are read with the first request.
    ///
    /// # Errors
    /// Settings that cannot work, all of them at once; certificates that cannot be used; a refresh token without a home.
    pub fn new(config: HttpConfig) -> Result<Self, HttpError> {
        Self::with_lookup(config, system())
    }

    fn with_lookup(config: HttpConfig, lookup: Lookup) -> Result<Self, HttpError> {
        let wrong = config.validate();
        if !wrong.is_empty() {
            return Err(HttpError::Settings(wrong));
        }
        let settings = |wrong| HttpError::Settings(vec![wrong]);
        let base = Base::parse(&config).map_err(settings)?;
        let clients = Arc::new(Clients::new(&config, lookup, now())?);
        let request_timeout = Duration::from_millis(config.request_timeout_ms);
        if let AuthConfig::RefreshToken {
            token_file,
            rotates: true,
            ..
        } = &config.auth
        {
            let writable = TokenFile::new(token_file.clone()).check_writable();
            writable.map_err(|source| HttpError::TokenFile {
                file: token_file.clone(),
                source,
            })?;
        }
        let token_url = match &config.oauth.token_url {
            Some(url) if config.auth.is_oauth() => Some(config.provider_url("oauth.tokenUrl", url).map_err(settings)?),
            _ => None,
        };
        let tokens = token_url.map(|url| {
            let endpoint = HttpEndpoint::new(Arc::clone(&clients), request_timeout);
            let (auth, oauth) = (config.auth.clone(), config.oauth.clone());
            let own = config.own_organizations.clone();
            TokenSource::new(auth, oauth, url, Arc::new(endpoint), Arc::new(now), request_timeout * 2).refusing(own)
        });
        Ok(Self {
            clients,
            base,
            credential: Credential::new(config.auth, tokens),
            credential_expires_at: config.credential_expires_at,
            secrets: Secrets::new(config.secrets),
            own_organizations: config.own_organizations,
            pace: config.requests_per_second.map(|rate| Arc::new(Pace::new(rate))),
            request_timeout,
            max_body_bytes: config.max_body_bytes,
        })
    }

    /// A sender to another interface of the same application: where the application counts requests, it counts them together.
    ///
    /// # Errors
    /// As of [`HttpSender::new`].
    pub fn beside(&self, config: HttpConfig) -> Result<Self, HttpError> {
        let mut sender = Self::new(config)?;
        sender.pace = self.pace.clone().or(sender.pace);
        Ok(sender)
    }

    /// Sends one request, for a connector that is no exchange.
    pub(crate) async fn ask(&self, draft: Box<dyn Draft>, lease: &Lease) -> HttpAnswer {
        self.send(&Outgoing::Draft(draft), lease, &mut ExchangeTrace::default())
            .await
    }

    /// How it stands with the credentials; no secret, nothing is asked.
    #[must_use]
    pub fn credential(&self) -> CredentialStatus {
        let shown = self.credential.tokens().map(TokenSource::shown).unwrap_or_default();
        let mut ends = BTreeMap::new();
        let mut end = |what, at: Option<Timestamp>| {
            if let Some(at) = at {
                ends.insert(what, at);
            }
        };
        end(Ending::AccessToken, shown.token_ends);
        end(Ending::RefreshToken, shown.refresh_ends);
        end(Ending::ClientCertificate, self.clients.certificate_ends());
        end(Ending::Secret, self.credential_expires_at);
        CredentialStatus {
            kind: self.credential.kind(),
            renewed_at: shown.renewed_at,
            problem: shown.problem.map(|refusal| refusal.to_string()),
            ends,
            renewals: shown.renewals,
            failures: shown.failures,
        }
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
            // Without effect as well: nothing was done with the token that was refused.
            let renewed_header = match self.credential.renewed(header.as_ref(), now()).await {
                Ok(renewed) => renewed,
                Err(refusal) => return HttpAnswer::NotSent(refusal),
            };
            let renewed_secrets = self.secrets.renewed(&secrets, now()).await;
            if renewed_header.is_some() || renewed_secrets.is_some() {
                let header = renewed_header.or(header);
                let secrets = renewed_secrets.unwrap_or(secrets);
                return self.attempt(request, header.as_ref(), &secrets, lease, trace).await;
            }
        }
        answer
    }

    /// Nothing is sent to the organization whose people these are, whichever token leads there.
    fn refuse_own(&self, credential: Option<&Header>) -> Result<(), Refusal> {
        let token = credential.and_then(|(_, value)| value.to_str().ok()?.strip_prefix("Bearer "));
        organization::refuse_own(token.and_then(organization::of_token), &self.own_organizations)
    }

    async fn attempt(
        &self,
        request: &Outgoing,
        credential: Option<&Header>,
        secrets: &Arc<BTreeMap<String, String>>,
        lease: &Lease,
        trace: &mut ExchangeTrace,
    ) -> HttpAnswer {
        let _place = match &self.pace {
            Some(pace) => Some(pace.place().await),
            None => None,
        };
        if let Err(refusal) = self.refuse_own(credential) {
            return HttpAnswer::NotSent(refusal);
        }
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
            let client = self.clients.get(start);
            let response = client.execute(built).await.map_err(|error| self.transport(&error))?;
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
        let url = if request.from_host {
            self.base.at_host(&request.path)
        } else {
            self.base.join(&request.path)
        };
        let url = url.ok_or_else(outside)?;
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

    async fn receive(&self, mut response: Response) -> Result<HttpAnswer, HttpAnswer> {
        let status = response.status().as_u16();
        let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        if response.headers().iter().map(size).sum::<usize>() > HEADER_BYTES_MAX {
            return Err(HttpAnswer::Broken(Refusal {
                code: "answer-too-large".to_owned(),
                reason: format!("the headers of the target's answer ({status}) exceed {HEADER_BYTES_MAX} bytes"),
            }));
        }
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

    /// Only a failure to connect proves that nothing was sent.
    fn transport(&self, error: &reqwest::Error) -> HttpAnswer {
        let place = self.base.text();
        let refusal = |code: &str, reason| Refusal {
            code: code.to_owned(),
            reason,
        };
        match broken(error) {
            Broken::Lost(why) => HttpAnswer::Broken(refusal(
                "connection-lost",
                format!("the connection to {place} broke before the answer was complete: {why}"),
            )),
            Broken::Tls(why) => HttpAnswer::NotSent(refusal(
                "tls",
                format!("no trusted TLS connection to {place}: {why}; see `caFile`"),
            )),
            Broken::Address(refused) => HttpAnswer::NotSent(refusal(
                "address-refused",
                format!("{refused}; list it under `allowAddresses` if it is meant"),
            )),
            Broken::Connect(why) => {
                HttpAnswer::NotSent(refusal("connect", format!("cannot connect to {place}: {why}")))
            }
        }
    }
}

/// How it stands with the credentials of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// `none`, `bearer`, `basic`, `header`, `client-credentials`, `jwt-bearer`, `refresh-token`.
    pub kind: &'static str,
    /// When the access token was renewed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewed_at: Option<Timestamp>,
    /// Why the last renewal failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What ends when, as far as it is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ends: BTreeMap<Ending, Timestamp>,
    /// Tokens obtained since the start.
    #[serde(skip)]
    pub renewals: u64,
    /// Renewals that failed since the start.
    #[serde(skip)]
    pub failures: u64,
}

/// What can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Renewed without anybody's help.
    AccessToken,
    /// Somebody has to consent anew.
    RefreshToken,
    /// Somebody has to renew it.
    ClientCertificate,
    /// The secret under `auth`, by `connection.credentialExpiresAt`.
    Secret,
}

impl Ending {
    /// As in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
            Self::RefreshToken => "refresh-token",
            Self::ClientCertificate => "client-certificate",
            Self::Secret => "secret",
        }
    }

    /// What somebody has to do before, `None` when nothing.
    #[must_use]
    pub fn way_out(self) -> Option<&'static str> {
        match self {
            Self::AccessToken => None,
            Self::RefreshToken => Some("consent anew with `apply-service connect`"),
            Self::ClientCertificate => {
                Some("renew the certificate in connection.clientCertFile; a new file counts within a minute")
            }
            Self::Secret => Some("renew the secret, and the date in connection.credentialExpiresAt"),
        }
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

/// Tokio's clock: a test can pause and move it. Leases are counted by the same one.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
#[path = "http/sender_tests.rs"]
mod sender_tests;
