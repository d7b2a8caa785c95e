//! The guard and the commands of operators.

use usher_contract::{Approval, Known, OutcomeResult, StateHash};

use super::world::World;
use crate::logic::{
    command::{Command, FORMAT, Verb},
    guard::{Budget, Guard},
    lane::{Input, Links},
    link::LinkState,
    policy::TargetPolicy,
    testing::{Change, at, person, policy, user_key},
};

pub(super) fn guarded() -> TargetPolicy {
    TargetPolicy {
        guard: Guard::default(),
        ..policy()
    }
}

/// Forty people with accounts; the guard lets five removals and twenty changes through.
pub(super) fn forty() -> World {
    let mut world = World::new(guarded());
    for n in 1..=40 {
        world.change(person(n));
    }
    world.pass(2 * 86_400);
    world.writes.clear();
    world.outcomes.clear();
    world
}

fn by(reason: &str) -> Approval {
    Approval {
        actor: "ada".into(),
        reason: reason.into(),
        at: at(0),
    }
}

pub(super) fn order(world: &mut World, offset: i64, verb: Verb) {
    tell(world, offset, verb);
    world.settle();
}

/// The command is taken, and nothing is answered yet.
pub(super) fn tell(world: &mut World, offset: i64, verb: Verb) {
    let command = Command {
        format: FORMAT,
        id: format!("c{offset}"),
        target: world.lane.target.name.clone(),
        verb,
        by: by("because"),
        expires_at: world.now.checked_add(jiff::SignedDuration::from_secs(60)).unwrap(),
    };
    let command = Box::new(command);
    world.give(Input::Command { offset, command });
}

pub(super) fn the_set(world: &World) -> String {
    let held: Vec<&String> = world.lane.record.held.keys().collect();
    assert_eq!(held.len(), 1, "{held:?}");
    held[0].clone()
}

pub(super) fn off(world: &World) -> usize {
    let switched_off = |values: &&crate::logic::account::AttributeValues| {
        values
            .iter()
            .any(|(path, value)| path.0 == "active" && *value == serde_json::json!(false))
    };
    world.accounts.values().filter(switched_off).count()
}

/// The same world under a new owner, who knows only what was committed.
pub(super) fn taken_over(world: World, target: TargetPolicy) -> World {
    let mut links = Links::default();
    for (user, link) in world.lane.links.iter() {
        links.put(*user, Some(link.clone()));
    }
    let mut record = world.record.clone();
    if let Some(record) = &mut record {
        record.released = true;
    }
    let mut next = World::begun(target, links, record, world.now);
    next.accounts = world.accounts;
    next.people = world.people;
    next
}

/// Everybody is fed as a start does it, and what follows happens.
pub(super) fn start(world: &mut World) {
    for change in world.people.values().cloned().collect::<Vec<_>>() {
        world.give(Input::User { change, again: false });
    }
    world.give(Input::AllFed);
    world.pass(30);
}

#[test]
fn a_trickle_is_held_from_the_first_over_the_limit_and_the_rest_goes_on() {
    let mut world = forty();
    for n in 1..=8 {
        world.change(person(n).version(2).inactive());
        world.pass(5);
    }
    world.change(person(30).version(2).titled("B"));
    world.pass(5);
    assert_eq!(off(&world), 5);
    assert_eq!(world.lane.links.in_state("held"), 3);
    assert!(
        world.writes.iter().any(|write| write.contains("title")),
        "{:?}",
        world.writes
    );
    let set = the_set(&world);
    assert_eq!(world.lane.links.held_in(&set), 3);
    assert_eq!(world.lane.status().pending, 0);

    order(&mut world, 0, Verb::Approve { set: set.clone() });
    let said = &world.outcomes.last().unwrap().reasons[0];
    assert!(said.contains("may still grow"), "{said}");
    world.pass(60);
    order(&mut world, 1, Verb::Approve { set: set.clone() });
    world.pass(5);
    assert_eq!(off(&world), 8);
    assert!(world.lane.record.held.is_empty(), "nobody is in it any more");
    let said: Vec<_> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.action == "approve")
        .collect();
    assert!(
        said.iter().any(|outcome| outcome.actor.as_deref() == Some("ada")),
        "{said:?}"
    );
    // What an operator has released does not use up the budget of others.
    assert_eq!(
        world
            .lane
            .ledger
            .spent(Budget::StatedRemovals, std::time::Duration::from_secs(3600), world.now),
        5
    );
}

