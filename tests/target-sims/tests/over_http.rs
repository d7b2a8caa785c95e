//! The simulator over real connections: the log, faults that clients cannot see by value, and its speed.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use target_sims::{Behaviour, Fault, FaultScope, Latency, Moment, ScimSim, ScimSimConfig};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

async fn sim() -> ScimSim {
    ScimSim::start(ScimSimConfig {
        bearer_token: Some("secret".to_owned()),
        ..ScimSimConfig::default()
    })
    .await
}

async fn send(sim: &ScimSim, method: Method, path: &str, body: Value) -> reqwest::Result<(StatusCode, String)> {
    let client = Client::builder().pool_max_idle_per_host(0).build()?;
    let mut request = client
        .request(method, format!("{}{path}", sim.base_url()))
        .timeout(Duration::from_secs(10))
        .bearer_auth("secret")
        .header("content-type", "application/scim+json");
    if !body.is_null() {
        request = request.body(body.to_string());
    }
    let response = request.send().await?;
    Ok((response.status(), response.text().await?))
}

fn user(name: &str) -> Value {
    json!({"schemas": [USER], "userName": name, "externalId": name, "active": true})
}

#[tokio::test]
async fn every_request_is_recorded_with_its_answer() {
    let sim = sim().await;
    send(&sim, Method::POST, "/Users", user("ada")).await.unwrap();
    send(
        &sim,
        Method::GET,
        "/Users?filter=userName%20eq%20%22ada%2Bx%22",
        Value::Null,
    )
    .await
    .unwrap();

    let requests = sim.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].status, requests[0].write),
        ("POST", Some(201), true)
    );
    assert_eq!(requests[0].body.as_ref().unwrap()["userName"], "ada");
    assert_eq!(requests[0].resource.as_deref(), sim.users()[0]["id"].as_str());
    assert!(requests[0].answered && requests[0].executed && requests[0].ended.is_some());
    assert_eq!((requests[1].sequence, requests[1].write), (1, false));
    assert_eq!(sim.writes().len(), 1);
    assert_eq!(sim.created_count_by_external_id()["ada"], 1);

    sim.reset_log();
    assert_eq!(sim.requests().len(), 0);
    assert_eq!(sim.user_count(), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_an_account_that_the_client_never_heard_of() {
    let sim = sim().await;
    sim.plan_fault(Fault::LoseAnswer, FaultScope::Writes, 1);
    let error = send(&sim, Method::POST, "/Users", user("ada")).await.unwrap_err();
    assert!(!error.is_timeout(), "{error:?}");
    assert_eq!(sim.user_count(), 1);
    let record = &sim.writes()[0];
    assert_eq!(
        (record.status, record.executed, record.answered),
        (Some(201), true, false)
    );
    let (status, _) = send(&sim, Method::POST, "/Users", user("ada")).await.unwrap();
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_refused_connection_executes_nothing() {
    let sim = sim().await;
    sim.plan_fault(Fault::Refuse, FaultScope::Every, 1);
    assert!(send(&sim, Method::POST, "/Users", user("ada")).await.is_err());
    assert_eq!(sim.user_count(), 0);
    assert!(!sim.requests()[0].executed);
}

#[tokio::test]
async fn planned_answers_carry_their_headers_and_bodies() {
    let sim = sim().await;
    sim.plan_fault(Fault::too_many_requests("7"), FaultScope::Every, 1);
    sim.plan_fault(Fault::html(200), FaultScope::Every, 1);
    let response = Client::new()
        .get(format!("{}/Users", sim.base_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    let (status, text) = send(&sim, Method::GET, "/Users", Value::Null).await.unwrap();
    assert_eq!((status.as_u16(), text.starts_with("<!DOCTYPE html>")), (200, true));
    let (_, text) = send(&sim, Method::GET, "/Users", Value::Null).await.unwrap();
    assert!(text.contains("totalResults"));
}

#[tokio::test]
async fn a_hanging_request_ends_in_the_log_when_the_client_gives_up() {
    let sim = sim().await;
    sim.plan_fault(Fault::Hang { execute: true }, FaultScope::Every, 1);
    let request = send(&sim, Method::POST, "/Users", user("ada"));
    assert!(tokio::time::timeout(Duration::from_millis(300), request).await.is_err());
    assert_eq!(sim.user_count(), 1);
    // The server notices the closed connection on its own time.
    let noticed = async {
        while sim.requests()[0].ended.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noticed).await.unwrap();
    assert!(!sim.requests()[0].answered);
}

#[tokio::test]
async fn a_gate_keeps_requests_before_or_after_their_effect() {
    let sim = sim().await;
    let waited_for = async |holds: &dyn Fn() -> bool| {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    };
    for (moment, effects) in [(Moment::BeforeEffect, 0), (Moment::AfterEffect, 1)] {
        let before = sim.user_count();
        sim.close_gate(moment, FaultScope::Writes);
        let name = format!("{moment:?}");
        let (answer, ()) = tokio::join!(send(&sim, Method::POST, "/Users", user(&name)), async {
            waited_for(&|| sim.caught_at_gate() == 1).await;
            assert_eq!(sim.user_count() - before, effects);
            sim.open_gate();
        });
        assert_eq!(answer.unwrap().0, StatusCode::CREATED);
        assert_eq!(sim.user_count() - before, 1);
    }

    // What was kept before its effect has it also when the client has given up.
    sim.close_gate(Moment::BeforeEffect, FaultScope::Writes);
    let given_up = send(&sim, Method::POST, "/Users", user("ada"));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), given_up)
            .await
            .is_err()
    );
    waited_for(&|| sim.requests().last().unwrap().ended.is_some()).await;
    assert_eq!(sim.user_count(), 2);
    sim.open_gate();
    waited_for(&|| sim.user_count() == 3).await;
}

#[tokio::test]
async fn overlapping_writes_about_one_user_are_noticed() {
    let sim = sim().await;
    let id = sim.seed_user(json!({"userName": "ada"}));
    sim.set_behaviour(|behaviour| behaviour.latency = Latency::Fixed(Duration::from_millis(200)));
    let path = format!("/Users/{id}");
    let put = |name: &'static str| send(&sim, Method::PUT, &path, user(name));
    put("a").await.unwrap();
    put("b").await.unwrap();
    assert_eq!(sim.max_writes_in_flight_per_user(), 1);
    let (first, second) = tokio::join!(put("c"), put("d"));
    first.unwrap();
    second.unwrap();
    assert_eq!(sim.max_writes_in_flight_per_user(), 2);
}

#[tokio::test]
async fn seeded_users_can_be_changed_behind_the_clients_back() {
    let sim = sim().await;
    let id = sim.seed_user(json!({"userName": "ada", "externalId": "1"}));
    sim.overwrite_user(&id, json!({"userName": "ada", "externalId": "1", "active": false}));
    assert_eq!(sim.user_by_external_id("1").unwrap()["active"], false);
    sim.remove_user(&id);
    assert_eq!(sim.user_by_external_id("1"), None);
    assert_eq!(sim.requests().len(), 0);
}

#[tokio::test]
async fn a_stopped_simulator_frees_its_address() {
    let first = sim().await;
    let address = first
        .base_url()
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    send(&first, Method::GET, "/Users", Value::Null).await.unwrap();
    first.stop().await;
    let second = ScimSim::start(ScimSimConfig {
        address,
        behaviour: Behaviour::default(),
        bearer_token: None,
    })
    .await;
    assert_eq!(second.user_count(), 0);
}

/// Not a timed test: it shows that look-ups do not walk through everybody, by doing many of them among many users.
#[tokio::test]
async fn thousands_of_users_and_changes_are_no_problem() {
    let sim = sim().await;
    for number in 0..5_000 {
        let name = format!("user{number}");
        sim.seed_user(json!({"userName": name, "externalId": name, "emails": [{"value": format!("{name}@x")}]}));
    }
    let client = Client::new();
    for number in 0..500 {
        let url = format!("{}/Users?filter=externalId%20eq%20%22user{number}%22", sim.base_url());
        let found = client
            .get(url)
            .bearer_auth("secret")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["totalResults"], 1);
        let response = client
            .put(found["Resources"][0]["meta"]["location"].as_str().unwrap())
            .bearer_auth("secret")
            .header("content-type", "application/scim+json")
            .body(user(&format!("user{number}")).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(
        (sim.requests().len(), sim.write_count(), sim.user_count()),
        (1_000, 500, 5_000)
    );
}
