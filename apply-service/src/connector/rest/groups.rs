//! Groups of a described application: found by name, made, renamed, and their members added and taken out one by one, or
//! many where the description's templates read `members`.
//!
//! Lists of groups and of members may come in pages, as lists of accounts do.
//!
//! What an application answers to calls about groups stops groups and not the target, unless it is about credentials.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::{
    Meaning, Shared,
    account::text_at,
    classify::unexpected,
    config::Verb,
    description::Call,
    failed, lacking,
    paging::{Pages, Turn},
};
use crate::{
    connector::{Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::{
        account::{AttributeValues, RemoteGroup, RemoteId},
        groups::rules::{GroupAbilities, folded},
    },
};

/// Groups of a description that can be carried out.
#[derive(Debug)]
pub(crate) struct CompiledGroups {
    pub(crate) id: JsonPath,
    pub(crate) name: JsonPath,
    pub(crate) member: JsonPath,
    /// Members of one call, where its templates read `members`; else one.
    pub(crate) at_once: usize,
}

impl Shared {
    /// What can be done about groups; `None` when there is no way to find one or to add somebody.
    pub(super) fn group_abilities(&self) -> Option<GroupAbilities> {
        let has = |verb| self.call(verb).is_some();
        let groups = self.description.groups.as_ref()?;
        ((has(Verb::ListGroups) || has(Verb::FindGroup)) && has(Verb::AddMember)).then(|| GroupAbilities {
            create: has(Verb::CreateGroup),
            rename: has(Verb::RenameGroup),
            remove: has(Verb::RemoveMember),
            read: has(Verb::ReadMembers),
            at_once: groups.at_once,
        })
    }

    /// The entries of an answer about groups.
    fn entries<'a>(&self, call: &Call, body: &'a Value) -> Result<Vec<&'a Value>, Refusal> {
        let found = call
            .accounts
            .as_ref()
            .map(|path| path.query(body).all())
            .unwrap_or_default();
        if found.is_empty() {
            let what = "without the place where the entries should be; check `entries`";
            return Err(unexpected(call.verb, what));
        }
        let lists = found.into_iter().map(|value| match value {
            Value::Null => &[],
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        });
        Ok(lists.flatten().collect())
    }

    fn pages(&self, call: &Call, names: Vec<(&'static str, Value)>) -> Pages {
        Pages::new(&self.description, call, &self.base_url, names)
    }

    fn groups_in(&self, call: &Call, body: &Value) -> Result<Vec<RemoteGroup>, Refusal> {
        let Some(groups) = &self.description.groups else {
            return Ok(Vec::new());
        };
        let read = |held: &&Value| {
            let id = text_at(&groups.id, held)?;
            Some(RemoteGroup {
                id: RemoteId(id),
                name: text_at(&groups.name, held).unwrap_or_default(),
            })
        };
        let entries = self.entries(call, body)?;
        let found: Option<Vec<RemoteGroup>> = entries.iter().map(read).collect();
        found.ok_or_else(|| unexpected(call.verb, "not a list of groups with ids; check groups.id"))
    }
}

/// What stops only groups.
fn only_groups(step: Step) -> Step {
    match step {
        Step::Done(Err(Failure::Halt(refusal)))
            if matches!(
                refusal.code.as_str(),
                "http-403"
                    | "http-404"
                    | "http-405"
                    | "http-410"
                    | "unexpected-answer"
                    | "unknown-answer"
                    | "list-too-long"
                    | "link-elsewhere"
            ) =>
        {
            Step::Done(Err(Failure::Reject(refusal)))
        }
        other => other,
    }
}

fn refused(refusal: Refusal) -> Step {
    Step::Done(Err(Failure::Reject(refusal)))
}

/// The exchange of `Operation::FindGroup`.
#[derive(Debug)]
pub(crate) struct Find {
    shared: Arc<Shared>,
    name: String,
    verb: Verb,
    /// The list under way, and what of it has the name.
    pages: Option<Pages>,
    found: Vec<RemoteGroup>,
}

impl Find {
    pub(crate) fn new(shared: Arc<Shared>, name: String) -> Self {
        let by_name = shared.call(Verb::FindGroup).is_some();
        let verb = if by_name { Verb::FindGroup } else { Verb::ListGroups };
        Self {
            shared,
            name,
            verb,
            pages: None,
            found: Vec::new(),
        }
    }

    fn ask(&mut self) -> Step {
        let Some(call) = self.shared.call(self.verb) else {
            return lacking("groups.list");
        };
        let group = ("group", json!({ "name": self.name }));
        let pages = self.shared.pages(call, vec![group]);
        next_page(self.pages.insert(pages))
    }
}

