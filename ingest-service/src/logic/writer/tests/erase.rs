//! Erasing: nobody comes back by accident, and whoever is brought back goes on with the versions.

use super::*;

fn erase(bench: &mut Bench, who: u32) {
    bench.step(Input::Erase {
        user: id(who),
        by: by(),
    });
}

fn lift(bench: &mut Bench, who: u32) {
    bench.step(Input::Lift {
        user: id(who),
        by: by(),
    });
}

/// Person 3 has left.
fn with_a_leaver() -> Bench {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    bench.settle();
    bench.messages.clear();
    bench
}

fn erased() -> Bench {
    let mut bench = with_a_leaver();
    erase(&mut bench, 3);
    bench.settle();
    assert!(bench.topics.published.get(id(3)).is_none());
    assert_eq!(bench.topics.suppressed[&id(3)].version, 2);
    bench
}

#[test]
fn erasing_is_refused_while_the_person_is_active_unknown_or_erased() {
    let mut bench = erased();
    assert_eq!(bench.writer.may_erase(id(1)), Err(NotErased::Active));
    assert_eq!(bench.writer.may_erase(id(77)), Err(NotErased::Unknown));
    assert_eq!(bench.writer.may_erase(id(3)), Err(NotErased::Already));
    assert_eq!(bench.writer.may_lift(id(1)), Err(NotErased::NotSuppressed));
    erase(&mut bench, 1);
    bench.settle();
    assert!(bench.topics.published.get(id(1)).is_some());
}

#[test]
fn tombstone_and_suppression_are_one_transaction() {
    let mut bench = with_a_leaver();
    erase(&mut bench, 3);
    let batch = bench.in_flight.as_ref().unwrap();
    assert!(batch.erased.contains(&id(3)) && batch.suppressed.contains_key(&id(3)));
}

#[test]
fn snapshots_events_and_requests_do_not_bring_anybody_back() {
    for restarted in [false, true] {
        let mut bench = erased();
        if restarted {
            bench = bench.restart();
        }
        bench.update(3, 900, &[("Title", json!("x"))]);
        bench.event(3, 901, ChangeType::Gap, &[]);
        bench.step(Input::Reimport(id(3)));
        for kind in [SurveyKind::Query, SurveyKind::Report, SurveyKind::Recheck] {
            bench.snapshot(kind, 1000, &rows(1..=10));
        }
        assert!(bench.reads.is_empty());
        assert!(bench.messages.iter().all(|change| change.user.id != id(3)));
        assert!(bench.topics.published.get(id(3)).is_none());
        assert!(bench.topics.owed.is_empty());
    }
}

#[test]
fn a_read_under_way_and_a_debt_end_with_the_erasure() {
    let mut bench = with_a_leaver();
    bench.event(3, 900, ChangeType::Gap, &[]);
    assert_eq!(bench.reads.len(), 1);
    bench.settle();
    erase(&mut bench, 3);
    bench.answer(901, &[(3, raw("Sales", true))]);
    bench.settle();
    assert_eq!(bench.kinds(), []);
    assert!(bench.topics.owed.is_empty());
    let bench = bench.restart();
    assert_eq!(bench.writer.owed(), 0);
}

#[test]
fn an_erased_leaver_of_a_snapshot_is_not_held() {
    let mut bench = with_a_leaver();
    bench.writer.config.removals_at_least = 0;
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &[(4, raw("Sales", false))]);
    bench.update(4, 1500, &[("IsActive", json!(false))]);
    erase(&mut bench, 4);
    bench.end();
    bench.settle();
    assert_eq!(bench.held(), (vec![], vec![]));
}

#[test]
fn lifting_goes_on_with_the_versions() {
    for restarted in [false, true] {
        let mut bench = erased();
        lift(&mut bench, 3);
        bench.settle();
        assert!(bench.topics.suppressed[&id(3)].lifted.is_some());
        assert_eq!(bench.topics.owed.len(), 1);
        if restarted {
            bench = bench.restart();
            bench.step(Input::Tick);
        } else {
            assert_eq!(bench.reads.len(), 1);
        }
        bench.answer(900, &[(3, raw("Sales", false))]);
        bench.settle();
        assert_eq!((bench.messages.len(), bench.messages[0].version), (1, 3));
        assert!(bench.topics.suppressed.is_empty());
        let mut bench = bench.restart();
        bench.snapshot(SurveyKind::Query, 1000, &rows(1..=10).split_off(3));
        assert!(bench.writer.user(id(3)).is_some());
    }
}

#[test]
fn somebody_in_a_batch_under_way_is_erased_behind_it() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    bench.update(3, 501, &[("Title", json!("x"))]);
    assert_eq!(bench.in_flight.as_ref().unwrap().changes.len(), 1);
    erase(&mut bench, 3);
    bench.settle();
    assert_eq!(bench.messages.len(), 2);
    assert_eq!(bench.topics.suppressed[&id(3)].version, 3);
    assert!(bench.topics.published.get(id(3)).is_none() && bench.writer.user(id(3)).is_none());
}

#[test]
fn lifted_before_the_erasure_is_durable_the_person_is_published_again() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    erase(&mut bench, 3);
    lift(&mut bench, 3);
    bench.answer(900, &[(3, raw("Sales", false))]);
    bench.settle();
    assert_eq!(bench.messages.last().unwrap().version, 3);
    assert_eq!(bench.state(3).active, Known::Value(false));
    assert!(bench.topics.suppressed.is_empty() && bench.topics.owed.is_empty());
    assert_eq!(bench.writer.user(id(3)), Some(bench.state(3)));
}

#[test]
fn absentees_do_not_wait_for_the_read_of_somebody_erased() {
    let mut bench = with_a_leaver();
    // 9 is found to be gone; the read of 3, whom a later look misses, fails.
    for (began, who) in [(2000, 9), (2010, 3)] {
        bench.begin(SurveyKind::Recheck, began);
        bench.step(Input::SurveyTouched(vec![id(who)]));
        bench.end();
    }
    let (gone, failing) = (bench.reads.remove(0), bench.reads.remove(0));
    assert_eq!((gone.1, failing.1), (vec![id(9)], vec![id(3)]));
    bench.step(Input::Read {
        ticket: failing.0,
        read_at: at(2011),
        result: Err("503".into()),
    });
    bench.step(Input::Read {
        ticket: gone.0,
        read_at: at(2011),
        result: Ok(Members {
            others: [id(9)].into(),
            ..Members::default()
        }),
    });
    assert_eq!(bench.writer.owed(), 2, "all of them are decided about together");
    erase(&mut bench, 3);
    bench.durable();
    bench.step(Input::Committed);
    assert_eq!(bench.writer.owed(), 0);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
    assert!(bench.state(9).removed);
}
