//! The OpenAPI document, made from the list of routes and the Rust types of the bodies: it cannot say anything else than
//! the service does.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{Endpoint, Erred};

/// How a body looks.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// The shape of a type.
pub(super) fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The document. Routes of the admin server are added by name: they have no types.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let error = json!({ "application/json": { "schema": generator.subschema_for::<Erred>() } });
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut generator, &error);
        if let Value::Object(path) = paths.entry(endpoint.path).or_insert_with(|| json!({})) {
            path.insert(endpoint.method.to_owned(), operation);
        }
    }
    let plain = |summary: &str, answers: Value| json!({ "get": { "summary": summary, "responses": answers } });
    let well = json!({ "200": { "description": "yes" } });
    paths.insert("/healthz".to_owned(), plain("The process works", well.clone()));
    let ready = json!({ "200": { "description": "yes" }, "503": { "description": "no, and what is wrong, by org" } });
    paths.insert("/readyz".to_owned(), plain("The replica does its work", ready));
    paths.insert("/metrics".to_owned(), plain("Prometheus text", well));
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Usher ingest-service", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator, error: &Value) -> Value {
    let mut parameters: Vec<Value> = endpoint
        .path
        .split('/')
        .filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if endpoint.of_org {
        parameters.push(json!({ "name": "org", "in": "query", "schema": { "type": "string" },
            "description": "name or id of the org; needed when there are several" }));
    }
    parameters.extend(endpoint.parameters.iter().map(
        |(name, says)| json!({ "name": name, "in": "query", "schema": { "type": "string" }, "description": says }),
    ));
    let mut responses = Map::new();
    for (status, says) in endpoint.answers {
        let mut response = json!({ "description": says });
        if *status >= 400 {
            response["content"] = error.clone();
        } else if let Some(shape) = endpoint.answer {
            response["content"] = json!({ "application/json": { "schema": shape(generator) } });
        }
        responses.insert(status.to_string(), response);
    }
    let mut errors: Vec<(u16, &str)> = Vec::new();
    if endpoint.role.is_some() {
        errors.extend([
            (400, "not understood"),
            (401, "no or unknown token"),
            (403, "role too low"),
        ]);
    }
    if endpoint.of_org {
        errors.extend([
            (404, "there is no such org"),
            (413, "the body is too long"),
            (503, "no leader answers; see Retry-After"),
        ]);
    }
    for (status, says) in errors {
        responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": says, "content": error }));
    }
    let mut operation = json!({ "summary": endpoint.summary, "responses": responses });
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(role) = endpoint.role {
        operation["security"] = json!([{ "token": [] }]);
        operation["x-role"] = json!(role.as_str());
    }
    if let Some(shape) = endpoint.body {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": shape(generator) } } });
    }
    operation
}
