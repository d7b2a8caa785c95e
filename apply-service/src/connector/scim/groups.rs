//! Finding and making groups (RFC 7643 section 4.2). Never with their members: a large group is large.
//!
//! A name is looked for by filter. An empty result counts once the filter was seen to find a group; until then all groups
//! are listed, and the filter is tried on one of them. Names are compared by us, whatever the server says.
//!
//! A target without groups, or credentials without them, refuses groups and nothing else: accounts go on.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Shared,
    abilities::Trust,
    classify::{Fallback, Meaning, Purpose, not_scim},
    config::FilterMode,
    filter::Filter,
    listing::{ListPage, Progress, incomplete},
    render::{self, Start},
    resource,
};
use crate::{
    connector::{
        CURSOR_REFUSED, Exchange, Failure, HttpAnswer, Refusal, Reply, Request, Step, answer::is_ours_to_mend,
    },
    logic::{
        account::{RemoteGroup, RemoteId},
        groups::rules::folded,
    },
};

/// The schema of a group.
const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// Hits asked for by a name: more than one tells "ambiguous".
const HITS: u32 = 10;

/// Refuses groups for what would stop the target as a whole, unless nobody's request can pass.
pub(super) fn only_groups(failure: Failure) -> Failure {
    match failure {
        Failure::Halt(refusal) if refusal.code != "http-401" && !is_ours_to_mend(&refusal.code) => {
            Failure::Reject(refusal)
        }
        other => other,
    }
}

/// What ends a request about a group that did not succeed.
pub(super) fn failed(meaning: Meaning) -> Step {
    let failure = match meaning {
        Meaning::Failed(failure) => failure,
        Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
        Meaning::Accepted(refusal) => Failure::Retry(refusal, None),
        Meaning::Absent(refusal)
        | Meaning::Exists(refusal)
        | Meaning::Version(refusal)
        | Meaning::Fallback(_, refusal) => Failure::Reject(refusal),
        Meaning::Success(_) => Failure::Reject(not_scim(Purpose::ReadGroup, "a SCIM answer")),
    };
    Step::Done(Err(only_groups(failure)))
}

/// A page of groups, without members.
pub(super) fn list(shared: &Shared, name: Option<&str>, start: &Start, count: u32) -> Request {
    let mut query = Vec::new();
    if let Some(name) = name {
        let filter = Filter::equal("displayName", name).to_string();
        query.push(format!("filter={}", render::encode(&filter)));
    }
    if !shared.view(|abilities| abilities.groups_whole) {
        query.push("excludedAttributes=members".to_owned());
    }
    query.extend(start.parameter());
    query.push(format!("count={count}"));
    render::get(format!("{}?{}", shared.config.groups.path, query.join("&")))
}

/// The path of one group.
pub(super) fn path(shared: &Shared, id: &RemoteId) -> Result<String, Refusal> {
    if matches!(id.0.as_str(), "" | "." | "..") {
        return Err(Refusal {
            code: "unusable-id".to_owned(),
            reason: "the target's id of this group is empty or a dot, so it has no address".to_owned(),
        });
    }
    Ok(format!("{}/{}", shared.config.groups.path, render::encode(&id.0)))
}

/// The group that a resource describes.
pub(super) fn group(held: &Value) -> Option<RemoteGroup> {
    let id = match resource::get(held, "id")? {
        Value::String(id) if !id.is_empty() => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    let name = resource::get(held, "displayName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some(RemoteGroup {
        id: RemoteId(id),
        name: name.to_owned(),
    })
}

/// The exchange of `Operation::FindGroup`.
#[derive(Debug)]
pub(crate) struct Find {
    shared: Arc<Shared>,
    name: String,
    found: Vec<RemoteGroup>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Filter,
    Page(Progress, Start),
    /// The filter is tried with the name of a group that is known to be there.
    Proof(String),
}

impl Find {
    pub(crate) fn new(shared: Arc<Shared>, name: String) -> Self {
        Self {
            shared,
            name,
            found: Vec::new(),
            stage: Stage::Filter,
        }
    }

