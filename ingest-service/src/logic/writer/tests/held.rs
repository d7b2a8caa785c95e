//! Held sets: what one snapshot may not do alone, and how it ends.

use super::*;
use crate::logic::writer::held::Kept;

/// An org of that many active people, published.
fn org(people: u32) -> Bench {
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &rows(1..=people));
    bench.messages.clear();
    bench
}

/// A snapshot in which the first ones are inactive.
fn leavers(people: u32, inactive: u32) -> Vec<(u32, RawUser)> {
    (1..=people).map(|who| (who, raw("Sales", who > inactive))).collect()
}

fn ids(people: impl IntoIterator<Item = u32>) -> Vec<UserId> {
    people.into_iter().map(id).collect()
}

/// Forty people of whom the first six are missing from a complete snapshot and gone.
fn six_are_gone() -> Bench {
    let mut bench = org(40);
    bench.snapshot(SurveyKind::Query, 1000, &rows(7..=40));
    bench.answer(1001, &[]);
    bench.settle();
    assert_eq!(bench.held(), (ids(1..=6), vec![]));
    assert_eq!((bench.kinds(), bench.writer.owed()), (vec![], 0));
    bench
}

/// Forty people of whom the first six are inactive in a snapshot.
fn six_are_inactive() -> Bench {
    let mut bench = org(40);
    bench.snapshot(SurveyKind::Query, 1000, &leavers(40, 6));
    assert_eq!(bench.held(), (vec![], ids(1..=6)));
    assert_eq!((bench.kinds(), bench.reads.len()), (vec![], 0));
    bench
}

#[test]
fn as_many_as_the_limit_are_removed_and_one_more_is_held() {
    // At least five, five of a hundred, at most a hundred.
    for (people, limit) in [(40, 5), (160, 8), (2_500, 100)] {
        let mut bench = org(people);
        assert_eq!(bench.writer.removals_limit(), u64::from(limit));
        bench.snapshot(SurveyKind::Query, 1000, &rows(limit + 1..=people));
        bench.answer(1001, &[]);
        bench.settle();
        assert_eq!(bench.kinds(), vec![ChangeKind::Removed; limit as usize], "{people}");
        assert_eq!(bench.writer.held_people().0, 0);

        let mut bench = org(people);
        bench.snapshot(SurveyKind::Query, 1000, &rows(limit + 2..=people));
        bench.answer(1001, &[]);
        bench.settle();
        assert_eq!(bench.kinds(), [], "{people}");
        assert_eq!(bench.held().0, ids(1..=limit + 1));
    }
}

#[test]
fn as_many_deactivations_as_the_limit_are_read_and_published_and_one_more_is_held() {
    let mut bench = org(40);
    bench.snapshot(SurveyKind::Query, 1000, &leavers(40, 5));
    bench.answer(1001, &leavers(40, 5));
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated; 5]);
    six_are_inactive();
}

#[test]
fn whatever_else_the_rows_of_held_leavers_say_is_published() {
    let mut bench = org(40);
    let mut rows = leavers(40, 6);
    rows[0].1.insert("Department".into(), json!("EMEA"));
    rows[20].1.insert("Department".into(), json!("APAC"));
    bench.snapshot(SurveyKind::Query, 1000, &rows);
    assert_eq!(bench.held().1, ids(1..=6));
    assert_eq!(bench.kinds(), [ChangeKind::Updated; 2]);
    assert_eq!(bench.state(1).department, Known::Value("EMEA".into()));
    assert_eq!(bench.state(1).active, Known::Value(true), "kept back");
    assert_eq!(bench.state(21).department, Known::Value("APAC".into()));
}

#[test]
fn people_removed_long_ago_do_not_raise_the_limit() {
    let mut bench = org(200);
    assert_eq!(bench.writer.removals_limit(), 10);
    for who in 101..=200 {
        bench.event(who, 500, ChangeType::Delete, &[]);
    }
    bench.settle();
    assert_eq!(bench.kinds().len(), 100);
    assert_eq!(bench.writer.removals_limit(), 5);
}

#[test]
fn sets_held_already_count_against_the_limit() {
    let mut bench = six_are_gone();
    bench.snapshot(SurveyKind::Query, 2000, &rows(8..=40));
    bench.answer(2001, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [], "many small snapshots must not add up unnoticed");
    assert_eq!(bench.held().0, ids(1..=7));
}

#[test]
fn an_event_that_deactivates_a_held_person_publishes_at_once() {
    let mut bench = six_are_inactive();
    bench.update(1, 1500, &[("IsActive", json!(false))]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated]);
    assert_eq!(bench.held().1, ids(2..=6));
}

