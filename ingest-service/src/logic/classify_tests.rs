//! The error table, row by row, and what follows from failures in a row.

use super::*;
use Reaction::{BackOff, Defect, Exhausted, Misconfigured, Operator, PositionLost, Reauthenticate, Reconnect};

/// Every code that the vendor documents, in the order of the documentation.
const TABLE: &[(&str, Reaction)] = &[
    ("service.unavailable", Reconnect),
    ("service.auth.error", Reauthenticate),
    ("service.auth.headers.invalid", Misconfigured),
    ("service.auth.refresh.invalid", Defect),
    ("service.protection.triggered", BackOff),
    ("service.protection.stream.limit.triggered", BackOff),
    ("concurrent.client.limit.exceeded", BackOff),
    ("service.tenant.license", Operator),
    ("topic.not.found", Operator),
    ("topic.meta.permission", Operator),
    ("schema.meta.permission", Operator),
    ("subscription.topic.cannot.subscribe", Operator),
    ("subscription.fetch.replayid.corrupted", PositionLost),
    ("subscription.fetch.replayid.validation.failed", PositionLost),
    ("subscription.limit.exceeded", Exhausted),
    ("topic.validation.empty", Defect),
    ("schema.validation.failed", Defect),
    ("subscription.fetch.replay.repeated", Defect),
    ("subscription.fetch.requested.events.invalid", Defect),
    ("subscription.fetch.topic.mismatch", Defect),
    ("subscription.fetch.request.invalid", Defect),
    ("subscription.fetch.overflow", Defect),
    ("subscription.internal.error", Reconnect),
    ("topic.api.unavailable", Reconnect),
    ("schema.api.unavailable", Reconnect),
    ("managed.subscription.already.active", BackOff),
    ("managed.subscription.config.stopped", Operator),
    ("managed.subscription.config.deleted", Operator),
    ("managed.subscription.developer.name.not.found", Operator),
    ("managed.subscription.subscription.id.not.found", Operator),
    ("managed.subscription.subscription.id.invalid", Operator),
    ("managed.subscription.id.or.developer.name.empty", Operator),
    ("managed.subscription.fetch.request.events.invalid", Defect),
    ("managed.subscription.fetch.request.invalid", Defect),
    ("managed.subscription.fetch.request.commit.request.restricted", Defect),
    ("managed.subscription.fetch.request.auth.request.restricted", Defect),
    ("publish.event.count.invalid", Operator),
    ("publish.topic.mismatch", Operator),
    ("publish.topic.validation.empty", Operator),
    ("publish.stream.sweeper.timeout", Operator),
    ("publish.auth.refresh.invalid", Operator),
];

/// Every gRPC status and what it means without a code that is known.
const STATUSES: &[(i32, Reaction)] = &[
    (1, Reconnect),
    (2, Reconnect),
    (3, Operator),
    (4, Reconnect),
    (5, Operator),
    (6, Reconnect),
    (7, Operator),
    (8, Reconnect),
    (9, Reconnect),
    (10, Reconnect),
    (11, Reconnect),
    (12, Operator),
    (13, Reconnect),
    (14, Reconnect),
    (15, Reconnect),
    (16, Reauthenticate),
];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

#[test]
fn every_row_of_the_table_has_its_reaction_whatever_the_status_says() {
    for (code, reaction) in TABLE {
        for status in [0, 3, 7, 13, 14, 16] {
            assert_eq!(
                classify(status, Some(&format!("{PREFIX}{code}"))).reaction,
                *reaction,
                "{code} with {status}"
            );
        }
        assert_eq!(classify(13, Some(code)).reaction, *reaction, "{code} without prefix");
    }
}

#[test]
fn whatever_an_operator_must_do_says_where() {
    for (code, reaction) in TABLE
        .iter()
        .filter(|(code, _)| !code.starts_with("managed.") && !code.starts_with("publish."))
    {
        let Classified { advice, place, .. } = classify(13, Some(code));
        assert!(!advice.is_empty(), "{code}");
        if matches!(reaction, Operator | Misconfigured | Exhausted | Reauthenticate) {
            assert!(place.is_some_and(|place| place.starts_with("Setup > ")), "{code}");
        }
    }
}

#[test]
fn unknown_codes_are_judged_by_their_status() {
    for (status, reaction) in STATUSES {
        for code in [
            None,
            Some("sfdc.platform.eventbus.grpc.brand.new"),
            Some("somebody.else"),
        ] {
            assert_eq!(classify(*status, code).reaction, *reaction, "{status} {code:?}");
        }
    }
}

