//! The HTTP server of a service: `/healthz`, `/readyz`, `/metrics`, and whatever the service adds.
//!
//! *Healthy* means that the process should not be restarted; *ready* that it does its work. What keeps it from being
//! ready is said in words.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus::{Encoder, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::{
    shutdown::CancellationToken,
    tls::{Tls, TlsConfig, TlsError},
};

/// Where a service listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub bind: String,
    /// Where other replicas reach this one: `host:port`, or a host to which the bound port is added. By default the bound
    /// address.
    #[serde(default)]
    pub advertise: Option<String>,
    /// File with the hashes of accepted tokens; see [`crate::access`].
    #[serde(default)]
    pub tokens_file: Option<std::path::PathBuf>,
    /// HTTPS, and clients known by their certificates; plain HTTP when absent.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
}

impl HttpConfig {
    /// The address that other replicas are told, `host:port`; `bound` is where the server listens.
    #[must_use]
    pub fn advertised(&self, bound: SocketAddr) -> String {
        let Some(host) = self.advertise.as_deref().map(str::trim).filter(|host| !host.is_empty()) else {
            return bound.to_string();
        };
        if let Ok(bare) = host.parse::<Ipv6Addr>() {
            return SocketAddr::new(IpAddr::V6(bare), bound.port()).to_string();
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
        if has_port {
            host.to_owned()
        } else {
            format!("{host}:{}", bound.port())
        }
    }

    /// Why other replicas could not reach this one, and the way out.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let everywhere = self
            .bind
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.ip().is_unspecified());
        match self.advertise.as_deref().map(str::trim) {
            None | Some("") if everywhere => Some(format!(
                "http.bind: {} is no address that other replicas could reach; set http.advertise to this pod's address, for example through \
                 USHER__HTTP__ADVERTISE",
                self.bind
            )),
            Some(host) if host.contains('/') || host.contains(char::is_whitespace) => {
                Some("http.advertise: give host:port, without scheme and path".to_owned())
            }
            _ => None,
        }
    }
}

/// The conditions of being ready, each with what is wrong. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<String, Option<String>>>>,
    /// Before the names of conditions; empty for a service that does one thing.
    scope: String,
}

impl Readiness {
    /// Ready only when every named condition has been met.
    #[must_use]
    pub fn waiting_for(conditions: &[&'static str]) -> Self {
        let readiness = Self::default();
        for name in conditions {
            readiness.unmet(name, "not yet");
        }
        readiness
    }
    /// The same readiness, with further conditions of one of several equal parts: `<part>/<name>`.
    #[must_use]
    pub fn part(&self, part: &str, conditions: &[&'static str]) -> Self {
        let readiness = Self {
            conditions: Arc::clone(&self.conditions),
            scope: format!("{}{part}/", self.scope),
        };
        for name in conditions {
            readiness.unmet(name, "not yet");
        }
        readiness
    }
    /// A condition is met.
    pub fn met(&self, name: &'static str) {
        self.set(name, None);
    }
    /// A condition is not met, and why.
    pub fn unmet(&self, name: &'static str, why: impl Into<String>) {
        self.set(name, Some(why.into()));
    }
    fn set(&self, name: &'static str, why: Option<String>) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.insert(format!("{}{name}", self.scope), why);
    }
    /// What is wrong; empty when ready.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<String, String> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions
            .iter()
            .filter_map(|(name, why)| why.clone().map(|why| (name.clone(), why)))
            .collect()
    }
}

/// The server could not listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address.
    #[error("cannot listen on {bind}; choose another http.bind")]
    Address {
        /// As configured.
        bind: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate.
    #[error("cannot serve HTTPS")]
    Tls(#[from] TlsError),
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    registry: Registry,
}

impl AdminServer {
    /// Binds. `routes` are the service's own.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        config: &HttpConfig,
        readiness: Readiness,
        registry: Registry,
        routes: Router,
    ) -> Result<Self, BindError> {
        let tls = config.tls.as_ref().map(Tls::new).transpose()?;
        let listener = TcpListener::bind(&config.bind)
            .await
            .map_err(|source| BindError::Address {
                bind: config.bind.clone(),
                source,
            })?;
        let own = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Shared { readiness, registry });
        Ok(Self {
            listener,
            router: own.merge(routes),
            tls,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled.
    ///
    /// # Errors
    /// When accepting fails.
    pub async fn serve(self, stop: CancellationToken) -> std::io::Result<()> {
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        if let Some(tls) = self.tls {
            return tls.serve(self.listener.into_std()?, service, stop).await;
        }
        axum::serve(self.listener, service)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    }
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let problems = shared.readiness.problems();
    if problems.is_empty() {
        (StatusCode::OK, Json(json!({ "ready": true })))
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "ready": false, "problems": problems })),
        )
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&shared.registry.gather(), &mut text) {
        Ok(()) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_is_met() {
        let readiness = Readiness::waiting_for(&["leader", "stream"]);
        assert_eq!(readiness.problems().len(), 2);
        readiness.met("leader");
        readiness.unmet("stream", "token refused");
        assert_eq!(
            readiness.problems(),
            BTreeMap::from([("stream".to_owned(), "token refused".to_owned())])
        );
        readiness.met("stream");
        assert!(readiness.problems().is_empty());
    }

    #[test]
    fn parts_are_named_and_count_for_the_whole() {
        let whole = Readiness::default();
        let (one, other) = (
            whole.part("production", &["stream"]),
            whole.part("sandbox", &["stream"]),
        );
        one.met("stream");
        other.unmet("stream", "refused");
        assert_eq!(
            whole.problems(),
            BTreeMap::from([("sandbox/stream".to_owned(), "refused".to_owned())])
        );
    }

    #[test]
    fn an_address_that_nobody_could_reach_is_refused() {
        let config = |bind: &str, advertise: Option<&str>| HttpConfig {
            bind: bind.to_owned(),
            advertise: advertise.map(str::to_owned),
            tokens_file: None,
            tls: None,
        };
        for bind in ["0.0.0.0:8081", "[::]:8081"] {
            let problem = config(bind, None).problem().unwrap();
            assert!(problem.contains("USHER__HTTP__ADVERTISE"), "{problem}");
            assert_eq!(config(bind, Some("10.0.0.3:8081")).problem(), None);
        }
        assert_eq!(config("127.0.0.1:0", None).problem(), None);
        assert!(config("0.0.0.0:1", Some("http://pod/")).problem().is_some());
        let bound: SocketAddr = "0.0.0.0:8081".parse().unwrap();
        for (advertise, told) in [
            ("10.0.0.3:9", "10.0.0.3:9"),
            ("10.0.0.3", "10.0.0.3:8081"),
            ("pod-1.ingest", "pod-1.ingest:8081"),
            ("fd00::1", "[fd00::1]:8081"),
            ("[fd00::1]:9", "[fd00::1]:9"),
            ("[fd00::1]", "[fd00::1]:8081"),
        ] {
            assert_eq!(config("0.0.0.0:8081", Some(advertise)).advertised(bound), told);
        }
        assert_eq!(config("127.0.0.1:0", None).advertised(bound), "0.0.0.0:8081");
    }
}