#[test]
fn an_event_as_old_as_the_snapshot_deactivates_a_held_person_by_a_read() {
    let mut bench = six_are_inactive();
    // The snapshot was ahead of the stream: this is the commit that it had seen.
    bench.update(1, 999, &[("IsActive", json!(false))]);
    assert_eq!(bench.reads.len(), 1);
    bench.answer(1100, &[(1, raw("Sales", false))]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated]);
    assert_eq!(bench.held().1, ids(2..=6));
}

#[test]
fn an_event_that_says_deleted_ends_the_hold() {
    let mut bench = six_are_gone();
    bench.event(1, 1500, ChangeType::Delete, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
    assert_eq!(bench.held().0, ids(2..=6));
}

#[test]
fn an_event_that_deactivates_somebody_held_as_gone_leaves_the_removal_open() {
    let mut bench = six_are_gone();
    bench.update(1, 1500, &[("IsActive", json!(false))]);
    bench.settle();
    assert_eq!(
        (bench.kinds(), bench.held().0),
        (vec![ChangeKind::Deactivated], ids(1..=6))
    );
    // Where a read must say it, the read finds no member: access ends all the same.
    bench.update(2, 10, &[("IsActive", json!(false))]);
    bench.answer(1600, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated, ChangeKind::Removed]);
}

#[test]
fn a_read_of_a_held_person_does_not_leak() {
    let mut gone = six_are_gone();
    gone.step(Input::Reimport(id(1)));
    gone.answer(1500, &[]);
    gone.settle();
    assert_eq!((gone.kinds(), gone.held().0), (vec![], ids(1..=6)));

    let mut inactive = six_are_inactive();
    inactive.step(Input::Reimport(id(1)));
    inactive.answer(1500, &[(1, raw("EMEA", false))]);
    inactive.settle();
    assert_eq!(inactive.kinds(), [ChangeKind::Updated], "the rest is published");
    assert_eq!(inactive.held().1, ids(1..=6));
    inactive.step(Input::Reimport(id(1)));
    inactive.answer(1600, &[(1, raw("EMEA", true))]);
    inactive.settle();
    assert_eq!(inactive.held().1, ids(2..=6), "active again: no question any more");
}

#[test]
fn a_complete_snapshot_that_has_them_again_dissolves_the_set() {
    let mut bench = six_are_gone();
    bench.snapshot(SurveyKind::Query, 2000, &rows(1..=40));
    assert_eq!(bench.held(), (vec![], vec![]));
    let mut bench = six_are_inactive();
    bench.snapshot(SurveyKind::Query, 2000, &rows(1..=40));
    assert_eq!(bench.held(), (vec![], vec![]));
    assert_eq!(bench.kinds(), []);
}

#[test]
fn an_incomplete_snapshot_and_a_report_dissolve_no_removals() {
    let mut bench = six_are_gone();
    bench.begin(SurveyKind::Query, 2000);
    bench.rows(2000, &rows(1..=40));
    bench.step(Input::SurveyEnded {
        result: Err("timed out".into()),
        accept_size: false,
    });
    bench.settle();
    assert_eq!(bench.held().0, ids(1..=6));
    // A report shows people outside the population, too.
    bench.snapshot(SurveyKind::Report, 3000, &leavers(40, 1));
    assert_eq!(bench.held(), (ids(1..=6), vec![]));
}

#[test]
fn approving_removes_those_who_are_still_gone_and_nobody_else() {
    let mut bench = six_are_gone();
    bench.approve();
    assert_eq!(bench.kinds(), [], "everybody is read first");
    bench.answer(1500, &[(3, raw("Sales", true))]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed; 5]);
    assert!(bench.messages.iter().all(|change| change.cause.approval == Some(by())));
    assert!(!bench.state(3).removed);
    assert_eq!((bench.held(), bench.writer.owed()), ((vec![], vec![]), 0));
}

#[test]
fn approving_deactivates_those_who_are_still_inactive() {
    let mut bench = six_are_inactive();
    bench.approve();
    let mut members = leavers(6, 6);
    members[2] = (3, raw("Sales", true));
    bench.answer(1500, &members);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated; 5]);
    assert!(bench.messages.iter().all(|change| change.cause.approval == Some(by())));
    assert_eq!(bench.state(3).active, Known::Value(true));
}

