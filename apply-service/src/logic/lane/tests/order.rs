//! Order, retries, refusals, the circuit.

use serde_json::Value;
use usher_contract::TraceContext;

use super::super::*;
use super::world::{World, refusal, with_people};
use crate::connector::{Failure, Operation};
use crate::logic::{
    account::AttributePath,
    link::LinkState,
    policy::USER_NAME,
    testing::{Change, person, policy, user_key},
};

#[test]
fn everybody_is_looked_up_created_once_and_then_left_alone() {
    let mut world = World::new(policy());
    for n in 1..=20 {
        world.change(person(n));
    }
    world.pass(10);
    assert_eq!(world.accounts.len(), 20);
    assert_eq!(world.writes.len(), 20);
    let report = world.record.clone().unwrap().first_sync.unwrap();
    assert_eq!((report.would_create, report.matched), (20, 0));
    for n in 1..=20 {
        // Repeated and older messages change nothing.
        world.change(person(n));
        world.change(person(n).version(0).titled("older"));
    }
    world.pass(3600);
    assert_eq!(world.writes.len(), 20);
    assert_eq!(world.lane.status().pending, 0);
}

#[test]
fn a_leaver_overtakes_everybody_who_waits() {
    let mut world = with_people(1..=1);
    world.lane.target = Arc::new(TargetPolicy {
        pace: crate::logic::policy::Pace {
            per_day: None,
            leaver_reserve_percent: 10,
            per_second: 1000.0,
            concurrency: 1,
        },
        ..policy()
    });
    for n in 2..=50 {
        world.change(person(n));
    }
    world.change(person(1).version(2).inactive());
    world.settle();
    world.pass(5);
    let leaver = world.writes.iter().position(|write| write.contains("active")).unwrap();
    assert!(leaver <= 1, "{:?}", world.writes);
    assert_eq!(world.accounts.len(), 50);
}

#[test]
fn the_newest_state_wins_over_a_waiting_retry() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let (id, _) = world.pop();
    world.end(
        id,
        Err(Failure::Retry(refusal("http-503"), Some(Duration::from_secs(600)))),
    );
    world.settle();
    assert_eq!(world.lane.status().retrying, 1);
    assert!(world.writes.is_empty());
    world.change(person(1).version(3).titled("C"));
    world.settle();
    assert_eq!(world.lane.status().pending, 0);
    let title = world.accounts["r1"].get(&AttributePath("title".into())).cloned();
    assert_eq!(title, Some(Value::from("C")));
}

#[test]
fn a_change_is_under_way_as_soon_as_its_message_is_there() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let under_way: Vec<_> = world.open.iter().map(|(_, operation)| operation).collect();
    assert!(
        matches!(under_way[..], [Operation::Update { .. }]),
        "no time has passed: {under_way:?}"
    );
}

#[test]
fn everybody_is_planned_again_once_a_day_and_what_was_missed_is_healed() {
    let mut world = with_people(1..=2);
    // A message that the lane was never told of.
    let missed = Arc::new(person(1).version(2).titled("B"));
    world.people.insert(user_key(1), missed);
    world.pass(12 * 3600);
    assert_eq!(world.writes, Vec::<String>::new());
    world.pass(12 * 3600);
    assert_eq!(world.writes, ["update r1 [\"title\"]"]);
    world.pass(3 * 24 * 3600);
    assert_eq!(world.writes.len(), 1, "{:?}", world.writes);
}

#[test]
fn a_change_during_a_write_is_written_afterwards() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let (id, operation) = world.pop();
    world.change(person(1).version(3).inactive());
    assert_eq!(world.open.len(), 1);
    let answer = world.answer(&operation);
    world.end(id, Ok(answer));
    world.settle();
    assert_eq!(world.writes, ["update r1 [\"title\"]", "update r1 [\"active\"]"]);
}

