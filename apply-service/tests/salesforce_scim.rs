//! The preset `salesforce` against a simulator of Salesforce's SCIM service, with tokens of the simulated org's own token
//! endpoint: the vendor's rules, and what is not confirmed in each of its ways.
#![allow(clippy::unwrap_used)]

#[path = "salesforce_scim/probing.rs"]
mod probing;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use apply_service::{
    connector::{Connector, Failure, Operation, Reply, http::HttpSender, lease::Lease},
    logic::account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
    policy::from_texts,
};
use salesforce_sim::{Sim, SimConfig, generate_jwt_key_pair};
use serde_json::{Value, json};
use target_sims::{SalesforceScim, VendorSim};

const SALES: &str = "00e5f000000sales01";
const ADMIN: &str = "00e5f000000admin01";
const CHATTER: &str = "00e5f000000chatt01";
const FORECAST: &str = "0PS5f0000000forec1";
const PROFILE: &str = r#"entitlements[type eq "Profile"].value"#;

/// The org that gives out tokens, its SCIM service, and a target as its policy file describes it.
struct Scene {
    org: Sim,
    scim: VendorSim<SalesforceScim>,
    connector: Arc<dyn Connector>,
    sender: HttpSender,
    _secrets: tempfile::TempDir,
}

/// How the target logs in.
#[derive(Clone, Copy)]
enum Login {
    Jwt,
    Credentials,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut SalesforceScim), dialect: &str) -> Self {
        Self::with(change, dialect, Login::Credentials).await
    }

    /// `dialect` are keys below `connection.scim`.
    async fn with(change: impl FnOnce(&mut SalesforceScim), dialect: &str, login: Login) -> Self {
        let keys = generate_jwt_key_pair();
        let org = Sim::start(SimConfig {
            users: 10,
            jwt_public_key_pem: Some(keys.public_pem),
            ..SimConfig::default()
        })
        .await
        .unwrap();
        let state = org.org();
        let mut vendor = SalesforceScim::default();
        vendor.accepts = Arc::new(move |token| state.accepts_token(token));
        change(&mut vendor);
        let scim = VendorSim::start(vendor).await;
        let secrets = tempfile::TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            let path = secrets.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let auth = match login {
            Login::Jwt => format!(
                "jwtBearer: {{ clientId: '{}', user: '{}', keyFile: '{}' }}",
                org.client_id(),
                org.integration_username(),
                file("key.pem", &keys.private_pem)
            ),
            Login::Credentials => format!(
                "clientCredentials: {{ clientId: '{}', clientSecretFile: '{}' }}",
                org.client_id(),
                file("secret", org.client_secret())
            ),
        };
        // With a trailing slash here and there: both forms are one (M147).
        let slash = if matches!(login, Login::Jwt) { "/" } else { "" };
        let text = format!(
            "target: hub\npreset: salesforce\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
             set: {{ profile: {SALES} }}\nconnection:\n  baseUrl: '{}/services/scim/v2{slash}'\n  auth: {{ {auth} }}\n  oauth: {{ \
             tokenUrl: '{}/services/oauth2/token' }}\n  scim: {{ {dialect} }}\n",
            scim.base_url(),
            org.http_url()
        );
        let policy = from_texts(&[(PathBuf::from("hub.yaml"), text)]).unwrap_or_else(|error| panic!("{error}"));
        let target = policy.targets.values().next().unwrap();
        Self {
            connector: target.connection.connector().unwrap(),
            sender: HttpSender::new(target.connection.http.clone()).unwrap(),
            org,
            scim,
            _secrets: secrets,
        }
    }

    async fn run(&self, operation: Operation) -> Result<Reply, Failure> {
        let exchange = self.connector.begin(operation);
        self.sender.run(exchange, &Lease::unlimited()).await.0
    }

    async fn create(&self, pairs: &[(&str, Value)]) -> Result<Reply, Failure> {
        self.run(Operation::Create { values: values(pairs) }).await
    }

    async fn created(&self, pairs: &[(&str, Value)]) -> RemoteId {
        match self.create(pairs).await {
            Ok(Reply::Written { id, .. }) => id,
            other => panic!("not created: {other:?}"),
        }
    }

    async fn update(&self, id: &RemoteId, pairs: &[(&str, Value)]) -> Result<Reply, Failure> {
        let (id, values) = (id.clone(), values(pairs));
        self.run(Operation::Update { id, values, etag: None }).await
    }

    async fn find(&self, key: &str, name: &str) -> Vec<RemoteAccount> {
        let operation = Operation::Find {
            external_id: key.to_owned(),
            by: vec![(AttributePath("userName".to_owned()), name.to_owned())],
        };
        match self.run(operation).await {
            Ok(Reply::Found(accounts)) => accounts,
            other => panic!("no look-up: {other:?}"),
        }
    }

    fn held(&self, name: &str) -> Value {
        self.scim.with(|scim| scim.user(name)).unwrap_or_default()
    }

    /// Requests since the last call, as `METHOD path`.
    fn asked(&self) -> Vec<String> {
        let all = self.scim.take_requests();
        all.iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    fn writes(&self) -> Vec<String> {
        self.asked()
            .into_iter()
            .filter(|line| !line.starts_with("GET"))
            .collect()
    }
}

