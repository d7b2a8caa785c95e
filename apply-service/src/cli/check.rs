//! `check`: finds before `run` what `run` would stumble over. Writes nothing anywhere, but for a small file
//! beside a list that comes and goes: nothing else proves that a list can be written.

use std::{fmt::Write as _, process::ExitCode};

use prometheus::Registry;
use std::sync::Arc;
use usher_contract::TargetName;
use usher_runtime::{kafka::KafkaConfig, shutdown::chain};

use super::print;
use crate::{
    Config,
    connector::{Failure, Operation, Reply, lease::Lease},
    metrics::Metrics,
    notifier::{self, Notifier},
    policy::{self, Policy, Target},
    reconciler::Executor,
    targets, topics,
};

/// One line per thing that was looked at, every problem with its way out; exit 1 when there is one.
pub(super) async fn check(config: Config) -> ExitCode {
    let mut report = Report::default();
    for warning in config.warnings() {
        report.warn(&warning);
    }
    report.ok("configuration");
    match policy::load(&config.policy.folder) {
        Ok(policy) => {
            report.ok(&format!(
                "policy folder {}: {} targets",
                config.policy.folder.display(),
                policy.targets.len()
            ));
            for warning in &policy.warnings {
                report.warn(warning);
            }
            if policy.targets.is_empty() {
                report.warn("the policy folder describes no target: nobody will be provisioned");
            }
            for problem in notifier::lacking(&policy, &config) {
                report.problem("notify", &problem);
            }
            targets(&policy, &mut report).await;
        }
        Err(error) => error.0.iter().for_each(|problem| report.problem("policy", problem)),
    }
    notices(&config, &mut report).await;
    kafka(&config.kafka, &mut report).await;
    print(&report.text);
    if report.problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The mail server: connection and log-in; nothing is sent.
async fn notices(config: &Config, report: &mut Report) {
    let notifier = match Notifier::new(config) {
        Ok(notifier) => notifier,
        Err(problem) => return report.problem("notify", &problem),
    };
    match notifier.check_mail().await {
        None => {}
        Some(Ok(())) => report.ok("mail: the server answers and lets us in"),
        Some(Err(refusal)) => report.problem("mail", &refusal.to_string()),
    }
}

async fn kafka(config: &KafkaConfig, report: &mut Report) {
    let problems = topics::all(config).problems().await;
    for problem in &problems {
        report.problem("kafka", &chain(problem));
    }
    if problems.is_empty() {
        report.ok(&format!(
            "kafka {}: topics are as they must be",
            config.bootstrap_servers
        ));
    }
}

async fn targets(policy: &Policy, report: &mut Report) {
    let Ok(metrics) = Metrics::new(&Registry::new()).map(Arc::new) else {
        return;
    };
    for (name, target) in &policy.targets {
        let executor = match targets::executor(target, &metrics, &Arc::default()) {
            Ok(executor) => executor,
            Err(error) => {
                report.problem(&format!("target {name}"), &chain(&error));
                continue;
            }
        };
        // A check is no write; the lease only concerns writes.
        let (result, _) = executor.carry(Operation::Check, &Lease::new(Default::default())).await;
        for (what, at) in executor.credential().map(|status| status.ends).unwrap_or_default() {
            if what.way_out().is_some() {
                report.ok(&format!(
                    "target {name}: the {} ends at {at}",
                    what.as_str().replace('-', " ")
                ));
            }
        }
        match result {
            Ok(Reply::Checked(abilities) | Reply::CheckedAs(abilities, _)) => {
                report.ok(&format!("target {name}: {}", abilities.join("; ")));
            }
            Ok(_) => report.ok(&format!("target {name}: answers")),
            Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => {
                report.problem(
                    &format!("target {name}"),
                    &format!("{refusal}; see connection in {}", target.file.display()),
                );
            }
        }
        read_back(name, target, &executor, report).await;
    }
}

/// The interface that is only read: by its own harmless call, with its own credentials.
async fn read_back(name: &TargetName, target: &Target, executor: &Executor, report: &mut Report) {
    match executor.check_read_back().await {
        Some(Ok(())) => report.ok(&format!("target {name}: the read-back answers")),
        Some(Err(refusal)) => report.problem(
            &format!("target {name}: read-back"),
            &format!("{refusal}; see connection.readBack in {}", target.file.display()),
        ),
        None if target.connection.offers_read_back => report.ok(&format!(
            "target {name}: no read-back; connection.readBack.baseUrl and connection.readBack.auth switch it on"
        )),
        None => {}
    }
}

#[derive(Default)]
struct Report {
    text: String,
    problems: usize,
}

impl Report {
    fn ok(&mut self, what: &str) {
        let _ = writeln!(self.text, "ok       {what}");
    }
    fn warn(&mut self, what: &str) {
        let _ = writeln!(self.text, "warning  {what}");
    }
    fn problem(&mut self, place: &str, what: &str) {
        self.problems += 1;
        let _ = writeln!(self.text, "problem  {place}: {what}");
    }
}
