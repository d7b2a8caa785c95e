//! Canaries in ingest-service: secrets and a person that can be recognized, through log-ins, a refused one, ended sessions, failing
//! calls, undecodable events and a changed person; then a search of everything that it gives out. Secrets must be nowhere, the
//! person only in the message about them. apply-service has its own (`apply-service/tests/canary.rs`).
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use salesforce_sim::{SimConfig, Undecodable, generate_jwt_key_pair};
use scenarios::{PATIENCE, Scene, eventually};
use serde_json::{Value, json};

/// What is personal, in the forms in which it may turn up.
const PERSONAL: [&str; 4] = ["zyxwada", "qqfamily", "canarytitle", "7700900123"];

fn personal(text: &str) -> bool {
    let text = text.to_lowercase();
    PERSONAL.iter().any(|personal| text.contains(personal))
}

async fn run(login: &str) {
    let pair = generate_jwt_key_pair();
    let scene = Scene::set(SimConfig {
        users: 20,
        seed: 77,
        jwt_public_key_pem: Some(pair.public_pem.clone()),
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let fields = json!({ "Username": "zyxwada@crm.acme.example", "Email": "zyxwada@acme.example", "FirstName": "Zyxwada",
        "LastName": "Qqfamily", "IsActive": true, "Title": "canarytitle one", "Phone": "+447700900123" });
    let ada = org.create_user(fields).unwrap();
    std::fs::write(scene.path("key"), &pair.private_pem).unwrap();
    let strange = generate_jwt_key_pair();
    std::fs::write(scene.path("strange-key"), &strange.private_pem).unwrap();
    std::fs::write(scene.path("wrong-secret"), "canary-wr0ng-secret").unwrap();
    let auth = |key: &str, secret: &str| match login {
        "jwtBearer" => {
            json!({ "method": "jwtBearer", "username": scene.sim.integration_username(), "clientSecret": null,
            "privateKey": { "file": scene.path(key) } })
        }
        _ => json!({ "clientSecret": { "file": scene.path(secret) } }),
    };
    let config = json!({ "salesforce": { "auth": auth("key", "client-secret") }, "log": { "format": "json", "filter": "debug" },
        "http": { "tokensFile": scene.tokens_file() } });
    let service = scene.ingest(login, &config).await;
    service.settled().await;

    // Sessions end, calls fail, an event cannot be read, and she gets another title.
    org.faults().revoke_sessions();
    org.faults().fail_next_rest(2, 500, "UNKNOWN_EXCEPTION");
    org.faults().emit_undecodable(Undecodable::Garbage, &[&ada]);
    org.update_user(&ada, json!({ "Title": "canarytitle two" })).unwrap();
    eventually("her title arrives", || async {
        let records = scene.user_changes().await;
        let arrived = records
            .iter()
            .any(|record| record.value.is_some() && record.json()["user"]["title"] == "canarytitle two");
        arrived
            .then_some(())
            .ok_or_else(|| format!("{} messages", records.len()))
    })
    .await;
    let status = service.settled().await.to_string();

    let (_, checked) = check(&scene, &config).await;
    let mut wrong = config.clone();
    wrong["salesforce"]["auth"] = auth("strange-key", "wrong-secret");
    let (code, refused) = check(&scene, &wrong).await;
    assert_eq!(code, 1, "{refused}");
    let file = scene.ingest_config(&config);
    let (_, shown) = scene
        .command("ingest-service", &["print-config", "--config", file.to_str().unwrap()])
        .await;
    let topic = async |name: &str| {
        let records = scene.kafka.read_committed(&scene.topic(name)).await;
        let texts = records
            .iter()
            .flat_map(|record| [record.key.clone(), record.value.clone()])
            .flatten();
        texts
            .map(|text| format!("{}\n", String::from_utf8_lossy(&text)))
            .collect::<String>()
    };
    let mut given_out = vec![
        ("status", status),
        ("metrics", service.whole_metrics().await),
        ("check", checked),
        ("check with the wrong one", refused),
        ("print-config", shown),
        ("checkpoint", topic("user-change.checkpoint").await),
        ("dead letters", topic("user-change.dead-letter").await),
    ];
    let messages = topic("user-change").await;
    service.process.sigterm();
    assert!(
        service.process.wait(PATIENCE).await.success(),
        "{}",
        service.process.story()
    );
    let lines = service.process.output().lines();
    given_out.push(("log", lines.iter().map(|line| format!("{line}\n")).collect()));

    let mut secrets: BTreeSet<String> = [scene.sim.client_secret().to_owned(), "canary-wr0ng-secret".to_owned()].into();
    let pems = [&pair.private_pem, &strange.private_pem]
        .into_iter()
        .flat_map(|pem| pem.lines());
    secrets.extend(pems.filter(|line| !line.starts_with("---")).map(str::to_owned));
    // Every session of the org begins with its id of 15 characters.
    secrets.insert(format!("{}!", &scene.sim.org_id()[..15]));
    for (place, text) in given_out.iter().chain([&("messages", messages.clone())]) {
        assert!(text.len() > 20, "{place} is empty: the search would prove nothing");
        for secret in &secrets {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "the secret {secret} is in {place} ({login})");
        }
    }
    for (place, text) in &given_out {
        let line = text.lines().find(|line| personal(line));
        assert_eq!(line, None, "a person is in {place} ({login})");
    }
    assert!(personal(&messages), "the search finds what is there");
}

async fn check(scene: &Scene, change: &Value) -> (i32, String) {
    let config = scene.ingest_config(change);
    scene
        .command("ingest-service", &["check", "--config", config.to_str().unwrap()])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_gives_out_no_secret_of_a_signed_log_in_and_nobody_but_in_the_messages() {
    run("jwtBearer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_gives_out_no_client_secret_and_nobody_but_in_the_messages() {
    run("clientCredentials").await;
}
