//! Forwarding to the leader, at most once, within time and size.
//!
//! The caller's token goes along and the leader checks it again: a replica lends nobody its own rights.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        HeaderName, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
    },
    response::Response,
};
use tracing::{debug, warn};
use usher_runtime::shutdown::chain;

use super::{Problem, call::Call};

/// Says that a request comes from a replica: it is not forwarded again.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-usher-forwarded");
/// A leader that does not take the connection within this is not there.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// More than a leader takes to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// More than the largest page of held people.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Sends requests to other replicas. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forwarder {
    client: reqwest::Client,
}

impl Forwarder {
    /// A client for the way from replica to replica.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            // Replicas reach each other directly, whatever leads out of the cluster.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .build()?;
        Ok(Self { client })
    }

    /// The leader's answer; a 503 with words when there is none.
    pub(super) async fn forward(&self, call: &Call, leader: Option<&str>) -> Result<Response, Problem> {
        if call.headers.contains_key(FORWARDED) {
            return Err(Problem::later(
                "this replica does not lead either: leadership is moving; try again",
            ));
        }
        let Some(leader) = leader else {
            return Err(Problem::later("no replica leads yet; try again"));
        };
        debug!(leader, path = call.path_and_query, "forwarding to the leader");
        let mut request = self
            .client
            .request(call.method.clone(), format!("http://{leader}{}", call.path_and_query))
            .header(FORWARDED, "1")
            .body(call.body.clone());
        for name in [AUTHORIZATION, CONTENT_TYPE] {
            if let Some(value) = call.headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let silent = |error: reqwest::Error| {
            let reason = chain(&error.without_url());
            warn!(leader, %reason, "the leader does not answer");
            Problem::later(format!(
                "the leader at {leader} does not answer; another replica takes over within seconds, or http.advertise of that replica is wrong"
            ))
        };
        let mut answer = request.send().await.map_err(silent)?;
        let mut response = Response::builder().status(answer.status());
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            if let Some(value) = answer.headers().get(&name) {
                response = response.header(name, value);
            }
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Problem::new(
                    StatusCode::BAD_GATEWAY,
                    "the leader's answer is too long; ask for less with ?limit=",
                ));
            }
            body.extend_from_slice(&chunk);
        }
        response
            .body(Body::from(body))
            .map_err(|_| Problem::new(StatusCode::BAD_GATEWAY, "the leader's answer cannot be passed on"))
    }
}
