//! Discovery and the connection check (RFC 7644 section 4, RFC 7643 section 5).
//!
//! The config endpoint is asked for in its singular form, then in the plural one (Salesforce and SCIM 1.1-style
//! servers). It may be missing, closed or a web page: then the settings stand as they are. What proves address and
//! credentials is a list of one account, because discovery may need no credentials at all. `/Schemas` and
//! `/ResourceTypes` are not asked for.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Shared,
    classify::{Fallback, Meaning, Purpose, not_scim},
    config::Discovery,
    listing::ListPage,
    render::{self, Start},
    resource,
};
use crate::connector::{Exchange, Failure, HttpAnswer, Refusal, Reply, Step};

/// What a ServiceProviderConfig says; `None` is "nothing".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceProvider {
    pub(crate) patch: Option<bool>,
    pub(crate) filter: Option<bool>,
    pub(crate) filter_max_results: Option<u32>,
    pub(crate) etag: Option<bool>,
    /// RFC 9865 section 4.
    pub(crate) cursor: Option<bool>,
    pub(crate) max_page_size: Option<u32>,
}

impl ServiceProvider {
    /// Reads a config; `None` when the body is not one.
    pub(crate) fn parse(body: &Value) -> Option<Self> {
        let features = ["patch", "filter", "etag", "bulk", "sort"];
        if !body.is_object() || !features.iter().any(|name| resource::get(body, name).is_some()) {
            return None;
        }
        let part = |name: &str, member: &str| resource::get(body, name).and_then(|part| resource::get(part, member));
        let flag = |name: &str, member: &str| part(name, member).and_then(resource::as_bool);
        let number = |name: &str, member: &str| {
            let value = part(name, member)?;
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
            // 0 would mean that nothing can be listed; it is taken as "not said".
            u32::try_from(number).ok().filter(|number| *number > 0)
        };
        Some(Self {
            patch: flag("patch", "supported"),
            filter: flag("filter", "supported"),
            filter_max_results: number("filter", "maxResults"),
            etag: flag("etag", "supported"),
            cursor: flag("pagination", "cursor"),
            max_page_size: number("pagination", "maxPageSize"),
        })
    }

    /// In words, for `check`.
    fn words(&self) -> Vec<String> {
        let say = |name: &str, flag: Option<bool>| {
            let answer = match flag {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not said",
            };
            format!("{name}: {answer}")
        };
        let mut filter = say("filter", self.filter);
        if let Some(most) = self.filter_max_results {
            filter.push_str(&format!(", at most {most} results"));
        }
        vec![
            say("patch", self.patch),
            filter,
            say("versions", self.etag),
            say("cursor paging", self.cursor),
        ]
    }
}

const PLACES: [&str; 2] = ["/ServiceProviderConfig", "/ServiceProviderConfigs"];

/// The exchange of `Operation::Check`.
#[derive(Debug)]
pub(crate) struct Check {
    shared: Arc<Shared>,
    stage: Stage,
    words: Vec<String>,
}

#[derive(Debug)]
enum Stage {
    Start,
    /// Waiting for the config at this place.
    Config(usize),
    /// Waiting for the list; whether it was asked for by cursor.
    List,
    /// Waiting for the account of the credentials.
    Owner,
}

