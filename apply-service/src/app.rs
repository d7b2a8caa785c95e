//! The service as a value: built (files read, topics checked, address bound), then run until it is told to stop.

use std::{net::SocketAddr, sync::Arc};

use prometheus::Registry;
use thiserror::Error;
use tracing::{info, warn};
use usher_runtime::{
    access::Access,
    admin::{AdminServer, BindError, Readiness},
    kafka::TopicError,
    shutdown::{CancellationToken, ServiceError, TaskSet},
};

use crate::{
    api::{self, Forwarder, Parts},
    commands::Commands,
    config::Config,
    connector::http::HttpError,
    directory::Directory,
    inquiry::Lanes,
    metrics::Metrics,
    notifier::{self, Notifier},
    policy::{self, Policy, PolicyError},
    reconciler::{Carrier, Executor},
    status::StatusHandle,
    targets, topics,
    users::Users,
};

const USERS: &str = "users";

/// Why the service cannot start.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The policy folder.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Kafka.
    #[error(transparent)]
    Topics(#[from] TopicError),
    /// The address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A target's HTTP client.
    #[error("target {target} cannot be reached as configured")]
    Target {
        /// Which.
        target: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// The way to other replicas.
    #[error(transparent)]
    Forwarder(#[from] api::ForwarderError),
    /// The mail server or an endpoint.
    #[error("notices cannot be sent as configured: {0}")]
    Notifier(String),
    /// What targets want to be told is not configured.
    #[error("{}", .0.join("\n"))]
    Notify(Vec<String>),
    /// The metrics.
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The socket.
    #[error("cannot tell the address of the HTTP server")]
    Address(#[from] std::io::Error),
}

/// The service, ready to run.
pub struct App {
    config: Config,
    policy: Policy,
    executors: Vec<Executor>,
    users: Arc<Users>,
    directory: Arc<Directory>,
    lanes: Lanes,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    server: AdminServer,
    address: SocketAddr,
    status: StatusHandle,
}

impl App {
    /// Reads the policy, checks or makes the topics, binds the address. Serves and writes nothing yet.
    ///
    /// # Errors
    /// [`BuildError`], each with its way out.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let policy = policy::load(&config.policy.folder)?;
        Self::build_with(config, policy).await
    }

    /// As [`App::build`] with a policy that was read already.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build_with(config: Config, policy: Policy) -> Result<Self, BuildError> {
        let registry = Registry::new();
        let metrics = Arc::new(Metrics::new(&registry)?);
        let lacking = notifier::lacking(&policy, &config);
        if !lacking.is_empty() {
            return Err(BuildError::Notify(lacking));
        }
        let notifier = Arc::new(Notifier::new(&config).map_err(BuildError::Notifier)?);
        let mut executors = Vec::new();
        for (name, target) in &policy.targets {
            let executor = targets::executor(target, &metrics, &notifier);
            executors.push(executor.map_err(|source| BuildError::Target {
                target: name.to_string(),
                source,
            })?);
        }
        let warnings: Vec<String> = config.warnings().into_iter().chain(policy.warnings.clone()).collect();
        for warning in &warnings {
            warn!("{warning}");
        }
        topics::all(&config.kafka).ensure().await?;

        let (users, readiness) = (Arc::new(Users::default()), Readiness::waiting_for(&[USERS]));
        let (directory, lanes) = (Arc::<Directory>::default(), Lanes::default());
        let status = StatusHandle::new(
            Arc::clone(&users),
            Arc::clone(&directory),
            warnings,
            Arc::clone(&metrics),
            config.alarms,
        );
        for (name, target) in &policy.targets {
            status.declare(name, target.policy.mode.as_str());
        }
        for executor in &executors {
            if let Carrier::Http(sender) = &executor.carrier {
                status.authorizes(&executor.policy.name, Arc::clone(sender));
            }
        }
        let routes = api::routes(Parts {
            status: status.clone(),
            access: Access::configured(&config.http),
            users: Arc::clone(&users),
            directory: Arc::clone(&directory),
            lanes: lanes.clone(),
            commands: Commands::new(&config.kafka, config.commands),
            policy: Arc::new(policy.clone()),
            executors: executors
                .iter()
                .map(|executor| (executor.policy.name.clone(), executor.clone()))
                .collect(),
            kafka: config.kafka.clone(),
            forwarder: Forwarder::new(&config.http)?,
        });
        let server = AdminServer::bind(&config.http, readiness.clone(), registry, routes).await?;
        let address = server.address()?;
        let scheme = if config.http.tls.is_some() { "https://" } else { "" };
        let told = format!("{scheme}{}", config.http.advertised(address));
        let name = &config.instance.name;
        status.name(if name.is_empty() { told.clone() } else { name.clone() });
        status.listens_at(told);
        Ok(Self {
            config,
            policy,
            executors,
            users,
            directory,
            lanes,
            metrics,
            readiness,
            server,
            address,
            status,
        })
    }

    /// Where the service listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that tells what the service is doing, also while it runs.
    #[must_use]
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Runs until `stop` is cancelled, then finishes what is under way and hands the targets back.
    ///
    /// # Errors
    /// The first part that failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServiceError> {
        let grace = self.config.shutdown.grace();
        let mut tasks = TaskSet::new(stop.clone());
        // Users and the HTTP server outlive the targets: a lane that drains still reads the one, people the other.
        let last = CancellationToken::new();
        info!(address = %self.address, targets = self.policy.targets.len(), "apply-service starts");
        let kafka = self.config.kafka.clone();
        tasks.spawn(
            "users",
            Arc::clone(&self.users).follow(kafka.clone(), Arc::clone(&self.metrics), last.clone()),
        );
        tasks.spawn(
            "directory",
            Arc::clone(&self.directory).follow(kafka.clone(), last.clone()),
        );
        tasks.spawn("admin", self.server.serve(last.clone()));
        let handed_back = CancellationToken::new();
        tasks.spawn("readiness", {
            let (users, readiness, stop) = (Arc::clone(&self.users), self.readiness.clone(), stop.clone());
            let handed_back = handed_back.clone();
            async move {
                tokio::select! {
                    () = users.caught_up() => readiness.met(USERS),
                    () = stop.cancelled() => {}
                }
                stop.cancelled().await;
                readiness.unmet(USERS, "shutting down");
                handed_back.cancelled().await;
                last.cancel();
                Ok::<_, std::io::Error>(())
            }
        });
        tasks.spawn("targets", async move {
            let _when_over = handed_back.drop_guard();
            targets::run(self.executors, kafka, self.users, self.status, self.lanes, stop).await
        });
        tasks.run(grace).await
    }
}
