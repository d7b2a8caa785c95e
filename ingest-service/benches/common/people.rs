//! An invented directory: person number n, as a row of a query and as a message. Made on the fly, so that a million of them
//! take no memory.
//!
//! As varied as a large company: log-in names, addresses, phones, employee and badge numbers differ from person to person;
//! titles (270), departments (120), roles (500), groups (2,000), permission sets (150) and cost centres (800) repeat.

use std::fmt::Write as _;

use ingest_service::logic::{
    field::FieldType,
    normalize::{Fields, RawUser, complete, normalize},
};
use jiff::Timestamp;
use serde_json::Value;
use usher_contract::{Cause, ChangeKind, GroupRef, Known, NamedRef, Origin, RecordId, UserChange, UserId, UserKey};

const GIVEN: &[&str] = &[
    "Ada",
    "Alan",
    "Barbara",
    "Björn",
    "Chiara",
    "Dmitri",
    "Edsger",
    "Elena",
    "Fatima",
    "Grace",
    "Hedy",
    "Ivan",
    "José",
    "Katherine",
    "Leslie",
    "Margaret",
    "Niklaus",
    "Olga",
    "Priya",
    "Radia",
    "Sophie",
    "Tim",
    "Ursula",
    "Wei",
    "Yuki",
    "Zoë",
];
const FAMILY: &[&str] = &[
    "Allen",
    "Borg",
    "Byron",
    "Cerf",
    "Dijkstra",
    "Engelbart",
    "Fernández",
    "García",
    "Hamilton",
    "Hopper",
    "Ivanova",
    "Johnson",
    "Knuth",
    "Lamarr",
    "Liskov",
    "Müller",
    "Nakamura",
    "Okonkwo",
    "Perlman",
    "Ritchie",
    "Sørensen",
    "Thompson",
    "Turing",
    "Ustinova",
    "van Rossum",
    "Wilkes",
    "Wirth",
    "Yamamoto",
    "Zhang",
];
const LEVELS: &[&str] = &[
    "Associate",
    "Junior",
    "Senior",
    "Principal",
    "Lead",
    "Head of",
    "Vice President",
    "Director",
    "Assistant",
];
const WORK: &[&str] = &[
    "Account Executive",
    "Business Analyst",
    "Controller",
    "Customer Success Agent",
    "Data Engineer",
    "Field Engineer",
    "Legal Counsel",
    "Marketing Specialist",
    "Office Assistant",
    "Operations Planner",
    "Partner Consultant",
    "Payroll Clerk",
    "Product Owner",
    "Project Coordinator",
    "Purchaser",
    "Recruiter",
    "Sales Development",
    "Sales Operations",
    "Salesperson",
    "Service Technician",
    "Software Engineer",
    "Solution Architect",
    "Support Agent",
    "Technical Writer",
    "Tester",
    "Trainer",
    "Treasury Analyst",
    "Warehouse Worker",
    "Workplace Support",
    "Auditor",
];
const AREAS: &[&str] = &[
    "Sales",
    "Service",
    "Marketing",
    "Finance",
    "Legal",
    "Operations",
    "Engineering",
    "Human Resources",
    "Procurement",
    "Logistics",
];
const REGIONS: &[&str] = &[
    "EMEA North",
    "EMEA South",
    "DACH",
    "UK and Ireland",
    "Benelux",
    "Nordics",
    "AMER East",
    "AMER West",
    "LATAM",
    "APAC",
    "Japan",
    "Global",
];
const PLACES: &[(&str, &str, &str)] = &[
    ("Europe/London", "en_GB", "en_US"),
    ("Europe/Berlin", "de_DE_EURO", "de"),
    ("Europe/Paris", "fr_FR_EURO", "fr"),
    ("America/New_York", "en_US", "en_US"),
    ("America/Los_Angeles", "en_US", "en_US"),
    ("America/Sao_Paulo", "pt_BR", "pt_BR"),
    ("Asia/Tokyo", "ja_JP", "ja"),
    ("Asia/Kolkata", "en_IN", "en_US"),
    ("Australia/Sydney", "en_AU", "en_US"),
];

