//! Rules of scope in the lane: days that begin, managers that change, and the guard.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use usher_contract::{Known, User, UserChange, UserKey};
use usher_filter::{Fields, Filter, People};

use serde_json::json;

use super::{
    accounts::until,
    world::{World, refusal},
};
use crate::{
    connector::Operation,
    logic::{
        account::AttributePath,
        guard::Guard,
        lane::{Answer, Input, Links},
        policy::{TargetPolicy, ValueSource},
        scope::{Everybody, Scope},
        source::SourceField,
        testing::{Change, person, policy, row, user_key},
    },
};

fn filtered(filter: &str) -> TargetPolicy {
    TargetPolicy {
        scope: Scope {
            filter: Some(Filter::parse(filter, &Fields::default()).unwrap()),
            ..Scope::default()
        },
        ..policy()
    }
}

/// The table of people beside the lane.
#[derive(Default)]
struct Table(Mutex<std::collections::BTreeMap<UserKey, User>>);
impl People for Table {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        let found = self.0.lock().unwrap().get(&key).cloned();
        if let Some(user) = found {
            then(&user);
        }
    }
}

fn is_on(world: &World, n: u32) -> Option<bool> {
    let links = world.lane.links();
    links.get(&user_key(n)).and_then(|link| link.active)
}

#[test]
fn when_a_day_begins_whoever_it_concerns_is_planned_again() {
    let mut world = World::new(filtered("terminationDate >= TODAY"));
    let mut change = person(1);
    change.user.termination_date = Known::Value("2027-01-16".parse().unwrap());
    world.change(change);
    world.settle();
    assert_eq!(is_on(&world, 1), Some(true));
    let midnight: Timestamp = "2027-01-17T00:00:00Z".parse().unwrap();
    assert_eq!(world.lane.due.first(), Some(midnight));
    assert!(world.lane.next_wake().is_some_and(|wake| wake <= midnight));
    world.now = midnight - jiff::SignedDuration::from_secs(1);
    world.give(Input::Tick);
    world.settle();
    assert_eq!(
        is_on(&world, 1),
        Some(true),
        "a second before it is still the day before"
    );
    world.now = midnight;
    world.give(Input::Tick);
    world.settle();
    assert_eq!(is_on(&world, 1), Some(false));
    assert_eq!(world.lane.due.first(), None, "nothing is to come any more");
}

#[test]
fn when_a_manager_changes_the_reports_are_planned_again() {
    let table = Arc::new(Table::default());
    let mut world = World::new(filtered("Manager.Manager.Title = 'CEO' OR Title = 'CEO'"));
    let lane = std::mem::replace(&mut world.lane, World::new(policy()).lane);
    world.lane = lane.among(Everybody::new(Arc::clone(&table) as Arc<_>));
    let feed = |world: &mut World, n: u32, version: u64, title: &str, manager: Option<u32>| {
        let mut change = person(n).version(version).titled(title);
        change.user.manager_id = Known::from_option(manager.map(|manager| user_key(manager).user));
        table.0.lock().unwrap().insert(change.user.key(), change.user.clone());
        world.change(change);
        world.settle();
    };
    // The report comes first: nobody knows the manager yet.
    feed(&mut world, 1, 1, "AE", Some(2));
    assert_eq!(is_on(&world, 1), None);
    feed(&mut world, 2, 1, "Lead", Some(3));
    assert_eq!(is_on(&world, 1), None);
    feed(&mut world, 3, 1, "CEO", None);
    assert_eq!(is_on(&world, 1), Some(true), "planned when the manager's manager came");
    feed(&mut world, 3, 2, "Founder", None);
    assert_eq!(is_on(&world, 1), Some(false), "two levels up");
    feed(&mut world, 4, 1, "CEO", None);
    feed(&mut world, 2, 2, "Lead", Some(4));
    assert_eq!(is_on(&world, 1), Some(true), "the manager has another manager");
    feed(&mut world, 4, 2, "Founder", None);
    assert_eq!(is_on(&world, 1), Some(false));
    feed(&mut world, 3, 3, "CEO", None);
    assert_eq!(is_on(&world, 1), Some(false), "no longer among the managers");
    // Erased: what would decide is unknown, and nothing is done.
    table.0.lock().unwrap().remove(&user_key(4));
    world.give(Input::Erased(user_key(4)));
    world.settle();
    assert!(world.lane.undecided.contains(&user_key(1)));
}

