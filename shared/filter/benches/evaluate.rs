//! Evaluations per second and core of typical filters, beside the same rule written by hand as a closure; and how fast
//! filters are parsed.
//!
//! One thread. The closures stand for what is possible: they know their rule when they are compiled, and take no account
//! of unknown fields beyond what their own comparison needs. `--users N`, `--milliseconds N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::{collections::HashMap, hint::black_box, sync::LazyLock};

use jiff::{Timestamp, tz::TimeZone};
use usher_contract::{GroupRef, Known, NamedRef, User, UserId, UserKey};
use usher_filter::{Clock, Fields, Filter, People, Truth};

struct Everybody {
    users: Vec<User>,
    places: HashMap<UserKey, usize>,
}
impl People for Everybody {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        if let Some(place) = self.places.get(&key) {
            then(&self.users[*place]);
        }
    }
}

type Rule = fn(&User, &Everybody) -> bool;

const NOW: &str = "2026-03-11T09:00:00Z";

fn main() {
    let count = size("--users", 2_000, 500);
    let enough = size("--milliseconds", 500, 20) as f64 / 1e3;
    println!("{count} people, {enough} s of CPU time for each line, one thread");
    let everybody = directory(count as u32);
    let clock = Clock::new(NOW.parse().unwrap(), TimeZone::get("Europe/London").unwrap());
    println!("{:<34} {:>14} {:>14} {:>6}", "", "filter/s", "by hand/s", "ratio");
    for (name, text, rule) in RULES {
        let filter = Filter::parse(text, &Fields::default()).unwrap();
        let judge = |user: &User| filter.evaluate(user, &everybody, &clock) == Truth::True;
        let agree = everybody.users.iter().all(|user| judge(user) == rule(user, &everybody));
        assert!(agree, "{name}: both say the same");
        let ours = per_second(enough, &everybody, judge);
        let hand = per_second(enough, &everybody, |user| rule(user, &everybody));
        println!("{name:<34} {ours:>14.0} {hand:>14.0} {:>6.2}", ours / hand);
    }
    for (name, text, _) in RULES {
        let (began, mut times) = (thread_cpu_seconds(), 0_u64);
        while thread_cpu_seconds() - began < enough {
            for _ in 0..500 {
                black_box(Filter::parse(black_box(text), &Fields::default()).unwrap());
            }
            times += 500;
        }
        let rate = times as f64 / (thread_cpu_seconds() - began);
        println!(
            "parse: {name:<27} {rate:>14.0} filters/s, {:.0} MB/s",
            rate * text.len() as f64 / 1e6
        );
    }
}

static FROM: LazyLock<Timestamp> = LazyLock::new(|| "2026-02-09T00:00:00Z".parse().unwrap());
static TO: LazyLock<Timestamp> = LazyLock::new(|| "2026-03-12T00:00:00Z".parse().unwrap());

const RULES: &[(&str, &str, Rule)] = &[
    ("one text", "Department = 'Sales'", |user, _| {
        is(&user.department, "sales")
    }),
    (
        "three joined",
        "IsActive = true AND Department = 'Sales' AND Title LIKE 'AE%'",
        |user, _| {
            user.active == Known::Value(true)
                && is(&user.department, "sales")
                && text(&user.title).is_some_and(|title| title.len() >= 2 && title[..2].eq_ignore_ascii_case("ae"))
        },
    ),
    ("inside a text", "Email LIKE '%.emea@%'", |user, _| {
        text(&user.email).is_some_and(|email| email.to_ascii_lowercase().contains(".emea@"))
    }),
    (
        "a list of twelve",
        "Title IN ('t1','t2','t3','t4','t5','t6','t7','t8','t9','t10','t11','AE 3')",
        |user, _| {
            const TITLES: [&str; 12] = [
                "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "ae 3",
            ];
            TITLES.iter().any(|title| is(&user.title, title))
        },
    ),
    (
        "the manager's",
        "Manager.Email = 'person.5@acme.example'",
        |user, everybody| {
            let Known::Value(manager) = &user.manager_id else {
                return false;
            };
            let place = everybody.places.get(&UserKey::new(user.org_id, *manager));
            place.is_some_and(|place| is(&everybody.users[*place].email, "person.5@acme.example"))
        },
    ),
    (
        "a group",
        "Id IN (SELECT UserOrGroupId FROM GroupMember WHERE Group.Name = 'Group 7')",
        |user, _| {
            let groups = user.groups.value().map(Vec::as_slice).unwrap_or_default();
            groups.iter().any(|group| group.direct && is(&group.name, "group 7"))
        },
    ),
    ("a custom field", "Level__c >= 3", |user, _| {
        user.custom["Level__c"].as_f64().is_some_and(|level| level >= 3.0)
    }),
    ("a named date", "CreatedDate = LAST_N_DAYS:30", |user, _| {
        let (from, to) = (LazyLock::force(&FROM), LazyLock::force(&TO));
        user.created_at.value().is_some_and(|at| (*from..*to).contains(at))
    }),
];

