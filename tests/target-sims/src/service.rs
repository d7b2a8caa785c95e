//! Which request does what: one plain function from a request and the state to an answer.
//!
//! No HTTP, no time, no faults here: those belong to `server`. So every rule can be tested by value.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::behaviour::Behaviour;
use crate::discovery;
use crate::error::ScimError;
use crate::patch;
use crate::query::{ListRequest, list, project, show};
use crate::resource::from_body;
use crate::rules::{Deactivate, Delete, PatchAnswer};
use crate::schema::{GROUP, USER};
use crate::store::Store;

/// Everything that the application holds.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) base_url: String,
    pub(crate) bearer_token: Option<String>,
    pub(crate) behaviour: Behaviour,
    pub(crate) users: Store,
    pub(crate) groups: Store,
    /// How many filters more do not find these ids.
    pub(crate) unseen: HashMap<String, u32>,
    /// User names of deleted accounts that are not given out again, in lower case.
    pub(crate) reserved: HashSet<String>,
}

/// What matters of a request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Below the base URL.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Whether it is meant to change a resource.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE") && !self.path.ends_with("/.search")
    }
}

/// What is answered, before it becomes HTTP.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
    pub(crate) location: Option<String>,
    pub(crate) etag: Option<String>,
    /// The resource that the request was about, for the log.
    pub(crate) resource: Option<String>,
}

impl Answer {
    fn of(status: u16, body: Value) -> Answer {
        Answer {
            status,
            body: Some(body),
            ..Answer::default()
        }
    }
}

impl From<ScimError> for Answer {
    fn from(error: ScimError) -> Answer {
        Answer::of(error.status, error.body())
    }
}

impl State {
    pub(crate) fn new(base_url: &str, bearer_token: Option<String>, behaviour: Behaviour) -> State {
        State {
            base_url: base_url.to_owned(),
            bearer_token,
            behaviour,
            users: Store::new(&USER, base_url),
            groups: Store::new(&GROUP, base_url),
            unseen: HashMap::new(),
            reserved: HashSet::new(),
        }
    }

    /// Executes a request.
    pub(crate) fn handle(&mut self, request: &Request) -> Answer {
        self.route(request).unwrap_or_else(Answer::from)
    }

    fn route(&mut self, request: &Request) -> Result<Answer, ScimError> {
        self.check_token(request)?;
        if self.behaviour.rules.wants_user_agent && request.user_agent.is_none() {
            return Err(ScimError::new(403, "a User-Agent is needed"));
        }
        let segments: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        let method = request.method.as_str();
        match (method, segments.as_slice()) {
            (_, ["Users", rest @ ..]) => self.resources(true, request, rest),
            (_, ["Groups", rest @ ..]) => self.resources(false, request, rest),
            ("POST", [".search"]) => self.search_all(&ListRequest::from_search(&json_body(request)?)?),
            (_, ["Me"]) => Err(ScimError::new(501, "/Me is not supported")),
            (_, ["Bulk"]) => Err(ScimError::new(501, "bulk operations are not supported")),
            ("GET", discovery) => self.discover(request, discovery),
            (_, ["ServiceProviderConfig" | "ResourceTypes" | "Schemas", ..]) => {
                Err(ScimError::new(405, "discovery is read-only"))
            }
            _ => Err(ScimError::new(404, format!("no endpoint {:?}", request.path))),
        }
    }

    fn check_token(&self, request: &Request) -> Result<(), ScimError> {
        let Some(token) = &self.bearer_token else {
            return Ok(());
        };
        let given = request.authorization.as_deref().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        if given == Some(token) {
            Ok(())
        } else {
            Err(ScimError::new(401, "a valid bearer token is needed"))
        }
    }

