//! Whole exchanges against scripted answers: which requests are sent, and how each operation ends.
//!
//! A script is a list of expected requests with their answers. It fails on a request that differs, on one too many,
//! and on answers left over, so "nothing else was sent" is part of every test.

use serde_json::{Value, json};

use super::{ScimConfig, ScimConnector, config::*};
use crate::{
    connector::{Connector, Failure, HttpAnswer, Operation, Refusal, Reply, Request, Step},
    logic::account::{AttributePath, AttributeValues, RemoteId},
};

mod checking;
mod creating;
mod finding;
mod grouping;
mod listing;
mod updating;

const WORK: &str = r#"emails[type eq "work"].value"#;
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A request that is expected: `METHOD path`, and what must be in it.
struct Expected {
    line: String,
    body: Option<Value>,
    if_match: Option<&'static str>,
    answer: HttpAnswer,
}

fn on(line: &str, answer: HttpAnswer) -> Expected {
    Expected {
        line: line.to_owned(),
        body: None,
        if_match: None,
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

    /// The operations of a PATCH.
    fn patching(self, operations: Value) -> Self {
        self.with_body(json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}))
    }

    fn if_match(self, etag: &'static str) -> Self {
        Self {
            if_match: Some(etag),
            ..self
        }
    }
}

fn run(connector: &ScimConnector, operation: Operation, script: Vec<Expected>) -> Result<Reply, Failure> {
    let mut exchange = connector.begin(operation);
    let mut script = script.into_iter();
    let mut answer = None;
    loop {
        match exchange.step(answer.take()) {
            Step::Done(result) => {
                assert!(script.next().is_none(), "ended before the script did: {result:?}");
                return result;
            }
            Step::Complete(draft) => panic!("SCIM has whole requests: {draft:?}"),
            Step::Send(request) => {
                let Some(expected) = script.next() else {
                    panic!("one request too many: {request:?}")
                };
                check(&request, &expected);
                answer = Some(expected.answer);
            }
        }
    }
}

fn check(request: &Request, expected: &Expected) {
    let path = percent_encoding::percent_decode_str(&request.path)
        .decode_utf8()
        .unwrap();
    assert_eq!(format!("{} {path}", request.method), expected.line);
    assert_eq!(request.write, request.method != "GET", "writes are marked");
    if let Some(body) = &expected.body {
        assert_eq!(request.body.as_ref(), Some(body), "{}", expected.line);
    }
    let if_match = request
        .headers
        .iter()
        .find(|(name, _)| *name == "if-match")
        .map(|(_, value)| value.as_str());
    assert_eq!(if_match, expected.if_match, "{}", expected.line);
}

fn scim() -> ScimConnector {
    ScimConnector::new(ScimConfig::default())
}

fn with(change: impl FnOnce(&mut ScimConfig)) -> ScimConnector {
    let mut config = ScimConfig::default();
    change(&mut config);
    ScimConnector::new(config)
}

/// Tells a connector what the target declares, as `check` does.
fn declare(connector: &ScimConnector, features: Value) {
    let script = vec![
        on("GET /ServiceProviderConfig", ok(features)),
        on("GET /Users?count=1", ok(json!({"totalResults": 0}))),
    ];
    assert!(matches!(
        run(connector, Operation::Check, script),
        Ok(Reply::Checked(_))
    ));
}

fn answer(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer::Response {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    }
}

fn ok(body: Value) -> HttpAnswer {
    answer(200, &body.to_string())
}

fn scim_error(status: u16, kind: &str) -> HttpAnswer {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:Error"];
    answer(
        status,
        &json!({"schemas": schemas, "status": status.to_string(), "scimType": kind}).to_string(),
    )
}

fn html(status: u16) -> HttpAnswer {
    answer(status, "<!DOCTYPE html><title>Sign in</title>")
}

fn broken() -> HttpAnswer {
    HttpAnswer::Broken(Refusal {
        code: "timeout".to_owned(),
        reason: "no answer in time".to_owned(),
    })
}

fn list(users: &[Value]) -> HttpAnswer {
    ok(json!({"schemas": [LIST], "totalResults": users.len(), "Resources": users}))
}

/// The request that precedes an answer of the index.
fn time() -> Expected {
    on("GET /Users?count=1", list(&[]))
}

/// One page of a longer list.
fn page(users: &[Value], total: usize) -> HttpAnswer {
    ok(json!({"schemas": [LIST], "totalResults": total, "Resources": users}))
}

fn user(id: &str, external_id: &str, user_name: &str) -> Value {
    let mut user = json!({"id": id, "userName": user_name, "active": true,
        "emails": [{"type": "work", "value": format!("{user_name}@acme.com"), "primary": true}]});
    if !external_id.is_empty() {
        user["externalId"] = json!(external_id);
    }
    user
}

fn id(id: &str) -> RemoteId {
    RemoteId(id.to_owned())
}

fn path(path: &str) -> AttributePath {
    AttributePath(path.to_owned())
}

fn values(pairs: &[(&str, Value)]) -> AttributeValues {
    pairs.iter().map(|(name, value)| (path(name), value.clone())).collect()
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
