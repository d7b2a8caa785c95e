//! The service as a value: build (connect and bind, serve nothing), then run, then drain. One process runs every org of
//! the configuration, each with parts of its own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use prometheus::Registry;
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::Instrument as _;
use usher_runtime::{
    access::Access,
    admin::{AdminServer, BindError, Readiness},
    shutdown::{CancellationToken, ServiceError, TaskSet},
};

use crate::{
    api::{Api, Forwarder, OrgApi},
    config::{Deployment, OrgConfig},
    logic::pace::Pace,
    metrics::Metrics,
    pipeline::{self, Claims, Parts},
    salesforce::{
        auth::TokenSource,
        error::ApiError,
        limits::Quota,
        pubsub::PubSub,
        rest::{Rest, http_client},
    },
    status::{ServiceStatusHandle, StatusHandle},
    topics,
};

/// The service could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Something of Salesforce's part of the configuration cannot be used.
    #[error(transparent)]
    Salesforce(#[from] ApiError),
    /// The address is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A metric is there twice.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// A topic is missing or wrong, or the broker does not answer.
    #[error(transparent)]
    Topic(#[from] usher_runtime::kafka::TopicError),
    /// The client for the way from replica to replica.
    #[error("cannot make the client that forwards to the leader")]
    Forwarder(#[from] reqwest::Error),
}

/// One org: its parts, and what operators ask of its leader.
#[derive(Debug)]
struct OrgApp {
    parts: Parts,
    commands: mpsc::Receiver<pipeline::Command>,
}

/// Connected and bound, not yet serving.
#[derive(Debug)]
pub struct App {
    deployment: Deployment,
    orgs: Vec<OrgApp>,
    status: ServiceStatusHandle,
    server: AdminServer,
    address: SocketAddr,
}

/// What an org must have before its replica is ready.
const CONDITIONS: &[&str] = &["salesforce", "leadership"];

/// The parts of every org without a server: what `check` needs.
///
/// # Errors
/// [`BuildError`].
pub fn parts(deployment: &Deployment, readiness: &Readiness, registry: &Registry) -> Result<Vec<Parts>, BuildError> {
    let claims = Claims::default();
    let orgs = deployment.orgs.iter();
    orgs.map(|org| org_parts(org, &claims, readiness, registry)).collect()
}

fn org_parts(
    org: &OrgConfig,
    claims: &Claims,
    readiness: &Readiness,
    registry: &Registry,
) -> Result<Parts, BuildError> {
    let (name, config) = (org.label(), org.config.clone());
    let status = StatusHandle::of(&name);
    status.update(|status| status.org_id = config.salesforce.org_id.map(|id| id.to_string()));
    let salesforce = Arc::new(config.salesforce.clone());
    let http = http_client(&salesforce)?;
    let tokens = TokenSource::new(Arc::clone(&salesforce), http.clone());
    let pubsub = PubSub::new(Arc::new(config.pubsub.clone()), &salesforce)?;
    Ok(Parts {
        rest: Rest::new(salesforce, http, tokens, Quota::new(&config.quota)),
        pubsub,
        metrics: Metrics::register(registry, &name)?,
        status,
        readiness: match &org.name {
            Some(name) => readiness.part(name, CONDITIONS),
            None => {
                for condition in CONDITIONS {
                    readiness.unmet(condition, "not yet");
                }
                readiness.clone()
            }
        },
        address: config.http.bind.clone(),
        report_pace: Arc::new(Mutex::new(Pace::new(config.snapshot.report.hourly_runs))),
        config: Arc::new(config),
        claims: claims.clone(),
        name,
    })
}

impl App {
    /// Makes sure of the topics and binds.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(deployment: Deployment) -> Result<Self, BuildError> {
        let (registry, readiness) = (Registry::new(), Readiness::default());
        let all = parts(&deployment, &readiness, &registry)?;
        topics::topics(&deployment.kafka).ensure().await?;
        let status = ServiceStatusHandle::new(all.iter().map(|parts| parts.status.clone()).collect());
        let (mut orgs, mut apis) = (Vec::new(), Vec::new());
        for parts in all {
            let (commands_out, commands) = mpsc::channel(16);
            apis.push(OrgApi {
                name: parts.name.clone(),
                status: parts.status.clone(),
                commands: commands_out,
            });
            orgs.push(OrgApp { parts, commands });
        }
        let api = Api {
            orgs: Arc::new(apis),
            status: status.clone(),
            access: Arc::new(Access::new(deployment.http.tokens_file.clone())),
            forwarder: Forwarder::new()?,
        };
        let server = AdminServer::bind(&deployment.http, readiness, registry, api.routes()).await?;
        let address = server.address().map_err(prometheus_error)?;
        for org in &mut orgs {
            org.parts.address = deployment.http.advertised(address);
        }
        Ok(Self {
            deployment,
            orgs,
            status,
            server,
            address,
        })
    }

    /// Where the API answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the service says about itself, also while it runs.
    #[must_use]
    pub fn status(&self) -> ServiceStatusHandle {
        self.status.clone()
    }

    /// Runs until `stop` is cancelled or a part fails.
    ///
    /// # Errors
    /// [`ServiceError`] naming the part.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServiceError> {
        let grace = self.deployment.shutdown_grace;
        // The server outlives the work, so that probes and metrics see the drain.
        let serve_until = CancellationToken::new();
        let server = self.server.serve(serve_until.clone());
        let mut tasks = TaskSet::new(stop.clone());
        let several = self.orgs.len() > 1;
        for OrgApp { parts, commands } in self.orgs {
            // With several orgs every line of the log says whose it is.
            let span = if several {
                tracing::info_span!("org", name = parts.name)
            } else {
                tracing::Span::none()
            };
            let stop = stop.clone();
            let run = async move { pipeline::run(parts, commands, stop).await };
            tasks.spawn("pipeline", run.instrument(span));
        }
        let mut serving = TaskSet::new(serve_until.clone());
        serving.spawn("admin", server);
        let result = tokio::select! {
            result = tasks.run(grace) => result,
            result = serving.run(grace) => return result,
        };
        serve_until.cancel();
        result
    }
}

fn prometheus_error(error: std::io::Error) -> BuildError {
    BuildError::Metrics(prometheus::Error::Msg(error.to_string()))
}
