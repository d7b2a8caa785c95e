//! The SCIM 2.0 client (RFC 7643, RFC 7644, cursor paging of RFC 9865): pure, from operations to requests.
//!
//! | Section | What we do | In |
//! |---|---|---|
//! | 7643 2.5 | null, `[]` and absence are one thing; nothing unassigned is sent | `resource`, `build` |
//! | 7643 5, 7644 4 | config asked for, singular then plural; advice only | `discovery` |
//! | 7644 3.3 | create; a lost answer is looked up, never repeated | `create` |
//! | 7644 3.4.2.2 | filters from a typed tree; hits judged by us; absence proven | `filter`, `lookup` |
//! | 7644 3.4.2.4, 9865 | paging by index or cursor that cannot loop | `listing` |
//! | 7644 3.5.1 | PUT after reading, over the full representation | `update`, `build` |
//! | 7644 3.5.2 | PATCH by path, path-less, by whole arrays | `patch`, `update` |
//! | 7644 3.6 | delete; gone already is done | `single` |
//! | 7643 4.2, 7644 3.5.2 | groups by name; members added and removed in bounded numbers | `groups`, `members` |
//! | 7644 3.10 | paths split at known URNs | `path` |
//! | 7644 3.12 | one table from answers to meanings | `classify` |
//! | 7644 3.14 | If-Match only where versions are declared and one was seen | `update` |
//! | none | rules of one vendor, as data: values out of a list, one of a kind, user names | `catalogue`, `strict` |
//!
//! The same with tests: `docs/scim.md`.
//!
//! Deliberately left out: nested groups, bulk, `/.search`, sorting, `/Schemas`, `/Me`; and everything that sends (`http`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{Connector, Exchange, Failure, HttpAnswer, Operation, Refusal};
use crate::logic::{
    account::{AttributePath, AttributeValues, RemoteAccount},
    groups::rules::GroupAbilities,
    policy::{ACTIVE, ValueKind},
};

mod abilities;
mod build;
mod catalogue;
mod classify;
pub mod config;
mod create;
mod discovery;
mod filter;
mod groups;
mod index;
mod listing;
mod lookup;
mod members;
mod patch;
mod path;
pub mod probe;
mod render;
mod resource;
mod schema;
mod single;
mod strict;
mod update;

#[cfg(test)]
mod exchange_tests;

pub use config::ScimConfig;

use abilities::Abilities;
use classify::{Fallback, Meaning, Purpose};
use config::DeleteMeans;
use listing::ListPage;
use lookup::Key;
use path::{Path, Vocabulary};
use render::Start;
use strict::{Strict, What};

/// Accounts per page after a target found the usual page too large. Small enough for any server, large enough that
/// a listing still ends.
const SMALL_PAGE: u32 = 20;

/// The connector of one SCIM target.
#[derive(Debug)]
pub struct ScimConnector {
    shared: Arc<Shared>,
}

impl ScimConnector {
    /// A connector with these settings. They are taken as valid: see [`ScimConfig::validate`].
    #[must_use]
    pub fn new(config: ScimConfig) -> Self {
        let vocabulary = config.vocabulary();
        Self {
            shared: Arc::new(Shared {
                config,
                vocabulary,
                abilities: Mutex::default(),
            }),
        }
    }

    /// Forgets the listing that stands in for look-ups, so that the next one sees the target as it is now. For a
    /// reconcile, and when somebody else is known to have changed the target.
    pub fn forget_listing(&self) {
        self.shared.learn(|abilities| {
            abilities.index = None;
            abilities.choices.clear();
        });
    }

    /// Parses the paths of values; what this target cannot hold is left out.
    fn values(&self, values: &AttributeValues) -> Result<Vec<(Path, Value)>, Refusal> {
        let mut parsed = Vec::with_capacity(values.len());
        for (path, value) in values {
            let path = self.path(&path.0)?;
            if path.attribute == "externalId" && !self.shared.config.external_id {
                continue;
            }
            parsed.push((path, value.clone()));
        }
        Ok(parsed)
    }

    fn path(&self, text: &str) -> Result<Path, Refusal> {
        Path::parse(text, &self.shared.vocabulary).map_err(|why| Refusal {
            code: "bad-path".to_owned(),
            reason: format!("attribute path {why}"),
        })
    }

