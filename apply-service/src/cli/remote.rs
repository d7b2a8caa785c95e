//! Commands that a running service carries out: thin clients of its API.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use serde_json::Value;
use usher_contract::{UserId, UserKey};
use usher_runtime::shutdown::chain;

use super::{Files, complain, print};
use crate::Config;

/// EX_TEMPFAIL of sysexits.h: passed on, and not carried out yet.
const NOT_YET: u8 = 75;
/// Longer than a replica keeps anybody waiting.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Where the service is and who asks.
#[derive(Debug, Clone, Args)]
pub(super) struct Remote {
    /// Where a replica answers; by default http.bind of the configuration.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the authority of the service's certificate.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file with a certificate and its key, to be known by.
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
    /// The answer as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A running service.
pub(super) struct Service {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
}

impl Service {
    pub(super) fn new(remote: &Remote, files: &Files) -> Result<Self, String> {
        let url = match &remote.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let config = Config::load(files.config.as_deref(), files.policy.as_deref());
                let http = config.map_err(|error| error.to_string())?.http;
                let scheme = if http.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}", http.bind)
            }
        };
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        let unfit = |error: reqwest::Error| format!("cannot make requests: {}", chain(&error));
        let mut builder = reqwest::Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &remote.ca_file {
            let authorities = reqwest::Certificate::from_pem_bundle(&read(path)?).map_err(unfit)?;
            builder = builder.tls_certs_merge(authorities);
        }
        if let Some(path) = &remote.identity_file {
            builder = builder.identity(reqwest::Identity::from_pem(&read(path)?).map_err(unfit)?);
        }
        let token = remote.token_file.as_ref().map(read).transpose()?;
        Ok(Self {
            url,
            token: token.map(|token| String::from_utf8_lossy(&token).trim().to_owned()),
            client: builder.build().map_err(unfit)?,
        })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, String> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.map_err(|error| {
            format!(
                "no answer from {}: {}; is the service running? name it with --url",
                self.url,
                chain(&error.without_url())
            )
        })
    }

    /// Status and body of an answer; refusals in words.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<(u16, Value), String> {
        let answer = self.send(request).await?;
        let status = answer.status();
        let body: Value = answer
            .json()
            .await
            .map_err(|_| format!("{} does not answer like apply-service ({status})", self.url))?;
        if status.is_success() {
            return Ok((status.as_u16(), body));
        }
        let words = body["error"].as_str().unwrap_or("refused without words");
        Err(format!("{words} ({})", status.as_u16()))
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let request = self.client.get(format!("{}{path}", self.url)).query(query);
        self.ask(request).await.map(|(_, body)| body)
    }

    /// As [`Service::get`], for what is no JSON.
    pub(super) async fn get_text(&self, path: &str, query: &[(&str, &str)]) -> Result<String, String> {
        let request = self.client.get(format!("{}{path}", self.url)).query(query);
        let answer = self.send(request).await?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| chain(&error.without_url()))?;
        if status.is_success() {
            return Ok(text);
        }
        let said: Option<Value> = serde_json::from_str(&text).ok();
        let words = said.as_ref().and_then(|said| said["error"].as_str());
        Err(words.unwrap_or("refused without words").to_owned())
    }

    /// Passes a command on. True: carried out.
    pub(super) async fn command(&self, body: &Value) -> Result<(bool, Value), String> {
        let request = self.client.post(format!("{}/v1/commands", self.url)).json(body);
        self.ask(request).await.map(|(status, body)| (status == 200, body))
    }

    /// The names of all targets that are not off.
    pub(super) async fn targets(&self) -> Result<Vec<String>, String> {
        let body = self.get("/v1/targets", &[]).await?;
        let targets = body["targets"].as_array().cloned().unwrap_or_default();
        let on = targets
            .iter()
            .filter(|target| !target["mode"].is_null() && target["mode"] != "off");
        Ok(on
            .filter_map(|target| target["target"].as_str().map(str::to_owned))
            .collect())
    }

    /// The keys of who is meant, by key, id, e-mail address or name.
    pub(super) async fn people(&self, text: &str) -> Result<Vec<String>, String> {
        if text.parse::<UserKey>().is_ok() || UserId::try_new(text).is_ok() {
            return Ok(vec![text.to_owned()]);
        }
        let found = self.get("/v1/users", &[("query", text), ("limit", "10")]).await?;
        let users = found["users"].as_array().cloned().unwrap_or_default();
        // Who is written exactly so is meant, whoever else has it as a part.
        let exact = users.iter().filter(|user| {
            ["email", "username", "displayName"].iter().any(|field| {
                user[field]
                    .as_str()
                    .is_some_and(|value| value.eq_ignore_ascii_case(text))
            })
        });
        let exact: Vec<&Value> = exact.collect();
        let meant: Vec<&Value> = if exact.is_empty() {
            users.iter().collect()
        } else {
            exact
        };
        let keys: Vec<String> = meant
            .iter()
            .filter_map(|user| user["key"].as_str().map(str::to_owned))
            .collect();
        if keys.is_empty() {
            return Err(format!("nobody found for {text}"));
        }
        Ok(keys)
    }

    /// As [`Service::people`], exactly one.
    pub(super) async fn person(&self, text: &str) -> Result<String, String> {
        let mut keys = self.people(text).await?;
        match (keys.len(), keys.pop()) {
            (1, Some(key)) => Ok(key),
            (count, _) => Err(format!(
                "{count} people fit {text}; name one by id (`where` shows them)"
            )),
        }
    }
}

