//! Members of groups, and names of groups that are there: PATCH with the differences (RFC 7644 section 3.5.2).
//!
//! Members are never replaced where the target has PATCH. Without it the group is read, and written as it was but for the
//! differences; a group that does not show the members that it is known to have is not written, because that would empty
//! it, and afterwards it is read and counted.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    Shared,
    classify::{Fallback, Meaning, Purpose, not_scim},
    config::{PatchMode, RemoveMember},
    filter::Filter,
    groups::{failed, list, only_groups, path},
    listing::ListPage,
    render, resource,
    update::is_precondition,
};
use crate::{
    connector::{Exchange, Failure, HttpAnswer, Refusal, Reply, Request, Step},
    logic::account::RemoteId,
};

/// So often a group is read again that others write at the same time.
const STALE_MAX: u32 = 3;
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The members that a group shows; `None` when it shows none at all.
fn members(held: &Value) -> Option<Vec<Value>> {
    match resource::get(held, "members")? {
        Value::Array(items) => Some(items.clone()),
        Value::Null => None,
        single => Some(vec![single.clone()]),
    }
}

fn id_of(member: &Value) -> Option<RemoteId> {
    let value = resource::get(member, "value").unwrap_or(member);
    match value {
        Value::String(id) if !id.is_empty() => Some(RemoteId(id.clone())),
        Value::Number(id) => Some(RemoteId(id.to_string())),
        _ => None,
    }
}

/// A 404 about a group is believed where the list of groups is.
fn prove(shared: &Shared) -> Step {
    Step::Send(list(shared, None, &render::Start::First, 1))
}

fn proven(shared: &Shared, answer: &HttpAnswer) -> Step {
    match shared.classify(Purpose::SearchGroup, answer) {
        Meaning::Success(body) if body.as_ref().and_then(ListPage::parse).is_some() => Step::Done(Ok(Reply::Absent)),
        other => failed(other),
    }
}

/// The exchange of `Operation::ReadGroup`.
#[derive(Debug)]
pub(crate) struct Read {
    shared: Arc<Shared>,
    id: RemoteId,
    proving: bool,
}

impl Read {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId) -> Self {
        Self {
            shared,
            id,
            proving: false,
        }
    }
}

impl Exchange for Read {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return match path(&self.shared, &self.id) {
                Ok(path) => Step::Send(render::get(path)),
                Err(refusal) => Step::Done(Err(Failure::Reject(refusal))),
            };
        };
        if self.proving {
            return proven(&self.shared, &answer);
        }
        match self.shared.classify(Purpose::ReadGroup, &answer) {
            Meaning::Success(Some(held)) if super::groups::group(&held).is_some_and(|group| group.id == self.id) => {
                let shown = members(&held).map(|members| members.iter().filter_map(id_of).collect());
                Step::Done(Ok(Reply::Members(shown)))
            }
            Meaning::Success(_) => failed(Meaning::Failed(Failure::Reject(not_scim(
                Purpose::ReadGroup,
                "this SCIM group",
            )))),
            Meaning::Absent(_) => {
                self.proving = true;
                prove(&self.shared)
            }
            other => failed(other),
        }
    }
}

/// What a group is to become.
#[derive(Debug)]
pub(crate) enum Wanted {
    Name(String),
    Members {
        add: Vec<RemoteId>,
        remove: Vec<RemoteId>,
        known: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Patching,
    /// Reading, because all of it has to be written.
    Reading,
    Putting,
    /// Reading back what a PUT has left.
    Counting,
    Proving,
}

/// The exchange of `Operation::RenameGroup` and `Operation::ChangeMembers`.
#[derive(Debug)]
pub(crate) struct Change {
    shared: Arc<Shared>,
    id: RemoteId,
    wanted: Wanted,
    stage: Stage,
    /// The other way of saying it was tried.
    other_form: bool,
    media_type_tried: bool,
    /// How many members a PUT leaves.
    left: usize,
    /// The version that was read, where versions count: a PUT must not throw out whom somebody else has added since.
    version: Option<String>,
    /// So often another version was there.
    stale: u32,
}

impl Change {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId, wanted: Wanted) -> Self {
        Self {
            shared,
            id,
            wanted,
            stage: Stage::Patching,
            other_form: false,
            media_type_tried: false,
            left: 0,
            version: None,
            stale: 0,
        }
    }

    fn about(&mut self, stage: Stage, request: impl FnOnce(&Self, String) -> Request) -> Step {
        match path(&self.shared, &self.id) {
            Ok(path) => {
                self.stage = stage;
                Step::Send(request(self, path))
            }
            Err(refusal) => Step::Done(Err(Failure::Reject(refusal))),
        }
    }

