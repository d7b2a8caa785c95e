//! Whole exchanges against scripted answers: which requests are sent, and how each operation ends.
//!
//! A script is a list of expected requests with their answers. It fails on a request that differs, on one too many,
//! and on answers left over, so "nothing else was sent" is part of every test.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{RestConfig, RestConnector};
use crate::{
    connector::{Completed, Connector, Failure, HttpAnswer, Moment, Operation, Refusal, Reply, Step},
    logic::account::{AttributePath, AttributeValues, RemoteId},
};

mod finding;
mod grouping;
mod listing;
mod meanings;
mod signing;
mod writing;

/// An application in the resource style, as others are described from.
pub(super) fn description() -> Value {
    json!({
        "secrets": {"key": "/secrets/key"},
        "headers": {"x-key": "{{ secret.key }}"},
        "account": {
            "id": "$.id",
            "fields": {
                "externalId": {"read": "$.ext", "send": "ext"},
                "userName": {"read": "$.login", "send": "login"},
                "name.givenName": {"read": "$.name.first", "send": "name.first", "clear": "null"},
                "title": {"read": "$.title", "send": "title"},
                "badge": {"read": "$.badge", "send": "badge", "createOnly": true},
                "active": {"read": "$.state", "on": ["on"], "off": ["off"]}
            }
        },
        "operations": {
            "list": {"method": "GET", "path": "/users", "accounts": "$.users"},
            "read": {"method": "GET", "path": "/users/{{ account.id }}", "accounts": "$"},
            "create": {"method": "POST", "path": "/users", "json": {}, "sendFields": true, "accounts": "$"},
            "update": {"method": "PATCH", "path": "/users/{{ account.id }}", "json": {}, "sendFields": true},
            "deactivate": {"method": "POST", "path": "/users/{{ account.id }}/off", "json": {}},
            "reactivate": {"method": "POST", "path": "/users/{{ account.id }}/on", "json": {}},
            "delete": {"method": "DELETE", "path": "/users/{{ account.id }}"}
        }
    })
}

fn connector() -> RestConnector {
    with(|_| {})
}

fn with(change: impl FnOnce(&mut Value)) -> RestConnector {
    let mut description = description();
    change(&mut description);
    let config: RestConfig = serde_json::from_value(description).unwrap();
    RestConnector::try_new(&config, "https://h.example/api/").unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

/// A request that is expected: `METHOD path`, and its body.
struct Expected {
    line: String,
    body: Option<Value>,
    answer: HttpAnswer,
}

fn on(line: &str, answer: HttpAnswer) -> Expected {
    Expected {
        line: line.to_owned(),
        body: None,
        answer,
    }
}

impl Expected {
    fn with_body(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }
}

fn moment() -> Moment {
    Moment {
        now_ms: 1_700_000_000_123,
        secrets: Arc::new([("key".to_owned(), "s3cret".to_owned())].into()),
    }
}

fn run(connector: &RestConnector, operation: Operation, script: Vec<Expected>) -> Result<Reply, Failure> {
    let mut exchange = connector.begin(operation);
    let mut script = script.into_iter();
    let mut answer = None;
    loop {
        match exchange.step(answer.take()) {
            Step::Done(result) => {
                assert!(script.next().is_none(), "ended before the script did: {result:?}");
                return result;
            }
            Step::Send(request) => panic!("only the sender knows the secrets: {request:?}"),
            Step::Complete(draft) => {
                let Some(expected) = script.next() else {
                    panic!("one request too many: {draft:?}")
                };
                assert!(!format!("{draft:?}").contains("s3cret"));
                let completed = draft.complete(&moment()).unwrap();
                check(&completed, draft.is_write(), &expected);
                answer = Some(expected.answer);
            }
        }
    }
}

fn check(request: &Completed, write: bool, expected: &Expected) {
    assert_eq!(format!("{} {}", request.method, request.path), expected.line);
    assert_eq!(write, request.method != "GET", "writes are marked");
    assert!(request.headers.contains(&("x-key".to_owned(), "s3cret".to_owned())));
    if let Some(body) = &expected.body {
        let sent = request
            .body
            .as_ref()
            .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap());
        let sent = sent.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
        assert_eq!(sent.as_ref(), Some(body), "{}", expected.line);
    }
}

fn answer(status: u16, content_type: &str, body: &str) -> HttpAnswer {
    HttpAnswer::Response {
        status,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

fn status(status: u16, body: &Value) -> HttpAnswer {
    answer(status, "application/json", &body.to_string())
}

fn ok(body: Value) -> HttpAnswer {
    status(200, &body)
}

fn broken() -> HttpAnswer {
    HttpAnswer::Broken(Refusal {
        code: "timeout".to_owned(),
        reason: "no answer in time".to_owned(),
    })
}

fn user(id: u64, ext: &str, login: &str) -> Value {
    json!({"id": id, "ext": ext, "login": login, "state": "on"})
}

fn users(users: &[Value]) -> HttpAnswer {
    ok(json!({ "users": users }))
}

fn id(id: &str) -> RemoteId {
    RemoteId(id.to_owned())
}

fn values(pairs: &[(&str, Value)]) -> AttributeValues {
    pairs
        .iter()
        .map(|(name, value)| (AttributePath((*name).to_owned()), value.clone()))
        .collect()
}

fn find(external_id: &str, name: &str) -> Operation {
    Operation::Find {
        external_id: external_id.to_owned(),
        by: vec![(AttributePath("userName".to_owned()), name.to_owned())],
    }
}

fn update(of: &str, pairs: &[(&str, Value)]) -> Operation {
    Operation::Update {
        id: id(of),
        values: values(pairs),
        etag: None,
    }
}

fn ids(result: &Result<Reply, Failure>) -> Vec<&str> {
    match result {
        Ok(Reply::Found(accounts) | Reply::Page { accounts, .. }) => {
            accounts.iter().map(|account| account.id.0.as_str()).collect()
        }
        other => panic!("no accounts: {other:?}"),
    }
}

fn failure(result: Result<Reply, Failure>) -> (&'static str, String) {
    match result {
        Err(Failure::Retry(refusal, _)) => ("retry", refusal.code),
        Err(Failure::Reject(refusal)) => ("reject", refusal.code),
        Err(Failure::Halt(refusal)) => ("halt", refusal.code),
        Ok(reply) => panic!("no failure: {reply:?}"),
    }
}