#[test]
fn attempts_live_in_the_link_and_end_in_a_dead_letter() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    let mut tries = 0;
    for _ in 0..10_000 {
        if let Some((id, operation)) = world.open.first().cloned() {
            let result = if operation == Operation::Check {
                Ok(Answer::Checked)
            } else {
                tries += 1;
                Err(Failure::Retry(refusal("http-500"), None))
            };
            world.end(id, result);
        } else if !world.commit() {
            if matches!(
                world.lane.links.get(&user_key(1)).unwrap().state,
                LinkState::Rejected { .. }
            ) {
                break;
            }
            world.now = world.lane.next_wake().unwrap().max(world.now);
            world.give(Input::Tick);
        }
    }
    assert!(tries > 20, "{tries}");
    assert_eq!(world.dead_letters, 1);
    assert_eq!(world.lane.status().rejected, 1);
    // A restart does not begin anew, and a change does.
    let change = world.people[&user_key(1)].clone();
    world.give(Input::User { change, again: false });
    assert_eq!(world.lane.status().pending, 0);
    world.change(person(1).version(3).titled("C"));
    world.settle();
    assert_eq!(world.lane.status().rejected, 0);
}

#[test]
fn nothing_is_asked_or_written_before_the_connection_check_has_passed() {
    let mut world = World::begun(policy(), Links::default(), None, crate::logic::testing::at(0));
    world.check_passes = false;
    world.change(person(1));
    world.give(Input::AllFed);
    assert_eq!(
        world.open.iter().map(|(_, operation)| operation).collect::<Vec<_>>(),
        [&Operation::Check]
    );
    assert_eq!(world.lane.status().circuit.unwrap().code, "unchecked");
    let (check, _) = world.pop();
    world.end(check, Err(Failure::Halt(refusal("http-401"))));
    while world.commit() {}
    assert!(world.open.is_empty(), "nothing else is tried");
    let said: Vec<_> = world.outcomes.iter().map(|outcome| outcome.result).collect();
    assert_eq!(said, [usher_contract::OutcomeResult::Halted]);
    // Later it passes: everything goes on by itself.
    world.pass(120);
    assert_eq!(world.writes, ["create r1"]);
}

#[test]
fn halt_opens_the_circuit_and_one_probe_closes_it() {
    let mut world = with_people(1..=3);
    for n in 1..=3 {
        world.change(person(n).version(2).titled("B"));
    }
    world.commit();
    assert_eq!(world.open.len(), 3);
    for (id, _) in world.open.clone() {
        world.end(id, Err(Failure::Halt(refusal("http-401"))));
    }
    while world.commit() {}
    assert_eq!(world.lane.status().circuit.unwrap().code, "http-401");
    assert!(world.open.is_empty());
    world.now = world.lane.next_wake().unwrap();
    world.give(Input::Tick);
    assert_eq!(world.open.len(), 1, "one probe");
    let (probe, operation) = world.pop();
    assert_eq!(operation, Operation::Check);
    world.end(probe, Err(Failure::Halt(refusal("http-401"))));
    world.pass(120);
    assert_eq!(world.lane.status().circuit, None);
    assert_eq!(world.writes.len(), 3);
    let said: Vec<_> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.user.is_none())
        .map(|outcome| outcome.action.clone())
        .collect();
    assert_eq!(said, ["first-sync", "halt", "resume"]);
}

#[test]
fn a_rejected_person_delays_nobody() {
    let mut world = with_people(1..=2);
    for n in 1..=2 {
        world.change(person(n).version(2).titled("B"));
    }
    world.commit();
    let (id, operation) = world.pop();
    world.end(id, Err(Failure::Reject(refusal("http-400"))));
    world.pass(10);
    assert_eq!(world.writes.len(), 1);
    assert_eq!(
        (
            world.lane.status().rejected,
            world.lane.status().pending,
            world.dead_letters
        ),
        (1, 0, 1)
    );
    // The daily reconcile tries once more.
    world.pass(86_400);
    assert_eq!(world.lane.status().rejected, 0, "{operation:?}");
    assert_eq!(world.writes.len(), 2);
}

