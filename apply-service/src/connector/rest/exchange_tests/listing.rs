//! Lists: every style of paging, and every way in which a list goes in circles.

use super::*;

fn paged(paging: Value, query: Value) -> RestConnector {
    with(|description| {
        description["operations"]["list"]["paging"] = paging;
        description["operations"]["list"]["query"] = query;
    })
}

/// All ids of a list, page by page, each page as an operation of its own; the failure when there is one.
fn all(connector: &RestConnector, script: Vec<Expected>) -> Result<Vec<String>, (&'static str, String)> {
    let (mut found, mut cursor) = (Vec::new(), None);
    let mut script = script.into_iter();
    loop {
        let expected = script.next().expect("a page that is not in the script");
        let result = run(connector, Operation::List { cursor: cursor.take() }, vec![expected]);
        match result {
            Ok(Reply::Page { accounts, next }) => {
                found.extend(accounts.into_iter().map(|account| account.id.0));
                match next {
                    Some(next) => cursor = Some(next),
                    None => {
                        assert!(script.next().is_none(), "ended early");
                        return Ok(found);
                    }
                }
            }
            result => return Err(failure(result)),
        }
    }
}

fn page(ids: &[u64]) -> HttpAnswer {
    let all: Vec<Value> = ids.iter().map(|id| user(*id, "", "x")).collect();
    users(&all)
}

#[test]
fn each_style_reads_everybody() {
    let by_page = paged(
        json!({"style": "page", "size": 2}),
        json!({"page": "{{ page.number }}", "n": "{{ page.size }}"}),
    );
    let script = vec![
        on("GET /users?n=2&page=1", page(&[1, 2])),
        on("GET /users?n=2&page=2", page(&[3])),
        on("GET /users?n=2&page=3", page(&[])),
    ];
    assert_eq!(all(&by_page, script).unwrap(), ["1", "2", "3"]);

    let by_offset = paged(
        json!({"style": "offset", "total": "$.total"}),
        json!({"skip": "{{ page.offset }}"}),
    );
    let counted =
        |ids: &[u64]| ok(json!({"total": 3, "users": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()}));
    let script = vec![
        on("GET /users?skip=0", counted(&[1, 2])),
        on("GET /users?skip=2", counted(&[3])),
    ];
    assert_eq!(all(&by_offset, script).unwrap(), ["1", "2", "3"]);

    let by_cursor = paged(
        json!({"style": "cursor", "next": "$.next"}),
        json!({"after": "{{ page.cursor }}"}),
    );
    let marked = |ids: &[u64], next: Value| {
        ok(json!({"next": next, "users": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()}))
    };
    let script = vec![
        on("GET /users", marked(&[1], json!("a:b/c"))),
        on("GET /users?after=a%3Ab%2Fc", marked(&[], json!(7))),
        on("GET /users?after=7", marked(&[2], Value::Null)),
    ];
    assert_eq!(all(&by_cursor, script).unwrap(), ["1", "2"]);

    let by_link = paged(json!({"style": "link"}), json!({}));
    let linked = |ids: &[u64], link: &str| match page(ids) {
        HttpAnswer::Response {
            status,
            body,
            mut headers,
        } => {
            // Of several lines any may be the one.
            headers.push(("link".to_owned(), "</api/users?p=0>; rel=\"prev\"".to_owned()));
            headers.push(("link".to_owned(), link.to_owned()));
            HttpAnswer::Response { status, headers, body }
        }
        other => other,
    };
    let script = vec![
        on(
            "GET /users",
            linked(&[1], "<https://h.example/api/users?p=2>; rel=\"next\""),
        ),
        on("GET /users?p=2", linked(&[2], "</api/users?p=3>; rel=next")),
        on("GET /users?p=3", linked(&[3], "<?p=4>; rel=next")),
        on("GET /users?p=4", linked(&[4], "</api/users?p=1>; rel=\"first\"")),
    ];
    assert_eq!(all(&by_link, script).unwrap(), ["1", "2", "3", "4"]);
    for elsewhere in [
        "https://evil.example/api/users",
        "//evil.example/x",
        "/other/users",
        "ftp:x",
    ] {
        let script = vec![on("GET /users", linked(&[1], &format!("<{elsewhere}>; rel=next")))];
        assert_eq!(
            all(&by_link, script).unwrap_err(),
            ("halt", "link-elsewhere".to_owned()),
            "{elsewhere}"
        );
    }
}

