//! The org's allocations as the REST API tells them: the header of every answer, and the `limits` resource.
//!
//! Leaves out what follows from them: `logic::quota`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tracing::warn;
use usher_runtime::clock;

use super::{error::ApiError, rest::Rest};
use crate::{
    config::QuotaConfig,
    logic::{
        place,
        quota::{self, Means, Permit, Picture, Purpose, Rules, Usage},
    },
    metrics::Metrics,
};

/// The shared picture and the rules. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quota {
    rules: Rules,
    every: Duration,
    picture: Arc<Mutex<Picture>>,
}

/// The picture as people see it.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// API requests of the last 24 hours.
    pub api_requests: Option<UsageStatus>,
    /// Events delivered in the last 24 hours, over all subscribers.
    pub delivered_events: Option<UsageStatus>,
    /// Report runs of the last hour.
    pub report_runs: Option<UsageStatus>,
    /// Bulk query jobs of the last 24 hours.
    pub bulk_jobs: Option<UsageStatus>,
    /// Why only the API requests are known.
    pub limits_refused: Option<String>,
    /// What is made less often or rests, in words.
    pub slowed: Vec<String>,
}

/// An allocation as people see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are the published field names")]
pub struct UsageStatus {
    pub used: u64,
    pub max: u64,
    pub left: u64,
    /// What is kept for the stream; 0 where there is no reserve.
    pub reserve: u64,
    pub as_of: Timestamp,
}

impl Quota {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(config: &QuotaConfig) -> Self {
        Self {
            rules: config.rules(),
            every: config.every,
            picture: Arc::default(),
        }
    }

    fn picture(&self) -> MutexGuard<'_, Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something may be read now.
    #[must_use]
    pub fn allows(&self, purpose: Purpose, means: Means) -> Permit {
        quota::allows(&self.picture(), &self.rules, purpose, means, clock::now())
    }

    /// What is wrong with the allocations, in words for an operator.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        quota::problems(&self.picture(), &self.rules, clock::now())
    }

    /// For `/v1/status`; sets the metrics as well.
    #[must_use]
    pub fn report(&self, metrics: &Metrics) -> QuotaStatus {
        let picture = self.picture().clone();
        let gauges = [
            (picture.api, &metrics.api_requests_used, &metrics.api_requests_max),
            (
                picture.delivered,
                &metrics.delivered_events_used,
                &metrics.delivered_events_max,
            ),
        ];
        for (usage, used, max) in gauges {
            let Some(usage) = usage else { continue };
            used.set(i64::try_from(usage.used).unwrap_or(i64::MAX));
            max.set(i64::try_from(usage.max).unwrap_or(i64::MAX));
        }
        let show = |usage: Option<Usage>, reserve: Option<quota::Amount>| {
            usage.map(|usage| UsageStatus {
                used: usage.used,
                max: usage.max,
                left: usage.left(),
                reserve: reserve.map_or(0, |reserve| reserve.of(usage.max)),
                as_of: usage.as_of,
            })
        };
        QuotaStatus {
            api_requests: show(picture.api, Some(self.rules.api_reserve)),
            delivered_events: show(picture.delivered, Some(self.rules.events_reserve)),
            report_runs: show(picture.report_runs, None),
            bulk_jobs: show(picture.bulk_jobs, None),
            slowed: quota::slowed(&picture, &self.rules, clock::now()),
            limits_refused: picture.limits_refused,
        }
    }

    /// Takes the header that comes with every answer, refusals included.
    pub(super) fn note_header(&self, headers: &HeaderMap) {
        let header = headers.get("sforce-limit-info").and_then(|value| value.to_str().ok());
        if let Some((used, max)) = header.and_then(quota::api_usage_of_header) {
            self.picture().api = Some(usage(used, max));
        }
    }

    /// A call was refused because everything is spent; the header may be missing then.
    pub(super) fn note_spent(&self) {
        if let Some(api) = &mut self.picture().api {
            *api = usage(api.used.max(api.max), api.max);
        }
    }

    fn note_limits(&self, body: &Value) {
        let entry = |name: &str| {
            let (max, left) = (body[name]["Max"].as_u64()?, body[name]["Remaining"].as_i64()?);
            // What is left can be below zero: the limit is a soft one for a while.
            Some(usage(max.saturating_sub(u64::try_from(left).unwrap_or(0)), max))
        };
        let mut picture = self.picture();
        // The header of this very answer is newer: figures here lag by minutes.
        picture.api = picture.api.or_else(|| entry("DailyApiRequests"));
        picture.delivered = entry("DailyDeliveredPlatformEvents");
        picture.report_runs = entry("HourlySyncReportRuns");
        picture.bulk_jobs = entry("DailyBulkV2QueryJobs");
        picture.limits_refused = None;
    }

    /// Looks at the limits once. Whether they may be looked at is a matter of the integration user's permissions.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn look(&self, rest: &Rest) -> Result<(), ApiError> {
        match rest.get("looking at the limits", &rest.path("limits"), &[]).await {
            Ok(answer) => {
                self.note_limits(&answer.body);
                Ok(())
            }
            Err(error) => {
                if let Some(code) = error.operator_code() {
                    let words = format!(
                        "delivered events, report runs and bulk jobs are not known, because the limits may not be looked at ({code}); grant \
                         {}",
                        place::VIEW_SETUP
                    );
                    self.picture().limits_refused = Some(words);
                }
                Err(error)
            }
        }
    }

    /// Looks again and again, for as long as it is polled. It is one call each time, and the only poll that goes on in the
    /// reserve, because nothing else would notice that something has freed; there it is made as seldom as the rules allow.
    pub(crate) async fn watch(self, rest: Rest) -> std::convert::Infallible {
        let mut said = false;
        loop {
            let refused = self.look(&rest).await.err();
            if let Some(error) = &refused
                && !std::mem::replace(&mut said, true)
            {
                warn!(reason = %error, "the org's limits cannot be looked at");
            }
            said &= refused.is_some();
            let times = match self.allows(Purpose::Poll, Means::Requests) {
                Permit::Go | Permit::Warn(_) => 1,
                Permit::Stretch(factor, _) => factor,
                Permit::Wait(_) => self.rules.stretch_at_most.max(1),
            };
            tokio::time::sleep(self.every.saturating_mul(times)).await;
        }
    }
}

