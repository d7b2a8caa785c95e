//! Apply-service alone: people are put on the topic by hand, one target records every request, an approver gives commands.
//! What ingest-service does is shown elsewhere.

use salesforce_sim::SimConfig;
use serde_json::{Value, json};
use target_sims::ScimSim;

use crate::{APPROVER, Scene, Service, TargetSpec, eventually, recording_target};

/// Number, version, whether active, title.
pub type Person<'a> = (u32, u64, bool, Option<&'a str>);

/// A scene with one target, `helpdesk`.
pub struct Stage {
    pub scene: Scene,
    pub sim: ScimSim,
}

impl Stage {
    /// One target with a guard, on a topic of users that is there before the services: what is on it then is a first import.
    pub async fn set(policy: Value) -> Self {
        let scene = Scene::set(SimConfig {
            users: 1,
            ..SimConfig::default()
        })
        .await;
        let sim = recording_target().await;
        scene
            .kafka
            .create_topic(&scene.topic("user-change"), 12, &[("cleanup.policy", "compact")])
            .await;
        let stage = Self { scene, sim };
        stage.retarget(policy);
        stage
    }

    /// Another policy of the target, for services that are started from now on.
    pub fn retarget(&self, policy: Value) {
        self.scene.policy(&[TargetSpec {
            name: "helpdesk",
            base_url: self.sim.base_url(),
            policy,
        }]);
    }

    pub async fn apply(&self, name: &str) -> Service {
        let change = json!({ "http": { "tokensFile": self.scene.tokens_file() }, "commands": { "wait": "3s" } });
        self.scene.apply_with(name, &change).await
    }

    pub fn id(n: u32) -> String {
        format!("005{n:012}AAA")
    }

    pub async fn publish(&self, n: u32, version: u64, active: bool) {
        self.publish_all(&[(n, version, active, None)]).await;
    }

    /// People with their version, whether they are active, and a title.
    pub async fn publish_all(&self, people: &[Person<'_>]) {
        let org = self.scene.sim.org_id();
        let record = |(n, version, active, title): &Person<'_>| {
            let id = Self::id(*n);
            let message = json!({ "version": version, "kind": "updated",
                "user": { "id": id, "orgId": org, "username": format!("u{n}@acme.example"), "email": format!("u{n}@acme.example"),
                    "displayName": format!("Ada Byron {n}"), "familyName": "Byron", "title": title, "active": active },
                "cause": { "origin": "query", "observedAt": "2026-01-02T03:04:05Z" } });
            (format!("{org}:{id}"), message.to_string().into_bytes())
        };
        let records: Vec<(String, Vec<u8>)> = people.iter().map(record).collect();
        let topic = self.scene.topic("user-change");
        let records = records
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_slice())));
        self.scene.kafka.produce_all(&topic, records, &[]).await;
    }

    pub async fn send(&self, service: &Service, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let request = reqwest::Client::new()
            .request(method, format!("{}{path}", service.url))
            .bearer_auth(APPROVER)
            .json(&body);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn target(&self, service: &Service) -> Value {
        self.send(service, "GET", "/v1/status", json!({})).await.1["targets"]["helpdesk"].clone()
    }

    /// Waits until exactly one of two runs the target: the owner and the other.
    pub async fn parted<'a>(&self, one: &'a Service, two: &'a Service) -> (&'a Service, &'a Service) {
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
    pub async fn order(&self, service: &Service, arguments: &[&str]) -> (i32, String) {
        let token = self.scene.token_file(APPROVER);
        let mut all = arguments.to_vec();
        all.extend([
            "--url",
            &service.url,
            "--token-file",
            token.to_str().expect("a path in UTF-8"),
        ]);
        self.scene.command("apply-service", &all).await
    }

    /// A command line over the topics.
    pub async fn local(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.scene.apply_config(&json!({ "log": { "filter": "error" } }));
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().expect("a path in UTF-8")]);
        self.scene.command("apply-service", &all).await
    }

    pub async fn rests(&self, service: &Service, links: u64) {
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

    pub fn off(&self) -> usize {
        self.sim
            .users()
            .iter()
            .filter(|account| account["active"] == false)
            .count()
    }

    /// How many outcomes a command has.
    pub async fn outcomes_of(&self, id: &str) -> usize {
        let wanted = format!("helpdesk/command/{id}");
        let outcomes = self
            .scene
            .kafka
            .read_committed(&self.scene.topic("provisioning.outcome"))
            .await;
        outcomes.iter().filter(|record| record.json()["id"] == wanted).count()
    }
}
