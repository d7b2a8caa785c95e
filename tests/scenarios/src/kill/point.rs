//! Points at which the work of a lane is frozen, and how: by the target's gate, or by a proxy in front of the broker.

use std::fmt;

use target_sims::{FaultScope, Moment};

use super::{
    cell::Cell,
    people::{Group, People},
    stage::PATIENCE,
};
use crate::{Api, KafkaProxy, Keep, eventually_within};

/// Where the lane of a cell stands when it is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before the call: newcomers were looked up, and the answers are not there yet.
    LookingUp,
    /// Before the call: the intent to create is written, and its transaction open.
    IntentOpen,
    /// Before the call: the intent is committed, and the owner does not know it yet.
    IntentCommitted,
    /// Before the call: at a target without PATCH, the account that is to be replaced was read, and the answer is not there
    /// yet. The write follows within the same operation, so that nothing but the sender's lease is asked before it.
    ReadFirst,
    /// The call has been sent and has no effect yet.
    OnTheWire,
    /// After the call, before the answer.
    Unanswered,
    /// After the answer, before the commit: the records do not reach the broker.
    Recording,
    /// In the commit: the records are written, the transaction is open.
    Committing,
    /// In the commit: committed, and the owner does not know it yet.
    Committed,
    /// Nothing is under way. The end of an orderly hand-back is written, its transaction open.
    Releasing,
    /// The same, committed, and the owner does not know it yet.
    Released,
    /// A step of a take-over; the owner before was struck with calls unanswered.
    TakeOver(Step),
}

/// A step of a take-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The fence is asked for.
    Fencing,
    /// Restoring: the mark up to which is read is written, its transaction open.
    Marking,
    /// Restoring: the mark is committed, and the successor does not know it yet.
    Marked,
    /// Restoring: the links do not come.
    Reading,
}

const EVERYBODY_STRUCK: [Group; 4] = [Group::Newcomer, Group::Changed, Group::Leaver, Group::Returner];

impl Point {
    /// Points of ordinary work.
    pub const WORK: [Self; 9] = [
        Self::LookingUp,
        Self::IntentOpen,
        Self::IntentCommitted,
        Self::ReadFirst,
        Self::OnTheWire,
        Self::Unanswered,
        Self::Recording,
        Self::Committing,
        Self::Committed,
    ];
    /// Points of a hand-back. It does not wait for look-ups: they write nothing, and whoever follows looks again.
    pub const HAND_BACK: [Self; 10] = [
        Self::IntentOpen,
        Self::IntentCommitted,
        Self::ReadFirst,
        Self::OnTheWire,
        Self::Unanswered,
        Self::Recording,
        Self::Committing,
        Self::Committed,
        Self::Releasing,
        Self::Released,
    ];
    /// Points of a take-over.
    pub const TAKE_OVER: [Self; 4] = [
        Self::TakeOver(Step::Fencing),
        Self::TakeOver(Step::Marking),
        Self::TakeOver(Step::Marked),
        Self::TakeOver(Step::Reading),
    ];

