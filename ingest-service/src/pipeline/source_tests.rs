//! The stream task against a simulated org that misbehaves: what readiness and status say, and when it goes on by itself.

use salesforce_sim::{FieldKind, Org, Permissions, Sim, SimConfig};
use tokio::task::JoinHandle;
use tonic::Code;

use super::*;
use crate::logic::writer::StreamEvent;

struct Stage {
    sim: Sim,
    parts: Parts,
    inputs: mpsc::Receiver<Input>,
    feed: JoinHandle<()>,
    _behind: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test spawns what it aborts at its end")]
async fn stage(misbehave: impl FnOnce(&Org)) -> Stage {
    let sim = Sim::start(SimConfig {
        users: 20,
        keepalive: Duration::from_millis(50),
        ..SimConfig::default()
    })
    .await
    .unwrap();
    misbehave(&sim.org());
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, sim.client_secret()).unwrap();
    let text = format!(
        "salesforce: {{ url: '{}', auth: {{ method: clientCredentials, clientId: '{}', clientSecret: {{ file: '{}' }} }} }}\n\
         pubsub: {{ endpoint: '{}' }}\n",
        sim.http_url(),
        sim.client_id(),
        secret.display(),
        sim.grpc_url()
    );
    let file = folder.path().join("ingest.yaml");
    std::fs::write(&file, text).unwrap();
    let deployment = crate::config::Deployment::load(Some(&file), &[]).unwrap();
    let parts = crate::app::parts(
        &deployment,
        &usher_runtime::admin::Readiness::default(),
        &prometheus::Registry::new(),
    )
    .unwrap();
    let parts = parts.into_iter().next().unwrap();
    let (inputs_out, inputs) = mpsc::channel(1_000);
    let (behind, is_behind) = watch::channel(false);
    let feed = tokio::spawn(feed(parts.clone(), Start::Latest, inputs_out, is_behind));
    Stage {
        sim,
        parts,
        inputs,
        feed,
        _behind: behind,
        _folder: folder,
    }
}

impl Stage {
    /// Waits until something holds.
    async fn until(&self, what: &str, holds: impl Fn(&Parts) -> bool) {
        let waiting = async {
            while !holds(&self.parts) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), waiting).await.is_err() {
            let stream = self.parts.status.get().stream;
            panic!("{what}: {stream:?}, {:?}", self.parts.readiness.problems());
        }
    }

    /// Waits until readiness and status both say all of `words`.
    async fn says(&self, words: &[&str]) {
        let all = |text: &str| words.iter().all(|word| text.contains(word));
        self.until(&words.join(", "), |parts| {
            let status = parts.status.get().stream;
            let ready = parts.readiness.problems();
            !status.connected
                && status.next_try.is_some()
                && status.problem.as_deref().is_some_and(all)
                && ready.get("stream").is_some_and(|problem| all(problem))
        })
        .await;
    }

    /// Waits until the org has been asked for the stream so many times.
    async fn subscribed(&self, times: u64) {
        let org = self.sim.org();
        self.until("the stream is opened again", |_| {
            org.request_log().count("RPC", "Subscribe") >= times
        })
        .await;
    }

    /// The next event.
    async fn event(&mut self) -> StreamEvent {
        let next = async {
            loop {
                match self.inputs.recv().await.expect("the stream goes on") {
                    Input::Events(mut events) if events.len() == 1 => return events.remove(0),
                    Input::Events(events) => panic!("{} events at once", events.len()),
                    _ => {}
                }
            }
        };
        let next = tokio::time::timeout(Duration::from_secs(20), next).await;
        next.expect("an event comes")
    }

    /// Edits a user; gives the event of it.
    async fn edited(&mut self, title: &str) -> StreamEvent {
        let org = self.sim.org();
        let user = org.user_ids().into_iter().next().unwrap();
        org.update_user(&user, serde_json::json!({ "Title": title })).unwrap();
        self.event().await
    }

    fn schemas_asked(&self) -> u64 {
        self.sim.org().request_log().count("RPC", "GetSchema")
    }

    async fn flows(&self) {
        self.until("the stream is open", |parts| {
            let status = parts.status.get().stream;
            status.connected && status.problem.is_none() && !parts.readiness.problems().contains_key("stream")
        })
        .await;
    }
}

