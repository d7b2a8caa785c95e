//! Polls: when a round of them is due, and what becomes of its answers. One round at a time.
//!
//! A round is whatever is due; its answers go to the writer together, so that a person gets one message. What an answer
//! means: `logic/polls.rs`; whether it is believed, and whom it concerns: `logic/writer/polled.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use usher_contract::UserId;
use usher_runtime::backoff::Backoff;

use super::Parts;
use crate::{
    logic::{
        polls::PollKind,
        quota::{Means, Pace, Permit, Purpose},
        writer::{Input, Poll, Polled, Writer},
    },
    status::PollStatus,
};

mod read;

const RETRY: Backoff = Backoff::from_millis(2_000, 900_000);
/// Somebody new does not wait for the next regular round, but several who are new share one.
const SOON: Duration = Duration::from_secs(30);
/// Such a round begins only when this many times as long as the last one took has passed: reading never becomes all that
/// the org's calls are spent on.
const SOON_REST: i32 = 10;
/// The first round after a take-over is put off by at most this, so that a crash loop does not become a load.
const START_MAX: Duration = Duration::from_secs(60);

/// What was read of one poll.
struct Read {
    polled: Polled,
    read_at: Timestamp,
    rows: usize,
    /// What it could not see and an operator should.
    problem: Option<String>,
    /// What it does not follow.
    note: Option<String>,
}

/// Why a poll was not read.
struct Failure {
    reason: String,
    wait: Duration,
}

/// What came of a round.
pub(super) struct Outcome(Vec<(PollKind, Result<Read, Failure>)>);

type Round = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One poll over time.
#[derive(Debug, Clone)]
struct State {
    next: Timestamp,
    failures: u32,
    /// The last answer that was believed, by the source's clock.
    last: Option<Timestamp>,
    rows: usize,
    problem: Option<String>,
    note: Option<String>,
    /// The writer does not believe the answers.
    doubted: bool,
    /// An operator has confirmed them.
    accept: bool,
}

/// All polls of one leadership.
pub(super) struct Polls {
    every: SignedDuration,
    states: BTreeMap<PollKind, State>,
    running: Option<(Timestamp, Round)>,
    /// When the last round began and how long it took.
    last_round: Option<(Timestamp, SignedDuration)>,
    /// How often rounds were left out in a row, to spare the org's allocations, and why, in words.
    pace: Pace,
    held_up: Option<String>,
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Polls {
    /// `random` is uniform in 0..1.
    pub(super) fn new(wanted: &BTreeSet<PollKind>, every: Duration, now: Timestamp, random: f64) -> Self {
        let state = State {
            next: now + signed(every.min(START_MAX).mul_f64(random)),
            failures: 0,
            last: None,
            rows: 0,
            problem: None,
            note: None,
            doubted: false,
            accept: false,
        };
        Self {
            every: signed(every),
            states: wanted.iter().map(|kind| (*kind, state.clone())).collect(),
            running: None,
            last_round: None,
            pace: Pace::default(),
            held_up: None,
        }
    }

    /// What is to be read now. `waiting`: what somebody new waits for.
    pub(super) fn due(&self, waiting: &BTreeSet<PollKind>, now: Timestamp) -> Vec<PollKind> {
        if self.running.is_some() {
            return Vec::new();
        }
        let soon = self.last_round.is_none_or(|(began, took)| {
            let rest = signed(SOON).min(self.every).max(took.saturating_mul(SOON_REST));
            now.duration_since(began) >= rest
        });
        let is_due = |(kind, state): &(&PollKind, &State)| {
            state.next <= now || (soon && state.failures == 0 && !state.doubted && waiting.contains(kind))
        };
        self.states.iter().filter(is_due).map(|(kind, _)| *kind).collect()
    }

    /// Whether a due round begins, as far as the org's allocations go. When not, it is due again after its interval.
    pub(super) fn may(&mut self, due: &[PollKind], permit: &Permit, now: Timestamp) -> bool {
        self.held_up = permit.words().map(|words| format!("polls: {words}"));
        if self.pace.runs(permit) {
            return true;
        }
        for kind in due {
            if let Some(state) = self.states.get_mut(kind) {
                state.next = now + self.every;
            }
        }
        // Newcomers wait as well, or the round would be due again at once.
        self.last_round = Some((now, SignedDuration::ZERO));
        false
    }

    /// What the org's allocations hold up, in words.
    pub(super) fn held_up(&self) -> Option<String> {
        self.held_up.clone()
    }

    /// Begins a round. `frozen`: who is published as frozen.
    pub(super) fn start(&mut self, parts: Parts, due: Vec<PollKind>, frozen: Vec<UserId>, now: Timestamp) {
        self.running = Some((now, Box::pin(read::read_round(parts, due, frozen))));
    }

    /// The round under way; never, when there is none.
    pub(super) async fn ended(&mut self) -> Outcome {
        match &mut self.running {
            Some((_, round)) => round.await,
            None => std::future::pending().await,
        }
    }

    /// Notes what was read and failed; gives what the writer is to be told.
    pub(super) fn take(&mut self, outcome: Outcome, now: Timestamp, random: f64) -> Vec<Poll> {
        if let Some((began, _)) = self.running.take() {
            self.last_round = Some((began, now.duration_since(began)));
        }
        // The same for all, so that they stay one round.
        let regular = now
            + SignedDuration::try_from_secs_f64(self.every.as_secs_f64() * (0.9 + 0.2 * random)).unwrap_or(self.every);
        let mut answers = Vec::new();
        for (kind, result) in outcome.0 {
            let Some(state) = self.states.get_mut(&kind) else {
                continue;
            };
            match result {
                Ok(read) => {
                    state.failures = 0;
                    state.next = regular;
                    (state.rows, state.problem, state.note) = (read.rows, read.problem, read.note);
                    answers.push(Poll {
                        polled: read.polled,
                        read_at: read.read_at,
                        accept_loss: std::mem::take(&mut state.accept),
                    });
                }
                Err(failure) => {
                    state.failures += 1;
                    let wait = RETRY.wait(state.failures, random).max(failure.wait);
                    state.next = now + signed(wait).min(self.every);
                    warn!(poll = kind.label(), reason = %failure.reason, failures = state.failures, "a poll failed; what was known stays");
                    state.problem = Some(failure.reason);
                }
            }
        }
        answers
    }

    /// The writer has judged an answer.
    pub(super) fn judged(&mut self, kind: PollKind, read_at: Timestamp, doubt: Option<&str>) {
        let Some(state) = self.states.get_mut(&kind) else {
            return;
        };
        state.doubted = doubt.is_some();
        match doubt {
            None => state.last = Some(read_at),
            Some(doubt) => {
                warn!(
                    poll = kind.label(),
                    reason = doubt,
                    "a poll is not believed; what was known stays"
                );
                state.problem = Some(format!("{doubt}; else {}", kind.hint()));
            }
        }
    }

    /// An operator confirms what is not believed: it is read again now and taken.
    pub(super) fn accept(&mut self, now: Timestamp) {
        for state in self.states.values_mut().filter(|state| state.doubted) {
            state.accept = true;
            state.next = now;
        }
    }

    /// Whether everything that is wanted has been read at least once or was tried, and nothing is being read.
    pub(super) fn is_quiet(&self, waiting: &BTreeSet<PollKind>) -> bool {
        let tried = |kind: &PollKind| {
            let state = self.states.get(kind);
            state.is_none_or(|state| state.last.is_some() || state.problem.is_some())
        };
        self.running.is_none() && waiting.iter().all(tried)
    }

    /// What is wrong, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let problem = |(kind, state): (&PollKind, &State)| {
            let as_of = state
                .last
                .map_or_else(|| "as last published".to_owned(), |last| format!("as of {last}"));
            let subject = kind.subject();
            let verb = if subject.ends_with('s') { "are" } else { "is" };
            let reason = state.problem.as_ref()?;
            Some(format!("{subject} {verb} {as_of}: {reason}"))
        };
        self.states.iter().filter_map(problem).collect()
    }

    /// For the status, by the name of the poll.
    pub(super) fn status(&self) -> BTreeMap<&'static str, PollStatus> {
        let shown = |(kind, state): (&PollKind, &State)| {
            let status = PollStatus {
                last_success: state.last,
                rows: state.rows,
                problem: state.problem.clone(),
                note: state.note.clone(),
            };
            (kind.label(), status)
        };
        self.states.iter().map(shown).collect()
    }
}

