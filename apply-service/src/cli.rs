//! The command line. Results go to standard output, logs and complaints to standard error.
//!
//! `run`, `check`, `connect`, `plan`, `print-config`, `presets`, `init`, `schema` and the listing, export and import of links need no running service; the
//! rest is carried out by one, through its API.

mod check;
mod connect;
mod dialects;
mod init;
mod links;
mod order;
mod people;
mod plan;
mod presets;
mod probe;
mod remote;

use std::{future::Future, io::Write, path::PathBuf, pin::Pin, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing::error;
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    config::ConfigError,
    shutdown::{CancellationToken, ServiceError, chain, until_ended},
    telemetry,
};

use crate::{App, Config, config::DEFAULTS, policy, reload::Watch};

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
    /// Obtain the first consent of a target that authorizes by a refresh token, save the token and try the connection.
    Connect(connect::Connect),
    /// Show the configuration in effect, or every key with its explanation: of the service, or of a policy file.
    PrintConfig {
        /// Of which file; of `policy` every key with its explanation.
        #[arg(value_enum, default_value = "service")]
        of: init::Of,
        /// The commented defaults instead of the configuration in effect.
        #[arg(long)]
        defaults: bool,
    },
    /// Show what would be done, and why. Writes nothing and needs no running service.
    Plan(PlanArgs),
    /// Find out what a SCIM server really does, on one throw-away account that is removed again.
    Probe(probe::Asked),
    /// List the presets, with what each presumes and limits. Needs no running service.
    Presets {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List what is known of vendors' SCIM servers, for `connection.scim.dialect`. Needs no running service.
    Dialects {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a commented file to begin with for an application. Needs no running service.
    Init(init::Init),
    /// Print the JSON Schema of a policy file, or of the service's configuration, for editors.
    Schema {
        /// Of which file.
        #[arg(value_enum, default_value = "policy")]
        of: init::Of,
    },
    /// Show what waits for an operator: held sets with members and reasons, and first syncs.
    Held(order::Held),
    /// Release a held set, or a first sync: who of it is still wanted is carried out.
    Approve(order::Approve),
    /// Allow more removals than the guard does by itself, for a while: a planned layoff.
    Allow(order::Allow),
    /// Begin nothing more at a target until it is resumed. Nothing is lost.
    Pause(order::One),
    /// Go on after a pause.
    Resume(order::One),
    /// Plan everybody of a target again now, also who was refused.
    Reconcile(order::One),
    /// Try again from the present state who was refused or waits.
    Redrive(order::Redrive),
    /// Have the target send its own activation or password-reset mail, to one person or to a selection.
    Invite(order::Invite),
    /// Show the commands of operators and what came of them.
    Commands(order::Commands),
    /// Show how somebody stands at every target: state, last error, next try.
    Where(people::Where),
    /// Apply one person at one target for real, with every step shown.
    Apply(people::Apply),
    /// Show what was done, tried, held and refused: a table, CSV or JSON.
    Report(people::Report),
    /// Look at, keep, bring back and correct what is known of accounts.
    #[command(subcommand)]
    Links(links::Links),
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
    match cli.command {
        Command::PrintConfig {
            of: init::Of::Policy, ..
        } => return print(&policy::manual()),
        Command::PrintConfig { defaults: true, .. } => return print(DEFAULTS),
        _ => {}
    }
    let files = cli.files;
    let command = match remote(cli.command, &files) {
        Ok(code) => return code,
        Err(command) => command,
    };
    let config = match Config::load(files.config.as_deref(), files.policy.as_deref()) {
        Ok(config) => config,
        Err(error) => return complain(&with_policy(&error, &files, &command)),
    };
    if let Err(problem) = telemetry::init(&config.log) {
        return complain(&problem);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}")),
    };
    match command {
        Local::Run => runtime.block_on(run(config)),
        Local::Check => runtime.block_on(check::check(config)),
        Local::Plan(args) => runtime.block_on(plan::plan(config, args)),
        Local::Probe(asked) => runtime.block_on(probe::probe(config, asked)),
        Local::Links(links) => runtime.block_on(links::local(links, config)),
        Local::PrintConfig => match serde_saphyr::to_string(&config) {
            Ok(text) => print(&text),
            Err(_) => complain("the configuration cannot be shown"),
        },
    }
}

