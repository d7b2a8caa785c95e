//! The target's own record on `provisioning.target`: who owns it, whether it was handed back, the first sync.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// What the first look at the application found. Counts only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstSyncReport {
    /// When it was finished.
    pub at: Timestamp,
    /// Accounts listed.
    pub accounts: u64,
    /// People with exactly one account that may be theirs.
    pub matched: u64,
    /// People without one.
    pub would_create: u64,
    /// People with several, or one that others claim.
    pub ambiguous: u64,
    /// Accounts that nobody matches. They are only ever reported.
    pub unmatched: u64,
    /// Why the application could not be listed, when it could not: people are then looked up one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_listed: Option<String>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRecord {
    /// Format version of the record.
    pub format: u32,
    /// The address of the owner, for people and for forwarding.
    pub owner: String,
    /// The owner has handed the target back and writes no more: a successor need not wait.
    pub released: bool,
    /// The mode it runs in.
    pub mode: String,
    /// The first sync, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sync: Option<FirstSyncReport>,
    /// When everybody was last planned again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Timestamp>,
    /// When the oldest state that was outstanding had been observed: a successor that finds the target not handed back
    /// knows that states since then may have been written without being recorded. With `released` it speaks of doubts
    /// that an earlier owner left and that are not cleared yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding_since: Option<Timestamp>,
    /// When the record was written.
    pub at: Timestamp,
}
