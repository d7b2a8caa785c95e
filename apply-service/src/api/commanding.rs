//! What changes something: commands with actor and reason, passed on to the owner of the target.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use usher_contract::{OutcomeResult, TargetName};
use usher_filter::{Fields, Filter};
use usher_runtime::{access::Role, clock, duration};

use super::{
    Served,
    call::{Body, Caller, Problem, bounded, target_of},
};
use crate::logic::{
    account::RemoteId,
    command::{Command, Verb},
    policy::Mode,
};

/// Characters of a reason, of an account's id, of a set's id.
const REASON_MAX: usize = 500;
const ID_MAX: usize = 300;
/// Characters of a filter.
const FILTER_MAX: usize = 4_000;

/// Why something is done.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// For whoever reads the outcomes later; at most 500 characters.
    reason: String,
}

/// More removals for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allow {
    /// How many.
    removals: u64,
    /// For how long: `30m`, `4h`; at most seven days.
    #[serde(rename = "for")]
    lasts: String,
    /// For whoever reads the outcomes later; at most 500 characters.
    reason: String,
}

/// Any command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CommandRequest {
    /// The target.
    target: String,
    /// `pause`, `resume`, `approve`, `allow`, `reconcile`, `redrive`, `invite`, `relink` or `unlink`.
    verb: String,
    /// For whoever reads the outcomes later; at most 500 characters.
    reason: String,
    /// Of `approve`: the held set, or `first-sync`.
    #[serde(default)]
    set: Option<String>,
    /// Of `allow`: how many.
    #[serde(default)]
    removals: Option<u64>,
    /// Of `allow`: for how long, `4h`.
    #[serde(default, rename = "for")]
    lasts: Option<String>,
    /// Of `relink`, `unlink`, and of `redrive` and `invite` of one person: a user id or `<orgId>:<userId>`.
    #[serde(default)]
    user: Option<String>,
    /// Of `invite`: everybody with an account that is on for whom this holds; SOQL, or `all`.
    #[serde(default, rename = "where")]
    filter: Option<String>,
    /// Of `relink`: the target's id of the account.
    #[serde(default)]
    account: Option<String>,
}

pub(super) async fn pause(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Path<String>,
    Body(why): Body<Why>,
) -> Result<Response, Problem> {
    let target = target_of(&served, &path)?;
    pass_on(&served, &caller, &target, Verb::Pause, &why.reason).await
}

pub(super) async fn resume(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Path<String>,
    Body(why): Body<Why>,
) -> Result<Response, Problem> {
    let target = target_of(&served, &path)?;
    pass_on(&served, &caller, &target, Verb::Resume, &why.reason).await
}

pub(super) async fn reconcile(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Path<String>,
    Body(why): Body<Why>,
) -> Result<Response, Problem> {
    let target = target_of(&served, &path)?;
    pass_on(&served, &caller, &target, Verb::Reconcile, &why.reason).await
}

pub(super) async fn approve(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Path((name, set)): Path<(String, String)>,
    Body(why): Body<Why>,
) -> Result<Response, Problem> {
    let target = served.known_target(&name)?;
    let verb = Verb::Approve {
        set: short("the set", set)?,
    };
    pass_on(&served, &caller, &target, verb, &why.reason).await
}

pub(super) async fn allow(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Path<String>,
    Body(allow): Body<Allow>,
) -> Result<Response, Problem> {
    let target = target_of(&served, &path)?;
    let verb = allowing(allow.removals, &allow.lasts)?;
    pass_on(&served, &caller, &target, verb, &allow.reason).await
}

pub(super) async fn any(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<CommandRequest>,
) -> Result<Response, Problem> {
    let target = served.known_target(&request.target)?;
    let verb = verb_of(&served, &request)?;
    if matches!(
        verb,
        Verb::Approve { .. } | Verb::Allow { .. } | Verb::Relink { .. } | Verb::Unlink { .. }
    ) {
        caller.may(&served, Role::Approver)?;
    }
    pass_on(&served, &caller, &target, verb, &request.reason).await
}

/// The verb of a request with exactly what it needs.
fn verb_of(served: &Served, request: &CommandRequest) -> Result<Verb, Problem> {
    let verb = request.verb.as_str();
    let needed: &[&str] = match verb {
        "pause" | "resume" | "reconcile" => &[],
        "approve" => &["set"],
        "allow" => &["removals", "for"],
        "redrive" | "unlink" => &["user"],
        "invite" => &["user", "where"],
        "relink" => &["user", "account"],
        other => {
            return Err(Problem::wrong(format!(
                "there is no verb `{}`; there are pause, resume, approve, allow, reconcile, redrive, invite, relink, unlink",
                other.chars().take(20).collect::<String>()
            )));
        }
    };
    for (name, is_given) in [
        ("set", request.set.is_some()),
        ("removals", request.removals.is_some()),
        ("for", request.lasts.is_some()),
        ("user", request.user.is_some()),
        ("where", request.filter.is_some()),
        ("account", request.account.is_some()),
    ] {
        if is_given && !needed.contains(&name) {
            return Err(Problem::wrong(format!("{verb} takes no `{name}`")));
        }
    }
    let lacking = |name: &str| Problem::wrong(format!("{verb} needs `{name}`"));
    let user = || {
        let user = request.user.as_deref().ok_or_else(|| lacking("user"))?;
        served.known_user(user)
    };
    Ok(match verb {
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        "reconcile" => Verb::Reconcile,
        "approve" => Verb::Approve {
            set: short("set", request.set.clone().ok_or_else(|| lacking("set"))?)?,
        },
        "allow" => allowing(
            request.removals.ok_or_else(|| lacking("removals"))?,
            request.lasts.as_deref().ok_or_else(|| lacking("for"))?,
        )?,
        "redrive" => Verb::Redrive {
            user: request.user.is_some().then(user).transpose()?,
        },
        "invite" => match (&request.user, &request.filter) {
            (Some(_), None) => Verb::Invite {
                user: Some(user()?),
                filter: None,
            },
            (None, Some(filter)) => Verb::Invite {
                user: None,
                filter: Some(selection(filter)?),
            },
            (Some(_), Some(_)) | (None, None) => {
                return Err(Problem::wrong("invite needs `user`, or `where` for a selection"));
            }
        },
        "relink" => Verb::Relink {
            user: user()?,
            account: RemoteId(short(
                "account",
                request.account.clone().ok_or_else(|| lacking("account"))?,
            )?),
        },
        _ => Verb::Unlink { user: user()? },
    })
}

