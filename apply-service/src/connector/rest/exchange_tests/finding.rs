//! Looking up: by calls, by the list, and what proves that there is nobody.

use super::*;

fn by_call(proves: bool) -> RestConnector {
    with(|description| {
        description["operations"]["find"] = json!({"userName": {
            "method": "GET", "path": "/search", "query": {"q": "{{ key }}"}, "accounts": "$.users", "provesAbsence": proves}});
        description["account"]["fields"]["externalId"] = json!({"send": "ext"});
    })
}

#[test]
fn a_call_that_proves_absence_needs_no_list_and_one_that_does_not_has_the_list_read() {
    let search = || on("GET /search?q=a%2Bb%26c%40d", users(&[]));
    assert_eq!(
        run(&by_call(true), find("x", "a+b&c@d"), vec![search()]),
        Ok(Reply::Found(vec![]))
    );
    let script = vec![search(), on("GET /users", users(&[user(1, "", "bob")]))];
    assert_eq!(
        run(&by_call(false), find("x", "a+b&c@d"), script),
        Ok(Reply::Found(vec![]))
    );
    let listed = [user(1, "", "bob"), user(2, "", "A+B&C@D")];
    let script = vec![
        search(),
        on("GET /users", users(&listed)),
        on("GET /users/2", ok(listed[1].clone())),
    ];
    assert_eq!(ids(&run(&by_call(false), find("x", "a+b&c@d"), script)), ["2"]);
}

#[test]
fn hits_that_hold_another_value_were_not_asked_for_and_prove_nothing() {
    // A search that matches by prefix.
    let script = vec![
        on("GET /search?q=ad", users(&[user(1, "", "ada")])),
        on("GET /users", users(&[user(1, "", "ada")])),
    ];
    assert_eq!(run(&by_call(true), find("x", "ad"), script), Ok(Reply::Found(vec![])));
}

#[test]
fn our_key_is_looked_for_first_and_by_its_exact_spelling() {
    let connector = connector();
    let listed = [user(1, "005A", "bob"), user(2, "", "ada"), user(3, "005a", "eve")];
    let script = vec![
        on("GET /users", users(&listed)),
        on("GET /users/1", ok(listed[0].clone())),
        on("GET /users/3", ok(listed[2].clone())),
    ];
    assert_eq!(ids(&run(&connector, find("005A", "ada"), script)), ["1"]);
}

#[test]
fn an_old_listing_is_not_believed_and_a_candidate_is_read_before_it_counts() {
    let connector = connector();
    let listed = [user(1, "x1", "ada")];
    let script = vec![
        on("GET /users", users(&listed)),
        on("GET /users/1", ok(user(1, "x1", "renamed"))),
    ];
    assert_eq!(run(&connector, find("", "ada"), script), Ok(Reply::Found(vec![])));
    // No call tells the time cheaply: the list is read again.
    let script = vec![on("GET /users", users(&[]))];
    assert_eq!(run(&connector, find("x1", ""), script), Ok(Reply::Found(vec![])));
}

#[test]
fn a_young_listing_stands_in_for_look_ups_until_it_is_old() {
    let connector = with(|description| {
        description["operations"]["check"] = json!({"method": "GET", "path": "/ping"});
    });
    let at = |mut answer: HttpAnswer, time: &str| {
        if let HttpAnswer::Response { headers, .. } = &mut answer {
            headers.push(("date".to_owned(), format!("Tue, 03 Nov 2026 {time} GMT")));
        }
        answer
    };
    let ada = user(1, "x1", "ada");
    let script = vec![on("GET /users", at(users(&[]), "10:00:00"))];
    assert_eq!(run(&connector, find("x1", ""), script), Ok(Reply::Found(vec![])));
    let script = vec![on("GET /ping", at(ok(json!({})), "10:09:00"))];
    assert_eq!(run(&connector, find("x1", ""), script), Ok(Reply::Found(vec![])));
    let script = vec![
        on("GET /ping", at(ok(json!({})), "10:11:00")),
        on("GET /users", at(users(std::slice::from_ref(&ada)), "10:11:01")),
        on("GET /users/1", ok(ada)),
    ];
    assert_eq!(ids(&run(&connector, find("x1", ""), script)), ["1"]);
}

#[test]
fn what_is_no_list_of_accounts_proves_nobody_absent() {
    for (body, code) in [
        (json!({"error": "no"}), "unexpected-answer"),
        (json!({"users": [{"login": "ada"}]}), "unexpected-answer"),
    ] {
        let result = run(&connector(), find("x", "ada"), vec![on("GET /users", ok(body))]);
        assert_eq!(failure(result), ("halt", code.to_owned()));
    }
    let script = vec![on("GET /users", answer(200, "text/html", "<html>"))];
    assert_eq!(
        failure(run(&connector(), find("x", "ada"), script)),
        ("halt", "html-answer".to_owned())
    );
    let null = vec![on("GET /users", ok(json!({"users": null})))];
    assert_eq!(run(&connector(), find("x", "ada"), null), Ok(Reply::Found(vec![])));
}

#[test]
fn ids_are_text_whatever_they_are_written_as() {
    let body = r#"{"users": [{"id": 123456789012345678901234567890, "ext": "x", "login": "ada"}]}"#;
    let read = r#"{"id": 123456789012345678901234567890, "ext": "x", "login": "ada"}"#;
    let script = vec![
        on("GET /users", answer(200, "application/json", body)),
        on(
            "GET /users/123456789012345678901234567890",
            answer(200, "application/json", read),
        ),
    ];
    assert_eq!(
        ids(&run(&connector(), find("x", ""), script)),
        ["123456789012345678901234567890"]
    );
}

#[test]
fn who_cannot_be_asked_for_is_not_taken_for_absent() {
    let blind = with(|description| description["account"]["fields"]["externalId"] = json!({"send": "ext"}));
    let result = run(&blind, find("005A", ""), vec![]);
    assert_eq!(failure(result), ("reject", "nothing-to-look-by".to_owned()));
}
