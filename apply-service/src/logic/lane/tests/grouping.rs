//! Groups in the lane: made once, filled in bounded requests, read back, held when emptied, and found again by a successor.

use std::collections::BTreeSet;

use usher_contract::{GroupRef, Known, OutcomeResult, UserChange};

use super::world::{World, refusal};
use crate::{
    connector::{Failure, Operation},
    logic::{
        account::{AttributePath, RemoteId},
        guard::Guard,
        lane::{Answer, Input, Links},
        link::Link,
        policy::TargetPolicy,
        testing::{Change, group_rules, person, policy, user_key},
    },
};

fn target(change: impl FnOnce(&mut TargetPolicy)) -> TargetPolicy {
    let mut target = TargetPolicy {
        groups: Some(group_rules()),
        ..policy()
    };
    change(&mut target);
    target
}

/// A person who is in these groups of the source: number and name.
fn member(n: u32, version: u64, groups: &[(u32, &str)]) -> UserChange {
    let mut change = person(n).version(version);
    let of = |(id, name): &(u32, &str)| GroupRef {
        id: format!("00G{id:012}").parse().unwrap(),
        name: Known::Value((*name).to_owned()),
        direct: true,
    };
    change.user.groups = Known::Value(groups.iter().map(of).collect());
    change.cause.observed_at = crate::logic::testing::at(i64::try_from(version).unwrap());
    change
}

const SALES: (u32, &str) = (1, "Sales");
const EMEA: (u32, &str) = (2, "EMEA");

fn members(world: &World, name: &str) -> Vec<String> {
    let group = world.groups.values().find(|(known, _)| known == name);
    group
        .map(|(_, members)| members.iter().cloned().collect())
        .unwrap_or_default()
}

fn about_groups(world: &World) -> Vec<&str> {
    let writes = world.writes.iter().map(String::as_str);
    writes.filter(|write| write.contains("group")).collect()
}

/// Words of outcomes about groups.
fn said(world: &World) -> BTreeSet<String> {
    let about = |action: &str| matches!(action, "group" | "set-groups");
    let outcomes = world.outcomes.iter().filter(|outcome| about(&outcome.action));
    outcomes
        .map(|outcome| format!("{:?}: {}", outcome.result, outcome.reasons.join("; ")))
        .collect()
}

#[test]
fn people_come_first_then_their_group_is_made_once_then_they_join_it() {
    let mut world = World::new(target(|_| {}));
    for n in 1..=3 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    assert_eq!(
        world.writes,
        [
            "create r1",
            "create r2",
            "create r3",
            "create group Sales as g1",
            "change group g1 +3 -0"
        ]
    );
    assert_eq!(members(&world, "Sales"), ["r1", "r2", "r3"]);
    let said = said(&world);
    assert!(
        said.contains("Done: made group Sales") && said.contains("Done: join group Sales"),
        "{said:?}"
    );
    let status = world.lane.status().groups.unwrap();
    assert_eq!(
        (status.linked, status.made, status.joining, status.leaving),
        (1, 1, 0, 0)
    );
    let record = world.group_records.values().next().unwrap();
    assert!(!record.unread && record.read_at.is_some(), "read back: {record:?}");
    assert_eq!(world.lane.links().groups.of(&user_key(2)), ["Sales"]);
    world.restart();
    world.pass(120);
    assert_eq!(
        about_groups(&world).len(),
        2,
        "a new owner finds nothing to do: {:?}",
        world.writes
    );
}

#[test]
fn whoever_waits_for_an_account_comes_before_every_group() {
    // One operation at a time: the first have their accounts, and others are not even looked up.
    let mut world = World::new(target(|target| target.pace.concurrency = 1));
    for n in 1..=60 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    let made_before = world.writes.iter().take_while(|write| !write.contains("group")).count();
    // While the last of them is on the way a group may be looked for.
    assert!(made_before > 50, "{:?}", world.writes);
    assert_eq!(members(&world, "Sales").len(), 60);
}

