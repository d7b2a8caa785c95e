//! Operators against a running service: tokens that come and go while it runs, and one order for every target.

mod installation;

use std::{path::PathBuf, process::Output};

use installation::{Installation, Running, person, until, until_said};
use serde_json::{Value, json};
use usher_runtime::access::sha256_hex;

struct Tokens {
    file: PathBuf,
}

impl Tokens {
    /// `role`, `token`, name.
    fn are(&self, tokens: &[(&str, &str, &str)]) {
        let lines: Vec<String> = tokens
            .iter()
            .map(|(role, token, name)| format!("{role} {} {name}\n", sha256_hex(token)))
            .collect();
        std::fs::write(&self.file, lines.concat()).expect("a file");
    }
}

async fn ask(service: &Running, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("http://{}{path}", service.address);
    let client = reqwest::Client::new();
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let answer = request.bearer_auth(token).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

async fn run(service: &Running, token: &std::path::Path, arguments: &[&str]) -> Output {
    let url = format!("http://{}", service.address);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_apply-service"));
    command.args(arguments).args(["--url", &url, "--token-file"]).arg(token);
    command.output().await.expect("the binary starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_and_go_without_a_restart_and_one_order_reaches_every_target() {
    let names = ["academy", "helpdesk"];
    let installation = Installation::with_targets(&names).await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let tokens = Tokens {
        file: folder.path().join("tokens"),
    };
    tokens.are(&[("viewer", "looks", "vera"), ("approver", "decides", "ada")]);
    let service = installation
        .start_with(&format!(", tokensFile: '{}'", tokens.file.display()))
        .await;
    installation.publish(&person(1, 1)).await;
    until("both run", || names.iter().all(|name| service.rests(name))).await;

    // A token that is taken out is refused at the next request; one that is put in is taken.
    assert_eq!(ask(&service, "/v1/status", "looks", None).await.0, 200);
    assert_eq!(ask(&service, "/v1/status", "comes", None).await.0, 401);
    tokens.are(&[("operator", "comes", "otto"), ("approver", "decides", "ada")]);
    assert_eq!(ask(&service, "/v1/status", "looks", None).await.0, 401);
    assert_eq!(ask(&service, "/v1/status", "comes", None).await.0, 200);
    let pause = || Some(json!({ "reason": "a test" }));
    let (status, said) = ask(&service, "/v1/targets/academy/pause", "comes", pause()).await;
    assert_eq!(status, 200, "{said}");
    // A role that is taken away counts as well, and a file that is gone lets nobody in.
    tokens.are(&[("viewer", "comes", "otto"), ("approver", "decides", "ada")]);
    let (status, said) = ask(&service, "/v1/targets/academy/resume", "comes", pause()).await;
    assert_eq!(status, 403, "{said}");
    std::fs::remove_file(&tokens.file).expect("the file");
    let (status, _) = ask(&service, "/v1/status", "decides", None).await;
    assert!(status >= 400, "{status}");
    tokens.are(&[("approver", "decides", "ada")]);
    let (status, said) = ask(&service, "/v1/targets/academy/resume", "decides", pause()).await;
    assert_eq!(status, 200, "{said}");

    // A planned layoff: the same for every target, with who and why.
    let token = folder.path().join("token");
    std::fs::write(&token, "decides\n").expect("a file");
    let order = [
        "allow",
        "--all",
        "--removals",
        "300",
        "--for",
        "4h",
        "--reason",
        "layoff",
    ];
    let output = run(&service, &token, &order).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let allowances = async || {
        let (_, all) = ask(&service, "/v1/targets", "decides", None).await;
        let targets = all["targets"].as_array().cloned().unwrap_or_default();
        let allowances = targets.iter().map(|target| target["record"]["allowances"][0].clone());
        allowances.collect::<Vec<Value>>()
    };
    // The records are read from the topic: a moment after the order was carried out.
    until_said("the records of both say it", async || {
        let all = allowances().await;
        all.len() == 2 && all.iter().all(Value::is_object)
    })
    .await;
    for allowed in allowances().await {
        assert_eq!(
            (&allowed["removals"], &allowed["by"]["actor"], &allowed["by"]["reason"]),
            (&json!(300), &json!("ada"), &json!("layoff")),
            "{allowed}"
        );
    }
    // Each has its outcome.
    let topic = format!("{}provisioning.outcome", installation.prefix);
    let outcomes = installation.kafka.read_committed(&topic).await;
    let allowed: Vec<Value> = outcomes
        .iter()
        .map(kafka_harness::Record::json)
        .filter(|outcome| outcome["action"] == "allow")
        .collect();
    let mut targets: Vec<&str> = allowed
        .iter()
        .filter_map(|outcome| outcome["target"].as_str())
        .collect();
    targets.sort_unstable();
    assert_eq!(targets, names);
    assert!(allowed.iter().all(|outcome| outcome["actor"] == "ada"), "{allowed:?}");
    service.stop().await;
}