/// A filter of people, judged before it is passed on.
fn selection(filter: &str) -> Result<String, Problem> {
    let filter = filter.trim();
    if filter.is_empty() || filter.chars().count() > FILTER_MAX {
        return Err(Problem::wrong(format!("`where` is 1 to {FILTER_MAX} characters")));
    }
    if !filter.eq_ignore_ascii_case("all")
        && let Err(error) = Filter::parse(filter, &Fields::default())
    {
        return Err(Problem::wrong(format!("`where`: {error}\n{}", error.marked(filter))));
    }
    Ok(filter.to_owned())
}

fn allowing(removals: u64, lasts: &str) -> Result<Verb, Problem> {
    let lasts = duration::parse(lasts)
        .filter(|lasts| *lasts >= Duration::from_secs(1) && *lasts <= Verb::ALLOW_MAX)
        .ok_or_else(|| Problem::wrong("`for` is how long: 30m, 4h; at most seven days"))?;
    if removals == 0 {
        return Err(Problem::wrong("`removals` is at least 1"));
    }
    Ok(Verb::Allow {
        removals,
        for_seconds: lasts.as_secs(),
    })
}

fn short(what: &str, text: String) -> Result<String, Problem> {
    let text = text.trim().to_owned();
    if text.is_empty() || text.chars().count() > ID_MAX || text.chars().any(char::is_control) {
        return Err(Problem::wrong(format!("{what} is 1 to {ID_MAX} printable characters")));
    }
    Ok(text)
}

async fn pass_on(
    served: &Served,
    caller: &Caller,
    target: &TargetName,
    verb: Verb,
    reason: &str,
) -> Result<Response, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(Problem::wrong(format!(
            "say why: `reason` is 1 to {REASON_MAX} characters, for whoever reads the outcomes later"
        )));
    }
    let mode = served.policy.targets.get(target).map(|target| target.policy.mode);
    if mode == Some(Mode::Off) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("{target} is off: nobody runs it, so nobody could carry this out"),
        ));
    }
    let sent = served.commands.send(target, verb, &caller.actor, reason).await;
    let sent = sent.map_err(|error| Problem::later(error.in_words()))?;
    let Some(outcome) = sent.outcome else {
        let words = if served.lanes.runs(target) || served.directory.owner(target).is_some() {
            "passed on to the target's owner, who has not answered yet; ask for it later by its id"
        } else {
            "passed on; nobody runs the target now, and the next owner carries it out; ask for it later by its id"
        };
        return Ok((
            StatusCode::ACCEPTED,
            Json(json!({ "id": sent.id, "state": "waiting", "words": words })),
        )
            .into_response());
    };
    let words = outcome.reasons.first().cloned().unwrap_or_default();
    Ok(if outcome.result == OutcomeResult::Done {
        Json(json!({ "id": sent.id, "state": "done", "words": words })).into_response()
    } else {
        let refused = json!({ "id": sent.id, "state": "refused", "error": words });
        (StatusCode::CONFLICT, Json(refused)).into_response()
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    id: Option<String>,
    target: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(served): State<Served>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::wrong(rejection.body_text()))?;
    let limit = bounded(query.limit, 50, 1, 200)?;
    let target = query
        .target
        .as_deref()
        .map(|name| served.known_target(name))
        .transpose()?;
    let _turn = served.turn().await?;
    let later = |error: usher_runtime::kafka::TopicError| Problem::later(usher_runtime::shutdown::chain(&error));
    let limit = if query.id.is_some() { usize::MAX } else { limit };
    let mut found = served.commands.recent(target.as_ref(), limit).await.map_err(later)?;
    if let Some(id) = &query.id {
        found.retain(|(_, command)| command.id == *id);
        let (offset, command) = found
            .pop()
            .ok_or_else(|| Problem::missing("there is no such command; they are kept for 30 days"))?;
        let outcome = served.commands.outcome(&command).await.map_err(later)?;
        let mut view = view(&served, offset, &command);
        if let Some(outcome) = outcome {
            let done = outcome.result == OutcomeResult::Done;
            view["state"] = json!(if done { "done" } else { "refused" });
            view["words"] = json!(outcome.reasons.first());
            view["at"] = json!(outcome.at);
        }
        return Ok(Json(json!({ "commands": [view] })));
    }
    let commands: Vec<Value> = found
        .iter()
        .map(|(offset, command)| view(&served, *offset, command))
        .collect();
    Ok(Json(json!({ "commands": commands })))
}

/// A command, and how far it is as far as the target's record tells.
fn view(served: &Served, offset: i64, command: &Command) -> Value {
    let done = served
        .directory
        .get(&command.target)
        .is_some_and(|record| record.commands_done > offset);
    let state = match (done, command.expires_at < clock::now()) {
        (true, _) => "settled",
        (false, true) => "expired",
        (false, false) => "waiting",
    };
    let mut view = serde_json::to_value(command).unwrap_or_default();
    view["state"] = json!(state);
    view
}
