//! `sandbox`: the main job in one process. A simulated Salesforce org, an embedded broker, both services' own code, two
//! SCIM targets with different mappings, and people who change all the time.
//!
//! Nothing here is tested for fencing, restore or failover: the embedded broker has none of it, so there is one replica
//! of each service and neither is restarted.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use usher_runtime::{
    clock,
    shutdown::{CancellationToken, until_ended},
};

mod oracle;
mod people;
mod view;
mod world;

use people::People;
use view::View;
use world::World;

/// Usher in one process, on simulated systems.
#[derive(Debug, Clone, Parser)]
#[command(version)]
struct Arguments {
    /// People in the org
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Changes to make; without it people change all the time
    #[arg(long)]
    changes: Option<u64>,
    /// Everything about people and their changes follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End when every target equals the org, with one JSON line
    #[arg(long)]
    exit: bool,
    /// What the services log to standard error, for example `info,ingest_service=debug`
    #[arg(long, default_value = "error")]
    log: String,
}

/// The embedded broker keeps about 5 MB per partition; beyond this the topics of one run would lose their beginning.
const USERS_MAX: usize = 20_000;
/// Without progress for this long the run is stuck.
const STUCK: Duration = Duration::from_secs(90);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.users == 0 || arguments.users > USERS_MAX {
        complain(&format!(
            "--users must be between 1 and {USERS_MAX}: the embedded broker keeps about 5 MB per partition; for more, run the services on a real Kafka"
        ));
        return ExitCode::from(64);
    }
    let asked = CancellationToken::new();
    let ended = until_ended(asked.clone(), run(arguments, asked)).await;
    match ended.unwrap_or_else(|error| Err(format!("cannot watch for signals: {error}"))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

/// Runs until the targets equal the org or somebody has `asked` to end.
async fn run(arguments: Arguments, asked: CancellationToken) -> Result<bool, String> {
    let began = clock::monotonic();
    let world = World::start(arguments.users, arguments.seed, &arguments.log).await?;
    let mut people = People::new(world.org(), arguments.seed);
    let mut view = View::new(&world, arguments.exit);
    let wanted = if arguments.exit {
        Some(arguments.changes.unwrap_or(0))
    } else {
        arguments.changes
    };
    // As fast as the org can take it when somebody waits for the end, else at a pace that can be watched.
    let (every, at_once) = if arguments.exit {
        (Duration::from_millis(20), 20)
    } else {
        (Duration::from_millis(200), 1)
    };
    let mut change = tokio::time::interval(every);
    change.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(Duration::from_millis(500));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = (clock::monotonic(), view::Figures::default());
    let converged = loop {
        tokio::select! {
            () = asked.cancelled() => break false,
            problem = world.failed() => return Err(problem),
            _ = change.tick() => {
                for _ in 0..at_once {
                    if wanted.is_none_or(|wanted| people.made() < wanted) {
                        people.change();
                    }
                }
            }
            _ = look.tick() => {
                view.note_changes(people.drain());
                let figures = view.look(&world, &people);
                if figures.work() != last.1.work() {
                    last = (clock::monotonic(), figures.clone());
                }
                let quiet = wanted.is_some_and(|wanted| people.made() >= wanted) && figures.is_quiet();
                let equal = world.equal_targets();
                view.show(&figures, &equal);
                if quiet && equal.iter().all(|target| target.differences.is_empty()) {
                    break true;
                }
                if arguments.exit && last.0.elapsed() > STUCK {
                    view.explain(&equal);
                    break false;
                }
            }
        }
    };
    let figures = view.look(&world, &people);
    let equal = world.equal_targets();
    view.finish(&equal);
    if arguments.exit {
        let line = serde_json::json!({
            "published": figures.published, "applied": figures.applied, "converged": converged, "users": world.org().user_count(),
            "changes": people.made(), "seed": arguments.seed, "failed": figures.failed(), "seconds": began.elapsed().as_secs_f64(),
        });
        say(&line.to_string());
    }
    world.stop().await;
    Ok(converged || !arguments.exit)
}

#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
fn say(words: &str) {
    println!("{words}");
}

#[expect(clippy::print_stderr, reason = "the one place that tells why it failed")]
fn complain(words: &str) {
    eprintln!("{words}");
}
