//! The stream in its unusual ways: what events may look like, what they cannot say, and what nobody delivers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use salesforce_sim::{FieldDef, FieldKind, Gap, SimConfig};
use scenarios::{EndTxn, History, KafkaProxy, OPERATOR, PATIENCE, Scene, Service, eventually, eventually_none};
use serde_json::{Value, json};

/// The org's clock is set ahead by this after the baseline: events are merged then, because they are plainly newer than
/// what was read (ordering rule 2).
const AHEAD_MS: i64 = 300_000;

/// The newest message of everybody, by user id.
async fn newest(scene: &Scene) -> BTreeMap<String, Value> {
    let mut newest = BTreeMap::new();
    for record in scene.user_changes().await {
        let message = record.json();
        newest.insert(message["user"]["id"].as_str().unwrap().to_owned(), message);
    }
    newest
}

/// Waits until the newest messages have these values: user id, path in the message, value.
async fn shows(scene: &Scene, what: &str, wanted: &[(&str, &str, Value)]) -> BTreeMap<String, Value> {
    eventually(what, || async {
        let newest = newest(scene).await;
        let wrong: Vec<String> = wanted
            .iter()
            .filter(|(id, path, value)| newest.get(*id).and_then(|message| message.pointer(path)) != Some(value))
            .map(|(id, path, value)| {
                let found = newest.get(*id).and_then(|message| message.pointer(path));
                format!("{id} {path} is {found:?} and not {value}")
            })
            .collect();
        if wrong.is_empty() {
            Ok(newest)
        } else {
            Err(wrong.join("; "))
        }
    })
    .await
}

/// Only the stream may deliver: the routine look-back is as good as off.
fn stream_alone() -> Value {
    json!({ "recheck": { "every": "10h" } })
}

const TITLE: &str = "/user/title";
const ORIGIN: &str = "/cause/origin";

