//! The groups of one target and who is in them: what is remembered, what is wanted, and what follows.
//!
//! Everything is decided here, without clock and I/O: [`Groups::want`] takes in what the rules say of a person,
//! [`Groups::next`] (in `work`) says which request comes next, [`Groups::ended`] (in `results`) takes its answer. The lane
//! adds order, pace and commits.
//!
//! Guarantees:
//! * A group is looked for by its name, and made at most once: the intent is committed before the request, and a lost
//!   answer is looked up.
//! * Members are added and removed, never replaced, in bounded numbers; afterwards the group is read.
//! * Only people whose groups are all known leave a group, and only groups that we have made or that the map names.
//! * What a crash leaves open is found: `unread` is committed before members are changed, and such a group is read.
//!
//! **Invariant**: `joins` and `leaves` of the groups say what differs between wanted and held, for everybody who is wanted
//! somewhere or held somewhere.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use usher_contract::UserKey;

pub mod record;
mod remembered;
mod results;
pub mod rules;
#[cfg(test)]
mod tests;
mod wanted;
mod work;

use self::{
    record::{FORMAT, GroupKey, GroupRecord, Membership, Standing},
    rules::{GroupChanges, GroupRules, WantedGroup, WantedGroups, folded},
    work::Task,
};
pub use self::{
    remembered::Records,
    results::{Ending, News, What},
    work::{Around, Next},
};
use super::account::RemoteId;

/// How long a new name at the source has to stay the newest before the group is renamed: while names are being read anew,
/// some people's states still say the old one. Longer: later renames; shorter: names that go back and forth.
pub const RENAME_QUIET: std::time::Duration = std::time::Duration::from_secs(60);

/// The number of a group within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupNo(u32);

/// What a person is to be in.
#[derive(Debug, Clone, PartialEq)]
struct Want {
    version: u64,
    groups: Vec<GroupNo>,
    complete: bool,
}

/// One person's account.
#[derive(Debug, Default)]
struct Person {
    account: Option<RemoteId>,
    held: Vec<(GroupNo, Membership)>,
    want: Option<Want>,
}

impl Person {
    fn held(&self, group: GroupNo) -> Option<&Membership> {
        self.held.iter().find(|(no, _)| *no == group).map(|(_, held)| held)
    }
    fn version(&self) -> u64 {
        self.want.as_ref().map_or(0, |want| want.version)
    }
}

/// One group.
#[derive(Debug)]
struct Group {
    key: GroupKey,
    /// What is remembered of it.
    record: GroupRecord,
    /// `creating` and `unread` as they are on the topic.
    durable: (bool, bool),
    joins: BTreeSet<UserKey>,
    leaves: BTreeSet<UserKey>,
    /// How many are taken to be in it.
    members: usize,
    /// A look-up has just shown that there is none of this name.
    looked: bool,
    /// We have just made it: there is nobody in it.
    fresh: bool,
    read_due: Option<Timestamp>,
    rename: Option<Rename>,
    rename_refused: Option<String>,
    task: Option<Task>,
    next_try: Option<Timestamp>,
    attempts: u32,
    /// Members of the next change: halved when one is refused, so that the one who is not taken is found.
    limit: usize,
    /// What has turned out to be too many at once.
    ceiling: usize,
    /// Its record cannot be read, or was not there: nothing is done.
    locked: bool,
    /// It does not show its members, and that was said.
    unshown: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Rename {
    to: String,
    since: Timestamp,
    /// No group of the new name was found.
    looked: bool,
}

/// How many groups are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupsStatus {
    /// Groups that are at the target.
    pub linked: usize,
    /// Made by us, of these.
    pub made: usize,
    /// Groups that cannot be found, made or changed.
    pub refused: usize,
    /// Memberships to be made.
    pub joining: usize,
    /// Memberships to be ended; those that the guard holds count, too.
    pub leaving: usize,
    /// Memberships that the target refuses.
    pub refused_members: usize,
}

/// The groups of one target. See the module documentation.
#[derive(Debug, Default)]
pub struct Groups {
    all: Vec<Group>,
    by_key: HashMap<GroupKey, GroupNo>,
    by_name: HashMap<String, GroupNo>,
    /// Which group has a source's name, and when the state was observed that last said so.
    by_source: HashMap<String, (GroupNo, Timestamp)>,
    people: HashMap<UserKey, Person>,
    /// People whose record cannot be read: nothing is done about them.
    locked: HashSet<UserKey>,
    /// Members that are kept from leaving, by held set.
    sets: HashMap<String, usize>,
    refused_members: usize,
    dirty_groups: BTreeSet<GroupNo>,
    dirty_people: BTreeSet<UserKey>,
    flying: Vec<(GroupNo, (bool, bool))>,
    /// Groups with something that may be done now.
    ready: BTreeSet<GroupNo>,
    /// And later.
    due: BTreeSet<(Timestamp, GroupNo)>,
    /// People whose states have to tell anew which groups they mean.
    refeed: BTreeSet<UserKey>,
}

