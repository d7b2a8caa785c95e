//! The shell of the writer: sources ▶ step ▶ Kafka transaction.
//!
//! [`run`] is the life of a replica: follow the topics, and lead while the group says so. [`session`] is one
//! leadership; it ends at the first failed commit, and the next one starts again from the topics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tracing::{info, warn};
use usher_contract::OrgId;
use usher_runtime::{
    admin::Readiness,
    backoff::Backoff,
    kafka::{Membership, MembershipEvent, Partitions, RecordRef, ReleaseGuard, TopicInput, TopicReader},
    shutdown::{CancellationToken, chain},
};

use crate::{
    config::Config,
    logic::pace::Pace,
    metrics::Metrics,
    published::{self, Message, Tables},
    salesforce::{pubsub::PubSub, rest::Rest},
    status::{StatusHandle, StreamStatus},
    topics,
};

pub(crate) mod polls;
pub(crate) mod prepare;
mod reread;
pub mod session;
#[cfg(test)]
mod simulated;
mod source;
mod surveys;

pub use session::{Answer, Command, HeldPerson, HeldView, PersonView, Refusal};

/// Which org runs under which name in this process: two entries of the configuration must not be the same org.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<HashMap<OrgId, String>>>);

impl Claims {
    /// Takes an org under a name.
    ///
    /// # Errors
    /// The other name that has it.
    pub fn claim(&self, org: OrgId, name: &str) -> Result<(), String> {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = claims.entry(org).or_insert_with(|| name.to_owned());
        if holder == name { Ok(()) } else { Err(holder.clone()) }
    }
}

/// What a replica needs for one org.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "one field per part")]
pub struct Parts {
    /// See [`crate::config::OrgConfig::label`].
    pub name: String,
    pub claims: Claims,
    pub config: Arc<Config>,
    pub rest: Rest,
    pub pubsub: PubSub,
    pub metrics: Metrics,
    pub status: StatusHandle,
    pub readiness: Readiness,
    /// Where the API of this replica answers.
    pub address: String,
    /// Runs of reports in the last hour. It outlives a leadership.
    pub report_pace: Arc<Mutex<Pace>>,
}

/// The replica cannot go on.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// Kafka.
    #[error(transparent)]
    Topic(#[from] usher_runtime::kafka::TopicError),
    /// Reading our own topics.
    #[error("reading {topic} ended: {reason}")]
    Reading {
        /// Which.
        topic: &'static str,
        /// Why.
        reason: String,
    },
    /// The group.
    #[error("the consumer group refuses this member: {0}")]
    Membership(String),
}

/// The topics as followed by a standby.
pub(crate) struct Followed {
    pub(crate) tables: Tables,
    changes: TopicReader<Message>,
    checkpoint: TopicReader,
}

impl Followed {
    async fn start(parts: &Parts, org: OrgId) -> Result<Self, PipelineError> {
        let kafka = &parts.config.kafka;
        let read = move |record: RecordRef<'_>| Message::read(org, &record);
        let (topic, threads) = (kafka.topic(topics::USER_CHANGE), published::reading_threads());
        let changes = TopicReader::start_with(kafka, &topic, Partitions::All, threads, read).await?;
        let checkpoint = TopicReader::start(kafka, &kafka.topic(topics::CHECKPOINT), Partitions::All).await?;
        Ok(Self {
            tables: Tables::new(org, &parts.config.pubsub.channel),
            changes,
            checkpoint,
        })
    }

    /// Takes what has come. Gives the marks reached: (changes, checkpoint).
    async fn follow(&mut self) -> Result<(Option<u64>, Option<u64>), PipelineError> {
        tokio::select! {
            input = self.changes.next() => Ok((take(input, topics::USER_CHANGE, |message| self.tables.user_change(message))?, None)),
            input = self.checkpoint.next() => Ok((None, take(input, topics::CHECKPOINT, |record| self.tables.checkpoint(&record))?)),
        }
    }

    /// Reads both topics to the end that they have now.
    pub(crate) async fn catch_up(&mut self) -> Result<(), PipelineError> {
        let wanted = (self.changes.catch_up(), self.checkpoint.catch_up());
        let (mut changes, mut checkpoint) = (false, false);
        while !(changes && checkpoint) {
            let reached = self.follow().await?;
            changes |= reached.0 == Some(wanted.0);
            checkpoint |= reached.1 == Some(wanted.1);
        }
        Ok(())
    }
}

fn take<T>(
    input: Option<TopicInput<T>>,
    topic: &'static str,
    record: impl FnMut(T),
) -> Result<Option<u64>, PipelineError> {
    match input {
        Some(TopicInput::Records(records)) => {
            records.into_iter().for_each(record);
            Ok(None)
        }
        Some(TopicInput::CaughtUp(mark)) => Ok(Some(mark)),
        Some(TopicInput::Failed(reason)) => Err(PipelineError::Reading { topic, reason }),
        None => Err(PipelineError::Reading {
            topic,
            reason: "the reader has ended".to_owned(),
        }),
    }
}

