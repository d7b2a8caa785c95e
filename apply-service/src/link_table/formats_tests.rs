//! Records as the first version of this service wrote them, word for word: every later version reads them and acts on them.
//! A line here is never edited; what a later version writes otherwise is a line of its own.

use std::sync::Arc;

use usher_contract::{ChangeDeadLetter, Outcome, OutcomeResult};

use super::*;
use crate::{
    connector::Operation,
    logic::{
        command::{Command, Verb},
        groups::record::{GroupRecord, Memberships},
        lane::{Answer, Effect, Input, Lane},
        link::LinkState,
        ownership::Predecessor,
        testing::{Change, OWNER, at, person, policy, user_key},
    },
};

/// Of an account that is as person 1 of the tests wants it.
const SETTLED: &str = r#"{"format":1,"remoteId":"r1","active":true,"written":{"externalId":{"hash":"8fa23432e43006a2c0df3e3fa99675ba"},"name.familyName":{"hash":"7fa6b99cfa82f2a2de605ae311d68738"},"title":{"hash":"285f3650a7af6ba5600cc7a77b54c2a5"},"userName":{"hash":"c152fab0e4674cb74919d7f1384f9bcd","returned":"285f3650a7af6ba5600cc7a77b54c2a5"}},"userVersion":1,"configuration":"9c9294a5d4b5a5fb0f72c1c800837075","state":{"is":"settled"},"changedAt":"2026-01-02T03:04:05Z"}"#;
const OFF: &str = r#"{"format":1,"remoteId":"r2","active":false,"written":{"userName":{"hash":"12125bad57608586f267cf4609ace536"}},"userVersion":4,"configuration":"9c9294a5d4b5a5fb0f72c1c800837075","state":{"is":"settled"},"changedAt":"2026-01-02T03:04:05Z","removedAt":"2026-01-02T03:04:05Z"}"#;
const RETRYING: &str = r#"{"format":1,"remoteId":"r3","createIntent":true,"userVersion":2,"configuration":"9c9294a5d4b5a5fb0f72c1c800837075","state":{"is":"retrying","desired":"285f3650a7af6ba5600cc7a77b54c2a5","attempts":3,"nextTry":"2027-01-15T09:00:00Z","since":"2027-01-15T07:00:00Z","code":"http-503"}}"#;
const REJECTED: &str = r#"{"format":1,"userVersion":2,"configuration":"9c9294a5d4b5a5fb0f72c1c800837075","state":{"is":"rejected","desired":"285f3650a7af6ba5600cc7a77b54c2a5","code":"scim-invalid-value","reason":"no such title","at":"2026-01-02T03:04:05Z"}}"#;
const SKIPPED: &str = r#"{"format":1,"userVersion":2,"configuration":"9c9294a5d4b5a5fb0f72c1c800837075","state":{"is":"skipped","desired":"285f3650a7af6ba5600cc7a77b54c2a5","reason":"familyName is blank","at":"2026-01-02T03:04:05Z"}}"#;
const TARGET: &str = r#"{"format":1,"owner":"127.0.0.1:8081","released":true,"mode":"enforce","firstSync":{"at":"2026-01-02T03:04:05Z","accounts":3,"matched":2,"wouldCreate":1,"ambiguous":0,"unmatched":1},"reconciledAt":"2026-01-02T03:04:05Z","at":"2026-01-02T03:04:06Z"}"#;
const TARGET_AT_WORK: &str = r#"{"format":1,"owner":"127.0.0.1:8081","released":false,"mode":"enforce","outstandingSince":"2026-01-02T03:04:05Z","at":"2026-01-02T03:04:06Z"}"#;
const GROUP: &str =
    r#"{"format":1,"name":"Sales","id":"g1","made":true,"sources":["00D000000000001EAA/00G000000000001AAA"]}"#;
const MEMBERSHIPS: &str =
    r#"{"format":1,"account":"r1","groups":{"abc":{"is":"in"},"def":{"is":"refused","tries":2}}}"#;
const OUTCOME: &str = r#"{"id":"gong/00D000000000001EAA:005000000000001AAA/2/update/1/0123abcd/done/1800000000000","user":"00D000000000001EAA:005000000000001AAA","target":"gong","action":"update","reasons":["title differs"],"changed":["title"],"result":"done","attempt":1,"latencyMs":12,"userVersion":2,"configuration":"9c9294a5d4b5a5fb0f72c1c800837075","at":"2027-01-15T08:00:00Z","cause":{"origin":"change-event","committedAt":"2027-01-15T07:59:59Z","observedAt":"2027-01-15T07:59:59Z"}}"#;
const DEAD_LETTER: &str = r#"{"user":"00D000000000001EAA:005000000000001AAA","target":"gong","userVersion":2,"code":"scim-invalid-value","reason":"no such title","at":"2027-01-15T08:00:00Z"}"#;

fn read<T: DeserializeOwned>(line: &str, known: u32) -> T {
    decode(Some(line.as_bytes()), known).unwrap().unwrap()
}

