//! The table of `classify`, one answer per line, and what its messages may say.

use serde_json::json;

use super::*;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    HttpAnswer::Response {
        status,
        headers,
        body: body.as_bytes().to_vec(),
    }
}

fn meaning(purpose: Purpose, status: u16, body: &str) -> Meaning {
    classify(purpose, &answer(status, &[], body), &ScimConfig::default())
}

fn error(kind: &str) -> String {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400", "scimType": kind,
        "detail": "ada@acme.com is not a good userName"})
    .to_string()
}

/// The meaning in one word, for tables.
fn word(meaning: &Meaning) -> &'static str {
    match meaning {
        Meaning::Success(Some(_)) => "success with body",
        Meaning::Success(None) => "success",
        Meaning::Accepted(_) => "accepted",
        Meaning::Absent(_) => "absent",
        Meaning::Exists(_) => "exists",
        Meaning::Version(_) => "version",
        Meaning::Fallback(Fallback::NoTarget, _) => "no target",
        Meaning::Fallback(Fallback::Path, _) => "path",
        Meaning::Fallback(Fallback::Mutability, _) => "mutability",
        Meaning::Fallback(Fallback::Query, _) => "query",
        Meaning::Fallback(Fallback::TooMany, _) => "too many",
        Meaning::Fallback(Fallback::Capability, _) => "capability",
        Meaning::Fallback(Fallback::MediaType, _) => "media type",
        Meaning::Unknown(..) => "unknown",
        Meaning::Failed(Failure::Retry(..)) => "retry",
        Meaning::Failed(Failure::Reject(_)) => "reject",
        Meaning::Failed(Failure::Halt(_)) => "halt",
    }
}

