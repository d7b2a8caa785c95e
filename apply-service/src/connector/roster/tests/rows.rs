//! Rows enter, change and leave; what is in the file is what was confirmed.

use super::*;

const HEAD: &str = "Email,Name\r\n";

#[tokio::test]
async fn rows_enter_change_and_leave() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    let replies = run(&desk, vec![create(2, "Bob"), create(1, "Ada")]).await;
    assert!(
        replies.iter().all(|reply| matches!(reply, Ok(Reply::Written { .. }))),
        "{replies:?}"
    );
    let both = format!("{HEAD}u1@acme.example,Ada\r\nu2@acme.example,Bob\r\n");
    assert_eq!(place.text("people.csv").unwrap(), both, "ordered by id, not by arrival");

    desk.committed(&[link(1, "Ada"), link(2, "Bob")]);
    let replies = run(&desk, vec![update(1, &[("displayName", json!("Ada Byron"))])]).await;
    let Ok(Reply::Written {
        account: Some(account), ..
    }) = &replies[0]
    else {
        panic!("{replies:?}")
    };
    assert_eq!(
        account.resource["userName"], "u1@acme.example",
        "the whole row comes back"
    );
    assert!(place.text("people.csv").unwrap().contains("Ada Byron"));
    assert_eq!(place.text("people.csv.previous").unwrap(), both);

    run(&desk, vec![update(2, &[("active", json!(false))])]).await;
    assert!(!place.text("people.csv").unwrap().contains("u2@"));
    // Off, and not forgotten: the name comes back with the person.
    run(&desk, vec![update(2, &[("active", json!(true))])]).await;
    assert!(place.text("people.csv").unwrap().contains("u2@acme.example,Bob"));
    assert_eq!(run(&desk, vec![Operation::Delete(id(2))]).await, [Ok(Reply::Deleted)]);
    assert!(!place.text("people.csv").unwrap().contains("u2@"));
    assert_eq!(
        run(&desk, vec![update(2, &[("active", json!(true))])]).await,
        [Ok(Reply::Absent)]
    );
}

#[tokio::test]
async fn an_operation_ends_with_the_file_and_not_before() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    place.with(|inner| inner.fails = Some(PlaceError::failed("place-failed", "planned")));
    let replies = run(&desk, vec![create(1, "Ada"), create(2, "Bob")]).await;
    assert!(
        replies.iter().all(|reply| halted(reply) == "place-failed"),
        "{replies:?}"
    );
    assert_eq!(place.text("people.csv"), None);
    let found = desk
        .execute(Operation::Find {
            external_id: id(1).0,
            by: vec![],
        })
        .await;
    assert_eq!(listed(found), [], "what was not written is nowhere");
}

#[tokio::test]
async fn what_is_there_already_is_not_written_again() {
    let place = Memory::default();
    place.put("people.csv", &format!("{HEAD}u1@acme.example,Ada\r\n"));
    let desk = desk(&place, &json!({}));
    // After a crash between the file and the commit: the create comes again.
    assert!(matches!(
        run(&desk, vec![create(1, "Ada")]).await[0],
        Ok(Reply::Written { .. })
    ));
    desk.committed(&[link(1, "Ada")]);
    settle(&desk, &Lease::unlimited()).await;
    assert_eq!((place.writes(), place.text("people.csv.previous")), (0, None));
}

#[tokio::test]
async fn links_that_change_without_an_operation_change_the_list() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    run(&desk, vec![create(1, "Ada"), create(2, "Bob")]).await;
    desk.committed(&[link(1, "Ada"), link(2, "Bob")]);
    // An operator unlinks somebody; another one's row moves to a later record of the same person.
    let (user, given) = link(1, "Ada");
    desk.committed(&[(user, given.given_away())]);
    let (_, theirs) = link(2, "Bob");
    let moved = Link {
        values: [(path("externalId"), json!("later"))]
            .into_iter()
            .chain(values(2, "Bob").into_iter().filter(|(p, _)| p.0 != "externalId"))
            .collect(),
        ..theirs.clone()
    };
    for order in [
        [(user_key(2), theirs.given_away()), (user_key(3), moved.clone())],
        [(user_key(3), moved), (user_key(2), theirs.given_away())],
    ] {
        desk.committed(&order);
        settle(&desk, &Lease::unlimited()).await;
        assert_eq!(
            place.text("people.csv").unwrap(),
            format!("{HEAD}u2@acme.example,Bob\r\n")
        );
    }
}

#[tokio::test]
async fn a_new_owner_writes_what_the_links_say() {
    let place = Memory::default();
    place.put("people.csv", "Email,Name\r\nu1@acme.example,Old\r\n");
    let desk = desk(&place, &json!({}));
    let mut links = Links::default();
    for (user, link) in [link(1, "Ada"), link(2, "Bob")] {
        links.put(user, Some(link));
    }
    desk.begin(&links);
    desk.observe(WHOLE);
    settle(&desk, &Lease::unlimited()).await;
    assert_eq!(
        place.text("people.csv").unwrap(),
        format!("{HEAD}u1@acme.example,Ada\r\nu2@acme.example,Bob\r\n")
    );
}

