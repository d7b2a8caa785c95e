//! Dead letters: what was refused and why. Never the only copy of a person's state.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::{OrgId, TargetName, UserKey},
    user_change::Cause,
};

/// An event of the stream that could not be decoded, with its bytes. On `user-change.dead-letter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventDeadLetter {
    /// The organization.
    pub org_id: OrgId,
    /// The stream, `/data/UserChangeEvent`.
    pub stream: String,
    /// The opaque position of the event, base64.
    pub replay_id: String,
    /// The schema that the event names.
    pub schema_id: String,
    /// The bytes as they came, base64. They may hold personal values: restrict who reads the topic. Very long ones are cut, and
    /// `cut` says so.
    pub payload: String,
    /// There when the payload is only the beginning of what came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutPayload>,
    /// Why it was refused.
    pub reason: String,
    /// What is done instead, in words.
    pub remedy: String,
    /// When, UTC.
    pub at: Timestamp,
}

/// What a payload was before it was cut to fit into a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CutPayload {
    /// How many bytes it had, before base64.
    pub bytes: u64,
    /// SHA-256 of all of them, hexadecimal: whoever finds the event elsewhere can tell that it is the same.
    pub sha256: String,
}

/// A change that a target refused. On `provisioning.dead-letter`. Holds keys and reasons, no personal values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeDeadLetter {
    /// Who.
    pub user: UserKey,
    /// Which target.
    pub target: TargetName,
    /// The version of the state that was refused.
    pub user_version: u64,
    /// A stable code of the reason.
    pub code: String,
    /// The reason in words, without personal values.
    pub reason: String,
    /// When, UTC.
    pub at: Timestamp,
    /// Where the state came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}