fn values(pairs: &[(&str, Value)]) -> AttributeValues {
    pairs
        .iter()
        .map(|(path, value)| (AttributePath((*path).to_owned()), value.clone()))
        .collect()
}

fn person(key: &str, name: &str, profile: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("externalId", json!(key)),
        ("active", json!(true)),
        ("userName", json!(format!("{name}@Acme.Example"))),
        ("name.givenName", json!(name)),
        ("name.familyName", json!("Ó Bróin")),
        (r#"emails[type eq "work"].value"#, json!(format!("{name}@acme.example"))),
        (PROFILE, json!(profile)),
    ]
}

fn code(result: Result<Reply, Failure>) -> (&'static str, String) {
    match result {
        Err(Failure::Retry(refusal, _)) => ("retry", refusal.code),
        Err(Failure::Reject(refusal)) => ("reject", refusal.code),
        Err(Failure::Halt(refusal)) => ("halt", refusal.code),
        Ok(reply) => panic!("no failure: {reply:?}"),
    }
}

fn reject(code: &str) -> (&'static str, String) {
    ("reject", code.to_owned())
}

fn profiles(account: &Value) -> Vec<&str> {
    let held = account["entitlements"].as_array().into_iter().flatten();
    held.filter_map(|element| element["value"].as_str()).collect()
}

