//! The wire format: golden messages, checked-in schemas, examples. Within version 1 fields are only added.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use usher_contract::{
    Cause, ChangeKind, CloudEvent, GroupRef, Known, NamedRef, Origin, User, UserChange, UserKey,
    canonical::canonical_json, schema,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares with the file, or writes it when `UPDATE_SCHEMAS=1`.
fn same_as_file(file: &str, content: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == content,
        "{file} is stale: run `UPDATE_SCHEMAS=1 cargo test -p usher-contract`, and read what changed"
    );
}

fn named(id: &str, name: &str) -> NamedRef {
    NamedRef {
        id: id.parse().unwrap(),
        name: name.to_owned().into(),
    }
}

fn ada() -> User {
    let key: UserKey = "00D000000000001EAA:005ZL000000M0x1".parse().unwrap();
    let text = |value: &str| Known::Value(value.to_owned());
    User {
        username: text("ada@acme.example"),
        email: text("ada@acme.example"),
        given_name: text("Ada"),
        family_name: text("Byron"),
        display_name: text("Ada Byron"),
        title: text("AE"),
        department: text("Sales EMEA"),
        division: Known::Empty,
        active: true.into(),
        frozen: false.into(),
        listed: true.into(),
        time_zone: text("Europe/London"),
        locale: text("en-GB"),
        locale_key: text("en_GB"),
        manager_id: Known::Value("0055f000005mc66".parse().unwrap()),
        profile: named("00e000000000001", "Sales User").into(),
        role: Known::Empty,
        groups: vec![GroupRef {
            id: "00G000000000001".parse().unwrap(),
            name: "EMEA".to_owned().into(),
            direct: true,
        }]
        .into(),
        permission_sets: vec![].into(),
        termination_date: Known::Value("2026-12-31".parse().unwrap()),
        modified_at: Known::Value("2026-01-02T03:04:05Z".parse().unwrap()),
        custom: BTreeMap::from([("Badge__c".to_owned(), json!("B-7"))]),
        ..User::unknown(key)
    }
}

fn change() -> UserChange {
    UserChange {
        version: 17,
        kind: ChangeKind::Updated,
        changed: vec!["department".to_owned()],
        before: None,
        user: ada(),
        cause: Cause {
            origin: Origin::ChangeEvent,
            committed_at: Some("2026-01-02T03:04:05.123Z".parse().unwrap()),
            observed_at: "2026-01-02T03:04:05.2Z".parse().unwrap(),
            read_at: None,
            commit_number: Some("11529215046068469760".to_owned()),
            transaction_key: Some("0003-a1".to_owned()),
            changed_by: None,
            recorded_at: None,
            approval: None,
        },
    }
}

#[test]
fn a_user_change_looks_as_published() {
    let value = serde_json::to_value(change()).unwrap();
    same_as_file(
        "tests/golden/user-change.v1.json",
        &(serde_json::to_string_pretty(&value).unwrap() + "\n"),
    );
    same_as_file(
        "examples/user-change.json",
        &(serde_json::to_string_pretty(&value).unwrap() + "\n"),
    );
}

#[test]
fn every_golden_message_still_decodes_and_loses_nothing() {
    for entry in fs::read_dir(root().join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let message: UserChange = serde_json::from_value(golden.clone()).unwrap();
        assert_eq!(serde_json::to_value(message).unwrap(), golden, "{}", path.display());
    }
}

#[test]
fn unknown_fields_of_a_later_writer_are_accepted() {
    let mut later = serde_json::to_value(change()).unwrap();
    later["user"]["badgeColour"] = json!("blue");
    later["kind"] = json!("promoted");
    let read: UserChange = serde_json::from_value(later).unwrap();
    assert_eq!(read.kind, ChangeKind::Updated);
}

#[test]
fn what_is_unknown_is_absent_and_what_is_empty_is_null() {
    let value = serde_json::to_value(change()).unwrap();
    assert_eq!(value["user"]["division"], Value::Null);
    assert!(value["user"].as_object().unwrap().contains_key("division"));
    assert!(!value["user"].as_object().unwrap().contains_key("company"));
}

#[test]
fn equal_messages_are_equal_bytes() {
    assert_eq!(canonical_json(&change()).unwrap(), canonical_json(&change()).unwrap());
}

#[test]
fn headers_follow_the_kafka_binding() {
    let headers = CloudEvent::of_user_change(&change(), Some("00-0-0-00".to_owned())).headers();
    let text = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect::<String>();
    same_as_file("examples/user-change.headers.txt", &text);
}

#[test]
fn time_falls_back_from_commit_to_last_touch_to_read_to_observation() {
    let mut message = change();
    let time = |message: &UserChange| CloudEvent::of_user_change(message, None).time;
    let moment = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    message.cause.recorded_at = Some(moment("2026-01-02T03:04:04Z"));
    message.cause.read_at = Some(moment("2026-01-02T03:04:09Z"));
    assert_eq!(Some(time(&message)), message.cause.committed_at);
    message.cause.committed_at = None;
    assert_eq!(time(&message), moment("2026-01-02T03:04:04Z"));
    message.cause.recorded_at = None;
    assert_eq!(time(&message), moment("2026-01-02T03:04:09Z"));
    message.cause.read_at = None;
    assert_eq!(time(&message), message.cause.observed_at);
}

#[test]
fn schemas_are_checked_in() {
    for (file, document) in schema::documents() {
        same_as_file(
            &format!("schema/{file}"),
            &(serde_json::to_string_pretty(&document).unwrap() + "\n"),
        );
    }
}

#[test]
fn newer_knowledge_wins_and_silence_changes_nothing() {
    let mut report_row = User::unknown(ada().key());
    report_row.department = Known::Empty;
    let merged = ada().updated_by(report_row);
    assert_eq!(
        merged,
        User {
            department: Known::Empty,
            ..ada()
        }
    );
}
