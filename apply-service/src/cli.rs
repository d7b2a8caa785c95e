//! The command line: `run`, `check`, `plan`, `print-config`. Results go to standard output, logs to standard error.

mod check;
mod plan;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing::error;
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    shutdown::{CancellationToken, chain, until_ended},
    telemetry,
};

use crate::{App, Config, config::DEFAULTS};

/// EX_USAGE of sysexits.h: the command line itself is wrong.
const USAGE: u8 = 64;

/// Keeps each application's user list true to Salesforce.
#[derive(Debug, Parser)]
#[command(name = "apply-service", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Files {
    /// The service's configuration file (YAML); `print-config` shows every key.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The policy folder: one YAML file per target.
    #[arg(long, global = true, value_name = "FOLDER")]
    policy: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT; then finish what is under way and hand the targets back.
    Run,
    /// Check configuration, policy, topics and the connection of every target. Writes nothing.
    Check,
    /// Show the configuration in effect, or every key with its explanation.
    PrintConfig {
        /// The commented defaults instead of the configuration in effect.
        #[arg(long)]
        defaults: bool,
    },
    /// Show what would be done, and why. Writes nothing and needs no running service.
    Plan(PlanArgs),
}

/// What to plan.
#[derive(Debug, Args)]
struct PlanArgs {
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// Only this person: `<orgId>:<userId>`, or the user id alone.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Look up people without a link at the target (reads only), so that create and adopt are told apart.
    #[arg(long)]
    look: bool,
    /// Show also people for whom there is nothing to do.
    #[arg(long)]
    all: bool,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

/// Whether a person is the one asked for.
fn is_asked_for(asked: Option<&str>, user: &UserKey) -> bool {
    asked.is_none_or(|asked| {
        let same_id = usher_contract::UserId::try_new(asked).is_ok_and(|id| id == user.user);
        same_id || asked.parse::<UserKey>().is_ok_and(|key| key == *user)
    })
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return if asked_for {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            };
        }
    };
    if let Command::PrintConfig { defaults: true } = cli.command {
        return print(DEFAULTS);
    }
    let config = match Config::load(cli.files.config.as_deref(), cli.files.policy.as_deref()) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string()),
    };
    if let Err(problem) = telemetry::init(&config.log) {
        return complain(&problem);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}")),
    };
    match cli.command {
        Command::Run => runtime.block_on(run(config)),
        Command::Check => runtime.block_on(check::check(config)),
        Command::Plan(args) => runtime.block_on(plan::plan(config, args)),
        Command::PrintConfig { .. } => match serde_saphyr::to_string(&config) {
            Ok(text) => print(&text),
            Err(_) => complain("the configuration cannot be shown"),
        },
    }
}

async fn run(config: Config) -> ExitCode {
    let app = match App::build(config).await {
        Ok(app) => app,
        Err(error) => return complain(&chain(&error)),
    };
    let stop = CancellationToken::new();
    match until_ended(stop.clone(), app.run(stop)).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("cannot wait for signals: {error}")),
        Ok(Err(error)) => {
            error!(error = chain(&error), "ended because a part failed");
            ExitCode::FAILURE
        }
    }
}

/// A result for standard output. A reader that went away is no error.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    });
    ExitCode::SUCCESS
}

fn complain(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::logic::testing::user_key;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_person_is_found_by_key_and_by_id_of_either_length() {
        let user = user_key(1);
        for asked in [
            None,
            Some(user.to_string()),
            Some(user.user.to_string()),
            Some(user.user.as_str()[..15].to_owned()),
        ] {
            assert!(is_asked_for(asked.as_deref(), &user), "{asked:?}");
        }
        assert!(!is_asked_for(Some(user_key(2).user.as_str()), &user));
    }
}
