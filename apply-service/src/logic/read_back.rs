//! Accounts as another interface of the application shows them: with ids of its own, so they are joined with the links by a
//! value that both interfaces show (an e-mail address). Links hold hashes, so hashes are compared.
//!
//! Guarantees: nobody is joined by a value that two accounts have; whoever's value is not known is never said to be missing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use serde_json::{Value, json};
use usher_contract::{StateHash, UserKey};

use super::{
    account::{AttributePath, RemoteId},
    link::Link,
    matching::Seen,
};

/// Another interface, which shows accounts and is never written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// The attribute that accounts are joined by.
    pub by: AttributePath,
    /// The attributes that are compared; those it does not show say nothing, and `by` itself is the same wherever it joins.
    pub compares: BTreeSet<AttributePath>,
    /// So long a change may take until it is shown there: whoever was written since is compared next time.
    pub delay: Duration,
}

/// The links by the value that joins, as they were when the look began.
#[derive(Debug, Default)]
pub struct Join {
    by: Option<AttributePath>,
    /// `None`: two accounts have the value.
    accounts: HashMap<StateHash, Option<RemoteId>>,
    known: HashSet<RemoteId>,
    /// Accounts that have a value in common with another.
    shared: HashSet<RemoteId>,
}

impl Join {
    /// Of everybody who has an account of which the value is known.
    pub fn of<'a>(by: &AttributePath, links: impl Iterator<Item = (&'a UserKey, Link)>) -> Self {
        let mut join = Self {
            by: Some(by.clone()),
            ..Self::default()
        };
        for (_, link) in links {
            let (Some(account), Some(written)) = (&link.remote_id, link.written.get(by)) else {
                continue;
            };
            // Both as it was sent and as the target showed it: the other interface may show either.
            for hash in [Some(written.hash), written.returned].into_iter().flatten() {
                if hash != StateHash::of_value(&Value::Null) {
                    join.put(hash, account);
                }
            }
        }
        let one = |account: &&RemoteId| !join.shared.contains(*account);
        join.known = join.accounts.values().flatten().filter(one).cloned().collect();
        join
    }

    fn put(&mut self, hash: StateHash, account: &RemoteId) {
        let entry = self.accounts.entry(hash).or_insert_with(|| Some(account.clone()));
        if entry.as_ref() != Some(account) {
            // Also where only one of its forms is another's: that may be the form which is shown.
            self.shared.extend(entry.take());
            self.shared.insert(account.clone());
        }
    }

    /// The account under the id that its link has; one that joins nobody keeps the id of the other interface, marked as such.
    #[must_use]
    pub fn joined(&self, account: Seen) -> Seen {
        let shown = self.by.as_ref().and_then(|by| account.values.get(by)?.as_str());
        let of = |text: &str| self.accounts.get(&StateHash::of_value(&json!(text)))?.clone();
        let id = shown.and_then(|text| of(text).or_else(|| of(&text.to_lowercase())));
        let id = id.unwrap_or_else(|| RemoteId(format!("read-back:{}", account.id)));
        Seen {
            id,
            // The key of a person is of the interface that is written to.
            external_id: None,
            ..account
        }
    }

    /// Whether something follows from its absence.
    #[must_use]
    pub fn knows(&self, account: &RemoteId) -> bool {
        self.known.contains(account)
    }

    /// Whether there is anybody whom it could show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::{
        link::Written,
        testing::{seen, user_key},
    };

    fn by() -> AttributePath {
        AttributePath("userName".to_owned())
    }

    fn hash(text: &str) -> StateHash {
        StateHash::of_value(&json!(text))
    }

    /// Links of accounts r1, r2, … with what was sent and what was shown.
    fn join(names: &[(&str, Option<&str>)]) -> Join {
        let links: Vec<(UserKey, Link)> = (1..)
            .zip(names)
            .map(|(n, (sent, shown))| {
                let written = Written::now(hash(sent), shown.map(hash), None);
                let link = Link {
                    remote_id: Some(RemoteId(format!("r{n}"))),
                    written: [(by(), written)].into_iter().collect(),
                    ..Link::unlinked(1, hash("configuration"))
                };
                (user_key(n), link)
            })
            .collect();
        Join::of(&by(), links.iter().map(|(user, link)| (user, link.clone())))
    }

    fn shows(join: &Join, name: &str) -> String {
        let account = Seen {
            values: [(by(), json!(name))].into(),
            external_id: Some("foreign".to_owned()),
            ..seen("77", 9)
        };
        let joined = join.joined(account);
        assert_eq!(joined.external_id, None);
        joined.id.0
    }

    #[test]
    fn an_account_is_joined_by_what_was_sent_or_shown_in_capital_letters_or_small_ones() {
        let join = join(&[
            ("Ada@acme.example", Some("ada@acme.example")),
            ("Bob@acme.example", None),
        ]);
        for (name, id) in [
            ("Ada@acme.example", "r1"),
            ("ada@acme.example", "r1"),
            ("ADA@acme.example", "r1"),
            ("Bob@acme.example", "r2"),
            ("eve@acme.example", "read-back:77"),
            ("", "read-back:77"),
        ] {
            assert_eq!(shows(&join, name), id, "{name}");
        }
    }

    #[test]
    fn a_value_that_two_accounts_have_joins_neither_and_neither_is_missed() {
        let join = join(&[
            ("a@acme.example", None),
            ("a@acme.example", None),
            ("b@acme.example", None),
        ]);
        assert_eq!(shows(&join, "a@acme.example"), "read-back:77");
        let knows = ["r1", "r2", "r3"].map(|id| join.knows(&RemoteId(id.to_owned())));
        assert_eq!(knows, [false, false, true]);
        // Nor is somebody missed who was sent in a form that is another's now.
        let join = self::join(&[("a@acme.example", Some("a.b@acme.example")), ("a@acme.example", None)]);
        let knows = ["r1", "r2"].map(|id| join.knows(&RemoteId(id.to_owned())));
        assert_eq!(knows, [false, false]);
    }

    #[test]
    fn whoever_has_no_account_or_no_known_value_is_nobody_whom_it_could_show() {
        let linked = Link {
            remote_id: Some(RemoteId("r1".to_owned())),
            ..Link::unlinked(1, hash("configuration"))
        };
        let (one, two) = (user_key(1), user_key(2));
        let links = [(&one, linked), (&two, Link::unlinked(1, hash("configuration")))];
        assert!(Join::of(&by(), links.into_iter()).is_empty());
        assert!(!join(&[("a@acme.example", None)]).is_empty());
    }
}
