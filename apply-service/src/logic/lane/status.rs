//! The lane in numbers, for status and metrics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use usher_contract::{Approval, UserKey};

use super::{BEHIND_AFTER, FirstSync, Lane};
use crate::logic::{
    drift::DriftReport,
    groups::GroupsStatus,
    retry::elapsed,
    target_record::{FirstSyncReport, HeldSet, TargetRecord},
};

/// A circuit that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitStatus {
    /// Stable code.
    pub code: String,
    /// In words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A held set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldSetStatus {
    /// Who is in it, how many.
    pub members: usize,
    /// The set.
    #[serde(flatten)]
    pub set: HeldSet,
}

/// The lane in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// People with something outstanding.
    pub pending: usize,
    /// Since when the oldest of them waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_since: Option<Timestamp>,
    /// Operations under way.
    pub in_flight: usize,
    /// People who wait for their next try.
    pub retrying: usize,
    /// People whom the target refuses.
    pub rejected: usize,
    /// People left alone on purpose.
    pub skipped: usize,
    /// People who are not to have their account and keep it because the policy says so.
    pub kept: usize,
    /// People whom the guard keeps back.
    pub held: usize,
    /// What it keeps back, by the id of the set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held_sets: BTreeMap<String, HeldSetStatus>,
    /// The address or tenant is another one than the links belong to: nothing is done until `moved` is approved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_since: Option<Timestamp>,
    /// The first sync waits for an operator.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first_sync_waits: bool,
    /// Who has stopped the target, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Approval>,
    /// Operations per second at present: below what is configured while the target pushes back.
    pub rate: f64,
    /// What was used of the day's requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_used: Option<u64>,
    /// What is left of the day's requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_left: Option<u64>,
    /// People about whom something is unknown that would decide.
    pub undecided: usize,
    /// People whose newest state has been older than what was acted on for some minutes.
    pub behind: usize,
    /// Accounts not known to be off, of people of whom there is no state (any more).
    pub orphans: usize,
    /// People whose link cannot be read: nothing is done about them.
    pub unreadable: usize,
    /// People with an account.
    pub links: usize,
    /// Notices that are to be sent: mails, webhooks, invitations.
    pub notices_owed: usize,
    /// Since when the oldest of them is owed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_notice_since: Option<Timestamp>,
    /// Notices that were refused or given up; `redrive` owes them again.
    pub notices_failed: usize,
    /// The circuit, when it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<CircuitStatus>,
    /// When something last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// The first sync, once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_sync: Option<FirstSyncReport>,
    /// Accounts listed so far by a first sync under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_sync_listed: Option<usize>,
    /// What the last look at the whole target has shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftReport>,
    /// Accounts listed so far by a look under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_listed: Option<u64>,
    /// When everybody was last planned again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Timestamp>,
    /// Groups and memberships, where the target has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsStatus>,
    /// In `observe`: how many would be treated how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<&'static str, usize>,
}

impl LaneStatus {
    /// Since when the oldest of what an operator has to decide waits: a held set, the first sync, or links that are of
    /// another application.
    #[must_use]
    pub fn waits_for_operator_since(&self) -> Option<Timestamp> {
        let sets = self.held_sets.values().filter(|held| held.set.approved.is_none());
        let first_sync = self.first_sync.as_ref().filter(|_| self.first_sync_waits);
        sets.map(|held| held.set.at)
            .chain(first_sync.map(|report| report.at))
            .chain(self.moved_since)
            .min()
    }
}

impl Lane {
    /// Whether something of this person is outstanding or under way.
    #[must_use]
    pub fn is_pending(&self, user: &UserKey) -> bool {
        self.slots.contains_key(user) || self.commits.holds(user)
    }

    /// The target's own record as the lane has it.
    #[must_use]
    pub fn record(&self) -> &TargetRecord {
        &self.record
    }
}

pub(super) fn of(lane: &Lane, now: Timestamp) -> LaneStatus {
    let mut observed = BTreeMap::new();
    for action in lane.observed.values() {
        *observed.entry(action.as_str()).or_default() += 1;
    }
    LaneStatus {
        pending: lane.slots.len(),
        oldest_pending_since: lane.slots.values().map(|slot| slot.since).min(),
        in_flight: lane.flights.len(),
        retrying: lane.queue.delayed(),
        rejected: lane.links.in_state("rejected"),
        skipped: lane.skipped.len(),
        kept: lane.kept.len(),
        held: lane.links.in_state("held"),
        held_sets: lane
            .record
            .held
            .iter()
            .map(|(id, set)| {
                let members = lane.links.held_in(id) + lane.links.groups.held_in(id);
                (
                    id.clone(),
                    HeldSetStatus {
                        members,
                        set: set.clone(),
                    },
                )
            })
            .collect(),
        moved: lane.moved,
        moved_since: lane.record.moved_since,
        first_sync_waits: lane.record.first_sync_waits,
        paused: lane.record.paused.clone(),
        rate: lane.pacer.rate(),
        day_used: lane.target.pace.per_day.map(|_| lane.pacer.used().used),
        day_left: lane.pacer.left(now),
        undecided: lane.undecided.len(),
        behind: lane
            .behind
            .values()
            .filter(|since| elapsed(**since, now) >= BEHIND_AFTER)
            .count(),
        orphans: lane.orphans(),
        unreadable: lane.links.unreadable(),
        links: lane.links.linked(),
        notices_owed: lane.notifying.owed(),
        oldest_notice_since: lane.oldest_notice_since(),
        notices_failed: lane.notifying.failed(),
        circuit: lane.circuit.open().map(|open| CircuitStatus {
            code: open.refusal.code.clone(),
            reason: open.refusal.reason.clone(),
            since: open.since,
        }),
        last_success: lane.last_success,
        first_sync: lane.record.first_sync.clone(),
        first_sync_listed: match &lane.first {
            FirstSync::Listing { listing, .. } => Some(listing.len()),
            FirstSync::Done => None,
        },
        drift: lane.record.drift.clone(),
        drift_listed: lane.drifting.as_ref().map(super::drifting::listed),
        reconciled_at: lane.record.reconciled_at,
        groups: (lane.target.groups.is_some() || !lane.links.groups.is_empty()).then(|| lane.links.groups.status()),
        observed,
    }
}
