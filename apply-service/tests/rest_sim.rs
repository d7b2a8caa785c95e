//! The presets `skyprep` and `miniorange` against simulators of their vendors: what really goes over the wire, the
//! vendors' own rules, and what is not confirmed in each of its ways.
#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, sync::Arc, time::Duration};

use apply_service::{
    connector::{Connector, Failure, Operation, Reply, http::HttpSender, lease::Lease},
    logic::{
        account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
        notification::Onboarding,
    },
    policy::from_texts,
};
use serde_json::{Value, json};
use target_sims::{Fault, FaultScope, MiniOrange, SkyPrep, VendorSim};
use usher_runtime::secret::SecretRef;

/// A target as its policy file describes it, with its secrets in files.
struct Target {
    connector: Arc<dyn Connector>,
    sender: HttpSender,
    secrets: tempfile::TempDir,
}

impl Target {
    /// `more` are lines below `connection.rest`.
    fn new(preset: &str, base_url: &str, secrets: &[(&str, &str)], more: &str) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let mut files = String::new();
        for (name, value) in secrets {
            std::fs::write(folder.path().join(name), format!("{value}\n")).unwrap();
            files += &format!("      {name}: {}\n", folder.path().join(name).display());
        }
        let text = format!(
            "target: academy\npreset: {preset}\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\n\
             connection:\n  baseUrl: '{base_url}'\n  rest:\n    requestsPerSecond: 1000\n    secrets:\n{files}{more}"
        );
        let policy = from_texts(&[(PathBuf::from("academy.yaml"), text)]).unwrap_or_else(|error| panic!("{error}"));
        let target = policy.targets.values().next().unwrap();
        Self {
            connector: target.connection.connector().unwrap(),
            sender: HttpSender::new(target.connection.http.clone()).unwrap(),
            secrets: folder,
        }
    }

    async fn run(&self, operation: Operation) -> Result<Reply, Failure> {
        self.sender
            .run(self.connector.begin(operation), &Lease::unlimited())
            .await
            .0
    }

    async fn create(&self, pairs: &[(&str, Value)]) -> RemoteId {
        match self.run(create(pairs)).await {
            Ok(Reply::Written { id, .. }) => id,
            other => panic!("not created: {other:?}"),
        }
    }

    async fn update(&self, id: &RemoteId, pairs: &[(&str, Value)]) -> Result<Reply, Failure> {
        let values = values(pairs);
        let id = id.clone();
        self.run(Operation::Update { id, values, etag: None }).await
    }

    async fn find(&self, key: &str, name: &str) -> Vec<RemoteAccount> {
        match self.run(find(key, name)).await {
            Ok(Reply::Found(accounts)) => accounts,
            other => panic!("no look-up: {other:?}"),
        }
    }
}

fn values(pairs: &[(&str, Value)]) -> AttributeValues {
    pairs
        .iter()
        .map(|(path, value)| (AttributePath((*path).to_owned()), value.clone()))
        .collect()
}

fn create(pairs: &[(&str, Value)]) -> Operation {
    Operation::Create { values: values(pairs) }
}

fn find(key: &str, name: &str) -> Operation {
    Operation::Find {
        external_id: key.to_owned(),
        by: vec![(AttributePath("userName".to_owned()), name.to_owned())],
    }
}

fn code(result: Result<Reply, Failure>) -> (&'static str, String) {
    match result {
        Err(Failure::Retry(refusal, _)) => ("retry", refusal.code),
        Err(Failure::Reject(refusal)) => ("reject", refusal.code),
        Err(Failure::Halt(refusal)) => ("halt", refusal.code),
        Ok(reply) => panic!("no failure: {reply:?}"),
    }
}

fn person(key: &str, name: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("externalId", json!(key)),
        ("active", json!(true)),
        ("userName", json!(format!("{name}@acme.example"))),
        ("name.givenName", json!(name)),
        ("name.familyName", json!("Ó Bróin & Söhne + 100%")),
    ]
}

