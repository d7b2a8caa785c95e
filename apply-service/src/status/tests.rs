//! What an operator is told: alarms after their bound, every field of a target in the status and in the metrics.

use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Value, json};
use usher_contract::{Approval, Cause, Outcome, OutcomeResult};
use usher_runtime::config::load_text;

use super::*;
use crate::{
    Config,
    config::DEFAULTS,
    link_table::testing_record,
    logic::{
        guard::Budget,
        lane::{CircuitStatus, HeldSetStatus},
        retry::after,
        target_record::{FirstSyncReport, HeldSet},
        testing::{at, person, policy, user_key},
    },
};

struct Shown {
    status: StatusHandle,
    metrics: Arc<Metrics>,
    registry: Registry,
    target: TargetName,
}

impl Shown {
    /// With further settings, and one target.
    fn with(settings: &str) -> Self {
        let config: Config = load_text(DEFAULTS, Some(("test", settings)), &[]).unwrap();
        assert_eq!(config.validate(), Vec::<String>::new());
        let registry = Registry::new();
        let metrics = Arc::new(Metrics::new(&registry).unwrap());
        let status = StatusHandle::new(
            Arc::default(),
            Arc::default(),
            vec![],
            Arc::clone(&metrics),
            config.alarms,
        );
        let target = policy().name;
        status.name("one".to_owned());
        status.declare(&target, "enforce");
        status.state(&target, State::Active);
        Self {
            status,
            metrics,
            registry,
            target,
        }
    }

    fn target(&self) -> TargetStatus {
        self.status.snapshot().targets[&self.target].clone()
    }

    /// What the lane says, and the alarms of that moment.
    fn alarms(&self, lane: LaneStatus, now: Timestamp) -> Vec<String> {
        self.status.lane(&self.target, lane, 0);
        self.status.alarms_of(&self.target(), now)
    }

