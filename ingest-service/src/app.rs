//! The service as a value: build (connect and bind, serve nothing), then run, then drain.

use std::{net::SocketAddr, sync::Arc};

use prometheus::Registry;
use thiserror::Error;
use tokio::sync::mpsc;
use usher_runtime::{
    access::Access,
    admin::{AdminServer, BindError, Readiness},
    shutdown::{CancellationToken, ServiceError, TaskSet},
};

use crate::{
    api::Api,
    config::Config,
    metrics::Metrics,
    pipeline::{self, Parts},
    salesforce::{
        auth::TokenSource,
        error::ApiError,
        pubsub::PubSub,
        rest::{Rest, http_client},
    },
    status::StatusHandle,
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
}

/// Connected and bound, not yet serving.
#[derive(Debug)]
pub struct App {
    parts: Parts,
    server: AdminServer,
    commands: mpsc::Receiver<pipeline::Command>,
    address: SocketAddr,
}

/// The parts without a server: what `check` needs.
///
/// # Errors
/// [`BuildError`].
pub fn parts(config: Config, registry: &Registry) -> Result<Parts, BuildError> {
    let salesforce = Arc::new(config.salesforce.clone());
    let http = http_client(&salesforce)?;
    let tokens = TokenSource::new(Arc::clone(&salesforce), http.clone());
    let pubsub = PubSub::new(Arc::new(config.pubsub.clone()), &salesforce)?;
    Ok(Parts {
        rest: Rest::new(salesforce, http, tokens),
        pubsub,
        metrics: Metrics::register(registry)?,
        status: StatusHandle::default(),
        readiness: Readiness::waiting_for(&["salesforce", "leadership"]),
        address: config.http.bind.clone(),
        config: Arc::new(config),
    })
}

impl App {
    /// Makes sure of the topics and binds.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let registry = Registry::new();
        let mut parts = parts(config, &registry)?;
        topics::topics(&parts.config.kafka).ensure().await?;
        let (commands_out, commands) = mpsc::channel(16);
        let access = Arc::new(Access::new(parts.config.http.tokens_file.clone()));
        let api = Api {
            status: parts.status.clone(),
            commands: commands_out,
            access,
        };
        let server = AdminServer::bind(&parts.config.http, parts.readiness.clone(), registry, api.routes()).await?;
        let address = server.address().map_err(prometheus_error)?;
        parts.address = address.to_string();
        Ok(Self {
            parts,
            server,
            commands,
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
    pub fn status(&self) -> StatusHandle {
        self.parts.status.clone()
    }

    /// Runs until `stop` is cancelled or a part fails.
    ///
    /// # Errors
    /// [`ServiceError`] naming the part.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServiceError> {
        let grace = self.parts.config.shutdown_grace;
        // The server outlives the work, so that probes and metrics see the drain.
        let serve_until = CancellationToken::new();
        let server = self.server.serve(serve_until.clone());
        let mut tasks = TaskSet::new(stop.clone());
        let (parts, commands) = (self.parts, self.commands);
        tasks.spawn("pipeline", async move { pipeline::run(parts, commands, stop).await });
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
