//! The questions about groups, on one throw-away group: made, found, the account put in and taken out, removed.
//!
//! A server without groups is asked once. The group is removed before the account, like it whatever happens on the way.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Hits, Probe, Task,
    learn::{id_of, status, success},
    table::{answered, hits_in_words, outcome_in_words},
    verdict::{Outcome, Row},
};
use crate::{
    connector::{
        HttpAnswer, Request,
        scim::{
            classify::{Meaning, Purpose, classify},
            config::{RemoveMember, ScimConfig},
            filter::Filter,
            listing::ListPage,
            render, resource,
            schema::PATCH_OP,
        },
    },
    logic::account::RemoteId,
};

const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// One thing to ask.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ask {
    /// Whether there are groups; with `excludedAttributes`, which some refuse.
    List(bool),
    Create,
    Find,
    /// The account put in; with operations in capital letters.
    Join(bool),
    LookJoined(bool),
    Leave(RemoveMember),
    LookLeft(RemoveMember),
    /// Where the group is whose create was not answered with an id.
    Search,
    Delete(RemoteId),
    LookDeleted(RemoteId),
}

impl Ask {
    pub(super) fn is_removal(&self) -> bool {
        matches!(self, Self::Search | Self::Delete(_) | Self::LookDeleted(_))
    }
}

/// What was seen of groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// The group, while it is there.
    made: Option<RemoteId>,
    /// A create of which nobody knows whether it had an effect.
    unclear: bool,
    searched: bool,
    given_up: bool,
    there: Option<bool>,
    created: Option<u16>,
    found: Option<Hits>,
    /// By small and capital letters.
    joined: BTreeMap<bool, Outcome>,
    shows_members: Option<bool>,
    left: BTreeMap<bool, Outcome>,
    deleted: Option<u16>,
}

/// What the outcomes of removals are kept by.
fn by_value(form: RemoveMember) -> bool {
    form == RemoveMember::Value
}

fn is_success(status: Option<u16>) -> bool {
    status.is_some_and(|status| (200..300).contains(&status))
}

fn done(outcomes: &BTreeMap<bool, Outcome>, which: bool) -> bool {
    outcomes.get(&which).is_some_and(|outcome| outcome.took)
}

impl Probe {
    /// The name of the group.
    #[must_use]
    pub fn group_name(&self) -> String {
        format!("Usher Probe {} (throw-away)", self.mark)
    }

    pub(super) fn ask_of_group(&self, ask: &Ask) -> Option<Request> {
        let groups = &self.config.groups.path;
        let place = |id: &RemoteId| {
            let usable = !matches!(id.0.as_str(), "" | "." | "..");
            usable.then(|| format!("{groups}/{}", render::encode(&id.0)))
        };
        let own = || place(self.seen.groups.made.as_ref()?);
        let member = || json!([{ "value": self.made.first().map(|id| id.0.as_str()) }]);
        let patch = |operation: Value| {
            let body = json!({ "schemas": [PATCH_OP], "Operations": [operation] });
            Some(self.write("PATCH", own()?, body, None))
        };
        let capital = !done(&self.seen.groups.joined, false);
        match ask {
            Ask::List(true) => Some(render::get(format!("{groups}?excludedAttributes=members&count=1"))),
            Ask::List(false) => Some(render::get(format!("{groups}?count=1"))),
            Ask::Create => {
                let body = json!({ "schemas": [CORE_GROUP], "displayName": self.group_name() });
                Some(self.write("POST", groups.clone(), body, None))
            }
            Ask::Find | Ask::Search => {
                let filter = Filter::equal("displayName", self.group_name()).to_string();
                let query = format!("filter={}&count=5", render::encode(&filter));
                Some(render::get(format!("{groups}?{query}")))
            }
            Ask::Join(capital) => {
                let op = if *capital { "Add" } else { "add" };
                patch(json!({ "op": op, "path": "members", "value": member() }))
            }
            Ask::Leave(form) => {
                let op = if capital { "Remove" } else { "remove" };
                patch(match form {
                    RemoveMember::ValuePath => {
                        let filter = Filter::equal("value", self.made.first()?.0.as_str());
                        json!({ "op": op, "path": format!("members[{filter}]") })
                    }
                    RemoveMember::Value => json!({ "op": op, "path": "members", "value": member() }),
                })
            }
            Ask::LookJoined(_) | Ask::LookLeft(_) => own().map(render::get),
            Ask::Delete(id) => Some(self.write("DELETE", place(id)?, Value::Null, None)),
            Ask::LookDeleted(id) => place(id).map(render::get),
        }
    }

