//! Lost answers, claims, references, hand-back, pace, modes.

use std::collections::BTreeMap;

use serde_json::Value;
use usher_contract::Known;

use super::super::*;
use super::world::{World, refusal, with_people};
use crate::connector::{Failure, Operation};
use crate::logic::{
    account::AttributePath,
    policy::MatchKey,
    testing::{Change, OWNER, person, policy, user_key},
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
    let leaver: Vec<_> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.user == Some(user_key(2)) && outcome.user_version == 2)
        .map(|outcome| (outcome.action.as_str(), outcome.result))
        .collect();
    assert_eq!(leaver, [("deactivate", usher_contract::OutcomeResult::Done)]);
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
        links.put(user_key(1), world.lane.links.get(&user_key(1)));
        links
    };
    let mut after = World::over(policy(), links, world.record.clone());
    after.accounts = world.accounts.clone();
    after.change(person(1).version(3).inactive());
    after.pass(60);
    assert_eq!(after.lane.status().behind, 0, "the table may just be catching up");
    after.pass(180);
    assert_eq!((after.writes.len(), after.lane.status().behind), (0, 1));
    after.change(person(1).version(5).titled("B"));
    assert_eq!(after.lane.status().behind, 0);
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

#[test]
fn an_account_that_is_hidden_while_it_is_off_stays_the_persons() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).inactive());
    world.settle();
    // Hidden: every write of it is answered with 404.
    let hidden = world.accounts.remove("r1").unwrap();
    world.change(person(1).version(3).named("later@acme.example").inactive());
    world.pass(60);
    let link = world.lane.links.get(&user_key(1)).unwrap();
    assert_eq!(link.remote_id.as_ref().map(|id| id.0.as_str()), Some("r1"));
    assert_eq!((link.active, world.lane.status().pending), (Some(false), 0));
    world.accounts.insert("r1".into(), hidden);
    world.change(person(1).version(4).named("later@acme.example"));
    world.pass(60);
    assert_eq!(world.accounts.len(), 1);
    let active = world.accounts["r1"].get(&AttributePath("active".into())).cloned();
    assert_eq!(active, Some(Value::Bool(true)));
}

#[test]
fn a_write_whose_read_back_finds_nobody_is_not_forgotten() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).inactive());
    world.commit();
    let (id, operation) = world.pop();
    let _written = world.answer(&operation);
    world.end(id, Err(Failure::Retry(refusal("connect"), None)));
    // Back again before the target is reached: by the link alone there would be nothing to do.
    world.change(person(1).version(3));
    world.pass(60);
    let active = world.accounts["r1"].get(&AttributePath("active".into())).cloned();
    assert_eq!(active, Some(Value::Bool(true)), "{:?}", world.writes);
}

/// A new owner over what is committed, that has fed nobody yet.
fn successor(before: &World, record: Option<TargetRecord>) -> World {
    let mut links = Links::default();
    for (user, link) in before.lane.links.iter() {
        links.put(*user, Some(link.clone()));
    }
    let mut world = World::new(policy());
    world.now = before.now;
    world.accounts = before.accounts.clone();
    world.batch = None;
    world.lane = Lane::new(Arc::new(policy()), links, record, OWNER, before.now);
    world
}

#[test]
fn a_doubt_of_a_take_over_survives_a_second_crash_and_a_hand_back() {
    for graceful in [false, true] {
        let mut first = with_people(1..=1);
        first.change(person(1).version(2).titled("B"));
        first.commit();
        let (_, operation) = first.pop();
        // Written, and the owner dies before it hears of it. By then the title is the old one again.
        let _written = first.answer(&operation);
        first.now = after(first.now, Duration::from_secs(1000));
        let mut second = successor(&first, first.record.clone());
        second.give(Input::Tick);
        if graceful {
            second.change(person(1).version(3));
            second.give(Input::AllFed);
            second.give(Input::Drain);
        }
        while second.commit() {}
        assert_eq!(second.drained, graceful);
        let mut third = successor(&second, second.record.clone());
        third.change(person(1).version(3));
        third.give(Input::AllFed);
        third.pass(10);
        let title = third.accounts["r1"].get(&AttributePath("title".into())).cloned();
        assert_eq!(title, Some(Value::from("AE")), "{graceful}");
        third.give(Input::Drain);
        third.settle();
        assert_eq!(third.record.unwrap().outstanding_since, None, "cleared");
    }
}

/// Answers and commits until an operation of this kind is under way.
pub(super) fn until(world: &mut World, is: impl Fn(&Operation) -> bool) -> (OperationId, Operation) {
    for _ in 0..100 {
        match world.open.first().cloned() {
            Some((id, operation)) if is(&operation) => return (id, operation),
            Some((id, operation)) => {
                let answer = world.answer(&operation);
                world.end(id, Ok(answer));
            }
            None => assert!(world.commit(), "comes to rest before"),
        }
    }
    panic!("does not come to that")
}

