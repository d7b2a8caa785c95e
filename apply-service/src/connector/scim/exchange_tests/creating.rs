//! Creating, above all when the answer is lost.

use super::*;

const BY_KEY: &str = r#"GET /Users?filter=externalId eq "x"&count=10"#;
const BY_NAME: &str = r#"GET /Users?filter=userName eq "ada"&count=10"#;

fn create() -> Operation {
    let pairs = [
        ("externalId", json!("x")),
        ("userName", json!("ada")),
        ("active", json!(true)),
        ("title", Value::Null),
        (WORK, json!("ada@acme.com")),
    ];
    Operation::Create { values: values(&pairs) }
}

fn trusted() -> ScimConnector {
    with(|config| config.filter = FilterMode::Trusted)
}

fn written(result: Result<Reply, Failure>) -> String {
    match result {
        Ok(Reply::Written {
            id,
            account: Some(account),
        }) if account.id == id => id.0,
        other => panic!("not written: {other:?}"),
    }
}

#[test]
fn a_create_sends_a_whole_account_without_empty_values() {
    let body = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "externalId": "x", "userName": "ada",
        "active": true, "emails": [{"type": "work", "value": "ada@acme.com", "primary": true}]});
    for status in [200, 201] {
        let made = answer(status, &user("7", "x", "ada").to_string());
        let script = vec![on("POST /Users", made).with_body(body.clone())];
        assert_eq!(written(run(&scim(), create(), script)), "7");
    }
}

#[test]
fn the_place_of_a_new_account_is_its_id_whatever_location_says() {
    for location in [
        None,
        Some("/scim/Users/9"),
        Some("http://inside:8080/Users/9"),
        Some("https://evil.example/7"),
    ] {
        let mut made = answer(201, &user("7", "x", "ada").to_string());
        if let (HttpAnswer::Response { headers, .. }, Some(location)) = (&mut made, location) {
            headers.push(("location".to_owned(), location.to_owned()));
        }
        let connector = scim();
        assert_eq!(written(run(&connector, create(), vec![on("POST /Users", made)])), "7");
        let script = vec![on("GET /Users/7", ok(user("7", "x", "ada")))];
        let read = run(&connector, Operation::Read(RemoteId("7".to_owned())), script);
        assert!(matches!(read, Ok(Reply::Found(_))), "{location:?}");
    }
}

#[test]
fn a_new_account_is_read_back_where_the_dialect_says_so_and_counts_also_when_it_cannot_be() {
    let shown = |title: &str| {
        let mut account = user("7", "x", "ada");
        account["title"] = json!(title);
        account
    };
    for (read, title) in [
        (ok(shown("ae")), "ae"),
        (answer(404, ""), "AE"),
        (answer(503, ""), "AE"),
    ] {
        let connector = with(|config| config.verify_writes = true);
        let script = vec![
            on("POST /Users", answer(201, &shown("AE").to_string())),
            on("GET /Users/7", read),
        ];
        let Ok(Reply::Written {
            account: Some(account), ..
        }) = run(&connector, create(), script)
        else {
            panic!("not written");
        };
        let held = connector.read_attribute(&account, &AttributePath("title".into()));
        assert_eq!(held, Some(json!(title)));
    }
}

#[test]
fn a_lost_answer_is_looked_up_and_our_key_proves_it() {
    for lost in [
        broken(),
        answer(500, ""),
        answer(502, ""),
        answer(504, ""),
        answer(408, ""),
        answer(202, ""),
    ] {
        let script = vec![on("POST /Users", lost), on(BY_KEY, list(&[user("7", "x", "ada")]))];
        assert_eq!(written(run(&trusted(), create(), script)), "7");
    }
}

#[test]
fn a_lost_answer_without_effect_is_tried_again_and_never_repeated_here() {
    let script = vec![
        on("POST /Users", broken()),
        on(BY_KEY, list(&[])),
        on(BY_NAME, list(&[])),
    ];
    assert_eq!(
        failure(run(&trusted(), create(), script)),
        ("retry", "timeout".to_owned())
    );
    let script = vec![on("POST /Users", broken()), on(BY_KEY, broken())];
    assert_eq!(
        failure(run(&trusted(), create(), script)),
        ("retry", "timeout".to_owned())
    );
    let script = vec![on("POST /Users", broken()), on(BY_KEY, answer(401, ""))];
    assert_eq!(
        failure(run(&trusted(), create(), script)),
        ("halt", "http-401".to_owned())
    );
}

