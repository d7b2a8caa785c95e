//! Comparing the published state with the next one: which fields differ, and what that is called.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use usher_contract::{ChangeKind, Known, User};

/// A difference worth a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What happened; the heaviest kind that holds.
    pub kind: ChangeKind,
    /// Names of the fields that differ, sorted.
    pub changed: Vec<String>,
    /// Previous values of `changed`; a name is absent when it was unknown.
    pub before: BTreeMap<String, Value>,
}

/// Times of the record itself: they move with changes of fields that are not published, so alone they are no change.
const NOT_A_CHANGE: &[&str] = &["modifiedAt"];

/// In front of the names of custom fields.
const CUSTOM: &str = "custom.";
const REMOVED: &str = "removed";

/// What differs between the last published state and the next; `None` when that is nothing worth a message.
/// `baseline`: the first listing of everyone, in which nobody is new. Equal states are compared and nothing else.
#[must_use]
pub fn diff(published: Option<&User>, next: &User, baseline: bool) -> Option<Difference> {
    let Some(published) = published else {
        // Somebody who is seen for the first time when gone already is not worth a message.
        return (!next.removed).then(|| first(next, baseline));
    };
    let mut changed: Vec<String> = Vec::new();
    // What was known and is unknown now has changed too (a field that left the allow-list).
    published.differences(next, |name| changed.push(name.to_owned()));
    if published.removed != next.removed {
        changed.push(REMOVED.to_owned());
    }
    if published.custom != next.custom {
        let names: BTreeSet<&String> = published.custom.keys().chain(next.custom.keys()).collect();
        let differing = names
            .into_iter()
            .filter(|name| published.custom.get(*name) != next.custom.get(*name));
        changed.extend(differing.map(|name| custom(name)));
    }
    if changed.iter().all(|name| NOT_A_CHANGE.contains(&name.as_str())) {
        return None;
    }
    changed.sort_unstable();
    let previous = |name: &String| Some((name.clone(), value(published, name)?));
    Some(Difference {
        kind: kind(published, next),
        before: changed.iter().filter_map(previous).collect(),
        changed,
    })
}

/// The first message about somebody: everything that is known is new.
fn first(next: &User, baseline: bool) -> Difference {
    let mut changed = vec![REMOVED.to_owned()];
    next.known_fields(|name| changed.push(name.to_owned()));
    changed.extend(next.custom.keys().map(|name| custom(name)));
    changed.sort_unstable();
    Difference {
        kind: if baseline {
            ChangeKind::Discovered
        } else {
            ChangeKind::Created
        },
        changed,
        before: BTreeMap::new(),
    }
}

/// The name of a custom field among the names of fields.
fn custom(name: &str) -> String {
    format!("{CUSTOM}{name}")
}

/// The value under a name of `changed`.
fn value(user: &User, name: &str) -> Option<Value> {
    match name.strip_prefix(CUSTOM) {
        Some(custom) => user.custom.get(custom).cloned(),
        None if name == REMOVED => Some(Value::Bool(user.removed)),
        None => user.wire_value(name),
    }
}

