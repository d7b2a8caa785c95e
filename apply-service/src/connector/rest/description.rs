//! The description, checked and compiled: templates, paths, patterns. Every mistake at once, each with its place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use serde_json_path::JsonPath;
use usher_runtime::yaml::nearest;

use super::{
    classify::CompiledPattern,
    config::{Clear, Field, OperationConfig, Paging, PagingStyle, Pattern, RestConfig, Verb},
    template::{FUNCTIONS, Template, plain},
};
use crate::logic::policy::{ACTIVE, EXTERNAL_ID};

/// Something wrong: the keys that lead to it, and why in words.
pub type Mistake = (Vec<String>, String);

/// A description that can be carried out.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) config: RestConfig,
    pub(crate) id: JsonPath,
    pub(crate) fields: BTreeMap<String, CompiledField>,
    pub(crate) answers: Vec<CompiledPattern>,
    pub(crate) find: BTreeMap<String, Call>,
    calls: BTreeMap<Verb, Call>,
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

const ON: [&str; 5] = ["true", "1", "active", "enabled", "yes"];
const OFF: [&str; 5] = ["false", "0", "inactive", "disabled", "no"];

impl Description {
    /// Compiles.
    ///
    /// # Errors
    /// Every mistake.
    pub(crate) fn compile(config: &RestConfig) -> Result<Self, Vec<Mistake>> {
        let mut compiler = Compiler {
            config,
            wrong: Vec::new(),
            settings: BTreeSet::new(),
            secrets: BTreeSet::new(),
        };
        let description = compiler.description();
        compiler.unused();
        match description {
            Some(description) if compiler.wrong.is_empty() => Ok(description),
            _ => Err(compiler.wrong),
        }
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
        ]
        .into_iter()
        .filter_map(|(word, has)| (!has).then_some(word))
        .collect()
    }
}

struct Compiler<'a> {
    config: &'a RestConfig,
    wrong: Vec<Mistake>,
    settings: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// Where a template stands: what it may read depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Address,
    Sent,
    Setting,
}

impl<'a> Compiler<'a> {
    fn wrong(&mut self, at: &[&str], message: impl Into<String>) {
        let at = at.iter().map(|key| (*key).to_owned()).collect();
        self.wrong.push((at, message.into()));
    }

    fn description(&mut self) -> Option<Description> {
        let config = self.config;
        if config
            .requests_per_second
            .is_some_and(|rate| !(rate.is_finite() && (0.01..=10_000.0).contains(&rate)))
        {
            self.wrong(&["requestsPerSecond"], "must be between 0.01 and 10000");
        }
        if config.pages_max == 0 {
            self.wrong(&["pagesMax"], "at least 1");
        }
        let id = self.path(&["account", "id"], &config.account.id);
        let mut fields = BTreeMap::new();
        for (name, field) in &config.account.fields {
            fields.insert(name.clone(), self.field(name, field));
        }
        let answers = self.patterns(&["answers"], &config.answers);
        let calls = &config.operations;
        let mut compiled = BTreeMap::new();
        for (verb, name, call) in [
            (Verb::Check, "check", &calls.check),
            (Verb::List, "list", &calls.list),
            (Verb::Read, "read", &calls.read),
            (Verb::Create, "create", &calls.create),
            (Verb::Update, "update", &calls.update),
            (Verb::Reactivate, "reactivate", &calls.reactivate),
            (Verb::Deactivate, "deactivate", &calls.deactivate),
            (Verb::Delete, "delete", &calls.delete),
        ] {
            if let Some(call) = call
                && let Some(call) = self.call(verb, &["operations", name], call)
            {
                compiled.insert(verb, call);
            }
        }
        let mut find = BTreeMap::new();
        for (name, call) in &calls.find {
            let at = ["operations", "find", name.as_str()];
            self.known_field(&at, name);
            if let Some(call) = self.call(Verb::Find, &at, call) {
                find.insert(name.clone(), call);
            }
        }
        if calls.list.is_none() && calls.find.is_empty() {
            self.wrong(
                &["operations"],
                "needs `list` or a look-up under `find`: nobody could be found",
            );
        }
        if calls.list.is_none() {
            for (name, call) in calls.find.iter().filter(|(_, call)| !call.proves_absence) {
                let at = ["operations", "find", name.as_str(), "provesAbsence"];
                if call.method == super::config::Method::Get || calls.create.is_some() {
                    self.wrong(
                        &at,
                        "without `list` nothing proves that somebody has no account; set it to true where an empty \
                         answer does",
                    );
                }
            }
        }
        Some(Description {
            config: config.clone(),
            id: id?,
            fields,
            answers,
            find,
            calls: compiled,
        })
    }

