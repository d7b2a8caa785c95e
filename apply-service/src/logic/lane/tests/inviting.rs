//! The target's own activation and password-reset mails: for one person and for a selection, each once, with its outcome.

use usher_contract::{Approval, Known, OutcomeResult, TargetName};
use usher_filter::People;

use super::super::*;
use super::world::{World, refusal};
use crate::{
    connector::{Failure, Operation},
    logic::{
        command::{self, Command, Verb},
        notification::{NoticeState, Onboarding},
        policy::{Drift, DriftMode, TargetPolicy},
        scope::Everybody,
        testing::{Change, at, person, policy, user_key},
    },
};

/// People of the test: odd ones are of Sales, the department of 5 is unknown.
struct Table;

impl People for Table {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&usher_contract::User)) {
        let Some(n) = (1..=9).find(|n| user_key(*n) == key) else {
            return;
        };
        let mut user = person(n).user;
        user.department = match n {
            5 => Known::Unknown,
            n if n % 2 == 1 => Known::Value("Sales".into()),
            _ => Known::Value("IT".into()),
        };
        then(&user);
    }
}

fn inviting() -> TargetPolicy {
    let mut target = policy();
    target.features.invite = true;
    target
}

/// Six people with accounts, the second switched off.
fn world(target: TargetPolicy) -> World {
    let mut world = World::new(target);
    let placeholder = Lane::new(
        Arc::new(policy()),
        Links::default(),
        None,
        crate::logic::testing::OWNER,
        world.now,
    );
    world.lane = std::mem::replace(&mut world.lane, placeholder).among(Everybody::new(Arc::new(Table)));
    for n in 1..=6 {
        world.change(person(n));
    }
    world.pass(60);
    world.change(person(2).version(2).inactive());
    world.pass(3600);
    world.writes.clear();
    world.outcomes.clear();
    world
}

fn order(world: &mut World, user: Option<u32>, filter: Option<&str>) -> (OutcomeResult, String) {
    let offset = world.lane.record.commands_done;
    let verb = Verb::Invite {
        user: user.map(user_key),
        filter: filter.map(str::to_owned),
    };
    let command = Command {
        format: command::FORMAT,
        id: format!("c{offset}"),
        target: TargetName::try_new("gong").unwrap(),
        verb,
        by: Approval {
            actor: "ada".into(),
            reason: "onboarding".into(),
            at: world.now,
        },
        expires_at: at(10_000_000),
    };
    world.give(Input::Command {
        offset,
        command: Box::new(command),
    });
    let id = format!("gong/command/c{offset}");
    loop {
        if let Some(outcome) = world.outcomes.iter().find(|outcome| outcome.id == id) {
            return (outcome.result, outcome.reasons[0].clone());
        }
        assert!(world.commit(), "a command ends as an outcome");
    }
}

fn invites(world: &World) -> Vec<&str> {
    world
        .writes
        .iter()
        .filter(|write| write.starts_with("invite"))
        .map(String::as_str)
        .collect()
}

#[test]
fn one_person_and_a_selection_are_sent_the_targets_own_mail_each_with_an_outcome() {
    let mut world = world(inviting());
    let (result, words) = order(&mut world, Some(1), None);
    assert_eq!(
        (result, words.as_str()),
        (
            OutcomeResult::Done,
            "the target's own activation or password-reset mail is asked for 1 people"
        )
    );
    world.settle();
    assert_eq!(invites(&world), ["invite r1"]);
    let link = world.lane.links.get(&user_key(1)).unwrap();
    assert_eq!(link.onboarding, Some(Onboarding::Invited));
    let (result, words) = order(&mut world, None, Some("Department = 'Sales'"));
    assert_eq!(result, OutcomeResult::Done);
    assert!(
        words.contains("for 2 people; 1 are left out because a field"),
        "{words}"
    );
    world.pass(60);
    assert_eq!(invites(&world), ["invite r1", "invite r1", "invite r3"]);
    let done: Vec<_> = world
        .outcomes
        .iter()
        .filter(|outcome| outcome.action == "invite" && outcome.user.is_some())
        .collect();
    assert_eq!(
        done.iter()
            .filter(|outcome| outcome.result == OutcomeResult::Done)
            .count(),
        4,
        "one of them is of the command"
    );
    assert!(done.iter().all(|outcome| outcome.actor.as_deref() == Some("ada")));
    // Everybody whose account is on.
    let (_, words) = order(&mut world, None, Some("all"));
    assert!(words.contains("for 5 people"), "{words}");
    world.pass(60);
    assert_eq!(invites(&world).len(), 8);
    assert!(
        !invites(&world).contains(&"invite r2"),
        "the account of the second is off"
    );
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let mut off = world(policy());
    for (user, filter) in [(Some(1), None), (None, Some("all"))] {
        let (result, words) = order(&mut off, user, filter);
        assert_eq!(result, OutcomeResult::Rejected);
        assert!(words.contains("features.invite is off"), "{words}");
    }
    assert_eq!(invites(&off), Vec::<&str>::new());
    let mut world = world(inviting());
    for (user, filter, expected) in [
        (Some(8), None, "has no account here"),
        (Some(2), None, "is off"),
        (None, Some("Departmnt = 'x'"), "the filter: "),
        (None, None, "name one person, or a filter"),
    ] {
        let (result, words) = order(&mut world, user, filter);
        assert_eq!(result, OutcomeResult::Rejected, "{words}");
        assert!(words.contains(expected), "{words}");
    }
    assert_eq!(invites(&world), Vec::<&str>::new());
}

