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
//! 2. An event is merged only if its commit is after the user's last merged commit, after everything that an earlier
//!    writer has handled, and more than the margin after the state's last read; otherwise that user is read again.
//! 3. Absence is a read: users touched since the survey began are not absent.
//!
//! Any failed commit ends the writer: a new one is restored from the topics.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use usher_contract::{Cause, EventDeadLetter, Known, OrgId, Origin, User, UserChange, UserId, UserKey};

use super::{
    change_event::{ChangeEvent, ChangeType, Concerned, DecodeError, Header},
    diff::diff,
    field::api_name,
    normalize::{Fields, RawUser, complete, normalize, raw_of_delta},
    population::{IDS_PER_QUERY_MAX, Population},
    record::{Approval, Debtor, HeldSet, Owed, Position, Suppression, Wanted},
    replay::Progress,
    table::{Head, Published, Table},
};

mod batch;
mod debts;
mod erase;
mod events;
mod finish;
mod held;
mod pages;
mod polled;
mod show;
mod survey;

pub use batch::Batch;
pub use erase::NotErased;
pub use pages::HeldPage;
pub use polled::{Poll, Polled};
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
    /// Bytes per batch, roughly, before the next one is begun.
    pub batch_bytes_max: usize,
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

/// What the topics said when the writer took over.
#[derive(Debug, Default)]
pub struct Restored {
    /// Everyone published.
    pub published: Table,
    /// The position; `None` at the first start.
    pub position: Option<Position>,
    /// The debts.
    pub owed: BTreeMap<Debtor, Owed>,
    /// What is kept back, by the id of the record.
    pub held: BTreeMap<String, HeldSet>,
    /// Who was erased.
    pub suppressed: BTreeMap<UserId, Suppression>,
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
    /// Those who are not members: they exist, or have been deleted.
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
    /// Who was touched within the window of the running recheck, whether or not they belong.
    SurveyTouched(Vec<UserId>),
    /// The survey ended; an error says why it is not complete.
    SurveyEnded {
        /// Whether every row was read.
        result: Result<(), String>,
        /// An operator has confirmed that the size is right.
        accept_size: bool,
    },
    /// An operator asks for one user.
    Reimport(UserId),
    /// An operator asks for a snapshot; see [`Position::wanted`].
    Want {
        /// The size of that snapshot is right whatever it is.
        accept_size: bool,
    },
    /// An operator releases a held set.
    Approve {
        /// Its id.
        id: String,
        /// Who and why.
        by: Approval,
    },
    /// An operator erases a person; ignored when [`Writer::may_erase`] says no.
    Erase {
        /// Whom.
        user: UserId,
        /// Who and why.
        by: Approval,
    },
    /// An operator lifts the suppression of somebody erased.
    Lift {
        /// Whom.
        user: UserId,
        /// Who and why.
        by: Approval,
    },
    /// A round of polls begins.
    PollBegan,
    /// The polls of the round that were answered completely: what change events never say.
    Polled(Vec<Poll>),
    /// The batch under way is committed.
    Committed,
    /// Time passes.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Commit this in one transaction; [`Input::Committed`] follows, or the writer ends.
    Commit(Arc<Batch>),
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
    /// Events about records of other objects.
    pub foreign: u64,
    /// Events of people outside the population.
    pub ignored: u64,
    /// Messages staged.
    pub messages: u64,
    /// Differences that a recheck found and the stream had not delivered.
    pub healed: u64,
    /// Observations of erased people that were left alone.
    pub suppressed: u64,
}

/// The step machine.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    /// Rises with every input.
    now: u64,
    published: Table,
    /// Newer than `published`: staged or under way.
    overlay: HashMap<UserId, Published>,
    position: Position,
    progress: Progress,
    /// Up to this commit, events were handled by writers before this one. What they learnt by reading without a
    /// difference is nowhere written, so such an event, come again, could bring back what is long over.
    handled_before: Option<Timestamp>,
    debts: debts::Debts,
    held: held::Held,
    suppressed: BTreeMap<UserId, Suppression>,
    /// Versions that lifted people go on from.
    lifted: HashMap<UserId, u64>,
    polls: polled::Polls,
    batches: VecDeque<Arc<Batch>>,
    in_flight: bool,
    /// Batches opened and committed so far.
    batch_numbers: (u64, u64),
    last_commit: Option<Timestamp>,
    /// What an operator wants, as far as it is committed.
    wanted_committed: Option<Wanted>,
    /// Nobody has read the whole population yet: who is seen is not new.
    baseline: bool,
    survey: Option<survey::Running>,
    /// A survey that was read, and whose consequences are more than one transaction.
    finishing: Option<finish::Finishing>,
    /// Absentees may have to be decided about although no read was answered.
    deciding: bool,
    /// What was decided about them and is being carried out.
    decision: Option<debts::Decision>,
    /// When the newest read was answered, by the source's clock.
    last_read: Option<Timestamp>,
    /// Surveys begun, so that each has a number.
    surveys: u32,
    /// Routine rechecks in a row that found something.
    healing_in_a_row: u32,
    snapshot_problem: Option<String>,
    population_problem: Option<String>,
    counts: Counts,
}

