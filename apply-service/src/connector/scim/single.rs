//! The operations that need one request: read, delete, invite, and one page of the list.

use std::sync::Arc;

use super::{
    PageProblem, Shared,
    classify::{Meaning, Purpose, not_scim},
    config::InviteCall,
    listing::{Progress, incomplete},
    render::{self, Start},
};
use crate::{
    connector::{CURSOR_REFUSED, Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::account::RemoteId,
};

/// An operation that cannot even begin.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Refusal);

impl Exchange for Refused {
    fn step(&mut self, _answer: Option<HttpAnswer>) -> Step {
        Step::Done(Err(Failure::Reject(self.0.clone())))
    }
}

/// The exchange of `Operation::Read`.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: RemoteId,
}

impl Exchange for Read {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return match render::account_path(&self.shared.config, &self.id) {
                Ok(path) => Step::Send(render::get(path)),
                Err(refusal) => Step::Done(Err(Failure::Reject(refusal))),
            };
        };
        Step::Done(match self.shared.classify(Purpose::Read, &answer) {
            Meaning::Success(body) => {
                let account = body.and_then(|body| self.shared.account(body, super::etag_header(&answer)));
                match account.filter(|account| account.id == self.id) {
                    Some(account) => {
                        self.shared
                            .learn(|abilities| abilities.note_account(&account.id, &account.resource));
                        Ok(Reply::Found(vec![account]))
                    }
                    None => Err(Failure::Reject(not_scim(Purpose::Read, "this SCIM account"))),
                }
            }
            Meaning::Absent(_) => {
                self.shared.learn(|abilities| abilities.note_gone(&self.id));
                Ok(Reply::Absent)
            }
            other => Err(failure(other)),
        })
    }
}

/// The exchange of `Operation::Delete`. The planner makes it only where policy and preset allow it.
#[derive(Debug)]
pub(crate) struct Delete {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: RemoteId,
}

impl Exchange for Delete {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return match render::account_path(&self.shared.config, &self.id) {
                Ok(path) => Step::Send(
                    self.shared
                        .view(|abilities| render::write("DELETE", path, None, None, abilities)),
                ),
                Err(refusal) => Step::Done(Err(Failure::Reject(refusal))),
            };
        };
        Step::Done(match self.shared.classify(Purpose::Delete, &answer) {
            Meaning::Success(_) | Meaning::Absent(_) => {
                self.shared.learn(|abilities| abilities.note_gone(&self.id));
                Ok(Reply::Deleted)
            }
            Meaning::Accepted(refusal) | Meaning::Version(refusal) => Err(Failure::Retry(refusal, None)),
            other => Err(failure(other)),
        })
    }
}

/// The exchange of `Operation::Invite`. What the answer says besides is not looked at: it may be a password.
#[derive(Debug)]
pub(crate) struct Invite {
    pub(crate) shared: Arc<Shared>,
    pub(crate) call: InviteCall,
    pub(crate) id: RemoteId,
}

impl Exchange for Invite {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return match render::invite(&self.call, &self.shared.config, &self.id) {
                Ok(request) => Step::Send(request),
                Err(refusal) => Step::Done(Err(Failure::Reject(refusal))),
            };
        };
        Step::Done(match self.shared.classify(Purpose::Invite, &answer) {
            // 202 as well: a mail is under way as soon as it is taken.
            Meaning::Success(_) | Meaning::Accepted(_) => Ok(Reply::Taken),
            Meaning::Absent(_) => Ok(Reply::Absent),
            Meaning::Version(refusal) => Err(Failure::Retry(refusal, None)),
            other => Err(failure(other)),
        })
    }
}

/// The exchange of `Operation::List`.
#[derive(Debug)]
pub(crate) struct List {
    shared: Arc<Shared>,
    cursor: Option<String>,
    progress: Progress,
    start: Start,
}

impl List {
    pub(crate) fn new(shared: Arc<Shared>, cursor: Option<String>) -> Self {
        Self {
            shared,
            cursor,
            progress: Progress::default(),
            start: Start::First,
        }
    }

    fn ask(&mut self) -> Step {
        let config = &self.shared.config;
        let (by_cursor, count) = self
            .shared
            .view(|abilities| (abilities.starts_with_cursor(config), abilities.page_size(config)));
        self.start = self.progress.start(by_cursor);
        Step::Send(render::list(config, None, &self.start, count))
    }
}

impl Exchange for List {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            if let Some(text) = &self.cursor {
                match Progress::from_text(text) {
                    Some(progress) => self.progress = progress,
                    None => {
                        return Step::Done(Err(Failure::Reject(Refusal {
                            code: "bad-cursor".to_owned(),
                            reason: "listing the accounts: this page mark is not one of ours; begin at the first page"
                                .to_owned(),
                        })));
                    }
                }
            }
            return self.ask();
        };
        let page = match self.shared.list_page(&self.start, &answer) {
            Ok(page) => page,
            Err(PageProblem::Again) => return self.ask(),
            // An expired cursor in the middle: the caller begins again (RFC 9865 section 2.1).
            Err(PageProblem::Refused(refusal)) if matches!(self.start, Start::Cursor(_)) => {
                let code = CURSOR_REFUSED.to_owned();
                return Step::Done(Err(Failure::Retry(Refusal { code, ..refusal }, None)));
            }
            Err(PageProblem::Refused(refusal)) => return Step::Done(Err(Failure::Halt(refusal))),
            Err(PageProblem::Failed(failure)) => return Step::Done(Err(failure)),
        };
        let pages_max = self.shared.config.scan_pages_max;
        let (new, more) = self.progress.take_of(&self.start, &page, pages_max);
        if !more && self.progress.is_cut(pages_max) {
            return Step::Done(Err(Failure::Halt(Refusal {
                code: "list-too-long".to_owned(),
                reason: format!("listing the accounts: no end after {pages_max} pages; raise scanPagesMax"),
            })));
        }
        if !more && self.progress.is_short(&page) {
            return Step::Done(Err(Failure::Retry(incomplete(&self.progress, &page), None)));
        }
        let accounts = if new {
            page.resources
                .into_iter()
                .filter_map(|held| self.shared.account(held, None))
                .collect()
        } else {
            Vec::new()
        };
        Step::Done(Ok(Reply::Page {
            accounts,
            next: more.then(|| self.progress.to_text()),
        }))
    }
}

/// What ends a single request that did not succeed.
fn failure(meaning: Meaning) -> Failure {
    match meaning {
        Meaning::Failed(failure) => failure,
        Meaning::Unknown(refusal, wait) => Failure::Retry(refusal, wait),
        Meaning::Accepted(refusal)
        | Meaning::Absent(refusal)
        | Meaning::Exists(refusal)
        | Meaning::Version(refusal)
        | Meaning::Fallback(_, refusal) => Failure::Reject(refusal),
        Meaning::Success(_) => Failure::Reject(not_scim(Purpose::Read, "a SCIM answer")),
    }
}
