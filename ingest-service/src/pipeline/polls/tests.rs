//! Tests of when polls are due and what becomes of their answers.

use std::collections::HashSet;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_312_000 + seconds).unwrap()
}

const EVERY: Duration = Duration::from_secs(900);
const GROUPS: [PollKind; 1] = [PollKind::Groups];

fn polls(random: f64) -> Polls {
    Polls::new(
        &BTreeSet::from([PollKind::Frozen, PollKind::Groups]),
        EVERY,
        at(0),
        random,
    )
}

/// A round that begins and ends.
fn round(polls: &mut Polls, began: i64, ended: i64, results: Vec<(PollKind, Result<Read, Failure>)>) -> Vec<Poll> {
    polls.running = Some((at(began), Box::pin(std::future::pending())));
    polls.take(Outcome(results), at(ended), 0.5)
}

fn read(kind: PollKind) -> (PollKind, Result<Read, Failure>) {
    let polled = match kind {
        PollKind::Groups => Polled::Groups([].into_iter().collect()),
        _ => Polled::Frozen(HashSet::new()),
    };
    let read = Read {
        polled,
        read_at: at(0),
        rows: 0,
        problem: None,
        note: None,
    };
    (kind, Ok(read))
}

fn failed(kind: PollKind) -> (PollKind, Result<Read, Failure>) {
    let failure = Failure {
        reason: "503".to_owned(),
        wait: Duration::from_secs(1),
    };
    (kind, Err(failure))
}

fn due(polls: &Polls, waiting: &[PollKind], seconds: i64) -> Vec<PollKind> {
    polls.due(&waiting.iter().copied().collect(), at(seconds))
}

#[test]
fn the_first_round_is_jittered_unless_somebody_waits() {
    assert_eq!(due(&polls(0.5), &[], 29), []);
    assert_eq!(due(&polls(0.5), &[], 30), [PollKind::Frozen, PollKind::Groups]);
    assert_eq!(due(&polls(0.5), &GROUPS, 0), GROUPS);
}

#[test]
fn polls_stay_one_round_and_only_one_is_read_at_a_time() {
    let mut polls = polls(0.0);
    round(&mut polls, 0, 10, vec![read(PollKind::Frozen), read(PollKind::Groups)]);
    assert_eq!(due(&polls, &[], 909), []);
    assert_eq!(due(&polls, &[], 910), [PollKind::Frozen, PollKind::Groups]);
    polls.running = Some((at(910), Box::pin(std::future::pending())));
    assert_eq!(due(&polls, &[], 2000), [], "one is under way");
}

#[test]
fn somebody_new_is_polled_soon_and_the_reading_rests_in_between() {
    let mut polls = polls(0.0);
    round(&mut polls, 0, 1, vec![read(PollKind::Groups)]);
    polls.states.get_mut(&PollKind::Frozen).unwrap().next = at(10_000);
    assert_eq!(due(&polls, &GROUPS, 29), [], "several who are new share a round");
    assert_eq!(due(&polls, &GROUPS, 30), GROUPS);
    round(&mut polls, 30, 50, vec![read(PollKind::Groups)]);
    assert_eq!(
        due(&polls, &GROUPS, 229),
        [],
        "ten times the twenty seconds that it took"
    );
    assert_eq!(due(&polls, &GROUPS, 230), GROUPS);
}

#[test]
fn what_the_allocations_hold_up_is_due_again_after_its_interval_also_for_newcomers() {
    let wanted = GROUPS.into_iter().collect();
    let mut polls = Polls::new(&wanted, EVERY, at(0), 0.0);
    let stretched = Permit::Stretch(2, "half is used".into());
    assert!(!polls.may(&GROUPS, &stretched, at(0)));
    assert_eq!(due(&polls, &GROUPS, 29), []);
    assert_eq!(due(&polls, &[], 899), []);
    assert_eq!(due(&polls, &[], 900), GROUPS);
    assert!(polls.may(&GROUPS, &stretched, at(900)), "every second one is made");
    assert_eq!(polls.held_up().as_deref(), Some("polls: half is used"));
    assert!(!polls.may(&GROUPS, &Permit::Wait("all is used".into()), at(1800)));
    assert!(polls.may(&GROUPS, &Permit::Go, at(2700)) && polls.held_up().is_none());
}

#[test]
fn a_failed_poll_is_tried_again_with_growing_waits_and_says_as_of_when_the_state_is() {
    let mut polls = polls(0.0);
    round(&mut polls, 0, 1, vec![read(PollKind::Frozen), read(PollKind::Groups)]);
    polls.judged(PollKind::Groups, at(0), None);
    round(
        &mut polls,
        910,
        910,
        vec![read(PollKind::Frozen), failed(PollKind::Groups)],
    );
    assert_eq!(
        polls.problems(),
        ["group membership is as of 2026-01-02T00:00:00Z: 503"]
    );
    assert_eq!(
        due(&polls, &GROUPS, 911),
        [],
        "somebody who waits does not hammer what fails"
    );
    assert_eq!(due(&polls, &[], 912), GROUPS);
    for attempt in 0..20 {
        round(&mut polls, 912 + attempt, 912 + attempt, vec![failed(PollKind::Groups)]);
    }
    assert!(due(&polls, &[], 932).is_empty() && due(&polls, &[], 932 + 900).contains(&PollKind::Groups));
    round(&mut polls, 2000, 2001, vec![read(PollKind::Groups)]);
    polls.judged(PollKind::Groups, at(2000), None);
    assert!(polls.problems().is_empty());
}

#[test]
fn what_is_not_believed_is_asked_at_the_usual_pace_and_at_once_when_confirmed() {
    let mut polls = polls(0.0);
    round(&mut polls, 0, 0, vec![read(PollKind::Frozen), read(PollKind::Groups)]);
    polls.judged(PollKind::Groups, at(0), Some("looks like lost access"));
    assert!(polls.problems()[0].contains("as last published: looks like lost access; else grant"));
    assert_eq!(due(&polls, &GROUPS, 100), []);
    polls.accept(at(100));
    assert_eq!(due(&polls, &[], 100), GROUPS, "only what was not believed");
    let answers = round(&mut polls, 100, 100, vec![read(PollKind::Groups)]);
    assert!(answers[0].accept_loss);
    polls.judged(PollKind::Groups, at(100), None);
    let answers = round(&mut polls, 1100, 1100, vec![read(PollKind::Groups)]);
    assert!(!answers[0].accept_loss, "once");
}
