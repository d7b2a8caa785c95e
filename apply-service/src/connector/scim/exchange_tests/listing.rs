//! One page per operation, by index and by cursor, and reading and deleting single accounts.

use super::*;

fn next(result: &Result<Reply, Failure>) -> Option<String> {
    match result {
        Ok(Reply::Page { next, .. }) => next.clone(),
        other => panic!("no page: {other:?}"),
    }
}

fn first() -> Operation {
    Operation::List { cursor: None }
}

#[test]
fn pages_follow_each_other_by_what_was_received() {
    let connector = scim();
    let people = [user("1", "", "a"), user("2", "", "b"), user("3", "", "c")];
    let result = run(
        &connector,
        first(),
        vec![on("GET /Users?count=100", page(&people[..2], 3))],
    );
    assert_eq!(ids(&result), ["1", "2"]);
    let again = Operation::List { cursor: next(&result) };
    let result = run(
        &connector,
        again,
        vec![on("GET /Users?startIndex=3&count=100", page(&people[2..], 3))],
    );
    assert_eq!(ids(&result), ["3"]);
    assert_eq!(next(&result), None);
}

#[test]
fn a_server_that_answers_page_one_for_ever_ends_the_list() {
    let connector = scim();
    let everyone = [user("1", "", "a"), user("2", "", "b")];
    let result = run(
        &connector,
        first(),
        vec![on("GET /Users?count=100", page(&everyone, 9))],
    );
    let again = Operation::List { cursor: next(&result) };
    let result = run(
        &connector,
        again,
        vec![on("GET /Users?startIndex=3&count=100", page(&everyone, 9))],
    );
    assert_eq!(failure(result), ("retry", "list-incomplete".to_owned()));
}

#[test]
fn cursors_are_used_where_offered_and_given_up_when_refused() {
    let connector = scim();
    declare(
        &connector,
        json!({"patch": {"supported": true}, "pagination": {"cursor": true, "index": false}}),
    );
    let with_cursor = |users: &[Value], cursor: &str| ok(json!({"Resources": users, "nextCursor": cursor}));
    let result = run(
        &connector,
        first(),
        vec![on(
            "GET /Users?cursor=&count=100",
            with_cursor(&[user("1", "", "a")], "c1"),
        )],
    );
    let again = Operation::List { cursor: next(&result) };
    let script = vec![on(
        "GET /Users?cursor=c1&count=100",
        with_cursor(&[user("2", "", "b")], ""),
    )];
    let result = run(&connector, again.clone(), script);
    assert_eq!(ids(&result), ["2"]);
    // Without nextCursor it was the last page (RFC 9865 section 2): who pages by cursor alone refuses an index.
    assert!(next(&result).is_none());
    let expired = run(
        &connector,
        again,
        vec![on("GET /Users?cursor=c1&count=100", scim_error(400, "expiredCursor"))],
    );
    assert_eq!(failure(expired), ("retry", "cursor-refused".to_owned()));
    let script = vec![
        on("GET /Users?cursor=&count=100", answer(501, "")),
        on("GET /Users?count=100", list(&[user("1", "", "a")])),
    ];
    assert_eq!(ids(&run(&connector, first(), script)), ["1"]);
    assert_eq!(
        ids(&run(
            &connector,
            first(),
            vec![on("GET /Users?count=100", list(&[user("1", "", "a")]))]
        )),
        ["1"]
    );
}

#[test]
fn too_many_asks_for_less_once() {
    let connector = scim();
    let script = vec![
        on("GET /Users?count=100", scim_error(400, "tooMany")),
        on("GET /Users?count=20", list(&[user("1", "", "a")])),
    ];
    assert_eq!(ids(&run(&connector, first(), script)), ["1"]);
    let result = run(
        &connector,
        first(),
        vec![on("GET /Users?count=20", scim_error(400, "tooMany"))],
    );
    assert_eq!(failure(result), ("halt", "scim-too-many".to_owned()));
}

#[test]
fn a_foreign_page_mark_is_refused() {
    let result = run(
        &scim(),
        Operation::List {
            cursor: Some("x".to_owned()),
        },
        vec![],
    );
    assert_eq!(failure(result), ("reject", "bad-cursor".to_owned()));
}

#[test]
fn reading_tells_absent_from_not_readable() {
    let read = || Operation::Read(id("a/b"));
    let line = "GET /Users/a/b";
    assert_eq!(run(&scim(), read(), vec![on(line, answer(404, ""))]), Ok(Reply::Absent));
    for (answer, verdict) in [
        (html(404), "halt"),
        (answer(403, ""), "reject"),
        (answer(500, ""), "retry"),
        (broken(), "retry"),
        (ok(user("other", "", "ada")), "reject"),
        (list(&[]), "reject"),
    ] {
        assert_eq!(failure(run(&scim(), read(), vec![on(line, answer)])).0, verdict);
    }
    assert_eq!(
        failure(run(&scim(), Operation::Read(id("..")), vec![])),
        ("reject", "unusable-id".to_owned())
    );
}

#[test]
fn deleted_and_gone_are_the_same() {
    let delete = || Operation::Delete(id("1"));
    for gone in [answer(204, ""), answer(200, ""), answer(404, ""), answer(410, "")] {
        assert_eq!(
            run(&scim(), delete(), vec![on("DELETE /Users/1", gone)]),
            Ok(Reply::Deleted)
        );
    }
    for (answer, verdict) in [
        (html(404), "halt"),
        (answer(202, ""), "retry"),
        (answer(405, ""), "reject"),
        (broken(), "retry"),
    ] {
        assert_eq!(
            failure(run(&scim(), delete(), vec![on("DELETE /Users/1", answer)])).0,
            verdict
        );
    }
}

#[test]
fn cursors_that_stand_still_or_go_round_end_the_list() {
    let cursors = || {
        let connector = with(|config| config.scan_pages_max = 4);
        declare(
            &connector,
            json!({"patch": {"supported": true}, "pagination": {"cursor": true}}),
        );
        connector
    };
    let with_cursor = |users: &[Value], cursor: &str| ok(json!({"Resources": users, "nextCursor": cursor}));
    let one = |id: &str| [user(id, "", id)];
    // The same cursor again, with something new each time.
    let connector = cursors();
    let script = vec![on("GET /Users?cursor=&count=100", with_cursor(&one("1"), "c"))];
    let again = Operation::List {
        cursor: next(&run(&connector, first(), script)),
    };
    let script = vec![on("GET /Users?cursor=c&count=100", with_cursor(&one("2"), "c"))];
    assert_eq!(
        failure(run(&connector, again, script)),
        ("retry", "list-incomplete".to_owned())
    );
    // A cursor that is always new and never ends: the number of pages does.
    let connector = cursors();
    let mut cursor = None;
    for number in 0..4 {
        let line = match number {
            0 => "GET /Users?cursor=&count=100".to_owned(),
            _ => format!("GET /Users?cursor=c{}&count=100", number - 1),
        };
        let script = vec![on(&line, with_cursor(&one(&number.to_string()), &format!("c{number}")))];
        let result = run(&connector, Operation::List { cursor: cursor.take() }, script);
        match number {
            3 => assert_eq!(failure(result), ("halt", "list-too-long".to_owned())),
            _ => cursor = next(&result),
        }
    }
}
