//! `probe` against simulated vendors and servers that others wrote: it leaves nothing behind, and with the dialect that it writes an
//! account lives its whole life.
#![allow(clippy::unwrap_used)]

mod scim_support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use apply_service::connector::{
    Exchange, HttpAnswer, Reply, Request, Step,
    scim::{
        ScimConfig,
        probe::{Move, Probe, Report},
    },
};
use kafka_harness::{Express, Scim2Options, Scim2Server, ScimSdk, Scimmy};
use scim_support::{Target, Ways, life, live};
use serde_json::{Value, json};
use target_sims::{
    Behaviour, FaultScope, Moment, Rules, ScimSim, ScimSimConfig,
    rules::{Active, Deactivate, Delete, Patch, PatchAnswer, Taken},
};

const TOKEN: &str = "s3cret-token";

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

/// A whole probe. Pauses are counted, not waited for.
async fn probed(base_url: &str) -> (Report, u64) {
    let target = Target::new(base_url, Some(TOKEN), ScimConfig::default());
    let mut probe = Probe::new(ScimConfig::default(), "m4rk", "acme.com");
    let (mut answer, mut waited) = (None, 0);
    loop {
        match probe.step(answer.take()) {
            Move::Send(request) => {
                let heard = Arc::default();
                let one = One(Some(request), Arc::clone(&heard));
                let _ = target.sender.run(Box::new(one), &target.lease).await;
                answer = heard.lock().unwrap().take();
            }
            Move::Wait(pause) => waited += pause.as_secs(),
            Move::Done => return (probe.report(), waited),
        }
    }
}

async fn sim(rules: Rules) -> ScimSim {
    ScimSim::start(ScimSimConfig {
        bearer_token: Some(TOKEN.to_owned()),
        behaviour: Behaviour::of_rules(rules),
        ..ScimSimConfig::default()
    })
    .await
}

/// The settings of a file that holds these keys.
fn settings(report: &Report) -> ScimConfig {
    let config: ScimConfig = serde_json::from_value(Value::Object(report.keys.clone())).unwrap();
    assert_eq!(config.validate(), Vec::<String>::new());
    config
}

fn ways(rules: &Rules) -> Ways {
    Ways {
        off_is_gone: matches!(rules.deactivate, Deactivate::Removes | Deactivate::Hides),
        delete_keeps: rules.delete == Delete::Deactivates,
        keyless: rules.forgets_external_id,
    }
}

fn says(report: &Report, question: &str, words: &str) -> bool {
    let row = report.rows.iter().find(|row| row.question == question);
    row.unwrap_or_else(|| panic!("{question}")).answer.contains(words)
}

#[tokio::test]
async fn the_dialect_that_is_found_carries_a_whole_life_at_every_vendor() {
    for vendor in Rules::vendors() {
        println!("{vendor}");
        let rules = Rules::of(vendor);
        let sim = sim(rules.clone()).await;
        sim.seed_user(
            json!({"userName": "grace", "displayName": "Grace", "emails": [{"value": "grace", "primary": true}]}),
        );
        let (report, _) = probed(sim.base_url()).await;
        let left: Vec<Value> = sim
            .users()
            .into_iter()
            .filter(|user| user["userName"] != "grace")
            .collect();
        if ways(&rules).delete_keeps {
            // It cannot be removed, so it is switched off and named.
            assert_eq!((left.len(), report.left.len()), (1, 1), "{report:#?}");
            assert_eq!(left[0]["active"], false);
            assert_eq!(report.keys["delete"], "deactivates");
        } else if rules.deactivate == Deactivate::Hides {
            assert!(left.iter().all(|user| user["active"] == false));
        } else {
            assert_eq!((left, &report.left[..]), (Vec::new(), &[][..]), "{report:#?}");
        }
        assert_eq!(
            sim.users().iter().filter(|user| user["displayName"] == "Grace").count(),
            1
        );
        assert_eq!(sim.groups(), Vec::<Value>::new(), "{report:#?}");
        life(
            &Target::new(sim.base_url(), Some(TOKEN), settings(&report)),
            ways(&rules),
            "ada",
        )
        .await;
    }
}

