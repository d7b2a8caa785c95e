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
        guard::{Budget, Over},
        lane::{Answer, Links, ledger, look_up, match_values},
        link::LinkState,
        origins::origins,
        plan::{Action, Plan, Question, Remote, plan as decide},
        policy::Mode,
        target_record::{TargetRecord, moved_in_words},
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
        Ok(Planned { plans, guarded, moved }) => {
            let text = if args.json {
                as_json(&plans, &guarded, &moved)
            } else {
                as_lines(&plans, &guarded, &moved, args.all, args.user.is_some())
            };
            print(&text);
            let changes = !moved.is_empty() || plans.iter().any(|entry| entry.plan.action.acts());
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
    /// Whether the target is a list.
    list: bool,
    user: UserKey,
    version: u64,
    plan: Plan,
    /// Where each attribute comes from.
    sources: BTreeMap<String, String>,
    /// Why a look-up at the target did not succeed.
    not_looked: Option<String>,
}

/// What is found out.
struct Planned {
    plans: Vec<Entry>,
    guarded: Vec<Guarded>,
    /// Targets whose links are of another application, and how many they are.
    moved: BTreeMap<TargetName, usize>,
}

async fn planned(config: &Config, args: &PlanArgs) -> Result<Planned, String> {
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
            link_table::Known::default()
        } else {
            link_table::read_only(&config.kafka, &names)
                .await
                .map_err(|error| chain(&error))?
        };
        let records = if missing.contains(&topics::TARGET) {
            BTreeMap::new()
        } else {
            link_table::read_records(&config.kafka)
                .await
                .map_err(|error| chain(&error))?
        };
        Ok::<_, String>((users, links, records))
    };
    let unanswered = || {
        format!(
            "Kafka at {} did not answer in time; check kafka.bootstrapServers",
            config.kafka.bootstrap_servers
        )
    };
    let (users, links, records) = tokio::time::timeout(READ_WITHIN, reading)
        .await
        .map_err(|_| unanswered())??;

    let mut by_target: BTreeMap<TargetName, Links> = BTreeMap::new();
    for (target, user, link) in links.links {
        by_target.entry(target).or_default().put(user, Some(link));
    }
    for (target, groups) in links.groups {
        by_target.entry(target).or_default().groups = groups;
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
    let (mut plans, mut guarded, mut moved) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (name, target) in chosen {
        let begun = plans.len();
        let mut links = by_target.remove(name).unwrap_or_default();
        let is_moved = records.get(name).is_some_and(|record| record.is_moved(&target.policy));
        if is_moved && links.bound() > 0 {
            // Everything is held there. What is shown is how it would go on once the links are void.
            moved.insert(name.clone(), links.bound());
            links = void(&links);
        }
        for change in users.keys().iter().filter_map(|user| users.get(user)) {
            let link = links.get(&change.user.key());
            links
                .addresses
                .note(&change, link.as_ref(), &target.policy, &*users, clock::now());
        }
        let executor = targets::executor(target, &metrics, &Arc::default()).map_err(|error| chain(&error))?;
        if let Some(desk) = executor.desk() {
            // Rows are looked up in what the links say.
            desk.begin(&links);
        }
        let target = executor.policy.remembering(records.get(name));
        for user in &people {
            let Some(change) = users.get(user) else {
                continue;
            };
            let link = links.get(user);
            let question = Question {
                change: &change,
                link: link.as_ref(),
                remote: &Remote::NotLooked,
                target: &target,
                accounts: &links,
                people: &*users,
                reimported_at: records.get(name).and_then(|record| record.reimported_at),
                again: false,
                now: clock::now(),
            };
            let mut entry = Entry {
                target: name.clone(),
                list: executor.desk().is_some(),
                user: *user,
                version: change.version,
                plan: decide(&question),
                sources: BTreeMap::new(),
                not_looked: None,
            };
            if args.look && entry.plan.action == Action::Look {
                match look(&executor, &match_values(&change, &executor.policy, &links)).await {
                    Ok(remote) => {
                        entry.plan = decide(&Question {
                            remote: &remote,
                            ..question
                        });
                    }
                    Err(reason) => entry.not_looked = Some(reason),
                }
            }
            entry.sources = origins(&question, &entry.plan);
            plans.push(entry);
        }
        // The guard looks at everybody: of one person it says nothing.
        if args.user.is_none() && executor.policy.mode == Mode::Enforce && !moved.contains_key(name) {
            guarded.extend(judge(&executor, &links, records.get(name), &plans[begun..]));
        }
    }
    Ok(Planned { plans, guarded, moved })
}

