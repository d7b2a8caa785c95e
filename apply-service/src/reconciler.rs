//! The shell of a lane: people in, operations out to the target, transactions out to Kafka. Decides nothing.
//!
//! Everything is one future. Dropping it drops the requests that are under way, which is what a lost ownership needs.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tracing::warn;
use usher_contract::{TargetName, UserKey};
use usher_runtime::{
    clock,
    kafka::CommitError,
    shutdown::{CancellationToken, chain},
};

use crate::{
    commands::{Inbox, Received},
    connector::{
        Connector, Failure, Operation, Refusal, Reply,
        http::{CredentialStatus, ExchangeTrace, HttpSender},
        lease::Lease,
        roster::Desk,
    },
    inquiry::{Inquiry, Known, Lanes},
    logic::{
        account::RemoteAccount,
        lane::{Answer, Effect, Input, Lane, OperationId},
        leavers::Leavers,
        link::Link,
        matching::Seen,
        notification::Undelivered,
        policy::TargetPolicy,
    },
    metrics::Metrics,
    notifier::Notifier,
    recorder::Recorder,
    status::StatusHandle,
    users::{Subscription, Users},
};

/// People fed at once: long enough to be quick, short enough that answers are not kept waiting.
const FEED: usize = 256;
/// How often the status is renewed while the lane works.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// And while it rests: ages grow without anything happening.
const STATUS_IDLE: Duration = Duration::from_secs(2);
/// How often leavers who are not out are looked for: it costs a look at every link.
const LEAVERS_EVERY: Duration = Duration::from_secs(30);

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    /// Finished and handed back.
    Drained,
    /// A commit failed.
    Lost {
        /// Because a successor has taken over.
        fenced: bool,
    },
}

/// What carries operations to an application.
#[derive(Clone)]
pub(crate) enum Carrier {
    /// Requests.
    Http(Arc<HttpSender>),
    /// A list that is written whole.
    Roster(Arc<Desk>),
}

/// Another interface of an application.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) sender: Arc<HttpSender>,
}

/// How operations of a target are carried out.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) policy: Arc<TargetPolicy>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) carrier: Carrier,
    /// Another interface of the application, which is only read.
    pub(crate) read_back: Option<Reader>,
    pub(crate) metrics: Arc<Metrics>,
    /// One for all targets.
    pub(crate) notifier: Arc<Notifier>,
}

impl Executor {
    /// The writer of the target's list, when it has one.
    pub(crate) fn desk(&self) -> Option<&Arc<Desk>> {
        match &self.carrier {
            Carrier::Http(_) => None,
            Carrier::Roster(desk) => Some(desk),
        }
    }

    /// How it stands with the credentials, where there are any.
    pub(crate) fn credential(&self) -> Option<CredentialStatus> {
        match &self.carrier {
            Carrier::Http(sender) => Some(sender.credential()),
            Carrier::Roster(_) => None,
        }
    }

