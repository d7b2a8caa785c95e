//! What every request goes through: who asks, how often, how long; and how a refusal looks.

use std::net::SocketAddr;

use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, FromRequest, Path, Request, State},
    http::{
        HeaderMap, Method, StatusCode,
        header::{AUTHORIZATION, RETRY_AFTER},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use usher_contract::{TargetName, UserId, UserKey};
use usher_runtime::{
    access::{AccessError, Role},
    tls::ClientNames,
};

use super::{Endpoint, REQUEST_MAX, Served, forward::FORWARDED};

/// How long a question waits for its turn among those that take much.
const TURN_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// How late a refusal comes.
const REFUSED_PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

/// A refusal with words.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    words: String,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            retry_after_seconds: None,
        }
    }
    pub(super) fn wrong(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }
    pub(super) fn missing(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }
    /// Not the caller's doing; trying again helps.
    pub(super) fn later(words: impl Into<String>) -> Self {
        Self {
            retry_after_seconds: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }
    /// Too much at once.
    pub(super) fn busy(words: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, words)
        }
    }
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.words }))).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let status = match error {
            AccessError::Unknown => StatusCode::UNAUTHORIZED,
            AccessError::Role { .. } | AccessError::NotConfigured => StatusCode::FORBIDDEN,
            AccessError::File => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// Who asks, as the rules of access know them; beside every request that was let in.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    names: Option<ClientNames>,
    authorization: Option<String>,
    from: SocketAddr,
    /// The name of the token or certificate.
    pub(super) actor: String,
    /// The request comes from another replica.
    pub(super) forwarded: bool,
}

impl Caller {
    /// For what needs more than its route does.
    pub(super) fn may(&self, served: &Served, needed: Role) -> Result<(), Problem> {
        let authorization = self.authorization.as_deref();
        served
            .access
            .check_client(self.names.as_ref(), authorization, self.from.ip(), needed)?;
        Ok(())
    }
    /// To go along to the owner, who checks it again.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(AUTHORIZATION)?.to_str().ok()?.to_owned())
}

/// Checks role and rate, and bounds the time.
pub(super) async fn admit(
    State((served, endpoint)): State<(Served, &'static Endpoint)>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut caller = Caller {
        names: request.extensions().get::<ClientNames>().cloned(),
        authorization: bearer(request.headers()),
        from,
        actor: String::new(),
        forwarded: request.headers().contains_key(FORWARDED),
    };
    if let Some(role) = endpoint.role {
        let authorization = caller.authorization.as_deref();
        let checked = served
            .access
            .check_client(caller.names.as_ref(), authorization, from.ip(), role);
        match checked {
            Ok(actor) => caller.actor = actor,
            Err(error) => return refuse(&served, error).await.into_response(),
        }
    }
    if request.method() != Method::GET
        && let Err(seconds) = served.limits.take(&caller.actor, usher_runtime::clock::monotonic())
    {
        let words = format!("too many requests that change something; try again in {seconds} s");
        return Problem::busy(words, seconds).into_response();
    }
    request.extensions_mut().insert(caller);
    match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::later("it took too long; try again, or ask for less").into_response(),
    }
}

/// Who tries tokens gets few answers: each comes late, and there are only so many at once. Whoever has a good token waits for
/// nobody.
async fn refuse(served: &Served, error: AccessError) -> Problem {
    let Ok(_permit) = served.refused.try_acquire() else {
        return Problem::busy("too many requests that are refused; try again", 5);
    };
    if error == AccessError::Unknown {
        tokio::time::sleep(REFUSED_PAUSE).await;
    }
    error.into()
}

impl Served {
    /// A turn among the questions that take much.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let waiting = std::sync::Arc::clone(&self.heavy).acquire_owned();
        match tokio::time::timeout(TURN_WITHIN, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Problem::busy("too many questions of this kind at once; try again", 5)),
        }
    }

    /// A target that the policy or a record knows.
    pub(super) fn known_target(&self, name: &str) -> Result<TargetName, Problem> {
        let target = TargetName::try_new(name).map_err(|error| Problem::missing(error.to_string()))?;
        if self.policy.targets.contains_key(&target) {
            return Ok(target);
        }
        let known: Vec<&str> = self.policy.targets.keys().map(TargetName::as_str).collect();
        let hint = usher_runtime::yaml::nearest(name, known.iter().copied());
        let hint = hint.map_or_else(
            || format!("there are {}", known.join(", ")),
            |name| format!("did you mean {name}?"),
        );
        Err(Problem::missing(format!("no target {target}; {hint}")))
    }

    /// Who is meant: `<orgId>:<userId>`, or a user id that only one org has.
    pub(super) fn known_user(&self, text: &str) -> Result<UserKey, Problem> {
        if let Ok(key) = text.parse::<UserKey>() {
            return Ok(key);
        }
        let id = UserId::try_new(text)
            .map_err(|error| Problem::wrong(format!("a user is <orgId>:<userId> or a user id: {error}")))?;
        let orgs = self.policy.targets.values().flat_map(|target| &target.policy.sources);
        let mut keys: Vec<UserKey> = orgs.map(|org| UserKey::new(*org, id)).collect();
        keys.sort_unstable();
        keys.dedup();
        let found: Vec<UserKey> = keys
            .iter()
            .copied()
            .filter(|key| self.users.get(key).is_some())
            .collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(Problem::missing("nobody with this id is on the topic")),
            _ => Err(Problem::wrong("several orgs have this id; give <orgId>:<userId>")),
        }
    }
}

/// The target of a path.
pub(super) fn target_of(served: &Served, Path(name): &Path<String>) -> Result<TargetName, Problem> {
    served.known_target(name)
}

/// A JSON body; an empty one counts as `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Served> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Served) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Problem::wrong(format!("the body does not fit: {error}; see /v1/openapi.json")))
    }
}

/// A number of a query, within bounds.
pub(super) fn bounded(given: Option<usize>, default: usize, least: usize, most: usize) -> Result<usize, Problem> {
    let number = given.unwrap_or(default);
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Problem::wrong(format!("limit is from {least} to {most}")))
    }
}
