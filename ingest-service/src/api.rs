//! The HTTP API: status, and asking for a re-read.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tracing::info;
use usher_contract::UserId;
use usher_runtime::access::{Access, AccessError, Role};

use crate::{
    pipeline::Command,
    status::{Role as ReplicaRole, StatusHandle},
};

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Api {
    /// What the service says about itself.
    pub status: StatusHandle,
    /// To the leader's loop.
    pub commands: mpsc::Sender<Command>,
    /// Who may do what.
    pub access: Arc<Access>,
}

/// A request to read again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReimportRequest {
    /// One user; everyone when absent. 15 or 18 characters.
    #[serde(default)]
    pub user: Option<UserId>,
    /// The size of the next snapshot is right whatever it is.
    #[serde(default)]
    pub accept_size: bool,
}

impl Api {
    /// The routes below `/v1`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/reimport", post(reimport))
            .route("/v1/openapi.json", get(openapi))
            .with_state(self)
    }

    fn actor(&self, headers: &HeaderMap, from: SocketAddr, needed: Role) -> Result<String, Box<Response>> {
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.access.check(authorization, from.ip(), needed).map_err(|error| {
            let status = match error {
                AccessError::Unknown => StatusCode::UNAUTHORIZED,
                AccessError::Role { .. } | AccessError::NotConfigured => StatusCode::FORBIDDEN,
                AccessError::File => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Box::new(refuse(status, &error.to_string()))
        })
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

async fn status(State(api): State<Api>, ConnectInfo(from): ConnectInfo<SocketAddr>, headers: HeaderMap) -> Response {
    match api.actor(&headers, from, Role::Viewer) {
        Ok(_) => Json(api.status.get()).into_response(),
        Err(refusal) => *refusal,
    }
}

async fn reimport(
    State(api): State<Api>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let actor = match api.actor(&headers, from, Role::Operator) {
        Ok(actor) => actor,
        Err(refusal) => return *refusal,
    };
    let request: ReimportRequest = if body.is_empty() {
        ReimportRequest::default()
    } else {
        match serde_json::from_slice(&body) {
            Ok(request) => request,
            Err(error) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    &format!("the body is {{\"user\": ID, \"acceptSize\": BOOL}}: {error}"),
                );
            }
        }
    };
    let here = api.status.get();
    if here.role != ReplicaRole::Leader {
        let leader = here.leader.map_or_else(
            || "no replica leads yet".to_owned(),
            |leader| format!("ask the leader at {leader}"),
        );
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("this replica is a standby; {leader}"),
        );
    }
    info!(
        actor,
        user.id = request.user.map(tracing::field::display),
        "reimport was asked for"
    );
    let (answer, answered) = oneshot::channel();
    let command = Command::Reimport {
        user: request.user,
        accept_size: request.accept_size,
        answer,
    };
    let sent = tokio::time::timeout(Duration::from_secs(5), api.commands.send(command)).await;
    let said = match sent {
        Ok(Ok(())) => tokio::time::timeout(Duration::from_secs(5), answered)
            .await
            .ok()
            .and_then(Result::ok),
        Ok(Err(_)) | Err(_) => None,
    };
    match said {
        Some(Ok(words)) => (StatusCode::ACCEPTED, Json(json!({ "result": words }))).into_response(),
        Some(Err(why)) => refuse(StatusCode::SERVICE_UNAVAILABLE, &why),
        None => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the leader is busy taking over or shutting down; try again",
        ),
    }
}

async fn openapi() -> impl IntoResponse {
    Json(json!({
        "openapi": "3.1.0",
        "info": { "title": "Usher ingest-service", "version": env!("CARGO_PKG_VERSION") },
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        "paths": {
            "/v1/status": { "get": { "summary": "What this replica does and what is wrong, in words",
                "responses": { "200": { "description": "status" } } } },
            "/v1/reimport": { "post": { "summary": "Read everyone, or one user, again", "security": [{ "token": [] }],
                "requestBody": { "content": { "application/json": { "schema": { "type": "object", "additionalProperties": false,
                    "properties": { "user": { "type": "string" }, "acceptSize": { "type": "boolean" } } } } } },
                "responses": { "202": { "description": "accepted; the result says whether it began or joined one under way" },
                               "401": { "description": "no or unknown token" }, "403": { "description": "role too low" },
                               "503": { "description": "not the leader" } } } },
            "/healthz": { "get": { "summary": "The process works", "responses": { "200": { "description": "ok" } } } },
            "/readyz": { "get": { "summary": "The replica does its work", "responses": { "200": { "description": "ready" }, "503": { "description": "what is wrong" } } } },
            "/metrics": { "get": { "summary": "Prometheus text", "responses": { "200": { "description": "metrics" } } } }
        }
    }))
}
