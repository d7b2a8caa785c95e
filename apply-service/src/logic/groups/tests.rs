//! Groups as values: what differs, by table; who is who by name and source; whatever is restored is as it was.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    rules::{WantedGroup, WantedGroups},
    *,
};
use crate::logic::{
    account::RemoteId,
    testing::{at, group_rules, user_key},
};

fn wanted(names: &[&str]) -> WantedGroups {
    let group = |name: &&str| WantedGroup {
        name: (*name).to_owned(),
        source: Some(format!("org/{name}")),
    };
    WantedGroups {
        groups: names.iter().map(group).collect(),
        unknown: vec![],
    }
}

#[test]
fn what_differs_by_wanted_and_held() {
    use Standing::{Doubted, In, Refused, Stuck};
    let (no, other) = (GroupNo(1), GroupNo(2));
    let want = |groups: &[GroupNo], complete| {
        Some(Want {
            version: 1,
            groups: groups.to_vec(),
            complete,
        })
    };
    // wanted in the group, all known, how it stands, removable -> joins, leaves
    for (want, held, removable, joins, leaves) in [
        (want(&[no], true), None, true, true, false),
        (want(&[no], true), Some(In), true, false, false),
        (want(&[no], true), Some(Doubted), true, true, false),
        (want(&[no], true), Some(Refused), true, false, false),
        (want(&[no], true), Some(Stuck), true, false, false),
        (want(&[no], false), None, true, true, false),
        (want(&[other], true), Some(In), true, false, true),
        (want(&[], true), Some(In), true, false, true),
        (want(&[], true), Some(Doubted), true, false, true),
        (want(&[], true), Some(Refused), true, false, false),
        (want(&[], true), Some(Stuck), true, false, false),
        (want(&[], true), Some(In), false, false, false),
        (want(&[], false), Some(In), true, false, false),
        (None, Some(In), true, false, false),
        (None, None, true, false, false),
    ] {
        let entries: Vec<(GroupNo, Membership)> = held
            .into_iter()
            .map(|is| {
                (
                    no,
                    Membership {
                        is,
                        ..Membership::default()
                    },
                )
            })
            .collect();
        let (found_joins, found_leaves) = difference(want.as_ref(), &entries, |_| removable);
        let found = (found_joins.contains(&no), found_leaves.contains(&no));
        assert_eq!(found, (joins, leaves), "{want:?} {held:?} {removable}");
    }
}

fn want(groups: &mut Groups, n: u32, account: &str, names: &[&str]) {
    let account = RemoteId(account.to_owned());
    let rules = group_rules();
    groups.want(
        user_key(n),
        &account,
        (1, at(0)),
        Some(&wanted(names)),
        &rules,
        false,
        at(0),
    );
}

#[test]
fn another_account_is_in_none_of_the_groups() {
    let mut groups = Groups::default();
    want(&mut groups, 1, "r1", &["A"]);
    groups.put(user_key(1), GroupNo(0), Some(Membership::default()));
    want(&mut groups, 1, "r1", &["A"]);
    assert_eq!(groups.status().joining, 0);
    want(&mut groups, 1, "r2", &["A"]);
    assert_eq!((groups.status().joining, groups.group(GroupNo(0)).members), (1, 0));
}

#[test]
fn an_account_that_moves_takes_its_groups_along() {
    let mut groups = Groups::default();
    want(&mut groups, 1, "r1", &["A"]);
    groups.put(user_key(1), GroupNo(0), Some(Membership::default()));
    groups.hand_over(user_key(1), user_key(2));
    want(&mut groups, 2, "r1", &[]);
    let group = groups.group_mut(GroupNo(0));
    group.record.made = true;
    assert_eq!(group.members, 1);
    want(&mut groups, 2, "r1", &[]);
    assert_eq!((groups.status().joining, groups.status().leaving), (0, 1));
    assert!(groups.of(&user_key(1)).is_empty());
}

#[test]
fn what_cannot_be_read_is_left_alone() {
    let mut groups = Groups::default();
    let key = GroupKey::of("A", |_| false);
    groups.restore_group(&key, Some(blank("A".to_owned())));
    groups.restore_group(&key, None);
    groups.lock_person(user_key(2));
    groups.begin(|_| true, Duration::from_secs(60), at(0));
    want(&mut groups, 1, "r1", &["A"]);
    want(&mut groups, 2, "r2", &["B"]);
    let (rules, guard) = (group_rules(), crate::logic::guard::Guard::default());
    let around = Around {
        rules: &rules,
        guard: &guard,
        every: Duration::from_secs(60),
        busy: &|_| false,
        is_released: &|_| false,
        allowance: 0,
        now: at(0),
    };
    // "A" is known by its name no more, so that a group of that name would be another one: it is looked for, not made.
    assert_eq!(groups.by_key.len(), groups.all.len());
    assert!(groups.group(GroupNo(0)).locked);
    while let Some(next) = groups.next(&around) {
        assert!(
            matches!(next, Next::Start { group, .. } if group != GroupNo(0)),
            "{next:?}"
        );
    }
    assert!(!groups.people.contains_key(&user_key(2)));
}

proptest! {
    #[test]
    fn records_bring_everything_back(people in proptest::collection::btree_map(0_u32..6, proptest::collection::btree_map(0_u8..4, 0_u8..5, 0..4), 0..6)) {
        let mut groups = Groups::default();
        for (n, held) in &people {
            for (group, is) in held {
                let key = GroupKey(format!("k{group}"));
                groups.restore_group(&key, Some(blank(format!("Group {group}"))));
                let no = groups.number(&key);
                let is = [Standing::In, Standing::Doubted, Standing::Refused, Standing::Stuck, Standing::In][*is as usize];
                let held = (*n == 1).then(|| "set".to_owned());
                groups.put(user_key(*n), no, Some(Membership { is, held, tries: *group }));
                groups.people.entry(user_key(*n)).or_default().account = Some(RemoteId(format!("r{n}")));
            }
        }
        let mut back = Groups::default();
        let Records { groups: records, memberships } = groups.records();
        for (user, record) in memberships.iter().rev() {
            back.restore_person(*user, Some(record.clone()));
        }
        for (key, record) in records.iter().rev() {
            back.restore_group(key, Some(record.clone()));
        }
        let sorted = |groups: &Groups| {
            let Records { groups: mut records, mut memberships } = groups.records();
            records.sort_by(|left, right| left.0.cmp(&right.0));
            memberships.sort_by_key(|(user, _)| *user);
            (records, memberships)
        };
        prop_assert_eq!(sorted(&back), sorted(&groups));
        prop_assert_eq!(back.held_in("set"), groups.held_in("set"));
        prop_assert_eq!(back.status().refused_members, groups.status().refused_members);
        for n in people.keys() {
            prop_assert_eq!(back.of(&user_key(*n)), groups.of(&user_key(*n)));
        }
        prop_assert_eq!(back.unrecorded(), 0, "nothing is to be written");
    }
}
