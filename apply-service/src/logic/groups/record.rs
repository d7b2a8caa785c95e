//! What is remembered of groups, on the topic of links: a record per group, and a record per person of the groups that
//! their account was put into. Readers of older versions pass both over: their keys name no person.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{StateHash, TargetName, UserKey};

use super::rules::folded;
use crate::logic::account::RemoteId;

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// Our key of a group, which it keeps when it gets another name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupKey(pub String);

impl GroupKey {
    /// A key for a group that is first heard of under this name. A name that another group has given up is free again, and
    /// its key is not.
    #[must_use]
    pub fn of(name: &str, is_taken: impl Fn(&Self) -> bool) -> Self {
        let stem = StateHash::of_text(&folded(name)).to_string();
        let numbered = |number: u32| match number {
            0 => Self(stem[..16].to_owned()),
            number => Self(format!("{}-{number}", &stem[..16])),
        };
        // **Invariant**: there are fewer groups than numbers.
        (0..u32::MAX)
            .map(numbered)
            .find(|key| !is_taken(key))
            .unwrap_or(Self(stem.clone()))
    }
}

/// Members that left, for the guard's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub count: u64,
}

/// Why nothing can be done about a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRefusal {
    /// Stable.
    pub code: String,
    /// In words.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// One group at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRecord {
    /// Format version of the record.
    pub format: u32,
    /// Its name at the target.
    pub name: String,
    /// The target's id; absent while it was not found or made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RemoteId>,
    /// We have made it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// It is about to be made: committed before the request, so that after a lost answer the group that is found is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub creating: bool,
    /// Its members are being changed and were not read back since: committed before the first request, so that a
    /// successor looks at what the predecessor may have done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// When its members were last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// The groups of the source that have its name, as `<organization>/<id>`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<String>,
    /// Who left, within the windows of the guard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removal>,
    /// Why nothing can be done about it at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<GroupRefusal>,
}

/// How somebody's membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A member: we have added them, or they were found there.
    #[default]
    In,
    /// May not be one any more: they are added again.
    Doubted,
    /// Not a member: the target refuses them.
    Refused,
    /// Still a member: the target refuses to let them go.
    Stuck,
}

/// One membership.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// How it stands.
    #[serde(default)]
    pub is: Standing,
    /// The held set that keeps them from leaving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// How often they were added and not there afterwards.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// The groups of one person's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memberships {
    /// Format version of the record.
    pub format: u32,
    /// The account: another one is in none of these groups.
    pub account: RemoteId,
    /// By group.
    #[serde(default)]
    pub groups: BTreeMap<GroupKey, Membership>,
}

const GROUP: &str = "group";
const OF: &str = "groups-of";

/// The record key `<target>/group/<key>`.
#[must_use]
pub fn group_record_key(target: &TargetName, group: &GroupKey) -> String {
    format!("{target}/{GROUP}/{}", group.0)
}

/// The record key `<target>/groups-of/<userKey>`.
#[must_use]
pub fn memberships_record_key(target: &TargetName, user: &UserKey) -> String {
    format!("{target}/{OF}/{user}")
}

/// What a record of the topic of links speaks of, when it is one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A group.
    Group(GroupKey),
    /// The groups of a person.
    Person(UserKey),
}

/// What the record of this key is about, when it is of this target and about groups.
#[must_use]
pub fn about(target: &TargetName, key: &str) -> Option<About> {
    let (found, rest) = key.split_once('/')?;
    if found != target.as_str() {
        return None;
    }
    match rest.split_once('/')? {
        (GROUP, key) => Some(About::Group(GroupKey(key.to_owned()))),
        (OF, user) => user.parse().ok().map(About::Person),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::{
        link::user_of_key,
        testing::{at, user_key},
    };

    #[test]
    fn keys_lead_back_and_say_nothing_to_readers_of_links() {
        let gong = TargetName::try_new("gong").unwrap();
        let group = GroupKey::of("Sales EMEA", |_| false);
        assert_eq!(group, GroupKey::of(" sales emea", |_| false), "the same name");
        let keys = [
            (group_record_key(&gong, &group), About::Group(group.clone())),
            (memberships_record_key(&gong, &user_key(1)), About::Person(user_key(1))),
        ];
        for (key, expected) in keys {
            assert_eq!(about(&gong, &key), Some(expected), "{key}");
            assert_eq!(about(&TargetName::try_new("gon").unwrap(), &key), None, "{key}");
            assert_eq!(user_of_key(&gong, &key), None, "{key}");
        }
        assert_eq!(about(&gong, &crate::logic::link::record_key(&gong, &user_key(1))), None);
        assert_eq!(about(&gong, "gong/mark"), None);
        let second = GroupKey::of("Sales EMEA", |key| *key == group);
        assert_ne!(second, group, "the name was given up by another one");
    }

    #[test]
    fn records_are_read_back_as_written_and_from_the_least_that_they_may_say() {
        let record = GroupRecord {
            format: FORMAT,
            name: "Sales".into(),
            id: Some(RemoteId("g1".into())),
            made: true,
            creating: false,
            unread: true,
            read_at: Some(at(5)),
            sources: ["00D/00G".to_owned()].into(),
            removed: vec![Removal { at: at(2), count: 3 }],
            refused: Some(GroupRefusal {
                code: "x".into(),
                reason: "y".into(),
                at: at(3),
            }),
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<GroupRecord>(&text).unwrap(), record);
        let least: GroupRecord = serde_json::from_str(r#"{"format":1,"name":"Sales"}"#).unwrap();
        assert_eq!((least.made, least.id, least.unread), (false, None, false));
        let groups = [
            (GroupKey("a".into()), Membership::default()),
            (
                GroupKey("b".into()),
                Membership {
                    is: Standing::Refused,
                    held: Some("s".into()),
                    tries: 2,
                },
            ),
        ];
        let person = Memberships {
            format: FORMAT,
            account: RemoteId("r1".into()),
            groups: groups.into(),
        };
        let text = serde_json::to_string(&person).unwrap();
        assert!(text.contains(r#""a":{"is":"in"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Memberships>(&text).unwrap(), person);
    }
}
