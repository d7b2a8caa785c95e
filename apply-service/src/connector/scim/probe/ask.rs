//! The requests of a probe: what each task sends.

use serde_json::{Value, json};

use super::{CONFIG_PLACES, Change, Probe, Question, Task, Tried, WORK, verdict::Off};
use crate::connector::{
    Request,
    scim::{
        abilities::Abilities,
        build,
        filter::Filter,
        patch::capitalize,
        path::{Path, Vocabulary},
        render::{self, Start},
        resource,
        schema::{CORE_USER, ENTERPRISE_USER, PATCH_OP},
    },
};
use crate::logic::account::RemoteId;

impl Probe {
    pub(super) fn request(&self, task: &Task) -> Option<Request> {
        let config = &self.config;
        let account = |id: &RemoteId| render::account_path(config, id).ok();
        let first = || self.made.first();
        Some(match task {
            Task::Config(place) => render::get((*CONFIG_PLACES.get(*place)?).to_owned()),
            Task::Create => self.write(
                "POST",
                config.users_path.clone(),
                self.account(&self.user_name(), true),
                None,
            ),
            Task::Twin => {
                let name = self.user_name().to_lowercase();
                self.write("POST", config.users_path.clone(), self.account(&name, false), None)
            }
            Task::Search => self.by(&Filter::equal("userName", self.user_name())),
            Task::Find(question) => self.by(&self.filter(*question)),
            Task::FindSwitchedOff => self.by(&Filter::equal("userName", self.held_name())),
            Task::FindNobody => self.by(&Filter::equal("userName", format!("nobody-{}", self.user_name()))),
            Task::Page(start) => render::list(config, None, start, 1),
            Task::Read | Task::Look(_) | Task::LookSwitched(..) => render::get(account(first()?)?),
            Task::LookDeleted(id) => render::get(account(id)?),
            Task::Change(change) => self.change(*change, account(first()?)?)?,
            Task::Switch(off, active) => self.switch(*off, *active, account(first()?)?),
            Task::Abandon(id) => self.switch(self.seen.off.unwrap_or(Off::Path), false, account(id)?),
            Task::Delete(id) => self.write("DELETE", account(id)?, Value::Null, None),
            Task::Group(ask) => self.ask_of_group(ask)?,
        })
    }

    pub(super) fn write(&self, method: &'static str, path: String, body: Value, version: Option<&str>) -> Request {
        let body = (!body.is_null()).then_some(body);
        render::write(method, path, body, version, &Abilities::default())
    }

    pub(super) fn by(&self, filter: &Filter) -> Request {
        render::list(&self.config, Some(filter), &Start::First, 5)
    }

    pub(super) fn account(&self, user_name: &str, with_key: bool) -> Value {
        let mut body = json!({
            "schemas": [CORE_USER, ENTERPRISE_USER],
            "userName": user_name,
            "active": if self.config.active_as_string { json!("True") } else { json!(true) },
            "name": {"givenName": "Usher Probe", "familyName": "Throw-Away"},
            "displayName": format!("Usher Probe {} (throw-away)", self.mark),
            "title": "made by a probe",
            "emails": [{"type": "work", "value": user_name, "primary": true}],
            ENTERPRISE_USER: {"department": "probe"},
        });
        if with_key {
            body["externalId"] = json!(self.key());
        }
        for (path, value) in &self.more {
            build::set(&mut body, path, value, &self.config);
        }
        body
    }

    pub(super) fn key(&self) -> String {
        format!("usher-probe-{}", self.mark)
    }

    pub(super) fn held_name(&self) -> String {
        let held = resource::get(&self.held, "userName").and_then(Value::as_str);
        held.map_or_else(|| self.user_name(), str::to_owned)
    }

