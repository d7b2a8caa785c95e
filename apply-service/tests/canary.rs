//! Canaries: a full run of the service with secrets and people that can be recognized, through successes, refusals, renewals
//! and misfortune, and then a search of everything that it gives out. Secrets must be nowhere; what is personal must be
//! only in the messages that the service reads.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use apply_service::topics;
use kafka_harness::{Process, ProcessSpec};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Headers,
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use salesforce_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use target_sims::{Fault, FaultScope, SalesforceScim, ScimSim, ScimSimConfig, TokenProvider, VendorSim};
use tempfile::TempDir;

/// What is personal, in the forms in which it may turn up.
const PERSONAL: [&str; 6] = [
    "zyxwada",
    "zyxwbob",
    "canary.example",
    "7700900123",
    "canarytitle",
    "qqfamily",
];
const PATIENCE: Duration = Duration::from_secs(60);

fn person(number: u32, version: u64, name: &str, title: &str) -> (String, String) {
    let id = format!("00500000000000{number}AAA");
    let address = format!("{name}@canary.example");
    let message = json!({"version": version, "kind": "updated", "user": {"id": id, "orgId": "00D000000000001EAA",
        "username": address, "email": address, "givenName": name, "familyName": format!("Qqfamily{number}"), "phone": "+447700900123",
        "title": title, "active": true}, "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
    (format!("00D000000000001EAA:{id}"), message.to_string())
}

/// Every record of a topic: key, headers and value as text.
fn read_all(servers: &str, topic: &str) -> String {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "canary")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut left, mut text) = (partitions.len(), String::new());
    while left > 0 {
        match consumer.poll(PATIENCE).expect("an answer of the broker") {
            Err(KafkaError::PartitionEOF(_)) => left -= 1,
            Err(error) => panic!("{error}"),
            Ok(record) => {
                for part in [record.key(), record.payload()].into_iter().flatten() {
                    text += &String::from_utf8_lossy(part);
                    text.push('\n');
                }
                for header in record.headers().into_iter().flat_map(Headers::iter) {
                    text += &String::from_utf8_lossy(header.value.unwrap_or_default());
                    text.push('\n');
                }
            }
        }
    }
    text
}

/// The address that the log says, once it does.
async fn address(process: &Process) -> String {
    let said = async {
        loop {
            for line in process.output().lines() {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "apply-service starts"
                    && let Some(address) = line["address"].as_str()
                {
                    return address.to_owned();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, said).await;
    waited.unwrap_or_else(|_| panic!("{}", process.story()))
}

async fn get(address: &str, path: &str) -> String {
    reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}

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
    let binary = env!("CARGO_BIN_EXE_apply-service");
    let process = Process::spawn(
        ProcessSpec::new("apply-service", binary)
            .args(["run", "--config", &config])
            .env("RUST_BACKTRACE", "1"),
    );
    let address = address(&process).await;

    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let publish = async |(key, message): (String, String)| {
        let record = FutureRecord::to("user-change").key(&key).payload(&message);
        producer.send(record, PATIENCE).await.unwrap();
    };
    let until = async |what: &str, holds: &dyn Fn(&Value) -> bool| {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let status: Value = serde_json::from_str(&get(&address, "/v1/status").await).unwrap();
                if holds(&status) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{what}: {}\n{}",
            get(&address, "/v1/status").await,
            process.story()
        );
    };
    publish(person(1, 1, "zyxwada", "canarytitle one")).await;
    publish(person(2, 1, "zyxwbob", "canarytitle two")).await;
    let names = ["zyxwada@canary.example"];
    until("everybody is where they can be", &|status| {
        let held = |name: &&str| hub.with(|hub| hub.user(name).is_some());
        let refused = status["targets"]["hub"]["lane"]["rejected"] == 1;
        let stopped = !status["targets"]["desk"]["lane"]["circuit"].is_null();
        let rotated = bench.with(|bench| bench.grants.contains_key("refresh_token"));
        names.iter().all(held) && refused && stopped && rotated && shelf.user_count() >= 1
    })
    .await;
    // Sessions end, and the grant of the other application was revoked from the beginning.
    org.org().faults().revoke_sessions();
    publish(person(1, 2, "zyxwada", "canarytitle three")).await;
    until("renewed", &|_| {
        hub.with(|hub| hub.user(names[0]))
            .is_some_and(|user| user["title"] == "canarytitle three")
    })
    .await;
    let status = get(&address, "/v1/status").await;
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
    let mut metrics = get(&address, "/metrics").await;
    let shown = tokio::time::timeout(PATIENCE, async {
        while !series.iter().all(|series| metrics.contains(series)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            metrics = get(&address, "/metrics").await;
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

    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(binary)
            .args(arguments)
            .args(["--config", &config])
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let log = || {
        process
            .output()
            .lines()
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let mut given_out = vec![
        ("metrics", metrics),
        ("status", status),
        ("outcomes", read_all(&servers, topics::OUTCOME)),
        ("links", read_all(&servers, topics::LINK)),
        ("records of targets", read_all(&servers, topics::TARGET)),
        ("dead letters", read_all(&servers, topics::DEAD_LETTER)),
        ("outcomes by HTTP", get(&address, "/v1/outcomes").await),
        ("check", run(&["check"])),
        ("print-config", run(&["print-config"])),
    ];
    process.sigterm();
    let ended = tokio::time::timeout(PATIENCE, async {
        while process.status().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(ended.await.is_ok(), "{}", process.story());
    given_out.push(("log", log()));

    let personal = |text: &str| {
        let lower = text.to_lowercase();
        PERSONAL.into_iter().find(|personal| lower.contains(personal))
    };
    for (place, text) in &given_out {
        assert!(text.len() > 20, "{place} is empty: the search would prove nothing");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {place}: {secret}");
        }
        let line = text.lines().find(|line| personal(line).is_some());
        assert_eq!(line, None, "a person is in {place}");
    }
    assert!(
        personal(&read_all(&servers, topics::USER_CHANGE)).is_some(),
        "the search finds what is there"
    );
    // The log was asked for everything and said something about each target.
    let log = log();
    for target in ["hub", "desk", "bench", "shelf"] {
        assert!(log.contains(target), "{target}");
    }
    org.shutdown().await;
}
