//! The org's allocations, and fields that are withdrawn, while the service runs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use salesforce_sim::{Permissions, SimConfig, SimUser};
use scenarios::{Scene, Service, eventually};
use serde_json::{Value, json};

async fn scene(config: SimConfig) -> (Scene, Vec<SimUser>) {
    let scene = Scene::set(SimConfig {
        users: 40,
        seed: 81,
        ..config
    })
    .await;
    let people = scene.people();
    (scene, people)
}

async fn status_until(ingest: &Service, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let status = ingest.status().await;
        if holds(&status) {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await
}

async fn newest(scene: &Scene, person: &SimUser, holds: impl Fn(&Value) -> bool) -> Value {
    eventually("the person's message", || async {
        let records = scene.user_changes().await;
        let mut messages = records.iter().rev().map(kafka_harness::Record::json);
        let newest = messages
            .find(|message| message["user"]["id"] == json!(person.id))
            .unwrap_or(Value::Null);
        if holds(&newest) {
            Ok(newest)
        } else {
            Err(newest.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_rests_at_the_reserve_while_the_stream_and_owed_reads_go_on() {
    let (scene, people) = scene(SimConfig {
        daily_api_requests: 1_000,
        daily_delivered_events: 1_000,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    // Half of the requests is the reserve, and the rest is soon spent by rechecks every 200 ms.
    let change = json!({ "recheck": { "every": "200ms", "grace": "0s", "overlap": "1s" }, "http": { "tokensFile": scene.tokens_file() },
        "quota": { "every": "1s", "stretchFrom": "10", "stretchAtMost": 3, "reserve": { "apiRequests": 970, "deliveredEvents": "100%" } } });
    let ingest = scene.ingest("ingest", &change).await;
    ingest.settled().await;
    let at_reserve = |status: &Value| status["quota"]["slowed"].to_string().contains("rest");
    let status = status_until(&ingest, "the reserve is reached", at_reserve).await;
    let api = &status["quota"]["apiRequests"];
    assert_eq!((&api["max"], &api["reserve"]), (&json!(1_000), &json!(970)), "{status}");
    assert!(
        api["used"].as_u64().unwrap() >= 30 && api["asOf"].is_string(),
        "{status}"
    );
    assert_eq!(status["quota"]["deliveredEvents"]["max"], json!(1_000));
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("API requests") && problems.contains("event deliveries"),
        "{problems}"
    );
    let metrics = ingest.metrics().await;
    assert!(metrics.contains("ingest_api_requests_max 1000"), "{metrics}");
    assert!(metrics.contains("ingest_delivered_events_max 1000"), "{metrics}");

    // What the stream needs is read from the reserve; an operator's snapshot waits and says why.
    let queries = org.request_log().count("GET", "/query");
    org.faults().lose_next_events(1);
    org.update_user(&people[0].id, json!({ "Title": "owed" })).unwrap();
    org.faults().emit_gap(salesforce_sim::Gap::Update, &[&people[0].id]);
    newest(&scene, &people[0], |message| message["user"]["title"] == json!("owed")).await;
    org.update_user(&people[1].id, json!({ "Title": "streamed" })).unwrap();
    newest(&scene, &people[1], |message| {
        message["user"]["title"] == json!("streamed")
    })
    .await;
    let answer: Value = reqwest::Client::new()
        .post(format!("{}/v1/reimport", ingest.url))
        .bearer_auth(scenarios::OPERATOR)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(answer["result"].to_string().contains("as soon as it may"), "{answer}");
    status_until(&ingest, "the waiting snapshot is named", |status| {
        status["quota"]["slowed"].to_string().contains("reading the population")
    })
    .await;
    let spent = org.request_log().count("GET", "/query") - queries;
    assert!(spent <= 4, "only the two people were read, by {spent} queries");
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_reaches_the_reserve_pauses_and_then_proves_nothing() {
    let (scene, people) = scene(SimConfig {
        query_batch: 2,
        daily_api_requests: 1_000,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    // Log-in, describe, limits and count take a few; a snapshot of some twenty pages reaches the reserve on its way.
    let change = json!({ "recheck": { "every": "10h" }, "polls": { "groups": false, "permissionSets": false, "frozen": false, "names": false },
        "quota": { "every": "1s", "stretchFrom": "100%", "stretchAtMost": 30, "pauseAtMost": "3s", "reserve": { "apiRequests": 985 } } });
    let ingest = scene.ingest("ingest", &change).await;
    let status = status_until(&ingest, "the snapshot pauses", |status| {
        status["snapshot"]["waiting"]
            .to_string()
            .contains("quota.reserve.apiRequests")
    })
    .await;
    let rows = status["snapshot"]["rows"].as_u64();
    assert!(rows > Some(0) && rows < Some(scene.members().len() as u64), "{status}");
    let pages = org.request_log().count("GET", "/query/{id}");
    status_until(&ingest, "the snapshot is given up", |status| {
        status["problems"].to_string().contains("quota.pauseAtMost")
    })
    .await;
    let status = ingest.status().await;
    assert_eq!(status["snapshot"]["lastComplete"], Value::Null, "{status}");
    assert_eq!(
        org.request_log().count("GET", "/query/{id}"),
        pages,
        "no page was read from the reserve"
    );
    // The stream goes on, and what it needs is read from the reserve.
    org.update_user(&people[0].id, json!({ "Title": "meanwhile" })).unwrap();
    newest(&scene, &people[0], |message| {
        message["user"]["title"] == json!("meanwhile")
    })
    .await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_snapshot_gives_way_to_a_reading_that_the_stream_needs() {
    let (scene, people) = scene(SimConfig {
        query_batch: 2,
        daily_api_requests: 1_000,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    // As above, and the pause may last for longer than this test has patience.
    let change = json!({ "recheck": { "every": "10h" }, "polls": { "groups": false, "permissionSets": false, "frozen": false, "names": false },
        "quota": { "every": "1s", "stretchFrom": "100%", "stretchAtMost": 30, "pauseAtMost": "1h", "reserve": { "apiRequests": 985 } } });
    let ingest = scene.ingest("ingest", &change).await;
    let pauses = |status: &Value| {
        let waiting = status["snapshot"]["waiting"].to_string();
        waiting.contains("quota.reserve.apiRequests") && status["stream"]["connected"] == json!(true)
    };
    status_until(&ingest, "the snapshot pauses", pauses).await;
    let mark = ingest.process.output().mark();
    org.faults().lose_next_events(1);
    org.update_user(&people[0].id, json!({ "Title": "swallowed" })).unwrap();
    org.faults().emit_overflow();
    let gives_way = |line: &str| line.contains("it gives way to a reading that the stream needs");
    ingest
        .process
        .wait_for_line_after(mark, gives_way, scenarios::PATIENCE)
        .await;
    // What is owed is read from the reserve, all of it.
    newest(&scene, &people[0], |message| {
        message["user"]["title"] == json!("swallowed")
    })
    .await;
    let status = status_until(&ingest, "everybody is read", |status| status["owedReads"] == json!(0)).await;
    assert_eq!(status["snapshot"]["lastRows"], json!(scene.members().len()), "{status}");
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_of_many_pages_stops_at_the_reserve() {
    let (scene, people) = scene(SimConfig {
        query_batch: 1,
        daily_api_requests: 1_000,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    // Everybody is read, a page each, and then too little is left for the members of all groups: log-in, descriptions and limits take
    // about eight requests, the groups fourteen.
    let most = 20 + scene.members().len() as u64;
    let change = json!({ "recheck": { "every": "10h" }, "polls": { "every": "2s" },
        "quota": { "every": "10s", "stretchFrom": "100%", "stretchAtMost": 30, "reserve": { "apiRequests": 1_000 - most } } });
    let ingest = scene.ingest("ingest", &change).await;
    let status = status_until(&ingest, "a poll stops", |status| {
        status["polls"].to_string().contains("quota.reserve.apiRequests")
    })
    .await;
    assert_eq!(status["snapshot"]["lastRows"], json!(scene.members().len()), "{status}");
    let log = org.request_log();
    let queries = log.count("GET", "/query") + log.count("GET", "/query/{id}");
    assert!(
        queries <= most,
        "{queries} queries, and {most} requests outside of the reserve"
    );
    org.update_user(&people[0].id, json!({ "Title": "meanwhile" })).unwrap();
    newest(&scene, &people[0], |message| {
        message["user"]["title"] == json!("meanwhile")
    })
    .await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_may_not_be_looked_at_are_said_and_the_header_is_enough() {
    let (scene, _) = scene(SimConfig::default()).await;
    scene.org().set_permissions(Permissions {
        view_setup: false,
        ..Permissions::default()
    });
    let ingest = scene.ingest("ingest", &json!({})).await;
    let status = status_until(&ingest, "the refusal is said", |status| {
        let words = status["quota"]["limitsRefused"].to_string();
        words.contains("View Setup and Configuration") && status["quota"]["apiRequests"]["used"].as_u64() > Some(0)
    })
    .await;
    assert_eq!(status["quota"]["deliveredEvents"], Value::Null);
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_withdrawn_while_running_becomes_unknown_and_is_named() {
    let (scene, people) = scene(SimConfig::default()).await;
    let org = scene.org();
    let change =
        json!({ "fields": { "custom": ["Badge__c"] }, "recheck": { "every": "2s", "grace": "0s", "overlap": "10s" } });
    let person = people.iter().find(|user| user.text("Department").is_some()).unwrap();
    let ingest = scene.ingest("ingest", &change).await;
    ingest.settled().await;
    newest(&scene, person, |message| message["user"]["department"].is_string()).await;

    org.hide_fields(&["Department", "Badge__c"]);
    org.update_user(
        &person.id,
        json!({ "Department": "nobody may know", "Title": "withdrawn" }),
    )
    .unwrap();
    let message = newest(&scene, person, |message| message["user"]["title"] == json!("withdrawn")).await;
    let user = message["user"].as_object().unwrap();
    assert!(
        !user.contains_key("department"),
        "unknown is absent and not null: {message}"
    );
    assert!(message["user"]["custom"].get("Badge__c").is_none(), "{message}");
    let status = status_until(&ingest, "status names the fields", |status| {
        let problems = status["problems"].to_string();
        problems.contains("Badge__c, Department") && problems.contains("Field Permissions")
    })
    .await;
    assert_eq!(status["role"], json!("leader"));
    ingest.settled().await;

    // Another person's change goes on by the stream, and nobody's department is published as cleared.
    org.update_user(&people[0].id, json!({ "Title": "goes on" })).unwrap();
    newest(&scene, &people[0], |message| {
        message["user"]["title"] == json!("goes on")
    })
    .await;
    let cleared = scene
        .user_changes()
        .await
        .iter()
        .map(kafka_harness::Record::json)
        .filter(|message| {
            message["user"]["id"] == json!(person.id) && message["user"].get("department") == Some(&Value::Null)
        })
        .count();
    assert_eq!(cleared, 0);
    ingest.stop().await;

    // A restart goes on without the custom field, too: leavers must not wait for somebody to correct a configuration.
    let ingest = scene.ingest("ingest-again", &change).await;
    ingest.settled().await;
    org.hide_fields(&[]);
    org.update_user(&people[1].id, json!({ "IsActive": false })).unwrap();
    newest(&scene, &people[1], |message| message["user"]["active"] == json!(false)).await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}
