//! Changing accounts: encodings, fallbacks, versions, and `active` that is not taken.

use super::*;

const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn update(pairs: &[(&str, Value)]) -> Operation {
    update_of(pairs, None)
}

fn update_of(pairs: &[(&str, Value)], etag: Option<&str>) -> Operation {
    Operation::Update {
        id: id("7"),
        values: values(pairs),
        etag: etag.map(str::to_owned),
    }
}

fn ada() -> Value {
    user("7", "x", "ada")
}

fn changed(name: &str, value: Value) -> Value {
    let mut user = ada();
    user[name] = value;
    user
}

fn is_written(result: &Result<Reply, Failure>) -> bool {
    matches!(result, Ok(Reply::Written { id, .. }) if id.0 == "7")
}

fn done() -> HttpAnswer {
    answer(204, "")
}

#[test]
fn a_change_is_one_patch_with_an_operation_per_path() {
    let operations = json!([
        {"op": "replace", "path": WORK, "value": "new@acme.com"},
        {"op": "replace", "path": "title", "value": "AE"},
        {"op": "remove", "path": DEPARTMENT},
    ]);
    for answer in [done(), ok(changed("title", json!("AE")))] {
        let operation = update(&[
            ("title", json!("AE")),
            (WORK, json!("new@acme.com")),
            (DEPARTMENT, Value::Null),
        ]);
        let result = run(
            &scim(),
            operation,
            vec![on("PATCH /Users/7", answer).patching(operations.clone())],
        );
        assert!(is_written(&result), "{result:?}");
    }
    assert!(
        is_written(&run(&scim(), update(&[]), vec![])),
        "nothing to write sends nothing"
    );
}

#[test]
fn active_is_read_back_unless_the_answer_shows_it() {
    let off = || update(&[("active", json!(false))]);
    let inactive = || ok(changed("active", json!("False")));
    let script = vec![on("PATCH /Users/7", inactive())];
    assert!(is_written(&run(&scim(), off(), script)));
    for stale in [done(), ok(ada())] {
        let script = vec![on("PATCH /Users/7", stale.clone()), on("GET /Users/7", inactive())];
        assert!(is_written(&run(&scim(), off(), script)));
        let script = vec![on("PATCH /Users/7", stale), on("GET /Users/7", ok(ada()))];
        assert_eq!(
            failure(run(&scim(), off(), script)),
            ("retry", "active-not-taken".to_owned())
        );
    }
    let script = vec![on("PATCH /Users/7", done()), on("GET /Users/7", answer(404, ""))];
    assert!(is_written(&run(&scim(), off(), script)), "hidden once inactive");
    let trusting = with(|config| config.verify_active = false);
    assert!(is_written(&run(&trusting, off(), vec![on("PATCH /Users/7", done())])));
}

#[test]
fn every_write_is_read_back_where_the_dialect_says_so() {
    let verifying = || with(|config| config.verify_writes = true);
    let retitled = || update(&[("title", json!("AE"))]);
    for echoed in [done(), ok(changed("title", json!("AE")))] {
        let kept = changed("title", json!("ae"));
        let script = vec![on("PATCH /Users/7", echoed.clone()), on("GET /Users/7", ok(kept))];
        let connector = verifying();
        let Ok(Reply::Written {
            account: Some(account), ..
        }) = run(&connector, retitled(), script)
        else {
            panic!("not written");
        };
        let title = connector.read_attribute(&account, &AttributePath("title".into()));
        assert_eq!(title, Some(json!("ae")), "what the target holds, not what it echoed");
        let script = vec![on("PATCH /Users/7", echoed), on("GET /Users/7", answer(503, ""))];
        assert_eq!(failure(run(&verifying(), retitled(), script)).0, "retry");
    }
}