const SKYPREP_KEYS: [(&str, &str); 2] = [("apiKey", "sky-api-key"), ("acctKey", "acme.skyprepapp.example")];

async fn skyprep(change: impl FnOnce(&mut SkyPrep), more: &str) -> (VendorSim<SkyPrep>, Target) {
    let mut vendor = SkyPrep::default();
    change(&mut vendor);
    let sim = VendorSim::start(vendor).await;
    let base_url = format!("{}/admin/api", sim.base_url());
    let target = Target::new("skyprep", &base_url, &SKYPREP_KEYS, more);
    (sim, target)
}

#[tokio::test]
async fn an_account_lives_its_life_at_skyprep_whatever_the_vendor_leaves_open() {
    type Change = fn(&mut SkyPrep);
    let variants: [(Change, &str); 5] = [
        (|_| {}, ""),
        (|sim| sim.email_field = "email", "    settings: { emailField: email }\n"),
        (
            |sim| sim.keys_in_body = false,
            "    settings: { credentials: headers }\n",
        ),
        (
            |sim| (sim.deactivate_method, sim.reactivate_method) = ("disable_user", "enable_user"),
            "    settings: { deactivateMethod: disable_user, reactivateMethod: enable_user }\n",
        ),
        (
            |sim| (sim.list_in_object, sim.create_shows_user) = (true, false),
            "    operations: { list: { accounts: $.users } }\n",
        ),
    ];
    for (number, (change, more)) in variants.into_iter().enumerate() {
        println!("variant {number}");
        let (sim, target) = skyprep(change, more).await;
        assert!(matches!(target.run(Operation::Check).await, Ok(Reply::Checked(_))));
        let ada = target.create(&person("005000000000001AAA", "ada")).await;
        assert_eq!(ada.0, "9007199254740993", "no digit is lost");
        let held = sim.with(|sim| sim.users()[0].clone());
        assert_eq!(held["last_name"], "Ó Bróin & Söhne + 100%");
        assert_eq!(
            (&held["user_identifier"], &held["role"]),
            (&json!("005000000000001AAA"), &json!("learner"))
        );
        assert!(
            sim.with(|sim| sim.mails.is_empty()),
            "nobody is notified unless it is switched on"
        );
        for (key, name) in [("005000000000001AAA", "x@y"), ("other", "ADA@acme.example")] {
            let found = target.find(key, name).await;
            assert_eq!(found.iter().map(|account| &account.id).collect::<Vec<_>>(), [&ada]);
        }
        assert!(target.find("005000000000002AAA", "bob@acme.example").await.is_empty());

        let changes = [
            ("userName", json!("ada.byron@acme.example")),
            ("name.givenName", json!("Ada")),
        ];
        assert!(matches!(target.update(&ada, &changes).await, Ok(Reply::Written { .. })));
        assert_eq!(
            sim.with(|sim| sim.users()[0]["email"].clone()),
            "ada.byron@acme.example"
        );
        for active in [false, true] {
            assert!(matches!(
                target.update(&ada, &[("active", json!(active))]).await,
                Ok(Reply::Written { .. })
            ));
            assert_eq!(sim.with(|sim| sim.users()[0]["active"].clone()), active);
            let found = target.find("005000000000001AAA", "").await;
            assert_eq!(found[0].active, Some(active));
        }
        let gone = RemoteId("7".to_owned());
        assert_eq!(
            target.update(&gone, &[("active", json!(false))]).await,
            Ok(Reply::Absent)
        );
        let twin = target.run(create(&person("005000000000003AAA", "ada.byron"))).await;
        assert!(matches!(twin, Ok(Reply::Conflict(_))), "{twin:?}");
        assert_eq!(sim.with(|sim| (sim.users().len(), sim.overlaps)), (1, 0));
    }
}