#[test]
fn stated_and_inferred_removals_do_not_share_a_budget() {
    let mut world = forty();
    for n in 1..=6 {
        let mut gone = person(n).version(2);
        gone.user.removed = true;
        gone.cause.origin = usher_contract::Origin::Report;
        world.change(gone);
    }
    world.pass(5);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (5, 1));
    world.change(person(20).version(2).inactive());
    world.pass(5);
    assert_eq!(off(&world), 6, "a real leaver is not stuck behind a bad report");
}

#[test]
fn a_configuration_that_would_switch_off_many_is_held_before_its_first_write() {
    let world = forty();
    // Everybody who is not listed goes, and nobody is: a mistake.
    let mut target = guarded();
    target.lifecycle.unlisted = crate::logic::policy::Disposition::Deactivate;
    target.hash = StateHash::of_text("policy 2");
    let mut world = taken_over(world, target);
    for change in world.people.values_mut() {
        let mut next = (**change).clone();
        next.user.listed = Known::Value(false);
        *change = std::sync::Arc::new(next);
    }
    start(&mut world);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (0, 40));
    assert_eq!(world.writes, Vec::<String>::new());

    // The mistake is taken back: what was held is not wanted any more, and approving it does nothing.
    let set = the_set(&world);
    let mut world = taken_over(world, guarded());
    start(&mut world);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (0, 0));
    order(&mut world, 0, Verb::Approve { set });
    world.pass(5);
    assert_eq!(off(&world), 0);
}

#[test]
fn holds_and_spent_budgets_survive_a_change_of_owner() {
    let mut world = forty();
    for n in 1..=7 {
        world.change(person(n).version(2).inactive());
        world.pass(1);
    }
    let set = the_set(&world);
    let mut world = taken_over(world, guarded());
    start(&mut world);
    world.pass(60);
    world.change(person(8).version(2).inactive());
    world.pass(5);
    assert_eq!(off(&world), 5, "a crash loop cannot spend the budget twice");
    assert!(world.lane.record.held.contains_key(&set));
    order(&mut world, 0, Verb::Approve { set });
    world.pass(5);
    assert_eq!(off(&world), 7, "the later one is in a set of its own");
}

#[test]
fn a_held_person_who_comes_back_leaves_the_set() {
    let mut world = forty();
    for n in 1..=7 {
        world.change(person(n).version(2).inactive());
        world.pass(1);
    }
    let set = the_set(&world);
    assert!(matches!(
        world.lane.links.get(&user_key(7)).unwrap().state,
        LinkState::Held { .. }
    ));
    world.change(person(7).version(3));
    world.pass(60);
    order(&mut world, 0, Verb::Approve { set });
    world.pass(5);
    assert_eq!(off(&world), 6);
    assert_eq!(world.lane.links.in_state("held"), 0);
}

#[test]
fn time_alone_does_not_release() {
    let mut world = forty();
    for n in 1..=6 {
        world.change(person(n).version(2).inactive());
        world.pass(1);
    }
    world.pass(3 * 86_400);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (5, 1));
}

#[test]
fn an_allowance_lets_a_planned_layoff_through_and_no_more() {
    let mut world = forty();
    order(
        &mut world,
        0,
        Verb::Allow {
            removals: 10,
            for_seconds: 3600,
        },
    );
    for n in 1..=20 {
        world.change(person(n).version(2).inactive());
    }
    world.pass(30);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (15, 5));
}

