//! The HTTP interface besides health and metrics: what the service is doing. Reading only; numbers and ids, no people.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use usher_runtime::access::{Access, AccessError, Role};

use crate::status::{ServiceStatus, StatusHandle};

/// The routes.
pub(crate) fn routes(status: StatusHandle, access: Arc<Access>) -> Router {
    Router::new()
        .route("/v1/status", get(service))
        .route("/v1/targets", get(targets))
        .layer(from_fn_with_state(access, viewers_only))
        .with_state(status)
}

/// Without configured tokens only this machine may look; health and metrics stay open to whoever watches them.
async fn viewers_only(
    State(access): State<Arc<Access>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match access.check(token, from.ip(), Role::Viewer) {
        Ok(_) => next.run(request).await,
        Err(error) => {
            let status = match error {
                AccessError::Unknown => StatusCode::UNAUTHORIZED,
                AccessError::Role { .. } | AccessError::NotConfigured => StatusCode::FORBIDDEN,
                AccessError::File => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, Json(json!({ "error": error.to_string() }))).into_response()
        }
    }
}

async fn service(State(status): State<StatusHandle>) -> Json<ServiceStatus> {
    Json(status.snapshot())
}

async fn targets(State(status): State<StatusHandle>) -> Json<Value> {
    let snapshot = status.snapshot();
    let targets: Vec<Value> = snapshot
        .targets
        .iter()
        .map(|(name, target)| {
            let lane = target.lane.as_ref();
            json!({
                "target": name,
                "mode": target.mode,
                "state": target.state,
                "pending": lane.map(|lane| lane.pending),
                "links": lane.map(|lane| lane.links),
                "circuit": lane.map(|lane| if lane.circuit.is_some() { "open" } else { "closed" }),
            })
        })
        .collect();
    Json(json!({ "targets": targets }))
}
