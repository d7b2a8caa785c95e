//! The error table of the REST API, row by row, and answers that are none of its own.

use super::*;

fn array(code: &str) -> Vec<u8> {
    format!(r#"[{{"errorCode":"{code}","message":"secret ada@b","fields":[]}}]"#).into_bytes()
}
fn object(code: &str) -> Vec<u8> {
    format!(r#"{{"errorCode":"{code}","message":"secret ada@b"}}"#).into_bytes()
}

/// What becomes of an answer.
#[derive(Debug, PartialEq)]
enum Sort {
    Session,
    Quota,
    ReportRuns,
    Operator,
    Transient,
    Answer,
}

fn sort(error: &ApiError) -> Sort {
    match error {
        ApiError::Session => Sort::Session,
        ApiError::Quota(_) => Sort::Quota,
        ApiError::ReportRuns => Sort::ReportRuns,
        ApiError::Operator { .. } | ApiError::Login { .. } | ApiError::Configuration(_) => Sort::Operator,
        ApiError::Transient { .. } => Sort::Transient,
        ApiError::Answer { .. } => Sort::Answer,
    }
}

#[test]
fn every_documented_code_has_its_reaction_as_array_and_as_object() {
    for (status, code, sorted) in [
        (400, "MALFORMED_QUERY", Sort::Operator),
        (400, "INVALID_FIELD", Sort::Operator),
        (400, "INVALID_TYPE", Sort::Operator),
        (400, "INVALID_QUERY_FILTER_OPERATOR", Sort::Operator),
        (400, "INVALID_QUERY_LOCATOR", Sort::Transient),
        (401, "INVALID_SESSION_ID", Sort::Session),
        (403, "REQUEST_LIMIT_EXCEEDED", Sort::Quota),
        (403, "INSUFFICIENT_ACCESS", Sort::Operator),
        (403, "API_CURRENTLY_DISABLED", Sort::Operator),
        (403, "API_DISABLED_FOR_ORG", Sort::Operator),
        (403, "FUNCTIONALITY_NOT_ENABLED", Sort::Operator),
        (403, "FORBIDDEN", Sort::Operator),
        (404, "NOT_FOUND", Sort::Operator),
        (409, "API_ERROR", Sort::Operator),
        (400, "UNABLE_TO_LOCK_ROW", Sort::Transient),
        (500, "QUERY_TIMEOUT", Sort::Transient),
        (400, "QUERY_TIMEOUT", Sort::Transient),
        (500, "UNKNOWN_EXCEPTION", Sort::Transient),
        (400, "UNKNOWN_EXCEPTION", Sort::Transient),
        (503, "SERVER_UNAVAILABLE", Sort::Transient),
        (500, "SOMETHING_NEW", Sort::Transient),
        (400, "SOMETHING_NEW", Sort::Operator),
    ] {
        for body in [array(code), object(code)] {
            let error = classify("query", status, &body);
            assert_eq!(sort(&error), sorted, "{status} {code}");
            assert!(
                !error.to_string().contains("ada"),
                "messages of Salesforce are not repeated: {error}"
            );
        }
    }
}

#[test]
fn codes_decide_and_not_statuses() {
    for status in [200, 400, 401, 403, 500, 503] {
        assert_eq!(
            sort(&classify("query", status, &array("REQUEST_LIMIT_EXCEEDED"))),
            Sort::Quota
        );
        assert!(classify("query", status, &array("INVALID_FIELD")).is_about_a_field());
    }
}

#[test]
fn pages_and_empty_answers_are_judged_by_their_status() {
    for body in [
        &b"<html><body>down for maintenance</body></html>"[..],
        b"",
        b"[]",
        b"{}",
        b"[{}]",
        b"null",
    ] {
        for (status, sorted) in [
            (401, Sort::Session),
            (302, Sort::Answer),
            (400, Sort::Answer),
            (403, Sort::Answer),
            (404, Sort::Answer),
            (408, Sort::Transient),
            (414, Sort::Operator),
            (429, Sort::Transient),
            (431, Sort::Operator),
            (500, Sort::Transient),
            (502, Sort::Transient),
            (503, Sort::Transient),
        ] {
            assert_eq!(sort(&classify("query", status, body)), sorted, "{status} {body:?}");
        }
    }
}

#[test]
fn whatever_an_operator_must_grant_says_where() {
    for (code, place) in [
        ("INVALID_FIELD", crate::logic::place::FIELDS),
        ("INSUFFICIENT_ACCESS", crate::logic::place::VIEW_ALL_USERS),
        ("FORBIDDEN", crate::logic::place::RUN_REPORTS),
        ("FORBIDDEN", crate::logic::place::REPORT_FOLDER),
        ("API_DISABLED_FOR_ORG", crate::logic::place::API_ENABLED),
        ("API_CURRENTLY_DISABLED", crate::logic::place::API_ENABLED),
        ("FUNCTIONALITY_NOT_ENABLED", crate::logic::place::COMPANY_INFORMATION),
    ] {
        let said = classify("query", 403, &array(code)).to_string();
        assert!(said.contains(place), "{place} is not in {said}");
    }
}

#[test]
fn a_used_up_limit_of_report_runs_is_no_missing_permission() {
    let of = |message: &str| {
        let body = serde_json::json!([{ "errorCode": "FORBIDDEN", "message": message }]);
        classify("running", 403, body.to_string().as_bytes())
    };
    let limit = "You can't run more than 500 reports synchronously every 60 minutes.";
    assert_eq!(sort(&of(limit)), Sort::ReportRuns);
    let denied = of("You don't have sufficient privileges to perform this operation.");
    assert!(denied.to_string().contains("Run Reports"), "{denied}");
}

#[test]
fn a_lost_cursor_is_not_asked_again_and_a_hiccup_is() {
    let of = |status, code: &str| classify("query", status, &array(code));
    assert!(of(400, "INVALID_QUERY_LOCATOR").is_lost_cursor() && !of(400, "INVALID_QUERY_LOCATOR").is_passing());
    assert!(of(503, "SERVER_UNAVAILABLE").is_passing() && !of(403, "REQUEST_LIMIT_EXCEEDED").is_passing());
}