/// The links of an application that is left, as they are for the one that comes after it.
fn void(links: &Links) -> Links {
    let mut void = Links::default();
    for (user, link) in links.iter() {
        void.put(*user, Some(link.given_away()));
    }
    void
}

/// What the guard would keep back of a target's plans, judged as one batch, as the lane does after a start.
struct Guarded {
    target: TargetName,
    over: Over,
}

fn judge(executor: &Executor, links: &Links, record: Option<&TargetRecord>, plans: &[Entry]) -> Vec<Guarded> {
    let (policy, now) = (&executor.policy, clock::now());
    let imported = record.and_then(|record| record.imported).unwrap_or(links.linked() > 0);
    let released = |user: &UserKey| match links.get(user).map(|link| link.state) {
        Some(LinkState::Held { set, .. }) => record
            .and_then(|record| record.held.get(&set))
            .is_some_and(|set| set.approved.is_some()),
        _ => false,
    };
    let mut wanted: BTreeMap<Budget, u64> = BTreeMap::new();
    for entry in plans {
        let action = entry.plan.action;
        let budget = match action {
            Action::Look if entry.plan.active => Some(Budget::Changes),
            _ => entry.plan.budget(),
        };
        let first = !imported
            && !policy.guard.counts_first_import
            && matches!(action, Action::Create | Action::Adopt | Action::Look);
        if let Some(budget) = budget.filter(|_| !first && !released(&entry.user)) {
            *wanted.entry(budget).or_default() += 1;
        }
    }
    let ledger = ledger(links, &policy.guard.windows, now);
    let over = wanted.into_iter().filter_map(|(budget, wanted)| {
        let allowances = record.into_iter().flat_map(|record| &record.allowances);
        let allowed: u64 = allowances
            .filter(|allowance| allowance.until > now && budget.is_removal())
            .map(|allowance| allowance.removals.saturating_sub(allowance.used))
            .sum();
        let judged = policy
            .guard
            .judge(&ledger, budget, wanted.saturating_sub(allowed), links.linked(), now);
        judged.err().map(|over| Over { wanted, ..over })
    });
    over.map(|over| Guarded {
        target: policy.name.clone(),
        over,
    })
    .collect()
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
    let (result, ..) = executor.execute(look_up(values), &Lease::new(Default::default())).await;
    match result {
        Ok(Answer::Found(found)) if !found.is_empty() => Ok(Remote::Found(found)),
        Ok(_) => Ok(Remote::Absent),
        Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => Err(refusal.to_string()),
    }
}

fn as_lines(plans: &[Entry], guarded: &[Guarded], moved: &BTreeMap<TargetName, usize>, all: bool, one: bool) -> String {
    let mut text = String::new();
    let mut counts: BTreeMap<(&TargetName, Action), usize> = BTreeMap::new();
    for entry in plans {
        *counts.entry((&entry.target, entry.plan.action)).or_default() += 1;
        if all || entry.plan.action != Action::Noop || entry.plan.remark.is_some() {
            let not_looked = entry
                .not_looked
                .as_ref()
                .map_or_else(String::new, |reason| format!(" (look-up failed: {reason})"));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}: {}{not_looked}", entry.target, entry.user, entry.plan);
            // Of many people this would be a book.
            for (attribute, source) in entry.sources.iter().filter(|_| one) {
                let _ = writeln!(text, "    {attribute}: from {source}");
            }
        }
    }
    for ((target, action), count) in counts {
        let _ = writeln!(text, "{target}: {} {count}", action.as_str());
    }
    for (target, attributes) in attributes(plans) {
        let changes: Vec<String> = attributes
            .into_iter()
            .map(|(name, count)| format!("{name} of {count}"))
            .collect();
        let _ = writeln!(text, "{target}: would write {}", changes.join(", "));
    }
    for (target, [enter, change, leave]) in rows(plans) {
        let _ = writeln!(
            text,
            "{target}: of the list {enter} rows would enter, {change} change, {leave} leave"
        );
    }
    for guarded in guarded {
        let _ = writeln!(text, "{}: the guard would hold: {}", guarded.target, guarded.over);
    }
    for (target, links) in moved {
        let _ = writeln!(text, "{target}: {}", moved_in_words(*links));
    }
    text
}

