//! Who belongs: the population beside a report, and who leaves it without a word.

use super::*;

/// Reads the population as the job beside a report does.
fn population(bench: &mut Bench, began: i64, rows: &[(u32, RawUser)], accept_size: bool) {
    bench.step(Input::SurveyBegan(Survey {
        kind: SurveyKind::Query,
        began_at: at(began),
        window: None,
        listing: false,
        reimport: false,
        asked_at: at(bench.clock),
        routine: false,
    }));
    bench.rows(began, rows);
    bench.step(Input::SurveyEnded {
        result: Ok(()),
        accept_size,
    });
    bench.settle();
}

/// A hundred people in the population, and two hundred in the report.
fn with_report() -> Bench {
    let mut bench = Bench::new();
    population(&mut bench, 0, &rows(1..=100), false);
    bench.snapshot(SurveyKind::Report, 1, &rows(1..=200));
    bench.answer(2, &rows(1..=100));
    bench.settle();
    bench.messages.clear();
    assert_eq!(bench.writer.owed(), 0);
    bench
}

#[test]
fn a_truncated_population_beside_a_report_proves_no_absence() {
    let bench = with_report();
    let position = bench.topics.position.clone().unwrap();
    let sizes = (position.population.unwrap().rows, position.snapshot.unwrap().rows);
    assert_eq!(sizes, (100, 200));
    // Also after a change of the leader.
    let mut bench = bench.restart();
    population(&mut bench, 1000, &rows(1..=79), false);
    assert_eq!((bench.writer.owed(), bench.kinds()), (0, vec![]));
    assert!(
        bench
            .writer
            .population_problem()
            .unwrap()
            .contains("more than 20 % apart")
    );
    // The report is complete; the population's problem stays said.
    bench.snapshot(SurveyKind::Report, 1100, &rows(1..=200));
    bench.answer(1101, &rows(1..=100));
    bench.settle();
    assert_eq!(bench.writer.snapshot_problem(), None);
    assert!(bench.writer.population_problem().is_some());
    let population_began = |bench: &Bench| bench.writer.position().population.as_ref().unwrap().began_at;
    assert_eq!(population_began(&bench), at(0));
    // An operator says that it is right.
    population(&mut bench, 1200, &rows(1..=79), true);
    assert_eq!(bench.writer.owed(), 21);
    assert_eq!(
        (bench.writer.population_problem(), population_began(&bench)),
        (None, at(1200))
    );
}

#[test]
fn a_truncated_population_pays_no_debt_about_everyone() {
    let mut bench = with_report();
    bench.step(Input::PositionLost);
    population(&mut bench, 1000, &rows(1..=50), false);
    assert!(bench.writer.owes_everyone().is_some());
    population(&mut bench, 1100, &rows(1..=99), false);
    assert!(bench.writer.owes_everyone().is_none());
}

#[test]
fn whoever_left_the_population_by_a_lost_event_is_found_by_a_look_at_the_touched() {
    let mut bench = Bench::baseline();
    bench.begin(SurveyKind::Recheck, 1000);
    bench.rows(1000, &[(2, raw("Sales", true))]);
    // 1 and 3 do not match any more, 2 does, 4 was touched since, 5 is read anyway, 99 was never published.
    bench.update(4, 1500, &[("Title", json!("x"))]);
    bench.update(5, 100, &[("Title", json!("too soon to be merged"))]);
    bench.step(Input::SurveyTouched([1, 2, 3, 4, 5, 99].map(id).to_vec()));
    bench.end();
    bench.settle();
    let owed: Vec<u32> = (1..=10).filter(|who| bench.writer.owes(id(*who))).collect();
    assert_eq!(owed, [1, 3, 4, 5]);
    assert_eq!((bench.writer.counts().healed, bench.writer.healing_in_a_row()), (2, 1));
    // 3 belongs after all; 1 and 4 do not.
    while !bench.reads.is_empty() {
        bench.answer(1501, &[(3, raw("Sales", true)), (5, raw("Sales", true))]);
        bench.settle();
    }
    let removed: Vec<UserId> = bench
        .messages
        .iter()
        .filter(|m| m.user.removed)
        .map(|m| m.user.id)
        .collect();
    assert_eq!(removed, [id(1), id(4)]);
    assert_eq!(bench.writer.owed(), 0);
}

