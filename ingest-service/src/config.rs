//! The configuration of the service. Keys, defaults and their meaning: `config.default.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use usher_runtime::{
    admin::HttpConfig,
    config::{ConfigError, Layers, List},
    duration,
    kafka::KafkaConfig,
    telemetry::LogConfig,
};

use crate::logic::polls::PollKind;

mod check;
mod sections;

pub use sections::*;

/// The built-in defaults, which are also the manual.
pub const DEFAULTS: &str = include_str!("../config.default.yaml");

/// The list of orgs, and the sections that hold for the whole process.
const ORGS: List<'static> = List {
    key: "orgs",
    shared: &["kafka", "http", "log", "shutdownGrace"],
};

/// One deployment: what holds for the process, and each org with the whole configuration that it has.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "documented where people read it: config.default.yaml")]
pub struct Deployment {
    pub kafka: KafkaConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    pub shutdown_grace: Duration,
    /// At least one.
    pub orgs: Vec<OrgConfig>,
}

/// One org of a deployment.
#[derive(Debug, Clone)]
pub struct OrgConfig {
    /// Its name under `orgs`; `None` when the top level is the one org.
    pub name: Option<String>,
    /// Its configuration, merged.
    pub config: Config,
}

impl OrgConfig {
    /// How metrics, status and commands call it: its name, else the configured id, else `default`.
    #[must_use]
    pub fn label(&self) -> String {
        let id = || self.config.salesforce.org_id.map(|id| id.to_string());
        self.name.clone().or_else(id).unwrap_or_else(|| "default".to_owned())
    }
}

impl Deployment {
    /// Loads and validates.
    ///
    /// # Errors
    /// Every problem, ready to be shown.
    pub fn load(file: Option<&std::path::Path>, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        Self::decode(Layers::load(DEFAULTS, file, environment, Some(&ORGS))?)
    }

    fn decode(layers: Layers) -> Result<Self, ConfigError> {
        let entries = layers.decode_entries(&ORGS, Config::problems)?;
        let mut problems = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let id = entry.config.salesforce.org_id;
            let twin = entries[..index]
                .iter()
                .position(|other| id.is_some() && other.config.salesforce.org_id == id);
            if let Some(twin) = twin {
                problems.push(format!(
                    "orgs[{index}].salesforce.orgId: orgs[{twin}] is the same org; each entry needs an org of its own"
                ));
            }
        }
        // The sections of the process are the same in every entry.
        let Some(Config {
            kafka,
            http,
            log,
            shutdown_grace,
            ..
        }) = entries.first().map(|entry| entry.config.clone())
        else {
            return Err(ConfigError(vec!["orgs: give at least one".to_owned()]));
        };
        problems.extend(http.problem());
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let orgs = entries.into_iter().map(|entry| OrgConfig {
            name: entry.name,
            config: entry.config,
        });
        Ok(Self {
            kafka,
            http,
            log,
            shutdown_grace,
            orgs: orgs.collect(),
        })
    }

    /// What is in effect, for people: one configuration, or one per name.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn shown(&self) -> Result<String, serde_json::Error> {
        match self.orgs.as_slice() {
            [OrgConfig { name: None, config }] => serde_json::to_string_pretty(config),
            orgs => {
                let named: BTreeMap<String, &Config> = orgs.iter().map(|org| (org.label(), &org.config)).collect();
                serde_json::to_string_pretty(&serde_json::json!({ "orgs": named }))
            }
        }
    }

    /// What is legal but risky, in words; with several orgs each is named.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for org in &self.orgs {
            for warning in org.config.warnings() {
                // What holds for the process is said once.
                let shared = ORGS.shared.iter().any(|section| warning.starts_with(section));
                let words = match &org.name {
                    Some(name) if !shared => format!("{name}: {warning}"),
                    _ => warning,
                };
                if !warnings.contains(&words) {
                    warnings.push(words);
                }
            }
        }
        warnings
    }
}

/// The whole configuration of one org, the sections of the process included.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where people read it: config.default.yaml")]
pub struct Config {
    pub salesforce: SalesforceConfig,
    pub pubsub: PubSubConfig,
    pub population: PopulationConfig,
    pub fields: FieldsConfig,
    pub publish: PublishConfig,
    pub snapshot: SnapshotConfig,
    pub recheck: RecheckConfig,
    pub polls: PollsConfig,
    pub removals: RemovalsConfig,
    pub quota: QuotaConfig,
    pub kafka: KafkaConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    #[serde(with = "duration")]
    pub shutdown_grace: Duration,
}

impl Config {
    /// The parsed schedule.
    ///
    /// # Errors
    /// When it is no cron expression.
    pub fn schedule(&self) -> Result<croner::Cron, croner::errors::CronError> {
        self.snapshot.schedule.parse()
    }

    /// The time zone that the schedule is meant in.
    #[must_use]
    pub fn time_zone(&self) -> Option<jiff::tz::TimeZone> {
        jiff::tz::TimeZone::get(&self.snapshot.time_zone).ok()
    }

    /// The polls that are switched on and whose fields are published.
    #[must_use]
    pub fn wanted_polls(&self) -> BTreeSet<PollKind> {
        let published = |name: &str| self.publish.fields.iter().any(|field| field == name);
        let wanted = |kind: &PollKind| match kind {
            PollKind::Frozen => self.polls.frozen && published("frozen"),
            PollKind::Groups => self.polls.groups && published("groups"),
            PollKind::PermissionSets => self.polls.permission_sets && published("permissionSets"),
            PollKind::Names => self.polls.names && (published("profile") || published("role")),
        };
        PollKind::ALL.into_iter().filter(wanted).collect()
    }
}

#[cfg(test)]
mod tests;
