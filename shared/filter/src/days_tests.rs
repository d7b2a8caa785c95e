//! Named dates beside ranges that are written down, or counted out with a calendar.

use jiff::{Span, Zoned};
use proptest::prelude::*;

use super::*;

fn clock(now: &str, zone: &str) -> Clock {
    Clock::new(now.parse().unwrap(), TimeZone::get(zone).unwrap())
}
fn named(text: &str) -> Named {
    match text.split_once(':') {
        Some((word, count)) => Named::new(word, Some(count.parse().unwrap())).unwrap(),
        None => Named::new(text, None).unwrap(),
    }
}

/// First and last day of a literal, found by trying every day around.
fn range(text: &str, clock: &Clock) -> String {
    let inside: Vec<i32> = (clock.today - 3000..clock.today + 3000)
        .filter(|day| named(text).holds(Operator::Equal, *day, clock))
        .collect();
    let (first, last) = (inside[0], *inside.last().unwrap());
    assert_eq!(
        inside.len(),
        usize::try_from(last - first + 1).unwrap(),
        "{text} has a hole"
    );
    for day in first - 400..last + 400 {
        let holds = |operator| named(text).holds(operator, day, clock);
        let expected = [day < first, day <= last, day > last, day >= first];
        let found = [
            Operator::Less,
            Operator::LessOrEqual,
            Operator::Greater,
            Operator::GreaterOrEqual,
        ]
        .map(holds);
        assert_eq!(found, expected, "{text} on {}", of_number(day));
    }
    format!("{} {}", of_number(first), of_number(last))
}

/// Wednesday, 11 March 2026; weeks from Sunday; fiscal years from February.
#[test]
fn every_literal_is_the_range_that_the_reference_says() {
    let clock = clock("2026-03-11T12:00:00Z", "UTC").fiscal_year_starting(2);
    for (literal, expected) in [
        ("YESTERDAY", "2026-03-10 2026-03-10"),
        ("today", "2026-03-11 2026-03-11"),
        ("TOMORROW", "2026-03-12 2026-03-12"),
        ("LAST_WEEK", "2026-03-01 2026-03-07"),
        ("THIS_WEEK", "2026-03-08 2026-03-14"),
        ("NEXT_WEEK", "2026-03-15 2026-03-21"),
        ("LAST_MONTH", "2026-02-01 2026-02-28"),
        ("THIS_MONTH", "2026-03-01 2026-03-31"),
        ("NEXT_MONTH", "2026-04-01 2026-04-30"),
        ("LAST_90_DAYS", "2025-12-11 2026-03-11"),
        ("NEXT_90_DAYS", "2026-03-12 2026-06-09"),
        ("LAST_N_DAYS:3", "2026-03-08 2026-03-11"),
        ("LAST_N_DAYS:0", "2026-03-11 2026-03-11"),
        ("NEXT_N_DAYS:3", "2026-03-12 2026-03-14"),
        ("N_DAYS_AGO:3", "2026-03-08 2026-03-08"),
        ("LAST_N_WEEKS:2", "2026-02-22 2026-03-07"),
        ("NEXT_N_WEEKS:2", "2026-03-15 2026-03-28"),
        ("N_WEEKS_AGO:2", "2026-02-22 2026-02-28"),
        ("LAST_N_MONTHS:3", "2025-12-01 2026-02-28"),
        ("NEXT_N_MONTHS:2", "2026-04-01 2026-05-31"),
        ("N_MONTHS_AGO:14", "2025-01-01 2025-01-31"),
        ("THIS_QUARTER", "2026-01-01 2026-03-31"),
        ("LAST_QUARTER", "2025-10-01 2025-12-31"),
        ("NEXT_QUARTER", "2026-04-01 2026-06-30"),
        ("LAST_N_QUARTERS:2", "2025-07-01 2025-12-31"),
        ("NEXT_N_QUARTERS:3", "2026-04-01 2026-12-31"),
        ("N_QUARTERS_AGO:5", "2024-10-01 2024-12-31"),
        ("THIS_YEAR", "2026-01-01 2026-12-31"),
        ("LAST_YEAR", "2025-01-01 2025-12-31"),
        ("NEXT_YEAR", "2027-01-01 2027-12-31"),
        ("LAST_N_YEARS:2", "2024-01-01 2025-12-31"),
        ("NEXT_N_YEARS:2", "2027-01-01 2028-12-31"),
        ("N_YEARS_AGO:2", "2024-01-01 2024-12-31"),
        ("THIS_FISCAL_QUARTER", "2026-02-01 2026-04-30"),
        ("LAST_FISCAL_QUARTER", "2025-11-01 2026-01-31"),
        ("NEXT_FISCAL_QUARTER", "2026-05-01 2026-07-31"),
        ("LAST_N_FISCAL_QUARTERS:2", "2025-08-01 2026-01-31"),
        ("NEXT_N_FISCAL_QUARTERS:1", "2026-05-01 2026-07-31"),
        ("N_FISCAL_QUARTERS_AGO:1", "2025-11-01 2026-01-31"),
        ("THIS_FISCAL_YEAR", "2026-02-01 2027-01-31"),
        ("LAST_FISCAL_YEAR", "2025-02-01 2026-01-31"),
        ("NEXT_FISCAL_YEAR", "2027-02-01 2028-01-31"),
        ("LAST_N_FISCAL_YEARS:2", "2024-02-01 2026-01-31"),
        ("NEXT_N_FISCAL_YEARS:1", "2027-02-01 2028-01-31"),
        ("N_FISCAL_YEARS_AGO:0", "2026-02-01 2027-01-31"),
    ] {
        assert_eq!(range(literal, &clock), expected, "{literal}");
    }
}

