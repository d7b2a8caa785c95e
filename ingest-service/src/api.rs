//! The HTTP API. Any replica answers: the status speaks for the replica itself, everything else is the leader's and is
//! forwarded to it.
//!
//! `ENDPOINTS` is the one list of routes; the OpenAPI document is made from it. A refusal that is the caller's doing
//! is a 4xx with words, a 503 means "later".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde_json::json;
use tokio::sync::mpsc;
use usher_runtime::access::{Access, Role};

use crate::{
    pipeline::Command,
    status::{ServiceStatusHandle, StatusHandle},
};

mod call;
mod forward;
mod handlers;
mod openapi;
#[cfg(test)]
mod tests;

pub use forward::Forwarder;
pub use handlers::{ApproveRequest, Done, EraseRequest, Erred, ReimportRequest, Removals};

/// Longest request body: the longest reason and two ids are far below.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// A request takes at most this long, its body and the leader's answer included.
const REQUEST_MAX: Duration = Duration::from_secs(45);
/// What changes something is answered when it is durable; a quiet leader commits its position every few seconds.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// When to try again while leadership moves.
const RETRY_AFTER_SECONDS: u64 = 5;

/// One org as the API knows it.
#[derive(Debug, Clone)]
pub struct OrgApi {
    /// See [`crate::config::OrgConfig::label`].
    pub name: String,
    /// What this replica does for the org.
    pub status: StatusHandle,
    /// To the loop of the org's leader, when that is this replica.
    pub commands: mpsc::Sender<Command>,
}

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Api {
    /// Every org.
    pub orgs: Arc<Vec<OrgApi>>,
    /// What the service says about itself.
    pub status: ServiceStatusHandle,
    /// Who may do what.
    pub access: Arc<Access>,
    /// To the leader, when that is another replica.
    pub forwarder: Forwarder,
}

/// One route.
struct Endpoint {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// `None` for what nobody needs a token for.
    role: Option<Role>,
    /// Whether it concerns one org, named by `?org=`, and is the leader's.
    of_org: bool,
    /// Further query parameters and what they say.
    parameters: &'static [(&'static str, &'static str)],
    body: Option<openapi::Shape>,
    answer: Option<openapi::Shape>,
    /// Status codes besides those that every route of its kind has.
    answers: &'static [(u16, &'static str)],
    route: fn() -> MethodRouter<Api>,
}

const PAGE: &[(&str, &str)] = &[
    ("set", "only this set"),
    ("after", "only members behind this user id; see `next`"),
    ("limit", "at most so many members of each set: 1 to 10000, default 1000"),
];

/// Every route below `/v1`.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/v1/status",
        summary: "What this replica does for each org and what is wrong, in words; the leader is named",
        role: Some(Role::Viewer),
        of_org: false,
        parameters: &[],
        body: None,
        answer: Some(openapi::shape::<crate::status::ServiceStatus>),
        answers: &[(200, "status")],
        route: || get(handlers::status),
    },
    Endpoint {
        method: "post",
        path: "/v1/reimport",
        summary: "Read everyone, or one user, again",
        role: Some(Role::Operator),
        of_org: true,
        parameters: &[],
        body: Some(openapi::shape::<ReimportRequest>),
        answer: Some(openapi::shape::<Done>),
        answers: &[
            (202, "durable; the result says whether it begins or joins one under way"),
            (409, "the person is erased"),
        ],
        route: || post(handlers::reimport),
    },
    Endpoint {
        method: "get",
        path: "/v1/removals",
        summary: "What is held: who, since when and why",
        role: Some(Role::Viewer),
        of_org: true,
        parameters: PAGE,
        body: None,
        answer: Some(openapi::shape::<Removals>),
        answers: &[(200, "the held sets")],
        route: || get(handlers::removals),
    },
    Endpoint {
        method: "post",
        path: "/v1/removals/{id}/approve",
        summary: "Release a held set: its members are read again, and who is still gone or inactive is published as such",
        role: Some(Role::Approver),
        of_org: true,
        parameters: &[],
        body: Some(openapi::shape::<ApproveRequest>),
        answer: Some(openapi::shape::<Done>),
        answers: &[(202, "durable"), (404, "there is no such set")],
        route: || post(handlers::approve),
    },
    Endpoint {
        method: "post",
        path: "/v1/erase",
        summary: "Erase an inactive person for ever, or lift that",
        role: Some(Role::Approver),
        of_org: true,
        parameters: &[],
        body: Some(openapi::shape::<EraseRequest>),
        answer: Some(openapi::shape::<Done>),
        answers: &[
            (200, "the tombstone is on the topic"),
            (202, "the suppression is lifted; the person is read again"),
            (404, "nobody with this id is published"),
            (409, "the person is active, erased already, or not erased"),
        ],
        route: || post(handlers::erase),
    },
    Endpoint {
        method: "get",
        path: "/v1/users/{id}",
        summary: "How the published state of one person stands; no values",
        role: Some(Role::Viewer),
        of_org: true,
        parameters: &[],
        body: None,
        answer: Some(openapi::shape::<crate::pipeline::PersonView>),
        answers: &[(
            200,
            "how it stands; `version` is null for somebody who is not published",
        )],
        route: || get(handlers::person),
    },
    Endpoint {
        method: "get",
        path: "/v1/openapi.json",
        summary: "This document",
        role: None,
        of_org: false,
        parameters: &[],
        body: None,
        answer: None,
        answers: &[(200, "OpenAPI 3.1")],
        route: || get(|| async { Json(openapi::document(ENDPOINTS)) }),
    },
];

/// A request that is not carried out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    words: String,
}

impl Problem {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
        }
    }
    fn bad(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }
    fn later(words: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.words }))).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(axum::http::header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

impl Api {
    /// The routes below `/v1`.
    pub fn routes(self) -> Router {
        let mut by_path: BTreeMap<&str, MethodRouter<Self>> = BTreeMap::new();
        for endpoint in ENDPOINTS {
            let known = by_path.remove(endpoint.path).unwrap_or_default();
            by_path.insert(endpoint.path, known.merge((endpoint.route)()));
        }
        by_path
            .into_iter()
            .fold(Router::new(), |router, (path, route)| router.route(path, route))
            .method_not_allowed_fallback(|| async {
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "not with this method; see /v1/openapi.json",
                )
            })
            .layer(middleware::from_fn(within_time))
            .with_state(self)
    }

    /// The org that a request names by name or id; the only one when it names none.
    fn org(&self, named: Option<&str>) -> Result<&OrgApi, Problem> {
        let names = || {
            let names: Vec<&str> = self.orgs.iter().map(|org| org.name.as_str()).collect();
            names.join(", ")
        };
        let Some(named) = named else {
            return match self.orgs.as_slice() {
                [only] => Ok(only),
                _ => Err(Problem::bad(format!(
                    "there are several orgs; say which with ?org= (--org): {}",
                    names()
                ))),
            };
        };
        let id = usher_contract::OrgId::try_new(named).ok().map(|id| id.to_string());
        self.orgs
            .iter()
            .find(|org| org.name == named || id.is_some() && org.status.get().org_id == id)
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::NOT_FOUND,
                    format!("there is no such org here; known: {}", names()),
                )
            })
    }
}

/// A caller that sends half a request, or a leader that does not answer, holds nothing for ever.
async fn within_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_MAX, next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::later("the request took too long; whether it was carried out is not known").into_response()
        })
}
