//! Canaries at the edge: the secrets of described interfaces (in bodies and computed headers), of buckets, WebDAV, webhooks, the
//! mail server and a signed log-in, through successes, refusals, wrong ones and servers that are away. What they are searched
//! in is what `canary.rs` searches. Lists hold what they show in their links, so there people are where they belong.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use apply_service::topics;
use kafka_harness::{NoticeOptions, NoticeReceiver, S3Server, WebDavServer};
use rdkafka::mocking::MockCluster;
use salesforce_sim::{Sim, SimConfig, generate_jwt_key_pair};
use serde_json::{Value, json};
use target_sims::{Fault, FaultScope, MiniOrange, SalesforceScim, SkyPrep, VendorSim};
use tempfile::TempDir;

mod canary_support;

use canary_support::{Running, person, personal, read_all, search};

const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_HOOK: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ADA: &str = "zyxwada@canary.example";

/// Somebody who repeats what they are sent.
fn echo(status: u16, secret: &str) -> Fault {
    Fault::Answer {
        status,
        content_type: "application/json".to_owned(),
        body: json!({"status": "ERROR", "error": format!("{secret} of {ADA} is wrong"), "message": format!("{secret} of {ADA} is wrong")})
            .to_string(),
        retry_after: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_edge_are_nowhere() {
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
    let target = |name: &str, preset: &str, more: Value| {
        let mut policy = json!({ "target": name, "preset": preset, "mode": "enforce", "sources": ["00D000000000001EAA"],
            "scope": { "filter": "all" }, "match": { "firstSync": "auto" }, "retry": { "base": "50ms", "max": "200ms" },
            "guard": { "windows": [] } });
        policy
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        file(&format!("policy/{name}.yaml"), &policy.to_string());
    };

    // Keys in a body, and keys in a hash; one of each is wrong or repeated by the application.
    let mut vendor = SkyPrep::default();
    vendor.api_key = "canary-sky-key".to_owned();
    vendor.acct_key = "canary-sky-account".to_owned();
    let academy = VendorSim::start(vendor).await;
    academy.plan_fault(echo(400, "canary-sky-key"), FaultScope::Writes, 1);
    academy.plan_fault(Fault::html(200), FaultScope::Writes, 1);
    let orange_vendor = || {
        let mut vendor = MiniOrange::default();
        vendor.customer_key = "canary-orange-customer".to_owned();
        vendor.api_key = "canary-orange-key".to_owned();
        vendor.others.insert("zyxwbob@canary.example".to_owned());
        vendor
    };
    let orange = VendorSim::start(orange_vendor()).await;
    orange.plan_fault(echo(500, "canary-orange-key"), FaultScope::Writes, 1);
    let stale = VendorSim::start(orange_vendor()).await;
    let rest = |base: String, secrets: &[(&str, String)], notify: Value| {
        let secrets: serde_json::Map<_, _> = secrets
            .iter()
            .map(|(name, file)| ((*name).to_owned(), json!(file)))
            .collect();
        json!({ "connection": { "baseUrl": base, "rest": { "requestsPerSecond": 200, "secrets": secrets } },
            "pace": { "perSecond": 100 }, "notify": notify })
    };
    let told = |hook: &str| {
        json!({ "firstImport": true, "onCreate": { "webhook": hook,
            "user": { "subject": "Welcome {{ givenName }}", "text": "Hello {{ givenName }}" } } })
    };
    let keys = [
        ("apiKey", file("sky-key", "canary-sky-key")),
        ("acctKey", file("sky-account", "canary-sky-account")),
    ];
    target(
        "academy",
        "skyprep",
        rest(format!("{}/admin/api", academy.base_url()), &keys, told("hr")),
    );
    let keys = |key: &str| {
        [
            ("customerKey", file("orange-customer", "canary-orange-customer")),
            ("apiKey", file(key, key)),
        ]
    };
    let admin = |sim: &VendorSim<MiniOrange>| format!("{}/moas/api/admin", sim.base_url());
    let right = keys("canary-orange-key");
    target("orange", "miniorange", rest(admin(&orange), &right, told("away")));
    let wrong = keys("canary-stale-key");
    target("stale", "miniorange", rest(admin(&stale), &wrong, json!({})));

    // Lists: a server that knows the password and one that does not, a bucket and one that is away.
    let dav = WebDavServer::start().await;
    let s3 = S3Server::start().await;
    let made = reqwest::Client::new().put(format!("{}/lists", s3.url())).send().await;
    assert!(made.unwrap().status().is_success());
    let list = |name: &str, place: Value, more: Value| {
        let mut connection = json!({ "roster": { "place": place, "quiet": "100ms", "atMost": "1s" } });
        connection
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        target(name, "spinify-csv", json!({ "connection": connection }));
    };
    for (name, path, password) in [
        ("dav", "", WebDavServer::PASSWORD),
        ("davwrong", "/other", "canary-dav-word"),
    ] {
        let auth = json!({ "basic": { "user": WebDavServer::USER, "passwordFile": file(&format!("{name}-password"), password) } });
        let url = format!("{}{path}", dav.url());
        list(name, json!({ "webdav": {} }), json!({ "baseUrl": url, "auth": auth }));
    }
    for (name, url) in [("bucket", s3.url()), ("lost", "http://127.0.0.1:9")] {
        let place = json!({ "s3": { "bucket": "lists", "endpoint": url, "accessKeyIdFile": file("s3-id", "canary-s3-id"),
            "secretAccessKeyFile": file("s3-key", "canary-s3-key"), "sessionTokenFile": file("s3-session", "canary-s3-session") } });
        list(name, place, json!({}));
    }

    // A log-in that is signed.
    let pair = generate_jwt_key_pair();
    let org = Sim::start(SimConfig {
        users: 5,
        jwt_public_key_pem: Some(pair.public_pem.clone()),
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let state = org.org();
    let mut vendor = SalesforceScim::default();
    vendor.accepts = Arc::new(move |token| state.accepts_token(token));
    let hub = VendorSim::start(vendor).await;
    let signed = |name: &str, key: &str| {
        let login =
            json!({ "clientId": org.client_id(), "user": org.integration_username(), "keyFile": file(name, key) });
        json!({ "set": { "profile": "00e5f000000sales01" }, "connection": { "baseUrl": format!("{}/services/scim/v2", hub.base_url()),
            "tenant": name, "auth": { "jwtBearer": login }, "oauth": { "tokenUrl": format!("{}/services/oauth2/token", org.http_url()) } } })
    };
    target("hub", "salesforce", signed("hub-key", &pair.private_pem));
    let strange = generate_jwt_key_pair();
    target("stranger", "salesforce", signed("strange-key", &strange.private_pem));

    let receiver = NoticeReceiver::start(NoticeOptions {
        tls: "none",
        login: Some(("usher".into(), "canary-smtp-word".into())),
        secrets: vec![HOOK.into()],
        ..NoticeOptions::default()
    })
    .await;
    let config = json!({
        "kafka": { "bootstrapServers": servers, "topics": "trust" }, "policy": { "folder": folder.path().join("policy") },
        "http": { "bind": "127.0.0.1:0" }, "log": { "format": "json", "filter": "debug" },
        "mail": { "server": "127.0.0.1", "port": receiver.smtp_port(), "tls": "none", "from": "usher@acme.example", "user": "usher",
            "passwordFile": file("smtp", "canary-smtp-word") },
        "webhooks": {
            "hr": { "url": format!("http://127.0.0.1:{}/in/canary-hook-path", receiver.http_port()), "secretFiles": [file("hook", HOOK)] },
            "away": { "url": "http://127.0.0.1:9/in/canary-hook-path", "secretFiles": [file("other-hook", OTHER_HOOK)] },
        },
    });
    let service = Running::start(file("usher.yaml", &config.to_string()), &servers).await;
    service.publish(person(1, 1, "zyxwada", "canarytitle one")).await;
    service.publish(person(2, 1, "zyxwbob", "canarytitle two")).await;
    let at_s3 = |name: &str| {
        let url = format!("{}/lists/{name}", s3.url());
        let somebody = "AWS4-HMAC-SHA256 Credential=canary-s3-id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let asked = reqwest::Client::new().get(url).header("authorization", somebody).send();
        async move { asked.await.unwrap().text().await.unwrap() }
    };
    service
        .until("everybody is where they can be", &|status| {
            let stopped = |name: &str| !status["targets"][name]["lane"]["circuit"].is_null();
            let done = |name: &str, what: &str, count: u64| status["targets"][name]["lane"][what] == count;
            done("academy", "links", 1)
                && done("academy", "rejected", 1)
                && orange.with(|sim| sim.user(ADA).is_some())
                && done("orange", "rejected", 1)
                && hub.with(|sim| sim.user(ADA).is_some())
                && dav.folder().join("spinify-users.csv").exists()
                && done("bucket", "pending", 0)
                && done("bucket", "links", 2)
                && ["stale", "davwrong", "lost", "stranger"].into_iter().all(stopped)
                && !receiver.received("mail").is_empty()
                && !receiver.received("webhook").is_empty()
        })
        .await;
    assert!(at_s3("spinify-users.csv").await.contains(ADA));

    // The secrets, and the forms in which they travel.
    let mut secrets: Vec<String> = [
        "canary-sky-key",
        "canary-sky-account",
        "canary-orange-customer",
        "canary-orange-key",
        "canary-stale-key",
        WebDavServer::PASSWORD,
        "canary-dav-word",
        "canary-s3-id",
        "canary-s3-key",
        "canary-s3-session",
        "canary-smtp-word",
        HOOK.trim_start_matches("whsec_"),
        OTHER_HOOK.trim_start_matches("whsec_"),
        // list:dav-pass-word, list:canary-dav-word, \0usher\0canary-smtp-word
        "bGlzdDpkYXYtcGFzcy13b3Jk",
        "bGlzdDpjYW5hcnktZGF2LXdvcmQ",
        "AHVzaGVyAGNhbmFyeS1zbXRwLXdvcmQ",
    ]
    .map(str::to_owned)
    .into();
    let lines = [&pair.private_pem, &strange.private_pem]
        .into_iter()
        .flat_map(|pem| pem.lines());
    secrets.extend(lines.filter(|line| !line.starts_with("---")).map(str::to_owned));
    let seen = [orange.take_requests(), stale.take_requests()].concat();
    let hashes: Vec<String> = seen
        .iter()
        .map(|request| request.header("authorization").to_owned())
        .collect();
    assert!(
        hashes.len() > 3 && hashes.iter().all(|hash| hash.len() == 128),
        "{hashes:?}"
    );
    secrets.extend(hashes);
    let bearers = hub.take_requests();
    let bearers = bearers
        .iter()
        .filter_map(|request| request.header("authorization").strip_prefix("Bearer "));
    secrets.extend(bearers.map(str::to_owned));
    let form = academy.take_requests();
    let form: Vec<&str> = form.iter().map(|request| request.body.as_str()).collect();
    assert!(
        form.iter().any(|body| body.contains("canary-sky-key")),
        "the key stands in the body: {form:?}"
    );

    let given_out = service.given_out().await;
    search(&given_out, &secrets, &["links"]);
    // The path of an endpoint may be a secret, too: only the configuration that names it shows it.
    for (place, text) in &given_out {
        assert_eq!(text.contains("canary-hook-path"), *place == "print-config", "{place}");
    }
    let (_, log) = given_out.last().unwrap();
    for target in [
        "academy", "orange", "stale", "dav", "davwrong", "bucket", "lost", "hub", "stranger",
    ] {
        assert!(log.contains(target), "{target}");
    }
    assert!(
        personal(&read_all(&servers, topics::LINK)).is_some(),
        "the links of lists"
    );
    org.shutdown().await;
}