    fn trust(&self) -> Trust {
        let learnt = self.shared.view(|abilities| abilities.group_filter);
        match self.shared.config.filter {
            FilterMode::None => Trust::Unusable,
            FilterMode::Trusted if learnt != Some(Trust::Unusable) => Trust::Proven,
            FilterMode::Auto | FilterMode::Trusted => learnt.unwrap_or(Trust::Unproven),
        }
    }

    fn learn(&self, trust: Trust) {
        self.shared.learn(|abilities| abilities.group_filter = Some(trust));
    }

    fn list_all(&mut self) -> Step {
        self.found.clear();
        self.page(Progress::default())
    }

    fn page(&mut self, progress: Progress) -> Step {
        let config = &self.shared.config;
        let (by_cursor, count) = self
            .shared
            .view(|abilities| (abilities.starts_with_cursor(config), abilities.page_size(config)));
        let start = progress.start(by_cursor);
        let request = list(&self.shared, None, &start, count);
        self.stage = Stage::Page(progress, start);
        Step::Send(request)
    }

    fn of_name(&self, page: &ListPage, name: &str) -> Vec<RemoteGroup> {
        let groups = page.resources.iter().filter_map(group);
        groups.filter(|group| folded(&group.name) == folded(name)).collect()
    }

    fn done(&mut self) -> Step {
        Step::Done(Ok(Reply::Groups(std::mem::take(&mut self.found))))
    }

    /// The hits of a filter; `None` when it cannot be used.
    fn hits(&self, answer: &HttpAnswer) -> Result<Option<ListPage>, Box<Step>> {
        match self.shared.classify(Purpose::SearchGroup, answer) {
            Meaning::Success(body) => match body.as_ref().and_then(ListPage::parse) {
                Some(page) => Ok(Some(page)),
                None => Err(Box::new(failed(Meaning::Failed(Failure::Reject(not_scim(
                    Purpose::SearchGroup,
                    "a SCIM list of groups",
                )))))),
            },
            Meaning::Absent(_) | Meaning::Fallback(Fallback::Query | Fallback::TooMany | Fallback::Capability, _) => {
                Ok(None)
            }
            other => Err(Box::new(failed(other))),
        }
    }

    fn take_filter(&mut self, answer: &HttpAnswer) -> Step {
        let page = match self.hits(answer) {
            Ok(Some(page)) => page,
            Ok(None) => {
                self.learn(Trust::Unusable);
                return self.list_all();
            }
            Err(step) => return *step,
        };
        self.found = self.of_name(&page, &self.name);
        let proven = self.trust() == Trust::Proven && page.resources.is_empty();
        if !self.found.is_empty() || proven {
            if !self.found.is_empty() {
                self.learn(Trust::Proven);
            }
            return self.done();
        }
        self.list_all()
    }

