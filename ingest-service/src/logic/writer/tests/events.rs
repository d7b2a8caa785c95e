//! Events: merged where that is safe, and the position behind them.

use super::*;

#[test]
fn a_delta_is_merged_without_a_read() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("Department", json!("EMEA")), ("IsActive", json!(false))]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated]);
    assert_eq!(bench.state(3).department, Known::Value("EMEA".into()));
    assert_eq!(
        bench.state(3).email,
        Known::Value("a@b".into()),
        "what the event does not name stays"
    );
    assert!(bench.reads.is_empty());
}

#[test]
fn an_event_soon_after_a_read_or_before_the_last_merge_is_read_again() {
    let mut bench = Bench::baseline();
    bench.update(3, 60, &[("Department", json!("stale"))]);
    assert_eq!(bench.reads.len(), 1, "within the margin of the baseline's read");
    bench.answer(400, &[(3, raw("Fresh", true))]);
    bench.settle();
    assert_eq!(bench.state(3).department, Known::Value("Fresh".into()));
    bench.update(4, 900, &[("Department", json!("B"))]);
    bench.update(4, 900, &[("Department", json!("A"))]);
    assert_eq!(bench.reads.len(), 1, "equal commit time: order is not known");
}

#[test]
fn an_unknown_user_is_published_only_as_a_member() {
    let mut bench = Bench::baseline();
    bench.event(77, 500, ChangeType::Create, &[]);
    bench.event(78, 500, ChangeType::Create, &[]);
    bench.settle();
    assert_eq!(
        bench.topics.owed.len(),
        2,
        "the debts are durable before the position passes"
    );
    bench.answer(501, &[(77, raw("New", true))]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Created]);
    assert!(bench.topics.owed.is_empty());
    assert_eq!(bench.writer.counts().ignored, 1);
}

#[test]
fn an_event_during_a_read_leads_to_another_read() {
    let mut bench = Bench::baseline();
    bench.event(3, 500, ChangeType::Gap, &[]);
    assert_eq!(bench.reads.len(), 1);
    bench.update(3, 510, &[("Department", json!("ignored"))]);
    bench.answer(505, &[(3, raw("At505", true))]);
    assert_eq!(bench.reads.len(), 1, "the answer may be older than the event");
    bench.answer(520, &[(3, raw("At520", true))]);
    bench.settle();
    assert_eq!(bench.state(3).department, Known::Value("At520".into()));
    assert!(bench.topics.owed.is_empty());
}

#[test]
fn one_events_ids_and_its_position_are_in_one_batch() {
    let mut bench = Bench::baseline();
    let header = Header {
        change_type: ChangeType::Update,
        concerned: Concerned::Users((1..=10).map(id).collect()),
        committed_at: at(500),
        commit_number: 1,
        transaction_key: "tx".into(),
        commit_user: String::new(),
    };
    bench.writer.config.batch_records_max = 3;
    bench.received(Ok(ChangeEvent {
        header,
        delta: Delta::from([("Title".into(), json!("AE"))]),
        reread: None,
    }));
    let batch = bench.in_flight.as_ref().unwrap();
    assert_eq!(batch.changes.len(), 10);
    assert_eq!(batch.position.replay_id.as_deref(), Some("r1"));
}

#[test]
fn the_position_never_passes_what_is_not_in_a_batch() {
    let mut bench = Bench::baseline();
    bench.update(1, 500, &[("Title", json!("one"))]);
    bench.update(2, 501, &[("Title", json!("two"))]);
    let first = bench.in_flight.clone().unwrap();
    assert_eq!(
        (first.changes.len(), first.position.replay_id.as_deref()),
        (1, Some("r2"))
    );
    bench.settle();
    assert_eq!(bench.topics.position.as_ref().unwrap().replay_id.as_deref(), Some("r4"));
    assert_eq!(bench.kinds().len(), 2);
}