    fn patch(&mut self) -> Step {
        let body = json!({"schemas": [PATCH_OP], "Operations": self.operations()});
        self.about(Stage::Patching, |this, path| {
            let write = |abilities: &_| render::write("PATCH", path, Some(body), None, abilities);
            this.shared.view(write)
        })
    }

    fn operations(&self) -> Vec<Value> {
        let config = &self.shared.config;
        let capital = config.capital_operations || config.groups.capital_operations;
        let [add_op, remove_op, replace_op] = if capital {
            ["Add", "Remove", "Replace"]
        } else {
            ["add", "remove", "replace"]
        };
        let list = |ids: &[RemoteId]| ids.iter().map(|id| json!({"value": id.0})).collect::<Vec<_>>();
        match &self.wanted {
            Wanted::Name(name) if self.other_form => {
                vec![json!({"op": replace_op, "value": {"displayName": name}})]
            }
            Wanted::Name(name) => vec![json!({"op": replace_op, "path": "displayName", "value": name})],
            Wanted::Members { add, remove, .. } => {
                let form = self.shared.view(|abilities| abilities.remove_form(&self.shared.config));
                let mut operations = Vec::new();
                match form {
                    RemoveMember::ValuePath => operations.extend(remove.iter().map(|id| {
                        let filter = Filter::equal("value", id.0.as_str());
                        json!({"op": remove_op, "path": format!("members[{filter}]")})
                    })),
                    RemoveMember::Value if !remove.is_empty() => {
                        operations.push(json!({"op": remove_op, "path": "members", "value": list(remove)}));
                    }
                    RemoveMember::Value => {}
                }
                if !add.is_empty() {
                    operations.push(json!({"op": add_op, "path": "members", "value": list(add)}));
                }
                operations
            }
        }
    }

    fn done(&self) -> Step {
        Step::Done(Ok(match &self.wanted {
            Wanted::Name(_) => Reply::GroupWritten(self.id.clone()),
            Wanted::Members { .. } => Reply::Changed,
        }))
    }

    fn take_patch(&mut self, answer: &HttpAnswer) -> Step {
        let single = matches!(&self.wanted, Wanted::Members { add, remove, .. } if add.len() + remove.len() == 1);
        let removes = matches!(&self.wanted, Wanted::Members { remove, .. } if !remove.is_empty());
        match self.shared.classify(Purpose::UpdateGroup, answer) {
            Meaning::Success(_) => self.done(),
            Meaning::Absent(_) => {
                self.stage = Stage::Proving;
                prove(&self.shared)
            }
            // Who is in it already, or is not in it (seen: SimpleIdServer answers 409, others noTarget).
            Meaning::Exists(_) | Meaning::Version(_) | Meaning::Fallback(Fallback::NoTarget, _) if single => {
                self.done()
            }
            Meaning::Exists(refusal) | Meaning::Version(refusal) if matches!(self.wanted, Wanted::Name(_)) => {
                Step::Done(Ok(Reply::Conflict(refusal)))
            }
            Meaning::Fallback(Fallback::Capability, _) if self.shared.config.patch == PatchMode::Auto => {
                self.shared.learn(|abilities| abilities.patch_refused = true);
                self.read()
            }
            Meaning::Fallback(Fallback::MediaType, _) if !std::mem::replace(&mut self.media_type_tried, true) => {
                self.shared.learn(|abilities| abilities.plain_json = true);
                self.patch()
            }
            Meaning::Fallback(Fallback::Path, _)
                if !self.other_form && (removes || matches!(self.wanted, Wanted::Name(_))) =>
            {
                self.other_form = true;
                if removes {
                    self.shared.learn(|abilities| abilities.other_remove_form ^= true);
                }
                self.patch()
            }
            Meaning::Fallback(_, refusal) if self.other_form && removes => {
                // Neither form: it was not the form.
                self.shared.learn(|abilities| abilities.other_remove_form ^= true);
                Step::Done(Err(Failure::Reject(refusal)))
            }
            other => failed(other),
        }
    }

    fn read(&mut self) -> Step {
        self.about(Stage::Reading, |_, path| render::get(path))
    }

