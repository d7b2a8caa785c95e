//! The look at the whole target: what others have changed there.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use crate::{
    connector::{Failure, Operation},
    logic::{
        account::AttributePath,
        policy::{Drift, DriftMode, Mode, TargetPolicy, USER_NAME},
        testing::{Change, person, policy, user_key},
    },
};

pub(super) const DAY: i64 = 86_400;

pub(super) fn looking(mode: DriftMode) -> TargetPolicy {
    TargetPolicy {
        drift: Some(Drift {
            every: Duration::from_secs(7 * 86_400),
            mode,
        }),
        reconcile: Duration::from_secs(30 * 86_400),
        ..policy()
    }
}

/// Three people with accounts, the third has left.
pub(super) fn three(mode: DriftMode) -> World {
    let mut world = World::new(looking(mode));
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(60);
    world.change(person(3).version(2).inactive());
    world.pass(DAY);
    world.writes.clear();
    world.outcomes.clear();
    world
}

pub(super) fn account(world: &World, n: u32) -> String {
    world.lane.links.get(&user_key(n)).unwrap().remote_id.clone().unwrap().0
}

pub(super) fn set(world: &mut World, n: u32, name: &str, value: Value) {
    let id = account(world, n);
    world
        .accounts
        .get_mut(&id)
        .unwrap()
        .insert(AttributePath(name.to_owned()), value);
}

fn get(world: &World, n: u32, name: &str) -> Value {
    world.accounts[&account(world, n)][&AttributePath(name.to_owned())].clone()
}

pub(super) fn said(world: &World) -> Vec<String> {
    world
        .outcomes
        .iter()
        .filter(|outcome| outcome.action == "drift" && outcome.user.is_some())
        .map(|outcome| outcome.reasons.join("; "))
        .collect()
}

#[test]
fn report_tells_what_differs_and_writes_nothing() {
    let mut world = three(DriftMode::Report);
    set(&mut world, 1, "title", json!("Boss"));
    set(&mut world, 3, "active", json!(true));
    world.accounts.insert("x".into(), [].into());
    world.pass(7 * DAY);
    assert_eq!(world.writes, Vec::<String>::new());
    let report = world.lane.status().drift.unwrap();
    assert_eq!(
        (report.accounts, report.changed, report.unmanaged, report.missing),
        (4, 2, 1, 0)
    );
    let said = said(&world);
    assert!(said.iter().any(|words| words == "changed by others: title"), "{said:?}");
    assert!(
        said.iter().any(|words| words.contains("was switched off and is on")),
        "{said:?}"
    );
}

#[test]
fn repair_writes_what_others_changed_and_leaves_unmanaged_accounts_alone() {
    let mut world = three(DriftMode::Repair);
    set(&mut world, 1, "title", json!("Boss"));
    set(&mut world, 2, "active", json!(false));
    set(&mut world, 3, "active", json!(true));
    world.accounts.insert("x".into(), [].into());
    world.pass(7 * DAY);
    world.pass(60);
    assert_eq!(get(&world, 1, "title"), json!("AE"));
    assert_eq!(get(&world, 2, "active"), json!(true));
    assert_eq!(get(&world, 3, "active"), json!(false));
    assert!(world.accounts["x"].is_empty());
    // The next look finds nothing.
    world.outcomes.clear();
    world.pass(7 * DAY);
    assert_eq!(said(&world), Vec::<String>::new());
}

#[test]
fn whoever_is_only_linked_is_looked_at_and_nothing_is_written_even_to_repair() {
    let mut world = World::new(TargetPolicy {
        mode: Mode::Link,
        ..looking(DriftMode::Repair)
    });
    for n in 1..=2 {
        let name = (AttributePath(USER_NAME.to_owned()), json!(format!("u{n}@acme.example")));
        let on = (AttributePath("active".to_owned()), json!(true));
        world.accounts.insert(format!("r{n}"), [name, on].into());
        world.change(person(n));
    }
    world.pass(60);
    world.accounts.insert("x".into(), [].into());
    world.accounts.remove("r2");
    set(&mut world, 1, "active", json!(false));
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.accounts, report.missing, report.unmanaged), (2, 1, 1));
    assert!(
        said(&world)
            .iter()
            .any(|words| words.contains("was left on and is off"))
    );
    // Nor is it said that it was.
    assert!(!said(&world).iter().any(|words| words.contains("written again")));
    world.pass(DAY);
    assert_eq!((world.writes.clone(), world.lane.links.linked()), (Vec::new(), 2));
}

#[test]
fn somebody_whose_account_was_deleted_gets_a_new_one() {
    let mut world = three(DriftMode::Repair);
    let gone = account(&world, 1);
    world.accounts.remove(&gone);
    world.pass(7 * DAY);
    world.pass(600);
    assert_eq!(world.lane.status().drift.unwrap().missing, 1);
    assert!(world.accounts.contains_key(&account(&world, 1)));
    assert_eq!(world.lane.links.linked(), 3);
}

#[test]
fn what_a_target_changes_each_time_is_refused_after_three_corrections() {
    let mut world = three(DriftMode::Repair);
    for week in 0..6 {
        set(&mut world, 1, "title", json!(format!("Boss {week}")));
        world.pass(7 * DAY);
        world.pass(60);
    }
    let titles = world.writes.iter().filter(|write| write.contains("title")).count();
    assert_eq!(titles, 3, "{:?}", world.writes);
    assert!(said(&world).iter().any(|words| words.contains("refused by the target")));
    // Another value is another matter.
    world.change(person(1).version(5).titled("New"));
    world.pass(60);
    assert_eq!(get(&world, 1, "title"), json!("New"));
}

#[test]
fn an_empty_or_broken_list_says_nothing_about_anybody() {
    let mut world = three(DriftMode::Repair);
    let accounts = std::mem::take(&mut world.accounts);
    world.pass(7 * DAY);
    assert_eq!(said(&world), Vec::<String>::new());
    world.accounts = accounts;
    world.pass(6 * DAY);
    // The next look is answered with errors only.
    world.now = world.lane.next_wake().unwrap();
    world.give(crate::logic::lane::Input::Tick);
    for _ in 0..20 {
        if let Some((id, Operation::List { .. })) = world.open.first().cloned() {
            world.end(id, Err(Failure::Reject(super::world::refusal("http-501"))));
        }
        world.commit();
    }
    world.settle();
    assert_eq!(said(&world), Vec::<String>::new());
    assert!(world.lane.status().drift.unwrap().not_listed.is_some());
    assert_eq!(world.writes, Vec::<String>::new());
}