#[test]
fn redelivery_after_a_restart_changes_nothing() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(true)), ("Title", json!("x"))]);
    bench.update(3, 501, &[("IsActive", json!(false))]);
    bench.settle();
    let mut bench = bench.restart();
    bench.update(3, 500, &[("IsActive", json!(true)), ("Title", json!("x"))]);
    bench.update(3, 501, &[("IsActive", json!(false))]);
    bench.answer(
        600,
        &[(3, json!({"IsActive": false, "Title": "x"}).as_object().unwrap().clone())],
    );
    bench.settle();
    assert_eq!(bench.kinds(), [], "no leaver is re-enabled on the way");
}

#[test]
fn an_event_that_says_deleted_makes_not_to_be_seen_a_removal() {
    let mut bench = Bench::baseline();
    bench.event(3, 500, ChangeType::GapDelete, &[]);
    bench.answer_blindly(501);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
}

#[test]
fn a_field_of_the_population_is_asked_and_not_assumed() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("UserType", json!("Guest"))]);
    bench.answer(501, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
}

#[test]
fn a_name_that_is_not_known_is_read() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("ProfileId", json!("00e000000000001AAA"))]);
    assert_eq!(bench.reads.len(), 1);
    let mut with_profile = raw("Sales", true);
    with_profile.insert("ProfileId".into(), json!("00e000000000001AAA"));
    with_profile.insert("Profile".into(), json!({"Name": "Sales User"}));
    bench.answer(501, &[(3, with_profile)]);
    bench.settle();
    bench.update(4, 900, &[("ProfileId", json!("00e000000000001AAA"))]);
    bench.settle();
    assert_eq!(
        bench.state(4).profile.value().unwrap().name,
        Known::Value("Sales User".into()),
        "learnt"
    );
}

#[test]
fn a_moved_position_alone_is_committed_now_and_then() {
    let mut bench = Bench::baseline();
    bench.step(Input::Keepalive("k1".into()));
    assert!(bench.in_flight.is_none() || bench.in_flight.as_ref().is_some_and(|batch| !batch.has_content()));
    bench.settle();
    assert_eq!(bench.topics.position.as_ref().unwrap().replay_id.as_deref(), Some("k1"));
}

#[test]
fn nobody_gets_access_back_on_the_word_of_an_event_alone() {
    let mut bench = Bench::baseline();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    // That the person has left the population was told by nobody.
    bench.update(3, 900, &[("IsActive", json!(true))]);
    assert_eq!(bench.reads.len(), 1);
    bench.answer(901, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Deactivated, ChangeKind::Removed]);
}

#[test]
fn what_an_earlier_writer_has_handled_is_not_merged_again() {
    let mut bench = Bench::baseline();
    // A change and its undoing, both learnt by one read: nothing differs, so no message says how new the state is.
    bench.event(3, 500, ChangeType::Gap, &[]);
    bench.event(3, 501, ChangeType::Gap, &[]);
    bench.answer(600, &[(3, raw("Sales", true))]);
    bench.answer(601, &[(3, raw("Sales", true))]);
    bench.settle();
    let mut bench = bench.restart();
    assert_eq!(bench.writer.owed(), 0);
    bench.step(Input::PositionLost);
    bench.update(3, 500, &[("Department", json!("EMEA"))]);
    bench.answer(700, &[(3, raw("Sales", true))]);
    bench.settle();
    assert_eq!(bench.kinds(), []);
}

#[test]
fn a_lost_position_is_not_found_again_in_what_was_open() {
    let mut bench = Bench::with(Restored::default());
    bench.writer.progress = Progress::of_channel("/data/People__chn");
    bench.event(3, 500, ChangeType::Gap, &[]);
    bench.event(3, 501, ChangeType::Gap, &[]);
    assert!(bench.writer.position().replay_id.is_some());
    bench.step(Input::PositionLost);
    bench.event(3, 400, ChangeType::Gap, &[]);
    assert_eq!(bench.writer.position().replay_id, None);
}