    fn take_page(&mut self, mut progress: Progress, start: &Start, answer: &HttpAnswer) -> Step {
        let page = match self.shared.classify(Purpose::SearchGroup, answer) {
            Meaning::Success(body) => match body.as_ref().and_then(ListPage::parse) {
                Some(page) => page,
                None => {
                    return failed(Meaning::Failed(Failure::Reject(not_scim(
                        Purpose::SearchGroup,
                        "a SCIM list of groups",
                    ))));
                }
            },
            // An expired cursor in the middle: again from the first page (RFC 9865 section 2.1).
            Meaning::Fallback(_, refusal) | Meaning::Absent(refusal) if matches!(start, Start::Cursor(_)) => {
                let code = CURSOR_REFUSED.to_owned();
                return Step::Done(Err(Failure::Retry(Refusal { code, ..refusal }, None)));
            }
            Meaning::Fallback(_, _)
                if *start == Start::FirstCursor
                    && !self
                        .shared
                        .learn(|abilities| std::mem::replace(&mut abilities.cursor_refused, true)) =>
            {
                return self.list_all();
            }
            Meaning::Fallback(Fallback::Query, _) if !self.shared.view(|abilities| abilities.groups_whole) => {
                self.shared.learn(|abilities| abilities.groups_whole = true);
                return self.list_all();
            }
            other => return failed(other),
        };
        let pages_max = self.shared.config.scan_pages_max;
        let (new, more) = progress.take_of(start, &page, pages_max);
        if new {
            // A list that moves while it is read shows some groups twice.
            let found = self.of_name(&page, &self.name);
            let twice = |group: &RemoteGroup| self.found.iter().any(|known| known.id == group.id);
            let fresh: Vec<RemoteGroup> = found.into_iter().filter(|group| !twice(group)).collect();
            self.found.extend(fresh);
        }
        if more {
            return self.page(progress);
        }
        if progress.is_short(&page) {
            return Step::Done(Err(Failure::Retry(incomplete(&progress, &page), None)));
        }
        let filters = self.trust() == Trust::Unproven;
        let mut sample = page.resources.iter().filter_map(group).map(|group| group.name);
        match sample.rfind(|name| !name.is_empty()) {
            Some(known) if filters && self.found.is_empty() => {
                let request = list(&self.shared, Some(&known), &Start::First, HITS);
                self.stage = Stage::Proof(known);
                Step::Send(request)
            }
            _ => {
                if filters && !self.found.is_empty() {
                    // It is there, and the filter did not find it.
                    self.learn(Trust::Unusable);
                }
                self.done()
            }
        }
    }

    fn take_proof(&mut self, known: &str, answer: &HttpAnswer) -> Step {
        let finds = matches!(self.hits(answer), Ok(Some(page)) if !self.of_name(&page, known).is_empty());
        self.learn(if finds { Trust::Proven } else { Trust::Unusable });
        self.done()
    }
}

impl Exchange for Find {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return match self.trust() {
                Trust::Unusable => self.list_all(),
                Trust::Unproven | Trust::Proven => {
                    Step::Send(list(&self.shared, Some(&self.name), &Start::First, HITS))
                }
            };
        };
        match std::mem::replace(&mut self.stage, Stage::Filter) {
            Stage::Filter => self.take_filter(&answer),
            Stage::Page(progress, start) => self.take_page(progress, &start, &answer),
            Stage::Proof(known) => self.take_proof(&known, &answer),
        }
    }
}

/// The exchange of `Operation::CreateGroup`. A lost answer is not looked up here: the groups' own state machine does that,
/// also after a restart.
#[derive(Debug)]
pub(crate) struct Create {
    shared: Arc<Shared>,
    name: String,
    media_type_tried: bool,
}

impl Create {
    pub(crate) fn new(shared: Arc<Shared>, name: String) -> Self {
        Self {
            shared,
            name,
            media_type_tried: false,
        }
    }

    fn post(&self) -> Step {
        let body = json!({"schemas": [CORE_GROUP], "displayName": self.name});
        let path = self.shared.config.groups.path.clone();
        Step::Send(
            self.shared
                .view(|abilities| render::write("POST", path, Some(body), None, abilities)),
        )
    }
}

impl Exchange for Create {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else { return self.post() };
        match self.shared.classify(Purpose::CreateGroup, &answer) {
            Meaning::Success(body) => match body.as_ref().and_then(group) {
                Some(group) => Step::Done(Ok(Reply::GroupWritten(group.id))),
                None => Step::Done(Err(Failure::Retry(
                    Refusal {
                        code: "created-not-visible".to_owned(),
                        reason: "creating the group: the target said that it was made and gave no id".to_owned(),
                    },
                    None,
                ))),
            },
            Meaning::Exists(refusal) | Meaning::Version(refusal) => Step::Done(Ok(Reply::Conflict(refusal))),
            Meaning::Fallback(Fallback::MediaType, _) if !std::mem::replace(&mut self.media_type_tried, true) => {
                self.shared.learn(|abilities| abilities.plain_json = true);
                self.post()
            }
            other => failed(other),
        }
    }
}
