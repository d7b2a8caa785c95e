//! The connection check and discovery.

use super::*;

#[test]
fn the_config_is_asked_for_and_the_list_proves_the_credentials() {
    let features = json!({"patch": {"supported": true}, "filter": {"supported": true, "maxResults": 200}});
    let script = vec![
        on("GET /ServiceProviderConfig", ok(features)),
        on("GET /Users?count=1", list(&[user("1", "", "ada")])),
    ];
    let Ok(Reply::Checked(words)) = run(&scim(), Operation::Check, script) else {
        panic!("checked")
    };
    assert_eq!(words[0], "SCIM 2.0 config at /ServiceProviderConfig");
    assert!(
        words.contains(&"filter: yes, at most 200 results".to_owned()),
        "{words:?}"
    );
}

#[test]
fn the_plural_config_and_none_at_all_are_both_fine() {
    let script = vec![
        on("GET /ServiceProviderConfig", answer(404, "")),
        on("GET /ServiceProviderConfigs", ok(json!({"patch": {"supported": true}}))),
        on("GET /Users?count=1", list(&[])),
    ];
    assert!(run(&scim(), Operation::Check, script).is_ok());
    for absent in [
        html(200),
        answer(401, ""),
        answer(403, ""),
        ok(json!({})),
        answer(500, ""),
    ] {
        let script = vec![
            on("GET /ServiceProviderConfig", absent.clone()),
            on("GET /ServiceProviderConfigs", absent),
            on("GET /Users?count=1", list(&[])),
        ];
        assert!(run(&scim(), Operation::Check, script).is_ok());
    }
}

#[test]
fn a_web_page_a_foreign_body_and_refused_credentials_stop_the_target() {
    for (users, code) in [
        (html(200), "html-answer"),
        (html(404), "html-answer"),
        (ok(json!({"users": []})), "not-scim"),
        (answer(401, ""), "http-401"),
        (answer(403, ""), "http-403"),
        (answer(404, ""), "http-404"),
        (answer(302, ""), "redirect"),
    ] {
        let connector = with(|config| config.discovery = Discovery::Never);
        let result = run(&connector, Operation::Check, vec![on("GET /Users?count=1", users)]);
        assert_eq!(failure(result), ("halt", code.to_owned()));
    }
}

#[test]
fn a_target_that_cannot_be_reached_is_tried_again() {
    let refused = HttpAnswer::NotSent(Refusal {
        code: "connect".to_owned(),
        reason: "refused".to_owned(),
    });
    for unreachable in [refused, broken()] {
        let result = run(
            &scim(),
            Operation::Check,
            vec![on("GET /ServiceProviderConfig", unreachable)],
        );
        assert_eq!(failure(result).0, "retry");
    }
}

#[test]
fn paths_are_checked_and_attributes_read_by_the_connector() {
    let connector = scim();
    assert_eq!(connector.check_path("USERNAME").unwrap().0, "userName");
    assert!(connector.check_path("usrName").unwrap_err().contains("did you mean"));
    let result = run(
        &connector,
        Operation::Read(id("1")),
        vec![on("GET /Users/1", ok(user("1", "", "ada")))],
    );
    let Ok(Reply::Found(accounts)) = result else {
        panic!("found")
    };
    assert_eq!(
        connector.read_attribute(&accounts[0], &path(WORK)),
        Some(json!("ada@acme.com"))
    );
    assert_eq!(connector.read_attribute(&accounts[0], &path("title")), None);
}

#[test]
fn the_check_finds_out_whose_credentials_they_are_where_the_policy_asks() {
    let connector = ScimConnector::new(ScimConfig {
        ask_owner: true,
        discovery: Discovery::Never,
        ..ScimConfig::default()
    });
    let asked = |me: HttpAnswer| {
        let script = vec![on("GET /Users?count=1", list(&[])), on("GET /Me", me)];
        run(&connector, Operation::Check, script)
    };
    let me = json!({"id": "7", "userName": "svc-usher", "emails": [{"value": "svc@acme.example"}, {"type": "work"}]});
    let Ok(Reply::CheckedAs(_, owner)) = asked(ok(me)) else {
        panic!("checked")
    };
    assert_eq!(owner, ["7", "svc-usher", "svc@acme.example"]);
    for silent in [
        answer(404, ""),
        answer(501, ""),
        answer(403, ""),
        ok(json!({})),
        ok(json!({"userName": " "})),
        html(200),
    ] {
        let refused = asked(silent.clone());
        assert!(
            matches!(&refused, Err(Failure::Halt(refusal)) if refusal.code == "owner-unknown"),
            "{silent:?}: {refused:?}"
        );
    }
    assert!(
        matches!(asked(answer(503, "")), Err(Failure::Retry(..))),
        "perhaps later"
    );
}
