//! Policies that change under people, and what is said once: links of another application, edits of assignments, accounts
//! that were kept, dates that do not count, switches that are off.

use serde_json::{Value, json};
use usher_contract::{ChangeKind, Known, Outcome, OutcomeResult, StateHash};

use super::super::*;
use super::guarding::{forty, start, taken_over};
use super::world::{World, refusal};
use crate::connector::{Failure, Operation};
use crate::logic::{
    account::AttributePath,
    assignments::Assignment,
    link::LinkState,
    policy::{AttributeRule, Disposition, TargetPolicy, ValueSource},
    source::SourceField,
    termination::Termination,
    testing::{Change, group_rules, person, policy, row, user_key},
};

/// The same people and accounts under another policy, whose hash is another one.
fn edited(world: &mut World, change: impl FnOnce(&mut TargetPolicy)) {
    let mut target = (*world.lane.target).clone();
    change(&mut target);
    target.hash = StateHash::of_text(&format!("{} again", target.hash));
    world.settle();
    world.lane.target = Arc::new(target);
    world.restart();
}

/// A state that is observed now.
fn seen_now(world: &World, mut change: UserChange) -> UserChange {
    change.cause.observed_at = world.now;
    change.cause.committed_at = Some(world.now);
    change
}

fn link(world: &World, n: u32) -> Link {
    world.lane.links.get(&user_key(n)).unwrap()
}

fn told<'a>(world: &'a World, words: &str) -> Vec<&'a Outcome> {
    let about = |outcome: &&Outcome| outcome.reasons.iter().any(|reason| reason.contains(words));
    world.outcomes.iter().filter(about).collect()
}

#[test]
fn links_of_another_application_are_told_once_and_alarm_until_it_is_the_same_again() {
    let elsewhere = |mut target: TargetPolicy| {
        target.tenant = StateHash::of_text("https://two.example");
        target.tenant_as_written = target.tenant;
        target
    };
    let here = (*forty().lane.target).clone();
    let mut world = taken_over(forty(), elsewhere(here.clone()));
    let moved_at = world.now;
    start(&mut world);
    world.pass(3600);
    world.restart();
    world.pass(3600);
    let said = told(&world, "is another one than that of the 40 links");
    assert_eq!(said.len(), 1, "also by its successors: {said:?}");
    assert_eq!(
        (said[0].action.as_str(), said[0].result),
        ("moved", OutcomeResult::Held)
    );
    assert_eq!(said[0].configuration, world.lane.target.unit, "the whole policy");
    let status = world.lane.status();
    assert!(status.moved);
    assert_eq!(status.moved_since, Some(moved_at), "over every owner");
    assert_eq!(status.waits_for_operator_since(), Some(moved_at));
    let mut world = taken_over(world, here);
    start(&mut world);
    let said = told(&world, "are those of the links again");
    assert_eq!((said.len(), said[0].result), (1, OutcomeResult::Done));
    assert_eq!(world.lane.status().moved_since, None);
    assert_eq!(world.lane.status().waits_for_operator_since(), None);
}

#[test]
fn an_address_as_it_was_written_once_is_the_same_application() {
    let mut world = forty();
    let written = StateHash::of_text("https://one.example/");
    if let Some(record) = &mut world.record {
        record.tenant = Some(written);
    }
    let mut target = (*world.lane.target).clone();
    target.tenant_as_written = written;
    let now = target.tenant;
    let mut world = taken_over(world, target);
    start(&mut world);
    assert!(!world.lane.status().moved);
    assert_eq!(world.lane.record().tenant, Some(now), "as it is compared from now on");
}

fn selling(license: &str) -> Vec<Assignment> {
    vec![Assignment {
        name: "sellers".to_owned(),
        filter: None,
        manual: false,
        apply_on_change: false,
        rows: vec![AttributeRule {
            source: ValueSource::Constant(json!(license)),
            ..row("license", &["title"])
        }],
        capture: Default::default(),
        pending: vec![],
        waiting: Default::default(),
        settings: StateHash::of_text(license),
        since: None,
    }]
}

fn license(world: &World, n: u32) -> Value {
    let account = link(world, n).remote_id.unwrap();
    world.accounts[&account.0][&AttributePath("license".into())].clone()
}

