//! What options of a policy do to an account over its life: written once, left to managers, the hierarchy, manual settings on a
//! move, log-in by access policy, deleting over a restart, one address for two.

use std::time::Duration;

use serde_json::{Value, json};
use usher_contract::{GroupRef, Known, StateHash};
use usher_filter::{Fields, Filter};

use super::super::*;
use super::world::World;
use crate::logic::{
    account::AttributePath,
    assignments::Assignment,
    policy::{AttributeRule, Drift, DriftMode, TargetPolicy, ValueSource, Write},
    scope::{Access, Members},
    source::SourceField,
    termination::Termination,
    testing::{Change, person, policy, row, user_key},
};

const DAY: i64 = 24 * 3600;

fn holds(world: &World, n: u32, path: &str) -> Option<Value> {
    let account = world.lane.links.get(&user_key(n))?.remote_id.clone()?;
    let value = world.accounts[&account.0].get(&AttributePath(path.to_owned()));
    value.filter(|value| !value.is_null()).cloned()
}

/// Somebody else changes an account at the application.
fn by_hand(world: &mut World, n: u32, path: &str, value: &str) {
    let account = world.lane.links.get(&user_key(n)).unwrap().remote_id.unwrap();
    let values = world.accounts.get_mut(&account.0).unwrap();
    values.insert(AttributePath(path.to_owned()), json!(value));
}

/// The same people and accounts under another policy.
fn edited(world: &mut World, change: impl FnOnce(&mut TargetPolicy)) {
    let mut target = (*world.lane.target).clone();
    change(&mut target);
    target.hash = StateHash::of_text(&format!("{target:?}"));
    world.lane.target = Arc::new(target);
    world.restart();
}

fn constant(path: &str, value: &str) -> AttributeRule {
    AttributeRule {
        source: ValueSource::Constant(json!(value)),
        ..row(path, &["title"])
    }
}

fn assignment(name: &str, department: &str, rows: Vec<AttributeRule>) -> Assignment {
    Assignment {
        name: name.to_owned(),
        filter: Some(Filter::parse(&format!("Department = '{department}'"), &Fields::default()).unwrap()),
        manual: false,
        apply_on_change: false,
        settings: StateHash::of_text(&format!("{rows:?}")),
        rows,
        capture: [].into(),
        pending: vec![],
        waiting: [].into(),
        since: None,
    }
}

fn of(n: u32, version: u64, department: &str) -> UserChange {
    let mut change = person(n).version(version);
    change.user.department = Known::Value(department.to_owned());
    change
}

fn repairing(mut target: TargetPolicy) -> TargetPolicy {
    target.drift = Some(Drift {
        every: Duration::from_secs(24 * 3600),
        mode: DriftMode::Repair,
    });
    target
}

#[test]
fn what_is_written_with_new_accounts_alone_is_written_once_and_never_to_an_account_that_was_there() {
    let mut target = repairing(policy());
    let title = target
        .attributes
        .iter_mut()
        .find(|rule| rule.path.0 == "title")
        .unwrap();
    title.write = Write::OnCreate;
    let mut world = World::new(target);
    let there = [("userName", "u2@acme.example"), ("title", "theirs")];
    let there = there.map(|(path, value)| (AttributePath(path.to_owned()), json!(value)));
    world.accounts.insert("there".to_owned(), there.into());
    world.change(person(1).titled("AE"));
    world.change(person(2).titled("AE"));
    world.pass(60);
    assert_eq!(
        [1, 2].map(|n| holds(&world, n, "title")),
        [Some(json!("AE")), Some(json!("theirs"))]
    );
    for n in 1..=2 {
        world.change(person(n).version(2).titled("CEO").named("other@acme.example"));
        world.pass(60);
        world.change(person(n).version(3).titled("CEO").inactive());
        world.pass(60);
        world.change(person(n).version(4).titled("CFO"));
        world.pass(60);
    }
    by_hand(&mut world, 1, "title", "by hand");
    world.pass(3 * DAY);
    assert_eq!(
        [1, 2].map(|n| holds(&world, n, "title")),
        [Some(json!("by hand")), Some(json!("theirs"))],
        "neither a change nor a return nor the look at everybody writes it again"
    );
}

