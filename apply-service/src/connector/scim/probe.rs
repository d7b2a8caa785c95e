//! Finding out what a SCIM server really does, on one throw-away account.
//!
//! A step machine like an exchange: [`Probe::step`] takes the last answer and says what comes next. It makes one account with an
//! unmistakable name, asks for it and changes it in every way that a dialect can name, and removes it. Whatever happens on
//! the way, an answer that never came or [`Probe::stop`], it goes on to the removal and says what it could not remove.
//!
//! Guarantees: it writes to no account but those that it made; it lists nobody's values. Left out: groups, limits, what another
//! credential may do.

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};

use super::{
    abilities::Abilities,
    build,
    classify::{Fallback, Meaning, Purpose, classify, header},
    config::ScimConfig,
    discovery::ServiceProvider,
    filter::Filter,
    listing::ListPage,
    path::{Path, Vocabulary},
    render::{self, Start},
    resource,
    schema::{CORE_USER, ENTERPRISE_USER, PATCH_OP},
};
use crate::{
    connector::{Failure, HttpAnswer, Request},
    logic::account::RemoteId,
};

mod verdict;

use verdict::{Off, Seen, Tried};
pub use verdict::{Report, Row};

const CONFIG_PLACES: [&str; 2] = ["/ServiceProviderConfig", "/ServiceProviderConfigs"];
const WORK: &str = r#"emails[type eq "work"].value"#;
/// How long an account that was made may take until a filter finds it: 1, 2, 4, 8, 16 s.
const POLLS: u32 = 5;
/// How often a request is repeated that was put off or not answered.
const REPEATS: u32 = 3;
/// The longest pause that a target may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What comes next.
#[derive(Debug)]
pub enum Move {
    /// Send this and come back with the answer.
    Send(Request),
    /// Come back after this time, without an answer.
    Wait(Duration),
    /// It has ended; see [`Probe::report`].
    Done,
}

/// One thing to ask.
#[derive(Debug, Clone, PartialEq)]
enum Task {
    Config(usize),
    Create,
    /// Where the account is whose create was not answered with an id.
    Search,
    Read,
    Find(Question),
    /// Nobody has this name.
    FindNobody,
    Page(Start),
    Change(Change),
    /// Reading what a change led to.
    Look(Change),
    Switch(Off, bool),
    LookSwitched(Off, bool),
    FindSwitchedOff,
    Twin,
    Delete(RemoteId),
    LookDeleted(RemoteId),
    /// A target that refuses DELETE: switched off instead.
    Abandon(RemoteId),
}

/// What an account is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    ExternalId,
    UserName,
    UserNameOtherCase,
    EmailDotted,
    EmailValuePath,
}

/// A change of the account, in one of the forms that servers differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Path,
    ValueFilter,
    PathLess,
    Extension,
    Remove,
    Put,
    /// With a version that never was.
    StaleVersion,
}

impl Change {
    const ALL: [Self; 7] = [
        Self::Path,
        Self::ValueFilter,
        Self::PathLess,
        Self::Extension,
        Self::Remove,
        Self::Put,
        Self::StaleVersion,
    ];
}

/// One round of questions to one server.
#[derive(Debug)]
pub struct Probe {
    config: ScimConfig,
    /// Tells this run's account from those of others: a few letters and digits.
    mark: String,
    domain: String,
    queue: VecDeque<Task>,
    doing: Option<Task>,
    repeats: u32,
    stopping: bool,
    /// The account, and a second one if the server made one of the same name.
    made: Vec<RemoteId>,
    /// A create of which nobody knows whether it had an effect.
    unclear: bool,
    held: Value,
    seen: Seen,
}

impl Probe {
    /// `mark`: letters and digits that no other run has. `domain`: of the account's address; some servers take only verified ones.
    #[must_use]
    pub fn new(config: ScimConfig, mark: &str, domain: &str) -> Self {
        Self {
            config,
            mark: mark.to_owned(),
            domain: domain.to_owned(),
            queue: [Task::Config(0), Task::Create].into(),
            doing: None,
            repeats: 0,
            stopping: false,
            made: Vec::new(),
            unclear: false,
            held: Value::Null,
            seen: Seen::default(),
        }
    }