    fn scraped(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let text = self.scraped();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    fn of_target(&self, name: &str) -> Option<f64> {
        self.metric(&format!("{name}{{target=\"gong\"}}"))
    }
}

fn set(since: i64, approved: bool) -> HeldSetStatus {
    let by = Approval {
        actor: "ada".into(),
        reason: "planned".into(),
        at: at(since),
    };
    HeldSetStatus {
        members: 7,
        set: HeldSet {
            budget: Budget::StatedRemovals,
            reason: "too many".into(),
            at: at(since),
            open_until: at(since + 60),
            approved: approved.then_some(by),
        },
    }
}

fn holding(sets: &[(&str, HeldSetStatus)]) -> LaneStatus {
    LaneStatus {
        held: sets.iter().map(|(_, set)| set.members).sum(),
        held_sets: sets.iter().map(|(id, set)| ((*id).to_owned(), set.clone())).collect(),
        ..LaneStatus::default()
    }
}

#[test]
fn a_set_that_is_held_for_an_hour_alarms_and_one_that_was_released_does_not() {
    let shown = Shown::with("{}");
    let two = holding(&[("s1", set(0, false)), ("s2", set(3000, false))]);
    assert_eq!(shown.alarms(two.clone(), at(3599)), Vec::<String>::new());
    let alarms = shown.alarms(two, at(3600));
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    let words = &alarms[0];
    assert!(
        words.contains("waits for an operator since") && words.contains("s1, s2") && words.contains("`held`"),
        "{words}"
    );
    let released = holding(&[("s1", set(0, true)), ("s2", set(3000, false))]);
    assert_eq!(shown.alarms(released.clone(), at(6599)), Vec::<String>::new());
    let alarms = shown.alarms(released, at(6600));
    assert!(alarms[0].contains(": s2;"), "{alarms:?}");
    // The bound is a setting.
    let sooner = Shown::with("alarms: { held: 10m }\n");
    let one = holding(&[("s1", set(0, false))]);
    assert_eq!(sooner.alarms(one.clone(), at(599)), Vec::<String>::new());
    assert_eq!(sooner.alarms(one, at(600)).len(), 1);
}

#[test]
fn a_first_sync_that_waits_for_an_hour_alarms_until_it_is_approved() {
    let shown = Shown::with("{}");
    let report = FirstSyncReport {
        at: at(0),
        accounts: 1,
        matched: 1,
        would_create: 0,
        ambiguous: 0,
        unmatched: 0,
        would_change: BTreeMap::new(),
        not_listed: None,
    };
    let waits = |first_sync_waits| LaneStatus {
        first_sync_waits,
        first_sync: Some(report.clone()),
        ..LaneStatus::default()
    };
    assert_eq!(shown.alarms(waits(true), at(3599)), Vec::<String>::new());
    let alarms = shown.alarms(waits(true), at(3600));
    assert!(alarms[0].contains(": first-sync;"), "{alarms:?}");
    assert_eq!(shown.alarms(waits(false), at(9999)), Vec::<String>::new());
}

#[test]
fn leavers_who_are_not_out_alarm_after_a_bound_that_is_at_most_a_day() {
    let shown = Shown::with("{}");
    assert_eq!(
        shown.status.leavers_bound(),
        Duration::from_secs(3600),
        "an hour by default"
    );
    assert_eq!(shown.alarms(LaneStatus::default(), at(0)), Vec::<String>::new());
    shown.status.overdue(&shown.target, 2);
    let alarms = shown.alarms(LaneStatus::default(), at(0));
    assert!(alarms[0].starts_with("2 people left more than 1h ago"), "{alarms:?}");
    assert_eq!(shown.of_target("apply_leavers_overdue"), Some(2.0));
    // Whoever runs the target next counts them.
    shown.status.state(&shown.target, State::Unassigned);
    assert_eq!(shown.target().leavers_overdue, 0);
    assert_eq!(shown.of_target("apply_leavers_overdue"), Some(0.0));

    let day = Shown::with("alarms: { leavers: 24h }\n");
    assert_eq!(day.status.leavers_bound(), Duration::from_secs(86_400));
    day.status.overdue(&day.target, 1);
    let alarms = day.alarms(LaneStatus::default(), at(0));
    assert!(
        alarms[0].contains("more than 1d ago") || alarms[0].contains("more than 24h ago"),
        "{alarms:?}"
    );
    for longer in ["86401s", "25h", "48h"] {
        let text = format!("alarms: {{ leavers: {longer} }}\n");
        let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).unwrap();
        let problems = config.validate();
        assert!(
            problems.len() == 1 && problems[0].contains("alarms.leavers must be at most 24h"),
            "{longer}: {problems:?}"
        );
    }
}

/// A lane with something of everything.
fn busy(now: Timestamp) -> LaneStatus {
    let before = |seconds: i64| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok();
    LaneStatus {
        pending: 11,
        oldest_pending_since: before(90),
        in_flight: 3,
        retrying: 4,
        rejected: 5,
        skipped: 6,
        paused: None,
        rate: 2.5,
        day_used: Some(70),
        day_left: Some(30),
        undecided: 8,
        links: 100,
        circuit: Some(CircuitStatus {
            code: "http-401".into(),
            reason: "the token is refused".into(),
            since: before(10).unwrap(),
        }),
        last_success: before(20),
        ..holding(&[("s1", set(0, false))])
    }
}

