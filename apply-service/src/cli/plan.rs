//! `plan`: what would be done, by the same function that the service uses, over topics that are only read.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode, sync::Arc, time::Duration};

use prometheus::Registry;
use serde_json::{Value, json};
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    clock,
    shutdown::{CancellationToken, chain},
};

use super::{PlanArgs, complain, is_asked_for, print};
use crate::{
    Config,
    connector::{Failure, lease::Lease},
    link_table,
    logic::{
        lane::{Answer, Links, look_up, match_values},
        plan::{Action, Plan, Question, Remote, plan as decide},
    },
    metrics::Metrics,
    policy,
    reconciler::Executor,
    targets, topics,
    users::Users,
};

/// A broker that answers is read to its end well within this time per million people; one that does not is named.
const READ_WITHIN: Duration = Duration::from_secs(300);
/// Exit code: something would be changed.
const CHANGES: u8 = 2;

pub(super) async fn plan(config: Config, args: PlanArgs) -> ExitCode {
    match planned(&config, &args).await {
        Err(problem) => complain(&problem),
        Ok(plans) => {
            let text = if args.json {
                as_json(&plans)
            } else {
                as_lines(&plans, args.all)
            };
            print(&text);
            let changes = plans.iter().any(|entry| entry.plan.action.acts());
            if changes {
                ExitCode::from(CHANGES)
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

struct Entry {
    target: TargetName,
    user: UserKey,
    version: u64,
    plan: Plan,
    /// Why a look-up at the target did not succeed.
    not_looked: Option<String>,
}

async fn planned(config: &Config, args: &PlanArgs) -> Result<Vec<Entry>, String> {
    let policy = policy::load(&config.policy.folder).map_err(|error| error.to_string())?;
    if let Some(name) = &args.target
        && !policy.targets.contains_key(name)
    {
        let known: Vec<&str> = policy.targets.keys().map(TargetName::as_str).collect();
        let hint = usher_runtime::yaml::nearest(name.as_str(), known.iter().copied());
        let hint = hint.map_or_else(
            || format!("there are {}", known.join(", ")),
            |name| format!("did you mean {name}?"),
        );
        return Err(format!(
            "no target {name} in {}; {hint}",
            config.policy.folder.display()
        ));
    }
    let metrics = Arc::new(Metrics::new(&Registry::new()).map_err(|error| error.to_string())?);
    let chosen: Vec<_> = policy
        .targets
        .iter()
        .filter(|(name, _)| args.target.as_ref().is_none_or(|asked| asked == *name))
        .collect();
    let names: Vec<TargetName> = chosen.iter().map(|(name, _)| (*name).clone()).collect();

    let missing = topics::all(&config.kafka)
        .missing()
        .await
        .map_err(|error| chain(&error))?;
    if missing.contains(&topics::USER_CHANGE) {
        let topic = config.kafka.topic(topics::USER_CHANGE);
        return Err(format!(
            "nobody was published yet: topic {topic} does not exist; start ingest-service first"
        ));
    }
    let reading = async {
        let users = read_users(config, &metrics).await?;
        // Before the first run nothing is linked, and a preview makes no topics.
        let links = if missing.contains(&topics::LINK) {
            Vec::new()
        } else {
            link_table::read_only(&config.kafka, &names)
                .await
                .map_err(|error| chain(&error))?
        };
        Ok::<_, String>((users, links))
    };
    let unanswered = || {
        format!(
            "Kafka at {} did not answer in time; check kafka.bootstrapServers",
            config.kafka.bootstrap_servers
        )
    };
    let (users, links) = tokio::time::timeout(READ_WITHIN, reading)
        .await
        .map_err(|_| unanswered())??;

    let mut by_target: BTreeMap<TargetName, Links> = BTreeMap::new();
    for (target, user, link) in links {
        by_target.entry(target).or_default().put(user, Some(link));
    }
    let mut people: Vec<UserKey> = users
        .keys()
        .into_iter()
        .filter(|user| is_asked_for(args.user.as_deref(), user))
        .collect();
    people.sort();
    if let (Some(asked), true) = (&args.user, people.is_empty()) {
        return Err(format!("nobody with the id {asked} is on the topic"));
    }
    let mut plans = Vec::new();
    for (name, target) in chosen {
        let links = by_target.remove(name).unwrap_or_default();
        let executor = targets::executor(target, &metrics).map_err(|error| chain(&error))?;
        for user in &people {
            let Some(change) = users.get(user) else {
                continue;
            };
            let ask = |remote: &Remote| {
                let link = links.get(user);
                let target = &executor.policy;
                decide(&Question {
                    change: &change,
                    link,
                    remote,
                    target,
                    accounts: &links,
                    again: false,
                    now: clock::now(),
                })
            };
            let mut entry = Entry {
                target: name.clone(),
                user: *user,
                version: change.version,
                plan: ask(&Remote::NotLooked),
                not_looked: None,
            };
            if args.look && entry.plan.action == Action::Look {
                match look(&executor, &match_values(&change, &executor.policy, &links)).await {
                    Ok(remote) => entry.plan = ask(&remote),
                    Err(reason) => entry.not_looked = Some(reason),
                }
            }
            plans.push(entry);
        }
    }
    Ok(plans)
}

async fn read_users(config: &Config, metrics: &Arc<Metrics>) -> Result<Arc<Users>, String> {
    let users = Arc::new(Users::default());
    let stop = CancellationToken::new();
    let follow = Arc::clone(&users).follow(config.kafka.clone(), Arc::clone(metrics), stop.clone());
    tokio::select! {
        followed = follow => match followed {
            Ok(()) => Err("reading the users ended early".to_owned()),
            Err(error) => Err(chain(&error)),
        },
        () = users.caught_up() => Ok(users),
    }
}

async fn look(executor: &Executor, values: &[(crate::logic::policy::MatchKey, String)]) -> Result<Remote, String> {
    // Nothing is written: the lease is one that was never held.
    let (result, _) = executor.execute(look_up(values), &Lease::new(Default::default())).await;
    match result {
        Ok(Answer::Found(found)) if !found.is_empty() => Ok(Remote::Found(found)),
        Ok(_) => Ok(Remote::Absent),
        Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => Err(refusal.to_string()),
    }
}

fn as_lines(plans: &[Entry], all: bool) -> String {
    let mut text = String::new();
    let mut counts: BTreeMap<(&TargetName, Action), usize> = BTreeMap::new();
    for entry in plans {
        *counts.entry((&entry.target, entry.plan.action)).or_default() += 1;
        if all || entry.plan.action != Action::Noop {
            let not_looked = entry
                .not_looked
                .as_ref()
                .map_or_else(String::new, |reason| format!(" (look-up failed: {reason})"));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}: {}{not_looked}", entry.target, entry.user, entry.plan);
        }
    }
    for ((target, action), count) in counts {
        let _ = writeln!(text, "{target}: {} {count}", action.as_str());
    }
    text
}

fn as_json(plans: &[Entry]) -> String {
    let plans: Vec<Value> = plans
        .iter()
        .map(|entry| {
            json!({
                "target": entry.target,
                "user": entry.user,
                "version": entry.version,
                "action": entry.plan.action.as_str(),
                "account": entry.plan.account,
                "changed": entry.plan.changed,
                "reasons": entry.plan.reasons,
                "refused": entry.plan.refusal.as_ref().map(|refusal| refusal.code.clone()),
                "nextChange": entry.plan.next_change,
                "notLooked": entry.not_looked,
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "plans": plans })).unwrap_or_default()
}
