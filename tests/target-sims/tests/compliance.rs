//! The SCIM simulator is no straw man: scim2-tester, a compliance check that others wrote, finds nothing against it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use kafka_harness::{VirtualEnv, repository_root};
use target_sims::{Behaviour, ScimSim, ScimSimConfig};

const TOKEN: &str = "s3cret";

/// The lines of a check against this behaviour.
async fn checked(behaviour: Behaviour) -> Vec<String> {
    let sim = ScimSim::start(ScimSimConfig {
        bearer_token: Some(TOKEN.to_owned()),
        behaviour,
        ..ScimSimConfig::default()
    })
    .await;
    let url = sim.base_url().to_owned();
    tokio::task::spawn_blocking(move || {
        let requirements: &Path = &repository_root().join("tests/kafka/scim2-cli-requirements.txt");
        let environment = VirtualEnv::for_requirements("scim2-cli", requirements);
        let output = Command::new(environment.program("scim2"))
            .args(["--url", &url, "test"])
            .env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {TOKEN}"))
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        text.lines().map(str::to_owned).collect()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn scim2_tester_finds_nothing_against_the_simulator() {
    let lines = checked(Behaviour::default()).await;
    let succeeded = lines.iter().filter(|line| line.starts_with("SUCCESS")).count();
    assert!(succeeded > 100, "{lines:#?}");
    let other: Vec<&String> = lines
        .iter()
        .filter(|line| {
            ["ERROR", "CRITICAL", "Traceback"]
                .iter()
                .any(|word| line.starts_with(word))
        })
        .collect();
    assert!(other.is_empty(), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scim2_tester_finds_a_server_that_forgets() {
    let lines = checked(Behaviour::of_rules(target_sims::Rules {
        forgets_external_id: true,
        ..target_sims::Rules::default()
    }))
    .await;
    assert!(lines.iter().any(|line| line.starts_with("ERROR")), "{lines:#?}");
}
