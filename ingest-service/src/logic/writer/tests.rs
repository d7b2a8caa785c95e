//! Tests of the writer: each is a short history of inputs.

use serde_json::{Value, json};
use usher_contract::ChangeKind;

use super::*;
use crate::logic::change_event::Delta;

mod operators;
mod polls;

const ORG: &str = "00D000000000001EAA";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_312_000 + seconds).unwrap()
}

fn id(number: u32) -> UserId {
    UserId::try_new(&format!("005{number:012}")).unwrap()
}

fn config() -> WriterConfig {
    WriterConfig {
        org: ORG.parse().unwrap(),
        stream: "/data/UserChangeEvent".into(),
        read_margin: SignedDuration::from_secs(120),
        batch_records_max: 500,
        batch_bytes_max: 4 << 20,
        position_interval: SignedDuration::from_secs(5),
        removals_percent: 5,
        removals_at_least: 5,
        removals_at_most: 100,
        publish_before: false,
        publish_changed_by: false,
        fields: Fields::default(),
        population: Population::new("UserType = 'Standard'", &[], &[]),
    }
}

fn raw(department: &str, active: bool) -> RawUser {
    json!({"Email": "a@b", "LastName": "Byron", "FirstName": "Ada", "Department": department, "IsActive": active})
        .as_object()
        .unwrap()
        .clone()
}

/// Runs a writer and keeps what it commits, as a reader of the topics would see it.
struct Bench {
    writer: Writer,
    clock: i64,
    replay: u64,
    messages: Vec<UserChange>,
    reads: Vec<(Ticket, Vec<UserId>)>,
    in_flight: Option<Batch>,
    topics: Restored,
    letters: Vec<EventDeadLetter>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Restored::default())
    }
    fn with(restored: Restored) -> Self {
        Self {
            writer: Writer::restore(config(), restored, 12),
            clock: 0,
            replay: 0,
            messages: vec![],
            reads: vec![],
            in_flight: None,
            topics: Restored::default(),
            letters: vec![],
        }
    }
    fn step(&mut self, input: Input) {
        for effect in self.writer.step(input, at(self.clock)) {
            match effect {
                Effect::Commit(batch) => {
                    assert!(self.in_flight.is_none(), "one transaction at a time");
                    self.in_flight = Some(*batch);
                }
                Effect::Read { ticket, ids, .. } => self.reads.push((ticket, ids)),
            }
        }
    }
    /// Commits until nothing is staged.
    fn settle(&mut self) {
        self.clock += 6;
        self.step(Input::Tick);
        while let Some(batch) = self.in_flight.take() {
            for (debtor, owed) in batch.owed {
                match owed {
                    Some(owed) => self.topics.owed.insert(debtor, owed),
                    None => self.topics.owed.remove(&debtor),
                };
            }
            for change in batch.changes {
                let last = self
                    .topics
                    .published
                    .head(change.user.id)
                    .map_or(0, |head| head.version);
                assert_eq!(change.version, last + 1, "versions rise by one");
                self.topics
                    .published
                    .insert(change.user.id, Published::restored(change.clone()));
                self.messages.push(change);
            }
            self.letters.extend(batch.dead_letters);
            self.topics.position = Some(batch.position);
            self.step(Input::Committed);
            self.clock += 6;
            self.step(Input::Tick);
        }
    }
    fn event(&mut self, who: u32, committed: i64, change_type: ChangeType, fields: &[(&str, Value)]) {
        self.replay += 1;
        let header = Header {
            change_type,
            concerned: Concerned::Users(vec![id(who)]),
            committed_at: at(committed),
            commit_number: committed,
            transaction_key: "tx".into(),
            commit_user: id(1).to_string(),
        };
        let delta: Delta = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let reread = (change_type != ChangeType::Update && change_type != ChangeType::Delete).then_some("gap event");
        self.received(Ok(ChangeEvent { header, delta, reread }));
    }
    fn received(&mut self, event: Result<ChangeEvent, DecodeError>) {
        self.replay += 1;
        let event = StreamEvent {
            replay_id: format!("r{}", self.replay),
            schema_id: "s".into(),
            payload: String::new(),
            event,
        };
        self.step(Input::Events(vec![event]));
    }
    fn update(&mut self, who: u32, committed: i64, fields: &[(&str, Value)]) {
        self.event(who, committed, ChangeType::Update, fields);
    }
    /// Whoever is not among the members exists all the same.
    fn answer(&mut self, read_at: i64, members: &[(u32, RawUser)]) {
        self.answer_with(read_at, members, true);
    }
    /// Whoever is not among the members cannot be seen.
    fn answer_blindly(&mut self, read_at: i64) {
        self.answer_with(read_at, &[], false);
    }
    fn answer_with(&mut self, read_at: i64, members: &[(u32, RawUser)], others_exist: bool) {
        let members: HashMap<UserId, RawUser> = members.iter().map(|(who, raw)| (id(*who), raw.clone())).collect();
        for (ticket, asked) in std::mem::take(&mut self.reads) {
            let others = asked
                .into_iter()
                .filter(|id| others_exist && !members.contains_key(id))
                .collect();
            let result = Ok(Members {
                members: members.clone(),
                others,
            });
            self.step(Input::Read {
                ticket,
                read_at: at(read_at),
                result,
            });
        }
    }
    fn begin(&mut self, kind: SurveyKind, began: i64) {
        let window = (kind == SurveyKind::Recheck).then(|| (at(began - 600), at(began)));
        self.step(Input::SurveyBegan(Survey {
            kind,
            began_at: at(began),
            window,
            listing: kind != SurveyKind::Recheck,
            reimport: false,
            asked_at: at(self.clock),
            routine: kind == SurveyKind::Recheck,
        }));
    }
    fn rows(&mut self, read_at: i64, rows: &[(u32, RawUser)]) {
        self.step(Input::SurveyRows {
            read_at: at(read_at),
            rows: rows.iter().map(|(who, raw)| (id(*who), raw.clone())).collect(),
        });
    }
    fn end(&mut self) {
        self.step(Input::SurveyEnded {
            result: Ok(()),
            accept_size: false,
        });
    }
    fn snapshot(&mut self, kind: SurveyKind, began: i64, rows: &[(u32, RawUser)]) {
        self.begin(kind, began);
        self.rows(began, rows);
        self.end();
        self.settle();
    }
    /// Ten people, published by a baseline at second 0.
    fn baseline() -> Self {
        let mut bench = Self::new();
        let everyone: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
        bench.snapshot(SurveyKind::Query, 0, &everyone);
        assert_eq!(bench.messages.len(), 10);
        bench.messages.clear();
        bench
    }
    fn kinds(&self) -> Vec<ChangeKind> {
        self.messages.iter().map(|change| change.kind).collect()
    }
    fn state(&self, who: u32) -> User {
        self.topics.published.get(id(who)).unwrap().user
    }
    fn restart(self) -> Self {
        let mut next = Self::with(self.topics);
        next.clock = self.clock;
        next.replay = self.replay;
        // What the topics hold stays there.
        next.topics = Restored {
            published: next.writer.published.clone(),
            position: Some(next.writer.position.clone()),
            ..Restored::default()
        };
        next
    }
}