fn text(value: &Known<String>) -> Option<&str> {
    value.value().map(String::as_str)
}
fn is(value: &Known<String>, lower: &str) -> bool {
    text(value).is_some_and(|text| text.eq_ignore_ascii_case(lower))
}

/// People per second of CPU time, measured over `enough` seconds: other work on the machine does not count.
fn per_second(enough: f64, everybody: &Everybody, judge: impl Fn(&User) -> bool) -> f64 {
    let (began, mut judged, mut found) = (thread_cpu_seconds(), 0, 0_u64);
    loop {
        for user in &everybody.users {
            found += u64::from(judge(black_box(user)));
        }
        judged += everybody.users.len();
        let took = thread_cpu_seconds() - began;
        if took >= enough {
            black_box(found);
            return judged as f64 / took;
        }
    }
}

/// CPU time of this thread in seconds.
fn thread_cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time on the CPU");
    let nanoseconds: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number");
    nanoseconds / 1e9
}

fn key(number: u32) -> UserKey {
    let user = UserId::try_new(&format!("0055f00000{number:05}")).unwrap();
    UserKey::new("00D000000000001EAA".parse().unwrap(), user)
}

fn directory(count: u32) -> Everybody {
    let now: Timestamp = NOW.parse().unwrap();
    let users: Vec<User> = (0..count)
        .map(|n| {
            let region = ["emea", "apac", "amer"][n as usize % 3];
            let text = |text: String| Known::Value(text);
            let mut user = User {
                email: text(if n % 2 == 0 {
                    format!("person.{n}@acme.example")
                } else {
                    format!("p{n}.{region}@acme.example")
                }),
                title: text(format!("{} {}", ["AE", "SE", "Manager"][n as usize % 3], n % 9)),
                department: text(["Sales", "Engineering", "Finance", "People"][n as usize % 4].to_owned()),
                active: Known::Value(n % 10 != 0),
                manager_id: Known::Value(key(n / 8).user),
                profile: Known::Value(NamedRef {
                    id: "00e000000000001".parse().unwrap(),
                    name: text("Sales User".to_owned()),
                }),
                created_at: Known::Value(now - jiff::Span::new().hours(i64::from(n % 2_000))),
                groups: Known::Value(
                    (0..n % 5)
                        .map(|group| GroupRef {
                            id: "00G000000000001".parse().unwrap(),
                            name: text(format!("Group {}", (n + group) % 30)),
                            direct: true,
                        })
                        .collect(),
                ),
                ..User::unknown(key(n))
            };
            user.custom.insert("Level__c".to_owned(), f64::from(n % 6).into());
            user
        })
        .collect();
    let places = users
        .iter()
        .enumerate()
        .map(|(place, user)| (user.key(), place))
        .collect();
    Everybody { users, places }
}

/// The value after `name` among the arguments of this process, else `full`, or `quick` with `--quick`.
fn size(name: &str, full: u64, quick: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == name);
    match given.and_then(|place| arguments.get(place + 1)) {
        Some(text) => text.replace('_', "").parse().expect("a number"),
        None if arguments.iter().any(|argument| argument == "--quick") => quick,
        None => full,
    }
}
