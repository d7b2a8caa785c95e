//! One process and three targets, of which one accepts connections and never answers, and another takes writes and never
//! answers them: the third target's order and completion are what they are alone.

mod installation;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use installation::{Installation, ORG, key, person, until, write_policy};
use target_sims::{Fault, FaultScope, Moment, RequestRecord, ScimSim};
use tokio::{io::AsyncReadExt, net::TcpListener};
use usher_contract::{Known, UserChange};

/// A server that takes whatever is sent and says nothing.
struct Mute {
    url: String,
    /// Connections that were taken, and those that the client has given up.
    taken: Arc<AtomicUsize>,
    given_up: Arc<AtomicUsize>,
}

impl Mute {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let (taken, given_up) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (takes, gives_up) = (Arc::clone(&taken), Arc::clone(&given_up));
        #[expect(clippy::disallowed_methods, reason = "serves beside the test")]
        tokio::task::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                takes.fetch_add(1, Ordering::SeqCst);
                let gives_up = Arc::clone(&gives_up);
                tokio::task::spawn(async move {
                    let mut bytes = [0; 1024];
                    while connection.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
                    gives_up.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            url: format!("http://{address}"),
            taken,
            given_up,
        }
    }
}

/// One write at a time, so that their order is the lane's.
fn one_by_one(installation: &Installation, name: &str, url: &str) {
    let text = format!(
        "target: {name}\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: '{url}', auth: none }}\n\
         scope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\npace: {{ perSecond: 500, concurrency: 1 }}\n\
         retry: {{ base: 50ms }}\nguard: {{ windows: [] }}\n"
    );
    std::fs::write(installation.policy.path().join(format!("{name}.yaml")), text).expect("a policy file");
}

fn changed(n: u32, version: u64, change: impl FnOnce(&mut UserChange)) -> UserChange {
    let mut next = person(n, version);
    change(&mut next);
    next
}

/// What a write was: whose, and what of.
fn told(sim: &ScimSim, write: &RequestRecord) -> String {
    let account = sim
        .users()
        .into_iter()
        .find(|user| user["id"].as_str() == write.resource.as_deref());
    let account = account.expect("the account that was written");
    let who = (1..100).find(|n| account["externalId"] == key(*n).user.as_str());
    let body = write.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let what = if body.contains("active") { "with active" } else { "" };
    format!("{} {} {what}", write.method, who.expect("one of ours"))
        .trim()
        .to_owned()
}

/// Writes that were begun and given up.
fn lapsed(sim: &ScimSim) -> usize {
    let lapsed = |write: &&RequestRecord| write.ended.is_some() && !write.answered;
    sim.writes().iter().filter(lapsed).count()
}

/// What happens at `good` when several things wait at the same time, alone or beside targets that do not answer.
async fn story(neighbours: bool) -> Vec<String> {
    let names: &[&str] = if neighbours { &["good", "stuck"] } else { &["good"] };
    let installation = Installation::with_targets(names).await;
    let good = installation.sim("good");
    one_by_one(&installation, "good", good.base_url());
    let mute = Mute::start().await;
    if neighbours {
        write_policy(installation.policy.path(), "mute", &mute.url);
    }
    let service = installation.start().await;
    for n in 1..=4 {
        installation.publish(&person(n, 1)).await;
    }
    until("the good one has everybody", || {
        good.user_count() == 4 && service.rests("good")
    })
    .await;
    let switched_off = changed(3, 2, |change| change.user.active = Known::Value(false));
    installation.publish(&switched_off).await;
    until("the third is off", || {
        service.rests("good") && installation::account(good, 3).is_some_and(|a| a["active"] == false)
    })
    .await;
    if neighbours {
        let stuck = installation.sim("stuck");
        until("the other one has them as well", || {
            stuck.user_count() == 4 && service.rests("stuck")
        })
        .await;
        stuck.plan_fault(Fault::Hang { execute: false }, FaultScope::Writes, usize::MAX);
        let edit = changed(4, 2, |change| change.user.title = Known::Value("stuck".into()));
        installation.publish(&edit).await;
        until("both neighbours keep a request", || {
            stuck.writes().iter().any(|write| write.ended.is_none()) && mute.taken.load(Ordering::SeqCst) > 0
        })
        .await;
        until("the good one has the edit", || {
            service.rests("good") && installation::account(good, 4).is_some_and(|a| a["title"] == "stuck")
        })
        .await;
    }

    // Its one place is taken while three things come, the least urgent first.
    good.reset_log();
    good.close_gate(Moment::BeforeEffect, FaultScope::Writes);
    let edit = |n: u32, version: u64| changed(n, version, |change| change.user.title = Known::Value("AE".into()));
    installation.publish(&edit(4, 3)).await;
    until("its place is taken", || good.caught_at_gate() == 1).await;
    installation.publish(&edit(2, 2)).await;
    installation.publish(&person(3, 3)).await;
    let leaver = changed(1, 2, |change| change.user.active = Known::Value(false));
    installation.publish(&leaver).await;
    let pending = || {
        service
            .target("good")
            .and_then(|target| target.lane)
            .map(|lane| lane.pending)
    };
    until("all wait", || pending() == Some(4)).await;

    let lapses = || {
        let stuck = installation.targets.get("stuck").map_or(0, lapsed);
        stuck + mute.given_up.load(Ordering::SeqCst)
    };
    let before = lapses();
    good.open_gate();
    until("all is done at the good one", || service.rests("good")).await;
    // Somebody new is looked for, recorded and made.
    installation.publish(&person(50, 1)).await;
    until("the newcomer as well", || {
        installation::account(good, 50).is_some() && service.rests("good")
    })
    .await;
    if neighbours {
        // Each neighbour keeps one request for many seconds. Whoever waited for them would have seen one end for each step.
        assert!(
            lapses() - before <= 2,
            "{} requests had to end first",
            lapses() - before
        );
        let lane = |name: &str| service.target(name).and_then(|target| target.lane).expect("it runs");
        assert!(lane("stuck").pending >= 3, "they wait there: {:?}", lane("stuck"));
        assert_eq!(lane("mute").links, 0);
        assert!(lane("mute").circuit.is_some(), "it has not answered its check");
        let stuck = installation.sim("stuck");
        assert!(
            stuck.writes().iter().filter(|write| write.executed).count() <= 5,
            "as before"
        );
    }
    let story = good.writes().iter().map(|write| told(good, write)).collect();
    service.kill().await;
    story
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_never_answer_change_neither_order_nor_completion_of_another() {
    let alone = story(false).await;
    assert_eq!(
        alone,
        [
            "PATCH 4",
            "PATCH 1 with active",
            "PATCH 3 with active",
            "PATCH 2",
            "POST 50 with active"
        ]
    );
    assert_eq!(story(true).await, alone);
}
