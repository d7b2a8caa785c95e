//! The JSON Schemas of the published shapes, generated from the Rust types.
//!
//! The files in `schema/` are these, checked in; a test fails when they differ. `UPDATE_SCHEMAS=1` writes them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    cloud_event::{OUTCOME_SCHEMA, USER_CHANGE_SCHEMA},
    dead_letter::{ChangeDeadLetter, EventDeadLetter},
    outcome::Outcome,
    user_change::UserChange,
    webhook::AccountCreated,
};

/// Draft 2020-12 schema of `T` under the given `$id`. Objects stay open: readers must accept fields they do not know.
fn schema_of<T: JsonSchema>(id: &str) -> Value {
    let schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>();
    let mut value = schema.to_value();
    if let Some(object) = value.as_object_mut() {
        object.insert("$id".to_owned(), json!(id));
    }
    value
}

/// File name and content of every published schema, and of the AsyncAPI document.
#[must_use]
pub fn documents() -> Vec<(&'static str, Value)> {
    vec![
        ("user-change.v1.json", schema_of::<UserChange>(USER_CHANGE_SCHEMA)),
        ("outcome.v1.json", schema_of::<Outcome>(OUTCOME_SCHEMA)),
        (
            "event-dead-letter.v1.json",
            schema_of::<EventDeadLetter>("https://usher.dev/schema/event-dead-letter.v1.json"),
        ),
        (
            "change-dead-letter.v1.json",
            schema_of::<ChangeDeadLetter>("https://usher.dev/schema/change-dead-letter.v1.json"),
        ),
        (
            "account-created.v1.json",
            schema_of::<AccountCreated>("https://usher.dev/schema/account-created.v1.json"),
        ),
        ("asyncapi.json", asyncapi()),
    ]
}

/// The AsyncAPI 3 document: which topic carries which schema under which key.
fn asyncapi() -> Value {
    let channel = |address: &str, message: &str, what: &str| {
        json!({ "address": address, "description": what,
                "messages": { message: { "$ref": format!("#/components/messages/{message}") } } })
    };
    let message = |file: &str, title: &str, key: &str| {
        json!({ "title": title, "contentType": "application/json",
                "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12",
                             "schema": { "$ref": format!("./{file}") } },
                "bindings": { "kafka": { "key": { "type": "string", "description": key } } } })
    };
    let receive = |channel: &str, what: &str| json!({ "action": "receive", "summary": what, "channel": { "$ref": format!("#/channels/{channel}") } });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Usher", "version": "1.0.0",
            "description": "User changes of Salesforce organizations and what became of them at the targets. Read with isolation.level=read_committed.",
            "license": { "name": "Apache-2.0" }
        },
        "channels": {
            "userChange": channel("user-change", "UserChange", "Full state per person, compacted. A tombstone means erased."),
            "outcome": channel("provisioning.outcome", "Outcome", "One per action tried."),
            "eventDeadLetter": channel("user-change.dead-letter", "EventDeadLetter", "Events that could not be decoded."),
            "changeDeadLetter": channel("provisioning.dead-letter", "ChangeDeadLetter", "Changes that a target refused."),
        },
        "operations": {
            "receiveUserChange": receive("userChange", "Rebuild from the start, then follow."),
            "receiveOutcome": receive("outcome", "Audit."),
            "receiveEventDeadLetter": receive("eventDeadLetter", "Investigate."),
            "receiveChangeDeadLetter": receive("changeDeadLetter", "Investigate."),
        },
        "components": { "messages": {
            "UserChange": message("user-change.v1.json", "UserChange", "<orgId18>:<userId18>"),
            "Outcome": message("outcome.v1.json", "Outcome", "<orgId18>:<userId18>"),
            "EventDeadLetter": message("event-dead-letter.v1.json", "EventDeadLetter", "stream and replay id"),
            "ChangeDeadLetter": message("change-dead-letter.v1.json", "ChangeDeadLetter", "<orgId18>:<userId18>"),
        } }
    })
}
