//! In which groups somebody is to be: from the source's groups, permission sets, role and profile, or from their
//! assignment, by name or by another name that the policy gives.
//!
//! Three-valued: what is unknown takes nobody out of a group. A group is told by its name at the target; where that name
//! is the source's own, the source's id comes along, so that a group renamed there is the same one here.

use std::collections::BTreeMap;

use usher_contract::{Known, NamedRef, RecordId, User};

/// Where group names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupSource {
    /// Public groups of the source, nested ones included.
    Groups,
    /// Permission sets.
    PermissionSets,
    /// The assignment that holds: its name.
    Assignments,
    /// The role.
    Role,
    /// The profile.
    Profile,
}

impl GroupSource {
    /// The words of the policy file.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("groups", Self::Groups),
        ("permissionSets", Self::PermissionSets),
        ("assignments", Self::Assignments),
        ("role", Self::Role),
        ("profile", Self::Profile),
    ];

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, source)| *source == self)
            .map_or("", |(word, _)| word)
    }
}

/// What a target can do about groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one switch per verb")]
pub struct GroupAbilities {
    /// Make groups.
    pub create: bool,
    /// Give a group another name.
    pub rename: bool,
    /// Take somebody out of a group.
    pub remove: bool,
    /// Show who is in a group.
    pub read: bool,
    /// Members that one operation may add and remove, together.
    pub at_once: usize,
}

/// The rules of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRules {
    /// Whose names.
    pub from: Vec<GroupSource>,
    /// Name in lower case, or id, at the source -> name at the target; `None`: no group there.
    pub map: BTreeMap<String, Option<String>>,
    /// Whether a name that the map does not have is the name at the target as well.
    pub same_name: bool,
    /// Whether a group that is missing at the target is made.
    pub create: bool,
    /// Whether somebody who is not in it at the source any more leaves the group at the target, where we made the group or
    /// the map names it.
    pub remove_stale: bool,
    /// Whether somebody whose account is switched off leaves their groups.
    pub remove_leavers: bool,
    /// What the target can do.
    pub abilities: GroupAbilities,
}

/// A group at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGroup {
    /// Its name there.
    pub name: String,
    /// The group of the source whose name it has, as `<organization>/<id>`: copies of an organization share their ids.
    /// `None` where the policy gives the name.
    pub source: Option<String>,
}

/// The groups in which somebody is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedGroups {
    /// By name, each once.
    pub groups: Vec<WantedGroup>,
    /// What is unknown: then nobody is taken out of anything.
    pub unknown: Vec<&'static str>,
}

impl WantedGroups {
    /// Whether these are all.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unknown.is_empty()
    }
}

/// What is to be changed about somebody's groups, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupChanges {
    /// To be in.
    pub join: Vec<String>,
    /// To be out of.
    pub leave: Vec<String>,
}

impl GroupChanges {
    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.join.is_empty() && self.leave.is_empty()
    }

    /// One text per group.
    pub fn in_words(&self) -> impl Iterator<Item = String> {
        let join = self.join.iter().map(|name| format!("join group {name}"));
        join.chain(self.leave.iter().map(|name| format!("leave group {name}")))
    }
}

/// By what names of groups are compared: their case does not count (RFC 7643 section 4.2, `displayName`).
#[must_use]
pub fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

impl GroupRules {
    /// Whether the map names this group of the target.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let name = folded(name);
        self.map.values().flatten().any(|named| folded(named) == name)
    }

    /// The groups in which a person is to be who belongs to the target, with this assignment.
    #[must_use]
    pub fn wanted(&self, user: &User, assignment: Option<&str>) -> WantedGroups {
        let mut wanted = WantedGroups::default();
        for source in &self.from {
            let whole = match source {
                GroupSource::Groups => self.list(user, &user.groups, |group| (&group.id, &group.name), &mut wanted),
                GroupSource::PermissionSets => {
                    self.list(user, &user.permission_sets, |set| (&set.id, &set.name), &mut wanted)
                }
                GroupSource::Role => self.one(user, &user.role, &mut wanted),
                GroupSource::Profile => self.one(user, &user.profile, &mut wanted),
                GroupSource::Assignments => {
                    let name = assignment.filter(|name| !name.is_empty());
                    name.is_none_or(|name| self.take(None, Some(name), &mut wanted))
                }
            };
            if !whole {
                wanted.unknown.push(source.word());
            }
        }
        // Of two of one name the one that the policy names counts: it is not renamed.
        wanted
            .groups
            .sort_by_key(|group| (folded(&group.name), group.source.is_some()));
        wanted.groups.dedup_by_key(|group| folded(&group.name));
        wanted
    }

    fn list<T>(
        &self,
        user: &User,
        listed: &Known<Vec<T>>,
        read: impl Fn(&T) -> (&RecordId, &Known<String>),
        wanted: &mut WantedGroups,
    ) -> bool {
        match listed {
            Known::Unknown => false,
            Known::Empty => true,
            Known::Value(entries) => {
                let mut whole = true;
                for (id, name) in entries.iter().map(read) {
                    whole &= self.take(Some((user, id)), name.value().map(String::as_str), wanted);
                }
                whole
            }
        }
    }

    fn one(&self, user: &User, named: &Known<NamedRef>, wanted: &mut WantedGroups) -> bool {
        match named {
            Known::Unknown => false,
            Known::Empty => true,
            Known::Value(named) => self.take(Some((user, &named.id)), named.name.value().map(String::as_str), wanted),
        }
    }

    /// Takes one; false when its name is not known and would be needed.
    fn take(&self, id: Option<(&User, &RecordId)>, name: Option<&str>, wanted: &mut WantedGroups) -> bool {
        let by_id = id.and_then(|(_, id)| self.map.get(&folded(id.as_str())));
        let mapped = by_id.or_else(|| self.map.get(&folded(name?)));
        let group = match (mapped, name) {
            (Some(mapped), _) => mapped.clone().map(|name| WantedGroup { name, source: None }),
            (None, _) if !self.same_name && name.is_some() => None,
            (None, None) => return false,
            (None, Some(name)) if name.trim().is_empty() => None,
            (None, Some(name)) => Some(WantedGroup {
                name: name.trim().to_owned(),
                source: id.map(|(user, id)| format!("{}/{id}", user.org_id)),
            }),
        };
        wanted.groups.extend(group);
        true
    }
}

