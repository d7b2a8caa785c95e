//! The picture of a lane whose application is a list: when it is whole, and the values that its links hold.

use serde_json::{Value, json};

use super::super::*;
use super::world::World;
use crate::logic::{
    policy::{Match, TargetPolicy},
    testing::{Change, person, policy, user_key},
};

fn list() -> TargetPolicy {
    TargetPolicy {
        keeps_values: true,
        ..policy()
    }
}

/// Whether the picture is whole, and what is on the way to the list.
fn picture(world: &World) -> (bool, usize) {
    let picture = world.lane.completeness(world.now);
    (picture.whole, picture.writes)
}

fn values(world: &World, n: u32) -> Vec<(String, Value)> {
    let link = world.lane.links.get(&user_key(n)).unwrap();
    link.values
        .iter()
        .map(|(path, value)| (path.0.clone(), value.clone()))
        .collect()
}

#[test]
fn the_picture_is_whole_when_everybody_was_fed_and_nobody_is_on_the_way() {
    let mut world = World::begun(list(), Links::default(), None, crate::logic::testing::at(0));
    world.commit();
    assert_eq!(picture(&world), (false, 0), "nobody has been fed");
    world.change(person(1));
    world.give(Input::AllFed);
    assert_eq!(picture(&world), (false, 0), "the list of the first sync is being read");
    let steps: Vec<(bool, usize)> = std::iter::from_fn(|| {
        if let Some((id, operation)) = world.open.first().cloned() {
            let answer = world.answer(&operation);
            world.end(id, Ok(answer));
        } else if !world.commit() {
            return None;
        }
        Some(picture(&world))
    })
    .collect();
    let first_whole = steps.iter().position(|(whole, _)| *whole).unwrap();
    assert_eq!(
        steps[first_whole],
        (true, 1),
        "whole as soon as the row is on the way, and not before: {steps:?}"
    );
    assert_eq!(*steps.last().unwrap(), (true, 0));

    // A look-up that has not come back, and a row that waits for a place, are missing.
    world.change(person(2));
    assert_eq!(picture(&world), (false, 0));
    world.settle();
    assert_eq!(picture(&world), (true, 0));
}

#[test]
fn a_paused_target_or_one_that_waits_for_its_first_sync_is_not_whole() {
    let waits = TargetPolicy {
        matching: Match {
            approve_first_sync: true,
            ..policy().matching
        },
        ..list()
    };
    let mut world = World::new(waits);
    world.change(person(1));
    world.settle();
    assert_eq!(picture(&world), (false, 0));
    let mut world = World::new(list());
    world.settle();
    assert!(picture(&world).0);
    world.lane.record.paused =
        Some(serde_json::from_value(json!({ "actor": "x", "reason": "y", "at": "2026-01-01T00:00:00Z" })).unwrap());
    assert_eq!(picture(&world), (false, 0));
}

#[test]
fn whoever_is_undecided_is_counted() {
    let mut world = World::new(list());
    let mut unknown = person(1);
    unknown.user.active = usher_contract::Known::Unknown;
    world.change(unknown);
    world.settle();
    assert_eq!(world.lane.completeness(world.now).undecided, 1);
    world.change(person(1).version(2));
    world.settle();
    assert_eq!(world.lane.completeness(world.now).undecided, 0);
}

#[test]
fn a_commit_is_handed_out_when_one_is_wanted() {
    let mut world = World::new(list());
    world.settle();
    assert!(world.batch.is_none());
    world.give(Input::Renew);
    assert!(world.batch.is_some(), "with nothing to record");
}

#[test]
fn links_hold_what_stands_in_the_list_until_the_person_is_erased() {
    let mut world = World::new(list());
    world.change(person(1));
    world.settle();
    let names = |world: &World| values(world, 1).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        names(&world),
        ["active", "externalId", "name.familyName", "title", "userName"]
    );
    // A value that is cleared is none; the others stay although only one was written.
    let mut untitled = person(1).version(2);
    untitled.user.title = usher_contract::Known::Empty;
    world.change(untitled);
    world.settle();
    assert_eq!(names(&world), ["active", "externalId", "name.familyName", "userName"]);
    world.change(person(1).version(3).inactive());
    world.settle();
    assert!(values(&world, 1).contains(&("active".to_owned(), json!(false))));
    world.give(Input::Erased(user_key(1)));
    world.settle();
    assert_eq!(values(&world, 1), [], "nothing is kept of somebody who was erased");
}
