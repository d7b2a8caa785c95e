//! The whole service with described applications, on the client's embedded mock broker: from a message to an account at
//! SkyPrep and miniOrange and through its life. Plumbing only: that broker has no fencing and no compaction.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use apply_service::{App, Config, StatusHandle, config::DEFAULTS, topics};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord},
};
use serde_json::json;
use target_sims::{Fault, FaultScope, MiniOrange, SkyPrep, VendorSim};
use usher_runtime::{config::load_text, shutdown::CancellationToken};

/// The service with one target, and a place to publish people.
struct Installation {
    status: StatusHandle,
    stop: CancellationToken,
    service: tokio::task::JoinHandle<()>,
    producer: FutureProducer,
    _cluster: MockCluster<'static, DefaultProducerContext>,
    _folder: tempfile::TempDir,
}

impl Installation {
    async fn start(preset: &str, base_url: &str, secrets: &[(&str, &str)]) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for spec in topics::specs() {
            cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
        }
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("policy")).unwrap();
        let mut files = String::new();
        for (name, value) in secrets {
            let file = folder.path().join(name);
            std::fs::write(&file, value).unwrap();
            files += &format!("      {name}: '{}'\n", file.display());
        }
        let policy = format!(
            "target: academy\npreset: {preset}\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
             match: {{ firstSync: auto }}\nretry: {{ base: 100ms, max: 200ms }}\npace: {{ perSecond: 100 }}\nconnection:\n  \
             baseUrl: '{base_url}'\n  rest:\n    requestsPerSecond: 200\n    secrets:\n{files}"
        );
        std::fs::write(folder.path().join("policy/academy.yaml"), policy).unwrap();
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
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self {
            status,
            stop,
            service,
            producer,
            _cluster: cluster,
            _folder: folder,
        }
    }

    /// Publishes a person in a version.
    async fn publish(&self, version: u64, number: u32, given: &str, active: bool) {
        let id = format!("00500000000000{number}AAA");
        let address = format!("p{number}@acme.example");
        let message = json!({"version": version, "kind": "updated", "user": {"id": id, "orgId": "00D000000000001EAA",
            "username": address, "email": address, "givenName": given, "familyName": "Byron", "company": "Acme",
            "active": active}, "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
        let (key, message) = (format!("00D000000000001EAA:{id}"), message.to_string());
        let record = FutureRecord::to("user-change").key(&key).payload(&message);
        self.producer.send(record, Duration::from_secs(5)).await.unwrap();
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let arrived = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(arrived.await.is_ok(), "{what}: {:#?}", self.status.snapshot());
    }

    async fn stop(self) {
        self.stop.cancel();
        self.service.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_their_accounts_at_skyprep_through_their_whole_life() {
    let mut vendor = SkyPrep::default();
    // Somebody made this one by hand.
    let before = vendor.seed("P1@acme.example", None);
    let sim = VendorSim::start(vendor).await;
    let keys = [("apiKey", "sky-api-key"), ("acctKey", "acme.skyprepapp.example")];
    let service = Installation::start("skyprep", &format!("{}/admin/api", sim.base_url()), &keys).await;
    let held = |email: &str, name: &str| {
        let users = sim.with(|sim| sim.users());
        let user = users.iter().find(|user| {
            user["email"]
                .as_str()
                .is_some_and(|held| held.eq_ignore_ascii_case(email))
        });
        user.map(|user| user[name].clone()).unwrap_or_default()
    };

    service.publish(1, 1, "Ada", true).await;
    service
        .until("adopted", || {
            held("p1@acme.example", "user_identifier") == "005000000000001AAA"
        })
        .await;
    assert_eq!(held("p1@acme.example", "id").to_string(), before);

    sim.plan_fault(Fault::LoseAnswer, FaultScope::Writes, 1);
    service.publish(1, 2, "Bob", true).await;
    service
        .until("created although the answer was lost", || {
            held("p2@acme.example", "first_name") == "Bob"
        })
        .await;

    service.publish(2, 2, "Robert", true).await;
    service
        .until("updated", || held("p2@acme.example", "first_name") == "Robert")
        .await;
    service.publish(3, 2, "Robert", false).await;
    service
        .until("deactivated", || held("p2@acme.example", "active") == false)
        .await;
    service.publish(4, 2, "Rob", true).await;
    service
        .until("reactivated, with what changed meanwhile", || {
            held("p2@acme.example", "active") == true && held("p2@acme.example", "first_name") == "Rob"
        })
        .await;
    assert_eq!(
        sim.with(|sim| (sim.users().len(), sim.overlaps)),
        (2, 0),
        "one account each, one call at a time"
    );
    assert!(sim.with(|sim| sim.mails.is_empty()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_their_accounts_at_miniorange_through_their_whole_life() {
    let mut vendor = MiniOrange::default();
    vendor.seed("P1@acme.example");
    let sim = VendorSim::start(vendor).await;
    let keys = [("customerKey", "173025"), ("apiKey", "orange-api-key")];
    let service = Installation::start("miniorange", &format!("{}/moas/api/admin", sim.base_url()), &keys).await;
    let held = |name: &str, field: &str| {
        sim.with(|sim| sim.user(name))
            .map(|user| user[field].clone())
            .unwrap_or_default()
    };

    service.publish(1, 1, "Ada", true).await;
    service
        .until("adopted", || held("p1@acme.example", "firstName") == "Ada")
        .await;

    sim.plan_fault(Fault::LoseAnswer, FaultScope::Writes, 1);
    service.publish(1, 2, "Bob", true).await;
    service
        .until("created", || held("p2@acme.example", "firstName") == "Bob")
        .await;
    service.publish(2, 2, "Robert", true).await;
    service
        .until("updated", || held("p2@acme.example", "firstName") == "Robert")
        .await;
    assert_eq!(
        (held("p2@acme.example", "lastName"), held("p2@acme.example", "company")),
        (json!("Byron"), json!("Acme"))
    );
    service.publish(3, 2, "Robert", false).await;
    service
        .until("deactivated", || held("p2@acme.example", "enabled") == false)
        .await;
    service.publish(4, 2, "Robert", true).await;
    service
        .until("reactivated", || held("p2@acme.example", "enabled") == true)
        .await;
    assert_eq!(
        sim.with(|sim| (sim.user_count(), sim.created.clone())),
        (2, [("p2@acme.example".to_owned(), 1)].into())
    );
    service.stop().await;
}
