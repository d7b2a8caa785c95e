//! Which of the accounts that were found is a person's: at most one, or a refusal that names both sides.
//!
//! An account is held by one person per target; only the holder's link may act on it.

use serde_json::Value;
use usher_contract::{RecordId, UserKey};

use super::{
    account::{AttributePath, RemoteAccount, RemoteId},
    notification::Onboarding,
    plan::Accounts,
};
use crate::connector::Refusal;
use std::collections::BTreeMap;

/// An account as it was shown, with the attributes that the mapping speaks of already read out.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The target's id.
    pub id: RemoteId,
    /// Our key at the target, when it holds one.
    pub external_id: Option<String>,
    /// Log-in name, when shown.
    pub user_name: Option<String>,
    /// Whether it is switched on, when shown.
    pub active: Option<bool>,
    /// The mapped attributes that it shows.
    pub values: BTreeMap<AttributePath, Value>,
    /// How far a new user is in, where the target says so.
    pub onboarding: Option<Onboarding>,
}

impl Seen {
    /// Reads the given attributes out of an account.
    pub fn read<'a>(
        account: &RemoteAccount,
        paths: impl Iterator<Item = &'a AttributePath>,
        read: impl Fn(&RemoteAccount, &AttributePath) -> Option<Value>,
    ) -> Self {
        let values = paths
            .filter_map(|path| read(account, path).map(|value| (path.clone(), value)))
            .collect();
        Self {
            id: account.id.clone(),
            external_id: account.external_id.clone(),
            user_name: account.user_name.clone(),
            active: account.active,
            values,
            onboarding: None,
        }
    }

    /// Whether it carries the key of this person. The 15-character form is the same person.
    #[must_use]
    pub fn is_of(&self, user: &UserKey) -> bool {
        self.external_id
            .as_deref()
            .and_then(|id| RecordId::try_new(id).ok())
            .is_some_and(|id| id.as_str() == user.user.as_str())
    }

    /// Whether it carries somebody else's key.
    #[must_use]
    pub fn is_foreign(&self, user: &UserKey) -> bool {
        self.external_id.as_deref().is_some_and(|id| !id.trim().is_empty()) && !self.is_of(user)
    }
}

/// The one account that may become this person's; `None` when there is none.
///
/// # Errors
/// A refusal with a stable code that names both sides by id.
pub fn pick<'a>(
    user: &UserKey,
    found: &'a [Seen],
    adopt_inactive: bool,
    accounts: &dyn Accounts,
) -> Result<Option<&'a Seen>, Refusal> {
    let refuse = |code: &str, reason: String| {
        Err(Refusal {
            code: code.to_owned(),
            reason,
        })
    };
    let account = match found {
        [] => return Ok(None),
        [account] => account,
        several => {
            let ids: Vec<&str> = several.iter().map(|account| account.id.0.as_str()).collect();
            return refuse(
                "match-ambiguous",
                format!("several accounts match {user}: {}", ids.join(", ")),
            );
        }
    };
    if let Some(holder) = accounts.holder(&account.id).filter(|holder| holder != user) {
        return refuse(
            "match-claimed",
            format!("account {} matches {user} and is held by {holder}", account.id),
        );
    }
    if account.is_foreign(user) {
        // The foreign key itself may be anything, an address included: it is named only when it is a record id.
        let theirs = account.external_id.as_deref().and_then(|id| RecordId::try_new(id).ok());
        let theirs = theirs.map_or_else(
            || "another external id".to_owned(),
            |id| format!("the external id {id}"),
        );
        return refuse(
            "match-foreign",
            format!("account {} matches {user} and carries {theirs}", account.id),
        );
    }
    // One that carries our key was made or taken over for this person before: it comes back with them.
    if account.active == Some(false) && !adopt_inactive && !account.is_of(user) {
        return refuse(
            "match-inactive",
            format!(
                "account {} matches {user} and is switched off; match.inactiveAccount: adopt takes it",
                account.id
            ),
        );
    }
    Ok(Some(account))
}