/// Switches of the vendor, with the dialect that goes with them.
type Variant = (fn(&mut SalesforceScim), &'static str);

const VARIANTS: [Variant; 6] = [
    (|_| {}, ""),
    (|scim| scim.shows_types = false, ""),
    (
        |scim| {
            scim.takes_types = false;
            scim.shows_types = false;
        },
        "catalogues: [{ attribute: entitlements, path: /Entitlements, exactlyOne: { name: Profile, idPrefix: 00e }, sendType: false }]",
    ),
    (|scim| scim.filters_entitlements = false, ""),
    (
        |_| {},
        "catalogues: [{ attribute: entitlements, path: /Entitlements, exactlyOne: { name: Profile, idPrefix: 00e }, lookup: list }]",
    ),
    (|scim| scim.keeps_external_id = false, "externalId: false"),
];

#[tokio::test]
async fn an_account_lives_its_life_at_salesforce_whatever_the_vendor_leaves_open() {
    for (number, (change, dialect)) in VARIANTS.into_iter().enumerate() {
        println!("variant {number}");
        let login = if number % 2 == 0 {
            Login::Jwt
        } else {
            Login::Credentials
        };
        let scene = Scene::with(change, dialect, login).await;
        let Ok(Reply::Checked(words)) = scene.run(Operation::Check).await else {
            panic!("not checked")
        };
        assert!(
            words[0].contains("/ServiceProviderConfigs"),
            "the plural address: {words:?}"
        );
        assert!(scene.find("005A", "ada@acme.example").await.is_empty());
        let ada = scene.created(&person("005A", "Ada", SALES)).await;
        let held = scene.held("ada@acme.example");
        assert_eq!(held["userName"], "ada@acme.example", "in lower case");
        assert_eq!(profiles(&held), [SALES]);
        assert_eq!(scene.find("005A", "ADA@acme.example").await[0].id, ada);

        // A permission set that an administrator has given stays when the profile changes.
        scene.scim.with(|scim| scim.grant("ada@acme.example", FORECAST));
        let changes = [(PROFILE, json!(ADMIN)), ("title", json!("AE"))];
        assert!(matches!(scene.update(&ada, &changes).await, Ok(Reply::Written { .. })));
        let held = scene.held("ada@acme.example");
        let entitlements: BTreeSet<&str> = profiles(&held).into_iter().collect();
        assert_eq!(entitlements, [ADMIN, FORECAST].into());
        assert_eq!(profiles(&held).len(), 2);
        assert_eq!(held["title"], "AE");
        assert!(matches!(
            scene.update(&ada, &[("title", Value::Null)]).await,
            Ok(Reply::Written { .. })
        ));
        assert_eq!(scene.held("ada@acme.example")["title"], Value::Null);

        // Deleting is deactivating; whoever comes back is reactivated.
        scene.asked();
        let deleted = scene.run(Operation::Delete(ada.clone())).await;
        assert!(
            matches!(deleted, Ok(Reply::Written { .. })),
            "never counted as deleted: {deleted:?}"
        );
        assert_eq!(scene.held("ada@acme.example")["active"], false);
        assert!(scene.writes().iter().all(|line| line.starts_with("PATCH")));
        assert_eq!(scene.find("005A", "ada@acme.example").await[0].active, Some(false));
        assert!(matches!(
            scene.update(&ada, &[("active", json!(true))]).await,
            Ok(Reply::Written { .. })
        ));
        assert_eq!(scene.held("ada@acme.example")["active"], true);
        assert_eq!(scene.scim.with(|scim| scim.created), 1);
        scene.org.shutdown().await;
    }
}

#[tokio::test]
async fn sessions_that_end_in_the_middle_are_renewed_without_anybody_noticing() {
    for login in [Login::Jwt, Login::Credentials] {
        let scene = Scene::with(|_| {}, "", login).await;
        let ada = scene.created(&person("005A", "Ada", SALES)).await;
        scene.org.org().faults().revoke_sessions();
        assert!(matches!(
            scene.update(&ada, &[("title", json!("1"))]).await,
            Ok(Reply::Written { .. })
        ));
        scene.org.org().faults().revoke_sessions();
        scene.created(&person("005B", "Bob", SALES)).await;
        assert_eq!(
            scene.scim.with(|scim| scim.created),
            2,
            "a refused create is repeated, not doubled"
        );
        let status = scene.sender.credential();
        assert_eq!((status.problem, status.renewals), (None, 3));
        scene.org.shutdown().await;
    }
}

#[tokio::test]
async fn a_log_in_that_is_refused_stops_the_target_and_is_not_repeated() {
    let scene = Scene::with(|_| {}, "", Login::Jwt).await;
    let ada = scene.created(&person("005A", "Ada", SALES)).await;
    let org = scene.org.org();
    org.update_user(&org.integration_user_id(), json!({"IsActive": false}))
        .unwrap();
    org.faults().revoke_sessions();
    for _ in 0..3 {
        let refused = scene.update(&ada, &[("title", json!("1"))]).await;
        assert_eq!(code(refused), ("halt", "token-refused".to_owned()));
    }
    let status = scene.sender.credential();
    assert_eq!(status.failures, 1, "repeated log-ins lock users out");
    assert!(status.problem.unwrap().contains("inactive_user"));
    scene.org.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_before_the_call() {
    let scene = Scene::new(|_| {}, "").await;
    let ada = scene.created(&person("005A", "Ada", SALES)).await;
    scene.asked();
    let mut without = person("005B", "Bob", SALES);
    without.pop();
    let mut odd_name = person("005B", "Bob", SALES);
    odd_name[2].1 = json!("bob");
    for (pairs, expected) in [
        (person("005B", "Bob", "00e5f000000nobody1"), "choice-unknown"),
        (person("005B", "Bob", FORECAST), "choice-of-another-kind"),
        (without, "choice-missing"),
        (odd_name, "user-name-form"),
    ] {
        assert_eq!(code(scene.create(&pairs).await), reject(expected));
    }
    for (pairs, expected) in [
        ([(PROFILE, json!("00e5f000000nobody1"))], "choice-unknown"),
        ([(PROFILE, Value::Null)], "choice-missing"),
        ([("entitlements", json!([SALES, ADMIN]))], "choice-not-one"),
        ([("userName", json!("ada@acme"))], "user-name-form"),
    ] {
        assert_eq!(code(scene.update(&ada, &pairs).await), reject(expected));
    }
    assert_eq!(scene.writes(), Vec::<String>::new());
    assert_eq!(
        scene.scim.with(|scim| scim.refusals.len()),
        0,
        "nothing reached the vendor's own rules"
    );
    scene.org.shutdown().await;
}

#[tokio::test]
async fn an_unknown_profile_is_proven_against_a_list_that_is_cut_off() {
    let many = |scim: &mut SalesforceScim| {
        let more = (0..250).map(|n| {
            (
                format!("00e5f000000aa{n:05}"),
                (format!("P{n}"), "Salesforce".to_owned()),
            )
        });
        scim.profiles.extend(more);
    };
    let scene = Scene::new(many, "").await;
    let refused = scene.create(&person("005B", "Bob", "00e5f000000nobody1")).await;
    assert_eq!(
        code(refused),
        reject("choice-unknown"),
        "the filter is proven on an entry of the list"
    );
    scene.created(&person("005A", "Ada", SALES)).await;
    scene.org.shutdown().await;
    // Nothing proves it: the application itself refuses.
    let scene = Scene::new(
        |scim| {
            many(scim);
            scim.filters_entitlements = false;
        },
        "",
    )
    .await;
    let refused = scene.create(&person("005B", "Bob", "00e5f000000nobody1")).await;
    assert_eq!(code(refused).0, "reject");
    assert_eq!(scene.writes(), ["POST /services/scim/v2/Users"]);
    scene.created(&person("005A", "Ada", SALES)).await;
    scene.org.shutdown().await;
}

#[tokio::test]
async fn a_profile_that_is_not_taken_is_noticed() {
    let scene = Scene::new(|_| {}, "").await;
    let ada = scene.created(&person("005A", "Ada", SALES)).await;
    scene.scim.with(|scim| scim.keeps_profile = true);
    let refused = scene.update(&ada, &[(PROFILE, json!(ADMIN))]).await;
    assert_eq!(code(refused), reject("choice-not-taken"));
    assert!(matches!(
        scene.update(&ada, &[(PROFILE, json!(SALES))]).await,
        Ok(Reply::Written { .. })
    ));
    scene.org.shutdown().await;
}

#[tokio::test]
async fn a_profile_is_chosen_by_name_or_by_its_short_id() {
    let scene = Scene::new(|_| {}, "").await;
    for (path, wanted) in [
        (PROFILE, &SALES[..15]),
        (r#"entitlements[type eq "Profile"].display"#, "sales user"),
    ] {
        let mut pairs = person("005A", wanted.split(' ').next().unwrap(), SALES);
        pairs.pop();
        pairs.push((path, json!(wanted)));
        let Ok(Reply::Written { id, .. }) = scene.create(&pairs).await else {
            panic!("not created")
        };
        let users = scene.scim.with(|scim| scim.users());
        let user = users.iter().find(|user| user["id"] == id.0.as_str()).unwrap();
        assert_eq!(profiles(user), [SALES]);
    }
    scene.org.shutdown().await;
}

#[tokio::test]
async fn the_profile_decides_the_licence() {
    let few = |scim: &mut SalesforceScim| {
        scim.licences = [("Salesforce".to_owned(), 1), ("Chatter Free".to_owned(), 1)].into()
    };
    let scene = Scene::new(few, "").await;
    scene.created(&person("005A", "Ada", SALES)).await;
    let refused = scene.create(&person("005B", "Bob", ADMIN)).await;
    assert_eq!(code(refused).0, "reject", "no licence of that kind is left");
    scene.created(&person("005B", "Bob", CHATTER)).await;
    assert_eq!(scene.scim.with(|scim| scim.licences.clone())["Chatter Free"], 0);
    scene.org.shutdown().await;
}

#[tokio::test]
async fn a_name_that_is_taken_in_another_org_is_refused_for_good_and_tried_once() {
    for status in [409, 400] {
        let scene = Scene::new(
            |scim| {
                scim.taken_status = status;
                scim.elsewhere.insert("ada@acme.example".to_owned());
            },
            "",
        )
        .await;
        let refused = scene.create(&person("005A", "Ada", SALES)).await;
        assert_eq!(code(refused), reject("user-name-taken-elsewhere"));
        assert_eq!(scene.writes().len(), 1, "no loop");
        // Renaming onto such a name ends in the same way.
        let bob = scene.created(&person("005B", "Bob", SALES)).await;
        scene.asked();
        let refused = scene.update(&bob, &[("userName", json!("ada@acme.example"))]).await;
        assert_eq!(code(refused), reject("user-name-taken-elsewhere"), "{status}");
        assert_eq!(scene.writes().len(), 1);
        // Somebody whom this org shows is another matter: the planner looks again and decides.
        let taken = scene.update(&bob, &[("userName", json!("Bob@acme.example"))]).await;
        assert!(
            matches!(taken, Ok(Reply::Written { .. })),
            "one's own name in another case"
        );
        let eve = scene.created(&person("005E", "Eve", SALES)).await;
        let taken = scene.update(&eve, &[("userName", json!("bob@acme.example"))]).await;
        assert!(matches!(taken, Ok(Reply::Conflict(_))), "{taken:?}");
        let taken = scene.create(&person("005F", "Bob", SALES)).await;
        assert!(matches!(taken, Ok(Reply::Conflict(_))), "{taken:?}");
        scene.org.shutdown().await;
    }
}

#[tokio::test]
async fn the_suffix_is_tried_once_and_found_again() {
    let taken = |scim: &mut SalesforceScim| scim.elsewhere.insert("ada@acme.example".to_owned());
    let scene = Scene::new(
        |scim| {
            taken(scim);
        },
        "userNameSuffix: .hub",
    )
    .await;
    let ada = scene.created(&person("005A", "Ada", SALES)).await;
    assert_eq!(scene.held("ada@acme.example.hub")["id"], ada.0.as_str());
    assert_eq!(scene.writes().len(), 2);
    let found = scene.find("", "ada@acme.example").await;
    assert_eq!(found.iter().map(|account| &account.id).collect::<Vec<_>>(), [&ada]);
    // The suffixed name is taken as well.
    scene.scim.with(|scim| {
        scim.elsewhere.insert("bob@acme.example".to_owned());
        scim.elsewhere.insert("bob@acme.example.hub".to_owned());
    });
    scene.asked();
    let refused = scene.create(&person("005B", "Bob", SALES)).await;
    assert_eq!(code(refused), reject("user-name-taken-elsewhere"));
    assert_eq!(scene.writes().len(), 2, "once with and once without");
    scene.org.shutdown().await;
}

#[tokio::test]
async fn another_kind_of_record_is_no_account() {
    let scene = Scene::new(|_| {}, "resourceType: Person").await;
    let refused = scene.create(&person("005A", "Ada", SALES)).await;
    assert_eq!(code(refused).0, "retry", "what came back is no user");
    assert!(scene.writes().iter().all(|line| line == "POST /services/scim/v2/Users"));
    scene.org.shutdown().await;
}

#[test]
fn the_form_of_the_address_is_checked_and_deleting_is_refused_at_load() {
    let load = |base: &str, more: &str| {
        let text = format!(
            "target: hub\npreset: salesforce\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
             connection:\n  baseUrl: '{base}'\n  auth: {{ clientCredentials: {{ clientId: c, clientSecretEnv: S }} }}\n{more}"
        );
        from_texts(&[(PathBuf::from("hub.yaml"), text)]).map_err(|error| error.to_string())
    };
    for base in [
        "https://acme.my.salesforce.com/services/scim/v2",
        "https://acme.my.salesforce.com/services/scim/v2/",
        "https://acme--uat.sandbox.my.salesforce.com/services/scim/v2",
    ] {
        load(base, "").unwrap_or_else(|error| panic!("{error}"));
    }
    for base in [
        "https://acme.my.salesforce.com",
        "https://acme.my.salesforce.com/services/scim/v1",
    ] {
        let error = load(base, "").err().unwrap();
        assert!(
            error.contains("hub.yaml:7") && error.contains("ends with /services/scim/v2"),
            "{error}"
        );
    }
    let error = load(
        "https://acme.my.salesforce.com/services/scim/v2",
        "features: { delete: true }\n",
    );
    assert!(error.err().unwrap().contains("offers no way to delete accounts"));
}

/// Nobody's password is reset by anything but this operation, and the password that the org shows with the answer goes nowhere.
#[tokio::test]
async fn the_org_resets_a_password_when_it_is_asked_to_and_nobody_keeps_the_answer() {
    let scene = Scene::new(|_| (), "").await;
    assert!(!scene.connector.lacks().contains(&"invite"));
    let (aoife, bran) = (
        scene.created(&person("U1", "aoife", SALES)).await,
        scene.created(&person("U2", "bran", SALES)).await,
    );
    scene.update(&bran, &[("active", json!(false))]).await.unwrap();
    assert!(scene.scim.with(|scim| scim.resets.is_empty()));

    scene.asked();
    let reply = scene.run(Operation::Invite(aoife.clone())).await;
    assert!(matches!(reply, Ok(Reply::Taken)), "{reply:?}");
    assert_eq!(
        scene.asked(),
        [format!(
            "DELETE /services/data/v66.0/sobjects/User/{}/password",
            aoife.0
        )]
    );
    assert_eq!(
        scene.scim.with(|scim| scim.resets.clone()),
        std::slice::from_ref(&aoife.0)
    );

    // Whoever is switched off or gone is sent nothing.
    let refused = scene.run(Operation::Invite(bran)).await;
    assert!(matches!(refused, Err(Failure::Reject(_))), "{refused:?}");
    let gone = scene.run(Operation::Invite(RemoteId("005gone".to_owned()))).await;
    assert!(matches!(gone, Ok(Reply::Absent)), "{gone:?}");
    assert_eq!(scene.scim.with(|scim| scim.resets.len()), 1);

    // An org where another call does it.
    let other = Scene::new(
        |_| (),
        "invite: { method: POST, path: '/services/apexrest/invitation/{id}' }",
    )
    .await;
    other.asked();
    let unknown = other.run(Operation::Invite(aoife.clone())).await;
    assert!(matches!(unknown, Ok(Reply::Absent)), "{unknown:?}");
    assert_eq!(
        other.asked(),
        [format!("POST /services/apexrest/invitation/{}", aoife.0)]
    );
}
