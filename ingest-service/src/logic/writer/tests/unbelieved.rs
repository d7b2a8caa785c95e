//! Readings that are not believed: they answer whoever asked for them, and what waits for them rests.

use croner::Cron;
use jiff::tz::TimeZone;

use super::*;
use crate::logic::schedule::{Facts, Job, Outcome, Plan, Schedule};

/// A schedule whose next run is far away: what is due is asked for, or owed.
fn schedule(listing: SurveyKind, bench: &Bench) -> Schedule {
    let plan = Plan {
        listing,
        cron: "0 0 1 1 *".parse::<Cron>().unwrap(),
        zone: TimeZone::UTC,
        recheck_every: SignedDuration::from_mins(10),
        recheck_overlap: SignedDuration::from_mins(5),
    };
    Schedule::new(plan, Some(at(bench.clock)), at(bench.clock))
}

/// Ten people who were read by this kind of listing, and nothing that is due by itself.
fn settled(listing: SurveyKind) -> Bench {
    let mut bench = Bench::baseline();
    bench.step(Input::Keepalive("r".into()));
    if listing == SurveyKind::Report {
        bench.snapshot(SurveyKind::Report, 0, &rows(1..=10));
    }
    bench.snapshot(SurveyKind::Recheck, 10, &[]);
    bench.messages.clear();
    bench
}

fn want(bench: &mut Bench, accept_size: bool) {
    bench.clock += 1;
    bench.step(Input::Want { accept_size });
}

fn due(schedule: &Schedule, bench: &Bench) -> Option<Job> {
    schedule.due(&Facts::of(&bench.writer), at(bench.clock))
}

fn begin(bench: &mut Bench, job: Job) {
    bench.step(Input::SurveyBegan(Survey {
        kind: job.kind,
        began_at: at(1000),
        window: None,
        listing: job.listing,
        reimport: job.reimport,
        asked_at: job.asked_at,
        routine: false,
    }));
}

/// Carries a job out: these rows, read to their end.
fn read(bench: &mut Bench, job: Job, listed: &[(u32, RawUser)]) {
    begin(bench, job);
    bench.rows(1000, listed);
    bench.step(Input::SurveyEnded {
        result: Ok(()),
        accept_size: job.accept_size,
    });
    bench.settle();
}

#[test]
fn a_reimport_that_is_not_believed_answers_the_request_and_is_not_repeated() {
    for (listing, people, words) in [
        (SurveyKind::Query, 5, "`ingest-service reimport --accept-size`"),
        (SurveyKind::Query, 0, "it has no rows"),
        (SurveyKind::Report, 5, "`ingest-service reimport --accept-size`"),
        (SurveyKind::Report, 0, "it has no rows"),
    ] {
        for accept_size in [false, true] {
            let mut bench = settled(listing);
            let mut schedule = schedule(listing, &bench);
            want(&mut bench, accept_size);
            let mut jobs = Vec::new();
            while let Some(job) = due(&schedule, &bench) {
                assert!(jobs.len() < 3, "{jobs:?}");
                jobs.push(job);
                read(&mut bench, job, &rows(1..=people));
                schedule.ended(job, true, at(bench.clock), |_| SignedDuration::ZERO);
            }
            let last = jobs.last().unwrap();
            assert!(last.listing && last.reimport, "{last:?}");
            assert_eq!(bench.writer.position().wanted, None);
            assert_eq!(bench.topics.position.as_ref().unwrap().wanted, None, "durably");
            let believed = accept_size && people > 0;
            let problem = bench.writer.snapshot_problem();
            assert_eq!(problem.is_none(), believed, "{problem:?}");
            assert!(problem.is_none_or(|problem| problem.contains(words)), "{problem:?}");
        }
    }
}

