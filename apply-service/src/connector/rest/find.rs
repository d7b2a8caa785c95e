//! Looking somebody up: by the calls that the application has, and by its whole list where there is none or where
//! nothing found proves nothing.
//!
//! Guarantee: "nobody" is only said when a call that proves absence, or a complete list, said so for every value.

use std::{collections::VecDeque, sync::Arc};

use serde_json::json;

use super::{
    Meaning, Shared,
    config::Verb,
    failed, found,
    index::Index,
    paging::{Pager, Progress},
};
use crate::{
    connector::{Exchange, Failure, HttpAnswer, Refusal, Step},
    logic::{
        account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
        policy::EXTERNAL_ID,
    },
};

/// Accounts that one value may lead to and that are looked at.
const HITS_MAX: usize = 10;

/// A value to look by.
type Key = (AttributePath, String);

/// The exchange of `Operation::Find`.
#[derive(Debug)]
pub(crate) struct Find {
    shared: Arc<Shared>,
    keys: Vec<Key>,
    /// The key that is asked about.
    at: usize,
    /// Keys whose absence only the list can prove.
    unproven: Vec<usize>,
    /// Whether a listing of an earlier exchange may answer.
    may_be_old: bool,
    /// Whether the list was read or judged young enough by this exchange.
    listed: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Asking,
    /// Asking for the target's time, to tell how old the listing is.
    Time,
    Listing(Box<(Pager, Index)>),
    Candidate(VecDeque<RemoteId>, Vec<RemoteAccount>),
}

impl Find {
    pub(crate) fn new(
        shared: Arc<Shared>,
        external_id: String,
        by: Vec<(AttributePath, String)>,
        may_be_old: bool,
    ) -> Self {
        let own = (AttributePath(EXTERNAL_ID.to_owned()), external_id);
        let keys = std::iter::once(own)
            .chain(by)
            .filter(|(path, value)| {
                let shown = shared
                    .description
                    .fields
                    .get(&path.0)
                    .is_some_and(|field| field.read.is_some());
                !value.trim().is_empty() && (shown || shared.description.find.contains_key(&path.0))
            })
            .collect();
        Self {
            shared,
            keys,
            at: 0,
            unproven: Vec::new(),
            may_be_old,
            listed: false,
            stage: Stage::Idle,
        }
    }

    /// The next key: by its call, else by the list.
    fn next(&mut self) -> Step {
        while let Some((path, value)) = self.keys.get(self.at) {
            if let Some(call) = self.shared.description.find.get(&path.0) {
                self.stage = Stage::Asking;
                let names = [("key", json!(value)), ("page", json!({}))];
                return self.shared.send(call, &names, &AttributeValues::new());
            }
            if !self.listed {
                return self.list();
            }
            let candidates = self.candidates(self.at);
            if !candidates.is_empty() {
                return self.look_at(candidates, Vec::new());
            }
            self.at += 1;
        }
        match self.unproven.first() {
            None => found(Vec::new()),
            Some(_) if !self.listed => self.list(),
            Some(_) => {
                self.at = self.unproven.remove(0);
                let candidates = self.candidates(self.at);
                self.at = self.keys.len();
                if candidates.is_empty() {
                    self.next()
                } else {
                    self.look_at(candidates, Vec::new())
                }
            }
        }
    }

    fn candidates(&self, key: usize) -> VecDeque<RemoteId> {
        let (path, value) = &self.keys[key];
        let state = self.shared.lock();
        let ids = state.index.as_ref().map(|index| index.candidates(path, value));
        ids.unwrap_or_default().into_iter().take(HITS_MAX).collect()
    }

    fn take_answer(&mut self, answer: &HttpAnswer) -> Step {
        let (path, value) = self.keys[self.at].clone();
        let Some(call) = self.shared.description.find.get(&path.0) else {
            return self.next();
        };
        let accounts = match self.shared.classify(call, answer) {
            Meaning::Success(_) if call.accounts.is_none() => {
                // Should it not be there when it is read, the two answers contradict each other.
                self.unproven.push(self.at);
                return self.look_at([RemoteId(value)].into(), Vec::new());
            }
            Meaning::Success(body) => match self.shared.description.accounts(call, &body, Some(&value)) {
                Ok(accounts) => accounts,
                Err(refusal) => return Step::Done(Err(Failure::Halt(refusal))),
            },
            Meaning::Absent => Vec::new(),
            other => return failed(other),
        };
        let nobody = accounts.is_empty();
        // What holds another value was not asked for; what does not show it is taken at the target's word.
        let hits: Vec<RemoteAccount> = accounts
            .into_iter()
            .filter(|account| self.shared.description.holds(account, &path, &value) != Some(false))
            .take(HITS_MAX)
            .collect();
        if !hits.is_empty() {
            return found(hits);
        }
        if !(nobody && call.proves_absence) {
            self.unproven.push(self.at);
        }
        self.at += 1;
        self.next()
    }

    fn list(&mut self) -> Step {
        let has_index = self.shared.lock().index.is_some();
        if has_index
            && self.may_be_old
            && let Some(call) = self.shared.call(Verb::Check)
        {
            self.stage = Stage::Time;
            return self.shared.send(call, &[], &AttributeValues::new());
        }
        self.scan()
    }

