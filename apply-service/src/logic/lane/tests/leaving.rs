//! Leaving on a date, and what becomes of an account that has been off for long.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;
use usher_contract::{ChangeKind, UserChange};

use super::super::*;
use super::world::World;
use crate::logic::{
    guard::{Guard, RemovalLimit},
    policy::TargetPolicy,
    source::SourceField,
    termination::Termination,
    testing::{Change, person, policy, user_key},
};

const DAY: i64 = 24 * 3600;

fn leaving_on_a_date() -> TargetPolicy {
    let mut target = policy();
    target.lifecycle.termination = Some(Termination {
        field: SourceField::named("custom.End__c").unwrap(),
        end_of_day: true,
        zone: Some(TimeZone::UTC),
        fallback: TimeZone::UTC,
    });
    target
}

/// A state with an end so many days after the beginning of the test.
fn ending(world: &World, n: u32, version: u64, days: Option<i64>) -> UserChange {
    let mut change = person(n).version(version);
    let date = |days: i64| {
        world
            .begun
            .checked_add(jiff::SignedDuration::from_secs(days * DAY))
            .unwrap()
            .to_zoned(TimeZone::UTC)
            .date()
            .to_string()
    };
    change
        .user
        .custom
        .insert("End__c".into(), days.map_or(Value::Null, |days| date(days).into()));
    change
}

fn is_on(world: &World, n: u32) -> Option<bool> {
    world.lane.links.get(&user_key(n)).and_then(|link| link.active)
}

#[test]
fn a_termination_date_acts_on_its_day_and_follows_when_it_is_moved_or_taken_back() {
    let mut world = World::new(leaving_on_a_date());
    for n in 1..=4 {
        let days = (n > 1).then_some(3);
        world.change(ending(&world, n, 1, days));
    }
    world.pass(DAY);
    assert!((1..=4).all(|n| is_on(&world, n) == Some(true)), "not on receipt");
    world.change(ending(&world, 2, 2, Some(10)));
    world.change(ending(&world, 3, 2, None));
    world.pass(4 * DAY);
    assert_eq!(
        [1, 2, 3, 4].map(|n| is_on(&world, n)),
        [Some(true), Some(true), Some(true), Some(false)]
    );
    let outcome = world
        .outcomes
        .iter()
        .rfind(|outcome| outcome.action == "deactivate")
        .unwrap();
    assert_eq!(
        (outcome.user, outcome.reasons[0].as_str()),
        (Some(user_key(4)), "the termination date has come")
    );
    // Taken back afterwards: the same account comes back.
    let account = world.lane.links.get(&user_key(4)).unwrap().remote_id.clone();
    world.change(ending(&world, 4, 2, None));
    world.pass(60);
    assert_eq!(is_on(&world, 4), Some(true));
    assert_eq!(world.lane.links.get(&user_key(4)).unwrap().remote_id, account);
    world.pass(8 * DAY);
    assert_eq!(is_on(&world, 2), Some(false), "moved, not forgotten");
    // Past dates count at once, and nobody is made for one.
    world.change(ending(&world, 5, 1, Some(-30)));
    world.change(ending(&world, 1, 2, Some(-30)));
    world.pass(60);
    assert_eq!((is_on(&world, 1), is_on(&world, 5)), (Some(false), None));
}

#[test]
fn a_date_wakes_whom_it_concerns_at_its_very_moment() {
    let mut target = leaving_on_a_date();
    target.reconcile = Duration::from_secs(365 * 24 * 3600);
    let mut world = World::new(target);
    world.change(ending(&world, 1, 1, Some(3)));
    // The test begins at eight in the morning, and the day ends at midnight.
    world.pass(3 * DAY + 16 * 3600 - 1);
    assert_eq!(is_on(&world, 1), Some(true));
    world.pass(1);
    assert_eq!(is_on(&world, 1), Some(false));
}

