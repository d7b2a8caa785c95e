//! Polls: from rows of queries to what they say about everybody. What change events never tell: groups, permission sets,
//! names of profiles and roles, frozen log-ins.
//!
//! A poll speaks about everybody, so its answer is kept by combination: thousands of people share the same few lists.
//! Per person in an answer 24 bytes stay, and about 50 while it is being read; each distinct list is held once.
//! Comparing with what is published, and deciding whether an answer is believed: `writer/polled.rs`.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher as _},
    sync::Arc,
};

use serde_json::Value;
use usher_contract::{Known, NamedRef, RecordId, UserId};

mod groups;

pub use groups::{GroupPoll, MEMBERS, PUBLIC};

/// What is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PollKind {
    /// Frozen log-ins.
    Frozen,
    /// Membership in public groups.
    Groups,
    /// Permission sets.
    PermissionSets,
    /// Names of profiles and roles.
    Names,
}

impl PollKind {
    /// All of them, in the order in which they are read: who must not log in comes first.
    pub const ALL: [Self; 4] = [Self::Frozen, Self::Groups, Self::PermissionSets, Self::Names];

    /// As the configuration, the metrics and the status call it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Groups => "groups",
            Self::PermissionSets => "permissionSets",
            Self::Names => "names",
        }
    }

    /// What it tells, for people.
    #[must_use]
    pub fn subject(self) -> &'static str {
        match self {
            Self::Frozen => "the frozen state",
            Self::Groups => "group membership",
            Self::PermissionSets => "the permission sets",
            Self::Names => "the names of profiles and roles",
        }
    }

    /// What the integration user needs for it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Frozen => {
                "grant the integration user Manage Users, which shows UserLogin, or set polls.frozen to false"
            }
            Self::Groups => {
                "grant the integration user View Setup and Configuration and View Roles and Role Hierarchy, or set polls.groups to false"
            }
            Self::PermissionSets => {
                "grant the integration user View Setup and Configuration, or set polls.permissionSets to false"
            }
            Self::Names => {
                "grant the integration user View Setup and Configuration and View Roles and Role Hierarchy, or set polls.names to false"
            }
        }
    }
}

/// Log-ins that can be seen. A frozen one that cannot be seen any more is not thawed: none at all is lost access.
pub const COUNT_LOGINS: &str = "SELECT COUNT() FROM UserLogin";
/// Frozen log-ins.
pub const FROZEN: &str = "SELECT UserId FROM UserLogin WHERE IsFrozen = true";
/// Who is assigned which permission set, with what newer API versions say about lapsed assignments. Every profile owns a
/// hidden permission set; these are nobody's business.
pub const ASSIGNMENTS: &str = "SELECT AssigneeId, PermissionSetId, IsActive FROM PermissionSetAssignment WHERE PermissionSet.IsOwnedByProfile = false";
/// The same where `IsActive` does not exist.
pub const ASSIGNMENTS_PLAIN: &str =
    "SELECT AssigneeId, PermissionSetId FROM PermissionSetAssignment WHERE PermissionSet.IsOwnedByProfile = false";
/// What administrators call the permission sets.
pub const PERMISSION_SETS: &str = "SELECT Id, Label FROM PermissionSet WHERE IsOwnedByProfile = false";
/// Profiles.
pub const PROFILES: &str = "SELECT Id, Name FROM Profile";
/// Roles and where they are in the hierarchy.
pub const ROLES: &str = "SELECT Id, Name, ParentRoleId FROM UserRole";

/// Whether these log-ins are frozen.
#[must_use]
pub fn query_logins(users: &[UserId]) -> String {
    let ids: Vec<String> = users.iter().map(|id| format!("'{id}'")).collect();
    format!(
        "SELECT UserId, IsFrozen FROM UserLogin WHERE UserId IN ({})",
        ids.join(",")
    )
}

/// The text of a row's field.
fn text<'a>(row: &'a Value, field: &str) -> Result<&'a str, String> {
    row[field].as_str().ok_or_else(|| format!("a row has no {field}"))
}

