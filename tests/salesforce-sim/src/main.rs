//! `salesforce-sim`: one simulated org on the command line.
//!
//! Prints one JSON line when it serves and ends on SIGTERM or SIGINT. Faults are for the library: the binary behaves.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use salesforce_sim::{Sim, SimConfig, TlsConfig, generate_jwt_key_pair};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Salesforce org: OAuth, REST, reports and the Pub/Sub API.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of REST and OAuth; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Address of the Pub/Sub API.
    #[arg(long, default_value = "127.0.0.1:0")]
    grpc: SocketAddr,
    /// Number of people.
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Everything about people and ids follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Serve TLS on both listeners and write the certificate authority (PEM) to this file.
    #[arg(long)]
    tls_ca_out: Option<PathBuf>,
    /// Interval of empty answers on idle streams, in milliseconds.
    #[arg(long, default_value_t = 270_000)]
    keepalive_ms: u64,
    /// Public key (PEM) to check JWT bearer assertions with.
    #[arg(long, conflicts_with = "jwt_private_key_out")]
    jwt_public_key: Option<PathBuf>,
    /// Generate a key pair for JWT bearer assertions and write the private key (PEM) to this file.
    #[arg(long)]
    jwt_private_key_out: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let usage = error.use_stderr();
        // Help and version go to standard output and are no error.
        let _ = error.print();
        std::process::exit(if usage { 64 } else { 0 })
    });
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a command-line program")]
fn complain(error: &dyn std::error::Error) {
    eprint!("salesforce-sim: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprint!(": {inner}");
        cause = inner.source();
    }
    eprintln!();
}

#[expect(clippy::print_stdout, reason = "the one line that tells where the simulator serves")]
async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = SimConfig {
        http: arguments.http,
        grpc: arguments.grpc,
        users: arguments.users,
        seed: arguments.seed,
        tls: arguments.tls_ca_out.map(|path| TlsConfig { ca_out: Some(path) }),
        keepalive: Duration::from_millis(arguments.keepalive_ms),
        ..SimConfig::default()
    };
    if let Some(path) = &arguments.jwt_public_key {
        config.jwt_public_key_pem = Some(std::fs::read_to_string(path)?);
    }
    if let Some(path) = &arguments.jwt_private_key_out {
        let pair = generate_jwt_key_pair();
        std::fs::write(path, &pair.private_pem)?;
        config.jwt_public_key_pem = Some(pair.public_pem);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sim = Sim::start(config).await?;
    let line = json!({
        "http": sim.http_url(),
        "grpc": sim.grpc_url(),
        "orgId": sim.org_id(),
        "clientId": sim.client_id(),
        "clientSecret": sim.client_secret(),
        "username": sim.integration_username(),
        "accessToken": sim.access_token(),
        "refreshToken": sim.issue_refresh_token(),
        "jwtPrivateKey": arguments.jwt_private_key_out,
    });
    println!("{line}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sim.shutdown().await;
    Ok(())
}
