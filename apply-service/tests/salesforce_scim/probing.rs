//! `probe` at an org that makes no account without a profile: it has to be given one, and leaves nobody who can log in.

use std::sync::{Arc, Mutex};

use apply_service::connector::{
    Exchange, HttpAnswer, Reply, Request, Step,
    lease::Lease,
    scim::{
        ScimConfig,
        probe::{Move, Probe, Report},
    },
};
use serde_json::{Value, json};

use super::{PROFILE, SALES, Scene};

/// One request of the probe, and its answer.
struct One(Option<Request>, Arc<Mutex<Option<HttpAnswer>>>);

impl Exchange for One {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        match self.0.take() {
            Some(request) => Step::Send(request),
            None => {
                *self.1.lock().unwrap() = answer;
                Step::Done(Ok(Reply::Deleted))
            }
        }
    }
}

async fn probed(scene: &Scene, mut probe: Probe) -> Report {
    let mut answer = None;
    loop {
        match probe.step(answer.take()) {
            Move::Send(request) => {
                let heard = Arc::default();
                let one = One(Some(request), Arc::clone(&heard));
                let _ = scene.sender.run(Box::new(one), &Lease::unlimited()).await;
                answer = heard.lock().unwrap().take();
            }
            Move::Wait(_) => {}
            Move::Done => return probe.report(),
        }
    }
}

#[tokio::test]
async fn an_org_is_probed_with_the_profile_that_it_asks_for() {
    let scene = Scene::new(|_| {}, "").await;
    let probe = || Probe::new(ScimConfig::default(), "m4rk", "acme.example");
    // Without one there is no account, and so nothing to find out.
    let report = probed(&scene, probe()).await;
    assert!(report.keys.is_empty(), "{:?}", report.keys);

    let with = probe().with(PROFILE, json!(SALES)).unwrap();
    let report = probed(&scene, with).await;
    assert!(!report.rows.is_empty());
    // The account stays, because nothing is deleted there; it is off, and named as what is left.
    let held: Value = scene.held("usher-probe-m4rk@acme.example");
    assert_eq!(held["active"], json!(false), "{held}");
    assert!(report.keys.len() + report.left.len() > 0, "{report:?}");
    assert!(probe().with("nosuch[", json!(1)).unwrap_err().contains("nosuch"));
    scene.org.shutdown().await;
}
