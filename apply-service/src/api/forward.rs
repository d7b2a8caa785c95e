//! Asking the owner of a target, at most once, within time and size.
//!
//! Only questions are forwarded; what changes something goes through the topic of commands. The caller's token goes along
//! and the owner checks it again: a replica lends nobody its own rights. Whoever is known by a certificate is asked for by
//! the replica's own certificate instead.

use std::time::Duration;

use axum::http::{HeaderName, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tracing::warn;
use usher_runtime::{admin::HttpConfig, shutdown::chain};

use super::call::{Caller, Problem};

/// Says that a request comes from a replica: it is not forwarded again.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-usher-forwarded");
/// An owner that does not take the connection within this is not there.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// More than an owner takes to answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// More than the largest page of held people.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The client cannot be made.
#[derive(Debug, Error)]
pub enum ForwarderError {
    /// The certificate or the authorities.
    #[error("cannot use http.tls for requests to other replicas")]
    Files(#[from] std::io::Error),
    /// The client.
    #[error("cannot make requests to other replicas")]
    Client(#[from] reqwest::Error),
}

/// Asks other replicas. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Forwarder {
    client: reqwest::Client,
}

impl Forwarder {
    /// A client for the way from replica to replica.
    ///
    /// # Errors
    /// [`ForwarderError`].
    pub(crate) fn new(http: &HttpConfig) -> Result<Self, ForwarderError> {
        let mut builder = reqwest::Client::builder()
            // Replicas reach each other directly, whatever leads out of the cluster.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX);
        if let Some(tls) = &http.tls {
            let certificate = std::fs::read(&tls.cert_file)?;
            // The others have certificates like ours: its own chain and the authorities of clients are believed.
            let mut authorities = reqwest::Certificate::from_pem_bundle(&certificate)?;
            if let Some(file) = &tls.client_ca_file {
                authorities.extend(reqwest::Certificate::from_pem_bundle(&std::fs::read(file)?)?);
            }
            let own = [certificate, b"\n".to_vec(), std::fs::read(&tls.key_file)?].concat();
            builder = builder
                .identity(reqwest::Identity::from_pem(&own)?)
                .tls_certs_merge(authorities);
        }
        Ok(Self {
            client: builder.build()?,
        })
    }

    /// The answer of `owner` to a question.
    ///
    /// # Errors
    /// What it says itself; a 503 when it says nothing.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        owner: &str,
        path_and_query: &str,
        caller: &Caller,
    ) -> Result<T, Problem> {
        self.ask(owner, self.client.get(url(owner, path_and_query)), caller)
            .await
    }

    /// The answer of `owner` to a question that has a body.
    ///
    /// # Errors
    /// As [`Forwarder::get`].
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        owner: &str,
        path_and_query: &str,
        body: &impl Serialize,
        caller: &Caller,
    ) -> Result<T, Problem> {
        let request = self.client.post(url(owner, path_and_query)).json(body);
        self.ask(owner, request, caller).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        owner: &str,
        request: reqwest::RequestBuilder,
        caller: &Caller,
    ) -> Result<T, Problem> {
        if caller.forwarded {
            return Err(Problem::later(
                "this replica does not run the target either: it is moving; try again",
            ));
        }
        let mut request = request.header(FORWARDED, "1");
        if let Some(authorization) = caller.authorization() {
            request = request.header("authorization", authorization);
        }
        let silent = |error: reqwest::Error| {
            let reason = chain(&error.without_url());
            warn!(owner, %reason, "the owner of a target does not answer");
            Problem::later(format!(
                "the owner at {owner} does not answer; another replica takes over within seconds, or http.advertise of \
                 that replica is wrong"
            ))
        };
        let mut answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Problem::new(
                    StatusCode::BAD_GATEWAY,
                    "the owner's answer is too long; ask for less with limit",
                ));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let words = said.as_ref().and_then(|said| said["error"].as_str());
            return Err(Problem::new(
                status,
                words.unwrap_or("the owner refuses without words").to_owned(),
            ));
        }
        serde_json::from_slice(&body).map_err(|_| {
            Problem::new(
                StatusCode::BAD_GATEWAY,
                format!("what listens at {owner} does not answer like this version of apply-service"),
            )
        })
    }
}

/// An address without a scheme is one of plain HTTP.
fn url(owner: &str, path_and_query: &str) -> String {
    if owner.starts_with("https://") {
        format!("{owner}{path_and_query}")
    } else {
        format!("http://{owner}{path_and_query}")
    }
}
