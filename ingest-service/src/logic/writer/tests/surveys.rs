//! Surveys: snapshots, reports and rechecks.

use super::*;

#[test]
fn the_baseline_discovers_everyone_once() {
    let mut bench = Bench::baseline();
    assert!(bench.topics.position.as_ref().unwrap().snapshot.is_some());
    let everyone: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Query, 1000, &everyone);
    assert_eq!(bench.kinds(), []);
}

#[test]
fn survey_rows_lose_to_events_received_since_it_began_and_lead_to_a_read() {
    let mut bench = Bench::baseline();
    bench.step(Input::PositionLost);
    bench.begin(SurveyKind::Query, 1000);
    bench.update(3, 1500, &[("Title", json!("new"))]);
    // The row knows of a deactivation whose event was lost; the event knows of a title that came later.
    bench.rows(1001, &[(3, raw("Sales", false))]);
    bench.end();
    bench.settle();
    assert_eq!(
        bench.kinds(),
        [ChangeKind::Updated],
        "the row is not taken for newer than the event"
    );
    assert!(bench.writer.owes(id(3)), "and not thrown away either");
    bench.answer(1502, &[(3, raw("Sales", false))]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Updated, ChangeKind::Deactivated]);
}

#[test]
fn a_look_that_does_not_join_the_last_one_does_not_move_the_mark() {
    let mut bench = Bench::baseline();
    bench.snapshot(SurveyKind::Recheck, 1000, &[]);
    assert_eq!(bench.writer.position().rechecked_to, Some(at(1001)));
    bench.snapshot(SurveyKind::Recheck, 5000, &[]);
    assert_eq!(
        bench.writer.position().rechecked_to,
        Some(at(1001)),
        "from 1001 to 4400 nobody looked"
    );
    bench.snapshot(SurveyKind::Recheck, 1500, &[]);
    assert_eq!(bench.writer.position().rechecked_to, Some(at(1501)));
}

#[test]
fn a_report_adds_edits_and_lacks_people() {
    let mut bench = Bench::baseline();
    let mut rows: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Report, 1000, &rows);
    assert_eq!(bench.state(5).listed, Known::Value(true));
    bench.messages.clear();
    rows.remove(8); // person 9 is missing, still in the population
    rows.remove(8); // person 10 is missing, gone
    rows[0].1.insert("Department".into(), json!("EMEA"));
    rows.push((11, raw("New", true)));
    bench.snapshot(SurveyKind::Report, 2000, &rows);
    bench.answer(2001, &[(9, raw("Sales", true)), (11, raw("New", true))]);
    bench.settle();
    let mut kinds: Vec<(String, ChangeKind)> = bench.messages.iter().map(|c| (c.user.id.to_string(), c.kind)).collect();
    kinds.sort();
    let expected = [
        (1, ChangeKind::Updated),
        (9, ChangeKind::Unlisted),
        (10, ChangeKind::Removed),
        (11, ChangeKind::Created),
    ];
    assert_eq!(kinds, expected.map(|(who, kind)| (id(who).to_string(), kind)));
    assert_eq!(bench.state(11).listed, Known::Value(true));
}

#[test]
fn incomplete_surveys_and_rechecks_prove_no_absence() {
    let mut bench = Bench::baseline();
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &[(1, raw("EMEA", true))]);
    bench.step(Input::SurveyEnded {
        result: Err("timed out".into()),
        accept_size: false,
    });
    bench.snapshot(SurveyKind::Recheck, 1100, &[(1, raw("EMEA", true))]);
    bench.snapshot(SurveyKind::Query, 1200, &[(1, raw("EMEA", true))]); // shrunk by 90 %
    bench.snapshot(SurveyKind::Query, 1300, &[]);
    assert_eq!(
        bench.kinds(),
        [ChangeKind::Updated],
        "the row counted, the absences never"
    );
    assert_eq!(bench.writer.owed(), 0);
}

