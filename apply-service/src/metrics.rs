//! Every metric of the service. Labels are target names and closed words, never people or error texts.

use std::collections::BTreeMap;

use prometheus::{
    Error, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Metric as _,
};
use serde::Serialize;
use usher_contract::{Outcome, OutcomeResult};

use crate::{connector::http::CredentialStatus, logic::lane::LaneStatus};

/// How old changes were when their write was confirmed and recorded, since this process began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Freshness {
    /// Writes of changes of which the source has said when it had committed them.
    pub writes: u64,
    /// How many of them within so many seconds.
    pub within: BTreeMap<String, u64>,
}

/// The metrics, registered once.
#[derive(Debug)]
pub struct Metrics {
    /// People in the table.
    pub users_known: IntGauge,
    /// Records passed over.
    pub users_malformed: IntCounter,
    outcomes: IntCounterVec,
    writes: IntCounterVec,
    requests: IntCounterVec,
    operation_seconds: HistogramVec,
    commit_seconds: HistogramVec,
    commit_failures: IntCounterVec,
    freshness_seconds: HistogramVec,
    mode: IntGaugeVec,
    owned: IntGaugeVec,
    pending: IntGaugeVec,
    oldest_pending_seconds: IntGaugeVec,
    in_flight: IntGaugeVec,
    retrying: IntGaugeVec,
    rejected: IntGaugeVec,
    undecided: IntGaugeVec,
    /// Whether the policy folder has changed and is refused.
    pub(crate) policy_refused: IntGauge,
    skipped: IntGaugeVec,
    kept: IntGaugeVec,
    behind: IntGaugeVec,
    orphans: IntGaugeVec,
    unreadable: IntGaugeVec,
    links: IntGaugeVec,
    circuit_open: IntGaugeVec,
    notices_owed: IntGaugeVec,
    notices_oldest_seconds: IntGaugeVec,
    notices_failed: IntGaugeVec,
    held: IntGaugeVec,
    held_oldest_seconds: IntGaugeVec,
    leavers_overdue: IntGaugeVec,
    paused: IntGaugeVec,
    day_used: IntGaugeVec,
    day_left: IntGaugeVec,
    rate: GaugeVec,
    last_success: GaugeVec,
    restored: IntGaugeVec,
    commands_malformed: IntCounter,
    credential_ends: IntGaugeVec,
    token_renewals: IntCounterVec,
}

