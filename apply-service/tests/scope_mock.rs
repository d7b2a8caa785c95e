//! Filters in the running service, on the client's embedded mock broker: people come, move out of scope, and are judged
//! again when their manager changes.

use std::time::Duration;

use apply_service::{App, Config, config::DEFAULTS, topics};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use target_sims::{ScimSim, ScimSimConfig};
use usher_runtime::{config::load_text, shutdown::CancellationToken};

const ORG: &str = "00D000000000001EAA";

fn id(n: u32) -> String {
    format!("00500000000000{n}AAA")
}

/// Publishes the next version of a person.
async fn publish(producer: &FutureProducer, n: u32, version: u64, fields: Value) {
    let mut user = json!({ "id": id(n), "orgId": ORG, "username": format!("u{n}@acme.example"), "active": true });
    for (name, value) in fields.as_object().expect("fields") {
        user[name] = value.clone();
    }
    let message = json!({ "version": version, "kind": "updated", "user": user,
        "cause": { "origin": "query", "observedAt": "2026-01-02T03:04:05Z" } });
    let (key, payload) = (format!("{ORG}:{}", id(n)), message.to_string());
    let record = FutureRecord::to("user-change").key(&key).payload(&payload);
    producer.send(record, Duration::from_secs(5)).await.expect("a message");
}

/// Waits until exactly these people have an account that is on.
async fn active(sim: &ScimSim, expected: &[u32], what: &str) {
    let is_so = || {
        (1..=4).all(|n| {
            let account = sim.user_by_external_id(&id(n));
            let on = account.is_some_and(|account| account["active"] == json!(true));
            on == expected.contains(&n)
        })
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: {:#?}", sim.users());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_belongs_follows_the_filter_the_skip_rules_and_the_managers() {
    let cluster = MockCluster::new(1).expect("a mock broker");
    for spec in topics::specs() {
        cluster.create_topic(spec.name, spec.partitions, 1).expect("a topic");
    }
    let sim = ScimSim::start(ScimSimConfig::default()).await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let policy = format!(
        "target: helpdesk\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: '{}', auth: none }}\n\
         scope:\n  filter: \"Department = 'Sales' OR Manager.Title = 'Head of Sales'\"\n  skip: [\"CompanyName LIKE '%Contractors'\"]\n\
         match: {{ firstSync: auto }}\n",
        sim.base_url()
    );
    std::fs::write(folder.path().join("helpdesk.yaml"), policy).expect("a file");
    let text = format!(
        "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n",
        cluster.bootstrap_servers(),
        folder.path().display()
    );
    let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).expect("a configuration");
    let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
    let stop = CancellationToken::new();
    #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
    let service = tokio::task::spawn(app.run(stop.clone()));
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .expect("a producer");
    let person = |department: Value, title: &str, company: &str, manager: Value| json!({ "department": department, "title": title, "company": company, "managerId": manager });

    publish(&producer, 1, 1, person(json!("SALES"), "AE", "Acme", json!(null))).await;
    publish(
        &producer,
        2,
        1,
        person(json!("Sales"), "AE", "Acme Contractors", json!(null)),
    )
    .await;
    publish(&producer, 3, 1, person(json!("IT"), "Admin", "Acme", json!(id(4)))).await;
    publish(&producer, 4, 1, person(json!("IT"), "Head of IT", "Acme", json!(null))).await;
    active(&sim, &[1], "only the first is of Sales and no contractor").await;

    publish(
        &producer,
        4,
        2,
        person(json!("IT"), "Head of Sales", "Acme", json!(null)),
    )
    .await;
    active(&sim, &[1, 3], "the manager's title has changed").await;

    publish(&producer, 1, 2, person(json!("IT"), "AE", "Acme", json!(null))).await;
    active(&sim, &[3], "out of scope").await;

    // Not published any more: unknown. Whoever has an account keeps it, nobody new gets one.
    publish(&producer, 3, 2, json!({ "department": "IT", "company": "Acme" })).await;
    publish(&producer, 2, 2, person(json!("Sales"), "AE", "Acme", json!(null))).await;
    active(
        &sim,
        &[2, 3],
        "the contractor is hired, and an unknown manager changes nothing",
    )
    .await;

    stop.cancel();
    service.await.expect("no panic").expect("it ends well");
}
