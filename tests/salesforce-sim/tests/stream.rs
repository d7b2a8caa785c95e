//! Flow control, positions and endings of a subscription, against the Pub/Sub API guide.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Bus, Rest, TOPIC, credit, fetch, small, suffix};
use salesforce_sim::{
    Sim, SimConfig,
    eventbus::{FetchRequest, ReplayPreset, TopicRequest},
};
use serde_json::json;
use tonic::Code;

fn standard_user(sim: &Sim) -> String {
    sim.org()
        .users()
        .into_iter()
        .rev()
        .find(|user| user.text("UserType") == Some("Standard"))
        .unwrap()
        .id
}

fn retitle(sim: &Sim, id: &str, count: usize) {
    for number in 0..count {
        sim.org()
            .update_user(id, json!({"Title": format!("Title {number}")}))
            .unwrap();
    }
}

#[tokio::test]
async fn requests_add_up_and_answers_say_what_is_still_owed() {
    let sim = small().await;
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 2).await;
    retitle(&sim, &user, 5);
    assert_eq!(stream.events(2).await.len(), 2);
    stream.requests.send(credit(1)).await.unwrap();
    let answer = stream.next().await.unwrap();
    assert_eq!((answer.events.len(), answer.pending_num_requested), (1, 0));
    assert_eq!(answer.latest_replay_id, answer.events[0].replay_id);
    stream.requests.send(credit(1)).await.unwrap();
    stream.requests.send(credit(1)).await.unwrap();
    assert_eq!(stream.events(2).await.len(), 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn no_more_than_100_are_outstanding() {
    let sim = small().await;
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 5000).await;
    stream.requests.send(credit(5000)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    retitle(&sim, &user, 130);
    let mut received = 0;
    loop {
        let answer = stream.next().await.unwrap();
        received += answer.events.len();
        if answer.pending_num_requested == 0 {
            break;
        }
    }
    assert_eq!(received, 100);
    sim.shutdown().await;
}

#[tokio::test]
async fn wrong_requests_end_the_stream_with_the_vendors_code() {
    let sim = small().await;
    let mut bus = Bus::new(&sim).await;
    let cases = [
        (
            fetch(ReplayPreset::Latest, b"", 0),
            "subscription.fetch.requested.events.invalid",
        ),
        (
            fetch(ReplayPreset::Custom, b"", 1),
            "subscription.fetch.replayid.validation.failed",
        ),
        (
            fetch(ReplayPreset::Custom, &[0; 10], 1),
            "subscription.fetch.replayid.corrupted",
        ),
        (
            FetchRequest {
                topic_name: "/data/AccountChangeEvent".into(),
                ..credit(1)
            },
            "topic.not.found",
        ),
        (credit(1), "topic.validation.empty"),
    ];
    for (first, expected) in cases {
        assert_eq!(bus.open(first).await.error().await, expected);
    }
    let later = [
        (credit(-1), "subscription.fetch.requested.events.invalid"),
        (
            FetchRequest {
                topic_name: "/data/ChangeEvents".into(),
                ..credit(1)
            },
            "subscription.fetch.topic.mismatch",
        ),
        (
            fetch(ReplayPreset::Earliest, b"", 1),
            "subscription.fetch.replay.repeated",
        ),
        (
            fetch(ReplayPreset::Latest, b"0123456789", 1),
            "subscription.fetch.replay.repeated",
        ),
    ];
    for (second, expected) in later {
        let mut stream = bus.open(fetch(ReplayPreset::Latest, b"", 1)).await;
        stream.requests.send(second).await.unwrap();
        assert_eq!(stream.error().await, expected);
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn every_call_needs_the_three_metadata_keys_and_a_live_session() {
    let sim = small().await;
    let mut bus = Bus::new(&sim).await;
    let topic = || TopicRequest {
        topic_name: TOPIC.to_owned(),
    };
    for key in ["accesstoken", "instanceurl", "tenantid"] {
        let mut request = bus.request(topic());
        request.metadata_mut().remove(key);
        let status = bus.client.get_topic(request).await.unwrap_err();
        assert_eq!(suffix(&status), "service.auth.headers.invalid", "{key}");
        assert!(status.message().contains("rpcId: "), "{}", status.message());
    }
    let mut request = bus.request(topic());
    request.metadata_mut().insert("accesstoken", "made-up".parse().unwrap());
    assert_eq!(
        suffix(&bus.client.get_topic(request).await.unwrap_err()),
        "service.auth.error"
    );
    let info = bus.client.get_topic(bus.request(topic())).await.unwrap().into_inner();
    assert!(info.can_subscribe && !info.can_publish);
    sim.shutdown().await;
}

#[tokio::test]
async fn an_idle_stream_gets_empty_answers_with_a_position_to_resume_from() {
    let config = SimConfig {
        users: 20,
        keepalive: Duration::from_millis(80),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 5).await;
    let first = stream.next().await.unwrap();
    let second = stream.next().await.unwrap();
    assert!(first.events.is_empty() && second.events.is_empty());
    assert_eq!(first.pending_num_requested, 5);
    assert_eq!(first.latest_replay_id.len(), 10);
    assert_ne!(first.latest_replay_id, second.latest_replay_id);
    retitle(&sim, &user, 2);
    let mut resumed = bus.open(fetch(ReplayPreset::Custom, &first.latest_replay_id, 10)).await;
    assert_eq!(resumed.events(2).await.len(), 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_is_owed_nothing_is_closed_in_time() {
    let config = SimConfig {
        users: 20,
        idle_close: Duration::from_millis(150),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 1).await;
    retitle(&sim, &user, 1);
    assert_eq!(stream.next().await.unwrap().pending_num_requested, 0);
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Cancelled);
    sim.shutdown().await;
}

#[tokio::test]
async fn resuming_starts_after_the_given_event_and_earliest_at_retention() {
    let sim = small().await;
    let user = standard_user(&sim);
    retitle(&sim, &user, 4);
    let mut bus = Bus::new(&sim).await;
    let all = bus.open(fetch(ReplayPreset::Earliest, b"", 100)).await.events(4).await;
    let rest = bus
        .open(fetch(ReplayPreset::Custom, &all[1].replay_id, 100))
        .await
        .events(2)
        .await;
    assert_eq!(rest[0].replay_id, all[2].replay_id);
    sim.org().faults().expire_replay_ids();
    let mut expired = bus.open(fetch(ReplayPreset::Custom, &all[3].replay_id, 1)).await;
    assert_eq!(expired.error().await, "subscription.fetch.replayid.corrupted");
    sim.org().faults().corrupt_replay_ids();
    retitle(&sim, &user, 1);
    assert_eq!(
        bus.open(fetch(ReplayPreset::Earliest, b"", 100))
            .await
            .events(1)
            .await
            .len(),
        1
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn retention_takes_old_events_away() {
    let config = SimConfig {
        users: 20,
        retention: Duration::from_millis(50),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 10).await;
    retitle(&sim, &user, 1);
    let event = stream.events(1).await.remove(0);
    tokio::time::sleep(Duration::from_millis(80)).await;
    let mut late = bus.open(fetch(ReplayPreset::Custom, &event.replay_id, 1)).await;
    assert_eq!(late.error().await, "subscription.fetch.replayid.corrupted");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_revoked_session_ends_the_stream_and_rest_calls() {
    let sim = small().await;
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 1).await;
    sim.org().faults().revoke_sessions();
    assert_eq!(stream.error().await, "service.auth.error");
    let (status, body) = Rest::new(&sim).get("/limits").await;
    assert_eq!(
        (status, body[0]["errorCode"].as_str()),
        (401, Some("INVALID_SESSION_ID"))
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn missing_permissions_refuse_the_topic_or_silence_it() {
    let sim = small().await;
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let org = sim.org();
    let all = org.permissions();
    org.set_permissions(salesforce_sim::Permissions {
        view_all_users: false,
        ..all
    });
    let mut refused = bus.open(fetch(ReplayPreset::Latest, b"", 1)).await;
    assert_eq!(refused.error().await, "subscription.topic.cannot.subscribe");
    let multi = FetchRequest {
        topic_name: "/data/ChangeEvents".into(),
        ..fetch(ReplayPreset::Earliest, b"", 9)
    };
    let mut silent = bus.open(multi).await;
    retitle(&sim, &user, 3);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), silent.answers.message())
            .await
            .is_err()
    );
    org.set_permissions(salesforce_sim::Permissions {
        users_captured: false,
        ..all
    });
    let mut gone = bus.open(fetch(ReplayPreset::Latest, b"", 1)).await;
    assert_eq!(gone.error().await, "topic.not.found");
    sim.shutdown().await;
}

#[tokio::test]
async fn ordered_endings_carry_their_codes() {
    let sim = small().await;
    let mut bus = Bus::new(&sim).await;
    let org = sim.org();
    let mut stream = bus.latest(&sim, 1).await;
    org.faults().disconnect_streams();
    assert_eq!(stream.error().await, "Unavailable");
    let mut stream = bus.latest(&sim, 1).await;
    org.faults().exceed_delivery_allocation(true);
    assert_eq!(stream.error().await, "subscription.limit.exceeded");
    org.faults().exceed_delivery_allocation(false);
    org.faults().fail_next_rpcs(1, Code::Unavailable, "service.unavailable");
    let topic = TopicRequest {
        topic_name: TOPIC.to_owned(),
    };
    let status = bus.client.get_topic(bus.request(topic.clone())).await.unwrap_err();
    assert_eq!(suffix(&status), "service.unavailable");
    org.faults().throttle_rpcs(true);
    let status = bus.client.get_topic(bus.request(topic.clone())).await.unwrap_err();
    assert_eq!(suffix(&status), "service.protection.triggered");
    org.faults().throttle_rpcs(false);
    assert!(bus.client.get_topic(bus.request(topic)).await.is_ok());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_silenced_stream_says_nothing_and_loses_nothing() {
    let config = SimConfig {
        users: 20,
        keepalive: Duration::from_millis(40),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let user = standard_user(&sim);
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 10).await;
    stream.next().await.unwrap();
    sim.org().faults().silence_streams(true);
    retitle(&sim, &user, 2);
    // What was on its way may still come.
    while tokio::time::timeout(Duration::from_millis(200), stream.answers.message())
        .await
        .is_ok()
    {}
    sim.org().faults().silence_streams(false);
    assert_eq!(stream.events(2).await.len(), 2);
    sim.shutdown().await;
}
