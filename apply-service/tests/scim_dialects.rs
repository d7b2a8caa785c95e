//! The dialects against simulated servers that keep the vendors' rules: a whole life of an account at each.
#![allow(clippy::unwrap_used)]

mod scim_support;

use std::path::PathBuf;

use apply_service::{
    connector::scim::{ScimConfig, config::PatchMode},
    policy::{self, Dialect, dialects::DIALECTS},
};
use scim_support::{Target, Ways, life};
use target_sims::{
    Behaviour, Rules, ScimSim, ScimSimConfig,
    rules::{Deactivate, Delete},
};

const TOKEN: &str = "s3cret-token";

async fn sim(rules: Rules) -> ScimSim {
    ScimSim::start(ScimSimConfig {
        bearer_token: Some(TOKEN.to_owned()),
        behaviour: Behaviour::of_rules(rules),
        ..ScimSimConfig::default()
    })
    .await
}

/// The settings of a target whose file says nothing but the dialect, as the service would load them.
fn settings(dialect: &str) -> ScimConfig {
    let text = format!(
        "target: t\npreset: scim\nmode: observe\nsources: [00D000000000001EAA]\nscope: {{ filter: all }}\nconnection:\n  baseUrl: https://example.com/scim/v2\n  auth: \
         {{ bearerTokenFile: /token }}\n  scim: {{ dialect: {dialect} }}\n"
    );
    let policy = policy::from_texts(&[(PathBuf::from("t.yaml"), text)]).unwrap();
    let target = policy.targets.into_values().next().unwrap();
    match target.connection.dialect {
        Dialect::Scim(config) => *config,
        Dialect::Rest(_) | Dialect::Roster(_) => panic!("SCIM"),
    }
}

fn ways(rules: &Rules) -> Ways {
    Ways {
        off_is_gone: matches!(rules.deactivate, Deactivate::Removes | Deactivate::Hides),
        delete_keeps: rules.delete == Delete::Deactivates,
        keyless: rules.forgets_external_id,
    }
}

#[test]
fn every_dialect_has_a_server_and_every_server_a_dialect() {
    let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
    assert_eq!(Rules::vendors().collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn an_account_lives_its_whole_life_at_every_vendor() {
    for vendor in Rules::vendors() {
        for check in [true, false] {
            // Shown by the test runner when the test fails.
            println!("{vendor}, discovery {check}");
            let rules = Rules::of(vendor);
            let (sim, ways) = (sim(rules.clone()).await, ways(&rules));
            let target = Target::new(sim.base_url(), Some(TOKEN), settings(vendor));
            if check {
                target.check().await;
            }
            life(&target, ways, "ada").await;
            life(&target, ways, "Grace.Hopper").await;
        }
    }
}

#[tokio::test]
async fn what_is_unconfirmed_of_a_vendor_works_both_ways() {
    let atlassian = Rules {
        deactivate: Deactivate::Keeps,
        ..Rules::of("atlassian")
    };
    let aws = Rules {
        filter_by: Vec::new(),
        ..Rules::of("aws-identity-center")
    };
    for (vendor, rules) in [("atlassian", atlassian), ("aws-identity-center", aws)] {
        let (sim, ways) = (sim(rules.clone()).await, ways(&rules));
        life(&Target::new(sim.base_url(), Some(TOKEN), settings(vendor)), ways, "ada").await;
    }
    let text = Rules {
        active: target_sims::rules::Active::Text,
        ..Rules::of("entra-style")
    };
    let sim = sim(text).await;
    let mut config = settings("entra-style");
    config.active_as_string = true;
    life(
        &Target::new(sim.base_url(), Some(TOKEN), config),
        Ways::default(),
        "ada",
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_filtered_by_is_not_asked_for() {
    let sim = sim(Rules::of("atlassian")).await;
    let target = Target::new(sim.base_url(), Some(TOKEN), settings("atlassian"));
    sim.seed_user(serde_json::json!({"userName": "ada", "externalId": "x"}));
    assert!(
        target
            .find("", &[(scim_support::WORK, "nobody@acme.com")])
            .await
            .is_empty()
    );
    let asked: Vec<String> = sim.requests().into_iter().map(|request| request.query).collect();
    assert!(asked.iter().all(|query| !query.contains("filter")), "{asked:?}");
}

#[tokio::test]
async fn a_leaver_is_off_before_anything_else_is_written() {
    let sim = sim(Rules::of("zoom")).await;
    let config = settings("zoom");
    assert_eq!(config.patch, PatchMode::Put);
    let target = Target::new(sim.base_url(), Some(TOKEN), config);
    let ada = target.create(&scim_support::person("005A", "ada")).await;
    sim.reset_log();
    target
        .update(
            &ada,
            &[
                ("title", serde_json::json!("left")),
                ("active", serde_json::json!(false)),
            ],
        )
        .await;
    let writes: Vec<String> = sim.writes().into_iter().map(|write| write.method).collect();
    assert_eq!(writes, ["PATCH", "PUT"]);
    let user = &sim.users()[0];
    assert_eq!((&user["active"], &user["title"]), (&false.into(), &"left".into()));
}