#[tokio::test]
async fn each_difference_is_found_out_and_becomes_its_key() {
    let rules = Rules::default;
    let versions = Rules {
        versions: true,
        ..rules()
    };
    let cases: [(Rules, Value); 13] = [
        (
            Rules {
                user_name: target_sims::rules::UserName::LowerCase,
                ..rules()
            },
            json!({"lookupCase": "exact"}),
        ),
        (rules(), json!({"lookupCase": "exact"})),
        (versions, json!({"lookupCase": "exact"})),
        (
            Rules {
                patch: Patch::None,
                ..rules()
            },
            json!({"lookupCase": "exact", "patch": "put"}),
        ),
        (
            Rules {
                patch: Patch::PathLess,
                ..rules()
            },
            json!({"lookupCase": "exact", "patch": "pathless"}),
        ),
        (
            Rules {
                patch: Patch::OnlyActive,
                ..rules()
            },
            json!({"lookupCase": "exact", "patch": "put"}),
        ),
        (
            Rules {
                active: Active::Text,
                ..rules()
            },
            json!({"activeAsString": true, "lookupCase": "exact"}),
        ),
        (
            Rules {
                patch_answer: PatchAnswer::Before,
                ..rules()
            },
            json!({"lookupCase": "exact", "verifyWrites": true}),
        ),
        (
            Rules {
                filter_minds_case: true,
                ..rules()
            },
            json!({}),
        ),
        (
            Rules {
                filter_ignored: true,
                ..rules()
            },
            json!({"filter": "none"}),
        ),
        (
            Rules {
                filter_by: vec!["userName".to_owned()],
                filter_hides_ignorance: true,
                ..rules()
            },
            json!({"filterBy": ["userName"], "lookupCase": "exact"}),
        ),
        (
            Rules {
                forgets_external_id: true,
                ..rules()
            },
            json!({"externalId": false, "lookupCase": "exact"}),
        ),
        (
            Rules {
                discovery: target_sims::rules::Discovery::Absent,
                ..rules()
            },
            json!({"discovery": "never", "lookupCase": "exact"}),
        ),
    ];
    for (rules, keys) in cases {
        println!("{rules:?}");
        let sim = sim(rules.clone()).await;
        sim.seed_user(json!({"userName": "grace"}));
        sim.seed_user(json!({"userName": "alan"}));
        let (report, _) = probed(sim.base_url()).await;
        let found: Value = Value::Object(report.keys.clone());
        assert_eq!(found, keys, "{report:#?}");
        assert_eq!((sim.users().len(), report.left.len()), (2, 0));
        life(
            &Target::new(sim.base_url(), Some(TOKEN), settings(&report)),
            ways(&rules),
            "ada",
        )
        .await;
    }
}

#[tokio::test]
async fn groups_are_found_out_on_one_of_our_own() {
    type Change = fn(&mut Behaviour);
    let cases: [(Change, Value, &str, &str); 4] = [
        (|_| {}, json!(null), "PATCH that removes members[...]", "done"),
        (
            |behaviour| behaviour.hide_members = true,
            json!({"showsMembers": false}),
            "members of a group",
            "not shown",
        ),
        (
            |behaviour| behaviour.members_removed_by_value_only = true,
            json!({"remove": "value"}),
            "PATCH that removes members[...]",
            "400, refused",
        ),
        (
            |behaviour| behaviour.patch_supported = false,
            json!(null),
            "PATCH that adds a member",
            "501, refused",
        ),
    ];
    for (change, keys, question, words) in cases {
        let sim = sim(Rules::default()).await;
        sim.set_behaviour(change);
        sim.seed_group(json!({"displayName": "Sales"}));
        let (report, _) = probed(sim.base_url()).await;
        let found = report.keys.get("groups").cloned().unwrap_or_default();
        assert_eq!(found, keys, "{report:#?}");
        assert!(says(&report, question, words), "{report:#?}");
        let names: Vec<Value> = sim.groups().iter().map(|group| group["displayName"].clone()).collect();
        assert_eq!(
            (names, sim.users().len(), report.left.len()),
            (vec![json!("Sales")], 0, 0)
        );
        // It wrote to no group but its own.
        let others = sim
            .writes()
            .into_iter()
            .filter(|write| write.path.starts_with("/Groups/"));
        let made = sim
            .requests()
            .into_iter()
            .find(|request| request.method == "POST" && request.path == "/Groups");
        let made = made.and_then(|request| request.resource).unwrap();
        assert!(
            others
                .map(|write| write.path)
                .all(|path| path == format!("/Groups/{made}"))
        );
    }
}

#[tokio::test]
async fn what_needs_a_person_is_said() {
    let rules = Rules {
        unseen_for: 3,
        one_page: true,
        versions: true,
        taken: Taken::ServerError,
        deactivate: Deactivate::Ignored,
        delete: Delete::KeepsName,
        ..Rules::default()
    };
    let sim = sim(rules).await;
    for name in ["grace", "alan"] {
        sim.seed_user(json!({"userName": name}));
    }
    let (report, waited) = probed(sim.base_url()).await;
    assert_eq!(
        waited,
        1 + 2 + 4,
        "three look-ups in vain; a create is not repeated after a 500"
    );
    for (question, words) in [
        ("look-up after a create", "7 s"),
        ("second page by index", "every page is page one"),
        ("a write with a version that never was", "412, refused"),
        ("create of a name that is taken", "500, not understood"),
        ("switching off", "not possible, or ignored"),
        ("DELETE", "204"),
    ] {
        assert!(says(&report, question, words), "{question}: {report:#?}");
    }
}

