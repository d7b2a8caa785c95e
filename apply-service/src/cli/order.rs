//! What operators order: pause, resume, approve, allow, reconcile, redrive; and looking at what is held and ordered.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};
use usher_contract::TargetName;

use super::{
    Files, complain, print,
    remote::{Remote, Results, Service, moment, table, text},
};

/// A command for one target.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The target.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// Why, for whoever reads the outcomes later.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// Which held set.
#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The set as `held` names it, or first-sync.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    one: One,
}

/// A planned layoff.
#[derive(Debug, Args)]
pub(super) struct Allow {
    /// Only this target.
    #[arg(long, value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    target: Option<TargetName>,
    /// Every target that is not off.
    #[arg(long)]
    all: bool,
    /// How many removals more than the guard allows by itself, at each target.
    #[arg(long, value_name = "N")]
    removals: u64,
    /// For how long: 30m, 4h; at most seven days.
    #[arg(long = "for", value_name = "TIME")]
    lasts: String,
    /// Why, for whoever reads the outcomes later.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// Who is tried again.
#[derive(Debug, Args)]
pub(super) struct Redrive {
    /// Only at this target; at every one that is not off otherwise.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// Only this person: id, e-mail address or name. Otherwise everybody who was refused or waits for the next try.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Why, for whoever reads the outcomes later.
    #[arg(long, value_name = "WORDS", default_value = "redrive")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// Whom the target sends its own mail.
#[derive(Debug, Args)]
pub(super) struct Invite {
    /// The target.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// Only this person: id, e-mail address or name.
    #[arg(
        long,
        value_name = "USER",
        required_unless_present = "filter",
        conflicts_with = "filter"
    )]
    user: Option<String>,
    /// Everybody with an account that is on for whom this holds: SOQL as in policies, or all. At most 1000 at a time.
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Why, for whoever reads the outcomes later.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

/// What waits for an operator.
#[derive(Debug, Args)]
pub(super) struct Held {
    /// Only at this target.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// At most so many members of each set.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// What was ordered.
#[derive(Debug, Args)]
pub(super) struct Commands {
    /// One command, and what came of it.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Only for this target.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn simple(verb: &str, one: One, files: &Files) -> ExitCode {
    send(&one, json!({ "verb": verb }), files).await
}

pub(super) async fn approve(approve: Approve, files: &Files) -> ExitCode {
    send(&approve.one, json!({ "verb": "approve", "set": approve.id }), files).await
}

async fn send(one: &One, mut body: Value, files: &Files) -> ExitCode {
    let service = match Service::new(&one.remote, files) {
        Ok(service) => service,
        Err(problem) => return complain(&problem),
    };
    body["target"] = json!(one.target);
    body["reason"] = json!(one.reason);
    let mut results = Results::new();
    results.add(one.target.as_str(), service.command(&body).await);
    results.finish(one.remote.json)
}

pub(super) async fn allow(allow: Allow, files: &Files) -> ExitCode {
    let body = json!({ "verb": "allow", "removals": allow.removals, "for": allow.lasts, "reason": allow.reason });
    to_each(allow.target.as_ref(), body, &allow.remote, files).await
}

pub(super) async fn redrive(redrive: Redrive, files: &Files) -> ExitCode {
    let mut body = json!({ "verb": "redrive", "reason": redrive.reason });
    if let Some(user) = &redrive.user {
        let found = async { Service::new(&redrive.remote, files)?.person(user).await };
        match found.await {
            Ok(key) => body["user"] = json!(key),
            Err(problem) => return complain(&problem),
        }
    }
    to_each(redrive.target.as_ref(), body, &redrive.remote, files).await
}

pub(super) async fn invite(invite: Invite, files: &Files) -> ExitCode {
    let mut body = json!({ "verb": "invite", "target": invite.target, "reason": invite.reason });
    let mut results = Results::new();
    let sent = async {
        let service = Service::new(&invite.remote, files)?;
        match (&invite.user, &invite.filter) {
            (Some(user), _) => body["user"] = json!(service.person(user).await?),
            (None, filter) => body["where"] = json!(filter),
        }
        results.add(invite.target.as_str(), service.command(&body).await);
        Ok::<_, String>(())
    };
    match sent.await {
        Ok(()) => results.finish(invite.remote.json),
        Err(problem) => complain(&problem),
    }
}

/// The same to one target or all.
async fn to_each(target: Option<&TargetName>, mut body: Value, remote: &Remote, files: &Files) -> ExitCode {
    let mut results = Results::new();
    let sent = async {
        let service = Service::new(remote, files)?;
        let targets = match target {
            Some(target) => vec![target.to_string()],
            None => service.targets().await?,
        };
        for target in targets {
            body["target"] = json!(target);
            results.add(&target, service.command(&body).await);
        }
        Ok::<_, String>(())
    };
    match sent.await {
        Ok(()) => results.finish(remote.json),
        Err(problem) => complain(&problem),
    }
}

pub(super) async fn held(held: Held, files: &Files) -> ExitCode {
    let mut all = serde_json::Map::new();
    let mut problems = String::new();
    let asked = async {
        let service = Service::new(&held.remote, files)?;
        let targets = match &held.target {
            Some(target) => vec![target.to_string()],
            None => service.targets().await?,
        };
        let limit = held.limit.clamp(1, 10_000).to_string();
        for target in targets {
            match service
                .get(&format!("/v1/targets/{target}/held"), &[("limit", &limit)])
                .await
            {
                Ok(found) => {
                    all.insert(target, found);
                }
                Err(problem) if held.target.is_some() => return Err(problem),
                Err(problem) => {
                    let _ = writeln!(problems, "{target}: {problem}");
                }
            }
        }
        Ok(())
    };
    if let Err(problem) = asked.await {
        return complain(&problem);
    }
    if held.remote.json {
        print(&serde_json::to_string_pretty(&all).unwrap_or_default());
    } else {
        let shown: String = all.iter().map(|(target, found)| show_held(target, found)).collect();
        print(if shown.is_empty() { "nothing is held" } else { &shown });
    }
    if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        complain(problems.trim_end())
    }
}

fn show_held(target: &str, found: &Value) -> String {
    let mut shown = String::new();
    if let Some(report) = found["firstSync"].as_object() {
        let changes: Vec<String> = report
            .get("wouldChange")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, count)| format!("{name} of {count}"))
            .collect();
        let _ = writeln!(
            shown,
            "{target} first-sync  since {}\n  accounts {}, matched {}, would create {}, ambiguous {}, unmatched {}; would change: {}",
            moment(&report["at"]),
            report["accounts"],
            report["matched"],
            report["wouldCreate"],
            report["ambiguous"],
            report["unmatched"],
            if changes.is_empty() {
                "nothing".to_owned()
            } else {
                changes.join(", ")
            },
        );
        if let Some(why) = report.get("notListed").and_then(Value::as_str) {
            let _ = writeln!(shown, "  the accounts could not be listed: {why}");
        }
    }
    if let Some(moved) = found["moved"].as_object() {
        let _ = writeln!(
            shown,
            "{target} moved  {} links since {}\n  {}",
            moved["links"],
            moment(&moved["since"]),
            text(&moved["words"]),
        );
    }
    for set in found["sets"].as_array().into_iter().flatten() {
        let approved = match &set["approved"] {
            Value::Null => String::new(),
            by => format!("  approved by {} ({})", text(&by["actor"]), text(&by["reason"])),
        };
        let _ = writeln!(
            shown,
            "{target} {}  {} members since {}{approved}\n  {}",
            text(&set["id"]),
            set["members"],
            moment(&set["at"]),
            text(&set["reason"])
        );
        let people = set["people"].as_array().cloned().unwrap_or_default();
        for member in &people {
            let reasons = text(&member["reasons"]);
            let reasons = if reasons.is_empty() {
                "not wanted any more".to_owned()
            } else {
                reasons
            };
            let _ = writeln!(
                shown,
                "    {} {}: {reasons}",
                text(&member["user"]),
                text(&member["action"])
            );
        }
        if !set["next"].is_null() {
            let _ = writeln!(shown, "    ... --limit shows more");
        }
    }
    shown
}

pub(super) async fn commands(commands: Commands, files: &Files) -> ExitCode {
    let asked = async {
        let service = Service::new(&commands.remote, files)?;
        let mut query = Vec::new();
        if let Some(id) = &commands.id {
            query.push(("id", id.as_str()));
        }
        if let Some(target) = &commands.target {
            query.push(("target", target.as_str()));
        }
        service.get("/v1/commands", &query).await
    };
    let found = match asked.await {
        Ok(found) => found,
        Err(problem) => return complain(&problem),
    };
    if commands.remote.json {
        return print(&serde_json::to_string_pretty(&found["commands"]).unwrap_or_default());
    }
    let rows: Vec<Vec<String>> = found["commands"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|command| {
            let by = &command["by"];
            let mut row = [
                &by["at"],
                &command["id"],
                &command["target"],
                &command["verb"],
                &command["state"],
                &by["actor"],
                &by["reason"],
                &command["words"],
            ]
            .map(text)
            .to_vec();
            row[0] = moment(&by["at"]);
            row
        })
        .collect();
    print(&table(
        &["AT", "ID", "TARGET", "VERB", "STATE", "ACTOR", "REASON", "RESULT"],
        &rows,
    ))
}
