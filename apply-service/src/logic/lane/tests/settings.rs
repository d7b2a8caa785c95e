//! Settings that change under a target with people: how accounts are found, whether they may be made, and a week without it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use usher_contract::{OutcomeResult, StateHash};

use super::super::*;
use super::{
    guarding::{forty, guarded, off, order, start, taken_over, the_set},
    world::{World, with_people},
};
use crate::connector::Operation;
use crate::logic::{
    account::AttributePath,
    command::Verb,
    policy::{MatchKey, Mode, Pace, USER_NAME},
    testing::{Change, group_rules, person, policy, user_key},
};

/// Accounts are found by these.
fn by(keys: &[MatchKey], hash: &str) -> TargetPolicy {
    let mut target = guarded();
    target.matching.by = keys.to_vec();
    target.features.create = false;
    target.hash = StateHash::of_text(hash);
    target
}

pub(super) fn named(n: u32) -> crate::logic::account::AttributeValues {
    let text = |path: &str, value: String| (AttributePath(path.to_owned()), Value::String(value));
    [text(USER_NAME, format!("u{n}@acme.example"))].into()
}

/// Everybody is fed: who is looked for at the target.
fn looked_for(world: &mut World) -> BTreeSet<String> {
    for change in world.people.values().cloned().collect::<Vec<_>>() {
        world.give(Input::User { change, again: false });
    }
    world.give(Input::AllFed);
    let mut looked_for = BTreeSet::new();
    loop {
        if let Some((id, operation)) = world.open.first().cloned() {
            if let Operation::Find { external_id, .. } = &operation {
                looked_for.insert(external_id.clone());
            }
            let answer = world.answer(&operation);
            world.end(id, Ok(answer));
        } else if !world.commit() {
            return looked_for;
        }
    }
}

#[test]
fn another_way_to_find_accounts_concerns_only_whoever_has_none() {
    let mut world = forty();
    // Made by hand: of somebody who comes, and a second one with the name of somebody who is linked.
    world.accounts.insert("x41".into(), named(41));
    world.accounts.insert("x1".into(), named(1));
    let mut world = taken_over(world, by(&[MatchKey::ExternalId], "policy 2"));
    start(&mut world);
    world.change(person(41));
    world.pass(60);
    let status = world.lane.status();
    assert_eq!((status.links, status.skipped), (40, 1), "not found by the name");

    let mut world = taken_over(world, by(&[MatchKey::ExternalId, MatchKey::UserName], "policy 3"));
    assert_eq!(looked_for(&mut world), [user_key(41).user.to_string()].into());
    let status = world.lane.status();
    assert_eq!(
        (status.links, status.skipped, status.rejected, status.held),
        (41, 0, 0, 0)
    );
    let account = |n: u32| world.lane.links.get(&user_key(n)).unwrap().remote_id.unwrap().0;
    assert_eq!((account(41).as_str(), account(1).as_str()), ("x41", "r1"));
    assert!(
        world.writes.iter().all(|write| write.contains("x41")),
        "linked people stay as they are: {:?}",
        world.writes
    );

    // And back: whoever was found by it stays linked.
    let mut world = taken_over(world, by(&[MatchKey::ExternalId], "policy 4"));
    start(&mut world);
    assert_eq!((world.lane.status().links, world.writes.len()), (41, 0));
}

#[test]
fn enabled_again_after_a_week_is_one_batch_through_the_guard() {
    for mode in [Mode::Off, Mode::Observe] {
        let disabled = TargetPolicy { mode, ..guarded() };
        let mut world = taken_over(forty(), disabled);
        start(&mut world);
        for day in 0..7 {
            for n in 1..=3 {
                world.change(person(day * 3 + n).version(2).inactive());
            }
            world.change(person(30 + day).version(2).titled("B"));
            world.pass(86_400);
        }
        assert_eq!((world.writes.len(), world.lane.links.linked()), (0, 40), "{mode:?}");
        let mut world = taken_over(world, guarded());
        start(&mut world);
        // A week of leavers, a few a day, at once: not one before somebody has looked.
        let status = world.lane.status();
        assert_eq!((off(&world), status.held), (0, 21), "{mode:?}");
        assert_eq!(world.writes.len(), 7, "the edits go on: {:?}", world.writes);
        let set = the_set(&world);
        order(&mut world, 0, Verb::Approve { set });
        world.pass(60);
        assert_eq!((off(&world), world.lane.status().held), (21, 0), "{mode:?}");
    }
}