impl super::session::Session<'_> {
    /// Begins a round when one is due and the last one is worked off.
    pub(super) fn start_polls(&mut self, now: Timestamp) {
        // Before everybody has been read once there is hardly anybody to attach anything to.
        let baseline = self.writer.position().snapshot.is_none() && self.survey.is_some();
        if self.writer.published() == 0 || baseline || self.writer.attaching() {
            return;
        }
        let due = self.polls.due(self.writer.unpolled(), now);
        if due.is_empty() {
            return;
        }
        let permit = self.parts.rest.quota().allows(Purpose::Poll, Means::Requests);
        if !self.polls.may(&due, &permit, now) {
            return;
        }
        let frozen = if due.contains(&PollKind::Frozen) {
            self.writer.frozen()
        } else {
            Vec::new()
        };
        self.step(Input::PollBegan);
        self.polls.start(self.parts.clone(), due, frozen, now);
    }

    /// Hands the answers of a round to the writer.
    pub(super) fn polls_done(&mut self, outcome: Outcome, now: Timestamp) {
        for (kind, result) in &outcome.0 {
            if result.is_err() {
                self.parts
                    .metrics
                    .poll_failures
                    .with_label_values(&[kind.label()])
                    .inc();
            }
        }
        let answers = self.polls.take(outcome, now, rand::random());
        let read: Vec<(PollKind, Timestamp)> = answers.iter().map(|poll| (poll.polled.kind(), poll.read_at)).collect();
        self.step(Input::Polled(answers));
        for (kind, read_at) in read {
            let doubt = self.writer.poll_doubt(kind);
            let metrics = &self.parts.metrics;
            match doubt {
                None => metrics
                    .poll_last_success
                    .with_label_values(&[kind.label()])
                    .set(read_at.as_second()),
                Some(_) => metrics.poll_failures.with_label_values(&[kind.label()]).inc(),
            }
            self.polls.judged(kind, read_at, doubt);
        }
    }
}

/// What the status needs of the writer's side.
pub(super) fn is_quiet(polls: &Polls, writer: &Writer) -> bool {
    polls.is_quiet(writer.unpolled()) && !writer.attaching()
}

#[cfg(test)]
mod tests;
