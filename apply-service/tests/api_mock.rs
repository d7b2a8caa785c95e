//! The HTTP interface over the client's embedded broker: roles, bodies, words of refusals, the description of the
//! interface, and commands on their way there and back. Nothing about fencing or take-overs, which that broker lacks.

use std::time::Duration;

use apply_service::{App, Config, StatusHandle, config::DEFAULTS, topics};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use target_sims::{ScimSim, ScimSimConfig};
use tempfile::TempDir;
use usher_runtime::{access::sha256_hex, config::load_text, shutdown::CancellationToken};

const ORG: &str = "00D000000000001EAA";
const PATIENCE: Duration = Duration::from_secs(60);

/// A whole service on the embedded broker, with tokens for every role.
struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    sim: ScimSim,
    _folder: TempDir,
    url: String,
    status: StatusHandle,
    stop: CancellationToken,
    service: tokio::task::JoinHandle<Result<(), usher_runtime::shutdown::ServiceError>>,
    client: reqwest::Client,
}

impl Scene {
    async fn set(tokens: bool) -> Self {
        Self::set_with(tokens, "", reqwest::Client::new()).await
    }

    /// With further keys of `http` and a client that fits them.
    async fn set_with(tokens: bool, http: &str, client: reqwest::Client) -> Self {
        let cluster = MockCluster::new(1).expect("a mock broker");
        for spec in topics::specs() {
            cluster.create_topic(spec.name, spec.partitions, 1).expect("a topic");
        }
        let sim = ScimSim::start(ScimSimConfig::default()).await;
        let folder = TempDir::new().expect("a folder");
        let policy = folder.path().join("policy");
        std::fs::create_dir(&policy).expect("a folder");
        for (name, mode) in [("helpdesk", "enforce"), ("academy", "'off'")] {
            let text = format!(
                "target: {name}\npreset: scim\nmode: {mode}\nsources: ['{ORG}']\n\
                 connection: {{ baseUrl: '{}', auth: none }}\nscope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\n",
                sim.base_url()
            );
            std::fs::write(policy.join(format!("{name}.yaml")), text).expect("a file");
        }
        let file = folder.path().join("tokens");
        let lines: Vec<String> = ["viewer", "operator", "approver"]
            .iter()
            .map(|role| format!("{role} {} {role}-name", sha256_hex(role)))
            .collect();
        std::fs::write(&file, lines.join("\n")).expect("a file");
        let file = if tokens {
            format!("'{}'", file.display())
        } else {
            "null".to_owned()
        };
        let text = format!(
            "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\n\
             http: {{ bind: '127.0.0.1:0', tokensFile: {file}{http} }}\n",
            cluster.bootstrap_servers(),
            policy.display()
        );
        let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).expect("a configuration");
        let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
        let scheme = if http.contains("tls") { "https" } else { "http" };
        let (status, stop, url) = (
            app.status(),
            CancellationToken::new(),
            format!("{scheme}://{}", app.address()),
        );
        #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
        let service = tokio::task::spawn(app.run(stop.clone()));
        Self {
            cluster,
            sim,
            _folder: folder,
            url,
            status,
            stop,
            service,
            client,
        }
    }

    async fn send(&self, method: Method, path: &str, role: Option<&str>, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(role) = role {
            request = request.bearer_auth(role);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, Some("viewer"), None).await
    }
    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some("approver"), Some(body)).await
    }

    async fn publish(&self, n: u32, version: u64, active: bool) {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .create()
            .expect("a producer");
        let id = format!("005{n:012}AAA");
        let message = json!({ "version": version, "kind": "updated",
            "user": { "id": id, "orgId": ORG, "username": format!("u{n}@acme.example"), "email": format!("u{n}@acme.example"),
                "displayName": format!("Ada Byron {n}"), "familyName": "Byron", "active": active },
            "cause": { "origin": "query", "observedAt": "2026-01-02T03:04:05Z" } })
        .to_string();
        let key = format!("{ORG}:{id}");
        let record = FutureRecord::to("user-change").key(&key).payload(&message);
        producer.send(record, Duration::from_secs(5)).await.expect("a message");
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:#?}", self.status.snapshot());
    }

    fn lane(&self) -> Option<Value> {
        let snapshot = self.status.snapshot();
        let target = snapshot.targets.iter().find(|(name, _)| name.as_str() == "helpdesk")?.1;
        serde_json::to_value(target.lane.as_ref()?).ok()
    }

    async fn end(self) {
        self.stop.cancel();
        self.service.await.expect("no panic").expect("it ends well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_the_owner_and_the_caller_is_told_what_came_of_them() {
    let scene = Scene::set(true).await;
    scene.publish(1, 1, true).await;
    scene.publish(2, 1, true).await;
    scene
        .until("both have accounts", |scene| scene.sim.user_count() == 2)
        .await;
    let why = || json!({ "reason": "a test" });

    let (status, said) = scene.post("/v1/targets/helpdesk/pause", why()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert!(
        said["words"].as_str().is_some_and(|words| words.starts_with("paused")),
        "{said}"
    );
    let id = said["id"].as_str().expect("an id").to_owned();
    scene
        .until("the status says it", |scene| {
            scene.lane().is_some_and(|lane| !lane["paused"].is_null())
        })
        .await;
    scene.publish(2, 2, false).await;
    scene
        .until("the leaver waits", |scene| {
            scene.lane().is_some_and(|lane| lane["pending"] == 1)
        })
        .await;

    // Everything about somebody, by a part of the name.
    let (_, found) = scene.get("/v1/users?query=byron%202").await;
    let key = found["users"][0]["key"].as_str().expect("a key").to_owned();
    assert_eq!(found["users"].as_array().map(Vec::len), Some(1), "{found}");
    let (status, person) = scene.get(&format!("/v1/users/{key}")).await;
    assert_eq!(status, StatusCode::OK, "{person}");
    assert_eq!(person["change"]["user"]["username"], "u2@acme.example");
    let targets = person["targets"].as_array().expect("targets");
    let helpdesk = targets
        .iter()
        .find(|target| target["target"] == "helpdesk")
        .expect("helpdesk");
    assert_eq!(
        (&helpdesk["plan"]["action"], &helpdesk["pending"]),
        (&json!("deactivate"), &json!(true)),
        "{person}"
    );
    let academy = targets
        .iter()
        .find(|target| target["target"] == "academy")
        .expect("academy");
    assert!(
        academy["state"]
            .as_str()
            .is_some_and(|state| state.contains("nobody runs")),
        "{person}"
    );
    assert_eq!(person["history"]["outcomes"][0]["action"], "create", "{person}");

    // A preview under another policy changes nothing.
    let kept = format!(
        "target: helpdesk\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: 'https://h.example', auth: none }}\n\
         scope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\nlifecycle: {{ inactive: keep }}\n"
    );
    let (status, preview) = scene
        .post("/v1/preview", json!({ "users": [key], "policy": { "h.yaml": kept } }))
        .await;
    assert_eq!(status, StatusCode::OK, "{preview}");
    assert_ne!(preview["plans"][0]["action"], "deactivate", "{preview}");
    let (_, preview) = scene
        .post("/v1/preview", json!({ "users": [key], "targets": ["helpdesk"] }))
        .await;
    assert_eq!(preview["plans"][0]["action"], "deactivate", "{preview}");
    let (status, wrong) = scene
        .post(
            "/v1/preview",
            json!({ "users": [key], "policy": { "h.yaml": "target: x\nscoop: 1\n" } }),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        wrong["error"]
            .as_str()
            .is_some_and(|words| words.contains("h.yaml:2:1: scoop")),
        "{wrong}"
    );

    let (status, said) = scene.post("/v1/targets/helpdesk/resume", why()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    scene
        .until("the leaver is out", |scene| {
            scene.sim.users().iter().any(|user| user["active"] == false)
        })
        .await;
    // What the owner refuses is a conflict with its words.
    let (status, said) = scene.post("/v1/targets/helpdesk/resume", why()).await;
    assert_eq!(
        (status, &said["error"]),
        (StatusCode::CONFLICT, &json!("it is not paused"))
    );
    let (status, said) = scene.post("/v1/targets/helpdesk/held/nothing/approve", why()).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let (status, said) = scene.post("/v1/targets/academy/pause", why()).await;
    assert_eq!(status, StatusCode::CONFLICT, "off: {said}");

    let (_, one) = scene.get(&format!("/v1/commands?id={id}")).await;
    let one = &one["commands"][0];
    assert_eq!(
        (&one["verb"], &one["state"], &one["by"]["actor"]),
        (&json!("pause"), &json!("done"), &json!("approver-name"))
    );
    let (_, all) = scene.get("/v1/commands").await;
    let verbs: Vec<&str> = all["commands"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["verb"].as_str())
        .collect();
    assert_eq!(verbs, ["approve", "resume", "resume", "pause"], "newest first");

    let (_, targets) = scene.get("/v1/targets").await;
    let names: Vec<&str> = targets["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["target"].as_str())
        .collect();
    assert_eq!(names, ["academy", "helpdesk"]);
    let (status, checked) = scene.post("/v1/targets/helpdesk/check", json!({})).await;
    assert_eq!((status, &checked["works"]), (StatusCode::OK, &json!(true)), "{checked}");
    let (_, held) = scene.get("/v1/targets/helpdesk/held").await;
    assert_eq!(held, json!({ "sets": [] }));

    let (_, page) = scene.get("/v1/outcomes?action=create&limit=1").await;
    assert_eq!(page["outcomes"].as_array().map(Vec::len), Some(1), "{page}");
    let next: String = url::form_urlencoded::byte_serialize(page["next"].as_str().expect("more").as_bytes()).collect();
    let (_, rest) = scene
        .get(&format!("/v1/outcomes?action=create&limit=1&after={next}"))
        .await;
    assert_ne!(rest["outcomes"][0]["id"], page["outcomes"][0]["id"]);
    assert!(rest["next"].is_null(), "{rest}");
    let csv = scene
        .client
        .get(format!("{}/v1/outcomes?target=helpdesk", scene.url))
        .header("accept", "text/csv")
        .bearer_auth("viewer");
    let csv = csv.send().await.expect("an answer").text().await.expect("text");
    assert!(csv.starts_with("at,target,user,action,result"), "{csv}");
    assert!(!csv.contains("acme.example"), "no values");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_is_told_so_and_wrong_requests_are_refused_in_words() {
    let scene = Scene::set(true).await;
    let document = scene.send(Method::GET, "/v1/openapi.json", None, None).await.1;
    let mut described = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            described += 1;
            let path = path
                .replace("{target}", "helpdesk")
                .replace("{id}", "x")
                .replace("{key}", "005000000000001AAA");
            let method: Method = method.to_uppercase().parse().expect("a method");
            let Some(role) = operation["x-usher-role"].as_str() else {
                let (status, _) = scene.send(method, &path, None, None).await;
                assert!(
                    status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE,
                    "{path}: {status}"
                );
                continue;
            };
            let (status, said) = scene.send(method.clone(), &path, None, None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert!(said["error"].is_string(), "{said}");
            let (status, _) = scene.send(method.clone(), &path, Some("stranger"), None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            let below = match role {
                "viewer" => None,
                "operator" => Some("viewer"),
                _ => Some("operator"),
            };
            if let Some(below) = below {
                let (status, said) = scene.send(method.clone(), &path, Some(below), None).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {said}");
            }
        }
    }
    assert!(described >= 20, "{described} operations");
    let (status, _) = scene.send(Method::DELETE, "/v1/targets", Some("approver"), None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);

    // Somebody tries tokens: few answers at a time, and whoever has one does not wait for them.
    let guesses = (0..200).map(|_| scene.send(Method::GET, "/v1/targets", Some("stranger"), None));
    let (refused, known) = tokio::join!(
        futures::future::join_all(guesses),
        scene.send(Method::GET, "/v1/targets", Some("viewer"), None)
    );
    assert_eq!(known.0, StatusCode::OK);
    let count = |wanted: StatusCode| refused.iter().filter(|(status, _)| *status == wanted).count();
    let (late, busy) = (count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS));
    assert!(
        late > 0 && busy > 0 && late + busy == 200,
        "{late} refused, {busy} told to come back"
    );
    let (status, said) = scene.get("/v1/nothing").await;
    assert_eq!((status, said["error"].is_string()), (StatusCode::NOT_FOUND, true));

    for (path, body, status, words) in [
        (
            "/v1/targets/helpdisk/pause",
            json!({ "reason": "r" }),
            404,
            "did you mean helpdesk?",
        ),
        ("/v1/targets/helpdesk/pause", json!({}), 400, "missing field `reason`"),
        ("/v1/targets/helpdesk/pause", json!({ "reason": " " }), 400, "say why"),
        (
            "/v1/targets/helpdesk/pause",
            json!({ "reason": "r".repeat(501) }),
            400,
            "1 to 500",
        ),
        (
            "/v1/targets/helpdesk/pause",
            json!({ "reason": "r", "x": 1 }),
            400,
            "unknown field `x`",
        ),
        (
            "/v1/targets/helpdesk/pause",
            json!({ "reason": "r".repeat(17_000) }),
            413,
            "",
        ),
        (
            "/v1/targets/helpdesk/allow",
            json!({ "removals": 0, "for": "4h", "reason": "r" }),
            400,
            "at least 1",
        ),
        (
            "/v1/targets/helpdesk/allow",
            json!({ "removals": 3, "for": "9d", "reason": "r" }),
            400,
            "`for` is how long",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "explode", "reason": "r" }),
            400,
            "no verb `explode`",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "relink", "reason": "r", "user": "005000000000001AAA" }),
            404,
            "nobody",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "pause", "reason": "r", "set": "s" }),
            400,
            "takes no `set`",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "approve", "reason": "r" }),
            400,
            "needs `set`",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "invite", "reason": "r" }),
            400,
            "invite needs `user`, or `where`",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "invite", "reason": "r", "where": "Departmnt = 'x'" }),
            400,
            "did you mean",
        ),
        (
            "/v1/commands",
            json!({ "target": "helpdesk", "verb": "invite", "reason": "r", "where": "all" }),
            409,
            "features.invite is off",
        ),
        ("/v1/preview", json!({ "users": [] }), 400, "1 to 500"),
    ] {
        let (got, said) = scene.post(path, body).await;
        let error = said["error"].as_str().unwrap_or_default();
        assert!(got.as_u16() == status && error.contains(words), "{path}: {got} {said}");
    }
    for (path, words) in [
        ("/v1/users?query=x", "at least two characters"),
        ("/v1/users?quarry=xx", "unknown field"),
        ("/v1/outcomes?result=good", "result is done"),
        ("/v1/outcomes?limit=5000", "from 1 to 1000"),
        ("/v1/outcomes?from=yesterday", "from"),
        ("/v1/outcomes?format=xml", "json or csv"),
    ] {
        let (status, said) = scene.get(path).await;
        let error = said["error"].as_str().unwrap_or_default();
        assert!(
            status == StatusCode::BAD_REQUEST && error.contains(words),
            "{path}: {status} {said}"
        );
    }
    // An approver's verb is not an operator's, also not through the general path.
    let allow = json!({ "target": "helpdesk", "verb": "allow", "removals": 3, "for": "1h", "reason": "r" });
    let (status, _) = scene
        .send(Method::POST, "/v1/commands", Some("operator"), Some(allow))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);

    // One client at a time: the operator's requests do not use up the approver's.
    let mut refused = None;
    for _ in 0..80 {
        let (status, said) = scene
            .send(
                Method::POST,
                "/v1/targets/helpdesk/pause",
                Some("operator"),
                Some(json!({})),
            )
            .await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(said);
            break;
        }
    }
    assert!(refused.is_some_and(|said| said["error"].as_str().is_some_and(|words| words.contains("too many"))));
    let (status, _) = scene.post("/v1/targets/helpdesk/pause", json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_configured_access_this_machine_may_look_and_nobody_may_change() {
    let scene = Scene::set(false).await;
    let (status, _) = scene.send(Method::GET, "/v1/status", None, None).await;
    assert_eq!(status, StatusCode::OK);
    let (status, said) = scene
        .send(
            Method::POST,
            "/v1/targets/helpdesk/pause",
            None,
            Some(json!({ "reason": "r" })),
        )
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{said}");
    assert!(said["error"].as_str().is_some_and(|words| words.contains("tokensFile")));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_as_good_as_a_token_and_a_token_works_over_tls() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authority_key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(vec![]).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::from_params(&parameters, &authority_key);
    let signed = |name: &str, address: &[&str]| {
        let names: Vec<String> = address.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    };
    let (certificate, key) = signed("usher", &["127.0.0.1"]);
    std::fs::write(path("tls.crt"), certificate).expect("a file");
    std::fs::write(path("tls.key"), key).expect("a file");
    std::fs::write(path("ca.crt"), authority.pem()).expect("a file");
    let client = |name: Option<&str>| {
        let trusted = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("an authority");
        let builder = reqwest::Client::builder().tls_certs_only([trusted]);
        let builder = match name {
            None => builder,
            Some(name) => {
                let (certificate, key) = signed(name, &[]);
                let identity = format!("{certificate}{key}");
                builder.identity(reqwest::Identity::from_pem(identity.as_bytes()).expect("an identity"))
            }
        };
        builder.build().expect("a client")
    };
    let http = format!(
        ", tls: {{ certFile: '{}', keyFile: '{}', clientCaFile: '{}', roles: {{ night-shift: operator }} }}",
        path("tls.crt"),
        path("tls.key"),
        path("ca.crt")
    );
    let mut scene = Scene::set_with(true, &http, client(Some("night-shift"))).await;
    let (status, _) = scene.send(Method::GET, "/v1/status", None, None).await;
    assert_eq!(status, StatusCode::OK);
    let empty = || Some(json!({ "reason": "" }));
    let (status, _) = scene
        .send(Method::POST, "/v1/targets/helpdesk/pause", None, empty())
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "an operator, who has to say why");
    let approve = "/v1/targets/helpdesk/held/x/approve";
    let (status, said) = scene.send(Method::POST, approve, None, empty()).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{said}");
    let (status, _) = scene.send(Method::POST, approve, Some("approver"), empty()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the token reaches further");
    for name in [Some("somebody"), None] {
        scene.client = client(name);
        let (status, _) = scene.send(Method::GET, "/v1/status", None, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name:?}");
        let (status, _) = scene.send(Method::GET, "/healthz", None, None).await;
        assert_eq!(status, StatusCode::OK, "probes have no certificate");
        let (status, _) = scene.get("/v1/status").await;
        assert_eq!(status, StatusCode::OK, "a token works as well");
    }
    scene.end().await;
}
