//! Polls: when a round of them is due, and reading it by query. One round at a time, one query at a time.
//!
//! A round is whatever is due; its answers go to the writer together, so that a person gets one message. What an answer
//! means: `logic/polls.rs`; whether it is believed, and whom it concerns: `logic/writer/polled.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    future::Future,
    pin::Pin,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tracing::{info, warn};
use usher_contract::UserId;
use usher_runtime::backoff::Backoff;

use super::Parts;
use crate::{
    logic::{
        polls::{self, GroupPoll, PermissionSetPoll, PollKind},
        population::IDS_PER_QUERY_MAX,
        quota::{Means, Pace, Permit, Purpose},
        writer::{Input, Poll, Polled, Writer},
    },
    salesforce::error::ApiError,
    status::PollStatus,
};

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
        self.running = Some((now, Box::pin(read_round(parts, due, frozen))));
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

async fn read_round(parts: Parts, due: Vec<PollKind>, frozen: Vec<UserId>) -> Outcome {
    let mut read = Vec::new();
    for kind in due {
        let result = match kind {
            PollKind::Frozen => read_frozen(&parts, &frozen).await,
            PollKind::Groups => read_groups(&parts).await,
            PollKind::PermissionSets => read_permission_sets(&parts).await,
            PollKind::Names => read_names(&parts).await,
        };
        let result = result.map_err(|error| error.failure(kind));
        if let Ok(read) = &result {
            info!(poll = kind.label(), rows = read.rows, "a poll is read");
        }
        read.push((kind, result));
    }
    Outcome(read)
}

/// What went wrong while reading.
enum ReadError {
    Api(ApiError),
    /// The answer is not what was asked for, in words.
    Answer(String),
}

impl From<ApiError> for ReadError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl ReadError {
    fn failure(self, kind: PollKind) -> Failure {
        match self {
            // The general hints are about users; here another permission is missing.
            Self::Api(ApiError::Operator { what, code, .. }) => Failure {
                reason: format!("Salesforce refuses {what}: {code}; {}", kind.hint()),
                wait: Duration::from_secs(60),
            },
            Self::Api(error) => Failure {
                reason: error.to_string(),
                wait: error.wait(),
            },
            Self::Answer(reason) => Failure {
                reason,
                wait: Duration::from_secs(60),
            },
        }
    }
}

/// Reads all pages of a query. Gives when the first was read, and how many rows there were.
async fn rows(
    parts: &Parts,
    what: &str,
    soql: &str,
    mut take: impl FnMut(&[Value]) -> Result<(), String> + Send,
) -> Result<(Timestamp, usize), ReadError> {
    let mut page = parts.rest.query(what, soql).await?;
    let (at, mut count) = (page.at, 0);
    loop {
        count += page.records.len();
        take(&page.records)
            .map_err(|why| ReadError::Answer(format!("{what} gave an answer that cannot be read: {why}")))?;
        match page.next {
            Some(next) => page = parts.rest.query_more(what, &next).await?,
            None => return Ok((at, count)),
        }
    }
}

async fn read_frozen(parts: &Parts, published: &[UserId]) -> Result<Read, ReadError> {
    let what = "reading frozen log-ins";
    let count = parts
        .rest
        .get(what, &parts.rest.path("query"), &[("q", polls::COUNT_LOGINS)])
        .await?;
    if count.body["totalSize"].as_u64() == Some(0) {
        return Err(ReadError::Answer(format!(
            "no log-in can be seen; {}",
            PollKind::Frozen.hint()
        )));
    }
    let mut frozen = HashSet::new();
    let (read_at, count) = rows(parts, what, polls::FROZEN, |rows| {
        frozen.extend(polls::logins(rows)?.into_iter().map(|(user, _)| user));
        Ok(())
    })
    .await?;
    // Whoever is missing may be thawed, or may not be seen any more: asked directly, and believed only if seen.
    let mut unseen = 0;
    for users in polls::not_in(&frozen, published).chunks(IDS_PER_QUERY_MAX) {
        let mut seen = HashMap::new();
        rows(parts, what, &polls::query_logins(users), |rows| {
            seen.extend(polls::logins(rows)?);
            Ok(())
        })
        .await?;
        for user in users {
            unseen += usize::from(!seen.contains_key(user));
            if seen.get(user).copied().unwrap_or(true) {
                frozen.insert(*user);
            }
        }
    }
    let problem = (unseen > 0).then(|| {
        format!(
            "{unseen} people who are published as frozen cannot be seen and stay frozen; {}",
            PollKind::Frozen.hint()
        )
    });
    Ok(Read {
        polled: Polled::Frozen(frozen),
        read_at,
        rows: count,
        problem,
        note: None,
    })
}

