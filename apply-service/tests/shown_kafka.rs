//! What the service says about its targets: readiness, status, metrics and outcomes of one that does not work and of one
//! that left the policy folder.

mod installation;

use installation::{Installation, account, person, until, until_said};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use target_sims::{Fault, FaultScope};
use usher_contract::{Known, UserChange};

/// A change that was committed at the source so many seconds ago.
fn titled(n: u32, version: u64, seconds_ago: i64) -> UserChange {
    let mut change = person(n, version);
    change.user.title = Known::Value(format!("T{version}"));
    #[expect(clippy::disallowed_methods, reason = "what is measured is the time until now")]
    let now = Timestamp::now();
    change.cause.committed_at = now.checked_sub(SignedDuration::from_secs(seconds_ago)).ok();
    change
}

async fn outcomes(installation: &Installation, action: &str) -> Vec<Value> {
    let topic = format!("{}provisioning.outcome", installation.prefix);
    let records = installation.kafka.read_committed(&topic).await;
    let all = records.iter().map(kafka_harness::Record::json);
    all.filter(|outcome| outcome["action"] == action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_work_is_said_everywhere_and_the_service_stays_ready() {
    let installation = Installation::with_targets(&["helpdesk", "academy"]).await;
    let (sick, well) = (installation.sim("helpdesk"), installation.sim("academy"));
    let service = installation.start().await;
    for n in 1..=3 {
        installation.publish(&person(n, 1)).await;
    }
    let rests = |names: &[&str]| names.iter().all(|name| service.rests(name));
    until("both have everybody", || {
        sick.user_count() == 3 && well.user_count() == 3 && rests(&["helpdesk", "academy"])
    })
    .await;
    let metric = |name: &str, target: &str| {
        let name = format!("{name}{{target=\"{target}\"}}");
        let service = &service;
        async move { service.metric(&name).await.unwrap_or(-1.0) }
    };
    // Of those people nobody knows when the source has committed them.
    assert!(metric("apply_freshness_seconds_count", "helpdesk").await <= 0.0);

    sick.plan_fault(Fault::status(401), FaultScope::Every, usize::MAX);
    for n in 1..=3 {
        installation.publish(&titled(n, 2, 100)).await;
    }
    let lane = |name: &str| service.target(name).and_then(|target| target.lane).expect("it runs");
    until("the circuit is open, and the other target goes on", || {
        lane("helpdesk")
            .circuit
            .is_some_and(|circuit| circuit.code == "http-401")
            && (1..=3).all(|n| account(well, n).is_some_and(|a| a["title"] == "T2"))
            && service.rests("academy")
    })
    .await;
    // For as long as it lasts: also when the oldest has waited for some time.
    until_said("the oldest has waited for some time", async || {
        let (ready, said) = service.get("/readyz").await;
        assert_eq!(ready, 200, "one sick target must not restart the process: {said}");
        metric("apply_oldest_pending_seconds", "helpdesk").await >= 2.0
    })
    .await;
    for (name, of_sick, of_well) in [
        ("apply_pending", 3.0, 0.0),
        ("apply_circuit_open", 1.0, 0.0),
        ("apply_target_owned", 1.0, 1.0),
    ] {
        let found = (metric(name, "helpdesk").await, metric(name, "academy").await);
        assert_eq!(found, (of_sick, of_well), "{name}");
    }
    let (_, status) = service.get("/v1/status").await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let helpdesk = &status["targets"]["helpdesk"];
    assert_eq!(helpdesk["lane"]["circuit"]["code"], "http-401", "{helpdesk}");
    assert_eq!(
        (&helpdesk["state"], &helpdesk["mode"]),
        (&"active".into(), &"enforce".into())
    );
    let alarms = helpdesk["alarms"].to_string();
    assert!(alarms.contains("the target does not work since"), "{alarms}");
    assert!(status["targets"]["academy"]["alarms"].is_null(), "{status}");
    let halts = outcomes(&installation, "halt").await;
    assert_eq!(halts.len(), 1, "said once: {halts:?}");
    assert_eq!(
        (&halts[0]["target"], &halts[0]["result"], &halts[0]["errorCode"]),
        (&"helpdesk".into(), &"halted".into(), &"http-401".into())
    );
    assert!(outcomes(&installation, "resume").await.is_empty());

    // It works again: nobody has to do anything.
    sick.clear_faults();
    until("what waited is done", || {
        (1..=3).all(|n| account(sick, n).is_some_and(|a| a["title"] == "T2")) && service.rests("helpdesk")
    })
    .await;
    let resumed = outcomes(&installation, "resume").await;
    assert_eq!(resumed.len(), 1, "{resumed:?}");
    // The status is renewed some times a second.
    until_said("nothing is open and nobody waits", async || {
        metric("apply_circuit_open", "helpdesk").await == 0.0 && metric("apply_pending", "helpdesk").await == 0.0
    })
    .await;
    assert_eq!(metric("apply_oldest_pending_seconds", "helpdesk").await, 0.0);
    // From the commit at the source to the confirmed write: three that waited, with the time before they came.
    for target in ["helpdesk", "academy"] {
        let (count, sum) = (
            metric("apply_freshness_seconds_count", target).await,
            metric("apply_freshness_seconds_sum", target).await,
        );
        assert_eq!(count, 3.0, "{target}");
        assert!((300.0..600.0).contains(&sum), "{target}: {sum}");
    }
    assert!(
        metric("apply_freshness_seconds_sum", "helpdesk").await
            > metric("apply_freshness_seconds_sum", "academy").await + 3.0
    );
    assert!(metric("apply_last_success_timestamp_seconds", "helpdesk").await > 1_700_000_000.0);
    let (_, status) = service.get("/v1/status").await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let freshness = &status["targets"]["helpdesk"]["freshness"];
    assert_eq!(freshness["writes"], 3, "{freshness}");
    assert_eq!(
        (&freshness["within"]["60"], &freshness["within"]["300"]),
        (&0.into(), &3.into()),
        "{freshness}"
    );
    service.stop().await;

    // Another process reads back what is known, and says how far it is; nobody has to ask for the status.
    let again = installation.start().await;
    until("it is active", || again.is_active("helpdesk")).await;
    let restored = again.metric("apply_restored_records{target=\"helpdesk\"}").await;
    assert!(restored.is_some_and(|records| records >= 3.0), "{restored:?}");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_left_the_folder_is_left_alone_and_said_and_goes_on_where_it_was() {
    let installation = Installation::with_targets(&["helpdesk", "academy"]).await;
    let (stays, leaves) = (installation.sim("helpdesk"), installation.sim("academy"));
    let service = installation.start().await;
    for n in 1..=3 {
        installation.publish(&person(n, 1)).await;
    }
    until("both have everybody", || {
        stays.user_count() == 3 && leaves.user_count() == 3 && service.rests("helpdesk") && service.rests("academy")
    })
    .await;
    service.stop().await;

    let (file, aside) = (
        installation.policy.path().join("academy.yaml"),
        installation.policy.path().join("academy.yaml.taken-out"),
    );
    std::fs::rename(&file, &aside).expect("the file");
    leaves.reset_log();
    let service = installation.start().await;
    let mut gone = person(1, 2);
    gone.user.active = Known::Value(false);
    installation.publish(&gone).await;
    until("the leaver is out where the target still is", || {
        account(stays, 1).is_some_and(|a| a["active"] == false) && service.rests("helpdesk")
    })
    .await;
    until("it is said", || !service.status.snapshot().removed.is_empty()).await;
    let (_, status) = service.get("/v1/status").await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let words = status["removed"]["academy"].as_str().unwrap_or_default();
    assert!(
        words.contains("not in the policy folder since") && words.contains("its accounts and links stay as they are"),
        "{status}"
    );
    assert!(status["targets"]["academy"].is_null(), "{status}");
    assert_eq!(leaves.requests().len(), 0, "nothing is asked of it");
    assert!((1..=3).all(|n| account(leaves, n).is_some_and(|a| a["active"] == true)));
    service.stop().await;

    // Back in the folder: the links are there, so nobody is looked for, and only what was missed is written.
    std::fs::rename(&aside, &file).expect("the file");
    let service = installation.start().await;
    until("the leaver is out there as well", || {
        account(leaves, 1).is_some_and(|a| a["active"] == false) && service.rests("academy")
    })
    .await;
    assert_eq!((leaves.write_count(), leaves.user_count()), (1, 3));
    let lists = leaves.requests();
    let lists = lists.iter().filter(|request| request.query.contains("filter"));
    assert_eq!(lists.count(), 0, "nobody is looked up");
    assert!(service.status.snapshot().removed.is_empty());
    service.stop().await;
}