#[test]
fn every_field_of_a_target_stands_in_the_status_and_in_the_metrics() {
    let shown = Shown::with("{}");
    let now = clock::now();
    shown.status.lane(&shown.target, busy(now), 2);
    let target = serde_json::to_value(shown.target()).unwrap();
    for (place, expected) in [
        ("/mode", json!("enforce")),
        ("/state", json!("active")),
        ("/owner", json!("one")),
        ("/malformed", json!(2)),
        ("/lane/pending", json!(11)),
        ("/lane/inFlight", json!(3)),
        ("/lane/held", json!(7)),
        ("/lane/heldSets/s1/members", json!(7)),
        ("/lane/heldSets/s1/reason", json!("too many")),
        ("/lane/rejected", json!(5)),
        ("/lane/retrying", json!(4)),
        ("/lane/circuit/code", json!("http-401")),
        ("/lane/circuit/reason", json!("the token is refused")),
        ("/lane/rate", json!(2.5)),
        ("/lane/dayUsed", json!(70)),
        ("/lane/dayLeft", json!(30)),
        ("/lane/oldestPendingSince", json!(busy(now).oldest_pending_since)),
        ("/lane/lastSuccess", json!(busy(now).last_success)),
    ] {
        assert_eq!(target.pointer(place), Some(&expected), "{place} in {target}");
    }
    for (name, expected) in [
        ("apply_target_owned", 1.0),
        ("apply_pending", 11.0),
        ("apply_in_flight", 3.0),
        ("apply_held", 7.0),
        ("apply_rejected", 5.0),
        ("apply_retrying", 4.0),
        ("apply_circuit_open", 1.0),
        ("apply_rate_per_second", 2.5),
        ("apply_day_requests_used", 70.0),
        ("apply_day_requests_left", 30.0),
    ] {
        assert_eq!(shown.of_target(name), Some(expected), "{name}");
    }
    assert_eq!(
        shown.metric("apply_target_mode{mode=\"enforce\",target=\"gong\"}"),
        Some(1.0)
    );
    let age = shown.of_target("apply_oldest_pending_seconds").unwrap();
    assert!((90.0..1000.0).contains(&age), "{age}");
    let last = shown.of_target("apply_last_success_timestamp_seconds").unwrap();
    let ago = now.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64() - last;
    assert!((19.0..21.0).contains(&ago), "{ago}");
    assert!(
        target["alarms"].to_string().contains("the target does not work since"),
        "{target}"
    );

    // Run elsewhere: not a word of what was.
    shown.status.state(&shown.target, State::Unassigned);
    let target = serde_json::to_value(shown.target()).unwrap();
    assert_eq!((target.get("lane"), target.get("owner")), (None, None), "{target}");
    for name in [
        "apply_target_owned",
        "apply_pending",
        "apply_oldest_pending_seconds",
        "apply_circuit_open",
    ] {
        assert_eq!(shown.of_target(name), Some(0.0), "{name}");
    }
}

#[test]
fn an_age_is_that_of_the_oldest_who_waits_and_nothing_when_nobody_does() {
    let shown = Shown::with("{}");
    let lane = |since: Option<i64>| LaneStatus {
        oldest_pending_since: since.map(at),
        ..LaneStatus::default()
    };
    for (since, now, age) in [
        (Some(0), 75, 75.0),
        (Some(70), 75, 5.0),
        (None, 75, 0.0),
        (Some(80), 75, 0.0),
    ] {
        shown.metrics.target("gong", Some(&lane(since)), at(now));
        assert_eq!(shown.of_target("apply_oldest_pending_seconds"), Some(age));
    }
    shown.metrics.target(
        "gong",
        Some(&holding(&[("s1", set(10, false)), ("s2", set(40, false))])),
        at(100),
    );
    assert_eq!(shown.of_target("apply_held_oldest_seconds"), Some(90.0));
}

fn written(seconds: i64, change: impl FnOnce(&mut Outcome)) -> Outcome {
    let cause: Cause = person(1).cause;
    let mut outcome = Outcome {
        id: "x".into(),
        user: Some(user_key(1)),
        target: policy().name,
        action: "update".into(),
        reasons: vec!["because".into()],
        changed: vec!["title".into()],
        values: BTreeMap::new(),
        result: OutcomeResult::Done,
        error_code: None,
        error: None,
        attempt: 1,
        latency_ms: 1,
        user_version: 2,
        configuration: policy().hash,
        at: after(cause.committed_at.unwrap(), Duration::from_secs(seconds.unsigned_abs())),
        trace_id: None,
        cause: Some(cause),
        actor: None,
    };
    change(&mut outcome);
    outcome
}

