//! Held sets and erasures: what operators decide, and what happens meanwhile.

use super::*;

/// Everybody but person 10, who is outside the population and held: nothing may leave unasked.
fn held() -> (Bench, Vec<(u32, RawUser)>) {
    let mut bench = Bench::baseline();
    bench.writer.config.removals_at_least = 0;
    let rows: Vec<(u32, RawUser)> = (1..=9).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Query, 1000, &rows);
    bench.answer(1001, &[]);
    bench.settle();
    assert_eq!(bench.writer.held_people().0, 1);
    (bench, rows)
}

#[test]
fn a_report_does_not_release_who_has_left_the_population() {
    let (mut bench, mut rows) = held();
    // A report knows nothing of the population.
    rows.push((10, raw("Sales", true)));
    bench.snapshot(SurveyKind::Report, 2000, &rows);
    bench.answer(2001, &[]);
    bench.settle();
    assert_eq!(bench.writer.held_people().0, 1, "the operator can still decide");
    assert!(!bench.kinds().contains(&ChangeKind::Removed), "and nobody has decided");
}

#[test]
fn a_report_and_a_read_release_who_is_in_the_population_again() {
    let (mut bench, mut rows) = held();
    rows.push((10, raw("Sales", true)));
    bench.snapshot(SurveyKind::Report, 2000, &rows);
    bench.answer(2001, &[(10, raw("Sales", true))]);
    bench.settle();
    assert_eq!(bench.writer.held_people().0, 0);
    assert_eq!(bench.state(10).listed, Known::Value(true));
}

#[test]
fn whoever_is_lifted_before_the_tombstone_is_committed_comes_back_all_the_same() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    bench.settle();
    bench.messages.clear();
    bench.step(Input::Erase { user: id(3), by: by() });
    assert!(
        bench
            .in_flight
            .as_ref()
            .is_some_and(|batch| batch.erased.contains(&id(3)))
    );
    bench.step(Input::Lift { user: id(3), by: by() });
    bench.answer(600, &[(3, raw("Sales", false))]);
    bench.settle();
    let versions: Vec<u64> = bench.messages.iter().map(|change| change.version).collect();
    assert_eq!(
        versions,
        [3],
        "published again behind the tombstone, and the versions go on"
    );
    assert!(bench.writer.version(id(3)).is_some());
}

#[test]
fn nobody_is_erased_whom_a_later_message_of_the_same_batch_would_bring_back() {
    let mut bench = Bench::baseline();
    bench.update(1, 500, &[("Title", json!("keeps the producer busy"))]);
    bench.update(3, 501, &[("IsActive", json!(false))]);
    bench.step(Input::Erase { user: id(3), by: by() });
    bench.update(3, 502, &[("Title", json!("late"))]);
    bench.settle();
    assert_eq!(bench.writer.version(id(3)), None);
    assert_eq!(bench.writer.suppressed(), 1);
    assert!(
        !bench
            .messages
            .iter()
            .any(|change| change.user.title == Known::Value("late".into()))
    );
}

#[test]
fn a_later_part_of_a_set_never_takes_the_place_of_an_earlier_one() {
    let (mut bench, _) = held();
    let began = at(1000);
    let now = at(2000);
    // A first part that is used up, while the second is there.
    bench.writer.hold(
        began,
        &[id(1)].into(),
        crate::logic::writer::held::Kept::Deactivation,
        now,
    );
    bench.writer.let_go(id(10));
    bench.writer.hold(
        began,
        &[id(2)].into(),
        crate::logic::writer::held::Kept::Deactivation,
        now,
    );
    assert_eq!(bench.writer.held_people().0, 2);
    let sets = bench.writer.held();
    assert_eq!(sets.len(), 1);
    assert!(sets.values().all(|set| set.deactivations == [id(1), id(2)].into()));
}

#[test]
fn an_approval_is_said_where_it_mattered_only() {
    let (mut bench, _) = held();
    let set = bench.writer.held().into_keys().next().unwrap();
    bench.step(Input::Approve { id: set, by: by() });
    bench.settle();
    // Came back at the same moment, with another department: that is no removal.
    bench.answer(3000, &[(10, raw("EMEA", true))]);
    bench.settle();
    let last = bench.messages.last().unwrap();
    assert_eq!((last.kind, last.cause.approval.clone()), (ChangeKind::Updated, None));
}

#[test]
fn the_approved_removal_of_somebody_inactive_says_who_approved_it() {
    let (mut bench, _) = held();
    bench.update(10, 1500, &[("IsActive", json!(false))]);
    bench.settle();
    // The event spoke for itself; the next snapshot finds the person missing again.
    let rows: Vec<(u32, RawUser)> = (1..=9).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Query, 2000, &rows);
    bench.answer(2001, &[]);
    bench.settle();
    let set = bench.writer.held().into_keys().next().unwrap();
    bench.step(Input::Approve { id: set, by: by() });
    bench.settle();
    bench.answer(3000, &[]);
    bench.settle();
    let last = bench.messages.last().unwrap();
    assert_eq!(
        (last.kind, last.cause.approval.clone()),
        (ChangeKind::Removed, Some(by()))
    );
    assert_eq!(bench.writer.held_people().0, 0);
}

#[test]
fn what_is_staged_is_told_from_a_position_that_may_wait() {
    let mut bench = Bench::baseline();
    let done = bench.writer.committed_batch();
    assert_eq!(bench.writer.staged_batch(), done);
    bench.step(Input::Keepalive("k1".into()));
    bench.step(Input::Keepalive("k2".into()));
    assert_eq!(bench.writer.staged_batch(), done, "only the position moves");
    bench.update(3, 900, &[("Title", json!("x"))]);
    assert_eq!(bench.writer.staged_batch(), bench.writer.open_batch());
    assert!(bench.writer.staged_batch() > bench.writer.committed_batch());
    bench.settle();
    assert!(bench.writer.staged_batch() <= bench.writer.committed_batch());
}
