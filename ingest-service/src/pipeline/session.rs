//! One leadership: fence ▶ read own state to its end ▶ subscribe ▶ step until something ends it.
//!
//! **Invariant** (checkpoint): nothing is subscribed before the fence and the reading are done, so no older writer can
//! commit after the state that this one starts from.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use usher_contract::OrgId;
use usher_runtime::{
    clock,
    kafka::{CommitError, Membership, MembershipEvent, ReleaseGuard, TransactionalProducer},
    shutdown::{CancellationToken, chain},
};

use super::{
    Followed, Parts, polls,
    prepare::{prepare, writer_config},
    reread::{self, ReadResult},
    source, surveys,
};
use crate::{
    config::SnapshotSource,
    logic::{
        population::{Population, QueryFields},
        quota::{Means, Permit, Purpose},
        schedule::Outcome,
        writer::{Batch, Counts, Effect, Input, SurveyKind, Writer},
    },
    salesforce::pubsub::Start,
    topics,
};

/// Staged records beyond which the stream is not read further: what bounds the memory under a slow broker.
const BACKLOG_MAX: usize = 5_000;
const TICK: Duration = Duration::from_millis(200);

mod commands;
mod fields;
mod records;
mod report;

pub use commands::{Answer, Command, HeldPerson, HeldView, PersonView, Refusal};

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
type Commit = (
    Arc<Batch>,
    Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send>>,
);
type ReadFuture = Pin<Box<dyn Future<Output = ReadResult> + Send>>;
type SurveyFuture = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