    fn known_field(&mut self, at: &[&str], name: &str) {
        let fields = &self.config.account.fields;
        if !fields.contains_key(name) {
            let hint = nearest(name, fields.keys().map(String::as_str))
                .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            self.wrong(at, format!("is no field of account.fields{hint}"));
        }
    }

    fn field(&mut self, name: &str, field: &Field) -> CompiledField {
        let at = ["account", "fields", name];
        let read = field.read.as_ref().and_then(|text| {
            let at = ["account", "fields", name, "read"];
            self.path(&at, text)
        });
        if field.read.is_none() && field.send.is_none() {
            self.wrong(&at, "is neither shown (`read`) nor written (`send`)");
        }
        if name != ACTIVE && !(field.on.is_empty() && field.off.is_empty()) {
            self.wrong(&at, "`on` and `off` belong to the field `active` alone");
        }
        let send = field.send.as_ref().and_then(|text| {
            let at = ["account", "fields", name, "send"];
            let template = self.template(&at, text, Place::Setting, &[])?;
            let context = json!({ "settings": self.config.settings });
            match context.as_object().map(|context| template.text(context)) {
                Some(Ok(Some(name))) if !name.trim().is_empty() => Some(name),
                _ => {
                    self.wrong(&at, "gives no name");
                    None
                }
            }
        });
        let words = |given: &[Value], usual: &[&str]| -> Vec<String> {
            if given.is_empty() {
                usual.iter().map(|word| (*word).to_owned()).collect()
            } else {
                given.iter().map(|word| plain(word).to_lowercase()).collect()
            }
        };
        let (on, off) = (words(&field.on, &ON), words(&field.off, &OFF));
        if let Some(both) = on.iter().find(|word| off.contains(word)) {
            self.wrong(&at, format!("`{both}` means both on and off"));
        }
        CompiledField {
            read,
            send,
            create_only: field.create_only,
            clear: field.clear,
            raw: field.raw,
            on,
            off,
        }
    }

    fn path(&mut self, at: &[&str], text: &str) -> Option<JsonPath> {
        match JsonPath::parse(text) {
            Ok(path) => Some(path),
            Err(error) => {
                self.wrong(at, format!("is no JSONPath: {error}; it looks like $.data.users"));
                None
            }
        }
    }

