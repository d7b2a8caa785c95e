//! The machine against answers as values. Whole runs against servers: `tests/scim_probe.rs`.

use serde_json::json;

use super::*;

fn answer(status: u16, body: Value) -> HttpAnswer {
    HttpAnswer::Response {
        status,
        headers: vec![("content-type".to_owned(), "application/scim+json".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

fn probe() -> Probe {
    Probe::new(ScimConfig::default(), "m4rk", "acme.com")
}

/// Steps until the end, with answers made from requests; the lines of what was sent.
fn run(probe: &mut Probe, mut reply: impl FnMut(&Request) -> HttpAnswer) -> Vec<String> {
    let (mut lines, mut next) = (Vec::new(), None);
    loop {
        match probe.step(next.take()) {
            Move::Send(request) => {
                lines.push(format!(
                    "{} {}",
                    request.method,
                    request.path.split('?').next().unwrap_or_default()
                ));
                assert!(lines.len() < 100, "it ends");
                next = Some(reply(&request));
            }
            Move::Wait(_) => {}
            Move::Done => return lines,
        }
    }
}

#[test]
fn a_refused_create_ends_it_and_leaves_nothing() {
    let mut probe = probe();
    let lines = run(&mut probe, |request| match request.method {
        "POST" => answer(403, json!({})),
        _ => answer(404, json!({})),
    });
    assert_eq!(
        lines,
        [
            "GET /ServiceProviderConfig",
            "GET /ServiceProviderConfigs",
            "POST /Users"
        ]
    );
    let report = probe.report();
    assert!(report.refused.is_some_and(|words| words.contains("http-403")));
    assert!(report.keys.is_empty() && report.left.is_empty());
}

#[test]
fn a_create_without_an_answer_is_searched_for_and_removed_and_never_repeated() {
    let mut probe = probe();
    let name = probe.user_name();
    let mut deleted = false;
    let lines = run(&mut probe, |request| match request.method {
        "POST" => answer(500, json!({})),
        "DELETE" => {
            deleted = true;
            answer(204, Value::Null)
        }
        _ if request.path.contains("filter=") => answer(
            200,
            json!({"totalResults": 1, "Resources": [{"id": "7", "userName": name}]}),
        ),
        _ => answer(404, json!({})),
    });
    assert!(deleted);
    assert_eq!(
        lines[2..],
        ["POST /Users", "GET /Users", "DELETE /Users/7", "GET /Users/7"]
    );
    assert!(probe.report().left.is_empty());
}

#[test]
fn an_account_that_nobody_can_find_is_named() {
    let mut probe = probe();
    run(&mut probe, |request| match request.method {
        "POST" => answer(504, json!({})),
        _ if request.path.contains("filter=") => answer(200, json!({"totalResults": 0})),
        _ => answer(404, json!({})),
    });
    assert_eq!(
        probe.report().left,
        [format!("perhaps an account named {}", probe.user_name())]
    );
}

#[test]
fn stopping_goes_straight_to_the_removal() {
    let mut probe = probe();
    let mut sent = 0;
    let lines = {
        let mut lines = Vec::new();
        let mut next = None;
        loop {
            match probe.step(next.take()) {
                Move::Send(request) => {
                    lines.push(request.method);
                    sent += 1;
                    if sent == 3 {
                        probe.stop();
                    }
                    next = Some(match request.method {
                        "POST" => answer(201, json!({"id": "7"})),
                        "DELETE" => answer(204, Value::Null),
                        _ => answer(404, json!({})),
                    });
                }
                Move::Wait(_) => {}
                Move::Done => break lines,
            }
        }
    };
    assert_eq!(lines, ["GET", "GET", "POST", "DELETE", "GET"]);
    assert!(probe.report().left.is_empty());
}

#[test]
fn what_cannot_be_deleted_is_switched_off_and_named() {
    let mut probe = probe();
    probe.made.push(RemoteId("7".to_owned()));
    probe.stop();
    let mut off = false;
    run(&mut probe, |request| match request.method {
        "DELETE" => answer(405, json!({})),
        "PATCH" => {
            off = true;
            answer(204, Value::Null)
        }
        _ => answer(200, json!({"id": "7", "active": true})),
    });
    assert!(off);
    assert_eq!(probe.report().left, ["account 7"]);
}

#[test]
fn a_second_account_of_one_name_is_removed_too() {
    let mut probe = probe();
    let (mut made, mut deleted) = (0, Vec::new());
    run(&mut probe, |request| match request.method {
        "POST" => {
            made += 1;
            answer(201, json!({"id": made.to_string(), "userName": probe_name()}))
        }
        "DELETE" => {
            deleted.push(request.path.clone());
            answer(204, Value::Null)
        }
        "PATCH" | "PUT" => answer(400, json!({})),
        _ => answer(404, json!({})),
    });
    assert_eq!((made, deleted), (2, vec!["/Users/1".to_owned(), "/Users/2".to_owned()]));
    let report = probe.report();
    assert!(report.left.is_empty());
    let twin = report
        .rows
        .iter()
        .find(|row| row.question == "create of a name that is taken");
    assert_eq!(
        twin.map(|row| row.answer.as_str()),
        Some("a second account of the same name")
    );
}

fn probe_name() -> String {
    probe().user_name()
}
