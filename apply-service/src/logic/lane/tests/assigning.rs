//! Settings by assignment: moves, edits that wait, manual ones, and the last match that is lost.

use serde_json::{Value, json};
use usher_contract::{Known, StateHash};
use usher_filter::{Fields, Filter};

use super::super::*;
use super::world::World;
use crate::logic::{
    account::AttributePath,
    assignments::Assignment,
    policy::{AttributeRule, Drift, DriftMode, TargetPolicy, ValueSource},
    testing::{Change, person, policy, row, user_key},
};

fn assignment(name: &str, department: &str, settings: &[(&str, &str)]) -> Assignment {
    let rows = settings.iter().map(|(path, value)| AttributeRule {
        source: ValueSource::Constant(json!(value)),
        ..row(path, &["title"])
    });
    Assignment {
        name: name.to_owned(),
        filter: Some(Filter::parse(&format!("Department = '{department}'"), &Fields::default()).unwrap()),
        manual: false,
        apply_on_change: false,
        rows: rows.collect(),
        capture: std::collections::BTreeSet::new(),
        pending: vec![],
        waiting: [].into(),
        settings: StateHash::of_text(&format!("{settings:?}")),
        since: None,
    }
}

fn target() -> TargetPolicy {
    let mut target = policy();
    target.assignments = vec![
        assignment("sellers", "Sales", &[("license", "pro"), ("workspace", "main")]),
        assignment("support", "Support", &[("license", "basic")]),
    ];
    target
}

fn of(n: u32, version: u64, department: &str) -> UserChange {
    let mut change = person(n).version(version);
    change.user.department = Known::Value(department.to_owned());
    change
}

fn holds(world: &World, n: u32, path: &str) -> Option<Value> {
    let account = world.lane.links.get(&user_key(n))?.remote_id.clone()?;
    world.accounts[&account.0]
        .get(&AttributePath(path.to_owned()))
        .filter(|value| !value.is_null())
        .cloned()
}

/// The same people and accounts under another policy.
fn edited(world: &mut World, change: impl FnOnce(&mut TargetPolicy)) {
    let mut target = (*world.lane.target).clone();
    change(&mut target);
    target.hash = StateHash::of_text(&format!("{:?}", target.assignments));
    world.lane.target = Arc::new(target);
    world.restart();
}

#[test]
fn the_matching_assignment_gives_its_settings_and_a_move_takes_back_what_the_new_one_lacks() {
    let mut world = World::new(target());
    world.change(of(1, 1, "Sales"));
    world.change(of(2, 1, "Support"));
    world.change(of(3, 1, "Legal"));
    world.pass(60);
    assert_eq!(
        (holds(&world, 1, "license"), holds(&world, 1, "workspace")),
        (Some(json!("pro")), Some(json!("main")))
    );
    assert_eq!(holds(&world, 2, "license"), Some(json!("basic")));
    assert!(
        world
            .lane
            .links
            .get(&user_key(3))
            .is_none_or(|link| link.remote_id.is_none()),
        "no assignment, no account"
    );
    world.writes.clear();
    world.change(of(1, 2, "Support"));
    world.pass(60);
    assert_eq!(
        (holds(&world, 1, "license"), holds(&world, 1, "workspace")),
        (Some(json!("basic")), None)
    );
    assert_eq!(world.writes.len(), 1, "{:?}", world.writes);
    // The last match is lost: out of scope.
    world.change(of(1, 3, "Legal"));
    world.pass(60);
    assert_eq!(world.lane.links.get(&user_key(1)).unwrap().active, Some(false));
    let outcome = world
        .outcomes
        .iter()
        .rfind(|outcome| outcome.action == "deactivate")
        .unwrap();
    assert!(
        outcome.reasons.iter().any(|reason| reason == "no assignment matches"),
        "{:?}",
        outcome.reasons
    );
}

