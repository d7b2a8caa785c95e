//! What a probe has seen, and what follows: a table in words, and the keys of a dialect that differ from the defaults.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{Change, Hits, Question, group::Groups};
use crate::{
    connector::scim::{config::ScimConfig, discovery::ServiceProvider, listing::ListPage, render::Start, resource},
    logic::account::RemoteId,
};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was asked.
    pub question: &'static str,
    /// What the server did.
    pub answer: String,
    /// The key that follows, or what to look after by hand; empty when nothing does.
    pub therefore: String,
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// In order of asking.
    pub rows: Vec<Row>,
    /// Keys of `connection.scim` that differ from the defaults.
    pub keys: Map<String, Value>,
    /// What could not be removed.
    pub left: Vec<String>,
    /// Why nothing could be found out, in words.
    pub refused: Option<String>,
}

/// How a change is written at this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Path,
    PathLess,
    Put,
}

/// How `active` may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Off {
    Path,
    PathLess,
    Put,
    PathText,
    PathLessText,
    PutText,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `None`: no answer.
    pub(super) status: Option<u16>,
    pub(super) took: bool,
    pub(super) stale_answer: bool,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) config_at: Option<&'static str>,
    pub(super) provider: ServiceProvider,
    pub(super) created: Option<u16>,
    pub(super) refused: Option<String>,
    /// Whether the answer to the create named the place of the account.
    pub(super) location: Option<bool>,
    pub(super) folds_name: Option<bool>,
    pub(super) keeps_key: Option<bool>,
    pub(super) found: BTreeMap<Question, (Hits, u32)>,
    pub(super) nobody: Option<Hits>,
    /// How long a filter took to see the account.
    pub(super) delay: Duration,
    pub(super) first_page: Option<ListPage>,
    pub(super) second_page: Option<Option<ListPage>>,
    pub(super) cursor_page: Option<Option<ListPage>>,
    pub(super) changes: BTreeMap<Change, Outcome>,
    /// Whether a PATCH was taken with its operations in capital letters alone; `None`: they were not tried.
    pub(super) capital: Option<bool>,
    pub(super) twin: Option<u16>,
    /// Whether the refusal of a twin was understood.
    pub(super) twin_known: bool,
    /// How `active` was written so that it counted.
    pub(super) off: Option<Off>,
    pub(super) off_gone: bool,
    pub(super) off_found: Option<Hits>,
    pub(super) on_took: Option<bool>,
    pub(super) deleted: Option<u16>,
    /// Whether the account is there after a DELETE.
    pub(super) delete_leaves: Option<bool>,
    pub(super) groups: Groups,
    pub(super) given_up: Vec<RemoteId>,
    pub(super) searched: bool,
}

impl Seen {
    pub(super) fn read(&mut self, held: &Value, user_name: &str, key: &str) {
        let text = |name: &str| resource::get(held, name).and_then(Value::as_str);
        self.folds_name = text("userName").map(|name| name != user_name);
        self.keeps_key = (!held.is_null()).then(|| text("externalId") == Some(key));
    }

    /// Notes the hits of a question; how often it was asked.
    pub(super) fn asked(&mut self, question: Question, hits: Hits) -> u32 {
        let entry = self.found.entry(question).or_insert((hits, 0));
        *entry = (hits, entry.1 + 1);
        entry.1
    }

    /// Whether some filter has seen the account, or none will be waited for any more.
    pub(super) fn caught_up(&self) -> bool {
        self.found
            .values()
            .any(|(hits, polls)| *hits == Hits::Ours || *polls > super::POLLS)
    }

    pub(super) fn page(&mut self, start: &Start, page: Option<ListPage>) {
        match start {
            Start::First => self.first_page = page,
            Start::Index(_) => self.second_page = Some(page),
            Start::FirstCursor | Start::Cursor(_) => self.cursor_page = Some(page),
        }
    }

    pub(super) fn sent(&mut self, change: Change, status: Option<u16>, stale_answer: bool) {
        let outcome = Outcome {
            status,
            took: false,
            stale_answer,
        };
        self.changes.insert(change, outcome);
    }

    pub(super) fn took(&mut self, change: Change, took: bool) {
        self.changes.entry(change).or_default().took = took;
    }

    fn works(&self, change: Change) -> bool {
        self.changes.get(&change).is_some_and(|outcome| outcome.took)
    }

    /// 405 or 501 to a PATCH.
    pub(super) fn lacks_patch(&self) -> bool {
        let path = self.changes.get(&Change::Path);
        path.is_some_and(|outcome| matches!(outcome.status, Some(405 | 501)))
    }

    /// The way of writing that works, the narrowest first.
    pub(super) fn way(&self) -> Option<Tried> {
        [
            (Change::Path, Tried::Path),
            (Change::PathLess, Tried::PathLess),
            (Change::Put, Tried::Put),
        ]
        .into_iter()
        .find(|(change, _)| self.works(*change))
        .map(|(_, way)| way)
    }

    /// The ways to write `active`, the one that fits the others first; only as text where a create took nothing else.
    pub(super) fn ways_off(&self, text: bool) -> Vec<Off> {
        let mut ways = self.all_ways_off();
        ways.retain(|way| !text || matches!(way, Off::PathText | Off::PathLessText | Off::PutText));
        ways
    }

