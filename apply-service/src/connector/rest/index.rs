//! A complete listing, for applications without look-ups.

use std::collections::{BTreeMap, BTreeSet};

use super::{description::Description, template::plain};
use crate::logic::account::{AttributePath, AttributeValues, RemoteAccount, RemoteId};

/// Look-ups that an index may answer when the target does not tell its time. Few, because its age is unknown then.
const USES_WITHOUT_TIME: u32 = 200;

/// Accounts by id, and ids by the values that people are looked up by.
#[derive(Debug, Default)]
pub(crate) struct Index {
    accounts: BTreeMap<RemoteId, RemoteAccount>,
    by_value: BTreeMap<(String, String), BTreeSet<RemoteId>>,
    /// Time at the target when the listing began.
    as_of: Option<i64>,
    uses: u32,
}

impl Index {
    /// The target's time when its first page came; later calls change nothing.
    pub(crate) fn begins(&mut self, target_time: Option<i64>) {
        self.as_of = self.as_of.or(target_time);
    }

    /// Adds an account.
    pub(crate) fn put(&mut self, description: &Description, account: RemoteAccount) {
        for name in description.fields.keys() {
            if let Some(value) = description.read(&account.resource, name) {
                self.lead(name, &plain(&value), &account.id);
            }
        }
        self.accounts.insert(account.id.clone(), account);
    }

    /// What was just written leads to the account as well. What it held before still does: a hit is verified.
    pub(crate) fn note(&mut self, id: &RemoteId, values: &AttributeValues) {
        // Not as it was listed any longer.
        self.accounts.remove(id);
        for (path, value) in values {
            self.lead(&path.0, &plain(value), id);
        }
    }

    fn lead(&mut self, name: &str, value: &str, id: &RemoteId) {
        let value = value.trim().to_lowercase();
        if !value.is_empty() {
            let ids = self.by_value.entry((name.to_owned(), value)).or_default();
            ids.insert(id.clone());
        }
    }

    /// Whether it is young enough; counts the use.
    pub(crate) fn serves(&mut self, now: Option<i64>, age_max: u32) -> bool {
        self.uses += 1;
        match (self.as_of, now) {
            (Some(then), Some(now)) => now.saturating_sub(then) <= i64::from(age_max),
            _ => self.uses <= USES_WITHOUT_TIME,
        }
    }

    /// The accounts that may hold a value.
    pub(crate) fn candidates(&self, path: &AttributePath, value: &str) -> Vec<RemoteId> {
        let key = (path.0.clone(), value.trim().to_lowercase());
        self.by_value.get(&key).into_iter().flatten().cloned().collect()
    }

    /// An account as it was listed; `None` when it was written since.
    pub(crate) fn account(&self, id: &RemoteId) -> Option<&RemoteAccount> {
        self.accounts.get(id)
    }
}
