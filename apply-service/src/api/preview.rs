//! What would be done with some people, under the loaded policy or one that is given as text. Asks and writes nothing:
//! people who have no link are shown as to be looked up.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::{Extension, Json, extract::State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usher_contract::{TargetName, UserKey};

use super::{
    Served,
    call::{Body, Caller, Problem},
};
use crate::{
    inquiry::{Inquiry, Known, PlanView},
    logic::policy::TargetPolicy,
    policy,
};

/// People of one preview; `plan` of the command line does everybody.
const PEOPLE_MAX: usize = 500;

/// Whose plans, and under which policy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PreviewRequest {
    /// User ids or `<orgId>:<userId>`, 1 to 500.
    users: Vec<String>,
    /// Only these targets; all of the policy when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<TargetName>>,
    /// Files of a policy folder by name; the loaded policy when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<BTreeMap<String, String>>,
}

/// The plans.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Preview {
    plans: Vec<Planned>,
    /// Targets that could not be asked, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    problems: BTreeMap<TargetName, String>,
    /// Of the given policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    target: TargetName,
    user: UserKey,
    #[serde(flatten)]
    plan: PlanView,
}

pub(super) async fn preview(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<PreviewRequest>,
) -> Result<Json<Preview>, Problem> {
    if request.users.is_empty() || request.users.len() > PEOPLE_MAX {
        return Err(Problem::wrong(format!(
            "users are 1 to {PEOPLE_MAX}; `apply-service plan` shows everybody"
        )));
    }
    let users: Vec<UserKey> = request
        .users
        .iter()
        .map(|user| served.known_user(user))
        .collect::<Result<_, _>>()?;
    let given = request.policy.as_ref().map(read).transpose()?;
    let policy = given.as_ref().unwrap_or(&served.policy);
    let chosen: Vec<Arc<TargetPolicy>> = match &request.targets {
        None => policy
            .targets
            .values()
            .map(|target| Arc::clone(&target.policy))
            .collect(),
        Some(names) => names
            .iter()
            .map(|name| {
                let target = policy.targets.get(name).map(|target| Arc::clone(&target.policy));
                target.ok_or_else(|| Problem::missing(format!("the policy has no target {name}")))
            })
            .collect::<Result<_, _>>()?,
    };
    let mut preview = Preview {
        warnings: given.as_ref().map(|policy| policy.warnings.clone()).unwrap_or_default(),
        ..Preview::default()
    };
    for target in chosen {
        let name = target.name.clone();
        match plans(&served, &caller, &request, &users, target).await {
            Ok(plans) => preview.plans.extend(plans),
            Err(problem) if caller.forwarded => return Err(problem),
            Err(problem) => {
                preview.problems.insert(name, problem.words().to_owned());
            }
        }
    }
    Ok(Json(preview))
}

/// Every problem of the files, with places and hints.
fn read(files: &BTreeMap<String, String>) -> Result<policy::Policy, Problem> {
    let files: Vec<(PathBuf, String)> = files
        .iter()
        .map(|(name, text)| (PathBuf::from(name), text.clone()))
        .collect();
    policy::from_texts(&files).map_err(|error| Problem::wrong(error.to_string()))
}

async fn plans(
    served: &Served,
    caller: &Caller,
    request: &PreviewRequest,
    users: &[UserKey],
    target: Arc<TargetPolicy>,
) -> Result<Vec<Planned>, Problem> {
    let name = target.name.clone();
    let planned = |plans: Vec<(UserKey, PlanView)>| {
        let plans = plans.into_iter().map(|(user, plan)| Planned {
            target: name.clone(),
            user,
            plan,
        });
        plans.collect()
    };
    let (asked, policy) = (users.to_vec(), Arc::clone(&target));
    let here = served
        .lanes
        .ask(&name, |answer| Inquiry::Plans(asked, policy, answer))
        .await;
    if let Some(plans) = here {
        return Ok(planned(plans));
    }
    if let Some(owner) = served.other_owner(&name)? {
        let only = PreviewRequest {
            targets: Some(vec![name.clone()]),
            ..request.clone()
        };
        let preview: Preview = served.forwarder.post(&owner, "/v1/preview", &only, caller).await?;
        return Ok(preview.plans);
    }
    // Also of a target that is not there yet: nobody is linked.
    let links = served.links_of(&name, |_| true).await?;
    let record = served.directory.get(&name);
    let known = Known {
        links: &links,
        record: record.as_ref(),
        users: &served.users,
        policy: &target,
        now: usher_runtime::clock::now(),
    };
    Ok(planned(known.plans(users)))
}
