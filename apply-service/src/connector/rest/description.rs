//! The description, checked and compiled: templates, paths, patterns. Every mistake at once, each with its place.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::{
    classify::CompiledPattern,
    config::{Clear, PagingStyle, RestConfig, Verb},
    groups::CompiledGroups,
    template::Template,
};
use crate::logic::policy::{ACTIVE, EXTERNAL_ID};

mod calls;
mod compile;

/// Something wrong: the keys that lead to it, and why in words.
pub type Mistake = (Vec<String>, String);

/// A description that can be carried out.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) config: RestConfig,
    pub(crate) id: JsonPath,
    pub(crate) fields: BTreeMap<String, CompiledField>,
    pub(crate) onboarding: Option<CompiledOnboarding>,
    pub(crate) answers: Vec<CompiledPattern>,
    pub(crate) find: BTreeMap<String, Call>,
    calls: BTreeMap<Verb, Call>,
    pub(crate) groups: Option<CompiledGroups>,
}

/// One attribute.
#[derive(Debug)]
pub(crate) struct CompiledField {
    pub(crate) read: Option<JsonPath>,
    pub(crate) send: Option<String>,
    pub(crate) create_only: bool,
    pub(crate) clear: Clear,
    pub(crate) raw: bool,
    pub(crate) on: Vec<String>,
    pub(crate) off: Vec<String>,
}

/// How far a new user is in: where that is shown, and the words for it in lower case.
#[derive(Debug)]
pub(crate) struct CompiledOnboarding {
    pub(crate) read: JsonPath,
    pub(crate) invited: Vec<String>,
    pub(crate) activated: Vec<String>,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) method: &'static str,
    pub(crate) path: Template,
    /// Whether the address names the account: only then a 404 speaks of it.
    pub(crate) addresses_account: bool,
    pub(crate) query: Vec<(String, Template)>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Body,
    pub(crate) send_fields: bool,
    pub(crate) accounts: Option<JsonPath>,
    pub(crate) id: Option<JsonPath>,
    pub(crate) proves_absence: bool,
    pub(crate) paging: Option<CompiledPaging>,
    pub(crate) answers: Vec<CompiledPattern>,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    None,
    Form(Vec<(String, Template)>),
    Json(Tree),
}

/// A JSON value whose texts are templates.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Text(Template),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
    Plain(Value),
}

#[derive(Debug, Clone)]
pub(crate) struct CompiledPaging {
    pub(crate) style: PagingStyle,
    pub(crate) size: u32,
    pub(crate) first: u64,
    pub(crate) next: Option<JsonPath>,
    pub(crate) total: Option<JsonPath>,
}

impl Description {
    /// Compiles.
    ///
    /// # Errors
    /// Every mistake.
    pub(crate) fn compile(config: &RestConfig) -> Result<Self, Vec<Mistake>> {
        compile::Compiler::new(config).finish()
    }

    pub(crate) fn call(&self, verb: Verb) -> Option<&Call> {
        self.calls.get(&verb)
    }

    /// Whether the application keeps our key.
    pub(crate) fn keeps_external_ids(&self) -> bool {
        self.fields.get(EXTERNAL_ID).is_some_and(|field| field.read.is_some())
    }

    /// Whether writing attributes can change whether an account is on.
    pub(crate) fn sends_active(&self) -> bool {
        self.fields
            .get(ACTIVE)
            .is_some_and(|field| field.send.is_some() && !field.create_only)
    }

    /// The words of `features` for what cannot be done.
    pub(crate) fn lacks(&self) -> Vec<&'static str> {
        let has = |verb| self.calls.contains_key(&verb);
        let by_update = has(Verb::Update) && self.sends_active();
        [
            ("create", has(Verb::Create)),
            ("update", has(Verb::Update)),
            ("deactivate", has(Verb::Deactivate) || by_update),
            ("reactivate", has(Verb::Reactivate) || by_update),
            ("delete", has(Verb::Delete)),
            ("invite", has(Verb::Invite)),
        ]
        .into_iter()
        .filter_map(|(word, has)| (!has).then_some(word))
        .collect()
    }
}
