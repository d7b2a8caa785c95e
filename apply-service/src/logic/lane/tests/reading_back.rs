//! The look at the whole target through another interface, with ids of its own: what is found, what follows from nothing, and that
//! nobody's provisioning depends on it.

use std::time::Duration;

use serde_json::{Value, json};
use usher_contract::StateHash;

use super::world::{World, refusal};
use crate::{
    connector::{Failure, Operation},
    logic::{
        account::{AttributePath, RemoteId},
        drift::{Finding, compare},
        lane::{Answer, Input},
        link::Written,
        matching::Seen,
        policy::{Drift, DriftMode, Mode, TargetPolicy, USER_NAME},
        read_back::ReadBack,
        testing::{Change, person, policy, seen, user_key},
    },
};

const DAY: i64 = 86_400;

fn path(name: &str) -> AttributePath {
    AttributePath(name.to_owned())
}

/// Names are compared nowhere, titles are; what is written shows after ten minutes.
fn reading(mode: DriftMode) -> TargetPolicy {
    TargetPolicy {
        drift: Some(Drift {
            every: Duration::from_secs(7 * 86_400),
            mode,
        }),
        read_back: Some(ReadBack {
            by: path(USER_NAME),
            compares: [path("title")].into(),
            delay: Duration::from_secs(600),
        }),
        reconcile: Duration::from_secs(30 * 86_400),
        ..policy()
    }
}

/// Three people with accounts, the third has left.
fn three(mode: DriftMode) -> World {
    let mut world = World::new(reading(mode));
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

fn account(world: &World, n: u32) -> String {
    world.lane.links.get(&user_key(n)).unwrap().remote_id.clone().unwrap().0
}

fn set(world: &mut World, n: u32, name: &str, value: Value) {
    let id = account(world, n);
    world.accounts.get_mut(&id).unwrap().insert(path(name), value);
}

fn said(world: &World) -> Vec<String> {
    let about = |outcome: &&usher_contract::Outcome| outcome.action == "drift" && outcome.user.is_some();
    world
        .outcomes
        .iter()
        .filter(about)
        .map(|outcome| outcome.reasons.join("; "))
        .collect()
}

/// Time passes until the look asks for its page.
fn asks(world: &mut World) -> u64 {
    while world.open.is_empty() {
        world.now = world.lane.next_wake().unwrap().max(world.now);
        world.give(Input::Tick);
        world.commit();
    }
    let (id, operation) = world.pop();
    assert!(matches!(operation, Operation::ReadBack { .. }), "{operation:?}");
    id
}

#[test]
fn everything_that_others_have_done_is_found_under_the_ids_of_the_links() {
    let mut world = three(DriftMode::Report);
    world
        .accounts
        .insert("x".into(), [(path(USER_NAME), json!("x@acme.example"))].into());
    set(&mut world, 1, "title", json!("Boss"));
    set(&mut world, 3, "active", json!(true));
    let gone = account(&world, 2);
    world.accounts.remove(&gone);
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!(
        (
            report.accounts,
            report.changed,
            report.missing,
            report.unmanaged,
            report.wrong
        ),
        (3, 2, 1, 1, 0)
    );
    assert!(report.read_back);
    let mut said = said(&world);
    said.sort();
    assert_eq!(
        said,
        [
            "changed by others: title",
            "the account was switched off and is on",
            "the target does not list the account any more"
        ]
    );
    assert_eq!(world.writes, Vec::<String>::new());
}

#[test]
fn what_the_other_interface_does_not_show_is_no_difference() {
    let mut world = three(DriftMode::Report);
    for n in 1..=2 {
        let id = account(&world, n);
        world.accounts.get_mut(&id).unwrap().remove(&path("name.familyName"));
    }
    world.pass(7 * DAY);
    assert_eq!(said(&world), Vec::<String>::new());
    assert_eq!(world.lane.status().drift.unwrap().changed, 0);
}

#[test]
fn repairs_are_written_where_everything_is_written() {
    let mut world = three(DriftMode::Repair);
    set(&mut world, 1, "title", json!("Boss"));
    set(&mut world, 2, "active", json!(false));
    let (one, two) = (account(&world, 1), account(&world, 2));
    world.pass(7 * DAY);
    world.pass(60);
    assert_eq!(world.accounts[&one][&path("title")], json!("AE"));
    assert_eq!(world.accounts[&two][&path("active")], json!(true));
    assert!(
        world.writes.iter().all(|write| !write.contains("other")),
        "{:?}",
        world.writes
    );
}

#[test]
fn another_customers_accounts_say_nothing_about_ours() {
    let mut world = three(DriftMode::Repair);
    let ours = std::mem::take(&mut world.accounts);
    for n in 1..=3 {
        let name = json!(format!("u{n}@elsewhere.example"));
        world.accounts.insert(format!("f{n}"), [(path(USER_NAME), name)].into());
    }
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.accounts, report.missing, said(&world).len()), (3, 0, 0));
    assert!(report.not_listed.unwrap().contains("another customer"));
    // Nor does a list without anybody.
    world.accounts.clear();
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.accounts, report.missing), (0, 0));
    assert!(report.not_listed.is_some());
    world.accounts = ours;
    assert_eq!(world.writes, Vec::<String>::new());
}

