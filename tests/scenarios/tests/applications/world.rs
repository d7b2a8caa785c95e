//! What the scenarios share: a small company, the two services with one target, and what may be said about any vendor.

use std::collections::BTreeMap;

use salesforce_sim::{FieldDef, FieldKind, SimConfig, SimUser};
use scenarios::{APPROVER, OPERATOR, PATIENCE, Scene, Service, eventually};
use serde_json::{Value, json};
use target_sims::{VendorAnswer, VendorRequest};

/// The custom field with the one profile that somebody has in another org.
pub(crate) const HUB_PROFILE: &str = "Hub_Profile__c";

/// An org without people: whoever belongs is hired by the scenario.
pub(crate) async fn company() -> Scene {
    let mut config = SimConfig {
        users: 3,
        seed: 97,
        ..SimConfig::default()
    };
    config
        .custom_fields
        .push(FieldDef::custom(HUB_PROFILE, FieldKind::Text));
    Scene::set(config).await
}

/// Hires somebody of the department that belongs: `name@acme.example`, who logs in as `name@crm.acme.example`. `more` over that.
pub(crate) fn hire(scene: &Scene, name: &str, more: Value) -> String {
    let capital = name[..1].to_uppercase() + &name[1..];
    let mut fields = json!({
        "Username": format!("{name}@crm.acme.example"), "Email": format!("{name}@acme.example"), "FirstName": capital,
        "LastName": "Byron", "IsActive": true, "Department": "Sales", "Title": "AE", "CompanyName": "Acme",
        "TimeZoneSidKey": "Europe/London", "LocaleSidKey": "en_GB",
    });
    for (field, value) in more.as_object().unwrap() {
        fields[field] = value.clone();
    }
    scene.org().create_user(fields).unwrap()
}

/// Everybody of the department, by id.
pub(crate) fn department(scene: &Scene) -> BTreeMap<String, SimUser> {
    let all = scene.org().users().into_iter();
    let department = all.filter(|user| user.text("Department") == Some("Sales"));
    department.map(|user| (user.id.clone(), user)).collect()
}

/// A field of a user, or nothing.
pub(crate) fn text<'a>(user: &'a SimUser, field: &str) -> &'a str {
    user.text(field).unwrap_or_default()
}

/// How a target's file comes about.
pub(crate) struct Start<'a> {
    pub(crate) preset: &'a str,
    /// What goes into the blanks, by how they begin.
    pub(crate) blanks: &'a [(&'a str, String)],
    /// Lines of the starting file that a reader of its comments changes.
    pub(crate) edits: &'a [(&'a str, &'a str)],
    /// `_defaults.yaml`: where the simulator is, and what makes the test fast. The file itself stays above it.
    pub(crate) defaults: Value,
}

/// One application with both services.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) target: String,
    ingest: Service,
    pub(crate) apply: Service,
    starts: u32,
}

impl World {
    /// Writes the policy and starts both services.
    pub(crate) async fn start(scene: Scene, start: &Start<'_>) -> Self {
        let target = begin(&scene, start).await;
        let change = json!({ "fields": { "custom": [HUB_PROFILE] }, "http": { "tokensFile": scene.tokens_file() } });
        let ingest = scene.ingest("ingest", &change).await;
        ingest.settled().await;
        let apply = apply(&scene, 0).await;
        Self {
            scene,
            target,
            ingest,
            apply,
            starts: 0,
        }
    }

    /// Apply-service dies without a word, and another one is started.
    pub(crate) async fn kill(&mut self) {
        self.apply.process.sigkill();
        self.apply.process.wait(PATIENCE).await;
        self.starts += 1;
        self.apply = apply(&self.scene, self.starts).await;
    }

    /// Changes somebody.
    pub(crate) fn change(&self, id: &str, fields: Value) {
        self.scene.org().update_user(id, fields).unwrap();
    }

    pub(crate) async fn status(&self) -> Value {
        self.apply.whole_status().await["targets"][&self.target].clone()
    }