pub(super) struct Session<'a> {
    pub(super) parts: &'a Parts,
    org: OrgId,
    pub(super) writer: Writer,
    producer: TransactionalProducer,
    population: Population,
    query_fields: QueryFields,
    fields: fields::FieldWatch,
    schedule: surveys::Schedule,
    reads: FuturesUnordered<ReadFuture>,
    pub(super) survey: Option<(surveys::Job, SurveyFuture)>,
    survey_inputs: mpsc::Sender<Input>,
    pub(super) polls: polls::Polls,
    commit: Option<Commit>,
    ahead: records::Ahead,
    commits: u64,
    watch: surveys::Watch,
    read_problem: Option<String>,
    /// Why the last listing, and the last other survey, failed.
    survey_problems: [Option<String>; 2],
    malformed: u64,
    /// Why the survey that was due last is held up or made less often.
    held_up: Option<String>,
    /// Answers to operators that wait for a batch to be durable.
    answers: Vec<commands::Pending>,
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
    let (producer, learnt) = match prepared {
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
    let integration_user = match parts.rest.tokens().token().await {
        Ok(token) => token.user,
        Err(error) => return failed(chain(&error)),
    };
    let population = parts.config.population.population(integration_user);
    let mut writer = Writer::restore(
        writer_config(parts, org, learnt.fields.clone(), population.clone()),
        tables.restored,
        topics::USER_CHANGE_PARTITIONS,
    );
    let wanted = parts.config.wanted_polls();
    writer.expect_polls(wanted.clone());
    info!(
        users = writer.published(),
        owed = writer.owed(),
        first_start = last_snapshot.is_none(),
        "leading"
    );
    parts.metrics.leader.set(1);
    let plan = match surveys::plan(&parts.config) {
        Ok(plan) => plan,
        Err(reason) => return failed(reason),
    };
    let watch = surveys::Watch::default();
    // Room for one: see `Reading::begin` in `surveys`.
    let (survey_inputs, survey_inputs_in) = mpsc::channel(1);
    let session = Session {
        parts,
        org,
        schedule: surveys::Schedule::new(plan, last_snapshot, clock::now()),
        writer,
        producer,
        population,
        fields: fields::FieldWatch::new(&learnt, clock::now()),
        query_fields: learnt.query_fields,
        reads: FuturesUnordered::new(),
        survey: None,
        survey_inputs,
        polls: polls::Polls::new(&wanted, parts.config.polls.every, clock::now(), rand::random()),
        commit: None,
        ahead: records::Ahead::default(),
        commits: 0,
        watch: watch.clone(),
        read_problem: None,
        survey_problems: [None, None],
        malformed: tables.malformed,
        held_up: None,
        answers: Vec::new(),
        counted: Counts::default(),
    };
    let ended = session.run(survey_inputs_in, membership, commands, stop).await;
    watch.abandon(&parts.rest).await;
    ended
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
        let mut limits = std::pin::pin!(self.parts.rest.quota().clone().watch(self.parts.rest.clone()));
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
                    Ok(()) => { self.count_commit(); self.step(Input::Committed); self.answer_durable(); continue }
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
                outcome = self.polls.ended(), if !full => { self.polls_done(outcome, clock::now()); Input::Tick }
                Some(command) = commands.recv() => self.command(command),
                Some(input) = stream_inputs_in.recv(), if !full => input,
                () = &mut stream => return Ended::Failed { reason: "the stream task has ended".to_owned(), worked: self.commits > 0 },
                learnt = self.fields.learnt() => { self.fields_learnt(learnt); Input::Tick }
                never = &mut limits => match never {},
                _ = tick.tick() => Input::Tick,
            };
            let ticked = input == Input::Tick;
            self.step(input);
            if self.commit.is_some() {
                self.work_ahead();
            }
            if ticked {
                self.look_at_fields();
                self.start_survey();
                self.start_polls(clock::now());
                self.report();
            }
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        let now = clock::now();
        for effect in self.writer.step(input, now) {
            match effect {
                Effect::Commit(batch) => {
                    let records = self.records(self.writer.committed_batch() + 1, &batch);
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
        self.watch.needs(self.writer.owes_everyone().is_some());
        if self.survey.is_some() || self.writer.is_finishing() {
            return;
        }
        if let Some(job) = self.schedule.due(&surveys::Facts::of(&self.writer), clock::now()) {
            let (purpose, means) = self.purpose(job);
            let permit = self.parts.rest.quota().allows(purpose, means);
            self.held_up = permit.words().map(|words| format!("reading {}: {words}", job.name()));
            if !self.schedule.may(job, purpose, &permit, clock::now()) {
                return;
            }
            if let Permit::Warn(words) = &permit {
                warn!(reason = %words, "a snapshot begins all the same: it was asked for");
            }
            let run = surveys::run(surveys::Reading {
                parts: self.parts.clone(),
                job,
                purpose,
                population: self.population.clone(),
                fields: self.query_fields.clone(),
                inputs: self.survey_inputs.clone(),
                watch: self.watch.clone(),
            });
            self.survey = Some((job, Box::pin(run)));
        }
    }

    /// What a survey is for and what it spends.
    fn purpose(&self, job: surveys::Job) -> (Purpose, Means) {
        let position = self.writer.position();
        let owed = self.writer.owes_everyone().is_some() && job.kind != SurveyKind::Report;
        let purpose = if owed || (job.kind == SurveyKind::Recheck && job.to_now) {
            Purpose::Stream
        } else if job.kind == SurveyKind::Recheck {
            Purpose::Recheck
        } else if job.reimport || position.wanted.is_some() || position.snapshot.is_none() {
            Purpose::Reimport
        } else {
            Purpose::Snapshot
        };
        let means = match job.kind {
            SurveyKind::Report => Means::Report,
            SurveyKind::Query if job.listing && self.parts.config.snapshot.source == SnapshotSource::Bulk => {
                Means::Bulk
            }
            SurveyKind::Query | SurveyKind::Recheck => Means::Requests,
        };
        (purpose, means)
    }

    fn survey_done(&mut self, result: Result<u64, String>) {
        if let Some((job, _)) = self.survey.take() {
            self.survey_problems[usize::from(job.listing)] = result
                .as_ref()
                .err()
                .map(|why| format!("reading {} fails: {why}", job.name()));
            let now = clock::now();
            match Outcome::of(job, result.is_ok(), &self.writer) {
                Outcome::Well => self.schedule.ended(job, true, now, surveys::rest),
                Outcome::Failed => self.schedule.ended(job, false, now, surveys::rest),
                Outcome::Unbelieved => self.schedule.unbelieved(job, now),
            }
            // Somebody has asked while it ran: that does not wait for its rest.
            let wanted = self.writer.position().wanted;
            if job.kind != SurveyKind::Recheck && wanted.is_some_and(|wanted| wanted.at > job.asked_at) {
                self.schedule.hurry();
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
                        self.answer_durable();
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
