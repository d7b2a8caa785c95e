//! The whole service against a real Kafka and a recording SCIM application: messages in, accounts out.

mod installation;

use std::time::Duration;

use installation::{Installation, account, person, until};
use usher_contract::Known;

#[tokio::test(flavor = "multi_thread")]
async fn a_life_from_the_first_message_to_the_restart_with_nothing_to_do() {
    let installation = Installation::with_targets(&["helpdesk"]).await;
    let sim = installation.sim("helpdesk");
    // Somebody was made by hand before: adopted, not made twice.
    sim.seed_user(serde_json::json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "u3@acme.example", "active": true
    }));
    let service = installation.start().await;
    for n in 1..=20 {
        installation.publish(&person(n, 1)).await;
    }
    until("everybody has an account", || {
        sim.user_count() == 20 && service.rests("helpdesk")
    })
    .await;
    assert!(sim.created_count_by_external_id().values().all(|count| *count == 1));
    assert_eq!(account(sim, 3).expect("adopted")["name"]["familyName"], "O'Neil 3");

    let mut renamed = person(1, 2);
    renamed.user.username = Known::Value("zoe@acme.example".into());
    installation.publish(&renamed).await;
    let mut gone = person(2, 2);
    gone.user.active = Known::Value(false);
    installation.publish(&gone).await;
    until("both changes have arrived", || {
        account(sim, 1).is_some_and(|a| a["userName"] == "zoe@acme.example")
            && account(sim, 2).is_some_and(|a| a["active"] == false)
    })
    .await;
    installation.publish(&person(2, 3)).await;
    until("she is back", || account(sim, 2).is_some_and(|a| a["active"] == true)).await;

    // Nonsense on the topic is counted and the rest goes on.
    let topic = format!("{}user-change", installation.prefix);
    installation.kafka.produce(&topic, "nobody", Some(b"{"), &[]).await;
    installation.publish(&person(21, 1)).await;
    until("the next one is there", || account(sim, 21).is_some()).await;
    until("it rests", || service.rests("helpdesk")).await;
    let snapshot = service.status.snapshot();
    assert_eq!(snapshot.users.malformed, 1);
    assert!(snapshot.users.last_malformed.expect("a place").ends_with(": no-key"));

    let ready = reqwest::get(format!("http://{}/readyz", service.address))
        .await
        .expect("an answer");
    assert_eq!(ready.status(), 200);
    let metrics = reqwest::get(format!("http://{}/metrics", service.address))
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("a text");
    assert!(
        metrics.contains("apply_writes_total{action=\"create\",target=\"helpdesk\"} 20"),
        "{metrics}"
    );
    service.stop().await;

    sim.reset_log();
    let again = installation.start().await;
    until("it is active again, without waiting for a lease", || {
        again.is_active("helpdesk")
    })
    .await;
    until("it has planned everybody", || {
        again
            .target("helpdesk")
            .and_then(|t| t.lane)
            .is_some_and(|lane| lane.links == 21)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(sim.write_count(), 0);
    // The connection check alone: what the server is, and one account to see that the credentials are good.
    let asked: Vec<String> = sim.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        asked,
        ["/ServiceProviderConfig", "/Users"],
        "nothing to do, nothing asked"
    );
    again.stop().await;

    let outcomes = installation
        .kafka
        .read_committed(&format!("{}provisioning.outcome", installation.prefix))
        .await;
    let of = |action: &str| {
        outcomes
            .iter()
            .filter(|record| record.json()["action"] == action)
            .count()
    };
    assert_eq!(
        (
            of("create"),
            of("adopt"),
            of("deactivate"),
            of("reactivate"),
            of("first-sync")
        ),
        (20, 1, 1, 1, 1)
    );
    let links = installation
        .kafka
        .read_committed(&format!("{}provisioning.link", installation.prefix))
        .await;
    for record in outcomes.iter().chain(&links) {
        assert!(
            !record.json().to_string().contains("acme.example"),
            "personal data in {record:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_target_has_one_owner_and_moves_when_it_leaves_or_dies() {
    let names = ["alpha", "beta", "gamma"];
    let installation = Installation::with_targets(&names).await;
    let first = installation.start().await;
    until("the first owns all", || names.iter().all(|name| first.is_active(name))).await;
    let second = installation.start().await;
    for n in 1..=30 {
        installation.publish(&person(n, 1)).await;
    }
    let one_owner = || names.iter().all(|name| first.is_active(name) ^ second.is_active(name));
    until("every target has one owner", || {
        one_owner() && names.iter().all(|name| installation.sim(name).user_count() == 30)
    })
    .await;

    // One dies while there is work: the other waits out the lease and finishes.
    for n in 1..=30 {
        let mut change = person(n, 2);
        change.user.title = Known::Value("AE".into());
        installation.publish(&change).await;
    }
    first.kill().await;
    until("the other owns all", || names.iter().all(|name| second.is_active(name))).await;
    until("the work is done", || {
        names.iter().all(|name| {
            second.rests(name)
                && (1..=30).all(|n| account(installation.sim(name), n).is_some_and(|a| a["title"] == "AE"))
        })
    })
    .await;
    for name in names {
        let sim = installation.sim(name);
        assert!(
            sim.created_count_by_external_id().values().all(|count| *count == 1),
            "{name}"
        );
        assert_eq!(sim.user_count(), 30);
        assert!(sim.max_writes_in_flight_per_user() <= 1);
    }
    second.stop().await;
}
