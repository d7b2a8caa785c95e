//! The whole service against a real Kafka and a recording SCIM application: messages in, accounts out.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use apply_service::{App, Config, StatusHandle, config::DEFAULTS, status::TargetStatus};
use jiff::Timestamp;
use kafka_harness::Kafka;
use serde_json::Value;
use target_sims::{ScimSim, ScimSimConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use usher_contract::{Cause, ChangeKind, CloudEvent, Known, Origin, TargetName, User, UserChange, UserKey};
use usher_runtime::{
    config::load_text,
    shutdown::{CancellationToken, ServiceError},
};

const ORG: &str = "00D000000000001EAA";
const PATIENCE: Duration = Duration::from_secs(60);

fn key(n: u32) -> UserKey {
    let user = format!("005{n:012}").parse().expect("an id");
    UserKey::new(ORG.parse().expect("an id"), user)
}

fn person(n: u32, version: u64) -> UserChange {
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let mut user = User::unknown(key(n));
    user.username = Known::Value(format!("u{n}@acme.example"));
    user.email = Known::Value(format!("u{n}@acme.example"));
    user.given_name = Known::Value("Zoë".into());
    user.family_name = Known::Value(format!("O'Neil {n}"));
    user.display_name = Known::Value(format!("Zoë O'Neil {n}"));
    user.active = Known::Value(true);
    let cause = Cause {
        origin: Origin::Query,
        committed_at: None,
        observed_at: now,
        read_at: None,
        commit_number: None,
        transaction_key: None,
        changed_by: None,
        recorded_at: None,
        approval: None,
    };
    UserChange {
        version,
        kind: ChangeKind::Updated,
        changed: vec![],
        before: None,
        user,
        cause,
    }
}

/// One installation: its own topics, a policy folder, an application per target.
struct Installation {
    kafka: Arc<Kafka>,
    prefix: String,
    policy: TempDir,
    targets: BTreeMap<String, ScimSim>,
}

impl Installation {
    async fn with_targets(names: &[&str]) -> Self {
        let (kafka, policy) = (Kafka::shared().await, TempDir::new().expect("a folder"));
        let mut targets = BTreeMap::new();
        for name in names {
            let sim = ScimSim::start(ScimSimConfig::default()).await;
            write_policy(policy.path(), name, sim.base_url());
            targets.insert((*name).to_owned(), sim);
        }
        let prefix = kafka.unique_prefix();
        Self {
            kafka,
            prefix,
            policy,
            targets,
        }
    }

    fn config(&self) -> Config {
        let text = format!(
            "kafka: {{ bootstrapServers: '{}', prefix: '{}', replicationFactor: 1 }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n",
            self.kafka.bootstrap(),
            self.prefix,
            self.policy.path().display()
        );
        load_text(DEFAULTS, Some(("test", &text)), &[]).expect("a configuration")
    }

    async fn start(&self) -> Running {
        let app = App::build(self.config())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let (status, stop) = (app.status(), CancellationToken::new());
        let address = app.address();
        #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
        let task = tokio::task::spawn(app.run(stop.clone()));
        Running {
            status,
            stop,
            task,
            address: address.to_string(),
        }
    }

    async fn publish(&self, change: &UserChange) {
        let event = CloudEvent::of_user_change(change, None);
        let headers = event.headers();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let value = serde_json::to_vec(change).expect("a message");
        let topic = format!("{}user-change", self.prefix);
        self.kafka
            .produce(&topic, &change.user.key().to_string(), Some(&value), &headers)
            .await;
    }

    fn sim(&self, name: &str) -> &ScimSim {
        &self.targets[name]
    }
}

/// Without a guard: people come one by one after the start here, which is no first import.
fn write_policy(folder: &Path, name: &str, base_url: &str) {
    let text = format!(
        "target: {name}\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: '{base_url}', auth: none }}\n\
         scope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\npace: {{ perSecond: 500, concurrency: 8 }}\nretry: {{ base: 50ms }}\n\
         guard: {{ windows: [] }}\n"
    );
    std::fs::write(folder.join(format!("{name}.yaml")), text).expect("a policy file");
}

/// A service in this process.
struct Running {
    status: StatusHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ServiceError>>,
    address: String,
}

impl Running {
    fn target(&self, name: &str) -> Option<TargetStatus> {
        self.status
            .snapshot()
            .targets
            .get(&TargetName::try_new(name).expect("a name"))
            .cloned()
    }
    fn is_active(&self, name: &str) -> bool {
        self.target(name).is_some_and(|target| target.state == "active")
    }
    fn rests(&self, name: &str) -> bool {
        let lane = self.target(name).and_then(|target| target.lane);
        lane.is_some_and(|lane| lane.pending == 0 && lane.in_flight == 0 && lane.first_sync.is_some())
    }
    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it ends in time");
        ended.expect("no panic").expect("it ends well");
    }
    /// As if the process had died: nothing is finished, nothing handed back.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain waited until {what}");
}