fn usage(used: u64, max: u64) -> Usage {
    Usage {
        used,
        max,
        as_of: clock::now(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logic::quota::Amount;

    fn quota() -> Quota {
        let config = crate::config::QuotaConfig {
            every: Duration::from_secs(300),
            reserve: crate::config::ReserveConfig {
                api_requests: Amount::Percent(10),
                delivered_events: Amount::Percent(10),
            },
            stretch_from: Amount::Percent(50),
            stretch_at_most: 8,
            pause_at_most: Duration::from_secs(600),
        };
        Quota::new(&config)
    }

    fn header(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static("sforce-limit-info"),
            text.parse().unwrap(),
        )])
    }

    #[test]
    fn header_and_limits_make_one_picture() {
        let quota = quota();
        assert_eq!(quota.allows(Purpose::Poll, Means::Report), Permit::Go);
        quota.note_header(&header("api-usage=95/100"));
        quota.note_limits(&json!({"DailyApiRequests": {"Max": 100, "Remaining": 90}, "DailyDeliveredPlatformEvents": {"Max": 50, "Remaining": -2},
            "HourlySyncReportRuns": {"Max": 500}, "Other": 3}));
        let registry = prometheus::Registry::new();
        let metrics = Metrics::register(&registry, "default").unwrap();
        let status = quota.report(&metrics);
        let (api, events) = (status.api_requests.unwrap(), status.delivered_events.unwrap());
        assert_eq!(
            (api.used, api.left, api.reserve),
            (95, 5, 10),
            "the header is newer than the limits"
        );
        assert_eq!((events.used, events.left), (50, 0));
        assert!(status.report_runs.is_none() && status.bulk_jobs.is_none());
        assert_eq!(
            (metrics.api_requests_used.get(), metrics.delivered_events_max.get()),
            (95, 50)
        );
        assert!(matches!(quota.allows(Purpose::Poll, Means::Requests), Permit::Wait(_)));
        assert_eq!(quota.problems().len(), 2);
    }

    #[test]
    fn a_refusal_means_that_everything_is_spent() {
        let quota = quota();
        quota.note_header(&header("api-usage=10/100"));
        quota.note_spent();
        assert!(matches!(
            quota.allows(Purpose::Recheck, Means::Requests),
            Permit::Wait(_)
        ));
        assert_eq!(quota.allows(Purpose::Stream, Means::Requests), Permit::Go);
    }
}