#[test]
fn what_managers_have_set_is_not_reverted_while_they_control_it() {
    // As the loader makes rows of settings that are marked capture, with the option and without.
    for controlled in [true, false] {
        let mut calls = constant("calls", "on");
        if controlled {
            calls.write = Write::OnCreate;
        }
        let mut target = repairing(policy());
        target.assignments = vec![Assignment {
            filter: None,
            capture: [calls.path.clone()].into(),
            ..assignment("all", "x", vec![calls, constant("license", "pro")])
        }];
        let mut world = World::new(target);
        world.change(person(1));
        world.pass(60);
        assert_eq!(holds(&world, 1, "calls"), Some(json!("on")), "the start is ours");
        by_hand(&mut world, 1, "calls", "off");
        by_hand(&mut world, 1, "license", "by hand");
        world.pass(3 * DAY);
        world.change(person(1).version(2).titled("CEO"));
        world.pass(60);
        let expected = if controlled { "off" } else { "on" };
        assert_eq!(
            holds(&world, 1, "calls"),
            Some(json!(expected)),
            "controlled: {controlled}"
        );
        assert_eq!(holds(&world, 1, "license"), Some(json!("pro")), "everything else is");
    }
}

#[test]
fn the_hierarchy_of_the_application_is_its_own_while_it_is_ignored_and_follows_again_afterwards() {
    const MANAGER: &str = "manager.value";
    let mut world = World::new(repairing(policy()));
    let managed = |version: u64, by: u32| {
        let mut change = person(1).version(version);
        change.user.manager_id = Known::Value(user_key(by).user);
        change
    };
    let reference = || row(MANAGER, &["manager"]);
    edited(&mut world, |target| target.attributes.push(reference()));
    for n in 2..=3 {
        world.change(person(n));
    }
    world.change(managed(1, 2));
    world.pass(60);
    let id = |world: &World, n: u32| {
        let link = world.lane.links.get(&user_key(n)).unwrap();
        link.remote_id.map(|id| json!(id.0))
    };
    assert_eq!(holds(&world, 1, MANAGER), id(&world, 2));
    // `organization: { managers: false }` takes the row out.
    edited(&mut world, |target| {
        target.attributes.retain(|rule| rule.path.0 != MANAGER)
    });
    by_hand(&mut world, 1, MANAGER, "theirs");
    world.change(managed(2, 3).titled("CEO"));
    world.pass(3 * DAY);
    assert_eq!(holds(&world, 1, MANAGER), Some(json!("theirs")));
    assert_eq!(
        holds(&world, 1, "title"),
        Some(json!("CEO")),
        "everything else is written"
    );
    edited(&mut world, |target| target.attributes.push(reference()));
    world.pass(2 * DAY);
    assert_eq!(holds(&world, 1, MANAGER), id(&world, 3), "taken back at any time");
}

#[test]
fn a_move_into_a_manual_assignment_writes_none_of_its_settings_and_takes_none_back() {
    let mut target = policy();
    target.assignments = vec![
        assignment(
            "sellers",
            "Sales",
            vec![constant("license", "pro"), constant("workspace", "main")],
        ),
        Assignment {
            manual: true,
            ..assignment("support", "Support", vec![constant("license", "basic")])
        },
    ];
    let mut world = World::new(target);
    world.change(of(1, 1, "Sales"));
    world.change(of(2, 1, "Support"));
    world.pass(60);
    assert_eq!(
        holds(&world, 2, "license"),
        Some(json!("basic")),
        "with a new account they are written"
    );
    world.change(of(1, 2, "Support"));
    world.pass(60);
    let both = |world: &World| (holds(world, 1, "license"), holds(world, 1, "workspace"));
    assert_eq!(both(&world), (Some(json!("pro")), Some(json!("main"))));
    assert_eq!(
        world.lane.links.get(&user_key(1)).unwrap().assignment.unwrap().name,
        "support"
    );
    world.change(of(1, 3, "Support").inactive());
    world.pass(60);
    world.change(of(1, 4, "Support"));
    world.pass(2 * DAY);
    assert_eq!(both(&world), (Some(json!("pro")), Some(json!("main"))));
    // Back in an automatic one everything is ours again.
    by_hand(&mut world, 1, "license", "by hand");
    world.change(of(1, 5, "Sales"));
    world.pass(60);
    assert_eq!(both(&world), (Some(json!("pro")), Some(json!("main"))));
}