/// Everything that is wrong at once: what the policy folder says wrongly does not wait until the service's file is right.
fn with_policy(error: &ConfigError, files: &Files, command: &Local) -> String {
    let mut problems = error.0.clone();
    let reads = matches!(command, Local::Run | Local::Check | Local::Plan(_) | Local::Probe(_));
    let folder = Config::folder_meant(files.config.as_deref(), files.policy.as_deref());
    if let Some(folder) = folder.filter(|_| reads)
        && let Err(error) = policy::load(&folder)
    {
        problems.extend(error.0);
    }
    problems.join("\n")
}

/// What this process does itself, with the whole configuration.
enum Local {
    Run,
    Check,
    Plan(PlanArgs),
    Probe(probe::Asked),
    Links(links::Local),
    PrintConfig,
}

/// Runs what a running service carries out; gives back what it does not.
fn remote(command: Command, files: &Files) -> Result<ExitCode, Local> {
    let asked: Pin<Box<dyn Future<Output = ExitCode> + '_>> = match command {
        Command::Run => return Err(Local::Run),
        Command::Check => return Err(Local::Check),
        Command::Connect(asked) => Box::pin(connect::connect(asked, files)),
        Command::Plan(args) => return Err(Local::Plan(args)),
        Command::Probe(asked) => return Err(Local::Probe(asked)),
        Command::PrintConfig { .. } => return Err(Local::PrintConfig),
        Command::Init(args) => return Ok(init::init(&args, files)),
        Command::Schema { of } => return Ok(init::schema(of)),
        Command::Presets { json } => return Ok(presets::presets(json)),
        Command::Dialects { json } => return Ok(dialects::dialects(json)),
        Command::Held(held) => Box::pin(order::held(held, files)),
        Command::Approve(approve) => Box::pin(order::approve(approve, files)),
        Command::Allow(allow) => Box::pin(order::allow(allow, files)),
        Command::Pause(one) => Box::pin(order::simple("pause", one, files)),
        Command::Resume(one) => Box::pin(order::simple("resume", one, files)),
        Command::Reconcile(one) => Box::pin(order::simple("reconcile", one, files)),
        Command::Redrive(redrive) => Box::pin(order::redrive(redrive, files)),
        Command::Invite(invite) => Box::pin(order::invite(invite, files)),
        Command::Commands(commands) => Box::pin(order::commands(commands, files)),
        Command::Where(asked) => Box::pin(people::locate(asked, files)),
        Command::Apply(asked) => Box::pin(people::apply(asked, files)),
        Command::Report(asked) => Box::pin(people::report(asked, files)),
        Command::Links(links) => match links.parted() {
            Ok(local) => return Err(Local::Links(local)),
            Err(ordered) => Box::pin(links::ordered(ordered, files)),
        },
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(asked)),
        Err(error) => Ok(complain(&format!("cannot start the runtime: {error}"))),
    }
}

async fn run(config: Config) -> ExitCode {
    let stop = CancellationToken::new();
    match until_ended(stop.clone(), rounds(config, stop)).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("cannot wait for signals: {error}")),
        Ok(Err(Ended::NotBuilt(problem))) => complain(&problem),
        Ok(Err(Ended::Failed(error))) => {
            error!(error = chain(&error), "ended because a part failed");
            ExitCode::FAILURE
        }
    }
}

/// Why the service does not run any longer.
enum Ended {
    /// It could not begin.
    NotBuilt(String),
    /// A part failed.
    Failed(ServiceError),
}

/// Runs until `stop`; begins anew whenever the policy folder has changed to another good one.
async fn rounds(config: Config, stop: CancellationToken) -> Result<(), Ended> {
    let folder = config.policy.folder.clone();
    let mut watch =
        Watch::begin(&folder).map_err(|error| Ended::NotBuilt(format!("cannot wait for signals: {error}")))?;
    loop {
        let app = App::build(config.clone())
            .await
            .map_err(|error| Ended::NotBuilt(chain(&error)))?;
        let (status, round) = (app.status(), stop.child_token());
        let mut running = std::pin::pin!(app.run(round.clone()));
        tokio::select! {
            ended = &mut running => return ended.map_err(Ended::Failed),
            () = watch.changed(&config, &status) => round.cancel(),
        }
        running.await.map_err(Ended::Failed)?;
        if stop.is_cancelled() {
            return Ok(());
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