fn account(sim: &ScimSim, n: u32) -> Option<Value> {
    sim.user_by_external_id(key(n).user.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_from_the_first_message_to_the_restart_with_nothing_to_do() {
    let installation = Installation::with_targets(&["helpdesk"]).await;
    let sim = installation.sim("helpdesk");
    // Somebody was made by hand before: adopted, not made twice.
    sim.seed_user(serde_json::json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "u3@acme.example", "active": true
    }));
    let service = installation.start().await;
    for n in 1..=20 {
        installation.publish(&person(n, 1)).await;
    }
    until("everybody has an account", || {
        sim.user_count() == 20 && service.rests("helpdesk")
    })
    .await;
    assert!(sim.created_count_by_external_id().values().all(|count| *count == 1));
    assert_eq!(account(sim, 3).expect("adopted")["name"]["familyName"], "O'Neil 3");

    let mut renamed = person(1, 2);
    renamed.user.username = Known::Value("zoe@acme.example".into());
    installation.publish(&renamed).await;
    let mut gone = person(2, 2);
    gone.user.active = Known::Value(false);
    installation.publish(&gone).await;
    until("both changes have arrived", || {
        account(sim, 1).is_some_and(|a| a["userName"] == "zoe@acme.example")
            && account(sim, 2).is_some_and(|a| a["active"] == false)
    })
    .await;
    installation.publish(&person(2, 3)).await;
    until("she is back", || account(sim, 2).is_some_and(|a| a["active"] == true)).await;

    // Nonsense on the topic is counted and the rest goes on.
    let topic = format!("{}user-change", installation.prefix);
    installation.kafka.produce(&topic, "nobody", Some(b"{"), &[]).await;
    installation.publish(&person(21, 1)).await;
    until("the next one is there", || account(sim, 21).is_some()).await;
    until("it rests", || service.rests("helpdesk")).await;
    let snapshot = service.status.snapshot();
    assert_eq!(snapshot.users.malformed, 1);
    assert!(snapshot.users.last_malformed.expect("a place").ends_with(": no-key"));

    let ready = reqwest::get(format!("http://{}/readyz", service.address))
        .await
        .expect("an answer");
    assert_eq!(ready.status(), 200);
    let metrics = reqwest::get(format!("http://{}/metrics", service.address))
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("a text");
    assert!(
        metrics.contains("apply_writes_total{action=\"create\",target=\"helpdesk\"} 20"),
        "{metrics}"
    );
    service.stop().await;

    sim.reset_log();
    let again = installation.start().await;
    until("it is active again, without waiting for a lease", || {
        again.is_active("helpdesk")
    })
    .await;
    until("it has planned everybody", || {
        again
            .target("helpdesk")
            .and_then(|t| t.lane)
            .is_some_and(|lane| lane.links == 21)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(sim.write_count(), 0);
    assert_eq!(sim.requests().len(), 0, "nothing to do, nothing asked");
    again.stop().await;

    let outcomes = installation
        .kafka
        .read_committed(&format!("{}provisioning.outcome", installation.prefix))
        .await;
    let of = |action: &str| {
        outcomes
            .iter()
            .filter(|record| record.json()["action"] == action)
            .count()
    };
    assert_eq!(
        (
            of("create"),
            of("adopt"),
            of("deactivate"),
            of("reactivate"),
            of("first-sync")
        ),
        (20, 1, 1, 1, 1)
    );
    let links = installation
        .kafka
        .read_committed(&format!("{}provisioning.link", installation.prefix))
        .await;
    for record in outcomes.iter().chain(&links) {
        assert!(
            !record.json().to_string().contains("acme.example"),
            "personal data in {record:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_target_has_one_owner_and_moves_when_it_leaves_or_dies() {
    let names = ["alpha", "beta", "gamma"];
    let installation = Installation::with_targets(&names).await;
    let first = installation.start().await;
    until("the first owns all", || names.iter().all(|name| first.is_active(name))).await;
    let second = installation.start().await;
    for n in 1..=30 {
        installation.publish(&person(n, 1)).await;
    }
    let one_owner = || names.iter().all(|name| first.is_active(name) ^ second.is_active(name));
    until("every target has one owner", || {
        one_owner() && names.iter().all(|name| installation.sim(name).user_count() == 30)
    })
    .await;

    // One dies while there is work: the other waits out the lease and finishes.
    for n in 1..=30 {
        let mut change = person(n, 2);
        change.user.title = Known::Value("AE".into());
        installation.publish(&change).await;
    }
    first.kill().await;
    until("the other owns all", || names.iter().all(|name| second.is_active(name))).await;
    until("the work is done", || {
        names.iter().all(|name| {
            second.rests(name)
                && (1..=30).all(|n| account(installation.sim(name), n).is_some_and(|a| a["title"] == "AE"))
        })
    })
    .await;
    for name in names {
        let sim = installation.sim(name);
        assert!(
            sim.created_count_by_external_id().values().all(|count| *count == 1),
            "{name}"
        );
        assert_eq!(sim.user_count(), 30);
        assert!(sim.max_writes_in_flight_per_user() <= 1);
    }
    second.stop().await;
}