#[tokio::test]
async fn a_group_lives_at_skyprep_whatever_its_methods_are_called() {
    type Change = fn(&mut SkyPrep);
    let variants: [(Change, &str); 2] = [
        (|_| {}, ""),
        (
            |sim| sim.group_methods = ["groups", "new_group", "edit_group", "members", "join", "part"],
            "    settings: { listGroupsMethod: groups, createGroupMethod: new_group, renameGroupMethod: edit_group, \
             groupMembersMethod: members, addToGroupMethod: join, removeFromGroupMethod: part }\n",
        ),
    ];
    for (change, more) in variants {
        let (sim, target) = skyprep(change, more).await;
        let abilities = target.connector.groups().unwrap();
        assert_eq!((abilities.at_once, abilities.read), (1, true), "one member per call");
        let ada = target.create(&person("005000000000001AAA", "ada")).await;
        let find = |name: &str| Operation::FindGroup { name: name.to_owned() };
        assert_eq!(target.run(find("Sales & Söhne")).await, Ok(Reply::Groups(vec![])));
        let create = || Operation::CreateGroup {
            name: "Sales & Söhne".to_owned(),
        };
        let Ok(Reply::GroupWritten(group)) = target.run(create()).await else {
            panic!("not made")
        };
        assert!(
            matches!(target.run(create()).await, Ok(Reply::Conflict(_))),
            "the name is taken"
        );
        let found = target.run(find("SALES & SÖHNE")).await;
        assert!(
            matches!(&found, Ok(Reply::Groups(groups)) if groups.len() == 1 && groups[0].id == group),
            "{found:?}"
        );
        let change = |add: &[&RemoteId], remove: &[&RemoteId]| Operation::ChangeMembers {
            id: group.clone(),
            add: add.iter().map(|id| (*id).clone()).collect(),
            remove: remove.iter().map(|id| (*id).clone()).collect(),
            known: 0,
        };
        let stranger = RemoteId("7".to_owned());
        for _ in 0..2 {
            assert_eq!(target.run(change(&[&ada], &[])).await, Ok(Reply::Changed));
        }
        assert_eq!(
            sim.with(|sim| sim.groups()[0].members.clone()),
            vec![ada.0.clone()],
            "no digit is lost"
        );
        let read = || Operation::ReadGroup(group.clone());
        assert_eq!(target.run(read()).await, Ok(Reply::Members(Some(vec![ada.clone()]))));
        assert_eq!(code(target.run(change(&[&stranger], &[])).await).0, "reject");
        let rename = Operation::RenameGroup {
            id: group.clone(),
            name: "EMEA".to_owned(),
        };
        assert_eq!(target.run(rename).await, Ok(Reply::GroupWritten(group.clone())));
        for _ in 0..2 {
            assert_eq!(target.run(change(&[], &[&ada])).await, Ok(Reply::Changed));
        }
        assert_eq!(target.run(read()).await, Ok(Reply::Members(Some(vec![]))));
        assert_eq!(sim.with(|sim| sim.groups()[0].name.clone()), "EMEA");
        let nowhere = Operation::ReadGroup(RemoteId("9".to_owned()));
        assert_eq!(target.run(nowhere).await, Ok(Reply::Absent));
    }
}

#[tokio::test]
async fn a_mail_about_a_new_user_is_sent_with_the_create_call_alone() {
    let (sim, target) = skyprep(|_| {}, "    settings: { notify: true }\n").await;
    let ada = target.create(&person("005000000000001AAA", "ada")).await;
    let _ = target.update(&ada, &[("name.givenName", json!("Ada"))]).await;
    assert_eq!(sim.with(|sim| sim.mails.clone()), ["ada@acme.example"]);
    let flagged: Vec<String> = sim
        .take_requests()
        .into_iter()
        .filter(|request| request.body.contains("email_notifications"))
        .map(|request| request.path)
        .collect();
    assert_eq!(flagged, ["/admin/api/create_user"]);
}

