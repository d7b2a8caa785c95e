//! The service's own configuration. `config.default.yaml` is its manual; who gets what is in the policy folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use usher_runtime::{
    admin::HttpConfig,
    config::{ConfigError, environment, load},
    kafka::{KafkaConfig, TopicMode},
    telemetry::LogConfig,
    tls::TlsConfig,
    yaml::{Document, Problem},
};

use crate::notifier::{MailConfig, MailTls, WebhookConfig};

/// The defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../config.default.yaml");

/// Everything that the service is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker.
    pub kafka: KafkaConfig,
    /// Where the rules are.
    pub policy: PolicyConfig,
    /// Where it listens.
    pub http: HttpConfig,
    /// Who it is.
    pub instance: InstanceConfig,
    /// How commands of operators are passed on.
    pub commands: CommandsConfig,
    /// The mail server that notices go through; without it none is sent.
    pub mail: Option<MailConfig>,
    /// Endpoints that may be told, by the name that policies use.
    pub webhooks: BTreeMap<String, WebhookConfig>,
    /// When to call for somebody.
    pub alarms: AlarmsConfig,
    /// How it ends.
    pub shutdown: ShutdownConfig,
    /// What it logs.
    pub log: LogConfig,
}

/// Where the rules are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// One file per target.
    pub folder: PathBuf,
}

/// Who this process is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceConfig {
    /// As the owner of targets, for people; empty for the HTTP address.
    pub name: String,
}

/// How commands of operators are passed on to the owner of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandsConfig {
    /// How long a caller is kept waiting for the result.
    #[serde(with = "usher_runtime::duration")]
    pub wait: Duration,
    /// A command that nobody could take is not carried out later than this.
    #[serde(with = "usher_runtime::duration")]
    pub expire: Duration,
}

/// When the status and the metrics call for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmsConfig {
    /// Something waits for an operator for longer than this.
    #[serde(with = "usher_runtime::duration")]
    pub held: Duration,
    /// Somebody who has left still has an account that is on.
    #[serde(with = "usher_runtime::duration")]
    pub leavers: Duration,
    /// A credential that somebody has to renew ends within this.
    #[serde(with = "usher_runtime::duration")]
    pub credentials: Duration,
}

impl AlarmsConfig {
    /// A leaver who is in for longer than a day is always an alarm.
    pub const LEAVERS_MAX: Duration = Duration::from_secs(24 * 3600);
}

/// How the service ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShutdownConfig {
    /// Seconds to finish and hand back.
    pub grace_seconds: u64,
}