#[test]
fn a_command_is_carried_out_once() {
    let mut world = forty();
    order(&mut world, 0, Verb::Pause);
    world.change(person(1).version(2).inactive());
    world.pass(600);
    assert_eq!(off(&world), 0, "paused");
    order(&mut world, 1, Verb::Resume);
    world.pass(5);
    assert_eq!(off(&world), 1);
    // Read again from the topic by a new owner.
    let mut world = taken_over(world, guarded());
    start(&mut world);
    order(&mut world, 0, Verb::Pause);
    assert!(world.lane.record.paused.is_none(), "it was carried out before");
    let outcomes: Vec<_> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.action == "pause")
        .collect();
    assert!(outcomes.is_empty());
}

#[test]
fn an_operator_has_everybody_planned_again_at_once() {
    let mut world = forty();
    // Messages that the lane was never told of: somebody new, and a change.
    for change in [person(41), person(1).version(2).titled("B")] {
        world.people.insert(change.user.key(), std::sync::Arc::new(change));
    }
    world.pass(60);
    assert_eq!(world.writes, Vec::<String>::new());
    order(&mut world, 0, Verb::Reconcile);
    world.pass(5);
    world.writes.sort();
    assert_eq!(world.writes, ["create r41", "update r1 [\"title\"]"]);
}

#[test]
fn a_target_that_is_off_is_not_written_and_loses_nothing() {
    let off = TargetPolicy {
        mode: crate::logic::policy::Mode::Off,
        ..guarded()
    };
    let mut world = taken_over(forty(), off);
    start(&mut world);
    world.change(person(1).version(2).titled("B"));
    world.change(person(41));
    world.pass(2 * 86_400);
    assert!(world.open.is_empty() && world.writes.is_empty(), "{:?}", world.writes);
    assert_eq!(world.lane.links.linked(), 40);
    // On again: what was missed is done, and nothing else.
    let mut world = taken_over(world, guarded());
    start(&mut world);
    world.writes.sort();
    assert_eq!(world.writes, ["create r41", "update r1 [\"title\"]"]);
}

#[test]
fn a_command_that_nobody_could_take_in_time_is_not_carried_out() {
    let mut world = forty();
    let command = Box::new(Command {
        format: FORMAT,
        id: "late".into(),
        target: world.lane.target.name.clone(),
        verb: Verb::Pause,
        by: by("old"),
        expires_at: at(1),
    });
    world.give(Input::Command { offset: 0, command });
    world.settle();
    assert!(world.lane.record.paused.is_none());
    assert_eq!(world.outcomes.last().unwrap().result, OutcomeResult::Rejected);
}

#[test]
fn a_first_import_does_not_use_up_the_budget_of_a_successor() {
    let mut world = World::begun(guarded(), Links::default(), None, at(0));
    for n in 1..=40 {
        world.change(person(n));
    }
    world.give(Input::AllFed);
    world.pass(30);
    assert_eq!(world.lane.links.linked(), 40);
    let hour = std::time::Duration::from_secs(3600);
    let ledger = super::super::ledger(&world.lane.links, &[hour], world.now);
    assert_eq!(ledger.spent(Budget::Changes, hour, world.now), 0);
}

#[test]
fn new_people_over_the_limit_are_held_and_not_looked_up_again_and_again() {
    let mut world = forty();
    for n in 41..=80 {
        world.change(person(n));
    }
    world.pass(30);
    let held = world.lane.links.in_state("held");
    assert!(held > 0 && world.lane.links.linked() + held == 80, "{held}");
    assert_eq!(world.lane.status().pending, 0);
    let set = the_set(&world);
    world.pass(60);
    order(&mut world, 0, Verb::Approve { set });
    world.pass(30);
    assert_eq!((world.lane.links.linked(), world.lane.links.in_state("held")), (80, 0));
}

