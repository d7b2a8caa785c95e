//! Whatever a survey finds becomes debts, removals and held sets in transactions of bounded size, and is judged as a whole.

use super::*;

fn org(people: u32, portion: usize) -> Bench {
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &rows(1..=people));
    bench.messages.clear();
    bench.writer.config.batch_records_max = portion;
    bench.largest = 0;
    bench
}

/// Answers whatever is asked, until nothing is: nobody of them is a member.
fn all_gone(bench: &mut Bench) {
    while !bench.reads.is_empty() {
        bench.answer(1500, &[]);
        bench.settle();
    }
}

#[test]
fn seventy_absentees_are_owed_and_held_in_transactions_of_ten() {
    let mut bench = org(400, 10);
    bench.snapshot(SurveyKind::Query, 1000, &rows(71..=400));
    assert_eq!((bench.writer.owed(), bench.writer.is_finishing()), (70, false));
    assert_eq!(bench.writer.position().snapshot.as_ref().unwrap().began_at, at(1000));
    all_gone(&mut bench);
    assert_eq!(bench.held().0.len(), 70);
    assert_eq!((bench.kinds(), bench.writer.owed()), (vec![], 0));
    // A portion, its held set and the position.
    assert!(bench.largest <= 12, "{} records in one transaction", bench.largest);
    assert_eq!(bench.writer.held().len(), 1, "one set for people");
    assert_eq!(bench.writer.position().judged, None);
}

#[test]
fn removals_within_the_limit_are_made_in_portions_too() {
    let mut bench = org(400, 3);
    assert_eq!(bench.writer.removals_limit(), 20);
    bench.snapshot(SurveyKind::Query, 1000, &rows(21..=400));
    all_gone(&mut bench);
    assert_eq!(bench.kinds(), vec![ChangeKind::Removed; 20]);
    assert_eq!(bench.held().0, []);
    // Three messages, three paid debts and the position.
    assert!(bench.largest <= 7, "{} records in one transaction", bench.largest);
}

#[test]
fn leavers_are_held_and_read_in_portions() {
    let leavers =
        |inactive: u32| -> Vec<(u32, RawUser)> { (1..=400).map(|who| (who, raw("Sales", who > inactive))).collect() };
    let mut bench = org(400, 10);
    bench.snapshot(SurveyKind::Query, 1000, &leavers(70));
    assert_eq!((bench.held().1.len(), bench.writer.owed()), (70, 0));
    assert!(bench.largest <= 12, "{} records in one transaction", bench.largest);
    let mut bench = org(400, 3);
    bench.snapshot(SurveyKind::Query, 1000, &leavers(20));
    assert_eq!(bench.writer.owed(), 20);
    assert!(bench.largest <= 4, "{} records in one transaction", bench.largest);
}

#[test]
fn nothing_is_decided_marked_or_paid_before_the_last_portion() {
    let mut bench = org(400, 10);
    bench.step(Input::PositionLost);
    bench.settle();
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(21..=400));
    bench.end();
    assert!(bench.writer.is_finishing());
    // The first ten are read at once, and are within the limit on their own.
    let said = bench.writer.counts().messages;
    bench.answer(1500, &[]);
    assert_eq!(bench.writer.counts().messages, said);
    assert!(bench.durable());
    assert_eq!(
        bench
            .topics
            .position
            .as_ref()
            .unwrap()
            .snapshot
            .as_ref()
            .unwrap()
            .began_at,
        at(0)
    );
    assert!(bench.topics.owed.contains_key(&Debtor::Everyone));
    assert_eq!(bench.messages.len(), 0);
    bench.step(Input::Committed);
    bench.settle();
    assert_eq!(
        bench
            .topics
            .position
            .as_ref()
            .unwrap()
            .snapshot
            .as_ref()
            .unwrap()
            .began_at,
        at(1000)
    );
    assert!(!bench.topics.owed.contains_key(&Debtor::Everyone));
}