    /// About whom something is under way when it is struck.
    pub fn struck(self) -> &'static [Group] {
        match self {
            Self::LookingUp | Self::IntentOpen | Self::IntentCommitted => &[Group::Newcomer],
            Self::ReadFirst => &[Group::Changed, Group::Leaver, Group::Returner],
            Self::Releasing | Self::Released => &[],
            _ => &EVERYBODY_STRUCK,
        }
    }

    /// About whom nothing is.
    pub fn not_struck(self) -> Vec<Group> {
        let mut groups = EVERYBODY_STRUCK.to_vec();
        groups.retain(|group| !self.struck().contains(group));
        groups
    }

    /// What the proxy keeps of the lane's transaction, if that is where it is frozen.
    fn of_transaction(self) -> Option<(Api, Keep)> {
        match self {
            Self::Recording => Some((Api::Produce, Keep::Request)),
            Self::IntentOpen | Self::Committing | Self::Releasing => Some((Api::EndTxn, Keep::Request)),
            Self::IntentCommitted | Self::Committed | Self::Released => Some((Api::EndTxn, Keep::Answer)),
            Self::LookingUp | Self::ReadFirst | Self::OnTheWire | Self::Unanswered | Self::TakeOver(_) => None,
        }
    }

    /// Closes the target's gate, before anything about the struck people is said.
    pub fn prepare(self, cell: &Cell) {
        match self {
            Self::LookingUp | Self::IntentOpen | Self::IntentCommitted | Self::ReadFirst => {
                cell.sim.close_gate(Moment::AfterEffect, FaultScope::Reads);
            }
            Self::OnTheWire => cell.sim.close_gate(Moment::BeforeEffect, FaultScope::Writes),
            Self::Unanswered | Self::Recording | Self::Committing | Self::Committed | Self::TakeOver(_) => {
                cell.sim.close_gate(Moment::AfterEffect, FaultScope::Writes);
            }
            Self::Releasing | Self::Released => {}
        }
    }

    /// Waits until everybody struck has come to the gate, and then on to the transaction if that is the point.
    pub async fn freeze(self, cell: &Cell, proxy: &KafkaProxy) {
        let struck = People::count(self.struck());
        eventually_within(PATIENCE, &format!("{self}: all are at the gate"), || async {
            let caught = cell.sim.caught_at_gate();
            if caught >= struck {
                Ok(())
            } else {
                Err(format!("{caught} of {struck}"))
            }
        })
        .await;
        if let Some((api, keep)) = self.of_transaction() {
            proxy.keep(api, &cell.client(), keep);
            cell.sim.open_gate();
            // Nothing is under way yet at the points of a hand-back: they are reached when it begins.
            if !self.ends_hand_back() {
                self.in_transaction(cell, proxy).await;
            }
        }
    }

    /// Whether it is reached only at the end of a hand-back.
    pub fn ends_hand_back(self) -> bool {
        matches!(self, Self::Releasing | Self::Released)
    }

    /// Waits until the transaction is where it is kept.
    pub async fn in_transaction(self, cell: &Cell, proxy: &KafkaProxy) {
        eventually_within(PATIENCE, &format!("{self}: the transaction is kept"), || async {
            if proxy.caught_of(&cell.client()) > 0 {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        })
        .await;
    }

    /// What is still kept; nothing when it has moved on by itself, which would make the cell worthless.
    pub fn is_frozen(self, cell: &Cell, proxy: &KafkaProxy) -> bool {
        match self.of_transaction() {
            Some(_) => proxy.caught_of(&cell.client()) > 0,
            None => {
                let requests = cell.sim.requests();
                let open = requests.iter().filter(|request| request.ended.is_none()).count();
                open >= People::count(self.struck())
            }
        }
    }
}

impl Step {
    /// Keeps a successor at this step. A request for the fence that comes `late` is that of somebody who was overtaken: it
    /// fences whoever is the owner by then.
    pub fn keep(self, cell: &Cell, proxy: &KafkaProxy, late: bool) {
        let client = cell.client();
        match self {
            Self::Fencing if late => proxy.keep(Api::InitProducerId, &client, Keep::Request),
            Self::Fencing => proxy.keep(Api::InitProducerId, &client, Keep::Answer),
            Self::Marking => proxy.keep(Api::EndTxn, &client, Keep::Request),
            Self::Marked => proxy.keep(Api::EndTxn, &client, Keep::Answer),
            // The readers of all targets have one name: whoever gets as far as this is kept.
            Self::Reading => proxy.keep(Api::Fetch, LINKS, Keep::Request),
        }
    }

    /// Whether the successor is there: what it says about the target, and what its proxy keeps.
    pub fn is_reached(self, cell: &Cell, state: &str, proxy: &KafkaProxy) -> bool {
        match self {
            Self::Fencing => state == "fencing" && proxy.caught_of(&cell.client()) > 0,
            Self::Marking | Self::Marked => state == "restoring" && proxy.caught_of(&cell.client()) > 0,
            Self::Reading => state == "restoring" && proxy.caught_of(LINKS) > 0,
        }
    }
}

/// What the clients that read links are called at the end.
const LINKS: &str = "provisioning.link";

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookingUp => "looking-up",
            Self::IntentOpen => "intent-open",
            Self::IntentCommitted => "intent-committed",
            Self::ReadFirst => "read-first",
            Self::OnTheWire => "on-the-wire",
            Self::Unanswered => "unanswered",
            Self::Recording => "recording",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::TakeOver(Step::Fencing) => "fencing",
            Self::TakeOver(Step::Marking) => "marking",
            Self::TakeOver(Step::Marked) => "marked",
            Self::TakeOver(Step::Reading) => "reading",
        })
    }
}
