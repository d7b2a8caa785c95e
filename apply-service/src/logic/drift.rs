//! Drift: what the accounts of a target hold, against what was written there.
//!
//! One page after the other is compared and forgotten; only the ids that were seen stay, so that what is missing can be
//! told at the end. Accounts that nobody manages are counted and never touched.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use usher_contract::{RecordId, StateHash, UserKey};

use super::{
    account::{AttributePath, RemoteId},
    link::{Link, LinkState, Written},
    matching::Seen,
    plan::Accounts,
    policy::{TargetPolicy, Write},
    read_back::ReadBack,
    source::is_blank,
};

/// More pages than this and the list is taken to have no end: a million accounts at a hundred a page.
const PAGES_MAX: u32 = 20_000;
/// So often the same value is written anew; then the target is taken to refuse it.
pub const CORRECTIONS_MAX: u8 = 3;

/// What differs at one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The target does not list it any more.
    Missing,
    /// Somebody else has changed these attributes.
    Changed(Vec<AttributePath>),
    /// It was switched off and is on.
    SwitchedOn,
    /// It was left on and is off.
    SwitchedOff,
    /// It carries another person's key.
    WrongPerson(String),
}

impl Finding {
    /// In words; names of attributes, never values.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Missing => "the target does not list the account any more".to_owned(),
            Self::Changed(paths) => {
                let names: Vec<&str> = paths.iter().map(|path| path.0.as_str()).collect();
                format!("changed by others: {}", names.join(", "))
            }
            Self::SwitchedOn => "the account was switched off and is on".to_owned(),
            Self::SwitchedOff => "the account was left on and is off".to_owned(),
            Self::WrongPerson(key) => format!("the account carries the key of another person: {key}"),
        }
    }
}

/// The result of one look at the whole target. Counts only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Accounts listed.
    pub accounts: u64,
    /// Linked accounts that are not listed any more.
    pub missing: u64,
    /// Linked accounts that others have changed.
    pub changed: u64,
    /// Accounts that carry another person's key.
    pub wrong: u64,
    /// Accounts that nobody manages.
    pub unmanaged: u64,
    /// Attributes that the target refuses to keep.
    pub refused: u64,
    /// Whether another interface was read (`connection.readBack`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_back: bool,
    /// Why the list could not be read to its end, when it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_listed: Option<String>,
}

/// How the list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The page with this cursor comes next.
    Next(String),
    /// That was all.
    Complete,
    /// The target leads in a circle: nothing can be said about what is missing.
    Endless,
}

/// A look at the whole target under way.
#[derive(Debug, Default)]
pub struct Survey {
    seen: HashSet<RemoteId>,
    cursors: BTreeSet<String>,
    pages: u32,
    /// What was counted so far.
    pub report: DriftReport,
}

impl Survey {
    /// Takes a page. Gives who differs and how; people who are not `at_rest` since the page was asked for are left out.
    pub fn page(
        &mut self,
        accounts: &[Seen],
        next: Option<String>,
        links: &dyn Holders,
        (target, read_back): (&TargetPolicy, Option<&ReadBack>),
        at_rest: impl Fn(&UserKey, &Link) -> bool,
    ) -> (Vec<(UserKey, Finding)>, Turn) {
        let mut found = Vec::new();
        for account in accounts {
            // A list that moves while it is read shows some accounts twice.
            if !self.seen.insert(account.id.clone()) {
                continue;
            }
            self.report.accounts += 1;
            let Some(holder) = links.holder(&account.id) else {
                self.report.unmanaged += 1;
                continue;
            };
            let Some(link) = links.link(&holder).filter(|link| at_rest(&holder, link)) else {
                continue;
            };
            if let Some(finding) = compare(&holder, &link, account, target, read_back) {
                match finding {
                    Finding::WrongPerson(_) => self.report.wrong += 1,
                    Finding::Missing => self.report.missing += 1,
                    Finding::Changed(_) | Finding::SwitchedOn | Finding::SwitchedOff => self.report.changed += 1,
                }
                found.push((holder, finding));
            }
        }
        self.pages += 1;
        let turn = match next {
            None => Turn::Complete,
            Some(cursor) if self.pages < PAGES_MAX && self.cursors.insert(cursor.clone()) => Turn::Next(cursor),
            Some(_) => Turn::Endless,
        };
        (found, turn)
    }

