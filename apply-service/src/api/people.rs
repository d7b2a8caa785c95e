//! People: finding them, and how each stands at every target. The only answers with personal data.

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use usher_contract::{TargetName, UserKey};

use super::{
    Served,
    call::{Caller, Problem, bounded},
};
use crate::{
    history::{self, Filter},
    inquiry::{Inquiry, PersonHere},
    users::Hit,
};

/// Bytes of a search text.
const QUERY_BYTES_MAX: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindQuery {
    query: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn find(
    State(served): State<Served>,
    query: Result<Query<FindQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::wrong(rejection.body_text()))?;
    let limit = bounded(query.limit, 20, 1, 100)?;
    let text = query.query.as_deref().map(str::trim).unwrap_or_default().to_owned();
    if text.chars().count() < 2 || text.len() > QUERY_BYTES_MAX {
        return Err(Problem::wrong(
            "query is at least two characters of an e-mail address, user name, displayed name, employee number or id",
        ));
    }
    let _turn = served.turn().await?;
    let users = std::sync::Arc::clone(&served.users);
    // A look at everybody: not on a thread that others wait for.
    let found = tokio::task::spawn_blocking(move || users.find(&text, limit)).await;
    let (hits, more) = found.map_err(|_| Problem::later("the search was broken off; try again"))?;
    let users: Vec<Value> = hits.iter().map(hit).collect();
    Ok(Json(json!({ "users": users, "more": more })))
}

fn hit(hit: &Hit) -> Value {
    let user = &hit.0.user;
    let mut shown = json!({ "key": user.key(), "removed": user.removed });
    // What is unknown has no value to show: its key is left out.
    for (name, value) in [
        ("displayName", serde_json::to_value(&user.display_name)),
        ("username", serde_json::to_value(&user.username)),
        ("email", serde_json::to_value(&user.email)),
        ("active", serde_json::to_value(&user.active)),
    ] {
        if let Ok(value) = value {
            shown[name] = value;
        }
    }
    shown
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    history: Option<usize>,
}

pub(super) async fn show(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::wrong(rejection.body_text()))?;
    let limit = bounded(query.history, 20, 0, 200)?;
    let user = served.known_user(&key)?;
    let change = served.users.get(&user);
    let (served, caller) = (&served, &caller);
    let asked = served.policy.targets.iter().map(async |(name, target)| {
        let here = person(served, name, user, caller).await;
        let mode = target.policy.mode.as_str();
        let mut view = match here {
            Ok(here) => serde_json::to_value(here).unwrap_or_default(),
            Err(problem) => json!({ "problem": problem.words() }),
        };
        view["target"] = json!(name);
        view["mode"] = json!(mode);
        view
    });
    let targets = join_all(asked).await;
    let history = if limit == 0 {
        history::Page::default()
    } else {
        let _turn = served.turn().await?;
        let filter = Filter {
            user: Some(user),
            limit,
            ..Filter::default()
        };
        let read = history::read(&served.kafka, filter).await;
        read.map_err(|error| Problem::later(usher_runtime::shutdown::chain(&error)))?
    };
    let is_known = change.is_some() || targets.iter().any(|target| target.get("link").is_some());
    if !is_known && history.outcomes.is_empty() {
        return Err(Problem::missing(
            "nobody with this key is on the topic, and no target knows of them",
        ));
    }
    Ok(Json(json!({
        "key": user,
        "change": change.as_deref(),
        "targets": targets,
        "history": history,
    })))
}

pub(super) async fn at_target(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Path((name, key)): Path<(String, String)>,
) -> Result<Json<PersonHere>, Problem> {
    let target = served.known_target(&name)?;
    let user = served.known_user(&key)?;
    person(&served, &target, user, &caller).await.map(Json)
}

async fn person(served: &Served, target: &TargetName, user: UserKey, caller: &Caller) -> Result<PersonHere, Problem> {
    let asked = served.lanes.ask(target, |answer| Inquiry::Person(user, answer)).await;
    if let Some(here) = asked {
        return Ok(here);
    }
    if let Some(owner) = served.other_owner(target)? {
        let path = format!("/v1/targets/{target}/users/{user}");
        return served.forwarder.get(&owner, &path, caller).await;
    }
    let links = served.links_of(target, |found| *found == user).await?;
    let mut here = served.known(target, &links, None)?.person(user, false);
    // Whose accounts the others have is not known here, and a plan without that would promise too much.
    here.plan = None;
    here.state = format!("{}; nobody runs this target now", here.state);
    Ok(here)
}