/// A number that follows from person and question and looks drawn [splitmix64].
fn drawn(number: u64, question: u64, below: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(question << 32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % below
}

fn pick<T>(list: &[T], number: u64, question: u64) -> &T {
    &list[drawn(number, question, list.len() as u64) as usize]
}

/// Salesforce counts record ids in base 62.
fn record_id(prefix: &str, mut number: u64) -> RecordId {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = *b"0005f000000000000";
    text[..3].copy_from_slice(prefix.as_bytes());
    text[3..7].copy_from_slice(b"5f00");
    for place in (7..15).rev() {
        text[place] = digits[(number % 62) as usize];
        number /= 62;
    }
    let text = std::str::from_utf8(&text[..15]).expect("ASCII");
    RecordId::try_new(text).expect("letters and digits")
}

/// The id of person `number`.
pub(crate) fn user_id(number: u64) -> UserId {
    UserId::try_new(record_id("005", number).as_str()).expect("a user id")
}

/// What is configured about fields: three custom ones and the last day.
pub(crate) fn fields() -> Fields {
    let custom = [
        ("Badge__c", FieldType::Text),
        ("Cost_Center__c", FieldType::Text),
        ("Level__c", FieldType::Number),
    ];
    Fields {
        custom: custom.map(|(name, kind)| (name.to_owned(), kind)).into(),
        termination_date: Some("Termination_Date__c".to_owned()),
        ..Fields::default()
    }
}

/// Person `number` as a record of a query, appended to `out`. `edition` is what an edit has made of the department.
pub(crate) fn record(number: u64, edition: u64, out: &mut String) {
    let id = user_id(number);
    let (given, family) = (pick(GIVEN, number, 1), pick(FAMILY, number, 2));
    let local = format!(
        "{}.{}.{number}",
        given.to_lowercase(),
        family.to_lowercase().replace(' ', "")
    );
    let (time_zone, locale, language) = pick(PLACES, number, 3);
    let optional = |question: u64, percent: u64, text: String| {
        if drawn(number, question, 100) < percent {
            format!("\"{text}\"")
        } else {
            "null".to_owned()
        }
    };
    let (profile, role) = (drawn(number, 4, 25), drawn(number, 5, 500));
    let modified = drawn(number, 6, 90_000_000);
    let at = |seconds_before: u64| {
        let at = Timestamp::from_second(1_790_000_000 - seconds_before as i64).expect("a moment");
        format!("{}.000+0000", at.strftime("%Y-%m-%dT%H:%M:%S"))
    };
    write!(
        out,
        r#"{{"attributes":{{"type":"User","url":"/services/data/v67.0/sobjects/User/{id}"}},"Id":"{id}","Username":"{local}@acme.example","Email":"{local}@acme.example","FirstName":"{given}","LastName":"{family}","Title":"{} {}","Department":"{} {}{}","Division":{},"CompanyName":"Acme {}","EmployeeNumber":"{:07}","Phone":{},"MobilePhone":{},"Extension":{},"IsActive":{},"TimeZoneSidKey":"{time_zone}","LocaleSidKey":"{locale}","LanguageLocaleKey":"{language}","UserType":"Standard","FederationIdentifier":{},"ManagerId":"{}","ProfileId":"{}","UserRoleId":"{}","CreatedDate":"{}","LastModifiedDate":"{}","Badge__c":{},"Cost_Center__c":"CC-{:04}","Level__c":{}.0,"Termination_Date__c":{},"Profile":{{"attributes":{{"type":"Profile","url":"/services/data/v67.0/sobjects/Profile/{}"}},"Name":"Profile {profile}"}},"UserRole":{{"attributes":{{"type":"UserRole","url":"/services/data/v67.0/sobjects/UserRole/{}"}},"Name":"Role {role} {}"}},"SystemModstamp":"{}"}}"#,
        pick(LEVELS, number, 7),
        pick(WORK, number, 8),
        pick(AREAS, number, 9),
        pick(REGIONS, number, 10),
        if edition == 0 { String::new() } else { format!(" {edition}") },
        optional(11, 60, format!("Division {}", drawn(number, 12, 14))),
        pick(REGIONS, number, 13),
        number + 1_000_000,
        optional(14, 80, format!("+44 20 7946 {:04}", drawn(number, 15, 10_000))),
        optional(16, 50, format!("+44 7700 9{:05}", drawn(number, 17, 100_000))),
        optional(18, 60, drawn(number, 19, 10_000).to_string()),
        drawn(number, 20, 12) != 0,
        optional(21, 70, format!("{local}@acme.example")),
        user_id(number / 8),
        record_id("00e", profile),
        record_id("00E", role),
        at(modified + drawn(number, 22, 90_000_000)),
        at(modified),
        optional(23, 85, format!("B-{number}")),
        drawn(number, 24, 800),
        drawn(number, 25, 14),
        optional(26, 6, format!("2027-{:02}-{:02}", 1 + drawn(number, 27, 12), 1 + drawn(number, 28, 28))),
        record_id("00e", profile),
        record_id("00E", role),
        pick(REGIONS, role, 29),
        at(modified),
    )
    .expect("a string takes everything");
}

/// A record as the shell hands it to the writer.
pub(crate) fn row(record: Value) -> Option<(UserId, RawUser)> {
    let Value::Object(mut raw) = record else { return None };
    raw.remove("attributes");
    let id = UserId::try_new(raw.remove("Id")?.as_str()?).ok()?;
    Some((id, raw))
}

/// Person `number` as the last message about them.
pub(crate) fn change(number: u64, fields: &Fields) -> UserChange {
    let mut text = String::new();
    record(number, 0, &mut text);
    let record = serde_json::from_str(&text).expect("JSON");
    let (id, raw) = row(record).expect("a record with an id");
    let mut user = complete(normalize(UserKey::new(super::org(), id), &raw, fields), fields);
    user.frozen = (drawn(number, 30, 200) == 0).into();
    user.listed = true.into();
    let group = |place: u64| {
        let group = drawn(number, 40 + place, 2_000);
        GroupRef {
            id: record_id("00G", group),
            name: Known::Value(format!("{} {}", pick(REGIONS, group, 31), group)),
            direct: drawn(number, 60 + place, 3) != 0,
        }
    };
    let mut groups: Vec<GroupRef> = (0..3 + drawn(number, 32, 7)).map(group).collect();
    groups.sort();
    groups.dedup_by_key(|group| group.id);
    user.groups = groups.into();
    let set = |place: u64| {
        let set = drawn(number, 80 + place, 150);
        NamedRef {
            id: record_id("0PS", set),
            name: Known::Value(format!("Permission set {set}")),
        }
    };
    let mut sets: Vec<NamedRef> = (0..4 + drawn(number, 33, 9)).map(set).collect();
    sets.sort();
    sets.dedup();
    user.permission_sets = sets.into();
    let at = Timestamp::from_second(1_791_000_000).expect("a moment");
    let committed = Timestamp::from_millisecond(1_790_000_000_000 + drawn(number, 34, 900_000_000) as i64);
    UserChange {
        version: 1 + drawn(number, 35, 40),
        kind: ChangeKind::Updated,
        changed: vec!["department".to_owned(), "modifiedAt".to_owned()],
        before: None,
        user,
        cause: Cause {
            origin: Origin::ChangeEvent,
            committed_at: committed.ok(),
            observed_at: at,
            read_at: Some(at),
            recorded_at: None,
            commit_number: Some((11_529_215_046_068_469_760 + number).to_string()),
            transaction_key: Some(format!("0003f2a1-7c1e-4b52-9e0a-{number:012x}")),
            changed_by: None,
            approval: None,
        },
    }
}
