//! Every metric of the service, in base units, with labels from closed sets. All are per org: the label `org` is its
//! name in the configuration, see [`crate::config::OrgConfig::label`].

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The metrics. Cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the help texts below say what each is")]
pub struct Metrics {
    pub leader: IntGauge,
    pub stream_connected: IntGauge,
    pub events: IntCounter,
    pub undecodable: IntCounter,
    pub foreign: IntCounter,
    pub ignored: IntCounter,
    pub messages: IntCounter,
    pub healed: IntCounter,
    pub commits: IntCounter,
    pub commit_failures: IntCounter,
    pub published_users: IntGauge,
    pub owed: IntGauge,
    pub backlog: IntGauge,
    pub malformed: IntGauge,
    pub held: IntGauge,
    pub held_seconds: IntGauge,
    pub suppressed: IntGauge,
    pub healing_in_a_row: IntGauge,
    pub api_requests_used: IntGauge,
    pub api_requests_max: IntGauge,
    pub delivered_events_used: IntGauge,
    pub delivered_events_max: IntGauge,
    pub commit_seconds: Histogram,
    pub freshness_seconds: Histogram,
    pub last_snapshot_timestamp_seconds: IntGauge,
    pub poll_last_success: IntGaugeVec,
    pub poll_failures: IntCounterVec,
}

impl Metrics {
    /// Registers all of them for one org.
    ///
    /// # Errors
    /// When one of them is there already.
    pub fn register(registry: &Registry, org: &str) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(Opts::new(name, help).const_label("org", org))?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(Opts::new(name, help).const_label("org", org))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).const_label("org", org);
            let histogram = Histogram::with_opts(options.buckets(buckets.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        // The label is the name of the poll: one of four.
        let poll_last_success = IntGaugeVec::new(
            Opts::new(
                "ingest_poll_last_success_timestamp_seconds",
                "When the last poll that was believed was asked for, by the source's clock",
            )
            .const_label("org", org),
            &["poll"],
        )?;
        registry.register(Box::new(poll_last_success.clone()))?;
        let poll_failures = IntCounterVec::new(
            Opts::new("ingest_poll_failures_total", "Polls that failed or were not believed").const_label("org", org),
            &["poll"],
        )?;
        registry.register(Box::new(poll_failures.clone()))?;
        Ok(Self {
            leader: gauge("ingest_leader", "1 while this replica writes")?,
            stream_connected: gauge("ingest_stream_connected", "1 while the subscription is open")?,
            events: counter("ingest_events_total", "Change events received")?,
            undecodable: counter(
                "ingest_undecodable_events_total",
                "Change events that could not be decoded",
            )?,
            foreign: counter(
                "ingest_foreign_events_total",
                "Change events about records of other objects, passed over",
            )?,
            ignored: counter(
                "ingest_ignored_users_total",
                "Users asked about who are outside the population",
            )?,
            messages: counter("ingest_messages_total", "User changes staged for the topic")?,
            healed: counter(
                "ingest_recheck_healed_total",
                "Differences that a recheck found and the stream had not delivered",
            )?,
            commits: counter("ingest_commits_total", "Transactions committed")?,
            commit_failures: counter("ingest_commit_failures_total", "Transactions that failed")?,
            published_users: gauge("ingest_published_users", "People on the topic, removed ones included")?,
            owed: gauge("ingest_owed_reads", "Re-reads that must still be done")?,
            backlog: gauge("ingest_backlog_records", "Records staged and not yet committed")?,
            malformed: gauge(
                "ingest_malformed_records",
                "Records of our own topics that could not be read",
            )?,
            held: gauge(
                "ingest_held_people",
                "Removals and deactivations of snapshots that are kept back until an operator releases them",
            )?,
            held_seconds: gauge("ingest_held_seconds", "How long the oldest held set has been waiting")?,
            suppressed: gauge(
                "ingest_suppressed_people",
                "People who were erased and must not come back",
            )?,
            healing_in_a_row: gauge(
                "ingest_recheck_healing_in_a_row",
                "Routine rechecks in a row that found what the stream had not delivered; alarm at 3",
            )?,
            api_requests_used: gauge(
                "ingest_api_requests_used",
                "API requests of the last 24 hours, by all clients of the org",
            )?,
            api_requests_max: gauge(
                "ingest_api_requests_max",
                "API requests that the org may make in 24 hours",
            )?,
            delivered_events_used: gauge(
                "ingest_delivered_events_used",
                "Events delivered in the last 24 hours, to all subscribers of the org",
            )?,
            delivered_events_max: gauge(
                "ingest_delivered_events_max",
                "Events that the org may have delivered in 24 hours",
            )?,
            commit_seconds: histogram(
                "ingest_commit_seconds",
                "Duration of a transaction",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0],
            )?,
            freshness_seconds: histogram(
                "ingest_freshness_seconds",
                "From the commit at the source to the commit of the message",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0],
            )?,
            last_snapshot_timestamp_seconds: gauge(
                "ingest_last_snapshot_timestamp_seconds",
                "When the last complete snapshot began",
            )?,
            poll_last_success,
            poll_failures,
        })
    }
}
