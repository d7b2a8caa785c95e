//! What is wrong or risky in a configuration although every key has the right type.

use std::time::Duration;

use usher_runtime::address::Allowed;

use super::{AuthMethod, Config, SnapshotSource};
use crate::logic::quota::Amount;

impl Config {
    /// What is wrong although every key has the right type.
    pub(super) fn problems(&self) -> Vec<String> {
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
        let allowed = Allowed::parse(&self.salesforce.allow_addresses);
        let refused = |url: Option<&url::Url>| {
            let host = url.and_then(url::Url::host_str).unwrap_or_default();
            allowed.as_ref().ok().and_then(|allowed| allowed.literal_refusal(host))
        };
        need(
            allowed.is_ok(),
            "salesforce.allowAddresses: addresses such as 10.1.2.3 or ranges such as 10.0.0.0/8",
        );
        need(
            refused(url.as_ref().ok()).is_none(),
            "salesforce.url: a private or other special address; list it under salesforce.allowAddresses if it is meant",
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
            refused(url::Url::parse(&self.pubsub.endpoint).ok().as_ref()).is_none(),
            "pubsub.endpoint: a private or other special address; list it under salesforce.allowAddresses if it is meant",
        );
        // Every event costs a delivery of the org's allocation, also those that are passed over.
        need(
            self.pubsub.channel != "/data/ChangeEvents",
            "pubsub.channel: /data/ChangeEvents carries every object; name /data/UserChangeEvent, or a channel of your own",
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
