//! A target gets another name (`formerly`), and whoever moves its links is killed at every step of it; there, back again, and
//! turned round half way.
//!
//! Afterwards everybody is linked once, under the name that the policy folder has, with the account they had. Nobody was looked
//! up and nothing written. Steps are not hit by luck: a proxy keeps the transaction, or its answer, until the kill.
//!
//! Mistakes that were made on purpose, and what found each:
//!
//! | Mistake | Found by |
//! |---|---|
//! | a link is removed under the former name in another transaction than it is written in | the first batch, in the commit |
//! | the record under the new name is written before the links | turned round: those who were moved stay behind |
//! | a move that is turned round finds no record of the new name and gives up | turned round: half of them are looked up |
//! | a record under a name that was given up counts as the newest | turned round once more: a pause is forgotten |
//! | commands are counted from the beginning under the old name | turned round: they are carried out again |
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;

use scenarios::{Api, KafkaProxy, Keep, Service, TargetSpec, eventually, stage::Stage};
use serde_json::{Value, json};
use target_sims::RequestRecord;

/// More than two batches of a move (`BATCH_LINKS` is 500).
const PEOPLE: u32 = 1_100;
const OLD: &str = "helpdesk";
const NEW: &str = "desk";

/// Where whoever moves the links is killed: which of its producers' requests is kept, the first being number 0.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: &'static str,
    /// Of the name that is given up.
    former: bool,
    api: Api,
    number: u64,
    keep: Keep,
}

const fn commit(what: &'static str, former: bool, number: u64, keep: Keep) -> Step {
    Step {
        what,
        former,
        api: Api::EndTxn,
        number,
        keep,
    }
}

/// Each goes on where the one before was killed. Transactions of the new name: the mark up to which is read, the batches that are
/// left, the record, the mark once more. Of the former name: the mark, and that it is renamed.
const STEPS: [Step; 9] = [
    Step {
        what: "fencing the former name",
        former: true,
        api: Api::InitProducerId,
        number: 0,
        keep: Keep::Request,
    },
    commit("marking the former name, in the commit", true, 1, Keep::Request),
    commit("marking the former name, committed", true, 1, Keep::Answer),
    commit("the first batch of three, in the commit", false, 1, Keep::Request),
    commit("the first batch of three, committed", false, 1, Keep::Answer),
    commit("the first batch of two, committed", false, 1, Keep::Answer),
    commit("the record, in the commit", false, 2, Keep::Request),
    commit("the record, committed", false, 1, Keep::Answer),
    commit("reading what was moved", false, 0, Keep::Request),
];

fn policy(formerly: Option<&str>) -> Value {
    let mut policy = json!({ "pace": { "perSecond": 2000, "concurrency": 16 } });
    if let Some(former) = formerly {
        policy["formerly"] = json!(former);
    }
    policy
}

/// The target is called this from now on.
fn call(stage: &Stage, name: &str, formerly: Option<&str>) {
    let _ = std::fs::remove_dir_all(stage.scene.path("policy"));
    stage.scene.policy(&[TargetSpec {
        name,
        base_url: stage.sim.base_url(),
        policy: policy(formerly),
    }]);
}

/// Everybody has an account, and the target was paused and resumed.
async fn people(stage: &Stage) -> Service {
    let service = stage.apply("first").await;
    let everybody: Vec<_> = (1..=PEOPLE).map(|n| (n, 1, true, Some("SDR"))).collect();
    stage.publish_all(&everybody).await;
    stage.rests(&service, u64::from(PEOPLE)).await;
    for verb in ["pause", "resume"] {
        let why = json!({ "reason": "rehearsal" });
        let (code, answer) = stage
            .send(&service, "POST", &format!("/v1/targets/{OLD}/{verb}"), why)
            .await;
        assert_eq!(code, 200, "{verb}: {answer}");
    }
    service
}

/// Names under which links are kept, with the account of each person.
async fn links(stage: &Stage) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut links: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for record in stage
        .scene
        .kafka
        .read_committed(&stage.scene.topic("provisioning.link"))
        .await
    {
        let (name, person) = record.key_text().split_once('/').unwrap();
        let of_name = links.entry(name.to_owned()).or_default();
        if person == "mark" {
        } else if record.value.is_some() {
            let account = record.json()["remoteId"].as_str().unwrap_or_default().to_owned();
            of_name.insert(person.to_owned(), account);
        } else {
            of_name.remove(person);
        }
    }
    links.retain(|_, people| !people.is_empty());
    links
}

/// How many outcomes say that an operator's command was carried out.
async fn commands_done(stage: &Stage) -> usize {
    let topic = stage.scene.topic("provisioning.outcome");
    let outcomes = stage.scene.kafka.read_committed(&topic).await;
    let is_command = |id: &Value| id.as_str().is_some_and(|id| id.contains("/command/"));
    outcomes
        .iter()
        .filter(|record| is_command(&record.json()["id"]))
        .count()
}

/// Starts a service that moves the links to `to`, and kills it at this step. What is kept of it arrives when the proxy lets it.
async fn killed_at(stage: &Stage, step: Step, to: &str) -> KafkaProxy {
    let from = if to == NEW { OLD } else { NEW };
    let proxy = KafkaProxy::start(stage.scene.kafka.bootstrap()).await;
    let client = format!("apply.{}", if step.former { from } else { to });
    proxy.keep_after(step.api, &client, step.keep, step.number);
    let change = json!({ "kafka": { "bootstrapServers": proxy.bootstrap() } });
    let service = stage.scene.apply_with("struck", &change).await;
    eventually(step.what, || async {
        match proxy.caught_of(&client) {
            0 => Err(format!("it does not come to this: {}", service.status().await)),
            _ => Ok(()),
        }
    })
    .await;
    service.process.sigkill();
    proxy
}

