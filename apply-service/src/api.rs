//! The HTTP interface besides health and metrics. Any replica answers.
//!
//! [`ENDPOINTS`] is the one list of routes: roles are checked by it and the OpenAPI document is made from it. Where an
//! answer comes from:
//! * people: the table that every replica holds;
//! * who runs what, pauses, held sets: the targets' own records, which every replica follows (`directory`);
//! * links, plans and who is held: the owner of the target, in this process or by one forwarded request; when nobody runs
//!   the target, the topic of links is read instead, which takes longer;
//! * whatever changes something: a command on the topic, which the owner carries out (`commands`);
//! * history: the topic of outcomes, read in part for each question (`history`).
//!
//! Personal data is only in the answers about people. Nothing of requests or answers is logged but verbs, ids and actors.

mod call;
mod commanding;
mod forward;
mod limits;
mod openapi;
mod outcomes;
mod people;
mod preview;
mod targets;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use tokio::sync::Semaphore;
use usher_contract::TargetName;
use usher_runtime::{
    access::{Access, Role},
    kafka::KafkaConfig,
};

pub(crate) use self::forward::Forwarder;
pub use self::forward::ForwarderError;
use self::limits::Limits;
use crate::{
    commands::Commands, directory::Directory, inquiry::Lanes, policy::Policy, reconciler::Executor,
    status::StatusHandle, users::Users,
};

/// Longest request body: the longest reason and a few ids are far below.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// A preview brings a policy file along.
const PREVIEW_BYTES_MAX: usize = 512 * 1024;
/// A request takes at most this long, its body, waiting and forwarding included.
const REQUEST_MAX: Duration = Duration::from_secs(45);
/// Questions at the same time that read topics or the whole table of people.
const HEAVY_MAX: usize = 3;

/// What the handlers need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

/// See [`Api`].
pub(crate) struct Parts {
    pub(crate) status: StatusHandle,
    pub(crate) access: Access,
    pub(crate) users: Arc<Users>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) lanes: Lanes,
    pub(crate) commands: Commands,
    pub(crate) policy: Arc<Policy>,
    pub(crate) executors: BTreeMap<TargetName, Executor>,
    pub(crate) kafka: KafkaConfig,
    pub(crate) forwarder: Forwarder,
}

/// Refused callers that wait for their answer at the same time; more are told at once to come back later. Not by address:
/// behind a proxy everybody has the same.
const REFUSED_MAX: usize = 64;

/// One route.
struct Endpoint {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// `None` for what nobody needs a token for.
    role: Option<Role>,
    /// Query parameters and what they say.
    parameters: &'static [(&'static str, &'static str)],
    body: Option<openapi::Shape>,
    /// What success looks like.
    answer: &'static str,
    /// Status codes besides those that every route of its kind has.
    answers: &'static [(u16, &'static str)],
    route: fn() -> MethodRouter<Served>,
}

/// The state of the router: the parts, and what is counted per client.
#[derive(Clone)]
pub(crate) struct Served {
    api: Api,
    limits: Arc<Limits>,
    heavy: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

impl std::ops::Deref for Served {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.api.0
    }
}

const DONE: &[(u16, &str)] = &[
    (200, "carried out; `words` says what came of it"),
    (
        202,
        "passed on, not carried out yet: ask for it by `id` at /v1/commands",
    ),
    (409, "refused by the target's owner; `error` says why"),
];

const COMMANDED: &str = "what came of the command";