#[test]
fn redrive_tries_again_what_was_refused() {
    let mut world = forty();
    world.change(person(1).version(2).titled("B"));
    world.commit();
    let (id, _) = world.pop();
    world.end(
        id,
        Err(crate::connector::Failure::Reject(super::world::refusal("http-400"))),
    );
    world.pass(5);
    assert_eq!(world.lane.status().rejected, 1);
    order(&mut world, 0, Verb::Redrive { user: None });
    world.pass(5);
    assert_eq!(world.lane.status().rejected, 0);
}

#[test]
fn relink_and_unlink_change_whose_account_it_is() {
    let mut world = forty();
    let account = world.lane.links.get(&user_key(1)).unwrap().remote_id.clone().unwrap();
    order(
        &mut world,
        0,
        Verb::Relink {
            user: user_key(2),
            account: account.clone(),
        },
    );
    assert_eq!(
        world.outcomes.last().unwrap().result,
        OutcomeResult::Rejected,
        "it is held"
    );
    world.change(person(1).version(2).inactive());
    world.pass(5);
    order(&mut world, 1, Verb::Unlink { user: user_key(1) });
    world.pass(5);
    assert_eq!(world.lane.links.get(&user_key(1)).unwrap().remote_id, None);
    order(
        &mut world,
        2,
        Verb::Relink {
            user: user_key(2),
            account: account.clone(),
        },
    );
    world.pass(5);
    assert_eq!(
        world.lane.links.get(&user_key(2)).unwrap().remote_id,
        Some(account.clone())
    );
    let values = &world.accounts[&account.0];
    let name = values.iter().find(|(path, _)| path.0 == "name.familyName").unwrap().1;
    assert_eq!(name, &serde_json::json!("Byron 2"), "what differs is written");
}

/// Three accounts are there: one of person 1, one of person 2 with another name, one of nobody.
fn with_accounts(world: &mut World) {
    for (id, n, family) in [("x1", 1, "Byron 1"), ("x2", 2, "Elsewhere"), ("x9", 99, "Nobody")] {
        let values = [
            ("userName", serde_json::json!(format!("u{n}@acme.example"))),
            ("name.familyName", serde_json::json!(family)),
            ("title", serde_json::json!("AE")),
            ("active", serde_json::json!(true)),
        ];
        let values = values
            .into_iter()
            .map(|(name, value)| (crate::logic::account::AttributePath(name.to_owned()), value))
            .collect();
        world.accounts.insert(id.to_owned(), values);
    }
}

fn first_sync(target: TargetPolicy) -> World {
    let mut world = World::begun(target, Links::default(), None, at(0));
    with_accounts(&mut world);
    for n in 1..=3 {
        world.change(person(n));
    }
    world.give(Input::AllFed);
    world.pass(60);
    world
}

#[test]
fn a_first_sync_reports_and_waits_for_approval() {
    let mut target = guarded();
    target.matching.approve_first_sync = true;
    let world = first_sync(target.clone());
    assert_eq!(world.writes, Vec::<String>::new());
    let status = world.lane.status();
    assert!(status.first_sync_waits);
    let report = status.first_sync.unwrap();
    assert_eq!((report.matched, report.would_create, report.unmatched), (2, 1, 1));
    assert_eq!(report.would_change.get("name.familyName"), Some(&1), "{report:?}");
    // A restart asks again, and does not list again.
    let mut world = taken_over(world, target);
    start(&mut world);
    assert_eq!(world.writes, Vec::<String>::new());
    order(
        &mut world,
        0,
        Verb::Approve {
            set: "first-sync".into(),
        },
    );
    world.pass(30);
    assert_eq!(world.lane.links.linked(), 3);
    assert!(
        !world.accounts["x9"].iter().any(|(path, _)| path.0 == "externalId"),
        "unmanaged"
    );
}

