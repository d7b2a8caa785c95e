//! One leadership: fence ▶ read own state to its end ▶ subscribe ▶ step until something ends it.
//!
//! **Invariant** (checkpoint): nothing is subscribed before the fence and the reading are done, so no older writer can
//! commit after the state that this one starts from.

use std::{future::Future, pin::Pin, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};
use usher_contract::{CloudEvent, OrgId, UserId};
use usher_runtime::{
    clock,
    kafka::{
        CommitError, Membership, MembershipEvent, OutRecord, ReleaseGuard, TransactionBatch, TransactionalProducer,
    },
    shutdown::{CancellationToken, chain},
};

use super::{
    Followed, Parts,
    prepare::{bookkeeping, prepare, writer_config},
    reread::{self, ReadResult},
    source, surveys,
};
use crate::{
    logic::{
        population::{Population, QueryFields},
        record::CheckpointKey,
        writer::{Batch, Counts, Effect, Input, Writer},
    },
    salesforce::pubsub::Start,
    status::Role,
    topics,
};

/// Staged records beyond which the stream is not read further: what bounds the memory under a slow broker.
const BACKLOG_MAX: usize = 5_000;
const TICK: Duration = Duration::from_millis(200);

/// What an operator asks of the leader.
#[derive(Debug)]
pub enum Command {
    /// Read everyone, or one user, again. The answer says in words what happens.
    Reimport {
        /// One user; `None` for the whole snapshot.
        user: Option<UserId>,
        /// The size of the next snapshot is right whatever it is.
        accept_size: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<String, String>>,
    },
}

impl Command {
    pub(super) fn refuse(self, why: &str) {
        let Self::Reimport { answer, .. } = self;
        let _ = answer.send(Err(why.to_owned()));
    }
}

/// How a leadership ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The service stops; everything staged is committed or was never acknowledged.
    Stopped,
    /// The group took it away.
    Revoked(ReleaseGuard),
    /// Something failed; the topics say where to go on.
    Failed {
        /// In words.
        reason: String,
        /// Whether it had committed anything.
        worked: bool,
    },
}

/// A batch on its way, and its result.
type Commit = (Batch, Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send>>);
type ReadFuture = Pin<Box<dyn Future<Output = ReadResult> + Send>>;
type SurveyFuture = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

struct Session<'a> {
    parts: &'a Parts,
    org: OrgId,
    writer: Writer,
    producer: TransactionalProducer,
    population: Population,
    query_fields: QueryFields,
    schedule: surveys::Schedule,
    reads: FuturesUnordered<ReadFuture>,
    survey: Option<(surveys::Job, SurveyFuture)>,
    survey_inputs: mpsc::Sender<Input>,
    commit: Option<Commit>,
    commits: u64,
    read_problem: Option<String>,
    /// Why the last listing, and the last other survey, failed.
    survey_problems: [Option<String>; 2],
    malformed: u64,
    /// What the metrics have counted of this leadership.
    counted: Counts,
}

/// Leads until something ends it.
pub(super) async fn lead(
    parts: &Parts,
    org: OrgId,
    mut followed: Followed,
    membership: &mut Membership,
    commands: &mut mpsc::Receiver<Command>,
    stop: &CancellationToken,
) -> Ended {
    let failed = |reason: String| Ended::Failed { reason, worked: false };
    let preparing = prepare(parts, org, &mut followed);
    let prepared = tokio::select! {
        () = stop.cancelled() => return Ended::Stopped,
        guard = revoked(membership) => return guard,
        prepared = preparing => prepared,
    };
    let (producer, fields, query_fields) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => return failed(reason),
    };
    let tables = followed.tables;
    if let Some(why) = tables.too_new {
        return failed(why);
    }
    let last_snapshot = tables
        .restored
        .position
        .as_ref()
        .and_then(|position| position.snapshot.as_ref())
        .map(|mark| mark.began_at);
    if let Some(position) = &tables.restored.position
        && position.partitions != topics::USER_CHANGE_PARTITIONS
    {
        return failed(format!(
            "the topic had {} partitions when the first user was written and must have {}: keys would change their partition; export, recreate and import",
            position.partitions,
            topics::USER_CHANGE_PARTITIONS
        ));
    }
    let config = &parts.config.population;
    let population = Population::new(&config.r#where, &config.exclude_profiles, &config.exclude_usernames);
    let writer = Writer::restore(
        writer_config(parts, org, fields, population.clone()),
        tables.restored,
        topics::USER_CHANGE_PARTITIONS,
    );
    info!(
        users = writer.published(),
        owed = writer.owed(),
        first_start = last_snapshot.is_none(),
        "leading"
    );
    parts.metrics.leader.set(1);
    // Room for one: see `surveys::begin`.
    let (survey_inputs, survey_inputs_in) = mpsc::channel(1);
    let session = Session {
        parts,
        org,
        schedule: surveys::Schedule::new(parts, last_snapshot, clock::now()),
        writer,
        producer,
        population,
        query_fields,
        reads: FuturesUnordered::new(),
        survey: None,
        survey_inputs,
        commit: None,
        commits: 0,
        read_problem: None,
        survey_problems: [None, None],
        malformed: tables.malformed,
        counted: Counts::default(),
    };
    session.run(survey_inputs_in, membership, commands, stop).await
}

