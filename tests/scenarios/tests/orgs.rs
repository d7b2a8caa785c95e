//! Production and a sandbox copy of it in one deployment: the same record ids, kept apart by the org in the key.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use salesforce_sim::{Sim, SimConfig};
use scenarios::{OPERATOR, Scene, Service, eventually};
use serde_json::{Value, json};

fn sim() -> SimConfig {
    SimConfig {
        users: 60,
        seed: 81,
        keepalive: Duration::from_secs(2),
        ..SimConfig::default()
    }
}

/// The sandbox is an entry beside production, and overrides what differs.
fn orgs(scene: &Scene, copy: &Sim) -> Value {
    std::fs::write(scene.path("copy-secret"), copy.client_secret()).unwrap();
    let sandbox = json!({
        "name": "sandbox", "pubsub": { "endpoint": copy.grpc_url() },
        "salesforce": { "url": copy.http_url(), "orgId": copy.org_id(),
            "auth": { "clientId": copy.client_id(), "clientSecret": { "file": scene.path("copy-secret") } } },
    });
    json!({ "http": { "tokensFile": scene.tokens_file() }, "recheck": { "every": "10h" }, "orgs": [{ "name": "production" }, sandbox] })
}

async fn leads(service: &Service, org: usize) {
    eventually("it leads the org", || async {
        let status = &service.whole_status().await["orgs"][org];
        let well =
            status["role"] == "leader" && status["idle"] == json!(true) && status["stream"]["connected"] == json!(true);
        if well { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

/// The newest title of a person of an org.
async fn title(scene: &Scene, org: &str, id: &str) -> Value {
    let key = format!("{org}:{id}");
    let records = scene.user_changes().await;
    let mine = records.iter().rev().find(|record| record.key_text() == key);
    mine.map_or(Value::Null, |record| record.json()["user"]["title"].clone())
}

async fn titled(scene: &Scene, org: &str, id: &str, wanted: &str) {
    eventually(wanted, || async {
        let found = title(scene, org, id).await;
        if found == json!(wanted) {
            Ok(())
        } else {
            Err(found.to_string())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_and_a_sandbox_copy_share_the_topic_and_nothing_else() {
    let scene = Scene::set(sim()).await;
    let copy = Sim::start(SimConfig {
        org_id: Some("00D0000000000SB".to_owned()),
        ..sim()
    })
    .await
    .unwrap();
    let (production, sandbox) = (scene.sim.org_id(), copy.org_id());
    let config = orgs(&scene, &copy);
    let file = scene.ingest_config(&config);
    let (code, said) = scene
        .command("ingest-service", &["check", "--config", file.to_str().unwrap()])
        .await;
    assert_eq!(code, 0, "{said}");
    for name in ["production", "sandbox"] {
        assert!(said.contains(&format!("ok       {name}: salesforce log-in")), "{said}");
    }
    let first = scene.ingest("first", &config).await;
    leads(&first, 0).await;
    leads(&first, 1).await;

    // The same people, twice: the copy has the record ids of production.
    let of = async |org: &str| {
        let versions = scene.assert_versions_of_org_rise_by_one(org).await;
        versions.into_keys().collect::<BTreeSet<String>>()
    };
    let members: BTreeSet<String> = scene.members().into_iter().map(|person| person.id).collect();
    assert_eq!(of(&production).await, members);
    assert_eq!(of(&sandbox).await, members);
    let metrics = first.whole_metrics().await;
    for name in ["production", "sandbox"] {
        assert!(
            metrics.contains(&format!("ingest_leader{{org=\"{name}\"}} 1")),
            "{name}"
        );
    }

    // A change of one is no change of the other.
    let person = scene.members().into_iter().find(|user| user.is_active()).unwrap().id;
    let before = title(&scene, &production, &person).await;
    copy.org()
        .update_user(&person, json!({ "Title": "In the sandbox" }))
        .unwrap();
    titled(&scene, &sandbox, &person, "In the sandbox").await;
    assert_eq!(title(&scene, &production, &person).await, before);

    // Requests say which org they mean.
    let (status, answer) = first.ask("POST", "/v1/reimport", OPERATOR, &Value::Null).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"].as_str().unwrap().contains("production, sandbox"),
        "{answer}"
    );
    for org in ["sandbox", &sandbox, &production] {
        let path = format!("/v1/removals?org={org}");
        let (status, answer) = first.ask("GET", &path, OPERATOR, &Value::Null).await;
        assert_eq!((status, &answer["removals"]), (200, &json!([])), "{org}");
    }

    // The sandbox is taken down. A new replica takes over production all the same, and says what it lacks.
    copy.shutdown().await;
    let second = scene.ingest("second", &config).await;
    eventually("the second stands by for production", || async {
        let status = second.whole_status().await;
        if status["orgs"][0]["role"] == "standby" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    first.process.sigkill();
    leads(&second, 0).await;
    scene
        .org()
        .update_user(&person, json!({ "Title": "In production" }))
        .unwrap();
    titled(&scene, &production, &person, "In production").await;
    assert_eq!(title(&scene, &sandbox, &person).await, "In the sandbox");
    let status = second.whole_status().await;
    assert_eq!(status["orgs"][1]["role"], "starting");
    let problem = status["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("sandbox: "), "{status}");
    let ready: Value = reqwest::get(format!("{}/readyz", second.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(ready["problems"]["sandbox/salesforce"].is_string(), "{ready}");
    assert!(ready["problems"]["production/salesforce"].is_null(), "{ready}");
    scene.assert_versions_of_org_rise_by_one(&production).await;
    scene.assert_versions_of_org_rise_by_one(&sandbox).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_of_one_org_are_refused() {
    let scene = Scene::set(sim()).await;
    let mut config = orgs(&scene, &scene.sim);
    let file = scene.ingest_config(&config);
    let (code, said) = scene
        .command("ingest-service", &["check", "--config", file.to_str().unwrap()])
        .await;
    assert_eq!(code, 1);
    assert!(
        said.contains("orgs[1].salesforce.orgId: orgs[0] is the same org"),
        "{said}"
    );

    // Found at the log-in when the id is not configured.
    config["salesforce"] = json!({ "orgId": null });
    config["orgs"][1]["salesforce"]["orgId"] = Value::Null;
    let ingest = scene.ingest("ingest", &config).await;
    eventually("one of the two runs and the other says why not", || async {
        let status = ingest.whole_status().await;
        let roles = [&status["orgs"][0]["role"], &status["orgs"][1]["role"]];
        let leading = roles.iter().filter(|role| **role == "leader").count();
        let said = status["problems"][0]
            .as_str()
            .is_some_and(|problem| problem.contains("give each entry of orgs an org of its own"));
        if leading == 1 && said {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    ingest.stop().await;
}
