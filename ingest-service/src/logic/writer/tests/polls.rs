//! Polls in the writer: attached, compared, not believed, for newcomers, after a restart, renamed.

use usher_contract::{GroupRef, NamedRef, RecordId};

use super::*;
use crate::logic::polls::PollKind;

const SALES: &str = "00e000000000001AAA";

fn group(number: u32) -> GroupRef {
    GroupRef {
        id: RecordId::try_new(&format!("00G{number:012}")).unwrap(),
        name: Known::Value(format!("group {number}")),
        direct: true,
    }
}

fn groups(of: &[(u32, &[u32])]) -> Polled {
    let list = |numbers: &[u32]| numbers.iter().map(|number| group(*number)).collect();
    Polled::Groups(of.iter().map(|(who, numbers)| (id(*who), list(numbers))).collect())
}

fn sets(of: &[u32]) -> Polled {
    let set = NamedRef {
        id: RecordId::try_new("0PS000000000001").unwrap(),
        name: Known::Value("Forecast".into()),
    };
    Polled::PermissionSets(of.iter().map(|who| (id(*who), vec![set.clone()])).collect())
}

fn frozen(of: &[u32]) -> Polled {
    Polled::Frozen(of.iter().map(|who| id(*who)).collect())
}

fn name(text: &str) -> Polled {
    Polled::Names(HashMap::from([(SALES.parse().unwrap(), text.to_owned())]))
}

fn with_profile(name: &str) -> RawUser {
    let mut raw = raw("Sales", true);
    raw.insert("ProfileId".into(), json!(SALES));
    raw.insert("Profile".into(), json!({ "Name": name }));
    raw
}

impl Bench {
    /// Ten people, and all polls wanted.
    fn polled() -> Self {
        let mut bench = Self::baseline();
        bench.writer.expect_polls(PollKind::ALL.into_iter().collect());
        bench
    }
    /// Two of them have a profile with a name.
    fn named() -> Self {
        let mut bench = Self::polled();
        bench.snapshot(
            SurveyKind::Query,
            100,
            &(1..=10)
                .map(|who| {
                    (
                        who,
                        if who <= 2 {
                            with_profile("Sales")
                        } else {
                            raw("Sales", true)
                        },
                    )
                })
                .collect::<Vec<_>>(),
        );
        bench.poll(200, vec![name("Sales")]);
        bench.messages.clear();
        bench
    }
    fn poll(&mut self, read_at: i64, polls: Vec<Polled>) {
        self.step(Input::PollBegan);
        self.answer_polls(read_at, polls, false);
    }
    fn answer_polls(&mut self, read_at: i64, polls: Vec<Polled>, accept_loss: bool) {
        let poll = |polled| Poll {
            polled,
            read_at: at(read_at),
            accept_loss,
        };
        self.step(Input::Polled(polls.into_iter().map(poll).collect()));
        self.work_off();
    }
    fn work_off(&mut self) {
        self.settle();
        while self.writer.attaching() {
            self.settle();
        }
    }
    fn groups_of(&self, who: u32) -> Known<usize> {
        self.state(who).groups.map(|groups| groups.len())
    }
    fn waits(&self) -> Vec<PollKind> {
        self.writer.unpolled().iter().copied().collect()
    }
    fn profile_of(&self, who: u32) -> Known<String> {
        self.state(who).profile.value().unwrap().name.clone()
    }
}

#[test]
fn a_round_speaks_about_everybody_in_one_message_each() {
    let mut bench = Bench::polled();
    bench.poll(
        1000,
        vec![frozen(&[2]), groups(&[(1, &[1, 2]), (99, &[1])]), sets(&[1])],
    );
    assert_eq!(
        bench.kinds(),
        vec![ChangeKind::Updated; 10],
        "becoming known is an update"
    );
    assert_eq!(
        (bench.groups_of(1), bench.groups_of(2)),
        (Known::Value(2), Known::Value(0))
    );
    assert_eq!(
        (bench.state(2).frozen, bench.state(1).frozen),
        (true.into(), false.into())
    );
    assert_eq!(bench.state(3).permission_sets, Known::Value(vec![]));
    assert!(
        bench.topics.published.head(id(99)).is_none(),
        "whoever is not published stays so"
    );
    let message = bench.messages.iter().find(|message| message.user.id == id(1)).unwrap();
    assert_eq!(message.changed, ["frozen", "groups", "permissionSets"]);
    assert_eq!(
        (message.cause.origin, message.cause.read_at),
        (Origin::Query, Some(at(1000)))
    );
    assert!(bench.waits().is_empty());
}

