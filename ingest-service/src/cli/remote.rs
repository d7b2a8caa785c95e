//! Asking a running service over its HTTP API. Any replica will do: it forwards to the leader.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use usher_contract::UserId;
use usher_runtime::shutdown::chain;

use crate::{
    api::{Done, Erred, Removals},
    pipeline::{HeldView, PersonView},
};

/// Longer than a replica takes to answer, forwarding included.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long `--wait` waits for a person to be read: Salesforce answers within seconds, or is away.
const READ_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A running service.
#[derive(Debug)]
pub(super) struct Remote {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
    org: Option<String>,
}

/// The address of a service on this machine, from what it binds.
pub(super) fn local_url(bind: &str) -> Result<String, String> {
    match bind.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            Err("http.bind takes any free port; say where the service answers with --url".to_owned())
        }
        Ok(address) if address.ip().is_unspecified() => Ok(format!("http://127.0.0.1:{}", address.port())),
        _ => Ok(format!("http://{bind}")),
    }
}

/// A value as one step of a path.
pub(super) fn step(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

impl Remote {
    pub(super) fn new(url: &str, token_file: Option<PathBuf>, org: Option<String>) -> Result<Self, String> {
        let token = match token_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                Some(text.trim().to_owned())
            }
        };
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).build();
        Ok(Self {
            client: client.map_err(|error| chain(&error))?,
            url: url.trim_end_matches('/').to_owned(),
            token,
            org,
        })
    }

    /// Changes something; the words of the answer.
    pub(super) async fn change(&self, path: &str, body: &impl Serialize) -> Result<String, String> {
        let request = self.client.post(format!("{}/v1/{path}", self.url)).json(body);
        self.send::<Done>(request).await.map(|done| done.result)
    }

    /// How the published state of a person stands.
    pub(super) async fn person(&self, user: UserId) -> Result<PersonView, String> {
        self.send(self.client.get(format!("{}/v1/users/{user}", self.url)))
            .await
    }

    /// Every held set with all its members.
    pub(super) async fn removals(&self) -> Result<Vec<HeldView>, String> {
        let get = || self.client.get(format!("{}/v1/removals", self.url));
        let mut sets = self.send::<Removals>(get()).await?.removals;
        for set in &mut sets {
            while let Some(next) = set.next.take() {
                let query = [("set", set.id.clone()), ("after", next.to_string())];
                let page = self.send::<Removals>(get().query(&query)).await?.removals;
                // A set that is gone meanwhile has no further members.
                let Some(page) = page.into_iter().next() else { break };
                set.removals.extend(page.removals);
                set.deactivations.extend(page.deactivations);
                set.next = page.next;
            }
        }
        Ok(sets)
    }

    /// Waits until nothing is owed about the person; says what came of it.
    pub(super) async fn until_read(&self, before: &PersonView) -> Result<String, String> {
        let read = async {
            loop {
                let now = self.person(before.id).await?;
                if !now.owed {
                    return Ok(outcome(before, &now));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(READ_MAX, read).await.unwrap_or_else(|_| {
            Err(format!(
                "the person has not been read within {} s; the read is owed and done as soon as Salesforce answers: see /v1/status",
                READ_MAX.as_secs()
            ))
        })
    }

    async fn send<T: DeserializeOwned>(&self, mut request: reqwest::RequestBuilder) -> Result<T, String> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(org) = &self.org {
            request = request.query(&[("org", org)]);
        }
        let url = &self.url;
        let answer = request.send().await.map_err(|error| {
            format!(
                "no answer from {url}: {}; is the service running?",
                chain(&error.without_url())
            )
        })?;
        let stranger = |_| format!("{url} does not answer like ingest-service");
        if answer.status().is_success() {
            answer.json::<T>().await.map_err(stranger)
        } else {
            Err(answer.json::<Erred>().await.map_err(stranger)?.error)
        }
    }
}

fn outcome(before: &PersonView, now: &PersonView) -> String {
    let id = now.id;
    match (before.version, now.version) {
        (_, None) => format!("{id} was read and is not published: the person is not in the population"),
        (Some(before), Some(version)) if before == version => {
            format!("{id} was read; nothing is new, version {version} stands")
        }
        (_, Some(version)) if now.removed => format!("{id} was read and is published as removed, version {version}"),
        (_, Some(version)) => format!("{id} was read and is published, version {version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_on_this_machine_is_found_by_what_it_binds() {
        assert_eq!(local_url("127.0.0.1:8081").unwrap(), "http://127.0.0.1:8081");
        assert_eq!(local_url("0.0.0.0:8081").unwrap(), "http://127.0.0.1:8081");
        assert_eq!(local_url("localhost:8081").unwrap(), "http://localhost:8081");
        assert!(local_url("127.0.0.1:0").unwrap_err().contains("--url"));
    }

    #[test]
    fn what_came_of_a_read_is_said() {
        let person = |version, removed| PersonView {
            id: UserId::try_new("005ZL000000M0x1YAC").unwrap(),
            version,
            removed,
            owed: false,
            suppressed: false,
        };
        let (none, one, two) = (person(None, false), person(Some(1), false), person(Some(2), true));
        assert!(outcome(&one, &one).ends_with("version 1 stands"));
        assert!(outcome(&none, &one).ends_with("is published, version 1"));
        assert!(outcome(&one, &two).ends_with("as removed, version 2"));
        assert!(outcome(&none, &none).contains("not in the population"));
    }
}