impl ShutdownConfig {
    /// As a duration.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}

impl Config {
    /// Loads defaults, file and environment; `policy` comes from the command line.
    ///
    /// # Errors
    /// Every problem.
    pub fn load(file: Option<&Path>, policy: Option<&Path>) -> Result<Self, ConfigError> {
        let mut config: Self = load(DEFAULTS, file, &environment())?;
        if let Some(folder) = policy {
            config.policy.folder = folder.to_owned();
        }
        let problems = config.validate();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(placed(problems, file)))
        }
    }

    /// The policy folder that is meant, as far as that can be told when the rest of the configuration is wrong.
    #[must_use]
    pub fn folder_meant(file: Option<&Path>, policy: Option<&Path>) -> Option<PathBuf> {
        if let Some(folder) = policy {
            return Some(folder.to_owned());
        }
        let written = document(file?)?.value();
        written.pointer("/policy/folder")?.as_str().map(PathBuf::from)
    }

    /// Everything that is wrong although each value fits by itself.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.kafka.bootstrap_servers.trim().is_empty() {
            problems.push("kafka.bootstrapServers is empty; name at least one broker as host:port".to_owned());
        }
        if self.kafka.replication_factor < 1 {
            problems.push("kafka.replicationFactor must be at least 1".to_owned());
        }
        if self.shutdown.grace_seconds == 0 {
            problems.push("shutdown.graceSeconds must be at least 1: nothing could be handed back".to_owned());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(30)).contains(&self.commands.wait) {
            problems.push("commands.wait must be between 1s and 30s".to_owned());
        }
        if self.commands.expire < self.commands.wait {
            problems.push("commands.expire must not be shorter than commands.wait".to_owned());
        }
        if self.alarms.held.is_zero() || self.alarms.leavers.is_zero() {
            problems.push("alarms.held and alarms.leavers must be longer than nothing".to_owned());
        }
        if self.alarms.leavers > AlarmsConfig::LEAVERS_MAX {
            problems.push("alarms.leavers must be at most 24h: somebody who has left must not go unnoticed".to_owned());
        }
        problems.extend(self.mail.iter().flat_map(MailConfig::problems));
        problems.extend(self.webhooks.iter().flat_map(|(name, webhook)| webhook.problems(name)));
        problems.extend(self.http.tls.as_ref().and_then(TlsConfig::problem));
        problems
    }

    /// What is legal and risky.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(self.http.problem());
        if self.http.tls.is_none() && self.http.tokens_file.is_none() {
            warnings.push(
                "neither http.tokensFile nor http.tls is set: /v1 can be read from this machine only and nothing can be \
                 changed"
                    .to_owned(),
            );
        }
        if self.mail.as_ref().is_some_and(|mail| mail.tls == MailTls::None) {
            warnings.push("mail.tls is none: mails and the password travel in the clear".to_owned());
        }
        if self.kafka.topics == TopicMode::Manage && self.kafka.replication_factor < 3 {
            warnings.push(
                "kafka.replicationFactor below 3: losing one broker may lose what is known about accounts".to_owned(),
            );
        }
        warnings
    }
}

fn document(file: &Path) -> Option<Document> {
    let text = std::fs::read_to_string(file).ok()?;
    Document::parse(&file.display().to_string(), &text).ok()
}

/// Problems that begin with their key, with the line of the file that has it and a caret.
fn placed(problems: Vec<String>, file: Option<&Path>) -> Vec<String> {
    let Some(document) = file.and_then(document) else {
        return problems;
    };
    let shown = |problem: String| {
        let end = problem.find([' ', ':']).unwrap_or(problem.len());
        let (key, words) = problem.split_at(end);
        // Of a list: `webhooks.hr.url` stands below `webhooks`.
        let steps: Vec<&str> = key.split('.').collect();
        let place = (1..=steps.len())
            .rev()
            .find_map(|length| document.place_at(&steps[..length]));
        match place {
            Some(place) => document.show(&Problem {
                place: Some(place),
                path: key.to_owned(),
                message: words.trim_start_matches([':', ' ']).to_owned(),
            }),
            None => problem,
        }
    };
    problems.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use usher_runtime::config::load_text;

    use super::*;

    #[test]
    fn the_defaults_are_complete_and_valid() {
        let config: Config = load_text(DEFAULTS, None, &[]).unwrap();
        assert!(config.validate().is_empty());
        let wrong = "alarms: { leavers: 25h, held: 0s }\ncommands: { wait: 31s, expire: 5s }\n";
        let config: Config = load_text(DEFAULTS, Some(("f", wrong)), &[]).unwrap();
        assert_eq!(config.validate().len(), 4, "{:?}", config.validate());
        let config: Config = load_text(DEFAULTS, None, &[]).unwrap();
        // Every field is in the file and every key of the file is a field.
        let written = Document::parse("defaults", DEFAULTS).unwrap().value();
        assert_eq!(keys(&serde_json::to_value(&config).unwrap()), keys(&written));
    }

    fn keys(value: &Value) -> Vec<String> {
        let Value::Object(map) = value else {
            return vec![];
        };
        let mut all: Vec<String> = map
            .iter()
            .flat_map(|(key, below)| {
                let below = keys(below).into_iter().map(move |inner| format!("{key}.{inner}"));
                below.chain([key.clone()]).collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all
    }
}
