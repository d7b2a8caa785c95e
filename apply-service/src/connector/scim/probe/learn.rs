//! What a probe learns from each answer, and what it asks next.

use std::time::Duration;

use serde_json::Value;

use super::{CONFIG_PLACES, Change, Hits, POLLS, Probe, Question, Task, group::Ask, verdict::Off};
use crate::{
    connector::{
        Failure, HttpAnswer,
        scim::{
            classify::{Fallback, Meaning, Purpose, classify, header},
            config::ScimConfig,
            discovery::ServiceProvider,
            listing::ListPage,
            path::{Path, Vocabulary},
            render::Start,
            resource,
        },
    },
    logic::account::RemoteId,
};

impl Probe {
    /// Learns from an answer and queues what follows from it; a pause before the next request.
    pub(super) fn take(&mut self, task: Task, answer: &HttpAnswer) -> Option<Duration> {
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
                // Some servers know `Replace` alone, as Entra ID writes it. When that is refused as well, it was not that.
                let other = change == Change::Path && matches!(status, Some(400 | 422));
                if other && !self.config.capital_operations && self.seen.capital.is_none() {
                    (self.config.capital_operations, self.seen.capital) = (true, Some(false));
                    self.queue.push_front(Task::Change(change));
                    return None;
                }
                if other && self.seen.capital == Some(false) {
                    self.config.capital_operations = false;
                }
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
                if change == Change::Path && self.seen.capital.is_some() {
                    self.seen.capital = Some(took);
                    self.config.capital_operations = took;
                }
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
            Task::Group(ask) => self.take_of_group(ask, answer),
        }
        None
    }

    pub(super) fn take_config(&mut self, place: usize, answer: &HttpAnswer) {
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

    pub(super) fn take_create(&mut self, answer: &HttpAnswer) {
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
    pub(super) fn questions(&mut self) {
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
            Task::Group(Ask::List(true)),
            Task::Change(Change::Path),
        ]);
    }

    pub(super) fn after_change(&mut self, change: Change) {
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

    pub(super) fn take_twin(&mut self, answer: &HttpAnswer) {
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

    pub(super) fn take_search(&mut self, answer: &HttpAnswer) {
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

    pub(super) fn take_find(&mut self, question: Question, answer: &HttpAnswer) -> Option<Duration> {
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

    pub(super) fn take_switched(&mut self, off: Off, active: bool, answer: &HttpAnswer) {
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

    pub(super) fn take_deleted(&mut self, id: RemoteId, answer: &HttpAnswer) {
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

    pub(super) fn remember(&mut self, answer: &HttpAnswer) {
        if let Some(body) = success(Purpose::Read, answer, &self.config) {
            self.held = body;
        }
    }

    /// Whether a write was answered with something else than what was written.
    pub(super) fn shows_old(&self, change: Change, answer: &HttpAnswer) -> bool {
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

    pub(super) fn hits(&self, answer: &HttpAnswer) -> Hits {
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

pub(super) fn success(purpose: Purpose, answer: &HttpAnswer, config: &ScimConfig) -> Option<Value> {
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

pub(super) fn id_of(resource: &Value) -> Option<RemoteId> {
    let id = resource::get(resource, "id")?;
    let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    (!text.is_empty()).then_some(RemoteId(text))
}

pub(super) fn status(answer: &HttpAnswer) -> Option<u16> {
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
