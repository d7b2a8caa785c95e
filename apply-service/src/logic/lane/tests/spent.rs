//! What the guard has let through once, and what an operator has released: neither is counted or held a second time.

use usher_contract::{Outcome, OutcomeResult};

use super::{
    guarding::{forty, guarded, off, order, start, taken_over, tell, the_set},
    world::{World, refusal},
};
use crate::{
    connector::Failure,
    logic::{
        command::Verb,
        guard::{Budget, Guard},
        link::LinkState,
        policy::TargetPolicy,
        testing::{Change, person, user_key},
    },
};

/// Whatever is asked of the target is answered with 503 until nothing moves.
fn turned_away(world: &mut World) {
    for _ in 0..1_000 {
        if let Some((id, _)) = world.open.first().cloned() {
            world.end(id, Err(Failure::Retry(refusal("http-503"), None)));
        } else if !world.commit() {
            return;
        }
    }
    panic!("does not come to rest");
}

fn state(world: &World, n: u32) -> LinkState {
    world.lane.links.get(&user_key(n)).unwrap().state
}

fn in_states(world: &World) -> (usize, usize) {
    let links = &world.lane.links;
    (links.in_state("held"), links.in_state("retrying"))
}

fn spent(world: &World, budget: Budget) -> u64 {
    let hour = std::time::Duration::from_secs(3600);
    world.lane.ledger.spent(budget, hour, world.now)
}

fn titled(world: &World, title: &str) -> usize {
    let has = |values: &&crate::logic::account::AttributeValues| {
        values.iter().any(|(path, value)| path.0 == "title" && value == title)
    };
    world.accounts.values().filter(has).count()
}

/// Five changes and five removals of forty.
fn narrow() -> TargetPolicy {
    TargetPolicy {
        guard: Guard {
            changes_percent: 10,
            ..Guard::default()
        },
        ..guarded()
    }
}

/// The last three of eight are held, and released while the target answers nobody.
fn released_in_vain(world: &mut World) {
    world.pass(60);
    assert_eq!(in_states(world), (3, 0));
    let set = the_set(world);
    tell(world, 0, Verb::Approve { set });
    turned_away(world);
    assert_eq!(in_states(world), (0, 3));
    let said = |outcome: &&Outcome| outcome.result == OutcomeResult::Released;
    let said: Vec<&Outcome> = world.outcomes.iter().filter(said).collect();
    assert!(
        matches!(said[..], [one] if one.actor.as_deref() == Some("ada")),
        "{said:?}"
    );
    assert_eq!(answerable(world, OutcomeResult::Retry).len(), 3);
}

/// Whose outcomes of this kind say which operator let them through, and why.
fn answerable(world: &World, result: OutcomeResult) -> Vec<u32> {
    let why = |outcome: &Outcome| {
        outcome
            .reasons
            .iter()
            .any(|words| words == "released by an operator: because")
    };
    let by = |outcome: &&Outcome| outcome.result == result && outcome.actor.as_deref() == Some("ada") && why(outcome);
    let users: Vec<_> = world
        .outcomes
        .iter()
        .filter(by)
        .filter_map(|outcome| outcome.user)
        .collect();
    (1..=60).filter(|n| users.contains(&user_key(*n))).collect()
}

fn eight_leavers() -> World {
    let mut world = forty();
    for n in 1..=8 {
        world.change(person(n).version(2).inactive());
        world.pass(1);
    }
    world
}

#[test]
fn leavers_who_wait_for_another_try_are_not_counted_again_by_a_reconcile() {
    let mut world = forty();
    for n in 1..=3 {
        world.change(person(n).version(2).inactive());
    }
    turned_away(&mut world);
    assert_eq!(in_states(&world), (0, 3));
    order(&mut world, 0, Verb::Reconcile);
    world.pass(5);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (3, 0));
    assert_eq!(spent(&world, Budget::StatedRemovals), 3);
}

#[test]
fn of_a_batch_that_is_too_much_only_who_comes_on_top_is_held() {
    let mut world = forty();
    for n in 1..=3 {
        world.change(person(n).version(2).inactive());
    }
    turned_away(&mut world);
    for n in 4..=6 {
        let change = person(n).version(2).inactive();
        world.people.insert(user_key(n), std::sync::Arc::new(change));
    }
    order(&mut world, 0, Verb::Reconcile);
    world.pass(5);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (3, 3));
    for n in 4..=6 {
        assert!(matches!(state(&world, n), LinkState::Held { .. }), "{n}");
    }
    let said = &world.lane.record.held[&the_set(&world)].reason;
    assert!(said.starts_with("3 removals of people who left on top of 3 "), "{said}");
}

#[test]
fn changes_that_wait_for_another_try_are_not_counted_again_by_a_reconcile() {
    let mut world = taken_over(forty(), narrow());
    start(&mut world);
    for n in 1..=4 {
        world.change(person(n).version(2).titled("B"));
    }
    turned_away(&mut world);
    assert_eq!(in_states(&world), (0, 4));
    order(&mut world, 0, Verb::Reconcile);
    world.pass(5);
    assert_eq!((titled(&world, "B"), world.lane.links.in_state("held")), (4, 0));
}

#[test]
fn who_was_changed_already_is_not_counted_again_by_another_owner() {
    let mut world = taken_over(forty(), narrow());
    start(&mut world);
    for n in 1..=3 {
        world.change(person(n).version(2).titled("B"));
    }
    world.pass(5);
    for n in 1..=3 {
        let change = person(n).version(3).titled("C");
        world.people.insert(user_key(n), std::sync::Arc::new(change));
    }
    let mut world = taken_over(world, narrow());
    start(&mut world);
    assert_eq!((titled(&world, "C"), world.lane.links.in_state("held")), (3, 0));
    assert_eq!(spent(&world, Budget::Changes), 3);
}