#[tokio::test(flavor = "multi_thread")]
async fn events_of_every_form_are_understood_or_their_people_are_read_again() {
    let default = SimConfig::default();
    // The header, 59 standard fields and 13 custom ones: more than 64 bits.
    let more = (1..10).map(|number| FieldDef::custom(&format!("Extra{number}__c"), FieldKind::Text));
    let custom_fields = default.custom_fields.iter().cloned().chain(more).collect();
    let scene = Scene::set(SimConfig {
        users: 130,
        seed: 71,
        custom_fields,
        ..default
    })
    .await;
    let config = json!({
        "recheck": { "every": "10h" }, "fields": { "custom": ["Extra9__c"] },
        "population": { "where": "UserType IN ('Standard', 'CspLitePortal') AND (NOT Email LIKE '%.invalid')" },
    });
    let ingest = scene.ingest("ingest", &config).await;
    ingest.settled().await;
    let org = scene.org();
    org.set_clock_skew_ms(AHEAD_MS);
    let faults = org.faults();
    let people = scene.people();
    let id = |number: usize| people[number].id.as_str();
    let edit = |number: usize, fields: Value| org.update_user(id(number), fields).unwrap();
    let lost = |number: usize, fields: Value| {
        faults.lose_next_events(1);
        org.update_user(id(number), fields).unwrap();
    };
    let merged = json!("change-event");

    // One event for many, nested bitmaps of compounds, bits beyond 64.
    let end = org.bus_end();
    let changes: Vec<_> = (0..5)
        .map(|number| (people[number].id.clone(), json!({ "Department": "Merged" })))
        .collect();
    org.update_users_in_one_transaction(&changes).unwrap();
    assert_eq!(org.bus_end(), end + 1, "one event for all five");
    edit(5, json!({ "FirstName": "Nested" }));
    edit(6, json!({ "FirstName": null }));
    edit(7, json!({ "City": "Lyon", "Title": "moved" }));
    edit(8, json!({ "Extra9__c": "beyond 64 bits" }));
    let mut wanted: Vec<_> = (0..5)
        .map(|number| (id(number), "/user/department", json!("Merged")))
        .collect();
    wanted.extend([
        (id(5), "/user/givenName", json!("Nested")),
        (id(5), "/user/familyName", json!(people[5].text("LastName"))),
        (id(6), "/user/givenName", Value::Null),
        (id(6), "/user/displayName", json!(people[6].text("LastName"))),
        (id(7), TITLE, json!("moved")),
        (id(8), "/user/custom/Extra9__c", json!("beyond 64 bits")),
    ]);
    wanted.extend((0..9).map(|number| (id(number), ORIGIN, merged.clone())));
    let shown = shows(&scene, "merged, compound and wide events", &wanted).await;
    let transactions: Vec<&Value> = (0..5)
        .map(|number| &shown[id(number)]["cause"]["transactionKey"])
        .collect();
    assert!(transactions.iter().all(|key| *key == transactions[0]));

    // A schema that changes in the middle, and servers that have not heard of it yet; names as a union of three.
    faults.add_user_field("Later__c", FieldKind::Text);
    for number in 10..16 {
        faults.write_next_with_old_schema(u32::from(number % 2 == 1));
        edit(
            number,
            json!({ "Title": format!("schema {number}"), "Later__c": "ignored" }),
        );
    }
    faults.make_names_switchable();
    edit(16, json!({ "LastName": "Three-Way" }));
    let mut wanted: Vec<_> = (10..16)
        .map(|number| (id(number), TITLE, json!(format!("schema {number}"))))
        .collect();
    wanted.push((id(16), "/user/familyName", json!("Three-Way")));
    wanted.extend((10..17).map(|number| (id(number), ORIGIN, merged.clone())));
    shows(&scene, "two schemas by turns", &wanted).await;

    // What an event cannot say is read: differences, kinds of a later release, gaps.
    lost(20, json!({ "Title": "the whole text" }));
    faults.emit_difference(id(20), "Title").unwrap();
    faults.add_change_type("MERGE");
    lost(21, json!({ "Title": "a new kind" }));
    faults.emit_header_only("MERGE", &[id(21)]);
    lost(22, json!({ "Title": "not deleted at all" }));
    faults.emit_gap(Gap::Delete, &[id(22)]);
    lost(23, json!({ "Title": "one of two" }));
    lost(24, json!({ "Title": "two of two" }));
    faults.emit_gap(Gap::Undelete, &[id(23), id(24)]);
    faults.lose_next_events(1);
    let profile = people[0].text("ProfileId").unwrap();
    let created = json!({ "Username": "gap@acme.example", "LastName": "Gap", "Email": "gap@acme.example", "Alias": "gap",
        "ProfileId": profile, "Title": "created in a gap" });
    let created = org.create_user(created).unwrap();
    faults.emit_gap(Gap::Create, &[&created]);
    let wanted = [
        (id(20), TITLE, json!("the whole text")),
        (id(21), TITLE, json!("a new kind")),
        (id(22), TITLE, json!("not deleted at all")),
        (id(22), "/user/removed", json!(false)),
        (id(23), TITLE, json!("one of two")),
        (id(24), TITLE, json!("two of two")),
        (created.as_str(), TITLE, json!("created in a gap")),
        (created.as_str(), "/kind", json!("created")),
    ];
    shows(&scene, "re-reads", &wanted).await;

    // Everyone: a wildcard, and the dummy id of an overflow.
    for (number, title) in [(30, "wildcard"), (31, "overflow")] {
        lost(number, json!({ "Title": title }));
        match number {
            30 => faults.emit_wildcard(),
            _ => faults.emit_overflow(),
        }
        shows(&scene, title, &[(id(number), TITLE, json!(title))]).await;
    }
    ingest.settled().await;

    // Portal users can really go and come back.
    let portal: Vec<String> = org
        .users()
        .into_iter()
        .filter(|user| user.text("UserType") == Some("CspLitePortal"))
        .map(|user| user.id)
        .collect();
    org.delete_user(&portal[0]).unwrap();
    // Owed a read, and deleted before it is made.
    faults.emit_gap(Gap::Update, &[&portal[1]]);
    org.delete_user(&portal[1]).unwrap();
    faults.lose_next_events(1);
    org.delete_user(&portal[2]).unwrap();
    faults.emit_gap(Gap::Delete, &[&portal[2]]);
    let gone: Vec<_> = portal[..3]
        .iter()
        .map(|id| (id.as_str(), "/kind", json!("removed")))
        .collect();
    shows(&scene, "deleted", &gone).await;
    org.undelete_user(&portal[0]).unwrap();
    org.undelete_user(&portal[1]).unwrap();
    faults.lose_next_events(1);
    org.undelete_user(&portal[2]).unwrap();
    faults.emit_gap(Gap::Undelete, &[&portal[2]]);
    let back: Vec<_> = portal[..3]
        .iter()
        .map(|id| (id.as_str(), "/kind", json!("restored")))
        .collect();
    shows(&scene, "undeleted", &back).await;

    // A field that is hidden from now on is unknown and not cleared.
    let department = people
        .iter()
        .skip(40)
        .position(|user| user.text("Department").is_some())
        .unwrap()
        + 40;
    org.hide_fields(&["Department", "Phone"]);
    edit(department, json!({ "Department": "Secret", "Title": "seen" }));
    shows(&scene, "a hidden field", &[(id(department), TITLE, json!("seen"))]).await;
    eventually("a hidden field is unknown", || async {
        let message = newest(&scene).await.remove(id(department)).unwrap();
        // Cleared would be null.
        match message["user"].get("department") {
            None => Ok(()),
            Some(value) => Err(value.to_string()),
        }
    })
    .await;
    eventually("the status names what may not be read", || async {
        let status = ingest.status().await;
        if status["unreadableFields"] == json!(["Department", "Phone"]) && status["owedReads"] == json!(0) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;

    // A token that ends in the middle of the stream.
    faults.revoke_sessions();
    edit(50, json!({ "Title": "with a new token" }));
    shows(
        &scene,
        "a revoked session",
        &[(id(50), TITLE, json!("with a new token"))],
    )
    .await;
    ingest.settled().await;
    assert_eq!(ingest.status().await["undecodableEvents"], json!(0));
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn re_reads_that_fail_for_long_are_owed_over_a_restart_and_lose_nothing() {
    let scene = Scene::set(SimConfig {
        users: 40,
        seed: 72,
        ..SimConfig::default()
    })
    .await;
    let ingest = scene.ingest("ingest", &stream_alone()).await;
    ingest.settled().await;
    let org = scene.org();
    let people = scene.people();
    let mut history = History::begin(&scene);
    org.faults()
        .fail_next_rest_at("/query", 1_000_000, 503, "SERVER_UNAVAILABLE");
    // Too soon after the baseline to be merged: these must be read, and cannot be.
    for person in &people[..3] {
        history.edit(&scene, &person.id);
    }
    let owes = async |ingest: &Service| {
        eventually("the status says what is owed and why", || async {
            let status = ingest.status().await;
            let said = status["problems"].to_string().contains("re-reading users fails");
            if status["owedReads"] == json!(3) && said {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
    };
    owes(&ingest).await;
    // The position moves on, over debts that are on the topic.
    let end = org.bus_end();
    let passed = async || {
        eventually("the position has passed the events", || async {
            let checkpoint = scene.kafka.read_committed(&scene.topic("user-change.checkpoint")).await;
            let owed = checkpoint
                .iter()
                .filter(|record| record.key_text().contains("/owed/005"))
                .count();
            let positions = checkpoint
                .iter()
                .rev()
                .find(|record| record.key_text().contains("/position/"));
            let place = positions.and_then(|record| history.place_of(&scene, record));
            if place == Some(end) && owed == 3 {
                Ok(())
            } else {
                Err(format!("{place:?} of {end}, {owed} owed"))
            }
        })
        .await;
    };
    passed().await;
    ingest.stop().await;
    let ingest = scene.ingest("ingest-again", &stream_alone()).await;
    owes(&ingest).await;
    assert_eq!(history.missing(&scene).await.len(), 3);
    org.faults().stop_failing_rest();
    eventually_none("the debts are paid", || history.missing(&scene)).await;
    ingest.settled().await;
    assert_eq!(ingest.status().await["owedReads"], json!(0));
    assert!(history.assert_position_was_never_ahead(&scene).await > 1);
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_a_lost_position_and_an_overflow_in_a_snapshot_leave_no_hole() {
    let scene = Scene::set(SimConfig {
        users: 80,
        seed: 73,
        query_batch: 20,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let faults = org.faults();
    let mut people = scene.people();
    people.sort_by(|one, other| one.id.cmp(&other.id));
    let early = |number: usize| people[number].id.as_str();
    let pages = || org.request_log().count("GET", "/query/{id}");

    // Streams opened at LATEST miss what is committed in the first seconds. The person has been read by then.
    faults.blind_latest(Duration::from_secs(3));
    faults.set_latency(Duration::from_millis(150));
    let change = json!({ "recheck": { "every": "10h" }, "http": { "tokensFile": scene.tokens_file() } });
    let ingest = scene.ingest("ingest", &change).await;
    eventually("the first page is read", || async {
        let (pages, open) = (pages(), org.open_streams());
        if pages > 0 && open > 0 {
            Ok(())
        } else {
            Err(format!("{pages} pages, {open} streams"))
        }
    })
    .await;
    org.update_user(early(0), json!({ "Title": "in the gap of LATEST" }))
        .unwrap();
    let newest = shows(&scene, "the gap", &[(early(0), TITLE, json!("in the gap of LATEST"))]).await;
    assert_eq!(org.delivered_events(), 0, "the stream has not delivered it");
    assert_eq!(newest[early(0)]["cause"]["origin"], json!("recheck"));
    faults.blind_latest(Duration::ZERO);
    faults.set_latency(Duration::ZERO);
    ingest.settled().await;

    // The position is lost in the middle of a reconnect: expired, and then refused as corrupt.
    for (number, title) in [(1, "expired"), (2, "corrupt")] {
        let mark = ingest.process.output().mark();
        faults.lose_next_events(1);
        org.update_user(early(number), json!({ "Title": title })).unwrap();
        match number {
            1 => faults.expire_replay_ids(),
            _ => faults.corrupt_replay_ids(),
        }
        faults.disconnect_streams();
        shows(&scene, title, &[(early(number), TITLE, json!(title))]).await;
        let said = |line: &str| line.contains("the stored position is lost");
        ingest.process.wait_for_line_after(mark, said, PATIENCE).await;
        // The stream goes on, and has a position again.
        let title = format!("after {title}");
        org.update_user(early(number + 10), json!({ "Title": title })).unwrap();
        shows(&scene, &title, &[(early(number + 10), TITLE, json!(title))]).await;
        ingest.settled().await;
    }

    // An overflow while everyone is read: who was read before it is read again.
    faults.set_latency(Duration::from_millis(150));
    let before = pages();
    let asked = reqwest::Client::new()
        .post(format!("{}/v1/reimport", ingest.url))
        .bearer_auth(OPERATOR)
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert!(asked.status().is_success(), "{}", asked.text().await.unwrap());
    eventually("the first page is read again", || async {
        if pages() > before {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
    faults.lose_next_events(1);
    org.update_user(early(3), json!({ "Title": "behind the reader" }))
        .unwrap();
    faults.emit_overflow();
    shows(&scene, "the overflow", &[(early(3), TITLE, json!("behind the reader"))]).await;
    faults.set_latency(Duration::ZERO);
    ingest.settled().await;
    assert_eq!(ingest.status().await["owedReads"], json!(0));
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_large_answers_and_a_slow_broker_close_nothing_and_lose_nothing() {
    let default = SimConfig::default();
    let mut story = FieldDef::custom("Story__c", FieldKind::TextArea);
    story.length = 900_000;
    let scene = Scene::set(SimConfig {
        users: 120,
        seed: 74,
        idle_close: Duration::from_millis(2_500),
        custom_fields: default.custom_fields.iter().cloned().chain([story]).collect(),
        ..default
    })
    .await;
    let proxy = KafkaProxy::start(scene.kafka.bootstrap()).await;
    let change = json!({ "pubsub": { "window": 10, "renewWithin": "500ms" }, "recheck": { "every": "10h" },
        "kafka": { "bootstrapServers": proxy.bootstrap() } });
    let ingest = scene.ingest("ingest", &change).await;
    ingest.settled().await;
    let org = scene.org();
    org.set_clock_skew_ms(AHEAD_MS);
    let faults = org.faults();
    let people = scene.people();
    let person = |number: usize| people[number % people.len()].id.as_str();
    let mark = ingest.process.output().mark();

    // Answers of more than the 4 MB that gRPC libraries take by default.
    faults.enlarge_answers(Some(12 << 20));
    faults.silence_streams(true);
    let text = "x".repeat(900_000);
    for number in 0..10 {
        org.update_user(
            person(number),
            json!({ "Title": format!("large {number}"), "Story__c": text }),
        )
        .unwrap();
    }
    faults.silence_streams(false);
    let wanted: Vec<_> = (0..10)
        .map(|number| (person(number), TITLE, json!(format!("large {number}"))))
        .collect();
    shows(&scene, "large answers", &wanted).await;

    // Credit for ten events at a time, renewed hundreds of times.
    let mut history = History::begin(&scene);
    for number in 0..2_000 {
        history.edit(&scene, person(number));
    }
    eventually_none("the long stream", || history.missing(&scene)).await;

    // A slow broker: the service stops asking, and keeps the stream.
    let delivered = org.delivered_events();
    proxy.end_txn(EndTxn::Hold);
    for number in 0..7_000 {
        history.edit(&scene, person(number));
    }
    eventually("the backlog is full", || async {
        let status = ingest.status().await;
        if status["backlogRecords"].as_u64() >= Some(5_000) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    // One event each half second: longer than an idle stream may last.
    let full = org.delivered_events();
    eventually("the stream is kept open", || async {
        let more = org.delivered_events() - full;
        if more >= 6 {
            Ok(())
        } else {
            Err(format!("{more} more events"))
        }
    })
    .await;
    let backlog = ingest.status().await["backlogRecords"].as_u64();
    assert!(
        backlog < Some(5_200),
        "{backlog:?} records wait while nothing can be written"
    );
    // More events than records: edits of one person in the same millisecond are one re-read.
    let taken = org.delivered_events() - delivered;
    assert!(
        taken < 6_000,
        "{taken} of 7,000 events were taken while nothing could be written"
    );
    proxy.end_txn(EndTxn::Pass);
    eventually_none("after the slow commit", || history.missing(&scene)).await;
    let reopened: Vec<_> = ingest.process.output().lines()[mark..]
        .iter()
        .filter(|line| line.contains("the stream is opened again") || line.contains("leadership is started again"))
        .cloned()
        .collect();
    assert!(reopened.is_empty(), "{reopened:?}");
    assert!(history.assert_position_was_never_ahead(&scene).await > 10);
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_that_share_a_replay_id_and_are_cut_apart_by_a_reconnect_all_arrive() {
    let channel = "/data/People__chn";
    let scene = Scene::set(SimConfig {
        users: 40,
        seed: 75,
        channels: vec![channel.to_owned()],
        ..SimConfig::default()
    })
    .await;
    let config = json!({ "pubsub": { "channel": channel }, "recheck": { "every": "10h" } });
    let ingest = scene.ingest("ingest", &config).await;
    ingest.settled().await;
    let org = scene.org();
    org.set_clock_skew_ms(AHEAD_MS);
    let people = scene.people();
    let mark = ingest.process.output().mark();
    org.faults().split_merged_events(true);
    let everybody = |title: &str| -> Vec<_> {
        let fields = json!({ "Title": title });
        people[..6]
            .iter()
            .map(|person| (person.id.clone(), fields.clone()))
            .collect()
    };
    // The connection ends in the middle of the second six.
    for title in ["first six", "second six"] {
        org.faults()
            .disconnect_after_events(if title == "first six" { 100 } else { 3 });
        org.update_users_in_one_transaction(&everybody(title)).unwrap();
        let wanted: Vec<_> = people[..6]
            .iter()
            .map(|person| (person.id.as_str(), TITLE, json!(title)))
            .collect();
        shows(&scene, title, &wanted).await;
    }
    let cut = |line: &str| line.contains("the stream is opened again");
    ingest.process.wait_for_line_after(mark, cut, PATIENCE).await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}
