//! What is told of each action: one outcome, and the same id for the same thing.

use std::collections::BTreeMap;

use usher_contract::{Known, Outcome, OutcomeResult};

use super::{
    guarding::{forty, guarded, order, taken_over, the_set},
    world::{World, refusal},
};
use crate::connector::{Failure, Operation};
use crate::logic::{
    command::Verb,
    testing::{Change, person, user_key},
};

/// The write under way of this account ends like this.
fn answer(world: &mut World, account: &str, failure: Option<Failure>) {
    world.commit();
    let write = world.open.iter().find(
        |(_, operation)| matches!(operation, Operation::Update { id, .. } | Operation::Delete(id) if id.0 == account),
    );
    let (id, operation) = write.cloned().expect("a write under way");
    let result = match failure {
        Some(failure) => Err(failure),
        None => Ok(world.answer(&operation)),
    };
    world.end(id, result);
    while world.commit() {}
}

/// One of each: done, tried again, refused, skipped, held, released, halted, and two commands.
fn history() -> World {
    let mut world = forty();
    world.change(person(41));
    world.settle();
    world.change(person(21).version(2).titled("B"));
    answer(&mut world, "r21", Some(Failure::Retry(refusal("http-503"), None)));
    world.pass(60);
    world.change(person(22).version(2).titled("B"));
    answer(&mut world, "r22", Some(Failure::Reject(refusal("http-400"))));
    let mut nameless = person(42);
    nameless.user.family_name = Known::Value(String::new());
    world.change(nameless);
    world.settle();
    for n in 1..=6 {
        world.change(person(n).version(2).inactive());
        world.settle();
    }
    world.pass(120);
    order(&mut world, 0, Verb::Resume);
    let set = the_set(&world);
    order(&mut world, 1, Verb::Approve { set });
    world.change(person(23).version(2).titled("B"));
    answer(&mut world, "r23", Some(Failure::Halt(refusal("http-401"))));
    world.pass(120);
    world
}

fn word(outcome: &Outcome) -> (String, String, OutcomeResult) {
    let who = outcome.user.map_or_else(|| "-".to_owned(), |user| user.to_string());
    (who, outcome.action.clone(), outcome.result)
}

#[test]
fn everything_that_is_tried_skipped_held_released_or_refused_is_told_once() {
    let world = history();
    let mut told: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for outcome in &world.outcomes {
        let (who, action, result) = word(outcome);
        told.entry(format!("{who} {action} {result:?}"))
            .or_default()
            .push(outcome);
    }
    let of = |n: u32, what: &str| format!("{} {what}", user_key(n));
    let mut expected = vec![
        of(41, "create Done"),
        of(21, "update Retry"),
        of(21, "update Done"),
        of(22, "update Rejected"),
        of(42, "skip Skipped"),
        of(23, "update Done"),
        of(6, "deactivate Held"),
        of(6, "deactivate Done"),
        "- hold Held".to_owned(),
        "- resume Rejected".to_owned(),
        "- approve Released".to_owned(),
        "- approve Done".to_owned(),
        "- halt Halted".to_owned(),
        "- resume Done".to_owned(),
    ];
    expected.extend((1..=5).map(|n| of(n, "deactivate Done")));
    expected.sort();
    let kinds: Vec<String> = told.keys().cloned().collect();
    assert_eq!(kinds, expected);
    for (what, outcomes) in &told {
        assert_eq!(outcomes.len(), 1, "{what}: {outcomes:?}");
        assert!(
            outcomes[0].reasons.iter().all(|words| !words.is_empty()) && !outcomes[0].reasons.is_empty(),
            "{what}"
        );
    }
    let the = |what: String| told[&what][0];
    // Whatever did not end well says so in a stable word and in words.
    for (what, code) in [
        (of(21, "update Retry"), "http-503"),
        (of(22, "update Rejected"), "http-400"),
        ("- halt Halted".to_owned(), "http-401"),
    ] {
        let outcome = the(what);
        assert_eq!(
            (outcome.error_code.as_deref(), outcome.error.as_deref()),
            (Some(code), Some("because"))
        );
    }
    assert_eq!(
        (
            the(of(21, "update Retry")).attempt,
            the(of(21, "update Done")).attempt,
            the(of(22, "update Rejected")).attempt
        ),
        (1, 2, 1)
    );
    // Who has released it, and who has asked.
    for what in [
        "- approve Released".to_owned(),
        "- approve Done".to_owned(),
        "- resume Rejected".to_owned(),
        of(6, "deactivate Done"),
    ] {
        assert_eq!(the(what.clone()).actor.as_deref(), Some("ada"), "{what}");
    }
    for outcome in world.outcomes.iter().filter(|outcome| outcome.user.is_some()) {
        assert_eq!(outcome.configuration, guarded().hash);
        assert!(
            outcome.cause.is_some() && outcome.trace_id.is_some() && outcome.user_version > 0,
            "{outcome:?}"
        );
    }
    assert_eq!(world.dead_letters, 1, "of the one who is refused");
}

#[test]
fn the_same_history_tells_the_same_ids_and_no_id_twice() {
    let ids = |world: &World| -> Vec<String> { world.outcomes.iter().map(|outcome| outcome.id.clone()).collect() };
    let (one, other) = (history(), history());
    assert_eq!(ids(&one), ids(&other));
    let mut apart = ids(&one);
    apart.sort();
    apart.dedup();
    assert_eq!(apart.len(), one.outcomes.len());
    // An id names what it is of: nothing else has it.
    let retried = one
        .outcomes
        .iter()
        .find(|outcome| outcome.result == OutcomeResult::Retry)
        .unwrap();
    let head = format!("gong/{}/2/update/1/", user_key(21));
    assert!(retried.id.starts_with(&head), "{}", retried.id);
}

#[test]
fn what_was_told_is_not_told_again_by_another_owner() {
    let before = history();
    let told = before.outcomes.len();
    let mut world = taken_over(before, guarded());
    super::guarding::start(&mut world);
    world.pass(3600);
    let again: Vec<_> = world.outcomes.iter().map(word).collect();
    assert_eq!(again, [], "after {told} that were told before");
}