#[test]
fn people_who_lead_each_other_do_not_keep_the_lane_busy() {
    let table = Arc::new(Table::default());
    let mut world = World::new(filtered("Manager.Title = 'AE'"));
    let lane = std::mem::replace(&mut world.lane, World::new(policy()).lane);
    world.lane = lane.among(Everybody::new(Arc::clone(&table) as Arc<_>));
    for (n, manager) in [(1, 2), (2, 1), (3, 3)] {
        let mut change = person(n);
        change.user.manager_id = Known::Value(user_key(manager).user);
        table.0.lock().unwrap().insert(change.user.key(), change.user.clone());
        world.change(change);
    }
    world.settle();
    assert_eq!([1, 2, 3].map(|n| is_on(&world, n)), [Some(true); 3]);
}

/// A filter that was written wrongly is held; somebody who really leaves is not stuck behind it.
#[test]
fn out_of_scope_has_the_budget_of_what_is_concluded() {
    let mut world = World::new(TargetPolicy {
        guard: Guard::default(),
        ..filtered("Title = 'AE'")
    });
    for n in 1..=40 {
        world.change(person(n));
    }
    world.pass(2 * 86_400);
    for n in 1..=20 {
        world.change(person(n).version(2).titled("CEO"));
    }
    world.settle();
    world.change(person(30).version(2).inactive());
    world.settle();
    let off = (1..=40).filter(|n| is_on(&world, *n) == Some(false)).count();
    assert_eq!(off, 6, "five that the budget lets through, and the leaver");
    assert_eq!(is_on(&world, 30), Some(false));
    assert_eq!(world.lane.record.held.len(), 1);
}

#[test]
fn what_a_manager_holds_is_written_for_the_reports_once_the_managers_account_has_it() {
    let path = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";
    let table = Arc::new(Table::default());
    let mut target = policy();
    let mut manager = row(path, &["username"]);
    manager.source = ValueSource::From(vec![SourceField::mapped("manager.username").unwrap()]);
    target.attributes.push(manager);
    let mut world = World::new(target.clone());
    let lane = std::mem::replace(&mut world.lane, World::new(policy()).lane);
    world.lane = lane.among(Everybody::new(Arc::clone(&table) as Arc<_>));
    let feed = |world: &mut World, change: UserChange| {
        table.0.lock().unwrap().insert(change.user.key(), change.user.clone());
        world.change(change);
        world.settle();
    };
    let shown = |world: &World| {
        let links = world.lane.links();
        let account = links.get(&user_key(1)).unwrap().remote_id.clone().unwrap();
        world.accounts[&account.0].get(&AttributePath(path.to_owned())).cloned()
    };
    let mut report = person(1);
    report.user.manager_id = Known::Value(user_key(2).user);
    feed(&mut world, report.clone());
    assert_eq!(shown(&world), None, "nobody knows the manager yet");
    feed(&mut world, person(2));
    assert_eq!(shown(&world), Some(json!("u2@acme.example")));
    // The manager's new name is refused: the report keeps the old one, which is still the account's.
    table
        .0
        .lock()
        .unwrap()
        .insert(user_key(2), person(2).named("boss@acme.example").user);
    world.change(person(2).version(2).named("boss@acme.example"));
    let (id, write) = until(&mut world, Operation::is_write);
    assert!(
        matches!(&write, Operation::Update { values, .. } if !values.contains_key(&AttributePath(path.to_owned())))
    );
    world.end(id, Ok(Answer::Conflict(refusal("scim-uniqueness"))));
    while world.commit() {}
    assert!(world.open.is_empty(), "the report is not told a name that is not there");
    feed(&mut world, person(2).version(3).named("chief@acme.example"));
    assert_eq!(shown(&world), Some(json!("chief@acme.example")));
    // Started again, nothing is written anew.
    let mut links = Links::default();
    for n in 1..=3 {
        links.put(user_key(n), world.lane.links().get(&user_key(n)));
    }
    let mut after = World::over(target, links, world.record.clone());
    let lane = std::mem::replace(&mut after.lane, World::new(policy()).lane);
    after.lane = lane.among(Everybody::new(Arc::clone(&table) as Arc<_>));
    after.accounts = world.accounts.clone();
    after.change(report);
    after.give(Input::AllFed);
    after.settle();
    assert_eq!(after.writes, Vec::<String>::new());
}