#[test]
fn only_who_differs_is_published_again() {
    let mut bench = Bench::polled();
    let round = |of: &[(u32, &[u32])]| vec![frozen(&[]), groups(of), sets(&[])];
    bench.poll(1000, round(&[(1, &[1]), (2, &[1])]));
    bench.messages.clear();
    bench.poll(1100, round(&[(1, &[1]), (2, &[1])]));
    assert_eq!(bench.kinds(), []);
    bench.poll(1200, round(&[(1, &[1])]));
    let changed: Vec<_> = bench
        .messages
        .iter()
        .map(|message| (message.user.id, message.changed.clone()))
        .collect();
    assert_eq!(changed, [(id(2), vec!["groups".to_owned()])]);
    assert_eq!(bench.groups_of(2), Known::Value(0));
}

#[test]
fn a_log_in_that_freezes_and_thaws_is_said_by_its_kind() {
    let mut bench = Bench::polled();
    bench.poll(1000, vec![frozen(&[])]);
    bench.messages.clear();
    bench.poll(1100, vec![frozen(&[3])]);
    assert_eq!(bench.writer.frozen(), [id(3)]);
    bench.poll(1200, vec![frozen(&[])]);
    assert_eq!(bench.kinds(), [ChangeKind::Frozen, ChangeKind::Unfrozen]);
}

#[test]
fn a_poll_has_not_read_the_record() {
    let mut bench = Bench::polled();
    bench.poll(1000, vec![groups(&[(3, &[1])])]);
    // Two minutes after a read of the record itself this would be read again (ordering rule 2).
    bench.update(3, 1010, &[("Department", json!("EMEA"))]);
    bench.settle();
    assert!(bench.reads.is_empty());
    assert_eq!(bench.state(3).department, Known::Value("EMEA".into()));
    assert_eq!(
        bench.groups_of(3),
        Known::Value(1),
        "and an event says nothing about groups"
    );
    bench.snapshot(
        SurveyKind::Query,
        2000,
        &(1..=10).map(|who| (who, raw("Sales", true))).collect::<Vec<_>>(),
    );
    assert_eq!(bench.groups_of(3), Known::Value(1), "nor does a row");
}

#[test]
fn a_poll_that_failed_changes_nothing_and_who_waits_still_waits() {
    let mut bench = Bench::polled();
    bench.poll(1000, vec![frozen(&[]), groups(&[(1, &[1])])]);
    assert_eq!(
        bench.waits(),
        [PollKind::PermissionSets],
        "what was not read is waited for"
    );
    bench.messages.clear();
    bench.poll(1100, vec![frozen(&[])]);
    assert_eq!((bench.kinds(), bench.groups_of(1)), (vec![], Known::Value(1)));
    bench.event(77, 1200, ChangeType::Create, &[]);
    bench.answer(1201, &[(77, raw("New", true))]);
    bench.poll(1300, vec![]);
    assert_eq!(
        bench.waits(),
        [PollKind::Frozen, PollKind::Groups, PollKind::PermissionSets]
    );
}

#[test]
fn lost_access_takes_nothing_from_anybody_until_an_operator_says_so() {
    for (what, answer) in [("all rows gone", groups(&[])), ("own rows only", groups(&[(99, &[1])]))] {
        let mut bench = Bench::polled();
        bench.poll(
            1000,
            vec![groups(&[
                (1, &[1]),
                (2, &[1]),
                (3, &[1]),
                (4, &[2]),
                (5, &[2]),
                (6, &[2]),
            ])],
        );
        bench.messages.clear();
        for again in [1100, 1200] {
            bench.poll(again, vec![answer.clone(), sets(&[])]);
            assert_eq!(bench.groups_of(1), Known::Value(1), "{what}");
            let doubt = bench.writer.poll_doubt(PollKind::Groups).unwrap();
            assert!(
                doubt.contains("6 of the 6") && doubt.contains("--accept-size"),
                "{doubt}"
            );
            assert_eq!(
                bench.writer.poll_doubt(PollKind::PermissionSets),
                None,
                "the other poll counts"
            );
        }
        assert_eq!(bench.state(1).permission_sets, Known::Value(vec![]));
        bench.step(Input::PollBegan);
        bench.answer_polls(1300, vec![answer], true);
        assert_eq!(bench.groups_of(1), Known::Value(0), "{what}, accepted");
        assert_eq!(bench.writer.poll_doubt(PollKind::Groups), None);
    }
}

