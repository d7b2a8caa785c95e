//! Membership in a consumer group that shares out the partitions of one topic: who may lead, who owns a target.
//!
//! Nothing is read from the topic: assigned partitions are paused at once. Rebalance callbacks run on the polling
//! thread, so the member has a thread of its own and the owner of the work is told through a channel. A revocation
//! waits until the work has been handed back, at most [`RELEASE_WAIT`]: longer would cost the membership itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::mpsc as tokio_mpsc;
use tracing::{info, warn};

use super::{KafkaConfig, TopicError, context};

/// How long a revocation waits for the work to be handed back.
pub const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// What happened to the membership.
#[derive(Debug)]
pub enum MembershipEvent {
    /// These partitions are ours now.
    Assigned(Vec<i32>),
    /// These partitions go. Hand the work back, then drop the guard.
    Revoked(Vec<i32>, ReleaseGuard),
    /// The group cannot be a member any longer; the thread has ended.
    Failed(String),
}

/// Dropping it tells the group that the work has been handed back.
#[derive(Debug)]
pub struct ReleaseGuard {
    _waiting: mpsc::SyncSender<()>,
}

/// A member of the group. Leaves when dropped.
#[derive(Debug)]
pub struct Membership {
    events: tokio_mpsc::UnboundedReceiver<MembershipEvent>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins. `group` and `topic` are full names.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn join(config: &KafkaConfig, group: &str, topic: &str) -> Result<Self, TopicError> {
        let unreachable = |source| TopicError::Unreachable {
            bootstrap_servers: config.bootstrap_servers.clone(),
            source,
        };
        // Few events per rebalance, and the callback must never block on a full queue.
        let (events_out, events) = tokio_mpsc::unbounded_channel();
        let context = MemberContext {
            events: events_out.clone(),
        };
        let consumer: BaseConsumer<MemberContext> = config
            .member(group, &format!("usher-member-{group}"))
            .create_with_context(context)
            .map_err(unreachable)?;
        consumer.subscribe(&[topic]).map_err(unreachable)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // Rebalance callbacks block: they need a thread of their own.
        let thread = thread::Builder::new().name(format!("member {group}")).spawn(move || {
            let mut consumer = Some(consumer);
            while let Some(member) = &consumer {
                if stopped.load(Ordering::Acquire) {
                    // Dropping leaves the group, which revokes what is assigned through the callback.
                    consumer = None;
                    continue;
                }
                match member.poll(Duration::from_millis(100)) {
                    None | Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        let fatal = member.client().fatal_error().is_some();
                        warn!(%error, fatal, "group membership was interrupted");
                        if fatal || error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
                            let _ = events_out.send(MembershipEvent::Failed(error.to_string()));
                            return;
                        }
                    }
                }
            }
        });
        let thread = thread.map_err(|error| unreachable(KafkaError::ClientCreation(error.to_string())))?;
        Ok(Self {
            events,
            stop,
            thread: Some(thread),
        })
    }

    /// What comes next; `None` after the membership has ended.
    pub async fn next(&mut self) -> Option<MembershipEvent> {
        self.events.recv().await
    }

    /// Starts leaving; the events of the revocation still come, then `None`.
    pub fn leave(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
        // Unread events hold release guards: they must go first, or the thread would wait for them.
        self.events.close();
        while self.events.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct MemberContext {
    events: tokio_mpsc::UnboundedSender<MembershipEvent>,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        info!(target: "kafka", %error, "{reason}");
    }
}

impl ConsumerContext for MemberContext {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(list) if list.count() > 0 => {
                let (guard, released) = mpsc::sync_channel(0);
                let event = MembershipEvent::Revoked(partitions_of(list), ReleaseGuard { _waiting: guard });
                if self.events.send(event).is_ok()
                    && matches!(released.recv_timeout(RELEASE_WAIT), Err(RecvTimeoutError::Timeout))
                {
                    warn!("work was not handed back in time; the lease protects the target");
                }
            }
            Rebalance::Error(error) => warn!(%error, "rebalance failed"),
            Rebalance::Revoke(_) | Rebalance::Assign(_) => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance
            && list.count() > 0
        {
            // Only the ownership counts; fetching the topic here would be waste.
            if let Err(error) = consumer.pause(list) {
                warn!(%error, "cannot pause the partitions of the group topic");
            }
            let _ = self.events.send(MembershipEvent::Assigned(partitions_of(list)));
        }
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(100))
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<i32> {
    list.elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}