#[test]
fn every_status_has_its_meaning() {
    use Purpose::{Check, Create, Delete, List, Read, Search, Update};
    for (purpose, status, body, expected) in [
        (Create, 201, r#"{"id":"1"}"#, "success with body"),
        (Create, 201, "", "success"),
        (Update, 200, "null", "success"),
        (Update, 204, "", "success"),
        (Update, 202, "", "accepted"),
        (Update, 200, &error("invalidValue"), "unknown"),
        (List, 200, "<html></html>", "halt"),
        (Read, 301, "", "halt"),
        (Update, 401, "", "halt"),
        (Check, 403, "", "halt"),
        (Search, 403, "", "reject"),
        (List, 403, "", "halt"),
        (Read, 403, "", "reject"),
        (Create, 403, "", "reject"),
        (Update, 403, "", "reject"),
        (Delete, 403, "", "reject"),
        (Read, 404, "", "absent"),
        (Update, 404, r#"{"detail":"gone"}"#, "absent"),
        (Update, 404, "<!DOCTYPE html><p>nginx", "halt"),
        (Delete, 410, "", "absent"),
        (Search, 404, &error("x"), "absent"),
        (Search, 404, "", "halt"),
        (Create, 404, "", "halt"),
        (List, 404, "{}", "halt"),
        (Check, 404, "{}", "absent"),
        (Update, 405, "", "capability"),
        (Update, 501, "", "capability"),
        (Create, 408, "", "unknown"),
        (Create, 500, "", "unknown"),
        (Create, 502, "<html>bad gateway</html>", "unknown"),
        (Create, 504, "", "unknown"),
        (Create, 425, "", "retry"),
        (Create, 429, "", "retry"),
        (Create, 503, "", "retry"),
        (Create, 507, "", "reject"),
        (Create, 409, &error("uniqueness"), "exists"),
        (Create, 409, "duplicate", "exists"),
        (Create, 400, &error("uniqueness"), "exists"),
        (Create, 400, r#"{"detail":"User ALREADY EXISTS"}"#, "exists"),
        (Create, 400, &error("invalidValue"), "reject"),
        (Create, 400, "", "reject"),
        (Create, 422, "", "reject"),
        (Create, 413, "", "reject"),
        (Update, 409, &error("uniqueness"), "exists"),
        (Update, 409, "", "version"),
        (Update, 412, "", "version"),
        (Update, 415, "", "media type"),
        (Update, 400, &error("noTarget"), "no target"),
        (Update, 400, &error("invalidPath"), "path"),
        (Update, 400, "", "path"),
        (Update, 400, &error("mutability"), "mutability"),
        (Update, 400, &error("invalidValue"), "reject"),
        (Update, 400, r#"{"detail":"already exists"}"#, "path"),
        (Update, 400, r#"{"__type":"com.amazon#ThrottlingException"}"#, "retry"),
        (Search, 400, &error("invalidFilter"), "query"),
        (Search, 400, &error("invalidValue"), "query"),
        (Search, 400, &error("tooMany"), "too many"),
        (List, 400, &error("expiredCursor"), "query"),
        (Create, 418, "", "reject"),
    ] {
        assert_eq!(
            word(&meaning(purpose, status, body)),
            expected,
            "{purpose:?} {status} {body}"
        );
    }
}

#[test]
fn what_was_not_sent_is_tried_again_unless_it_is_ours_to_mend() {
    let refusal = |code: &str| Refusal {
        code: code.to_owned(),
        reason: "x".to_owned(),
    };
    let config = ScimConfig::default();
    for (answer, expected) in [
        (HttpAnswer::NotSent(refusal("connect")), "retry"),
        (HttpAnswer::NotSent(refusal("lease-expired")), "retry"),
        (HttpAnswer::NotSent(refusal("credential-unreadable")), "halt"),
        (HttpAnswer::NotSent(refusal("tls")), "halt"),
        (HttpAnswer::Broken(refusal("timeout")), "unknown"),
    ] {
        assert_eq!(
            word(&classify(Purpose::Create, &answer, &config)),
            expected,
            "{answer:?}"
        );
    }
}

#[test]
fn the_wait_is_taken_from_seconds_or_a_date_and_bounded() {
    let date = "Sun, 22 Nov 2026 10:00:00 GMT";
    for (headers, seconds) in [
        (vec![("retry-after", "17")], Some(17)),
        (vec![("retry-after", " 999999 ")], Some(3600)),
        (
            vec![("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT"), ("date", date)],
            Some(30),
        ),
        (
            vec![("retry-after", "Sun, 22 Nov 2026 09:00:00 GMT"), ("date", date)],
            Some(0),
        ),
        (
            vec![("retry-after", "Sun, 22 Nov 2099 10:00:00 GMT"), ("date", date)],
            Some(3600),
        ),
        (vec![("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT")], None),
        (vec![("retry-after", "soon"), ("date", date)], None),
        (vec![], None),
    ] {
        let answer = answer(429, &headers, "");
        let Meaning::Failed(Failure::Retry(_, wait)) = classify(Purpose::Update, &answer, &ScimConfig::default())
        else {
            panic!("429 is a retry")
        };
        assert_eq!(wait, seconds.map(Duration::from_secs), "{headers:?}");
    }
}

#[test]
fn messages_name_the_type_and_the_attribute_and_never_the_value() {
    let Meaning::Failed(Failure::Reject(refusal)) = meaning(Purpose::Create, 400, &error("invalidValue")) else {
        panic!("a reject")
    };
    assert_eq!(refusal.code, "scim-invalid-value");
    assert_eq!(
        refusal.reason,
        "creating the account: the target answered 400 invalidValue about userName"
    );
    for status in [400, 401, 403, 404, 409, 412, 500, 507] {
        for purpose in [Purpose::Search, Purpose::Create, Purpose::Update] {
            let text = format!("{:?}", meaning(purpose, status, &error("ada@acme.com")));
            assert!(!text.contains("acme") && !text.contains("good"), "{text}");
        }
    }
}

#[test]
fn a_redirect_is_refused_and_names_the_place_without_its_secrets() {
    for (location, shown) in [
        (
            "https://user:pw@login.example.com/sso?token=s3cret#x",
            " to https://login.example.com/sso;",
        ),
        ("/scim/Users/", " to /scim/Users/;"),
        ("?token=s3cret", "redirects (302);"),
    ] {
        let answer = answer(302, &[("location", location)], "");
        let text = format!("{:?}", classify(Purpose::List, &answer, &ScimConfig::default()));
        assert!(text.contains(shown), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("pw@"), "{text}");
    }
}

#[test]
fn odd_error_bodies_are_read() {
    for (body, code) in [
        (json!([{"scimType": "noTarget"}]).to_string(), "scim-no-target"),
        (
            json!({"errors": [{"scimType": "noTarget"}]}).to_string(),
            "scim-no-target",
        ),
        (
            json!({"Errors": {"description": "x", "code": 400}}).to_string(),
            "http-400",
        ),
        (json!({"scimType": "Bad userName ada@acme.com"}).to_string(), "http-400"),
        ("plain words".to_owned(), "http-400"),
    ] {
        let text = format!("{:?}", meaning(Purpose::Update, 400, &body));
        assert!(text.contains(code), "{body}: {text}");
    }
}