#[tokio::test]
async fn the_vendors_own_log_in_mail_is_asked_for_by_a_call_that_is_a_setting() {
    for (method, more) in [
        ("send_login_info", ""),
        ("resend_invite", "    settings: { inviteMethod: resend_invite }\n"),
    ] {
        let (sim, target) = skyprep(|sim| sim.invite_method = method, more).await;
        let ada = target.create(&person("005000000000001AAA", "ada")).await;
        assert_eq!(target.run(Operation::Invite(ada)).await, Ok(Reply::Taken), "{method}");
        assert_eq!(sim.with(|sim| sim.mails.clone()), ["ada@acme.example"]);
        let gone = Operation::Invite(RemoteId("7".to_owned()));
        assert_eq!(target.run(gone).await, Ok(Reply::Absent));

        let (sim, target) = miniorange(
            |sim| sim.invite_method = method,
            &format!("    settings: {{ inviteMethod: {method} }}\n"),
        )
        .await;
        let ada = target.create(&orange("ada")).await;
        assert_eq!(
            target.run(Operation::Invite(ada.clone())).await,
            Ok(Reply::Taken),
            "{method}"
        );
        assert_eq!(sim.with(|sim| sim.invited.clone()), ["ada@acme.example"]);
        let gone = Operation::Invite(RemoteId("bob@acme.example".to_owned()));
        assert_eq!(target.run(gone).await, Ok(Reply::Absent));
        // What the account says about its user, in whatever case.
        for (activated, expected) in [(false, Onboarding::Invited), (true, Onboarding::Activated)] {
            if activated {
                sim.with(|sim| sim.activate("ada@acme.example"));
            }
            let Ok(Reply::Found(found)) = target.run(Operation::Read(ada.clone())).await else {
                panic!("an account")
            };
            assert_eq!(target.connector.onboarding(&found[0]), Some(expected));
        }
    }
}

#[tokio::test]
async fn a_log_in_mail_by_a_call_that_the_vendor_does_not_have_is_refused_and_stops_nobody() {
    let (_sim, target) = skyprep(|sim| sim.invite_method = "other", "").await;
    let ada = target.create(&person("005000000000001AAA", "ada")).await;
    assert_eq!(
        code(target.run(Operation::Invite(ada)).await),
        ("reject", "not-offered".to_owned())
    );
    let (_sim, target) = miniorange(|sim| sim.invite_method = "other", "").await;
    let ada = target.create(&orange("ada")).await;
    assert_eq!(
        code(target.run(Operation::Invite(ada)).await),
        ("reject", "not-offered".to_owned())
    );
}

#[tokio::test]
async fn the_web_site_with_status_200_stops_the_target_and_proves_nobody_absent() {
    let (sim, target) = skyprep(|_| {}, "").await;
    sim.with(|sim| sim.seed("ada@acme.example", None));
    std::fs::write(target.secrets.path().join("apiKey"), "s3cret-and-wrong").unwrap();
    for operation in [
        Operation::Check,
        find("005000000000001AAA", "ada@acme.example"),
        create(&person("005000000000002AAA", "bob")),
        Operation::List { cursor: None },
    ] {
        let result = target.run(operation).await;
        let Err(Failure::Halt(refusal)) = &result else {
            panic!("a halt: {result:?}")
        };
        assert_eq!(refusal.code, "html-answer");
        assert!(!refusal.reason.contains("s3cret"), "{refusal}");
    }
    assert_eq!(sim.with(|sim| sim.users().len()), 1);
}

#[tokio::test]
async fn a_lost_answer_at_skyprep_becomes_one_account() {
    let (sim, target) = skyprep(|_| {}, "").await;
    for number in 1..=3 {
        sim.plan_fault(Fault::LoseAnswer, FaultScope::Writes, 1);
        let key = format!("00500000000000{number}AAA");
        let id = target.create(&person(&key, &format!("p{number}"))).await;
        assert_eq!(target.find(&key, "").await[0].id, id);
    }
    sim.plan_fault(Fault::Refuse, FaultScope::Writes, 1);
    assert_eq!(
        code(target.run(create(&person("005000000000009AAA", "nil"))).await).0,
        "retry"
    );
    assert_eq!(sim.with(|sim| sim.users().len()), 3);
}

