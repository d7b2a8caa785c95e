//! The shell of ownership: one task per target carries out what `logic::ownership` decides.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{info, warn};
use usher_runtime::{
    clock,
    kafka::{FenceError, KafkaConfig, ReleaseGuard, TransactionalProducer},
    shutdown::{CancellationToken, chain},
};

use crate::{
    commands::Inbox,
    connector::lease::{Lease, LeaseTerms},
    inquiry::Lanes,
    link_table::{self, RestoreError, Restored},
    logic::{
        lane::Lane,
        ownership::{Effect, Input, Predecessor, State, WRITE_ENDS_WITHIN, WRITE_STARTS_WITHIN, next_wake, step},
        scope::Everybody,
        target_record::OwnerId,
    },
    reconciler::{self, Executor, LaneEnd, Surroundings},
    recorder::Recorder,
    rename::{self, Standing},
    status::StatusHandle,
    users::Users,
};

/// What the group says about the partition of a target.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Run it.
    Assigned,
    /// Hand it back; the guard is shared by the targets of the partition.
    Revoked(Option<Arc<ReleaseGuard>>),
}

/// What a take-over has read, and where the commands go on.
type TakenOver = Result<(Restored, Inbox), RestoreError>;

/// How long a target that was renamed is left alone before its record is read again.
const RENAMED_PAUSE: Duration = Duration::from_secs(60);

/// What is under way.
enum Work {
    Nothing,
    Fencing(Pin<Box<dyn Future<Output = Result<TransactionalProducer, FenceError>> + Send>>),
    Restoring(Pin<Box<dyn Future<Output = TakenOver> + Send>>),
    Lane(Pin<Box<dyn Future<Output = LaneEnd> + Send>>, CancellationToken),
}

enum Done {
    Fenced(Result<TransactionalProducer, FenceError>),
    Restored(Box<TakenOver>),
    Lane(LaneEnd),
}

impl Work {
    /// The end of what is under way; never when nothing is. Cancel-safe.
    async fn done(&mut self) -> Done {
        let done = match self {
            Self::Nothing => std::future::pending().await,
            Self::Fencing(fencing) => Done::Fenced(fencing.await),
            Self::Restoring(restoring) => Done::Restored(Box::new(restoring.await)),
            Self::Lane(lane, _) => Done::Lane(lane.await),
        };
        *self = Self::Nothing;
        done
    }
}

/// One target in this process.
pub(crate) struct Owner {
    executor: Executor,
    kafka: KafkaConfig,
    users: Arc<Users>,
    status: StatusHandle,
    state: State,
    work: Work,
    producer: Option<Arc<TransactionalProducer>>,
    restored: Option<(Restored, Inbox)>,
    lanes: Lanes,
    guards: Vec<Arc<ReleaseGuard>>,
    /// Wall-clock time at the start, continued by the monotonic clock: waiting out a lease must not depend on
    /// somebody setting the clock.
    started: (Timestamp, std::time::Instant),
    /// Tells the records of this owner from those of every other, also of one at the same address later.
    run: String,
}

impl Owner {
    pub(crate) fn new(
        executor: Executor,
        kafka: KafkaConfig,
        users: Arc<Users>,
        status: StatusHandle,
        lanes: Lanes,
    ) -> Self {
        Self {
            executor,
            kafka,
            users,
            status,
            state: State::Unassigned,
            work: Work::Nothing,
            producer: None,
            restored: None,
            lanes,
            guards: Vec::new(),
            started: (clock::now(), clock::monotonic()),
            run: format!("{:016x}", rand::random::<u64>()),
        }
    }