#[test]
fn an_answer_that_was_lost_becomes_one_account_also_after_a_restart() {
    let mut world = World::new(policy());
    world.change(person(1));
    // Up to the create that is under way, whose answer never comes.
    let (id, operation) = loop {
        let Some((id, operation)) = world.open.first().cloned() else {
            assert!(world.commit());
            continue;
        };
        if matches!(operation, Operation::Create { .. }) {
            break (id, operation);
        }
        let answer = world.answer(&operation);
        world.end(id, Ok(answer));
    };
    let committed: Vec<_> = world
        .lane
        .links
        .iter()
        .map(|(user, link)| (*user, link.clone()))
        .collect();
    assert!(
        committed[0].1.create_intent,
        "the intent is on the books before the request"
    );
    let _lost = (id, world.answer(&operation));
    for left in [false, true] {
        let mut links = Links::default();
        for (user, link) in committed.clone() {
            links.put(user, Some(link));
        }
        let mut after = World::over(policy(), links, world.record.clone());
        after.accounts = world.accounts.clone();
        after.change(if left {
            person(1).version(2).inactive()
        } else {
            person(1)
        });
        after.pass(10);
        assert_eq!(after.accounts.len(), 1);
        let active = after.accounts["r1"].get(&AttributePath("active".into())).cloned();
        assert_eq!(active, Some(Value::Bool(!left)));
        assert_eq!(after.writes.len(), usize::from(left), "{:?}", after.writes);
    }
}

#[test]
fn two_people_do_not_take_over_one_account() {
    let mut world = World::new(policy());
    world.accounts.insert(
        "r1".into(),
        [(AttributePath(USER_NAME.into()), Value::from("same@acme.example"))].into(),
    );
    world.change(person(1).named("same@acme.example"));
    world.change(person(2).named("same@acme.example"));
    world.pass(5);
    assert_eq!(world.lane.links.linked(), 1);
    assert_eq!(world.lane.status().rejected, 1);
    let refused = world
        .outcomes
        .iter()
        .find(|outcome| outcome.error_code.is_some())
        .unwrap();
    assert_eq!(refused.error_code.as_deref(), Some("match-claimed"));
}

#[test]
fn a_refused_name_does_not_keep_a_leaver_in() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).named("taken@acme.example").inactive());
    world.commit();
    while let Some((id, operation)) = world.open.first().cloned() {
        let Operation::Update { values, .. } = &operation else {
            panic!("{operation:?}")
        };
        // The target refuses the name, and with it everything else in the same request.
        let result = if values.contains_key(&AttributePath(USER_NAME.into())) {
            Err(Failure::Reject(refusal("scim-invalid-value")))
        } else {
            Ok(world.answer(&operation))
        };
        world.end(id, result);
        while world.commit() {}
    }
    let active = world.accounts["r1"].get(&AttributePath("active".into())).cloned();
    assert_eq!(active, Some(Value::Bool(false)));
    assert_eq!(world.lane.status().rejected, 1, "the name is the operator's");
}

/// Two people whose change the target answers with 403; the operation under way is the probe about them.
fn forbidden() -> (World, OperationId) {
    let mut world = with_people(1..=3);
    for n in 1..=2 {
        world.change(person(n).version(2).titled("B"));
    }
    world.commit();
    for (id, _) in world.open.clone() {
        world.end(id, Err(Failure::Reject(refusal("http-403"))));
    }
    let (probe, operation) = world.pop();
    assert_eq!(
        (operation, world.open.len()),
        (Operation::Check, 1),
        "one probe for both"
    );
    (world, probe)
}

#[test]
fn forbidden_with_a_good_probe_is_that_persons_refusal() {
    let (mut world, probe) = forbidden();
    world.change(person(3).version(2).titled("B"));
    assert_eq!(world.open.len(), 1, "others wait for the probe");
    world.end(probe, Ok(Answer::Checked));
    world.settle();
    let status = world.lane.status();
    assert_eq!((status.rejected, status.pending, status.circuit), (2, 0, None));
    assert_eq!((world.dead_letters, world.writes.len()), (2, 1));
}

