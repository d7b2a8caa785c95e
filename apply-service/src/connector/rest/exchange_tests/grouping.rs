//! Groups: lists of groups and of members in every style of paging, and none of them believed that goes in circles.

use super::*;
use crate::logic::account::RemoteGroup;

/// Lists of groups, and of the members of one, with this paging and query.
fn grouped(paging: &Value, query: &Value) -> RestConnector {
    with(|description| {
        description["groups"] = json!({
            "id": "$.id", "name": "$.name", "member": "$.user",
            "list": {"method": "GET", "path": "/teams", "entries": "$.rows", "paging": paging, "query": query},
            "members": {"method": "GET", "path": "/teams/{{ group.id }}/people", "entries": "$.rows", "paging": paging,
                "query": query},
            "add": {"method": "PUT", "path": "/teams/{{ group.id }}/people/{{ member.id }}"}
        });
    })
}

fn rows(rows: &Value) -> HttpAnswer {
    ok(json!({ "rows": rows }))
}

fn group(id: &str) -> Operation {
    Operation::ReadGroup(RemoteId(id.to_owned()))
}

fn by_name(name: &str) -> Operation {
    Operation::FindGroup { name: name.to_owned() }
}

fn found(result: Result<Reply, Failure>) -> Vec<String> {
    match result {
        Ok(Reply::Groups(groups)) => groups.into_iter().map(|RemoteGroup { id, .. }| id.0).collect(),
        Ok(Reply::Members(Some(members))) => members.into_iter().map(|id| id.0).collect(),
        other => panic!("no list: {other:?}"),
    }
}

#[test]
fn a_group_is_found_on_whatever_page_it_is() {
    let connector = grouped(
        &json!({"style": "page", "size": 2}),
        &json!({"page": "{{ page.number }}", "n": "{{ page.size }}"}),
    );
    let pages = || {
        vec![
            on(
                "GET /teams?n=2&page=1",
                rows(&json!([{"id": 1, "name": "Sales"}, {"id": 2, "name": "EMEA"}])),
            ),
            on("GET /teams?n=2&page=2", rows(&json!([{"id": 3, "name": "SALES"}]))),
            on("GET /teams?n=2&page=3", rows(&json!([]))),
        ]
    };
    // Two of one name are both named, whichever pages they are on: nobody guesses.
    assert_eq!(found(run(&connector, by_name("sales"), pages())), ["1", "3"]);
    assert_eq!(found(run(&connector, by_name("EMEA"), pages())), ["2"]);
    assert_eq!(found(run(&connector, by_name("AMER"), pages())), Vec::<String>::new());
}

#[test]
fn the_members_of_all_pages_are_the_members() {
    let by_offset = grouped(
        &json!({"style": "offset", "total": "$.total"}),
        &json!({"skip": "{{ page.offset }}"}),
    );
    let counted = |users: &[u64]| {
        let users: Vec<Value> = users.iter().map(|id| json!({ "user": id })).collect();
        ok(json!({"total": 3, "rows": users}))
    };
    let script = vec![
        on("GET /teams/7/people?skip=0", counted(&[1, 2])),
        on("GET /teams/7/people?skip=2", counted(&[3])),
    ];
    assert_eq!(found(run(&by_offset, group("7"), script)), ["1", "2", "3"]);

    let by_cursor = grouped(
        &json!({"style": "cursor", "next": "$.next"}),
        &json!({"after": "{{ page.cursor }}"}),
    );
    let script = vec![
        on("GET /teams/7/people", ok(json!({"next": "c", "rows": [{"user": 1}]}))),
        on("GET /teams/7/people?after=c", ok(json!({"rows": [{"user": 2}]}))),
    ];
    assert_eq!(found(run(&by_cursor, group("7"), script)), ["1", "2"]);

    // A page mark that begins with a question names the group's own address.
    let by_link = grouped(&json!({"style": "link"}), &json!({}));
    let linked = |user: u64, link: &str| match rows(&json!([{ "user": user }])) {
        HttpAnswer::Response {
            status,
            body,
            mut headers,
        } => {
            headers.push(("link".to_owned(), link.to_owned()));
            HttpAnswer::Response { status, headers, body }
        }
        other => other,
    };
    let script = vec![
        on("GET /teams/7/people", linked(1, "<?p=2>; rel=next")),
        on("GET /teams/7/people?p=2", linked(2, "<?p=1>; rel=first")),
    ];
    assert_eq!(found(run(&by_link, group("7"), script)), ["1", "2"]);
}

