//! `where`: how somebody stands at every target. `apply`: one person for real, every step shown. `report`: what was done.

use std::{collections::BTreeSet, fmt::Write as _, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use usher_contract::TargetName;
use usher_runtime::{clock, duration};

use super::{
    Files, complain, print,
    remote::{Remote, Service, moment, not_yet, table, text},
};

/// How long `apply` waits for the result of one person.
const RESULT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// People that `where` shows whole.
const SHOWN_MAX: usize = 5;

/// Who is looked for.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// A user id, `<orgId>:<userId>`, e-mail address, user name, displayed name or employee number.
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    remote: Remote,
}

/// One person for real.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// A user id, e-mail address or name.
    #[arg(long, value_name = "USER")]
    user: String,
    /// The target.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// Why, for whoever reads the outcomes later.
    #[arg(long, value_name = "WORDS", default_value = "one person by hand")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// Which outcomes.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Only about this person: id, e-mail address or name.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only at this target.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// Not before: a time (2026-01-31T08:00:00Z) or how long ago (24h). By default a day ago, any time for one person.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Before: a time or how long ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only with this result: done, retry, rejected, halted, held, released, skipped.
    #[arg(long, value_name = "RESULT")]
    result: Option<String>,
    /// Only with this verb: create, update, deactivate, pause, ...
    #[arg(long, value_name = "VERB")]
    action: Option<String>,
    /// At most so many, newest first.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    remote: Remote,
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = duration::parse(text).and_then(|ago| SignedDuration::try_from(ago).ok());
    ago.and_then(|ago| clock::now().checked_sub(ago).ok())
        .ok_or_else(|| "give a time such as 2026-01-31T08:00:00Z, or how long ago such as 24h".to_owned())
}

pub(super) async fn locate(asked: Where, files: &Files) -> ExitCode {
    let found = async {
        let service = Service::new(&asked.remote, files)?;
        let keys = service.people(&asked.user).await?;
        let mut people = Vec::new();
        for key in keys.iter().take(SHOWN_MAX) {
            people.push(service.get(&format!("/v1/users/{key}"), &[("history", "1")]).await?);
        }
        Ok::<_, String>((people, keys.len() > SHOWN_MAX))
    };
    let (people, more) = match found.await {
        Ok(found) => found,
        Err(problem) => return complain(&problem),
    };
    if asked.remote.json {
        return print(&serde_json::to_string_pretty(&people).unwrap_or_default());
    }
    let mut shown: String = people.iter().map(show_person).collect();
    if more {
        shown.push_str("there are more; say it more exactly\n");
    }
    print(&shown)
}

fn show_person(person: &Value) -> String {
    let user = &person["change"]["user"];
    let mut shown = if user.is_null() {
        format!("{}  not on the topic (any more)\n", text(&person["key"]))
    } else {
        let active = match (user["removed"].as_bool(), user["active"].as_bool()) {
            (Some(true), _) => "removed",
            (_, Some(true)) => "active",
            (_, Some(false)) => "inactive",
            (_, None) => "active or not: unknown",
        };
        format!(
            "{}  {}  {}  {active}, version {}\n",
            text(&person["key"]),
            text(&user["displayName"]),
            text(&user["username"]),
            person["change"]["version"]
        )
    };
    for target in person["targets"].as_array().into_iter().flatten() {
        let state = target["problem"]
            .as_str()
            .or(target["state"].as_str())
            .unwrap_or_default();
        let pending = if target["pending"] == true {
            "; something is outstanding"
        } else {
            ""
        };
        let _ = writeln!(
            shown,
            "  {} ({})  {}{pending}",
            text(&target["target"]),
            text(&target["mode"]),
            state
        );
        for (name, value) in [
            ("last error", &target["lastError"]),
            ("next try", &target["nextTry"]),
            ("onboarding", &target["onboarding"]),
            ("notices", &target["notices"]),
            ("plan", &target["plan"]["line"]),
        ] {
            if !value.is_null() {
                let _ = writeln!(shown, "    {name}: {}", text(value));
            }
        }
    }
    if let Some(last) = person["history"]["outcomes"].get(0) {
        let _ = writeln!(
            shown,
            "  last: {} {} {} {}",
            moment(&last["at"]),
            text(&last["target"]),
            text(&last["action"]),
            text(&last["result"])
        );
    }
    shown
}

pub(super) async fn apply(asked: Apply, files: &Files) -> ExitCode {
    match applied(&asked, files).await {
        Ok(code) => code,
        Err(problem) => complain(&problem),
    }
}

