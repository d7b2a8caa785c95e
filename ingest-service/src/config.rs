//! The configuration of the service. Keys, defaults and their meaning: `config.default.yaml`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use usher_contract::OrgId;
use usher_runtime::{
    admin::HttpConfig, config::ConfigError, duration, kafka::KafkaConfig, secret::SecretRef, telemetry::LogConfig,
};

/// The built-in defaults, which are also the manual.
pub const DEFAULTS: &str = include_str!("../config.default.yaml");

/// The whole configuration.
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
    pub removals: RemovalsConfig,
    pub kafka: KafkaConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    #[serde(with = "duration")]
    pub shutdown_grace: Duration,
}

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
}

/// Who is published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct PopulationConfig {
    pub r#where: String,
    pub exclude_profiles: Vec<String>,
    pub exclude_usernames: Vec<String>,
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

/// The limit of removals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in config.default.yaml")]
pub struct RemovalsConfig {
    pub percent: u64,
    pub at_least: u64,
    pub at_most: u64,
}

impl Config {
    /// Loads and validates.
    ///
    /// # Errors
    /// Every problem, ready to be shown.
    pub fn load(file: Option<&std::path::Path>, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let config: Self = usher_runtime::config::load(DEFAULTS, file, environment)?;
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    /// What is wrong although every key has the right type.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        let auth = &self.salesforce.auth;
        let url = url::Url::parse(&self.salesforce.url);
        need(
            url.as_ref()
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()),
            "salesforce.url: give the org's address, for example https://acme.my.salesforce.com",
        );
        need(
            !auth.client_id.is_empty(),
            "salesforce.auth.clientId: give the consumer key of the External Client App",
        );
        match auth.method {
            AuthMethod::JwtBearer => {
                need(
                    !auth.username.is_empty(),
                    "salesforce.auth.username: give the integration user's Username",
                );
                need(
                    auth.private_key.is_some(),
                    "salesforce.auth.privateKey: give { file: … } or { env: … } of the PEM key",
                );
            }
            AuthMethod::ClientCredentials => {
                need(
                    auth.client_secret.is_some(),
                    "salesforce.auth.clientSecret: give { file: … } or { env: … } of the consumer secret",
                );
                let host = url.as_ref().ok().and_then(url::Url::host_str).unwrap_or_default();
                need(
                    !matches!(host, "login.salesforce.com" | "test.salesforce.com"),
                    "salesforce.url: client credentials are accepted at the My Domain address only, not at login or test.salesforce.com",
                );
            }
        }
        need(
            url::Url::parse(&self.pubsub.endpoint).is_ok(),
            "pubsub.endpoint: not an address",
        );
        need(
            (1..=100).contains(&self.pubsub.window),
            "pubsub.window: 1 to 100, Salesforce allows no more",
        );
        need(
            self.pubsub.watchdog >= Duration::from_secs(1),
            "pubsub.watchdog: at least 1s; Salesforce is silent for up to 270s",
        );
        need(
            !self.population.r#where.trim().is_empty(),
            "population.where: give a SOQL condition; everyone is `Id != null`",
        );
        if self.snapshot.source == SnapshotSource::Report {
            let report = &self.snapshot.report;
            need(
                report.id.is_some() || report.name.is_some(),
                "snapshot.report: give its id, or its folder and name",
            );
        }
        need(
            self.schedule().is_ok(),
            "snapshot.schedule: not a cron expression of five fields, for example \"0 2 * * *\"",
        );
        need(
            self.time_zone().is_some(),
            "snapshot.timeZone: not an IANA time zone, for example Europe/Zurich",
        );
        let published = |name: &str| self.publish.fields.iter().any(|field| field == name);
        need(
            !published("displayName") || (published("givenName") && published("familyName")),
            "publish.fields: displayName is composed of givenName and familyName; publish these too, or leave it out",
        );
        let known = crate::logic::normalize::published_names();
        for name in &self.publish.fields {
            if !known.contains(&name.as_str()) {
                let hint = usher_runtime::yaml::nearest(name, known.iter().copied());
                let hint = hint.map_or_else(String::new, |hint| format!("; did you mean `{hint}`?"));
                problems.push(format!("publish.fields: there is no field `{name}`{hint}"));
            }
        }
        problems
    }

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

    /// What is legal but risky, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.kafka.topics == usher_runtime::kafka::TopicMode::Manage && self.kafka.replication_factor < 3 {
            warnings.push(format!(
                "kafka.replicationFactor is {}: a lost broker can lose user changes and positions",
                self.kafka.replication_factor
            ));
        }
        if self.salesforce.url.starts_with("http://") {
            warnings.push("salesforce.url is not https: tokens and user data travel in the clear".to_owned());
        }
        if self.pubsub.watchdog < Duration::from_secs(270) {
            warnings
                .push("pubsub.watchdog is below 270s: a quiet but healthy stream is opened again and again".to_owned());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Config, ConfigError> {
        let config: Config = usher_runtime::config::load_text(DEFAULTS, Some(("usher.yaml", text)), &[])?;
        let problems = config.problems();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    const GOOD: &str = "salesforce: { url: 'https://acme.my.salesforce.com', auth: { clientId: x, username: u, privateKey: { file: /k } } }\n";

    #[test]
    fn the_defaults_name_every_key_and_lack_only_the_org() {
        let problems = with("").unwrap_err().0;
        assert_eq!(problems.len(), 4, "{problems:#?}");
        assert!(with(GOOD).is_ok(), "{:?}", with(GOOD));
    }

    #[test]
    fn all_mistakes_are_named_with_the_way_out() {
        let text = format!(
            "{GOOD}publish: {{ fields: [emial] }}\nsnapshot: {{ schedule: nightly, timeZone: Mars/Base, source: report }}\n"
        );
        let shown = with(&text).unwrap_err().to_string();
        for part in [
            "did you mean `email`?",
            "snapshot.schedule",
            "snapshot.timeZone",
            "snapshot.report",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn a_typo_is_shown_with_file_line_caret_and_nearest_name() {
        let shown = with("salesforce:\n  urll: x\n").unwrap_err().to_string();
        assert!(
            shown.starts_with(
                "usher.yaml:2:3: salesforce.urll: unknown key; did you mean `url`?\n  |   urll: x\n  |   ^"
            ),
            "{shown}"
        );
    }

    #[test]
    fn client_credentials_are_refused_at_the_login_host() {
        let text = "salesforce: { url: 'https://login.salesforce.com', auth: { method: clientCredentials, clientId: x, clientSecret: { env: S } } }";
        assert!(with(text).unwrap_err().to_string().contains("My Domain"));
    }
}
