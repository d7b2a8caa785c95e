//! People whom the integration user cannot see: they are looked for ever more rarely, and at once when that may help.

use super::*;
use crate::logic::writer::debts::unseen_until;

/// Nobody of them can be seen for half a day; gives how many reads that took.
fn for_half_a_day(bench: &mut Bench, people: &[u32]) -> usize {
    let mut reads = 0;
    for _ in 0..12 * 60 * 6 {
        bench.clock += 10;
        bench.step(Input::Tick);
        reads += bench.reads.len();
        bench.answer_blindly(bench.clock);
    }
    assert_eq!(bench.writer.unseen(), people.len());
    reads
}

fn unseen(people: &[u32]) -> Bench {
    let mut bench = Bench::baseline();
    for (second, who) in (500..).zip(people) {
        bench.event(*who, second, ChangeType::Gap, &[]);
    }
    bench.answer_blindly(501);
    bench.settle();
    bench.messages.clear();
    bench
}

#[test]
fn whoever_cannot_be_seen_is_looked_for_ever_more_rarely() {
    let mut bench = unseen(&[3]);
    let first = for_half_a_day(&mut bench, &[3]);
    assert!((8..=16).contains(&first), "{first} reads");
    let second = for_half_a_day(&mut bench, &[3]);
    assert!((2..=4).contains(&second), "{second} reads");
    assert_eq!((bench.kinds(), bench.writer.owed()), (vec![], 1));
}

#[test]
fn those_who_wait_for_hours_share_their_queries() {
    let mut bench = Bench::baseline();
    // Nine people, one after the other over nine minutes.
    let people: Vec<u32> = (1..=9).collect();
    for who in &people {
        bench.event(*who, 500, ChangeType::Gap, &[]);
        bench.clock += 60;
        bench.step(Input::Tick);
        bench.answer_blindly(bench.clock);
    }
    for_half_a_day(&mut bench, &people);
    let later = for_half_a_day(&mut bench, &people);
    assert!((2..=4).contains(&later), "{later} reads for all of them");
}

#[test]
fn the_waits_double_to_hours_and_no_further() {
    let waits: Vec<i64> = (1..40)
        .map(|times| unseen_until(times, at(17)).duration_since(at(17)).as_secs())
        .collect();
    assert_eq!(waits[..5], [2, 5, 10, 30, 60]);
    for (wait, doubled) in waits[5..].iter().zip([120, 240, 480, 960, 1_920, 3_840, 7_680]) {
        assert!((doubled / 2..=doubled * 3 / 2).contains(wait), "{wait} for {doubled}");
    }
    assert!(
        waits[12..].iter().all(|wait| (7_200..=21_600).contains(wait)),
        "{waits:?}"
    );
}

/// Something that may help, in words and as it happens.
type Hurry = (&'static str, fn(&mut Bench));

#[test]
fn whatever_may_help_asks_at_once() {
    let hurries: [Hurry; 5] = [
        ("one person is asked for", |bench| bench.step(Input::Reimport(id(3)))),
        ("everybody is asked for", |bench| {
            bench.step(Input::Want { accept_size: false });
        }),
        ("an event", |bench| bench.update(3, 90_000, &[("Title", json!("x"))])),
        ("a row", |bench| {
            bench.begin(SurveyKind::Query, 90_000);
            bench.rows(90_000, &rows([3]));
        }),
        ("another one is seen", |bench| {
            bench.step(Input::Reimport(id(4)));
            bench.answer(90_000, &rows([4]));
        }),
    ];
    for (what, hurry) in hurries {
        let mut bench = unseen(&[3, 4]);
        for_half_a_day(&mut bench, &[3, 4]);
        bench.step(Input::Tick);
        assert!(bench.reads.is_empty(), "{what}: not by itself");
        hurry(&mut bench);
        let asked = bench.reads.iter().any(|(_, ids)| ids.contains(&id(3)));
        assert!(asked, "{what}");
    }
}

#[test]
fn a_deletion_that_comes_while_somebody_unseen_is_read_is_acted_on_at_once() {
    let mut bench = unseen(&[3]);
    for_half_a_day(&mut bench, &[3]);
    bench.update(3, 90_000, &[("Title", json!("x"))]);
    bench.update(3, 90_001, &[("Title", json!("y"))]);
    bench.answer_blindly(90_002);
    assert_eq!(bench.reads.len(), 1, "the answer is older than the second event");
    bench.event(3, 90_003, ChangeType::Delete, &[]);
    bench.answer_blindly(90_004);
    bench.answer_blindly(90_005);
    bench.settle();
    assert_eq!(bench.kinds(), [ChangeKind::Removed]);
    assert_eq!(bench.writer.owed(), 0);
}
