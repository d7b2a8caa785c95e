//! Comparing the published state with the next one: which fields differ, and what that is called.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
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

/// What differs between the last published state and the next; `None` when that is nothing worth a message.
/// `baseline`: the first listing of everyone, in which nobody is new.
#[must_use]
pub fn diff(published: Option<&User>, next: &User, baseline: bool) -> Option<Difference> {
    let after = flat(next);
    let Some(published) = published else {
        let kind = if baseline {
            ChangeKind::Discovered
        } else {
            ChangeKind::Created
        };
        // Somebody who is seen for the first time when gone already is not worth a message.
        return (!next.removed).then(|| Difference {
            kind,
            changed: after.keys().cloned().collect(),
            before: BTreeMap::new(),
        });
    };
    let mut before = flat(published);
    let mut changed: Vec<String> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    // What was known and is unknown now has changed too (a field that left the allow-list).
    changed.extend(before.keys().filter(|name| !after.contains_key(*name)).cloned());
    changed.sort_unstable();
    if changed.iter().all(|name| NOT_A_CHANGE.contains(&name.as_str())) {
        return None;
    }
    before.retain(|name, _| changed.contains(name));
    Some(Difference {
        kind: kind(published, next),
        changed,
        before,
    })
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

/// The user as a flat map: custom fields as `custom.<name>`, identity left out.
fn flat(user: &User) -> BTreeMap<String, Value> {
    let Ok(Value::Object(map)) = serde_json::to_value(user) else {
        return BTreeMap::new();
    };
    let mut flat: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in map {
        match (name.as_str(), value) {
            ("id" | "orgId" | "source", _) => {}
            ("custom", Value::Object(custom)) => flat.extend(custom_fields(custom)),
            (_, value) => {
                flat.insert(name, value);
            }
        }
    }
    flat
}

fn custom_fields(custom: Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    custom
        .into_iter()
        .map(|(name, value)| (format!("custom.{name}"), value))
}

#[cfg(test)]
mod tests {
    use usher_contract::UserKey;

    use super::*;

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
}