/// What came of commands, one line each.
pub(super) struct Results {
    text: String,
    all: Vec<Value>,
    refused: bool,
    waiting: bool,
}

impl Results {
    pub(super) fn new() -> Self {
        Self {
            text: String::new(),
            all: Vec::new(),
            refused: false,
            waiting: false,
        }
    }

    pub(super) fn add(&mut self, target: &str, result: Result<(bool, Value), String>) {
        let (line, mut value) = match result {
            Ok((done, value)) => {
                self.waiting |= !done;
                let words = value["words"].as_str().unwrap_or_default().to_owned();
                let id = value["id"].as_str().unwrap_or_default().to_owned();
                let line = if done {
                    format!("{target}: {words}\n")
                } else {
                    format!("{target}: {words}: {id}\n")
                };
                (line, value)
            }
            Err(why) => {
                self.refused = true;
                (format!("{target}: {why}\n"), serde_json::json!({ "error": why }))
            }
        };
        self.text.push_str(&line);
        value["target"] = target.into();
        self.all.push(value);
    }

    pub(super) fn finish(self, json: bool) -> ExitCode {
        if json {
            print(&serde_json::to_string_pretty(&self.all).unwrap_or_default());
        } else if self.refused && self.all.len() == 1 {
            return complain(self.text.trim_end());
        } else {
            print(&self.text);
        }
        match (self.refused, self.waiting) {
            (true, _) => ExitCode::FAILURE,
            (false, true) => ExitCode::from(NOT_YET),
            (false, false) => ExitCode::SUCCESS,
        }
    }
}

/// For what was passed on and is not carried out yet.
pub(super) fn not_yet(words: &str) -> ExitCode {
    complain(words);
    ExitCode::from(NOT_YET)
}

/// Rows under a head, in columns as wide as needed.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .chain([head[column].len()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(rows).collect()
}

/// A text of a JSON value, empty when it is none.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

/// A time of a JSON value, to the second.
pub(super) fn moment(value: &Value) -> String {
    let text = text(value);
    match text.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [
            vec!["a".to_owned(), "bé".to_owned(), "x".to_owned()],
            vec!["long".to_owned(), String::new(), "y".to_owned()],
        ];
        assert_eq!(
            table(&["one", "2", "three"], &rows),
            "one   2   three\na     bé  x\nlong      y\n"
        );
    }
}
