//! Any HTTP interface, by description: no Rust for a new application.
//!
//! | What | In |
//! |---|---|
//! | the description as data, and what each key means | `config` |
//! | its mistakes, all at once; what can be carried out | `description` |
//! | texts with values in them, hashes | `template` |
//! | requests; time and secrets come last, from the sender | `draft` |
//! | what an answer means | `classify` |
//! | accounts in answers, numbers of any size | `account`, `json` |
//! | lists that cannot loop | `paging` |
//! | looking up, by call or by the list | `find`, `index` |
//! | writing, so that a lost answer makes no second account | `create`, `update` |
//! | groups and who is in them | `groups` |
//!
//! Deliberately left out: pages of groups and members, batches, OAuth; and everything that sends (`http`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use super::{Connector, Exchange, Failure, HttpAnswer, Operation, Refusal, Reply, Step, answer};
use crate::logic::{
    account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
    groups::rules::GroupAbilities,
    notification::Onboarding,
    policy::ACTIVE,
};

mod account;
mod classify;
pub mod config;
mod create;
mod description;
mod draft;
mod find;
mod groups;
mod index;
mod json;
mod paging;
mod secret_places;
mod single;
mod template;
mod update;

#[cfg(test)]
mod exchange_tests;

pub use config::RestConfig;
pub use description::Mistake;

use classify::Meaning;
use config::Verb;
use description::{Call, Description};
use index::Index;
use usher_runtime::yaml::nearest;

/// The connector of one application that is described.
#[derive(Debug)]
pub struct RestConnector {
    shared: Arc<Shared>,
}

impl RestConnector {
    /// A connector by this description. `base_url` tells which addresses of further pages are the application's own.
    ///
    /// # Errors
    /// Every mistake of the description.
    pub fn try_new(config: &RestConfig, base_url: &str) -> Result<Self, Vec<Mistake>> {
        Ok(Self {
            shared: Arc::new(Shared {
                description: Arc::new(Description::compile(config)?),
                base_url: base_url.to_owned(),
                state: Mutex::default(),
            }),
        })
    }

    /// Whether the application keeps our key.
    #[must_use]
    pub fn keeps_external_ids(&self) -> bool {
        self.shared.description.keeps_external_ids()
    }
}

impl Connector for RestConnector {
    fn begin(&self, operation: Operation) -> Box<dyn Exchange> {
        let shared = Arc::clone(&self.shared);
        match operation {
            Operation::Check => Box::new(single::Check::new(shared)),
            Operation::Find { external_id, by } => Box::new(find::Find::new(shared, external_id, by, true)),
            Operation::Read(id) => Box::new(single::Read::new(shared, id)),
            Operation::List { cursor } | Operation::ReadBack { cursor } => Box::new(single::List::new(shared, cursor)),
            Operation::Create { values } => Box::new(create::Create::new(shared, values)),
            Operation::Update { id, values, .. } => Box::new(update::Update::new(shared, id, values)),
            Operation::Delete(id) => Box::new(single::Delete::new(shared, id)),
            Operation::FindGroup { name } => Box::new(groups::Find::new(shared, name)),
            Operation::CreateGroup { name } => Box::new(groups::Single::new(shared, groups::Work::Create(name))),
            Operation::RenameGroup { id, name } => {
                Box::new(groups::Single::new(shared, groups::Work::Rename(id, name)))
            }
            Operation::ReadGroup(id) => Box::new(groups::Read::new(shared, id)),
            Operation::ChangeMembers { id, add, remove, .. } => {
                Box::new(groups::Change::new(shared, id, &add, &remove))
            }
            Operation::Invite(id) => Box::new(single::Invite::new(shared, id)),
        }
    }

    fn read_attribute(&self, account: &RemoteAccount, path: &AttributePath) -> Option<Value> {
        self.shared.description.read(&account.resource, &path.0)
    }

    fn onboarding(&self, account: &RemoteAccount) -> Option<Onboarding> {
        self.shared.description.onboarding(&account.resource)
    }