    /// After the last page: whose account is not listed any more. Accounts that are off may be hidden by the target.
    pub fn missing<'a>(
        &mut self,
        links: impl Iterator<Item = (&'a UserKey, Link)>,
        at_rest: impl Fn(&UserKey, &Link) -> bool,
    ) -> Vec<UserKey> {
        // A list without anybody says more about the list than about the accounts.
        if self.report.accounts == 0 {
            return Vec::new();
        }
        let gone: Vec<UserKey> = links
            .filter(|(user, link)| {
                let listed = link.remote_id.as_ref().is_none_or(|id| self.seen.contains(id));
                // Some applications do not show who is on.
                !listed && link.active != Some(false) && at_rest(user, link)
            })
            .map(|(user, _)| *user)
            .collect();
        self.report.missing += gone.len() as u64;
        gone
    }
}

/// What is needed of the links.
pub trait Holders: Accounts {
    /// What is known of a person.
    fn link(&self, user: &UserKey) -> Option<Link>;
}

/// What differs at the account of one person; the heaviest finding. `read_back`: as that interface shows the account.
#[must_use]
pub fn compare(
    user: &UserKey,
    link: &Link,
    account: &Seen,
    target: &TargetPolicy,
    read_back: Option<&ReadBack>,
) -> Option<Finding> {
    if !matches!(link.state, LinkState::Settled) {
        return None;
    }
    if target.matching.keeps_external_ids && account.is_foreign(user) {
        // Named only when it is a record id: a foreign key may be anything, an address included.
        let theirs = account.external_id.as_deref().and_then(|id| RecordId::try_new(id).ok());
        let theirs = theirs.map_or_else(|| "not one of ours".to_owned(), |id| id.to_string());
        return Some(Finding::WrongPerson(theirs));
    }
    match (link.active, account.active) {
        (Some(false), Some(true)) => return Some(Finding::SwitchedOn),
        (Some(true), Some(false)) => return Some(Finding::SwitchedOff),
        _ => {}
    }
    // Settings that were edited since, or that are the application's own, are not ours to compare.
    let assigned = link.assignment.as_ref();
    let settings = target.assignments.iter().filter(|assignment| {
        let same = assigned.is_some_and(|last| last.name == assignment.name && last.settings == assignment.settings);
        same && !assignment.manual
    });
    let rows = target
        .attributes
        .iter()
        .chain(settings.flat_map(|assignment| &assignment.rows));
    let rules: BTreeMap<&AttributePath, Write> = rows.map(|rule| (&rule.path, rule.write)).collect();
    let changed: Vec<AttributePath> = link
        .written
        .iter()
        .filter(|(path, written)| {
            let shown = read_back.map_or_else(|| !target.unshown.contains(path), |other| other.compares.contains(path));
            let kept = rules.get(path) == Some(&Write::Always) && shown;
            let mut may_show = hashes(written, read_back.is_some());
            kept && !written.doubted && !may_show.any(|hash| shows(account, path, hash))
        })
        .map(|(path, _)| path.clone())
        .collect();
    (!changed.is_empty()).then_some(Finding::Changed(changed))
}

/// What an account may show of a value that is ours. Where it is read back, the other interface may show it as it was sent as
/// well as the one that is written to showed it afterwards.
fn hashes(written: &Written, elsewhere: bool) -> impl Iterator<Item = StateHash> {
    let shown = written.returned.unwrap_or(written.hash);
    [shown].into_iter().chain(elsewhere.then_some(written.hash))
}

/// Whether the account shows this value. Null, an empty list and absence all mean "unassigned" (RFC 7643 section 2.5).
fn shows(account: &Seen, path: &AttributePath, expected: StateHash) -> bool {
    let unassigned = expected == StateHash::of_value(&Value::Null);
    match account.values.get(path) {
        None => unassigned,
        Some(value) => StateHash::of_value(value) == expected || (unassigned && is_blank(value)),
    }
}
