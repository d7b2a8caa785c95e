//! Exactly once into Kafka, whatever happens to the broker, to the leader, and to what is agreed between them: versions
//! rise by one, and the position was never ahead of messages and debts.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::time::Duration;

use salesforce_sim::{Sim, SimConfig};
use scenarios::{EndTxn, History, KafkaProxy, PATIENCE, Scene, Service, eventually, eventually_none};
use serde_json::{Value, json};

async fn scene(seed: u64) -> (Scene, Vec<String>) {
    // A session of the org ends while nobody uses it: in every outage, and when the org's clock is set.
    let scene = Scene::set(SimConfig {
        users: 60,
        seed,
        session_timeout: Duration::from_secs(20),
        ..SimConfig::default()
    })
    .await;
    let people = scene.people().into_iter().map(|user| user.id).collect();
    (scene, people)
}

/// Only the stream may deliver: the routine look-back is as good as off.
fn stream_alone() -> Value {
    json!({ "recheck": { "every": "10h" } })
}

async fn says(service: &Service, mark: usize, part: &str) {
    let line = |line: &str| line.contains(part);
    service.process.wait_for_line_after(mark, line, PATIENCE).await;
}

/// Ends a scene: nothing doubled, nothing passed over.
async fn assert_exactly_once(scene: &Scene, history: &History) {
    eventually_none("every edit is on the topic", || history.missing(scene)).await;
    assert!(history.assert_position_was_never_ahead(scene).await > 1);
    scene.assert_versions_rise_by_one().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_unknown_result_and_a_broker_that_restarts_in_the_middle_of_one_double_nothing() {
    let (scene, people) = scene(81).await;
    let proxy = KafkaProxy::start(scene.kafka.bootstrap()).await;
    let change = json!({ "recheck": { "every": "10h" }, "kafka": { "bootstrapServers": proxy.bootstrap() } });
    let ingest = scene.ingest("ingest", &change).await;
    ingest.settled().await;
    // Events are merged from here on, because they are plainly newer than what was read.
    scene.org().set_clock_skew_ms(300_000);
    let mut history = History::begin(&scene);
    let again = "leadership is started again from the topics";

    // Committed, and nobody tells: the client gives up, the next leadership finds it on the topic.
    let mark = ingest.process.output().mark();
    proxy.end_txn(EndTxn::LoseAnswers);
    history.edit(&scene, &people[0]);
    eventually_none("committed although the answer is lost", || history.missing(&scene)).await;
    says(&ingest, mark, again).await;
    assert!(proxy.caught() > 0);
    proxy.end_txn(EndTxn::Pass);
    history.edit(&scene, &people[0]);
    eventually_none("after the lost answer", || history.missing(&scene)).await;

    // Written, and the broker restarts before the commit reaches it: the open transaction is settled, the events come again.
    let caught = proxy.caught();
    proxy.end_txn(EndTxn::Hold);
    people[..5].iter().for_each(|person| drop(history.edit(&scene, person)));
    eventually("a commit is held up", || async {
        if proxy.caught() > caught {
            Ok(())
        } else {
            Err("none yet".to_owned())
        }
    })
    .await;
    assert_eq!(
        history.missing(&scene).await.len(),
        5,
        "an open transaction is not to be seen"
    );
    if scene.kafka.restart().await.is_ok() {
        people[5..8]
            .iter()
            .for_each(|person| drop(history.edit(&scene, person)));
    }
    proxy.end_txn(EndTxn::Pass);
    eventually_none("after the restart", || history.missing(&scene)).await;

    assert_exactly_once(&scene, &history).await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_every_time_out_and_leaders_killed_and_frozen_lose_nothing() {
    let (scene, people) = scene(82).await;
    let first = scene.ingest("first", &stream_alone()).await;
    first.settled().await;
    scene.org().set_clock_skew_ms(300_000);
    let mut history = History::begin(&scene);
    let person = |number: usize| people[number % people.len()].as_str();

    // The client gives up a session after 6 s, a message after 10 s, a transaction after 15 s. A longer outage is more of
    // the same; `USHER_OUTAGE_SECONDS=600` shows it.
    let outage = std::env::var("USHER_OUTAGE_SECONDS").map_or(40, |seconds| seconds.parse().expect("whole seconds"));
    let mark = first.process.output().mark();
    if let Some(frozen) = scene.freeze_broker() {
        (0..20).for_each(|number| drop(history.edit(&scene, person(number))));
        let began = std::time::Instant::now();
        says(&first, mark, "leadership handed back").await;
        (0..20).for_each(|number| drop(history.edit(&scene, person(number))));
        tokio::time::sleep(Duration::from_secs(outage).saturating_sub(began.elapsed())).await;
        let tries = first.process.output().lines()[mark..]
            .iter()
            .filter(|said| said.contains("the topics cannot be read"))
            .count();
        assert!(tries > 1, "{tries} tries in {outage} s");
        assert!(!first.ready().await, "a service without its broker is not ready");
        drop(frozen);
    }
    eventually_none("after the outage", || history.missing(&scene)).await;
    let log_ins = first.process.output().lines()[mark..]
        .iter()
        .filter(|said| said.contains("logged in to Salesforce"))
        .count();
    assert!(log_ins > 0, "the session ended while the broker was away");

    // Killed, and frozen beyond its session, in the middle of edits.
    let second = scene.ingest("second", &stream_alone()).await;
    eventually("the second stands by", || async {
        if second.ready().await {
            Ok(())
        } else {
            Err("not ready".to_owned())
        }
    })
    .await;
    for number in 0..300 {
        history.edit(&scene, person(number));
        if number == 150 {
            first.process.sigkill();
        }
    }
    eventually_none("after the kill", || history.missing(&scene)).await;
    let third = scene.ingest("third", &stream_alone()).await;
    for number in 0..300 {
        history.edit(&scene, person(number));
        if number == 150 {
            second.process.sigstop();
        }
    }
    eventually_none("after the freeze", || history.missing(&scene)).await;
    second.process.sigcont();
    (0..50).for_each(|number| drop(history.edit(&scene, person(number))));
    eventually("the woken one stands by", || async {
        let status = second.status().await;
        if status["role"] == json!("standby") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert_exactly_once(&scene, &history).await;
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_mix_up_keys_orgs_or_formats_is_refused_with_the_way_out() {
    let (mut scene, people) = scene(83).await;
    let user_change = scene.topic("user-change");
    // The client notices new partitions at once.
    let quick = json!({ "recheck": { "every": "10h" }, "salesforce": { "orgId": null },
        "kafka": { "properties": { "topic.metadata.refresh.interval.ms": "200" } } });
    let ingest = scene.ingest("ingest", &quick).await;
    ingest.settled().await;
    let partition_of = async |person: &str| {
        let records = scene.user_changes().await;
        let of_person = |record: &&kafka_harness::Record| record.key_text().ends_with(person);
        let partitions: Vec<i32> = records
            .iter()
            .filter(of_person)
            .map(|record| record.partition)
            .collect();
        (partitions.len(), partitions.windows(2).all(|pair| pair[0] == pair[1]))
    };

    // Partitions are added while a leader writes: keys stay where they are. The next start is refused, by run and check.
    scene.kafka.add_partitions(&user_change, 17).await;
    let mut history = History::begin(&scene);
    for round in 0..3 {
        people.iter().for_each(|person| drop(history.edit(&scene, person)));
        eventually_none(&format!("round {round}"), || history.missing(&scene)).await;
    }
    for person in &people {
        let (messages, together) = partition_of(person).await;
        assert!(messages >= 4 && together, "{person} has changed its partition");
    }
    assert_exactly_once(&scene, &history).await;
    ingest.stop().await;
    let config = scene.ingest_config(&quick);
    for command in ["check", "run"] {
        let arguments = [command, "--config", config.to_str().unwrap()];
        let (code, said) = scene.command("ingest-service", &arguments).await;
        assert_ne!(code, 0, "{said}");
        for part in ["17 partitions", "12", "export, recreate"] {
            assert!(said.contains(part), "{command} does not say {part:?}:\n{said}");
        }
    }

    // A refreshed sandbox: the same address, another org.
    scene.prefix = format!("{}.", scene.kafka.unique_prefix());
    let ingest = scene.ingest("before-refresh", &quick).await;
    ingest.settled().await;
    let old_org = scene.sim.org_id();
    let address = |url: &str| url.rsplit("//").next().unwrap().parse().unwrap();
    let (http, grpc) = (address(scene.sim.http_url()), address(scene.sim.grpc_url()));
    let elsewhere = Sim::start(SimConfig {
        users: 1,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    std::mem::replace(&mut scene.sim, elsewhere).shutdown().await;
    let refreshed = SimConfig {
        http,
        grpc,
        users: 60,
        seed: 84,
        keepalive: Duration::from_secs(2),
        ..SimConfig::default()
    };
    scene.sim = Sim::start(refreshed).await.unwrap();
    assert_ne!(scene.sim.org_id(), old_org);
    ingest.stop().await;
    std::fs::write(scene.path("client-secret"), scene.sim.client_secret()).unwrap();
    let before = scene.user_changes().await.len();
    let ingest = scene.ingest("after-refresh", &quick).await;
    let refused = async |ingest: &Service, parts: &[&str]| {
        eventually("the refusal", || async {
            let problems = ingest.status().await["problems"].to_string();
            if parts.iter().all(|part| problems.contains(part)) && !ingest.ready().await {
                Ok(())
            } else {
                Err(problems)
            }
        })
        .await;
    };
    refused(
        &ingest,
        &[&old_org, &scene.sim.org_id(), "kafka.prefix", "salesforce.orgId"],
    )
    .await;
    assert_eq!(scene.user_changes().await.len(), before, "nothing was written");
    ingest.stop().await;

    // On purpose both may be here; and a position that a newer version wrote is not led from.
    let on_purpose = json!({ "recheck": { "every": "10h" } });
    let ingest = scene.ingest("on-purpose", &on_purpose).await;
    ingest.settled().await;
    assert!(scene.user_changes().await.len() > before);
    ingest.stop().await;
    let position = format!("{}/position//data/UserChangeEvent", scene.sim.org_id());
    let checkpoint = scene.topic("user-change.checkpoint");
    scene
        .kafka
        .produce(&checkpoint, &position, Some(br#"{"format":99}"#), &[])
        .await;
    let ingest = scene.ingest("older", &on_purpose).await;
    refused(&ingest, &["format 99", "start a newer version"]).await;
    ingest.stop().await;
}
