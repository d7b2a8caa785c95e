//! What operators ask of the leader. Whatever changes something is answered when it is durable.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::info;
use usher_contract::{Approval, UserId};
use usher_runtime::clock;

use super::Session;
use crate::logic::{
    quota::{Means, Permit, Purpose},
    writer::{HeldPage, Input, NotErased},
};

/// Where an answer goes: words for people, or why not.
pub type Answer = oneshot::Sender<Result<String, Refusal>>;

/// Why a command is not carried out, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What it names is not there.
    NotFound(String),
    /// What it names is not in the state that it takes.
    Conflict(String),
    /// Not now, or not here.
    Unavailable(String),
}

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
        answer: Answer,
    },
    /// What is kept back.
    Removals {
        /// Only this set.
        set: Option<String>,
        /// Only members behind this one.
        after: Option<UserId>,
        /// At most so many members of each set.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<HeldView>>,
    },
    /// How the published state of one person stands.
    Person {
        /// Whose.
        user: UserId,
        /// Where the answer goes.
        answer: oneshot::Sender<PersonView>,
    },
    /// Release a held set.
    Approve {
        /// Its id.
        id: String,
        /// Who and why.
        by: Approval,
        /// Where the answer goes.
        answer: Answer,
    },
    /// Erase a person, or lift the suppression of somebody erased.
    Erase {
        /// Whom.
        user: UserId,
        /// Lift instead.
        lift: bool,
        /// Who and why.
        by: Approval,
        /// Where the answer goes.
        answer: Answer,
    },
}

/// How the published state of one person stands. No values of the record: those are on the topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonView {
    /// The user id.
    pub id: UserId,
    /// The version last published; `null` for somebody who is not published.
    pub version: Option<u64>,
    /// Whether the person is published as removed.
    pub removed: bool,
    /// A read of this person is still to be done.
    pub owed: bool,
    /// Erased; snapshots and events are left alone.
    pub suppressed: bool,
}

/// A held set as people see it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// To be named when it is released.
    pub id: String,
    /// Why it is held, in words.
    pub reason: String,
    /// When its snapshot began, by the source's clock.
    pub snapshot_began_at: Timestamp,
    /// Since when it is held, our clock.
    pub held_at: Timestamp,
    /// Who has released it, while its members are being read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
    /// How many people are in it.
    pub people: usize,
    /// Missing from the snapshot, and gone or outside the population.
    pub removals: Vec<HeldPerson>,
    /// Published as active, inactive in the snapshot.
    pub deactivations: Vec<HeldPerson>,
    /// There are more: ask again for this set with `after` = this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<UserId>,
}

/// Somebody who is kept back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldPerson {
    /// The user id.
    pub id: UserId,
    /// The user name as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// An answer that waits until this batch is committed.
#[derive(Debug)]
pub(super) struct Pending {
    batch: u64,
    said: Said,
}

#[derive(Debug)]
enum Said {
    Words(String, Answer),
    Person(PersonView, oneshot::Sender<PersonView>),
}

impl Command {
    pub(in crate::pipeline) fn refuse(self, why: &str) {
        match self {
            Self::Reimport { answer, .. } | Self::Approve { answer, .. } | Self::Erase { answer, .. } => {
                let _ = answer.send(Err(Refusal::Unavailable(why.to_owned())));
            }
            // Dropping it is the refusal: the caller sees a closed channel.
            Self::Removals { .. } | Self::Person { .. } => {}
        }
    }
}