#[test]
fn somebody_who_leaves_while_an_account_is_taken_over_is_switched_off() {
    let mut world = World::new(policy());
    let there = [
        (
            AttributePath(crate::logic::policy::USER_NAME.into()),
            Value::from("u1@acme.example"),
        ),
        (AttributePath("active".into()), Value::Bool(true)),
    ];
    world.accounts.insert("r1".into(), there.into());
    world.change(person(1));
    let (_, operation) = until(&mut world, Operation::is_write);
    assert!(matches!(operation, Operation::Update { .. }), "{operation:?}");
    // Carried out, and the owner dies before it hears of it.
    let _lost = world.answer(&operation);
    let mut after = successor(&world, world.record.clone());
    after.change(person(1).version(2).inactive());
    after.give(Input::AllFed);
    after.pass(10);
    let active = after.accounts["r1"].get(&AttributePath("active".into())).cloned();
    assert_eq!(active, Some(Value::Bool(false)));
}

#[test]
fn a_refused_create_leaves_no_intent_behind_and_a_lost_one_does() {
    let intends = |world: &World| world.lane.links.get(&user_key(1)).unwrap().create_intent;
    let conflict = |code| Ok(Answer::Conflict(refusal(code)));
    for (result, stays) in [
        (conflict("scim-uniqueness"), false),
        (Err(Failure::Reject(refusal("scim-invalid-value"))), false),
        (conflict("create-unclear"), true),
        (Err(Failure::Retry(refusal("timeout"), None)), true),
        (Err(Failure::Halt(refusal("http-401"))), true),
    ] {
        let mut world = World::new(policy());
        world.change(person(1));
        let (id, _) = until(&mut world, Operation::is_write);
        assert!(intends(&world));
        world.end(id, result.clone());
        while world.commit() {}
        assert_eq!(intends(&world), stays, "{result:?}");
    }
    // The answer to the first try was lost: the refusal of the second does not speak of it.
    let mut world = World::new(policy());
    world.change(person(1));
    let (id, _) = until(&mut world, Operation::is_write);
    world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
    while world.commit() {}
    world.now = world.lane.next_wake().unwrap();
    world.give(Input::Tick);
    let (id, _) = until(&mut world, Operation::is_write);
    world.end(id, conflict("scim-uniqueness"));
    while world.commit() {}
    assert!(intends(&world));
}

#[test]
fn a_transaction_is_bounded_and_feeding_pauses() {
    let mut world = World::new(policy());
    world.settle();
    world.give(Input::Tick);
    assert!(world.batch.is_none() && world.lane.takes_people());
    // Nobody passes the gate: everybody is reported, without a request.
    for n in 1..=2500 {
        let mut nameless = person(n);
        nameless.user.family_name = usher_contract::Known::Empty;
        world.change(nameless);
    }
    assert!(!world.lane.takes_people());
    let mut sizes = vec![];
    while let Some(batch) = &world.batch {
        sizes.push(batch.links.len());
        assert!(batch.links.len() <= 1000 && batch.outcomes.len() == batch.links.len());
        let users = |outcome: &usher_contract::Outcome| batch.links.iter().any(|(user, _)| outcome.user == Some(*user));
        assert!(
            batch.outcomes.iter().all(users),
            "an outcome is committed with its link"
        );
        world.commit();
    }
    assert_eq!(sizes.iter().sum::<usize>(), 2500, "{sizes:?}");
    assert!(world.lane.takes_people());
    assert_eq!(world.lane.status().pending, 0);
}