#[test]
fn a_leader_that_dies_between_portions_leaves_a_set_that_is_counted_as_a_whole() {
    let mut bench = org(400, 10);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(71..=400));
    bench.end();
    assert!(bench.durable());
    let mut bench = bench.restart();
    bench.settle();
    assert_eq!(bench.writer.owed(), 10);
    assert_eq!(
        bench.writer.position().snapshot.as_ref().unwrap().began_at,
        at(0),
        "the snapshot was not concluded"
    );
    all_gone(&mut bench);
    assert_eq!(
        (bench.kinds(), bench.held().0.len()),
        (vec![], 10),
        "ten of seventy are too many, although ten are not"
    );
    // The next snapshot finds the others.
    bench.snapshot(SurveyKind::Query, 2000, &rows(71..=400));
    all_gone(&mut bench);
    assert_eq!((bench.kinds(), bench.held().0.len()), (vec![], 70));
}

#[test]
fn somebody_who_changes_while_the_others_are_owed_is_not_absent() {
    let mut bench = org(400, 10);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(21..=400));
    bench.end();
    bench.update(20, 1700, &[("Title", json!("here"))]);
    bench.settle();
    assert!(!bench.writer.owes(id(20)));
    assert!(bench.writer.owes(id(19)));
}

#[test]
fn a_survey_that_begins_too_early_leaves_what_is_left_unpaid() {
    let mut bench = org(400, 10);
    bench.step(Input::PositionLost);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(71..=400));
    bench.end();
    bench.begin(SurveyKind::Recheck, 1100);
    bench.end();
    bench.settle();
    assert!(bench.writer.owes_everyone().is_some());
    assert_eq!(bench.writer.position().snapshot.as_ref().unwrap().began_at, at(0));
}

#[test]
fn removals_and_deactivations_of_one_snapshot_are_counted_together() {
    // The limit of a hundred people is five.
    for (inactive, absent, held) in [(3, 2, 0), (3, 3, 3), (5, 1, 1), (0, 5, 0)] {
        for dies in [false, true] {
            let mut bench = org(100, 500);
            let listed: Vec<(u32, RawUser)> = (absent + 1..=100)
                .map(|who| (who, raw("Sales", who > absent + inactive)))
                .collect();
            bench.snapshot(SurveyKind::Query, 1000, &listed);
            if dies {
                bench = bench.restart();
                bench.settle();
            }
            while !bench.reads.is_empty() {
                bench.answer(1500, &listed);
                bench.settle();
            }
            let kinds = bench.kinds();
            let count = |kind| kinds.iter().filter(|other| **other == kind).count();
            let expected = (inactive as usize, (absent - held) as usize, held as usize);
            let found = (
                count(ChangeKind::Deactivated),
                count(ChangeKind::Removed),
                bench.held().0.len(),
            );
            assert_eq!(found, expected, "{inactive} inactive, {absent} absent, dies: {dies}");
        }
    }
}

/// A look at the recently touched finds one more who has left without a word.
fn one_more_is_absent(bench: &mut Bench, who: u32) {
    bench.begin(SurveyKind::Recheck, 1100);
    bench.step(Input::SurveyTouched(vec![id(who)]));
    bench.end();
    bench.settle();
}

#[test]
fn an_absentee_of_a_later_look_takes_nothing_from_what_the_snapshot_brought() {
    // Of four hundred people twenty may go at once: ten deactivations and fifteen absentees are too many.
    let listed: Vec<(u32, RawUser)> = (16..=400).map(|who| (who, raw("Sales", who > 25))).collect();
    let mut bench = org(400, 500);
    bench.snapshot(SurveyKind::Query, 1000, &listed);
    assert_eq!((bench.writer.owed(), bench.kinds()), (25, vec![]));
    one_more_is_absent(&mut bench, 300);
    while !bench.reads.is_empty() {
        bench.answer(1500, &listed[..listed.len() - 101]);
        bench.settle();
    }
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated; 10]);
    assert_eq!(bench.held().0.len(), 16);
    assert_eq!(bench.writer.position().judged, None);
}

#[test]
fn nor_after_a_leader_that_died_between_portions() {
    let mut bench = org(400, 10);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(71..=400));
    bench.end();
    assert!(bench.durable());
    let mut bench = bench.restart();
    one_more_is_absent(&mut bench, 300);
    all_gone(&mut bench);
    assert_eq!(
        (bench.kinds(), bench.held().0.len()),
        (vec![], 11),
        "eleven of seventy-one"
    );
}