#[test]
fn links_of_the_first_version_are_known_and_nobody_is_written_again() {
    let mut links = Links::default();
    for (n, line) in [(1, SETTLED), (2, OFF), (3, RETRYING), (4, REJECTED), (5, SKIPPED)] {
        take_link(&mut links, user_key(n), decode_link(Some(line.as_bytes()))).unwrap();
    }
    assert_eq!((links.linked(), links.unreadable()), (3, 0));
    let state = |n: u32| links.get(&user_key(n)).unwrap().state;
    assert!(matches!(state(3), LinkState::Retrying { attempts: 3, .. }));
    assert!(matches!(state(4), LinkState::Rejected { .. }));
    assert!(matches!(state(5), LinkState::Skipped { .. }));
    let off = links.get(&user_key(2)).unwrap();
    assert_eq!(
        (off.active, off.removed_at.is_some(), off.removal_inferred),
        (Some(false), true, false)
    );
    assert!(links.get(&user_key(3)).unwrap().create_intent);

    // A lane over them, with the record of then: who is as the link says is left alone.
    let record: TargetRecord = read(TARGET, target_record::FORMAT);
    let now = at(0);
    let mut lane = Lane::new(Arc::new(policy()), links, Some(record), OWNER, now);
    let mut asked = Vec::new();
    let mut inputs = vec![
        Input::AllFed,
        Input::User {
            change: Arc::new(person(2).version(4).inactive()),
            again: false,
        },
        Input::User {
            change: Arc::new(person(1)),
            again: false,
        },
    ];
    while let Some(input) = inputs.pop() {
        for effect in lane.step(input, now, 0.5) {
            match effect {
                Effect::Execute(operation, Operation::Check) => inputs.push(Input::Ended {
                    operation,
                    result: Ok(Answer::Checked),
                    took: std::time::Duration::ZERO,
                    requests: 1,
                }),
                Effect::Execute(_, operation) => asked.push(operation),
                Effect::Commit(_) => inputs.push(Input::Committed),
                _ => {}
            }
        }
    }
    assert_eq!(asked, [], "the hashes of then are those of now");
    assert_eq!(lane.status().pending, 0);
    assert_eq!(lane.record().commands_done, 0, "commands are read from the beginning");
    assert_eq!(lane.record().imported, Some(true), "with links the import is over");
}

#[test]
fn records_of_targets_of_the_first_version_say_who_may_be_writing() {
    let handed_back: TargetRecord = read(TARGET, target_record::FORMAT);
    assert_eq!(Predecessor::of(Some(&handed_back), "ours"), Predecessor::HandedBack);
    assert_eq!(handed_back.first_sync.as_ref().unwrap().would_create, 1);
    assert!(handed_back.held.is_empty() && handed_back.paused.is_none() && handed_back.tenant.is_none());
    let at_work: TargetRecord = read(TARGET_AT_WORK, target_record::FORMAT);
    assert_eq!(Predecessor::of(Some(&at_work), "ours"), Predecessor::Another);
    assert!(at_work.outstanding_since.is_some());
}

#[test]
fn groups_commands_outcomes_and_dead_letters_of_the_first_version_are_read() {
    let group: GroupRecord = read(GROUP, group_record::FORMAT);
    assert_eq!(
        (group.name.as_str(), group.made, group.sources.len()),
        ("Sales", true, 1)
    );
    let memberships: Memberships = read(MEMBERSHIPS, group_record::FORMAT);
    assert_eq!((memberships.account.0.as_str(), memberships.groups.len()), ("r1", 2));

    let by =
        r#""by":{"actor":"ada","reason":"planned","at":"2026-01-02T03:04:05Z"},"expiresAt":"2026-01-02T03:05:05Z""#;
    let user = r#""user":"00D000000000001EAA:005000000000001AAA""#;
    let commands = [
        (r#""verb":"pause""#.to_owned(), "pause"),
        (r#""verb":"resume""#.to_owned(), "resume"),
        (r#""verb":"approve","set":"s""#.to_owned(), "approve"),
        (
            r#""verb":"allow","removals":300,"forSeconds":14400"#.to_owned(),
            "allow",
        ),
        (r#""verb":"reconcile""#.to_owned(), "reconcile"),
        (r#""verb":"drift""#.to_owned(), "drift"),
        (r#""verb":"redrive""#.to_owned(), "redrive"),
        (format!(r#""verb":"redrive",{user}"#), "redrive"),
        (format!(r#""verb":"relink",{user},"account":"r1""#), "relink"),
        (format!(r#""verb":"unlink",{user}"#), "unlink"),
    ];
    for (verb, word) in commands {
        let line = format!(r#"{{"format":1,"id":"c1","target":"gong",{verb},{by}}}"#);
        let command: Command = serde_json::from_str(&line).unwrap();
        assert_eq!((command.verb.as_str(), command.by.actor.as_str()), (word, "ada"));
        match command.verb {
            Verb::Allow { removals, for_seconds } => assert_eq!((removals, for_seconds), (300, 14_400)),
            Verb::Relink { user, .. } | Verb::Unlink { user } => assert_eq!(user, user_key(1)),
            _ => {}
        }
    }

    let outcome: Outcome = serde_json::from_str(OUTCOME).unwrap();
    assert_eq!((outcome.result, outcome.user), (OutcomeResult::Done, Some(user_key(1))));
    assert_eq!((outcome.actor, outcome.trace_id, outcome.values.len()), (None, None, 0));
    let letter: ChangeDeadLetter = serde_json::from_str(DEAD_LETTER).unwrap();
    assert_eq!((letter.user, letter.code.as_str()), (user_key(1), "scim-invalid-value"));
}

#[test]
fn a_record_of_a_later_version_is_not_half_understood() {
    for line in [SETTLED, OFF, RETRYING, REJECTED, SKIPPED] {
        let later = line.replace("\"format\":1", "\"format\":2");
        assert_eq!(decode_link(Some(later.as_bytes())), Err(Unreadable::Newer));
    }
    for line in [TARGET, TARGET_AT_WORK] {
        let later = line.replace("\"format\":1", "\"format\":2");
        let read = decode::<TargetRecord>(Some(later.as_bytes()), target_record::FORMAT);
        assert_eq!(read, Err(Unreadable::Newer));
    }
}
