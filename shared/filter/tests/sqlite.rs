//! Generated filters over generated people, judged here and by SQLite.
//!
//! Filters are drawn as trees. This file writes each tree as SOQL and, on its own account, as SQL: nothing of the parser or
//! of the evaluator is used for the second. The rules about null are spelled out in SQL (`COALESCE`, or plain SQL where
//! they are SQL's). ASCII only, because SQLite ignores the case of nothing else.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeSet, HashMap},
    sync::{LazyLock, Mutex},
};

use jiff::{Timestamp, civil::date, tz::TimeZone};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use usher_contract::{GroupRef, Known, User, UserId, UserKey};
use usher_filter::{Clock, Fields, Filter, Nulls, People, Truth};

const PEOPLE: u32 = 150;
const NOW: &str = "2026-03-11T09:30:00Z";
const TEXTS: [&str; 12] = [
    "a",
    "A",
    "b",
    "ab",
    "aB",
    "a%",
    "a_",
    "it's",
    r"a\b",
    "Sales",
    "SALES emea",
    "100%",
];
const GROUPS: [&str; 3] = ["emea", "apac", "all"];

/// Numbers from a seed: the people are the same in every run.
struct Draw(u64);
impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
    fn text(&mut self) -> Known<String> {
        match self.below(4) {
            0 => Known::Empty,
            _ => Known::Value(TEXTS[self.below(TEXTS.len())].to_owned()),
        }
    }
}

struct Everybody(HashMap<UserKey, User>);
impl People for Everybody {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        if let Some(user) = self.0.get(&key) {
            then(user);
        }
    }
}

fn key(number: usize) -> UserKey {
    let user = UserId::try_new(&format!("0055f00000{number:05}")).unwrap();
    UserKey::new("00D000000000001EAA".parse().unwrap(), user)
}

fn person(number: usize, draw: &mut Draw) -> User {
    let day = |draw: &mut Draw| date(2026, 3, 11).saturating_add(jiff::Span::new().days(draw.below(900) as i64 - 450));
    let mut user = User {
        title: draw.text(),
        department: draw.text(),
        employee_number: draw.text(),
        active: [Known::Value(true), Known::Value(false)][draw.below(2)].clone(),
        frozen: [Known::Value(true), Known::Value(false), Known::Empty][draw.below(3)].clone(),
        manager_id: match draw.below(4) {
            0 => Known::Empty,
            _ => key(1 + draw.below(PEOPLE as usize)).user.into(),
        },
        termination_date: if draw.below(3) == 0 {
            Known::Empty
        } else {
            Known::Value(day(draw))
        },
        created_at: Known::Value(
            day(draw).to_zoned(TimeZone::UTC).unwrap().timestamp() + jiff::Span::new().minutes(draw.below(1440) as i64),
        ),
        ..User::unknown(key(number))
    };
    let groups: BTreeSet<usize> = (0..draw.below(3)).map(|_| draw.below(GROUPS.len())).collect();
    let group = |place: &usize| GroupRef {
        id: format!("00G00000000000{place}").parse().unwrap(),
        name: GROUPS[*place].to_owned().into(),
        direct: true,
    };
    user.groups = Known::Value(groups.iter().map(group).collect());
    let level = [json!(null), json!(1.0), json!(2.5), json!(-3.0)][draw.below(4)].clone();
    let skills = [json!(null), json!("a"), json!("a;B"), json!("b;Sales;c")][draw.below(4)].clone();
    user.custom = [("Level__c".to_owned(), level), ("Skills__c".to_owned(), skills)].into();
    user
}

static EVERYBODY: LazyLock<Everybody> = LazyLock::new(|| {
    let mut draw = Draw(7);
    let people = (1..=PEOPLE as usize).map(|number| person(number, &mut draw));
    Everybody(people.map(|user| (user.key(), user)).collect())
});

static DATABASE: LazyLock<Mutex<Connection>> = LazyLock::new(|| {
    let database = Connection::open_in_memory().unwrap();
    let schema = "CREATE TABLE people (id TEXT PRIMARY KEY, title TEXT COLLATE NOCASE, department TEXT COLLATE NOCASE,
            number TEXT COLLATE NOCASE, active INTEGER, frozen INTEGER, manager TEXT, ends TEXT, created INTEGER, level REAL,
            skills TEXT COLLATE NOCASE);
        CREATE TABLE members (person TEXT, team TEXT COLLATE NOCASE);";
    database.execute_batch(schema).unwrap();
    for user in EVERYBODY.0.values() {
        let text = |value: &Known<String>| value.value().cloned();
        database
            .execute(
                "INSERT INTO people VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    user.id.as_str(),
                    text(&user.title),
                    text(&user.department),
                    text(&user.employee_number),
                    user.active.value(),
                    user.frozen.value(),
                    user.manager_id.value().map(ToString::to_string),
                    user.termination_date.value().map(ToString::to_string),
                    user.created_at.value().map(|at| at.as_second()),
                    user.custom["Level__c"].as_f64(),
                    user.custom["Skills__c"].as_str(),
                ],
            )
            .unwrap();
        for group in user.groups.value().unwrap() {
            let member = params![user.id.as_str(), group.name.value()];
            database.execute("INSERT INTO members VALUES (?1, ?2)", member).unwrap();
        }
    }
    Mutex::new(database)
});