#[test]
fn an_account_that_vanished_is_not_made_again_where_none_may_be_made() {
    let mut world = with_people(1..=2);
    let mut target = policy();
    target.features.create = false;
    world.lane.target = Arc::new(target);
    world.accounts.remove("r1");
    world.change(person(1).version(2).titled("B"));
    world.pass(600);
    assert_eq!(
        world.writes,
        ["update r1 [\"title\"]"],
        "tried once, answered with absence"
    );
    assert_eq!(world.accounts.len(), 1);
    let status = world.lane.status();
    assert_eq!((status.pending, status.skipped, status.links), (0, 1, 1));
    let said: Vec<_> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.user == Some(user_key(1)) && outcome.user_version == 2)
        .map(|outcome| (outcome.result, outcome.reasons.join("; ")))
        .collect();
    let skipped = "no account; not made because features.create is off";
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0].0, OutcomeResult::Retry);
    assert_eq!(said[1], (OutcomeResult::Skipped, skipped.to_owned()));
    // Nor later, however it is planned again.
    world.restart();
    world.change(person(1).version(3).titled("C"));
    world.pass(2 * 86_400);
    assert_eq!((world.accounts.len(), world.writes.len()), (1, 1), "{:?}", world.writes);
}

#[test]
fn leavers_come_first_then_who_comes_then_edits_and_deletes_come_last() {
    let mut world = with_people(1..=4);
    for n in [1, 3] {
        world.change(person(n).version(2).inactive());
    }
    world.pass(10 * 86_400);
    let mut target = policy();
    target.features.delete = true;
    target.lifecycle.delete_after = Some(Duration::from_secs(86_400));
    target.hash = StateHash::of_text("policy 2");
    target.pace = Pace {
        concurrency: 1,
        ..target.pace
    };
    let people = [
        // In the order in which they are fed: the least urgent first.
        person(1).version(2).inactive(),
        person(2).version(2).titled("B"),
        person(3).version(3),
        person(4).version(2).inactive(),
        person(50),
    ];
    for change in people {
        world.people.insert(change.user.key(), Arc::new(change));
    }
    let mut world = taken_over(world, target);
    start(&mut world);
    // While the account that is to be made is looked for and its intent is recorded, the place is not left empty.
    let place = |what: &str| {
        world
            .writes
            .iter()
            .position(|write| write.starts_with(what))
            .expect(what)
    };
    assert_eq!((place("update r4"), place("update r3")), (0, 1), "{:?}", world.writes);
    assert!(place("create") < 4 && place("update r2") < 4, "{:?}", world.writes);
    assert_eq!((place("delete r1"), world.writes.len()), (4, 5), "{:?}", world.writes);
}

#[test]
fn nobody_who_waits_is_overtaken_by_a_delete() {
    // Many who come, are looked for and are edited, and accounts that are to be removed, fed first.
    let mut world = with_people(1..=20);
    for n in 1..=10 {
        world.change(person(n).version(2).inactive());
    }
    world.pass(10 * 86_400);
    let mut target = policy();
    target.features.delete = true;
    target.lifecycle.delete_after = Some(Duration::from_secs(86_400));
    target.hash = StateHash::of_text("policy 2");
    for n in 11..=20 {
        world
            .people
            .insert(user_key(n), Arc::new(person(n).version(2).titled("B")));
    }
    for n in 21..=60 {
        world.people.insert(user_key(n), Arc::new(person(n)));
    }
    let mut world = taken_over(world, target);
    start(&mut world);
    let first = world.writes.iter().position(|write| write.starts_with("delete"));
    assert_eq!((first, world.writes.len()), (Some(50), 60), "{:?}", world.writes);
}

#[test]
fn nor_where_groups_turn_out_to_have_nothing_to_do() {
    let member = |n: u32, version: u64| {
        let mut change = person(n).version(version);
        let sales = usher_contract::GroupRef {
            id: "00G000000000001".parse().unwrap(),
            name: usher_contract::Known::Value("Sales".to_owned()),
            direct: true,
        };
        change.user.groups = usher_contract::Known::Value(vec![sales]);
        change
    };
    let mut world = World::new(TargetPolicy {
        groups: Some(group_rules()),
        ..policy()
    });
    for n in 1..=20 {
        world.change(member(n, 1));
    }
    world.pass(3600);
    for n in 1..=10 {
        world.change(member(n, 2).inactive());
    }
    world.pass(10 * 86_400);
    let mut target = (*world.lane.target).clone();
    target.features.delete = true;
    target.lifecycle.delete_after = Some(Duration::from_secs(86_400));
    target.hash = StateHash::of_text("policy 2");
    world.lane.target = Arc::new(target);
    for n in 21..=60 {
        world.people.insert(user_key(n), Arc::new(person(n)));
    }
    world.writes.clear();
    world.restart();
    world.pass(30);
    let first = world.writes.iter().position(|write| write.starts_with("delete"));
    let created = world.writes.iter().filter(|write| write.starts_with("create")).count();
    let last = world.writes.iter().rposition(|write| write.starts_with("create"));
    assert!(created == 40 && first > last, "{:?}", world.writes);
}
