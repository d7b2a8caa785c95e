//! The first look at an application that we have no links of: list it, and say what is there before anything is written.
//!
//! The list only serves the report. Every person is still looked up before an account is made or taken over, because a
//! list is as old as its first page.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use usher_contract::UserKey;

use super::{
    account::RemoteId,
    matching::{Seen, pick},
    plan::Accounts,
    policy::{MatchKey, WORK_EMAIL},
    target_record::FirstSyncReport,
};

/// More pages than this and the list is taken to have no end: a million accounts at a hundred a page.
const PAGES_MAX: u32 = 20_000;

/// The accounts listed so far.
#[derive(Debug, Default)]
pub struct Listing {
    accounts: Vec<Seen>,
    cursors: BTreeSet<String>,
    pages: u32,
}

/// How the list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The page with this cursor comes next.
    Next(String),
    /// That was all.
    Complete,
    /// The application leads in a circle: what is listed is what there is.
    Endless,
}

impl Listing {
    /// Takes a page.
    pub fn page(&mut self, accounts: Vec<Seen>, next: Option<String>) -> Turn {
        self.accounts.extend(accounts);
        self.pages += 1;
        match next {
            None => Turn::Complete,
            Some(cursor) if self.pages < PAGES_MAX && self.cursors.insert(cursor.clone()) => Turn::Next(cursor),
            Some(_) => Turn::Endless,
        }
    }

    /// How many accounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Compares with the people who should have an account: each with the values to match by. Also whose account is
    /// which, as far as the list tells.
    pub fn report(
        &self,
        people: impl Iterator<Item = (UserKey, Vec<(MatchKey, String)>)>,
        adopt_inactive: bool,
        accounts: &dyn Accounts,
        now: Timestamp,
    ) -> (FirstSyncReport, Vec<(UserKey, Seen)>) {
        let index = Index::of(&self.accounts);
        let (mut matched, mut would_create, mut ambiguous) = (Vec::new(), 0, 0);
        let mut touched = BTreeSet::new();
        for (user, by) in people {
            let found = by
                .iter()
                .map(|(key, value)| index.find(*key, value))
                .find(|found| !found.is_empty())
                .unwrap_or_default();
            touched.extend(found.iter().copied());
            let found: Vec<Seen> = found.iter().filter_map(|at| self.accounts.get(*at)).cloned().collect();
            match pick(&user, &found, adopt_inactive, accounts) {
                Ok(Some(account)) => matched.push((user, account.clone())),
                Ok(None) => would_create += 1,
                Err(_) => ambiguous += 1,
            }
        }
        // Whoever comes first would get it, and nobody can say who that is.
        let mut claims: BTreeMap<RemoteId, u32> = BTreeMap::new();
        for (_, account) in &matched {
            *claims.entry(account.id.clone()).or_default() += 1;
        }
        let all = matched.len();
        matched.retain(|(_, account)| claims.get(&account.id) == Some(&1));
        ambiguous += all - matched.len();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let report = FirstSyncReport {
            at: now,
            accounts: count(self.accounts.len()),
            matched: count(matched.len()),
            would_create,
            ambiguous: count(ambiguous),
            unmatched: count(self.accounts.len() - touched.len()),
            would_change: BTreeMap::new(),
            not_listed: None,
        };
        (report, matched)
    }
}

/// Accounts by the values that people are matched by, without regard to case (log-in names are not case-exact).
struct Index(BTreeMap<(MatchKey, String), Vec<usize>>);

impl Index {
    fn of(accounts: &[Seen]) -> Self {
        let mut index: BTreeMap<(MatchKey, String), Vec<usize>> = BTreeMap::new();
        for (at, account) in accounts.iter().enumerate() {
            let email = account
                .values
                .iter()
                .find(|(path, _)| path.0 == WORK_EMAIL)
                .map(|(_, value)| value);
            let keys = [
                (MatchKey::ExternalId, account.external_id.as_deref()),
                (MatchKey::UserName, account.user_name.as_deref()),
                (MatchKey::Email, email.and_then(Value::as_str)),
            ];
            for (key, value) in keys {
                if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) {
                    index.entry((key, value.to_lowercase())).or_default().push(at);
                }
            }
        }
        Self(index)
    }
    fn find(&self, key: MatchKey, value: &str) -> Vec<usize> {
        self.0
            .get(&(key, value.trim().to_lowercase()))
            .cloned()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{Nobody, at, seen, user_key};

    fn by(n: u32) -> (UserKey, Vec<(MatchKey, String)>) {
        let key = user_key(n);
        (
            key,
            vec![
                (MatchKey::ExternalId, key.user.to_string()),
                (MatchKey::UserName, format!("u{n}@acme.example")),
            ],
        )
    }

    #[test]
    fn the_report_counts_every_kind() {
        let mut listing = Listing::default();
        let accounts = vec![
            Seen {
                external_id: Some(user_key(1).user.to_string()),
                ..seen("a", 9)
            },
            seen("b", 2),
            Seen {
                user_name: Some("U3@ACME.EXAMPLE".into()),
                ..seen("c", 3)
            },
            seen("d", 3),
            seen("e", 77),
        ];
        assert_eq!(listing.page(accounts, Some("2".into())), Turn::Next("2".into()));
        assert_eq!(listing.page(vec![], None), Turn::Complete);
        let (report, _) = listing.report([by(1), by(2), by(3), by(4)].into_iter(), false, &Nobody, at(0));
        let counts = (
            report.accounts,
            report.matched,
            report.would_create,
            report.ambiguous,
            report.unmatched,
        );
        assert_eq!(counts, (5, 2, 1, 1, 1));
    }

    #[test]
    fn an_account_that_two_people_match_is_neithers_for_sure() {
        let mut listing = Listing::default();
        let _ = listing.page(vec![seen("a", 1), seen("b", 2)], None);
        let (one, two) = (by(1), (user_key(3), by(1).1));
        let (report, matched) = listing.report([one, two, by(2)].into_iter(), false, &Nobody, at(0));
        assert_eq!((report.matched, report.ambiguous, report.would_create), (1, 2, 0));
        assert_eq!(matched.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [user_key(2)]);
    }

    #[test]
    fn a_list_that_leads_in_a_circle_ends() {
        let mut listing = Listing::default();
        assert_eq!(listing.page(vec![], Some("2".into())), Turn::Next("2".into()));
        assert_eq!(listing.page(vec![], Some("2".into())), Turn::Endless);
    }
}
