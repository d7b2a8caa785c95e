//! What counts for the pace and who may use which part of it: pages, probes and trials; rests that a target asks for; the
//! part of the day that is kept for leavers, also for those whose account has to be found first.

use serde_json::Value;

use super::super::{queue::Resuming, *};
use super::world::{World, refusal, with_people};
use crate::connector::{Failure, Operation};
use crate::logic::{
    account::AttributePath,
    testing::{Change, person, policy, user_key},
};

fn daily(per_day: u64, leaver_reserve_percent: u64) -> TargetPolicy {
    let mut target = policy();
    target.pace.per_day = Some(per_day);
    target.pace.leaver_reserve_percent = leaver_reserve_percent;
    target
}

/// Answers and commits until such an operation is under way.
fn until(world: &mut World, wanted: impl Fn(&Operation) -> bool) -> (OperationId, Operation) {
    for _ in 0..1000 {
        if let Some(found) = world.open.iter().find(|(_, operation)| wanted(operation)) {
            return found.clone();
        }
        if let Some((id, operation)) = world.open.first().cloned() {
            let answer = world.answer(&operation);
            world.end(id, Ok(answer));
        } else {
            assert!(world.commit(), "nothing moves");
        }
    }
    panic!("does not come to that")
}

fn is_off(world: &World, account: &str) -> bool {
    world.accounts[account].get(&AttributePath("active".into())) == Some(&Value::Bool(false))
}

fn asked_to_wait(code: &str, seconds: u64) -> Failure {
    Failure::Retry(refusal(code), Some(Duration::from_secs(seconds)))
}

#[test]
fn a_target_that_asks_to_be_left_alone_is_not_asked_anything_by_anybody() {
    for code in ["http-503", "http-429"] {
        let mut world = with_people(1..=3);
        world.change(person(1).version(2).titled("B"));
        let (id, _) = until(&mut world, Operation::is_write);
        world.end(id, Err(asked_to_wait(code, 600)));
        world.settle();
        world.change(person(2).version(2).titled("C"));
        world.change(person(3).version(2).inactive());
        world.pass(599);
        assert_eq!(world.writes, Vec::<String>::new(), "{code}");
        world.pass(10);
        assert_eq!(world.writes.len(), 3, "{code}: {:?}", world.writes);
    }
}

#[test]
fn a_rest_is_kept_by_a_successor_and_by_its_connection_check() {
    let mut world = with_people(1..=2);
    world.change(person(1).version(2).titled("B"));
    let (id, _) = until(&mut world, Operation::is_write);
    world.end(id, Err(asked_to_wait("http-503", 600)));
    world.settle();
    world.crash();
    assert!(world.lane.circuit.is_unchecked(), "not even checked");
    world.pass(590);
    assert!(world.lane.circuit.is_unchecked() && world.writes.is_empty());
    world.pass(60);
    assert_eq!(world.writes, ["update r1 [\"title\"]"]);
}

#[test]
fn a_failure_without_a_time_rests_nobody_else() {
    let mut world = with_people(1..=2);
    world.change(person(1).version(2).titled("B"));
    let (id, _) = until(&mut world, Operation::is_write);
    world.end(id, Err(Failure::Retry(refusal("http-503"), None)));
    world.change(person(2).version(2).titled("C"));
    world.settle();
    assert_eq!(world.writes, ["update r2 [\"title\"]"]);
}

#[test]
fn pages_probes_and_trials_count_for_the_day() {
    let mut world = World::new(daily(1000, 10));
    world.settle();
    assert_eq!(world.lane.status().day_used, Some(2), "the check and a page");
    world.change(person(1));
    let (id, _) = until(&mut world, Operation::is_write);
    assert_eq!(world.lane.status().day_used, Some(4), "a look-up and a creation");
    world.end(id, Err(Failure::Reject(refusal("http-403"))));
    assert_eq!(world.pop().1, Operation::Check);
    assert_eq!(
        world.lane.status().day_used,
        Some(5),
        "whether it is the person or the target"
    );
    world.settle();
    world.change(person(2));
    let (id, _) = until(&mut world, |operation| matches!(operation, Operation::Find { .. }));
    world.end(id, Err(Failure::Halt(refusal("http-401"))));
    assert_eq!(world.lane.status().day_used, Some(6));
    world.check_passes = false;
    while world.commit() {}
    world.now = world.lane.next_wake().expect("a probe is due");
    world.give(Input::Tick);
    assert_eq!(world.pop().1, Operation::Check);
    assert_eq!(world.lane.status().day_used, Some(7));
}