/// The heaviest kind that holds.
fn kind(published: &User, next: &User) -> ChangeKind {
    let turned = |before: &Known<bool>, after: &Known<bool>, to: bool| {
        *after == Known::Value(to) && *before == Known::Value(!to)
    };
    let holds = [
        (ChangeKind::Deactivated, turned(&published.active, &next.active, false)),
        (ChangeKind::Reactivated, turned(&published.active, &next.active, true)),
        (ChangeKind::Frozen, turned(&published.frozen, &next.frozen, true)),
        (ChangeKind::Unfrozen, turned(&published.frozen, &next.frozen, false)),
        (ChangeKind::Unlisted, turned(&published.listed, &next.listed, false)),
        (ChangeKind::Listed, turned(&published.listed, &next.listed, true)),
        (ChangeKind::Removed, !published.removed && next.removed),
        (ChangeKind::Restored, published.removed && !next.removed),
    ];
    holds
        .into_iter()
        .filter(|(_, holds)| *holds)
        .map(|(kind, _)| kind)
        .max()
        .unwrap_or(ChangeKind::Updated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usher_contract::UserKey;

    use super::*;
    use usher_packed::arbitrary;

    fn user() -> User {
        let key: UserKey = "00D000000000001EAA:005ZL000000M0x1".parse().unwrap();
        User {
            active: true.into(),
            email: "a@b".to_owned().into(),
            modified_at: Known::Value("2026-01-01T00:00:00Z".parse().unwrap()),
            ..User::unknown(key)
        }
    }

    fn kind_of(published: &User, next: &User) -> Option<ChangeKind> {
        diff(Some(published), next, false).map(|difference| difference.kind)
    }

    #[test]
    fn somebody_new_is_discovered_by_the_baseline_and_created_later() {
        assert_eq!(diff(None, &user(), true).unwrap().kind, ChangeKind::Discovered);
        assert_eq!(diff(None, &user(), false).unwrap().kind, ChangeKind::Created);
        assert_eq!(
            diff(
                None,
                &User {
                    removed: true,
                    ..user()
                },
                false
            ),
            None
        );
    }

    #[test]
    fn equal_states_and_a_touched_modification_time_are_no_change() {
        assert_eq!(diff(Some(&user()), &user(), false), None);
        let touched = User {
            modified_at: Known::Value("2026-02-01T00:00:00Z".parse().unwrap()),
            ..user()
        };
        assert_eq!(diff(Some(&user()), &touched, false), None);
    }

    #[test]
    fn the_heaviest_kind_wins() {
        let inactive = User {
            active: false.into(),
            email: "c@d".to_owned().into(),
            ..user()
        };
        assert_eq!(kind_of(&user(), &inactive), Some(ChangeKind::Deactivated));
        assert_eq!(kind_of(&inactive, &user()), Some(ChangeKind::Reactivated));
        let gone = User {
            removed: true,
            ..inactive.clone()
        };
        assert_eq!(kind_of(&user(), &gone), Some(ChangeKind::Removed));
        assert_eq!(kind_of(&gone, &user()), Some(ChangeKind::Restored));
        let unlisted = User {
            listed: false.into(),
            active: false.into(),
            ..user()
        };
        assert_eq!(
            kind_of(
                &User {
                    listed: true.into(),
                    ..user()
                },
                &unlisted
            ),
            Some(ChangeKind::Unlisted)
        );
    }

    #[test]
    fn becoming_known_is_an_update_and_not_a_deactivation() {
        let unknown = User {
            active: Known::Unknown,
            ..user()
        };
        assert_eq!(
            kind_of(
                &unknown,
                &User {
                    active: false.into(),
                    ..user()
                }
            ),
            Some(ChangeKind::Updated)
        );
    }

    #[test]
    fn changed_names_are_sorted_and_previous_values_kept() {
        let mut next = User {
            email: "c@d".to_owned().into(),
            title: Known::Empty,
            ..user()
        };
        next.custom.insert("Badge__c".into(), "B-7".into());
        let difference = diff(Some(&user()), &next, false).unwrap();
        assert_eq!(difference.changed, ["custom.Badge__c", "email", "title"]);
        assert_eq!(
            difference.before,
            BTreeMap::from([("email".to_owned(), Value::from("a@b"))])
        );
    }

    /// The user as a flat map: the same thing said by way of JSON.
    fn flat(user: &User) -> BTreeMap<String, Value> {
        let mut map = serde_json::to_value(user).unwrap().as_object().unwrap().clone();
        let custom = map.remove("custom").unwrap_or_default();
        let custom = custom.as_object().cloned().unwrap_or_default();
        let custom = custom
            .into_iter()
            .map(|(name, value)| (format!("custom.{name}"), value));
        let identity = ["id", "orgId", "source"];
        map.into_iter()
            .filter(|(name, _)| !identity.contains(&name.as_str()))
            .chain(custom)
            .collect()
    }

    proptest! {
        #[test]
        fn what_changed_is_what_differs_on_the_wire((published, next) in arbitrary::two_states()) {
            let (before, after) = (flat(&published), flat(&next));
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let changed: Vec<String> =
                names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
            let difference = diff(Some(&published), &next, false);
            if changed.iter().all(|name| name == "modifiedAt") {
                prop_assert_eq!(difference, None);
            } else {
                let difference = difference.unwrap();
                let previous: BTreeMap<_, _> =
                    before.into_iter().filter(|(name, _)| changed.contains(name)).collect();
                prop_assert_eq!(difference.before, previous);
                prop_assert_eq!(difference.changed, changed);
            }
        }

        #[test]
        fn everything_known_is_new_in_the_first_message(next in arbitrary::user()) {
            let difference = diff(None, &next, false);
            prop_assert_eq!(difference.is_none(), next.removed);
            if let Some(difference) = difference {
                prop_assert_eq!(difference.changed, flat(&next).into_keys().collect::<Vec<_>>());
            }
        }
    }
}
