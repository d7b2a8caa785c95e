//! Everything that runs: org, broker, services, targets.

use std::{path::Path, sync::Arc, time::Duration};

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use salesforce_sim::{Org, Sim, SimConfig};
use target_sims::{ScimSim, ScimSimConfig};
use tempfile::TempDir;
use tokio::sync::watch;
use usher_runtime::shutdown::{CancellationToken, chain};

use crate::oracle::{self, Comparison, Mapping};

const TOKEN: &str = "sandbox";

/// A target with the mapping that the oracle knows for it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) sim: ScimSim,
    mapping: Mapping,
}

/// Everything that runs.
pub(crate) struct World {
    salesforce: Sim,
    pub(crate) targets: Vec<Target>,
    pub(crate) ingest: ingest_service::status::ServiceStatusHandle,
    pub(crate) apply: apply_service::status::StatusHandle,
    pub(crate) console: String,
    stop: CancellationToken,
    failure: watch::Receiver<Option<String>>,
    ended: Vec<tokio::task::JoinHandle<()>>,
    _broker: MockCluster<'static, DefaultProducerContext>,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn start(users: usize, seed: u64, filter: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
        let config = SimConfig {
            users,
            seed,
            keepalive: Duration::from_secs(2),
            ..SimConfig::default()
        };
        let salesforce = Sim::start(config).await.map_err(|error| chain(&error))?;
        let broker = broker()?;
        let (helpdesk, academy) = tokio::join!(target(), target());
        let targets = vec![
            Target {
                name: "helpdesk",
                sim: helpdesk,
                mapping: Mapping::Helpdesk,
            },
            Target {
                name: "academy",
                sim: academy,
                mapping: Mapping::Academy,
            },
        ];
        let kafka = serde_json::json!({ "bootstrapServers": broker.bootstrap_servers(), "prefix": "sandbox.", "topics": "trust" });
        let log = serde_json::json!({ "format": "text", "filter": filter });
        let ingest = ingest_app(&salesforce, &kafka, &log, folder.path()).await?;
        let apply = apply_app(&salesforce, &targets, &kafka, &log, folder.path()).await?;
        let (ingest_status, apply_status) = (ingest.status(), apply.status());
        let console = format!("http://{}/v1/status", apply.address());
        let stop = CancellationToken::new();
        let (failed, failure) = watch::channel(None);
        let failed = Arc::new(failed);
        let watch_over =
            |name: &'static str, failed: Arc<watch::Sender<Option<String>>>, result: Result<(), String>| {
                if let Err(problem) = result {
                    failed.send_replace(Some(format!("{name}: {problem}")));
                }
            };
        #[expect(
            clippy::disallowed_methods,
            reason = "two services side by side in one process; their end is watched"
        )]
        let ended = {
            let (one, other) = (Arc::clone(&failed), failed);
            let (stop_ingest, stop_apply) = (stop.clone(), stop.clone());
            vec![
                tokio::spawn(async move {
                    watch_over(
                        "ingest-service",
                        one,
                        ingest.run(stop_ingest).await.map_err(|error| chain(&error)),
                    );
                }),
                tokio::spawn(async move {
                    watch_over(
                        "apply-service",
                        other,
                        apply.run(stop_apply).await.map_err(|error| chain(&error)),
                    );
                }),
            ]
        };
        Ok(Self {
            salesforce,
            targets,
            ingest: ingest_status,
            apply: apply_status,
            console,
            stop,
            failure,
            ended,
            _broker: broker,
            _folder: folder,
        })
    }

    pub(crate) fn org(&self) -> Arc<Org> {
        self.salesforce.org()
    }

    /// The first failure of a service.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(problem) => problem.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// What the oracle says about every target.
    pub(crate) fn equal_targets(&self) -> Vec<Comparison> {
        // Usher's own user is nobody's colleague.
        let (mut people, own) = (self.org().users(), self.org().integration_user_id());
        people.retain(|person| person.id != own);
        self.targets
            .iter()
            .map(|target| oracle::compare(target.name, target.mapping, &people, &target.sim.users()))
            .collect()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for ended in self.ended {
            let _ = tokio::time::timeout(Duration::from_secs(30), ended).await;
        }
        for target in self.targets {
            target.sim.stop().await;
        }
        self.salesforce.shutdown().await;
    }
}