fn record(row: &Value, field: &str) -> Result<RecordId, String> {
    RecordId::try_new(text(row, field)?).map_err(|_| format!("{field} of a row is not an id"))
}

fn user(row: &Value, field: &str) -> Result<UserId, String> {
    UserId::try_new(text(row, field)?).map_err(|_| format!("{field} of a row is not a user id"))
}

/// Rows of `UserLogin`: whose log-in it is, and whether it is frozen. Rows of [`FROZEN`] are, without saying so.
///
/// # Errors
/// When a row has not the form that was asked for.
pub fn logins(rows: &[Value]) -> Result<Vec<(UserId, bool)>, String> {
    rows.iter()
        .map(|row| Ok((user(row, "UserId")?, row["IsFrozen"].as_bool().unwrap_or(true))))
        .collect()
}

/// Rows of profiles or roles: names by id.
///
/// # Errors
/// When a row has not the form that was asked for.
pub fn names(rows: &[Value]) -> Result<Vec<(RecordId, String)>, String> {
    rows.iter()
        .map(|row| Ok((record(row, "Id")?, text(row, "Name")?.to_owned())))
        .collect()
}

/// A list as a number that differs when the list does; 0 is unknown. Only compared within one process.
#[must_use]
pub fn mark<T: Hash>(list: &Known<Vec<T>>) -> u64 {
    match list {
        Known::Unknown => 0,
        Known::Empty => mark_of::<T>(&[]),
        Known::Value(list) => mark_of(list),
    }
}

fn mark_of<T: Hash>(list: &[T]) -> u64 {
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    hasher.finish().max(1)
}

/// The mark of nothing.
#[must_use]
pub fn empty_mark<T: Hash>() -> u64 {
    mark_of::<T>(&[])
}

/// What everybody has: who is not in it has nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Lists<T> {
    /// Sorted by person; the number of the list.
    people: Vec<(UserId, u32)>,
    /// Distinct lists with their marks.
    lists: Vec<(Vec<T>, u64)>,
}

impl<T: Hash + Ord> Lists<T> {
    fn of(&self, user: UserId) -> Option<&(Vec<T>, u64)> {
        let at = self.people.binary_search_by_key(&user, |(user, _)| *user).ok()?;
        self.lists.get(self.people[at].1 as usize)
    }
    /// What the person has, sorted by id.
    #[must_use]
    pub fn get(&self, user: UserId) -> &[T] {
        self.of(user).map_or(&[], |(list, _)| list)
    }
    /// The same as a number; see [`mark`].
    #[must_use]
    pub fn mark(&self, user: UserId) -> u64 {
        self.of(user).map_or_else(empty_mark::<T>, |(_, mark)| *mark)
    }
    /// Whether nobody has anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }
    /// How many people have something.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }
}

/// From people and their lists; for tests and small answers.
impl<T: Hash + Ord> FromIterator<(UserId, Vec<T>)> for Lists<T> {
    fn from_iter<I: IntoIterator<Item = (UserId, Vec<T>)>>(people: I) -> Self {
        let mut found = Self {
            people: Vec::new(),
            lists: Vec::new(),
        };
        for (user, mut list) in people.into_iter().filter(|(_, list)| !list.is_empty()) {
            list.sort_unstable();
            found.people.push((user, number(found.lists.len())));
            let mark = mark_of(&list);
            found.lists.push((list, mark));
        }
        found.people.sort_unstable();
        found
    }
}

/// Four bytes per person instead of eight.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("**Invariant**: there are fewer than 2^32 rows in an org's answer")
}

/// Which combination of things each person has, as rows bring one thing at a time in any order.
#[derive(Debug)]
struct Combinations {
    of: HashMap<UserId, u32>,
    all: Vec<Arc<[u32]>>,
    numbers: HashMap<Arc<[u32]>, u32>,
    /// The combination with one thing more: what makes a row cheap.
    with: HashMap<(u32, u32), u32>,
}