/// The life of a replica.
///
/// # Errors
/// [`PipelineError`] when it cannot go on.
pub async fn run(
    parts: Parts,
    mut commands: tokio::sync::mpsc::Receiver<Command>,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let backoff = Backoff::from_millis(200, 10_000);
    let mut failures = 0;
    let Some(org) = log_in(&parts, &stop).await else {
        return Ok(());
    };
    let kafka = &parts.config.kafka;
    let group = format!("{}ingest.{org}", kafka.prefix);
    let mut membership = Membership::join(kafka, &group, &kafka.topic(topics::CHECKPOINT))?;
    let mut assigned = false;
    while !stop.is_cancelled() {
        let mut followed = match Followed::start(&parts, org).await {
            Ok(followed) => followed,
            // The broker is away: nothing is lost by waiting, and a crash loop would help nobody.
            Err(error) => {
                failures += 1;
                let (reason, wait) = (chain(&error), backoff.wait(failures, rand::random()));
                warn!(%reason, wait_ms = wait.as_millis(), "the topics cannot be read");
                parts.readiness.unmet("leadership", reason.clone());
                parts.status.update(|status| status.problems = vec![reason]);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                    event = membership.next() => assigned = standby_event(event)?,
                }
                continue;
            }
        };
        // Until the group says that we lead.
        if !assigned {
            parts.status.standby();
            parts.readiness.met("leadership");
            // Only a leader has a stream to be without.
            parts.readiness.met("stream");
        }
        while !assigned {
            let leader = followed.tables.leader.as_ref().map(|leader| leader.address.clone());
            parts.status.update(|status| status.leader = leader);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = membership.next() => assigned = standby_event(event)?,
                reached = followed.follow() => { reached?; }
                Some(command) = commands.recv() => command.refuse("this replica is a standby"),
            }
        }
        let ended = session::lead(&parts, org, followed, &mut membership, &mut commands, &stop).await;
        parts.metrics.leader.set(0);
        parts.metrics.stream_connected.set(0);
        parts.status.update(|status| status.stream.connected = false);
        match ended {
            session::Ended::Stopped => break,
            session::Ended::Revoked(guard) => {
                assigned = false;
                failures = 0;
                // What was wrong with the stream is the next leader's to say.
                parts.readiness.met("stream");
                parts.status.update(|status| status.stream = StreamStatus::default());
                drop::<ReleaseGuard>(guard);
                info!("leadership handed back");
            }
            session::Ended::Failed { reason, worked } => {
                failures = if worked { 1 } else { failures + 1 };
                let wait = backoff.wait(failures, rand::random());
                warn!(%reason, wait_ms = wait.as_millis(), "leadership is started again from the topics");
                // Once is normal: a broken connection, a fence. What stays is said by readiness.
                if failures >= 3 {
                    parts.readiness.unmet("leadership", reason.clone());
                }
                parts.status.update(|status| status.problems = vec![reason]);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                    event = membership.next() => assigned = standby_event(event)?,
                }
            }
        }
    }
    Ok(())
}

/// Whether the group lets us lead now.
fn standby_event(event: Option<MembershipEvent>) -> Result<bool, PipelineError> {
    match event {
        Some(MembershipEvent::Assigned(_)) => Ok(true),
        Some(MembershipEvent::Revoked(..)) => Ok(false),
        Some(MembershipEvent::Failed(reason)) => Err(PipelineError::Membership(reason)),
        None => Err(PipelineError::Membership("the membership has ended".to_owned())),
    }
}

/// Everything is kept per org, so the org must be known first. `None` when stopped.
async fn log_in(parts: &Parts, stop: &CancellationToken) -> Option<OrgId> {
    let mut failures = 0;
    loop {
        match parts.rest.tokens().token().await {
            Ok(token) => {
                if let Err(other) = parts.claims.claim(token.org, &parts.name) {
                    let reason = format!(
                        "{} is org {}, which {other} is already; give each entry of orgs an org of its own, or leave one of the two out",
                        parts.name, token.org
                    );
                    tracing::error!(%reason, "this entry is not run");
                    parts.readiness.unmet("salesforce", reason.clone());
                    parts.status.update(|status| status.problems = vec![reason]);
                    // Only another configuration helps.
                    stop.cancelled().await;
                    return None;
                }
                parts.status.update(|status| {
                    status.org_id = Some(token.org.to_string());
                    status.problems.clear();
                });
                parts.readiness.met("salesforce");
                return Some(token.org);
            }
            Err(error) => {
                failures += 1;
                let reason = chain(&error);
                warn!(%reason, "cannot log in to Salesforce");
                parts.readiness.unmet("salesforce", reason.clone());
                parts.status.update(|status| status.problems = vec![reason]);
                let wait = Backoff {
                    base: error.wait(),
                    max: Duration::from_secs(300),
                }
                .wait(failures, rand::random());
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_org_runs_under_one_name_only() {
        let (claims, org) = (Claims::default(), OrgId::try_new("00D000000000001EAA").unwrap());
        assert_eq!(claims.claim(org, "production"), Ok(()));
        assert_eq!(claims.claim(org, "production"), Ok(()));
        assert_eq!(claims.claim(org, "sandbox"), Err("production".to_owned()));
    }
}
