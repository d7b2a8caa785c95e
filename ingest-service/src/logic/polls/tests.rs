//! Tests of polls: nesting, roles, combinations.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use usher_contract::GroupRef;

use super::*;

fn person(number: u32) -> UserId {
    UserId::try_new(&format!("005{number:012}")).unwrap()
}
fn group(number: u32) -> RecordId {
    RecordId::try_new(&format!("00G{number:012}")).unwrap()
}
fn role(number: u32) -> RecordId {
    RecordId::try_new(&format!("00E{number:012}")).unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Member {
    Person(u32),
    Group(u32),
}
use Member::{Group as G, Person as P};

fn member_row((outer, member): &(u32, Member)) -> Value {
    let member = match member {
        P(number) => person(*number).to_string(),
        G(number) => group(*number).to_string(),
    };
    json!({ "GroupId": group(*outer), "UserOrGroupId": member })
}

/// Reads the members of public groups 0..groups, two rows per page.
fn read(groups: u32, members: &[(u32, Member)]) -> GroupPoll {
    let mut poll = GroupPoll::default();
    for page in members.iter().map(member_row).collect::<Vec<_>>().chunks(2) {
        poll.members(page).unwrap();
    }
    let rows: Vec<Value> = (0..groups)
        .map(|number| json!({ "Id": group(number), "Name": format!("group {number}") }))
        .collect();
    poll.public(&rows).unwrap();
    poll
}

/// The groups of a person: number and whether directly.
fn groups_of(lists: &Lists<GroupRef>, who: u32) -> Vec<(u32, bool)> {
    let number = |found: &GroupRef| found.id.as_str()[3..15].parse().unwrap();
    lists
        .get(person(who))
        .iter()
        .map(|found| (number(found), found.direct))
        .collect()
}

#[test]
fn membership_comes_directly_through_nesting_through_a_diamond_and_through_cycles() {
    for (what, members, expected) in [
        ("nobody", vec![], vec![]),
        ("direct", vec![(1, P(7))], vec![(1, true)]),
        ("nested", vec![(1, G(2)), (2, P(7))], vec![(1, false), (2, true)]),
        (
            "nested, the other way round",
            vec![(2, P(7)), (1, G(2))],
            vec![(1, false), (2, true)],
        ),
        (
            "deep",
            vec![(0, G(1)), (1, G(2)), (2, G(3)), (3, P(7))],
            vec![(0, false), (1, false), (2, false), (3, true)],
        ),
        (
            "diamond",
            vec![(0, G(1)), (0, G(2)), (1, G(3)), (2, G(3)), (3, P(7))],
            vec![(0, false), (1, false), (2, false), (3, true)],
        ),
        (
            "both ways",
            vec![(0, G(1)), (1, P(7)), (0, P(7))],
            vec![(0, true), (1, true)],
        ),
        ("of itself", vec![(0, G(0)), (0, P(7))], vec![(0, true)]),
        ("of itself without people", vec![(0, G(0)), (1, P(7))], vec![(1, true)]),
        (
            "cycle of two",
            vec![(0, G(1)), (1, G(0)), (1, P(7))],
            vec![(0, false), (1, true)],
        ),
        (
            "cycle of three",
            vec![(0, G(1)), (1, G(2)), (2, G(0)), (2, P(7))],
            vec![(0, false), (1, false), (2, true)],
        ),
        (
            "outer members are not in inner groups",
            vec![(0, G(1)), (0, P(7))],
            vec![(0, true)],
        ),
        ("said twice", vec![(1, P(7)), (1, P(7))], vec![(1, true)]),
    ] {
        let (lists, left_out) = read(4, &members).finish();
        assert_eq!(groups_of(&lists, 7), expected, "{what}");
        assert_eq!(groups_of(&lists, 8), [], "{what}: somebody else");
        assert!(left_out.is_empty(), "{what}");
    }
}

#[test]
fn a_group_has_its_name_and_one_that_is_gone_meanwhile_has_none() {
    let (lists, _) = read(2, &[(1, P(7)), (5, P(7))]).finish();
    let names: Vec<Known<String>> = lists.get(person(7)).iter().map(|found| found.name.clone()).collect();
    assert_eq!(names, [Known::Value("group 1".into()), Known::Unknown]);
}

/// Roles 0 ▸ 1 ▸ 2 and 0 ▸ 3; everybody holds the role of the own number, 13 holds role 3 as a portal user.
fn read_roles(kind: &str, of: u32) -> Lists<GroupRef> {
    let mut poll = read(2, &[(0, G(90)), (1, G(0))]);
    assert_eq!(poll.unknown(), [group(90)]);
    poll.others(&[json!({ "Id": group(90), "Type": kind, "RelatedId": role(of) })])
        .unwrap();
    assert!(poll.needs_roles());
    let parents = [(0, None), (1, Some(0)), (2, Some(1)), (3, Some(0))];
    let rows = parents.map(|(id, parent)| json!({ "Id": role(id), "Name": "r", "ParentRoleId": parent.map(role) }));
    poll.roles(&rows).unwrap();
    let covered: BTreeSet<RecordId> = poll.covered().into_iter().collect();
    let holders: Vec<Value> = [
        (0, 0, "Standard"),
        (1, 1, "Standard"),
        (2, 2, "Standard"),
        (3, 3, "Standard"),
        (13, 3, "PowerPartner"),
    ]
    .into_iter()
    .filter(|(_, held, _)| covered.contains(&role(*held)))
    .map(|(who, held, kind)| json!({ "Id": person(who), "UserRoleId": role(held), "UserType": kind }))
    .collect();
    poll.holders(&holders).unwrap();
    poll.finish().0
}

#[test]
fn a_role_in_a_group_brings_its_holders_and_with_subordinates_those_below() {
    for (kind, of, in_it) in [
        ("Role", 1, vec![1]),
        ("Role", 3, vec![3, 13]),
        ("RoleAndSubordinates", 1, vec![1, 2]),
        ("RoleAndSubordinates", 0, vec![0, 1, 2, 3, 13]),
        ("RoleAndSubordinatesInternal", 0, vec![0, 1, 2, 3]),
    ] {
        let lists = read_roles(kind, of);
        for who in [0, 1, 2, 3, 13] {
            let expected = if in_it.contains(&who) {
                vec![(0, false), (1, false)]
            } else {
                vec![]
            };
            assert_eq!(groups_of(&lists, who), expected, "{kind} of {of}, person {who}");
        }
    }
}

#[test]
fn roles_in_a_circle_end() {
    let mut poll = read(1, &[(0, G(90))]);
    poll.others(&[json!({ "Id": group(90), "Type": "RoleAndSubordinates", "RelatedId": role(1) })])
        .unwrap();
    poll.roles(&[
        json!({ "Id": role(1), "Name": "r", "ParentRoleId": role(2) }),
        json!({ "Id": role(2), "Name": "r", "ParentRoleId": role(1) }),
    ])
    .unwrap();
    assert_eq!(poll.covered(), [role(1), role(2)]);
}

#[test]
fn kinds_that_are_not_followed_are_counted_and_lead_nowhere() {
    let mut poll = read(2, &[(0, G(91)), (0, G(92)), (1, P(7))]);
    poll.others(&[
        json!({ "Id": group(91), "Type": "Organization", "RelatedId": null }),
        json!({ "Id": group(92), "Type": "Role", "RelatedId": null }),
    ])
    .unwrap();
    assert!(!poll.needs_roles());
    let (lists, left_out) = poll.finish();
    assert_eq!(groups_of(&lists, 7), [(1, true)]);
    assert_eq!(
        left_out,
        BTreeMap::from([("Organization".to_owned(), 1), ("Role".to_owned(), 1)])
    );
}

#[test]
fn a_row_of_another_form_fails_the_poll_instead_of_losing_a_member() {
    let mut poll = GroupPoll::default();
    assert!(
        poll.members(&[json!({ "GroupId": group(1) })])
            .unwrap_err()
            .contains("UserOrGroupId")
    );
    assert!(logins(&[json!({ "UserId": "x" })]).is_err());
    assert!(names(&[json!({ "Id": role(1), "Name": null })]).is_err());
    assert!(
        PermissionSetPoll::default()
            .assignments(&[json!({ "AssigneeId": person(1) })])
            .is_err()
    );
}

#[test]
fn permission_sets_are_sorted_named_and_lapsed_ones_left_out() {
    let set = |number: u32| RecordId::try_new(&format!("0PS{number:012}")).unwrap();
    let mut poll = PermissionSetPoll::default();
    poll.assignments(&[
        json!({ "AssigneeId": person(1), "PermissionSetId": set(2), "IsActive": true }),
        json!({ "AssigneeId": person(1), "PermissionSetId": set(1) }),
        json!({ "AssigneeId": person(2), "PermissionSetId": set(1), "IsActive": false }),
        json!({ "AssigneeId": person(3), "PermissionSetId": set(9) }),
    ])
    .unwrap();
    poll.sets(&[
        json!({ "Id": set(1), "Label": "One" }),
        json!({ "Id": set(2), "Label": "Two" }),
    ])
    .unwrap();
    let lists = poll.finish();
    let found = |who| -> Vec<(RecordId, Option<String>)> {
        lists
            .get(person(who))
            .iter()
            .map(|one| (one.id, one.name.value().cloned()))
            .collect()
    };
    assert_eq!(found(1), [(set(1), Some("One".into())), (set(2), Some("Two".into()))]);
    assert_eq!(found(2), []);
    assert_eq!(
        found(3),
        [(set(9), None)],
        "a set that cannot be seen is there all the same"
    );
}

#[test]
fn marks_tell_lists_apart_and_unknown_from_nothing() {
    let (lists, _) = read(2, &[(0, P(1)), (1, P(2)), (0, P(3))]).finish();
    let mark_of = |who| mark(&Known::Value(lists.get(person(who)).to_vec()));
    for who in [1, 2, 3, 4] {
        assert_eq!(lists.mark(person(who)), mark_of(who), "published and polled agree");
    }
    assert_eq!(mark_of(1), mark_of(3));
    assert_ne!(mark_of(1), mark_of(2));
    assert_eq!(mark_of(4), empty_mark::<GroupRef>());
    assert_ne!(mark_of(4), mark::<GroupRef>(&Known::Unknown));
}

/// Repeats "whoever is in a group is in the groups that contain it" until nothing is added.
fn by_repetition(members: &[(u32, Member)], who: u32) -> Vec<(u32, bool)> {
    let direct: BTreeSet<u32> = members
        .iter()
        .filter(|(_, member)| matches!(member, P(number) if *number == who))
        .map(|(outer, _)| *outer)
        .collect();
    let mut all = direct.clone();
    loop {
        let before = all.len();
        for (outer, member) in members {
            if matches!(member, G(inner) if all.contains(inner)) {
                all.insert(*outer);
            }
        }
        if all.len() == before {
            return all
                .into_iter()
                .map(|number| (number, direct.contains(&number)))
                .collect();
        }
    }
}

proptest! {
    #[test]
    fn any_nesting_comes_to_what_repetition_finds_in_any_order_of_rows(
        (members, shuffled) in prop::collection::vec(
            (0_u32..6, prop_oneof![(0_u32..4).prop_map(P), (0_u32..6).prop_map(G)]), 0..25,
        ).prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle()))
    ) {
        let (lists, _) = read(6, &members).finish();
        for who in 0..4 {
            prop_assert_eq!(groups_of(&lists, who), by_repetition(&members, who));
        }
        prop_assert_eq!(read(6, &shuffled).finish().0, lists, "marks and lists do not depend on the order");
    }
}
