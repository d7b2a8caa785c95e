//! Membership in public groups, directly and through what is nested in them: groups, roles, roles and subordinates.
//!
//! Left out: members of other kinds (all internal users, managers, portal users, territories). They are counted, so that
//! the status can say that membership through them is not seen. Queues are no groups here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
};

use serde_json::Value;
use usher_contract::{GroupRef, Known, RecordId, UserId};

use super::{Combinations, Lists, number, record, text, user};

/// Members of public groups: people and other groups.
pub const MEMBERS: &str = "SELECT GroupId, UserOrGroupId FROM GroupMember WHERE Group.Type = 'Regular'";
/// Public groups.
pub const PUBLIC: &str = "SELECT Id, Name FROM Group WHERE Type = 'Regular'";

/// What a person can be in directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// A group of any kind.
    Group(RecordId),
    /// A role, whoever holds it.
    Role(RecordId),
    /// A role, for people of the company only.
    Internal(RecordId),
}

/// What a group that is no public group stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    Subordinates,
    InternalSubordinates,
}

/// Reads the membership. Members are read before groups, so that no group of a member is too new to have a name.
///
/// [`members`](Self::members), [`public`](Self::public), then [`others`](Self::others) for [`unknown`](Self::unknown);
/// when [`needs_roles`](Self::needs_roles): [`roles`](Self::roles), then [`holders`](Self::holders) of
/// [`covered`](Self::covered).
#[derive(Debug, Default)]
pub struct GroupPoll {
    people: Combinations,
    numbers: HashMap<Place, u32>,
    places: Vec<Place>,
    /// Per place: the places that contain it.
    within: Vec<Vec<u32>>,
    /// Groups that were named as a group, not only as a member of one.
    public: HashSet<RecordId>,
    names: HashMap<RecordId, String>,
    nested: HashSet<RecordId>,
    role_groups: Vec<(RecordId, Kind, RecordId)>,
    parents: HashMap<RecordId, Option<RecordId>>,
    left_out: BTreeMap<String, usize>,
}

