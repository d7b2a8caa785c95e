//! The whole service on the client's embedded mock broker, as the sandbox runs it. Plumbing only: that broker has no
//! fencing, no compaction and no administration.

use std::time::Duration;

use apply_service::{App, Config, config::DEFAULTS, topics};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use target_sims::{ScimSim, ScimSimConfig};
use usher_runtime::{config::load_text, shutdown::CancellationToken};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_becomes_an_account() {
    let cluster = MockCluster::new(1).expect("a mock broker");
    for spec in topics::specs() {
        cluster.create_topic(spec.name, spec.partitions, 1).expect("a topic");
    }
    let sim = ScimSim::start(ScimSimConfig::default()).await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let policy = format!(
        "target: helpdesk\npreset: scim\nmode: enforce\nsources: ['00D000000000001EAA']\n\
         connection: {{ baseUrl: '{}', auth: none }}\nscope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\n",
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
    let (status, stop) = (app.status(), CancellationToken::new());
    #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
    let service = tokio::task::spawn(app.run(stop.clone()));

    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .expect("a producer");
    let message = r#"{"version":1,"kind":"created","user":{"id":"005000000000001AAA","orgId":"00D000000000001EAA",
        "username":"ada@acme.example","active":true},"cause":{"origin":"query","observedAt":"2026-01-02T03:04:05Z"}}"#;
    let record = FutureRecord::to("user-change")
        .key("00D000000000001EAA:005000000000001AAA")
        .payload(message);
    producer.send(record, Duration::from_secs(5)).await.expect("a message");

    let arrived = tokio::time::timeout(Duration::from_secs(60), async {
        while sim.user_count() == 0
            || status
                .snapshot()
                .targets
                .values()
                .any(|t| t.lane.as_ref().is_none_or(|lane| lane.pending > 0))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(arrived.await.is_ok(), "{:#?}", status.snapshot());
    stop.cancel();
    service.await.expect("no panic").expect("it ends well");
}