    /// Runs until the orders end and the target is handed back.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut open = true;
        while open || self.state != State::Unassigned {
            let wake =
                next_wake(self.state).map(|due| Duration::try_from(due.duration_since(self.now())).unwrap_or_default());
            let input = tokio::select! {
                order = orders.recv(), if open => match order {
                    Some(Order::Assigned) => Input::Assigned,
                    Some(Order::Revoked(guard)) => {
                        self.guards.extend(guard);
                        Input::Revoked
                    }
                    None => {
                        open = false;
                        Input::Revoked
                    }
                },
                done = self.work.done() => self.done(done),
                () = sleep(wake) => Input::Tick,
            };
            self.take(input);
        }
    }

    fn now(&self) -> Timestamp {
        crate::logic::retry::after(
            self.started.0,
            clock::monotonic().saturating_duration_since(self.started.1),
        )
    }

    fn done(&mut self, done: Done) -> Input {
        let target = &self.executor.policy.name;
        match done {
            Done::Fenced(Ok(producer)) => {
                self.producer = Some(Arc::new(producer));
                Input::Fenced
            }
            Done::Fenced(Err(error)) => {
                warn!(target.name = %target, error = chain(&error), "taking over the target failed; it is tried again");
                self.status.problem(target, Some(chain(&error)));
                Input::Failed
            }
            Done::Restored(restored) => match *restored {
                Ok(restored) => {
                    self.status.problem(target, None);
                    let predecessor = Predecessor::of(restored.0.record.as_ref(), &self.run);
                    self.restored = Some(restored);
                    Input::Restored(predecessor)
                }
                Err(error) => {
                    warn!(target.name = %target, error = chain(&error), "reading what is known failed; it is tried again");
                    self.status.problem(target, Some(chain(&error)));
                    Input::Failed
                }
            },
            Done::Lane(LaneEnd::Drained) => Input::Drained,
            Done::Lane(LaneEnd::Lost { fenced }) => {
                let why = if fenced {
                    "another process has taken over"
                } else {
                    "a commit failed"
                };
                self.status.problem(target, Some(why.to_owned()));
                Input::Lost { fenced }
            }
        }
    }

    fn take(&mut self, input: Input) {
        let (state, effects) = step(self.state, input, self.now());
        if state != self.state {
            info!(target.name = %self.executor.policy.name, from = self.state.as_str(), to = state.as_str(), "ownership");
            self.state = state;
            self.status.state(&self.executor.policy.name, state);
        }
        for effect in effects {
            match effect {
                Effect::Fence => self.fence(),
                Effect::Restore => self.restore(),
                Effect::Activate => self.activate(),
                Effect::Drain => {
                    if let Work::Lane(_, drain) = &self.work {
                        drain.cancel();
                    }
                }
                Effect::Drop => {
                    self.work = Work::Nothing;
                    self.producer = None;
                    self.restored = None;
                }
                Effect::Release => self.guards.clear(),
            }
        }
    }

    fn fence(&mut self) {
        let (kafka, id) = (
            self.kafka.clone(),
            format!("{}apply.{}", self.kafka.prefix, self.executor.policy.name),
        );
        self.work = Work::Fencing(Box::pin(async move { TransactionalProducer::fence(&kafka, &id).await }));
    }

    fn restore(&mut self) {
        let Some(producer) = self.producer.clone() else {
            return;
        };
        let (kafka, users, target) = (
            self.kafka.clone(),
            Arc::clone(&self.users),
            self.executor.policy.name.clone(),
        );
        let (metrics, progress) = (Arc::clone(&self.executor.metrics), self.status.progress(&target));
        let (formerly, status, name) = (
            self.executor.policy.formerly.clone(),
            self.status.clone(),
            target.clone(),
        );
        let (shown, named) = (self.status.clone(), target.clone());
        let restoring = async move {
            let mut restored = link_table::restore(&kafka, &producer, &target, &progress).await?;
            match Standing::of(restored.record.as_ref(), formerly.as_ref()) {
                Standing::Current => {}
                Standing::RenamedTo(other) => {
                    // Nothing changes by itself: somebody has to take the file out.
                    let error = RestoreError::Renamed(target, other.clone());
                    status.problem(&name, Some(error.to_string()));
                    tokio::time::sleep(RENAMED_PAUSE).await;
                    return Err(error);
                }
                Standing::Moves(former) => {
                    let own = (&target, restored.record.as_ref());
                    if rename::take_over(&kafka, &producer, own, former, &progress).await? {
                        restored = link_table::restore(&kafka, &producer, &target, &progress).await?;
                    }
                }
            }
            let mut nothing_done = 0;
            let done = restored
                .record
                .as_mut()
                .map_or(&mut nothing_done, |record| &mut record.commands_done);
            let inbox = Inbox::open(&kafka, &target, done, &metrics).await?;
            // A lane over half a table would hold back people whose links name newer versions.
            users.caught_up().await;
            Ok((restored, inbox))
        };
        self.work = Work::Restoring(Box::pin(async move { shown.while_restoring(&named, restoring).await }));
    }

    fn activate(&mut self) {
        let (Some(producer), Some((restored, inbox))) = (self.producer.clone(), self.restored.take()) else {
            return;
        };
        // What this process listed under an earlier ownership is older than what others have written since.
        self.executor.connector.forget_listing();
        if let Some(desk) = self.executor.desk() {
            desk.begin(&restored.links);
        }
        let policy = Arc::clone(&self.executor.policy);
        let lease = Lease::new(LeaseTerms {
            start_within: WRITE_STARTS_WITHIN,
            end_within: WRITE_ENDS_WITHIN,
        });
        let recorder = Recorder::new(
            producer,
            self.kafka.clone(),
            policy.name.clone(),
            lease.clone(),
            Arc::clone(&self.executor.metrics),
        );
        info!(target.name = %policy.name, links = restored.links.linked(), malformed = restored.malformed, "the lane starts");
        let lane = Lane::new(
            policy,
            restored.links,
            restored.record,
            OwnerId {
                address: self.status.address(),
                run: &self.run,
            },
            clock::now(),
        )
        .among(Everybody::new(
            Arc::clone(&self.users) as Arc<dyn usher_filter::People + Send + Sync>
        ));
        let around = Surroundings {
            executor: self.executor.clone(),
            recorder,
            lease,
            users: Arc::clone(&self.users),
            status: self.status.clone(),
            malformed: restored.malformed,
            lanes: self.lanes.clone(),
        };
        let drain = CancellationToken::new();
        self.work = Work::Lane(Box::pin(reconciler::run(lane, around, inbox, drain.clone())), drain);
    }
}

async fn sleep(wake: Option<Duration>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake).await,
        None => std::future::pending().await,
    }
}