#[test]
fn the_baseline_discovers_everyone_once() {
    let mut bench = Bench::baseline();
    assert!(bench.topics.position.as_ref().unwrap().snapshot.is_some());
    let everyone: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Query, 1000, &everyone);
    assert_eq!(bench.kinds(), []);
}

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
fn an_event_that_says_deleted_makes_not_to_be_seen_a_removal() {
    let mut bench = Bench::baseline();
    bench.event(3, 500, ChangeType::GapDelete, &[]);
    bench.answer_blindly(501);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
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

#[test]
fn a_look_that_does_not_join_the_last_one_does_not_move_the_mark() {
    let mut bench = Bench::baseline();
    bench.snapshot(SurveyKind::Recheck, 1000, &[]);
    assert_eq!(bench.writer.position().rechecked_to, Some(at(1000)));
    bench.snapshot(SurveyKind::Recheck, 5000, &[]);
    assert_eq!(
        bench.writer.position().rechecked_to,
        Some(at(1000)),
        "from 1000 to 4400 nobody looked"
    );
    bench.snapshot(SurveyKind::Recheck, 1500, &[]);
    assert_eq!(bench.writer.position().rechecked_to, Some(at(1500)));
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
fn too_many_removals_are_kept_back() {
    let mut bench = Bench::baseline();
    bench.writer.config.removals_at_least = 1;
    let rows: Vec<(u32, RawUser)> = (1..=8).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Query, 1000, &rows);
    bench.answer(1001, &[]);
    bench.settle();
    assert_eq!(bench.kinds(), []);
    assert_eq!(bench.writer.held_people().0, 2);
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
fn what_an_operator_wants_is_committed_at_once() {
    let mut bench = Bench::new();
    bench.step(Input::Keepalive("a".into()));
    bench.in_flight = None;
    bench.step(Input::Committed);
    bench.step(Input::Keepalive("b".into()));
    assert!(bench.in_flight.is_none(), "a moved position waits");
    bench.step(Input::Want { accept_size: false });
    assert!(bench.in_flight.as_ref().unwrap().position.wanted.is_some());
    // Also when another commit is under way: right after it.
    bench.step(Input::Want { accept_size: true });
    bench.in_flight = None;
    bench.step(Input::Committed);
    assert!(bench.in_flight.unwrap().position.wanted.unwrap().accept_size);
}