impl GroupPoll {
    fn place(&mut self, place: Place) -> u32 {
        *self.numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.within.push(Vec::new());
            number(self.places.len() - 1)
        })
    }

    fn contain(&mut self, outer: Place, inner: Place) {
        let (outer, inner) = (self.place(outer), self.place(inner));
        self.within[inner as usize].push(outer);
    }

    /// Rows of [`MEMBERS`].
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn members(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows {
            let group = record(row, "GroupId")?;
            let member = record(row, "UserOrGroupId")?;
            self.public.insert(group);
            if let Ok(person) = UserId::try_new(member.as_str()) {
                let group = self.place(Place::Group(group));
                self.people.add(person, group);
            } else {
                self.nested.insert(member);
                self.contain(Place::Group(group), Place::Group(member));
            }
        }
        Ok(())
    }

    /// Rows of [`PUBLIC`].
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn public(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows {
            let id = record(row, "Id")?;
            self.public.insert(id);
            self.names.insert(id, text(row, "Name")?.to_owned());
        }
        Ok(())
    }

    /// Members that are groups of an unknown kind.
    #[must_use]
    pub fn unknown(&self) -> Vec<RecordId> {
        let mut unknown: Vec<RecordId> = self.nested.difference(&self.public).copied().collect();
        unknown.sort_unstable();
        unknown
    }

    /// Asks for their kind.
    #[must_use]
    pub fn query_others(groups: &[RecordId]) -> String {
        format!("SELECT Id, Type, RelatedId FROM Group WHERE Id IN ({})", quoted(groups))
    }

    /// Rows of [`query_others`](Self::query_others).
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn others(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows {
            let id = record(row, "Id")?;
            let name = text(row, "Type")?;
            let kind = match name {
                // It had no members and was made while the groups were read.
                "Regular" => continue,
                "Role" => Some(Kind::Role),
                "RoleAndSubordinates" => Some(Kind::Subordinates),
                "RoleAndSubordinatesInternal" => Some(Kind::InternalSubordinates),
                _ => None,
            };
            match kind.and_then(|kind| Some((kind, record(row, "RelatedId").ok()?))) {
                Some((kind, role)) => self.role_groups.push((id, kind, role)),
                None => *self.left_out.entry(name.to_owned()).or_default() += 1,
            }
        }
        Ok(())
    }

    /// Whether a role is in a group.
    #[must_use]
    pub fn needs_roles(&self) -> bool {
        !self.role_groups.is_empty()
    }

    /// Rows of [`super::ROLES`].
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn roles(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows {
            let parent = row["ParentRoleId"].as_str().map(|_| record(row, "ParentRoleId"));
            self.parents.insert(record(row, "Id")?, parent.transpose()?);
        }
        Ok(())
    }

    /// The roles whose holders are in a group through them.
    #[must_use]
    pub fn covered(&mut self) -> Vec<RecordId> {
        let mut below: HashMap<RecordId, Vec<RecordId>> = HashMap::new();
        for (role, parent) in &self.parents {
            if let Some(parent) = parent {
                below.entry(*parent).or_default().push(*role);
            }
        }
        let mut covered = HashSet::new();
        for (group, kind, role) in std::mem::take(&mut self.role_groups) {
            let roles = match kind {
                Kind::Role => HashSet::from([role]),
                Kind::Subordinates | Kind::InternalSubordinates => {
                    reached([role], |role| below.get(&role).map_or(&[], Vec::as_slice))
                }
            };
            for role in roles {
                let inner = match kind {
                    Kind::Role | Kind::Subordinates => Place::Role(role),
                    Kind::InternalSubordinates => Place::Internal(role),
                };
                covered.insert(role);
                self.contain(Place::Group(group), inner);
            }
        }
        let mut covered: Vec<RecordId> = covered.into_iter().collect();
        covered.sort_unstable();
        covered
    }

    /// Asks who holds these roles.
    #[must_use]
    pub fn query_holders(roles: &[RecordId]) -> String {
        format!(
            "SELECT Id, UserRoleId, UserType FROM User WHERE UserRoleId IN ({})",
            quoted(roles)
        )
    }

    /// Rows of [`query_holders`](Self::query_holders).
    ///
    /// # Errors
    /// When a row has not the form that was asked for.
    pub fn holders(&mut self, rows: &[Value]) -> Result<(), String> {
        for row in rows {
            let (person, role) = (user(row, "Id")?, record(row, "UserRoleId")?);
            let internal = row["UserType"].as_str() == Some("Standard");
            let places = [Some(Place::Role(role)), internal.then_some(Place::Internal(role))];
            for place in places.into_iter().flatten() {
                if let Some(place) = self.numbers.get(&place) {
                    self.people.add(person, *place);
                }
            }
        }
        Ok(())
    }

    /// Who is in which public groups, and how many nested members of kinds that are not followed there are.
    #[must_use]
    pub fn finish(self) -> (Lists<GroupRef>, BTreeMap<String, usize>) {
        let Self {
            people,
            places,
            within,
            public,
            names,
            left_out,
            ..
        } = self;
        let lists = people.resolve(|direct| {
            let all = reached(direct.iter().copied(), |place| within[place as usize].as_slice());
            let mut list: Vec<GroupRef> = all
                .into_iter()
                .filter_map(|place| match places[place as usize] {
                    Place::Group(id) if public.contains(&id) => Some(GroupRef {
                        id,
                        name: names.get(&id).cloned().map_or(Known::Unknown, Known::Value),
                        direct: direct.contains(&place),
                    }),
                    Place::Group(_) | Place::Role(_) | Place::Internal(_) => None,
                })
                .collect();
            list.sort_unstable();
            list
        });
        (lists, left_out)
    }
}

fn quoted(ids: &[RecordId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    ids.join(",")
}

/// Everything that is reached from `start` along `next`, itself included. Each is entered once, so cycles end.
fn reached<'a, T: Copy + Eq + Hash + 'a>(
    start: impl IntoIterator<Item = T>,
    next: impl Fn(T) -> &'a [T],
) -> HashSet<T> {
    let mut found = HashSet::new();
    let mut todo: Vec<T> = start.into_iter().collect();
    while let Some(one) = todo.pop() {
        if found.insert(one) {
            todo.extend_from_slice(next(one));
        }
    }
    found
}