#[test]
fn weeks_begin_where_the_locale_says() {
    for (day, expected) in [
        (Weekday::Sunday, "2026-03-08 2026-03-14"),
        (Weekday::Monday, "2026-03-09 2026-03-15"),
        (Weekday::Wednesday, "2026-03-11 2026-03-17"),
        (Weekday::Thursday, "2026-03-05 2026-03-11"),
    ] {
        let clock = clock("2026-03-11T12:00:00Z", "UTC").week_starting(day);
        assert_eq!(range("THIS_WEEK", &clock), expected, "{day:?}");
    }
}

#[test]
fn today_is_where_the_clock_is() {
    let at = "2026-03-11T05:00:00Z";
    for (zone, expected) in [
        ("UTC", "2026-03-11"),
        ("America/Los_Angeles", "2026-03-10"),
        ("Pacific/Kiritimati", "2026-03-11"),
    ] {
        assert_eq!(
            range("TODAY", &clock(at, zone)),
            format!("{expected} {expected}"),
            "{zone}"
        );
    }
}

#[test]
fn days_do_not_run_backwards_where_the_clock_is_set_back_over_midnight() {
    // On 4 November 2001 one minute after midnight clocks went back to one minute past eleven of the day before.
    let zone = clock("2001-11-04T02:31:30Z", "America/St_Johns");
    let mut last = i32::MIN;
    for minute in 0..240 {
        let at: Timestamp = "2001-11-04T01:00:00Z".parse().unwrap();
        let day = zone.day(at + Span::new().minutes(minute));
        assert!(day >= last, "minute {minute}");
        last = day;
    }
}

#[test]
fn what_is_no_literal_is_refused() {
    for (word, count, problem) in [
        ("SOMEDAY", None, NamedProblem::Unknown),
        ("TODAY", Some(1), NamedProblem::TakesNoCount),
        ("LAST_N_DAYS", None, NamedProblem::NeedsCount),
        ("LAST_N_DAYS", Some(-1), NamedProblem::Count),
        ("NEXT_N_DAYS", Some(0), NamedProblem::Count),
        ("LAST_N_YEARS", Some(100_001), NamedProblem::Count),
    ] {
        assert_eq!(Named::new(word, count), Err(problem), "{word}");
    }
}

