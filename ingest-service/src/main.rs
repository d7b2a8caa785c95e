//! ingest-service: arguments, configuration, telemetry, build, run, drain.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use ingest_service::{
    api::ReimportRequest,
    app::{self, App},
    check,
    config::{Config, DEFAULTS},
};
use usher_contract::UserId;
use usher_runtime::{
    config,
    shutdown::{CancellationToken, chain, until_ended},
    telemetry,
};

/// Turns Salesforce change events and report polls into normalized user-change messages on Kafka.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file; every key and its default: `print-config`
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Run,
    /// Check configuration, credentials, permissions, report and topics; writes nothing
    Check,
    /// Print the defaults, which are the manual; with --config the merged result
    PrintConfig,
    /// Ask the running service to read everyone, or one user, again
    Reimport {
        /// Only this user (15 or 18 characters)
        #[arg(long)]
        user: Option<UserId>,
        /// Accept the size of the next snapshot whatever it is
        #[arg(long)]
        accept_size: bool,
        /// Where the service answers; default http://<http.bind>
        #[arg(long)]
        url: Option<String>,
        /// File with the bearer token
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
}

/// Usage errors, as sysexits.h numbers them.
const USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
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
    let file = arguments.config.as_deref();
    if matches!(arguments.command, Command::PrintConfig) && file.is_none() {
        say(DEFAULTS);
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::load(file, &config::environment()).map_err(|error| error.to_string())?;
    match arguments.command {
        Command::PrintConfig => {
            say(&serde_json::to_string_pretty(&config).map_err(|error| error.to_string())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run => run(config).await,
        Command::Check => {
            let parts = app::parts(config, &prometheus::Registry::new()).map_err(|error| chain(&error))?;
            let findings = check::check(&parts).await;
            for finding in &findings {
                match &finding.result {
                    Ok(words) => say(&format!("ok       {}: {words}", finding.subject)),
                    Err(words) => say(&format!("PROBLEM  {}: {words}", finding.subject)),
                }
            }
            let fine = findings.iter().all(|finding| finding.result.is_ok());
            Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Reimport {
            user,
            accept_size,
            url,
            token_file,
        } => {
            let url = url.unwrap_or_else(|| format!("http://{}", config.http.bind));
            reimport(&url, token_file, &ReimportRequest { user, accept_size }).await
        }
    }
}

async fn run(config: Config) -> Result<ExitCode, String> {
    telemetry::init(&config.log)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let app = App::build(config).await.map_err(|error| chain(&error))?;
    tracing::info!(address = %app.address(), version = env!("CARGO_PKG_VERSION"), "ingest-service is up");
    let stop = CancellationToken::new();
    let ended = until_ended(stop.clone(), app.run(stop))
        .await
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    ended.map_err(|error| chain(&error))?;
    Ok(ExitCode::SUCCESS)
}

async fn reimport(url: &str, token_file: Option<PathBuf>, request: &ReimportRequest) -> Result<ExitCode, String> {
    let client = reqwest::Client::new();
    let mut call = client
        .post(format!("{}/v1/reimport", url.trim_end_matches('/')))
        .json(request);
    if let Some(path) = token_file {
        let token =
            std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        call = call.bearer_auth(token.trim());
    }
    let answer = call.send().await.map_err(|error| {
        format!(
            "no answer from {url}: {}; is the service running?",
            chain(&error.without_url())
        )
    })?;
    let fine = answer.status().is_success();
    let body: serde_json::Value = answer
        .json()
        .await
        .map_err(|_| format!("{url} does not answer like ingest-service"))?;
    let words = body["result"]
        .as_str()
        .or(body["error"].as_str())
        .unwrap_or("no explanation");
    if fine {
        say(words);
        Ok(ExitCode::SUCCESS)
    } else {
        Err(words.to_owned())
    }
}

#[expect(clippy::print_stdout, reason = "results of commands go to standard output")]
fn say(words: &str) {
    println!("{words}");
}

#[expect(clippy::print_stderr, reason = "the one place that tells why a command failed")]
fn complain(words: &str) {
    eprintln!("{words}");
}