#[test]
fn pages_come_no_faster_than_the_second_allows() {
    let mut target = policy();
    target.pace.per_second = 1.0;
    let mut world = World::new(target);
    let mut pages = Vec::new();
    for number in 0..3 {
        assert!(world.open.is_empty(), "the start was used up");
        while world.commit() {}
        world.now = world.lane.next_wake().expect("the next page is due");
        world.give(Input::Tick);
        let (id, operation) = world.pop();
        assert!(matches!(operation, Operation::List { .. }), "{operation:?}");
        pages.push(elapsed(world.begun, world.now).as_secs());
        let next = (number < 2).then(|| number.to_string());
        world.end(id, Ok(Answer::Page(vec![], next)));
    }
    assert_eq!(pages, [1, 2, 3]);
}

#[test]
fn probes_may_use_what_is_kept_for_leavers_and_nothing_beyond_the_day() {
    let mut world = World::new(daily(10, 20));
    for n in 1..=9 {
        world.change(person(n));
    }
    world.settle();
    assert_eq!(world.lane.status().day_left, Some(2), "kept for leavers");
    for left in [1, 0] {
        // Each new owner checks the connection first.
        world.restart();
        assert_eq!(world.lane.status().day_left, Some(left));
        assert!(world.lane.circuit.is_closed());
    }
    world.restart();
    assert!(world.lane.circuit.is_unchecked(), "the day is used up");
    world.pass(24 * 3600);
    assert!(world.lane.circuit.is_closed());
    assert!(world.lane.status().day_left < Some(10));
}

#[test]
fn a_leaver_whose_account_must_be_found_first_is_got_out_with_what_is_kept_for_leavers() {
    let mut world = World::new(daily(20, 50));
    world.change(person(1));
    let (id, operation) = until(&mut world, Operation::is_write);
    // Made, and nobody hears of it.
    let _lost = world.answer(&operation);
    world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
    for n in 2..=12 {
        world.change(person(n));
    }
    world.settle();
    assert_eq!(
        world.lane.status().day_left,
        Some(10),
        "for everybody else the day is over"
    );
    let waiting = world.lane.status().pending;
    assert!(waiting > 0);
    world.change(person(1).version(2).inactive());
    world.settle();
    assert!(is_off(&world, "r1"), "{:?}", world.writes);
    assert_eq!(world.lane.status().day_left, Some(8), "the look-up and the write");
    assert_eq!(world.lane.links.get(&user_key(1)).unwrap().active, Some(false));
}

#[test]
fn whoever_leaves_goes_on_before_everybody_who_was_looked_up_before() {
    let mut line = Resuming::default();
    for n in 1..=3 {
        line.push(user_key(n), Remote::Absent, false);
    }
    line.push(user_key(4), Remote::Absent, true);
    assert!(line.has_leavers());
    line.judge_again(user_key(2), true);
    line.judge_again(user_key(4), false);
    let order: Vec<UserKey> = std::iter::from_fn(|| line.pop().map(|(user, _)| user)).collect();
    assert_eq!(order, [2, 1, 3, 4].map(user_key));
    assert!(line.is_empty() && !line.has_leavers());
}

#[test]
fn whoever_leaves_while_they_wait_to_go_on_overtakes() {
    let mut target = policy();
    target.pace.concurrency = 1;
    let mut world = World::new(target);
    world.settle();
    // One account is there already: its person is looked up, and leaves before it is taken over.
    world.change(person(1));
    let (id, operation) = until(&mut world, Operation::is_write);
    let _lost = world.answer(&operation);
    world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
    while world.commit() {}
    for n in 2..=5 {
        world.change(person(n));
    }
    world.change(person(1).version(2).inactive());
    world.writes.clear();
    world.settle();
    world.pass(5);
    assert_eq!(world.writes[0], "update r1 [\"active\"]", "{:?}", world.writes);
    assert_eq!(world.accounts.len(), 5);
}