#[test]
fn an_interface_that_does_not_work_stops_nothing_but_the_look() {
    let mut world = three(DriftMode::Repair);
    let id = asks(&mut world);
    world.end(id, Err(Failure::Halt(refusal("http-401"))));
    world.settle();
    let status = world.lane.status();
    assert!(status.drift.unwrap().not_listed.unwrap().contains("because (http-401)"));
    assert!(world.lane.circuit.is_closed());
    world.change(person(1).version(2).titled("VP"));
    world.settle();
    assert_eq!(world.writes, ["update r1 [\"title\"]"]);
}

#[test]
fn whoever_was_written_a_moment_ago_is_compared_the_next_time() {
    for (before, found) in [(300, 0), (900, 1)] {
        let mut world = three(DriftMode::Report);
        world.pass(6 * DAY - before);
        world.change(person(1).version(2).titled("VP"));
        world.settle();
        // What is shown is not yet what was written.
        set(&mut world, 1, "title", json!("AE"));
        world.pass(before + 1);
        assert_eq!(said(&world).len(), found, "{before} s before the look");
        world.pass(7 * DAY);
        assert!(said(&world).len() > found, "{before}");
    }
}

#[test]
fn whoever_gets_another_address_or_an_account_while_the_list_is_read_is_not_missing() {
    let mut world = three(DriftMode::Report);
    // The delay is no help against a list that takes long.
    let mut target = reading(DriftMode::Report);
    target.read_back.as_mut().unwrap().delay = Duration::from_secs(1);
    world.lane.target = std::sync::Arc::new(target);
    let id = asks(&mut world);
    let Answer::Page(mut first, _) = world.answer(&Operation::ReadBack { cursor: None }) else {
        panic!("a page");
    };
    first.retain(|seen| seen.id == RemoteId(format!("other-{}", account(&world, 3))));
    // The first page is on its way, and everybody else of it already has another name.
    world.open.clear();
    let later = |world: &mut World| world.now = world.now.checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    later(&mut world);
    world.change(person(1).version(2).named("renamed@acme.example"));
    world.change(person(4));
    world.settle();
    later(&mut world);
    world.end(id, Ok(Answer::Page(first, Some("2".to_owned()))));
    let (id, operation) = world.pop();
    assert_eq!(
        operation,
        Operation::ReadBack {
            cursor: Some("2".into())
        }
    );
    let Answer::Page(second, _) = world.answer(&operation) else {
        panic!("a page");
    };
    world.end(id, Ok(Answer::Page(second, None)));
    world.settle();
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.accounts, report.missing), (4, 0), "{:?}", said(&world));
}

#[test]
fn where_accounts_are_only_linked_they_are_listed_where_they_were_linked() {
    let mut world = World::new(TargetPolicy {
        mode: Mode::Link,
        ..reading(DriftMode::Report)
    });
    let name = (path(USER_NAME), json!("u1@acme.example"));
    world
        .accounts
        .insert("r1".into(), [name, (path("active"), json!(true))].into());
    world.change(person(1));
    world.pass(60);
    set(&mut world, 1, "active", json!(false));
    world.pass(7 * DAY);
    let report = world.lane.status().drift.unwrap();
    assert_eq!((report.accounts, report.changed, report.read_back), (1, 1, false));
}

#[test]
fn another_interface_may_show_a_value_as_it_was_sent_or_as_the_written_one_did() {
    let target = reading(DriftMode::Report);
    let hash = |text: &str| StateHash::of_value(&json!(text));
    let mut link = three(DriftMode::Report).lane.links.get(&user_key(1)).unwrap();
    link.written
        .insert(path("title"), Written::now(hash("AE "), Some(hash("AE")), None));
    let found = |shown: &str, read_back: Option<&ReadBack>| {
        let account = Seen {
            values: [(path("title"), json!(shown))].into(),
            external_id: None,
            active: Some(true),
            ..seen("r1", 1)
        };
        let finding = compare(&user_key(1), &link, &account, &target, read_back);
        matches!(finding, Some(Finding::Changed(paths)) if paths.contains(&path("title")))
    };
    let elsewhere = target.read_back.as_ref();
    assert_eq!(
        ["AE ", "AE", "Boss"].map(|shown| found(shown, elsewhere)),
        [false, false, true]
    );
    assert_eq!(
        ["AE ", "AE", "Boss"].map(|shown| found(shown, None)),
        [true, false, true]
    );
}
