//! Canaries: a full run of the service with secrets and people that can be recognized, through successes, refusals, renewals
//! and misfortune, and then a search of everything that it gives out. Secrets must be nowhere; what is personal must be
//! only in the messages that the service reads. Traces are not exported: their ids travel in headers of records, which are
//! searched with them.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use apply_service::topics;
use rdkafka::mocking::MockCluster;
use salesforce_sim::{Sim, SimConfig};
use serde_json::json;
use target_sims::{Fault, FaultScope, SalesforceScim, ScimSim, ScimSimConfig, TokenProvider, VendorSim};
use tempfile::TempDir;

mod canary_support;

use canary_support::{PATIENCE, Running, person, personal, read_all, search};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_nowhere_and_people_only_in_the_messages_about_them() {
    let cluster = MockCluster::new(1).unwrap();
    for spec in topics::specs() {
        cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
    }
    let servers = cluster.bootstrap_servers();
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("policy")).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };

    // Four applications: Salesforce, two behind providers of refresh tokens (a good one, a revoked one), one that repeats
    // what it is sent.
    let org = Sim::start(SimConfig {
        users: 5,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let mut vendor = SalesforceScim::default();
    let state = org.org();
    vendor.accepts = Arc::new(move |token| state.accepts_token(token));
    vendor.elsewhere.insert("zyxwbob@canary.example".to_owned());
    let hub = VendorSim::start(vendor).await;
    let desk = VendorSim::start(TokenProvider::default()).await;
    let shelf = ScimSim::start(ScimSimConfig::default()).await;
    let echo = Fault::Answer {
        status: 400,
        content_type: "application/scim+json".to_owned(),
        body: json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400", "scimType": "invalidValue",
            "detail": "zyxwbob@canary.example of canary-passw0rd is wrong"})
        .to_string(),
        retry_after: None,
    };
    shelf.plan_fault(echo, FaultScope::Writes, 1);
    shelf.plan_fault(Fault::html(200), FaultScope::Writes, 1);

    let head = |name: &str, preset: &str, base: String, auth: String, more: &str| {
        let text = format!(
            "target: {name}\npreset: {preset}\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nmatch: {{ \
             firstSync: auto }}\nretry: {{ base: 50ms, max: 200ms }}\nguard: {{ windows: [] }}\nconnection:\n  baseUrl: '{base}'\n  \
             auth: {{ {auth} }}\n{more}"
        );
        file(&format!("policy/{name}.yaml"), &text);
    };
    head(
        "hub",
        "salesforce",
        format!("{}/services/scim/v2", hub.base_url()),
        format!(
            "clientCredentials: {{ clientId: '{}', clientSecretFile: '{}' }}",
            org.client_id(),
            file("secret", org.client_secret())
        ),
        &format!(
            "  oauth: {{ tokenUrl: '{}/services/oauth2/token' }}\nset: {{ profile: 00e5f000000sales01 }}\n",
            org.http_url()
        ),
    );
    head(
        "desk",
        "scim",
        format!("{}/scim", desk.base_url()),
        format!(
            "refreshToken: {{ clientId: client, clientSecretFile: '{}', tokenFile: '{}' }}",
            file("desk-secret", "client-s3cret"),
            file("desk-token", "refresh-s3cret-none")
        ),
        "  oauth: { tokenUrl: /token }\n  scim: { discovery: never, filter: trusted }\n",
    );
    // Tomorrow: within the thirty days that are warned of.
    let soon = usher_runtime::clock::now() + jiff::SignedDuration::from_hours(24);
    let soon = soon.strftime("%Y-%m-%d").to_string();
    let bench = VendorSim::start(TokenProvider::default()).await;
    let granted = bench.with(TokenProvider::granted);
    head(
        "bench",
        "scim",
        format!("{}/scim", bench.base_url()),
        format!(
            "refreshToken: {{ clientId: client, clientSecretFile: '{}', tokenFile: '{}' }}",
            file("bench-secret", "client-s3cret"),
            file("bench-token", &granted)
        ),
        "  oauth: { tokenUrl: /token }\n  scim: { discovery: never, filter: trusted }\n",
    );
    head(
        "shelf",
        "scim",
        shelf.base_url().to_owned(),
        format!(
            "basic: {{ user: usher, passwordFile: '{}' }}",
            file("password", "canary-passw0rd")
        ),
        &format!("  credentialExpiresAt: {soon}\n"),
    );
    let config = file(
        "usher.yaml",
        &format!(
            "kafka: {{ bootstrapServers: '{servers}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n\
             log: {{ format: json, filter: debug }}\n",
            folder.path().join("policy").display()
        ),
    );
    let service = Running::start(config, &servers).await;
    service.publish(person(1, 1, "zyxwada", "canarytitle one")).await;
    service.publish(person(2, 1, "zyxwbob", "canarytitle two")).await;
    let names = ["zyxwada@canary.example"];
    service
        .until("everybody is where they can be", &|status| {
            let held = |name: &&str| hub.with(|hub| hub.user(name).is_some());
            let refused = status["targets"]["hub"]["lane"]["rejected"] == 1;
            let stopped = !status["targets"]["desk"]["lane"]["circuit"].is_null();
            let rotated = bench.with(|bench| bench.grants.contains_key("refresh_token"));
            names.iter().all(held) && refused && stopped && rotated && shelf.user_count() >= 1
        })
        .await;
    // Sessions end, and the grant of the other application was revoked from the beginning.
    org.org().faults().revoke_sessions();
    service.publish(person(1, 2, "zyxwada", "canarytitle three")).await;
    service
        .until("renewed", &|_| {
            hub.with(|hub| hub.user(names[0]))
                .is_some_and(|user| user["title"] == "canarytitle three")
        })
        .await;
    let status = service.get("/v1/status").await;
    assert!(
        status.contains("token-refused"),
        "the status says why the second one stands still: {status}"
    );

    assert!(status.contains(&format!("the secret ends at {soon}")), "{status}");
    let series = [
        r#"apply_credential_ends_timestamp_seconds{target="shelf",what="secret"}"#,
        r#"apply_credential_ends_timestamp_seconds{target="bench",what="access-token"}"#,
        r#"apply_token_renewals_total{result="done",target="hub"} 2"#,
        r#"apply_token_renewals_total{result="failed",target="desk"}"#,
    ];
    let mut metrics = service.get("/metrics").await;
    let shown = tokio::time::timeout(PATIENCE, async {
        while !series.iter().all(|series| metrics.contains(series)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            metrics = service.get("/metrics").await;
        }
    });
    assert!(shown.await.is_ok(), "{metrics}");

    // What the run gives out.
    let seen = hub.take_requests();
    let tokens = seen
        .iter()
        .filter_map(|request| request.header("authorization").strip_prefix("Bearer "))
        .map(str::to_owned);
    let mut secrets: Vec<String> = tokens.collect();
    assert!(secrets.len() > 3, "the search knows what was used");
    secrets.extend(["client-s3cret", "refresh-s3cret", "canary-passw0rd"].map(str::to_owned));
    secrets.push(org.client_secret().to_owned());
    secrets.extend(bench.with(|bench| bench.handed_out.clone()));
    // As HTTP carries it.
    secrets.push("dXNoZXI6Y2FuYXJ5LXBhc3N3MHJk".to_owned());

    let given_out = service.given_out().await;
    search(&given_out, &secrets, &[]);
    assert!(
        personal(&read_all(&servers, topics::USER_CHANGE)).is_some(),
        "the search finds what is there"
    );
    // The log was asked for everything and said something about each target.
    let (_, log) = given_out.last().unwrap();
    for target in ["hub", "desk", "bench", "shelf"] {
        assert!(log.contains(target), "{target}");
    }
    org.shutdown().await;
}
