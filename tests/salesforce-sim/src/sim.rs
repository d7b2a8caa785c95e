//! A running simulator: the org behind its two listeners. Leaves out the command line (`main.rs`).

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum_server::{Handle, tls_rustls::RustlsConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming};

use crate::{
    config::SimConfig,
    org::Org,
    pubsub::{KEEPALIVE_MIN, Service, proto::pub_sub_server::PubSubServer},
    rest, tls,
};

/// Open calls get this long at the end.
const GRACE: Duration = Duration::from_millis(500);

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A listener could not be opened.
    #[error("listening on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("making certificates")]
    Certificates(#[from] rcgen::Error),
    /// The authority's certificate could not be written.
    #[error("writing {path}")]
    Write {
        /// The configured file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS could not be set up.
    #[error("setting up TLS of the REST listener")]
    HttpTls(#[source] io::Error),
    /// The gRPC server refused its settings.
    #[error("setting up the gRPC listener")]
    Grpc(#[from] tonic::transport::Error),
}

/// A simulated org that serves. Dropping it without [`Sim::shutdown`] stops it too, without waiting.
#[derive(Debug)]
pub struct Sim {
    org: Arc<Org>,
    http_url: String,
    grpc_url: String,
    ca_pem: Option<String>,
    access_token: String,
    http: Handle<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sim {
    /// Builds the org and serves it.
    ///
    /// # Errors
    /// When an address is taken or the certificate file cannot be written.
    pub async fn start(mut config: SimConfig) -> Result<Self, SimError> {
        // A second installation is refused and harmless: the provider is the same in every crate of the workspace.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        config.keepalive = config.keepalive.max(KEEPALIVE_MIN);
        let certificates = match &config.tls {
            None => None,
            Some(settings) => {
                let certificates = tls::generate()?;
                if let Some(path) = &settings.ca_out {
                    std::fs::write(path, &certificates.ca).map_err(|source| SimError::Write {
                        path: path.clone(),
                        source,
                    })?;
                }
                Some(certificates)
            }
        };
        let http_listener = listen(config.http)?;
        let grpc_listener = listen(config.grpc)?;
        let address = |listener: &TcpListener, configured: SocketAddr| listener.local_addr().unwrap_or(configured);
        let (scheme, host) = if certificates.is_some() {
            ("https", "localhost")
        } else {
            ("http", "127.0.0.1")
        };
        let url = |address: SocketAddr| {
            let host = if address.ip().is_loopback() || address.ip().is_unspecified() {
                host.to_owned()
            } else {
                address.ip().to_string()
            };
            format!("{scheme}://{host}:{}", address.port())
        };
        let http_url = url(address(&http_listener, config.http));
        let grpc_url = url(address(&grpc_listener, config.grpc));
        let instance_url = config.instance_url.clone().unwrap_or_else(|| http_url.clone());

        let org = tokio::task::spawn_blocking(move || Org::new(config))
            .await
            .expect("building the org does not panic");
        let org = Arc::new(org);
        org.set_instance_url(instance_url);
        let integration = Arc::clone(&org.state().integration_id);
        let access_token = org.sessions().open(integration, org.now_ms());

        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let http = Handle::new();
        let router = rest::router(Arc::clone(&org)).into_make_service();
        match &certificates {
            None => {
                let server = axum_server::from_tcp(http_listener)
                    .map_err(SimError::HttpTls)?
                    .handle(http.clone());
                tasks.spawn(async move { report("REST", server.serve(router).await) });
            }
            Some(pem) => {
                let tls = RustlsConfig::from_pem(pem.server.clone().into_bytes(), pem.server_key.clone().into_bytes())
                    .await
                    .map_err(SimError::HttpTls)?;
                let server = axum_server::from_tcp_rustls(http_listener, tls)
                    .map_err(SimError::HttpTls)?
                    .handle(http.clone());
                tasks.spawn(async move { report("REST", server.serve(router).await) });
            }
        }
        let mut grpc = Server::builder();
        if let Some(pem) = &certificates {
            grpc =
                grpc.tls_config(ServerTlsConfig::new().identity(Identity::from_pem(&pem.server, &pem.server_key)))?;
        }
        // Without it an answer of several frames waits 40 ms for the acknowledgement of its first.
        let incoming = tokio::net::TcpListener::from_std(grpc_listener)
            .map(|listener| TcpIncoming::from(listener).with_nodelay(Some(true)))
            .map_err(|source| SimError::Listen {
                address: org.config.grpc,
                source,
            })?;
        let service = Service::new(Arc::clone(&org), tasks.clone(), stop.clone());
        let stopped = stop.clone();
        let serving = grpc
            .add_service(PubSubServer::new(service))
            .serve_with_incoming_shutdown(incoming, stopped.cancelled_owned());
        tasks.spawn(async move { report("Pub/Sub API", serving.await) });
        Ok(Self {
            org,
            http_url,
            grpc_url,
            ca_pem: certificates.map(|pem| pem.ca),
            access_token,
            http,
            stop,
            tasks,
        })
    }

    /// Base address of REST and OAuth, without a slash at the end.
    pub fn http_url(&self) -> &str {
        &self.http_url
    }

    /// Address of the Pub/Sub API, with its scheme.
    pub fn grpc_url(&self) -> &str {
        &self.grpc_url
    }

    /// The authority to trust (PEM), with TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// 18 characters.
    pub fn org_id(&self) -> String {
        self.org.state().org_id.to_string()
    }

    /// Consumer key of the app.
    pub fn client_id(&self) -> &str {
        &self.org.client_id
    }

    /// Consumer secret of the app.
    pub fn client_secret(&self) -> &str {
        &self.org.client_secret
    }

    /// `Username` of the integration user.
    pub fn integration_username(&self) -> String {
        let user = self.org.user(&self.org.integration_user_id());
        user.and_then(|user| user.text("Username").map(ToOwned::to_owned))
            .unwrap_or_default()
    }

    /// A token of the integration user that is ready for use.
    pub fn access_token(&self) -> &str {
        &self.access_token
    }

    /// A refresh token of the integration user, as the web server flow would have given.
    pub fn issue_refresh_token(&self) -> String {
        let user = Arc::clone(&self.org.state().integration_id);
        self.org.sessions().issue_refresh(user)
    }

    /// The org behind the listeners.
    pub fn org(&self) -> Arc<Org> {
        Arc::clone(&self.org)
    }

    /// Stops serving: streams end with `UNAVAILABLE`, open calls get half a second.
    pub async fn shutdown(self) {
        self.http.graceful_shutdown(Some(GRACE));
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE * 4, self.tasks.wait()).await.is_err() {
            tracing::warn!("the simulator stopped with open calls");
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.http.shutdown();
        self.stop.cancel();
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, SimError> {
    let failed = |source| SimError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn report<E: std::error::Error>(listener: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(listener, error = %error, "listener ended");
    }
}