impl Writer {
    /// Takes over from what the topics say. `partitions`: of the user-change topic.
    #[must_use]
    pub fn restore(config: WriterConfig, restored: Restored, partitions: i32) -> Self {
        let (lifted, suppressed): (BTreeMap<_, _>, BTreeMap<_, _>) = restored
            .suppressed
            .into_iter()
            .partition(|(_, suppression)| suppression.lifted.is_some());
        let mut writer = Self {
            progress: Progress::of_channel(&config.stream),
            config,
            now: 1,
            published: restored.published,
            overlay: HashMap::new(),
            position: restored.position.unwrap_or_else(|| Position::new(partitions)),
            handled_before: None,
            debts: debts::Debts::restore(restored.owed),
            held: held::Held::restore(restored.held),
            suppressed,
            lifted: lifted
                .into_iter()
                .map(|(user, suppression)| (user, suppression.version))
                .collect(),
            polls: polled::Polls::default(),
            batches: VecDeque::new(),
            in_flight: false,
            batch_numbers: (0, 0),
            last_commit: None,
            wanted_committed: None,
            baseline: true,
            survey: None,
            finishing: None,
            deciding: true,
            decision: None,
            last_read: None,
            surveys: 0,
            healing_in_a_row: 0,
            snapshot_problem: None,
            population_problem: None,
            counts: Counts::default(),
        };
        writer.baseline = writer.position.snapshot.is_none();
        writer.wanted_committed = writer.position.wanted;
        writer.handled_before = writer.position.committed_at;
        // A complete snapshot has confirmed everyone whose message is older.
        let confirmed = writer.position.snapshot.as_ref().map(|snapshot| snapshot.began_at);
        writer
            .published
            .update_heads(|_, head| head.read_at = head.read_at.max(confirmed));
        writer
    }

    /// What may be read has changed; see [`complete`] for what becomes of published values.
    pub fn learn_fields(&mut self, fields: Fields) {
        self.config.fields = fields;
    }

    /// One input, its consequences.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.now += 1;
        self.begin_batch();
        match input {
            // These reach debts only where a debt is made or hurried.
            Input::Events(_) | Input::Keepalive(_) | Input::PollBegan | Input::Committed | Input::Tick => {}
            _ => self.debts.look_again(),
        }
        match input {
            Input::Events(events) => {
                for event in events {
                    self.event(event, now);
                }
            }
            Input::Keepalive(replay_id) => self.position.replay_id = Some(self.progress.keepalive(&replay_id)),
            Input::PositionLost => {
                self.position.replay_id = None;
                self.progress.lost();
                self.owe(Debtor::Everyone, Owed::new(now, "the stored position was lost"));
            }
            Input::Read {
                ticket,
                read_at,
                result,
            } => self.read(ticket, read_at, result, now),
            Input::SurveyBegan(survey) => {
                self.debts.survey_began();
                // What is left of an earlier one is left out, and so are its payments and marks.
                self.finishing = None;
                self.surveys += 1;
                self.survey = Some(survey::Running::new(survey, self.now, self.surveys));
            }
            Input::SurveyRows { read_at, rows } => self.survey_rows(read_at, rows, now),
            Input::SurveyTouched(ids) => self.survey_touched(&ids),
            Input::SurveyEnded { result, accept_size } => self.survey_ended(result, accept_size, now),
            Input::Reimport(user) => {
                self.owe(Debtor::User(user), Owed::new(now, "reimport"));
                self.debts.hurry(user);
            }
            Input::Want { accept_size } => {
                let before = self.position.wanted.is_some_and(|wanted| wanted.accept_size);
                let accept_size = accept_size || before;
                self.position.wanted = Some(Wanted { at: now, accept_size });
                self.debts.hurry_all_unseen();
                // Somebody waits for the answer: this position does not.
                self.last_commit = None;
            }
            Input::Approve { id, by } => self.approve(&id, &by),
            Input::Erase { user, by } => self.erase(user, by),
            Input::Lift { user, by } => self.lift(user, by, now),
            Input::PollBegan => self.poll_began(),
            Input::Polled(polls) => self.polled(polls),
            Input::Committed => self.committed(now),
            Input::Tick => self.release_approved(now),
        }
        self.go_on(now);
        self.attach(now);
        self.end_batch();
        let mut effects = Vec::new();
        self.commit(now, &mut effects);
        self.ask(now, &mut effects);
        effects
    }

    /// Stages the next state when it differs from the last one. True when it did. `touch`: whether this counts as a
    /// touch for surveys that are under way (ordering rule 1).
    fn stage(&mut self, last: Option<&Published>, next: User, mut cause: Cause, baseline: bool, touch: bool) -> bool {
        let next = complete(next, &self.config.fields);
        let id = next.id;
        let Some(difference) = diff(last.map(|person| &person.user), &next, baseline) else {
            return false;
        };
        let head = last.map(|person| person.head).unwrap_or_default();
        // Whoever was erased and may come back goes on with the versions.
        let before = match last {
            Some(_) => head.version,
            None => self.lifted.get(&id).copied().unwrap_or(0),
        };
        if last.is_none() && self.lifted.remove(&id).is_some() {
            self.batch().suppressed.insert(id, None);
        }
        cause.read_at = cause.read_at.max(head.read_at);
        let head = Head {
            version: before + 1,
            committed_at: cause.committed_at.max(head.committed_at),
            read_at: cause.read_at,
            touched: if touch { self.now } else { head.touched },
            ..head
        };
        let change = UserChange {
            version: head.version,
            kind: difference.kind,
            changed: difference.changed,
            before: self.config.publish_before.then_some(difference.before),
            user: next.clone(),
            cause,
        };
        self.counts.messages += 1;
        self.note_unpolled(last, &next);
        self.overlay.insert(id, Published::new(next, head));
        self.batch().push(change);
        true
    }

    fn person(&self, id: UserId) -> Option<Published> {
        self.overlay.get(&id).cloned().or_else(|| self.published.get(id))
    }

    fn head(&self, id: UserId) -> Option<Head> {
        self.overlay
            .get(&id)
            .map(|person| person.head)
            .or_else(|| self.published.head(id))
    }

    fn update_head(&mut self, id: UserId, change: impl FnOnce(&mut Head)) {
        match self.overlay.get_mut(&id) {
            Some(person) => change(&mut person.head),
            None => self.published.update_head(id, change),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