    /// Learns from an answer and queues what follows from it.
    pub(super) fn take_of_group(&mut self, ask: Ask, answer: &HttpAnswer) {
        match ask {
            Ask::List(brief) => {
                let there = page(answer, &self.config).is_some();
                match (there, status(answer)) {
                    (false, Some(400)) if brief => return self.next_of_group(Ask::List(false)),
                    (true, _) => self.next_of_group(Ask::Create),
                    (false, _) => {}
                }
                self.seen.groups.there = Some(there);
            }
            Ask::Create => self.take_group(answer),
            Ask::Find => self.seen.groups.found = Some(self.group_hits(answer)),
            Ask::Join(capital) => {
                let status = status(answer);
                self.seen.groups.joined.insert(capital, sent(status));
                if is_success(status) {
                    self.next_of_group(Ask::LookJoined(capital));
                } else if !capital && !matches!(status, Some(405 | 501)) {
                    self.next_of_group(Ask::Join(true));
                }
            }
            Ask::LookJoined(capital) => {
                let members = self.members(answer);
                let is_in = members.as_ref().is_none_or(|members| self.is_member(members));
                self.seen.groups.joined.entry(capital).or_default().took = is_in;
                self.seen.groups.shows_members = Some(members.is_some());
                match (is_in, capital) {
                    (true, _) => self.next_of_group(Ask::Leave(RemoveMember::ValuePath)),
                    (false, false) => self.next_of_group(Ask::Join(true)),
                    (false, true) => {}
                }
            }
            Ask::Leave(form) => {
                let status = status(answer);
                self.seen.groups.left.insert(by_value(form), sent(status));
                if is_success(status) {
                    self.next_of_group(Ask::LookLeft(form));
                } else if form == RemoveMember::ValuePath {
                    self.next_of_group(Ask::Leave(RemoveMember::Value));
                }
            }
            Ask::LookLeft(form) => {
                let members = self.members(answer);
                let is_in = members.is_some_and(|members| self.is_member(&members));
                self.seen.groups.left.entry(by_value(form)).or_default().took = !is_in;
                if is_in && form == RemoveMember::ValuePath {
                    self.next_of_group(Ask::Leave(RemoveMember::Value));
                }
            }
            Ask::Search => {
                let page = page(answer, &self.config);
                let ours =
                    page.and_then(|page| page.resources.iter().find(|group| self.is_ours(group)).and_then(id_of));
                if let Some(id) = ours {
                    self.seen.groups.unclear = false;
                    self.seen.groups.made = Some(id);
                }
            }
            Ask::Delete(id) => {
                self.seen.groups.deleted = status(answer);
                self.next_of_group(Ask::LookDeleted(id));
            }
            Ask::LookDeleted(_) => {
                if matches!(classify(Purpose::ReadGroup, answer, &self.config), Meaning::Absent(_)) {
                    self.seen.groups.made = None;
                }
            }
        }
    }

    fn next_of_group(&mut self, ask: Ask) {
        self.queue.push_front(Task::Group(ask));
    }

    fn take_group(&mut self, answer: &HttpAnswer) {
        let groups = &mut self.seen.groups;
        groups.created = status(answer);
        match classify(Purpose::CreateGroup, answer, &self.config) {
            Meaning::Success(body) => match body.as_ref().and_then(id_of) {
                Some(id) => {
                    groups.made = Some(id);
                    self.next_of_group(Ask::Join(false));
                    self.next_of_group(Ask::Find);
                }
                None => groups.unclear = true,
            },
            Meaning::Accepted(_) | Meaning::Unknown(..) => groups.unclear = true,
            Meaning::Failed(_)
            | Meaning::Absent(_)
            | Meaning::Exists(_)
            | Meaning::Version(_)
            | Meaning::Fallback(..) => {}
        }
    }

    /// What is still to be removed, each thing once.
    pub(super) fn group_removal(&mut self) -> Option<Ask> {
        let groups = &mut self.seen.groups;
        if groups.unclear && !std::mem::replace(&mut groups.searched, true) {
            return Some(Ask::Search);
        }
        let id = groups.made.clone()?;
        (!std::mem::replace(&mut groups.given_up, true)).then_some(Ask::Delete(id))
    }

    /// What could not be removed.
    pub(super) fn group_left(&self) -> Option<String> {
        match &self.seen.groups.made {
            Some(id) => Some(format!("group {}", id.0)),
            None if self.seen.groups.unclear => Some(format!("perhaps a group named {}", self.group_name())),
            None => None,
        }
    }