#[test]
fn one_person_with_the_only_membership_is_asked_about_and_a_few_of_several_are_not() {
    let mut bench = Bench::polled();
    bench.poll(1000, vec![groups(&[(1, &[1]), (2, &[1])])]);
    bench.poll(1100, vec![groups(&[(2, &[1])])]);
    assert_eq!(bench.groups_of(1), Known::Value(0));
    bench.poll(1200, vec![groups(&[])]);
    assert!(bench.writer.poll_doubt(PollKind::Groups).is_some());
    bench.poll(1300, vec![groups(&[(2, &[2])])]);
    assert_eq!(
        bench.writer.poll_doubt(PollKind::Groups),
        None,
        "a poll with rows again is believed"
    );
}

#[test]
fn whoever_is_published_while_a_round_is_read_waits_for_the_next_one() {
    let mut bench = Bench::polled();
    bench.poll(1000, vec![frozen(&[]), groups(&[]), sets(&[])]);
    bench.step(Input::PollBegan);
    bench.event(77, 1050, ChangeType::Create, &[]);
    bench.answer(1051, &[(77, raw("New", true))]);
    bench.answer_polls(1040, vec![frozen(&[]), groups(&[]), sets(&[])], false);
    assert_eq!(bench.groups_of(77), Known::Unknown, "not known to be in none");
    assert_eq!(
        bench.waits(),
        [PollKind::Frozen, PollKind::Groups, PollKind::PermissionSets]
    );
    bench.poll(1100, vec![frozen(&[]), groups(&[(77, &[1])]), sets(&[])]);
    assert_eq!(bench.groups_of(77), Known::Value(1));
    assert!(bench.waits().is_empty());
}

#[test]
fn the_removed_are_left_alone_and_whoever_comes_back_waits() {
    let mut bench = Bench::polled();
    let everything = |of: &[(u32, &[u32])]| vec![frozen(&[]), groups(of), sets(&[])];
    bench.poll(1000, everything(&[(3, &[1]), (4, &[1])]));
    bench.event(3, 2000, ChangeType::Gap, &[]);
    bench.answer(2001, &[]);
    bench.settle();
    bench.messages.clear();
    bench.poll(2100, everything(&[(4, &[1])]));
    assert_eq!((bench.kinds(), bench.groups_of(3)), (vec![], Known::Value(1)));
    bench.event(3, 2200, ChangeType::Gap, &[]);
    bench.answer(2201, &[(3, raw("Sales", true))]);
    bench.settle();
    assert!(!bench.waits().is_empty());
    bench.poll(2300, everything(&[(4, &[1])]));
    assert_eq!(bench.groups_of(3), Known::Value(0));
}

#[test]
fn whoever_is_erased_in_the_middle_of_a_round_does_not_come_back() {
    let mut bench = Bench::polled();
    bench.update(3, 500, &[("IsActive", json!(false))]);
    bench.settle();
    let by = Approval {
        actor: "admin".into(),
        reason: "asked".into(),
        at: at(600),
    };
    bench.step(Input::PollBegan);
    bench.step(Input::Erase { user: id(3), by });
    bench.messages.clear();
    bench.answer_polls(1000, vec![groups(&[(3, &[1])])], false);
    assert!(bench.messages.iter().all(|message| message.user.id != id(3)));
}

#[test]
fn after_a_restart_the_first_poll_finds_only_who_differs() {
    let mut bench = Bench::polled();
    bench.poll(1000, vec![frozen(&[2]), groups(&[(1, &[1])]), sets(&[1])]);
    let mut after = bench.restart();
    after.writer.expect_polls(PollKind::ALL.into_iter().collect());
    assert!(after.waits().is_empty(), "everything is known");
    after.poll(1100, vec![frozen(&[2]), groups(&[(1, &[1])]), sets(&[1])]);
    assert_eq!(after.kinds(), []);
    after.poll(1200, vec![frozen(&[2]), groups(&[(1, &[1, 2])]), sets(&[1])]);
    assert_eq!(after.kinds(), [ChangeKind::Updated]);
}

