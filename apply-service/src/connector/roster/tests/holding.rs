//! What keeps a list from being written: an incomplete picture, a loss that nobody decided, a target that is handed back.

use std::time::Instant;

use super::{super::desk::tests::at_each_moment, *};

#[tokio::test]
async fn an_incomplete_list_is_not_written() {
    for (undecided, picture, written) in [
        ("wait", Completeness { whole: false, ..WHOLE }, false),
        ("wait", Completeness { undecided: 1, ..WHOLE }, false),
        ("wait", WHOLE, true),
        ("asBefore", Completeness { undecided: 1, ..WHOLE }, true),
        ("asBefore", Completeness { whole: false, ..WHOLE }, false),
    ] {
        let place = Memory::default();
        let desk = desk(&place, &json!({ "undecided": undecided }));
        desk.observe(picture);
        let (lease, waits) = (Lease::unlimited(), desk.execute(create(1, "Ada")));
        tokio::pin!(waits);
        let ended = tokio::select! {
            biased;
            _ = &mut waits => true,
            () = settle(&desk, &lease) => false,
        };
        assert_eq!(
            (ended, place.writes() == 1),
            (written, written),
            "{undecided} {picture:?}"
        );
        if !written {
            desk.observe(WHOLE);
            tokio::select! {
                reply = waits => assert!(matches!(reply, Ok(Reply::Written { .. })), "{reply:?}"),
                () = desk.run(&lease) => {}
            }
        }
    }
}

fn foreign(rows: u32) -> String {
    let rows = (100..100 + rows).map(|n| format!("u{n}@acme.example,X\r\n"));
    format!("Email,Name\r\n{}", rows.collect::<String>())
}

#[tokio::test]
async fn a_list_that_lost_what_nobody_took_out_is_not_written() {
    let place = Memory::default();
    place.put("people.csv", &foreign(100));
    let desk = desk(&place, &json!({}));
    let replies = run(&desk, vec![create(1, "Ada")]).await;
    let Err(Failure::Halt(refusal)) = &replies[0] else {
        panic!("{replies:?}")
    };
    assert_eq!(refusal.code, "list-shrinks");
    assert!(
        refusal.reason.contains("100 of the 100 rows") && refusal.reason.contains("allow list --removals 100"),
        "{refusal}"
    );
    assert_eq!((place.text("people.csv").unwrap(), place.writes()), (foreign(100), 0));
    assert_eq!(place.text("people.csv.previous"), None);

    // A probe that said "works" would have the lane run into the same wall at once.
    assert_eq!(halted(&desk.execute(Operation::Check).await), "list-shrinks");
    desk.observe(Completeness {
        allowed_removals: 95,
        ..WHOLE
    });
    assert!(desk.execute(Operation::Check).await.is_ok());
    desk.begin(&Links::default());
    desk.observe(Completeness {
        allowed_removals: 95,
        ..WHOLE
    });
    assert!(matches!(
        run(&desk, vec![create(1, "Ada")]).await[0],
        Ok(Reply::Written { .. })
    ));
    assert_eq!(place.text("people.csv.previous").unwrap(), foreign(100));
}

#[tokio::test]
async fn a_file_that_was_moved_away_makes_room() {
    let place = Memory::default();
    place.put("people.csv", &foreign(100));
    let desk = desk(&place, &json!({}));
    assert_eq!(halted(&run(&desk, vec![create(1, "Ada")]).await[0]), "list-shrinks");
    place.with(|inner| inner.files.clear());
    assert!(desk.execute(Operation::Check).await.is_ok());
    desk.begin(&Links::default());
    desk.observe(WHOLE);
    assert!(matches!(
        run(&desk, vec![create(1, "Ada")]).await[0],
        Ok(Reply::Written { .. })
    ));
}

#[tokio::test]
async fn what_the_guard_has_let_through_may_go_and_an_empty_book_may_not() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    run(&desk, (1..=50).map(|n| create(n, "X")).collect()).await;
    // Forty leave, each by an operation.
    let replies = run(
        &desk,
        (1..=40).map(|n| update(n, &[("active", json!(false))])).collect(),
    )
    .await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(place.text("people.csv").unwrap().lines().count(), 11);
    // The links of all are gone, by nobody's decision.
    let before = place.text("people.csv");
    desk.begin(&Links::default());
    desk.observe(WHOLE);
    settle(&desk, &Lease::unlimited()).await;
    assert_eq!(place.text("people.csv"), before);
    assert_eq!(halted(&desk.execute(Operation::Check).await), "list-shrinks");
}

#[tokio::test]
async fn nothing_is_written_where_there_is_nothing_to_say() {
    let place = Memory::default();
    let desk = desk(&place, &json!({}));
    settle(&desk, &Lease::unlimited()).await;
    assert_eq!(place.text("people.csv"), None);
}

#[tokio::test]
async fn a_target_that_is_handed_back_writes_what_is_complete_at_once_and_gives_the_rest_back() {
    for (whole, written) in [(true, true), (false, false)] {
        let place = Memory::default();
        let desk = desk(&place, &json!({ "quiet": "1h", "atMost": "1h" }));
        desk.observe(Completeness {
            whole,
            draining: true,
            ..WHOLE
        });
        let reply = run(&desk, vec![create(1, "Ada")]).await.remove(0);
        match &reply {
            Ok(Reply::Written { .. }) => assert!(written),
            Err(Failure::Retry(refusal, None)) => assert!(!written && refusal.code == "lease-expired"),
            other => panic!("{other:?}"),
        }
        assert_eq!(place.writes() == 1, written);
    }
}

#[test]
fn a_list_is_due_after_a_rest_when_it_is_complete_and_not_while_the_place_rests() {
    let start = tokio::time::Instant::now().into_std();
    let second = |n| start + Duration::from_secs(n);
    let (quiet, at_most) = ("10s", "60s");
    let config = config(&json!({ "quiet": quiet, "atMost": at_most }));
    let due = |changed: &[u64], picture: Completeness, rests: Option<u64>, now: u64| {
        let changed: Vec<Instant> = changed.iter().map(|n| second(*n)).collect();
        at_each_moment(&config, &changed, picture, rests.map(second), second(now))
    };
    for (changed, picture, rests, now, words) in [
        (&[][..], WHOLE, None, 100, "Idle".to_owned()),
        (&[0], WHOLE, None, 9, format!("{:?}", second(10))),
        (&[0], WHOLE, None, 10, "Publish".into()),
        (
            &[0, 9, 18, 27, 36, 45, 54],
            WHOLE,
            None,
            59,
            format!("{:?}", second(60)),
        ),
        (&[0, 9, 18, 27, 36, 45, 54], WHOLE, None, 60, "Publish".into()),
        (&[0], Completeness { whole: false, ..WHOLE }, None, 500, "Idle".into()),
        (&[0], WHOLE, Some(30), 20, format!("{:?}", second(30))),
        (&[0], WHOLE, Some(30), 30, "Publish".into()),
        (
            &[0],
            Completeness {
                draining: true,
                ..WHOLE
            },
            None,
            0,
            "Idle".into(),
        ),
    ] {
        let next = due(changed, picture, rests, now);
        assert!(
            next.contains(&words),
            "{changed:?} {picture:?} {rests:?} at {now}: {next}, not {words}"
        );
    }
}
