//! Groups: found without their members, made, renamed, and changed by differences alone.

use super::*;
use crate::connector::scim::config::{PatchMode, RemoveMember};

const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const NO_MEMBERS: &str = "excludedAttributes=members";

fn find(name: &str) -> Operation {
    Operation::FindGroup { name: name.to_owned() }
}

fn group(id: &str, name: &str) -> Value {
    json!({"id": id, "displayName": name})
}

fn with_members(members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({"value": id, "type": "User"})).collect();
    json!({"id": "g1", "displayName": "Sales", "externalId": "x", "members": members, "meta": {"version": "1"}})
}

fn change(add: &[&str], remove: &[&str]) -> Operation {
    known(add, remove, 2)
}

fn known(add: &[&str], remove: &[&str], known: usize) -> Operation {
    let ids = |ids: &[&str]| ids.iter().map(|one| id(one)).collect();
    Operation::ChangeMembers {
        id: id("g1"),
        add: ids(add),
        remove: ids(remove),
        known,
    }
}

fn found(result: &Result<Reply, Failure>) -> Vec<&str> {
    match result {
        Ok(Reply::Groups(groups)) => groups.iter().map(|group| group.id.0.as_str()).collect(),
        other => panic!("no groups: {other:?}"),
    }
}

#[test]
fn a_name_is_looked_for_without_members_and_absence_is_proven_once() {
    let connector = scim();
    let filter = |name: &str| format!("GET /Groups?filter=displayName eq \"{name}\"&{NO_MEMBERS}&count=10");
    let script = vec![
        on(&filter("Sales"), list(&[])),
        on(
            &format!("GET /Groups?{NO_MEMBERS}&count=100"),
            list(&[group("g9", "EMEA")]),
        ),
        on(&filter("EMEA"), list(&[group("g9", "EMEA")])),
    ];
    assert!(found(&run(&connector, find("Sales"), script)).is_empty());
    // The filter is proven now: nothing is nothing.
    assert!(found(&run(&connector, find("APAC"), vec![on(&filter("APAC"), list(&[]))])).is_empty());
    let script = vec![on(&filter("emea"), list(&[group("g9", "EMEA")]))];
    assert_eq!(
        found(&run(&connector, find("emea"), script)),
        ["g9"],
        "case does not count"
    );
}

#[test]
fn a_filter_that_is_ignored_refused_or_blind_is_not_believed() {
    let filter = "GET /Groups?filter=displayName eq \"Sales\"&excludedAttributes=members&count=10";
    let all = format!("GET /Groups?{NO_MEMBERS}&count=100");
    let groups = [group("g1", "Other"), group("g2", "sales"), group("g3", "SALES")];
    for answered in [
        list(&groups[..1]),
        list(&[]),
        scim_error(400, "invalidFilter"),
        answer(404, ""),
    ] {
        let connector = scim();
        let answered_404 = answered == answer(404, "");
        let script = vec![on(filter, answered), on(&all, list(&groups))];
        if answered_404 {
            // Without a SCIM error it is not SCIM: groups are refused, and the target goes on.
            assert_eq!(
                failure(run(&connector, find("Sales"), script[..1].iter().map(again).collect())).0,
                "reject"
            );
            continue;
        }
        assert_eq!(found(&run(&connector, find("Sales"), script)), ["g2", "g3"]);
    }
}

fn again(expected: &Expected) -> Expected {
    on(&expected.line, expected.answer.clone())
}

#[test]
fn a_server_that_does_not_know_excluded_attributes_is_asked_without() {
    let connector = with(|config| config.filter = FilterMode::None);
    let script = vec![
        on(
            &format!("GET /Groups?{NO_MEMBERS}&count=100"),
            scim_error(400, "invalidValue"),
        ),
        on("GET /Groups?count=100", page(&[group("g1", "Sales")], 2)),
        on("GET /Groups?startIndex=2&count=100", page(&[group("g2", "EMEA")], 2)),
    ];
    assert_eq!(found(&run(&connector, find("EMEA"), script)), ["g2"]);
}