    fn check_path(&self, path: &str) -> Result<AttributePath, String> {
        let fields = &self.shared.description.fields;
        let written = |name: &str| fields.get(name).is_some_and(|field| field.send.is_some());
        if written(path) || path == ACTIVE {
            return Ok(AttributePath(path.to_owned()));
        }
        if fields.contains_key(path) {
            return Err("is shown by this application and cannot be written".to_owned());
        }
        let known = || {
            fields
                .keys()
                .map(String::as_str)
                .filter(|name| written(name) && *name != ACTIVE)
        };
        let hint = nearest(path, known()).map_or_else(
            || format!("; it has {}", known().collect::<Vec<_>>().join(", ")),
            |name| format!("; did you mean `{name}`?"),
        );
        Err(format!("is no field of this application{hint}"))
    }

    fn only_with_new_accounts(&self, path: &AttributePath) -> bool {
        let field = self.shared.description.fields.get(&path.0);
        field.is_some_and(|field| field.create_only)
    }

    fn shows(&self, path: &AttributePath) -> bool {
        let field = self.shared.description.fields.get(&path.0);
        field.is_some_and(|field| field.read.is_some())
    }

    fn looks_by(&self, path: &AttributePath) -> bool {
        self.shared.description.find.contains_key(&path.0)
            || (self.shows(path) && self.shared.call(Verb::List).is_some())
    }

    fn lacks(&self) -> Vec<&'static str> {
        self.shared.description.lacks()
    }

    fn groups(&self) -> Option<GroupAbilities> {
        self.shared.group_abilities()
    }

    fn forget_listing(&self) {
        self.shared.lock().index = None;
    }
}

/// What the exchanges of one target share.
#[derive(Debug)]
struct Shared {
    description: Arc<Description>,
    base_url: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Stands in for look-ups.
    index: Option<Index>,
    /// The target's own time in seconds, as the newest answer told it.
    target_time: Option<i64>,
}

impl Shared {
    /// Nothing panics while holding the lock but out of memory, and every state in it is usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, verb: Verb) -> Option<&Call> {
        self.description.call(verb)
    }

    /// What an answer means; takes the target's time from it.
    fn classify(&self, call: &Call, answer: &HttpAnswer) -> Meaning {
        self.note_time(answer);
        classify::classify(&self.description, call, answer)
    }

    fn note_time(&self, answer: &HttpAnswer) {
        if let HttpAnswer::Response { headers, .. } = answer
            && let Some(time) = answer::target_time(headers)
        {
            let mut state = self.lock();
            state.target_time = state.target_time.max(Some(time));
        }
    }

    /// The request of a call about an account.
    fn send(&self, call: &Call, names: &[(&str, Value)], values: &AttributeValues) -> Step {
        let context = draft::context(&self.description.config, names);
        match draft::RestDraft::new(&self.description, call, context, values, None) {
            Ok(draft) => Step::Complete(draft),
            Err(refusal) => Step::Done(Err(Failure::Reject(refusal))),
        }
    }

    fn send_about(&self, call: &Call, id: &RemoteId) -> Step {
        self.send(call, &[("account", json!({ "id": id.0 }))], &AttributeValues::new())
    }

    /// Forgets the listing: it may be wrong about somebody.
    fn forget(&self) {
        self.lock().index = None;
    }
}

/// The written values as templates see them.
fn named_values(values: &AttributeValues) -> Value {
    let map: Map<String, Value> = values
        .iter()
        .map(|(path, value)| (path.0.clone(), value.clone()))
        .collect();
    Value::Object(map)
}

/// What a target cannot do.
fn lacking(what: &str) -> Step {
    Step::Done(Err(Failure::Reject(Refusal {
        code: "not-offered".to_owned(),
        reason: format!("the description of this application has no `{what}`"),
    })))
}

fn found(accounts: Vec<RemoteAccount>) -> Step {
    Step::Done(Ok(Reply::Found(accounts)))
}

/// What ends a request that neither succeeded nor says that there is nobody.
fn failed(meaning: Meaning) -> Step {
    Step::Done(Err(match meaning {
        Meaning::Failed(failure) => failure,
        Meaning::Unclear(refusal, wait) => Failure::Retry(refusal, wait),
        Meaning::Exists(refusal) => Failure::Reject(refusal),
        Meaning::Success(_) | Meaning::Absent => Failure::Halt(Refusal {
            code: "unexpected-answer".to_owned(),
            reason: "the answer does not fit the request".to_owned(),
        }),
    }))
}