    fn discover(&self, request: &Request, segments: &[&str]) -> Result<Answer, ScimError> {
        if request
            .query
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("filter"))
        {
            return Err(ScimError::new(403, "discovery cannot be filtered"));
        }
        let (all, id) = match segments {
            [place] if *place == self.discovered_at() => {
                let config = discovery::service_provider_config(&self.behaviour, &self.base_url);
                return Ok(Answer::of(200, config));
            }
            ["ResourceTypes", id @ ..] => (discovery::resource_types(&self.base_url), id),
            ["Schemas", id @ ..] => (discovery::schemas(&self.base_url), id),
            _ => {
                return Err(ScimError::new(404, format!("no endpoint {:?}", request.path)));
            }
        };
        match id {
            [] => Ok(Answer::of(200, discovery::listed(&all))),
            [id] => all
                .into_iter()
                .find(|resource| resource["id"] == *id)
                .map(|resource| Answer::of(200, resource))
                .ok_or_else(|| ScimError::new(404, format!("nothing is called {id:?}"))),
            _ => Err(ScimError::new(404, "no such endpoint")),
        }
    }

    fn resources(&mut self, users: bool, request: &Request, rest: &[&str]) -> Result<Answer, ScimError> {
        let write = request.is_write();
        if write && self.behaviour.read_only {
            return Err(ScimError::new(403, "the service is in read-only mode"));
        }
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(users, &ListRequest::from_query(&request.query)?),
            ("POST", [".search"]) => self.list(users, &ListRequest::from_search(&json_body(request)?)?),
            ("POST", []) => self.create(users, request),
            (_, []) => Err(ScimError::new(405, "this needs the id of a resource")),
            ("GET", [id]) => self.read(users, request, id),
            ("PUT" | "PATCH" | "DELETE", [id]) => {
                let answer = self.change(users, request, id);
                let mut answer = answer.unwrap_or_else(Answer::from);
                answer.resource = Some((*id).to_owned());
                Ok(answer)
            }
            (_, [_]) => Err(ScimError::new(405, "the method is not supported here")),
            _ => Err(ScimError::new(404, "no such endpoint")),
        }
    }

    fn store(&self, users: bool) -> &Store {
        if users { &self.users } else { &self.groups }
    }

    fn store_mut(&mut self, users: bool) -> &mut Store {
        if users { &mut self.users } else { &mut self.groups }
    }

    fn list(&mut self, users: bool, request: &ListRequest) -> Result<Answer, ScimError> {
        let mut request = request.clone();
        if request.filter.is_some() && users {
            request.unseen = self.unseen.keys().cloned().collect();
            self.unseen.retain(|_, left| {
                *left -= 1;
                *left > 0
            });
        }
        let request = &request;
        let body = list(self.store(users), &self.groups, &self.behaviour, request)?;
        Ok(Answer::of(200, body))
    }

    fn create(&mut self, users: bool, request: &Request) -> Result<Answer, ScimError> {
        let given = self.behaviour.rules.read_active(json_body(request)?)?;
        let created = from_body(self.store(users).kind(), &given).and_then(|body| {
            let body = self.stored(users, body)?;
            if users && let Some(id) = self.revived(&body) {
                self.users.replace(&id, body)?;
                return Ok(id);
            }
            let name = body.get("userName").and_then(Value::as_str).unwrap_or_default();
            let created = match self.reserved.contains(&name.to_lowercase()) {
                true => Err(ScimError::uniqueness("this userName is not given out again")),
                false => self.store_mut(users).create(body),
            };
            let created = created.map(|body| body["id"].as_str().unwrap_or_default().to_owned());
            let id = created.map_err(|error| self.behaviour.rules.taken(error))?;
            if self.behaviour.rules.unseen_for > 0 {
                self.unseen.insert(id.clone(), self.behaviour.rules.unseen_for);
            }
            Ok(id)
        });
        match created {
            Ok(id) => {
                let mut answer = self.answer(users, 201, &id, request)?;
                answer.location = answer
                    .body
                    .as_ref()
                    .and_then(|body| body["meta"]["location"].as_str().map(str::to_owned));
                Ok(answer)
            }
            Err(error) => {
                let external_id = given["externalId"].as_str();
                let user_name = given["userName"].as_str();
                let about = self.store(users).find_id(external_id, user_name);
                let about = about.or(external_id).or(user_name).map(str::to_owned);
                Ok(Answer {
                    resource: about,
                    ..Answer::from(error)
                })
            }
        }
    }

    fn read(&self, users: bool, request: &Request, id: &str) -> Result<Answer, ScimError> {
        self.visible(users, id)?;
        let mut answer = self.answer(users, 200, id, request)?;
        if answer.etag.is_some() && answer.etag == request.if_none_match {
            answer.status = 304;
            answer.body = None;
        }
        Ok(answer)
    }

    fn change(&mut self, users: bool, request: &Request, id: &str) -> Result<Answer, ScimError> {
        if request.method == "PATCH" && !self.behaviour.patch_supported {
            return Err(ScimError::new(501, "PATCH is not supported"));
        }
        let stored = self.visible(users, id)?;
        let name = stored.get("userName").and_then(Value::as_str).unwrap_or_default();
        let protected = &self.behaviour.protected;
        if protected.iter().any(|key| key == id || key.eq_ignore_ascii_case(name)) {
            return Err(ScimError::new(403, "this account is protected"));
        }
        self.check_version(request, stored)?;
        if !users {
            self.check_group_rules(request, stored)?;
        }
        let rules = self.behaviour.rules.clone();
        let deactivates = self.behaviour.delete_deactivates || rules.delete == Delete::Deactivates;
        let before = show(self.store(users).kind(), &self.groups, &self.behaviour, stored);
        let next = match request.method.as_str() {
            "DELETE" if users && deactivates => {
                let mut body = stored.clone();
                body.insert("active".to_owned(), Value::Bool(false));
                self.users.replace(id, body)?;
                return Ok(Answer {
                    status: 204,
                    ..Answer::default()
                });
            }
            "DELETE" => {
                if rules.delete == Delete::KeepsName {
                    let name = name.to_lowercase();
                    self.reserved.insert(name);
                }
                self.store_mut(users).delete(id)?;
                return Ok(Answer {
                    status: 204,
                    ..Answer::default()
                });
            }
            "PUT" => from_body(self.store(users).kind(), &rules.read_active(json_body(request)?)?)?,
            _ => {
                let mut body = rules.read_active(json_body(request)?)?;
                rules.check_patch(&body)?;
                if !users && self.behaviour.members_removed_by_value_only {
                    by_path(&mut body);
                }
                patch::apply(self.store(users).kind(), stored, &body, rules.patch_makes_elements)?
            }
        };
        let mut next = self.stored(users, next)?;
        if rules.deactivate == Deactivate::Ignored
            && let Some(active) = self.store(users).get(id)?.get("active")
        {
            next.insert("active".to_owned(), active.clone());
        }
        let off = next.get("active") == Some(&Value::Bool(false));
        let replaced = self.store_mut(users).replace(id, next);
        replaced.map_err(|error| rules.taken(error))?;
        if users && off && rules.deactivate == Deactivate::Removes {
            self.users.delete(id)?;
            return Ok(Answer {
                status: 204,
                ..Answer::default()
            });
        }
        let mut answer = self.answer(users, 200, id, request)?;
        let asked = request
            .query
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("attributes"));
        if request.method == "PATCH" && rules.patch_answer == PatchAnswer::Before {
            answer.body = Some(before);
        }
        if request.method == "PATCH" && self.behaviour.patch_answers_nothing && !asked {
            answer.status = 204;
            answer.body = None;
        }
        Ok(answer)
    }

    /// What some servers refuse about groups.
    fn check_group_rules(&self, request: &Request, stored: &serde_json::Map<String, Value>) -> Result<(), ScimError> {
        if request.method == "PUT" && self.behaviour.group_put_refused {
            return Err(ScimError::new(405, "groups are changed by PATCH"));
        }
        if request.method != "PATCH" {
            return Ok(());
        }
        let body = json_body(request)?;
        let operations = body["Operations"].as_array().into_iter().flatten();
        let mut named = 0;
        for operation in operations {
            let path = operation["path"].as_str().unwrap_or_default();
            let by_path = path.to_ascii_lowercase().starts_with("members[");
            if by_path && self.behaviour.members_removed_by_value_only {
                return Err(ScimError::invalid_path("members are removed by value"));
            }
            let listed: Vec<&Value> = operation["value"].as_array().into_iter().flatten().collect();
            named += listed.len() + usize::from(by_path);
            let adds = operation["op"]
                .as_str()
                .is_some_and(|op| op.eq_ignore_ascii_case("add"));
            let held: Vec<&Value> = stored
                .get("members")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .collect();
            let twice = |one: &&Value| held.iter().any(|member| member["value"] == one["value"]);
            if adds && self.behaviour.member_twice_conflicts && listed.iter().any(twice) {
                return Err(ScimError::new(409, "already a member"));
            }
        }
        if named > self.behaviour.members_per_patch_max {
            return Err(ScimError::new(413, "too many members at once"));
        }
        Ok(())
    }

    fn check_version(&self, request: &Request, stored: &serde_json::Map<String, Value>) -> Result<(), ScimError> {
        let Some(wanted) = request.if_match.as_deref() else {
            return Ok(());
        };
        let current = stored["meta"]["version"].as_str();
        let fits = wanted
            .split(',')
            .any(|wanted| wanted.trim() == "*" || Some(wanted.trim()) == current);
        if fits || !self.behaviour.etag_supported {
            Ok(())
        } else {
            Err(ScimError::new(412, "the resource has changed since that version"))
        }
    }

    fn answer(&self, users: bool, status: u16, id: &str, request: &Request) -> Result<Answer, ScimError> {
        let store = self.store(users);
        let mut shown = show(store.kind(), &self.groups, &self.behaviour, store.get(id)?);
        if let Some(shown) = shown.as_object_mut().filter(|_| self.behaviour.hide_members && !users) {
            shown.remove("members");
        }
        let etag = shown["meta"]["version"].as_str().map(str::to_owned);
        let wanted = ListRequest::from_query(&request.query)?;
        let body = if wanted.attributes.is_empty() && wanted.excluded_attributes.is_empty() {
            shown
        } else {
            project(shown, &wanted.attributes, &wanted.excluded_attributes)
        };
        Ok(Answer {
            status,
            body: Some(body),
            location: None,
            etag,
            resource: Some(id.to_owned()),
        })
    }
}

