//! What is taken from the topic, what is passed over, and who is found.

use usher_contract::FieldSet;

use super::*;
use crate::logic::testing::{Change, person, user_key};

fn record(offset: i64, key: &str, value: Option<&str>, ce_type: &str) -> Record {
    Record {
        partition: 3,
        offset,
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: vec![("ce_type".into(), ce_type.as_bytes().to_vec())],
    }
}
const V1: &str = "dev.usher.user.updated.v1";

#[tokio::test]
async fn malformed_records_are_counted_and_the_rest_goes_on() {
    let (users, metrics) = (Users::default(), Metrics::new(&prometheus::Registry::new()).unwrap());
    let subscription = users.subscribe();
    let ada = serde_json::to_string(&person(1)).unwrap();
    let records = [
        record(0, "nobody", Some(&ada), V1),
        record(1, &user_key(1).to_string(), Some("{"), V1),
        record(2, &user_key(1).to_string(), Some(&ada), "dev.usher.user.updated.v2"),
        record(3, &user_key(2).to_string(), Some(&ada), V1),
        record(4, &user_key(1).to_string(), Some(&ada), V1),
    ];
    users.take("user-change", &records, &metrics);
    let status = users.status();
    assert_eq!((status.known, status.malformed), (1, 4));
    assert_eq!(
        status.last_malformed.as_deref(),
        Some("user-change/3/3: key-of-somebody-else")
    );
    subscription.changed().await;
    assert_eq!(subscription.take(10), [(user_key(1), Differences::EVERYTHING)]);
}

#[test]
fn people_are_found_by_what_one_knows_of_them_exact_hits_first() {
    let (users, metrics) = (Users::default(), Metrics::new(&prometheus::Registry::new()).unwrap());
    let records: Vec<Record> = (1..=12)
        .map(|n| {
            let mut change = person(n);
            change.user.display_name = Known::Value(format!("Ada Byron {n}"));
            change.user.employee_number = Known::Value(format!("E{n}"));
            let text = serde_json::to_string(&change).unwrap();
            record(i64::from(n), &user_key(n).to_string(), Some(&text), V1)
        })
        .collect();
    users.take("t", &records, &metrics);
    let find = |text: &str, limit| {
        let (hits, more) = users.find(text, limit);
        let keys: Vec<UserKey> = hits.iter().map(|hit| hit.0.user.key()).collect();
        (keys, more)
    };
    assert_eq!(find("U1@acme.EXAMPLE", 5), (vec![user_key(1)], false));
    assert_eq!(find("e1", 2), (vec![user_key(1), user_key(10)], true));
    assert_eq!(find("byron 7", 5), (vec![user_key(7)], false));
    let id = user_key(3).user;
    for text in [id.as_str(), &id.as_str()[..15], &user_key(3).to_string()] {
        assert_eq!(find(text, 5), (vec![user_key(3)], false), "{text}");
    }
    assert_eq!(find("zz", 5), (vec![], false));
}

#[test]
fn of_a_repeated_message_only_the_version_is_read() {
    let (users, metrics) = (Users::default(), Metrics::new(&prometheus::Registry::new()).unwrap());
    let (key, ada) = (
        user_key(1).to_string(),
        serde_json::to_string(&person(1).version(5)).unwrap(),
    );
    let with_id = |text: Option<&str>, version: u64| {
        let mut record = record(0, &key, text, V1);
        let id = format!("{key}:{version}");
        record.headers.push(("ce_id".into(), id.into_bytes()));
        record
    };
    users.take("t", &[with_id(Some(&ada), 5)], &metrics);
    // Whatever it says: it was read before.
    users.take("t", &[with_id(Some("{"), 5), with_id(Some("{"), 4)], &metrics);
    assert_eq!((users.status().known, users.status().malformed), (1, 0));
    users.take("t", &[with_id(Some("{"), 6)], &metrics);
    assert_eq!(users.status().malformed, 1);
    // Erased and back in one batch: not a repetition of what the table still has while the batch is read.
    let back = serde_json::to_string(&person(1).version(2)).unwrap();
    users.take("t", &[with_id(None, 5), with_id(Some(&back), 2)], &metrics);
    assert_eq!(users.get(&user_key(1)).map(|change| change.version), Some(2));
    assert!(lock(&users.erasing).is_empty());
}

#[test]
fn older_and_repeated_records_change_nothing() {
    let (users, metrics) = (Users::default(), Metrics::new(&prometheus::Registry::new()).unwrap());
    let text = |change: &UserChange| serde_json::to_string(change).unwrap();
    let key = user_key(1).to_string();
    users.take(
        "t",
        &[record(0, &key, Some(&text(&person(1).version(5).titled("new"))), V1)],
        &metrics,
    );
    let subscription = users.subscribe();
    users.take(
        "t",
        &[
            record(1, &key, Some(&text(&person(1).version(4))), V1),
            record(2, &key, Some(&text(&person(1).version(5))), V1),
        ],
        &metrics,
    );
    assert_eq!(users.get(&user_key(1)).unwrap().version, 5);
    assert!(subscription.take(10).is_empty());
    users.take("t", &[record(3, &key, None, V1)], &metrics);
    assert!(users.get(&user_key(1)).is_none());
    assert_eq!(
        subscription.take(10),
        [(user_key(1), Differences::EVERYTHING)],
        "lanes are told of somebody erased"
    );
    users.take("t", &[record(4, &key, None, V1)], &metrics);
    assert!(subscription.take(10).is_empty());
}

#[test]
fn what_has_changed_adds_up_until_it_is_taken() {
    let (users, metrics) = (Users::default(), Metrics::new(&prometheus::Registry::new()).unwrap());
    let put = |change: &UserChange| {
        let text = serde_json::to_string(change).unwrap();
        users.take(
            "t",
            &[record(0, &change.user.key().to_string(), Some(&text), V1)],
            &metrics,
        );
    };
    put(&person(1));
    put(&person(2));
    let subscription = users.subscribe();
    let named = |names: &[&str]| Differences {
        fields: FieldSet::of(names.iter().copied()),
        ..Differences::NONE
    };
    put(&person(1).version(2).titled("CEO"));
    put(&person(2).version(2));
    put(&person(1).version(3).titled("CEO").named("ceo@acme.example"));
    let hanging = ["title", "username", "email", "federationId"];
    // At most so many, and the rest afterwards.
    assert_eq!(subscription.take(1), [(user_key(1), named(&hanging))]);
    subscription.again([user_key(2)]);
    put(&person(2).version(3));
    assert_eq!(subscription.take(1), [(user_key(2), Differences::EVERYTHING)]);
    assert_eq!(subscription.take(1), []);
    // Back as before: each step counts from the one that was taken.
    put(&person(1).version(4).named("ceo@acme.example"));
    assert_eq!(subscription.take(9), [(user_key(1), named(&["title"]))]);
}
