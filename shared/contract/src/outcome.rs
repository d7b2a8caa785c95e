//! `Outcome` version 1: the recorded result of one action on one target. On `provisioning.outcome`.
//!
//! The id is deterministic, so an outcome that is written twice is recognised as one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    canonical::StateHash,
    id::{TargetName, UserKey},
    user_change::Cause,
};

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeResult {
    /// The target holds what it should.
    Done,
    /// Not yet: will be tried again.
    Retry,
    /// The target refuses this person; tried again when something changes.
    Rejected,
    /// The target as a whole does not work.
    Halted,
    /// Nothing was to be done, and that is worth a record.
    Skipped,
    /// Kept back by the guard, until an operator releases it or it is not wanted any more.
    Held,
    /// An operator has released what was kept back, or allowed more for a while.
    Released,
}

/// The result of one action on one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Deterministic: equal for the same attempt and its result, and for nothing else.
    pub id: String,
    /// Who; absent for an outcome that concerns the whole target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserKey>,
    /// Which target.
    pub target: TargetName,
    /// The verb of the plan: `create`, `adopt`, `update`, ...
    pub action: String,
    /// Why, in words, as the preview shows them.
    pub reasons: Vec<String>,
    /// Names of the attributes that were written.
    pub changed: Vec<String>,
    /// What was written to those attributes whose values the policy of the target wants recorded (`outcomes.values`); by
    /// default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
    /// How it ended.
    pub result: OutcomeResult,
    /// A stable code when it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The error in words, without personal values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// How long the requests took, milliseconds.
    pub latency_ms: u64,
    /// The version of the state acted on.
    pub user_version: u64,
    /// The configuration acted on.
    pub configuration: StateHash,
    /// When it ended, UTC.
    pub at: Timestamp,
    /// The trace of the message that led to it, 32 hexadecimal digits as in `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Where the state came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Who wanted it, when that was a person: the name that belongs to the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}