#[test]
fn an_edited_assignment_changes_nobody_until_the_person_changes_or_an_operator_asks() {
    let mut world = World::new(target());
    for n in 1..=2 {
        world.change(of(n, 1, "Sales"));
    }
    world.pass(60);
    world.writes.clear();
    edited(&mut world, |target| {
        target.assignments[0] = assignment("sellers", "Sales", &[("license", "max"), ("workspace", "main")]);
    });
    world.pass(2 * 24 * 3600);
    assert_eq!(
        world.writes.len(),
        0,
        "the daily reconcile does not count: {:?}",
        world.writes
    );
    let mut change = of(1, 2, "Sales").titled("AE");
    change.cause.observed_at = world.now;
    world.change(change);
    world.pass(60);
    assert_eq!(
        [1, 2].map(|n| holds(&world, n, "license")),
        [Some(json!("max")), Some(json!("pro"))]
    );
    world.lane.record.reimported_at = Some(world.now);
    world.pass(25 * 3600);
    assert_eq!(holds(&world, 2, "license"), Some(json!("max")), "an operator has asked");
    world.writes.clear();
    world.restart();
    world.pass(60);
    assert_eq!(world.writes.len(), 0, "{:?}", world.writes);
    // Where it says so, at once.
    edited(&mut world, |target| {
        target.assignments[0] = Assignment {
            apply_on_change: true,
            ..assignment("sellers", "Sales", &[("license", "pro")])
        };
    });
    world.pass(60);
    assert_eq!(
        [1, 2].map(|n| holds(&world, n, "license")),
        [Some(json!("pro")), Some(json!("pro"))]
    );
}

#[test]
fn manual_settings_are_written_with_the_account_and_are_the_applications_own_afterwards() {
    let mut target = target();
    target.assignments[0].manual = true;
    let mut world = World::new(target);
    world.change(of(1, 1, "Sales"));
    world.pass(60);
    assert_eq!(holds(&world, 1, "license"), Some(json!("pro")), "written once");
    let link = world.lane.links.get(&user_key(1)).unwrap();
    let license = link.written.named("license").unwrap();
    assert!(
        license.doubted && license.given,
        "and not compared any more: {license:?}"
    );
    assert_eq!(link.assignment.as_ref().unwrap().name, "sellers");
    let account = link.remote_id.clone().unwrap();
    world
        .accounts
        .get_mut(&account.0)
        .unwrap()
        .insert(AttributePath("license".into()), json!("by hand"));
    world.change(of(1, 2, "Sales").titled("AE"));
    world.pass(60);
    assert_eq!(
        holds(&world, 1, "title"),
        Some(json!("AE")),
        "profile attributes still flow"
    );
    world.change(of(1, 3, "Sales").inactive());
    world.pass(60);
    world.change(of(1, 4, "Sales"));
    world.pass(60);
    assert_eq!(
        holds(&world, 1, "license"),
        Some(json!("by hand")),
        "not on a change, not on a reactivation"
    );
    // Into an automatic assignment it is ours again.
    world.change(of(1, 5, "Support"));
    world.pass(60);
    assert_eq!(holds(&world, 1, "license"), Some(json!("basic")));
}

#[test]
fn what_others_change_of_automatic_settings_is_written_back_and_manual_ones_are_theirs() {
    let mut target = target();
    target.assignments[1].manual = true;
    target.drift = Some(Drift {
        every: std::time::Duration::from_secs(24 * 3600),
        mode: DriftMode::Repair,
    });
    let mut world = World::new(target);
    world.change(of(1, 1, "Sales"));
    world.change(of(2, 1, "Support"));
    world.pass(2 * 24 * 3600);
    for n in 1..=2 {
        let account = world.lane.links.get(&user_key(n)).unwrap().remote_id.clone().unwrap();
        world
            .accounts
            .get_mut(&account.0)
            .unwrap()
            .insert(AttributePath("license".into()), json!("by hand"));
    }
    world.pass(3 * 24 * 3600);
    assert_eq!(
        [1, 2].map(|n| holds(&world, n, "license")),
        [Some(json!("pro")), Some(json!("by hand"))]
    );
}
