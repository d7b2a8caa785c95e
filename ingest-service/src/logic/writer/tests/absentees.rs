//! Absentees whose reads are answered at different times: nobody is removed on the word of an old answer.

use super::*;

const HOURS: i64 = 3600;

/// Six of four hundred are missing from a snapshot and read by two queries, as the many of a large one are.
fn two_reads() -> Bench {
    let mut bench = Bench::new();
    bench.snapshot(SurveyKind::Query, 0, &rows(1..=400));
    bench.messages.clear();
    bench.writer.config.batch_records_max = 3;
    bench.snapshot(SurveyKind::Query, 1000, &rows(7..=400));
    assert_eq!(asked(&bench), [ids(1..=3), ids(4..=6)]);
    bench
}

fn ids(people: impl IntoIterator<Item = u32>) -> Vec<UserId> {
    people.into_iter().map(id).collect()
}

fn asked(bench: &Bench) -> Vec<Vec<UserId>> {
    bench.reads.iter().map(|(_, ids)| ids.clone()).collect()
}

fn removed(bench: &Bench) -> Vec<UserId> {
    let removed = bench.messages.iter().filter(|change| change.user.removed);
    removed.map(|change| change.user.id).collect()
}

/// The first read that is under way says that they exist and are no members.
fn first_are_gone(bench: &mut Bench) {
    let (ticket, asked) = bench.reads.remove(0);
    let result = Ok(Members {
        members: HashMap::new(),
        others: asked.into_iter().collect(),
    });
    let read_at = at(bench.clock);
    bench.step(Input::Read {
        ticket,
        read_at,
        result,
    });
}

/// The read under way fails, and is made again that much later.
fn fails_for(bench: &mut Bench, seconds: i64) {
    let (ticket, _) = bench.reads.remove(0);
    bench.step(Input::Read {
        ticket,
        read_at: at(bench.clock),
        result: Err("503".into()),
    });
    bench.clock += seconds;
    bench.step(Input::Tick);
}

#[test]
fn whoever_was_found_gone_hours_ago_is_read_once_more_before_the_removal() {
    let mut bench = two_reads();
    first_are_gone(&mut bench);
    fails_for(&mut bench, 6 * HOURS);
    first_are_gone(&mut bench);
    bench.settle();
    assert_eq!(removed(&bench), ids(4..=6), "these were read just now");
    assert_eq!(asked(&bench), [ids(1..=3)]);
    // The second one is back, and no event has said so.
    bench.answer(bench.clock, &[(2, raw("Sales", true))]);
    bench.settle();
    assert_eq!(removed(&bench), ids([4, 5, 6, 1, 3]));
    assert_eq!((bench.reads.len(), bench.writer.owed()), (0, 0));
    assert!(!bench.state(2).removed);
    assert!(
        bench
            .messages
            .iter()
            .all(|change| change.cause.origin == Origin::Report)
    );
}

#[test]
fn a_removal_that_is_decided_waits_for_a_read_that_is_newer_than_a_row_of_the_person() {
    let mut bench = two_reads();
    first_are_gone(&mut bench);
    fails_for(&mut bench, 6 * HOURS);
    first_are_gone(&mut bench);
    bench.settle();
    // Asked for already when the row comes.
    assert_eq!(asked(&bench), [ids(1..=3)]);
    bench.begin(SurveyKind::Recheck, bench.clock);
    bench.rows(bench.clock, &rows([2]));
    bench.end();
    first_are_gone(&mut bench);
    bench.settle();
    assert_eq!(removed(&bench), ids([4, 5, 6, 1, 3]));
    assert_eq!(asked(&bench), [ids([2])]);
    bench.answer(bench.clock, &rows([2]));
    bench.settle();
    assert_eq!((removed(&bench).len(), bench.writer.owed()), (5, 0));
}

#[test]
fn those_whose_removal_is_decided_keep_nobody_else_waiting() {
    let mut bench = two_reads();
    first_are_gone(&mut bench);
    fails_for(&mut bench, 6 * HOURS);
    first_are_gone(&mut bench);
    bench.settle();
    let decided = bench.reads.remove(0);
    bench.begin(SurveyKind::Recheck, bench.clock);
    bench.step(Input::SurveyTouched(vec![id(7)]));
    bench.end();
    bench.settle();
    first_are_gone(&mut bench);
    bench.settle();
    assert_eq!(removed(&bench), ids(4..=7));
    bench.reads.push(decided);
    first_are_gone(&mut bench);
    bench.settle();
    assert_eq!(removed(&bench), ids([4, 5, 6, 7, 1, 2, 3]));
}

#[test]
fn a_row_of_somebody_found_gone_asks_again() {
    for kind in [SurveyKind::Recheck, SurveyKind::Query] {
        let mut bench = two_reads();
        first_are_gone(&mut bench);
        bench.begin(kind, 1100);
        bench.rows(1100, &rows([2]));
        let (ticket, asked) = bench.reads.pop().unwrap();
        assert_eq!(asked, ids([2]), "{kind:?}");
        // The other chunk is answered first: there is one more to wait for.
        first_are_gone(&mut bench);
        bench.settle();
        assert_eq!(removed(&bench), []);
        bench.reads.push((ticket, asked));
        bench.answer(1101, &rows([2]));
        bench.settle();
        assert_eq!(removed(&bench), ids([1, 3, 4, 5, 6]), "{kind:?}");
        assert!(!bench.state(2).removed);
    }
}

#[test]
fn old_answers_of_a_large_set_are_held_and_not_asked_for_again() {
    let mut bench = two_reads();
    bench.writer.config.removals_at_most = 5;
    first_are_gone(&mut bench);
    fails_for(&mut bench, 6 * HOURS);
    first_are_gone(&mut bench);
    bench.settle();
    assert_eq!((removed(&bench), bench.held().0), (vec![], ids(1..=6)));
    assert_eq!((bench.reads.len(), bench.writer.owed()), (0, 0));
}