#[test]
fn the_way_somebody_logs_in_is_at_the_account_and_follows_the_group_that_lets_them_in() {
    let access = |group: &str, login: &str| Access {
        name: group.to_owned(),
        group: group.to_owned(),
        login: Some(login.to_owned()),
        members: Members::of(group),
        rows: vec![constant("login", login)],
    };
    let mut target = policy();
    target.scope.access = vec![access("Staff", "password"), access("Guests", "link")];
    let mut world = World::new(target);
    let member = |version: u64, groups: &[&str]| {
        let mut change = person(1).version(version);
        let of = |(number, name): (usize, &&str)| GroupRef {
            id: format!("00G{:012}", number + 1).parse().unwrap(),
            name: Known::Value((*name).to_owned()),
            direct: false,
        };
        change.user.groups = Known::Value(groups.iter().enumerate().map(of).collect());
        change
    };
    for (version, groups, expected) in [
        (1, &["Guests"][..], Some("link")),
        (2, &["Guests", "Staff"], Some("password")),
        (3, &["Staff"], Some("password")),
        (4, &["Guests"], Some("link")),
    ] {
        world.change(member(version, groups));
        world.pass(60);
        assert_eq!(
            holds(&world, 1, "login"),
            expected.map(|login| json!(login)),
            "{groups:?}"
        );
    }
    world.change(member(5, &["Others"]));
    world.pass(60);
    assert_eq!(world.lane.links.get(&user_key(1)).unwrap().active, Some(false));
}

#[test]
fn the_time_until_an_account_is_deleted_goes_on_over_restarts() {
    let mut target = policy();
    target.features.delete = true;
    target.lifecycle.delete_after = Some(Duration::from_secs(30 * 24 * 3600));
    let mut world = World::new(target);
    world.change(person(1));
    world.change(person(2));
    world.pass(60);
    world.change(person(1).version(2).inactive());
    world.pass(60);
    let off = world.now;
    let deleted = |world: &World| world.writes.iter().filter(|write| write.starts_with("delete")).count();
    for day in 1..30 {
        world.restart();
        world.pass(DAY);
        assert_eq!(deleted(&world), 0, "day {day}");
    }
    // A state that says nothing new does not begin anew.
    world.change(person(1).version(3).inactive());
    world.restart();
    world.pass(DAY);
    assert_eq!((deleted(&world), world.accounts.len()), (1, 1));
    let end = off.checked_add(jiff::SignedDuration::from_secs(31 * DAY)).unwrap();
    assert!(world.now <= end, "{} after {end}", world.now);
}

#[test]
fn somebody_who_leaves_on_a_date_gives_the_address_free_on_that_day_and_no_account() {
    let mut target = policy();
    target.gate.convert_to = Some("acme.com".into());
    target
        .attributes
        .push(row("emails[type eq \"work\"].value", &["email"]));
    target.lifecycle.termination = Some(Termination {
        field: SourceField::named("custom.End__c").unwrap(),
        end_of_day: true,
        zone: Some(jiff::tz::TimeZone::UTC),
        fallback: jiff::tz::TimeZone::UTC,
    });
    let mut world = World::new(target);
    let with = |n: u32, version: u64, email: &str, end: Option<&str>| {
        let mut change = person(n).version(version);
        change.user.email = Known::Value(email.to_owned());
        let end = end.map_or(Value::Null, |end| json!(end));
        change.user.custom.insert("End__c".into(), end);
        change
    };
    // The tests' time begins on 15 January 2027.
    world.change(with(1, 1, "ada@old.example", Some("2027-01-17")));
    world.pass(60);
    let account = |world: &World, n: u32| world.lane.links.get(&user_key(n)).and_then(|link| link.remote_id);
    let first = account(&world, 1);
    assert!(first.is_some());
    world.change(with(2, 1, "ada@acme.com", None));
    world.pass(60);
    assert_eq!(account(&world, 2), None, "both would hold it");
    world.pass(4 * DAY);
    assert_eq!(world.lane.links.get(&user_key(1)).unwrap().active, Some(false));
    let second = account(&world, 2);
    assert!(
        second.is_some() && second != first,
        "{second:?}: an account of their own"
    );
    assert_eq!(account(&world, 1), first, "nobody's account moves");
}
