//! The configuration of the service. Keys, defaults and their meaning: `config.default.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use usher_contract::OrgId;
use usher_runtime::{
    admin::HttpConfig,
    config::{ConfigError, Layers, List},
    duration,
    kafka::KafkaConfig,
    secret::SecretRef,
    telemetry::LogConfig,
};

use crate::logic::{
    polls::PollKind,
    quota::{Amount, Rules},
};

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

impl Config {
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
            (Duration::from_millis(100)..Duration::from_secs(60)).contains(&self.pubsub.renew_within),
            "pubsub.renewWithin: from 100ms to below 60s; Salesforce closes a stream that is asked for nothing for 60s",
        );
        need(
            !self.population.r#where.trim().is_empty(),
            "population.where: give a SOQL condition; everyone is `Id != null`",
        );
        need(
            self.quota.every >= Duration::from_secs(1),
            "quota.every: at least 1s; each look is one API request",
        );
        need(
            (1..=100).contains(&self.quota.stretch_at_most),
            "quota.stretchAtMost: 1 to 100; 1 means that nothing is made less often before it rests",
        );
        if self.snapshot.source == SnapshotSource::Report {
            let report = &self.snapshot.report;
            need(
                report.id.is_some() || report.name.is_some(),
                "snapshot.report: give its id, or its folder and name",
            );
        }
        need(
            (1..=500).contains(&self.snapshot.report.hourly_runs),
            "snapshot.report.hourlyRuns: 1 to 500, Salesforce allows no more",
        );
        need(
            (1..=50_000).contains(&self.snapshot.bulk.page_records),
            "snapshot.bulk.pageRecords: 1 to 50000; a page is held in memory",
        );
        need(
            self.snapshot.bulk.timeout >= Duration::from_secs(1),
            "snapshot.bulk.timeout: at least 1s; jobs over many users take minutes",
        );
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
        need(self.polls.every >= Duration::from_secs(1), "polls.every: at least 1s");
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
        if let (Amount::Percent(from), Amount::Percent(reserve)) =
            (self.quota.stretch_from, self.quota.reserve.api_requests)
            && u32::from(from) + u32::from(reserve) >= 100
        {
            warnings.push(format!(
                "quota.stretchFrom {from}% lies in the reserve of {reserve}%: rechecks, polls and snapshots rest without having been made \
                 less often before"
            ));
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

    fn all(text: &str) -> Result<Deployment, ConfigError> {
        Deployment::decode(Layers::merge(DEFAULTS, Some(("usher.yaml", text)), &[], Some(&ORGS))?)
    }

    fn with(text: &str) -> Result<Config, ConfigError> {
        all(text).map(|mut all| all.orgs.remove(0).config)
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
    fn an_entry_of_orgs_is_merged_over_the_top_level() {
        let text = format!(
            "{GOOD}snapshot: {{ timeZone: Europe/Zurich }}\norgs:\n  - name: production\n  - name: sandbox\n    salesforce: {{ url: 'https://acme--t.sandbox.my.salesforce.com' }}\n    snapshot: {{ schedule: '0 4 * * *' }}\n"
        );
        let all = all(&text).unwrap();
        let seen: Vec<_> = all
            .orgs
            .iter()
            .map(|org| {
                let (salesforce, snapshot) = (&org.config.salesforce, &org.config.snapshot);
                (
                    org.label(),
                    salesforce.auth.client_id.as_str(),
                    snapshot.schedule.as_str(),
                    snapshot.time_zone.as_str(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("production".to_owned(), "x", "0 2 * * *", "Europe/Zurich"),
                ("sandbox".to_owned(), "x", "0 4 * * *", "Europe/Zurich")
            ]
        );
        assert!(all.shown().unwrap().contains("\"sandbox\": {"));
    }

    #[test]
    fn mistakes_in_an_entry_of_orgs_are_shown_where_they_stand() {
        let id = "00D000000000001EAA";
        let text = format!(
            "{GOOD}orgs:\n  - name: one\n    salesforce: {{ url: nowhere }}\n  - name: two\n    snapshot: {{ sourcee: report }}\n    http: {{}}\n"
        );
        let shown = all(&text).unwrap_err().to_string();
        for part in [
            "usher.yaml:4:19: orgs[0].salesforce.url: give the org's address",
            "usher.yaml:6:17: orgs[1].snapshot.sourcee: unknown key; did you mean `source`?\n  |     snapshot: { sourcee: report }\n  |                 ^",
            "usher.yaml:7:5: orgs[1].http: it holds for the whole process",
        ] {
            assert!(shown.contains(part), "{part}\nin\n{shown}");
        }
        let twice = format!(
            "{GOOD}orgs: [{{ name: one, salesforce: {{ orgId: {id} }} }}, {{ name: two, salesforce: {{ orgId: {id} }} }}]"
        );
        assert!(all(&twice).unwrap_err().to_string().contains("orgs[0] is the same org"));
    }

    #[test]
    fn an_address_for_nobody_is_refused_with_the_way_out() {
        let text = format!("{GOOD}http: {{ bind: '0.0.0.0:8081' }}");
        assert!(with(&text).unwrap_err().to_string().contains("USHER__HTTP__ADVERTISE"));
    }

    #[test]
    fn client_credentials_are_refused_at_the_login_host() {
        let text = "salesforce: { url: 'https://login.salesforce.com', auth: { method: clientCredentials, clientId: x, clientSecret: { env: S } } }";
        assert!(with(text).unwrap_err().to_string().contains("My Domain"));
    }
}