    fn patterns(&mut self, at: &[&str], patterns: &[Pattern]) -> Vec<CompiledPattern> {
        let mut compiled = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            let number = number.to_string();
            let mut at = at.to_vec();
            at.push(&number);
            match CompiledPattern::compile(pattern) {
                Ok(pattern) => compiled.push(pattern),
                Err(wrong) => wrong.into_iter().for_each(|(key, message)| {
                    let mut at = at.clone();
                    at.push(key);
                    self.wrong(&at, message);
                }),
            }
        }
        compiled
    }

    /// What templates of a call may read besides settings, secrets and the time.
    fn roots(verb: Verb, paged: bool) -> Vec<&'static str> {
        let mut roots = match verb {
            Verb::Check => vec![],
            Verb::List => vec!["page"],
            Verb::Find => vec!["key"],
            Verb::Read | Verb::Delete | Verb::Reactivate | Verb::Deactivate => vec!["account"],
            Verb::Create => vec!["values"],
            Verb::Update => vec!["account", "values"],
        };
        if paged && verb == Verb::Find {
            roots.push("page");
        }
        roots
    }

    fn template(&mut self, at: &[&str], text: &str, place: Place, roots: &[&str]) -> Option<Template> {
        let parsed = if place == Place::Address && at.last() == Some(&"path") {
            Template::parse_path(text)
        } else {
            Template::parse(text)
        };
        let template = match parsed {
            Ok(template) => template,
            Err(message) => {
                self.wrong(at, message);
                return None;
            }
        };
        let before = self.wrong.len();
        let names: Vec<String> = template.names().map(str::to_owned).collect();
        for name in names {
            self.name(at, &name, place, roots);
        }
        if self.wrong.len() > before {
            return None;
        }
        // Names of filters are only looked up when they are used.
        if let Err(message) = template.text(&self.sample()) {
            self.wrong(at, message);
            return None;
        }
        Some(template)
    }

    fn name(&mut self, at: &[&str], name: &str, place: Place, roots: &[&str]) {
        let (root, below) = name.split_once('.').unwrap_or((name, ""));
        match root {
            "settings" => {
                self.settings.insert(below.to_owned());
                if !self.config.settings.contains_key(below) {
                    let known = self.config.settings.keys().map(String::as_str);
                    let hint =
                        nearest(below, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                    self.wrong(at, format!("`{name}` has no value under `settings`{hint}"));
                }
            }
            "secret" if place != Place::Sent => {
                self.wrong(
                    at,
                    "a secret belongs into headers and bodies: addresses are logged everywhere",
                );
            }
            "secret" => {
                if below.is_empty() {
                    self.wrong(at, "a secret is written `secret.<name>`");
                } else if self.secrets.insert(below.to_owned()) && !self.config.secrets.contains_key(below) {
                    let at = ["secrets", below];
                    self.wrong(&at, format!("is required: the path of the file that holds `{below}`"));
                }
            }
            "now_ms" | "now_s" if place == Place::Sent => {}
            root if FUNCTIONS.contains(&root) => {}
            "values" if roots.contains(&"values") => {
                if !below.is_empty() {
                    self.known_field(at, below);
                }
            }
            "account" if roots.contains(&"account") && matches!(below, "id") => {}
            "page" if roots.contains(&"page") && matches!(below, "number" | "offset" | "cursor" | "size") => {}
            root if roots.contains(&root) && below.is_empty() && root == "key" => {}
            _ => {
                let mut known: Vec<&str> = roots
                    .iter()
                    .map(|root| match *root {
                        "account" => "account.id",
                        "page" => "page.number, page.offset, page.cursor, page.size",
                        "values" => "values.<field>",
                        other => other,
                    })
                    .collect();
                known.push("settings.<name>");
                if place == Place::Sent {
                    known.extend(["secret.<name>", "now_ms", "now_s", "sha512()", "hmac_sha256()"]);
                }
                self.wrong(
                    at,
                    format!("`{name}` is not known here; there are {}", known.join(", ")),
                );
            }
        }
    }

    fn sample(&self) -> Map<String, Value> {
        let fields: Map<String, Value> = self
            .config
            .account
            .fields
            .keys()
            .map(|name| (name.clone(), json!("x")))
            .collect();
        let secrets: Map<String, Value> = self.secrets.iter().map(|name| (name.clone(), json!("x"))).collect();
        let sample = json!({
            "values": fields, "account": {"id": "x"}, "key": "x", "settings": self.config.settings,
            "secret": secrets, "now_ms": 0, "now_s": 0,
            "page": {"number": 1, "offset": 0, "cursor": "x", "size": 1},
        });
        sample.as_object().cloned().unwrap_or_default()
    }

    fn call(&mut self, verb: Verb, at: &[&str], call: &OperationConfig) -> Option<Call> {
        let roots = Self::roots(verb, call.paging.is_some());
        let below = |key: &'static str| -> Vec<&str> { at.iter().copied().chain([key]).collect() };
        if !call.path.starts_with('/') || call.path.contains(['?', '#', ' ']) && !call.path.contains("{{") {
            self.wrong(
                &below("path"),
                "starts with `/` and is a plain path; parameters go under `query`",
            );
        }
        let path = self.template(&below("path"), &call.path, Place::Address, &roots);
        let query = self.entries(&below("query"), &call.query, Place::Address, &roots);
        let own = self.entries(&below("headers"), &call.headers, Place::Sent, &roots);
        let form = call
            .form
            .as_ref()
            .map(|form| self.entries(&below("form"), form, Place::Sent, &roots));
        let mut headers = Vec::new();
        for (name, text) in &self.config.headers {
            if let Some(template) = self.template(&["headers", name], text, Place::Sent, &[]) {
                headers.push((name.clone(), template));
            }
        }
        headers.extend(own);
        for (name, _) in &headers {
            if name.parse::<axum::http::HeaderName>().is_err() {
                self.wrong(&below("headers"), format!("`{name}` is not the name of a header"));
            }
        }
        let common = self.common();
        let body = match (form, &call.json) {
            (Some(_), Some(_)) => {
                self.wrong(&below("json"), "a body is either `form` or `json`");
                Body::None
            }
            (Some(form), None) => Body::Form(common.into_iter().chain(form).collect()),
            (None, Some(json)) => {
                let mut at: Vec<String> = below("json").into_iter().map(str::to_owned).collect();
                let tree = self.tree(&mut at, json, &roots);
                match tree {
                    Some(Tree::Map(entries)) => {
                        let common = common.into_iter().map(|(name, template)| (name, Tree::Text(template)));
                        Body::Json(Tree::Map(common.chain(entries).collect()))
                    }
                    Some(_) if !common.is_empty() || call.send_fields => {
                        self.wrong(&below("json"), "must be a map, because further entries belong into it");
                        Body::None
                    }
                    other => other.map_or(Body::None, Body::Json),
                }
            }
            (None, None) => Body::None,
        };
        if call.send_fields && matches!((&call.form, &call.json), (None, None)) {
            self.wrong(&below("sendFields"), "needs a body: `form: {}` or `json: {}`");
        }
        if call.send_fields && !matches!(verb, Verb::Create | Verb::Update) {
            self.wrong(&below("sendFields"), "belongs to create and update alone");
        }
        // A look-up may say no more than that there is one, where that is enough to read it.
        let by_key = verb == Verb::Find && self.config.account.asked_id && self.config.operations.read.is_some();
        let needs_accounts = matches!(verb, Verb::List | Verb::Find | Verb::Read) && !by_key;
        if needs_accounts && call.accounts.is_none() {
            self.wrong(
                &below("accounts"),
                "is required: a JSONPath to the account or to the list of accounts",
            );
        }
        let accounts = call
            .accounts
            .as_ref()
            .and_then(|text| self.path(&below("accounts"), text));
        let id = call.id.as_ref().and_then(|text| self.path(&below("id"), text));
        if call.proves_absence && verb != Verb::Find {
            self.wrong(&below("provesAbsence"), "belongs to look-ups alone");
        }
        let texts = [Some(&call.path)].into_iter().flatten().chain(call.query.values());
        let texts = texts.chain(call.form.iter().flat_map(BTreeMap::values));
        let all: String = texts.cloned().collect::<Vec<_>>().join("\n")
            + &call.json.as_ref().map_or_else(String::new, Value::to_string)
            + &call.headers.values().cloned().collect::<Vec<_>>().join("\n");
        let paging = call
            .paging
            .as_ref()
            .and_then(|paging| self.paging(verb, at, paging, &all));
        let answers = self.patterns(&below("answers"), &call.answers);
        Some(Call {
            verb,
            method: call.method.as_str(),
            addresses_account: path
                .iter()
                .chain(query.iter().map(|(_, template)| template))
                .any(|template| template.names().any(|name| matches!(name, "account.id" | "key"))),
            path: path?,
            query,
            headers,
            body,
            send_fields: call.send_fields,
            accounts,
            id,
            proves_absence: call.proves_absence,
            paging,
            answers,
        })
    }

    fn entries(
        &mut self,
        at: &[&str],
        map: &BTreeMap<String, String>,
        place: Place,
        roots: &[&str],
    ) -> Vec<(String, Template)> {
        let mut compiled = Vec::new();
        for (name, text) in map {
            let at: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            compiled.extend(
                self.template(&at, text, place, roots)
                    .map(|template| (name.clone(), template)),
            );
        }
        compiled
    }

    fn common(&mut self) -> Vec<(String, Template)> {
        let config = self.config;
        self.entries(&["body"], &config.body, Place::Sent, &[])
    }

    fn tree(&mut self, at: &mut Vec<String>, value: &Value, roots: &[&str]) -> Option<Tree> {
        Some(match value {
            Value::String(text) => {
                let keys: Vec<&str> = at.iter().map(String::as_str).collect();
                Tree::Text(self.template(&keys, text, Place::Sent, roots)?)
            }
            Value::Array(items) => {
                let mut trees = Vec::new();
                for (number, item) in items.iter().enumerate() {
                    at.push(number.to_string());
                    trees.extend(self.tree(at, item, roots));
                    at.pop();
                }
                Tree::List(trees)
            }
            Value::Object(entries) => {
                let mut trees = Vec::new();
                for (name, item) in entries {
                    at.push(name.clone());
                    trees.extend(self.tree(at, item, roots).map(|tree| (name.clone(), tree)));
                    at.pop();
                }
                Tree::Map(trees)
            }
            other => Tree::Plain(other.clone()),
        })
    }

    fn paging(&mut self, verb: Verb, at: &[&str], paging: &Paging, texts: &str) -> Option<CompiledPaging> {
        let below = |key: &'static str| -> Vec<&str> { at.iter().copied().chain(["paging", key]).collect() };
        if verb != Verb::List {
            self.wrong(&below("style"), "belongs to `list` alone");
        }
        if paging.size == 0 {
            self.wrong(&below("size"), "at least 1");
        }
        let reads = match paging.style {
            PagingStyle::Page => "page.number",
            PagingStyle::Offset => "page.offset",
            PagingStyle::Cursor => "page.cursor",
            PagingStyle::Link => "",
        };
        if !texts.contains(reads) {
            self.wrong(
                &below("style"),
                format!("no template of the request reads {reads}: every page would be the first"),
            );
        }
        match (paging.style, &paging.next) {
            (PagingStyle::Cursor, None) => {
                self.wrong(
                    &below("next"),
                    "is required: where the answer has the cursor of the next page",
                );
            }
            (PagingStyle::Page | PagingStyle::Offset | PagingStyle::Link, Some(_)) => {
                self.wrong(&below("next"), "belongs to the style `cursor` alone");
            }
            _ => {}
        }
        let mut path =
            |key: &'static str, text: &Option<String>| text.as_ref().and_then(|text| self.path(&below(key), text));
        let next = path("next", &paging.next);
        let total = path("total", &paging.total);
        Some(CompiledPaging {
            style: paging.style,
            size: paging.size,
            first: paging.first.unwrap_or(u64::from(paging.style == PagingStyle::Page)),
            next,
            total,
        })
    }

    /// Settings and secrets that nothing reads are misspelt ones.
    fn unused(&mut self) {
        if !self.wrong.is_empty() {
            // What reads them may be what could not be compiled.
            return;
        }
        let config = self.config;
        for (section, given, read) in [
            (
                "settings",
                config.settings.keys().collect::<Vec<_>>(),
                self.settings.clone(),
            ),
            ("secrets", config.secrets.keys().collect(), self.secrets.clone()),
        ] {
            for name in given.into_iter().filter(|name| !read.contains(*name)) {
                let hint = nearest(name, read.iter().map(String::as_str))
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                self.wrong(&[section, name], format!("nothing of the description reads it{hint}"));
            }
        }
    }
}