#[test]
fn no_list_goes_in_circles_and_none_that_does_is_believed() {
    let by_page = || {
        paged(
            json!({"style": "page", "size": 2, "total": "$.total"}),
            json!({"page": "{{ page.number }}"}),
        )
    };
    let repeated = vec![
        on("GET /users?page=1", page(&[1, 2])),
        on("GET /users?page=2", page(&[1, 2])),
    ];
    let incomplete = ("retry", "list-incomplete".to_owned());
    assert_eq!(all(&by_page(), repeated).unwrap_err(), incomplete, "page 1 for ever");
    let short = vec![on("GET /users?page=1", page(&[1])), on("GET /users?page=2", page(&[1]))];
    assert_eq!(
        all(&by_page(), short).unwrap(),
        ["1"],
        "one short page, shown again, was everybody"
    );
    let fewer = vec![
        on("GET /users?page=1", ok(json!({"total": 3, "users": [{"id": 1}]}))),
        on("GET /users?page=2", ok(json!({"total": 3, "users": []}))),
        on("GET /users?page=3", ok(json!({"total": 3, "users": []}))),
    ];
    assert_eq!(all(&by_page(), fewer).unwrap_err(), incomplete, "the target names more");

    let by_cursor = paged(
        json!({"style": "cursor", "next": "$.next"}),
        json!({"after": "{{ page.cursor }}"}),
    );
    let still = vec![
        on("GET /users", ok(json!({"next": "c", "users": [{"id": 1}]}))),
        on("GET /users?after=c", ok(json!({"next": "c", "users": [{"id": 2}]}))),
    ];
    assert_eq!(
        all(&by_cursor, still).unwrap_err(),
        incomplete,
        "the cursor stands still"
    );
    let expired = vec![
        on("GET /users", ok(json!({"next": "c", "users": [{"id": 1}]}))),
        on("GET /users?after=c", status(400, &json!({}))),
    ];
    assert_eq!(
        all(&by_cursor, expired).unwrap_err(),
        ("retry", "cursor-refused".to_owned())
    );

    let endless = with(|description| {
        description["pagesMax"] = json!(2);
        description["operations"]["list"]["paging"] = json!({"style": "page"});
        description["operations"]["list"]["query"] = json!({"page": "{{ page.number }}"});
    });
    let script = vec![on("GET /users?page=1", page(&[1])), on("GET /users?page=2", page(&[2]))];
    assert_eq!(all(&endless, script).unwrap_err(), ("halt", "list-too-long".to_owned()));
}

/// Gong answers a page without users with 404, the first one of an empty list and the one after a full last page alike.
#[test]
fn a_page_that_a_pattern_takes_for_empty_ends_the_list_and_does_not_make_it_shorter() {
    let connector = with(|description| {
        description["operations"]["list"]["query"] = json!({"after": "{{ page.cursor }}"});
        description["operations"]["list"]["paging"] = json!({"style": "cursor", "next": "$.next", "total": "$.total"});
        description["operations"]["list"]["answers"] =
            json!([{"is": "absent", "status": 404, "body": {"at": "$.requestId", "exists": true}}]);
    });
    let page = |ids: &[u64], total: u64| {
        let users: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
        ok(json!({"total": total, "next": "c", "users": users}))
    };
    let nobody = || status(404, &json!({"requestId": "r", "errors": ["none"]}));
    assert_eq!(
        all(&connector, vec![on("GET /users", nobody())]).unwrap(),
        Vec::<String>::new()
    );
    let script = |total| {
        vec![
            on("GET /users", page(&[1, 2], total)),
            on("GET /users?after=c", nobody()),
        ]
    };
    assert_eq!(all(&connector, script(2)).unwrap(), ["1", "2"]);
    // The number that a page before has named still counts.
    assert_eq!(
        all(&connector, script(3)).unwrap_err(),
        ("retry", "list-incomplete".to_owned())
    );
    // Without the application's own body it is a wrong address.
    let wrong = status(404, &json!({"error": "no such path"}));
    assert_eq!(
        all(&connector, vec![on("GET /users", wrong)]).unwrap_err(),
        ("halt", "http-404".to_owned())
    );
}

#[test]
fn a_page_mark_that_is_not_ours_is_refused() {
    let cursor = Some("nonsense".to_owned());
    assert_eq!(
        failure(run(&connector(), Operation::List { cursor }, vec![])),
        ("reject", "bad-cursor".to_owned())
    );
}