#[cfg(test)]
mod tests {
    use usher_contract::GroupRef;

    use super::*;
    use crate::logic::testing::{group_rules, person};

    fn record(text: &str) -> RecordId {
        RecordId::try_new(text).unwrap()
    }

    fn group(id: &str, name: Known<String>) -> GroupRef {
        GroupRef {
            id: record(id),
            name,
            direct: true,
        }
    }

    const EMEA: &str = "00G000000000001";
    const APAC: &str = "00G000000000002";

    fn names(wanted: &WantedGroups) -> Vec<(&str, bool)> {
        let named = |group: &'_ WantedGroup| group.source.is_some();
        wanted
            .groups
            .iter()
            .map(|group| (group.name.as_str(), named(group)))
            .collect()
    }

    #[test]
    fn names_come_from_the_source_or_from_the_map() {
        let mut user = person(1).user;
        let groups = vec![
            group(EMEA, Known::Value("EMEA".into())),
            group(APAC, Known::Value(" apac ".into())),
        ];
        user.groups = Known::Value(groups);
        let mut rules = group_rules();
        assert_eq!(names(&rules.wanted(&user, None)), [("apac", true), ("EMEA", true)]);
        rules.map.insert("emea".into(), Some("sf-emea".into()));
        assert_eq!(names(&rules.wanted(&user, None)), [("apac", true), ("sf-emea", false)]);
        rules.same_name = false;
        assert_eq!(names(&rules.wanted(&user, None)), [("sf-emea", false)]);
        rules.map.insert(folded(record(APAC).as_str()), Some("SF-EMEA".into()));
        assert_eq!(
            rules.wanted(&user, None).groups.len(),
            1,
            "two of the source in one of the target"
        );
        rules.map.insert("emea".into(), None);
        assert_eq!(
            names(&rules.wanted(&user, None)),
            [("SF-EMEA", false)],
            "null is no group"
        );
        assert!(rules.names("sf-Emea") && !rules.names("apac"));
    }

    #[test]
    fn what_is_unknown_is_said_and_what_is_known_counts() {
        let mut user = person(1).user;
        let mut rules = group_rules();
        rules.from = vec![GroupSource::Groups, GroupSource::PermissionSets, GroupSource::Role];
        user.groups = Known::Value(vec![
            group(EMEA, Known::Unknown),
            group(APAC, Known::Value("APAC".into())),
        ]);
        user.permission_sets = Known::Unknown;
        user.role = Known::Empty;
        let wanted = rules.wanted(&user, None);
        assert_eq!(names(&wanted), [("APAC", true)]);
        assert_eq!(
            (wanted.unknown.as_slice(), wanted.is_complete()),
            (&["groups", "permissionSets"][..], false)
        );
        rules.map.insert(folded(record(EMEA).as_str()), Some("sf-emea".into()));
        user.permission_sets = Known::Empty;
        user.role = Known::Value(NamedRef {
            id: record("00E000000000001"),
            name: Known::Value("AE".into()),
        });
        let wanted = rules.wanted(&user, None);
        assert_eq!(names(&wanted), [("AE", true), ("APAC", true), ("sf-emea", false)]);
        assert!(wanted.is_complete(), "the map knows the group by its id");
    }

    #[test]
    fn an_assignment_is_a_group_of_its_name() {
        let mut rules = group_rules();
        rules.from = vec![GroupSource::Assignments];
        let user = person(1).user;
        for (assignment, expected) in [
            (None, &[][..]),
            (Some(""), &[]),
            (Some("sellers"), &[("sellers", false)]),
        ] {
            let wanted = rules.wanted(&user, assignment);
            assert_eq!(
                (names(&wanted).as_slice(), wanted.is_complete()),
                (expected, true),
                "{assignment:?}"
            );
        }
    }
}
