//! The quota's rules by table, and what holds for every picture.

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    api_reserve: Amount::Percent(10),
    events_reserve: Amount::Percent(10),
    stretch_from: Amount::Percent(50),
    stretch_at_most: 8,
};

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn usage(used: u64, max: u64) -> Option<Usage> {
    Some(Usage {
        used,
        max,
        as_of: now(),
    })
}

fn api(used: u64) -> Picture {
    Picture {
        api: usage(used, 1_000),
        ..Picture::default()
    }
}

/// What becomes of a call: `go`, `warn`, the factor, `wait`.
fn said(picture: &Picture, purpose: Purpose, means: Means) -> String {
    match allows(picture, &RULES, purpose, means, now()) {
        Permit::Go => "go".to_owned(),
        Permit::Warn(_) => "warn".to_owned(),
        Permit::Stretch(factor, _) => factor.to_string(),
        Permit::Wait(_) => "wait".to_owned(),
    }
}

#[test]
fn the_schedule_stretches_before_it_stops_and_the_stream_goes_on() {
    use Purpose::{Poll, Recheck, Reimport, Snapshot, Stream};
    for (used, scheduled, asked) in [
        (0, "go", "go"),
        (499, "go", "go"),
        (500, "2", "warn"),
        (560, "3", "warn"),
        (700, "5", "warn"),
        (899, "8", "warn"),
        (900, "wait", "wait"),
        (1_000, "wait", "wait"),
        (2_000, "wait", "wait"),
    ] {
        let picture = api(used);
        for purpose in [Poll, Recheck, Snapshot] {
            assert_eq!(
                said(&picture, purpose, Means::Requests),
                scheduled,
                "{purpose:?} at {used}"
            );
        }
        assert_eq!(said(&picture, Reimport, Means::Requests), asked, "at {used}");
        assert_eq!(said(&picture, Stream, Means::Requests), "go", "at {used}");
    }
}

#[test]
fn what_is_not_known_or_long_ago_holds_nothing_up() {
    assert_eq!(said(&Picture::default(), Purpose::Poll, Means::Report), "go");
    let mut old = api(1_000);
    if let Some(usage) = &mut old.api {
        usage.as_of = now() - SignedDuration::from_hours(24);
    }
    assert_eq!(said(&old, Purpose::Poll, Means::Requests), "go");
    assert!(problems(&old, &RULES, now()).is_empty());
}

#[test]
fn report_runs_and_bulk_jobs_are_limits_of_their_own() {
    let picture = Picture {
        report_runs: usage(500, 500),
        bulk_jobs: usage(9_999, 10_000),
        ..api(10)
    };
    assert_eq!(said(&picture, Purpose::Snapshot, Means::Report), "wait");
    assert_eq!(said(&picture, Purpose::Reimport, Means::Report), "wait");
    assert_eq!(said(&picture, Purpose::Snapshot, Means::Bulk), "go");
    assert_eq!(said(&picture, Purpose::Recheck, Means::Requests), "go");
    let later = now() + SignedDuration::from_mins(61);
    assert_eq!(
        allows(&picture, &RULES, Purpose::Snapshot, Means::Report, later),
        Permit::Go
    );
}

#[test]
fn reserves_are_shares_or_numbers() {
    for (text, max, reserve) in [
        ("10%", 15_000, 1_500),
        ("10%", 15, 2),
        ("2000", 15_000, 2_000),
        ("2000", 500, 500),
    ] {
        let amount: Amount = serde_json::from_value(text.into()).unwrap();
        assert_eq!(amount.of(max), reserve, "{text} of {max}");
    }
    assert_eq!(serde_json::from_str::<Amount>("250").unwrap(), Amount::Number(250));
    for amount in [Amount::Percent(7), Amount::Number(7)] {
        let text = serde_json::to_string(&amount).unwrap();
        assert_eq!(serde_json::from_str::<Amount>(&text).unwrap(), amount);
    }
    for wrong in ["\"much\"", "\"101%\"", "\"-1%\"", "-1", "1.5", "true"] {
        let error = serde_json::from_str::<Amount>(wrong).unwrap_err().to_string();
        assert!(error.contains("such as 10%"), "{error}");
    }
}

#[test]
fn the_header_is_read_leniently() {
    for (text, pair) in [
        ("api-usage=1018/100000", Some((1_018, 100_000))),
        (
            "api-usage=1018/100000; per-app-api-usage=17/250(appName=x)",
            Some((1_018, 100_000)),
        ),
        (
            "per-app-api-usage=17/250(appName=x); api-usage=25/5000",
            Some((25, 5_000)),
        ),
        (" API-Usage = 1 / 2 , api-bursts=3/4", Some((1, 2))),
        ("api-usage=7/9(partial)", Some((7, 9))),
        ("per-app-api-usage=17/250", None),
        ("api-usage=lots", None),
        ("api-usage=/5", None),
        ("", None),
    ] {
        assert_eq!(api_usage_of_header(text), pair, "{text}");
    }
}

#[test]
fn a_stretched_run_is_made_every_so_many_times() {
    let mut pace = Pace::default();
    let third = Permit::Stretch(3, String::new());
    let runs: Vec<bool> = (0..7).map(|_| pace.runs(&third)).collect();
    assert_eq!(runs, [false, false, true, false, false, true, false]);
    assert!(pace.runs(&Permit::Go));
    assert!(!pace.runs(&Permit::Wait(String::new())));
    // Having waited counts: it is the next one when something frees.
    assert!(!pace.runs(&third));
    assert!(pace.runs(&third));
}

#[test]
fn people_are_told_before_the_events_run_out() {
    let events = |used| Picture {
        delivered: usage(used, 1_000),
        ..Picture::default()
    };
    assert!(problems(&events(899), &RULES, now()).is_empty());
    let said = problems(&events(900), &RULES, now()).join("\n");
    assert!(
        said.contains("900 of 1000 event deliveries") && said.contains("Setup > Event Manager"),
        "{said}"
    );
    assert_eq!(
        slowed(&events(1_000), &RULES, now()),
        Vec::<String>::new(),
        "asking less saves no events"
    );
    assert_eq!(problems(&api(950), &RULES, now()).len(), 1);
    assert!(slowed(&api(700), &RULES, now())[0].contains("5 times less often"));
}

fn amounts() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0_u8..=100).prop_map(Amount::Percent),
        (0_u64..20_000).prop_map(Amount::Number)
    ]
}

proptest! {
    /// Whatever is configured: the reserve is not spent by the schedule, more use never means more calls, and the factor
    /// stays in its bounds.
    #[test]
    fn the_reserve_is_never_spent_and_use_only_slows_down(
        reserve in amounts(), from in amounts(), most in 0_u32..50, max in 1_u64..10_000, used in 0_u64..12_000,
    ) {
        let rules = Rules { api_reserve: reserve, events_reserve: reserve, stretch_from: from, stretch_at_most: most };
        let weight = |used| {
            let picture = Picture { api: usage(used, max), ..Picture::default() };
            match allows(&picture, &rules, Purpose::Poll, Means::Requests, now()) {
                Permit::Go => 1,
                Permit::Stretch(factor, _) => factor,
                Permit::Wait(_) => u32::MAX,
                Permit::Warn(_) => 0,
            }
        };
        let here = weight(used);
        if used + reserve.of(max) >= max {
            prop_assert_eq!(here, u32::MAX);
        } else {
            prop_assert!(here >= 1 && here <= most.max(1), "{}", here);
        }
        prop_assert!(here <= weight(used + 1));
    }
}