#[tokio::test]
async fn a_name_stays_with_whoever_had_it_and_two_may_swap() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    let same = |n: u32| {
        let mut values = values(n, "X");
        values.insert(path("userName"), json!("One@acme.example"));
        Operation::Create { values }
    };
    let replies = run(&desk, vec![same(1), same(2)]).await;
    assert!(matches!(replies[0], Ok(Reply::Written { .. })), "{replies:?}");
    let Ok(Reply::Conflict(refusal)) = &replies[1] else {
        panic!("{replies:?}")
    };
    assert_eq!(refusal.code, "name-taken");
    // The holder's own change is not the one that loses.
    let replies = run(&desk, vec![same(2), update(1, &[("displayName", json!("Y"))])]).await;
    assert!(
        matches!(replies[0], Ok(Reply::Conflict(_))) && matches!(replies[1], Ok(Reply::Written { .. })),
        "{replies:?}"
    );
    assert_eq!(
        place.text("people.csv").unwrap(),
        format!("{HEAD}One@acme.example,Y\r\n")
    );

    run(&desk, vec![create(3, "Cy"), create(4, "Di")]).await;
    let swap = [(3, "u4@acme.example"), (4, "u3@acme.example")];
    let replies = run(
        &desk,
        swap.map(|(n, name)| update(n, &[("userName", json!(name))])).to_vec(),
    )
    .await;
    assert!(
        replies.iter().all(|reply| matches!(reply, Ok(Reply::Written { .. }))),
        "{replies:?}"
    );
    assert!(place.text("people.csv").unwrap().contains("u3@acme.example,Di\r\n"));
    // Half a swap is none: the one whose other half is refused is refused as well.
    let replies = run(
        &desk,
        vec![
            update(3, &[("userName", json!("u3@acme.example"))]),
            update(4, &[("userName", json!("one@acme.example"))]),
        ],
    )
    .await;
    assert!(
        replies.iter().all(|reply| matches!(reply, Ok(Reply::Conflict(_)))),
        "{replies:?}"
    );
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_column_is_that_persons() {
    let place = Memory::default();
    let columns = json!({ "columns": [
        { "name": "Email", "attribute": "userName" },
        { "name": "Since", "attribute": "displayName", "date": "%d/%m/%Y" },
    ] });
    let desk = desk(&place, &columns);
    let replies = run(&desk, vec![create(1, "2026-02-01"), create(2, "some day")]).await;
    assert!(matches!(replies[0], Ok(Reply::Written { .. })), "{replies:?}");
    let Err(Failure::Reject(refusal)) = &replies[1] else {
        panic!("{replies:?}")
    };
    assert!(
        refusal.reason.contains("`Since`") && !refusal.reason.contains("some day"),
        "{refusal}"
    );
    assert_eq!(
        place.text("people.csv").unwrap(),
        "Email,Since\r\nu1@acme.example,01/02/2026\r\n"
    );
}

#[tokio::test]
async fn the_file_is_read_as_the_accounts_that_there_are() {
    let place = Memory::default();
    let stays = json!({ "leavers": "stay", "columns": [
        { "name": "Email", "attribute": "userName" },
        { "name": "Name", "attribute": "displayName" },
        { "name": "Active", "attribute": "active", "words": ["Y", "N"] },
    ] });
    let desk = desk(&place, &stays);
    run(
        &desk,
        vec![create(1, "Ada"), create(2, "Bob"), create(3, "Cy"), create(4, "Di")],
    )
    .await;
    place.put(
        "people.csv",
        "Email,Name,Active\r\nU1@acme.example,Ada,Y\r\nu2@acme.example,Bobby,Y\r\nu3@acme.example,Cy,N\r\nx@acme.example,X,Y\r\n",
    );
    let accounts = listed(desk.execute(Operation::List { cursor: None }).await);
    let seen: Vec<(&str, Option<bool>, &str)> = accounts
        .iter()
        .map(|account| {
            (
                account.id.0.as_str(),
                account.active,
                account.resource["displayName"].as_str().unwrap(),
            )
        })
        .collect();
    let (one, two, three) = (id(1).0, id(2).0, id(3).0);
    assert_eq!(
        seen,
        [
            (one.as_str(), Some(true), "Ada"),
            (two.as_str(), Some(true), "Bobby"),
            (three.as_str(), Some(false), "Cy"),
            ("row:3", None, "X"),
        ],
        "the fourth is missing, and one is nobody's"
    );
    place.put("people.csv", "a;b\r\n1;2\r\n");
    let Err(Failure::Reject(refusal)) = desk.execute(Operation::List { cursor: None }).await else {
        panic!()
    };
    assert_eq!(refusal.code, "roster-other-columns");
}
