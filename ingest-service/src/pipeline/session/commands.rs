//! What operators ask of the leader. Whatever changes something is answered when it is durable.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::info;
use usher_contract::{Approval, UserId};

use super::Session;
use crate::logic::{record::HeldSet, writer::Input};

/// Where an answer goes: words for people, or why not.
pub type Answer = oneshot::Sender<Result<String, String>>;

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
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<HeldView>>,
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

/// A held set as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approval>,
    /// Missing from the snapshot, and gone or outside the population.
    pub removals: Vec<HeldPerson>,
    /// Published as active, inactive in the snapshot.
    pub deactivations: Vec<HeldPerson>,
}

/// Somebody who is kept back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldPerson {
    /// The user id.
    pub id: UserId,
    /// The user name as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// An answer that waits until this batch is committed.
#[derive(Debug)]
pub(super) struct Pending {
    batch: u64,
    words: String,
    answer: Answer,
}

impl Command {
    pub(in crate::pipeline) fn refuse(self, why: &str) {
        match self {
            Self::Reimport { answer, .. } | Self::Approve { answer, .. } | Self::Erase { answer, .. } => {
                let _ = answer.send(Err(why.to_owned()));
            }
            // Dropping it is the refusal: the caller sees a closed channel.
            Self::Removals { .. } => {}
        }
    }
}

impl Session<'_> {
    /// Carries a command out, or refuses it.
    pub(super) fn command(&mut self, command: Command) -> Input {
        let (input, words, answer) = match command {
            Command::Removals { answer } => {
                let _ = answer.send(self.removals());
                return Input::Tick;
            }
            Command::Reimport {
                user: Some(user),
                answer,
                ..
            } => (Input::Reimport(user), format!("{user} is read again now"), answer),
            Command::Reimport {
                user: None,
                accept_size,
                answer,
            } => {
                let running = self.survey.as_ref().map(|(job, _)| job.kind);
                let wanted = self.writer.position().wanted;
                if self.schedule.joins(accept_size, running, wanted) {
                    let words = "a snapshot is under way; this request joins it".to_owned();
                    let _ = answer.send(Ok(words));
                    return Input::Tick;
                }
                self.schedule.hurry();
                (Input::Want { accept_size }, "a snapshot begins now".to_owned(), answer)
            }
            Command::Approve { id, by, answer } => {
                let Some(set) = self.writer.held().remove(&id) else {
                    let known: Vec<String> = self.writer.held().into_keys().collect();
                    let there = if known.is_empty() {
                        "nothing is held".to_owned()
                    } else {
                        format!("held are {}", known.join(", "))
                    };
                    let _ = answer.send(Err(format!("there is no held set {id}; {there}")));
                    return Input::Tick;
                };
                info!(held.id = %id, members = set.len(), actor = %by.actor, reason = %by.reason, "a held set is released");
                let words = format!(
                    "{} people are read again; who is still gone or inactive is published as such",
                    set.len()
                );
                (Input::Approve { id, by }, words, answer)
            }
            Command::Erase { user, lift, by, answer } => {
                let may = if lift {
                    self.writer.may_lift(user)
                } else {
                    self.writer.may_erase(user)
                };
                if let Err(why) = may {
                    let _ = answer.send(Err(format!("{user}: {why}")));
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
            words,
            answer,
        });
        self.answer_durable();
        Input::Tick
    }

    /// Answers what has become durable.
    pub(super) fn answer_durable(&mut self) {
        let committed = self.writer.committed_batch();
        for pending in self.answers.extract_if(.., |pending| pending.batch <= committed) {
            let _ = pending.answer.send(Ok(pending.words));
        }
    }

    fn removals(&self) -> Vec<HeldView> {
        let sets: BTreeMap<String, HeldSet> = self.writer.held();
        let people = |ids: std::collections::BTreeSet<UserId>| {
            ids.into_iter()
                .map(|id| HeldPerson {
                    id,
                    username: self.writer.user(id).and_then(|user| user.username.value().cloned()),
                })
                .collect()
        };
        sets.into_iter()
            .map(|(id, set)| HeldView {
                id,
                reason: "one snapshot brought more removals or deactivations than the limit of `removals` allows"
                    .to_owned(),
                snapshot_began_at: set.began_at,
                held_at: set.held_at,
                approved: set.approved,
                removals: people(set.removals),
                deactivations: people(set.deactivations),
            })
            .collect()
    }
}