    fn keys(&self, external_id: String, by: Vec<(AttributePath, String)>) -> Result<Vec<Key>, Refusal> {
        let mut keys = Vec::new();
        if self.shared.config.external_id && !external_id.is_empty() {
            keys.push(Key {
                path: Path::external_id(),
                value: external_id,
            });
        }
        for (path, value) in by.into_iter().filter(|(_, value)| !value.is_empty()) {
            let path = self.path(&path.0)?;
            let suffix = self
                .shared
                .config
                .user_name_suffix
                .as_ref()
                .filter(|_| strict::is_user_name(&path));
            // It may have got the suffix when it was made.
            let suffixed = suffix.map(|suffix| Key {
                path: path.clone(),
                value: format!("{value}{suffix}"),
            });
            keys.push(Key { path, value });
            keys.extend(suffixed);
        }
        Ok(keys)
    }

    fn try_begin(&self, operation: Operation) -> Result<Box<dyn Exchange>, Refusal> {
        let shared = Arc::clone(&self.shared);
        Ok(match operation {
            Operation::Check => Box::new(discovery::Check::new(shared)),
            Operation::Find { external_id, by } => Box::new(lookup::Find::new(shared, self.keys(external_id, by)?)),
            Operation::Read(id) => Box::new(single::Read { shared, id }),
            Operation::List { cursor } | Operation::ReadBack { cursor } => Box::new(single::List::new(shared, cursor)),
            Operation::Create { values } if strict::applies(&shared.config) => {
                Box::new(Strict::new(shared, What::Create, self.values(&values)?))
            }
            Operation::Update { id, values, etag } if strict::applies(&shared.config) => {
                Box::new(Strict::new(shared, What::Update { id, etag }, self.values(&values)?))
            }
            Operation::Create { values } => Box::new(create::Create::new(shared, &self.values(&values)?)),
            Operation::Update { id, values, etag } => {
                Box::new(update::Update::new(shared, id, self.values(&values)?, etag))
            }
            Operation::Delete(id) => match shared.config.delete {
                DeleteMeans::Deletes => Box::new(single::Delete { shared, id }),
                // Never counted as deleted: it comes back with the person.
                DeleteMeans::Deactivates => {
                    let off = vec![(self.path(ACTIVE)?, Value::Bool(false))];
                    Box::new(update::Update::new(shared, id, off, None))
                }
            },
            Operation::FindGroup { name } => Box::new(groups::Find::new(shared, name)),
            Operation::CreateGroup { name } => Box::new(groups::Create::new(shared, name)),
            Operation::RenameGroup { id, name } => {
                Box::new(members::Change::new(shared, id, members::Wanted::Name(name)))
            }
            Operation::ReadGroup(id) => Box::new(members::Read::new(shared, id)),
            Operation::ChangeMembers { id, add, remove, known } => Box::new(members::Change::new(
                shared,
                id,
                members::Wanted::Members { add, remove, known },
            )),
            Operation::Invite(id) => {
                let call = shared.config.invite.clone().ok_or_else(|| Refusal {
                    code: "not-offered".to_owned(),
                    reason: "SCIM has no activation or password-reset mail (RFC 7644); `connection.scim.invite` names \
                             the application's own call"
                        .to_owned(),
                })?;
                Box::new(single::Invite { shared, call, id })
            }
        })
    }
}

impl Connector for ScimConnector {
    fn begin(&self, operation: Operation) -> Box<dyn Exchange> {
        self.try_begin(operation)
            .unwrap_or_else(|refusal| Box::new(single::Refused(refusal)))
    }

    fn read_attribute(&self, account: &RemoteAccount, path: &AttributePath) -> Option<Value> {
        let path = Path::parse(&path.0, &self.shared.vocabulary).ok()?;
        resource::read(&account.resource, &path)
    }

    fn check_path(&self, path: &str) -> Result<AttributePath, String> {
        Path::parse(path, &self.shared.vocabulary).map(|path| AttributePath(path.to_string()))
    }

    fn groups(&self) -> Option<GroupAbilities> {
        let groups = &self.shared.config.groups;
        Some(GroupAbilities {
            create: true,
            rename: true,
            remove: true,
            read: groups.shows_members,
            at_once: groups.members_max,
        })
    }

    fn tells_owner(&self) -> bool {
        true
    }

    fn kind(&self, path: &AttributePath) -> ValueKind {
        Path::parse(&path.0, &self.shared.vocabulary).map_or(ValueKind::Any, |path| path.kind())
    }

