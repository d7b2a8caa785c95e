//! What shares the places of a target: a look at the whole target with everything else, and what waits for a place.

use usher_contract::{GroupRef, Known};

use super::super::*;
use super::{
    drifting::{DAY, three},
    world::{World, refusal},
};
use crate::connector::{Failure, Operation};
use crate::logic::{
    policy::DriftMode,
    testing::{Change, group_rules, person, policy},
};

/// Three people at a target that answers one request at a time; a look at it is due in a minute.
fn serial() -> World {
    let mut world = three(DriftMode::Report);
    let mut target = (*world.lane.target).clone();
    target.pace.concurrency = 1;
    world.lane.target = Arc::new(target);
    world.lane.record.drifted_at = Some(world.now - jiff::SignedDuration::from_secs(7 * DAY - 60));
    world
}

fn later(world: &mut World, seconds: u64) {
    world.now = after(world.now, Duration::from_secs(seconds));
    world.give(Input::Tick);
}

fn pages(world: &World) -> usize {
    let of_all = |(_, operation): &&(OperationId, Operation)| matches!(operation, Operation::List { .. });
    world.open.iter().filter(of_all).count()
}

#[test]
fn a_look_at_the_whole_target_and_writes_never_overlap_where_one_request_is_answered_at_a_time() {
    let mut world = serial();
    // A write is under way when the look is due.
    world.change(person(1).version(2).titled("B"));
    while world.commit() {}
    let (write, operation) = world.pop();
    assert!(operation.is_write());
    later(&mut world, 120);
    assert_eq!((world.open.len(), pages(&world)), (1, 0), "{:?}", world.open);
    let answer = world.answer(&operation);
    world.end(write, Ok(answer));
    while world.commit() {}
    assert_eq!((world.open.len(), pages(&world)), (1, 1), "then the look begins");

    // And the other way round: whoever comes while a page is read waits for it, and goes before the next.
    world.change(person(2).version(2).titled("C"));
    while world.commit() {}
    assert_eq!((world.open.len(), pages(&world)), (1, 1), "{:?}", world.open);
    let (page, _) = world.pop();
    world.end(page, Ok(Answer::Page(vec![], Some("2".to_owned()))));
    while world.commit() {}
    assert_eq!((world.open.len(), pages(&world)), (1, 0), "{:?}", world.open);
    world.settle();
    assert!(world.lane.status().drift.is_some(), "it comes to its end");
    assert_eq!(world.lane.busy(), 0);
}

#[test]
fn a_look_does_not_begin_beside_the_check_whether_a_person_or_the_target_is_refused() {
    let mut world = serial();
    world.change(person(1).version(2).titled("B"));
    while world.commit() {}
    let (write, _) = world.pop();
    world.now = after(world.now, Duration::from_secs(120));
    world.end(write, Err(Failure::Reject(refusal("http-403"))));
    let under_way: Vec<_> = world.open.iter().map(|(_, operation)| operation).collect();
    assert_eq!(under_way, [&Operation::Check]);
}

/// What is due and cannot begin must not keep the lane awake: it would do nothing else.
fn assert_sleeps(world: &World, why: &str) {
    let next = world.lane.next_wake();
    assert!(
        next.is_none_or(|next| next > world.now),
        "{why}: {next:?} at {}",
        world.now
    );
}

#[test]
fn a_look_that_is_due_while_others_may_not_start_does_not_keep_the_lane_awake() {
    // The target rests for an hour, somebody waits, and the look becomes due.
    let mut world = serial();
    world.change(person(1).version(2).titled("B"));
    while world.commit() {}
    let (write, _) = world.pop();
    let rests = Failure::Retry(refusal("http-503"), Some(Duration::from_secs(3600)));
    world.end(write, Err(rests));
    while world.commit() {}
    world.change(person(2).version(2).titled("C"));
    while world.commit() {}
    later(&mut world, 120);
    assert!(world.open.is_empty() && world.lane.status().pending == 2);
    assert_sleeps(&world, "at rest");
    world.pass(3 * 3600);
    assert_eq!(world.writes.len(), 2, "{:?}", world.writes);
    assert!(world.lane.status().drift.is_some(), "the look comes afterwards");

    // Every place is taken.
    let mut world = serial();
    for n in 1..=2 {
        world.change(person(n).version(2).titled("B"));
    }
    while world.commit() {}
    later(&mut world, 120);
    assert_eq!((world.open.len(), world.lane.status().pending), (1, 2));
    assert_sleeps(&world, "every place taken, and somebody waits");
    let (id, operation) = world.pop();
    let answer = world.answer(&operation);
    world.end(id, Ok(answer));
    while world.commit() {}
    assert_eq!((world.open.len(), world.lane.status().pending), (1, 1));
    assert_sleeps(&world, "every place taken, and nobody waits");
    world.settle();
    assert!(world.lane.status().drift.is_some());
}

#[test]
fn a_group_that_is_due_while_every_place_is_taken_does_not_keep_the_lane_awake() {
    let mut target = TargetPolicy {
        groups: Some(group_rules()),
        ..policy()
    };
    target.pace.concurrency = 1;
    let mut world = World::new(target);
    let mut change = person(1);
    let sales = GroupRef {
        id: "00G000000000001".parse().unwrap(),
        name: Known::Value("Sales".to_owned()),
        direct: true,
    };
    change.user.groups = Known::Value(vec![sales]);
    world.change(change.clone());
    world.settle();
    let due = world.lane.next_group().expect("the group is read back soon");
    assert!(due > world.now);
    for n in 2..=3 {
        world.change(person(n));
    }
    while world.commit() {}
    let (_, operation) = world.pop();
    assert!(matches!(operation, Operation::Find { .. }), "{operation:?}");
    world.now = after(due, Duration::from_secs(1));
    world.give(Input::Tick);
    assert_eq!(world.open.len(), 1, "{:?}", world.open);
    assert_sleeps(&world, "every place taken");
    // Nor is it forgotten.
    world.settle();
    let record = world.group_records.values().next().unwrap();
    assert!(!record.unread && record.read_at >= Some(due), "{record:?}");
}
