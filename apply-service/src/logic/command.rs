//! What an operator asks of a target: the record on `provisioning.command`, and what it means.
//!
//! Any replica takes a command; the owner of the target carries it out, once: the target's record says how far the
//! commands were carried out, in the transaction that records what came of them.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{Approval, TargetName, UserKey};

use super::account::RemoteId;

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// The verb with what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Verb {
    /// Nothing is asked and nothing written until it is resumed. Nothing is lost.
    Pause,
    /// Goes on.
    Resume,
    /// Releases a held set: whoever of it is still wanted is carried out.
    Approve {
        /// The set.
        set: String,
    },
    /// More removals than the guard allows by itself, for a while.
    Allow {
        /// How many.
        removals: u64,
        /// For how long, seconds.
        for_seconds: u64,
    },
    /// Plans everybody again now; also what was refused.
    Reconcile,
    /// Looks at the whole target now.
    Drift,
    /// Plans again from the present state what was refused or waits: one person, or everybody refused.
    Redrive {
        /// One person; all refused ones when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserKey>,
    },
    /// Has the target send its own activation or password-reset mail: to one person, or to everybody with an account that
    /// is on for whom a filter holds.
    Invite {
        /// One person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserKey>,
        /// SOQL, or `all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    /// Says that this account is this person's. The next plan writes what differs.
    Relink {
        /// Whose.
        user: UserKey,
        /// The target's id of the account.
        account: RemoteId,
    },
    /// Forgets whose account it is. The account stays as it is.
    Unlink {
        /// Whose.
        user: UserKey,
    },
}

impl Verb {
    /// The word of outcomes.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve { .. } => "approve",
            Self::Allow { .. } => "allow",
            Self::Reconcile => "reconcile",
            Self::Drift => "drift",
            Self::Redrive { .. } => "redrive",
            Self::Invite { .. } => "invite",
            Self::Relink { .. } => "relink",
            Self::Unlink { .. } => "unlink",
        }
    }
    /// How long an allowance lasts at most: longer is a limit of the policy file.
    pub const ALLOW_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
    /// How many people one invitation means at most: they are put on the books in one transaction.
    pub const INVITE_MAX: usize = 1000;
}

/// A command as it stands on the topic. Key: the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// Format version.
    pub format: u32,
    /// Made by the replica that took it; the outcome carries it.
    pub id: String,
    /// The target.
    pub target: TargetName,
    /// What to do.
    #[serde(flatten)]
    pub verb: Verb,
    /// Who and why.
    pub by: Approval,
    /// Not carried out later than this: a command that nobody could take must not come as a surprise days after.
    pub expires_at: Timestamp,
}

/// The outcome's id of a command.
#[must_use]
pub fn outcome_id(target: &TargetName, id: &str) -> String {
    format!("{target}/command/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{at, user_key};

    #[test]
    fn a_command_is_read_back_as_written() {
        for verb in [
            Verb::Pause,
            Verb::Approve { set: "s".into() },
            Verb::Allow {
                removals: 300,
                for_seconds: 4 * 3600,
            },
            Verb::Redrive { user: None },
            Verb::Invite {
                user: Some(user_key(1)),
                filter: None,
            },
            Verb::Invite {
                user: None,
                filter: Some("Department = 'Sales'".into()),
            },
            Verb::Relink {
                user: user_key(1),
                account: RemoteId("r1".into()),
            },
        ] {
            let command = Command {
                format: FORMAT,
                id: "c1".into(),
                target: TargetName::try_new("gong").unwrap(),
                verb,
                by: Approval {
                    actor: "ada".into(),
                    reason: "layoff".into(),
                    at: at(0),
                },
                expires_at: at(60),
            };
            let text = serde_json::to_string(&command).unwrap();
            assert_eq!(serde_json::from_str::<Command>(&text).unwrap(), command, "{text}");
        }
    }
}
