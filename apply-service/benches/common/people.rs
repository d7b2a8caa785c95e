//! Invented people as messages of the topic: person number n in edition m, made on the fly.
//!
//! Everything that the preset `scim` maps has a value, and groups and permission sets are there as in the messages of a large
//! company, so that a message is as long as a real one (about 2 KB).

use apply_service::topics;
use jiff::Timestamp;
use kafka_harness::{
    Kafka,
    raw::{Message, producer, transaction},
};
use usher_contract::{
    Cause, ChangeKind, CloudEvent, GroupRef, Known, NamedRef, Origin, RecordId, User, UserChange, UserKey,
};

/// The organization of the invented people.
pub(crate) const ORG: &str = "00D000000000001EAA";
/// Messages per transaction: what ingest-service puts into one.
const BATCH: u64 = 500;

fn text(value: impl Into<String>) -> Known<String> {
    Known::Value(value.into())
}
fn record_id(prefix: &str, number: u64) -> RecordId {
    RecordId::try_new(&format!("{prefix}{number:012}")).expect("a record id")
}

/// The key of person `number`.
pub(crate) fn key(number: u64) -> UserKey {
    let user = format!("005{number:012}").parse().expect("a user id");
    UserKey::new(ORG.parse().expect("an organization id"), user)
}

/// Person `number`; each edition has another title.
pub(crate) fn person(number: u64, edition: u64) -> UserChange {
    let mut user = User::unknown(key(number));
    let address = format!("zoe.oneil.{number}@acme.example");
    user.username = text(&address);
    user.email = text(&address);
    user.given_name = text("Zoë");
    user.family_name = text(format!("O'Neil {number}"));
    user.display_name = text(format!("Zoë O'Neil {number}"));
    user.title = text(format!("Senior Account Executive {edition}"));
    user.department = text(format!("Sales EMEA {}", number % 120));
    user.division = text(format!("Division {}", number % 14));
    user.company = text("Acme EMEA North");
    user.employee_number = text(format!("{:07}", number + 1_000_000));
    user.phone = text(format!("+44 20 7946 {:04}", number % 10_000));
    user.mobile_phone = text(format!("+44 7700 9{:05}", number % 100_000));
    user.active = true.into();
    user.frozen = false.into();
    user.listed = true.into();
    user.time_zone = text("Europe/London");
    user.locale = text("en-GB");
    user.locale_key = text("en_GB");
    user.language = text("en");
    user.user_type = text("Standard");
    user.manager_id = Known::Empty;
    user.profile = Known::Value(NamedRef {
        id: record_id("00e", number % 25),
        name: text(format!("Profile {}", number % 25)),
    });
    let groups = (0..6).map(|place| GroupRef {
        id: record_id("00G", place * 300 + number % 300),
        name: text(format!("EMEA North {}", place * 300 + number % 300)),
        direct: place % 2 == 0,
    });
    user.groups = Known::Value(groups.collect());
    let sets = (0..8).map(|place| NamedRef {
        id: record_id("0PS", place * 18 + number % 18),
        name: text(format!("Permission set {}", place * 18 + number % 18)),
    });
    user.permission_sets = Known::Value(sets.collect());
    let at = Timestamp::from_second(1_791_000_000).expect("a time");
    UserChange {
        version: edition + 1,
        kind: ChangeKind::Updated,
        changed: vec!["title".to_owned()],
        before: None,
        user,
        cause: Cause {
            origin: Origin::ChangeEvent,
            committed_at: Some(at),
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

/// Somebody who has left.
pub(crate) fn leaver(number: u64, edition: u64) -> UserChange {
    let mut change = person(number, edition);
    change.kind = ChangeKind::Deactivated;
    change.user.active = false.into();
    change
}

/// A change as it stands on the topic.
pub(crate) fn message(change: &UserChange) -> Message {
    let trace = format!("00-{0:032x}-{0:016x}-01", change.version);
    let headers = CloudEvent::of_user_change(change, Some(trace)).headers();
    Message {
        key: change.user.key().to_string().into_bytes(),
        value: serde_json::to_vec(change).expect("a message"),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .collect(),
        partition: None,
    }
}

/// These people in this edition, on the topic of the installation.
pub(crate) fn publish(kafka: &Kafka, prefix: &str, numbers: std::ops::Range<u64>, edition: u64) {
    let (producer, topic) = (
        producer(kafka, &format!("{prefix}bench-publish")),
        format!("{prefix}{}", topics::USER_CHANGE),
    );
    for first in numbers.clone().step_by(BATCH as usize) {
        let some = first..numbers.end.min(first + BATCH);
        let messages: Vec<Message> = some.map(|number| message(&person(number, edition))).collect();
        transaction(&producer, &topic, messages.iter(), None);
    }
}
