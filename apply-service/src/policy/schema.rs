//! The JSON Schema of a policy file: `policy.schema.yaml` and, for the connectors, the schemas of their types.
//!
//! The loader walks the same file to find unknown keys, so that there is one list of keys. Editors get it by
//! `apply-service schema`.

use std::sync::LazyLock;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;
use usher_runtime::yaml::Document;

use crate::connector::{http::OAuthConfig, rest::RestConfig, roster::RosterConfig, scim::ScimConfig};

/// The schema as it is written.
pub(super) fn text() -> &'static str {
    include_str!("../../policy.schema.yaml")
}

static WRITTEN: LazyLock<Value> = LazyLock::new(|| {
    Document::parse("policy.schema.yaml", text())
        .expect("**Invariant**: a test reads it")
        .value()
});

/// The schema of a whole file as it is written, without the connectors' own types.
pub(super) fn written() -> &'static Value {
    &WRITTEN
}

/// What a node of the schema says, a reference followed; `None` when the schema of a type stands there.
pub(super) fn resolve(node: &'static Value) -> Option<&'static Value> {
    match node.get("$ref").and_then(Value::as_str) {
        None => Some(node),
        Some(to) => written().pointer(to.strip_prefix('#')?),
    }
}

/// As [`resolve`]; the schema of a type is left as it is.
#[cfg(test)]
pub(super) fn resolve_in_written(node: &Value) -> &Value {
    let to = node
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|to| to.strip_prefix('#'));
    to.and_then(|to| written().pointer(to)).unwrap_or(node)
}

/// The complete schema, as editors want it.
#[must_use]
pub fn policy_file() -> Value {
    let mut schema = written().clone();
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let _ = generator.subschema_for::<RestConfig>();
    let _ = generator.subschema_for::<ScimConfig>();
    let _ = generator.subschema_for::<RosterConfig>();
    let _ = generator.subschema_for::<OAuthConfig>();
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        for (name, mut definition) in generator.take_definitions(true) {
            // A file is laid over its preset: what the preset says need not be said again.
            without_required(&mut definition);
            definitions.insert(name, definition);
        }
    }
    schema
}

fn without_required(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| key != "required" || !value.is_array());
            map.values_mut().for_each(without_required);
        }
        Value::Array(list) => list.iter_mut().for_each(without_required),
        _ => {}
    }
}