#[test]
fn an_account_of_somebody_else_is_not_taken_for_ours() {
    for theirs in [user("8", "y", "ada"), user("8", "", "ada")] {
        let script = vec![
            on("POST /Users", broken()),
            on(BY_KEY, list(&[])),
            on(BY_NAME, list(&[theirs])),
        ];
        let Ok(Reply::Conflict(refusal)) = run(&trusted(), create(), script) else {
            panic!("a conflict")
        };
        assert_eq!(refusal.code, "create-unclear", "whether ours was made is open");
    }
}

#[test]
fn a_made_account_without_a_body_is_looked_up() {
    let made = || answer(201, "");
    let script = vec![on("POST /Users", made()), on(BY_KEY, list(&[user("7", "x", "ada")]))];
    assert_eq!(written(run(&trusted(), create(), script)), "7");
    // The target drops external ids; it said that it made the account, so the name is enough.
    let script = vec![
        on("POST /Users", made()),
        on(BY_KEY, list(&[])),
        on(BY_NAME, list(&[user("7", "", "ada")])),
    ];
    assert_eq!(written(run(&trusted(), create(), script)), "7");
    let script = vec![on("POST /Users", made()), on(BY_KEY, list(&[])), on(BY_NAME, list(&[]))];
    assert_eq!(
        failure(run(&trusted(), create(), script)),
        ("retry", "created-not-visible".to_owned())
    );
}

#[test]
fn taken_names_are_a_conflict_however_the_target_says_it() {
    for taken in [
        scim_error(409, "uniqueness"),
        answer(409, ""),
        scim_error(400, "uniqueness"),
        answer(400, r#"{"detail":"User already exists"}"#),
    ] {
        let result = run(&scim(), create(), vec![on("POST /Users", taken)]);
        assert!(
            matches!(&result, Ok(Reply::Conflict(refusal)) if refusal.code != "create-unclear"),
            "{result:?}"
        );
    }
}

#[test]
fn refusals_end_with_their_verdict_and_without_a_look_up() {
    for (refused, verdict) in [
        (scim_error(400, "invalidValue"), "reject"),
        (answer(403, ""), "reject"),
        (answer(507, ""), "reject"),
        (answer(501, ""), "reject"),
        (answer(401, ""), "halt"),
        (html(200), "halt"),
        (answer(404, ""), "halt"),
        (answer(429, ""), "retry"),
        (answer(503, ""), "retry"),
        (
            HttpAnswer::NotSent(Refusal {
                code: "lease-expired".to_owned(),
                reason: String::new(),
            }),
            "retry",
        ),
    ] {
        assert_eq!(
            failure(run(&scim(), create(), vec![on("POST /Users", refused)])).0,
            verdict
        );
    }
}

#[test]
fn another_media_type_is_tried_once_and_remembered() {
    let connector = scim();
    let made = || answer(201, &user("7", "x", "ada").to_string());
    let script = vec![on("POST /Users", answer(415, "")), on("POST /Users", made())];
    assert_eq!(written(run(&connector, create(), script)), "7");
    let mut exchange = connector.begin(create());
    let Step::Send(request) = exchange.step(None) else {
        panic!("a request")
    };
    assert_eq!(request.headers, [("content-type", "application/json".to_owned())]);
    let script = vec![on("POST /Users", answer(415, "")), on("POST /Users", answer(415, ""))];
    assert_eq!(failure(run(&scim(), create(), script)).0, "reject");
}

#[test]
fn a_new_account_is_found_although_the_listing_is_older() {
    let connector = with(|config| config.filter = FilterMode::None);
    let find = || Operation::Find {
        external_id: "x".to_owned(),
        by: Vec::new(),
    };
    assert!(ids(&run(&connector, find(), vec![on("GET /Users?count=100", list(&[]))])).is_empty());
    let made = user("7", "x", "ada");
    run(
        &connector,
        create(),
        vec![on("POST /Users", answer(201, &made.to_string()))],
    )
    .unwrap();
    assert_eq!(
        ids(&run(&connector, find(), vec![time(), on("GET /Users/7", ok(made))])),
        ["7"]
    );
}

#[test]
fn a_path_that_is_none_is_refused_before_anything_is_sent() {
    let operation = Operation::Create {
        values: values(&[("usrName", json!("ada"))]),
    };
    assert_eq!(
        failure(run(&scim(), operation, vec![])),
        ("reject", "bad-path".to_owned())
    );
}
