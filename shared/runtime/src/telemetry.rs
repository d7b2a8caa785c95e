//! Logs: one line per event, JSON or text, filtered by target and level.

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How logs are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogConfig {
    /// `json` for machines, `text` for people.
    pub format: LogFormat,
    /// Directives such as `info` or `info,ingest_service=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text.
    Text,
}

/// Starts logging to standard error, which keeps standard output for results. The first call in a process counts.
///
/// # Errors
/// The text says which directive of the filter is wrong.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| format!("log.filter: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    // A second service in the same process (the sandbox) finds logging started already.
    let _ = match config.format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
    };
    Ok(())
}
