//! Generated filters, asked of the simulated org's query endpoint and judged here over the same people.
//!
//! The simulator has a parser and an evaluator of its own, which share nothing with this crate. Left out are the things it
//! does not have: semi-joins, picklists with several values, weeks and longer.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test against a real clock"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use jiff::{Timestamp, civil::Date, fmt::strtime, tz::TimeZone};
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use salesforce_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use usher_contract::{Known, NamedRef, User, UserId, UserKey};
use usher_filter::{Clock, Fields, Filter, People, Truth};

const CUSTOM: [&str; 4] = ["Badge__c", "Termination_Date__c", "Record_Calls__c", "Level__c"];
const TITLES: [Option<&str>; 8] = [
    None,
    Some("AE"),
    Some("ae"),
    Some("Ärztin"),
    Some("100%"),
    Some(r"a\b"),
    Some("it's"),
    Some("Sales Engineer_2"),
];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

struct Org {
    sim: Sim,
    http: reqwest::Client,
}

impl Org {
    fn start() -> Self {
        let config = SimConfig {
            users: 80,
            daily_api_requests: 1_000_000,
            ..SimConfig::default()
        };
        let sim = RUNTIME.block_on(Sim::start(config)).unwrap();
        let org = Self {
            sim,
            http: reqwest::Client::new(),
        };
        let ids = org.sim.org().user_ids();
        for (number, id) in ids.iter().enumerate() {
            let pick = |from: usize| (number * 7 + from * 13) % 23;
            let text = |values: [Option<&str>; 4], from: usize| values[pick(from) % 4].map(ToOwned::to_owned);
            let department = text([None, Some("Sales"), Some("SALES EMEA"), Some("R&D")], 1);
            let manager = (pick(2) % 4 != 0).then(|| ids[(number * 11 + 5) % ids.len()].clone());
            let badge = text([None, Some("B-1"), Some("b-1"), Some("B_1")], 3);
            let ends = text([None, Some("2026-01-31"), Some("2019-02-28"), Some("2031-12-01")], 4);
            let level = [None, Some(1.0), Some(2.5), Some(-3.0)][pick(6) % 4];
            let change = json!({
                "Title": TITLES[number % TITLES.len()],
                "Department": department,
                "ManagerId": manager,
                "Badge__c": badge,
                "Termination_Date__c": ends,
                "Record_Calls__c": pick(5) % 2 == 0,
                "Level__c": level,
                "IsActive": pick(7) % 5 != 0,
            });
            // Some people may not be changed (the administrator): they stay as they are.
            let _ = org.sim.org().update_user(id, change);
        }
        org
    }