    fn is_ours(&self, group: &Value) -> bool {
        resource::get(group, "displayName").and_then(Value::as_str) == Some(self.group_name().as_str())
    }

    fn group_hits(&self, answer: &HttpAnswer) -> Hits {
        match classify(Purpose::SearchGroup, answer, &self.config) {
            Meaning::Success(Some(body)) => match ListPage::parse(&body) {
                Some(page) if page.resources.is_empty() => Hits::Nothing,
                Some(page) if page.resources.iter().all(|group| self.is_ours(group)) => Hits::Ours,
                Some(_) => Hits::Others,
                None => Hits::Refused,
            },
            Meaning::Absent(_) => Hits::Nothing,
            _ => Hits::Refused,
        }
    }

    /// The members that the group shows; `None` when it shows none at all.
    fn members(&self, answer: &HttpAnswer) -> Option<Vec<Value>> {
        let held = success(Purpose::ReadGroup, answer, &self.config)?;
        match resource::get(&held, "members")? {
            Value::Array(members) => Some(members.clone()),
            Value::Null => None,
            single => Some(vec![single.clone()]),
        }
    }

    fn is_member(&self, members: &[Value]) -> bool {
        let account = self.made.first().map(|id| id.0.as_str());
        members.iter().any(|member| {
            let value = resource::get(member, "value").unwrap_or(member);
            let id = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(id.as_str()) == account
        })
    }
}

fn sent(status: Option<u16>) -> Outcome {
    Outcome {
        status,
        ..Outcome::default()
    }
}

fn page(answer: &HttpAnswer, config: &ScimConfig) -> Option<ListPage> {
    success(Purpose::SearchGroup, answer, config)
        .as_ref()
        .and_then(ListPage::parse)
}

impl Groups {
    /// The keys of `connection.scim.groups` that differ from the defaults.
    pub(super) fn keys(&self, config: &ScimConfig) -> Map<String, Value> {
        let (mut keys, defaults) = (Map::new(), ScimConfig::default());
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        if self.there != Some(true) {
            return keys;
        }
        if config.groups.path != defaults.groups.path {
            put("path", json!(config.groups.path));
        }
        if self.shows_members == Some(false) {
            put("showsMembers", json!(false));
        }
        if !done(&self.joined, false) && done(&self.joined, true) {
            put("capitalOperations", json!(true));
        }
        if !done(&self.left, false) && done(&self.left, true) {
            put("remove", json!("value"));
        }
        keys
    }

    pub(super) fn rows(&self, keys: &Map<String, Value>) -> Vec<Row> {
        let key = |name: &str| {
            let value = keys.get(name).map(|value| value.to_string().replace('"', ""));
            value.map_or_else(String::new, |value| format!("groups.{name}: {value}"))
        };
        let row = |question, answer: String, therefore| Row {
            question,
            answer,
            therefore,
        };
        let there = match self.there {
            Some(true) => "there",
            Some(false) => "none, or refused",
            None => "not asked",
        };
        let mut rows = vec![row("groups", there.to_owned(), key("path"))];
        if self.there != Some(true) {
            return rows;
        }
        let created = match self.created {
            Some(400..) => format!("{}, refused", answered(self.created)),
            _ => answered(self.created),
        };
        rows.push(row("create of a group", created, String::new()));
        if !is_success(self.created) {
            return rows;
        }
        let by_name = hits_in_words(self.found);
        rows.push(row("filter by displayName of a group", by_name, String::new()));
        let shows = match self.shows_members {
            Some(true) => "shown",
            Some(false) => "not shown: nobody can look what a write has done",
            None => "not seen",
        };
        rows.push(row("members of a group", shows.to_owned(), key("showsMembers")));
        for (question, outcome, name) in [
            ("PATCH that adds a member", self.joined.get(&false), ""),
            ("the same with `Add`", self.joined.get(&true), "capitalOperations"),
            ("PATCH that removes members[...]", self.left.get(&false), ""),
            ("PATCH that removes members by value", self.left.get(&true), "remove"),
        ] {
            rows.push(row(question, outcome_in_words(outcome), key(name)));
        }
        let gone = match (&self.made, self.deleted) {
            (Some(_), Some(200..=299)) => format!("{}; the group is still there", answered(self.deleted)),
            _ => answered(self.deleted),
        };
        rows.push(row("DELETE of a group", gone, String::new()));
        rows
    }
}
