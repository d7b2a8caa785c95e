//! The main job with parts that others wrote: a real Kafka and the SCIM server `scim2-server`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use kafka_harness::{Scim2Options, Scim2Server};
use salesforce_sim::{ReportFilter, SimConfig, SimUser};
use scenarios::{OPERATOR, Scene, TOKEN, TargetSpec, eventually, eventually_none, scim_users};
use serde_json::{Value, json};

fn pace() -> Value {
    json!({ "pace": { "perSecond": 200, "concurrency": 4 } })
}

async fn server() -> Scim2Server {
    Scim2Server::start(Scim2Options {
        bearer_token: Some(TOKEN.to_owned()),
        service_provider_config: None,
    })
    .await
}

async fn create(base_url: &str, body: Value) -> String {
    let answer = reqwest::Client::new()
        .post(format!("{base_url}/Users"))
        .bearer_auth(TOKEN)
        .json(&body)
        .send()
        .await
        .unwrap();
    let created: Value = answer.json().await.unwrap();
    created["id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
}

async fn account(base_url: &str, id: &str) -> Value {
    scim_users(base_url)
        .await
        .into_iter()
        .find(|user| user["externalId"] == json!(id))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_live_their_lives_at_a_server_that_others_wrote() {
    let scene = Scene::set(SimConfig {
        users: 220,
        seed: 11,
        ..SimConfig::default()
    })
    .await;
    let server = server().await;
    let base = server.base_url().to_owned();
    let org = scene.org();
    let own = [org.admin_id(), org.integration_user_id()];
    let someone: Vec<SimUser> = scene
        .members()
        .into_iter()
        .filter(|user| user.is_active() && !own.contains(&user.id))
        .take(6)
        .collect();
    // An account that existed before, known by its user name in another case.
    let user_name = someone[5].text("Username").unwrap().to_uppercase();
    let schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"];
    let before = create(
        &base,
        json!({ "schemas": schemas, "userName": user_name, "title": "By hand" }),
    )
    .await;
    scene.policy(&[TargetSpec {
        name: "helpdesk",
        base_url: &base,
        policy: pace(),
    }]);
    let ingest = scene.ingest("ingest", &json!({})).await;
    let apply = scene.apply("apply").await;
    let equal =
        async |what: &str| eventually_none(what, || async { scene.differences(&scim_users(&base).await) }).await;
    equal("the first sync").await;
    assert_eq!(
        account(&base, &someone[5].id).await["id"],
        json!(before),
        "the account that existed was adopted, not doubled"
    );

    org.update_user(
        &someone[0].id,
        json!({ "Title": "Édité", "Department": null, "FirstName": "Ana-María" }),
    )
    .unwrap();
    org.update_user(&someone[1].id, json!({ "IsActive": false })).unwrap();
    org.update_user(&someone[2].id, json!({ "Username": "renamed+1@acme.example" }))
        .unwrap();
    org.update_user(&someone[3].id, json!({ "Email": "o'hara+new@acme.example" }))
        .unwrap();
    equal("edit, leaver, new user name, new e-mail address").await;
    let leaver = account(&base, &someone[1].id).await;
    org.update_user(&someone[1].id, json!({ "IsActive": true, "Title": "Back" }))
        .unwrap();
    equal("reactivation").await;
    assert_eq!(
        account(&base, &someone[1].id).await["id"],
        leaver["id"],
        "the same account is active again"
    );

    scene.assert_versions_rise_by_one().await;
    scene.assert_contract_holds(100).await;
    apply.stop().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_adds_edits_and_lacks_people() {
    let scene = Scene::set(SimConfig {
        users: 120,
        seed: 12,
        ..SimConfig::default()
    })
    .await;
    let server = server().await;
    let base = server.base_url().to_owned();
    // Whoever the report lacks loses the account here.
    let policy = json!({ "pace": { "perSecond": 200, "concurrency": 4 }, "lifecycle": { "unlisted": "deactivate" } });
    scene.policy(&[TargetSpec {
        name: "academy",
        base_url: &base,
        policy,
    }]);
    let change = json!({
        "snapshot": { "source": "report", "report": { "name": "All Users" } }, "http": { "tokensFile": scene.tokens_file() },
        // Nothing but the report may heal what the stream is made to lose.
        "recheck": { "every": "1h" },
    });
    let ingest = scene.ingest("ingest", &change).await;
    let apply = scene.apply("apply").await;
    eventually_none("the first sync", || async {
        scene.differences(&scim_users(&base).await)
    })
    .await;
    eventually("ingest is idle", || async {
        let status = ingest.status().await;
        if status["idle"] == json!(true) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;

    let org = scene.org();
    let own = [org.admin_id(), org.integration_user_id()];
    let active: Vec<SimUser> = scene
        .members()
        .into_iter()
        .filter(|user| user.is_active() && !own.contains(&user.id))
        .collect();
    let (edited, lacked) = (&active[0], &active[1]);
    // The stream loses both changes; the report's filter takes one person out.
    org.faults().lose_next_events(2);
    org.update_user(&edited.id, json!({ "Title": "Only the report knows" }))
        .unwrap();
    let added = org
        .create_user(json!({
            "Username": "added@acme.example", "Email": "added@acme.example", "FirstName": "Added", "LastName": "ByReport", "Alias": "added",
            "CommunityNickname": "added", "ProfileId": edited.text("ProfileId"), "IsActive": true, "TimeZoneSidKey": "Europe/London",
            "LocaleSidKey": "en_GB", "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8",
        }))
        .unwrap();
    let report = org.report_id("Spinify Reports", "All Users").unwrap();
    let mut definition = org.report(&report).unwrap();
    let value = lacked.text("Username").unwrap().to_owned();
    definition.filters.push(ReportFilter {
        column: "USERNAME".into(),
        operator: "notEqual".into(),
        value,
    });
    assert!(org.replace_report(&report, definition));

    let client = reqwest::Client::new();
    let url = format!("{}/v1/reimport", ingest.url);
    let refused = client.post(&url).send().await.unwrap();
    assert_eq!(refused.status(), 401, "nothing is changed without a token");
    let accepted = client.post(&url).bearer_auth(OPERATOR).send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    eventually("what the report says arrives", || async {
        let users = scim_users(&base).await;
        let find = |id: &str| users.iter().find(|user| user["externalId"] == json!(id));
        let is_edited = find(&edited.id).is_some_and(|user| user["title"] == "Only the report knows");
        let is_added = find(&added).is_some_and(|user| user["active"] == json!(true));
        let is_out = find(&lacked.id).is_some_and(|user| user["active"] == json!(false));
        if is_edited && is_added && is_out {
            Ok(())
        } else {
            Err(format!("edited {is_edited}, added {is_added}, out {is_out}"))
        }
    })
    .await;
    scene.assert_contract_holds(100).await;
    apply.stop().await;
    ingest.stop().await;
}