#[test]
fn a_list_of_members_that_is_not_whole_says_nothing_and_stops_nobody_else() {
    let by_page = grouped(
        &json!({"style": "page", "size": 2, "total": "$.total"}),
        &json!({"page": "{{ page.number }}"}),
    );
    let full = || rows(&json!([{"user": 1}, {"user": 2}]));
    let again = vec![
        on("GET /teams/7/people?page=1", full()),
        on("GET /teams/7/people?page=2", full()),
    ];
    let incomplete = ("retry", "list-incomplete".to_owned());
    assert_eq!(failure(run(&by_page, group("7"), again)), incomplete, "page 1 for ever");
    let fewer = vec![
        on(
            "GET /teams/7/people?page=1",
            ok(json!({"total": 3, "rows": [{"user": 1}]})),
        ),
        on("GET /teams/7/people?page=2", ok(json!({"total": 3, "rows": []}))),
    ];
    assert_eq!(
        failure(run(&by_page, group("7"), fewer)),
        incomplete,
        "the target names more"
    );
    let short = vec![
        on("GET /teams/7/people?page=1", rows(&json!([{"user": 1}]))),
        on("GET /teams/7/people?page=2", rows(&json!([{"user": 1}]))),
    ];
    assert_eq!(
        found(run(&by_page, group("7"), short)),
        ["1"],
        "one short page, shown again, was everybody"
    );

    let by_cursor = grouped(
        &json!({"style": "cursor", "next": "$.next"}),
        &json!({"after": "{{ page.cursor }}"}),
    );
    let expired = |path: &str| {
        vec![
            on(
                path,
                ok(json!({"next": "c", "rows": [{"id": 1, "name": "x", "user": 1}]})),
            ),
            on(&format!("{path}?after=c"), status(400, &json!({}))),
        ]
    };
    for (operation, path) in [(group("7"), "/teams/7/people"), (by_name("x"), "/teams")] {
        let failed = failure(run(&by_cursor, operation, expired(&format!("GET {path}"))));
        assert_eq!(failed, ("retry", "cursor-refused".to_owned()), "{path}");
    }

    // What never ends stops the group, not the target.
    let endless = with(|description| {
        description["pagesMax"] = json!(1);
        description["groups"] = json!({
            "id": "$.id", "name": "$.name",
            "list": {"method": "GET", "path": "/teams", "entries": "$", "query": {"page": "{{ page.number }}"},
                "paging": {"style": "page"}},
            "add": {"method": "PUT", "path": "/teams/{{ group.id }}/{{ member.id }}"}
        });
    });
    let script = vec![on("GET /teams?page=1", ok(json!([{"id": 1, "name": "x"}])))];
    assert_eq!(
        failure(run(&endless, by_name("x"), script)),
        ("reject", "list-too-long".to_owned())
    );
}

#[test]
fn paging_of_what_is_no_list_is_refused() {
    let mut description = description();
    description["groups"] = json!({
        "id": "$.id", "name": "$.name",
        "list": {"method": "GET", "path": "/teams", "entries": "$"},
        "add": {"method": "PUT", "path": "/teams/{{ group.id }}", "query": {"page": "{{ page.number }}"},
            "paging": {"style": "page"}}
    });
    let config: RestConfig = serde_json::from_value(description).unwrap();
    let wrong = RestConnector::try_new(&config, "https://h.example/api/").unwrap_err();
    assert!(
        wrong
            .iter()
            .any(|(at, words)| at == &["groups", "add", "paging", "style"] && words.contains("belongs to lists alone")),
        "{wrong:?}"
    );
}