#[test]
fn an_owed_look_is_paid_only_with_what_it_found() {
    let mut bench = Bench::baseline();
    bench.update(3, 3_000, &[("Title", json!("good"))]);
    bench.received(Err(DecodeError {
        reason: "broken".into(),
        header: None,
    }));
    bench.settle();
    let since = bench.writer.owes_everyone().unwrap().touched_since.unwrap();
    bench.step(Input::SurveyBegan(Survey {
        kind: SurveyKind::Recheck,
        began_at: at(3_001),
        window: Some((since, at(3_002))),
        listing: false,
        reimport: false,
        asked_at: at(3_001),
        routine: false,
    }));
    bench.step(Input::SurveyTouched(vec![id(7)]));
    bench.end();
    bench.settle();
    assert!(bench.writer.owes_everyone().is_none() && bench.writer.owes(id(7)));
    assert_eq!(bench.writer.healing_in_a_row(), 0, "not a look of the schedule");
}

#[test]
fn many_who_left_without_a_word_are_held() {
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &rows(1..=40));
    bench.messages.clear();
    bench.begin(SurveyKind::Recheck, 1000);
    bench.step(Input::SurveyTouched((1..=6).map(id).collect()));
    bench.end();
    bench.settle();
    bench.answer(1001, &[]);
    bench.settle();
    assert_eq!((bench.kinds(), bench.held().0.len()), (vec![], 6));
    // Who is kept back is no news to the next look.
    bench.begin(SurveyKind::Recheck, 1010);
    bench.step(Input::SurveyTouched((1..=6).map(id).collect()));
    bench.end();
    bench.settle();
    assert_eq!((bench.writer.owed(), bench.writer.healing_in_a_row()), (0, 0));
}

#[test]
fn whoever_left_by_an_overflow_and_changes_while_everyone_is_read_is_read_too() {
    let mut bench = Bench::baseline();
    bench.step(Input::PositionLost);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(1..=9));
    bench.update(10, 1500, &[("Title", json!("says nothing about belonging"))]);
    bench.end();
    bench.settle();
    assert!(bench.writer.owes_everyone().is_none() && bench.writer.owes(id(10)));
    bench.answer(1501, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Updated, ChangeKind::Removed]);
}

#[test]
fn those_who_change_while_everyone_is_read_are_counted_when_they_turn_out_to_be_gone() {
    // Of forty people five may go at once. Each of the missing changes while everyone is read, as in a replay of days.
    for (missing, held) in [(5, 0), (6, 6)] {
        let mut bench = Bench::new();
        bench.snapshot(SurveyKind::Query, 0, &rows(1..=40));
        bench.messages.clear();
        bench.step(Input::PositionLost);
        bench.begin(SurveyKind::Query, 1000);
        bench.rows(1000, &rows(missing + 1..=40));
        for who in 1..=missing {
            bench.update(who, 1500, &[("Title", json!("says nothing about belonging"))]);
        }
        bench.end();
        bench.settle();
        assert_eq!(bench.writer.owed(), missing as usize);
        bench.answer(1501, &[]);
        bench.settle();
        let removed = bench
            .kinds()
            .iter()
            .filter(|kind| **kind == ChangeKind::Removed)
            .count();
        assert_eq!(
            (removed, bench.held().0.len()),
            ((missing - held) as usize, held as usize)
        );
        assert_eq!(bench.writer.owed(), 0);
    }
}

#[test]
fn an_event_after_the_reading_still_takes_the_absence_away() {
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &rows(1..=40));
    bench.messages.clear();
    bench.step(Input::PositionLost);
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows(7..=40));
    for who in 1..=6 {
        bench.update(who, 1500, &[("Title", json!("x"))]);
    }
    bench.end();
    bench.update(6, 1600, &[("IsActive", json!(false))]);
    bench.settle();
    while !bench.reads.is_empty() {
        bench.answer(1700, &[]);
        bench.settle();
    }
    let removed = bench.messages.iter().filter(|change| change.user.removed);
    assert_eq!(removed.count(), 6, "a leaver is none of the five who may go unasked");
    assert_eq!((bench.held().0, bench.writer.owed()), (vec![], 0));
}
