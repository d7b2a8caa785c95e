//! Everybody is planned again once a day, on demand and after a look at the whole target: never two at the same time.

use super::super::*;
use super::{
    drifting::{DAY, looking},
    world::World,
};
use crate::connector::Operation;
use crate::logic::{
    command::{Command, FORMAT, Verb},
    policy::DriftMode,
    testing::{at, person},
};
use usher_contract::Approval;

/// One input without what the shell does about a reconcile: whether one begins.
fn begins(world: &mut World, input: Input) -> bool {
    let mut begins = false;
    for effect in world.lane.step(input, world.now, 0.5) {
        match effect {
            Effect::Reconcile => begins = true,
            Effect::Commit(batch) => world.batch = Some(*batch),
            Effect::Execute(id, operation) => world.open.push((id, operation)),
            Effect::Ask(_) | Effect::Again(_) | Effect::Deliver(..) | Effect::Drained => panic!("{effect:?}"),
        }
    }
    // Commits go on meanwhile.
    if world.batch.take().is_some() {
        begins |= self::begins(world, Input::Committed);
    }
    begins
}

fn ask(offset: i64, verb: Verb, world: &World) -> Input {
    let by = Approval {
        actor: "ada".into(),
        reason: "because".into(),
        at: at(0),
    };
    let command = Command {
        format: FORMAT,
        id: format!("c{offset}"),
        target: world.lane.target.name.clone(),
        verb,
        by,
        expires_at: after(world.now, Duration::from_secs(60)),
    };
    Input::Command {
        offset,
        command: Box::new(command),
    }
}

#[test]
fn a_reconcile_begins_when_the_one_before_has_ended_however_it_is_asked_for() {
    let mut target = looking(DriftMode::Report);
    target.reconcile = Duration::from_secs(86_400);
    let mut world = World::new(target);
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(DAY - 60);
    world.now = after(world.now, Duration::from_secs(3600));
    assert!(begins(&mut world, Input::Tick), "the daily one");

    // While its people are being fed: the next days.
    world.now = after(world.now, Duration::from_secs(2 * 86_400));
    assert!(!begins(&mut world, Input::Tick), "two at the same time");
    assert!(
        world.lane.next_wake().is_none_or(|next| next > world.now),
        "what has to wait must not keep the lane awake"
    );
    // An operator, again, the day after, and a look at the whole target.
    let first = ask(0, Verb::Reconcile, &world);
    assert!(!begins(&mut world, first), "two at the same time");
    let second = ask(1, Verb::Reconcile, &world);
    assert!(!begins(&mut world, second));
    let look = ask(2, Verb::Drift, &world);
    assert!(!begins(&mut world, look));
    world.now = after(world.now, Duration::from_secs(2 * 86_400));
    assert!(!begins(&mut world, Input::Tick));
    let lists = |world: &World| {
        let of_all = |(_, operation): &&(OperationId, Operation)| matches!(operation, Operation::List { .. });
        world.open.iter().filter(of_all).count()
    };
    assert_eq!(lists(&world), 0, "a look comes after it");
    assert!(
        world.lane.next_wake().is_none_or(|next| next > world.now),
        "what has to wait must not keep the lane awake"
    );

    // It has ended: one follows for all who have asked, and then none.
    for change in world.people.values().cloned().collect::<Vec<_>>() {
        assert!(!begins(&mut world, Input::User { change, again: true }));
    }
    assert!(begins(&mut world, Input::AllFed), "what was asked for meanwhile");
    assert_eq!(lists(&world), 0);
    assert!(!begins(&mut world, Input::AllFed));
    for _ in 0..10 {
        assert!(!begins(&mut world, Input::Tick));
    }
    assert_eq!(lists(&world), 1, "now the look");
    assert!(world.lane.next_wake().is_none_or(|next| next > world.now));
}

#[test]
fn a_reconcile_that_is_asked_for_while_a_lane_starts_waits_for_the_start() {
    let mut world = World::begun(looking(DriftMode::Report), Links::default(), None, at(0));
    let command = ask(0, Verb::Reconcile, &world);
    assert!(!begins(&mut world, command));
    let change = Arc::new(person(1));
    assert!(!begins(&mut world, Input::User { change, again: false }));
    assert!(!begins(&mut world, Input::AllFed), "the first sync comes first");
    while let Some((id, operation)) = world.open.pop() {
        let result = Ok(world.answer(&operation));
        let ended = Input::Ended {
            operation: id,
            result,
            took: Duration::ZERO,
            requests: 1,
        };
        if begins(&mut world, ended) {
            return;
        }
    }
    panic!("it was forgotten");
}
