//! The writer: what becomes of every observation of the source. A step machine without I/O.
//!
//! Observations (events, re-reads, survey rows) are merged into the published state under the ordering rule; what
//! differs becomes a message; what cannot be told becomes a debt. Messages, debts and position leave in batches, and
//! one batch is one Kafka transaction.
//!
//! **Invariant** (checkpoint): a batch's position covers exactly what is in it and in the batches before it. All
//! consequences of one step are in one batch: one event's record ids are never split.
//!
//! Ordering rule:
//! 1. A read beats events received before it was asked for and loses to events received after.
//! 2. An event is merged only if its commit is after the user's last merged commit and more than the margin after the
//!    state's last read; otherwise that user is read again.
//! 3. Absence is a read: users touched since the survey began are not absent.
//!
//! Any failed commit ends the writer: a new one is restored from the topics.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use usher_contract::{
    Cause, EventDeadLetter, Known, NamedRef, OrgId, Origin, RecordId, User, UserChange, UserId, UserKey,
};

use super::{
    change_event::{ChangeEvent, ChangeType, Concerned, DecodeError, Header},
    diff::diff,
    field::api_name,
    normalize::{Fields, RawUser, complete, normalize, raw_of_delta},
    population::{IDS_PER_QUERY_MAX, Population},
    record::{Debtor, Owed, Position},
};

mod batch;
mod debts;
mod events;
mod show;
mod survey;

pub use batch::Batch;
pub use survey::{Survey, SurveyKind};

/// Reads under way at once: each is one API call.
const READS_MAX: usize = 4;

/// What the writer must know besides its inputs.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// The organization.
    pub org: OrgId,
    /// The stream, for dead letters.
    pub stream: String,
    /// Rule 2: how far behind an event's commit the last read must lie. Larger: more reads; smaller: clocks must agree.
    pub read_margin: SignedDuration,
    /// Records per batch before the next one is begun.
    pub batch_records_max: usize,
    /// A commit that only moves the position waits at least this long after the last one.
    pub position_interval: SignedDuration,
    /// Absentees that turn out to be gone: not more than this many per hundred published users at once …
    pub removals_percent: u64,
    /// … but always this many …
    pub removals_at_least: u64,
    /// … and never more than this many.
    pub removals_at_most: u64,
    /// Whether messages carry the previous values.
    pub publish_before: bool,
    /// Whether messages say who made the change.
    pub publish_changed_by: bool,
    /// Fields of this org.
    pub fields: Fields,
    /// Who is published.
    pub population: Population,
}

/// The last state of one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The state.
    pub user: User,
    /// Its version.
    pub version: u64,
    /// Commit of the last merged event, by the source's clock.
    pub committed_at: Option<Timestamp>,
    /// The newest read that confirmed or gave the state, by the source's clock.
    pub read_at: Option<Timestamp>,
    /// When it was last merged or published, in inputs of this writer; 0 when restored.
    pub touched: u64,
}

impl Published {
    /// As read back from the topic.
    #[must_use]
    pub fn restored(change: UserChange) -> Self {
        Self {
            user: change.user,
            version: change.version,
            committed_at: change.cause.committed_at,
            read_at: change.cause.read_at,
            touched: 0,
        }
    }
}

/// What the topics said when the writer took over.
#[derive(Debug, Default)]
pub struct Restored {
    /// Everyone published.
    pub published: HashMap<UserId, Published>,
    /// The position; `None` at the first start.
    pub position: Option<Position>,
    /// The debts.
    pub owed: BTreeMap<Debtor, Owed>,
}

/// One event as received.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// Its opaque position, base64.
    pub replay_id: String,
    /// The schema that it names.
    pub schema_id: String,
    /// Its bytes, base64; only kept when it cannot be decoded.
    pub payload: String,
    /// What it says.
    pub event: Result<ChangeEvent, DecodeError>,
}

/// Numbers a read, so that an answer finds its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The answer to a re-read. Who is in neither could not be seen at all, which proves nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members {
    /// The members of the population among the asked.
    pub members: HashMap<UserId, RawUser>,
    /// Those who exist and are not members.
    pub others: HashSet<UserId>,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// One answer of the stream: its events in order, and the position after them.
    Events(Vec<StreamEvent>),
    /// Nothing happened up to here.
    Keepalive(String),
    /// The stored position is of no use; the stream starts again at its earliest event.
    PositionLost,
    /// A re-read was answered.
    Read {
        /// Which.
        ticket: Ticket,
        /// When, by the source's clock.
        read_at: Timestamp,
        /// What the source says about the asked; or why it failed.
        result: Result<Members, String>,
    },
    /// A survey begins: a snapshot or a recheck.
    SurveyBegan(Survey),
    /// Rows of the running survey.
    SurveyRows {
        /// When they were read, by the source's clock.
        read_at: Timestamp,
        /// Whom they concern and what they say.
        rows: Vec<(UserId, RawUser)>,
    },
    /// The survey ended; an error says why it is not complete.
    SurveyEnded {
        /// Whether every row was read.
        result: Result<(), String>,
        /// An operator has confirmed that the size is right.
        accept_size: bool,
    },
    /// An operator asks for one user.
    Reimport(UserId),
    /// The batch under way is committed.
    Committed,
    /// Time passes.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Commit this in one transaction; [`Input::Committed`] follows, or the writer ends.
    Commit(Batch),
    /// Ask the population for these users; [`Input::Read`] follows.
    Read {
        /// To be repeated in the answer.
        ticket: Ticket,
        /// Whom.
        ids: Vec<UserId>,
        /// Some of them are asked for because an operator wants it.
        reimport: bool,
    },
}