const FAST: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0,
];
const SLOW: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0,
];

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let gauges = |name: &str, help: &str| {
            let metric = IntGaugeVec::new(Opts::new(name, help), &["target"])?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let histograms = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let malformed = IntCounter::new(
            "apply_user_records_malformed_total",
            "Records of the user topic that were passed over",
        )?;
        registry.register(Box::new(malformed.clone()))?;
        let commands_malformed = IntCounter::new(
            "apply_command_records_malformed_total",
            "Records of the command topic that were passed over",
        )?;
        registry.register(Box::new(commands_malformed.clone()))?;
        let fractions = |name: &str, help: &str| {
            let metric = GaugeVec::new(Opts::new(name, help), &["target"])?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let credential_ends = IntGaugeVec::new(
            Opts::new(
                "apply_credential_ends_timestamp_seconds",
                "When a token, certificate or secret of a target ends, as far as it is known",
            ),
            &["target", "what"],
        )?;
        registry.register(Box::new(credential_ends.clone()))?;
        let mode = IntGaugeVec::new(
            Opts::new(
                "apply_target_mode",
                "1 for the mode of the target: off, observe, link or enforce",
            ),
            &["target", "mode"],
        )?;
        registry.register(Box::new(mode.clone()))?;
        Ok(Self {
            users_known: gauge("apply_users", "People in the table")?,
            policy_refused: gauge(
                "apply_policy_refused",
                "Whether the policy folder has changed and is refused",
            )?,
            users_malformed: malformed,
            outcomes: counters(
                "apply_outcomes_total",
                "Recorded results",
                &["target", "action", "result"],
            )?,
            writes: counters(
                "apply_writes_total",
                "Actions done at the target",
                &["target", "action"],
            )?,
            requests: counters("apply_requests_total", "Requests sent", &["target", "kind"])?,
            operation_seconds: histograms(
                "apply_operation_seconds",
                "Duration of operations at the target",
                &["target"],
                FAST,
            )?,
            commit_seconds: histograms("apply_commit_seconds", "Duration of commits", &["target"], FAST)?,
            commit_failures: counters(
                "apply_commit_failures_total",
                "Commits that failed",
                &["target", "kind"],
            )?,
            freshness_seconds: histograms(
                "apply_freshness_seconds",
                "From the commit at the source to the confirmed and recorded write",
                &["target"],
                SLOW,
            )?,
            mode,
            owned: gauges("apply_target_owned", "Whether this process runs the target")?,
            pending: gauges("apply_pending", "People with something outstanding")?,
            oldest_pending_seconds: gauges("apply_oldest_pending_seconds", "Age of the oldest outstanding change")?,
            in_flight: gauges("apply_in_flight", "Operations under way")?,
            retrying: gauges("apply_retrying", "People who wait for their next try")?,
            rejected: gauges("apply_rejected", "People whom the target refuses")?,
            undecided: gauges(
                "apply_undecided",
                "People about whom something is unknown that would decide",
            )?,
            skipped: gauges("apply_skipped", "People left alone on purpose")?,
            kept: gauges("apply_kept", "Accounts that are on only because the policy keeps them")?,
            behind: gauges(
                "apply_behind",
                "People whose newest state has been older than what was acted on for some minutes",
            )?,
            orphans: gauges(
                "apply_orphans",
                "Accounts not known to be off, of people of whom there is no state",
            )?,
            unreadable: gauges("apply_unreadable", "People whose link cannot be read")?,
            links: gauges("apply_links", "People with an account")?,
            notices_owed: gauges(
                "apply_notices_owed",
                "Notices that are to be sent: mails, webhooks, invitations",
            )?,
            notices_oldest_seconds: gauges("apply_notices_oldest_seconds", "For how long the oldest notice is owed")?,
            notices_failed: gauges("apply_notices_failed", "Notices that were refused or given up")?,
            circuit_open: gauges("apply_circuit_open", "Whether the target as a whole does not work")?,
            held: gauges("apply_held", "People whom the guard keeps back")?,
            held_oldest_seconds: gauges(
                "apply_held_oldest_seconds",
                "For how long the oldest held set, or the first sync, waits for an operator",
            )?,
            leavers_overdue: gauges(
                "apply_leavers_overdue",
                "People who left longer ago than the bound and whose account is still on",
            )?,
            paused: gauges("apply_paused", "Whether an operator has stopped the target")?,
            day_used: gauges(
                "apply_day_requests_used",
                "Requests of this day (UTC), where the day is limited",
            )?,
            day_left: gauges(
                "apply_day_requests_left",
                "Requests left of this day (UTC), where it is limited",
            )?,
            rate: fractions(
                "apply_rate_per_second",
                "Operations that may start per second at present",
            )?,
            last_success: fractions(
                "apply_last_success_timestamp_seconds",
                "When an operation last succeeded; 0 for not yet",
            )?,
            restored: gauges(
                "apply_restored_records",
                "Records read by the take-over that is under way, or by the last one",
            )?,
            commands_malformed,
            credential_ends,
            token_renewals: counters(
                "apply_token_renewals_total",
                "Access tokens that were asked for",
                &["target", "result"],
            )?,
        })
    }

    /// How it stands with the credentials of a target.
    pub fn credential(&self, target: &str, status: &CredentialStatus) {
        for (what, at) in &status.ends {
            self.credential_ends
                .with_label_values(&[target, what.as_str()])
                .set(at.as_second());
        }
        if status.renewals + status.failures > 0 {
            for (result, total) in [("done", status.renewals), ("failed", status.failures)] {
                let counter = self.token_renewals.with_label_values(&[target, result]);
                counter.inc_by(total.saturating_sub(counter.get()));
            }
        }
    }

    /// An operation has ended.
    pub fn operation(&self, target: &str, seconds: f64, requests: u32, writes: u32) {
        self.operation_seconds.with_label_values(&[target]).observe(seconds);
        self.requests
            .with_label_values(&[target, "write"])
            .inc_by(writes.into());
        self.requests
            .with_label_values(&[target, "read"])
            .inc_by(requests.saturating_sub(writes).into());
    }
    /// A commit has succeeded.
    pub fn committed(&self, target: &str, seconds: f64) {
        self.commit_seconds.with_label_values(&[target]).observe(seconds);
    }
    /// A commit has failed: `aborted`, `fenced`, `unknown`.
    pub fn commit_failed(&self, target: &str, kind: &str) {
        self.commit_failures.with_label_values(&[target, kind]).inc();
    }

    /// A record on the topic of commands is no command.
    pub fn command_malformed(&self) {
        self.commands_malformed.inc();
    }
    /// How far the reading back of a target is.
    pub fn restored(&self, target: &str, records: u64) {
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        self.restored.with_label_values(&[target]).set(records);
    }
    /// People who left and are not out.
    pub fn overdue(&self, target: &str, leavers: usize) {
        let leavers = i64::try_from(leavers).unwrap_or(i64::MAX);
        self.leavers_overdue.with_label_values(&[target]).set(leavers);
    }

    /// A recorded result.
    pub fn outcome(&self, outcome: &Outcome) {
        let (target, action) = (outcome.target.as_str(), outcome.action.as_str());
        self.outcomes
            .with_label_values(&[target, action, result_word(outcome.result)])
            .inc();
        if outcome.result == OutcomeResult::Done && outcome.user.is_some() && !outcome.changed.is_empty() {
            self.writes.with_label_values(&[target, action]).inc();
            if let Some(committed) = outcome.cause.as_ref().and_then(|cause| cause.committed_at) {
                let seconds = outcome.at.duration_since(committed).as_secs_f64().max(0.0);
                self.freshness_seconds.with_label_values(&[target]).observe(seconds);
            }
        }
    }

    /// In which mode a target is, by its word.
    pub fn mode(&self, target: &str, mode: &str) {
        self.mode.with_label_values(&[target, mode]).set(1);
    }

    /// What was recorded of freshness so far; `None` before the first write.
    #[must_use]
    pub fn freshness(&self, target: &str) -> Option<Freshness> {
        let metric = self.freshness_seconds.with_label_values(&[target]).metric();
        let histogram = metric.get_histogram();
        let writes = histogram.get_sample_count();
        let buckets = histogram.get_bucket().iter();
        (writes > 0).then(|| Freshness {
            writes,
            within: buckets
                .map(|bucket| (bucket.upper_bound().to_string(), bucket.cumulative_count()))
                .collect(),
        })
    }

    /// The present state of a target; `None` when it is not run here.
    pub fn target(&self, target: &str, lane: Option<&LaneStatus>, now: jiff::Timestamp) {
        let zero = LaneStatus::default();
        let status = lane.unwrap_or(&zero);
        let age = status
            .oldest_pending_since
            .map_or(0, |since| now.duration_since(since).as_secs().max(0));
        let set = |gauge: &IntGaugeVec, value: usize| {
            gauge
                .with_label_values(&[target])
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.owned, usize::from(lane.is_some()));
        set(&self.pending, status.pending);
        self.oldest_pending_seconds.with_label_values(&[target]).set(age);
        set(&self.in_flight, status.in_flight);
        set(&self.retrying, status.retrying);
        set(&self.rejected, status.rejected);
        set(&self.undecided, status.undecided);
        set(&self.skipped, status.skipped);
        set(&self.kept, status.kept);
        set(&self.behind, status.behind);
        set(&self.orphans, status.orphans);
        set(&self.unreadable, status.unreadable);
        set(&self.links, status.links);
        set(&self.notices_owed, status.notices_owed);
        let owed = status
            .oldest_notice_since
            .map_or(0, |since| now.duration_since(since).as_secs().max(0));
        self.notices_oldest_seconds.with_label_values(&[target]).set(owed);
        set(&self.notices_failed, status.notices_failed);
        set(&self.circuit_open, usize::from(status.circuit.is_some()));
        set(&self.held, status.held);
        let waits = status
            .waits_for_operator_since()
            .map_or(0, |since| now.duration_since(since).as_secs().max(0));
        self.held_oldest_seconds.with_label_values(&[target]).set(waits);
        set(&self.paused, usize::from(status.paused.is_some()));
        for (gauge, value) in [(&self.day_used, status.day_used), (&self.day_left, status.day_left)] {
            let gauge = gauge.with_label_values(&[target]);
            gauge.set(value.map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX)));
        }
        self.rate.with_label_values(&[target]).set(status.rate);
        let last = status
            .last_success
            .map_or(0.0, |at| at.duration_since(jiff::Timestamp::UNIX_EPOCH).as_secs_f64());
        self.last_success.with_label_values(&[target]).set(last);
    }
}

/// The word of a result, as on the wire.
#[must_use]
pub fn result_word(result: OutcomeResult) -> &'static str {
    match result {
        OutcomeResult::Done => "done",
        OutcomeResult::Retry => "retry",
        OutcomeResult::Rejected => "rejected",
        OutcomeResult::Halted => "halted",
        OutcomeResult::Held => "held",
        OutcomeResult::Released => "released",
        OutcomeResult::Skipped => "skipped",
    }
}