impl Exchange for Find {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else { return self.ask() };
        let shared = Arc::clone(&self.shared);
        let Some(call) = shared.call(self.verb) else {
            return lacking("groups.list");
        };
        let Some(pages) = &mut self.pages else {
            return self.ask();
        };
        match shared.classify(call, &answer) {
            Meaning::Success(body) => {
                let mut page = match shared.groups_in(call, &body) {
                    Ok(page) => page,
                    Err(refusal) => return refused(refusal),
                };
                let head = page.first().map(|group| group.id.0.clone());
                let turn = match pages.turn(&answer, &body, page.len(), head.as_deref()) {
                    Ok(turn) => turn,
                    Err(failure) => return only_groups(Step::Done(Err(failure))),
                };
                if turn != Turn::Again {
                    page.retain(|group| folded(&group.name) == folded(&self.name));
                    self.found.append(&mut page);
                }
                if turn == Turn::More {
                    return next_page(pages);
                }
            }
            Meaning::Absent if self.verb == Verb::FindGroup => {}
            Meaning::Failed(failure) => return only_groups(Step::Done(Err(pages.refused(failure)))),
            other => return only_groups(failed(other)),
        }
        let found = std::mem::take(&mut self.found);
        let proven = self.verb == Verb::ListGroups || call.proves_absence || shared.call(Verb::ListGroups).is_none();
        if found.is_empty() && !proven {
            self.verb = Verb::ListGroups;
            return self.ask();
        }
        Step::Done(Ok(Reply::Groups(found)))
    }
}

/// Asks for the page that comes next.
fn next_page(pages: &Pages) -> Step {
    match pages.ask() {
        Ok(draft) => Step::Complete(draft),
        Err(refusal) => refused(refusal),
    }
}

/// What is done about a group.
#[derive(Debug)]
pub(crate) enum Work {
    Create(String),
    Rename(RemoteId, String),
}

/// The exchange of the operations of one call about a group.
#[derive(Debug)]
pub(crate) struct Single {
    shared: Arc<Shared>,
    work: Work,
}

impl Single {
    pub(crate) fn new(shared: Arc<Shared>, work: Work) -> Self {
        Self { shared, work }
    }

    fn verb(&self) -> (Verb, &'static str) {
        match self.work {
            Work::Create(_) => (Verb::CreateGroup, "groups.create"),
            Work::Rename(..) => (Verb::RenameGroup, "groups.rename"),
        }
    }

    fn succeeded(&self, call: &Call, body: &Value) -> Result<Reply, Failure> {
        match &self.work {
            Work::Create(_) => {
                let made = call.id.as_ref().and_then(|path| text_at(path, body)).map(RemoteId);
                let shown = || Some(self.shared.groups_in(call, body).ok()?.first()?.id.clone());
                made.or_else(shown).map(Reply::GroupWritten).ok_or_else(|| {
                    Failure::Retry(
                        Refusal {
                            code: "created-not-visible".to_owned(),
                            reason: "creating the group: the target said that it was made and gave no id".to_owned(),
                        },
                        None,
                    )
                })
            }
            Work::Rename(id, _) => Ok(Reply::GroupWritten(id.clone())),
        }
    }
}

impl Exchange for Single {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let (verb, name) = self.verb();
        let Some(call) = self.shared.call(verb) else {
            return lacking(name);
        };
        let Some(answer) = answer else {
            let group = match &self.work {
                Work::Create(name) => json!({ "name": name }),
                Work::Rename(id, name) => json!({ "id": id.0, "name": name }),
            };
            return self.shared.send(call, &[("group", group)], &AttributeValues::new());
        };
        match self.shared.classify(call, &answer) {
            Meaning::Success(body) => Step::Done(self.succeeded(call, &body)),
            Meaning::Absent => Step::Done(Ok(Reply::Absent)),
            Meaning::Exists(refusal) => Step::Done(Ok(Reply::Conflict(refusal))),
            other => only_groups(failed(other)),
        }
    }
}

/// The exchange of `Operation::ReadGroup`.
#[derive(Debug)]
pub(crate) struct Read {
    shared: Arc<Shared>,
    id: RemoteId,
    pages: Option<Pages>,
    members: Vec<RemoteId>,
}