/// A drawn filter.
#[derive(Debug, Clone)]
enum Tree {
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
    /// Level of managers, column, whether `!=`, value.
    Text(usize, usize, bool, Option<&'static str>),
    Like(usize, usize, String),
    In(usize, usize, bool, Vec<Option<&'static str>>),
    Flag(usize, bool, bool, Option<bool>),
    Number(&'static str, i32),
    Numbers(bool, Vec<i32>),
    Day(usize, &'static str, i32),
    Moment(&'static str, i32),
    /// Whether the date with time, operator, literal.
    Named(bool, &'static str, (&'static str, i32)),
    /// Whether `= null`; which field.
    Null(usize, bool, usize),
    Manager(bool, usize),
    Skills(bool, Vec<Vec<&'static str>>),
}

/// SOQL names and SQL columns of texts, and of everything that may be null.
const TEXT: [(&str, &str); 3] = [
    ("Title", "title"),
    ("Department", "department"),
    ("EmployeeNumber", "number"),
];
const NULLABLE: [(&str, &str); 5] = [
    ("Title", "title"),
    ("ManagerId", "manager"),
    ("terminationDate", "ends"),
    ("Level__c", "level"),
    ("Skills__c", "skills"),
];
const LITERALS: [(&str, i32); 12] = [
    ("TODAY", 0),
    ("YESTERDAY", 0),
    ("TOMORROW", 0),
    ("LAST_N_DAYS", 30),
    ("NEXT_N_DAYS", 200),
    ("N_DAYS_AGO", 3),
    ("LAST_WEEK", 0),
    ("THIS_WEEK", 0),
    ("THIS_MONTH", 0),
    ("LAST_N_MONTHS", 5),
    ("NEXT_YEAR", 0),
    ("LAST_90_DAYS", 0),
];
const ORDER: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];

impl Tree {
    fn soql(&self) -> String {
        let list = |parts: &[Tree], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.soql())).collect();
            parts.join(word)
        };
        let up = |level: &usize| "Manager.".repeat(*level);
        let text = |value: &Option<&str>| match value {
            None => "null".to_owned(),
            Some(text) => format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'")),
        };
        match self {
            Self::And(parts) => list(parts, " AND "),
            Self::Or(parts) => list(parts, " OR "),
            Self::Not(inner) => format!("NOT ({})", inner.soql()),
            Self::Text(level, column, not, value) => {
                let operator = if *not { "!=" } else { "=" };
                format!("{}{} {operator} {}", up(level), TEXT[*column].0, text(value))
            }
            Self::Like(level, column, pattern) => {
                format!(
                    "{}{} LIKE '{}'",
                    up(level),
                    TEXT[*column].0,
                    pattern.replace('\'', r"\'")
                )
            }
            Self::In(level, column, not, values) => {
                let values: Vec<String> = values.iter().map(text).collect();
                let not = if *not { "NOT " } else { "" };
                format!("{}{} {not}IN ({})", up(level), TEXT[*column].0, values.join(", "))
            }
            Self::Flag(level, frozen, not, value) => {
                let field = if *frozen { "frozen" } else { "IsActive" };
                let value = value.map_or("null".to_owned(), |value| value.to_string());
                format!("{}{field} {} {value}", up(level), if *not { "!=" } else { "=" })
            }
            Self::Number(operator, half) => format!("Level__c {operator} {}", f64::from(*half) / 2.0),
            Self::Numbers(not, halves) => {
                let values: Vec<String> = halves.iter().map(|half| (f64::from(*half) / 2.0).to_string()).collect();
                format!("Level__c {}IN ({})", if *not { "NOT " } else { "" }, values.join(","))
            }
            Self::Day(level, operator, away) => format!("{}terminationDate {operator} {}", up(level), day(*away)),
            Self::Moment(operator, away) => format!("CreatedDate {operator} {}T08:00:00+02:00", day(*away)),
            Self::Named(moment, operator, (word, count)) => {
                let field = if *moment { "CreatedDate" } else { "terminationDate" };
                let count = if word.contains("_N_") || word.starts_with("N_") {
                    format!(":{count}")
                } else {
                    String::new()
                };
                format!("{field} {operator} {word}{count}")
            }
            Self::Null(level, is, column) => {
                format!(
                    "{}{} {} null",
                    up(level),
                    NULLABLE[*column].0,
                    if *is { "=" } else { "!=" }
                )
            }
            Self::Manager(not, number) => {
                format!(
                    "ManagerId {} '{}'",
                    if *not { "!=" } else { "=" },
                    &key(*number).user.to_string()[..15]
                )
            }
            Self::Skills(not, sets) => {
                let sets: Vec<String> = sets.iter().map(|set| format!("'{}'", set.join(";"))).collect();
                format!(
                    "Skills__c {} ({})",
                    if *not { "EXCLUDES" } else { "INCLUDES" },
                    sets.join(", ")
                )
            }
        }
    }

    /// `two` makes each comparison true or false before anything negates it; without it null is as in SQL.
    fn sql(&self, two: bool) -> String {
        let list = |parts: &[Tree], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| part.sql(two)).collect();
            format!("({})", parts.join(word))
        };
        let plain = |test: String| {
            if two {
                format!("COALESCE(({test}), 0)")
            } else {
                format!("({test})")
            }
        };
        let turned = |not: &bool, test: String| if *not { format!("(NOT {test})") } else { test };
        let table = |level: &usize| ["p", "m", "mm"][*level];
        let text = |value: &str| format!("'{}'", value.replace('\'', "''"));
        let ordered = |column: &str, operator: &str, value: &str| match operator {
            "!=" => format!("(NOT {})", plain(format!("{column} = {value}"))),
            other => plain(format!("{column} {other} {value}")),
        };
        match self {
            Self::And(parts) => list(parts, " AND "),
            Self::Or(parts) => list(parts, " OR "),
            Self::Not(inner) => format!("(NOT {})", inner.sql(two)),
            Self::Text(level, column, not, value) => {
                let column = format!("{}.{}", table(level), TEXT[*column].1);
                match value.filter(|value| !value.is_empty()) {
                    None => turned(not, format!("({column} IS NULL)")),
                    Some(value) => turned(not, plain(format!("{column} = {}", text(value)))),
                }
            }
            Self::Like(level, column, pattern) => {
                let column = format!("{}.{}", table(level), TEXT[*column].1);
                plain(format!("{column} LIKE {} ESCAPE '\\'", text(pattern)))
            }
            Self::In(level, column, not, values) => {
                let column = format!("{}.{}", table(level), TEXT[*column].1);
                let present: Vec<String> = values
                    .iter()
                    .flatten()
                    .filter(|value| !value.is_empty())
                    .map(|value| text(value))
                    .collect();
                let test = plain(format!("{column} IN ({})", present.join(", ")));
                let null = present.len() < values.len();
                turned(
                    not,
                    if null {
                        format!("({column} IS NULL OR {test})")
                    } else {
                        test
                    },
                )
            }
            Self::Flag(level, frozen, not, value) => {
                let column = format!("{}.{}", table(level), if *frozen { "frozen" } else { "active" });
                let value = i32::from(value.unwrap_or(false));
                turned(not, format!("(COALESCE({column}, 0) = {value})"))
            }
            Self::Number(operator, half) => ordered("p.level", operator, &(f64::from(*half) / 2.0).to_string()),
            Self::Numbers(not, halves) => {
                let values: Vec<String> = halves.iter().map(|half| (f64::from(*half) / 2.0).to_string()).collect();
                turned(not, plain(format!("p.level IN ({})", values.join(","))))
            }
            Self::Day(level, operator, away) => ordered(
                &format!("{}.ends", table(level)),
                operator,
                &format!("'{}'", day(*away)),
            ),
            Self::Moment(operator, away) => ordered(
                "p.created",
                operator,
                &format!("(unixepoch('{}') + 6 * 3600)", day(*away)),
            ),
            Self::Named(moment, operator, literal) => {
                let column = if *moment {
                    "date(p.created, 'unixepoch')"
                } else {
                    "p.ends"
                };
                let (first, last) = range(literal);
                match *operator {
                    "=" => plain(format!("{column} BETWEEN {first} AND {last}")),
                    "!=" => format!("(NOT {})", plain(format!("{column} BETWEEN {first} AND {last}"))),
                    "<" | ">=" => plain(format!("{column} {operator} {first}")),
                    _ => plain(format!("{column} {operator} {last}")),
                }
            }
            Self::Null(level, is, column) => {
                let column = format!("{}.{}", table(level), NULLABLE[*column].1);
                format!("({column} IS {}NULL)", if *is { "" } else { "NOT " })
            }
            Self::Manager(not, number) => turned(not, plain(format!("p.manager = '{}'", key(*number).user))),
            Self::Skills(not, sets) => {
                let selected = |value: &&str| format!("(';' || p.skills || ';') LIKE '%;{value};%'");
                let sets: Vec<String> = sets
                    .iter()
                    .map(|set| format!("({})", set.iter().map(selected).collect::<Vec<_>>().join(" AND ")))
                    .collect();
                turned(not, plain(sets.join(" OR ")))
            }
        }
    }
}

