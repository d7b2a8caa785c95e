//! Tests of the schedule: what is due, when, and who joins whom.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOON: &str = "2026-06-10T12:00:00Z";

fn plan(listing: SurveyKind, cron: &str, zone: &str) -> Plan {
    Plan {
        listing,
        cron: cron.parse().unwrap(),
        zone: TimeZone::get(zone).unwrap(),
        recheck_every: SignedDuration::from_mins(10),
        recheck_overlap: SignedDuration::from_mins(5),
    }
}

fn schedule(listing: SurveyKind, last: Option<&str>) -> Schedule {
    Schedule::new(plan(listing, "0 2 * * *", "UTC"), last.map(at), at(NOON))
}

/// After a first start and its first recheck.
fn settled() -> Facts {
    Facts {
        snapshot: Some(at("2026-06-10T02:00:00Z")),
        rechecked_to: Some(at("2026-06-10T11:59:00Z")),
        has_position: true,
        ..Facts::default()
    }
}

fn minute(_: u32) -> SignedDuration {
    SignedDuration::from_mins(1)
}

fn kinds(job: Option<Job>) -> Option<(SurveyKind, bool)> {
    job.map(|job| (job.kind, job.listing))
}

#[test]
fn a_first_start_reads_at_once_and_a_report_comes_after_the_population() {
    let first = Facts::default();
    let query = schedule(SurveyKind::Query, None);
    assert_eq!(kinds(query.due(&first, at(NOON))), Some((SurveyKind::Query, true)));
    let mut report = schedule(SurveyKind::Report, None);
    let population = report.due(&first, at(NOON)).unwrap();
    assert_eq!((population.kind, population.listing), (SurveyKind::Query, false));
    report.ended(population, true, at(NOON), minute);
    assert_eq!(kinds(report.due(&first, at(NOON))), Some((SurveyKind::Report, true)));
}