    fn held(&self, answer: &HttpAnswer) -> Result<Option<Value>, Box<Step>> {
        match self.shared.classify(Purpose::ReadGroup, answer) {
            Meaning::Success(Some(held)) if super::groups::group(&held).is_some_and(|group| group.id == self.id) => {
                Ok(Some(held))
            }
            Meaning::Success(_) => Err(Box::new(failed(Meaning::Failed(Failure::Reject(not_scim(
                Purpose::ReadGroup,
                "this SCIM group",
            )))))),
            Meaning::Absent(_) => Ok(None),
            other => Err(Box::new(failed(other))),
        }
    }

    /// The group as it is, but for the differences.
    fn take_read(&mut self, answer: &HttpAnswer) -> Step {
        let mut held = match self.held(answer) {
            Ok(Some(held)) => held,
            Ok(None) => {
                self.stage = Stage::Proving;
                return prove(&self.shared);
            }
            Err(step) => return *step,
        };
        let versions = self.shared.view(|abilities| abilities.versions(&self.shared.config));
        self.version = resource::version(&held, super::etag_header(answer)).filter(|_| versions);
        let shown = members(&held);
        let known = match &self.wanted {
            Wanted::Name(_) => usize::MAX,
            Wanted::Members { known, .. } => *known,
        };
        if shown.is_none() && known > 0 {
            return Step::Done(Err(Failure::Reject(Refusal {
                code: "members-hidden".to_owned(),
                reason: "changing the group: the target has no PATCH and does not show the group's members, so that \
                         writing it could empty it; nothing was written"
                    .to_owned(),
            })));
        }
        let mut next = shown.unwrap_or_default();
        match &self.wanted {
            Wanted::Name(name) => held["displayName"] = json!(name),
            Wanted::Members { add, remove, .. } => {
                next.retain(|member| id_of(member).is_none_or(|id| !remove.contains(&id)));
                let there: BTreeSet<RemoteId> = next.iter().filter_map(id_of).collect();
                next.extend(
                    add.iter()
                        .filter(|id| !there.contains(id))
                        .map(|id| json!({"value": id.0})),
                );
            }
        }
        self.left = next.len();
        if let Some(body) = held.as_object_mut() {
            body.retain(|name, _| {
                !["id", "meta", "members"]
                    .iter()
                    .any(|own| name.eq_ignore_ascii_case(own))
            });
            body.insert("members".to_owned(), Value::Array(next));
        }
        self.about(Stage::Putting, |this, path| {
            let version = this.version.as_deref();
            this.shared
                .view(|abilities| render::write("PUT", path, Some(held), version, abilities))
        })
    }

    fn take_put(&mut self, answer: &HttpAnswer) -> Step {
        match self.shared.classify(Purpose::UpdateGroup, answer) {
            Meaning::Success(_) => self.about(Stage::Counting, |_, path| render::get(path)),
            Meaning::Absent(_) => {
                self.stage = Stage::Proving;
                prove(&self.shared)
            }
            // RFC 7644 section 3.14: somebody else has written it since; theirs is read, and ours made on it.
            // A bare 409 to a new name is the name's, as for accounts.
            Meaning::Version(refusal)
                if self.version.is_some() && (is_precondition(answer) || !matches!(self.wanted, Wanted::Name(_))) =>
            {
                self.stale += 1;
                if self.stale < STALE_MAX {
                    return self.read();
                }
                Step::Done(Err(only_groups(Failure::Retry(refusal, None))))
            }
            Meaning::Exists(refusal) | Meaning::Version(refusal) if matches!(self.wanted, Wanted::Name(_)) => {
                Step::Done(Ok(Reply::Conflict(refusal)))
            }
            other => failed(other),
        }
    }

    fn take_count(&self, answer: &HttpAnswer) -> Step {
        let held = match self.held(answer) {
            Ok(held) => held,
            Err(step) => return *step,
        };
        let count = held.as_ref().and_then(members).map_or(0, |members| members.len());
        if count >= self.left {
            return self.done();
        }
        Step::Done(Err(only_groups(Failure::Retry(
            Refusal {
                code: "members-lost".to_owned(),
                reason: format!(
                    "changing the group: {} members were written and {count} are there",
                    self.left
                ),
            },
            None,
        ))))
    }
}

impl Exchange for Change {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            let puts = self.shared.view(|abilities| abilities.uses_put(&self.shared.config));
            return if puts { self.read() } else { self.patch() };
        };
        match self.stage {
            Stage::Patching => self.take_patch(&answer),
            Stage::Reading => self.take_read(&answer),
            Stage::Putting => self.take_put(&answer),
            Stage::Counting => self.take_count(&answer),
            Stage::Proving => proven(&self.shared, &answer),
        }
    }
}
