//! A running service, asked as an operator asks it: readiness, status, metrics, and the API.

use kafka_harness::Process;
use serde_json::{Value, json};

use crate::{OPERATOR, PATIENCE, eventually};

/// A running service.
#[derive(Debug)]
pub struct Service {
    pub process: Process,
    pub url: String,
}

impl Service {
    /// What the service says about itself; of ingest-service what it says about its first org.
    pub async fn status(&self) -> Value {
        let mut status = self.whole_status().await;
        if status["orgs"].is_array() {
            status["orgs"][0].take()
        } else {
            status
        }
    }

    /// Waits until ingest-service leads, has nothing to do, and its stream is open; gives what it says then.
    pub async fn settled(&self) -> Value {
        eventually("ingest leads, is idle and its stream open", || async {
            let status = self.status().await;
            let leads = status["role"] == json!("leader") && status["idle"] == json!(true);
            if leads && status["stream"]["connected"] == json!(true) {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        })
        .await
    }

    /// As `/v1/status` has it.
    pub async fn whole_status(&self) -> Value {
        let request = reqwest::Client::new()
            .get(format!("{}/v1/status", self.url))
            .bearer_auth(OPERATOR);
        match request.send().await {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }

    pub async fn ready(&self) -> bool {
        let client = reqwest::Client::new();
        client
            .get(format!("{}/readyz", self.url))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    /// The metrics as text, without the label `org` that every metric of ingest-service has.
    pub async fn metrics(&self) -> String {
        without_org(&self.whole_metrics().await)
    }

    /// As `/metrics` has them.
    pub async fn whole_metrics(&self) -> String {
        match reqwest::get(format!("{}/metrics", self.url)).await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// A request with a token: status and body.
    pub async fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let method = method.parse::<reqwest::Method>().expect("a method");
        let request = reqwest::Client::new()
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token);
        let request = if body.is_null() { request } else { request.json(body) };
        match request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Ends it in the orderly way and checks that it did.
    pub async fn stop(self) {
        self.process.sigterm();
        let status = self.process.wait(PATIENCE).await;
        assert!(status.success(), "{}", self.process.story());
    }
}

/// Metrics without their label `org`.
fn without_org(metrics: &str) -> String {
    let line = |line: &str| match line.split_once("org=\"") {
        Some((before, rest)) => {
            let rest = rest.split_once('"').map_or("", |(_, rest)| rest);
            let line = match before.strip_suffix(',') {
                Some(before) => format!("{before}{rest}"),
                None => format!("{before}{}", rest.strip_prefix(',').unwrap_or(rest)),
            };
            line.replace("{}", "")
        }
        None => line.to_owned(),
    };
    metrics.lines().map(|text| line(text) + "\n").collect()
}