async fn target() -> ScimSim {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    ScimSim::start(ScimSimConfig {
        address,
        bearer_token: Some(TOKEN.to_owned()),
        behaviour: target_sims::Behaviour::default(),
    })
    .await
}

/// The client's embedded broker, with every topic made beforehand: it has no administration calls.
fn broker() -> Result<MockCluster<'static, DefaultProducerContext>, String> {
    let failed = |error: rdkafka::error::KafkaError| format!("cannot start the embedded broker: {error}");
    let broker = MockCluster::new(1).map_err(failed)?;
    for (topic, partitions) in [
        ("user-change", 12),
        ("user-change.checkpoint", 1),
        ("user-change.dead-letter", 1),
        ("provisioning.target", 48),
        ("provisioning.link", 48),
        ("provisioning.outcome", 12),
        ("provisioning.dead-letter", 12),
        ("provisioning.command", 48),
    ] {
        broker
            .create_topic(&format!("sandbox.{topic}"), partitions, 1)
            .map_err(failed)?;
    }
    Ok(broker)
}

async fn ingest_app(
    salesforce: &Sim,
    kafka: &serde_json::Value,
    log: &serde_json::Value,
    folder: &Path,
) -> Result<ingest_service::app::App, String> {
    let secret = folder.join("client-secret");
    std::fs::write(&secret, salesforce.client_secret()).map_err(|error| error.to_string())?;
    let text = serde_json::json!({
        "salesforce": { "url": salesforce.http_url(), "orgId": salesforce.org_id(),
            "auth": { "method": "clientCredentials", "clientId": salesforce.client_id(), "clientSecret": { "file": secret } } },
        "pubsub": { "endpoint": salesforce.grpc_url() },
        "fields": { "custom": ["Badge__c"] },
        "snapshot": { "source": "report", "report": { "name": "All Users" } },
        "recheck": { "every": "20s", "grace": "5s", "overlap": "5s" },
        // No target here looks at these, and one message more per person would not fit into the embedded broker.
        "polls": { "groups": false, "permissionSets": false, "frozen": false },
        "kafka": kafka, "log": log, "http": { "bind": "127.0.0.1:0" },
    });
    let file = folder.join("ingest.yaml");
    std::fs::write(&file, text.to_string()).map_err(|error| error.to_string())?;
    let config = ingest_service::config::Deployment::load(Some(&file), &[]).map_err(|error| error.to_string())?;
    usher_runtime::telemetry::init(&config.log)?;
    ingest_service::app::App::build(config)
        .await
        .map_err(|error| chain(&error))
}

async fn apply_app(
    salesforce: &Sim,
    targets: &[Target],
    kafka: &serde_json::Value,
    log: &serde_json::Value,
    folder: &Path,
) -> Result<apply_service::App, String> {
    let (token, policy) = (folder.join("token"), folder.join("policy"));
    std::fs::write(&token, TOKEN)
        .and_then(|()| std::fs::create_dir(&policy))
        .map_err(|error| error.to_string())?;
    for target in targets {
        let mut file = serde_json::json!({
            "target": target.name, "preset": "scim", "mode": "enforce", "sources": [salesforce.org_id()],
            "connection": { "baseUrl": target.sim.base_url(), "auth": { "bearerTokenFile": token } },
            "scope": { "filter": "all" }, "match": { "firstSync": "auto" }, "guard": { "windows": [] }, "pace": { "perSecond": 2000, "concurrency": 16 },
        });
        if let (Some(file), serde_json::Value::Object(own)) = (file.as_object_mut(), target.mapping.policy()) {
            file.extend(own);
        }
        std::fs::write(policy.join(format!("{}.yaml", target.name)), file.to_string())
            .map_err(|error| error.to_string())?;
    }
    let text = serde_json::json!({ "kafka": kafka, "log": log, "http": { "bind": "127.0.0.1:0" }, "policy": { "folder": policy } });
    let file = folder.join("apply.yaml");
    std::fs::write(&file, text.to_string()).map_err(|error| error.to_string())?;
    let config = apply_service::config::Config::load(Some(&file), None).map_err(|error| error.to_string())?;
    apply_service::App::build(config).await.map_err(|error| chain(&error))
}
