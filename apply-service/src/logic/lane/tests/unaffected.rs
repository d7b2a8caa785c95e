//! Who need not be fed: only those about whom nothing would be done, whatever has happened before.

use std::{sync::Arc, time::Duration};

use proptest::{collection, prelude::*};
use usher_contract::{Known, UserChange, UserKey};
use usher_filter::{Fields, Filter};
use usher_packed::{Differences, Loose, Pool, View};

use super::world::World;
use crate::logic::{
    lane::Input,
    plan::{Action, Remote},
    policy::{Disposition, TargetPolicy},
    retry::after,
    testing::{Change, person, policy, row, user_key},
};

fn differing(before: &UserChange, after: &UserChange) -> Differences {
    let mut pool = Pool::default();
    let packed = Loose::of(&View::of(&before.user)).settle(None, &mut pool, &mut Vec::new());
    Loose::of(&View::of(&after.user)).differences(&packed, &pool)
}

/// Looks at a date, at frozen log-ins and at managers' accounts, and deletes accounts an hour after they went off.
fn target() -> TargetPolicy {
    let mut target = policy();
    let filter = Filter::parse("Department != 'Out' AND CreatedDate < TODAY", &Fields::default());
    target.scope.filter = Some(filter.unwrap());
    target.lifecycle.frozen = Disposition::Deactivate;
    target.lifecycle.delete_after = Some(Duration::from_secs(3600));
    target.features.delete = true;
    target.attributes.push(row("manager.value", &["manager"]));
    target
}

/// Feeds a newer state unless it need not be; whether it was fed.
fn feed(world: &mut World, change: UserChange) -> bool {
    let user = change.user.key();
    let told = world
        .people
        .get(&user)
        .map_or(Differences::EVERYTHING, |known| differing(known, &change));
    if !world.lane.is_unaffected(&user, &told) {
        world.change(change);
        return true;
    }
    let plan = world.lane.plan(&change, &Remote::NotLooked, false, world.now);
    assert_eq!((plan.action, plan.missing.len()), (Action::Noop, 0), "{plan}");
    world.people.insert(user, Arc::new(change));
    false
}

/// What becomes another about somebody.
type Edit = Box<dyn Fn(&mut UserChange)>;

#[derive(Debug, Clone)]
enum Event {
    Title(u32, u8),
    Phone(u32, u8),
    Department(u32, bool),
    Active(u32, bool),
    Frozen(u32, bool),
    Manager(u32, Option<u32>),
    Removed(u32, bool),
    /// Created on a day that has not begun.
    Created(u32, i64),
    Again(u32),
    Settle,
    Pass(u32),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 1..4_u32;
    prop_oneof![
        4 => (who(), any::<u8>()).prop_map(|(who, phone)| Event::Phone(who, phone)),
        2 => (who(), 0..3_u8).prop_map(|(who, title)| Event::Title(who, title)),
        1 => (who(), any::<bool>()).prop_map(|(who, out)| Event::Department(who, out)),
        2 => (who(), any::<bool>()).prop_map(|(who, active)| Event::Active(who, active)),
        1 => (who(), any::<bool>()).prop_map(|(who, frozen)| Event::Frozen(who, frozen)),
        2 => (who(), option_of(who())).prop_map(|(who, manager)| Event::Manager(who, manager)),
        1 => (who(), any::<bool>()).prop_map(|(who, removed)| Event::Removed(who, removed)),
        1 => (who(), -2..2_i64).prop_map(|(who, days)| Event::Created(who, days)),
        1 => who().prop_map(Event::Again),
        6 => Just(Event::Settle),
        2 => (0..100_000_u32).prop_map(Event::Pass),
        1 => Just(Event::Restart),
    ]
}

fn option_of(who: impl Strategy<Value = u32>) -> impl Strategy<Value = Option<u32>> {
    proptest::option::of(who)
}

