//! The lane in numbers, for status and metrics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{BEHIND_AFTER, FirstSync, Lane};
use crate::logic::{retry::elapsed, target_record::FirstSyncReport};

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

/// The lane in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
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
    /// When everybody was last planned again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Timestamp>,
    /// In `observe`: how many would be treated how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<&'static str, usize>,
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
        undecided: lane.undecided.len(),
        behind: lane
            .behind
            .values()
            .filter(|since| elapsed(**since, now) >= BEHIND_AFTER)
            .count(),
        orphans: lane.orphans(),
        unreadable: lane.links.unreadable(),
        links: lane.links.linked(),
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
        reconciled_at: lane.record.reconciled_at,
        observed,
    }
}
