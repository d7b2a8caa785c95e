//! Checking the calls of a description: address, headers, body, paging.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Body, Call, CompiledPaging, Tree,
    compile::{Compiler, Place},
};
use crate::connector::rest::{
    config::{OperationConfig, Paging, PagingStyle, Verb},
    template::Template,
};

impl Compiler<'_> {
    pub(super) fn call(&mut self, verb: Verb, at: &[&str], call: &OperationConfig) -> Option<Call> {
        let roots = Self::roots(verb, call.paging.is_some());
        let below = |key: &'static str| -> Vec<&str> { at.iter().copied().chain([key]).collect() };
        if !call.path.starts_with('/') || call.path.contains(['?', '#', ' ']) && !call.path.contains("{{") {
            self.wrong(
                &below("path"),
                "starts with `/` and is a plain path; parameters go under `query`",
            );
        }
        let path = self.template(&below("path"), &call.path, Place::Address, &roots);
        let query = self.entries(&below("query"), &call.query, Place::Address, &roots);
        let own = self.entries(&below("headers"), &call.headers, Place::Sent, &roots);
        let form = call
            .form
            .as_ref()
            .map(|form| self.entries(&below("form"), form, Place::Sent, &roots));
        let mut headers = Vec::new();
        for (name, text) in &self.config.headers {
            if let Some(template) = self.template(&["headers", name], text, Place::Sent, &[]) {
                headers.push((name.clone(), template));
            }
        }
        headers.extend(own);
        for (name, _) in &headers {
            if name.parse::<axum::http::HeaderName>().is_err() {
                self.wrong(&below("headers"), format!("`{name}` is not the name of a header"));
            }
        }
        let common = self.common();
        let body = match (form, &call.json) {
            (Some(_), Some(_)) => {
                self.wrong(&below("json"), "a body is either `form` or `json`");
                Body::None
            }
            (Some(form), None) => Body::Form(common.into_iter().chain(form).collect()),
            (None, Some(json)) => {
                let mut at: Vec<String> = below("json").into_iter().map(str::to_owned).collect();
                let tree = self.tree(&mut at, json, &roots);
                match tree {
                    Some(Tree::Map(entries)) => {
                        let common = common.into_iter().map(|(name, template)| (name, Tree::Text(template)));
                        Body::Json(Tree::Map(common.chain(entries).collect()))
                    }
                    Some(_) if !common.is_empty() || call.send_fields => {
                        self.wrong(&below("json"), "must be a map, because further entries belong into it");
                        Body::None
                    }
                    other => other.map_or(Body::None, Body::Json),
                }
            }
            (None, None) => Body::None,
        };
        if call.send_fields && matches!((&call.form, &call.json), (None, None)) {
            self.wrong(&below("sendFields"), "needs a body: `form: {}` or `json: {}`");
        }
        if call.send_fields && !matches!(verb, Verb::Create | Verb::Update) {
            self.wrong(&below("sendFields"), "belongs to create and update alone");
        }
        // A look-up may say no more than that there is one, where that is enough to read it.
        let by_key = verb == Verb::Find && self.config.account.asked_id && self.config.operations.read.is_some();
        let (place, found) = if verb.is_of_groups() {
            ("entries", &call.entries)
        } else {
            ("accounts", &call.accounts)
        };
        let (other, misplaced) = if verb.is_of_groups() {
            ("accounts", call.accounts.is_some())
        } else {
            ("entries", call.entries.is_some())
        };
        if misplaced {
            self.wrong(&below(other), format!("is called `{place}` here"));
        }
        let required = match verb {
            Verb::List | Verb::Find | Verb::Read => !by_key,
            Verb::ListGroups | Verb::FindGroup | Verb::ReadMembers => true,
            _ => false,
        };
        if required && found.is_none() {
            self.wrong(
                &below(place),
                format!("is required: a JSONPath to the list of {}", verb.listed()),
            );
        }
        let accounts = found.as_ref().and_then(|text| self.path(&below(place), text));
        let id = call.id.as_ref().and_then(|text| self.path(&below("id"), text));
        if call.proves_absence && !matches!(verb, Verb::Find | Verb::FindGroup) {
            self.wrong(&below("provesAbsence"), "belongs to look-ups alone");
        }
        let texts = [Some(&call.path)].into_iter().flatten().chain(call.query.values());
        let texts = texts.chain(call.form.iter().flat_map(BTreeMap::values));
        let all: String = texts.cloned().collect::<Vec<_>>().join("\n")
            + &call.json.as_ref().map_or_else(String::new, Value::to_string)
            + &call.headers.values().cloned().collect::<Vec<_>>().join("\n");
        let paging = call
            .paging
            .as_ref()
            .and_then(|paging| self.paging(verb, at, paging, &all));
        let answers = self.patterns(&below("answers"), &call.answers);
        Some(Call {
            verb,
            method: call.method.as_str(),
            addresses_account: path
                .iter()
                .chain(query.iter().map(|(_, template)| template))
                .any(|template| {
                    template
                        .names()
                        .any(|name| matches!(name, "account.id" | "key" | "group.id"))
                }),
            path: path?,
            query,
            headers,
            body,
            send_fields: call.send_fields,
            accounts,
            id,
            proves_absence: call.proves_absence,
            paging,
            answers,
        })
    }

    fn entries(
        &mut self,
        at: &[&str],
        map: &BTreeMap<String, String>,
        place: Place,
        roots: &[&str],
    ) -> Vec<(String, Template)> {
        let mut compiled = Vec::new();
        for (name, text) in map {
            let at: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            compiled.extend(
                self.template(&at, text, place, roots)
                    .map(|template| (name.clone(), template)),
            );
        }
        compiled
    }

    fn common(&mut self) -> Vec<(String, Template)> {
        let config = self.config;
        self.entries(&["body"], &config.body, Place::Sent, &[])
    }

    fn tree(&mut self, at: &mut Vec<String>, value: &Value, roots: &[&str]) -> Option<Tree> {
        Some(match value {
            Value::String(text) => {
                let keys: Vec<&str> = at.iter().map(String::as_str).collect();
                Tree::Text(self.template(&keys, text, Place::Sent, roots)?)
            }
            Value::Array(items) => {
                let mut trees = Vec::new();
                for (number, item) in items.iter().enumerate() {
                    at.push(number.to_string());
                    trees.extend(self.tree(at, item, roots));
                    at.pop();
                }
                Tree::List(trees)
            }
            Value::Object(entries) => {
                let mut trees = Vec::new();
                for (name, item) in entries {
                    at.push(name.clone());
                    trees.extend(self.tree(at, item, roots).map(|tree| (name.clone(), tree)));
                    at.pop();
                }
                Tree::Map(trees)
            }
            other => Tree::Plain(other.clone()),
        })
    }

    fn paging(&mut self, verb: Verb, at: &[&str], paging: &Paging, texts: &str) -> Option<CompiledPaging> {
        let below = |key: &'static str| -> Vec<&str> { at.iter().copied().chain(["paging", key]).collect() };
        if !matches!(
            verb,
            Verb::List | Verb::ListGroups | Verb::FindGroup | Verb::ReadMembers
        ) {
            self.wrong(
                &below("style"),
                "belongs to lists alone: list, and of groups list, find and members",
            );
        }
        if paging.size == 0 {
            self.wrong(&below("size"), "at least 1");
        }
        let reads = match paging.style {
            PagingStyle::Page => "page.number",
            PagingStyle::Offset => "page.offset",
            PagingStyle::Cursor => "page.cursor",
            PagingStyle::Link => "",
        };
        if !texts.contains(reads) {
            self.wrong(
                &below("style"),
                format!("no template of the request reads {reads}: every page would be the first"),
            );
        }
        match (paging.style, &paging.next) {
            (PagingStyle::Cursor, None) => {
                self.wrong(
                    &below("next"),
                    "is required: where the answer has the cursor of the next page",
                );
            }
            (PagingStyle::Page | PagingStyle::Offset | PagingStyle::Link, Some(_)) => {
                self.wrong(&below("next"), "belongs to the style `cursor` alone");
            }
            _ => {}
        }
        let mut path =
            |key: &'static str, text: &Option<String>| text.as_ref().and_then(|text| self.path(&below(key), text));
        let next = path("next", &paging.next);
        let total = path("total", &paging.total);
        Some(CompiledPaging {
            style: paging.style,
            size: paging.size,
            first: paging.first.unwrap_or(u64::from(paging.style == PagingStyle::Page)),
            next,
            total,
        })
    }
}
