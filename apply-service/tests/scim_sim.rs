//! The SCIM connector and its sender against our recording simulator: what really goes over the wire, and every
//! misfortune that a network and a target have in store.
#![allow(clippy::unwrap_used)]

mod scim_support;

use std::time::{Duration, Instant};

use apply_service::connector::{
    Failure, Operation, Reply,
    http::{HttpConfig, HttpSender},
    lease::{Lease, LeaseTerms},
    scim::{ScimConfig, config::FilterMode},
};
use axum::{Router, http::StatusCode, response::Redirect};
use scim_support::{Target, WORK, find, live, live_groups, person, values};
use serde_json::json;
use target_sims::{Behaviour, Fault, FaultScope, ScimSim, ScimSimConfig};

const TOKEN: &str = "s3cret-token";

async fn sim(change: impl FnOnce(&mut Behaviour)) -> ScimSim {
    let mut config = ScimSimConfig {
        bearer_token: Some(TOKEN.to_owned()),
        ..ScimSimConfig::default()
    };
    change(&mut config.behaviour);
    ScimSim::start(config).await
}

fn target(sim: &ScimSim) -> Target {
    Target::new(sim.base_url(), Some(TOKEN), ScimConfig::default())
}

fn create(key: &str, name: &str) -> Operation {
    Operation::Create {
        values: values(&person(key, name)),
    }
}

fn code(result: Result<Reply, Failure>) -> (&'static str, String) {
    match result {
        Err(Failure::Retry(refusal, _)) => ("retry", refusal.code),
        Err(Failure::Reject(refusal)) => ("reject", refusal.code),
        Err(Failure::Halt(refusal)) => ("halt", refusal.code),
        Ok(reply) => panic!("no failure: {reply:?}"),
    }
}