/// The next revocation; other events of the group change nothing for a leader.
async fn revoked(membership: &mut Membership) -> Ended {
    loop {
        match membership.next().await {
            Some(MembershipEvent::Assigned(_)) => {}
            Some(MembershipEvent::Revoked(_, guard)) => return Ended::Revoked(guard),
            Some(MembershipEvent::Failed(reason)) => return Ended::Failed { reason, worked: true },
            None => {
                return Ended::Failed {
                    reason: "the membership has ended".to_owned(),
                    worked: true,
                };
            }
        }
    }
}

impl Session<'_> {
    async fn run(
        mut self,
        mut survey_inputs: mpsc::Receiver<Input>,
        membership: &mut Membership,
        commands: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) -> Ended {
        let (stream_inputs, mut stream_inputs_in) = mpsc::channel(4);
        let (behind, is_behind) = watch::channel(false);
        let start = match (&self.writer.position().replay_id, self.writer.published()) {
            (Some(replay_id), _) => Start::After(replay_id.clone()),
            (None, 0) => Start::Latest,
            // A first start that was cut off before it knew its position: what came in between must be seen.
            (None, _) => Start::Earliest,
        };
        let mut stream = std::pin::pin!(source::feed(self.parts.clone(), start, stream_inputs, is_behind));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let full = self.writer.backlog() >= BACKLOG_MAX;
            behind.send_if_modified(|behind| std::mem::replace(behind, full) != full);
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain().await,
                ended = revoked(membership) => {
                    // What is staged was never acknowledged to anybody: the successor finds it on the stream again.
                    self.finish_commit().await;
                    return ended;
                }
                result = committed(&mut self.commit) => match result {
                    Ok(()) => { self.count_commit(); Input::Committed }
                    Err(error) => {
                        self.parts.metrics.commit_failures.inc();
                        return Ended::Failed { reason: chain(&error), worked: self.commits > 0 };
                    }
                },
                Some((ticket, read_at, result)) = self.reads.next() => {
                    self.read_problem = result.as_ref().err().cloned();
                    Input::Read { ticket, read_at, result }
                }
                Some(input) = survey_inputs.recv(), if !full => input,
                result = survey_ended(&mut self.survey) => {
                    // Its last input may still be in the channel, and comes first.
                    while let Ok(input) = survey_inputs.try_recv() {
                        self.step(input);
                    }
                    self.survey_done(result);
                    Input::Tick
                }
                Some(command) = commands.recv() => match self.command(command) {
                    Some(input) => input,
                    None => Input::Tick,
                },
                Some(input) = stream_inputs_in.recv(), if !full => input,
                () = &mut stream => return Ended::Failed { reason: "the stream task has ended".to_owned(), worked: self.commits > 0 },
                _ = tick.tick() => Input::Tick,
            };
            let ticked = input == Input::Tick;
            self.step(input);
            if ticked {
                self.start_survey();
                self.report();
            }
        }
    }

    fn step(&mut self, input: Input) {
        let now = clock::now();
        for effect in self.writer.step(input, now) {
            match effect {
                Effect::Commit(batch) => {
                    let records = self.records(&batch);
                    // The producer's channel keeps the order; the future only waits for the answer.
                    let (commit, timer) = (
                        self.producer.commit_later(records),
                        self.parts.metrics.commit_seconds.start_timer(),
                    );
                    let commit = async move {
                        let result = commit.await;
                        timer.observe_duration();
                        result
                    };
                    self.commit = Some((batch, Box::pin(commit)));
                }
                Effect::Read { ticket, ids, reimport } => {
                    debug!(ids = ids.len(), reimport, "reading users again");
                    let (population, fields) = (self.population.clone(), self.query_fields.clone());
                    self.reads.push(Box::pin(reread::read(
                        self.parts.clone(),
                        population,
                        fields,
                        ids,
                        ticket,
                    )));
                }
            }
        }
    }

    fn records(&self, batch: &Batch) -> TransactionBatch {
        let kafka = &self.parts.config.kafka;
        let changes = batch.changes.iter().map(|change| OutRecord {
            topic: kafka.topic(topics::USER_CHANGE),
            key: change.user.key().to_string().into_bytes(),
            value: Some(bytes(change)),
            headers: CloudEvent::of_user_change(change, None).headers(),
            partition: None,
        });
        let letters = batch.dead_letters.iter().map(|letter| OutRecord {
            topic: kafka.topic(topics::DEAD_LETTER),
            key: format!("{}/{}", letter.stream, letter.replay_id).into_bytes(),
            value: Some(bytes(letter)),
            headers: Vec::new(),
            partition: None,
        });
        let mut bookkeeping_records: Vec<OutRecord> = batch
            .owed
            .iter()
            .map(|(debtor, owed)| {
                bookkeeping(
                    self.parts,
                    &CheckpointKey::Owed(self.org, *debtor),
                    owed.as_ref().map(bytes),
                )
            })
            .collect();
        let position = CheckpointKey::Position(self.org, self.parts.config.pubsub.channel.clone());
        bookkeeping_records.push(bookkeeping(self.parts, &position, Some(bytes(&batch.position))));
        TransactionBatch {
            changes: changes.chain(letters).collect(),
            bookkeeping: bookkeeping_records,
        }
    }

    fn count_commit(&mut self) {
        self.commits += 1;
        let metrics = &self.parts.metrics;
        metrics.commits.inc();
        let Some((batch, _)) = self.commit.take() else { return };
        let now = clock::now();
        for change in &batch.changes {
            if let Some(committed_at) = change.cause.committed_at {
                metrics
                    .freshness_seconds
                    .observe(now.duration_since(committed_at).as_secs_f64().max(0.0));
            }
        }
    }

    fn start_survey(&mut self) {
        if self.survey.is_some() {
            return;
        }
        if let Some(job) = self.schedule.due(&self.writer, clock::now()) {
            let run = surveys::run(
                self.parts.clone(),
                job,
                self.population.clone(),
                self.query_fields.clone(),
                self.survey_inputs.clone(),
            );
            self.survey = Some((job, Box::pin(run)));
        }
    }

    fn survey_done(&mut self, result: Result<u64, String>) {
        if let Some((job, _)) = self.survey.take() {
            self.survey_problems[usize::from(job.listing)] = result
                .as_ref()
                .err()
                .map(|why| format!("reading {} fails: {why}", job.name()));
            // A listing that proves nothing is no success as long as there has been none: it is tried again, not at once.
            let accepted = !job.listing || self.writer.position().snapshot.is_some();
            self.schedule
                .ended(self.parts, job, result.is_ok() && accepted, clock::now());
        }
    }

    fn command(&mut self, command: Command) -> Option<Input> {
        let Command::Reimport {
            user,
            accept_size,
            answer,
        } = command;
        match user {
            Some(user) => {
                let _ = answer.send(Ok(format!("{user} is read again now")));
                Some(Input::Reimport(user))
            }
            None => {
                let running = self.survey.as_ref().map(|(job, _)| job.kind);
                let begins = self.schedule.want(accept_size, running);
                let words = if begins {
                    "a snapshot begins now"
                } else {
                    "a snapshot is under way; this request joins it"
                };
                let _ = answer.send(Ok(words.to_owned()));
                None
            }
        }
    }

    /// Stops taking in, lets the batches under way become durable.
    async fn drain(mut self) -> Ended {
        let limit = self.parts.config.shutdown_grace / 2;
        let work = async {
            loop {
                if self.commit.is_none() {
                    self.step(Input::Tick);
                }
                if self.commit.is_none() {
                    return;
                }
                match committed(&mut self.commit).await {
                    Ok(()) => {
                        self.count_commit();
                        self.step(Input::Committed);
                    }
                    Err(error) => {
                        warn!(reason = %chain(&error), "the last batch was not committed; it is found on the stream again");
                        return;
                    }
                }
            }
        };
        if tokio::time::timeout(limit, work).await.is_err() {
            warn!("the last batches were not committed in time; they are found on the stream again");
        }
        Ended::Stopped
    }

    async fn finish_commit(&mut self) {
        if self.commit.is_some() {
            let _ = tokio::time::timeout(Duration::from_secs(5), committed(&mut self.commit)).await;
        }
    }

    fn report(&mut self) {
        let (writer, metrics) = (&self.writer, &self.parts.metrics);
        let counts = writer.counts();
        let last = std::mem::replace(&mut self.counted, counts);
        metrics.events.inc_by(counts.events - last.events);
        metrics.undecodable.inc_by(counts.undecodable - last.undecodable);
        metrics.ignored.inc_by(counts.ignored - last.ignored);
        metrics.messages.inc_by(counts.messages - last.messages);
        metrics.healed.inc_by(counts.healed - last.healed);
        let gauge = |gauge: &prometheus::IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&metrics.published_users, writer.published());
        gauge(&metrics.owed, writer.owed());
        gauge(&metrics.backlog, writer.backlog());
        metrics.malformed.set(i64::try_from(self.malformed).unwrap_or(i64::MAX));
        let snapshot = writer.position().snapshot.clone();
        metrics
            .last_snapshot_timestamp_seconds
            .set(snapshot.as_ref().map_or(0, |snapshot| snapshot.began_at.as_second()));
        let mut problems: Vec<String> = Vec::new();
        problems.extend(writer.refused_removals().map(str::to_owned));
        problems.extend(writer.snapshot_problem().map(str::to_owned));
        problems.extend(
            self.read_problem
                .as_ref()
                .map(|problem| format!("re-reading users fails: {problem}")),
        );
        problems.extend(self.survey_problems.iter().flatten().cloned());
        if writer.unseen() > 0 {
            problems.push(format!(
                "{} published people cannot be seen by the integration user and stay as they are; grant View All Users",
                writer.unseen()
            ));
        }
        if self.malformed > 0 {
            problems.push(format!(
                "{} records of our own topics cannot be read; see the log for their places",
                self.malformed
            ));
        }
        let idle = writer.is_idle() && self.survey.is_none() && snapshot.is_some();
        self.parts.status.update(|status| {
            status.role = Role::Leader;
            status.leader = Some(self.parts.address.clone());
            status.published_users = writer.published();
            status.owed_reads = writer.owed();
            status.backlog_records = writer.backlog();
            status.events = counts.events;
            status.undecodable_events = counts.undecodable;
            status.messages = counts.messages;
            status.healed = counts.healed;
            status.position_committed_at = writer.position().committed_at;
            status.snapshot.running = writer
                .survey_progress()
                .map(|(kind, _)| format!("{kind:?}").to_lowercase());
            status.snapshot.rows = writer.survey_progress().map_or(0, |(_, rows)| rows);
            status.snapshot.last_complete = snapshot.as_ref().map(|snapshot| snapshot.began_at);
            status.snapshot.last_rows = snapshot.as_ref().map(|snapshot| snapshot.rows);
            status.snapshot.problem = writer.snapshot_problem().map(str::to_owned);
            status.problems = problems;
            status.idle = idle;
        });
        self.parts.readiness.met("leadership");
    }
}

/// The result of the commit under way; never, when there is none.
async fn committed(commit: &mut Option<Commit>) -> Result<(), CommitError> {
    match commit {
        Some((_, result)) => result.await,
        None => std::future::pending().await,
    }
}

async fn survey_ended(survey: &mut Option<(surveys::Job, SurveyFuture)>) -> Result<u64, String> {
    match survey {
        Some((_, result)) => result.await,
        None => std::future::pending().await,
    }
}

/// A record as bytes. Our own types serialize always: maps have text keys and no field is unknown without being left out.
fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("**Invariant**: the contract's types serialize; a golden test shows each")
}
