//! Operators at work: two replicas of apply-service on a real Kafka, commands to the one that does not run the target, kills
//! in between, and links that move to another installation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use salesforce_sim::SimConfig;
use scenarios::{Scene, Service, TargetSpec, eventually, recording_target};
use serde_json::{Value, json};
use target_sims::ScimSim;

const APPROVER: &str = "approver-token";
/// SHA-256 of [`APPROVER`].
const APPROVER_HASH: &str = "697e4faac709ff91018bf81268f62b015913da0d39c2e58eb4ee5dbffc4da325";

/// People are put on the topic by hand: what ingest-service does is shown elsewhere.
struct Stage {
    scene: Scene,
    sim: ScimSim,
}

impl Stage {
    async fn set() -> Self {
        let scene = Scene::set(SimConfig {
            users: 1,
            ..SimConfig::default()
        })
        .await;
        let sim = recording_target().await;
        scene.policy(&[TargetSpec {
            name: "helpdesk",
            base_url: sim.base_url(),
            policy: json!({ "guard": { "windows": ["1h", "24h"] }, "pace": { "perSecond": 500, "concurrency": 8 } }),
        }]);
        std::fs::write(scene.path("tokens"), format!("approver {APPROVER_HASH} ada\n")).unwrap();
        std::fs::write(scene.path("approver"), APPROVER).unwrap();
        Self { scene, sim }
    }

    async fn apply(&self, name: &str) -> Service {
        let change = json!({ "http": { "tokensFile": self.scene.path("tokens") }, "commands": { "wait": "3s" } });
        self.scene.apply_with(name, &change).await
    }

    fn id(n: u32) -> String {
        format!("005{n:012}AAA")
    }

    async fn publish(&self, n: u32, version: u64, active: bool) {
        let (org, id) = (self.scene.sim.org_id(), Self::id(n));
        let message = json!({ "version": version, "kind": "updated",
            "user": { "id": id, "orgId": org, "username": format!("u{n}@acme.example"), "email": format!("u{n}@acme.example"),
                "displayName": format!("Ada Byron {n}"), "familyName": "Byron", "active": active },
            "cause": { "origin": "query", "observedAt": "2026-01-02T03:04:05Z" } });
        let (topic, key) = (self.scene.topic("user-change"), format!("{org}:{id}"));
        let value = message.to_string();
        self.scene
            .kafka
            .produce(&topic, &key, Some(value.as_bytes()), &[])
            .await;
    }

    async fn send(&self, service: &Service, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().unwrap();
        let request = reqwest::Client::new()
            .request(method, format!("{}{path}", service.url))
            .bearer_auth(APPROVER)
            .json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    async fn target(&self, service: &Service) -> Value {
        self.send(service, "GET", "/v1/status", json!({})).await.1["targets"]["helpdesk"].clone()
    }

    /// Waits until exactly one of two runs the target: the owner and the other.
    async fn parted<'a>(&self, one: &'a Service, two: &'a Service) -> (&'a Service, &'a Service) {
        eventually("the target has one owner", || async {
            let states = [
                self.target(one).await["state"].clone(),
                self.target(two).await["state"].clone(),
            ];
            match states.each_ref().map(|state| state == "active") {
                [true, false] => Ok((one, two)),
                [false, true] => Ok((two, one)),
                _ => Err(format!("{states:?}")),
            }
        })
        .await
    }

    /// A command line against a running service.
    async fn order(&self, service: &Service, arguments: &[&str]) -> (i32, String) {
        let token = self.scene.path("approver");
        let mut all = arguments.to_vec();
        all.extend(["--url", &service.url, "--token-file", token.to_str().unwrap()]);
        self.scene.command("apply-service", &all).await
    }

    /// A command line over the topics.
    async fn local(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.scene.apply_config(&json!({ "log": { "filter": "error" } }));
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        self.scene.command("apply-service", &all).await
    }

    async fn rests(&self, service: &Service, links: u64) {
        eventually("everybody is worked off", || async {
            let target = self.target(service).await;
            let lane = &target["lane"];
            if lane["links"] == links && lane["pending"] == 0 {
                Ok(())
            } else {
                Err(format!("{target}"))
            }
        })
        .await;
    }

    fn off(&self) -> usize {
        self.sim
            .users()
            .iter()
            .filter(|account| account["active"] == false)
            .count()
    }

    /// How many outcomes a command has.
    async fn outcomes_of(&self, id: &str) -> usize {
        let wanted = format!("helpdesk/command/{id}");
        let outcomes = self
            .scene
            .kafka
            .read_committed(&self.scene.topic("provisioning.outcome"))
            .await;
        outcomes.iter().filter(|record| record.json()["id"] == wanted).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_the_owner_through_any_replica_once_and_survive_its_death() {
    let mut stage = Stage::set().await;
    // There before the services: the first import is no change that the guard counts.
    stage
        .scene
        .kafka
        .create_topic(&stage.scene.topic("user-change"), 12, &[("cleanup.policy", "compact")])
        .await;
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