async fn read_groups(parts: &Parts) -> Result<Read, ReadError> {
    let what = "reading the members of groups";
    let mut poll = GroupPoll::default();
    let (read_at, count) = rows(parts, what, polls::MEMBERS, |rows| poll.members(rows)).await?;
    rows(parts, what, polls::PUBLIC, |rows| poll.public(rows)).await?;
    for groups in poll.unknown().chunks(IDS_PER_QUERY_MAX) {
        rows(parts, what, &GroupPoll::query_others(groups), |rows| poll.others(rows)).await?;
    }
    if poll.needs_roles() {
        rows(parts, what, polls::ROLES, |rows| poll.roles(rows)).await?;
        for roles in poll.covered().chunks(IDS_PER_QUERY_MAX) {
            rows(parts, what, &GroupPoll::query_holders(roles), |rows| poll.holders(rows)).await?;
        }
    }
    let (lists, left_out) = poll.finish();
    let left_out: Vec<String> = left_out
        .into_iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let note = (!left_out.is_empty()).then(|| {
        format!(
            "public groups hold members of kinds that are not followed ({}); whoever is in a group only through these is not shown in it",
            left_out.join(", ")
        )
    });
    Ok(Read {
        polled: Polled::Groups(lists),
        read_at,
        rows: count,
        problem: None,
        note,
    })
}

async fn read_permission_sets(parts: &Parts) -> Result<Read, ReadError> {
    let what = "reading the assignments of permission sets";
    let mut poll = PermissionSetPoll::default();
    let (read_at, count) = match rows(parts, what, polls::ASSIGNMENTS, |rows| poll.assignments(rows)).await {
        // The field came with a later version of the API: without it nothing says that an assignment has lapsed.
        Err(ReadError::Api(ApiError::Operator { code, .. })) if code == "INVALID_FIELD" => {
            rows(parts, what, polls::ASSIGNMENTS_PLAIN, |rows| poll.assignments(rows)).await?
        }
        other => other?,
    };
    rows(parts, what, polls::PERMISSION_SETS, |rows| poll.sets(rows)).await?;
    Ok(Read {
        polled: Polled::PermissionSets(poll.finish()),
        read_at,
        rows: count,
        problem: None,
        note: None,
    })
}

async fn read_names(parts: &Parts) -> Result<Read, ReadError> {
    let what = "reading the names of profiles and roles";
    let mut names = HashMap::new();
    let mut take = |rows: &[Value]| {
        names.extend(polls::names(rows)?);
        Ok(())
    };
    let (read_at, profiles) = rows(parts, what, polls::PROFILES, &mut take).await?;
    let (_, roles) = rows(parts, what, polls::ROLES, &mut take).await?;
    Ok(Read {
        polled: Polled::Names(names),
        read_at,
        rows: profiles + roles,
        problem: None,
        note: None,
    })
}

