//! What the guard has let through once is neither counted nor held a second time.

use super::{
    guarding::{forty, guarded, off, order, start, taken_over, the_set},
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
