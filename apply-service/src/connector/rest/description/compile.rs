//! Checking a description: settings, fields, patterns, and what templates may read where.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use serde_json_path::JsonPath;
use usher_runtime::yaml::nearest;

use super::{Call, CompiledField, CompiledOnboarding, Description, Mistake};
use crate::{
    connector::rest::{
        classify::CompiledPattern,
        config::{Field, Method, OperationConfig, Pattern, RestConfig, Verb},
        groups::CompiledGroups,
        template::{FUNCTIONS, Template, plain},
    },
    logic::policy::ACTIVE,
};

const ON: [&str; 5] = ["true", "1", "active", "enabled", "yes"];
const OFF: [&str; 5] = ["false", "0", "inactive", "disabled", "no"];

/// A description being checked.
pub(super) struct Compiler<'a> {
    pub(super) config: &'a RestConfig,
    wrong: Vec<Mistake>,
    settings: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// Where a template stands: what it may read depends on it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Address,
    Sent,
    Setting,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(config: &'a RestConfig) -> Self {
        Self {
            config,
            wrong: Vec::new(),
            settings: BTreeSet::new(),
            secrets: BTreeSet::new(),
        }
    }

    pub(super) fn finish(mut self) -> Result<Description, Vec<Mistake>> {
        let description = self.description();
        self.unused();
        match description {
            Some(description) if self.wrong.is_empty() => Ok(description),
            _ => Err(self.wrong),
        }
    }

    pub(super) fn wrong(&mut self, at: &[&str], message: impl Into<String>) {
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
        let onboarding = self.onboarding();
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
            (Verb::Invite, "invite", &calls.invite),
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
        let groups = self.groups(&mut compiled);
        if calls.list.is_none() && calls.find.is_empty() {
            self.wrong(
                &["operations"],
                "needs `list` or a look-up under `find`: nobody could be found",
            );
        }
        if calls.list.is_none() {
            for (name, call) in calls.find.iter().filter(|(_, call)| !call.proves_absence) {
                let at = ["operations", "find", name.as_str(), "provesAbsence"];
                if call.method == Method::Get || calls.create.is_some() {
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
            onboarding,
            answers,
            find,
            calls: compiled,
            groups,
        })
    }

    /// Groups and their calls.
    fn groups(&mut self, compiled: &mut BTreeMap<Verb, Call>) -> Option<CompiledGroups> {
        let groups = self.config.groups.as_ref()?;
        for (verb, name, call) in [
            (Verb::ListGroups, "list", &groups.list),
            (Verb::FindGroup, "find", &groups.find),
            (Verb::CreateGroup, "create", &groups.create),
            (Verb::RenameGroup, "rename", &groups.rename),
            (Verb::ReadMembers, "members", &groups.members),
            (Verb::AddMember, "add", &groups.add),
            (Verb::RemoveMember, "remove", &groups.remove),
        ] {
            if let Some(call) = call
                && let Some(call) = self.call(verb, &["groups", name], call)
            {
                compiled.insert(verb, call);
            }
        }
        if groups.list.is_none() && groups.find.is_none() {
            self.wrong(&["groups"], "needs `list` or `find`: no group could be found");
        }
        if groups.add.is_none() {
            self.wrong(&["groups"], "needs `add`: nobody could be put into a group");
        }
        if groups.members_max == 0 {
            self.wrong(&["groups", "membersMax"], "at least 1");
        }
        let reads_list = |call: &Option<OperationConfig>| {
            call.as_ref()
                .is_none_or(|call| serde_json::to_string(call).is_ok_and(|text| text.contains("members")))
        };
        let many = reads_list(&groups.add) && reads_list(&groups.remove);
        Some(CompiledGroups {
            id: self.path(&["groups", "id"], &groups.id)?,
            name: self.path(&["groups", "name"], &groups.name)?,
            member: self.path(&["groups", "member"], &groups.member)?,
            at_once: if many { groups.members_max } else { 1 },
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

    fn onboarding(&mut self) -> Option<CompiledOnboarding> {
        let given = self.config.account.onboarding.as_ref()?;
        let at = ["account", "onboarding"];
        let words = |given: &[Value]| -> Vec<String> { given.iter().map(|word| plain(word).to_lowercase()).collect() };
        let (invited, activated) = (words(&given.invited), words(&given.activated));
        if invited.is_empty() && activated.is_empty() {
            self.wrong(&at, "says neither what `invited` nor what `activated` looks like");
        }
        if let Some(both) = invited.iter().find(|word| activated.contains(word)) {
            self.wrong(&at, format!("`{both}` means both invited and activated"));
        }
        let read = self.path(&["account", "onboarding", "read"], &given.read)?;
        Some(CompiledOnboarding {
            read,
            invited,
            activated,
        })
    }

    pub(super) fn path(&mut self, at: &[&str], text: &str) -> Option<JsonPath> {
        match JsonPath::parse(text) {
            Ok(path) => Some(path),
            Err(error) => {
                self.wrong(at, format!("is no JSONPath: {error}; it looks like $.data.users"));
                None
            }
        }
    }

    pub(super) fn patterns(&mut self, at: &[&str], patterns: &[Pattern]) -> Vec<CompiledPattern> {
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
    pub(super) fn roots(verb: Verb, paged: bool) -> Vec<&'static str> {
        let mut roots = match verb {
            Verb::Check => vec![],
            Verb::List => vec!["page"],
            Verb::Find => vec!["key"],
            Verb::Read | Verb::Delete | Verb::Reactivate | Verb::Deactivate | Verb::Invite => vec!["account"],
            Verb::Create => vec!["values"],
            Verb::Update => vec!["account", "values"],
            Verb::ListGroups => vec![],
            Verb::FindGroup | Verb::CreateGroup | Verb::RenameGroup | Verb::ReadMembers => vec!["group"],
            Verb::AddMember | Verb::RemoveMember => vec!["group", "member", "members"],
        };
        let in_pages = matches!(
            verb,
            Verb::Find | Verb::ListGroups | Verb::FindGroup | Verb::ReadMembers
        );
        if paged && in_pages {
            roots.push("page");
        }
        roots
    }

    pub(super) fn template(&mut self, at: &[&str], text: &str, place: Place, roots: &[&str]) -> Option<Template> {
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
                    self.wrong(&at, format!(
                        "is required: the path of the file that holds `{below}`, or {{ env: NAME }} with the name of a variable"
                    ));
                }
            }
            "now_ms" | "now_s" | "now_iso" if place == Place::Sent => {}
            root if FUNCTIONS.contains(&root) => {}
            "values" if roots.contains(&"values") => {
                if !below.is_empty() {
                    self.known_field(at, below);
                }
            }
            "account" if roots.contains(&"account") && matches!(below, "id") => {}
            "page" if roots.contains(&"page") && matches!(below, "number" | "offset" | "cursor" | "size") => {}
            "group" if roots.contains(&"group") && matches!(below, "id" | "name") => {}
            "member" if roots.contains(&"member") && below == "id" => {}
            root if roots.contains(&root) && below.is_empty() && matches!(root, "key" | "members") => {}
            _ => {
                let mut known: Vec<&str> = roots
                    .iter()
                    .map(|root| match *root {
                        "account" => "account.id",
                        "group" => "group.id, group.name",
                        "member" => "member.id",
                        "page" => "page.number, page.offset, page.cursor, page.size",
                        "values" => "values.<field>",
                        other => other,
                    })
                    .collect();
                known.push("settings.<name>");
                if place == Place::Sent {
                    known.extend([
                        "secret.<name>",
                        "now_ms",
                        "now_s",
                        "now_iso",
                        "sha512()",
                        "hmac_sha256()",
                        "hmac_sha512()",
                        "each also as _base64",
                    ]);
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
            "secret": secrets, "now_ms": 0, "now_s": 0, "now_iso": "1970-01-01T00:00:00Z",
            "page": {"number": 1, "offset": 0, "cursor": "x", "size": 1},
            "group": {"id": "x", "name": "x"}, "member": {"id": "x"}, "members": ["x"],
        });
        sample.as_object().cloned().unwrap_or_default()
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