async fn applied(asked: &Apply, files: &Files) -> Result<ExitCode, String> {
    let service = Service::new(&asked.remote, files)?;
    let key = service.person(&asked.user).await?;
    let place = format!("/v1/targets/{}/users/{key}", asked.target);
    let history = [
        ("user", key.as_str()),
        ("target", asked.target.as_str()),
        ("limit", "50"),
    ];
    let outcomes = async || -> Result<Vec<Value>, String> {
        let page = service.get("/v1/outcomes", &history).await?;
        Ok(page["outcomes"].as_array().cloned().unwrap_or_default())
    };
    let say = |line: String| {
        if !asked.remote.json {
            print(&line);
        }
    };
    let before = service.get(&place, &[]).await?;
    say(format!("known    {}", text(&before["state"])));
    say(format!("plan     {}", text(&before["plan"]["line"])));
    let known: BTreeSet<String> = outcomes().await?.iter().map(|outcome| text(&outcome["id"])).collect();
    let order = json!({ "target": asked.target, "verb": "redrive", "user": key, "reason": asked.reason });
    let (done, said) = service.command(&order).await?;
    say(format!("command  {} ({})", text(&said["words"]), text(&said["id"])));
    if !done {
        return Ok(not_yet("nobody has carried it out yet; `commands --id` tells later"));
    }
    let until = clock::monotonic() + RESULT_WITHIN;
    let (mut news, after) = loop {
        let here = service.get(&place, &[]).await?;
        let news: Vec<Value> = outcomes()
            .await?
            .into_iter()
            .filter(|outcome| !known.contains(&text(&outcome["id"])) && outcome["action"] != "redrive")
            .collect();
        if here["pending"] != true || !news.is_empty() {
            break (news, here);
        }
        if clock::monotonic() >= until {
            say(format!("state    {}", text(&here["state"])));
            return Ok(not_yet(
                "it still waits: the target is paused, does not answer, or has much to do; `status` of the target tells",
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    news.reverse();
    if asked.remote.json {
        let all = json!({ "before": before, "command": said, "outcomes": news, "after": after });
        print(&serde_json::to_string_pretty(&all).unwrap_or_default());
    }
    for outcome in &news {
        let mut line = format!(
            "did      {} [{}]",
            text(&outcome["action"]),
            text(&outcome["changed"]).replace("; ", ", ")
        );
        let _ = write!(
            line,
            ": {} (attempt {}, {} ms)\nverdict  {}",
            text(&outcome["reasons"]),
            outcome["attempt"],
            outcome["latencyMs"],
            text(&outcome["result"])
        );
        if !outcome["error"].is_null() {
            let _ = write!(line, ": {}: {}", text(&outcome["errorCode"]), text(&outcome["error"]));
        }
        say(line);
    }
    if news.is_empty() {
        say(format!(
            "verdict  nothing was to be done: {}",
            text(&after["plan"]["line"])
        ));
    }
    say(format!("now      {}", text(&after["state"])));
    let fine = news
        .last()
        .is_none_or(|last| last["result"] == "done" || last["result"] == "skipped");
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn report(asked: Report, files: &Files) -> ExitCode {
    match reported(&asked, files).await {
        Ok(text) => print(&text),
        Err(problem) => complain(&problem),
    }
}

async fn reported(asked: &Report, files: &Files) -> Result<String, String> {
    let service = Service::new(&asked.remote, files)?;
    let user = match &asked.user {
        Some(user) => Some(service.person(user).await?),
        None => None,
    };
    let owned = [
        ("user", user),
        ("target", asked.target.as_ref().map(ToString::to_string)),
        ("from", asked.from.map(|time| time.to_string())),
        ("to", asked.to.map(|time| time.to_string())),
        ("result", asked.result.clone()),
        ("action", asked.action.clone()),
    ];
    let given: Vec<(&str, &str)> = owned
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
        .collect();
    let format = if asked.remote.json { Format::Json } else { asked.format };
    if format == Format::Csv {
        let limit = asked.limit.clamp(1, 1000).to_string();
        let query = [&given[..], &[("limit", &limit), ("format", "csv")]].concat();
        return service.get_text("/v1/outcomes", &query).await;
    }
    let (mut outcomes, mut after, mut cut) = (Vec::new(), None::<String>, false);
    while outcomes.len() < asked.limit {
        let limit = (asked.limit - outcomes.len()).min(1000).to_string();
        let mut query = given.clone();
        query.push(("limit", &limit));
        if let Some(after) = &after {
            query.push(("after", after));
        }
        let page = service.get("/v1/outcomes", &query).await?;
        outcomes.extend(page["outcomes"].as_array().cloned().unwrap_or_default());
        cut |= page["cut"] == true;
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if format == Format::Json {
        return Ok(serde_json::to_string_pretty(&outcomes).unwrap_or_default());
    }
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| {
            let error = text(&outcome["error"]);
            vec![
                moment(&outcome["at"]),
                text(&outcome["target"]),
                text(&outcome["user"]),
                text(&outcome["action"]),
                text(&outcome["result"]),
                text(&outcome["changed"]).replace("; ", " "),
                if error.is_empty() {
                    text(&outcome["reasons"])
                } else {
                    error
                },
                text(&outcome["actor"]),
            ]
        })
        .collect();
    let mut shown = table(
        &["AT", "TARGET", "USER", "ACTION", "RESULT", "CHANGED", "WHY", "ACTOR"],
        &rows,
    );
    if after.is_some() {
        shown.push_str("there are more; --limit shows them\n");
    }
    if cut {
        shown.push_str(
            "not everything of that time was looked at, because it is much; narrow it with --from and --to\n",
        );
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_such_or_as_how_long_ago() {
        assert_eq!(
            time("2026-01-31T08:00:00Z").unwrap().to_string(),
            "2026-01-31T08:00:00Z"
        );
        let ago = clock::now().duration_since(time("24h").unwrap());
        assert!((ago.as_hours() - 24).abs() <= 1);
        assert!(time("yesterday").is_err());
    }
}