#[test]
fn an_absentee_who_changes_is_not_absent() {
    let mut bench = Bench::baseline();
    let rows: Vec<(u32, RawUser)> = (1..=8).map(|who| (who, raw("Sales", true))).collect();
    bench.begin(SurveyKind::Query, 1000);
    bench.rows(1000, &rows);
    bench.update(9, 1400, &[("Title", json!("x"))]);
    bench.end();
    bench.answer(1500, &[]);
    bench.settle();
    assert_eq!(
        bench.kinds(),
        [ChangeKind::Updated, ChangeKind::Removed],
        "9 was touched since it began, 10 was not"
    );
}

#[test]
fn a_recheck_heals_and_counts() {
    let mut bench = Bench::baseline();
    bench.snapshot(SurveyKind::Recheck, 1000, &[(3, raw("Sales", false))]);
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated]);
    assert_eq!(bench.writer.counts().healed, 1);
}

#[test]
fn a_row_older_than_a_read_that_found_no_difference_leads_to_a_read() {
    let mut bench = Bench::baseline();
    bench.begin(SurveyKind::Recheck, 1000);
    // The page is read here, with the change and before its undoing, and comes late.
    let page = [(3, raw("EMEA", true)), (77, raw("Sales", true))];
    bench.event(3, 1010, ChangeType::Gap, &[]);
    bench.event(77, 1010, ChangeType::Gap, &[]);
    bench.answer(1020, &[(3, raw("Sales", true))]);
    bench.rows(1005, &page);
    bench.end();
    bench.settle();
    assert_eq!(bench.kinds(), []);
    assert!(bench.writer.owes(id(3)), "the department was changed back");
    assert!(bench.writer.owes(id(77)), "no member any more");
}

#[test]
fn a_row_older_than_the_deletion_of_a_stranger_publishes_nobody() {
    let mut bench = Bench::baseline();
    bench.begin(SurveyKind::Query, 1000);
    bench.event(77, 1010, ChangeType::Delete, &[]);
    bench.rows(1005, &rows([77]));
    bench.settle();
    assert_eq!(bench.kinds(), []);
    assert!(bench.writer.owes(id(77)));
}

#[test]
fn whoever_was_removed_and_is_back_inactive_is_not_published_as_active() {
    let mut bench = Bench::baseline();
    bench.event(3, 500, ChangeType::Delete, &[]);
    bench.settle();
    let mut everyone = rows(1..=10);
    everyone[2] = (3, raw("Sales", false));
    bench.snapshot(SurveyKind::Query, 1000, &everyone);
    assert_eq!(bench.kinds(), [ChangeKind::Removed, ChangeKind::Restored]);
    assert_eq!(bench.state(3).active, Known::Value(false));
}

#[test]
fn a_report_alone_gives_nobody_access_back() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    bench.snapshot(SurveyKind::Report, 1000, &rows(1..=10));
    bench.answer(1001, &[]);
    bench.settle();
    assert_eq!(bench.state(3).active, Known::Value(false));
    assert!(bench.state(3).removed, "it shows people outside the population");
}

#[test]
fn an_answer_that_lacks_people_neither_pays_what_is_owed_nor_ends_the_baseline() {
    let everyone: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &[]);
    bench.snapshot(SurveyKind::Query, 10, &everyone);
    assert_eq!(bench.kinds(), [ChangeKind::Discovered; 10], "they were there before");
    bench.messages.clear();

    let header = Header {
        change_type: ChangeType::Overflow,
        concerned: Concerned::Everyone,
        committed_at: at(500),
        commit_number: 500,
        transaction_key: "tx".into(),
        commit_user: id(1).to_string(),
    };
    bench.received(Ok(ChangeEvent {
        header,
        delta: Delta::default(),
        reread: Some("gap overflow"),
    }));
    bench.settle();
    for rows in [&everyone[..0], &everyone[..5]] {
        bench.snapshot(SurveyKind::Query, 1000, rows);
        assert!(bench.writer.owes_everyone().is_some(), "half of them were not seen");
        assert!(bench.topics.owed.contains_key(&Debtor::Everyone));
    }
    let changed: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("EMEA", true))).collect();
    bench.snapshot(SurveyKind::Query, 2000, &changed);
    assert_eq!(bench.kinds(), [ChangeKind::Updated; 10]);
    assert!(bench.writer.owes_everyone().is_none() && bench.topics.owed.is_empty());
}