fn day(away: i32) -> String {
    date(2026, 3, 11)
        .saturating_add(jiff::Span::new().days(away))
        .to_string()
}

/// First and last day, by SQLite's calendar.
fn range((word, n): &(&str, i32)) -> (String, String) {
    let at = |change: &str| format!("date('{NOW}'{change})");
    let days = |first: i32, last: i32| (at(&format!(", '{first} days'")), at(&format!(", '{last} days'")));
    match *word {
        "TODAY" => days(0, 0),
        "YESTERDAY" => days(-1, -1),
        "TOMORROW" => days(1, 1),
        "LAST_N_DAYS" => days(-n, 0),
        "NEXT_N_DAYS" => days(1, *n),
        "N_DAYS_AGO" => days(-n, -n),
        "LAST_90_DAYS" => days(-90, 0),
        "THIS_WEEK" => (at(", '-6 days', 'weekday 0'"), at(", 'weekday 6'")),
        "LAST_WEEK" => (at(", '-13 days', 'weekday 0'"), at(", '-7 days', 'weekday 6'")),
        "THIS_MONTH" => (at(", 'start of month'"), at(", 'start of month', '+1 month', '-1 day'")),
        "LAST_N_MONTHS" => (
            at(&format!(", 'start of month', '-{n} months'")),
            at(", 'start of month', '-1 day'"),
        ),
        "NEXT_YEAR" => (
            at(", 'start of year', '+1 year'"),
            at(", 'start of year', '+2 years', '-1 day'"),
        ),
        other => unreachable!("{other}"),
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let level = 0..3_usize;
    let column = 0..TEXT.len();
    let text = prop_oneof![6 => prop::sample::select(&TEXTS[..]).prop_map(Some), 1 => Just(Some("")), 1 => Just(None)];
    let order = prop::sample::select(&ORDER[..]);
    let piece = prop::sample::select(vec![
        "%", "_", "a", "B", "s", r"\%", r"\_", r"\\", "le", "'", "1", "00", " ",
    ]);
    let pattern = prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat());
    let flag = prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)];
    let set = prop::collection::vec(prop::sample::select(vec!["a", "b", "SALES", "c", "z"]), 1..3);
    let leaf = prop_oneof![
        (level.clone(), column.clone(), any::<bool>(), text.clone())
            .prop_map(|(l, c, not, t)| Tree::Text(l, c, not, t)),
        (level.clone(), column.clone(), pattern).prop_map(|(l, c, pattern)| Tree::Like(l, c, pattern)),
        (level.clone(), column, any::<bool>(), prop::collection::vec(text, 1..5))
            .prop_map(|(l, c, not, texts)| Tree::In(l, c, not, texts)),
        (level.clone(), any::<bool>(), any::<bool>(), flag)
            .prop_map(|(l, frozen, not, f)| Tree::Flag(l, frozen, not, f)),
        (order.clone(), -7..7_i32).prop_map(|(operator, half)| Tree::Number(operator, half)),
        (any::<bool>(), prop::collection::vec(-7..7_i32, 1..4)).prop_map(|(not, halves)| Tree::Numbers(not, halves)),
        (level.clone(), order.clone(), -450..450_i32).prop_map(|(l, operator, away)| Tree::Day(l, operator, away)),
        (order.clone(), -450..450_i32).prop_map(|(operator, away)| Tree::Moment(operator, away)),
        (any::<bool>(), order, prop::sample::select(&LITERALS[..])).prop_map(|(m, o, l)| Tree::Named(m, o, l)),
        (level, any::<bool>(), 0..NULLABLE.len()).prop_map(|(l, is, column)| Tree::Null(l, is, column)),
        (any::<bool>(), 1..6_usize).prop_map(|(not, number)| Tree::Manager(not, number)),
        (any::<bool>(), prop::collection::vec(set, 1..3)).prop_map(|(not, sets)| Tree::Skills(not, sets)),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Or),
            inner.prop_map(|inner| Tree::Not(Box::new(inner))),
        ]
    })
}