/// The same by walking a calendar instead of counting units.
fn by_calendar(literal: &str, today: Date, week: Weekday) -> (Date, Date) {
    let (word, count) = literal
        .split_once(':')
        .map_or((literal, 1), |(word, count)| (word, count.parse::<i32>().unwrap()));
    let (unit_start, step): (Date, fn(i32) -> Span) = if word.contains("WEEK") {
        let back = today.weekday().since(week);
        (today.checked_sub(Span::new().days(back)).unwrap(), |n| {
            Span::new().weeks(n)
        })
    } else if word.contains("MONTH") {
        (today.first_of_month(), |n| Span::new().months(n))
    } else if word.contains("QUARTER") {
        let month = (today.month() - 1) / 3 * 3 + 1;
        (date(today.year(), month, 1), |n| Span::new().months(n * 3))
    } else if word.contains("YEAR") {
        (today.first_of_year(), |n| Span::new().years(n))
    } else {
        (today, |n| Span::new().days(n))
    };
    let start = |n: i32| unit_start.checked_add(step(n)).unwrap();
    let end = |n: i32| start(n + 1).yesterday().unwrap();
    match word {
        "LAST_N_DAYS" => (start(-count), end(0)),
        "TODAY" => (start(0), end(0)),
        _ if word.starts_with("LAST") => (start(-count), end(-1)),
        _ if word.starts_with("THIS") => (start(0), end(0)),
        _ if word.starts_with("NEXT") => (start(1), end(count)),
        _ => (start(-count), end(-count)),
    }
}

const LITERALS: [&str; 16] = [
    "TODAY",
    "LAST_N_DAYS:5",
    "NEXT_N_DAYS:40",
    "N_DAYS_AGO:3",
    "LAST_WEEK",
    "THIS_WEEK",
    "NEXT_N_WEEKS:3",
    "N_WEEKS_AGO:2",
    "LAST_N_MONTHS:4",
    "THIS_MONTH",
    "NEXT_MONTH",
    "N_MONTHS_AGO:13",
    "LAST_N_QUARTERS:3",
    "NEXT_N_QUARTERS:2",
    "LAST_N_YEARS:3",
    "NEXT_N_YEARS:2",
];
const OPERATORS: [Operator; 5] = [
    Operator::Equal,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Greater,
    Operator::GreaterOrEqual,
];
const ZONES: [&str; 6] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Apia",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 12 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn counting_units_is_walking_the_calendar(
        today in -20_000..40_000_i32, literal in prop::sample::select(&LITERALS[..]), away in -1200..1200_i32, week in 1..=7_i8,
    ) {
        let today = of_number(today);
        let week = Weekday::from_monday_one_offset(week).unwrap();
        let noon = today.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let clock = Clock::new(noon, TimeZone::UTC).week_starting(week);
        let (first, last) = by_calendar(literal, today, week);
        let day = number(today) + away;
        let expected = (number(first)..=number(last)).contains(&day);
        prop_assert_eq!(named(literal).holds(Operator::Equal, day, &clock), expected, "{} of {}: {} to {}", of_number(day), today, first, last);
    }

    /// Between now and the next change nothing changes; at the change it does.
    #[test]
    fn nothing_changes_before_the_next_change(
        now in -1_000_000_000..4_000_000_000_i64, zone in prop::sample::select(&ZONES[..]), literal in prop::sample::select(&LITERALS[..]),
        operator in prop::sample::select(&OPERATORS[..]), away in -900..900_i32, at in 0.0..1.0_f64,
    ) {
        let clock = Clock::new(Timestamp::from_second(now).unwrap(), TimeZone::get(zone).unwrap());
        let (named, day) = (named(literal), clock.today + away);
        let holds = |clock: &Clock| named.holds(operator, day, clock);
        let Some(next) = named.next_change(operator, day, &clock).map(|day| clock.first_moment(day)) else {
            let much_later = Timestamp::from_second(now + 86_400 * 3_000).unwrap();
            prop_assert_eq!(holds(&clock), holds(&clock.at(much_later)));
            return Ok(());
        };
        prop_assert!(next > clock.now());
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "some moment in between")]
        let between = now + ((next.as_second() - now) as f64 * at) as i64;
        for moment in [Timestamp::from_second(between).unwrap(), next - Span::new().nanoseconds(1)] {
            prop_assert_eq!(holds(&clock.at(moment)), holds(&clock), "{}", moment);
        }
        prop_assert_ne!(holds(&clock.at(next)), holds(&clock), "{}", next);
    }

    #[test]
    fn a_day_begins_with_its_first_moment(now in -1_000_000_000..4_000_000_000_i64, zone in prop::sample::select(&ZONES[..])) {
        let at = Timestamp::from_second(now).unwrap();
        let clock = Clock::new(at, TimeZone::get(zone).unwrap());
        let day = clock.day(at);
        prop_assert!(clock.first_moment(day) <= at && at < clock.first_moment(day + 1), "{}", Zoned::new(at, TimeZone::get(zone).unwrap()));
        prop_assert_eq!(clock.day(clock.first_moment(day)), day);
    }
}