/// What differs: groups to join and to leave.
fn difference(
    want: Option<&Want>,
    held: &[(GroupNo, Membership)],
    removable: impl Fn(GroupNo) -> bool,
) -> (Vec<GroupNo>, Vec<GroupNo>) {
    let Some(want) = want else {
        return (Vec::new(), Vec::new());
    };
    let standing = |group: GroupNo| held.iter().find(|(no, _)| *no == group).map(|(_, held)| held.is);
    let joins = want.groups.iter().copied();
    let joins = joins.filter(|group| matches!(standing(*group), None | Some(Standing::Doubted)));
    let leaves = held.iter().filter(|(group, held)| {
        let there = matches!(held.is, Standing::In | Standing::Doubted);
        want.complete && there && !want.groups.contains(group) && removable(*group)
    });
    (joins.collect(), leaves.map(|(group, _)| *group).collect())
}

impl Groups {
    fn group(&self, no: GroupNo) -> &Group {
        // **Invariant**: numbers are handed out by `add` alone, and no group is ever taken out.
        &self.all[no.0 as usize]
    }

    fn group_mut(&mut self, no: GroupNo) -> &mut Group {
        &mut self.all[no.0 as usize]
    }

    fn add(&mut self, key: GroupKey, record: GroupRecord, locked: bool) -> GroupNo {
        let no = GroupNo(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_key.insert(key.clone(), no);
        self.all.push(Group {
            key,
            durable: (record.creating, record.unread),
            record,
            joins: BTreeSet::new(),
            leaves: BTreeSet::new(),
            members: 0,
            looked: false,
            fresh: false,
            read_due: None,
            rename: None,
            rename_refused: None,
            task: None,
            next_try: None,
            attempts: 0,
            limit: usize::MAX,
            ceiling: usize::MAX,
            locked,
            unshown: false,
        });
        no
    }

    fn number(&mut self, key: &GroupKey) -> GroupNo {
        match self.by_key.get(key) {
            Some(no) => *no,
            None => self.add(key.clone(), blank(String::new()), true),
        }
    }

    /// What would be changed for somebody who is to be in these groups.
    #[must_use]
    pub fn changes(&self, user: &UserKey, wanted: &WantedGroups, rules: &GroupRules) -> GroupChanges {
        let person = self.people.get(user);
        let find = |group: &WantedGroup| {
            let by_source = group.source.as_ref().and_then(|source| self.by_source.get(source));
            by_source
                .map(|(no, _)| *no)
                .or_else(|| self.by_name.get(&folded(&group.name)).copied())
        };
        let mut changes = GroupChanges::default();
        let mut known = Vec::new();
        for group in &wanted.groups {
            let no = find(group);
            known.extend(no);
            let held = no.and_then(|no| person?.held(no));
            if held.is_none_or(|held| held.is == Standing::Doubted) {
                changes.join.push(group.name.clone());
            }
        }
        let want = Want {
            version: 0,
            groups: known,
            complete: wanted.is_complete(),
        };
        let held = person.map(|person| person.held.as_slice()).unwrap_or_default();
        let (_, leave) = difference(Some(&want), held, |no| self.removable(no, rules));
        changes.leave = leave.into_iter().map(|no| self.group(no).record.name.clone()).collect();
        changes.leave.sort_unstable();
        changes
    }

    /// The groups that somebody's account is in, as far as we know, by name.
    #[must_use]
    pub fn of(&self, user: &UserKey) -> Vec<String> {
        let held = self.people.get(user).into_iter().flat_map(|person| &person.held);
        let there = held.filter(|(_, held)| matches!(held.is, Standing::In | Standing::Stuck));
        let mut names: Vec<String> = there.map(|(no, _)| self.group(*no).record.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// In numbers.
    #[must_use]
    pub fn status(&self) -> GroupsStatus {
        let linked = self.all.iter().filter(|group| group.record.id.is_some());
        GroupsStatus {
            linked: linked.clone().count(),
            made: linked.filter(|group| group.record.made).count(),
            refused: self.all.iter().filter(|group| group.record.refused.is_some()).count(),
            joining: self.all.iter().map(|group| group.joins.len()).sum(),
            leaving: self.all.iter().map(|group| group.leaves.len()).sum(),
            refused_members: self.refused_members,
        }
    }

    /// Whether nothing of groups is known or wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.people.is_empty()
    }
}

fn held_in(person: &Person) -> Vec<GroupNo> {
    person.held.iter().map(|(no, _)| *no).collect()
}

fn durable(record: &GroupRecord) -> (bool, bool) {
    (record.creating, record.unread)
}

fn blank(name: String) -> GroupRecord {
    GroupRecord {
        format: FORMAT,
        name,
        id: None,
        made: false,
        creating: false,
        unread: false,
        read_at: None,
        sources: BTreeSet::new(),
        removed: Vec::new(),
        refused: None,
    }
}
