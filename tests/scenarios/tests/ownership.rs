//! Two apply processes and three targets: each target has one owner, owners move when one is killed, no write overlaps.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;

use salesforce_sim::SimConfig;
use scenarios::{Scene, Service, TargetSpec, eventually, eventually_none, recording_target};
use serde_json::json;

const TARGETS: [&str; 3] = ["academy", "helpdesk", "calls"];

/// Which of these services runs which targets.
async fn owners(services: &[&Service]) -> BTreeMap<&'static str, Vec<String>> {
    let mut owners: BTreeMap<&'static str, Vec<String>> =
        TARGETS.into_iter().map(|target| (target, Vec::new())).collect();
    for service in services {
        let status = service.status().await;
        for (target, owners) in &mut owners {
            if status["targets"][*target]["state"] == json!("active") {
                owners.push(service.process.name().to_owned());
            }
        }
    }
    owners
}

async fn each_has_one_owner(services: &[&Service]) -> BTreeMap<&'static str, Vec<String>> {
    eventually("each target has one owner", || async {
        let owners = owners(services).await;
        if owners.values().all(|owners| owners.len() == 1) {
            Ok(owners)
        } else {
            Err(format!("{owners:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_has_one_owner_and_moves_when_its_owner_dies() {
    let scene = Scene::set(SimConfig {
        users: 150,
        seed: 41,
        ..SimConfig::default()
    })
    .await;
    let sims = [
        recording_target().await,
        recording_target().await,
        recording_target().await,
    ];
    let specs: Vec<TargetSpec<'_>> = TARGETS
        .iter()
        .zip(&sims)
        .map(|(name, sim)| TargetSpec {
            name,
            base_url: sim.base_url(),
            policy: json!({ "pace": { "perSecond": 500, "concurrency": 8 } }),
        })
        .collect();
    scene.policy(&specs);
    let ingest = scene.ingest("ingest", &json!({})).await;
    let one = scene.apply("one").await;
    let two = scene.apply("two").await;
    each_has_one_owner(&[&one, &two]).await;
    let all_equal = || async {
        sims.iter()
            .flat_map(|sim| scene.differences(&sim.users()))
            .collect::<Vec<_>>()
    };
    eventually_none("the first sync of all three", all_equal).await;
    // Writers change over while people change.
    let org = scene.org();
    let own = [org.admin_id(), org.integration_user_id()];
    let people: Vec<String> = scene
        .members()
        .into_iter()
        .map(|user| user.id)
        .filter(|id| !own.contains(id))
        .collect();
    let edit = |round: usize| {
        for (number, id) in people.iter().enumerate() {
            org.update_user(
                id,
                json!({ "Title": format!("Round {round} {number}"), "IsActive": !(number + round).is_multiple_of(9) }),
            )
            .unwrap();
        }
    };
    edit(1);
    let before = each_has_one_owner(&[&one, &two]).await;
    one.process.sigkill();
    edit(2);
    let after = each_has_one_owner(&[&two]).await;
    assert!(
        after.values().all(|owners| owners == &["two".to_owned()]),
        "before {before:?}, after {after:?}"
    );
    eventually_none("all three equal the org", all_equal).await;

    // Another joins, and the targets that it gets are handed over in order.
    let three = scene.apply("three").await;
    edit(3);
    eventually("the newcomer owns something", || async {
        let owners = owners(&[&two, &three]).await;
        let has = owners.values().any(|owners| owners == &["three".to_owned()]);
        if has && owners.values().all(|owners| owners.len() == 1) {
            Ok(())
        } else {
            Err(format!("{owners:?}"))
        }
    })
    .await;
    eventually_none("all three equal the org once more", all_equal).await;
    for sim in &sims {
        assert_eq!(sim.max_writes_in_flight_per_user(), 1, "no write overlaps");
        assert!(
            sim.created_count_by_external_id().values().all(|count| *count == 1),
            "nobody was created twice"
        );
    }
    two.stop().await;
    three.stop().await;
    ingest.stop().await;
}