/// A semi-join that may stand before the rest: negated, names.
fn joins() -> impl Strategy<Value = Option<(bool, Vec<&'static str>)>> {
    let names = prop::collection::vec(prop::sample::select(vec!["EMEA", "apac", "none"]), 1..3);
    prop::option::weighted(0.2, (any::<bool>(), names))
}

fn by_sqlite(condition: &str) -> BTreeSet<String> {
    let database = DATABASE.lock().unwrap();
    let query = format!(
        "SELECT p.id FROM people p LEFT JOIN people m ON m.id = p.manager LEFT JOIN people mm ON mm.id = m.manager
         WHERE COALESCE({condition}, 0)"
    );
    let mut statement = database.prepare(&query).unwrap();
    let ids = statement.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

/// The person with some fields unknown.
fn masked(user: &User, mask: u8) -> User {
    let mut user = user.clone();
    let hide = |bit: u8| mask & (1 << bit) != 0;
    if hide(0) {
        user.title = Known::Unknown;
    }
    if hide(1) {
        user.department = Known::Unknown;
    }
    if hide(2) {
        user.frozen = Known::Unknown;
    }
    if hide(3) {
        user.manager_id = Known::Unknown;
    }
    if hide(4) {
        user.termination_date = Known::Unknown;
    }
    if hide(5) {
        user.created_at = Known::Unknown;
    }
    if hide(6) {
        user.custom.retain(|name: &String, _: &mut Value| name != "Level__c");
    }
    if hide(7) {
        user.groups = Known::Unknown;
    }
    user
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_finds_the_same_people(tree in trees(), join in joins(), mask in any::<u8>()) {
        let clock = Clock::new(NOW.parse::<Timestamp>().unwrap(), TimeZone::UTC);
        for nulls in [Nulls::Match, Nulls::Omit] {
            let (mut soql, mut sql) = (tree.soql(), tree.sql(nulls == Nulls::Match));
            if let Some((not, names)) = &join {
                let (not, names) = (if *not { "NOT " } else { "" }, names.join("', '"));
                soql = format!("Id {not}IN (SELECT UserOrGroupId FROM GroupMember WHERE Group.Name IN ('{names}')) AND ({soql})");
                sql = format!("({not}EXISTS (SELECT 1 FROM members g WHERE g.person = p.id AND g.team IN ('{names}'))) AND {sql}");
            }
            let fields = Fields { nulls, ..Fields::default() };
            let filter = Filter::parse(&soql, &fields).map_err(|error| TestCaseError::fail(error.render(&soql)))?;
            let mut found = BTreeSet::new();
            for user in EVERYBODY.0.values() {
                let truth = filter.evaluate(user, &*EVERYBODY, &clock);
                match truth {
                    Truth::True => { found.insert(user.id.to_string()); }
                    Truth::False => {}
                    Truth::Unknown(field) => prop_assert!(false, "{} unknown in {}", field, soql),
                }
                // What is known although something is unknown stays whatever the unknown turns out to be.
                let hidden = masked(user, mask);
                match filter.evaluate(&hidden, &*EVERYBODY, &clock) {
                    Truth::Unknown(_) => prop_assert!(!filter.unknowns(&hidden, &*EVERYBODY, &clock).is_empty()),
                    known => prop_assert_eq!(known, truth, "{} with {:b} hidden", soql, mask),
                }
            }
            prop_assert_eq!(found, by_sqlite(&sql), "{}\n{}", soql, sql);
        }
    }

    /// Of whole filters: what `next_change` says is never too late.
    #[test]
    fn no_answer_changes_before_it_was_announced(tree in trees(), now in 0..800_i64, later in 1..3_000_i64, minutes in 0..1440_i64) {
        let start: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::new(start + jiff::Span::new().hours(now * 24).minutes(minutes), TimeZone::get("America/New_York").unwrap());
        let soql = tree.soql();
        let filter = Filter::parse(&soql, &Fields::default()).unwrap();
        let reads_time = filter.reads().time;
        for user in EVERYBODY.0.values().take(20) {
            let answer = filter.evaluate(user, &*EVERYBODY, &clock);
            let mut at = clock.now() + jiff::Span::new().hours(later);
            if let Some(next) = filter.next_change(user, &*EVERYBODY, &clock) {
                prop_assert!(reads_time && next > clock.now());
                at = at.min(next - jiff::Span::new().nanoseconds(1));
            }
            prop_assert_eq!(filter.evaluate(user, &*EVERYBODY, &clock.at(at)), answer, "{} at {}", soql, at);
        }
    }
}