#[test]
fn an_edit_waits_for_a_change_that_comes_after_it_whatever_came_before() {
    let mut world = World::new(TargetPolicy {
        assignments: selling("pro"),
        ..policy()
    });
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(60);
    // Something that is not mapped: nothing is done, and nothing is recorded.
    let mut unmapped = seen_now(&world, person(1).version(2));
    unmapped.user.phone = Known::Value("1".to_owned());
    world.change(unmapped.clone());
    world.pass(60);
    assert_eq!(link(&world, 1).user_version, 1);
    edited(&mut world, |target| target.assignments = selling("max"));
    world.pass(60);
    assert_eq!(license(&world, 1), json!("pro"), "it was there before the edit");
    // Another owner does not take it for an edit of its own time.
    world.pass(3600);
    world.restart();
    let change = seen_now(&world, unmapped.version(3));
    world.now = after(world.now, Duration::from_secs(60));
    world.change(change);
    world.pass(60);
    assert_eq!([1, 2].map(|n| license(&world, n)), [json!("max"), json!("pro")]);
    // A try that fails is tried again with the settings.
    let titled = seen_now(&world, person(2).version(2).titled("B"));
    world.change(titled);
    while world.commit() {}
    let (id, operation) = world.pop();
    assert!(operation.is_write());
    world.end(id, Err(Failure::Retry(refusal("http-500"), None)));
    world.pass(60);
    assert_eq!([2, 3].map(|n| license(&world, n)), [json!("max"), json!("pro")]);
}

#[test]
fn whoever_was_kept_and_is_switched_off_by_a_new_policy_is_concluded_not_stated() {
    for kept_first in [true, false] {
        let mut target = policy();
        let keep = if kept_first {
            Disposition::Keep
        } else {
            Disposition::Deactivate
        };
        target.lifecycle.inactive = keep;
        let mut world = World::new(target);
        world.change(person(1));
        world.change(person(2));
        world.pass(60);
        world.change(person(1).version(2).inactive());
        world.pass(60);
        if kept_first {
            assert_eq!((link(&world, 1).user_version, link(&world, 1).active), (2, Some(true)));
            world.writes.clear();
            world.restart();
            world.pass(60);
            assert!(world.writes.is_empty());
        }
        edited(&mut world, |target| target.lifecycle.inactive = Disposition::Deactivate);
        world.pass(60);
        let after = link(&world, 1);
        assert_eq!((after.active, after.removal_inferred), (Some(false), kept_first));
    }
}

#[test]
fn a_date_that_does_not_count_is_said_once_by_itself_and_again_when_it_is_another() {
    let mut target = policy();
    target.lifecycle.termination = Some(Termination {
        field: SourceField::named("custom.End__c").unwrap(),
        end_of_day: true,
        zone: Some(jiff::tz::TimeZone::UTC),
        fallback: jiff::tz::TimeZone::UTC,
    });
    let mut world = World::new(target);
    let dated = |version: u64, date: &str| {
        let mut change = person(1).version(version);
        change.user.custom.insert("End__c".into(), json!(date));
        change
    };
    world.change(dated(1, ""));
    world.pass(60);
    let mut back = seen_now(&world, dated(2, "2020-01-01"));
    back.kind = ChangeKind::Reactivated;
    world.change(back);
    world.pass(3 * 24 * 3600);
    world.restart();
    world.pass(60);
    let said = told(&world, "it does not count");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].action.as_str(), said[0].result),
        ("noop", OutcomeResult::Skipped)
    );
    world.change(dated(3, "2020-01-02"));
    world.pass(3600);
    assert_eq!(told(&world, "it does not count").len(), 2, "another date");
    // With an action it is said by that, and not by itself as well.
    world.change(dated(4, "2020-01-03").titled("B"));
    world.pass(3600);
    let said = told(&world, "it does not count");
    assert_eq!((said.len(), said[2].action.as_str()), (3, "update"));
    assert!(said.iter().all(|outcome| outcome.configuration == policy().unit));
    assert_eq!(link(&world, 1).state, LinkState::Settled);
}

#[test]
fn groups_that_are_switched_off_are_said_once_and_not_asked_for() {
    let mut world = World::new(TargetPolicy {
        groups_off: Some(group_rules()),
        ..policy()
    });
    let member = |version: u64, name: &str| {
        let mut change = person(1).version(version);
        change.user.groups = Known::Value(vec![usher_contract::GroupRef {
            id: "00G000000000001".parse().unwrap(),
            name: Known::Value(name.to_owned()),
            direct: true,
        }]);
        change
    };
    world.change(member(1, "EMEA"));
    world.pass(60);
    world.restart();
    world.pass(2 * 24 * 3600);
    let words = "join group EMEA; not done because features.groups is off";
    let alone = |world: &World, words: &str| {
        let said = told(world, words);
        said.iter().filter(|outcome| outcome.action == "noop").count()
    };
    assert_eq!(alone(&world, words), 0, "with the account");
    assert_eq!(told(&world, words).len(), 1);
    assert_eq!(link(&world, 1).state, LinkState::Settled, "looked after as ever");
    assert!(world.groups.is_empty() && world.accounts.len() == 1);
    // Everything else goes on.
    world.change(member(2, "EMEA").titled("B"));
    world.pass(60);
    assert_eq!(world.writes.last().unwrap(), "update r1 [\"title\"]");
    world.change(member(3, "APAC").titled("B"));
    world.pass(60);
    assert_eq!(alone(&world, "join group APAC"), 1);
}

