//! The policy folder changes while apply-service runs: swapped behind a link as Kubernetes does it, with a mistake, and in place.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, net::TcpListener, path::Path};

use scenarios::{Service, eventually, stage::Stage};
use serde_json::{Value, json};

/// Also while the service begins anew and answers nobody.
async fn target(service: &Service, what: &str, holds: impl Fn(&Value) -> bool) {
    eventually(what, || async {
        let status = service.whole_status().await;
        if holds(&status) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}

fn links(status: &Value, expected: u64) -> bool {
    let lane = &status["targets"]["helpdesk"]["lane"];
    lane["links"] == expected && lane["pending"] == 0
}

/// A folder of its own with the target's file, changed.
fn version(stage: &Stage, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(stage.scene.path("policy/helpdesk.yaml")).unwrap();
    assert!(text.contains(from), "{text}");
    fs::create_dir(stage.scene.path(name)).unwrap();
    fs::write(stage.scene.path(name).join("helpdesk.yaml"), text.replace(from, to)).unwrap();
}

/// The mounted folder is another one from one moment to the next.
fn swap(stage: &Stage, name: &str) {
    let (link, new) = (stage.scene.path("mounted"), stage.scene.path("mounted.new"));
    std::os::unix::fs::symlink(Path::new(name), &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_folder_takes_effect_and_a_bad_one_changes_nothing() {
    let stage = Stage::set(json!({ "mode": "observe", "guard": { "windows": [] } })).await;
    for n in 1..=5 {
        stage.publish(n, 1, true).await;
    }
    swap(&stage, "policy");
    // The same address after every new start.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let change = json!({ "http": { "tokensFile": stage.scene.tokens_file(), "bind": format!("127.0.0.1:{port}") },
        "policy": { "folder": stage.scene.path("mounted") } });
    let apply = stage.scene.apply_with("apply", &change).await;
    target(&apply, "it observes", |status| {
        status["targets"]["helpdesk"]["state"] == "active"
    })
    .await;
    assert_eq!(stage.sim.write_count(), 0);

    version(&stage, "bad", "observe", "enfroce");
    swap(&stage, "bad");
    target(&apply, "the mistake is said and nothing else changes", |status| {
        let said = status["policyProblem"].as_str().unwrap_or_default();
        said.contains("enfroce") && status["targets"]["helpdesk"]["mode"] == "observe"
    })
    .await;
    assert!(apply.metrics().await.contains("apply_policy_refused 1"));

    version(&stage, "good", "observe", "enforce");
    swap(&stage, "good");
    target(&apply, "it writes now", |status| {
        links(status, 5) && status.get("policyProblem").is_none()
    })
    .await;
    assert_eq!(stage.sim.user_count(), 5);
    let writes = stage.sim.write_count();

    // In place, and told by a signal: somebody takes people out of scope, and nothing is done twice.
    let file = stage.scene.path("good/helpdesk.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let narrower = text.replace("\"filter\":\"all\"", "\"filter\":\"Username != 'u1@acme.example'\"");
    assert_ne!(text, narrower);
    fs::write(&file, narrower).unwrap();
    apply.process.sighup();
    eventually("the one who is out of scope is switched off", || async {
        if stage.off() == 1 {
            Ok(())
        } else {
            Err(stage.off().to_string())
        }
    })
    .await;
    assert_eq!(stage.sim.write_count(), writes + 1);
    apply.stop().await;
}

/// The targets as an operator lists them: name to mode.
async fn listed(stage: &Stage, service: &Service) -> Vec<(String, Value)> {
    let (_, said) = stage.send(service, "GET", "/v1/targets", json!({})).await;
    let targets = said["targets"].as_array().cloned().unwrap_or_default();
    let one = |target: &Value| {
        (
            target["target"].as_str().unwrap_or_default().to_owned(),
            target["mode"].clone(),
        )
    };
    targets.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioning_is_a_file_that_is_made_listed_and_taken_away_and_its_accounts_stay() {
    let stage = Stage::set(json!({ "guard": { "windows": [] } })).await;
    for n in 1..=3 {
        stage.publish(n, 1, true).await;
    }
    swap(&stage, "policy");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let change = json!({ "http": { "tokensFile": stage.scene.tokens_file(), "bind": format!("127.0.0.1:{port}") },
        "policy": { "folder": stage.scene.path("mounted") } });
    let apply = stage.scene.apply_with("apply", &change).await;
    target(&apply, "everybody has an account", |status| links(status, 3)).await;
    assert_eq!(
        listed(&stage, &apply).await,
        [("helpdesk".to_owned(), json!("enforce"))]
    );
    let writes = stage.sim.write_count();

    // Taken away: another one begins, nobody runs this one, and what is known of it is kept and said.
    version(&stage, "other", "\"target\":\"helpdesk\"", "\"target\":\"academy\"");
    fs::rename(
        stage.scene.path("other/helpdesk.yaml"),
        stage.scene.path("other/academy.yaml"),
    )
    .unwrap();
    let file = stage.scene.path("other/academy.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"mode\":\"enforce\"", "\"mode\":\"observe\"")).unwrap();
    swap(&stage, "other");
    target(&apply, "the other one runs alone", |status| {
        status["targets"]["academy"]["state"] == "active" && status["targets"].get("helpdesk").is_none()
    })
    .await;
    assert_eq!(
        listed(&stage, &apply).await,
        [
            ("academy".to_owned(), json!("observe")),
            ("helpdesk".to_owned(), Value::Null)
        ]
    );
    stage.publish(1, 2, false).await;
    target(&apply, "the leaver was seen", |status| {
        status["targets"]["academy"]["lane"]["pending"] == 0
    })
    .await;
    assert_eq!(
        (stage.sim.write_count(), stage.off()),
        (writes, 0),
        "nobody's account is touched"
    );

    // Put back: the links are those from before, and what has happened meanwhile is done.
    swap(&stage, "policy");
    target(&apply, "it goes on with its links", |status| links(status, 3)).await;
    eventually("the leaver is switched off", || async {
        if stage.off() == 1 {
            Ok(())
        } else {
            Err(stage.off().to_string())
        }
    })
    .await;
    assert_eq!((stage.sim.user_count(), stage.sim.write_count()), (3, writes + 1));
    apply.stop().await;
}
