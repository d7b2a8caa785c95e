//! The command line as an operator meets it: exit codes, and one message per problem with its place and way out.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use axum::{Router, response::Html};
use kafka_harness::Kafka;
use target_sims::{ScimSim, ScimSimConfig};
use tempfile::TempDir;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apply-service"));
    command.args(arguments).output().expect("the binary starts")
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).expect("text")
}

fn policy(base_url: &str) -> String {
    format!(
        "target: helpdesk\npreset: scim\nmode: enforce\nsources: ['00D000000000001EAA']\n\
         connection: {{ baseUrl: '{base_url}', auth: none }}\nscope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\n"
    )
}

/// A folder with `usher.yaml` and `policy/helpdesk.yaml`.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(config: &str, policy: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let files = Self { folder };
        std::fs::create_dir(files.path("policy")).expect("a folder");
        std::fs::write(files.path("usher.yaml"), config).expect("a file");
        std::fs::write(files.path("policy/helpdesk.yaml"), policy).expect("a file");
        files
    }
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
    fn run(&self, arguments: &[&str]) -> Output {
        let (config, policy) = (self.path("usher.yaml"), self.path("policy"));
        let mut all = arguments.to_vec();
        all.extend(["--config", &config, "--policy", &policy]);
        run(&all)
    }
}

fn kafka_config(kafka: &Kafka, prefix: &str) -> String {
    format!(
        "kafka: {{ bootstrapServers: '{}', prefix: '{prefix}', replicationFactor: 1 }}\n",
        kafka.bootstrap()
    )
}