/// What the status needs of the writer's side.
pub(super) fn is_quiet(polls: &Polls, writer: &Writer) -> bool {
    polls.is_quiet(writer.unpolled()) && !writer.attaching()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_312_000 + seconds).unwrap()
    }

    const EVERY: Duration = Duration::from_secs(900);
    const GROUPS: [PollKind; 1] = [PollKind::Groups];

    fn polls(random: f64) -> Polls {
        Polls::new(
            &BTreeSet::from([PollKind::Frozen, PollKind::Groups]),
            EVERY,
            at(0),
            random,
        )
    }

    /// A round that begins and ends.
    fn round(polls: &mut Polls, began: i64, ended: i64, results: Vec<(PollKind, Result<Read, Failure>)>) -> Vec<Poll> {
        polls.running = Some((at(began), Box::pin(std::future::pending())));
        polls.take(Outcome(results), at(ended), 0.5)
    }

    fn read(kind: PollKind) -> (PollKind, Result<Read, Failure>) {
        let polled = match kind {
            PollKind::Groups => Polled::Groups([].into_iter().collect()),
            _ => Polled::Frozen(HashSet::new()),
        };
        let read = Read {
            polled,
            read_at: at(0),
            rows: 0,
            problem: None,
            note: None,
        };
        (kind, Ok(read))
    }

    fn failed(kind: PollKind) -> (PollKind, Result<Read, Failure>) {
        let failure = Failure {
            reason: "503".to_owned(),
            wait: Duration::from_secs(1),
        };
        (kind, Err(failure))
    }

    fn due(polls: &Polls, waiting: &[PollKind], seconds: i64) -> Vec<PollKind> {
        polls.due(&waiting.iter().copied().collect(), at(seconds))
    }

    #[test]
    fn the_first_round_is_jittered_unless_somebody_waits() {
        assert_eq!(due(&polls(0.5), &[], 29), []);
        assert_eq!(due(&polls(0.5), &[], 30), [PollKind::Frozen, PollKind::Groups]);
        assert_eq!(due(&polls(0.5), &GROUPS, 0), GROUPS);
    }

    #[test]
    fn polls_stay_one_round_and_only_one_is_read_at_a_time() {
        let mut polls = polls(0.0);
        round(&mut polls, 0, 10, vec![read(PollKind::Frozen), read(PollKind::Groups)]);
        assert_eq!(due(&polls, &[], 909), []);
        assert_eq!(due(&polls, &[], 910), [PollKind::Frozen, PollKind::Groups]);
        polls.running = Some((at(910), Box::pin(std::future::pending())));
        assert_eq!(due(&polls, &[], 2000), [], "one is under way");
    }

    #[test]
    fn somebody_new_is_polled_soon_and_the_reading_rests_in_between() {
        let mut polls = polls(0.0);
        round(&mut polls, 0, 1, vec![read(PollKind::Groups)]);
        polls.states.get_mut(&PollKind::Frozen).unwrap().next = at(10_000);
        assert_eq!(due(&polls, &GROUPS, 29), [], "several who are new share a round");
        assert_eq!(due(&polls, &GROUPS, 30), GROUPS);
        round(&mut polls, 30, 50, vec![read(PollKind::Groups)]);
        assert_eq!(
            due(&polls, &GROUPS, 229),
            [],
            "ten times the twenty seconds that it took"
        );
        assert_eq!(due(&polls, &GROUPS, 230), GROUPS);
    }

    #[test]
    fn what_the_allocations_hold_up_is_due_again_after_its_interval_also_for_newcomers() {
        let wanted = GROUPS.into_iter().collect();
        let mut polls = Polls::new(&wanted, EVERY, at(0), 0.0);
        let stretched = Permit::Stretch(2, "half is used".into());
        assert!(!polls.may(&GROUPS, &stretched, at(0)));
        assert_eq!(due(&polls, &GROUPS, 29), []);
        assert_eq!(due(&polls, &[], 899), []);
        assert_eq!(due(&polls, &[], 900), GROUPS);
        assert!(polls.may(&GROUPS, &stretched, at(900)), "every second one is made");
        assert_eq!(polls.held_up().as_deref(), Some("polls: half is used"));
        assert!(!polls.may(&GROUPS, &Permit::Wait("all is used".into()), at(1800)));
        assert!(polls.may(&GROUPS, &Permit::Go, at(2700)) && polls.held_up().is_none());
    }

    #[test]
    fn a_failed_poll_is_tried_again_with_growing_waits_and_says_as_of_when_the_state_is() {
        let mut polls = polls(0.0);
        round(&mut polls, 0, 1, vec![read(PollKind::Frozen), read(PollKind::Groups)]);
        polls.judged(PollKind::Groups, at(0), None);
        round(
            &mut polls,
            910,
            910,
            vec![read(PollKind::Frozen), failed(PollKind::Groups)],
        );
        assert_eq!(
            polls.problems(),
            ["group membership is as of 2026-01-02T00:00:00Z: 503"]
        );
        assert_eq!(
            due(&polls, &GROUPS, 911),
            [],
            "somebody who waits does not hammer what fails"
        );
        assert_eq!(due(&polls, &[], 912), GROUPS);
        for attempt in 0..20 {
            round(&mut polls, 912 + attempt, 912 + attempt, vec![failed(PollKind::Groups)]);
        }
        assert!(due(&polls, &[], 932).is_empty() && due(&polls, &[], 932 + 900).contains(&PollKind::Groups));
        round(&mut polls, 2000, 2001, vec![read(PollKind::Groups)]);
        polls.judged(PollKind::Groups, at(2000), None);
        assert!(polls.problems().is_empty());
    }

    #[test]
    fn what_is_not_believed_is_asked_at_the_usual_pace_and_at_once_when_confirmed() {
        let mut polls = polls(0.0);
        round(&mut polls, 0, 0, vec![read(PollKind::Frozen), read(PollKind::Groups)]);
        polls.judged(PollKind::Groups, at(0), Some("looks like lost access"));
        assert!(polls.problems()[0].contains("as last published: looks like lost access; else grant"));
        assert_eq!(due(&polls, &GROUPS, 100), []);
        polls.accept(at(100));
        assert_eq!(due(&polls, &[], 100), GROUPS, "only what was not believed");
        let answers = round(&mut polls, 100, 100, vec![read(PollKind::Groups)]);
        assert!(answers[0].accept_loss);
        polls.judged(PollKind::Groups, at(100), None);
        let answers = round(&mut polls, 1100, 1100, vec![read(PollKind::Groups)]);
        assert!(!answers[0].accept_loss, "once");
    }
}