    pub(super) fn filter(&self, question: Question) -> Filter {
        let name = self.held_name();
        let mail = self
            .value(WORK)
            .as_str()
            .map_or_else(|| self.user_name(), str::to_owned);
        match question {
            Question::ExternalId => Filter::equal("externalId", self.key()),
            Question::UserName => Filter::equal("userName", name),
            Question::UserNameOtherCase if name == name.to_lowercase() => {
                Filter::equal("userName", name.to_uppercase())
            }
            Question::UserNameOtherCase => Filter::equal("userName", name.to_lowercase()),
            Question::EmailDotted => Filter::equal("emails.value", mail),
            Question::EmailValuePath => Filter::Element {
                attribute: "emails".to_owned(),
                filter: Box::new(Filter::equal("type", "work").and(Filter::equal("value", mail))),
            },
        }
    }

    /// What the account holds at a path.
    pub(super) fn value(&self, path: &str) -> Value {
        let path = Path::parse(path, &Vocabulary::default()).ok();
        path.and_then(|path| resource::read(&self.held, &path))
            .unwrap_or(Value::Null)
    }

    /// The path that a change concerns, and the value that shows it.
    pub(super) fn wanted(&self, change: Change) -> (String, Value) {
        let title = |text: &str| ("title".to_owned(), json!(text));
        match change {
            Change::Path => title("by path"),
            Change::PathLess => title("without path"),
            Change::Put => title("by put"),
            Change::StaleVersion => title("by a stale version"),
            Change::Remove => ("title".to_owned(), Value::Null),
            Change::Extension => (format!("{ENTERPRISE_USER}:department"), json!("by path")),
            Change::ValueFilter => (WORK.to_owned(), json!(format!("second-{}", self.user_name()))),
        }
    }

    pub(super) fn change(&self, change: Change, path: String) -> Option<Request> {
        let (at, value) = self.wanted(change);
        let version = (change == Change::StaleVersion).then_some("W/\"usher-probe-0\"");
        let operations = match change {
            Change::Put => return Some(self.put(&at, &value, path, None)),
            Change::StaleVersion if self.seen.way() == Some(Tried::Put) => {
                return Some(self.put(&at, &value, path, version));
            }
            Change::PathLess => json!([{"op": "replace", "value": {at: value}}]),
            Change::StaleVersion if self.seen.way() == Some(Tried::PathLess) => {
                json!([{"op": "replace", "value": {at: value}}])
            }
            Change::Remove => json!([{"op": "remove", "path": at}]),
            _ => json!([{"op": "replace", "path": at, "value": value}]),
        };
        Some(self.write("PATCH", path, self.patch(operations), version))
    }

    /// The body of a PATCH, with its operations as this server wants their names.
    fn patch(&self, mut operations: Value) -> Value {
        if self.config.capital_operations {
            operations.as_array_mut().into_iter().flatten().for_each(capitalize);
        }
        json!({"schemas": [PATCH_OP], "Operations": operations})
    }

    pub(super) fn put(&self, at: &str, value: &Value, path: String, version: Option<&str>) -> Request {
        let parsed = Path::parse(at, &Vocabulary::default());
        let values: Vec<(Path, Value)> = parsed.into_iter().map(|at| (at, value.clone())).collect();
        self.write(
            "PUT",
            path,
            build::replacement(&self.held, &values, &self.config),
            version,
        )
    }

    pub(super) fn switch(&self, off: Off, active: bool, path: String) -> Request {
        let text = matches!(off, Off::PathText | Off::PathLessText | Off::PutText);
        let value = match (text, active) {
            (false, _) => json!(active),
            (true, true) => json!("True"),
            (true, false) => json!("False"),
        };
        let operations = match off {
            Off::Put | Off::PutText => {
                // The text as it is: a setting must not turn it round.
                let mut body = build::replacement(&self.held, &[], &self.config);
                body["active"] = value;
                return self.write("PUT", path, body, None);
            }
            Off::Path | Off::PathText => json!([{"op": "replace", "path": "active", "value": value}]),
            Off::PathLess | Off::PathLessText => json!([{"op": "replace", "value": {"active": value}}]),
        };
        self.write("PATCH", path, self.patch(operations), None)
    }
}