#[test]
fn the_schedule_is_meant_in_its_own_time_zone() {
    for (cron, zone, after, next) in [
        ("0 2 * * *", "UTC", "2026-06-10T01:59:59Z", "2026-06-10T02:00:00Z"),
        ("0 2 * * *", "UTC", "2026-06-10T02:00:00Z", "2026-06-11T02:00:00Z"),
        (
            "0 2 * * *",
            "Europe/Zurich",
            "2026-06-10T00:30:00Z",
            "2026-06-11T00:00:00Z",
        ),
        (
            "0 2 * * *",
            "Europe/Zurich",
            "2026-12-10T00:30:00Z",
            "2026-12-10T01:00:00Z",
        ),
        (
            "30 22 * * 5",
            "America/New_York",
            "2026-06-10T12:00:00Z",
            "2026-06-13T02:30:00Z",
        ),
        // 02:30 does not exist on this Sunday: the first moment after the gap, and again the next day as usual.
        (
            "30 2 * * *",
            "Europe/Zurich",
            "2026-03-28T12:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
        (
            "30 2 * * *",
            "Europe/Zurich",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
        ),
        // 02:30 exists twice on this Sunday: once is enough.
        (
            "30 2 * * *",
            "Europe/Zurich",
            "2026-10-24T12:00:00Z",
            "2026-10-25T00:30:00Z",
        ),
        (
            "30 2 * * *",
            "Europe/Zurich",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
        ),
        (
            "30 2 * * *",
            "Europe/Zurich",
            "2026-10-25T01:00:00Z",
            "2026-10-26T01:30:00Z",
        ),
    ] {
        let plan = plan(SurveyKind::Query, cron, zone);
        assert_eq!(
            next_run(&plan, at(after)),
            Some(at(next)),
            "{cron} {zone} after {after}"
        );
    }
}

#[test]
fn a_run_that_was_missed_while_nobody_led_is_due_at_once() {
    let missed = schedule(SurveyKind::Query, Some("2026-06-09T02:00:00Z"));
    assert_eq!(kinds(missed.due(&settled(), at(NOON))), Some((SurveyKind::Query, true)));
    let kept = schedule(SurveyKind::Query, Some("2026-06-10T02:00:00Z"));
    assert_eq!(kept.due(&settled(), at(NOON)), None);
    assert_eq!(
        kinds(kept.due(&settled(), at("2026-06-11T02:00:00Z"))),
        Some((SurveyKind::Query, true))
    );
}

#[test]
fn what_an_operator_wants_is_due_and_keeps_what_was_said_about_the_size() {
    let schedule = schedule(SurveyKind::Query, Some(NOON));
    let wanted = Wanted {
        at: at(NOON),
        accept_size: true,
    };
    let facts = Facts {
        wanted: Some(wanted),
        ..settled()
    };
    let job = schedule.due(&facts, at(NOON)).unwrap();
    assert_eq!((job.listing, job.reimport, job.accept_size), (true, true, true));
}

#[test]
fn a_second_request_joins_unless_it_asks_for_more() {
    let schedule = schedule(SurveyKind::Report, None);
    let wanted = |accept_size| {
        Some(Wanted {
            at: at(NOON),
            accept_size,
        })
    };
    for (accept_size, running, wanted, joins) in [
        (false, None, None, false),
        (false, Some(SurveyKind::Report), None, true),
        (true, Some(SurveyKind::Report), None, false),
        // A recheck, and with a report the population, are no listing.
        (false, Some(SurveyKind::Recheck), None, false),
        (false, Some(SurveyKind::Query), None, false),
        (false, None, wanted(false), true),
        (true, None, wanted(false), false),
        (true, None, wanted(true), true),
        (false, None, wanted(true), true),
    ] {
        assert_eq!(
            schedule.joins(accept_size, running, wanted),
            joins,
            "{accept_size} {running:?} {wanted:?}"
        );
    }
}

#[test]
fn a_listing_that_fails_rests_and_keeps_nothing_else_from_running() {
    let mut schedule = schedule(SurveyKind::Query, Some("2026-06-09T02:00:00Z"));
    let job = schedule.due(&settled(), at(NOON)).unwrap();
    schedule.ended(job, false, at(NOON), minute);
    assert_eq!(schedule.due(&settled(), at(NOON)), None);
    let owed = Owed {
        touched_since: Some(at(NOON)),
        ..Owed::new(at(NOON), "undecodable")
    };
    let owing = Facts {
        everyone: Some(owed),
        ..settled()
    };
    assert_eq!(
        kinds(schedule.due(&owing, at(NOON))),
        Some((SurveyKind::Recheck, false))
    );
    assert_eq!(
        kinds(schedule.due(&settled(), at("2026-06-10T12:01:00Z"))),
        Some((SurveyKind::Query, true))
    );
    schedule.hurry();
    assert!(schedule.due(&settled(), at(NOON)).is_some_and(|job| job.listing));
}

#[test]
fn everyone_is_owed_a_read_of_the_population_also_with_a_report() {
    let owing = Facts {
        everyone: Some(Owed::new(at(NOON), "overflow")),
        ..settled()
    };
    for (listing, expected) in [
        (SurveyKind::Query, (SurveyKind::Query, true)),
        (SurveyKind::Report, (SurveyKind::Query, false)),
    ] {
        let schedule = schedule(listing, Some(NOON));
        assert_eq!(kinds(schedule.due(&owing, at(NOON))), Some(expected));
    }
}

#[test]
fn a_recheck_goes_on_where_the_last_one_ended() {
    let mut schedule = schedule(SurveyKind::Query, Some(NOON));
    assert_eq!(schedule.due(&settled(), at("2026-06-10T12:09:59Z")), None);
    let job = schedule.due(&settled(), at("2026-06-10T12:10:00Z")).unwrap();
    assert_eq!(
        (job.kind, job.from, job.to_now),
        (SurveyKind::Recheck, Some(at("2026-06-10T11:54:00Z")), false)
    );
    schedule.ended(job, true, at("2026-06-10T12:10:00Z"), minute);
    assert_eq!(schedule.due(&settled(), at("2026-06-10T12:19:59Z")), None);
    let never = Facts {
        rechecked_to: None,
        ..settled()
    };
    let first = schedule.due(&never, at("2026-06-10T12:10:00Z")).unwrap();
    assert_eq!(
        (first.from, first.to_now),
        (Some(at("2026-06-10T01:50:00Z")), true),
        "ten minutes before the snapshot began"
    );
}

#[test]
fn a_population_that_is_not_believed_keeps_neither_rechecks_nor_the_report_from_running() {
    let mut schedule = schedule(SurveyKind::Report, Some(NOON));
    let owing = Facts {
        everyone: Some(Owed::new(at(NOON), "overflow")),
        ..settled()
    };
    let job = schedule.due(&owing, at(NOON)).unwrap();
    assert_eq!((job.kind, job.listing), (SurveyKind::Query, false));
    schedule.ended(job, false, at(NOON), |_| SignedDuration::from_hours(1));
    assert_eq!(
        kinds(schedule.due(&owing, at("2026-06-10T12:10:00Z"))),
        Some((SurveyKind::Recheck, false))
    );
    // What rechecks run into holds up only rechecks.
    let recheck = schedule.due(&owing, at("2026-06-10T12:10:00Z")).unwrap();
    schedule.ended(recheck, false, at("2026-06-10T12:10:00Z"), |_| {
        SignedDuration::from_hours(5)
    });
    assert_eq!(
        kinds(schedule.due(&owing, at("2026-06-10T13:00:00Z"))),
        Some((SurveyKind::Query, false))
    );
}

#[test]
fn a_report_is_read_without_a_population_that_rests_because_it_is_not_believed() {
    let mut schedule = schedule(SurveyKind::Report, Some(NOON));
    let owing = Facts {
        everyone: Some(Owed::new(at(NOON), "overflow")),
        ..settled()
    };
    let job = schedule.due(&owing, at(NOON)).unwrap();
    assert_eq!((job.kind, job.listing), (SurveyKind::Query, false));
    schedule.unbelieved(job, at("2026-06-11T01:59:30Z"));
    let night = at("2026-06-11T02:00:00Z");
    let report = schedule.due(&owing, night).unwrap();
    assert_eq!(
        (report.kind, report.listing),
        (SurveyKind::Report, true),
        "its own run is due"
    );
    schedule.ended(report, true, night, minute);
    // Also the one after it.
    let wanting = Facts {
        wanted: Some(Wanted {
            at: night,
            accept_size: false,
        }),
        ..owing.clone()
    };
    assert_eq!(kinds(schedule.due(&wanting, night)), Some((SurveyKind::Report, true)));
    assert_eq!(
        kinds(schedule.due(&owing, at("2026-06-11T02:00:29Z"))),
        Some((SurveyKind::Recheck, false))
    );
    let again = schedule.due(&owing, at("2026-06-11T02:00:30Z")).unwrap();
    assert_eq!((again.kind, again.listing), (SurveyKind::Query, false));
    // Asked for, it rests no more, and is read before the report.
    schedule.unbelieved(again, at("2026-06-11T02:00:30Z"));
    schedule.hurry();
    assert_eq!(kinds(schedule.due(&wanting, night)), Some((SurveyKind::Query, false)));
    // One that failed is tried again before the report.
    schedule.ended(again, false, night, |_| SignedDuration::from_hours(1));
    assert_eq!(kinds(schedule.due(&wanting, night)), Some((SurveyKind::Recheck, false)));
}

#[test]
fn who_says_that_a_size_is_right_says_it_of_a_listing_that_is_owed_too() {
    let schedule = schedule(SurveyKind::Query, Some(NOON));
    let facts = Facts {
        everyone: Some(Owed::new(at(NOON), "overflow")),
        wanted: Some(Wanted {
            at: at(NOON),
            accept_size: true,
        }),
        ..settled()
    };
    let job = schedule.due(&facts, at(NOON)).unwrap();
    assert_eq!((job.listing, job.reimport, job.accept_size), (true, true, true));
}

#[test]
fn who_says_that_a_size_is_right_says_it_of_the_population_beside_a_report_too() {
    let mut schedule = schedule(SurveyKind::Report, Some(NOON));
    // It was read, and not believed, before somebody looked.
    let population = Job {
        kind: SurveyKind::Query,
        listing: false,
        reimport: false,
        accept_size: false,
        from: None,
        asked_at: at(NOON),
        to_now: false,
    };
    schedule.ended(population, true, at(NOON), minute);
    let wanting = |accept_size| Facts {
        wanted: Some(Wanted {
            at: at("2026-06-10T12:01:00Z"),
            accept_size,
        }),
        ..settled()
    };
    let now = at("2026-06-10T12:01:01Z");
    assert_eq!(
        kinds(schedule.due(&wanting(false), now)),
        Some((SurveyKind::Report, true))
    );
    let population = schedule.due(&wanting(true), now).unwrap();
    assert_eq!((population.kind, population.accept_size), (SurveyKind::Query, true));
    schedule.ended(population, true, now, minute);
    let report = schedule.due(&wanting(true), now).unwrap();
    assert_eq!(
        (report.kind, report.accept_size, report.reimport),
        (SurveyKind::Report, true, true)
    );
}

#[test]
fn looks_that_undecodable_events_owe_come_at_once_and_not_in_a_loop() {
    let mut schedule = schedule(SurveyKind::Query, Some(NOON));
    let owing = Facts {
        everyone: Some(Owed {
            touched_since: Some(at(NOON)),
            ..Owed::new(at(NOON), "undecodable")
        }),
        ..settled()
    };
    // Every look owes the next one: the first two at once, later ones at most once a minute.
    let (mut now, mut looks) = (at(NOON), Vec::new());
    while looks.len() < 12 {
        if let Some(job) = schedule.due(&owing, now).filter(|job| job.to_now) {
            schedule.ended(job, true, now, minute);
            looks.push(now.duration_since(at(NOON)).as_secs());
        }
        now += SignedDuration::from_secs(1);
    }
    let rests: Vec<i64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(rests, [1, 1, 3, 7, 15, 31, 60, 60, 60, 60, 60]);
    let quiet = now + SignedDuration::from_mins(6);
    let job = schedule.due(&owing, quiet).unwrap();
    schedule.ended(job, true, quiet, minute);
    assert!(
        schedule.due(&owing, quiet).is_some_and(|job| job.to_now),
        "it begins anew"
    );
}
