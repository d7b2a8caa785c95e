//! Creating, changing, switching, deleting.

use super::*;
use crate::logic::notification::Onboarding;

fn ada() -> AttributeValues {
    values(&[
        ("externalId", json!("005A")),
        ("active", json!(true)),
        ("userName", json!("ada\"},{")),
        ("name.givenName", json!("Ada")),
        ("badge", json!("B-7")),
    ])
}

fn create() -> Operation {
    Operation::Create { values: ada() }
}

#[test]
fn a_body_is_made_of_values_and_never_of_text() {
    let body = json!({"ext": "005A", "login": "ada\"},{", "name": {"first": "Ada"}, "badge": "B-7"});
    let script = vec![on("POST /users", status(201, &user(7, "005A", "ada"))).with_body(body)];
    let Ok(Reply::Written {
        id,
        account: Some(account),
    }) = run(&connector(), create(), script)
    else {
        panic!("written")
    };
    assert_eq!((id.0.as_str(), account.active), ("7", Some(true)));
    let form = with(|description| {
        description["operations"]["create"] = json!({"method": "POST", "path": "/users", "form": {"a&b": "{{ values.badge }}", "no": "{{ values.title }}"},
                "sendFields": true, "id": "$.made.id"});
    });
    let text = "a%26b=B-7&badge=B-7&ext=005A&name.first=Ada&login=ada%22%7D%2C%7B";
    let script = vec![on("POST /users", ok(json!({"made": {"id": 9}}))).with_body(json!(text))];
    assert_eq!(
        run(&form, create(), script),
        Ok(Reply::Written {
            id: super::id("9"),
            account: None
        })
    );
}

#[test]
fn a_create_without_a_certain_answer_is_looked_up_and_never_repeated() {
    for lost in [broken(), status(500, &json!({})), status(202, &json!({}))] {
        let ours = user(7, "005A", "ada");
        let script = vec![
            on("POST /users", lost.clone()),
            on("GET /users", users(&[user(6, "", "eve"), ours.clone()])),
            on("GET /users/7", ok(ours)),
        ];
        assert!(matches!(run(&connector(), create(), script), Ok(Reply::Written { .. })));
        let script = vec![on("POST /users", lost.clone()), on("GET /users", users(&[]))];
        assert_eq!(failure(run(&connector(), create(), script)).0, "retry");
    }
    // The name is there and does not carry our key, or somebody else's.
    for (lost, key) in [
        (broken(), ""),
        (broken(), "005B"),
        (ok(json!({"message": "success"})), "005B"),
    ] {
        let theirs = user(8, key, "ADA\"},{");
        let script = vec![
            on("POST /users", lost),
            on("GET /users", users(std::slice::from_ref(&theirs))),
            on("GET /users/8", ok(theirs)),
        ];
        let Ok(Reply::Conflict(refusal)) = run(&connector(), create(), script) else {
            panic!("a conflict")
        };
        assert_eq!(refusal.code, "create-unclear");
    }
}

#[test]
fn a_create_that_shows_nothing_is_looked_up_and_one_that_was_not_sent_is_not() {
    let ours = user(7, "005A", "ada");
    let script = vec![
        on("POST /users", ok(json!({"message": "success"}))),
        on("GET /users", users(std::slice::from_ref(&ours))),
        on("GET /users/7", ok(ours)),
    ];
    assert!(matches!(run(&connector(), create(), script), Ok(Reply::Written { .. })));
    let not_sent = HttpAnswer::NotSent(Refusal {
        code: "connect".to_owned(),
        reason: String::new(),
    });
    let result = run(&connector(), create(), vec![on("POST /users", not_sent)]);
    assert_eq!(failure(result), ("retry", "connect".to_owned()));
    let result = run(&connector(), create(), vec![on("POST /users", status(409, &json!({})))]);
    assert!(matches!(result, Ok(Reply::Conflict(_))));
}

#[test]
fn a_create_that_is_given_up_voids_the_listing() {
    let connector = with(|description| {
        description["operations"]["check"] = json!({"method": "GET", "path": "/ping"});
    });
    let script = vec![on("GET /users", users(&[]))];
    assert_eq!(run(&connector, find("005A", ""), script), Ok(Reply::Found(vec![])));
    let mut exchange = connector.begin(create());
    assert!(matches!(exchange.step(None), Step::Complete(_)));
    drop(exchange);
    let ours = user(7, "005A", "ada");
    let script = vec![
        on("GET /users", users(std::slice::from_ref(&ours))),
        on("GET /users/7", ok(ours)),
    ];
    assert_eq!(ids(&run(&connector, find("005A", ""), script)), ["7"]);
}

