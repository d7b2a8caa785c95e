//! A look at the whole target that never ends, that shows whose account is whose, and what `repair` may not do by itself.

use serde_json::json;
use usher_contract::{Known, OutcomeResult};

use super::super::*;
use super::{
    drifting::{DAY, account, looking, said, set, three},
    guarding::{guarded, off, order, the_set},
    world::World,
};
use crate::connector::Operation;
use crate::logic::{
    account::{AttributePath, RemoteId},
    command::Verb,
    plan::Accounts,
    policy::{Drift, DriftMode},
    testing::{Change, person, user_key},
};

/// Every page of a look names one more, by `cursor`. How many were asked for.
fn without_end(world: &mut World, mut cursor: impl FnMut(u32) -> String) -> u32 {
    let mut pages = 0;
    world.now = world.lane.next_wake().expect("the look is due").max(world.now);
    world.give(Input::Tick);
    for _ in 0..100_000 {
        match world.open.first().cloned() {
            Some((id, operation @ Operation::List { .. })) => {
                pages += 1;
                let Answer::Page(accounts, _) = world.answer(&operation) else {
                    panic!("a page")
                };
                world.end(id, Ok(Answer::Page(accounts, Some(cursor(pages)))));
            }
            Some((_, operation)) => panic!("{operation:?}"),
            None if world.commit() => {}
            None if world.lane.status().drift_listed.is_none() => return pages,
            None => {
                world.now = world.lane.next_wake().expect("a next page").max(world.now);
                world.give(Input::Tick);
            }
        }
    }
    panic!("the look has no end: {pages} pages");
}

#[test]
fn a_list_that_leads_in_a_circle_or_for_ever_is_left_and_nobody_is_missing() {
    for circle in [true, false] {
        let mut world = three(DriftMode::Repair);
        // Its account is there and not shown: of a whole list that would mean that it is gone.
        let hidden = account(&world, 2);
        let kept = world.accounts.remove(&hidden).unwrap();
        world.pass(5 * DAY);
        world.outcomes.clear();
        let pages = without_end(
            &mut world,
            |page| {
                if circle { "c".to_owned() } else { format!("c{page}") }
            },
        );
        if circle {
            assert_eq!(pages, 2, "the second page leads back to itself");
        } else {
            assert!(pages > 1000 && pages < 50_000, "{pages}");
        }
        let report = world.lane.status().drift.unwrap();
        assert_eq!(report.not_listed.as_deref(), Some("the list of accounts has no end"));
        assert_eq!((report.missing, report.accounts), (0, 2));
        assert_eq!(said(&world), Vec::<String>::new());
        assert_eq!(world.writes, Vec::<String>::new());
        let told = world.outcomes.iter().filter(|outcome| outcome.action == "drift");
        let reasons: Vec<_> = told.flat_map(|outcome| outcome.reasons.clone()).collect();
        assert!(
            reasons.iter().any(|words| words == "the list of accounts has no end"),
            "{reasons:?}"
        );
        // Everything else goes on, and the next look is at its time.
        world.accounts.insert(hidden, kept);
        world.change(person(1).version(5).titled("B"));
        world.pass(60);
        assert_eq!(world.writes, ["update r1 [\"title\"]"]);
        world.pass(7 * DAY);
        assert_eq!(world.lane.status().drift.unwrap().not_listed, None);
    }
}

#[test]
fn an_account_that_carries_anothers_key_is_told_of_and_left_to_an_operator() {
    let mut world = three(DriftMode::Repair);
    let theirs = user_key(9).user.to_string();
    set(&mut world, 1, "externalId", json!(theirs));
    set(&mut world, 1, "title", json!("Boss"));
    set(&mut world, 2, "externalId", json!("somebody@acme.example"));
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.wrong, report.changed, report.missing), (2, 0, 0));
    let said = said(&world);
    assert!(
        said.contains(&format!("the account carries the key of another person: {theirs}")),
        "{said:?}"
    );
    assert!(
        said.contains(&"the account carries the key of another person: not one of ours".to_owned()),
        "what is no id may be anything, an address included: {said:?}"
    );
    // It is not written, however often it is looked at, until somebody says whose it is.
    world.pass(21 * DAY);
    assert_eq!(world.writes, Vec::<String>::new());
    assert_eq!(world.lane.links.linked(), 3);
    order(&mut world, 0, Verb::Unlink { user: user_key(1) });
    assert!(world.lane.links.holder(&RemoteId("r1".into())).is_none());
}

#[test]
fn a_repair_that_would_switch_off_many_is_held_like_every_other_removal() {
    let mut world = World::new(TargetPolicy {
        drift: Some(Drift {
            every: Duration::from_secs(7 * 86_400),
            mode: DriftMode::Repair,
        }),
        reconcile: Duration::from_secs(60 * 86_400),
        ..guarded()
    });
    for n in 1..=40 {
        world.change(person(n));
    }
    world.pass(2 * DAY);
    order(
        &mut world,
        0,
        Verb::Allow {
            removals: 20,
            for_seconds: 3600,
        },
    );
    for n in 1..=20 {
        world.change(person(n).version(2).inactive());
    }
    // Long ago by the time of the look: the windows of the guard have forgotten it.
    world.pass(4 * DAY);
    assert_eq!((off(&world), world.lane.status().held), (20, 0));

    // Somebody switches them all on again by hand, and makes accounts of nobody.
    for n in 1..=20 {
        set(&mut world, n, "active", json!(true));
    }
    for n in 0..3 {
        let on = (AttributePath("active".to_owned()), json!(true));
        world.accounts.insert(format!("x{n}"), [on].into());
    }
    world.writes.clear();
    world.outcomes.clear();
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.changed, report.unmanaged), (20, 3));
    let limit = guarded().guard.removals.at_least;
    let status = world.lane.status();
    assert_eq!(
        (off(&world) as u64, status.held as u64),
        (limit, 20 - limit),
        "{:?}",
        world.writes
    );
    let set = the_set(&world);
    assert_eq!(status.held_sets[&set].members as u64, 20 - limit);
    let held = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.user.is_some() && outcome.result == OutcomeResult::Held);
    assert_eq!(held.count() as u64, 20 - limit);
    // Looking again neither writes nor holds more.
    world.pass(7 * DAY);
    assert_eq!(off(&world) as u64, limit);
    order(&mut world, 1, Verb::Approve { set });
    world.pass(60);
    assert_eq!((off(&world), world.lane.status().held), (20, 0));
    assert!((0..3).all(|n| world.accounts[&format!("x{n}")].len() == 1), "nobody's");
}

#[test]
fn what_is_unmanaged_is_counted_and_never_written_even_when_it_looks_like_somebody() {
    let mut world = World::new(looking(DriftMode::Repair));
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(2 * DAY);
    // An account of nobody's that has the name and the address of somebody who is linked to another one.
    let account = world.accounts["r1"].clone();
    world.accounts.insert("x1".into(), account.clone());
    let mut gone = person(1).version(2);
    gone.user.title = Known::Value("B".into());
    world.change(gone);
    world.pass(8 * DAY);
    assert_eq!(world.lane.status().drift.unwrap().unmanaged, 1);
    assert_eq!(world.accounts["x1"], account);
    assert!(
        world.writes.iter().all(|write| !write.contains("x1")),
        "{:?}",
        world.writes
    );
}