    fn lacks(&self) -> Vec<&'static str> {
        let config = &self.shared.config;
        let mut lacks = Vec::new();
        if config.delete == DeleteMeans::Deactivates {
            lacks.push("delete");
        }
        // SCIM knows passwords and no mails about them.
        if config.invite.is_none() {
            lacks.push("invite");
        }
        lacks
    }

    fn needs(&self) -> Vec<AttributePath> {
        let kinds = self.shared.config.catalogues.iter();
        let kinds = kinds.filter_map(|catalogue| Some((&catalogue.attribute, catalogue.exactly_one.as_ref()?)));
        kinds
            .filter_map(|(attribute, kind)| {
                self.check_path(&format!("{attribute}[type eq \"{}\"].value", kind.name))
                    .ok()
            })
            .collect()
    }

    fn forget_listing(&self) {
        Self::forget_listing(self);
    }
}

/// What the exchanges of one target share.
#[derive(Debug)]
struct Shared {
    config: ScimConfig,
    vocabulary: Vocabulary,
    abilities: Mutex<Abilities>,
}

/// Why a page did not come.
enum PageProblem {
    /// Something was learnt: ask again.
    Again,
    /// The way of asking is refused.
    Refused(Refusal),
    Failed(Failure),
}

impl Shared {
    /// Nothing panics while holding the lock but out of memory, and every state in it is usable.
    fn lock(&self) -> MutexGuard<'_, Abilities> {
        self.abilities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view<T>(&self, read: impl FnOnce(&Abilities) -> T) -> T {
        read(&self.lock())
    }

    fn learn<T>(&self, write: impl FnOnce(&mut Abilities) -> T) -> T {
        write(&mut self.lock())
    }

    /// Classifies an answer and takes the target's time from it.
    fn classify(&self, purpose: Purpose, answer: &HttpAnswer) -> Meaning {
        if let HttpAnswer::Response { headers, .. } = answer
            && let Some(time) = classify::target_time(headers)
        {
            self.learn(|abilities| abilities.target_time = abilities.target_time.max(Some(time)));
        }
        classify::classify(purpose, answer, &self.config)
    }

    /// The account in a resource; `None` when it is none.
    fn account(&self, mut body: Value, etag_header: Option<&str>) -> Option<RemoteAccount> {
        if let Some(wanted) = &self.config.resource_type {
            let kind = resource::get(&body, "meta").and_then(|meta| resource::get(meta, "resourceType"));
            if kind
                .and_then(Value::as_str)
                .is_some_and(|kind| !kind.eq_ignore_ascii_case(wanted))
            {
                return None;
            }
        }
        catalogue::complete(&mut body, &self.config);
        let versions = self.view(|abilities| abilities.versions(&self.config));
        resource::account(body, etag_header, versions)
    }

    /// A page of the list out of an answer; learns what the target refuses about paging.
    fn list_page(&self, start: &Start, answer: &HttpAnswer) -> Result<ListPage, PageProblem> {
        match self.classify(Purpose::List, answer) {
            Meaning::Success(body) => body.as_ref().and_then(ListPage::parse).ok_or_else(|| {
                PageProblem::Failed(Failure::Halt(classify::not_scim(
                    Purpose::List,
                    "a SCIM list of accounts",
                )))
            }),
            Meaning::Fallback(Fallback::TooMany, refusal) => {
                let shrunk = self.learn(|abilities| {
                    let now = abilities.page_size(&self.config);
                    abilities.page_size = Some(SMALL_PAGE);
                    now > SMALL_PAGE
                });
                Err(if shrunk {
                    PageProblem::Again
                } else {
                    PageProblem::Refused(refusal)
                })
            }
            Meaning::Fallback(_, _)
                if *start == Start::FirstCursor && !self.learn(|a| std::mem::replace(&mut a.cursor_refused, true)) =>
            {
                Err(PageProblem::Again)
            }
            Meaning::Unknown(refusal, wait) => Err(PageProblem::Failed(Failure::Retry(refusal, wait))),
            Meaning::Failed(failure) => Err(PageProblem::Failed(failure)),
            Meaning::Fallback(_, refusal)
            | Meaning::Accepted(refusal)
            | Meaning::Absent(refusal)
            | Meaning::Exists(refusal)
            | Meaning::Version(refusal) => Err(PageProblem::Refused(refusal)),
        }
    }
}

/// The version in the header of an answer.
fn etag_header(answer: &HttpAnswer) -> Option<&str> {
    match answer {
        HttpAnswer::Response { headers, .. } => classify::header(headers, "etag"),
        HttpAnswer::NotSent(_) | HttpAnswer::Broken(_) => None,
    }
}