#[test]
fn a_target_without_groups_refuses_groups_and_goes_on() {
    let filter = "GET /Groups?filter=displayName eq \"Sales\"&excludedAttributes=members&count=10";
    for (status, verdict) in [(403, "reject"), (404, "reject"), (401, "halt"), (503, "retry")] {
        let result = run(&scim(), find("Sales"), vec![on(filter, answer(status, ""))]);
        assert_eq!(failure(result).0, verdict, "{status}");
    }
    // A filter that is not offered, and then the list that is not.
    let all = format!("GET /Groups?{NO_MEMBERS}&count=100");
    let script = vec![on(filter, answer(501, "")), on(&all, answer(501, ""))];
    assert_eq!(failure(run(&scim(), find("Sales"), script)).0, "reject");
    let result = run(&scim(), find("Sales"), vec![on(filter, html(404))]);
    assert_eq!(failure(result), ("reject", "html-answer".to_owned()));
}

#[test]
fn a_group_is_made_without_members_and_a_taken_name_is_a_conflict() {
    let create = || Operation::CreateGroup {
        name: "Sales".to_owned(),
    };
    let post = |answer| on("POST /Groups", answer).with_body(json!({"schemas": [GROUP], "displayName": "Sales"}));
    let made = answer(201, &group("g1", "Sales").to_string());
    assert_eq!(
        run(&scim(), create(), vec![post(made.clone())]),
        Ok(Reply::GroupWritten(id("g1")))
    );
    let script = vec![post(answer(415, "")), post(made)];
    assert_eq!(run(&scim(), create(), script), Ok(Reply::GroupWritten(id("g1"))));
    let result = run(&scim(), create(), vec![post(scim_error(409, "uniqueness"))]);
    assert!(matches!(result, Ok(Reply::Conflict(_))), "{result:?}");
    for lost in [broken(), answer(201, ""), answer(502, "")] {
        assert_eq!(failure(run(&scim(), create(), vec![post(lost)])).0, "retry");
    }
}

#[test]
fn members_are_added_and_removed_and_never_replaced() {
    let removal = |one: &str| json!({"op": "remove", "path": format!("members[value eq \"{one}\"]")});
    let operations = json!([
        removal("r3"),
        removal("r\\\"4"),
        {"op": "add", "path": "members", "value": [{"value": "r1"}, {"value": "r2"}]},
    ]);
    for done in [answer(204, ""), ok(with_members(&["r1"]))] {
        let script = vec![on("PATCH /Groups/g1", done).patching(operations.clone())];
        assert_eq!(
            run(&scim(), change(&["r1", "r2"], &["r3", "r\"4"]), script),
            Ok(Reply::Changed)
        );
    }
    let entra = with(|config| {
        config.groups.remove = RemoveMember::Value;
        config.groups.capital_operations = true;
    });
    let everywhere = with(|config| {
        config.groups.remove = RemoveMember::Value;
        config.capital_operations = true;
    });
    for entra in [entra, everywhere] {
        let operations = json!([
            {"op": "Remove", "path": "members", "value": [{"value": "r3"}]},
            {"op": "Add", "path": "members", "value": [{"value": "r1"}]},
        ]);
        let script = vec![on("PATCH /Groups/g1", answer(204, "")).patching(operations)];
        assert_eq!(run(&entra, change(&["r1"], &["r3"]), script), Ok(Reply::Changed));
    }
}

#[test]
fn the_other_form_of_removing_is_tried_once_and_kept() {
    let connector = scim();
    let by_path = json!([{"op": "remove", "path": "members[value eq \"r3\"]"}]);
    let by_value = |one: &str| json!([{"op": "remove", "path": "members", "value": [{"value": one}]}]);
    let script = vec![
        on("PATCH /Groups/g1", scim_error(400, "invalidPath")).patching(by_path),
        on("PATCH /Groups/g1", answer(204, "")).patching(by_value("r3")),
    ];
    assert_eq!(run(&connector, change(&[], &["r3"]), script), Ok(Reply::Changed));
    let script = vec![on("PATCH /Groups/g1", answer(204, "")).patching(by_value("r4"))];
    assert_eq!(run(&connector, change(&[], &["r4"]), script), Ok(Reply::Changed));
}