/// How many people's accounts would get which attribute.
fn attributes(plans: &[Entry]) -> BTreeMap<&TargetName, BTreeMap<&str, usize>> {
    let mut attributes: BTreeMap<&TargetName, BTreeMap<&str, usize>> = BTreeMap::new();
    for entry in plans.iter().filter(|entry| entry.plan.action.acts()) {
        for path in &entry.plan.changed {
            *attributes
                .entry(&entry.target)
                .or_default()
                .entry(path.0.as_str())
                .or_default() += 1;
        }
    }
    attributes
}

/// How many rows of each list would enter, change and leave.
fn rows(plans: &[Entry]) -> BTreeMap<&TargetName, [usize; 3]> {
    let mut rows: BTreeMap<&TargetName, [usize; 3]> = BTreeMap::new();
    for entry in plans.iter().filter(|entry| entry.list) {
        let counts = rows.entry(&entry.target).or_default();
        match entry.plan.action {
            // A look before somebody leaves finds out about a row that was being made.
            Action::Look if !entry.plan.active => {}
            Action::Look | Action::Create | Action::Adopt | Action::Reactivate => counts[0] += 1,
            Action::Update | Action::Relink => counts[1] += 1,
            Action::Deactivate | Action::Delete => counts[2] += 1,
            Action::Noop | Action::Wait | Action::Skip | Action::SetGroups => {}
        }
    }
    rows
}

fn as_json(plans: &[Entry], guarded: &[Guarded], moved: &BTreeMap<TargetName, usize>) -> String {
    let mut counts: BTreeMap<&TargetName, BTreeMap<&str, usize>> = BTreeMap::new();
    for entry in plans {
        *counts
            .entry(&entry.target)
            .or_default()
            .entry(entry.plan.action.as_str())
            .or_default() += 1;
    }
    let guarded: Vec<Value> = guarded
        .iter()
        .map(|Guarded { target, over }| {
            json!({
                "target": target,
                "budget": over.budget,
                "wanted": over.wanted,
                "spent": over.spent,
                "limit": over.limit,
                "windowSeconds": over.window.as_secs(),
                "words": over.to_string(),
            })
        })
        .collect();
    let attributes = attributes(plans);
    let rows: BTreeMap<&TargetName, Value> = rows(plans)
        .into_iter()
        .map(|(target, [enter, change, leave])| (target, json!({ "enter": enter, "change": change, "leave": leave })))
        .collect();
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
                "sources": entry.sources,
                "join": entry.plan.group_changes.join,
                "leave": entry.plan.group_changes.leave,
                "reasons": entry.plan.reasons,
                "refused": entry.plan.refusal.as_ref().map(|refusal| refusal.code.clone()),
                "nextChange": entry.plan.next_change,
                "notLooked": entry.not_looked,
            })
        })
        .collect();
    let moved: BTreeMap<&TargetName, Value> = moved
        .iter()
        .map(|(target, links)| (target, json!({ "links": links, "words": moved_in_words(*links) })))
        .collect();
    let all = json!({
        "plans": plans, "rows": rows, "counts": counts, "attributes": attributes, "guard": guarded, "moved": moved,
    });
    serde_json::to_string_pretty(&all).unwrap_or_default()
}