#[tokio::test]
async fn servers_of_others_are_found_out() {
    let strict = Scim2Server::start(Scim2Options {
        bearer_token: Some(TOKEN.to_owned()),
        ..Scim2Options::default()
    })
    .await;
    let (report, _) = probed(strict.base_url()).await;
    assert_eq!(
        Value::Object(report.keys.clone()),
        json!({"lookupCase": "exact"}),
        "{report:#?}"
    );
    assert!(says(&report, "a write with a version that never was", "412"));
    assert!(says(&report, "PATCH that adds a member", "done"), "{report:#?}");
    assert!(
        says(&report, "DELETE of a group", "204") && report.left.is_empty(),
        "{report:#?}"
    );
    assert_eq!(groups_of(strict.base_url()).await, 0);
    live(&Target::new(strict.base_url(), Some(TOKEN), settings(&report))).await;

    let lenient = Scimmy::start(Express::Four, TOKEN).await;
    let (report, _) = probed(lenient.base_url()).await;
    assert_eq!(
        Value::Object(report.keys.clone()),
        json!({}),
        "its filters mind the case: {report:#?}"
    );
    live(&Target::new(lenient.base_url(), Some(TOKEN), settings(&report))).await;

    let java = ScimSdk::start(TOKEN).await;
    let (report, _) = probed(java.base_url()).await;
    assert!(report.left.is_empty(), "{report:#?}");
    live(&Target::new(java.base_url(), Some(TOKEN), settings(&report))).await;
}

/// How many groups a server has.
async fn groups_of(base_url: &str) -> u64 {
    let request = reqwest::Client::new()
        .get(format!("{base_url}/Groups"))
        .bearer_auth(TOKEN);
    let list: Value = request.send().await.unwrap().json().await.unwrap();
    list["totalResults"].as_u64().unwrap()
}

/// The command, as an operator has it.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(base_url: &str) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("policy")).unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        let text = format!(
            "target: helpdesk\npreset: scim\nmode: observe\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nconnection:\n  \
             baseUrl: '{base_url}'\n  auth: {{ bearerTokenFile: {} }}\n",
            folder.path().join("token").display()
        );
        std::fs::write(folder.path().join("policy/helpdesk.yaml"), text).unwrap();
        Self { folder }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apply-service"));
        command.args(["probe", "--target", "helpdesk", "--policy"]);
        command.arg(self.folder.path().join("policy")).args(more);
        command
    }
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_first_then_does_it_and_writes_the_dialect() {
    let sim = sim(Rules::of("zoom")).await;
    let files = Files::new(sim.base_url());
    let (mut asking, file) = (files.command(&[]), files.folder.path().join("found.yaml"));
    let output = blocking(move || asking.output().unwrap()).await;
    assert!(
        output.status.success() && text(&output).contains("Say --yes"),
        "{}",
        text(&output)
    );
    assert!(sim.requests().is_empty(), "nothing is sent before --yes");

    let mut doing = files.command(&["--yes", "--domain", "acme.com", "--write", file.to_str().unwrap()]);
    let output = blocking(move || doing.output().unwrap()).await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("PATCH by path") && text(&output).contains("patch: put"),
        "{}",
        text(&output)
    );
    assert!(!text(&output).contains(TOKEN));
    assert!(sim.users().is_empty());
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("# Found by `apply-service probe --target helpdesk`"));
    // It may stand in a target's file as it is.
    let policy = files.folder.path().join("policy/helpdesk.yaml");
    let whole = std::fs::read_to_string(&policy).unwrap() + &written.replace("connection:\n", "");
    std::fs::write(&policy, whole).unwrap();
    let loaded = apply_service::policy::load(&files.folder.path().join("policy")).unwrap();
    let target = loaded.targets.into_values().next().unwrap();
    let apply_service::policy::Dialect::Scim(config) = target.connection.dialect else {
        panic!("SCIM")
    };
    assert_eq!(config.patch, apply_service::connector::scim::config::PatchMode::Put);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_probe_removes_its_account() {
    let sim = sim(Rules::default()).await;
    let files = Files::new(sim.base_url());
    sim.close_gate(Moment::BeforeEffect, FaultScope::Writes);
    let mut child = files
        .command(&["--yes"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while sim.caught_at_gate() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (pid, errors) = (child.id().to_string(), child.stderr.take().unwrap());
    // The create is under way. The signal is heard before it is let on.
    blocking(move || {
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut lines = BufReader::new(errors).lines();
        lines.find(|line| line.as_ref().unwrap().contains("shutting down"))
    })
    .await
    .unwrap()
    .unwrap();
    sim.open_gate();
    let output = blocking(move || child.wait_with_output().unwrap()).await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(sim.users().is_empty());
    let methods: Vec<String> = sim.writes().into_iter().map(|write| write.method).collect();
    assert_eq!(methods, ["POST", "DELETE"]);
}
