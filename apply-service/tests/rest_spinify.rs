//! Spinify with calls that its customer was given by agreement, described in the target's own file over the preset: the whole
//! service on the client's embedded mock broker, from a message to an account and through its life.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use apply_service::{App, Config, config::DEFAULTS, topics};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::json;
use target_sims::{Fault, FaultScope, Spinify, VendorSim};
use usher_runtime::{config::load_text, shutdown::CancellationToken};

/// What somebody adds to `init --preset spinify-api`, as the preset's README has it.
fn private_calls() -> &'static str {
    let readme = include_str!("../presets/spinify-api/README.md");
    let example = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    example.expect("an example")
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_their_accounts_at_spinify_through_calls_of_ones_own() {
    let mut vendor = Spinify::default();
    vendor.private = true;
    // Somebody made this one by hand.
    let before = vendor.seed("P1@acme.example", "by", "hand");
    let sim = VendorSim::start(vendor).await;
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("policy")).unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "spinify-api-key").unwrap();
    let policy = format!(
        "target: spinify\npreset: spinify-api\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nmatch: {{ \
         firstSync: auto }}\nretry: {{ base: 100ms, max: 200ms }}\npace: {{ perSecond: 100 }}\nguard: {{ windows: [] }}\n{}",
        private_calls()
            .replace("https://api.spinify.com", sim.base_url())
            .replace("/secrets/spinify.key", &key.display().to_string())
    );
    std::fs::write(folder.path().join("policy/spinify.yaml"), policy).unwrap();
    let cluster = MockCluster::new(1).unwrap();
    for spec in topics::specs() {
        cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
    }
    let text = format!(
        "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n",
        cluster.bootstrap_servers(),
        folder.path().join("policy").display()
    );
    let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).unwrap();
    let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
    let (status, stop) = (app.status(), CancellationToken::new());
    let run = app.run(stop.clone());
    #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
    let service = tokio::task::spawn(async move { run.await.unwrap() });
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    let publish = async |version: u64, number: u32, given: &str, active: bool| {
        let id = format!("00500000000000{number}AAA");
        let address = format!("p{number}@acme.example");
        let message = json!({"version": version, "kind": "updated", "user": {"id": id, "orgId": "00D000000000001EAA",
            "username": address, "email": address, "givenName": given, "familyName": "Byron", "timeZone": "Europe/London",
            "active": active}, "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
        let (key, message) = (format!("00D000000000001EAA:{id}"), message.to_string());
        let record = FutureRecord::to("user-change").key(&key).payload(&message);
        producer.send(record, Duration::from_secs(5)).await.unwrap();
    };
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let arrived = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(arrived.await.is_ok(), "{what}: {:#?}", status.snapshot());
    };
    let held = |email: &str, name: &str| {
        sim.with(|sim| {
            let user = sim.users().iter().find(|user| {
                user["Email"]
                    .as_str()
                    .is_some_and(|held| held.eq_ignore_ascii_case(email))
            });
            user.map(|user| user[name].clone()).unwrap_or_default()
        })
    };

    publish(1, 1, "Ada", true).await;
    until("adopted", &|| held("p1@acme.example", "FirstName") == "Ada").await;
    assert_eq!(held("p1@acme.example", "Id"), before);
    assert_eq!(held("p1@acme.example", "Email"), "p1@acme.example");

    sim.plan_fault(Fault::LoseAnswer, FaultScope::Writes, 1);
    publish(1, 2, "Bob", true).await;
    until("created although the answer was lost", &|| {
        held("p2@acme.example", "FirstName") == "Bob" && held("p2@acme.example", "Active") == true
    })
    .await;
    publish(2, 2, "Robert", true).await;
    until("updated", &|| held("p2@acme.example", "FirstName") == "Robert").await;
    publish(3, 2, "Robert", false).await;
    until("deactivated", &|| held("p2@acme.example", "Active") == false).await;
    publish(4, 2, "Rob", true).await;
    until("reactivated, with what changed meanwhile", &|| {
        held("p2@acme.example", "Active") == true && held("p2@acme.example", "FirstName") == "Rob"
    })
    .await;
    assert_eq!(sim.with(|sim| sim.users().len()), 2, "one account each");
    assert!(sim.refused().is_empty(), "{:?}", sim.refused());
    stop.cancel();
    service.await.unwrap();
}
