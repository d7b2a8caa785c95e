//! Creating an account (RFC 7644 section 3.3), with the certainty that a lost answer does not make a second one.
//!
//! RFC 7644 has no idempotency key. So a POST whose outcome is unknown is never repeated here: the account is looked
//! up first, by external id and then by user name, and only what carries our key counts as ours.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    Shared, build,
    classify::{Fallback, Meaning, Purpose},
    lookup::{Find, Key},
    path::Path,
    render,
};
use crate::{
    connector::{CREATE_UNCLEAR, Exchange, Failure, HttpAnswer, Refusal, Reply, Step},
    logic::account::RemoteAccount,
};

/// The exchange of `Operation::Create`.
#[derive(Debug)]
pub(crate) struct Create {
    shared: Arc<Shared>,
    body: Value,
    keys: Vec<Key>,
    media_type_tried: bool,
    stage: Stage,
}

impl Drop for Create {
    /// Whoever stops waiting for the answer does not know whether the account was made: a listing from before must not
    /// say that it was not.
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Posting) {
            self.shared.learn(|abilities| abilities.index = None);
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// Nothing is under way: nothing was sent, or its answer is known.
    Idle,
    Posting,
    /// Reading back what was taken; the account as the answer showed it.
    Confirming(RemoteAccount),
    Looking {
        find: Box<Find>,
        /// Whether the target said that it made the account.
        made: bool,
        refusal: Refusal,
        wait: Option<Duration>,
    },
}

impl Create {
    pub(crate) fn new(shared: Arc<Shared>, values: &[(Path, Value)]) -> Self {
        let body = build::create(values, &shared.config);
        let mut keys = Vec::new();
        for name in ["externalId", "userName"] {
            let found = values
                .iter()
                .find(|(path, _)| path.schema.is_none() && path.attribute == name);
            if let Some((path, Value::String(value))) = found
                && !value.is_empty()
            {
                keys.push(Key {
                    path: path.clone(),
                    value: value.clone(),
                });
            }
        }
        Self {
            shared,
            body,
            keys,
            media_type_tried: false,
            stage: Stage::Idle,
        }
    }

    fn post(&mut self) -> Step {
        self.stage = Stage::Posting;
        let path = self.shared.config.users_path.clone();
        let body = Some(self.body.clone());
        Step::Send(
            self.shared
                .view(|abilities| render::write("POST", path, body, None, abilities)),
        )
    }

    fn take_post(&mut self, answer: &HttpAnswer) -> Step {
        let failure = match self.shared.classify(Purpose::Create, answer) {
            Meaning::Success(body) => {
                let account = body.and_then(|body| self.shared.account(body, super::etag_header(answer)));
                return match account {
                    Some(account) => self.confirm(account),
                    // Made, and not said under which id. `Location` is not used: it may be relative, absent or wrong
                    // behind a proxy.
                    None => self.look(true, invisible(), None),
                };
            }
            Meaning::Unknown(refusal, wait) => return self.look(false, refusal, wait),
            Meaning::Accepted(refusal) => return self.look(false, refusal, None),
            Meaning::Exists(refusal) => return self.conflict(refusal),
            Meaning::Fallback(Fallback::MediaType, _) if !self.media_type_tried => {
                self.media_type_tried = true;
                self.shared.learn(|abilities| abilities.plain_json = true);
                return self.post();
            }
            Meaning::Failed(failure) => failure,
            Meaning::Fallback(_, refusal) | Meaning::Absent(refusal) | Meaning::Version(refusal) => {
                Failure::Reject(refusal)
            }
        };
        Step::Done(Err(failure))
    }

    /// Reads the new account back where the dialect says so.
    fn confirm(&mut self, account: RemoteAccount) -> Step {
        let path = render::account_path(&self.shared.config, &account.id);
        match path {
            Ok(path) if self.shared.config.verify_writes => {
                self.stage = Stage::Confirming(account);
                Step::Send(render::get(path))
            }
            _ => self.written(account),
        }
    }

    /// The account was made: not being able to read it yet does not change that.
    fn take_confirmation(&self, made: RemoteAccount, answer: &HttpAnswer) -> Step {
        let read = match self.shared.classify(Purpose::Read, answer) {
            Meaning::Success(Some(body)) => self.shared.account(body, super::etag_header(answer)),
            _ => None,
        };
        self.written(read.filter(|read| read.id == made.id).unwrap_or(made))
    }

    fn look(&mut self, made: bool, refusal: Refusal, wait: Option<Duration>) -> Step {
        // A listing from before cannot know the account.
        self.shared.learn(|abilities| abilities.index = None);
        let mut find = Box::new(Find::fresh(Arc::clone(&self.shared), self.keys.clone()));
        let step = find.step(None);
        self.stage = Stage::Looking {
            find,
            made,
            refusal,
            wait,
        };
        self.looked(step)
    }

    fn looked(&mut self, step: Step) -> Step {
        let Stage::Looking {
            made, refusal, wait, ..
        } = &self.stage
        else {
            return step;
        };
        match step {
            Step::Send(_) | Step::Complete(_) => step,
            Step::Done(Ok(Reply::Found(mut accounts))) => match (accounts.len(), accounts.pop()) {
                (1, Some(account)) if self.is_ours(&account, *made) => self.written(account),
                (0, _) => Step::Done(Err(Failure::Retry(refusal.clone(), *wait))),
                // Somebody else's, or not to be told apart: the planner looks again and decides.
                _ => self.conflict(Refusal {
                    code: CREATE_UNCLEAR.to_owned(),
                    reason: format!("{}; an account is there that does not carry our key", refusal.reason),
                }),
            },
            Step::Done(Err(Failure::Halt(halt))) => Step::Done(Err(Failure::Halt(halt))),
            Step::Done(_) => Step::Done(Err(Failure::Retry(refusal.clone(), *wait))),
        }
    }

    /// Our key proves it. Without a key the account is ours only when the target said that it made one.
    fn is_ours(&self, account: &RemoteAccount, made: bool) -> bool {
        let ours = self
            .keys
            .iter()
            .find(|key| key.path.is_case_exact())
            .map(|key| key.value.as_str());
        match (&account.external_id, ours) {
            (Some(held), Some(ours)) => held == ours,
            (Some(_), None) | (None, _) => made,
        }
    }

    fn written(&self, account: RemoteAccount) -> Step {
        self.shared
            .learn(|abilities| abilities.note_account(&account.id, &account.resource));
        Step::Done(Ok(Reply::Written {
            id: account.id.clone(),
            account: Some(account),
        }))
    }

    fn conflict(&self, refusal: Refusal) -> Step {
        // It exists although the listing did not show it: the next look-up must not use that listing.
        self.shared.learn(|abilities| abilities.index = None);
        Step::Done(Ok(Reply::Conflict(refusal)))
    }
}

impl Exchange for Create {
    fn step(&mut self, answer: Option<HttpAnswer>) -> Step {
        let Some(answer) = answer else {
            return self.post();
        };
        match &mut self.stage {
            Stage::Idle | Stage::Posting => {
                self.stage = Stage::Idle;
                self.take_post(&answer)
            }
            Stage::Confirming(made) => {
                let made = made.clone();
                self.take_confirmation(made, &answer)
            }
            Stage::Looking { find, .. } => {
                let step = find.step(Some(answer));
                self.looked(step)
            }
        }
    }
}

fn invisible() -> Refusal {
    Refusal {
        code: "created-not-visible".to_owned(),
        reason: "creating the account: the target said that it was made, gave no id, and does not show it yet"
            .to_owned(),
    }
}