#[test]
fn an_account_that_stays_on_because_of_a_switch_or_a_setting_is_linked_and_said() {
    for (change, words) in [
        (
            (|target: &mut TargetPolicy| target.features.deactivate = false) as fn(&mut TargetPolicy),
            "features.deactivate is off",
        ),
        (
            |target| target.lifecycle.inactive = Disposition::Keep,
            "lifecycle.inactive is keep",
        ),
    ] {
        let mut target = policy();
        change(&mut target);
        let mut world = World::new(target);
        world.settle();
        world.change(person(1));
        while world.open.iter().all(|(_, operation)| !operation.is_write()) {
            match world.open.first().cloned() {
                Some((id, operation)) => {
                    let answer = world.answer(&operation);
                    world.end(id, Ok(answer));
                }
                None => assert!(world.commit(), "nothing moves"),
            }
        }
        let (id, operation): (_, Operation) = world.pop();
        let _lost = world.answer(&operation);
        world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
        world.writes.clear();
        world.change(person(1).version(2).inactive());
        world.pass(60);
        assert!(world.writes.is_empty(), "{:?}", world.writes);
        let known = link(&world, 1);
        assert_eq!((known.active, known.create_intent), (Some(true), false), "{words}");
        assert!(known.remote_id.is_some() && !told(&world, words).is_empty(), "{words}");
    }
}

#[test]
fn a_leaver_who_is_held_after_a_look_is_not_looked_up_again_until_released() {
    let mut target = policy();
    target.guard.windows = vec![Duration::from_secs(3600)];
    target.guard.removals.percent = 0;
    target.guard.removals.at_least = 0;
    target.guard.removals.at_most = 0;
    let mut world = World::new(target);
    world.settle();
    world.change(person(1));
    while world.open.iter().all(|(_, operation)| !operation.is_write()) {
        match world.open.first().cloned() {
            Some((id, operation)) => {
                let answer = world.answer(&operation);
                world.end(id, Ok(answer));
            }
            None => assert!(world.commit(), "nothing moves"),
        }
    }
    let (id, operation) = world.pop();
    let _lost = world.answer(&operation);
    world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
    world.writes.clear();
    world.change(person(1).version(2).inactive());
    world.pass(1800);
    let held = |world: &World| {
        let held = world.outcomes.iter().filter(|outcome| outcome.user.is_some());
        held.filter(|outcome| outcome.result == OutcomeResult::Held).count()
    };
    assert_eq!((held(&world), world.lane.status().held, world.writes.len()), (1, 1, 0));
    let set = super::guarding::the_set(&world);
    super::guarding::order(&mut world, 0, crate::logic::command::Verb::Approve { set });
    world.pass(60);
    assert_eq!(world.writes, ["update r1 [\"active\"]"]);
}

#[test]
fn a_day_that_comes_is_stated_and_one_that_a_new_policy_looks_at_is_concluded() {
    let rule = Termination {
        field: SourceField::named("custom.End__c").unwrap(),
        end_of_day: true,
        zone: Some(jiff::tz::TimeZone::UTC),
        fallback: jiff::tz::TimeZone::UTC,
    };
    let mut world = World::new(policy());
    let dated = |n: u32, version: u64, days: i64| {
        let mut change = person(n).version(version);
        let day = crate::logic::testing::at(days * 86_400)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date();
        change.user.custom.insert("End__c".into(), json!(day.to_string()));
        change
    };
    world.change(dated(1, 1, -10));
    world.change(dated(2, 1, 3));
    // Something that is not mapped: the link does not know of it.
    world.change(dated(3, 1, 5));
    world.pass(60);
    let change = seen_now(&world, dated(3, 2, -10));
    world.change(change);
    world.pass(60);
    edited(&mut world, |target| target.lifecycle.termination = Some(rule.clone()));
    world.pass(60);
    let of = |world: &World, n: u32| (link(world, n).active, link(world, n).removal_inferred);
    assert_eq!(
        [1, 3].map(|n| of(&world, n)),
        [(Some(false), true); 2],
        "the policy's doing"
    );
    assert_eq!(of(&world, 2), (Some(true), false));
    world.pass(5 * 86_400);
    assert_eq!(of(&world, 2), (Some(false), false), "the day has come");
}