#[test]
fn freshness_runs_from_the_commit_at_the_source_to_the_confirmed_write_and_counts_nothing_else() {
    let shown = Shown::with("{}");
    assert_eq!(shown.target().freshness, None);
    for outcome in [
        written(2, |_| {}),
        written(50, |_| {}),
        written(4000, |outcome| outcome.action = "deactivate".into()),
        // No writes, or nobody knows since when.
        written(7, |outcome| outcome.result = OutcomeResult::Retry),
        written(7, |outcome| outcome.result = OutcomeResult::Held),
        written(7, |outcome| outcome.changed.clear()),
        written(7, |outcome| outcome.user = None),
        written(7, |outcome| outcome.cause.as_mut().unwrap().committed_at = None),
    ] {
        shown.metrics.outcome(&outcome);
    }
    assert_eq!(shown.of_target("apply_freshness_seconds_count"), Some(3.0));
    assert_eq!(shown.of_target("apply_freshness_seconds_sum"), Some(4052.0));
    let target = serde_json::to_value(shown.target()).unwrap();
    let within = |seconds: &str| target["freshness"]["within"][seconds].clone();
    assert_eq!(target["freshness"]["writes"], 3);
    assert_eq!(
        [
            within("1"),
            within("2.5"),
            within("60"),
            within("3600"),
            within("86400")
        ],
        [json!(0), json!(1), json!(2), json!(2), json!(3)],
        "{target}"
    );
}

#[tokio::test]
async fn how_far_a_take_over_has_read_is_said_while_it_reads() {
    let shown = Shown::with("{}");
    shown.status.state(&shown.target, State::Restoring(clock::now()));
    let progress = shown.status.progress(&shown.target);
    let enough = tokio::sync::Notify::new();
    let reading = async {
        progress.store(40, Ordering::Relaxed);
        enough.notified().await;
        progress.store(70, Ordering::Relaxed);
        assert_eq!(shown.target().restored, Some(70));
        "read"
    };
    // Nobody asks for the status: the metrics say it all the same, and before it has ended.
    let scraping = async {
        while shown.of_target("apply_restored_records") != Some(40.0) {
            tokio::time::sleep(PROGRESS_EVERY / 10).await;
        }
        enough.notify_one();
    };
    let both = async { tokio::join!(shown.status.while_restoring(&shown.target, reading), scraping) };
    let ended = tokio::time::timeout(Duration::from_secs(60), both).await;
    assert_eq!(ended.map(|(read, ())| read), Ok("read"));
    assert_eq!(shown.of_target("apply_restored_records"), Some(70.0));
    shown.status.state(&shown.target, State::Active);
    assert_eq!(shown.target().restored, None);
}

#[test]
fn a_target_without_a_file_is_said_with_what_became_of_it() {
    let shown = Shown::with("{}");
    let name = |name: &str| TargetName::try_new(name).unwrap();
    let removed = |record: crate::logic::target_record::TargetRecord| {
        let directory = Directory::default();
        directory.put(name("academy"), record);
        let status = StatusHandle {
            directory: Arc::new(directory),
            ..shown.status.clone()
        };
        let status: Value = serde_json::to_value(status.snapshot()).unwrap();
        status["removed"]["academy"].as_str().unwrap_or_default().to_owned()
    };
    let mut record = testing_record();
    record.owner = "10.0.0.3:8081".into();
    record.at = at(0);
    assert!(removed(record.clone()).contains("last run by 10.0.0.3:8081"));
    record.released = true;
    let words = removed(record.clone());
    assert!(
        words.contains("nobody runs it; its accounts and links stay as they are"),
        "{words}"
    );
    record.renamed_to = Some(name("school"));
    assert_eq!(removed(record), "renamed to school");
}