#[test]
fn what_was_released_is_not_held_again_by_a_reconcile() {
    let mut world = eight_leavers();
    released_in_vain(&mut world);
    order(&mut world, 1, Verb::Reconcile);
    world.pass(5);
    assert_eq!((off(&world), in_states(&world)), (8, (0, 0)));
    assert_eq!(
        spent(&world, Budget::StatedRemovals),
        5,
        "what was released does not count"
    );
}

#[test]
fn what_was_released_is_not_held_again_by_another_owner() {
    let mut world = eight_leavers();
    released_in_vain(&mut world);
    // Tried again in vain by one owner after the other.
    for _ in 0..2 {
        world = taken_over(world, guarded());
        for change in world.people.values().cloned().collect::<Vec<_>>() {
            world.give(crate::logic::lane::Input::User { change, again: true });
        }
        world.give(crate::logic::lane::Input::AllFed);
        turned_away(&mut world);
        assert_eq!(in_states(&world), (0, 3));
    }
    // The record of one of them is tidied up meanwhile: they are to be off as before.
    world.change(person(6).version(3).titled("left").inactive());
    let mut world = taken_over(world, guarded());
    start(&mut world);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (8, 0));
    assert_eq!(
        spent(&world, Budget::StatedRemovals),
        5,
        "what was released does not count"
    );
    assert_eq!(answerable(&world, OutcomeResult::Done), [6, 7, 8]);
}

#[test]
fn a_release_is_of_what_was_held_and_of_nothing_that_is_wanted_later() {
    let mut world = taken_over(forty(), narrow());
    start(&mut world);
    for n in 1..=8 {
        world.change(person(n).version(2).titled("B"));
        world.pass(1);
    }
    released_in_vain(&mut world);
    world.change(person(7).version(3).titled("C"));
    world.settle();
    assert!(
        matches!(state(&world, 7), LinkState::Held { .. }),
        "{:?}",
        state(&world, 7)
    );
    let change = person(6).version(3).titled("C");
    world.people.insert(user_key(6), std::sync::Arc::new(change));
    let mut world = taken_over(world, narrow());
    start(&mut world);
    assert_eq!((titled(&world, "B"), titled(&world, "C")), (6, 0));
    assert!(
        matches!(state(&world, 6), LinkState::Held { .. }),
        "{:?}",
        state(&world, 6)
    );
}

#[test]
fn a_release_is_over_when_it_is_done_or_not_wanted_any_more() {
    let mut world = eight_leavers();
    released_in_vain(&mut world);
    // One comes back before it is done, the others are switched off and come back afterwards.
    world.change(person(6).version(3));
    world.pass(60);
    assert_eq!((off(&world), in_states(&world)), (7, (0, 0)));
    for n in 7..=8 {
        world.change(person(n).version(3));
    }
    world.pass(5);
    for n in 6..=8 {
        world.change(person(n).version(4).inactive());
    }
    world.pass(5);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (5, 3));
}

#[test]
fn a_released_person_who_cannot_be_looked_up_stays_released() {
    let mut world = taken_over(forty(), narrow());
    start(&mut world);
    for n in 41..=48 {
        world.change(person(n));
    }
    world.pass(5);
    released_in_vain(&mut world);
    let mut world = taken_over(world, narrow());
    start(&mut world);
    assert_eq!((world.lane.links.linked(), in_states(&world)), (48, (0, 0)));
}

#[test]
fn who_was_let_through_by_an_allowance_is_not_held_by_another_owner() {
    let mut world = eight_leavers();
    let allow = Verb::Allow {
        removals: 2,
        for_seconds: 3600,
    };
    order(&mut world, 0, allow);
    for n in 9..=10 {
        world.change(person(n).version(2).inactive());
    }
    turned_away(&mut world);
    assert_eq!(in_states(&world), (3, 2));
    assert_eq!(answerable(&world, OutcomeResult::Retry), [9, 10]);
    let mut world = taken_over(world, guarded());
    start(&mut world);
    assert_eq!((off(&world), in_states(&world)), (7, (3, 0)));
    assert_eq!(answerable(&world, OutcomeResult::Done), [9, 10]);
}

#[test]
fn who_is_let_through_by_an_allowance_or_a_release_is_answered_for_at_once_and_nobody_else() {
    let mut world = eight_leavers();
    world.pass(60);
    let set = the_set(&world);
    order(&mut world, 0, Verb::Approve { set });
    let allow = Verb::Allow {
        removals: 1,
        for_seconds: 3600,
    };
    order(&mut world, 1, allow);
    world.change(person(9).version(2).inactive());
    world.change(person(20).version(2).titled("B"));
    world.pass(5);
    assert_eq!(off(&world), 9);
    assert_eq!(answerable(&world, OutcomeResult::Done), [6, 7, 8, 9]);
}

#[test]
fn what_was_released_and_refused_is_still_released_when_it_is_tried_again() {
    let mut world = eight_leavers();
    world.pass(60);
    let set = the_set(&world);
    tell(&mut world, 0, Verb::Approve { set });
    while world.commit() {}
    while let Some((id, _)) = world.open.first().cloned() {
        world.end(id, Err(Failure::Reject(refusal("http-400"))));
        while world.commit() {}
    }
    assert_eq!(world.lane.links.in_state("rejected"), 3);
    let mut world = taken_over(world, guarded());
    start(&mut world);
    assert_eq!(world.lane.links.in_state("rejected"), 3);
    order(&mut world, 1, Verb::Redrive { user: None });
    world.pass(5);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (8, 0));
}
