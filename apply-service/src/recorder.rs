//! Link, target record, outcome and dead letter in one transaction of the target's own producer.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tracing::{debug, error, info, warn};
use usher_contract::{Outcome, OutcomeResult, TargetName, TraceContext, cloud_event::OUTCOME_SCHEMA, trace};
use usher_runtime::{
    clock,
    kafka::{CommitError, KafkaConfig, OutRecord, TransactionBatch, TransactionalProducer},
};

use crate::{
    connector::lease::Lease,
    logic::{
        groups::record::{group_record_key, memberships_record_key},
        lane::Batch,
        link::record_key,
    },
    metrics::Metrics,
    topics,
};

/// How often a batch that was certainly not written is tried again before the lane is given up.
const ABORTED_MAX: u32 = 5;
const ABORTED_PAUSE: Duration = Duration::from_millis(200);

/// Records what the lane of one target hands out.
#[derive(Debug)]
pub(crate) struct Recorder {
    producer: Arc<TransactionalProducer>,
    kafka: KafkaConfig,
    target: TargetName,
    partition: i32,
    lease: Lease,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// A recorder over a producer that has fenced its predecessors.
    #[must_use]
    pub(crate) fn new(
        producer: Arc<TransactionalProducer>,
        kafka: KafkaConfig,
        target: TargetName,
        lease: Lease,
        metrics: Arc<Metrics>,
    ) -> Self {
        let partition = topics::partition_of_target(&target);
        Self {
            producer,
            kafka,
            target,
            partition,
            lease,
            metrics,
        }
    }

    /// Writes one batch, all or nothing, and extends the lease.
    ///
    /// # Errors
    /// The producer is of no further use: what is true has to be read back.
    pub(crate) async fn commit(&self, batch: &Batch) -> Result<(), CommitError> {
        let transaction = self.encode(batch);
        let mut aborted = 0;
        loop {
            let begun = clock::monotonic();
            match self.producer.commit(transaction.clone()).await {
                Ok(()) => {
                    self.lease.committed(begun);
                    self.metrics.committed(
                        self.target.as_str(),
                        clock::monotonic().duration_since(begun).as_secs_f64(),
                    );
                    for outcome in &batch.outcomes {
                        self.metrics.outcome(outcome);
                        log(outcome);
                    }
                    return Ok(());
                }
                Err(CommitError::Aborted(reason)) if aborted < ABORTED_MAX => {
                    aborted += 1;
                    self.metrics.commit_failed(self.target.as_str(), "aborted");
                    warn!(target.name = %self.target, reason, "a transaction was aborted and is tried again");
                    tokio::time::sleep(ABORTED_PAUSE).await;
                }
                Err(failed) => {
                    let kind = if matches!(failed, CommitError::Fenced) {
                        "fenced"
                    } else {
                        "unknown"
                    };
                    self.metrics.commit_failed(self.target.as_str(), kind);
                    return Err(failed);
                }
            }
        }
    }

    fn encode(&self, batch: &Batch) -> TransactionBatch {
        let record = |topic: &str, key: String, value: Vec<u8>, headers, partition| OutRecord {
            topic: self.kafka.topic(topic),
            key: key.into_bytes(),
            value: Some(value),
            headers,
            partition,
        };
        let mut changes = Vec::with_capacity(batch.links.len() + batch.outcomes.len() + batch.dead_letters.len());
        for (user, link) in &batch.links {
            let key = record_key(&self.target, user);
            changes.push(record(topics::LINK, key, json(link), vec![], Some(self.partition)));
        }
        for (group, known) in &batch.groups {
            let key = group_record_key(&self.target, group);
            changes.push(record(topics::LINK, key, json(known), vec![], Some(self.partition)));
        }
        for (user, known) in &batch.memberships {
            let key = memberships_record_key(&self.target, user);
            changes.push(record(topics::LINK, key, json(known), vec![], Some(self.partition)));
        }
        for outcome in &batch.outcomes {
            let key = outcome
                .user
                .map_or_else(|| self.target.to_string(), |user| user.to_string());
            changes.push(record(topics::OUTCOME, key, json(outcome), headers(outcome), None));
        }
        for letter in &batch.dead_letters {
            let content = vec![("content-type", "application/json".to_owned())];
            changes.push(record(
                topics::DEAD_LETTER,
                letter.user.to_string(),
                json(letter),
                content,
                None,
            ));
        }
        let own = record(
            topics::TARGET,
            self.target.to_string(),
            json(&batch.record),
            vec![],
            Some(self.partition),
        );
        TransactionBatch {
            changes,
            bookkeeping: vec![own],
        }
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // **Invariant**: our own records have text keys only and no value that JSON cannot hold.
    serde_json::to_vec(value).unwrap_or_default()
}

/// CloudEvents attributes, so that outcomes can be subscribed to like user changes.
fn headers(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", outcome.id.clone()),
        ("ce_source", format!("/usher/target/{}", outcome.target)),
        ("ce_type", "dev.usher.outcome.v1".to_owned()),
        ("ce_time", outcome.at.to_string()),
        ("ce_dataschema", OUTCOME_SCHEMA.to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    headers.extend(outcome.trace_id.as_ref().map(|trace_id| {
        let context = TraceContext {
            trace_id: trace_id.clone(),
            span_id: trace::span(&outcome.id),
        };
        ("traceparent", context.to_string())
    }));
    headers
}

/// One line per outcome; ids and words, no values.
fn log(outcome: &Outcome) {
    let user = outcome.user.map(|user| user.to_string()).unwrap_or_default();
    let (target, action, reasons) = (
        outcome.target.as_str(),
        outcome.action.as_str(),
        outcome.reasons.join("; "),
    );
    let code = outcome.error_code.as_deref().unwrap_or_default();
    let problem = outcome.error.as_deref().unwrap_or_default();
    let duration_ms = outcome.latency_ms;
    match outcome.result {
        OutcomeResult::Done if outcome.user.is_none() => {
            info!(target.name = target, plan.action = action, "{reasons}")
        }
        OutcomeResult::Done => debug!(
            target.name = target,
            user.id = user,
            plan.action = action,
            duration_ms,
            "{reasons}"
        ),
        OutcomeResult::Skipped => info!(
            target.name = target,
            user.id = user,
            plan.action = action,
            "left alone: {reasons}"
        ),
        OutcomeResult::Retry => {
            info!(
                target.name = target,
                user.id = user,
                plan.action = action,
                error.code = code,
                outcome.attempt,
                "tried again later: {problem}"
            );
        }
        OutcomeResult::Held => warn!(
            target.name = target,
            user.id = user,
            plan.action = action,
            "held: {reasons}"
        ),
        OutcomeResult::Released => info!(target.name = target, user.id = user, "released: {reasons}"),
        OutcomeResult::Rejected => {
            warn!(
                target.name = target,
                user.id = user,
                plan.action = action,
                error.code = code,
                "refused: {problem}"
            );
        }
        OutcomeResult::Halted => error!(
            target.name = target,
            error.code = code,
            "the target does not work: {problem}"
        ),
    }
}