impl Default for Combinations {
    fn default() -> Self {
        let nothing: Arc<[u32]> = Arc::new([]);
        Self {
            of: HashMap::new(),
            all: vec![Arc::clone(&nothing)],
            numbers: HashMap::from([(nothing, 0)]),
            with: HashMap::new(),
        }
    }
}

impl Combinations {
    fn add(&mut self, user: UserId, thing: u32) {
        let before = self.of.get(&user).copied().unwrap_or(0);
        let after = match self.with.get(&(before, thing)) {
            Some(after) => *after,
            None => {
                let mut things = self.all[before as usize].to_vec();
                if let Err(place) = things.binary_search(&thing) {
                    things.insert(place, thing);
                }
                let things: Arc<[u32]> = things.into();
                let after = *self.numbers.entry(Arc::clone(&things)).or_insert_with(|| {
                    self.all.push(things);
                    number(self.all.len() - 1)
                });
                self.with.insert((before, thing), after);
                after
            }
        };
        self.of.insert(user, after);
    }

    /// What each combination comes to. Combinations that nobody has in the end are left out.
    fn resolve<T: Hash>(self, mut list_of: impl FnMut(&[u32]) -> Vec<T>) -> Lists<T> {
        let mut people: Vec<(UserId, u32)> = self.of.into_iter().collect();
        people.sort_unstable();
        let mut lists: Vec<(Vec<T>, u64)> = Vec::new();
        let mut places: HashMap<u32, Option<u32>> = HashMap::new();
        people.retain_mut(|(_, combination)| {
            let place = places.entry(*combination).or_insert_with(|| {
                let list = list_of(&self.all[*combination as usize]);
                let mark = mark_of(&list);
                (!list.is_empty()).then(|| {
                    lists.push((list, mark));
                    number(lists.len() - 1)
                })
            });
            if let Some(place) = place {
                *combination = *place;
            }
            place.is_some()
        });
        people.shrink_to_fit();
        Lists { people, lists }
    }
}

/// The permission sets of everybody. Assignments are read before the sets, so that no set of an assignment is too new to
/// have a name. Sets inside a permission set group are not listed one by one: the assignment names the group's own set.
#[derive(Debug, Default)]
pub struct PermissionSetPoll {
    people: Combinations,
    numbers: HashMap<RecordId, u32>,
    ids: Vec<RecordId>,
    names: HashMap<RecordId, String>,
}

impl PermissionSetPoll {
    /// Rows of [`ASSIGNMENTS`]. A lapsed assignment says so; where nothing is said, it counts.
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn assignments(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows.iter().filter(|row| row["IsActive"].as_bool() != Some(false)) {
            let set = record(row, "PermissionSetId")?;
            let thing = *self.numbers.entry(set).or_insert_with(|| {
                self.ids.push(set);
                number(self.ids.len() - 1)
            });
            self.people.add(user(row, "AssigneeId")?, thing);
        }
        Ok(())
    }

    /// Rows of [`PERMISSION_SETS`].
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn sets(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows {
            self.names.insert(record(row, "Id")?, text(row, "Label")?.to_owned());
        }
        Ok(())
    }

    /// Who has what. A set that cannot be seen itself is there without its name.
    #[must_use]
    pub fn finish(self) -> Lists<NamedRef> {
        let (ids, names) = (self.ids, self.names);
        self.people.resolve(|sets| {
            let mut list: Vec<NamedRef> = sets
                .iter()
                .map(|set| {
                    let id = ids[*set as usize];
                    let name = names.get(&id).cloned().map_or(Known::Unknown, Known::Value);
                    NamedRef { id, name }
                })
                .collect();
            list.sort_unstable();
            list
        })
    }
}

/// Who of those published as frozen must be asked about: they are in no answer, which proves nothing.
#[must_use]
pub fn not_in(frozen: &HashSet<UserId>, published: &[UserId]) -> Vec<UserId> {
    published
        .iter()
        .copied()
        .filter(|user| !frozen.contains(user))
        .collect()
}

#[cfg(test)]
mod tests;