    fn take_time(&mut self, answer: &HttpAnswer) -> Step {
        let Some(call) = self.shared.call(Verb::Check) else {
            return self.scan();
        };
        match self.shared.classify(call, answer) {
            Meaning::Success(_) => {}
            other => return failed(other),
        }
        let age_max = self.shared.description.config.listing_max_age_seconds;
        let serves = {
            let mut state = self.shared.lock();
            let now = state.target_time;
            state.index.as_mut().is_some_and(|index| index.serves(now, age_max))
        };
        if serves {
            self.listed = true;
            self.next()
        } else {
            self.scan()
        }
    }

    fn scan(&mut self) -> Step {
        match Pager::new(&self.shared.description, &self.shared.base_url, Progress::default()) {
            Some(pager) => self.ask_page(pager, Index::default()),
            None => Step::Done(Err(Failure::Retry(
                Refusal {
                    code: "absence-unproven".to_owned(),
                    reason:
                        "looking up an account: what was answered contradicts itself, and no list tells whether there \
                         is nobody"
                            .to_owned(),
                },
                None,
            ))),
        }
    }

    fn ask_page(&mut self, pager: Pager, index: Index) -> Step {
        match pager.ask() {
            Ok(draft) => {
                self.stage = Stage::Listing(Box::new((pager, index)));
                Step::Complete(draft)
            }
            Err(refusal) => Step::Done(Err(Failure::Halt(refusal))),
        }
    }

    fn take_page(&mut self, mut pager: Pager, mut index: Index, answer: &HttpAnswer) -> Step {
        self.shared.note_time(answer);
        let (accounts, more) = match pager.take(answer) {
            Ok(page) => page,
            Err(failure) => return Step::Done(Err(failure)),
        };
        index.begins(self.shared.lock().target_time);
        for account in accounts {
            index.put(&self.shared.description, account);
        }
        if more {
            return self.ask_page(pager, index);
        }
        self.shared.lock().index = Some(index);
        self.listed = true;
        self.next()
    }

    /// A listed account counts once it was read: the listing may be old, and others write as well.
    fn look_at(&mut self, mut ids: VecDeque<RemoteId>, mut hits: Vec<RemoteAccount>) -> Step {
        let Some(id) = ids.front().cloned() else {
            return self.looked(hits);
        };
        if let Some(call) = self.shared.call(Verb::Read) {
            let step = self.shared.send_about(call, &id);
            self.stage = Stage::Candidate(ids, hits);
            return step;
        }
        ids.pop_front();
        let listed = self
            .shared
            .lock()
            .index
            .as_ref()
            .and_then(|index| index.account(&id).cloned());
        match listed {
            Some(account) => {
                hits.extend(Some(account).filter(|account| self.is_hit(account)));
                self.look_at(ids, hits)
            }
            // Written since: the list is read again.
            None => {
                self.shared.forget();
                self.listed = false;
                self.may_be_old = false;
                self.at = 0;
                self.unproven.clear();
                self.next()
            }
        }
    }

    fn is_hit(&self, account: &RemoteAccount) -> bool {
        self.keys
            .iter()
            .any(|(path, value)| self.shared.description.holds(account, path, value) == Some(true))
    }

    fn take_candidate(
        &mut self,
        mut ids: VecDeque<RemoteId>,
        mut hits: Vec<RemoteAccount>,
        answer: &HttpAnswer,
    ) -> Step {
        let (Some(id), Some(call)) = (ids.pop_front(), self.shared.call(Verb::Read)) else {
            return self.looked(hits);
        };
        match self.shared.classify(call, answer) {
            Meaning::Success(body) => match self.shared.description.accounts(call, &body, Some(&id.0)) {
                Ok(accounts) => hits.extend(
                    accounts
                        .into_iter()
                        .filter(|account| self.shared.description.is_asked(&account.id, &id) && self.is_hit(account)),
                ),
                Err(refusal) => return Step::Done(Err(Failure::Halt(refusal))),
            },
            Meaning::Absent => {}
            other => return failed(other),
        }
        self.look_at(ids, hits)
    }

    fn looked(&mut self, hits: Vec<RemoteAccount>) -> Step {
        if hits.is_empty() {
            self.at = (self.at + 1).min(self.keys.len());
            self.next()
        } else {
            found(hits)
        }
    }
}

impl Exchange for Find {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            if self.keys.is_empty() {
                // Nothing was asked, so nothing is known: least of all that there is nobody.
                return Step::Done(Err(Failure::Reject(Refusal {
                    code: "nothing-to-look-by".to_owned(),
                    reason: "looking up an account: there is no value that this application can be asked for"
                        .to_owned(),
                })));
            }
            return self.next();
        };
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => self.next(),
            Stage::Asking => self.take_answer(&answer),
            Stage::Time => self.take_time(&answer),
            Stage::Listing(under_way) => {
                let (pager, index) = *under_way;
                self.take_page(pager, index, &answer)
            }
            Stage::Candidate(ids, hits) => self.take_candidate(ids, hits, &answer),
        }
    }
}