    fn all_ways_off(&self) -> Vec<Off> {
        match self.way() {
            Some(Tried::PathLess) => vec![Off::PathLess, Off::PathLessText],
            Some(Tried::Put) if self.lacks_patch() => vec![Off::Put, Off::PutText],
            Some(Tried::Put) => vec![Off::Put, Off::Path, Off::PutText, Off::PathText],
            Some(Tried::Path) | None => vec![Off::Path, Off::PathText],
        }
    }

    pub(super) fn switched(&mut self, off: Off, active: bool, status: Option<u16>) {
        let taken = status.is_some_and(|status| (200..300).contains(&status));
        if !active && taken {
            self.off = Some(off);
        }
    }

    pub(super) fn look_switched(&mut self, off: Off, active: bool, took: bool, gone: bool) {
        if active {
            self.on_took = Some(took);
        } else {
            self.off = took.then_some(off);
            self.off_gone = gone;
        }
    }

    pub(super) fn report(&self, config: &ScimConfig, left: Vec<String>) -> Report {
        let keys = if self.refused.is_some() {
            Map::new()
        } else {
            self.keys(config)
        };
        Report {
            rows: self.rows(&keys),
            keys,
            left,
            refused: self.refused.clone(),
        }
    }

    fn finds(&self, question: Question) -> bool {
        self.found.get(&question).is_some_and(|(hits, _)| *hits == Hits::Ours)
    }

    fn keys(&self, config: &ScimConfig) -> Map<String, Value> {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        let defaults = ScimConfig::default();
        if config.users_path != defaults.users_path {
            put("usersPath", json!(config.users_path));
        }
        if self.config_at.is_none() {
            put("discovery", json!("never"));
        }
        if self.keeps_key == Some(false) {
            put("externalId", json!(false));
        }
        self.filter_keys(&mut put);
        self.paging_keys(&mut put);
        match self.way() {
            Some(Tried::Path) if self.provider.patch == Some(false) => put("patch", json!("path")),
            Some(Tried::PathLess) => put("patch", json!("pathless")),
            Some(Tried::Put) => put("patch", json!("put")),
            Some(Tried::Path) | None => None,
        };
        if self.capital == Some(true) {
            put("capitalOperations", json!(true));
        }
        if self.way() == Some(Tried::Put) && matches!(self.off, Some(Off::Path | Off::PathText)) {
            put("activeByPatch", json!(true));
        }
        if matches!(self.off, Some(Off::PathText | Off::PathLessText | Off::PutText)) {
            put("activeAsString", json!(true));
        }
        let stale = self
            .changes
            .iter()
            .any(|(change, outcome)| *change != Change::StaleVersion && outcome.stale_answer);
        if stale || self.ignores() {
            put("verifyWrites", json!(true));
        }
        if self.delete_leaves == Some(true) && self.deleted.is_some_and(|status| (200..300).contains(&status)) {
            put("delete", json!("deactivates"));
        }
        if self.provider.etag == Some(true) && self.works(Change::StaleVersion) {
            put("etag", json!("never"));
        }
        let of_groups = self.groups.keys(config);
        if !of_groups.is_empty() {
            put("groups", Value::Object(of_groups));
        }
        keys
    }

    fn filter_keys(&self, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
        let name = self.finds(Question::UserName);
        let key = self.finds(Question::ExternalId);
        let mail = [Question::EmailDotted, Question::EmailValuePath].map(|question| self.finds(question));
        if matches!(self.nobody, Some(Hits::Others | Hits::Ours)) || !(name || key || mail.contains(&true)) {
            if !self.found.is_empty() {
                put("filter", json!("none"));
            }
            return;
        }
        let wants_key = self.keeps_key != Some(false);
        if !(name && mail.contains(&true) && (key || !wants_key)) {
            let usable = [
                ("externalId", key),
                ("userName", name),
                ("emails", mail.contains(&true)),
            ];
            let usable: Vec<&str> = usable
                .into_iter()
                .filter(|(_, finds)| *finds)
                .map(|(name, _)| name)
                .collect();
            put("filterBy", json!(usable));
        }
        if mail == [false, true] {
            put("multiValuedLookup", json!("valuePath"));
        }
        if name && self.finds(Question::UserNameOtherCase) {
            put("lookupCase", json!("exact"));
        }
    }

    fn paging_keys(&self, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
        let by_cursor = matches!(&self.cursor_page, Some(Some(page)) if page.next_cursor.is_some());
        let by_index = matches!(&self.second_page, Some(Some(_)));
        match (by_index, by_cursor) {
            (false, true) => put("paging", json!("cursor")),
            (true, false) if self.provider.cursor == Some(true) => put("paging", json!("index")),
            _ => None,
        };
    }

    /// A success that changed nothing.
    fn ignores(&self) -> bool {
        let ignored = |(change, outcome): (&Change, &Outcome)| {
            let success = outcome.status.is_some_and(|status| (200..300).contains(&status));
            *change != Change::StaleVersion && success && !outcome.took
        };
        self.changes.iter().any(ignored)
    }

    /// Whether the second page showed the account of the first one.
    pub(super) fn pages_in_circles(&self) -> bool {
        match (&self.first_page, &self.second_page) {
            (Some(first), Some(Some(second))) => {
                first.total.is_some_and(|total| total > 1)
                    && !second.resources.is_empty()
                    && first.resources.first() == second.resources.first()
            }
            _ => false,
        }
    }
}
