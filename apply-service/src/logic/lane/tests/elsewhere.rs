//! Another application than the one that is known: nothing that was found out at the other one counts here.

use usher_contract::StateHash;

use super::super::*;
use super::{
    guarding::{forty, guarded, order, taken_over},
    world::{World, refusal},
};
use crate::{
    connector::{Failure, Operation},
    logic::{
        command::Verb,
        policy::TargetPolicy,
        testing::{Change, person, user_key},
    },
};

/// The same target at another address.
fn moved(target: TargetPolicy) -> TargetPolicy {
    let tenant = StateHash::of_text("https://two.example");
    TargetPolicy {
        tenant,
        tenant_as_written: tenant,
        ..target
    }
}

/// Everybody is fed, and what follows happens.
fn start(world: &mut World) {
    for change in world.people.values().cloned().collect::<Vec<_>>() {
        world.give(Input::User { change, again: false });
    }
    world.give(Input::AllFed);
    world.settle();
}

fn words(world: &World) -> Vec<String> {
    let about = world.outcomes.iter().filter(|outcome| outcome.action == "moved");
    about.flat_map(|outcome| outcome.reasons.clone()).collect()
}

#[test]
fn the_report_of_another_application_is_not_the_one_that_is_approved() {
    let mut target = guarded();
    target.matching.approve_first_sync = true;
    let mut world = World::new(target.clone());
    world.accounts.insert("x".into(), [].into());
    for n in 1..=3 {
        world.change(person(n));
    }
    world.pass(60);
    let status = world.lane.status();
    assert!(status.first_sync_waits, "nobody is linked, and the report waits");
    assert_eq!(status.first_sync.map(|report| report.accounts), Some(1));

    // That was the wrong address. Even if an approval is on the way, the new one is listed first.
    let mut world = taken_over(world, moved(target));
    world.accounts.clear();
    let status = world.lane.status();
    assert_eq!((status.first_sync, status.first_sync_waits), (None, false));
    order(
        &mut world,
        0,
        Verb::Approve {
            set: "first-sync".into(),
        },
    );
    start(&mut world);
    let status = world.lane.status();
    assert!(
        status.first_sync_waits && world.accounts.is_empty(),
        "{:?}",
        world.writes
    );
    assert_eq!(status.first_sync.map(|report| report.accounts), Some(0));
    assert_eq!(words(&world).len(), 1, "{:?}", words(&world));
    order(
        &mut world,
        1,
        Verb::Approve {
            set: "first-sync".into(),
        },
    );
    world.pass(60);
    assert_eq!(world.accounts.len(), 3);
    // Said once, not by every owner.
    world.restart();
    assert_eq!(words(&world).len(), 1);
}

#[test]
fn an_owner_who_dies_when_the_last_link_is_void_leaves_a_first_sync_to_its_successor() {
    let mut target = guarded();
    target.matching.approve_first_sync = true;
    let mut world = taken_over(forty(), moved(target.clone()));
    world.accounts.clear();
    start(&mut world);
    super::guarding::tell(&mut world, 0, Verb::Approve { set: "moved".into() });
    while world.lane.links.linked() > 0 {
        if let Some((id, operation)) = world.open.first().cloned() {
            let answer = world.answer(&operation);
            world.end(id, Ok(answer));
        } else {
            // What the last of these commits brings about is lost with the owner.
            assert!(world.commit(), "nothing moves");
        }
    }
    let record = world.record.clone().unwrap();
    assert!(
        record.moved_since.is_some() && record.imported == Some(true),
        "{record:?}"
    );
    let mut world = taken_over(world, moved(target));
    start(&mut world);
    world.pass(600);
    let status = world.lane.status();
    assert!(status.first_sync_waits && !status.moved, "{status:?}");
    assert_eq!((world.lane.record.imported, world.writes.len()), (Some(false), 0));
    let said = words(&world).join("; ");
    assert!(said.contains("begins with a first sync"), "{said}");
    assert!(!said.contains("those of the links again"), "{said}");
}

#[test]
fn what_was_only_begun_at_another_application_is_void_like_its_links() {
    // Without our keys there: a match of somebody with an open intent would be taken for what came of it.
    for linked in [0, 2] {
        let mut target = guarded();
        target.matching.keeps_external_ids = false;
        target.guard.windows = vec![];
        let mut world = World::new(target.clone());
        for n in 2..2 + linked {
            world.change(person(n));
        }
        world.pass(3600);
        world.change(person(1));
        let (id, _) = super::accounts::until(&mut world, Operation::is_write);
        world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
        while world.commit() {}
        let intends = |world: &World| {
            let link = world.lane.links.get(&user_key(1));
            link.is_some_and(|link| link.create_intent)
        };
        assert!(intends(&world));
        world.open.clear();

        let mut world = taken_over(world, moved(target));
        world.accounts.clear();
        world.accounts.insert("x".into(), super::settings::named(1));
        start(&mut world);
        assert!(
            world.lane.status().moved && intends(&world),
            "held until somebody has looked"
        );
        // Whoever leaves has nothing there: the account with that name is somebody else's.
        world.change(person(1).version(2).inactive());
        order(&mut world, 0, Verb::Approve { set: "moved".into() });
        world.pass(60);
        assert!(!world.lane.status().moved && !intends(&world), "{linked} links");
        let theirs = world.writes.iter().filter(|write| write.contains('x')).count();
        assert_eq!(theirs, 0, "{:?}", world.writes);
    }
}
