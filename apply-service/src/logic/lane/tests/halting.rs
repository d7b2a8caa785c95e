//! When the target as a whole does not work: who is not to blame, one question at a time, and going on by itself.

use usher_contract::OutcomeResult;

use super::super::*;
use super::world::{World, refusal, with_people};
use crate::connector::{Failure, Operation};
use crate::logic::{
    link::LinkState,
    testing::{Change, person, user_key},
};

/// Everything that is asked fails like this, until nothing is asked any more.
fn all_fail(world: &mut World, failure: &Failure) -> usize {
    let mut asked = 0;
    loop {
        if let Some((id, _)) = world.open.first().cloned() {
            asked += 1;
            world.end(id, Err(failure.clone()));
        } else if !world.commit() {
            return asked;
        }
    }
}

fn said(world: &World, result: OutcomeResult) -> usize {
    world.outcomes.iter().filter(|outcome| outcome.result == result).count()
}

#[test]
fn a_host_that_is_not_reached_stops_the_target_at_once_and_nobody_is_blamed() {
    let mut world = with_people(1..=20);
    world.outcomes.clear();
    for n in 1..=20 {
        world.change(person(n).version(2).titled("B"));
    }
    world.commit();
    let down = Failure::Retry(refusal("connect"), None);
    assert_eq!(
        all_fail(&mut world, &down),
        4,
        "who was under way, and nobody after them"
    );
    let status = world.lane.status();
    assert_eq!(status.circuit.map(|circuit| circuit.code).as_deref(), Some("connect"));
    assert_eq!((status.pending, status.retrying, status.rejected), (20, 0, 0));
    assert!((1..=20).all(|n| world.lane.links.get(&user_key(n)).unwrap().state == LinkState::Settled));

    // For an hour: one harmless question at a time, further and further apart, said once.
    let (mut probes, until) = (0, after(world.now, Duration::from_secs(3600)));
    while world.now < until {
        world.now = world.lane.next_wake().expect("a probe").max(world.now);
        world.give(Input::Tick);
        let asked: Vec<_> = world.open.iter().map(|(_, operation)| operation.clone()).collect();
        assert!(asked.is_empty() || asked == [Operation::Check], "{asked:?}");
        probes += all_fail(&mut world, &down);
        assert!(probes < 1000, "asked all the time");
    }
    assert!(probes >= 30, "a recovery is noticed within minutes: {probes} questions");
    assert_eq!((said(&world, OutcomeResult::Halted), world.writes.len()), (1, 0));
    assert_eq!((world.dead_letters, said(&world, OutcomeResult::Retry)), (0, 0));

    // It is there again: nobody has to do anything, and nobody has lost a try.
    world.pass(120);
    assert_eq!((world.lane.status().circuit, world.lane.status().pending), (None, 0));
    assert_eq!(world.writes.len(), 20);
    let done = world.outcomes.iter().filter(|outcome| outcome.user.is_some());
    assert!(done.clone().count() == 20 && done.clone().all(|outcome| outcome.attempt == 1));
    let resumed = world.outcomes.iter().filter(|outcome| outcome.action == "resume");
    assert_eq!(resumed.count(), 1);
}

#[test]
fn a_target_that_fails_for_most_is_stopped_and_one_that_fails_for_some_is_not() {
    for code in ["http-503", "timeout"] {
        let mut world = with_people(1..=30);
        for n in 1..=30 {
            world.change(person(n).version(2).titled("B"));
        }
        world.commit();
        let asked = all_fail(&mut world, &Failure::Retry(refusal(code), None));
        assert!((10..=14).contains(&asked), "{code}: {asked} of 30 were asked");
        let status = world.lane.status();
        assert_eq!(status.circuit.map(|circuit| circuit.code).as_deref(), Some(code));
        assert_eq!(status.rejected, 0);
        world.pass(300);
        assert_eq!((world.lane.status().pending, world.writes.len()), (0, 30), "{code}");
    }
    // Every third one is those people's trouble.
    let mut world = with_people(1..=30);
    for n in 1..=30 {
        world.change(person(n).version(2).titled("B"));
    }
    let mut asked = 0;
    loop {
        if let Some((id, operation)) = world.open.first().cloned() {
            asked += 1;
            let result = match asked % 3 {
                0 => Err(Failure::Retry(refusal("http-503"), None)),
                _ => Ok(world.answer(&operation)),
            };
            world.end(id, result);
        } else if !world.commit() {
            break;
        }
        assert_eq!(world.lane.status().circuit, None, "after {asked}");
    }
    assert_eq!((world.writes.len(), world.lane.status().retrying), (20, 10));
}
