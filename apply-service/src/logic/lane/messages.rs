//! What goes into a lane and what comes out of it.

use std::{sync::Arc, time::Duration};

use usher_contract::{ChangeDeadLetter, Outcome, UserChange, UserKey};

use crate::{
    connector::{Failure, Operation, Refusal},
    logic::{
        account::{RemoteGroup, RemoteId},
        command::Command,
        groups::record::{GroupKey, GroupRecord, Memberships},
        link::Link,
        matching::Seen,
        notification::{Delivery, Undelivered},
        target_record::TargetRecord,
    },
};

/// The number of an operation under way.
pub type OperationId = u64;

/// What the target answered, with the attributes that matter read out.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The target answers.
    Checked,
    /// As `Checked`, and what the account is called by that the credentials belong to.
    CheckedAs(Vec<String>),
    /// Accounts that match.
    Found(Vec<Seen>),
    /// A page of the list.
    Page(Vec<Seen>, Option<String>),
    /// Written.
    Written(RemoteId, Option<Seen>),
    /// There is no such account (any longer).
    Absent,
    /// Groups of a name.
    Groups(Vec<RemoteGroup>),
    /// A group was made or has its new name.
    Group(RemoteId),
    /// Who is in a group; `None` when the target does not show it.
    Members(Option<Vec<RemoteId>>),
    /// Members of a group were changed.
    Changed,
    /// The target has taken over what it was asked for: an invitation is on its way.
    Taken,
    /// An account is in the way although the look-up did not find it.
    Conflict(Refusal),
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The newest state of a person; `again` tries also what was refused or waits for its next try.
    User {
        /// The state.
        change: Arc<UserChange>,
        /// Reconcile, redrive.
        again: bool,
    },
    /// An operation has ended.
    Ended {
        /// Which.
        operation: OperationId,
        /// How.
        result: Result<Answer, Failure>,
        /// How long it took.
        took: Duration,
        /// How many requests it was.
        requests: u32,
    },
    /// Something that was to be told has ended.
    Delivered {
        /// Which.
        delivery: OperationId,
        /// How.
        result: Result<(), Undelivered>,
    },
    /// The batch that was handed out last is committed.
    Committed,
    /// Time has passed.
    Tick,
    /// A commit is wanted although there may be nothing to record: a write under way needs a young one.
    Renew,
    /// A command of an operator, and where it stands on the topic.
    Command {
        /// Its offset.
        offset: i64,
        /// What it says.
        command: Box<Command>,
    },
    /// There is no state of this person (any more).
    Erased(UserKey),
    /// Everybody who was there at the start has been fed.
    AllFed,
    /// Finish what is under way and hand the target back.
    Drain,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Links as they are now.
    pub links: Vec<(UserKey, Link)>,
    /// Groups as they are now.
    pub groups: Vec<(GroupKey, GroupRecord)>,
    /// The groups of people's accounts as they are now.
    pub memberships: Vec<(UserKey, Memberships)>,
    /// What was done.
    pub outcomes: Vec<Outcome>,
    /// What was refused.
    pub dead_letters: Vec<ChangeDeadLetter>,
    /// The target's own record.
    pub record: TargetRecord,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Carry out an operation and come back with [`Input::Ended`].
    Execute(OperationId, Operation),
    /// Tell somebody and come back with [`Input::Delivered`]. Nothing else waits for it.
    Deliver(OperationId, Delivery),
    /// Commit, all or nothing, and come back with [`Input::Committed`]. Never more than one at a time. A commit that
    /// failed ends the lane: what is true is read back from the topics.
    Commit(Box<Batch>),
    /// Feed these people again: somebody they refer to has an account now.
    Ask(Vec<UserKey>),
    /// Feed these people again, with `again`: an operator wants it.
    Again(Vec<UserKey>),
    /// Feed everybody again, with `again`, then [`Input::AllFed`].
    Reconcile,
    /// The target is handed back; the lane has ended.
    Drained,
}