#[tokio::test]
async fn the_hundredth_call_of_a_minute_is_the_last_one_and_waiting_is_asked_for() {
    let (sim, target) = skyprep(|sim| sim.per_minute = 3, "").await;
    for _ in 0..3 {
        target.run(Operation::Check).await.unwrap();
    }
    let Err(Failure::Retry(refusal, wait)) = target.run(create(&person("005000000000001AAA", "ada"))).await else {
        panic!("a retry")
    };
    assert_eq!(
        (refusal.code.as_str(), wait),
        ("http-429", Some(Duration::from_secs(2)))
    );
    assert!(sim.with(|sim| sim.users().is_empty()));
}

#[tokio::test]
async fn requests_keep_their_distance() {
    let sim = VendorSim::start(SkyPrep::default()).await;
    let base_url = format!("{}/admin/api", sim.base_url());
    let mut target = Target::new("skyprep", &base_url, &SKYPREP_KEYS, "");
    let mut http = apply_service::connector::http::HttpConfig::new(&base_url);
    http.requests_per_second = Some(20.0);
    for name in ["apiKey", "acctKey"] {
        let file = target.secrets.path().join(name);
        http.secrets.insert(name.to_owned(), SecretRef::File(file));
    }
    target.sender = HttpSender::new(http).unwrap();
    for _ in 0..4 {
        target.run(Operation::Check).await.unwrap();
    }
    let times: Vec<i64> = sim.take_requests().iter().map(|request| request.now_ms).collect();
    assert!(times[3] - times[0] >= 140, "{times:?}");
}

const ORANGE_KEYS: [(&str, &str); 2] = [("customerKey", "173025"), ("apiKey", "orange-api-key")];

async fn miniorange(change: impl FnOnce(&mut MiniOrange), more: &str) -> (VendorSim<MiniOrange>, Target) {
    let mut vendor = MiniOrange::default();
    change(&mut vendor);
    let sim = VendorSim::start(vendor).await;
    let base_url = format!("{}/moas/api/admin", sim.base_url());
    let target = Target::new("miniorange", &base_url, &ORANGE_KEYS, more);
    (sim, target)
}