/// Every route below `/v1`.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/v1/status",
        summary: "What this replica does and what is wrong, in words",
        role: Some(Role::Viewer),
        parameters: &[],
        body: None,
        answer: "the table of people, and per target state, lane in numbers, held sets, alarms",
        answers: &[],
        route: || get(targets::status),
    },
    Endpoint {
        method: "get",
        path: "/v1/targets",
        summary: "Every target: mode, owner, pause, what is held, the lane in numbers; of all replicas",
        role: Some(Role::Viewer),
        parameters: &[],
        body: None,
        answer: "targets",
        answers: &[],
        route: || get(targets::list),
    },
    Endpoint {
        method: "post",
        path: "/v1/targets/{target}/pause",
        summary: "Begin nothing more at this target until it is resumed; nothing is lost",
        role: Some(Role::Operator),
        parameters: &[],
        body: Some(openapi::shape::<commanding::Why>),
        answer: COMMANDED,
        answers: DONE,
        route: || post(commanding::pause),
    },
    Endpoint {
        method: "post",
        path: "/v1/targets/{target}/resume",
        summary: "Go on after a pause",
        role: Some(Role::Operator),
        parameters: &[],
        body: Some(openapi::shape::<commanding::Why>),
        answer: COMMANDED,
        answers: DONE,
        route: || post(commanding::resume),
    },
    Endpoint {
        method: "post",
        path: "/v1/targets/{target}/reconcile",
        summary: "Plan everybody again now, also who was refused",
        role: Some(Role::Operator),
        parameters: &[],
        body: Some(openapi::shape::<commanding::Why>),
        answer: COMMANDED,
        answers: DONE,
        route: || post(commanding::reconcile),
    },
    Endpoint {
        method: "post",
        path: "/v1/targets/{target}/check",
        summary: "One harmless request to the target: address and credentials, and what it can do",
        role: Some(Role::Operator),
        parameters: &[],
        body: None,
        answer: "works, and what it can do or what is wrong, in words",
        answers: &[],
        route: || post(targets::check),
    },
    Endpoint {
        method: "get",
        path: "/v1/targets/{target}/held",
        summary: "What waits for an operator: sets with members, since when and why, and the report of a first sync",
        role: Some(Role::Viewer),
        parameters: &[
            ("set", "only this set"),
            ("after", "only members behind this key; see `next`"),
            ("limit", "at most so many members of each set: 1 to 10000, default 100"),
        ],
        body: None,
        answer: "sets and firstSync",
        answers: &[],
        route: || get(targets::held),
    },
    Endpoint {
        method: "post",
        path: "/v1/targets/{target}/held/{id}/approve",
        summary: "Release a held set, or the first sync as `first-sync`: who of it is still wanted is carried out",
        role: Some(Role::Approver),
        parameters: &[],
        body: Some(openapi::shape::<commanding::Why>),
        answer: COMMANDED,
        answers: DONE,
        route: || post(commanding::approve),
    },
    Endpoint {
        method: "post",
        path: "/v1/targets/{target}/allow",
        summary: "More removals than the guard allows by itself, for a while",
        role: Some(Role::Approver),
        parameters: &[],
        body: Some(openapi::shape::<commanding::Allow>),
        answer: COMMANDED,
        answers: DONE,
        route: || post(commanding::allow),
    },
    Endpoint {
        method: "get",
        path: "/v1/targets/{target}/users/{key}",
        summary: "One person at one target: link, plan with reasons, what is outstanding",
        role: Some(Role::Viewer),
        parameters: &[],
        body: None,
        answer: "link, plan, pending, state",
        answers: &[],
        route: || get(people::at_target),
    },
    Endpoint {
        method: "get",
        path: "/v1/users",
        summary: "People by e-mail address, user name, displayed name, employee number or id; exact hits first",
        role: Some(Role::Viewer),
        parameters: &[
            ("query", "at least two characters of it"),
            ("limit", "1 to 100, default 20"),
        ],
        body: None,
        answer: "users, and whether there are more",
        answers: &[],
        route: || get(people::find),
    },
    Endpoint {
        method: "get",
        path: "/v1/users/{key}",
        summary: "One person: newest state, and per target link and plan with reasons; what was done lately",
        role: Some(Role::Viewer),
        parameters: &[("history", "how many outcomes, 0 to 200, default 20")],
        body: None,
        answer: "change, targets and history",
        answers: &[],
        route: || get(people::show),
    },
    Endpoint {
        method: "post",
        path: "/v1/preview",
        summary: "What would be done with some people, under the loaded policy or one that is given; asks and writes nothing",
        role: Some(Role::Viewer),
        parameters: &[],
        body: Some(openapi::shape::<preview::PreviewRequest>),
        answer: "plans with reasons",
        answers: &[],
        route: || post(preview::preview).layer(DefaultBodyLimit::max(PREVIEW_BYTES_MAX)),
    },
    Endpoint {
        method: "get",
        path: "/v1/outcomes",
        summary: "What was done, tried, held and refused, newest first; JSON, or CSV by Accept or format=csv",
        role: Some(Role::Viewer),
        parameters: &[
            ("user", "a user id, or <orgId>:<userId>"),
            ("target", "a target"),
            (
                "from",
                "not before (RFC 3339); default a day ago, and any time for one user",
            ),
            ("to", "before (RFC 3339)"),
            ("result", "done, retry, rejected, halted, held, released or skipped"),
            ("action", "a verb: create, update, deactivate, pause, ..."),
            ("limit", "1 to 1000, default 100"),
            ("after", "the `next` of the page before"),
            ("format", "json or csv"),
        ],
        body: None,
        answer: "outcomes, next, and whether something was left out because it is too much",
        answers: &[],
        route: || get(outcomes::list),
    },
    Endpoint {
        method: "get",
        path: "/v1/commands",
        summary: "Commands of operators, newest first; with `id` one of them and what came of it",
        role: Some(Role::Viewer),
        parameters: &[
            ("id", "one command"),
            ("target", "only for this target"),
            ("limit", "1 to 200, default 50"),
        ],
        body: None,
        answer: "commands",
        answers: &[],
        route: || get(commanding::list),
    },
    Endpoint {
        method: "post",
        path: "/v1/commands",
        summary: "Any command; approve, allow, relink and unlink need the role approver",
        role: Some(Role::Operator),
        parameters: &[],
        body: Some(openapi::shape::<commanding::CommandRequest>),
        answer: COMMANDED,
        answers: DONE,
        route: || post(commanding::any),
    },
    Endpoint {
        method: "get",
        path: "/v1/openapi.json",
        summary: "This description",
        role: None,
        parameters: &[],
        body: None,
        answer: "an OpenAPI 3.1 document",
        answers: &[],
        route: || get(openapi::document),
    },
];

/// The routes.
pub(crate) fn routes(parts: Parts) -> Router {
    let served = Served {
        api: Api(Arc::new(parts)),
        limits: Arc::default(),
        heavy: Arc::new(Semaphore::new(HEAVY_MAX)),
        refused: Arc::new(Semaphore::new(REFUSED_MAX)),
    };
    let router = ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let admit = from_fn_with_state((served.clone(), endpoint), call::admit);
        router.route(endpoint.path, (endpoint.route)().route_layer(admit))
    });
    router
        .fallback(|| async { call::Problem::new(StatusCode::NOT_FOUND, "there is no such path; see /v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            call::Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not with this method; see /v1/openapi.json",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(served)
}