#[test]
fn who_is_in_it_already_or_not_in_it_is_no_mistake_and_of_many_one_is_to_blame() {
    for answered in [
        answer(409, ""),
        scim_error(409, "uniqueness"),
        scim_error(400, "noTarget"),
    ] {
        for (add, remove) in [(&["r1"][..], &[][..]), (&[], &["r1"])] {
            let script = vec![on("PATCH /Groups/g1", answered.clone())];
            assert_eq!(run(&scim(), change(add, remove), script), Ok(Reply::Changed));
        }
        let script = vec![on("PATCH /Groups/g1", answered)];
        assert_eq!(failure(run(&scim(), change(&["r1", "r2"], &[]), script)).0, "reject");
    }
    // Too large, whatever is said besides: the code is acted on, and no other form of the same is sent.
    for said in [
        answer(413, ""),
        scim_error(413, "tooMany"),
        scim_error(413, "invalidPath"),
    ] {
        for (add, remove) in [(&["r1", "r2"][..], &[][..]), (&["r1"], &["r2", "r3"]), (&[], &["r1"])] {
            let script = vec![on("PATCH /Groups/g1", said.clone())];
            assert_eq!(
                failure(run(&scim(), change(add, remove), script)),
                ("reject", "http-413".to_owned())
            );
        }
    }
}

#[test]
fn a_group_is_gone_only_where_the_list_of_groups_is_there() {
    let list_one = format!("GET /Groups?{NO_MEMBERS}&count=1");
    for operation in [change(&["r1"], &[]), Operation::ReadGroup(id("g1"))] {
        let method = if operation.is_write() { "PATCH" } else { "GET" };
        let line = format!("{method} /Groups/g1");
        let script = vec![on(&line, answer(404, "")), on(&list_one, list(&[]))];
        assert_eq!(run(&scim(), operation.clone(), script), Ok(Reply::Absent));
        let script = vec![on(&line, answer(404, "")), on(&list_one, answer(404, ""))];
        assert_eq!(failure(run(&scim(), operation, script)).0, "reject");
    }
}

#[test]
fn who_is_in_a_group_is_read_and_not_shown_is_not_empty() {
    let read = || Operation::ReadGroup(id("g1"));
    for (held, expected) in [
        (with_members(&["r1", "r2"]), Some(vec![id("r1"), id("r2")])),
        (with_members(&[]), Some(vec![])),
        (group("g1", "Sales"), None),
        (json!({"id": "g1", "MEMBERS": ["r1"]}), Some(vec![id("r1")])),
    ] {
        let result = run(&scim(), read(), vec![on("GET /Groups/g1", ok(held))]);
        assert_eq!(result, Ok(Reply::Members(expected)));
    }
    let other = run(&scim(), read(), vec![on("GET /Groups/g1", ok(group("g2", "Sales")))]);
    assert_eq!(failure(other).0, "reject");
}

#[test]
fn without_patch_everybody_is_written_again_and_counted() {
    let put = |members: Value| json!({"displayName": "Sales", "externalId": "x", "members": members});
    let script = || {
        vec![
            on("GET /Groups/g1", ok(with_members(&["r1", "r2"]))),
            on("PUT /Groups/g1", answer(204, ""))
                .with_body(put(json!([{"value": "r1", "type": "User"}, {"value": "r3"}]))),
        ]
    };
    let learnt = scim();
    let mut first = vec![on("PATCH /Groups/g1", answer(501, ""))];
    first.extend(script());
    first.push(on("GET /Groups/g1", ok(with_members(&["r1", "r3"]))));
    assert_eq!(run(&learnt, change(&["r3"], &["r2"]), first), Ok(Reply::Changed));
    let mut lost = script();
    lost.push(on("GET /Groups/g1", ok(with_members(&["r3"]))));
    assert_eq!(
        failure(run(&learnt, change(&["r3"], &["r2"]), lost)),
        ("retry", "members-lost".to_owned())
    );
    // A group that hides its members would be emptied.
    let puts = || with(|config| config.patch = PatchMode::Put);
    let hidden = || vec![on("GET /Groups/g1", ok(group("g1", "Sales")))];
    assert_eq!(
        failure(run(&puts(), known(&["r3"], &[], 2), hidden())),
        ("reject", "members-hidden".to_owned())
    );
    let mut empty = hidden();
    empty.push(
        on("PUT /Groups/g1", answer(204, "")).with_body(json!({"displayName": "Sales", "members": [{"value": "r3"}]})),
    );
    empty.push(on("GET /Groups/g1", ok(with_members(&["r3"]))));
    assert_eq!(run(&puts(), known(&["r3"], &[], 0), empty), Ok(Reply::Changed));
}