#[test]
fn interruptions_are_tried_again_at_once_and_then_less_and_less_often() {
    let mut streak = Streak::default();
    let waits: Vec<Decision> = (0..12)
        .map(|second| streak.failed(Reconnect, at(second), 1.0))
        .collect();
    assert_eq!(waits[0].wait, Duration::from_millis(200));
    assert!(waits.windows(2).all(|pair| pair[0].wait <= pair[1].wait));
    assert_eq!(waits[11].wait, Duration::from_secs(30));
    let told: Vec<bool> = waits.iter().take(4).map(|decision| decision.tell).collect();
    assert_eq!(told, [false, false, true, true]);
    streak.worked();
    let next = streak.failed(Reconnect, at(20), 0.0);
    assert_eq!((next.wait, next.tell), (Duration::from_millis(100), false));
}

#[test]
fn a_refused_token_is_renewed_at_once_then_slowly_and_an_operator_is_told() {
    let mut streak = Streak::default();
    let mut decisions = Vec::new();
    for second in 0..8 {
        decisions.push(streak.failed(Reauthenticate, at(second), 0.5));
        // A stream that opens and delivers one keepalive before it is refused again must not reset the count.
        streak.worked();
    }
    assert!(decisions.iter().all(|decision| decision.new_token));
    assert_eq!(decisions[0].wait, Duration::ZERO);
    assert!(decisions[1].wait >= Duration::from_secs(1), "{:?}", decisions[1].wait);
    assert_eq!(
        decisions.iter().map(|decision| decision.tell).collect::<Vec<_>>(),
        [false, false, true, true, true, true, true, true]
    );
    assert!(decisions[7].wait >= Duration::from_secs(150));
    let later = streak.failed(Reauthenticate, at(3_600), 0.5);
    assert_eq!(later.wait, Duration::ZERO, "an hour later it is the first again");
}

#[test]
fn a_second_defect_is_for_an_operator_although_the_stream_worked_in_between() {
    let mut streak = Streak::default();
    let first = streak.failed(Defect, at(0), 0.5);
    assert_eq!((first.reaction, first.tell), (Defect, false));
    assert!(first.wait < Duration::from_secs(1));
    streak.worked();
    let second = streak.failed(Defect, at(60), 0.5);
    assert_eq!((second.reaction, second.tell), (Operator, true));
    assert!(second.wait >= Duration::from_secs(7));
    streak.worked();
    let next_day = streak.failed(Defect, at(86_400), 0.5);
    assert_eq!(next_day.reaction, Defect);
    // Other failures before it do not make the first defect the second one.
    let mut streak = Streak::default();
    streak.failed(Reconnect, at(0), 0.5);
    assert_eq!(streak.failed(Defect, at(1), 0.5).reaction, Defect);
}

#[test]
fn what_needs_somebody_is_told_at_once_and_looked_at_at_its_own_pace() {
    for (reaction, first, last) in [
        (BackOff, 30..=60, 1_800..=3_600),
        (Exhausted, 150..=300, 3_600..=7_200),
        (Operator, 7..=15, 150..=300),
        (Misconfigured, 1_800..=3_600, 1_800..=3_600),
    ] {
        for random in [0.0, 0.4, 1.0] {
            let mut streak = Streak::default();
            let decision = streak.failed(reaction, at(0), random);
            assert!(decision.tell, "{reaction:?}");
            assert!(
                first.contains(&decision.wait.as_secs()),
                "{reaction:?} {:?}",
                decision.wait
            );
            let tenth = (1..10)
                .map(|second| streak.failed(reaction, at(second), random))
                .last()
                .unwrap();
            assert!(last.contains(&tenth.wait.as_secs()), "{reaction:?} {:?}", tenth.wait);
        }
    }
}

#[test]
fn a_lost_position_is_answered_at_once_but_not_in_a_loop() {
    let mut streak = Streak::default();
    assert_eq!(streak.failed(PositionLost, at(0), 1.0).wait, Duration::ZERO);
    streak.worked();
    assert!(streak.failed(PositionLost, at(1), 0.0).wait >= Duration::from_secs(1));
    assert!(streak.failed(PositionLost, at(2), 0.0).tell);
}

#[test]
fn a_schema_is_given_up_after_bounded_tries_and_never_for_trouble_of_the_connection() {
    for (status, code, tries) in [
        (3, Some("schema.validation.failed"), Some(3)),
        (5, Some("schema.not.found"), Some(3)),
        (7, Some("schema.meta.permission"), Some(3)),
        (14, Some("schema.api.unavailable"), Some(12)),
        (2, None, Some(12)),
        (16, Some("service.auth.error"), None),
        (8, Some("service.protection.triggered"), None),
        (8, Some("subscription.limit.exceeded"), None),
        (16, Some("service.auth.headers.invalid"), None),
    ] {
        assert_eq!(
            schema_tries(classify(status, code).reaction),
            tries,
            "{status} {code:?}"
        );
    }
}
