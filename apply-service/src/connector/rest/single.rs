//! The operations that need one request: check, read, delete, invite, a page of the list.

use std::sync::Arc;

use super::{
    Meaning, Shared,
    classify::unexpected,
    config::Verb,
    failed, lacking,
    paging::{Pager, Progress},
};
use crate::{
    connector::{Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::account::{AttributeValues, RemoteId},
};

/// The exchange of `Operation::Check`.
#[derive(Debug)]
pub(crate) struct Check {
    shared: Arc<Shared>,
}

impl Check {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn words(&self) -> Vec<String> {
        // An invitation is asked for by nobody unless the policy says so.
        let mut lacks = self.shared.description.lacks();
        lacks.retain(|word| *word != "invite");
        let mut words = vec!["the target answers".to_owned()];
        if !lacks.is_empty() {
            words.push(format!("the description has no {}", lacks.join(", ")));
        }
        if !self.shared.description.keeps_external_ids() {
            words.push("the target does not keep our key".to_owned());
        }
        words
    }
}

impl Exchange for Check {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let call = self.shared.call(Verb::Check);
        let Some(answer) = answer else {
            if let Some(call) = call {
                return self.shared.send(call, &[], &AttributeValues::new());
            }
            return match first_page(&self.shared) {
                Some(pager) => asked(&pager),
                None => lacking("check"),
            };
        };
        let result = match (call, first_page(&self.shared)) {
            (Some(call), _) => match self.shared.classify(call, &answer) {
                Meaning::Success(_) => Ok(()),
                Meaning::Absent => Err(Failure::Halt(unexpected(Verb::Check, "that there is nothing"))),
                other => return failed(other),
            },
            (None, Some(mut pager)) => pager.take(&answer).map(|_| ()),
            (None, None) => return lacking("check"),
        };
        Step::Done(result.map(|()| Reply::Checked(self.words())))
    }
}

fn first_page(shared: &Shared) -> Option<Pager> {
    Pager::new(&shared.description, &shared.base_url, Progress::default())
}

fn asked(pager: &Pager) -> Step {
    match pager.ask() {
        Ok(draft) => Step::Complete(draft),
        Err(refusal) => Step::Done(Err(Failure::Halt(refusal))),
    }
}

/// The exchange of `Operation::Read`.
#[derive(Debug)]
pub(crate) struct Read {
    shared: Arc<Shared>,
    id: RemoteId,
}

impl Read {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId) -> Self {
        Self { shared, id }
    }
}

impl Exchange for Read {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(call) = self.shared.call(Verb::Read) else {
            return lacking("read");
        };
        let Some(answer) = answer else {
            return self.shared.send_about(call, &self.id);
        };
        let body = match self.shared.classify(call, &answer) {
            Meaning::Success(body) => body,
            Meaning::Absent => return Step::Done(Ok(Reply::Absent)),
            other => return failed(other),
        };
        Step::Done(match self.shared.description.accounts(call, &body, Some(&self.id.0)) {
            Ok(accounts) if accounts.is_empty() => Ok(Reply::Absent),
            Ok(accounts) => match accounts
                .into_iter()
                .find(|account| self.shared.description.is_asked(&account.id, &self.id))
            {
                Some(account) => Ok(Reply::Found(vec![account])),
                None => Err(Failure::Reject(unexpected(Verb::Read, "another account"))),
            },
            Err(refusal) => Err(Failure::Halt(refusal)),
        })
    }
}

/// The exchange of `Operation::Delete`. The planner makes it only where policy and description allow it.
#[derive(Debug)]
pub(crate) struct Delete {
    shared: Arc<Shared>,
    id: RemoteId,
}

impl Delete {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId) -> Self {
        Self { shared, id }
    }
}

impl Exchange for Delete {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(call) = self.shared.call(Verb::Delete) else {
            return lacking("delete");
        };
        let Some(answer) = answer else {
            return self.shared.send_about(call, &self.id);
        };
        match self.shared.classify(call, &answer) {
            Meaning::Success(_) | Meaning::Absent => {
                self.shared.forget();
                Step::Done(Ok(Reply::Deleted))
            }
            other => failed(other),
        }
    }
}

/// The exchange of `Operation::Invite`. What the answer says besides is not looked at.
#[derive(Debug)]
pub(crate) struct Invite {
    shared: Arc<Shared>,
    id: RemoteId,
}

impl Invite {
    pub(crate) fn new(shared: Arc<Shared>, id: RemoteId) -> Self {
        Self { shared, id }
    }
}

impl Exchange for Invite {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(call) = self.shared.call(Verb::Invite) else {
            return lacking("invite");
        };
        let Some(answer) = answer else {
            return self.shared.send_about(call, &self.id);
        };
        match self.shared.classify(call, &answer) {
            Meaning::Success(_) => Step::Done(Ok(Reply::Taken)),
            Meaning::Absent => Step::Done(Ok(Reply::Absent)),
            other => failed(other),
        }
    }
}

/// The exchange of `Operation::List`.
#[derive(Debug)]
pub(crate) struct List {
    shared: Arc<Shared>,
    cursor: Option<String>,
    pager: Option<Pager>,
}

impl List {
    pub(crate) fn new(shared: Arc<Shared>, cursor: Option<String>) -> Self {
        Self {
            shared,
            cursor,
            pager: None,
        }
    }
}

impl Exchange for List {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let (Some(answer), Some(pager)) = (answer, &mut self.pager) else {
            let progress = self
                .cursor
                .as_deref()
                .map_or(Some(Progress::default()), Progress::from_text);
            let Some(progress) = progress else {
                return Step::Done(Err(Failure::Reject(Refusal {
                    code: "bad-cursor".to_owned(),
                    reason: "listing the accounts: this page mark is not one of ours; begin at the first page"
                        .to_owned(),
                })));
            };
            let Some(pager) = Pager::new(&self.shared.description, &self.shared.base_url, progress) else {
                return lacking("list");
            };
            return asked(self.pager.insert(pager));
        };
        self.shared.note_time(&answer);
        Step::Done(pager.take(&answer).map(|(accounts, more)| Reply::Page {
            accounts,
            next: more.then(|| pager.0.progress.to_text()),
        }))
    }
}