/// Every call is refused with this code for good.
async fn refused(code: Code, suffix: &str, words: &[&str]) {
    let stage = stage(|org| org.faults().fail_next_rpcs(1_000, code, suffix)).await;
    stage.says(words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_service_is_said_after_a_few_tries_and_forgotten_when_it_is_back() {
    let stage = stage(|org| org.faults().fail_next_rpcs(4, Code::Unavailable, "service.unavailable")).await;
    stage.says(&["temporarily unavailable", "service.unavailable"]).await;
    stage.flows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_opened_again_without_a_word() {
    let stage = stage(|_| {}).await;
    stage.flows().await;
    stage.sim.org().faults().disconnect_streams();
    stage.subscribed(2).await;
    assert!(!stage.parts.readiness.problems().contains_key("stream"));
    stage.flows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_is_renewed_at_once() {
    let stage = stage(|_| {}).await;
    stage.flows().await;
    let before = stage.parts.rest.tokens().token().await.unwrap();
    stage.sim.org().faults().revoke_sessions();
    stage.subscribed(2).await;
    stage.flows().await;
    assert_ne!(stage.parts.rest.tokens().token().await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_stays_refused_is_for_an_operator() {
    refused(
        Code::Unauthenticated,
        "service.auth.error",
        &["token was refused", "Setup > Login History"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_said_at_once() {
    let stage = stage(|org| org.faults().throttle_rpcs(true)).await;
    stage.says(&["throttles", "service.protection.triggered"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_delivery_allocation_is_said_at_once_and_rested() {
    let stage = stage(|_| {}).await;
    stage.flows().await;
    stage.sim.org().faults().exceed_delivery_allocation(true);
    stage.says(&["delivery allocation", "Setup > Event Manager"]).await;
    let next = stage.parts.status.get().stream.next_try.unwrap();
    assert!(
        next.duration_since(clock::now()).as_secs() > 100,
        "it rests for minutes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_not_selected_is_named() {
    let permissions = Permissions {
        users_captured: false,
        ..Permissions::default()
    };
    let stage = stage(|org| org.set_permissions(permissions)).await;
    stage
        .says(&["channel does not exist", "Setup > Change Data Capture"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_refused_for_good_blocks_no_event() {
    let mut stage = stage(|_| {}).await;
    stage.flows().await;
    assert!(stage.edited("understood").await.event.is_ok());
    let (org, asked) = (stage.sim.org(), stage.schemas_asked());
    org.faults().add_user_field("Later__c", FieldKind::Text);
    org.faults().refuse_newest_schema("schema.validation.failed");
    let refused = stage.edited("refused").await;
    let error = refused.event.unwrap_err();
    assert!(error.reason.contains("schema.validation.failed"), "{}", error.reason);
    assert!(error.header.is_none() && !refused.payload.is_empty());
    assert_eq!(stage.schemas_asked() - asked, 3, "bounded tries");
    assert!(stage.edited("refused as well").await.event.is_err());
    assert_eq!(stage.schemas_asked() - asked, 3, "not asked for with every event");
    // Others are understood all the same.
    org.faults().write_next_with_old_schema(1);
    assert!(stage.edited("as before").await.event.is_ok());
    assert_eq!(org.request_log().count("RPC", "Subscribe"), 1, "the stream stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_none_is_asked_for_once_and_blocks_no_event() {
    let mut stage = stage(|_| {}).await;
    stage.flows().await;
    assert!(stage.edited("understood").await.event.is_ok());
    let (org, asked) = (stage.sim.org(), stage.schemas_asked());
    org.faults().add_user_field("Later__c", FieldKind::Text);
    org.faults().mangle_newest_schema();
    for title in ["one", "two", "three"] {
        let event = stage.edited(title).await;
        let error = event.event.unwrap_err();
        assert!(error.reason.contains("the schema cannot be read"), "{}", error.reason);
        assert!(error.header.is_none() && !event.payload.is_empty());
    }
    assert_eq!(stage.schemas_asked() - asked, 1, "not asked for with every event");
    org.faults().write_next_with_old_schema(1);
    assert!(stage.edited("as before").await.event.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_away_for_a_while_is_waited_for() {
    let mut stage = stage(|_| {}).await;
    stage.flows().await;
    let org = stage.sim.org();
    org.faults().add_user_field("Later__c", FieldKind::Text);
    org.faults().refuse_newest_schema("schema.api.unavailable");
    let user = org.user_ids().into_iter().next().unwrap();
    org.update_user(&user, serde_json::json!({ "Title": "in a while" }))
        .unwrap();
    stage.subscribed(3).await;
    org.faults().refuse_no_schema();
    let event = stage.event().await;
    assert!(event.event.is_ok(), "{:?}", event.event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let permissions = Permissions {
        view_all_users: false,
        ..Permissions::default()
    };
    let stage = stage(|org| org.set_permissions(permissions)).await;
    stage.says(&["System Permissions > View All Users"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_headers_are_not_tried_again_soon() {
    let stage = stage(|org| {
        let faults = org.faults();
        faults.fail_next_rpcs(1_000, Code::Unauthenticated, "service.auth.headers.invalid");
    })
    .await;
    stage.says(&["headers were refused", "salesforce.url"]).await;
    let next = stage.parts.status.get().stream.next_try.unwrap();
    assert!(next.duration_since(clock::now()).as_secs() > 1_000);
    assert_eq!(stage.sim.org().request_log().count("RPC", "Subscribe"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_licence_is_named() {
    refused(
        Code::PermissionDenied,
        "service.tenant.license",
        &["no licence", "Setup > Company Information"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_request_is_repeated_and_the_second_is_for_an_operator() {
    let code = (Code::InvalidArgument, "subscription.fetch.overflow");
    let stage = stage(|org| org.faults().fail_next_rpcs(1, code.0, code.1)).await;
    stage.flows().await;
    assert_eq!(stage.sim.org().request_log().count("RPC", "Subscribe"), 2);
    let faults = stage.sim.org();
    faults.faults().fail_next_rpcs(1_000, code.0, code.1);
    faults.faults().disconnect_streams();
    stage.says(&["refused as wrong", "subscription.fetch.overflow"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_position_reads_everyone_and_goes_on() {
    let lost = "subscription.fetch.replayid.corrupted";
    let mut stage = stage(|org| org.faults().fail_next_rpcs(1, Code::InvalidArgument, lost)).await;
    let first = stage.inputs.recv().await;
    assert_eq!(first, Some(Input::PositionLost));
    stage.flows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_refusal_is_for_an_operator() {
    refused(
        Code::PermissionDenied,
        "brand.new",
        &["refuses the subscription", "brand.new"],
    )
    .await;
}
