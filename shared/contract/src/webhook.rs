//! `AccountCreated` version 1: what a webhook is told when an account was made. Sent as the body of a request that is signed as
//! Standard Webhooks describe it; `SUBSCRIBERS.md` says how to verify it.
//!
//! Holds ids alone, no personal values: who needs more reads the topics.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{TargetName, UserKey};

/// An account was made for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountCreated {
    /// The same for every repetition, as in the header `webhook-id`.
    pub id: String,
    /// What happened: `account.created`. Receivers pass over kinds that they do not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the account was confirmed, UTC. The same for every repetition.
    pub timestamp: Timestamp,
    /// What it is about.
    pub data: AccountCreatedData,
}

/// Whose account, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountCreatedData {
    /// The target.
    pub target: TargetName,
    /// Who.
    pub user: UserKey,
    /// The target's id of the account; absent when it has been given up meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl AccountCreated {
    /// The word of `type`.
    pub const KIND: &'static str = "account.created";
}
