//! What operators do: look at what is held, release it, erase a person and take that back; through any replica.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use salesforce_sim::SimConfig;
use scenarios::{APPROVER, OPERATOR, Scene, Service, eventually};
use serde_json::{Value, json};

/// The recheck is as good as off: only what a test asks for reads people.
fn config(scene: &Scene) -> Value {
    // Versions are counted: only what a scenario does may publish anything.
    let polls = json!({ "groups": false, "permissionSets": false, "frozen": false, "names": false });
    json!({ "http": { "tokensFile": scene.tokens_file() }, "recheck": { "every": "10h" }, "polls": polls })
}

async fn stands_by(ingest: &Service) {
    eventually("a standby knows the leader", || async {
        let status = ingest.status().await;
        if status["role"] == "standby" && status["leader"].is_string() {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}

/// The only held set, as the command shows it to programs.
async fn held(scene: &Scene, ingest: &Service) -> Vec<Value> {
    let token = scene.token_file(OPERATOR);
    let line = [
        "removals",
        "--json",
        "--url",
        &ingest.url,
        "--token-file",
        token.to_str().unwrap(),
    ];
    let (code, output) = scene.command("ingest-service", &line).await;
    assert_eq!(code, 0, "{output}");
    serde_json::from_str(&output).unwrap()
}

fn ids(people: &Value) -> BTreeSet<String> {
    let people = people.as_array().unwrap();
    people
        .iter()
        .map(|person| person["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn run(scene: &Scene, ingest: &Service, token: &str, arguments: &[&str]) -> (i32, String) {
    let token = scene.token_file(token);
    let more = ["--url", &ingest.url, "--token-file", token.to_str().unwrap()];
    let line: Vec<&str> = arguments.iter().copied().chain(more).collect();
    scene.command("ingest-service", &line).await
}

/// The last record of every person on the topic, null for a tombstone.
async fn last_records(scene: &Scene) -> BTreeMap<String, Value> {
    let prefix = format!("{}:", scene.sim.org_id());
    let records = scene.user_changes().await;
    let last = |record: &kafka_harness::Record| {
        let id = record.key_text().strip_prefix(&prefix)?.to_owned();
        Some((id, record.value.as_ref().map_or(Value::Null, |_| record.json())))
    };
    records.iter().filter_map(last).collect()
}

/// The last record of a person: `None` when there is none, null for a tombstone.
async fn newest(scene: &Scene, id: &str) -> Option<Value> {
    last_records(scene).await.remove(id)
}

async fn newest_of(scene: &Scene, ids: &BTreeSet<String>) -> Vec<Value> {
    let mut records = last_records(scene).await;
    ids.iter().map(|id| records.remove(id).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_set_outlives_its_leader_and_is_released_through_a_standby() {
    let scene = Scene::set(SimConfig {
        users: 300,
        seed: 71,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    // The administrator and the integration user are in the population, too.
    let (kept, leaving): (Vec<_>, Vec<_>) = scene.members().into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    for (_, person) in &kept {
        org.update_user(&person.id, json!({ "Division": "Kept" })).unwrap();
    }
    let leaving: BTreeSet<String> = leaving.into_iter().map(|(_, person)| person.id).collect();
    let first = scene.ingest("first", &config(&scene)).await;
    first.settled().await;
    first.stop().await;

    // Half of the people are no longer meant; and one change reaches nobody through the stream.
    let mut narrow = config(&scene);
    narrow["population"] =
        json!({ "where": "UserType = 'Standard' AND (NOT Email LIKE '%.invalid') AND Division = 'Kept'" });
    let edited = &kept[3].1;
    org.faults().lose_next_events(1);
    org.update_user(&edited.id, json!({ "Title": "Only a snapshot knows" }))
        .unwrap();
    let first = scene.ingest("narrow", &narrow).await;
    first.settled().await;
    let second = scene.ingest("second", &narrow).await;
    stands_by(&second).await;
    let asked = run(&scene, &second, OPERATOR, &["reimport", "--accept-size"]).await;
    assert_eq!(asked, (0, "a snapshot begins now".to_owned()), "through the standby");
    let sets = eventually("the missing are held", || async {
        let sets = held(&scene, &second).await;
        if sets.len() == 1 {
            Ok(sets)
        } else {
            Err(format!("{sets:?}"))
        }
    })
    .await;
    let set = sets[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&sets[0]["removals"]), leaving);
    assert_eq!(sets[0]["people"], json!(leaving.len()));
    assert!(sets[0]["removals"][0]["username"].is_string(), "who, for people");
    assert_eq!(sets[0]["approved"], Value::Null);
    let title = newest(&scene, &edited.id).await.unwrap();
    assert_eq!(
        title["user"]["title"], "Only a snapshot knows",
        "everything else is published"
    );
    let page = first
        .ask("GET", "/v1/removals?limit=10", OPERATOR, &Value::Null)
        .await
        .1;
    assert_eq!(page["removals"][0]["removals"].as_array().unwrap().len(), 10);
    assert!(page["removals"][0]["next"].is_string(), "and how to go on");

    // A leader that dies takes nothing along.
    first.process.sigkill();
    second.settled().await;
    assert_eq!(held(&scene, &second).await, sets);
    let third = scene.ingest("third", &narrow).await;
    stands_by(&third).await;

    // One comes back before anybody decides.
    let back = leaving.first().unwrap().clone();
    org.update_user(&back, json!({ "Division": "Kept" })).unwrap();
    eventually("who comes back leaves the set", || async {
        let sets = held(&scene, &third).await;
        let left = ids(&sets[0]["removals"]);
        if left.contains(&back) {
            Err(format!("{} are held", left.len()))
        } else {
            Ok(())
        }
    })
    .await;
    let removed = async || {
        let messages = scene.user_changes().await;
        let removed = messages.iter().map(kafka_harness::Record::json);
        let removed = removed.filter(|message| message["user"]["removed"] == json!(true));
        removed.collect::<Vec<_>>()
    };
    assert_eq!(removed().await.len(), 0, "nobody is removed until somebody says so");

    let (code, words) = run(&scene, &third, OPERATOR, &["approve", &set, "--reason", "x"]).await;
    assert_eq!(code, 1);
    assert!(words.contains("this needs the role approver"), "{words}");
    let (code, _) = run(&scene, &third, APPROVER, &["approve", &set]).await;
    assert_eq!(code, 64, "a reason must be given");
    let (path, reason) = ("/v1/removals/20200101T000000Z/approve", json!({ "reason": "x" }));
    let (status, answer) = third.ask("POST", path, APPROVER, &reason).await;
    assert_eq!(status, 404, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains(&set), "{answer}");
    let (code, words) = run(&scene, &third, APPROVER, &["approve", &set, "--reason", "they moved"]).await;
    assert_eq!(code, 0, "{words}");
    let expected: BTreeSet<String> = leaving.iter().filter(|id| **id != back).cloned().collect();
    eventually("who is still gone is removed", || async {
        let found = removed().await.len();
        if found == expected.len() {
            Ok(())
        } else {
            Err(format!("{found} of {}", expected.len()))
        }
    })
    .await;
    let removed = removed().await;
    let whom: BTreeSet<String> = removed
        .iter()
        .map(|message| message["user"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(whom, expected);
    for message in &removed {
        let approval = &message["cause"]["approval"];
        assert_eq!(
            (approval["actor"].as_str(), approval["reason"].as_str()),
            (Some("ada"), Some("they moved"))
        );
    }
    let (code, words) = run(&scene, &third, OPERATOR, &["removals"]).await;
    assert_eq!((code, words.as_str()), (0, "nothing is held"));
    scene.assert_versions_rise_by_one().await;
    third.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_is_for_the_inactive_and_can_be_taken_back_and_many_leavers_at_once_wait() {
    let scene = Scene::set(SimConfig {
        users: 200,
        seed: 72,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let people = scene.people();
    let ingest = scene.ingest("ingest", &config(&scene)).await;
    ingest.settled().await;
    let person = &people[0].id;

    let (code, words) = run(&scene, &ingest, APPROVER, &["erase", person, "--reason", "asked for"]).await;
    assert_eq!(code, 1);
    assert!(words.contains("deactivate the user in Salesforce first"), "{words}");
    let body = json!({ "user": person, "reason": "asked for" });
    assert_eq!(ingest.ask("POST", "/v1/erase", APPROVER, &body).await.0, 409);
    let stranger = json!({ "user": "005000000000000AAA", "reason": "x" });
    assert_eq!(ingest.ask("POST", "/v1/erase", APPROVER, &stranger).await.0, 404);
    org.update_user(person, json!({ "IsActive": false })).unwrap();
    let gone = eventually("the leaver is published", || async {
        let newest = newest(&scene, person).await.unwrap();
        if newest["user"]["active"] == json!(false) {
            Ok(newest)
        } else {
            Err(newest.to_string())
        }
    })
    .await;
    let (code, words) = run(&scene, &ingest, APPROVER, &["erase", person, "--reason", "asked for"]).await;
    assert_eq!(code, 0, "{words}");
    assert_eq!(
        newest(&scene, person).await,
        Some(Value::Null),
        "a tombstone, when the command is back"
    );
    assert_eq!(
        ingest.ask("POST", "/v1/erase", APPROVER, &body).await.0,
        409,
        "once is enough"
    );

    // Many leave, and the stream says nothing of it. The same snapshot sees the erased person.
    let leavers: BTreeSet<String> = people[10..40].iter().map(|person| person.id.clone()).collect();
    org.faults().lose_next_events(30);
    for id in &leavers {
        org.update_user(id, json!({ "IsActive": false })).unwrap();
    }
    let (code, _) = run(&scene, &ingest, OPERATOR, &["reimport"]).await;
    assert_eq!(code, 0);
    let sets = eventually("the leavers are held", || async {
        let sets = held(&scene, &ingest).await;
        if sets.len() == 1 {
            Ok(sets)
        } else {
            Err(format!("{sets:?}"))
        }
    })
    .await;
    assert_eq!(ids(&sets[0]["deactivations"]), leavers);
    ingest.settled().await;
    assert_eq!(
        newest(&scene, person).await,
        Some(Value::Null),
        "a snapshot brings nobody back"
    );
    let states = newest_of(&scene, &leavers).await;
    assert!(
        states.iter().all(|state| state["user"]["active"] == json!(true)),
        "held"
    );
    let (_, words) = run(&scene, &ingest, OPERATOR, &["removals"]).await;
    assert!(
        words.contains("who    30 people") && words.contains("deactivation"),
        "{words}"
    );
    let set = sets[0]["id"].as_str().unwrap();
    let (code, words) = run(
        &scene,
        &ingest,
        APPROVER,
        &["approve", set, "--reason", "a site was closed"],
    )
    .await;
    assert_eq!(code, 0, "{words}");
    let messages = eventually("released leavers are published", || async {
        let states = newest_of(&scene, &leavers).await;
        let left = states
            .iter()
            .filter(|state| state["user"]["active"] == json!(false))
            .count();
        if left == leavers.len() {
            Ok(states)
        } else {
            Err(format!("{left} of {}", leavers.len()))
        }
    })
    .await;
    assert!(
        messages
            .iter()
            .all(|message| message["cause"]["approval"]["actor"] == "ada")
    );

    // Erased means left alone, until it is lifted; the versions go on.
    let (code, words) = run(&scene, &ingest, OPERATOR, &["reimport", "--user", person, "--wait"]).await;
    assert_eq!(code, 1);
    assert!(words.contains("is erased"), "{words}");
    let (code, words) = run(
        &scene,
        &ingest,
        APPROVER,
        &["erase", person, "--lift", "--reason", "came back"],
    )
    .await;
    assert_eq!(code, 0, "{words}");
    let back = eventually("the person is published again", || async {
        let newest = newest(&scene, person).await.unwrap();
        if newest.is_object() {
            Ok(newest)
        } else {
            Err(newest.to_string())
        }
    })
    .await;
    assert_eq!(back["version"].as_u64().unwrap(), gone["version"].as_u64().unwrap() + 1);

    // One person, in seconds, with the outcome in words.
    org.faults().lose_next_events(1);
    org.update_user(&people[1].id, json!({ "Title": "Asked for by name" }))
        .unwrap();
    let (code, words) = run(
        &scene,
        &ingest,
        OPERATOR,
        &["reimport", "--user", &people[1].id, "--wait"],
    )
    .await;
    assert_eq!(code, 0, "{words}");
    assert!(words.ends_with("is published, version 2"), "{words}");
    let newest = newest(&scene, &people[1].id).await.unwrap();
    assert_eq!(newest["user"]["title"], "Asked for by name");
    assert_eq!(newest["cause"]["origin"], "reimport");
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}
