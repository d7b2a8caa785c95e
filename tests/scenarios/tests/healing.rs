//! What the stream does not deliver is found all the same: lost events, a lost position, an event nobody can decode.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use salesforce_sim::{FieldKind, Gap, SimConfig, SimUser, Undecodable};
use scenarios::{Scene, eventually};
use serde_json::{Value, json};

async fn scene() -> (Scene, Vec<SimUser>) {
    let scene = Scene::set(SimConfig {
        users: 80,
        seed: 61,
        ..SimConfig::default()
    })
    .await;
    let people = scene.people();
    (scene, people)
}

async fn newest(scene: &Scene, person: &SimUser) -> Value {
    let records = scene.user_changes().await;
    let mine = records
        .iter()
        .rev()
        .map(kafka_harness::Record::json)
        .find(|message| message["user"]["id"] == json!(person.id));
    mine.unwrap_or(Value::Null)
}

async fn published(scene: &Scene, person: &SimUser, title: &str) -> Value {
    eventually(title, || async {
        let newest = newest(scene, person).await;
        if newest["user"]["title"] == json!(title) {
            Ok(newest)
        } else {
            Err(newest.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_gapped_and_undecodable_events_are_read_from_the_source() {
    let (scene, people) = scene().await;
    let ingest = scene
        .ingest(
            "ingest",
            &json!({ "recheck": { "every": "3s", "grace": "1s", "overlap": "10s" } }),
        )
        .await;
    ingest.settled().await;
    let org = scene.org();
    org.faults().lose_next_events(1);
    org.update_user(&people[0].id, json!({ "Title": "lost on the bus" }))
        .unwrap();
    let message = published(&scene, &people[0], "lost on the bus").await;
    assert_eq!(message["cause"]["origin"], json!("recheck"));
    eventually("the healed difference is counted", || async {
        let metrics = ingest.metrics().await;
        if metrics.contains("ingest_recheck_healed_total 1") {
            Ok(())
        } else {
            Err(metrics)
        }
    })
    .await;

    for (number, person) in people[1..4].iter().enumerate() {
        org.faults().lose_next_events(1);
        org.update_user(&person.id, json!({ "Title": format!("unreadable {number}") }))
            .unwrap();
    }
    org.faults().emit_gap(Gap::Update, &[&people[1].id]);
    org.faults().emit_undecodable(Undecodable::Body, &[&people[2].id]);
    org.faults().emit_undecodable(Undecodable::Garbage, &[&people[3].id]);
    for (number, person) in people[1..4].iter().enumerate() {
        published(&scene, person, &format!("unreadable {number}")).await;
    }
    let letters = scene
        .kafka
        .read_committed(&scene.topic("user-change.dead-letter"))
        .await;
    assert_eq!(letters.len(), 2, "both undecodable events are kept with their bytes");
    assert!(
        letters
            .iter()
            .all(|letter| !letter.json()["payload"].as_str().unwrap().is_empty())
    );
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

/// The dead letters by their reason, with their bytes.
async fn letters(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let topic = scene.topic("user-change.dead-letter");
    let records = scene.kafka.read_committed(&topic).await;
    let letter = |record: &kafka_harness::Record| {
        let letter = record.json();
        let bytes = BASE64.decode(letter["payload"].as_str().unwrap()).unwrap();
        assert!(letter.get("cut").is_none(), "{letter}");
        (letter["reason"].as_str().unwrap().to_owned(), bytes)
    };
    records.iter().map(letter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_events_are_healed_without_the_look_of_the_schedule() {
    let (scene, people) = scene().await;
    let ingest = scene.ingest("ingest", &json!({ "recheck": { "every": "10h" } })).await;
    ingest.settled().await;
    let (org, faults) = (scene.org(), scene.sim.org());
    let faults = faults.faults();
    let lost = |person: &SimUser, fields: Value| {
        faults.lose_next_events(1);
        org.update_user(&person.id, fields).unwrap();
    };
    let gone = async |person: &SimUser| {
        eventually("somebody who left the population", || async {
            let newest = newest(&scene, person).await;
            if newest["user"]["removed"] == json!(true) {
                Ok(())
            } else {
                Err(newest.to_string())
            }
        })
        .await;
    };
    // The header says who; nothing says who; and somebody who does not belong any more is in no answer about the population.
    lost(&people[0], json!({ "Title": "by its header" }));
    faults.emit_undecodable(Undecodable::Body, &[&people[0].id]);
    published(&scene, &people[0], "by its header").await;
    lost(&people[1], json!({ "Title": "by nothing" }));
    lost(&people[2], json!({ "Email": "left@example.invalid" }));
    faults.emit_undecodable(Undecodable::Garbage, &[&people[1].id]);
    published(&scene, &people[1], "by nothing").await;
    gone(&people[2]).await;
    let before = letters(&scene).await;
    assert_eq!(before.len(), 2, "{before:?}");
    assert!(
        before
            .iter()
            .all(|(reason, _)| reason.contains("does not fit the schema")),
        "{before:?}"
    );
    assert_eq!(before[1].1, vec![0xff; 24], "the bytes as they came");

    // A schema that nobody gives: its events are read, the stream goes on, and the position with it.
    faults.add_user_field("Later__c", FieldKind::Text);
    faults.refuse_newest_schema("schema.validation.failed");
    org.update_user(&people[3].id, json!({ "Title": "of a refused schema" }))
        .unwrap();
    published(&scene, &people[3], "of a refused schema").await;
    org.update_user(&people[4].id, json!({ "Email": "gone@example.invalid" }))
        .unwrap();
    gone(&people[4]).await;
    faults.write_next_with_old_schema(1);
    org.update_user(&people[5].id, json!({ "Title": "of a known schema" }))
        .unwrap();
    published(&scene, &people[5], "of a known schema").await;
    let after = letters(&scene).await;
    assert_eq!(after.len(), 4, "{after:?}");
    assert!(
        after[2..]
            .iter()
            .all(|(reason, bytes)| reason.contains("schema.validation.failed") && !bytes.is_empty())
    );
    let status = ingest.settled().await;
    assert_eq!(
        (&status["owedReads"], &status["undecodableEvents"]),
        (&json!(0), &json!(4))
    );
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_objects_in_a_channel_of_ones_own_are_passed_over_and_counted() {
    let channel = "/data/People__chn";
    let scene = Scene::set(SimConfig {
        users: 20,
        seed: 62,
        channels: vec![channel.to_owned()],
        ..SimConfig::default()
    })
    .await;
    let people = scene.people();
    let config = json!({ "pubsub": { "channel": channel }, "recheck": { "every": "10h" } });
    let ingest = scene.ingest("ingest", &config).await;
    ingest.settled().await;
    let org = scene.org();
    org.set_clock_skew_ms(600_000);
    for _ in 0..3 {
        org.faults().emit_foreign("Account");
    }
    org.update_user(&people[0].id, json!({ "Title": "after the accounts" }))
        .unwrap();
    published(&scene, &people[0], "after the accounts").await;
    let status = ingest.settled().await;
    assert_eq!(
        (&status["foreignEvents"], &status["undecodableEvents"]),
        (&json!(3), &json!(0))
    );
    assert!(ingest.metrics().await.contains("ingest_foreign_events_total 3"));
    assert_eq!(letters(&scene).await, []);
    assert_eq!(status["owedReads"], json!(0), "nobody is read for them");
    ingest.stop().await;
}

/// Alive is not the same as receiving: a stream that delivers nothing shows in what the look-backs find.
#[tokio::test(flavor = "multi_thread")]
async fn three_look_backs_in_a_row_that_heal_are_said_and_a_clean_one_ends_it() {
    let (scene, people) = scene().await;
    let recheck = json!({ "every": "1s", "grace": "0s", "overlap": "5s" });
    let ingest = scene.ingest("ingest", &json!({ "recheck": recheck })).await;
    ingest.settled().await;
    let org = scene.org();
    let said = |status: &Value| {
        status["problems"]
            .to_string()
            .contains("rechecks in a row found changes")
    };
    let mut round = 0;
    eventually("three in a row are said", || {
        // Somebody else changes each time, and the stream says nothing of it: the newest second is left to the next look.
        round += 1;
        org.faults().lose_next_events(1);
        let person = &people[2 + round % (people.len() - 2)];
        org.update_user(&person.id, json!({ "Title": format!("round {round}") }))
            .unwrap();
        let ingest = &ingest;
        async move {
            let status = ingest.status().await;
            let three = status["healingInARow"].as_u64() >= Some(3);
            if three && said(&status) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        }
    })
    .await;
    assert!(ingest.metrics().await.contains("ingest_recheck_healing_in_a_row"));
    eventually("a clean look ends it", || async {
        let status = ingest.status().await;
        if status["healingInARow"] == json!(0) && !said(&status) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    // Who left the population without a word is found by a look of the schedule as well.
    org.faults().lose_next_events(1);
    org.update_user(&people[1].id, json!({ "Email": "left@example.invalid" }))
        .unwrap();
    eventually("the one who left", || async {
        let newest = newest(&scene, &people[1]).await;
        if newest["kind"] == json!("removed") {
            Ok(())
        } else {
            Err(newest.to_string())
        }
    })
    .await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_that_does_the_work_is_published_only_when_the_configuration_says_so() {
    let (scene, _) = scene().await;
    let own = scene.org().integration_user_id();
    let states = async || {
        let mut states = BTreeMap::new();
        for record in scene.user_changes().await {
            let user = record.json()["user"].clone();
            states.insert(user["id"].as_str().unwrap().to_owned(), user["removed"].clone());
        }
        states
    };
    // Users of this kind are outside of the default population; here only the setting decides.
    let quiet = |include: bool| json!({ "recheck": { "every": "10h" }, "population": { "where": "UserType != 'Guest'", "includeIntegrationUser": include } });
    let ingest = scene.ingest("ingest", &quiet(false)).await;
    ingest.settled().await;
    assert!(states().await.len() > scene.members().len());
    assert_eq!(states().await.get(&own), None);
    // An event of it asks the same definition.
    scene.org().update_user(&own, json!({ "Title": "machine" })).unwrap();
    eventually("the event is ignored", || async {
        let metrics = ingest.metrics().await;
        if metrics.contains("ingest_ignored_users_total 1") {
            Ok(())
        } else {
            Err(metrics)
        }
    })
    .await;
    assert_eq!(states().await.get(&own), None);
    ingest.stop().await;

    let ingest = scene.ingest("including", &quiet(true)).await;
    ingest.settled().await;
    scene
        .org()
        .update_user(&own, json!({ "Title": "machine again" }))
        .unwrap();
    eventually("it is published", || async {
        match states().await.get(&own) {
            Some(removed) if *removed == json!(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    ingest.stop().await;
}

/// Whatever is merged from events must be what a read would have said, or every look-back would publish it once more.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_has_delivered_is_no_news_to_a_look_back() {
    let (scene, people) = scene().await;
    let fields =
        json!({ "custom": ["Badge__c", "Record_Calls__c", "Level__c"], "terminationDate": "Termination_Date__c" });
    let recheck = json!({ "every": "2s", "grace": "1s", "overlap": "2h" });
    let ingest = scene
        .ingest("ingest", &json!({ "fields": fields, "recheck": recheck }))
        .await;
    ingest.settled().await;
    let org = scene.org();
    // Later than every read by more than the margin: the events are merged, and nobody is read again.
    org.set_clock_skew_ms(600_000);
    let second = |object: &str| org.records(object)[1].id.clone();
    let (profile, role) = (people[1].text("ProfileId").unwrap().to_owned(), second("UserRole"));
    let everything = json!({ "Title": "T", "Department": "D", "Division": "V", "CompanyName": "C", "EmployeeNumber": "77",
        "Phone": "+41 1", "MobilePhone": "+41 2", "Extension": "3", "FirstName": "Grace", "LastName": "Hopper",
        "Email": "grace@acme.example", "Username": "grace@acme.example", "TimeZoneSidKey": "Asia/Tokyo",
        "LocaleSidKey": "de_DE_EURO", "LanguageLocaleKey": "de", "FederationIdentifier": "grace", "ManagerId": people[5].id,
        "ProfileId": profile, "UserRoleId": role, "Badge__c": "B-9", "Record_Calls__c": true, "Level__c": 2.5,
        "Termination_Date__c": "2030-01-31" });
    org.update_user(&people[0].id, everything).unwrap();
    let nothing = json!({ "Title": null, "Department": null, "Division": null, "CompanyName": null, "EmployeeNumber": null,
        "Phone": null, "MobilePhone": null, "Extension": null, "FirstName": null, "FederationIdentifier": null,
        "ManagerId": null, "UserRoleId": null, "Badge__c": null, "Level__c": null, "Termination_Date__c": null });
    org.update_user(&people[2].id, nothing).unwrap();
    org.update_user(&people[3].id, json!({ "IsActive": false })).unwrap();
    eventually("the stream delivers", || async {
        let (first, third) = (newest(&scene, &people[0]).await, newest(&scene, &people[3]).await);
        let arrived = first["user"]["title"] == json!("T") && third["user"]["active"] == json!(false);
        if arrived { Ok(()) } else { Err(first.to_string()) }
    })
    .await;
    org.request_log().clear();
    eventually("several look-backs have been made since", || async {
        let calls = org.request_log().count("GET", "/query");
        if calls >= 12 {
            Ok(())
        } else {
            Err(format!("{calls} queries"))
        }
    })
    .await;
    assert_eq!(ingest.status().await["healed"], json!(0));
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_position_reads_everyone_and_goes_on() {
    let (scene, people) = scene().await;
    // The recheck is as good as off: only the lost position may lead to the reading.
    let quiet = json!({ "recheck": { "every": "10h" } });
    let ingest = scene.ingest("ingest", &quiet).await;
    ingest.settled().await;
    let org = scene.org();
    org.update_user(&people[0].id, json!({ "Title": "before" })).unwrap();
    published(&scene, &people[0], "before").await;
    ingest.stop().await;

    org.faults().lose_next_events(1);
    org.update_user(&people[1].id, json!({ "Title": "while nobody listened" }))
        .unwrap();
    org.faults().expire_replay_ids();
    let ingest = scene.ingest("ingest-again", &quiet).await;
    published(&scene, &people[1], "while nobody listened").await;
    ingest.settled().await;
    org.update_user(&people[2].id, json!({ "Title": "the stream goes on" }))
        .unwrap();
    published(&scene, &people[2], "the stream goes on").await;
    assert_eq!(ingest.status().await["owedReads"], json!(0));
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

/// Portal users can be deleted. When nobody has said so, they must not be taken for people whom we may not see.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_an_overflow_has_swallowed_is_found_and_published() {
    let (scene, _) = scene().await;
    let everybody = json!({ "recheck": { "every": "10h" }, "population": { "where": "UserType != 'Guest'" } });
    let ingest = scene.ingest("ingest", &everybody).await;
    ingest.settled().await;
    let org = scene.org();
    let portal = org
        .users()
        .into_iter()
        .find(|user| user.text("UserType") == Some("CspLitePortal"))
        .unwrap();
    assert_eq!(newest(&scene, &portal).await["user"]["removed"], json!(false));
    org.faults().lose_next_events(1);
    org.delete_user(&portal.id).unwrap();
    org.faults().emit_overflow();
    eventually("the deletion is published", || async {
        let newest = newest(&scene, &portal).await;
        if newest["kind"] == json!("removed") {
            Ok(())
        } else {
            Err(newest.to_string())
        }
    })
    .await;
    ingest.settled().await;
    assert_eq!(ingest.status().await["owedReads"], json!(0));
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_is_opened_again_and_loses_nothing() {
    let (scene, people) = scene().await;
    // Keepalives come every 2 s here; the recheck is as good as off, so only the stream can deliver.
    let ingest = scene
        .ingest(
            "ingest",
            &json!({ "pubsub": { "watchdog": "5s" }, "recheck": { "every": "10h" } }),
        )
        .await;
    ingest.settled().await;
    let org = scene.org();
    let mark = ingest.process.output().mark();
    org.faults().silence_streams(true);
    org.update_user(&people[0].id, json!({ "Title": "said to nobody" }))
        .unwrap();
    let reopened = |line: &str| line.contains("the stream is opened again") && line.contains("silent for too long");
    ingest
        .process
        .wait_for_line_after(mark, reopened, scenarios::PATIENCE)
        .await;
    org.faults().silence_streams(false);
    let message = published(&scene, &people[0], "said to nobody").await;
    assert_ne!(message["cause"]["origin"], json!("report"));
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_away_finds_both_services_where_it_left_them() {
    let (scene, people) = scene().await;
    let target = scenarios::recording_target().await;
    let policy = json!({ "pace": { "perSecond": 500 } });
    scene.policy(&[scenarios::TargetSpec {
        name: "helpdesk",
        base_url: target.base_url(),
        policy,
    }]);
    let ingest = scene.ingest("ingest", &json!({ "recheck": { "every": "10h" } })).await;
    let apply = scene.apply("apply").await;
    ingest.settled().await;
    let equal = async |what: &str| {
        scenarios::eventually_none(what, || async { scene.differences(&target.users()) }).await;
    };
    equal("the first sync").await;
    if scene.kafka.stop().await.is_err() {
        // Somebody else's cluster is not ours to stop.
        return;
    }
    let org = scene.org();
    let mark = ingest.process.output().mark();
    org.update_user(&people[0].id, json!({ "Title": "while the broker was away" }))
        .unwrap();
    org.update_user(&people[1].id, json!({ "IsActive": false })).unwrap();
    let said = |line: &str| line.contains("\"level\":\"WARN\"");
    ingest
        .process
        .wait_for_line_after(mark, said, scenarios::PATIENCE)
        .await;
    // Longer than a batch may take: the commit under way has failed by then.
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    scene.kafka.restart().await.unwrap();
    published(&scene, &people[0], "while the broker was away").await;
    equal("what changed meanwhile is applied").await;
    scene.assert_versions_rise_by_one().await;
    assert_eq!(target.max_writes_in_flight_per_user(), 1);
    apply.stop().await;
    ingest.stop().await;
}