/// Writes the removal of members by value, which the RFC does not have, as removals by path.
fn by_path(body: &mut Value) {
    let Some(operations) = body["Operations"].as_array_mut() else {
        return;
    };
    let mut written = Vec::new();
    for operation in operations.drain(..) {
        let removes = operation["op"]
            .as_str()
            .is_some_and(|op| op.eq_ignore_ascii_case("remove"));
        match operation["value"]
            .as_array()
            .filter(|_| removes && operation["path"] == "members")
        {
            Some(members) => written.extend(members.iter().map(|member| {
                let path = format!("members[value eq {}]", member["value"]);
                json!({"op": "remove", "path": path})
            })),
            None => written.push(operation),
        }
    }
    *operations = written;
}

fn fold_user_name(body: &mut serde_json::Map<String, Value>) {
    if let Some(Value::String(name)) = body.get_mut("userName") {
        *name = name.to_lowercase();
    }
}

fn json_body(request: &Request) -> Result<Value, ScimError> {
    let media_type = request.content_type.as_deref().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !["application/scim+json", "application/json"]
        .iter()
        .any(|accepted| accepted.eq_ignore_ascii_case(media_type))
    {
        return Err(ScimError::new(415, format!("cannot read {media_type:?}")));
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| ScimError::invalid_syntax(format!("the body is not JSON: {error}")))
}

/// A request body as the log keeps it: JSON, else a text, else nothing.
pub(crate) fn body_for_log(body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    let parsed = serde_json::from_slice(body);
    Some(parsed.unwrap_or_else(|_| json!(String::from_utf8_lossy(body))))
}

mod vendor;

#[cfg(test)]
mod tests;
