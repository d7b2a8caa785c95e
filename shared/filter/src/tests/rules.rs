//! The rules of SOQL, a row each: what a filter says about one person.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde_json::json;
use usher_contract::{GroupRef, Known, NamedRef, UserId, UserKey};

use super::*;

/// Everybody by key.
#[derive(Default)]
pub(super) struct Table(pub(super) HashMap<UserKey, User>);
impl People for Table {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        if let Some(user) = self.0.get(&key) {
            then(user);
        }
    }
}

pub(super) fn key(number: u32) -> UserKey {
    UserKey::new(
        "00D000000000001EAA".parse().unwrap(),
        UserId::try_new(&format!("0055f00000{number:05}")).unwrap(),
    )
}
fn text(value: &str) -> Known<String> {
    Known::Value(value.to_owned())
}
fn named(id: &str, name: Known<String>) -> NamedRef {
    NamedRef {
        id: id.parse().unwrap(),
        name,
    }
}

/// Ada, number 1; her manager is Grace, number 2, who has none. Her division is null; her phone and her level are unknown.
fn ada() -> User {
    let group = |id: &str, name: &str, direct| GroupRef {
        id: id.parse().unwrap(),
        name: text(name),
        direct,
    };
    let mut ada = User {
        username: text("Ada@acme.example"),
        email: text("ada@acme.example"),
        given_name: text("Ada"),
        family_name: text("Lövelace"),
        title: text("Account Executive"),
        department: text("Sales"),
        division: Known::Empty,
        company: text(""),
        employee_number: text("100%"),
        active: true.into(),
        frozen: Known::Empty,
        time_zone: text("Europe/London"),
        locale_key: text("en_GB"),
        locale: text("en-GB"),
        language: text("en-US"),
        user_type: text("Standard"),
        manager_id: key(2).user.into(),
        profile: named("00e000000000001", text("Sales User")).into(),
        role: named("00E000000000001", Known::Unknown).into(),
        groups: vec![
            group("00G000000000001", "EMEA", true),
            group("00G000000000002", "All", false),
        ]
        .into(),
        permission_sets: vec![
            named("0PS000000000001", text("Gong")),
            named("0PS000000000002", Known::Unknown),
        ]
        .into(),
        termination_date: Known::Value("2026-03-10".parse().unwrap()),
        created_at: Known::Value("2026-03-10T23:30:00Z".parse().unwrap()),
        modified_at: Known::Empty,
        ..User::unknown(key(1))
    };
    ada.custom = [
        ("Badge__c", json!("B-7")),
        ("Skills__c", json!("Rust;Go;SOQL")),
        ("Grade__c", json!(3.5)),
        ("Remote__c", json!(true)),
        ("Off__c", json!(false)),
        ("Start__c", json!("2026-03-10")),
        ("Seen__c", json!("2026-03-10T12:00:00Z")),
        ("Buddy__c", json!("0055f000005mc66AAA")),
        ("Nothing__c", json!(null)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    ada
}

fn people() -> Table {
    let grace = User {
        email: text("grace@acme.example"),
        active: true.into(),
        manager_id: Known::Empty,
        title: Known::Empty,
        profile: named("00e000000000002", text("Chief")).into(),
        ..User::unknown(key(2))
    };
    // Linus has a manager whom nobody knows; Ken does not say who his is.
    let linus = User {
        manager_id: key(99).user.into(),
        ..User::unknown(key(3))
    };
    let ken = User::unknown(key(4));
    Table([grace, linus, ken, ada()].map(|user| (user.key(), user)).into())
}

fn clock() -> Clock {
    Clock::new("2026-03-11T09:00:00Z".parse().unwrap(), TimeZone::UTC)
}

/// `T`, `F`, or the field that is unknown.
fn judged(filter: &str, user: &User, nulls: Nulls) -> String {
    let fields = Fields {
        nulls,
        ..Fields::default()
    };
    let parsed = Filter::parse(filter, &fields).unwrap_or_else(|error| panic!("{}", error.render(filter)));
    match parsed.evaluate(user, &people(), &clock()) {
        Truth::True => "T".to_owned(),
        Truth::False => "F".to_owned(),
        Truth::Unknown(field) => field.to_owned(),
    }
}

fn table(rows: &[(&str, &str)]) {
    for (filter, expected) in rows {
        assert_eq!(judged(filter, &ada(), Nulls::Match), *expected, "{filter}");
    }
}

#[test]
fn text_is_compared_without_regard_to_case() {
    table(&[
        ("Title = 'account EXECUTIVE'", "T"),
        ("Title = 'Account'", "F"),
        ("Title != 'ACCOUNT EXECUTIVE'", "F"),
        ("Title <> 'x'", "T"),
        ("LastName = 'LÖVELACE'", "T"),
        ("Title IN ('x', 'ACCOUNT executive')", "T"),
        ("Title NOT IN ('x', 'y')", "T"),
        ("title LIKE 'ACCOUNT%'", "T"),
        ("Title LIKE '_ccount executive'", "T"),
        ("Title LIKE 'ccount%'", "F"),
        (r"EmployeeNumber LIKE '100\%'", "T"),
        (r"EmployeeNumber LIKE '10\%%'", "F"),
        ("EmployeeNumber = '100%'", "T"),
        ("givenName = 'ada' AND familyName LIKE 'l%'", "T"),
        ("TimeZoneSidKey = 'europe/london'", "T"),
        ("UserType = 'standard'", "T"),
    ]);
}

#[test]
fn null_is_a_value_that_only_equality_finds() {
    table(&[
        ("Division = null", "T"),
        ("Division != null", "F"),
        ("Division = ''", "T"),
        ("Division != ''", "F"),
        // Salesforce stores an empty text as null.
        ("CompanyName = null", "T"),
        ("Title = null", "F"),
        ("Title = ''", "F"),
        ("Title != null", "T"),
        ("Division LIKE '%'", "F"),
        ("Division IN ('x')", "F"),
        ("Division IN ('x', null)", "T"),
        ("Division IN (null)", "T"),
        ("Division IN ('')", "T"),
        ("Division NOT IN ('x', null)", "F"),
        ("Title NOT IN ('x', null)", "T"),
        ("LastModifiedDate > 2020-01-01T00:00:00Z", "F"),
        ("LastModifiedDate < TODAY", "F"),
        ("LastModifiedDate = null", "T"),
        ("Nothing__c = null", "T"),
        ("Nothing__c > 3", "F"),
        ("Nothing__c INCLUDES ('a')", "F"),
        ("terminationDate != null", "T"),
    ]);
}

/// The rule that the reference leaves open, both ways.
#[test]
fn whether_a_negation_finds_null_is_a_setting() {
    for (filter, of_match, of_omit) in [
        ("Division != 'x'", "T", "F"),
        ("Division NOT IN ('x', 'y')", "T", "F"),
        ("NOT Division = 'x'", "T", "F"),
        ("NOT Division LIKE 'x%'", "T", "F"),
        ("NOT Division IN ('x')", "T", "F"),
        ("NOT (Division = 'x' AND Title = 'Account Executive')", "T", "F"),
        ("NOT (NOT Division = 'x')", "F", "F"),
        ("NOT Division != 'x'", "F", "F"),
        ("NOT Nothing__c > 3", "T", "F"),
        ("Nothing__c != 3", "T", "F"),
        ("Nothing__c EXCLUDES ('a')", "T", "F"),
        ("NOT LastModifiedDate = TODAY", "T", "F"),
        ("LastModifiedDate != 2020-01-01T00:00:00Z", "T", "F"),
        ("Division != 'x' AND Division != null", "F", "F"),
        // These say what they want about null.
        ("Division != null", "F", "F"),
        ("NOT Division = null", "F", "F"),
        ("NOT Division != null", "T", "T"),
        ("Division NOT IN ('x', null)", "F", "F"),
        ("frozen != true", "T", "T"),
        ("NOT frozen = true", "T", "T"),
        // And these have a value.
        ("Title != 'x'", "T", "T"),
        ("NOT Title LIKE 'x%'", "T", "T"),
        ("Manager.Title != 'x'", "T", "F"),
        ("Manager.Manager.Email != 'x'", "T", "F"),
    ] {
        assert_eq!(judged(filter, &ada(), Nulls::Match), of_match, "{filter}");
        assert_eq!(judged(filter, &ada(), Nulls::Omit), of_omit, "{filter}, omitted");
    }
}

#[test]
fn a_checkbox_that_is_null_counts_as_false() {
    table(&[
        ("IsActive = true", "T"),
        ("IsActive = false", "F"),
        ("IsActive = null", "F"),
        ("IsActive != null", "T"),
        ("IsActive != false", "T"),
        ("frozen = null", "T"),
        ("frozen = false", "T"),
        ("frozen = true", "F"),
        ("frozen != true", "T"),
        ("frozen != null", "F"),
        ("Remote__c = true", "T"),
        ("Remote__c = null", "F"),
        ("Off__c = null", "T"),
        ("Off__c != null", "F"),
        ("Nothing__c = false", "T"),
        ("Nothing__c != true", "T"),
        // Of a parent that is not there.
        ("Manager.Manager.IsActive = false", "T"),
        ("Manager.Manager.IsActive = true", "F"),
        ("Manager.IsActive = true", "T"),
    ]);
}

#[test]
fn parents_are_reached_through_the_table() {
    table(&[
        ("Manager.Email = 'GRACE@acme.example'", "T"),
        ("Manager.Email != null", "T"),
        ("Manager.Title = null", "T"),
        ("Manager.Manager.Email = null", "T"),
        ("Manager.Manager.Email LIKE '%'", "F"),
        ("Manager.Manager.Manager.Manager.Manager.Email = null", "T"),
        ("Manager.Profile.Name = 'chief'", "T"),
        ("Manager.ManagerId = null", "T"),
        ("Manager.Id = '0055f0000000002'", "T"),
        ("User.Title LIKE 'Acc%'", "T"),
        ("Profile.Name = 'Sales User'", "T"),
        ("Profile.Id = '00e000000000001'", "T"),
        ("UserRole.Name = 'x'", "role.name"),
        ("UserRoleId = '00E000000000001'", "T"),
        ("Manager.Phone = 'x'", "manager.phone"),
        // OR still returns people whose parent is absent.
        ("Manager.Manager.Email = 'x' OR Title != null", "T"),
    ]);
    let people = people();
    for (number, filter, expected) in [
        (3, "Manager.Email = null", "manager"),
        (3, "Manager.Id = '0055f0000000099'", "T"),
        (4, "Manager.Email = null", "managerId"),
        (4, "Manager.Manager.Email = null", "managerId"),
        (2, "Manager.Email = null", "T"),
    ] {
        let user = &people.0[&key(number)];
        assert_eq!(judged(filter, user, Nulls::Match), expected, "{number}: {filter}");
    }
    let above = User {
        manager_id: key(3).user.into(),
        ..User::unknown(key(5))
    };
    assert_eq!(
        judged("Manager.Manager.Email = null", &above, Nulls::Match),
        "manager.manager"
    );
    let above = User {
        manager_id: key(4).user.into(),
        ..User::unknown(key(5))
    };
    assert_eq!(
        judged("Manager.Manager.Email = null", &above, Nulls::Match),
        "manager.managerId"
    );
}

#[test]
fn a_manager_of_oneself_is_no_trouble() {
    let user = User {
        manager_id: key(1).user.into(),
        ..ada()
    };
    let table = Table([(user.key(), user.clone())].into());
    let filter = Filter::parse(
        "Manager.Manager.Manager.Manager.Manager.Title = 'Account Executive'",
        &Fields::default(),
    );
    assert_eq!(filter.unwrap().evaluate(&user, &table, &clock()), Truth::True);
}

#[test]
fn ids_are_the_same_with_fifteen_and_with_eighteen_characters() {
    table(&[
        ("Id = '0055f0000000001'", "T"),
        ("Id = '0055f0000000001AAA'", "T"),
        ("Id = '0055f0000000002'", "F"),
        ("Id IN ('0055f0000000002', '0055f0000000001AAA')", "T"),
        ("Id NOT IN ('0055f0000000002')", "T"),
        ("ManagerId = '0055f0000000002AAA'", "T"),
        ("ManagerId != null", "T"),
        // The fifteen characters tell capitals from small letters.
        ("Buddy__c = '0055f000005mc66'", "T"),
        ("Buddy__c = '0055F000005MC66'", "F"),
        ("Buddy__c IN ('x', '0055f000005mc66AAA')", "T"),
    ]);
}

#[test]
fn numbers_are_compared_by_value() {
    table(&[
        ("Grade__c = 3.50", "T"),
        ("Grade__c > 3", "T"),
        ("Grade__c >= 3.5", "T"),
        ("Grade__c < 3.5", "F"),
        ("Grade__c <= +3.5", "T"),
        ("Grade__c > -1", "T"),
        ("Grade__c IN (1, 3.5)", "T"),
        ("Grade__c NOT IN (1, 2)", "T"),
        ("Grade__c != 4", "T"),
    ]);
}

#[test]
fn picklists_with_several_values_are_sets() {
    table(&[
        ("Skills__c INCLUDES ('rust')", "T"),
        ("Skills__c INCLUDES ('Java', 'Go')", "T"),
        ("Skills__c INCLUDES ('Java;Go')", "F"),
        ("Skills__c INCLUDES ('SOQL;Go', 'Java')", "T"),
        ("Skills__c INCLUDES ('Ru')", "F"),
        ("Skills__c EXCLUDES ('Rust')", "F"),
        ("Skills__c EXCLUDES ('Java')", "T"),
        ("Skills__c = 'Rust;Go;SOQL'", "T"),
        ("Skills__c = 'Rust'", "F"),
        ("Skills__c LIKE '%Go%'", "T"),
    ]);
}

#[test]
fn dates_and_moments_are_compared_as_such() {
    table(&[
        ("terminationDate = 2026-03-10", "T"),
        ("terminationDate > 2026-03-10", "F"),
        ("terminationDate >= 2026-03-10", "T"),
        ("terminationDate < 2026-03-11", "T"),
        ("terminationDate IN (2026-01-01, 2026-03-10)", "T"),
        ("terminationDate = YESTERDAY", "T"),
        ("terminationDate < TODAY", "T"),
        ("terminationDate = LAST_N_DAYS:1", "T"),
        ("CreatedDate = 2026-03-10T23:30:00Z", "T"),
        ("CreatedDate = 2026-03-11T00:30:00+01:00", "T"),
        ("CreatedDate > 2026-03-10T23:29:59.999Z", "T"),
        ("CreatedDate <= 2026-03-10T23:29:59Z", "F"),
        ("CreatedDate IN (2026-03-11T00:30:00+01:00)", "T"),
        ("CreatedDate = YESTERDAY", "T"),
        ("CreatedDate != TODAY", "T"),
        ("CreatedDate = THIS_WEEK", "T"),
        ("Start__c = 2026-03-10", "T"),
        ("Start__c > 2026-03-10", "F"),
        ("Start__c = YESTERDAY", "T"),
        ("Seen__c > 2026-03-10T11:00:00Z", "T"),
        ("Seen__c = YESTERDAY", "T"),
    ]);
}

#[test]
fn a_custom_field_of_another_kind_says_nothing() {
    table(&[
        ("Badge__c = 3", "custom.Badge__c"),
        ("Grade__c = 'x'", "custom.Grade__c"),
        ("Badge__c = true", "custom.Badge__c"),
        ("Remote__c = 'true'", "custom.Remote__c"),
        ("Badge__c = TODAY", "custom.Badge__c"),
        ("Start__c > 2026-03-10T00:00:00Z", "custom.Start__c"),
        ("Seen__c > 2026-03-10", "custom.Seen__c"),
        ("Remote__c INCLUDES ('a')", "custom.Remote__c"),
        ("Absent__c = 'x'", "custom.Absent__c"),
        ("custom.Absent__c = null", "custom.Absent__c"),
        ("badge__C = 'b-7'", "T"),
        ("custom.Badge__c = 'B-7'", "T"),
    ]);
}

#[test]
fn the_language_is_written_with_an_underscore_at_the_source_and_with_a_hyphen_in_our_name() {
    table(&[
        ("LanguageLocaleKey = 'en_US'", "T"),
        ("LanguageLocaleKey = 'en-US'", "F"),
        ("LanguageLocaleKey IN ('de', 'en_us')", "T"),
        (r"LanguageLocaleKey LIKE 'en\_%'", "T"),
        ("LanguageLocaleKey LIKE 'en-%'", "F"),
        ("LanguageLocaleKey LIKE 'en%'", "T"),
        ("language = 'en-US'", "T"),
        ("language = 'en_US'", "F"),
        ("LocaleSidKey = 'en_GB'", "T"),
        ("locale = 'en-GB'", "T"),
    ]);
}

#[test]
fn unknown_decides_only_where_nothing_else_does() {
    table(&[
        ("Phone = 'x'", "phone"),
        ("Phone = null", "phone"),
        ("NOT Phone = 'x'", "phone"),
        ("Phone != 'x'", "phone"),
        ("Title = 'x' AND Phone = 'x'", "F"),
        ("Phone = 'x' AND Title = 'x'", "F"),
        ("Title != null AND Phone = 'x'", "phone"),
        ("Title != null OR Phone = 'x'", "T"),
        ("Phone = 'x' OR Title != null", "T"),
        ("Title = 'x' OR Phone = 'x'", "phone"),
        ("NOT (Title = 'x' OR Phone = 'x')", "phone"),
        ("NOT (Title != null OR Phone = 'x')", "F"),
        ("(Phone = 'x' OR MobilePhone = 'x') AND Title = 'x'", "F"),
        ("Level__c = 3 AND Phone = 'x'", "custom.Level__c"),
    ]);
    let filter = Filter::parse(
        "Title != null AND (Phone = 'x' OR Level__c > 3 OR Phone = 'y') AND (Extension = 'x' OR IsActive = true)",
        &Fields::default(),
    )
    .unwrap();
    assert_eq!(
        filter.unknowns(&ada(), &people(), &clock()),
        ["phone", "custom.Level__c"]
    );
    let known = Filter::parse("Title = 'x' AND Phone = 'x'", &Fields::default()).unwrap();
    assert!(known.unknowns(&ada(), &people(), &clock()).is_empty());
}

#[test]
fn the_two_semi_joins_read_the_published_lists() {
    let group = |condition: &str| format!("Id IN (SELECT UserOrGroupId FROM GroupMember WHERE {condition})");
    let set = |condition: &str| format!("Id IN (SELECT AssigneeId FROM PermissionSetAssignment WHERE {condition})");
    let rows = [
        (group("Group.Name = 'emea'"), "T"),
        (group("Group.Name = 'APAC'"), "F"),
        // Only direct memberships are rows of GroupMember.
        (group("Group.Name = 'All'"), "F"),
        (group("GroupId = '00G000000000001'"), "T"),
        (group("Group.Id IN ('00G000000000009', '00G000000000001EAA')"), "T"),
        (group("Group.Name LIKE 'EM%'"), "T"),
        (group("Group.Name = 'x' OR GroupId = '00G000000000001'"), "T"),
        (group("Group.Name = 'EMEA' AND GroupId = '00G000000000002'"), "F"),
        (
            group("Group.Name IN ('x', 'EMEA')").replace("Id IN (S", "Id NOT IN (S"),
            "F",
        ),
        (set("PermissionSet.Label = 'gong'"), "T"),
        (set("PermissionSetId = '0PS000000000002'"), "T"),
        (set("PermissionSetId = '0PS000000000003'"), "F"),
        // The name of one of the sets is unknown: it might be this one.
        (set("PermissionSet.Label = 'Other'"), "permissionSets"),
        (
            set("PermissionSet.Label = 'Other'").replace("Id IN (S", "Id NOT IN (S"),
            "permissionSets",
        ),
        (
            set("PermissionSet.Label = 'Gong'").replace("Id IN (S", "Id NOT IN (S"),
            "F",
        ),
        (
            set("PermissionSet.Label = 'Other' AND PermissionSetId = '0PS000000000001'"),
            "F",
        ),
        (format!("{} AND Title = 'x'", set("PermissionSet.Label = 'Other'")), "F"),
    ];
    for (filter, expected) in &rows {
        assert_eq!(judged(filter, &ada(), Nulls::Match), *expected, "{filter}");
    }
    let nobody = User {
        groups: Known::Unknown,
        permission_sets: Known::Empty,
        ..ada()
    };
    assert_eq!(judged(&rows[0].0, &nobody, Nulls::Match), "groups");
    assert_eq!(judged(&rows[9].0, &nobody, Nulls::Match), "F");
    let none = User {
        groups: vec![].into(),
        ..ada()
    };
    assert_eq!(judged(&rows[0].0, &none, Nulls::Match), "F");
    assert_eq!(judged(&rows[8].0, &none, Nulls::Omit), "T");
}