fn happens(world: &mut World, event: &Event, fed: &mut [u32; 2]) {
    let newest = |world: &World, who: u32| {
        let mut change = world.people.get(&user_key(who)).map_or_else(
            || {
                let mut new = person(who).version(0);
                new.user.department = Known::Value("Sales".to_owned());
                new.user.frozen = Known::Value(false);
                new.user.created_at =
                    Known::Value(after(world.now, Duration::ZERO) - jiff::SignedDuration::from_hours(72));
                new.user.manager_id = Known::Empty;
                new
            },
            |known| (**known).clone(),
        );
        change.version += 1;
        change
    };
    let (who, edit): (u32, Edit) = match *event {
        Event::Title(who, title) => (
            who,
            Box::new(move |change| change.user.title = Known::Value(format!("t{title}"))),
        ),
        Event::Phone(who, phone) => (
            who,
            Box::new(move |change| change.user.phone = Known::Value(phone.to_string())),
        ),
        Event::Department(who, out) => (
            who,
            Box::new(move |change| change.user.department = Known::Value(if out { "Out" } else { "Sales" }.to_owned())),
        ),
        Event::Active(who, active) => (who, Box::new(move |change| change.user.active = Known::Value(active))),
        Event::Frozen(who, frozen) => (who, Box::new(move |change| change.user.frozen = Known::Value(frozen))),
        Event::Manager(who, manager) => (
            who,
            Box::new(move |change| change.user.manager_id = Known::from_option(manager.map(|n| user_key(n).user))),
        ),
        Event::Removed(who, removed) => (who, Box::new(move |change| change.user.removed = removed)),
        Event::Created(who, days) => {
            let at = world.now + jiff::SignedDuration::from_hours(24 * days);
            (who, Box::new(move |change| change.user.created_at = Known::Value(at)))
        }
        Event::Again(who) => {
            if let Some(change) = world.people.get(&user_key(who)).cloned() {
                world.give(Input::User { change, again: true });
            }
            return;
        }
        Event::Settle => return world.settle(),
        Event::Pass(seconds) => {
            world.now = after(world.now, Duration::from_secs(seconds.into()));
            world.give(Input::Tick);
            return;
        }
        Event::Restart => return world.restart(),
    };
    let mut change = newest(world, who);
    edit(&mut change);
    change.cause.observed_at = world.now;
    fed[usize::from(feed(world, change))] += 1;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whoever_need_not_be_fed_has_nothing_to_be_done(events in collection::vec(event(), 1..60)) {
        let mut world = World::new(target());
        let mut fed = [0, 0];
        for event in &events {
            happens(&mut world, event, &mut fed);
        }
        world.settle();
        // Everybody as they are by now: nothing was left undone.
        let writes = world.writes.len();
        let people: Vec<UserKey> = world.people.keys().copied().collect();
        for user in people {
            let change = Arc::clone(&world.people[&user]);
            world.give(Input::User { change, again: false });
        }
        world.settle();
        prop_assert_eq!(world.writes.len(), writes);
    }
}

#[test]
fn most_of_those_who_differ_in_nothing_used_are_not_fed() {
    let mut world = World::new(target());
    let mut fed = [0, 0];
    for who in 1..4 {
        happens(&mut world, &Event::Title(who, 1), &mut fed);
    }
    world.settle();
    assert_eq!(fed, [0, 3]);
    for (event, expected) in [
        (Event::Phone(1, 1), [1, 3]),
        (Event::Title(2, 2), [1, 4]),
        // Its write is under way.
        (Event::Phone(2, 1), [1, 5]),
        (Event::Settle, [1, 5]),
        (Event::Phone(2, 2), [2, 5]),
        (Event::Active(3, false), [2, 6]),
        (Event::Settle, [2, 6]),
        (Event::Phone(3, 1), [3, 6]),
        // The same once more after everybody was taken over anew.
        (Event::Restart, [3, 6]),
        (Event::Phone(1, 2), [4, 6]),
    ] {
        happens(&mut world, &event, &mut fed);
        assert_eq!(fed, expected, "{event:?}");
    }
    // The account of the one who left is deleted when it is due, although the last states were passed over.
    let before = world.writes.len();
    happens(&mut world, &Event::Pass(3600), &mut fed);
    world.settle();
    assert_eq!(world.writes.len(), before + 1);
}

#[test]
fn whoever_is_kept_is_fed_each_version_so_that_a_new_policy_is_seen_to_be_what_switches_them_off() {
    let mut target = policy();
    target.lifecycle.inactive = Disposition::Keep;
    let mut world = World::new(target.clone());
    world.change(person(1));
    world.change(person(2));
    world.pass(60);
    world.change(person(1).version(2).inactive());
    world.pass(60);
    let phoned = |n: u32| {
        let mut change = person(n).version(3);
        change.user.phone = Known::Value("1".to_owned());
        change
    };
    assert!(feed(&mut world, phoned(1).inactive()), "kept");
    world.pass(60);
    assert!(!feed(&mut world, phoned(2)), "nothing of it is used");
    target.lifecycle.inactive = Disposition::Deactivate;
    target.hash = usher_contract::StateHash::of_text("policy 2");
    world.lane.target = Arc::new(target);
    world.restart();
    world.pass(60);
    let link = world.lane.links.get(&user_key(1)).unwrap();
    assert_eq!((link.active, link.removal_inferred), (Some(false), true));
}