impl Session<'_> {
    /// Carries a command out, or refuses it.
    pub(super) fn command(&mut self, command: Command) -> Input {
        let (input, words, answer) = match command {
            Command::Removals {
                set,
                after,
                limit,
                answer,
            } => {
                let _ = answer.send(self.removals(set.as_deref(), after, limit));
                return Input::Tick;
            }
            Command::Person { user, answer } => {
                // What is staged may be what the caller waits for: it is said when it is true.
                self.answers.push(Pending {
                    batch: self.writer.staged_batch(),
                    said: Said::Person(self.person(user), answer),
                });
                self.answer_durable();
                return Input::Tick;
            }
            Command::Reimport {
                user: Some(user),
                answer,
                ..
            } => {
                if self.writer.may_lift(user).is_ok() {
                    let why = format!("{user} is erased and is not read; `erase --lift` comes first");
                    let _ = answer.send(Err(Refusal::Conflict(why)));
                    return Input::Tick;
                }
                (Input::Reimport(user), format!("{user} is read again now"), answer)
            }
            Command::Reimport {
                user: None,
                accept_size,
                answer,
            } => {
                if accept_size {
                    self.polls.accept(clock::now());
                }
                let running = self.survey.as_ref().map(|(job, _)| job.kind);
                let wanted = self.writer.position().wanted;
                if self.schedule.joins(accept_size, running, wanted) {
                    let words = "a snapshot is under way; this request joins it".to_owned();
                    let _ = answer.send(Ok(words));
                    return Input::Tick;
                }
                self.schedule.hurry();
                let words = match self.parts.rest.quota().allows(Purpose::Reimport, Means::Requests) {
                    Permit::Wait(why) => format!("a snapshot begins as soon as it may: {why}"),
                    Permit::Warn(why) => format!("a snapshot begins now, although {why}"),
                    Permit::Go | Permit::Stretch(..) => "a snapshot begins now".to_owned(),
                };
                (Input::Want { accept_size }, words, answer)
            }
            Command::Approve { id, by, answer } => {
                let sets = self.writer.held_sizes();
                let Some(people) = sets.get(id.as_str()).copied() else {
                    let known: Vec<&str> = sets.into_keys().collect();
                    let there = if known.is_empty() {
                        "nothing is held".to_owned()
                    } else {
                        format!("held are {}", known.join(", "))
                    };
                    let _ = answer.send(Err(Refusal::NotFound(format!("there is no held set {id}; {there}"))));
                    return Input::Tick;
                };
                info!(held.id = %id, members = people, actor = %by.actor, reason = %by.reason, "a held set is released");
                let words =
                    format!("{people} people are read again; who is still gone or inactive is published as such");
                (Input::Approve { id, by }, words, answer)
            }
            Command::Erase { user, lift, by, answer } => {
                let may = if lift {
                    self.writer.may_lift(user)
                } else {
                    self.writer.may_erase(user)
                };
                if let Err(why) = may {
                    let words = format!("{user}: {why}");
                    let refusal = match why {
                        NotErased::Unknown => Refusal::NotFound(words),
                        NotErased::Active | NotErased::Already | NotErased::NotSuppressed => Refusal::Conflict(words),
                    };
                    let _ = answer.send(Err(refusal));
                    return Input::Tick;
                }
                info!(user.id = %user, lift, actor = %by.actor, reason = %by.reason, "an erasure is made or lifted");
                if lift {
                    let words = format!("{user} is no longer suppressed and is read again now");
                    (Input::Lift { user, by }, words, answer)
                } else {
                    let words = format!("{user} is erased; snapshots and events of this person are left alone");
                    (Input::Erase { user, by }, words, answer)
                }
            }
        };
        self.step(input);
        self.answers.push(Pending {
            batch: self.writer.open_batch(),
            said: Said::Words(words, answer),
        });
        self.answer_durable();
        Input::Tick
    }

    /// Answers what has become durable.
    pub(super) fn answer_durable(&mut self) {
        let committed = self.writer.committed_batch();
        for pending in self.answers.extract_if(.., |pending| pending.batch <= committed) {
            match pending.said {
                Said::Words(words, answer) => drop(answer.send(Ok(words))),
                Said::Person(person, answer) => drop(answer.send(person)),
            }
        }
    }

    fn person(&self, id: UserId) -> PersonView {
        let (version, removed) = self
            .writer
            .version(id)
            .map_or((None, false), |(version, removed)| (Some(version), removed));
        PersonView {
            id,
            version,
            removed,
            owed: self.writer.owes(id),
            suppressed: self.writer.may_lift(id).is_ok(),
        }
    }

    fn removals(&self, only: Option<&str>, after: Option<UserId>, limit: usize) -> Vec<HeldView> {
        let person = |id: UserId| HeldPerson {
            id,
            username: self.writer.user(id).and_then(|user| user.username.value().cloned()),
        };
        let view = |page: HeldPage| HeldView {
            id: page.id,
            reason: "one snapshot brought more removals or deactivations than the limit of `removals` allows"
                .to_owned(),
            snapshot_began_at: page.began_at,
            held_at: page.held_at,
            approved: page.approved,
            people: page.people,
            removals: page.removals.into_iter().map(person).collect(),
            deactivations: page.deactivations.into_iter().map(person).collect(),
            next: page.next,
        };
        // A large set is shown in pages: looking must not keep the writer from its work.
        let pages = self.writer.held_pages(only, after, limit);
        pages.into_iter().map(view).collect()
    }
}
