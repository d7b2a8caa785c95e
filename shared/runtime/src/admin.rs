//! The HTTP server of a service: `/healthz`, `/readyz`, `/metrics`, and whatever the service adds.
//!
//! *Healthy* means that the process should not be restarted; *ready* that it does its work. What keeps it from being
//! ready is said in words.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus::{Encoder, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::shutdown::CancellationToken;

/// Where a service listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub bind: String,
    /// File with the hashes of accepted tokens; see [`crate::access`].
    #[serde(default)]
    pub tokens_file: Option<std::path::PathBuf>,
}

/// The conditions of being ready, each with what is wrong. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Readiness {
    /// Ready only when every named condition has been met.
    #[must_use]
    pub fn waiting_for(conditions: &[&'static str]) -> Self {
        let waiting = conditions
            .iter()
            .map(|name| (*name, Some("not yet".to_owned())))
            .collect();
        Self(Arc::new(Mutex::new(waiting)))
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, why);
    }
    /// What is wrong; empty when ready.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<&'static str, String> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions
            .iter()
            .filter_map(|(name, why)| why.clone().map(|why| (*name, why)))
            .collect()
    }
}

/// The server could not listen.
#[derive(Debug, Error)]
#[error("cannot listen on {bind}; choose another http.bind")]
pub struct BindError {
    bind: String,
    #[source]
    source: std::io::Error,
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    router: Router,
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
        let listener = TcpListener::bind(&config.bind).await.map_err(|source| BindError {
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
            BTreeMap::from([("stream", "token refused".to_owned())])
        );
        readiness.met("stream");
        assert!(readiness.problems().is_empty());
    }
}