fn orange(name: &str) -> Vec<(&'static str, Value)> {
    let mut values = person("005000000000001AAA", name);
    values.push((r#"emails[type eq "work"].value"#, json!(format!("{name}@acme.example"))));
    values.push(("company", json!("Acme")));
    values
}

#[tokio::test]
async fn an_account_lives_its_life_at_miniorange_whatever_the_vendor_leaves_open() {
    type Change = fn(&mut MiniOrange);
    let variants: [(Change, &str); 4] = [
        (|_| {}, ""),
        (|sim| sim.lower_case = true, ""),
        (|sim| sim.error_status = 400, ""),
        (
            |sim| sim.enable_method = "enable",
            "    settings: { enableMethod: enable }\n",
        ),
    ];
    for (number, (change, more)) in variants.into_iter().enumerate() {
        println!("variant {number}");
        let (sim, target) = miniorange(change, more).await;
        assert!(matches!(target.run(Operation::Check).await, Ok(Reply::Checked(_))));
        assert!(target.find("", "ada@acme.example").await.is_empty());
        let ada = target.create(&orange("ada")).await;
        assert_eq!(ada.0, "ada@acme.example", "the user name is the key");
        let held = |name: &str| sim.with(|sim| sim.user("ada@acme.example").unwrap()[name].clone());
        assert_eq!(
            (held("lastName"), held("company")),
            (json!("Ó Bróin & Söhne + 100%"), json!("Acme"))
        );
        let found = target.find("", "ADA@acme.example").await;
        assert_eq!(found.len(), 1, "user names have no case");
        let given = AttributePath("name.givenName".to_owned());
        assert_eq!(target.connector.read_attribute(&found[0], &given), Some(json!("ada")));
        let changes = [
            ("name.givenName", json!("Ada")),
            ("userName", json!("other@acme.example")),
        ];
        assert!(matches!(target.update(&ada, &changes).await, Ok(Reply::Written { .. })));
        assert_eq!(
            (held("firstName"), held("username")),
            (json!("Ada"), json!("ada@acme.example"))
        );
        for active in [false, true] {
            assert!(matches!(
                target.update(&ada, &[("active", json!(active))]).await,
                Ok(Reply::Written { .. })
            ));
            assert_eq!(held("enabled"), active);
        }
        let gone = RemoteId("eve@acme.example".to_owned());
        assert_eq!(
            target.update(&gone, &[("active", json!(false))]).await,
            Ok(Reply::Absent)
        );
        let twin = target.run(create(&orange("ada"))).await;
        assert!(matches!(twin, Ok(Reply::Conflict(_))), "{twin:?}");
        // No way to list everybody is documented.
        assert_eq!(code(target.run(Operation::List { cursor: None }).await).0, "reject");
    }
}

#[tokio::test]
async fn a_name_of_another_customer_is_neither_adopted_nor_tried_again() {
    for lower_case in [false, true] {
        let (sim, target) = miniorange(
            |sim| {
                sim.lower_case = lower_case;
                sim.others.insert("ada@acme.example".to_owned());
            },
            "",
        )
        .await;
        for operation in [find("", "ada@acme.example"), create(&orange("ada"))] {
            assert_eq!(
                code(target.run(operation).await),
                ("reject", "name-of-another-customer".to_owned())
            );
        }
        assert_eq!(sim.with(|sim| sim.user_count()), 0);
    }
}

#[tokio::test]
async fn the_hash_holds_the_very_timestamp_of_the_header_and_a_wrong_key_or_clock_stops_the_target() {
    let (sim, target) = miniorange(|_| {}, "").await;
    target.create(&orange("ada")).await;
    for request in sim.take_requests() {
        assert!(request.header("timestamp").bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(request.header("authorization").len(), 128);
    }
    sim.with(|sim| sim.skew_ms = -1);
    // About one person it is that person's until the connection check has failed as well: messages name people.
    let refused = |result| code(result);
    let credentials = ("halt", "credentials".to_owned());
    assert_eq!(
        refused(target.run(find("", "ada@acme.example")).await),
        ("reject", "http-403".to_owned())
    );
    assert_eq!(refused(target.run(Operation::Check).await), credentials);
    sim.with(|sim| {
        sim.skew_ms = 60_000;
        sim.api_key = "rotated".to_owned();
    });
    assert_eq!(
        refused(target.run(create(&orange("bob"))).await),
        ("reject", "http-403".to_owned())
    );
    let result = target.run(Operation::Check).await;
    let Err(Failure::Halt(refusal)) = &result else {
        panic!("a halt: {result:?}")
    };
    assert!(!refusal.reason.contains("orange-api-key"), "{refusal}");
}

#[tokio::test]
async fn a_lost_answer_at_miniorange_is_left_to_the_next_look_and_makes_one_account() {
    let (sim, target) = miniorange(|_| {}, "").await;
    sim.plan_fault(Fault::LoseAnswer, FaultScope::Writes, 1);
    let result = target.run(create(&orange("ada"))).await;
    let Ok(Reply::Conflict(refusal)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        refusal.code, "create-unclear",
        "without a key of ours nobody knows whose it is"
    );
    assert_eq!(target.find("", "ada@acme.example").await.len(), 1);
    assert_eq!(sim.with(|sim| sim.created["ada@acme.example"]), 1);
}

#[tokio::test]
async fn a_name_that_sounds_like_a_credential_is_nobodys_trouble_but_its_own() {
    let (_sim, target) = miniorange(|_| {}, "").await;
    let name = "akira.hashimoto.authorization";
    let akira = target.create(&orange(name)).await;
    assert!(!target.find("", &akira.0).await.is_empty());
    target.update(&akira, &[("company", json!("Acme"))]).await.unwrap();
    // Taken, gone, and never there: each as for everybody.
    assert!(matches!(
        target.run(create(&orange(name))).await,
        Ok(Reply::Conflict(_))
    ));
    target.run(Operation::Delete(akira.clone())).await.unwrap();
    assert_eq!(target.run(Operation::Read(akira)).await, Ok(Reply::Absent));
    // What fits nothing else is refused to this person, until the check says that it is everybody.
    let mut nameless = orange("timestamp.hash");
    nameless.retain(|(path, _)| *path != "name.givenName");
    let (verdict, why) = code(target.run(create(&nameless)).await);
    assert_eq!((verdict, why.as_str()), ("reject", "attribute-missing"));
    let mut nameless = orange("takenaka.existence");
    nameless.retain(|(path, _)| *path != "name.givenName");
    let (verdict, why) = code(target.run(create(&nameless)).await);
    assert_eq!((verdict, why.as_str()), ("reject", "attribute-missing"));
}

#[tokio::test]
async fn a_status_that_nobody_knows_is_of_that_person_until_the_check_fails_as_well() {
    let (sim, target) = miniorange(|_| {}, "").await;
    let ada = target.create(&orange("ada")).await;
    sim.with(|sim| sim.odd.insert(ada.0.clone()));
    let refused = ("reject", "http-403".to_owned());
    assert_eq!(code(target.run(find("", &ada.0)).await), refused);
    assert_eq!(code(target.run(Operation::Read(ada)).await), refused);
    assert!(matches!(target.run(Operation::Check).await, Ok(Reply::Checked(_))));
    assert!(target.find("", "bob@acme.example").await.is_empty());
}

#[tokio::test]
async fn a_name_that_another_customer_has_is_no_reason_to_refuse_the_check() {
    let (sim, target) = miniorange(|_| {}, "").await;
    sim.with(|sim| sim.others.insert("usher-connection-check".to_owned()));
    assert!(matches!(target.run(Operation::Check).await, Ok(Reply::Checked(_))));
}

#[tokio::test]
async fn an_error_that_says_nothing_is_none_at_skyprep() {
    for beside in [
        json!({"errors": []}),
        json!({"error": false}),
        json!({"error": ""}),
        json!({"error": null, "errors": {}, "error_message": " "}),
    ] {
        let (sim, target) = skyprep(|sim| sim.beside_success = beside.clone(), "").await;
        let ada = target.create(&person("005000000000001AAA", "ada")).await;
        target
            .update(&ada, &[("name.familyName", json!("King"))])
            .await
            .unwrap();
        target.update(&ada, &[("active", json!(false))]).await.unwrap();
        let held = sim.with(|sim| sim.users())[0].clone();
        assert_eq!(
            (&held["last_name"], &held["active"]),
            (&json!("King"), &json!(false)),
            "{beside}"
        );
        assert!(matches!(target.run(Operation::Check).await, Ok(Reply::Checked(_))));
    }
    for said in [
        json!("no"),
        json!(["", "no"]),
        json!({"email": ["is not valid"]}),
        json!(true),
    ] {
        let (_sim, target) = skyprep(|sim| sim.beside_success = json!({ "errors": said }), "").await;
        let ada = target.create(&person("005000000000001AAA", "ada")).await;
        let refused = target.update(&ada, &[("name.familyName", json!("King"))]).await;
        assert_eq!(code(refused).0, "reject", "{said}");
    }
}

#[tokio::test]
async fn words_about_permission_at_skyprep_are_one_persons_as_long_as_the_check_passes() {
    let (sim, target) = skyprep(|_| {}, "").await;
    let ada = target.create(&person("005000000000001AAA", "ada")).await;
    sim.with(|sim| sim.beside_success = json!({"error": "no permission to change this admin"}));
    let refused = target.update(&ada, &[("name.familyName", json!("King"))]).await;
    assert_eq!(code(refused), ("reject", "http-403".to_owned()));
    assert!(matches!(target.run(Operation::Check).await, Ok(Reply::Checked(_))));
    // Of the connection itself they stop the target.
    let answer = Fault::Answer {
        status: 200,
        content_type: "application/json".to_owned(),
        body: json!({"error": "the API key is not authorized"}).to_string(),
        retry_after: None,
    };
    sim.plan_fault(answer, FaultScope::Every, 1);
    assert_eq!(
        code(target.run(Operation::Check).await),
        ("halt", "credentials".to_owned())
    );
}
