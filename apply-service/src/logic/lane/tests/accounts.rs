//! Lost answers, claims, references, hand-back, pace, modes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::*;
use super::world::{World, refusal, with_people};
use crate::connector::Failure;
use crate::logic::{
    account::AttributePath,
    policy::MatchKey,
    testing::{Change, person, policy, user_key},
};

#[test]
fn a_name_given_up_lets_the_next_one_in_at_once() {
    let mut world = with_people(1..=2);
    world.change(person(2).version(2).named("u1@acme.example"));
    world.commit();
    let (id, _) = world.pop();
    world.end(id, Err(Failure::Reject(refusal("scim-uniqueness"))));
    while world.commit() {}
    assert_eq!((world.lane.status().retrying, world.dead_letters), (1, 0));
    world.change(person(1).version(2).named("new@acme.example"));
    world.settle();
    assert_eq!(world.lane.status().pending, 0);
    assert_eq!(world.writes.len(), 2);
}

#[test]
fn a_manager_is_added_when_the_account_is_there() {
    let mut target = policy();
    target
        .attributes
        .push(crate::logic::testing::row("manager.value", &["manager"]));
    let mut world = World::new(target);
    let mut report = person(1);
    report.user.manager_id = usher_contract::Known::Value(user_key(2).user);
    world.change(report);
    world.pass(5);
    world.change(person(2));
    world.pass(5);
    let path = AttributePath("manager.value".into());
    assert_eq!(world.accounts["r1"].get(&path), Some(&Value::from("r2")));
}

#[test]
fn an_account_that_vanished_is_made_again_and_a_leavers_is_done() {
    let mut world = with_people(1..=2);
    world.accounts.clear();
    world.change(person(1).version(2).titled("B"));
    world.change(person(2).version(2).inactive());
    world.pass(30);
    assert_eq!(world.accounts.len(), 1);
    assert_eq!(world.lane.status().pending, 0);
    assert_eq!(world.lane.links.linked(), 1);
}

#[test]
fn draining_finishes_what_is_under_way_and_hands_back() {
    let mut world = with_people(1..=10);
    for n in 1..=10 {
        world.change(person(n).version(2).titled("B"));
    }
    world.commit();
    assert_eq!(world.open.len(), 4);
    world.give(Input::Drain);
    world.settle();
    assert!(world.drained);
    assert_eq!(world.writes.len(), 4, "nothing new was started");
    assert!(world.record.clone().unwrap().released);
    world.change(person(5).version(3).titled("C"));
    assert!(world.open.is_empty(), "nothing starts after the hand-back");
}

#[test]
fn an_older_table_than_the_link_acts_on_nothing() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(5).titled("B"));
    world.settle();
    let links = {
        let mut links = Links::default();
        links.put(user_key(1), world.lane.links.get(&user_key(1)).cloned());
        links
    };
    let mut after = World::over(policy(), links, world.record.clone());
    after.accounts = world.accounts.clone();
    after.change(person(1).version(3).inactive());
    after.pass(10);
    assert_eq!((after.writes.len(), after.lane.status().behind), (0, 1));
}

#[test]
fn the_pace_is_kept() {
    let mut target = policy();
    target.pace.per_second = 2.0;
    target.matching.by = vec![MatchKey::ExternalId];
    let mut world = World::new(target);
    for n in 1..=40 {
        world.change(person(n));
    }
    world.pass(10);
    // Every account takes a look-up and a creation: about 2 + 2 * 10 operations.
    assert!((9..=12).contains(&world.accounts.len()), "{}", world.accounts.len());
}

#[test]
fn observing_counts_and_touches_nothing() {
    let mut world = World::new(TargetPolicy {
        mode: Mode::Observe,
        ..policy()
    });
    world.change(person(1));
    world.change(person(2).inactive());
    world.pass(10);
    assert!(world.open.is_empty() && world.writes.is_empty());
    assert_eq!(world.lane.status().observed, BTreeMap::from([("look", 1)]));
}

#[test]
fn somebody_left_alone_is_reported_once() {
    let mut world = World::new(policy());
    let mut nameless = person(1);
    nameless.user.family_name = usher_contract::Known::Empty;
    world.change(nameless.clone());
    world.pass(5);
    world.change(nameless.version(2));
    world.pass(5);
    let skipped = world.outcomes.iter().filter(|outcome| outcome.action == "skip").count();
    assert_eq!(
        (skipped, world.lane.status().skipped, world.lane.status().pending),
        (1, 1, 0)
    );
}