#[test]
fn mode_link_links_and_writes_nothing() {
    let mut target = guarded();
    target.mode = crate::logic::policy::Mode::Link;
    let mut world = first_sync(target);
    assert_eq!(world.writes, Vec::<String>::new());
    assert_eq!(world.lane.links.linked(), 2);
    assert_eq!(world.lane.status().observed.get("create"), Some(&1));
    // A change of somebody linked is counted and not written.
    world.change(person(1).version(2).titled("B"));
    world.pass(30);
    assert_eq!(world.writes, Vec::<String>::new());
    assert_eq!(
        world.lane.status().observed.get("update"),
        Some(&2),
        "the other one's name differs, too"
    );
    // Enforced later, what differs is written.
    let mut world = taken_over(world, guarded());
    start(&mut world);
    assert_eq!(world.lane.links.linked(), 3);
    assert_eq!(
        world.accounts["x2"][&crate::logic::account::AttributePath("name.familyName".into())],
        serde_json::json!("Byron 2")
    );
}

fn numbered(n: u32, number: &str) -> usher_contract::UserChange {
    let mut change = person(n);
    change.user.employee_number = Known::Value(number.to_owned());
    change
}

fn by_number() -> TargetPolicy {
    let mut target = guarded();
    target.matching.person = crate::logic::source::SourceField::named("employeeNumber");
    target
}