    /// Waits for what the status says about the target's work.
    pub(crate) async fn lane(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            let status = self.status().await;
            if holds(&status["lane"]) {
                Ok(status["lane"].clone())
            } else {
                Err(status.to_string())
            }
        })
        .await
    }

    /// Waits until nobody is owed anything, so many have an account, and so many are refused.
    pub(crate) async fn rests(&self, links: usize, rejected: usize) -> Value {
        self.lane(&format!("{links} have accounts and {rejected} are refused"), |lane| {
            lane["pending"] == 0 && lane["inFlight"] == 0 && lane["links"] == links && lane["rejected"] == rejected
        })
        .await
    }

    /// The report of the first sync, which waits for somebody to look at it; then it is approved by the command line.
    pub(crate) async fn approves_first_sync(&self, expected: &[(&str, usize)]) -> Value {
        let lane = self
            .lane("the first sync waits", |lane| lane["firstSyncWaits"] == true)
            .await;
        let report = lane["firstSync"].clone();
        for (what, expected) in expected {
            assert_eq!(report[what], json!(expected), "{what}: {report}");
        }
        let (target, reason) = (self.target.as_str(), "looked through");
        self.order(
            APPROVER,
            &["approve", "first-sync", "--target", target, "--reason", reason],
        )
        .await;
        report
    }

    /// Waits until there is nothing to complain about.
    pub(crate) async fn until(&self, what: &str, complaints: impl Fn() -> Vec<String>) {
        eventually(what, || async {
            let found = complaints();
            if found.is_empty() {
                Ok(())
            } else {
                Err(format!("{found:?}; {}", self.status().await))
            }
        })
        .await;
    }

    async fn order(&self, token: &str, arguments: &[&str]) -> String {
        let file = self.scene.token_file(token);
        let more = ["--url", &self.apply.url, "--token-file", file.to_str().unwrap()];
        let line: Vec<&str> = arguments.iter().copied().chain(more).collect();
        let (code, said) = self.scene.command("apply-service", &line).await;
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    }

    /// How somebody stands at the target.
    pub(crate) async fn person(&self, id: &str) -> Value {
        let path = format!("/v1/users/{}:{id}?history=200", self.scene.sim.org_id());
        let (status, mut answer) = self.apply.ask("GET", &path, OPERATOR, &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        let mut person = answer["targets"][0].take();
        person["outcomes"] = answer["history"]["outcomes"].take();
        person
    }

    /// Somebody is refused for good and is said to be, with these words: in the status, in one outcome, and by `where`.
    pub(crate) async fn refused(&self, id: &str, code: &str, words: &str) {
        let person = eventually("refused", || async {
            let person = self.person(id).await;
            if person["link"]["state"]["is"] == "rejected" || person["lastError"].is_string() {
                Ok(person)
            } else {
                Err(person.to_string())
            }
        })
        .await;
        let error = person["lastError"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{words}: {person}");
        assert!(person["nextTry"].is_null(), "no further try by itself: {person}");
        let outcomes = person["outcomes"].as_array().unwrap();
        let refused: Vec<&Value> = outcomes
            .iter()
            .filter(|outcome| outcome["result"] == "rejected" && outcome["errorCode"] == code)
            .collect();
        assert_eq!(refused.len(), 1, "{code}: {outcomes:#?}");
        let said = self.order(OPERATOR, &["where", id]).await;
        assert!(
            said.contains("refused since") && said.contains(words) && !said.contains("next try"),
            "{said}"
        );
    }

    /// Ends both services in the orderly way; gives what was around them.
    pub(crate) async fn stop(self) -> Scene {
        self.apply.stop().await;
        self.ingest.stop().await;
        self.scene
    }
}

async fn apply(scene: &Scene, number: u32) -> Service {
    let change = json!({ "http": { "tokensFile": scene.tokens_file() }, "commands": { "wait": "10s" } });
    scene.apply_with(&format!("apply-{number}"), &change).await
}

/// The target's file as `init` writes it, with the blanks filled in; gives the target's name.
async fn begin(scene: &Scene, start: &Start<'_>) -> String {
    let folder = scene.path("policy");
    std::fs::create_dir_all(&folder).unwrap();
    let line = ["init", "--preset", start.preset, "--policy", folder.to_str().unwrap()];
    let (code, said) = scene.command("apply-service", &line).await;
    assert_eq!(code, 0, "{said}");
    let written = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut text = std::fs::read_to_string(&written).unwrap();
    let org = scene.sim.org_id();
    while let Some((before, rest)) = text.split_once("\"<") {
        let (blank, after) = rest.split_once(">\"").unwrap();
        let known = start.blanks.iter().find(|(begins, _)| blank.starts_with(begins));
        let value = match (known, blank) {
            (Some((_, value)), _) => value.as_str(),
            (None, blank) if blank.starts_with("organization id") => &org,
            (None, blank) if blank.starts_with("SOQL WHERE") => "Department = 'Sales'",
            (None, blank) => panic!("nobody says what belongs into <{blank}>"),
        };
        text = format!("{before}{}{after}", json!(value));
    }
    for (from, to) in start.edits {
        assert!(text.contains(from), "{from} is not in the starting file:\n{text}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(&written, text).unwrap();
    let mut defaults = start.defaults.clone();
    defaults["retry"] = json!({ "base": "200ms", "max": "1s" });
    std::fs::write(folder.join("_defaults.yaml"), defaults.to_string()).unwrap();
    written.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// A file with a secret.
pub(crate) fn secret(scene: &Scene, name: &str, text: &str) -> String {
    let path = scene.path(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    path.display().to_string()
}

/// So often a name that is taken is tried, because its holder may give it up soon; then it is the operator's.
const CONFLICT_TRIES: usize = 8;

/// Nothing that the vendor has refused was asked again and again, and nothing was over its pace. `taken` are the vendor's
/// words for a name that somebody has. Reads that find nobody are no matter: they are asked where somebody may have come.
pub(crate) fn assert_polite(refused: &[(VendorRequest, VendorAnswer)], taken: &str) {
    let mut times: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for (request, answer) in refused {
        assert_ne!(answer.status, 429, "over the vendor's pace: {}", request.path);
        if request.method != "GET" {
            let line = format!(
                "{} {} {} -> {}",
                request.method, request.path, request.body, answer.body
            );
            *times.entry((line, answer.body.contains(taken))).or_default() += 1;
        }
    }
    // One more where a kill came between the answer and its record.
    let most = |taken: bool| if taken { CONFLICT_TRIES + 1 } else { 2 };
    let again: Vec<_> = times
        .into_iter()
        .filter(|((_, taken), times)| *times > most(*taken))
        .collect();
    assert!(again.is_empty(), "asked again and again: {again:#?}");
}

/// The most requests that arrived within so many milliseconds.
pub(crate) fn busiest(requests: &[VendorRequest], window_ms: i64) -> usize {
    let times: Vec<i64> = requests.iter().map(|request| request.now_ms).collect();
    let of = |from: &i64| {
        times
            .iter()
            .filter(|at| (*from..*from + window_ms).contains(*at))
            .count()
    };
    times.iter().map(of).max().unwrap_or(0)
}
