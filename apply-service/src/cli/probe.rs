//! `probe`: what a SCIM server really does, tried on one throw-away account and one throw-away group.
//!
//! Without `--yes` it only says what it would do. A signal ends the questions, not the removal of both; a second one ends the
//! process at once.

use std::{
    fmt::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use clap::Args;
use serde_json::{Value, json};
use usher_contract::TargetName;
use usher_runtime::shutdown::{CancellationToken, chain, until_ended};

use super::{complain, print, remote::table};
use crate::{
    Config,
    connector::{
        Exchange, HttpAnswer, Request, Step,
        http::HttpSender,
        lease::Lease,
        scim::probe::{Move, Probe, Report},
    },
    policy::{self, Dialect},
};

/// What to probe.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// This target of the policy folder.
    #[arg(long, value_name = "NAME")]
    target: TargetName,
    /// Do it: make one account and one group at the target, change them, remove them.
    #[arg(long)]
    yes: bool,
    /// Of the account's address; some servers take only domains that are verified there.
    #[arg(long, value_name = "DOMAIN", default_value = "example.com")]
    domain: String,
    /// A further attribute of the account, as `title=AE`, where the server makes none without it; may be given several times. What
    /// is no JSON is a text.
    #[arg(long, value_name = "PATH=VALUE")]
    attribute: Vec<String>,
    /// Where the found keys are written, as YAML to put into the target's file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

pub(super) async fn probe(config: Config, asked: Asked) -> ExitCode {
    let folder = &config.policy.folder;
    let policy = match policy::load(folder) {
        Ok(policy) => policy,
        Err(error) => return complain(&error.to_string()),
    };
    let Some(target) = policy.targets.get(&asked.target) else {
        return complain(&format!("{} describes no target {}", folder.display(), asked.target));
    };
    let Dialect::Scim(scim) = &target.connection.dialect else {
        return complain(&format!(
            "target {} does not speak SCIM; there is nothing to probe",
            asked.target
        ));
    };
    let probe = Probe::new((**scim).clone(), &mark(), &asked.domain);
    let mut probe = match asked
        .attribute
        .iter()
        .try_fold(probe, |probe, text| further(probe, text))
    {
        Ok(probe) => probe,
        Err(problem) => return complain(&problem),
    };
    if !asked.yes {
        return print(&format!(
            "Would make one account {} at {}, look it up, change it, switch it off and on, try to make it twice, put it into a group {} and \
             take it out where there are groups, and remove both: about 40 requests. No other account and no other group is written to. \
             Say --yes to do it.",
            probe.user_name(),
            target.connection.http.base_url,
            probe.group_name(),
        ));
    }
    let sender = match HttpSender::new(target.connection.http.clone()) {
        Ok(sender) => sender,
        Err(error) => return complain(&chain(&error)),
    };
    let stop = CancellationToken::new();
    if let Err(error) = until_ended(stop.clone(), carry_out(&mut probe, &sender, stop)).await {
        return complain(&format!("cannot wait for signals: {error}"));
    }
    finish(&probe.report(), &asked)
}

fn further(probe: Probe, text: &str) -> Result<Probe, String> {
    let (path, value) = attribute(text)?;
    probe
        .with(path, value)
        .map_err(|problem| format!("--attribute {path}: {problem}"))
}

/// `PATH=VALUE`. A value that is JSON is taken as such, everything else as text. Paths have no `=`, values may.
fn attribute(text: &str) -> Result<(&str, Value), String> {
    let (path, value) = text
        .split_once('=')
        .ok_or_else(|| format!("--attribute {text}: a path, `=` and a value, such as title=AE"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    Ok((path.trim(), value))
}

async fn carry_out(probe: &mut Probe, sender: &HttpSender, stop: CancellationToken) {
    let mut answer = None;
    loop {
        if stop.is_cancelled() {
            probe.stop();
        }
        match probe.step(answer.take()) {
            Move::Send(request) => answer = ask(sender, request).await,
            Move::Wait(pause) => tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            },
            Move::Done => return,
        }
    }
}

/// One request, with everything that the sender adds and refuses.
async fn ask(sender: &HttpSender, request: Request) -> Option<HttpAnswer> {
    let heard = Arc::new(Mutex::new(None));
    let one = One {
        request: Some(request),
        heard: Arc::clone(&heard),
    };
    // Nobody owns this account but this process.
    let _ = sender.run(Box::new(one), &Lease::unlimited()).await;
    heard.lock().unwrap_or_else(PoisonError::into_inner).take()
}

struct One {
    request: Option<Request>,
    heard: Arc<Mutex<Option<HttpAnswer>>>,
}

impl Exchange for One {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        if let Some(request) = self.request.take() {
            return Step::Send(request);
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        Step::Done(Ok(crate::connector::Reply::Absent))
    }
}

fn finish(report: &Report, asked: &Asked) -> ExitCode {
    let rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| vec![row.question.to_owned(), row.answer.clone(), row.therefore.clone()])
        .collect();
    let mut text = table(&["QUESTION", "ANSWER", "THEREFORE"], &rows);
    let written = written(&report.keys, &asked.target);
    let _ = writeln!(text, "\n{written}");
    let mut code = ExitCode::SUCCESS;
    for left in &report.left {
        let _ = writeln!(text, "NOT REMOVED: {left}; please look for it at the target");
        code = ExitCode::FAILURE;
    }
    print(&text);
    if let Some(refused) = &report.refused {
        return complain(&format!(
            "the target made no account, so little was found out: {refused}"
        ));
    }
    if let Some(file) = &asked.write
        && let Err(error) = std::fs::write(file, written)
    {
        return complain(&format!("cannot write {}: {error}", file.display()));
    }
    code
}

/// The keys as they stand in a target's file.
fn written(keys: &serde_json::Map<String, Value>, target: &TargetName) -> String {
    let head = format!("# Found by `apply-service probe --target {target}`. What is not here is as by default.\n");
    if keys.is_empty() {
        return format!("{head}# Nothing differs.\n");
    }
    let keys = json!({ "connection": { "scim": keys } });
    head + &serde_saphyr::to_string(&keys).unwrap_or_default()
}

/// Letters and digits that no other run has.
fn mark() -> String {
    format!("{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_a_path_and_a_value_as_json_or_as_text() {
        for (text, path, value) in [
            ("title=AE", "title", json!("AE")),
            (
                r#"emails[type eq "work"].value = a=b"#,
                r#"emails[type eq "work"].value"#,
                json!(" a=b"),
            ),
            ("employeeNumber=007", "employeeNumber", json!("007")),
            ("employeeNumber=7", "employeeNumber", json!(7)),
            (r#"employeeNumber="7""#, "employeeNumber", json!("7")),
            (
                r#"entitlements=[{"value": "00e"}]"#,
                "entitlements",
                json!([{"value": "00e"}]),
            ),
            ("title=", "title", json!("")),
        ] {
            assert_eq!(attribute(text), Ok((path, value)), "{text}");
        }
        assert!(attribute("title").unwrap_err().contains("title=AE"));
    }
}
