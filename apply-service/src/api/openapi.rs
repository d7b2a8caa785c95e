//! The OpenAPI document, made from the list of routes: what is served is described, and nothing else.

use std::collections::BTreeMap;

use axum::Json;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{ENDPOINTS, Endpoint};

/// The schema of a body.
pub(super) type Shape = fn() -> Value;

/// The schema of a type.
pub(super) fn shape<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
    }
    schema
}

pub(super) async fn document() -> Json<Value> {
    Json(describe())
}

/// The whole document.
pub(super) fn describe() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for endpoint in ENDPOINTS {
        let operations = paths.entry(endpoint.path).or_default();
        operations.insert(endpoint.method.to_owned(), operation(endpoint));
    }
    for (path, summary, answers) in [
        (
            "/healthz",
            "The process works",
            json!({ "200": { "description": "ok" } }),
        ),
        (
            "/readyz",
            "The replica does its work",
            json!({ "200": { "description": "ready" }, "503": { "description": "what is wrong" } }),
        ),
        (
            "/metrics",
            "Prometheus text",
            json!({ "200": { "description": "metrics" } }),
        ),
    ] {
        let operation = json!({ "summary": summary, "responses": answers });
        paths.entry(path).or_default().insert("get".to_owned(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher apply-service",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Any replica answers. A refusal has the form {\"error\": words}.",
        },
        "components": { "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer" },
            "certificate": { "type": "mutualTLS" },
        } },
        "paths": paths,
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = endpoint.parameters.iter().map(
        |(name, says)| json!({ "name": name, "in": "query", "description": says, "schema": { "type": "string" } }),
    );
    let parameters: Vec<Value> = in_path.chain(in_query).collect();

    let answer = json!({ "description": endpoint.answer, "content": { "application/json": { "schema": { "type": "object" } } } });
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answer);
    let mut refusals: Vec<(u16, &str)> = vec![(503, "not now: try again")];
    if endpoint.role.is_some() {
        refusals.extend([
            (401, "no or an unknown token or certificate"),
            (403, "the role does not reach"),
        ]);
    }
    if !parameters.is_empty() || endpoint.body.is_some() {
        refusals.push((400, "what is wrong with the request"));
    }
    if endpoint.path.contains('{') || endpoint.body.is_some() {
        refusals.push((404, "no such target, person or command"));
    }
    if endpoint.method != "get" {
        refusals.extend([
            (413, "the body is too long"),
            (429, "too many at once: try again later"),
        ]);
    }
    for (status, says) in refusals.iter().chain(endpoint.answers) {
        let entry = responses.entry(status.to_string()).or_insert_with(|| json!({}));
        entry["description"] = json!(says);
    }

    let mut operation = json!({ "summary": endpoint.summary, "responses": responses });
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(role) = endpoint.role {
        operation["security"] = json!([{ "token": [] }, { "certificate": [] }]);
        operation["x-usher-role"] = json!(role.as_str());
    }
    if let Some(body) = endpoint.body {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": body() } } });
    }
    operation
}
