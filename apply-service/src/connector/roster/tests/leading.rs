//! One writer at a time: leases, writers who wake up, files that others change; and the previous ones.

use super::*;

#[tokio::test]
async fn without_a_lease_nothing_is_written_and_a_commit_is_asked_for() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    let lease = Lease::new(short());
    let waits = run_under(&desk, vec![create(1, "Ada")], &lease);
    tokio::pin!(waits);
    tokio::select! {
        _ = &mut waits => panic!("written without a lease"),
        () = desk.wants_commit() => {}
    }
    assert_eq!(place.writes(), 0);
    lease.committed(tokio::time::Instant::now().into_std());
    assert!(matches!(waits.await[0], Ok(Reply::Written { .. })));
}

#[tokio::test]
async fn an_owner_that_slept_writes_over_nobody() {
    let place = Memory::default();
    let (old, new) = (desk(&place, &json!({})), desk(&place, &json!({})));
    let lease = Lease::new(short());
    lease.committed(tokio::time::Instant::now().into_std());
    assert!(run_under(&old, vec![create(1, "Ada")], &lease).await[0].is_ok());
    // It loses the target; its successor writes.
    lease.release();
    let mut links = Links::default();
    links.put(user_key(1), Some(link(1, "Ada").1));
    new.begin(&links);
    new.observe(WHOLE);
    assert!(run(&new, vec![create(2, "Bob")]).await[0].is_ok());
    let newest = place.text("people.csv");
    // It wakes with something to write.
    let wakes = run_under(&old, vec![create(3, "Cy")], &lease);
    tokio::select! {
        _ = wakes => panic!("written over its successor"),
        () = settle(&old, &lease) => {}
    }
    assert_eq!(place.text("people.csv"), newest);
}

#[tokio::test]
async fn what_others_wrote_meanwhile_is_looked_at_before_it_is_replaced() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    run(&desk, vec![create(1, "Ada")]).await;
    // Between our look and our write: few rows are replaced, many are not.
    for (rows, replaced) in [(3, true), (60, false)] {
        let theirs: String = (0..rows).map(|n| format!("x{n}@acme.example,X\r\n")).collect();
        place.with(|inner| inner.meanwhile = Some(format!("Email,Name\r\n{theirs}").into_bytes()));
        let reply = run(&desk, vec![update(1, &[("displayName", json!(format!("Ada {rows}")))])])
            .await
            .remove(0);
        assert_eq!(reply.is_ok(), replaced, "{reply:?}");
        assert_eq!(place.text("people.csv").unwrap().contains("x0@"), !replaced);
        if replaced {
            assert!(
                place.text("people.csv.previous").unwrap().contains("x0@"),
                "theirs is kept"
            );
        }
    }
}

#[tokio::test]
async fn earlier_files_are_kept_so_many_and_a_failing_place_pushes_none_out() {
    let place = Memory::default();
    let desk = desk(&place, &json!({ "previous": 2 }));
    for name in ["a", "b", "c", "d"] {
        let first = place.text("people.csv").is_none();
        let operation = if first {
            create(1, name)
        } else {
            update(1, &[("displayName", json!(name))])
        };
        assert!(run(&desk, vec![operation]).await[0].is_ok());
    }
    let kept = |place: &Memory| {
        [
            "people.csv",
            "people.csv.previous",
            "people.csv.previous.2",
            "people.csv.previous.3",
        ]
        .map(|name| {
            place
                .text(name)
                .map(|text| text.trim_end().chars().next_back().unwrap())
        })
    };
    assert_eq!(kept(&place), [Some('d'), Some('c'), Some('b'), None]);
    place.with(|inner| inner.fails = Some(PlaceError::failed("place-failed", "planned")));
    for _ in 0..3 {
        desk.begin(&Links::default());
        desk.observe(WHOLE);
        assert_eq!(halted(&run(&desk, vec![create(1, "e")]).await[0]), "place-failed");
    }
    let once = [Some('d'), Some('d'), Some('c'), None];
    assert_eq!(kept(&place), once, "kept once, however often the write fails");
    place.with(|inner| inner.fails = None);
    desk.begin(&Links::default());
    desk.observe(WHOLE);
    run(&desk, vec![create(1, "e")]).await;
    assert_eq!(kept(&place), [Some('e'), Some('d'), Some('c'), None]);
}

#[tokio::test]
async fn a_check_leaves_nothing_behind_and_says_what_is_there() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    let words = |reply| match reply {
        Ok(Reply::Checked(words)) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        words(desk.execute(Operation::Check).await),
        ["memory can be written", "people.csv is not there yet"]
    );
    place.put("people.csv", "Email,Name\r\na,b\r\n");
    assert_eq!(words(desk.execute(Operation::Check).await)[1], "people.csv has 1 rows");
    assert_eq!(place.with(|inner| inner.files.len()), 1);
    place.with(|inner| inner.fails = Some(PlaceError::failed("place-forbidden", "planned")));
    assert_eq!(halted(&desk.execute(Operation::Check).await), "place-forbidden");
}