#[test]
fn a_reimport_that_failed_or_was_asked_for_again_meanwhile_is_still_wanted() {
    let mut bench = settled(SurveyKind::Query);
    let schedule = schedule(SurveyKind::Query, &bench);
    want(&mut bench, false);
    let job = due(&schedule, &bench).unwrap();
    begin(&mut bench, job);
    bench.step(Input::SurveyEnded {
        result: Err("503".into()),
        accept_size: false,
    });
    bench.settle();
    assert!(bench.writer.position().wanted.is_some(), "it was not read to its end");
    let job = due(&schedule, &bench).unwrap();
    begin(&mut bench, job);
    want(&mut bench, true);
    bench.step(Input::SurveyEnded {
        result: Ok(()),
        accept_size: false,
    });
    bench.settle();
    let job = due(&schedule, &bench).unwrap();
    assert!(job.accept_size, "asked for while the first was read");
    read(&mut bench, job, &rows(1..=5));
    assert_eq!(
        (bench.writer.position().wanted, bench.writer.snapshot_problem()),
        (None, None)
    );
}

/// Tells the schedule what has become of a job that was read to its end.
fn ended(bench: &Bench, schedule: &mut Schedule, job: Job) {
    let (outcome, now) = (Outcome::of(job, true, &bench.writer), at(bench.clock));
    match outcome {
        Outcome::Well | Outcome::Failed => {
            schedule.ended(job, outcome == Outcome::Well, now, |_| SignedDuration::from_mins(1));
        }
        Outcome::Unbelieved => schedule.unbelieved(job, now),
    }
}

#[test]
fn what_waits_for_a_size_that_is_not_believed_rests_for_hours_until_an_operator_speaks() {
    for listing in [SurveyKind::Query, SurveyKind::Report] {
        let mut bench = settled(listing);
        let mut schedule = schedule(listing, &bench);
        bench.step(Input::PositionLost);
        bench.settle();
        let (mut tries, mut rechecks) = (0, 0);
        let a_day_later = bench.clock + 86_400;
        while bench.clock < a_day_later {
            match due(&schedule, &bench) {
                Some(job) if job.kind == SurveyKind::Recheck => {
                    rechecks += 1;
                    ended(&bench, &mut schedule, job);
                }
                Some(job) => {
                    tries += 1;
                    assert_eq!(
                        (job.kind, job.listing),
                        (SurveyKind::Query, listing == SurveyKind::Query)
                    );
                    read(&mut bench, job, &rows(1..=5));
                    ended(&bench, &mut schedule, job);
                }
                None => bench.clock += 60,
            }
        }
        assert!(
            (8..=16).contains(&tries),
            "{listing:?}: {tries} readings of everyone in a day"
        );
        assert!(rechecks > 100, "{listing:?}: {rechecks} rechecks in a day");
        assert!(bench.writer.owes_everyone().is_some());
        want(&mut bench, true);
        schedule.hurry();
        let job = due(&schedule, &bench).unwrap();
        assert!(job.accept_size, "{job:?}");
        read(&mut bench, job, &rows(1..=5));
        assert_eq!(Outcome::of(job, true, &bench.writer), Outcome::Well);
        assert!(bench.writer.owes_everyone().is_none(), "{listing:?}");
    }
}

#[test]
fn a_reading_that_is_not_believed_rests_only_when_something_waits_for_it() {
    let job = |listing| Job {
        kind: SurveyKind::Query,
        listing,
        reimport: false,
        accept_size: false,
        from: None,
        asked_at: at(0),
        to_now: false,
    };
    for listing in [true, false] {
        let mut bench = settled(SurveyKind::Query);
        let job = job(listing);
        read(&mut bench, job, &rows(1..=5));
        assert_eq!(
            Outcome::of(job, true, &bench.writer),
            Outcome::Well,
            "the next run comes by the schedule"
        );
        assert_eq!(Outcome::of(job, false, &bench.writer), Outcome::Failed);
        bench.step(Input::PositionLost);
        read(&mut bench, job, &rows(1..=5));
        assert_eq!(Outcome::of(job, true, &bench.writer), Outcome::Unbelieved);
        assert_eq!(Outcome::of(job, false, &bench.writer), Outcome::Failed);
        // At the first start nobody must wait for hours.
        let mut first = Bench::new();
        first.step(Input::PositionLost);
        read(&mut first, job, &[]);
        assert_eq!(Outcome::of(job, true, &first.writer), Outcome::Failed);
    }
}