#[test]
fn an_invitation_that_was_ordered_survives_the_owner_and_is_asked_for_once_at_a_time() {
    let mut world = world(inviting());
    order(&mut world, Some(1), None);
    // On its way; ordered again meanwhile.
    let (_, words) = order(&mut world, Some(1), None);
    assert!(words.contains("for 1 it was asked already"), "{words}");
    world.open.clear();
    world.restart();
    world.settle();
    assert_eq!(invites(&world), ["invite r1"]);
    world.restart();
    world.pass(60);
    assert_eq!(invites(&world), ["invite r1"]);
}

#[test]
fn a_refused_invitation_is_that_persons_alone_and_a_busy_target_is_asked_later() {
    let mut world = world(inviting());
    order(&mut world, None, Some("Department = 'Sales'"));
    for (code, failure) in [
        ("http-404", Failure::Halt(refusal("http-404"))),
        ("timeout", Failure::Retry(refusal("timeout"), None)),
    ] {
        let (id, operation) = world.pop();
        assert!(matches!(operation, Operation::Invite(_)), "{code}: {operation:?}");
        world.end(id, Err(failure));
        while world.commit() {}
        world.now = crate::logic::retry::after(world.now, Duration::from_secs(90));
        world.give(Input::Tick);
        while world.commit() {}
    }
    assert!(world.lane.status().circuit.is_none(), "the application works");
    world.pass(3600);
    let states: Vec<_> = [1, 3]
        .iter()
        .map(|n| world.lane.links.get(&user_key(*n)).unwrap().notices[0].state.clone())
        .collect();
    assert!(
        states
            .iter()
            .any(|state| matches!(state, NoticeState::Failed { code, .. } if code == "http-404")),
        "{states:?}"
    );
    assert!(
        states.iter().any(|state| matches!(state, NoticeState::Sent { .. })),
        "{states:?}"
    );
}

#[test]
fn leavers_and_edits_go_first_and_an_account_that_went_off_is_not_invited() {
    let mut target = inviting();
    target.pace.concurrency = 1;
    let mut world = world(target);
    world.change(person(3).version(2).titled("boss"));
    order(&mut world, None, Some("all"));
    world.change(person(1).version(2).inactive());
    world.pass(60);
    assert!(world.writes[0].starts_with("update r3"), "{:?}", world.writes);
    let off = world
        .writes
        .iter()
        .position(|write| write.starts_with("update r1"))
        .unwrap();
    let first = world
        .writes
        .iter()
        .position(|write| write.starts_with("invite"))
        .unwrap();
    assert!(off < first, "{:?}", world.writes);
    assert!(!invites(&world).contains(&"invite r1"));
    let void = world
        .outcomes
        .iter()
        .find(|outcome| outcome.result == OutcomeResult::Skipped)
        .unwrap();
    assert!(void.reasons[0].contains("off or gone by now"), "{void:?}");
}

#[test]
fn how_far_a_user_is_in_is_kept_as_the_target_says_it() {
    let mut target = inviting();
    target.drift = Some(Drift {
        every: Duration::from_secs(3600),
        mode: DriftMode::Report,
    });
    let mut world = world(target);
    let onboarding = |world: &World| world.lane.links.get(&user_key(1)).unwrap().onboarding;
    order(&mut world, Some(1), None);
    world.settle();
    assert_eq!(onboarding(&world), Some(Onboarding::Invited));
    // The user has followed the link: the next look at the whole target shows it.
    world.onboarding.insert("r1".into(), Onboarding::Activated);
    world.pass(3700);
    assert_eq!(onboarding(&world), Some(Onboarding::Activated));
    // A further mail does not take it back, and it belongs to the account.
    order(&mut world, Some(1), None);
    world.settle();
    assert_eq!(onboarding(&world), Some(Onboarding::Activated));
    let shown = serde_json::to_value(world.lane.links.get(&user_key(1)).unwrap()).unwrap();
    assert_eq!(shown["onboarding"], "activated");
    assert_eq!(
        world.lane.links.get(&user_key(3)).unwrap().onboarding,
        None,
        "unsaid is unsaid"
    );
}
