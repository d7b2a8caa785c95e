//! What settings have given is taken back also after tries that failed, answers that were lost, moves of the account to
//! another record, and assignments that leave their settings alone.

use serde_json::{Value, json};
use usher_contract::{Known, StateHash};
use usher_filter::{Fields, Filter};

use super::super::*;
use super::guarding::order;
use super::world::{World, refusal};
use crate::connector::Failure;
use crate::logic::{
    account::{AttributePath, RemoteId},
    assignments::Assignment,
    command::Verb,
    policy::{AttributeRule, TargetPolicy, ValueSource},
    source::SourceField,
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
        capture: [].into(),
        pending: vec![],
        waiting: [].into(),
        settings: StateHash::of_text(&format!("{settings:?}")),
        since: None,
    }
}

/// Sellers have a workspace, support has none.
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

fn path(name: &str) -> AttributePath {
    AttributePath(name.to_owned())
}

fn account(world: &World, n: u32) -> Option<RemoteId> {
    world.lane.links.get(&user_key(n))?.remote_id
}

/// Licence and workspace of somebody's account.
fn holds(world: &World, n: u32) -> [Value; 2] {
    let values = &world.accounts[&account(world, n).unwrap().0];
    ["license", "workspace"].map(|name| values.get(&path(name)).cloned().unwrap_or_default())
}

/// Lets the log commit until a write is under way, and answers it so. `arrives`: it has its effect all the same.
fn fails(world: &mut World, code: &str, arrives: bool) {
    loop {
        while world.commit() {}
        let (id, operation) = world.pop();
        if operation.is_write() {
            if arrives {
                world.answer(&operation);
            }
            return world.end(id, Err(Failure::Retry(refusal(code), None)));
        }
        let answer = world.answer(&operation);
        world.end(id, Ok(answer));
    }
}

fn started(target: TargetPolicy, change: UserChange) -> World {
    let mut world = World::new(target);
    world.change(change);
    world.pass(60);
    world
}

#[test]
fn what_could_not_be_taken_back_is_taken_back_by_the_next_try() {
    for arrives in [false, true] {
        let mut world = started(target(), of(1, 1, "Sales"));
        assert_eq!(holds(&world, 1), [json!("pro"), json!("main")]);
        world.change(of(1, 2, "Support"));
        fails(&mut world, "http-503", arrives);
        world.pass(600);
        assert_eq!(holds(&world, 1), [json!("basic"), Value::Null], "arrives: {arrives}");
        world.writes.clear();
        world.restart();
        world.pass(3600);
        assert_eq!(world.writes, Vec::<String>::new(), "once");
    }
}

#[test]
fn what_may_have_been_given_is_taken_back_from_whoever_moves_before_it_is_certain() {
    let mut world = started(target(), of(1, 1, "Support"));
    world.change(of(1, 2, "Sales"));
    fails(&mut world, "http-500", true);
    assert_eq!(holds(&world, 1), [json!("pro"), json!("main")], "its answer is lost");
    world.change(of(1, 3, "Support"));
    world.pass(600);
    assert_eq!(holds(&world, 1), [json!("basic"), Value::Null]);
}

#[test]
fn what_an_account_was_made_with_is_taken_back_although_the_answer_was_lost() {
    let mut world = World::new(target());
    world.change(of(1, 1, "Sales"));
    fails(&mut world, "http-503", true);
    assert_eq!(account(&world, 1), None);
    world.change(of(1, 2, "Support"));
    world.pass(600);
    assert_eq!(world.accounts.len(), 1, "the same account");
    assert_eq!(holds(&world, 1), [json!("basic"), Value::Null]);
}

#[test]
fn a_link_that_is_doubted_knows_what_was_given() {
    let world = started(target(), of(1, 1, "Sales"));
    let doubted = world.lane.links.get(&user_key(1)).unwrap().doubted();
    let known: Vec<(&str, bool)> = doubted
        .written
        .iter()
        .map(|(path, written)| (path.0.as_str(), written.doubted))
        .collect();
    assert_eq!(known, [("license", true), ("workspace", true)]);
}

#[test]
fn an_account_that_moves_to_a_later_record_loses_what_the_earlier_one_was_given() {
    let mut target = target();
    target.matching.person = SourceField::named("employeeNumber");
    let with = |n: u32, department: &str| {
        let mut change = of(n, 1, department);
        change.user.employee_number = Known::Value("1815".to_owned());
        change
    };
    let mut world = started(target, with(1, "Sales"));
    let name = world.people[&user_key(1)].user.username.clone();
    world.change(with(1, "Sales").version(2).inactive());
    world.pass(60);
    let mut again = with(2, "Support");
    again.user.username = name;
    world.change(again);
    world.pass(60);
    assert_eq!((account(&world, 1), world.accounts.len()), (None, 1), "it has moved");
    assert_eq!(holds(&world, 2), [json!("basic"), Value::Null]);
}

#[test]
fn whoever_moves_out_of_a_manual_assignment_loses_what_it_gave() {
    let mut target = target();
    target.assignments[0].manual = true;
    let mut world = started(target, of(1, 1, "Sales"));
    world.change(of(1, 2, "Sales").titled("AE"));
    world.pass(60);
    assert_eq!(holds(&world, 1), [json!("pro"), json!("main")]);
    world.change(of(1, 3, "Support"));
    world.pass(60);
    assert_eq!(holds(&world, 1), [json!("basic"), Value::Null]);
}

#[test]
fn what_others_set_while_an_assignment_was_manual_is_ours_again_after_it() {
    let mut target = target();
    target.assignments[1].manual = true;
    let mut world = started(target, of(1, 1, "Sales"));
    world.change(of(1, 2, "Support"));
    world.pass(60);
    let id = account(&world, 1).unwrap();
    let values = world.accounts.get_mut(&id.0).unwrap();
    values.insert(path("workspace"), json!("by hand"));
    world.change(of(1, 3, "Sales"));
    world.pass(60);
    assert_eq!(holds(&world, 1), [json!("pro"), json!("main")]);
}

#[test]
fn an_account_that_an_operator_names_gets_the_settings_although_an_edit_waits() {
    let mut world = started(target(), of(1, 1, "Sales"));
    let mut target = (*world.lane.target).clone();
    target.assignments[0] = assignment("sellers", "Sales", &[("license", "max")]);
    target.hash = StateHash::of_text("edited");
    world.lane.target = std::sync::Arc::new(target);
    world.restart();
    world.pass(60);
    assert_eq!(holds(&world, 1), [json!("pro"), json!("main")], "an edit waits");
    let other = world.accounts["r1"].clone();
    let bare = other.into_iter().filter(|(path, _)| path.0 == "active").collect();
    world.accounts.insert("other".to_owned(), bare);
    let (user, account) = (user_key(1), RemoteId("other".to_owned()));
    order(&mut world, 0, Verb::Relink { user, account });
    world.pass(60);
    assert_eq!(holds(&world, 1), [json!("max"), Value::Null]);
}
