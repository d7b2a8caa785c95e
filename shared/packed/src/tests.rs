//! What is packed is what was put, and whatever differs is told.

use proptest::{prelude::*, strategy::ValueTree as _};
use usher_contract::{FieldSet, User};

use super::*;
use crate::arbitrary::{two_states, user};

/// What really differs.
fn truth(one: &User, other: &User) -> Differences {
    let mut names = Vec::new();
    one.differences(other, |name| names.push(name));
    Differences {
        fields: FieldSet::of(names),
        custom: one.custom != other.custom,
        removed: one.removed != other.removed,
    }
}

proptest! {
    #[test]
    fn whoever_is_unpacked_is_who_was_packed(user in user(), tail in any::<Vec<u8>>()) {
        let mut pool = Pool::default();
        let mut loose = Loose::of(&View::of(&user));
        loose.tail().extend_from_slice(&tail);
        let packed = loose.settle(None, &mut pool, &mut Vec::new());
        let (unpacked, rest) = unpack(user.id, &packed, &pool);
        prop_assert_eq!((&unpacked, rest.0), (&user, &tail[..]));
        give_back(&packed, &mut pool);
        prop_assert_eq!(pool.len(), 0);
    }

    #[test]
    fn a_state_in_the_place_of_another_is_itself_and_gives_everything_back((before, after) in two_states()) {
        let (mut pool, mut scratch) = (Pool::default(), Vec::new());
        let old = Loose::of(&View::of(&before)).settle(None, &mut pool, &mut scratch);
        let new = Loose::of(&View::of(&after)).settle(Some(&old), &mut pool, &mut scratch);
        give_back(&old, &mut pool);
        prop_assert_eq!(&unpack(after.id, &new, &pool).0, &after);
        give_back(&new, &mut pool);
        prop_assert!(pool.is_empty());
    }

    #[test]
    fn no_difference_is_missed((before, after) in two_states()) {
        let mut pool = Pool::default();
        let mut loose = Loose::of(&View::of(&before));
        // What was appended to either counts for nothing.
        loose.tail().extend_from_slice(b"appended");
        let packed = loose.settle(None, &mut pool, &mut Vec::new());
        let (told, truth) = (Loose::of(&View::of(&after)).differences(&packed, &pool), truth(&before, &after));
        prop_assert_eq!(told.and(truth), told, "told {:?}, truth {:?}", told, truth);
        // And not much more than that is told: addresses and names that hang together.
        if truth == Differences::NONE {
            prop_assert_eq!(told, Differences::NONE);
        }
        let hanging = FieldSet::of(["email", "federationId", "displayName"]);
        prop_assert_eq!(told.fields.union(hanging), truth.fields.union(hanging));
    }
}

#[test]
fn a_group_says_whether_it_is_direct_as_the_contract_has_it() {
    let person = |group: &str| {
        format!(r#"{{"id":"005000000000001","orgId":"00D000000000001","groups":[{{"id":"00G000000000001"{group}}}]}}"#)
    };
    for (group, direct) in [
        (r#","direct":true"#, Some(true)),
        (r#","direct":false,"name":"EMEA","added":1"#, Some(false)),
        (r#","name":"EMEA""#, None),
        (r#","direct":null"#, None),
    ] {
        let text = person(group);
        let contract = serde_json::from_str::<User>(&text).ok();
        let view = serde_json::from_str::<View<'_>>(&text).ok();
        let found = view.map(|view| view.groups().value().map(|groups| groups[0].direct));
        assert_eq!(found, direct.map(Some), "{group}");
        assert_eq!(contract.is_some(), direct.is_some(), "{group}");
    }
}

#[test]
fn each_field_alone_is_told_by_its_name() {
    // One drawn person and another one: every field of one of them in turn.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..12 {
        let (one, other) = (user(), user());
        let one = one.new_tree(&mut runner).unwrap().current();
        let other = other.new_tree(&mut runner).unwrap().current();
        let mut pool = Pool::default();
        let packed = Loose::of(&View::of(&one)).settle(None, &mut pool, &mut Vec::new());
        for name in User::FIELDS {
            let mut only = other.clone();
            only.keep_only(FieldSet::of([*name]));
            let (mut next, known) = (one.clone(), only.wire_value(name));
            let Some(_) = known else { continue };
            (only.id, only.org_id, only.removed, only.source) = (one.id, one.org_id, one.removed, one.source);
            only.custom.clear();
            next = only.over(&next);
            let told = Loose::of(&View::of(&next)).differences(&packed, &pool);
            let allowed = FieldSet::of([*name, "email", "federationId", "displayName"]);
            assert_eq!(told.fields.union(allowed), allowed, "{name}");
            assert!(told.fields.has(name) || !truth(&one, &next).fields.has(name), "{name}");
            assert!(!told.custom && !told.removed);
        }
    }
}

#[test]
fn what_is_kept_as_a_part_of_another_field_differs_with_it() {
    let text = |text: &str| usher_contract::Known::Value(text.to_owned());
    let person = |login: &str, given: &str| User {
        username: text(login),
        email: text(login),
        federation_id: text(login),
        given_name: text(given),
        display_name: text(given),
        ..User::unknown("00D000000000001EAA:005000000000001".parse().unwrap())
    };
    let mut pool = Pool::default();
    let packed = Loose::of(&View::of(&person("ada@acme.example", "Ada"))).settle(None, &mut pool, &mut Vec::new());
    for (after, expected) in [
        (
            person("bob@acme.example", "Ada"),
            FieldSet::of(["username", "email", "federationId"]),
        ),
        (
            person("ada@acme.example", "Bob"),
            FieldSet::of(["givenName", "displayName"]),
        ),
    ] {
        let told = Loose::of(&View::of(&after)).differences(&packed, &pool);
        assert_eq!(told.fields, expected);
    }
}