#[tokio::test]
async fn one_account_lives_the_same_life_at_every_kind_of_server() {
    let plain: fn(&mut Behaviour) = |_| {};
    let changes: [fn(&mut Behaviour); 7] = [
        plain,
        |behaviour| behaviour.patch_supported = false,
        |behaviour| behaviour.filter_supported = false,
        |behaviour| behaviour.etag_supported = false,
        |behaviour| behaviour.patch_answers_nothing = true,
        |behaviour| behaviour.page_size_max = 1,
        |behaviour| {
            behaviour.filter_supported = false;
            behaviour.patch_supported = false;
            behaviour.page_size_max = 1;
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for check in [true, false] {
            // Shown by the test runner when the test fails.
            println!("variant {number}, discovery {check}");
            let sim = sim(change).await;
            let target = target(&sim);
            if check {
                target.check().await;
            }
            live(&target).await;
        }
    }
}

#[tokio::test]
async fn a_lost_answer_makes_one_account() {
    let sim = sim(|_| {}).await;
    let target = target(&sim);
    target.create(&person("005Z", "zoe")).await;
    for (number, fault) in [Fault::LoseAnswer, Fault::LoseAnswer].into_iter().enumerate() {
        sim.plan_fault(fault, FaultScope::Writes, 1);
        let key = format!("00{number}");
        target.create(&person(&key, &format!("p{number}"))).await;
        assert_eq!(sim.created_count_by_external_id()[&key], 1);
    }
    // Not executed: nobody knows, so it is looked up and tried again later.
    sim.plan_fault(Fault::Refuse, FaultScope::Writes, 1);
    assert_eq!(code(target.run(create("005N", "nil")).await).0, "retry");
    assert_eq!(
        target.create(&person("005N", "nil")).await.0,
        target.find("005N", &[]).await[0].id.0
    );
    sim.plan_fault(Fault::status(500), FaultScope::Writes, 1);
    assert_eq!(
        code(target.run(create("005M", "may")).await),
        ("retry", "http-500".to_owned())
    );
}

#[tokio::test]
async fn a_target_that_never_answers_is_given_up_in_time() {
    let sim = sim(|_| {}).await;
    let mut target = target(&sim);
    let mut http = HttpConfig::new(sim.base_url());
    http.request_timeout_ms = 200;
    target.sender = HttpSender::new(http).unwrap();
    sim.set_bearer_token(None);
    target.create(&person("005Z", "zoe")).await;
    for (execute, made) in [(true, 1), (false, 0)] {
        let key = format!("key-{execute}");
        sim.plan_fault(Fault::Hang { execute }, FaultScope::Writes, 1);
        let result = target.run(create(&key, &key)).await;
        assert_eq!(matches!(result, Ok(Reply::Written { .. })), execute, "{result:?}");
        assert_eq!(sim.created_count_by_external_id().get(&key).copied().unwrap_or(0), made);
    }
}

#[tokio::test]
async fn waiting_is_asked_for_and_web_pages_and_refusals_are_told_apart() {
    let sim = sim(|_| {}).await;
    let target = target(&sim);
    let ada = target.create(&person("005A", "ada")).await;
    let update = || Operation::Update {
        id: ada.clone(),
        values: values(&[("title", json!("x"))]),
        etag: None,
    };
    sim.plan_fault(Fault::too_many_requests("7"), FaultScope::Writes, 1);
    let Err(Failure::Retry(refusal, wait)) = target.run(update()).await else {
        panic!("a retry")
    };
    assert_eq!(
        (refusal.code.as_str(), wait),
        ("http-429", Some(Duration::from_secs(7)))
    );
    for (fault, expected) in [
        (Fault::html(200), ("halt", "html-answer".to_owned())),
        (Fault::html(404), ("halt", "html-answer".to_owned())),
        (Fault::status(403), ("reject", "http-403".to_owned())),
        (Fault::status(503), ("retry", "http-503".to_owned())),
    ] {
        sim.plan_fault(fault, FaultScope::Writes, 1);
        assert_eq!(code(target.run(update()).await), expected);
    }
    sim.plan_fault(Fault::html(200), FaultScope::Every, 3);
    let Err(Failure::Halt(refusal)) = target.run(Operation::Check).await else {
        panic!("a halt")
    };
    assert!(
        refusal.reason.contains("not a SCIM endpoint; check baseUrl"),
        "{refusal}"
    );
    assert!(refusal.reason.contains(sim.base_url()), "{refusal}");
}

#[tokio::test]
async fn a_rotated_token_is_taken_and_a_wrong_one_is_not_tried_twice() {
    let sim = sim(|_| {}).await;
    let target = target(&sim);
    target.create(&person("005A", "ada")).await;
    sim.set_bearer_token(Some("next-token"));
    sim.reset_log();
    assert_eq!(
        code(target.run(create("005B", "bob")).await),
        ("halt", "http-401".to_owned())
    );
    assert_eq!(sim.requests().len(), 1, "the same secret is not sent again");
    target.rotate_token("next-token");
    let (result, trace) = target.traced(create("005B", "bob")).await;
    assert!(matches!(result, Ok(Reply::Written { .. })), "{result:?}");
    assert_eq!((trace.requests, trace.writes), (2, 2));
    assert_eq!(sim.created_count_by_external_id()["005B"], 1);
}

#[tokio::test]
async fn nothing_is_written_without_a_lease_and_nothing_outlives_it() {
    let sim = sim(|_| {}).await;
    let mut target = target(&sim);
    target.create(&person("005Z", "zoe")).await;
    sim.reset_log();
    target.lease = Lease::new(LeaseTerms {
        start_within: Duration::from_millis(100),
        end_within: Duration::from_millis(300),
    });
    assert_eq!(
        code(target.run(create("005A", "ada")).await),
        ("retry", "lease-expired".to_owned())
    );
    target.lease.committed(now() - Duration::from_secs(1));
    assert_eq!(
        code(target.run(create("005A", "ada")).await),
        ("retry", "lease-expired".to_owned())
    );
    assert!(sim.requests().is_empty());
    assert_eq!(target.find("005Z", &[]).await.len(), 1, "reading needs no lease");

    sim.plan_fault(Fault::Hang { execute: false }, FaultScope::Writes, 1);
    let begun = now();
    target.lease.committed(begun);
    let (result, trace) = target.traced(create("005A", "ada")).await;
    assert_eq!(code(result), ("retry", "timeout".to_owned()));
    assert_eq!(trace.writes, 1);
    let write = sim.writes().pop().unwrap();
    assert!(write.started.duration_since(begun) < Duration::from_millis(300));
    assert!(
        now().duration_since(begun) < Duration::from_secs(5),
        "the lease ended it, not the time limit of ten seconds"
    );
}

#[tokio::test]
async fn a_filter_that_is_not_there_costs_one_listing() {
    let sim = sim(|behaviour| behaviour.filter_supported = false).await;
    let target = target(&sim);
    for number in 0..30 {
        sim.seed_user(json!({"userName": format!("user{number}"), "externalId": format!("x{number}")}));
    }
    for number in [3, 17, 29] {
        assert_eq!(target.find(&format!("x{number}"), &[]).await.len(), 1);
    }
    assert!(target.find("x99", &[]).await.is_empty());
    let lists = sim
        .requests()
        .iter()
        .filter(|request| request.path == "/Users" && request.query == "count=100")
        .count();
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn filters_are_proven_once_per_target() {
    let sim = sim(|_| {}).await;
    let target = target(&sim);
    for number in 0..150 {
        let email = json!([{"type": "work", "value": format!("user{number}@acme.com")}]);
        let key = format!("x{number}");
        sim.seed_user(json!({"userName": format!("user{number}"), "externalId": key, "emails": email}));
    }
    let nobody = || find("x999", &[("userName", "nobody"), (WORK, "nobody@acme.com")]);
    let (result, first) = target.traced(nobody()).await;
    assert_eq!(result, Ok(Reply::Found(Vec::new())));
    assert_eq!(first.requests, 7, "three filters, one page, three proofs");
    let (result, second) = target.traced(nobody()).await;
    assert_eq!(result, Ok(Reply::Found(Vec::new())));
    assert_eq!(second.requests, 3);
    assert_eq!(target.find("x999", &[("userName", "USER149")]).await.len(), 1);
}

#[tokio::test]
async fn several_accounts_with_one_address_are_all_found() {
    let sim = sim(|_| {}).await;
    let target = target(&sim);
    for name in ["ada", "ada2"] {
        let email = json!([{"type": "work", "value": "Ada+x@acme.com"}]);
        sim.seed_user(json!({"userName": name, "emails": email}));
    }
    let found = target
        .find("", &[("userName", "nobody"), (WORK, "ada+x@ACME.com")])
        .await;
    assert_eq!(found.len(), 2);
    let trusting = ScimConfig {
        filter: FilterMode::Trusted,
        ..ScimConfig::default()
    };
    let trusting = Target::new(sim.base_url(), Some(TOKEN), trusting);
    assert_eq!(trusting.traced(find("", &[("userName", "nobody")])).await.1.requests, 1);
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[expect(clippy::disallowed_methods, reason = "the runtime of the test ends the server")]
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/scim/v2/")
}

#[tokio::test]
async fn redirects_are_refused_and_nothing_is_sent_elsewhere() {
    let elsewhere = sim(|_| {}).await;
    let to = format!("{}/Users", elsewhere.base_url());
    let redirecting = serve(Router::new().fallback(move || async move { Redirect::temporary(&to) })).await;
    let target = Target::new(&redirecting, Some(TOKEN), ScimConfig::default());
    for operation in [Operation::Check, create("005A", "ada"), find("005A", &[])] {
        let Err(Failure::Halt(refusal)) = target.run(operation).await else {
            panic!("a halt")
        };
        assert_eq!(refusal.code, "redirect");
        assert!(refusal.reason.contains(elsewhere.base_url()), "{refusal}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn an_answer_has_a_size_and_a_dead_target_is_named() {
    let huge = serve(Router::new().fallback(|| async { (StatusCode::OK, vec![b' '; 100_000]) })).await;
    let mut http = HttpConfig::new(&huge);
    http.max_body_bytes = 50_000;
    let mut target = Target::new(&huge, None, ScimConfig::default());
    target.sender = HttpSender::new(http).unwrap();
    assert_eq!(
        code(target.run(find("x", &[])).await),
        ("retry", "answer-too-large".to_owned())
    );

    let sim = sim(|_| {}).await;
    let (gone, dead) = (self::target(&sim), sim.base_url().to_owned());
    sim.stop().await;
    let Err(Failure::Retry(refusal, None)) = gone.run(find("ada@acme.com", &[])).await else {
        panic!("a retry")
    };
    assert_eq!(refusal.code, "connect");
    assert!(
        refusal.reason.contains("Connection refused") && refusal.reason.contains(&dead),
        "{refusal}"
    );
    assert!(!refusal.reason.contains("ada"), "{refusal}");
}

#[tokio::test]
async fn what_speaks_no_tls_stops_the_target_before_anything_is_sent() {
    let sim = sim(|_| {}).await;
    let https = sim.base_url().replace("http://", "https://");
    let target = Target::new(&https, Some(TOKEN), ScimConfig::default());
    let Err(Failure::Halt(refusal)) = target.run(create("005A", "ada")).await else {
        panic!("a halt")
    };
    assert_eq!(refusal.code, "tls");
    assert!(refusal.reason.contains("caFile"), "{refusal}");
    assert!(sim.requests().is_empty());
}

#[tokio::test]
async fn groups_live_at_awkward_servers() {
    type Change = fn(&mut Behaviour);
    let awkward: [(&str, Change); 5] = [
        ("plain", |_| {}),
        ("twice", |behaviour| behaviour.member_twice_conflicts = true),
        ("by value", |behaviour| behaviour.members_removed_by_value_only = true),
        ("no put", |behaviour| behaviour.group_put_refused = true),
        ("no filter", |behaviour| {
            (behaviour.filter_supported, behaviour.page_size_max) = (false, 1)
        }),
    ];
    for (tag, change) in awkward {
        println!("{tag}");
        let sim = sim(change).await;
        live_groups(&target(&sim), tag).await;
    }
    let sim = sim(|behaviour| behaviour.patch_supported = false).await;
    live_groups(&target(&sim), "put").await;
    // Without PATCH and without showing members nothing is written at all.
    let group = sim.seed_group(json!({"displayName": "Ours", "members": [{"value": "user-00000001"}]}));
    sim.set_behaviour(|behaviour| behaviour.hide_members = true);
    let before = sim.write_count();
    let change = Operation::ChangeMembers {
        id: apply_service::logic::account::RemoteId(group.clone()),
        add: vec![apply_service::logic::account::RemoteId("user-00000002".to_owned())],
        remove: vec![],
        known: 1,
    };
    let knowing = target(&sim);
    knowing.check().await;
    assert_eq!(code(knowing.run(change).await), ("reject", "members-hidden".to_owned()));
    assert_eq!(sim.write_count(), before);
    sim.remove_group(&group);
    let gone = Operation::ReadGroup(apply_service::logic::account::RemoteId(group));
    assert_eq!(knowing.run(gone).await, Ok(Reply::Absent));
}

#[tokio::test]
async fn ten_thousand_members_go_over_the_wire_in_bounded_requests() {
    let sim = sim(|behaviour| behaviour.members_per_patch_max = 100).await;
    let target = target(&sim);
    let group = apply_service::logic::account::RemoteId(sim.seed_group(json!({"displayName": "All"})));
    let ids: Vec<_> = (0..10_000)
        .map(|n| apply_service::logic::account::RemoteId(format!("u{n}")))
        .collect();
    let change = |add: &[apply_service::logic::account::RemoteId]| Operation::ChangeMembers {
        id: group.clone(),
        add: add.to_vec(),
        remove: vec![],
        known: 0,
    };
    // What is too much at once is refused as a whole, with the code by which the lane halves it.
    assert_eq!(
        code(target.run(change(&ids[..101])).await),
        ("reject", "http-413".to_owned())
    );
    for part in ids.chunks(100) {
        assert_eq!(target.run(change(part)).await, Ok(Reply::Changed));
    }
    let Ok(Reply::Members(Some(members))) = target.run(Operation::ReadGroup(group.clone())).await else {
        panic!("no members");
    };
    assert_eq!(members, ids);
}