#[test]
fn forbidden_with_a_bad_probe_is_the_targets_failure() {
    let (mut world, probe) = forbidden();
    world.end(probe, Err(Failure::Halt(refusal("http-403"))));
    while world.commit() {}
    let status = world.lane.status();
    assert_eq!((status.rejected, status.pending, world.dead_letters), (0, 2, 0));
    assert_eq!(status.circuit.map(|circuit| circuit.code), Some("http-403".to_owned()));
    world.pass(120);
    assert_eq!((world.lane.status().pending, world.writes.len()), (0, 2));
}

#[test]
fn a_first_listing_whose_cursor_expires_begins_anew_and_not_for_ever() {
    let mut world = World::new(policy());
    world.change(person(1));
    let mut cursors = Vec::new();
    while world.lane.status().first_sync.is_none() {
        let Some((id, operation)) = world.open.first().cloned() else {
            if !world.commit() {
                world.now = world.lane.next_wake().unwrap().max(world.now);
                world.give(Input::Tick);
            }
            continue;
        };
        let Operation::List { cursor } = operation else {
            panic!("{operation:?}")
        };
        cursors.push(cursor.clone());
        assert!(cursors.len() < 100, "for ever");
        let result = match cursor {
            None => Ok(Answer::Page(vec![], Some("c".into()))),
            Some(_) => Err(Failure::Retry(refusal("cursor-refused"), None)),
        };
        world.end(id, result);
    }
    let expected: Vec<Option<String>> = (0..6).flat_map(|_| [None, Some("c".to_owned())]).collect();
    assert_eq!(cursors, expected);
    assert!(world.lane.status().first_sync.unwrap().not_listed.is_some());
    world.pass(10);
    assert_eq!(world.accounts.len(), 1, "looked up one by one");
}

#[test]
fn an_outcome_carries_the_trace_of_its_message_and_only_the_values_that_are_wanted() {
    let mut world = with_people(1..=1);
    let change = person(1).version(2).titled("B").named("u1@new.example");
    world.change(change.clone());
    world.settle();
    let outcome = world.outcomes.last().unwrap();
    assert_eq!((outcome.action.as_str(), outcome.user_version), ("update", 2));
    assert!(outcome.changed.len() > 1, "{:?}", outcome.changed);
    assert_eq!(outcome.values, [("title".to_owned(), "B".into())].into());
    assert_eq!(outcome.trace_id, Some(TraceContext::of(&change).trace_id));
}

#[test]
fn a_target_that_is_asked_too_much_is_not_sick() {
    let mut world = with_people(1..=1);
    world.change(person(1).version(2).titled("B"));
    let mut refused = 0;
    while refused < 40 {
        if let Some((id, _)) = world.open.first().cloned() {
            refused += 1;
            world.end(id, Err(Failure::Retry(refusal("http-429"), None)));
        } else if !world.commit() {
            world.now = world.lane.next_wake().unwrap().max(world.now);
            world.give(Input::Tick);
        }
        assert_eq!(world.lane.status().circuit, None);
    }
}

#[test]
fn somebody_who_leaves_overtakes_an_initial_load_of_a_hundred_thousand() {
    let mut world = with_people(1..=1);
    for n in 2..=100_001 {
        let change = Arc::new(person(n));
        world.give(Input::User { change, again: false });
    }
    while world.commit() {}
    let under_way = world.open.len();
    assert!(under_way > 0 && world.lane.status().pending == 100_000);
    world.change(person(1).version(2).inactive());
    // Whatever is begun from now on begins with her.
    for (id, operation) in world.open.clone() {
        let answer = world.answer(&operation);
        world.end(id, Ok(answer));
    }
    while world.commit() {}
    let next = world.open.iter().find_map(|(_, operation)| match operation {
        Operation::Update { id, values, .. } => Some((id.0.clone(), values.clone())),
        _ => None,
    });
    let (account, values) = next.expect("she comes first");
    let link = world.lane.links.get(&user_key(1)).unwrap().remote_id.clone().unwrap();
    assert_eq!(account, link.0);
    assert_eq!(values.get(&AttributePath("active".into())), Some(&Value::Bool(false)));
    assert!(world.lane.status().pending > 99_000, "the others still wait");
}
