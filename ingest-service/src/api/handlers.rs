//! One function per route, and the bodies that they take and give.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::info;
use usher_contract::{Approval, UserId};
use usher_runtime::{access::Role, clock};

use super::{ANSWER_MAX, Api, OrgApi, Problem, call::Call};
use crate::{
    pipeline::{Command, HeldView, Refusal},
    status::Role as ReplicaRole,
};

/// Characters of a reason.
const REASON_MAX: usize = 500;
/// People per set in one answer, unless the caller says another number.
const PAGE: usize = 1_000;
const PAGE_MAX: usize = 10_000;

/// A request to read again. An empty body means everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReimportRequest {
    /// One user; everyone when absent. 15 or 18 characters.
    #[serde(default)]
    pub user: Option<UserId>,
    /// The size of the next snapshot is right whatever it is.
    #[serde(default)]
    pub accept_size: bool,
}

/// A request to release a held set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveRequest {
    /// Why, in the operator's words; it goes into the messages. 1 to 500 characters.
    #[schemars(length(min = 1, max = 500))]
    pub reason: String,
}

/// A request to erase a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EraseRequest {
    /// Whom. 15 or 18 characters.
    pub user: UserId,
    /// Why, in the operator's words. 1 to 500 characters.
    #[schemars(length(min = 1, max = 500))]
    pub reason: String,
    /// Lift it instead: the person may be published again.
    #[serde(default)]
    pub lift: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// In words.
    pub result: String,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erred {
    /// In words, with the way out.
    pub error: String,
}

/// What is held.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Removals {
    /// The sets, oldest first.
    pub removals: Vec<HeldView>,
}

pub(super) async fn status(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    Call::read(&api, request, Role::Viewer, &[]).await?;
    Ok(Json(api.status.get()).into_response())
}

pub(super) async fn reimport(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let call = Call::read(&api, request, Role::Operator, &["org"]).await?;
    let org = api.org(call.parameter("org"))?;
    let wanted: ReimportRequest = if call.body.is_empty() {
        ReimportRequest::default()
    } else {
        call.json("{\"user\": ID, \"acceptSize\": BOOL}")?
    };
    if !leads(org) {
        return forward(&api, org, &call).await;
    }
    let user = wanted.user.map(tracing::field::display);
    info!(
        actor = call.actor,
        org.name = org.name,
        user.id = user,
        "reimport was asked for"
    );
    let words = changed(org, |answer| Command::Reimport {
        user: wanted.user,
        accept_size: wanted.accept_size,
        answer,
    });
    done(StatusCode::ACCEPTED, words.await?)
}

pub(super) async fn removals(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let call = Call::read(&api, request, Role::Viewer, &["org", "set", "after", "limit"]).await?;
    let org = api.org(call.parameter("org"))?;
    let limit = call.parsed::<usize>("limit")?.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad(format!("?limit=: 1 to {PAGE_MAX}")));
    }
    let after = call.parsed::<UserId>("after")?;
    if !leads(org) {
        return forward(&api, org, &call).await;
    }
    let set = call.parameter("set").map(str::to_owned);
    let removals = asked(org, |answer| Command::Removals {
        set,
        after,
        limit,
        answer,
    });
    let removals = removals.await?;
    Ok(Json(Removals { removals }).into_response())
}

pub(super) async fn approve(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let call = Call::read(&api, request, Role::Approver, &["org"]).await?;
    let org = api.org(call.parameter("org"))?;
    let ApproveRequest { reason } = call.json("{\"reason\": TEXT}")?;
    let by = approval(&call, &reason)?;
    if !leads(org) {
        return forward(&api, org, &call).await;
    }
    let words = changed(org, |answer| Command::Approve { id, by, answer });
    done(StatusCode::ACCEPTED, words.await?)
}

pub(super) async fn erase(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let call = Call::read(&api, request, Role::Approver, &["org"]).await?;
    let org = api.org(call.parameter("org"))?;
    let EraseRequest { user, reason, lift } = call.json("{\"user\": ID, \"reason\": TEXT, \"lift\": BOOL}")?;
    let by = approval(&call, &reason)?;
    if !leads(org) {
        return forward(&api, org, &call).await;
    }
    let words = changed(org, |answer| Command::Erase { user, lift, by, answer });
    // Erasing is done when it is durable; after a lift the person is still to be read.
    let status = if lift { StatusCode::ACCEPTED } else { StatusCode::OK };
    done(status, words.await?)
}

pub(super) async fn person(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let call = Call::read(&api, request, Role::Viewer, &["org"]).await?;
    let org = api.org(call.parameter("org"))?;
    let user = UserId::try_new(&id).map_err(|error| Problem::bad(format!("the id in the path: {error}")))?;
    if !leads(org) {
        return forward(&api, org, &call).await;
    }
    let person = asked(org, |answer| Command::Person { user, answer });
    Ok(Json(person.await?).into_response())
}

fn leads(org: &OrgApi) -> bool {
    org.status.get().role == ReplicaRole::Leader
}

async fn forward(api: &Api, org: &OrgApi, call: &Call) -> Result<Response, Problem> {
    api.forwarder.forward(call, org.status.get().leader.as_deref()).await
}

/// Who and why, with a reason that can be kept.
fn approval(call: &Call, reason: &str) -> Result<Approval, Problem> {
    let reason = reason.trim();
    let fits = (1..=REASON_MAX).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
    if !fits {
        return Err(Problem::bad(format!(
            "reason: say why, in 1 to {REASON_MAX} characters without line breaks"
        )));
    }
    Ok(Approval {
        actor: call.actor.clone(),
        reason: reason.to_owned(),
        at: clock::now(),
    })
}

/// Asks the leader's loop.
async fn asked<T>(org: &OrgApi, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    let exchange = async {
        org.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    };
    tokio::time::timeout(ANSWER_MAX, exchange)
        .await
        .ok()
        .flatten()
        .ok_or_else(|| {
            Problem::later("the leader is taking over, or was interrupted before it could confirm; look and try again")
        })
}

/// As [`asked`], for what changes something: the words come when it is durable.
async fn changed(org: &OrgApi, command: impl FnOnce(crate::pipeline::Answer) -> Command) -> Result<String, Problem> {
    asked(org, command).await?.map_err(|refusal| match refusal {
        Refusal::NotFound(words) => Problem::new(StatusCode::NOT_FOUND, words),
        Refusal::Conflict(words) => Problem::new(StatusCode::CONFLICT, words),
        Refusal::Unavailable(words) => Problem::later(words),
    })
}

fn done(status: StatusCode, result: String) -> Result<Response, Problem> {
    Ok((status, Json(Done { result })).into_response())
}
