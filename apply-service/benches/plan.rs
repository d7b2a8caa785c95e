//! Deciding, per core: `plan` alone, messages that change nothing, and how the cost grows with the number of people.
//!
//! One thread, no network, no Kafka: messages are handed to the table of users and to the lane as the shell does it. Beside
//! the reading of the same messages as JSON, with nothing done about them. `--people N`, `--growth N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::{cell::RefCell, hint::black_box, sync::Arc, time::Duration};

use apply_service::{
    connector::Operation,
    logic::{
        account::RemoteId,
        lane::{Answer, Effect, Input, Lane, Links},
        link::Link,
        plan::{Action, Question, Remote, plan},
        policy::TargetPolicy,
        target_record::OwnerId,
    },
    metrics::Metrics,
    users::Users,
};
use common::{
    links::{linked, now},
    people::{key, message, person},
    service::policies,
};
use kafka_harness::figures::{machine, memory_bytes, size, thread_cpu_seconds};
use usher_contract::{Known, UserChange, UserKey};
use usher_runtime::kafka::Record;

/// The goal: decisions about nothing per second and core.
const GOAL: f64 = 300_000.0;
/// What the shell feeds at once.
const FEED: u64 = 256;
const CHANGES: u64 = 20_000;

fn main() {
    let (people, most) = (size("--people", 50_000, 2_000), size("--growth", 1_000_000, 10_000));
    println!("deciding about {people} people on {}", machine());
    let policies = policies(&[("helpdesk", "http://127.0.0.1:9/scim")], 16);
    let target = Arc::clone(&policies.targets.values().next().unwrap().policy);
    memory(most, &target);
    alone(people, &target);
    nothing(people, &target);
    for users in [most / 100, most / 10, most] {
        growth(users, &target);
    }
}

/// What everybody takes: the newest states, and the links of one target in its lane. Before anything else, so that the allocator has
/// nothing in store.
fn memory(people: u64, target: &Arc<TargetPolicy>) {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let users = Users::default();
    let before = memory_bytes("VmRSS");
    for first in (0..people).step_by(FEED as usize) {
        let records: Vec<Record> = (first..people.min(first + FEED))
            .map(|number| record(&person(number, 0)))
            .collect();
        users.take("user-change", &records, &metrics);
    }
    let with_users = memory_bytes("VmRSS");
    let mut lane = Running::new(people, target);
    let began = thread_cpu_seconds();
    for number in 0..people {
        let change = users.get(&key(number)).unwrap();
        lane.step(Input::User { change, again: false });
    }
    let spent = thread_cpu_seconds() - began;
    lane.step(Input::AllFed);
    let with_links = memory_bytes("VmRSS");
    let began = thread_cpu_seconds();
    for number in 0..people {
        black_box(users.get(&key(number)));
    }
    let unpacked = thread_cpu_seconds() - began;
    println!(
        "{people} people: {} bytes per person, {} bytes per link; unpacked in {:.2} µs, unpacked and planned in {:.2} µs",
        with_users.saturating_sub(before) / people,
        with_links.saturating_sub(with_users) / people,
        unpacked / people as f64 * 1e6,
        spent / people as f64 * 1e6,
    );
}

/// `plan` alone.
fn alone(people: u64, target: &TargetPolicy) {
    let none = Links::default();
    let now_and_then: Vec<(UserChange, Link, UserChange)> = (0..people)
        .map(|number| {
            (
                person(number, 0),
                linked(&person(number, 0), target, &none),
                person(number, 1),
            )
        })
        .collect();
    let decide = |change: &UserChange, link: &Link, action: Action| {
        let plan = plan(&Question {
            change,
            link: Some(link),
            remote: &Remote::NotLooked,
            target,
            accounts: &none,
            people: &(),
            reimported_at: None,
            again: false,
            now: now(),
        });
        assert_eq!(black_box(plan).action, action);
    };
    let noop = best(people, || {
        now_and_then
            .iter()
            .for_each(|(same, link, _)| decide(same, link, Action::Noop))
    });
    let update = best(people, || {
        now_and_then
            .iter()
            .for_each(|(_, link, next)| decide(next, link, Action::Update))
    });
    println!(
        "plan alone, nothing to do:   {noop:>9.0}/s per core; ratio: {:.2} of {GOAL:.0}",
        noop / GOAL
    );
    println!("plan alone, one attribute:   {update:>9.0}/s per core");
}

