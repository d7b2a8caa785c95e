//! The people of a cell: what they were told to be, version by version, and what an account of theirs may look like.
//!
//! Whoever is struck while something about them is under way meets different fates meanwhile: they stay as they are, change
//! once more, or change back, which is what a service that trusts an old record would miss.

use std::{collections::BTreeMap, sync::Mutex};

use serde_json::{Value, json};

/// What is to be seen of a person at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub title: String,
    pub active: bool,
}

/// What happens to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Nothing at first.
    Neighbour,
    /// They come.
    Newcomer,
    /// They have another title.
    Changed,
    /// They leave.
    Leaver,
    /// They come back.
    Returner,
}

/// When something is said about people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Everybody but newcomers is there.
    Start,
    /// Those who will return have left.
    Leave,
    /// What is to be frozen.
    Strike,
    /// What happens while nobody can act.
    Meanwhile,
    /// Everybody has another title.
    Afterwards,
}

/// What becomes of somebody meanwhile: title and activity; `None` is nothing.
type Fate = Option<(&'static str, bool)>;

/// Everybody in a cell, each with a number.
const PEOPLE: [(u64, Group, Fate); 12] = [
    (1, Group::Neighbour, Some(("meanwhile", true))),
    (2, Group::Neighbour, Some(("gone", false))),
    (11, Group::Newcomer, None),
    (12, Group::Newcomer, Some(("meanwhile", true))),
    (13, Group::Newcomer, Some(("struck", false))),
    (21, Group::Changed, None),
    (22, Group::Changed, Some(("start", true))),
    (23, Group::Changed, Some(("meanwhile", true))),
    (31, Group::Leaver, None),
    (32, Group::Leaver, Some(("start", true))),
    (41, Group::Returner, None),
    (42, Group::Returner, Some(("start", false))),
];

/// Everybody of one cell, who make an org of their own.
#[derive(Debug)]
pub struct People {
    org: String,
    told: Mutex<BTreeMap<String, Vec<State>>>,
}

impl People {
    /// `number` makes ids that no other cell has.
    pub fn new(number: usize) -> Self {
        Self {
            org: format!("00D{number:012}EAA"),
            told: Mutex::default(),
        }
    }

    pub fn org(&self) -> &str {
        &self.org
    }

    /// How many of these groups there are.
    pub fn count(groups: &[Group]) -> usize {
        PEOPLE.iter().filter(|(_, group, _)| groups.contains(group)).count()
    }

    /// The messages of a round about these groups: key and value.
    pub fn say(&self, round: Round, groups: &[Group]) -> Vec<(String, Vec<u8>)> {
        let state = |title: &str, active| {
            let title = title.to_owned();
            Some(State { title, active })
        };
        let mut messages = Vec::new();
        for (number, group, fate) in PEOPLE {
            if !groups.contains(&group) {
                continue;
            }
            let next = match (round, group) {
                (Round::Start, Group::Newcomer) | (Round::Strike, Group::Neighbour) => None,
                (Round::Start, _) => state("start", true),
                (Round::Leave, Group::Returner) => state("start", false),
                (Round::Leave, _) => None,
                (Round::Strike, Group::Newcomer | Group::Changed) => state("struck", true),
                (Round::Strike, Group::Leaver) => state("start", false),
                (Round::Strike, Group::Returner) => state("start", true),
                (Round::Meanwhile, _) => fate.and_then(|(title, active)| state(title, active)),
                (Round::Afterwards, _) => state("afterwards", true),
            };
            messages.extend(next.map(|next| self.message(number, next)));
        }
        messages
    }

    fn message(&self, number: u64, state: State) -> (String, Vec<u8>) {
        let id = format!("005{number:012}AAA");
        let now = jiff::Timestamp::now().to_string();
        let mut told = self.told.lock().expect("no holder of this lock panics");
        let versions = told.entry(id.clone()).or_default();
        versions.push(state.clone());
        let name = format!("u{number}@acme.example");
        let message = json!({ "version": versions.len(), "kind": "updated", "changed": ["title"],
            "user": { "id": id, "orgId": self.org, "source": "salesforce", "username": name, "email": name,
                "givenName": "Zoë", "familyName": format!("O'Neil {number}"), "displayName": format!("Zoë O'Neil {number}"),
                "title": state.title, "active": state.active, "frozen": false, "removed": false, "listed": true },
            "cause": { "origin": "change-event", "observedAt": now, "committedAt": now } });
        (format!("{}:{id}", self.org), message.to_string().into_bytes())
    }

    /// What people were told to be, by external id.
    pub fn told(&self) -> BTreeMap<String, Vec<State>> {
        self.told.lock().expect("no holder of this lock panics").clone()
    }

    /// What differs between the newest states and these accounts.
    pub fn differences(&self, accounts: &[Value]) -> Vec<String> {
        let mut found: BTreeMap<&str, &Value> = BTreeMap::new();
        let mut differences = Vec::new();
        for account in accounts {
            let external = account["externalId"].as_str().unwrap_or_default();
            if found.insert(external, account).is_some() {
                differences.push(format!("{external} has two accounts"));
            }
        }
        for (id, versions) in self.told() {
            let Some(wanted) = versions.last() else { continue };
            match found.remove(id.as_str()) {
                None if wanted.active => differences.push(format!("{id} has no account")),
                Some(account) if wanted.active => {
                    let (title, active) = (&account["title"], &account["active"]);
                    if title != &json!(wanted.title) || active != &json!(true) {
                        differences.push(format!("{id} is {title} and active {active} instead of {wanted:?}"));
                    }
                }
                Some(account) if account["active"] != json!(false) => {
                    differences.push(format!("{id} left and is active"))
                }
                _ => {}
            }
        }
        differences.extend(found.keys().map(|external| format!("{external} is nobody")));
        differences
    }
}
