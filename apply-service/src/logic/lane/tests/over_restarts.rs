//! What a process that ends again and again must not begin anew: the budget of a day, attempts, the next try.

use std::time::Duration;

use super::super::*;
use super::{
    guarding::{forty, guarded, order, start, taken_over, the_set},
    world::{World, refusal, with_people},
};
use crate::connector::{Failure, Operation};
use crate::logic::{
    command::Verb,
    link::LinkState,
    policy::Pace,
    testing::{Change, person, policy, user_key},
};

#[test]
fn the_budget_of_a_day_is_not_given_again_to_a_process_that_begins_anew() {
    let mut world = World::new(TargetPolicy {
        pace: Pace {
            per_second: 1000.0,
            per_day: Some(200),
            leaver_reserve_percent: 10,
            concurrency: 4,
        },
        ..policy()
    });
    world.change(person(1));
    world.pass(60);
    for n in 2..=200 {
        world.change(person(n));
    }
    world.pass(60);
    let made = world.accounts.len();
    let status = world.lane.status();
    assert!(made > 30 && made < 120, "a look and a create each: {made}");
    assert_eq!(
        (status.day_used, status.day_left),
        (Some(180), Some(20)),
        "all but the reserve"
    );

    for _ in 0..10 {
        world.restart();
        world.pass(60);
    }
    assert_eq!(world.accounts.len(), made, "a crash loop gets no new day");
    assert_eq!(world.lane.status().day_left, Some(20));
    // The reserve is for whoever leaves.
    world.change(person(1).version(2).inactive());
    world.pass(60);
    assert_eq!(world.writes.last().map(String::as_str), Some("update r1 [\"active\"]"));
    assert_eq!(world.lane.status().day_left, Some(19));
    // Tomorrow is another day.
    world.pass(86_400);
    assert!(world.accounts.len() > made, "{}", world.accounts.len());
}

/// What the link says about the tries.
fn tries(world: &World) -> Option<(u32, Timestamp, Timestamp)> {
    match world.lane.links.get(&user_key(1)).unwrap().state {
        LinkState::Retrying {
            attempts,
            next_try,
            since,
            ..
        } => Some((attempts, next_try, since)),
        _ => None,
    }
}

/// Every write under way fails, and that is recorded.
fn fail(world: &mut World) -> usize {
    let mut failed = 0;
    loop {
        if let Some((id, operation)) = world.open.first().cloned() {
            let result = if operation.is_write() {
                failed += 1;
                Err(Failure::Retry(refusal("http-500"), None))
            } else {
                let answer = world.answer(&operation);
                Ok(answer)
            };
            world.end(id, result);
        } else if !world.commit() {
            return failed;
        }
    }
}

#[test]
fn a_crash_loop_neither_tries_sooner_nor_counts_anew_and_gives_up_in_time() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    for _ in 0..3 {
        assert_eq!(fail(&mut world), 1);
        world.now = tries(&world).expect("a next try").1;
        world.give(Input::Tick);
    }
    assert_eq!(fail(&mut world), 1);
    let before = tries(&world).expect("a next try");
    assert_eq!(before.0, 4);
    for _ in 0..20 {
        // Whatever is begun is answered: a try before its time would be a write.
        world.crash();
    }
    assert_eq!(world.writes, Vec::<String>::new(), "nothing is tried before its time");
    assert_eq!(tries(&world), Some(before));
    assert_eq!(world.lane.status().retrying, 1);

    // It crashes after each try, and is given up as if it had not.
    let (mut tried, begun) = (0, before.2);
    while let Some((attempts, next, since)) = tries(&world) {
        assert_eq!(
            (attempts, since),
            (4 + tried, begun),
            "counted on, from the first failure"
        );
        world.now = next;
        world.give(Input::Tick);
        assert_eq!(fail(&mut world), 1);
        tried += 1;
        world.crash();
        assert!(tried < 1000, "for ever");
    }
    let state = world.lane.links.get(&user_key(1)).unwrap().state;
    let LinkState::Rejected { code, reason, .. } = state else {
        panic!("{state:?}")
    };
    assert_eq!((code.as_str(), reason.as_str()), ("http-500", "because"));
    let lasted = elapsed(begun, world.now);
    let (bound, pause) = (policy().retry.give_up_after, policy().retry.max);
    assert!(lasted >= bound && lasted <= bound + pause, "{lasted:?}");
    assert_eq!((world.dead_letters, world.lane.status().rejected), (1, 1));
    // Parked: neither another crash nor time alone tries again before the reconcile.
    world.crash();
    world.pass(3600);
    assert_eq!(world.writes, Vec::<String>::new());
    assert_eq!(world.lane.status().retrying, 0);
}

#[test]
fn pauses_between_tries_have_a_ceiling_and_are_drawn_from_all_below_it() {
    // Full jitter: anything from nothing to the bound, which doubles up to the ceiling.
    let retry = policy().retry;
    let pause = |attempts: u32, random: f64| crate::logic::retry::delay(&retry, attempts, None, random);
    for attempts in 1..=40 {
        let bound = retry
            .base
            .saturating_mul(1_u32 << (attempts - 1).min(20))
            .min(retry.max);
        let (low, high) = (pause(attempts, 0.0), pause(attempts, 0.999_999));
        assert!(low <= bound / 10, "{attempts}: {low:?}");
        assert!(high <= bound && high >= bound.mul_f64(0.99), "{attempts}: {high:?}");
    }
    assert_eq!(retry.max, Duration::from_secs(60));
}

#[test]
fn a_restart_while_something_is_under_way_asks_for_it_again_once() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let (_, operation) = world.pop();
    assert!(matches!(operation, Operation::Update { .. }));
    world.crash();
    assert_eq!(world.writes, ["update r1 [\"title\"]"]);
    world.crash();
    world.pass(60);
    assert_eq!(world.writes.len(), 1, "{:?}", world.writes);
}

#[test]
fn whoever_was_given_up_is_tried_again_under_another_configuration() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let (id, _) = world.pop();
    world.end(id, Err(Failure::Reject(refusal("http-400"))));
    world.settle();
    assert_eq!(world.lane.status().rejected, 1);
    // The same configuration: also another owner leaves it at that.
    let mut world = taken_over(world, policy());
    start(&mut world);
    assert_eq!((world.lane.status().rejected, world.writes.len()), (1, 0));
    let changed = TargetPolicy {
        hash: usher_contract::StateHash::of_text("policy 2"),
        ..policy()
    };
    let mut world = taken_over(world, changed);
    start(&mut world);
    assert_eq!(world.writes, ["update r1 [\"title\"]"]);
    assert_eq!(world.lane.status().rejected, 0);
}

#[test]
fn since_when_an_operator_is_waited_for_survives_a_change_of_owner() {
    let mut world = forty();
    for n in 1..=7 {
        world.change(person(n).version(2).inactive());
        world.pass(1);
    }
    let since = world.lane.status().waits_for_operator_since();
    assert!(since.is_some_and(|since| since <= world.now));
    world.pass(1800);
    for _ in 0..3 {
        world = taken_over(world, guarded());
        start(&mut world);
        world.pass(600);
        assert_eq!(
            world.lane.status().waits_for_operator_since(),
            since,
            "the alarm would never come"
        );
    }
    let set = the_set(&world);
    order(&mut world, 0, Verb::Approve { set });
    world.pass(60);
    assert_eq!(world.lane.status().waits_for_operator_since(), None);
}