    /// The user name of the account. The mixed case is part of the question.
    #[must_use]
    pub fn user_name(&self) -> String {
        format!("Usher-Probe-{}@{}", self.mark, self.domain)
    }

    /// Ask no further questions: remove what was made.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// What was found out so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut left: Vec<String> = self.made.iter().map(|id| format!("account {}", id.0)).collect();
        if self.unclear {
            left.push(format!("perhaps an account named {}", self.user_name()));
        }
        self.seen.report(&self.config, left)
    }

    /// Takes the answer to the request before, if there was one, and says what comes next.
    pub fn step(&mut self, answer: Option<HttpAnswer>) -> Move {
        if let (Some(task), Some(answer)) = (self.doing.take(), answer) {
            if let Some(pause) = self.repeat(&task, &answer) {
                self.queue.push_front(task);
                return Move::Wait(pause);
            }
            self.repeats = 0;
            if let Some(pause) = self.take(task, &answer) {
                return Move::Wait(pause);
            }
        }
        if self.stopping {
            self.queue.retain(is_removal);
        }
        loop {
            let Some(task) = self.queue.pop_front() else {
                match self.removal() {
                    Some(task) => self.queue.push_back(task),
                    None => return Move::Done,
                }
                continue;
            };
            if let Some(request) = self.request(&task) {
                self.doing = Some(task);
                return Move::Send(request);
            }
        }
    }

    /// What is still to be removed, each thing once.
    fn removal(&mut self) -> Option<Task> {
        if self.unclear && !self.seen.searched {
            self.seen.searched = true;
            return Some(Task::Search);
        }
        let id = self.made.iter().find(|id| !self.seen.given_up.contains(id))?.clone();
        self.seen.given_up.push(id.clone());
        Some(Task::Delete(id))
    }

    /// The pause before a request is sent again that the target has put off or not answered. A create is never repeated.
    fn repeat(&mut self, task: &Task, answer: &HttpAnswer) -> Option<Duration> {
        let create = matches!(task, Task::Create | Task::Twin);
        let pause = match classify(Purpose::Update, answer, &self.config) {
            Meaning::Failed(Failure::Retry(_, wait)) => wait.unwrap_or(Duration::from_secs(2)),
            Meaning::Unknown(_, wait) if !create => wait.unwrap_or(Duration::from_secs(2)),
            _ => return None,
        };
        self.repeats += 1;
        (self.repeats <= REPEATS).then_some(pause.min(PAUSE_MAX))
    }

    fn request(&self, task: &Task) -> Option<Request> {
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
        })
    }

    fn write(&self, method: &'static str, path: String, body: Value, version: Option<&str>) -> Request {
        let body = (!body.is_null()).then_some(body);
        render::write(method, path, body, version, &Abilities::default())
    }

    fn by(&self, filter: &Filter) -> Request {
        render::list(&self.config, Some(filter), &Start::First, 5)
    }

    fn account(&self, user_name: &str, with_key: bool) -> Value {
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
        body
    }

    fn key(&self) -> String {
        format!("usher-probe-{}", self.mark)
    }

    fn held_name(&self) -> String {
        let held = resource::get(&self.held, "userName").and_then(Value::as_str);
        held.map_or_else(|| self.user_name(), str::to_owned)
    }

    fn filter(&self, question: Question) -> Filter {
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
    fn value(&self, path: &str) -> Value {
        let path = Path::parse(path, &Vocabulary::default()).ok();
        path.and_then(|path| resource::read(&self.held, &path))
            .unwrap_or(Value::Null)
    }

    /// The path that a change concerns, and the value that shows it.
    fn wanted(&self, change: Change) -> (String, Value) {
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

    fn change(&self, change: Change, path: String) -> Option<Request> {
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
        Some(self.write(
            "PATCH",
            path,
            json!({"schemas": [PATCH_OP], "Operations": operations}),
            version,
        ))
    }

    fn put(&self, at: &str, value: &Value, path: String, version: Option<&str>) -> Request {
        let parsed = Path::parse(at, &Vocabulary::default());
        let values: Vec<(Path, Value)> = parsed.into_iter().map(|at| (at, value.clone())).collect();
        self.write(
            "PUT",
            path,
            build::replacement(&self.held, &values, &self.config),
            version,
        )
    }

    fn switch(&self, off: Off, active: bool, path: String) -> Request {
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
        self.write(
            "PATCH",
            path,
            json!({"schemas": [PATCH_OP], "Operations": operations}),
            None,
        )
    }

    /// Learns from an answer and queues what follows from it; a pause before the next request.
    fn take(&mut self, task: Task, answer: &HttpAnswer) -> Option<Duration> {
        match task {
            Task::Config(place) => self.take_config(place, answer),
            Task::Create => self.take_create(answer),
            Task::Twin => self.take_twin(answer),
            Task::Search => self.take_search(answer),
            Task::Read => {
                self.remember(answer);
                self.seen.read(&self.held, &self.user_name(), &self.key());
            }
            Task::Find(question) => return self.take_find(question, answer),
            Task::FindNobody => self.seen.nobody = Some(self.hits(answer)),
            Task::FindSwitchedOff => self.seen.off_found = Some(self.hits(answer)),
            Task::Page(start) => self.seen.page(&start, page(answer, &self.config)),
            Task::Change(change) => {
                let status = status(answer);
                let stale = self.shows_old(change, answer);
                self.seen.sent(change, status, stale);
                if status.is_some_and(|status| (200..300).contains(&status)) {
                    self.queue.push_front(Task::Look(change));
                } else {
                    self.after_change(change);
                }
            }
            Task::Look(change) => {
                self.remember(answer);
                let (path, value) = self.wanted(change);
                let took = resource::same(&self.value(&path), &value);
                self.seen.took(change, took);
                self.after_change(change);
            }
            Task::Switch(off, active) => {
                self.seen.switched(off, active, status(answer));
                self.queue.push_front(Task::LookSwitched(off, active));
            }
            Task::LookSwitched(off, active) => self.take_switched(off, active, answer),
            Task::Delete(id) => {
                self.seen.deleted = status(answer);
                self.queue.push_front(Task::LookDeleted(id));
            }
            Task::LookDeleted(id) => self.take_deleted(id, answer),
            Task::Abandon(_) => {}
        }
        None
    }

    fn take_config(&mut self, place: usize, answer: &HttpAnswer) {
        let body = success(Purpose::Check, answer, &self.config);
        match body.as_ref().and_then(ServiceProvider::parse) {
            Some(provider) => {
                self.seen.config_at = Some(CONFIG_PLACES[place]);
                self.seen.provider = provider;
            }
            None if place + 1 < CONFIG_PLACES.len() => self.queue.push_front(Task::Config(place + 1)),
            None => {}
        }
    }

    fn take_create(&mut self, answer: &HttpAnswer) {
        self.seen.created = status(answer);
        let location = match answer {
            HttpAnswer::Response { headers, .. } => header(headers, "location").map(str::to_owned),
            _ => None,
        };
        match classify(Purpose::Create, answer, &self.config) {
            Meaning::Success(body) => {
                match body.as_ref().and_then(id_of) {
                    Some(id) => {
                        self.seen.location = Some(location.is_some_and(|place| place.ends_with(&id.0)));
                        self.made.push(id);
                    }
                    None => self.unclear = true,
                }
                if !self.made.is_empty() {
                    self.questions();
                }
            }
            Meaning::Accepted(_) | Meaning::Unknown(..) => self.unclear = true,
            // Some servers may take `active` only as text.
            _ if matches!(self.seen.created, Some(400 | 422)) && !self.config.active_as_string => {
                self.config.active_as_string = true;
                self.queue.push_front(Task::Create);
            }
            Meaning::Failed(failure) => self.seen.refused = Some(words(&failure)),
            Meaning::Absent(refusal)
            | Meaning::Exists(refusal)
            | Meaning::Version(refusal)
            | Meaning::Fallback(_, refusal) => self.seen.refused = Some(refusal.to_string()),
        }
    }

    /// Everything that is asked of an account that is there.
    fn questions(&mut self) {
        self.queue.extend([
            Task::Read,
            Task::Find(Question::ExternalId),
            Task::Find(Question::UserName),
            Task::Find(Question::UserNameOtherCase),
            Task::Find(Question::EmailDotted),
            Task::Find(Question::EmailValuePath),
            Task::FindNobody,
            Task::Page(Start::First),
            Task::Page(Start::Index(2)),
            Task::Page(Start::FirstCursor),
            Task::Change(Change::Path),
        ]);
    }

    fn after_change(&mut self, change: Change) {
        let next = Change::ALL.iter().position(|known| *known == change);
        let rest = Change::ALL.into_iter().skip(next.map_or(0, |next| next + 1));
        // A server without PATCH is not asked for its other forms.
        let without = self.seen.lacks_patch();
        let next = rest
            .filter(|change| !without || matches!(change, Change::Put | Change::StaleVersion))
            .find(|change| *change != Change::StaleVersion || self.seen.way().is_some());
        match next {
            Some(change) => self.queue.push_back(Task::Change(change)),
            None => {
                self.queue.push_back(Task::Twin);
                let first = self.seen.ways_off(self.config.active_as_string).first().copied();
                self.queue.extend(first.map(|off| Task::Switch(off, false)));
            }
        }
    }

    fn take_twin(&mut self, answer: &HttpAnswer) {
        self.seen.twin = status(answer);
        let meaning = classify(Purpose::Create, answer, &self.config);
        self.seen.twin_known = matches!(meaning, Meaning::Exists(_));
        match meaning {
            Meaning::Success(body) => match body.as_ref().and_then(id_of) {
                Some(id) if !self.made.contains(&id) => self.made.push(id),
                Some(_) => {}
                None => self.unclear = true,
            },
            Meaning::Accepted(_) | Meaning::Unknown(..) => {
                self.unclear = self.seen.twin.is_none_or(|status| status == 202)
            }
            _ => {}
        }
    }

    fn take_search(&mut self, answer: &HttpAnswer) {
        let listed = page(answer, &self.config);
        let wanted = self.user_name();
        let ours = |resource: &&Value| {
            let name = resource::get(resource, "userName").and_then(Value::as_str);
            name.is_some_and(|name| name.eq_ignore_ascii_case(&wanted))
        };
        if let Some(listed) = listed {
            let found: Vec<RemoteId> = listed.resources.iter().filter(ours).filter_map(id_of).collect();
            self.unclear = found.is_empty() && self.made.is_empty();
            for id in found {
                if !self.made.contains(&id) {
                    self.made.push(id);
                }
            }
        }
    }

    fn take_find(&mut self, question: Question, answer: &HttpAnswer) -> Option<Duration> {
        let hits = self.hits(answer);
        let polls = self.seen.asked(question, hits);
        // The first question waits until the index of the target has caught up; the others come after it.
        if hits != Hits::Nothing || self.seen.caught_up() || polls > POLLS {
            return None;
        }
        let pause = Duration::from_secs(1 << (polls - 1));
        self.seen.delay += pause;
        self.queue.push_front(Task::Find(question));
        Some(pause)
    }

    fn take_switched(&mut self, off: Off, active: bool, answer: &HttpAnswer) {
        let gone = matches!(classify(Purpose::Read, answer, &self.config), Meaning::Absent(_));
        if !gone {
            self.remember(answer);
        }
        let shown = resource::get(&self.held, "active").and_then(resource::as_bool);
        let took = gone || shown == Some(active);
        self.seen.look_switched(off, active, took, gone);
        match (active, took) {
            (false, true) => {
                self.queue.push_back(Task::FindSwitchedOff);
                if !gone {
                    self.queue.push_back(Task::Switch(off, true));
                }
            }
            (false, false) => {
                let ways = self.seen.ways_off(self.config.active_as_string);
                let next = ways.iter().position(|way| *way == off).and_then(|at| ways.get(at + 1));
                self.queue.extend(next.map(|off| Task::Switch(*off, false)));
            }
            (true, _) => {}
        }
    }

    fn take_deleted(&mut self, id: RemoteId, answer: &HttpAnswer) {
        match classify(Purpose::Read, answer, &self.config) {
            Meaning::Absent(_) => {
                self.seen.delete_leaves.get_or_insert(false);
                self.made.retain(|made| *made != id);
            }
            Meaning::Success(Some(body)) => {
                self.seen.delete_leaves = Some(true);
                if resource::get(&body, "active").and_then(resource::as_bool) != Some(false) {
                    self.queue.push_front(Task::Abandon(id));
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, answer: &HttpAnswer) {
        if let Some(body) = success(Purpose::Read, answer, &self.config) {
            self.held = body;
        }
    }

    /// Whether a write was answered with something else than what was written.
    fn shows_old(&self, change: Change, answer: &HttpAnswer) -> bool {
        let (path, value) = self.wanted(change);
        let Some(body) = success(Purpose::Update, answer, &self.config).filter(Value::is_object) else {
            return false;
        };
        let shown = Path::parse(&path, &Vocabulary::default()).ok();
        let shown = shown
            .and_then(|path| resource::read(&body, &path))
            .unwrap_or(Value::Null);
        id_of(&body).is_some() && !resource::same(&shown, &value)
    }

    fn hits(&self, answer: &HttpAnswer) -> Hits {
        match classify(Purpose::Search, answer, &self.config) {
            Meaning::Success(Some(body)) => match ListPage::parse(&body) {
                Some(page) if page.resources.is_empty() => Hits::Nothing,
                Some(page)
                    if page
                        .resources
                        .iter()
                        .filter_map(id_of)
                        .all(|id| self.made.contains(&id)) =>
                {
                    Hits::Ours
                }
                Some(_) => Hits::Others,
                None => Hits::Refused,
            },
            Meaning::Absent(_) => Hits::Nothing,
            Meaning::Fallback(Fallback::TooMany, _) => Hits::Others,
            _ => Hits::Refused,
        }
    }
}

/// What a filter found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hits {
    Ours,
    Nothing,
    /// Accounts that were not asked for.
    Others,
    Refused,
}

fn is_removal(task: &Task) -> bool {
    matches!(
        task,
        Task::Search | Task::Delete(_) | Task::LookDeleted(_) | Task::Abandon(_)
    )
}

fn success(purpose: Purpose, answer: &HttpAnswer, config: &ScimConfig) -> Option<Value> {
    match classify(purpose, answer, config) {
        Meaning::Success(body) => body,
        _ => None,
    }
}

fn page(answer: &HttpAnswer, config: &ScimConfig) -> Option<ListPage> {
    success(Purpose::Search, answer, config)
        .as_ref()
        .and_then(ListPage::parse)
}

fn id_of(resource: &Value) -> Option<RemoteId> {
    let id = resource::get(resource, "id")?;
    let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    (!text.is_empty()).then_some(RemoteId(text))
}

fn status(answer: &HttpAnswer) -> Option<u16> {
    match answer {
        HttpAnswer::Response { status, .. } => Some(*status),
        HttpAnswer::NotSent(_) | HttpAnswer::Broken(_) => None,
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Retry(refusal, _) | Failure::Reject(refusal) | Failure::Halt(refusal) => refusal.to_string(),
    }
}

#[cfg(test)]
mod tests;