#[test]
fn held_and_half_released_sets_survive_restarts() {
    let mut bench = six_are_gone().restart();
    assert_eq!(bench.held().0, ids(1..=6));
    bench.snapshot(SurveyKind::Query, 2000, &rows(7..=40));
    assert_eq!((bench.kinds(), bench.reads.len()), (vec![], 0), "known to be absent");
    bench.writer.config.batch_records_max = 2;
    let set = bench.writer.held().into_keys().next().unwrap();
    bench.step(Input::Approve { id: set, by: by() });
    // The release is durable, and so are the debts of the first two.
    for _ in 0..2 {
        let batch = bench.in_flight.take().unwrap();
        fold(&mut bench.topics.owed, batch.owed);
        fold(&mut bench.topics.held, batch.held);
        bench.step(Input::Committed);
        bench.step(Input::Tick);
    }
    assert_eq!(bench.topics.owed.len(), 2);
    assert_eq!(bench.topics.held.values().map(HeldSet::len).sum::<usize>(), 4);
    let mut bench = bench.restart();
    bench.settle();
    bench.answer(2500, &[]);
    bench.settle();
    bench.answer(2501, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed; 6]);
    assert!(bench.messages.iter().all(|change| change.cause.approval == Some(by())));
    assert!(bench.topics.held.is_empty() && bench.topics.owed.is_empty());
}

#[test]
fn large_sets_are_split_and_a_part_never_takes_the_place_of_another() {
    let mut bench = org(10);
    let many: BTreeSet<UserId> = (1_u32..).take(HeldSet::MEMBERS_MAX + 1).map(id).collect();
    bench.writer.hold(at(1000), &many, Kept::Removal, at(0));
    let sizes = |bench: &Bench| bench.writer.held.parts().values().map(HeldSet::len).collect::<Vec<_>>();
    assert_eq!(sizes(&bench), [HeldSet::MEMBERS_MAX, 1]);
    let last = *many.last().unwrap();
    for id in many.iter().filter(|id| **id != last) {
        bench.writer.let_go(*id);
    }
    assert_eq!(sizes(&bench), [1]);
    let one = BTreeSet::from([id(1)]);
    bench.writer.hold(at(1000), &one, Kept::Deactivation, at(0));
    assert_eq!(bench.held(), (vec![last], ids([1])), "one set for an operator");
    assert_eq!(sizes(&bench), [1, 1]);
}

#[test]
fn whoever_is_held_twice_is_in_the_newer_set_only() {
    let mut bench = six_are_inactive();
    bench.snapshot(SurveyKind::Query, 2000, &rows(7..=40));
    bench.answer(2001, &[]);
    bench.settle();
    assert_eq!(bench.held(), (ids(1..=6), vec![]));
    let bench = bench.restart();
    assert_eq!(bench.held(), (ids(1..=6), vec![]));
}

#[test]
fn a_leaver_of_whom_an_event_spoke_meanwhile_is_not_held() {
    let mut bench = org(40);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &leavers(40, 7));
    bench.update(1, 1500, &[("IsActive", json!(false))]);
    bench.end();
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated]);
    assert_eq!(bench.held().1, ids(2..=7));
}

#[test]
fn a_report_row_does_not_take_absentees_past_the_guard() {
    let mut bench = org(40);
    bench.snapshot(SurveyKind::Query, 1000, &rows(7..=40));
    // All are gone but one, whose read fails: the others wait.
    let (ticket, asked) = bench.reads.remove(0);
    bench.step(Input::Read {
        ticket,
        read_at: at(1001),
        result: Err("503".into()),
    });
    assert_eq!(asked.len(), 6);
    bench.clock += 100;
    bench.step(Input::Tick);
    bench.begin(SurveyKind::Report, 1100);
    bench.rows(1100, &rows(1..=40));
    bench.answer(1200, &[]);
    bench.end();
    bench.settle();
    for read_at in 0..3 {
        bench.answer(1300 + read_at, &[]);
        bench.settle();
    }
    assert_eq!(bench.held().0, ids(1..=6));
    let removed = bench.messages.iter().filter(|change| change.user.removed);
    assert_eq!(removed.map(|change| change.user.id).collect::<Vec<_>>(), []);
}

#[test]
fn a_released_set_does_not_wait_until_the_stream_is_quiet() {
    let mut bench = six_are_gone();
    bench.writer.config.batch_records_max = 5;
    bench.largest = 0;
    let set = bench.writer.held().into_keys().next().unwrap();
    bench.step(Input::Approve { id: set, by: by() });
    // Events all the time: there is always something to be written.
    for second in 0..8 {
        bench.update(20, 2_000 + second, &[("Title", json!(format!("{second}")))]);
        assert!(bench.writer.backlog() > 0);
        bench.clock += 1;
        bench.step(Input::Tick);
        bench.answer(2_000 + second, &[]);
        bench.durable();
        bench.step(Input::Committed);
    }
    assert_eq!(bench.writer.held_people().0, 0);
    assert!(bench.largest <= 12, "{} records in one transaction", bench.largest);
    bench.settle();
    assert_eq!(
        bench
            .kinds()
            .iter()
            .filter(|kind| **kind == ChangeKind::Removed)
            .count(),
        6
    );
}
