//! The presets `gong` and `miniorange-scim` against simulators of their vendors: the whole service on the client's embedded mock
//! broker for lives of people, the connector alone for single answers. What is not confirmed is tried in each of its ways.
#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, time::Duration};

use apply_service::{
    App, Config, StatusHandle,
    config::DEFAULTS,
    connector::{Failure, Operation, Reply, http::HttpSender, lease::Lease},
    policy::from_texts,
    topics,
};
use futures::future::join_all;
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use target_sims::{Fault, FaultScope, Gong, GongAssignment, MiniOrangeScim, VendorSim};
use usher_runtime::{config::load_text, shutdown::CancellationToken};

const ORG: &str = "00D000000000001EAA";

/// The service with one target, and a place to publish people.
struct Installation {
    status: StatusHandle,
    stop: CancellationToken,
    service: tokio::task::JoinHandle<()>,
    producer: FutureProducer,
    _cluster: MockCluster<'static, DefaultProducerContext>,
    _folder: tempfile::TempDir,
}

impl Installation {
    /// `more` are further sections of the target's file.
    async fn start(preset: &str, base_url: &str, more: &str) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for spec in topics::specs() {
            cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
        }
        let folder = tempfile::TempDir::new().unwrap();
        let places = ["policy", "token"].map(|name| folder.path().join(name));
        std::fs::create_dir(&places[0]).unwrap();
        let token = if preset == "gong" { "gong-token" } else { "orange-token" };
        std::fs::write(&places[1], token).unwrap();
        std::fs::write(
            places[0].join("target.yaml"),
            policy(preset, base_url, &places[1].display().to_string(), more),
        )
        .unwrap();
        let text = format!(
            "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n",
            cluster.bootstrap_servers(),
            places[0].display()
        );
        let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).unwrap();
        let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
        let (status, stop) = (app.status(), CancellationToken::new());
        let run = app.run(stop.clone());
        #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
        let service = tokio::task::spawn(async move { run.await.unwrap() });
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self {
            status,
            stop,
            service,
            producer,
            _cluster: cluster,
            _folder: folder,
        }
    }

    /// Publishes a person in a version: the usual one with `fields` over it.
    async fn publish(&self, n: u32, version: u64, fields: Value) {
        let mut user = json!({"id": id(n), "orgId": ORG, "username": format!("p{n}@acme.example.crm"),
            "email": format!("P{n}@acme.example"), "givenName": "Ada", "familyName": "Byron", "displayName": "Ada Byron",
            "title": null, "phone": null, "extension": null, "mobilePhone": null, "timeZone": "Europe/Berlin",
            "locale": "de-DE", "managerId": null, "active": true, "profile": {"id": "00e000000000001AAA", "name": "Sales User"}});
        for (name, value) in fields.as_object().unwrap() {
            user[name] = value.clone();
        }
        let message = json!({"version": version, "kind": "updated", "user": user,
            "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
        let (key, payload) = (format!("{ORG}:{}", id(n)), message.to_string());
        let record = FutureRecord::to("user-change").key(&key).payload(&payload);
        self.producer.send(record, Duration::from_secs(5)).await.unwrap();
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        // Many services at a time: a bound, not a measure.
        let arrived = tokio::time::timeout(Duration::from_secs(300), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(arrived.await.is_ok(), "{what}: {:#?}", self.status.snapshot());
    }

    /// Waits until nobody is owed anything, and so many are refused and passed over.
    async fn settled(&self, rejected: usize, skipped: usize) {
        let lane = || self.status.snapshot().targets.values().next()?.lane.clone();
        let settled =
            || lane().is_some_and(|lane| (lane.pending, lane.rejected, lane.skipped) == (0, rejected, skipped));
        self.until("settled", settled).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.service.await.unwrap();
    }
}

fn id(n: u32) -> String {
    format!("00500000000000{n}AAA")
}

fn policy(preset: &str, base_url: &str, token: &str, more: &str) -> String {
    let scim = more
        .lines()
        .find_map(|line| line.strip_prefix("scim: "))
        .unwrap_or("{}");
    let more: Vec<&str> = more.lines().filter(|line| !line.starts_with("scim: ")).collect();
    format!(
        "target: people\npreset: {preset}\nmode: enforce\nsources: ['{ORG}']\nscope: {{ filter: all }}\n\
         match: {{ firstSync: auto }}\nretry: {{ base: 100ms, max: 200ms }}\nguard: {{ windows: [] }}\nconnection:\n  \
         baseUrl: '{base_url}'\n  auth: {{ bearerTokenFile: '{token}' }}\n  scim: {scim}\n{}\n",
        more.join("\n")
    )
}

const FAST: &str = "pace: { perSecond: 100 }\n";

/// Making an account.
fn posts() -> FaultScope {
    FaultScope::Matching {
        method: "POST".to_owned(),
        path_part: "/Users".to_owned(),
    }
}

async fn gong(change: impl FnOnce(&mut Gong)) -> (VendorSim<Gong>, String) {
    let mut vendor = Gong::default();
    change(&mut vendor);
    let sim = VendorSim::start(vendor).await;
    let base_url = format!("{}/scim/v2", sim.base_url());
    (sim, base_url)
}

fn member(sim: &VendorSim<Gong>, name: &str, attribute: &str) -> Value {
    sim.with(|gong| gong.member(name))
        .map_or(Value::Null, |member| member[attribute].clone())
}

/// Switches of Gong, with the keys that go with them.
type Variant = (fn(&mut Gong), &'static str);

const VARIANTS: [Variant; 4] = [
    (|_| {}, ""),
    (|gong| gong.takes_patch(false), ""),
    (
        |gong| {
            gong.says_what_it_can = true;
            gong.takes_patch(false);
        },
        "scim: { patch: put, filter: trusted }\n",
    ),
    // The filter is refused, and members are found in a listing.
    (|_| {}, "scim: { externalId: true }\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_attributes_of_gong_arrive_without_further_configuration() {
    join_all(VARIANTS.into_iter().map(attributes_at_gong)).await;
}

async fn attributes_at_gong((change, keys): Variant) {
    let (sim, base_url) = gong(change).await;
    let service = Installation::start("gong", &base_url, &format!("{FAST}{keys}")).await;
    let fields = json!({"title": "AE", "phone": "(865) 365-1900", "extension": "3437", "mobilePhone": "540.946.4600"});
    service.publish(1, 1, fields).await;
    service
        .until("created", || sim.with(|gong| gong.member_count()) == 1)
        .await;
    let wanted = json!({"emailaddress": "P1@acme.example", "firstname": "Ada", "lastname": "Byron", "title": "AE",
        "phone_number": "(865) 365-1900", "phoneExtension": "3437", "cellphone_number": "540.946.4600",
        "active": true, "usertimezone": "Europe/Berlin", "userlocale": "de-DE", "manager": null});
    assert_eq!(sim.with(|gong| gong.member("p1@acme.example")).unwrap(), wanted);

    // Each of them follows, and what is taken away goes.
    let fields = json!({"email": "ada@acme.example", "givenName": "Augusta", "familyName": "King", "title": null,
        "phone": "(865) 365-1901", "mobilePhone": null, "timeZone": "Europe/London", "locale": "en-GB"});
    service.publish(1, 2, fields).await;
    let wanted = json!({"emailaddress": "ada@acme.example", "firstname": "Augusta", "lastname": "King",
        "title": null, "phone_number": "(865) 365-1901", "phoneExtension": null, "cellphone_number": null,
        "active": true, "usertimezone": "Europe/London", "userlocale": "en-GB", "manager": null});
    service
        .until("updated", || {
            sim.with(|gong| gong.member("ada@acme.example")).as_ref() == Some(&wanted)
        })
        .await;
    service.settled(0, 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_live_their_lives_at_gong_and_nobody_is_deleted_or_erased() {
    join_all(VARIANTS.into_iter().map(life_at_gong)).await;
}

async fn life_at_gong((change, keys): Variant) {
    let (sim, base_url) = gong(change).await;
    let gate = "gate: { domains: { primary: acme.example } }\n";
    let service = Installation::start("gong", &base_url, &format!("{FAST}{gate}{keys}")).await;
    sim.plan_fault(Fault::LoseAnswer, posts(), 1);
    service.publish(1, 1, json!({})).await;
    service
        .until("created although the answer was lost", || {
            member(&sim, "p1@acme.example", "active") == true
        })
        .await;
    let before = sim.with(|gong| gong.user("p1@acme.example")).unwrap()["id"].clone();
    // Of another domain, and without a first name: no account, and Gong is not asked to make one.
    service.publish(2, 1, json!({"email": "p2@other.example"})).await;
    service.publish(3, 1, json!({"givenName": null})).await;
    service.publish(1, 2, json!({"active": false})).await;
    service
        .until("deactivated", || member(&sim, "p1@acme.example", "active") == false)
        .await;
    service
        .publish(1, 3, json!({"active": true, "givenName": "Augusta"}))
        .await;
    service
        .until("reactivated", || {
            member(&sim, "p1@acme.example", "active") == true
                && member(&sim, "p1@acme.example", "firstname") == "Augusta"
        })
        .await;
    service.settled(0, 2).await;
    assert_eq!(sim.with(|gong| gong.user("p1@acme.example")).unwrap()["id"], before);
    assert_eq!(
        sim.with(|gong| (gong.member_count(), gong.erasures)),
        (1, 0),
        "one account, the same"
    );
    for request in sim.take_requests() {
        assert_ne!(request.method, "DELETE");
        assert!(
            request.path.starts_with("/scim/v2/"),
            "nothing of the REST API: {}",
            request.path
        );
        assert!(!request.body.contains("other.example"));
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_are_groups_that_gongs_administrator_has_bound() {
    let (sim, base_url) = gong(|gong| {
        let text = str::to_owned;
        let sellers = GongAssignment {
            seats: [text("gong"), text("engage")].into(),
            profiles: [(text("Main"), text("Team member"))].into(),
            captures: [text("webConferencesRecorded")].into(),
        };
        gong.assignments.insert(text("Sellers"), sellers);
        gong.assignments.insert(text("Listeners"), GongAssignment::default());
    })
    .await;
    let sections = "assignments:\n  - { name: Sellers, filter: \"Profile.Name = 'Sales User'\" }\n  \
                    - { name: Listeners, filter: all }\ngroups: { from: [assignments], removeStale: true }\n";
    let service = Installation::start("gong", &base_url, &format!("{FAST}{sections}")).await;
    let given = |name: &str| sim.with(|gong| (gong.groups_of(name), gong.assigned(name)));
    service.publish(1, 1, json!({})).await;
    service
        .publish(
            2,
            1,
            json!({"profile": {"id": "00e000000000002AAA", "name": "Support"}}),
        )
        .await;
    service
        .until("in their groups", || {
            given("p1@acme.example").0 == ["Sellers"] && given("p2@acme.example").0 == ["Listeners"]
        })
        .await;
    let (_, sellers) = given("p1@acme.example");
    assert_eq!(sellers, sim.with(|gong| gong.assignments["Sellers"].clone()));
    assert_eq!(given("p2@acme.example").1, GongAssignment::default());

    // Whoever moves gets what the new one gives, and loses the rest.
    service
        .publish(
            1,
            2,
            json!({"profile": {"id": "00e000000000002AAA", "name": "Support"}}),
        )
        .await;
    service
        .until("moved", || given("p1@acme.example").0 == ["Listeners"])
        .await;
    assert_eq!(given("p1@acme.example").1, GongAssignment::default());
    service.settled(0, 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_go_as_attributes_where_gong_takes_them_and_refuse_the_person_where_not() {
    let set = "set: { seats: [gong, forecast], workspaces: { Main: Member }, dataCapture: { emailsImported: true, \
               webConferencesRecorded: { from: custom.Record__c } } }\n";
    let own = "attributes:\n  'phoneNumbers[type eq \"work\"].value': { from: phone }\n  \
               urn:ietf:params:scim:schemas:extension:Gong:2.0:User:phoneExtension: { from: extension, whenBlank: clear }\n";
    let fields = || json!({"custom": {"Record__c": true}, "phone": "540.946.4600", "extension": "143"});
    for takes in [true, false] {
        let (sim, base_url) = gong(|gong| {
            if takes {
                gong.takes_settings();
            }
        })
        .await;
        let service = Installation::start("gong", &base_url, &format!("{FAST}{set}{own}")).await;
        service.publish(1, 1, fields()).await;
        service.settled(usize::from(!takes), 0).await;
        service
            .until("judged", || {
                sim.take_requests().iter().any(|request| request.method == "POST")
            })
            .await;
        service.settled(usize::from(!takes), 0).await;
        let held = sim.with(|gong| gong.user("p1@acme.example")).unwrap_or_default();
        assert_eq!(held.is_null(), !takes);
        if takes {
            let extension = &held["urn:ietf:params:scim:schemas:extension:Gong:2.0:User"];
            let of = |attribute: &str, kind: &str| {
                let elements = held[attribute].as_array().unwrap();
                let found = elements.iter().find(|element| element["type"] == kind);
                found.map(|element| element["value"].clone())
            };
            assert_eq!(of("entitlements", "gong"), Some(json!("granted")));
            assert_eq!(of("entitlements", "forecast"), Some(json!("granted")));
            assert_eq!(of("roles", "Main"), Some(json!("Member")));
            assert_eq!(extension["emailsImported"], true);
            assert_eq!(extension["webConferencesRecorded"], true);
            assert_eq!(member(&sim, "p1@acme.example", "phone_number"), "540.946.4600");
            assert_eq!(member(&sim, "p1@acme.example", "phoneExtension"), "143");
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_are_named_by_their_account_or_by_their_address() {
    for by_email in [false, true] {
        let (sim, base_url) = gong(|gong| gong.manager_by_email = by_email).await;
        let row = "attributes: { 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value': { from: custom.Boss__c } }\n";
        let rows = if by_email { row } else { "" };
        let service = Installation::start("gong", &base_url, &format!("{FAST}{rows}")).await;
        service.publish(2, 1, json!({"custom": {"Boss__c": null}})).await;
        service
            .until("the manager", || !member(&sim, "p2@acme.example", "active").is_null())
            .await;
        service
            .publish(
                1,
                1,
                json!({"managerId": id(2), "custom": {"Boss__c": "p2@acme.example"}}),
            )
            .await;
        let manager = if by_email {
            json!("p2@acme.example")
        } else {
            sim.with(|gong| gong.user("p2@acme.example")).unwrap()["id"].clone()
        };
        service
            .until("managed", || member(&sim, "p1@acme.example", "manager") == manager)
            .await;
        service.settled(0, 0).await;
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_arrives_once_at_the_pace_that_gong_allows() {
    let (sim, base_url) = gong(|gong| gong.per_second = Some(3)).await;
    // The pace of the preset.
    let service = Installation::start("gong", &base_url, "").await;
    for n in 1..=5 {
        service.publish(n, 1, json!({})).await;
    }
    service
        .until("everybody", || sim.with(|gong| gong.member_count()) == 5)
        .await;
    service.settled(0, 0).await;
    service.stop().await;
}

#[tokio::test]
async fn what_gong_says_about_too_many_requests_is_how_long_is_waited() {
    let (sim, base_url) = gong(|gong| gong.per_second = Some(0)).await;
    let folder = tempfile::TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "gong-token").unwrap();
    let text = policy("gong", &base_url, &token.display().to_string(), "");
    let policy = from_texts(&[(PathBuf::from("gong.yaml"), text.clone())]).unwrap();
    let target = policy.targets.values().next().unwrap();
    let pace = &target.policy.pace;
    assert_eq!((pace.per_second, pace.per_day), (3.0, Some(10_000)));
    let (connector, sender) = (
        target.connection.connector().unwrap(),
        HttpSender::new(target.connection.http.clone()).unwrap(),
    );
    for (day, seconds) in [(None, 1), (Some(0), 1800)] {
        sim.with(|gong| gong.per_day = day);
        let find = connector.begin(Operation::List { cursor: None });
        let asked: Result<Reply, Failure> = sender.run(find, &Lease::unlimited()).await.0;
        match asked {
            Err(Failure::Retry(refusal, wait)) => {
                assert_eq!(
                    (refusal.code.as_str(), wait),
                    ("http-429", Some(Duration::from_secs(seconds)))
                );
            }
            other => panic!("not told to wait: {other:?}"),
        }
    }
    // Deleting is refused when the file is read, and an order to delete switches off.
    let delete = format!("{text}features: {{ delete: true }}\nlifecycle: {{ deleteAfter: 90d }}\n");
    let said = from_texts(&[(PathBuf::from("gong.yaml"), delete)]).unwrap_err().0;
    assert!(said.iter().any(|said| said.contains("features.delete")), "{said:?}");
}

/// Switches of miniOrange, with the keys that go with them.
type Orange = (fn(&mut MiniOrangeScim), &'static str);

const ORANGES: [Orange; 5] = [
    (|_| {}, ""),
    (|sim| sim.takes_patch(false), ""),
    (MiniOrangeScim::answers_nothing, ""),
    (|sim| sim.filters(false), ""),
    (
        |sim| {
            sim.takes_patch(false);
            sim.filters(false);
        },
        "scim: { patch: put, filter: none, externalId: false }\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_to_miniorange_has_one_user_whether_leavers_are_disabled_or_deleted() {
    let lives = ORANGES
        .into_iter()
        .flat_map(|variant| [(variant, false), (variant, true)]);
    join_all(lives.map(|(variant, deletes)| life_at_miniorange(variant, deletes))).await;
}

async fn life_at_miniorange((change, keys): Orange, deletes: bool) {
    let mut vendor = MiniOrangeScim::default();
    vendor.deletes_deactivated = deletes;
    change(&mut vendor);
    let sim = VendorSim::start(vendor).await;
    let base_url = format!("{}/scim/v2", sim.base_url());
    let service = Installation::start("miniorange-scim", &base_url, &format!("{FAST}{keys}")).await;
    let held = |name: &str| sim.with(|sim| sim.user(name)).unwrap_or_default();
    let (first, second) = ("p1@acme.example.crm", "ada@acme.example.crm");
    service.publish(1, 1, json!({})).await;
    service.until("created", || held(first)["active"] == true).await;
    let before = held(first)["id"].clone();
    service.publish(1, 2, json!({"active": false})).await;
    service.until("off", || held(first)["active"] != true).await;
    service.settled(0, 0).await;
    assert_eq!(held(first).is_null(), deletes);

    // Nobody is made again while the person is away. A new user name goes to a user that is disabled; that there is none is said.
    service
        .publish(1, 3, json!({"active": false, "username": second}))
        .await;
    if deletes {
        service.settled(1, 0).await;
        assert_eq!(sim.with(|sim| sim.user_count()), 0);
    } else {
        service
            .until("renamed while off", || held(second)["active"] == false)
            .await;
    }
    let back = json!({"active": true, "username": second, "givenName": "Augusta"});
    service.publish(1, 4, back).await;
    service
        .until("back", || {
            held(second)["active"] == true && held(second)["name"]["givenName"] == "Augusta"
        })
        .await;
    service.settled(0, 0).await;
    let counts = sim.with(|sim| (sim.user_count(), sim.created.values().sum::<usize>(), sim.deleted));
    let expected = if deletes { (1, 2, 1) } else { (1, 1, 0) };
    assert_eq!(counts, expected, "{keys}");
    assert_eq!(held(second)["id"] == before, !deletes);
    assert!(sim.take_requests().iter().all(|request| request.method != "DELETE"));
    service.stop().await;
}