    fn query(&self, soql: &str) -> Result<Vec<Value>, String> {
        RUNTIME.block_on(async {
            let base = format!("{}/services/data/v66.0/query", self.sim.http_url());
            let url = reqwest::Url::parse_with_params(&base, [("q", soql)]).unwrap();
            let answer = self
                .http
                .get(url)
                .bearer_auth(self.sim.access_token())
                .send()
                .await
                .unwrap();
            let (status, body) = (answer.status(), answer.text().await.unwrap());
            if !status.is_success() {
                return Err(format!("{status}: {body}"));
            }
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["done"], json!(true));
            Ok(body["records"].as_array().unwrap().clone())
        })
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

/// What ingest-service would publish of a row.
fn published(row: &Value, org: &str) -> User {
    let text = |name: &str| Known::from_option(row[name].as_str().map(ToOwned::to_owned));
    let time = |name: &str| {
        let at = row[name].as_str().map(|at| {
            let parsed = strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", at).unwrap();
            parsed.to_timestamp().unwrap()
        });
        Known::from_option(at)
    };
    let named = |id: &str, parent: &str| {
        Known::from_option(row[id].as_str().map(|id| NamedRef {
            id: id.parse().unwrap(),
            name: Known::from_option(row[parent]["Name"].as_str().map(ToOwned::to_owned)),
        }))
    };
    let key = UserKey::new(org.parse().unwrap(), row["Id"].as_str().unwrap().parse().unwrap());
    let (given, family) = (text("FirstName"), text("LastName"));
    let full: Vec<&str> = [&given, &family]
        .into_iter()
        .filter_map(|name| name.value().map(String::as_str))
        .collect();
    let custom: BTreeMap<String, Value> = CUSTOM
        .iter()
        .map(|name| ((*name).to_owned(), row[*name].clone()))
        .collect();
    User {
        username: text("Username"),
        email: text("Email"),
        display_name: Known::Value(full.join(" ")),
        given_name: given,
        family_name: family,
        title: text("Title"),
        department: text("Department"),
        active: Known::Value(row["IsActive"].as_bool().unwrap()),
        user_type: text("UserType"),
        language: text("LanguageLocaleKey").map(|key| key.replace('_', "-")),
        manager_id: Known::from_option(row["ManagerId"].as_str().map(|id| UserId::try_new(id).unwrap())),
        profile: named("ProfileId", "Profile"),
        role: named("UserRoleId", "UserRole"),
        created_at: time("CreatedDate"),
        modified_at: time("LastModifiedDate"),
        custom,
        ..User::unknown(key)
    }
}

fn filters(people: &[User]) -> impl Strategy<Value = String> + use<> {
    let ids: Vec<String> = people.iter().map(|user| user.id.to_string()).collect();
    let id =
        (prop::sample::select(ids), any::<bool>()).prop_map(|(id, long)| if long { id } else { id[..15].to_owned() });
    let moments: Vec<Timestamp> = people
        .iter()
        .filter_map(|user| user.created_at.value().copied())
        .collect();
    let names: Vec<String> = people
        .iter()
        .filter_map(|user| user.display_name.value().cloned())
        .collect();
    let names: Vec<String> = names.into_iter().filter(|name| !name.contains('\'')).collect();
    let field = prop::sample::select(vec![
        "Title",
        "Department",
        "Name",
        "Email",
        "Badge__c",
        "Manager.Title",
        "Manager.Manager.Department",
        "Profile.Name",
        "UserRole.Name",
        "Manager.Profile.Name",
        "UserType",
        "LanguageLocaleKey",
        "User.FirstName",
    ]);
    let text = prop_oneof![
        4 => prop::sample::select(vec![
            "'ae'", "'ÄRZTIN'", "'100%'", r"'a\\b'", r"'it\'s'", "'Sales Emea'", "'b-1'", "'B_1'", "'Standard'", "'en_US'", "''",
            "null", r"'\u00e4rztin'", "'Standard User'",
        ]).prop_map(ToOwned::to_owned),
        1 => prop::sample::select(names).prop_map(|name| format!("'{}'", name.to_uppercase())),
    ];
    let pattern = prop::collection::vec(
        prop::sample::select(vec![
            "%", "_", "a", "E", "ä", "Sales", r"\%", r"\_", r"\\", r"\'", "-", "1", " ", "en",
        ]),
        0..5,
    );
    let same = prop::sample::select(vec!["=", "!=", "<>"]);
    let order = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let named = prop::sample::select(vec![
        "TODAY",
        "YESTERDAY",
        "TOMORROW",
        "LAST_90_DAYS",
        "NEXT_90_DAYS",
        "LAST_N_DAYS:400",
        "NEXT_N_DAYS:2000",
        "N_DAYS_AGO:3",
    ]);
    let leaf = prop_oneof![
        4 => (field.clone(), same.clone(), text.clone()).prop_map(|(f, o, t)| format!("{f} {o} {t}")),
        3 => (field.clone(), pattern).prop_map(|(f, p)| format!("{f} LIKE '{}'", p.concat())),
        3 => (field, any::<bool>(), prop::collection::vec(text, 1..4)).prop_map(|(f, not, texts)| {
            format!("{f} {}IN ({})", if not { "NOT " } else { "" }, texts.join(", "))
        }),
        2 => (prop::sample::select(vec!["IsActive", "Record_Calls__c", "Manager.IsActive", "Manager.Manager.Record_Calls__c"]), same.clone(),
            prop::sample::select(vec!["true", "FALSE", "null"])).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        1 => (order.clone(), prop::sample::select(vec!["1", "2.5", "-3", "0", "100"])).prop_map(|(o, n)| format!("Level__c {o} {n}")),
        1 => (same.clone(), Just("null")).prop_map(|(o, n)| format!("Level__c {o} {n}")),
        1 => (order.clone(), prop::sample::select(vec!["2026-01-31", "2019-02-28", "2025-06-01"]))
            .prop_map(|(o, d)| format!("Termination_Date__c {o} {d}")),
        1 => (prop::sample::select(vec!["Termination_Date__c", "CreatedDate", "LastModifiedDate", "Manager.CreatedDate"]), order.clone(), named)
            .prop_map(|(f, o, n)| format!("{f} {o} {n}")),
        1 => (order, prop::sample::select(moments)).prop_map(|(o, at)| format!("CreatedDate {o} {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))),
        1 => (prop::sample::select(vec!["Id", "ManagerId", "Manager.Id", "Manager.ManagerId"]), same, id.clone()).prop_map(|(f, o, id)| format!("{f} {o} '{id}'")),
        1 => (prop::sample::select(vec!["Id", "ManagerId"]), any::<bool>(), prop::collection::vec(id, 1..4)).prop_map(|(f, not, ids)| {
            format!("{f} {}IN ('{}')", if not { "NOT " } else { "" }, ids.join("', '"))
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") AND ("))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(") OR ("))),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

#[test]
fn the_simulated_org_finds_the_same_people() {
    let org = Org::start();
    let columns = "Id, Username, Email, FirstName, LastName, Title, Department, IsActive, UserType, LanguageLocaleKey, ManagerId, \
                   ProfileId, Profile.Name, UserRoleId, UserRole.Name, CreatedDate, LastModifiedDate";
    let rows = org
        .query(&format!("SELECT {columns}, {} FROM User", CUSTOM.join(", ")))
        .unwrap();
    let people: Vec<User> = rows.iter().map(|row| published(row, &org.sim.org_id())).collect();
    assert!(people.len() >= 80);
    let _: Date = rows
        .iter()
        .find_map(|row| row["Termination_Date__c"].as_str())
        .unwrap()
        .parse()
        .unwrap();
    let table = Everybody(people.iter().map(|user| (user.key(), user.clone())).collect());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 8 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let checked = runner.run(&filters(&people), |condition| {
        // The org counts days in UTC; a midnight in between would show as a difference.
        let clock = Clock::new(Timestamp::now(), TimeZone::UTC);
        let query = format!("SELECT Id FROM User WHERE {condition} ORDER BY Id");
        let theirs = org.query(&query).map_err(TestCaseError::fail)?;
        let theirs: BTreeSet<&str> = theirs.iter().map(|row| row["Id"].as_str().unwrap()).collect();
        let filter =
            Filter::parse(&query, &Fields::default()).map_err(|error| TestCaseError::fail(error.render(&query)))?;
        let mut ours = BTreeSet::new();
        for user in &people {
            match filter.evaluate(user, &table, &clock) {
                Truth::True => {
                    ours.insert(user.id.as_str());
                }
                Truth::False => {}
                Truth::Unknown(field) => return Err(TestCaseError::fail(format!("{field} unknown in {condition}"))),
            }
        }
        prop_assert_eq!(ours, theirs, "{}", condition);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
    RUNTIME.block_on(org.sim.shutdown());
}

/// What Salesforce refuses is refused here too, and by the simulator.
#[test]
fn both_refuse_what_salesforce_refuses() {
    let org = Org::start();
    for condition in [
        "Title = 'a' AND Title = 'b' OR Title = 'c'",
        "NOT Title = 'a' AND Title = 'b'",
        "Title = 'a' AND NOT Title = 'b'",
        "Title NOT LIKE 'a%'",
        "Title = \"a\"",
        r"Title = 'a\x'",
        r"Title = '100\%'",
        "Title = 3",
        "IsActive = 'true'",
        "IsActive > true",
        "CreatedDate > 2026-01-31",
        "CreatedDate > '2026-01-31'",
        "Termination_Date__c > 2026-01-31T00:00:00Z",
        "Level__c = '3'",
        "Level__c LIKE '3'",
        "Titel = 'a'",
        "Manger.Email = null",
        "AboutMe LIKE '%a%'",
        "Id = 'abc'",
        "Title > null",
        "Title IN ()",
        "Title = 'a",
        "(Title = 'a'",
        "Title = 'a' Title = 'b'",
        "CreatedDate = LAST_N_DAYS",
        "CreatedDate > 4001-01-01T00:00:00Z",
        "Manager.Manager.Manager.Manager.Manager.Manager.Title = 'a'",
    ] {
        let fields = Fields {
            custom: Some(CUSTOM.iter().map(|name| (*name).to_owned()).collect()),
            ..Fields::default()
        };
        // What a custom field holds is not known here: that it does not fit is said about the value.
        if !condition.starts_with("Level__c") && !condition.starts_with("Termination") {
            assert!(Filter::parse(condition, &fields).is_err(), "accepted here: {condition}");
        }
        assert!(
            org.query(&format!("SELECT Id FROM User WHERE {condition}")).is_err(),
            "accepted there: {condition}"
        );
    }
    RUNTIME.block_on(org.sim.shutdown());
}