#[test]
fn work_for_somebody_erased_ends_and_their_account_is_reported_once() {
    let mut world = with_people(1..=3);
    world.change(person(2).version(2).inactive());
    world.settle();
    world.writes.clear();
    let before = world.outcomes.len();
    // One waits for the next try, one is off, one is being written.
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let (id, _) = world.pop();
    world.end(id, Err(Failure::Retry(refusal("http-503"), None)));
    while world.commit() {}
    world.change(person(3).version(2).titled("B"));
    world.commit();
    for n in 1..=3 {
        world.people.remove(&user_key(n));
        world.give(Input::Erased(user_key(n)));
    }
    world.pass(7200);
    assert_eq!(world.writes, ["update r3 [\"title\"]"], "what is under way is awaited");
    let status = world.lane.status();
    assert_eq!((status.pending, status.retrying, status.orphans), (0, 0, 2));
    let told = |world: &World, from: usize| {
        let skipped = world.outcomes[from..].iter().filter(|outcome| outcome.action == "skip");
        skipped.map(|outcome| outcome.user.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(told(&world, before), [user_key(1), user_key(3)]);
    // A new owner finds links without people, and does not say it again.
    let mut after = successor(&world, world.record.clone());
    after.give(Input::AllFed);
    after.pass(60);
    assert_eq!((after.writes.len(), after.lane.status().orphans), (0, 2));
    assert!(told(&after, 0).is_empty());
    // Back again: like anybody.
    after.change(person(1).version(5).titled("C"));
    after.pass(60);
    assert_eq!((after.writes.len(), after.lane.status().orphans), (1, 1));
}

#[test]
fn links_without_people_are_reported_at_the_start() {
    let world = with_people(1..=2);
    let mut after = successor(&world, world.record.clone());
    after.change(person(1));
    after.give(Input::AllFed);
    after.pass(10);
    assert_eq!(after.lane.status().orphans, 1);
    let skipped: Vec<_> = after
        .outcomes
        .iter()
        .filter(|outcome| outcome.action == "skip")
        .collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(
        (skipped[0].user, skipped[0].result),
        (Some(user_key(2)), usher_contract::OutcomeResult::Skipped)
    );
    assert!(after.writes.is_empty());
}

#[test]
fn somebody_back_while_their_erasure_is_recorded_is_worked_on_once() {
    let mut world = with_people(1..=1);
    world.give(Input::Erased(user_key(1)));
    assert!(world.batch.is_some());
    world.change(person(1).version(2).titled("B"));
    world.settle();
    world.pass(10);
    assert_eq!(world.writes, ["update r1 [\"title\"]"]);
    assert_eq!(world.lane.status().orphans, 0);
}

#[test]
fn nothing_is_done_about_somebody_whose_link_cannot_be_read() {
    let world = with_people(1..=1);
    let mut links = Links::default();
    links.put(user_key(1), world.lane.links.get(&user_key(1)));
    links.put_unreadable(user_key(1));
    let mut after = World::over(policy(), links, world.record.clone());
    after.accounts = world.accounts.clone();
    after.change(person(1).version(2).titled("B"));
    after.pass(60);
    assert_eq!((after.writes.len(), after.lane.status().unreadable), (0, 1));
    assert!(after.open.is_empty());
}

#[test]
fn somebody_waiting_for_a_name_does_not_run_out_of_tries_because_others_come_and_are_renamed() {
    let mut world = with_people(1..=3);
    let taken = |operation: &Operation| {
        let name = AttributePath(crate::logic::policy::USER_NAME.into());
        matches!(operation, Operation::Update { values, .. } if values.get(&name) == Some(&Value::from("u1@acme.example")))
    };
    let mut tries = 0;
    let mut serve = |world: &mut World| loop {
        match world.open.first().cloned() {
            Some((id, operation)) if taken(&operation) => {
                tries += 1;
                world.end(id, Ok(Answer::Conflict(refusal("scim-uniqueness"))));
            }
            Some((id, operation)) => {
                let answer = world.answer(&operation);
                world.end(id, Ok(answer));
            }
            None if world.commit() => {}
            None => return tries,
        }
    };
    world.change(person(2).version(2).named("u1@acme.example"));
    assert_eq!(serve(&mut world), 1);
    for n in 10..=29 {
        world.change(person(n));
        assert_eq!(serve(&mut world), 1, "a new account gives no name up");
    }
    for version in 2..=21 {
        world.change(person(3).version(version).named(&format!("n{version}@acme.example")));
        assert_eq!(serve(&mut world), version, "each renaming is a chance");
    }
    assert_eq!((world.lane.status().retrying, world.dead_letters), (1, 0));
    world.change(person(1).version(2).named("new@acme.example"));
    let (id, operation) = until(&mut world, taken);
    let answer = world.answer(&operation);
    world.end(id, Ok(answer));
    world.settle();
    assert_eq!(world.lane.status().pending, 0);
}

#[test]
fn two_people_who_become_one_address_are_both_reported_until_one_has_another() {
    let mut target = policy();
    target.gate.convert_to = Some("acme.com".into());
    let mut world = World::new(target);
    let with_email = |n: u32, version: u64, email: &str| {
        let mut change = person(n).version(version);
        change.user.email = Known::Value(email.to_owned());
        change
    };
    world.change(with_email(1, 1, "ada@old.example"));
    world.change(with_email(2, 1, "ada@new.example"));
    world.change(with_email(3, 1, "bob@old.example"));
    world.pass(60);
    assert_eq!(world.accounts.len(), 1, "only the third");
    let said = |world: &World, n: u32, other: u32| {
        world.outcomes.iter().any(|outcome| {
            outcome.user == Some(user_key(n))
                && outcome
                    .reasons
                    .iter()
                    .any(|reason| reason.contains(&user_key(other).to_string()))
        })
    };
    assert!(said(&world, 1, 2) && said(&world, 2, 1), "{:?}", world.outcomes);
    world.change(with_email(2, 2, "ada.b@new.example"));
    world.pass(60);
    assert_eq!(world.accounts.len(), 3, "each has one now");
}
