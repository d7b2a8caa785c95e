//! The command line. Results go to standard output, logs and reasons of failure to standard error.
//!
//! `run` and `check` do the work here; `reimport`, `removals`, `approve` and `erase` ask a running service
//! (`cli/remote.rs`). Exit codes: 0 done, 1 failed or refused, 64 the command line itself is wrong.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use prometheus::Registry;
use usher_contract::UserId;
use usher_runtime::{
    admin::Readiness,
    config,
    shutdown::{CancellationToken, chain, until_ended},
    telemetry,
};

use crate::{
    api::{ApproveRequest, EraseRequest, ReimportRequest},
    app::{self, App},
    check,
    config::{DEFAULTS, Deployment},
};

mod remote;
mod removals;

use remote::Remote;

/// Turns Salesforce change events and report polls into normalized user-change messages on Kafka.
#[derive(Debug, Parser)]
#[command(name = "ingest-service", version)]
struct Arguments {
    /// Configuration file; every key and its default: `print-config`
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Run,
    /// Check configuration, credentials, permissions, report and topics of every org; writes nothing
    Check,
    /// Print the defaults, which are the manual; with --config the merged result
    PrintConfig,
    /// Ask the running service to read everyone, or one user, again
    Reimport {
        /// Only this user (15 or 18 characters)
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
        /// Accept the size of the next snapshot whatever it is, and polls that were not believed
        #[arg(long)]
        accept_size: bool,
        /// Wait until the user has been read, and say what came of it
        #[arg(long, requires = "user")]
        wait: bool,
        #[command(flatten)]
        service: Service,
    },
    /// Show the removals and deactivations that are held: who, since when and why
    Removals {
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        service: Service,
    },
    /// Release a held set: who is still gone or inactive is published as such
    Approve {
        /// The set, as `removals` shows it
        id: String,
        /// Why; it goes into the messages
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        service: Service,
    },
    /// Erase an inactive person from the topic for ever
    Erase {
        /// The user id (15 or 18 characters)
        user: UserId,
        /// Why
        #[arg(long)]
        reason: String,
        /// Take it back instead: the person may be published again
        #[arg(long)]
        lift: bool,
        #[command(flatten)]
        service: Service,
    },
}

/// The running service that is asked: any replica.
#[derive(Debug, Args)]
struct Service {
    /// The org, by name or id; needed when there are several
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Where a replica answers; default http://<http.bind> of the configuration
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Usage errors, as sysexits.h numbers them.
const USAGE: u8 = 64;

/// The whole program.
#[tokio::main]
#[must_use]
pub async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match execute(arguments).await {
        Ok(code) => code,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

async fn execute(arguments: Arguments) -> Result<ExitCode, String> {
    let file = arguments.config;
    let load = || Deployment::load(file.as_deref(), &config::environment()).map_err(|error| error.to_string());
    // A service that is named by its address needs no configuration here.
    let remote = |service: Service| match service.url {
        Some(url) => Remote::new(&url, service.token_file, service.org),
        None => Remote::new(&remote::local_url(&load()?.http.bind)?, service.token_file, service.org),
    };
    let words = match arguments.command {
        Command::PrintConfig if file.is_none() => DEFAULTS.to_owned(),
        Command::PrintConfig => load()?.shown().map_err(|error| error.to_string())?,
        Command::Run => return run(load()?).await,
        Command::Check => return check_all(&load()?).await,
        Command::Reimport {
            user,
            accept_size,
            wait,
            service,
        } => {
            let remote = remote(service)?;
            let before = match user.filter(|_| wait) {
                Some(user) => Some(remote.person(user).await?),
                None => None,
            };
            let words = remote
                .change("reimport", &ReimportRequest { user, accept_size })
                .await?;
            match before {
                Some(before) => {
                    say(&words);
                    remote.until_read(&before).await?
                }
                None => words,
            }
        }
        Command::Removals { json, service } => {
            let sets = remote(service)?.removals().await?;
            if json {
                serde_json::to_string_pretty(&sets).map_err(|error| error.to_string())?
            } else {
                removals::table(&sets)
            }
        }
        Command::Approve { id, reason, service } => {
            let path = format!("removals/{}/approve", remote::step(&id));
            remote(service)?.change(&path, &ApproveRequest { reason }).await?
        }
        Command::Erase {
            user,
            reason,
            lift,
            service,
        } => {
            remote(service)?
                .change("erase", &EraseRequest { user, reason, lift })
                .await?
        }
    };
    say(&words);
    Ok(ExitCode::SUCCESS)
}

async fn run(deployment: Deployment) -> Result<ExitCode, String> {
    telemetry::init(&deployment.log)?;
    for warning in deployment.warnings() {
        tracing::warn!("{warning}");
    }
    let app = App::build(deployment).await.map_err(|error| chain(&error))?;
    tracing::info!(address = %app.address(), version = env!("CARGO_PKG_VERSION"), "ingest-service is up");
    let stop = CancellationToken::new();
    let ended = until_ended(stop.clone(), app.run(stop))
        .await
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    ended.map_err(|error| chain(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// Every org after the other; with several, the name stands in front.
async fn check_all(deployment: &Deployment) -> Result<ExitCode, String> {
    let all = app::parts(deployment, &Readiness::default(), &Registry::new()).map_err(|error| chain(&error))?;
    let mut fine = true;
    for parts in &all {
        let name = if all.len() > 1 {
            format!("{}: ", parts.name)
        } else {
            String::new()
        };
        let mut tell = |subject: &str, result: &Result<String, String>| {
            fine &= result.is_ok();
            match result {
                Ok(words) => say(&format!("ok       {name}{subject}: {words}")),
                Err(words) => say(&format!("PROBLEM  {name}{subject}: {words}")),
            }
        };
        for finding in check::check(parts).await {
            tell(finding.subject, &finding.result);
        }
        // The log-in of the check is kept, so this asks nobody.
        if let Ok(token) = parts.rest.tokens().token().await
            && let Err(other) = parts.claims.claim(token.org, &parts.name)
        {
            let why = format!("it is the same org as {other}; give each entry of orgs an org of its own");
            tell("org", &Err(why));
        }
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "results of commands go to standard output")]
fn say(words: &str) {
    println!("{words}");
}

#[expect(clippy::print_stderr, reason = "the one place that tells why a command failed")]
fn complain(words: &str) {
    eprintln!("{words}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn who_and_why_must_be_said() {
        for wrong in [
            &["approve", "20260102T000000Z"][..],
            &["erase", "005ZL000000M0x1YAC"],
            &["erase", "not-an-id", "--reason", "x"],
            &["reimport", "--wait"],
        ] {
            let line = std::iter::once("ingest-service").chain(wrong.iter().copied());
            assert!(Arguments::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