    /// Asks the interface that is only read for something harmless; `None` where there is none.
    pub(crate) async fn check_read_back(&self) -> Option<Result<(), Refusal>> {
        let other = self.read_back.as_ref()?;
        // A check is no write; the lease only concerns writes.
        let lease = Lease::new(Default::default());
        let (result, _) = other.sender.run(other.connector.begin(Operation::Check), &lease).await;
        Some(match result {
            Ok(_) => Ok(()),
            Err(Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal)) => Err(refusal),
        })
    }

    /// Carries out one operation.
    pub(crate) async fn carry(&self, operation: Operation, lease: &Lease) -> (Result<Reply, Failure>, ExchangeTrace) {
        if let (Operation::ReadBack { .. }, Some(other)) = (&operation, &self.read_back) {
            return other.sender.run(other.connector.begin(operation), lease).await;
        }
        match &self.carrier {
            Carrier::Http(sender) => sender.run(self.connector.begin(operation), lease).await,
            Carrier::Roster(desk) => {
                let started = clock::monotonic();
                let result = desk.execute(operation).await;
                let elapsed = clock::monotonic().saturating_duration_since(started);
                (
                    result,
                    ExchangeTrace {
                        elapsed,
                        ..ExchangeTrace::default()
                    },
                )
            }
        }
    }

    /// Carries out one operation; what came back is reduced to what the rules look at.
    pub(crate) async fn execute(
        &self,
        operation: Operation,
        lease: &Lease,
    ) -> (Result<Answer, Failure>, Duration, u32) {
        let reads_back = matches!(operation, Operation::ReadBack { .. });
        let other = self.read_back.as_ref().filter(|_| reads_back);
        let connector = other.map_or(&self.connector, |other| &other.connector);
        let (result, trace) = self.carry(operation, lease).await;
        self.metrics.operation(
            self.policy.name.as_str(),
            trace.elapsed.as_secs_f64(),
            trace.requests,
            trace.writes,
        );
        let answer = result.map(|reply| match reply {
            Reply::Checked(_) => Answer::Checked,
            Reply::CheckedAs(_, owner) => Answer::CheckedAs(owner),
            Reply::Found(accounts) => {
                Answer::Found(accounts.iter().map(|account| self.seen(connector, account)).collect())
            }
            Reply::Page { accounts, next } => Answer::Page(
                accounts.iter().map(|account| self.seen(connector, account)).collect(),
                next,
            ),
            Reply::Written { id, account } => {
                Answer::Written(id, account.as_ref().map(|account| self.seen(connector, account)))
            }
            Reply::Deleted | Reply::Absent => Answer::Absent,
            Reply::Taken => Answer::Taken,
            Reply::Conflict(refusal) => Answer::Conflict(refusal),
            Reply::Groups(groups) => Answer::Groups(groups),
            Reply::GroupWritten(id) => Answer::Group(id),
            Reply::Members(members) => Answer::Members(members),
            Reply::Changed => Answer::Changed,
        });
        (answer, trace.elapsed, trace.requests)
    }

    fn seen(&self, connector: &Arc<dyn Connector>, account: &RemoteAccount) -> Seen {
        let seen = Seen::read(account, self.policy.paths(), |account, path| {
            connector.read_attribute(account, path)
        });
        Seen {
            onboarding: connector.onboarding(account),
            ..seen
        }
    }
}

/// What a lane needs from around it.
pub(crate) struct Surroundings {
    pub(crate) executor: Executor,
    pub(crate) recorder: Recorder,
    pub(crate) lease: Lease,
    pub(crate) users: Arc<Users>,
    pub(crate) status: StatusHandle,
    pub(crate) malformed: u64,
    pub(crate) lanes: Lanes,
}

type Ended = (OperationId, Result<Answer, Failure>, Duration, u32);
/// The writer of a list: never ends.
type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;
type Delivered = (OperationId, Result<(), Undelivered>);
type Committing = Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send>>;

struct Running {
    lane: Lane,
    around: Arc<Surroundings>,
    subscription: Arc<Subscription>,
    /// People who are planned again although they did not change.
    backlog: VecDeque<(UserKey, bool)>,
    operations: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send>>>,
    /// Notices on their way: nothing else waits for them.
    deliveries: FuturesUnordered<Pin<Box<dyn Future<Output = Delivered> + Send>>>,
    committing: Option<Committing>,
    /// The links of the commit under way, where a list is made of them.
    links: Vec<(UserKey, Link)>,
    writing: Option<Writing>,
    inbox: Inbox,
    /// What waited on the topic of commands at the start is carried out: nobody is fed before, so that a pause that was
    /// asked for while nobody ran the target comes first.
    commanded: bool,
    leavers: Leavers,
    drained: bool,
}