#[test]
fn a_name_is_changed_by_id_in_the_form_that_the_target_takes() {
    let rename = || Operation::RenameGroup {
        id: id("g1"),
        name: "EMEA".to_owned(),
    };
    let by_path = json!([{"op": "replace", "path": "displayName", "value": "EMEA"}]);
    let pathless = json!([{"op": "replace", "value": {"displayName": "EMEA"}}]);
    let script = vec![on("PATCH /Groups/g1", answer(204, "")).patching(by_path.clone())];
    assert_eq!(run(&scim(), rename(), script), Ok(Reply::GroupWritten(id("g1"))));
    let script = vec![
        on("PATCH /Groups/g1", answer(400, "")).patching(by_path),
        on("PATCH /Groups/g1", answer(204, "")).patching(pathless),
    ];
    assert_eq!(run(&scim(), rename(), script), Ok(Reply::GroupWritten(id("g1"))));
    let taken = run(
        &scim(),
        rename(),
        vec![on("PATCH /Groups/g1", scim_error(409, "uniqueness"))],
    );
    assert!(matches!(taken, Ok(Reply::Conflict(_))), "{taken:?}");
}

/// A page of a list that says neither how many there are nor, without a cursor, where the next one is.
fn unnumbered(groups: &[Value], cursor: Option<&str>) -> HttpAnswer {
    let mut body = json!({ "Resources": groups });
    if let Some(cursor) = cursor {
        body["nextCursor"] = json!(cursor);
    }
    ok(body)
}

#[test]
fn groups_are_listed_by_cursor_and_from_the_first_page_when_one_has_expired() {
    let by_list = || with(|config| config.filter = FilterMode::None);
    let line = |start: &str| format!("GET /Groups?{NO_MEMBERS}&{start}count=100");
    let pages = |first: &str| {
        vec![
            on(&line(first), unnumbered(&[group("g1", "Sales")], Some("a+b"))),
            on(&line("cursor=a+b&"), unnumbered(&[group("g2", "EMEA")], None)),
        ]
    };
    // Followed although nobody asked for it, and asked for where it is declared.
    assert_eq!(found(&run(&by_list(), find("EMEA"), pages(""))), ["g2"]);
    let declared = by_list();
    declare(
        &declared,
        json!({"patch": {"supported": true}, "pagination": {"cursor": true, "index": false}}),
    );
    assert_eq!(found(&run(&declared, find("EMEA"), pages("cursor=&"))), ["g2"]);
    assert!(found(&run(&declared, find("APAC"), pages("cursor=&"))).is_empty());
    for expired in [scim_error(400, "expiredCursor"), answer(400, "")] {
        let mut script = pages("cursor=&");
        script[1].answer = expired;
        let failed = failure(run(&declared, find("EMEA"), script));
        assert_eq!(failed.0, "retry", "{failed:?}");
    }
    // Declared and refused: by index from now on.
    let mut script = vec![on(&line("cursor=&"), scim_error(400, "invalidValue"))];
    script.push(on(&line(""), page(&[group("g2", "EMEA")], 1)));
    assert_eq!(found(&run(&declared, find("EMEA"), script)), ["g2"]);
    let script = vec![on(&line(""), page(&[group("g2", "EMEA")], 1))];
    assert_eq!(found(&run(&declared, find("EMEA"), script)), ["g2"]);
}