impl Read {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId) -> Self {
        Self {
            shared,
            id,
            pages: None,
            members: Vec::new(),
        }
    }

    /// The members of a page.
    fn members_in(&self, call: &Call, body: &Value) -> Result<Vec<RemoteId>, Refusal> {
        let Some(groups) = &self.shared.description.groups else {
            return Ok(Vec::new());
        };
        let entries = self.shared.entries(call, body)?;
        let ids: Option<Vec<RemoteId>> = entries
            .iter()
            .map(|held| text_at(&groups.member, held).map(RemoteId))
            .collect();
        // One that cannot be read makes the rest say nothing about who is not in it.
        ids.ok_or_else(|| unexpected(call.verb, "not a list of members; check groups.member"))
    }
}

impl Exchange for Read {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let shared = Arc::clone(&self.shared);
        let Some(call) = shared.call(Verb::ReadMembers) else {
            return lacking("groups.members");
        };
        let (Some(answer), true) = (answer, self.pages.is_some()) else {
            let group = ("group", json!({ "id": self.id.0 }));
            return next_page(self.pages.insert(shared.pages(call, vec![group])));
        };
        let body = match shared.classify(call, &answer) {
            Meaning::Success(body) => body,
            Meaning::Absent => return Step::Done(Ok(Reply::Absent)),
            Meaning::Exists(refusal) => return Step::Done(Ok(Reply::Conflict(refusal))),
            Meaning::Failed(failure) => {
                let failure = match &self.pages {
                    Some(pages) => pages.refused(failure),
                    None => failure,
                };
                return only_groups(Step::Done(Err(failure)));
            }
            other => return only_groups(failed(other)),
        };
        let page = match self.members_in(call, &body) {
            Ok(page) => page,
            Err(refusal) => return refused(refusal),
        };
        let Some(pages) = &mut self.pages else {
            return lacking("groups.members");
        };
        let head = page.first().map(|id| id.0.as_str());
        let turn = match pages.turn(&answer, &body, page.len(), head) {
            Ok(turn) => turn,
            Err(failure) => return only_groups(Step::Done(Err(failure))),
        };
        if turn != Turn::Again {
            self.members.extend(page);
        }
        match turn {
            Turn::More => next_page(pages),
            Turn::Last | Turn::Again => Step::Done(Ok(Reply::Members(Some(std::mem::take(&mut self.members))))),
        }
    }
}

/// The exchange of `Operation::ChangeMembers`.
#[derive(Debug)]
pub(crate) struct Change {
    shared: Arc<Shared>,
    id: RemoteId,
    calls: VecDeque<(Verb, Vec<RemoteId>)>,
}

impl Change {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId, add: &[RemoteId], remove: &[RemoteId]) -> Self {
        let at_once = shared
            .description
            .groups
            .as_ref()
            .map_or(1, |groups| groups.at_once.max(1));
        let parts = |verb: Verb, ids: &[RemoteId]| -> Vec<(Verb, Vec<RemoteId>)> {
            ids.chunks(at_once).map(|part| (verb, part.to_vec())).collect()
        };
        let mut calls = parts(Verb::RemoveMember, remove);
        calls.extend(parts(Verb::AddMember, add));
        Self {
            shared,
            id,
            calls: calls.into(),
        }
    }

    fn next(&self) -> Step {
        let Some((verb, members)) = self.calls.front() else {
            return Step::Done(Ok(Reply::Changed));
        };
        let Some(call) = self.shared.call(*verb) else {
            return lacking(if *verb == Verb::AddMember {
                "groups.add"
            } else {
                "groups.remove"
            });
        };
        let ids: Vec<&str> = members.iter().map(|member| member.0.as_str()).collect();
        let names = [
            ("group", json!({ "id": self.id.0 })),
            ("member", json!({ "id": ids.first() })),
            ("members", json!(ids)),
        ];
        self.shared.send(call, &names, &AttributeValues::new())
    }
}

impl Exchange for Change {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let shared = Arc::clone(&self.shared);
        let call = self.calls.front().and_then(|(verb, _)| shared.call(*verb));
        let (Some(answer), Some(call)) = (answer, call) else {
            return self.next();
        };
        match shared.classify(call, &answer) {
            // Whoever is in it already, or is not in it.
            Meaning::Success(_) | Meaning::Exists(_) => {}
            Meaning::Absent if call.verb == Verb::RemoveMember => {}
            Meaning::Absent => {
                return refused(Refusal {
                    code: "member-or-group-absent".to_owned(),
                    reason: "adding a member: the target has no such group or no such account".to_owned(),
                });
            }
            other => return only_groups(failed(other)),
        }
        self.calls.pop_front();
        self.next()
    }
}
