//! What the service and its targets are doing, what is held, and one harmless request to a target.

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use usher_contract::{TargetName, UserKey};
use usher_runtime::clock;

use super::{
    Served,
    call::{Caller, Problem, bounded, target_of},
};
use crate::{
    connector::{Failure, Operation, Reply, lease::Lease},
    inquiry::{HeldHere, HeldPage, Inquiry, Known},
    link_table::read_some,
    logic::{lane::Links, target_record::TargetRecord},
    status::ServiceStatus,
};

pub(super) async fn status(State(served): State<Served>) -> Json<ServiceStatus> {
    Json(served.status.snapshot())
}

/// A target as the list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetView {
    target: TargetName,
    mode: Option<&'static str>,
    /// Where its owner listens; absent when nobody runs it.
    owner: Option<String>,
    /// The target's own record, as last committed.
    record: Option<TargetRecord>,
    /// What the owner says about it; absent when nobody runs it or the owner does not answer.
    status: Option<Value>,
    /// Why the owner's word is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// What replicas say, by address.
type Said = BTreeMap<String, Result<Value, String>>;

pub(super) async fn list(State(served): State<Served>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let records = served.directory.all();
    let here = serde_json::to_value(served.status.snapshot()).unwrap_or_default();
    let mut owners: Vec<String> = records.values().filter_map(crate::directory::owner_of).collect();
    owners.sort();
    owners.dedup();
    owners.retain(|owner| owner != served.status.address());
    let (served, caller) = (&served, &caller);
    let asked = owners.into_iter().map(async |owner| {
        let said = served.forwarder.get::<Value>(&owner, "/v1/status", caller).await;
        (owner, said.map_err(|problem| problem.words().to_owned()))
    });
    let mut said: Said = join_all(asked).await.into_iter().collect();
    said.insert(served.status.address().to_owned(), Ok(here));

    // Targets that left the policy folder still have a record; they are told, too.
    let mut names: Vec<&TargetName> = served.policy.targets.keys().chain(records.keys()).collect();
    names.sort();
    names.dedup();
    let targets: Vec<TargetView> = names
        .into_iter()
        .map(|name| {
            let record = records.get(name).cloned();
            let owner = if served.lanes.runs(name) {
                Some(served.status.address().to_owned())
            } else {
                record.as_ref().and_then(crate::directory::owner_of)
            };
            let (status, problem) = match owner.as_ref().and_then(|owner| said.get(owner)) {
                Some(Ok(said)) => (Some(said["targets"][name.as_str()].clone()), None),
                Some(Err(problem)) => (None, Some(problem.clone())),
                None => (None, None),
            };
            TargetView {
                mode: served
                    .policy
                    .targets
                    .get(name)
                    .map(|target| target.policy.mode.as_str()),
                target: name.clone(),
                owner,
                record,
                status: status.filter(|status| !status.is_null()),
                problem,
            }
        })
        .collect();
    Json(json!({ "targets": targets }))
}

pub(super) async fn check(State(served): State<Served>, path: Path<String>) -> Result<Json<Value>, Problem> {
    let target = target_of(&served, &path)?;
    let Some(executor) = served.executors.get(&target) else {
        return Err(Problem::missing(format!("no target {target}")));
    };
    // A check is no write; the lease only concerns writes.
    let (result, trace) = executor.carry(Operation::Check, &Lease::new(Default::default())).await;
    let milliseconds = trace.elapsed.as_millis();
    let mut answer = match result {
        Ok(Reply::Checked(abilities) | Reply::CheckedAs(abilities, _)) => {
            json!({ "works": true, "words": abilities, "milliseconds": milliseconds })
        }
        Ok(_) => json!({ "works": true, "words": ["answers"], "milliseconds": milliseconds }),
        Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => {
            json!({ "works": false, "words": [refusal.to_string()], "code": refusal.code, "milliseconds": milliseconds })
        }
    };
    match executor.check_read_back().await {
        Some(Ok(())) => answer["readBack"] = json!({ "works": true, "words": ["answers"] }),
        Some(Err(refusal)) => {
            answer["readBack"] = json!({ "works": false, "words": [refusal.to_string()], "code": refusal.code });
        }
        None => {}
    }
    Ok(Json(answer))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeldQuery {
    set: Option<String>,
    after: Option<UserKey>,
    limit: Option<usize>,
}

pub(super) async fn held(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    path: Path<String>,
    query: Result<Query<HeldQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<HeldHere>, Problem> {
    let target = target_of(&served, &path)?;
    let Query(query) = query.map_err(|rejection| Problem::wrong(rejection.body_text()))?;
    let page = HeldPage {
        limit: bounded(query.limit, 100, 1, 10_000)?,
        set: query.set,
        after: query.after,
    };
    if let Some(set) = &page.set
        && set.len() > 100
    {
        return Err(Problem::wrong("set is too long for the id of a held set"));
    }
    let asked = page.clone();
    if let Some(held) = served.lanes.ask(&target, |answer| Inquiry::Held(asked, answer)).await {
        return Ok(Json(held));
    }
    if let Some(owner) = served.other_owner(&target)? {
        let path = format!("/v1/targets/{target}/held?{}", query_of(&page));
        return served.forwarder.get(&owner, &path, &caller).await.map(Json);
    }
    let links = served.links_of(&target, |_| true).await?;
    let record = served.directory.get(&target);
    let known = served.known(&target, &links, record.as_ref())?;
    Ok(Json(known.held(&page)))
}

fn query_of(page: &HeldPage) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &page.limit.to_string());
    if let Some(set) = &page.set {
        query.append_pair("set", set);
    }
    if let Some(after) = page.after {
        query.append_pair("after", &after.to_string());
    }
    query.finish()
}

impl Served {
    /// Where to ask about a target that does not run here; `None` when nobody runs it.
    pub(super) fn other_owner(&self, target: &TargetName) -> Result<Option<String>, Problem> {
        match self.directory.owner(target) {
            Some(owner) if owner == self.status.address() => Err(Problem::later(format!(
                "{target} is being taken over or handed back; try again"
            ))),
            owner => Ok(owner),
        }
    }

    /// The links of a target that nobody runs, from the topic.
    pub(super) async fn links_of(
        &self,
        target: &TargetName,
        keep: impl Fn(&UserKey) -> bool + Send + Sync,
    ) -> Result<Links, Problem> {
        let _turn = self.turn().await?;
        let found = read_some(&self.kafka, std::slice::from_ref(target), keep).await;
        let found = found.map_err(|error| Problem::later(usher_runtime::shutdown::chain(&error)))?;
        let mut links = Links::default();
        for (_, user, link) in found.links {
            links.put(user, Some(link));
        }
        links.groups = found.groups.into_values().next().unwrap_or_default();
        Ok(links)
    }

    /// What is known at a target that nobody runs.
    pub(super) fn known<'a>(
        &'a self,
        target: &TargetName,
        links: &'a Links,
        record: Option<&'a TargetRecord>,
    ) -> Result<Known<'a>, Problem> {
        let policy = self.policy.targets.get(target);
        let policy = policy.ok_or_else(|| Problem::missing(format!("no target {target}")))?;
        Ok(Known {
            links,
            record,
            users: &self.users,
            policy: &policy.policy,
            now: clock::now(),
        })
    }
}