/// Messages that change nothing: redelivered ones, new versions in which nothing differs that the target has (another permission set
/// less, as most are), and such ones when every one is planned all the same.
fn nothing(people: u64, target: &Arc<TargetPolicy>) {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let users = Users::default();
    let subscription = users.subscribe();
    let lane = RefCell::new(Running::new(people, target));
    let first: Vec<Record> = (0..people).map(|number| record(&person(number, 0))).collect();
    let next: Vec<Record> = (0..people)
        .map(|number| {
            let mut change = person(number, 0);
            change.version += 1;
            if let Known::Value(sets) = &mut change.user.permission_sets {
                sets.pop();
            }
            record(&change)
        })
        .collect();
    let titled: Vec<Record> = (0..people).map(|number| record(&planned(number))).collect();
    let bytes: usize = first.iter().map(|record| record.value.as_ref().unwrap().len()).sum();
    let raw = best(people, || {
        for record in &first {
            let change: UserChange = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            black_box(change);
        }
    });
    let feed = |records: &[Record]| {
        let mut lane = lane.borrow_mut();
        for records in records.chunks(FEED as usize) {
            users.take("user-change", records, &metrics);
            for (user, differing) in subscription.take(FEED as usize) {
                if lane.lane.is_unaffected(&user, &differing) {
                    continue;
                }
                lane.step(Input::User {
                    change: users.get(&user).unwrap(),
                    again: false,
                });
            }
        }
    };
    feed(&first);
    lane.borrow_mut().step(Input::AllFed);
    let redelivered = best(people, || feed(&first));
    let unchanged = per_second(people, || feed(&next));
    let planned = per_second(people, || feed(&titled));
    assert_eq!((users.status().known as u64, lane.borrow().executed), (people, 0));
    println!(
        "messages of {} bytes read:  {raw:>9.0}/s per core",
        bytes as u64 / people
    );
    println!(
        "redelivered, to Noop:        {redelivered:>9.0}/s per core; ratio: {:.2} of {GOAL:.0}, {:.2} of reading them",
        redelivered / GOAL,
        redelivered / raw
    );
    println!(
        "unchanged, to Noop:          {unchanged:>9.0}/s per core; ratio: {:.2} of {GOAL:.0}, {:.2} of reading them",
        unchanged / GOAL,
        unchanged / raw
    );
    println!("planned, to Noop:            {planned:>9.0}/s per core");
}

/// Somebody in whom something differs that the target looks at and does not hold: white space around a title.
fn planned(number: u64) -> UserChange {
    let mut change = person(number, 0);
    change.version += 2;
    if let Known::Value(title) = &mut change.user.title {
        title.push(' ');
    }
    change
}

/// What a start costs per person, and a change among so many.
fn growth(people: u64, target: &Arc<TargetPolicy>) {
    let mut lane = Running::new(people, target);
    let mut spent = 0.0;
    for first in (0..people).step_by(FEED as usize) {
        let some: Vec<Arc<UserChange>> = (first..people.min(first + FEED))
            .map(|number| Arc::new(person(number, 0)))
            .collect();
        let began = thread_cpu_seconds();
        for change in some {
            lane.step(Input::User { change, again: false });
        }
        spent += thread_cpu_seconds() - began;
    }
    assert_eq!(lane.executed, 0);
    let began = thread_cpu_seconds();
    lane.step(Input::AllFed);
    let judged = thread_cpu_seconds() - began;
    let changes = CHANGES.min(people);
    let next: Vec<_> = (0..changes)
        .map(|number| Arc::new(person(number * (people / changes), 1)))
        .collect();
    let began = thread_cpu_seconds();
    for change in next {
        lane.step(Input::User { change, again: false });
    }
    let per_change = (thread_cpu_seconds() - began) / changes as f64;
    assert_eq!(lane.executed, changes);
    println!(
        "{people:>9} people: start {:.2} µs per person and {:.1} ms at its end, a change {:.1} µs",
        spent / people as f64 * 1e6,
        judged * 1e3,
        per_change * 1e6
    );
}

/// A lane whose target and broker answer at once.
struct Running {
    lane: Lane,
    executed: u64,
}

impl Running {
    fn new(people: u64, target: &Arc<TargetPolicy>) -> Self {
        let (none, mut links) = (Links::default(), Links::default());
        for number in 0..people {
            let change = person(number, 0);
            let user: UserKey = change.user.key();
            links.put(user, Some(linked(&change, target, &none)));
        }
        let owner = OwnerId {
            address: "bench",
            run: "1",
        };
        let mut new = Self {
            lane: Lane::new(Arc::clone(target), links, None, owner, now()),
            executed: 0,
        };
        new.step(Input::Tick);
        new
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.lane.step(input, now(), 0.5) {
                match effect {
                    Effect::Execute(operation, what) => {
                        let answer = match what {
                            Operation::Check => Answer::Checked,
                            Operation::Update { id, .. } => {
                                self.executed += 1;
                                Answer::Written(RemoteId(id.0), None)
                            }
                            what => panic!("nothing but updates: {what:?}"),
                        };
                        inputs.push(Input::Ended {
                            operation,
                            result: Ok(answer),
                            took: Duration::ZERO,
                            requests: 1,
                        });
                    }
                    Effect::Commit(_) => inputs.push(Input::Committed),
                    other => panic!("not expected: {other:?}"),
                }
            }
        }
    }
}

fn record(change: &UserChange) -> Record {
    let message = message(change);
    Record {
        partition: 0,
        offset: 0,
        key: Some(message.key),
        value: Some(message.value),
        headers: message.headers,
    }
}

fn per_second(count: u64, work: impl FnOnce()) -> f64 {
    let began = thread_cpu_seconds();
    work();
    count as f64 / (thread_cpu_seconds() - began)
}

/// The best of three: others use the cores, too.
fn best(count: u64, mut work: impl FnMut()) -> f64 {
    (0..3).map(|_| per_second(count, &mut work)).fold(0.0, f64::max)
}
