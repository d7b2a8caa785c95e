//! Debts: made, asked for again, and paid.

use super::*;

#[test]
fn a_failed_read_is_tried_again_and_survives_a_restart() {
    let mut bench = Bench::baseline();
    bench.event(3, 500, ChangeType::Gap, &[]);
    bench.settle();
    let (ticket, _) = bench.reads.pop().unwrap();
    bench.step(Input::Read {
        ticket,
        read_at: at(500),
        result: Err("503".into()),
    });
    assert!(bench.reads.is_empty(), "not at once");
    bench.clock += 2;
    bench.step(Input::Tick);
    assert_eq!(bench.reads.len(), 1);
    let owed = bench.topics.owed.clone();
    let restored = Restored {
        published: bench.topics.published.clone(),
        position: bench.topics.position.clone(),
        owed,
        ..Restored::default()
    };
    let mut after = Bench::with(restored);
    after.step(Input::Tick);
    assert_eq!(after.reads.len(), 1, "the debt came back from the topic");
}

#[test]
fn undecodable_events_become_dead_letters_and_debts() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("Title", json!("x"))]);
    bench.received(Err(DecodeError {
        reason: "broken".into(),
        header: None,
    }));
    bench.settle();
    assert_eq!(bench.letters.len(), 1);
    let owed = bench.writer.owes_everyone().unwrap();
    assert_eq!(owed.touched_since, Some(at(500 - 120)));
    bench.begin(SurveyKind::Recheck, 600);
    bench.end();
    bench.settle();
    assert!(
        bench.writer.owes_everyone().is_none(),
        "the recheck looked back far enough"
    );
}

#[test]
fn a_debt_about_everyone_made_during_a_survey_needs_another() {
    let mut bench = Bench::baseline();
    bench.step(Input::PositionLost);
    bench.begin(SurveyKind::Query, 600);
    bench.step(Input::PositionLost);
    let everyone: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
    bench.rows(600, &everyone);
    bench.end();
    assert!(bench.writer.owes_everyone().is_some());
    bench.snapshot(SurveyKind::Query, 700, &everyone);
    assert!(bench.writer.owes_everyone().is_none());
}

#[test]
fn nobody_is_removed_because_nobody_could_be_seen() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("UserType", json!("Guest"))]);
    bench.answer_blindly(501);
    bench.settle();
    assert_eq!(bench.kinds(), []);
    assert_eq!(
        (bench.writer.unseen(), bench.writer.owed()),
        (1, 1),
        "it stays owed and is said"
    );
    bench.clock += 100;
    bench.step(Input::Tick);
    bench.answer(700, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed], "seen, and not a member");
    assert_eq!(bench.writer.unseen(), 0);
}

#[test]
fn a_deletion_is_noted_although_a_read_is_owed_already() {
    let mut bench = Bench::baseline();
    bench.event(3, 500, ChangeType::Gap, &[]);
    bench.event(3, 501, ChangeType::Delete, &[]);
    bench.settle();
    let mut bench = bench.restart();
    bench.step(Input::Tick);
    bench.answer_blindly(600);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
    assert_eq!(bench.writer.owed(), 0);
}

#[test]
fn a_deletion_that_cannot_be_decoded_is_noted_by_its_header() {
    let mut bench = Bench::baseline();
    let header = Header {
        change_type: ChangeType::Delete,
        concerned: Concerned::Users(vec![id(3)]),
        committed_at: at(500),
        commit_number: 1,
        transaction_key: "tx".into(),
        commit_user: String::new(),
    };
    bench.received(Err(DecodeError {
        reason: "broken".into(),
        header: Some(Box::new(header)),
    }));
    bench.answer_blindly(600);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
}

#[test]
fn a_look_that_leaves_out_the_newest_rows_pays_no_debt_about_everyone() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("Title", json!("x"))]);
    bench.received(Err(DecodeError {
        reason: "broken".into(),
        header: None,
    }));
    bench.step(Input::SurveyBegan(Survey {
        kind: SurveyKind::Recheck,
        began_at: at(600),
        window: Some((at(0), at(570))),
        listing: false,
        reimport: false,
        asked_at: at(600),
        routine: true,
    }));
    bench.end();
    assert!(bench.writer.owes_everyone().is_some());
}

#[test]
fn a_deletion_during_a_debt_is_not_forgotten() {
    let mut bench = Bench::baseline();
    // Too soon after the baseline to be merged: owed.
    bench.update(3, 60, &[("Department", json!("Legal"))]);
    bench.event(3, 61, ChangeType::Delete, &[]);
    bench.settle();
    bench.answer_blindly(70);
    bench.settle();
    // The first read was asked for before the deletion came.
    bench.answer_blindly(80);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
    assert_eq!(bench.writer.unseen(), 0);
}
