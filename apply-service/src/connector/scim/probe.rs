//! Finding out what a SCIM server really does, on one throw-away account and, where there are groups, one throw-away group.
//!
//! A step machine like an exchange: [`Probe::step`] takes the last answer and says what comes next. It makes one account with an
//! unmistakable name, asks for it and changes it in every way that a dialect can name, puts it into a group of its own and takes it
//! out (`group`), and removes both. Whatever happens on the way, an answer that never came or [`Probe::stop`], it goes on to
//! the removal and says what it could not remove.
//!
//! Guarantees: it writes to no account and no group but those that it made; it lists nobody's values. Left out: limits, what
//! another credential may do.

use std::{collections::VecDeque, time::Duration};

use serde_json::Value;

use super::{
    classify::{Meaning, Purpose, classify},
    config::ScimConfig,
    path::Path,
    render::Start,
};
use crate::{
    connector::{Failure, HttpAnswer, Request},
    logic::account::RemoteId,
};

mod ask;
mod group;
mod learn;
mod table;
mod verdict;

use verdict::{Off, Seen, Tried};
pub use verdict::{Report, Row};

const CONFIG_PLACES: [&str; 2] = ["/ServiceProviderConfig", "/ServiceProviderConfigs"];
const WORK: &str = r#"emails[type eq "work"].value"#;
/// How long an account that was made may take until a filter finds it: 1, 2, 4, 8, 16 s.
const POLLS: u32 = 5;
/// How often a request is repeated that was put off or not answered.
const REPEATS: u32 = 3;
/// The longest pause that a target may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What comes next.
#[derive(Debug)]
pub enum Move {
    /// Send this and come back with the answer.
    Send(Request),
    /// Come back after this time, without an answer.
    Wait(Duration),
    /// It has ended; see [`Probe::report`].
    Done,
}

/// One thing to ask.
#[derive(Debug, Clone, PartialEq)]
enum Task {
    Config(usize),
    Create,
    /// Where the account is whose create was not answered with an id.
    Search,
    Read,
    Find(Question),
    /// Nobody has this name.
    FindNobody,
    Page(Start),
    Change(Change),
    /// Reading what a change led to.
    Look(Change),
    Switch(Off, bool),
    LookSwitched(Off, bool),
    FindSwitchedOff,
    Twin,
    Delete(RemoteId),
    LookDeleted(RemoteId),
    /// A target that refuses DELETE: switched off instead.
    Abandon(RemoteId),
    Group(group::Ask),
}

/// What an account is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    ExternalId,
    UserName,
    UserNameOtherCase,
    EmailDotted,
    EmailValuePath,
}

/// A change of the account, in one of the forms that servers differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Path,
    ValueFilter,
    PathLess,
    Extension,
    Remove,
    Put,
    /// With a version that never was.
    StaleVersion,
}

impl Change {
    const ALL: [Self; 7] = [
        Self::Path,
        Self::ValueFilter,
        Self::PathLess,
        Self::Extension,
        Self::Remove,
        Self::Put,
        Self::StaleVersion,
    ];
}

/// One round of questions to one server.
#[derive(Debug)]
pub struct Probe {
    config: ScimConfig,
    /// Tells this run's account from those of others: a few letters and digits.
    mark: String,
    domain: String,
    /// What the account has besides, where the server asks for it.
    more: Vec<(Path, Value)>,
    queue: VecDeque<Task>,
    doing: Option<Task>,
    repeats: u32,
    stopping: bool,
    /// The account, and a second one if the server made one of the same name.
    made: Vec<RemoteId>,
    /// A create of which nobody knows whether it had an effect.
    unclear: bool,
    held: Value,
    seen: Seen,
}

impl Probe {
    /// `mark`: letters and digits that no other run has. `domain`: of the account's address; some servers take only verified ones.
    #[must_use]
    pub fn new(config: ScimConfig, mark: &str, domain: &str) -> Self {
        Self {
            config,
            mark: mark.to_owned(),
            domain: domain.to_owned(),
            more: Vec::new(),
            queue: [Task::Config(0), Task::Create].into(),
            doing: None,
            repeats: 0,
            stopping: false,
            made: Vec::new(),
            unclear: false,
            held: Value::Null,
            seen: Seen::default(),
        }
    }

    /// Gives the account a further attribute, which some servers do not make one without (a profile, a licence).
    ///
    /// # Errors
    /// It is no path of an attribute; in words.
    pub fn with(mut self, path: &str, value: Value) -> Result<Self, String> {
        self.more.push((Path::parse(path, &self.config.vocabulary())?, value));
        Ok(self)
    }

    /// The user name of the account. The mixed case is part of the question.
    #[must_use]
    pub fn user_name(&self) -> String {
        format!("Usher-Probe-{}@{}", self.mark, self.domain)
    }

    /// Ask no further questions: remove what was made.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// What was found out so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut left: Vec<String> = self.group_left().into_iter().collect();
        left.extend(self.made.iter().map(|id| format!("account {}", id.0)));
        if self.unclear {
            left.push(format!("perhaps an account named {}", self.user_name()));
        }
        self.seen.report(&self.config, left)
    }

    /// Takes the answer to the request before, if there was one, and says what comes next.
    pub fn step(&mut self, answer: Option<HttpAnswer>) -> Move {
        if let (Some(task), Some(answer)) = (self.doing.take(), answer) {
            if let Some(pause) = self.repeat(&task, &answer) {
                self.queue.push_front(task);
                return Move::Wait(pause);
            }
            self.repeats = 0;
            if let Some(pause) = self.take(task, &answer) {
                return Move::Wait(pause);
            }
        }
        if self.stopping {
            self.queue.retain(is_removal);
        }
        loop {
            let Some(task) = self.queue.pop_front() else {
                match self.removal() {
                    Some(task) => self.queue.push_back(task),
                    None => return Move::Done,
                }
                continue;
            };
            if let Some(request) = self.request(&task) {
                self.doing = Some(task);
                return Move::Send(request);
            }
        }
    }

    /// What is still to be removed, each thing once.
    fn removal(&mut self) -> Option<Task> {
        if let Some(ask) = self.group_removal() {
            return Some(Task::Group(ask));
        }
        if self.unclear && !self.seen.searched {
            self.seen.searched = true;
            return Some(Task::Search);
        }
        let id = self.made.iter().find(|id| !self.seen.given_up.contains(id))?.clone();
        self.seen.given_up.push(id.clone());
        Some(Task::Delete(id))
    }

    /// The pause before a request is sent again that the target has put off or not answered. A create is never repeated.
    fn repeat(&mut self, task: &Task, answer: &HttpAnswer) -> Option<Duration> {
        let create = matches!(task, Task::Create | Task::Twin | Task::Group(group::Ask::Create));
        let pause = match classify(Purpose::Update, answer, &self.config) {
            Meaning::Failed(Failure::Retry(_, wait)) => wait.unwrap_or(Duration::from_secs(2)),
            Meaning::Unknown(_, wait) if !create => wait.unwrap_or(Duration::from_secs(2)),
            _ => return None,
        };
        self.repeats += 1;
        (self.repeats <= REPEATS).then_some(pause.min(PAUSE_MAX))
    }
}

/// What a filter found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hits {
    Ours,
    Nothing,
    /// Accounts that were not asked for.
    Others,
    Refused,
}

fn is_removal(task: &Task) -> bool {
    match task {
        Task::Group(ask) => ask.is_removal(),
        task => matches!(
            task,
            Task::Search | Task::Delete(_) | Task::LookDeleted(_) | Task::Abandon(_)
        ),
    }
}

#[cfg(test)]
mod tests;