#[test]
fn a_rehire_keeps_the_account_and_a_new_colleague_with_the_address_does_not_get_it() {
    let mut world = World::new(by_number());
    world.change(numbered(1, "E1"));
    world.pass(60);
    let account = world.lane.links.get(&user_key(1)).unwrap().remote_id.clone().unwrap();

    // The same log-in name comes back as another record of the same person: first while the old one is active.
    let rehired = || numbered(2, "E1").named("u1@acme.example");
    world.change(rehired());
    world.pass(60);
    assert_eq!(
        world.lane.links.get(&user_key(2)).unwrap().remote_id,
        None,
        "still held"
    );
    world.change(numbered(1, "E1").version(2).inactive());
    world.pass(60);
    assert_eq!(
        world.lane.links.get(&user_key(2)).unwrap().remote_id,
        Some(account.clone())
    );
    assert_eq!(world.lane.links.get(&user_key(1)).unwrap().remote_id, None);
    let values = &world.accounts[&account.0];
    let shown = |name: &str| values[&crate::logic::account::AttributePath(name.to_owned())].clone();
    assert_eq!(shown("active"), serde_json::json!(true));
    assert_eq!(shown("externalId"), serde_json::json!(user_key(2).user.to_string()));
    assert_eq!(world.accounts.len(), 1);

    // They leave again, and somebody else is given the address.
    world.change(rehired().version(2).inactive());
    world.pass(60);
    world.change(numbered(3, "E3").named("u1@acme.example"));
    world.pass(60);
    let refused = &world.lane.links.get(&user_key(3)).unwrap().state;
    let LinkState::Rejected { code, reason, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(code, "match-claimed");
    assert!(
        reason.contains(&user_key(2).to_string()) && reason.contains(&user_key(3).to_string()),
        "{reason}"
    );
}

#[test]
fn protected_accounts_are_never_written() {
    let mut target = guarded();
    target.protected = ["u1@acme.example".to_owned(), "r2".to_owned()].into();
    let mut world = World::new(target);
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(60);
    assert!(
        world
            .lane
            .links
            .get(&user_key(1))
            .is_none_or(|link| link.remote_id.is_none()),
        "by name"
    );
    for n in 1..=3 {
        world.change(person(n).version(2).inactive());
    }
    world.pass(60);
    let on = |id: &str| {
        let account = world.accounts.get(id)?;
        account
            .get(&crate::logic::account::AttributePath("active".into()))
            .cloned()
    };
    assert_eq!(on("r2"), Some(serde_json::json!(true)), "by the target's id");
    assert_eq!(on("r1"), Some(serde_json::json!(false)));
    assert_eq!(world.lane.status().skipped, 2);
}

#[test]
fn the_account_of_the_credentials_is_never_written_whatever_was_planned_before() {
    let mut world = World::begun(guarded(), Links::default(), None, crate::logic::testing::at(0));
    world.check_passes = false;
    for n in 1..=3 {
        world.change(person(n));
    }
    world.give(Input::AllFed);
    let (check, _) = world.pop();
    world.end(
        check,
        Ok(super::super::Answer::CheckedAs(vec![
            "77".to_owned(),
            "U1@acme.example".to_owned(),
        ])),
    );
    world.pass(60);
    let account = |world: &World, n| {
        world
            .lane
            .links
            .get(&user_key(n))
            .and_then(|link| link.remote_id.clone())
    };
    assert_eq!(account(&world, 1), None, "by name");
    assert!(account(&world, 3).is_some());
    assert_eq!(world.lane.status().skipped, 1);
}

#[test]
fn another_tenant_voids_the_links_only_when_an_operator_says_so() {
    let world = forty();
    let mut elsewhere = guarded();
    elsewhere.tenant = StateHash::of_text("https://two.example");
    elsewhere.tenant_as_written = elsewhere.tenant;
    elsewhere.hash = StateHash::of_text("policy 2");
    let mut world = taken_over(world, elsewhere);
    let old = std::mem::take(&mut world.accounts);
    start(&mut world);
    world.change(person(1).version(2).inactive());
    world.pass(3 * 86_400);
    assert!(world.lane.status().moved);
    assert_eq!((world.writes.len(), world.lane.links.linked()), (0, 40));

    // It was a mistake: back at the old address everything is as it was.
    let mut world = taken_over(world, guarded());
    world.accounts = old;
    start(&mut world);
    assert!(!world.lane.status().moved);
    assert_eq!(off(&world), 1);

    // It was meant.
    let mut elsewhere = guarded();
    elsewhere.tenant = StateHash::of_text("https://two.example");
    elsewhere.tenant_as_written = elsewhere.tenant;
    let mut world = taken_over(world, elsewhere);
    world.accounts.clear();
    start(&mut world);
    order(&mut world, 0, Verb::Approve { set: "moved".into() });
    world.pass(60);
    assert!(!world.lane.status().moved);
    assert_eq!(world.accounts.len(), 39, "everybody who is active has an account there");
    assert!(world.lane.status().first_sync.is_some());
}

#[test]
fn a_directory_that_is_filled_after_the_start_is_a_first_import_all_the_same() {
    let mut world = World::new(guarded());
    // Nobody is there yet; then people come in portions, with pauses in which nothing waits.
    world.pass(3600);
    for n in 1..=200 {
        world.change(person(n));
        if n % 30 == 0 {
            world.pass(120);
        }
    }
    world.pass(60);
    assert_eq!((world.lane.links.linked(), world.lane.links.in_state("held")), (200, 0));
    // Long after it, as many again are a change that somebody should look at.
    world.pass(3600);
    for n in 201..=500 {
        world.change(person(n));
    }
    world.pass(60);
    assert!(world.lane.links.in_state("held") > 0);
}

#[test]
fn what_is_held_stays_held_when_the_targets_own_record_is_lost() {
    let mut world = forty();
    for n in 1..=7 {
        world.change(person(n).version(2).inactive());
        world.pass(1);
    }
    let set = the_set(&world);
    // The record could not be read: what the links say is all that is known.
    if let Some(record) = &mut world.record {
        record.held.clear();
    }
    let mut world = taken_over(world, guarded());
    start(&mut world);
    assert_eq!((off(&world), world.lane.links.in_state("held")), (5, 2));
    order(&mut world, 0, Verb::Approve { set });
    world.pass(5);
    assert_eq!(off(&world), 7);
}
