//! Held sets as operators look at them: which there are, how many people are in them, and who, a page at a time.
//!
//! The status asks several times a second, and hundreds of thousands may be held: nothing here goes through all of them.

use std::{collections::BTreeMap, ops::Bound};

use super::{Approval, BTreeSet, Timestamp, UserId, Writer, held::set_of};

/// A held set and some of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPage {
    /// Its id.
    pub id: String,
    /// When its snapshot began, by the source's clock.
    pub began_at: Timestamp,
    /// Since when it is held, our clock.
    pub held_at: Timestamp,
    /// Who has released it.
    pub approved: Option<Approval>,
    /// How many people are in it altogether.
    pub people: usize,
    /// Of this page: missing from the snapshot, and gone or outside the population.
    pub removals: Vec<UserId>,
    /// Of this page: published as active, inactive in the snapshot.
    pub deactivations: Vec<UserId>,
    /// The last one of this page, when there are more behind it.
    pub next: Option<UserId>,
}

impl Writer {
    /// How many people are in each held set, by its id.
    #[must_use]
    pub fn held_sizes(&self) -> BTreeMap<&str, usize> {
        let mut sizes = BTreeMap::new();
        for (part, record) in self.held.parts() {
            *sizes.entry(set_of(part)).or_default() += record.len();
        }
        sizes
    }

    /// Every held set, or only this one, with at most `limit` of its members by rising id, behind `after`.
    #[must_use]
    pub fn held_pages(&self, only: Option<&str>, after: Option<UserId>, limit: usize) -> Vec<HeldPage> {
        let behind: (Bound<UserId>, Bound<UserId>) =
            (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let sizes = self.held_sizes();
        let wanted = sizes
            .into_iter()
            .filter(|(set, _)| only.is_none_or(|only| only == *set));
        let page = |(set, people): (&str, usize)| {
            let parts = self.held.parts().iter().filter(|(part, _)| set_of(part) == set);
            let (_, first) = parts.clone().next()?;
            // One more of each than is shown says whether there are more.
            let some = |ids: &BTreeSet<UserId>, removal: bool| -> Vec<(UserId, bool)> {
                let ids = ids.range(behind).take(limit.saturating_add(1));
                ids.map(|id| (*id, removal)).collect()
            };
            let members = parts.flat_map(|(_, record)| {
                let mut members = some(&record.removals, true);
                members.extend(some(&record.deactivations, false));
                members
            });
            let mut members: Vec<(UserId, bool)> = members.collect();
            members.sort_unstable();
            let more = members.len() > limit;
            members.truncate(limit);
            let of = |removals: bool| {
                let chosen = members.iter().filter(|(_, removal)| *removal == removals);
                chosen.map(|(id, _)| *id).collect()
            };
            Some(HeldPage {
                id: set.to_owned(),
                began_at: first.began_at,
                held_at: first.held_at,
                approved: first.approved.clone(),
                people,
                removals: of(true),
                deactivations: of(false),
                next: members.last().filter(|_| more).map(|(id, _)| *id),
            })
        };
        wanted.filter_map(page).collect()
    }
}
