//! What answers mean: the usual meanings, patterns over them, and that no answer at all does harm.

use proptest::prelude::*;

use super::*;

const UPDATE: &str = "PATCH /users/7";

fn written(connector: &RestConnector, answer: HttpAnswer) -> (&'static str, String) {
    match run(
        connector,
        update("7", &[("title", json!("x"))]),
        vec![on(UPDATE, answer)],
    ) {
        Ok(Reply::Written { .. }) => ("done", String::new()),
        Ok(Reply::Absent) => ("absent", String::new()),
        Ok(Reply::Conflict(refusal)) => ("conflict", refusal.code),
        result => failure(result),
    }
}

#[test]
fn statuses_mean_what_they_mean_everywhere() {
    for (code, expected) in [
        (200, "done"),
        (204, "done"),
        (202, "retry"),
        (301, "halt"),
        (400, "reject"),
        (401, "halt"),
        (403, "reject"),
        (404, "absent"),
        (405, "reject"),
        (409, "conflict"),
        (410, "absent"),
        (422, "reject"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
        (507, "reject"),
    ] {
        let (kind, word) = written(&connector(), status(code, &json!({})));
        assert_eq!(kind, expected, "{code}");
        assert!(
            word.is_empty() || code == 301 || word == format!("http-{code}"),
            "{code} {word}"
        );
    }
    for (code, content_type, body, expected) in [
        (200, "text/html", "<p>", "html-answer"),
        (200, "application/json", "<!DOCTYPE html>", "html-answer"),
        (404, "text/html", "<p>", "html-answer"),
        (200, "text/plain", "{}", "unexpected-answer"),
        (200, "application/json", "OK", "unexpected-answer"),
    ] {
        let result = written(&connector(), answer(code, content_type, body));
        assert_eq!(result, ("halt", expected.to_owned()), "{code} {content_type} {body}");
    }
    let lenient = with(|description| description["answerType"] = json!(""));
    assert_eq!(written(&lenient, answer(200, "text/plain", "{}")).0, "done");
}

fn patterns(answers: Value) -> RestConnector {
    with(|description| description["answers"] = answers)
}

#[test]
fn the_first_pattern_that_holds_decides() {
    let connector = patterns(json!([
        {"is": "exists", "body": {"at": "$.code", "in": [17, "dup"]}, "code": "name-taken"},
        {"is": "retry", "status": ["418", "5xx"], "code": "later"},
        {"is": "absent", "status": "400-404", "body": {"at": "$.why", "matches": "^no such", "ignoreCase": true}},
        {"is": "halt", "header": {"at": "X-Licence", "equals": "expired"}, "code": "licence"},
        {"is": "reject", "of": ["update"], "body": [{"at": "$.ok", "equals": false}, {"at": "$.why", "exists": true}]},
        {"is": "success", "contentType": "vnd.acme", "status": 299},
    ]));
    let json = |code: u16, body: Value| status(code, &body);
    for (given, expected) in [
        (json(200, json!({"code": 17})), ("conflict", "name-taken")),
        (json(200, json!({"code": "17"})), ("conflict", "name-taken")),
        (json(409, json!({"code": "dup"})), ("conflict", "name-taken")),
        (json(503, json!({"code": "dup"})), ("retry", "later")),
        (json(401, json!({"code": "dup"})), ("halt", "http-401")),
        (json(418, json!({})), ("retry", "later")),
        (json(404, json!({"why": "No such user"})), ("absent", "")),
        (json(405, json!({"why": "No such user"})), ("reject", "http-405")),
        (
            json(200, json!({"ok": false, "why": "x"})),
            ("reject", "answer-refused"),
        ),
        (answer(299, "application/vnd.acme+json", "{}"), ("done", "")),
        (
            answer(299, "application/vnd.acme+json", "<html>"),
            ("halt", "html-answer"),
        ),
        (json(200, json!({"ok": true})), ("retry", "unknown-answer")),
    ] {
        let (kind, code) = written(&connector, given.clone());
        assert_eq!((kind, code.as_str()), expected, "{given:?}");
    }
    let HttpAnswer::Response {
        status,
        body,
        mut headers,
    } = json(200, json!({}))
    else {
        panic!()
    };
    headers.push(("x-licence".to_owned(), "expired".to_owned()));
    let answer = HttpAnswer::Response { status, headers, body };
    assert_eq!(written(&connector, answer), ("halt", "licence".to_owned()));
}

#[test]
fn waiting_is_as_long_as_asked_for_within_bounds_and_reasons_quote_nobody() {
    let HttpAnswer::Response {
        status,
        body,
        mut headers,
    } = status(429, &json!({"who": "ada@acme"}))
    else {
        panic!()
    };
    headers.push(("retry-after".to_owned(), "99999".to_owned()));
    let answer = HttpAnswer::Response { status, headers, body };
    let result = run(
        &connector(),
        update("7", &[("title", json!("x"))]),
        vec![on(UPDATE, answer)],
    );
    let Err(Failure::Retry(refusal, Some(wait))) = result else {
        panic!("a retry")
    };
    assert_eq!(wait.as_secs(), 3600);
    assert!(!refusal.reason.contains("ada"), "{refusal}");
}

proptest! {
    #[test]
    fn no_answer_does_harm(code in 100_u16..600, kind in "(application/json|text/html|text/plain|)", body in "[{}\\[\\]\":,a-z0-9<>$. ]{0,40}") {
        let connector = patterns(json!([
            {"is": "exists", "body": {"at": "$..a", "matches": "a+"}},
            {"is": "absent", "body": {"at": "$[0]", "exists": true}},
        ]));
        let (end, _) = written(&connector, answer(code, &kind, &body));
        // Done is only what says so with a status and data.
        if end == "done" {
            prop_assert!((200..300).contains(&code) && !kind.contains("html") && !body.trim_start().starts_with("<html"));
        }
    }

    #[test]
    fn a_listing_of_anything_is_a_page_or_a_failure(body in "[{}\\[\\]\":,a-z0-9]{0,40}") {
        let mut exchange = connector().begin(Operation::List { cursor: None });
        let Step::Complete(_) = exchange.step(None) else { panic!("a request") };
        let done = exchange.step(Some(answer(200, "application/json", &body)));
        prop_assert!(matches!(done, Step::Done(_)));
    }
}
