//! What has no change events reaches the topic all the same: groups, permission sets, frozen log-ins, names.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use salesforce_sim::{Org, SimConfig, SimUser};
use scenarios::{Scene, Service, eventually};
use serde_json::{Value, json};

async fn scene() -> (Scene, Service, Vec<SimUser>) {
    let scene = Scene::set(SimConfig {
        users: 60,
        seed: 71,
        ..SimConfig::default()
    })
    .await;
    let people = scene.people();
    // Nothing but the polls may find what is changed here.
    let config = json!({ "polls": { "every": "2s" }, "recheck": { "every": "10h" } });
    let ingest = scene.ingest("ingest", &config).await;
    eventually("everybody is published and polled", || async {
        let status = ingest.status().await;
        let polled = ["frozen", "groups", "permissionSets", "names"]
            .iter()
            .all(|poll| !status["polls"][poll]["lastSuccess"].is_null());
        let well = status["idle"] == json!(true) && polled;
        if well { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    (scene, ingest, people)
}

/// Waits for a message about the person of which `holds` is true.
async fn published(scene: &Scene, person: &SimUser, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let records = scene.user_changes().await;
        let newest = records
            .iter()
            .rev()
            .map(kafka_harness::Record::json)
            .find(|message| message["user"]["id"] == json!(person.id));
        newest.clone().filter(&holds).ok_or_else(|| format!("{newest:?}"))
    })
    .await
}

/// Names of the person's groups, those through nesting in brackets.
fn groups(message: &Value) -> Vec<String> {
    let shown = |group: &Value| {
        let name = group["name"].as_str().unwrap();
        if group["direct"] == json!(true) {
            name.to_owned()
        } else {
            format!("({name})")
        }
    };
    let mut groups: Vec<String> = message["user"]["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .map(shown)
        .collect();
    groups.sort();
    groups
}

fn group(org: &Org, kind: &str, holds: impl Fn(&SimUser) -> bool) -> String {
    org.records("Group")
        .into_iter()
        .find(|group| group.text("Type") == Some(kind) && holds(group))
        .unwrap()
        .id
}

/// Somebody who is in no group and has no permission set.
fn bare<'a>(org: &Org, people: &'a [SimUser]) -> &'a SimUser {
    let taken = |object: &str, field: &str| -> Vec<String> {
        org.records(object)
            .iter()
            .filter_map(|row| row.text(field).map(str::to_owned))
            .collect()
    };
    let (members, assigned) = (
        taken("GroupMember", "UserOrGroupId"),
        taken("PermissionSetAssignment", "AssigneeId"),
    );
    people
        .iter()
        .find(|user| !members.contains(&user.id) && !assigned.contains(&user.id))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_permission_sets_freezing_and_new_names_reach_the_topic() {
    let (scene, ingest, people) = scene().await;
    let org = scene.org();
    let person = bare(&org, &people);
    let first = published(&scene, person, "the first poll", |message| {
        message["user"]["groups"] == json!([])
    })
    .await;
    assert_eq!(
        (&first["user"]["permissionSets"], &first["user"]["frozen"]),
        (&json!([]), &json!(false)),
        "whoever is in no answer has nothing"
    );
    assert_eq!(first["version"], json!(2), "one message for all polls");

    // EMEA is a member of All Sales.
    let emea = group(&org, "Regular", |group| group.text("Name") == Some("EMEA"));
    let member = org
        .create("GroupMember", json!({ "GroupId": emea, "UserOrGroupId": person.id }))
        .unwrap();
    let message = published(&scene, person, "joined a nested group", |message| {
        !groups(message).is_empty()
    })
    .await;
    assert_eq!(groups(&message), ["(All Sales)", "EMEA"]);
    assert_eq!(
        (&message["kind"], &message["changed"]),
        (&json!("updated"), &json!(["groups"]))
    );
    assert_eq!(message["cause"]["origin"], json!("query"));
    org.remove("GroupMember", &member).unwrap();
    published(&scene, person, "left it", |message| groups(message).is_empty()).await;

    // A public group may hold a role.
    let role = person.text("UserRoleId").unwrap().to_owned();
    let of_role = group(&org, "Role", |group| group.text("RelatedId") == Some(role.as_str()));
    let pilots = org
        .create(
            "Group",
            json!({ "Name": "Pilots", "DeveloperName": "Pilots", "Type": "Regular" }),
        )
        .unwrap();
    org.create("GroupMember", json!({ "GroupId": pilots, "UserOrGroupId": of_role }))
        .unwrap();
    let message = published(&scene, person, "in a group by role", |message| {
        !groups(message).is_empty()
    })
    .await;
    assert_eq!(groups(&message), ["(Pilots)"]);

    let set = org
        .records("PermissionSet")
        .into_iter()
        .find(|set| set.text("Label") == Some("Forecast"))
        .unwrap();
    org.create(
        "PermissionSetAssignment",
        json!({ "PermissionSetId": set.id, "AssigneeId": person.id }),
    )
    .unwrap();
    let message = published(&scene, person, "assigned", |message| {
        message["user"]["permissionSets"] != json!([])
    })
    .await;
    assert_eq!(
        message["user"]["permissionSets"],
        json!([{ "id": set.id, "name": "Forecast" }])
    );

    org.freeze(&person.id, true).unwrap();
    published(&scene, person, "frozen", |message| message["kind"] == json!("frozen")).await;
    org.freeze(&person.id, false).unwrap();
    published(&scene, person, "unfrozen", |message| {
        message["kind"] == json!("unfrozen")
    })
    .await;

    org.update("UserRole", &role, json!({ "Name": "Renamed" })).unwrap();
    for holder in people
        .iter()
        .filter(|user| user.text("UserRoleId") == Some(role.as_str()))
    {
        let message = published(&scene, holder, "a renamed role", |message| {
            message["user"]["role"]["name"] == json!("Renamed")
        })
        .await;
        assert_eq!(message["changed"], json!(["role"]));
    }
    scene.assert_versions_rise_by_one().await;
    scene.assert_contract_holds(people.len() as u64).await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_fails_or_loses_access_leaves_what_was_known_and_says_so() {
    let (scene, ingest, people) = scene().await;
    let org = scene.org();
    let members = org.records("GroupMember");
    let in_group = |user: &&SimUser| {
        members
            .iter()
            .any(|member| member.text("UserOrGroupId") == Some(user.id.as_str()))
    };
    let person = people.iter().find(in_group).unwrap();
    let known = published(&scene, person, "in a group", |message| !groups(message).is_empty()).await;

    let problem = async |what: &str, parts: &[&str]| {
        eventually(what, || async {
            let status = ingest.status().await;
            let problems = status["problems"].to_string();
            if parts.iter().all(|part| problems.contains(part)) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
    };
    org.faults()
        .fail_next_rest_at("/query", 1_000_000, 403, "INSUFFICIENT_ACCESS");
    problem(
        "refused",
        &[
            "group membership is as of 20",
            "INSUFFICIENT_ACCESS",
            "View Setup and Configuration",
        ],
    )
    .await;
    assert!(
        ingest
            .metrics()
            .await
            .contains("ingest_poll_failures_total{poll=\"groups\"}")
    );
    org.faults().clear_rest();
    eventually("the next poll is well", || async {
        let status = ingest.status().await;
        if status["problems"] == json!([]) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;

    // Every membership vanishes at once, as it does when the permission to see them is withdrawn.
    for member in &members {
        org.remove("GroupMember", &member.id).unwrap();
    }
    problem(
        "not believed",
        &[
            "group membership is as of 20",
            "looks like lost access",
            "--accept-size",
        ],
    )
    .await;
    let after = published(&scene, person, "unchanged", |_| true).await;
    assert_eq!(after["user"]["groups"], known["user"]["groups"]);
    assert_eq!(after["version"], known["version"]);

    // The other polls go on meanwhile.
    org.freeze(&person.id, true).unwrap();
    published(&scene, person, "frozen", |message| message["kind"] == json!("frozen")).await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_confirms_an_answer_that_was_not_believed_and_a_newcomer_does_not_wait_for_the_next_round() {
    let scene = Scene::set(SimConfig {
        users: 60,
        seed: 72,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let config = json!({ "polls": { "every": "1h" }, "http": { "tokensFile": scene.tokens_file() } });
    let ingest = scene.ingest("ingest", &config).await;
    let newcomer =
        |number: u32| json!({ "Username": format!("new{number}@acme-corp.example.com"), "LastName": "Newcomer" });
    let person_of = |id: &str| org.user(id).unwrap();
    eventually("idle", || async {
        let status = ingest.status().await;
        if status["idle"] == json!(true) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let first = org.create_user(newcomer(1)).unwrap();
    let emea = group(&org, "Regular", |group| group.text("Name") == Some("EMEA"));
    org.create("GroupMember", json!({ "GroupId": emea, "UserOrGroupId": first }))
        .unwrap();
    let message = published(&scene, &person_of(&first), "polled soon", |message| {
        !message["user"]["groups"].is_null()
    })
    .await;
    assert_eq!(groups(&message), ["(All Sales)", "EMEA"]);

    for member in org.records("GroupMember") {
        org.remove("GroupMember", &member.id).unwrap();
    }
    // Somebody new makes a poll come soon again; it is not believed.
    org.create_user(newcomer(2)).unwrap();
    eventually("not believed", || async {
        let status = ingest.status().await;
        if status["problems"].to_string().contains("looks like lost access") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/reimport", ingest.url))
        .bearer_auth(scenarios::OPERATOR)
        .json(&json!({ "acceptSize": true }))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    published(&scene, &person_of(&first), "taken", |message| {
        message["user"]["groups"] == json!([])
    })
    .await;
    eventually("nothing is wrong any more", || async {
        let status = ingest.status().await;
        if status["problems"] == json!([]) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}