#[test]
fn a_wrong_command_line_exits_with_64_and_help_with_0() {
    assert_eq!(run(&["rum"]).status.code(), Some(64));
    assert_eq!(run(&["plan", "--target", "Not A Name"]).status.code(), Some(64));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn the_manual_is_in_the_binary() {
    let output = run(&["print-config", "--defaults"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.default.yaml");
    assert_eq!(text(&output), std::fs::read_to_string(file).expect("the defaults"));
}

#[test]
fn the_manual_of_a_policy_file_is_in_the_binary_as_well() {
    let output = run(&["print-config", "policy"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output);
    for key in [
        "scope:",
        "  filter:",
        "lifecycle:",
        "  deleteAfter:",
        "assignments:",
        "  managersControlCapture:",
    ] {
        let line = shown.lines().find(|line| line.starts_with(key));
        assert!(line.is_some_and(|line| line.contains(" # ")), "{key}: {shown}");
    }
}

#[test]
fn mistakes_of_the_service_and_of_the_policy_are_shown_in_one_run_each_at_its_place() {
    let files = Files::new(
        "kafka:\n  bootstrapServers: ''\nshutdown: { graceSeconds: 0 }\n",
        &policy("https://h.example").replace("scope", "scoop"),
    );
    for command in ["check", "run", "plan"] {
        let output = files.run(&[command]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let shown = text(&output);
        for words in [
            "usher.yaml:2:3: kafka.bootstrapServers: is empty; name at least one broker",
            "  |   bootstrapServers: ''\n  |   ^",
            "usher.yaml:3:13: shutdown.graceSeconds: must be at least 1",
            "helpdesk.yaml:6:1: scoop: unknown key; did you mean `scope`?",
        ] {
            assert!(shown.contains(words), "{command}: {words}: {shown}");
        }
    }
    // The folder that the file names, also when other keys of it are wrong.
    let folder = files.path("policy");
    std::fs::write(
        files.path("usher.yaml"),
        format!("kafkaa: {{}}\npolicy: {{ folder: '{folder}' }}\n"),
    )
    .expect("a file");
    let shown = text(&run(&["check", "--config", &files.path("usher.yaml")]));
    assert!(
        shown.contains("kafkaa: unknown key") && shown.contains("scoop: unknown key"),
        "{shown}"
    );
    // What only several files say together has its place, too: here beside a target of another name.
    let files = Files::new(
        "kafka: { bootstrapServers: '127.0.0.1:1' }\n",
        &policy("https://h.example"),
    );
    let other = policy("https://h.example").replace("helpdesk", "crm") + "formerly: helpdesk\n";
    std::fs::write(files.path("policy/zz.yaml"), other).expect("a file");
    let mails = "target: post\npreset: scim\nmode: observe\nsources: ['00D000000000001EAA']\nscope: { filter: all }\n\
                 connection: { baseUrl: 'https://post.example', auth: none }\nnotify: { onCreate: { user: true } }\n";
    let shown = text(&files.run(&["check"]));
    for words in [
        "zz.yaml:5:1: connection: helpdesk (",
        "zz.yaml:8:1: formerly: helpdesk is the name of a target of this folder",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    std::fs::remove_file(files.path("policy/zz.yaml")).expect("a file");
    std::fs::write(files.path("policy/post.yaml"), mails).expect("a file");
    let shown = text(&files.run(&["check"]));
    assert!(
        shown.contains("post.yaml:7:")
            && shown.contains("notify sends mail, and the service's configuration has no mail server"),
        "{shown}"
    );
}

#[test]
fn a_configuration_with_typos_is_shown_whole() {
    let files = Files::new("kafka:\n  bootstrapServer: x\nhtpp: {}\n", &policy("https://h.example"));
    let output = files.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    for words in [
        "usher.yaml:2:3: kafka.bootstrapServer: unknown key; did you mean `bootstrapServers`?",
        "usher.yaml:3:1: htpp",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_every_problem_at_once() {
    let html = Router::new().fallback(async || Html("<html>log in</html>"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
    let server = tokio::task::spawn(async move { axum::serve(listener, html).await });
    let config = "kafka: { bootstrapServers: '127.0.0.1:1' }\n";
    let files = Files::new(config, &policy(&format!("http://{address}")));
    let output = files.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    assert!(
        shown.contains("target helpdesk: ") && shown.contains("html-answer"),
        "{shown}"
    );
    assert!(
        shown.contains("cannot reach Kafka at 127.0.0.1:1; check kafka.bootstrapServers"),
        "{shown}"
    );
    server.abort();

    std::fs::write(
        files.path("policy/helpdesk.yaml"),
        policy("https://h.example").replace("scope", "scoop"),
    )
    .expect("a file");
    let shown = text(&files.run(&["check"]));
    assert!(
        shown.contains(
            "helpdesk.yaml:6:1: scoop: unknown key; did you mean `scope`?\n  | scoop: { filter: all }\n  | ^"
        ),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_refuses_a_topic_that_forgets() {
    let (kafka, sim) = (Kafka::shared().await, ScimSim::start(ScimSimConfig::default()).await);
    let prefix = kafka.unique_prefix();
    let topic = format!("{prefix}provisioning.link");
    kafka.create_topic(&topic, 48, &[("cleanup.policy", "delete")]).await;
    let files = Files::new(&kafka_config(&kafka, &prefix), &policy(sim.base_url()));
    let output = files.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    assert!(
        shown.contains(&format!("topic {topic} has cleanup.policy=delete, it must be compact")),
        "{shown}"
    );
    assert!(shown.contains("ok       target helpdesk"), "{shown}");
    let output = files.run(&["run"]);
    assert_eq!(output.status.code(), Some(1), "run refuses as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_shows_what_would_be_done_without_a_running_service() {
    let (kafka, sim) = (Kafka::shared().await, ScimSim::start(ScimSimConfig::default()).await);
    let prefix = kafka.unique_prefix();
    let files = Files::new(&kafka_config(&kafka, &prefix), &policy(sim.base_url()));
    for (topic, partitions) in [("user-change", 12), ("provisioning.link", 48)] {
        kafka
            .create_topic(
                &format!("{prefix}{topic}"),
                partitions,
                &[("cleanup.policy", "compact")],
            )
            .await;
    }
    let empty = files.run(&["plan"]);
    assert_eq!(empty.status.code(), Some(0), "{}", text(&empty));

    let change: Arc<serde_json::Value> = Arc::new(serde_json::json!({
        "version": 1, "kind": "created", "changed": [],
        "user": {"id": "005000000000001AAA", "orgId": "00D000000000001EAA", "username": "ada@acme.example", "active": true},
        "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}
    }));
    let value = serde_json::to_vec(&*change).expect("a message");
    let key = "00D000000000001EAA:005000000000001AAA";
    let headers = [("ce_type", "dev.usher.user.created.v1")];
    kafka
        .produce(&format!("{prefix}user-change"), key, Some(&value), &headers)
        .await;

    let plan = files.run(&["plan"]);
    assert_eq!(plan.status.code(), Some(2));
    assert!(
        text(&plan).contains(&format!("helpdesk {key}: look: active and not linked")),
        "{}",
        text(&plan)
    );
    let looked = files.run(&[
        "plan",
        "--look",
        "--json",
        "--user",
        "005000000000001",
        "--target",
        "helpdesk",
    ]);
    let shown: serde_json::Value = serde_json::from_slice(&looked.stdout).expect("JSON");
    assert_eq!(shown["plans"][0]["action"], "create", "{}", text(&looked));
    assert!(!text(&looked).contains("ada@acme.example"));
    assert_eq!(sim.write_count(), 0);
    let nobody = files.run(&["plan", "--target", "helpdisk"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody).contains("did you mean helpdesk?"), "{}", text(&nobody));
}

#[test]
fn presets_are_listed_with_their_limits() {
    let shown = text(&run(&["presets"]));
    assert!(shown.contains("scim") && shown.contains("perSecond: 20"), "{shown}");
    let json: serde_json::Value = serde_json::from_slice(&run(&["presets", "--json"]).stdout).expect("JSON");
    assert_eq!(json[0]["preset"], "scim");
}

#[test]
fn a_command_for_a_running_service_says_when_there_is_none_and_what_it_lacks() {
    let files = Files::new("http: { bind: '127.0.0.1:1' }\n", &policy("https://h.example"));
    for arguments in [
        &["held"][..],
        &["pause", "--target", "helpdesk", "--reason", "r"],
        &["approve", "x", "--target", "helpdesk", "--reason", "r"],
        &["allow", "--all", "--removals", "3", "--for", "4h", "--reason", "r"],
        &["where", "ada@acme.example"],
        &["report"],
    ] {
        let output = files.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let shown = text(&output);
        assert!(
            shown.contains("no answer from http://127.0.0.1:1"),
            "{arguments:?}: {shown}"
        );
        assert!(!shown.contains("acme.example"), "{shown}");
    }
    for lacking in [
        &["pause", "--target", "helpdesk"][..],
        &["approve", "--target", "helpdesk", "--reason", "r"],
        &["allow", "--removals", "3", "--for", "4h", "--reason", "r"],
    ] {
        assert_eq!(run(lacking).status.code(), Some(64), "{lacking:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_under_another_policy_shows_what_it_would_do_to_present_links_and_what_the_guard_would_hold() {
    let (kafka, sim) = (Kafka::shared().await, ScimSim::start(ScimSimConfig::default()).await);
    let prefix = kafka.unique_prefix();
    let files = Files::new(&kafka_config(&kafka, &prefix), &policy(sim.base_url()));
    kafka
        .create_topic(&format!("{prefix}user-change"), 12, &[("cleanup.policy", "compact")])
        .await;
    // Eight people who left the population; the policy in use keeps their accounts, the other one does not.
    let mut lines = String::new();
    for n in 0..8 {
        let (id, key) = (format!("005{n:012}AAA"), format!("00D000000000001EAA:005{n:012}AAA"));
        let change = serde_json::json!({
            "version": 1, "kind": "unlisted", "changed": [],
            "user": {"id": id, "orgId": "00D000000000001EAA", "username": format!("u{n}@acme.example"), "active": true, "listed": false},
            "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}
        });
        let value = change.to_string();
        let headers = [("ce_type", "dev.usher.user.unlisted.v1")];
        kafka
            .produce(&format!("{prefix}user-change"), &key, Some(value.as_bytes()), &headers)
            .await;
        let link = serde_json::json!({ "format": 1, "remoteId": format!("r{n}"), "active": true, "userVersion": 1,
            "configuration": "0".repeat(32), "state": { "is": "settled" } });
        let line = serde_json::json!({ "target": "helpdesk", "user": key, "link": link });
        lines.push_str(&format!("{line}\n"));
    }
    std::fs::write(files.path("links"), lines).expect("a file");
    let imported = files.run(&["links", "import", &files.path("links"), "--target", "helpdesk"]);
    assert!(
        text(&imported).contains("8 links of helpdesk are written"),
        "{}",
        text(&imported)
    );

    let present = files.run(&["plan"]);
    assert!(!text(&present).contains("deactivate"), "{}", text(&present));
    std::fs::create_dir(files.path("new")).expect("a folder");
    let stricter = format!("{}lifecycle: {{ unlisted: deactivate }}\n", policy(sim.base_url()));
    std::fs::write(files.path("new/helpdesk.yaml"), stricter).expect("a file");
    let planned = run(&[
        "plan",
        "--config",
        &files.path("usher.yaml"),
        "--policy",
        &files.path("new"),
    ]);
    let shown = text(&planned);
    assert_eq!(planned.status.code(), Some(2), "{shown}");
    assert!(shown.contains("helpdesk: deactivate 8"), "{shown}");
    assert!(
        shown.contains("helpdesk: the guard would hold: 8 removals that follow from"),
        "{shown}"
    );
    // And when the links turn out to be of another application.
    let record = serde_json::json!({ "format": 1, "owner": "", "released": true, "mode": "enforce",
        "tenant": "1".repeat(32), "at": "2026-01-02T03:04:05Z" });
    let topic = format!("{prefix}provisioning.target");
    kafka
        .produce(&topic, "helpdesk", Some(record.to_string().as_bytes()), &[])
        .await;
    let moved = files.run(&["plan"]);
    assert_eq!(moved.status.code(), Some(2), "{}", text(&moved));
    let words = "helpdesk: the address or tenant is another one than that of the 8 links: everything is held";
    assert!(text(&moved).contains(words), "{}", text(&moved));
    let moved = files.run(&["plan", "--json"]);
    let moved: serde_json::Value = serde_json::from_slice(&moved.stdout).expect("JSON");
    assert_eq!(moved["moved"]["helpdesk"]["links"], 8);
    let listed = text(&files.run(&["links", "list", "--target", "helpdesk"]));
    assert!(listed.contains("r7") && listed.lines().count() == 9, "{listed}");
    let one = files.run(&["links", "show", "005000000000003"]);
    let one: serde_json::Value = serde_json::from_slice(&one.stdout).expect("JSON");
    assert_eq!(one[0]["link"]["remoteId"], "r3");
}

#[test]
fn a_file_is_begun_from_a_preset_and_its_blanks_are_named() {
    let files = Files::new(
        "kafka: { bootstrapServers: '127.0.0.1:1' }\n",
        &policy("https://h.example"),
    );
    let folder = files.path("policy");
    let folder = folder.as_str();
    let written = run(&["init", "--preset", "skyprep", "--target", "courses", "--policy", folder]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written));
    let file = std::fs::read_to_string(files.path("policy/courses.yaml")).expect("the file");
    assert!(file.contains("target: courses\npreset: skyprep\n"), "{file}");
    let shown = text(&files.run(&["check"]));
    assert!(
        shown.contains("courses.yaml:5:11: sources.0: is a blank of the starting file; fill it in"),
        "{shown}"
    );
    // A file that is there is never written over.
    let again = run(&["init", "--preset", "skyprep", "--target", "courses", "--policy", folder]);
    assert_eq!(again.status.code(), Some(1));
    let unknown = run(&["init", "--preset", "skypre", "--print"]);
    assert!(text(&unknown).contains("did you mean `skyprep`?"), "{}", text(&unknown));
}

#[test]
fn editors_get_a_schema_of_both_kinds_of_files() {
    for (of, key) in [
        ("policy", "/properties/lifecycle/properties/deleteAfter"),
        ("service", "/properties/alarms/properties/leavers"),
    ] {
        let output = run(&["schema", of]);
        assert_eq!(output.status.code(), Some(0));
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(schema.pointer(key).is_some(), "{of}: {key}");
        assert!(jsonschema::meta::is_valid(&schema), "{of}");
    }
}
