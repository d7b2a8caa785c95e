//! Operators at work: two replicas of apply-service on a real Kafka, commands to the one that does not run the target, kills
//! in between, and links that move to another installation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use scenarios::{eventually, stage::Stage};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_the_owner_through_any_replica_once_and_survive_its_death() {
    let policy = json!({ "guard": { "windows": ["1h", "24h"] }, "pace": { "perSecond": 500, "concurrency": 8 } });
    let mut stage = Stage::set(policy).await;
    for n in 1..=30 {
        stage.publish(n, 1, true).await;
    }
    let (one, two) = (stage.apply("one").await, stage.apply("two").await);
    let (owner, other) = stage.parted(&one, &two).await;
    stage.rests(owner, 30).await;

    // Nonsense among the commands is passed over.
    let topic = stage.scene.topic("provisioning.command");
    stage.scene.kafka.produce(&topic, "helpdesk", Some(b"{"), &[]).await;

    let why = json!({ "reason": "a scenario" });
    let (status, said) = stage
        .send(other, "POST", "/v1/targets/helpdesk/pause", why.clone())
        .await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(stage.target(owner).await["lane"]["paused"]["actor"], "ada");
    for n in 1..=10 {
        stage.publish(n, 2, false).await;
    }
    eventually("the leavers wait", || async {
        let pending = stage.target(owner).await["lane"]["pending"].clone();
        if pending == 10 {
            Ok(())
        } else {
            Err(pending.to_string())
        }
    })
    .await;

    // The owner dies; a command is taken although nobody could carry it out, and the successor does, once.
    owner.process.sigkill();
    let (status, said) = stage
        .send(other, "POST", "/v1/targets/helpdesk/reconcile", why.clone())
        .await;
    assert_eq!(status, 202, "{said}");
    let id = said["id"].as_str().unwrap().to_owned();
    eventually("the successor has carried it out", || async {
        let (_, found) = stage
            .send(other, "GET", &format!("/v1/commands?id={id}"), json!({}))
            .await;
        if found["commands"][0]["state"] == "done" {
            Ok(())
        } else {
            Err(found.to_string())
        }
    })
    .await;
    assert_eq!(stage.outcomes_of(&id).await, 1);
    let target = stage.target(other).await;
    assert_eq!(
        target["lane"]["paused"]["actor"], "ada",
        "the pause has survived: {target}"
    );
    assert_eq!(stage.off(), 0, "nobody was switched off meanwhile");

    // Ten leavers of thirty are too many at once: held, and seen and approved through a replica that has just come.
    let three = stage.apply("three").await;
    let (owner, other) = stage.parted(other, &three).await;
    let held = eventually("the leavers are held", || async {
        let (_, held) = stage.send(other, "GET", "/v1/targets/helpdesk/held", json!({})).await;
        if held["sets"][0]["members"] == 10 {
            Ok(held)
        } else {
            Err(held.to_string())
        }
    })
    .await;
    let set = &held["sets"][0];
    let people = set["people"].as_array().unwrap();
    assert!(
        people
            .iter()
            .all(|member| member["reasons"][0] == "inactive in the source"),
        "{held}"
    );
    let (code, shown) = stage.order(other, &["held"]).await;
    assert!(code == 0 && shown.contains("10 members since"), "{code} {shown}");
    let metrics = owner.metrics().await;
    assert!(metrics.contains("apply_held{target=\"helpdesk\"} 10"), "{metrics}");

    let set = set["id"].as_str().unwrap();
    let approve = ["approve", set, "--target", "helpdesk", "--reason", "they left"];
    let (code, said) = stage.order(other, &approve).await;
    assert!(code == 0 && said.contains("10 members"), "{code} {said}");
    let (code, said) = stage
        .order(other, &["resume", "--target", "helpdesk", "--reason", "go on"])
        .await;
    assert!(code == 0 && said.contains("paused by ada"), "{code} {said}");
    eventually("the leavers are out", || async {
        let off = stage.off();
        if off == 10 { Ok(()) } else { Err(format!("{off}")) }
    })
    .await;

    // Two accounts fit somebody new: refused, until one has looked after it and says so.
    let double = |name: &str| {
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "active": true,
            "emails": [{ "type": "work", "value": "u40@acme.example" }] })
    };
    let doubles = [stage.sim.seed_user(double("a")), stage.sim.seed_user(double("b"))];
    stage.publish(40, 1, true).await;
    eventually("she is refused", || async {
        let rejected = stage.target(owner).await["lane"]["rejected"].clone();
        if rejected == 1 {
            Ok(())
        } else {
            Err(rejected.to_string())
        }
    })
    .await;
    let (code, shown) = stage.order(other, &["where", "u40@acme.example"]).await;
    assert!(code == 0 && shown.contains("match-ambiguous"), "{code} {shown}");
    doubles.iter().for_each(|id| stage.sim.remove_user(id));
    let apply = ["apply", "--user", "u40@acme.example", "--target", "helpdesk"];
    let (code, shown) = stage.order(other, &apply).await;
    assert!(
        code == 0 && shown.contains("did      create") && shown.contains("verdict  done"),
        "{code} {shown}"
    );
    let (code, shown) = stage.order(other, &["redrive", "--target", "helpdesk"]).await;
    assert!(
        code == 0 && shown.contains("0 people"),
        "nobody is refused any more: {shown}"
    );
    let (code, shown) = stage
        .order(other, &["report", "--action", "deactivate", "--format", "csv"])
        .await;
    assert!(code == 0 && shown.lines().count() >= 11, "{shown}");

    // What is known moves to another installation, and nobody gets a second account there.
    let file = stage.scene.path("links.jsonl");
    let file = file.to_str().unwrap();
    let (code, said) = stage
        .local(&["links", "export", "--target", "helpdesk", "--out", file])
        .await;
    assert!(code == 0 && said.contains("31 links"), "{code} {said}");
    let import = ["links", "import", file, "--target", "helpdesk"];
    let (code, said) = stage.local(&import).await;
    assert!(
        code == 1 && said.contains("pause it first"),
        "a target at work: {code} {said}"
    );
    for service in [one, two, three] {
        if service.process.status().is_none() {
            service.stop().await;
        }
    }
    let people: Vec<(u32, u64, bool)> = (1..=30).map(|n| (n, 1, n > 10)).chain([(40, 1, true)]).collect();
    stage.scene.prefix = format!("{}elsewhere.", stage.scene.prefix);
    let (code, said) = stage.local(&import).await;
    assert!(
        code == 0 && said.contains("31 links of helpdesk are written"),
        "{code} {said}"
    );
    stage.sim.reset_log();
    for (n, version, active) in people {
        stage.publish(n, version, active).await;
    }
    let four = stage.apply("four").await;
    stage.rests(&four, 31).await;
    eventually("everybody is known", || async {
        let (_, status) = stage.send(&four, "GET", "/v1/status", json!({})).await;
        if status["users"]["known"] == 31 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let (code, said) = stage
        .order(&four, &["reconcile", "--target", "helpdesk", "--reason", "look again"])
        .await;
    assert_eq!(code, 0, "{said}");
    stage.rests(&four, 31).await;
    let writes: Vec<String> = stage.sim.writes().iter().map(|write| format!("{write:?}")).collect();
    assert!(writes.is_empty(), "{writes:#?}");
    four.stop().await;
}