#[test]
fn a_group_of_ten_thousand_is_filled_in_bounded_requests_and_read_once() {
    let target = target(|target| target.pace.per_second = 1_000_000.0);
    let mut links = Links::default();
    for n in 1..=10_000 {
        let link = Link {
            remote_id: Some(RemoteId(format!("r{n}"))),
            active: Some(true),
            ..Link::unlinked(1, target.hash)
        };
        links.put(user_key(n), Some(link));
    }
    let mut world = World::over(target, links, None);
    for n in 1..=10_000 {
        let account = [("externalId".to_owned(), user_key(n).user.to_string())];
        let values = account.map(|(path, value)| (AttributePath(path), value.into()));
        world.accounts.insert(format!("r{n}"), values.into());
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    assert_eq!(members(&world, "Sales").len(), 10_000);
    let changes: Vec<&str> = about_groups(&world)
        .into_iter()
        .filter(|write| write.starts_with("change"))
        .collect();
    assert_eq!(changes.len(), 100, "100 at once");
    assert!(
        changes.iter().all(|change| *change == "change group g1 +100 -0"),
        "{changes:?}"
    );
    // Somebody leaves: one request with one member, and the others stay.
    world.writes.clear();
    world.change(member(7, 2, &[]));
    world.pass(60);
    assert_eq!(world.writes, ["change group g1 +0 -1"]);
    assert_eq!(members(&world, "Sales").len(), 9_999);
}

#[test]
fn a_lost_answer_to_a_create_is_looked_up_and_the_group_is_ours() {
    let mut world = World::new(target(|_| {}));
    world.change(member(1, 1, &[SALES]));
    while !matches!(world.open.first(), Some((_, Operation::CreateGroup { .. }))) {
        step(&mut world);
    }
    let (id, operation) = world.pop();
    assert!(
        world.group_records.values().all(|record| record.creating),
        "the intent is committed before the request"
    );
    world.answer(&operation);
    world.end(id, Err(Failure::Retry(refusal("timeout"), None)));
    world.pass(60);
    assert_eq!(
        about_groups(&world),
        ["create group Sales as g1", "change group g1 +1 -0"]
    );
    assert_eq!(world.lane.status().groups.unwrap().made, 1);
}

/// One answer or one commit.
fn step(world: &mut World) {
    match world.open.first().cloned() {
        Some((id, operation)) => {
            let answer = world.answer(&operation);
            world.end(id, Ok(answer));
        }
        None => assert!(world.commit(), "nothing goes on"),
    }
}

#[test]
fn a_crash_after_the_request_leaves_no_second_group_and_nobody_behind() {
    for stop_at in ["create", "join", "leave"] {
        let mut world = World::new(target(|_| {}));
        world.change(member(1, 1, &[SALES]));
        let stops = |operation: &Operation| match (stop_at, operation) {
            ("create", Operation::CreateGroup { .. }) => true,
            ("join", Operation::ChangeMembers { add, .. }) => !add.is_empty(),
            ("leave", Operation::ChangeMembers { remove, .. }) => !remove.is_empty(),
            _ => false,
        };
        if stop_at == "leave" {
            world.pass(60);
            world.change(member(1, 2, &[]));
        }
        while !world.open.first().is_some_and(|(_, operation)| stops(operation)) {
            step(&mut world);
        }
        // It arrives, nobody hears of it, and meanwhile the person changes their mind.
        let (_, operation) = world.pop();
        world.answer(&operation);
        let wanted = if stop_at == "leave" { vec![SALES] } else { vec![] };
        let change = std::sync::Arc::new(member(1, 3, &wanted));
        world.people.insert(user_key(1), change);
        world.crash();
        world.pass(120);
        let expected: &[&str] = if stop_at == "leave" { &["r1"] } else { &[] };
        assert_eq!(members(&world, "Sales"), expected, "{stop_at}");
        let made = about_groups(&world)
            .iter()
            .filter(|write| write.starts_with("create"))
            .count();
        assert_eq!(made, 1, "{stop_at}: {:?}", world.writes);
    }
}

#[test]
fn only_groups_that_we_made_or_that_the_map_names_are_left() {
    for (made_by_others, mapped, stale, expected) in [
        (false, false, true, 0),
        (true, false, true, 1),
        (true, true, true, 0),
        (false, false, false, 1),
    ] {
        let mut world = World::new(target(|target| {
            let rules = target.groups.as_mut().unwrap();
            rules.remove_stale = stale;
            if mapped {
                rules.map.insert("sales".into(), Some("Sales".into()));
            }
        }));
        if made_by_others {
            world.groups.insert("g9".into(), ("Sales".into(), BTreeSet::new()));
        }
        world.change(member(1, 1, &[SALES]));
        world.pass(60);
        assert_eq!(members(&world, "Sales"), ["r1"]);
        world.change(member(1, 2, &[EMEA]));
        world.pass(60);
        assert_eq!(members(&world, "EMEA"), ["r1"]);
        assert_eq!(
            members(&world, "Sales").len(),
            expected,
            "{made_by_others} {mapped} {stale}"
        );
        assert!(world.groups.values().any(|(name, _)| name == "Sales"), "never deleted");
    }
}

#[test]
fn strangers_stay_and_linked_people_who_do_not_belong_leave() {
    let mut world = World::new(target(|target| {
        let rules = target.groups.as_mut().unwrap();
        rules.map.insert("sales".into(), Some("Sales".into()));
    }));
    let there = ["stranger", "r2"].map(str::to_owned);
    world.groups.insert("g9".into(), ("Sales".into(), there.into()));
    world.change(member(1, 1, &[SALES]));
    world.change(member(2, 1, &[]));
    world.pass(60);
    assert_eq!(members(&world, "Sales"), ["r1", "stranger"]);
}

#[test]
fn whoever_left_keeps_their_groups_unless_the_policy_says_otherwise() {
    for (remove_leavers, expected) in [(false, vec!["r1"]), (true, vec![])] {
        let mut world = World::new(target(|target| {
            target.groups.as_mut().unwrap().remove_leavers = remove_leavers
        }));
        world.change(member(1, 1, &[SALES]));
        world.pass(60);
        world.writes.clear();
        world.change(member(1, 2, &[]).inactive());
        world.pass(60);
        assert_eq!(members(&world, "Sales"), expected);
        assert!(
            world.writes[0].starts_with("update r1"),
            "switched off first: {:?}",
            world.writes
        );
        // The target has thrown them out meanwhile: whoever comes back is added again.
        world.groups.values_mut().for_each(|(_, members)| members.clear());
        world.change(member(1, 3, &[SALES]));
        world.pass(60);
        assert_eq!(members(&world, "Sales"), ["r1"]);
    }
}

#[test]
fn what_is_unknown_takes_nobody_out() {
    let mut world = World::new(target(|_| {}));
    world.change(member(1, 1, &[SALES]));
    world.pass(60);
    let mut change = member(1, 2, &[]);
    change.user.groups = Known::Unknown;
    world.change(change);
    world.pass(60);
    assert_eq!(members(&world, "Sales"), ["r1"]);
    world.change(member(1, 3, &[]));
    world.pass(60);
    assert!(members(&world, "Sales").is_empty());
}

fn guarded() -> World {
    let mut world = World::new(target(|target| {
        target.guard = Guard {
            changes_percent: 1000,
            ..Guard::default()
        };
    }));
    for n in 1..=40 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(900);
    assert_eq!(members(&world, "Sales").len(), 40);
    world.writes.clear();
    world
}

fn held_set(world: &World) -> String {
    let sets: Vec<String> = world.lane.status().held_sets.into_keys().collect();
    assert_eq!(sets.len(), 1, "{sets:?}");
    sets.into_iter().next().unwrap()
}

#[test]
fn emptying_a_group_is_held_across_owners_until_an_operator_releases_it() {
    let mut world = guarded();
    for n in 1..=40 {
        world.people.insert(user_key(n), std::sync::Arc::new(member(n, 2, &[])));
    }
    // Judged as a whole before the first of them leaves.
    world.restart();
    world.pass(300);
    assert_eq!(members(&world, "Sales").len(), 40, "{:?}", world.writes);
    let set = held_set(&world);
    assert_eq!(world.lane.status().held_sets[&set].members, 40);
    assert!(
        world.record.as_ref().unwrap().held[&set]
            .reason
            .starts_with("members of group Sales: 40 removals")
    );
    let held = |world: &World| {
        world
            .outcomes
            .iter()
            .filter(|outcome| outcome.result == OutcomeResult::Held)
            .count()
    };
    assert_eq!(held(&world), 41, "the set and its members");
    world.restart();
    world.pass(300);
    assert_eq!((held_set(&world), members(&world, "Sales").len()), (set.clone(), 40));
    // One is in it again: the rest leaves when it is released, and the set is gone.
    world.change(member(7, 3, &[SALES]));
    world.settle();
    assert_eq!(world.lane.status().held_sets[&set].members, 39);
    let by = usher_contract::Approval {
        actor: "ada".into(),
        reason: "reorganized".into(),
        at: world.now,
    };
    let members_released = world.lane.approve(&set, &by, world.now).unwrap();
    assert!(members_released.is_empty(), "nobody's account is held");
    world.pass(300);
    assert_eq!(members(&world, "Sales"), ["r7"]);
    assert!(world.lane.status().held_sets.is_empty());
}

#[test]
fn a_trickle_is_held_from_the_first_over_the_limit() {
    let mut world = guarded();
    for n in 1..=7 {
        world.change(member(n, 2, &[]));
        world.pass(60);
    }
    assert_eq!(members(&world, "Sales").len(), 35, "five of forty may leave");
    world.restart();
    world.pass(60);
    assert_eq!(members(&world, "Sales").len(), 35, "a successor counts them as well");
    world.pass(25 * 3600);
    assert_eq!(
        members(&world, "Sales").len(),
        35,
        "held until an operator releases them"
    );
}

#[test]
fn a_group_that_is_gone_is_made_again_with_everybody_in_it() {
    let mut world = World::new(target(|_| {}));
    for n in 1..=2 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    world.groups.clear();
    world.change(member(3, 1, &[SALES]));
    world.pass(120);
    assert_eq!(members(&world, "Sales"), ["r1", "r2", "r3"]);
    assert!(
        said(&world)
            .iter()
            .any(|words| words.contains("is not there any longer"))
    );
}

#[test]
fn a_group_renamed_at_the_source_is_renamed_by_its_id_once_the_name_rests() {
    let mut world = World::new(target(|_| {}));
    for n in 1..=2 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    world.writes.clear();
    world.change(member(1, 2, &[(1, "Sales EMEA")]));
    world.pass(30);
    assert!(
        world.writes.is_empty(),
        "others may still say the old name: {:?}",
        world.writes
    );
    world.change(member(2, 2, &[(1, "Sales EMEA")]));
    world.pass(60);
    assert_eq!(world.writes, ["rename group g1 to Sales EMEA"]);
    assert_eq!(members(&world, "Sales EMEA"), ["r1", "r2"]);
    // An older state comes late: its name is the old one.
    world.change(member(3, 1, &[SALES]));
    world.pass(120);
    assert_eq!(members(&world, "Sales EMEA"), ["r1", "r2", "r3"]);
    assert_eq!(world.groups.len(), 1);
}

#[test]
fn a_name_that_is_taken_by_another_group_moves_its_people_there() {
    let mut world = World::new(target(|_| {}));
    world.change(member(1, 1, &[SALES]));
    world.pass(60);
    world.groups.insert("g9".into(), ("Sales EMEA".into(), BTreeSet::new()));
    world.change(member(1, 2, &[(1, "Sales EMEA")]));
    world.pass(180);
    assert_eq!(members(&world, "Sales EMEA"), ["r1"]);
    assert!(
        members(&world, "Sales").is_empty(),
        "ours, and nobody is in it any more"
    );
    assert!(
        !world.writes.iter().any(|write| write.starts_with("rename")),
        "{:?}",
        world.writes
    );
}

#[test]
fn the_one_who_is_refused_is_found_and_keeps_nobody_out() {
    let mut world = World::new(target(|_| {}));
    for n in 1..=9 {
        world.change(member(n, 1, &[SALES]));
    }
    let mut requests = 0;
    for _ in 0..1_000 {
        match world.open.first().cloned() {
            Some((id, Operation::ChangeMembers { add, .. })) if add.iter().any(|member| member.0 == "r5") => {
                requests += 1;
                world.end(id, Err(Failure::Reject(refusal("http-400"))));
            }
            Some((id, operation)) => {
                let answer = world.answer(&operation);
                world.end(id, Ok(answer));
            }
            None if world.commit() => {}
            None => {
                let Some(next) = world
                    .lane
                    .next_wake()
                    .filter(|next| *next <= crate::logic::testing::at(300))
                else {
                    break;
                };
                world.now = next.max(world.now);
                world.give(Input::Tick);
            }
        }
    }
    assert_eq!(members(&world, "Sales").len(), 8);
    assert!((2..=8).contains(&requests), "{requests} requests that were refused");
    assert!(said(&world).contains("Rejected: join group Sales"));
    assert_eq!(world.lane.status().groups.unwrap().refused_members, 1);
    // It is not tried again by itself, and is when an operator wants it.
    world.writes.clear();
    world.pass(3600);
    assert!(world.writes.is_empty(), "{:?}", world.writes);
    world.change(member(5, 2, &[SALES]));
    world.pass(60);
    assert!(world.writes.is_empty(), "the same wish: {:?}", world.writes);
    let change = world.people[&user_key(5)].clone();
    world.give(Input::User { change, again: true });
    world.pass(60);
    assert_eq!(members(&world, "Sales").len(), 9);
}

#[test]
fn a_group_that_may_not_be_made_is_looked_for_once_an_hour() {
    let mut world = World::new(target(|target| target.groups.as_mut().unwrap().create = false));
    for n in 1..=5 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    let missing = "Rejected: group Sales: there is no group Sales, and groups.create is off";
    let told = |world: &World| {
        world
            .outcomes
            .iter()
            .filter(|outcome| outcome.action == "group")
            .count()
    };
    assert!(
        said(&world).contains(missing) && told(&world) == 1,
        "{:?}",
        said(&world)
    );
    assert_eq!(world.lane.status().groups.unwrap().refused, 1);
    for n in 6..=9 {
        world.change(member(n, 1, &[SALES]));
        world.pass(30);
        assert!(
            !world
                .open
                .iter()
                .any(|(_, operation)| matches!(operation, Operation::FindGroup { .. }))
        );
    }
    world.groups.insert("g9".into(), ("sales".into(), BTreeSet::new()));
    world.pass(3700);
    assert_eq!(world.groups["g9"].1.len(), 9, "it has appeared");
    assert_eq!(told(&world), 2, "missing, and there");
}

/// Lets the target answer until nothing is due within ten minutes, with this answer to whoever reads a group.
fn reading(world: &mut World, members: &Option<Vec<RemoteId>>) {
    let until = world.now.checked_add(jiff::SignedDuration::from_secs(600)).unwrap();
    for _ in 0..1_000 {
        match world.open.first().cloned() {
            Some((id, Operation::ReadGroup(_))) => world.end(id, Ok(Answer::Members(members.clone()))),
            Some((id, operation)) => {
                let answer = world.answer(&operation);
                world.end(id, Ok(answer));
            }
            None if world.commit() => {}
            None => {
                let Some(next) = world.lane.next_wake().filter(|next| *next <= until) else {
                    return;
                };
                world.now = next.max(world.now);
                world.give(Input::Tick);
            }
        }
    }
    panic!("does not come to rest");
}

#[test]
fn a_target_that_takes_members_and_does_not_keep_them_is_told_apart() {
    let mut world = World::new(target(|_| {}));
    world.change(member(1, 1, &[SALES]));
    reading(&mut world, &Some(vec![RemoteId("stranger".into())]));
    let joins = about_groups(&world)
        .iter()
        .filter(|write| write.starts_with("change"))
        .count();
    assert_eq!(joins, 4, "no storm: {:?}", world.writes);
    assert!(
        said(&world).contains("Rejected: join group Sales"),
        "{:?}",
        said(&world)
    );
    assert_eq!(world.lane.status().groups.unwrap().refused_members, 1);
}

#[test]
fn leavers_do_not_wait_for_groups_and_nothing_is_asked_while_paused_or_sick() {
    let mut world = World::new(target(|target| target.pace.concurrency = 1));
    for n in 1..=4 {
        world.change(member(n, 1, &[SALES]));
    }
    world.pass(60);
    world.change(member(1, 2, &[EMEA]));
    while !matches!(world.open.first(), Some((_, Operation::FindGroup { .. }))) {
        step(&mut world);
    }
    world.change(member(2, 2, &[SALES, EMEA]).inactive());
    // The look-up ends: the leaver is next, not the group.
    let (id, operation) = world.pop();
    let answer = world.answer(&operation);
    world.end(id, Ok(answer));
    while world.open.is_empty() {
        assert!(world.commit());
    }
    assert!(
        matches!(&world.open[0].1, Operation::Update { id, .. } if id.0 == "r2"),
        "{:?}",
        world.open
    );
    world.settle();
    world.change(member(3, 2, &[EMEA]));
    while !matches!(world.open.first(), Some((_, Operation::ChangeMembers { .. }))) {
        step(&mut world);
    }
    let (id, _) = world.pop();
    world.end(id, Err(Failure::Halt(refusal("http-401"))));
    assert!(world.lane.status().circuit.is_some());
    assert!(
        !world
            .open
            .iter()
            .any(|(_, operation)| !matches!(operation, Operation::Check))
    );
    world.pass(300);
    assert_eq!(
        members(&world, "EMEA"),
        ["r1", "r3"],
        "it goes on when the target answers again"
    );
}

#[test]
fn in_observe_memberships_are_only_counted() {
    let mut world = World::new(target(|_| {}));
    world.change(member(1, 1, &[]));
    world.pass(60);
    let observing = target(|target| target.mode = crate::logic::policy::Mode::Observe);
    world.lane = crate::logic::lane::Lane::new(
        std::sync::Arc::new(observing),
        {
            let mut links = crate::logic::lane::Links::default();
            let link = world.lane.links().get(&user_key(1));
            links.put(user_key(1), link);
            links
        },
        world.record.clone(),
        crate::logic::testing::OWNER,
        world.now,
    );
    world.writes.clear();
    world.change(member(1, 2, &[SALES]));
    world.give(Input::AllFed);
    world.pass(60);
    assert_eq!(world.lane.status().observed.get("set-groups"), Some(&1));
    assert!(world.writes.is_empty() && world.groups.is_empty());
}

#[test]
fn a_group_that_does_not_show_its_members_is_believed() {
    let mut world = World::new(target(|_| {}));
    world.change(member(1, 1, &[SALES]));
    reading(&mut world, &None);
    assert_eq!(world.lane.links().groups.of(&user_key(1)), ["Sales"]);
    assert!(world.group_records.values().all(|record| !record.unread));
    assert!(
        said(&world)
            .iter()
            .any(|words| words.contains("does not show its members"))
    );
}

#[test]
fn joining_a_linked_group_provisions_and_leaving_it_deprovisions() {
    let access = crate::logic::scope::Access {
        name: "sellers".into(),
        group: "Sales".into(),
        login: Some("password".into()),
        members: crate::logic::scope::Members::of("Sales"),
        rows: vec![],
    };
    let mut world = World::new(target(|target| target.scope.access = vec![access]));
    world.change(member(1, 1, &[EMEA]));
    world.pass(60);
    assert!(world.writes.is_empty(), "{:?}", world.writes);
    world.change(member(1, 2, &[EMEA, SALES]));
    world.pass(60);
    assert_eq!(world.writes[0], "create r1");
    assert_eq!(
        (members(&world, "EMEA"), members(&world, "Sales")),
        (vec!["r1".to_owned()], vec!["r1".to_owned()])
    );
    let mut unknown = member(1, 3, &[]);
    unknown.user.groups = Known::Unknown;
    world.writes.clear();
    world.change(unknown);
    world.pass(60);
    assert!(world.writes.is_empty(), "unknown decides nothing: {:?}", world.writes);
    world.change(member(1, 4, &[EMEA]));
    world.pass(60);
    assert_eq!(world.writes, ["update r1 [\"active\"]"]);
    let last = world
        .outcomes
        .iter()
        .rfind(|outcome| outcome.action == "deactivate")
        .unwrap();
    assert!(
        last.reasons
            .iter()
            .any(|reason| reason.contains("in none of the groups of access: Sales")),
        "{last:?}"
    );
    world.change(member(1, 5, &[SALES]));
    world.pass(60);
    assert!(
        world
            .writes
            .iter()
            .any(|write| write.starts_with("update r1") && write.contains("active"))
    );
}