/// Runs a lane until it is drained or a commit fails.
pub(crate) async fn run(lane: Lane, around: Surroundings, inbox: Inbox, drain: CancellationToken) -> LaneEnd {
    let name = around.executor.policy.name.clone();
    let subscription = around.users.subscribe();
    // Subscribed first, listed afterwards: whoever changes in between is fed twice, which changes nothing.
    let backlog = around.users.keys().into_iter().map(|user| (user, false)).collect();
    let (_listed, inquiries) = around.lanes.open(&name);
    let around = Arc::new(around);
    let writing = around.executor.desk().map(|desk| {
        let (desk, lease) = (Arc::clone(desk), around.lease.clone());
        Box::pin(async move { desk.run(&lease).await }) as Writing
    });
    let mut running = Running {
        lane,
        around,
        subscription,
        backlog,
        operations: FuturesUnordered::new(),
        deliveries: FuturesUnordered::new(),
        committing: None,
        links: Vec::new(),
        writing,
        inbox,
        commanded: false,
        leavers: Leavers::default(),
        drained: false,
    };
    let end = running.run(&name, inquiries, &drain).await;
    running.around.lease.release();
    end
}

impl Running {
    async fn run(
        &mut self,
        name: &TargetName,
        mut inquiries: mpsc::Receiver<Inquiry>,
        drain: &CancellationToken,
    ) -> LaneEnd {
        let mut draining = false;
        let mut status_at = clock::monotonic();
        let mut leavers_at = status_at;
        self.step(Input::Tick);
        while !self.drained {
            let now = clock::monotonic();
            if now >= status_at {
                self.around.status.lane(name, self.lane.status(), self.around.malformed);
                status_at = now + STATUS_EVERY;
            }
            if now >= leavers_at {
                self.look_for_leavers(name);
                leavers_at = now + LEAVERS_EVERY;
            }
            let wake = self.wake();
            tokio::select! {
                biased;
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    self.step(Input::Drain);
                }
                result = committed(&mut self.committing) => {
                    self.committing = None;
                    match result {
                        Ok(()) => {
                            if let Some(desk) = self.around.executor.desk() {
                                desk.committed(&std::mem::take(&mut self.links));
                            }
                            self.step(Input::Committed);
                        }
                        Err(error) => {
                            warn!(target.name = %name, error = chain(&error), "a commit failed; the target is given up and taken over anew");
                            return LaneEnd::Lost { fenced: matches!(error, CommitError::Fenced) };
                        }
                    }
                }
                () = written(&mut self.writing) => {}
                () = wants_commit(&self.around) => self.step(Input::Renew),
                received = self.inbox.next(), if !draining => match received {
                    Received::Command(offset, command) => self.step(Input::Command { offset, command }),
                    Received::CaughtUp => self.begin(),
                    Received::Failed(reason) => {
                        warn!(target.name = %name, reason, "the commands cannot be read; the target is given up and taken over anew");
                        return LaneEnd::Lost { fenced: false };
                    }
                },
                Some(inquiry) = inquiries.recv() => self.answer(inquiry),
                Some((operation, result, took, requests)) = self.operations.next(), if !self.operations.is_empty() => {
                    self.step(Input::Ended { operation, result, took, requests });
                }
                Some((delivery, result)) = self.deliveries.next(), if !self.deliveries.is_empty() => {
                    self.step(Input::Delivered { delivery, result });
                }
                () = self.subscription.changed(), if !draining && self.commanded && self.lane.takes_people() => {
                    let mut fed = false;
                    for (user, differing) in self.subscription.take(FEED) {
                        if !self.lane.is_unaffected(&user, &differing) {
                            fed = true;
                            self.feed(user, false);
                        }
                    }
                    // However many are passed over in a row: what is due does not wait for them.
                    if !fed {
                        self.step(Input::Tick);
                    }
                }
                () = std::future::ready(()), if !self.backlog.is_empty() && !draining && self.commanded && self.lane.takes_people() => {
                    for _ in 0..FEED {
                        let Some((user, again)) = self.backlog.pop_front() else { break };
                        self.feed(user, again);
                    }
                    if self.backlog.is_empty() {
                        self.step(Input::AllFed);
                    }
                    // Planning a large directory must not starve the requests that other tasks wait for.
                    tokio::task::yield_now().await;
                }
                () = tokio::time::sleep(wake) => self.step(Input::Tick),
            }
        }
        self.around.status.lane(name, self.lane.status(), self.around.malformed);
        LaneEnd::Drained
    }

    /// The commands that waited are carried out: people come.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.commanded, true) && self.backlog.is_empty() {
            // Nobody to feed: that is everybody.
            self.step(Input::AllFed);
        }
    }

    fn answer(&self, inquiry: Inquiry) {
        let known = Known {
            links: self.lane.links(),
            record: Some(self.lane.record()),
            users: &self.around.users,
            policy: &self.around.executor.policy,
            now: clock::now(),
        };
        known.answer(inquiry, |user| self.lane.is_pending(user));
    }

    fn look_for_leavers(&mut self, name: &TargetName) {
        let overdue = self.leavers.overdue(
            self.lane.links(),
            &self.around.executor.policy,
            |user| self.around.users.get(user),
            |user| self.lane.is_pending(user),
            self.around.status.leavers_bound(),
            clock::now(),
        );
        self.around.status.overdue(name, overdue);
    }

    /// How long to sleep when nothing happens.
    fn wake(&self) -> Duration {
        let now = clock::now();
        let due = self
            .lane
            .next_wake()
            .map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
        // A clock that is set back must not put the lane to sleep for long.
        due.unwrap_or(STATUS_IDLE).min(STATUS_IDLE)
    }

    fn feed(&mut self, user: UserKey, again: bool) {
        self.step(match self.around.users.get(&user) {
            Some(change) => Input::User { change, again },
            None => Input::Erased(user),
        });
    }

    fn step(&mut self, input: Input) {
        let mut reconciles = false;
        for effect in self.lane.step(input, clock::now(), rand::random()) {
            match effect {
                Effect::Execute(id, operation) => {
                    let around = Arc::clone(&self.around);
                    self.operations.push(Box::pin(async move {
                        let (result, took, requests) = around.executor.execute(operation, &around.lease).await;
                        (id, result, took, requests)
                    }));
                }
                Effect::Deliver(id, delivery) => {
                    let around = Arc::clone(&self.around);
                    self.deliveries.push(Box::pin(async move {
                        let result = around.executor.notifier.deliver(&delivery, &around.lease).await;
                        (id, result)
                    }));
                }
                Effect::Commit(batch) => {
                    let around = Arc::clone(&self.around);
                    if around.executor.desk().is_some() {
                        self.links.clone_from(&batch.links);
                    }
                    self.committing = Some(Box::pin(async move { around.recorder.commit(&batch).await }));
                }
                Effect::Ask(users) => self.subscription.again(users),
                Effect::Again(users) => self.backlog.extend(users.into_iter().map(|user| (user, true))),
                Effect::Reconcile => {
                    self.backlog = self.around.users.keys().into_iter().map(|user| (user, true)).collect();
                    reconciles = true;
                }
                Effect::Drained => self.drained = true,
            }
        }
        if let Some(desk) = self.around.executor.desk() {
            desk.observe(self.lane.completeness(clock::now()));
        }
        if reconciles && self.commanded && self.backlog.is_empty() {
            // Nobody to feed: that is everybody.
            self.step(Input::AllFed);
        }
    }
}

/// The writer of a list, which never ends; nothing where there is none. Cancel-safe.
async fn written(writing: &mut Option<Writing>) {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

/// When the writer of a list wants a young commit.
async fn wants_commit(around: &Surroundings) {
    match around.executor.desk() {
        Some(desk) => desk.wants_commit().await,
        None => std::future::pending().await,
    }
}

/// The end of a commit under way; never when there is none. Cancel-safe.
async fn committed(committing: &mut Option<Committing>) -> Result<(), CommitError> {
    match committing {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}
