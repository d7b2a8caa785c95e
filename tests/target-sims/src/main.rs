//! The simulated SCIM application as a program, to try a client by hand: prints one JSON line when it serves.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use target_sims::{ScimSim, ScimSimConfig};

#[derive(Debug, Parser)]
#[command(about = "A simulated SCIM 2.0 application")]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// The token that requests must carry; without it every request is accepted.
    #[arg(long)]
    bearer_token: Option<String>,
    /// A file with one user per line (JSON) to start with.
    #[arg(long)]
    users: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sim = ScimSim::start(ScimSimConfig {
        address: arguments.address,
        bearer_token: arguments.bearer_token,
        ..ScimSimConfig::default()
    })
    .await;
    if let Some(path) = arguments.users {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return usage_error(&format!("cannot read {}: {error}", path.display())),
        };
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(user) => {
                    sim.seed_user(user);
                }
                Err(error) => {
                    let place = format!("{} line {}", path.display(), number + 1);
                    return usage_error(&format!("{place}: {error}"));
                }
            }
        }
    }
    let ready = json!({"base_url": sim.base_url(), "users": sim.user_count()});
    // The one line that callers wait for; a closed pipe means that nobody does.
    let _ = writeln!(std::io::stdout(), "{ready}");
    let _ = tokio::signal::ctrl_c().await;
    sim.stop().await;
    ExitCode::SUCCESS
}

/// 64 is EX_USAGE of sysexits.h.
fn usage_error(problem: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{problem}");
    ExitCode::from(64)
}