/// Starts a service that ends the move, and looks whether all is well. `late` is what the network has kept of those before.
async fn ends(stage: &Stage, name: &str, accounts: &BTreeMap<String, String>, late: Vec<KafkaProxy>) -> Service {
    let service = stage.apply("last").await;
    let rested = || async {
        let status = service.whole_status().await;
        let target = &status["targets"][name];
        let done = target["state"] == "active" && target["lane"]["pending"] == 0;
        let links = target["lane"]["links"] == json!(PEOPLE);
        if done && links { Ok(()) } else { Err(status.to_string()) }
    };
    eventually("everybody was planned under the name of the folder", rested).await;
    late.iter().for_each(KafkaProxy::let_all_on);
    // The connection check alone: what the server is, and one account to see that the credentials are good.
    eventually("nobody is looked up, nothing written", || async {
        let asked: Vec<String> = stage.sim.requests().into_iter().map(|request| request.path).collect();
        if asked == ["/ServiceProviderConfig", "/Users"] {
            Ok(())
        } else {
            Err(format!("{asked:?}"))
        }
    })
    .await;
    assert_eq!(
        links(stage).await,
        BTreeMap::from([(name.to_owned(), accounts.clone())])
    );
    service
}

/// A change of somebody arrives, as one write.
async fn writes_once(stage: &Stage, version: u64, title: &str) {
    stage.publish_all(&[(1, version, true, Some(title))]).await;
    eventually("a change arrives", || async {
        let account = stage.sim.user_by_external_id(&Stage::id(1)).unwrap();
        if account["title"] == title {
            Ok(())
        } else {
            Err(account.to_string())
        }
    })
    .await;
    let looked_up = |request: &&RequestRecord| request.query.contains("filter=");
    let requests = stage.sim.requests();
    assert_eq!(
        (stage.sim.writes().len(), requests.iter().filter(looked_up).count()),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_of_a_rename_and_of_the_way_back_everybody_is_linked_once() {
    let stage = Stage::set(policy(None)).await;
    people(&stage).await.stop().await;
    let accounts = links(&stage).await.remove(OLD).unwrap();
    assert_eq!(accounts.len(), PEOPLE as usize);

    for (to, from, version, steps) in [(NEW, OLD, 2, &STEPS[..]), (OLD, NEW, 3, &STEPS[2..5])] {
        call(&stage, to, Some(from));
        stage.sim.reset_log();
        let mut late = Vec::new();
        for step in steps {
            late.push(killed_at(&stage, *step, to).await);
            assert_eq!(stage.sim.requests().len(), 0, "{}", step.what);
            let now = links(&stage).await;
            let mut together: Vec<_> = now.values().flatten().collect();
            together.sort();
            assert!(together.into_iter().eq(&accounts), "{}", step.what);
        }
        let service = ends(&stage, to, &accounts, late).await;
        writes_once(&stage, version, to).await;
        service.stop().await;
    }
    assert_eq!(commands_done(&stage).await, 2, "nothing is carried out a second time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_is_turned_round_half_way_moves_everybody_back() {
    let stage = Stage::set(policy(None)).await;
    // It does not hand back: whoever comes waits for the calls that it may have under way.
    people(&stage).await.process.sigkill();
    let accounts = links(&stage).await.remove(OLD).unwrap();
    stage.sim.reset_log();
    let half_way = commit("the first batch, committed", false, 1, Keep::Answer);
    let mut late = Vec::new();

    call(&stage, NEW, Some(OLD));
    late.push(killed_at(&stage, half_way, NEW).await);
    let counts = |links: &BTreeMap<String, BTreeMap<String, String>>| -> Vec<(String, usize)> {
        links
            .iter()
            .map(|(name, people)| (name.clone(), people.len()))
            .collect()
    };
    assert_eq!(
        counts(&links(&stage).await),
        [(NEW.to_owned(), 500), (OLD.to_owned(), 600)]
    );

    // The old folder alone is refused, and the words say the way out.
    call(&stage, OLD, None);
    let refused = stage.apply("refused").await;
    eventually("it is refused", || async {
        let problem = stage.target(&refused).await["problem"].clone();
        let words = problem.as_str().unwrap_or_default();
        if words.contains("rename it back with `formerly: desk`") {
            Ok(())
        } else {
            Err(problem.to_string())
        }
    })
    .await;
    refused.stop().await;

    // Back, which is killed half way, too; forth again, and back to the end.
    for (to, from) in [(OLD, NEW), (NEW, OLD)] {
        call(&stage, to, Some(from));
        late.push(killed_at(&stage, half_way, to).await);
    }
    call(&stage, OLD, Some(NEW));
    let service = ends(&stage, OLD, &accounts, late).await;
    writes_once(&stage, 2, "AE").await;
    assert_eq!(commands_done(&stage).await, 2, "nothing is carried out a second time");

    // Once more, from a name under which it has run: what is known under the one that was given up is old by now.
    let why = json!({ "reason": "an audit" });
    let (code, answer) = stage.send(&service, "POST", "/v1/targets/helpdesk/pause", why).await;
    assert_eq!(code, 200, "{answer}");
    service.stop().await;
    call(&stage, NEW, Some(OLD));
    let _late = killed_at(&stage, half_way, NEW).await;
    call(&stage, OLD, Some(NEW));
    let service = stage.apply("paused").await;
    eventually("it is paused still", || async {
        let target = stage.target(&service).await;
        match (&target["state"], &target["lane"]["paused"]) {
            (state, paused) if state == "active" && !paused.is_null() => Ok(()),
            _ => Err(target.to_string()),
        }
    })
    .await;
    assert_eq!(links(&stage).await, BTreeMap::from([(OLD.to_owned(), accounts)]));
    service.stop().await;
}