#[test]
fn on_and_off_are_calls_of_their_own_before_the_rest() {
    for (active, word) in [(true, "on"), (false, "off")] {
        let script = vec![
            on(&format!("POST /users/a%2Fb/{word}"), ok(json!({}))).with_body(json!({})),
            on("PATCH /users/a%2Fb", status(204, &Value::Null))
                .with_body(json!({"title": "", "name": {"first": null}})),
        ];
        let pairs = [
            ("active", json!(active)),
            ("title", Value::Null),
            ("name.givenName", Value::Null),
            ("badge", json!("only with new accounts")),
        ];
        let result = run(&connector(), update("a/b", &pairs), script);
        assert!(matches!(result, Ok(Reply::Written { .. })), "{result:?}");
    }
    let script = vec![on("POST /users/7/off", broken())];
    assert_eq!(
        failure(run(&connector(), update("7", &[("active", json!(false))]), script)).0,
        "retry"
    );
    let nothing = run(&connector(), update("7", &[("badge", json!("x"))]), vec![]);
    assert!(matches!(nothing, Ok(Reply::Written { .. })));
}

#[test]
fn an_account_that_is_gone_is_absent_where_the_address_names_it_and_nowhere_else() {
    let gone = || status(404, &json!({}));
    let script = vec![on("PATCH /users/7", gone())];
    assert_eq!(
        run(&connector(), update("7", &[("title", json!("x"))]), script),
        Ok(Reply::Absent)
    );
    assert_eq!(
        run(&connector(), Operation::Read(id("7")), vec![on("GET /users/7", gone())]),
        Ok(Reply::Absent)
    );
    let deleted = run(
        &connector(),
        Operation::Delete(id("7")),
        vec![on("DELETE /users/7", gone())],
    );
    assert_eq!(deleted, Ok(Reply::Deleted));
    // A 404 of a call whose name is wrong must not make an account look gone: another one would be made.
    let rpc = with(|description| {
        description["operations"]["update"] = json!({"method": "POST", "path": "/updat_user",
            "form": {"id": "{{ account.id }}"}, "sendFields": true});
    });
    let result = run(
        &rpc,
        update("7", &[("title", json!("x"))]),
        vec![on("POST /updat_user", gone())],
    );
    assert_eq!(failure(result), ("halt", "http-404".to_owned()));
}

#[test]
fn an_invitation_is_a_write_whose_answer_is_not_kept_and_the_account_tells_how_far_its_user_is() {
    let inviting = with(|description| {
        description["operations"]["invite"] =
            json!({"method": "POST", "path": "/users/{{ account.id }}/invite", "json": {}});
        description["account"]["onboarding"] =
            json!({"read": "$.status", "invited": ["STAGED", 2], "activated": ["active"]});
    });
    assert!(!inviting.lacks().contains(&"invite"));
    // A vendor that answers with a password is taken at its word and the password left where it is.
    let leaky = ok(json!({"NewPassword": "s3cret"}));
    let result = run(
        &inviting,
        Operation::Invite(id("7")),
        vec![on("POST /users/7/invite", leaky)],
    );
    assert_eq!(result, Ok(Reply::Taken));
    for (answer, expected) in [
        (status(503, &json!({})), "retry"),
        (broken(), "retry"),
        (status(422, &json!({})), "reject"),
    ] {
        let result = run(
            &inviting,
            Operation::Invite(id("7")),
            vec![on("POST /users/7/invite", answer)],
        );
        assert_eq!(failure(result).0, expected);
    }
    let gone = vec![on("POST /users/7/invite", status(404, &json!({})))];
    assert_eq!(run(&inviting, Operation::Invite(id("7")), gone), Ok(Reply::Absent));
    for (shown, expected) in [
        (json!({"id": "7", "status": "staged"}), Some(Onboarding::Invited)),
        (json!({"id": "7", "status": 2}), Some(Onboarding::Invited)),
        (json!({"id": "7", "status": "ACTIVE"}), Some(Onboarding::Activated)),
        (json!({"id": "7", "status": "locked"}), None),
        (json!({"id": "7"}), None),
    ] {
        let result = run(
            &inviting,
            Operation::Read(id("7")),
            vec![on("GET /users/7", ok(shown.clone()))],
        );
        let Ok(Reply::Found(found)) = result else {
            panic!("{shown}: {result:?}")
        };
        assert_eq!(inviting.onboarding(&found[0]), expected, "{shown}");
        assert_eq!(
            connector().onboarding(&found[0]),
            None,
            "where the description does not say"
        );
    }
}

#[test]
fn an_id_that_cannot_be_a_segment_concerns_one_person_only() {
    for bad in ["", ".", ".."] {
        let result = run(&connector(), Operation::Delete(id(bad)), vec![]);
        assert_eq!(failure(result), ("reject", "request-unmade".to_owned()), "{bad:?}");
    }
}

#[test]
fn what_the_description_lacks_is_said() {
    let connector = with(|description| {
        let operations = description["operations"].as_object_mut().unwrap();
        operations.retain(|name, _| name == "list");
    });
    assert_eq!(
        connector.lacks(),
        ["create", "update", "deactivate", "reactivate", "delete", "invite"]
    );
    for operation in [
        create(),
        Operation::Delete(id("7")),
        Operation::Read(id("7")),
        Operation::Invite(id("7")),
    ] {
        assert_eq!(
            failure(run(&connector, operation, vec![])),
            ("reject", "not-offered".to_owned())
        );
    }
    let checked = run(&connector, Operation::Check, vec![on("GET /users", users(&[]))]);
    assert!(matches!(checked, Ok(Reply::Checked(words)) if words[1].contains("no create")));
}