#[test]
fn a_date_survives_a_restart_and_a_rehire_is_not_locked_out_again() {
    let mut world = World::new(leaving_on_a_date());
    world.change(ending(&world, 1, 1, Some(2)));
    world.pass(DAY);
    world.restart();
    world.pass(3 * DAY);
    assert_eq!(is_on(&world, 1), Some(false), "on its day, after a restart");
    world.change(ending(&world, 1, 2, Some(2)).inactive());
    world.pass(30 * DAY);
    let mut back = ending(&world, 1, 3, Some(2));
    back.kind = ChangeKind::Reactivated;
    back.cause.committed_at = Some(world.now);
    world.change(back);
    world.pass(60);
    assert_eq!(is_on(&world, 1), Some(true), "the date is of before");
    let reasons = &world
        .outcomes
        .iter()
        .rfind(|outcome| outcome.action == "reactivate")
        .unwrap()
        .reasons;
    assert!(
        reasons.iter().any(|reason| reason.contains("it does not count")),
        "{reasons:?}"
    );
    // Later edits do not bring it up again, a new date does.
    world.restart();
    world.change(ending(&world, 1, 4, Some(2)).titled("AE"));
    world.pass(DAY);
    assert_eq!(is_on(&world, 1), Some(true));
    world.change(ending(&world, 1, 5, Some(40)));
    world.pass(20 * DAY);
    assert_eq!(is_on(&world, 1), Some(false));
}

#[test]
fn an_account_is_deleted_its_time_after_it_was_switched_off_through_the_guard_and_not_otherwise() {
    let mut target = policy();
    target.features.delete = true;
    target.lifecycle.delete_after = Some(Duration::from_secs(30 * 24 * 3600));
    target.guard = Guard {
        windows: vec![Duration::from_secs(3600)],
        removals: RemovalLimit {
            percent: 0,
            at_least: 2,
            at_most: 2,
        },
        ..Guard::default()
    };
    let mut world = World::new(target);
    for n in 1..=6 {
        world.change(person(n));
    }
    world.pass(60);
    for n in 1..=2 {
        world.change(person(n).version(2).inactive());
    }
    world.pass(2 * 3600);
    world.change(person(3).version(2).inactive());
    world.pass(10 * DAY);
    world.change(person(3).version(3));
    world.pass(25 * DAY);
    let deleted = |world: &World| world.writes.iter().filter(|write| write.starts_with("delete")).count();
    assert_eq!(
        (deleted(&world), world.accounts.len()),
        (2, 4),
        "who came back keeps the account"
    );
    assert!((1..=2).all(|n| world.lane.links.get(&user_key(n)).unwrap().remote_id.is_none()));
    // More than the guard lets through at once are held.
    for n in 4..=6 {
        world.change(person(n).version(2).inactive());
        world.pass(2 * 3600);
    }
    world.pass(29 * DAY + 16 * 3600);
    assert_eq!(deleted(&world), 2);
    world.now = world
        .now
        .checked_add(jiff::SignedDuration::from_secs(12 * 3600))
        .unwrap();
    world.give(Input::Tick);
    world.settle();
    assert_eq!((deleted(&world), world.lane.status().held), (4, 1));
    // Somebody deleted who comes back gets a new account.
    world.change(person(1).version(3));
    world.pass(60);
    assert!(world.lane.links.get(&user_key(1)).unwrap().remote_id.is_some());
}

#[test]
fn every_account_that_is_only_kept_is_counted_as_long_as_it_is() {
    let mut target = policy();
    target.lifecycle.inactive = crate::logic::policy::Disposition::Keep;
    let mut world = World::new(target);
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(60);
    assert_eq!(world.lane.status().kept, 0);
    world.change(person(1).version(2).inactive());
    world.change(person(2).version(2).inactive().named("new@acme.example"));
    world.pass(60);
    assert_eq!(
        (world.lane.status().kept, is_on(&world, 1), is_on(&world, 2)),
        (2, Some(true), Some(true))
    );
    world.restart();
    assert_eq!(world.lane.status().kept, 2, "a standing warning");
    world.change(person(1).version(3));
    world.pass(60);
    assert_eq!(world.lane.status().kept, 1);
}
