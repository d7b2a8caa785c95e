//! A list for Spinify, whole: from the first sync to a leaver who is gone from the file, over kills of its owner, and a filter
//! that would empty it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use salesforce_sim::SimConfig;
use scenarios::{APPROVER, Scene, Service, eventually};
use serde_json::{Value, json};

const FILE: &str = "spinify-users.csv";

struct List {
    scene: Scene,
    folder: PathBuf,
}

impl List {
    /// `more` over the file of the target.
    fn policy(&self, filter: &str) {
        let policy = json!({
            "target": "spinify", "preset": "spinify-csv", "mode": "enforce", "sources": [self.scene.sim.org_id()],
            "scope": { "filter": filter },
            "connection": { "roster": { "place": { "folder": { "path": self.folder } }, "leavers": "leave",
                "quiet": "300ms", "atMost": "2s" } },
        });
        let folder = self.scene.path("policy");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("spinify.yaml"), policy.to_string()).unwrap();
    }

    async fn apply(&self, name: &str) -> Service {
        let change = json!({ "http": { "tokensFile": self.scene.tokens_file() }, "commands": { "wait": "5s" } });
        self.scene.apply_with(name, &change).await
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    /// The rows by user id, as Python reads them.
    fn rows(&self, name: &str) -> BTreeMap<String, Value> {
        let script = "import csv,json,sys; print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')))))";
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(self.folder.join(name))
            .output()
            .unwrap();
        if !output.status.success() {
            return BTreeMap::new();
        }
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        rows.into_iter()
            .map(|row| (row["User ID"].as_str().unwrap().to_owned(), row))
            .collect()
    }

    /// Who should have a row: active, with everything that the gate asks for.
    fn wanted(&self) -> BTreeMap<String, String> {
        let members = self.scene.members().into_iter().filter(|user| {
            let has = |field: &str| user.text(field).is_some_and(|text| !text.trim().is_empty());
            user.is_active() && has("Email") && has("FirstName") && has("LastName")
        });
        members
            .map(|user| (user.id.to_string(), user.text("Email").unwrap().to_owned()))
            .collect()
    }

    fn differences(&self) -> Result<(), String> {
        let rows = self.rows(FILE);
        let emails = rows
            .iter()
            .map(|(id, row)| (id.clone(), row["Email"].as_str().unwrap_or_default().to_owned()));
        let (have, wanted): (BTreeMap<_, _>, _) = (emails.collect(), self.wanted());
        if have == wanted {
            Ok(())
        } else {
            Err(format!("have {} rows, wanted {}", have.len(), wanted.len()))
        }
    }

    async fn follows(&self, what: &str) {
        eventually(what, || async { self.differences() }).await;
    }

    async fn lane(&self, service: &Service, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            let status = service.whole_status().await;
            let target = &status["targets"]["spinify"];
            if holds(target) {
                Ok(target.clone())
            } else {
                Err(target.to_string())
            }
        })
        .await
    }

    async fn approve(&self, service: &Service, id: &str) {
        let answer = reqwest::Client::new()
            .post(format!("{}/v1/targets/spinify/held/{id}/approve", service.url))
            .bearer_auth(APPROVER)
            .json(&json!({ "reason": "looked at" }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_follows_the_org_from_its_first_sync_to_a_leaver_and_a_filter_that_would_empty_it() {
    let scene = Scene::set(SimConfig {
        users: 60,
        seed: 83,
        ..SimConfig::default()
    })
    .await;
    let folder = scene.path("lists");
    std::fs::create_dir(&folder).unwrap();
    let list = List { scene, folder };
    list.policy("all");
    let ingest = list.scene.ingest("ingest", &json!({})).await;
    ingest.settled().await;

    // Nothing is written before somebody has seen the report.
    let apply = list.apply("apply").await;
    list.lane(&apply, "the first sync waits", |target| {
        target["lane"]["firstSyncWaits"] == true
    })
    .await;
    assert_eq!(list.text(FILE), None);
    let config = list.scene.apply_config(&json!({ "log": { "filter": "error" } }));
    let config = config.to_str().unwrap();
    let (code, planned) = list.scene.command("apply-service", &["plan", "--config", config]).await;
    let everybody = list.wanted().len();
    assert!(
        code == 2 && planned.contains(&format!("of the list {everybody} rows would enter, 0 change, 0 leave")),
        "{planned}"
    );
    let (code, checked) = list
        .scene
        .command("apply-service", &["check", "--config", config])
        .await;
    assert!(
        code == 0 && checked.contains("can be written; spinify-users.csv is not there yet"),
        "{checked}"
    );
    assert_eq!(
        std::fs::read_dir(&list.folder).unwrap().count(),
        0,
        "the check leaves nothing behind"
    );
    list.approve(&apply, "first-sync").await;
    list.follows("everybody has a row").await;
    let first = list.text(FILE).unwrap();
    assert!(first.starts_with("First Name,Last Name,Email,Active,Time Zone,User ID\r\n"));
    assert_eq!(
        list.text("spinify-users.csv.previous"),
        None,
        "written once, whole: nobody saw a part of it"
    );

    // A leaver, with the owner killed right after.
    let wanted = list.wanted();
    let own: BTreeSet<String> = [
        list.scene.org().admin_id().to_string(),
        list.scene.org().integration_user_id().to_string(),
    ]
    .into();
    let mut people = wanted.keys().filter(|id| !own.contains(*id));
    let (leaver, renamed) = (people.next().unwrap().clone(), people.next().unwrap().clone());
    let org = list.scene.org();
    org.update_user(&leaver, json!({ "IsActive": false })).unwrap();
    apply.process.sigkill();
    apply.process.wait(scenarios::PATIENCE).await;
    assert_eq!(list.text(FILE).unwrap(), first);
    let apply = list.apply("apply-2").await;
    list.follows("the leaver is gone").await;
    let leavers_row = |name: &str| list.rows(name).contains_key(&leaver);
    assert!(!leavers_row(FILE) && leavers_row("spinify-users.csv.previous"));

    // Others put their hands on the file: it is what is wanted again with the next change.
    std::fs::write(
        list.folder.join(FILE),
        list.text(FILE).unwrap() + "Eve,E,eve@evil.example,TRUE,,\r\n",
    )
    .unwrap();
    org.update_user(&renamed, json!({ "FirstName": "=HYPERLINK(\"http://evil\")" }))
        .unwrap();
    eventually("a first name that is a formula is text", || async {
        let row = list.rows(FILE).get(&renamed).cloned().unwrap_or_default();
        if row["First Name"] == "'=HYPERLINK(\"http://evil\")" {
            Ok(())
        } else {
            Err(row.to_string())
        }
    })
    .await;
    list.follows("and nobody else is in it").await;

    // A filter that nobody passes: the guard holds it, and the list stays.
    let before = list.text(FILE).unwrap();
    apply.process.sigkill();
    apply.process.wait(scenarios::PATIENCE).await;
    list.policy("Email = 'nobody@nowhere.example'");
    let apply = list.apply("apply-3").await;
    let all = list.rows(FILE).len();
    list.lane(&apply, "all of them are held", |target| {
        target["lane"]["held"] == json!(all)
    })
    .await;
    assert_eq!(list.text(FILE).unwrap(), before);
}
