//! Two ingest processes: one writes, the other takes over after a kill and after a freeze, and the woken one writes
//! nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::time::{Duration, Instant};

use salesforce_sim::{SimConfig, SimUser};
use scenarios::{Scene, Service, eventually};
use serde_json::json;

async fn leads(service: &Service) -> Result<(), String> {
    let status = service.status().await;
    // The stream must be open: until then changes only wait.
    if status["role"] == json!("leader") && status["stream"]["connected"] == json!(true) {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

async fn published(scene: &Scene, person: &SimUser, title: &str) {
    eventually(title, || async {
        let last = scene
            .user_changes()
            .await
            .into_iter()
            .rev()
            .map(|record| record.json())
            .find(|message| message["user"]["id"] == json!(person.id));
        let found = last.map(|message| message["user"]["title"].clone());
        if found == Some(json!(title)) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over_from_the_dead_and_from_the_frozen() {
    let scene = Scene::set(SimConfig {
        users: 100,
        seed: 31,
        ..SimConfig::default()
    })
    .await;
    let first = scene.ingest("first", &json!({})).await;
    eventually("the first leads", || leads(&first)).await;
    let second = scene.ingest("second", &json!({})).await;
    eventually("the second stands by", || async {
        let status = second.status().await;
        if status["role"] == json!("standby") && second.ready().await {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let org = scene.org();
    let person = scene
        .members()
        .into_iter()
        .find(|user| user.is_active() && user.id != org.admin_id() && user.id != org.integration_user_id())
        .unwrap();
    org.update_user(&person.id, json!({ "Title": "by the first" })).unwrap();
    published(&scene, &person, "by the first").await;
    assert_eq!(second.status().await["role"], json!("standby"), "one active at a time");
    assert_eq!(org.open_streams(), 1, "a standby uses no delivery allocation");

    // Dead.
    let killed = Instant::now();
    first.process.sigkill();
    org.update_user(&person.id, json!({ "Title": "after the kill" }))
        .unwrap();
    eventually("the second leads", || leads(&second)).await;
    let took_over = killed.elapsed();
    published(&scene, &person, "after the kill").await;
    assert!(took_over < Duration::from_secs(15), "took over after {took_over:?}");

    // Frozen beyond its session, and woken.
    let third = scene.ingest("third", &json!({})).await;
    eventually("the third stands by", || async {
        let status = third.status().await;
        if status["role"] == json!("standby") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    second.process.sigstop();
    org.update_user(&person.id, json!({ "Title": "during the freeze" }))
        .unwrap();
    eventually("the third leads", || leads(&third)).await;
    published(&scene, &person, "during the freeze").await;
    let before = scene.user_changes().await.len();
    second.process.sigcont();
    eventually("the woken one stands by", || async {
        let status = second.status().await;
        if status["role"] == json!("standby") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert_eq!(scene.user_changes().await.len(), before, "the woken one wrote nothing");
    org.update_user(&person.id, json!({ "Title": "by the third" })).unwrap();
    published(&scene, &person, "by the third").await;
    let versions = scene.assert_versions_rise_by_one().await;
    assert!(versions[&person.id] >= 5);
    second.stop().await;
    third.stop().await;
}