#[test]
fn a_target_without_patch_gets_the_whole_account_by_put() {
    let mut held = changed("title", json!("SDR"));
    held["meta"] = json!({"version": "W/\"1\""});
    held["groups"] = json!([{"value": "g"}]);
    let mut body = ada();
    body.as_object_mut().unwrap().remove("id");
    body["title"] = json!("AE");
    body["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
    let put = || {
        vec![
            on("GET /Users/7", ok(held.clone())),
            on("PUT /Users/7", ok(ada())).with_body(body.clone()),
        ]
    };
    let operation = || update(&[("title", json!("AE"))]);
    assert!(is_written(&run(
        &with(|config| config.patch = PatchMode::Put),
        operation(),
        put()
    )));
    let declared = scim();
    declare(&declared, json!({"patch": {"supported": false}}));
    assert!(is_written(&run(&declared, operation(), put())));
    for refused in [501, 405] {
        let learning = scim();
        let mut script = vec![on("PATCH /Users/7", answer(refused, ""))];
        script.extend(put());
        assert!(is_written(&run(&learning, operation(), script)));
        assert!(is_written(&run(&learning, operation(), put())), "remembered");
    }
    let fixed = with(|config| config.patch = PatchMode::Path);
    assert_eq!(
        failure(run(&fixed, operation(), vec![on("PATCH /Users/7", answer(501, ""))])).0,
        "reject"
    );
}

#[test]
fn a_put_that_would_change_nothing_is_not_sent() {
    let connector = with(|config| config.patch = PatchMode::Put);
    let operation = update(&[("userName", json!("ada")), ("title", Value::Null)]);
    assert!(is_written(&run(
        &connector,
        operation,
        vec![on("GET /Users/7", ok(ada()))]
    )));
}

#[test]
fn a_value_filter_that_meets_nothing_becomes_a_whole_array() {
    let without = changed("emails", json!([{"type": "home", "value": "h", "primary": true}]));
    let operation = update(&[(WORK, json!("w")), ("userName", json!("ada"))]);
    let script = vec![
        on("PATCH /Users/7", scim_error(400, "noTarget")),
        on("GET /Users/7", ok(without)),
        on("PATCH /Users/7", done()).patching(json!([{"op": "replace", "path": "emails",
            "value": [{"type": "home", "value": "h", "primary": true}, {"type": "work", "value": "w"}]}])),
    ];
    let connector = scim();
    assert!(is_written(&run(&connector, operation, script)));
    // That this person had no such e-mail says nothing about the target.
    let script = vec![on("PATCH /Users/7", done()).patching(json!([{"op": "replace", "path": WORK, "value": "w2"}]))];
    assert!(is_written(&run(&connector, update(&[(WORK, json!("w2"))]), script)));
}

#[test]
fn removing_what_is_not_there_is_done() {
    let operation = update(&[(r#"phoneNumbers[type eq "mobile"].value"#, Value::Null)]);
    let script = vec![on("PATCH /Users/7", scim_error(400, "noTarget"))];
    assert!(is_written(&run(&scim(), operation, script)));
}

#[test]
fn of_several_removals_one_that_meets_nothing_does_not_swallow_the_others() {
    let connector = scim();
    let script = vec![
        on("PATCH /Users/7", scim_error(400, "noTarget")),
        on("GET /Users/7", ok(json!({"id": "7", "userName": "ada", "title": "AE"}))),
        on("PATCH /Users/7", done()).patching(json!([{"op": "remove", "path": "title"}])),
    ];
    let both = update(&[("title", Value::Null), ("nickName", Value::Null)]);
    assert!(is_written(&run(&connector, both.clone(), script)));
    // Neither is there: nothing is left to send.
    let script = vec![
        on("PATCH /Users/7", scim_error(400, "noTarget")),
        on("GET /Users/7", ok(json!({"id": "7", "userName": "ada"}))),
    ];
    assert!(is_written(&run(&connector, both, script)));
}

#[test]
fn a_path_that_is_not_understood_gets_another_encoding_and_that_is_remembered() {
    let connector = scim();
    let change = |pairs: &[(&str, Value)], refusal: HttpAnswer| {
        let script = vec![
            on("PATCH /Users/7", refusal),
            on("GET /Users/7", ok(ada())),
            on("PATCH /Users/7", done()).patching(json!([
                {"op": "replace", "value": {ENTERPRISE: {"department": "R"}}},
                {"op": "replace", "path": "emails", "value": [{"type": "work", "value": "w", "primary": true}]},
            ])),
        ];
        is_written(&run(&connector, update(pairs), script))
    };
    assert!(change(
        &[(WORK, json!("w")), (DEPARTMENT, json!("R"))],
        scim_error(400, "invalidPath")
    ));
    let script = vec![
        on("PATCH /Users/7", done()).patching(json!([{"op": "replace", "value": {ENTERPRISE: {"department": "S"}}}])),
    ];
    assert!(is_written(&run(
        &connector,
        update(&[(DEPARTMENT, json!("S"))]),
        script
    )));
}

#[test]
fn a_refusal_is_never_answered_by_the_same_request() {
    for kind in ["invalidPath", "mutability", "noTarget"] {
        let script = vec![
            on("PATCH /Users/7", scim_error(400, kind)),
            on("GET /Users/7", ok(ada())),
        ];
        assert_eq!(
            failure(run(&scim(), update(&[("title", json!("AE"))]), script)).0,
            "reject",
            "{kind}"
        );
    }
    let script = vec![on("PATCH /Users/7", scim_error(400, "invalidValue"))];
    let result = run(&scim(), update(&[("title", json!("AE"))]), script);
    assert_eq!(failure(result), ("reject", "scim-invalid-value".to_owned()));
}

#[test]
fn an_immutable_value_that_is_right_already_does_not_block_the_rest() {
    let operation = update(&[("externalId", json!("x")), ("title", json!("AE"))]);
    let script = vec![
        on("PATCH /Users/7", scim_error(400, "mutability")),
        on("GET /Users/7", ok(ada())),
        on("PATCH /Users/7", done()).patching(json!([{"op": "replace", "path": "title", "value": "AE"}])),
    ];
    assert!(is_written(&run(&scim(), operation, script)));
}

#[test]
fn versions_are_sent_only_where_they_are_declared() {
    let operation = || update_of(&[("title", json!("AE"))], Some("W/\"1\""));
    assert!(is_written(&run(
        &scim(),
        operation(),
        vec![on("PATCH /Users/7", done())]
    )));
    let connector = scim();
    declare(&connector, json!({"etag": {"supported": true}}));
    let script = vec![on("PATCH /Users/7", done()).if_match("W/\"1\"")];
    assert!(is_written(&run(&connector, operation(), script)));
}

#[test]
fn a_stale_version_is_read_again_once() {
    let connector = scim();
    declare(&connector, json!({"etag": {"supported": true}}));
    let newer = || ok(changed("meta", json!({"version": "W/\"2\""})));
    let operation = || update_of(&[("title", json!("AE"))], Some("W/\"1\""));
    for stale in [412, 409] {
        let script = vec![
            on("PATCH /Users/7", answer(stale, "")).if_match("W/\"1\""),
            on("GET /Users/7", newer()),
            on("PATCH /Users/7", done()).if_match("W/\"2\""),
        ];
        assert!(is_written(&run(&connector, operation(), script)));
    }
    let twice = |second: HttpAnswer| {
        vec![
            on("PATCH /Users/7", answer(412, "")).if_match("W/\"1\""),
            on("GET /Users/7", newer()),
            on("PATCH /Users/7", second).if_match("W/\"2\""),
        ]
    };
    assert_eq!(failure(run(&connector, operation(), twice(answer(412, "")))).0, "retry");
    assert!(matches!(
        run(&connector, operation(), twice(answer(409, ""))),
        Ok(Reply::Conflict(_))
    ));
}

#[test]
fn each_answer_ends_with_its_verdict() {
    let operation = || update(&[("title", json!("AE"))]);
    for taken in [
        scim_error(409, "uniqueness"),
        scim_error(400, "uniqueness"),
        answer(409, ""),
    ] {
        let result = run(&scim(), operation(), vec![on("PATCH /Users/7", taken)]);
        assert!(matches!(result, Ok(Reply::Conflict(_))), "{result:?}");
    }
    for (refused, verdict) in [
        (html(404), "halt"),
        (html(200), "halt"),
        (answer(401, ""), "halt"),
        (answer(403, ""), "reject"),
        (answer(202, ""), "retry"),
        (answer(500, ""), "retry"),
        (answer(429, ""), "retry"),
        (broken(), "retry"),
    ] {
        assert_eq!(
            failure(run(&scim(), operation(), vec![on("PATCH /Users/7", refused)])).0,
            verdict
        );
    }
}

#[test]
fn gone_is_believed_only_where_the_list_is() {
    let off = || update(&[("active", json!(false))]);
    let gone = || on("PATCH /Users/7", answer(404, ""));
    let ends = |answer: HttpAnswer| run(&scim(), off(), vec![gone(), on("GET /Users?count=1", answer)]);
    for listed in [list(&[]), list(&[user("8", "y", "eve")])] {
        assert_eq!(ends(listed), Ok(Reply::Absent));
    }
    for (listed, verdict) in [
        (answer(404, ""), "halt"),
        (answer(404, r#"{"message":"no Route matched"}"#), "halt"),
        (ok(json!({"message": "welcome"})), "halt"),
        (answer(403, ""), "halt"),
        (answer(503, ""), "retry"),
        (broken(), "retry"),
    ] {
        assert_eq!(failure(ends(listed)).0, verdict);
    }
    let by_put = with(|config| config.patch = PatchMode::Put);
    let script = vec![
        on("GET /Users/7", answer(404, "")),
        on("GET /Users?count=1", answer(404, "")),
    ];
    assert_eq!(failure(run(&by_put, off(), script)).0, "halt");
}

#[test]
fn a_refusal_to_show_the_account_is_no_refusal_of_the_write() {
    let script = vec![on("PATCH /Users/7", done()), on("GET /Users/7", answer(403, ""))];
    let result = run(&scim(), update(&[("active", json!(false))]), script);
    assert_eq!(failure(result), ("retry", "http-403".to_owned()));
}

#[test]
fn a_pathless_dialect_reads_first_only_for_lists() {
    let connector = with(|config| {
        config.patch = PatchMode::Pathless;
        config.active_as_string = true;
    });
    let off = changed("active", json!("False"));
    let script = vec![on("PATCH /Users/7", ok(off)).patching(json!([{"op": "replace", "value": {"active": "False"}}]))];
    assert!(is_written(&run(
        &connector,
        update(&[("active", json!(false))]),
        script
    )));
    let script = vec![
        on("GET /Users/7", ok(ada())),
        on("PATCH /Users/7", done()).patching(json!([{"op": "replace", "value":
            {"emails": [{"type": "work", "value": "w", "primary": true}]}}])),
    ];
    assert!(is_written(&run(&connector, update(&[(WORK, json!("w"))]), script)));
}

#[test]
fn a_renamed_account_is_found_by_its_new_name_in_the_listing() {
    let connector = with(|config| config.filter = FilterMode::None);
    let find = |name: &str| Operation::Find {
        external_id: String::new(),
        by: vec![(path("userName"), name.into())],
    };
    let script = vec![
        on("GET /Users?count=100", list(&[ada()])),
        on("GET /Users/7", ok(ada())),
    ];
    assert_eq!(ids(&run(&connector, find("ada"), script)), ["7"]);
    run(
        &connector,
        update(&[("userName", json!("byron"))]),
        vec![on("PATCH /Users/7", done())],
    )
    .unwrap();
    assert!(ids(&run(&connector, find("ada"), vec![time()])).is_empty());
    let script = vec![time(), on("GET /Users/7", ok(user("7", "x", "byron")))];
    assert_eq!(ids(&run(&connector, find("byron"), script)), ["7"]);
}

#[test]
fn names_of_operations_are_written_as_the_server_knows_them() {
    let connector = with(|config| config.capital_operations = true);
    let operations = json!([
        {"op": "Remove", "path": "nickName"},
        {"op": "Replace", "path": "title", "value": "VP"},
    ]);
    let script = vec![on("PATCH /Users/1", ok(user("1", "", "ada"))).patching(operations)];
    let operation = Operation::Update {
        id: id("1"),
        values: values(&[("title", json!("VP")), ("nickName", Value::Null)]),
        etag: None,
    };
    assert!(matches!(run(&connector, operation, script), Ok(Reply::Written { .. })));
}