#[test]
fn a_page_that_comes_twice_makes_no_second_group() {
    let connector = with(|config| config.filter = FilterMode::None);
    let all = [group("g1", "Sales"), group("g2", "EMEA")];
    let script = vec![
        on(&format!("GET /Groups?{NO_MEMBERS}&count=100"), unnumbered(&all, None)),
        on(
            &format!("GET /Groups?{NO_MEMBERS}&startIndex=3&count=100"),
            unnumbered(&all, None),
        ),
    ];
    assert_eq!(found(&run(&connector, find("Sales"), script)), ["g1"]);
    // The list has moved by one while it was read.
    let moved = [group("g2", "EMEA"), group("g3", "APAC")];
    let script = vec![
        on(&format!("GET /Groups?{NO_MEMBERS}&count=100"), unnumbered(&all, None)),
        on(
            &format!("GET /Groups?{NO_MEMBERS}&startIndex=3&count=100"),
            unnumbered(&moved, None),
        ),
        on(
            &format!("GET /Groups?{NO_MEMBERS}&startIndex=5&count=100"),
            unnumbered(&[], None),
        ),
    ];
    assert_eq!(found(&run(&connector, find("EMEA"), script)), ["g2"]);
}

/// Whom somebody else adds between the look and the PUT stays in the group.
#[test]
fn a_group_is_written_whole_only_over_the_version_that_was_read() {
    let version = |members: &[&str], version: &str| {
        let mut group = with_members(members);
        group["meta"]["version"] = json!(version);
        ok(group)
    };
    let puts = || {
        let connector = with(|config| config.patch = PatchMode::Put);
        declare(&connector, json!({"etag": {"supported": true}}));
        connector
    };
    let written = |members: &[&str]| {
        let members: Vec<Value> = members.iter().map(|id| json!({"value": id, "type": "User"})).collect();
        let mut members = members;
        members.push(json!({"value": "r3"}));
        json!({"displayName": "Sales", "externalId": "x", "members": members})
    };
    let script = vec![
        on("GET /Groups/g1", version(&["r1"], "W/1")),
        on("PUT /Groups/g1", answer(412, "")).if_match("W/1"),
        on("GET /Groups/g1", version(&["r1", "r2"], "W/2")),
        on("PUT /Groups/g1", answer(204, ""))
            .if_match("W/2")
            .with_body(written(&["r1", "r2"])),
        on("GET /Groups/g1", version(&["r1", "r2", "r3"], "W/3")),
    ];
    assert_eq!(run(&puts(), known(&["r3"], &[], 1), script), Ok(Reply::Changed));
    // Somebody who writes all the time: later again, and never over them.
    let script = (1..=3)
        .flat_map(|_| {
            let put = on("PUT /Groups/g1", answer(412, "")).if_match("W/1");
            [on("GET /Groups/g1", version(&["r1"], "W/1")), put]
        })
        .collect();
    assert_eq!(failure(run(&puts(), known(&["r3"], &[], 1), script)).0, "retry");
    // Versions that are not declared are not believed.
    let script = vec![
        on("GET /Groups/g1", version(&["r1"], "W/1")),
        on("PUT /Groups/g1", answer(204, "")),
        on("GET /Groups/g1", version(&["r1", "r3"], "W/2")),
    ];
    let undeclared = with(|config| config.patch = PatchMode::Put);
    assert_eq!(run(&undeclared, known(&["r3"], &[], 1), script), Ok(Reply::Changed));
    // Who renames asks for something that may be taken: a bare 409 is about the name, and is not tried again as if it were stale.
    let rename = Operation::RenameGroup {
        id: id("g1"),
        name: "EMEA".to_owned(),
    };
    let script = vec![
        on("GET /Groups/g1", version(&["r1"], "W/1")),
        on("PUT /Groups/g1", answer(409, "")).if_match("W/1"),
    ];
    let taken = run(&puts(), rename, script);
    assert!(matches!(taken, Ok(Reply::Conflict(_))), "{taken:?}");
}
