//! The sections of an org's configuration. Keys, defaults and their meaning: `config.default.yaml`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use usher_contract::{OrgId, UserId};
use usher_runtime::{duration, secret::SecretRef};

use crate::logic::{
    population::Population,
    quota::{Amount, Rules},
};

/// The org and how to log in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct SalesforceConfig {
    pub url: String,
    pub org_id: Option<OrgId>,
    pub api_version: String,
    pub auth: AuthConfig,
    pub ca_file: Option<PathBuf>,
    pub allow_addresses: Vec<String>,
    pub instance_hosts: Vec<String>,
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// How the integration user logs in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct AuthConfig {
    pub method: AuthMethod,
    pub client_id: String,
    pub username: String,
    pub private_key: Option<SecretRef>,
    pub audience: String,
    pub client_secret: Option<SecretRef>,
}

/// The OAuth flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthMethod {
    /// RFC 7523 assertion signed with a private key.
    JwtBearer,
    /// RFC 6749 section 4.4.
    ClientCredentials,
}

/// The event stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct PubSubConfig {
    pub endpoint: String,
    pub channel: String,
    #[serde(with = "duration")]
    pub watchdog: Duration,
    pub window: i32,
    #[serde(with = "duration")]
    pub renew_within: Duration,
}

/// Who is published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct PopulationConfig {
    pub r#where: String,
    pub exclude_profiles: Vec<String>,
    pub exclude_usernames: Vec<String>,
    pub include_integration_user: bool,
}

impl PopulationConfig {
    /// The population of an org that was logged in to as this user.
    #[must_use]
    pub fn population(&self, integration_user: Option<UserId>) -> Population {
        let population = Population::new(&self.r#where, &self.exclude_profiles, &self.exclude_usernames);
        match integration_user.filter(|_| !self.include_integration_user) {
            Some(user) => population.without(user),
            None => population,
        }
    }
}

/// Fields beyond the standard ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct FieldsConfig {
    pub custom: Vec<String>,
    pub termination_date: Option<String>,
}

/// What the messages hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct PublishConfig {
    pub fields: Vec<String>,
    pub before: bool,
    pub changed_by: bool,
}

/// The complete listing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct SnapshotConfig {
    pub source: SnapshotSource,
    pub report: ReportConfig,
    pub bulk: BulkConfig,
    pub schedule: String,
    pub time_zone: String,
}

/// Where the listing comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotSource {
    /// The population itself.
    Query,
    /// A Salesforce report.
    Report,
    /// The population, by a Bulk API 2.0 query job.
    Bulk,
}

/// Which report.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct ReportConfig {
    pub id: Option<String>,
    pub folder: String,
    pub name: Option<String>,
    pub columns: BTreeMap<String, String>,
    pub hourly_runs: usize,
    #[serde(with = "duration")]
    pub limit_wait: Duration,
}

/// The bulk job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct BulkConfig {
    pub page_records: u32,
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// The look-back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct RecheckConfig {
    #[serde(with = "duration")]
    pub every: Duration,
    #[serde(with = "duration")]
    pub grace: Duration,
    #[serde(with = "duration")]
    pub overlap: Duration,
}

/// What has no change events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct PollsConfig {
    #[serde(with = "duration")]
    pub every: Duration,
    pub groups: bool,
    pub permission_sets: bool,
    pub frozen: bool,
    pub names: bool,
}

/// The limit of removals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct RemovalsConfig {
    pub percent: u64,
    pub at_least: u64,
    pub at_most: u64,
}

/// How the org's allocations are spent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct QuotaConfig {
    #[serde(with = "duration")]
    pub every: Duration,
    pub reserve: ReserveConfig,
    pub stretch_from: Amount,
    pub stretch_at_most: u32,
    #[serde(with = "duration")]
    pub pause_at_most: Duration,
}

/// What is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct ReserveConfig {
    pub api_requests: Amount,
    pub delivered_events: Amount,
}

impl QuotaConfig {
    /// As the rules want it.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            api_reserve: self.reserve.api_requests,
            events_reserve: self.reserve.delivered_events,
            stretch_from: self.stretch_from,
            stretch_at_most: self.stretch_at_most,
        }
    }
}