#[test]
fn after_a_restart_somebody_of_whom_polls_know_nothing_waits() {
    let bench = Bench::polled();
    let mut after = bench.restart();
    after.writer.expect_polls([PollKind::Groups, PollKind::Names].into());
    assert_eq!(
        after.waits(),
        [PollKind::Groups],
        "only what is wanted; names come with the person"
    );
}

#[test]
fn a_new_name_touches_every_holder_and_nobody_else() {
    let mut bench = Bench::named();
    bench.poll(1000, vec![name("Sales")]);
    assert_eq!(bench.kinds(), []);
    bench.poll(1100, vec![name("Vendite")]);
    let changed: BTreeMap<UserId, _> = bench
        .messages
        .iter()
        .map(|message| (message.user.id, message.changed.clone()))
        .collect();
    assert_eq!(
        changed,
        BTreeMap::from([(id(1), vec!["profile".to_owned()]), (id(2), vec!["profile".to_owned()])])
    );
    let mut after = bench.restart();
    after.writer.expect_polls(PollKind::ALL.into_iter().collect());
    after.poll(1200, vec![name("Vendite")]);
    assert_eq!(after.kinds(), [], "looked at once and found right");
    after.poll(1300, vec![name("Ventes")]);
    assert_eq!(
        (after.profile_of(1), after.profile_of(2)),
        (Known::Value("Ventes".into()), Known::Value("Ventes".into()))
    );
}

#[test]
fn the_newer_of_a_polled_and_a_read_name_wins_whichever_comes_first() {
    let mut bench = Bench::named();
    bench.poll(1000, vec![name("New")]);
    bench.messages.clear();
    // A row that was read before the poll was asked for, and comes later.
    bench.snapshot(
        SurveyKind::Query,
        900,
        &(1..=10)
            .map(|who| {
                (
                    who,
                    if who <= 2 {
                        with_profile("Sales")
                    } else {
                        raw("Sales", true)
                    },
                )
            })
            .collect::<Vec<_>>(),
    );
    assert_eq!(bench.kinds(), [], "the older name does not come back");
    // A row that knows a newer name than the last poll: the other holder follows with the next one.
    bench.event(1, 1500, ChangeType::Gap, &[]);
    bench.answer(1501, &[(1, with_profile("Newer"))]);
    bench.settle();
    assert_eq!(
        (bench.profile_of(1), bench.profile_of(2)),
        (Known::Value("Newer".into()), Known::Value("New".into()))
    );
    bench.poll(1400, vec![name("New")]);
    assert_eq!(
        bench.profile_of(1),
        Known::Value("Newer".into()),
        "a poll that is older than the row"
    );
    bench.poll(1600, vec![name("Newer")]);
    assert_eq!(
        (bench.profile_of(1), bench.profile_of(2)),
        (Known::Value("Newer".into()), Known::Value("Newer".into()))
    );
}

#[test]
fn a_polled_name_stands_behind_an_id_of_an_event_without_a_read() {
    let mut bench = Bench::polled();
    bench.poll(300, vec![name("Sales")]);
    bench.update(3, 900, &[("ProfileId", json!(SALES))]);
    bench.settle();
    assert!(bench.reads.is_empty());
    assert_eq!(bench.profile_of(3), Known::Value("Sales".into()));
}

#[test]
fn a_poll_about_many_is_worked_off_in_small_steps_between_which_events_are_taken() {
    let mut bench = Bench::new();
    let everyone: Vec<(u32, RawUser)> = (1..=3000).map(|who| (who, raw("Sales", true))).collect();
    bench.snapshot(SurveyKind::Query, 0, &everyone);
    bench.writer.expect_polls(PollKind::ALL.into_iter().collect());
    bench.messages.clear();
    bench.step(Input::PollBegan);
    bench.step(Input::Polled(vec![Poll {
        polled: frozen(&[]),
        read_at: at(1000),
        accept_loss: false,
    }]));
    assert!(bench.writer.attaching());
    let before = bench.writer.counts().messages;
    bench.update(7, 1500, &[("Department", json!("EMEA"))]);
    assert!(
        bench.writer.counts().messages - before <= 201,
        "a step stages a bounded number"
    );
    for _ in 0..20 {
        bench.step(Input::Tick);
    }
    assert!(bench.writer.backlog() < 1000, "the transactions are waited for");
    bench.work_off();
    assert_eq!(bench.messages.len(), 3001, "everybody once, and the event");
    assert_eq!(bench.state(7).department, Known::Value("EMEA".into()));
}