impl Check {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            stage: Stage::Start,
            words: Vec::new(),
        }
    }

    fn ask_config(&mut self, place: usize) -> Step {
        let Some(path) = PLACES.get(place) else {
            self.words
                .push("the target publishes no ServiceProviderConfig: the settings are taken as they are".into());
            return self.ask_list();
        };
        self.stage = Stage::Config(place);
        Step::Send(render::get((*path).to_owned()))
    }

    fn ask_list(&mut self) -> Step {
        self.stage = Stage::List;
        Step::Send(render::list(&self.shared.config, None, &Start::First, 1))
    }

    fn take_config(&mut self, place: usize, answer: &HttpAnswer) -> Step {
        match self.shared.classify(Purpose::Check, answer) {
            Meaning::Success(body) => match body.as_ref().and_then(ServiceProvider::parse) {
                Some(provider) => {
                    self.words.push(format!("SCIM 2.0 config at {}", PLACES[place]));
                    self.words.extend(provider.words());
                    self.shared.learn(|abilities| abilities.provider = provider);
                    self.ask_list()
                }
                None => self.ask_config(place + 1),
            },
            // Without a connection there is nothing more to ask.
            Meaning::Failed(failure @ Failure::Retry(..)) => Step::Done(Err(failure)),
            Meaning::Unknown(refusal, wait) if matches!(answer, HttpAnswer::Broken(_)) => {
                Step::Done(Err(Failure::Retry(refusal, wait)))
            }
            Meaning::Failed(Failure::Halt(_)) if matches!(answer, HttpAnswer::NotSent(_)) => self.ask_list(),
            // Closed, missing or a web page: the list decides whether the target is there.
            _ => self.ask_config(place + 1),
        }
    }

    fn take_list(&mut self, answer: &HttpAnswer) -> Step {
        let failure = match self.shared.classify(Purpose::Check, answer) {
            Meaning::Success(body) => match body.as_ref().and_then(ListPage::parse) {
                Some(page) => {
                    if let Some(total) = page.total {
                        self.words.push(format!("accounts: {total}"));
                    }
                    return self.listed();
                }
                None => Failure::Halt(not_scim(Purpose::Check, "a SCIM list of accounts")),
            },
            Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
            Meaning::Failed(failure) => failure,
            // A page size of one is not everyone's: that is no reason to call the target dead.
            Meaning::Fallback(Fallback::TooMany, _) => return self.listed(),
            Meaning::Fallback(_, refusal)
            | Meaning::Absent(refusal)
            | Meaning::Accepted(refusal)
            | Meaning::Exists(refusal)
            | Meaning::Version(refusal) => Failure::Halt(refusal),
        };
        Step::Done(Err(failure))
    }

    /// The list has come: all is said, but for whose account the credentials belong to (RFC 7644 section 3.11).
    fn listed(&mut self) -> Step {
        if !self.shared.config.ask_owner {
            return Step::Done(Ok(Reply::Checked(std::mem::take(&mut self.words))));
        }
        self.stage = Stage::Owner;
        Step::Send(render::get("/Me".to_owned()))
    }

    fn take_owner(&mut self, answer: &HttpAnswer) -> Step {
        let body = match self.shared.classify(Purpose::Read, answer) {
            Meaning::Success(body) => body,
            Meaning::Failed(failure @ Failure::Retry(..)) => return Step::Done(Err(failure)),
            Meaning::Unknown(refusal, wait) => return Step::Done(Err(Failure::Retry(refusal, wait))),
            _ => None,
        };
        let owner = body.map(|body| owner(&body)).unwrap_or_default();
        if owner.is_empty() {
            // Not: nobody. An account that must not be written and is not known would be written.
            return Step::Done(Err(Failure::Halt(Refusal {
                code: "owner-unknown".to_owned(),
                reason: "the target does not say at /Me whose account the credentials belong to; name it under protect.accounts \
                         and take protect.owner out"
                    .to_owned(),
            })));
        }
        Step::Done(Ok(Reply::CheckedAs(std::mem::take(&mut self.words), owner)))
    }
}

/// What the account is called by: id, user name, addresses.
fn owner(body: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let emails = body["emails"].as_array().into_iter().flatten();
    [text(&body["id"]), text(&body["userName"])]
        .into_iter()
        .chain(emails.map(|email| text(&email["value"])))
        .flatten()
        .collect()
}

impl Exchange for Check {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return match self.shared.config.discovery {
                Discovery::Auto => self.ask_config(0),
                Discovery::Never => self.ask_list(),
            };
        };
        match self.stage {
            Stage::Start => self.ask_config(0),
            Stage::Config(place) => self.take_config(place, &answer),
            Stage::List => self.take_list(&answer),
            Stage::Owner => self.take_owner(&answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_config_is_read_leniently() {
        let body = json!({"schemas": [], "Patch": {"supported": "True"}, "filter": {"supported": true, "maxResults": 200},
            "etag": {"supported": false}, "pagination": {"cursor": true, "index": true, "maxPageSize": 50}, "x": 1});
        let provider = ServiceProvider::parse(&body).unwrap();
        assert_eq!(provider.patch, Some(true));
        assert_eq!(provider.filter_max_results, Some(200));
        assert_eq!(provider.cursor, Some(true));
        assert_eq!(
            provider.words(),
            [
                "patch: yes",
                "filter: yes, at most 200 results",
                "versions: no",
                "cursor paging: yes"
            ]
        );
        assert_eq!(
            ServiceProvider::parse(&json!({"filter": {"maxResults": 0}}))
                .unwrap()
                .filter_max_results,
            None
        );
    }

    #[test]
    fn what_is_no_config_is_not_taken_for_one() {
        for body in [json!({}), json!([]), json!({"Resources": []}), json!("patch")] {
            assert_eq!(ServiceProvider::parse(&body), None, "{body}");
        }
    }
}