/// Counters for metrics and status; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events received.
    pub events: u64,
    /// Events that could not be decoded.
    pub undecodable: u64,
    /// Events of people outside the population.
    pub ignored: u64,
    /// Messages staged.
    pub messages: u64,
    /// Differences that a recheck found and the stream had not delivered.
    pub healed: u64,
}

/// The step machine.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    /// Rises with every input.
    now: u64,
    published: HashMap<UserId, Published>,
    /// Newer than `published`: staged or under way.
    overlay: HashMap<UserId, Published>,
    position: Position,
    debts: debts::Debts,
    /// Names behind ids of profiles and roles, learnt from reads.
    names: HashMap<RecordId, String>,
    batches: VecDeque<Batch>,
    in_flight: bool,
    last_commit: Option<Timestamp>,
    /// Nobody has read the whole population yet: who is seen is not new.
    baseline: bool,
    survey: Option<survey::Running>,
    refused_removals: Option<String>,
    snapshot_problem: Option<String>,
    counts: Counts,
}

impl Writer {
    /// Takes over from what the topics say. `partitions`: of the user-change topic.
    #[must_use]
    pub fn restore(config: WriterConfig, restored: Restored, partitions: i32) -> Self {
        let mut writer = Self {
            config,
            now: 1,
            published: restored.published,
            overlay: HashMap::new(),
            position: restored.position.unwrap_or_else(|| Position::new(partitions)),
            debts: debts::Debts::restore(restored.owed),
            names: HashMap::new(),
            batches: VecDeque::new(),
            in_flight: false,
            last_commit: None,
            baseline: true,
            survey: None,
            refused_removals: None,
            snapshot_problem: None,
            counts: Counts::default(),
        };
        writer.baseline = writer.position.snapshot.is_none();
        // A complete snapshot has confirmed everyone whose message is older.
        let confirmed = writer.position.snapshot.as_ref().map(|snapshot| snapshot.began_at);
        for person in writer.published.values_mut() {
            person.read_at = person.read_at.max(confirmed);
            learn_names(&mut writer.names, &person.user);
        }
        writer
    }

    /// One input, its consequences.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.now += 1;
        self.begin_batch();
        match input {
            Input::Events(events) => {
                for event in events {
                    self.event(event, now);
                }
            }
            Input::Keepalive(replay_id) => self.position.replay_id = Some(replay_id),
            Input::PositionLost => {
                self.position.replay_id = None;
                self.owe(Debtor::Everyone, Owed::new(now, "the stored position was lost"));
            }
            Input::Read {
                ticket,
                read_at,
                result,
            } => self.read(ticket, read_at, result, now),
            Input::SurveyBegan(survey) => {
                self.debts.survey_began();
                self.survey = Some(survey::Running::new(survey, self.now));
            }
            Input::SurveyRows { read_at, rows } => self.survey_rows(read_at, rows, now),
            Input::SurveyEnded { result, accept_size } => self.survey_ended(result, accept_size, now),
            Input::Reimport(user) => {
                self.owe(Debtor::User(user), Owed::new(now, "reimport"));
                self.debts.hurry(user);
            }
            Input::Committed => self.committed(now),
            Input::Tick => {}
        }
        self.end_batch();
        let mut effects = Vec::new();
        self.commit(now, &mut effects);
        self.ask(now, &mut effects);
        effects
    }

    /// Stages the next state when it differs from the last one. True when it did.
    fn stage(&mut self, next: User, mut cause: Cause, baseline: bool) -> bool {
        let next = complete(next, &self.config.fields);
        let id = next.id;
        let last = self.person(id);
        let Some(difference) = diff(last.map(|person| &person.user), &next, baseline) else {
            return false;
        };
        let version = last.map_or(1, |person| person.version + 1);
        cause.read_at = cause.read_at.max(last.and_then(|person| person.read_at));
        let person = Published {
            user: next,
            version,
            committed_at: cause.committed_at.max(last.and_then(|person| person.committed_at)),
            read_at: cause.read_at,
            touched: self.now,
        };
        let change = UserChange {
            version,
            kind: difference.kind,
            changed: difference.changed,
            before: self.config.publish_before.then_some(difference.before),
            user: person.user.clone(),
            cause,
        };
        self.counts.messages += 1;
        self.overlay.insert(id, person);
        self.batch().changes.push(change);
        true
    }

    fn person(&self, id: UserId) -> Option<&Published> {
        self.overlay.get(&id).or_else(|| self.published.get(&id))
    }

    fn person_mut(&mut self, id: UserId) -> Option<&mut Published> {
        match self.overlay.get_mut(&id) {
            Some(person) => Some(person),
            None => self.published.get_mut(&id),
        }
    }

    /// Puts known names behind ids that came without. False when one is not known.
    fn fill_names(&self, user: &mut User) -> bool {
        let fill = |reference: &mut Known<NamedRef>| match reference {
            Known::Value(reference) if reference.name.is_unknown() => match self.names.get(&reference.id) {
                Some(name) => {
                    reference.name = Known::Value(name.clone());
                    true
                }
                None => false,
            },
            _ => true,
        };
        let profile = fill(&mut user.profile);
        fill(&mut user.role) && profile
    }
}

fn learn_names(names: &mut HashMap<RecordId, String>, user: &User) {
    for reference in [&user.profile, &user.role].into_iter().filter_map(Known::value) {
        if let Known::Value(name) = &reference.name {
            names.insert(reference.id, name.clone());
        }
    }
}

#[cfg(test)]
mod tests;
